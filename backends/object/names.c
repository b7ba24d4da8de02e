/* Names: what the tree of a space is asked and told.  Rows and directories: entry.c; attributes, versions, spaces have files of their own. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH 512		/* entries read at a time */

/* What openers see of it, where the row does not yet say it. */
static void overlay(struct objects *os, struct entry *n)
{
	if (n->type == ENTRY_FILE) {
		body_overlay(os, n);
	} else if (n->type == ENTRY_DIR) {
		int64_t t = dir_touched(os, n->id, false);

		if (t)
			n->mtime = n->ctime = t;
	}
}

static int no_name(const char *name, struct err *e)
{
	return err_set(e, ENOENT, "there is no '%s'", name);
}

/* ---- asking */

int name_lookup(struct objects *os, int64_t dir, const char *name, struct entry *ret, struct err *e)
{
	struct db *db = index_begin(os, e);
	int64_t key;

	if (!db)
		return -e->code;
	int rc = entry_find(db, dir, name, ret, &key, e);
	if (rc > 0)
		overlay(os, ret);
	index_end(os, false);
	if (rc < 0)
		return rc;
	return rc == 0 || (ret->delete_at && entry_expired(ret, now_ns())) ? no_name(name, e) : 0;
}

int name_get(struct objects *os, int64_t id, struct entry *ret, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = entry_get(db, id, ret, e);
	if (rc == 0)
		overlay(os, ret);
	index_end(os, false);
	return rc;
}

struct listed {
	struct entry n;
	int64_t key;
};

/* Up to n entries of a directory after that offset. */
static int list_batch(struct objects *os, int64_t dir, int64_t after, struct listed *v, int n, struct err *e)
{
	struct db *db = index_begin(os, e);
	int got = 0, rc;

	if (!db)
		return -e->code;
	{
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ENTRY_COLS " FROM entry WHERE parent>0 AND parent=+$1 AND key>$2 "
							     "ORDER BY key LIMIT $3");
		stmt_int(&s, 1, dir);
		stmt_int(&s, 2, after);
		stmt_int(&s, 3, n);
		while ((rc = stmt_step(&s, e)) > 0) {
			entry_read(&s, &v[got].n);
			v[got].key = stmt_col_int(&s, COL_KEY);
			overlay(os, &v[got++].n);
		}
	}
	index_end(os, false);
	return rc < 0 ? rc : got;
}

/* The first batch is small: most directories are. */
int name_list(struct objects *os, int64_t dir, int64_t after, name_fn *fn, void *arg, struct err *e)
{
	int64_t now = now_ns();

	for (int n = BATCH / 16, got;; n = BATCH) {
		AUTO(free) struct listed *v = malloc((size_t)n * sizeof *v);

		if (!v)
			return err_set(e, ENOMEM, "list a directory: %m");
		if ((got = list_batch(os, dir, after, v, n, e)) < 0)
			return got;
		for (int i = 0; i < got; i++)
			if (!entry_expired(&v[i].n, now) && fn(arg, &v[i].n, v[i].key))
				return 0;
		if (got < n)
			return 0;
		after = v[got - 1].key;
	}
}

int name_readlink(struct objects *os, int64_t id, char *ret, size_t size, struct err *e)
{
	struct db *db = index_begin(os, e);
	int rc;

	if (!db)
		return -e->code;
	{
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT type,target FROM entry WHERE id=$1");

		stmt_int(&s, 1, id);
		rc = stmt_step(&s, e);
		if (rc == 0)
			rc = err_set(e, ENOENT, "there is no object %" PRId64, id);
		else if (rc > 0 && stmt_col_int(&s, 0) != ENTRY_LINK)
			rc = err_set(e, EINVAL, "this is no symbolic link");
		else if (rc > 0)
			rc = (size_t)snprintf(ret, size, "%s", stmt_col_text(&s, 1)) < size ? 0
			     : err_set(e, ENAMETOOLONG, "the target of a link is too long");
	}
	index_end(os, false);
	return rc;
}

