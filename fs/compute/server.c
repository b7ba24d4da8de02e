/* Servers: what their directory shows, and their verbs. */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/state/cloud.h"
#include "../image/image.h"
#include "../network/network.h"
#include "../tree/value.h"
#include "imds_cloud.h"
#include "place.h"
#include "stats.h"

/* ---- NICs: `network=N[,address=A]`, in order */

struct nics {
	struct call *c;
	const struct obj *o;
	FILE *out;
	struct err *e;
	int rc;
};

static int show_nic(void *arg, const struct nic_row *n)
{
	struct nics *x = arg;
	struct obj net;
	char name[300];

	x->rc = obj_by_id(x->c, n->network, &net, x->e);
	if (x->rc == 0)
		x->rc = obj_call_name(x->c, x->o->row.tenant, &net, name, x->e);
	if (x->rc == 0)
		fprintf(x->out, "%s%s%s\n", name, *n->address ? ",address=" : "", n->address);
	return x->rc;
}

static int show_networks(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct nics x = { c, o, out, e, 0 };
	int rc = nic_list(c->db, o->row.id, show_nic, &x, e);

	return rc ? rc : x.rc;
}

static int add_nic(struct call *c, struct obj *o, const struct obj *net, const char *address, const char *link, struct err *e)
{
	char name[256];
	int rc;

	if (strcmp(net->row.status, "DRAFT") == 0)
		return err_set(e, EBUSY, "network '%s' is a draft; create it first", net->row.name);
	if (link)
		return nic_add(c->db, o->row.id, net->row.id, address, link, e);
	rc = nic_add(c->db, o->row.id, net->row.id, address, net->row.name, e);
	for (int i = 2; rc == -EEXIST && i < 64; i++) {
		snprintf(name, sizeof name, "%.240s-%d", net->row.name, i);
		rc = nic_add(c->db, o->row.id, net->row.id, address, name, e);
	}
	return rc;
}

static int store_nic(struct call *c, struct obj *o, char *line, struct err *e)
{
	char *comma = strrchr(line, ',');
	const char *address = "";
	struct obj net;
	uint32_t ip;

	if (strncmp(line, "port=", 5) == 0)
		return err_set(e, EOPNOTSUPP, "ports cannot be made by hand yet; name a network");
	if (comma && strncmp(comma, ",address=", 9) == 0) {
		*comma = '\0';
		address = comma + 9;
		if (ip4_parse(address, &ip, e) < 0)
			return -e->code;
	} else if (comma) {
		return err_set(e, EINVAL, "'%s' is not NETWORK or NETWORK,address=A", line);
	}
	if (obj_resolve(c, &network_kind, o->row.tenant, line, &net, e) < 0)
		return -e->code;
	return add_nic(c, o, &net, address, NULL, e);
}

static int store_networks(struct call *c, struct obj *o, const char *text, struct err *e)
{
	AUTO(free) char *copy = strdup(text);
	int rc = copy ? nic_clear(c->db, o->row.id, e) : err_set(e, ENOMEM, "%m");

	for (char *save, *l = copy ? strtok_r(copy, "\n", &save) : NULL; l && rc == 0; l = strtok_r(NULL, "\n", &save))
		rc = store_nic(c, o, l, e);
	return rc;
}

struct links_arg {
	int (*fn)(void *arg, const char *name, int64_t row, int64_t target);
	void *arg;
};

static int each_nic(void *arg, const struct nic_row *n)
{
	struct links_arg *x = arg;

	return x->fn(x->arg, n->name, n->id, n->network);
}

static int links_each(struct call *c, const struct obj *o, int (*fn)(void *arg, const char *name, int64_t row, int64_t target), void *arg,
		      struct err *e)
{
	struct links_arg x = { fn, arg };

	return nic_list(c->db, o->row.id, each_nic, &x, e);
}

static int links_target(struct call *c, int64_t row, int64_t *ret, struct err *e)
{
	struct nic_row n;
	int rc = nic_by_id(c->db, row, &n, e);

	if (rc > 0)
		*ret = n.network;
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, ENOENT, "the link is gone");
}

