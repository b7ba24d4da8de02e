/* A container's objects/ as a directory of ordinary files: what fs/tree/files.h asks, said in the words of backends/object/objects.h. */
#include "object.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#define ETAG "user.etag"
#define TOPS 256

struct objects *objects_of(struct fs *fs, struct err *e)
{
	struct cloud *cl = cloud_of(fs);

	if (!cl->objects)
		err_set(e, EIO, "the object store is not open: %s", *cl->objects_error ? cl->objects_error : "not yet");
	return cl->objects;
}

static void to_fattr(const struct entry *n, struct fattr *a)
{
	static const mode_t types[] = { [ENTRY_FILE] = S_IFREG, [ENTRY_DIR] = S_IFDIR, [ENTRY_LINK] = S_IFLNK };

	*a = (struct fattr){ .no = n->id, .mode = types[n->type] | (n->type == ENTRY_LINK ? 0777 : n->mode & 07777), .uid = n->uid, .gid = n->gid,
		.size = n->size, .used = n->used, .mtime = n->mtime, .ctime = n->ctime, .gone = !n->parent && n->type == ENTRY_FILE };
}

/* ---- names */

/* The top of a container is asked for with every request in it, and never changes. */
static int top(struct fs *fs, int64_t object, int64_t *ret, struct err *e)
{
	static struct { _Atomic int64_t object, root; } tops[TOPS];
	struct objects *os = objects_of(fs, e);
	size_t i = (uint64_t)object % TOPS;
	struct space s;

	if (!os)
		return -e->code;
	*ret = tops[i].root;
	if (tops[i].object == object && *ret)	/* what is taken down is taken down before the new one stands */
		return 0;
	if (space_get(os, object, &s, e) < 0)
		return -e->code;
	tops[i].object = 0;
	tops[i].root = s.root;
	tops[i].object = object;
	*ret = s.root;
	return 0;
}

static int path(struct fs *fs, int64_t no, int64_t *object, char *ret, size_t size, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? name_path(os, no, object, ret, size, e) : -e->code;
}

static int lookup(struct fs *fs, int64_t dir, const char *name, struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;

	if (!os || name_lookup(os, dir, name, &n, e) < 0)
		return -e->code;
	to_fattr(&n, ret);
	return 0;
}

/* A number that means nothing any more (a disk that failed took what was not committed): the kernel looks its name up again and goes on. */
static int gone(struct err *e)
{
	return e->code == ENOENT ? err_set(e, ESTALE, "it is gone") : -e->code;
}

static int attr(struct fs *fs, int64_t no, struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;

	if (!os || name_get(os, no, &n, e) < 0)
		return gone(e);
	to_fattr(&n, ret);
	return 0;
}

static int set(struct fs *fs, int64_t no, void *h, const struct stat *st, unsigned to_set, struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct name_set s = {
		.mode_set = to_set & FSET_MODE, .mode = st->st_mode & 07777, .uid_set = to_set & FSET_UID, .uid = st->st_uid,
		.gid_set = to_set & FSET_GID, .gid = st->st_gid, .mtime_set = to_set & FSET_MTIME,
		.mtime = st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	};

	if (!os || (to_set & FSET_SIZE && object_truncate(os, no, st->st_size, e) < 0))
		return gone(e);
	if (to_set & (FSET_MODE | FSET_UID | FSET_GID | FSET_MTIME) && name_set(os, no, &s, e) < 0)
		return gone(e);
	return attr(fs, no, ret, e);
}

struct lister {
	files_fn *fn;
	void *arg;
};

static int list_one(void *arg, const struct entry *n, int64_t offset)
{
	struct lister *l = arg;
	struct fattr a;

	to_fattr(n, &a);
	return l->fn(l->arg, n->name, &a, offset);
}

static int list(struct fs *fs, int64_t dir, int64_t after, files_fn *fn, void *arg, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct lister l = { fn, arg };

	return os ? name_list(os, dir, after, list_one, &l, e) : -e->code;
}

static int make(struct fs *fs, int64_t dir, const char *name, enum entry_type type, mode_t mode, const char *target, const struct who *w,
		struct fattr *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;

	if (!os || name_make(os, dir, name, type, mode & 07777, w->uid, w->gid, target, &n, e) < 0)
		return -e->code;
	to_fattr(&n, ret);
	return 0;
}

static int make_dir(struct fs *fs, int64_t dir, const char *name, mode_t mode, const struct who *w, struct fattr *ret, struct err *e)
{
	return make(fs, dir, name, ENTRY_DIR, mode, NULL, w, ret, e);
}

static int make_link(struct fs *fs, int64_t dir, const char *name, const char *target, const struct who *w, struct fattr *ret, struct err *e)
{
	return make(fs, dir, name, ENTRY_LINK, 0777, target, w, ret, e);
}

static int read_link(struct fs *fs, int64_t no, char *ret, size_t size, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? name_readlink(os, no, ret, size, e) : -e->code;
}

