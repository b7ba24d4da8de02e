/* Storing: pieces are hashed, sought, compared, compressed and appended, each step for all of them, with the crew's help. */
#include "chunk_parts.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define SAMPLE 4096		/* bytes that are tried before a large chunk is compressed */

struct put {			/* a piece on its way */
	struct piece *piece;
	XXH128_hash_t hash;
	struct where found[4];	/* candidates with that hash */
	unsigned char theirs[4][DIGEST];	/* of those whose packs are far */
	bool far[4], known[4];		/* is it; is its digest known */
	unsigned char sha[DIGEST];	/* of its bytes */
	bool has_sha;
	unsigned n_found;
	int twin;		/* an earlier piece of the same bytes; -1: none */
	int64_t heal;		/* the candidate whose stored bytes are bad */
	unsigned char *packed;
	uint32_t stored;
	bool zero, old;
};
struct puts {
	struct objects *os;
	struct put *v;
	bool compress;
};

static void put_hash(void *arg, size_t i)
{
	struct puts *a = arg;
	struct put *p = &a->v[i];
	const unsigned char *d = p->piece->data;
	uint32_t len = p->piece->len;

	p->zero = !d[0] && !d[len - 1] && (len == 1 || memcmp(d, d + 1, len - 1) == 0);
	if (!p->zero)
		p->hash = chunk_hash(a->os, d, len);
}

static bool was_found(const struct put *p, int64_t id)
{
	for (unsigned i = 0; i < p->n_found; i++)
		if (p->found[i].id == id)
			return true;
	return false;
}

/* The index is begun.  Candidates are pinned, so that none goes while it is compared. */
static int put_seek(struct objects *os, struct pins **pins, struct put *p, struct err *e)
{
	struct chunks *cs = os->chunks;
	int64_t h = (int64_t)p->hash.high64, h2 = (int64_t)p->hash.low64;

	pthread_mutex_lock(&cs->lock);
	for (const struct pending *q = cs->by_hash[h & (TABLE - 1)]; q && p->n_found < ARRAY_LEN(p->found); q = q->by_hash)
		if (!q->moved && q->w.h == h && q->w.h2 == h2 && q->w.len == p->piece->len)
			p->found[p->n_found++] = q->w;
	pthread_mutex_unlock(&cs->lock);
	int64_t ids[16];
	int n = hash_find(os, h, ids, ARRAY_LEN(ids), e), rc = n;

	for (int i = 0; i < n && p->n_found < ARRAY_LEN(p->found); i++) {
		struct where w;

		if (where_row(os, ids[i], &w, &(struct err){ 0 }) == 0 && w.h == h && w.h2 == h2 && w.len == p->piece->len && !was_found(p, w.id)) {
			pthread_mutex_lock(&cs->lock);
			const struct pending *q = pending_by_id(cs, w.id);	/* it is being healed */
			p->found[p->n_found++] = q ? q->w : w;
			pthread_mutex_unlock(&cs->lock);
		}
	}
	for (unsigned i = 0; rc >= 0 && i < p->n_found; i++) {
		p->far[i] = packs_far(os->packs, p->found[i].pack);
		p->known[i] = p->far[i] && digest_get(os, p->found[i].id, p->theirs[i]);
		rc = pin(os, pins, p->found[i].id, e);
	}
	return rc < 0 ? rc : 0;
}

static bool put_digest(struct put *p)
{
	return p->has_sha || (p->has_sha = digest_of(p->piece->data, p->piece->len, p->sha));
}

/* One that is far is not got for this where its digest is known. */
static bool same_digest(struct put *p, unsigned i)
{
	return !p->found[i].bad && p->known[i] && put_digest(p) && memcmp(p->sha, p->theirs[i], DIGEST) == 0;
}

