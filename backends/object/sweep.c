/* What nobody waits for, by one thread: nodes and chunks that nothing refers to any more go, small chunks move from the index into packs, packs
 * that are half dead give what lives in them to others, expired objects go. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"

#define TURN 256		/* rows in one hold of the index's lock */
#define LOOK_MS 500
#define BUSY 1000		/* changes between two looks */
#define BUSY_MS 5000
#define FRESH_PACK (4 << 20)	/* bytes of small chunks in the index that are worth a pack's sync ... */
#define FRESH_MS 2000		/* ... or how long nothing else happens until they are packed */
#define PACK_LOOK_MS 5000

struct sweep {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	_Atomic bool stop;
};

/* ---- without references */

static int drop_child(void *arg, int64_t what)
{
	struct objects *os = arg;
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, what > 0 ? "UPDATE chunk SET refs = refs - 1 WHERE id = $1 AND refs > 0" :
						     "UPDATE node SET refs = refs - 1 WHERE id = $1 AND refs > 0");
	struct err e;

	stmt_int(&s, 1, what > 0 ? what : -what);
	return stmt_run(&s, &e);
}

static int ids_of(struct objects *os, const char *sql, int64_t after, int64_t *ids, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, sql);
	int n = 0, rc = 0;

	stmt_int(&s, 1, after);
	stmt_int(&s, 2, TURN);
	while (n < TURN && (rc = stmt_step(&s, e)) > 0)
		ids[n++] = stmt_col_int(&s, 0);
	return rc < 0 ? rc : n;
}

static int drop_node(struct objects *os, int64_t id, struct err *e)
{
	if (node_refs(os, id, drop_child, os, e) < 0)
		return -e->code;
	return INDEX_RUN(os, e, "DELETE FROM node WHERE id = $1 AND refs = 0", id);
}

static int drop_chunk(struct objects *os, int64_t id, struct err *e)
{
	struct stmt s = stmt_prepare(os->db, "SELECT pack, stored, h FROM chunk WHERE id = $1 AND refs = 0");
	int64_t pack = 0, stored = 0, h = 0;

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc > 0) {
		pack = stmt_col_int(&s, 0);
		stored = stmt_col_int(&s, 1);
		h = stmt_col_int(&s, 2);
	}
	stmt_done(&s);
	if (rc <= 0)
		return rc;
	rc = pack ? pack_count(os, pack, 0, -record_size((uint32_t)stored), e) :
		INDEX_RUN(os, e, "DELETE FROM fresh WHERE id = $1", id);
	if (rc == 0)
		rc = INDEX_RUN(os, e, "DELETE FROM chunk WHERE id = $1 AND refs = 0", id);
	if (rc == 0)
		rc = hash_drop(os, h, id, e);
	chunks_moved(os, id);
	return rc;
}

/* One turn; *after goes on.  How many rows were looked at. */
static int sweep_rows(struct objects *os, bool nodes, int64_t *after, int *pinned, struct err *e)
{
	int64_t ids[TURN];
	int n, rc;

	if (!index_enter(os, e))
		return -e->code;
	n = ids_of(os, nodes ? "SELECT id FROM node WHERE refs = 0 AND id > $1 ORDER BY id LIMIT $2" :
		   "SELECT id FROM chunk WHERE refs = 0 AND id > $1 ORDER BY id LIMIT $2", *after, ids, e);
	rc = n;
	bool changed = false;
	for (int i = 0; rc >= 0 && i < n; i++) {
		*after = ids[i];
		if (is_pinned(os, nodes ? -ids[i] : ids[i])) {
			++*pinned;
			continue;
		}
		rc = index_mark(os, e);
		if (rc == 0)
			rc = nodes ? drop_node(os, ids[i], e) : drop_chunk(os, ids[i], e);
		if (rc < 0)
			index_undo(os);
		else
			rc = index_keep(os, e);
		changed = true;
	}
	index_end(os, changed);
	return rc < 0 ? rc : n;
}

