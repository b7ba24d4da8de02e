/* The durable queue and its workers.  A row of `task` says what is to be done; which step it is at is kept in memory only, since
 * doing steps again is the same as once: after a crash a task begins with its first step and finds its work done.
 * In which order, and what may run beside what: queue.h.  Threads are begun as they are needed, so that lanes that hang take
 * threads and nothing else. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "../../backends/base/log.h"
#include "job.h"
#include "measure.h"
#include "notify.h"
#include "value.h"

#define THREADS_MAX 256
#define GRACE_US 2000000	/* a step that looks at the time itself ends its task itself */
#define HANGS_US 10000000	/* a step that is away for so long is not waited for at the end */
#define LOG_MAX 8192
#define TOLD_US 1000000		/* of tasks that take longer, history is told while they run */

int64_t mono_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void job_free(struct job *j)
{
	if (!j)
		return;
	args_free(&j->args);
	free(j->log);
	free(j);
}
AUTO_FN(struct job *, job_free);

static const struct step *step_at(const struct job *j)
{
	static const struct step none;
	const struct step *steps = j->verb ? j->verb->steps : j->steps;

	return steps ? &steps[j->step] : &none;
}

const char *job_step_name(const struct job *j)
{
	return step_at(j)->name ? step_at(j)->name : "finish";
}

unsigned job_seconds(const struct fs *fs, const struct job *j)
{
	return j->verb && j->verb->deadline_s ? j->verb->deadline_s : fs->task_timeout_s;
}

static int64_t deadline(const struct fs *fs, const struct job *j)
{
	return j->began + (int64_t)job_seconds(fs, j) * 1000000;
}

static int64_t positive(int64_t us)
{
	return us > 0 ? us : 0;		/* the clock on the wall may have been set back */
}

static int64_t age_us(const struct job *j)
{
	return j->old + mono_us() - j->queued;
}

int64_t job_age_s(const struct job *j, int64_t created)
{
	return (j ? age_us(j) : positive(now_us() - created)) / 1000000;
}

/* ---- the queue */

static int job_of(struct call *c, const struct obj *o, const struct task_row *t, struct job **ret, struct err *e)
{
	AUTO(job_free) struct job *j = calloc(1, sizeof *j);

	if (!j)
		return err_set(e, ENOMEM, "%m");
	if (args_parse(t->args, &j->args, e) < 0)
		return -e->code;
	j->id = t->id;
	j->q.object = o->row.id;
	j->q.tenant = o->row.tenant;
	j->created = t->created;
	j->old = positive(now_us() - t->created);
	j->queued = mono_us();
	memcpy(j->name, t->verb, sizeof j->name);
	memcpy(j->was, t->was, sizeof j->was);
	memcpy(j->request, t->request, sizeof j->request);
	memcpy(j->who, t->who, sizeof j->who);
	if (strcmp(t->verb, "delete") == 0)
		j->steps = args_get(&j->args, "draft") ? NULL : o->kind->remove;
	else if (!(j->verb = verb_find(o->kind, t->verb)) || !j->verb->steps)
		return err_set(e, EINVAL, "%s has no task '%s'", kind_a(o->kind), t->verb);
	if (o->kind->lane && (j->verb || j->steps))
		j->q.lane = o->kind->lane(c, o);
	if (!j->q.lane)
		j->q.lane = -(int64_t)o->kind->no;
	*ret = steal_ptr(&j);
	return 0;
}

static void *work(void *arg);

/* Somebody takes what there is: one who sleeps, or a new thread.  One at a time; it wakes the next when it has got a job. */
static void offer(struct fs *fs)
{
	struct tasks *ts = fs->tasks;
	pthread_attr_t attr;
	pthread_t thread;

	if (ts->waking || ts->stop || !queue_can_take(ts->queue))
		return;
	if (ts->sleeping) {
		ts->waking = true;
		pthread_cond_signal(&ts->work);
		return;
	}
	if (ts->threads >= THREADS_MAX)
		return;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, work, fs) == 0) {
		ts->waking = true;
		ts->threads++;
	}
	pthread_attr_destroy(&attr);
}

