#include "fuse_files.h"
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "../../backends/base/utf8.h"
#include "notify.h"
#include "session.h"

#define BLOCK (1 << 20)		/* st_blksize: programs copy in pieces of that */

_Static_assert((int)FSET_MODE == FUSE_SET_ATTR_MODE && (int)FSET_UID == FUSE_SET_ATTR_UID && (int)FSET_GID == FUSE_SET_ATTR_GID &&
	       (int)FSET_SIZE == FUSE_SET_ATTR_SIZE && (int)FSET_MTIME == FUSE_SET_ATTR_MTIME, "files.h has FUSE's numbers");

/* A file or directory that a request names. */
struct at {
	const struct files *f;
	struct node n;
	int64_t no;
};

/* An open file. */
struct opened {
	const struct files *f;
	struct node n;
	void *h;
};

static int find(struct req *r, fuse_ino_t ino, struct at *at)
{
	at->n = node_of(ino);
	at->f = node_files(r->fs, at->n);
	at->no = at->n.row;
	return at->n.kind == NK_FILES ? 0 : at->f->top(r->fs, at->n.row, &at->no, &r->e);
}

static int check_file_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len > 255)
		return err_set(e, ENAMETOOLONG, "a name of %zu bytes; at most 255", len);
	for (size_t i = 0, n; i < len; i += n)
		if (!(n = utf8_len((const unsigned char *)name + i, len - i)))
			return err_set(e, EILSEQ, "the name is no valid UTF-8");
	return 0;
}

/* What everybody gets every day is not worth a sentence. */
static void fail(struct req *r, const struct at *at, const char *name)
{
	switch (r->e.code) {
	case ENOENT: case ENODATA: case ERANGE: case ENXIO: case EXDEV:
		req_fail_quietly(r);
		return;
	default:
		req_fail(r, at->n, name);
	}
}

static struct who asker(fuse_req_t req)
{
	return (struct who){ .uid = fuse_req_ctx(req)->uid, .gid = fuse_req_ctx(req)->gid };
}

/* ---- what was changed through by-id is told to the kernel's copies by name; the other way round nothing is cached */

static void tell_file(struct req *r, const struct at *at)
{
	if (at->n.by_id)
		files_changed(r->fs, at->f, at->no);
}

static void tell_name(struct req *r, const struct at *dir, const char *name)
{
	if (!dir->n.by_id)
		return;
	files_renamed(r->fs, dir->f, dir->no, dir->n.kind == NK_FILES ? 0 : dir->n.row, name);
	files_changed(r->fs, dir->f, dir->no);
}

/* ---- attributes */

static struct timespec of_ns(int64_t ns)
{
	return (struct timespec){ ns / 1000000000, ns % 1000000000 };
}

static void fill(const struct fattr *a, uint64_t ino, struct stat *st)
{
	*st = (struct stat){
		.st_ino = ino, .st_mode = a->mode, .st_nlink = !a->gone, .st_uid = a->uid, .st_gid = a->gid, .st_size = (off_t)a->size,
		.st_blksize = BLOCK, .st_blocks = (blkcnt_t)((a->used + 511) / 512), .st_mtim = of_ns(a->mtime), .st_atim = of_ns(a->mtime),
		.st_ctim = of_ns(a->ctime),
	};
}

static bool cached(const struct at *at)
{
	return !at->n.by_id && !at->f->live;
}

static double keep(const struct at *at, const struct fattr *a)
{
	return cached(at) && !a->live ? LONG_S : 0;
}

static struct node node_in(const struct at *dir, int64_t no)
{
	return (struct node){ .by_id = dir->n.by_id, .kind = NK_FILES, .file = dir->f->no, .row = no };
}

static void fill_entry(const struct at *dir, const struct fattr *a, struct fuse_entry_param *ep)
{
	struct node n = node_in(dir, a->no);

	*ep = (struct fuse_entry_param){ .ino = node_ino(n), .entry_timeout = cached(dir) ? LONG_S : 0, .attr_timeout = keep(dir, a) };
	fill(a, ep->ino, &ep->attr);
}

