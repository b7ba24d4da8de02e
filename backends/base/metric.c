#include "metric.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"
#include "utf8.h"

const struct bound bounds_short[] = {
	{ 10, "1e-05" }, { 30, "3e-05" }, { 100, "0.0001" }, { 300, "0.0003" }, { 1000, "0.001" }, { 3000, "0.003" }, { 10000, "0.01" },
	{ 30000, "0.03" }, { 100000, "0.1" }, { 300000, "0.3" }, { 1000000, "1.0" }, { 10000000, "10.0" }, { 0 }
};
const struct bound bounds_long[] = {
	{ 10000, "0.01" }, { 30000, "0.03" }, { 100000, "0.1" }, { 300000, "0.3" }, { 1000000, "1.0" }, { 3000000, "3.0" },
	{ 10000000, "10.0" }, { 30000000, "30.0" }, { 100000000, "100.0" }, { 300000000, "300.0" }, { 1000000000, "1000.0" }, { 0 }
};

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

void metric_family(FILE *out, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = { [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram" };
	static const char *const units[] = { "seconds", "bytes" };

	if (type != METRIC_COUNTER)
		fprintf(out, "# TYPE %s %s\n", name, types[type]);
	for (size_t i = 0; i < ARRAY_LEN(units); i++)
		if (ends_with(name, units[i]))
			fprintf(out, "# UNIT %s %s\n", name, units[i]);
	fprintf(out, "# HELP %s %s\n", name, help);
}

/* What is no UTF-8 would make the whole text unreadable. */
static void put_escaped(FILE *out, const char *s)
{
	size_t left = strlen(s);

	while (left) {
		size_t n = utf8_len((const unsigned char *)s, left);

		if (*s == '\n')
			fputs("\\n", out);
		else if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if (n)
			fwrite(s, 1, n, out);
		else
			fputs("\xef\xbf\xbd", out);	/* U+FFFD */
		n = n ? n : 1;
		s += n;
		left -= n;
	}
}

/* a="1",b="2" */
static void put_labels(FILE *out, va_list ap)
{
	const char *name, *comma = "";

	while ((name = va_arg(ap, const char *))) {
		fprintf(out, "%s%s=\"", comma, name);
		put_escaped(out, va_arg(ap, const char *));
		putc('"', out);
		comma = ",";
	}
}

/* Whole numbers whole, as far as a double has them. */
static void put_number(FILE *out, double v)
{
	if (v > -9007199254740992.0 && v < 9007199254740992.0 && (double)(int64_t)v == v)
		fprintf(out, "%" PRId64, (int64_t)v);
	else
		fprintf(out, "%.15g", v);
}

static char *labels_text(va_list ap)
{
	AUTO(free) char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	put_labels(f, ap);
	return fclose(f) == 0 ? steal_ptr(&text) : NULL;
}

void metric_put(FILE *out, const char *name, double value, ...)
{
	va_list ap, look;

	va_start(ap, value);
	va_copy(look, ap);
	bool any = va_arg(look, const char *) != NULL;
	va_end(look);
	fputs(name, out);
	if (any) {
		putc('{', out);
		put_labels(out, ap);
		putc('}', out);
	}
	va_end(ap);
	putc(' ', out);
	put_number(out, value);
	putc('\n', out);
}

void metric_end(FILE *out)
{
	fputs("# EOF\n", out);
}

/* ---- histograms */

void histogram_add(struct histogram *h, const struct bound *bounds, int64_t us)
{
	size_t i = 0;

	if (us < 0)
		us = 0;
	while (bounds[i].us && us > bounds[i].us)
		i++;
	__atomic_fetch_add(&h->n[i], 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&h->sum_us, us, __ATOMIC_RELAXED);
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= BOUNDS_MAX; i++)
		sum += __atomic_load_n(&h->n[i], __ATOMIC_RELAXED);
	return sum;
}

/* The count is that of the buckets just read, so that they agree while others add. */
void histogram_put(FILE *out, const char *name, const struct histogram *h, const struct bound *bounds, ...)
{
	AUTO(free) char *labels = NULL;
	uint64_t sum = 0;
	va_list ap;
	size_t i;

	va_start(ap, bounds);
	labels = labels_text(ap);
	va_end(ap);
	if (!labels)
		return;
	const char *comma = *labels ? "," : "", *open = *labels ? "{" : "", *close = *labels ? "}" : "";
	for (i = 0; bounds[i].us; i++) {
		sum += __atomic_load_n(&h->n[i], __ATOMIC_RELAXED);
		fprintf(out, "%s_bucket{%s%sle=\"%s\"} %lu\n", name, labels, comma, bounds[i].le, (unsigned long)sum);
	}
	sum += __atomic_load_n(&h->n[i], __ATOMIC_RELAXED);
	fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %lu\n", name, labels, comma, (unsigned long)sum);
	fprintf(out, "%s_count%s%s%s %lu\n%s_sum%s%s%s ", name, open, labels, close, (unsigned long)sum, name, open, labels, close);
	put_number(out, (double)__atomic_load_n(&h->sum_us, __ATOMIC_RELAXED) / 1e6);
	putc('\n', out);
}
