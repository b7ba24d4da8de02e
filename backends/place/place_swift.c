/* A container of OpenStack's Swift (docs.openstack.org/api-ref/object-store).  A token is fetched when the first request needs one, with a name and a
 * password from Swift's own TempAuth (v1) or from Keystone (v3), and anew when it is refused.  What is put goes with its MD5: what arrives damaged is
 * refused there. */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "../base/log.h"
#include "place_parts.h"

#define PAGES_MAX 1000000
#define SWIFT_FILE_MAX 5368709122ull	/* 5 GiB + 2: more would have to be put in segments */

AUTO_FN(json_t *, json_decref);

struct swift {
	struct place p;
	struct remote *remote;
	char *url, *container, *prefix, *region, *project, *user, *domain, *secret_file;
	bool keystone;
	unsigned page;
	pthread_mutex_t lock;	/* token, storage, serial; held while a new token is fetched: others wait for it */
	char *token, *storage;	/* NULL: none yet; storage has no / at its end */
	unsigned serial;	/* of the token */
};

static void swift_close(struct place *p)
{
	struct swift *s = (struct swift *)p;

	remote_close(s->remote);
	place_secret_free(s->token);
	pthread_mutex_destroy(&s->lock);
	free(s->storage);
	free(s->url);
	free(s->container);
	free(s->prefix);
	free(s->region);
	free(s->project);
	free(s->user);
	free(s->domain);
	free(s->secret_file);
	free(s);
}

/* ---- tokens.  With the lock held */

struct header {
	const char *name, *value;
};
struct headers {
	struct header h[3];
	size_t n;
};

static int swift_headers(void *arg, struct curl_slist **ret, struct err *e)
{
	const struct headers *hs = arg;

	for (size_t i = 0; i < hs->n; i++)
		if (header_add(ret, hs->h[i].name, hs->h[i].value, e) < 0)
			return -e->code;
	return 0;
}

static int auth_error(const struct answer *a, struct err *e)
{
	char words[200];

	answer_words(a, words, sizeof words);
	return answer_error(a, "authenticate", words, e) == -ENOENT ?
		err_set(e, EIO, "authenticate: the server answers 404: objects-url is not where it authenticates") : -e->code;
}

