/* Images: `data` is written while queued, inspected and taken into the object store at the last close, and read when active.
 * open(2) for writing begins the task: whoever waits waits for the upload too, and one that a crash cut off is found by its task. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/base/log.h"
#include "../../backends/block/disk.h"
#include "../tree/value.h"

AUTO_FN(DIR *, closedir);

/* ---- uploads under way, in memory: a process that starts finds none */

static struct upload {
	int64_t image;		/* 0: free */
	unsigned writers;
	bool broken;
} uploads[256];
static pthread_mutex_t uploads_lock = PTHREAD_MUTEX_INITIALIZER;

static struct upload *upload_of(int64_t image)
{
	for (size_t i = 0; i < ARRAY_LEN(uploads); i++)
		if (uploads[i].image == image)
			return &uploads[i];
	return NULL;
}

void image_path(struct cloud *cl, int64_t image, const char *suffix, char *ret, size_t size)
{
	snprintf(ret, size, "%s/images/%ld%s", cl->data, (long)image, suffix);
}

int image_virtual_gib(struct call *c, const struct obj *image, int64_t *ret, struct err *e)
{
	int64_t bytes;

	if (obj_int(c, image, "virtual_size", &bytes, e) < 0)
		return -e->code;
	*ret = (bytes + (1 << 30) - 1) >> 30;
	return 0;
}

/* ---- data: raw bytes */

struct open_data {
	struct fs *fs;
	int64_t image;
	bool write;
	struct object *o;	/* for reading */
	char name[256];		/* the image's, for sentences */
	uint64_t size;		/* bytes of the head that came */
	char head[];
};

#define HEAD (64 << 10)		/* bytes in which every header ends that names another file */

static int data_size(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	char path[300];
	struct stat st;

	if (word_in("active deactivated", o->row.status))
		return obj_int(c, o, "size", ret, e);
	image_path(cloud_of(c->fs), o->row.id, ".upload", path, sizeof path);
	*ret = stat(path, &st) == 0 ? st.st_size : 0;
	return 0;
}

/* A process that ended between making the file of an upload and recording its task left a file that nobody will look for; so did one that ended
 * while it wrote a base file. */
void uploads_sweep(struct cloud *cl)
{
	AUTO(call_end) struct call c = { 0 };
	char dir[300], path[700];
	struct err e;

	snprintf(dir, sizeof dir, "%s/images", cl->data);
	AUTO(closedir) DIR *d = opendir(dir);
	if (!d || call_begin(&cl->fs, &c, &e) < 0)
		return;
	for (struct dirent *de; (de = readdir(d)); ) {
		struct task_row t = { 0 };
		long image;
		int end = 0;

		if (sscanf(de->d_name, "%ld%n", &image, &end) != 1 || !word_in(".upload .whole .img.part", de->d_name + end))
			continue;
		int rc = strcmp(de->d_name + end, ".img.part") == 0 ? 0 : task_of(c.db, image, &t, &e);

		task_row_free(&t);
		snprintf(path, sizeof path, "%s/%s", dir, de->d_name);
		if (rc == 0 && unlink(path) < 0)
			log_warn("remove %s: %m", path);
	}
}

void image_begin_anew(struct cloud *cl, int64_t image)
{
	char path[300];

	image_path(cl, image, ".whole", path, sizeof path);
	unlink(path);
}

/* In the transaction of the open: the first writer begins the task, others join it. */
static int begin_upload(struct call *c, struct obj *o, struct err *e)
{
	struct args none = { 0 };

	pthread_mutex_lock(&uploads_lock);
	struct upload *u = upload_of(o->row.id);
	pthread_mutex_unlock(&uploads_lock);
	int rc = u ? 0 : obj_verb(c, o, "upload", &none, e);
	if (rc == 0)	/* what is written now comes from nowhere else */
		rc = obj_set_null(c, o, "url", e);
	if (rc < 0)
		return rc;
	if (!u)
		image_begin_anew(cloud_of(c->fs), o->row.id);
	pthread_mutex_lock(&uploads_lock);
	if (!u && (u = upload_of(0)))
		*u = (struct upload){ .image = o->row.id };
	if (u)
		u->writers++;
	pthread_mutex_unlock(&uploads_lock);
	return u ? 0 : err_set(e, EBUSY, "too many uploads at once");
}

