/* From runs into chunks. */
#include "body.h"

#include <errno.h>
#include <string.h>

/* The run's bytes as pieces; those after the last boundary are left over unless it is the last.  How many bytes are in pieces. */
static uint32_t divide(const struct chunker *c, const struct run *r, bool last, struct piece *v, size_t max, size_t *n)
{
	const unsigned char *data = run_data(r);
	uint32_t done = 0;

	for (*n = 0; done < r->len && *n < max; (*n)++) {
		uint32_t rest = r->len - done, len = (uint32_t)chunker_cut(c, data + done, rest);

		if (len == rest && len < c->max && !last)
			break;
		v[*n] = (struct piece){ .data = data + done, .len = len };
		done += len;
	}
	return done;
}

/* What is far is not fetched while a commit waits. */
static bool is_near(struct objects *os, int64_t chunk)
{
	struct where w;
	struct err e;

	return chunks_where(os, chunk, &w, &e) == 0 && !packs_far(os->packs, w.pack);
}

/* A small end of a content that grows by little is written anew with what comes, so that a log has not a chunk for each line. */
static void absorb(struct body *b, struct run *r)
{
	struct extent x;
	struct err e;

	if (r->len >= CHUNK_MIN || r->off == 0 || r->off != b->m.span || body_want(b, r->off - 1, 1, &e) < 0)
		return;
	x = manifest_ending(&b->m, r->off);
	if (!x.chunk || x.off || x.len >= CHUNK_MIN || !is_near(b->os, x.chunk))
		return;
	unsigned char *mem = malloc(x.len + r->len);
	if (!mem)
		return;
	if (chunks_get(b->os, x.chunk, 0, (uint32_t)x.len, mem, &e) < 0) {
		free(mem);
		return;	/* it is as damaged as before */
	}
	memcpy(mem + x.len, run_data(r), r->len);
	b->runs.bytes += x.len;
	atomic_fetch_add(&b->os->bodies->bytes, x.len);
	free(r->mem);
	*r = (struct run){ .off = r->off - x.len, .len = r->len + (uint32_t)x.len, .cap = r->len + (uint32_t)x.len, .busy = true, .mem = mem };
}

static int place(struct body *b, uint64_t off, uint32_t done, const struct piece *v, size_t n, struct err *e)
{
	AUTO(free) struct extent *ext = malloc((n ? n : 1) * sizeof *ext);

	if (!ext)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++)
		ext[i] = (struct extent){ v[i].id, 0, v[i].len };
	int rc = body_want(b, off, done, e);
	b->writes++;	/* who reads by what the manifest said before looks again if a chunk is gone by then */
	return rc < 0 ? rc : manifest_splice(&b->m, off, done, ext, n, e);
}

/* One run, which is busy.  last: nothing goes on where it ends. */
static int flush_run(struct body *b, struct run *r, bool last, bool soon, struct err *e)
{
	enum { PIECES = RUN_MAX / CHUNK_MIN + RUN_HEAD / CHUNK_MIN + 2 };
	struct piece few[4], *v = few;
	AUTO(free) struct piece *many = NULL;
	size_t n, max = ARRAY_LEN(few);

	if (last)
		absorb(b, r);
	if (r->len > CHUNK_MIN * 3) {
		if (!(v = many = malloc(PIECES * sizeof *v)))
			return err_set(e, ENOMEM, "%m");
		max = PIECES;
	}
	pthread_mutex_unlock(&b->lock);
	uint32_t done = divide(&b->os->chunker, r, last, v, max, &n);
	int rc = n ? chunks_put(b->os, &b->pins, v, n, b->compress, soon, e) : 0;
	pthread_mutex_lock(&b->lock);
	if (rc == 0 && n)
		rc = place(b, r->off, done, v, n, e);
	if (rc < 0)
		return rc;
	uint64_t before = b->runs.bytes;
	if (done < r->len && !run_hand_over(&b->runs, r, done)) {	/* it goes on growing */
		r->off += done;
		r->len -= done;
		r->head += done;
		r->cap -= done;
		b->runs.bytes -= done;
		r->busy = false;
	} else {
		runs_remove(&b->runs, r);
	}
	atomic_fetch_sub(&b->os->bodies->bytes, before - b->runs.bytes);
	return 0;
}