static int sweep_dead(struct objects *os, bool nodes, struct err *e)
{
	static __thread int64_t next[2];
	int64_t after = 0;
	int n, pinned = 0;

	/* what a long write keeps pinned is not gone through all the time */
	if (mono_ms() < next[nodes])
		return 0;
	while ((n = sweep_rows(os, nodes, &after, &pinned, e)) == TURN && !os->sweep->stop)
		sched_yield();
	next[nodes] = pinned > 4 * TURN ? mono_ms() + PACK_LOOK_MS : 0;
	return n;
}

/* While much is changed, that is left to those who change it, for some seconds. */
static int sweep_all_dead(struct objects *os, int64_t now, struct err *e)
{
	static __thread uint64_t seen;
	static __thread int64_t last;
	uint64_t changes = os->changes;
	bool busy = changes - seen > BUSY;
	struct err full;

	seen = changes;
	if (busy && now - last < BUSY_MS && index_room(os, &full) == 0)
		return 0;
	last = now;
	int rc = sweep_dead(os, true, e);
	return rc < 0 ? rc : sweep_dead(os, false, e);
}

/* ---- into a pack */

struct moving {
	struct record *r;
	size_t n, cap;
};

static int moving_add(struct moving *m, const struct where *w, const void *data, struct err *e)
{
	if (m->n == m->cap) {
		size_t cap = m->cap ? m->cap * 2 : 64;
		struct record *r = realloc(m->r, cap * sizeof *r);

		if (!r)
			return err_set(e, ENOMEM, "%m");
		m->r = r;
		m->cap = cap;
	}
	void *copy = malloc(w->stored);
	if (!copy)
		return err_set(e, ENOMEM, "%m");
	memcpy(copy, data, w->stored);
	m->r[m->n++] = (struct record){ .w = *w, .data = copy };
	return 0;
}

static void moving_free(struct moving *m)
{
	for (size_t i = 0; i < m->n; i++)
		free((void *)(uintptr_t)m->r[i].data);
	free(m->r);
	*m = (struct moving){ 0 };
}

static int move_records(struct objects *os, struct moving *m, const int64_t *from_pack, const int64_t *from_at, struct err *e)
{
	int rc = m->n ? packs_append(os->packs, m->r, m->n, e) : 0;

	if (rc == 0 && m->n)
		rc = packs_sync(os->packs, e);
	if (rc < 0 || !m->n)
		return rc;
	if (!index_enter(os, e))
		return -e->code;
	rc = index_mark(os, e);
	for (size_t i = 0; rc == 0 && i < m->n; i++) {
		const struct where *w = &m->r[i].w;
		struct stmt s = stmt_prepare(os->db, "UPDATE chunk SET pack = $1, at = $2 WHERE id = $3 AND pack = $4 AND at = $5");

		stmt_int(&s, 1, w->pack);
		stmt_int(&s, 2, w->at);
		stmt_int(&s, 3, w->id);
		stmt_int(&s, 4, from_pack[i]);
		stmt_int(&s, 5, from_at[i]);
		rc = stmt_run(&s, e);
		stmt_done(&s);
		int moved = db_changes(os->db);
		int64_t size = record_size(w->stored);
		if (rc == 0)
			rc = pack_count(os, w->pack, size, moved ? size : 0, e);
		if (rc == 0 && !from_pack[i])
			rc = INDEX_RUN(os, e, "DELETE FROM fresh WHERE id = $1", w->id);
		if (rc == 0 && from_pack[i] && moved)
			rc = pack_count(os, from_pack[i], 0, -size, e);
		chunks_moved(os, w->id);
	}
	if (rc < 0)
		index_undo(os);
	else
		rc = index_keep(os, e);
	index_end(os, true);
	return rc;
}

