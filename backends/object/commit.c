/* Commits.  One is made at a time, by whoever waits for it first (or by the clock's thread); the others that came meanwhile share the next one.
 *
 *   1  contents that are due are cut: their bytes go into chunks, their manifests are written out in memory
 *   2  packs are synced, so that nothing in the index refers to bytes that a power cut takes
 *   3  with the index: rows of chunks, nodes, cuts; COMMIT, which writes the WAL and does not sync it
 *   4  the WAL is synced, outside the lock: now it is durable
 *
 * A crash before 3 leaves nothing of it, and after 3 either nothing or all: the WAL's frames have checksums, and are taken in order. */
#include "core.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"

struct commits {
	pthread_mutex_t lock;
	pthread_cond_t turn, wake;
	pthread_t clock;
	bool stop, soon, leading, wal_dirty;
	bool lay;			/* the WAL is to be laid out */
	unsigned asked;			/* syncs, by users */
	uint64_t wanted, done;		/* counted: requests, and those that were served */
	struct err result;		/* of those up to done */
	struct cut *first, **last;	/* queued */
};

void commit_queue(struct objects *os, struct cut *c)
{
	struct commits *cm = os->commits;

	pthread_mutex_lock(&cm->lock);
	c->next = NULL;
	*cm->last = c;
	cm->last = &c->next;
	pthread_mutex_unlock(&cm->lock);
}

/* The first of the queue whose chunks are all below that mark: in order, so that an object's later cut is never recorded before its earlier one. */
static struct cut *queue_take(struct commits *cm, uint64_t mark, struct cut **last)
{
	struct cut *head = NULL, **at = &head;

	pthread_mutex_lock(&cm->lock);
	while (cm->first && cm->first->mark <= mark) {
		struct cut *c = cm->first;

		cm->first = c->next;
		c->next = NULL;
		*at = c;
		at = &c->next;
		*last = c;
	}
	if (!cm->first)
		cm->last = &cm->first;
	pthread_mutex_unlock(&cm->lock);
	return head;
}

static void queue_back(struct commits *cm, struct cut *head, struct cut *last)
{
	if (!head)
		return;
	pthread_mutex_lock(&cm->lock);
	last->next = cm->first;
	if (!cm->first)
		cm->last = &last->next;
	cm->first = head;
	pthread_mutex_unlock(&cm->lock);
}

/* ---- the index's part */

static int insert_node(struct objects *os, const struct node_row *n, int64_t refs, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "INSERT INTO node (id, level, span, refs, data) VALUES ($1, $2, $3, $4, $5)");

	stmt_int(&s, 1, n->id);
	stmt_int(&s, 2, n->level);
	stmt_int(&s, 3, (int64_t)n->span);
	stmt_int(&s, 4, refs);
	stmt_blob_borrow(&s, 5, n->data, n->len);
	return stmt_run(&s, e);
}

static bool is_new(const struct cut *cuts, int64_t node)
{
	for (const struct cut *c = cuts; c; c = c->next)
		for (size_t i = 0; i < c->saved.n_nodes; i++)
			if (c->saved.nodes[i].id == node)
				return true;
	return false;
}

static int node_more(struct objects *os, int64_t node, int64_t n, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "UPDATE node SET refs = refs + $1 WHERE id = $2");

	stmt_int(&s, 1, n);
	stmt_int(&s, 2, node);
	int rc = stmt_run(&s, e);
	return rc == 0 && db_changes(os->db) != 1 ? err_set(e, EIO, "node %ld has no row", (long)node) : rc;
}

static int apply(struct objects *os, struct cut *cuts, uint64_t mark, struct err *e)
{
	struct ref_list refs = { 0 };
	int rc = 0;

	for (const struct cut *c = cuts; c && rc == 0; c = c->next)
		for (size_t i = 0; rc == 0 && i < c->saved.refs.n; i++)
			rc = refs_add(&refs, c->saved.refs.v[i], e);
	refs_sort(&refs);
	if (rc == 0)
		rc = chunks_record(os, &refs, mark, e);
	for (const struct cut *c = cuts; c && rc == 0; c = c->next)
		for (size_t i = 0; rc == 0 && i < c->saved.n_nodes; i++)
			rc = insert_node(os, &c->saved.nodes[i], refs_count(&refs, -c->saved.nodes[i].id), e);
	for (size_t i = 0; rc == 0 && i < refs.n && refs.v[i] < 0; ) {
		int64_t n = refs_count(&refs, refs.v[i]);

		if (!is_new(cuts, -refs.v[i]))
			rc = node_more(os, -refs.v[i], n, e);
		i += (size_t)n;
	}
	for (const struct cut *c = cuts; c && rc == 0; c = c->next)
		rc = c->spill ? 0 : name_cut(os, c->id, c->size, c->used, body_mtime(os, c), c->saved.root, *c->etag ? c->etag : NULL, c->before, e);
	free(refs.v);
	return rc;
}