/* The clock must not sleep beyond that. */
static void tick_before(struct tasks *ts, int64_t at)
{
	if (at < ts->tick_at)
		pthread_cond_signal(&ts->tick);
}

static void add_job(struct fs *fs, struct job *j)
{
	struct tasks *ts = fs->tasks;
	int64_t now = mono_us();

	pthread_mutex_lock(&ts->lock);
	bool added = queue_add(ts->queue, &j->q, 0, now);
	offer(fs);
	pthread_mutex_unlock(&ts->lock);
	if (added)
		return;
	log_error("task %ld waits for the next start: no memory", (long)j->id);
	job_free(j);
}

int tasks_note(struct call *c, const struct obj *o, const struct task_row *t, struct err *e)
{
	struct job **v = reallocarray(c->jobs, c->n_jobs + 1, sizeof *v);

	if (!v)
		return err_set(e, ENOMEM, "%m");
	c->jobs = v;
	int rc = job_of(c, o, t, &v[c->n_jobs], e);
	c->n_jobs += rc == 0;
	return rc;
}

void tasks_forget(struct call *c, size_t from, int64_t object)
{
	size_t kept = from;

	for (size_t i = from; i < c->n_jobs; i++)
		if (object && c->jobs[i]->q.object != object)
			c->jobs[kept++] = c->jobs[i];
		else
			job_free(c->jobs[i]);
	c->n_jobs = kept < c->n_jobs ? kept : c->n_jobs;
}

void tasks_add(struct call *c)
{
	for (size_t i = 0; i < c->n_jobs && c->fs->tasks; i++)
		add_job(c->fs, steal_ptr(&c->jobs[i]));
	tasks_forget(c, 0, 0);
}

/* What an earlier process left. */
static void load(struct fs *fs)
{
	AUTO(call_end) struct call c = { 0 };
	struct task_row t = { 0 };
	struct err e = { 0 };
	int64_t last = 0;
	int rc = call_begin(fs, &c, &e);

	while (rc == 0 && (rc = task_next(c.db, last, &t, &e)) > 0) {
		struct job *j = NULL;
		struct obj o;

		last = t.id;
		if (obj_by_id(&c, t.object, &o, &e) < 0 || job_of(&c, &o, &t, &j, &e) < 0)
			log_error("task %ld: %s", (long)t.id, e.msg);
		task_row_free(&t);
		rc = 0;
		if (j)
			add_job(fs, j);
	}
	if (rc < 0)
		log_error("read tasks: %s", e.msg);
}

static void drop(struct tasks *ts, struct job *j)
{
	queue_drop(ts->queue, &j->q);
	job_free(j);
}

void tasks_cancel(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	for (struct qjob *q = queue_of(ts->queue, object), *next; q; q = next) {
		struct job *j = job_of_q(q);

		next = queue_of_next(q);
		if (strcmp(j->name, "delete") == 0)
			continue;
		j->cancelled = true;
		if (q->where != Q_RUNNING)
			drop(ts, j);
	}
	pthread_mutex_unlock(&ts->lock);
}

static void poke(struct tasks *ts, struct qjob *q)
{
	job_of_q(q)->poked = true;
	queue_poke(ts->queue, q);
}

void task_poke(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	if (object)
		for (struct qjob *q = queue_of(ts->queue, object); q; q = queue_of_next(q))
			poke(ts, q);
	else
		for (struct qjob *q = queue_first(ts->queue); q; q = q->all_next)
			poke(ts, q);
	offer(fs);
	pthread_mutex_unlock(&ts->lock);
}

void task_poke_lane(struct fs *fs, int64_t lane)
{
	struct tasks *ts = fs->tasks;

	if (!ts)
		return;
	pthread_mutex_lock(&ts->lock);
	for (struct qjob *q = queue_first(ts->queue); q; q = q->all_next)
		if (q->lane == lane)
			poke(ts, q);
	offer(fs);
	pthread_mutex_unlock(&ts->lock);
}

