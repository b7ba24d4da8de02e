/* Old versions, of spaces that keep them: a content that was replaced or removed, under the path it had then; and, as markers, that it was
 * removed.  Also how a new content is recorded, which is where most of them come from. */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define BATCH 256

/* No two of a name have the same time, and a later one a later time, whatever the clock did. */
#define INSERT_VERSION "INSERT INTO version(id,space,name,time,size,mtime,root,marker,etag,attrs)SELECT $1,$2,$3,max($4,COALESCE((SELECT max(time)+1 " \
	"FROM version WHERE space=$2 AND name=$3),0)),"

struct before *before_get(struct objects *os, int64_t id, int64_t mtime)
{
	struct before *b = calloc(1, sizeof *b);
	struct entry n;
	struct err e;

	if (b && (entry_get(index_db(os), id, &n, &e) < 0 || attrs_to_json(index_db(os), &n, &b->attrs, &e) < 0)) {
		free(b);
		return NULL;
	}
	if (b)
		b->mtime = mtime;
	return b;
}

void before_free(struct before *b)
{
	if (b)
		free(b->attrs);
	free(b);
}

int version_keep(struct objects *os, struct db *db, const struct entry *n, const char *path, const struct before *before, bool share, int64_t now,
		 struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, INSERT_VERSION "size,coalesce($7,mtime),root,0,etag,$5 FROM entry WHERE id=$6");
	AUTO(free) char *attrs = before ? strdup(before->attrs) : NULL;
	int rc = before ? attrs ? 0 : err_set(e, ENOMEM, "keep a version: out of memory") : attrs_to_json(db, n, &attrs, e);

	if (rc < 0)
		return rc;
	stmt_int(&s, 1, index_id(os));
	stmt_int(&s, 2, n->space);
	stmt_text(&s, 3, path);
	stmt_int(&s, 4, now);
	stmt_text(&s, 5, attrs);
	stmt_int(&s, 6, n->id);
	if (before)
		stmt_int(&s, 7, before->mtime);
	if ((rc = names_step(os, &s, e)) < 0)
		return rc;
	space_count_versions(os, n->space, (int64_t)n->size, 1);
	return share && n->root ? content_share(os, n->root, e) : 0;
}

int version_marker(struct objects *os, struct db *db, int64_t space, const char *path, int64_t now, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, INSERT_VERSION "0,$4,0,1,NULL,''");

	stmt_int(&s, 1, index_id(os));
	stmt_int(&s, 2, space);
	stmt_text(&s, 3, path);
	stmt_int(&s, 4, now);
	int rc = names_step(os, &s, e);
	if (rc == 0)
		space_count_versions(os, space, 0, 1);
	return rc;
}

/* ---- a cut */

static int cut_row(struct objects *os, struct db *db, const struct entry *n, uint64_t size, uint64_t used, int64_t mtime, int64_t root,
		   const char *etag, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE entry SET size=$2,mtime=$3,ctime=$4,root=$5,uncut=0,etag=$6,used=$7 WHERE id=$1");
	const int64_t v[] = { n->id, (int64_t)size, mtime, now_ns(), root };

	for (int i = 0; i < (int)ARRAY_LEN(v); i++)
		stmt_int(&s, i + 1, v[i]);
	if (etag)
		stmt_text(&s, 6, etag);
	stmt_int(&s, 7, (int64_t)used);
	int rc = names_step(os, &s, e);
	if (rc == 0 && n->parent)
		space_count(os, n->space, (int64_t)size - (int64_t)n->size, 0);
	return rc;
}

int name_cut(struct objects *os, int64_t id, uint64_t size, uint64_t used, int64_t mtime, int64_t root, const char *etag,
	     const struct before *before, struct err *e)
{
	struct db *db = index_db(os);
	struct entry n;
	bool kept = false;
	int rc = entry_get(db, id, &n, e);

	if (rc == -ENOENT) {
		*e = (struct err){ 0 };
		return root ? content_drop(os, root, e) : 0;
	}
	if (rc == 0 && n.parent && !n.uncut && (n.root != root || n.size != size) && space_versioned(os, n.space)) {
		char path[PATH_BYTES + 257];

		if ((rc = path_of(db, id, path, sizeof path, e)) == 0)
			rc = version_keep(os, db, &n, path, before, false, now_ns(), e);
		kept = true;
	}
	if (rc == 0)
		rc = cut_row(os, db, &n, size, used, mtime, root, etag, e);
	return rc == 0 && n.root && !kept ? content_drop(os, n.root, e) : rc;
}

/* ---- what there is */

struct found {
	size_t n;
	struct version v[BATCH];
};

