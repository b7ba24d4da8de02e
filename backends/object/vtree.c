/* Old versions as directories: the components of an object's path, and in the last one a file for each version, named by when it was replaced
 * or removed.  There are no rows of such directories but for their numbers (table vdir), which are made when one is looked up or listed: a
 * directory is there while a version's path goes through it.  What is only numbered is not listed, but found, so that rm -r can remove it. */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define BATCH 256
#define REMOVED ".removed"

struct vdir {
	int64_t id, space;
	char path[PATH_BYTES + 258];	/* "": the top */
};

/* ---- times as names: 2026-11-22T10:06:00.123456789Z */

void version_time_name(char *ret, size_t size, int64_t ns, bool marker)
{
	time_t s = ns / 1000000000;
	struct tm tm;
	char day[40];

	gmtime_r(&s, &tm);
	strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ret, size, "%s.%09ldZ%s", day, (long)(ns % 1000000000), marker ? REMOVED : "");
}

static bool time_of_name(const char *name, int64_t *ns, bool *marker)
{
	char again[80];
	struct tm tm = { 0 };
	const char *p = strptime(name, "%Y-%m-%dT%H:%M:%S", &tm);
	long frac;

	if (!p || sscanf(p, ".%9ldZ", &frac) != 1 || frac < 0)
		return false;
	*marker = strstr(p, REMOVED);
	*ns = (int64_t)timegm(&tm) * 1000000000 + frac;
	version_time_name(again, sizeof again, *ns, *marker);
	return strcmp(again, name) == 0;
}

/* ---- directories */

static int parent_and_name(struct db *db, int64_t id, int64_t *space, int64_t *parent, char name[256], struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT space,parent,name FROM vdir WHERE id=$1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "there are no old versions there");
	*space = stmt_col_int(&s, 0);
	*parent = stmt_col_int(&s, 1);
	snprintf(name, 256, "%s", stmt_col_text(&s, 2));
	return 0;
}

static int vdir_get(struct db *db, int64_t id, struct vdir *ret, struct err *e)
{
	char name[256], tail[sizeof ret->path] = "", longer[sizeof tail + 257];
	int64_t at = id, parent = id;

	for (*ret = (struct vdir){ .id = id }; parent > 0; at = parent) {
		int rc = parent_and_name(db, at, &ret->space, &parent, name, e);

		if (rc < 0)
			return rc;
		if (parent <= 0)	/* the top has no name */
			break;
		snprintf(longer, sizeof longer, "%s%s%s", name, *tail ? "/" : "", tail);
		if (strlen(longer) >= sizeof tail)
			return err_set(e, EBADMSG, "a path of old versions is too long");
		memcpy(tail, longer, strlen(longer) + 1);
	}
	memcpy(ret->path, tail, sizeof tail);
	return 0;
}

/* "photos", "a.jpg": "photos/a.jpg" */
static int below(const struct vdir *d, const char *name, char ret[PATH_BYTES + 258], struct err *e)
{
	int n = snprintf(ret, PATH_BYTES + 258, "%s%s%s", d->path, *d->path ? "/" : "", name);

	return n > PATH_BYTES + 257 ? err_set(e, ENAMETOOLONG, "no object has so long a path") : 0;
}

/* Does a version's path go through it, or end there?  1, 0. */
static int is_there(struct db *db, int64_t space, const char *path, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, *path ?
		"SELECT EXISTS(SELECT 1 FROM version WHERE space=$1 AND name=$2)OR EXISTS(SELECT 1 FROM version WHERE space=$1 AND name>$3 AND name<$4)" :
		"SELECT EXISTS(SELECT 1 FROM version WHERE space=$1)");
	char from[PATH_BYTES + 260], to[PATH_BYTES + 260];

	stmt_int(&s, 1, space);
	if (*path) {
		snprintf(from, sizeof from, "%s/", path);
		snprintf(to, sizeof to, "%s0", path);	/* what follows '/' */
		stmt_text(&s, 2, path);
		stmt_text(&s, 3, from);
		stmt_text(&s, 4, to);
	}
	int rc = stmt_step(&s, e);
	return rc < 0 ? rc : stmt_col_int(&s, 0) != 0;
}

