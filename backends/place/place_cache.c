/* A directory of local blocks before a place that is far away.  A block is BLOCK bytes of a file (its last one fewer), in a file of its own with a
 * head; files never change, so a block is right or it is damaged, never old.  The directory may be emptied at any time: nothing is lost by it.
 *
 * What a crash, a full disk or somebody else did to the files is met so: a block is written beside and renamed; one that an earlier process wrote is
 * read and verified whole before its first use; one that is not right is removed and got anew; what is not named as a block is left alone.
 *
 * Lock order: the cache's alone.  No file and no server is waited for with it held, but for unlink. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "../base/log.h"
#include "place_parts.h"

#define BLOCK (1u << 20)
#define MAGIC "cfsblk1\n"
#define BYTES_MIN (16ull << 20)
#define TOUCH_S 60		/* a block's age on disk is told no more often */
#define WARN_S 60
#define NAME_ROOM (PLACE_NAME_MAX + 16)

struct head {			/* on disk, this machine's byte order: a cache does not move */
	char magic[8];
	uint64_t origin, name;	/* XXH3 of whose block it is */
	uint64_t no, total;	/* bytes of the whole file */
	uint64_t len, sum;	/* of the block: bytes, XXH3 */
	uint64_t self;		/* XXH3 of what is before */
};

struct file {			/* one whose size is known, or of which there are blocks */
	struct file *next;
	uint64_t total;		/* 0: not known */
	size_t blocks;
	char name[];
};

enum block_state { LOADING, ON_DISK };

struct block {
	struct block *next;		/* in the table */
	struct block *newer, *older;	/* ON_DISK: by use */
	struct file *file;
	uint64_t no;
	enum block_state state;
	bool verified;		/* ON_DISK: this process wrote it or looked at it */
	bool dead;		/* LOADING: not to be kept */
	size_t len;		/* ON_DISK */
	time_t touched;
	/* LOADING: who waits reads from memory */
	unsigned waiting;
	bool ended;
	struct err err;
	char *data;
};

struct cache {
	struct place p;
	struct place *inner;
	int dir;
	uint64_t origin, limit;
	pthread_mutex_t lock;
	pthread_cond_t loaded;
	struct file **files;
	struct block **table;
	size_t n_files, n_blocks, mask;	/* of both tables */
	struct block *newest, *oldest;
	struct place_cache_stats stats;
	unsigned serial;		/* of names of what is written */
	time_t warned;
};

AUTO_FN(DIR *, closedir);

/* ---- the tables.  With the lock held */

static size_t name_hash(const char *name)
{
	return (size_t)XXH3_64bits(name, strlen(name));
}

static size_t block_slot(const struct cache *c, const struct file *f, uint64_t no)
{
	return (name_hash(f->name) + (size_t)no * 0x9e3779b97f4a7c15ull) & c->mask;
}

static struct file *file_find(struct cache *c, const char *name)
{
	struct file *f = c->files[name_hash(name) & c->mask];

	while (f && strcmp(f->name, name) != 0)
		f = f->next;
	return f;
}

/* Doubled when they are full; that it fails only makes them slower. */
static void tables_grow(struct cache *c)
{
	size_t old = c->mask + 1, size = 2 * old;

	if (c->n_blocks < old && c->n_files < old)
		return;
	AUTO(free) struct file **files = calloc(size, sizeof *files);
	AUTO(free) struct block **table = calloc(size, sizeof *table);
	if (!files || !table)
		return;
	c->mask = size - 1;
	for (size_t i = 0; i < old; i++) {
		for (struct file *f = c->files[i], *next; f; f = next) {
			struct file **to = &files[name_hash(f->name) & c->mask];

			next = f->next;
			f->next = *to;
			*to = f;
		}
		for (struct block *b = c->table[i], *next; b; b = next) {
			struct block **to = &table[block_slot(c, b->file, b->no)];

			next = b->next;
			b->next = *to;
			*to = b;
		}
	}
	free(c->files);
	free(c->table);
	c->files = steal_ptr(&files);
	c->table = steal_ptr(&table);
}