static int only_draft(const struct obj *o, const char *what, struct err *e)
{
	return strcmp(o->row.status, "DRAFT") == 0 ? 0 :
		err_set(e, EOPNOTSUPP, "networks of a created server cannot be %s yet; name them when it is made", what);
}

static int links_attach(struct call *c, struct obj *o, const char *name, const struct obj *target, struct err *e)
{
	struct obj net;

	if (target->kind != &network_kind)
		return err_set(e, EINVAL, "'%s' is %s, not a network", target->row.name, kind_a(target->kind));
	if (only_draft(o, "attached", e) < 0)
		return -e->code;
	/* what another tenant keeps for itself is not found under its id either */
	char id[64];
	snprintf(id, sizeof id, "id:%s", target->row.uuid);
	if (obj_resolve(c, &network_kind, o->row.tenant, id, &net, e) < 0)
		return -e->code;
	changed(c, o, CH_VALUES);
	return add_nic(c, o, &net, "", name, e);
}

static int links_detach(struct call *c, struct obj *o, const char *name, struct err *e)
{
	if (only_draft(o, "detached", e) < 0)
		return -e->code;
	int rc = nic_delete(c->db, o->row.id, name, e);
	changed(c, o, CH_VALUES);
	return rc < 0 ? rc : rc ? 0 : err_set(e, ENOENT, "no link '%s'", name);
}

static const struct links network_links = { .no = 2, .own = true, .each = links_each, .target = links_target, .attach = links_attach, .detach = links_detach };

/* ---- create */

struct ports {
	struct call *c;
	struct obj *o;
	struct err *e;
	struct nic_row v[64];
	size_t n;
};

static int keep_nic(void *arg, const struct nic_row *n)
{
	struct ports *p = arg;

	if (p->n == ARRAY_LEN(p->v))
		return 1;
	p->v[p->n++] = *n;
	return 0;
}

static int have_port(void *arg, const struct port_row *p)
{
	++*(int *)arg;
	return 0;
}

static int make_ports(struct call *c, struct obj *o, struct err *e)
{
	struct ports p = { .c = c, .o = o, .e = e };
	int there = 0;
	int rc = port_list(c->db, o->row.id, 0, have_port, &there, e);

	if (rc == 0 && !there)
		rc = nic_list(c->db, o->row.id, keep_nic, &p, e);
	for (size_t i = 0; i < p.n && rc == 0; i++) {
		struct obj net;

		rc = obj_by_id(c, p.v[i].network, &net, e);
		if (rc == 0)
			rc = port_allocate(c, &net, o, (int)i, p.v[i].address, e);
	}
	return rc;
}

static int size_of(struct call *c, struct obj *o, struct need *n, struct err *e)
{
	int64_t flavor_id, image_id, min_disk, min_ram, virtual_gib;
	struct obj flavor, image;

	if (obj_int(c, o, "flavor", &flavor_id, e) < 0 || obj_int(c, o, "image", &image_id, e) < 0 || obj_by_id(c, flavor_id, &flavor, e) < 0 ||
	    obj_by_id(c, image_id, &image, e) < 0)
		return -e->code;
	if (obj_int(c, &flavor, "vcpus", &n->vcpus, e) < 0 || obj_int(c, &flavor, "ram", &n->ram, e) < 0 ||
	    obj_int(c, &flavor, "disk", &n->disk, e) < 0 || obj_int(c, o, "host_asked", &n->host, e) < 0 ||
	    obj_int(c, &image, "min_disk", &min_disk, e) < 0 || obj_int(c, &image, "min_ram", &min_ram, e) < 0 ||
	    image_virtual_gib(c, &image, &virtual_gib, e) < 0)
		return -e->code;
	if (strcmp(image.row.status, "active") != 0)
		return err_set(e, EBUSY, "image '%s' is %s, not active", image.row.name, image.row.status);
	if (n->ram < min_ram)
		return err_set(e, EINVAL, "image '%s' needs %ld MiB of memory; flavor '%s' has %ld", image.row.name, (long)min_ram,
			       flavor.row.name, (long)n->ram);
	if (n->disk && (n->disk < min_disk || n->disk < virtual_gib))
		return err_set(e, EINVAL, "image '%s' needs a disk of %ld GiB; flavor '%s' has %ld", image.row.name,
			       (long)(min_disk > virtual_gib ? min_disk : virtual_gib), flavor.row.name, (long)n->disk);
	return 0;
}