/* The last close of an upload that came whole gives the file the name the task takes: from here a crash loses nothing. */
static void end_upload(struct fs *fs, int64_t image, bool whole)
{
	char from[300], to[300];

	image_path(cloud_of(fs), image, ".upload", from, sizeof from);
	image_path(cloud_of(fs), image, ".whole", to, sizeof to);
	pthread_mutex_lock(&uploads_lock);
	struct upload *u = upload_of(image);
	if (u) {
		u->broken |= !whole;
		if (!--u->writers) {
			if (u->broken)
				unlink(from);	/* its open may not have been recorded: no task would do it */
			else if (rename(from, to) < 0)
				log_error("keep the upload %s: %m", from);
			u->image = 0;
		}
	}
	pthread_mutex_unlock(&uploads_lock);
	task_poke(fs, image);
}

static int open_file(struct call *c, const struct obj *o, const char *suffix, int flags, int *fd, struct err *e)
{
	char path[300];

	image_path(cloud_of(c->fs), o->row.id, suffix, path, sizeof path);
	*fd = open(path, flags | O_CLOEXEC, 0600);
	return *fd < 0 ? err_set(e, errno, "open the data of image '%s': %m", o->row.name) : 0;
}

/* From the object store; what an older cirrusfs left, or what that store is needed for while it cannot be opened, from the base file. */
static int open_to_read(struct call *c, const struct obj *o, struct open_data *d, int *fd, struct err *e)
{
	if (strcmp(o->row.status, "active") != 0)
		return err_set(e, EBUSY, "image '%s' is %s; its data can be read when it is active", o->row.name, o->row.status);
	if (image_open(c->fs, o->row.id, &d->o, e) == 0 || open_file(c, o, ".img", O_RDONLY, fd, &(struct err){ 0 }) == 0) {
		*e = (struct err){ 0 };
		return 0;
	}
	return err_prefix(e, "open the data of image '%s'", o->row.name);
}

static int open_to_write(struct call *c, struct obj *o, bool truncate, int *fd, struct err *e)
{
	if (word_in("active deactivated", o->row.status))
		return err_set(e, EPERM, "the data of an image is fixed once it is %s", o->row.status);
	if (begin_upload(c, o, e) < 0)
		return -e->code;
	int rc = open_file(c, o, ".upload", O_RDWR | O_CREAT | (truncate ? O_TRUNC : 0), fd, e);
	if (rc < 0)
		end_upload(c->fs, o->row.id, false);
	return rc;
}

static int open_data(struct call *c, struct obj *o, bool write, bool truncate, int *fd, void **ret, struct err *e)
{
	AUTO(free) struct open_data *d = calloc(1, sizeof *d + (write ? HEAD : 0));

	if (!d)
		return err_set(e, ENOMEM, "%m");
	d->fs = c->fs;
	d->image = o->row.id;
	snprintf(d->name, sizeof d->name, "%s", o->row.name);
	if ((write ? open_to_write(c, o, truncate, fd, e) : open_to_read(c, o, d, fd, e)) < 0)
		return -e->code;
	d->write = write;
	*ret = steal_ptr(&d);
	return 0;
}

static int64_t read_data(void *h, char *buf, size_t size, int64_t off, struct err *e)
{
	const struct open_data *d = h;
	int64_t n = object_read(d->o, buf, size, off, e);

	return n < 0 ? err_prefix(e, e->code == EBADMSG ? "the data of image '%s' is damaged" : "read the data of image '%s'", d->name) : n;
}

static int64_t seek_data(void *h, int64_t off, int whence, struct err *e)
{
	return object_seek(((struct open_data *)h)->o, off, whence, e);
}

/* The header comes with the first writes: what names a file of the host's is refused at once. */
static int check_data(void *h, const char *buf, size_t size, int64_t offset, struct err *e)
{
	struct open_data *d = h;

	int64_t mib = cloud_of(d->fs)->cfg.image_size_max;

	if (offset > (mib << 20) - (int64_t)size)
		return err_set(e, EFBIG, "an image of more than %ld MiB (image-size-max)", (long)mib);
	if (offset < 0 || (uint64_t)offset > d->size || offset >= HEAD)
		return 0;
	size_t n = HEAD - (size_t)offset < size ? HEAD - (size_t)offset : size;
	memcpy(d->head + offset, buf, n);
	if ((size_t)offset + n > d->size)
		d->size = (size_t)offset + n;
	if (disk_header_check(d->head, d->size, e) == 0)
		return 0;
	pthread_mutex_lock(&uploads_lock);
	struct upload *u = upload_of(d->image);
	if (u)
		u->broken = true;
	pthread_mutex_unlock(&uploads_lock);
	return -e->code;
}