static int record(struct objects *os, struct cut *cuts, uint64_t mark, struct err *e)
{
	int rc = index_mark(os, e);

	if (rc == 0)
		rc = apply(os, cuts, mark, e);
	if (rc == 0)
		rc = names_flush(os, e);
	if (rc < 0) {
		index_undo(os);
		return rc;
	}
	return index_keep(os, e);
}

static void cut_free(struct objects *os, struct cut *c)
{
	saved_free(&c->saved);
	before_free(c->before);
	free(c);
}

/* The gate is closed and what was renamed is cut, so that the commit has all of it. */
static void catch_up(struct objects *os)
{
	os->gate = true;
	pthread_mutex_unlock(&os->lock);
	bodies_cut(os, true);
	pthread_mutex_lock(&os->lock);
}

static int packs_synced(struct objects *os, struct err *e)
{
	int rc = packs_sync(os->packs, e);

	if (packs_sync_errno(os->packs))
		os->sync_errno = packs_sync_errno(os->packs);
	return rc;
}

static int commit(struct objects *os, struct err *e)
{
	struct cut *cuts = NULL, *last = NULL;
	int rc;

	if (os->sync_errno)
		return sync_failed(os->sync_errno, e);
	bodies_cut(os, false);
	uint64_t mark = chunks_mark(os);
	rc = packs_synced(os, e);
	if (rc < 0)
		return rc;
	if (!index_enter(os, e))
		return -e->code;
	if (bodies_renamed(os)) {
		catch_up(os);
		mark = chunks_mark(os);
		rc = packs_synced(os, e);
	}
	if (rc == 0) {
		cuts = queue_take(os->commits, mark, &last);
		bool something = cuts || os->changed;
		if (something)
			rc = record(os, cuts, mark, e);
		if (rc == 0 && something && (rc = db_script(os->db, "COMMIT", e)) < 0 && !db_idle(os->db)) {
			struct err ignored;

			db_script(os->db, "ROLLBACK", &ignored);	/* what is half done cannot be done again: it begins anew (index.c) */
		}
		if (rc == 0 && something) {
			os->tx = os->changed = false;
			names_committed(os);
			os->commits->wal_dirty = true;
		}
		chunks_recorded(os, rc == 0 && something);
	}
	for (struct cut *c = cuts; c && rc == 0; c = c->next)
		pins_drop(os, &c->pins);
	os->gate = false;
	pthread_cond_broadcast(&os->gate_open);
	pthread_mutex_unlock(&os->lock);
	if (rc < 0) {
		queue_back(os->commits, cuts, last);
		return rc;
	}
	while (cuts) {
		struct cut *c = cuts;

		cuts = c->next;
		bodies_recorded(os, c);
		cut_free(os, c);
	}
	/* as with packs: a sync that failed is not made good by one that does not */
	if (os->commits->wal_dirty && fdatasync(os->wal) < 0)
		os->sync_errno = errno;
	if (os->sync_errno)
		return sync_failed(os->sync_errno, e);
	os->commits->wal_dirty = false;
	return 0;
}

/* ---- the WAL's bytes on disk.  A file that grows costs a sync twice: the disk is told of its new size as well.  So it is filled with zeros up
 * to where it begins anew (SQLite reads zeros as its end), once somebody waits for a sync. */

#define LAY_BYTES (1 << 20)
#define LAY_AFTER 16		/* syncs: who asks for a few only is not worth it */

/* 1: there is more to be laid. */
static int lay_piece(struct objects *os, const void *zeros)
{
	struct err e = { 0 };
	struct stat st;
	int more = 0;

	/* SQLite writes to it with the lock held only: what is behind its end is nobody's */
	if (!index_enter(os, &e))
		return 0;
	if (fstat(os->wal, &st) == 0 && st.st_size < os->wal_bytes && index_room(os, &e) == 0)
		more = pwrite(os->wal, zeros, LAY_BYTES, st.st_size) == LAY_BYTES;
	index_end(os, false);
	return more && fdatasync(os->wal) == 0;
}

