/* The running system looks for drift: every check-interval seconds a thread compares the state with the machine (check.c), mends what it can and
 * tells.  What a task is changing right now looks like a fault for a moment, so a fault counts when it is seen twice. */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../backends/base/log.h"
#include "check.h"

#define AGAIN_MS 300		/* between the two looks */
#define COUNTS_EVERY 20		/* what triggers count is counted again every so many looks */

struct watch {
	struct cloud *cloud;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t more;
	bool stop;
	struct words faults;	/* what could not be mended: health's lines */
};

/* ---- telling */

static int tell(struct cloud *cl, const struct finding *f, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	const char *result = f->did ? "mended" : f->failed.code ? err_name(f->failed.code) : "found";
	char detail[1400];
	struct obj o;

	snprintf(detail, sizeof detail, "%s%s%s", f->wrong, f->did ? ": " : f->failed.code ? ": not mended: " : "",
		 f->did ? f->did : f->failed.msg);
	if (call_begin(&cl->fs, &c, e) < 0 || call_write(&c, e) < 0)
		return -e->code;
	if (f->object && obj_by_id(&c, f->object, &o, e) == 0) {
		if (event_tell(&c, o.row.tenant, f->thing, "drift", result, detail, e) < 0 ||
		    history_add(c.db, f->object, "drift", result, c.request, "system", 0, detail, e) < 0)
			return -e->code;
		changed(&c, &o, CH_VALUES);
	} else if (event_tell(&c, 0, f->thing, "drift", result, detail, e) < 0 || obj_by_id(&c, ROOT_ROW, &o, e) < 0) {
		return -e->code;
	} else {
		changed(&c, &o, CH_VALUES);	/* for who follows the events */
	}
	return call_commit(&c, e);
}

void watch_tell(struct cloud *cl, const struct finding *f)
{
	struct err e = { 0 };

	log_warn("drift: %s: %s%s%s", f->thing, f->wrong, f->did ? ": " : f->failed.code ? ": not mended: " : "", f->did ? f->did : f->failed.msg);
	if (tell(cl, f, &e) < 0)
		log_error("drift: %s", e.msg);
}

/* ---- looking */

struct round {
	struct watch *w;
	struct words seen;	/* "thing\nwrong" */
	struct words left;	/* lines of what is not mended */
};

static void note(void *arg, const struct finding *f)
{
	struct round *r = arg;
	AUTO(free) char *key = NULL;

	if (asprintf(&key, "%s\n%s", f->thing, f->wrong) > 0)
		words_add(&r->seen, key);
}

/* What stays wrong is an event once, and a line of health as long. */
static void settle(void *arg, const struct finding *f)
{
	struct round *r = arg;
	AUTO(free) char *line = NULL;

	if (f->did) {
		watch_tell(r->w->cloud, f);
		return;
	}
	if (asprintf(&line, "%s: %s%s%s", f->thing, f->wrong, f->failed.code ? ": not mended: " : "", f->failed.msg) < 0)
		return;
	if (!words_has(&r->w->faults, line))	/* only this thread changes it */
		watch_tell(r->w->cloud, f);
	words_add(&r->left, line);
}

static bool pause_ms(struct watch *w, int64_t ms)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000 + (until.tv_nsec + ms % 1000 * 1000000) / 1000000000;
	until.tv_nsec = (until.tv_nsec + ms % 1000 * 1000000) % 1000000000;
	pthread_mutex_lock(&w->lock);
	while (!w->stop && pthread_cond_timedwait(&w->more, &w->lock, &until) != ETIMEDOUT)
		;
	bool go_on = !w->stop;
	pthread_mutex_unlock(&w->lock);
	return go_on;
}

/* A file system that gave up (ext4's errors=remount-ro) says so only to who writes. */
static void look_at_store(struct watch *w, struct words *left)
{
	char line[160];

	if (futimens(w->cloud->lock, NULL) == 0)
		return;
	snprintf(line, sizeof line, errno == EROFS ? "the disk that holds the store is read-only: nothing is accepted, what runs goes on" :
		 "the disk that holds the store cannot be written: %s", strerror(errno));
	if (!words_has(&w->faults, line))
		log_error("%s", line);
	words_add(left, line);
}

static void look(struct watch *w, bool counts)
{
	struct round r = { .w = w };
	struct check k = { .cl = w->cloud, .running = true, .counts = counts, .found = note, .arg = &r };
	struct err e = { 0 };
	int rc = check_all(&k, &e);

	look_at_store(w, &r.left);
	cloud_keep_reserve(w->cloud);
	if (rc == 0 && r.seen.n && pause_ms(w, AGAIN_MS)) {
		k.only = &r.seen;
		k.mend = true;
		k.found = settle;
		rc = check_all(&k, &e);
	}
	if (rc < 0) {
		char line[sizeof e.msg + 64];

		snprintf(line, sizeof line, "the machine could not be checked: %s", e.msg);
		words_add(&r.left, line);
	}
	pthread_mutex_lock(&w->lock);
	struct words old = w->faults;
	w->faults = r.left;
	pthread_mutex_unlock(&w->lock);
	words_free(&old);
	words_free(&r.seen);
}

static void *watch(void *arg)
{
	struct watch *w = arg;

	for (unsigned n = 1; pause_ms(w, (int64_t)w->cloud->cfg.check_interval * 1000); n++)
		look(w, n % COUNTS_EVERY == 0);
	return NULL;
}

void watch_health(struct cloud *cl, FILE *out)
{
	struct watch *w = cl->watch;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	for (size_t i = 0; i < w->faults.n; i++)
		fprintf(out, "%s\n", w->faults.v[i]);
	pthread_mutex_unlock(&w->lock);
}

int watch_start(struct cloud *cl, struct err *e)
{
	struct watch *w = calloc(1, sizeof *w);
	pthread_condattr_t mono;

	if (!w)
		return err_set(e, ENOMEM, "%m");
	w->cloud = cl;
	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&w->more, &mono);
	int rc = pthread_create(&w->thread, NULL, watch, w);
	if (rc) {
		free(w);
		return err_set(e, rc, "start a thread: %m");
	}
	cl->watch = w;
	return 0;
}

void watch_stop(struct cloud *cl)
{
	struct watch *w = cl->watch;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->stop = true;
	pthread_cond_broadcast(&w->more);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	cl->watch = NULL;
	words_free(&w->faults);
	free(w);
}