static int copy_key(struct call *c, struct obj *o, struct err *e)
{
	AUTO(free) char *data = NULL;
	struct obj key;
	int64_t id;

	if (obj_int(c, o, "key", &id, e) < 0)
		return -e->code;
	if (!id)
		return 0;
	if (obj_by_id(c, id, &key, e) < 0 || obj_text(c, &key, "data", &data, e) < 0)
		return -e->code;
	return obj_set_text(c, o, "key_data", data, e) < 0 ? -e->code : obj_set_text(c, o, "key_name", key.row.name, e);
}

static int create_server(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	AUTO(free) char *schedule = NULL;
	int64_t host, enabled, before;
	struct need n = { 0 };
	struct obj tenant;

	if (obj_by_id(c, o->row.tenant, &tenant, e) < 0 || obj_int(c, &tenant, "enabled", &enabled, e) < 0 ||
	    obj_int(c, o, "vcpus", &before, e) < 0)
		return -e->code;
	if (!enabled)
		return err_set(e, EPERM, "tenant '%s' is not enabled", tenant.row.name);
	if (size_of(c, o, &n, e) < 0)
		return -e->code;
	if (!before && (quota_check(c, o->row.tenant, "instances", 1, e) < 0 || quota_check(c, o->row.tenant, "cores", n.vcpus, e) < 0 ||
			quota_check(c, o->row.tenant, "ram", n.ram, e) < 0))
		return -e->code;
	if (place(c, &n, &host, &schedule, e) < 0)
		return -e->code;
	const char *const columns[] = { "schedule", "host", "vcpus", "ram", "disk" };
	const struct val v[] = { { .kind = VAL_TEXT, .s = schedule }, { .kind = VAL_INT, .i = host }, { .kind = VAL_INT, .i = n.vcpus },
				 { .kind = VAL_INT, .i = n.ram }, { .kind = VAL_INT, .i = n.disk } };
	if (columns_set(c->db, "server", columns, v, ARRAY_LEN(v), o->row.id, e) < 0)
		return -e->code;
	return copy_key(c, o, e) < 0 ? -e->code : make_ports(c, o, e);
}

/* Soft only from ACTIVE, as in Nova. */
static int reboot(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	if (!args_get(a, "hard") && strcmp(o->row.status, "ACTIVE") != 0)
		return err_set(e, EBUSY, "server '%s' is %s; a soft reboot wants ACTIVE, 'reboot hard' works", o->row.name, o->row.status);
	return obj_set_status(c, o, args_get(a, "hard") ? "HARD_REBOOT" : "REBOOT", e);
}

static int server_going(struct call *c, struct obj *o, struct err *e)
{
	return ports_going(c, o, e);
}

static int server_left(struct call *c, struct obj *o, struct err *e)
{
	return ports_left(c, o, e);
}

/* Until it is placed nothing of it can hang. */
static int64_t server_lane(struct call *c, const struct obj *o)
{
	struct err ignored;
	int64_t host = 0;

	return obj_int(c, o, "host", &host, &ignored) < 0 ? 0 : host;
}

/* ---- tables */

