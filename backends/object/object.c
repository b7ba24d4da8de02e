/* Contents that are open: reading, writing, sharing. */
#include "body.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#define BODY_MAX (8u << 20)	/* written of one object and not yet in chunks: its writer waits */
#define SIZE_LIMIT INT64_C(0x7ffffffffffff000)

struct object {
	struct body *b;
	bool write, wrote;
};

/* ---- what a body knows */

static int know_version(struct body *b, struct err *e)
{
	uint64_t size = 0;
	int64_t mtime = 0;

	if (!index_enter(b->os, e))
		return -e->code;
	int rc = version_content(b->os, -b->id, &size, &mtime, &b->root, e);
	if (rc == 0 && b->root)	/* who reads it reads on when it is removed */
		rc = pin(b->os, &b->pins, b->root, e);
	index_end(b->os, false);
	if (rc == 0) {
		b->size = b->root_size = size;
		b->mtime = mtime;
	}
	return rc;
}

int body_know(struct body *b, struct err *e)
{
	struct entry n;
	struct space s;

	if (b->known)
		return 0;
	if (b->id < 0) {
		if (know_version(b, e) < 0)
			return -e->code;
		b->known = true;
		return 0;
	}
	if (name_get(b->os, b->id, &n, e) < 0)
		return -e->code;
	if (n.type != ENTRY_FILE)
		return err_set(e, n.type == ENTRY_DIR ? EISDIR : EINVAL, "it is no file");
	b->space = n.space;
	b->root = n.root;
	b->size = b->root_size = n.size;
	b->used = n.used;
	b->mtime = n.mtime;
	bool told = space_get(b->os, n.space, &s, &(struct err){ 0 }) == 0;
	b->compress = !told || s.compression;
	b->versioned = told && s.versioning;
	if (n.uncut)
		b->dirty = true;	/* new: even if nothing is written it is to be kept */
	b->known = true;
	return 0;
}

int body_load(struct body *b, struct err *e)
{
	if (b->loaded)
		return 0;
	if (!index_enter(b->os, e))
		return -e->code;
	int rc = manifest_load(b->os, b->root, b->root_size, &b->m, e);
	index_end(b->os, false);
	b->loaded = rc == 0;
	return rc;
}

int body_want(struct body *b, uint64_t off, uint64_t len, struct err *e)
{
	if (manifest_has(&b->m, off, len))
		return 0;
	if (!index_enter(b->os, e))
		return -e->code;
	int rc = manifest_want(b->os, &b->m, off, len, e);
	index_end(b->os, false);
	return rc;
}

/* Whoever sets its time, owner and attributes after the first write means the new content. */
static void remember(struct body *b)
{
	struct err e;

	if (b->dirty || !b->versioned || b->before || b->id < 0 || !index_enter(b->os, &e))
		return;
	b->before = before_get(b->os, b->id, b->mtime);
	index_end(b->os, false);
}

void body_dirty(struct body *b)
{
	remember(b);
	b->dirty = true;
	b->used = b->m.used + b->runs.bytes;
	b->writes++;
	b->mtime = now_us() * 1000;
}

/* The lock is held: may it have that size?  What it grows by counts from now on. */
static int grow(struct body *b, uint64_t size, struct err *e)
{
	int64_t more = (int64_t)size - (int64_t)b->size;

	if (more <= 0 || b->removed)
		return 0;
	if (!index_enter(b->os, e))
		return -e->code;
	int rc = space_room(b->os, b->space, more, 0, e);
	if (rc == 0) {
		space_pending(b->os, b->space, more);
		b->told += more;
	}
	index_end(b->os, false);
	return rc;
}

/* What it lost counts no more at once: who writes a file anew needs no room for both.  told is below 0 until that is recorded. */
static void shrink(struct body *b, uint64_t size)
{
	int64_t less = (int64_t)b->size - (int64_t)size;
	struct err e;

	if (less <= 0 || b->removed || b->id < 0 || !index_enter(b->os, &e))
		return;
	space_pending(b->os, b->space, -less);
	b->told -= less;
	index_end(b->os, false);
}

/* ---- open and close */

static struct object *handle(struct body *b, bool write)
{
	struct object *o = calloc(1, sizeof *o);

