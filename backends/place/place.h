/* Where files live that never change (packs, their indexes): a directory, a bucket of an S3 service, a container of a Swift; a bounded cache
 * of local blocks before the latter two.  Settings and behaviour in plain words: docs/objects-remote.md.
 *
 * A name is used for one content, for ever.  Names are 1..PLACE_NAME_MAX of A-Za-z0-9._- and begin with none of . and -; other files in the
 * same place are not seen and not touched.
 *
 * Any thread, several at once.  0 or -errno with a sentence.  A server that is not there or not well is asked again for a while, then it is
 * EIO.  EACCES: it refuses us.  ENOSPC: it is full, or a quota is.  EBADMSG: what it has is not what was put. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/auto.h"
#include "../base/err.h"

#define PLACE_NAME_MAX 200

struct place;

struct place_conf {		/* strings: copied; NULL is "" */
	const char *kind;	/* "local" "s3" "swift" */
	const char *url;	/* local: the directory, made when it is not there; s3: the service; swift: where it authenticates, .../auth/v1.0 or .../v3 */
	const char *bucket;	/* or container; it exists */
	const char *prefix;	/* "cloud1/": what all names begin with there */
	const char *region;	/* s3: "": us-east-1.  swift with Keystone: which of several; "": the first */
	const char *key;	/* s3: the access key's id; swift: ACCOUNT:USER or PROJECT:USER */
	const char *domain;	/* Keystone: of project and user; "": Default */
	const char *secret_file;	/* holds the secret, alone in its first line; only its owner and group may read it */
	const char *ca;		/* certificates trusted instead of the system's; "": the system's */
	bool virtual_host;	/* s3: the bucket is a part of the host's name, else of the path */
	const char *cache_dir;	/* s3, swift; "": no cache */
	uint64_t cache_bytes;
	const _Atomic bool *stop;	/* or NULL; once it is true s3 and swift give up what they are at, EIO */
	const char *faults;	/* for tests (../base/fault.h); OP = put get size delete list check; WHOM = kind */
	/* 0: the usual */
	unsigned connect_s, stall_s;	/* 10; 30: seconds without 1 KiB of progress */
	unsigned retries, retry_ms;	/* 6; 200, doubled each time, at most 20 s */
	uint64_t part_bytes;		/* s3: what is longer is put in parts of that; 64 MiB */
	unsigned page;			/* names a page of a list; as the server likes */
};

/* EINVAL: a setting is wrong.  Asks no server: place_check does. */
int place_open(const struct place_conf *c, struct place **ret, struct err *e);
void place_close(struct place *p);
AUTO_FN(struct place *, place_close);

/* EINVAL as place_open would, and what else it would say of settings; nothing is made or asked. */
int place_valid(const struct place_conf *c, struct err *e);

/* Is the place there, and are we let in? */
int place_check(struct place *p, struct err *e);

/* The first `size` bytes of fd (its position is neither used nor moved), as name.  They are durable and seen by everyone when it returns; until then
 * nothing of them is.  Doing it again is the same as once; after a failure it may be there or not. */
int place_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e);

/* len > 0 bytes from off, exactly.  ENOENT; EBADMSG when it ends before. */
int place_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e);

int place_size(struct place *p, const char *name, uint64_t *ret, struct err *e);	/* ENOENT */

/* Not there: 0. */
int place_delete(struct place *p, const char *name, struct err *e);

/* fn for each name that begins with `begin`, each once, in no order, until fn returns non-zero, which is returned (and e is fn's).  A Swift's list may
 * be some seconds behind what was put and deleted; the others' are exact. */
typedef int place_fn(void *arg, const char *name, uint64_t size);
int place_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e);

/* What was got of it was wrong (a checksum inside says so): the next get asks the server, not a cache. */
void place_forget(struct place *p, const char *name);

/* 1: *ret is a descriptor to read it by, the caller's to close; 0: this place has none, place_get is the way.  ENOENT. */
int place_fd(struct place *p, const char *name, int *ret, struct err *e);

/* What a cache did since the place was opened; zeros without one. */
struct place_cache_stats {
	uint64_t hits, misses, bytes, dropped;	/* blocks found, downloaded; bytes held; blocks that were damaged */
};
void place_cache_stats(struct place *p, struct place_cache_stats *ret);
