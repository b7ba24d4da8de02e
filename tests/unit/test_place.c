/* Places of packs: the local directory, S3 and Swift against a server that misbehaves on request (tests/objectd.py), the cache, what signs and what
 * parses.  Against real servers: tests/objects/swift.sh. */
#include "../../backends/place/place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../backends/base/dir.h"
#include "../../backends/place/place_parts.h"
#include "check.h"

#define KIB 1024
#define MIB (1 << 20)

static char work[64], modes[80], logfile[80], secret[80], cachedir[80];
static char url[64], auth[80], keystone[80];
static struct err e;
static struct place *p;
static unsigned port;

static void write_text(const char *path, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void write_text(const char *path, const char *fmt, ...)
{
	FILE *out = fopen(path, "we");
	va_list ap;

	if (!out)
		exit(99);
	va_start(ap, fmt);
	vfprintf(out, fmt, ap);
	va_end(ap);
	fclose(out);
}

/* What the server does to the requests that come: lines of its table; a count of its own keeps each apart from earlier ones. */
#define MODE(...) write_text(modes, __VA_ARGS__)

static struct place_conf conf_of(const char *kind)
{
	struct place_conf c = { .kind = kind, .bucket = "packs", .prefix = "p1/", .secret_file = secret, .connect_s = 5, .stall_s = 1, .retries = 3,
		.retry_ms = 10, .page = 3, .part_bytes = 256 * KIB };

	c.url = strcmp(kind, "s3") == 0 ? url : auth;
	c.key = strcmp(kind, "s3") == 0 ? "AK" : "acme:me";
	return c;
}

static void opened(const struct place_conf *c)
{
	place_close(steal_ptr(&p));
	e = (struct err){ 0 };
	MODE("%s", "");
	if (place_open(c, &p, &e) < 0) {
		printf("# %s\n", e.msg);
		exit(99);
	}
}

static void open_kind(const char *kind)
{
	struct place_conf c = conf_of(kind);

	opened(&c);
}

static char *bytes(size_t n, unsigned seed)
{
	char *buf = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		buf[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
	return buf;
}

static int fd_of(const void *buf, size_t n)
{
	char path[100];

	snprintf(path, sizeof path, "%s/source", work);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, buf, n) != (ssize_t)n)
		exit(99);
	return fd;
}

static int put(const char *name, size_t n, unsigned seed)
{
	AUTO(free) char *buf = bytes(n, seed);
	AUTO(close) int fd = fd_of(buf, n);

	e = (struct err){ 0 };
	return place_put(p, name, fd, n, &e);
}

/* 0: these bytes are those of put(name, n, seed). */
static int same(const char *name, size_t n, unsigned seed, uint64_t off, size_t len)
{
	AUTO(free) char *want = bytes(n, seed);
	AUTO(free) char *got = calloc(1, len);

	e = (struct err){ 0 };
	int rc = place_get(p, name, off, len, got, &e);
	return rc < 0 ? rc : memcmp(got, want + off, len) == 0 ? 0 : -1;
}

static int64_t size_of(const char *name)
{
	uint64_t n = 0;

	e = (struct err){ 0 };
	int rc = place_size(p, name, &n, &e);
	return rc < 0 ? rc : (int64_t)n;
}

static char listed[1024];
static int on_name(void *arg, const char *name, uint64_t size)
{
	size_t n = strlen(listed);

	snprintf(listed + n, sizeof listed - n, "%s:%llu ", name, (unsigned long long)size);
	return 0;
}

static int list(const char *begin)
{
	*listed = '\0';
	e = (struct err){ 0 };
	return place_list(p, begin, on_name, NULL, &e);
}

static int delete(const char *name)
{
	e = (struct err){ 0 };
	return place_delete(p, name, &e);
}

static unsigned logged(const char *what)
{
	AUTO(fclose) FILE *in = fopen(logfile, "re");
	AUTO(free) char *line = NULL;
	size_t size = 0;
	unsigned n = 0;

	while (in && getline(&line, &size, in) >= 0)
		n += strstr(line, what) != NULL;
	return n;
}

static void forget_log(void)
{
	write_text(logfile, "%s", "");
}

/* ---- what every place does */

static void does_what_places_do(void)
{
	CHECK_INT(place_check(p, &e), 0);
	CHECK_INT(put("a.pack", 100000, 1), 0);
	CHECK_INT(put("a.pack", 100000, 1), 0);		/* again */
	CHECK_INT(put("b.pack", 1, 2), 0);
	CHECK_INT(put("b.idx", 0, 2), 0);
	CHECK_INT(same("a.pack", 100000, 1, 0, 100000), 0);
	CHECK_INT(same("a.pack", 100000, 1, 99999, 1), 0);
	CHECK_INT(same("a.pack", 100000, 1, 5000, 4096), 0);
	CHECK_INT(same("a.pack", 100000, 1, 99999, 2), -EBADMSG);
	CHECK(strstr(e.msg, "wanted") || strstr(e.msg, "100000"));
	CHECK_INT(same("a.pack", 100000, 1, 200000, 1), -EBADMSG);
	CHECK_INT(same("none", 1, 1, 0, 1), -ENOENT);
	CHECK(strstr(e.msg, "get none: it is not there"));
	CHECK_INT(size_of("a.pack"), 100000);
	CHECK_INT(size_of("b.pack"), 1);
	CHECK_INT(size_of("b.idx"), 0);
	CHECK_INT(size_of("none"), -ENOENT);
	CHECK_INT(put("c1", 1, 1), 0);
	CHECK_INT(put("c2", 2, 1), 0);
	CHECK_INT(put("c3", 3, 1), 0);
	CHECK_INT(put("c4", 4, 1), 0);
	CHECK_INT(list("c"), 0);
	CHECK(strstr(listed, "c1:1 ") && strstr(listed, "c2:2 ") && strstr(listed, "c3:3 ") && strstr(listed, "c4:4 ") && strlen(listed) == 20);
	CHECK_INT(list(""), 0);
	CHECK(strlen(listed) == 20 + strlen("a.pack:100000 b.pack:1 b.idx:0 "));
	CHECK_INT(list("none"), 0);
	CHECK_STR(listed, "");
	for (const char *const *n = (const char *const[]){ "a.pack", "a.pack", "b.pack", "b.idx", "c1", "c2", "c3", "c4", "none", NULL }; *n; n++)
		CHECK_INT(delete(*n), 0);
	CHECK_INT(list(""), 0);
	CHECK_STR(listed, "");
}

