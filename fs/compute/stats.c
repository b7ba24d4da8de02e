#include "stats.h"

#include <string.h>

#include "../../backends/base/metric.h"
#include "../../backends/network/net.h"
#include "../../backends/state/cloud.h"

struct samples {
	struct guest_sample *v;	/* by server */
	size_t n;
};

void samples_free(struct samples *s)
{
	if (s)
		free(s->v);
	free(s);
}

static void add_guest(void *arg, const char *name, const struct guest_stats *st)
{
	struct samples *s = arg;
	long id;

	if (sscanf(name, "c-%ld", &id) != 1)
		return;
	struct guest_sample *v = reallocarray(s->v, s->n + 1, sizeof *v);
	if (!v)
		return;
	s->v = v;
	v[s->n++] = (struct guest_sample){ .server = id, .stats = *st };
}

static int by_server(const void *a, const void *b)
{
	const struct guest_sample *x = a, *y = b;

	return x->server < y->server ? -1 : x->server > y->server;
}

static struct guest_sample *find(const struct samples *s, int64_t server)
{
	const struct guest_sample key = { .server = server };

	return s && s->n ? bsearch(&key, s->v, s->n, sizeof key, by_server) : NULL;
}

/* ---- networks: a look into each namespace in which a sampled guest has a tap */

struct port {
	int64_t network;
	char tap[16];
	struct guest_sample *of;
};

struct ports {
	struct cloud *cl;
	struct guest_sample *of;
	struct port *v;
	size_t n;
	int64_t network;	/* that is looked at */
};

static int add_port(void *arg, const struct port_row *p)
{
	struct ports *ps = arg;
	struct port *v = reallocarray(ps->v, ps->n + 1, sizeof *v);

	if (!v)
		return 0;
	ps->v = v;
	v[ps->n] = (struct port){ .network = p->network, .of = ps->of };
	cloud_tap(ps->cl, p->id, v[ps->n++].tap);
	return 0;
}

static void add_counters(void *arg, const char *link, const struct net_counters *c)
{
	struct ports *ps = arg;

	for (size_t i = 0; i < ps->n; i++) {
		struct guest_sample *g = ps->v[i].of;

		if (ps->v[i].network != ps->network || strcmp(ps->v[i].tap, link) != 0)
			continue;
		g->nets = true;
		g->rx_bytes += c->rx_bytes;
		g->rx_packets += c->rx_packets;
		g->rx_dropped += c->rx_dropped;
		g->tx_bytes += c->tx_bytes;
		g->tx_packets += c->tx_packets;
		g->tx_dropped += c->tx_dropped;
	}
}

static int by_network(const void *a, const void *b)
{
	const struct port *x = a, *y = b;

	return x->network < y->network ? -1 : x->network > y->network;
}

static void sample_networks(struct cloud *cl, struct samples *s)
{
	AUTO(call_end) struct call c = { 0 };
	struct ports ps = { .cl = cl };
	struct err e;

	if (call_begin(&cl->fs, &c, &e) < 0)
		return;
	for (size_t i = 0; i < s->n; i++) {
		ps.of = &s->v[i];
		port_list(c.db, s->v[i].server, 0, add_port, &ps, &e);
	}
	call_end(&c);
	c = (struct call){ 0 };
	if (ps.n)
		qsort(ps.v, ps.n, sizeof *ps.v, by_network);
	for (size_t i = 0; i < ps.n; i++) {
		char ns[32];

		if (ps.v[i].network == ps.network)
			continue;
		ps.network = ps.v[i].network;
		cloud_netns(cl, ps.network, ns);
		net_counters(ns, add_counters, &ps, &e);	/* one that is gone is the drift watch's to tell */
	}
	free(ps.v);
}

void guests_sample(struct cloud *cl, struct hyper *h, bool here, struct samples **s)
{
	struct samples *made = calloc(1, sizeof *made);
	struct err e = { 0 };

	if (!made || hyper_stats(h, add_guest, made, &e) < 0) {
		samples_free(made);
		made = NULL;
	} else {
		if (made->n)
			qsort(made->v, made->n, sizeof *made->v, by_server);
		if (here)
			sample_networks(cl, made);
	}
	*s = made;
}

/* ---- telling */

