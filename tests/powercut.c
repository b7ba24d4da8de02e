/* Preloaded into a program: what would be on the platter if the power failed now.  Everything below $POWERCUT_DIR that is synced is copied, at
 * that moment, to $POWERCUT_SHADOW; what is written, renamed or removed and not yet synced stands in a journal there.  tests/powercut.py makes
 * the shadow, and after a kill -9 makes the directory what it would be after a power cut.
 *
 * Contents are synced by fsync and fdatasync of any descriptor of that file, names by fsync of their directory (POWERCUT_NAMES=ext4: also by
 * fsync of any file, all of them in their order).  sync_file_range syncs nothing; files named *-shm are not kept.  Nothing is seen of writes
 * through mmap and io_uring, of O_TMPFILE, of symbolic links and of paths with "..".  The disk's own syncs are left out: POWERCUT_SYNC_US says
 * how long one takes (default 500).  One process at a time.
 *
 * Shadow: ino/ID are contents, tree/ the names (hard links to those), live/ID what is unlinked but not yet on the platter, files what there
 * was at the start, journal lines of words between tabs:
 *   i ID INO        that file has this inode number      w ID OFFSET LENGTH   written, unsynced      t ID SIZE   truncated, unsynced
 *   s ID            contents and size are synced         n SEQ OP ID PATH [PATH2]   c create, d mkdir, l link, r rename, u unlink, x rmdir
 *   a SEQ           that name is on the platter */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define RAW(...) syscall(__VA_ARGS__)

struct range {
	off_t off, len;
};
struct file {
	int64_t id;
	ino_t ino;		/* 0: nobody has it any more */
	struct range *dirty;
	size_t n, room;
	bool size_dirty;
	char *path;		/* below the directory, as it is now */
};
struct name {
	int64_t seq, id;
	char op;
	bool synced;		/* waits for its parent only */
	char *path, *path2;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static const char *top, *shadow;
static size_t top_len;
static int state;		/* 0 not asked yet, 1 wanted, -1 off */
static bool begun;
static bool names_ext4;
static long sync_us = 500;
static dev_t dev;
static int journal = -1;
static struct file **files;
static size_t n_files, room_files;
static struct name *names;
static size_t n_names, room_names;
static int64_t next_id = 1, next_seq = 1;

static void lock(void) { pthread_mutex_lock(&mutex); }
static void unlock(void) { pthread_mutex_unlock(&mutex); }

static void die(const char *what)
{
	dprintf(2, "powercut: %s: %m\n", what);
	abort();
}

__attribute__((format(printf, 1, 2))) static void note(const char *fmt, ...)
{
	char line[2 * PATH_MAX + 100];
	va_list ap;

	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	if (RAW(SYS_write, journal, line, len) != len)
		die("journal");
}

static const char *in_shadow(char *buf, const char *kind, int64_t id, const char *path)
{
	if (path)
		snprintf(buf, PATH_MAX, "%s/%s/%s", shadow, kind, path);
	else
		snprintf(buf, PATH_MAX, "%s/%s/%lld", shadow, kind, (long long)id);
	return buf;
}

/* By inode number; files of no name are not found.  Few are alive: the newest first. */
static struct file *file_find(ino_t ino)
{
	for (size_t i = n_files; i-- > 0;)
		if (files[i]->ino == ino)
			return files[i];
	return NULL;
}

static struct file *file_id(int64_t id)
{
	for (size_t i = n_files; i-- > 0;)
		if (files[i]->id == id)
			return files[i];
	return NULL;
}

static struct file *file_add(int64_t id, ino_t ino, const char *path)
{
	struct file *f = calloc(1, sizeof *f);

