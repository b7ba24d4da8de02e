/* Chunks: each stored once.  A chunk is known by the XXH3-128 of its bytes, seeded by the store; that hash is fast and proves nothing, so what is
 * there already is compared byte by byte before it is shared.  If it differs, the stored copy is verified: a bad one is healed by the
 * good bytes, a good one is another chunk with the same hash.
 *
 * What was appended and has no row in the index yet is pending: known here only, by hash and by number. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "../base/log.h"

#define TABLE 16384		/* slots of the tables of what is pending; chains are short */
#define PLACES 16384		/* of chunks in the index, remembered */
#define AHEAD 32
#define CACHE 32		/* chunks read last, as plain bytes */
#define LOOSE_MAX 8192		/* pending ones that nothing refers to yet: beyond it they get rows */
#define SAMPLE 4096		/* bytes that are tried before a large chunk is compressed */

uint64_t chunks_hash_mask = ~UINT64_C(0);

struct pending {
	struct where w;
	uint64_t no;
	unsigned char *data;		/* its stored bytes, when it goes into the index itself */
	unsigned char sha[DIGEST];
	bool has_sha;
	bool moved;			/* it has a row, which is to say its new place */
	bool in_tx, lost;		/* that is written, but not committed; it gets none */
	struct pending *by_id, *by_hash, *next;
};

struct cached {
	int64_t id;
	uint32_t len;
	unsigned users;
	uint64_t used;
	unsigned char *data;
};

struct chunks {
	pthread_rwlock_t storing;	/* held for reading from the append to a pack until it is pending */
	pthread_mutex_t lock;
	struct pending *by_id[TABLE], *by_hash[TABLE], *first, **last;
	size_t n_pending;
	uint64_t no;			/* of the last one appended */
	struct where places[PLACES];
	struct cached cache[CACHE];
	uint64_t tick;
};

int chunks_open(struct objects *os, struct err *e)
{
	os->chunks = calloc(1, sizeof *os->chunks);
	if (!os->chunks)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&os->chunks->lock, NULL);
	pthread_rwlock_init(&os->chunks->storing, NULL);
	os->chunks->last = &os->chunks->first;
	return 0;
}

void chunks_close(struct objects *os)
{
	struct chunks *cs = os->chunks;

	if (!cs)
		return;
	for (struct pending *p = cs->first, *next; p; p = next) {
		next = p->next;
		free(p->data);
		free(p);
	}
	for (size_t i = 0; i < CACHE; i++)
		free(cs->cache[i].data);
	free(cs);
	os->chunks = NULL;
}

/* ---- where they are */

static struct pending *pending_by_id(struct chunks *cs, int64_t id)
{
	struct pending *p = cs->by_id[id & (TABLE - 1)];

	while (p && p->w.id != id)
		p = p->by_id;
	return p;
}

/* The lock is held. */
static bool known_where(struct chunks *cs, int64_t id, struct where *ret)
{
	const struct pending *p = pending_by_id(cs, id);
	const struct where *place = &cs->places[id & (PLACES - 1)];

	if (p)
		*ret = p->w;
	else if (place->id == id)
		*ret = *place;
	else
		return false;
	return true;
}

#define WHERE_COLUMNS "id, h, h2, len, pack, at, stored, bad"
static void read_where(struct stmt *s, struct where *w)
{
	*w = (struct where){ stmt_col_int(s, 0), stmt_col_int(s, 1), stmt_col_int(s, 2), (uint32_t)stmt_col_int(s, 3), stmt_col_int(s, 4),
		stmt_col_int(s, 5), (uint32_t)stmt_col_int(s, 6), stmt_col_int(s, 7) != 0 };
}

/* The index is begun. */
static int row_where(struct objects *os, int64_t id, struct where *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT " WHERE_COLUMNS " FROM chunk WHERE id = $1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, EBADMSG, "chunk %ld is missing", (long)id);
	read_where(&s, ret);
	pthread_mutex_lock(&os->chunks->lock);
	os->chunks->places[id & (PLACES - 1)] = *ret;
	pthread_mutex_unlock(&os->chunks->lock);
	return 0;
}

