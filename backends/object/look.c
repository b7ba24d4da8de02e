/* A look at everything that is stored: references against what refers, rows against packs, bytes against their hashes; and its mending. */
#include "chunk_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

struct look {
	struct objects *os;
	bool data, repair;
	objects_fault_fn *fn;
	void *arg;
	struct err *e;
	int64_t faults;
	struct ref_list refs;	/* every reference there is, sorted */
	struct ref_list bad;	/* chunks that cannot be read, sorted */
	bool blind;		/* the place cannot be asked: of what is there nothing is said */
};

static void fault(struct look *k, const char *thing, const char *did, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void fault(struct look *k, const char *thing, const char *did, const char *fmt, ...)
{
	char wrong[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(wrong, sizeof wrong, fmt, ap);
	va_end(ap);
	k->faults++;
	k->fn(k->arg, thing, wrong, did);
}

/* ---- references */

static int add_root(void *arg, int64_t root, uint64_t size)
{
	struct look *k = arg;

	return root ? refs_add(&k->refs, root, k->e) : 0;
}

static int add_ref(void *arg, int64_t what)
{
	struct look *k = arg;

	return refs_add(&k->refs, what, k->e);
}

static int all_ids(struct objects *os, const char *sql, struct ref_list *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, sql);
	int rc;

	while ((rc = stmt_step(&s, e)) > 0)
		if (refs_add(ret, stmt_col_int(&s, 0), e) < 0)
			return -e->code;
	return rc;
}

static int gather(struct look *k, struct err *e)
{
	struct ref_list nodes = { 0 };
	int rc;

	rc = names_roots(k->os, 0, 0, add_root, k, e);
	if (rc == 0)
		rc = all_ids(k->os, "SELECT id FROM node ORDER BY id", &nodes, e);
	for (size_t i = 0; rc == 0 && i < nodes.n; i++) {
		struct err why = { 0 };

		if (node_refs(k->os, nodes.v[i], add_ref, k, &why) < 0) {
			char thing[60];

			snprintf(thing, sizeof thing, "objects: node %" PRId64, nodes.v[i]);
			fault(k, thing, NULL, "%s", why.msg);
		}
	}
	free(nodes.v);
	refs_sort(&k->refs);
	return rc;
}

static int check_counts(struct look *k, bool nodes, struct err *e)
{
	struct ref_list rows = { 0 }, wrong = { 0 };
	int rc = 0;

	struct stmt s = stmt_prepare(k->os->db, nodes ? "SELECT id, refs FROM node ORDER BY id" : "SELECT id, refs FROM chunk ORDER BY id");
	while ((rc = stmt_step(&s, e)) > 0) {
		int64_t id = stmt_col_int(&s, 0), n = refs_count(&k->refs, nodes ? -id : id);

		if ((rc = refs_add(&rows, id, e)) < 0)
			break;
		if (n != stmt_col_int(&s, 1) && (refs_add(&wrong, id, e) < 0 || refs_add(&wrong, n, e) < 0)) {
			rc = -e->code;
			break;
		}
	}
	stmt_done(&s);
	for (size_t i = 0; rc >= 0 && i < wrong.n; i += 2) {
		char thing[60];

		snprintf(thing, sizeof thing, "objects: %s %" PRId64, nodes ? "node" : "chunk", wrong.v[i]);
		if (k->repair)
			rc = INDEX_RUN(k->os, e, nodes ? "UPDATE node SET refs = $2 WHERE id = $1" : "UPDATE chunk SET refs = $2 WHERE id = $1",
				       wrong.v[i], wrong.v[i + 1]);
		fault(k, thing, k->repair && rc == 0 ? "counted anew" : NULL, "its count of references is not what refers to it (%" PRId64 ")", wrong.v[i + 1]);
	}
	/* what is referred to and has no row */
	for (size_t i = 0; rc >= 0 && i < k->refs.n; i++) {
		int64_t what = k->refs.v[i];

		if ((what < 0) != nodes || (i && k->refs.v[i - 1] == what) || refs_has(&rows, nodes ? -what : what))
			continue;
		if (nodes) {
			char thing[60];

			snprintf(thing, sizeof thing, "objects: node %" PRId64, -what);
			fault(k, thing, NULL, "it is missing");
		} else {
			rc = refs_add(&k->bad, what, e);
		}
	}
	free(rows.v);
	free(wrong.v);
	return rc < 0 ? rc : 0;
}

/* What packs say lives in them against the rows that are. */
static int check_live(struct look *k, struct err *e)
{
	struct ref_list wrong = { 0 };
	struct stmt s = stmt_prepare(k->os->db, "SELECT id, n FROM (SELECT p.id AS id, p.live AS live, (SELECT coalesce(sum((c.stored + 63) / 8 * 8), 0) FROM chunk c "
				     "WHERE c.pack = p.id) AS n FROM pack p) AS x WHERE live <> n");
	int rc;

	while ((rc = stmt_step(&s, e)) > 0)
		if ((rc = refs_add(&wrong, stmt_col_int(&s, 0), e)) < 0 || (rc = refs_add(&wrong, stmt_col_int(&s, 1), e)) < 0)
			break;
	stmt_done(&s);
	for (size_t i = 0; rc == 0 && i < wrong.n; i += 2) {
		char thing[60];

		snprintf(thing, sizeof thing, "objects: pack %" PRId64, wrong.v[i]);
		if (k->repair)
			rc = INDEX_RUN(k->os, e, "UPDATE pack SET live = $2, size = max(size, $2) WHERE id = $1", wrong.v[i], wrong.v[i + 1]);
		fault(k, thing, k->repair && rc == 0 ? "counted anew" : NULL, "%" PRId64 " bytes of it live, the index says another number", wrong.v[i + 1]);
	}
	free(wrong.v);
	return rc;
}

/* In one hold of the index, so that nothing of it changes between counting and comparing. */
static int check_refs(struct look *k, struct err *e)
{
	if (!index_enter(k->os, e))
		return -e->code;
	int rc = gather(k, e);
	if (rc == 0)
		rc = check_counts(k, true, e);
	if (rc == 0)
		rc = check_counts(k, false, e);
	if (rc == 0)
		rc = check_live(k, e);
	int64_t wrong = rc == 0 ? hashes_wrong(k->os, k->repair, e) : 0;
	if (wrong > 0)
		fault(k, "objects/index.db", k->repair ? "made anew" : NULL, "%" PRId64 " chunks are not to be found by their hash, or found and gone", wrong);
	rc = wrong < 0 ? (int)wrong : rc;
	index_end(k->os, k->repair);
	return rc;
}

/* ---- packs */

struct sizes {
	struct ref_list v;	/* pack, size, pack, size */
	struct err *e;
};

static int add_size(void *arg, int64_t pack, int64_t size)
{
	struct sizes *z = arg;

	return refs_add(&z->v, pack, z->e) < 0 || refs_add(&z->v, size, z->e) < 0 ? -z->e->code : 0;
}

/* Once: what stands in the place is neither good nor bad. */
static void blinded(struct look *k, const struct err *why)
{
	if (!k->blind)
		fault(k, "objects: their place", NULL, "it cannot be asked, and what is there is not looked at: %s", why->msg);
	k->blind = true;
}

struct there {
	struct look *k;
	struct sizes *z;
	struct ref_list seen;
	int64_t unknown;
};

static int see_there(void *arg, const char *name, int64_t pack, int64_t size)
{
	struct there *t = arg;
	char ours[PLACED_NAME];

	if (placed_find(t->k->os->placed, pack, ours) == PLACED_WHOLE && strcmp(ours, name) == 0)
		return refs_add(&t->seen, pack, t->k->e) < 0 ? -t->k->e->code : add_size(t->z, pack, size);
	t->unknown += !placed_knows(t->k->os->placed, name);
	return 0;
}

/* Lists may be behind (Swift's): what is in none is asked for alone. */
static int ask_size(struct look *k, struct sizes *z, int64_t pack, struct err *e)
{
	char name[PLACED_NAME], thing[60];
	struct err why = { 0 };
	int64_t size;

	placed_find(k->os->placed, pack, name);
	int rc = placed_size(k->os->placed, name, &size, &why);
	if (rc == 0)
		return add_size(z, pack, size);
	if (rc != -EBADMSG) {
		blinded(k, &why);
		return 0;
	}
	/* one that was emptied goes there first, and we were ended between that and the index */
	if (!sweep_ask(k->os, "SELECT 1 FROM chunk WHERE pack > 0 AND pack = +$1 LIMIT 1", pack))
		return 0;
	snprintf(thing, sizeof thing, "objects: pack %" PRId64, pack);
	fault(k, thing, NULL, "%s", why.msg);
	return 0;
}

static int place_sizes(struct look *k, struct sizes *z, struct err *e)
{
	struct there t = { .k = k, .z = z };
	struct err why = { 0 };
	int rc = 0;

	if (!placed_used(k->os->placed))
		return 0;
	if (mover_adopt(k->os, &why) < 0 || placed_list(k->os->placed, see_there, &t, &why) < 0) {
		rc = e->code ? -e->code : 0;
		blinded(k, &why);
	}
	refs_sort(&t.seen);
	for (int64_t pack = 0; rc == 0 && !k->blind && (pack = placed_next(k->os->placed, pack)); )
		if (!refs_has(&t.seen, pack))
			rc = ask_size(k, z, pack, e);
	if (rc == 0 && t.unknown)
		fault(k, "objects: their place", NULL, "%" PRId64 " packs there are not in the index: it is new, or an older copy, or another cloud uses the same "
		      "objects-prefix; they are kept", t.unknown);
	free(t.seen.v);
	return rc;
}

static int64_t size_of(const struct sizes *z, int64_t pack)
{
	for (size_t i = 0; i < z->v.n; i += 2)
		if (z->v.v[i] == pack)
			return z->v.v[i + 1];
	return -1;
}

/* Its bytes are sound, what stands around them is not: the index does not need that, a repair that has the packs alone would. */
static int check_record(struct look *k, const struct where *w, const void *plain, struct err *e)
{
	struct record r = { .w = *w, .data = plain };
	char thing[60];
	int rc = 0;

	if (!w->pack || packs_sound(k->os->packs, w))
		return 0;
	struct where now;
	if (chunks_where(k->os, w->id, &now, e) < 0 || now.pack != w->pack || now.at != w->at)
		return 0;	/* it was moved meanwhile */
	snprintf(thing, sizeof thing, "objects: chunk %" PRId64, w->id);
	if (k->repair) {
		r.w.stored = w->len;
		rc = packs_append(k->os->packs, &r, 1, e);
		if (rc == 0)
			rc = packs_sync(k->os->packs, e);
		if (rc == 0)
			rc = chunks_place(k->os, &r.w, e);
	}
	fault(k, thing, k->repair && rc == 0 ? "written anew" : NULL, "the record around it in pack %" PRId64 " at %" PRId64 " is damaged; its bytes are not", w->pack, w->at);
	return rc;
}

static bool still_there(struct objects *os, int64_t id)
{
	struct err e;

	if (!index_enter(os, &e))
		return true;
	struct stmt s = stmt_prepare(os->db, "SELECT 1 FROM chunk WHERE id = $1 AND refs > 0");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, &e);
	stmt_done(&s);
	index_end(os, false);
	return rc != 0;
}

