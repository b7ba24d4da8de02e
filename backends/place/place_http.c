/* Asking a server: one request at a time for each caller, over connections that are kept; again, with growing pauses, while it is not well.
 * What answers mean is for place_s3.c and place_swift.c to say. */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "../base/log.h"
#include "../base/text.h"
#include "place_parts.h"

#define IDLE_MAX 16
#define PAUSE_STEP_MS 100
#define PAUSE_MAX_MS 20000
#define RETRY_AFTER_MAX 60
#define TEXT_MAX (32 << 20)	/* a page of a list */
#define WORDS_MAX (16 << 10)	/* of a failure */
#define SLOW 1024		/* bytes a second that count as a stall */
#define SLOWEST (16 << 10)	/* bytes a second in all, from when on it is given up */

struct remote {
	struct remote_conf conf;
	char *ca;
	pthread_mutex_t lock;
	CURL *idle[IDLE_MAX];
	size_t n_idle;
};

/* One try. */
struct try {
	struct remote *r;
	const struct ask *q;
	struct answer *a;
	CURL *easy;
	size_t got;		/* of q->buf */
	uint64_t sent;
	FILE *text;
	size_t text_len;
	struct err why;		/* what a callback refused */
	bool final;		/* ... and will refuse again */
	char curl_says[CURL_ERROR_SIZE];
};

static void curl_begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int remote_open(const struct remote_conf *c, struct remote **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	AUTO(free) struct remote *r = calloc(1, sizeof *r);
	AUTO(free) char *ca = strdup(c->ca);

	if (!r || !ca)
		return err_set(e, ENOMEM, "%m");
	pthread_once(&once, curl_begin);
	r->conf = *c;
	r->ca = steal_ptr(&ca);
	r->conf.ca = r->ca;
	pthread_mutex_init(&r->lock, NULL);
	*ret = steal_ptr(&r);
	return 0;
}

void remote_close(struct remote *r)
{
	if (!r)
		return;
	while (r->n_idle)
		curl_easy_cleanup(r->idle[--r->n_idle]);
	pthread_mutex_destroy(&r->lock);
	free(r->ca);
	free(r);
}

static CURL *take(struct remote *r)
{
	pthread_mutex_lock(&r->lock);
	CURL *h = r->n_idle ? r->idle[--r->n_idle] : NULL;
	pthread_mutex_unlock(&r->lock);
	if (h)
		curl_easy_reset(h);	/* its connections stay */
	return h ? h : curl_easy_init();
}

static void give(struct remote *r, CURL *h)
{
	pthread_mutex_lock(&r->lock);
	bool kept = r->n_idle < IDLE_MAX;
	if (kept)
		r->idle[r->n_idle++] = h;
	pthread_mutex_unlock(&r->lock);
	if (!kept)
		curl_easy_cleanup(h);
}

void answer_done(struct answer *a)
{
	free(a->text);
	*a = (struct answer){ 0 };
}

int header_add(struct curl_slist **list, const char *name, const char *value, struct err *e)
{
	AUTO(free) char *line = NULL;

	if (asprintf(&line, "%s: %s", name, value) < 0) {
		line = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	struct curl_slist *more = curl_slist_append(*list, line);
	if (!more)
		return err_set(e, ENOMEM, "%m");
	*list = more;
	return 0;
}

/* ---- what comes */

static long status_of(CURL *h)
{
	long status = 0;

	curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

static bool parse_int(const char **s, int64_t *ret)
{
	int64_t n = 0;
	size_t digits = strspn(*s, "0123456789");

	if (!digits || digits > 18)
		return false;
	for (size_t i = 0; i < digits; i++)
		n = n * 10 + (*s)[i] - '0';
	*s += digits;
	*ret = n;
	return true;
}

bool range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total)
{
	int64_t f = -1, l = -1, t = -1;

	if (strncasecmp(text, "bytes ", 6) != 0)
		return false;
	text += 6;
	if (*text == '*')
		text++;
	else if (!parse_int(&text, &f) || *text++ != '-' || !parse_int(&text, &l) || l < f)
		return false;
	if (*text++ != '/')
		return false;
	if (*text == '*')
		text++;
	else if (!parse_int(&text, &t) || t <= l)
		return false;
	if (*text || (f < 0 && t < 0))
		return false;
	*first = f;
	*last = l;
	*total = t;
	return true;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
	struct try *t = arg;
	struct answer *a = t->a;
	char date[64] = "";
	const struct { const char *name; char *to; size_t size; } kept[] = {
		{ "ETag:", a->etag, sizeof a->etag }, { "X-Auth-Token:", a->token, sizeof a->token }, { "X-Subject-Token:", a->token, sizeof a->token },
		{ "X-Storage-Url:", a->storage, sizeof a->storage }, { "x-amz-bucket-region:", a->bucket_region, sizeof a->bucket_region },
		{ "Content-Range:", a->range, sizeof a->range }, { "Date:", date, sizeof date },
	};

	if (len >= 5 && memcmp(line, "HTTP/", 5) == 0)		/* the next answer: 100, 200 ... */
		*a->etag = *a->token = *a->storage = *a->bucket_region = *a->range = '\0';
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		size_t n = strlen(kept[i].name);

		if (len > n && strncasecmp(line, kept[i].name, n) == 0)
			header_value(kept[i].to, kept[i].size, line + n, len - n);
	}
	if (*date) {
		time_t d = curl_getdate(date, NULL);

		a->date = d > 0 ? d : 0;
		a->ours = time(NULL);
	}
	return len;
}

