/* The content of control files: what is shown and what is taken, for the machine's own files and the kinds' alike. */
#pragma once

#include "node.h"

/* Whole content of a small file (of an object, a collection, a view or the root); the caller frees. */
int attr_show(struct call *c, struct node n, char **ret, size_t *len, struct err *e);
/* A value written: checked and recorded in c's transaction.  Writing what is there already changes nothing, in every state. */
int attr_store(struct call *c, struct node n, const char *text, size_t len, struct err *e);
/* The same for one parameter of an object by name ("flavor", "metadata/role"), as create and ensure use it. */
int param_store(struct call *c, struct obj *o, const char *key, const char *value, struct err *e);
/* Each key=value of a create line; the values of a list are one content. */
int args_store(struct call *c, struct obj *o, const struct args *a, struct err *e);
/* What the parameter says now, "" when nothing; ENOENT: no such parameter. */
int param_show(struct call *c, const struct obj *o, const char *key, char **ret, struct err *e);
/* Everything `create` would need to make another like it; a list's values are separate words. */
int spec_args(struct call *c, const struct obj *o, struct args *ret, struct err *e);
/* A whole spec (document): of an object key=value lines, of a collection or tenant lines of commands. */
int spec_store(struct call *c, struct node n, const char *text, size_t len, struct err *e);
/* Value of a plain file without newline, into a string the caller frees. */
int file_text(struct call *c, const struct obj *o, const struct file *f, char **ret, struct err *e);
const struct file *file_find(const struct kind *k, const char *name);
bool file_settable(const struct file *f);
/* Every NEEDED parameter has a value? EINVAL naming the first without. */
int params_complete(struct call *c, const struct obj *o, struct err *e);
/* Have objects of that kind collections of their own (so that their spec is a script)? */
bool has_collections(struct fs *fs, const struct kind *k);
