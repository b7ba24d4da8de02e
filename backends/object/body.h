/* A body: the content of an object while it is open, or written and not yet cut.  All who have it open share it.  object.c reads and writes,
 * flush.c brings what is written into chunks, bodies.c keeps the table of them and cuts. */
#pragma once

#include "core.h"
#include "runs.h"

struct body {
	struct objects *os;
	struct body *hash_next;
	int64_t id;		/* the object's; minus a version's number: read-only */
	unsigned refs;		/* guarded by the table's lock: handles, and whoever else uses it */
	unsigned opens;		/* handles; the same */
	bool removed;		/* its name is gone; the same */
	bool due, renamed;	/* stands in those lists; the same */
	_Atomic bool owed;	/* a close or a renaming left its content to be cut as it was then */
	/* Where versions are kept: a writer's close(2), that handle; once it is released, this body.  Whoever else changes it cuts it first: the
	 * release may come after the next writer. */
	_Atomic(const void *) closed_by;
	struct before *before;	/* of what was there when it became dirty, where versions are kept; its cut's then */
	struct body *due_next, *renamed_next;
	_Atomic uint64_t size, used;
	_Atomic int64_t mtime;
	_Atomic bool dirty;	/* differs from its last cut */
	_Atomic unsigned cuts;	/* on their way into the index */

	pthread_mutex_t lock;	/* what is below */
	pthread_cond_t changed;
	bool known, loaded;	/* its row was read; its manifest was */
	int64_t space, root;	/* root: of the last cut ... */
	uint64_t root_size;	/* ... and how many bytes that had: size may have grown before it is loaded */
	bool compress, versioned;
	struct manifest m;
	struct runs runs;
	struct pins *pins;	/* guarded by the index */
	int64_t told;		/* bytes that were told to space_pending and are in no cut */
	bool working, queued;	/* somebody flushes; it waits for a worker */
	struct err failed;	/* why what was written could not be stored */
	uint64_t writes;	/* counts changes of its bytes, and of what the manifest says of them */
};

/* A reference; ENOENT.  The body may be new: body_know reads its row. */
int body_get(struct objects *os, int64_t id, struct body **ret, struct err *e);
void body_put(struct body *b);
/* A handle of it was closed, or it was changed without one: unless others have it open it is cut with the next commit. */
void body_closed(struct body *b, bool handle);
struct body *body_find(struct objects *os, int64_t id);	/* a reference, or NULL */
/* The lock is held. */
int body_know(struct body *b, struct err *e);
int body_load(struct body *b, struct err *e);		/* its manifest */
int body_want(struct body *b, uint64_t off, uint64_t len, struct err *e);
/* What is written goes into chunks: all of it, or what is full (all false).  Gives the lock away meanwhile. */
int body_flush(struct body *b, bool all, bool durable_soon, struct err *e);
void body_work(struct body *b);				/* a worker does that soon */
/* A version of it is queued for the next commit.  Takes the lock. */
int body_cut(struct body *b, bool durable_soon, struct err *e);
void body_dirty(struct body *b);
/* The lock is held: what of its manifest is finished goes into the index, when that is much. */
int body_spill(struct body *b, struct err *e);
/* Takes the lock.  Without a handle: who reads for the store itself keeps nobody's close from being the last. */
int64_t body_read(struct body *b, char *buf, size_t size, int64_t off, struct err *e);
/* The lock is held, and it is going to be changed: what its last close or its renaming left to be cut is cut as it is now. */
int body_settle(struct body *b, struct err *e);

struct bodies {
	pthread_mutex_t lock;
	struct body *table[4096];
	struct body *due, *renamed;
	unsigned n, n_due;
	_Atomic uint64_t bytes;		/* in runs, all together */
	/* workers (flush.c) */
	pthread_mutex_t work_lock;
	pthread_cond_t work;
	struct body *queue[1024];
	unsigned head, tail;
	pthread_t threads[2];
	unsigned n_threads;
	bool stop;
};
