/* The durable queue and its workers.  A row of `task` says what is to be done; which step it is at is kept in memory only, since
 * doing steps again is the same as once: after a crash a task begins with its first step and finds its work done. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "../../backends/base/log.h"
#include "notify.h"
#include "tasks.h"
#include "value.h"

#define TENANTS 64	/* slots for counting what runs for a tenant */

struct job {
	struct job *next;
	int64_t id, object, tenant;
	const struct verb *verb;	/* NULL: deletion */
	const struct step *steps;	/* of the deletion */
	char name[24], was[24], request[REQUEST_LEN], who[40];
	struct args args;
	size_t step;
	int64_t created;		/* microseconds since 1970 */
	int64_t began, not_before;	/* CLOCK_MONOTONIC microseconds; began 0: never */
	int64_t step_began;
	bool running, poked, cancelled, overdue;
	bool entered;			/* this step was called before */
	unsigned tries;
	char error[512];		/* of a deletion's last try */
};

struct tasks {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct job *jobs, **last;	/* oldest first */
	int64_t *objects;		/* those worked on now: a slot a worker, 0 free */
	int64_t loaded;			/* highest id read from the state */
	pthread_mutex_t load_lock;
	unsigned busy[TENANTS], running;
	bool stop;
	pthread_t *threads, clock;
	unsigned n_threads;
};

static int64_t mono_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void job_free(struct job *j)
{
	args_free(&j->args);
	free(j);
}
AUTO_FN(struct job *, job_free);

/* ---- the queue */

static int job_of(struct fs *fs, struct call *c, struct task_row *t, struct job **ret, struct err *e)
{
	AUTO(job_free) struct job *j = calloc(1, sizeof *j);
	struct obj o;

	if (!j)
		return err_set(e, ENOMEM, "%m");
	if (obj_by_id(c, t->object, &o, e) < 0 || args_parse(t->args, &j->args, e) < 0)
		return -e->code;
	j->id = t->id;
	j->object = t->object;
	j->tenant = o.row.tenant;
	j->created = t->created;
	memcpy(j->name, t->verb, sizeof j->name);
	memcpy(j->was, t->was, sizeof j->was);
	memcpy(j->request, t->request, sizeof j->request);
	memcpy(j->who, t->who, sizeof j->who);
	if (strcmp(t->verb, "delete") == 0)
		j->steps = args_get(&j->args, "draft") ? NULL : o.kind->remove;
	else if (!(j->verb = verb_find(o.kind, t->verb)) || !j->verb->steps)
		return err_set(e, EINVAL, "%s has no task '%s'", kind_a(o.kind), t->verb);
	*ret = steal_ptr(&j);
	return 0;
}

void tasks_load(struct fs *fs)
{
	struct tasks *ts = fs->tasks;
	AUTO(call_end) struct call c = { 0 };
	struct task_row t = { 0 };
	struct err e = { 0 };
	int rc;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->load_lock);
	rc = call_begin(fs, &c, &e);
	while (rc == 0 && (rc = task_next(c.db, ts->loaded, &t, &e)) > 0) {
		struct job *j = NULL;

		ts->loaded = t.id;
		if (job_of(fs, &c, &t, &j, &e) < 0)
			log_error("task %ld: %s", (long)t.id, e.msg);
		task_row_free(&t);
		rc = 0;
		if (!j)
			continue;
		pthread_mutex_lock(&ts->lock);
		*ts->last = j;
		ts->last = &j->next;
		pthread_cond_signal(&ts->work);
		pthread_mutex_unlock(&ts->lock);
	}
	if (rc < 0)
		log_error("read tasks: %s", e.msg);
	pthread_mutex_unlock(&ts->load_lock);
}

static void unlink_job(struct tasks *ts, struct job **p)
{
	struct job *j = *p;

	*p = j->next;
	if (ts->last == &j->next)
		ts->last = p;
}