int name_path(struct objects *os, int64_t id, int64_t *space, char *ret, size_t size, struct err *e)
{
	struct db *db = index_begin(os, e);
	struct entry n;

	if (!db)
		return -e->code;
	int rc = entry_get(db, id, &n, e);
	if (rc == 0)
		rc = path_of(db, id, ret, size, e);
	if (rc == 0)
		*space = n.space;
	index_end(os, false);
	return rc;
}

/* ---- making */

/* A directory with the set-group-id bit gives its group, and to directories the bit. */
static int inherit(struct db *db, int64_t dir, struct entry *n, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT mode,gid FROM entry WHERE id=$1");
	int rc;

	stmt_int(&s, 1, dir);
	if ((rc = stmt_step(&s, e)) <= 0 || !(stmt_col_int(&s, 0) & S_ISGID))
		return rc < 0 ? rc : 0;
	n->gid = (gid_t)stmt_col_int(&s, 1);
	if (n->type == ENTRY_DIR)
		n->mode |= S_ISGID;
	return 0;
}

static int make(struct objects *os, struct db *db, int64_t dir, struct entry *n, const char *target, struct err *e)
{
	struct dir d;
	struct entry there;
	int64_t key;
	int rc = dir_get(os, db, dir, &d, e);

	if (rc < 0 || (rc = dir_fits(&d, n->name, 0, e)) < 0)
		return rc;
	rc = entry_find(db, dir, n->name, &there, &key, e);
	if (rc > 0 && entry_expired(&there, n->ctime)) {
		if ((rc = index_mark(os, e)) == 0)
			rc = names_mark_end(os, entry_unlink(os, db, &there, true, n->ctime, e), e);
	} else if (rc > 0) {
		rc = err_set(e, EEXIST, "'%s' is there already", n->name);
	}
	if (rc < 0)
		return rc;
	if (!key)
		return err_set(e, ENOSPC, "too many names of this directory have the hash of '%s'", n->name);
	if ((rc = index_room(os, e)) < 0 || (n->type == ENTRY_FILE && (rc = space_room(os, d.space, 0, 1, e)) < 0))
		return rc;
	if ((rc = inherit(db, dir, n, e)) < 0)
		return rc;
	n->id = index_id(os);
	n->parent = dir;
	n->space = d.space;
	if ((rc = entry_insert(os, db, n, key, target, NULL, e)) == 0)
		dir_touch(os, db, dir, n->ctime);
	return rc;
}

int name_make(struct objects *os, int64_t dir, const char *name, enum entry_type type, mode_t mode, uid_t uid, gid_t gid, const char *target,
	      struct entry *ret, struct err *e)
{
	int rc = name_valid(name, e);
	int64_t now = now_ns();

	if (rc < 0)
		return rc;
	*ret = (struct entry){ .type = type, .mode = mode & 07777, .uid = uid, .gid = gid, .mtime = now, .ctime = now,
			       .uncut = type == ENTRY_FILE };
	if (type == ENTRY_LINK) {
		ret->size = strlen(target);
		if (!ret->size || ret->size > 4095)
			return err_set(e, ret->size ? ENAMETOOLONG : ENOENT, "the target of a link has 1 to 4095 bytes");
	}
	memcpy(ret->name, name, strlen(name));
	struct db *db = index_begin(os, e);
	if (!db)
		return -e->code;
	rc = make(os, db, dir, ret, type == ENTRY_LINK ? target : NULL, e);
	names_end(os);
	return rc;
}

/* ---- removing */

/* 1 when a directory has no entry, or only such as have expired. */
static int is_empty(struct db *db, int64_t dir, int64_t now, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT 1 FROM entry WHERE parent>0 AND parent=+$1 AND (delete_at IS NULL OR delete_at>$2) "
						     "LIMIT 1");
	stmt_int(&s, 1, dir);
	stmt_int(&s, 2, now / 1000000000);
	int rc = stmt_step(&s, e);
	return rc < 0 ? rc : !rc;
}