static bool is_full(const struct body *b, const struct run *r)
{
	struct run *next = run_next(&b->runs, r);

	return r->len >= RUN_MAX / 2 || (next && next->off == r->off + r->len);
}

int body_flush(struct body *b, bool all, bool soon, struct err *e)
{
	int rc = 0;

	while (b->working)
		pthread_cond_wait(&b->changed, &b->lock);
	if (!b->runs.n)
		return 0;
	b->working = true;
	rc = body_load(b, e);
	for (size_t i = 0; rc == 0 && i < b->runs.n; ) {
		struct run *r = b->runs.v[i], *next = run_next(&b->runs, r);
		bool last = !(next && next->off == r->off + r->len && next->head);

		if (!all && !is_full(b, r)) {
			i++;
			continue;
		}
		uint64_t off = r->off;
		uint32_t len = r->len;
		r->busy = true;
		rc = flush_run(b, r, all && last, soon, e);
		if (rc < 0)
			r->busy = false;
		else if (i < b->runs.n && b->runs.v[i]->off == off && b->runs.v[i]->len == len)
			i++;	/* too short for a chunk so far */
		else
			i = 0;	/* others may have come meanwhile */
		if (rc == 0)
			rc = body_spill(b, e);
		if (rc == 0 && !all)	/* there is more to come, and this goes on as long as it does */
			etag_hint(b->os, b->id);
		if (rc == 0)
			b->failed.code = 0;
		pthread_cond_broadcast(&b->changed);
	}
	if (rc < 0)
		b->failed = *e;
	b->working = false;
	pthread_cond_broadcast(&b->changed);
	return rc;
}

/* ---- workers: while a writer goes on, what is full becomes chunks on another core */

static void *worker(void *arg)
{
	struct bodies *bs = arg;
	struct err e;

	pthread_mutex_lock(&bs->work_lock);
	for (;;) {
		while (bs->head == bs->tail && !bs->stop)
			pthread_cond_wait(&bs->work, &bs->work_lock);
		if (bs->head == bs->tail)
			break;
		struct body *b = bs->queue[bs->head++ % ARRAY_LEN(bs->queue)];
		pthread_mutex_unlock(&bs->work_lock);
		pthread_mutex_lock(&b->lock);
		b->queued = false;
		body_flush(b, false, false, &e);
		pthread_mutex_unlock(&b->lock);
		body_put(b);
		pthread_mutex_lock(&bs->work_lock);
	}
	pthread_mutex_unlock(&bs->work_lock);
	return NULL;
}

void body_work(struct body *b)
{
	struct bodies *bs = b->os->bodies;
	bool put = false;

	if (b->queued || b->working)
		return;
	pthread_mutex_lock(&bs->work_lock);
	if (bs->n_threads && bs->tail - bs->head < ARRAY_LEN(bs->queue) && !bs->stop) {
		bs->queue[bs->tail++ % ARRAY_LEN(bs->queue)] = b;
		b->queued = put = true;
		pthread_cond_signal(&bs->work);
	}
	pthread_mutex_unlock(&bs->work_lock);
	if (put) {
		pthread_mutex_lock(&bs->lock);
		b->refs++;
		pthread_mutex_unlock(&bs->lock);
	}
}

int bodies_open(struct objects *os, struct err *e)
{
	struct bodies *bs = calloc(1, sizeof *bs);

	if (!bs)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&bs->lock, NULL);
	pthread_mutex_init(&bs->work_lock, NULL);
	pthread_cond_init(&bs->work, NULL);
	for (; bs->n_threads < ARRAY_LEN(bs->threads); bs->n_threads++)
		if (pthread_create(&bs->threads[bs->n_threads], NULL, worker, bs) != 0)
			break;
	os->bodies = bs;
	return 0;
}
