/* Small read-only images for a guest's CD drive. */
#pragma once

#include <stddef.h>

#include "../base/err.h"

struct iso;
/* An iso9660 image (with Rock Ridge and Joliet) of that label, at most 16 bytes, at path; its files' time is mtime, in seconds.  Nothing is at
 * path before iso_end, which puts the whole there at once; iso_free without it leaves what was. */
int iso_begin(const char *path, const char *label, long mtime, struct iso **ret, struct err *e);
/* name: "openstack/latest/meta_data.json"; directories are made by themselves. */
int iso_add(struct iso *iso, const char *name, const void *data, size_t len, struct err *e);
int iso_end(struct iso *iso, struct err *e);
void iso_free(struct iso *iso);
static inline void auto_iso_free(struct iso **iso)
{
	iso_free(*iso);
}
