/* Which chunks have a hash.  Hashes come in no order, and an index of millions of them would have a page of its own changed for every chunk that is
 * stored.  So those of the newest chunks are kept in memory, and brought into the table `hash` by hundreds of thousands, in the table's order,
 * when there is time.  `meta` says `hashed`: chunks with smaller numbers have their row there, of the others some may; at start they are read
 * from their own rows.  What is found is a number to look at: a chunk that is gone is found for a while.
 *
 * Most of what is stored is new, and to find that out in a large table costs a page of it each time.  A filter in memory (a Bloom filter in blocks
 * of a word, ten bits a row; Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient Bloom Filters, 2007) says so first.  It is filled after
 * the start, some rows at a time.
 *
 * All of it is used with the index begun, but for hashes_look. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECENT_MAX 196608	/* in memory (4 MiB), before they are merged */
#define RECENT_IDLE 49152	/* ... while nothing else happens */
#define FIRST_SLOTS 4096
#define FILTER_FROM 65536	/* rows for which a filter is worth it */
#define ROW_BYTES 64		/* of index.db, at the least, for a chunk: so many rows there are at most */
#define TURN 1024		/* rows in one hold of the index's lock ... */
#define PAUSE_US 1000		/* ... which others have then */

struct slot {
	int64_t h, id;		/* id 0: free */
};
struct hashes {
	struct slot *slots;
	size_t n, size;		/* size: a power of two, at least n * 4 / 3 */
	int64_t hashed;		/* as in meta */
	int64_t merging;	/* chunks below that may be in the table already; 0: none are being merged */
	uint64_t *filter;	/* words; NULL: none */
	uint64_t words;		/* a power of two */
	uint64_t filtered, room;	/* rows it has, and was made for */
	bool ready;		/* it has all of the table */
};

/* Tests make hashes of few bits. */
static uint64_t spread(int64_t h)
{
	return (uint64_t)h * UINT64_C(0x9E3779B97F4A7C15);
}

/* ---- the filter */

static uint64_t filter_bits(int64_t h, uint64_t *word)
{
	uint64_t x = spread(h);

	*word = x >> 18;
	return UINT64_C(1) << (x & 63) | UINT64_C(1) << (x >> 6 & 63) | UINT64_C(1) << (x >> 12 & 63);
}

static void filter_add(struct hashes *t, int64_t h)
{
	uint64_t word, bits = filter_bits(h, &word);

	if (!t->filter)
		return;
	t->filter[word & (t->words - 1)] |= bits;
	t->filtered++;
}

static bool filter_says_no(const struct hashes *t, int64_t h)
{
	uint64_t word, bits = filter_bits(h, &word);

	return t->ready && (t->filter[word & (t->words - 1)] & bits) != bits;
}

/* ---- in memory */

static size_t slot_of(int64_t h)
{
	return spread(h) >> 20;
}

static void slot_put(struct slot *v, size_t size, int64_t h, int64_t id)
{
	size_t i = slot_of(h);

	while (v[i & (size - 1)].id)
		i++;
	v[i & (size - 1)] = (struct slot){ h, id };
}

static int recent_add(struct hashes *t, int64_t h, int64_t id, struct err *e)
{
	if (t->size < (t->n + 1) * 4 / 3 + 1) {
		size_t size = t->size ? t->size * 2 : FIRST_SLOTS;
		struct slot *v = calloc(size, sizeof *v);

		if (!v)
			return err_set(e, ENOMEM, "%m");
		for (size_t i = 0; i < t->size; i++)
			if (t->slots[i].id)
				slot_put(v, size, t->slots[i].h, t->slots[i].id);
		free(t->slots);
		t->slots = v;
		t->size = size;
	}
	slot_put(t->slots, t->size, h, id);
	t->n++;
	return 0;
}

int hashes_open(struct objects *os, int64_t hashed, struct err *e)
{
	struct hashes *t = os->hashes = calloc(1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "%m");
	t->hashed = hashed;
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT id, h FROM chunk WHERE id >= $1");
	int rc;

	stmt_int(&s, 1, hashed);
	while ((rc = stmt_step(&s, e)) > 0)
		if (recent_add(t, stmt_col_int(&s, 1), stmt_col_int(&s, 0), e) < 0)
			return -e->code;
	return rc;
}