/* What was written in order has numbers in order: who reads on will ask for the next ones. */
static void rows_ahead(struct objects *os, int64_t id)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT " WHERE_COLUMNS " FROM chunk WHERE id > $1 AND id <= $2");
	struct err e;

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, id + AHEAD);
	pthread_mutex_lock(&os->chunks->lock);
	while (stmt_step(&s, &e) > 0) {
		struct where w;

		read_where(&s, &w);
		os->chunks->places[w.id & (PLACES - 1)] = w;
	}
	pthread_mutex_unlock(&os->chunks->lock);
}

int chunks_where(struct objects *os, int64_t id, struct where *ret, struct err *e)
{
	struct chunks *cs = os->chunks;

	pthread_mutex_lock(&cs->lock);
	bool known = known_where(cs, id, ret), on = cs->places[(id - 1) & (PLACES - 1)].id == id - 1;
	pthread_mutex_unlock(&cs->lock);
	if (known)
		return 0;
	if (!index_enter(os, e))
		return -e->code;
	int rc = row_where(os, id, ret, e);
	if (rc == 0 && on)
		rows_ahead(os, id);
	index_end(os, false);
	return rc;
}

int chunks_row(struct objects *os, int64_t id, struct where *ret)
{
	return row_where(os, id, ret, &(struct err){ 0 });
}

int chunks_known(struct objects *os, int64_t id, struct where *ret, struct err *e)
{
	pthread_mutex_lock(&os->chunks->lock);
	bool known = known_where(os->chunks, id, ret);
	pthread_mutex_unlock(&os->chunks->lock);
	if (known)
		return 1;
	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "SELECT " WHERE_COLUMNS " FROM chunk WHERE id = $1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc > 0)
		read_where(&s, ret);
	stmt_done(&s);
	index_end(os, false);
	return rc;
}

bool chunk_is_whole(struct objects *os, int64_t id, uint64_t size)
{
	struct where w = { 0 };
	struct err e;

	pthread_mutex_lock(&os->chunks->lock);
	bool known = known_where(os->chunks, id, &w);
	pthread_mutex_unlock(&os->chunks->lock);
	return (known || row_where(os, id, &w, &e) == 0) && w.len == size;
}

void chunks_moved(struct objects *os, int64_t id)
{
	pthread_mutex_lock(&os->chunks->lock);
	if (os->chunks->places[id & (PLACES - 1)].id == id)
		os->chunks->places[id & (PLACES - 1)].id = 0;
	pthread_mutex_unlock(&os->chunks->lock);
}

/* ---- reading */

static XXH128_hash_t hash_of(struct objects *os, const void *data, size_t len)
{
	XXH128_hash_t h = XXH3_128bits_withSeed(data, len, os->seed);

	h.high64 &= chunks_hash_mask;
	h.low64 &= chunks_hash_mask;
	return h;
}

static int read_fresh(struct objects *os, const struct where *w, void *buf, struct err *e)
{
	pthread_mutex_lock(&os->chunks->lock);
	const struct pending *p = pending_by_id(os->chunks, w->id);
	bool here = p && p->data && p->w.stored == w->stored;
	if (here)
		memcpy(buf, p->data, w->stored);
	pthread_mutex_unlock(&os->chunks->lock);
	if (here)
		return 0;
	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "SELECT data FROM fresh WHERE id = $1");
	size_t len = 0;

	stmt_int(&s, 1, w->id);
	int rc = stmt_step(&s, e);
	const void *data = rc > 0 ? stmt_col_blob(&s, 0, &len) : NULL;
	if (rc >= 0 && len != w->stored)
		rc = rc ? err_set(e, EBADMSG, "chunk %ld is damaged", (long)w->id) : -EAGAIN;	/* it was packed just now */
	if (rc > 0) {
		memcpy(buf, data, len);
		rc = 0;
	}
	stmt_done(&s);
	index_end(os, false);
	return rc;
}

static int read_stored(struct objects *os, const struct where *w, void *buf, struct err *e)
{
	return w->pack ? packs_read(os->packs, w, buf, e) : read_fresh(os, w, buf, e);
}

/* A context for each thread: to make one costs more than to unpack a chunk. */
static int unpack(const struct where *w, const void *stored, void *buf, struct err *e)
{
	static __thread ZSTD_DCtx *ctx;

	if (!ctx && !(ctx = ZSTD_createDCtx()))
		return err_set(e, ENOMEM, "%m");
	size_t n = ZSTD_decompressDCtx(ctx, buf, w->len, stored, w->stored);

	return ZSTD_isError(n) || n != w->len ? err_set(e, EBADMSG, "chunk %ld is damaged", (long)w->id) : 0;
}

