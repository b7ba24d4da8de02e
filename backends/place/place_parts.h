/* Shared by the place files of backends/object only: the table, HTTP with retries, signatures, and what servers answer in XML and JSON. */
#pragma once

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "place.h"

struct place {			/* first member of each kind's own struct */
	const struct place_ops *ops;
};

struct place_ops {		/* as the functions of place.h say */
	const char *name;
	void (*close)(struct place *p);
	int (*check)(struct place *p, struct err *e);
	int (*put)(struct place *p, const char *name, int fd, uint64_t size, struct err *e);
	int (*get)(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e);
	int (*size)(struct place *p, const char *name, uint64_t *ret, struct err *e);
	int (*delete)(struct place *p, const char *name, struct err *e);
	int (*list)(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e);
	/* NULL: nothing to do, 0 */
	void (*forget)(struct place *p, const char *name);
	int (*fd)(struct place *p, const char *name, int *ret, struct err *e);
	void (*stats)(struct place *p, struct place_cache_stats *ret);
};

/* Every string is there, every number is set. */
int place_local_open(const struct place_conf *c, struct place **ret, struct err *e);
int place_s3_open(const struct place_conf *c, struct place **ret, struct err *e);
int place_swift_open(const struct place_conf *c, struct place **ret, struct err *e);
/* Put a table before `*p`, which it owns from then on; when it fails *p stays as it was. */
int place_fault_wrap(struct place **p, const char *rules, struct err *e);
/* origin: what tells this place from all others; blocks of another one are not used. */
int place_cache_wrap(struct place **p, const char *dir, uint64_t bytes, const char *origin, struct err *e);

bool place_name_ok(const char *name);
/* The secret alone, the caller's to free (wiped: place_secret_free). */
int place_secret(const char *path, char **ret, struct err *e);
void place_secret_free(char *secret);
AUTO_FN(char *, place_secret_free);
/* All len bytes at off of fd.  EIO when it ends before. */
int place_pread(int fd, void *buf, size_t len, uint64_t off, struct err *e);

/* ---- HTTP (place_http.c) */

AUTO_FN(struct curl_slist *, curl_slist_free_all);

struct remote;
struct remote_conf {
	const char *ca;
	unsigned connect_s, stall_s, retries, retry_ms;
	const _Atomic bool *stop;	/* or NULL; true: what is asked is given up */
};
int remote_open(const struct remote_conf *c, struct remote **ret, struct err *e);
void remote_close(struct remote *r);
AUTO_FN(struct remote *, remote_close);

struct ask {
	const char *method;
	const char *url;
	const char *what;		/* for sentences: "get pack-1" */
	/* the headers of one try, made anew for each */
	int (*headers)(void *arg, struct curl_slist **ret, struct err *e);
	void *arg;
	/* what goes up with PUT and POST: of fd, or text */
	int fd;
	uint64_t from, size;
	const char *text;
	/* where a good answer's body goes: exactly len bytes, which begin at off of the thing; NULL: into answer.text */
	void *buf;
	uint64_t off;
	size_t len;
};
struct answer {
	long status;
	unsigned tries;
	char *text;			/* NUL-terminated; of a failure no more than its beginning */
	size_t text_len;
	char etag[128], token[4096], storage[2048], bucket_region[64], range[96];	/* X-Auth-Token or X-Subject-Token, X-Storage-Url */
	int64_t length;			/* -1: not said */
	int64_t total;			/* of Content-Range; -1: not said */
	time_t date, ours;		/* its clock and ours as it answered; 0: not said */
};
int header_add(struct curl_slist **list, const char *name, const char *value, struct err *e);
void answer_done(struct answer *a);
static inline void auto_answer_done(struct answer *a)
{
	answer_done(a);
}
/* 0: an answer that asking again would not change came, of any status; `a` tells.  -EIO and so on: none came, or only such as 503.
 * With ask.buf a 200 or 206 has filled it. */
int remote_ask(struct remote *r, const struct ask *q, struct answer *a, struct err *e);
/* What 4xx and others mean, as an error: `what: why`.  detail: the server's own words, or "". */
int answer_error(const struct answer *a, const char *what, const char *detail, struct err *e);
/* For sentences: an error's body in one line. */
void answer_words(const struct answer *a, char *ret, size_t size);
/* "bytes 0-9/20", "bytes *"/20: first and last are then -1; total -1: '*'. */
bool range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total);
/* Percent-encodes all but A-Za-z0-9-._~ (and / when keep_slash).  NULL: no memory. */
char *uri_encode(const char *text, bool keep_slash);

/* ---- AWS Signature Version 4 (place_sign.c); docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html */

struct sign_pair {
	const char *name, *value;
};
struct sign {
	const char *key, *secret, *region, *service;
	time_t now;
};
#define SIGN_DATE 17	/* "20130524T000000Z" */
void sign_date(time_t now, char ret[SIGN_DATE]);
/* name=value&... encoded and in the order that is signed. */
int sign_query(const struct sign_pair *q, size_t n, char **ret, struct err *e);
/* The Authorization header's value.  path: encoded; query: of sign_query; headers: all that are signed, host and x-amz-date among them, in any order. */
int sign_request(const struct sign *s, const char *method, const char *path, const char *query, const struct sign_pair *headers, size_t n,
		 const char *payload, char **ret, struct err *e);
#define SHA256_HEX 65
#define MD5_HEX 33
int sha256_of_fd(int fd, uint64_t from, uint64_t size, char ret[SHA256_HEX], struct err *e);
int sha256_of_text(const char *text, char ret[SHA256_HEX], struct err *e);
int md5_of_fd(int fd, uint64_t from, uint64_t size, char ret[MD5_HEX], struct err *e);

/* ---- what servers say (place_parse.c): any bytes, to be understood exactly or not at all (EBADMSG) */

struct listed {
	char *name;
	uint64_t size;
};
struct listing {
	struct listed *items;
	size_t n, room;
	bool more;
	char *token;		/* S3: where the next page begins; NULL: none */
};
void listing_done(struct listing *l);
static inline void auto_listing_done(struct listing *l)
{
	listing_done(l);
}
int s3_list_parse(const char *text, size_t len, struct listing *ret, struct err *e);
/* <Error>: true, with its Code and Message (empty when not said). */
bool s3_error_parse(const char *text, size_t len, char *code, size_t code_size, char *message, size_t message_size);
int s3_upload_parse(const char *text, size_t len, char **ret, struct err *e);	/* UploadId of InitiateMultipartUploadResult */
int swift_list_parse(const char *text, size_t len, struct listing *ret, struct err *e);
/* The endpoint of the object store that the public is to use, in that region ("": the first). */
int keystone_parse(const char *text, size_t len, const char *region, char **ret, struct err *e);
