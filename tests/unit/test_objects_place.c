/* Objects whose packs are in a place: what is shared is judged by digests, by bytes where there are none, and never by a hash alone. */
#include "../../backends/object/core.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/place/place.h"
#include "check.h"

#define CHECK_OK(x) do { e.msg[0] = 0; int rc_ = (x); if (rc_ < 0) printf("# %s\n", e.msg); CHECK_INT(rc_, 0); } while (0)
#define N 20
#define SIZE 50000

static struct objects *os;
static struct err e;
static char dir[] = "/tmp/test_objects_place.XXXXXX", path[100], url[64], logfile[100], secret[100], elsewhere[100];
static int64_t top;
static unsigned char data[SIZE];

static int opened(const char *kind)
{
	struct place_conf place = { .kind = kind, .url = strcmp(kind, "local") == 0 ? elsewhere : url, .bucket = "packs", .key = "AK",
		.secret_file = secret, .cache_bytes = 16 << 20, .connect_s = 5, .stall_s = 2, .retries = 2, .retry_ms = 10 };
	struct objects_conf conf = { .place = *kind ? &place : NULL };
	char prefix[200];

	snprintf(prefix, sizeof prefix, "%s/", strrchr(path, '/') + 1);
	place.prefix = prefix;
	struct space s;

	e = (struct err){ 0 };
	if (objects_open(path, &conf, &os, &e) < 0)
		return -e.code;
	CHECK_OK(space_make(os, 7, 3, &e));
	CHECK_OK(space_get(os, 7, &s, &e));
	top = s.root;
	return 0;
}

static void closed(void)
{
	objects_close(os);
	os = NULL;
}

static void fill(uint64_t seed)
{
	for (size_t i = 0; i < SIZE; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		data[i] = (unsigned char)(seed >> 56);
	}
}

static int64_t write_one(const char *begin, int no, uint64_t seed)
{
	struct object *o = NULL;
	struct entry n = { 0 };
	char name[40];

	snprintf(name, sizeof name, "%s%d", begin, no);
	fill(seed);
	CHECK_OK(name_make(os, top, name, ENTRY_FILE, 0644, 0, 0, NULL, &n, &e));
	CHECK_OK(object_open(os, n.id, O_RDWR, &o, &e));
	CHECK_INT(object_write(o, (const char *)data, SIZE, 0, false, &e), SIZE);
	object_close(o);
	return n.id;
}

static bool same(const char *begin, int no, uint64_t seed)
{
	static char got[SIZE + 1];
	struct object *o = NULL;
	struct entry n = { 0 };
	char name[40];

	snprintf(name, sizeof name, "%s%d", begin, no);
	fill(seed);
	CHECK_OK(name_lookup(os, top, name, &n, &e));
	CHECK_OK(object_open(os, n.id, O_RDONLY, &o, &e));
	int64_t k = object_read(o, got, sizeof got, 0, &e);
	if (k < 0)
		printf("# %s\n", e.msg);
	object_close(o);
	return k == SIZE && memcmp(got, data, SIZE) == 0;
}

static uint64_t seed_of(const char *begin, int no)
{
	return (uint64_t)no * 7 + (uint64_t)*begin * 1000 + 1;
}

static void write_all(const char *begin, const char *like)
{
	for (int i = 0; i < N; i++)
		write_one(begin, i, seed_of(like, i));
	CHECK_OK(objects_sync(os, &e));
}

static void all_same(const char *begin, const char *like)
{
	for (int i = 0; i < N; i++)
		CHECK(same(begin, i, seed_of(like, i)));
}

static int64_t stored(void)
{
	struct objects_stats st = { 0 };

	CHECK_OK(objects_stats(os, &st, &e));
	return st.chunk_bytes;
}

/* Until all that is full is there; how many are. */
static int64_t moved(void)
{
	struct objects_place st = { 0 };

	for (int i = 0; i < 300; i++) {
		CHECK_OK(objects_place(os, &st, &e));
		if (st.packs && !st.waiting)
			break;
		usleep(50000);
	}
	if (*st.trouble)
		printf("# %s\n", st.trouble);
	CHECK_INT(st.waiting, 0);
	return st.packs;
}

static int64_t sql(const char *text)
{
	struct err err;
	int64_t v = 0;

	if (!index_enter(os, &err))
		return -1;
	struct stmt s = stmt_prepare(os->db, text);
	if (stmt_step(&s, &err) > 0)
		v = stmt_col_int(&s, 0);
	stmt_done(&s);
	index_end(os, true);
	return v;
}

static void tell(void *arg, const char *thing, const char *wrong, const char *did)
{
	printf("# %s: %s%s%s\n", thing, wrong, did ? "; " : "", did ? did : "");
}

static unsigned gets(void)
{
	FILE *f = fopen(logfile, "re");
	char line[300];
	unsigned n = 0;

	while (f && fgets(line, sizeof line, f))
		n += strncmp(line, "GET ", 4) == 0 && strstr(line, ".pack") != NULL;
	if (f)
		fclose(f);
	return n;
}

