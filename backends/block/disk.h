/* Disk image files: what is in one, and making one.  Everything that parses a stranger's bytes runs qemu-img in a child
 * that is bounded in time, memory and processor and has no privileges. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../base/err.h"

struct disk_info {
	char format[16];	/* qcow2 raw vmdk vdi vhdx iso */
	uint64_t virtual_size;	/* bytes */
};

/* What the file is, found from its bytes.  Refused, EINVAL and why: a backing file, a data file, a vmdk that is not
 * monolithicSparse or streamOptimized, a broken header, a file shorter than its own header or tables say, internal snapshots with
 * a saved machine state.  `user` runs qemu-img (the file is opened here and handed over). */
int disk_inspect(const char *path, const char *user, struct disk_info *ret, struct err *e);
/* A look at a file that was inspected once: EBADMSG when its header and tables are not those of a whole file of that format any more. */
int disk_sound(const char *path, const char *format, struct err *e);
/* The first bytes of an upload (as many as came): 0 they may go on, -EINVAL and why when a header names a backing or a data file. */
int disk_header_check(const void *head, size_t len, struct err *e);

/* qcow2 overlay at `path` on `base` (absolute; format base_format), at least virtual_size bytes, made under another name and renamed
 * so that a file at `path` is always whole.  There already: 0.  base NULL: an empty disk. */
int disk_overlay(const char *path, const char *base, const char *base_format, uint64_t virtual_size, struct err *e);
/* The structure of an image nobody has open, as qemu-img check sees it.  EIO and what is wrong. */
int disk_check(const char *path, const char *format, struct err *e);
/* MD5 of a file as 32 lower-case hex digits, its size in *size. */
int disk_md5(const char *path, char hex[33], uint64_t *size, struct err *e);
/* Any digest libcrypto knows ("sha256", "md5", "sha512"); hex holds 129 bytes.  EINVAL: unknown algorithm. */
int disk_digest(const char *path, const char *algo, char *hex, struct err *e);
