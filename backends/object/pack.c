/* Pack files: records appended, never changed.  A record is a head of RECORD_HEAD bytes, the chunk's stored bytes, zeros up to a multiple of 8.
 * The head names the chunk, so that the index's rows of chunks can be made again from the packs alone, and has a checksum of its own, so that
 * the next one is found behind a damaged one.  The stored bytes are proven by the chunk's own hash, of the plain bytes. */
#include "core.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>

#include "../base/log.h"

AUTO_FN(DIR *, closedir);
AUTO_FN(struct packs *, packs_close);

#define PACK_MAX (INT64_C(64) << 20)	/* CIRRUSFS_PACK_MAX in the environment: another, for tests */
#define FLUSH_EACH (INT64_C(4) << 20)	/* the disk begins to write this early */
#define OPEN_MAX 64
#define SLOT_STALE (-1)			/* the pack's file is gone, its last reader is not */
#define MAGIC UINT64_C(0x316b6e7568436643)	/* "CfChunk1" */
#define IOV_EACH 128

struct head {			/* little-endian, as the machines it runs on */
	uint64_t magic;
	int64_t id, h, h2;
	uint32_t len, stored;
	uint64_t pad;
	uint64_t check;		/* XXH3-64 of what is before */
};
_Static_assert(sizeof(struct head) == RECORD_HEAD, "the head of a record");

struct packs {
	int dir;
	char *path;
	struct placed *placed;	/* NULL: all packs are here */
	int64_t max;
	pthread_mutex_t lock;
	int64_t current, end, flushed;	/* end: where the next record goes; 0: none is open */
	int fd;
	int64_t last;		/* the highest number there is */
	int unsynced[8];	/* full ones that were not synced yet */
	unsigned n_unsynced;
	bool dir_changed, dirty;
	int sync_errno;		/* of the first sync that failed; 0: none did */
	pthread_mutex_t sync_lock;
	struct {
		int64_t pack;
		int fd;
		unsigned users;
		uint64_t used;
	} open[OPEN_MAX];
	uint64_t tick;
};

static void pack_name(int64_t pack, char ret[40])
{
	snprintf(ret, 40, "%08" PRId64 ".pack", pack);
}

static int64_t pack_number(const char *name)
{
	int64_t no;
	int end = 0;

	return sscanf(name, "%" SCNd64 ".pack%n", &no, &end) == 1 && end && !name[end] && no > 0 ? no : 0;
}

int packs_each(struct packs *p, int (*fn)(void *arg, int64_t pack, int64_t size), void *arg, struct err *e)
{
	AUTO(closedir) DIR *d = opendir(p->path);
	int rc = 0;

	if (!d)
		return err_set(e, errno, "the packs in '%s': %m", p->path);
	for (struct dirent *de; rc == 0 && (de = readdir(d)); ) {
		int64_t no = pack_number(de->d_name);
		struct stat st;

		if (no && fstatat(p->dir, de->d_name, &st, 0) == 0)
			rc = fn(arg, no, st.st_size);
	}
	return rc;
}

static int highest(void *arg, int64_t pack, int64_t size)
{
	int64_t *last = arg;

	*last = pack > *last ? pack : *last;
	return 0;
}

static int64_t pack_max(void)
{
	const char *text = getenv("CIRRUSFS_PACK_MAX");
	int64_t n = text ? atoll(text) : 0;

	return n >= CHUNK_MAX && n < PACK_MAX ? n : PACK_MAX;
}

int packs_open(const char *dir, struct packs **ret, struct err *e)
{
	AUTO(packs_close) struct packs *p = calloc(1, sizeof *p);

	if (!p)
		return err_set(e, ENOMEM, "%m");
	p->fd = p->dir = -1;
	p->max = pack_max();
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->sync_lock, NULL);
	if (asprintf(&p->path, "%s/packs", dir) < 0)
		return err_set(e, ENOMEM, "%m");
	if (mkdir(p->path, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make '%s': %m", p->path);
	p->dir = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir < 0)
		return err_set(e, errno, "open '%s': %m", p->path);
	if (packs_each(p, highest, &p->last, e) < 0)
		return -e->code;
	*ret = steal_ptr(&p);
	return 0;
}

