/* Contents: what is written is read, shared, cut, and survives. */
#include "../../backends/object/core.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>

#include "check.h"

#define CHECK_OK(x) do { e_.msg[0] = 0; int rc_ = (x); if (rc_ < 0) printf("# %s\n", e_.msg); CHECK_INT(rc_, 0); } while (0)
static struct objects *os;
static struct err e_;
static char dir[] = "/tmp/test_objects.XXXXXX", path[100];
static int64_t top;

static void up(void)
{
	struct space s;

	CHECK_OK(objects_open(path, NULL, &os, &e_));
	CHECK_OK(space_make(os, 7, 3, &e_));
	CHECK_OK(space_get(os, 7, &s, &e_));
	top = s.root;
}

static void again(void)
{
	objects_close(os);
	up();
}

static int64_t make(const char *name)
{
	struct entry n = { 0 };

	CHECK_OK(name_make(os, top, name, ENTRY_FILE, 0644, 0, 0, NULL, &n, &e_));
	return n.id;
}

static struct object *open_id(int64_t id, int flags)
{
	struct object *o = NULL;

	CHECK_OK(object_open(os, id, flags, &o, &e_));
	return o;
}

static void fill(unsigned char *p, size_t n, uint64_t seed)
{
	for (size_t i = 0; i < n; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (unsigned char)(seed >> 56);
	}
}

static void put(int64_t id, const void *data, size_t n, int64_t at)
{
	struct object *o = open_id(id, O_RDWR);

	CHECK_INT(object_write(o, data, n, at, false, &e_), n);
	object_close(o);
}

static bool same(int64_t id, const unsigned char *want, size_t n)
{
	unsigned char *got = malloc(n + 1);
	struct object *o = open_id(id, O_RDONLY);
	int64_t k = object_read(o, (char *)got, n + 1, 0, &e_);
	bool ok = k == (int64_t)n && memcmp(got, want, n) == 0;

	if (k < 0)
		printf("# read: %s\n", e_.msg);
	else if (!ok)
		for (size_t i = 0; i < n; i++)
			if (got[i] != want[i]) {
				printf("# %ld bytes, differs at %zu\n", (long)k, i);
				break;
			}
	object_close(o);
	free(got);
	return ok;
}

static int64_t stored(void)
{
	struct objects_stats st = { 0 };

	CHECK_OK(objects_sync(os, &e_));
	CHECK_OK(objects_stats(os, &st, &e_));
	return st.chunk_bytes;
}

static void tell(void *arg, const char *thing, const char *wrong, const char *did)
{
	printf("# %s: %s%s%s\n", thing, wrong, did ? "; " : "", did ? did : "");
}

static int64_t faults(bool repair)
{
	int64_t n = objects_check(os, true, repair, tell, NULL, &e_);

	if (n < 0)
		printf("# %s\n", e_.msg);
	return n;
}

#define BIG (9u << 20)
static unsigned char big[BIG], other[BIG];

static void sizes_around_every_limit(void)
{
	static const size_t sizes[] = { 0, 1, CHUNK_MIN - 1, CHUNK_MIN, CHUNK_MAX, CHUNK_MAX + 1, 65536, 1 << 20, BIG };
	int64_t ids[ARRAY_LEN(sizes)];

	fill(big, BIG, 1);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char name[20];

		snprintf(name, sizeof name, "s%zu", i);
		ids[i] = make(name);
		put(ids[i], big, sizes[i], 0);
		CHECK(same(ids[i], big, sizes[i]));
	}
	again();
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		CHECK(same(ids[i], big, sizes[i]));
	CHECK_INT(faults(false), 0);
}

static void the_same_bytes_are_stored_once(void)
{
	int64_t before = stored(), a = make("twin");

	put(a, big, BIG, 0);
	CHECK_INT(stored(), before);
	/* an insertion costs some chunks around it */
	int64_t b = make("inserted");
	struct object *o = open_id(b, O_RDWR);
	CHECK_INT(object_write(o, (char *)big, 4000000, 0, false, &e_), 4000000);
	CHECK_INT(object_write(o, "inserted", 8, 4000000, false, &e_), 8);
	CHECK_INT(object_write(o, (char *)big + 4000000, BIG - 4000000, 4000008, false, &e_), BIG - 4000000);
	object_close(o);
	CHECK(stored() - before < 4 * CHUNK_MAX);
	CHECK_INT(faults(false), 0);
}

