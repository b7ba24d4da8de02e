/* What stands on disk of objects: a pack file with anything in it is scanned to its end, and what is told of it is within bounds; nodes of
 * manifests are refused or read.  The first byte chooses.
 * make fuzz FUZZ=fuzz_pack; options: -max_len=4096 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/object/core.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char dir[] = "/tmp/fuzz_pack.XXXXXX", file[60];
static struct packs *packs;

static void leave(void)
{
	unlink(file);
	*strrchr(file, '/') = '\0';
	rmdir(file);
	rmdir(dir);
}

static int record(void *arg, const struct where *w, const void *stored)
{
	static unsigned char buf[CHUNK_MAX];

	if (w->len > CHUNK_MAX || w->stored > w->len || !w->stored)
		abort();
	memcpy(buf, stored, w->stored);
	return 0;
}

/* A head that is sound is rare: the rest of the input is given one now and then. */
static void make_sound(uint8_t *d, size_t len)
{
	for (size_t at = 0; at + RECORD_HEAD <= len; at += 64) {
		uint64_t magic = UINT64_C(0x316b6e7568436643), check;

		memcpy(d + at, &magic, 8);
		check = XXH3_64bits(d + at, 48);
		memcpy(d + at + 48, &check, 8);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(free) struct extent *ext = NULL;
	AUTO(free) struct child *child = NULL;
	AUTO(free) uint8_t *d = malloc(len + 1);
	struct err e = { 0 };
	size_t n;

	if (!packs) {
		if (!mkdtemp(dir) || packs_open(dir, &packs, &e) < 0)
			abort();
		snprintf(file, sizeof file, "%s/packs/00000001.pack", dir);
		atexit(leave);
	}
	if (!len || !d)
		return 0;
	memcpy(d, data + 1, len - 1);
	if (data[0] % 4 == 0)
		node_extents(d, len - 1, &ext, &n, &e);
	else if (data[0] % 4 == 1)
		node_children(d, len - 1, &child, &n, &e);
	if (data[0] % 4 < 2)
		return 0;
	if (data[0] % 4 == 2)
		make_sound(d, len - 1);
	AUTO(close) int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, d, len - 1) != (ssize_t)(len - 1))
		abort();
	packs_scan(packs, 1, record, NULL, &e);
	return 0;
}
