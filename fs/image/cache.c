/* Base files, STORE/images/ROW.img, on which servers' disks stand: a cache of what is in the object store.  One is made when a server is to stand
 * on it, or is the file an image came in; it is kept as long as a server stands on it and image-cache-keep minutes longer (its time of access says
 * since when nobody does).  A thread looks after them, and brings into the object store what an older cirrusfs left in such a file only. */
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pwd.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../../backends/base/log.h"
#include "../../backends/block/disk.h"
#include "../../backends/state/cloud.h"
#include "../tree/value.h"

AUTO_FN(DIR *, closedir);

/* ---- who is at work on an image */

#define HELD 256

static struct {
	pthread_mutex_t lock;
	int64_t rows[HELD];	/* 0: free */
} held = { .lock = PTHREAD_MUTEX_INITIALIZER };

int64_t image_hold(int64_t image)
{
	int64_t *spare = NULL;
	bool free = true;

	pthread_mutex_lock(&held.lock);
	for (size_t i = 0; i < HELD; i++) {
		free &= held.rows[i] != image;
		if (!held.rows[i])
			spare = &held.rows[i];
	}
	free &= spare != NULL;
	if (free)
		*spare = image;
	pthread_mutex_unlock(&held.lock);
	return free ? image : 0;
}

void image_release(int64_t image)
{
	pthread_mutex_lock(&held.lock);
	for (size_t i = 0; i < HELD; i++)
		if (held.rows[i] == image)
			held.rows[i] = 0;
	pthread_mutex_unlock(&held.lock);
}

/* ---- making one */

int base_settle(struct cloud *cl, const char *from, const char *to, struct err *e)
{
	AUTO(close) int fd = open(from, O_RDONLY | O_CLOEXEC);
	const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
	struct passwd mem, *pw = NULL;
	char buf[2048];

	getpwnam_r(cl->cfg.guest_user, &mem, buf, sizeof buf, &pw);
	if (fd < 0 || fchown(fd, 0, pw ? pw->pw_gid : 0) < 0 || fchmod(fd, 0440) < 0 || futimens(fd, now) < 0 || fsync(fd) < 0)
		return err_set(e, errno, "keep the data: %m");
	return rename(from, to) < 0 ? err_set(e, errno, "keep the data: %m") : 0;
}

/* fsck looks where the store is, whether guests' way to it is made or not. */
static void base_path(struct fs *fs, int64_t image, const char *suffix, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s/images/%ld.img%s", fs->store, (long)image, suffix);
}

static int write_base(struct fs *fs, int64_t image, const char *path, image_over_fn *over, void *arg, struct err *e)
{
	AUTO(close) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	AUTO(object_close) struct object *o = NULL;
	struct stat st;
	int64_t size;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_set(e, errno, "make %s: %m", path);
	int rc = image_stored(fs, image, &size, e);
	if (rc == 0)
		return err_set(e, ENOENT, "its data is not in the object store");
	if (rc < 0 || image_open(fs, image, &o, e) < 0)
		return -e->code;
	return image_get(o, st.st_size, size, fd, over, arg, e);	/* an earlier process's was removed at start */
}

int base_make(struct fs *fs, int64_t image, image_over_fn *over, void *arg, struct err *e)
{
	char part[PATH_MAX], path[PATH_MAX];

	base_path(fs, image, ".part", part);
	base_path(fs, image, "", path);
	int rc = write_base(fs, image, part, over, arg, e);
	if (rc == 0)
		rc = base_settle(cloud_of(fs), part, path, e);
	if (rc < 0)
		unlink(part);
	return rc;
}

/* ---- who stands on it */

struct standing {
	struct fs *fs;
	bool disks, any;
};

static int stands(void *arg, int64_t id, const char *status, bool deleted)
{
	struct standing *s = arg;
	char disk[PATH_MAX];

	snprintf(disk, sizeof disk, "%s/servers/%ld/disk.qcow2", s->fs->store, (long)id);
	return s->any = !s->disks || access(disk, F_OK) == 0;
}

