/* Full packs go to the place, by one thread of its own: a server that is away keeps nothing else waiting.
 *
 *   1  the pack's name there is in the index, durably
 *   2  it is put, whole
 *   3  the index says so (away), durably
 *   4  the file here goes
 *
 * A crash before 3 puts it once more under the same name; after 3 the file that is still here goes at the next start.  A pack that is emptied goes
 * there first, and from the index then.  So nothing is there that the index does not know, but for an index that is an older copy. */
#include "core.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "../base/log.h"

#define LOOK_MS 1000
#define AGAIN_MS 2000		/* after a failure, and longer each time */
#define AGAIN_MAX_MS 30000
#define EARLY (1 << 20)		/* on a disk that is nearly full packs of this size go */

struct mover {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool running, ours, seen;	/* ours: our marker is there; seen: it lets us in */
	_Atomic bool stop;
	struct ref_list leftover;	/* files here of packs that are there */
	struct ref_list skip;		/* damaged ones: left where they are */
	char trouble[256];
};

/* ---- what the index says */

static int meta_text(struct objects *os, char *ret, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT value FROM meta WHERE name = 'place'");
	int rc = stmt_step(&s, e);

	snprintf(ret, size, "%s", rc > 0 ? stmt_col_text(&s, 0) : "");
	return rc < 0 ? rc : 0;
}

static int meta_set_text(struct objects *os, const char *text, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "INSERT INTO meta (name, value) VALUES ('place', $1) ON CONFLICT (name) DO UPDATE SET value = $1");

	stmt_text(&s, 1, text);
	return stmt_run(&s, e);
}

/* How many of those that are there are not here, too. */
static int64_t not_home(struct objects *os, bool rename, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT id, coalesce(place, '') FROM pack WHERE away = 1 AND live > 0");
	int64_t gone = 0;
	int rc;

	while ((rc = stmt_step(&s, e)) > 0) {
		int home = packs_home(os->packs, stmt_col_int(&s, 0), stmt_col_text(&s, 1), rename, e);

		if (home < 0)
			return home;
		gone += !home;
	}
	return rc < 0 ? rc : gone;
}

/* No place is named: what is there must have been brought back. */
static int load_none(struct objects *os, struct err *e)
{
	int64_t gone = not_home(os, false, e);
	char was[200];

	if (gone == 0)
		gone = not_home(os, true, e);
	if (gone < 0 || meta_text(os, was, sizeof was, e) < 0)
		return -e->code;
	if (gone)
		return err_set(e, EINVAL, "%" PRId64 " packs of it are in '%s', and objects-place and objects-url in the store's config name no such place", gone, was);
	return db_run(os->db, e, "UPDATE pack SET place = NULL, away = 0 WHERE place IS NOT NULL", 0, NULL);
}

int mover_load(struct objects *os, struct err *e)
{
	struct mover *m = os->mover = calloc(1, sizeof *m);

	if (!m)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->wake, NULL);
	placed_seed(os->placed, os->seed);
	if (!placed_used(os->placed) && load_none(os, e) < 0)
		return -e->code;
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT id, coalesce(place, ''), away FROM pack");
	int rc;

	while ((rc = stmt_step(&s, e)) > 0) {
		packs_taken(os->packs, stmt_col_int(&s, 0));
		if (*stmt_col_text(&s, 1) && placed_set(os->placed, stmt_col_int(&s, 0), stmt_col_text(&s, 1), stmt_col_int(&s, 2) != 0, e) < 0)
			return -e->code;
	}
	return rc;
}

int mover_leftover(struct objects *os, int64_t pack, struct err *e)
{
	return refs_add(&os->mover->leftover, pack, e);
}

/* ---- one pack */

static int name_for(struct objects *os, int64_t pack, char ret[PLACED_NAME], struct err *e)
{
	uint64_t random;

	if (placed_find(os->placed, pack, ret) != PLACED_NOT)
		return 0;
	if (getrandom(&random, sizeof random, 0) != sizeof random)
		return err_set(e, EIO, "no random bytes: %m");
	snprintf(ret, PLACED_NAME, "%08" PRId64 "-%016" PRIx64 ".pack", pack, random);
	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "UPDATE pack SET place = $1 WHERE id = $2");
	stmt_text(&s, 1, ret);
	stmt_int(&s, 2, pack);
	int rc = stmt_run(&s, e);
	stmt_done(&s);
	index_end(os, true);
	if (rc == 0)
		rc = placed_set(os->placed, pack, ret, false, e);
	return rc;
}

