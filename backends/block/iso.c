#include "iso.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/auto.h"

#define LABEL_MAX 16		/* Joliet's */
#define LABEL_AT (16 * 2048 + 40)	/* in the primary volume descriptor */
#define LABEL_SIZE 32

struct iso {
	struct archive *a;
	char path[PATH_MAX], tmp[PATH_MAX + 8], label[LABEL_MAX + 1];
	long mtime;
	int fd;
};

static int broken(struct iso *iso, struct err *e)
{
	int code = archive_errno(iso->a);
	const char *why = archive_error_string(iso->a);

	return err_set(e, code > 0 ? code : EIO, "write %s: %s", iso->tmp, why ? why : "libarchive cannot");
}

void iso_free(struct iso *iso)
{
	if (!iso)
		return;
	if (iso->a)
		archive_write_free(iso->a);
	if (iso->fd >= 0)
		close(iso->fd);
	if (*iso->tmp)
		unlink(iso->tmp);
	free(iso);
}

int iso_begin(const char *path, const char *label, long mtime, struct iso **ret, struct err *e)
{
	AUTO(iso_free) struct iso *iso = calloc(1, sizeof *iso);
	char options[128];

	if (!iso)
		return err_set(e, ENOMEM, "%m");
	iso->fd = -1;
	iso->mtime = mtime;
	if (strlen(label) > LABEL_MAX || snprintf(iso->path, sizeof iso->path, "%s", path) >= (int)sizeof iso->path)
		return err_set(e, ENAMETOOLONG, "make an image %s of the label %s: %m", path, label);
	snprintf(iso->label, sizeof iso->label, "%s", label);
	snprintf(options, sizeof options, "iso9660:volume-id=%s,iso9660:publisher=cirrusfs", label);
	snprintf(iso->tmp, sizeof iso->tmp, "%s.new", path);
	iso->fd = open(iso->tmp, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (iso->fd < 0)
		return err_set(e, errno, "write %s: %m", iso->tmp);
	iso->a = archive_write_new();
	if (!iso->a)
		return err_set(e, ENOMEM, "%m");
	if (archive_write_set_format_iso9660(iso->a) != ARCHIVE_OK || archive_write_set_options(iso->a, options) != ARCHIVE_OK ||
	    archive_write_set_bytes_in_last_block(iso->a, 1) != ARCHIVE_OK || archive_write_open_fd(iso->a, iso->fd) != ARCHIVE_OK)
		return broken(iso, e);
	*ret = steal_ptr(&iso);
	return 0;
}

int iso_add(struct iso *iso, const char *name, const void *data, size_t len, struct err *e)
{
	struct archive_entry *entry = archive_entry_new();

	if (!entry)
		return err_set(e, ENOMEM, "%m");
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0444);
	archive_entry_set_size(entry, (la_int64_t)len);
	archive_entry_set_mtime(entry, iso->mtime, 0);
	int rc = archive_write_header(iso->a, entry);

	archive_entry_free(entry);
	if (rc != ARCHIVE_OK || archive_write_data(iso->a, data, len) != (la_ssize_t)len)
		return broken(iso, e);
	return 0;
}

/* libarchive makes the standard's capitals of the label; everybody else writes it as it is, and guests look for it so. */
static int put_label(struct iso *iso, struct err *e)
{
	char text[LABEL_SIZE];

	memset(text, ' ', sizeof text);
	memcpy(text, iso->label, strlen(iso->label));
	return pwrite(iso->fd, text, sizeof text, LABEL_AT) == sizeof text ? 0 : err_set(e, errno ? errno : EIO, "write %s: %m", iso->tmp);
}

int iso_end(struct iso *iso, struct err *e)
{
	if (archive_write_close(iso->a) != ARCHIVE_OK)
		return broken(iso, e);
	if (put_label(iso, e) < 0)
		return -e->code;
	if (rename(iso->tmp, iso->path) < 0)
		return err_set(e, errno, "write %s: %m", iso->path);
	*iso->tmp = '\0';
	return 0;
}
