/* The order of jobs: tenants take turns, a lane that hangs takes its own room only, an object is worked on once at a time. */
#include "../../fs/tree/queue.h"

#include <stdlib.h>

#include "check.h"

#define JOBS 12000

static struct qjob jobs[JOBS];
static size_t n;
static struct queue *q;

static void begin(unsigned room, unsigned most)
{
	n = 0;
	q = queue_new(room, most);
}

static struct qjob *add_at(int64_t tenant, int64_t lane, int64_t object, int64_t at)
{
	struct qjob *j = &jobs[n++];

	*j = (struct qjob){ .object = object, .tenant = tenant, .lane = lane };
	CHECK(queue_add(q, j, at, 0));
	return j;
}

static struct qjob *add(int64_t tenant, int64_t lane)
{
	return add_at(tenant, lane, (int64_t)n + 1000, 0);
}

static void end(void)
{
	while (queue_first(q))
		queue_drop(q, queue_first(q));
	queue_free(q);
}

/* How many are taken until that one is. */
static unsigned taken_until(const struct qjob *want)
{
	unsigned taken = 0;

	for (struct qjob *j; (j = queue_take(q)); ) {
		taken++;
		if (j == want)
			return taken;
		queue_drop(q, j);
	}
	return 0;
}

static void one_create_does_not_wait_for_5000_of_another(void)
{
	begin(4, 256);
	for (int i = 0; i < 5000; i++)
		add(1, 9);
	for (int i = 0; i < 4; i++)
		queue_take(q);	/* all room is taken */
	CHECK(!queue_can_take(q));
	struct qjob *b = add(2, 9);
	CHECK(queue_can_take(q));
	CHECK(queue_take(q) == b);
	CHECK(!queue_can_take(q));
	end();
}

static void tenants_take_turns(void)
{
	unsigned a = 0, b = 0;

	begin(1, 256);
	for (int i = 0; i < 3000; i++)
		add(1, 9);
	for (int i = 0; i < 100; i++)
		add(2, 9);
	for (int i = 0; i < 100; i++) {
		struct qjob *j = queue_take(q);

		a += j->tenant == 1;
		b += j->tenant == 2;
		queue_drop(q, j);
	}
	CHECK_INT(a, 50);
	CHECK_INT(b, 50);
	end();
}

static void a_tenants_oldest_goes_first(void)
{
	begin(1, 256);
	struct qjob *first = add(1, 9), *second = add(1, 9), *third = add(1, 9);
	CHECK(queue_take(q) == first);
	CHECK(queue_again(q, first, 0, 0));	/* what has begun goes on before */
	CHECK(queue_take(q) == first);
	queue_drop(q, first);
	CHECK(queue_take(q) == second);
	queue_drop(q, second);
	CHECK(queue_take(q) == third);
	end();
}

static void a_lane_that_hangs_holds_up_only_its_own(void)
{
	begin(4, 256);
	for (int i = 0; i < 100; i++)
		add(1, 7);
	for (int i = 0; i < 4; i++)
		CHECK(queue_take(q) != NULL);
	CHECK(!queue_can_take(q));
	struct qjob *other = add(1, 8);		/* the same tenant, elsewhere */
	CHECK(queue_take(q) == other);
	/* given up: the lane has room again, and its threads count */
	for (int i = 0; i < 4; i++)
		queue_stuck(q, &jobs[i]);
	unsigned more = 0;
	while (queue_take(q))
		more++;
	CHECK_INT(more, 4);
	end();
}

/* However many lanes hang for however long, another finds a thread. */
static void the_last_threads_are_for_lanes_that_have_none(void)
{
	unsigned taken = 0;

	begin(8, 32);
	for (int lane = 1; lane <= 6; lane++)
		for (int i = 0; i < 20; i++)
			add(lane, lane);
	for (int round = 0; round < 50; round++)
		for (struct qjob *j; (j = queue_take(q)); taken++)
			queue_stuck(q, j);
	CHECK(taken < 32);
	struct qjob *j = add(1, 77);
	CHECK(queue_take(q) == j);
	end();
}

