/* Spaces: what their names are counted in, quotas, and the figures of them and of tenants that are kept in memory.  They are read when first
 * asked for and then follow what the statements changed; when something written is undone they are read anew. */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#define entry hsearch_entry	/* its other half has a struct entry of its own */
#include <search.h>
#undef entry

struct lock {
	pthread_mutex_t *m;
};

static struct lock lock(struct names *n)
{
	pthread_mutex_lock(&n->lock);
	return (struct lock){ &n->lock };
}

static void auto_unlock(struct lock *l)
{
	pthread_mutex_unlock(l->m);
}

struct names *names_new(void)
{
	struct names *n = calloc(1, sizeof *n);

	if (n)
		pthread_mutex_init(&n->lock, NULL);
	return n;
}

void names_free(struct names *n)
{
	if (!n)
		return;
	tdestroy(n->spaces, free);
	tdestroy(n->tenants, free);
	free(n->made.v);
	pthread_mutex_destroy(&n->lock);
	free(n);
}

void names_undone(struct objects *os)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);

	dirs_clear(n);
	n->loaded = false;
}

/* ---- the trees; their lock is held */

static int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The first member of what is found is its id; made, zeroed, when it is not there and size is given.  NULL: not there, or no memory. */
static void *find(void **tree, int64_t id, size_t size)
{
	void *p = tfind(&id, tree, by_id);
	int64_t *n;

	if (p || !size)
		return p ? *(void **)p : NULL;
	if (!(n = calloc(1, size)))
		return NULL;
	*n = id;
	if (!tsearch(n, tree, by_id)) {
		free(n);
		return NULL;
	}
	return n;
}

static struct names_space *space_of(struct names *n, int64_t id, bool make)
{
	return find(&n->spaces, id, make ? sizeof(struct names_space) : 0);
}

static struct names_tenant *tenant_of(struct names *n, int64_t id)
{
	struct names_tenant *t = find(&n->tenants, id, 0);

	if (!t && (t = find(&n->tenants, id, sizeof *t)))
		t->quota_bytes = t->quota_count = -1;
	return t;
}

static void space_zero(const void *node, VISIT v, void *arg)
{
	struct names_space *s = *(struct names_space *const *)node;

	if (v == preorder || v == leaf) {
		s->there = false;
		s->s = (struct space){ .id = s->s.id };
	}
}

static void tenant_zero(const void *node, VISIT v, void *arg)
{
	struct names_tenant *t = *(struct names_tenant *const *)node;

	if (v == preorder || v == leaf)
		t->bytes = t->count = t->pending = 0;
}

static int no_memory(struct err *e)
{
	return err_set(e, ENOMEM, "no memory for what is known of containers");
}

static int load(struct names *n, struct db *db, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT id,tenant,root,bytes,count,quota_bytes,quota_count,versioning,compression,"
							 "versions,version_bytes FROM space");
	int rc;

	twalk_r(n->spaces, space_zero, NULL);
	twalk_r(n->tenants, tenant_zero, NULL);
	while ((rc = stmt_step(&s, e)) > 0) {
		struct names_space *sp = space_of(n, stmt_col_int(&s, 0), true);
		struct names_tenant *t = tenant_of(n, stmt_col_int(&s, 1));

		if (!sp || !t)
			return no_memory(e);
		sp->there = true;
		sp->s = (struct space){
			.id = stmt_col_int(&s, 0), .tenant = stmt_col_int(&s, 1), .root = stmt_col_int(&s, 2),
			.bytes = stmt_col_int(&s, 3), .count = stmt_col_int(&s, 4), .quota_bytes = stmt_col_int(&s, 5),
			.quota_count = stmt_col_int(&s, 6), .versioning = stmt_col_int(&s, 7), .compression = stmt_col_int(&s, 8),
			.versions = stmt_col_int(&s, 9), .version_bytes = stmt_col_int(&s, 10),
		};
		t->bytes += sp->s.bytes;
		t->count += sp->s.count;
		t->pending += sp->pending;
	}
	n->loaded = rc == 0;
	return rc;
}

