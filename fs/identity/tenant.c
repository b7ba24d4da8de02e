/* Tenants: who owns everything else.  Quotas, usage, purge. */
#include <errno.h>
#include <string.h>

#include "../cloud.h"
#include "../object/object.h"
#include "../tree/tasks.h"
#include "../tree/ctl.h"
#include "../tree/value.h"

static const struct {
	const char *name;
	int64_t def;
} limits[] = {	/* Nova's, Neutron's and Glance's defaults */
	{ "instances", 10 }, { "cores", 20 }, { "ram", 51200 }, { "key-pairs", 100 }, { "networks", 100 }, { "subnets", 100 },
	{ "ports", 500 },
};

static int64_t default_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(limits); i++)
		if (strcmp(limits[i].name, name) == 0)
			return limits[i].def;
	return -1;
}

static int show_quota(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	const char *name = strchr(c->file->name, '/') + 1;
	int64_t v;
	int rc = quota_get(c->db, o->row.id, name, default_of(name), &v, e);

	if (rc == 0)
		fprintf(out, "%ld", (long)v);
	return rc;
}

static int store_quota(struct call *c, struct obj *o, const char *text, struct err *e)
{
	const struct file f = { .type = T_INT, .min = -1, .flags = F_NEEDED };
	struct val v;

	if (value_parse(&f, text, &v, e) < 0)
		return -e->code;
	return quota_set(c->db, o->row.id, strchr(c->file->name, '/') + 1, v.i, e);
}

static int show_usage(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	int64_t v;
	int rc = usage_get(c->db, o->row.id, strchr(c->file->name, '/') + 1, &v, e);

	if (rc == 0)
		fprintf(out, "%ld", (long)v);
	return rc;
}

int quota_check(struct call *c, int64_t tenant, const char *name, int64_t add, struct err *e)
{
	int64_t limit, used;
	int rc = quota_get(c->db, tenant, name, default_of(name), &limit, e);

	if (rc == 0)
		rc = usage_get(c->db, tenant, name, &used, e);
	if (rc < 0 || limit < 0 || used + add <= limit)
		return rc;
	return err_set(e, EDQUOT, "quota of %s: %ld used, %ld asked, limit %ld", name, (long)used, (long)add, (long)limit);
}

/* ---- purge: everything in a tenant, what depends on others first */

struct doomed {
	struct row *v;
	size_t n;
	int rc;
	struct err *e;
};

static int add_doomed(void *arg, const struct row *r)
{
	struct doomed *d = arg;
	struct row *v = reallocarray(d->v, d->n + 1, sizeof *v);

	if (!v) {
		d->rc = err_set(d->e, ENOMEM, "%m");
		return 1;
	}
	d->v = v;
	v[d->n++] = *r;
	return 0;
}

static int list_doomed(struct call *c, const struct obj *o, struct doomed *d, struct err *e)
{
	size_t n = 0;
	int rc = 0;

	while (c->fs->kinds[n])
		n++;
	for (; n-- && rc == 0; ) {
		const struct kind *k = c->fs->kinds[n];

		if (k->parent == &tenant_kind)
			rc = row_list(c->db, o->row.id, k->no, 0, false, add_doomed, d, e);
		rc = rc ? rc : d->rc;
	}
	return rc;
}

static int purge_plan(struct call *c, struct obj *o, const struct doomed *d, struct err *e)
{
	AUTO(free) char *plan = NULL;
	size_t len;
	FILE *out = open_memstream(&plan, &len);

	if (!out)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; i < d->n; i++) {
		fprintf(out, "%s/", c->fs->by_no[d->v[i].kind]->dir);
		fprintf(out, "%s\n", d->v[i].name);
	}
	fclose(out);
	return obj_set_text(c, o, "purge", plan, e);
}

static int purge_all(struct call *c, const struct doomed *d, struct err *e)
{
	c->purge = true;
	for (size_t i = 0; i < d->n; i++) {
		struct obj o;

		if (obj_by_id(c, d->v[i].id, &o, e) < 0 || obj_delete(c, &o, e) < 0)
			return -e->code;
	}
	return 0;
}