static void found_done(struct found *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->v[i].name);
	free(f);
}
AUTO_FN(struct found *, found_done);

static int list_step(struct db *db, int64_t space, const char *name, const char *after, int64_t since, struct found *f, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, name
		? "SELECT id,name,time,size,marker FROM version WHERE space=$1 AND name=$2 AND time>$3 ORDER BY time LIMIT $4"
		: "SELECT 0,name,0,0,0 FROM version WHERE space=$1 AND name>$2 GROUP BY name ORDER BY name LIMIT $3");
	int rc;

	stmt_int(&s, 1, space);
	stmt_text(&s, 2, name ? name : after);
	if (name)
		stmt_int(&s, 3, since);
	stmt_int(&s, name ? 4 : 3, BATCH);
	while ((rc = stmt_step(&s, e)) > 0) {
		struct version *v = &f->v[f->n];

		*v = (struct version){ .id = stmt_col_int(&s, 0), .name = strdup(stmt_col_text(&s, 1)), .time = stmt_col_int(&s, 2),
				       .size = (uint64_t)stmt_col_int(&s, 3), .marker = stmt_col_int(&s, 4) };
		if (!v->name)
			return err_set(e, ENOMEM, "list versions: out of memory");
		f->n++;
	}
	return rc;
}

int version_list(struct objects *os, int64_t space, const char *name, version_fn *fn, void *arg, struct err *e)
{
	AUTO(free) char *after = strdup("");
	int64_t since = INT64_MIN;

	for (;;) {
		AUTO(found_done) struct found *f = calloc(1, sizeof *f);
		struct db *db = f && after ? index_begin(os, e) : NULL;

		if (!db)
			return f && after ? -e->code : err_set(e, ENOMEM, "list versions: out of memory");
		int rc = list_step(db, space, name, after, since, f, e);
		index_end(os, false);
		if (rc < 0)
			return rc;
		for (size_t i = 0; i < f->n; i++)
			if (fn(arg, &f->v[i]))
				return 0;
		if (f->n < BATCH)
			return 0;
		since = f->v[BATCH - 1].time;
		free(after);
		after = steal_ptr(&f->v[BATCH - 1].name);
	}
}

struct old {			/* a row of version */
	int64_t space, mtime, root;
	uint64_t size;
	bool marker;
	char *name, *etag, *attrs;
};

static void auto_old(struct old *o)
{
	free(o->name);
	free(o->etag);
	free(o->attrs);
}

static int old_get(struct db *db, int64_t id, struct old *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT space,mtime,root,size,marker,name,etag,attrs FROM version WHERE id=$1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "that version is gone");
	*ret = (struct old){ .space = stmt_col_int(&s, 0), .mtime = stmt_col_int(&s, 1), .root = stmt_col_int(&s, 2),
			     .size = (uint64_t)stmt_col_int(&s, 3), .marker = stmt_col_int(&s, 4), .name = strdup(stmt_col_text(&s, 5)),
			     .etag = strdup(stmt_col_text(&s, 6)), .attrs = strdup(stmt_col_text(&s, 7)) };
	return ret->name && ret->etag && ret->attrs ? 0 : err_set(e, ENOMEM, "read a version: out of memory");
}

int version_content(struct objects *os, int64_t version, uint64_t *size, int64_t *mtime, int64_t *root, struct err *e)
{
	AUTO(old) struct old o = { 0 };
	int rc = old_get(index_db(os), version, &o, e);

	if (rc < 0)
		return rc;
	if (o.marker)
		return err_set(e, ENOENT, "'%s' was removed then: there is no content", o.name);
	*size = o.size;
	*mtime = o.mtime;
	*root = o.root;
	return 0;
}

/* ---- removed and restored */

int version_delete(struct objects *os, struct db *db, int64_t id, struct err *e)
{
	AUTO(old) struct old o = { 0 };
	int rc = old_get(db, id, &o, e);

	if (rc == 0)
		rc = RUN_SQL(os, db, e, "DELETE FROM version WHERE id=$1", id);
	if (rc < 0)
		return rc;
	space_count_versions(os, o.space, -(int64_t)o.size, -1);
	return o.root ? content_drop(os, o.root, e) : 0;
}

