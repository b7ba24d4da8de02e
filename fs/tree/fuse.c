#include "fuse.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../../backends/base/log.h"
#include "attr.h"
#include "fuse_files.h"
#include "handle.h"
#include "measure.h"
#include "names.h"
#include "notify.h"
#include "scratch.h"
#include "session.h"

#define MAX_WRITE (1 << 20)
#define READAHEAD (1 << 20)
#define THREADS 32	/* fsync and the last close wait for the disk */
#define TALK_MAX 65536	/* bytes of a talk in one answer */

/* ---- a request: its call, who asks, and the one place where a refusal is kept */

const struct who *req_who(struct req *r)
{
	if (!r->known) {
		who_of(&r->who, fuse_req_ctx(r->req)->uid, fuse_req_ctx(r->req)->pid);
		r->c.who = r->who;
		r->c.tid = r->tid;
		r->known = true;
	}
	return &r->who;
}

int req_begin(struct req *r, fuse_req_t req)
{
	*r = req_bare(req);
	int rc = call_begin(r->fs, &r->c, &r->e);

	if (rc < 0)
		fuse_reply_err(req, -rc);
	return rc;
}

void req_end(struct req *r)
{
	call_end(&r->c);
}

/* The object or collection a command on that file is about. */
static struct node about(struct fs *fs, struct node n)
{
	enum node_type t = node_type(fs, n);

	return (struct node){ .kind = n.kind, .row = n.row, .file = t == N_COLLECTION || t == N_COLL_FILE ? NF_COLLECTION : NF_OBJECT };
}

/* The sentence of a refusal is kept for the caller's session and for the object, before the caller can ask. */
static void keep_refusal(struct req *r, struct node n, const char *name)
{
	AUTO(call_end) struct call c = { 0 };
	char path[2000], request[REQUEST_LEN];
	struct err e;

	req_who(r);
	memcpy(request, r->c.request, sizeof request);
	call_end(&r->c);
	r->c = (struct call){ 0 };
	if (call_begin(r->fs, &c, &e) < 0)
		return;
	if (!*request)
		request_new(request);
	memcpy(c.request, request, sizeof request);
	node_path(&c, n, path, sizeof path - 260);
	if (name) {
		size_t len = strlen(path);

		snprintf(path + len, sizeof path - len, "%s%s", len ? "/" : "", name);
	}
	struct node of = about(r->fs, n);
	bool own = !r->reads && !node_files(r->fs, n);
	if (!own)
		of.kind = NK_SCRATCH;	/* of which nobody asks: an object's error is about its commands, not its files */
	refusal(r->fs, &r->who, &c, of, path, &r->e);
	log_debug("%s %s: %s", err_name(r->e.code), path, r->e.msg);
	if (own)
		change_note(r->fs, of);
}

void req_fail(struct req *r, struct node n, const char *name)
{
	if (r->e.code != EINTR)
		keep_refusal(r, n, name);
	fuse_reply_err(r->req, r->e.code ? r->e.code : EIO);
}

void req_fail_quietly(struct req *r)
{
	fuse_reply_err(r->req, r->e.code ? r->e.code : EIO);
}

/* ---- attributes */

static void fill_stat(const struct node_attr *a, struct stat *st)
{
	*st = (struct stat){
		.st_ino = a->ino, .st_mode = a->mode, .st_nlink = 1, .st_size = (off_t)a->size,
		.st_blksize = 4096, .st_blocks = (blkcnt_t)((a->size + 511) / 512),
		.st_mtim = { a->mtime / 1000000, a->mtime % 1000000 * 1000 },
		.st_ctim = { a->ctime / 1000000, a->ctime % 1000000 * 1000 },
		.st_atim = { a->mtime / 1000000, a->mtime % 1000000 * 1000 },
	};
}

/* After an answer with a long timeout: did it change while it was on its way? */
static void check_race(struct fs *fs, struct node n, uint64_t before)
{
	if (change_no(n.row) != before)
		notify_inode(fs, n);
}

/* last-error and last-result: what they say depends on who asks. */
static bool is_personal(struct fs *fs, struct node n)
{
	const struct file *f = node_file(fs, n);

	return n.kind == 0 && f && f->flags & F_HIDDEN && strncmp(f->name, "last-", 5) == 0;
}

