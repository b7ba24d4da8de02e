/* A real server as a place of packs: remote KIND URL BUCKET KEY SECRET-FILE [virtual].  Run by swift.sh. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "../../backends/place/place_parts.h"
#include "../unit/check.h"

#define MIB (1 << 20)

static struct place_conf conf;
static struct place *p;
static struct err e;
static bool s3;

static char *bytes(size_t n, unsigned seed)
{
	char *buf = malloc(n + 1);

	for (size_t i = 0; i < n; i++)
		buf[i] = (char)((seed = seed * 1103515245 + 12345) >> 16);
	return buf;
}

static int put(const char *name, size_t n, unsigned seed, struct err *err)
{
	AUTO(free) char *buf = bytes(n, seed);
	AUTO(fclose) FILE *f = tmpfile();

	if (!f || fwrite(buf, 1, n, f) != n || fflush(f) != 0)
		exit(99);
	return place_put(p, name, fileno(f), n, err);
}

static int same(const char *name, size_t n, unsigned seed, uint64_t off, size_t len, struct err *err)
{
	AUTO(free) char *want = bytes(n, seed), *got = calloc(1, len);
	int rc = place_get(p, name, off, len, got, err);

	return rc < 0 ? rc : memcmp(got, want + off, len) == 0 ? 0 : -1;
}

static void opened(void)
{
	place_close(steal_ptr(&p));
	e = (struct err){ 0 };
	CHECK_INT(place_open(&conf, &p, &e), 0);
	if (!p) {
		printf("# %s\n", e.msg);
		exit(99);
	}
}

static unsigned n_listed;
static int on_name(void *arg, const char *name, uint64_t size)
{
	n_listed++;
	return 0;
}

/* A Swift's list may be behind. */
static unsigned count(const char *begin, unsigned want)
{
	for (int i = 0; i < 50; i++) {
		n_listed = 0;
		CHECK_INT(place_list(p, begin, on_name, NULL, &e), 0);
		if (n_listed == want)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 200000000 }, NULL);
	}
	return n_listed;
}

static void files_are_kept(void)
{
	uint64_t size = 0;

	CHECK_INT(place_check(p, &e), 0);
	for (int i = 0; i < 2; i++)
		CHECK_INT(put("a.pack", 3 * MIB + 17, 1, &e), 0);
	CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 0, 3 * MIB + 17, &e), 0);
	CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 3 * MIB + 16, 1, &e), 0);
	CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 1234567, 65536, &e), 0);
	CHECK_INT(place_size(p, "a.pack", &size, &e), 0);
	CHECK_INT(size, 3 * MIB + 17);
	CHECK_INT(put("empty", 0, 1, &e), 0);
	CHECK_INT(place_size(p, "empty", &size, &e), 0);
	CHECK_INT(size, 0);
	if (*e.msg)
		printf("# %s\n", e.msg);
}

static void what_is_not_there_is_said(void)
{
	uint64_t size;

	CHECK_INT(same("none", 1, 1, 0, 1, &e), -ENOENT);
	CHECK_INT(place_size(p, "none", &size, &e), -ENOENT);
	CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 3 * MIB, 18, &e), -EBADMSG);
	printf("# %s\n", e.msg);
	CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 4 * MIB, 1, &e), -EBADMSG);
	printf("# %s\n", e.msg);
	CHECK_INT(place_delete(p, "none", &e), 0);
}

static void lists_have_pages(void)
{
	char name[32];

	conf.page = 10;
	opened();
	for (unsigned i = 0; i < 35; i++) {
		snprintf(name, sizeof name, "list-%02u", i);
		CHECK_INT(put(name, i, i, &e), 0);
	}
	CHECK_INT(count("list-", 35), 35);
	CHECK_INT(count("list-1", 10), 10);
	CHECK_INT(count("nothing", 0), 0);
	CHECK_INT(count("", 37), 37);
	for (unsigned i = 0; i < 35; i++) {
		snprintf(name, sizeof name, "list-%02u", i);
		CHECK_INT(place_delete(p, name, &e), 0);
	}
	CHECK_INT(count("list-", 0), 0);
	conf.page = 0;
	opened();
}