void packs_close(struct packs *p)
{
	for (size_t i = 0; i < OPEN_MAX; i++)
		if (p->open[i].pack)
			close(p->open[i].fd);
	for (unsigned i = 0; i < p->n_unsynced; i++)
		close(p->unsynced[i]);
	if (p->fd >= 0)
		close(p->fd);
	if (p->dir >= 0)
		close(p->dir);
	free(p->path);
	free(p);
}

void packs_use(struct packs *p, struct placed *pl)
{
	p->placed = pl;
}

bool packs_far(struct packs *p, int64_t pack)
{
	return pack && placed_remote(p->placed) && placed_find(p->placed, pack, NULL) == PLACED_WHOLE;
}

void packs_taken(struct packs *p, int64_t last)
{
	pthread_mutex_lock(&p->lock);
	p->last = last > p->last ? last : p->last;
	pthread_mutex_unlock(&p->lock);
}

int64_t packs_number(struct packs *p)
{
	pthread_mutex_lock(&p->lock);
	int64_t pack = ++p->last;
	pthread_mutex_unlock(&p->lock);
	return pack;
}

int64_t packs_full_size(struct packs *p)
{
	return p->max;
}

int packs_file(struct packs *p, int64_t pack, int *ret, int64_t *size, struct err *e)
{
	char name[40];
	struct stat st;

	pack_name(pack, name);
	AUTO(close) int fd = openat(p->dir, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "open pack '%s': %m", name);
	*size = st.st_size;
	*ret = steal_fd(&fd);
	return 0;
}

int packs_home(struct packs *p, int64_t pack, const char *place_name, bool rename, struct err *e)
{
	char name[40];

	pack_name(pack, name);
	if (faccessat(p->dir, name, F_OK, 0) == 0)
		return 1;
	if (faccessat(p->dir, place_name, F_OK, 0) < 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "pack '%s': %m", place_name);
	if (rename && (renameat(p->dir, place_name, p->dir, name) < 0 || fsync(p->dir) < 0))
		return err_set(e, errno, "rename pack '%s': %m", place_name);
	return 1;
}

/* ---- appending */

/* The lock is held. */
static int pack_new(struct packs *p, struct err *e)
{
	char name[40];

	pack_name(p->last + 1, name);
	int fd = openat(p->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, errno, errno == ENOSPC ? "the disk that holds the store is full" : "make pack '%s/%s': %m", p->path, name);
	p->current = ++p->last;
	p->fd = fd;
	p->end = p->flushed = 0;
	p->dir_changed = true;
	return 0;
}

/* The lock is held.  What a failed sync had to write is forgotten by the kernel, and the next sync says that all is well: none is believed again. */
static int sync_told(struct packs *p, int rc)
{
	if (rc < 0 && !p->sync_errno)
		p->sync_errno = errno;
	return rc;
}

/* Those that are full are synced outside the lock, later; there is room for their descriptors or it is done now. */
static void pack_full(struct packs *p)
{
	if (p->n_unsynced == ARRAY_LEN(p->unsynced)) {
		sync_told(p, fdatasync(p->unsynced[0]));
		close(p->unsynced[0]);
		memmove(p->unsynced, p->unsynced + 1, --p->n_unsynced * sizeof p->unsynced[0]);
	}
	p->unsynced[p->n_unsynced++] = p->fd;
	p->fd = -1;
	p->current = 0;
}

static void head_make(struct head *h, const struct where *w)
{
	*h = (struct head){ MAGIC, w->id, w->h, w->h2, w->len, w->stored };
	h->check = XXH3_64bits(h, offsetof(struct head, check));
}