static int entry_for(struct req *r, struct node n, struct fuse_entry_param *ep)
{
	struct node_attr a;
	int rc = node_attr(&r->c, n, is_personal(r->fs, n) ? req_who(r) : NULL, &a, &r->e);

	if (rc < 0)
		return rc;
	*ep = (struct fuse_entry_param){ .ino = a.ino, .entry_timeout = a.keep_entry ? LONG_S : 0,
		.attr_timeout = a.keep_attr ? LONG_S : 0 };
	fill_stat(&a, &ep->attr);
	if (a.keep_entry)
		notify_seen(n.row);
	return 0;
}

static void reply_node(struct req *r, struct node n, struct node dir, const char *name)
{
	struct fuse_entry_param ep;
	uint64_t before = change_no(n.row);

	notify_seen(n.row);
	if (node_type(r->fs, n) == N_FILES_TOP ? !files_entry(r, n, &ep) : entry_for(r, n, &ep) < 0) {
		if (r->e.code == ENOENT)
			req_fail_quietly(r);
		else
			req_fail(r, dir, name);
		return;
	}
	fuse_reply_entry(r->req, &ep);
	if (ep.attr_timeout > 0)
		check_race(r->fs, n, before);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent), n;

	if (req_begin(&r, req) < 0)
		return;
	if (strlen(name) > 255) {
		err_set(&r.e, ENAMETOOLONG, "a name of %zu bytes; at most 255", strlen(name));
		req_fail(&r, dir, NULL);
		return;
	}
	if (db_snapshot(r.c.db, &r.e) < 0) {
		req_fail_quietly(&r);
		return;
	}
	notify_seen(dir.row);
	if (node_lookup(&r.c, dir, name, &n, &r.e) < 0 && !(r.e.code == ENOENT && scratch_lookup(r.fs, dir, name, &n)))
		req_fail_quietly(&r);
	else if (doc_hidden(r.fs, n, false))
		fuse_reply_err(req, ENOENT);
	else
		reply_node(&r, n, dir, name);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	AUTO_REQ r = { 0 };
	struct node n = node_of(ino);
	uint64_t before = change_no(n.row);
	struct node_attr a;
	struct stat st;

	if (req_begin(&r, req) < 0)
		return;
	notify_seen(n.row);
	if (db_snapshot(r.c.db, &r.e) < 0 || node_attr(&r.c, n, is_personal(r.fs, n) ? req_who(&r) : NULL, &a, &r.e) < 0) {
		if (r.e.code == ENOENT && fi) {	/* removed while open, as everywhere */
			struct handle *h = (struct handle *)(uintptr_t)fi->fh;

			a = (struct node_attr){ .mode = S_IFREG | 0444, .ino = ino, .size = h ? h->len : 0 };
		} else {
			req_fail_quietly(&r);
			return;
		}
	}
	fill_stat(&a, &st);
	fuse_reply_attr(req, &st, a.keep_attr ? LONG_S : 0);
	if (a.keep_attr)
		check_race(r.fs, n, before);
}

static int set_attr(struct req *r, struct node n, struct stat *st, int to_set, struct fuse_file_info *fi, struct node_attr *a)
{
	const struct file *f = node_file(r->fs, n);
	/* install and editors set modes of what they write: documents, keys, metadata */
	bool edited = n.kind == NK_SCRATCH || (f && (f->type == T_DOC || n.file == NF_OBJECT));
	int rc = node_attr(&r->c, n, NULL, a, &r->e);

	if (rc == 0 && to_set & FUSE_SET_ATTR_MODE && ((st->st_mode ^ a->mode) & 07777) && !edited)
		rc = err_set(&r->e, EPERM, "modes are fixed here; who may do what is decided by roles");
	if (rc == 0 && ((to_set & FUSE_SET_ATTR_UID && st->st_uid != 0) || (to_set & FUSE_SET_ATTR_GID && st->st_gid != 0)) &&
	    n.kind != NK_SCRATCH)
		rc = err_set(&r->e, EPERM, "owners are fixed here");
	if (rc < 0 || !(to_set & FUSE_SET_ATTR_SIZE))
		return rc;
	if (node_is_dir(r->fs, n))
		return err_set(&r->e, EISDIR, "a directory");
	if (!node_writable(r->fs, n))
		return err_set(&r->e, EPERM, "it cannot be written");
	if (fi && fi->fh)
		return handle_truncate(&r->c, (struct handle *)(uintptr_t)fi->fh, st->st_size, &r->e);
	if (n.kind == NK_SCRATCH)
		return scratch_truncate(r->fs, n, (size_t)st->st_size, &r->e);
	return st->st_size == 0 || (uint64_t)st->st_size == a->size ? 0 : err_set(&r->e, EINVAL, "a control file has no size to set");
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	AUTO_REQ r = { 0 };
	struct node n = node_of(ino);
	struct node_attr a;
	struct stat now;

	if (req_begin(&r, req) < 0)
		return;
	if (set_attr(&r, n, st, to_set, fi, &a) < 0) {
		req_fail(&r, n, NULL);
		return;
	}
	fill_stat(&a, &now);
	if (to_set & FUSE_SET_ATTR_SIZE)
		now.st_size = st->st_size;
	fuse_reply_attr(req, &now, 0);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[4096];
	AUTO_REQ r = { 0 };

	if (req_begin(&r, req) < 0)
		return;
	if (node_readlink(&r.c, node_of(ino), target, sizeof target, &r.e) < 0)
		req_fail_quietly(&r);
	else
		fuse_reply_readlink(req, target);
}

