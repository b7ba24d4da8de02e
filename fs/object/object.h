/* Containers, and what of the object store the rest of the cloud is shown.  files.c is their objects/ as a directory. */
#pragma once

#include "../../backends/object/objects.h"
#include "../cloud.h"
#include "../tree/files.h"

extern const struct files object_files;

/* EIO while the store could not be opened. */
struct objects *objects_of(struct fs *fs, struct err *e);
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
int containers_check(struct check *k, struct err *e);