int dir_expire(struct objects *os, struct db *db, int64_t dir, bool marker, struct err *e)
{
	int64_t now = now_ns();

	for (;;) {
		struct entry n;
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ENTRY_COLS " FROM entry WHERE parent>0 AND parent=+$1 LIMIT 1");

		stmt_int(&s, 1, dir);
		int rc = stmt_step(&s, e);
		if (rc <= 0)
			return rc;
		entry_read(&s, &n);
		stmt_done(&s);
		if ((rc = entry_unlink(os, db, &n, marker, now, e)) < 0)
			return rc;
	}
}

/* Its name goes, for good or because another takes its place. */
static int take_away(struct objects *os, struct db *db, const struct entry *n, bool marker, int64_t now, struct err *e)
{
	if (n->type == ENTRY_DIR) {
		int rc = is_empty(db, n->id, now, e);

		if (rc <= 0)
			return rc < 0 ? rc : err_set(e, ENOTEMPTY, "the directory '%s' is not empty", n->name);
		if ((rc = dir_expire(os, db, n->id, true, e)) < 0)
			return rc;
		dirs_clear(names_of(os));
		dir_touched(os, n->id, true);
	}
	return entry_unlink(os, db, n, marker, now, e);
}

static int take_marked(struct objects *os, struct db *db, const struct entry *n, int64_t now, struct err *e)
{
	/* one statement is undone by itself */
	if (n->type != ENTRY_DIR && !n->root && !n->attrs && !space_versioned(os, n->space))
		return entry_unlink(os, db, n, true, now, e);
	int rc = index_mark(os, e);
	return rc < 0 ? rc : names_mark_end(os, take_away(os, db, n, true, now, e), e);
}

static int remove_name(struct objects *os, struct db *db, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	int64_t now = now_ns(), key;
	struct entry n;
	int rc = entry_find(db, dir, name, &n, &key, e);

	if (rc <= 0)
		return rc < 0 ? rc : no_name(name, e);
	if (!entry_expired(&n, now) && is_dir != (n.type == ENTRY_DIR))
		return is_dir ? err_set(e, ENOTDIR, "'%s' is no directory", name) : err_set(e, EISDIR, "'%s' is a directory", name);
	if ((rc = take_marked(os, db, &n, now, e)) < 0)
		return rc;
	dir_touch(os, db, dir, now);
	return entry_expired(&n, now) ? no_name(name, e) : 0;
}

int name_settle(struct objects *os, int64_t dir, const char *name, struct err *e)
{
	struct db *db = index_begin(os, e);
	bool owed = false;
	struct entry n;
	struct dir d;
	int64_t key;

	if (!db)
		return -e->code;
	int rc = dir_get(os, db, dir, &d, e);
	if (rc == 0 && space_versioned(os, d.space) && (rc = entry_find(db, dir, name, &n, &key, e)) > 0)
		owed = n.type == ENTRY_FILE && body_is(os, n.id);
	index_end(os, false);
	if (rc < 0 || !owed)
		return rc < 0 ? rc : 0;
	body_settled(os, n.id);
	return index_sync(os, e);
}

int name_remove(struct objects *os, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	int rc = is_dir ? 0 : name_settle(os, dir, name, e);
	struct db *db = rc < 0 ? NULL : index_begin(os, e);

	if (!db)
		return -e->code;
	rc = remove_name(os, db, dir, name, is_dir, e);
	names_end(os);
	return rc;
}

/* ---- renaming */

struct place {			/* a name in a directory, and what has it */
	struct dir dir;
	const char *name;
	bool there;
	struct entry n;
	int64_t key;		/* a free one where nothing is there */
};

static int place_find(struct objects *os, struct db *db, struct place *p, int64_t now, struct err *e)
{
	int rc = entry_live(os, db, p->dir.id, p->name, now, &p->n, &p->key, e);

	p->there = rc > 0;
	return rc < 0 ? rc : 0;
}