/* Chunks whose record is not there, by their packs' sizes; with data, those that are not what they were. */
static int check_chunks(struct look *k, struct err *e)
{
	struct sizes z = { .e = e };
	AUTO(free) unsigned char *buf = malloc(CHUNK_MAX);
	int64_t after = 0;
	struct where w[256];
	size_t n;
	int rc = buf ? packs_each(k->os->packs, add_size, &z, e) : err_set(e, ENOMEM, "%m");

	if (rc == 0)
		rc = place_sizes(k, &z, e);
	do {
		n = 0;
		if (rc < 0 || !index_enter(k->os, e)) {
			rc = -e->code;
			break;
		}
		struct stmt s = stmt_prepare(k->os->db, "SELECT " WHERE_COLUMNS " FROM chunk WHERE id > $1 AND refs > 0 ORDER BY id LIMIT 256");
		stmt_int(&s, 1, after);
		while (n < ARRAY_LEN(w) && (rc = stmt_step(&s, e)) > 0)
			where_read(&s, &w[n++]);
		stmt_done(&s);
		index_end(k->os, false);
		for (size_t i = 0; rc >= 0 && i < n; i++) {
			struct err why = { 0 };
			bool there = w[i].pack && placed_find(k->os->placed, w[i].pack, NULL) == PLACED_WHOLE;

			after = w[i].id;
			if (there && k->blind)
				continue;
			bool gone = w[i].pack && size_of(&z, w[i].pack) < w[i].at + RECORD_HEAD + (int64_t)w[i].stored, wrong = !w[i].len || w[i].len > CHUNK_MAX;

			if (!gone && !wrong && !w[i].bad && !k->data)
				continue;
			/* it may just have been moved, or have gone */
			int got = wrong ? 0 : chunks_get(k->os, w[i].id, 0, w[i].len, buf, &why);
			if (got < 0 && got != -EBADMSG && got != -ENOENT && (there || k->os->missing.n))
				blinded(k, &why);
			else if (wrong || (got < 0 && still_there(k->os, w[i].id)))
				rc = refs_add(&k->bad, w[i].id, e);
			else if (k->data && !why.code)
				rc = check_record(k, &w[i], buf, e);
		}
	} while (rc >= 0 && n == ARRAY_LEN(w));
	free(z.v.v);
	refs_sort(&k->bad);
	return rc < 0 ? rc : 0;
}