/* After an answer with a long timeout: did it change while it was on its way? */
static void check_file(struct fs *fs, struct node n, int64_t no, uint64_t since)
{
	if (files_moved(no, since) && !n.by_id)
		notify_inode(fs, n);
}

static void reply_entry(struct req *r, const struct at *dir, const char *name, const struct fattr *a, uint64_t since)
{
	struct fuse_entry_param ep;

	fill_entry(dir, a, &ep);
	fuse_reply_entry(r->req, &ep);
	check_file(r->fs, node_in(dir, a->no), a->no, since);
	if (files_moved(dir->no, since) && !dir->n.by_id)
		notify_entry(r->fs, dir->n, name);
}

bool files_entry(struct req *r, struct node top, struct fuse_entry_param *ep)
{
	struct fattr a;
	struct at at;

	if (find(r, node_ino(top), &at) < 0 || at.f->attr(r->fs, at.no, &a, &r->e) < 0)
		return false;
	*ep = (struct fuse_entry_param){ .ino = node_ino(top), .entry_timeout = keep(&at, &a), .attr_timeout = keep(&at, &a) };
	fill(&a, ep->ino, &ep->attr);
	return true;
}

void files_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct fattr a;
	struct at dir;

	if (find(&r, parent, &dir) < 0 || (check_file_name(name, &r.e) < 0 && r.e.code == ENAMETOOLONG)) {
		fail(&r, &dir, NULL);
		return;
	}
	if (r.e.code == EILSEQ) {	/* none has such a name; who wants to make one is told so */
		fuse_reply_err(req, ENOENT);
		return;
	}
	if (dir.f->lookup(r.fs, dir.no, name, &a, &r.e) < 0)
		fail(&r, &dir, name);
	else
		reply_entry(&r, &dir, name, &a, since);
}

void files_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct fattr a;
	struct stat st;
	struct at at;

	if (find(&r, ino, &at) < 0 || at.f->attr(r.fs, at.no, &a, &r.e) < 0) {
		fail(&r, &at, NULL);
		return;
	}
	fill(&a, ino, &st);
	fuse_reply_attr(req, &st, keep(&at, &a));
	check_file(r.fs, at.n, at.no, since);
}

void files_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	struct opened *o = fi && fi->fh ? (struct opened *)(uintptr_t)fi->fh : NULL;
	struct req r = req_bare(req);
	struct stat now;
	struct fattr a;
	struct at at;

	if (to_set & FUSE_SET_ATTR_MTIME_NOW) {
		clock_gettime(CLOCK_REALTIME, &st->st_mtim);
		to_set |= FUSE_SET_ATTR_MTIME;
	}
	if (find(&r, ino, &at) < 0 || at.f->set(r.fs, at.no, o ? o->h : NULL, st, (unsigned)to_set, &a, &r.e) < 0) {
		fail(&r, &at, NULL);
		return;
	}
	fill(&a, ino, &now);
	fuse_reply_attr(req, &now, keep(&at, &a));
	tell_file(&r, &at);
}

void files_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct req r = req_bare(req);
	struct fattr a;
	struct at at;

	if (!(mask & X_OK))
		fuse_reply_err(req, 0);
	else if (find(&r, ino, &at) < 0 || at.f->attr(r.fs, at.no, &a, &r.e) < 0)
		fail(&r, &at, NULL);
	else
		fuse_reply_err(req, S_ISREG(a.mode) && !(a.mode & 0111) ? EACCES : 0);
}

void files_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct req r = req_bare(req);
	char target[4097];
	struct at at;

	if (find(&r, ino, &at) < 0 || at.f->readlink(r.fs, at.no, target, sizeof target, &r.e) < 0)
		fail(&r, &at, NULL);
	else
		fuse_reply_readlink(req, target);
}

/* ---- bytes on their way: a buffer a thread, since fresh memory costs more than the copy */

static pthread_key_t buffer_key;
static pthread_once_t buffer_once = PTHREAD_ONCE_INIT;

struct buffer {
	size_t size;
	char bytes[];
};

static void make_key(void)
{
	pthread_key_create(&buffer_key, free);
}

