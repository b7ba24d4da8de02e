/* Image files through qemu-img: what is in one, and overlays.  What the bytes themselves say is in header.c and tables.c. */
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/auto.h"
#include "../base/spawn.h"
#include "header.h"

AUTO_FN(json_t *, json_decref);

static const char *const kind_names[] = {
	[DISK_RAW] = "raw", [DISK_ISO] = "iso", [DISK_QCOW2] = "qcow2", [DISK_VMDK] = "vmdk", [DISK_VDI] = "vdi", [DISK_VHDX] = "vhdx",
};

/* Nobody can walk to the file, and /dev/stdin is opened anew with the rights of who does it: his group may read it from now on.
 * The file system need not know ACLs, and two inspections do not undo each other. */
static int let_read(int fd, const struct stat *st, const char *user, struct err *e)
{
	struct passwd mem, *pw = NULL;
	char buf[2048];

	if (!user || geteuid() != 0)
		return 0;
	if (getpwnam_r(user, &mem, buf, sizeof buf, &pw) || !pw)
		return err_set(e, ENOENT, "there is no user '%s' to run qemu-img as", user);
	if ((st->st_uid == pw->pw_uid && (st->st_mode & 0400)) || (st->st_mode & 0004) ||
	    (st->st_gid == pw->pw_gid && (st->st_mode & 0040)))
		return 0;
	if (fchown(fd, (uid_t)-1, pw->pw_gid) < 0 || fchmod(fd, (st->st_mode & 07707) | 0040) < 0)
		return err_set(e, errno, "let %s read the image: %m", user);
	return 0;
}

static int qemu_img(const char *const *argv, int fd, const char *user, char **out, struct err *e)
{
	const struct spawn s = {
		.argv = argv, .user = geteuid() == 0 ? user : NULL, .timeout_ms = 60000, .cpu_s = 30, .memory = (size_t)1 << 30,
		.stdin_fd = fd, .out_max = 16 << 20,
	};

	return spawn_run(&s, out, e);
}

/* What qemu-img says of the open file, with the format fixed so that it never guesses. */
static int info(int fd, const char *format, const char *user, json_t **ret, struct err *e)
{
	const char *argv[] = { "qemu-img", "info", "-U", "--output=json", "-f", format, "/dev/stdin", NULL };
	AUTO(free) char *out = NULL;
	json_error_t je;
	int rc = qemu_img(argv, fd, user, &out, e);

	if (rc < 0)
		return rc;
	*ret = json_loads(out, 0, &je);
	return *ret ? 0 : err_set(e, EIO, "qemu-img info: an answer that is not JSON: %s", je.text);
}

static uint64_t virtual_size(const json_t *j)
{
	json_int_t n = json_integer_value(json_object_get(j, "virtual-size"));

	return n > 0 ? (uint64_t)n : 0;
}

static int info_refuse(const json_t *j, struct err *e)
{
	json_t *snap;
	size_t i;

	/* The header was looked at before; this is for what a later qemu-img may know. */
	if (json_object_get(j, "backing-filename") || json_object_get(j, "full-backing-filename"))
		return err_set(e, EINVAL, "the image needs a backing file");
	json_array_foreach(json_object_get(j, "snapshots"), i, snap) {
		const char *name = json_string_value(json_object_get(snap, "name"));

		if (json_integer_value(json_object_get(snap, "vm-state-size")) != 0)
			return err_set(e, EINVAL, "the image holds the saved memory of a machine, in snapshot '%.60s'", name ? name : "");
	}
	return virtual_size(j) ? 0 : err_set(e, EINVAL, "the image holds no data: its virtual size is 0");
}

/* The child's complaint is about the image unless it could not run or was stopped. */
static int broken(const char *format, struct err *e)
{
	static const char file[] = "'/dev/stdin': ";
	const struct err was = *e;
	const char *why = was.msg;

	if (e->code != EIO)
		return -e->code;
	for (const char *p = why; (p = strstr(p, file)); )
		why = p += strlen(file);
	return err_set(e, EINVAL, "not a good %s image: %s", format, why);
}

static int inspect_parsed(int fd, enum disk_kind kind, const char *user, struct disk_info *ret, struct err *e)
{
	const char *format = kind_names[kind];
	const char *check[] = { "qemu-img", "check", "-U", "-q", "-f", format, "/dev/stdin", NULL };
	AUTO(json_decref) json_t *j = NULL;

	if (info(fd, format, user, &j, e) < 0)
		return broken(format, e);
	/* qcow2 and VDI: tables.c; qemu-img would also refuse lost clusters and counts a crash left behind, which do no harm. */
	if ((kind == DISK_VMDK || kind == DISK_VHDX) && qemu_img(check, fd, user, NULL, e) < 0)
		return broken(format, e);
	int rc = info_refuse(j, e);

	if (rc == 0)
		ret->virtual_size = virtual_size(j);
	return rc;
}

