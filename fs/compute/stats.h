/* What guests use, sampled now and then by the threads that keep the hosts' connections, so that nobody who reads it waits for a hypervisor. */
#pragma once

#include <stdio.h>

#include "hosts.h"

#define SAMPLE_S 10

struct samples;	/* of one host */

/* Asks that host, and the networks of its guests when it is this machine; *s is made, or renewed. */
void guests_sample(struct cloud *cl, struct hyper *h, bool here, struct samples **s);
void samples_free(struct samples *s);
/* fn for every guest of the samples. */
struct guest_sample {
	int64_t server;
	struct guest_stats stats;
	uint64_t rx_bytes, rx_packets, rx_dropped, tx_bytes, tx_packets, tx_dropped;
	bool nets;	/* the last six are known */
};
/* Families of all guests' figures, as of the last look at each host that answers. */
void guests_metrics(struct call *c, FILE *out);
/* A server's own: "cpu_seconds 1.25" a line. */
show_fn show_diagnostics;

/* hosts.c: fn for each host's samples, under its lock. */
void hosts_samples(struct cloud *cl, void (*fn)(void *arg, const struct samples *s), void *arg);