void hashes_close(struct objects *os)
{
	if (!os->hashes)
		return;
	free(os->hashes->slots);
	free(os->hashes->filter);
	free(os->hashes);
	os->hashes = NULL;
}

static int row_add(struct objects *os, int64_t h, int64_t id, struct err *e)
{
	filter_add(os->hashes, h);
	return INDEX_RUN(os, e, "INSERT INTO hash (h, id) VALUES ($1, $2) ON CONFLICT (h, id) DO NOTHING", h, id);
}

int hash_add(struct objects *os, int64_t h, int64_t id, struct err *e)
{
	/* a number that was given long ago and gets its row now */
	return id < os->hashes->hashed || id < os->hashes->merging ? row_add(os, h, id, e) : recent_add(os->hashes, h, id, e);
}

int hash_drop(struct objects *os, int64_t h, int64_t id, struct err *e)
{
	/* what is in memory is forgotten when it is merged */
	return id < os->hashes->hashed || id < os->hashes->merging ?
		INDEX_RUN(os, e, "DELETE FROM hash WHERE h = $1 AND id = $2", h, id) : 0;
}

int hash_find(struct objects *os, int64_t h, int64_t *ids, int max, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT id FROM hash WHERE h = $1");
	const struct hashes *t = os->hashes;
	int n = 0, rc = 0;

	for (size_t i = slot_of(h); t->size && n < max; i++) {
		const struct slot *at = &t->slots[i & (t->size - 1)];

		if (!at->id)
			break;
		if (at->h == h)
			ids[n++] = at->id;
	}
	if ((!t->hashed && !t->merging) || filter_says_no(t, h))
		return n;
	stmt_int(&s, 1, h);
	while (n < max && (rc = stmt_step(&s, e)) > 0)
		ids[n++] = stmt_col_int(&s, 0);
	return rc < 0 ? rc : n;
}

/* ---- merging */

static int by_hash(const void *a, const void *b)
{
	const struct slot *x = a, *y = b;

	return x->h != y->h ? x->h < y->h ? -1 : 1 : (x->id > y->id) - (x->id < y->id);
}

static int merge_some(struct objects *os, const struct slot *v, size_t n, struct err *e)
{
	int rc = 0;

	if (!index_enter(os, e))
		return -e->code;
	for (size_t i = 0; i < n && rc == 0; i++) {
		struct where w;

		if (chunks_row(os, v[i].id, &w) == 0)	/* else it went meanwhile */
			rc = row_add(os, v[i].h, v[i].id, e);
	}
	index_end(os, true);
	return rc;
}

/* Those that came meanwhile stay in memory. */
static int merge_end(struct objects *os, struct err *e)
{
	struct hashes *t = os->hashes, rest = { 0 };
	int rc = 0;

	if (!index_enter(os, e))
		return -e->code;
	for (size_t i = 0; i < t->size && rc == 0; i++)
		if (t->slots[i].id >= t->merging)
			rc = recent_add(&rest, t->slots[i].h, t->slots[i].id, e);
	if (rc == 0)
		rc = INDEX_RUN(os, e, "UPDATE meta SET value = $1 WHERE name = 'hashed'", t->merging);
	free(rc == 0 ? t->slots : rest.slots);
	if (rc == 0) {
		t->slots = rest.slots;
		t->n = rest.n;
		t->size = rest.size;
		t->hashed = t->merging;
		t->merging = 0;
	}
	index_end(os, true);
	return rc;
}