/* 1 when directory `id` is dir or above it. */
static int is_above(struct objects *os, struct db *db, int64_t id, struct dir dir, struct err *e)
{
	while (dir.id != id && dir.parent) {
		int rc = dir_get(os, db, dir.parent, &dir, e);

		if (rc < 0)
			return rc;
	}
	return dir.id == id;
}

/* Bytes that the longest path below a directory adds to its own. */
static int deepest(struct db *db, int64_t dir, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "WITH RECURSIVE d(id,len)AS(SELECT $1,0 UNION ALL SELECT e.id,d.len+1+"
		"length(CAST(e.name AS BLOB)) FROM d JOIN entry e ON e.parent=d.id WHERE e.parent>0)SELECT max(len) FROM d");

	stmt_int(&s, 1, dir);
	int rc = stmt_step(&s, e);
	*ret = rc > 0 ? stmt_col_int(&s, 0) : 0;
	return rc < 0 ? rc : 0;
}

/* May what is at `from` stand at `to`: is a directory not moved into itself, does its longest path fit? */
static int may_move(struct objects *os, struct db *db, const struct place *from, const struct place *to, struct err *e)
{
	int64_t was = from->dir.len + (from->dir.len > 0) + (int64_t)strlen(from->name);
	int64_t will = to->dir.len + (to->dir.len > 0) + (int64_t)strlen(to->name), below = 0;
	int rc;

	if (from->n.type == ENTRY_DIR) {
		if ((rc = is_above(os, db, from->n.id, to->dir, e)) != 0)
			return rc < 0 ? rc : err_set(e, EINVAL, "the directory '%s' cannot be moved into itself", from->name);
		if (will > was && (rc = deepest(db, from->n.id, &below, e)) < 0)
			return rc;
	}
	return will > was ? dir_fits(&to->dir, to->name, below, e) : 0;
}

static int put_at(struct objects *os, struct db *db, const struct entry *n, const struct place *at, int64_t now, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE entry SET parent=$2,key=$3,name=$4,ctime=$5 WHERE id=$1");

	stmt_int(&s, 1, n->id);
	stmt_int(&s, 2, at->dir.id);
	stmt_int(&s, 3, at->key);
	stmt_text(&s, 4, at->name);
	stmt_int(&s, 5, now);
	if (n->type == ENTRY_DIR)
		dirs_clear(names_of(os));
	int rc = names_step(os, &s, e);
	if (rc == 0 && n->type == ENTRY_FILE)
		body_renamed(os, n->id);
	return rc;
}

static int exchange(struct objects *os, struct db *db, const struct place *a, const struct place *b, int64_t now, struct err *e)
{
	int rc = may_move(os, db, a, b, e);

	if (rc == 0)
		rc = may_move(os, db, b, a, e);
	if (rc == 0)	/* out of the way: no name's key is negative */
		rc = RUN_SQL(os, db, e, "UPDATE entry SET key=$2 WHERE id=$1", b->n.id, -b->n.id);
	if (rc == 0)
		rc = put_at(os, db, &a->n, b, now, e);
	return rc < 0 ? rc : put_at(os, db, &b->n, a, now, e);
}

static int replace(struct objects *os, struct db *db, const struct place *from, struct place *to, int64_t now, struct err *e)
{
	bool dir = from->n.type == ENTRY_DIR;
	int rc = 0;

	if (to->there && dir && to->n.type != ENTRY_DIR)
		return err_set(e, ENOTDIR, "'%s' is no directory, and '%s' is one", to->name, from->name);
	if (to->there && !dir && to->n.type == ENTRY_DIR)
		return err_set(e, EISDIR, "'%s' is a directory, and '%s' is none", to->name, from->name);
	if ((rc = may_move(os, db, from, to, e)) < 0)
		return rc;
	if (to->there && (rc = take_away(os, db, &to->n, false, now, e)) < 0)
		return rc;
	if (!to->key)
		return err_set(e, ENOSPC, "too many names of this directory have the hash of '%s'", to->name);
	return put_at(os, db, &from->n, to, now, e);
}