static void an_object_is_worked_on_once(void)
{
	begin(4, 256);
	struct qjob *create = add_at(1, 9, 5, 0), *del = add_at(1, 9, 5, 0), *other = add(1, 9);
	CHECK(queue_take(q) == create);
	CHECK(queue_take(q) == other);
	CHECK(queue_take(q) == NULL);
	CHECK_INT(del->where, Q_BLOCKED);
	struct qjob *third = add_at(1, 9, 5, 0);
	CHECK_INT(third->where, Q_BLOCKED);
	queue_drop(q, del);
	queue_drop(q, create);
	CHECK(queue_take(q) == third);
	CHECK(queue_of(q, 5) == third);
	CHECK(queue_of_next(third) == NULL);
	CHECK(queue_of(q, 6) == NULL);
	end();
}

static void times_come_in_order(void)
{
	int64_t seen = 0;

	begin(1, 256);
	srandom(1);
	for (int i = 0; i < 5000; i++)
		add_at(1, 9, i + 1, 1 + random() % 100000);
	for (int i = 0; i < 5000; i += 3)
		queue_poke(q, &jobs[i]);	/* need not wait */
	for (int i = 1; i < 5000; i += 3)
		queue_drop(q, &jobs[i]);
	for (int64_t next = queue_due(q, 0); next != INT64_MAX; next = queue_due(q, next)) {
		CHECK(next > seen);
		seen = next;
	}
	unsigned ready = 0;
	for (struct qjob *j; (j = queue_take(q)); ready++)
		queue_drop(q, j);
	CHECK_INT(ready, 3333);
	CHECK(queue_first(q) == NULL);
	end();
}

/* Any order of calls leaves it whole: everything that is put in comes out once. */
static void nothing_is_lost(void)
{
	static bool running[JOBS], in[JOBS];
	unsigned out = 0;

	begin(3, 64);
	srandom(7);
	for (int i = 0; i < JOBS / 2; i++) {
		add_at(random() % 5, random() % 4, random() % 50, random() % 3 ? 0 : i + random() % 100);
		in[i] = true;
		queue_due(q, i);
		struct qjob *j = queue_take(q);
		if (j)
			running[j - jobs] = true;
		size_t k = (size_t)random() % n;
		if (in[k] && running[k] && random() % 2) {
			running[k] = false;
			CHECK(queue_again(q, &jobs[k], i + random() % 50, i));
		} else if (in[k]) {
			queue_drop(q, &jobs[k]);
			in[k] = running[k] = false;
			out++;
		}
	}
	for (size_t i = 0; i < n; i++)
		if (running[i]) {
			queue_drop(q, &jobs[i]);
			out++;
		}
	queue_due(q, INT64_MAX - 1);
	for (struct qjob *j; (j = queue_take(q)); out++)
		queue_drop(q, j);
	CHECK_INT(out, JOBS / 2);
	CHECK(queue_first(q) == NULL);
	end();
}

static void ten_thousand_are_common(void)
{
	begin(8, 256);
	for (int i = 0; i < 10000; i++)
		add(i % 100, i % 10);
	CHECK(queue_of(q, 1000 + 9999) == &jobs[9999]);
	CHECK(taken_until(&jobs[9999]) > 0);
	end();
}

int main(void)
{
	RUN(one_create_does_not_wait_for_5000_of_another);
	RUN(tenants_take_turns);
	RUN(a_tenants_oldest_goes_first);
	RUN(a_lane_that_hangs_holds_up_only_its_own);
	RUN(the_last_threads_are_for_lanes_that_have_none);
	RUN(an_object_is_worked_on_once);
	RUN(times_come_in_order);
	RUN(nothing_is_lost);
	RUN(ten_thousand_are_common);
	return DONE();
}
