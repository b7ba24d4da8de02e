/* AWS Signature Version 4, and the digests that go with what is put. */
#include <ctype.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "place_parts.h"

#include "../base/text.h"

#define STEP (256 << 10)
#define SHA256_LEN 32

AUTO_FN(EVP_MD_CTX *, EVP_MD_CTX_free);

/* ---- digests */

static int fd_digest(const EVP_MD *md, int fd, uint64_t from, uint64_t size, char *ret, struct err *e)
{
	AUTO(EVP_MD_CTX_free) EVP_MD_CTX *c = EVP_MD_CTX_new();
	AUTO(free) void *buf = malloc(STEP);
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!c || !buf || !EVP_DigestInit_ex(c, md, NULL))
		return err_set(e, ENOMEM, "%m");
	for (uint64_t done = 0; done < size; ) {
		size_t n = size - done < STEP ? (size_t)(size - done) : STEP;

		if (place_pread(fd, buf, n, from + done, e) < 0)
			return -e->code;
		if (!EVP_DigestUpdate(c, buf, n))
			return err_set(e, EIO, "the digest of it cannot be computed");
		done += n;
	}
	if (!EVP_DigestFinal_ex(c, sum, &len))
		return err_set(e, EIO, "the digest of it cannot be computed");
	hex_text(ret, sum, len);
	return 0;
}

int sha256_of_fd(int fd, uint64_t from, uint64_t size, char ret[SHA256_HEX], struct err *e)
{
	return fd_digest(EVP_sha256(), fd, from, size, ret, e);
}

int md5_of_fd(int fd, uint64_t from, uint64_t size, char ret[MD5_HEX], struct err *e)
{
	return fd_digest(EVP_md5(), fd, from, size, ret, e);
}

int sha256_of_text(const char *text, char ret[SHA256_HEX], struct err *e)
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (!EVP_Digest(text, strlen(text), sum, &len, EVP_sha256(), NULL))
		return err_set(e, EIO, "the digest of it cannot be computed");
	hex_text(ret, sum, len);
	return 0;
}

/* ---- the canonical form */

char *uri_encode(const char *text, bool keep_slash)
{
	char *ret = malloc(3 * strlen(text) + 1), *to = ret;

	if (!ret)
		return NULL;
	for (const unsigned char *s = (const unsigned char *)text; *s; s++)
		if ((*s < 0x80 && isalnum(*s)) || strchr("-._~", *s) || (*s == '/' && keep_slash))
			*to++ = (char)*s;
		else
			to += snprintf(to, 4, "%%%02X", *s);
	*to = '\0';
	return ret;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void texts_free(char **t)
{
	for (size_t i = 0; t[i]; i++)
		free(t[i]);
	free(t);
}
AUTO_FN(char **, texts_free);

/* All of them, `between` each two. */
static char *joined(char *const *t, const char *between)
{
	char *ret = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&ret, &size);

	if (!out)
		return NULL;
	for (size_t i = 0; t[i]; i++)
		fprintf(out, "%s%s", i ? between : "", t[i]);
	if (fclose(out) != 0) {
		free(ret);
		return NULL;
	}
	return ret;
}

int sign_query(const struct sign_pair *q, size_t n, char **ret, struct err *e)
{
	AUTO(texts_free) char **t = calloc(n + 1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++) {
		AUTO(free) char *name = uri_encode(q[i].name, false);
		AUTO(free) char *value = uri_encode(q[i].value, false);

		if (!name || !value || asprintf(&t[i], "%s=%s", name, value) < 0) {
			t[i] = NULL;
			return err_set(e, ENOMEM, "%m");
		}
	}
	qsort(t, n, sizeof *t, by_text);
	*ret = joined(t, "&");
	return *ret ? 0 : err_set(e, ENOMEM, "%m");
}

