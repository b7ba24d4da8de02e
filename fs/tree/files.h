/* Directories of ordinary files inside the tree: a container's objects/.  A line of a kind's table with F_DIR and `files` is the top of such
 * a directory; what is below it are nodes of NK_FILES, named by a number of the service's own (46 bits, never used again) and served through
 * the table below.  The machine does what is FUSE's: inode numbers, caching, parking, sentences for last-error; names, attributes and bytes
 * are the service's.
 *
 * All functions: 0 (or what they say) or -errno with a sentence, from any thread, several at once.  They may block for the time a disk
 * takes, for longer only where it is said.  Of `who` only uid and gid are filled in: /proc is not read for every file made.  The machine has checked that a name has 1..255 bytes, no '/', is not "." or ".." and is valid UTF-8. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>

#include "../../backends/base/err.h"

struct fs;
struct who;

struct fattr {
	int64_t no;		/* the file's number; 0 never */
	mode_t mode;		/* with its type: S_IFREG, S_IFDIR, S_IFLNK */
	uid_t uid;
	gid_t gid;
	uint64_t size, used;	/* bytes; used: on disk, for st_blocks */
	int64_t mtime, ctime;	/* nanoseconds since 1970 */
	bool gone;		/* it has no name any more, and is open still */
	bool live;		/* changes without being told: never cached by the kernel */
};

struct fopened {
	void *h;		/* the service's handle, until release */
	bool direct;		/* not through the kernel's page cache */
	bool keep;		/* what the kernel has cached of it is still true */
	bool flush;		/* it wants to be told of each close(2), though nothing reads through it */
};

typedef int files_fn(void *arg, const char *name, const struct fattr *a, int64_t offset);
/* For an answer that comes later: from any thread, once.  e NULL: value. */
typedef void files_done(void *arg, const struct err *e, const void *value, size_t len);

/* Which members of a struct stat are to be set; FUSE's numbers. */
enum fset { FSET_MODE = 1, FSET_UID = 2, FSET_GID = 4, FSET_SIZE = 8, FSET_MTIME = 32 };

struct files {
	bool live;	/* names come and go without a request: the kernel keeps none of them, nor attributes */
	uint8_t no;	/* in inode numbers (the node's `file`): unique among all such tables, never used for another; 1..255 */
	/* The number of the top directory of that object (a row of the state). */
	int (*top)(struct fs *fs, int64_t object, int64_t *ret, struct err *e);
	/* Which object of the state it belongs to, and its path below the top ("photos/a.jpg"), for sentences. */
	int (*path)(struct fs *fs, int64_t no, int64_t *object, char *ret, size_t size, struct err *e);
	int (*lookup)(struct fs *fs, int64_t dir, const char *name, struct fattr *ret, struct err *e);	/* ENOENT */
	int (*attr)(struct fs *fs, int64_t no, struct fattr *ret, struct err *e);
	/* to_set: FSET_ bits, others are to be ignored; "now" is filled in.  h: the handle it came through, or NULL. */
	int (*set)(struct fs *fs, int64_t no, void *h, const struct stat *st, unsigned to_set, struct fattr *ret, struct err *e);
	/* fn for each entry with an offset > after, in the order of offsets (>= 3), until it returns non-zero; offsets are stable. */
	int (*list)(struct fs *fs, int64_t dir, int64_t after, files_fn *fn, void *arg, struct err *e);
	int (*mkdir)(struct fs *fs, int64_t dir, const char *name, mode_t mode, const struct who *w, struct fattr *ret, struct err *e);
	int (*symlink)(struct fs *fs, int64_t dir, const char *name, const char *target, const struct who *w, struct fattr *ret, struct err *e);
	int (*readlink)(struct fs *fs, int64_t no, char *ret, size_t size, struct err *e);	/* NUL-terminated */
	int (*remove)(struct fs *fs, int64_t dir, const char *name, bool is_dir, struct err *e);	/* unlink, rmdir */
	int (*rename)(struct fs *fs, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags, struct err *e);
	/* A file of another such table comes here; NULL, or EXDEV: it is copied. */
	int (*take)(struct fs *fs, const struct files *from, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags,
		    struct err *e);
	/* Makes a file that is not there yet (EEXIST) and opens it. */
	int (*create)(struct fs *fs, int64_t dir, const char *name, int flags, mode_t mode, const struct who *w, struct fattr *ret, struct fopened *o,
		      struct err *e);
	int (*open)(struct fs *fs, int64_t no, int flags, struct fopened *ret, struct err *e);	/* O_TRUNC is done here */
	int64_t (*read)(void *h, char *buf, size_t size, int64_t off, struct err *e);	/* bytes; short only at the end */
	int64_t (*write)(void *h, const char *buf, size_t size, int64_t off, bool append, struct err *e);
	int (*fsync)(void *h, struct err *e);		/* durable when it returns; shares its sync with others */
	int (*sync_dir)(struct fs *fs, int64_t dir, struct err *e);
	int (*flush)(void *h, struct err *e);		/* at each close(2) of a descriptor */
	void (*release)(void *h);
	/* Between files of all tables that have the same. */
	int64_t (*copy)(void *in, int64_t off_in, void *out, int64_t off_out, size_t len, struct err *e);
	int64_t (*seek)(void *h, int64_t off, int whence, struct err *e);	/* SEEK_DATA, SEEK_HOLE; ENXIO */
	int (*allocate)(void *h, int mode, int64_t off, int64_t len, struct err *e);
	/* Like the system calls: size 0 asks for the length; ERANGE, ENODATA; only names of user.*.  XATTR_LATER: the answer comes through done (done
	 * NULL: ask again without waiting, ENODATA); *ticket names it for xattr_forget. */
#define XATTR_LATER INT64_MAX
	int64_t (*getxattr)(struct fs *fs, int64_t no, const char *name, char *buf, size_t size, files_done *done, void *arg, uint64_t *ticket,
			    struct err *e);
	/* A caller that waits was interrupted: its done is called with EINTR unless it was called already. */
	void (*xattr_forget)(struct fs *fs, uint64_t ticket);
	int64_t (*listxattr)(struct fs *fs, int64_t no, char *buf, size_t size, struct err *e);
	int (*setxattr)(struct fs *fs, int64_t no, const char *name, const char *value, size_t size, int flags, struct err *e);
	int (*removexattr)(struct fs *fs, int64_t no, const char *name, struct err *e);
	/* Bytes and files, used and left: st holds the disk's and is lowered to what quotas leave; NULL: the disk's. */
	int (*statfs)(struct fs *fs, int64_t no, struct statvfs *st, struct err *e);
};

/* What the kernel may have cached of it is old: its attributes and bytes (off 0, len 0: all).  From any thread, not inside a lock that an operation takes. */
void files_changed(struct fs *fs, const struct files *f, int64_t no);
/* A name in that directory came, went or means another file, and not by a request of the kernel's.  top: the object, where dir is its top. */
void files_renamed(struct fs *fs, const struct files *f, int64_t dir, int64_t top, const char *name);