/* ---- directories */

struct filler {
	fuse_req_t req;
	struct fs *fs;
	char *buf;
	size_t size, used;
	bool plus;
};

/* readdirplus is for directories of ordinary files; it is on for the mount, and here answered without attributes (ino 0), which cost more than
 * they bring. */
static int fill_entry(void *arg, const char *name, struct node n, int64_t offset)
{
	struct filler *f = arg;
	enum node_type t = node_type(f->fs, n);
	struct stat st = { .st_ino = node_ino(n), .st_mode = node_is_dir(f->fs, n) ? S_IFDIR :
		t == N_LINK || t == N_VIEW_LINK ? S_IFLNK : S_IFREG };
	struct fuse_entry_param bare = { .attr = st };
	size_t left = f->size - f->used;
	size_t len = f->plus ? fuse_add_direntry_plus(f->req, f->buf + f->used, left, name, &bare, offset) :
		fuse_add_direntry(f->req, f->buf + f->used, left, name, &st, offset);

	if (len > left)
		return 1;
	f->used += len;
	return 0;
}

/* The kernel keeps the listing of a directory whose changes it is told; it asks for the directory's mtime where that is in doubt. */
static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fs_of(req);
	struct node dir = node_of(ino);

	saw_opendir(fs, fuse_req_ctx(req)->pid, dir);
	fi->fh = 0;
	fi->cache_readdir = fi->keep_cache = node_told(fs, dir);
	fuse_reply_open(req, fi);
}

static void read_dir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, bool plus)
{
	AUTO_REQ r = { 0 };
	AUTO(free) char *buf = malloc(size);
	struct node dir = node_of(ino), up;

	if (req_begin(&r, req) < 0)
		return;
	struct filler f = { .req = req, .fs = r.fs, .buf = buf, .size = size, .plus = plus };
	uint64_t before = change_no(dir.row);
	notify_seen(dir.row);
	enum node_type t = node_type(r.fs, dir);	/* what tables say needs no state */
	if (!buf || (t != N_OBJECT && t != N_GROUP && db_snapshot(r.c.db, &r.e) < 0)) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	if (off < 1)
		fill_entry(&f, ".", dir, 1);
	if (off < 2) {
		if (node_parent(&r.c, dir, &up, &r.e) <= 0)
			up = dir;
		fill_entry(&f, "..", up, 2);
	}
	if (node_list(&r.c, dir, off < 2 ? 2 : off, fill_entry, &f, &r.e) < 0)
		req_fail_quietly(&r);
	else
		fuse_reply_buf(req, buf, f.used);
	if (node_told(r.fs, dir))
		check_race(r.fs, dir, before);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	read_dir(req, ino, size, off, true);
}

/* ---- names made and removed; the kernel holds the directory's lock, so the answer goes before what follows from it */

static int read_again(struct req *r)
{
	return db_reader(r->fs->state, &r->c.db, &r->e);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent), n;
	const struct kind *k;

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	k = node_kind(r.fs, dir);
	if (check_name(name, &r.e) == 0 && node_type(r.fs, dir) == N_COLLECTION && k->flags & K_FILE)
		err_set(&r.e, EPERM, "%s is a file, not a directory", kind_a(k));
	if (r.e.code || names_make(&r.c, dir, name, &n, &r.e) < 0 || read_again(&r) < 0) {
		req_fail(&r, dir, name);
		return;
	}
	reply_node(&r, n, dir, name);
	call_announce(&r.c);
}