/* The files here of those that are there go, once that is durable. */
static int settle(struct objects *os, struct err *e)
{
	struct ref_list *l = &os->mover->leftover;

	if (!l->n)
		return 0;
	if (index_sync(os, e) < 0)
		return -e->code;
	for (; l->n; l->n--) {
		int64_t pack = l->v[l->n - 1];
		char name[PLACED_NAME];

		if (placed_find(os->placed, pack, name) == PLACED_NOT)
			continue;
		if (placed_set(os->placed, pack, name, true, e) < 0 || packs_remove(os->packs, pack, e) < 0)
			return -e->code;
	}
	return 0;
}

static int move_pack(struct objects *os, int64_t pack, struct err *e)
{
	AUTO(close) int fd = -1;
	char name[PLACED_NAME];
	int64_t size;

	if (packs_file(os->packs, pack, &fd, &size, e) < 0)
		return -e->code;
	if (name_for(os, pack, name, e) < 0 || index_sync(os, e) < 0 || placed_put(os->placed, name, fd, size, e) < 0)
		return -e->code;
	if (!index_enter(os, e))
		return -e->code;
	int rc = INDEX_RUN(os, e, "UPDATE pack SET away = 1 WHERE id = $1", pack);
	index_end(os, true);
	if (rc == 0)
		rc = mover_leftover(os, pack, e);
	return rc < 0 ? rc : settle(os, e);
}

/* ---- which */

/* Nobody appends to it or will say what it appended. */
static bool is_at_rest(struct objects *os, int64_t pack)
{
	return packs_current(os->packs) != pack && !chunks_pending_in(os, pack);
}

static int64_t next_of(struct objects *os, const char *sql, int64_t after, int64_t size)
{
	struct err e;
	int64_t pack = 0;

	if (!index_enter(os, &e))
		return 0;
	struct stmt s = stmt_prepare(os->db, sql);
	stmt_int(&s, 1, after);
	stmt_int(&s, 2, size);
	while (!pack && stmt_step(&s, &e) > 0) {
		pack = stmt_col_int(&s, 0);
		if (refs_count(&os->mover->skip, pack))
			pack = 0;
	}
	stmt_done(&s);
	index_end(os, false);
	return pack;
}

/* Each that is chosen by that, in order.  What is damaged or missing is left alone from then on. */
static int for_each(struct objects *os, const char *sql, int64_t size, int (*fn)(struct objects *os, int64_t pack, struct err *e), struct err *e)
{
	struct mover *m = os->mover;
	int64_t after = 0;
	int rc = 0;

	while (rc == 0 && !m->stop && (after = next_of(os, sql, after, size))) {
		if (!placed_claim(os->placed, true, after))
			continue;
		rc = is_at_rest(os, after) ? fn(os, after, e) : 0;
		placed_claim(os->placed, true, 0);
		if (rc == -EBADMSG || rc == -ENOENT) {
			log_warn("objects: pack %" PRId64 " is left where it is: %s", after, e->msg);
			rc = refs_add(&m->skip, after, e);
			refs_sort(&m->skip);
		}
	}
	return rc;
}

static int ours(struct objects *os, struct err *e)
{
	struct mover *m = os->mover;
	char was[512];

	if (m->ours)
		return 0;
	if (placed_ours(os->placed, sweep_ask(os, "SELECT 1 FROM pack WHERE away = 1 LIMIT 1", 0) != 0, e) < 0)
		return -e->code;
	if (!index_enter(os, e))
		return -e->code;
	int rc = meta_text(os, was, sizeof was, e);
	bool other = strcmp(was, placed_words(os->placed)) != 0;
	if (rc == 0 && other)
		rc = meta_set_text(os, placed_words(os->placed), e);
	index_end(os, other);
	m->ours = rc == 0;
	return rc;
}

