/* Random operations on a file, each compared with a model in memory.  The idea is that of the well-known fsx of Avadis Tevanian; the code is ours.
 *   fsx [-s SEED] [-n OPS] [-l MAXBYTES] [-t SECONDS] [-x NAMES] FILE       -x read,mapwrite,...: leave these out
 * FILE and FILE.2 (for copies between files) are made anew.  Exit 1: a difference, with the last operations on standard output; FILE is left. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct model {
	char path[4096];
	int fd[2];		/* two handles: what one writes the other reads */
	unsigned char *data;	/* max bytes, zero beyond size */
	size_t size;
};

static struct model files[2];
static size_t max = 1 << 20;
static uint64_t random_state, op_no;
static char *done[400];
static unsigned char *buf;

static uint64_t rnd(uint64_t below)
{
	random_state += 0x9e3779b97f4a7c15;
	uint64_t z = random_state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	z ^= z >> 31;
	return below ? z % below : 0;
}

__attribute__((format(printf, 1, 2))) static void doing(const char *fmt, ...)
{
	char **slot = &done[op_no % 400], text[200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	free(*slot);
	if (asprintf(slot, "%" PRIu64 " %s", op_no, text) < 0)
		*slot = NULL;
}

__attribute__((noreturn, format(printf, 1, 2))) static void failed(const char *fmt, ...)
{
	va_list ap;

	for (uint64_t i = op_no < 399 ? 0 : op_no - 399; i <= op_no; i++)
		printf("%s\n", done[i % 400] ? done[i % 400] : "");
	printf("FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

static void compare(const struct model *m, const unsigned char *got, size_t off, size_t len, const char *how)
{
	if (memcmp(got, m->data + off, len) == 0)
		return;
	size_t first = 0, last = len, n = 0;

	while (got[first] == m->data[off + first])
		first++;
	while (got[last - 1] == m->data[off + last - 1])
		last--;
	for (size_t i = first; i < last; i++)
		n += got[i] != m->data[off + i];
	failed("%s of %s: %zu bytes of %zu..%zu differ (0x%zx..0x%zx); the first is %02x instead of %02x", how, m->path, n, off + first, off + last,
	       off + first, off + last, got[first], m->data[off + first]);
}

static int any_fd(const struct model *m) { return m->fd[rnd(2)]; }

/* Sizes and places as programs choose them: small, whole pages, around the limits of chunks, anything. */
static size_t a_length(void)
{
	static const size_t edges[] = { 1, 512, 4096, 16384, 65536, 131072, 262144 };
	size_t n;

	switch (rnd(4)) {
	case 0:
		n = rnd(200) + 1;
		break;
	case 1:
		n = edges[rnd(7)] + rnd(3) - 1;
		break;
	case 2:
		n = (rnd(32) + 1) * 4096;
		break;
	default:
		n = rnd(max / 4) + 1;
	}
	return n < 1 ? 1 : n > max ? max : n;
}

static size_t a_place(const struct model *m, size_t limit)
{
	size_t at = rnd(3) ? rnd((m->size < limit ? m->size : limit) + 1) : rnd(limit + 1);

	return rnd(3) ? at : at & ~4095UL;
}

static void range(const struct model *m, size_t *off, size_t *len, size_t limit)
{
	*off = a_place(m, limit);
	*len = a_length();
	if (*off + *len > limit)
		*len = limit - *off;
}

static void grow(struct model *m, size_t to)
{
	if (to > m->size)
		m->size = to;
}

static void op_read(struct model *m)
{
	size_t off, len;

	range(m, &off, &len, max);
	doing("read %s %zu+%zu", m->path, off, len);
	ssize_t n = pread(any_fd(m), buf, len, off);
	size_t wanted = off >= m->size ? 0 : len < m->size - off ? len : m->size - off;
	if (n < 0 || (size_t)n != wanted)
		failed("read gave %zd instead of %zu: %s", n, wanted, n < 0 ? strerror(errno) : "");
	compare(m, buf, off, n, "read");
}

static void fill(size_t len)
{
	/* half of it compresses, some of it repeats itself elsewhere, some is zeros */
	uint64_t how = rnd(6), v = rnd(0);

	for (size_t i = 0; i < len; i++)
		buf[i] = how == 0 ? 0 : how == 1 ? (unsigned char)(i / 64 * 7 + 1) : how == 2 ? (unsigned char)v : (unsigned char)((v + i) * 2654435761U >> 13);
	if (how > 3)
		for (size_t i = 0; i + 8 <= len; i += 8) {
			v = rnd(0);
			memcpy(buf + i, &v, 8);
		}
}

static void write_at(struct model *m, size_t off, size_t len, const char *what)
{
	fill(len);
	doing("%s %s %zu+%zu (size %zu)", what, m->path, off, len, m->size);
	for (size_t at = 0; at < len;) {
		ssize_t n = pwrite(any_fd(m), buf + at, len - at, off + at);

		if (n <= 0)
			failed("write gave %zd: %s", n, strerror(errno));
		at += n;
	}
	memcpy(m->data + off, buf, len);
	grow(m, off + len);
}

static void op_write(struct model *m)
{
	size_t off, len;

	range(m, &off, &len, max);
	if (len)
		write_at(m, off, len, "write");
}

static void op_append(struct model *m)
{
	size_t len = a_length();

	if (m->size + len <= max)
		write_at(m, m->size, len, "append");
}

static void op_truncate(struct model *m)
{
	size_t to = rnd(8) ? a_place(m, max) : 0;

	doing("truncate %s %zu -> %zu", m->path, m->size, to);
	if (rnd(2) ? ftruncate(any_fd(m), to) : truncate(m->path, to))
		failed("truncate: %s", strerror(errno));
	if (to < m->size)
		memset(m->data + to, 0, m->size - to);
	m->size = to;
}

static void op_map(struct model *m, bool writing)
{
	size_t off, len;

	range(m, &off, &len, m->size);
	if (!len)
		return;
	size_t page = off & ~4095UL, all = off + len - page;
	doing("%s %s %zu+%zu (size %zu)", writing ? "mapwrite" : "mapread", m->path, off, len, m->size);
	unsigned char *p = mmap(NULL, all, PROT_READ | (writing ? PROT_WRITE : 0), MAP_SHARED, any_fd(m), page);
	if (p == MAP_FAILED)
		failed("mmap: %s", strerror(errno));
	if (writing) {
		fill(len);
		memcpy(p + (off - page), buf, len);
		memcpy(m->data + off, buf, len);
		if (rnd(2) && msync(p, all, MS_SYNC) < 0)
			failed("msync: %s", strerror(errno));
	} else {
		compare(m, p + (off - page), off, len, "mapread");
		/* beyond the end of the file its last page is zeros */
		if (off + len == m->size)
			for (size_t i = all; i % 4096; i++)
				if (p[i])
					failed("mapread: byte %zu beyond the end is %02x", page + i, p[i]);
	}
	munmap(p, all);
}
static void op_mapread(struct model *m) { op_map(m, false); }
static void op_mapwrite(struct model *m) { op_map(m, true); }

static void allocate(struct model *m, int mode, const char *what)
{
	size_t off, len;

	range(m, &off, &len, max);
	if (!len)
		return;
	doing("%s %s %zu+%zu (size %zu)", what, m->path, off, len, m->size);
	if (fallocate(any_fd(m), mode, off, len) < 0) {
		if (errno == EOPNOTSUPP)
			return;
		failed("%s: %s", what, strerror(errno));
	}
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE) && off < m->size)
		memset(m->data + off, 0, len < m->size - off ? len : m->size - off);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(m, off + len);
}
static void op_punch(struct model *m) { allocate(m, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch"); }
static void op_zero(struct model *m) { allocate(m, FALLOC_FL_ZERO_RANGE | (rnd(2) ? FALLOC_FL_KEEP_SIZE : 0), "zero"); }
static void op_allocate(struct model *m) { allocate(m, rnd(2) ? FALLOC_FL_KEEP_SIZE : 0, "allocate"); }

static void op_copy(struct model *m)
{
	struct model *to = rnd(2) ? m : &files[m == files];
	size_t off, len, at;

	range(m, &off, &len, m->size);
	at = a_place(to, max);
	if (at + len > max)
		len = max - at;
	if (to == m && at < off + len && off < at + len)
		len = at > off ? at - off : off - at;
	if (!len || (to == m && at == off))
		return;
	doing("copy %s %zu+%zu -> %s %zu (sizes %zu %zu)", m->path, off, len, to->path, at, m->size, to->size);
	loff_t in = off, out = at;
	for (size_t left = len; left;) {
		ssize_t n = copy_file_range(any_fd(m), &in, any_fd(to), &out, left, 0);

		if (n < 0 && (errno == EOPNOTSUPP || errno == EXDEV || errno == ENOSYS) && left == len)
			return;
		if (n <= 0)
			failed("copy_file_range gave %zd: %s", n, strerror(errno));
		left -= n;
	}
	memcpy(to->data + at, m->data + off, len);
	grow(to, at + len);
}

static void op_reopen(struct model *m)
{
	int i = rnd(3);

	doing("reopen %s %s", m->path, i == 2 ? "both" : "one");
	for (int k = 0; k < 2; k++)
		if (i == 2 && close(m->fd[k]) < 0)
			failed("close: %s", strerror(errno));
	for (int k = 0; k < 2; k++) {
		if (i != 2 && k != i)
			continue;
		if (i != 2 && close(m->fd[k]) < 0)
			failed("close: %s", strerror(errno));
		if ((m->fd[k] = open(m->path, O_RDWR | O_CLOEXEC)) < 0)
			failed("open: %s", strerror(errno));
	}
}

static void op_sync(struct model *m)
{
	doing("sync %s", m->path);
	if (rnd(2) ? fsync(any_fd(m)) : fdatasync(any_fd(m)))
		failed("fsync: %s", strerror(errno));
}

/* The kernel's cache forgets it: what is read next comes from the file system. */
static void op_forget(struct model *m)
{
	doing("forget %s", m->path);
	if (fsync(m->fd[0]) < 0)
		failed("fsync: %s", strerror(errno));
	posix_fadvise(m->fd[0], 0, 0, POSIX_FADV_DONTNEED);
}

static void op_size(struct model *m)
{
	struct stat st;

	doing("size %s", m->path);
	if ((rnd(2) ? stat(m->path, &st) : fstat(any_fd(m), &st)) < 0 || (size_t)st.st_size != m->size)
		failed("the size is %jd instead of %zu", (intmax_t)st.st_size, m->size);
	off_t end = lseek(m->fd[0], 0, SEEK_END);
	if ((size_t)end != m->size)
		failed("SEEK_END says %jd instead of %zu", (intmax_t)end, m->size);
}

/* What is said to be a hole is zeros. */
static void op_holes(struct model *m)
{
	doing("holes %s (size %zu)", m->path, m->size);
	for (off_t at = 0; (size_t)at < m->size;) {
		off_t data = lseek(m->fd[0], at, SEEK_DATA);

		if (data < 0 && errno == EINVAL)
			return;
		if (data < 0 && errno != ENXIO)
			failed("SEEK_DATA: %s", strerror(errno));
		if (data < 0)
			data = m->size;
		if (data < at || (size_t)data > m->size)
			failed("SEEK_DATA from %jd says %jd", (intmax_t)at, (intmax_t)data);
		for (off_t i = at; i < data; i++)
			if (m->data[i])
				failed("SEEK_DATA says that %jd..%jd is a hole, and byte %jd is %02x", (intmax_t)at, (intmax_t)data, (intmax_t)i, m->data[i]);
		if ((size_t)data >= m->size)
			break;
		at = lseek(m->fd[0], data, SEEK_HOLE);
		if (at <= data || (size_t)at > m->size)
			failed("SEEK_HOLE from %jd says %jd", (intmax_t)data, (intmax_t)at);
	}
}

static void op_all(struct model *m)
{
	size_t at = 0;
	ssize_t n;

	doing("all of %s (size %zu)", m->path, m->size);
	while ((n = pread(m->fd[1], buf, max, at)) > 0) {
		if (at + n > m->size)
			failed("%s has more than %zu bytes", m->path, m->size);
		compare(m, buf, at, n, "all");
		at += n;
	}
	if (n < 0 || at != m->size)
		failed("%s ends at %zu instead of %zu: %s", m->path, at, m->size, n < 0 ? strerror(errno) : "");
}

static struct {
	const char *name;
	void (*fn)(struct model *m);
	int weight;
} ops[] = {
	{ "read", op_read, 20 },	 { "write", op_write, 16 },	{ "append", op_append, 6 },   { "truncate", op_truncate, 5 },
	{ "mapread", op_mapread, 8 },	 { "mapwrite", op_mapwrite, 8 }, { "punch", op_punch, 5 },     { "zero", op_zero, 3 },
	{ "allocate", op_allocate, 2 },	 { "copy", op_copy, 6 },	{ "reopen", op_reopen, 4 },   { "sync", op_sync, 3 },
	{ "forget", op_forget, 4 },	 { "size", op_size, 4 },	{ "holes", op_holes, 2 },     { "all", op_all, 1 },
};
#define N_OPS (sizeof ops / sizeof *ops)

int main(int argc, char **argv)
{
	uint64_t seed = time(NULL), n = 10000;
	time_t end = 0;
	int c, total = 0;

	while ((c = getopt(argc, argv, "s:n:l:t:x:")) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'n':
			n = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			max = strtoull(optarg, NULL, 10);
			break;
		case 't':
			end = time(NULL) + atol(optarg);
			n = UINT64_MAX;
			break;
		case 'x':
			for (char *w = strtok(optarg, ","); w; w = strtok(NULL, ","))
				for (size_t i = 0; i < N_OPS; i++)
					if (!strcmp(ops[i].name, w))
						ops[i].weight = 0;
			break;
		default:
			return 2;
		}
	}
	if (optind + 1 != argc || max < 4096)
		return fprintf(stderr, "usage: fsx [-s SEED] [-n OPS] [-l MAXBYTES] [-t SECONDS] [-x NAMES] FILE\n"), 2;
	random_state = seed;
	buf = malloc(max + 4096);
	for (int i = 0; i < 2; i++) {
		struct model *m = &files[i];

		snprintf(m->path, sizeof m->path, "%s%s", argv[optind], i ? ".2" : "");
		m->data = calloc(1, max + 4096);
		m->fd[0] = open(m->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		m->fd[1] = open(m->path, O_RDWR | O_CLOEXEC);
		if (m->fd[0] < 0 || m->fd[1] < 0 || !m->data || !buf)
			return perror(m->path), 2;
	}
	for (size_t i = 0; i < N_OPS; i++)
		total += ops[i].weight;
	for (op_no = 0; op_no < n && (!end || time(NULL) < end); op_no++) {
		int at = rnd(total);
		size_t i = 0;

		doing("nothing");
		while (at >= ops[i].weight)
			at -= ops[i++].weight;
		ops[i].fn(&files[rnd(4) == 0]);
	}
	op_reopen(&files[0]);
	op_all(&files[0]);
	op_all(&files[1]);
	printf("%" PRIu64 " operations, seed %" PRIu64 "\n", op_no, seed);
	return 0;
}
