#include "measure.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include "../../backends/base/metric.h"

static const char *const request_names[RQ_KINDS] = {
	"lookup", "getattr", "setattr", "readlink", "opendir", "readdir", "readdirplus", "mkdir", "rmdir", "unlink", "symlink", "link",
	"mknod", "rename", "open", "create", "read", "write", "flush", "release", "fsync", "fsyncdir", "lseek", "fallocate", "getxattr",
	"listxattr", "setxattr", "removexattr", "access", "statfs", "copy_file_range",
};
static struct histogram requests[RQ_KINDS];

#define TASKS 256	/* kinds times verbs times results: a few dozen */

static struct {
	pthread_mutex_t lock;
	struct {
		const struct kind *k;
		char verb[24];
		bool ok;
		struct histogram took;
	} v[TASKS];
	_Atomic size_t n;
} tasks = { .lock = PTHREAD_MUTEX_INITIALIZER };

int64_t measure_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void measure_request(enum request r, int64_t began)
{
	histogram_add(&requests[r], bounds_short, (measure_now() - began + 500) / 1000);
}

void measure_task(const struct kind *k, const char *verb, bool ok, int64_t us)
{
	size_t i;

	pthread_mutex_lock(&tasks.lock);
	for (i = 0; i < tasks.n; i++)
		if (tasks.v[i].k == k && tasks.v[i].ok == ok && strcmp(tasks.v[i].verb, verb) == 0)
			break;
	if (i == tasks.n && i < TASKS) {
		tasks.v[i].k = k;
		tasks.v[i].ok = ok;
		snprintf(tasks.v[i].verb, sizeof tasks.v[i].verb, "%s", verb);
		tasks.n++;
	}
	if (i < TASKS)
		histogram_add(&tasks.v[i].took, bounds_long, us);
	pthread_mutex_unlock(&tasks.lock);
}

void measure_show(FILE *out)
{
	metric_family(out, "cirrusfs_request_duration_seconds", METRIC_HISTOGRAM, "FUSE requests by kind, until they were answered or parked.");
	for (int r = 0; r < RQ_KINDS; r++)
		if (histogram_count(&requests[r]))
			histogram_put(out, "cirrusfs_request_duration_seconds", &requests[r], bounds_short, "request", request_names[r], NULL);
	metric_family(out, "cirrusfs_task_duration_seconds", METRIC_HISTOGRAM, "Tasks that ended since the process began, from when they were asked for.");
	for (size_t i = 0; i < tasks.n; i++)
		histogram_put(out, "cirrusfs_task_duration_seconds", &tasks.v[i].took, bounds_long, "kind", tasks.v[i].k->name,
			      "verb", tasks.v[i].verb, "result", tasks.v[i].ok ? "ok" : "failed", NULL);
}