static char *buffer(size_t size)
{
	pthread_once(&buffer_once, make_key);
	struct buffer *b = pthread_getspecific(buffer_key);

	if (b && b->size >= size)
		return b->bytes;
	free(b);
	b = malloc(sizeof *b + size);
	pthread_setspecific(buffer_key, b);
	if (!b)
		return NULL;
	b->size = size;
	return b->bytes;
}

/* ---- directories */

void files_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct at at = { .n = node_of(ino), .f = node_files(fs_of(req), node_of(ino)) };

	fi->fh = 0;
	fi->cache_readdir = fi->keep_cache = cached(&at);
	fuse_reply_open(req, fi);
}

struct filler {
	fuse_req_t req;
	const struct at *dir;
	char *buf;
	size_t size, used;
	bool plus;
};

static int add(struct filler *f, const char *name, const struct fuse_entry_param *ep, int64_t offset)
{
	size_t left = f->size - f->used;
	size_t len = f->plus ? fuse_add_direntry_plus(f->req, f->buf + f->used, left, name, ep, offset) :
		fuse_add_direntry(f->req, f->buf + f->used, left, name, &ep->attr, offset);

	if (len > left)
		return 1;
	f->used += len;
	return 0;
}

static int add_file(void *arg, const char *name, const struct fattr *a, int64_t offset)
{
	struct filler *f = arg;
	struct fuse_entry_param ep;

	fill_entry(f->dir, a, &ep);
	return add(f, name, &ep, offset);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	struct fuse_entry_param self = { .attr = { .st_ino = ino, .st_mode = S_IFDIR } };
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct at dir;
	struct filler f = { .req = req, .dir = &dir, .buf = buffer(size), .size = size, .plus = plus };

	if (!f.buf) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (find(&r, ino, &dir) < 0) {
		fail(&r, &dir, NULL);
		return;
	}
	if (off < 1)
		add(&f, ".", &self, 1);
	if (off < 2)
		add(&f, "..", &self, 2);
	if (dir.f->list(r.fs, dir.no, off < 2 ? 2 : off, add_file, &f, &r.e) < 0)
		fail(&r, &dir, NULL);
	else
		fuse_reply_buf(req, f.buf, f.used);
	check_file(r.fs, dir.n, dir.no, since);
}

void files_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, false);
}

void files_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, true);
}

/* ---- names */

void files_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct who who = asker(req);
	struct fattr a;
	struct at dir;

	if (find(&r, parent, &dir) < 0 || check_file_name(name, &r.e) < 0 || dir.f->mkdir(r.fs, dir.no, name, mode, &who, &a, &r.e) < 0) {
		fail(&r, &dir, name);
		return;
	}
	reply_entry(&r, &dir, name, &a, since);
	tell_name(&r, &dir, name);
}

void files_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct who who = asker(req);
	struct fattr a;
	struct at dir;

	if (find(&r, parent, &dir) < 0 || check_file_name(name, &r.e) < 0 || dir.f->symlink(r.fs, dir.no, name, target, &who, &a, &r.e) < 0) {
		fail(&r, &dir, name);
		return;
	}
	reply_entry(&r, &dir, name, &a, since);
	tell_name(&r, &dir, name);
}

/* Removing is ordinary here, but not for a process that is about to remove what all this stands in. */
static int check_removal(struct req *r, const struct at *dir)
{
	AUTO(call_end) struct call c = { 0 };
	char below[1100];
	struct node top;
	int64_t object;

	if (!may_be_recursive(r->fs, r->tid))
		return 0;
	if (dir->f->path(r->fs, dir->no, &object, below, sizeof below, &r->e) < 0 || call_begin(r->fs, &c, &r->e) < 0)
		return -r->e.code;
	return node_files_top(r->fs, dir->f, object, &top) ? check_files_recursive(&c, req_who(r), r->tid, top, &r->e) : 0;
}