static void a_directory_is_a_place(void)
{
	char dir[100], path[150];
	struct place_conf c = { .kind = "local", .url = dir };
	int fd = -1;

	snprintf(dir, sizeof dir, "%s/local", work);
	opened(&c);
	snprintf(path, sizeof path, "%s/.half", dir);
	write_text(path, "not ours");
	does_what_places_do();
	CHECK_INT(put("a", 10, 1), 0);
	CHECK_INT(place_fd(p, "a", &fd, &e), 1);
	close(fd);
	CHECK_INT(place_fd(p, "b", &fd, &e), -ENOENT);
	snprintf(path, sizeof path, "%s/.a.0123456789abcdef", dir);
	write_text(path, "a crash left this");
	opened(&c);
	CHECK_INT(access(path, F_OK), -1);
	CHECK_INT(same("a", 10, 1, 0, 10), 0);
	/* a source that is shorter than it was said to be */
	AUTO(close) int shorter = fd_of("x", 1);
	CHECK_INT(place_put(p, "s", shorter, 2, &e), -EIO);
	CHECK_INT(size_of("s"), -ENOENT);
}

static void s3_is_a_place(void)
{
	open_kind("s3");
	does_what_places_do();
}

static void swift_is_a_place(void)
{
	open_kind("swift");
	does_what_places_do();
}

static void swift_by_keystone_as_well(void)
{
	struct place_conf c = conf_of("swift");

	c.url = keystone;
	c.region = "one";
	opened(&c);
	does_what_places_do();
	c.region = "three";
	opened(&c);
	CHECK_INT(place_check(p, &e), -ENOENT);
	CHECK_STR(e.msg, "swift: authenticate: Keystone's catalogue has no public object-store in the region three");
}

static void settings_are_looked_at(void)
{
	struct place_conf c = conf_of("s3");
	struct place *q = NULL;
	char path[100];

	c.kind = "nfs";
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c.kind = "s3";
	c.url = "ftp://x/";
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c.url = "http://u:p@x/";
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c.url = "http://127.0.0.1:1/";
	c.virtual_host = true;
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c.virtual_host = false;
	c.bucket = "a/b";
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c.bucket = "packs";
	snprintf(path, sizeof path, "%s/open", work);
	write_text(path, "secret\n");
	chmod(path, 0644);
	c.secret_file = path;
	CHECK_INT(place_open(&c, &q, &e), -EACCES);
	CHECK(strstr(e.msg, "open to everyone: chmod 600"));
	c = conf_of("swift");
	c.key = "me";
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	c = conf_of("swift");
	c.url = url;
	CHECK_INT(place_open(&c, &q, &e), -EINVAL);
	CHECK(!q);
}

/* ---- a server that is not well */