/* Is what begins to come what was asked for? */
static int begin_body(struct try *t, long status, struct err *e)
{
	const struct ask *q = t->q;
	int64_t first, last, total;
	curl_off_t length = -1;

	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	if (status == 200)	/* all of it, asked for or not */
		return q->off == 0 && length == (curl_off_t)q->len ? 0 :
			err_set(e, EBADMSG, "the server sends all of it (%lld bytes) where a part was asked for", (long long)length);
	if (!range_parse(t->a->range, &first, &last, &total) || first != (int64_t)q->off || last >= (int64_t)(q->off + q->len))
		return err_set(e, EBADMSG, "the server sends '%.90s' where %zu bytes from %llu were asked for", t->a->range, q->len, (unsigned long long)q->off);
	t->final = (uint64_t)last - q->off + 1 != q->len;
	if (t->final)
		return err_set(e, EBADMSG, "it ends after %lld bytes; %zu from %llu are wanted", (long long)last + 1, q->len, (unsigned long long)q->off);
	return 0;
}

static size_t on_body(char *buf, size_t one, size_t len, void *arg)
{
	struct try *t = arg;
	long status = status_of(t->easy);
	bool good = status >= 200 && status < 300;

	if (t->q->buf && (status == 200 || status == 206)) {
		if (t->got == 0 && begin_body(t, status, &t->why) < 0)
			return 0;
		if (len > t->q->len - t->got) {
			err_set(&t->why, EBADMSG, "the server sends more than the %zu bytes that were asked for", t->q->len);
			return 0;
		}
		memcpy((char *)t->q->buf + t->got, buf, len);
		t->got += len;
		return len;
	}
	size_t room = good ? TEXT_MAX - t->text_len : t->text_len < WORDS_MAX ? WORDS_MAX - t->text_len : 0;

	if (good && len > room) {
		err_set(&t->why, EBADMSG, "the server's answer is longer than %d MiB", TEXT_MAX >> 20);
		return 0;
	}
	size_t n = len < room ? len : room;
	t->text_len += fwrite(buf, 1, n, t->text);
	return len;
}

static size_t on_upload(char *buf, size_t one, size_t room, void *arg)
{
	struct try *t = arg;
	uint64_t left = t->q->size - t->sent;
	size_t n = left < room ? (size_t)left : room;

	if (t->q->text)
		memcpy(buf, t->q->text + t->sent, n);
	else if (n && place_pread(t->q->fd, buf, n, t->q->from + t->sent, &t->why) < 0)
		return CURL_READFUNC_ABORT;
	t->sent += n;
	return n;
}

static int on_seek(void *arg, curl_off_t off, int whence)
{
	struct try *t = arg;

	if (whence != SEEK_SET || off < 0 || (uint64_t)off > t->q->size)
		return CURL_SEEKFUNC_FAIL;
	t->sent = (uint64_t)off;
	return CURL_SEEKFUNC_OK;
}

/* ---- one try */

static bool stopped(const struct remote *r)
{
	return r->conf.stop && *r->conf.stop;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	return stopped(arg);
}

