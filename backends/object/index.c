/* The index: one connection, one lock, one transaction that stays open until commit.c ends it. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "../base/log.h"

#define ID_BLOCK 4096
#define ROOM_MS 200

int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct db *index_db(struct objects *os)
{
	return os->db;
}

static struct db *enter(struct objects *os, struct err *e)
{
	if (os->tx && db_idle(os->db)) {
		log_error("objects: the index's transaction was ended by the database; what was done since the last commit is lost");
		os->tx = os->marked = false;
		os->lost++;
		os->id_limit = 0;	/* the numbers handed out were not recorded */
		names_undone(os);
	}
	if (!os->tx && db_run(os->db, e, "BEGIN IMMEDIATE", 0, NULL) < 0) {
		pthread_mutex_unlock(&os->lock);
		return NULL;
	}
	os->tx = true;
	return os->db;
}

struct db *index_enter(struct objects *os, struct err *e)
{
	pthread_mutex_lock(&os->lock);
	return enter(os, e);
}

struct db *index_begin(struct objects *os, struct err *e)
{
	pthread_mutex_lock(&os->lock);
	while (os->gate)
		pthread_cond_wait(&os->gate_open, &os->lock);
	return enter(os, e);
}

void index_end(struct objects *os, bool changed)
{
	bool first = changed && !os->changed;

	if (changed)
		atomic_fetch_add_explicit(&os->changes, 1, memory_order_relaxed);
	os->changed |= changed;
	pthread_mutex_unlock(&os->lock);
	if (first)
		commit_soon(os);
}

int index_mark(struct objects *os, struct err *e)
{
	int rc = db_run(os->db, e, "SAVEPOINT op", 0, NULL);

	os->marked = rc == 0;
	return rc;
}

int index_keep(struct objects *os, struct err *e)
{
	os->marked = false;
	return db_run(os->db, e, "RELEASE op", 0, NULL);
}

void index_undo(struct objects *os)
{
	struct err e;

	if (os->marked && !db_idle(os->db)) {
		db_run(os->db, &e, "ROLLBACK TO op", 0, NULL);
		db_run(os->db, &e, "RELEASE op", 0, NULL);
		names_undone(os);
	}
	os->marked = false;
}

int64_t index_id(struct objects *os)
{
	if (os->next_id >= os->id_limit) {
		AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "UPDATE meta SET value = $1 WHERE name = 'next'");
		struct err e;

		stmt_int(&s, 1, os->next_id + ID_BLOCK);
		if (stmt_run(&s, &e) < 0)
			log_error("objects: %s", e.msg);
		else
			os->id_limit = os->next_id + ID_BLOCK;
	}
	return os->next_id++;
}

int sync_failed(int why, struct err *e)
{
	return err_set(e, EIO, "the disk failed to keep what was written (%s); nothing more is taken until the store is mounted again", strerror(why));
}

int index_room(struct objects *os, struct err *e)
{
	int64_t now = mono_ms();
	struct statvfs st;

	if (os->sync_errno)
		return sync_failed(os->sync_errno, e);
	if ((os->room <= 0 || now - os->room_at > ROOM_MS) && statvfs(os->dir, &st) == 0) {
		int64_t keep = (int64_t)(st.f_blocks * st.f_frsize / 16);

		os->room = (int64_t)(st.f_bavail * st.f_frsize) - (keep < LOW_ROOM ? keep : LOW_ROOM);
		os->room_at = now;
	}
	return os->room > 0 ? 0 : err_set(e, ENOSPC, "the disk that holds the store is full");
}

int index_sync(struct objects *os, struct err *e)
{
	return commit_wait(os, e);
}

struct names *names_of(struct objects *os)
{
	return os->names;
}

void objects_gone(struct objects *os, int64_t space, int64_t dir, const char *name, int64_t id)
{
	if (os->gone)
		os->gone(os->gone_arg, space, dir, name, id);
}