static void bad_days(const char *kind)
{
	static const char *const passing[] = { "cut", "close", "short", "long", "shifted", "empty", "drip", "hang", "500", "503", "429", "whole" };

	open_kind(kind);
	CHECK_INT(put("bad.pack", 100000, 7), 0);
	for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
		MODE("GET %s %d bad.pack\n", passing[i], passing[i][1] == 'r' || passing[i][1] == 'a' ? 1 : 2);
		int rc = same("bad.pack", 100000, 7, 1000, 90000);
		if (rc)
			printf("# after %s: %s\n", passing[i], e.msg);
		CHECK_INT(rc, 0);
	}
	static const struct { const char *what; int code; const char *says; } lasting[] = {
		{ "500", -EIO, "the server answers 500" }, { "cut", -EIO, "tried 4 times" }, { "short", -EBADMSG, "90000 bytes" }, { "long", -EBADMSG, "more than" },
		{ "shifted", -EBADMSG, "were asked for" }, { "close", -EIO, "tried 4 times" }, { "403", -EACCES, "refuses" }, { "418", -EIO, "418" },
		{ "301", -EPROTO, "elsewhere" }, { "507", -ENOSPC, "full" }, { "413", -ENOSPC, "quota" },
	};
	for (size_t i = 0; i < ARRAY_LEN(lasting); i++) {
		MODE("GET %s 1000 bad.pack\n", lasting[i].what);
		int rc = same("bad.pack", 100000, 7, 1000, 90000);
		if (rc != lasting[i].code || !strstr(e.msg, lasting[i].says))
			printf("# %s: %d %s\n", lasting[i].what, rc, e.msg);
		CHECK_INT(rc, lasting[i].code);
		CHECK(strstr(e.msg, lasting[i].says));
	}
	MODE("%s", "");
	CHECK_INT(same("bad.pack", 100000, 7, 1000, 90000), 0);
	/* the answer to a put, or a deletion, is lost: it is done again */
	MODE("PUT lost 2 again.pack\nDELETE lost 1 again.pack\n");
	CHECK_INT(put("again.pack", 70000, 8), 0);
	CHECK_INT(same("again.pack", 70000, 8, 0, 70000), 0);
	CHECK_INT(delete("again.pack"), 0);
	CHECK_INT(size_of("again.pack"), -ENOENT);
	MODE("PUT 503 1000 again.pack\n");
	CHECK_INT(put("again.pack", 70000, 8), -EIO);
	CHECK(strstr(e.msg, "as told"));
	CHECK_INT(size_of("again.pack"), -ENOENT);
	/* lists that are none */
	MODE("GET garbage 1000 prefix\n");
	CHECK_INT(list(""), -EBADMSG);
	MODE("GET endless 1000 prefix\n");
	CHECK_INT(put("bad2", 1, 1) | put("bad3", 1, 1) | put("bad4", 1, 1), 0);
	CHECK_INT(list(""), -EBADMSG);
	CHECK(strstr(e.msg, "no end"));
	MODE("GET huge 1000 prefix\n");
	CHECK_INT(list(""), -EBADMSG);
	CHECK(strstr(e.msg, "longer than"));
	MODE("GET cut 1 prefix\nGET 500 1 prefix\n");
	CHECK_INT(list("bad"), 0);
	CHECK_STR(listed, "bad.pack:100000 bad2:1 bad3:1 bad4:1 ");
	CHECK_INT(delete("bad.pack") | delete("bad2") | delete("bad3") | delete("bad4"), 0);
}

static void s3_survives_bad_days(void)
{
	bad_days("s3");
	CHECK_INT(put("skew", 1, 1), 0);
	MODE("GET skew 1000\n");
	CHECK_INT(same("skew", 1, 1, 0, 1), -EACCES);
	CHECK(strstr(e.msg, "clock is 3") && strstr(e.msg, "before the server's"));
	MODE("%s", "");
	CHECK_INT(delete("skew"), 0);
}

static void swift_survives_bad_days(void)
{
	bad_days("swift");
	MODE("PUT etag 1000\n");
	CHECK_INT(put("etag", 1000, 1), -EBADMSG);
	MODE("PUT 422 1\n");
	CHECK_INT(put("etag", 1000, 1), 0);
	MODE("PUT 422 1000\n");
	CHECK_INT(put("etag", 1000, 1), -EBADMSG);
	MODE("%s", "");
	CHECK_INT(delete("etag"), 0);
}

static void a_server_that_is_not_there_is_eio(void)
{
	struct place_conf c = conf_of("s3");

	c.url = "http://127.0.0.1:1";
	opened(&c);
	CHECK_INT(same("x", 1, 1, 0, 1), -EIO);
	CHECK(strstr(e.msg, "Failed to connect") && strstr(e.msg, "tried 4 times"));
}

static void a_bucket_that_is_not_there_is_no_missing_file(void)
{
	for (const char *const *kind = (const char *const[]){ "s3", "swift", NULL }; *kind; kind++) {
		struct place_conf c = conf_of(*kind);

		c.bucket = "nothing";
		opened(&c);
		CHECK_INT(same("x", 1, 1, 0, 1), -EIO);
		CHECK(strstr(e.msg, "'nothing' (objects-bucket)"));
		CHECK_INT(size_of("x"), -EIO);
		CHECK_INT(delete("x"), -EIO);
		CHECK_INT(put("x", 10, 1), -EIO);
		CHECK_INT(place_check(p, &e), -EIO);
	}
}

static void who_we_are_matters(void)
{
	struct place_conf c = conf_of("s3");

	c.key = "other";
	opened(&c);
	CHECK_INT(place_check(p, &e), -EACCES);
	CHECK(strstr(e.msg, "InvalidAccessKeyId"));
	c = conf_of("swift");
	c.key = "acme:other";
	opened(&c);
	CHECK_INT(place_check(p, &e), -EACCES);
	c.url = keystone;
	opened(&c);
	CHECK_INT(place_check(p, &e), -EACCES);
}

/* The server forgets tokens: whoever else authenticates takes ours away. */
static void tokens_are_renewed(void)
{
	struct place_conf c = conf_of("swift");
	struct place *other = NULL;
	struct err oe = { 0 };

	opened(&c);
	CHECK_INT(put("token", 100, 1), 0);
	CHECK_INT(place_open(&c, &other, &oe), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(place_check(other, &oe), 0);
		CHECK_INT(same("token", 100, 1, 0, 100), 0);
		CHECK_INT(place_check(other, &oe), 0);
		CHECK_INT(put("token", 100, 1), 0);
	}
	place_close(other);
	forget_log();
	MODE("GET 401 1000 token\n");
	CHECK_INT(same("token", 100, 1, 0, 100), -EACCES);
	CHECK_INT(logged("/token"), 2);
	MODE("%s", "");
	CHECK_INT(delete("token"), 0);
}

/* ---- parts */