void tasks_cancel(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;

	pthread_mutex_lock(&ts->lock);
	for (struct job **p = &ts->jobs; *p; ) {
		struct job *j = *p;

		if (j->object == object && strcmp(j->name, "delete") != 0) {
			j->cancelled = true;
			if (!j->running) {
				unlink_job(ts, p);
				job_free(j);
				continue;
			}
		}
		p = &j->next;
	}
	pthread_mutex_unlock(&ts->lock);
}

void task_poke(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	for (struct job *j = ts->jobs; j; j = j->next)
		if (j->object == object || !object) {
			j->not_before = 0;
			j->poked = true;
			pthread_cond_signal(&ts->work);
		}
	pthread_mutex_unlock(&ts->lock);
}

bool task_busy(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;
	bool found = false;

	pthread_mutex_lock(&ts->lock);
	for (struct job *j = ts->jobs; j && !found; j = j->next)
		found = j->object == object;
	pthread_mutex_unlock(&ts->lock);
	return found;
}

/* Takes or gives back the object's slot among those worked on. */
static bool swap_slot(struct tasks *ts, int64_t from, int64_t to)
{
	for (unsigned i = 0; i < ts->n_threads; i++)
		if (ts->objects[i] == from) {
			ts->objects[i] = to;
			return true;
		}
	return false;
}

/* The tenant for whom least runs goes first, among equals the oldest task.  One thread at a time works on an object. */
static struct job *pick(struct tasks *ts, int64_t now, int64_t *next)
{
	struct job *best = NULL;

	*next = now + 60000000;
	for (struct job *j = ts->jobs; j; j = j->next) {
		if (j->not_before > now) {
			if (j->not_before < *next)
				*next = j->not_before;
			continue;
		}
		if (swap_slot(ts, j->object, j->object))
			continue;
		if (!best || ts->busy[j->tenant % TENANTS] < ts->busy[best->tenant % TENANTS])
			best = j;
		if (!ts->busy[best->tenant % TENANTS])
			break;
	}
	return best;
}

/* ---- running */

/* For tests of crashes: CIRRUSFS_STOP=N in the environment kills the process at the Nth boundary of steps, whosever tasks they are: a
 * step has two, its beginning and its end, and so has the end of the task itself. */
static unsigned stop_at;

static void boundary(void)
{
	static atomic_uint passed;

	if (stop_at && atomic_fetch_add(&passed, 1) + 1 == stop_at)
		kill(getpid(), SIGKILL);
}

static const struct step *step_at(const struct job *j)
{
	static const struct step none;
	const struct step *steps = j->verb ? j->verb->steps : j->steps;

	return steps ? &steps[j->step] : &none;
}

/* The end of a task that was not a deletion, well or badly. */
static int finish(struct fs *fs, struct job *j, const struct err *failed, const char *detail, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	int64_t took = now_us() - j->created;
	char line[700] = "";
	struct task_row t = { 0 };
	struct obj o;

	if (call_begin(fs, &c, e) < 0)
		return -e->code;
	memcpy(c.request, j->request, sizeof c.request);
	if (call_write(&c, e) < 0)
		return -e->code;
	snprintf(c.who.name, sizeof c.who.name, "%.32s", j->who);
	int rc = task_of(c.db, j->object, &t, e);
	bool mine = rc > 0 && t.id == j->id;
	task_row_free(&t);
	if (rc < 0 || !mine)
		return rc < 0 ? rc : 0;	/* superseded */
	if (obj_by_id(&c, j->object, &o, e) < 0)
		return -e->code;
	if (failed)
		error_text(line, sizeof line, failed, j->request, j->name);
	const char *broken = j->verb->broken ? j->verb->broken : o.kind->broken ? o.kind->broken : "ERROR";
	const char *next = failed ? (strcmp(broken, "-") == 0 ? j->was : broken) : j->verb->then;
	rc = task_delete(c.db, j->id, e);
	if (rc == 0)
		rc = row_set_error(c.db, o.row.id, line, failed ? j->name : "", e);
	if (rc == 0 && !failed)
		rc = row_set_progress(c.db, o.row.id, 100, e);
	if (rc == 0 && next)
		rc = obj_set_status(&c, &o, next, e);
	if (rc == 0)
		rc = history_add(c.db, o.row.id, j->name, failed ? err_name(failed->code) : "ok", j->request, j->who, took,
				 failed ? failed->msg : detail, e);
	if (rc == 0)
		rc = event_put(&c, &o, j->name, failed ? err_name(failed->code) : "ok", took, e);
	changed(&c, &o, CH_VALUES | CH_TASK);
	return rc < 0 ? rc : call_commit(&c, e);
}

