/* Who wants what: the list of downloads, those who joined each, and what its engine (http.c, file.c) tells of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../base/log.h"
#include "../base/text.h"
#include "parts.h"

#define PAUSE_MAX 30000
#define PROGRESS (1 << 20)	/* a try that brought so much is no failure in a row */

int64_t fetch_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- the list.  All with the lock held */

static void fetch_free(struct fetch *x)
{
	while (x->wants) {
		struct want *w = x->wants;

		x->wants = w->next;
		free(w);
	}
	part_close(x);
	free(x->url);
	free(x);
}
AUTO_FN(struct fetch *, fetch_free);

static void unlist(struct fetcher *f, struct fetch *x)
{
	for (struct fetch **p = &f->first; *p; p = &(*p)->next)
		if (*p == x) {
			*p = x->next;
			return;
		}
}

static struct want **want_at(struct fetch *x, int64_t who)
{
	for (struct want **p = &x->wants; *p; p = &(*p)->next)
		if ((*p)->who == who)
			return p;
	return NULL;
}

static struct fetch *fetch_of(struct fetcher *f, int64_t who)
{
	for (struct fetch *x = f->first; x; x = x->next)
		if (want_at(x, who))
			return x;
	return NULL;
}

/* One that others may still join. */
static struct fetch *fetch_by_url(struct fetcher *f, const char *url)
{
	for (struct fetch *x = f->first; x; x = x->next)
		if (x->status != FETCH_FAILED && !x->cancelled && strcmp(x->url, url) == 0)
			return x;
	return NULL;
}

static void wake(struct fetcher *f)
{
	pthread_cond_broadcast(&f->work);
	if (f->multi)
		curl_multi_wakeup(f->multi);
}

/* The last who leaves ends it: what waits or runs is its engine's to end. */
static void leave(struct fetcher *f, int64_t who, bool keep)
{
	struct fetch *x = fetch_of(f, who);

	if (!x)
		return;
	struct want **p = want_at(x, who), *w = *p;
	*p = w->next;
	free(w);
	if (x->wants)
		return;
	if (x->status == FETCH_WAITING || x->status == FETCH_RUNNING) {
		x->cancelled = true;
		x->keep = keep;
		wake(f);
		return;
	}
	if (x->status == FETCH_WHOLE)
		part_unlink(f, x->key);
	unlist(f, x);
	fetch_free(x);
}

static void key_of(const char *url, char ret[33])
{
	unsigned char sum[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	EVP_Digest(url, strlen(url), sum, &len, EVP_sha256(), NULL);
	hex_text(ret, sum, 16);
}

static int begin(struct fetcher *f, const char *url, struct fetch **ret, struct err *e)
{
	AUTO(fetch_free) struct fetch *x = calloc(1, sizeof *x);
	struct origin p = { 0 };

	if (!x || !(x->url = strdup(url))) {
		if (x)
			x->fd = -1;
		return err_set(e, ENOMEM, "%m");
	}
	x->fd = -1;
	x->total = -1;
	if (origin_of(&f->conf, url, &p, e) < 0)
		return -e->code;
	x->local = p.local;
	origin_free(&p);
	fetch_name(url, x->name, sizeof x->name);
	key_of(url, x->key);
	x->due = fetch_now_ms();
	x->deadline = x->due + (int64_t)f->conf.total_s * 1000;
	struct fetch **last = &f->first;	/* first come, first served */
	while (*last)
		last = &(*last)->next;
	*ret = *last = steal_ptr(&x);
	return 0;
}

static int engines_start(struct fetcher *f, bool local, struct err *e)
{
	bool *runs = local ? &f->copier_runs : &f->network_runs;

	if (*runs)
		return 0;
	if (!local && !f->multi && !(f->multi = curl_multi_init()))
		return err_set(e, ENOMEM, "begin to fetch: %m");
	int rc = pthread_create(local ? &f->copier : &f->network, NULL, local ? fetch_copier : fetch_network, f);
	if (rc)
		return err_set(e, rc, "start a thread: %m");
	*runs = true;
	return 0;
}

static void describe(struct fetch *x, struct fetch_state *ret)
{
	*ret = (struct fetch_state){ .whole = x->status == FETCH_WHOLE, .have = x->have, .total = x->total, .tries = x->tries,
		.deadline_ms = x->deadline };
	if (x->status == FETCH_WAITING)
		snprintf(ret->trouble, sizeof ret->trouble, "%.127s", x->why.msg);
}

static int join(struct fetcher *f, const char *url, int64_t who, struct fetch_state *ret, struct err *e)
{
	struct fetch *x = fetch_of(f, who);

	if (x && strcmp(x->url, url) != 0) {
		leave(f, who, false);
		x = NULL;
	}
	if (x && x->status == FETCH_FAILED) {
		*e = x->why;
		leave(f, who, true);
		return -e->code;
	}
	if (!x) {
		AUTO(free) struct want *w = calloc(1, sizeof *w);

		if (!w)
			return err_set(e, ENOMEM, "%m");
		x = fetch_by_url(f, url);
		if (!x && begin(f, url, &x, e) < 0)
			return -e->code;
		w->who = who;
		w->next = x->wants;
		x->wants = steal_ptr(&w);
		if (engines_start(f, x->local, e) < 0) {
			leave(f, who, false);
			return -e->code;
		}
		wake(f);
	}
	describe(x, ret);
	return 0;
}

int fetch_join(struct fetcher *f, const char *url, int64_t who, struct fetch_state *ret, struct err *e)
{
	pthread_mutex_lock(&f->lock);
	int rc = join(f, url, who, ret, e);
	pthread_mutex_unlock(&f->lock);
	return rc;
}

void fetch_leave(struct fetcher *f, int64_t who, bool keep)
{
	pthread_mutex_lock(&f->lock);
	leave(f, who, keep);
	pthread_mutex_unlock(&f->lock);
}

int64_t fetch_have(struct fetcher *f, int64_t who)
{
	pthread_mutex_lock(&f->lock);
	struct fetch *x = fetch_of(f, who);
	int64_t have = x ? (int64_t)x->have : -1;
	pthread_mutex_unlock(&f->lock);
	return have;
}

int fetch_check(const struct fetcher *f, const char *url, struct err *e)
{
	struct origin p = { 0 };

	if (origin_of(&f->conf, url, &p, e) < 0)
		return -e->code;
	origin_free(&p);
	return 0;
}

/* ---- its file */

static int open_file(struct fetcher *f, int64_t who, bool whole)
{
	char name[48];

	pthread_mutex_lock(&f->lock);
	struct fetch *x = fetch_of(f, who);
	if (x)
		snprintf(name, sizeof name, "%s.%s", x->key, x->status == FETCH_WHOLE ? "whole" : "part");
	int fd = x && (!whole || x->status == FETCH_WHOLE) ? openat(f->dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
	if (!x || (whole && x->status != FETCH_WHOLE))
		errno = ENOENT;
	pthread_mutex_unlock(&f->lock);
	return fd;
}

size_t fetch_head(struct fetcher *f, int64_t who, void *buf, size_t size)
{
	AUTO(close) int fd = open_file(f, who, false);
	ssize_t n = fd < 0 ? -1 : pread(fd, buf, size, 0);

	return n > 0 ? (size_t)n : 0;
}

int fetch_take(struct fetcher *f, int64_t who, const char *path, struct err *e)
{
	AUTO(close) int fd = open_file(f, who, true);
	char name[32];

	if (fd < 0 || fsync(fd) < 0)
		return err_set(e, errno, "take what was fetched: %m");
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, errno, "replace %s: %m", path);
	return linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW) < 0 ? err_set(e, errno, "take what was fetched: %m") : 0;
}

