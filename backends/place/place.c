/* The checked front of the places, and what their kinds share. */
#include "place_parts.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>

#define SECRET_MAX 1024

static const struct {
	const char *name;
	int (*open)(const struct place_conf *c, struct place **ret, struct err *e);
	bool remote;
} kinds[] = {
	{ "local", place_local_open, false },
	{ "s3", place_s3_open, true },
	{ "swift", place_swift_open, true },
};

bool place_name_ok(const char *name)
{
	static const char good[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n = strspn(name, good);

	return n && n <= PLACE_NAME_MAX && !name[n] && *name != '.' && *name != '-';
}

int place_pread(int fd, void *buf, size_t len, uint64_t off, struct err *e)
{
	for (size_t done = 0; done < len; ) {
		ssize_t n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(e, errno, "read: %m");
		if (n == 0)
			return err_set(e, EIO, "the file ends at %llu, before %llu", (unsigned long long)(off + done), (unsigned long long)(off + len));
		done += (size_t)n;
	}
	return 0;
}

void place_secret_free(char *secret)
{
	if (secret)
		OPENSSL_cleanse(secret, strlen(secret));
	free(secret);
}

int place_secret(const char *path, char **ret, struct err *e)
{
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	char buf[SECRET_MAX + 2] = "";
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "open %.200s (objects-secret-file): %m", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%.200s (objects-secret-file) is no file", path);
	if (st.st_mode & 0007)
		return err_set(e, EACCES, "%.200s (objects-secret-file) is open to everyone: chmod 600", path);
	ssize_t n = pread(fd, buf, sizeof buf - 1, 0);
	if (n < 0)
		return err_set(e, errno, "read %.200s (objects-secret-file): %m", path);
	buf[strcspn(buf, "\r\n")] = '\0';
	size_t len = strlen(buf);
	int rc = len == 0 ? err_set(e, EINVAL, "%.200s (objects-secret-file): its first line is empty", path) :
		len > SECRET_MAX ? err_set(e, EINVAL, "%.200s (objects-secret-file): its first line is longer than %d bytes", path, SECRET_MAX) : 0;
	if (rc == 0 && !(*ret = strdup(buf)))
		rc = err_set(e, ENOMEM, "%m");
	OPENSSL_cleanse(buf, sizeof buf);
	return rc;
}

/* ---- opening */

static int conf_check(const struct place_conf *c, bool remote, struct err *e)
{
	const char *const texts[] = { c->url, c->bucket, c->prefix, c->region, c->key, c->domain };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		for (const char *s = texts[i]; *s; s++)
			if ((unsigned char)*s < 0x20 || *s == 0x7f)
				return err_set(e, EINVAL, "a setting of the objects' place holds a control character");
	if (!*c->url)
		return err_set(e, EINVAL, "objects-url is not set");
	if (remote && !*c->bucket)
		return err_set(e, EINVAL, "objects-bucket is not set");
	if (strlen(c->bucket) > 256 || strchr(c->bucket, '/'))
		return err_set(e, EINVAL, "objects-bucket: '%.100s' is no name of a bucket", c->bucket);
	if (strlen(c->prefix) > 512 || *c->prefix == '/')
		return err_set(e, EINVAL, "objects-prefix: '%.100s' is too long, or begins with /", c->prefix);
	if (remote && (!*c->key || !*c->secret_file))
		return err_set(e, EINVAL, "%s is not set", *c->key ? "objects-secret-file" : "objects-key");
	return 0;
}

static struct place_conf conf_filled(const struct place_conf *c)
{
	struct place_conf r = *c;

#define TEXT(f) (r.f = r.f ? r.f : "")
	TEXT(kind), TEXT(url), TEXT(bucket), TEXT(prefix), TEXT(region), TEXT(key), TEXT(domain), TEXT(secret_file), TEXT(ca), TEXT(cache_dir), TEXT(faults);
#undef TEXT
#define NUMBER(f, usual) (r.f = r.f ? r.f : (usual))
	NUMBER(connect_s, 10), NUMBER(stall_s, 30), NUMBER(retries, 6), NUMBER(retry_ms, 200), NUMBER(part_bytes, 64 << 20);
#undef NUMBER
	return r;
}

static int wrap(struct place **p, const struct place_conf *c, struct err *e)
{
	AUTO(free) char *origin = NULL;

	if (*c->faults && place_fault_wrap(p, c->faults, e) < 0)
		return -e->code;
	if (!*c->cache_dir || !c->cache_bytes)
		return 0;
	if (asprintf(&origin, "%s %s %s %s %s", c->kind, c->url, c->bucket, c->prefix, c->region) < 0) {
		origin = NULL;
		return err_set(e, ENOMEM, "%m");
	}
	return place_cache_wrap(p, c->cache_dir, c->cache_bytes, origin, e);
}

static int kind_of(const char *name, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].name, name) == 0)
			return (int)i;
	return err_set(e, EINVAL, "objects-place is one of local s3 swift, not '%.50s'", name);
}