/* They are written to the present pack, synced, and only then the index says so; where a row changed meanwhile it is left alone. */
static int move(struct objects *os, struct moving *m, const int64_t *from_pack, const int64_t *from_at, struct err *e)
{
	chunks_storing(os, true);
	int rc = move_records(os, m, from_pack, from_at, e);
	chunks_storing(os, false);
	return rc;
}

/* Some of the small ones; how many. */
static int pack_fresh(struct objects *os, struct err *e)
{
	struct moving m = { 0 };
	int64_t zeros[TURN] = { 0 };
	int rc;

	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "SELECT c.id, c.h, c.h2, c.len, c.stored, f.data FROM fresh f JOIN chunk c ON c.id = f.id "
				     "WHERE c.refs > 0 ORDER BY f.id LIMIT $1");
	stmt_int(&s, 1, TURN);
	while ((rc = stmt_step(&s, e)) > 0) {
		struct where w = { stmt_col_int(&s, 0), stmt_col_int(&s, 1), stmt_col_int(&s, 2), (uint32_t)stmt_col_int(&s, 3), 0, 0,
			(uint32_t)stmt_col_int(&s, 4) };
		size_t len;
		const void *data = stmt_col_blob(&s, 5, &len);

		if (len != w.stored)
			continue;	/* damaged: it stays where it is */
		if ((rc = moving_add(&m, &w, data, e)) < 0)
			break;
	}
	stmt_done(&s);
	index_end(os, false);
	if (rc == 0)
		rc = move(os, &m, zeros, zeros, e);
	int n = (int)m.n;
	moving_free(&m);
	return rc < 0 ? rc : n;
}

int64_t sweep_ask(struct objects *os, const char *sql, int64_t a)
{
	struct err e;
	int64_t v = 0;

	if (!index_enter(os, &e))
		return 0;
	struct stmt s = stmt_prepare(os->db, sql);

	if (strstr(sql, "$1"))
		stmt_int(&s, 1, a);
	if (stmt_step(&s, &e) > 0)
		v = stmt_col_int(&s, 0);
	stmt_done(&s);
	index_end(os, false);
	return v;
}

/* ---- compaction */

struct compact {
	struct objects *os;
	struct moving m;
	int64_t pack, *from_at, *from_pack;
	size_t cap;
	struct err *e;
};

static int keep_record(void *arg, const struct where *w, const void *data)
{
	struct compact *c = arg;
	struct where now;
	struct err e;

	/* only where the index says that this is the chunk's place */
	if (chunks_where(c->os, w->id, &now, &e) < 0 || now.pack != c->pack || now.at != w->at || now.stored != w->stored)
		return 0;
	if (c->m.n == c->cap) {
		size_t cap = c->cap ? c->cap * 2 : 64;
		int64_t *a = realloc(c->from_at, cap * sizeof *a), *p = a ? realloc(c->from_pack, cap * sizeof *p) : NULL;

		c->from_at = a ? a : c->from_at;
		if (!p)
			return err_set(c->e, ENOMEM, "%m");
		c->from_pack = p;
		c->cap = cap;
	}
	c->from_at[c->m.n] = w->at;
	c->from_pack[c->m.n] = c->pack;
	if (moving_add(&c->m, w, data, c->e) < 0)
		return -c->e->code;
	/* a few MiB at a time */
	if (c->m.n < 64)
		return 0;
	int rc = move(c->os, &c->m, c->from_pack, c->from_at, c->e);
	moving_free(&c->m);
	return rc;
}

