/* Rows of entries: how a name is found in its directory, what is remembered of directories, their times, and how a name goes. */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "../base/utf8.h"

int64_t names_hash_mask = -1;

int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int names_step(struct objects *os, struct stmt *s, struct err *e)
{
	names_of(os)->wrote = true;
	return stmt_run(s, e);
}

int names_run(struct objects *os, struct db *db, struct err *e, const char *sql, int n, const int64_t *v)
{
	names_of(os)->wrote = true;
	return db_run(db, e, sql, n, v);
}

void names_end(struct objects *os)
{
	struct names *n = names_of(os);
	bool wrote = n->wrote;

	n->wrote = false;
	index_end(os, wrote);
}

int names_mark_end(struct objects *os, int rc, struct err *e)
{
	if (rc >= 0)
		return index_keep(os, e);
	index_undo(os);
	names_undone(os);
	return rc;
}

/* ---- names and keys */

int name_valid(const char *name, struct err *e)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t len = strlen(name);

	if (!len || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || memchr(name, '/', len))
		return err_set(e, EINVAL, "'%s' cannot be a name", name);
	if (len > 255)
		return err_set(e, ENAMETOOLONG, "a name has at most 255 bytes, this one has %zu", len);
	for (size_t i = 0, n; i < len; i += n) {
		n = s[i] < 0x80 ? 1 : utf8_len(s + i, len - i);
		if (!n)
			return err_set(e, EILSEQ, "a name is UTF-8, and its byte %zu begins no character", i + 1);
	}
	return 0;
}

/* 3 and more: the offsets below are for "." and "..". */
int64_t name_key(const char *name)
{
	return (int64_t)(XXH3_64bits(name, strlen(name)) & INT64_C(0x3fffffffffffffff) & (uint64_t)names_hash_mask) + 3;
}

void entry_read(struct stmt *s, struct entry *ret)
{
	*ret = (struct entry){
		.id = stmt_col_int(s, 0), .parent = stmt_col_int(s, 1), .space = stmt_col_int(s, 2),
		.type = (enum entry_type)stmt_col_int(s, 3), .mode = (mode_t)stmt_col_int(s, 4),
		.uid = (uid_t)stmt_col_int(s, 5), .gid = (gid_t)stmt_col_int(s, 6), .size = (uint64_t)stmt_col_int(s, 7),
		.mtime = stmt_col_int(s, 8), .ctime = stmt_col_int(s, 9), .root = stmt_col_int(s, 10),
		.uncut = stmt_col_int(s, 11), .attrs = stmt_col_int(s, 12), .delete_at = stmt_col_int(s, 13), .used = (uint64_t)stmt_col_int(s, 16),
	};
	snprintf(ret->name, sizeof ret->name, "%s", stmt_col_text(s, 14));
}

int entry_find(struct db *db, int64_t dir, const char *name, struct entry *ret, int64_t *key, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ENTRY_COLS " FROM entry WHERE parent>0 AND parent=+$1 AND key>=$2 AND key<$3 "
						     "ORDER BY key");
	int64_t want = name_key(name), end = want + PROBES, room = want;
	int rc;

	stmt_int(&s, 1, dir);
	stmt_int(&s, 2, want);
	stmt_int(&s, 3, end);
	while ((rc = stmt_step(&s, e)) > 0) {
		int64_t k = stmt_col_int(&s, COL_KEY);

		if (strcmp(stmt_col_text(&s, 14), name) == 0) {
			entry_read(&s, ret);
			*key = k;
			return 1;
		}
		if (k == room)
			room++;
	}
	*key = room < end ? room : 0;
	return rc;
}

int entry_get(struct db *db, int64_t id, struct entry *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ENTRY_COLS " FROM entry WHERE id=$1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "there is no object %" PRId64, id);
	entry_read(&s, ret);
	return 0;
}

int entry_live(struct objects *os, struct db *db, int64_t dir, const char *name, int64_t now, struct entry *ret, int64_t *key, struct err *e)
{
	int rc = entry_find(db, dir, name, ret, key, e);

	if (rc <= 0 || !entry_expired(ret, now))
		return rc;
	rc = entry_unlink(os, db, ret, true, now, e);
	return rc < 0 ? rc : 0;
}

