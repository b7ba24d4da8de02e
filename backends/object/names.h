/* Shared by names.c, spaces.c, attrs.c, versions.c and namecheck.c: rows of the index, and what is kept in memory of them.  All of it is used
 * with the index begun, but for spaces and tenants, which have a lock of their own. */
#pragma once

#include "manifest.h"
#include "parts.h"

#define PATH_BYTES 1024		/* below the top, as Swift's object names */
#define PROBES 16		/* a name's key is its hash or one of the next; power of two not needed */
#define DIRS 4096		/* directories remembered, a power of two */
#define TOUCHED 1024		/* directories whose times are not yet written, a power of two */

struct dir {			/* what making a name in a directory needs of it */
	int64_t id, parent, space;
	int64_t len;		/* bytes of its path; 0: the top */
};
struct names_space {
	struct space s;		/* first: what tsearch compares is its id */
	int64_t pending;
	bool there;		/* false: only told of pending bytes */
};
struct names_tenant {
	int64_t id, quota_bytes, quota_count, bytes, count, pending;
};
struct names {
	pthread_mutex_t lock;	/* of spaces and tenants: a leaf */
	void *spaces, *tenants;	/* trees of tsearch */
	bool loaded;		/* they have what the tables have */
	bool wrote;		/* since index_begin */
	struct dir dirs[DIRS];
	struct touched {
		int64_t dir, time;
	} touched[TOUCHED];
	unsigned n_touched;
	struct ref_list made;	/* objects whose rows are not committed yet, uncut 1: those that still are when they are get 2 (names_flush) */
};

/* A writing statement whose parameters are integers. */
int names_run(struct objects *os, struct db *db, struct err *e, const char *sql, int n, const int64_t *v);
#define RUN_SQL(os, db, e, sql, ...) \
	names_run(os, db, e, sql, sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), (int64_t[]){ __VA_ARGS__ })
int names_step(struct objects *os, struct stmt *s, struct err *e);	/* one with others */
/* index_end, changed when something was written. */
void names_end(struct objects *os);
/* Ends what index_mark began: keeps it, or undoes it when rc says failure. */
int names_mark_end(struct objects *os, int rc, struct err *e);
int64_t now_ns(void);

/* ---- rows
 * In queries `parent>0` is what the index entry_name is limited to, and the + of `parent=+$1` keeps SQLite from comparing a bound value with
 * the condition of another such index (parent = 0 ...): it would prepare the statement anew at every binding. */
#define ENTRY_COLS "id,parent,space,type,mode,uid,gid,size,mtime,ctime,root,uncut,attrs,delete_at,name,key,used"
enum { COL_KEY = 15 };
void entry_read(struct stmt *s, struct entry *ret);
static inline bool entry_expired(const struct entry *n, int64_t now)
{
	return n->delete_at && n->delete_at <= now / 1000000000;
}
/* 1 there, 0 not; *key: its own, or a free one for that name (0: there is none). */
int entry_find(struct db *db, int64_t dir, const char *name, struct entry *ret, int64_t *key, struct err *e);
int entry_get(struct db *db, int64_t id, struct entry *ret, struct err *e);	/* ENOENT */
/* As entry_find; what has expired is removed first.  Within a mark. */
int entry_live(struct objects *os, struct db *db, int64_t dir, const char *name, int64_t now, struct entry *ret, int64_t *key, struct err *e);
/* A file's or link's name goes: its row stays while it is open, its content is dropped or becomes a version.  Within a mark. */
int entry_unlink(struct objects *os, struct db *db, const struct entry *n, bool marker, int64_t now, struct err *e);
/* Rows of a new entry, with parent, space, type, mode, uid, gid, size, mtime, ctime, root, uncut, delete_at and name of n; n->id is given. */
int entry_insert(struct objects *os, struct db *db, struct entry *n, int64_t key, const char *target, const char *etag, struct err *e);
/* Removes what has expired in a directory that is to go and has nothing else.  Within a mark. */
int dir_expire(struct objects *os, struct db *db, int64_t dir, bool marker, struct err *e);
int name_valid(const char *name, struct err *e);	/* EINVAL, ENAMETOOLONG, EILSEQ */
int64_t name_key(const char *name);
extern int64_t names_hash_mask;		/* tests make names collide with it */
/* ENOENT, ENOTDIR */
int dir_get(struct objects *os, struct db *db, int64_t id, struct dir *ret, struct err *e);
void dirs_clear(struct names *n);	/* one was moved or removed */
void dir_touch(struct objects *os, struct db *db, int64_t dir, int64_t now);
int64_t dir_touched(struct objects *os, int64_t dir, bool forget);	/* the time that is not yet written; 0: none */
/* ENAMETOOLONG for that name in that directory. */
int dir_fits(const struct dir *d, const char *name, int64_t below, struct err *e);
int path_of(struct db *db, int64_t id, char *ret, size_t size, struct err *e);

/* ---- spaces in memory */
int spaces_load(struct objects *os, struct db *db, struct err *e);
int space_row(struct objects *os, struct db *db, int64_t id, struct space *ret, struct err *e);	/* ENOENT */
bool space_versioned(struct objects *os, int64_t space);
/* What a statement changed, the triggers did in the table. */
void space_count(struct objects *os, int64_t space, int64_t bytes, int64_t count);
void space_count_versions(struct objects *os, int64_t space, int64_t bytes, int64_t count);

/* ---- versions */
/* The content of n, a row as it stands, becomes a version of its path.  share: the row keeps its reference; before: what it was, NULL: what its row says. */
int version_keep(struct objects *os, struct db *db, const struct entry *n, const char *path, const struct before *before, bool share, int64_t now,
		 struct err *e);
int version_marker(struct objects *os, struct db *db, int64_t space, const char *path, int64_t now, struct err *e);
/* Within a mark. */
int version_delete(struct objects *os, struct db *db, int64_t id, struct err *e);
int version_restore_at(struct objects *os, struct db *db, int64_t id, int64_t dir, const char *name, bool noreplace, struct err *e);
/* What is closed under that name and not yet cut is committed, so that it can become a version.  The index is not begun. */
int name_settle(struct objects *os, int64_t dir, const char *name, struct err *e);
/* Of JSON: mode and owner; a value, or all names (NULL), as attr_get. */
void attrs_owner(const char *json, mode_t *mode, uid_t *uid, gid_t *gid);
int64_t attrs_read(const char *json, const char *etag, const char *name, char *buf, size_t size, struct err *e);
/* Attributes as JSON and back; malloc'ed. */
int attrs_to_json(struct db *db, const struct entry *n, char **ret, struct err *e);
int attrs_from_json(struct objects *os, struct db *db, const char *json, struct entry *n, bool *any, struct err *e);
