/* What the sizes of chunks cost and bring: chunks [MIN,AVG,MAX]... PATH...  Files and all below directories are read, cut with each set of sizes, and
 * cut again after edits of 100 KB, in place and inserted, and of 4 KiB in place, at random places, 1 % of the bytes together.  What is not in the
 * first version would be stored anew.  Sizes are KiB; a line a set.  docs/objects-chunks.md has the table and what was concluded. */
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <xxhash.h>
#include <zstd.h>

#include "../../backends/object/chunker.h"

#define INDEX_BYTES 60	/* a chunk's rows, and its line in a manifest */
#define CHANGE 102400
#define FRAME (1 << 20)	/* what chunks that are compressed together fill; no chunk is larger */

struct buf {
	unsigned char *p;
	size_t len;
};
static struct buf *files, *edited;
static size_t n_files, total;

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t rnd(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void noise(unsigned char *p, size_t len, uint64_t *s)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)rnd(s);
}

static int take(const char *path, const struct stat *st, int type, struct FTW *where)
{
	if (type != FTW_F || !S_ISREG(st->st_mode) || !st->st_size)
		return 0;
	struct buf b = { .p = malloc((size_t)st->st_size) };
	FILE *f = fopen(path, "r");

	if (f && b.p)
		b.len = fread(b.p, 1, (size_t)st->st_size, f);
	if (f)
		fclose(f);
	files = realloc(files, (n_files + 1) * sizeof *files);
	if (!files)
		exit(1);
	files[n_files++] = b;
	total += b.len;
	return 0;
}

/* The digests that were seen. */
static XXH128_hash_t *seen;
static size_t n_seen, room;

static bool see(XXH128_hash_t h)
{
	size_t i;

	if (n_seen * 2 >= room) {
		XXH128_hash_t *was = seen;
		size_t n = room;

		room = room ? room * 2 : 1 << 16;
		seen = calloc(room, sizeof *seen);
		if (!seen)
			exit(1);
		n_seen = 0;
		for (size_t k = 0; k < n; k++)
			if (was[k].low64)
				see(was[k]);
		free(was);
	}
	h.low64 |= 1;
	for (i = h.high64 & (room - 1); seen[i].low64; i = (i + 1) & (room - 1))
		if (seen[i].low64 == h.low64 && seen[i].high64 == h.high64)
			return false;
	seen[i] = h;
	n_seen++;
	return true;
}

static size_t packed(const void *p, size_t len)
{
	static ZSTD_CCtx *cctx;
	static char *out;

	if (!cctx) {
		cctx = ZSTD_createCCtx();
		out = malloc(ZSTD_compressBound(2 * FRAME));
	}
	size_t n = ZSTD_compressCCtx(cctx, out, ZSTD_compressBound(2 * FRAME), p, len, 1);
	return n < len ? n : len;
}

struct cut {
	size_t chunks, fresh, alone, framed;	/* fresh: bytes of those not seen before; and those packed one by one, and in frames of many */
};
static struct cut ingest(const struct chunker *c, const struct buf *b, size_t n)
{
	static unsigned char frame[2 * FRAME];
	struct cut r = { 0 };
	size_t used = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t at = 0, len; at < b[i].len; at += len, r.chunks++) {
			len = chunker_cut(c, b[i].p + at, b[i].len - at);
			if (!see(XXH3_128bits(b[i].p + at, len)))
				continue;
			r.fresh += len;
			r.alone += packed(b[i].p + at, len);
			memcpy(frame + used, b[i].p + at, len);
			used += len;
			if (used >= FRAME) {
				r.framed += packed(frame, used);
				used = 0;
			}
		}
	if (used)
		r.framed += packed(frame, used);
	return r;
}

static void forget(void)
{
	n_seen = 0;
	memset(seen, 0, room * sizeof *seen);
}

/* A second version: every piece of 100 * change bytes has one edit at a random place of it.  Returns the bytes changed or inserted. */
static size_t edit(size_t change, bool insert, uint64_t seed)
{
	size_t sum = 0, since = 0;
	unsigned char *text = malloc(change);

	edited = calloc(n_files, sizeof *edited);
	if (!text || !edited)
		exit(1);
	for (size_t i = 0; i < n_files; i++) {
		struct buf *f = &files[i], *e = &edited[i];

		e->p = malloc(f->len + (f->len / (99 * change) + 2) * change);
		if (!e->p)
			exit(1);
		for (size_t at = 0; at < f->len;) {
			size_t piece = 100 * change - since, n = f->len - at < piece ? f->len - at : piece;

			memcpy(e->p + e->len, f->p + at, n);
			since += n;
			at += n;
			/* small files: the piece ends in one that may be shorter than a change */
			if (since == 100 * change) {
				since = 0;
				if (n >= change) {
					size_t to = rnd(&seed) % (n - change + 1);
					unsigned char *p = e->p + e->len + to;

					noise(text, change, &seed);
					if (insert) {
						memmove(p + change, p, n - to);
						e->len += change;
					}
					memcpy(p, text, change);
					sum += change;
				}
			}
			e->len += n;
		}
	}
	free(text);
	return sum;
}

