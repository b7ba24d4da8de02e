/* Containers, and what of the object store the rest of the cloud is shown.  files.c is their objects/ as a directory. */
#pragma once

#include "../../backends/object/objects.h"
#include "../cloud.h"
#include "../tree/files.h"

extern const struct files object_files, version_files;

/* What is shared by both: an open file of theirs. */
struct object_file {
	struct fs *fs;
	struct object *o;	/* NULL: empty for ever (versions.c) */
	int64_t no;
	bool direct;
};
int64_t object_file_read(void *h, char *buf, size_t size, int64_t off, struct err *e);
int64_t object_file_seek(void *h, int64_t off, int whence, struct err *e);
int64_t object_file_copy(void *in, int64_t off_in, void *out, int64_t off_out, size_t len, struct err *e);
void object_file_release(void *h);
/* A version is moved into objects/ (files.h: take). */
int versions_give(struct fs *fs, const struct files *from, int64_t dir, const char *name, int64_t newdir, const char *newname, unsigned flags,
		  struct err *e);

/* The space of images' data, which is no container: rows of the state are above 0, so none is ever called so.  Its tenant is 0, which is
 * nobody: what is in it counts in no quota.  fs/image/store.c keeps it. */
#define IMAGES_SPACE (-1)

/* EIO while the store could not be opened. */
struct objects *objects_of(struct fs *fs, struct err *e);
/* Are the settings of objects' place good ones?  EINVAL, by key. */
int containers_settings(const struct config *c, struct err *e);
int containers_open(struct cloud *cl, bool check, struct objects **ret, struct err *e);
/* Opens STORE/objects, and tells it of containers and tenants what the state says.  What fails is a line in health: the rest of the cloud works. */
void containers_start(struct cloud *cl);
void containers_stop(struct cloud *cl);
void containers_health(struct cloud *cl, FILE *out);
void containers_metrics(struct fs *fs, FILE *out);
/* fs->committed: quotas and settings of what was changed are told to the store. */
void containers_committed(struct fs *fs, const struct change *ch, size_t n);

/* A tenant's usage/object-bytes and usage/objects; `logical`, `stored` and `dedup-ratio` of containers, tenants and the cloud. */
int objects_show_usage(struct call *c, const struct obj *o, FILE *out, struct err *e);
int objects_show_logical(struct call *c, const struct obj *o, FILE *out, struct err *e);
int objects_show_stored(struct call *c, const struct obj *o, FILE *out, struct err *e);
int objects_show_ratio(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* What a container answers as listing and listing.json. */
int container_show_listing(struct call *c, const struct obj *o, FILE *out, struct err *e);

/* "  .r:* , proj:user" as Swift keeps it; EINVAL names what is wrong.  The caller frees. */
int acl_clean(const char *text, bool write, char **ret, struct err *e);
/* fsck: the object store is open between these, for those who check what they have in it. */
void objects_check_begin(struct check *k);
void objects_check_end(struct check *k);
int containers_check(struct check *k, struct err *e);