static int rename_marked(struct objects *os, struct db *db, struct place *from, struct place *to, unsigned flags, struct err *e)
{
	int64_t now = now_ns();
	int rc = place_find(os, db, from, now, e);

	if (rc < 0 || (rc = place_find(os, db, to, now, e)) < 0)
		return rc;
	if (!from->there || (!to->there && (flags & RENAME_EXCHANGE)))
		return no_name(from->there ? to->name : from->name, e);
	if (to->there && (flags & RENAME_NOREPLACE))
		return err_set(e, EEXIST, "'%s' is there already", to->name);
	if (to->there && to->n.id == from->n.id)
		return 0;
	rc = flags & RENAME_EXCHANGE ? exchange(os, db, from, to, now, e) : replace(os, db, from, to, now, e);
	if (rc == 0) {
		dir_touch(os, db, from->dir.id, now);
		dir_touch(os, db, to->dir.id, now);
	}
	return rc;
}

static int rename_name(struct objects *os, struct db *db, struct place *from, struct place *to, unsigned flags, struct err *e)
{
	int rc = dir_get(os, db, from->dir.id, &from->dir, e);

	if (rc < 0 || (rc = dir_get(os, db, to->dir.id, &to->dir, e)) < 0)
		return rc;
	if (from->dir.space != to->dir.space)
		return err_set(e, EXDEV, "an object cannot be moved into another container, only copied");
	if ((rc = index_mark(os, e)) < 0)
		return rc;
	return names_mark_end(os, rename_marked(os, db, from, to, flags, e), e);
}

int name_rename(struct objects *os, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags, struct err *e)
{
	struct place from = { .dir.id = dir, .name = name }, to = { .dir.id = newdir, .name = newname };
	int rc = name_valid(newname, e);

	if (rc < 0)
		return rc;
	if ((flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) || flags == (RENAME_NOREPLACE | RENAME_EXCHANGE))
		return err_set(e, EINVAL, "rename with flags %u is not known here", flags);
	if (!flags && name_settle(os, newdir, newname, e) < 0)
		return -e->code;
	struct db *db = index_begin(os, e);
	if (!db)
		return -e->code;
	rc = rename_name(os, db, &from, &to, flags, e);
	names_end(os);
	return rc;
}

/* ---- changing */

static void bind_if(struct stmt *s, int n, bool set, int64_t v)
{
	if (set)
		stmt_int(s, n, v);
}

static int set(struct objects *os, struct db *db, int64_t id, const struct name_set *v, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE entry SET mode=COALESCE($2,mode),uid=COALESCE($3,uid),gid=COALESCE($4,gid),"
						     "mtime=COALESCE($5,mtime),ctime=$6 WHERE id=$1");
	int64_t touched = dir_touched(os, id, true), now = now_ns();

	stmt_int(&s, 1, id);
	bind_if(&s, 2, v->mode_set, v->mode & 07777);
	bind_if(&s, 3, v->uid_set, v->uid);
	bind_if(&s, 4, v->gid_set, v->gid);
	bind_if(&s, 5, v->mtime_set || touched, v->mtime_set ? v->mtime : touched);
	stmt_int(&s, 6, now);
	int rc = names_step(os, &s, e);
	if (rc == 0 && !db_changes(db))
		return err_set(e, ENOENT, "there is no object %" PRId64, id);
	if (rc == 0 && v->mtime_set)
		body_times(os, id, v->mtime);
	return rc;
}

int name_set(struct objects *os, int64_t id, const struct name_set *s, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = set(os, db, id, s, e);
	names_end(os);
	return rc;
}

int name_etag(struct objects *os, int64_t id, char ret[33], struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), "SELECT etag FROM entry WHERE id=$1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "there is no object %" PRId64, id);
	snprintf(ret, 33, "%s", stmt_col_text(&s, 0));
	return *ret != '\0';
}