static void remove_name(fuse_req_t req, fuse_ino_t parent, const char *name, bool is_dir)
{
	struct req r = req_bare(req);
	struct at dir;

	if (find(&r, parent, &dir) < 0 || check_file_name(name, &r.e) < 0 || check_removal(&r, &dir) < 0 ||
	    dir.f->remove(r.fs, dir.no, name, is_dir, &r.e) < 0) {
		fail(&r, &dir, name);
		return;
	}
	fuse_reply_err(req, 0);
	tell_name(&r, &dir, name);
}

void files_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, true);
}

void files_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	remove_name(req, parent, name, false);
}

void files_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct req r = req_bare(req);
	struct at dir = { .n = node_of(parent) };

	err_set(&r.e, EPERM, "an object has one name: no hard links; a copy shares its bytes");
	fail(&r, &dir, name);
}

void files_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct who who = asker(req);
	struct fopened o = { 0 };
	struct fattr a;
	struct at dir;
	int rc = find(&r, parent, &dir);

	if (rc == 0 && !S_ISREG(mode))
		rc = err_set(&r.e, EPERM, "an object is a file, a directory or a symbolic link: no pipes, sockets and devices");
	if (rc == 0)
		rc = check_file_name(name, &r.e);
	if (rc == 0)
		rc = dir.f->create(r.fs, dir.no, name, O_WRONLY | O_CREAT | O_EXCL, mode, &who, &a, &o, &r.e);
	if (rc < 0) {
		fail(&r, &dir, name);
		return;
	}
	dir.f->release(o.h);
	reply_entry(&r, &dir, name, &a, since);
	tell_name(&r, &dir, name);
}

static int rename_in(struct req *r, const struct at *from, const char *name, const struct at *to, const char *newname, unsigned flags)
{
	if (!from->f || !to->f)
		return err_set(&r->e, EPERM, "objects stay below objects/, and what is elsewhere stays there; cp copies");
	if (check_file_name(newname, &r->e) < 0 || check_removal(r, from) < 0)
		return -r->e.code;
	if (from->f != to->f)
		return to->f->take ? to->f->take(r->fs, from->f, from->no, name, to->no, newname, flags, &r->e) :
			err_set(&r->e, EXDEV, "another directory of files");
	return from->f->rename(r->fs, from->no, name, to->no, newname, flags, &r->e);
}

void files_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	struct at from = { .n = node_of(parent) }, to = { .n = node_of(newparent) };
	struct req r = req_bare(req);
	int rc = 0;

	if (node_files(r.fs, from.n))
		rc = find(&r, parent, &from);
	if (rc == 0 && node_files(r.fs, to.n))
		rc = find(&r, newparent, &to);
	if (rc < 0 || rename_in(&r, &from, name, &to, newname, flags) < 0) {
		fail(&r, &from, name);
		return;
	}
	fuse_reply_err(req, 0);
	tell_name(&r, &from, name);
	tell_name(&r, &to, newname);
}

/* ---- open files */

static struct opened *opened_at(struct fuse_file_info *fi)
{
	return (struct opened *)(uintptr_t)fi->fh;
}

static struct at at_opened(const struct opened *o)
{
	return (struct at){ o->f, o->n, o->n.row };
}

/* Of a file that is not read through it the kernel's cache has nothing to keep. */
static void open_flags(struct opened *o, const struct fopened *how, struct fuse_file_info *fi)
{
	o->h = how->h;
	fi->fh = (uintptr_t)o;
	fi->direct_io = how->direct || o->n.by_id;
	fi->keep_cache = how->keep && !fi->direct_io;
	/* one that also reads may be mapped: its flush is what writes the kernel's dirty pages */
	fi->noflush = (fi->flags & O_ACCMODE) == O_RDONLY || ((fi->flags & O_ACCMODE) == O_WRONLY && !how->flush);
}

void files_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opened *o = malloc(sizeof *o);
	struct req r = req_bare(req);
	struct fopened how = { 0 };
	struct at at;

	r.reads = (fi->flags & O_ACCMODE) == O_RDONLY;
	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (find(&r, ino, &at) < 0 || at.f->open(r.fs, at.no, fi->flags, &how, &r.e) < 0) {
		free(o);
		fail(&r, &at, NULL);
		return;
	}
	*o = (struct opened){ .f = at.f, .n = at.n };
	open_flags(o, &how, fi);
	if (fi->flags & O_TRUNC)
		tell_file(&r, &at);
	if (fuse_reply_open(req, fi) == -ENOENT) {	/* the caller is gone */
		at.f->release(o->h);
		free(o);
	}
}