bool task_busy(struct fs *fs, int64_t object)
{
	struct tasks *ts = fs->tasks;

	if (!ts)
		return false;
	pthread_mutex_lock(&ts->lock);
	bool found = queue_of(ts->queue, object) != NULL;
	pthread_mutex_unlock(&ts->lock);
	return found;
}

bool task_over(const struct task *t)
{
	struct tasks *ts = t->fs->tasks;

	pthread_mutex_lock(&ts->lock);
	bool over = ts->stop || t->job->cancelled || t->job->overdue;
	pthread_mutex_unlock(&ts->lock);
	return over;
}

/* ---- steps that ended */

void task_waits(struct task *t, const char *fmt, ...)
{
	char text[sizeof t->job->waits];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&t->fs->tasks->lock);
	memcpy(t->job->waits, text, sizeof text);
	pthread_mutex_unlock(&t->fs->tasks->lock);
}

static void step_begins(struct job *j, size_t step)
{
	j->step = step;
	j->looks = 0;
	j->step_began = mono_us();
	j->ends = 0;
	j->step_at = now_us();
	*j->waits = '\0';
}

void job_log_step(struct job *j, const char *result)
{
	size_t have = j->log ? strlen(j->log) : 0, size;
	AUTO(free) char *line = NULL;
	FILE *f = have < LOG_MAX ? open_memstream(&line, &size) : NULL;
	char *log;

	if (!f)
		return;
	fputs("  ", f);
	put_time_ms(f, j->step_at);
	fprintf(f, " %s %s duration=%.3fs looks=%u%s%s\n", job_step_name(j), result, (double)(mono_us() - j->step_began) / 1e6, j->looks,
		*j->waits ? " waited for " : "", j->waits);
	fclose(f);
	if (!(log = realloc(j->log, have + size + 1)))
		return;
	memcpy(log + have, line, size + 1);
	j->log = log;
}

/* Its history has one line more, of a task that is not over. */
static void tell_history(struct fs *fs, const struct task *t)
{
	for (const struct file *f = common_files; f->name; f++)
		if (strcmp(f->name, "history") == 0) {
			struct change ch = { .row = t->obj.row.id, .parent = t->obj.row.parent, .tenant = t->obj.row.tenant,
				.kind = t->obj.kind->no, .what = CH_VALUES, .only = f };

			changes_count(&ch, 1);
			notify_changes(fs, &ch, 1);
		}
}

/* ---- running */

int task_write(struct task *t, struct call *c, struct err *e)
{
	struct task_row row = { 0 };

	if (call_begin(t->fs, c, e) < 0)
		return -e->code;
	memcpy(c->request, t->request, sizeof c->request);
	if (call_write(c, e) < 0)
		return -e->code;
	int rc = task_of(c->db, t->obj.row.id, &row, e);
	bool mine = rc > 0 && row.id == t->job->id;
	task_row_free(&row);
	return rc < 0 ? rc : mine ? 0 : err_set(e, ECANCELED, "the task was given up meanwhile");
}

/* The end of a task that was not a deletion, well or badly. */
static int finish(struct fs *fs, struct job *j, const struct err *failed, const char *detail, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	int64_t took = age_us(j);
	char line[700] = "";
	struct task_row t = { 0 };
	struct obj o;

	if (call_begin(fs, &c, e) < 0)
		return -e->code;
	memcpy(c.request, j->request, sizeof c.request);
	if (call_write(&c, e) < 0)
		return -e->code;
	snprintf(c.who.name, sizeof c.who.name, "%.32s", j->who);
	int rc = task_of(c.db, j->q.object, &t, e);
	bool mine = rc > 0 && t.id == j->id;
	task_row_free(&t);
	if (rc < 0 || !mine)
		return rc < 0 ? rc : 0;	/* superseded */
	if (obj_by_id(&c, j->q.object, &o, e) < 0)
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
		rc = history_add_task(c.db, o.row.id, j->name, failed ? err_name(failed->code) : "ok", j->request, j->who, took,
				      failed ? failed->msg : detail, j->log ? j->log : "", e);
	if (rc == 0)
		rc = event_put(&c, &o, j->name, failed ? err_name(failed->code) : "ok", took, e);
	changed(&c, &o, CH_VALUES | CH_TASK);
	if (rc == 0)
		rc = call_commit(&c, e);
	if (rc == 0)
		measure_task(o.kind, j->name, !failed, took);
	return rc;
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
	if (obj_by_id(&c, j->q.object, &o, e) < 0)
		return e->code == ENOENT ? 0 : -e->code;
	int rc = obj_held(&c, &o, &held, e);
	if (rc < 0 || held)
		return rc < 0 ? rc : 1;
	rc = event_put(&c, &o, "delete", "ok", age_us(j), e);
	if (rc == 0)
		rc = obj_gone(&c, &o, e);
	if (rc == 0)
		rc = call_commit(&c, e);
	if (rc == 0)
		measure_task(o.kind, "delete", true, age_us(j));
	return rc;
}

