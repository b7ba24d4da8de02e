#include "queue.h"

#include <assert.h>
#include <stdlib.h>

#define SHARES 256	/* chains of the table of shares */

struct lane {
	struct lane *next, *prev;	/* in a ring of those that have jobs; turns are taken */
	int64_t key;
	unsigned running, stuck, jobs;
	struct share *ready;		/* a ring; who is next stands first */
	int64_t progress;
};

struct share {		/* a tenant in a lane */
	struct share *chain;
	struct lane *lane;
	int64_t tenant;
	unsigned running, jobs;
	struct qjob *first, *last;
	struct share *next, *prev;	/* in the lane's ring, while it has a job that is ready */
};

struct queue {
	unsigned room, most, running;	/* running: with those that are stuck */
	struct lane *lanes;
	struct share *shares[SHARES];
	struct qjob **objects;		/* a table by object, as long as a power of two */
	size_t n_objects, jobs;
	struct qjob **heap;		/* Q_LATER, the first due on top */
	size_t later, heap_size;
	struct qjob *first, *last;
};

struct queue *queue_new(unsigned room, unsigned most)
{
	struct queue *q = calloc(1, sizeof *q);

	if (!q)
		return NULL;
	q->room = room;
	q->most = most;
	q->n_objects = 64;
	q->objects = calloc(q->n_objects, sizeof *q->objects);
	if (q->objects)
		return q;
	free(q);
	return NULL;
}

void queue_free(struct queue *q)
{
	assert(!q->jobs);
	free(q->objects);
	free(q->heap);
	free(q);
}

/* ---- by object */

static size_t slot(const struct queue *q, int64_t object)
{
	return (size_t)((uint64_t)object * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (q->n_objects - 1);
}

/* In the order they came, so that the older one runs first. */
static void link_object(struct queue *q, struct qjob *j)
{
	struct qjob **p = &q->objects[slot(q, j->object)];

	while (*p)
		p = &(*p)->same;
	j->same = NULL;
	*p = j;
}

static void grow_objects(struct queue *q)
{
	struct qjob **old = q->objects, **table = calloc(q->n_objects * 2, sizeof *table);

	if (!table)
		return;		/* longer chains */
	q->objects = table;
	q->n_objects *= 2;
	for (struct qjob *j = q->first; j; j = j->all_next)
		link_object(q, j);
	free(old);
}

static void unlink_object(struct queue *q, struct qjob *j)
{
	struct qjob **p = &q->objects[slot(q, j->object)];

	while (*p != j)
		p = &(*p)->same;
	*p = j->same;
}

static struct qjob *same_object(struct qjob *j, int64_t object)
{
	while (j && j->object != object)
		j = j->same;
	return j;
}

struct qjob *queue_of(const struct queue *q, int64_t object)
{
	return same_object(q->objects[slot(q, object)], object);
}

struct qjob *queue_of_next(const struct qjob *j)
{
	return same_object(j->same, j->object);
}

struct qjob *queue_first(const struct queue *q)
{
	return q->first;
}

/* ---- rings */

#define RING_ADD(head, x) do { \
	if (head) { \
		(x)->next = (head); \
		(x)->prev = (head)->prev; \
		(x)->prev->next = (x); \
		(head)->prev = (x); \
	} else { \
		(head) = (x)->next = (x)->prev = (x); \
	} \
} while (0)

#define RING_REMOVE(head, x) do { \
	if ((x)->next == (x)) { \
		(head) = NULL; \
	} else { \
		(x)->prev->next = (x)->next; \
		(x)->next->prev = (x)->prev; \
		if ((head) == (x)) \
			(head) = (x)->next; \
	} \
	(x)->next = (x)->prev = NULL; \
} while (0)

/* ---- lanes and shares */

static struct lane *lane_of(struct queue *q, int64_t key)
{
	struct lane *l = q->lanes;

	if (l)
		do {
			if (l->key == key)
				return l;
			l = l->next;
		} while (l != q->lanes);
	l = calloc(1, sizeof *l);
	if (!l)
		return NULL;
	l->key = key;
	RING_ADD(q->lanes, l);
	return l;
}

static struct share **share_chain(struct queue *q, int64_t lane, int64_t tenant)
{
	return &q->shares[((uint64_t)lane * 31 + (uint64_t)tenant) % SHARES];
}