static int load(struct objects *os, const struct where *w, void *buf, bool verify, struct err *e)
{
	int rc;

	if (w->stored == w->len) {
		rc = read_stored(os, w, buf, e);
	} else {
		AUTO(free) void *stored = malloc(w->stored);

		if (!stored)
			return err_set(e, ENOMEM, "%m");
		rc = read_stored(os, w, stored, e);
		if (rc == 0)
			rc = unpack(w, stored, buf, e);
	}
	if (rc < 0 || !verify)
		return rc;
	XXH128_hash_t h = hash_of(os, buf, w->len);
	if ((int64_t)h.high64 != w->h || (int64_t)h.low64 != w->h2)
		return err_set(e, EBADMSG, "chunk %ld in pack %ld at %ld is damaged", (long)w->id, (long)w->pack, (long)w->at);
	return 0;
}

int chunk_load(struct objects *os, const struct where *w, void *buf, struct err *e)
{
	return load(os, w, buf, true, e);
}

bool chunk_proves(struct objects *os, const struct where *w, const void *stored, void *buf)
{
	struct err e;

	if (w->stored == w->len)
		memcpy(buf, stored, w->len);
	else if (unpack(w, stored, buf, &e) < 0)
		return false;
	XXH128_hash_t h = hash_of(os, buf, w->len);
	return (int64_t)h.high64 == w->h && (int64_t)h.low64 == w->h2;
}

/* It is never shared again until good bytes come, or it is found good after all. */
static void mark_bad(struct objects *os, const struct where *w, bool bad)
{
	struct err e;

	chunks_moved(os, w->id);
	if (!index_enter(os, &e))
		return;
	struct stmt s = stmt_prepare(os->db, "UPDATE chunk SET bad = $4 WHERE id = $1 AND pack = $2 AND at = $3");

	stmt_int(&s, 1, w->id);
	stmt_int(&s, 2, w->pack);
	stmt_int(&s, 3, w->at);
	stmt_int(&s, 4, bad);
	stmt_run(&s, &e);
	stmt_done(&s);
	index_end(os, true);
}

/* Reads a chunk wherever it is; it may be on its way from one place to another. */
static int fetch(struct objects *os, int64_t id, struct where *w, void *buf, uint32_t size, struct err *e)
{
	int rc = 0;

	for (int tries = 0; tries < 3; tries++) {
		rc = chunks_where(os, id, w, e);
		if (rc < 0)
			return rc;
		if (w->len != size)
			return err_set(e, EBADMSG, "chunk %ld has another length than was recorded", (long)id);
		rc = load(os, w, buf, true, e);
		if (rc == 0 && w->bad)
			mark_bad(os, w, false);
		if (rc == 0)
			return 0;
		if (rc == -EBADMSG && tries == 0)	/* perhaps it is a cache that is wrong */
			placed_doubt(os->placed, w->pack);
		else if (rc != -EBADMSG && packs_far(os->packs, w->pack))
			break;			/* that was tried often enough */
		chunks_moved(os, id);	/* asked for again */
	}
	if (rc == -EBADMSG && !w->bad)
		mark_bad(os, w, true);
	return rc == -EAGAIN ? err_set(e, EBADMSG, "chunk %ld is missing", (long)id) : rc;
}

static struct cached *cache_get(struct chunks *cs, int64_t id)
{
	for (size_t i = 0; i < CACHE; i++)
		if (cs->cache[i].id == id) {
			cs->cache[i].users++;
			cs->cache[i].used = ++cs->tick;
			return &cs->cache[i];
		}
	return NULL;
}

/* Takes data over, unless all places are in use. */
static bool cache_put(struct chunks *cs, int64_t id, unsigned char *data, uint32_t len)
{
	struct cached *old = NULL;

	for (size_t i = 0; i < CACHE; i++)
		if (!cs->cache[i].users && (!old || cs->cache[i].used < old->used))
			old = &cs->cache[i];
	if (!old)
		return false;
	free(old->data);
	*old = (struct cached){ .id = id, .len = len, .used = ++cs->tick, .data = data };
	return true;
}