static int write_all(int fd, struct iovec *v, int n, int64_t at, struct err *e)
{
	while (n > 0) {
		ssize_t got = pwritev(fd, v, n, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_set(e, errno, errno == ENOSPC ? "the disk that holds the store is full" : "write a pack: %m");
		at += got;
		for (; n > 0 && (size_t)got >= v->iov_len; n--)
			got -= (ssize_t)v++->iov_len;
		if (n > 0) {
			v->iov_base = (char *)v->iov_base + got;
			v->iov_len -= (size_t)got;
		}
	}
	return 0;
}

/* At most IOV_EACH / 3 of them. */
static int append_some(struct packs *p, struct record *r, size_t n, struct err *e)
{
	struct head heads[IOV_EACH / 3];
	struct iovec v[IOV_EACH];
	static const char zeros[8];
	int64_t size = 0, flush_from = 0, flush_to = 0;
	int k = 0;

	for (size_t i = 0; i < n; i++)
		size += record_size(r[i].w.stored);
	pthread_mutex_lock(&p->lock);
	if (p->current && p->end + size > p->max)
		pack_full(p);
	if (!p->current && pack_new(p, e) < 0) {
		pthread_mutex_unlock(&p->lock);
		return -e->code;
	}
	int64_t at = p->end, pack = p->current;
	/* its own: another writer may fill the pack while this one writes */
	int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	p->end += size;
	if (p->end - p->flushed >= FLUSH_EACH) {
		flush_from = p->flushed;
		flush_to = p->flushed = at;
	}
	pthread_mutex_unlock(&p->lock);
	if (fd < 0)
		return err_set(e, errno, "a pack: %m");
	for (size_t i = 0, pos = (size_t)at; i < n; i++) {
		size_t whole = (size_t)record_size(r[i].w.stored), rest = whole - RECORD_HEAD - r[i].w.stored;

		r[i].w.pack = pack;
		r[i].w.at = (int64_t)pos;
		head_make(&heads[i], &r[i].w);
		v[k++] = (struct iovec){ &heads[i], RECORD_HEAD };
		v[k++] = (struct iovec){ (void *)(uintptr_t)r[i].data, r[i].w.stored };
		if (rest)
			v[k++] = (struct iovec){ (void *)(uintptr_t)zeros, rest };
		pos += whole;
	}
	int rc = write_all(fd, v, k, at, e);
	/* a sync that came between the reservation and the write had none of it */
	pthread_mutex_lock(&p->lock);
	bool full = p->current != pack;
	p->dirty |= !full;
	pthread_mutex_unlock(&p->lock);
	if (rc == 0 && full && fdatasync(fd) < 0) {
		pthread_mutex_lock(&p->lock);
		sync_told(p, -1);
		rc = sync_failed(p->sync_errno, e);
		pthread_mutex_unlock(&p->lock);
	}
	if (rc < 0)	/* what was written of it is nobody's */
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size);
	if (rc == 0 && flush_to > flush_from)
		sync_file_range(fd, flush_from, flush_to - flush_from, SYNC_FILE_RANGE_WRITE);
	close(fd);
	return rc;
}

int packs_append(struct packs *p, struct record *r, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i += IOV_EACH / 3)
		if (append_some(p, r + i, n - i < IOV_EACH / 3 ? n - i : IOV_EACH / 3, e) < 0)
			return -e->code;
	return 0;
}

