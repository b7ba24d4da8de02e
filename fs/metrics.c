#include "metrics.h"

#include "../backends/state/cloud.h"

struct out {
	struct fs *fs;
	FILE *f;
};

static int put_count(void *arg, int kind, const char *status, int64_t n)
{
	struct out *o = arg;
	const struct kind *k = kind_by_no(o->fs, (unsigned)kind);

	if (k)
		fprintf(o->f, "cirrusfs_objects{kind=\"%s\",status=\"%s\"} %ld\n", k->name, status, (long)n);
	return 0;
}

static void label(FILE *f, const char *s)
{
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		putc(*s, f);
	}
}

static int put_host(void *arg, const struct host_row *h)
{
	struct out *o = arg;
	const struct { const char *what; int64_t n; } rows[] = { { "vcpus", h->vcpus }, { "vcpus_used", h->vcpus_used }, { "ram_mib", h->ram },
		{ "ram_used_mib", h->ram_used }, { "disk_gib", h->disk }, { "disk_used_gib", h->disk_used }, { "up", h->up } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		fputs("cirrusfs_host{host=\"", o->f);
		label(o->f, h->name);
		fprintf(o->f, "\",what=\"%s\"} %ld\n", rows[i].what, (long)rows[i].n);
	}
	return 0;
}

int metrics_show(struct call *c, FILE *out, struct err *e)
{
	struct out o = { c->fs, out };
	int64_t running;

	fputs("# TYPE cirrusfs_objects gauge\n# HELP cirrusfs_objects Objects by kind and status.\n", out);
	int rc = row_counts(c->db, put_count, &o, e);
	fputs("# TYPE cirrusfs_host gauge\n# HELP cirrusfs_host Capacity and use of hosts.\n", out);
	if (rc == 0)
		rc = host_list(c->db, put_host, &o, e);
	if (rc == 0)
		rc = task_count(c->db, ROOT_ROW, 0, 0, 0, &running, e);
	if (rc == 0)
		fprintf(out, "# TYPE cirrusfs_tasks gauge\n# HELP cirrusfs_tasks Tasks queued or running.\ncirrusfs_tasks %ld\n# EOF\n", (long)running);
	return rc;
}
