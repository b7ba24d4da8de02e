/* Shared by the files that keep chunks and contents: index.c commit.c pack.c placed.c mover.c chunks.c object.c sweep.c store.c. */
#pragma once

#include <stdatomic.h>
#include <xxhash.h>

#include "chunker.h"
#include "manifest.h"
#include "parts.h"

#define CHUNK_MIN 4096
#define CHUNK_AVG 16384
#define CHUNK_MAX 262144	/* of any store; this one's: */
#define CHUNK_LARGEST 65536
#define FRESH_MAX 32768		/* chunks up to this are kept in the index until they are packed, when somebody waits for them to be durable */
#define DIRTY_MAX (24u << 20)	/* written and not yet in chunks, all objects together: beyond it writers wait */
#define LOW_ROOM (24 << 20)	/* bytes of the disk that are left for removing things, of a small disk a sixteenth */

struct where {			/* a stored chunk */
	int64_t id, h, h2;
	uint32_t len;
	int64_t pack;		/* 0: in the index itself */
	int64_t at;
	uint32_t stored;	/* bytes of its record's payload; less than len: compressed */
	bool bad;
};

/* ---- packs in the place (placed.c).  The lock is a leaf, below the packs' own; it is not held while the place is asked. */
#define PLACED_NAME 48
struct placed;
struct place_conf;
/* c NULL: none.  direct: it is read past any cache, by one reader. */
int placed_open(const struct place_conf *c, bool direct, struct placed **ret, struct err *e);
void placed_close(struct placed *pl);
void placed_seed(struct placed *pl, uint64_t seed);	/* before anything else */
bool placed_used(const struct placed *pl);	/* there is a place ... */
bool placed_remote(const struct placed *pl);	/* ... and reading it is asking a server */
const char *placed_words(const struct placed *pl);	/* which one, for people */
enum placed_state { PLACED_NOT, PLACED_PERHAPS, PLACED_WHOLE };
/* A pack has that name there.  whole: it is read there, before it is looked for here. */
int placed_set(struct placed *pl, int64_t pack, const char *name, bool whole, struct err *e);
void placed_drop(struct placed *pl, int64_t pack);
enum placed_state placed_find(struct placed *pl, int64_t pack, char name[PLACED_NAME]);
int64_t placed_next(struct placed *pl, int64_t after);	/* of those that are whole there; 0: no more */
bool placed_knows(struct placed *pl, const char *name);
/* A pack is moved or emptied by one at a time, the sweep or the mover.  0: none any more. */
bool placed_claim(struct placed *pl, bool mover, int64_t pack);
/* A pack that is neither here nor known to be there may be there under a name that the index does not have. */
void placed_unsure(struct placed *pl, bool unsure);
/* EBADMSG: it is not there, or not what it was; all else: the place cannot be asked. */
int placed_read(struct placed *pl, const char *name, void *buf, size_t len, int64_t at, struct err *e);
int placed_size(struct placed *pl, const char *name, int64_t *ret, struct err *e);
int placed_fd(struct placed *pl, const char *name, int *ret, struct err *e);	/* as place_fd */
int placed_missing(struct placed *pl, int64_t pack, struct err *e);	/* what is said of it */
void placed_doubt(struct placed *pl, int64_t pack);	/* what a cache has of it may be wrong */
bool placed_away(struct placed *pl);	/* it could not be asked, a moment ago */
int placed_put(struct placed *pl, const char *name, int fd, int64_t size, struct err *e);
int placed_delete(struct placed *pl, const char *name, struct err *e);
int placed_check(struct placed *pl, struct err *e);	/* does it let us in? */
/* Is it this store's?  any: packs of it are there; else it is made so. */
int placed_ours(struct placed *pl, bool any, struct err *e);
typedef int placed_name_fn(void *arg, const char *name, int64_t pack, int64_t size);
int placed_list(struct placed *pl, placed_name_fn *fn, void *arg, struct err *e);
void placed_stats(struct placed *pl, struct objects_place *ret);