static int close_data(struct call *c, struct obj *o, void *h, bool whole, struct err *e)
{
	end_upload(c->fs, o->row.id, whole);
	((struct open_data *)h)->write = false;
	return 0;
}

/* Without a close before: its open was not recorded. */
static void release_data(void *h)
{
	struct open_data *d = h;

	if (d && d->write)
		end_upload(d->fs, d->image, false);
	if (d && d->o)
		object_close(d->o);
	free(d);
}

static const struct bytes image_bytes = { data_size, open_data, read_data, seek_data, check_data, close_data, release_data };

/* ---- the task: receive, inspect, check, store */

static int step_receive(struct task *t, struct err *e)
{
	char upload[300], whole[300], taken[300];
	int rc = 1;

	image_path(cloud_of(t->fs), t->obj.row.id, ".upload", upload, sizeof upload);
	image_path(cloud_of(t->fs), t->obj.row.id, ".whole", whole, sizeof whole);
	image_path(cloud_of(t->fs), t->obj.row.id, ".img", taken, sizeof taken);
	pthread_mutex_lock(&uploads_lock);
	if (access(whole, F_OK) == 0 || access(taken, F_OK) == 0) {
		rc = 0;
	} else if (!upload_of(t->obj.row.id)) {
		unlink(upload);		/* no later open goes on with it */
		rc = err_set(e, EINTR, "the upload was interrupted; write data again");
	}
	pthread_mutex_unlock(&uploads_lock);
	task_waits(t, "the upload to be closed");
	t->patient = true;
	t->again_ms = 1000;
	return rc;
}

/* `sha256:HEX`, `md5:HEX`: what the user said it would be. */
static int check_hash(const char *path, const char *want, struct err *e)
{
	char algo[32], hex[129];
	const char *colon = strchr(want, ':');

	if (!colon || colon - want >= (ptrdiff_t)sizeof algo)
		return 0;
	snprintf(algo, sizeof algo, "%.*s", (int)(colon - want), want);
	if (disk_digest(path, algo, hex, e) < 0)
		return -e->code;
	return strcasecmp(hex, colon + 1) == 0 ? 0 : err_set(e, EBADMSG, "the data's %s is %s, not %s", algo, hex, colon + 1);
}

struct found {
	struct disk_info info;
	char md5[33];
	uint64_t bytes;
};

static int inspect(struct task *t, const char *from, struct found *ret, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	AUTO(free) char *hash = NULL, *format = NULL, *checksum = NULL;
	struct found f = { 0 };
	struct stat st;
	int64_t size;

	if (call_begin(t->fs, &c, e) < 0 || obj_text(&c, &t->obj, "hash", &hash, e) < 0 || obj_text(&c, &t->obj, "format", &format, e) < 0 ||
	    obj_text(&c, &t->obj, "checksum", &checksum, e) < 0 || obj_int(&c, &t->obj, "size", &size, e) < 0)
		return -e->code;
	call_end(&c);
	c = (struct call){ 0 };
	if (stat(from, &st) == 0 && st.st_size == 0)
		return err_set(e, EINVAL, "no data came");
	if (disk_inspect(from, cloud_of(t->fs)->cfg.guest_user, &f.info, e) < 0 || disk_md5(from, f.md5, &f.bytes, e) < 0)
		return -e->code;
	/* what is given is checked only while it was given by the user: an earlier take's own words are not */
	if (!*checksum && size && f.bytes != (uint64_t)size)
		return err_set(e, EBADMSG, "%lu bytes came; size says %ld", (unsigned long)f.bytes, (long)size);
	if (!*checksum && *format && strcmp(format, f.info.format) != 0)
		return err_set(e, EBADMSG, "the data is %s; format says %s", f.info.format, format);
	*ret = f;
	return check_hash(from, hash, e);
}

static int record(struct task *t, const struct found *f, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;

	if (task_write(t, &c, e) < 0 || obj_by_id(&c, t->obj.row.id, &o, e) < 0 ||
	    obj_set_text(&c, &o, "format", f->info.format, e) < 0 || obj_set_int(&c, &o, "virtual_size", (int64_t)f->info.virtual_size, e) < 0 ||
	    obj_set_text(&c, &o, "checksum", f->md5, e) < 0 || obj_set_int(&c, &o, "size", (int64_t)f->bytes, e) < 0)
		return -e->code;
	changed(&c, &o, CH_VALUES);
	return call_commit(&c, e);
}