static void what_is_far_is_shared_by_its_digest(void)
{
	CHECK_INT(opened("s3"), 0);
	write_all("a", "a");
	CHECK(moved() >= 3);
	CHECK(sql("SELECT count(*) FROM digest") >= N);
	CHECK_INT(sql("SELECT count(*) FROM chunk WHERE id NOT IN (SELECT chunk FROM digest)"), 0);
	int64_t before = stored();
	unsigned n = gets();
	write_all("b", "a");
	CHECK_INT(gets(), n);
	/* the newest of it is not far, and compared by its bytes */
	CHECK_INT(stored(), before);
	all_same("b", "a");
	CHECK_INT(objects_check(os, true, false, tell, NULL, &e), 0);
	closed();
}

/* Every fourth chunk has the hash of another one. */
static void a_hash_alone_shares_nothing(void)
{
	chunks_hash_mask = 3;
	snprintf(path, sizeof path, "%s/collide", dir);
	CHECK_INT(opened("s3"), 0);
	for (const char *const *b = (const char *const[]){ "a", "b", "c", NULL }; *b; b++) {
		write_all(*b, *b);
		moved();
	}
	for (const char *const *b = (const char *const[]){ "a", "b", "c", NULL }; *b; b++)
		all_same(*b, *b);
	CHECK_INT(objects_check(os, true, false, tell, NULL, &e), 0);
	closed();
	chunks_hash_mask = ~UINT64_C(0);
	snprintf(path, sizeof path, "%s/objects", dir);
}

/* As those are that were stored before there was a place. */
static void without_digests_bytes_are_compared(void)
{
	char command[120];

	snprintf(command, sizeof command, "rm -r %s/cache", path);
	CHECK_INT(system(command), 0);
	CHECK_INT(opened("s3"), 0);
	int64_t before = stored();
	sql("DELETE FROM digest");
	unsigned n = gets();
	write_all("d", "a");
	CHECK(gets() > n);
	CHECK_INT(stored(), before);
	all_same("d", "a");
	closed();
}

static void a_digest_goes_with_its_chunk(void)
{
	CHECK_INT(opened("s3"), 0);
	for (int i = 0; i < N; i++)
		write_one("e", i, seed_of("e", i));
	CHECK_OK(objects_sync(os, &e));
	CHECK(sql("SELECT count(*) FROM digest") > 0);
	for (int i = 0; i < N; i++) {
		char name[40];

		snprintf(name, sizeof name, "e%d", i);
		CHECK_OK(name_remove(os, top, name, false, &e));
	}
	CHECK_OK(objects_sync(os, &e));
	for (int i = 0; i < 200 && sql("SELECT count(*) FROM digest"); i++)
		usleep(50000);
	CHECK_INT(sql("SELECT count(*) FROM digest"), 0);
	closed();
}

static void without_its_place_it_is_not_opened(void)
{
	CHECK_INT(opened(""), -EINVAL);
	CHECK(strstr(e.msg, "bucket packs prefix objects/") != NULL);
	CHECK(strstr(e.msg, "objects-place") != NULL);
	CHECK_INT(opened("s3"), 0);
	all_same("a", "a");
	closed();
}

static void a_directory_has_no_digests(void)
{
	struct stat st;

	snprintf(path, sizeof path, "%s/near", dir);
	CHECK_INT(opened("local"), 0);
	write_all("a", "a");
	CHECK(moved() >= 3);
	CHECK_INT(sql("SELECT count(*) FROM digest"), 0);
	int64_t before = stored();
	write_all("b", "a");
	CHECK_INT(stored(), before);
	all_same("b", "a");
	CHECK_INT(objects_check(os, true, false, tell, NULL, &e), 0);
	closed();
	CHECK_INT(opened("local"), 0);
	all_same("a", "a");
	snprintf(path, sizeof path, "%s/near/packs/00000001.pack", dir);
	CHECK(stat(path, &st) < 0);
	closed();
}

static void serve(void)
{
	char modes[100], text[16] = "";
	int pipes[2];

	snprintf(modes, sizeof modes, "%s/modes", dir);
	snprintf(logfile, sizeof logfile, "%s/log", dir);
	snprintf(secret, sizeof secret, "%s/secret", dir);
	snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", dir);
	FILE *f = fopen(secret, "we");
	if (!f || fputs("secret\n", f) < 0 || fclose(f) != 0 || chmod(secret, 0600) < 0 || pipe(pipes) < 0)
		exit(99);
	if (fork() == 0) {
		dup2(pipes[1], 1);
		execlp("setpriv", "setpriv", "--pdeathsig", "KILL", "python3", "tests/objectd.py", modes, logfile, NULL);
		_exit(99);
	}
	close(pipes[1]);
	if (read(pipes[0], text, sizeof text - 1) <= 0)
		exit(99);
	snprintf(url, sizeof url, "http://127.0.0.1:%d", atoi(text));
}

int main(void)
{
	char command[100];

	if (!mkdtemp(dir))
		return 1;
	setenv("CIRRUSFS_PACK_MAX", "262144", 1);
	snprintf(path, sizeof path, "%s/objects", dir);
	serve();
	RUN(what_is_far_is_shared_by_its_digest);
	RUN(a_hash_alone_shares_nothing);
	RUN(without_digests_bytes_are_compared);
	RUN(a_digest_goes_with_its_chunk);
	RUN(without_its_place_it_is_not_opened);
	RUN(a_directory_has_no_digests);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	return system(command) ? 2 : DONE();
}
