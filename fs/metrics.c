/* `metrics`: what monitoring scrapes.  Nothing here asks a hypervisor, nothing waits. */
#include "metrics.h"

#include <dirent.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../backends/base/metric.h"
#include "../backends/state/cloud.h"
#include "cloud.h"
#include "compute/stats.h"
#include "object/object.h"
#include "tree/measure.h"

struct out {
	struct fs *fs;
	FILE *f;
};

static int put_count(void *arg, int kind, const char *status, int64_t n)
{
	struct out *o = arg;
	const struct kind *k = kind_by_no(o->fs, (unsigned)kind);

	if (k)
		metric_put(o->f, "cirrusfs_objects", (double)n, "kind", k->name, "status", status, NULL);
	return 0;
}

/* ---- hosts: a family at a time */

#define HOSTS_MAX 1024

struct hosts_seen {
	struct host_row *v;
	size_t n;
};

static int keep_host(void *arg, const struct host_row *h)
{
	struct hosts_seen *s = arg;
	struct host_row *v = s->n < HOSTS_MAX ? reallocarray(s->v, s->n + 1, sizeof *v) : NULL;

	if (v) {
		s->v = v;
		v[s->n++] = *h;
	}
	return 0;
}

static const struct {
	const char *name, *help;
	size_t offset;
	double unit;
} host_figures[] = {
#define H(f) offsetof(struct host_row, f)
	{ "cirrusfs_host_vcpus", "Processors of a host.", H(vcpus), 1 },
	{ "cirrusfs_host_vcpus_used", "Virtual processors of its servers.", H(vcpus_used), 1 },
	{ "cirrusfs_host_ram_bytes", "Memory of a host.", H(ram), 1 << 20 },
	{ "cirrusfs_host_ram_used_bytes", "Memory of its servers.", H(ram_used), 1 << 20 },
	{ "cirrusfs_host_disk_bytes", "Disk of a host.", H(disk), 1 << 30 },
	{ "cirrusfs_host_disk_used_bytes", "Disk its servers may fill.", H(disk_used), 1 << 30 },
};

static int put_hosts(struct call *c, FILE *out, struct err *e)
{
	struct hosts_seen s = { 0 };
	int rc = host_list(c->db, keep_host, &s, e);

	metric_family(out, "cirrusfs_host_up", METRIC_GAUGE, "1: its hypervisor answers.");
	for (size_t i = 0; i < s.n; i++)
		metric_put(out, "cirrusfs_host_up", s.v[i].up, "host", s.v[i].name, NULL);
	for (size_t f = 0; f < ARRAY_LEN(host_figures); f++) {
		metric_family(out, host_figures[f].name, METRIC_GAUGE, host_figures[f].help);
		for (size_t i = 0; i < s.n; i++) {
			int64_t v = *(int64_t *)((char *)&s.v[i] + host_figures[f].offset);

			if (v >= 0)	/* -1: unlimited, which is no number of bytes */
				metric_put(out, host_figures[f].name, (double)v * host_figures[f].unit, "host", s.v[i].name, NULL);
		}
	}
	free(s.v);
	return rc;
}

/* ---- this process and its store */

static double open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	double n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n > 3 ? n - 3 : 0;	/* ".", ".." and the directory itself */
}

static double resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	long pages = 0;

	if (f && fscanf(f, "%*d %ld", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static void one(FILE *out, const char *name, enum metric_type type, const char *help, double value)
{
	metric_family(out, name, type, help);
	metric_put(out, name, value, NULL);
}

/* Names of our own: node_exporter, which may hand this on, has a process_cpu_seconds_total itself and drops another's. */
static void put_process(struct fs *fs, FILE *out)
{
	struct statvfs disk = { 0 };
	struct state_stats st;
	struct rusage used = { 0 };

	getrusage(RUSAGE_SELF, &used);
	state_stats(fs->state, &st);
	statvfs(fs->store, &disk);
	one(out, "cirrusfs_state_transactions_total", METRIC_COUNTER, "Changes of the state.", (double)st.transactions);
	one(out, "cirrusfs_state_commits_total", METRIC_COUNTER, "Commits they shared; each is one sync of the disk.", (double)st.commits);
	one(out, "cirrusfs_state_log_bytes", METRIC_GAUGE, "Size of the write-ahead log.", (double)st.wal_bytes);
	one(out, "cirrusfs_store_free_bytes", METRIC_GAUGE, "Free on the disk that holds the store.", (double)disk.f_bavail * (double)disk.f_frsize);
	one(out, "cirrusfs_process_cpu_seconds_total", METRIC_COUNTER, "Processor time of cirrusfs.", (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	    (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	one(out, "cirrusfs_process_resident_memory_bytes", METRIC_GAUGE, "Memory of cirrusfs.", resident());
	one(out, "cirrusfs_process_open_fds", METRIC_GAUGE, "Open descriptors of cirrusfs.", open_files());
	metric_family(out, "cirrusfs_build_info", METRIC_GAUGE, "Which version this is.");
	metric_put(out, "cirrusfs_build_info", 1, "version", CIRRUSFS_VERSION, NULL);
}

int metrics_show(struct call *c, FILE *out, struct err *e)
{
	struct out o = { c->fs, out };
	int64_t running;

	metric_family(out, "cirrusfs_objects", METRIC_GAUGE, "Objects by kind and status.");
	int rc = row_counts(c->db, put_count, &o, e);
	if (rc == 0)
		rc = task_count(c->db, ROOT_ROW, 0, 0, 0, &running, e);
	if (rc == 0)
		one(out, "cirrusfs_tasks", METRIC_GAUGE, "Tasks queued or running.", (double)running);
	if (rc == 0)
		rc = put_hosts(c, out, e);
	if (rc < 0)
		return rc;
	guests_metrics(c, out);
	containers_metrics(c->fs, out);
	measure_show(out);
	put_process(c->fs, out);
	metric_end(out);
	return 0;
}
