/* What files say of tasks: task, tasks, the end of history, lines of health. */
#include <errno.h>
#include <string.h>

#include "job.h"
#include "value.h"

#define SLOW_US 60000000	/* a step that is away for so long is a line of health */

#define BLOCKED "an earlier step that does not come back"

/* The job of that row of `task`; under the lock. */
static struct job *find(struct fs *fs, int64_t object, int64_t id)
{
	struct qjob *q = fs->tasks ? queue_of(fs->tasks->queue, object) : NULL;

	while (q && job_of_q(q)->id != id)
		q = queue_of_next(q);
	return q ? job_of_q(q) : NULL;
}

struct state {		/* of a task, as it is told */
	const char *word;
	char step[32], waits[160];
	int64_t age_s, left_s;	/* left -1: it has no end (a deletion, a wait for a person) or did not begin */
	unsigned tries;
};

static void lock(struct fs *fs)
{
	if (fs->tasks)
		pthread_mutex_lock(&fs->tasks->lock);
}

static void unlock(struct fs *fs)
{
	if (fs->tasks)
		pthread_mutex_unlock(&fs->tasks->lock);
}

static int64_t positive_s(int64_t us)
{
	return us > 0 ? us / 1000000 : 0;
}

static void state_of(struct fs *fs, int64_t object, int64_t id, int64_t created, struct state *s)
{
	lock(fs);
	struct job *j = find(fs, object, id);

	*s = (struct state){ .word = "queued", .step = "queued", .left_s = -1, .age_s = job_age_s(j, created) };
	if (j && j->began) {
		s->word = j->q.where == Q_RUNNING ? "running" : "waiting";
		snprintf(s->step, sizeof s->step, "%s", job_step_name(j));
		memcpy(s->waits, j->waits, sizeof s->waits);
		if (j->verb && j->ends >= 0)
			s->left_s = positive_s((j->ends ? j->ends : j->began + (int64_t)job_seconds(fs, j) * 1000000) - mono_us());
		s->tries = j->tries;
	}
	if (j && j->q.where == Q_BLOCKED)
		snprintf(s->waits, sizeof s->waits, BLOCKED);
	unlock(fs);
}

int task_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct task_row t = { 0 };
	struct state s;
	int rc = task_of(c->db, o->row.id, &t, e);

	if (rc <= 0) {
		fputs("none", out);
		return rc;
	}
	state_of(c->fs, o->row.id, t.id, t.created, &s);
	fprintf(out, "%s %s %lds %s", t.verb, s.step, (long)s.age_s, s.word);
	if (s.left_s >= 0)
		fprintf(out, " left=%lds", (long)s.left_s);
	if (s.tries)
		fprintf(out, " tries=%u", s.tries);
	if (*s.waits)
		fprintf(out, " waits for %s", s.waits);
	task_row_free(&t);
	return 0;
}

struct lines {
	struct call *c;
	FILE *out;
	struct err *e;
	int64_t parent;		/* whose path is in `dir` */
	char dir[1600];
	int rc;
};

/* Most of a list have the same parent. */
static int put_path(struct lines *x, const struct obj *o)
{
	struct obj parent;

	if (o->row.parent != ROOT_ROW && o->row.parent != x->parent) {
		if (obj_by_id(x->c, o->row.parent, &parent, x->e) < 0 || obj_path(x->c, &parent, x->dir, sizeof x->dir, x->e) < 0)
			return -x->e->code;
		x->parent = o->row.parent;
	}
	if (o->row.parent != ROOT_ROW)
		fprintf(x->out, "%s/", x->dir);
	fprintf(x->out, "%s/%s%s", o->kind->dir, o->row.deleted ? "by-id/" : "", o->row.deleted ? o->row.uuid : o->row.name);
	return 0;
}