/* After a removal or a rename: the answer, then the news of it. */
static void reply_ok(struct req *r)
{
	fuse_reply_err(r->req, 0);
	call_announce(&r->c);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent);

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	if (names_rmdir(&r.c, dir, name, &r.e) < 0)
		req_fail(&r, dir, name);
	else
		reply_ok(&r);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent);

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	if (names_unlink(&r.c, dir, name, &r.e) < 0)
		req_fail(&r, dir, name);
	else
		reply_ok(&r);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent), n;

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	if (names_symlink(&r.c, dir, name, target, &r.e) < 0 || read_again(&r) < 0 || node_lookup(&r.c, dir, name, &n, &r.e) < 0) {
		req_fail(&r, dir, name);
		return;
	}
	reply_node(&r, n, dir, name);
	call_announce(&r.c);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	AUTO_REQ r = { 0 };

	if (req_begin(&r, req) < 0)
		return;
	err_set(&r.e, EPERM, "hard links are not possible here; 'ln -sr' relates two objects");
	req_fail(&r, node_of(parent), name);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	AUTO_REQ r = { 0 };

	if (req_begin(&r, req) < 0)
		return;
	err_set(&r.e, EPERM, "pipes, sockets and devices cannot be made here");
	req_fail(&r, node_of(parent), name);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	AUTO_REQ r = { 0 };
	struct node n;

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	if (names_rename(&r.c, node_of(parent), name, node_of(newparent), newname, flags, &r.e) < 0)
		/* about the document, where a scratch file was to take its place */
		req_fail(&r, node_of(parent), scratch_lookup(r.fs, node_of(parent), name, &n) ? newname : name);
	else
		reply_ok(&r);
}

/* ---- open files */

static struct handle *handle_at(struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

/* Who asks: mostly the thread that opened the file or wrote to it before, of whom all is known.  writes: it is remembered as the
 * one who wrote last; an upload ends with its death, not with that of others. */
static void who_at(struct req *r, struct handle *h, bool writes)
{
	pthread_mutex_lock(&h->lock);
	if (r->tid > 0 && r->tid == h->who_tid) {
		r->who = r->c.who = h->who;
		r->c.tid = r->tid;
		r->known = true;
	}
	pthread_mutex_unlock(&h->lock);
	if (r->known)
		return;
	req_who(r);
	pthread_mutex_lock(&h->lock);
	if (writes) {
		h->who = r->who;
		h->who_tid = r->tid;
	}
	pthread_mutex_unlock(&h->lock);
}

static void open_flags(struct fs *fs, const struct handle *h, struct fuse_file_info *fi)
{
	const struct file *f = node_file(fs, h->n);
	/* opening with O_TRUNC makes the kernel's copy of a file empty until the write: what is written is not read from there */
	bool cached = h->type == H_TEXT && f && !file_is_live(f) && !node_writable(fs, h->n) && !h->n.by_id;

	fi->fh = (uintptr_t)h;
	fi->direct_io = !cached;
	fi->keep_cache = cached;
	fi->noflush = !h->writable;
	fi->nonseekable = h->type == H_WAIT || (h->type == H_TALK && h->talk->write);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	AUTO_REQ r = { 0 };
	struct node n = node_of(ino);
	struct handle *h;

	if (req_begin(&r, req) < 0)
		return;
	const struct file *f = node_file(r.fs, n);
	bool personal = (f && f->flags & F_HIDDEN && n.kind == 0) || (fi->flags & O_ACCMODE) != O_RDONLY;
	r.reads = (fi->flags & O_ACCMODE) == O_RDONLY;
	if (handle_open(&r.c, n, fi->flags, personal ? req_who(&r) : NULL, &h, &r.e) < 0) {
		req_fail(&r, n, NULL);
		return;
	}
	if (r.known) {
		h->who = r.who;
		h->who_tid = r.tid;
	}
	open_flags(r.fs, h, fi);
	if (fuse_reply_open(req, fi) == -ENOENT)	/* the caller is gone */
		handle_release(&r.c, h, &r.e);
}

/* open(O_CREAT): a key, a scratch file. */
static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	AUTO_REQ r = { 0 };
	struct node dir = node_of(parent), n;
	struct fuse_entry_param ep;
	struct handle *h;

	if (req_begin(&r, req) < 0)
		return;
	req_who(&r);
	int rc = names_create(&r.c, dir, name, fi->flags, &n, &r.e);
	if (rc == 0 && !r.c.db)
		rc = read_again(&r);
	if (rc == 0)
		rc = handle_open(&r.c, n, fi->flags | O_TRUNC, &r.who, &h, &r.e);
	if (rc == 0)
		rc = entry_for(&r, n, &ep);
	if (rc < 0) {
		req_fail(&r, dir, name);
		return;
	}
	open_flags(r.fs, h, fi);
	fuse_reply_create(req, &ep, fi);
	call_announce(&r.c);
}

