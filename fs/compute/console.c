/* What one sees of a guest: its serial port, both ways and as a log that does not grow for ever, and its screen. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../backends/base/log.h"
#include "../../backends/compute/console.h"
#include "../../backends/compute/hyper.h"
#include "../tree/value.h"
#include "hosts.h"
#include "server.h"

/* ---- console: both ways */

static void console_news(void *fs, const void *key)
{
	waits_wake(fs, key);
}

/* Drafts, servers that failed before they were placed, and those of test hosts have none. */
static int has_devices(struct call *c, const struct obj *o, const char *what, int64_t *host, struct err *e)
{
	struct hyper *h;
	bool simulated = false;

	if (obj_int(c, o, "host", host, e) < 0)
		return -e->code;
	if (!*host)
		return err_set(e, EBUSY, "server '%s' is %s and has no %s yet", o->row.name, o->row.status, what);
	int rc = host_hyper(cloud_of(c->fs), *host, &h, &simulated, e);

	return rc == 0 && simulated ? err_set(e, EOPNOTSUPP, "servers of a test host have no %s", what) : rc < 0 ? rc : 0;
}

static int console_talk_open(struct call *c, struct obj *o, bool reads, bool writes, void **ret, struct err *e)
{
	struct cloud *cl = cloud_of(c->fs);
	struct console_user *u;
	char path[300];
	int64_t host;

	if (has_devices(c, o, "console", &host, e) < 0)
		return -e->code;
	server_path(cl, o->row.id, CONSOLE_SOCKET, path, sizeof path);
	int rc = console_open(cl->consoles, path, &u, e);

	if (rc == -EBUSY)
		return err_set(e, EBUSY, "server '%s' does not run", o->row.name);
	if (rc == 0)
		*ret = u;
	return rc;
}

static int64_t console_talk_read(void *h, int64_t offset, char *buf, size_t size, struct err *e)
{
	return console_read(h, buf, size, e);
}

static int64_t console_talk_write(void *h, const char *buf, size_t size, struct err *e)
{
	return console_write(h, buf, size, e);
}

static const void *console_talk_key(void *h)
{
	return console_key(h);
}

static void console_talk_close(void *h)
{
	console_close(h);
}

const struct talk console_talk = { console_talk_open, console_talk_read, console_talk_write, console_talk_key, console_talk_close };

/* ---- screen.png: taken by a thread of its own, since the hypervisor may take its time */

#define PICTURES 4	/* taken at once */

struct picture {
	pthread_mutex_t lock;
	unsigned users;		/* the open file, the thread */
	struct fs *fs;
	struct hyper *h;
	char name[24], *png;
	size_t len;
	struct err err;
	bool done;
};

static _Atomic unsigned pictures;

static void picture_drop(struct picture *p)
{
	pthread_mutex_lock(&p->lock);
	unsigned left = --p->users;
	pthread_mutex_unlock(&p->lock);
	if (left)
		return;
	pthread_mutex_destroy(&p->lock);
	free(p->png);
	free(p);
}

static void *take_picture(void *arg)
{
	struct picture *p = arg;
	struct err e = { 0 };
	char *png = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&png, &len);
	int rc = out ? hyper_screenshot(p->h, p->name, out, &e) : err_set(&e, ENOMEM, "%m");

	if (out && fclose(out) != 0 && rc == 0)
		rc = err_set(&e, ENOMEM, "%m");
	pthread_mutex_lock(&p->lock);
	p->png = png;
	p->len = len;
	if (rc < 0)
		p->err = e;
	p->done = true;
	struct fs *fs = p->fs;
	bool wanted = p->users > 1;
	pthread_mutex_unlock(&p->lock);
	if (wanted)	/* else nobody waits, and the file system may be gone */
		waits_wake(fs, p);
	picture_drop(p);
	pictures--;
	return NULL;
}

