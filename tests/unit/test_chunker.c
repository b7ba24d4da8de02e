/* Where contents are cut: sizes, the same places for the same bytes, and what an edit changes. */
#include "../../backends/object/chunker.h"

#include <stdlib.h>

#include "../../backends/base/auto.h"
#include "check.h"

#define MIN 2048
#define AVG 8192
#define MAX 32768
#define LEN (8 << 20)
#define MANY (LEN / MIN + 1)

static struct chunker c;

/* Bytes without a pattern, the same in every run. */
static unsigned char *noise(size_t len, uint64_t seed)
{
	unsigned char *p = calloc(1, len);

	for (size_t i = 0; p && i < len; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		p[i] = (unsigned char)(seed >> 56);
	}
	return p;
}

/* All ends of chunks, ascending; the last is len. */
static size_t cut_all(const struct chunker *ch, const unsigned char *p, size_t len, size_t *ends)
{
	size_t n = 0;

	for (size_t at = 0; at < len; ends[n++] = at)
		at += chunker_cut(ch, p + at, len - at);
	return n;
}

/* How many of those in a, moved by shift from `from` on, are not in b. */
static size_t missing(const size_t *a, size_t n, const size_t *b, size_t m, size_t from, long shift)
{
	size_t lost = 0;

	for (size_t i = 0, j = 0; i < n; i++) {
		size_t want = a[i] > from ? a[i] + (size_t)shift : a[i];

		while (j < m && b[j] < want)
			j++;
		lost += j == m || b[j] != want;
	}
	return lost;
}

static void sizes_are_within_the_limits(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 1);
	AUTO(free) size_t *ends = calloc(MANY, sizeof *ends);
	size_t n = cut_all(&c, p, LEN, ends), before = 0;

	for (size_t i = 0; i < n; before = ends[i++]) {
		size_t size = ends[i] - before;

		if (size > MAX || (size <= MIN && i + 1 < n))
			CHECK_FAIL("chunk %zu has %zu bytes", i, size);
	}
	CHECK_INT(ends[n - 1], LEN);
}

static void up_to_the_minimum_is_one_chunk(void)
{
	AUTO(free) unsigned char *p = noise(MIN, 2);

	CHECK_INT(chunker_cut(&c, p, 1), 1);
	CHECK_INT(chunker_cut(&c, p, MIN - 1), MIN - 1);
	CHECK_INT(chunker_cut(&c, p, MIN), MIN);
}

static void a_run_of_any_byte_is_cut_at_the_maximum(void)
{
	AUTO(free) unsigned char *p = calloc(1, 2 * MAX);

	for (int byte = 0; byte < 256; byte++) {
		memset(p, byte, 2 * MAX);
		CHECK_INT(chunker_cut(&c, p, 2 * MAX), MAX);
		CHECK_INT(chunker_cut(&c, p, MAX), MAX);
		CHECK_INT(chunker_cut(&c, p, MAX - 1), MAX - 1);
	}
}

static void the_mean_is_what_was_asked(void)
{
	AUTO(free) unsigned char *p = noise(4 * LEN, 3);
	AUTO(free) size_t *ends = calloc(4 * MANY, sizeof *ends);
	size_t n = cut_all(&c, p, 4 * LEN, ends), mean = 4 * LEN / n, near = 0;

	if (mean < AVG * 9 / 10 || mean > AVG * 11 / 10)
		CHECK_FAIL("the mean is %zu", mean);
	for (size_t i = 1; i < n; i++)
		near += ends[i] - ends[i - 1] > AVG / 2 && ends[i] - ends[i - 1] < AVG * 2;
	if (near < n * 8 / 10)
		CHECK_FAIL("only %zu of %zu are between half and twice the mean", near, n);
}

static void the_same_seed_cuts_the_same_and_another_elsewhere(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 4);
	AUTO(free) size_t *a = calloc(MANY, sizeof *a), *b = calloc(MANY, sizeof *b);
	struct chunker again, other;

	chunker_init(&again, MIN, AVG, MAX, 1);
	chunker_init(&other, MIN, AVG, MAX, 2);
	size_t n = cut_all(&c, p, LEN, a), m = cut_all(&again, p, LEN, b);
	CHECK_INT(m, n);
	CHECK_INT(missing(a, n, b, m, LEN, 0), 0);
	m = cut_all(&other, p, LEN, b);
	CHECK(missing(a, n, b, m, LEN, 0) > n * 9 / 10);
}

/* Stores have been cut with these: another answer would share nothing with what is stored. */
static void the_places_never_change(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 5);
	static const size_t was[] = { 3410, 5837, 5747, 4643, 12846, 15014, 12759, 2936 };

	for (size_t i = 0, at = 0; i < sizeof was / sizeof *was; i++) {
		size_t n = chunker_cut(&c, p + at, LEN - at);

		CHECK_INT(n, was[i]);
		at += n;
	}
}