static void random_changes_against_a_model(void)
{
	enum { N = 3 << 20 };
	unsigned char *model = calloc(1, N);
	int64_t id = make("model"), size = 0;
	uint64_t r = 42;
	struct object *o = open_id(id, O_RDWR);

	for (int i = 0; i < 3000; i++) {
		r = r * 6364136223846793005u + 1442695040888963407u;
		size_t len = (r >> 33) % (i % 10 ? 9000 : 700000) + 1, at = (r >> 13) % (N - 700001);

		switch ((r >> 50) % 12) {
		case 0:
			if (object_truncate(os, id, (int64_t)at, &e_) < 0)
				printf("# %s\n", e_.msg);
			if ((int64_t)at < size)
				memset(model + at, 0, (size_t)(size - (int64_t)at));
			size = (int64_t)at;
			break;
		case 1:
			CHECK_OK(object_sync(o, &e_));
			break;
		case 2:
			CHECK_OK(object_allocate(o, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (int64_t)at, (int64_t)len, &e_));
			if ((int64_t)at < size)
				memset(model + at, 0, len < (size_t)(size - (int64_t)at) ? len : (size_t)(size - (int64_t)at));
			break;
		case 3:
			object_close(o);
			if (i % 50 == 3)
				again();
			o = open_id(id, O_RDWR);
			break;
		case 4:
			if (i % 3 == 0 && !same(id, model, (size_t)size)) {
				printf("# step %d\n", i);
				CHECK(false);
				i = 3000;
			}
			break;
		case 5: {
			size_t from = (r >> 20) % (N - 700001);

			if ((int64_t)(from + len) <= size && (from + len <= at || at + len <= from)) {
				CHECK_INT(object_copy(o, (int64_t)from, o, (int64_t)at, len, &e_), len);
				memmove(model + at, model + from, len);
				size = (int64_t)(at + len) > size ? (int64_t)(at + len) : size;
			}
			break;
		}
		default:
			fill(model + at, len, r);
			CHECK_INT(object_write(o, (char *)model + at, len, (int64_t)at, false, &e_), len);
			size = (int64_t)(at + len) > size ? (int64_t)(at + len) : size;
		}
	}
	CHECK(same(id, model, (size_t)size));
	object_close(o);
	again();
	CHECK(same(id, model, (size_t)size));
	CHECK_INT(faults(false), 0);
	free(model);
}

static void a_terabyte_of_nothing(void)
{
	int64_t id = make("sparse");
	char buf[100], zeros[100] = "";
	struct object *o = open_id(id, O_RDWR);

	CHECK_INT(object_write(o, "end", 3, INT64_C(1) << 40, false, &e_), 3);
	CHECK_INT(object_read(o, buf, 100, INT64_C(1) << 39, &e_), 100);
	CHECK(memcmp(buf, zeros, 100) == 0);
	CHECK_INT(object_seek(o, 0, SEEK_DATA, &e_), INT64_C(1) << 40);
	CHECK_INT(object_seek(o, 5, SEEK_HOLE, &e_), 5);
	CHECK_OK(object_sync(o, &e_));
	object_close(o);
	again();
	o = open_id(id, O_RDONLY);
	CHECK_INT(object_read(o, buf, 100, INT64_C(1) << 40, &e_), 3);
	CHECK(memcmp(buf, "end", 3) == 0);
	object_close(o);
}

static void a_copy_shares_everything(void)
{
	int64_t before, a = make("source"), b = make("copy");
	struct object *in, *out;

	fill(other, BIG, 99);
	put(a, other, BIG, 0);
	before = stored();
	in = open_id(a, O_RDONLY);
	out = open_id(b, O_RDWR);
	CHECK_INT(object_copy(in, 0, out, 0, BIG, &e_), BIG);
	CHECK(same(b, other, BIG));
	object_close(out);
	object_close(in);
	CHECK_INT(stored(), before);
	CHECK(same(b, other, BIG));
	CHECK_OK(name_remove(os, top, "source", false, &e_));
	again();
	CHECK(same(b, other, BIG));
	CHECK_INT(faults(false), 0);
}