/* Its kind, and that it stands alone and is whole, by its own bytes. */
static int examine(const char *path, int fd, struct stat *st, struct disk_src *s, enum disk_kind *kind, struct err *e)
{
	AUTO(free) unsigned char *head = malloc(DISK_HEAD);

	if (fd < 0 || fstat(fd, st) < 0)
		return err_set(e, errno, "open image '%s': %m", path);
	if (!head)
		return err_set(e, ENOMEM, "open image '%s': %m", path);
	if (!S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "'%s' is not a regular file", path);
	if (st->st_size == 0)
		return err_set(e, EINVAL, "the image has no data");
	*s = (struct disk_src){ .fd = fd, .size = (uint64_t)st->st_size };
	s->len = disk_src_read(s, 0, head, DISK_HEAD);
	s->head = head;
	int rc = disk_kind_find(s, kind, e);

	if (rc == 0)
		rc = disk_tables_check(s, *kind, e);
	s->head = NULL;
	s->len = 0;
	return rc;
}

int disk_sound(const char *path, const char *format, struct err *e)
{
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	enum disk_kind kind;
	struct disk_src s;
	struct stat st;

	if (examine(path, fd, &st, &s, &kind, e) < 0) {
		if (e->code == EINVAL)
			e->code = EBADMSG;
		return -e->code;
	}
	return strcmp(kind_names[kind], format) == 0 ? 0 : err_set(e, EBADMSG, "it is %s, not %s", kind_names[kind], format);
}

int disk_inspect(const char *path, const char *user, struct disk_info *ret, struct err *e)
{
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct disk_info found = { 0 };
	enum disk_kind kind;
	struct disk_src s;
	struct stat st;
	int rc = 0;

	if (examine(path, fd, &st, &s, &kind, e) < 0)
		return -e->code;
	if (kind == DISK_RAW || kind == DISK_ISO)
		found.virtual_size = (s.size + 511) & ~511ULL;		/* QEMU rounds up to sectors as well */
	else if (let_read(fd, &st, user, e) < 0)
		return -e->code;
	else
		rc = inspect_parsed(fd, kind, user, &found, e);
	if (rc < 0)
		return rc;
	snprintf(found.format, sizeof found.format, "%s", kind_names[kind]);
	*ret = found;
	return 0;
}

static int base_size(const char *base, const char *format, uint64_t *ret, struct err *e)
{
	AUTO(close) int fd = open(base, O_RDONLY | O_CLOEXEC);
	AUTO(json_decref) json_t *j = NULL;

	if (fd < 0)
		return err_set(e, errno, "open base '%s': %m", base);
	int rc = info(fd, format, NULL, &j, e);

	if (rc < 0)
		return rc;
	*ret = virtual_size(j);
	return 0;
}

/* The directory entry of `path` is on disk. */
static int sync_dir(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	AUTO(free) char *dir = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
	AUTO(close) int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	return fd < 0 || fsync(fd) < 0 ? err_set(e, errno, "sync directory of '%s': %m", path) : 0;
}

/* Fills the empty file `tmp` and puts it at `path` unless one is there. */
static int overlay_make(const char *tmp, int fd, const char *path, const char *base, const char *format, uint64_t size,
			struct err *e)
{
	char bytes[24];
	const char *argv[12] = { "qemu-img", "create", "-q", "-f", "qcow2" };
	size_t n = 5;

	snprintf(bytes, sizeof bytes, "%" PRIu64, size);
	if (base) {
		argv[n++] = "-b";
		argv[n++] = base;
		argv[n++] = "-F";
		argv[n++] = format;
	}
	argv[n++] = tmp;
	argv[n++] = bytes;
	int rc = qemu_img(argv, -1, NULL, NULL, e);

	if (rc < 0)
		return rc;
	if (fsync(fd) < 0)
		return err_set(e, errno, "sync '%s': %m", tmp);
	if (renameat2(AT_FDCWD, tmp, AT_FDCWD, path, RENAME_NOREPLACE) < 0 && errno != EEXIST)
		return err_set(e, errno, "rename to '%s': %m", path);
	return sync_dir(path, e);
}

int disk_overlay(const char *path, const char *base, const char *base_format, uint64_t size, struct err *e)
{
	AUTO(free) char *tmp = NULL;
	uint64_t least = 0;

	if (access(path, F_OK) == 0)
		return 0;
	if (path[0] != '/' || (base && base[0] != '/'))		/* "a:b" would be a protocol to QEMU */
		return err_set(e, EINVAL, "make disk '%s': paths must be absolute", path);
	if (base && strcmp(base_format, "iso") == 0)
		base_format = "raw";
	if (base && base_size(base, base_format, &least, e) < 0)
		return err_prefix(e, "make disk '%s'", path);
	if (least > size)
		size = least;
	if (size == 0)
		return err_set(e, EINVAL, "make disk '%s': no size", path);
	if (asprintf(&tmp, "%s.new-XXXXXX", path) < 0)
		return err_set(e, ENOMEM, "make disk '%s': %m", path);
	AUTO(close) int fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0)
		return err_set(e, errno, "make disk '%s': %m", path);
	int rc = overlay_make(tmp, fd, path, base, base_format, size, e);

	unlink(tmp);
	return rc < 0 ? err_prefix(e, "make disk '%s'", path) : 0;
}

int disk_check(const char *path, const char *format, struct err *e)
{
	const char *argv[] = { "qemu-img", "check", "-q", "-f", format, path, NULL };
	const struct spawn s = { .argv = argv, .timeout_ms = 3600000, .memory = (size_t)2 << 30 };

	return spawn_run(&s, NULL, e);
}
