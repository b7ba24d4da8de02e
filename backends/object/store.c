/* Opening and closing; what is stored, all together. */
#include "core.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../base/log.h"
#include "../place/place.h"

#define ID_SKIP (1 << 20)	/* numbers that a crash may have handed out, and packs may know, are not used again */

/* ---- settings of the store: made once */

static int meta_get(struct objects *os, const char *name, int64_t dflt, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt put = stmt_prepare(os->db, "INSERT INTO meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING");
	AUTO(stmt_done) struct stmt get = stmt_prepare(os->db, "SELECT value FROM meta WHERE name = $1");

	stmt_text(&put, 1, name);
	stmt_int(&put, 2, dflt);
	stmt_text(&get, 1, name);
	if (stmt_run(&put, e) < 0 || stmt_step(&get, e) <= 0)
		return e->code ? -e->code : err_set(e, EIO, "no setting '%s'", name);
	*ret = stmt_col_int(&get, 0);
	return 0;
}

static int settings(struct objects *os, struct err *e)
{
	int64_t seed = 0, min, avg, max, hashed;

	if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		return err_set(e, EIO, "no random bytes: %m");
	struct stmt s = stmt_prepare(os->db, "SELECT 1 FROM meta WHERE name = 'next'");
	int known = stmt_step(&s, e);
	stmt_done(&s);
	os->new_index = known == 0;
	if (known < 0 || meta_get(os, "next", 16, &os->next_id, e) < 0 || meta_get(os, "seed", seed >> 1, &seed, e) < 0 ||
	    meta_get(os, "chunk-min", CHUNK_MIN, &min, e) < 0 || meta_get(os, "chunk-avg", CHUNK_AVG, &avg, e) < 0 ||
	    meta_get(os, "chunk-max", CHUNK_LARGEST, &max, e) < 0 || meta_get(os, "hashed", 0, &hashed, e) < 0 || hashes_open(os, hashed, e) < 0)
		return -e->code;
	if (min < 64 || avg <= min || max <= avg || max > CHUNK_MAX || avg & (avg - 1))
		return err_set(e, EBADMSG, "the index says nonsense of chunks' sizes: %ld %ld %ld", (long)min, (long)avg, (long)max);
	os->seed = (uint64_t)seed;
	os->next_id += ID_SKIP;
	chunker_init(&os->chunker, (uint32_t)min, (uint32_t)avg, (uint32_t)max, os->seed);
	return 0;
}

/* ---- what a crash left */

struct strays {
	struct objects *os;
	struct err *e;
};

static int add_pack(void *arg, int64_t pack, int64_t size)
{
	struct ref_list *l = arg;
	struct err e;

	return refs_add(l, pack, &e);
}

/* Is one missing that chunks are in? */
static int packs_missing(struct objects *os, struct err *e)
{
	struct ref_list there = { 0 };
	int rc = packs_each(os->packs, add_pack, &there, e);

	refs_sort(&there);
	struct stmt s = stmt_prepare(os->db, "SELECT id FROM pack WHERE live > 0");
	while (rc == 0 && (rc = stmt_step(&s, e)) > 0) {
		int64_t pack = stmt_col_int(&s, 0);

		if (refs_has(&there, pack) || placed_find(os->placed, pack, NULL) != PLACED_NOT)
			rc = 0;
		else if (packs_found(os->packs, pack))	/* the index was lost, and a copy of it was put back */
			rc = 0, log_info("objects: pack %ld is back from packs/lost+found", (long)pack);
		else
			rc = refs_add(&os->missing, pack, e);
	}
	stmt_done(&s);
	free(there.v);
	refs_sort(&os->missing);
	os->old_index = os->missing.n > 0;
	placed_unsure(os->placed, placed_used(os->placed) && os->old_index);
	return rc < 0 ? rc : 0;
}