static int remove_name(struct fs *fs, int64_t dir, const char *name, bool is_dir, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? name_remove(os, dir, name, is_dir, e) : -e->code;
}

static int rename_name(struct fs *fs, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? name_rename(os, dir, name, newdir, newname, flags, e) : -e->code;
}

/* ---- contents */

/* What is only written goes round the page cache: the copy into it is what a large write costs most.  mtime moves with every write, by which the
 * kernel sees for itself that what it has cached is old. */
static int open_it(struct fs *fs, int64_t no, int flags, struct fopened *ret, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	AUTO(free) struct object_file *h = calloc(1, sizeof *h);
	bool direct = (flags & O_ACCMODE) == O_WRONLY;

	if (!os)
		return -e->code;
	if (!h)
		return err_set(e, ENOMEM, "%m");
	if (object_open(os, no, flags, &h->o, e) < 0)
		return gone(e);
	h->fs = fs;
	h->no = no;
	h->direct = direct;
	bool versioned = object_versioned(h->o);
	*ret = (struct fopened){ .h = steal_ptr(&h), .direct = direct, .keep = true, .flush = versioned };
	return 0;
}

static int create(struct fs *fs, int64_t dir, const char *name, int flags, mode_t mode, const struct who *w, struct fattr *ret, struct fopened *o,
		  struct err *e)
{
	struct err ignored = { 0 };

	if (make(fs, dir, name, ENTRY_FILE, mode, NULL, w, ret, e) < 0)
		return -e->code;
	if (open_it(fs, ret->no, flags & ~O_TRUNC, o, e) == 0)
		return 0;
	remove_name(fs, dir, name, false, &ignored);
	return -e->code;
}

int64_t object_file_read(void *h, char *buf, size_t size, int64_t off, struct err *e)
{
	struct object *o = ((struct object_file *)h)->o;

	return o ? object_read(o, buf, size, off, e) : 0;
}

/* The kernel lets go of cached pages before a write that goes round them, and who maps them may have read old bytes again since. */
static int64_t write_bytes(void *h, const char *buf, size_t size, int64_t off, bool append, struct err *e)
{
	struct object_file *f = h;
	int64_t n = object_write(f->o, buf, size, off, append, e);

	if (n > 0 && f->direct && object_shared(f->o))
		files_changed(f->fs, &object_files, f->no);
	return n;
}

static int sync_file(void *h, struct err *e)
{
	return object_sync(((struct object_file *)h)->o, e);
}

static int sync_dir(struct fs *fs, int64_t dir, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	return os ? objects_sync(os, e) : -e->code;
}

static int flush(void *h, struct err *e)
{
	object_flush(((struct object_file *)h)->o);
	return 0;
}

void object_file_release(void *h)
{
	struct object *o = ((struct object_file *)h)->o;

	if (o)
		object_close(o);
	free(h);
}

int64_t object_file_copy(void *in, int64_t off_in, void *out, int64_t off_out, size_t len, struct err *e)
{
	struct object *from = ((struct object_file *)in)->o, *to = ((struct object_file *)out)->o;

	return from && to ? object_copy(from, off_in, to, off_out, len, e) : 0;
}

int64_t object_file_seek(void *h, int64_t off, int whence, struct err *e)
{
	struct object *o = ((struct object_file *)h)->o;

	return o ? object_seek(o, off, whence, e) : err_set(e, ENXIO, "it is empty");
}

static int allocate(void *h, int mode, int64_t off, int64_t len, struct err *e)
{
	struct object_file *f = h;
	int rc = object_allocate(f->o, mode, off, len, e);

	if (rc == 0)		/* pages that are mapped or cached hold what was there */
		files_changed(f->fs, &object_files, f->no);
	return rc;
}

/* ---- extended attributes */

struct etag_wait {
	files_done *done;
	void *arg;
};

static void etag_done(void *arg, const struct err *e, const char *etag)
{
	struct etag_wait w = *(struct etag_wait *)arg;

	free(arg);
	w.done(w.arg, e, etag, e ? 0 : strlen(etag));
}

static int64_t get_etag(struct objects *os, int64_t no, char *buf, size_t size, files_done *done, void *arg, uint64_t *ticket, struct err *e)
{
	struct etag_wait *w = done ? malloc(sizeof *w) : NULL;
	char etag[33];

	if (done && !w)
		return err_set(e, ENOMEM, "%m");
	if (w)
		*w = (struct etag_wait){ done, arg };
	int rc = object_etag(os, no, etag, done ? etag_done : NULL, w, ticket, e);
	if (rc > 0)
		return done ? XATTR_LATER : err_set(e, ENODATA, "it is not computed yet");
	free(w);
	if (rc < 0)
		return rc;
	if (size && size < 32)
		return err_set(e, ERANGE, "%m");
	if (size)
		memcpy(buf, etag, 32);
	return 32;
}