static struct file *file_get(struct cache *c, const char *name)
{
	struct file *f = file_find(c, name);

	if (f)
		return f;
	f = calloc(1, sizeof *f + strlen(name) + 1);
	if (!f)
		return NULL;
	memcpy(f->name, name, strlen(name) + 1);
	tables_grow(c);
	struct file **to = &c->files[name_hash(name) & c->mask];
	f->next = *to;
	*to = f;
	c->n_files++;
	return f;
}

/* Forgets it, unless there are blocks of it. */
static void file_drop(struct cache *c, struct file *f)
{
	if (f->blocks)
		return;
	for (struct file **p = &c->files[name_hash(f->name) & c->mask]; *p; p = &(*p)->next)
		if (*p == f) {
			*p = f->next;
			c->n_files--;
			free(f);
			return;
		}
}

static struct block *block_find(struct cache *c, const char *name, uint64_t no)
{
	struct file *f = file_find(c, name);
	struct block *b = f ? c->table[block_slot(c, f, no)] : NULL;

	while (b && (b->no != no || b->file != f))
		b = b->next;
	return b;
}

static struct block *block_add(struct cache *c, const char *name, uint64_t no, enum block_state state)
{
	struct block *b = calloc(1, sizeof *b);
	struct file *f = b ? file_get(c, name) : NULL;

	if (!f) {
		free(b);
		return NULL;
	}
	tables_grow(c);
	b->file = f;
	b->no = no;
	b->state = state;
	f->blocks++;
	c->n_blocks++;
	struct block **to = &c->table[block_slot(c, f, no)];
	b->next = *to;
	*to = b;
	return b;
}

static void use_remove(struct cache *c, struct block *b)
{
	*(b->newer ? &b->newer->older : &c->newest) = b->older;
	*(b->older ? &b->older->newer : &c->oldest) = b->newer;
	b->newer = b->older = NULL;
}

static void use_newest(struct cache *c, struct block *b)
{
	b->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = b;
	c->newest = b;
}

static void block_free(struct cache *c, struct block *b)
{
	for (struct block **p = &c->table[block_slot(c, b->file, b->no)]; *p; p = &(*p)->next)
		if (*p == b) {
			*p = b->next;
			break;
		}
	c->n_blocks--;
	b->file->blocks--;
	free(b->data);
	free(b);
}

/* ---- files of blocks: NAME.NUMBER, the number in 8 hexadecimal digits */

static void block_name(const char *name, uint64_t no, char ret[NAME_ROOM])
{
	snprintf(ret, NAME_ROOM, "%s.%08llx", name, (unsigned long long)no);
}

static bool block_name_parse(const char *text, char name[NAME_ROOM], uint64_t *no)
{
	const char *dot = strrchr(text, '.');
	size_t len = dot ? (size_t)(dot - text) : 0;

	if (!len || len > PLACE_NAME_MAX || strlen(dot) != 9 || strspn(dot + 1, "0123456789abcdef") != 8)
		return false;
	snprintf(name, NAME_ROOM, "%.*s", (int)len, text);
	*no = strtoull(dot + 1, NULL, 16);
	return place_name_ok(name);
}

static uint64_t block_len(uint64_t total, uint64_t no)
{
	uint64_t from = no * BLOCK;

	return from >= total ? 0 : total - from < BLOCK ? total - from : BLOCK;
}

static struct head head_of(const struct cache *c, const char *name, uint64_t no, uint64_t total, const void *data, size_t len)
{
	struct head h = { .origin = c->origin, .name = XXH3_64bits(name, strlen(name)), .no = no, .total = total, .len = len, .sum = XXH3_64bits(data, len) };

	memcpy(h.magic, MAGIC, sizeof h.magic);
	h.self = XXH3_64bits(&h, offsetof(struct head, self));
	return h;
}

static bool head_good(const struct cache *c, const struct head *h, const char *name, uint64_t no, size_t len)
{
	return memcmp(h->magic, MAGIC, sizeof h->magic) == 0 && h->self == XXH3_64bits(h, offsetof(struct head, self)) && h->origin == c->origin &&
		h->name == XXH3_64bits(name, strlen(name)) && h->no == no && h->len == len && block_len(h->total, no) == len;
}

