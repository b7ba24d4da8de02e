/* Content-defined chunking: FastCDC's gear hash with normalised sizes (Xia et al., USENIX ATC 2016; two bytes a step as in their 2020 paper).
 * The bytes below the minimum are skipped.  The same bytes are cut at the same places whatever came before the last cut, so an insertion
 * changes the chunks around it only. */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct chunker {
	uint32_t min, avg, max;		/* bytes; avg a power of two, min < avg < max */
	uint64_t gear[256];		/* of the store's seed */
	uint64_t mask_small, mask_large;	/* before and after a place near avg, such that the mean is avg */
};
void chunker_init(struct chunker *c, uint32_t min, uint32_t avg, uint32_t max, uint64_t seed);
/* The length of the first chunk of those bytes, 1..max.  What it answers is final when it is less than len, or len >= max; else (no boundary
 * was found in all of them) more bytes may belong to it. */
size_t chunker_cut(const struct chunker *c, const void *data, size_t len);