static int64_t vdir_find(struct db *db, int64_t parent, const char *name, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT id FROM vdir WHERE parent=$1 AND name=$2");

	stmt_int(&s, 1, parent);
	stmt_text(&s, 2, name);
	int rc = stmt_step(&s, e);
	return rc <= 0 ? rc : stmt_col_int(&s, 0);
}

/* Its number, which it gets when it has none. */
static int64_t vdir_number(struct objects *os, struct db *db, int64_t space, int64_t parent, const char *name, struct err *e)
{
	int64_t id = vdir_find(db, parent, name, e);

	if (id)
		return id;
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO vdir(id,space,parent,name)VALUES($1,$2,$3,$4)");
	id = index_id(os);
	stmt_int(&s, 1, id);
	stmt_int(&s, 2, space);
	stmt_int(&s, 3, parent);
	stmt_text(&s, 4, name);
	int rc = names_step(os, &s, e);
	return rc < 0 ? rc : id;
}

/* ---- nodes */

/* The next path that has versions, at or after `from`; 0: there is none below `to`. */
static int next_path(struct db *db, int64_t space, const char *from, const char *to, char ret[PATH_BYTES + 258], struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, *to ? "SELECT name FROM version WHERE space=$1 AND name>=$2 AND name<$3 ORDER BY name LIMIT 1" :
						     "SELECT name FROM version WHERE space=$1 AND name>=$2 ORDER BY name LIMIT 1");

	stmt_int(&s, 1, space);
	stmt_text(&s, 2, from);
	if (*to)
		stmt_text(&s, 3, to);
	int rc = stmt_step(&s, e);
	if (rc > 0)
		snprintf(ret, PATH_BYTES + 258, "%s", stmt_col_text(&s, 0));
	return rc;
}

/* When the first of what is below it was replaced last. */
static int64_t dir_time(struct db *db, int64_t space, const char *path)
{
	char from[PATH_BYTES + 260] = "", to[PATH_BYTES + 260] = "", first[PATH_BYTES + 258];
	struct err ignored = { 0 };

	if (*path) {
		snprintf(from, sizeof from, "%s/", path);
		snprintf(to, sizeof to, "%s0", path);
	}
	if (next_path(db, space, from, to, first, &ignored) <= 0)
		snprintf(first, sizeof first, "%s", path);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT max(time) FROM version WHERE space=$1 AND name=$2");
	stmt_int(&s, 1, space);
	stmt_text(&s, 2, first);
	return stmt_step(&s, &ignored) > 0 ? stmt_col_int(&s, 0) : 0;
}

static void dir_node(struct db *db, struct vnode *n, int64_t id, int64_t space, const char *path, const char *name)
{
	*n = (struct vnode){ .id = id, .dir = true, .mode = 0555, .mtime = dir_time(db, space, path) };
	n->time = n->mtime;
	snprintf(n->name, sizeof n->name, "%.255s", name);
}

#define NODE_COLS "id,time,size,mtime,marker,attrs"

static void version_node(struct stmt *s, struct vnode *n)
{
	*n = (struct vnode){ .id = stmt_col_int(s, 0), .time = stmt_col_int(s, 1), .size = (uint64_t)stmt_col_int(s, 2),
			     .mtime = stmt_col_int(s, 3), .marker = stmt_col_int(s, 4), .mode = 0444 };
	attrs_owner(stmt_col_text(s, 5), &n->mode, &n->uid, &n->gid);
	version_time_name(n->name, sizeof n->name, n->time, n->marker);
}

