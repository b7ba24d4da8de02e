/* Packs in the place: which they are, and how they are read, put and deleted there.  What is said of them in the index is others' (mover.c).
 *
 * A pack is put under a name of its own, "00000012-0123456789abcdef.pack", which is in the index before it is used: an index that is lost, or an
 * older copy of it, begins the same numbers anew and must not meet what is there.  Beside them stands store-SEED, which tells this store's place
 * from any other: only where that is, a pack that is not there is missing. */
#include "core.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "../place/place.h"

#define WINDOW (4 << 20)	/* read at once where there is no cache */
#define TROUBLE_MS 5000		/* so long nobody else tries in vain what just failed, after all its retries */

struct entry_placed {
	int64_t pack;
	bool whole;		/* it is there for sure; else it may be, and is here, too */
	char name[PLACED_NAME];
};

struct placed {
	struct place *place;	/* NULL: none is configured */
	char *where;		/* in words */
	bool remote, direct;
	char marker[32];
	pthread_mutex_t lock;
	struct entry_placed *v;	/* by pack */
	size_t n, cap;
	int64_t claims[2];
	int64_t trouble_until;
	char trouble_name[PLACED_NAME];	/* what could not be read; "": several, so it is the server */
	struct err trouble;
	_Atomic bool unsure;
	pthread_mutex_t window_lock;
	struct {
		char name[PLACED_NAME];
		uint64_t size, from, len;
		unsigned char *data;
	} window;
};

AUTO_FN(struct placed *, placed_close);

static int placed_where(const struct place_conf *c, char **ret, struct err *e)
{
	int n = strcmp(c->kind, "local") == 0 ? asprintf(ret, "local %s", c->url) :
		asprintf(ret, "%s %s bucket %s%s%s", c->kind, c->url, c->bucket ? c->bucket : "", c->prefix && *c->prefix ? " prefix " : "", c->prefix ? c->prefix : "");

	if (n < 0)
		*ret = NULL;
	return n < 0 ? err_set(e, ENOMEM, "%m") : 0;
}

int placed_open(const struct place_conf *c, bool direct, struct placed **ret, struct err *e)
{
	AUTO(placed_close) struct placed *pl = calloc(1, sizeof *pl);

	if (!pl)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&pl->lock, NULL);
	pthread_mutex_init(&pl->window_lock, NULL);
	if (c) {
		pl->remote = strcmp(c->kind, "local") != 0;
		pl->direct = direct && pl->remote;
		if (placed_where(c, &pl->where, e) < 0 || place_open(c, &pl->place, e) < 0)
			return -e->code;
	}
	*ret = steal_ptr(&pl);
	return 0;
}

void placed_close(struct placed *pl)
{
	if (pl->place)
		place_close(pl->place);
	pthread_mutex_destroy(&pl->lock);
	pthread_mutex_destroy(&pl->window_lock);
	free(pl->window.data);
	free(pl->where);
	free(pl->v);
	free(pl);
}

const char *placed_words(const struct placed *pl)
{
	return pl->where;
}

bool placed_used(const struct placed *pl)
{
	return pl && pl->place;
}

bool placed_remote(const struct placed *pl)
{
	return pl && pl->remote;
}

void placed_seed(struct placed *pl, uint64_t seed)
{
	snprintf(pl->marker, sizeof pl->marker, "store-%016" PRIx64, (uint64_t)XXH3_64bits(&seed, sizeof seed));
}

/* ---- the table */

/* Where it is, or would be.  The lock is held. */
static size_t seek(const struct placed *pl, int64_t pack)
{
	size_t lo = 0, hi = pl->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (pl->v[mid].pack < pack)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

int placed_set(struct placed *pl, int64_t pack, const char *name, bool whole, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&pl->lock);
	size_t at = seek(pl, pack);
	if (at == pl->n || pl->v[at].pack != pack) {
		if (pl->n == pl->cap) {
			size_t cap = pl->cap ? pl->cap * 2 : 64;
			struct entry_placed *v = realloc(pl->v, cap * sizeof *v);

			if (v) {
				pl->v = v;
				pl->cap = cap;
			} else {
				rc = err_set(e, ENOMEM, "%m");
			}
		}
		if (rc == 0) {
			memmove(pl->v + at + 1, pl->v + at, (pl->n - at) * sizeof *pl->v);
			pl->n++;
		}
	}
	if (rc == 0) {
		pl->v[at] = (struct entry_placed){ .pack = pack, .whole = whole };
		snprintf(pl->v[at].name, sizeof pl->v[at].name, "%s", name);
	}
	pthread_mutex_unlock(&pl->lock);
	return rc;
}

void placed_drop(struct placed *pl, int64_t pack)
{
	pthread_mutex_lock(&pl->lock);
	size_t at = seek(pl, pack);
	if (at < pl->n && pl->v[at].pack == pack)
		memmove(pl->v + at, pl->v + at + 1, (--pl->n - at) * sizeof *pl->v);
	pthread_mutex_unlock(&pl->lock);
}