/* Another may have made it since the kernel looked: then it is opened. */
static int create(struct req *r, const struct at *dir, const char *name, mode_t mode, int flags, struct fattr *a, struct fopened *how)
{
	struct who who = asker(r->req);
	int rc = -ENOENT;

	for (int i = 0; i < 10 && rc == -ENOENT; i++) {
		r->e = (struct err){ 0 };
		rc = dir->f->create(r->fs, dir->no, name, flags, mode, &who, a, how, &r->e);
		if (rc != -EEXIST || flags & O_EXCL)
			return rc;
		r->e = (struct err){ 0 };
		rc = dir->f->lookup(r->fs, dir->no, name, a, &r->e);
		if (rc == 0 && S_ISLNK(a->mode))
			rc = err_set(&r->e, ELOOP, "a symbolic link was made there just now");
		if (rc == 0)
			rc = dir->f->open(r->fs, a->no, flags & ~O_CREAT, how, &r->e);
	}
	return rc;
}

void files_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct opened *o = malloc(sizeof *o);
	struct req r = req_bare(req);
	uint64_t since = files_now();
	struct fopened how = { 0 };
	struct fuse_entry_param ep;
	struct fattr a;
	struct at dir;

	if (!o) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (find(&r, parent, &dir) < 0 || check_file_name(name, &r.e) < 0 || create(&r, &dir, name, mode, fi->flags, &a, &how) < 0) {
		free(o);
		fail(&r, &dir, name);
		return;
	}
	*o = (struct opened){ .f = dir.f, .n = node_in(&dir, a.no) };
	open_flags(o, &how, fi);
	fill_entry(&dir, &a, &ep);
	if (fuse_reply_create(req, &ep, fi) == -ENOENT) {
		dir.f->release(how.h);
		free(o);
	}
	check_file(r.fs, node_in(&dir, a.no), a.no, since);
	tell_name(&r, &dir, name);
}

void files_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct req r = req_bare(req);
	char *buf = buffer(size);

	r.reads = true;
	int64_t n = buf ? o->f->read(o->h, buf, size, off, &r.e) : err_set(&r.e, ENOMEM, "%m");
	if (n < 0) {
		struct at at = at_opened(o);

		fail(&r, &at, NULL);
		return;
	}
	fuse_reply_buf(req, buf, (size_t)n);
}

/* What comes from the page cache (mmap) has its place, whatever the descriptor was opened with. */
void files_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct at at = at_opened(o);
	struct req r = req_bare(req);
	int64_t n = o->f->write(o->h, buf, size, off, fi->flags & O_APPEND && !fi->writepage, &r.e);

	if (n < 0) {
		fail(&r, &at, NULL);
		return;
	}
	tell_file(&r, &at);
	fuse_reply_write(req, (size_t)n);
}

static void reply(struct req *r, const struct at *at, int rc)
{
	if (rc < 0)
		fail(r, at, NULL);
	else
		fuse_reply_err(r->req, 0);
}

void files_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct at at = at_opened(o);
	struct req r = req_bare(req);

	reply(&r, &at, o->f->flush ? o->f->flush(o->h, &r.e) : 0);
}

void files_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);

	o->f->release(o->h);
	free(o);
	fuse_reply_err(req, 0);
}

void files_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct at at = at_opened(o);
	struct req r = req_bare(req);

	reply(&r, &at, o->f->fsync(o->h, &r.e));
}

void files_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct req r = req_bare(req);
	struct at at;
	int rc = find(&r, ino, &at);

	reply(&r, &at, rc < 0 ? rc : at.f->sync_dir(r.fs, at.no, &r.e));
}