static void long_files_go_up_in_parts(void)
{
	open_kind("s3");
	forget_log();
	CHECK_INT(put("long", 1000000, 3), 0);
	CHECK_INT(logged("partNumber="), 4);
	CHECK_INT(same("long", 1000000, 3, 0, 1000000), 0);
	CHECK_INT(put("long", 256 * KIB, 3), 0);
	CHECK_INT(logged("partNumber="), 4);
	MODE("PUT cut 1 partNumber=2\nPUT 500 2 partNumber=3\nPUT lost 1 partNumber=4\n");
	CHECK_INT(put("long", 1000000, 4), 0);
	CHECK_INT(same("long", 1000000, 4, 0, 1000000), 0);
}

static void parts_of_what_fails_are_taken_back(void)
{
	open_kind("s3");
	forget_log();
	MODE("PUT 503 1000 partNumber=3\n");
	CHECK_INT(put("failed", 1000000, 3), -EIO);
	CHECK_INT(logged("DELETE /packs/p1/failed?uploadId="), 1);
	MODE("PUT noetag 1000 partNumber=3\n");
	CHECK_INT(put("failed", 1000000, 3), -EBADMSG);
	CHECK_INT(logged("DELETE /packs/p1/failed?uploadId="), 2);
	MODE("POST error200 1000 uploadId=\n");
	CHECK_INT(put("failed", 1000000, 3), -EIO);
	CHECK(strstr(e.msg, "InternalError: We lost it"));
	CHECK_INT(logged("DELETE /packs/p1/failed?uploadId="), 3);
	MODE("%s", "");
	CHECK_INT(size_of("failed"), -ENOENT);
	/* the answer that it is whole is lost: it is found out */
	MODE("POST lost 1 uploadId=\n");
	CHECK_INT(put("failed", 1000000, 5), 0);
	CHECK_INT(same("failed", 1000000, 5, 0, 1000000), 0);
	CHECK_INT(delete("failed") | delete("long"), 0);
}

/* ---- the cache */

static void open_cached(uint64_t limit)
{
	struct place_conf c = conf_of("s3");

	c.cache_dir = cachedir;
	c.cache_bytes = limit;
	opened(&c);
}

static struct place_cache_stats stats(void)
{
	struct place_cache_stats s;

	place_cache_stats(p, &s);
	return s;
}

static void empty_cache(void)
{
	place_close(steal_ptr(&p));
	dir_remove(cachedir, &(struct err){ 0 });
}

static void a_cached_place_is_a_place(void)
{
	empty_cache();
	open_cached(64 * MIB);
	does_what_places_do();
	CHECK_INT(stats().bytes, 0);
}

static void what_was_read_is_not_asked_for_again(void)
{
	empty_cache();
	open_cached(64 * MIB);
	CHECK_INT(put("big", 3 * MIB + 100, 1), 0);
	forget_log();
	CHECK_INT(same("big", 3 * MIB + 100, 1, 10, 3 * MIB + 90), 0);
	CHECK_INT(logged("GET /packs/p1/big"), 4);
	CHECK_INT(stats().bytes, 3 * MIB + 100);
	CHECK_INT(same("big", 3 * MIB + 100, 1, MIB - 5, 10), 0);
	CHECK_INT(same("big", 3 * MIB + 100, 1, 3 * MIB + 99, 1), 0);
	CHECK_INT(same("big", 3 * MIB + 100, 1, 3 * MIB + 99, 2), -EBADMSG);
	CHECK_INT(logged("GET /packs/p1/big"), 4 + 1);
	/* and after a restart, while the server is down */
	open_cached(64 * MIB);
	MODE("* 500 1000\n");
	CHECK_INT(same("big", 3 * MIB + 100, 1, 0, 3 * MIB + 100), 0);
	CHECK_INT(stats().misses, 0);
	CHECK_INT(stats().dropped, 0);
	MODE("%s", "");
	/* what the caller found wrong is got anew */
	place_forget(p, "big");
	forget_log();
	CHECK_INT(same("big", 3 * MIB + 100, 1, 5, 100), 0);
	CHECK(logged("GET /packs/p1/big") >= 1);
}

static void the_cache_is_bounded_and_keeps_what_is_used(void)
{
	empty_cache();
	open_cached(16 * MIB);
	CHECK_INT(put("big", 20 * MIB, 1), 0);
	CHECK_INT(same("big", 20 * MIB, 1, 0, 16 * MIB), 0);
	CHECK_INT(same("big", 20 * MIB, 1, 0, 1), 0);			/* block 0 is used */
	CHECK_INT(same("big", 20 * MIB, 1, 16 * MIB, MIB), 0);		/* block 1 goes */
	CHECK(stats().bytes <= 16 * MIB);
	uint64_t misses = stats().misses;
	CHECK_INT(same("big", 20 * MIB, 1, 5, 1), 0);
	CHECK_INT(stats().misses, misses);
	CHECK_INT(same("big", 20 * MIB, 1, MIB + 5, 1), 0);
	CHECK_INT(stats().misses, misses + 1);
	CHECK_INT(delete("big"), 0);
	CHECK_INT(stats().bytes, 0);
}