/* Settings that are wrong are said before there is anything to move. */
static int first_look(struct objects *os, struct err *e)
{
	struct mover *m = os->mover;

	if (!m->seen && placed_check(os->placed, e) < 0)
		return -e->code;
	m->seen = true;
	return 0;
}

/* Packs of earlier mounts that are small are put together when it makes a full one. */
#define SMALL "FROM pack WHERE place IS NULL AND size < $2"
static int merge(struct objects *os, struct err *e)
{
	int64_t full = packs_full_size(os->packs);

	if (sweep_ask(os, "SELECT coalesce(sum(size), 0) FROM pack WHERE place IS NULL AND size < $1", full / 4) < full)
		return 0;
	return for_each(os, "SELECT id " SMALL " AND id > $1 ORDER BY id", full / 4, sweep_pack, e);
}

static int turn(struct objects *os, struct err *e)
{
	int64_t full = packs_full_size(os->packs), current = packs_current(os->packs);
	struct err room;
	bool low = index_room(os, &room) < 0;

	if (mover_adopt(os, e) < 0)
		return -e->code;
	if (!sweep_ask(os, "SELECT 1 FROM pack LIMIT 1", 0))
		return first_look(os, e);
	if (ours(os, e) < 0 || settle(os, e) < 0)
		return -e->code;
	if (low && current && sweep_ask(os, "SELECT size >= 1048576 FROM pack WHERE id = $1", current))
		packs_seal(os->packs);
	int rc = low ? 0 : merge(os, e);
	/* one that is half dead is emptied instead */
	if (rc == 0)
		rc = for_each(os, "SELECT id FROM pack WHERE away = 0 AND id > $1 AND live * 2 >= size AND (size >= $2 OR place IS NOT NULL) ORDER BY id",
			      low && EARLY < full / 4 ? EARLY : full / 4, move_pack, e);
	if (rc == 0)
		rc = for_each(os, "SELECT id FROM pack WHERE place IS NOT NULL AND id > $1 AND live * 2 < size AND (live = 0 OR $2 = 0) ORDER BY id",
			      low, sweep_pack, e);
	return rc;
}

/* ---- an older copy of the index has packs here that were moved since */

struct adopt {
	struct objects *os;
	struct ref_list packs;
	char (*names)[PLACED_NAME];
	struct err *e;
};

static int adopt_name(void *arg, const char *name, int64_t pack, int64_t size)
{
	struct adopt *a = arg;

	if (!refs_has(&a->os->missing, pack))
		return 0;
	char (*names)[PLACED_NAME] = reallocarray(a->names, a->packs.n + 1, sizeof *names);
	if (!names)
		return err_set(a->e, ENOMEM, "%m");
	a->names = names;
	snprintf(names[a->packs.n], PLACED_NAME, "%s", name);
	return refs_add(&a->packs, pack, a->e);
}

/* Does one of its chunks stand where the index says? */
static bool fits(struct objects *os, int64_t pack)
{
	struct where w = { 0 };
	struct err e;

	if (!index_enter(os, &e))
		return false;
	struct stmt s = stmt_prepare(os->db, "SELECT id, h, h2, len, pack, at, stored FROM chunk WHERE pack > 0 AND pack = +$1 LIMIT 1");
	stmt_int(&s, 1, pack);
	if (stmt_step(&s, &e) > 0)
		w = (struct where){ stmt_col_int(&s, 0), stmt_col_int(&s, 1), stmt_col_int(&s, 2), (uint32_t)stmt_col_int(&s, 3), stmt_col_int(&s, 4),
			stmt_col_int(&s, 5), (uint32_t)stmt_col_int(&s, 6) };
	stmt_done(&s);
	index_end(os, false);
	return w.id && packs_sound(os->packs, &w) && !placed_away(os->placed);
}

static int adopt_one(struct objects *os, int64_t pack, const char *name, struct err *e)
{
	if (placed_set(os->placed, pack, name, true, e) < 0)
		return -e->code;
	if (!fits(os, pack)) {
		placed_drop(os->placed, pack);
		return 0;
	}
	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "UPDATE pack SET place = $1, away = 1 WHERE id = $2");
	stmt_text(&s, 1, name);
	stmt_int(&s, 2, pack);
	int rc = stmt_run(&s, e);
	stmt_done(&s);
	index_end(os, true);
	log_info("objects: pack %" PRId64 " was found in the place of objects", pack);
	return rc;
}

