/* Names made, removed, changed and linked.  All act in c's own transaction and commit it with c->hold set: the caller answers first,
 * then tells (call_announce).  c->who and c->tid say who asks. */
#pragma once

#include "node.h"

/* mkdir: a draft, or a live object. */
int names_make(struct call *c, struct node dir, const char *name, struct node *made, struct err *e);
/* open(O_CREAT), with its flags: a file that is an object (a key), or a scratch file. */
int names_create(struct call *c, struct node dir, const char *name, int flags, struct node *made, struct err *e);
int names_rmdir(struct call *c, struct node dir, const char *name, struct err *e);
int names_unlink(struct call *c, struct node dir, const char *name, struct err *e);
int names_symlink(struct call *c, struct node dir, const char *name, const char *target, struct err *e);
/* flags: those of renameat2(2). */
int names_rename(struct call *c, struct node from, const char *name, struct node to, const char *newname, unsigned flags, struct err *e);