/* ---- mending: every pack is read for good copies of what is bad */

struct rescue {
	struct look *k;
	struct ref_list found;	/* ids */
	struct err *e;
};

static bool proves(struct look *k, const struct where *w, const void *data)
{
	AUTO(free) unsigned char *buf = malloc(w->len);

	return buf && chunk_proves(k->os, w, data, buf);
}

static int rescue_record(void *arg, const struct where *w, const void *data)
{
	struct rescue *r = arg;
	struct objects *os = r->k->os;
	int rc = 0;

	if (!refs_has(&r->k->bad, w->id) || !proves(r->k, w, data))
		return 0;
	if (!index_enter(os, r->e))
		return -r->e->code;
	struct where was;
	bool there = chunks_row(os, w->id, &was) == 0;
	rc = there ? INDEX_RUN(os, r->e, "UPDATE pack SET live = max(0, live - $2) WHERE id = $1", was.pack, record_size(was.stored)) : 0;
	struct stmt s = stmt_prepare(os->db, "INSERT INTO chunk (id, h, h2, len, pack, at, stored, refs) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) "
				     "ON CONFLICT (id) DO UPDATE SET h = $2, h2 = $3, len = $4, pack = $5, at = $6, stored = $7, refs = $8, bad = 0");
	stmt_int(&s, 1, w->id);
	stmt_int(&s, 2, w->h);
	stmt_int(&s, 3, w->h2);
	stmt_int(&s, 4, w->len);
	stmt_int(&s, 5, w->pack);
	stmt_int(&s, 6, w->at);
	stmt_int(&s, 7, w->stored);
	stmt_int(&s, 8, refs_count(&r->k->refs, w->id));
	if (rc == 0)
		rc = stmt_run(&s, r->e);
	stmt_done(&s);
	if (rc == 0 && there && was.h != w->h)
		rc = hash_drop(os, was.h, w->id, r->e);
	if (rc == 0 && (!there || was.h != w->h))
		rc = hash_add(os, w->h, w->id, r->e);
	if (rc == 0 && there && !was.pack)
		rc = INDEX_RUN(os, r->e, "DELETE FROM fresh WHERE id = $1", w->id);
	if (rc == 0)
		rc = pack_count(os, w->pack, 0, record_size(w->stored), r->e);
	index_end(os, true);
	chunks_moved(os, w->id);
	return rc < 0 ? rc : refs_add(&r->found, w->id, r->e);
}