	if (n_files == room_files)
		files = realloc(files, (room_files = room_files * 2 + 64) * sizeof *files);
	if (!f || !files)
		die("memory");
	*f = (struct file){ .id = id, .ino = ino, .path = strdup(path) };
	files[n_files++] = f;
	if (id >= next_id)
		next_id = id + 1;
	return f;
}

static void file_drop(struct file *f)
{
	for (size_t i = 0; i < n_files; i++)
		if (files[i] == f) {
			files[i] = files[--n_files];
			break;
		}
	free(f->path);
	free(f->dirty);
	free(f);
}

static void file_dirty(struct file *f, off_t off, off_t len)
{
	note("w\t%lld\t%lld\t%lld\n", (long long)f->id, (long long)off, (long long)len);
	for (size_t i = f->n; i-- > 0 && i + 8 > f->n;) {
		struct range *r = &f->dirty[i];

		if (off <= r->off + r->len && r->off <= off + len) {
			off_t end = off + len > r->off + r->len ? off + len : r->off + r->len;

			r->off = off < r->off ? off : r->off;
			r->len = end - r->off;
			return;
		}
	}
	if (f->n == f->room && !(f->dirty = realloc(f->dirty, (f->room = f->room * 2 + 16) * sizeof *f->dirty)))
		die("memory");
	f->dirty[f->n++] = (struct range){ off, len };
}

static bool ready(void)
{
	if (state)
		return state > 0;
	state = -1;
	top = getenv("POWERCUT_DIR");
	shadow = getenv("POWERCUT_SHADOW");
	if (!top || !shadow)
		return false;
	top_len = strlen(top);
	names_ext4 = getenv("POWERCUT_NAMES") && !strcmp(getenv("POWERCUT_NAMES"), "ext4");
	if (getenv("POWERCUT_SYNC_US"))
		sync_us = atol(getenv("POWERCUT_SYNC_US"));
	state = 1;
	return true;
}

/* Once, when something below the directory is touched first: what powercut.py found. */
static void begin(void)
{
	char path[PATH_MAX], line[PATH_MAX + 40];
	struct stat st;

	if (begun)
		return;
	if (stat(top, &st) < 0)
		die(top);
	dev = st.st_dev;
	snprintf(path, sizeof path, "%s/journal", shadow);
	journal = RAW(SYS_openat, AT_FDCWD, path, O_RDWR | O_APPEND | O_CLOEXEC, 0);
	if (journal < 0 || fstat(journal, &st) < 0)
		die(path);
	/* out of the way of programs that close the first few */
	int high = RAW(SYS_fcntl, journal, F_DUPFD_CLOEXEC, 900);
	if (high >= 0) {
		RAW(SYS_close, journal);
		journal = high;
	}
	if (st.st_size > 0) {
		errno = EBUSY;
		die("another process was here since the start");
	}
	snprintf(path, sizeof path, "%s/files", shadow);
	FILE *in = fopen(path, "re");
	if (!in)
		die(path);
	while (fgets(line, sizeof line, in)) {
		char *tab = strchr(line, '\t');

		line[strcspn(line, "\n")] = '\0';
		if (!tab)
			continue;
		snprintf(path, sizeof path, "%s/%s", top, tab + 1);
		if (stat(path, &st) < 0)
			die(path);
		file_add(atoll(line), st.st_ino, tab + 1);
		note("i\t%s\t%lld\n", strtok(line, "\t"), (long long)st.st_ino);
	}
	fclose(in);
	begun = true;
}

/* The path below the directory, in buf; NULL: it is elsewhere.  "" is the directory itself. */
static const char *below(int at, const char *path, char *buf)
{
	char dir[PATH_MAX + 30], link[40];

	if (!ready() || !path)
		return NULL;
	if (path[0] != '/') {
		if (at == AT_FDCWD)
			strcpy(link, "/proc/self/cwd");
		else
			snprintf(link, sizeof link, "/proc/self/fd/%d", at);
		ssize_t n = RAW(SYS_readlinkat, AT_FDCWD, link, dir, PATH_MAX);

		if (n <= 0 || (size_t)n < top_len || strncmp(dir, top, top_len) != 0)
			return NULL;
		dir[n] = '\0';
		if (snprintf(buf, PATH_MAX, "%s/%s", dir, path) >= PATH_MAX)
			return NULL;
		path = buf;
	}
	if (strncmp(path, top, top_len) != 0 || (path[top_len] != '/' && path[top_len]))
		return NULL;
	path += top_len;
	while (*path == '/')
		path++;
	size_t n = strlen(path);
	if (n >= 4 && !strcmp(path + n - 4, "-shm"))
		return NULL;
	memmove(buf, path, n + 1);
	while (n && buf[n - 1] == '/')
		buf[--n] = '\0';
	return buf;
}

/* The file of a descriptor, or NULL. */
static struct file *file_of(int fd, struct stat *st)
{
	if (!ready() || !begun || fstat(fd, st) < 0 || st->st_dev != dev || !S_ISREG(st->st_mode))
		return NULL;
	return file_find(st->st_ino);
}

static bool make_content(int64_t id)
{
	char path[PATH_MAX];
	int fd = RAW(SYS_openat, AT_FDCWD, in_shadow(path, "ino", id, NULL), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		die(path);
	RAW(SYS_close, fd);
	return true;
}

static void name_note(char op, int64_t id, const char *path, const char *path2)
{
	if (n_names == room_names && !(names = realloc(names, (room_names = room_names * 2 + 64) * sizeof *names)))
		die("memory");
	names[n_names++] = (struct name){ .seq = next_seq++, .id = id, .op = op, .path = strdup(path), .path2 = path2 ? strdup(path2) : NULL };
	note("n\t%lld\t%c\t%lld\t%s%s%s\n", (long long)next_seq - 1, op, (long long)id, path, path2 ? "\t" : "", path2 ? path2 : "");
}

/* To the platter.  False: its parent is not there. */
static bool name_apply(const struct name *n)
{
	char a[PATH_MAX], b[PATH_MAX];
	long rc = 0;

	in_shadow(a, "tree", 0, n->path);
	if (n->path2)
		in_shadow(b, "tree", 0, n->path2);
	switch (n->op) {
	case 'c':
		RAW(SYS_unlinkat, AT_FDCWD, a, 0);
		rc = RAW(SYS_linkat, AT_FDCWD, in_shadow(b, "ino", n->id, NULL), AT_FDCWD, a, 0);
		break;
	case 'l':
		RAW(SYS_unlinkat, AT_FDCWD, b, 0);
		rc = RAW(SYS_linkat, AT_FDCWD, in_shadow(a, "ino", n->id, NULL), AT_FDCWD, b, 0);
		break;
	case 'd':
		rc = RAW(SYS_mkdirat, AT_FDCWD, a, 0700);
		break;
	case 'r':
		rc = RAW(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 0);
		break;
	case 'u':
	case 'x':
		rc = RAW(SYS_unlinkat, AT_FDCWD, a, n->op == 'x' ? AT_REMOVEDIR : 0);
		if (n->op == 'u')
			RAW(SYS_unlinkat, AT_FDCWD, in_shadow(b, "live", n->id, NULL), 0);
		break;
	}
	if (rc < 0 && errno == ENOENT)
		return false;
	note("a\t%lld\n", (long long)n->seq);
	return true;
}

static bool in_dir(const char *path, const char *dir)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return path && (slash ? (size_t)(slash - path) == strlen(dir) && !strncmp(path, dir, slash - path) : !*dir);
}

/* dir NULL: all names. */
static void names_sync(const char *dir)
{
	bool again = true;

	for (size_t i = 0; i < n_names; i++)
		if (!dir || in_dir(names[i].path, dir) || in_dir(names[i].path2, dir))
			names[i].synced = true;
	while (again) {
		size_t kept = 0;

		again = false;
		for (size_t i = 0; i < n_names; i++) {
			if (names[i].synced && name_apply(&names[i])) {
				again |= names[i].op == 'd';
				free(names[i].path);
				free(names[i].path2);
			} else {
				names[kept++] = names[i];
			}
		}
		n_names = kept;
	}
}

static void file_sync(struct file *f, const char *real)
{
	static char buf[1 << 20];
	char path[PATH_MAX];
	struct stat st;

	if (!f->n && !f->size_dirty)
		return;
	int in = RAW(SYS_openat, AT_FDCWD, real, O_RDONLY | O_CLOEXEC, 0);
	int out = RAW(SYS_openat, AT_FDCWD, in_shadow(path, "ino", f->id, NULL), O_WRONLY | O_CLOEXEC, 0);
	if (in < 0 || out < 0 || fstat(in, &st) < 0)
		die(in < 0 ? real : path);
	for (size_t i = 0; i < f->n; i++) {
		off_t off = f->dirty[i].off, end = off + f->dirty[i].len;

		for (; off < end && off < st.st_size;) {
			long n = RAW(SYS_pread64, in, buf, end - off < (off_t)sizeof buf ? (size_t)(end - off) : sizeof buf, off);

			if (n <= 0)
				break;
			if (RAW(SYS_pwrite64, out, buf, n, off) != n)
				die(path);
			off += n;
		}
	}
	struct stat was;
	if (fstat(out, &was) == 0 && was.st_size != st.st_size && RAW(SYS_ftruncate, out, st.st_size) < 0)
		die(path);
	RAW(SYS_close, in);
	RAW(SYS_close, out);
	f->n = 0;
	f->size_dirty = false;
	note("s\t%lld\n", (long long)f->id);
}

/* POWERCUT_FAIL: while there is a file of that name, a sync fails, and what it had to write is forgotten, as the kernel does it. */
static bool fails(void)
{
	const char *path = getenv("POWERCUT_FAIL");

	return path && RAW(SYS_faccessat, AT_FDCWD, path, F_OK) == 0;
}

/* -1: it failed; 0: it is not ours */
static int synced(int fd)
{
	struct stat st;
	char buf[PATH_MAX], link[40];

	if (!ready())
		return 0;
	lock();
	bool ours = begun && fstat(fd, &st) == 0 && st.st_dev == dev;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	if (ours && S_ISREG(st.st_mode)) {
		struct file *f = file_find(st.st_ino);

		if (f && fails()) {
			f->n = 0;
			unlock();
			errno = EIO;
			return -1;
		}
		if (f)
			file_sync(f, link);
		if (f && names_ext4)
			names_sync(NULL);
		ours = f;
	} else if (ours && S_ISDIR(st.st_mode)) {
		ssize_t n = RAW(SYS_readlinkat, AT_FDCWD, link, buf, sizeof buf - 1);
		char dir[PATH_MAX];

		buf[n > 0 ? n : 0] = '\0';
		ours = below(AT_FDCWD, buf, dir);
		if (ours)
			names_sync(names_ext4 ? NULL : dir);
	}
	unlock();
	if (ours && sync_us)
		usleep(sync_us);
	return ours;
}

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) EXPORT __attribute__((alias(#name)))

EXPORT int fsync(int fd)
{
	int rc = synced(fd);

	return rc < 0 ? -1 : rc ? 0 : RAW(SYS_fsync, fd);
}

EXPORT int fdatasync(int fd)
{
	int rc = synced(fd);

	return rc < 0 ? -1 : rc ? 0 : RAW(SYS_fdatasync, fd);
}

EXPORT int sync_file_range(int fd, off_t off, off_t len, unsigned flags) { return RAW(SYS_sync_file_range, fd, off, len, flags); }

static void sync_all(void)
{
	char path[PATH_MAX];

	if (!ready())
		return;
	lock();
	for (size_t i = 0; begun && i < n_files; i++) {
		snprintf(path, sizeof path, "%s/%s", top, files[i]->path);
		file_sync(files[i], path);
	}
	names_sync(NULL);
	unlock();
}

EXPORT int syncfs(int fd)
{
	sync_all();
	return RAW(SYS_fcntl, fd, F_GETFD) < 0 ? -1 : 0;
}
EXPORT void sync(void) { sync_all(); }

/* ---- contents */
static void wrote(int fd, off_t off, ssize_t len)
{
	int keep = errno;
	struct stat st;
	struct file *f;

	if (len <= 0 || !begun)
		return;
	f = file_of(fd, &st);
	if (f)
		file_dirty(f, off, len);
	errno = keep;
}

/* Write and note are one step for whoever syncs. */
#define NOTED(fd, off, call) ({ bool on_ = begun; if (on_) lock(); off_t off_ = off; ssize_t n_ = call; if (on_) { wrote(fd, off_, n_); unlock(); } n_; })

/* Where write(2) wrote, once it did. */
static ssize_t wrote_here(int fd, ssize_t n)
{
	if (n > 0 && begun) {
		int keep = errno;
		struct stat st;
		struct file *f = file_of(fd, &st);

		if (f)
			file_dirty(f, RAW(SYS_lseek, fd, 0, SEEK_CUR) - n, n);
		errno = keep;
	}
	return n;
}

static bool regular(int fd)
{
	struct stat st;

	return begun && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == dev;
}

/* pwrite(2) to a descriptor with O_APPEND appends. */
static off_t where(int fd, off_t off)
{
	struct stat st;

	if (begun && off >= 0 && (RAW(SYS_fcntl, fd, F_GETFL) & O_APPEND) && fstat(fd, &st) == 0)
		return st.st_size;
	return off;
}

EXPORT ssize_t write(int fd, const void *buf, size_t size)
{
	if (!regular(fd))
		return RAW(SYS_write, fd, buf, size);
	lock();
	ssize_t n = wrote_here(fd, RAW(SYS_write, fd, buf, size));
	unlock();
	return n;
}
EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
	if (!regular(fd))
		return RAW(SYS_writev, fd, v, n);
	lock();
	ssize_t rc = wrote_here(fd, RAW(SYS_writev, fd, v, n));
	unlock();
	return rc;
}
EXPORT ssize_t pwrite(int fd, const void *buf, size_t size, off_t off)
{
	return NOTED(fd, where(fd, off), RAW(SYS_pwrite64, fd, buf, size, off));
}
ALIAS(pwrite) ssize_t pwrite64(int fd, const void *buf, size_t size, off_t off);
EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	return NOTED(fd, where(fd, off), RAW(SYS_pwritev, fd, v, n, off, 0));
}
ALIAS(pwritev) ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t off);
EXPORT ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	ssize_t rc = NOTED(fd, where(fd, off), RAW(SYS_pwritev2, fd, v, n, off, 0, flags));

	if (rc > 0 && flags & (RWF_DSYNC | RWF_SYNC))
		synced(fd);
	return rc;
}
ALIAS(pwritev2) ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off_t off, int flags);
EXPORT ssize_t copy_file_range(int in, off_t *off_in, int out, off_t *off_out, size_t len, unsigned flags)
{
	if (!regular(out))
		return RAW(SYS_copy_file_range, in, off_in, out, off_out, len, flags);
	lock();
	off_t off = off_out ? *off_out : RAW(SYS_lseek, out, 0, SEEK_CUR);
	ssize_t n = RAW(SYS_copy_file_range, in, off_in, out, off_out, len, flags);
	wrote(out, off, n);
	unlock();
	return n;
}

