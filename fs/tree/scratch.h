/* Scratch files beside a document: in memory, unlisted, gone when unused for 60 s.  Editors write them and rename them over the
 * document. */
#pragma once

#include "node.h"

int scratch_init(struct fs *fs, struct err *e);
void scratch_free(struct fs *fs);
/* Makes or (when it is there) empties one. */
int scratch_make(struct fs *fs, struct node dir, const char *name, struct node *ret, struct err *e);
int scratch_lookup(struct fs *fs, struct node dir, const char *name, struct node *ret);	/* 1 found */
int scratch_write(struct fs *fs, struct node n, const char *buf, size_t len, int64_t off, struct err *e);
int scratch_truncate(struct fs *fs, struct node n, size_t len, struct err *e);
/* Bytes from off into a copy the caller frees; *len as much as there is, at most size. */
int scratch_read(struct fs *fs, struct node n, int64_t off, size_t size, char **ret, size_t *len, struct err *e);
int scratch_size(struct fs *fs, struct node n, size_t *ret, struct err *e);
/* Gives it up: its name is free. */
void scratch_drop(struct fs *fs, struct node n);
int scratch_rename(struct fs *fs, struct node n, const char *name, struct err *e);
