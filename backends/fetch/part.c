/* The file a download grows in: opened where an earlier try ended, bounded, written, closed whole. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "../base/log.h"
#include "parts.h"

#define LOOK (8 << 20)		/* bytes between two looks at the disk, at most */
#define SHARES 64		/* others write meanwhile too */

AUTO_FN(struct note *, note_free);

static const char *file_name(const char *key, const char *suffix, char ret[48])
{
	snprintf(ret, 48, "%s.%s", key, suffix);
	return ret;
}

static void forget(struct fetch *x)
{
	x->have = 0;
	x->total = -1;
	*x->validator = '\0';
}

int part_open(struct fetcher *f, struct fetch *x, struct err *e)
{
	AUTO(note_free) struct note *n = &(struct note){ 0 };
	char name[48], whole[48];
	struct err none;
	struct stat st;

	forget(x);
	/* one that was whole when the process ended, before everybody took it */
	renameat(f->dir, file_name(x->key, "whole", whole), f->dir, file_name(x->key, "part", name));
	x->fd = openat(f->dir, file_name(x->key, "part", name), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (x->fd < 0 || fstat(x->fd, &st) < 0)
		return err_set(e, errno, "keep what comes: %m");
	if (st.st_size && note_read(f->dir, file_name(x->key, "note", name), n, &none) == 0 && strcmp(n->url, x->url) == 0 &&
	    (*n->validator || st.st_size == n->total) && *f->boot && strcmp(n->boot, f->boot) == 0 && (n->total < 0 || st.st_size <= n->total)) {
		memcpy(x->validator, n->validator, sizeof x->validator);
		x->have = st.st_size;
		x->total = n->total;
	}
	x->looked_at = x->have;
	return 0;
}

static int put_note(struct fetcher *f, struct fetch *x, struct err *e)
{
	struct note n = { .url = x->url, .total = x->total };
	char name[48];

	snprintf(n.boot, sizeof n.boot, "%s", f->boot);
	snprintf(n.validator, sizeof n.validator, "%s", x->validator);
	return note_write(f->dir, file_name(x->key, "note", name), &n, e);
}

int part_begin(struct fetcher *f, struct fetch *x, int64_t total, const char *validator, struct err *e)
{
	forget(x);
	x->looked_at = 0;
	if (ftruncate(x->fd, 0) < 0)
		return err_set(e, errno, "keep what comes: %m");
	snprintf(x->validator, sizeof x->validator, "%s", validator);
	x->total = total;
	return part_room(f, x, total, e) < 0 ? -e->code : put_note(f, x, e);
}

/* Some is left for everything else: a download never fills the disk on which the state is. */
int part_room(struct fetcher *f, struct fetch *x, int64_t total, struct err *e)
{
	int64_t have = x->have, more = total > have ? total - have : 0;
	struct statvfs st;

	if (total > 0 && (uint64_t)total > f->conf.max)
		return err_set(e, EFBIG, "%s has %ld bytes; at most %ld are taken (image-size-max)", x->name, (long)total, (long)f->conf.max);
	if ((uint64_t)have > f->conf.max)
		return err_set(e, EFBIG, "%s has more than %ld bytes (image-size-max)", x->name, (long)f->conf.max);
	x->looked_at = have;
	x->look_in = LOOK;
	if (fstatvfs(f->dir, &st) < 0)
		return 0;
	uint64_t room = (uint64_t)st.f_bavail * st.f_frsize, all = (uint64_t)st.f_blocks * st.f_frsize;
	uint64_t keep = all / 16 < 64 << 20 ? all / 16 : 64 << 20;

	if (room >= keep && (room - keep) / SHARES < LOOK)
		x->look_in = (int64_t)((room - keep) / SHARES);
	if (room < keep + (uint64_t)more)
		return err_set(e, ENOSPC, "the disk that holds the store has no room for %s: %ld bytes of it are there, %ld are to come, %lu MiB are free",
			       x->name, (long)have, (long)more, (unsigned long)(room >> 20));
	return 0;
}

int part_moved(struct fetcher *f, struct fetch *x, int64_t have, struct err *e)
{
	int64_t before = x->looked_at;

	x->have = have;
	if (have - before < x->look_in && (uint64_t)have <= f->conf.max)
		return 0;
	/* written out as it comes: the sync at the end is short then */
	sync_file_range(x->fd, before, have - before, SYNC_FILE_RANGE_WRITE);
	return part_room(f, x, x->total, e);
}

int part_put(struct fetcher *f, struct fetch *x, const void *buf, size_t n, struct err *e)
{
	int64_t at = x->have;

	for (size_t done = 0; done < n; ) {
		ssize_t w = pwrite(x->fd, (const char *)buf + done, n - done, at + (int64_t)done);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return err_set(e, errno, "keep %s: %m, after %ld bytes", x->name, (long)at);
		done += (size_t)w;
	}
	return part_moved(f, x, at + (int64_t)n, e);
}

int part_whole(struct fetcher *f, struct fetch *x, struct err *e)
{
	char part[48], whole[48];

	x->total = (int64_t)x->have;
	if (put_note(f, x, e) < 0)
		return -e->code;
	if (renameat(f->dir, file_name(x->key, "part", part), f->dir, file_name(x->key, "whole", whole)) < 0)
		return err_set(e, errno, "keep %s: %m", x->name);
	return 0;
}

void part_close(struct fetch *x)
{
	if (x->fd >= 0)
		close(x->fd);
	x->fd = -1;
}

void part_unlink(struct fetcher *f, const char *key)
{
	static const char *const suffixes[] = { "part", "note", "whole", "note.new" };
	char name[48];

	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
		if (unlinkat(f->dir, file_name(key, suffixes[i], name), 0) < 0 && errno != ENOENT)
			log_error("remove %s of a download: %m", name);
}