/* Reads it whole; 0 and *total when all of it is right. */
static int block_verify(struct cache *c, int fd, const char *name, uint64_t no, size_t len, uint64_t *total)
{
	AUTO(free) char *buf = malloc(len);
	struct head h;
	struct err e;
	struct stat st;

	if (!buf || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != sizeof h + len || place_pread(fd, &h, sizeof h, 0, &e) < 0 ||
	    !head_good(c, &h, name, no, len) || place_pread(fd, buf, len, sizeof h, &e) < 0 || h.sum != XXH3_64bits(buf, len))
		return -1;
	*total = h.total;
	return 0;
}

static int write_all(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len; ) {
		ssize_t n = write(fd, (const char *)buf + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* Without a sync: what a power cut makes of it is seen when it is verified. */
static int block_write(struct cache *c, const char *name, uint64_t no, uint64_t total, const void *data, size_t len)
{
	struct head h = head_of(c, name, no, total, data, len);
	char part[48], whole[NAME_ROOM];

	block_name(name, no, whole);
	snprintf(part, sizeof part, ".new.%u.%u", (unsigned)getpid(), __atomic_add_fetch(&c->serial, 1, __ATOMIC_RELAXED));
	AUTO(close) int fd = openat(c->dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	int rc = write_all(fd, &h, sizeof h);
	rc = rc ? rc : write_all(fd, data, len);
	if (rc == 0 && renameat(c->dir, part, c->dir, whole) < 0)
		rc = -errno;
	if (rc < 0)
		unlinkat(c->dir, part, 0);
	return rc;
}

/* ---- evicting.  With the lock held */

/* What a get reads from meanwhile stays until it has. */
static void block_evict(struct cache *c, struct block *b)
{
	char name[NAME_ROOM];

	block_name(b->file->name, b->no, name);
	unlinkat(c->dir, name, 0);
	use_remove(c, b);
	c->stats.bytes -= b->len;
	block_free(c, b);
}

static void make_room(struct cache *c, uint64_t limit)
{
	while (c->stats.bytes > limit && c->oldest)
		block_evict(c, c->oldest);
}

static void forget(struct cache *c, const char *name)
{
	struct file *f = file_find(c, name);

	if (!f)
		return;
	for (size_t i = 0; f->blocks && i <= c->mask; i++)
		for (struct block *b = c->table[i], *next; b; b = next) {
			next = b->next;
			if (b->file != f)
				continue;
			if (b->state == ON_DISK)
				block_evict(c, b);
			else
				b->dead = true;
		}
	f->total = 0;
	file_drop(c, f);
}

/* ---- one block */

/* From the file of a block that is there.  -1: it is not right, or not there any more. */
static int read_block(struct cache *c, const char *name, uint64_t no, size_t whole, bool verified, size_t off, size_t len, void *buf, uint64_t *total)
{
	char file[NAME_ROOM];
	struct err e;

	block_name(name, no, file);
	AUTO(close) int fd = openat(c->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || (!verified && block_verify(c, fd, name, no, whole, total) < 0))
		return -1;
	return place_pread(fd, buf, len, sizeof(struct head) + off, &e) < 0 ? -1 : 0;
}

/* With the lock held, which is given up meanwhile.  1: buf is filled; 0: it is not to be had from the disk. */
static int try_disk(struct cache *c, struct block *b, size_t off, size_t len, void *buf)
{
	AUTO(free) char *name = strdup(b->file->name);
	uint64_t no = b->no, total = 0;
	size_t whole = b->len;
	bool verified = b->verified, touch = time(NULL) - b->touched > TOUCH_S;
	char file[NAME_ROOM];

	if (!verified && off + len > whole) {	/* cut, as likely as not */
		block_evict(c, b);
		c->stats.dropped++;
	}
	if (!name || off + len > whole)
		return 0;
	use_remove(c, b);
	use_newest(c, b);
	if (touch)
		b->touched = time(NULL);
	pthread_mutex_unlock(&c->lock);
	int rc = read_block(c, name, no, whole, verified, off, len, buf, &total);
	if (rc == 0 && touch) {
		block_name(name, no, file);
		utimensat(c->dir, file, NULL, AT_SYMLINK_NOFOLLOW);
	}
	pthread_mutex_lock(&c->lock);
	b = block_find(c, name, no);		/* it may be another by now */
	if (rc == 0 && !verified && b && b->state == ON_DISK) {
		rc = b->file->total && b->file->total != total ? -1 : 0;
		b->verified = true;
		b->file->total = b->file->total ? b->file->total : total;
	}
	if (rc < 0 && b && b->state == ON_DISK) {
		block_evict(c, b);
		c->stats.dropped++;
	}
	return rc == 0;
}

/* Keeps what was got, where it can be. */
static void block_keep(struct cache *c, struct block *b, uint64_t total, size_t len)
{
	AUTO(free) char *name = strdup(b->file->name);
	uint64_t no = b->no;
	time_t now = time(NULL);

	make_room(c, c->limit - len);
	pthread_mutex_unlock(&c->lock);
	int rc = name ? block_write(c, name, no, total, b->data, len) : -ENOMEM;
	pthread_mutex_lock(&c->lock);
	if (rc < 0) {
		if (now - c->warned >= WARN_S)
			log_warn("objects' cache: a block is not kept: %s", strerror(-rc));
		c->warned = now - c->warned >= WARN_S ? now : c->warned;
		if (rc == -ENOSPC || rc == -EDQUOT)	/* somebody else needs the room: give some, the oldest, back */
			make_room(c, c->stats.bytes > 16 * BLOCK ? c->stats.bytes - 16 * BLOCK : 0);
		b->dead = true;
	} else if (b->dead) {
		char file[NAME_ROOM];

		block_name(name, no, file);
		unlinkat(c->dir, file, 0);
	} else {
		b->file->total = total;
		b->len = len;
		b->verified = true;
		b->touched = now;
		c->stats.bytes += len;
	}
}

static int known_size(struct cache *c, const char *name, uint64_t *ret, struct err *e);

/* Downloads it; others who want it meanwhile wait for us.  With the lock held, which is given up meanwhile. */
static int load(struct cache *c, struct block *b, const char *name, size_t off, size_t len, void *buf, struct err *e)
{
	uint64_t total = b->file->total, no = b->no;
	int rc = 0;

	c->stats.misses++;
	pthread_mutex_unlock(&c->lock);
	if (!total)
		rc = known_size(c, name, &total, e);
	size_t whole = (size_t)block_len(total, no);
	if (rc == 0 && off + len > whole)
		rc = err_set(e, EBADMSG, "it has %llu bytes; %zu from %llu are wanted", (unsigned long long)total, len, (unsigned long long)(no * BLOCK + off));
	char *data = rc == 0 ? malloc(whole) : NULL;
	if (rc == 0 && !data)
		rc = err_set(e, ENOMEM, "%m");
	if (rc == 0)
		rc = c->inner->ops->get(c->inner, name, no * BLOCK, whole, data, e);
	pthread_mutex_lock(&c->lock);
	if (rc == 0) {
		b->data = data;
		b->len = whole;
		memcpy(buf, data + off, len);
	} else {
		free(data);
		b->err = *e;
	}
	b->ended = true;
	pthread_cond_broadcast(&c->loaded);
	if (rc == 0 && !b->dead)
		block_keep(c, b, total, whole);
	else
		b->dead = true;
	while (b->waiting)
		pthread_cond_wait(&c->loaded, &c->lock);
	free(steal_ptr(&b->data));
	if (b->dead) {
		struct file *f = b->file;

		block_free(c, b);
		if (!f->total)
			file_drop(c, f);
	} else {
		b->state = ON_DISK;
		use_newest(c, b);
	}
	return rc;
}

/* What another one downloads. */
static int await(struct cache *c, struct block *b, size_t off, size_t len, void *buf, struct err *e)
{
	int rc = 0;

	c->stats.hits++;
	b->waiting++;
	while (!b->ended)
		pthread_cond_wait(&c->loaded, &c->lock);
	if (b->err.code) {
		*e = b->err;
		rc = -e->code;
	} else if (off + len > b->len) {
		rc = err_set(e, EBADMSG, "it ends before what is wanted of it");
	} else {
		memcpy(buf, b->data + off, len);
	}
	b->waiting--;
	pthread_cond_broadcast(&c->loaded);
	return rc;
}

static int get_block(struct cache *c, const char *name, uint64_t no, size_t off, size_t len, void *buf, struct err *e)
{
	int rc;

	pthread_mutex_lock(&c->lock);
	struct block *b = block_find(c, name, no);
	if (b && b->state == ON_DISK) {
		if (try_disk(c, b, off, len, buf)) {
			c->stats.hits++;
			pthread_mutex_unlock(&c->lock);
			return 0;
		}
		b = block_find(c, name, no);
		if (b && b->state == ON_DISK) {		/* came back meanwhile, or is shorter than what is wanted */
			pthread_mutex_unlock(&c->lock);
			return c->inner->ops->get(c->inner, name, no * BLOCK + off, len, buf, e);
		}
	}
	if (b)
		rc = await(c, b, off, len, buf, e);
	else if ((b = block_add(c, name, no, LOADING)))
		rc = load(c, b, name, off, len, buf, e);
	else
		rc = err_set(e, ENOMEM, "%m");
	pthread_mutex_unlock(&c->lock);
	return rc;
}

/* ---- the operations */

static int cache_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	struct cache *c = (struct cache *)p;

	for (size_t done = 0; done < len; ) {
		size_t in = (size_t)((off + done) % BLOCK), n = BLOCK - in < len - done ? BLOCK - in : len - done;

		if (get_block(c, name, (off + done) / BLOCK, in, n, (char *)buf + done, e) < 0)
			return -e->code;
		done += n;
	}
	return 0;
}

static void learn_size(struct cache *c, const char *name, uint64_t total)
{
	pthread_mutex_lock(&c->lock);
	struct file *f = total ? file_get(c, name) : NULL;
	if (f)
		f->total = total;
	pthread_mutex_unlock(&c->lock);
}

static int known_size(struct cache *c, const char *name, uint64_t *ret, struct err *e)
{
	if (c->inner->ops->size(c->inner, name, ret, e) < 0)
		return -e->code;
	learn_size(c, name, *ret);
	return 0;
}

/* Always asked there: whoever asks wants to know whether it is. */
static int cache_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	return known_size((struct cache *)p, name, ret, e);
}

static int cache_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	struct cache *c = (struct cache *)p;

	pthread_mutex_lock(&c->lock);
	forget(c, name);
	pthread_mutex_unlock(&c->lock);
	if (c->inner->ops->put(c->inner, name, fd, size, e) < 0)
		return -e->code;
	learn_size(c, name, size);
	return 0;
}

