/* Networks against the machine, both ways: what a network should have, and what stands under the store's names. */
#include "../check.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "../../backends/state/audit.h"
#include "../../backends/compute/hyper.h"
#include "../compute/server.h"
#include "network.h"

struct thing {
	enum net_thing what;
	char netns[64], name[64];
	pid_t pid;
};

struct things {
	struct check *k;
	struct thing *v;
	size_t n, room;
	bool short_of_memory;
};

static void keep(void *arg, const struct net_found *f)
{
	struct things *t = arg;

	if (t->n == t->room) {
		struct thing *v = reallocarray(t->v, t->room * 2 + 16, sizeof *v);

		if (!v) {
			t->short_of_memory = true;
			return;
		}
		t->v = v;
		t->room = t->room * 2 + 16;
	}
	struct thing *x = &t->v[t->n++];
	*x = (struct thing){ .what = f->what, .pid = f->pid };
	snprintf(x->netns, sizeof x->netns, "%s", f->netns);
	snprintf(x->name, sizeof x->name, "%s", f->name);
}

/* ---- what the state does not know */

static int sweep(struct check *k, int64_t network, const char *name, struct err *e)
{
	return network_sweep(k->cl, network, e);
}

static int sweep_link(struct check *k, int64_t row, const char *name, struct err *e)
{
	return net_link_delete(name, e);
}

static int sweep_table(struct check *k, int64_t row, const char *name, struct err *e)
{
	return network_host_table(k->cl, e);
}

/* name: "NETNS TAP". */
static int sweep_tap(struct check *k, int64_t port, const char *name, struct err *e)
{
	char netns[64];
	size_t n = strcspn(name, " ");

	snprintf(netns, sizeof netns, "%.*s", (int)n, name);
	return tap_delete(*netns ? netns : "-", name + n + 1, e);
}

static const struct mend removed = { "removed", sweep }, link_removed = { "removed", sweep_link }, table_removed = { "removed", sweep_table },
	tap_removed = { "removed", sweep_tap };

/* The row in "cfs1a2b3c4dn12" or, to base 36, in "cfs1a2b3cv1f". */
static int64_t row_in(const char *name, size_t prefix, int base)
{
	char *end;
	long row = strlen(name) > prefix ? strtol(name + prefix, &end, base) : 0;

	return row > 0 && !*end ? row : 0;
}

struct port_place {
	int64_t port;
	bool found;
	struct port_row row;
};

static int one_port(void *arg, const struct port_row *p)
{
	struct port_place *x = arg;

	if (p->id != x->port)
		return 0;
	x->found = true;
	x->row = *p;
	return 1;
}

/* 1: that port is there, *ret is it. */
static int find_port(struct check *k, int64_t port, struct port_row *ret, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct port_place x = { .port = port };
	struct row r;
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = row_by_id(c.db, port, &r, e);
	if (rc > 0 && r.kind == port_kind.no)
		rc = port_list(c.db, 0, r.parent, one_port, &x, e);
	*ret = x.row;
	return rc < 0 ? rc : x.found;
}

/* One in the host's namespace is on its way while its server's task runs. */
static int judge_tap(struct check *k, const struct thing *t, struct err *e)
{
	char thing[160], place[160], wanted[32];
	struct port_row p;
	int rc = find_port(k, row_in(t->name, 10, 36), &p, e);

	if (rc < 0)
		return rc;
	snprintf(thing, sizeof thing, "tap %s%s%s", t->name, *t->netns ? " in " : "", t->netns);
	snprintf(place, sizeof place, "%s %s", t->netns, t->name);
	if (rc == 0) {
		check_fault(k, 0, thing, &tap_removed, 0, place, "there is no such port");
		return 0;
	}
	cloud_netns(k->cl, p.network, wanted);
	if (*t->netns && strcmp(t->netns, wanted) != 0)
		check_fault(k, p.server, thing, &tap_removed, 0, place, "its port is in another network, %s", wanted);
	return 0;
}

