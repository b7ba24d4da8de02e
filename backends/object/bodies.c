/* The table of bodies; those that are due; cuts. */
#include "body.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "../base/log.h"
#include "../base/text.h"

#define ETAG_NOW 65536	/* contents up to this have their MD5 made from memory, when they are cut */

static struct body **slot_of(struct bodies *bs, int64_t id)
{
	return &bs->table[((uint64_t)id * UINT64_C(0x9e3779b97f4a7c15)) >> 52];
}

static struct body *find(struct bodies *bs, int64_t id)
{
	struct body *b = *slot_of(bs, id);

	while (b && b->id != id)
		b = b->hash_next;
	return b;
}

struct body *body_find(struct objects *os, int64_t id)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	struct body *b = find(bs, id);
	if (b)
		b->refs++;
	pthread_mutex_unlock(&bs->lock);
	return b;
}

int body_get(struct objects *os, int64_t id, struct body **ret, struct err *e)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	struct body *b = find(bs, id);
	if (!b && (b = calloc(1, sizeof *b))) {
		*b = (struct body){ .os = os, .id = id };
		pthread_mutex_init(&b->lock, NULL);
		pthread_cond_init(&b->changed, NULL);
		struct body **at = slot_of(bs, id);

		b->hash_next = *at;
		*at = b;
		bs->n++;
	}
	if (b)
		b->refs++;
	pthread_mutex_unlock(&bs->lock);
	if (!b)
		return err_set(e, ENOMEM, "%m");
	*ret = b;
	return 0;
}

static void body_free(struct body *b)
{
	struct err e;

	if (b->runs.bytes)
		atomic_fetch_sub(&b->os->bodies->bytes, b->runs.bytes);
	runs_free(&b->runs);
	manifest_free(&b->m);
	before_free(b->before);
	if ((b->pins || b->told) && index_enter(b->os, &e)) {
		pins_drop(b->os, &b->pins);
		if (b->told)
			space_pending(b->os, b->space, -b->told);
		index_end(b->os, false);
	}
	pthread_mutex_destroy(&b->lock);
	pthread_cond_destroy(&b->changed);
	free(b);
}

/* The table's lock is held: it is cut with the next commit.  True: that is to be told. */
static bool make_due(struct bodies *bs, struct body *b)
{
	if (!b->dirty || b->removed || b->due)
		return false;
	b->owed = true;
	b->due = true;
	b->due_next = bs->due;
	bs->due = b;
	bs->n_due++;
	b->refs++;
	return true;
}

void body_closed(struct body *b, bool handle)
{
	struct bodies *bs = b->os->bodies;

	pthread_mutex_lock(&bs->lock);
	if (handle)
		b->opens--;
	bool tell = !b->opens && make_due(bs, b);
	pthread_mutex_unlock(&bs->lock);
	if (tell)
		commit_soon(b->os);
}

/* What is written and not yet cut waits for the next commit; everything else goes with the last reference. */
void body_put(struct body *b)
{
	struct bodies *bs = b->os->bodies;
	struct objects *os = b->os;
	bool forget = false;
	struct err e;

	pthread_mutex_lock(&bs->lock);
	if (--b->refs) {
		pthread_mutex_unlock(&bs->lock);
		return;
	}
	if (make_due(bs, b)) {
		pthread_mutex_unlock(&bs->lock);
		commit_soon(os);
		return;
	}
	struct body **at = slot_of(bs, b->id);
	while (*at != b)
		at = &(*at)->hash_next;
	*at = b->hash_next;
	bs->n--;
	forget = b->removed && b->id > 0;
	pthread_mutex_unlock(&bs->lock);
	int64_t id = b->id;
	body_free(b);
	if (forget && index_enter(os, &e)) {
		if (name_forget(os, id, &e) < 0)
			log_warn("objects: %s", e.msg);
		index_end(os, true);
	}
}

/* ---- what names.c asks.  The index is begun. */

void body_overlay(struct objects *os, struct entry *n)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	struct body *b = bs->n ? find(bs, n->id) : NULL;
	if (b && (b->dirty || b->cuts)) {
		n->size = b->size;
		n->used = b->used < b->size ? b->used : b->size;
		n->mtime = b->mtime;
		n->ctime = n->mtime > n->ctime ? n->mtime : n->ctime;
	}
	pthread_mutex_unlock(&bs->lock);
}

void body_times(struct objects *os, int64_t id, int64_t mtime)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	struct body *b = bs->n ? find(bs, id) : NULL;
	if (b)
		b->mtime = mtime;
	pthread_mutex_unlock(&bs->lock);
}

bool body_is(struct objects *os, int64_t id)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	bool is = bs->n && find(bs, id);
	pthread_mutex_unlock(&bs->lock);
	return is;
}

bool body_version(struct objects *os, int64_t version, uint64_t *size, int64_t *mtime)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	const struct body *b = find(bs, -version);
	if (b) {
		*size = b->size;
		*mtime = b->mtime;
	}
	pthread_mutex_unlock(&bs->lock);
	return b;
}