static int auth_v1(struct swift *s, const char *secret, struct answer *a, char **storage, struct err *e)
{
	AUTO(free) char *user = NULL;

	if (asprintf(&user, "%s:%s", s->project, s->user) < 0) {
		user = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	struct headers hs = { { { "X-Auth-User", user }, { "X-Auth-Key", secret } }, 2 };
	struct ask q = { .method = "GET", .url = s->url, .what = "authenticate", .headers = swift_headers, .arg = &hs };
	if (remote_ask(s->remote, &q, a, e) < 0)
		return err_prefix(e, "authenticate");
	if (a->status < 200 || a->status > 299)
		return auth_error(a, e);
	*storage = strdup(a->storage);
	return *storage ? 0 : err_set(e, ENOMEM, "%m");
}

static char *keystone_request(struct swift *s, const char *secret)
{
	AUTO(json_decref) json_t *root = json_pack("{s:{s:{s:[s],s:{s:{s:s,s:{s:s},s:s}}},s:{s:{s:s,s:{s:s}}}}}", "auth",
		"identity", "methods", "password", "password", "user", "name", s->user, "domain", "name", s->domain, "password", secret,
		"scope", "project", "name", s->project, "domain", "name", s->domain);

	return root ? json_dumps(root, JSON_COMPACT) : NULL;
}

static int auth_v3(struct swift *s, const char *secret, struct answer *a, char **storage, struct err *e)
{
	AUTO(place_secret_free) char *text = keystone_request(s, secret);
	AUTO(free) char *url = NULL;

	if (!text)
		return err_set(e, EINVAL, "objects-key or the secret is not UTF-8");
	if (asprintf(&url, "%s/auth/tokens", s->url) < 0) {
		url = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	struct headers hs = { { { "Content-Type", "application/json" } }, 1 };
	struct ask q = { .method = "POST", .url = url, .what = "authenticate", .headers = swift_headers, .arg = &hs, .text = text, .size = strlen(text) };
	if (remote_ask(s->remote, &q, a, e) < 0)
		return err_prefix(e, "authenticate");
	if (a->status < 200 || a->status > 299)
		return auth_error(a, e);
	return keystone_parse(a->text, a->text_len, s->region, storage, e) < 0 ? err_prefix(e, "authenticate") : 0;
}

/* The token is not to be read by others on the way, once the password was not. */
static int storage_check(const struct swift *s, const char *storage, struct err *e)
{
	if (strncmp(storage, "https://", 8) == 0 || (strncmp(storage, "http://", 7) == 0 && strncmp(s->url, "https://", 8) != 0))
		return 0;
	return *storage ? err_set(e, EPROTO, "authenticate: the server says the store is at '%.100s'", storage) :
		err_set(e, EPROTO, "authenticate: the server does not say where the store is");
}

static int authenticate(struct swift *s, struct err *e)
{
	AUTO(place_secret_free) char *secret = NULL;
	AUTO(free) char *storage = NULL;
	AUTO(answer_done) struct answer a = { 0 };

	if (place_secret(s->secret_file, &secret, e) < 0)	/* each time: it may be another by now */
		return -e->code;
	if ((s->keystone ? auth_v3 : auth_v1)(s, secret, &a, &storage, e) < 0 || storage_check(s, storage, e) < 0)
		return -e->code;
	if (!*a.token)
		return err_set(e, EPROTO, "authenticate: the server gives no token");
	for (size_t n = strlen(storage); n && storage[n - 1] == '/'; n--)
		storage[n - 1] = '\0';
	char *token = strdup(a.token);
	if (!token)
		return err_set(e, ENOMEM, "%m");
	place_secret_free(s->token);
	s->token = token;
	free(s->storage);
	s->storage = steal_ptr(&storage);
	s->serial++;
	return 0;
}

/* A token other than number `refused` (0: any), and where it is good: the caller's to free. */
static int token_get(struct swift *s, unsigned refused, char **token, char **storage, unsigned *serial, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	if (!s->token || s->serial == refused)
		rc = authenticate(s, e);
	if (rc == 0) {
		*token = strdup(s->token);
		*storage = strdup(s->storage);
		*serial = s->serial;
		rc = *token && *storage ? 0 : err_set(e, ENOMEM, "%m");
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* ---- a request */

struct call {
	const char *method, *name;	/* name NULL: the container */
	const char *query;		/* NULL: none */
	struct header header;		/* one more; name NULL: none */
	int fd;
	uint64_t size;
	void *buf;
	uint64_t off;
	size_t len;
};

static char *call_url(struct swift *s, const char *storage, const struct call *c)
{
	AUTO(free) char *container = uri_encode(s->container, false), *prefix = uri_encode(s->prefix, true);
	char *url = NULL;

	if (!container || !prefix || asprintf(&url, "%s/%s%s%s%s%s%s", storage, container, c->name ? "/" : "", c->name ? prefix : "", c->name ? c->name : "",
					      c->query ? "?" : "", c->query ? c->query : "") < 0)
		return NULL;
	return url;
}

static int call_once(struct swift *s, const struct call *c, unsigned refused, unsigned *serial, struct answer *a, struct err *e)
{
	AUTO(place_secret_free) char *token = NULL;
	AUTO(free) char *storage = NULL, *url = NULL, *what = NULL;
	char range[64];
	struct headers hs = { .n = 1 };
	struct ask q = { .method = c->method, .headers = swift_headers, .arg = &hs, .fd = c->fd, .size = c->size, .buf = c->buf, .off = c->off, .len = c->len };

	if (token_get(s, refused, &token, &storage, serial, e) < 0)
		return -e->code;
	url = call_url(s, storage, c);
	if (asprintf(&what, "%s %s", c->method, c->name ? c->name : s->container) < 0)
		what = NULL;
	if (!url || !what)
		return err_set(e, ENOMEM, "%m");
	hs.h[0] = (struct header){ "X-Auth-Token", token };
	if (c->header.name)
		hs.h[hs.n++] = c->header;
	if (c->buf) {
		snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)c->off, (unsigned long long)(c->off + c->len - 1));
		hs.h[hs.n++] = (struct header){ "Range", range };
	}
	q.url = url;
	q.what = what;
	return remote_ask(s->remote, &q, a, e);
}

static int swift_ask(struct swift *s, const struct call *c, struct answer *a, struct err *e)
{
	unsigned serial = 0;
	int rc = call_once(s, c, 0, &serial, a, e);

	if (rc == 0 && a->status == 401)	/* the token ran out */
		rc = call_once(s, c, serial, &serial, a, e);
	return rc;
}

/* What the answer means; 404: is it the container that is not there? */
static int swift_error(struct swift *s, const struct answer *a, struct err *e)
{
	char words[200];

	answer_words(a, words, sizeof words);
	if (a->status == 404) {
		AUTO(answer_done) struct answer c = { 0 };
		struct call head = { .method = "HEAD" };

		if (swift_ask(s, &head, &c, e) < 0)
			return -e->code;
		if (c.status == 404)
			return err_set(e, EIO, "the server has no container '%s' (objects-bucket)", s->container);
	}
	return answer_error(a, "", a->status == 404 ? "" : words, e);
}

static bool good(const struct answer *a)
{
	return a->status >= 200 && a->status < 300;
}

static int swift_check(struct place *p, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "HEAD" };

	return swift_ask((struct swift *)p, &c, &a, e) < 0 ? -e->code : good(&a) ? 0 : swift_error((struct swift *)p, &a, e);
}

/* "d41d..." or d41d... */
static bool same_etag(const char *etag, const char *md5)
{
	size_t quote = *etag == '"';

	return strncasecmp(etag + quote, md5, MD5_HEX - 1) == 0 && strlen(etag) == MD5_HEX - 1 + 2 * quote;
}

static int swift_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	struct swift *s = (struct swift *)p;
	AUTO(answer_done) struct answer a = { 0 };
	char md5[MD5_HEX];

	if (size > SWIFT_FILE_MAX)
		return err_set(e, EFBIG, "it has %llu bytes; Swift takes %llu", (unsigned long long)size, SWIFT_FILE_MAX);
	if (md5_of_fd(fd, 0, size, md5, e) < 0)
		return -e->code;
	struct call c = { .method = "PUT", .name = name, .fd = fd, .size = size, .header = { "ETag", md5 } };
	int rc = swift_ask(s, &c, &a, e);
	if (rc == 0 && a.status == 422)		/* damaged on the way: once more */
		rc = swift_ask(s, &c, &a, e);
	if (rc < 0)
		return rc;
	if (!good(&a))
		return swift_error(s, &a, e);
	return same_etag(a.etag, md5) ? 0 : err_set(e, EBADMSG, "the server stored something else: its ETag is %.40s, not %s", a.etag, md5);
}