/* Reads the object as it is now: 2 the task is not there any more. */
static int look(struct fs *fs, struct job *j, struct task *t, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct task_row row = { 0 };
	int rc = call_begin(fs, &c, e);

	if (rc == 0)
		rc = task_of(c.db, j->q.object, &row, e);
	bool mine = rc > 0 && row.id == j->id;
	task_row_free(&row);
	if (rc < 0 || !mine)
		return rc < 0 ? rc : 2;
	rc = obj_by_id(&c, j->q.object, &t->obj, e);
	return rc == -ENOENT ? 2 : rc;
}

/* For tests of crashes: CIRRUSFS_STOP=N in the environment kills the process at the Nth boundary of steps, whosever tasks they are: a
 * step has two, its beginning and its end, and so has the end of the task itself. */
static unsigned stop_at;

static void boundary(void)
{
	static atomic_uint passed;

	if (stop_at && atomic_fetch_add(&passed, 1) + 1 == stop_at)
		kill(getpid(), SIGKILL);
}

/* One step, or the end.  0 go on with the next, 1 again later, 2 the task is over, -errno it failed. */
static int run_step(struct fs *fs, struct job *j, struct task *t, struct err *e)
{
	const struct step *s = step_at(j);
	int rc;

	t->again_ms = 0;
	t->patient = false;
	t->ends = 0;
	if (j->looks == 1)
		boundary();
	if (!s->run) {
		rc = j->verb ? finish(fs, j, NULL, t->detail, e) : finish_delete(fs, j, e);
		if (rc != 1)
			boundary();
		if (rc < 0 && j->verb) {	/* it is done and cannot be said: the disk is full */
			log_error("task %ld: %s", (long)j->id, e->msg);
			t->again_ms = 1000;
			return 1;
		}
		return rc < 0 ? rc : rc == 1 ? 1 : 2;
	}
	rc = look(fs, j, t, e);
	if (rc)
		return rc;
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

	snprintf(j->error, sizeof j->error, "object %ld: %.200s", (long)j->q.object, why->msg);
	if (call_begin(fs, &c, &e) == 0 && call_write(&c, &e) == 0 && obj_by_id(&c, j->q.object, &o, &e) == 0) {
		char path[1600], line[700];

		if (obj_name_path(&c, &o, path, sizeof path, &e) == 0)
			snprintf(j->error, sizeof j->error, "%.100s: %.150s", path, why->msg);
		error_text(line, sizeof line, why, j->request, j->name);
		if (row_set_error(c.db, o.row.id, line, "", &e) == 0) {
			changed(&c, &o, CH_VALUES);
			call_commit(&c, &e);
		}
	}
}

static int too_late(struct fs *fs, const struct job *j, const char *what, struct err *why)
{
	return err_set(why, ETIMEDOUT, "%s: %s within %u s%s%s", what, j->began ? "it did not end" : "it could not begin", job_seconds(fs, j),
		       *j->waits ? "; it waits for " : "", j->waits);
}