static int version_at(struct db *db, const struct vdir *d, int64_t time, struct vnode *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " NODE_COLS " FROM version WHERE space=$1 AND name=$2 AND time=$3");

	stmt_int(&s, 1, d->space);
	stmt_text(&s, 2, d->path);
	stmt_int(&s, 3, time);
	int rc = stmt_step(&s, e);
	if (rc > 0)
		version_node(&s, ret);
	return rc;
}

static int no_version(const char *name, struct err *e)
{
	return err_set(e, ENOENT, "there is no old version '%s'", name);
}

static int find(struct objects *os, struct db *db, int64_t dir, const char *name, struct vnode *ret, struct err *e)
{
	char path[PATH_BYTES + 258];
	struct vdir d;
	bool marker;
	int64_t time, id;
	int rc = vdir_get(db, dir, &d, e);

	if (rc < 0 || (rc = below(&d, name, path, e)) < 0)
		return rc;
	if (time_of_name(name, &time, &marker) && (rc = version_at(db, &d, time, ret, e)) != 0)
		return rc < 0 ? rc : ret->marker == marker ? 0 : no_version(name, e);
	if ((id = vdir_find(db, dir, name, e)) < 0)
		return (int)id;
	if (!id && (rc = is_there(db, d.space, path, e)) <= 0)
		return rc < 0 ? rc : no_version(name, e);
	if (!id && (id = vdir_number(os, db, d.space, dir, name, e)) < 0)
		return (int)id;
	dir_node(db, ret, id, d.space, path, name);
	return 0;
}

int vtree_top(struct objects *os, int64_t space, int64_t *ret, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	*ret = vdir_number(os, db, space, -space, "", e);
	names_end(os);
	return *ret < 0 ? (int)*ret : 0;
}

/* What was closed a moment ago is a version already for who looks now. */
static struct db *begin_settled(struct objects *os, struct err *e)
{
	return bodies_settled(os) && index_sync(os, e) < 0 ? NULL : index_begin(os, e);
}

int vtree_find(struct objects *os, int64_t dir, const char *name, struct vnode *ret, struct err *e)
{
	struct db *db = begin_settled(os, e);

	if (!db)
		return -e->code;
	int rc = find(os, db, dir, name, ret, e);
	names_end(os);
	return rc;
}

static int get(struct db *db, int64_t id, struct vnode *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " NODE_COLS " FROM version WHERE id=$1");
	struct vdir d;
	int rc;

	stmt_int(&s, 1, id);
	if ((rc = stmt_step(&s, e)) != 0) {
		if (rc > 0)
			version_node(&s, ret);
		return rc < 0 ? rc : 0;
	}
	if ((rc = vdir_get(db, id, &d, e)) == 0)
		dir_node(db, ret, id, d.space, d.path, strrchr(d.path, '/') ? strrchr(d.path, '/') + 1 : d.path);
	return rc;
}

int vtree_get(struct objects *os, int64_t id, struct vnode *ret, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = get(db, id, ret, e);
	index_end(os, false);
	if (rc == -ENOENT && body_version(os, id, &ret->size, &ret->mtime)) {	/* removed, and somebody reads it still */
		*ret = (struct vnode){ .id = id, .size = ret->size, .mtime = ret->mtime, .time = ret->mtime, .mode = 0444, .gone = true };
		*e = (struct err){ 0 };
		rc = 0;
	}
	return rc;
}

int vtree_path(struct objects *os, int64_t id, int64_t *space, char *ret, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = { 0 };
	struct db *db = index_begin(os, e);
	struct vdir d;
	char time[80];

	if (!db)
		return -e->code;
	s = stmt_prepare(db, "SELECT space,name,time,marker FROM version WHERE id=$1");
	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc > 0) {
		*space = stmt_col_int(&s, 0);
		version_time_name(time, sizeof time, stmt_col_int(&s, 2), stmt_col_int(&s, 3));
		snprintf(ret, size, "%s/%s", stmt_col_text(&s, 1), time);
	} else if (rc == 0 && (rc = vdir_get(db, id, &d, e)) == 0) {
		*space = d.space;
		snprintf(ret, size, "%s", d.path);
	}
	stmt_done(&s);
	s = (struct stmt){ 0 };
	index_end(os, false);
	return rc < 0 ? rc : 0;
}