static void lay_wal(struct objects *os)
{
	void *zeros = calloc(1, LAY_BYTES);

	while (zeros && lay_piece(os, zeros))
		;
	free(zeros);
}

/* ---- who waits */

int commit_wait(struct objects *os, struct err *e)
{
	struct commits *cm = os->commits;
	struct err result = { 0 };

	pthread_mutex_lock(&cm->lock);
	uint64_t my = ++cm->wanted;
	while (cm->done < my) {
		if (cm->leading) {
			pthread_cond_wait(&cm->turn, &cm->lock);
			result = cm->result;
			continue;
		}
		uint64_t upto = cm->wanted;

		cm->leading = true;
		cm->soon = false;
		pthread_mutex_unlock(&cm->lock);
		result = (struct err){ 0 };
		commit(os, &result);
		pthread_mutex_lock(&cm->lock);
		cm->leading = false;
		cm->done = upto;
		cm->result = result;
		pthread_cond_broadcast(&cm->turn);
	}
	pthread_mutex_unlock(&cm->lock);
	if (result.code)
		*e = result;
	return -result.code;
}

int commit_asked(struct objects *os, struct err *e)
{
	struct commits *cm = os->commits;

	pthread_mutex_lock(&cm->lock);
	if (++cm->asked == LAY_AFTER) {
		cm->lay = true;
		pthread_cond_signal(&cm->wake);
	}
	pthread_mutex_unlock(&cm->lock);
	return commit_wait(os, e);
}

void commit_soon(struct objects *os)
{
	struct commits *cm = os->commits;

	pthread_mutex_lock(&cm->lock);
	if (!cm->soon) {
		cm->soon = true;
		pthread_cond_signal(&cm->wake);
	}
	pthread_mutex_unlock(&cm->lock);
}

static void *run_clock(void *arg)
{
	struct objects *os = arg;
	struct commits *cm = os->commits;
	struct err e = { 0 };
	int failed = 0;

	pthread_mutex_lock(&cm->lock);
	while (!cm->stop) {
		if (!cm->soon && !cm->lay) {
			pthread_cond_wait(&cm->wake, &cm->lock);
			continue;
		}
		bool lay = cm->lay;

		cm->lay = false;
		pthread_mutex_unlock(&cm->lock);
		if (lay)
			lay_wal(os);
		usleep((failed ? 1000 : COMMIT_MS) * 1000);
		int rc = commit_wait(os, &e);
		if (rc < 0 && !failed++)
			log_error("objects: commit: %s", e.msg);
		if (rc == 0 && failed) {
			log_info("objects: commits work again");
			failed = 0;
		}
		pthread_mutex_lock(&cm->lock);
		if (rc < 0)
			cm->soon = true;	/* again, later */
	}
	pthread_mutex_unlock(&cm->lock);
	return NULL;
}

int commits_start(struct objects *os, struct err *e)
{
	struct commits *cm = calloc(1, sizeof *cm);

	if (!cm)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&cm->lock, NULL);
	pthread_cond_init(&cm->turn, NULL);
	pthread_cond_init(&cm->wake, NULL);
	cm->last = &cm->first;
	os->commits = cm;
	int rc = pthread_create(&cm->clock, NULL, run_clock, os);
	if (rc == 0)
		return 0;
	free(cm);
	os->commits = NULL;
	return err_set(e, rc, "a thread: %s", strerror(rc));
}

void commits_stop(struct objects *os)
{
	struct commits *cm = os->commits;

	if (!cm)
		return;
	pthread_mutex_lock(&cm->lock);
	cm->stop = true;
	pthread_cond_signal(&cm->wake);
	pthread_mutex_unlock(&cm->lock);
	pthread_join(cm->clock, NULL);
}

void commits_free(struct objects *os)
{
	struct commits *cm = os->commits;

	while (cm && cm->first) {	/* a disk that failed to the end */
		struct cut *c = cm->first;

		cm->first = c->next;
		pins_drop(os, &c->pins);
		cut_free(os, c);
	}
	free(cm);
	os->commits = NULL;
}
