/* What is to be worked on, and in which order.  Knows neither the state nor threads; whoever calls holds a lock.
 *
 * A lane is what jobs may hang on together: a hypervisor, the disks of images.  A lane has room for so many at once, so that one that
 * hangs holds up only its own.  Within a lane tenants take turns: the one for whom least runs goes first, and one for whom nothing runs
 * may begin one beyond the room.  Of a tenant's jobs in a lane the oldest goes first.  Of an object one job runs at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue;
struct share;

enum queue_where {
	Q_OUT,		/* not in the queue */
	Q_READY,
	Q_LATER,	/* until `at` */
	Q_BLOCKED,	/* another job of its object runs */
	Q_RUNNING,
};

struct qjob {		/* the first member of a job; the caller sets the first three before queue_add */
	int64_t object, tenant, lane;
	enum queue_where where;
	int64_t at;		/* Q_LATER: not before; in the caller's clock */
	bool begun;		/* was taken before */
	bool stuck;		/* Q_RUNNING: takes none of its lane's room any more */
	struct share *share;
	struct qjob *next, *prev;		/* of its share, while Q_READY */
	struct qjob *all_next, *all_prev;
	struct qjob *same;			/* in the table by object */
	size_t heap;
};

/* room: jobs of a lane at once; most: of all lanes.  NULL: no memory. */
struct queue *queue_new(unsigned room, unsigned most);
/* It is empty. */
void queue_free(struct queue *q);

/* at > now: not before.  False: no memory. */
bool queue_add(struct queue *q, struct qjob *j, int64_t at, int64_t now);
/* The next, now Q_RUNNING; NULL: none may run. */
struct qjob *queue_take(struct queue *q);
/* Would queue_take find one? */
bool queue_can_take(const struct queue *q);
/* One that ran is to be looked at again.  False: no memory, it is out of the queue. */
bool queue_again(struct queue *q, struct qjob *j, int64_t at, int64_t now);
/* Takes it out, wherever it is. */
void queue_drop(struct queue *q, struct qjob *j);
/* One that runs does not come back: others of its lane may run instead of it. */
void queue_stuck(struct queue *q, struct qjob *j);
/* It need not wait for its time. */
void queue_poke(struct queue *q, struct qjob *j);
/* Those whose time has come are ready; the time of the next, or INT64_MAX. */
int64_t queue_due(struct queue *q, int64_t now);
/* When a job of its lane last came back. */
int64_t queue_progress(const struct qjob *j);
void queue_note_progress(struct qjob *j, int64_t now);

/* All jobs, the oldest first; those of an object. */
struct qjob *queue_first(const struct queue *q);
struct qjob *queue_of(const struct queue *q, int64_t object);
struct qjob *queue_of_next(const struct qjob *j);