/* ---- packs (pack.c): files of records, appended to and never changed.  Formats: docs/objects.md. */
struct packs;
int packs_open(const char *dir, struct packs **ret, struct err *e);
void packs_close(struct packs *p);
struct record {			/* one chunk to append */
	struct where w;		/* id, h, h2, len, stored; pack and at are filled in */
	const void *data;	/* stored bytes */
};
/* Appends them in one go.  Not durable yet. */
int packs_append(struct packs *p, struct record *r, size_t n, struct err *e);
/* Packs that are not here are looked for there; borrowed. */
void packs_use(struct packs *p, struct placed *pl);
/* It is read by asking a server. */
bool packs_far(struct packs *p, int64_t pack);
/* Numbers up to this are taken. */
void packs_taken(struct packs *p, int64_t last);
int64_t packs_number(struct packs *p);	/* one more, for a pack that is not appended to */
int64_t packs_full_size(struct packs *p);	/* about as large as they get */
/* Its file here, to be read; ENOENT. */
int packs_file(struct packs *p, int64_t pack, int *ret, int64_t *size, struct err *e);
/* 1: its file is here, as ours or under its name in the place (rename: then it is made ours); 0 it is not. */
int packs_home(struct packs *p, int64_t pack, const char *place_name, bool rename, struct err *e);
/* What was appended before is durable when it returns. */
int packs_sync(struct packs *p, struct err *e);
int sync_failed(int why, struct err *e);	/* EIO: what every writer is told from then on */
int packs_sync_errno(struct packs *p);	/* why one failed; from then on all do */
/* Its stored bytes, w->stored of them; EBADMSG: the file ends before. */
int packs_read(struct packs *p, const struct where *w, void *buf, struct err *e);
/* Is all of its record there but the stored bytes: the head, and the zeros behind?  In doubt it is. */
bool packs_sound(struct packs *p, const struct where *w);
/* The pack that is appended to now: not to be compacted. */
int64_t packs_current(struct packs *p);
int packs_remove(struct packs *p, int64_t pack, struct err *e);	/* the file here */
/* Gives the disk back what is between; reads as zeros from now on. */
int packs_punch(struct packs *p, int64_t pack, int64_t from, int64_t to, struct err *e);
/* It is full: the next record begins another one. */
void packs_seal(struct packs *p);
/* Into packs/lost+found, where it is kept; how many are there. */
int packs_lose(struct packs *p, int64_t pack, struct err *e);
int64_t packs_lost(struct packs *p);
bool packs_found(struct packs *p, int64_t pack);	/* it was there, and is back */
int packs_lost_away(struct packs *p, struct err *e);
/* fn for every pack file here. */
int packs_each(struct packs *p, int (*fn)(void *arg, int64_t pack, int64_t size), void *arg, struct err *e);
/* fn for every record whose head is sound, in order; data: its stored bytes.  What is between sound records is skipped. */
int packs_scan(struct packs *p, int64_t pack, int (*fn)(void *arg, const struct where *w, const void *data), void *arg, struct err *e);
#define RECORD_HEAD 56
static inline int64_t record_size(uint32_t stored)
{
	return (RECORD_HEAD + (int64_t)stored + 7) & ~INT64_C(7);
}

/* ---- chunks (chunks.c) */
struct chunks;
struct pins {			/* chunks, and nodes as minus their numbers, that somebody uses and no row may refer to yet.  Guarded by the index's lock. */
	struct ref_list refs;
};
/* The index is begun.  *p NULL: made. */
int pin(struct objects *os, struct pins **p, int64_t what, struct err *e);
void pins_drop(struct objects *os, struct pins **p);
bool is_pinned(const struct objects *os, int64_t what);
void pins_free(struct objects *os);

