/* The names' part of a check of everything: rows that contradict each other, and how they are mended.  Order matters: what has no place gets one
 * first (lost+found at the top of its space), what counts comes last. */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

struct check {
	struct objects *os;
	struct db *db;
	bool repair;
	objects_fault_fn *fn;
	void *arg;
	int64_t faults;
};

static void fault(struct check *c, const char *thing, const char *did, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void fault(struct check *c, const char *thing, const char *did, const char *fmt, ...)
{
	char wrong[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(wrong, sizeof wrong, fmt, ap);
	va_end(ap);
	c->faults++;
	c->fn(c->arg, thing, wrong, c->repair ? did : NULL);
}

/* The rows of a query: up to five integers and a text.  Read whole, because what is done for each changes what is read. */
struct row {
	int64_t v[5];
	char name[300];
};
struct rows {
	struct row *v;
	size_t n, cap;
};

static void auto_rows(struct rows *r)
{
	free(r->v);
}

enum { ROWS_MAX = 100000 };	/* of a kind in one check: a fault of everything needs no more */

static int rows_add(struct rows *r, struct stmt *s, struct err *e)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 16;
		struct row *v = realloc(r->v, cap * sizeof *v);

		if (!v)
			return err_set(e, ENOMEM, "check names: out of memory");
		r->v = v;
		r->cap = cap;
	}
	struct row *row = &r->v[r->n++];
	for (int i = 0; i < 5; i++)
		row->v[i] = stmt_col_int(s, i);
	snprintf(row->name, sizeof row->name, "%s", stmt_col_text(s, 5));
	return 0;
}

static int rows_get(struct check *c, struct rows *r, const char *sql, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(c->db, sql);
	int rc = 0;

	while (r->n < ROWS_MAX && (rc = stmt_step(&s, e)) > 0)
		if ((rc = rows_add(r, &s, e)) < 0)
			return rc;
	return r->n < ROWS_MAX ? rc : 0;
}

static const char *entry_thing(const struct row *r, char ret[400])
{
	snprintf(ret, 400, "object %" PRId64 " '%s'", r->v[0], r->name);
	return ret;
}

/* ---- places for what has none */

static int lost_found(struct check *c, int64_t space, struct dir *ret, struct err *e)
{
	struct entry n;
	struct space s;
	int64_t key;
	int rc = space_row(c->os, c->db, space, &s, e);

	if (rc < 0 || (rc = entry_find(c->db, s.root, "lost+found", &n, &key, e)) < 0)
		return rc;
	if (rc == 0) {
		int64_t now = now_ns();

		n = (struct entry){ .id = index_id(c->os), .parent = s.root, .space = space, .type = ENTRY_DIR, .mode = 0700, .mtime = now,
				    .ctime = now, .name = "lost+found" };
		if ((rc = entry_insert(c->os, c->db, &n, key, NULL, NULL, e)) < 0)
			return rc;
	}
	dirs_clear(names_of(c->os));
	*ret = (struct dir){ .id = n.type == ENTRY_DIR ? n.id : s.root, .space = space };
	return 0;
}

/* Into that directory, under its name when that is good and free, else with its number. */
static int place_at(struct check *c, int64_t id, const char *name, const struct dir *d, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(c->db, "UPDATE entry SET parent=$2,key=$3,name=$4 WHERE id=$1");
	struct err no = { 0 };
	struct entry there;
	char good[300];
	int64_t key = 0;
	int rc = 1;

	snprintf(good, sizeof good, "%s", name);
	if (name_valid(good, &no) == 0 && (rc = entry_find(c->db, d->id, good, &there, &key, e)) < 0)
		return rc;
	if (rc > 0 || !key) {
		snprintf(good, sizeof good, "object-%" PRId64, id);
		if ((rc = entry_find(c->db, d->id, good, &there, &key, e)) < 0)
			return rc;
		if (rc > 0 || !key)
			return err_set(e, EEXIST, "'%s' is there already", good);
	}
	stmt_int(&s, 1, id);
	stmt_int(&s, 2, d->id);
	stmt_int(&s, 3, key);
	stmt_text(&s, 4, good);
	return names_step(c->os, &s, e);
}

static int to_lost_found(struct check *c, const struct row *r, struct err *e)
{
	struct dir d;
	int rc = lost_found(c, r->v[1], &d, e);

	return rc < 0 ? rc : place_at(c, r->v[0], r->name, &d, e);
}

/* ---- each kind of fault: its rows begin with the entry and its space */

