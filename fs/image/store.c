/* Images' data in the object store: an object each, named by the image's row, in a space of their own, so that versions of an image share their
 * chunks.  What is being brought there is called ROW.part until it is whole and on disk: what is called ROW is always all of it. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/base/log.h"
#include "../../backends/base/text.h"
#include "../object/object.h"

#define PIECE (1u << 20)

AUTO_FN(EVP_MD_CTX *, EVP_MD_CTX_free);

/* 1 and the top of their space; 0: no image was ever brought there. */
static int top(struct objects *os, int64_t *ret, struct err *e)
{
	struct err why = { 0 };
	struct space s;

	if (space_get(os, IMAGES_SPACE, &s, &why) == 0) {
		*ret = s.root;
		return 1;
	}
	return why.code == ENOENT ? 0 : (*e = why, -why.code);
}

/* 1 and its entry; 0: it is not there. */
static int find(struct objects *os, int64_t image, struct entry *ret, struct err *e)
{
	struct err why = { 0 };
	char name[32];
	int64_t dir;
	int rc = top(os, &dir, e);

	snprintf(name, sizeof name, "%ld", (long)image);
	if (rc <= 0 || name_lookup(os, dir, name, ret, &why) == 0)
		return rc;
	return why.code == ENOENT ? 0 : (*e = why, -why.code);
}

int image_stored(struct fs *fs, int64_t image, int64_t *bytes, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;
	int rc = os ? find(os, image, &n, e) : -e->code;

	if (rc > 0)
		*bytes = (int64_t)n.size;
	return rc;
}

int image_open(struct fs *fs, int64_t image, struct object **ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;
	int rc = os ? find(os, image, &n, e) : -e->code;

	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "its data is not in the object store");
	return object_open(os, n.id, O_RDONLY, ret, e);
}

/* ---- bringing it there */

/* What is between data stays a hole: it costs no look at zeros. */
static int copy_in(struct object *o, int fd, image_over_fn *over, void *arg, struct err *e)
{
	AUTO(free) char *buf = malloc(PIECE);
	off_t at = 0;
	ssize_t n;

	if (!buf)
		return err_set(e, ENOMEM, "%m");
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		off_t end = lseek(fd, at, SEEK_HOLE);

		for (; at < end; at += n) {
			if (over && over(arg))
				return 1;
			n = pread(fd, buf, end - at < (off_t)PIECE ? (size_t)(end - at) : PIECE, at);
			if (n <= 0)
				return err_set(e, n < 0 ? errno : EIO, "read the data: %s", n < 0 ? strerror(errno) : "it became shorter");
			if (object_write(o, buf, (size_t)n, at, false, e) < 0)
				return -e->code;
		}
	}
	return errno == ENXIO ? 0 : err_set(e, errno, "read the data: %m");
}

static int fill(struct objects *os, int64_t id, int fd, image_over_fn *over, void *arg, struct err *e)
{
	AUTO(object_close) struct object *o = NULL;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_set(e, errno, "read the data: %m");
	if (object_open(os, id, O_RDWR, &o, e) < 0)
		return -e->code;
	int rc = copy_in(o, fd, over, arg, e);
	if (rc == 0)		/* it may end with a hole */
		rc = object_truncate(os, id, st.st_size, e);
	return rc ? rc : object_sync(o, e);
}

static int remove_name(struct objects *os, int64_t dir, const char *name, struct err *e)
{
	struct err why = { 0 };

	return name_remove(os, dir, name, false, &why) == 0 || why.code == ENOENT ? 0 : (*e = why, -why.code);
}

int image_put(struct fs *fs, int64_t image, const char *from, image_over_fn *over, void *arg, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	AUTO(close) int fd = open(from, O_RDONLY | O_CLOEXEC);
	struct err ignored = { 0 };
	char name[32], part[40];
	struct entry n;
	int64_t dir;

	snprintf(name, sizeof name, "%ld", (long)image);
	snprintf(part, sizeof part, "%ld.part", (long)image);
	if (fd < 0)
		return err_set(e, errno, "open %s: %m", from);
	if (!os || space_make(os, IMAGES_SPACE, 0, e) < 0 || top(os, &dir, e) < 0 || remove_name(os, dir, part, e) < 0 ||
	    name_make(os, dir, part, ENTRY_FILE, 0600, 0, 0, NULL, &n, e) < 0)
		return -e->code;
	int rc = fill(os, n.id, fd, over, arg, e);
	if (rc == 0 && (rc = name_rename(os, dir, part, dir, name, 0, e)) == 0)
		return objects_sync(os, e);
	remove_name(os, dir, part, &ignored);
	return rc;
}

