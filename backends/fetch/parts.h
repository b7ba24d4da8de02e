/* Shared by the files of this directory. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "../base/auto.h"
#include "fetch.h"

#define FETCH_URL_MAX 4096
#define FETCH_NAME 200		/* bytes of a URL in a sentence */

/* ---- where from (origin.c) */

struct origin {		/* a URL that was looked at */
	bool local, tls;
	bool trusted;	/* its host is named in `hosts`: whatever address it has */
	char *path;	/* of a local file, decoded */
};
void origin_free(struct origin *p);
int origin_of(const struct fetch_conf *conf, const char *url, struct origin *ret, struct err *e);
/* EACCES when an address must not be connected to. */
int origin_address(const struct fetch_conf *conf, const struct sockaddr *sa, struct err *e);
int origin_hosts_check(const char *hosts, struct err *e);
/* Opens a local file below one of conf->dirs; links that lead out of it are not followed. */
int origin_open(const struct fetch_conf *conf, const char *path, int *ret, struct err *e);

/* ---- what is kept beside a part (note.c) */

#define VALIDATOR_MAX 256

struct note {
	char *url;
	char validator[VALIDATOR_MAX];	/* `"ETag"`, a date, or what stat says; "": cannot be continued */
	int64_t total;			/* -1: not known */
	char boot[40];			/* of the machine: a part is trusted while the page cache it was written to lives */
};
void note_free(struct note *n);
int note_parse(const char *text, size_t len, struct note *ret, struct err *e);
int note_read(int dir, const char *name, struct note *ret, struct err *e);
int note_write(int dir, const char *name, const struct note *n, struct err *e);
/* "bytes 100-199/200"; total -1: '*'. */
int content_range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total, struct err *e);

/* ---- downloads (fetch.c) */

enum fetch_status { FETCH_WAITING, FETCH_RUNNING, FETCH_WHOLE, FETCH_FAILED };

struct want {
	struct want *next;
	int64_t who;
};

struct fetch {
	struct fetch *next;
	char *url;
	char name[FETCH_NAME];		/* for sentences */
	char key[33];			/* its files: KEY.part KEY.note KEY.whole */
	bool local;
	/* under the fetcher's lock; what waits or runs is ended by its engine only, others say `cancelled` */
	enum fetch_status status;
	bool cancelled, keep;
	struct want *wants;
	struct err why;
	int64_t due, deadline;		/* ms, CLOCK_MONOTONIC */
	unsigned tries, failures;	/* all; in a row */
	atomic_int_fast64_t have, total;
	/* its engine's */
	int fd;
	int64_t farthest;		/* bytes that earlier tries brought */
	int64_t looked_at, look_in;	/* bytes when room was last looked for; so many later it is again */
	char validator[VALIDATOR_MAX];
};

struct fetcher {
	struct fetch_conf conf;
	int dir;
	char boot[40];
	pthread_mutex_t lock;
	pthread_cond_t work;		/* for the copier */
	struct fetch *first;
	bool stop;
	CURLM *multi;
	pthread_t network, copier;
	bool network_runs, copier_runs;
};

int64_t fetch_now_ms(void);
/* The next that waits and is due, now RUNNING; NULL: none, *next is when one will be (INT64_MAX: never). */
struct fetch *fetch_next(struct fetcher *f, bool local, int64_t *next);
/* One that is cancelled, whatever it does; NULL: none. */
struct fetch *fetch_next_cancelled(struct fetcher *f, bool local);
/* The ends of one an engine held. */
void fetch_done(struct fetcher *f, struct fetch *x);
void fetch_fail(struct fetcher *f, struct fetch *x, const struct err *why, bool keep);
void fetch_again(struct fetcher *f, struct fetch *x, const struct err *why, unsigned at_most, int64_t pause_ms);
void fetch_drop(struct fetcher *f, struct fetch *x);

/* ---- the part (part.c) */

/* Opens it: x->have bytes can be continued as those of x->validator, 0 none. */
int part_open(struct fetcher *f, struct fetch *x, struct err *e);
/* From the first byte; total -1 when nobody says. */
int part_begin(struct fetcher *f, struct fetch *x, int64_t total, const char *validator, struct err *e);
/* EFBIG, ENOSPC when total bytes will not be taken. */
int part_room(struct fetcher *f, struct fetch *x, int64_t total, struct err *e);
int part_put(struct fetcher *f, struct fetch *x, const void *buf, size_t n, struct err *e);
/* After bytes came in by another way than part_put. */
int part_moved(struct fetcher *f, struct fetch *x, int64_t have, struct err *e);
int part_whole(struct fetcher *f, struct fetch *x, struct err *e);
void part_close(struct fetch *x);
void part_unlink(struct fetcher *f, const char *key);

/* ---- engines: http.c, file.c */
void *fetch_network(void *fetcher);
void *fetch_copier(void *fetcher);
