/* A bucket of any service that speaks S3 (docs.aws.amazon.com/AmazonS3/latest/API).  Every request is signed, with the digest of what it carries: what
 * arrives damaged is refused there.  Long files go up in parts and are seen when the last is there. */
#include <errno.h>
#include <string.h>

#include "../base/log.h"
#include "place_parts.h"

#define PARTS_MAX 10000
#define SKEW_S 300
#define PAGES_MAX 1000000

AUTO_FN(CURLU *, curl_url_cleanup);

struct s3 {
	struct place p;
	struct remote *remote;
	char *base;		/* "https://host:9000/bucket" or "https://bucket.host", and what stood before the bucket */
	char *host;		/* as the Host header has it */
	char *path;		/* of base, encoded: "/bucket" or "" */
	char *bucket, *prefix, *region, *key, *secret;
	uint64_t part_bytes;
	unsigned page;
};

static void s3_close(struct place *p)
{
	struct s3 *s = (struct s3 *)p;

	remote_close(s->remote);
	place_secret_free(s->secret);
	free(s->base);
	free(s->host);
	free(s->path);
	free(s->bucket);
	free(s->prefix);
	free(s->region);
	free(s->key);
	free(s);
}

/* ---- a request */

#define EMPTY_SHA256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct request {
	struct s3 *s;
	const char *method;
	char *path, *query;	/* encoded */
	char range[64];		/* "" none */
	char sha256[SHA256_HEX];
};

/* Signed anew for each try: a signature is good for some minutes. */
static int s3_headers(void *arg, struct curl_slist **ret, struct err *e)
{
	const struct request *r = arg;
	const struct s3 *s = r->s;
	struct sign sign = { .key = s->key, .secret = s->secret, .region = s->region, .service = "s3", .now = time(NULL) };
	char date[SIGN_DATE];
	AUTO(free) char *authorization = NULL;

	sign_date(sign.now, date);
	struct sign_pair h[] = {
		{ "host", s->host }, { "x-amz-content-sha256", r->sha256 }, { "x-amz-date", date }, { "range", r->range },
	};
	size_t n = ARRAY_LEN(h) - !*r->range;
	if (sign_request(&sign, r->method, r->path, r->query, h, n, r->sha256, &authorization, e) < 0)
		return -e->code;
	for (size_t i = 1; i < n; i++)		/* curl says Host as we do */
		if (header_add(ret, h[i].name, h[i].value, e) < 0)
			return -e->code;
	return header_add(ret, "Authorization", authorization, e);
}

