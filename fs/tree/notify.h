/* What changed is told here to the kernel's caches, to parked readers and to those whose answer waits for it.
 * Rules (docs/design.md): invalidations are sent by the notifier's thread only, never with a lock or transaction held; a request that
 * holds a directory's lock is answered before; every other one is answered after they are delivered, 100 ms at the latest. */
#pragma once

#include "node.h"

struct notify_ops {	/* the transport's; arg is given back */
	void (*inode)(void *arg, uint64_t ino);
	void (*entry)(void *arg, uint64_t dir, const char *name);
};
int notify_start(struct fs *fs, struct err *e);
/* From here on invalidations are sent. */
void notify_attach(struct fs *fs, const struct notify_ops *ops, void *arg);
void notify_stop(struct fs *fs);

/* Committed: what was rendered before is old.  Before anybody is answered. */
void changes_count(const struct change *ch, size_t n);
/* Their invalidations are the notifier's. */
void notify_changes(struct fs *fs, const struct change *ch, size_t n);
/* fn once everything queued before is delivered, or after 100 ms; at once when nothing is queued. */
void notify_reply(struct fs *fs, void (*fn)(void *arg), void *arg);
/* A name in that directory is, and nobody's request changed it. */
void notify_entry(struct fs *fs, struct node dir, const char *name);
/* One inode's cache is stale (an answer with a long timeout raced with a change). */
void notify_inode(struct fs *fs, struct node n);

/* Raised at every change of the object, and of anything. */
uint64_t change_no(int64_t row);
uint64_t change_all(void);
/* A change that no row records (a refusal, a lost connection). */
void change_note(struct fs *fs, struct node n);
/* Did files_changed or files_renamed say something of that file since then (files_now)? */
uint64_t files_now(void);
bool files_moved(int64_t no, uint64_t since);
/* The kernel was told something about that object that it may keep. */
void notify_seen(int64_t row);

/* ---- parked readers: wait, wait-for, events-follow */
typedef void answer_fn(void *req, const struct err *e, const char *text, size_t len);
/* The reader of that node is answered through fn, now or later, from any thread; id is for waits_interrupt.  offset: of
 * events-follow, where it goes on. */
void waits_park(struct fs *fs, uint64_t id, struct node n, int64_t offset, size_t size, answer_fn *fn, void *req);
/* The same for a reader of a talk (tree.h), which is open until it is answered. */
struct handle;
void waits_park_talk(struct fs *fs, uint64_t id, const struct handle *h, int64_t offset, size_t size, answer_fn *fn, void *req);
uint64_t waits_id(struct fs *fs);
/* EINTR for that one; remembered when it is not parked yet. */
void waits_interrupt(struct fs *fs, uint64_t id);
void waits_check(struct fs *fs, const struct change *ch);
/* EINTR for all, and for all that come. */
void waits_end(struct fs *fs);
int waits_init(struct fs *fs, struct err *e);
void waits_free(struct fs *fs);
