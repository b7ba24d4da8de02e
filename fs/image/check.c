/* Images against the object store, and against their base files. */
#include "../check.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/block/disk.h"
#include "../object/object.h"
#include "store.h"

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

static int forget_base(struct check *k, int64_t id, const char *name, struct err *e)
{
	return base_forget(&k->cl->fs, id, !k->running, e);
}

static int make_base(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(image_release) int64_t mine = image_hold(id);

	return mine ? base_make(&k->cl->fs, id, NULL, NULL, e) : err_set(e, EBUSY, "somebody is at it");
}

static int put_again(struct check *k, int64_t id, const char *path, struct err *e)
{
	return image_put(&k->cl->fs, id, path, NULL, NULL, e);
}

struct images {
	struct check *k;
	int64_t *v;
	size_t n;
};

static int keep(void *arg, const struct row *r)
{
	struct images *x = arg;
	int64_t *v = r->deleted || !word_in("active deactivated", r->status) ? NULL : reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 0;
	x->v = v;
	v[x->n++] = r->id;
	return 0;
}

struct seen {
	int64_t id, size;	/* size: as it was taken */
	bool active;
	char *checksum, *format;
	char path[PATH_MAX];	/* of its base file */
	int64_t base;		/* bytes of that; -1: there is none */
};

static bool base_is_whole(const struct seen *i)
{
	struct err e = { 0 };
	uint64_t bytes;
	char md5[33];

	return i->base == i->size && disk_md5(i->path, md5, &bytes, &e) == 0 && (!*i->checksum || strcmp(md5, i->checksum) == 0);
}

static const struct mend *take_from_use(struct check *k, const struct seen *i)
{
	static const struct mend off = { "deactivated: no new server may use it", deactivate };

	return i->active && !k->running ? &off : NULL;
}

/* Damage in the object store: the base file may be as good as what was taken. */
static void tell_lost(struct check *k, const struct seen *i, const char *wrong)
{
	static const struct mend put = { "its data is taken from its base file", put_again };
	bool whole = !k->running && base_is_whole(i);

	check_object(k, i->id, whole ? &put : take_from_use(k, i), i->path, "%s", wrong);
}

/* The object store looks at its own chunks: what it cannot read is told there. */
static void check_bytes(struct check *k, const struct seen *i, bool stored)
{
	static const struct mend anew = { "removed; it is made anew when a server needs it", forget_base };
	struct err e = { 0 };
	uint64_t bytes;
	char md5[33];
	int rc = stored ? image_md5(&k->cl->fs, i->id, md5, &e) : disk_md5(i->path, md5, &bytes, &e);

	if (rc < 0 && e.code != EBADMSG)
		check_object(k, i->id, NULL, NULL, "its data cannot be read: %s", e.msg);
	else if (rc == 0 && *i->checksum && strcmp(i->checksum, md5) != 0)
		check_object(k, i->id, take_from_use(k, i), NULL, "its data has MD5 %s and had %s when it was taken", md5, i->checksum);
	else if (stored && i->base >= 0 && !base_is_whole(i))
		check_object(k, i->id, &anew, NULL, "its base file %s is not what was taken", i->path);
	else if (i->base >= 0 && strcmp(i->format, "qcow2") == 0 && disk_check(i->path, i->format, &e) < 0)
		check_object(k, i->id, take_from_use(k, i), NULL, "its data is damaged: %s", e.msg);
}

static void check_base(struct check *k, const struct seen *i)
{
	static const struct mend anew = { "removed; it is made anew when a server needs it", forget_base }, again = { "made again", make_base };
	bool used = false;

	if (i->base >= 0 && i->base != i->size)
		check_object(k, i->id, &anew, NULL, "its base file has %ld bytes, and its data %ld", (long)i->base, (long)i->size);
	else if (i->base < 0 && base_in_use(&k->cl->fs, i->id, true, &used, &(struct err){ 0 }) == 0 && used)
		check_object(k, i->id, &again, NULL, "its base file is missing, and disks of servers stand on it: %s", i->path);
	else if (k->data)
		check_bytes(k, i, true);
}

/* One that only an older cirrusfs knew, or the object store cannot be opened: then it says so itself. */
static void check_file(struct check *k, const struct seen *i, bool open)
{
	static const struct mend again = { "queued again, for its data", queue };

	if (i->base < 0 && open)
		check_object(k, i->id, &again, NULL, "its data is missing: it is not in the object store, and there is no %s", i->path);
	else if (i->base >= 0 && i->base != i->size)
		check_object(k, i->id, take_from_use(k, i), NULL, "its data has %ld bytes and had %ld when it was taken", (long)i->base, (long)i->size);
	else if (i->base >= 0 && k->data)
		check_bytes(k, i, false);
}