static int compact(struct objects *os, int64_t pack, struct err *e)
{
	struct compact c = { .os = os, .pack = pack, .e = e };
	int rc = packs_scan(os->packs, pack, keep_record, &c, e);

	if (rc == 0)
		rc = move(os, &c.m, c.from_pack, c.from_at, e);
	moving_free(&c.m);
	free(c.from_at);
	free(c.from_pack);
	/* what is still said to be here is damaged (its record was not sound): the pack stays for a look at it */
	if (rc == 0 && sweep_ask(os, "SELECT 1 FROM chunk WHERE pack > 0 AND pack = +$1 LIMIT 1", pack)) {
		log_warn("objects: pack %ld has damaged records; cirrusfs fsck --data says which objects", (long)pack);
		return err_set(e, EBADMSG, "pack %ld is damaged", (long)pack);
	}
	return rc;
}

/* ---- a disk so full that there is no room to move anything: what is dead is given back where it is */

struct holes {
	struct objects *os;
	int64_t pack, end;	/* end: of the last live record */
	struct ref_list v;	/* from, to, from, to */
	struct err *e;
};

static int see_live(void *arg, const struct where *w, const void *data)
{
	struct holes *h = arg;
	struct where now;
	int rc = chunks_known(h->os, w->id, &now, h->e);

	if (rc <= 0 || now.pack != h->pack || now.at != w->at)
		return rc < 0 ? rc : 0;
	rc = w->at > h->end ? refs_add(&h->v, h->end, h->e) : 0;
	if (rc == 0 && w->at > h->end)
		rc = refs_add(&h->v, w->at, h->e);
	h->end = w->at + record_size(w->stored);
	return rc;
}

static int punch(struct objects *os, int64_t pack, struct err *e)
{
	struct holes h = { .os = os, .pack = pack, .e = e };
	int64_t size = sweep_ask(os, "SELECT size FROM pack WHERE id = $1", pack);
	int rc = packs_scan(os->packs, pack, see_live, &h, e);

	if (rc == 0 && size > h.end && refs_add(&h.v, h.end, e) == 0)
		rc = refs_add(&h.v, size, e);
	/* that they are dead has to be durable before they are gone */
	if (rc == 0)
		rc = index_sync(os, e);
	for (size_t i = 0; rc == 0 && i < h.v.n; i += 2)
		rc = packs_punch(os->packs, pack, h.v.v[i], h.v.v[i + 1], e);
	free(h.v.v);
	if (rc < 0)
		return rc;
	if (!index_enter(os, e))
		return -e->code;
	rc = INDEX_RUN(os, e, "UPDATE pack SET size = live WHERE id = $1", pack);
	index_end(os, true);
	return rc;
}

/* Once its rows are gone for good, the file goes; where it is far its own row goes last, so that it is not forgotten there. */
static int pack_gone(struct objects *os, int64_t pack, struct err *e)
{
	char name[PLACED_NAME];

	if (placed_find(os->placed, pack, name) != PLACED_NOT && (index_sync(os, e) < 0 || placed_delete(os->placed, name, e) < 0))
		return -e->code;
	if (!index_enter(os, e))
		return -e->code;
	int rc = INDEX_RUN(os, e, "DELETE FROM pack WHERE id = $1", pack);
	index_end(os, true);
	if (rc == 0)
		rc = index_sync(os, e);
	if (rc < 0)
		return rc;
	placed_drop(os->placed, pack);
	return packs_remove(os->packs, pack, e);
}

static bool is_empty(struct objects *os, int64_t pack)
{
	return !sweep_ask(os, "SELECT 1 FROM chunk WHERE pack > 0 AND pack = +$1 LIMIT 1", pack);
}

int sweep_pack(struct objects *os, int64_t pack, struct err *e)
{
	int rc = is_empty(os, pack) ? 0 : compact(os, pack, e);

	return rc < 0 ? rc : pack_gone(os, pack, e);
}

/* By turns with the mover. */
static int compact_one(struct objects *os, int64_t pack, bool low, struct err *e)
{
	if (!placed_claim(os->placed, false, pack))
		return 0;
	int rc = low && !is_empty(os, pack) ? punch(os, pack, e) : sweep_pack(os, pack, e);
	placed_claim(os->placed, false, 0);
	return rc < 0 ? rc : 1;
}