static int put_task(void *arg, const struct task_row *t)
{
	struct lines *x = arg;
	struct state s;
	struct obj o;

	if (obj_by_id(x->c, t->object, &o, x->e) < 0 || put_path(x, &o) < 0) {
		x->rc = x->e->code == ENOENT ? 0 : -x->e->code;
		return x->rc != 0;
	}
	state_of(x->c->fs, t->object, t->id, t->created, &s);
	fprintf(x->out, "\t%s\t%s\t%s\t%ld\t", t->verb, s.step, s.word, (long)s.age_s);
	if (s.left_s >= 0)
		fprintf(x->out, "%ld", (long)s.left_s);
	fprintf(x->out, "\t%u\t%s\t%s\t%s\n", s.tries, t->who, t->request, s.waits);
	return 0;
}

int tasks_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct lines x = { .c = c, .out = out, .e = e };

	fputs("path\tverb\tstep\tstate\tage\tleft\ttries\tuser\trequest\twaits-for\n", out);
	int rc = task_list(c->db, o->row.id == ROOT_ROW ? 0 : o->row.id, put_task, &x, e);
	return rc < 0 ? rc : x.rc;
}

void task_show_steps(struct fs *fs, int64_t object, FILE *out)
{
	lock(fs);
	for (struct qjob *q = fs->tasks ? queue_of(fs->tasks->queue, object) : NULL; q; q = queue_of_next(q))
		if (job_of_q(q)->log && !job_of_q(q)->overdue)
			fputs(job_of_q(q)->log, out);
	unlock(fs);
}

/* ---- health */

struct slow {
	int64_t object;
	bool over;
	long s;
	char what[300];
};

/* What is told of a job; false: it gets on.  A deletion has no end, so it is told of when others would have failed. */
static bool is_slow(struct fs *fs, const struct job *j, struct slow *ret)
{
	int64_t away = j->q.where == Q_RUNNING && j->call_began ? mono_us() - j->call_began : 0;

	ret->object = j->q.object;
	ret->over = j->overdue || j->cancelled;
	ret->s = (long)(away / 1000000);
	if (away > SLOW_US || (away && ret->over))
		snprintf(ret->what, sizeof ret->what, "%s has not come back from '%s' for %ld s%s%s", j->name, job_step_name(j), ret->s,
			 *j->waits ? "; it waits for " : "", j->waits);
	else if (!j->verb && !*j->error && job_age_s(j, 0) > fs->task_timeout_s)
		snprintf(ret->what, sizeof ret->what, "delete has not ended for %ld s; it is at '%s'%s%s", (long)job_age_s(j, 0), job_step_name(j),
			 *j->waits || j->q.where == Q_BLOCKED ? " and waits for " : "", j->q.where == Q_BLOCKED ? BLOCKED : j->waits);
	else
		return false;
	return true;
}

#define SLOW_MAX 50

void tasks_health(struct call *c, FILE *out)
{
	struct slow slow[SLOW_MAX];
	size_t n = 0, more = 0;

	lock(c->fs);
	for (struct qjob *q = c->fs->tasks ? queue_first(c->fs->tasks->queue) : NULL; q; q = q->all_next) {
		struct job *j = job_of_q(q);

		if (*j->error)
			fprintf(out, "a deletion goes on trying: %s\n", j->error);
		if (n < SLOW_MAX)
			n += is_slow(c->fs, j, &slow[n]);
		else
			more += is_slow(c->fs, j, &(struct slow){ 0 });
	}
	unlock(c->fs);
	for (size_t i = 0; i < n; i++) {
		char path[1600];
		struct obj o;
		struct err e;

		if (obj_by_id(c, slow[i].object, &o, &e) < 0 || obj_path(c, &o, path, sizeof path, &e) < 0)
			snprintf(path, sizeof path, "object %ld", (long)slow[i].object);
		fprintf(out, "%s: %s%s\n", path, slow[i].what, slow[i].over ? " (it was given up)" : "");
	}
	if (more)
		fprintf(out, "%zu more tasks do not get on\n", more);
}