/* Waits that nothing pokes are looked at ever less often. */
static int64_t next_look(const struct job *j, const struct task *t)
{
	unsigned ms = t->again_ms ? t->again_ms : j->looks < 4 ? 100U << j->looks : 1000;

	return j->poked ? 0 : mono_us() + (int64_t)ms * 1000;
}

static int64_t failed_deletion(struct fs *fs, struct job *j, const struct err *why)
{
	if (why->code == ENOSPC && fs->make_room)
		fs->make_room(fs);
	note_delete_error(fs, j, why);
	j->tries++;
	return mono_us() + (int64_t)(j->tries < 6 ? 1 << j->tries : 60) * 1000000;
}

/* What happens after run_step's answer.  True: the job is over; else *at: when it is to be looked at again, 0 now. */
static bool settle(struct fs *fs, struct job *j, int rc, struct task *t, struct err *why, int64_t *at)
{
	struct tasks *ts = fs->tasks;
	struct err e = { 0 };
	bool anew = rc == STEP_ANEW && j->verb && j->tries < 3;

	*at = 0;
	if (rc == 2 || j->overdue || j->cancelled)
		return true;
	if (rc == 0 || anew) {
		pthread_mutex_lock(&ts->lock);
		job_log_step(j, anew ? "anew" : "ok");
		step_begins(j, anew ? 0 : j->step + 1);
		pthread_mutex_unlock(&ts->lock);
		if (mono_us() - j->began > TOLD_US)
			tell_history(fs, t);
		if (rc == 0)
			return false;
		j->tries++;
		log_warn("task %ld %s of object %ld begins anew: %s", (long)j->id, j->name, (long)j->q.object, why->msg);
		*at = mono_us() + 500000;
		return false;
	}
	if (rc == 1 && t->patient)
		j->began = mono_us();
	if (rc == 1)
		j->ends = !t->patient ? 0 : t->ends ? t->ends : -1;
	if (rc == 1 && j->verb && mono_us() > deadline(fs, j))
		rc = too_late(fs, j, job_step_name(j), why);
	if (rc == 1) {
		*at = next_look(j, t);
		return false;
	}
	log_warn("task %ld %s of object %ld: %s", (long)j->id, j->name, (long)j->q.object, why->msg);
	if (!j->verb) {
		*at = failed_deletion(fs, j, why);
		return false;
	}
	pthread_mutex_lock(&ts->lock);
	job_log_step(j, why->code ? err_name(why->code) : "EIO");
	pthread_mutex_unlock(&ts->lock);
	while (finish(fs, j, why, "", &e) < 0 && !ts->stop) {	/* e.g. the disk is full: kept until it can be said */
		log_error("task %ld: %s", (long)j->id, e.msg);
		sleep(1);
	}
	return true;
}

/* Under the lock, which it leaves for each step. */
static void carry_out(struct fs *fs, struct job *j)
{
	struct tasks *ts = fs->tasks;
	struct task t = { .fs = fs, .job = j, .args = j->args, .created = j->created };
	bool over = false;
	int64_t at = 0;

	ts->running++;
	if (!j->began) {
		j->began = mono_us();
		step_begins(j, 0);
	}
	memcpy(t.request, j->request, sizeof t.request);
	for (int rc = 0; rc == 0 && !over && !ts->stop && !j->cancelled && !j->overdue; ) {
		struct err e = { 0 };

		j->looks++;
		j->poked = false;
		j->call_began = mono_us();
		pthread_mutex_unlock(&ts->lock);
		rc = run_step(fs, j, &t, &e);
		over = settle(fs, j, rc, &t, &e, &at);
		pthread_mutex_lock(&ts->lock);
		j->call_began = 0;
		queue_note_progress(&j->q, mono_us());
	}
	ts->running--;
	if (over || j->cancelled || j->overdue) {
		drop(ts, j);
	} else if (!queue_again(ts->queue, &j->q, j->poked ? 0 : at, mono_us())) {
		log_error("task %ld waits for the next start: no memory", (long)j->id);
		job_free(j);
	} else {
		tick_before(ts, at);
	}
	pthread_cond_broadcast(&ts->idle);
}