/* "name:value": the name in lower case, blanks around the value gone and those within it one. */
static char *header_line(const struct sign_pair *h)
{
	char *ret = malloc(strlen(h->name) + strlen(h->value) + 2), *to = ret;

	if (!ret)
		return NULL;
	for (const char *s = h->name; *s; s++)
		*to++ = (char)tolower((unsigned char)*s);
	*to++ = ':';
	char *begin = to;
	for (const char *s = h->value; *s; s++)
		if (*s != ' ' || (to > begin && to[-1] != ' '))
			*to++ = *s;
	while (to > begin && to[-1] == ' ')
		to--;
	*to = '\0';
	return ret;
}

static int by_name(const void *a, const void *b)
{
	const char *x = *(char *const *)a, *y = *(char *const *)b;
	size_t n = strcspn(x, ":"), m = strcspn(y, ":");
	int order = strncmp(x, y, n < m ? n : m);

	return order ? order : (n > m) - (n < m);
}

static int headers_of(const struct sign_pair *h, size_t n, char **lines, char **names, struct err *e)
{
	AUTO(texts_free) char **t = calloc(n + 1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < n; i++)
		if (!(t[i] = header_line(&h[i])))
			return err_set(e, ENOMEM, "%m");
	qsort(t, n, sizeof *t, by_name);
	*lines = joined(t, "\n");
	for (size_t i = 0; i < n; i++)
		t[i][strcspn(t[i], ":")] = '\0';
	*names = joined(t, ";");
	return *lines && *names ? 0 : err_set(e, ENOMEM, "%m");
}

/* ---- the signature */

void sign_date(time_t now, char ret[SIGN_DATE])
{
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(ret, SIGN_DATE, "%Y%m%dT%H%M%SZ", &tm);
}

static bool hmac(const void *key, size_t len, const char *text, unsigned char ret[SHA256_LEN])
{
	unsigned n = 0;

	return HMAC(EVP_sha256(), key, (int)len, (const unsigned char *)text, strlen(text), ret, &n) && n == SHA256_LEN;
}

static int signature(const struct sign *s, const char *day, const char *text, char ret[SHA256_HEX], struct err *e)
{
	const char *const steps[] = { day, s->region, s->service, "aws4_request", text };
	AUTO(free) char *first = NULL;
	unsigned char k[SHA256_LEN];

	if (asprintf(&first, "AWS4%s", s->secret) < 0) {
		first = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	bool good = hmac(first, strlen(first), steps[0], k);
	for (size_t i = 1; i < ARRAY_LEN(steps); i++) {
		unsigned char next[SHA256_LEN];

		good = good && hmac(k, sizeof k, steps[i], next);
		if (good)
			memcpy(k, next, sizeof k);
	}
	OPENSSL_cleanse(first, strlen(first));
	hex_text(ret, k, sizeof k);
	OPENSSL_cleanse(k, sizeof k);
	return good ? 0 : err_set(e, EIO, "the signature cannot be computed");
}

int sign_request(const struct sign *s, const char *method, const char *path, const char *query, const struct sign_pair *headers, size_t n,
		 const char *payload, char **ret, struct err *e)
{
	AUTO(free) char *lines = NULL, *names = NULL, *request = NULL, *text = NULL;
	char date[SIGN_DATE], day[9], sum[SHA256_HEX], sig[SHA256_HEX];

	sign_date(s->now, date);
	snprintf(day, sizeof day, "%.8s", date);
	if (headers_of(headers, n, &lines, &names, e) < 0)
		return -e->code;
	if (asprintf(&request, "%s\n%s\n%s\n%s\n\n%s\n%s", method, path, query, lines, names, payload) < 0) {
		request = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	if (sha256_of_text(request, sum, e) < 0)
		return -e->code;
	if (asprintf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/%s/aws4_request\n%s", date, day, s->region, s->service, sum) < 0) {
		text = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	if (signature(s, day, text, sig, e) < 0)
		return -e->code;
	if (asprintf(ret, "AWS4-HMAC-SHA256 Credential=%s/%s/%s/%s/aws4_request, SignedHeaders=%s, Signature=%s",
		     s->key, day, s->region, s->service, names, sig) < 0)
		return err_set(e, ENOMEM, "%m");
	return 0;
}