int place_valid(const struct place_conf *conf, struct err *e)
{
	AUTO(place_close) struct place *p = NULL;
	struct place_conf c = conf_filled(conf);
	int i = kind_of(c.kind, e);

	if (i < 0 || conf_check(&c, kinds[i].remote, e) < 0)
		return -e->code;
	return kinds[i].remote ? kinds[i].open(&c, &p, e) : 0;
}

int place_open(const struct place_conf *conf, struct place **ret, struct err *e)
{
	AUTO(place_close) struct place *p = NULL;
	struct place_conf c = conf_filled(conf);
	int i = kind_of(c.kind, e);

	if (i < 0 || conf_check(&c, kinds[i].remote, e) < 0 || kinds[i].open(&c, &p, e) < 0)
		return -e->code;
	if (!kinds[i].remote)
		c.cache_bytes = 0;
	if (wrap(&p, &c, e) < 0)
		return -e->code;
	*ret = steal_ptr(&p);
	return 0;
}

void place_close(struct place *p)
{
	if (p)
		p->ops->close(p);
}

/* ---- the operations */

int place_check(struct place *p, struct err *e)
{
	int rc = p->ops->check(p, e);

	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s", p->ops->name) : 0;
}

int place_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	assert(place_name_ok(name) && fd >= 0 && size <= INT64_MAX);
	int rc = p->ops->put(p, name, fd, size, e);

	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s: put %s", p->ops->name, name) : 0;
}

int place_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	assert(place_name_ok(name) && len && len <= INT64_MAX && off <= INT64_MAX - len);
	int rc = p->ops->get(p, name, off, len, buf, e);

	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s: get %s", p->ops->name, name) : 0;
}

int place_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	assert(place_name_ok(name));
	int rc = p->ops->size(p, name, ret, e);

	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s: look at %s", p->ops->name, name) : 0;
}

int place_delete(struct place *p, const char *name, struct err *e)
{
	assert(place_name_ok(name));
	int rc = p->ops->delete(p, name, e);

	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s: delete %s", p->ops->name, name) : 0;
}

struct told {
	place_fn *fn;
	void *arg;
	int rc;		/* what fn said */
};

/* What is none of ours is not told. */
static int tell(void *arg, const char *name, uint64_t size)
{
	struct told *t = arg;

	return place_name_ok(name) ? t->rc = t->fn(t->arg, name, size) : 0;
}

int place_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	struct told t = { .fn = fn, .arg = arg };

	assert(!*begin || place_name_ok(begin));
	int rc = p->ops->list(p, begin, tell, &t, e);

	if (t.rc)
		return t.rc;
	assert(rc == 0 || rc == -e->code);
	return rc < 0 ? err_prefix(e, "%s: list", p->ops->name) : 0;
}

void place_forget(struct place *p, const char *name)
{
	assert(place_name_ok(name));
	if (p->ops->forget)
		p->ops->forget(p, name);
}

int place_fd(struct place *p, const char *name, int *ret, struct err *e)
{
	assert(place_name_ok(name));
	int rc = p->ops->fd ? p->ops->fd(p, name, ret, e) : 0;

	return rc < 0 ? err_prefix(e, "%s: open %s", p->ops->name, name) : rc;
}

void place_cache_stats(struct place *p, struct place_cache_stats *ret)
{
	*ret = (struct place_cache_stats){ 0 };
	if (p->ops->stats)
		p->ops->stats(p, ret);
}