enum placed_state placed_find(struct placed *pl, int64_t pack, char name[PLACED_NAME])
{
	enum placed_state is = PLACED_NOT;

	if (!pl)
		return is;
	pthread_mutex_lock(&pl->lock);
	size_t at = seek(pl, pack);
	if (at < pl->n && pl->v[at].pack == pack) {
		is = pl->v[at].whole ? PLACED_WHOLE : PLACED_PERHAPS;
		if (name)
			memcpy(name, pl->v[at].name, PLACED_NAME);
	}
	pthread_mutex_unlock(&pl->lock);
	return is;
}

int64_t placed_next(struct placed *pl, int64_t after)
{
	pthread_mutex_lock(&pl->lock);
	size_t at = seek(pl, after + 1);
	while (at < pl->n && !pl->v[at].whole)
		at++;
	int64_t pack = at < pl->n ? pl->v[at].pack : 0;
	pthread_mutex_unlock(&pl->lock);
	return pack;
}

bool placed_knows(struct placed *pl, const char *name)
{
	bool known = false;

	pthread_mutex_lock(&pl->lock);
	for (size_t i = 0; i < pl->n && !known; i++)
		known = strcmp(pl->v[i].name, name) == 0;
	pthread_mutex_unlock(&pl->lock);
	return known;
}

bool placed_claim(struct placed *pl, bool mover, int64_t pack)
{
	pthread_mutex_lock(&pl->lock);
	bool ours = !pack || pl->claims[!mover] != pack;
	if (ours)
		pl->claims[mover] = pack;
	pthread_mutex_unlock(&pl->lock);
	return ours;
}

void placed_unsure(struct placed *pl, bool unsure)
{
	pl->unsure = unsure;
}

/* ---- what the place says */

/* One pack that a server fails to give is no reason to ask for no other; two in a row, with none in between that it gave, are. */
static void trouble(struct placed *pl, const char *name, const struct err *e)
{
	pthread_mutex_lock(&pl->lock);
	bool again = pl->trouble_until && mono_ms() < pl->trouble_until && strcmp(pl->trouble_name, name) != 0;
	pl->trouble_until = e ? mono_ms() + TROUBLE_MS : 0;
	if (e) {
		snprintf(pl->trouble_name, sizeof pl->trouble_name, "%s", again ? "" : name);
		pl->trouble = *e;
	}
	pthread_mutex_unlock(&pl->lock);
}

/* name NULL: anything. */
static int troubled(struct placed *pl, const char *name, struct err *e)
{
	pthread_mutex_lock(&pl->lock);
	bool now = pl->trouble_until && mono_ms() < pl->trouble_until && (!name || !*pl->trouble_name || strcmp(pl->trouble_name, name) == 0);
	if (now)
		*e = pl->trouble;
	pthread_mutex_unlock(&pl->lock);
	return now ? -e->code : 0;
}

bool placed_away(struct placed *pl)
{
	struct err e;

	return troubled(pl, NULL, &e) < 0;
}

/* A bucket without our marker is another one, and says nothing of our packs. */
static int not_there(struct placed *pl, const char *name, struct err *e)
{
	struct err why = { 0 };
	uint64_t size;

	if (!pl->place)
		return err_set(e, EIO, "%s is in a place that objects-place does not name", name);
	int rc = place_size(pl->place, pl->marker, &size, &why);
	if (rc == 0)
		return err_set(e, EBADMSG, "%s is missing in the place of objects", name);
	if (rc == -ENOENT)
		return err_set(e, EIO, "%s has no %s: it is not the place this store's packs were moved to", pl->where, pl->marker);
	*e = why;
	return rc;
}

static int verdict(struct placed *pl, const char *name, int rc, struct err *e)
{
	if (rc == -ENOENT)
		rc = not_there(pl, name, e);
	if (rc == 0 || rc == -EBADMSG)
		trouble(pl, name, NULL);
	else
		trouble(pl, name, e);
	return rc;
}

/* One reader, front to back: fsck. */
static int by_window(struct placed *pl, const char *name, void *buf, size_t len, uint64_t at, struct err *e)
{
	__typeof__(pl->window) *w = &pl->window;
	int rc = 0;

	pthread_mutex_lock(&pl->window_lock);
	if (!w->data && !(w->data = malloc(WINDOW)))
		rc = err_set(e, ENOMEM, "%m");
	if (rc == 0 && strcmp(w->name, name) != 0) {
		w->len = 0;
		*w->name = '\0';
		if ((rc = place_size(pl->place, name, &w->size, e)) == 0)
			snprintf(w->name, sizeof w->name, "%s", name);
	}
	if (rc == 0 && (at + len > w->size || len > WINDOW))
		rc = err_set(e, EBADMSG, "%s has %" PRIu64 " bytes, and not %zu at %" PRIu64, name, w->size, len, at);
	if (rc == 0 && (at < w->from || at + len > w->from + w->len)) {
		w->len = 0;
		uint64_t n = w->size - at < WINDOW ? w->size - at : WINDOW;

		rc = place_get(pl->place, name, at, n, w->data, e);
		w->from = at;
		w->len = rc == 0 ? n : 0;
	}
	if (rc == 0)
		memcpy(buf, w->data + (at - w->from), len);
	pthread_mutex_unlock(&pl->window_lock);
	return rc;
}