/* The directory where a path's last component stands, made where it is missing; *last: that component. */
static int parent_of(struct objects *os, struct db *db, const struct old *o, int64_t now, struct dir *ret, const char **last, struct err *e)
{
	struct entry n = { 0 };
	char *part = o->name, *slash;
	struct space sp;
	int64_t key;
	int rc = space_row(os, db, o->space, &sp, e);

	for (n.id = sp.root; rc == 0 && (slash = strchr(part, '/')); part = slash + 1) {
		int64_t in = n.id;

		*slash = '\0';
		rc = entry_live(os, db, in, part, now, &n, &key, e);
		if (rc > 0 && n.type != ENTRY_DIR)
			rc = err_set(e, ENOTDIR, "'%s' is no directory", o->name);
		if (rc == 0 && (rc = name_valid(part, e)) == 0) {
			n = (struct entry){ .id = index_id(os), .parent = in, .space = o->space, .type = ENTRY_DIR, .mode = 0755,
					    .mtime = now, .ctime = now };
			snprintf(n.name, sizeof n.name, "%s", part);
			if (!key)
				return err_set(e, ENOSPC, "too many names of a directory have the hash of '%s'", part);
			rc = entry_insert(os, db, &n, key, NULL, NULL, e);
			dir_touch(os, db, in, now);
		}
		*slash = '/';
		rc = rc > 0 ? 0 : rc;
	}
	*last = part;
	return rc < 0 ? rc : dir_get(os, db, n.id, ret, e);
}

/* A new object with the old content takes the name: who has the present one open keeps it. */
static int restore_as(struct objects *os, struct db *db, const struct old *o, const struct dir *d, const char *name, bool noreplace, struct err *e)
{
	int64_t now = now_ns(), key;
	struct entry there = { 0 }, n;
	bool any = false;
	int rc;

	if (o->marker)
		return err_set(e, EINVAL, "'%s' was removed then: there is no content to restore", o->name);
	if ((rc = name_valid(name, e)) < 0 || (rc = dir_fits(d, name, 0, e)) < 0 || (rc = entry_live(os, db, d->id, name, now, &there, &key, e)) < 0)
		return rc;
	bool over = rc > 0, file = over && there.type == ENTRY_FILE;
	if (over && noreplace)
		return err_set(e, EEXIST, "'%s' is there", name);
	if (over && there.type == ENTRY_DIR)
		return err_set(e, EISDIR, "'%s' is a directory now", name);
	if ((rc = space_room(os, d->space, (int64_t)o->size - (file ? (int64_t)there.size : 0), file ? 0 : 1, e)) < 0)
		return rc;
	if (over && (rc = entry_unlink(os, db, &there, false, now, e)) < 0)
		return rc;
	n = (struct entry){ .id = index_id(os), .parent = d->id, .space = d->space, .type = ENTRY_FILE, .mode = over ? there.mode : 0644,
			    .uid = there.uid, .gid = there.gid, .size = o->size, .mtime = o->mtime, .ctime = now, .root = o->root };
	snprintf(n.name, sizeof n.name, "%s", name);
	if ((rc = attrs_from_json(os, db, o->attrs, &n, &any, e)) < 0)
		return rc;
	n.attrs = any;
	if (!key)
		return err_set(e, ENOSPC, "too many names of a directory have the hash of '%s'", name);
	if ((rc = entry_insert(os, db, &n, key, NULL, o->etag, e)) == 0 && n.root)
		rc = content_share(os, n.root, e);
	dir_touch(os, db, d->id, now);
	return rc;
}

static int restore(struct objects *os, struct db *db, int64_t id, struct err *e)
{
	AUTO(old) struct old o = { 0 };
	const char *name = "";
	struct dir d;
	int rc = old_get(db, id, &o, e);

	if (rc == 0)
		rc = parent_of(os, db, &o, now_ns(), &d, &name, e);
	return rc < 0 ? rc : restore_as(os, db, &o, &d, name, false, e);
}

int version_restore_at(struct objects *os, struct db *db, int64_t id, int64_t dir, const char *name, bool noreplace, struct err *e)
{
	AUTO(old) struct old o = { 0 };
	struct dir d;
	int rc = old_get(db, id, &o, e);

	if (rc < 0 || (rc = dir_get(os, db, dir, &d, e)) < 0)
		return rc;
	return d.space == o.space ? restore_as(os, db, &o, &d, name, noreplace, e) : err_set(e, EXDEV, "another container");
}

static int marked(struct objects *os, int64_t id, int (*fn)(struct objects *, struct db *, int64_t, struct err *), struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = index_mark(os, e);
	if (rc == 0)
		rc = names_mark_end(os, fn(os, db, id, e), e);
	names_end(os);
	return rc;
}

int version_restore(struct objects *os, int64_t version, struct err *e)
{
	return marked(os, version, restore, e);
}

int version_remove(struct objects *os, int64_t version, struct err *e)
{
	return marked(os, version, version_delete, e);
}