	if (!o)
		return NULL;
	*o = (struct object){ .b = b, .write = write };
	pthread_mutex_lock(&b->os->bodies->lock);
	b->opens++;
	pthread_mutex_unlock(&b->os->bodies->lock);
	return o;
}

static int truncate_locked(struct body *b, int64_t size, struct err *e);

int object_open(struct objects *os, int64_t id, int flags, struct object **ret, struct err *e)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY;
	struct body *b;
	int rc = body_get(os, id, &b, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&b->lock);
	rc = body_know(b, e);
	if (rc == 0 && flags & O_TRUNC && write)
		rc = truncate_locked(b, 0, e);
	pthread_mutex_unlock(&b->lock);
	if (rc == 0 && flags & O_TRUNC && write)
		etag_changed(os, id, 0);
	if (rc == 0 && !(*ret = handle(b, write)))
		rc = err_set(e, ENOMEM, "%m");
	if (rc == 0)
		(*ret)->wrote = flags & O_TRUNC;
	if (rc < 0)
		body_put(b);
	return rc;
}

int version_open(struct objects *os, int64_t version, struct object **ret, struct err *e)
{
	return object_open(os, -version, O_RDONLY, ret, e);
}

bool object_versioned(const struct object *o)
{
	return o->write && o->b->versioned;
}

void object_flush(struct object *o)
{
	struct body *b = o->b;

	if (!object_versioned(o))
		return;
	pthread_mutex_lock(&b->lock);
	if (b->dirty && o->wrote)
		b->closed_by = o;
	pthread_mutex_unlock(&b->lock);
}

void object_close(struct object *o)
{
	struct body *b = o->b;

	if (object_versioned(o)) {
		pthread_mutex_lock(&b->lock);
		if (b->closed_by == o)
			b->closed_by = b;
		pthread_mutex_unlock(&b->lock);
	}
	free(o);
	body_closed(b, true);
	body_put(b);
}

bool object_shared(struct object *o)
{
	return o->b->opens > 1;
}

/* ---- reading */

static int read_extent(struct objects *os, const struct extent *x, unsigned char *buf, size_t len, struct err *e)
{
	if (!x->chunk) {
		memset(buf, 0, len);
		return 0;
	}
	return chunks_get(os, x->chunk, x->off, (uint32_t)len, buf, e);
}

struct part {
	struct extent x;
	unsigned char *buf;
	size_t len;
};

/* The lock is held, and given away while chunks are read.  Memory wins over chunks: it is copied last, but taken first. */
static int read_locked(struct body *b, unsigned char *buf, size_t len, uint64_t off, struct err *e)
{
	struct part some[40];
	size_t n = 0;
	int rc = 0;

	if (b->runs.n && runs_cover(&b->runs, off, len)) {
		runs_read(&b->runs, buf, len, off);
		return 0;
	}
	if (b->runs.n && runs_touch(&b->runs, off, len)) {	/* partly: it is made whole first */
		rc = body_flush(b, true, false, e);
		if (rc < 0)
			return rc;
	}
	rc = body_load(b, e);
	for (size_t done = 0; rc == 0 && done < len; ) {
		for (n = 0; rc == 0 && done < len && n < ARRAY_LEN(some); n++) {
			rc = body_want(b, off + done, 1, e);
			if (rc < 0)
				break;
			struct extent x = manifest_at(&b->m, off + done);
			size_t l = x.len < len - done ? (size_t)x.len : len - done;

			some[n] = (struct part){ x, buf + done, l };
			done += l;
		}
		pthread_mutex_unlock(&b->lock);
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = read_extent(b->os, &some[i].x, some[i].buf, some[i].len, e);
		pthread_mutex_lock(&b->lock);
	}
	return rc;
}

int64_t body_read(struct body *b, char *buf, size_t size, int64_t off, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&b->lock);
	for (int tries = 0; tries < 50; tries++) {
		uint64_t before = b->writes;

		if (off < 0 || (uint64_t)off >= b->size) {
			size = 0;
			break;
		}
		if (size > b->size - (uint64_t)off)
			size = b->size - (uint64_t)off;
		rc = read_locked(b, (unsigned char *)buf, size, (uint64_t)off, e);
		if (rc == 0 || before == b->writes)	/* else what was read was just replaced */
			break;
	}
	pthread_mutex_unlock(&b->lock);
	return rc < 0 ? rc : (int64_t)size;
}

