/* A directory: a file a name.  What is not yet whole is named .NAME.RANDOM, which no name of ours is. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "place_parts.h"

#define COPY_STEP (1 << 20)

struct local {
	struct place p;
	int dir;
};

AUTO_FN(DIR *, closedir);

static void local_close(struct place *p)
{
	struct local *l = (struct local *)p;

	if (l->dir >= 0)
		close(l->dir);
	free(l);
}

static int local_check(struct place *p, struct err *e)
{
	struct local *l = (struct local *)p;

	return faccessat(l->dir, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0 ? err_set(e, errno, "its directory: %m") : 0;
}

static int copy(int to, int from, uint64_t size, struct err *e)
{
	AUTO(free) char *buf = NULL;
	uint64_t done = 0;

	while (done < size) {	/* shared by the file system where it can */
		off_t at = (off_t)done;
		ssize_t n = copy_file_range(from, &at, to, NULL, size - done > 1 << 30 ? 1 << 30 : size - done, 0);

		if (n <= 0)
			break;
		done += (uint64_t)n;
	}
	if (done == size)
		return 0;
	buf = malloc(COPY_STEP);
	if (!buf)
		return err_set(e, ENOMEM, "%m");
	while (done < size) {
		size_t n = size - done < COPY_STEP ? (size_t)(size - done) : COPY_STEP;

		if (place_pread(from, buf, n, done, e) < 0)
			return -e->code;
		for (size_t put = 0; put < n; ) {
			ssize_t k = pwrite(to, buf + put, n - put, (off_t)(done + put));

			if (k < 0 && errno != EINTR)
				return err_set(e, errno, "write: %m");
			put += k > 0 ? (size_t)k : 0;
		}
		done += n;
	}
	return 0;
}

static int local_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	struct local *l = (struct local *)p;
	char part[PLACE_NAME_MAX + 32];
	uint64_t random = 0;

	if (getrandom(&random, sizeof random, 0) < 0)
		return err_set(e, errno, "%m");
	snprintf(part, sizeof part, ".%s.%016llx", name, (unsigned long long)random);
	AUTO(close) int to = openat(l->dir, part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (to < 0)
		return err_set(e, errno, "make %s: %m", part);
	int rc = copy(to, fd, size, e);
	if (rc == 0 && fsync(to) < 0)
		rc = err_set(e, errno, "sync: %m");
	if (rc == 0 && renameat(l->dir, part, l->dir, name) < 0)
		rc = err_set(e, errno, "rename %s: %m", part);
	if (rc < 0) {
		unlinkat(l->dir, part, 0);
		return rc;
	}
	return fsync(l->dir) < 0 ? err_set(e, errno, "sync its directory: %m") : 0;
}

static int open_file(struct local *l, const char *name, struct err *e)
{
	int fd = openat(l->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

	return fd >= 0 ? fd : errno == ENOENT ? err_set(e, ENOENT, "it is not there") : err_set(e, errno, "%m");
}

static int local_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	AUTO(close) int fd = open_file((struct local *)p, name, e);
	struct stat st;

	if (fd < 0)
		return fd;
	if (place_pread(fd, buf, len, off, e) == 0)
		return 0;
	if (fstat(fd, &st) == 0 && (uint64_t)st.st_size < off + len)
		return err_set(e, EBADMSG, "it has %lld bytes; %zu from %llu are wanted", (long long)st.st_size, len, (unsigned long long)off);
	return -e->code;
}

static int local_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	struct stat st;

	if (fstatat(((struct local *)p)->dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? err_set(e, ENOENT, "it is not there") : err_set(e, errno, "%m");
	if (!S_ISREG(st.st_mode))
		return err_set(e, EBADMSG, "it is no regular file");
	*ret = (uint64_t)st.st_size;
	return 0;
}

static int local_delete(struct place *p, const char *name, struct err *e)
{
	return unlinkat(((struct local *)p)->dir, name, 0) < 0 && errno != ENOENT ? err_set(e, errno, "%m") : 0;
}

static int local_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	struct local *l = (struct local *)p;
	AUTO(close) int fd = openat(l->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(closedir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	struct stat st;

	if (!d)
		return err_set(e, errno, "open its directory: %m");
	steal_fd(&fd);
	while (errno = 0, (ent = readdir(d))) {
		if (*ent->d_name == '.' || strncmp(ent->d_name, begin, strlen(begin)) != 0)
			continue;
		if (fstatat(l->dir, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			if (errno == ENOENT)
				continue;
			return err_set(e, errno, "%s: %m", ent->d_name);
		}
		int rc = S_ISREG(st.st_mode) ? fn(arg, ent->d_name, (uint64_t)st.st_size) : 0;
		if (rc)
			return rc;
	}
	return errno ? err_set(e, errno, "read its directory: %m") : 0;
}

static int local_fd(struct place *p, const char *name, int *ret, struct err *e)
{
	int fd = open_file((struct local *)p, name, e);

	if (fd < 0)
		return fd;
	*ret = fd;
	return 1;
}

static const struct place_ops local_ops = {
	.name = "local",
	.close = local_close,
	.check = local_check,
	.put = local_put,
	.get = local_get,
	.size = local_size,
	.delete = local_delete,
	.list = local_list,
	.fd = local_fd,
};

/* What a crash left half; a put that goes on in another process is none that ours has to do with. */
static void sweep(int dir)
{
	AUTO(close) int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(closedir) DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;

	if (!d)
		return;
	steal_fd(&fd);
	while ((ent = readdir(d))) {
		const char *end = strrchr(ent->d_name, '.');

		if (*ent->d_name == '.' && end > ent->d_name + 1 && strlen(end) == 17 && strspn(end + 1, "0123456789abcdef") == 16)
			unlinkat(dir, ent->d_name, 0);
	}
}

int place_local_open(const struct place_conf *c, struct place **ret, struct err *e)
{
	AUTO(free) struct local *l = calloc(1, sizeof *l);

	if (!l)
		return err_set(e, ENOMEM, "%m");
	bool made = mkdir(c->url, 0700) == 0;
	if (!made && errno != EEXIST)
		return err_set(e, errno, "make %.200s: %m", c->url);
	AUTO(close) int dir = open(c->url, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(close) int above = dir >= 0 && made ? openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (dir < 0 || (above >= 0 && fsync(above) < 0))
		return err_set(e, errno, "open %.200s: %m", c->url);
	l->dir = steal_fd(&dir);
	l->p.ops = &local_ops;
	sweep(l->dir);
	*ret = &steal_ptr(&l)->p;
	return 0;
}
