/* Tasks in memory: what task.c runs and task_show.c tells of. */
#pragma once

#include <pthread.h>

#include "queue.h"
#include "tasks.h"

struct job {
	struct qjob q;			/* first */
	int64_t id;			/* of its row; another row of the object is another task */
	const struct verb *verb;	/* NULL: deletion */
	const struct step *steps;	/* of the deletion */
	char name[24], was[24], request[REQUEST_LEN], who[40];
	struct args args;
	int64_t created;		/* microseconds since 1970 */
	size_t step;
	unsigned tries, looks;		/* how often it began anew or failed (a deletion); how often this step was called */
	bool poked, cancelled, overdue;
	/* CLOCK_MONOTONIC microseconds, 0: not yet */
	int64_t old;			/* its age when it was queued here */
	int64_t queued, began, step_began, call_began;
	int64_t ends;			/* when this step ends itself, which its verb's deadline does not; -1: nobody knows, 0: it is not patient */
	int64_t step_at;		/* when this step began, microseconds since 1970 */
	char waits[160];		/* what this step waits for */
	char *log;			/* lines of the steps that ended */
	char error[256];		/* of a deletion's last try */
};

struct tasks {
	pthread_mutex_t lock;
	pthread_cond_t work, tick, idle;	/* for workers; for the clock; somebody stopped working */
	struct queue *queue;
	unsigned threads, sleeping, running;
	bool waking;			/* one was woken or started and has not taken a job yet */
	bool stop;
	int64_t tick_at;		/* the clock sleeps until then */
	pthread_t clock;
	bool clocked;
};

static inline struct job *job_of_q(struct qjob *q)
{
	return (struct job *)q;
}

int64_t mono_us(void);
/* "boot"; "finish" after the last. */
const char *job_step_name(const struct job *j);
/* Seconds its verb has. */
unsigned job_seconds(const struct fs *fs, const struct job *j);
/* How long ago it was asked for, in seconds, whatever the clock on the wall says. */
int64_t job_age_s(const struct job *j, int64_t created);
/* The line about the step it is at, as history shows it. */
void job_log_step(struct job *j, const char *result);