int64_t object_read(struct object *o, char *buf, size_t size, int64_t off, struct err *e)
{
	return body_read(o->b, buf, size, off, e);
}

/* ---- writing */

static int write_locked(struct body *b, const char *buf, size_t size, uint64_t off, struct err *e)
{
	struct bodies *bs = b->os->bodies;
	uint64_t end = off + size;
	int rc = 0;

	if (end > SIZE_LIMIT)
		return err_set(e, EFBIG, "an object has at most 8 EiB");
	if (body_settle(b, e) < 0 || index_room(b->os, e) < 0 || grow(b, end, e) < 0)
		return -e->code;
	while (size) {
		size_t n = size < RUN_MAX ? size : RUN_MAX;
		uint64_t before = b->runs.bytes;

		rc = runs_put(&b->runs, buf, n, off);
		if (rc < 0)
			return err_set(e, ENOMEM, "%m");
		if (rc == 0) {
			if (b->working)
				pthread_cond_wait(&b->changed, &b->lock);
			else if (body_flush(b, true, false, e) < 0)
				return -e->code;
			continue;
		}
		atomic_fetch_add(&bs->bytes, b->runs.bytes - before);
		body_dirty(b);
		if (off + n > b->size)
			b->size = off + n;
		buf += n;
		off += n;
		size -= n;
	}
	return 0;
}

/* Where there is much in memory it is brought into chunks: by a worker while this one goes on, and by itself when it is ahead of it. */
static int throttle(struct body *b, struct err *e)
{
	struct bodies *bs = b->os->bodies;

	if (b->runs.bytes >= RUN_MAX / 2)
		body_work(b);
	while (b->working && b->runs.bytes > BODY_MAX)
		pthread_cond_wait(&b->changed, &b->lock);
	/* what a writer in order is at is left to grow: its end is no boundary that would be found again */
	if (b->runs.bytes > BODY_MAX && body_flush(b, false, false, e) < 0)
		return -e->code;
	if (b->runs.bytes > BODY_MAX || b->runs.n > 2048)
		return body_flush(b, true, false, e);
	if (bs->bytes > DIRTY_MAX) {
		if (b->runs.bytes > DIRTY_MAX / 16)
			return body_flush(b, false, false, e);
		commit_soon(b->os);
	}
	return b->failed.code ? (*e = b->failed, -e->code) : 0;
}

int64_t object_write(struct object *o, const char *buf, size_t size, int64_t off, bool append, struct err *e)
{
	struct body *b = o->b;

	if (!o->write)
		return err_set(e, EBADF, "it is open for reading");
	pthread_mutex_lock(&b->lock);
	if (b->closed_by == o)	/* a copy of its descriptor was: it goes on */
		b->closed_by = NULL;
	o->wrote = true;
	uint64_t at = append ? b->size : (uint64_t)off;
	int rc = write_locked(b, buf, size, at, e);
	if (rc == 0)
		rc = throttle(b, e);
	pthread_mutex_unlock(&b->lock);
	if (rc == 0)
		etag_changed(b->os, b->id, at);
	return rc < 0 ? rc : (int64_t)size;
}

static int truncate_locked(struct body *b, int64_t size, struct err *e)
{
	int rc = 0;

	if (size < 0 || size > SIZE_LIMIT)
		return err_set(e, size < 0 ? EINVAL : EFBIG, "an object has at most 8 EiB");
	if ((uint64_t)size == b->size)
		return 0;
	if (body_settle(b, e) < 0)
		return -e->code;
	while (b->working)
		pthread_cond_wait(&b->changed, &b->lock);
	if ((uint64_t)size > b->size) {
		rc = grow(b, (uint64_t)size, e);
	} else {
		uint64_t before = b->runs.bytes;

		runs_cut(&b->runs, (uint64_t)size);
		atomic_fetch_sub(&b->os->bodies->bytes, before - b->runs.bytes);
		if (size == 0) {
			manifest_free(&b->m);
			b->loaded = true;
			b->failed.code = 0;
		} else {
			rc = body_load(b, e);
			if (rc == 0 && (uint64_t)size < b->m.span)
				rc = body_want(b, (uint64_t)size, 1, e);
			if (rc == 0)
				rc = manifest_cut(&b->m, (uint64_t)size, e);
		}
	}
	if (rc < 0)
		return rc;
	shrink(b, (uint64_t)size);
	b->size = (uint64_t)size;
	body_dirty(b);
	return 0;
}

