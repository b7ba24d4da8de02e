/* spec of objects, collections and tenants (see attr.h for writing one). */
#pragma once

#include "attr.h"

int spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
int coll_spec_show(struct call *c, const struct kind *k, int64_t parent, FILE *out, struct err *e);
int tree_spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