static int merge(struct objects *os, bool idle, struct err *e)
{
	struct hashes *t = os->hashes;
	struct slot *v = NULL;
	size_t n = 0;
	int rc = 0;

	if (!index_enter(os, e))
		return -e->code;
	if (t->n > (idle ? RECENT_IDLE : RECENT_MAX) && (v = malloc(t->n * sizeof *v))) {
		for (size_t i = 0; i < t->size; i++)
			if (t->slots[i].id) {
				v[n++] = t->slots[i];
				if (t->slots[i].id >= t->merging)
					t->merging = t->slots[i].id + 1;
			}
	}
	index_end(os, false);
	if (!v)
		return 0;
	qsort(v, n, sizeof *v, by_hash);
	for (size_t i = 0; i < n && rc == 0; i += TURN) {
		rc = merge_some(os, v + i, n - i < TURN ? n - i : TURN, e);
		usleep(PAUSE_US);
	}
	free(v);
	if (rc == 0)	/* before they are forgotten here */
		rc = index_sync(os, e);
	return rc < 0 ? rc : merge_end(os, e);
}

/* ---- filling the filter */

/* A new one, when there is none or it has become too small. */
static bool filter_begin(struct objects *os)
{
	struct hashes *t = os->hashes;
	AUTO(free) char *path = NULL;
	struct stat st;
	uint64_t words = 1024;

	if ((t->filter && t->filtered <= t->room + t->room / 2) || t->hashed == 0 || asprintf(&path, "%s/index.db", os->dir) < 0 || stat(path, &st) < 0 ||
	    st.st_size / ROW_BYTES < FILTER_FROM)
		return false;
	while (words * 64 < (uint64_t)st.st_size / ROW_BYTES * 10)
		words *= 2;
	uint64_t *filter = calloc(words, sizeof *filter);
	if (!filter)
		return false;
	free(t->filter);
	t->ready = false;
	t->filter = filter;
	t->words = words;
	t->room = words * 64 / 10;
	t->filtered = 0;
	return true;
}

/* 1: there is more. */
static int filter_some(struct objects *os, int64_t *h, int64_t *id, struct err *e)
{
	if (!index_enter(os, e))
		return -e->code;
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT h, id FROM hash WHERE h >= $1 AND (h > $1 OR id > $2) ORDER BY h, id LIMIT $3");
	int n = 0, rc;

	stmt_int(&s, 1, *h);
	stmt_int(&s, 2, *id);
	stmt_int(&s, 3, TURN);
	for (; (rc = stmt_step(&s, e)) > 0; n++) {
		*h = stmt_col_int(&s, 0);
		*id = stmt_col_int(&s, 1);
		filter_add(os->hashes, *h);
	}
	os->hashes->ready = rc == 0 && n < TURN;
	stmt_done(&s);
	s = (struct stmt){ 0 };
	index_end(os, false);
	return rc < 0 ? rc : n == TURN;
}

int hashes_look(struct objects *os, bool idle, struct err *e)
{
	int64_t h = INT64_MIN, id = 0;
	int rc = merge(os, idle, e);

	if (rc < 0 || !index_enter(os, e))
		return -e->code;
	bool begun = filter_begin(os);
	index_end(os, false);
	for (rc = begun; rc > 0 && !sweep_stopped(os); usleep(PAUSE_US))
		rc = filter_some(os, &h, &id, e);
	return rc < 0 ? rc : 0;
}

/* ---- fsck */

int64_t hashes_wrong(struct objects *os, bool repair, struct err *e)
{
	struct hashes *t = os->hashes;
	int64_t n = 0;
	struct stmt s = stmt_prepare(os->db, "SELECT (SELECT count(*) FROM chunk c WHERE c.id < $1 AND NOT EXISTS (SELECT 1 FROM hash h WHERE h.h = c.h "
				     "AND h.id = c.id)) + (SELECT count(*) FROM hash h WHERE NOT EXISTS (SELECT 1 FROM chunk c WHERE c.id = h.id AND c.h = h.h))");

	stmt_int(&s, 1, t->hashed);
	int rc = stmt_step(&s, e);
	n = rc > 0 ? stmt_col_int(&s, 0) : rc;
	stmt_done(&s);
	if (n <= 0 || !repair)
		return n;
	if (INDEX_RUN(os, e, "DELETE FROM hash WHERE id > $1", 0) < 0 || INDEX_RUN(os, e, "INSERT INTO hash (h, id) SELECT h, id FROM chunk WHERE id < $1 "
										   "ORDER BY h, id", t->hashed) < 0)
		return -e->code;
	return n;
}