static int rescue_pack(void *arg, int64_t pack, int64_t size)
{
	struct rescue *r = arg;
	struct err ignored = { 0 };
	int rc = packs_scan(r->k->os->packs, pack, rescue_record, r, &ignored);

	if (rc < 0 && rc != -EBADMSG && !r->e->code && packs_far(r->k->os->packs, pack))
		blinded(r->k, &ignored);

	return rc < 0 && r->e->code ? rc : 0;
}

struct strangers {
	struct look *k;
	char (*names)[PLACED_NAME];
	int64_t *sizes;
	size_t n;
};

static int add_stranger(void *arg, const char *name, int64_t pack, int64_t size)
{
	struct strangers *x = arg;

	if (placed_knows(x->k->os->placed, name))
		return 0;
	char (*names)[PLACED_NAME] = reallocarray(x->names, x->n + 1, sizeof *names);
	x->names = names ? names : x->names;
	int64_t *sizes = names ? reallocarray(x->sizes, x->n + 1, sizeof *sizes) : NULL;
	x->sizes = sizes ? sizes : x->sizes;
	if (!sizes)
		return err_set(x->k->e, ENOMEM, "%m");
	snprintf(names[x->n], PLACED_NAME, "%s", name);
	sizes[x->n++] = size;
	return 0;
}

