/* STORE/config of any bytes: taken, or refused with the line's number; what was taken lies in its range.
 * make fuzz FUZZ=fuzz_config; options: -max_len=256 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../backends/base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static int fd = -1;
	static char path[64];
	struct config c;
	struct err e = { 0 };

	if (fd < 0) {
		fd = memfd_create("config", MFD_CLOEXEC);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	}
	if (ftruncate(fd, 0) < 0 || pwrite(fd, data, len, 0) != (ssize_t)len)
		abort();
	int rc = config_read(path, &c, &e);
	if (rc != -e.code || (rc < 0 && !strstr(e.msg, " line ")))
		abort();
	if (c.workers < 1 || c.workers > 256 || c.task_timeout < 1 || c.stop_timeout < 1 || c.cpu_ratio_x10 < 1 || c.reserved_ram < 0)
		abort();
	if (!memchr(c.uplink, 0, sizeof c.uplink) || !memchr(c.guest_user, 0, sizeof c.guest_user) || !memchr(c.virt_type, 0, sizeof c.virt_type))
		abort();
	return 0;
}