struct piece {			/* of data that is being stored */
	const unsigned char *data;
	uint32_t len;
	int64_t id;		/* filled in by chunks_put; 0: zeros */
};
/* Stores them, shares what is there already; pins all of them.  durable_soon: small ones go into the index, so that nothing else is to be synced. */
int chunks_put(struct objects *os, struct pins **pins, struct piece *v, size_t n, bool compress, bool durable_soon, struct err *e);
/* A chunk's bytes from off, verified.  ENOENT: no such chunk; EBADMSG. */
int chunks_get(struct objects *os, int64_t id, uint32_t off, uint32_t len, void *buf, struct err *e);
/* Where it is.  The index is not begun. */
int chunks_where(struct objects *os, int64_t id, struct where *ret, struct err *e);
/* 1: it is (or will be) there; 0: no such chunk; -errno: nobody knows. */
int chunks_known(struct objects *os, int64_t id, struct where *ret, struct err *e);
/* Its row; the index is begun.  Below 0: there is none. */
int chunks_row(struct objects *os, int64_t id, struct where *ret);
/* Reads and verifies; buf has w->len bytes. */
int chunk_load(struct objects *os, const struct where *w, void *buf, struct err *e);
/* Are those stored bytes what the record says?  buf has w->len bytes. */
bool chunk_proves(struct objects *os, const struct where *w, const void *stored, void *buf);
bool chunk_is_whole(struct objects *os, int64_t id, uint64_t size);
/* What was appended until now has numbers up to this. */
uint64_t chunks_mark(struct objects *os);
/* The index is begun: rows for what was appended up to that mark and is on disk; refs (sorted): the references that are being added. */
int chunks_record(struct objects *os, const struct ref_list *refs, uint64_t upto, struct err *e);
void chunks_recorded(struct objects *os, bool committed);
/* The index is begun: a pack has so many bytes more, of which so many live more (or less). */
int pack_count(struct objects *os, int64_t pack, int64_t size, int64_t live, struct err *e);
/* It stands there now, with what else counts packs.  The index is not begun; it was synced. */
int chunks_place(struct objects *os, const struct where *w, struct err *e);
/* Its place in the index changed, or it is gone. */
void chunks_moved(struct objects *os, int64_t id);
/* Between begin and end somebody appends to packs and tells the index where it is. */
void chunks_storing(struct objects *os, bool begin);
/* Are there chunks in that pack, which is full, of which the index does not know yet?  Who was storing as it was called is done. */
bool chunks_pending_in(struct objects *os, int64_t pack);
int chunks_open(struct objects *os, struct err *e);
void chunks_close(struct objects *os);
extern uint64_t chunks_hash_mask;	/* tests make chunks collide with it; ~0 */
/* Work on n things by this thread and, while it is free, the crew (crew.c). */
void crew_run(void (*fn)(void *arg, size_t i), void *arg, size_t n);

/* ---- chunks by their hashes (hashes.c).  The index is begun. */
struct hashes;
int hashes_open(struct objects *os, int64_t hashed, struct err *e);
void hashes_close(struct objects *os);
int hash_add(struct objects *os, int64_t h, int64_t id, struct err *e);
int hash_drop(struct objects *os, int64_t h, int64_t id, struct err *e);
/* Numbers of chunks that have, or had, that hash; one may come twice.  How many. */
int hash_find(struct objects *os, int64_t h, int64_t *ids, int max, struct err *e);
/* By the sweeper: brings those in memory into the table when there are many, fills the filter.  The index is not begun. */
int hashes_look(struct objects *os, bool idle, struct err *e);
int64_t hashes_wrong(struct objects *os, bool repair, struct err *e);	/* rows that are missing or too many; repair: made anew */

/* ---- commits (commit.c) */
struct cut {			/* a version that is to be recorded */
	struct cut *next;
	int64_t id;		/* the object's */
	uint64_t size, used, mark;	/* mark: of chunks */
	int64_t mtime;
	struct saved saved;
	struct pins *pins;	/* until it is recorded */
	struct before *before;	/* NULL: its row says it */
	char etag[33];
	bool spill;		/* no version: leaves of one that is being written, which nothing refers to yet */
};
int commits_start(struct objects *os, struct err *e);
void commits_stop(struct objects *os);
void commits_free(struct objects *os);
void commit_queue(struct objects *os, struct cut *c);
/* Until a commit that began after now is durable. */
int commit_wait(struct objects *os, struct err *e);
int commit_asked(struct objects *os, struct err *e);	/* the same, by a user's program */
void commit_soon(struct objects *os);

