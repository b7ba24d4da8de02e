/* What the machine measures of itself, for `metrics`.  Any thread, without a lock. */
#pragma once

#include "tree.h"

enum request {
	RQ_LOOKUP, RQ_GETATTR, RQ_SETATTR, RQ_READLINK, RQ_OPENDIR, RQ_READDIR, RQ_READDIRPLUS, RQ_MKDIR, RQ_RMDIR, RQ_UNLINK,
	RQ_SYMLINK, RQ_LINK, RQ_MKNOD, RQ_RENAME, RQ_OPEN, RQ_CREATE, RQ_READ, RQ_WRITE, RQ_FLUSH, RQ_RELEASE, RQ_FSYNC, RQ_FSYNCDIR,
	RQ_LSEEK, RQ_FALLOCATE, RQ_GETXATTR, RQ_LISTXATTR, RQ_SETXATTR, RQ_REMOVEXATTR, RQ_ACCESS, RQ_STATFS, RQ_COPY, RQ_KINDS
};
int64_t measure_now(void);	/* nanoseconds of some clock */
/* A request that began then is answered, or parked (a reader of `wait` may wait for hours). */
void measure_request(enum request r, int64_t began);
/* A task ended, so long after it was asked for. */
void measure_task(const struct kind *k, const char *verb, bool ok, int64_t us);
void measure_show(FILE *out);