bool body_removed(struct objects *os, int64_t id)
{
	struct bodies *bs = os->bodies;
	bool stays = false;

	pthread_mutex_lock(&bs->lock);
	struct body *b = bs->n ? find(bs, id) : NULL;
	if (b) {
		b->removed = true;
		stays = true;	/* whoever uses it puts it, and then its row goes */
	}
	if (b && b->told) {	/* what it was growing by counts no more */
		space_pending(os, b->space, -b->told);
		b->told = 0;
	}
	pthread_mutex_unlock(&bs->lock);
	return stays;
}

void body_renamed(struct objects *os, int64_t id)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	struct body *b = bs->n ? find(bs, id) : NULL;
	if (b && !b->renamed && (b->dirty || b->cuts)) {
		b->owed = true;
		b->renamed = true;
		b->renamed_next = bs->renamed;
		bs->renamed = b;
		b->refs++;
	}
	pthread_mutex_unlock(&bs->lock);
}

bool bodies_renamed(struct objects *os)
{
	pthread_mutex_lock(&os->bodies->lock);
	bool any = os->bodies->renamed;
	pthread_mutex_unlock(&os->bodies->lock);
	return any;
}

/* ---- cuts */

static int cut_locked(struct body *b, bool soon, struct err *e);

static int etag_now(struct body *b, char ret[33])
{
	unsigned char sum[16];
	unsigned len;

	if (!b->size || b->size > ETAG_NOW || b->runs.n != 1 || b->runs.v[0]->off || b->runs.v[0]->len != b->size)
		return 0;
	if (EVP_Digest(run_data(b->runs.v[0]), b->size, sum, &len, EVP_md5(), NULL) != 1)
		return 0;
	hex_text(ret, sum, sizeof sum);
	return 1;
}

int body_settle(struct body *b, struct err *e)
{
	if ((b->owed || b->closed_by) && b->dirty && !b->removed)
		return cut_locked(b, false, e);
	b->owed = false;	/* what was owed is on its way */
	b->closed_by = NULL;
	return 0;
}

static int cut_locked(struct body *b, bool soon, struct err *e)
{
	struct objects *os = b->os;
	struct cut *c;
	char etag[33] = "";

	while (b->working)
		pthread_cond_wait(&b->changed, &b->lock);
	if (!b->dirty) {
		b->owed = false;
		b->closed_by = NULL;
		return 0;
	}
	etag_now(b, etag);
	if (body_load(b, e) < 0 || body_flush(b, true, soon && b->runs.bytes <= 4 * FRESH_MAX, e) < 0)
		return -e->code;
	if (!(c = calloc(1, sizeof *c)))
		return err_set(e, ENOMEM, "%m");
	if (!index_enter(os, e)) {
		free(c);
		return -e->code;
	}
	if (b->m.span > b->size && manifest_cut(&b->m, b->size, e) < 0) {
		index_end(os, false);
		free(c);
		return -e->code;
	}
	int rc = manifest_save(os, &b->m, b->size, &c->saved, e);
	if (rc == 0) {
		c->pins = steal_ptr(&b->pins);
		if (b->told)
			space_pending(os, b->space, -b->told);
		b->told = 0;
	}
	index_end(os, rc == 0);
	if (rc < 0) {
		free(c);
		return rc;
	}
	c->id = b->id;
	c->size = b->size;
	c->used = b->m.used;
	c->mtime = b->mtime;
	memcpy(c->etag, etag, sizeof etag);
	b->root = c->saved.root;
	b->root_size = c->size;
	c->before = b->before;
	b->before = NULL;
	b->cuts++;
	b->dirty = b->owed = false;
	b->closed_by = NULL;
	pthread_mutex_lock(&os->bodies->lock);
	b->refs++;	/* the cut's */
	pthread_mutex_unlock(&os->bodies->lock);
	c->mark = chunks_mark(os);
	commit_queue(os, c);
	if (!*etag && b->size)
		etag_hint(os, b->id);
	return 0;
}

#define SPILL 32	/* leaves */

/* All leaves that have rows, or will, and the chunks of those that have not. */
static int pin_again(struct body *b, struct pins **p, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < b->m.n_leaves; i++) {
		const struct leaf *l = &b->m.leaves[i];

		if (l->id)
			rc = pin(b->os, p, -l->id, e);
		for (uint32_t x = 0; rc == 0 && !l->id && x < l->n; x++)
			if (l->ext[x].chunk)
				rc = pin(b->os, p, l->ext[x].chunk, e);
	}
	return rc;
}

