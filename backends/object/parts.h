/* Shared by the files of backends/object only.
 *
 * The index (index.db) has one connection, used under one lock, and a transaction that stays open over many operations: what one operation
 * wrote the next one reads.  commit.c ends it (a commit's frames go to the WAL without a sync) and syncs the WAL outside the lock, so that all
 * who wait share a sync.  Order on disk: the packs' bytes, then the index that refers to them.
 *
 * Locks, in the order they may be taken: a body's (object.c), the index's, the leaves (bodies' table, packs' table). */
#pragma once

#include <pthread.h>

#include "../state/db.h"
#include "objects.h"

/* ---- the index (index.c) */
/* Takes the lock and sees that a transaction is open.  NULL: e says why, the lock is not held. */
struct db *index_begin(struct objects *os, struct err *e);
/* Its connection, while it is begun. */
struct db *index_db(struct objects *os);
/* Gives the lock back; changed: something is to be committed. */
void index_end(struct objects *os, bool changed);
/* Within begin and end: what follows can be undone alone (one level). */
int index_mark(struct objects *os, struct err *e);
int index_keep(struct objects *os, struct err *e);
void index_undo(struct objects *os);
/* A writing statement whose parameters are integers. */
#define INDEX_RUN(os, e, sql, ...) db_run(index_db(os), e, sql, sizeof((int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t), (int64_t[]){ __VA_ARGS__ })
/* Numbers for entries, chunks, nodes, versions: each used once, for ever. */
int64_t index_id(struct objects *os);
/* Free bytes of the disk are short: nothing but removing is begun.  ENOSPC. */
int index_room(struct objects *os, struct err *e);
/* Once a commit is durable that holds what is in the transaction now; the lock is not held. */
int index_sync(struct objects *os, struct err *e);
extern const char *const index_migrations[];
extern const size_t n_index_migrations;

/* ---- what names.c and object.c ask each other.  The index is begun. */
/* Size, mtime and so on as openers see them, where it is open or not yet cut. */
void body_overlay(struct objects *os, struct entry *n);
/* Its name is gone.  True: it is still open, and its row stays, with parent 0, until object.c removes it (name_forget). */
bool body_removed(struct objects *os, int64_t id);
/* What is written of it and not yet cut has to be cut before the transaction is committed: it took another's name. */
void body_renamed(struct objects *os, int64_t id);
/* Its time was set: the next cut keeps it. */
void body_times(struct objects *os, int64_t id, int64_t mtime);
/* It is open, or has what is not yet cut. */
bool body_is(struct objects *os, int64_t id);
/* An old version that is open: its size and time. */
bool body_version(struct objects *os, int64_t version, uint64_t *size, int64_t *mtime);
/* What was closed is cut, so that the next commit makes a version of it: of one object; of all in spaces that keep versions, true when there is
 * something to commit.  The index is not begun. */
void body_settled(struct objects *os, int64_t id);
bool bodies_settled(struct objects *os);
/* One reference to that content less, or more (root: manifest.h). */
int content_drop(struct objects *os, int64_t root, struct err *e);
int content_share(struct objects *os, int64_t root, struct err *e);

/* What a version is called: "2026-11-22T10:06:00.123456789Z". */
void version_time_name(char *ret, size_t size, int64_t ns, bool marker);
/* What an object was when its content began to change: what its old version is to say.  before_get: the index is begun; NULL: it has no row. */
struct before {
	int64_t mtime;
	char *attrs;		/* as JSON, with mode and owner */
};
struct before *before_get(struct objects *os, int64_t id, int64_t mtime);
void before_free(struct before *b);
/* The last cut of an object is recorded: size, mtime, root, uncut 0, etag (NULL: unknown); the old content becomes a version where the space keeps them, else it
 * is dropped.  An entry that is gone: the new content is dropped. */
int name_cut(struct objects *os, int64_t id, uint64_t size, uint64_t used, int64_t mtime, int64_t root, const char *etag,
	     const struct before *before, struct err *e);
/* fn for every content that entries, and versions too, of a space (0: of all) refer to, the same one as often as it is, root 0 for one of zeros alone; until it returns non-zero. */
typedef int names_root_fn(void *arg, int64_t root, uint64_t size);
int names_roots(struct objects *os, int64_t space, int64_t tenant, names_root_fn *fn, void *arg, struct err *e);
/* Removes the row of one that was open when its name went, and its content. */
int name_forget(struct objects *os, int64_t id, struct err *e);
/* Rows that a crash left: never cut, or removed while open. */
int names_sweep(struct objects *os, struct err *e);
/* EDQUOT (with used and limit) when the space or its tenant may not grow by that. */
int space_room(struct objects *os, int64_t space, int64_t bytes, int64_t count, struct err *e);
/* Bytes of a space that are written and not yet in a cut count too: told as they come (object.c), negative as they are cut. */
void space_pending(struct objects *os, int64_t space, int64_t bytes);
/* Where an old version's content is; ENOENT, also where it is the marker of a removal. */
int version_content(struct objects *os, int64_t version, uint64_t *size, int64_t *mtime, int64_t *root, struct err *e);
/* MD5 of the content `root` it had when it was computed; forgotten by name_cut. */
int name_etag(struct objects *os, int64_t id, char ret[33], struct err *e);	/* 1 known, 0 not */
int name_set_etag(struct objects *os, int64_t id, int64_t root, const char *etag, struct err *e);
/* What is kept in memory and belongs into the transaction that is about to be committed: directories' times. */
int names_flush(struct objects *os, struct err *e);
void names_committed(struct objects *os);	/* that transaction was committed */
/* Something that was written is undone (by index_undo, or SQLite ended the transaction): what is known of it in memory is read anew. */
void names_undone(struct objects *os);

/* ---- of names, too; the index is not begun */
/* Removes what has expired by now; the next time, in seconds since 1970, something does (0: never); -errno. */
int64_t names_expire(struct objects *os, struct err *e);
/* What a tenant's quota is compared with. */
int space_tenant_used(struct objects *os, int64_t tenant, int64_t *bytes, int64_t *count, struct err *e);
/* The names' part of objects_check.  What is repaired by moving it stands in lost+found at the top of its space. */
int64_t names_check(struct objects *os, bool repair, objects_fault_fn *fn, void *arg, struct err *e);

struct names;	/* what names.c keeps in memory: tenants' quotas, pending bytes */
struct names *names_new(void);
void names_free(struct names *n);
struct names *names_of(struct objects *os);
void objects_gone(struct objects *os, int64_t space, int64_t dir, const char *name, int64_t id);