int name_set_etag(struct objects *os, int64_t id, int64_t root, const char *etag, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), "UPDATE entry SET etag=$3 WHERE id=$1 AND root=$2");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, root);
	stmt_text(&s, 3, etag);
	return names_step(os, &s, e);
}

/* ---- walking: the entries of a directory by name, a directory's with the slash that follows it in the paths below */

struct walked {
	int64_t id;
	bool dir;
	char *name;
};
struct walk {
	struct objects *os;
	path_fn *fn;
	void *arg;
	char path[PATH_BYTES + 512];
};

static int by_path(const void *a, const void *b)
{
	const struct walked *x = a, *y = b;
	const unsigned char *s = (const unsigned char *)x->name, *t = (const unsigned char *)y->name;

	while (*s && *s == *t) {
		s++;
		t++;
	}
	int cs = *s ? *s : x->dir ? '/' : 0, ct = *t ? *t : y->dir ? '/' : 0;
	return cs - ct;
}

struct walked_dir {
	struct walked *v;
	size_t n, cap;
	bool failed;
};

static void walked_done(struct walked_dir *d)
{
	for (size_t i = 0; i < d->n; i++)
		free(d->v[i].name);
	free(d->v);
}

static void auto_walked(struct walked_dir *d)
{
	walked_done(d);
}

static int walk_collect(void *arg, const struct entry *n, int64_t offset)
{
	struct walked_dir *d = arg;

	if (n->type == ENTRY_LINK)
		return 0;
	if (d->n == d->cap) {
		size_t cap = d->cap ? 2 * d->cap : 64;
		struct walked *v = realloc(d->v, cap * sizeof *v);

		if (!v)
			return d->failed = true;
		d->v = v;
		d->cap = cap;
	}
	d->v[d->n] = (struct walked){ n->id, n->type == ENTRY_DIR, strdup(n->name) };
	if (!d->v[d->n].name)
		return d->failed = true;
	d->n++;
	return 0;
}

/* 1: fn wants no more. */
static int walk_file(struct walk *w, int64_t id, struct err *e)
{
	char etag[33] = "";
	struct entry n;
	struct db *db = index_begin(w->os, e);

	if (!db)
		return -e->code;
	int rc = entry_get(db, id, &n, e);
	if (rc == 0) {
		overlay(w->os, &n);
		rc = name_etag(w->os, id, etag, e);
	}
	index_end(w->os, false);
	if (rc == -ENOENT || (rc >= 0 && !n.parent))
		return 0;	/* removed meanwhile */
	return rc < 0 ? rc : w->fn(w->arg, w->path, &n, *etag ? etag : NULL) != 0;
}

static int walk_dir(struct walk *w, int64_t dir, size_t len, struct err *e)
{
	AUTO(walked) struct walked_dir d = { 0 };
	int rc = name_list(w->os, dir, 0, walk_collect, &d, e);

	if (rc < 0)
		return rc;
	if (d.failed)
		return err_set(e, ENOMEM, "list a container: out of memory");
	qsort(d.v, d.n, sizeof *d.v, by_path);
	for (size_t i = 0; i < d.n && rc == 0; i++) {
		int more = snprintf(w->path + len, sizeof w->path - len, "%s%s", d.v[i].name, d.v[i].dir ? "/" : "");

		if ((size_t)more >= sizeof w->path - len)
			return err_set(e, ENAMETOOLONG, "a path of the container is too long; cirrusfs fsck looks why");
		rc = d.v[i].dir ? walk_dir(w, d.v[i].id, len + (size_t)more, e) : walk_file(w, d.v[i].id, e);
	}
	return rc;
}

int name_walk(struct objects *os, int64_t space, path_fn *fn, void *arg, struct err *e)
{
	struct walk w = { .os = os, .fn = fn, .arg = arg };
	struct space s;
	int rc = space_get(os, space, &s, e);

	if (rc == 0)
		rc = walk_dir(&w, s.root, 0, e);
	return rc < 0 ? rc : 0;
}