int packs_sync(struct packs *p, struct err *e)
{
	int fds[ARRAY_LEN(p->unsynced) + 1], rc = 0;
	unsigned n = 0, closing = 0;

	pthread_mutex_lock(&p->sync_lock);
	pthread_mutex_lock(&p->lock);
	bool dir = p->dir_changed;
	for (unsigned i = 0; i < p->n_unsynced; i++)
		fds[n++] = p->unsynced[i];
	closing = n;
	if (p->current && p->dirty) {
		int fd = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);

		if (fd >= 0)
			fds[n++] = fd;
		else
			rc = err_set(e, errno, "a pack: %m");
	}
	p->n_unsynced = 0;
	p->dirty = p->dir_changed = false;
	pthread_mutex_unlock(&p->lock);
	int why = 0;
	for (unsigned i = 0; i < n && !why; i++)
		why = fdatasync(fds[i]) < 0 ? errno : 0;
	if (!why && dir && fsync(p->dir) < 0)
		why = errno;
	pthread_mutex_lock(&p->lock);
	if (why && !p->sync_errno)
		p->sync_errno = why;
	if (p->sync_errno)
		rc = sync_failed(p->sync_errno, e);
	else if (rc < 0)		/* to be tried again */
		p->dirty = true, p->dir_changed |= dir;
	for (unsigned i = 0; i < n; i++) {
		if (rc < 0 && i < closing && p->n_unsynced < ARRAY_LEN(p->unsynced))
			p->unsynced[p->n_unsynced++] = fds[i];
		else
			close(fds[i]);
	}
	pthread_mutex_unlock(&p->lock);
	pthread_mutex_unlock(&p->sync_lock);
	return rc;
}

int packs_sync_errno(struct packs *p)
{
	pthread_mutex_lock(&p->lock);
	int why = p->sync_errno;
	pthread_mutex_unlock(&p->lock);
	return why;
}

int64_t packs_current(struct packs *p)
{
	pthread_mutex_lock(&p->lock);
	int64_t pack = p->current;
	pthread_mutex_unlock(&p->lock);
	return pack;
}

/* ---- reading */

/* A pack that is read: by a slot with an open descriptor, held until source_close, or from the place. */
struct source {
	int slot;		/* -1: in the place, as name */
	int64_t pack, size;	/* size: of one in the place, once it was asked for */
	char name[PLACED_NAME];
};

/* One that is read stays open until that is done. */
static void slot_forget(struct packs *p, int64_t pack)
{
	for (int i = 0; i < OPEN_MAX; i++)
		if (p->open[i].pack == pack) {
			if (!p->open[i].users)
				close(p->open[i].fd);
			p->open[i].pack = p->open[i].users ? SLOT_STALE : 0;
			p->open[i].used = 0;
		}
}