static const struct file server_files[] = {
	{ "flavor", .flags = F_PARAM | F_NEEDED, .type = T_REF, .ref = &flavor_kind, .column = "flavor", .help = "its size" },
	{ "image", .flags = F_PARAM | F_NEEDED, .type = T_REF, .ref = &image_kind, .column = "image", .help = "what its disk begins as" },
	{ "network", .flags = F_PARAM | F_LIST, .show = show_networks, .store = store_networks, .help = "NETWORK[,address=A], a line a NIC, in order" },
	{ "key", .flags = F_PARAM | F_WEAK, .type = T_REF, .ref = &key_kind, .column = "key", .help = "ssh public key it is given" },
	{ "host", .flags = F_PARAM, .type = T_REF, .ref = &host_kind, .column = "host_asked", .shown = "host", .help = "where it runs; asked for in a draft, the filters are skipped" },
	{ "user-data", .flags = F_PARAM, .type = T_DOC, .column = "user_data", .max = 65535, .help = "given to the guest" },
	{ "config-drive", .flags = F_PARAM, .type = T_BOOL, .column = "config_drive", .help = "give it a drive with its metadata" },
	{ "power", .type = T_TEXT, .column = "power", .help = "NOSTATE RUNNING PAUSED SHUTDOWN CRASHED" },
	{ "addresses", .flags = F_LIST, .type = T_TEXT, .column = "addresses", .help = "NETWORK ADDRESS a line" },
	{ "launched", .type = T_TIME, .column = "launched", .help = "when it first ran" },
	{ "schedule", .flags = F_LIST, .type = T_TEXT, .column = "schedule", .help = "a line per host: why it was or was not chosen" },
	{ "console.log", .flags = F_STREAM, .stream = &console_stream, .help = "what the guest wrote to its serial port; grows" },
	{ "console.log.1", .flags = F_STREAM, .stream = &console_old_stream, .help = "what it wrote before that" },
	{ "console", .flags = F_HIDDEN, .talk = &console_talk, .help = "its serial port, both ways: `cat console` reads, until Ctrl-C; `cirrusfs console` is a terminal on it" },
	{ "screen.png", .flags = F_HIDDEN, .talk = &screen_talk, .help = "what its screen shows now" },
	{ "diagnostics", .flags = F_LIVE | F_LIST, .show = show_diagnostics, .help = "what it used since it was started, a figure a line, some seconds old" },
	{ "vnc", .flags = F_LIVE, .type = T_TEXT, .show = show_vnc, .help = "ADDRESS:PORT of its screen while it runs" },
	{ "vnc-password", .flags = F_HIDDEN, .type = T_TEXT, .show = show_vnc_password, .help = "what its VNC server asks for; another one at each start" },
	{ "imds", .flags = F_DIR, .tree = &imds_tree, .help = "what its guest sees at 169.254.169.254, with `log` of what it asked for; dated versions are answered, not listed" },
	{ "networks", .flags = F_DIR, .links = &network_links, .help = "links to its networks; ln -sr adds one to a draft" },
	{ 0 }
};

static const struct verb server_verbs[] = {
	{ "create", "DRAFT", "BUILD", "ACTIVE", NULL, NULL, create_server, server_create_steps, "places, builds and boots it" },
	{ "start", "SHUTOFF", NULL, "ACTIVE", "-", NULL, NULL, server_start_steps, "boots it" },
	{ "stop", "ACTIVE PAUSED RESCUE", NULL, "SHUTOFF", "-", NULL, NULL, server_stop_steps, "asks it to power off; ends it after stop-timeout" },
	{ "reboot", "ACTIVE SHUTOFF PAUSED SUSPENDED ERROR", "REBOOT", "ACTIVE", NULL, "[hard]", reboot, server_reboot_steps, "restarts it: by ACPI, or 'hard' at once" },
	{ 0 }
};

const struct kind server_kind = {
	.no = 9, .name = "server", .dir = "servers", .parent = &tenant_kind, .table = "server", .view = "server_v",
	.statuses = "ACTIVE DRAFT BUILD SHUTOFF PAUSED SUSPENDED RESCUE RESIZE VERIFY_RESIZE REBUILD SHELVED SHELVED_OFFLOADED MIGRATING REBOOT "
		    "HARD_REBOOT ERROR",
	.files = server_files, .verbs = server_verbs, .remove = server_remove_steps,
	.check = servers_check, .going = server_going, .left = server_left, .lane = server_lane,
	.open_view = "all", .columns = "power addresses flavor image host", .help = "virtual machines",
	.example = "  echo 'create web1 flavor=m1.tiny image=tiny network=lan' > servers/ctl\n  cat servers/web1/wait servers/web1/addresses\n"
		   "  echo stop > servers/web1/ctl\n",
};
