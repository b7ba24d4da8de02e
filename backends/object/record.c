/* What was appended to packs gets its rows in the index, and packs their counts, within a commit. */
#include "chunk_parts.h"

#include <errno.h>

#define LOOSE_MAX 8192		/* pending ones that nothing refers to yet: beyond it they get rows */

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
	int rc = where_row(os, w->id, &was, e);

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
