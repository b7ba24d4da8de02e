/* json of an object; list and json of a collection or view. */
#pragma once

#include "attr.h"

int json_show(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* parent 0: of all tenants, named TENANT:NAME. */
int table_show(struct call *c, const struct kind *k, int64_t parent, bool json, FILE *out, struct err *e);