int base_in_use(struct fs *fs, int64_t image, bool disks, bool *ret, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct standing s = { fs, disks, false };

	if (call_begin(fs, &c, e) < 0 || server_of_image(c.db, image, stands, &s, e) < 0)
		return -e->code;
	*ret = s.any;
	return 0;
}

int base_forget(struct fs *fs, int64_t image, bool disks, struct err *e)
{
	AUTO(image_release) int64_t mine = image_hold(image);
	char path[PATH_MAX];
	bool used;

	if (!mine)
		return err_set(e, EBUSY, "it is being made");
	if (base_in_use(fs, image, disks, &used, e) < 0)
		return -e->code;
	if (used)
		return err_set(e, EBUSY, "a server's disk stands on it");
	base_path(fs, image, "", path);
	return unlink(path) < 0 && errno != ENOENT ? err_set(e, errno, "remove %s: %m", path) : 0;
}

/* ---- for servers */

struct base {
	char name[256], format[16];
	int64_t size;
};

static int know(struct fs *fs, int64_t image, bool active, struct base *b, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	AUTO(free) char *format = NULL;
	struct obj o;

	if (call_begin(fs, &c, e) < 0 || obj_by_id(&c, image, &o, e) < 0 || obj_text(&c, &o, "format", &format, e) < 0 ||
	    obj_int(&c, &o, "size", &b->size, e) < 0)
		return -e->code;
	snprintf(b->name, sizeof b->name, "%s", o.row.name);
	snprintf(b->format, sizeof b->format, "%s", format);
	return !active || strcmp(o.row.status, "active") == 0 ? 0 :
	       err_set(e, EBUSY, "image '%s' is %s, not active", o.row.name, o.row.status);
}

/* A file that is not what was taken (a disk that lost blocks, a hand that slipped) is nobody's base: what is cheap to see is looked at. */
static int check_sound(const struct base *b, const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return err_set(e, errno, "the data of image '%s': %m", b->name);
	if (st.st_size != b->size)
		return err_set(e, EBADMSG, "the data of image '%s' is damaged: it has %ld bytes, %ld were taken", b->name, (long)st.st_size,
			       (long)b->size);
	return disk_sound(path, b->format, e) < 0 ? err_prefix(e, "the data of image '%s' is damaged", b->name) : 0;
}

/* A step that writes one comes back now and then: it is not to be too late because the image is large. */
#define SOME_S 3

struct writing {
	struct task *t;
	time_t until;
};

static bool some_written(void *arg)
{
	const struct writing *w = arg;

	return time(NULL) >= w->until || task_over(w->t);
}

static int write_some(struct task *t, int64_t image, const struct base *b, struct err *e)
{
	struct writing w = { t, time(NULL) + SOME_S };
	char part[PATH_MAX];
	struct stat st;

	base_path(t->fs, image, ".part", part);
	task_waits(t, "the base file of image '%s': %d %% are written", b->name,
		   stat(part, &st) == 0 && b->size ? (int)(st.st_size * 100 / b->size) : 0);
	t->patient = true;
	t->again_ms = 1;
	int rc = base_make(t->fs, image, some_written, &w, e);
	if (rc > 0 && task_over(t))
		unlink(part);	/* who else waits for it begins anew */
	return rc < 0 ? err_prefix(e, "the base file of image '%s'", b->name) : rc;
}

/* What is damaged is made anew while no disk stands on it: those that do have read what it says. */
static int make_sound(struct task *t, int64_t image, const struct base *b, const char *path, struct err *e)
{
	bool used = false;

	if (check_sound(b, path, e) == 0)
		return 0;
	if (e->code != ENOENT && (e->code != EBADMSG || base_in_use(t->fs, image, true, &used, &(struct err){ 0 }) < 0 || used))
		return -e->code;
	*e = (struct err){ 0 };
	int rc = write_some(t, image, b, e);
	return rc ? rc : check_sound(b, path, e);
}

