/* What a disk image's own bytes say, looked at without qemu-img: the kind, references to other files, how long the file must be.
 * Nothing here trusts an offset or a count it reads. */
#pragma once

#include <stddef.h>

#include "disk.h"

enum disk_kind { DISK_RAW, DISK_ISO, DISK_QCOW2, DISK_VMDK, DISK_VDI, DISK_VHDX };

#define DISK_HEAD 65536		/* this much of a file tells its kind; an ISO shows itself at 32769 */

/* Where bytes come from: the first `len` are in memory, the rest in a file of `size` bytes (fd -1: not here yet). */
struct disk_src {
	const unsigned char *head;
	size_t len;
	int fd;
	uint64_t size;
};

/* Offsets in the header of a qcow2 image, big-endian (QEMU, docs/interop/qcow2.txt). */
enum {
	QCOW2_VERSION = 4, QCOW2_BACKING = 8, QCOW2_BACKING_LEN = 16, QCOW2_CLUSTER_BITS = 20, QCOW2_BYTES = 24, QCOW2_CRYPT = 32,
	QCOW2_L1_SIZE = 36, QCOW2_L1 = 40, QCOW2_REFTABLE = 48, QCOW2_REFTABLE_CLUSTERS = 56, QCOW2_SNAPSHOT_COUNT = 60,
	QCOW2_SNAPSHOTS = 64, QCOW2_V2_LEN = 72, QCOW2_INCOMPATIBLE = 72, QCOW2_REFCOUNT_ORDER = 96, QCOW2_V3_LEN = 104
};
enum { QCOW2_CORRUPT = 1 << 1, QCOW2_DATA_FILE = 1 << 2, QCOW2_EXTENDED_L2 = 1 << 4 };
/* ... of a sparse VMDK image, little-endian; lengths and places are in sectors of 512 bytes (VMware, "Virtual Disk Format 5.0"). */
enum {
	VMDK_FLAGS = 8, VMDK_CAPACITY = 12, VMDK_GRAIN = 20, VMDK_DESC = 28, VMDK_TABLE_ENTRIES = 44, VMDK_SPARE_DIR = 48, VMDK_DIR = 56,
	VMDK_LEN = 80
};
enum { VMDK_USE_SPARE = 1 << 1, VMDK_COMPRESSED = 1 << 16 };
/* ... of a VDI image, little-endian (QEMU, block/vdi.c). */
enum {
	VDI_SIGNATURE = 64, VDI_TYPE = 76, VDI_MAP = 340, VDI_DATA = 344, VDI_BLOCK_SIZE = 376, VDI_BLOCKS = 384,
	VDI_LINK = 424, VDI_PARENT = 440, VDI_LEN = 456
};

/* The kind, and a refusal (EINVAL) of every header that names another file, is broken, encrypted or of a kind we do not take. */
int disk_kind_find(const struct disk_src *s, enum disk_kind *ret, struct err *e);
/* EINVAL when the tables of a qcow2, VMDK or VDI file reach beyond its end, that is when its end is missing. */
int disk_tables_check(const struct disk_src *s, enum disk_kind kind, struct err *e);
/* How many of the n bytes at `off` are there. */
size_t disk_src_read(const struct disk_src *s, uint64_t off, void *buf, size_t n);

static inline uint32_t get_be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t get_be64(const unsigned char *p)
{
	return (uint64_t)get_be32(p) << 32 | get_be32(p + 4);
}

static inline uint32_t get_le32(const unsigned char *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static inline uint64_t get_le64(const unsigned char *p)
{
	return (uint64_t)get_le32(p + 4) << 32 | get_le32(p);
}
