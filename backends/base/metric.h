/* What a program measures, as text that monitoring reads: OpenMetrics 1.0 (github.com/OpenObservability/OpenMetrics) which is at the same
 * time the older Prometheus text format 0.0.4.  The two differ in one place, how the TYPE line of a counter names it ("x" here, "x_total"
 * there, and each takes the other's way for a mistake): counters go without that line, which both read. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum metric_type { METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM };

/* Begins a family; its samples follow, all of them before the next begins.  A counter's name ends in _total.  A name that ends in _seconds
 * or _bytes has that unit. */
void metric_family(FILE *out, const char *name, enum metric_type type, const char *help);
/* One sample.  Then pairs of a label's name and its value (any text), up to NULL. */
void metric_put(FILE *out, const char *name, double value, ...) __attribute__((sentinel));
/* The last line of a whole text. */
void metric_end(FILE *out);

/* How often something took how long: any thread may add, without a lock. */
#define BOUNDS_MAX 12
struct bound {
	int64_t us;
	const char *le;		/* the same in seconds, in the canonical form of OpenMetrics */
};
struct histogram {
	uint64_t n[BOUNDS_MAX + 1];	/* by the first bound that is not smaller; the last: beyond all */
	int64_t sum_us;
};
/* 10 us to 10 s: requests.  10 ms to 1000 s: tasks.  Both end with { 0 }. */
extern const struct bound bounds_short[], bounds_long[];

void histogram_add(struct histogram *h, const struct bound *bounds, int64_t us);
uint64_t histogram_count(const struct histogram *h);
/* The samples of one histogram, with these labels. */
void histogram_put(FILE *out, const char *name, const struct histogram *h, const struct bound *bounds, ...) __attribute__((sentinel));
