/* MD5 of contents, behind their writers: one thread goes through what is written and in chunks already, so that little is left when the writer
 * is done (on a machine of two processors it begins when the writer is).  What is changed before the place it has come to makes it begin again, once the content is cut. */
#include "body.h"

#include <errno.h>
#include <openssl/evp.h>
#include <sched.h>
#include <string.h>

#include "../base/text.h"

#define PIECE (256u << 10)
#define CPUS 4		/* from so many on MD5 keeps up with a writer without taking from it */
#define SLOTS 64	/* contents at once; those that wait for a slot are begun when they are asked for */

struct waiter {
	struct waiter *next;
	uint64_t ticket;
	etag_fn *done;
	void *arg;
};
struct job {
	int64_t id;		/* 0: free */
	EVP_MD_CTX *md;
	uint64_t at;		/* bytes that are in md */
	uint64_t changed;	/* the lowest offset that was written since md came there; UINT64_MAX: none */
	struct waiter *waiters;
	bool hint;		/* there may be more to read */
};
struct etags {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t thread;
	bool started, stop;
	bool spare;		/* there are processors that writers leave idle: else a content is gone through once it is cut, or asked for */
	uint64_t tickets;
	struct job jobs[SLOTS];
	unsigned n;
};

static struct job *job_of(struct etags *t, int64_t id, bool make)
{
	struct job *spare = NULL;

	for (size_t i = 0; i < SLOTS; i++) {
		if (t->jobs[i].id == id)
			return &t->jobs[i];
		if (!spare && !t->jobs[i].id)
			spare = &t->jobs[i];
	}
	if (!make || !spare)
		return NULL;
	*spare = (struct job){ .id = id, .md = spare->md ? spare->md : EVP_MD_CTX_new(), .changed = UINT64_MAX };
	if (!spare->md || EVP_DigestInit_ex(spare->md, EVP_md5(), NULL) != 1) {
		spare->id = 0;
		return NULL;
	}
	__atomic_add_fetch(&t->n, 1, __ATOMIC_RELAXED);
	return spare;
}

void etag_hint(struct objects *os, int64_t id)
{
	struct etags *t = os->etags;

	if (!t || id < 0)
		return;
	pthread_mutex_lock(&t->lock);
	struct job *j = job_of(t, id, true);
	if (j) {
		j->hint = true;
		pthread_cond_signal(&t->work);
	}
	pthread_mutex_unlock(&t->lock);
}

void etag_changed(struct objects *os, int64_t id, uint64_t off)
{
	struct etags *t = os->etags;

	if (!t || !__atomic_load_n(&t->n, __ATOMIC_RELAXED))
		return;
	pthread_mutex_lock(&t->lock);
	struct job *j = job_of(t, id, false);
	if (j && off < j->changed)
		j->changed = off;
	pthread_mutex_unlock(&t->lock);
}

/* ---- the thread */

static void answer(struct etags *t, struct job *j, const struct err *e, const char *etag)
{
	struct waiter *w = j->waiters;

	j->waiters = NULL;
	pthread_mutex_unlock(&t->lock);
	while (w) {
		struct waiter *next = w->next;

		w->done(w->arg, e, etag);
		free(w);
		w = next;
	}
	pthread_mutex_lock(&t->lock);
}

static void job_end(struct etags *t, struct job *j)
{
	j->id = 0;
	__atomic_sub_fetch(&t->n, 1, __ATOMIC_RELAXED);
}

/* Bytes of a content that are in chunks, or all of them once it is cut; *whole: that is its end, and it is cut. */
static int64_t read_stable(struct body *b, unsigned char *buf, uint64_t at, bool eager, bool *whole, int64_t *root, struct err *e)
{
	uint64_t upto;
	int64_t n = 0;

	pthread_mutex_lock(&b->lock);
	int rc = body_know(b, e);
	bool cut = rc == 0 && !b->dirty;
	upto = b->runs.n ? b->runs.v[0]->off : b->size;
	*root = b->root;
	*whole = cut && at >= b->size;
	n = at < upto ? (upto - at < PIECE ? (int64_t)(upto - at) : (int64_t)PIECE) : 0;
	if (!cut && (n < (int64_t)PIECE || !eager))	/* by whole pieces behind a writer */
		n = 0;
	uint64_t size = b->size;
	pthread_mutex_unlock(&b->lock);
	if (rc < 0)
		return rc;
	if (n > 0) {
		n = body_read(b, (char *)buf, (size_t)n, (int64_t)at, e);	/* verified, as for everybody */
		*whole = cut && n >= 0 && at + (uint64_t)n >= size;
	}
	return n;
}

static void finish(struct objects *os, struct etags *t, struct job *j, int64_t root)
{
	unsigned char sum[16];
	char etag[33];
	unsigned len;
	struct err e = { 0 };

	EVP_DigestFinal_ex(j->md, sum, &len);
	hex_text(etag, sum, sizeof sum);
	int64_t id = j->id;
	pthread_mutex_unlock(&t->lock);
	if (index_enter(os, &e)) {
		name_set_etag(os, id, root, etag, &e);
		index_end(os, true);
	}
	pthread_mutex_lock(&t->lock);
	answer(t, j, NULL, etag);
	job_end(t, j);
}