static void resized(struct file *f, off_t was, off_t size)
{
	note("t\t%lld\t%lld\n", (long long)f->id, (long long)size);
	f->size_dirty = true;
	if (size < was)
		file_dirty(f, size, was - size);	/* zeros, should it grow again */
}

EXPORT int ftruncate(int fd, off_t size)
{
	struct stat st;

	if (!regular(fd))
		return RAW(SYS_ftruncate, fd, size);
	lock();
	struct file *f = file_of(fd, &st);
	int rc = RAW(SYS_ftruncate, fd, size);
	if (rc == 0 && f)
		resized(f, st.st_size, size);
	unlock();
	return rc;
}
ALIAS(ftruncate) int ftruncate64(int fd, off_t size);
EXPORT int truncate(const char *path, off_t size)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = fd < 0 ? -1 : ftruncate(fd, size);

	if (fd >= 0)
		RAW(SYS_close, fd);
	return rc;
}
ALIAS(truncate) int truncate64(const char *path, off_t size);
EXPORT int fallocate(int fd, int mode, off_t off, off_t len)
{
	struct stat st;

	if (!regular(fd))
		return RAW(SYS_fallocate, fd, mode, off, len);
	lock();
	struct file *f = file_of(fd, &st);
	int rc = RAW(SYS_fallocate, fd, mode, off, len);
	if (rc == 0 && f) {
		f->size_dirty = true;
		if (mode & ~FALLOC_FL_KEEP_SIZE)
			file_dirty(f, off, len);
	}
	unlock();
	return rc;
}
ALIAS(fallocate) int fallocate64(int fd, int mode, off_t off, off_t len);
EXPORT int posix_fallocate(int fd, off_t off, off_t len) { return fallocate(fd, 0, off, len) < 0 ? errno : 0; }
ALIAS(posix_fallocate) int posix_fallocate64(int fd, off_t off, off_t len);