int image_drop(struct fs *fs, int64_t image, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	char name[32], part[40];
	int64_t dir;
	int rc = os ? top(os, &dir, e) : -e->code;

	snprintf(name, sizeof name, "%ld", (long)image);
	snprintf(part, sizeof part, "%ld.part", (long)image);
	if (rc <= 0)
		return rc;
	return remove_name(os, dir, part, e) < 0 || remove_name(os, dir, name, e) < 0 ? -e->code : objects_sync(os, e);
}

/* ---- all of them */

struct names {
	char (*v)[40];
	size_t n;
};

static int keep_name(void *arg, const struct entry *n, int64_t offset)
{
	struct names *x = arg;
	char (*v)[40] = reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 1;
	x->v = v;
	snprintf(v[x->n++], sizeof *v, "%.39s", n->name);
	return 0;
}

int images_stored(struct fs *fs, image_name_fn *fn, void *arg, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct names x = { 0 };
	int64_t dir;
	int rc = os ? top(os, &dir, e) : -e->code;

	if (rc > 0)
		rc = name_list(os, dir, 0, keep_name, &x, e);
	for (size_t i = 0; i < x.n && rc >= 0; i++)
		rc = fn(arg, x.v[i], e);
	free(x.v);
	return rc < 0 ? rc : 0;
}

static int drop_name(struct fs *fs, const char *name, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	int64_t dir;
	int rc = os ? top(os, &dir, e) : -e->code;

	return rc > 0 ? remove_name(os, dir, name, e) : rc;
}

bool image_part_name(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot && strcmp(dot, ".part") == 0;
}

static int drop_part(void *arg, const char *name, struct err *e)
{
	return image_part_name(name) ? drop_name(arg, name, e) : 0;
}

void images_drop_parts(struct cloud *cl)
{
	struct err e = { 0 };

	if (cl->objects && images_stored(&cl->fs, drop_part, &cl->fs, &e) < 0)
		log_warn("what is left of images in the object store: %s", e.msg);
}

/* ---- taking it out */

static int64_t next(struct object *o, int64_t at, int whence, struct err *e)
{
	struct err why = { 0 };
	int64_t rc = object_seek(o, at, whence, &why);

	return rc >= 0 || why.code == ENXIO ? rc : (*e = why, rc);
}

/* What stands before the end of the file is there. */
static int left_off(int fd, int64_t at, struct err *e)
{
	return ftruncate(fd, at) < 0 ? err_set(e, errno, "write its base file: %m") : 1;
}

int image_get(struct object *o, int64_t at, int64_t size, int fd, image_over_fn *over, void *arg, struct err *e)
{
	AUTO(free) char *buf = malloc(PIECE);
	int64_t n;

	if (!buf)
		return err_set(e, ENOMEM, "%m");
	while (at < size && (at = next(o, at, SEEK_DATA, e)) >= 0) {
		int64_t end = next(o, at, SEEK_HOLE, e);

		while (at < end) {
			n = object_read(o, buf, end - at < (int64_t)PIECE ? (size_t)(end - at) : PIECE, at, e);
			if (n > 0 && pwrite(fd, buf, (size_t)n, at) != n)
				return err_set(e, errno ? errno : ENOSPC, "write its base file: %m");
			if (n <= 0)
				return n ? -e->code : err_set(e, EIO, "it became shorter");
			at += n;	/* each call gets on */
			if (over && over(arg))
				return left_off(fd, at, e);
		}
		if (end < 0)
			break;
	}
	if (e->code)
		return -e->code;
	return ftruncate(fd, size) < 0 ? err_set(e, errno, "write its base file: %m") : 0;
}

int image_md5(struct fs *fs, int64_t image, char hex[33], struct err *e)
{
	AUTO(EVP_MD_CTX_free) EVP_MD_CTX *md = EVP_MD_CTX_new();
	AUTO(object_close) struct object *o = NULL;
	AUTO(free) char *buf = malloc(PIECE);
	unsigned char digest[EVP_MAX_MD_SIZE];
	int64_t at = 0, n;

	if (!md || !buf || EVP_DigestInit_ex(md, EVP_md5(), NULL) != 1)
		return err_set(e, ENOMEM, "%m");
	if (image_open(fs, image, &o, e) < 0)
		return -e->code;
	for (; (n = object_read(o, buf, PIECE, at, e)) > 0; at += n)
		EVP_DigestUpdate(md, buf, (size_t)n);
	if (n < 0)
		return -e->code;
	EVP_DigestFinal_ex(md, digest, NULL);
	hex_text(hex, digest, 16);
	return 0;
}