static int check_spaces(struct check *c, struct err *e)
{
	AUTO(rows) struct rows none = { 0 }, top = { 0 };
	char thing[64];
	int rc = rows_get(c, &none, "SELECT DISTINCT space,0,0,0,0,'' FROM entry WHERE space NOT IN(SELECT id FROM space) AND parent>0", e);

	for (size_t i = 0; rc == 0 && i < none.n; i++) {
		snprintf(thing, sizeof thing, "container %" PRId64, none.v[i].v[0]);
		fault(c, thing, "made again, of no tenant", "it is gone, and objects of it are there");
		if (c->repair)
			rc = RUN_SQL(c->os, c->db, e, "INSERT INTO space(id,tenant,root)VALUES($1,0,0)", none.v[i].v[0]);
	}
	if (rc == 0)
		rc = rows_get(c, &top, "SELECT s.id,s.root,0,0,0,'' FROM space s LEFT JOIN entry t ON t.id=s.root AND t.parent=0 AND t.type=2 AND "
			      "t.space=s.id WHERE t.id IS NULL", e);
	for (size_t i = 0; rc == 0 && i < top.n; i++) {
		struct entry n = { .space = top.v[i].v[0], .type = ENTRY_DIR, .mode = 0755, .mtime = now_ns(), .ctime = now_ns() };

		snprintf(thing, sizeof thing, "container %" PRId64, top.v[i].v[0]);
		fault(c, thing, "a new one", "it has no top directory");
		if (!c->repair)
			continue;
		n.id = index_id(c->os);
		if ((rc = entry_insert(c->os, c->db, &n, n.id, NULL, NULL, e)) == 0)
			rc = RUN_SQL(c->os, c->db, e, "UPDATE space SET root=$2 WHERE id=$1", top.v[i].v[0], n.id);
	}
	names_undone(c->os);
	return rc;
}

static int check_parents(struct check *c, struct err *e)
{
	static const char *const queries[][2] = {
		{ "SELECT n.id,n.space,0,0,0,n.name FROM entry n LEFT JOIN entry p ON p.id=n.parent AND p.type=2 AND p.space=n.space "
		  "WHERE n.parent<>0 AND p.id IS NULL", "its directory is gone" },
		{ "SELECT n.id,n.space,0,0,0,n.name FROM entry n WHERE n.parent=0 AND n.type<>1 AND n.id NOT IN(SELECT root FROM space)"
		  " AND n.space IN(SELECT id FROM space)", "it is in no directory" },
	};
	char thing[400];
	int rc = 0;

	for (size_t q = 0; rc == 0 && q < ARRAY_LEN(queries); q++) {
		AUTO(rows) struct rows r = { 0 };

		rc = rows_get(c, &r, queries[q][0], e);
		for (size_t i = 0; rc == 0 && i < r.n; i++) {
			fault(c, entry_thing(&r.v[i], thing), "moved to lost+found", "%s", queries[q][1]);
			if (c->repair)
				rc = to_lost_found(c, &r.v[i], e);
		}
	}
	return rc;
}

/* Directories by number, each with the one above: whoever comes back to itself is a cycle. */
struct up {
	int64_t id, parent;
	uint32_t seen;		/* by which walk; 0: not yet */
};

