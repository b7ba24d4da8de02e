/* Readers that wait: for an object's, a collection's, a tenant's tasks, for a status, for events, for what somebody says.  They are
 * parked here, not on a thread, and answered by the notifier when a change makes it so, or by whoever has something to say. */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "handle.h"
#include "notify.h"

struct verdict {
	bool done;
	struct err err;
	char text[64];
	char *bytes;	/* events: owned */
	size_t len;
};

struct parked {
	struct parked *next, *prev;
	uint64_t id;
	struct node n;
	struct row of;		/* the object; a collection's parent */
	int64_t offset;
	size_t size;
	answer_fn *fn;
	void *req;
	const struct handle *talk;	/* of a talk; it stays open while it is read */
	struct verdict v;
};

struct waits {
	pthread_mutex_t lock;
	struct parked *first;
	uint64_t next_id;
	bool ended;
	uint64_t interrupted[256];	/* ids whose interrupt came before they were parked */
	unsigned next_interrupted;
};

int waits_init(struct fs *fs, struct err *e)
{
	fs->waits = calloc(1, sizeof *fs->waits);
	if (!fs->waits)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&fs->waits->lock, NULL);
	fs->waits->next_id = 1;
	return 0;
}

uint64_t waits_id(struct fs *fs)
{
	return __atomic_fetch_add(&fs->waits->next_id, 1, __ATOMIC_RELAXED);
}

/* ---- is it over? */


static int name_failed(void *arg, const struct row *r)
{
	struct err *e = arg;
	size_t n = strlen(e->msg);

	if (e->code && n > 300)
		return 1;
	e->code = EIO;
	snprintf(e->msg + n, sizeof e->msg - n, "%s%s of '%s' failed", n ? ", " : "", r->failed, r->name);
	return 0;
}

static void judge_object(struct call *c, const struct parked *p, struct verdict *v)
{
	const struct kind *k = c->fs->by_no[p->of.kind];
	int64_t running = 0;
	struct row r;
	int rc = row_by_id(c->db, p->of.id, &r, &v->err);

	if (rc == 0) {
		v->done = true;
		snprintf(v->text, sizeof v->text, "%s\n", k->gone ? k->gone : "DELETED");
		return;
	}
	if (rc > 0)
		rc = task_any(c->db, 0, 0, 0, r.id, &running, &v->err);
	v->done = rc < 0 || (!running && !r.deleted);
	if (rc < 0 || !v->done)
		return;
	if (*r.failed)
		name_failed(&v->err, &r);
	snprintf(v->text, sizeof v->text, "%s\n", r.status);
}

/* The root's, and that of all tenants: everything is below. */
static bool is_wide(struct fs *fs, const struct parked *p)
{
	return p->of.id == ROOT_ROW && (p->n.file < NF_COLL_FILE || strcmp(fs->by_no[p->n.kind]->name, "tenant") == 0);
}

static void judge_many(struct call *c, const struct parked *p, struct verdict *v)
{
	bool coll = p->n.file >= NF_COLL_FILE, root = !coll && p->of.id == ROOT_ROW, wide = is_wide(c->fs, p);
	int64_t running = 0;
	int rc = task_any(c->db, p->of.id, coll && !wide ? p->n.kind : 0, coll || root ? 0 : p->of.id, 0, &running, &v->err);

	v->done = rc < 0 || !running;
	if (rc < 0 || !v->done)
		return;
	failed_list(c->db, p->of.id, coll ? p->n.kind : 0, coll || root ? 0 : p->of.id, name_failed, &v->err, &(struct err){ 0 });
	snprintf(v->text, sizeof v->text, "%s\n", coll || root ? "done" : p->of.status);
}

static const char *status_word(const struct kind *k, unsigned i, char *ret, size_t size)
{
	const char *p = k->statuses;

	while (i-- && p && *p) {
		p += strcspn(p, " ");
		p += *p == ' ';
	}
	snprintf(ret, size, "%.*s", p ? (int)strcspn(p, " ") : 0, p ? p : "");
	return ret;
}

static void judge_status(struct call *c, const struct parked *p, struct verdict *v)
{
	const struct kind *k = c->fs->by_no[p->of.kind];
	char want[32];
	int64_t running = 0;
	struct row r;
	int rc = row_by_id(c->db, p->of.id, &r, &v->err);

	status_word(k, p->n.file, want, sizeof want);
	v->done = true;
	if (rc == 0 || (rc > 0 && r.deleted))
		err_set(&v->err, ENOENT, "it was deleted before it was %s", want);
	else if (rc > 0 && strcmp(r.status, want) == 0)
		snprintf(v->text, sizeof v->text, "%s\n", want);
	else if (rc > 0 && *r.failed && task_any(c->db, 0, 0, 0, r.id, &running, &v->err) == 0 && !running)
		name_failed(&v->err, &r);
	else
		v->done = rc < 0;
}