static int request_url(struct s3 *s, const char *name, const struct sign_pair *q, size_t n, struct request *r, char **url, struct err *e)
{
	AUTO(free) char *raw = NULL, *key = NULL;

	if (asprintf(&raw, "%s%s", name ? s->prefix : "", name ? name : "") < 0) {
		raw = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	key = uri_encode(raw, true);
	if (!key || asprintf(&r->path, "%s%s%s", s->path, *key || !*s->path ? "/" : "", key) < 0) {
		r->path = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	if (sign_query(q, n, &r->query, e) < 0)
		return -e->code;
	if (asprintf(url, "%s%s%s%s", s->base, r->path, *r->query ? "?" : "", r->query) < 0) {
		*url = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	return 0;
}

struct call {
	const char *method, *name;	/* name NULL: the bucket itself */
	const struct sign_pair *query;
	size_t n_query;
	int fd;
	uint64_t from, size;
	const char *text;
	void *buf;
	uint64_t off;
	size_t len;
	bool first;			/* the first byte alone, into the answer's text */
};

static int s3_ask(struct s3 *s, const struct call *c, struct answer *a, struct err *e)
{
	struct request r = { .s = s, .method = c->method, .sha256 = EMPTY_SHA256 };
	AUTO(free) char *url = NULL, *what = NULL;
	struct ask q = { .method = c->method, .headers = s3_headers, .arg = &r, .fd = c->fd, .from = c->from, .size = c->size, .text = c->text,
		.buf = c->buf, .off = c->off, .len = c->len };

	if (asprintf(&what, "%s %s", c->method, c->name ? c->name : s->bucket) < 0) {
		what = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	if (c->first)
		snprintf(r.range, sizeof r.range, "bytes=0-0");
	if (c->buf)
		snprintf(r.range, sizeof r.range, "bytes=%llu-%llu", (unsigned long long)c->off, (unsigned long long)(c->off + c->len - 1));
	int rc = request_url(s, c->name, c->query, c->n_query, &r, &url, e);
	if (rc == 0 && c->text)
		rc = sha256_of_text(c->text, r.sha256, e);
	else if (rc == 0 && c->size)
		rc = sha256_of_fd(c->fd, c->from, c->size, r.sha256, e);
	q.url = url;
	q.what = what;
	if (rc == 0)
		rc = remote_ask(s->remote, &q, a, e);
	free(r.path);
	free(r.query);
	return rc;
}

/* A bucket that is not there is not a file that is not there. */
static int s3_error(struct s3 *s, const struct answer *a, struct err *e)
{
	char code[64] = "", message[200] = "", words[280];
	time_t skew = a->date ? a->ours - a->date : 0;

	answer_words(a, words, sizeof words);
	if (a->text)
		s3_error_parse(a->text, a->text_len, code, sizeof code, message, sizeof message);
	if (strcmp(code, "RequestTimeTooSkewed") == 0 || (a->status == 403 && (skew > SKEW_S || skew < -SKEW_S)))
		return err_set(e, EACCES, "the server refuses it: this machine's clock is %lld s %s the server's", (long long)(skew < 0 ? -skew : skew),
			       skew < 0 ? "behind" : "before");
	if (strcmp(code, "NoSuchBucket") == 0)
		return err_set(e, EIO, "the server has no bucket '%s' (objects-bucket)", s->bucket);
	if (*a->bucket_region && strcmp(a->bucket_region, s->region) != 0 && a->status >= 300)
		return err_set(e, EPROTO, "the bucket is in the region %s, objects-region says %s", a->bucket_region, s->region);
	return answer_error(a, "", words, e);
}

static bool good(const struct answer *a)
{
	return a->status >= 200 && a->status < 300;
}

/* ---- put */

static int put_whole(struct s3 *s, const char *name, int fd, uint64_t size, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "PUT", .name = name, .fd = fd, .size = size };

	return s3_ask(s, &c, &a, e) < 0 ? -e->code : good(&a) ? 0 : s3_error(s, &a, e);
}

static int upload_begin(struct s3 *s, const char *name, char **id, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	const struct sign_pair q[] = { { "uploads", "" } };
	struct call c = { .method = "POST", .name = name, .query = q, .n_query = 1, .text = "" };

	if (s3_ask(s, &c, &a, e) < 0)
		return -e->code;
	return good(&a) ? s3_upload_parse(a.text, a.text_len, id, e) : s3_error(s, &a, e);
}

/* Adds a line for it to what ends the upload. */
static int upload_part(struct s3 *s, const char *name, const char *id, unsigned no, int fd, uint64_t from, uint64_t size, FILE *list, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	char number[16];
	const struct sign_pair q[] = { { "partNumber", number }, { "uploadId", id } };
	struct call c = { .method = "PUT", .name = name, .query = q, .n_query = 2, .fd = fd, .from = from, .size = size };

	snprintf(number, sizeof number, "%u", no);
	if (s3_ask(s, &c, &a, e) < 0)
		return -e->code;
	if (!good(&a))
		return s3_error(s, &a, e);
	if (!*a.etag || strpbrk(a.etag, "<>&"))
		return err_set(e, EBADMSG, "the server's answer to a part has no ETag");
	fprintf(list, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", no, a.etag);
	return 0;
}

static int s3_size(struct place *p, const char *name, uint64_t *ret, struct err *e);

/* The answer's status comes before the work: a failure may stand in the body of a 200. */
static int upload_end(struct s3 *s, const char *name, const char *id, const char *list, uint64_t size, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	const struct sign_pair q[] = { { "uploadId", id } };
	struct call c = { .method = "POST", .name = name, .query = q, .n_query = 1, .text = list, .size = strlen(list) };
	char code[64], message[200], words[280];
	uint64_t there = 0;

	if (s3_ask(s, &c, &a, e) < 0)
		return -e->code;
	bool failed = s3_error_parse(a.text, a.text_len, code, sizeof code, message, sizeof message);
	bool repeated = a.tries > 1 && strcmp(code, "NoSuchUpload") == 0;	/* an earlier try ended it, its answer was lost */
	if (!good(&a) && !repeated)
		return s3_error(s, &a, e);
	if (failed && !repeated) {
		answer_words(&a, words, sizeof words);
		return err_set(e, EIO, "the server cannot put the parts together: %s", words);
	}
	if (s3_size(&s->p, name, &there, e) < 0)
		return -e->code;
	return there == size ? 0 : err_set(e, EBADMSG, "%llu bytes of %llu are there", (unsigned long long)there, (unsigned long long)size);
}

/* What was sent costs until it is told to go. */
static void upload_abort(struct s3 *s, const char *name, const char *id)
{
	AUTO(answer_done) struct answer a = { 0 };
	const struct sign_pair q[] = { { "uploadId", id } };
	struct call c = { .method = "DELETE", .name = name, .query = q, .n_query = 1 };
	struct err e = { 0 };

	if (s3_ask(s, &c, &a, &e) < 0 || (!good(&a) && a.status != 404 && s3_error(s, &a, &e) < 0))
		log_warn("objects: the parts of %s stay in the bucket %s: %s", name, s->bucket, e.msg);
}

static int put_parts(struct s3 *s, const char *name, int fd, uint64_t size, struct err *e)
{
	AUTO(free) char *id = NULL, *text = NULL;
	size_t text_len;
	uint64_t part = s->part_bytes, least = (size + PARTS_MAX - 1) / PARTS_MAX;

	if (part < least)
		part = (least + (1 << 20) - 1) >> 20 << 20;
	FILE *list = open_memstream(&text, &text_len);
	if (!list)
		return err_set(e, ENOMEM, "%m");
	int rc = upload_begin(s, name, &id, e);
	fputs("<CompleteMultipartUpload>", list);
	for (uint64_t from = 0; rc == 0 && from < size; from += part)
		rc = upload_part(s, name, id, (unsigned)(from / part) + 1, fd, from, size - from < part ? size - from : part, list, e);
	fputs("</CompleteMultipartUpload>", list);
	if (fclose(list) != 0 && rc == 0)
		rc = err_set(e, ENOMEM, "%m");
	if (rc == 0)
		rc = upload_end(s, name, id, text, size, e);
	if (rc < 0 && id)
		upload_abort(s, name, id);
	return rc;
}

static int s3_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	struct s3 *s = (struct s3 *)p;

	return size > s->part_bytes ? put_parts(s, name, fd, size, e) : put_whole(s, name, fd, size, e);
}

/* ---- the others */

static int s3_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "GET", .name = name, .buf = buf, .off = off, .len = len };

	if (s3_ask((struct s3 *)p, &c, &a, e) < 0)
		return -e->code;
	return a.status == 200 || a.status == 206 ? 0 : good(&a) ? err_set(e, EIO, "the server answers %ld", a.status) : s3_error((struct s3 *)p, &a, e);
}

/* By its first byte: the answer to HEAD would not say what is missing, the file or the bucket. */
static int s3_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "GET", .name = name, .first = true };

	if (s3_ask((struct s3 *)p, &c, &a, e) < 0)
		return -e->code;
	int64_t size = a.status == 206 || a.status == 416 ? a.total : a.status == 200 ? a.length : -1;
	if (a.status == 416 && size < 0)	/* only of nothing there is no first byte */
		size = 0;
	if (size < 0)
		return good(&a) ? err_set(e, EBADMSG, "the server does not say how long it is") : s3_error((struct s3 *)p, &a, e);
	*ret = (uint64_t)size;
	return 0;
}