/* The end of a deletion: 1 something still hangs on it. */
static int finish_delete(struct fs *fs, struct job *j, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;
	bool held;

	if (call_begin(fs, &c, e) < 0)
		return -e->code;
	memcpy(c.request, j->request, sizeof c.request);
	if (call_write(&c, e) < 0)
		return -e->code;
	snprintf(c.who.name, sizeof c.who.name, "%.32s", j->who);
	if (obj_by_id(&c, j->object, &o, e) < 0)
		return e->code == ENOENT ? 0 : -e->code;
	int rc = obj_held(&c, &o, &held, e);
	if (rc < 0 || held)
		return rc < 0 ? rc : 1;
	rc = event_put(&c, &o, "delete", "ok", now_us() - j->created, e);
	if (rc == 0)
		rc = obj_gone(&c, &o, e);
	return rc < 0 ? rc : call_commit(&c, e);
}

/* One step, or the end.  0 go on with the next, 1 again later, 2 the task is over, -errno it failed. */
static int run_step(struct fs *fs, struct job *j, struct task *t, struct err *e)
{
	const struct step *s = step_at(j);

	if (!j->entered)
		boundary();
	j->entered = true;
	if (!s->run) {
		int rc = j->verb ? finish(fs, j, NULL, t->detail, e) : finish_delete(fs, j, e);

		if (rc != 1)
			boundary();
		return rc < 0 ? rc : rc == 1 ? 1 : 2;
	}
	AUTO(call_end) struct call c = { 0 };
	int rc = call_begin(fs, &c, e);

	if (rc == 0)
		rc = obj_by_id(&c, j->object, &t->obj, e);
	call_end(&c);
	c = (struct call){ 0 };
	if (rc < 0)
		return rc == -ENOENT ? 2 : rc;
	t->again_ms = 200;
	t->patient = false;
	t->step_began = j->step_began;
	rc = s->run(t, e);
	if (rc != 1)
		boundary();
	if (rc < 0)
		err_prefix(e, "%s", s->name);
	return rc;
}

static void note_delete_error(struct fs *fs, struct job *j, const struct err *why)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };
	struct obj o;

	snprintf(j->error, sizeof j->error, "object %ld: %.400s", (long)j->object, why->msg);
	if (call_begin(fs, &c, &e) == 0 && call_write(&c, &e) == 0 && obj_by_id(&c, j->object, &o, &e) == 0) {
		char path[1600], line[700];

		if (obj_name_path(&c, &o, path, sizeof path, &e) == 0)
			snprintf(j->error, sizeof j->error, "%.200s: %.300s", path, why->msg);
		error_text(line, sizeof line, why, j->request, j->name);
		if (row_set_error(c.db, o.row.id, line, "", &e) == 0) {
			changed(&c, &o, CH_VALUES);
			call_commit(&c, &e);
		}
	}
}

