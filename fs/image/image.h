/* Images, as servers use them. */
#pragma once

#include "../cloud.h"

/* The file servers' disks stand on, by a path the guests' user can walk, and its format. */
int image_base(struct fs *fs, int64_t image, char *path, size_t size, char format[16], struct err *e);
/* Its virtual size, rounded up to GiB. */
int image_virtual_gib(struct call *c, const struct obj *image, int64_t *ret, struct err *e);
