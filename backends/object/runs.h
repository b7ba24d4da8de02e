/* What is written of a content and not in chunks yet: runs of bytes in memory, by offset, that do not overlap.  Guarded by the body's lock; a
 * run that is busy is being cut into chunks and is not changed. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RUN_MAX (2u << 20)	/* bytes of one */
#define RUN_HEAD (256u << 10)	/* room before the bytes of one that goes on another: what that leaves over is put there */

struct run {
	uint64_t off;
	uint32_t len, cap, head;	/* cap: of what begins at mem + head */
	bool busy;
	unsigned char *mem;
};
struct runs {
	struct run **v;
	size_t n, cap;
	uint64_t bytes;
};
static inline unsigned char *run_data(const struct run *r)
{
	return r->mem + r->head;
}
/* 1: they are in; 0: what is there has to go into chunks first; -ENOMEM. */
int runs_put(struct runs *rs, const void *data, size_t len, uint64_t off);
/* Bytes of buf, which has len from off, that are in runs; the others are left as they are. */
void runs_read(const struct runs *rs, void *buf, size_t len, uint64_t off);
/* Is the whole of it in runs? */
bool runs_cover(const struct runs *rs, uint64_t off, uint64_t len);
/* Is any of it? */
bool runs_touch(const struct runs *rs, uint64_t off, uint64_t len);
/* What is beyond size goes.  None is busy. */
void runs_cut(struct runs *rs, uint64_t size);
void runs_remove(struct runs *rs, struct run *r);
void runs_free(struct runs *rs);
/* The last of r's bytes, from its at'th on, become the first of the next one, when that goes on where r ends. */
bool run_hand_over(struct runs *rs, struct run *r, uint32_t at);
struct run *run_next(const struct runs *rs, const struct run *r);