static void what_is_removed_gives_its_room_back(void)
{
	int64_t before = stored(), a = make("short-lived");

	fill(other, BIG, 12345);
	put(a, other, BIG, 0);
	CHECK_INT(stored(), before + BIG);
	CHECK_OK(name_remove(os, top, "short-lived", false, &e_));
	int64_t now = 0;
	for (int i = 0; i < 100 && (now = stored()) != before; i++)
		usleep(100000);
	CHECK_INT(now, before);
	CHECK_INT(faults(false), 0);
}

static void one_removed_while_open_goes_on(void)
{
	int64_t id = make("doomed");
	struct object *o = open_id(id, O_RDWR);
	struct entry n;
	char buf[10];

	CHECK_INT(object_write(o, "still", 5, 0, false, &e_), 5);
	CHECK_OK(name_remove(os, top, "doomed", false, &e_));
	CHECK_INT(name_lookup(os, top, "doomed", &n, &e_), -ENOENT);
	CHECK_INT(object_read(o, buf, 10, 0, &e_), 5);
	CHECK_INT(object_write(o, " here", 5, 5, false, &e_), 5);
	CHECK_OK(object_sync(o, &e_));
	CHECK_INT(object_read(o, buf, 10, 0, &e_), 10);
	object_close(o);
	CHECK_INT(name_get(os, id, &n, &e_), -ENOENT);
	CHECK_INT(faults(false), 0);
}

static void chunks_of_the_same_hash_are_kept_apart(void)
{
	int64_t ids[20];

	chunks_hash_mask = 3;
	objects_close(os);
	snprintf(path, sizeof path, "%s/collide", dir);
	up();
	for (int i = 0; i < 20; i++) {
		char name[20];

		snprintf(name, sizeof name, "c%d", i);
		ids[i] = make(name);
		fill(other, 50000, (uint64_t)i * 7 + 1);
		put(ids[i], other, 50000, 0);
		CHECK_OK(objects_sync(os, &e_));
	}
	for (int i = 0; i < 20; i++) {
		fill(other, 50000, (uint64_t)i * 7 + 1);
		CHECK(same(ids[i], other, 50000));
	}
	CHECK_INT(faults(false), 0);
	chunks_hash_mask = ~UINT64_C(0);
	objects_close(os);
	snprintf(path, sizeof path, "%s/objects", dir);
	up();
}

static void *etag_of;
static void etag_done(void *arg, const struct err *e, const char *etag)
{
	snprintf(arg, 100, "%.90s", e ? e->msg : etag);
	__atomic_store_n(&etag_of, arg, __ATOMIC_RELEASE);
}

static void an_etag_is_the_md5(void)
{
	char tag[100] = "";
	int64_t id = make("tagged");
	uint64_t ticket;

	put(id, "hello\n", 6, 0);
	int rc = object_etag(os, id, tag, etag_done, tag, &ticket, &e_);
	for (int i = 0; rc == 1 && i < 500 && !__atomic_load_n(&etag_of, __ATOMIC_ACQUIRE); i++)
		usleep(10000);
	CHECK_STR(tag, "b1946ac92492d2347c6235b4d2611184");
	memset(big, 'a', BIG);
	id = make("tagged2");
	put(id, big, BIG, 0);
	etag_of = NULL;
	rc = object_etag(os, id, tag, etag_done, tag, &ticket, &e_);
	for (int i = 0; rc == 1 && i < 500 && !__atomic_load_n(&etag_of, __ATOMIC_ACQUIRE); i++)
		usleep(10000);
	CHECK_STR(tag, "61f246280efff5b3d7e1cdf29dc8e7a9");
}

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/objects", dir);
	up();
	RUN(sizes_around_every_limit);
	RUN(the_same_bytes_are_stored_once);
	RUN(random_changes_against_a_model);
	RUN(a_terabyte_of_nothing);
	RUN(a_copy_shares_everything);
	RUN(what_is_removed_gives_its_room_back);
	RUN(one_removed_while_open_goes_on);
	RUN(chunks_of_the_same_hash_are_kept_apart);
	RUN(an_etag_is_the_md5);
	objects_close(os);
	snprintf(path, sizeof path, "rm -rf %s", dir);
	return system(path) ? 2 : DONE();
}