/* ---- names */
static int do_open(int at, const char *path, int flags, mode_t mode)
{
	char rel[PATH_MAX];
	struct stat st;

	if ((flags & O_TMPFILE) == O_TMPFILE || !below(at, path, rel))
		return RAW(SYS_openat, at, path, flags, mode);
	lock();
	begin();
	bool was = fstatat(at, path, &st, 0) == 0;
	int fd = RAW(SYS_openat, at, path, flags, mode);
	int keep = errno;
	if (fd >= 0 && !was && flags & O_CREAT && fstat(fd, &st) == 0) {
		struct file *f = file_find(st.st_ino);

		if (f)		/* removed behind our back */
			file_drop(f);
		f = file_add(next_id, st.st_ino, rel);
		make_content(f->id);
		note("i\t%lld\t%lld\n", (long long)f->id, (long long)st.st_ino);
		name_note('c', f->id, rel, NULL);
	} else if (fd >= 0 && was && flags & O_TRUNC && S_ISREG(st.st_mode)) {
		struct file *f = file_find(st.st_ino);

		if (f && st.st_size)
			resized(f, st.st_size, 0);
	}
	unlock();
	errno = keep;
	return fd;
}

#define MODE(last) ({ mode_t m_ = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list ap; va_start(ap, last); m_ = va_arg(ap, mode_t); va_end(ap); } m_; })
EXPORT int open(const char *path, int flags, ...) { return do_open(AT_FDCWD, path, flags, MODE(flags)); }
ALIAS(open) int open64(const char *path, int flags, ...);
EXPORT int openat(int at, const char *path, int flags, ...) { return do_open(at, path, flags, MODE(flags)); }
ALIAS(openat) int openat64(int at, const char *path, int flags, ...);
/* what headers make of them with _FORTIFY_SOURCE */
EXPORT int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags) { return do_open(AT_FDCWD, path, flags, 0); }
ALIAS(__open_2) int __open64_2(const char *path, int flags);
EXPORT int __openat_2(int at, const char *path, int flags);
EXPORT int __openat_2(int at, const char *path, int flags) { return do_open(at, path, flags, 0); }
ALIAS(__openat_2) int __openat64_2(int at, const char *path, int flags);
EXPORT int creat(const char *path, mode_t mode) { return do_open(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
ALIAS(creat) int creat64(const char *path, mode_t mode);

/* Before a name goes: what is not synced of that file must be there when the power fails.  Gives its id, 0: none of ours. */
static int64_t going(int at, const char *path, struct stat *st)
{
	char live[PATH_MAX];
	struct file *f;

	if (fstatat(at, path, st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st->st_mode) || !(f = file_find(st->st_ino)))
		return 0;
	if ((f->n || f->size_dirty) && st->st_nlink == 1)
		RAW(SYS_linkat, at, path, AT_FDCWD, in_shadow(live, "live", f->id, NULL), 0);
	return f->id;
}

/* ... and after: its inode's number may become another's. */
static void gone(int64_t id, const struct stat *st)
{
	struct file *f = id ? file_id(id) : NULL;

	if (f && st->st_nlink <= 1)
		file_drop(f);
}

static void not_gone(int64_t id)
{
	char live[PATH_MAX];

	if (id)
		RAW(SYS_unlinkat, AT_FDCWD, in_shadow(live, "live", id, NULL), 0);
}

EXPORT int unlinkat(int at, const char *path, int flags)
{
	char rel[PATH_MAX];
	struct stat st = { 0 };

	if (!below(at, path, rel))
		return RAW(SYS_unlinkat, at, path, flags);
	lock();
	begin();
	int64_t id = flags & AT_REMOVEDIR ? 0 : going(at, path, &st);
	int rc = RAW(SYS_unlinkat, at, path, flags), keep = errno;
	if (rc == 0) {
		name_note(flags & AT_REMOVEDIR ? 'x' : 'u', id, rel, NULL);
		gone(id, &st);
	} else {
		not_gone(id);
	}
	unlock();
	errno = keep;
	return rc;
}
EXPORT int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
EXPORT int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
EXPORT int remove(const char *path)
{
	int rc = unlink(path);

	return rc < 0 && errno == EISDIR ? rmdir(path) : rc;
}

EXPORT int renameat2(int at, const char *old, int at2, const char *new, unsigned flags)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct stat st = { 0 };

	if (!below(at, old, a) || !below(at2, new, b))
		return RAW(SYS_renameat2, at, old, at2, new, flags);
	if (flags & 2)
		die("RENAME_EXCHANGE is not known here");
	lock();
	begin();
	int64_t id = going(at2, new, &st);
	int rc = RAW(SYS_renameat2, at, old, at2, new, flags), keep = errno;
	if (rc == 0) {
		size_t n = strlen(a);

		gone(id, &st);
		for (size_t i = 0; i < n_files; i++)
			if (!strncmp(files[i]->path, a, n) && (!files[i]->path[n] || files[i]->path[n] == '/')) {
				char *path;

				if (asprintf(&path, "%s%s", b, files[i]->path + n) < 0)
					die("memory");
				free(files[i]->path);
				files[i]->path = path;
			}
		name_note('r', 0, a, b);
	} else {
		not_gone(id);
	}
	unlock();
	errno = keep;
	return rc;
}
EXPORT int renameat(int at, const char *old, int at2, const char *new) { return renameat2(at, old, at2, new, 0); }
EXPORT int rename(const char *old, const char *new) { return renameat2(AT_FDCWD, old, AT_FDCWD, new, 0); }

EXPORT int linkat(int at, const char *old, int at2, const char *new, int flags)
{
	char b[PATH_MAX];
	struct stat st;

	if (!below(at2, new, b))
		return RAW(SYS_linkat, at, old, at2, new, flags);
	lock();
	begin();
	int rc = RAW(SYS_linkat, at, old, at2, new, flags), keep = errno;
	if (rc == 0 && fstatat(at2, new, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		struct file *f = file_find(st.st_ino);

		if (!f) {	/* from elsewhere, or of no name until now: nothing of it is synced */
			f = file_add(next_id, st.st_ino, b);
			make_content(f->id);
			note("i\t%lld\t%lld\n", (long long)f->id, (long long)st.st_ino);
			f->size_dirty = true;
			if (st.st_size)
				file_dirty(f, 0, st.st_size);
		}
		name_note('l', f->id, "", b);
	}
	unlock();
	errno = keep;
	return rc;
}
EXPORT int link(const char *old, const char *new) { return linkat(AT_FDCWD, old, AT_FDCWD, new, 0); }

EXPORT int mkdirat(int at, const char *path, mode_t mode)
{
	char rel[PATH_MAX];

	if (!below(at, path, rel))
		return RAW(SYS_mkdirat, at, path, mode);
	lock();
	if (*rel)
		begin();
	int rc = RAW(SYS_mkdirat, at, path, mode), keep = errno;
	if (rc == 0 && *rel)
		name_note('d', 0, rel, NULL);
	unlock();
	errno = keep;
	return rc;
}
EXPORT int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

__attribute__((constructor)) static void loaded(void)
{
	pthread_atfork(lock, unlock, unlock);
}