static int judge_network(struct check *k, const struct thing *t, int64_t row, struct err *e)
{
	static const char *const words[] = { [NET_NAMESPACE] = "namespace", [NET_LINK] = "link", [NET_DNS_DIR] = "directory " "/run/cirrusfs-dns/",
		[NET_DNSMASQ] = "dnsmasq of network" };
	char thing[160];
	int rc = check_known(k, &network_kind, row, e);

	if (rc)
		return rc < 0 ? rc : 0;
	if (t->what == NET_DNSMASQ)
		snprintf(thing, sizeof thing, "process %d, dnsmasq", (int)t->pid);
	else
		snprintf(thing, sizeof thing, "%s%s%s", words[t->what], t->what == NET_DNS_DIR ? "" : " ", t->name);
	check_fault(k, 0, thing, t->what == NET_LINK ? &link_removed : &removed, row, t->name, "there is no network %ld", (long)row);
	return 0;
}

static int any_network(void *arg, const struct row *r)
{
	*(bool *)arg |= strcmp(r->status, "DRAFT") != 0;
	return 0;
}

/* It goes with the last network. */
static int judge_table(struct check *k, const struct thing *t, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	bool any = false;
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = row_list(c.db, 0, network_kind.no, 0, true, any_network, &any, e);
	call_end(&c);
	c = (struct call){ 0 };
	if (rc == 0 && !any) {
		char thing[96];

		snprintf(thing, sizeof thing, "nftables table inet %s", t->name);
		check_fault(k, 0, thing, &table_removed, 0, t->name, "there is no network that needs it");
	}
	return rc;
}

static int judge(struct check *k, const struct thing *t, struct err *e)
{
	switch (t->what) {
	case NET_NAMESPACE:
	case NET_DNS_DIR:
		return judge_network(k, t, row_in(t->name, 12, 10), e);
	case NET_DNSMASQ:
		return judge_network(k, t, row_in(t->name, 0, 10), e);
	case NET_TABLE:
		return judge_table(k, t, e);
	case NET_LINK:
		if (strlen(t->name) > 10 && t->name[9] == 't')
			return judge_tap(k, t, e);
		if (strlen(t->name) > 10 && t->name[9] == 'v' && !*t->netns)
			return judge_network(k, t, row_in(t->name, 10, 36), e);
	}
	return 0;
}

/* ---- what a network should have */

struct faults {
	struct check *k;
	int64_t network;
	struct words host;	/* said once for all networks */
	struct words own;
};

static void on_fault(void *arg, const char *wrong, bool of_host)
{
	struct faults *f = arg;

	words_add(of_host ? &f->host : &f->own, wrong);
}

static int bring_up(struct check *k, int64_t network, const char *name, struct err *e)
{
	return network_up(k->cl, network, e);
}

/* Told after the network's lock is let go; the first that is mended mends all of it. */
static int check_network(struct faults *f, struct words *told, struct err *e)
{
	static const struct mend up = { "made again", bring_up };
	int rc = network_faults(f->k->cl, f->network, on_fault, f, e);

	if (rc < 0) {	/* it could not be looked at: that is a fault of its own, and holds up no other */
		check_object(f->k, f->network, &up, NULL, "%s", e->msg);
		*e = (struct err){ 0 };
	}
	for (size_t i = 0; i < f->own.n; i++)
		check_object(f->k, f->network, &up, NULL, "%s", f->own.v[i]);
	for (size_t i = 0; i < f->host.n; i++) {
		if (words_has(told, f->host.v[i]))
			continue;
		words_add(told, f->host.v[i]);
		check_fault(f->k, 0, "this machine", &up, f->network, NULL, "%s", f->host.v[i]);
	}
	words_free(&f->own);
	words_free(&f->host);
	return 0;
}

struct ids {
	int64_t *v;
	size_t n;
};

static int keep_active(void *arg, const struct row *r)
{
	struct ids *ids = arg;
	int64_t *v = r->deleted || strcmp(r->status, "ACTIVE") != 0 ? NULL : reallocarray(ids->v, ids->n + 1, sizeof *v);

	if (!v)
		return 0;
	ids->v = v;
	v[ids->n++] = r->id;
	return 0;
}

