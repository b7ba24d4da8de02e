/* An object store: spaces (one a container) of names with contents; contents are manifests of deduplicated chunks in pack files.
 * All of it stands in one directory: index.db, packs/.  Formats: docs/objects.md.
 *
 * A change of names is seen by everybody at once and is on disk after the next commit: within COMMIT_MS, or when somebody calls objects_sync.
 * Commits keep the order: a crash returns to a state that was.  A content is committed as versions: cut by object_sync and by the last
 * object_close; until then all openers see what is written, and a crash returns to the last cut.
 *
 * Any thread, several at once.  0 or -errno with a sentence. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "../base/auto.h"
#include "../base/err.h"

struct objects;
struct object;		/* an open one */

#define COMMIT_MS 100

struct place_conf;
struct objects_conf {
	const struct place_conf *place;	/* where full packs go (place.h; its cache is ours to choose); NULL: they stay here.  Not used after the call */
	bool check;			/* for objects_check only: nothing is moved, what is read of the place is asked for there */
};
/* Makes what is missing; repairs what a crash left.  EBADMSG: the index is damaged.  EINVAL: packs are in a place, and none is named.  conf NULL: all 0. */
int objects_open(const char *dir, const struct objects_conf *conf, struct objects **ret, struct err *e);
/* What is closed is committed. */
void objects_close(struct objects *os);
AUTO_FN(struct objects *, objects_close);
/* All that was done before is durable when it returns; callers that come together share the disk's syncs. */
int objects_sync(struct objects *os, struct err *e);
/* Why the disk failed to keep what was written (an errno): nothing is taken any more, and mounting again finds what is there.  0: it did not. */
int objects_failed(struct objects *os);
/* Packs that are missing, and those that an index which was lost left. */
void objects_lost(struct objects *os, int64_t *missing, int64_t *nobodys);
/* fn is told, without a lock held, what was changed by nobody's call: an object that expired (name in dir), one whose bytes ... */
typedef void objects_gone_fn(void *arg, int64_t space, int64_t dir, const char *name, int64_t id);
void objects_on_gone(struct objects *os, objects_gone_fn *fn, void *arg);

/* ---- spaces: what is counted together, named by the caller (a container's row) */
struct space {
	int64_t id, tenant;
	int64_t root;		/* the entry of its top directory */
	int64_t bytes, count;	/* of its files */
	int64_t quota_bytes, quota_count;	/* -1: none */
	bool versioning;
	bool compression;
	int64_t versions, version_bytes;	/* kept old ones */
};
int space_make(struct objects *os, int64_t id, int64_t tenant, struct err *e);	/* there already: 0 */
int space_get(struct objects *os, int64_t id, struct space *ret, struct err *e);	/* ENOENT */
int space_set(struct objects *os, const struct space *s, struct err *e);	/* quotas, versioning, compression */
/* ENOTEMPTY while it has entries or versions; it is durable when it returns; not there: 0. */
int space_drop(struct objects *os, int64_t id, struct err *e);
/* 1 when it has entries (with kept versions, 2 when only those). */
int space_used(struct objects *os, int64_t id, struct err *e);
typedef int space_fn(void *arg, const struct space *s);
int space_list(struct objects *os, int64_t tenant, space_fn *fn, void *arg, struct err *e);	/* tenant 0: all */
/* Limits of a tenant's sum; -1: none.  Kept in memory: told at start and at each change. */
void space_tenant_quota(struct objects *os, int64_t tenant, int64_t bytes, int64_t count);
/* What is stored: chunks that only this space's (tenant's, id 0: the store's) contents refer to, on disk; and the bytes its contents have.  Walks
 * all of its manifests. */
struct stored {
	int64_t logical, stored;
};
int space_stored(struct objects *os, int64_t space, int64_t tenant, struct stored *ret, struct err *e);