static int screen_open(struct call *c, struct obj *o, bool reads, bool writes, void **ret, struct err *e)
{
	AUTO(free) char *power = NULL;
	struct picture *p;
	pthread_attr_t detached;
	pthread_t thread;
	bool simulated;
	int64_t host;

	if (has_devices(c, o, "screen", &host, e) < 0)
		return -e->code;
	if (obj_text(c, o, "power", &power, e) < 0)
		return -e->code;
	if (!word_in("RUNNING PAUSED", power))
		return err_set(e, EBUSY, "server '%s' does not run", o->row.name);
	if (pictures >= PICTURES)
		return err_set(e, EAGAIN, "%d pictures are being taken already", PICTURES);
	p = calloc(1, sizeof *p);
	if (!p)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&p->lock, NULL);
	p->users = 2;
	p->fs = c->fs;
	guest_name(o->row.id, p->name);
	int rc = host_hyper(cloud_of(c->fs), host, &p->h, &simulated, e);

	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	pictures++;
	if (rc == 0 && pthread_create(&thread, &detached, take_picture, p) == 0) {
		*ret = p;
		return 0;
	}
	pictures--;
	free(p);
	return rc < 0 ? rc : err_set(e, rc ? EAGAIN : ENOMEM, rc ? "its host is still being connected" : "start a thread: %m");
}

static int64_t screen_read(void *h, int64_t offset, char *buf, size_t size, struct err *e)
{
	struct picture *p = h;
	int64_t n = -EAGAIN;

	pthread_mutex_lock(&p->lock);
	if (p->done && p->err.code) {
		*e = p->err;
		n = -e->code;
	} else if (p->done) {
		n = offset >= (int64_t)p->len ? 0 : (int64_t)(p->len - (size_t)offset < size ? p->len - (size_t)offset : size);
		memcpy(buf, p->png + offset, n ? (size_t)n : 0);
	}
	pthread_mutex_unlock(&p->lock);
	return n;
}

static const void *screen_key(void *h)
{
	return h;
}

static void screen_close(void *h)
{
	picture_drop(h);
}

const struct talk screen_talk = { screen_open, screen_read, NULL, screen_key, screen_close };

static int show_while_it_runs(struct call *c, const struct obj *o, const char *column, FILE *out, struct err *e)
{
	AUTO(free) char *power = NULL, *text = NULL;

	if (obj_text(c, o, "power", &power, e) < 0 || obj_text(c, o, column, &text, e) < 0)
		return -e->code;
	if (word_in("RUNNING PAUSED", power))
		fputs(text, out);
	return 0;
}

int show_vnc(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	return show_while_it_runs(c, o, "vnc", out, e);
}

int show_vnc_password(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	return show_while_it_runs(c, o, "vnc_password", out, e);
}

/* ---- console.log */

static int log_open(struct cloud *cl, int64_t server, const char *name, int flags)
{
	char path[300];

	server_path(cl, server, name, path, sizeof path);
	return open(path, flags | O_CLOEXEC | O_NOFOLLOW);
}

static int log_size(struct call *c, const struct obj *o, const char *name, int64_t *ret)
{
	AUTO(close) int fd = log_open(cloud_of(c->fs), o->row.id, name, O_RDONLY);
	struct stat st;

	*ret = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
	return 0;
}

static int64_t log_read(struct call *c, const struct obj *o, const char *name, int64_t offset, char *buf, size_t size, struct err *e)
{
	AUTO(close) int fd = log_open(cloud_of(c->fs), o->row.id, name, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, size, offset);

	return n < 0 ? err_set(e, errno, "read the console's log: %m") : n;
}

static int new_size(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return log_size(c, o, "console.log", ret);
}

static int64_t new_read(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return log_read(c, o, "console.log", offset, buf, size, e);
}

static int old_size(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return log_size(c, o, "console.log.1", ret);
}

static int64_t old_read(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return log_read(c, o, "console.log.1", offset, buf, size, e);
}

const struct stream console_stream = { new_size, new_read }, console_old_stream = { old_size, old_read };

void console_last_words(struct cloud *cl, int64_t server, char *ret, size_t size)
{
	AUTO(close) int fd = log_open(cl, server, "console.log", O_RDONLY);
	char tail[1024];
	struct stat st;
	size_t n = 0;

	*ret = '\0';
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	ssize_t got = pread(fd, tail, sizeof tail, st.st_size > (off_t)sizeof tail ? st.st_size - (off_t)sizeof tail : 0);
	ssize_t from = got > (ssize_t)size - 1 ? got - (ssize_t)size + 1 : 0;

	for (ssize_t i = from; i < got; i++) {
		bool blank = (unsigned char)tail[i] <= ' ' || (unsigned char)tail[i] >= 0x7f;

		if (!blank)
			ret[n++] = tail[i];
		else if (n && ret[n - 1] != ' ')
			ret[n++] = ' ';
	}
	while (n && ret[n - 1] == ' ')
		n--;
	ret[n] = '\0';
}

