/* A container's versions/: what its objects were, in NAME/TIME: read, removed, and brought back by cp or mv into objects/. */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/statvfs.h>

static int refuse(struct err *e)
{
	return err_set(e, EPERM, "old versions come from what is written to objects/: they are read and removed, and cp or mv into objects/ brings one back");
}

static void to_fattr(const struct vnode *n, struct fattr *a)
{
	*a = (struct fattr){ .no = n->id, .mode = (n->dir ? S_IFDIR : S_IFREG) | n->mode, .uid = n->uid, .gid = n->gid, .size = n->size,
			     .used = n->size, .mtime = n->mtime, .ctime = n->time,
			     .gone = n->gone };
}

static int top(struct fs *fs, int64_t object, int64_t *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? vtree_top(os, object, ret, e) : -e->code;
}

static int path(struct fs *fs, int64_t no, int64_t *object, char *ret, size_t size, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? vtree_path(os, no, object, ret, size, e) : -e->code;
}

static int lookup(struct fs *fs, int64_t dir, const char *name, struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct vnode n;

	if (!os || vtree_find(os, dir, name, &n, e) < 0)
		return -e->code;
	to_fattr(&n, ret);
	return 0;
}

static int attr(struct fs *fs, int64_t no, struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct vnode n;

	if (!os || vtree_get(os, no, &n, e) < 0)
		return e->code == ENOENT ? err_set(e, ESTALE, "that version is gone") : -e->code;
	to_fattr(&n, ret);
	return 0;
}

static int set(struct fs *fs, int64_t no, void *h, const struct stat *st, unsigned to_set, struct fattr *ret, struct err *e)
{
	return refuse(e);
}

struct lister {
	files_fn *fn;
	void *arg;
};

static int list_one(void *arg, const struct vnode *n)
{
	struct lister *l = arg;
	struct fattr a;

	to_fattr(n, &a);
	return l->fn(l->arg, n->name, &a, n->id);
}

static int list(struct fs *fs, int64_t dir, int64_t after, files_fn *fn, void *arg, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct lister l = { fn, arg };

	return os ? vtree_list(os, dir, after, list_one, &l, e) : -e->code;
}

static int make_dir(struct fs *fs, int64_t dir, const char *name, mode_t mode, const struct who *w, struct fattr *ret, struct err *e)
{
	return refuse(e);
}

static int make_link(struct fs *fs, int64_t dir, const char *name, const char *target, const struct who *w, struct fattr *ret, struct err *e)
{
	return refuse(e);
}

static int read_link(struct fs *fs, int64_t no, char *ret, size_t size, struct err *e)
{
	return err_set(e, EINVAL, "no symbolic link");
}

static int remove_name(struct fs *fs, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? vtree_remove(os, dir, name, is_dir, e) : -e->code;
}

static int rename_name(struct fs *fs, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags, struct err *e)
{
	return refuse(e);
}

static int take(struct fs *fs, const struct files *from, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags,
		struct err *e)
{
	return refuse(e);
}

/* objects/ takes one back (files.c). */
int versions_give(struct fs *fs, const struct files *from, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags,
		  struct err *e)
{
	struct objects *os = objects_of(fs, e);

	if (!os)
		return -e->code;
	if (from != &version_files)
		return err_set(e, EXDEV, "another directory of files");
	if (flags & ~(unsigned)RENAME_NOREPLACE)
		return err_set(e, EINVAL, "an old version cannot change places with an object");
	return vtree_move(os, dir, name, newdir, newname, flags & RENAME_NOREPLACE, e);
}

static int create(struct fs *fs, int64_t dir, const char *name, int flags, mode_t mode, const struct who *w, struct fattr *ret, struct fopened *o,
		  struct err *e)
{
	return refuse(e);
}

/* ---- contents.  That of a removal's marker is empty. */

static int open_it(struct fs *fs, int64_t no, int flags, struct fopened *ret, struct err *e)
{
	AUTO(free) struct object_file *h = calloc(1, sizeof *h);
	struct objects *os = objects_of(fs, e);
	struct vnode n;

	if (!os || vtree_get(os, no, &n, e) < 0)
		return -e->code;
	if ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC)
		return refuse(e);
	if (!h)
		return err_set(e, ENOMEM, "%m");
	if (!n.marker && version_open(os, no, &h->o, e) < 0)
		return -e->code;
	h->fs = fs;
	h->no = no;
	*ret = (struct fopened){ .h = steal_ptr(&h), .keep = true };
	return 0;
}

static int64_t write_bytes(void *h, const char *buf, size_t size, int64_t off, bool append, struct err *e)
{
	return refuse(e);
}

static int sync_file(void *h, struct err *e)
{
	return 0;
}

static int sync_dir(struct fs *fs, int64_t dir, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? objects_sync(os, e) : -e->code;
}

static int64_t get_xattr(struct fs *fs, int64_t no, const char *name, char *buf, size_t size, files_done *done, void *arg, uint64_t *ticket,
			 struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? version_attr(os, no, name, buf, size, e) : -e->code;
}

static void forget_xattr(struct fs *fs, uint64_t ticket)
{
}

static int64_t list_xattr(struct fs *fs, int64_t no, char *buf, size_t size, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	int64_t n = os ? version_attr(os, no, NULL, buf, size, e) : -e->code;

	return n == -ENODATA ? 0 : n;
}

static int set_xattr(struct fs *fs, int64_t no, const char *name, const char *value, size_t size, int flags, struct err *e)
{
	return refuse(e);
}

static int remove_xattr(struct fs *fs, int64_t no, const char *name, struct err *e)
{
	return refuse(e);
}

const struct files version_files = {
	.no = 2, .live = true, .top = top, .path = path, .lookup = lookup, .attr = attr, .set = set, .list = list, .mkdir = make_dir,
	.symlink = make_link, .readlink = read_link, .remove = remove_name, .rename = rename_name, .take = take, .create = create, .open = open_it,
	.read = object_file_read, .write = write_bytes, .fsync = sync_file, .sync_dir = sync_dir, .release = object_file_release,
	.copy = object_file_copy, .seek = object_file_seek, .getxattr = get_xattr, .xattr_forget = forget_xattr, .listxattr = list_xattr,
	.setxattr = set_xattr, .removexattr = remove_xattr,
};