void files_copy(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
		struct fuse_file_info *fi_out, size_t len, int flags)
{
	struct opened *from = opened_at(fi_in), *to = opened_at(fi_out);
	struct at at = at_opened(to);
	struct req r = req_bare(req);

	if (len > INT32_MAX)		/* the answer has 32 bits */
		len = INT32_MAX & ~4095;
	int64_t n = to->f->copy && from->f->copy == to->f->copy ? to->f->copy(from->h, off_in, to->h, off_out, len, &r.e) : -EOPNOTSUPP;
	if (n == -EOPNOTSUPP) {		/* then the kernel copies */
		fuse_reply_err(req, EOPNOTSUPP);
	} else if (n < 0) {
		fail(&r, &at, NULL);
	} else {
		tell_file(&r, &at);
		fuse_reply_write(req, (size_t)n);
	}
}

void files_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct at at = at_opened(o);
	struct req r = req_bare(req);
	int64_t n = o->f->seek(o->h, off, whence, &r.e);

	if (n < 0)
		fail(&r, &at, NULL);
	else
		fuse_reply_lseek(req, n);
}

void files_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	struct opened *o = opened_at(fi);
	struct at at = at_opened(o);
	struct req r = req_bare(req);
	int rc = o->f->allocate ? o->f->allocate(o->h, mode, off, len, &r.e) : err_set(&r.e, EOPNOTSUPP, "no fallocate here");

	if (rc == -EOPNOTSUPP)
		req_fail_quietly(&r);
	else
		reply(&r, &at, rc);
	if (rc == 0)
		tell_file(&r, &at);
}

/* ---- extended attributes.  One whose answer takes a while holds no thread: the request waits in a list, known by its number, since
 * the answer and the interrupt may come at any moment, one inside the other. */

static struct waiting {
	struct waiting *next;
	uint64_t id, ticket;
	bool ticketed, interrupted;
	fuse_req_t req;
	struct at at;
	size_t size;
} *waiting;
static uint64_t last_waiting;
static pthread_mutex_t waiting_lock = PTHREAD_MUTEX_INITIALIZER;

static bool is_user(const char *name)
{
	return strncmp(name, "user.", 5) == 0;
}

static void reply_value(fuse_req_t req, const void *value, size_t len, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, len);
	else if (len > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, value, len);
}

static struct waiting **find_waiting(uint64_t id)
{
	struct waiting **p = &waiting;

	while (*p && (*p)->id != id)
		p = &(*p)->next;
	return p;
}

static void answer(void *arg, const struct err *e, const void *value, size_t len)
{
	pthread_mutex_lock(&waiting_lock);
	struct waiting **p = find_waiting((uint64_t)(uintptr_t)arg), *w = *p;

	if (w)
		*p = w->next;
	pthread_mutex_unlock(&waiting_lock);
	if (!w)
		return;
	if (e) {
		struct req r = req_bare(w->req);

		r.e = *e;
		r.reads = true;
		fail(&r, &w->at, NULL);
	} else {
		reply_value(w->req, value, len, w->size);
	}
	free(w);
}

static void interrupted(fuse_req_t req, void *data)
{
	pthread_mutex_lock(&waiting_lock);
	struct waiting *w = *find_waiting((uint64_t)(uintptr_t)data);
	bool known = w && w->ticketed;
	const struct files *f = w ? w->at.f : NULL;
	uint64_t ticket = w ? w->ticket : 0;

	if (w)
		w->interrupted = true;
	pthread_mutex_unlock(&waiting_lock);
	if (known)
		f->xattr_forget(fs_of(req), ticket);
}