/* ---- logs that grow */

#define LOOK_S 2
#define BLOCK 4096	/* what file systems can cut off a file's beginning */

static int copy_to(int from, int dir, const char *name, off_t len)
{
	AUTO(close) int to = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char buf[65536];
	off_t at = 0;

	while (to >= 0 && at < len) {
		ssize_t n = pread(from, buf, len - at < (off_t)sizeof buf ? (size_t)(len - at) : sizeof buf, at);

		if (n <= 0 || write(to, buf, (size_t)n) != n)
			return -1;
		at += n;
	}
	return to < 0 ? -1 : 0;
}

/* qemu holds the file and appends, so it is its beginning that goes: nothing is lost of what comes meanwhile.  A file system that
 * cannot do that loses what is written between the copy and the cut. */
static void rotate(struct cloud *cl, int dir, int64_t max)
{
	AUTO(close) int fd = openat(dir, "console.log", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= max)
		return;
	/* of a flood only the last part is kept */
	off_t cut = st.st_size - st.st_size % BLOCK, skip = cut > max ? cut - max : 0;

	skip -= skip % BLOCK;
	if (skip && fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, skip) == 0)
		cut -= skip;
	if (copy_to(fd, dir, "console.log.new", cut) < 0 || renameat(dir, "console.log.new", dir, "console.log.1") < 0) {
		log_warn("keep a console's log: %m");
		unlinkat(dir, "console.log.new", 0);
	}
	if (fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, cut) < 0 && ftruncate(fd, 0) < 0)
		log_warn("shorten a console's log: %m");
}

static void look_at_logs(struct cloud *cl)
{
	char path[128];
	DIR *d;

	snprintf(path, sizeof path, "%s/servers", cl->data);
	if (!(d = opendir(path)))
		return;
	for (struct dirent *de; (de = readdir(d)); ) {
		char log[280];
		struct stat st;

		snprintf(log, sizeof log, "%.20s/console.log", de->d_name);
		if (*de->d_name == '.' || fstatat(dirfd(d), log, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_size <= (off_t)cl->cfg.console_log_max << 10)
			continue;
		AUTO(close) int dir = openat(dirfd(d), de->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (dir >= 0)
			rotate(cl, dir, (int64_t)cl->cfg.console_log_max << 10);
	}
	closedir(d);
}

static struct {
	pthread_mutex_t lock;
	pthread_cond_t end;
	pthread_t thread;
	bool runs, stop;
} logs = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, false, false };

static void *watch_logs(void *arg)
{
	pthread_mutex_lock(&logs.lock);
	while (!logs.stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOOK_S;
		pthread_cond_clockwait(&logs.end, &logs.lock, CLOCK_MONOTONIC, &until);
		if (logs.stop)
			break;
		pthread_mutex_unlock(&logs.lock);
		look_at_logs(arg);
		pthread_mutex_lock(&logs.lock);
	}
	pthread_mutex_unlock(&logs.lock);
	return NULL;
}

int consoles_start(struct cloud *cl, struct err *e)
{
	if (consoles_open(console_news, &cl->fs, &cl->consoles, e) < 0)
		return -e->code;
	logs.stop = false;
	int rc = pthread_create(&logs.thread, NULL, watch_logs, cl);

	logs.runs = rc == 0;
	return rc ? err_set(e, rc, "start a thread: %s", strerror(rc)) : 0;
}

bool consoles_stop(struct cloud *cl)
{
	for (int i = 0; pictures && i < 500; i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	pthread_mutex_lock(&logs.lock);
	logs.stop = true;
	pthread_cond_broadcast(&logs.end);
	pthread_mutex_unlock(&logs.lock);
	if (logs.runs)
		pthread_join(logs.thread, NULL);
	logs.runs = false;
	if (cl->consoles)
		consoles_close(cl->consoles);
	cl->consoles = NULL;
	return !pictures;
}