/* One piece of one content; the lock is held. */
static void step(struct objects *os, struct etags *t, struct job *j, unsigned char *buf)
{
	struct err e = { 0 };
	struct body *b;
	bool whole = false;
	int64_t root = 0, n;

	if (j->changed < j->at) {
		EVP_DigestInit_ex(j->md, EVP_md5(), NULL);
		j->at = 0;
	}
	j->changed = UINT64_MAX;
	j->hint = false;
	uint64_t at = j->at;
	int64_t id = j->id;
	bool eager = t->spare || j->waiters;
	pthread_mutex_unlock(&t->lock);
	n = body_get(os, id, &b, &e) < 0 ? -e.code : read_stable(b, buf, at, eager, &whole, &root, &e);
	if (n > 0)
		EVP_DigestUpdate(j->md, buf, (size_t)n);
	bool dirty = n >= 0 && b->dirty;
	if (e.code == 0 || n >= 0)
		body_put(b);
	pthread_mutex_lock(&t->lock);
	if (n < 0) {
		answer(t, j, &e, NULL);
		job_end(t, j);
		return;
	}
	j->at += (uint64_t)n;
	if (j->changed < j->at || (n == 0 && !whole && !dirty)) {
		j->hint = true;	/* it was changed under our hands */
		return;
	}
	if (whole && !dirty)
		finish(os, t, j, root);
	else
		j->hint |= n > 0;
}

/* Writers go first, and it catches up when they are done; unless somebody waits for it. */
static void hurry(struct etags *t)
{
	static __thread int now = SCHED_OTHER;
	int policy = SCHED_IDLE;

	for (size_t i = 0; i < SLOTS; i++)
		if (t->jobs[i].id && t->jobs[i].waiters)
			policy = SCHED_OTHER;
	if (policy != now && pthread_setschedparam(pthread_self(), policy, &(struct sched_param){ 0 }) == 0)
		now = policy;
}

static void *run(void *arg)
{
	struct objects *os = arg;
	struct etags *t = os->etags;
	AUTO(free) unsigned char *buf = malloc(PIECE);
	size_t turn = 0;

	pthread_mutex_lock(&t->lock);
	while (!t->stop && buf) {
		size_t i = 0;

		while (i < SLOTS && !(t->jobs[(turn + i) % SLOTS].id && t->jobs[(turn + i) % SLOTS].hint))
			i++;
		if (i == SLOTS) {
			pthread_cond_wait(&t->work, &t->lock);
			continue;
		}
		turn = (turn + i) % SLOTS;
		hurry(t);
		step(os, t, &t->jobs[turn], buf);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

int etags_start(struct objects *os, struct err *e)
{
	struct etags *t = calloc(1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	cpu_set_t set;
	t->spare = sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) >= CPUS;
	os->etags = t;
	int rc = pthread_create(&t->thread, NULL, run, os);
	t->started = rc == 0;
	return rc ? err_set(e, rc, "a thread: %s", strerror(rc)) : 0;
}

void etags_stop(struct objects *os)
{
	struct etags *t = os->etags;
	struct err e = { 0 };

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
	if (t->started)
		pthread_join(t->thread, NULL);
	err_set(&e, EINTR, "the process ends");
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SLOTS; i++) {
		answer(t, &t->jobs[i], &e, NULL);
		EVP_MD_CTX_free(t->jobs[i].md);
	}
	pthread_mutex_unlock(&t->lock);
	os->etags = NULL;
	free(t);
}

/* ---- who asks */

int object_etag(struct objects *os, int64_t id, char ret[33], etag_fn *done, void *arg, uint64_t *ticket, struct err *e)
{
	struct etags *t = os->etags;
	struct body *b = body_find(os, id);
	bool dirty = b && (b->dirty || b->cuts);
	int rc = 0;

	if (!dirty) {
		if (!index_enter(os, e)) {
			if (b)
				body_put(b);
			return -e->code;
		}
		rc = name_etag(os, id, ret, e);
		index_end(os, false);
	}
	if (b && dirty && done)
		rc = body_cut(b, false, e);	/* of what is there now */
	if (b)
		body_put(b);
	if (rc < 0 || rc == 1)
		return rc < 0 ? rc : 0;
	if (!done)
		return err_set(e, ENODATA, "its MD5 is being computed");
	struct waiter *w = malloc(sizeof *w);
	if (!w)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_lock(&t->lock);
	struct job *j = job_of(t, id, true);
	if (j) {
		*w = (struct waiter){ j->waiters, ++t->tickets, done, arg };
		if (ticket)
			*ticket = w->ticket;
		j->waiters = w;
		j->hint = true;
		pthread_cond_signal(&t->work);
	}
	pthread_mutex_unlock(&t->lock);
	if (!j) {
		free(w);
		return err_set(e, EAGAIN, "too many etags are computed at once");
	}
	return 1;
}

void object_etag_forget(struct objects *os, uint64_t ticket)
{
	struct etags *t = os->etags;
	struct waiter *w = NULL;
	struct err e = { 0 };

	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	for (size_t i = 0; i < SLOTS && !w; i++)
		for (struct waiter **at = &t->jobs[i].waiters; *at; at = &(*at)->next)
			if ((*at)->ticket == ticket) {
				w = *at;
				*at = w->next;
				break;
			}
	pthread_mutex_unlock(&t->lock);
	if (w) {
		err_set(&e, EINTR, "interrupted");
		w->done(w->arg, &e, NULL);
		free(w);
	}
}