/* Is one of the candidates what is to be stored? */
static void put_compare(void *arg, size_t n)
{
	struct puts *a = arg;
	struct put *p = &a->v[n];
	AUTO(free) unsigned char *buf = p->n_found ? malloc(p->piece->len) : NULL;
	struct err e;

	for (unsigned i = 0; buf && i < p->n_found; i++) {
		struct where *w = &p->found[i];

		if (same_digest(p, i)) {
			p->piece->id = w->id;
			p->old = true;
			return;
		}
		if (!w->bad && p->far[i] && (p->known[i] || placed_away(a->os->placed)))
			continue;
		int rc = w->bad ? -EBADMSG : chunk_read(a->os, w, buf, false, &e);

		for (int again = 0; rc == -EAGAIN && again < 3; again++)	/* it was packed meanwhile */
			rc = chunks_where(a->os, w->id, w, &e) < 0 ? -EBADMSG : chunk_read(a->os, w, buf, false, &e);
		if (rc == 0 && memcmp(buf, p->piece->data, w->len) == 0) {
			p->piece->id = w->id;
			p->old = true;
			return;
		}
		XXH128_hash_t h = rc == 0 ? chunk_hash(a->os, buf, w->len) : (XXH128_hash_t){ 0, 0 };
		/* a copy that cannot be read is a bad one; what failed otherwise is not judged */
		if (rc == -EBADMSG || (rc == 0 && ((int64_t)h.high64 != w->h || (int64_t)h.low64 != w->h2)))
			p->heal = w->id;
	}
}

/* Bytes that do not give way are found out by their beginning. */
static void put_compress(void *arg, size_t i)
{
	static __thread ZSTD_CCtx *ctx;
	struct puts *a = arg;
	struct put *p = &a->v[i];
	const unsigned char *d = p->piece->data;
	uint32_t len = p->piece->len;
	unsigned char probe[SAMPLE + 512];

	p->stored = len;
	if (placed_remote(a->os->placed) && !p->zero && !p->old && p->twin < 0)
		put_digest(p);
	if (p->zero || p->old || p->twin >= 0 || !a->compress || len < 128 || (!ctx && !(ctx = ZSTD_createCCtx())))
		return;
	if (len >= SAMPLE * 4) {
		size_t n = ZSTD_compressCCtx(ctx, probe, sizeof probe, d + len / 2, SAMPLE, 1);

		if (ZSTD_isError(n) || n > SAMPLE * 15 / 16)
			return;
	}
	unsigned char *packed = malloc(len);
	if (!packed)
		return;
	size_t n = ZSTD_compressCCtx(ctx, packed, len - len / 16, d, len, 1);
	if (ZSTD_isError(n)) {	/* it saves less than a sixteenth */
		free(packed);
		return;
	}
	p->packed = packed;
	p->stored = (uint32_t)n;
}

static void add_pending(struct chunks *cs, struct pending *p)
{
	struct pending **id = &cs->by_id[p->w.id & (TABLE - 1)], **h = &cs->by_hash[p->w.h & (TABLE - 1)];

	p->by_id = *id;
	*id = p;
	p->by_hash = *h;
	*h = p;
	*cs->last = p;
	cs->last = &p->next;
	cs->n_pending++;
}

/* Those that are new, into packs or, small and urgent, into what the next commit writes. */
static int put_new(struct objects *os, struct put *v, size_t n, bool soon, struct err *e)
{
	AUTO(free) struct record *rec = calloc(n, sizeof *rec);
	AUTO(free) struct put **of = calloc(n, sizeof *of);
	struct chunks *cs = os->chunks;
	size_t k = 0;
	int rc = 0;

	if (!rec || !of)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++) {
		struct put *p = &v[i];

		if (p->zero || p->old || p->twin >= 0)
			continue;
		rec[k].w = (struct where){ .id = p->piece->id, .h = (int64_t)p->hash.high64, .h2 = (int64_t)p->hash.low64, .len = p->piece->len,
			.stored = p->stored };
		rec[k].data = p->packed ? p->packed : p->piece->data;
		of[k++] = p;
	}
	if (!k)
		return 0;
	bool fresh = soon && k <= 4;
	for (size_t i = 0; i < k; i++)
		fresh &= rec[i].w.stored <= FRESH_MAX && !of[i]->heal;
	if (!fresh)
		rc = packs_append(os->packs, rec, k, e);
	for (size_t i = 0; i < k; i++)
		atomic_fetch_sub(&os->room, record_size(rec[i].w.stored));
	for (size_t i = 0; rc == 0 && i < k; i++) {
		struct pending *p = calloc(1, sizeof *p);

		if (p)
			*p = (struct pending){ .w = rec[i].w, .moved = of[i]->heal != 0 };
		if (p && (p->has_sha = of[i]->has_sha))
			memcpy(p->sha, of[i]->sha, DIGEST);
		if (p && fresh && (p->data = malloc(rec[i].w.stored)))
			memcpy(p->data, rec[i].data, rec[i].w.stored);
		if (!p || (fresh && !p->data)) {
			free(p);
			return err_set(e, ENOMEM, "%m");
		}
		pthread_mutex_lock(&cs->lock);
		p->no = ++cs->no;
		add_pending(cs, p);
		pthread_mutex_unlock(&cs->lock);
	}
	return rc;
}