/* One that the index does not have: it gets a number and a row, and keeps them when it has something of what is sought. */
static int rescue_stranger(struct rescue *r, const char *name, int64_t size)
{
	struct objects *os = r->k->os;
	int64_t pack = packs_number(os->packs);
	size_t before = r->found.n;

	if (!index_enter(os, r->e))
		return -r->e->code;
	struct stmt s = stmt_prepare(os->db, "INSERT INTO pack (id, size, place, away) VALUES ($1, $2, $3, 1)");
	stmt_int(&s, 1, pack);
	stmt_int(&s, 2, size);
	stmt_text(&s, 3, name);
	int rc = stmt_run(&s, r->e);
	stmt_done(&s);
	index_end(os, true);
	if (rc == 0)
		rc = placed_set(os->placed, pack, name, true, r->e);
	if (rc == 0)
		rc = rescue_pack(r, pack, size);
	if (rc < 0 || r->found.n > before)
		return rc;
	placed_drop(os->placed, pack);
	if (!index_enter(os, r->e))
		return -r->e->code;
	rc = INDEX_RUN(os, r->e, "DELETE FROM pack WHERE id = $1 AND live = 0", pack);
	index_end(os, true);
	return rc;
}

/* Packs in the place, those that the index knows and others. */
static int rescue_there(struct rescue *r, struct err *e)
{
	struct strangers x = { .k = r->k };
	struct err why = { 0 };
	int rc = 0;

	for (int64_t pack = 0; rc == 0 && (pack = placed_next(r->k->os->placed, pack)); )
		rc = rescue_pack(r, pack, 0);
	if (rc == 0 && placed_list(r->k->os->placed, add_stranger, &x, &why) < 0)
		blinded(r->k, &why);
	for (size_t i = 0; rc == 0 && i < x.n; i++)
		rc = rescue_stranger(r, x.names[i], x.sizes[i]);
	free(x.names);
	free(x.sizes);
	return rc;
}

static int mark_bad(struct look *k, struct err *e)
{
	int rc = 0;

	if (!index_enter(k->os, e))
		return -e->code;
	for (size_t i = 0; rc == 0 && i < k->bad.n; i++)
		rc = INDEX_RUN(k->os, e, "UPDATE chunk SET bad = 1 WHERE id = $1", k->bad.v[i]);
	index_end(k->os, true);
	return rc;
}

static int rescue(struct look *k, struct err *e)
{
	struct rescue r = { .k = k, .e = e };
	struct ref_list lost = { 0 };
	int rc = packs_each(k->os->packs, rescue_pack, &r, e);

	if (rc == 0 && placed_used(k->os->placed) && !k->blind)
		rc = rescue_there(&r, e);
	refs_sort(&r.found);
	for (size_t i = 0; rc == 0 && i < k->bad.n; i++) {
		char thing[60];

		if (i && k->bad.v[i] == k->bad.v[i - 1])
			continue;
		snprintf(thing, sizeof thing, "objects: chunk %" PRId64, k->bad.v[i]);
		if (refs_has(&r.found, k->bad.v[i]))
			fault(k, thing, "found in a pack", "its record is not where the index says");
		else
			rc = refs_add(&lost, k->bad.v[i], e);
	}
	free(r.found.v);
	free(k->bad.v);
	k->bad = lost;
	return rc == 0 && !k->blind ? mark_bad(k, e) : rc;
}

/* ---- whose they are */

struct lost {
	struct look *k;
	int64_t space;
	const char *path;
	bool found;
};

static int meets(void *arg, int64_t what)
{
	struct lost *l = arg;
	struct err e = { 0 };

	if (l->found)
		return 0;
	if (what > 0)
		l->found = refs_has(&l->k->bad, what);
	else
		node_refs(l->k->os, -what, meets, l, &e);	/* at most three levels */
	return 0;
}

static int look_at(void *arg, const char *path, const struct entry *n, const char *etag)
{
	struct lost *l = arg;
	struct err e;

	if (!n->root)
		return 0;
	l->found = false;
	if (!index_enter(l->k->os, &e))
		return 0;
	meets(l, n->root);
	index_end(l->k->os, false);
	if (l->found) {
		char thing[1200];

		snprintf(thing, sizeof thing, "space %" PRId64 ": objects/%s", l->space, path);
		fault(l->k, thing, NULL, "bytes of it are lost");
	}
	return 0;
}

