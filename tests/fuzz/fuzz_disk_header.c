/* Any bytes as the beginning of an upload, and as a whole file for the table walks.
 * make fuzz FUZZ=fuzz_disk_header; options: -max_len=4096 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../backends/block/header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int fd = -1;
	struct err e = { 0 };
	enum disk_kind kind = DISK_RAW;

	if (fd < 0)
		fd = memfd_create("image", MFD_CLOEXEC);
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, len, 0) != (ssize_t)len)
		abort();
	if (disk_header_check(data, len, &e) != -e.code || memchr(e.msg, '\n', strlen(e.msg)))
		abort();

	struct err file = { 0 };
	const struct disk_src s = { .head = data, .len = len < 512 ? len : 512, .fd = fd, .size = len };

	/* What an upload is refused for, the file is refused for too. */
	if (disk_kind_find(&s, &kind, &file) == 0 && e.code)
		abort();
	for (kind = DISK_RAW; kind <= DISK_VHDX; kind++) {
		struct err walk = { 0 };

		if (disk_tables_check(&s, kind, &walk) != -walk.code)
			abort();
	}
	return 0;
}