/* ---- names */
enum entry_type { ENTRY_FILE = 1, ENTRY_DIR = 2, ENTRY_LINK = 3 };
struct entry {
	int64_t id, parent, space;	/* parent 0: removed, still open */
	enum entry_type type;
	mode_t mode;		/* the lower 12 bits */
	uid_t uid;
	gid_t gid;
	uint64_t size, used;	/* as openers see it; used: without holes */
	int64_t mtime, ctime;	/* nanoseconds since 1970 */
	int64_t root;		/* the content of its last cut (manifest.h); of none else than names.c and object.c interest */
	bool uncut, attrs;	/* attrs: it has extended attributes */
	int64_t delete_at;	/* seconds; 0: never */
	char name[256];
};
int name_lookup(struct objects *os, int64_t dir, const char *name, struct entry *ret, struct err *e);	/* ENOENT also once it expired */
int name_get(struct objects *os, int64_t id, struct entry *ret, struct err *e);
/* fn for each entry with an offset > after, in the order of offsets, until it returns non-zero.  Offsets are stable and >= 3.  fn is called without a lock. */
typedef int name_fn(void *arg, const struct entry *n, int64_t offset);
int name_list(struct objects *os, int64_t dir, int64_t after, name_fn *fn, void *arg, struct err *e);
/* EEXIST, ENOENT (dir is gone), EDQUOT, ENAMETOOLONG (the path would have more than 1024 bytes), ENOSPC.  target: of a link. */
int name_make(struct objects *os, int64_t dir, const char *name, enum entry_type type, mode_t mode, uid_t uid, gid_t gid, const char *target,
	      struct entry *ret, struct err *e);
int name_remove(struct objects *os, int64_t dir, const char *name, bool is_dir, struct err *e);	/* ENOTDIR, EISDIR, ENOTEMPTY */
int name_rename(struct objects *os, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags, struct err *e);	/* renameat2's; EXDEV between spaces */
struct name_set {
	bool mode_set, uid_set, gid_set, mtime_set;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	int64_t mtime;
};
int name_set(struct objects *os, int64_t id, const struct name_set *s, struct err *e);
int name_readlink(struct objects *os, int64_t id, char *ret, size_t size, struct err *e);
/* The path below the space's top: "photos/a.jpg". */
int name_path(struct objects *os, int64_t id, int64_t *space, char *ret, size_t size, struct err *e);
/* Every file of a space, in the order of their paths' bytes; etag NULL: not known yet.  fn is called without a lock. */
typedef int path_fn(void *arg, const char *path, const struct entry *n, const char *etag);
int name_walk(struct objects *os, int64_t space, path_fn *fn, void *arg, struct err *e);

/* ---- extended attributes: those of Swift, with its limits (docs/objects.md) */
int64_t attr_get(struct objects *os, int64_t id, const char *name, char *buf, size_t size, struct err *e);	/* ENODATA, ERANGE; size 0: the length */
int64_t attr_list(struct objects *os, int64_t id, char *buf, size_t size, struct err *e);	/* without user.etag */
int attr_set(struct objects *os, int64_t id, const char *name, const char *value, size_t size, int flags, struct err *e);
int attr_remove(struct objects *os, int64_t id, const char *name, struct err *e);
/* For listings, where user.mime_type is not set: what a name's end says of its content: "image/jpeg"; application/octet-stream when nothing. */
const char *attr_mime(const char *name);

/* ---- contents */
/* flags: open(2)'s.  Several may have it open; they share what is not yet cut. */
int object_open(struct objects *os, int64_t id, int flags, struct object **ret, struct err *e);
int64_t object_read(struct object *o, char *buf, size_t size, int64_t off, struct err *e);
int64_t object_write(struct object *o, const char *buf, size_t size, int64_t off, bool append, struct err *e);
int object_truncate(struct objects *os, int64_t id, int64_t size, struct err *e);
int object_sync(struct object *o, struct err *e);	/* cut and durable */
/* A descriptor of it was closed: what it holds is cut before another writer changes it, whether or not object_close came by then.  Only where
 * versions are kept and it was opened for writing (object_versioned). */
