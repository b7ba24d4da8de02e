/* Headers of disk images: which kind, and the refusal of those that would make their reader open something else.
 * A reference is refused for being there, whatever it names: a path, json:, nbd: are all the same.
 * Formats: QEMU docs/interop/qcow2.txt, block/vdi.c, block/vmdk.c; VMware "Virtual Disk Format 5.0"; [MS-VHDX]. */
#include "header.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

size_t disk_src_read(const struct disk_src *s, uint64_t off, void *buf, size_t n)
{
	size_t done = 0;

	if (off < s->len) {
		done = n < s->len - off ? n : s->len - (size_t)off;
		memcpy(buf, s->head + off, done);
	}
	if (s->fd < 0 || off > INT64_MAX - n)
		return done;
	while (done < n) {
		ssize_t got = pread(s->fd, (char *)buf + done, n - done, (off_t)(off + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return done;
}

/* A header that stops short: while uploading more may come, a file is broken. */
static int cut(const struct disk_src *s, const char *what, struct err *e)
{
	return s->fd < 0 ? 0 : err_set(e, EINVAL, "the %s image ends within its header", what);
}

/* Text of the file fit for a sentence: up to a quote, a NUL or the end of the line, printable ASCII. */
static const char *printable(const char *p, size_t n, char *buf, size_t size)
{
	size_t i;

	for (i = 0; i < n && i + 1 < size && p[i] && !strchr("\"\n", p[i]); i++)
		buf[i] = p[i] >= 0x20 && p[i] < 0x7f ? p[i] : '?';
	buf[i] = '\0';
	return buf;
}

static int qcow2_backing(const struct disk_src *s, const unsigned char *h, struct err *e)
{
	char name[160], shown[160];
	size_t n = get_be32(h + QCOW2_BACKING_LEN);

	n = disk_src_read(s, get_be64(h + QCOW2_BACKING), name, n < sizeof name ? n : sizeof name);
	return err_set(e, EINVAL, "the qcow2 image needs a backing file '%s'; 'qemu-img convert' makes one that stands alone",
		       printable(name, n, shown, sizeof shown));
}

static int qcow2_header(const struct disk_src *s, struct err *e)
{
	unsigned char h[QCOW2_V3_LEN];
	size_t n = disk_src_read(s, 0, h, sizeof h);

	if (n < QCOW2_V2_LEN)
		return cut(s, "qcow2", e);
	uint32_t version = get_be32(h + QCOW2_VERSION), bits = get_be32(h + QCOW2_CLUSTER_BITS);

	if (version != 2 && version != 3)
		return err_set(e, EINVAL, "qcow images of version %u are not taken, only 2 and 3", version);
	if (get_be64(h + QCOW2_BACKING))
		return qcow2_backing(s, h, e);
	if (get_be32(h + QCOW2_CRYPT))
		return err_set(e, EINVAL, "the qcow2 image is encrypted");
	if (bits < 9 || bits > 21)
		return err_set(e, EINVAL, "the qcow2 header is broken: clusters of 2^%u bytes", bits);
	if (version == 2)
		return 0;
	if (n < QCOW2_V3_LEN)
		return cut(s, "qcow2", e);
	uint64_t incompatible = get_be64(h + QCOW2_INCOMPATIBLE);

	if (incompatible & QCOW2_DATA_FILE)
		return err_set(e, EINVAL, "the qcow2 image keeps its data in another file; 'qemu-img convert' makes one that stands alone");
	if (incompatible & QCOW2_CORRUPT)
		return err_set(e, EINVAL, "the qcow2 image is marked corrupt; see 'qemu-img check'");
	return 0;
}

/* One extent is the file itself, whatever it is called; more are other files. */
static int vmdk_extents(const char *desc, struct err *e)
{
	unsigned extents = 0;

	for (const char *p = desc; *p; p += strcspn(p, "\n"), p += *p == '\n') {
		if (strncmp(p, "RW ", 3) != 0 && strncmp(p, "RDONLY ", 7) != 0 && strncmp(p, "NOACCESS ", 9) != 0)
			continue;
		const char *kind = p + strcspn(p, " ") + 1;

		kind += strcspn(kind, " \n");
		if (++extents > 1 || strncmp(kind, " SPARSE ", 8) != 0)
			return err_set(e, EINVAL, "the vmdk image keeps its data in other files");
	}
	return 0;
}

static int vmdk_descriptor(const char *desc, struct err *e)
{
	const char *cid = strcasestr(desc, "parentCID="), *p = strcasestr(desc, "createType=\"");
	char type[40] = "";

	if (strcasestr(desc, "parentFileNameHint") || (cid && strncasecmp(cid + 10, "ffffffff", 8) != 0))
		return err_set(e, EINVAL, "the vmdk image needs a parent image");
	if (p)
		printable(p + 12, strlen(p + 12), type, sizeof type);
	if (strcmp(type, "monolithicSparse") != 0 && strcmp(type, "streamOptimized") != 0)
		return err_set(e, EINVAL, "vmdk images of type '%s' are not taken, only monolithicSparse and streamOptimized", type);
	return vmdk_extents(desc, e);
}

/* QEMU looks for a parent at sector 1, and takes the extents from the descriptor when the capacity is 0. */
static int vmdk_header(const struct disk_src *s, struct err *e)
{
	unsigned char h[VMDK_LEN];
	char desc[20 * 512 + 1];

	if (disk_src_read(s, 0, h, sizeof h) < sizeof h)
		return cut(s, "vmdk", e);
	if (!get_le64(h + VMDK_CAPACITY) || get_le64(h + VMDK_DESC) != 1)
		return err_set(e, EINVAL, "the vmdk image does not describe itself; only monolithicSparse and streamOptimized are taken");
	size_t n = disk_src_read(s, 512, desc, sizeof desc - 1);

	desc[n] = '\0';
	if (n < sizeof desc - 1 && strlen(desc) == n)
		return cut(s, "vmdk", e);
	return vmdk_descriptor(desc, e);
}

static int vdi_header(const struct disk_src *s, struct err *e)
{
	static const unsigned char none[16];
	unsigned char h[VDI_LEN];

	if (disk_src_read(s, 0, h, sizeof h) < sizeof h)
		return cut(s, "vdi", e);
	uint32_t type = get_le32(h + VDI_TYPE);

	if (type != 1 && type != 2)
		return err_set(e, EINVAL, "vdi images of type %u are not taken, only dynamic (1) and fixed (2)", type);
	if (memcmp(h + VDI_LINK, none, 16) != 0 || memcmp(h + VDI_PARENT, none, 16) != 0)
		return err_set(e, EINVAL, "the vdi image needs a parent image");
	return 0;
}

/* GUIDs as they lie in the file. */
static const unsigned char vhdx_metadata[16] = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
static const unsigned char vhdx_parameters[16] = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
static const unsigned char vhdx_locator[16] = "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c";

/* The metadata table at `base`: a parent locator, or the bit that promises one, is a reference. */
static int vhdx_metadata_check(const struct disk_src *s, uint64_t base, struct err *e)
{
	unsigned char table[65536], item[8];
	size_t n = disk_src_read(s, base, table, sizeof table);

	if (n < 32)
		return cut(s, "vhdx", e);
	unsigned count = table[10] | (unsigned)table[11] << 8;

	for (size_t i = 0; i < count && 64 + i * 32 <= n; i++) {
		const unsigned char *p = table + 32 + i * 32;
		bool parent = memcmp(p, vhdx_locator, 16) == 0;

		if (memcmp(p, vhdx_parameters, 16) == 0 && disk_src_read(s, base + get_le32(p + 16), item, 8) == 8)
			parent = item[4] & 2;
		if (parent)
			return err_set(e, EINVAL, "the vhdx image needs a parent image");
	}
	return 0;
}

/* Two copies of the region table, at 192 and 256 KiB; either may be the one a reader takes. */
static int vhdx_header(const struct disk_src *s, struct err *e)
{
	for (uint64_t off = 192 << 10; off <= 256 << 10; off += 64 << 10) {
		unsigned char table[16 + 2047 * 32];
		size_t n = disk_src_read(s, off, table, sizeof table);

		if (n < 16)
			return cut(s, "vhdx", e);
		uint32_t count = get_le32(table + 8);

		for (size_t i = 0; i < count && 48 + i * 32 <= n; i++) {
			const unsigned char *p = table + 16 + i * 32;
			int rc = memcmp(p, vhdx_metadata, 16) == 0 ? vhdx_metadata_check(s, get_le64(p + 16), e) : 0;

			if (rc < 0)
				return rc;
		}
	}
	return 0;
}

static int vmdk_text(const struct disk_src *s, struct err *e)
{
	return err_set(e, EINVAL, "this is a vmdk descriptor, its data is in other files; only monolithicSparse and streamOptimized are taken");
}

static int esx_sparse(const struct disk_src *s, struct err *e)
{
	return err_set(e, EINVAL, "ESX sparse vmdk images are not taken, only monolithicSparse and streamOptimized");
}

static int vhd(const struct disk_src *s, struct err *e)
{
	unsigned char type[4];

	if (disk_src_read(s, 60, type, 4) == 4 && get_be32(type) == 4)
		return err_set(e, EINVAL, "the vhd image needs a parent image");
	return err_set(e, EINVAL, "vhd images are not taken; 'qemu-img convert -f vpc -O qcow2' makes one that is");
}

static int qed(const struct disk_src *s, struct err *e)
{
	return err_set(e, EINVAL, "qed images are not taken; 'qemu-img convert -O qcow2' makes one that is");
}

static int parallels(const struct disk_src *s, struct err *e)
{
	return err_set(e, EINVAL, "parallels images are not taken; 'qemu-img convert -O qcow2' makes one that is");
}

static const struct magic {
	size_t off;
	const char *bytes;
	size_t len;
	enum disk_kind kind;
	int (*check)(const struct disk_src *s, struct err *e);
} magics[] = {
	{ 0,             "QFI\xfb",               4,  DISK_QCOW2, qcow2_header },
	{ 0,             "KDMV",                  4,  DISK_VMDK,  vmdk_header },
	{ 0,             "# Disk DescriptorFile", 21, DISK_VMDK,  vmdk_text },
	{ 0,             "COWD",                  4,  DISK_VMDK,  esx_sparse },
	{ 0,             "vhdxfile",              8,  DISK_VHDX,  vhdx_header },
	{ 0,             "conectix",              8,  DISK_RAW,   vhd },
	{ 0,             "QED",                   4,  DISK_RAW,   qed },
	{ 0,             "WithoutFreeSpace",      16, DISK_RAW,   parallels },
	{ 0,             "WithouFreSpacExt",      16, DISK_RAW,   parallels },
	{ VDI_SIGNATURE, "\x7f\x10\xda\xbe",      4,  DISK_VDI,   vdi_header },
	{ 32769,         "CD001",                 5,  DISK_ISO,   NULL },
};

int disk_kind_find(const struct disk_src *s, enum disk_kind *ret, struct err *e)
{
	char buf[32];

	for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
		const struct magic *m = &magics[i];

		if (disk_src_read(s, m->off, buf, m->len) < m->len || memcmp(buf, m->bytes, m->len) != 0)
			continue;
		*ret = m->kind;
		return m->check ? m->check(s, e) : 0;
	}
	*ret = DISK_RAW;
	return 0;
}

int disk_header_check(const void *head, size_t len, struct err *e)
{
	const struct disk_src s = { .head = head, .len = len, .fd = -1 };
	enum disk_kind kind;

	return disk_kind_find(&s, &kind, e);
}