static int cache_delete(struct place *p, const char *name, struct err *e)
{
	struct cache *c = (struct cache *)p;

	pthread_mutex_lock(&c->lock);
	forget(c, name);
	pthread_mutex_unlock(&c->lock);
	return c->inner->ops->delete(c->inner, name, e);
}

static void cache_forget(struct place *p, const char *name)
{
	struct cache *c = (struct cache *)p;

	pthread_mutex_lock(&c->lock);
	forget(c, name);
	pthread_mutex_unlock(&c->lock);
}

static int cache_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	struct cache *c = (struct cache *)p;

	return c->inner->ops->list(c->inner, begin, fn, arg, e);
}

static int cache_check(struct place *p, struct err *e)
{
	struct cache *c = (struct cache *)p;

	return c->inner->ops->check(c->inner, e);
}

static void cache_stats(struct place *p, struct place_cache_stats *ret)
{
	struct cache *c = (struct cache *)p;

	pthread_mutex_lock(&c->lock);
	*ret = c->stats;
	pthread_mutex_unlock(&c->lock);
}

/* Blocks stay on disk. */
static void cache_close(struct place *p)
{
	struct cache *c = (struct cache *)p;

	place_close(c->inner);
	for (size_t i = 0; c->table && c->files && i <= c->mask; i++) {
		for (struct block *b = c->table[i], *next; b; b = next) {
			next = b->next;
			free(b->data);
			free(b);
		}
		for (struct file *f = c->files[i], *next; f; f = next) {
			next = f->next;
			free(f);
		}
	}
	free(c->table);
	free(c->files);
	if (c->dir >= 0)
		close(c->dir);
	pthread_mutex_destroy(&c->lock);
	pthread_cond_destroy(&c->loaded);
	free(c);
}