int spaces_load(struct objects *os, struct db *db, struct err *e)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);

	return n->loaded ? 0 : load(n, db, e);
}

/* ---- what is counted */

void space_count(struct objects *os, int64_t space, int64_t bytes, int64_t count)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *s = n->loaded ? space_of(n, space, false) : NULL;

	if (!s || !s->there)
		return;		/* it is read when it is asked for */
	struct names_tenant *t = tenant_of(n, s->s.tenant);
	s->s.bytes += bytes;
	s->s.count += count;
	if (t) {
		t->bytes += bytes;
		t->count += count;
	}
}

void space_count_versions(struct objects *os, int64_t space, int64_t bytes, int64_t count)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *s = n->loaded ? space_of(n, space, false) : NULL;

	if (s && s->there) {
		s->s.version_bytes += bytes;
		s->s.versions += count;
	}
}

void space_pending(struct objects *os, int64_t space, int64_t bytes)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *s = space_of(n, space, true);
	struct names_tenant *t = s && s->there ? tenant_of(n, s->s.tenant) : NULL;

	if (s)
		s->pending += bytes;
	if (t)
		t->pending += bytes;
}

void space_tenant_quota(struct objects *os, int64_t tenant, int64_t bytes, int64_t count)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_tenant *t = tenant_of(n, tenant);

	if (t) {
		t->quota_bytes = bytes;
		t->quota_count = count;
	}
}

int space_tenant_used(struct objects *os, int64_t tenant, int64_t *bytes, int64_t *count, struct err *e)
{
	struct db *db = index_begin(os, e);
	struct names *n = names_of(os);

	if (!db)
		return -e->code;
	int rc = spaces_load(os, db, e);
	if (rc == 0) {
		AUTO(unlock) struct lock l = lock(n);
		struct names_tenant *t = find(&n->tenants, tenant, 0);

		*bytes = t ? t->bytes + t->pending : 0;
		*count = t ? t->count : 0;
	}
	index_end(os, false);
	return rc;
}

static int full(const char *whose, const char *what, int64_t used, int64_t more, int64_t limit, struct err *e)
{
	if (limit < 0 || more <= 0 || used + more <= limit)
		return 0;
	return err_set(e, EDQUOT, "the %s's quota: %" PRId64 " of %" PRId64 " %s are used, and %" PRId64 " more are wanted", whose, used, limit,
		       what, more);
}

int space_room(struct objects *os, int64_t space, int64_t bytes, int64_t count, struct err *e)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	int rc = n->loaded ? 0 : load(n, index_db(os), e);

	if (rc < 0)
		return rc;
	struct names_space *s = space_of(n, space, false);
	if (!s || !s->there)
		return err_set(e, ENOENT, "there is no container %" PRId64, space);
	struct names_tenant *t = tenant_of(n, s->s.tenant);
	if (!t)
		return no_memory(e);
	if ((rc = full("container", "bytes", s->s.bytes + s->pending, bytes, s->s.quota_bytes, e)) < 0 ||
	    (rc = full("container", "objects", s->s.count, count, s->s.quota_count, e)) < 0 ||
	    (rc = full("tenant", "bytes", t->bytes + t->pending, bytes, t->quota_bytes, e)) < 0)
		return rc;
	return full("tenant", "objects", t->count, count, t->quota_count, e);
}

bool space_versioned(struct objects *os, int64_t space)
{
	struct names *n = names_of(os);
	struct err e = { 0 };
	AUTO(unlock) struct lock l = lock(n);

	if (!n->loaded && load(n, index_db(os), &e) < 0)
		return false;
	struct names_space *s = space_of(n, space, false);
	return s && s->s.versioning;
}

/* ---- made, changed, dropped */