/* False: there are enough without it. */
static bool rest(struct fs *fs)
{
	struct tasks *ts = fs->tasks;
	struct timespec until;
	int rc;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 10;
	ts->sleeping++;
	rc = pthread_cond_timedwait(&ts->work, &ts->lock, &until);
	ts->sleeping--;
	return rc != ETIMEDOUT || ts->sleeping < fs->workers;
}

static void *work(void *arg)
{
	struct fs *fs = arg;
	struct tasks *ts = fs->tasks;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		struct qjob *q = queue_take(ts->queue);

		ts->waking = false;
		if (q) {
			offer(fs);
			carry_out(fs, job_of_q(q));
		} else if (!rest(fs)) {
			ts->waking = false;	/* it may have been called just then */
			break;
		}
	}
	ts->threads--;
	offer(fs);
	pthread_cond_broadcast(&ts->idle);
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

/* ---- the clock */

/* A step that hangs (a hypervisor that does not answer) keeps its thread, but not the object: its task is ended in the state, and what the
 * step says later is ignored since the task is not there any more.  One that has not begun because its lane hangs, too. */
static bool is_late(struct fs *fs, const struct job *j, int64_t now)
{
	int64_t since = j->q.where == Q_BLOCKED || j->queued > queue_progress(&j->q) ? j->queued : queue_progress(&j->q);

	if (!j->verb || j->overdue)
		return false;
	return now > GRACE_US + (j->began ? deadline(fs, j) : since + (int64_t)job_seconds(fs, j) * 1000000);
}

/* What one that does not run waits for: what others of its lane wait for. */
static void why_not(struct tasks *ts, const struct job *j, char *ret, size_t size)
{
	if (j->q.where == Q_BLOCKED)
		snprintf(ret, size, "an earlier step that does not come back");
	for (struct qjob *q = queue_first(ts->queue); q && !*ret && j->q.where != Q_RUNNING; q = q->all_next)
		if (q->lane == j->q.lane && q->where == Q_RUNNING)
			snprintf(ret, size, "%s", job_of_q(q)->waits);
}

/* What is needed to end it while its own thread is still away. */
static struct job *copy_late(struct tasks *ts, struct job *j)
{
	struct job *copy = malloc(sizeof *copy);

	if (!copy)
		return NULL;
	*copy = *j;
	copy->args = (struct args){ 0 };
	copy->log = j->log ? strdup(j->log) : NULL;
	if (!*copy->waits)
		why_not(ts, j, copy->waits, sizeof copy->waits);
	if (j->began)
		job_log_step(copy, "ETIMEDOUT");
	return copy;
}

/* All that are late, before room is given to others: those behind them in the same lane are as late.  Linked by `next` of the queue's part. */
static struct job *take_late(struct fs *fs)
{
	struct tasks *ts = fs->tasks;
	struct job *late = NULL, *copy;
	int64_t now = mono_us();

	for (struct qjob *q = queue_first(ts->queue); q; q = q->all_next)
		if (is_late(fs, job_of_q(q), now) && (copy = copy_late(ts, job_of_q(q)))) {
			job_of_q(q)->overdue = true;
			copy->q.next = late ? &late->q : NULL;
			late = copy;
		}
	for (struct qjob *q = queue_first(ts->queue), *next; q; q = next) {
		struct job *j = job_of_q(q);

		next = q->all_next;
		/* a deletion goes on, but others of its lane need not wait for it */
		if (q->where == Q_RUNNING && (j->overdue || (!j->verb && now - j->call_began > (int64_t)fs->task_timeout_s * 1000000)))
			queue_stuck(ts->queue, q);
		else if (j->overdue)
			drop(ts, j);
	}
	return late;
}