int chunks_get(struct objects *os, int64_t id, uint32_t off, uint32_t len, void *buf, struct err *e)
{
	struct chunks *cs = os->chunks;
	struct where w;

	pthread_mutex_lock(&cs->lock);
	struct cached *c = cache_get(cs, id);
	pthread_mutex_unlock(&cs->lock);
	if (c) {
		bool fits = off + len <= c->len;

		if (fits)
			memcpy(buf, c->data + off, len);
		pthread_mutex_lock(&cs->lock);
		c->users--;
		pthread_mutex_unlock(&cs->lock);
		return fits ? 0 : err_set(e, EBADMSG, "chunk %ld is shorter than was recorded", (long)id);
	}
	if (chunks_where(os, id, &w, e) < 0)
		return -e->code;
	if ((uint64_t)off + len > w.len)
		return err_set(e, EBADMSG, "chunk %ld is shorter than was recorded", (long)id);
	if (off == 0 && len == w.len)
		return fetch(os, id, &w, buf, len, e);
	AUTO(free) unsigned char *data = malloc(w.len);
	if (!data)
		return err_set(e, ENOMEM, "%m");
	int rc = fetch(os, id, &w, data, w.len, e);
	if (rc < 0)
		return rc;
	memcpy(buf, data + off, len);
	pthread_mutex_lock(&cs->lock);
	if (cache_put(cs, id, data, w.len))
		data = NULL;
	pthread_mutex_unlock(&cs->lock);
	return 0;
}

/* ---- storing */

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
		p->hash = hash_of(a->os, d, len);
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

		if (row_where(os, ids[i], &w, &(struct err){ 0 }) == 0 && w.h == h && w.h2 == h2 && w.len == p->piece->len && !was_found(p, w.id)) {
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
		int rc = w->bad ? -EBADMSG : load(a->os, w, buf, false, &e);

		for (int again = 0; rc == -EAGAIN && again < 3; again++)	/* it was packed meanwhile */
			rc = chunks_where(a->os, w->id, w, &e) < 0 ? -EBADMSG : load(a->os, w, buf, false, &e);
		if (rc == 0 && memcmp(buf, p->piece->data, w->len) == 0) {
			p->piece->id = w->id;
			p->old = true;
			return;
		}
		XXH128_hash_t h = rc == 0 ? hash_of(a->os, buf, w->len) : (XXH128_hash_t){ 0, 0 };
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

/* ---- recording */

uint64_t chunks_mark(struct objects *os)
{
	pthread_mutex_lock(&os->chunks->lock);
	uint64_t no = os->chunks->no;
	pthread_mutex_unlock(&os->chunks->lock);
	return no;
}

static int insert_chunk(struct objects *os, const struct pending *p, int64_t refs, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "INSERT INTO chunk (id, h, h2, len, pack, at, stored, refs) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");

	stmt_int(&s, 1, p->w.id);
	stmt_int(&s, 2, p->w.h);
	stmt_int(&s, 3, p->w.h2);
	stmt_int(&s, 4, p->w.len);
	stmt_int(&s, 5, p->w.pack);
	stmt_int(&s, 6, p->w.at);
	stmt_int(&s, 7, p->w.stored);
	stmt_int(&s, 8, refs);
	if (stmt_run(&s, e) < 0 || hash_add(os, p->w.h, p->w.id, e) < 0 || (p->has_sha && digest_put(os, p->w.id, p->sha, e) < 0))
		return -e->code;
	if (!p->data)
		return 0;
	AUTO(stmt_done) struct stmt f = stmt_prepare(os->db, "INSERT INTO fresh (id, data) VALUES ($1, $2)");

	stmt_int(&f, 1, p->w.id);
	stmt_blob_borrow(&f, 2, p->data, p->w.stored);
	return stmt_run(&f, e);
}

int pack_count(struct objects *os, int64_t pack, int64_t size, int64_t live, struct err *e)
{
	return pack ? INDEX_RUN(os, e, "INSERT INTO pack (id, size, live) VALUES ($1, $2, max(0, $3)) ON CONFLICT (id) DO UPDATE SET size = size + $2, "
				"live = max(0, live + $3)", pack, size, live) : 0;
}