/* A pack that the index never heard of holds nothing; one that is longer than was recorded ends in what nobody refers to. */
static int stray(void *arg, int64_t pack, int64_t size)
{
	struct strays *a = arg;
	struct stmt s = stmt_prepare(a->os->db, "UPDATE pack SET size = $2 WHERE id = $1");

	stmt_int(&s, 1, pack);
	stmt_int(&s, 2, size);
	int rc = stmt_run(&s, a->e);
	stmt_done(&s);
	if (rc == 0 && db_changes(a->os->db) == 0) {
		/* an index that is new while there are packs took the place of one that was lost */
		rc = a->os->new_index ? packs_lose(a->os->packs, pack, a->e) : a->os->old_index || a->os->only_look ? 0 : packs_remove(a->os->packs, pack, a->e);
		if (rc == 0 && a->os->old_index)
			log_error("objects: packs are missing, and pack %ld is kept although the index does not know it: cirrusfs fsck --data --repair looks into it", (long)pack);
		if (rc == 0 && a->os->new_index)
			log_error("objects: the index knows nothing of pack %ld, which is kept in packs/lost+found: was index.db lost?", (long)pack);
	} else if (rc == 0 && placed_find(a->os->placed, pack, NULL) == PLACED_WHOLE) {
		rc = mover_leftover(a->os, pack, a->e);
	}
	return rc < 0 ? rc : 0;
}

static int recover(struct objects *os, struct err *e)
{
	struct strays a = { os, e };

	if (!index_enter(os, e))
		return -e->code;
	int rc = settings(os, e);
	if (rc == 0)
		rc = mover_load(os, e);
	if (rc == 0)
		rc = names_sweep(os, e);
	if (rc == 0)
		rc = packs_missing(os, e);
	if (rc == 0)
		rc = packs_each(os->packs, stray, &a, e);
	index_end(os, rc == 0);
	return rc;
}

/* The WAL may grow to 32 MiB before it is brought into the index, so that this comes seldom; on a small disk less. */
static int checkpoints(struct objects *os, struct err *e)
{
	struct statvfs st;
	char sql[60];
	unsigned long pages = 8000;

	if (statvfs(os->dir, &st) == 0 && st.f_blocks * st.f_frsize / 64 / 4096 < pages)
		pages = st.f_blocks * st.f_frsize / 64 / 4096;
	pages = pages < 100 ? 100 : pages;
	os->wal_bytes = (int64_t)(pages + pages / 8) * (4096 + 24);	/* the last commit goes beyond */
	snprintf(sql, sizeof sql, "PRAGMA wal_autocheckpoint=%lu", pages);
	return db_script(os->db, sql, e);
}

/* With a cache of its own below dir. */
static int open_place(struct objects *os, const struct objects_conf *conf, struct err *e)
{
	AUTO(free) char *cache = NULL;

	if (!conf || !conf->place || (!strcmp(conf->place->kind, "local") && !*conf->place->url))
		return placed_open(NULL, false, &os->placed, e);
	struct place_conf c = *conf->place;
	if (asprintf(&cache, "%s/cache", os->dir) < 0)
		return err_set(e, ENOMEM, "%m");
	c.cache_dir = conf->check ? "" : cache;
	c.faults = getenv("CIRRUSFS_PLACE_FAULT");
	c.stop = &os->closing;
	return placed_open(&c, conf->check, &os->placed, e);
}

int objects_open(const char *dir, const struct objects_conf *conf, struct objects **ret, struct err *e)
{
	AUTO(objects_close) struct objects *os = calloc(1, sizeof *os);
	AUTO(free) char *path = NULL, *wal = NULL;

	if (!os || !(os->dir = strdup(dir)) || asprintf(&path, "%s/index.db", dir) < 0 || asprintf(&wal, "%s-wal", path) < 0)
		return err_set(e, ENOMEM, "%m");
	os->wal = -1;
	pthread_mutex_init(&os->lock, NULL);
	pthread_cond_init(&os->gate_open, NULL);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make '%s': %m", dir);
	os->only_look = conf && conf->check;
	if (db_open_alone(path, index_migrations, n_index_migrations, &os->db, e) < 0 || checkpoints(os, e) < 0 || packs_open(dir, &os->packs, e) < 0 ||
	    open_place(os, conf, e) < 0 || chunks_open(os, e) < 0 || commits_start(os, e) < 0 || bodies_open(os, e) < 0)
		return -e->code;
	packs_use(os->packs, os->placed);
	if (!(os->names = names_new()))
		return err_set(e, ENOMEM, "%m");
	if (recover(os, e) < 0)
		return err_prefix(e, "%s", dir);
	os->wal = open(wal, O_RDWR | O_CLOEXEC);
	if (os->wal < 0)
		return err_set(e, errno, "open '%s': %m", wal);
	if (etags_start(os, e) < 0 || sweep_start(os, e) < 0 || index_sync(os, e) < 0)
		return -e->code;
	if (placed_used(os->placed) && !(conf && conf->check) && mover_start(os, e) < 0)
		return -e->code;
	*ret = steal_ptr(&os);
	return 0;
}