int object_truncate(struct objects *os, int64_t id, int64_t size, struct err *e)
{
	struct body *b;
	int rc = body_get(os, id, &b, e);

	if (rc < 0)
		return rc;
	pthread_mutex_lock(&b->lock);
	rc = body_know(b, e);
	if (rc == 0)
		rc = truncate_locked(b, size, e);
	pthread_mutex_unlock(&b->lock);
	if (rc == 0) {
		etag_changed(os, id, 0);
		body_closed(b, false);
	}
	body_put(b);
	return rc;
}

int object_sync(struct object *o, struct err *e)
{
	if (o->b->id < 0)
		return 0;
	if (body_cut(o->b, true, e) < 0)
		return -e->code;
	return commit_asked(o->b->os, e);
}

/* ---- without bytes */

/* What `in` has there, as extents: pinned for the other, whose chunks they will be. */
static int64_t collect(struct body *in, uint64_t off, uint64_t len, struct extent *v, size_t max, size_t *n, struct err *e)
{
	uint64_t done = 0;

	for (*n = 0; done < len && *n < max; (*n)++) {
		if (body_want(in, off + done, 1, e) < 0)
			return -e->code;
		v[*n] = manifest_at(&in->m, off + done);
		if (v[*n].len > len - done)
			v[*n].len = len - done;
		done += v[*n].len;
	}
	return (int64_t)done;
}

static int pin_extents(struct objects *os, struct body *b, const struct extent *v, size_t n, struct err *e)
{
	int rc = index_enter(os, e) ? 0 : -e->code;

	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (v[i].chunk)
			rc = pin(os, &b->pins, v[i].chunk, e);
	index_end(os, false);
	return rc;
}

static int pin_leaves(struct objects *os, struct body *b, size_t from, struct err *e)
{
	int rc = index_enter(os, e) ? 0 : -e->code;

	if (rc < 0)
		return rc;
	for (size_t i = from; rc == 0 && i < b->m.n_leaves; i++)
		if (b->m.leaves[i].id)
			rc = pin(os, &b->pins, -b->m.leaves[i].id, e);
	index_end(os, false);
	return rc;
}

/* Both are locked and flushed. */
static int64_t copy_locked(struct body *in, uint64_t from, struct body *out, uint64_t to, uint64_t len, struct err *e)
{
	struct extent v[256];
	uint64_t done = 0;

	if (body_settle(out, e) < 0 || grow(out, to + len, e) < 0 || index_room(out->os, e) < 0)
		return -e->code;
	while (done < len) {
		size_t n, leaves = out->m.n_leaves;
		int64_t got = to + done == out->m.span && in != out ? manifest_share(&out->m, &in->m, from + done, len - done, e) : 0;

		if (got > 0 && pin_leaves(out->os, out, leaves, e) < 0)
			return -e->code;
		if (got == 0) {
			got = collect(in, from + done, len - done, v, ARRAY_LEN(v), &n, e);
			if (got > 0 && (pin_extents(out->os, out, v, n, e) < 0 || body_want(out, to + done, (uint64_t)got, e) < 0 ||
					manifest_splice(&out->m, to + done, (uint64_t)got, v, n, e) < 0))
				return -e->code;
		}
		if (got < 0)
			return got;
		done += (uint64_t)got;
		if (to + done > out->size)
			out->size = to + done;
	}
	body_dirty(out);
	return (int64_t)done;
}

static void lock_two(struct body *a, struct body *b)
{
	pthread_mutex_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		pthread_mutex_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_two(struct body *a, struct body *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a != b)
		pthread_mutex_unlock(&b->lock);
}