/* What it was in has so much less that lives; where it is now is counted by who appended it. */
static int update_place(struct objects *os, const struct where *w, struct err *e)
{
	struct where was;
	int rc = row_where(os, w->id, &was, e);

	if (rc == 0)
		rc = pack_count(os, was.pack, 0, -record_size(was.stored), e);
	if (rc == 0)
		rc = INDEX_RUN(os, e, "UPDATE chunk SET pack = $1, at = $2, stored = $3, bad = 0 WHERE id = $4", w->pack, w->at, w->stored, w->id);
	if (rc == 0 && !was.pack)
		rc = INDEX_RUN(os, e, "DELETE FROM fresh WHERE id = $1", w->id);
	return rc;
}

int chunks_place(struct objects *os, const struct where *w, struct err *e)
{
	if (!index_enter(os, e))
		return -e->code;
	int rc = update_place(os, w, e);
	if (rc == 0)
		rc = pack_count(os, w->pack, record_size(w->stored), record_size(w->stored), e);
	index_end(os, true);
	chunks_moved(os, w->id);
	return rc;
}

int chunks_record(struct objects *os, const struct ref_list *refs, uint64_t upto, struct err *e)
{
	struct chunks *cs = os->chunks;
	int64_t pack = 0, bytes = 0, live = 0;
	int rc = 0;

	/* only commits take anything out, and there is one at a time: the list may be walked without the lock up to what was there at the mark */
	pthread_mutex_lock(&cs->lock);
	bool loose = cs->n_pending > LOOSE_MAX;
	struct pending *p = cs->first;
	pthread_mutex_unlock(&cs->lock);
	for (; rc == 0 && p && p->no <= upto; p = p->next) {
		int64_t n = refs_count(refs, p->w.id);

		/* what nobody uses any more (it was removed before it was cut) gets no row */
		bool lost = !p->moved && !n && !is_pinned(os, p->w.id);
		if (!p->moved && !n && !loose && !lost)
			continue;
		if (!lost)
			rc = p->moved ? update_place(os, &p->w, e) : insert_chunk(os, p, n, e);
		if (rc == 0 && p->w.pack != pack) {
			rc = pack_count(os, pack, bytes, live, e);
			pack = p->w.pack;
			bytes = live = 0;
		}
		bytes += record_size(p->w.stored);
		live += lost ? 0 : record_size(p->w.stored);
		p->in_tx = true;
		p->lost = lost;
	}
	if (rc == 0)
		rc = pack_count(os, pack, bytes, live, e);
	for (size_t i = 0, n; rc == 0 && i < refs->n; i += n) {
		for (n = 1; i + n < refs->n && refs->v[i + n] == refs->v[i]; n++)
			;
		if (refs->v[i] < 0)
			continue;
		pthread_mutex_lock(&cs->lock);
		const struct pending *q = pending_by_id(cs, refs->v[i]);
		while (q && (q->w.id != refs->v[i] || q->moved))	/* one that is healed before it has a row is there twice */
			q = q->by_id;
		bool counted = q && q->in_tx;
		pthread_mutex_unlock(&cs->lock);
		if (counted)
			continue;
		AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "UPDATE chunk SET refs = refs + $1 WHERE id = $2");

		stmt_int(&s, 1, (int64_t)n);
		stmt_int(&s, 2, refs->v[i]);
		rc = stmt_run(&s, e);
		if (rc == 0 && db_changes(os->db) != 1)
			rc = err_set(e, EIO, "chunk %ld has no row", (long)refs->v[i]);
	}
	return rc;
}

static void unlink_pending(struct pending **chain, struct pending *p, bool by_id)
{
	while (*chain && *chain != p)
		chain = by_id ? &(*chain)->by_id : &(*chain)->by_hash;
	if (*chain)
		*chain = by_id ? p->by_id : p->by_hash;
}

void chunks_recorded(struct objects *os, bool committed)
{
	struct chunks *cs = os->chunks;

	pthread_mutex_lock(&cs->lock);
	for (struct pending **at = &cs->first, *p; (p = *at); ) {
		if (!p->in_tx || !committed) {
			p->in_tx = false;
			at = &p->next;
			continue;
		}
		*at = p->next;
		unlink_pending(&cs->by_id[p->w.id & (TABLE - 1)], p, true);
		unlink_pending(&cs->by_hash[p->w.h & (TABLE - 1)], p, false);
		if (!p->lost)
			cs->places[p->w.id & (PLACES - 1)] = p->w;
		cs->n_pending--;
		free(p->data);
		free(p);
	}
	cs->last = &cs->first;
	while (*cs->last)
		cs->last = &(*cs->last)->next;
	pthread_mutex_unlock(&cs->lock);
}
