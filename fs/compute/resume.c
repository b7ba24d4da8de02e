/* After the machine itself was restarted: its guests are gone, and come back as they were. */
#include "server.h"

#include <string.h>

#include "../../backends/base/log.h"
#include "../../backends/state/audit.h"

struct servers {
	int64_t *v;
	size_t n;
};

/* Of hypervisors on this machine: a remote one has a life of its own.  What a task was at goes on by itself. */
static int keep(void *arg, const struct server_audit *s)
{
	struct servers *x = arg;
	bool ours = strncmp(s->uri, "qemu:///", 8) == 0 && strcmp(s->status, "ACTIVE") == 0 && !s->busy && !s->deleted;
	int64_t *v = ours ? reallocarray(x->v, x->n + 1, sizeof *v) : NULL;

	if (!v)
		return 0;
	x->v = v;
	v[x->n++] = s->id;
	return 0;
}

static int resume(struct call *c, int64_t server, bool start, struct err *e)
{
	struct obj o;

	if (obj_by_id(c, server, &o, e) < 0 || obj_set_text(c, &o, "power", "SHUTDOWN", e) < 0 || obj_set_status(c, &o, "SHUTOFF", e) < 0 ||
	    history_add(c->db, server, "power-off", "ok", c->request, "system", 0, "the machine was restarted", e) < 0 ||
	    event_put(c, &o, "power-off", "ok", -1, e) < 0)
		return -e->code;
	return start ? obj_enqueue(c, &o, "start", "", e) : 0;
}

int servers_resume(struct cloud *cl, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct servers x = { 0 };
	int rc = call_begin(&cl->fs, &c, e);

	if (rc == 0)
		rc = call_write(&c, e);
	if (rc == 0)
		rc = server_audit(c.db, 0, keep, &x, e);
	for (size_t i = 0; i < x.n && rc == 0; i++)
		rc = resume(&c, x.v[i], cl->cfg.resume_guests, e);
	if (rc == 0 && x.n)
		log_info("the machine was restarted: %zu servers that ran are %s", x.n, cl->cfg.resume_guests ? "started again" : "SHUTOFF");
	free(x.v);
	return rc < 0 ? rc : call_commit(&c, e);
}