static void judge_events(struct call *c, const struct parked *p, struct verdict *v)
{
	v->bytes = malloc(p->size ? p->size : 1);
	int64_t n = v->bytes ? event_read(c->db, 0, 0, p->offset, v->bytes, p->size, &v->err) : err_set(&v->err, ENOMEM, "%m");

	v->done = n != 0;
	v->len = n > 0 ? (size_t)n : 0;
}

static void judge_talk(const struct parked *p, struct verdict *v)
{
	*v = (struct verdict){ .bytes = malloc(p->size ? p->size : 1) };
	int64_t n = v->bytes ? p->talk->talk->read(p->talk->talking, p->offset, v->bytes, p->size, &v->err) : err_set(&v->err, ENOMEM, "%m");

	v->done = n != -EAGAIN;
	v->len = n > 0 ? (size_t)n : 0;
	if (!v->done) {
		free(steal_ptr(&v->bytes));
		v->err = (struct err){ 0 };
	}
}

static void judge(struct call *c, const struct parked *p, struct verdict *v)
{
	const struct file *f = node_file(c->fs, p->n);
	const struct kind *k = c->fs->by_no[p->of.kind];

	*v = (struct verdict){ 0 };
	if (p->n.kind == NK_STATUS)
		judge_status(c, p, v);
	else if (f && strcmp(f->name, "events-follow") == 0)
		judge_events(c, p, v);
	else if (p->n.file >= NF_COLL_FILE || p->of.id == ROOT_ROW || strcmp(k->name, "tenant") == 0)
		judge_many(c, p, v);
	else
		judge_object(c, p, v);
}

/* v may be p's own. */
static void answer(struct parked *p, struct verdict *v)
{
	char *bytes = v->bytes;

	p->fn(p->req, v->err.code ? &v->err : NULL, bytes ? bytes : v->text, bytes ? v->len : strlen(v->text));
	free(p);
	free(bytes);
}

/* ---- parking */

static void unlink_parked(struct waits *w, struct parked *p)
{
	if (p->prev)
		p->prev->next = p->next;
	else
		w->first = p->next;
	if (p->next)
		p->next->prev = p->prev;
}

static bool take_interrupt(struct waits *w, uint64_t id)
{
	for (size_t i = 0; i < ARRAY_LEN(w->interrupted); i++)
		if (w->interrupted[i] == id) {
			w->interrupted[i] = 0;
			return true;
		}
	return false;
}

/* Answers it when it is over or may not wait, parks it when not.  The lock is given back. */
static void settle(struct waits *w, struct parked *p, struct verdict *v)
{
	if (!v->done && (w->ended || take_interrupt(w, p->id))) {
		v->done = true;
		err_set(&v->err, EINTR, "interrupted");
	}
	if (!v->done) {
		p->next = w->first;
		if (w->first)
			w->first->prev = p;
		w->first = p;
	}
	pthread_mutex_unlock(&w->lock);
	if (v->done)
		answer(p, v);
	else
		free(v->bytes);
}

void waits_park_talk(struct fs *fs, uint64_t id, const struct handle *h, int64_t offset, size_t size, answer_fn *fn, void *req)
{
	struct parked *p = calloc(1, sizeof *p);
	struct err e = { .code = ENOMEM, .msg = "out of memory" };
	struct verdict v;

	if (!p) {
		fn(req, &e, NULL, 0);
		return;
	}
	*p = (struct parked){ .id = id, .n = h->n, .offset = offset, .size = size, .fn = fn, .req = req, .talk = h };
	pthread_mutex_lock(&fs->waits->lock);
	judge_talk(p, &v);
	settle(fs->waits, p, &v);
}

void waits_wake(struct fs *fs, const void *key)
{
	struct waits *w = fs->waits;
	struct parked *done = NULL, *next;

	pthread_mutex_lock(&w->lock);
	for (struct parked *p = w->first; p; p = next) {
		struct verdict v;

		next = p->next;
		if (!p->talk || p->talk->talk->key(p->talk->talking) != key)
			continue;
		judge_talk(p, &v);
		if (!v.done)
			continue;
		unlink_parked(w, p);
		p->v = v;
		p->next = done;
		done = p;
	}
	pthread_mutex_unlock(&w->lock);
	for (; done; done = next) {
		next = done->next;
		answer(done, &done->v);
	}
}

