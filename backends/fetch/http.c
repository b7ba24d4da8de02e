/* Transfers over the network: one thread, libcurl's multi interface.  Redirects are followed here, one request each, so that every place is
 * looked at before it is asked. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"
#include "../base/text.h"
#include "parts.h"

#define PARALLEL 32
#define REDIRECTS 10
#define SLOW 1024		/* bytes a second that count as a stall */
#define RETRY_AFTER_MAX 60
#define LATER_MS 50		/* libcurl counts in its own milliseconds: what it ends is past our deadline */
#define WORDS (1 << 20)

struct transfer {
	struct transfer *next;
	struct fetcher *f;
	struct fetch *x;
	CURL *easy;
	char *url;			/* after redirects */
	unsigned redirects;
	struct curl_slist *headers;
	char curl_says[CURL_ERROR_SIZE];
	bool trusted;
	/* of the answer that comes */
	char etag[VALIDATOR_MAX], modified[VALIDATOR_MAX], range[128];
	size_t words;			/* bytes of a body that is not the file */
	bool body;			/* its first byte came */
	bool changed;			/* what we have is no part of it */
	struct err why;			/* what a callback refused */
	struct err refused;		/* an address */
};

static void transfer_free(struct transfer *t)
{
	if (t->easy) {
		curl_multi_remove_handle(t->f->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
	curl_slist_free_all(t->headers);
	free(t->url);
	free(t);
}
AUTO_FN(struct transfer *, transfer_free);

/* ---- what comes */

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct transfer *t = arg;
	const struct { const char *name; char *to; size_t size; } kept[] = {
		{ "ETag:", t->etag, sizeof t->etag }, { "Last-Modified:", t->modified, sizeof t->modified },
		{ "Content-Range:", t->range, sizeof t->range },
	};

	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)	/* the next answer: 100, 200 ... */
		*t->etag = *t->modified = *t->range = '\0';
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		size_t n = strlen(kept[i].name);

		if (len > n && strncasecmp(line, kept[i].name, n) == 0)
			header_value(kept[i].to, kept[i].size, line + n, len - n);
	}
	return len;
}

/* What If-Range may say: a strong ETag, else the date. */
static const char *validator(const struct transfer *t)
{
	return *t->etag == '"' ? t->etag : t->modified;
}

static long code_of(const struct transfer *t)
{
	long code = 0;

	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
	return code;
}

/* 206: it must go on exactly where we are, in the same file. */
static bool goes_on(const struct transfer *t)
{
	const struct fetch *x = t->x;
	int64_t first, last, total, have = x->have, known = x->total;
	struct err e;

	return have && content_range_parse(t->range, &first, &last, &total, &e) == 0 && first == have &&
		(known < 0 || total < 0 || total == known) && (!*t->etag || *x->validator != '"' || strcmp(t->etag, x->validator) == 0);
}

static int begin_body(struct transfer *t, struct err *e)
{
	curl_off_t length = -1;

	t->body = true;
	if (code_of(t) == 206) {
		t->changed = !goes_on(t);
		return t->changed ? err_set(e, ESTALE, "%s changed while it was fetched", t->x->name) : part_room(t->f, t->x, t->x->total, e);
	}
	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return part_begin(t->f, t->x, length, validator(t), e);
}