static int compact_some(struct objects *os, struct err *e)
{
	static __thread int64_t skip;	/* a damaged one is not looked at again and again */
	int64_t current = packs_current(os->packs);

	/* one that is appended to and mostly dead gives its room back, too */
	if (current && sweep_ask(os, "SELECT size > 4194304 AND live * 4 < size FROM pack WHERE id = $1", current)) {
		packs_seal(os->packs);
		current = 0;
	}
	/* what is half dead is worth it; on a full disk every tenth is */
	bool low = index_room(os, e) < 0;
	int64_t pack = sweep_ask(os, low ? "SELECT coalesce(min(id), 0) FROM pack WHERE live * 10 < size * 9 AND id <> $1 AND place IS NULL" :
			      "SELECT coalesce(min(id), 0) FROM pack WHERE live * 2 < size AND id <> $1 AND place IS NULL", current);

	if (!pack || pack == skip || chunks_pending_in(os, pack))
		return 0;
	int rc = compact_one(os, pack, low, e);
	if (rc == -EBADMSG)
		skip = pack;
	return rc;
}

/* ---- the thread */

static void look(struct objects *os, int64_t *fresh_at, int64_t *packs_at, int64_t *expire_at)
{
	struct err e = { 0 };
	int64_t now = mono_ms();
	int rc = sweep_all_dead(os, now, &e);

	int64_t fresh = rc >= 0 ? sweep_ask(os, "SELECT count(*) FROM (SELECT 1 FROM fresh LIMIT 1024)", 0) : 0;
	if (fresh && (fresh >= 1024 || now - *fresh_at > FRESH_MS)) {
		while ((rc = pack_fresh(os, &e)) == TURN && !os->sweep->stop)
			;
		*fresh_at = now;
	} else if (!fresh) {
		*fresh_at = now;
	}
	struct err full;
	if (rc >= 0 && now - *packs_at > (index_room(os, &full) < 0 ? LOOK_MS : PACK_LOOK_MS)) {
		while (!os->sweep->stop && (rc = compact_some(os, &e)) > 0)
			;
		*packs_at = now;
	}
	if (rc >= 0)
		rc = hashes_look(os, now - *fresh_at > FRESH_MS / 2 || !fresh, &e);
	if (time(NULL) >= *expire_at) {
		int64_t next = names_expire(os, &e);

		*expire_at = next > 0 ? next : time(NULL) + 1;
		if (next <= 0 || *expire_at > time(NULL) + 5)	/* one that expires sooner may come meanwhile */
			*expire_at = time(NULL) + 1;
	}
	if (rc < 0 && e.code != ENOSPC)
		log_warn("objects: %s", e.msg);
}

static void *run(void *arg)
{
	struct objects *os = arg;
	struct sweep *w = os->sweep;
	int64_t fresh_at = mono_ms(), packs_at = 0, expire_at = 0;
	struct timespec until;

	pthread_mutex_lock(&w->lock);
	while (!w->stop) {
		pthread_mutex_unlock(&w->lock);
		look(os, &fresh_at, &packs_at, &expire_at);
		pthread_mutex_lock(&w->lock);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += LOOK_MS * 1000000L;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (!w->stop)
			pthread_cond_timedwait(&w->wake, &w->lock, &until);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

bool sweep_stopped(const struct objects *os)
{
	return os->sweep->stop;
}

int sweep_start(struct objects *os, struct err *e)
{
	struct sweep *w = calloc(1, sizeof *w);

	if (!w)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	os->sweep = w;
	int rc = pthread_create(&w->thread, NULL, run, os);
	if (rc == 0)
		return 0;
	os->sweep = NULL;
	free(w);
	return err_set(e, rc, "a thread: %s", strerror(rc));
}

void sweep_stop(struct objects *os)
{
	struct sweep *w = os->sweep;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	os->sweep = NULL;
	free(w);
}