static struct share *share_of(struct queue *q, int64_t lane, int64_t tenant)
{
	struct share **chain = share_chain(q, lane, tenant), *s = *chain;

	for (; s; s = s->chain)
		if (s->tenant == tenant && s->lane->key == lane)
			return s;
	struct lane *l = lane_of(q, lane);
	if (!l || !(s = calloc(1, sizeof *s)))
		return NULL;	/* a lane without jobs is found again */
	s->lane = l;
	s->tenant = tenant;
	s->chain = *chain;
	*chain = s;
	return s;
}

static void share_left(struct queue *q, struct share *s)
{
	struct lane *l = s->lane;

	l->jobs--;
	if (--s->jobs)
		return;
	struct share **p = share_chain(q, l->key, s->tenant);
	while (*p != s)
		p = &(*p)->chain;
	*p = s->chain;
	free(s);
	if (!l->jobs) {
		RING_REMOVE(q->lanes, l);
		free(l);
	}
}

static void push(struct qjob *j, bool front)
{
	struct share *s = j->share;

	j->where = Q_READY;
	if (!s->first)
		RING_ADD(s->lane->ready, s);
	j->prev = front ? NULL : s->last;
	j->next = front ? s->first : NULL;
	*(j->prev ? &j->prev->next : &s->first) = j;
	*(j->next ? &j->next->prev : &s->last) = j;
}

static void pull(struct qjob *j)
{
	struct share *s = j->share;

	*(j->prev ? &j->prev->next : &s->first) = j->next;
	*(j->next ? &j->next->prev : &s->last) = j->prev;
	j->next = j->prev = NULL;
	if (!s->first)
		RING_REMOVE(s->lane->ready, s);
}

/* ---- those that wait for their time */

static void heap_put(struct queue *q, size_t i, struct qjob *j)
{
	q->heap[i] = j;
	j->heap = i;
}

static void heap_up(struct queue *q, size_t i)
{
	struct qjob *j = q->heap[i];

	for (; i && q->heap[(i - 1) / 2]->at > j->at; i = (i - 1) / 2)
		heap_put(q, i, q->heap[(i - 1) / 2]);
	heap_put(q, i, j);
}

static void heap_down(struct queue *q, size_t i)
{
	struct qjob *j = q->heap[i];

	for (size_t kid; (kid = 2 * i + 1) < q->later; i = kid) {
		if (kid + 1 < q->later && q->heap[kid + 1]->at < q->heap[kid]->at)
			kid++;
		if (q->heap[kid]->at >= j->at)
			break;
		heap_put(q, i, q->heap[kid]);
	}
	heap_put(q, i, j);
}

static bool heap_add(struct queue *q, struct qjob *j, int64_t at)
{
	if (q->later == q->heap_size) {
		size_t size = q->heap_size ? q->heap_size * 2 : 64;
		struct qjob **heap = reallocarray(q->heap, size, sizeof *heap);

		if (!heap)
			return false;
		q->heap = heap;
		q->heap_size = size;
	}
	j->where = Q_LATER;
	j->at = at;
	heap_put(q, q->later++, j);
	heap_up(q, j->heap);
	return true;
}

static void heap_remove(struct queue *q, struct qjob *j)
{
	size_t i = j->heap;

	q->later--;
	if (i == q->later)
		return;
	heap_put(q, i, q->heap[q->later]);
	heap_up(q, i);
	heap_down(q, q->heap[i]->heap);
}

/* ---- in and out */

static bool is_running(const struct queue *q, const struct qjob *j)
{
	for (const struct qjob *o = queue_of(q, j->object); o; o = queue_of_next(o))
		if (o != j && o->where == Q_RUNNING)
			return true;
	return false;
}

static bool place(struct queue *q, struct qjob *j, int64_t at, int64_t now, bool front)
{
	if (at > now)
		return heap_add(q, j, at);
	if (is_running(q, j))
		j->where = Q_BLOCKED;
	else
		push(j, front);
	return true;
}

bool queue_add(struct queue *q, struct qjob *j, int64_t at, int64_t now)
{
	j->share = share_of(q, j->lane, j->tenant);
	if (!j->share)
		return false;
	if (!j->share->lane->jobs)
		j->share->lane->progress = now;
	j->share->jobs++;
	j->share->lane->jobs++;
	j->begun = j->stuck = false;
	if (++q->jobs > q->n_objects)
		grow_objects(q);
	link_object(q, j);
	j->all_next = NULL;
	j->all_prev = q->last;
	*(q->last ? &q->last->all_next : &q->first) = j;
	q->last = j;
	j->where = Q_OUT;
	if (place(q, j, at, now, false))
		return true;
	queue_drop(q, j);
	return false;
}