/* A name of ours in the directory: its key. */
static bool is_key(const char *name, char key[33])
{
	if (strspn(name, "0123456789abcdef") != 32 || name[32] != '.')
		return false;
	memcpy(key, name, 32);
	key[32] = '\0';
	return true;
}

static bool known(struct fetcher *f, const char *key)
{
	for (struct fetch *x = f->first; x; x = x->next)
		if (strcmp(x->key, key) == 0 && x->status != FETCH_FAILED)
			return true;
	return false;
}

static void sweep_key(struct fetcher *f, const char *key, bool (*wanted)(void *arg, const char *url), void *arg)
{
	struct note n = { 0 };
	struct err none;
	char name[48];

	snprintf(name, sizeof name, "%s.note", key);
	bool keep = note_read(f->dir, name, &n, &none) == 0 && wanted(arg, n.url);
	note_free(&n);
	if (keep)
		return;
	pthread_mutex_lock(&f->lock);
	if (!known(f, key))
		part_unlink(f, key);
	pthread_mutex_unlock(&f->lock);
}

void fetch_sweep(struct fetcher *f, bool (*wanted)(void *arg, const char *url), void *arg)
{
	AUTO(close) int fd = openat(f->dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char key[33];

	if (!d)
		return;
	steal_fd(&fd);
	for (struct dirent *de; (de = readdir(d)); )
		if (is_key(de->d_name, key))
			sweep_key(f, key, wanted, arg);
	closedir(d);
}

/* ---- what engines ask and tell */

struct fetch *fetch_next(struct fetcher *f, bool local, int64_t *next)
{
	int64_t now = fetch_now_ms();

	*next = INT64_MAX;
	for (struct fetch *x = f->first; x; x = x->next) {
		if (x->local != local || x->cancelled || x->status != FETCH_WAITING)
			continue;
		if (x->due <= now) {
			x->status = FETCH_RUNNING;
			x->tries++;
			return x;
		}
		if (x->due < *next)
			*next = x->due;
	}
	return NULL;
}

struct fetch *fetch_next_cancelled(struct fetcher *f, bool local)
{
	for (struct fetch *x = f->first; x; x = x->next)
		if (x->local == local && x->cancelled)
			return x;
	return NULL;
}

void fetch_drop(struct fetcher *f, struct fetch *x)
{
	part_close(x);
	pthread_mutex_lock(&f->lock);
	unlist(f, x);
	if (!x->keep)
		part_unlink(f, x->key);
	pthread_mutex_unlock(&f->lock);
	fetch_free(x);
}

/* Tells all who wanted it; they may leave, and free it, as soon as the lock is not held. */
static void settle(struct fetcher *f, struct fetch *x, enum fetch_status status)
{
	AUTO(free) int64_t *who = NULL;
	size_t n = 0;

	part_close(x);
	pthread_mutex_lock(&f->lock);
	for (struct want *w = x->wants; w; w = w->next)
		n++;
	who = calloc(n + 1, sizeof *who);
	n = 0;
	for (struct want *w = x->wants; w && who; w = w->next)
		who[n++] = w->who;
	x->status = status;
	if (x->cancelled) {	/* everybody has left meanwhile */
		if (!x->keep)
			part_unlink(f, x->key);
		unlist(f, x);
		fetch_free(x);
	}
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < n && f->conf.poke; i++)
		f->conf.poke(f->conf.arg, who[i]);
}

