/* What is written to ctl: lines of commands, for an object, a collection, a tenant. */
#pragma once

#include "node.h"

#define CTL_MAX 65536	/* bytes of one write that are taken, and of one line */

/* One line on the ctl of `n` (of an object or a collection), within c's transaction. */
int ctl_line(struct call *c, struct node n, const char *line, size_t len, struct err *e);
/* What reading it shows: the verbs of the present state, each line a comment. */
int ctl_show(struct call *c, struct node n, FILE *out, struct err *e);
/* All lines of a script or none; err names the line. */
int ctl_script(struct call *c, struct node n, const char *text, size_t len, struct err *e);
/* What `ensure` does to an object that is there: changes what may change, nothing where all is equal; else EBUSY naming the key. */
int ctl_apply(struct call *c, struct obj *o, const struct args *a, struct err *e);
