/* Shared by chunks.c (where they are, reading), put.c (storing) and record.c (into the index), and look.c: what is known of chunks in memory. */
#pragma once

#include "core.h"

#define TABLE 16384		/* slots of the tables of what is pending; chains are short */
#define PLACES 16384		/* of chunks in the index, remembered */
#define CACHE 32		/* chunks read last, as plain bytes */

/* Appended to a pack, or small and kept here, and without a row in the index yet. */
struct pending {
	struct where w;
	uint64_t no;
	unsigned char *data;		/* its stored bytes, when it goes into the index itself */
	unsigned char sha[DIGEST];
	bool has_sha;
	bool moved;			/* it has a row, which is to say its new place */
	bool in_tx, lost;		/* that is written, but not committed; it gets none */
	struct pending *by_id, *by_hash, *next;
};

struct cached {
	int64_t id;
	uint32_t len;
	unsigned users;
	uint64_t used;
	unsigned char *data;
};

struct chunks {
	pthread_rwlock_t storing;	/* held for reading from the append to a pack until it is pending */
	pthread_mutex_t lock;
	struct pending *by_id[TABLE], *by_hash[TABLE], *first, **last;
	size_t n_pending;
	uint64_t no;			/* of the last one appended */
	struct where places[PLACES];
	struct cached cache[CACHE];
	uint64_t tick;
};

/* The chunks' lock is held. */
struct pending *pending_by_id(struct chunks *cs, int64_t id);
void pending_free(struct pending *p);

#define WHERE_COLUMNS "id, h, h2, len, pack, at, stored, bad"
void where_read(struct stmt *s, struct where *w);
/* The index is begun.  EBADMSG: it has no row. */
int where_row(struct objects *os, int64_t id, struct where *ret, struct err *e);

/* As tests want it: some bits of it only. */
XXH128_hash_t chunk_hash(struct objects *os, const void *data, size_t len);
/* Its bytes, from wherever it is; verified, or only read. */
int chunk_read(struct objects *os, const struct where *w, void *buf, bool verify, struct err *e);