static void damaged_blocks_are_got_anew(void)
{
	char path[150];
	int fd;

	empty_cache();
	open_cached(64 * MIB);
	CHECK_INT(put("big", 4 * MIB, 1), 0);
	CHECK_INT(same("big", 4 * MIB, 1, 0, 4 * MIB), 0);
	place_close(steal_ptr(&p));
	snprintf(path, sizeof path, "%s/big.00000000", cachedir);	/* a byte is another */
	fd = open(path, O_WRONLY);
	CHECK_INT(pwrite(fd, "\xff\x00\xff", 3, 5000), 3);
	close(fd);
	snprintf(path, sizeof path, "%s/big.00000001", cachedir);	/* shorter */
	CHECK_INT(truncate(path, 70000), 0);
	snprintf(path, sizeof path, "%s/big.00000002", cachedir);	/* empty */
	CHECK_INT(truncate(path, 0), 0);
	snprintf(path, sizeof path, "%s/big.00000004", cachedir);	/* one that is none */
	write_text(path, "%01000d", 0);
	snprintf(path, sizeof path, "%s/.new.1.1", cachedir);
	write_text(path, "half");
	snprintf(path, sizeof path, "%s/letter.txt", cachedir);
	write_text(path, "somebody's");
	snprintf(path, sizeof path, "%s/dir.00000001", cachedir);
	mkdir(path, 0700);
	open_cached(64 * MIB);
	CHECK_INT(same("big", 4 * MIB, 1, 0, 4 * MIB), 0);
	CHECK_INT(same("big", 4 * MIB, 1, 4 * MIB, 1), -EBADMSG);
	CHECK_INT(stats().misses, 3 + 1);
	snprintf(path, sizeof path, "%s/letter.txt", cachedir);
	CHECK_INT(access(path, F_OK), 0);
	snprintf(path, sizeof path, "%s/.new.1.1", cachedir);
	CHECK_INT(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/dir.00000001", cachedir);
	rmdir(path);
	/* a file that somebody removes while we run */
	snprintf(path, sizeof path, "%s/big.00000003", cachedir);
	CHECK_INT(unlink(path), 0);
	CHECK_INT(same("big", 4 * MIB, 1, 3 * MIB, MIB), 0);
	/* another bucket's blocks are none of ours */
	struct place_conf c = conf_of("s3");
	c.cache_dir = cachedir;
	c.cache_bytes = 64 * MIB;
	c.prefix = "p2/";
	opened(&c);
	CHECK_INT(same("big", 4 * MIB, 1, 0, 1), -ENOENT);
}

static void a_full_disk_only_makes_it_slow(void)
{
	empty_cache();
	mkdir(cachedir, 0700);
	if (mount("tmpfs", cachedir, "tmpfs", 0, "size=4m") < 0) {
		printf("# no tmpfs: not root\n");
		return;
	}
	open_cached(64 * MIB);
	CHECK_INT(put("big", 10 * MIB, 1), 0);
	for (int i = 0; i < 3; i++)
		CHECK_INT(same("big", 10 * MIB, 1, 0, 10 * MIB), 0);
	place_close(steal_ptr(&p));
	umount2(cachedir, MNT_DETACH);
	open_cached(64 * MIB);
	CHECK_INT(same("big", 10 * MIB, 1, 0, 10 * MIB), 0);
	CHECK_INT(delete("big"), 0);
}

static void *reader(void *arg)
{
	AUTO(free) char *want = bytes(2 * MIB, 1);
	AUTO(free) char *got = malloc(2 * MIB);
	struct err own = { 0 };
	long bad = 0;

	for (int i = 0; i < 4; i++)
		bad += place_get(p, "shared", 0, 2 * MIB, got, &own) < 0 || memcmp(got, want, 2 * MIB) != 0;
	return (void *)bad;
}

static void readers_of_one_block_share_a_download(void)
{
	pthread_t t[16];
	void *bad;

	empty_cache();
	open_cached(64 * MIB);
	CHECK_INT(put("shared", 2 * MIB, 1), 0);
	forget_log();
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_create(&t[i], NULL, reader, NULL);
	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		pthread_join(t[i], &bad);
		CHECK_INT((long)bad, 0);
	}
	CHECK_INT(logged("GET /packs/p1/shared"), 2);
	CHECK_INT(stats().misses, 2);
}

/* Gets, forgets and a cache that is too small, from many threads: always the right bytes. */
static atomic_int churn_bad;

static void *churner(void *arg)
{
	AUTO(free) char *want = bytes(24 * MIB, 2);
	AUTO(free) char *got = malloc(MIB);
	unsigned seed = (unsigned)(uintptr_t)arg;
	struct err own = { 0 };

	for (int i = 0; i < 60; i++) {
		size_t off = (size_t)(rand_r(&seed) % (23 * MIB)), len = 1 + (size_t)(rand_r(&seed) % MIB);

		if (i % 20 == 19)
			place_forget(p, "churn");
		churn_bad += place_get(p, "churn", off, len, got, &own) < 0 || memcmp(got, want + off, len) != 0;
	}
	return NULL;
}

static void many_readers_of_a_small_cache_read_right(void)
{
	pthread_t t[8];

	empty_cache();
	open_cached(16 * MIB);
	CHECK_INT(put("churn", 24 * MIB, 2), 0);
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_create(&t[i], NULL, churner, (void *)(i + 1));
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	CHECK_INT(churn_bad, 0);
	CHECK(stats().bytes <= 16 * MIB + ARRAY_LEN(t) * MIB);
	CHECK_INT(delete("churn") | delete("shared") | delete("big"), 0);
}

/* ---- faults */