void chunks_storing(struct objects *os, bool begin)
{
	begin ? pthread_rwlock_rdlock(&os->chunks->storing) : pthread_rwlock_unlock(&os->chunks->storing);
}

bool chunks_pending_in(struct objects *os, int64_t pack)
{
	struct chunks *cs = os->chunks;
	bool any = false;

	/* those who are between the pack and the list have passed */
	pthread_rwlock_wrlock(&cs->storing);
	pthread_rwlock_unlock(&cs->storing);
	pthread_mutex_lock(&cs->lock);
	for (const struct pending *p = cs->first; p && !any; p = p->next)
		any = p->w.pack == pack;
	pthread_mutex_unlock(&cs->lock);
	return any;
}

static int put_all(struct objects *os, struct pins **pins, struct put *v, size_t n, bool compress, bool soon, struct err *e)
{
	struct puts a = { os, v, compress };
	bool seen = false;
	int rc = 0;

	crew_run(put_hash, &a, n);
	if (!index_enter(os, e))
		return -e->code;
	for (size_t i = 0; rc == 0 && i < n; i++) {
		for (size_t j = 0; j < i && !v[i].zero && v[i].twin < 0; j++)
			if (!v[j].zero && v[j].twin < 0 && v[i].piece->len == v[j].piece->len && XXH128_isEqual(v[i].hash, v[j].hash) &&
			    memcmp(v[i].piece->data, v[j].piece->data, v[i].piece->len) == 0)
				v[i].twin = (int)j;
		if (!v[i].zero && v[i].twin < 0)
			rc = put_seek(os, pins, &v[i], e);
		seen |= v[i].n_found > 0;
	}
	index_end(os, true);
	if (rc < 0)
		return rc;
	if (seen)
		crew_run(put_compare, &a, n);
	if (!index_enter(os, e))
		return -e->code;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (!v[i].zero && !v[i].old && v[i].twin < 0) {
			v[i].piece->id = v[i].heal ? v[i].heal : index_id(os);
			rc = pin(os, pins, v[i].piece->id, e);
		}
	index_end(os, true);
	if (rc < 0)
		return rc;
	crew_run(put_compress, &a, n);
	pthread_rwlock_rdlock(&os->chunks->storing);
	rc = put_new(os, v, n, soon, e);
	pthread_rwlock_unlock(&os->chunks->storing);
	for (size_t i = 0; i < n; i++)
		if (v[i].zero)
			v[i].piece->id = 0;
		else if (v[i].twin >= 0)
			v[i].piece->id = v[v[i].twin].piece->id;
	return rc;
}

int chunks_put(struct objects *os, struct pins **pins, struct piece *pieces, size_t n, bool compress, bool soon, struct err *e)
{
	struct put some[4], *v = n <= ARRAY_LEN(some) ? some : malloc(n * sizeof *v);

	if (!v)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++)
		v[i] = (struct put){ .piece = &pieces[i], .twin = -1 };
	int rc = put_all(os, pins, v, n, compress, soon, e);
	for (size_t i = 0; i < n; i++)
		free(v[i].packed);
	if (v != some)
		free(v);
	return rc;
}