static void interrupted(fuse_req_t req, void *data)
{
	waits_interrupt(fs_of(req), (uint64_t)(uintptr_t)data);
}

static void answer_wait(void *req, const struct err *e, const char *text, size_t len)
{
	if (e)
		fuse_reply_err(req, e->code);
	else
		fuse_reply_buf(req, text, len);
}

/* Only this first read waits: the answer is shorter than any buffer, and at its end the file ends. */
static void read_wait(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct fs *fs = fs_of(req);
	const struct file *f = node_file(fs, h->n);
	bool follow = f && strcmp(f->name, "events-follow") == 0;

	if (off > 0 && !follow) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	uint64_t id = waits_id(fs);
	fuse_req_interrupt_func(req, interrupted, (void *)(uintptr_t)id);
	waits_park(fs, id, h->n, h->base + off, size, answer_wait, req);
}

struct talk_read {
	fuse_req_t req;
	struct node n;
};

/* What a talk says of its failure comes when nobody calls any more: the sentence is kept from here. */
static void answer_talk(void *arg, const struct err *e, const char *text, size_t len)
{
	struct talk_read *t = arg;
	AUTO_REQ r = { 0 };

	if (!e || e->code == EINTR) {
		answer_wait(t->req, e, text, len);
	} else if (req_begin(&r, t->req) == 0) {
		r.e = *e;
		r.reads = true;
		req_fail(&r, t->n, NULL);
	}
	free(t);
}

static void read_talk(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct talk_read *t = malloc(sizeof *t);
	struct fs *fs = fs_of(req);
	uint64_t id = waits_id(fs);

	if (!t) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	*t = (struct talk_read){ req, h->n };
	fuse_req_interrupt_func(req, interrupted, (void *)(uintptr_t)id);
	waits_park_talk(fs, id, h, off, size < TALK_MAX ? size : TALK_MAX, answer_talk, t);
}

/* A descriptor's go to the kernel as they are; without one they are asked for, and a refusal has a sentence. */
static void read_bytes(fuse_req_t req, struct handle *h, size_t size, off_t off)
{
	struct fuse_bufvec v = FUSE_BUFVEC_INIT(size);
	AUTO(free) char *owned = NULL;
	AUTO_REQ r = { 0 };
	const char *buf;
	size_t len;

	if (h->fd >= 0) {
		v.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
		v.buf[0].fd = h->fd;
		v.buf[0].pos = off;
		fuse_reply_data(req, &v, 0);
		return;
	}
	r = req_bare(req);
	r.c.fs = r.fs;
	r.reads = true;
	if (handle_read(&r.c, h, off, size, &buf, &len, &owned, &r.e) < 0)
		req_fail(&r, h->n, NULL);
	else
		fuse_reply_buf(req, buf, len);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);
	AUTO(free) char *owned = NULL;
	const char *buf;
	size_t len;
	AUTO_REQ r = { 0 };

	if (h->type == H_WAIT) {
		read_wait(req, h, size, off);
		return;
	}
	if (h->type == H_TALK) {
		read_talk(req, h, size, off);
		return;
	}
	if (h->type == H_BYTES) {
		read_bytes(req, h, size, off);
		return;
	}
	uint64_t before = change_no(h->n.row);
	if (req_begin(&r, req) < 0)
		return;
	if (handle_read(&r.c, h, off, size, &buf, &len, &owned, &r.e) < 0) {
		req_fail_quietly(&r);
		return;
	}
	/* once it is answered the handle may be released */
	struct node n = h->n;
	bool text = h->type == H_TEXT, stale = text && h->change != before && !h->writable;
	fuse_reply_buf(req, buf, len);
	if (stale || (text && change_no(n.row) != before))
		notify_inode(r.fs, n);
}

