/* A copy that was interrupted has a good header and lacks its end: the tables of qcow2, VMDK and VDI images tell how long the file
 * must be.  qemu-img finds only what is missing by a cluster or more, and calls lost references corruption. */
#include "header.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "../base/auto.h"

#define QCOW2_OFFSET   0x00fffffffffffe00ULL	/* of an L1, L2 or refcount table entry */
#define QCOW2_COMPRESSED (1ULL << 62)
#define QCOW2_L1_MAX (32 << 20)			/* QEMU's own bounds */
#define QCOW2_SNAPSHOT_MAX 65536
#define TABLES_MAX (2ULL << 30)			/* bytes of tables we read: 16 TiB of qcow2 at the usual cluster size */

struct qcow2 {
	const struct disk_src *s;
	unsigned bits;
	size_t cluster, entry;		/* bytes of a cluster, of an L2 entry */
	bool v3;
	uint64_t budget;
	unsigned char *l2;
};

/* [off, off + n) must be there. */
static int within(const struct disk_src *s, uint64_t off, uint64_t n, const char *what, struct err *e)
{
	if (off <= s->size && n <= s->size - off)
		return 0;
	return err_set(e, EINVAL, "the image is cut off: it has %" PRIu64 " bytes, its %s need more", s->size, what);
}

static int table_read(const struct disk_src *s, uint64_t off, void *buf, size_t n, const char *what, struct err *e)
{
	int rc = within(s, off, n, what, e);

	if (rc == 0 && disk_src_read(s, off, buf, n) != n)
		return err_set(e, EIO, "the image cannot be read at %" PRIu64, off);
	return rc;
}

/* One L2 entry.  A cluster is written whole; with extended entries it ends after the last subcluster marked in the second word. */
static int qcow2_entry(const struct qcow2 *q, const unsigned char *p, struct err *e)
{
	uint64_t x = get_be64(p);

	if (x & QCOW2_COMPRESSED) {
		unsigned shift = 62 - (q->bits - 8);
		uint64_t off = x & ((1ULL << shift) - 1), sectors = (x >> shift & ((1ULL << (q->bits - 8)) - 1)) + 1;

		/* In whole sectors; the last need not be whole. */
		return within(q->s, off & ~511ULL, (sectors - 1) * 512 + 1, "compressed data", e);
	}
	uint64_t off = x & QCOW2_OFFSET, n = q->cluster;

	if (!off || (q->v3 && q->entry == 8 && (x & 1)))	/* reads as zeros */
		return 0;
	if (q->entry == 16) {
		uint32_t used = get_be32(p + 12);

		n = used ? q->cluster / 32 * (32 - (unsigned)__builtin_clz(used)) : 0;
	}
	return n ? within(q->s, off, n, "data", e) : 0;
}

static int qcow2_l1(struct qcow2 *q, uint64_t off, uint32_t entries, struct err *e)
{
	if (entries > QCOW2_L1_MAX / 8)
		return err_set(e, EINVAL, "the qcow2 header is broken: an L1 table of %" PRIu32 " entries", entries);
	if (q->budget < entries * 8ULL)
		return err_set(e, EINVAL, "the qcow2 tables are larger than is taken");
	q->budget -= entries * 8ULL;
	AUTO(free) unsigned char *l1 = malloc(entries * 8 + 1);
	int rc = l1 ? table_read(q->s, off, l1, (size_t)entries * 8, "tables", e) : err_set(e, ENOMEM, "read image tables: %m");

	for (uint32_t i = 0; i < entries && rc == 0; i++) {
		uint64_t l2 = get_be64(l1 + (size_t)i * 8) & QCOW2_OFFSET;

		if (!l2)
			continue;
		if (q->budget < q->cluster)
			return err_set(e, EINVAL, "the qcow2 tables are larger than is taken");
		q->budget -= q->cluster;
		rc = table_read(q->s, l2, q->l2, q->cluster, "tables", e);
		for (size_t j = 0; j < q->cluster && rc == 0; j += q->entry)
			rc = qcow2_entry(q, q->l2 + j, e);
	}
	return rc;
}