int entry_insert(struct objects *os, struct db *db, struct entry *n, int64_t key, const char *target, const char *etag, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO entry(id,space,parent,key,name,type,mode,uid,gid,mtime,ctime,size,root,"
		"uncut,attrs,delete_at,target,etag)VALUES($1,$2,$3,$4,$5,$6,$7,$8,$9,$10,$11,$12,$13,$14,$15,$16,$17,$18)");
	const int64_t v[] = { n->id, n->space, n->parent, key, 0, n->type, n->mode, n->uid, n->gid, n->mtime, n->ctime, (int64_t)n->size,
			      n->root, n->uncut, n->attrs };

	for (int i = 0; i < (int)ARRAY_LEN(v); i++)
		if (i != 4)
			stmt_int(&s, i + 1, v[i]);
	stmt_text(&s, 5, n->name);
	if (n->delete_at)
		stmt_int(&s, 16, n->delete_at);
	if (target)
		stmt_text(&s, 17, target);
	if (etag && *etag)
		stmt_text(&s, 18, etag);
	int rc = names_step(os, &s, e);
	if (rc == 0 && n->uncut)
		rc = refs_add(&names_of(os)->made, n->id, e);
	if (rc == 0 && n->type == ENTRY_FILE && n->parent)
		space_count(os, n->space, (int64_t)n->size, 1);
	return rc;
}

/* ---- how a name goes */

static int row_delete(struct objects *os, struct db *db, const struct entry *n, struct err *e)
{
	int rc = RUN_SQL(os, db, e, "DELETE FROM entry WHERE id=$1", n->id);

	if (rc == 0 && n->attrs)
		rc = RUN_SQL(os, db, e, "DELETE FROM attr WHERE entry=$1", n->id);
	return rc;
}

/* Its content becomes a version, and that it was removed is one too.  share: the row stays. */
static int keep(struct objects *os, struct db *db, const struct entry *n, bool marker, bool share, int64_t now, struct err *e)
{
	char path[PATH_BYTES + 257];
	int rc = path_of(db, n->id, path, sizeof path, e);

	if (rc == 0 && !n->uncut)
		rc = version_keep(os, db, n, path, NULL, share, now, e);
	if (rc == 0 && marker)
		rc = version_marker(os, db, n->space, path, now, e);
	return rc;
}

int entry_unlink(struct objects *os, struct db *db, const struct entry *n, bool marker, int64_t now, struct err *e)
{
	bool file = n->type == ENTRY_FILE, versioned = file && space_versioned(os, n->space);
	bool open = file && body_removed(os, n->id);
	int rc = versioned ? keep(os, db, n, marker, open, now, e) : 0;

	if (rc < 0)
		return rc;
	rc = open ? RUN_SQL(os, db, e, "UPDATE entry SET parent=0,delete_at=NULL,ctime=$2 WHERE id=$1", n->id, now) : row_delete(os, db, n, e);
	if (rc == 0 && file) {
		space_count(os, n->space, -(int64_t)n->size, -1);
		if (!open && n->root && (n->uncut || !versioned))
			rc = content_drop(os, n->root, e);
	}
	return rc;
}

int name_forget(struct objects *os, int64_t id, struct err *e)
{
	struct db *db = index_db(os);
	struct entry n;
	int rc = entry_get(db, id, &n, e);

	if (rc == -ENOENT || (rc == 0 && (n.parent || n.type != ENTRY_FILE)))
		return 0;
	if (rc == 0)
		rc = row_delete(os, db, &n, e);
	return rc == 0 && n.root ? content_drop(os, n.root, e) : rc;
}

/* ---- directories: what is remembered of them, and their times */