static size_t on_body(char *buf, size_t one, size_t len, void *arg)
{
	struct transfer *t = arg;
	long code = code_of(t);

	if (code != 200 && code != 206)		/* words about it; libcurl tells where a redirect leads once they have ended */
		return code < 400 && (t->words += len) < WORDS ? len : 0;
	if (!t->body && begin_body(t, &t->why) < 0)
		return 0;
	return part_put(t->f, t->x, buf, len, &t->why) < 0 ? 0 : len;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	struct transfer *t = arg;

	if (!t->trusted && origin_address(&t->f->conf, &a->addr, &t->refused) < 0)
		return CURL_SOCKET_BAD;
	return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

/* ---- asking */

static int set_options(struct transfer *t, struct err *e)
{
	const struct fetch_conf *c = &t->f->conf;
	int64_t left = t->x->deadline - fetch_now_ms();
	CURL *h = t->easy;
	CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(h, option, value))
	SET(CURLOPT_URL, t->url);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROXY, "");			/* nothing is taken from the environment of who mounted */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_FORBID_REUSE, 1L);		/* what a server says too much is not the next answer */
	SET(CURLOPT_QUICK_EXIT, 1L);		/* nobody waits for a name server that does not answer */
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (*c->ca)				/* CAPATH stays the system's */
		SET(CURLOPT_CAINFO, c->ca);
	SET(CURLOPT_USERAGENT, c->agent);
	SET(CURLOPT_CONNECTTIMEOUT, (long)c->connect_s);
	SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOW);
	SET(CURLOPT_LOW_SPEED_TIME, (long)c->stall_s);
	SET(CURLOPT_TIMEOUT_MS, (long)(left > 1 ? left : 1) + LATER_MS);
	SET(CURLOPT_BUFFERSIZE, 512L << 10);
	SET(CURLOPT_ERRORBUFFER, t->curl_says);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
	SET(CURLOPT_OPENSOCKETDATA, t);
	SET(CURLOPT_PRIVATE, t);
#undef SET
	return rc ? err_set(e, EIO, "ask for %s: %s", t->x->name, curl_easy_strerror(rc)) : 0;
}

/* Only the rest is asked for, and all of it if the file is not the same any more. */
static int set_range(struct transfer *t, struct err *e)
{
	char from[32], line[VALIDATOR_MAX + 16];

	curl_slist_free_all(steal_ptr(&t->headers));
	if (t->x->have > 0) {
		snprintf(from, sizeof from, "%ld-", (long)t->x->have);
		snprintf(line, sizeof line, "If-Range: %s", t->x->validator);
		t->headers = curl_slist_append(NULL, line);
		if (!t->headers || curl_easy_setopt(t->easy, CURLOPT_RANGE, from))
			return err_set(e, ENOMEM, "%m");
	}
	curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, t->headers);
	return 0;
}

static int look_at_origin(struct transfer *t, bool was_tls, struct err *e)
{
	struct origin p = { 0 };

	if (origin_of(&t->f->conf, t->url, &p, e) < 0)
		return -e->code;
	t->trusted = p.trusted;
	bool good = !p.local && (p.tls || !was_tls);
	origin_free(&p);
	return good ? 0 : err_set(e, EPROTO, "it leads from https to %.20s", p.local ? "a file" : "http, where anybody may change it");
}

static int ask(struct transfer *t, struct err *e)
{
	t->body = t->changed = false;
	t->words = 0;
	t->why = t->refused = (struct err){ 0 };
	*t->curl_says = '\0';
	if (!t->easy && !(t->easy = curl_easy_init()))
		return err_set(e, ENOMEM, "%m");
	curl_easy_reset(t->easy);
	if (set_options(t, e) < 0 || set_range(t, e) < 0)
		return -e->code;
	CURLMcode rc = curl_multi_add_handle(t->f->multi, t->easy);
	return rc ? err_set(e, EIO, "ask for %s: %s", t->x->name, curl_multi_strerror(rc)) : 0;
}

/* ---- how it ended */

enum ending { FOLLOW, WHOLE, AGAIN, FAILED };

struct outcome {
	enum ending what;
	unsigned at_most;	/* AGAIN: failures in a row */
	int64_t pause_ms;
};

static struct outcome by_code(struct transfer *t, long code, struct err *e)
{
	struct outcome o = { FAILED, t->f->conf.retries, 0 };
	curl_off_t after = 0;
	const char *name = t->x->name;

	if (code == 404 || code == 410)
		err_set(e, ENOENT, "%s: the server has no such file (%ld)", name, code);
	else if (code == 401 || code == 403 || code == 407 || code == 451)
		err_set(e, EACCES, "%s: the server does not give it to us (%ld)", name, code);
	else if (code == 416) {		/* our part is longer than the file now */
		t->changed = true;
		o.what = AGAIN;
		err_set(e, EIO, "%s: the server has less of it than it said (416)", name);
	} else if (code == 408 || code == 429 || code == 500 || (code >= 502 && code <= 504)) {
		curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &after);
		o.what = AGAIN;
		o.pause_ms = (after > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : after) * 1000;
		err_set(e, EIO, "%s: the server cannot give it at present (%ld)", name, code);
	} else {
		err_set(e, EIO, "%s: the server answers %ld", name, code);
	}
	return o;
}

