/* Open files, without the transport: what an open, read, write and flush mean for each type of node. */
#pragma once

#include <pthread.h>

#include "node.h"

enum handle_type { H_TEXT, H_CTL, H_DOC, H_STREAM, H_BYTES, H_WAIT, H_TALK, H_SCRATCH };

struct handle {
	enum handle_type type;
	struct node n;
	pthread_mutex_t lock;
	bool writable, truncated, append, written, dirty, killed;
	char *gathered;		/* of a value: what was taken so far */
	size_t gathered_len;
	bool goes_on;		/* the last write was a full buffer: the next one goes on */
	struct who who;		/* of the thread who_tid, which opened it or wrote to it last */
	pid_t who_tid;
	size_t owed;		/* H_CTL: what was not taken of a full buffer; the program writes it next */
	char *buf;		/* H_TEXT: the snapshot; H_DOC: the document; H_CTL: a line cut off (tail) */
	size_t len;
	uint64_t change;	/* change_no when the snapshot was made */
	int64_t base;		/* events-follow: where its first byte stands */
	int fd;			/* H_BYTES; -1: handle_read and handle_seek ask whose bytes they are */
	void *bytes;
	const struct talk *talk;	/* H_TALK: what `talking` is spoken to with */
	void *talking;
};

struct node_attr {
	mode_t mode;
	uint64_t size, ino;
	int64_t mtime, ctime;	/* microseconds since 1970 */
	bool keep_entry, keep_attr;	/* long timeouts: changes will be told */
};

/* ENOENT: gone.  Renders small files into a cache that the next open reads.  w: who asks, where the size depends on that; or NULL. */
int node_attr(struct call *c, struct node n, const struct who *w, struct node_attr *ret, struct err *e);

/* flags as of open(2). */
int handle_open(struct call *c, struct node n, int flags, const struct who *w, struct handle **ret, struct err *e);
/* *buf: bytes to answer, *owned: to be freed then.  Not for H_WAIT and H_TALK, nor for H_BYTES with an
 * fd, which the transport reads.  H_BYTES needs no state: c->db may be NULL then. */
int handle_read(struct call *c, struct handle *h, int64_t off, size_t size, const char **buf, size_t *len, char **owned, struct err *e);
/* H_BYTES without an fd: lseek(2)'s SEEK_DATA and SEEK_HOLE. */
int64_t handle_seek(struct fs *fs, struct handle *h, int64_t off, int whence, struct err *e);
/* How many bytes were taken, in c's own transaction, committed; -errno when none were.  *partial: why the rest was not. */
int64_t handle_write(struct call *c, struct handle *h, const char *buf, size_t len, int64_t off, struct err *e);
int handle_truncate(struct call *c, struct handle *h, int64_t size, struct err *e);
/* tid: who closes; one killed by a signal has not finished writing. */
int handle_flush(struct call *c, struct handle *h, pid_t tid, struct err *e);
/* Frees it. */
int handle_release(struct call *c, struct handle *h, struct err *e);
/* At start: files that a crash found between their creation and their first content were never there. */
void files_settle(struct fs *fs);
/* One writes to it, or would: EPERM for what cannot be written. */
bool node_writable(struct fs *fs, struct node n);