static int s3_delete(struct place *p, const char *name, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "DELETE", .name = name };

	if (s3_ask((struct s3 *)p, &c, &a, e) < 0)
		return -e->code;
	if (good(&a))
		return 0;
	return s3_error((struct s3 *)p, &a, e) == -ENOENT ? (*e = (struct err){ 0 }, 0) : -e->code;
}

static int list_page(struct s3 *s, const char *begin, const char *token, unsigned page, struct listing *ret, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	AUTO(free) char *prefix = NULL;
	char keys[16];
	struct sign_pair q[4] = { { "list-type", "2" }, { "max-keys", keys } };
	size_t n = 2;

	snprintf(keys, sizeof keys, "%u", page);
	if (asprintf(&prefix, "%s%s", s->prefix, begin) < 0) {
		prefix = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	if (*prefix)
		q[n++] = (struct sign_pair){ "prefix", prefix };
	if (token)
		q[n++] = (struct sign_pair){ "continuation-token", token };
	struct call c = { .method = "GET", .query = q, .n_query = n };
	if (s3_ask(s, &c, &a, e) < 0)
		return -e->code;
	return good(&a) ? s3_list_parse(a.text, a.text_len, ret, e) : s3_error(s, &a, e);
}

static int s3_check(struct place *p, struct err *e)
{
	AUTO(listing_done) struct listing l = { 0 };

	return list_page((struct s3 *)p, "", NULL, 1, &l, e);
}

static int s3_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	struct s3 *s = (struct s3 *)p;
	AUTO(free) char *token = NULL;
	size_t skip = strlen(s->prefix);

	for (unsigned page = 0; page < PAGES_MAX; page++) {
		AUTO(listing_done) struct listing l = { 0 };

		if (list_page(s, begin, token, s->page, &l, e) < 0)
			return -e->code;
		for (size_t i = 0; i < l.n; i++) {
			if (strncmp(l.items[i].name, s->prefix, skip) != 0 || strncmp(l.items[i].name + skip, begin, strlen(begin)) != 0)
				continue;
			int rc = fn(arg, l.items[i].name + skip, l.items[i].size);
			if (rc)
				return rc;
		}
		if (!l.more)
			return 0;
		if (token && strcmp(token, l.token) == 0)
			break;
		free(token);
		token = steal_ptr(&l.token);
	}
	return err_set(e, EBADMSG, "the server's list has no end");
}