struct old {
	int64_t space, root, time;
	char *path;
};

static int old_ones(struct look *k, struct old **ret, size_t *n, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(k->os->db, "SELECT space, root, time, name FROM version WHERE root <> 0 ORDER BY space, name, time");
	int rc;

	while ((rc = stmt_step(&s, e)) > 0) {
		struct old *v = reallocarray(*ret, *n + 1, sizeof *v);

		if (!v || !(v[*n].path = strdup(stmt_col_text(&s, 3))))
			return *ret = v ? v : *ret, err_set(e, ENOMEM, "%m");
		v[*n].space = stmt_col_int(&s, 0);
		v[*n].root = stmt_col_int(&s, 1);
		v[(*n)++].time = stmt_col_int(&s, 2);
		*ret = v;
	}
	return rc;
}

static int look_at_old(struct look *k, struct err *e)
{
	struct old *v = NULL;
	size_t n = 0;

	if (!index_enter(k->os, e))
		return -e->code;
	int rc = old_ones(k, &v, &n, e);
	index_end(k->os, false);
	for (size_t i = 0; i < n; i++) {
		struct lost l = { .k = k };
		char thing[1300], time[80];

		if (rc == 0 && index_enter(k->os, e)) {
			meets(&l, v[i].root);
			index_end(k->os, false);
		}
		version_time_name(time, sizeof time, v[i].time, false);
		snprintf(thing, sizeof thing, "space %" PRId64 ": versions/%s/%s", v[i].space, v[i].path, time);
		if (l.found)
			fault(k, thing, NULL, "bytes of it are lost");
		free(v[i].path);
	}
	free(v);
	return rc;
}

static int look_in_space(void *arg, const struct space *s)
{
	struct lost *l = arg;

	l->space = s->id;
	return name_walk(l->k->os, s->id, look_at, l, l->k->e);
}

/* Packs of which the index knew nothing when it was empty: it was lost, or another one was put in its place. */
static void check_lost(struct look *k)
{
	int64_t n = packs_lost(k->os->packs);
	struct err e;

	if (n)
		fault(k, "objects/index.db", k->repair && packs_lost_away(k->os->packs, &e) == 0 ? "its packs are kept in lost+found" : NULL, "the index was lost: %" PRId64 " packs in objects/packs/lost+found hold chunks that nothing refers to; put a copy of index.db "
		      "back, and them into objects/packs", n);
}

static int sqlite_sound(struct look *k, struct err *e)
{
	int rc;

	if (!index_enter(k->os, e))
		return -e->code;
	struct stmt s = stmt_prepare(k->os->db, "PRAGMA quick_check(20)");
	while ((rc = stmt_step(&s, e)) > 0)
		if (strcmp(stmt_col_text(&s, 0), "ok") != 0)
			fault(k, "objects/index.db", NULL, "%s", stmt_col_text(&s, 0));
	stmt_done(&s);
	index_end(k->os, false);
	return rc;
}

int64_t objects_check(struct objects *os, bool data, bool repair, objects_fault_fn *fn, void *arg, struct err *e)
{
	struct look k = { .os = os, .data = data, .repair = repair, .fn = fn, .arg = arg, .e = e };
	int64_t names = 0;
	int rc = index_sync(os, e);

	if (rc == 0)
		rc = sqlite_sound(&k, e);
	if (rc == 0)
		check_lost(&k);
	if (rc == 0 && (names = names_check(os, repair, fn, arg, e)) < 0)
		rc = (int)names;
	if (rc == 0)
		rc = check_refs(&k, e);
	if (rc == 0)
		rc = check_chunks(&k, e);
	if (rc == 0 && k.bad.n && repair)
		rc = rescue(&k, e);
	if (rc == 0 && k.bad.n) {
		struct lost l = { .k = &k };
		int64_t before = k.faults;

		rc = space_list(os, 0, look_in_space, &l, e);
		if (rc == 0)
			rc = look_at_old(&k, e);
		if (rc == 0 && k.faults == before)
			fault(&k, "objects", NULL, "%zu chunks cannot be read, and only what is being removed has them", k.bad.n);
	}
	if (rc == 0 && repair)
		rc = index_sync(os, e);
	free(k.refs.v);
	free(k.bad.v);
	return rc < 0 ? rc : k.faults + names;
}