/* ---- what goes by itself */

static int collect_expired(struct db *db, int64_t now, struct entry *v, int n, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ENTRY_COLS " FROM entry WHERE delete_at IS NOT NULL AND delete_at<=$1 "
						     "ORDER BY delete_at LIMIT $2");
	int got = 0, rc;

	stmt_int(&s, 1, now / 1000000000);
	stmt_int(&s, 2, n);
	while ((rc = stmt_step(&s, e)) > 0)
		entry_read(&s, &v[got++]);
	return rc < 0 ? rc : got;
}

static int64_t next_expiry(struct db *db, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT min(delete_at) FROM entry WHERE delete_at IS NOT NULL");
	int rc = stmt_step(&s, e);

	return rc <= 0 ? rc : stmt_col_int(&s, 0);
}

/* A batch: how many went, or, when none is left, 0 and the next time. */
static int expire_batch(struct objects *os, struct entry *v, int n, int64_t *next, struct err *e)
{
	struct db *db = index_begin(os, e);
	int64_t now = now_ns();

	if (!db)
		return -e->code;
	int got = collect_expired(db, now, v, n, e), rc = 0;
	for (int i = 0; i < got && rc == 0; i++)
		if ((rc = take_marked(os, db, &v[i], now, e)) == 0)
			dir_touch(os, db, v[i].parent, now);
	if (got == 0)
		rc = (int)((*next = next_expiry(db, e)) < 0 ? *next : 0);
	names_end(os);
	return got < 0 ? got : rc < 0 ? rc : got;
}

int64_t names_expire(struct objects *os, struct err *e)
{
	AUTO(free) struct entry *v = malloc(64 * sizeof *v);
	int64_t next = 0;
	int n;

	if (!v)
		return err_set(e, ENOMEM, "expire objects: %m");
	while ((n = expire_batch(os, v, 64, &next, e)) > 0)
		for (int i = 0; i < n; i++)
			objects_gone(os, v[i].space, v[i].parent, v[i].name, v[i].id);
	return n < 0 ? n : next;
}

static int sweep_next(struct db *db, const char *sql, struct entry *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	int rc = stmt_step(&s, e);

	if (rc > 0)
		entry_read(&s, ret);
	return rc;
}

int names_sweep(struct objects *os, struct err *e)
{
	struct db *db = index_db(os);
	struct entry n;
	int rc;

	while ((rc = sweep_next(db, "SELECT " ENTRY_COLS " FROM entry WHERE uncut=2 LIMIT 1", &n, e)) > 0) {
		n.parent = 0;
		if (RUN_SQL(os, db, e, "UPDATE entry SET parent=0,uncut=0 WHERE id=$1", n.id) < 0 || name_forget(os, n.id, e) < 0)
			return -e->code;
	}
	while (rc == 0 && (rc = sweep_next(db, "SELECT " ENTRY_COLS " FROM entry WHERE parent=0 AND type=1 LIMIT 1", &n, e)) > 0)
		rc = name_forget(os, n.id, e);
	names_undone(os);	/* counted anew */
	return rc;
}

/* ---- contents that are referred to */

int names_roots(struct objects *os, int64_t space, int64_t tenant, names_root_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), "WITH w AS(SELECT id FROM space WHERE ($1=0 OR id=$1) AND ($2=0 OR tenant=$2)) "
		"SELECT root,size FROM entry WHERE type=1 AND size>0 AND (($1=0 AND $2=0) OR space IN w) UNION ALL "
		"SELECT root,size FROM version WHERE size>0 AND (($1=0 AND $2=0) OR space IN w)");
	int rc;

	stmt_int(&s, 1, space);
	stmt_int(&s, 2, tenant);
	while ((rc = stmt_step(&s, e)) > 0)
		if (fn(arg, stmt_col_int(&s, 0), (uint64_t)stmt_col_int(&s, 1)))
			return 0;
	return rc;
}