static bool leaves(void *arg)
{
	return task_over(arg);
}

/* The file stays as the first base file, for the servers that are made next; a crash before that finds it and does all of it again. */
static int take(struct task *t, const char *from, struct err *e)
{
	char to[300];
	struct found f;

	if (inspect(t, from, &f, e) < 0)
		return -e->code;
	task_waits(t, "its bytes to be stored");
	int rc = image_put(t->fs, t->obj.row.id, from, leaves, t, e);
	if (rc)
		return rc < 0 ? err_prefix(e, "store the data") : rc;
	task_waits(t, "%s", "");
	image_path(cloud_of(t->fs), t->obj.row.id, ".img", to, sizeof to);
	return record(t, &f, e) < 0 ? -e->code : base_settle(cloud_of(t->fs), from, to, e);
}

/* Without a file that came: an earlier process was done with it, but for saying so.  One that knew no object store leaves the rest to cache.c. */
static int was_taken(struct task *t, struct err *e)
{
	int64_t bytes;
	char path[300];
	int rc = image_stored(t->fs, t->obj.row.id, &bytes, e);

	image_path(cloud_of(t->fs), t->obj.row.id, ".img", path, sizeof path);
	if (rc > 0 || access(path, F_OK) == 0)
		*e = (struct err){ 0 };
	else if (rc == 0)
		err_set(e, ENOENT, "what came is gone");
	return -e->code;
}

static int step_take(struct task *t, struct err *e)
{
	AUTO(image_release) int64_t mine = image_hold(t->obj.row.id);
	struct err ignored = { 0 };
	char from[300];

	t->again_ms = 500;
	if (!mine)
		return 1;
	image_path(cloud_of(t->fs), t->obj.row.id, ".whole", from, sizeof from);
	int rc = access(from, F_OK) == 0 ? take(t, from, e) : was_taken(t, e);
	if (rc < 0) {
		unlink(from);
		image_drop(t->fs, t->obj.row.id, &ignored);
	} else if (rc == 0) {
		image_sweep(t->fs);	/* a part of an earlier import is of no use any more */
	}
	return rc;
}

static const struct step import_steps[] = { { "fetch", image_step_fetch }, { "take", step_take }, { 0 } };
static const struct step upload_steps[] = { { "receive", step_receive }, { "take", step_take }, { 0 } };

static int step_remove(struct task *t, struct err *e)
{
	static const char *const suffixes[] = { ".img", ".img.part", ".upload", ".whole" };
	AUTO(image_release) int64_t mine = image_hold(t->obj.row.id);
	char path[300];

	t->again_ms = 500;
	if (!mine)
		return 1;
	image_import_leave(t->fs, t->obj.row.id);
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		image_path(cloud_of(t->fs), t->obj.row.id, suffixes[i], path, sizeof path);
		if (unlink(path) < 0 && errno != ENOENT)
			return err_set(e, errno, "remove %s: %m", path);
	}
	return image_drop(t->fs, t->obj.row.id, e);
}

static const struct step remove_steps[] = { { "data", step_remove }, { 0 } };

/* ---- values */

static int check_image_hash(struct call *c, struct obj *o, const char *text, struct err *e)
{
	static const struct { const char *algo; size_t len; } known[] = { { "md5", 32 }, { "sha1", 40 }, { "sha256", 64 }, { "sha512", 128 } };

	if (!*text)
		return 0;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		size_t n = strlen(known[i].algo);

		if (strncmp(text, known[i].algo, n) == 0 && text[n] == ':' && strlen(text + n + 1) == known[i].len &&
		    !text[n + 1 + strspn(text + n + 1, "0123456789abcdefABCDEF")])
			return 0;
	}
	return err_set(e, EINVAL, "'%s' is not md5:, sha1:, sha256: or sha512: and the digits", text);
}

/* format, size and hash may be said while nothing came yet. */
static int check_queued(struct call *c, struct obj *o, const char *text, struct err *e)
{
	return word_in("queued DRAFT", o->row.status) ? 0 : err_set(e, EPERM, "it is fixed once the image is %s", o->row.status);
}