static int space_insert(struct objects *os, struct db *db, int64_t id, int64_t tenant, struct err *e)
{
	int64_t now = now_ns();
	struct entry top = { .id = index_id(os), .space = id, .type = ENTRY_DIR, .mode = 0755, .mtime = now, .ctime = now };
	int rc = entry_insert(os, db, &top, top.id, NULL, NULL, e);

	if (rc == 0)
		rc = RUN_SQL(os, db, e, "INSERT INTO space(id,tenant,root)VALUES($1,$2,$3)", id, tenant, top.id);
	if (rc < 0)
		return rc;
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *s = space_of(n, id, true);
	struct names_tenant *t = tenant_of(n, tenant);
	if (!s || !t)
		return no_memory(e);
	s->there = true;
	s->s = (struct space){ .id = id, .tenant = tenant, .root = top.id, .quota_bytes = -1, .quota_count = -1, .compression = true };
	t->pending += s->pending;
	return 0;
}

int space_row(struct objects *os, struct db *db, int64_t id, struct space *ret, struct err *e)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	int rc = n->loaded ? 0 : load(n, db, e);
	struct names_space *s = rc == 0 ? space_of(n, id, false) : NULL;

	if (rc < 0)
		return rc;
	if (!s || !s->there)
		return err_set(e, ENOENT, "there is no container %" PRId64, id);
	*ret = s->s;
	return 0;
}

int space_make(struct objects *os, int64_t id, int64_t tenant, struct err *e)
{
	struct db *db = index_begin(os, e);
	struct space s;
	struct err no = { 0 };

	if (!db)
		return -e->code;
	int rc = space_row(os, db, id, &s, &no);
	if (rc == -ENOENT && (rc = index_room(os, e)) == 0 && (rc = index_mark(os, e)) == 0) {
		rc = names_mark_end(os, space_insert(os, db, id, tenant, e), e);
	} else if (rc < 0 && !e->code) {
		*e = no;
	}
	names_end(os);
	return rc;
}

/* Bytes that are written and in no cut yet. */
static int64_t space_waiting(struct objects *os, int64_t id)
{
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *s = space_of(n, id, false);

	return s ? s->pending : 0;
}

int space_get(struct objects *os, int64_t id, struct space *ret, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = space_row(os, db, id, ret, e);
	if (rc == 0)
		ret->bytes += space_waiting(os, id);
	index_end(os, false);
	return rc;
}

int space_set(struct objects *os, const struct space *s, struct err *e)
{
	struct db *db = index_begin(os, e);
	struct space was;

	if (!db)
		return -e->code;
	int rc = space_row(os, db, s->id, &was, e);
	if (rc == 0)
		rc = RUN_SQL(os, db, e, "UPDATE space SET quota_bytes=$2,quota_count=$3,versioning=$4,compression=$5 WHERE id=$1", s->id,
			     s->quota_bytes, s->quota_count, s->versioning, s->compression);
	if (rc == 0) {
		struct names *n = names_of(os);
		AUTO(unlock) struct lock l = lock(n);
		struct names_space *sp = space_of(n, s->id, false);

		sp->s.quota_bytes = s->quota_bytes;
		sp->s.quota_count = s->quota_count;
		sp->s.versioning = s->versioning;
		sp->s.compression = s->compression;
	}
	names_end(os);
	return rc;
}

static int used(struct db *db, const struct space *s, struct err *e)
{
	AUTO(stmt_done) struct stmt q = stmt_prepare(db, "SELECT EXISTS(SELECT 1 FROM entry WHERE parent>0 AND parent=+$1 AND "
		"(delete_at IS NULL OR delete_at>$2)),EXISTS(SELECT 1 FROM version WHERE space=$3)");

	stmt_int(&q, 1, s->root);
	stmt_int(&q, 2, now_ns() / 1000000000);
	stmt_int(&q, 3, s->id);
	int rc = stmt_step(&q, e);
	return rc <= 0 ? rc : stmt_col_int(&q, 0) ? 1 : stmt_col_int(&q, 1) ? 2 : 0;
}

