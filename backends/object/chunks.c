/* Chunks: each stored once.  A chunk is known by the XXH3-128 of its bytes, seeded by the store; that hash is fast and proves nothing, so what is
 * there already is compared byte by byte before it is shared.  If it differs, the stored copy is verified: a bad one is healed by the
 * good bytes, a good one is another chunk with the same hash.
 *
 * What was appended and has no row in the index yet is pending: known here only, by hash and by number. */
#include "chunk_parts.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#include "../base/log.h"

#define AHEAD 32

uint64_t chunks_hash_mask = ~UINT64_C(0);

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
		pending_free(p);
	}
	for (size_t i = 0; i < CACHE; i++)
		free(cs->cache[i].data);
	free(cs);
	os->chunks = NULL;
}

/* ---- where they are */

struct pending *pending_by_id(struct chunks *cs, int64_t id)
{
	struct pending *p = cs->by_id[id & (TABLE - 1)];

	while (p && p->w.id != id)
		p = p->by_id;
	return p;
}

void pending_free(struct pending *p)
{
	free(p->data);
	free(p);
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

void where_read(struct stmt *s, struct where *w)
{
	*w = (struct where){ stmt_col_int(s, 0), stmt_col_int(s, 1), stmt_col_int(s, 2), (uint32_t)stmt_col_int(s, 3), stmt_col_int(s, 4),
		stmt_col_int(s, 5), (uint32_t)stmt_col_int(s, 6), stmt_col_int(s, 7) != 0 };
}

int where_row(struct objects *os, int64_t id, struct where *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT " WHERE_COLUMNS " FROM chunk WHERE id = $1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, EBADMSG, "chunk %ld is missing", (long)id);
	where_read(&s, ret);
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

		where_read(&s, &w);
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
	int rc = where_row(os, id, ret, e);
	if (rc == 0 && on)
		rows_ahead(os, id);
	index_end(os, false);
	return rc;
}

int chunks_row(struct objects *os, int64_t id, struct where *ret)
{
	return where_row(os, id, ret, &(struct err){ 0 });
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
		where_read(&s, ret);
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
	return (known || where_row(os, id, &w, &e) == 0) && w.len == size;
}

void chunks_moved(struct objects *os, int64_t id)
{
	pthread_mutex_lock(&os->chunks->lock);
	if (os->chunks->places[id & (PLACES - 1)].id == id)
		os->chunks->places[id & (PLACES - 1)].id = 0;
	pthread_mutex_unlock(&os->chunks->lock);
}

/* ---- reading */

XXH128_hash_t chunk_hash(struct objects *os, const void *data, size_t len)
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

int chunk_read(struct objects *os, const struct where *w, void *buf, bool verify, struct err *e)
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
	XXH128_hash_t h = chunk_hash(os, buf, w->len);
	if ((int64_t)h.high64 != w->h || (int64_t)h.low64 != w->h2)
		return err_set(e, EBADMSG, "chunk %ld in pack %ld at %ld is damaged", (long)w->id, (long)w->pack, (long)w->at);
	return 0;
}

int chunk_load(struct objects *os, const struct where *w, void *buf, struct err *e)
{
	return chunk_read(os, w, buf, true, e);
}

bool chunk_proves(struct objects *os, const struct where *w, const void *stored, void *buf)
{
	struct err e;

	if (w->stored == w->len)
		memcpy(buf, stored, w->len);
	else if (unpack(w, stored, buf, &e) < 0)
		return false;
	XXH128_hash_t h = chunk_hash(os, buf, w->len);
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
		rc = chunk_read(os, w, buf, true, e);
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
