/* Images against their files. */
#include "../check.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/block/disk.h"
#include "image.h"

/* Its data is gone: as before it came, and it may come again. */
static int set_status(struct check *k, int64_t id, const char *status, const char *why, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, id, &o, e) < 0 || obj_set_status(&c, &o, status, e) < 0 ||
	    history_add(c.db, id, "fsck", "ok", c.request, "system", 0, why, e) < 0 || event_put(&c, &o, status, "ok", -1, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static int queue(struct check *k, int64_t id, const char *name, struct err *e)
{
	return k->running ? err_set(e, ENODATA, "only its data would mend it") : set_status(k, id, "queued", "its data is gone", e);
}

static int deactivate(struct check *k, int64_t id, const char *name, struct err *e)
{
	return set_status(k, id, "deactivated", "its data is damaged", e);
}

struct images {
	struct check *k;
	struct image {
		int64_t id;
		bool active;
	} *v;
	size_t n;
};

static int keep(void *arg, const struct row *r)
{
	struct images *x = arg;
	bool active = strcmp(r->status, "active") == 0;
	struct image *v = r->deleted || !(active || strcmp(r->status, "deactivated") == 0) ? NULL : reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 0;
	x->v = v;
	v[x->n++] = (struct image){ r->id, active };
	return 0;
}

static void check_bytes(struct check *k, struct call *c, const struct obj *o, const char *path)
{
	static const struct mend m = { "deactivated: no new server may use it", deactivate };
	const struct mend *how = strcmp(o->row.status, "active") == 0 ? &m : NULL;
	AUTO(free) char *want = NULL, *format = NULL;
	struct err e = { 0 };
	uint64_t size;
	char md5[33];

	if (obj_text(c, o, "checksum", &want, &e) < 0 || obj_text(c, o, "format", &format, &e) < 0 || disk_md5(path, md5, &size, &e) < 0)
		check_object(k, o->row.id, NULL, NULL, "its data cannot be read: %s", e.msg);
	else if (*want && strcmp(want, md5) != 0)
		check_object(k, o->row.id, how, NULL, "its data has MD5 %s and had %s when it was taken", md5, want);
	else if (strcmp(format, "qcow2") == 0 && disk_check(path, format, &e) < 0)
		check_object(k, o->row.id, how, NULL, "its data is damaged: %s", e.msg);
}

static int check_image(struct check *k, const struct image *i, struct err *e)
{
	static const struct mend again = { "queued again, for its data", queue }, off = { "deactivated: no new server may use it", deactivate };
	AUTO(call_end) struct call c = { 0 };
	char path[PATH_MAX];
	struct stat st;
	struct obj o;
	int64_t size;

	if (call_begin(&k->cl->fs, &c, e) < 0)
		return -e->code;
	if (obj_by_id(&c, i->id, &o, e) < 0 || obj_int(&c, &o, "size", &size, e) < 0) {
		bool gone = e->code == ENOENT;	/* deleted since it was listed */

		if (gone)
			*e = (struct err){ 0 };
		return gone ? 0 : -e->code;
	}
	snprintf(path, sizeof path, "%s/images/%ld.img", k->cl->fs.store, (long)i->id);
	if (stat(path, &st) < 0)
		check_object(k, i->id, &again, NULL, "its data is missing: %s: %s", path, strerror(errno));
	else if (st.st_size != size)
		check_object(k, i->id, i->active && !k->running ? &off : NULL, NULL, "its data has %ld bytes and had %ld when it was taken",
			     (long)st.st_size, (long)size);
	else if (k->data)
		check_bytes(k, &c, &o, path);
	return 0;
}

int images_check(struct check *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct images x = { .k = k };
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = row_idle(c.db, image_kind.no, keep, &x, e);
	call_end(&c);
	c = (struct call){ 0 };
	for (size_t i = 0; i < x.n && rc == 0; i++)
		rc = check_image(k, &x.v[i], e);
	if (rc == 0)
		rc = check_strays(k, "images", &image_kind, NULL, e);
	free(x.v);
	return rc;
}