void object_flush(struct object *o);
bool object_versioned(const struct object *o);
void object_close(struct object *o);			/* the last one cuts */
int64_t object_copy(struct object *in, int64_t off_in, struct object *out, int64_t off_out, size_t len, struct err *e);
int64_t object_seek(struct object *o, int64_t off, int whence, struct err *e);
int object_allocate(struct object *o, int mode, int64_t off, int64_t len, struct err *e);	/* fallocate(2)'s; punches, zeroes, extends */
/* What is told while one writer goes on: is anybody else reading it through a cache? */
bool object_shared(struct object *o);
/* The MD5 of its content in hexadecimal.  0 it is there; 1 done is called later, from another thread; ticket for etag_forget. */
/* done NULL: 1 says that it is not known, and nothing follows. */
typedef void etag_fn(void *arg, const struct err *e, const char *etag);
int object_etag(struct objects *os, int64_t id, char ret[33], etag_fn *done, void *arg, uint64_t *ticket, struct err *e);
void object_etag_forget(struct objects *os, uint64_t ticket);

/* ---- old versions, of containers that keep them */
struct version {
	int64_t id;
	char *name;		/* the object's path */
	int64_t time;		/* when it was replaced or removed, nanoseconds */
	uint64_t size;
	bool marker;		/* the object was removed then */
};
typedef int version_fn(void *arg, const struct version *v);
/* name NULL: the names that have versions (time 0), after `after` in the order of bytes; else the versions of that name, by time. */
int version_list(struct objects *os, int64_t space, const char *name, version_fn *fn, void *arg, struct err *e);
int version_open(struct objects *os, int64_t version, struct object **ret, struct err *e);	/* for reading */
int version_restore(struct objects *os, int64_t version, struct err *e);
int version_remove(struct objects *os, int64_t version, struct err *e);
/* An extended attribute it had, user.etag too; name NULL: the names, each with a NUL.  As attr_get. */
int64_t version_attr(struct objects *os, int64_t version, const char *name, char *buf, size_t size, struct err *e);

/* The same as directories (vtree.c): the components of the object's path, and in the last a file a version: "2026-11-22T10:06:00.123456789Z",
 * with ".removed" behind where it is the marker of a removal, which has no content.  Numbers of directories and versions do not overlap. */
struct vnode {
	int64_t id;
	bool dir, marker, gone;	/* gone: removed while it is open */
	int64_t time, mtime;	/* nanoseconds */
	uint64_t size;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	char name[256];
};
int vtree_top(struct objects *os, int64_t space, int64_t *ret, struct err *e);
int vtree_get(struct objects *os, int64_t id, struct vnode *ret, struct err *e);
int vtree_find(struct objects *os, int64_t dir, const char *name, struct vnode *ret, struct err *e);	/* ENOENT */
typedef int vnode_fn(void *arg, const struct vnode *n);
/* Those whose number is above `after`, in that order; below 3: from the beginning. */
int vtree_list(struct objects *os, int64_t dir, int64_t after, vnode_fn *fn, void *arg, struct err *e);
int vtree_path(struct objects *os, int64_t id, int64_t *space, char *ret, size_t size, struct err *e);
int vtree_remove(struct objects *os, int64_t dir, const char *name, bool is_dir, struct err *e);	/* ENOTEMPTY */
/* A version becomes an object of that name, with its attributes, and is a version no more; what had the name is replaced.  EXDEV: of another space. */
int vtree_move(struct objects *os, int64_t dir, const char *name, int64_t newdir, const char *newname, bool noreplace, struct err *e);

/* ---- the whole */
struct objects_stats {
	int64_t chunks, chunk_bytes;	/* that something refers to; plain bytes */
	int64_t packs, pack_bytes, dead_bytes;
	int64_t entries, unsynced;
};
int objects_stats(struct objects *os, struct objects_stats *ret, struct err *e);
struct objects_place {		/* of the place */
	bool used;
	int64_t packs, pack_bytes;	/* there */
	int64_t waiting, waiting_bytes;	/* full, and not there yet */
	int64_t cache_hits, cache_misses, cache_bytes;
	char trouble[256];		/* why packs are not moved; "": they are */
};
int objects_place(struct objects *os, struct objects_place *ret, struct err *e);
/* A look at everything: fn for each fault.  data: chunks are read and verified.  repair: the index is mended from the packs, what is lost is
 * marked; did: what was done, or NULL.  Returns how many faults. */
typedef void objects_fault_fn(void *arg, const char *thing, const char *wrong, const char *did);
int64_t objects_check(struct objects *os, bool data, bool repair, objects_fault_fn *fn, void *arg, struct err *e);
