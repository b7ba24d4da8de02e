/* Images' data in the object store (store.c), and the files servers' disks stand on (cache.c), which are made from it. */
#pragma once

#include "../../backends/object/objects.h"
#include "image.h"

AUTO_FN(struct object *, object_close);

/* True: what takes long is to leave off. */
typedef bool image_over_fn(void *arg);

/* 1 and its bytes: all of its data is there; 0: it is not; EIO: the object store is not open. */
int image_stored(struct fs *fs, int64_t image, int64_t *bytes, struct err *e);
/* For reading; ENOENT. */
int image_open(struct fs *fs, int64_t image, struct object **ret, struct err *e);
/* The file's bytes become its data, in place of what there is; durable when it returns.  1: over said so, and nothing was done. */
int image_put(struct fs *fs, int64_t image, const char *from, image_over_fn *over, void *arg, struct err *e);
int image_drop(struct fs *fs, int64_t image, struct err *e);	/* durable as well; not there: 0 */
/* Its bytes from `at` on into a file that ends there; holes stay holes.  1: over said so, and the file ends where it is to go on. */
int image_get(struct object *o, int64_t at, int64_t size, int fd, image_over_fn *over, void *arg, struct err *e);
/* EBADMSG: a chunk of it is damaged. */
int image_md5(struct fs *fs, int64_t image, char hex[33], struct err *e);
/* fn with the name of each: a row, or ROW.part, what a crash left on its way. */
typedef int image_name_fn(void *arg, const char *name, struct err *e);
int images_stored(struct fs *fs, image_name_fn *fn, void *arg, struct err *e);
bool image_part_name(const char *name);
void images_drop_parts(struct cloud *cl);

/* ---- base files: STORE/images/ROW.img */

/* Who makes, moves or removes an image's data or base file holds it meanwhile.  0: somebody else does. */
int64_t image_hold(int64_t image);
void image_release(int64_t image);
static inline void auto_image_release(int64_t *held)
{
	if (*held)
		image_release(*held);
}

/* Readable by the guests' user and nobody else; on disk before anything refers to it. */
int base_settle(struct cloud *cl, const char *from, const char *to, struct err *e);
/* Writes it anew from the object store, or goes on with that.  The image is held.  1: over said so. */
int base_make(struct fs *fs, int64_t image, image_over_fn *over, void *arg, struct err *e);
/* Does a server's disk stand on it?  disks: one that is there; else also one that may come to be any moment. */
int base_in_use(struct fs *fs, int64_t image, bool disks, bool *ret, struct err *e);
/* It is made anew when it is needed.  EBUSY while it is in use; disks as above: for who knows that no disk is being made. */
int base_forget(struct fs *fs, int64_t image, bool disks, struct err *e);
