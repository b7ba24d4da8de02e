/* Images, as servers use them. */
#pragma once

#include "../cloud.h"

/* In a step: the file servers' disks stand on, by a path the guests' user can walk, and its format.  It is made from the object store when it is
 * not there, which may take long.  1: somebody is at it, or nobody waits for it any more. */
int image_base(struct task *t, int64_t image, char *path, size_t size, char format[16], struct err *e);
/* The same for a disk that stands on it already. */
int image_base_again(struct task *t, int64_t image, struct err *e);
/* Its virtual size, rounded up to GiB. */
int image_virtual_gib(struct call *c, const struct obj *image, int64_t *ret, struct err *e);

/* ---- shared by the files of this directory */

/* STORE/images/ROW and the suffix, by the path guests' user can walk. */
void image_path(struct cloud *cl, int64_t image, const char *suffix, char *ret, size_t size);
/* At start, before anybody can upload. */
void uploads_sweep(struct cloud *cl);
/* Before an image's data comes: what a task that was given up left is not taken for it. */
void image_begin_anew(struct cloud *cl, int64_t image);
/* The thread that looks after base files (cache.c); the object store is open. */
int bases_start(struct cloud *cl, struct err *e);
void bases_stop(struct cloud *cl);
/* A download is ours from here; parts nobody waits for go. */
int images_start(struct cloud *cl, struct err *e);
void images_stop(struct cloud *cl);
void image_sweep(struct fs *fs);
/* Bytes an import has brought, -1 when there is none. */
int64_t image_import_have(struct fs *fs, int64_t image);
/* Nothing is fetched for it any more. */
void image_import_leave(struct fs *fs, int64_t image);

show_fn image_show_url;
store_fn image_store_url;
int image_create(struct call *c, struct obj *o, const struct args *a, struct err *e);
int image_import_begin(struct call *c, struct obj *o, const struct args *a, struct err *e);
int image_step_fetch(struct task *t, struct err *e);
int images_check(struct check *k, struct err *e);
/* The object store found what of it is damaged. */
void image_damaged(struct check *k, int64_t id, const char *wrong);