struct written {
	fuse_req_t req;
	size_t n;
};

static void reply_written(void *arg)
{
	struct written *w = arg;

	fuse_reply_write(w->req, w->n);
	free(w);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);
	AUTO_REQ r = { 0 };

	if (h->type == H_SCRATCH || h->type == H_BYTES || h->type == H_TALK) {	/* bytes need no state */
		r = req_bare(req);
		r.c.fs = r.fs;
		who_at(&r, h, true);
	} else {
		if (req_begin(&r, req) < 0)
			return;
		who_at(&r, h, true);
	}
	int64_t n = handle_write(&r.c, h, buf, size, off, &r.e);
	if (n < 0) {
		req_fail(&r, h->n, NULL);
		return;
	}
	struct written *w = h->type == H_SCRATCH || h->type == H_BYTES || h->type == H_TALK || h->type == H_DOC ? NULL : malloc(sizeof *w);
	if (!w) {
		fuse_reply_write(req, (size_t)n);
		return;
	}
	*w = (struct written){ req, (size_t)n };
	if (refusal_clear(r.fs, about(r.fs, h->n)))	/* the last command did not fail */
		change_note(r.fs, about(r.fs, h->n));
	call_end(&r.c);
	r.c = (struct call){ 0 };
	notify_reply(r.fs, reply_written, w);
}

static void reply_flushed(void *req)
{
	fuse_reply_err(req, 0);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);
	AUTO_REQ r = { 0 };

	if (!h->writable || h->type == H_SCRATCH || (h->type == H_TEXT && (h->n.file != NF_OBJECT || !h->written))) {
		fuse_reply_err(req, 0);
		return;
	}
	if (req_begin(&r, req) < 0)
		return;
	who_at(&r, h, false);
	if (handle_flush(&r.c, h, r.tid, &r.e) < 0) {
		req_fail(&r, h->n, NULL);
		return;
	}
	call_end(&r.c);
	r.c = (struct call){ 0 };
	notify_reply(r.fs, reply_flushed, req);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);
	struct node n = h->n;
	AUTO_REQ r = { 0 };

	if (req_begin(&r, req) < 0)
		return;
	if (h->writable)
		who_at(&r, h, false);
	if (handle_release(&r.c, h, &r.e) < 0)
		keep_refusal(&r, n, NULL);
	fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);

	fuse_reply_err(req, h->type == H_BYTES && h->fd >= 0 && fsync(h->fd) < 0 ? errno : 0);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);		/* what was answered is durable */
}

/* The kernel asks for holes only.  Those of an image's data are its file's. */
static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi)
{
	struct handle *h = handle_at(fi);
	struct node_attr a = { 0 };
	AUTO_REQ r = { 0 };

	if (h->type == H_BYTES) {
		struct err e = { 0 };
		int64_t at = h->fd < 0 ? handle_seek(fs_of(req), h, off, whence, &e) : lseek(h->fd, off, whence);

		if (at < 0)
			fuse_reply_err(req, e.code ? e.code : errno);
		else
			fuse_reply_lseek(req, at);
		return;
	}
	if (req_begin(&r, req) < 0)
		return;
	if (node_attr(&r.c, h->n, NULL, &a, &r.e) < 0)
		req_fail_quietly(&r);
	else if (off < 0 || (uint64_t)off >= a.size)
		fuse_reply_err(req, ENXIO);
	else
		fuse_reply_lseek(req, whence == SEEK_HOLE ? (off_t)a.size : off);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EOPNOTSUPP);
}

/* The kernel copies by reading and writing then. */
static void op_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t len, int flags)
{
	if (node_files(fs_of(req), node_of(in)) && node_files(fs_of(req), node_of(out)))
		files_copy(req, in, off_in, fi_in, out, off_out, fi_out, len, flags);
	else
		fuse_reply_err(req, EOPNOTSUPP);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	if (statvfs(fs_of(req)->store, &st) < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_statfs(req, &st);
}

/* ---- extended attributes: control files have none, which is said without a look at anything.  To say ENOSYS would spare two requests for
 * each entry of ls -l, and take them from ordinary files too. */

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	fuse_reply_err(req, strncmp(name, "system.", 7) == 0 ? EOPNOTSUPP : ENODATA);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	if (size)
		fuse_reply_buf(req, NULL, 0);
	else
		fuse_reply_xattr(req, 0);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	fuse_reply_err(req, EOPNOTSUPP);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, strncmp(name, "system.", 7) == 0 ? EOPNOTSUPP : ENODATA);
}

