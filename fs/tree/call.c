/* One request's, or one step's, connection to the state, and what follows from its commit. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "notify.h"
#include "tasks.h"
#include "tree.h"

void request_new(char ret[REQUEST_LEN])
{
	unsigned char b[16];
	char *p = ret;

	while (getrandom(b, sizeof b, 0) != sizeof b)
		;
	p += sprintf(p, "req-");
	for (int i = 0; i < 16; i++)
		p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

int call_begin(struct fs *fs, struct call *c, struct err *e)
{
	*c = (struct call){ .fs = fs };
	snprintf(c->who.name, sizeof c->who.name, "system");
	return db_reader(fs->state, &c->db, e);
}

int call_write(struct call *c, struct err *e)
{
	if (!*c->request)
		request_new(c->request);
	if (c->db)
		db_done(steal_ptr(&c->db));
	int rc = tx_begin(c->fs->state, &c->tx, e);
	if (rc == 0)
		c->db = c->tx.db;
	return rc;
}

/* After the commit nobody may miss it: counters first, then caches and waiters, then the workers. */
int call_commit(struct call *c, struct err *e)
{
	int rc = tx_commit(&c->tx, e);

	c->db = NULL;
	if (rc == 0) {
		for (size_t i = 0; i < c->n_cancel; i++)
			tasks_cancel(c->fs, c->cancel[i]);
		changes_count(c->changes, c->n_changes);
		if (c->fs->committed)
			c->fs->committed(c->fs, c->changes, c->n_changes);
		if (!c->hold)
			call_announce(c);
		tasks_add(c);
	}
	if (rc < 0 || !c->hold)
		c->n_changes = 0;
	c->n_cancel = 0;
	return rc;
}

void call_announce(struct call *c)
{
	notify_changes(c->fs, c->changes, c->n_changes);
	c->n_changes = 0;
}

void call_anew(struct call *c)
{
	if (c->tx.open)
		tx_rollback(&c->tx);
	else if (c->db && c->db != c->tx.db)
		db_done(c->db);
	c->db = NULL;
	tasks_forget(c, 0, 0);
	c->n_changes = c->n_cancel = 0;
}

void call_end(struct call *c)
{
	if (!c->fs)
		return;
	if (c->tx.open)
		tx_rollback(&c->tx);
	else if (c->db && c->db != c->tx.db)	/* the writer's is not the pool's */
		db_done(c->db);
	c->db = NULL;
	tasks_forget(c, 0, 0);
	free(c->jobs);
	c->jobs = NULL;
	free(c->changes);
	free(c->cancel);
	c->changes = NULL;
	c->cancel = NULL;
	c->n_changes = c->n_cancel = 0;
}

static struct change *add(struct call *c, const struct obj *o, unsigned what)
{
	bool there = c->n_changes && o->row.id <= c->last_changed && !(what & CH_GONE);

	for (size_t i = c->n_changes; there && i-- > 0; )	/* what came last is asked for most */
		if (c->changes[i].row == o->row.id && !(c->changes[i].what & CH_GONE)) {
			c->changes[i].what |= what;
			return &c->changes[i];
		}
	struct change *ch = reallocarray(c->changes, c->n_changes + 1, sizeof *ch);
	if (!ch)
		return NULL;
	c->changes = ch;
	if (!c->n_changes || o->row.id > c->last_changed)
		c->last_changed = o->row.id;
	ch[c->n_changes] = (struct change){ .row = o->row.id, .parent = o->row.parent, .tenant = o->row.tenant,
		.kind = o->kind->no, .what = what };
	return &ch[c->n_changes++];
}

void changed(struct call *c, const struct obj *o, unsigned what)
{
	struct change *ch = add(c, o, what);

	if (ch && what & CH_VALUES)
		ch->only = NULL;
}

void changed_file(struct call *c, const struct obj *o, const struct file *f)
{
	size_t before = c->n_changes;
	struct change *ch = add(c, o, CH_VALUES);

	if (ch)		/* a new one, or one that said nothing else so far */
		ch->only = c->n_changes > before || ch->only == f ? f : NULL;
}

void changed_gone(struct call *c, const struct obj *o, const char *old_name)
{
	struct change *ch = add(c, o, CH_GONE | CH_VALUES);

	if (!ch)
		return;
	snprintf(ch->name, sizeof ch->name, "%s", old_name);
	ch->kernel_knows = c->kernel_knows == o->row.id;
}

static int add_user(void *arg, const struct row *r)
{
	struct call *c = arg;
	struct obj o = { .row = *r, .kind = kind_by_no(c->fs, (unsigned)r->kind) };

	if (o.kind)
		changed(c, &o, CH_VALUES);
	return 0;
}

void changed_users(struct call *c, const struct obj *o)
{
	struct err e;

	obj_users(c, o, true, true, add_user, c, &e);
}

void task_cancel_on_commit(struct call *c, int64_t object)
{
	tasks_forget(c, 0, object);
	int64_t *v = reallocarray(c->cancel, c->n_cancel + 1, sizeof *v);

	if (!v)
		return;
	c->cancel = v;
	v[c->n_cancel++] = object;
}

/* TIME TENANT PATH VERB RESULT user=... request=... duration=... what=... */
static int put_event(struct call *c, int64_t tenant, const char *path, const char *verb, const char *result, int64_t duration_us,
		     const char *what, struct err *e)
{
	AUTO(free) char *line = NULL;
	struct obj of = { 0 };
	size_t len;

	if (tenant && obj_by_id(c, tenant, &of, e) < 0)
		return -e->code;
	FILE *f = open_memstream(&line, &len);
	if (!f)
		return err_set(e, ENOMEM, "%m");
	put_time(f, now_us());
	putc(' ', f);
	put_word(f, tenant ? of.row.name : "-");
	putc(' ', f);
	put_word(f, path);
	fprintf(f, " %s %s user=%s request=%s", verb, result, c->who.name, c->request);
	if (duration_us >= 0)
		fprintf(f, " duration=%.3fs", (double)duration_us / 1e6);
	if (what) {
		fputs(" what=", f);
		put_word(f, what);
	}
	putc('\n', f);
	fclose(f);
	return event_add(c->db, tenant, line, e);
}

int event_put(struct call *c, const struct obj *o, const char *verb, const char *result, int64_t duration_us, struct err *e)
{
	char path[1600];

	return obj_name_path(c, o, path, sizeof path, e) < 0 ? -e->code :
		put_event(c, o->row.tenant, path, verb, result, duration_us, NULL, e);
}

int event_tell(struct call *c, int64_t tenant, const char *thing, const char *verb, const char *result, const char *what, struct err *e)
{
	return put_event(c, tenant, thing, verb, result, -1, what, e);
}