static double speed(const struct chunker *c)
{
	double best = 0;

	for (int r = 0; r < 5; r++) {
		double t = now_s();

		for (size_t i = 0; i < n_files; i++)
			for (size_t at = 0; at < files[i].len;)
				at += chunker_cut(c, files[i].p + at, files[i].len - at);
		t = now_s() - t;
		if ((double)total / t / 1e9 > best)
			best = (double)total / t / 1e9;
	}
	return best;
}

/* A column for what would be shared of the second version, and how many bytes of it would be stored for each that changed, plain and compressed. */
static void second(const struct chunker *c, size_t change, bool insert)
{
	size_t changed = edit(change, insert, 1), len = 0;

	for (size_t k = 0; k < n_files; k++)
		len += edited[k].len;
	struct cut r = ingest(c, edited, n_files);
	printf("\t%.2f\t%.2f\t%.2f", 100 - 100 * (double)r.fresh / (double)len, changed ? (double)r.fresh / (double)changed : 0,
	       changed ? (double)r.alone / (double)changed : 0);
	for (size_t k = 0; k < n_files; k++)
		free(edited[k].p);
	free(edited);
}

/* The digests of the first version only. */
static void restart(const struct chunker *c)
{
	forget();
	for (size_t i = 0; i < n_files; i++)
		for (size_t at = 0, len; at < files[i].len; at += len) {
			len = chunker_cut(c, files[i].p + at, files[i].len - at);
			see(XXH3_128bits(files[i].p + at, len));
		}
}

static void measure(uint32_t min, uint32_t avg, uint32_t max)
{
	struct chunker c;

	chunker_init(&c, min, avg, max, 4711);
	forget();
	struct cut first = ingest(&c, files, n_files);
	printf("%u/%u/%u\t%zu\t%.1f\t%.2f", min >> 10, avg >> 10, max >> 10, first.chunks, (double)total / (double)first.chunks / 1024,
	       100 - 100 * (double)first.fresh / (double)total);
	second(&c, CHANGE, false);
	restart(&c);
	second(&c, CHANGE, true);
	restart(&c);
	second(&c, 4096, false);
	printf("\t%.2f\t%.1f\t%.1f\t%.2f\n", (double)first.chunks * INDEX_BYTES / ((double)total / 1e9) / 1e6, 100 * (double)first.alone / (double)total,
	       100 * (double)first.framed / (double)total, speed(&c));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const uint32_t usual[][3] = { { 2, 8, 32 }, { 4, 16, 64 }, { 8, 32, 128 }, { 16, 64, 256 }, { 32, 128, 512 }, { 64, 256, 1024 } };
	uint32_t sets[16][3];
	int n = 0, i = 1;

	for (; i < argc && n < 16 && sscanf(argv[i], "%u,%u,%u", &sets[n][0], &sets[n][1], &sets[n][2]) == 3; i++)
		n++;	/* KiB */
	if (i == argc)
		return fprintf(stderr, "chunks [MIN,AVG,MAX]... PATH...\n"), 2;
	for (; i < argc; i++)
		if (nftw(argv[i], take, 64, FTW_PHYS) < 0)
			return perror(argv[i]), 1;
	see((XXH128_hash_t){ 0 });
	fprintf(stderr, "%zu files, %zu bytes\n", n_files, total);
	printf("KiB\tchunks\tmean KiB\tdedup %%\t100 KB in place: dedup %%\tgrowth\tpacked\t100 KB inserted: dedup %%\tgrowth\tpacked\t"
	       "4 KiB in place: dedup %%\tgrowth\tpacked\tindex MB/GB\tzstd alone %%\tzstd framed %%\tGB/s\n");
	if (n)
		for (int k = 0; k < n; k++)
			measure(sets[k][0] << 10, sets[k][1] << 10, sets[k][2] << 10);
	else
		for (size_t k = 0; k < sizeof usual / sizeof *usual; k++)
			measure(usual[k][0] << 10, usual[k][1] << 10, usual[k][2] << 10);
	return 0;
}