/* Ends them; the lock is left meanwhile. */
static void expire(struct fs *fs, struct job *late)
{
	struct tasks *ts = fs->tasks;

	pthread_mutex_unlock(&ts->lock);
	while (late) {
		struct job *j = late;
		struct err why = { 0 }, e = { 0 };

		late = (struct job *)j->q.next;
		too_late(fs, j, j->began ? job_step_name(j) : "queued", &why);
		log_warn("task %ld %s of object %ld: %s", (long)j->id, j->name, (long)j->q.object, why.msg);
		while (finish(fs, j, &why, "", &e) < 0 && !ts->stop) {
			log_error("task %ld: %s", (long)j->id, e.msg);
			sleep(1);
		}
		job_free(j);
	}
	pthread_mutex_lock(&ts->lock);
}

static void *keep_time(void *arg)
{
	struct fs *fs = arg;
	struct tasks *ts = fs->tasks;
	int64_t looked = 0;

	pthread_mutex_lock(&ts->lock);
	while (!ts->stop) {
		int64_t now = mono_us();

		if (now - looked >= 1000000) {
			expire(fs, take_late(fs));
			looked = now;
		}
		ts->tick_at = queue_due(ts->queue, now);
		offer(fs);
		if (ts->stop)
			break;
		if (ts->tick_at > now + 1000000)
			ts->tick_at = now + 1000000;
		struct timespec until = { ts->tick_at / 1000000, ts->tick_at % 1000000 * 1000 };
		pthread_cond_timedwait(&ts->tick, &ts->lock, &until);
	}
	pthread_mutex_unlock(&ts->lock);
	return NULL;
}

/* ---- beginning and end */

int tasks_start(struct fs *fs, struct err *e)
{
	struct tasks *ts = calloc(1, sizeof *ts);
	const char *stop = getenv("CIRRUSFS_STOP");
	pthread_condattr_t mono;

	stop_at = stop ? (unsigned)strtoul(stop, NULL, 10) : 0;
	if (!ts || !(ts->queue = queue_new(fs->workers, THREADS_MAX)))
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&ts->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&ts->work, &mono);
	pthread_cond_init(&ts->tick, &mono);
	pthread_cond_init(&ts->idle, &mono);
	fs->tasks = ts;		/* hosts' threads run already */
	load(fs);
	int rc = pthread_create(&ts->clock, NULL, keep_time, fs);
	ts->clocked = rc == 0;
	return rc ? err_set(e, rc, "start a thread: %m") : 0;
}

/* Those that will come back soon. */
static unsigned working(struct tasks *ts)
{
	int64_t now = mono_us();
	unsigned n = 0;

	for (struct qjob *q = queue_first(ts->queue); q; q = q->all_next)
		n += q->where == Q_RUNNING && now - job_of_q(q)->call_began < HANGS_US;
	return n;
}

bool tasks_stop(struct fs *fs, unsigned timeout_ms)
{
	struct tasks *ts = fs->tasks;
	int64_t until = mono_us() + (int64_t)timeout_ms * 1000;

	if (!ts)
		return true;
	pthread_mutex_lock(&ts->lock);
	ts->stop = true;
	pthread_cond_broadcast(&ts->work);
	pthread_cond_broadcast(&ts->tick);
	while (mono_us() < until && (ts->threads > ts->running || working(ts))) {
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		t.tv_sec++;
		pthread_cond_timedwait(&ts->idle, &ts->lock, &t);
	}
	bool all = !ts->threads;
	for (struct qjob *q = queue_first(ts->queue); q && !all; q = q->all_next)
		if (q->where == Q_RUNNING)
			log_warn("task %ld %s of object %ld is left to the next start: %s does not come back", (long)job_of_q(q)->id,
				 job_of_q(q)->name, (long)q->object, job_step_name(job_of_q(q)));
	pthread_mutex_unlock(&ts->lock);
	if (!all)
		return false;
	if (ts->clocked)
		pthread_join(ts->clock, NULL);
	while (queue_first(ts->queue))
		drop(ts, job_of_q(queue_first(ts->queue)));
	queue_free(ts->queue);
	free(ts);
	fs->tasks = NULL;
	return true;
}

void task_progress(struct task *t, int percent)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e;

	if (task_write(t, &c, &e) == 0 && row_set_progress(c.db, t->obj.row.id, percent, &e) == 0)
		call_commit(&c, &e);
}