/* The lock is held.  A descriptor; -1: it is in the place, which has none; below that the error, minus one. */
static int pack_open(struct packs *p, int64_t pack, char place_name[PLACED_NAME], struct err *e)
{
	enum placed_state is = placed_find(p->placed, pack, place_name);
	char name[40];
	int fd = -1;

	pack_name(pack, name);
	if (is != PLACED_WHOLE) {
		fd = openat(p->dir, name, O_RDONLY | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		if (errno != ENOENT)
			return err_set(e, errno, "pack %s: %m", name) - 1;
		if (is == PLACED_NOT)
			return placed_missing(p->placed, pack, e) - 1;
	}
	int rc = placed_fd(p->placed, place_name, &fd, e);
	return rc < 0 ? rc - 1 : rc > 0 ? fd : -1;
}

/* A slot of it, or the least used that is free; -1: all are in use. */
static int slot_for(struct packs *p, int64_t pack)
{
	int slot = -1;

	for (int i = 0; i < OPEN_MAX; i++) {
		if (p->open[i].pack == pack)
			return i;
		if (!p->open[i].users && (slot < 0 || !p->open[i].pack || p->open[i].used < p->open[slot].used))
			slot = i;
	}
	return slot;
}

static int source_open(struct packs *p, int64_t pack, struct source *ret, struct err *e)
{
	*ret = (struct source){ .slot = -1, .pack = pack, .size = -1 };
	pthread_mutex_lock(&p->lock);
	int slot = slot_for(p, pack), rc = 0;
	if (slot < 0 || p->open[slot].pack != pack) {
		int fd = pack_open(p, pack, ret->name, e);

		if (fd < -1)
			rc = fd + 1;
		else if (fd >= 0 && slot < 0) {
			close(fd);
			rc = err_set(e, EMFILE, "too many packs are read at once");
		} else if (fd >= 0) {
			if (p->open[slot].pack)
				close(p->open[slot].fd);
			p->open[slot].pack = pack;
			p->open[slot].fd = fd;
		} else {
			slot = -1;
		}
	}
	if (rc == 0 && slot >= 0) {
		ret->slot = slot;
		p->open[slot].users++;
		p->open[slot].used = ++p->tick;
	}
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void source_close(struct packs *p, const struct source *s)
{
	if (s->slot < 0)
		return;
	pthread_mutex_lock(&p->lock);
	if (!--p->open[s->slot].users && p->open[s->slot].pack == SLOT_STALE) {
		close(p->open[s->slot].fd);
		p->open[s->slot].pack = 0;
	}
	pthread_mutex_unlock(&p->lock);
}

static int read_all(int fd, void *buf, size_t len, int64_t at, size_t *got)
{
	*got = 0;
	while (*got < len) {
		ssize_t n = pread(fd, (char *)buf + *got, len - *got, at + (int64_t)*got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return 0;
}

/* *got is less where the pack ends; of one in the place that is EBADMSG unless its size was asked for. */
static int source_read(struct packs *p, const struct source *s, void *buf, size_t len, int64_t at, size_t *got, struct err *e)
{
	if (s->slot >= 0) {
		int rc = read_all(p->open[s->slot].fd, buf, len, at, got);

		return rc < 0 ? err_set(e, EIO, "read pack %" PRId64 ": %s", s->pack, strerror(-rc)) : 0;
	}
	if (s->size >= 0 && at + (int64_t)len > s->size)
		len = at < s->size ? (size_t)(s->size - at) : 0;
	*got = len;
	return placed_read(p->placed, s->name, buf, len, at, e);
}

int packs_read(struct packs *p, const struct where *w, void *buf, struct err *e)
{
	struct source s;
	size_t got = 0;

	if (source_open(p, w->pack, &s, e) < 0)
		return -e->code;
	int rc = source_read(p, &s, buf, w->stored, w->at + RECORD_HEAD, &got, e);
	source_close(p, &s);
	if (rc < 0)
		return rc;
	return got == w->stored ? 0 : err_set(e, EBADMSG, "pack %" PRId64 " is cut off", w->pack);
}

bool packs_sound(struct packs *p, const struct where *w)
{
	struct err e;
	struct head h, want;
	unsigned char rest[8] = { 0 }, zeros[8] = { 0 };
	size_t n = (size_t)(record_size(w->stored) - RECORD_HEAD - w->stored), got = 0, more = 0;
	struct source s;
	int rc = source_open(p, w->pack, &s, &e);

	if (rc == 0) {
		rc = source_read(p, &s, &h, sizeof h, w->at, &got, &e);
		if (rc == 0)
			rc = source_read(p, &s, rest, n, w->at + RECORD_HEAD + w->stored, &more, &e);
		source_close(p, &s);
	}
	if (rc < 0)
		return rc != -EBADMSG && packs_far(p, w->pack);
	head_make(&want, w);
	return got == sizeof h && more == n && memcmp(&h, &want, sizeof h) == 0 && memcmp(rest, zeros, n) == 0;
}

int packs_remove(struct packs *p, int64_t pack, struct err *e)
{
	char name[40];

	pack_name(pack, name);
	pthread_mutex_lock(&p->lock);
	slot_forget(p, pack);
	pthread_mutex_unlock(&p->lock);
	return unlinkat(p->dir, name, 0) < 0 && errno != ENOENT ? err_set(e, errno, "remove pack '%s': %m", name) : 0;
}

int packs_punch(struct packs *p, int64_t pack, int64_t from, int64_t to, struct err *e)
{
	char name[40];

	pack_name(pack, name);
	AUTO(close) int fd = openat(p->dir, name, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "open pack '%s': %m", name);
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from) < 0 ? err_set(e, errno, "punch pack '%s': %m", name) : 0;
}

void packs_seal(struct packs *p)
{
	pthread_mutex_lock(&p->lock);
	if (p->current)
		pack_full(p);
	pthread_mutex_unlock(&p->lock);
}

int packs_lose(struct packs *p, int64_t pack, struct err *e)
{
	char name[40], to[60];

	pack_name(pack, name);
	snprintf(to, sizeof to, "lost+found/%s", name);
	if (mkdirat(p->dir, "lost+found", 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make '%s/lost+found': %m", p->path);
	return renameat(p->dir, name, p->dir, to) < 0 ? err_set(e, errno, "move pack '%s': %m", name) : 0;
}

bool packs_found(struct packs *p, int64_t pack)
{
	char name[40], from[60];

	pack_name(pack, name);
	snprintf(from, sizeof from, "lost+found/%s", name);
	return renameat(p->dir, from, p->dir, name) == 0 && fsync(p->dir) == 0;
}

int packs_lost_away(struct packs *p, struct err *e)
{
	AUTO(free) char *from = NULL, *to = NULL;

	/* beside what else of the store was found and is nobody's */
	if (asprintf(&from, "%s/lost+found", p->path) < 0 || asprintf(&to, "%s/../../lost+found", p->path) < 0)
		return err_set(e, ENOMEM, "%m");
	if (mkdir(to, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make '%s': %m", to);
	free(to);
	to = NULL;
	if (asprintf(&to, "%s/../../lost+found/packs-%ld", p->path, (long)time(NULL)) < 0)
		return err_set(e, ENOMEM, "%m");
	return rename(from, to) < 0 ? err_set(e, errno, "move '%s': %m", from) : 0;
}

int64_t packs_lost(struct packs *p)
{
	AUTO(free) char *path = NULL;
	int64_t n = 0;

	if (asprintf(&path, "%s/lost+found", p->path) < 0)
		return 0;
	AUTO(closedir) DIR *d = opendir(path);
	for (struct dirent *de; d && (de = readdir(d)); )
		n += pack_number(de->d_name) > 0;
	return n;
}

static bool head_sound(const struct head *h)
{
	return h->magic == MAGIC && h->len && h->len <= CHUNK_MAX && h->stored && h->stored <= h->len && h->id > 0 &&
		h->check == XXH3_64bits(h, offsetof(struct head, check));
}

int packs_scan(struct packs *p, int64_t pack, int (*fn)(void *arg, const struct where *w, const void *data), void *arg, struct err *e)
{
	const size_t size = 1 << 20;
	AUTO(free) unsigned char *buf = malloc(size);
	struct source src;
	int rc = buf ? source_open(p, pack, &src, e) : err_set(e, ENOMEM, "%m");
	size_t have = 0, at = 0;	/* of buf */
	int64_t base = 0;		/* where buf begins in the file */
	bool more = true;

	if (rc < 0)
		return rc;
	if (src.slot < 0)
		rc = placed_size(p->placed, src.name, &src.size, e);
	while (rc == 0) {
		if (more && have - at < RECORD_HEAD + CHUNK_MAX + 8) {
			size_t got;

			memmove(buf, buf + at, have - at);
			base += (int64_t)at;
			have -= at;
			at = 0;
			got = 0;
			rc = source_read(p, &src, buf + have, size - have, base + (int64_t)have, &got, e);
			have += got;
			more = got > 0;
			continue;
		}
		struct head h;
		if (have - at < RECORD_HEAD)
			break;
		memcpy(&h, buf + at, RECORD_HEAD);
		if (!head_sound(&h) || have - at < RECORD_HEAD + (size_t)h.stored) {
			at += 8;
			continue;
		}
		struct where w = { h.id, h.h, h.h2, h.len, pack, base + (int64_t)at, h.stored };
		rc = fn(arg, &w, buf + at + RECORD_HEAD);
		at += (size_t)record_size(h.stored);
		at = at > have ? have : at;
	}
	source_close(p, &src);
	return rc;
}
