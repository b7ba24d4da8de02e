/* What is remembered of callers, in memory: last-error, last-result, refusals of an object, processes that delete recursively,
 * documents that did not parse. */
#pragma once

#include "node.h"

int sessions_init(struct fs *fs, struct err *e);
void sessions_free(struct fs *fs);

/* Who is behind a request of that thread: reads /proc while the request is unanswered. */
void who_of(struct who *w, uid_t uid, pid_t tid);

/* Remembers a refusal of the caller's session and of the object or collection it hit. */
void refusal(struct fs *fs, const struct who *w, const struct call *c, struct node n, const char *path, const struct err *e);
/* /last-error of this caller, newest first. */
void last_error_show(struct fs *fs, const struct who *w, FILE *out);
void last_result_set(struct fs *fs, const struct who *w, const char *path);
void last_result_show(struct fs *fs, const struct who *w, FILE *out);
/* The refusal last remembered for that object (file 0) or collection: 1 and *at (microseconds), *line, or 0. */
int refusal_of(struct fs *fs, struct node n, int64_t *at, char *line, size_t size);
/* It is forgotten: a later command went well.  False: there was none. */
bool refusal_clear(struct fs *fs, struct node n);

/* A document that does not parse makes the next verb fail too: set at the flush, taken by that verb or by a document that is good.
 * n: the document, its object or its collection. */
void doc_broken(struct fs *fs, struct node n, const struct err *e);
int doc_pending(struct fs *fs, struct node n, struct err *e);

/* Recursive deletes: an opendir was seen; a control file was refused; may this process unlink or rmdir in dir? */
void saw_opendir(struct fs *fs, pid_t tid, struct node dir);
void mark_recursive(struct fs *fs, const struct who *w, struct node dir);
/* EPERM when it may not.  target: the directory an rmdir would remove, or dir itself. */
int check_recursive(struct call *c, const struct who *w, pid_t tid, struct node dir, struct node target, struct err *e);
/* Below a directory of ordinary files deletion is ordinary, but not for a process that was refused above it, or that came down there from
 * above its collection.  false: no need to ask check_files_recursive, which costs a look at /proc. */
bool may_be_recursive(struct fs *fs, pid_t tid);
int check_files_recursive(struct call *c, const struct who *w, pid_t tid, struct node top, struct err *e);
bool has_listed(struct fs *fs, pid_t tid, struct node dir);
/* A document that was unlinked is not found for a moment, so that whoever does that makes it anew; its content stays until then. */
void doc_hide(struct fs *fs, struct node n);
bool doc_hidden(struct fs *fs, struct node n, bool take);
