/* Shared by node.c, readdir.c and path.c only. */
#pragma once

#include "node.h"

#define TENANT_BITS 23	/* in the row of NK_LINK_DIR */

const struct file *files_of(const struct kind *k);
/* Groups: files named "dir/name" stand in a directory of their object. */
int group_of(const struct kind *k, const char *name, size_t len, char *dir, size_t size);
bool group_name(const struct kind *k, int no, char *dir, size_t size);
bool only_status(const struct kind *k, const struct file *f);
int64_t tenant_of(struct call *c, int64_t id, struct row *r);
const struct links *links_by_no(struct fs *fs, uint8_t no);
int view_name(struct call *c, const struct kind *k, const struct row *r, char *ret, size_t size);
int view_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e);