int64_t object_copy(struct object *oin, int64_t from, struct object *oout, int64_t to, size_t len, struct err *e)
{
	struct body *in = oin->b, *out = oout->b;
	int64_t rc = 0;

	if (!oout->write)
		return err_set(e, EBADF, "it is open for reading");
	/* in chunks first, each under its own lock; what comes meanwhile is flushed again */
	for (int tries = 0; ; tries++) {
		pthread_mutex_lock(&in->lock);
		rc = body_flush(in, true, false, e);
		pthread_mutex_unlock(&in->lock);
		pthread_mutex_lock(&out->lock);
		if (rc == 0)
			rc = body_flush(out, true, false, e);
		pthread_mutex_unlock(&out->lock);
		if (rc < 0)
			return rc;
		lock_two(in, out);
		if ((!in->runs.n && !out->runs.n && !in->working && !out->working) || tries > 100)
			break;
		unlock_two(in, out);
	}
	if (in->runs.n || out->runs.n)
		rc = err_set(e, EBUSY, "it is being written");
	else if (from < 0 || (uint64_t)from >= in->size)
		rc = 0;
	else if (in == out && from < to + (int64_t)len && to < from + (int64_t)len)
		rc = err_set(e, EINVAL, "the ranges overlap");
	else if (body_load(in, e) < 0 || body_load(out, e) < 0)
		rc = -e->code;
	else
		rc = copy_locked(in, (uint64_t)from, out, (uint64_t)to, len < in->size - (uint64_t)from ? len : in->size - (uint64_t)from, e);
	unlock_two(in, out);
	if (rc > 0)
		etag_changed(out->os, out->id, (uint64_t)to);
	return rc;
}

int64_t object_seek(struct object *o, int64_t off, int whence, struct err *e)
{
	struct body *b = o->b;
	int64_t rc;

	pthread_mutex_lock(&b->lock);
	rc = body_flush(b, true, false, e);
	if (rc == 0)
		rc = body_load(b, e);
	uint64_t at = (uint64_t)off;
	while (rc == 0) {
		if (off < 0 || at >= b->size) {
			if (whence == SEEK_HOLE && off >= 0 && (uint64_t)off < b->size)
				rc = (int64_t)b->size;
			else
				rc = err_set(e, ENXIO, "nothing beyond the end");
			break;
		}
		if ((rc = body_want(b, at, 1, e)) < 0)
			break;
		struct extent x = manifest_at(&b->m, at);
		if ((whence == SEEK_DATA) == (x.chunk != 0)) {
			rc = (int64_t)at;
			break;
		}
		if (x.len > b->size - at)
			at = b->size;
		else
			at += x.len;
		rc = 0;
	}
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static int punch_locked(struct body *b, uint64_t off, uint64_t len, struct err *e)
{
	struct extent hole = { .len = len };

	if (off >= b->m.span)
		return 0;
	if (len > b->m.span - off)
		hole.len = len = b->m.span - off;
	if (body_want(b, off, len, e) < 0)
		return -e->code;
	return manifest_splice(&b->m, off, len, &hole, 1, e);
}

int object_allocate(struct object *o, int mode, int64_t off, int64_t len, struct err *e)
{
	struct body *b = o->b;
	bool zero = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE);
	int rc;

	if (!o->write)
		return err_set(e, EBADF, "it is open for reading");
	if (mode & ~(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return err_set(e, EOPNOTSUPP, "this kind of allocation is not possible here");
	if (off < 0 || len <= 0 || len > SIZE_LIMIT - off)
		return err_set(e, EFBIG, "an object has at most 8 EiB");
	pthread_mutex_lock(&b->lock);
	rc = body_settle(b, e);
	if (rc == 0 && zero)
		rc = body_flush(b, true, false, e);
	if (rc == 0 && !(mode & FALLOC_FL_KEEP_SIZE))
		rc = grow(b, (uint64_t)(off + len), e);
	if (rc == 0 && zero)
		rc = body_load(b, e);
	if (rc == 0 && zero)
		rc = punch_locked(b, (uint64_t)off, (uint64_t)len, e);
	if (rc == 0 && !(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)(off + len) > b->size) {
		b->size = (uint64_t)(off + len);
		body_dirty(b);
	}
	if (rc == 0 && zero)
		body_dirty(b);
	pthread_mutex_unlock(&b->lock);
	if (rc == 0)
		etag_changed(b->os, b->id, (uint64_t)off);
	return rc;
}