static struct outcome by_curl(struct transfer *t, CURLcode rc, struct err *e)
{
	static const struct { CURLcode rc; int code; enum ending what; } known[] = {
		{ CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH, AGAIN }, { CURLE_COULDNT_CONNECT, ECONNREFUSED, AGAIN },
		{ CURLE_OPERATION_TIMEDOUT, ETIMEDOUT, AGAIN }, { CURLE_PEER_FAILED_VERIFICATION, EPROTO, FAILED },
		{ CURLE_SSL_CACERT_BADFILE, EPROTO, FAILED }, { CURLE_SSL_CERTPROBLEM, EPROTO, FAILED },
		{ CURLE_SSL_CONNECT_ERROR, EPROTO, AGAIN }, { CURLE_PARTIAL_FILE, EIO, AGAIN }, { CURLE_RECV_ERROR, EIO, AGAIN },
		{ CURLE_SEND_ERROR, EIO, AGAIN }, { CURLE_GOT_NOTHING, EIO, AGAIN }, { CURLE_WEIRD_SERVER_REPLY, EIO, FAILED },
	};
	struct outcome o = { FAILED, t->f->conf.retries, 0 };
	const char *says = *t->curl_says ? t->curl_says : curl_easy_strerror(rc);
	int code = EIO;

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].rc == rc) {
			code = known[i].code;
			o.what = known[i].what;
		}
	/* nothing ever came from there: most likely it is written wrong */
	if (t->x->have == 0 && (rc == CURLE_COULDNT_RESOLVE_HOST || rc == CURLE_COULDNT_CONNECT) && o.at_most > 2)
		o.at_most = 2;
	if (rc == CURLE_OPERATION_TIMEDOUT && fetch_now_ms() >= t->x->deadline) {
		o.what = FAILED;
		says = "it did not come within import-timeout";
	}
	err_set(e, code, "%s: %s", t->x->name, says);
	return o;
}

static struct outcome outcome_of(struct transfer *t, CURLcode rc, struct err *e)
{
	struct outcome o = { FAILED, t->f->conf.retries, 0 };
	long code = code_of(t);

	if (t->why.code || (rc == CURLE_COULDNT_CONNECT && t->refused.code)) {
		*e = t->why.code ? t->why : t->refused;
		if (!t->why.code)
			err_prefix(e, "%s", t->x->name);
		o.what = t->changed ? AGAIN : FAILED;
		return o;
	}
	if (code >= 300 && (rc == CURLE_OK || rc == CURLE_WRITE_ERROR)) {
		o.what = FOLLOW;
		return code < 400 && code != 304 ? o : by_code(t, code, e);
	}
	if (rc != CURLE_OK)
		return by_curl(t, rc, e);
	if (code != 200 && code != 206)
		return by_code(t, code, e);
	if (!t->body && begin_body(t, e) < 0)
		return (struct outcome){ t->changed ? AGAIN : FAILED, o.at_most, 0 };
	o.what = WHOLE;
	if (t->x->total >= 0 && t->x->have != t->x->total) {
		o.what = AGAIN;
		err_set(e, EIO, "%s: %ld of %ld bytes came", t->x->name, (long)t->x->have, (long)t->x->total);
	}
	return o;
}

/* Asks there; what was sent to the first place (a name, a password) is not sent to the next. */
static int follow(struct transfer *t, struct err *e)
{
	bool tls = strncasecmp(t->url, "https:", 6) == 0;
	char *next = NULL;

	curl_easy_getinfo(t->easy, CURLINFO_REDIRECT_URL, &next);
	if (!next)
		return err_set(e, EIO, "%s: the server answers %ld and names no place", t->x->name, code_of(t));
	if (++t->redirects > REDIRECTS)
		return err_set(e, ELOOP, "%s: redirected more than %d times", t->x->name, REDIRECTS);
	char *copy = strdup(next);
	if (!copy)
		return err_set(e, ENOMEM, "%m");
	free(t->url);
	t->url = copy;
	curl_multi_remove_handle(t->f->multi, t->easy);
	if (look_at_origin(t, tls, e) < 0)
		return err_prefix(e, "%s: a redirect is not followed", t->x->name);
	return ask(t, e);
}