/* ---- bodies (object.c): contents that are open, or not yet cut */
struct bodies;
/* Cuts those that are closed or renamed; only_renamed: those only.  True: there was something. */
bool bodies_cut(struct objects *os, bool only_renamed);
bool bodies_renamed(struct objects *os);	/* the index is begun */
/* Its time may have been set since it was cut. */
int64_t body_mtime(struct objects *os, const struct cut *c);
void bodies_recorded(struct objects *os, const struct cut *c);
int bodies_open(struct objects *os, struct err *e);
void bodies_close(struct objects *os);	/* its threads end */
void bodies_free(struct objects *os);
struct body;

/* ---- etags (etag.c) */
int etags_start(struct objects *os, struct err *e);
void etags_stop(struct objects *os);
void etag_hint(struct objects *os, int64_t id);		/* it grows, or was cut: begin behind its writer */
void etag_changed(struct objects *os, int64_t id, uint64_t off);	/* what was before off is as it was */

/* ---- what nobody waits for (sweep.c): nodes and chunks without references, packs half dead, small chunks to be packed, expiry */
int sweep_start(struct objects *os, struct err *e);
void sweep_stop(struct objects *os);
bool sweep_stopped(const struct objects *os);	/* its thread is to end */
/* What lives in it goes elsewhere, and it goes.  EBADMSG: some of it is damaged, and it stays. */
int sweep_pack(struct objects *os, int64_t pack, struct err *e);
int64_t sweep_ask(struct objects *os, const char *sql, int64_t a);	/* one number, 0 when there is none; $1 is a */

/* ---- full packs go to the place (mover.c) */
int mover_load(struct objects *os, struct err *e);	/* what the index says of it; the index is begun */
int mover_start(struct objects *os, struct err *e);
void mover_stop(struct objects *os);
/* The local file of a pack that is whole there is to go. */
int mover_leftover(struct objects *os, int64_t pack, struct err *e);
/* Packs that the index has here, and which are not, are looked for there. */
int mover_adopt(struct objects *os, struct err *e);

/* ---- digests of chunks, kept where packs are far (digest.c) */
#define DIGEST 32
bool digest_of(const void *data, size_t len, unsigned char ret[DIGEST]);
/* The index is begun. */
bool digest_get(struct objects *os, int64_t chunk, unsigned char ret[DIGEST]);
int digest_put(struct objects *os, int64_t chunk, const unsigned char sha[DIGEST], struct err *e);

struct objects {
	char *dir;
	struct db *db;
	int wal;		/* descriptor of the index's WAL, to sync it */
	_Atomic int sync_errno;	/* a sync failed: what is on disk is not known, and nothing more is taken */
	int64_t wal_bytes;	/* as long as it gets before it begins anew */
	pthread_mutex_t lock;	/* the index's */
	pthread_cond_t gate_open;
	bool tx, changed, marked;
	_Atomic uint64_t changes;	/* operations that changed the index */
	bool only_look;		/* fsck: no pack is removed at start */
	bool new_index;		/* it was made just now */
	bool old_index;		/* packs it names are not there: a copy of an earlier time, perhaps, and others have what is in them now */
	bool gate;		/* a commit must end before names change again */
	uint64_t lost;		/* transactions that SQLite ended by itself */
	int64_t next_id, id_limit;
	uint64_t seed;
	struct chunker chunker;
	struct pinned *pinned;
	struct names *names;
	struct packs *packs;
	struct chunks *chunks;
	struct hashes *hashes;
	struct bodies *bodies;
	struct commits *commits;
	struct etags *etags;
	struct sweep *sweep;
	struct placed *placed;
	struct mover *mover;
	struct ref_list missing;	/* packs that chunks are in, and which are neither here nor known to be in the place */
	_Atomic bool closing;
	_Atomic int64_t room, room_at;	/* free bytes of the disk beyond those, less what was written since that was asked, and when it was (ms) */
	objects_gone_fn *gone;
	void *gone_arg;
};

struct db *index_db(struct objects *os);
/* The same as index_begin, without waiting for a commit that keeps names away: for what the commit itself needs. */
struct db *index_enter(struct objects *os, struct err *e);
int64_t mono_ms(void);