static int look(struct check *k, int64_t id, struct seen *i, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct stat st;
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || obj_by_id(&c, id, &o, e) < 0 || obj_int(&c, &o, "size", &i->size, e) < 0 ||
	    obj_text(&c, &o, "checksum", &i->checksum, e) < 0 || obj_text(&c, &o, "format", &i->format, e) < 0)
		return -e->code;
	i->id = id;
	i->active = strcmp(o.row.status, "active") == 0;
	snprintf(i->path, sizeof i->path, "%s/images/%ld.img", k->cl->fs.store, (long)id);
	i->base = stat(i->path, &st) == 0 ? st.st_size : -1;
	return 0;
}

static int check_image(struct check *k, int64_t id, struct err *e)
{
	struct seen i = { 0 };
	struct err why = { 0 };
	int64_t stored = 0;
	int rc = look(k, id, &i, e);

	if (rc == 0 && (rc = image_stored(&k->cl->fs, id, &stored, &why)) > 0 && stored == i.size)
		check_base(k, &i);
	else if (rc > 0) {
		char wrong[160];

		snprintf(wrong, sizeof wrong, "its data has %ld bytes in the object store and had %ld when it was taken", (long)stored, (long)i.size);
		tell_lost(k, &i, wrong);
	} else if (!e->code) {
		check_file(k, &i, !*k->cl->objects_error);
	}
	free(i.checksum);
	free(i.format);
	if (e->code == ENOENT)	/* deleted since it was listed */
		*e = (struct err){ 0 };
	return -e->code;
}

void image_damaged(struct check *k, int64_t id, const char *wrong)
{
	struct seen i = { 0 };
	struct err e = { 0 };

	if (look(k, id, &i, &e) == 0)
		tell_lost(k, &i, wrong);
	free(i.checksum);
	free(i.format);
}

/* ---- objects of images that do not exist */

static int save_object(struct check *k, int64_t row, const char *path, struct err *e)
{
	AUTO(close) int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	AUTO(object_close) struct object *o = NULL;
	int64_t size;

	if (fd < 0)
		return err_set(e, errno, "make %s: %m", path);
	if (image_stored(&k->cl->fs, row, &size, e) < 0 || image_open(&k->cl->fs, row, &o, e) < 0 || image_get(o, 0, size, fd, NULL, NULL, e) < 0) {
		unlink(path);
		return -e->code;
	}
	return fsync(fd) < 0 ? err_set(e, errno, "write %s: %m", path) : 0;
}

/* The state may be an older copy, and this somebody's only one. */
static int lose_object(struct check *k, int64_t row, const char *name, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 64];
	int rc = -EEXIST;

	snprintf(dir, sizeof dir, "%s/lost+found", k->cl->fs.store);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make %s: %m", dir);
	for (int i = 0; i < 100 && rc == -EEXIST; i++) {
		*e = (struct err){ 0 };
		snprintf(path, sizeof path, i ? "%s/images-%ld.data.%d" : "%s/images-%ld.data", dir, (long)row, i);
		rc = save_object(k, row, path, e);
	}
	return rc < 0 ? rc : image_drop(&k->cl->fs, row, e);
}

/* What a crash left on its way goes with the next mount. */
static int check_name_known(void *arg, const char *name, struct err *e)
{
	static const struct mend m = { "moved to lost+found", lose_object };
	struct check *k = arg;
	char thing[80], *end;
	int64_t row = strtol(name, &end, 10);
	bool is_row = !*end && row > 0;
	int rc = image_part_name(name) ? 1 : is_row ? check_known(k, &image_kind, row, e) : 0;

	snprintf(thing, sizeof thing, "objects: data of image %s", name);
	if (rc == 0)
		check_fault(k, 0, thing, is_row ? &m : NULL, row, NULL, "there is no such image");
	return rc < 0 ? rc : 0;
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
		rc = check_image(k, x.v[i], e);
	if (rc == 0 && !k->running && k->cl->objects)
		rc = images_stored(&k->cl->fs, check_name_known, k, e);
	if (rc == 0)
		rc = check_strays(k, "images", &image_kind, NULL, e);
	free(x.v);
	return rc;
}