static const struct place_ops s3_ops = {
	.name = "s3",
	.close = s3_close,
	.check = s3_check,
	.put = s3_put,
	.get = s3_get,
	.size = s3_size,
	.delete = s3_delete,
	.list = s3_list,
};

/* ---- opening */

static char *piece(CURLU *u, CURLUPart what, unsigned flags)
{
	AUTO(free) char *copy = NULL;
	char *s = NULL;

	if (curl_url_get(u, what, &s, flags) != CURLUE_OK)
		return NULL;
	copy = strdup(s);
	curl_free(s);
	return steal_ptr(&copy);
}

static bool is_address(const char *host)
{
	return *host == '[' || !host[strspn(host, "0123456789.")];
}

static int set_url(struct s3 *s, const struct place_conf *c, struct err *e)
{
	AUTO(curl_url_cleanup) CURLU *u = curl_url();

	if (!u)
		return err_set(e, ENOMEM, "%m");
	if (curl_url_set(u, CURLUPART_URL, c->url, 0) != CURLUE_OK)
		return err_set(e, EINVAL, "objects-url: '%.100s' is no URL", c->url);
	AUTO(free) char *scheme = piece(u, CURLUPART_SCHEME, 0), *host = piece(u, CURLUPART_HOST, 0);
	AUTO(free) char *port = piece(u, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT), *path = piece(u, CURLUPART_PATH, 0);
	AUTO(free) char *query = piece(u, CURLUPART_QUERY, 0), *user = piece(u, CURLUPART_USER, 0), *bucket = uri_encode(c->bucket, false);
	if (!scheme || !host || !bucket || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0) || query || user)
		return err_set(e, EINVAL, "objects-url is http[s]://HOST[:PORT][/PATH], not '%.100s'", user ? "one with a user" : c->url);
	if (c->virtual_host && is_address(host))
		return err_set(e, EINVAL, "objects-virtual-host needs a name in objects-url, not the address %.50s", host);
	if (strlen(c->bucket) < 3 || strlen(c->bucket) > 255)
		return err_set(e, EINVAL, "objects-bucket: '%.100s' is no name of a bucket", c->bucket);
	for (size_t n = path ? strlen(path) : 0; n && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	bool virtual = c->virtual_host;
	if (asprintf(&s->host, "%s%s%s%s%s", virtual ? c->bucket : "", virtual ? "." : "", host, port ? ":" : "", port ? port : "") < 0)
		s->host = NULL;
	if (!s->host || asprintf(&s->base, "%s://%s", scheme, s->host) < 0)
		s->base = NULL;
	if (asprintf(&s->path, "%s%s%s", path ? path : "", virtual ? "" : "/", virtual ? "" : bucket) < 0)
		s->path = NULL;
	return s->host && s->base && s->path ? 0 : err_set(e, ENOMEM, "%m");
}

int place_s3_open(const struct place_conf *c, struct place **ret, struct err *e)
{
	AUTO(place_close) struct place *p = calloc(1, sizeof(struct s3));
	struct s3 *s = (struct s3 *)p;
	struct remote_conf rc = { .ca = c->ca, .connect_s = c->connect_s, .stall_s = c->stall_s, .retries = c->retries, .retry_ms = c->retry_ms,
		.stop = c->stop };

	if (!s)
		return err_set(e, ENOMEM, "%m");
	p->ops = &s3_ops;
	s->bucket = strdup(c->bucket);
	s->prefix = strdup(c->prefix);
	s->region = strdup(*c->region ? c->region : "us-east-1");
	s->key = strdup(c->key);
	if (!s->bucket || !s->prefix || !s->region || !s->key)
		return err_set(e, ENOMEM, "%m");
	s->part_bytes = c->part_bytes;
	s->page = c->page ? c->page : 1000;
	if (set_url(s, c, e) < 0 || place_secret(c->secret_file, &s->secret, e) < 0 || remote_open(&rc, &s->remote, e) < 0)
		return -e->code;
	*ret = steal_ptr(&p);
	return 0;
}