static const struct figure {
	const char *name, *what;
	enum metric_type type;
	const char *help;
	size_t offset;
	bool real, net;
} figures[] = {
#define STAT(f) offsetof(struct guest_sample, stats.f)
#define NET(f) offsetof(struct guest_sample, f)
	{ "cirrusfs_guest_cpu_seconds_total", "cpu_seconds", METRIC_COUNTER, "Processor time of a guest.", STAT(cpu_s), true, false },
	{ "cirrusfs_guest_resident_bytes", "resident_bytes", METRIC_GAUGE, "Memory its process holds.", STAT(rss), false, false },
	{ "cirrusfs_guest_ram_bytes", "ram_bytes", METRIC_GAUGE, "Memory it was given.", STAT(ram), false, false },
	{ "cirrusfs_guest_disk_read_bytes_total", "disk_read_bytes", METRIC_COUNTER, "Read from all its disks.", STAT(read_bytes), false, false },
	{ "cirrusfs_guest_disk_reads_total", "disk_reads", METRIC_COUNTER, "Requests to read.", STAT(read_ops), false, false },
	{ "cirrusfs_guest_disk_written_bytes_total", "disk_written_bytes", METRIC_COUNTER, "Written to all its disks.", STAT(written_bytes), false, false },
	{ "cirrusfs_guest_disk_writes_total", "disk_writes", METRIC_COUNTER, "Requests to write.", STAT(write_ops), false, false },
	{ "cirrusfs_guest_network_received_bytes_total", "network_received_bytes", METRIC_COUNTER, "Received by all its NICs.", NET(rx_bytes), false, true },
	{ "cirrusfs_guest_network_received_packets_total", "network_received_packets", METRIC_COUNTER, "Packets received.", NET(rx_packets), false, true },
	{ "cirrusfs_guest_network_received_dropped_total", "network_received_dropped", METRIC_COUNTER, "Packets for it that were dropped.", NET(rx_dropped), false, true },
	{ "cirrusfs_guest_network_sent_bytes_total", "network_sent_bytes", METRIC_COUNTER, "Sent by all its NICs.", NET(tx_bytes), false, true },
	{ "cirrusfs_guest_network_sent_packets_total", "network_sent_packets", METRIC_COUNTER, "Packets sent.", NET(tx_packets), false, true },
	{ "cirrusfs_guest_network_sent_dropped_total", "network_sent_dropped", METRIC_COUNTER, "Packets of it that were dropped.", NET(tx_dropped), false, true },
};

static double value_of(const struct figure *f, const struct guest_sample *g)
{
	const char *at = (const char *)g + f->offset;

	return f->real ? *(const double *)at : (double)*(const uint64_t *)at;
}

struct all {
	struct call *c;
	struct samples sum;
};

static void add_samples(void *arg, const struct samples *s)
{
	struct all *a = arg;
	struct guest_sample *v = s->n ? reallocarray(a->sum.v, a->sum.n + s->n, sizeof *v) : NULL;

	if (!v)
		return;
	memcpy(v + a->sum.n, s->v, s->n * sizeof *v);
	a->sum.v = v;
	a->sum.n += s->n;
}

void guests_metrics(struct call *c, FILE *out)
{
	struct all a = { .c = c };
	AUTO(free) struct row (*names)[2] = NULL;	/* server, tenant */
	struct err e;

	hosts_samples(cloud_of(c->fs), add_samples, &a);
	names = a.sum.n ? calloc(a.sum.n, sizeof *names) : NULL;
	for (size_t i = 0; names && i < a.sum.n; i++)
		if (row_by_id(c->db, a.sum.v[i].server, &names[i][0], &e) <= 0 || row_by_id(c->db, names[i][0].tenant, &names[i][1], &e) <= 0)
			names[i][0].id = 0;	/* gone meanwhile */
	for (size_t f = 0; f < ARRAY_LEN(figures); f++) {
		metric_family(out, figures[f].name, figures[f].type, figures[f].help);
		for (size_t i = 0; names && i < a.sum.n; i++)
			if (names[i][0].id && (a.sum.v[i].nets || !figures[f].net))
				metric_put(out, figures[f].name, value_of(&figures[f], &a.sum.v[i]), "tenant", names[i][1].name,
					   "server", names[i][0].name, "id", names[i][0].uuid, NULL);
	}
	free(a.sum.v);
}

struct one {
	int64_t server;
	struct guest_sample found;
};

static void find_one(void *arg, const struct samples *s)
{
	struct one *o = arg;
	const struct guest_sample *g = find(s, o->server);

	if (g)
		o->found = *g;
}

int show_diagnostics(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct one one = { .server = o->row.id };

	hosts_samples(cloud_of(c->fs), find_one, &one);
	for (size_t f = 0; one.found.server && f < ARRAY_LEN(figures); f++)
		if (one.found.nets || !figures[f].net)
			fprintf(out, "%s %.15g\n", figures[f].what, value_of(&figures[f], &one.found));
	return 0;
}