static int somebody_else(struct task *t, const struct base *b)
{
	task_waits(t, "the base file of image '%s', which is being written", b->name);
	t->patient = true;
	t->again_ms = 500;
	return 1;
}

int image_base(struct task *t, int64_t image, char *path, size_t size, char format[16], struct err *e)
{
	AUTO(image_release) int64_t mine = image_hold(image);
	struct base b;

	if (know(t->fs, image, true, &b, e) < 0)
		return -e->code;
	image_path(cloud_of(t->fs), image, ".img", path, size);
	snprintf(format, 16, "%s", strcmp(b.format, "iso") == 0 ? "raw" : b.format);
	return mine ? make_sound(t, image, &b, path, e) : somebody_else(t, &b);
}

int image_base_again(struct task *t, int64_t image, struct err *e)
{
	char path[300];
	struct base b;

	image_path(cloud_of(t->fs), image, ".img", path, sizeof path);
	if (access(path, F_OK) == 0)
		return 0;
	AUTO(image_release) int64_t mine = image_hold(image);
	if (know(t->fs, image, false, &b, e) < 0)
		return -e->code;
	return mine ? make_sound(t, image, &b, path, e) : somebody_else(t, &b);
}

/* ---- looking after them */

struct keeper {
	struct cloud *cl;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	atomic_bool stop;
	int64_t *tried;		/* images that could not be moved, which is said once; the next start tries again */
	size_t n_tried;
};

struct moving {
	struct keeper *k;
	int64_t image;
};

/* A deletion does not wait for it. */
static bool move_leaves(void *arg)
{
	struct moving *m = arg;

	return m->k->stop || task_busy(&m->k->cl->fs, m->image);
}

static bool was_tried(const struct keeper *k, int64_t image)
{
	for (size_t i = 0; i < k->n_tried; i++)
		if (k->tried[i] == image)
			return true;
	return false;
}

static void give_up(struct keeper *k, int64_t image)
{
	int64_t *v = reallocarray(k->tried, k->n_tried + 1, sizeof *v);

	if (v) {
		k->tried = v;
		v[k->n_tried++] = image;
	}
}

/* Only what is as it was taken is moved: damage is not to become what the object store vouches for. */
static int move(struct keeper *k, int64_t image, const char *path, int64_t size, const char *checksum, struct err *e)
{
	struct moving m = { k, image };
	uint64_t bytes = 0;
	char md5[33];

	if (disk_md5(path, md5, &bytes, e) < 0)
		return -e->code;
	if ((int64_t)bytes != size || (*checksum && strcmp(md5, checksum) != 0))
		return err_set(e, EBADMSG, "%s is not what was taken", path);
	int rc = image_put(&k->cl->fs, image, path, move_leaves, &m, e);
	if (rc == 0)
		log_info("image %ld: its data is in the object store now", (long)image);
	return rc;
}

/* Since when nobody stands on it is the time of access, which is set anew as long as somebody does. */
static int keep_or_remove(struct keeper *k, int64_t image, const char *path, struct err *e)
{
	const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT } };
	int64_t keep = k->cl->cfg.image_cache_keep;
	struct stat st;
	bool used;

	if (base_in_use(&k->cl->fs, image, false, &used, e) < 0)
		return -e->code;
	if (used)
		return utimensat(AT_FDCWD, path, now, 0) < 0 ? err_set(e, errno, "%s: %m", path) : 0;
	if (keep < 0 || stat(path, &st) < 0 || time(NULL) - st.st_atim.tv_sec < keep * 60)
		return 0;
	return unlink(path) < 0 ? err_set(e, errno, "remove %s: %m", path) : 0;
}