static void unlist(struct transfer **list, struct transfer *t)
{
	for (struct transfer **p = list; *p; p = &(*p)->next)
		if (*p == t) {
			*p = t->next;
			return;
		}
}

static void ended(struct transfer **list, struct transfer *t, CURLcode rc)
{
	struct err e = { 0 };
	struct outcome o = outcome_of(t, rc, &e);

	if (o.what == FOLLOW) {
		if (follow(t, &e) == 0)
			return;
		o.what = FAILED;
	}
	struct fetcher *f = t->f;
	struct fetch *x = t->x;

	if (t->changed)		/* what we have is nothing's part: from the first byte */
		part_begin(f, x, -1, "", &(struct err){ 0 });
	unlist(list, t);
	transfer_free(t);
	if (o.what == WHOLE)
		fetch_done(f, x);
	else if (o.what == AGAIN)
		fetch_again(f, x, &e, o.at_most, o.pause_ms);
	else
		fetch_fail(f, x, &e, e.code == ETIMEDOUT);
}

/* ---- the thread */

static void begin(struct fetcher *f, struct fetch *x, struct transfer **list)
{
	AUTO(transfer_free) struct transfer *t = calloc(1, sizeof *t);
	struct err e = { 0 };

	if (!t || !(t->url = strdup(x->url))) {
		err_set(&e, ENOMEM, "%m");
		fetch_fail(f, x, &e, true);
		return;
	}
	t->f = f;
	t->x = x;
	if (part_open(f, x, &e) < 0 || look_at_origin(t, false, &e) < 0) {
		fetch_fail(f, x, &e, false);
		return;
	}
	if (x->total >= 0 && x->have == x->total) {	/* all of it came before */
		fetch_done(f, x);
		return;
	}
	if (ask(t, &e) < 0) {
		fetch_fail(f, x, &e, true);
		return;
	}
	t->next = *list;
	*list = steal_ptr(&t);
}

static void drop_cancelled(struct fetcher *f, struct transfer **list)
{
	for (;;) {
		pthread_mutex_lock(&f->lock);
		struct fetch *x = fetch_next_cancelled(f, false);
		pthread_mutex_unlock(&f->lock);
		if (!x)
			return;
		for (struct transfer *t = *list; t; t = t->next)
			if (t->x == x) {
				unlist(list, t);
				transfer_free(t);
				break;
			}
		fetch_drop(f, x);
	}
}

static unsigned count(const struct transfer *t)
{
	unsigned n = 0;

	for (; t; t = t->next)
		n++;
	return n;
}

/* Begins what is due; how long until the next is, in ms. */
static int begin_due(struct fetcher *f, struct transfer **list)
{
	int64_t next = INT64_MAX;

	while (count(*list) < PARALLEL) {
		pthread_mutex_lock(&f->lock);
		struct fetch *x = fetch_next(f, false, &next);
		pthread_mutex_unlock(&f->lock);
		if (!x)
			break;
		begin(f, x, list);
	}
	int64_t wait = next == INT64_MAX ? 60000 : next - fetch_now_ms();
	return wait < 0 ? 0 : wait > 60000 ? 60000 : (int)wait;
}

void *fetch_network(void *arg)
{
	struct fetcher *f = arg;
	struct transfer *list = NULL, *t;
	sigset_t pipe;
	int running, left;

	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	for (;;) {
		pthread_mutex_lock(&f->lock);
		bool stop = f->stop;
		pthread_mutex_unlock(&f->lock);
		if (stop)
			break;
		drop_cancelled(f, &list);
		int wait = begin_due(f, &list);

		curl_multi_perform(f->multi, &running);
		for (CURLMsg *m; (m = curl_multi_info_read(f->multi, &left)); )
			if (m->msg == CURLMSG_DONE && curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t) == CURLE_OK) {
				ended(&list, t, m->data.result);
				wait = 0;
			}
		curl_multi_poll(f->multi, NULL, 0, wait, NULL);
	}
	while (list) {
		t = list;
		list = t->next;
		transfer_free(t);
	}
	return NULL;
}