static int check_networks(struct check *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct words told = { 0 };
	struct ids ids = { 0 };
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = row_idle(c.db, network_kind.no, keep_active, &ids, e);
	call_end(&c);
	c = (struct call){ 0 };
	for (size_t i = 0; i < ids.n && rc == 0; i++)
		rc = check_network(&(struct faults){ .k = k, .network = ids.v[i] }, &told, e);
	words_free(&told);
	free(ids.v);
	return rc;
}

/* ---- guests' taps that are missing */

struct want {
	struct things *there;
	struct call *c;
	struct err *e;
	struct port_row *v;	/* of guests that run, without their tap */
	size_t n;
};

static bool has_tap(const struct things *t, const char *netns, const char *tap)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->v[i].what == NET_LINK && strcmp(t->v[i].name, tap) == 0 && strcmp(t->v[i].netns, netns) == 0)
			return true;
	return false;
}

static int want_tap(void *arg, const struct port_row *p)
{
	struct want *w = arg;
	char tap[16], netns[32];

	cloud_tap(w->there->k->cl, p->id, tap);
	cloud_netns(w->there->k->cl, p->network, netns);
	struct port_row *v = has_tap(w->there, netns, tap) ? NULL : reallocarray(w->v, w->n + 1, sizeof *v);
	if (!v)
		return 0;
	w->v = v;
	v[w->n++] = *p;
	return 0;
}

/* Only of guests whose process lives here: what is wrong with the others is told where servers are looked at. */
static int want_taps(void *arg, const struct server_audit *s)
{
	struct want *w = arg;
	char name[24];

	snprintf(name, sizeof name, "c-%ld", (long)s->id);
	if (s->busy || s->deleted || strcmp(s->status, "ACTIVE") != 0 || guest_process(w->there->k->cl->run, name) == 0)
		return 0;
	return port_list(w->c->db, s->id, 0, want_tap, w, w->e) < 0;
}

static int restore(struct check *k, int64_t server, const char *name, struct err *e)
{
	return server_restore_taps(k->cl, server, e);
}

/* A namespace that was mended may have brought them back: looked at once more. */
static int check_taps(struct check *k, struct things *t, struct err *e)
{
	static const struct mend m = { "made again and given back to its guest", restore };
	AUTO(call_end) struct call c = { 0 };
	struct want w = { t, &c, e };
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = server_audit(c.db, 0, want_taps, &w, e);
	call_end(&c);
	c = (struct call){ 0 };
	for (size_t i = 0; i < w.n && rc == 0; i++) {
		char tap[16], netns[32];

		cloud_tap(k->cl, w.v[i].id, tap);
		cloud_netns(k->cl, w.v[i].network, netns);
		if (!tap_plugged(netns, tap))
			check_object(k, w.v[i].server, &m, NULL, "the tap %s is not in %s", tap, netns);
	}
	free(w.v);
	return rc < 0 ? rc : -e->code;
}

int networks_check(struct check *k, struct err *e)
{
	char netns[32], link[16], table[16], dirs[PATH_MAX];
	struct things t = { .k = k };

	cloud_netns(k->cl, 0, netns);
	netns[12] = '\0';
	cloud_link(k->cl, 0, link);
	link[9] = '\0';
	snprintf(table, sizeof table, "cfs%s", k->cl->hash);
	snprintf(dirs, sizeof dirs, "%s/networks", k->cl->fs.store);
	struct net_names names = { netns, link, table, dirs };
	int rc = net_list(&names, keep, &t, e);

	if (rc == 0 && t.short_of_memory)
		rc = err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < t.n && rc == 0; i++)
		rc = judge(k, &t.v[i], e);
	if (rc == 0)
		rc = check_strays(k, "networks", &network_kind, &removed, e);
	if (rc == 0 && !k->restarted)
		rc = check_networks(k, e);
	if (rc == 0 && !k->restarted)
		rc = check_taps(k, &t, e);
	free(t.v);
	return rc;
}