int placed_read(struct placed *pl, const char *name, void *buf, size_t len, int64_t at, struct err *e)
{
	if (!pl->place)
		return not_there(pl, name, e);
	if (troubled(pl, name, e) < 0)
		return -e->code;
	if (!len)
		return 0;
	return verdict(pl, name, pl->direct ? by_window(pl, name, buf, len, (uint64_t)at, e) : place_get(pl->place, name, (uint64_t)at, len, buf, e), e);
}

int placed_size(struct placed *pl, const char *name, int64_t *ret, struct err *e)
{
	uint64_t size = 0;

	if (!pl->place)
		return not_there(pl, name, e);
	if (troubled(pl, name, e) < 0)
		return -e->code;
	int rc = verdict(pl, name, place_size(pl->place, name, &size, e), e);
	*ret = (int64_t)size;
	return rc;
}

int placed_fd(struct placed *pl, const char *name, int *ret, struct err *e)
{
	if (!pl->place)
		return not_there(pl, name, e);
	int rc = place_fd(pl->place, name, ret, e);
	return rc < 0 ? verdict(pl, name, rc, e) : rc;
}

void placed_doubt(struct placed *pl, int64_t pack)
{
	char name[PLACED_NAME];

	if (!placed_used(pl) || placed_find(pl, pack, name) == PLACED_NOT)
		return;
	place_forget(pl->place, name);
	pthread_mutex_lock(&pl->window_lock);
	*pl->window.name = '\0';
	pthread_mutex_unlock(&pl->window_lock);
}

int placed_missing(struct placed *pl, int64_t pack, struct err *e)
{
	return pl && pl->unsure ? err_set(e, EIO, "pack %" PRId64 " is not here, and the place of objects was not asked for it yet", pack) :
		err_set(e, EBADMSG, "pack %" PRId64 " is missing", pack);
}

int placed_put(struct placed *pl, const char *name, int fd, int64_t size, struct err *e)
{
	return place_put(pl->place, name, fd, (uint64_t)size, e);
}

int placed_delete(struct placed *pl, const char *name, struct err *e)
{
	return pl->place ? place_delete(pl->place, name, e) : not_there(pl, name, e);
}

static int put_marker(struct placed *pl, struct err *e)
{
	AUTO(close) int fd = memfd_create("marker", MFD_CLOEXEC);
	static const char text[] = "The packs of a cirrusfs store are here.  Without this file it does not touch them.\n";

	if (fd < 0 || write(fd, text, sizeof text - 1) != (ssize_t)sizeof text - 1)
		return err_set(e, errno, "a file in memory: %m");
	return placed_put(pl, pl->marker, fd, sizeof text - 1, e);
}

int placed_check(struct placed *pl, struct err *e)
{
	return place_check(pl->place, e);
}

int placed_ours(struct placed *pl, bool any, struct err *e)
{
	uint64_t size;
	int rc = place_size(pl->place, pl->marker, &size, e);

	if (rc == -ENOENT)
		rc = any ? err_set(e, EIO, "%s has no %s: it is not the place this store's packs were moved to", pl->where, pl->marker) : put_marker(pl, e);
	return rc;
}

struct lister {
	placed_name_fn *fn;
	void *arg;
};

static int on_name(void *arg, const char *name, uint64_t size)
{
	struct lister *l = arg;
	int64_t pack = 0;
	uint64_t random;
	int end = 0;

	if (strlen(name) >= PLACED_NAME || sscanf(name, "%" SCNd64 "-%" SCNx64 ".pack%n", &pack, &random, &end) != 2 || !end || name[end] || pack <= 0)
		return 0;
	return l->fn(l->arg, name, pack, (int64_t)size);
}

int placed_list(struct placed *pl, placed_name_fn *fn, void *arg, struct err *e)
{
	struct lister l = { fn, arg };

	return pl->place ? place_list(pl->place, "", on_name, &l, e) : 0;
}

void placed_stats(struct placed *pl, struct objects_place *ret)
{
	struct place_cache_stats st;

	if (!placed_used(pl))
		return;
	place_cache_stats(pl->place, &st);
	ret->used = true;
	ret->cache_hits = (int64_t)st.hits;
	ret->cache_misses = (int64_t)st.misses;
	ret->cache_bytes = (int64_t)st.bytes;
}