void fetch_fail(struct fetcher *f, struct fetch *x, const struct err *why, bool keep)
{
	log_info("%s: given up after %ld bytes: %s", x->name, (long)x->have, why->msg);
	pthread_mutex_lock(&f->lock);
	x->why = *why;
	if (!keep)
		part_unlink(f, x->key);
	pthread_mutex_unlock(&f->lock);
	settle(f, x, FETCH_FAILED);
}

void fetch_done(struct fetcher *f, struct fetch *x)
{
	struct err e = { 0 };

	if (part_whole(f, x, &e) < 0) {
		fetch_fail(f, x, &e, false);
		return;
	}
	log_info("%s: %ld bytes", x->name, (long)x->have);
	settle(f, x, FETCH_WHOLE);
}

void fetch_again(struct fetcher *f, struct fetch *x, const struct err *why, unsigned at_most, int64_t pause_ms)
{
	int64_t now = fetch_now_ms();

	if (x->have - x->farthest >= PROGRESS) {	/* what begins anew for ever gets no further */
		x->farthest = x->have;
		x->failures = 0;
	}
	if (++x->failures > at_most || now >= x->deadline) {
		fetch_fail(f, x, why, x->have > 0);
		return;
	}
	int64_t pause = (int64_t)f->conf.retry_ms << (x->failures < 16 ? x->failures - 1 : 15);
	if (pause > PAUSE_MAX)
		pause = PAUSE_MAX;
	if (pause < pause_ms)
		pause = pause_ms;
	log_info("%s: once more in %ld ms, after %ld bytes: %s", x->name, (long)pause, (long)x->have, why->msg);
	part_close(x);
	pthread_mutex_lock(&f->lock);
	x->why = *why;
	x->due = now + pause < x->deadline ? now + pause : x->deadline;
	x->status = FETCH_WAITING;
	pthread_mutex_unlock(&f->lock);
}

/* ---- the fetcher */

static void read_boot(char *ret, size_t size)
{
	AUTO(close) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, ret, size - 1);

	ret[n > 0 ? n : 0] = '\0';
	ret[strcspn(ret, "\n")] = '\0';
}

static int dirs_check(const char *dirs, struct err *e)
{
	for (const char *p = dirs; *p; ) {
		size_t n = strcspn(p, ":");

		if (n && *p != '/')
			return err_set(e, EINVAL, "import-dirs: '%.*s' is not an absolute path", (int)n, p);
		p += n + (p[n] == ':');
	}
	return 0;
}

static void curl_begin(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
}

int fetcher_open(const struct fetch_conf *conf, struct fetcher **ret, struct err *e)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_condattr_t mono;

	if (dirs_check(conf->dirs, e) < 0 || origin_hosts_check(conf->hosts, e) < 0)
		return -e->code;
	if (mkdir(conf->dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make %s: %m", conf->dir);
	AUTO(close) int dir = open(conf->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	AUTO(free) struct fetcher *f = calloc(1, sizeof *f);
	if (dir < 0 || !f)
		return err_set(e, errno, "open %s: %m", conf->dir);
	pthread_once(&once, curl_begin);
	f->conf = *conf;
	f->dir = steal_fd(&dir);
	read_boot(f->boot, sizeof f->boot);
	pthread_mutex_init(&f->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&f->work, &mono);
	*ret = steal_ptr(&f);
	return 0;
}

void fetcher_close(struct fetcher *f)
{
	struct timespec until;
	bool stuck = false;

	pthread_mutex_lock(&f->lock);
	f->stop = true;
	wake(f);
	pthread_mutex_unlock(&f->lock);
	if (f->network_runs)
		pthread_join(f->network, NULL);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 5;
	if (f->copier_runs)	/* a file server that is away may hold it: it ends with the process then */
		stuck = pthread_timedjoin_np(f->copier, NULL, &until) != 0;
	if (stuck)
		return;
	if (f->multi)
		curl_multi_cleanup(f->multi);
	while (f->first) {
		struct fetch *x = f->first;

		f->first = x->next;
		fetch_free(x);
	}
	close(f->dir);
	free(f);
}
