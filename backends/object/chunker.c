/* Where contents are cut into chunks.  The hash of a place is a sum over the 64 bytes before it, the last one unshifted, the one before shifted
 * by one, and so on; a place where the hash's upper bits are all 0 is a boundary.  A sum needs no history: the bytes below the minimum are
 * skipped but for the last 64, and the same 64 bytes are a boundary everywhere. */
#include "chunker.h"

#include <assert.h>

#define WINDOW 64

/* splitmix64 (Vigna): the whole table from one number. */
static uint64_t next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void chunker_init(struct chunker *c, uint32_t min, uint32_t avg, uint32_t max, uint64_t seed)
{
	assert(min < avg && avg < max && (avg & (avg - 1)) == 0 && avg >= 64);
	int bits = __builtin_ctz(avg);

	*c = (struct chunker){ .min = min, .avg = avg, .max = max };
	/* Half as frequent as one in avg, then twice: sizes near the mean.  With a factor of four they are nearer, but chunks find each other later
	 * after an edit: it then changes a tenth more bytes (docs/objects-chunks.md). */
	c->mask_small = ~0ull << (64 - (bits + 1));
	c->mask_large = ~0ull << (64 - (bits - 1));
	for (int i = 0; i < 256; i++)
		do
			c->gear[i] = next(&seed);
		while (((0 - c->gear[i]) & c->mask_large) == 0);	/* a run of one byte hashes to that: never a boundary */
}

/* Unrolled, a byte costs one lea in the chain of dependencies: 4 GB/s, where a loop of single bytes makes 2. */
#define STEP(k) do { \
		hash = (hash << 1) + c->gear[p[i + (k)]]; \
		if (__builtin_expect((hash & mask) == 0, 0)) \
			return i + (k) + 1; \
	} while (0)

/* The first boundary after *at, at most end; or 0, and *at is end. */
static inline size_t scan(const struct chunker *c, const unsigned char *p, size_t *at, size_t end, uint64_t *state, uint64_t mask)
{
	size_t i = *at;
	uint64_t hash = *state;

	for (; i + 8 <= end; i += 8) {
		STEP(0); STEP(1); STEP(2); STEP(3); STEP(4); STEP(5); STEP(6); STEP(7);
	}
	for (; i < end; i++)
		STEP(0);
	*at = i;
	*state = hash;
	return 0;
}

size_t chunker_cut(const struct chunker *c, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t end = len < c->max ? len : c->max, change = c->avg - (c->avg - c->min) / 2, at, cut;	/* there the mean is avg */
	uint64_t hash = 0;

	if (end <= c->min)
		return end;
	for (at = c->min > WINDOW ? c->min - WINDOW : 0; at < c->min; at++)
		hash = (hash << 1) + c->gear[p[at]];
	if ((cut = scan(c, p, &at, end < change ? end : change, &hash, c->mask_small)) || (cut = scan(c, p, &at, end, &hash, c->mask_large)))
		return cut;
	return end;
}