static void park(struct req *r, const struct at *at, const char *name, size_t size)
{
	struct waiting *w = calloc(1, sizeof *w);
	uint64_t id, ticket = 0;

	if (!w) {
		fuse_reply_err(r->req, ENOMEM);
		return;
	}
	*w = (struct waiting){ .req = r->req, .at = *at, .size = size };
	pthread_mutex_lock(&waiting_lock);
	id = w->id = ++last_waiting;
	w->next = waiting;
	waiting = w;
	pthread_mutex_unlock(&waiting_lock);
	fuse_req_interrupt_func(r->req, interrupted, (void *)(uintptr_t)id);
	char *buf = size ? buffer(size) : NULL;
	int64_t n = size && !buf ? err_set(&r->e, ENOMEM, "%m") :
		at->f->getxattr(r->fs, at->no, name, buf, size, answer, (void *)(uintptr_t)id, &ticket, &r->e);
	if (n == XATTR_LATER) {
		pthread_mutex_lock(&waiting_lock);
		w = *find_waiting(id);
		bool forget = w && w->interrupted;

		if (w) {
			w->ticket = ticket;
			w->ticketed = true;
		}
		pthread_mutex_unlock(&waiting_lock);
		if (forget)
			at->f->xattr_forget(r->fs, ticket);
		return;
	}
	pthread_mutex_lock(&waiting_lock);
	struct waiting **p = find_waiting(id);
	w = *p;
	if (w)
		*p = w->next;
	pthread_mutex_unlock(&waiting_lock);
	free(w);
	if (n < 0)
		fail(r, at, NULL);
	else if (size)
		fuse_reply_buf(r->req, buf, (size_t)n);
	else
		fuse_reply_xattr(r->req, (size_t)n);
}

void files_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct req r = req_bare(req);
	struct at at;

	if (!is_user(name)) {
		fuse_reply_err(req, strncmp(name, "system.", 7) == 0 ? EOPNOTSUPP : ENODATA);
		return;
	}
	r.reads = true;
	if (find(&r, ino, &at) < 0)
		fail(&r, &at, NULL);
	else
		park(&r, &at, name, size);
}

void files_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct req r = req_bare(req);
	char *buf = size ? buffer(size) : NULL;
	struct at at;
	int64_t n = size && !buf ? err_set(&r.e, ENOMEM, "%m") : find(&r, ino, &at);

	if (n == 0)
		n = at.f->listxattr(r.fs, at.no, buf, size, &r.e);
	if (n < 0)
		fail(&r, &at, NULL);
	else if (size)
		fuse_reply_buf(req, buf, (size_t)n);
	else
		fuse_reply_xattr(req, (size_t)n);
}

void files_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct req r = req_bare(req);
	struct at at;
	int rc = is_user(name) ? find(&r, ino, &at) : -EOPNOTSUPP;

	if (rc == -EOPNOTSUPP) {	/* cp -a and tar try it with every file */
		fuse_reply_err(req, EOPNOTSUPP);
		return;
	}
	reply(&r, &at, rc < 0 ? rc : at.f->setxattr(r.fs, at.no, name, value, size, flags, &r.e));
}

void files_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct req r = req_bare(req);
	struct at at;

	if (!is_user(name)) {
		fuse_reply_err(req, strncmp(name, "system.", 7) == 0 ? EOPNOTSUPP : ENODATA);
		return;
	}
	int rc = find(&r, ino, &at);
	reply(&r, &at, rc < 0 ? rc : at.f->removexattr(r.fs, at.no, name, &r.e));
}

void files_end(struct fs *fs)
{
	for (;;) {
		const struct files *f = NULL;
		uint64_t ticket = 0, id = 0;

		pthread_mutex_lock(&waiting_lock);
		if (waiting) {
			f = waiting->at.f;
			id = waiting->id;
			ticket = waiting->ticket;
		}
		pthread_mutex_unlock(&waiting_lock);
		if (!f)
			return;
		f->xattr_forget(fs, ticket);
		struct err gone = { .code = EINTR };
		answer((void *)(uintptr_t)id, &gone, NULL, 0);	/* if the service did not */
	}
}

void files_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct req r = req_bare(req);
	struct statvfs st = { 0 };
	struct at at;
	int rc = find(&r, ino, &at);

	if (rc == 0 && statvfs(r.fs->store, &st) < 0)
		rc = err_set(&r.e, errno, "statfs: %m");
	if (rc == 0 && at.f->statfs)
		rc = at.f->statfs(r.fs, at.no, &st, &r.e);
	if (rc < 0)
		fail(&r, &at, NULL);
	else
		fuse_reply_statfs(req, &st);
}
