/* Tasks and their workers, as fs/tree itself uses them; what kinds use is in tree.h. */
#pragma once

#include "tree.h"

/* Loads what an earlier process left and starts the workers. */
int tasks_start(struct fs *fs, struct err *e);
/* No step is begun any more; waits up to timeout_ms for those that run. */
void tasks_stop(struct fs *fs, unsigned timeout_ms);
/* There are new rows: the workers look. */
void tasks_load(struct fs *fs);
/* What runs for that object is superseded by its new task once this call is committed. */
void task_cancel_on_commit(struct call *c, int64_t object);
void tasks_cancel(struct fs *fs, int64_t object);
/* "start boot 12s" of the object's task, or "none". */
int task_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* Lines of `health` about deletions that go on trying. */
void tasks_health(struct fs *fs, FILE *out);
/* The last step of every deletion. */
int obj_gone(struct call *c, struct obj *o, struct err *e);
/* Does anything, living or going, still refer to it or stand below it? */
int obj_held(struct call *c, const struct obj *o, bool *ret, struct err *e);
void changed_users(struct call *c, const struct obj *o);