static struct up *up_find(struct up *v, size_t n, int64_t id)
{
	for (size_t lo = 0, hi = n; lo < hi;) {
		size_t mid = (lo + hi) / 2;

		if (v[mid].id == id)
			return &v[mid];
		if (v[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

static int ups_get(struct check *c, struct up **ret, size_t *n, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(c->db, "SELECT id,parent FROM entry WHERE type=2 ORDER BY id");
	size_t cap = 0;
	int rc;

	while ((rc = stmt_step(&s, e)) > 0) {
		if (*n == cap) {
			struct up *v = realloc(*ret, (cap = cap ? 2 * cap : 256) * sizeof *v);

			if (!v)
				return err_set(e, ENOMEM, "check names: out of memory");
			*ret = v;
		}
		(*ret)[(*n)++] = (struct up){ stmt_col_int(&s, 0), stmt_col_int(&s, 1), 0 };
	}
	return rc;
}

static int break_cycle(struct check *c, int64_t id, struct err *e)
{
	struct row r = { 0 };
	struct entry n;
	char thing[400];
	int rc = entry_get(c->db, id, &n, e);

	if (rc < 0)
		return rc;
	r.v[0] = id;
	r.v[1] = n.space;
	snprintf(r.name, sizeof r.name, "%s", n.name);
	fault(c, entry_thing(&r, thing), "moved to lost+found", "this directory is inside itself");
	return c->repair ? to_lost_found(c, &r, e) : 0;
}

static int check_cycles(struct check *c, struct err *e)
{
	AUTO(free) struct up *v = NULL;
	size_t n = 0;
	int rc = ups_get(c, &v, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct up *u = &v[i];

		for (; u && !u->seen; u = u->parent ? up_find(v, n, u->parent) : NULL)
			u->seen = (uint32_t)i + 1;
		if (u && u->seen == (uint32_t)i + 1) {
			rc = break_cycle(c, u->id, e);
			u->parent = 0;
		}
	}
	return rc;
}

/* A name that is none, and one that is not found because its key is not its hash's. */
static int check_names(struct check *c, struct err *e)
{
	AUTO(rows) struct rows bad = { 0 };
	struct err why = { 0 };
	char thing[400];
	int rc = 0;

	{
		AUTO(stmt_done) struct stmt s = stmt_prepare(c->db, "SELECT id,space,parent,key,0,name FROM entry WHERE parent>0");

		while (bad.n < ROWS_MAX && (rc = stmt_step(&s, e)) > 0) {
			const char *name = stmt_col_text(&s, 5);
			int64_t off = stmt_col_int(&s, 3) - name_key(name);

			if ((name_valid(name, &why) < 0 || off < 0 || off >= PROBES) && (rc = rows_add(&bad, &s, e)) < 0)
				return rc;
		}
	}
	for (size_t i = 0; i < bad.n && rc >= 0; i++) {
		struct dir d = { .id = bad.v[i].v[2], .space = bad.v[i].v[1] };
		bool invalid = name_valid(bad.v[i].name, &why) < 0;

		fault(c, entry_thing(&bad.v[i], thing), invalid ? "renamed" : "put where it is found", "%s",
		      invalid ? why.msg : "its name is not found: it stands at the wrong place of its directory");
		if (c->repair)
			rc = place_at(c, bad.v[i].v[0], bad.v[i].name, &d, e);
	}
	return rc < 0 ? rc : 0;
}

/* Two of the same name in a directory: the key alone is unique. */
static int check_twins(struct check *c, struct err *e)
{
	AUTO(rows) struct rows r = { 0 };
	char thing[400];
	int rc = rows_get(c, &r, "SELECT b.id,b.space,b.parent,0,0,b.name FROM entry a JOIN entry b ON b.parent=a.parent AND b.parent>0 AND b.key>a.key "
			  "AND b.key<a.key+16 WHERE a.parent>0 AND a.name=b.name", e);

	for (size_t i = 0; i < r.n && rc == 0; i++) {
		fault(c, entry_thing(&r.v[i], thing), "moved to lost+found", "its directory has another of that name");
		if (c->repair)
			rc = to_lost_found(c, &r.v[i], e);
	}
	return rc;
}

static int check_open(struct check *c, struct err *e)
{
	AUTO(rows) struct rows r = { 0 };
	char thing[400];
	int rc = rows_get(c, &r, "SELECT id,space,parent,root,0,name FROM entry WHERE uncut>0 UNION SELECT id,space,parent,root,0,name FROM entry "
			  "WHERE parent=0 AND type=1", e);

	for (size_t i = 0; i < r.n && rc == 0; i++) {
		if (body_is(c->os, r.v[i].v[0]))
			continue;
		fault(c, entry_thing(&r.v[i], thing), "removed", "%s", r.v[i].v[2] ? "it was never written to its end" : "it was removed and is "
		      "not open");
		if (!c->repair)
			continue;
		rc = RUN_SQL(c->os, c->db, e, "UPDATE entry SET parent=0,uncut=0 WHERE id=$1", r.v[i].v[0]);
		if (rc == 0)
			rc = name_forget(c->os, r.v[i].v[0], e);
	}
	return rc;
}

static int check_attrs(struct check *c, struct err *e)
{
	static const struct { const char *sql, *wrong, *did, *mend; } kinds[] = {
		{ "SELECT DISTINCT entry,0,0,0,0,'' FROM attr WHERE entry NOT IN(SELECT id FROM entry)", "it is gone, and has attributes",
		  "removed them", "DELETE FROM attr WHERE entry=$1" },
		{ "SELECT id,0,0,0,0,name FROM entry WHERE attrs<>(id IN(SELECT entry FROM attr))", "whether it has attributes is noted wrongly",
		  "noted", "UPDATE entry SET attrs=EXISTS(SELECT 1 FROM attr WHERE entry=$1) WHERE id=$1" },
		{ "SELECT id,0,0,0,0,name FROM entry WHERE delete_at IS NOT NULL AND (type<>1 OR parent=0)", "it cannot expire, and would",
		  "it does not expire", "UPDATE entry SET delete_at=NULL WHERE id=$1" },
	};
	char thing[400];
	int rc = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds) && rc == 0; k++) {
		AUTO(rows) struct rows r = { 0 };

		rc = rows_get(c, &r, kinds[k].sql, e);
		for (size_t i = 0; i < r.n && rc == 0; i++) {
			fault(c, entry_thing(&r.v[i], thing), kinds[k].did, "%s", kinds[k].wrong);
			if (c->repair)
				rc = RUN_SQL(c->os, c->db, e, kinds[k].mend, r.v[i].v[0]);
		}
	}
	return rc;
}

static int check_versions(struct check *c, struct err *e)
{
	AUTO(rows) struct rows r = { 0 };
	char thing[400];
	int rc = rows_get(c, &r, "SELECT id,space,root,0,0,name FROM version WHERE space NOT IN(SELECT id FROM space)", e);

	for (size_t i = 0; i < r.n && rc == 0; i++) {
		snprintf(thing, sizeof thing, "version %" PRId64 " of '%s'", r.v[i].v[0], r.v[i].name);
		fault(c, thing, "removed", "its container is gone");
		if (c->repair)
			rc = RUN_SQL(c->os, c->db, e, "DELETE FROM version WHERE id=$1", r.v[i].v[0]);
		if (c->repair && rc == 0 && r.v[i].v[2])
			rc = content_drop(c->os, r.v[i].v[2], e);
	}
	return rc;
}

static int check_counts(struct check *c, struct err *e)
{
	static const struct { const char *what, *sql, *mend; } kinds[] = {
		{ "objects", "SELECT s.id,s.bytes,s.count,COALESCE(t.b,0),COALESCE(t.n,0),'' FROM space s LEFT JOIN (SELECT space,sum(size) b,count(*) n "
		  "FROM entry WHERE type=1 AND parent>0 GROUP BY space) t ON t.space=s.id WHERE s.bytes<>COALESCE(t.b,0) OR s.count<>COALESCE(t.n,0)",
		  "UPDATE space SET bytes=$2,count=$3 WHERE id=$1" },
		{ "old versions", "SELECT s.id,s.version_bytes,s.versions,COALESCE(t.b,0),COALESCE(t.n,0),'' FROM space s LEFT JOIN (SELECT space,"
		  "sum(size) b,count(*) n FROM version GROUP BY space) t ON t.space=s.id WHERE s.version_bytes<>COALESCE(t.b,0) OR "
		  "s.versions<>COALESCE(t.n,0)", "UPDATE space SET version_bytes=$2,versions=$3 WHERE id=$1" },
	};
	char thing[64];
	int rc = 0;

	for (size_t k = 0; k < ARRAY_LEN(kinds) && rc == 0; k++) {
		AUTO(rows) struct rows r = { 0 };

		rc = rows_get(c, &r, kinds[k].sql, e);
		for (size_t i = 0; i < r.n && rc == 0; i++) {
			const int64_t *v = r.v[i].v;

			snprintf(thing, sizeof thing, "container %" PRId64, v[0]);
			fault(c, thing, "counted anew", "%" PRId64 " %s with %" PRId64 " bytes are noted, %" PRId64 " with %" PRId64 " are there", v[2],
			      kinds[k].what, v[1], v[4], v[3]);
			if (c->repair)
				rc = RUN_SQL(c->os, c->db, e, kinds[k].mend, v[0], v[3], v[4]);
		}
	}
	return rc;
}

int64_t names_check(struct objects *os, bool repair, objects_fault_fn *fn, void *arg, struct err *e)
{
	/* counts first, because a trigger refuses to count below 0, and last, for what was repaired */
	static int (*const checks[])(struct check *, struct err *) = { check_spaces, check_counts, check_parents, check_cycles, check_names,
								       check_twins, check_open, check_attrs, check_versions };
	struct check c = { .os = os, .db = index_begin(os, e), .repair = repair, .fn = fn, .arg = arg };
	int rc = 0;

	if (!c.db)
		return -e->code;
	for (size_t i = 0; i < ARRAY_LEN(checks) && rc == 0; i++)
		rc = checks[i](&c, e);
	if (rc == 0 && repair)
		rc = check_counts(&c, e);
	names_undone(os);
	names_end(os);
	return rc < 0 ? rc : c.faults;
}