static int check_hash_queued(struct call *c, struct obj *o, const char *text, struct err *e)
{
	int rc = check_queued(c, o, text, e);

	return rc < 0 ? rc : check_image_hash(c, o, text, e);
}

static int show_received(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	int64_t bytes = image_import_have(c->fs, o->row.id);

	if (bytes < 0 && data_size(c, o, &bytes, e) < 0)
		return -e->code;
	if (!word_in("queued DRAFT", o->row.status))
		fprintf(out, "%ld", (long)bytes);
	return 0;
}

static const struct file image_files[] = {
	{ "format", .flags = F_PARAM | F_WRITE | F_OBSERVED, .type = T_WORD, .words = "qcow2 raw vmdk vdi vhdx iso", .column = "format", .check = check_queued, .help = "found from the bytes; given before, it must agree" },
	{ "size", .flags = F_PARAM | F_WRITE | F_OBSERVED, .type = T_BYTES, .column = "size", .max = INT64_C(1) << 40, .check = check_queued, .help = "bytes of data; given before, it must agree" },
	{ "hash", .flags = F_PARAM | F_WRITE, .type = T_TEXT, .column = "hash", .max = 140, .check = check_hash_queued, .help = "`sha256:...`, `md5:...`: the data must have it" },
	{ "url", .flags = F_PARAM | F_WRITE, .show = image_show_url, .store = image_store_url, .help = "where import fetches it: http, https, or file below a directory the administrator allows; `create` with a url imports; a password in it is shown as ***" },
	{ "received", .flags = F_LIVE, .type = T_BYTES, .show = show_received, .help = "bytes that have come by now" },
	{ "virtual-size", .type = T_BYTES, .column = "virtual_size", .help = "bytes of the disk inside" },
	{ "checksum", .type = T_TEXT, .column = "checksum", .help = "MD5 of the data" },
	{ "visibility", .flags = F_WRITE, .type = T_WORD, .words = "private shared community public", .column = "visibility", .help = "public: every tenant may use it" },
	{ "min-disk", .flags = F_WRITE, .type = T_GIB, .column = "min_disk", .max = 1048576, .help = "GiB a server's disk must have" },
	{ "min-ram", .flags = F_WRITE, .type = T_MIB, .column = "min_ram", .max = 16777216, .help = "MiB of memory a server must have" },
	{ "data", .flags = F_BYTES | F_HIDDEN, .bytes = &image_bytes, .help = "the bytes: written with cp while queued, read when active; raw data that must be whole wants size or hash given before" },
	{ 0 }
};

static int refuse_data(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	char path[300];
	int64_t bytes;

	image_path(cloud_of(c->fs), o->row.id, ".img", path, sizeof path);
	if (image_stored(c->fs, o->row.id, &bytes, &(struct err){ 0 }) > 0 || access(path, F_OK) == 0)
		return 0;
	return err_set(e, EINVAL, "image '%s' has no data; cp it to its file data", o->row.name);
}

static const struct verb image_verbs[] = {
	{ "create", "DRAFT", NULL, "queued", .begin = image_create, .help = "mkdir did it" },
	{ "upload", "queued", "saving", "active", "queued", NULL, NULL, upload_steps, "begun by writing data", 6 * 3600 },
	{ "import", "queued", "importing", "active", "queued", "[url=U]", image_import_begin, import_steps, "fetches it from its url; a part that came is continued", 6 * 3600 },
	{ "deactivate", "active", NULL, "deactivated", .help = "no new server may use it" },
	{ "activate", "deactivated", NULL, "active", .begin = refuse_data, .help = "servers may use it again" },
	{ 0 }
};

const struct kind image_kind = {
	.no = 5, .name = "image", .dir = "images", .parent = &tenant_kind, .table = "image", .view = "image_v", .flags = K_LIVE,
	.statuses = "queued DRAFT saving importing active deactivated deleted", .broken = "queued", .gone = "deleted", .files = image_files,
	.verbs = image_verbs, .remove = remove_steps, .check = images_check, .open_view = "open", .columns = "format size virtual-size visibility checksum",
	.help = "disks that servers begin as",
	.example = "  mkdir images/tiny && cp tiny.qcow2 images/tiny/data && cat images/tiny/wait\n"
		   "  echo 'create web url=https://example.org/web.qcow2 hash=sha256:...' > images/ctl; cat images/web/progress images/web/wait\n",
};