/* What happens after run_step's answer, under the lock again.  True: the job is over. */
static bool settle(struct fs *fs, struct job *j, int rc, struct task *t, struct err *why)
{
	struct tasks *ts = fs->tasks;
	struct err e = { 0 };

	if (rc == 0) {
		pthread_mutex_lock(&ts->lock);
		j->step++;
		j->entered = false;
		j->step_began = mono_us();
		pthread_mutex_unlock(&ts->lock);
		return false;
	}
	if (rc == 2)
		return true;
	if (rc == STEP_ANEW && j->verb && j->tries++ < 3) {
		log_warn("task %ld %s of object %ld begins anew: %s", (long)j->id, j->name, (long)j->object, why->msg);
		pthread_mutex_lock(&ts->lock);
		j->step = 0;
		j->entered = false;
		j->not_before = mono_us() + 500000;
		pthread_mutex_unlock(&ts->lock);
		return false;
	}
	if (rc == 1 && t->patient)
		j->began = mono_us();
	if (rc == 1 && j->verb && mono_us() - j->began > (int64_t)fs->task_timeout_s * 1000000)
		rc = err_set(why, ETIMEDOUT, "%s: it did not end within task-timeout (%u s)", step_at(j)->name ? step_at(j)->name : j->name,
			     fs->task_timeout_s);
	if (rc == 1) {
		j->not_before = j->poked ? 0 : mono_us() + (int64_t)t->again_ms * 1000;
		return false;
	}
	log_warn("task %ld %s of object %ld: %s", (long)j->id, j->name, (long)j->object, why->msg);
	if (j->verb) {
		while (finish(fs, j, why, "", &e) < 0 && !ts->stop) {	/* e.g. the disk is full: kept until it can be said */
			log_error("task %ld: %s", (long)j->id, e.msg);
			sleep(1);
		}
		return true;
	}
	note_delete_error(fs, j, why);
	j->not_before = mono_us() + (int64_t)(j->tries < 6 ? 1 << j->tries : 60) * 1000000;
	j->tries++;
	return false;
}

static void drop(struct tasks *ts, struct job *j)
{
	for (struct job **p = &ts->jobs; *p; p = &(*p)->next)
		if (*p == j) {
			unlink_job(ts, p);
			break;
		}
	job_free(j);
}

