/* What a container holds, for people and programs: `listing` with tabs, `listing.json` as Swift says it.  And what it takes on disk. */
#include "object.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

struct lister {
	struct objects *os;
	FILE *out;
	bool json, any;
};

/* A field stays in its line. */
static void put_field(FILE *out, const char *s)
{
	for (; *s; s++)
		if (*s == '\t' || *s == '\n' || *s == '\\')
			fprintf(out, "\\%c", *s == '\t' ? 't' : *s == '\n' ? 'n' : '\\');
		else
			putc_unlocked(*s, out);
}

static void put_json(struct lister *l, const char *path, const struct entry *n, const char *etag, const char *type, const char *modified)
{
	json_t *j = json_pack("{s:s, s:s?, s:I, s:s, s:s}", "name", path, "hash", etag, "bytes", (json_int_t)n->size, "content_type", type,
			      "last_modified", modified);

	fputs(l->any ? ",\n  " : "\n  ", l->out);
	if (j)
		json_dumpf(j, l->out, JSON_COMPACT);
	json_decref(j);
}

static int put_object(void *arg, const char *path, const struct entry *n, const char *etag)
{
	struct lister *l = arg;
	char type[300] = "application/octet-stream", modified[64];
	struct err ignored = { 0 };
	time_t at = n->mtime / 1000000000;
	struct tm tm;

	if (etag && !*etag)
		etag = NULL;	/* not computed yet */
	if (n->attrs) {
		int64_t len = attr_get(l->os, n->id, "user.mime_type", type, sizeof type - 1, &ignored);

		if (len > 0)
			type[len] = '\0';
	}
	size_t len = strftime(modified, sizeof modified - 8, "%Y-%m-%dT%H:%M:%S", gmtime_r(&at, &tm));
	snprintf(modified + len, sizeof modified - len, ".%06d", (int)(n->mtime % 1000000000 / 1000));
	if (l->json) {
		put_json(l, path, n, etag, type, modified);
	} else {
		put_field(l->out, path);
		fprintf(l->out, "\t%lu\t%s\t", (unsigned long)n->size, etag ? etag : "-");
		put_field(l->out, type);
		fprintf(l->out, "\t%s\n", modified);
	}
	l->any = true;
	return 0;
}

int container_show_listing(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct lister l = { .os = objects_of(c->fs, e), .out = out, .json = strcmp(c->file->name, "listing.json") == 0 };

	/* what was closed is cut first, so that its MD5 is known where it is made at once */
	if (!l.os || objects_sync(l.os, e) < 0)
		return -e->code;
	fputs(l.json ? "[" : "name\tbytes\thash\tcontent_type\tlast_modified\n", out);
	int rc = name_walk(l.os, o->row.id, put_object, &l, e);
	if (l.json)
		fputs(l.any ? "\n]" : "]", out);
	return rc;
}

/* ---- what is stored: a walk over all manifests, so that what was found is good for a moment, or until there is more or less of it */

#define KNOWN 64
#define KNOWN_MS 2000

static struct known {
	int64_t space, tenant, at, bytes, count;
	struct stored s;
} known[KNOWN];
static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER;

static int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct sum {
	int64_t space, bytes, count;
};

static int add_space(void *arg, const struct space *s)
{
	struct sum *sum = arg;

	if (!sum->space || sum->space == s->id) {
		sum->bytes += s->bytes + s->version_bytes;
		sum->count += s->count + s->versions;
	}
	return 0;
}

static int stored(struct call *c, const struct obj *o, struct stored *ret, struct err *e)
{
	struct objects *os = objects_of(c->fs, e);
	int64_t space = o->kind == &container_kind ? o->row.id : 0, tenant = o->kind == &tenant_kind ? o->row.id : 0;
	struct known *k = &known[(uint64_t)o->row.id % KNOWN];
	struct sum sum = { .space = space };

	if (!os || space_list(os, o->row.tenant, add_space, &sum, e) < 0)
		return -e->code;
	pthread_mutex_lock(&known_lock);
	bool good = k->at && k->space == space && k->tenant == tenant && k->bytes == sum.bytes && k->count == sum.count &&
		mono_ms() - k->at < KNOWN_MS;
	if (good)
		*ret = k->s;
	pthread_mutex_unlock(&known_lock);
	if (good)
		return 0;
	int rc = space_stored(os, space, tenant, ret, e);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&known_lock);
	*k = (struct known){ space, tenant, mono_ms(), sum.bytes, sum.count, *ret };
	pthread_mutex_unlock(&known_lock);
	return 0;
}

int objects_show_logical(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct stored s;

	return stored(c, o, &s, e) < 0 ? -e->code : fprintf(out, "%ld", (long)s.logical) < 0;
}

int objects_show_stored(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct stored s;

	return stored(c, o, &s, e) < 0 ? -e->code : fprintf(out, "%ld", (long)s.stored) < 0;
}

/* Nothing is stored for nothing: as good as it can be. */
int objects_show_ratio(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct stored s;

	if (stored(c, o, &s, e) < 0)
		return -e->code;
	fprintf(out, "%.2f", s.stored ? (double)s.logical / (double)s.stored : 1.0);
	return 0;
}