/* Judged under the lock: a change committed before the list was read is seen, one after it finds the parked. */
void waits_park(struct fs *fs, uint64_t id, struct node n, int64_t offset, size_t size, answer_fn *fn, void *req)
{
	AUTO(call_end) struct call c = { 0 };
	struct waits *w = fs->waits;
	struct parked *p = calloc(1, sizeof *p);
	struct verdict v = { 0 };
	struct err e = { 0 };

	if (!p || call_begin(fs, &c, &e) < 0 || row_by_id(c.db, n.row, &p->of, &e) <= 0) {
		if (!e.code)
			err_set(&e, p ? ENOENT : ENOMEM, "it is gone");
		free(p);
		fn(req, &e, NULL, 0);
		return;
	}
	*p = (struct parked){ .id = id, .n = n, .of = p->of, .offset = offset, .size = size, .fn = fn, .req = req };
	pthread_mutex_lock(&w->lock);
	if (db_snapshot(c.db, &e) == 0)		/* status and tasks as of one moment */
		judge(&c, p, &v);
	settle(w, p, &v);
}

void waits_interrupt(struct fs *fs, uint64_t id)
{
	struct waits *w = fs->waits;
	struct verdict v = { .done = true };
	struct parked *p;

	pthread_mutex_lock(&w->lock);
	for (p = w->first; p && p->id != id; p = p->next)
		;
	if (p)
		unlink_parked(w, p);
	else
		w->interrupted[w->next_interrupted++ % ARRAY_LEN(w->interrupted)] = id;
	pthread_mutex_unlock(&w->lock);
	err_set(&v.err, EINTR, "interrupted");
	if (p)
		answer(p, &v);
}

static bool concerns(struct fs *fs, const struct parked *p, const struct change *ch)
{
	const struct file *f = node_file(fs, p->n);

	if (f && strcmp(f->name, "events-follow") == 0)
		return true;
	if (is_wide(fs, p))
		return ch->what & CH_TASK;
	if (f && p->n.file >= NF_COLL_FILE)
		return ch->what & CH_TASK && ch->parent == p->of.id && ch->kind == p->n.kind;
	return ch->row == p->of.id || ch->tenant == p->of.id;
}

static bool same_question(const struct parked *a, const struct parked *b)
{
	return node_same(a->n, b->n) && a->offset == b->offset && a->size == b->size;
}

void waits_check(struct fs *fs, const struct change *ch)
{
	struct waits *w = fs->waits;
	struct parked *done = NULL, *next, asked = { 0 };
	struct verdict v = { 0 };
	struct err e;

	/* under the lock: one that was judged before this change is in the list, or about to be */
	pthread_mutex_lock(&w->lock);
	bool none = !w->first;
	pthread_mutex_unlock(&w->lock);
	if (none)
		return;
	AUTO(call_end) struct call c = { 0 };
	if (call_begin(fs, &c, &e) < 0)
		return;
	pthread_mutex_lock(&w->lock);
	db_snapshot(c.db, &e);
	for (struct parked *p = w->first; p; p = next) {
		next = p->next;
		if (p->talk || !concerns(fs, p, ch))
			continue;
		if (!asked.id || !same_question(&asked, p)) {	/* a thousand readers ask one question */
			free(v.bytes);
			judge(&c, p, &v);
			asked = *p;
		}
		if (!v.done)
			continue;
		unlink_parked(w, p);
		p->v = v;
		if (v.bytes && (p->v.bytes = malloc(v.len)))
			memcpy(p->v.bytes, v.bytes, v.len);
		p->next = done;
		done = p;
	}
	pthread_mutex_unlock(&w->lock);
	free(v.bytes);
	for (; done; done = next) {
		next = done->next;
		answer(done, &done->v);
	}
}

void waits_free(struct fs *fs)
{
	free(fs->waits);
	fs->waits = NULL;
}

void waits_end(struct fs *fs)
{
	struct waits *w = fs->waits;
	struct parked *p;

	pthread_mutex_lock(&w->lock);
	w->ended = true;
	p = w->first;
	w->first = NULL;
	pthread_mutex_unlock(&w->lock);
	while (p) {
		struct parked *next = p->next;
		struct verdict v = { .done = true };

		err_set(&v.err, EINTR, "the file system is being unmounted");
		answer(p, &v);
		p = next;
	}
}