static void faults_are_injected(void)
{
	char dir[100];
	struct place_conf c = { .kind = "local", .url = dir, .faults = "put:2:ENOSPC,put:3:doneEIO,get:*:EIO,s3@list:*:EIO" };

	snprintf(dir, sizeof dir, "%s/faulty", work);
	opened(&c);
	CHECK_INT(put("a", 5, 1), 0);
	CHECK_INT(put("b", 5, 1), -ENOSPC);
	CHECK_STR(e.msg, "faulty: put b: injected ENOSPC of call 2");
	CHECK_INT(put("c", 5, 1), -EIO);
	CHECK_INT(same("a", 5, 1, 0, 5), -EIO);
	CHECK_INT(size_of("b"), -ENOENT);
	CHECK_INT(size_of("c"), 5);
	CHECK_INT(list(""), 0);
	place_close(steal_ptr(&p));
	c.faults = "nothing:1:EIO";
	e = (struct err){ 0 };
	CHECK_INT(place_open(&c, &p, &e), -EINVAL);
}

static int stop(void *arg, const char *name, uint64_t size)
{
	return ++*(int *)arg == 2 ? -EINTR : 0;
}

static void a_list_can_be_left(void)
{
	for (const char *const *kind = (const char *const[]){ "s3", "swift", NULL }; *kind; kind++) {
		int n = 0;

		open_kind(*kind);
		CHECK_INT(put("l1", 1, 1) | put("l2", 1, 1) | put("l3", 1, 1), 0);
		CHECK_INT(place_list(p, "l", stop, &n, &e), -EINTR);
		CHECK_INT(n, 2);
		CHECK_INT(delete("l1") | delete("l2") | delete("l3"), 0);
	}
}

/* ---- names, signatures, parsers */

static void names_are_ours_or_not(void)
{
	char longest[PLACE_NAME_MAX + 2];

	memset(longest, 'x', sizeof longest);
	longest[PLACE_NAME_MAX + 1] = '\0';
	CHECK(!place_name_ok(longest));
	longest[PLACE_NAME_MAX] = '\0';
	CHECK(place_name_ok(longest));
	CHECK(place_name_ok("pack-00ff.idx") && place_name_ok("_"));
	CHECK(!place_name_ok("") && !place_name_ok(".x") && !place_name_ok("-x") && !place_name_ok("a/b") && !place_name_ok("a b") && !place_name_ok("ä"));
}

static const char *signed_as(const struct sign *s, const char *method, const char *path, const struct sign_pair *q, size_t n_q,
			     const struct sign_pair *h, size_t n, const char *payload)
{
	static char ret[1024];
	AUTO(free) char *uri = uri_encode(path, true), *query = NULL, *auth_line = NULL;
	char sum[SHA256_HEX];

	sha256_of_text(payload, sum, &e);
	if (sign_query(q, n_q, &query, &e) < 0 || sign_request(s, method, uri, query, h, n, sum, &auth_line, &e) < 0)
		return e.msg;
	snprintf(ret, sizeof ret, "%s", auth_line);
	return ret;
}

#define SUITE_HEADERS { "Host", "example.amazonaws.com" }, { "X-Amz-Date", "20150830T123600Z" }