static int set_options(struct try *t, struct curl_slist *headers, struct err *e)
{
	const struct remote_conf *c = &t->r->conf;
	const struct ask *q = t->q;
	uint64_t bytes = q->size + (q->buf ? q->len : 0);
	bool body = strcmp(q->method, "PUT") == 0 || strcmp(q->method, "POST") == 0;
	unsigned stall_s = c->stall_s * (body ? 4 : 1);		/* what came up takes the server a while to store */
	CURL *h = t->easy;
	CURLcode rc = CURLE_OK;

#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(h, option, value))
	SET(CURLOPT_URL, q->url);
	SET(CURLOPT_PATH_AS_IS, 1L);		/* what is signed is what is sent */
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_PROXY, "");			/* nothing is taken from the environment of who mounted */
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_QUICK_EXIT, 1L);
	SET(CURLOPT_SSL_VERIFYPEER, 1L);
	SET(CURLOPT_SSL_VERIFYHOST, 2L);
	if (*c->ca)
		SET(CURLOPT_CAINFO, c->ca);
	SET(CURLOPT_USERAGENT, "cirrusfs");
	SET(CURLOPT_CONNECTTIMEOUT, (long)c->connect_s);
	SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOW);
	SET(CURLOPT_LOW_SPEED_TIME, (long)stall_s);
	SET(CURLOPT_TIMEOUT, (long)(c->connect_s + 10 * stall_s + bytes / SLOWEST));
	SET(CURLOPT_BUFFERSIZE, 256L << 10);
	SET(CURLOPT_UPLOAD_BUFFERSIZE, 256L << 10);
	SET(CURLOPT_ERRORBUFFER, t->curl_says);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, t);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, t);
	SET(CURLOPT_NOPROGRESS, 0L);
	SET(CURLOPT_XFERINFOFUNCTION, on_progress);
	SET(CURLOPT_XFERINFODATA, t->r);
	if (strcmp(q->method, "HEAD") == 0)
		SET(CURLOPT_NOBODY, 1L);
	if (body) {
		SET(CURLOPT_UPLOAD, 1L);
		SET(CURLOPT_READFUNCTION, on_upload);
		SET(CURLOPT_READDATA, t);
		SET(CURLOPT_SEEKFUNCTION, on_seek);
		SET(CURLOPT_SEEKDATA, t);
		SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)q->size);
	}
	SET(CURLOPT_CUSTOMREQUEST, q->method);
	SET(CURLOPT_HTTPHEADER, headers);
#undef SET
	return rc ? err_set(e, EIO, "%s", curl_easy_strerror(rc)) : 0;
}

/* How a transfer failed, and whether it may go better. */
static bool curl_again(CURLcode rc, int *code)
{
	static const struct { CURLcode rc; int code; } known[] = {
		{ CURLE_COULDNT_RESOLVE_HOST, EIO }, { CURLE_COULDNT_CONNECT, EIO }, { CURLE_OPERATION_TIMEDOUT, ETIMEDOUT }, { CURLE_SSL_CONNECT_ERROR, EIO },
		{ CURLE_PARTIAL_FILE, EIO }, { CURLE_RECV_ERROR, EIO }, { CURLE_SEND_ERROR, EIO }, { CURLE_GOT_NOTHING, EIO }, { CURLE_SEND_FAIL_REWIND, EIO },
		{ CURLE_WEIRD_SERVER_REPLY, EIO }, { CURLE_HTTP2, EIO }, { CURLE_BAD_CONTENT_ENCODING, EIO },
	};

	*code = EIO;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].rc == rc) {
			*code = known[i].code;
			return true;
		}
	return false;
}

static bool status_again(long status)
{
	return status == 408 || status == 425 || status == 429 || status == 498 || status == 499 || status == 500 || (status >= 502 && status <= 504);
}

/* 0: it is answered.  Else e says what went wrong; *again: it may go better. */
static int perform(struct try *t, bool *again, struct err *e)
{
	AUTO(curl_slist_free_all) struct curl_slist *headers = NULL;
	struct answer *a = t->a;
	char words[200];
	int code;

	*again = false;
	if (t->q->headers(t->q->arg, &headers, e) < 0 || set_options(t, headers, e) < 0)
		return -e->code;
	CURLcode rc = curl_easy_perform(t->easy);
	curl_off_t length = -1;

	curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	a->status = status_of(t->easy);
	a->length = length;
	fflush(t->text);
	if (t->why.code) {	/* another try may bring what is right; our own file does not change */
		*e = t->why;
		*again = t->why.code == EBADMSG && !t->final;
		return -e->code;
	}
	if (rc == CURLE_ABORTED_BY_CALLBACK)
		return err_set(e, EIO, "given up: the store is being closed");
	if (rc != CURLE_OK) {
		*again = curl_again(rc, &code);
		return err_set(e, code, "%s", *t->curl_says ? t->curl_says : curl_easy_strerror(rc));
	}
	if (status_again(a->status)) {
		*again = true;
		answer_words(a, words, sizeof words);
		return err_set(e, EIO, "the server answers %ld%s%s", a->status, *words ? ": " : "", words);
	}
	if (t->q->buf && (a->status == 200 || a->status == 206) && t->got != t->q->len) {
		*again = true;
		return err_set(e, EBADMSG, "%zu of %zu bytes came", t->got, t->q->len);
	}
	return 0;
}