/* What root may not do to a file is to execute it where nobody may: test -x, find -executable and tab completion ask. */
static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	fuse_reply_err(req, mask & X_OK && !node_is_dir(fs_of(req), node_of(ino)) ? EACCES : 0);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	/* HANDLE_KILLPRIV: that chown takes set-user-ID away is left to the kernel, which asks for it */
	conn->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE | FUSE_CAP_HANDLE_KILLPRIV);
	/* AUTO_INVAL_DATA: a listing that was on its way while its directory changed is found out by the directory's mtime */
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_AUTO_INVAL_DATA |
					FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->max_write = MAX_WRITE;
	conn->max_readahead = READAHEAD;
}

static bool is_files(fuse_req_t req, fuse_ino_t ino)
{
	return node_files(fs_of(req), node_of(ino)) != NULL;
}

/* Each operation with its time, by the node `of` to the tree's or to that on ordinary files. */
#define TIMED(op, kind, of, params, args) static void timed_##op params \
	{ \
		int64_t began = measure_now(); \
		if (of) \
			files_##op args; \
		else \
			op_##op args; \
		measure_request(kind, began); \
	}
TIMED(lookup, RQ_LOOKUP, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent, name))
TIMED(getattr, RQ_GETATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
TIMED(setattr, RQ_SETATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi), (req, ino, st, to_set, fi))
TIMED(readlink, RQ_READLINK, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino), (req, ino))
TIMED(opendir, RQ_OPENDIR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
TIMED(readdir, RQ_READDIR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), (req, ino, size, off, fi))
TIMED(readdirplus, RQ_READDIRPLUS, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), (req, ino, size, off, fi))
TIMED(mkdir, RQ_MKDIR, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode), (req, parent, name, mode))
TIMED(rmdir, RQ_RMDIR, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent, name))
TIMED(unlink, RQ_UNLINK, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name), (req, parent, name))
TIMED(symlink, RQ_SYMLINK, is_files(req, parent), (fuse_req_t req, const char *target, fuse_ino_t parent, const char *name), (req, target, parent, name))
TIMED(link, RQ_LINK, is_files(req, parent), (fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name), (req, ino, parent, name))
TIMED(mknod, RQ_MKNOD, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev), (req, parent, name, mode, rdev))
TIMED(rename, RQ_RENAME, is_files(req, parent) || is_files(req, newparent), (fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags), (req, parent, name, newparent, newname, flags))
TIMED(open, RQ_OPEN, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
TIMED(create, RQ_CREATE, is_files(req, parent), (fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi), (req, parent, name, mode, fi))
TIMED(read, RQ_READ, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi), (req, ino, size, off, fi))
TIMED(write, RQ_WRITE, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi), (req, ino, buf, size, off, fi))
TIMED(flush, RQ_FLUSH, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
TIMED(release, RQ_RELEASE, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi), (req, ino, fi))
TIMED(fsync, RQ_FSYNC, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi), (req, ino, datasync, fi))
TIMED(fsyncdir, RQ_FSYNCDIR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi), (req, ino, datasync, fi))
TIMED(lseek, RQ_LSEEK, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi), (req, ino, off, whence, fi))
TIMED(fallocate, RQ_FALLOCATE, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len, struct fuse_file_info *fi), (req, ino, mode, off, len, fi))
TIMED(getxattr, RQ_GETXATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, const char *name, size_t size), (req, ino, name, size))
TIMED(listxattr, RQ_LISTXATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, size_t size), (req, ino, size))
TIMED(setxattr, RQ_SETXATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags), (req, ino, name, value, size, flags))
TIMED(removexattr, RQ_REMOVEXATTR, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, const char *name), (req, ino, name))
TIMED(access, RQ_ACCESS, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino, int mask), (req, ino, mask))
TIMED(statfs, RQ_STATFS, is_files(req, ino), (fuse_req_t req, fuse_ino_t ino), (req, ino))

static void timed_copy_file_range(fuse_req_t req, fuse_ino_t in, off_t off_in, struct fuse_file_info *fi_in, fuse_ino_t out, off_t off_out,
				  struct fuse_file_info *fi_out, size_t len, int flags)
{
	int64_t began = measure_now();

