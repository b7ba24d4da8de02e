/* Hosts: machines that run servers, each by the URI of its libvirt. */
#include <errno.h>
#include <string.h>

#include "hosts.h"

static int check_uri(struct call *c, struct obj *o, const char *text, struct err *e)
{
	if (!strstr(text, ":///") && !strstr(text, "://"))
		return err_set(e, EINVAL, "'%s' is not a libvirt URI such as qemu:///embed, test:///default, qemu+ssh://host/system", text);
	return strlen(text) > 400 ? err_set(e, EINVAL, "the URI is too long") : 0;
}

struct twin {
	struct call *c;
	const struct obj *of;
	char name[256];
};

static int same_uri(void *arg, const struct row *r)
{
	struct twin *t = arg;
	struct obj o = { .row = *r, .kind = &host_kind };
	AUTO(free) char *uri = NULL;
	struct err e;

	if (r->id == t->of->row.id || strcmp(r->status, "DRAFT") == 0 || obj_text(t->c, &o, "uri", &uri, &e) < 0 ||
	    !strstr(uri, ":///embed"))
		return 0;
	snprintf(t->name, sizeof t->name, "%s", r->name);
	return 1;
}

/* This machine is one host: twice, its room would be given away twice. */
static int create_host(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	struct twin t = { .c = c, .of = o };
	AUTO(free) char *uri = NULL;

	if (obj_text(c, o, "uri", &uri, e) < 0)
		return -e->code;
	if (!strstr(uri, ":///embed"))
		return 0;
	int rc = row_list(c->db, ROOT_ROW, host_kind.no, 0, false, same_uri, &t, e);
	return rc < 0 ? rc : *t.name ? err_set(e, EEXIST, "host '%s' is this machine already", t.name) : 0;
}

static int step_connect(struct task *t, struct err *e)
{
	struct hyper *h;
	bool simulated;

	hosts_changed(cloud_of(t->fs));
	task_waits(t, "its hypervisor to answer");
	return host_hyper(cloud_of(t->fs), t->obj.row.id, &h, &simulated, e);
}

static const struct step connect_steps[] = { { "connect", step_connect }, { 0 } };

static int enable(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	return obj_set_int(c, o, "enabled", 1, e) < 0 ? -e->code : obj_set_int(c, o, "maintenance", 0, e);
}

static int disable(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	return obj_set_int(c, o, "enabled", 0, e);
}

static int maintenance(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	return obj_set_int(c, o, "maintenance", 1, e);
}

/* servers/TENANT/NAME: what runs here. */
struct each {
	struct call *c;
	int (*fn)(void *arg, const char *name, int64_t row, int64_t target);
	void *arg;
	const struct obj *host;
};

static int emit_server(void *arg, const struct row *r)
{
	struct each *x = arg;

	return strcmp(r->status, "DRAFT") == 0 ? 0 : x->fn(x->arg, r->name, r->id, r->id);
}

static int each_server(struct call *c, const struct obj *o, int (*fn)(void *arg, const char *name, int64_t row, int64_t target), void *arg,
		       struct err *e)
{
	struct each x = { c, fn, arg, o };

	return column_users(c->db, "server", "host", o->row.id, false, emit_server, &x, e);
}

static int server_target(struct call *c, int64_t row, int64_t *ret, struct err *e)
{
	*ret = row;
	return 0;
}

static const struct links server_links = { .no = 1, .by_tenant = true, .each = each_server, .target = server_target };

static const struct file host_files[] = {
	{ "uri", .flags = F_PARAM | F_NEEDED, .type = T_TEXT, .column = "uri", .max = 400, .check = check_uri, .help = "of its libvirt: qemu:///embed, qemu+ssh://HOST/system, test:///default (simulation)" },
	{ "state", .type = T_TEXT, .column = "state", .help = "up, down or maintenance" },
	{ "enabled", .flags = F_WRITE, .type = T_BOOL, .column = "enabled", .help = "new servers may be placed here" },
	{ "vcpus", .type = T_INT, .column = "vcpus", .help = "virtual processors it may run (cpu-ratio counted); -1 unlimited" },
	{ "ram", .type = T_INT, .column = "ram", .help = "MiB for guests; -1 unlimited" },
	{ "disk", .type = T_INT, .column = "disk", .help = "GiB for guests; -1 unlimited" },
	{ "vcpus-used", .flags = F_LIVE, .type = T_INT, .column = "vcpus_used", .help = "of vcpus" },
	{ "ram-used", .flags = F_LIVE, .type = T_INT, .column = "ram_used", .help = "of ram" },
	{ "disk-used", .flags = F_LIVE, .type = T_INT, .column = "disk_used", .help = "of disk" },
	{ "hypervisor", .type = T_TEXT, .column = "hypervisor", .help = "what it says of itself" },
	{ "servers", .flags = F_DIR, .links = &server_links, .help = "links TENANT/NAME to the servers it runs" },
	{ 0 }
};

static const struct verb host_verbs[] = {
	{ "create", "DRAFT", "BUILD", "ACTIVE", NULL, NULL, create_host, connect_steps, "connects to it" },
	{ "enable", "ACTIVE", .begin = enable, .help = "new servers may be placed here; ends maintenance" },
	{ "disable", "ACTIVE", .begin = disable, .help = "no new servers are placed here" },
	{ "maintenance", "ACTIVE", .begin = maintenance, .help = "no new servers; state is maintenance until enable" },
	{ 0 }
};

static int step_disconnect(struct task *t, struct err *e)
{
	return 0;
}

static const struct step host_remove[] = { { "disconnect", step_disconnect }, { 0 } };

const struct kind host_kind = {
	.no = 3, .name = "host", .dir = "hosts", .table = "host", .view = "host_v", .statuses = "ACTIVE DRAFT BUILD ERROR", .files = host_files,
	.verbs = host_verbs, .remove = host_remove, .columns = "uri state enabled vcpus vcpus-used ram ram-used disk disk-used hypervisor",
	.help = "machines that run servers",
	.example = "  mkdir hosts/sim; echo test:///default > hosts/sim/uri; echo create > hosts/sim/ctl\n",
};