/* Of "aws-sig-v4-test-suite", as AWS publishes it. */
static void signatures_are_those_of_the_test_suite(void)
{
	static const struct sign s = { .key = "AKIDEXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", .region = "us-east-1", .service = "service",
		.now = 1440938160 };
	static const struct {
		const char *name, *method, *path;
		struct sign_pair q[2];
		size_t n_q;
		struct sign_pair h[4];
		size_t n;
		const char *signature;
	} vectors[] = {
		{ "get-vanilla", "GET", "/", { { 0 } }, 0, { SUITE_HEADERS }, 2, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
		{ "post-vanilla", "POST", "/", { { 0 } }, 0, { SUITE_HEADERS }, 2, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
		{ "get-vanilla-query-order-key-case", "GET", "/", { { "Param2", "value2" }, { "Param1", "value1" } }, 2, { SUITE_HEADERS }, 2,
		  "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500" },
		{ "get-utf8", "GET", "/\u1234", { { 0 } }, 0, { SUITE_HEADERS }, 2, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85" },
		{ "get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", { { 0 } }, 0, { SUITE_HEADERS }, 2,
		  "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f" },
		{ "get-vanilla-utf8-query", "GET", "/", { { "\u1234", "bar" } }, 1, { SUITE_HEADERS }, 2,
		  "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04" },
		{ "get-space", "GET", "/example space/", { { 0 } }, 0, { SUITE_HEADERS }, 2,
		  "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741" },
		{ "post-header-key-sort", "POST", "/", { { 0 } }, 0, { { "My-Header1", "value1" }, SUITE_HEADERS }, 3,
		  "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c" },
		{ "get-header-value-trim", "GET", "/", { { 0 } }, 0, { { "My-Header2", "\"a   b   c\"" }, { "My-Header1", " value1" }, SUITE_HEADERS }, 4,
		  "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736" },
	};

	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		const char *got = signed_as(&s, vectors[i].method, vectors[i].path, vectors[i].q, vectors[i].n_q, vectors[i].h, vectors[i].n, "");
		const char *sig = strstr(got, "Signature=");

		if (!sig || strcmp(sig + 10, vectors[i].signature) != 0)
			CHECK_FAIL("%s: %s", vectors[i].name, got);
	}
	CHECK_STR(signed_as(&s, "GET", "/", NULL, 0, vectors[0].h, 2, ""),
		  "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, "
		  "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
}

/* Of the S3 API reference, "Signature Calculations for the Authorization Header: Transferring Payload in a Single Chunk". */
static void signatures_are_those_of_the_s3_reference(void)
{
	static const struct sign s = { .key = "AKIAIOSFODNN7EXAMPLE", .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", .region = "us-east-1", .service = "s3",
		.now = 1369353600 };
	static const char empty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
	const struct sign_pair get[] = { { "x-amz-date", "20130524T000000Z" }, { "Range", "bytes=0-9" }, { "x-amz-content-sha256", empty },
		{ "Host", "examplebucket.s3.amazonaws.com" } };
	const struct sign_pair put_h[] = { { "Date", "Fri, 24 May 2013 00:00:00 GMT" }, { "Host", "examplebucket.s3.amazonaws.com" },
		{ "x-amz-date", "20130524T000000Z" }, { "x-amz-storage-class", "REDUCED_REDUNDANCY" },
		{ "x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072" } };
	const struct sign_pair bucket[] = { { "x-amz-date", "20130524T000000Z" }, { "x-amz-content-sha256", empty }, { "Host", "examplebucket.s3.amazonaws.com" } };
	const struct sign_pair lifecycle[] = { { "lifecycle", "" } }, list_q[] = { { "prefix", "J" }, { "max-keys", "2" } };
	char date[SIGN_DATE];

	sign_date(s.now, date);
	CHECK_STR(date, "20130524T000000Z");
	CHECK_STR(signed_as(&s, "GET", "/test.txt", NULL, 0, get, 4, ""),
		  "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
		  "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
	CHECK_STR(strstr(signed_as(&s, "PUT", "/test$file.text", NULL, 0, put_h, 5, "Welcome to Amazon S3."), "Signature="),
		  "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
	CHECK_STR(strstr(signed_as(&s, "GET", "/", lifecycle, 1, bucket, 3, ""), "Signature="),
		  "Signature=fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
	CHECK_STR(strstr(signed_as(&s, "GET", "/", list_q, 2, bucket, 3, ""), "Signature="),
		  "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static int s3_parse(const char *text, struct listing *l)
{
	listing_done(l);
	e = (struct err){ 0 };
	return s3_list_parse(text, strlen(text), l, &e);
}

static void lists_of_s3_are_understood_or_refused(void)
{
	AUTO(listing_done) struct listing l = { 0 };
	AUTO(free) char *deep = NULL, *many = NULL;

	CHECK_INT(s3_parse("<?xml version='1.0'?>\n<ListBucketResult xmlns='x'>\n <Name>b</Name><IsTruncated>true</IsTruncated>\n"
			   "<Contents><Key>a&amp;b&#x26;<![CDATA[<c>]]></Key><ETag>&quot;x&quot;</ETag><Size>18446744073709</Size></Contents>\n"
			   "<Contents><Size>0</Size><Owner><ID>i</ID></Owner><Key/></Contents>\n"
			   "<NextContinuationToken>1/+=</NextContinuationToken><CommonPrefixes><Prefix>p/</Prefix></CommonPrefixes></ListBucketResult>", &l), 0);
	CHECK_INT(l.n, 2);
	CHECK_STR(l.items[0].name, "a&b&<c>");
	CHECK_INT(l.items[0].size, 18446744073709);
	CHECK_STR(l.items[1].name, "");
	CHECK(l.more);
	CHECK_STR(l.token, "1/+=");
	CHECK_INT(s3_parse("<ListBucketResult/>", &l), 0);
	CHECK(l.n == 0 && !l.more);
	static const char *const bad[] = {
		"", " ", "<", "no", "<ListBucketResult>", "<Other/>", "<ListBucketResult></Other>", "\xff\xfe", "<ListBucketResult><Contents/></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key><Size>-1</Size></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key><Size>99999999999999999999</Size></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>a</Key><Size>1</Size></Contents>",
		"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>",
		"<!DOCTYPE x [<!ENTITY a 'b'>]><ListBucketResult><Contents><Key>&a;</Key><Size>1</Size></Contents></ListBucketResult>",
		"<ListBucketResult><Contents><Key>&nothing;</Key><Size>1</Size></Contents></ListBucketResult>",
	};
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		CHECK_INT(s3_parse(bad[i], &l), -EBADMSG);
		CHECK(*e.msg);
	}
	deep = calloc(1, 100001);
	for (size_t i = 0; i < 25000; i++)
		memcpy(deep + 3 * i, "<a>", 3);
	CHECK_INT(s3_parse(deep, &l), -EBADMSG);
	many = calloc(1, 2000100);
	memcpy(many, "<ListBucketResult><Contents><Key>", 33);
	for (size_t i = 0; i < 250000; i++)
		memcpy(many + 33 + 8 * i, "x<!---->", 8);
	CHECK_INT(s3_parse(many, &l), -EBADMSG);
}

static int swift_parse(const char *text, struct listing *l)
{
	listing_done(l);
	e = (struct err){ 0 };
	return swift_list_parse(text, strlen(text), l, &e);
}

static void lists_of_swift_are_understood_or_refused(void)
{
	AUTO(listing_done) struct listing l = { 0 };
	AUTO(free) char *deep = malloc(100001);
	char *end = NULL;

	CHECK_INT(swift_parse("[{\"name\": \"a\\u00e4\", \"bytes\": 5, \"hash\": null}, {\"subdir\": \"x/\"}, {\"bytes\": 0, \"name\": \"\"}]", &l), 0);
	CHECK_INT(l.n, 2);
	CHECK_STR(l.items[0].name, "aä");
	CHECK_INT(l.items[0].size, 5);
	CHECK_INT(swift_parse("[]", &l), 0);
	static const char *const bad[] = { "", "{}", "[", "null", "[1]", "[{}]", "[{\"name\":\"a\"}]", "[{\"name\":\"a\",\"bytes\":-1}]", "[{\"name\":1,\"bytes\":1}]",
		"[{\"name\":\"a\",\"bytes\":1.5}]", "[{\"name\":\"a\\u0000b\",\"bytes\":1}]", "[{\"name\":\"\xff\",\"bytes\":1}]", "[] x" };
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		CHECK_INT(swift_parse(bad[i], &l), -EBADMSG);
	memset(deep, '[', 100000);
	deep[100000] = '\0';
	CHECK_INT(swift_parse(deep, &l), -EBADMSG);
	CHECK_INT(keystone_parse("{}", 2, "", &end, &e), -EBADMSG);
	CHECK_INT(keystone_parse("{\"token\": {\"catalog\": [1, {\"type\": \"object-store\", \"endpoints\": 5}]}}", 68, "", &end, &e), -EBADMSG);
	CHECK_INT(keystone_parse("{\"token\": {\"catalog\": [1, {\"type\": \"object-store\", \"endpoints\": 5}]}}", 69, "", &end, &e), -ENOENT);
}

static void ranges_are_understood_or_refused(void)
{
	int64_t a = 0, b = 0, t = 0;

	CHECK(range_parse("bytes 0-9/20", &a, &b, &t) && a == 0 && b == 9 && t == 20);
	CHECK(range_parse("bytes 5-5/*", &a, &b, &t) && a == 5 && b == 5 && t == -1);
	CHECK(range_parse("bytes */7", &a, &b, &t) && a == -1 && t == 7);
	for (const char *const *s = (const char *const[]){ "", "bytes", "bytes 1-0/5", "bytes 0-5/5", "bytes */*", "bytes -1-2/5", "bytes 0-9/20 ", "items 0-1/2",
		"bytes 0-9", "bytes 99999999999999999999-1/2", NULL }; *s; s++)
		CHECK(!range_parse(*s, &a, &b, &t));
}

static void set_up(void)
{
	int pipes[2];
	char text[16] = "";

	snprintf(work, sizeof work, "/tmp/test_place.XXXXXX");
	if (!mkdtemp(work) || pipe(pipes) < 0)
		exit(99);
	snprintf(modes, sizeof modes, "%s/modes", work);
	snprintf(logfile, sizeof logfile, "%s/log", work);
	snprintf(secret, sizeof secret, "%s/secret", work);
	snprintf(cachedir, sizeof cachedir, "%s/cache", work);
	write_text(secret, "secret\n");
	chmod(secret, 0600);
	MODE("%s", "");
	if (fork() == 0) {
		dup2(pipes[1], 1);
		execlp("setpriv", "setpriv", "--pdeathsig", "KILL", "python3", "tests/objectd.py", modes, logfile, NULL);
		_exit(99);
	}
	close(pipes[1]);
	if (read(pipes[0], text, sizeof text - 1) <= 0)
		exit(99);
	port = (unsigned)atoi(text);
	snprintf(url, sizeof url, "http://127.0.0.1:%u", port);
	snprintf(auth, sizeof auth, "http://127.0.0.1:%u/auth/v1.0", port);
	snprintf(keystone, sizeof keystone, "http://127.0.0.1:%u/v3/", port);
}

int main(void)
{
	char command[100];

	set_up();
	RUN(names_are_ours_or_not);
	RUN(signatures_are_those_of_the_test_suite);
	RUN(signatures_are_those_of_the_s3_reference);
	RUN(lists_of_s3_are_understood_or_refused);
	RUN(lists_of_swift_are_understood_or_refused);
	RUN(ranges_are_understood_or_refused);
	RUN(settings_are_looked_at);
	RUN(a_directory_is_a_place);
	RUN(faults_are_injected);
	RUN(s3_is_a_place);
	RUN(swift_is_a_place);
	RUN(swift_by_keystone_as_well);
	RUN(a_list_can_be_left);
	RUN(s3_survives_bad_days);
	RUN(swift_survives_bad_days);
	RUN(a_server_that_is_not_there_is_eio);
	RUN(a_bucket_that_is_not_there_is_no_missing_file);
	RUN(who_we_are_matters);
	RUN(tokens_are_renewed);
	RUN(long_files_go_up_in_parts);
	RUN(parts_of_what_fails_are_taken_back);
	RUN(a_cached_place_is_a_place);
	RUN(what_was_read_is_not_asked_for_again);
	RUN(the_cache_is_bounded_and_keeps_what_is_used);
	RUN(damaged_blocks_are_got_anew);
	RUN(a_full_disk_only_makes_it_slow);
	RUN(readers_of_one_block_share_a_download);
	RUN(many_readers_of_a_small_cache_read_right);
	place_close(p);
	snprintf(command, sizeof command, "rm -rf %s", work);
	return system(command) || DONE();
}