static void a_large_pack_is_one(void)
{
	uint64_t size = 0;

	CHECK_INT(put("large.pack", 150 * MIB + 1, 5, &e), 0);
	CHECK_INT(place_size(p, "large.pack", &size, &e), 0);
	CHECK_INT(size, 150 * MIB + 1);
	CHECK_INT(same("large.pack", 150 * MIB + 1, 5, 64 * MIB - 100, 200, &e), 0);
	CHECK_INT(same("large.pack", 150 * MIB + 1, 5, 0, 150 * MIB + 1, &e), 0);
	CHECK_INT(place_delete(p, "large.pack", &e), 0);
	if (*e.msg)
		printf("# %s\n", e.msg);
}

static atomic_int bad;

static void *worker(void *arg)
{
	unsigned no = (unsigned)(uintptr_t)arg;
	struct err own = { 0 };
	char name[32];

	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof name, "w%u-%u", no, i);
		bad += put(name, 100000 + no, no * 100 + i, &own) < 0;
		bad += same(name, 100000 + no, no * 100 + i, 500, 50000, &own) < 0;
		bad += place_delete(p, name, &own) < 0;
	}
	if (*own.msg)
		printf("# %s\n", own.msg);
	return NULL;
}

static void many_come_at_once(void)
{
	pthread_t t[8];

	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_create(&t[i], NULL, worker, (void *)(i + 1));
	for (size_t i = 0; i < ARRAY_LEN(t); i++)
		pthread_join(t[i], NULL);
	CHECK_INT(bad, 0);
}

/* The server's tokens are good for 4 s. */
static void tokens_that_run_out_are_renewed(void)
{
	for (int i = 0; !s3 && i < 2; i++) {
		CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 5, 100, &e), 0);
		nanosleep(&(struct timespec){ .tv_sec = 5 }, NULL);
		CHECK_INT(i ? put("a.pack", 3 * MIB + 17, 1, &e) : same("a.pack", 3 * MIB + 17, 1, 5, 100, &e), 0);
	}
}

static void the_cache_works(void)
{
	struct place_cache_stats st;
	char dir[] = "/tmp/remote-cache.XXXXXX", command[64];

	conf.cache_dir = mkdtemp(dir);
	conf.cache_bytes = 16 * MIB;
	for (int i = 0; i < 2; i++) {
		opened();
		CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 0, 3 * MIB + 17, &e), 0);
		CHECK_INT(same("a.pack", 3 * MIB + 17, 1, 99, MIB, &e), 0);
		place_cache_stats(p, &st);
		CHECK_INT(st.misses, i ? 0 : 4);
	}
	conf.cache_dir = NULL;
	opened();
	snprintf(command, sizeof command, "rm -r %s", dir);
	CHECK_INT(system(command), 0);
}

static void others_are_refused(void)
{
	const char *key = conf.key, *bucket = conf.bucket;

	conf.key = "acme:nobody";
	opened();
	CHECK_INT(place_check(p, &e), -EACCES);
	printf("# %s\n", e.msg);
	conf.key = key;
	conf.bucket = "nothing-here";
	opened();
	CHECK_INT(place_check(p, &e), -EIO);
	printf("# %s\n", e.msg);
	CHECK_INT(same("a.pack", 1, 1, 0, 1, &e), -EIO);
	CHECK_INT(place_delete(p, "a.pack", &e), -EIO);
	CHECK_INT(put("a.pack", 1, 1, &e), -EIO);
	conf.bucket = bucket;
	opened();
	CHECK_INT(place_delete(p, "a.pack", &e), 0);
	CHECK_INT(place_delete(p, "empty", &e), 0);
	CHECK_INT(count("", 0), 0);
}

int main(int argc, char **argv)
{
	if (argc < 6)
		return 99;
	conf = (struct place_conf){ .kind = argv[1], .url = argv[2], .bucket = argv[3], .key = argv[4], .secret_file = argv[5], .prefix = "cloud one/ä&b/",
		.virtual_host = argc > 6 };
	s3 = strcmp(argv[1], "s3") == 0;
	opened();
	RUN(files_are_kept);
	RUN(what_is_not_there_is_said);
	RUN(lists_have_pages);
	RUN(a_large_pack_is_one);
	RUN(many_come_at_once);
	RUN(tokens_that_run_out_are_renewed);
	RUN(the_cache_works);
	RUN(others_are_refused);
	place_close(p);
	return DONE();
}
