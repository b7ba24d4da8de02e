/* Files of this machine, copied one after another by a thread of its own: a file server that does not answer holds up nothing else.
 * Holes stay holes; where the file system can, blocks are shared. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "parts.h"

#define PIECE (8 << 20)

/* Some bytes of data at `at`; what cannot be handed over within the kernel is read and written. */
static int copy(struct fetcher *f, struct fetch *x, int src, int64_t at, size_t n, struct err *e)
{
	loff_t from = at, to = at;
	ssize_t got = copy_file_range(src, &from, x->fd, &to, n, 0);

	if (got > 0)
		return part_moved(f, x, at + got, e);
	if (got < 0 && errno != EXDEV && errno != EINVAL && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
		return err_set(e, errno, "copy %s: %m, after %ld bytes", x->name, (long)at);
	AUTO(free) char *buf = malloc(1 << 20);
	if (!buf)
		return err_set(e, ENOMEM, "%m");
	got = pread(src, buf, n < 1 << 20 ? n : 1 << 20, at);
	if (got <= 0)
		return err_set(e, got < 0 ? errno : ESTALE, got < 0 ? "read %s: %m" : "%s became shorter while it was copied", x->name);
	return part_put(f, x, buf, (size_t)got, e);
}

/* The next piece of data, and the hole before it. */
static int piece(struct fetcher *f, struct fetch *x, int src, int64_t size, struct err *e)
{
	int64_t at = x->have, data = lseek(src, at, SEEK_DATA), hole;

	if (data < 0)
		data = errno == ENXIO ? size : at;
	if (data > at) {
		if (data > size)
			data = size;
		if (ftruncate(x->fd, data) < 0)
			return err_set(e, errno, "keep %s: %m", x->name);
		return part_moved(f, x, data, e);
	}
	hole = lseek(src, at, SEEK_HOLE);
	if (hole < 0 || hole > size)
		hole = size;
	return copy(f, x, src, at, hole - at < PIECE ? (size_t)(hole - at) : PIECE, e);
}

static void identity(const struct stat *st, char *ret, size_t size)
{
	snprintf(ret, size, "stat %lx:%lx %ld %ld.%09ld", (unsigned long)st->st_dev, (unsigned long)st->st_ino, (long)st->st_size,
		 (long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

static bool goes_on(struct fetcher *f, const struct fetch *x)
{
	pthread_mutex_lock(&f->lock);
	bool yes = !f->stop && !x->cancelled;
	pthread_mutex_unlock(&f->lock);
	return yes;
}

/* 1: it was told to end. */
static int copy_all(struct fetcher *f, struct fetch *x, int src, struct err *e)
{
	char before[VALIDATOR_MAX], after[VALIDATOR_MAX];
	struct stat st;

	if (fstat(src, &st) < 0)
		return err_set(e, errno, "look at %s: %m", x->name);
	identity(&st, before, sizeof before);
	if (part_open(f, x, e) < 0 ||
	    (strcmp(x->validator, before) == 0 ? part_room(f, x, st.st_size, e) : part_begin(f, x, st.st_size, before, e)) < 0)
		return -e->code;
	while (x->have < st.st_size) {
		if (!goes_on(f, x))
			return 1;
		if (fetch_now_ms() >= x->deadline)
			return err_set(e, ETIMEDOUT, "%s: it did not come within import-timeout", x->name);
		if (piece(f, x, src, st.st_size, e) < 0)
			return -e->code;
	}
	if (fstat(src, &st) == 0)
		identity(&st, after, sizeof after);
	return strcmp(before, after) == 0 ? 0 : err_set(e, ESTALE, "%s changed while it was copied", x->name);
}

static void run(struct fetcher *f, struct fetch *x)
{
	AUTO(close) int src = -1;
	struct origin p = { 0 };
	struct err e = { 0 };
	int rc = origin_of(&f->conf, x->url, &p, &e);

	if (rc == 0)
		rc = origin_open(&f->conf, p.path, &src, &e);
	origin_free(&p);
	if (rc == 0)
		rc = copy_all(f, x, src, &e);
	if (rc == 0)
		fetch_done(f, x);
	else if (rc < 0)
		fetch_fail(f, x, &e, e.code == ETIMEDOUT);
}

void *fetch_copier(void *arg)
{
	struct fetcher *f = arg;
	struct fetch *x;
	int64_t next;

	pthread_mutex_lock(&f->lock);
	while (!f->stop) {
		if ((x = fetch_next_cancelled(f, true))) {
			pthread_mutex_unlock(&f->lock);
			fetch_drop(f, x);
		} else if ((x = fetch_next(f, true, &next))) {
			pthread_mutex_unlock(&f->lock);
			run(f, x);
		} else {
			pthread_cond_wait(&f->work, &f->lock);
			continue;
		}
		pthread_mutex_lock(&f->lock);
	}
	pthread_mutex_unlock(&f->lock);
	return NULL;
}