static int64_t get_xattr(struct fs *fs, int64_t no, const char *name, char *buf, size_t size, files_done *done, void *arg, uint64_t *ticket,
			 struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;

	if (!os)
		return -e->code;
	if (strcmp(name, ETAG) != 0)
		return attr_get(os, no, name, buf, size, e);
	if (name_get(os, no, &n, e) < 0)
		return -e->code;
	return n.type == ENTRY_FILE ? get_etag(os, no, buf, size, done, arg, ticket, e) : err_set(e, ENODATA, "files have an etag");
}

static void forget_xattr(struct fs *fs, uint64_t ticket)
{
	struct err ignored = { 0 };
	struct objects *os = objects_of(fs, &ignored);

	if (os)
		object_etag_forget(os, ticket);
}

/* The etag is listed once it is known, so that what copies every attribute waits for none. */
static int64_t list_xattr(struct fs *fs, int64_t no, char *buf, size_t size, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;
	int64_t len;

	if (!os || name_get(os, no, &n, e) < 0)
		return -e->code;
	len = n.attrs || n.delete_at ? attr_list(os, no, buf, size, e) : 0;
	if (len < 0 || n.type != ENTRY_FILE || get_etag(os, no, NULL, 0, NULL, NULL, NULL, &(struct err){ 0 }) < 0)
		return len;
	if (size && size - (size_t)len < sizeof ETAG)
		return err_set(e, ERANGE, "%m");
	if (size)
		memcpy(buf + len, ETAG, sizeof ETAG);
	return len + (int64_t)sizeof ETAG;
}

static bool hex_only(const char *s, size_t n)
{
	while (n && strchr("0123456789abcdef", s[n - 1]) && s[n - 1])
		n--;
	return !n;
}

/* Written back as it is (cp -a, tar), it says nothing new; before it is known, which is when they do it, there is nothing to compare it with. */
static int set_etag(struct objects *os, int64_t no, const char *value, size_t size, struct err *e)
{
	char etag[33];
	bool known = object_etag(os, no, etag, NULL, NULL, NULL, &(struct err){ 0 }) == 0;

	if (size == 32 && (known ? memcmp(etag, value, 32) == 0 : hex_only(value, 32)))
		return 0;
	return err_set(e, EPERM, "%s is the MD5 of the bytes; nobody else sets it", ETAG);
}

static int set_xattr(struct fs *fs, int64_t no, const char *name, const char *value, size_t size, int flags, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	if (!os)
		return -e->code;
	return strcmp(name, ETAG) == 0 ? set_etag(os, no, value, size, e) : attr_set(os, no, name, value, size, flags, e);
}

static int remove_xattr(struct fs *fs, int64_t no, const char *name, struct err *e)
{
	struct objects *os = objects_of(fs, e);

	if (!os)
		return -e->code;
	return strcmp(name, ETAG) == 0 ? err_set(e, EPERM, "%s is the MD5 of the bytes and stays", ETAG) : attr_remove(os, no, name, e);
}

/* ---- room */

static void lower(fsblkcnt_t *total, fsblkcnt_t *left, fsblkcnt_t *left2, int64_t limit, int64_t used)
{
	fsblkcnt_t rest = limit > used ? (fsblkcnt_t)(limit - used) : 0;

	if ((fsblkcnt_t)limit < *total)
		*total = (fsblkcnt_t)limit;
	if (rest < *left)
		*left = rest;
	if (rest < *left2)
		*left2 = rest;
}

static int fs_room(struct fs *fs, int64_t no, struct statvfs *st, struct err *e)
{
	struct objects *os = objects_of(fs, e);
	struct entry n;
	struct space s;

	if (!os || name_get(os, no, &n, e) < 0 || space_get(os, n.space, &s, e) < 0)
		return -e->code;
	int64_t unit = (int64_t)st->f_frsize;
	if (s.quota_bytes >= 0)
		lower(&st->f_blocks, &st->f_bfree, &st->f_bavail, s.quota_bytes / unit, (s.bytes + unit - 1) / unit);
	if (s.quota_count >= 0)
		lower(&st->f_files, &st->f_ffree, &st->f_favail, s.quota_count, s.count);
	st->f_namemax = 255;
	return 0;
}

const struct files object_files = {
	.no = 1, .top = top, .path = path, .lookup = lookup, .attr = attr, .set = set, .list = list, .mkdir = make_dir, .symlink = make_link,
	.readlink = read_link, .remove = remove_name, .rename = rename_name, .take = versions_give, .create = create, .open = open_it, .read = object_file_read,
	.write = write_bytes, .fsync = sync_file, .sync_dir = sync_dir, .flush = flush, .release = object_file_release, .copy = object_file_copy, .seek = object_file_seek, .allocate = allocate,
	.getxattr = get_xattr, .xattr_forget = forget_xattr, .listxattr = list_xattr, .setxattr = set_xattr, .removexattr = remove_xattr,
	.statfs = fs_room,
};