static int swift_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "GET", .name = name, .buf = buf, .off = off, .len = len };

	if (swift_ask((struct swift *)p, &c, &a, e) < 0)
		return -e->code;
	return a.status == 200 || a.status == 206 ? 0 : good(&a) ? err_set(e, EIO, "the server answers %ld", a.status) :
		swift_error((struct swift *)p, &a, e);
}

static int swift_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "HEAD", .name = name };

	if (swift_ask((struct swift *)p, &c, &a, e) < 0)
		return -e->code;
	if (!good(&a))
		return swift_error((struct swift *)p, &a, e);
	if (a.length < 0)
		return err_set(e, EBADMSG, "the server does not say how long it is");
	*ret = (uint64_t)a.length;
	return 0;
}

static int swift_delete(struct place *p, const char *name, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	struct call c = { .method = "DELETE", .name = name };

	if (swift_ask((struct swift *)p, &c, &a, e) < 0)
		return -e->code;
	if (good(&a))
		return 0;
	return swift_error((struct swift *)p, &a, e) == -ENOENT ? (*e = (struct err){ 0 }, 0) : -e->code;
}

/* ---- lists */

static int list_page(struct swift *s, const char *prefix, const char *marker, struct listing *ret, struct err *e)
{
	AUTO(answer_done) struct answer a = { 0 };
	AUTO(free) char *query = NULL;
	char limit[16];
	struct sign_pair q[4] = { { "format", "json" }, { "prefix", prefix }, { "marker", marker }, { "limit", limit } };

	snprintf(limit, sizeof limit, "%u", s->page);
	if (sign_query(q, s->page ? 4 : 3, &query, e) < 0)
		return -e->code;
	struct call c = { .method = "GET", .query = query };
	if (swift_ask(s, &c, &a, e) < 0)
		return -e->code;
	if (!good(&a))
		return swift_error(s, &a, e);
	return a.status == 204 ? 0 : swift_list_parse(a.text, a.text_len, ret, e);
}