static void an_insertion_changes_the_chunks_around_it(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 6), *q = calloc(1, LEN + 7);
	AUTO(free) size_t *a = calloc(MANY, sizeof *a), *b = calloc(MANY, sizeof *b);
	size_t n = cut_all(&c, p, LEN, a), where = LEN / 3;

	memcpy(q, p, where);
	memcpy(q + where, "another", 7);
	memcpy(q + where + 7, p + where, LEN - where);
	size_t m = cut_all(&c, q, LEN + 7, b), lost = missing(a, n, b, m, where, 7);
	if (lost > 6)
		CHECK_FAIL("%zu of %zu boundaries moved", lost, n);
}

static void a_deletion_changes_the_chunks_around_it(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 7), *q = calloc(1, LEN);
	AUTO(free) size_t *a = calloc(MANY, sizeof *a), *b = calloc(MANY, sizeof *b);
	size_t n = cut_all(&c, p, LEN, a), where = LEN / 2;

	memcpy(q, p, where);
	memcpy(q + where, p + where + 100, LEN - where - 100);
	size_t m = cut_all(&c, q, LEN - 100, b), lost = missing(a, n, b, m, where, -100);
	if (lost > 6)
		CHECK_FAIL("%zu of %zu boundaries moved", lost, n);
}

static void a_changed_byte_changes_the_chunks_around_it(void)
{
	AUTO(free) unsigned char *p = noise(LEN, 8);
	AUTO(free) size_t *a = calloc(MANY, sizeof *a), *b = calloc(MANY, sizeof *b);
	size_t n = cut_all(&c, p, LEN, a);

	p[LEN / 2] ^= 1;
	size_t m = cut_all(&c, p, LEN, b), lost = missing(a, n, b, m, LEN, 0);
	if (lost > 6)
		CHECK_FAIL("%zu of %zu boundaries moved", lost, n);
}

/* What is final must be: given in pieces of any size, the chunks are those of the whole. */
static void pieces_are_cut_as_the_whole(void)
{
	static const size_t pieces[] = { 1000, MIN, MIN + 1, 4097, AVG, MAX - 1, MAX, MAX + 1, 100000 };
	AUTO(free) unsigned char *p = noise(LEN, 9);
	AUTO(free) size_t *a = calloc(MANY, sizeof *a), *b = calloc(MANY, sizeof *b);
	size_t n = cut_all(&c, p, LEN, a);

	for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
		size_t have = 0, at = 0, m = 0;

		while (at < LEN) {
			size_t len = have - at, cut = len ? chunker_cut(&c, p + at, len) : 0;

			if (len && (cut < len || len >= MAX || have == LEN))
				b[m++] = at += cut;
			else
				have = have + pieces[k] < LEN ? have + pieces[k] : LEN;
		}
		CHECK_INT(m, n);
		CHECK_INT(missing(a, n, b, m, LEN, 0), 0);
	}
}

/* Every length around a boundary: final answers agree, the others are all of it. */
static void what_is_less_than_the_whole_is_final(void)
{
	AUTO(free) unsigned char *p = noise(2 * MAX, 10);
	size_t cut = chunker_cut(&c, p, 2 * MAX);

	for (size_t len = 1; len <= 2 * MAX; len++) {
		size_t n = chunker_cut(&c, p, len);

		if (n != (len < cut ? len : cut))
			CHECK_FAIL("of %zu bytes %zu are the first chunk, not %zu", len, n, cut);
	}
}

/* A minimum smaller than what the hash looks back at. */
static void tiny_chunks_work_too(void)
{
	AUTO(free) unsigned char *p = noise(1 << 16, 11);
	struct chunker tiny;

	chunker_init(&tiny, 0, 64, 256, 3);
	for (size_t at = 0, n; at < 1 << 16; at += n) {
		n = chunker_cut(&tiny, p + at, (1 << 16) - at);
		if (n < 1 || n > 256)
			CHECK_FAIL("a chunk of %zu", n);
	}
}

int main(void)
{
	chunker_init(&c, MIN, AVG, MAX, 1);
	RUN(sizes_are_within_the_limits);
	RUN(up_to_the_minimum_is_one_chunk);
	RUN(a_run_of_any_byte_is_cut_at_the_maximum);
	RUN(the_mean_is_what_was_asked);
	RUN(the_same_seed_cuts_the_same_and_another_elsewhere);
	RUN(the_places_never_change);
	RUN(an_insertion_changes_the_chunks_around_it);
	RUN(a_deletion_changes_the_chunks_around_it);
	RUN(a_changed_byte_changes_the_chunks_around_it);
	RUN(pieces_are_cut_as_the_whole);
	RUN(what_is_less_than_the_whole_is_final);
	RUN(tiny_chunks_work_too);
	return DONE();
}