static int purge(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	struct doomed d = { .e = e };
	const char *confirm = args_get(a, "confirm");
	int rc = 0;

	if (!confirm && !args_get(a, "plan"))
		return err_set(e, EINVAL, "purge wants 'plan', or confirm=%s to delete everything in it", o->row.name);
	if (confirm && strcmp(confirm, o->row.name) != 0)
		return err_set(e, EINVAL, "confirm=%s is not the name of this tenant, %s", confirm, o->row.name);
	rc = list_doomed(c, o, &d, e);
	if (rc == 0)
		rc = confirm ? purge_all(c, &d, e) : purge_plan(c, o, &d, e);
	if (rc == 0 && confirm)
		rc = obj_set_text(c, o, "purge", "", e);
	free(d.v);
	return rc;
}

/* Where what belongs to nobody else is kept. */
static int tenant_going(struct call *c, struct obj *o, struct err *e)
{
	return strcmp(o->row.name, "admin") == 0 ? err_set(e, EPERM, "the tenant admin belongs to the cloud and cannot be deleted") : 0;
}

extern const struct stream events_stream;

#define QUOTA(n) { "quota/" n, .flags = F_WRITE | F_OBSERVED | F_LIVE, .type = T_INT, .min = -1, .show = show_quota, .store = store_quota, \
	.help = "limit; -1 is unlimited" }
#define USAGE(n) { "usage/" n, .flags = F_LIVE, .type = T_INT, .show = show_usage, .help = "what is used of quota/" n }

static const struct file tenant_files[] = {
	{ "enabled", .flags = F_WRITE | F_OBSERVED, .type = T_BOOL, .column = "enabled", .help = "false: nothing new may be made in it" },
	{ "events", .flags = F_STREAM, .stream = &events_stream, .help = "what happened in it, a line each" },
	{ "purge", .flags = F_LIST, .column = "purge", .help = "what 'purge plan' found: all that would go, in order" },
	QUOTA("instances"), QUOTA("cores"), QUOTA("ram"), QUOTA("key-pairs"), QUOTA("networks"), QUOTA("subnets"), QUOTA("ports"), QUOTA("object-bytes"), QUOTA("objects"),
	USAGE("instances"), USAGE("cores"), USAGE("ram"), USAGE("key-pairs"), USAGE("networks"), USAGE("subnets"), USAGE("ports"),
	{ "usage/object-bytes", .flags = F_LIVE, .type = T_INT, .show = objects_show_usage, .help = "bytes of the objects in all its containers" },
	{ "usage/objects", .flags = F_LIVE, .type = T_INT, .show = objects_show_usage, .help = "how many those are" },
	{ "logical", .flags = F_LIVE, .type = T_BYTES, .show = objects_show_logical, .help = "bytes its objects have" },
	{ "stored", .flags = F_LIVE, .type = T_BYTES, .show = objects_show_stored, .help = "bytes on disk that only they account for" },
	{ "dedup-ratio", .flags = F_LIVE, .type = T_TEXT, .show = objects_show_ratio, .help = "logical / stored" },
	{ "tasks", .flags = F_LIVE | F_LIST, .show = tasks_show, .help = "what is queued or runs in it: a header, then a tab-separated row each" },
	{ 0 }
};

static const struct verb tenant_verbs[] = {
	{ "create", "DRAFT", .then = "ACTIVE", .help = "mkdir did it" },
	{ "purge", "*", .params = "[plan] [confirm=TENANT]", .begin = purge, .help = "'purge plan' lists what would go; 'purge confirm=TENANT' deletes it all" },
	{ 0 }
};

const struct kind tenant_kind = {
	.no = 1, .name = "tenant", .dir = "tenants", .table = "tenant", .flags = K_LIVE, .files = tenant_files, .verbs = tenant_verbs, .going = tenant_going,
	.columns = "enabled", .help = "a project: owns servers, networks, images and the rest",
	.example = "  mkdir tenants/acme\n  cat tenants/acme/spec > ~/acme.cloud\n  echo 'purge plan' > tenants/acme/ctl; cat tenants/acme/purge\n",
};