/* Who waited for the object goes on. */
static void unblock(struct queue *q, int64_t object)
{
	for (struct qjob *o = queue_of(q, object); o; o = queue_of_next(o))
		if (o->where == Q_BLOCKED) {
			push(o, true);
			return;
		}
}

static void stop_running(struct queue *q, struct qjob *j)
{
	q->running--;
	*(j->stuck ? &j->share->lane->stuck : &j->share->lane->running) -= 1;
	if (!j->stuck)
		j->share->running--;
	j->stuck = false;
	j->where = Q_OUT;
	unblock(q, j->object);
}

static void take_out(struct queue *q, struct qjob *j)
{
	switch (j->where) {
	case Q_READY:
		pull(j);
		if (!is_running(q, j))
			unblock(q, j->object);
		break;
	case Q_LATER:
		heap_remove(q, j);
		break;
	case Q_RUNNING:
		stop_running(q, j);
		break;
	case Q_BLOCKED:
	case Q_OUT:
		break;
	}
	j->where = Q_OUT;
}

void queue_drop(struct queue *q, struct qjob *j)
{
	take_out(q, j);
	unlink_object(q, j);
	*(j->all_prev ? &j->all_prev->all_next : &q->first) = j->all_next;
	*(j->all_next ? &j->all_next->all_prev : &q->last) = j->all_prev;
	q->jobs--;
	share_left(q, j->share);
	j->share = NULL;
}

bool queue_again(struct queue *q, struct qjob *j, int64_t at, int64_t now)
{
	assert(j->where == Q_RUNNING);
	take_out(q, j);
	if (place(q, j, at, now, true))	/* what has begun goes before what has not */
		return true;
	queue_drop(q, j);
	return false;
}

void queue_stuck(struct queue *q, struct qjob *j)
{
	if (j->where != Q_RUNNING || j->stuck)
		return;
	j->stuck = true;
	j->share->running--;
	j->share->lane->running--;
	j->share->lane->stuck++;
}

void queue_poke(struct queue *q, struct qjob *j)
{
	if (j->where != Q_LATER)
		return;
	heap_remove(q, j);
	place(q, j, 0, 0, true);
}

int64_t queue_due(struct queue *q, int64_t now)
{
	while (q->later && q->heap[0]->at <= now)
		queue_poke(q, q->heap[0]);
	return q->later ? q->heap[0]->at : INT64_MAX;
}

/* ---- choosing */

/* Whose turn it is in that lane; NULL: nobody's.  The nearer all threads are taken, the fewer a single lane may have. */
static struct share *choose(const struct queue *q, const struct lane *l)
{
	struct share *best = l->ready, *s = best;

	if (!best || l->running >= 2 * q->room || q->running + l->running + l->stuck >= q->most)
		return NULL;
	do {
		if (s->running < best->running)
			best = s;
		if (!best->running)
			break;
		s = s->next;
	} while (s != l->ready);
	return l->running < q->room || !best->running ? best : NULL;
}

static struct share *next_share(const struct queue *q)
{
	struct lane *l = q->lanes;
	struct share *s = NULL;

	if (l)
		do {
			s = choose(q, l);
			l = l->next;
		} while (!s && l != q->lanes);
	return s;
}

bool queue_can_take(const struct queue *q)
{
	return next_share(q) != NULL;
}

struct qjob *queue_take(struct queue *q)
{
	struct share *s = next_share(q);

	if (!s)
		return NULL;
	struct qjob *j = s->first;
	q->lanes = s->lane->next;	/* the next lane's turn, and the next tenant's */
	s->lane->ready = s->next;
	pull(j);
	j->where = Q_RUNNING;
	j->begun = true;
	q->running++;
	s->running++;
	s->lane->running++;
	/* another of the same object waits from here */
	for (struct qjob *o = queue_of(q, j->object); o; o = queue_of_next(o))
		if (o->where == Q_READY) {
			pull(o);
			o->where = Q_BLOCKED;
		}
	return j;
}

int64_t queue_progress(const struct qjob *j)
{
	return j->share->lane->progress;
}

void queue_note_progress(struct qjob *j, int64_t now)
{
	j->share->lane->progress = now;
}