static int qcow2_refcounts(const struct qcow2 *q, const unsigned char *h, struct err *e)
{
	uint64_t off = get_be64(h + QCOW2_REFTABLE), left = get_be32(h + QCOW2_REFTABLE_CLUSTERS) * (uint64_t)q->cluster;

	if (left > 8 << 20)			/* QEMU's own bound */
		return err_set(e, EINVAL, "the qcow2 header is broken: a refcount table of %" PRIu64 " bytes", left);
	for (; left; left -= q->cluster, off += q->cluster) {
		int rc = table_read(q->s, off, q->l2, q->cluster, "tables", e);

		for (size_t i = 0; i < q->cluster && rc == 0; i += 8) {
			uint64_t block = get_be64(q->l2 + i) & QCOW2_OFFSET;

			rc = block ? within(q->s, block, q->cluster, "tables", e) : 0;
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Snapshot table entries: L1 offset 8, L1 size 4, lengths of id and name 2 + 2, ..., length of extra data at 36; padded to 8. */
static int qcow2_snapshots(struct qcow2 *q, const unsigned char *h, struct err *e)
{
	uint64_t off = get_be64(h + QCOW2_SNAPSHOTS);
	uint32_t count = get_be32(h + QCOW2_SNAPSHOT_COUNT);
	int rc = count <= QCOW2_SNAPSHOT_MAX ? 0 : err_set(e, EINVAL, "the qcow2 header is broken: %" PRIu32 " snapshots", count);

	for (uint32_t i = 0; i < count && rc == 0; i++) {
		unsigned char p[40];

		rc = table_read(q->s, off, p, sizeof p, "snapshots", e);
		if (rc == 0)
			rc = qcow2_l1(q, get_be64(p), get_be32(p + 8), e);
		if (rc == 0)
			off += (40 + (uint64_t)get_be32(p + 36) + (p[12] << 8 | p[13]) + (p[14] << 8 | p[15]) + 7) & ~7ULL;
	}
	return rc;
}

static int qcow2_tables(const struct disk_src *s, struct err *e)
{
	unsigned char h[QCOW2_V3_LEN] = { 0 };

	if (disk_src_read(s, 0, h, sizeof h) < QCOW2_V2_LEN)
		return err_set(e, EINVAL, "the qcow2 image ends within its header");
	struct qcow2 q = { .s = s, .bits = get_be32(h + QCOW2_CLUSTER_BITS), .entry = 8, .budget = TABLES_MAX };

	if (q.bits < 9 || q.bits > 21)
		return err_set(e, EINVAL, "the qcow2 header is broken: clusters of 2^%u bytes", q.bits);
	q.v3 = get_be32(h + QCOW2_VERSION) >= 3;
	q.cluster = (size_t)1 << q.bits;
	if (q.v3 && (get_be64(h + QCOW2_INCOMPATIBLE) & QCOW2_EXTENDED_L2))
		q.entry = 16;
	AUTO(free) unsigned char *l2 = q.l2 = malloc(q.cluster);
	int rc = l2 ? qcow2_refcounts(&q, h, e) : err_set(e, ENOMEM, "read image tables: %m");

	if (rc == 0)
		rc = qcow2_l1(&q, get_be64(h + QCOW2_L1), get_be32(h + QCOW2_L1_SIZE), e);
	return rc < 0 ? rc : qcow2_snapshots(&q, h, e);
}

static int vdi_tables(const struct disk_src *s, struct err *e)
{
	unsigned char h[VDI_LEN], map[4096];

	if (disk_src_read(s, 0, h, sizeof h) < sizeof h)
		return err_set(e, EINVAL, "the vdi image ends within its header");
	uint64_t off = get_le32(h + VDI_MAP), data = get_le32(h + VDI_DATA), block = get_le32(h + VDI_BLOCK_SIZE);
	uint64_t left = get_le32(h + VDI_BLOCKS) * 4ULL, blocks = 0;
	int rc = left > TABLES_MAX ? err_set(e, EINVAL, "the vdi header is broken: %" PRIu64 " blocks", left / 4) :
		within(s, off, left, "block map", e);

	for (size_t n; left && rc == 0; left -= n, off += n) {
		n = left < sizeof map ? (size_t)left : sizeof map;
		rc = table_read(s, off, map, n, "block map", e);
		for (size_t i = 0; i < n && rc == 0; i += 4) {
			uint32_t x = get_le32(map + i);

			if (x < 0xfffffffe && x >= blocks)	/* the two highest: no block here */
				blocks = x + 1ULL;
		}
	}
	return rc < 0 ? rc : within(s, data, blocks * block, "blocks", e);
}

/* The highest grain that a table of n entries at byte `off` names. */
static int vmdk_table(const struct disk_src *s, uint64_t off, size_t n, uint64_t *last, struct err *e)
{
	unsigned char table[512 * 4];
	int rc = table_read(s, off, table, n * 4, "tables", e);

	for (size_t i = 0; i < n && rc == 0; i++) {
		uint64_t at = get_le32(table + i * 4) * 512ULL;

		if (at > *last)
			*last = at;
	}
	return rc;
}

/* The last grain ends within the file; a compressed one says its length after its sector number. */
static int vmdk_end(const struct disk_src *s, uint64_t last, uint64_t grain, bool compressed, struct err *e)
{
	unsigned char mark[12];

	if (last <= 512)			/* 0: none is there, 1: zeros */
		return 0;
	if (!compressed)
		return within(s, last, grain, "data", e);
	int rc = table_read(s, last, mark, sizeof mark, "compressed data", e);

	return rc < 0 ? rc : within(s, last + sizeof mark, get_le32(mark + 8), "compressed data", e);
}

static int vmdk_tables(const struct disk_src *s, struct err *e)
{
	unsigned char h[VMDK_LEN], entry[4];
	int rc = table_read(s, 0, h, sizeof h, "header", e);

	if (rc == 0 && get_le64(h + VMDK_DIR) == UINT64_MAX)	/* a stream: the true header comes last but one */
		rc = s->size < 1024 ? -EINVAL : table_read(s, s->size - 1024, h, sizeof h, "footer", e);
	if (rc < 0)
		return rc == -EINVAL ? err_set(e, EINVAL, "the vmdk image is cut off within its header") : rc;
	if (memcmp(h, "KDMV", 4) != 0)
		return err_set(e, EINVAL, "the vmdk image is cut off: its footer is missing");
	uint64_t capacity = get_le64(h + VMDK_CAPACITY), grain = get_le64(h + VMDK_GRAIN);
	uint32_t flags = get_le32(h + VMDK_FLAGS), n = get_le32(h + VMDK_TABLE_ENTRIES);
	uint64_t dir = get_le64(h + (flags & VMDK_USE_SPARE ? VMDK_SPARE_DIR : VMDK_DIR));

	if (!n || n > 512 || !grain || grain > 4096 || capacity > INT64_MAX / 512 || dir > INT64_MAX / 512)
		return err_set(e, EINVAL, "the vmdk header is broken: grains of %" PRIu64 " sectors, tables of %" PRIu32, grain, n);
	uint64_t tables = capacity / (grain * n) + (capacity % (grain * n) != 0), last = 0;

	rc = tables > TABLES_MAX / 2048 ? err_set(e, EINVAL, "the vmdk header is broken: %" PRIu64 " tables", tables) :
		within(s, dir * 512, tables * 4, "tables", e);
	for (uint64_t i = 0; i < tables && rc == 0; i++) {
		rc = table_read(s, dir * 512 + i * 4, entry, 4, "tables", e);
		if (rc == 0 && get_le32(entry))
			rc = vmdk_table(s, get_le32(entry) * 512ULL, n, &last, e);
	}
	return rc < 0 ? rc : vmdk_end(s, last, grain * 512, flags & VMDK_COMPRESSED, e);
}

int disk_tables_check(const struct disk_src *s, enum disk_kind kind, struct err *e)
{
	switch (kind) {
	case DISK_QCOW2:
		return qcow2_tables(s, e);
	case DISK_VMDK:
		return vmdk_tables(s, e);
	case DISK_VDI:
		return vdi_tables(s, e);
	default:
		return 0;
	}
}