	op_copy_file_range(req, in, off_in, fi_in, out, off_out, fi_out, len, flags);
	measure_request(RQ_COPY, began);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .copy_file_range = timed_copy_file_range,
#define OP(op) .op = timed_##op
	OP(lookup), OP(getattr), OP(setattr), OP(readlink), OP(opendir), OP(readdir), OP(readdirplus), OP(mkdir), OP(rmdir), OP(unlink),
	OP(symlink), OP(link), OP(mknod), OP(rename), OP(open), OP(create), OP(read), OP(write), OP(flush), OP(release), OP(fsync),
	OP(fsyncdir), OP(lseek), OP(fallocate), OP(getxattr), OP(listxattr), OP(setxattr), OP(removexattr), OP(access), OP(statfs),
};

/* ---- the session */

static void send_inode(void *arg, uint64_t ino)
{
	fuse_lowlevel_notify_inval_inode(arg, ino, 0, 0);
}

static void send_entry(void *arg, uint64_t dir, const char *name)
{
	fuse_lowlevel_notify_inval_entry(arg, dir, name, strlen(name));
}

static const struct notify_ops notify_ops = { send_inode, send_entry };

/* What libfuse says goes to our log; that it found nothing to unmount after a umount is the ordinary end. */
static void log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
	char text[512];

	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	if (*text && !strstr(text, "failed to unmount"))
		log_line(level <= FUSE_LOG_ERR ? LOG_ERROR : level <= FUSE_LOG_WARNING ? LOG_WARN : LOG_DEBUG, "%s", text);
}

/* The kernel begins with 128 KiB, and init can only lower that.  Without /sys it stays so. */
static void set_readahead(const char *mountpoint)
{
	AUTO(fclose) FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO(free) char *line = NULL;
	char dev[32], at[4096], path[64] = "";
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0)
		if (strstr(line, " - fuse.cirrusfs ") && sscanf(line, "%*s %*s %31s %*s %4095s", dev, at) == 2 && strcmp(at, mountpoint) == 0)
			snprintf(path, sizeof path, "/sys/class/bdi/%s/read_ahead_kb", dev);
	AUTO(fclose) FILE *set = *path ? fopen(path, "we") : NULL;
	if (set)
		fprintf(set, "%d\n", READAHEAD / 1024);
}

int server_mount(struct fs *fs, const char *opts, struct server **ret, struct err *e)
{
	AUTO(free) struct server *s = calloc(1, sizeof *s);
	AUTO(free) char *fsname = NULL;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);

	if (!s || asprintf(&fsname, "fsname=%s,subtype=cirrusfs%s%s", fs->store, opts && *opts ? "," : "", opts ? opts : "") < 0)
		return err_set(e, ENOMEM, "%m");
	s->fs = fs;
	node_files_init(fs);
	fuse_set_log_func(log_fuse);
	fuse_opt_add_arg(&args, "cirrusfs");
	fuse_opt_add_arg(&args, "-o");
	fuse_opt_add_arg(&args, fsname);
	s->se = fuse_session_new(&args, &ops, sizeof ops, s);
	fuse_opt_free_args(&args);
	if (!s->se)
		return err_set(e, EINVAL, "the mount options '%s' were not understood", opts ? opts : "");
	if (fuse_set_signal_handlers(s->se) < 0 || fuse_session_mount(s->se, fs->mountpoint) < 0) {
		fuse_session_destroy(s->se);
		return err_set(e, EIO, "mount %s: %s", fs->mountpoint, access("/dev/fuse", R_OK | W_OK) == 0 ? "the kernel refused" :
			       "/dev/fuse cannot be opened");
	}
	notify_attach(fs, &notify_ops, s->se);
	set_readahead(fs->mountpoint);
	*ret = steal_ptr(&s);
	return 0;
}

int server_run(struct server *s, struct err *e)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	fuse_loop_cfg_set_clone_fd(config, 0);
	fuse_loop_cfg_set_max_threads(config, THREADS);
	rc = fuse_session_loop_mt(s->se, config);
	fuse_loop_cfg_destroy(config);
	notify_attach(s->fs, NULL, NULL);
	waits_end(s->fs);
	files_end(s->fs);
	fuse_session_unmount(s->se);
	return rc < 0 ? err_set(e, -rc, "serve: %m") : 0;
}

void server_free(struct server *s)
{
	fuse_remove_signal_handlers(s->se);
	fuse_session_destroy(s->se);
	free(s);
}