static int swift_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	struct swift *s = (struct swift *)p;
	AUTO(free) char *prefix = NULL, *marker = strdup("");
	size_t skip = strlen(s->prefix);

	if (asprintf(&prefix, "%s%s", s->prefix, begin) < 0)
		prefix = NULL;
	if (!prefix || !marker)
		return err_set(e, ENOMEM, "%m");
	for (unsigned page = 0; page < PAGES_MAX; page++) {
		AUTO(listing_done) struct listing l = { 0 };

		if (list_page(s, prefix, marker, &l, e) < 0)
			return -e->code;
		if (!l.n)
			return 0;
		for (size_t i = 0; i < l.n; i++) {
			if (strncmp(l.items[i].name, prefix, strlen(prefix)) != 0)
				continue;
			int rc = fn(arg, l.items[i].name + skip, l.items[i].size);
			if (rc)
				return rc;
		}
		if (strcmp(l.items[l.n - 1].name, marker) <= 0)
			break;
		free(marker);
		marker = steal_ptr(&l.items[l.n - 1].name);
	}
	return err_set(e, EBADMSG, "the server's list has no end");
}

static const struct place_ops swift_ops = {
	.name = "swift",
	.close = swift_close,
	.check = swift_check,
	.put = swift_put,
	.get = swift_get,
	.size = swift_size,
	.delete = swift_delete,
	.list = swift_list,
};

/* ---- opening */

/* "http://host/auth/v1.0", "https://host:5000/v3", with or without / at the end. */
static int set_url(struct swift *s, const char *url, struct err *e)
{
	size_t n = strlen(url);

	if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
		return err_set(e, EINVAL, "objects-url: '%.100s' is no URL of http or https", url);
	while (n && url[n - 1] == '/')
		n--;
	s->url = strndup(url, n);
	if (!s->url)
		return err_set(e, ENOMEM, "%m");
	s->keystone = n > 3 && strcmp(s->url + n - 3, "/v3") == 0;
	if (s->keystone || (n > 5 && strcmp(s->url + n - 5, "/v1.0") == 0) || (n > 3 && strcmp(s->url + n - 3, "/v1") == 0))
		return 0;
	return err_set(e, EINVAL, "objects-url ends in /auth/v1.0 (TempAuth) or /v3 (Keystone), not '%.100s'", url);
}

int place_swift_open(const struct place_conf *c, struct place **ret, struct err *e)
{
	AUTO(place_close) struct place *p = calloc(1, sizeof(struct swift));
	struct swift *s = (struct swift *)p;
	struct remote_conf rc = { .ca = c->ca, .connect_s = c->connect_s, .stall_s = c->stall_s, .retries = c->retries, .retry_ms = c->retry_ms,
		.stop = c->stop };
	const char *colon = strchr(c->key, ':');

	if (!s)
		return err_set(e, ENOMEM, "%m");
	p->ops = &swift_ops;
	pthread_mutex_init(&s->lock, NULL);
	if (!colon || colon == c->key || !colon[1])
		return err_set(e, EINVAL, "objects-key is ACCOUNT:USER or PROJECT:USER for a swift, not '%.100s'", c->key);
	s->container = strdup(c->bucket);
	s->prefix = strdup(c->prefix);
	s->region = strdup(c->region);
	s->domain = strdup(*c->domain ? c->domain : "Default");
	s->secret_file = strdup(c->secret_file);
	s->project = strndup(c->key, (size_t)(colon - c->key));
	s->user = strdup(colon + 1);
	s->page = c->page;
	if (!s->container || !s->prefix || !s->region || !s->domain || !s->secret_file || !s->project || !s->user)
		return err_set(e, ENOMEM, "%m");
	AUTO(place_secret_free) char *secret = NULL;
	if (set_url(s, c->url, e) < 0 || place_secret(c->secret_file, &secret, e) < 0 || remote_open(&rc, &s->remote, e) < 0)
		return -e->code;
	*ret = steal_ptr(&p);
	return 0;
}