/* A try with a handle and a memory of its own. */
static int try_once(struct remote *r, const struct ask *q, struct answer *a, int64_t *after_ms, bool *again, struct err *e)
{
	struct try t = { .r = r, .q = q, .a = a };
	unsigned tries = a->tries;
	curl_off_t after = 0;

	*again = false;
	answer_done(a);
	a->tries = tries + 1;
	a->length = a->total = -1;
	t.easy = take(r);
	t.text = open_memstream(&a->text, &a->text_len);
	int rc = t.easy && t.text ? perform(&t, again, e) : err_set(e, ENOMEM, "%m");
	if (t.text && fclose(t.text) != 0 && rc == 0)
		rc = err_set(e, ENOMEM, "%m");
	if (t.easy) {
		int64_t first, last;

		curl_easy_getinfo(t.easy, CURLINFO_RETRY_AFTER, &after);
		if (!range_parse(a->range, &first, &last, &a->total))
			a->total = -1;
		give(r, t.easy);
	}
	*after_ms = after > 0 ? (after < RETRY_AFTER_MAX ? after : RETRY_AFTER_MAX) * 1000 : 0;
	return rc;
}

/* ---- until it is answered */

/* The longer the more often it failed, and never the same for all who wait. */
static void pause_ms(const struct remote *r, int64_t ms)
{
	uint32_t random = 0;

	if (getrandom(&random, sizeof random, GRND_NONBLOCK) < 0)
		random = (uint32_t)clock();
	ms = ms / 2 + (int64_t)(random % (uint32_t)(ms / 2 + 1));
	for (; ms > 0 && !stopped(r); ms -= PAUSE_STEP_MS) {
		struct timespec left = { .tv_nsec = (ms < PAUSE_STEP_MS ? ms : PAUSE_STEP_MS) * 1000000 };

		while (nanosleep(&left, &left) < 0 && errno == EINTR)
			;
	}
}

int remote_ask(struct remote *r, const struct ask *q, struct answer *a, struct err *e)
{
	int64_t after, pause = r->conf.retry_ms;
	bool again;

	a->tries = 0;
	for (;;) {
		int rc = try_once(r, q, a, &after, &again, e);

		if (rc == 0)
			return 0;
		if (!again || a->tries > r->conf.retries) {
			if (a->tries > 1)
				err_set(e, e->code, "%s (tried %u times)", e->msg, a->tries);
			return -e->code;
		}
		log_debug("%s: once more in %lld ms: %s", q->what, (long long)(after ? after : pause), e->msg);
		pause_ms(r, after ? 2 * after : pause);
		pause = 2 * pause < PAUSE_MAX_MS ? 2 * pause : PAUSE_MAX_MS;
		*e = (struct err){ 0 };
	}
}

/* ---- what it means */

void answer_words(const struct answer *a, char *ret, size_t size)
{
	char code[64], message[200];
	size_t n = 0;

	*ret = '\0';
	if (!a->text || !a->text_len)
		return;
	if (s3_error_parse(a->text, a->text_len, code, sizeof code, message, sizeof message)) {
		snprintf(ret, size, "%s%s%s", code, *message ? ": " : "", message);
		return;
	}
	for (const char *s = a->text; *s && n + 1 < size; s++) {	/* HTML: what is between the tags */
		bool blank = *s == '<' || isspace((unsigned char)*s);

		if (*s == '<')
			s += strcspn(s, ">") - (s[strcspn(s, ">")] == '\0');
		if (!blank || (n && ret[n - 1] != ' '))
			ret[n++] = blank ? ' ' : *s;
	}
	ret[n -= n && ret[n - 1] == ' '] = '\0';
}

int answer_error(const struct answer *a, const char *what, const char *detail, struct err *e)
{
	static const struct { long status; int code; const char *why; } known[] = {
		{ 401, EACCES, "the server does not know us: objects-key or the secret is wrong" },
		{ 402, EACCES, "the server wants to be paid" },
		{ 403, EACCES, "the server refuses it: objects-key, the secret or our rights there are wrong" },
		{ 404, ENOENT, "it is not there" },
		{ 410, ENOENT, "it is not there any more" },
		{ 411, EPROTO, "the server wants a length" },
		{ 413, ENOSPC, "it is too large for the server, or a quota is used up" },
		{ 416, EBADMSG, "it is shorter than what is asked for" },
		{ 422, EBADMSG, "it arrived damaged" },
		{ 451, EACCES, "the server must not give it" },
		{ 507, ENOSPC, "the server is full" },
	};
	const char *colon = *what ? ": " : "", *open = *detail ? " (" : "", *close = *detail ? ")" : "";

	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (known[i].status == a->status)
			return err_set(e, known[i].code, "%s%s%s%s%.200s%s", what, colon, known[i].why, open, detail, close);
	if (a->status >= 300 && a->status < 400)
		return err_set(e, EPROTO, "%s%sthe server sends us elsewhere (%ld): objects-url or objects-region is wrong%s%.200s%s", what, colon, a->status,
			       open, detail, close);
	return err_set(e, EIO, "%s%sthe server answers %ld%s%.200s%s", what, colon, a->status, open, detail, close);
}