static void *work(void *arg)
{
	struct fs *fs = arg;
	struct tasks *ts = fs->tasks;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		int64_t next;
		struct job *j = pick(ts, mono_us(), &next);

		if (!j) {
			struct timespec until = { next / 1000000, next % 1000000 * 1000 };

			pthread_cond_timedwait(&ts->work, &ts->lock, &until);
			continue;
		}
		j->running = swap_slot(ts, 0, j->object);
		j->poked = false;
		ts->busy[j->tenant % TENANTS]++;
		ts->running++;
		if (!j->began)
			j->began = j->step_began = mono_us();
		struct task t = { .fs = fs, .args = j->args, .created = j->created };
		memcpy(t.request, j->request, sizeof t.request);
		bool over = false;
		int rc = 0;
		while (!ts->stop && !over && rc == 0 && !j->cancelled) {
			struct err e = { 0 };

			pthread_mutex_unlock(&ts->lock);
			rc = run_step(fs, j, &t, &e);
			over = settle(fs, j, rc, &t, &e);
			pthread_mutex_lock(&ts->lock);
		}
		j->running = false;
		swap_slot(ts, j->object, 0);
		ts->busy[j->tenant % TENANTS]--;
		ts->running--;
		if (over || j->cancelled)
			drop(ts, j);
		pthread_cond_broadcast(&ts->work);
		pthread_cond_broadcast(&ts->idle);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

/* A step that hangs (a hypervisor that does not answer) keeps its thread, but not the object: its task is ended in the state, and what the
 * step says later is ignored since the task is not there any more. */
static void *watch(void *arg)
{
	struct fs *fs = arg;
	struct tasks *ts = fs->tasks;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&ts->idle, &ts->lock, &until);
		for (struct job *j = ts->jobs; j; j = j->next) {
			if (!j->running || !j->verb || j->overdue || mono_us() - j->began < (int64_t)(fs->task_timeout_s + 2) * 1000000)
				continue;
			struct job copy = *j;
			struct err why = { 0 }, e = { 0 };

			j->overdue = true;
			pthread_mutex_unlock(&ts->lock);
			err_set(&why, ETIMEDOUT, "%s: no answer within task-timeout (%u s)", step_at(&copy)->name ? step_at(&copy)->name :
				copy.name, fs->task_timeout_s);
			if (finish(fs, &copy, &why, "", &e) < 0)
				log_error("task %ld: %s", (long)copy.id, e.msg);
			pthread_mutex_lock(&ts->lock);
			break;	/* the list may have changed */
		}
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

int tasks_start(struct fs *fs, struct err *e)
{
	struct tasks *ts = fs->tasks = calloc(1, sizeof *ts);
	const char *stop = getenv("CIRRUSFS_STOP");
	pthread_condattr_t mono;

	if (!ts || !(ts->threads = calloc(fs->workers, sizeof *ts->threads)) ||
	    !(ts->objects = calloc(fs->workers, sizeof *ts->objects)))
		return err_set(e, ENOMEM, "%m");
	stop_at = stop ? (unsigned)strtoul(stop, NULL, 10) : 0;
	ts->last = &ts->jobs;
	pthread_mutex_init(&ts->lock, NULL);
	pthread_mutex_init(&ts->load_lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->work, &mono);
	pthread_cond_init(&ts->idle, &mono);
	tasks_load(fs);
	ts->n_threads = fs->workers;
	for (unsigned i = 0; i < ts->n_threads; i++) {
		int rc = pthread_create(&ts->threads[i], NULL, work, fs);

		if (rc)
			return err_set(e, rc, "start a worker: %m");
	}
	int rc = pthread_create(&ts->clock, NULL, watch, fs);
	return rc ? err_set(e, rc, "start a thread: %m") : 0;
}

void tasks_stop(struct fs *fs, unsigned timeout_ms)
{
	struct tasks *ts = fs->tasks;
	int64_t until = mono_us() + (int64_t)timeout_ms * 1000;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	ts->stop = true;
	pthread_cond_broadcast(&ts->work);
	pthread_cond_broadcast(&ts->idle);
	while (ts->running && mono_us() < until) {
		struct timespec t = { until / 1000000, until % 1000000 * 1000 };

		pthread_cond_timedwait(&ts->idle, &ts->lock, &t);
	}
	bool stuck = ts->running;
	pthread_mutex_unlock(&ts->lock);
	if (stuck)	/* their threads end with the process */
		return;
	for (unsigned i = 0; i < ts->n_threads; i++)
		pthread_join(ts->threads[i], NULL);
	pthread_join(ts->clock, NULL);
	while (ts->jobs) {
		struct job *j = ts->jobs;

		ts->jobs = j->next;
		job_free(j);
	}
	free(ts->threads);
	free(ts->objects);
	free(ts);
	fs->tasks = NULL;
}

/* ---- telling */

int task_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct tasks *ts = c->fs->tasks;
	struct task_row t = { 0 };
	const char *step = "queued";
	int rc = task_of(c->db, o->row.id, &t, e);

	if (rc <= 0) {
		fputs("none", out);
		return rc;
	}
	pthread_mutex_lock(&ts->lock);
	for (struct job *j = ts->jobs; j; j = j->next)
		if (j->id == t.id && j->began)
			step = step_at(j)->name ? step_at(j)->name : "finish";
	pthread_mutex_unlock(&ts->lock);
	fprintf(out, "%s %s %lds", t.verb, step, (long)((now_us() - t.created) / 1000000));
	task_row_free(&t);
	return 0;
}

void task_progress(struct task *t, int percent)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e;

	if (call_begin(t->fs, &c, &e) == 0 && call_write(&c, &e) == 0 && row_set_progress(c.db, t->obj.row.id, percent, &e) == 0)
		call_commit(&c, &e);
}

void tasks_health(struct fs *fs, FILE *out)
{
	struct tasks *ts = fs->tasks;

	pthread_mutex_lock(&ts->lock);
	for (struct job *j = ts->jobs; j; j = j->next)
		if (*j->error)
			fprintf(out, "a deletion goes on trying: %s\n", j->error);
	pthread_mutex_unlock(&ts->lock);
}
