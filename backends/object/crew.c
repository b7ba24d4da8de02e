/* A few threads that help whoever has much to hash or to compress.  One at a time has their help; others work alone meanwhile. */
#include "core.h"

#include <sched.h>

static struct {
	pthread_once_t once;
	pthread_mutex_t busy, lock;
	pthread_cond_t begin, end;
	void (*fn)(void *arg, size_t i);
	void *arg;
	size_t n;
	_Atomic size_t next;
	unsigned turn, helpers, at_work;
} crew = { .once = PTHREAD_ONCE_INIT, .busy = PTHREAD_MUTEX_INITIALIZER, .lock = PTHREAD_MUTEX_INITIALIZER, .begin = PTHREAD_COND_INITIALIZER,
	.end = PTHREAD_COND_INITIALIZER };

static void work(void (*fn)(void *arg, size_t i), void *arg, size_t n)
{
	for (size_t i; (i = atomic_fetch_add(&crew.next, 1)) < n; )
		fn(arg, i);
}

static void *helper(void *unused)
{
	unsigned seen = 0;

	pthread_mutex_lock(&crew.lock);
	for (;;) {
		while (crew.turn == seen || !crew.fn) {
			seen = crew.turn;
			pthread_cond_wait(&crew.begin, &crew.lock);
		}
		seen = crew.turn;
		crew.at_work++;
		void (*fn)(void *arg, size_t i) = crew.fn;
		void *arg = crew.arg;
		size_t n = crew.n;
		pthread_mutex_unlock(&crew.lock);
		work(fn, arg, n);
		pthread_mutex_lock(&crew.lock);
		if (!--crew.at_work)
			pthread_cond_signal(&crew.end);
	}
	return NULL;
}

static void gather(void)
{
	cpu_set_t set;
	int cpus = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
	pthread_t t;

	for (int i = 1; i < cpus && i < 8; i++)
		if (pthread_create(&t, NULL, helper, NULL) == 0) {
			pthread_detach(t);
			crew.helpers++;
		}
}

void crew_run(void (*fn)(void *arg, size_t i), void *arg, size_t n)
{
	pthread_once(&crew.once, gather);
	if (n < 4 || !crew.helpers || pthread_mutex_trylock(&crew.busy) != 0) {
		for (size_t i = 0; i < n; i++)
			fn(arg, i);
		return;
	}
	pthread_mutex_lock(&crew.lock);
	crew.fn = fn;
	crew.arg = arg;
	crew.n = n;
	crew.next = 0;
	crew.turn++;
	pthread_cond_broadcast(&crew.begin);
	pthread_mutex_unlock(&crew.lock);
	work(fn, arg, n);
	pthread_mutex_lock(&crew.lock);
	crew.fn = NULL;		/* who wakes late finds nothing */
	while (crew.at_work)
		pthread_cond_wait(&crew.end, &crew.lock);
	pthread_mutex_unlock(&crew.lock);
	pthread_mutex_unlock(&crew.busy);
}