int space_used(struct objects *os, int64_t id, struct err *e)
{
	struct db *db = index_begin(os, e);
	struct space s;

	if (!db)
		return -e->code;
	int rc = space_row(os, db, id, &s, e);
	if (rc == 0)
		rc = used(db, &s, e);
	index_end(os, false);
	return rc;
}

/* What has expired in it and is not yet removed goes with it. */
static int space_delete(struct objects *os, struct db *db, const struct space *s, struct err *e)
{
	int rc = dir_expire(os, db, s->root, false, e);

	if (rc == 0)
		rc = RUN_SQL(os, db, e, "DELETE FROM attr WHERE entry=$1", s->root);
	if (rc == 0)
		rc = RUN_SQL(os, db, e, "DELETE FROM entry WHERE id=$1", s->root);
	if (rc == 0)
		rc = RUN_SQL(os, db, e, "DELETE FROM vdir WHERE space=$1", s->id);
	if (rc == 0)
		rc = RUN_SQL(os, db, e, "DELETE FROM space WHERE id=$1", s->id);
	if (rc < 0)
		return rc;
	struct names *n = names_of(os);
	AUTO(unlock) struct lock l = lock(n);
	struct names_space *sp = space_of(n, s->id, false);
	struct names_tenant *t = tenant_of(n, s->tenant);
	if (t)
		t->pending -= sp->pending;
	sp->there = false;
	if (!sp->pending) {
		tdelete(sp, &n->spaces, by_id);
		free(sp);
	}
	dirs_clear(n);
	return 0;
}

static int drop(struct objects *os, struct db *db, int64_t id, struct err *e)
{
	struct space s;
	struct err no = { 0 };
	int rc = space_row(os, db, id, &s, &no);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0) {
		*e = no;
		return rc;
	}
	if ((rc = used(db, &s, e)) != 0)
		return rc < 0 ? rc : err_set(e, ENOTEMPTY, rc == 1 ? "the container has objects" : "the container has old versions of objects");
	if ((rc = index_mark(os, e)) == 0)
		rc = names_mark_end(os, space_delete(os, db, &s, e), e);
	return rc;
}

int space_drop(struct objects *os, int64_t id, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = drop(os, db, id, e);
	names_end(os);
	return rc < 0 ? rc : index_sync(os, e);
}

struct listing {
	struct space *v;
	size_t n, cap;
	int64_t tenant;
	bool failed;
};

static void space_collect(const void *node, VISIT v, void *arg)
{
	const struct names_space *s = *(struct names_space *const *)node;
	struct listing *l = arg;

	if ((v != postorder && v != leaf) || !s->there || (l->tenant && l->tenant != s->s.tenant))
		return;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 64;
		struct space *more = realloc(l->v, cap * sizeof *more);

		if (!more) {
			l->failed = true;
			return;
		}
		l->v = more;
		l->cap = cap;
	}
	l->v[l->n] = s->s;
	l->v[l->n++].bytes += s->pending;
}

static int collect(struct objects *os, struct listing *all, struct err *e)
{
	struct names *n = names_of(os);
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = spaces_load(os, db, e);
	if (rc == 0) {
		AUTO(unlock) struct lock l = lock(n);

		twalk_r(n->spaces, space_collect, all);
	}
	index_end(os, false);
	return rc == 0 && all->failed ? no_memory(e) : rc;
}

int space_list(struct objects *os, int64_t tenant, space_fn *fn, void *arg, struct err *e)
{
	struct listing l = { .tenant = tenant };
	int rc = collect(os, &l, e);

	for (size_t i = 0; rc == 0 && i < l.n; i++)
		if (fn(arg, &l.v[i]))
			break;
	free(l.v);
	return rc;
}