void objects_close(struct objects *os)
{
	struct err e;

	if (!os)
		return;
	os->closing = true;	/* nobody waits for a server that is away */
	sweep_stop(os);
	mover_stop(os);
	etags_stop(os);
	if (os->bodies)
		bodies_close(os);
	commits_stop(os);
	if (os->wal >= 0 && index_sync(os, &e) < 0)
		log_error("objects: what was written last could not be stored: %s", e.msg);
	bodies_free(os);
	commits_free(os);
	if (os->tx && !db_idle(os->db))
		db_script(os->db, "ROLLBACK", &e);
	chunks_close(os);
	hashes_close(os);
	pins_free(os);
	if (os->names)
		names_free(os->names);
	if (os->packs)
		packs_close(os->packs);
	if (os->placed)
		placed_close(os->placed);
	free(os->missing.v);
	if (os->wal >= 0)
		close(os->wal);
	if (os->db)
		db_close_alone(os->db);
	pthread_mutex_destroy(&os->lock);
	pthread_cond_destroy(&os->gate_open);
	free(os->dir);
	free(os);
}

int objects_failed(struct objects *os)
{
	return os->sync_errno;
}

void objects_lost(struct objects *os, int64_t *missing, int64_t *nobodys)
{
	*missing = (int64_t)os->missing.n;
	*nobodys = packs_lost(os->packs);
}

int objects_sync(struct objects *os, struct err *e)
{
	return index_sync(os, e);
}

void objects_on_gone(struct objects *os, objects_gone_fn *fn, void *arg)
{
	os->gone_arg = arg;
	os->gone = fn;
}

/* ---- references of whole contents */

static int refs_change(struct objects *os, int64_t root, int by, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, root > 0 ? "UPDATE chunk SET refs = refs + $1 WHERE id = $2" :
						     "UPDATE node SET refs = refs + $1 WHERE id = $2");

	if (!root)
		return 0;
	stmt_int(&s, 1, by);
	stmt_int(&s, 2, root > 0 ? root : -root);
	return stmt_run(&s, e);
}

int content_drop(struct objects *os, int64_t root, struct err *e)
{
	return refs_change(os, root, -1, e);
}

int content_share(struct objects *os, int64_t root, struct err *e)
{
	return refs_change(os, root, 1, e);
}

/* ---- sums */

static int64_t sum(struct objects *os, const char *sql, int64_t *second, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, sql);

	if (stmt_step(&s, e) <= 0)
		return 0;
	if (second)
		*second = stmt_col_int(&s, 1);
	return stmt_col_int(&s, 0);
}

/* Some at a time: with millions of them whoever else wants the index would wait for seconds. */
static int count_chunks(struct objects *os, struct objects_stats *r, struct err *e)
{
	int64_t after = 0;
	int rc;

	do {
		if (!index_enter(os, e))
			return -e->code;
		struct stmt s = stmt_prepare(os->db, "SELECT coalesce(max(id), 0), coalesce(sum(CASE WHEN refs > 0 THEN 1 ELSE 0 END), 0), coalesce(sum(CASE WHEN refs > 0 THEN len ELSE 0 END), 0) "
					     "FROM (SELECT id, refs, len FROM chunk WHERE id > $1 ORDER BY id LIMIT 10000) AS some");

		stmt_int(&s, 1, after);
		rc = stmt_step(&s, e);
		after = rc > 0 ? stmt_col_int(&s, 0) : 0;
		r->chunks += rc > 0 ? stmt_col_int(&s, 1) : 0;
		r->chunk_bytes += rc > 0 ? stmt_col_int(&s, 2) : 0;
		stmt_done(&s);
		index_end(os, false);
	} while (after);
	return rc < 0 ? rc : 0;
}

int objects_stats(struct objects *os, struct objects_stats *ret, struct err *e)
{
	struct objects_stats r = { 0 };

	*e = (struct err){ 0 };
	if (count_chunks(os, &r, e) < 0 || !index_enter(os, e))
		return -e->code;
	r.packs = sum(os, "SELECT count(*), coalesce(sum(size), 0) FROM pack", &r.pack_bytes, e);
	r.dead_bytes = r.pack_bytes - sum(os, "SELECT coalesce(sum(live), 0) FROM pack", NULL, e);
	r.entries = sum(os, "SELECT coalesce(sum(count), 0) FROM space", NULL, e);
	index_end(os, false);
	*ret = r;
	return -e->code;
}