static int look_after(struct keeper *k, int64_t image, struct err *e)
{
	AUTO(image_release) int64_t mine = image_hold(image);
	AUTO(call_end) struct call c = { 0 };
	AUTO(free) char *checksum = NULL;
	int64_t size, stored;
	char path[300];
	struct obj o;

	if (!mine || call_begin(&k->cl->fs, &c, e) < 0 || obj_by_id(&c, image, &o, e) < 0 || obj_int(&c, &o, "size", &size, e) < 0 ||
	    obj_text(&c, &o, "checksum", &checksum, e) < 0)
		return -e->code;
	call_end(&c);
	c = (struct call){ 0 };
	if (o.kind != &image_kind || o.row.deleted || !word_in("active deactivated", o.row.status))
		return 0;
	image_path(k->cl, image, ".img", path, sizeof path);
	int rc = image_stored(&k->cl->fs, image, &stored, e);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return was_tried(k, image) ? 0 : move(k, image, path, size, checksum, e);
	return stored == size ? keep_or_remove(k, image, path, e) : 0;
}

/* Whoever wrote it is not coming again: the server was deleted just then. */
static void drop_part(struct keeper *k, int64_t image, const char *path)
{
	AUTO(image_release) int64_t mine = image_hold(image);
	struct stat st;

	if (mine && stat(path, &st) == 0 && time(NULL) - st.st_mtime > 10 * SOME_S)
		unlink(path);
}

/* The row of "12.img" with suffix ".img"; 0: it is no such file. */
static int64_t row_of(const char *name, const char *suffix)
{
	long image;
	int end = 0;

	return sscanf(name, "%ld%n", &image, &end) == 1 && strcmp(name + end, suffix) == 0 ? image : 0;
}

static void look_at(struct keeper *k, int64_t image)
{
	struct err e = { 0 };

	if (look_after(k, image, &e) >= 0 || e.code == ENOENT || was_tried(k, image))
		return;
	log_warn("the base file of image %ld: %s", (long)image, e.msg);
	give_up(k, image);
}

static void look_at_all(struct keeper *k)
{
	char dir[300], path[700];

	snprintf(dir, sizeof dir, "%s/images", k->cl->data);
	AUTO(closedir) DIR *d = opendir(dir);
	for (struct dirent *de; d && !k->stop && (de = readdir(d)); ) {
		int64_t base = row_of(de->d_name, ".img"), part = row_of(de->d_name, ".img.part");

		snprintf(path, sizeof path, "%s/%s", dir, de->d_name);
		if (base)
			look_at(k, base);
		else if (part)
			drop_part(k, part, path);
	}
}

static void *keep(void *arg)
{
	struct keeper *k = arg;
	struct timespec until;

	pthread_mutex_lock(&k->lock);
	while (!k->stop) {
		pthread_mutex_unlock(&k->lock);
		look_at_all(k);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += k->cl->cfg.check_interval;
		pthread_mutex_lock(&k->lock);
		while (!k->stop && pthread_cond_clockwait(&k->more, &k->lock, CLOCK_MONOTONIC, &until) == 0)
			;
	}
	pthread_mutex_unlock(&k->lock);
	return NULL;
}

int bases_start(struct cloud *cl, struct err *e)
{
	struct keeper *k;

	if (!cl->objects)	/* nothing can be moved, and nothing that is removed could be made again */
		return 0;
	images_drop_parts(cl);
	if (!(k = calloc(1, sizeof *k)))
		return err_set(e, ENOMEM, "%m");
	k->cl = cl;
	pthread_mutex_init(&k->lock, NULL);
	pthread_cond_init(&k->more, NULL);
	int rc = pthread_create(&k->thread, NULL, keep, k);
	if (rc) {
		free(k);
		return err_set(e, rc, "start a thread: %m");
	}
	cl->bases = k;
	return 0;
}

void bases_stop(struct cloud *cl)
{
	struct keeper *k = steal_ptr(&cl->bases);

	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_broadcast(&k->more);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	free(k->tried);
	free(k);
}