/* ---- listing */

/* Numbers for some of a directory's directories; `from`: where it goes on, "" after the last. */
static int number_some(struct objects *os, struct db *db, const struct vdir *d, char from[PATH_BYTES + 260], const char *to, struct err *e)
{
	size_t len = *d->path ? strlen(d->path) + 1 : 0;
	char path[PATH_BYTES + 258];
	int rc = 1;

	for (int i = 0; i < BATCH && (rc = next_path(db, d->space, from, to, path, e)) > 0; i++) {
		char *slash = strchr(path + len, '/');

		if (slash)
			*slash = '\0';
		if (vdir_number(os, db, d->space, d->id, path + len, e) < 0)
			return -e->code;
		snprintf(from, PATH_BYTES + 260, "%s%c", path, slash ? '0' : '\x01');	/* what follows '/'; what follows the path itself */
	}
	if (rc == 0)
		*from = '\0';
	return rc < 0 ? rc : 0;
}

static int number_all(struct objects *os, int64_t dir, struct err *e)
{
	char from[PATH_BYTES + 260] = "", to[PATH_BYTES + 260] = "";
	struct vdir d;

	for (bool first = true; first || *from; first = false) {
		struct db *db = begin_settled(os, e);
		int rc = db ? vdir_get(db, dir, &d, e) : -e->code;

		if (!db)
			return rc;
		if (rc == 0 && first && *d.path) {
			snprintf(from, sizeof from, "%s/", d.path);
			snprintf(to, sizeof to, "%s0", d.path);
		}
		if (rc == 0)
			rc = number_some(os, db, &d, from, to, e);
		names_end(os);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct found {
	size_t n;
	bool more;
	struct vnode v[BATCH];
};

static int list_step(struct db *db, int64_t dir, int64_t after, struct found *f, int64_t *last, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " NODE_COLS ",'' FROM version WHERE space=$1 AND name=$2 AND id>$4 UNION ALL "
		"SELECT id,0,0,0,-1,'',name FROM vdir WHERE parent=$3 AND id>$4 ORDER BY 1 LIMIT $5");
	char path[PATH_BYTES + 258];
	struct vdir d;
	int rc = vdir_get(db, dir, &d, e);

	if (rc < 0)
		return rc;
	stmt_int(&s, 1, d.space);
	stmt_text(&s, 2, d.path);
	stmt_int(&s, 3, dir);
	stmt_int(&s, 4, after);
	stmt_int(&s, 5, BATCH);
	f->n = 0;
	f->more = false;
	for (int i = 0; (rc = stmt_step(&s, e)) > 0; i++) {
		const char *name = stmt_col_text(&s, 6);

		f->more = i == BATCH - 1;
		*last = stmt_col_int(&s, 0);
		if (stmt_col_int(&s, 4) >= 0)
			version_node(&s, &f->v[f->n++]);
		else if ((rc = below(&d, name, path, e)) < 0 || (rc = is_there(db, d.space, path, e)) < 0)
			return rc;
		else if (rc)
			dir_node(db, &f->v[f->n++], *last, d.space, path, name);
	}
	return rc;
}

int vtree_list(struct objects *os, int64_t dir, int64_t after, vnode_fn *fn, void *arg, struct err *e)
{
	AUTO(free) struct found *f = malloc(sizeof *f);
	int64_t last = after;

	if (!f)
		return err_set(e, ENOMEM, "list versions: out of memory");
	if (after < 3 && number_all(os, dir, e) < 0)
		return -e->code;
	do {
		struct db *db = index_begin(os, e);

		if (!db)
			return -e->code;
		int rc = list_step(db, dir, last, f, &last, e);
		index_end(os, false);
		for (size_t i = 0; rc == 0 && i < f->n; i++)
			if (fn(arg, &f->v[i]))
				return 0;
		if (rc < 0)
			return rc;
	} while (f->more);
	return 0;
}

/* ---- removing, moving back */

static int remove_dir(struct objects *os, struct db *db, int64_t dir, const struct vnode *n, struct err *e)
{
	char path[PATH_BYTES + 258];
	struct vdir d;
	int rc = vdir_get(db, dir, &d, e);

	if (rc == 0)
		rc = below(&d, n->name, path, e);
	if (rc < 0 || (rc = is_there(db, d.space, path, e)) != 0)
		return rc < 0 ? rc : err_set(e, ENOTEMPTY, "there are old versions in '%s'", path);
	return RUN_SQL(os, db, e, "DELETE FROM vdir WHERE id=$1", n->id);
}

static int remove_node(struct objects *os, struct db *db, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	struct vnode n;
	int rc = find(os, db, dir, name, &n, e);

	if (rc < 0)
		return rc;
	if (is_dir != n.dir)
		return is_dir ? err_set(e, ENOTDIR, "'%s' is no directory", name) : err_set(e, EISDIR, "'%s' is a directory", name);
	if (is_dir)
		return remove_dir(os, db, dir, &n, e);
	if ((rc = index_mark(os, e)) < 0)
		return rc;
	return names_mark_end(os, version_delete(os, db, n.id, e), e);
}

int vtree_remove(struct objects *os, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	int rc = remove_node(os, db, dir, name, is_dir, e);
	names_end(os);
	return rc;
}

static int move(struct objects *os, struct db *db, int64_t dir, const char *name, int64_t newdir, const char *newname, bool noreplace, struct err *e)
{
	struct vnode n;
	int rc = find(os, db, dir, name, &n, e);

	if (rc < 0)
		return rc;
	if (n.dir)
		return err_set(e, EPERM, "'%s' is a directory of old versions: each is moved, or copied, by itself", name);
	if (n.marker)	/* EINVAL: mv would speak of directories */
		return err_set(e, EPERM, "'%s' says that it was removed then: there is no content to bring back", name);
	if ((rc = index_mark(os, e)) < 0)
		return rc;
	if ((rc = version_restore_at(os, db, n.id, newdir, newname, noreplace, e)) == 0)
		rc = version_delete(os, db, n.id, e);
	return names_mark_end(os, rc, e);
}

int vtree_move(struct objects *os, int64_t dir, const char *name, int64_t newdir, const char *newname, bool noreplace, struct err *e)
{
	int rc = name_settle(os, newdir, newname, e);
	struct db *db = rc < 0 ? NULL : index_begin(os, e);

	if (!db)
		return -e->code;
	rc = move(os, db, dir, name, newdir, newname, noreplace, e);
	names_end(os);
	return rc;
}

/* ---- extended attributes */

int64_t version_attr(struct objects *os, int64_t version, const char *name, char *buf, size_t size, struct err *e)
{
	AUTO(free) char *json = NULL, *etag = NULL;
	struct db *db = index_begin(os, e);

	if (!db)
		return -e->code;
	struct stmt s = stmt_prepare(db, "SELECT attrs,coalesce(etag,'') FROM version WHERE id=$1");
	stmt_int(&s, 1, version);
	int rc = stmt_step(&s, e);
	if (rc > 0 && (!(json = strdup(stmt_col_text(&s, 0))) || !(etag = strdup(stmt_col_text(&s, 1)))))
		rc = err_set(e, ENOMEM, "out of memory");
	stmt_done(&s);
	index_end(os, false);
	if (rc < 0)
		return rc;
	return json ? attrs_read(json, etag, name, buf, size, e) : err_set(e, ENODATA, "a directory of old versions has no attributes");
}