static size_t slot(int64_t id, size_t n)
{
	return (size_t)((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (n - 1);
}

void dirs_clear(struct names *n)
{
	memset(n->dirs, 0, sizeof n->dirs);
}

/* depth: of what is asked for above what was asked first; a path has at most half as many components as bytes. */
static int dir_load(struct objects *os, struct db *db, int64_t id, int depth, struct dir *ret, struct err *e)
{
	struct dir *d = &names_of(os)->dirs[slot(id, DIRS)], up;

	if (d->id == id && id > 0) {
		*ret = *d;
		return 0;
	}
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT parent,space,type,length(CAST(name AS BLOB)) FROM entry WHERE id=$1");
	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "the directory is gone");
	if (stmt_col_int(&s, 2) != ENTRY_DIR)
		return err_set(e, ENOTDIR, "this is no directory");
	*ret = (struct dir){ .id = id, .parent = stmt_col_int(&s, 0), .space = stmt_col_int(&s, 1), .len = stmt_col_int(&s, 3) };
	stmt_done(&s);
	if (ret->parent) {
		if (depth > PATH_BYTES)
			return err_set(e, EBADMSG, "the directory %" PRId64 " is inside itself; cirrusfs fsck --repair mends it", id);
		if ((rc = dir_load(os, db, ret->parent, depth + 1, &up, e)) < 0)
			return rc;
		ret->len += up.len + (up.len > 0);
	}
	*d = *ret;
	return 0;
}

int dir_get(struct objects *os, struct db *db, int64_t id, struct dir *ret, struct err *e)
{
	return dir_load(os, db, id, 0, ret, e);
}

int dir_fits(const struct dir *d, const char *name, int64_t below, struct err *e)
{
	int64_t len = d->len + (d->len > 0) + (int64_t)strlen(name) + below;

	return len <= PATH_BYTES ? 0 : err_set(e, ENAMETOOLONG, "its path would have %" PRId64 " bytes; an object's name has at most %d", len,
					       PATH_BYTES);
}

static int touch_write(struct objects *os, struct db *db, struct touched *t, struct err *e)
{
	int rc = RUN_SQL(os, db, e, "UPDATE entry SET mtime=$2,ctime=$2 WHERE id=$1", t->dir, t->time);

	t->dir = 0;
	names_of(os)->n_touched--;
	return rc;
}

void dir_touch(struct objects *os, struct db *db, int64_t dir, int64_t now)
{
	struct names *n = names_of(os);
	struct touched *t = &n->touched[slot(dir, TOUCHED)];
	struct err e = { 0 };

	if (t->dir && t->dir != dir)
		touch_write(os, db, t, &e);	/* that it fails costs a time; what fails is told by the next statement */
	if (t->dir != dir)
		n->n_touched++;
	*t = (struct touched){ dir, now };
}

int64_t dir_touched(struct objects *os, int64_t dir, bool forget)
{
	struct names *n = names_of(os);
	struct touched *t = &n->touched[slot(dir, TOUCHED)];

	if (!n->n_touched || t->dir != dir)
		return 0;
	if (forget) {
		t->dir = 0;
		n->n_touched--;
	}
	return t->time;
}

int names_flush(struct objects *os, struct err *e)
{
	struct names *n = names_of(os);
	int rc = 0;

	for (size_t i = 0; i < TOUCHED && n->n_touched && rc == 0; i++)
		if (n->touched[i].dir)
			rc = touch_write(os, index_db(os), &n->touched[i], e);
	for (size_t i = 0; i < n->made.n && rc == 0; i++)
		rc = RUN_SQL(os, index_db(os), e, "UPDATE entry SET uncut=2 WHERE id=$1 AND uncut=1", n->made.v[i]);
	n->wrote = false;	/* by who commits */
	return rc;
}

void names_committed(struct objects *os)
{
	names_of(os)->made.n = 0;
}

/* ---- paths */

/* Written from its end: room for one more component is before it. */
int path_of(struct db *db, int64_t id, char *ret, size_t size, struct err *e)
{
	char buf[2 * PATH_BYTES + 512];
	size_t at = sizeof buf - 1;

	buf[at] = '\0';
	for (;;) {
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT parent,name FROM entry WHERE id=$1");

		stmt_int(&s, 1, id);
		int rc = stmt_step(&s, e);
		if (rc <= 0)
			return rc ? rc : err_set(e, ENOENT, "there is no object %" PRId64, id);
		const char *name = stmt_col_text(&s, 1);
		size_t len = strlen(name);
		id = stmt_col_int(&s, 0);
		if (!id && buf[at] && !len)
			break;		/* the top */
		if (len + 1 > at)
			return err_set(e, ENAMETOOLONG, "the path of an object is too long; cirrusfs fsck looks why");
		if (buf[at])
			buf[--at] = '/';
		at -= len;
		memcpy(buf + at, name, len);
		if (!id)
			break;
	}
	if ((size_t)snprintf(ret, size, "%s", buf + at) >= size)
		return err_set(e, ENAMETOOLONG, "the path of an object is too long");
	return 0;
}