static const struct place_ops cache_ops = {
	.name = "cached",
	.close = cache_close,
	.check = cache_check,
	.put = cache_put,
	.get = cache_get,
	.size = cache_size,
	.delete = cache_delete,
	.list = cache_list,
	.forget = cache_forget,
	.stats = cache_stats,
};

/* ---- opening: what earlier processes left */

static int by_age(const void *a, const void *b)
{
	time_t x = (*(struct block *const *)a)->touched, y = (*(struct block *const *)b)->touched;

	return (x > y) - (x < y);
}

static int scan_one(struct cache *c, const char *file, struct err *e)
{
	char name[NAME_ROOM];
	uint64_t no;
	struct stat st;

	if (strncmp(file, ".new.", 5) == 0)
		unlinkat(c->dir, file, 0);
	if (!block_name_parse(file, name, &no) || fstatat(c->dir, file, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
		return 0;
	if (st.st_size <= (off_t)sizeof(struct head) || st.st_size > (off_t)(sizeof(struct head) + BLOCK)) {
		unlinkat(c->dir, file, 0);
		c->stats.dropped++;
		return 0;
	}
	struct block *b = block_add(c, name, no, ON_DISK);
	if (!b)
		return err_set(e, ENOMEM, "%m");
	b->len = (size_t)st.st_size - sizeof(struct head);
	b->touched = st.st_mtime;
	c->stats.bytes += b->len;
	return 0;
}

static int scan(struct cache *c, struct err *e)
{
	AUTO(close) int fd = openat(c->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(closedir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	size_t n = 0;

	if (!d)
		return err_set(e, errno, "open it: %m");
	steal_fd(&fd);
	while (errno = 0, (ent = readdir(d)))
		if (scan_one(c, ent->d_name, e) < 0)
			return -e->code;
	if (errno)
		return err_set(e, errno, "read it: %m");
	AUTO(free) struct block **all = calloc(c->n_blocks + 1, sizeof(struct block *));
	if (!all)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i <= c->mask; i++)
		for (struct block *b = c->table[i]; b; b = b->next)
			all[n++] = b;
	qsort(all, n, sizeof(struct block *), by_age);
	for (size_t i = 0; i < n; i++)
		use_newest(c, all[i]);
	make_room(c, c->limit);
	return 0;
}

int place_cache_wrap(struct place **p, const char *dir, uint64_t bytes, const char *origin, struct err *e)
{
	struct cache *c = calloc(1, sizeof *c);
	AUTO(place_close) struct place *mine = c ? &c->p : NULL;

	if (!c)
		return err_set(e, ENOMEM, "%m");
	c->p.ops = &cache_ops;
	c->dir = -1;
	c->mask = 1023;
	c->limit = bytes < BYTES_MIN ? BYTES_MIN : bytes;
	c->origin = XXH3_64bits(origin, strlen(origin));
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->loaded, NULL);
	c->files = calloc(c->mask + 1, sizeof(struct file *));
	c->table = calloc(c->mask + 1, sizeof(struct block *));
	if (!c->files || !c->table)
		return err_set(e, ENOMEM, "%m");
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "the objects' cache %.200s: %m", dir);
	c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir < 0)
		return err_set(e, errno, "the objects' cache %.200s: %m", dir);
	if (scan(c, e) < 0)
		return err_prefix(e, "the objects' cache %.200s", dir);
	c->inner = *p;
	*p = steal_ptr(&mine);
	return 0;
}
