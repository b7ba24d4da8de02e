/* All servers of a host beside all its domains: what events may have missed, and what somebody did behind our back.  Each host's own thread does
 * it, so that a hypervisor that hangs holds up no other. */
#include "hosts.h"

#include <string.h>

#include "../../backends/base/log.h"
#include "../../backends/state/audit.h"
#include "../check.h"

struct domain {
	int64_t server;
	enum guest_state state;
};

struct domains {
	struct domain *v;
	size_t n;
};

static void add_domain(void *arg, const char *name, enum guest_state s)
{
	struct domains *d = arg;
	long id = 0;
	int end = 0;

	if (sscanf(name, "c-%ld%n", &id, &end) != 1 || name[end])
		return;
	struct domain *v = reallocarray(d->v, d->n + 1, sizeof *v);
	if (!v)
		return;
	d->v = v;
	v[d->n++] = (struct domain){ id, s };
}

static int by_server(const void *a, const void *b)
{
	const struct domain *x = a, *y = b;

	return x->server < y->server ? -1 : x->server > y->server;
}

struct ids {
	int64_t *v;
	size_t n;
};

static void add_id(struct ids *ids, int64_t id)
{
	int64_t *v = reallocarray(ids->v, ids->n + 1, sizeof *v);

	if (!v)
		return;
	ids->v = v;
	v[ids->n++] = id;
}

struct comparison {
	struct domains domains;
	struct ids differ, paused;
};

static int compare_one(void *arg, const struct server_audit *s)
{
	struct comparison *x = arg;
	struct domain key = { .server = s->id }, *d = x->domains.n ? bsearch(&key, x->domains.v, x->domains.n, sizeof key, by_server) : NULL;
	enum guest_state now = d ? d->state : GUEST_GONE;

	if (s->busy || s->deleted)
		return 0;
	if (server_differs(s->status, s->power, now))
		add_id(&x->differ, s->id);
	if (now == GUEST_PAUSED && strcmp(s->status, "ACTIVE") == 0)
		add_id(&x->paused, s->id);
	return 0;
}

struct comparer {
	struct cloud *cl;
	struct hyper *h;
	const struct words *before, *woken_before;
	struct words *faults, woken;
};

static void on_drift(void *arg, const struct finding *f)
{
	struct comparer *cm = arg;
	AUTO(free) char *line = NULL;

	if (!f->did && asprintf(&line, "%s: %s: not mended: %s", f->thing, f->wrong, f->failed.msg) < 0)
		return;
	if (f->did || !words_has(cm->before, line))
		watch_tell(cm->cl, f);
	if (line)
		words_add(cm->faults, line);
}

static int resume_guest(struct check *k, int64_t server, const char *name, struct err *e)
{
	return hyper_resume(((struct comparer *)k->arg)->h, name, e);
}

static int end_guest(struct check *k, int64_t server, const char *name, struct err *e)
{
	return hyper_destroy(((struct comparer *)k->arg)->h, name, e);
}

/* Asked again after the state said that no task is at it.  One that stops each time (its disk is full) is resumed each time, and told once. */
static void wake(struct comparer *cm, struct check *k, int64_t server)
{
	static const struct mend m = { "resumed", resume_guest };
	enum guest_state now;
	struct err e = { 0 };
	char name[24];

	guest_name(server, name);
	if (task_busy(&cm->cl->fs, server) || hyper_state(cm->h, name, &now, &e) < 0 || now != GUEST_PAUSED)
		return;
	words_add(&cm->woken, name);
	if (!words_has(cm->woken_before, name))
		check_object(k, server, &m, name, "its guest is paused and nobody asked for it");
	else if (hyper_resume(cm->h, name, &e) < 0 || hyper_state(cm->h, name, &now, &e) < 0 || now == GUEST_PAUSED)
		check_object(k, server, NULL, name, "its guest is paused again and again; is there room on its disk?");
}

/* Domains named as ours by no server of the state: certain only where nobody else can make any. */
static void end_strays(struct comparer *cm, struct check *k, const struct domains *d)
{
	static const struct mend m = { "ended", end_guest };
	struct err e = { 0 };

	for (size_t i = 0; i < d->n; i++) {
		enum guest_state now;
		char name[24], thing[32];

		guest_name(d->v[i].server, name);
		snprintf(thing, sizeof thing, "guest %s", name);
		if (check_known(k, &server_kind, d->v[i].server, &e) == 0 && hyper_state(cm->h, name, &now, &e) == 0 && now != GUEST_GONE)
			check_fault(k, 0, thing, &m, d->v[i].server, name, "there is no such server");
	}
}

static int load(struct comparer *cm, int64_t host, struct comparison *x, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	int rc = hyper_list(cm->h, add_domain, &x->domains, e);

	if (rc == 0 && x->domains.n)
		qsort(x->domains.v, x->domains.n, sizeof *x->domains.v, by_server);
	if (rc == 0)
		rc = call_begin(&cm->cl->fs, &c, e);
	return rc < 0 ? rc : server_audit(c.db, host, compare_one, x, e);
}

void servers_compare(struct cloud *cl, int64_t host, struct hyper *h, bool alone, const struct words *before, struct words *woken,
		     struct words *faults)
{
	struct comparer cm = { .cl = cl, .h = h, .before = before, .woken_before = woken, .faults = faults };
	struct check k = { .cl = cl, .running = true, .mend = true, .found = on_drift, .arg = &cm };
	struct comparison x = { 0 };
	struct err e = { 0 };

	if (load(&cm, host, &x, &e) < 0)
		log_warn("host %ld: compare its servers: %s", (long)host, e.msg);
	for (size_t i = 0; i < x.differ.n && !e.code; i++)
		server_observe(cl, x.differ.v[i], h, "compared");
	for (size_t i = 0; i < x.paused.n && !e.code; i++)
		wake(&cm, &k, x.paused.v[i]);
	for (size_t i = 0; i < x.paused.n && !e.code; i++)
		server_observe(cl, x.paused.v[i], h, "resumed");
	if (alone && !e.code)
		end_strays(&cm, &k, &x.domains);
	words_free(woken);
	*woken = cm.woken;
	free(x.domains.v);
	free(x.differ.v);
	free(x.paused.v);
}