int mover_adopt(struct objects *os, struct err *e)
{
	struct adopt a = { .os = os, .e = e };

	if (!os->missing.n || !placed_used(os->placed))
		return 0;
	int rc = placed_list(os->placed, adopt_name, &a, e);
	for (size_t i = 0; rc == 0 && i < a.packs.n; i++)
		if (placed_find(os->placed, a.packs.v[i], NULL) == PLACED_NOT)
			rc = adopt_one(os, a.packs.v[i], a.names[i], e);
	if (rc == 0 && !placed_away(os->placed)) {
		placed_unsure(os->placed, false);
		os->missing.n = 0;
	}
	free(a.packs.v);
	free(a.names);
	return rc;
}

/* ---- the thread */

static void say(struct mover *m, const struct err *e)
{
	pthread_mutex_lock(&m->lock);
	if (e && !*m->trouble)
		log_warn("objects: packs cannot be moved to their place: %s", e->msg);
	if (!e && *m->trouble)
		log_info("objects: packs can be moved to their place again");
	snprintf(m->trouble, sizeof m->trouble, "%.255s", e ? e->msg : "");
	pthread_mutex_unlock(&m->lock);
}

static void *run(void *arg)
{
	struct objects *os = arg;
	struct mover *m = os->mover;
	int64_t again = AGAIN_MS;
	struct timespec until;

	while (!m->stop) {
		struct err e = { 0 };
		int rc = turn(os, &e);

		if (!m->stop && !os->closing)
			say(m, rc < 0 ? &e : NULL);
		int64_t wait = rc < 0 ? again : LOOK_MS;
		again = rc == 0 ? AGAIN_MS : again * 2 < AGAIN_MAX_MS ? again * 2 : AGAIN_MAX_MS;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += wait / 1000;
		pthread_mutex_lock(&m->lock);
		if (!m->stop)
			pthread_cond_timedwait(&m->wake, &m->lock, &until);
		pthread_mutex_unlock(&m->lock);
	}
	return NULL;
}

int mover_start(struct objects *os, struct err *e)
{
	int rc = pthread_create(&os->mover->thread, NULL, run, os);

	os->mover->running = rc == 0;
	return rc ? err_set(e, rc, "a thread: %s", strerror(rc)) : 0;
}

void mover_stop(struct objects *os)
{
	struct mover *m = os->mover;

	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_signal(&m->wake);
	pthread_mutex_unlock(&m->lock);
	if (m->running)
		pthread_join(m->thread, NULL);
	os->mover = NULL;
	free(m->leftover.v);
	free(m->skip.v);
	free(m);
}

/* ---- what it is about */

int objects_place(struct objects *os, struct objects_place *ret, struct err *e)
{
	*ret = (struct objects_place){ 0 };
	placed_stats(os->placed, ret);
	if (!ret->used)
		return 0;
	int64_t current = packs_current(os->packs);
	if (!index_enter(os, e))
		return -e->code;
	struct stmt s = stmt_prepare(os->db, "SELECT coalesce(sum(away), 0), coalesce(sum(away * size), 0), coalesce(sum(w), 0), coalesce(sum(w * size), 0) FROM "
				     "(SELECT size, away, CASE WHEN away = 0 AND id <> $1 AND size >= $2 THEN 1 ELSE 0 END AS w FROM pack) AS x");
	stmt_int(&s, 1, current);
	stmt_int(&s, 2, packs_full_size(os->packs) / 4);
	int rc = stmt_step(&s, e);
	if (rc > 0) {
		ret->packs = stmt_col_int(&s, 0);
		ret->pack_bytes = stmt_col_int(&s, 1);
		ret->waiting = stmt_col_int(&s, 2);
		ret->waiting_bytes = stmt_col_int(&s, 3);
	}
	stmt_done(&s);
	index_end(os, false);
	if (os->mover) {
		pthread_mutex_lock(&os->mover->lock);
		memcpy(ret->trouble, os->mover->trouble, sizeof ret->trouble);
		pthread_mutex_unlock(&os->mover->lock);
	}
	return rc < 0 ? rc : 0;
}
