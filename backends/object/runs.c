#include "runs.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../base/auto.h"

/* Memory of large runs is used again: fresh memory costs several times the copying. */
#define SPARE 8
static struct {
	pthread_mutex_t lock;
	unsigned char *v[SPARE];
	unsigned n;
} spare = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned char *large_get(void)
{
	unsigned char *m = NULL;

	pthread_mutex_lock(&spare.lock);
	if (spare.n)
		m = spare.v[--spare.n];
	pthread_mutex_unlock(&spare.lock);
	return m ? m : malloc(RUN_HEAD + RUN_MAX);
}

static void run_free(struct run *r)
{
	if (r->head + r->cap == RUN_HEAD + RUN_MAX) {
		pthread_mutex_lock(&spare.lock);
		if (spare.n < SPARE)
			spare.v[spare.n++] = steal_ptr(&r->mem);
		pthread_mutex_unlock(&spare.lock);
	}
	free(r->mem);
	free(r);
}

/* The first that ends after off. */
static size_t seek(const struct runs *rs, uint64_t off)
{
	size_t lo = 0, hi = rs->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (rs->v[mid]->off + rs->v[mid]->len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static int add(struct runs *rs, size_t at, const void *data, size_t len, uint64_t off, bool goes_on)
{
	struct run *r = calloc(1, sizeof *r);

	if (r && rs->n == rs->cap) {
		size_t cap = rs->cap ? rs->cap * 2 : 4;
		struct run **v = realloc(rs->v, cap * sizeof *v);

		if (!v) {
			free(r);
			return -ENOMEM;
		}
		rs->v = v;
		rs->cap = cap;
	}
	if (!r)
		return -ENOMEM;
	bool large = goes_on || len > RUN_MAX / 4;
	r->mem = large ? large_get() : malloc(len);
	if (!r->mem) {
		free(r);
		return -ENOMEM;
	}
	r->head = large ? RUN_HEAD : 0;
	r->cap = large ? RUN_MAX : (uint32_t)len;
	r->off = off;
	r->len = (uint32_t)len;
	memcpy(run_data(r), data, len);
	memmove(rs->v + at + 1, rs->v + at, (rs->n - at) * sizeof *rs->v);
	rs->v[at] = r;
	rs->n++;
	rs->bytes += len;
	return 1;
}

/* It ends where the bytes begin, or before: it takes them while it may. */
static bool extend(struct runs *rs, struct run *r, const void *data, size_t len, uint64_t off)
{
	uint64_t want = off + len - r->off;

	if (want > RUN_MAX)
		return false;
	if (want > r->cap) {
		size_t cap = r->cap * 2 > want ? r->cap * 2 : want;
		unsigned char *m;

		if (cap > RUN_MAX / 4) {
			if (!(m = large_get()))
				return false;
			memcpy(m + RUN_HEAD, run_data(r), r->len);
			free(r->mem);
			r->head = RUN_HEAD;
			r->cap = RUN_MAX;
		} else {
			if (r->head || !(m = realloc(r->mem, cap)))
				return false;
			r->cap = (uint32_t)cap;
		}
		r->mem = m;
	}
	memcpy(run_data(r) + (off - r->off), data, len);
	if (want > r->len) {
		rs->bytes += want - r->len;
		r->len = (uint32_t)want;
	}
	return true;
}

int runs_put(struct runs *rs, const void *data, size_t len, uint64_t off)
{
	size_t i = seek(rs, off), full = i;
	struct run *r = i < rs->n ? rs->v[i] : NULL, *before = i > 0 ? rs->v[i - 1] : NULL;

	if (r && r->off <= off) {		/* it begins inside one */
		uint64_t end = r->off + r->len;

		if (r->busy || (off + len > end && run_next(rs, r) && run_next(rs, r)->off < off + len))
			return 0;
		return extend(rs, r, data, len, off) ? 1 : 0;
	}
	if (r && r->off < off + len)
		return 0;			/* it would overlap what follows */
	bool goes_on = before && before->off + before->len == off;
	if (goes_on && !before->busy && extend(rs, before, data, len, off))
		return 1;
	/* small runs that have nothing to do with each other are many: flushed together when they are too many */
	return full > 4096 ? 0 : add(rs, i, data, len, off, goes_on && before->len + len > RUN_MAX / 4);
}

void runs_read(const struct runs *rs, void *buf, size_t len, uint64_t off)
{
	for (size_t i = seek(rs, off); i < rs->n && rs->v[i]->off < off + len; i++) {
		const struct run *r = rs->v[i];
		uint64_t from = r->off > off ? r->off : off, to = r->off + r->len < off + len ? r->off + r->len : off + len;

		memcpy((unsigned char *)buf + (from - off), run_data(r) + (from - r->off), to - from);
	}
}

bool runs_cover(const struct runs *rs, uint64_t off, uint64_t len)
{
	uint64_t at = off;

	for (size_t i = seek(rs, off); at < off + len; i++) {
		if (i >= rs->n || rs->v[i]->off > at)
			return false;
		at = rs->v[i]->off + rs->v[i]->len;
	}
	return true;
}

bool runs_touch(const struct runs *rs, uint64_t off, uint64_t len)
{
	size_t i = seek(rs, off);

	return i < rs->n && rs->v[i]->off < off + len;
}

void runs_remove(struct runs *rs, struct run *r)
{
	for (size_t i = 0; i < rs->n; i++)
		if (rs->v[i] == r) {
			memmove(rs->v + i, rs->v + i + 1, (rs->n - i - 1) * sizeof *rs->v);
			rs->n--;
			rs->bytes -= r->len;
			run_free(r);
			return;
		}
}

void runs_cut(struct runs *rs, uint64_t size)
{
	while (rs->n && rs->v[rs->n - 1]->off >= size)
		runs_remove(rs, rs->v[rs->n - 1]);
	if (rs->n) {
		struct run *r = rs->v[rs->n - 1];

		if (r->off + r->len > size) {
			rs->bytes -= r->off + r->len - size;
			r->len = (uint32_t)(size - r->off);
		}
	}
}

void runs_free(struct runs *rs)
{
	while (rs->n)
		runs_remove(rs, rs->v[rs->n - 1]);
	free(rs->v);
	*rs = (struct runs){ 0 };
}

struct run *run_next(const struct runs *rs, const struct run *r)
{
	size_t i = seek(rs, r->off + r->len);

	return i < rs->n ? rs->v[i] : NULL;
}

bool run_hand_over(struct runs *rs, struct run *r, uint32_t at)
{
	struct run *next = run_next(rs, r);
	uint32_t rest = r->len - at;

	if (!next || next->busy || next->off != r->off + r->len || next->head < rest)
		return false;
	memcpy(run_data(next) - rest, run_data(r) + at, rest);
	next->head -= rest;
	next->cap += rest;
	next->off -= rest;
	next->len += rest;
	r->len = at;
	return true;
}