int body_spill(struct body *b, struct err *e)
{
	struct pins *pins = NULL;
	struct cut *c;

	if (b->m.n_leaves <= SPILL || manifest_unsaved(&b->m) < SPILL)
		return 0;
	if (!b->cuts)
		manifest_forget(&b->m);
	if (!(c = calloc(1, sizeof *c)))
		return err_set(e, ENOMEM, "%m");
	if (!index_enter(b->os, e)) {
		free(c);
		return -e->code;
	}
	int rc = manifest_spill(b->os, &b->m, &c->saved, e);
	if (rc == 0)
		rc = pin_again(b, &pins, e);
	if (rc == 0) {
		c->pins = b->pins;
		b->pins = pins;
	} else {
		pins_drop(b->os, &pins);
	}
	index_end(b->os, true);
	c->id = b->id;
	c->spill = true;
	b->cuts++;
	pthread_mutex_lock(&b->os->bodies->lock);
	b->refs++;
	pthread_mutex_unlock(&b->os->bodies->lock);
	c->mark = chunks_mark(b->os);
	commit_queue(b->os, c);
	return rc;
}

int body_cut(struct body *b, bool soon, struct err *e)
{
	pthread_mutex_lock(&b->lock);
	int rc = cut_locked(b, soon, e);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

void body_settled(struct objects *os, int64_t id)
{
	struct body *b = body_find(os, id);
	struct err e = { 0 };

	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	if (body_settle(b, &e) < 0)
		log_warn("objects: object %ld cannot be stored: %s", (long)id, e.msg);
	pthread_mutex_unlock(&b->lock);
	body_put(b);
}

bool bodies_settled(struct objects *os)
{
	struct bodies *bs = os->bodies;
	struct ref_list closed = { 0 };
	struct err e;
	bool owe = false;

	pthread_mutex_lock(&bs->lock);
	for (size_t i = 0; i < ARRAY_LEN(bs->table) && bs->n; i++)
		for (const struct body *b = bs->table[i]; b; b = b->hash_next) {
			owe |= b->versioned && (b->owed || b->cuts || b->due || b->closed_by);
			if (b->closed_by)
				refs_add(&closed, b->id, &e);
		}
	pthread_mutex_unlock(&bs->lock);
	for (size_t i = 0; i < closed.n; i++)
		body_settled(os, closed.v[i]);
	free(closed.v);
	return owe;
}

static struct body *take_due(struct bodies *bs, bool renamed)
{
	pthread_mutex_lock(&bs->lock);
	struct body *b = renamed ? bs->renamed : bs->due;
	if (b && renamed) {
		bs->renamed = b->renamed_next;
		b->renamed = false;
	} else if (b) {
		bs->due = b->due_next;
		b->due = false;
		bs->n_due--;
	}
	pthread_mutex_unlock(&bs->lock);
	return b;
}

/* Unless its next writer has done it already: what that one writes is not to be cut now. */
static int cut_owed(struct body *b, bool soon, struct err *e)
{
	pthread_mutex_lock(&b->lock);
	while (b->working)	/* perhaps for that very cut */
		pthread_cond_wait(&b->changed, &b->lock);
	int rc = b->owed ? cut_locked(b, soon, e) : 0;
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static void cut_list(struct objects *os, bool renamed, bool soon)
{
	struct body *failed = NULL, *b;

	while ((b = take_due(os->bodies, renamed))) {
		struct err e = { 0 };

		if (!b->removed && cut_owed(b, soon, &e) < 0) {
			log_warn("objects: object %ld cannot be stored: %s", (long)b->id, e.msg);
			b->due_next = failed;	/* tried again with the next commit */
			failed = b;
			continue;
		}
		body_put(b);
	}
	while ((b = failed)) {
		failed = b->due_next;
		body_put(b);
	}
}

bool bodies_cut(struct objects *os, bool only_renamed)
{
	pthread_mutex_lock(&os->bodies->lock);
	bool any = os->bodies->due || os->bodies->renamed, few = os->bodies->n_due <= 16;
	pthread_mutex_unlock(&os->bodies->lock);
	if (!any)
		return false;
	cut_list(os, true, few);
	if (!only_renamed)
		cut_list(os, false, few);
	return true;
}

int64_t body_mtime(struct objects *os, const struct cut *c)
{
	struct bodies *bs = os->bodies;

	pthread_mutex_lock(&bs->lock);
	const struct body *b = find(bs, c->id);
	int64_t mtime = b ? b->mtime : c->mtime;
	pthread_mutex_unlock(&bs->lock);
	return mtime;
}

void bodies_recorded(struct objects *os, const struct cut *c)
{
	struct body *b = body_find(os, c->id);

	if (!b)
		return;
	b->cuts--;
	body_put(b);	/* this one's */
	body_put(b);	/* the cut's */
}

void bodies_close(struct objects *os)
{
	struct bodies *bs = os->bodies;

	if (!bs)
		return;
	pthread_mutex_lock(&bs->work_lock);
	bs->stop = true;
	pthread_cond_broadcast(&bs->work);
	pthread_mutex_unlock(&bs->work_lock);
	for (unsigned i = 0; i < bs->n_threads; i++)
		pthread_join(bs->threads[i], NULL);
	bs->n_threads = 0;
}

void bodies_free(struct objects *os)
{
	struct bodies *bs = os->bodies;

	for (size_t i = 0; bs && i < ARRAY_LEN(bs->table); i++)
		for (struct body *b = bs->table[i], *next; b; b = next) {
			next = b->hash_next;
			body_free(b);
		}
	free(bs);
	os->bodies = NULL;
}
