/* Tasks and their workers, as fs/tree itself uses them; what kinds use is in tree.h, what they are made of in job.h. */
#pragma once

#include "tree.h"

/* Loads what an earlier process left and begins. */
int tasks_start(struct fs *fs, struct err *e);
/* No step is begun any more; waits up to timeout_ms for those that run, but not for those that have been away for long.  False: some
 * hang; their threads use all of this until the process ends, so that nothing of it may be freed. */
bool tasks_stop(struct fs *fs, unsigned timeout_ms);
/* A row of `task` was written in this call: the workers get it with the commit.  forget: those from the `from`th on (of that object, or
 * with 0 all) were undone. */
int tasks_note(struct call *c, const struct obj *o, const struct task_row *t, struct err *e);
void tasks_forget(struct call *c, size_t from, int64_t object);
/* Committed: gives them to the workers. */
void tasks_add(struct call *c);
/* What runs for that object is superseded by its new task once this call is committed. */
void task_cancel_on_commit(struct call *c, int64_t object);
void tasks_cancel(struct fs *fs, int64_t object);
/* "start boot 12s running ..." of the object's task, or "none". */
int task_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* A line for each task of a tenant, or of all (the root). */
int tasks_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* The steps that ended of a task that has not. */
void task_show_steps(struct fs *fs, int64_t object, FILE *out);
/* Lines of `health` about tasks that do not get on. */
void tasks_health(struct call *c, FILE *out);
/* The last step of every deletion. */
int obj_gone(struct call *c, struct obj *o, struct err *e);
/* Does anything, living or going, still refer to it or stand below it? */
int obj_held(struct call *c, const struct obj *o, bool *ret, struct err *e);
void changed_users(struct call *c, const struct obj *o);
