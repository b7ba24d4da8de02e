/* Networks: a namespace each with a bridge, DHCP, DNS and a way out; subnets and ports are shown below them. */
#include "network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "../../backends/base/dir.h"
#include "../../backends/base/log.h"
#include "../../backends/base/spawn.h"
#include "../../backends/network/net.h"
#include "../compute/imds_cloud.h"
#include "../tree/node.h"
#include "../tree/tasks.h"
#include "../tree/value.h"

void host_name(const char *name, const char *uuid, char ret[64])
{
	size_t n = 0;

	for (; *name && n < 63; name++) {
		unsigned char ch = (unsigned char)*name;

		if (isalnum(ch) || (n && strchr("-_ .", ch)))	/* a dot would make it a domain's: as Nova, none */
			ret[n++] = isalnum(ch) ? (char)tolower(ch) : '-';
	}
	while (n && ret[n - 1] == '-')
		n--;
	ret[n] = '\0';
	if (!n)
		snprintf(ret, 64, "server-%s", uuid);
}

/* ---- subnets and ports */

static int first_row(void *arg, const struct row *r)
{
	*(struct row *)arg = *r;
	return 1;
}

static int first_subnet(struct call *c, int64_t network, struct obj *ret, struct err *e)
{
	struct row r = { 0 };
	int rc = row_list(c->db, network, subnet_kind.no, 0, true, first_row, &r, e);

	if (rc < 0)
		return rc;
	*ret = (struct obj){ .row = r, .kind = &subnet_kind };
	return r.id != 0;
}

static int subnet_range(struct call *c, const struct obj *subnet, uint32_t *net, unsigned *prefix, uint32_t *gateway, struct err *e)
{
	AUTO(free) char *cidr = NULL, *gw = NULL;

	if (obj_text(c, subnet, "cidr", &cidr, e) < 0 || obj_text(c, subnet, "gateway", &gw, e) < 0 || cidr_parse(cidr, net, prefix, e) < 0)
		return -e->code;
	*gateway = 0;
	return *gw ? ip4_parse(gw, gateway, e) : 0;
}

/* Addresses from the eleventh on, then the ten before: those are left to who asks for one by number. */
#define FIRST_CHOICE 11

static int free_address(struct call *c, int64_t network, uint32_t net, unsigned prefix, uint32_t gateway, char ret[16], struct err *e)
{
	uint32_t size = UINT32_C(1) << (32 - prefix), begin = size > 32 ? FIRST_CHOICE : 1;

	for (uint32_t i = 0; i < size - 2; i++) {
		uint32_t host = 1 + (begin - 1 + i) % (size - 2);

		if (net + host == gateway)
			continue;
		ip4_format(net + host, ret);
		int rc = port_address_free(c->db, network, ret, e);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return err_set(e, ENOSPC, "all addresses of the network are taken");
}

static int asked_address(struct call *c, int64_t network, uint32_t net, unsigned prefix, uint32_t gateway, const char *address, struct err *e)
{
	uint32_t ip, size = UINT32_C(1) << (32 - prefix);

	if (ip4_parse(address, &ip, e) < 0)
		return -e->code;
	if (ip <= net || ip >= net + size - 1)
		return err_set(e, EINVAL, "the address %s is not one for hosts of this network", address);
	if (ip == gateway)
		return err_set(e, EBUSY, "the address %s is the gateway's", address);
	int rc = port_address_free(c->db, network, address, e);
	return rc ? (rc < 0 ? rc : 0) : err_set(e, EBUSY, "the address %s is taken", address);
}

/* OpenStack's prefix leaves 24 bits: among 10,000 ports two would be alike almost certainly. */
static int new_mac(struct call *c, char ret[18], struct err *e)
{
	for (int tries = 0; tries < 1000; tries++) {
		unsigned char b[3];

		while (getrandom(b, sizeof b, 0) != sizeof b)
			;
		snprintf(ret, 18, "fa:16:3e:%02x:%02x:%02x", b[0], b[1], b[2]);
		int rc = port_mac_free(c->db, ret, e);
		if (rc)
			return rc < 0 ? rc : 0;
	}
	return err_set(e, ENOSPC, "no MAC address is free");
}

int port_allocate(struct call *c, const struct obj *network, const struct obj *server, int nic, const char *address, struct err *e)
{
	char ip[16], mac[18], name[256];
	struct obj subnet, port, there;
	uint32_t net, gateway;
	unsigned prefix;

	if (network->row.deleted)
		return err_set(e, ENOENT, "network '%s' is being deleted", network->row.name);
	int rc = quota_check(c, network->row.tenant, "ports", 1, e);
	if (rc == 0)
		rc = first_subnet(c, network->row.id, &subnet, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, EINVAL, "network '%s' has no subnet: it was made without a cidr", network->row.name);
	if (subnet_range(c, &subnet, &net, &prefix, &gateway, e) < 0)
		return -e->code;
	snprintf(ip, sizeof ip, "%s", address);
	rc = *address ? asked_address(c, network->row.id, net, prefix, gateway, address, e) :
		free_address(c, network->row.id, net, prefix, gateway, ip, e);
	if (rc < 0)
		return err_prefix(e, "network '%s'", network->row.name);
	snprintf(name, sizeof name, "%.200s-%d", server->row.name, nic);
	rc = obj_by_name(c, &port_kind, network->row.id, name, &there, e);
	if (rc > 0 || name_reserved(c->fs, &port_kind, name))
		snprintf(name, sizeof name, "%.36s-%d", server->row.uuid, nic);
	if (rc < 0 || obj_make(c, &port_kind, network, name, "ACTIVE", &port, e) < 0)
		return -e->code;
	if (new_mac(c, mac, e) < 0)
		return -e->code;
	return port_set(c->db, port.row.id, network->row.id, subnet.row.id, server->row.id, nic, mac, ip, e);
}

struct ports {
	struct call *c;
	struct err *e;
	int rc;
	int64_t ids[64];
	size_t n;
};

static int keep_id(void *arg, const struct port_row *p)
{
	struct ports *ps = arg;

	if (ps->n < ARRAY_LEN(ps->ids))
		ps->ids[ps->n++] = p->id;
	return 0;
}

int ports_going(struct call *c, const struct obj *server, struct err *e)
{
	struct ports ps = { .c = c, .e = e };
	int rc = port_list(c->db, server->row.id, 0, keep_id, &ps, e);

	for (size_t i = 0; i < ps.n && rc == 0; i++) {
		struct obj port;

		rc = obj_by_id(c, ps.ids[i], &port, e);
		if (rc == 0 && !port.row.deleted)
			rc = row_set_deleted(c->db, port.row.id, e);
		changed_gone(c, &port, port.row.name);
	}
	return rc;
}

int ports_left(struct call *c, const struct obj *server, struct err *e)
{
	struct ports ps = { .c = c, .e = e };
	int rc = port_list(c->db, server->row.id, 0, keep_id, &ps, e);

	for (size_t i = 0; i < ps.n && rc == 0; i++)
		rc = row_delete(c->db, ps.ids[i], e);
	return rc;
}

static const struct file port_files[] = {
	{ "mac", .type = T_TEXT, .column = "mac", .help = "MAC address" },
	{ "address", .type = T_TEXT, .column = "address", .help = "its IP address" },
	{ "device", .type = T_REF, .column = "server", .ref = &server_kind, .flags = F_WEAK, .help = "the server it belongs to" },
	{ 0 }
};

const struct kind port_kind = {
	.no = 8, .name = "port", .dir = "ports", .parent = &network_kind, .table = "port", .view = "port_v", .flags = K_SYSTEM,
	.statuses = "ACTIVE DOWN BUILD ERROR", .files = port_files, .columns = "mac address device",
	.help = "who is on this network; servers' ports appear by themselves",
};

static const struct file subnet_files[] = {
	{ "cidr", .type = T_CIDR, .column = "cidr", .help = "its range of addresses" },
	{ "gateway", .type = T_IP4, .column = "gateway", .help = "where guests send what goes outside" },
	{ "dhcp", .type = T_BOOL, .column = "dhcp", .help = "guests are told their address" },
	{ "dns", .flags = F_LIST, .type = T_TEXT, .column = "dns", .help = "name servers guests are told; none: the gateway" },
	{ 0 }
};

const struct kind subnet_kind = {
	.no = 7, .name = "subnet", .dir = "subnets", .parent = &network_kind, .table = "subnet", .flags = K_SYSTEM,
	.files = subnet_files, .columns = "cidr gateway dhcp", .help = "ranges of addresses of this network; the network's cidr makes the first",
};

/* ---- bringing one up */

struct building {
	struct net_host *hosts;
	size_t n;
	struct cloud *cl;
};

static int add_host(void *arg, const struct port_row *p)
{
	struct building *b = arg;
	struct net_host *v = reallocarray(b->hosts, b->n + 1, sizeof *v);

	if (!v || !*p->address)
		return v == NULL;
	b->hosts = v;
	struct net_host *h = &v[b->n++];
	*h = (struct net_host){ 0 };
	snprintf(h->mac, sizeof h->mac, "%s", p->mac);
	host_name(p->server_name, p->server_uuid, h->hostname);
	inet_pton(AF_INET, p->address, &h->address);
	cloud_tap(b->cl, p->id, h->tap);
	return 0;
}

struct plan {	/* a net_spec and what its pointers stand on */
	char netns[32], link[16], prefix[16], table[16], dir[512];
	char *domain;
	struct net_subnet subnet;
	struct building hosts;
	struct net_spec spec;
};

static void plan_free(struct plan *p)
{
	free(p->domain);
	free(p->hosts.hosts);
}

static void plan_names(struct plan *p, struct cloud *cl, int64_t network)
{
	cloud_netns(cl, network, p->netns);
	cloud_link(cl, network, p->link);
	snprintf(p->prefix, sizeof p->prefix, "cfs%.6sv", cl->hash);
	snprintf(p->table, sizeof p->table, "cfs%s", cl->hash);
	snprintf(p->dir, sizeof p->dir, "%.480s/networks/%ld", cl->fs.store, (long)network);
	p->spec = (struct net_spec){ .netns = p->netns, .link = p->link, .link_prefix = p->prefix, .nft_table = p->table, .dir = p->dir,
		.uplink = cl->cfg.uplink, .seed = (uint32_t)strtoul(cl->hash, NULL, 16) + (uint32_t)network };
}

static int plan_make(struct plan *p, struct cloud *cl, int64_t network, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o, subnet;
	uint32_t net, gateway;
	int64_t mtu, dhcp;

	plan_names(p, cl, network);
	if (call_begin(&cl->fs, &c, e) < 0 || obj_by_id(&c, network, &o, e) < 0 || obj_int(&c, &o, "mtu", &mtu, e) < 0 ||
	    obj_text(&c, &o, "dns_domain", &p->domain, e) < 0)
		return -e->code;
	if (o.row.deleted)	/* else what was taken down would be made again */
		return err_set(e, ENOENT, "network '%s' is being deleted", o.row.name);
	p->spec.mtu = (unsigned)mtu;
	p->spec.dns_domain = p->domain;
	int rc = first_subnet(&c, network, &subnet, e);
	if (rc > 0) {
		if (subnet_range(&c, &subnet, &net, &p->subnet.prefix, &gateway, e) < 0 || obj_int(&c, &subnet, "dhcp", &dhcp, e) < 0)
			return -e->code;
		p->subnet.address.s_addr = htonl(net);
		p->subnet.gateway.s_addr = htonl(gateway);
		p->subnet.dhcp = dhcp;
		p->spec.subnets = &p->subnet;
		p->spec.n_subnets = 1;
		p->hosts.cl = cl;
		rc = port_list(c.db, 0, network, add_host, &p->hosts, e);
	}
	p->spec.hosts = p->hosts.hosts;
	p->spec.n_hosts = p->hosts.n;
	return rc < 0 ? rc : 0;
}

/* Held from reading the state to the end of making it so: else an older list of hosts could be written over a newer one. */
static pthread_mutex_t locks[64];	/* all zero is PTHREAD_MUTEX_INITIALIZER here */

static pthread_mutex_t *lock_network(int64_t network)
{
	pthread_mutex_t *m = &locks[network % (int64_t)ARRAY_LEN(locks)];

	pthread_mutex_lock(m);
	return m;
}

static void auto_unlock_network(pthread_mutex_t **m)
{
	pthread_mutex_unlock(*m);
}

/* The host's table: many may add to it at once, and only one who is alone takes it away. */
static pthread_rwlock_t host_table = PTHREAD_RWLOCK_INITIALIZER;

static int up_locked(struct cloud *cl, int64_t network, struct err *e)
{
	AUTO(unlock_network) pthread_mutex_t *lock = lock_network(network);
	struct plan p = { 0 };
	int rc = plan_make(&p, cl, network, e);

	if (rc == 0 && mkdir(p.dir, 0700) < 0 && errno != EEXIST)
		rc = err_set(e, errno, "make %s: %m", p.dir);
	if (rc == 0)
		rc = net_up(&p.spec, e);
	if (rc == 0)
		rc = imds_listen(cl, network, e);
	plan_free(&p);
	return rc;
}

int network_up(struct cloud *cl, int64_t network, struct err *e)
{
	pthread_rwlock_rdlock(&host_table);
	int rc = up_locked(cl, network, e);
	pthread_rwlock_unlock(&host_table);
	return rc;
}

int network_faults(struct cloud *cl, int64_t network, net_fault_fn *fn, void *arg, struct err *e)
{
	AUTO(unlock_network) pthread_mutex_t *lock = lock_network(network);
	struct plan p = { 0 };
	int rc = plan_make(&p, cl, network, e);

	if (rc == 0)
		rc = net_faults(&p.spec, fn, arg, e);
	plan_free(&p);
	struct err deaf = { 0 };
	if (rc == 0 && cl->http && imds_listening(cl, network, &deaf) < 0)
		fn(arg, deaf.msg, false);
	return rc;
}

int network_sweep(struct cloud *cl, int64_t network, struct err *e)
{
	AUTO(unlock_network) pthread_mutex_t *lock = lock_network(network);
	struct plan p = { 0 };

	plan_names(&p, cl, network);
	int rc = net_down(&p.spec, e);
	return rc < 0 ? rc : dir_remove(p.dir, e);
}

static int step_up(struct task *t, struct err *e)
{
	return network_up(cloud_of(t->fs), t->obj.row.id, e);
}

static int step_down(struct task *t, struct err *e)
{
	AUTO(unlock_network) pthread_mutex_t *lock = lock_network(t->obj.row.id);
	struct cloud *cl = cloud_of(t->fs);
	AUTO(call_end) struct call c = { 0 };
	struct plan p = { 0 };
	bool held;
	int rc = call_begin(t->fs, &c, e);

	if (rc == 0)
		rc = obj_held(&c, &t->obj, &held, e);
	if (rc < 0 || held)
		return rc < 0 ? rc : 1;		/* its servers go first */
	plan_names(&p, cl, t->obj.row.id);
	imds_unlisten(cl, t->obj.row.id);
	rc = net_down(&p.spec, e);
	if (rc == 0 && rmdir(p.dir) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		log_warn("remove %s: %m", p.dir);
	return rc;
}

static int any_row(void *arg, const struct row *r)
{
	if (strcmp(r->status, "DRAFT") != 0)
		++*(int *)arg;
	return 0;
}

/* The host's own table goes with the last network: one that is created later makes it again, and waits for this. */
static int drop_host_table(struct cloud *cl, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	char table[16];
	int n = 0, rc = call_begin(&cl->fs, &c, e);

	if (rc == 0)
		rc = row_list(c.db, 0, network_kind.no, 0, false, any_row, &n, e);
	if (rc < 0 || n)
		return rc;
	snprintf(table, sizeof table, "cfs%s", cl->hash);
	return net_host_down(table, e);
}

int network_host_table(struct cloud *cl, struct err *e)
{
	pthread_rwlock_wrlock(&host_table);
	int rc = drop_host_table(cl, e);
	pthread_rwlock_unlock(&host_table);
	return rc;
}

static int step_last(struct task *t, struct err *e)
{
	return network_host_table(cloud_of(t->fs), e);
}

static const struct step up_steps[] = { { "namespace", step_up }, { 0 } };
static const struct step down_steps[] = { { "namespace", step_down }, { "host", step_last }, { 0 } };

/* ---- the kind */

static int create_network(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	AUTO(free) char *cidr = NULL;
	struct obj subnet;
	uint32_t net;
	unsigned prefix;
	char gateway[16];
	int rc = quota_check(c, o->row.tenant, "networks", 1, e);

	if (rc < 0 || obj_text(c, o, "cidr", &cidr, e) < 0)
		return -e->code;
	if (first_subnet(c, o->row.id, &subnet, e) || !*cidr)
		return e->code ? -e->code : 0;	/* made by an earlier create that failed */
	rc = quota_check(c, o->row.tenant, "subnets", 1, e);
	if (rc < 0 || cidr_parse(cidr, &net, &prefix, e) < 0 || obj_make(c, &subnet_kind, o, "subnet-1", "ACTIVE", &subnet, e) < 0)
		return -e->code;
	c->made = o->row.id;
	ip4_format(net + 1, gateway);
	if (obj_set_text(c, &subnet, "cidr", cidr, e) < 0)
		return -e->code;
	return obj_set_text(c, &subnet, "gateway", gateway, e);
}

static int show_netns(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	char name[32];

	cloud_netns(cloud_of(c->fs), o->row.id, name);
	if (strcmp(o->row.status, "DRAFT") != 0)
		fputs(name, out);
	return 0;
}

struct others {
	struct call *c;
	int64_t tenant;
	char path[600];
};

static int other_tenant(void *arg, const struct row *r)
{
	struct others *x = arg;
	struct obj o;
	struct err e;

	if (r->tenant == x->tenant || obj_of(x->c, r, &o, &e) < 0 || obj_path(x->c, &o, x->path, sizeof x->path, &e) < 0)
		return 0;
	return 1;
}

/* What others use cannot be taken from them. */
static int check_shared(struct call *c, struct obj *o, const char *text, struct err *e)
{
	struct others x = { .c = c, .tenant = o->row.tenant };
	int64_t was;
	int rc = obj_int(c, o, "shared", &was, e);

	if (rc == 0 && was)
		rc = column_users(c->db, "nic", "network", o->row.id, false, other_tenant, &x, e);
	return rc < 0 ? rc : *x.path ? err_set(e, EBUSY, "network '%s' is used by %s of another tenant", o->row.name, x.path) : 0;
}

static const struct file network_files[] = {
	{ "cidr", .flags = F_PARAM, .type = T_CIDR, .column = "cidr", .help = "its first subnet, as 10.0.0.0/24" },
	{ "external", .flags = F_PARAM, .type = T_BOOL, .column = "external", .help = "a way to the world outside" },
	{ "shared", .flags = F_WRITE, .type = T_BOOL, .column = "shared", .check = check_shared, .help = "every tenant may put servers on it" },
	{ "mtu", .flags = F_PARAM, .type = T_INT, .column = "mtu", .min = 68, .max = 65535, .help = "largest packet" },
	{ "dns-domain", .flags = F_PARAM, .type = T_TEXT, .column = "dns_domain", .max = 253, .help = "domain of its guests' names" },
	{ "netns", .show = show_netns, .help = "name of its namespace: ip netns exec $(cat netns) ..." },
	{ 0 }
};

static const struct verb network_verbs[] = {
	{ "create", "DRAFT", "BUILD", "ACTIVE", NULL, NULL, create_network, up_steps, "makes its namespace, bridge, DHCP and way out" },
	{ 0 }
};

static const struct user network_users[] = { { "nic", "network" }, { NULL, NULL } };

const struct kind network_kind = {
	.no = 6, .name = "network", .dir = "networks", .parent = &tenant_kind, .table = "network", .view = "network_v",
	.statuses = "ACTIVE DRAFT BUILD DOWN ERROR", .files = network_files, .verbs = network_verbs, .remove = down_steps, .open_view = "open",
	.columns = "cidr external shared mtu", .users = network_users, .check = networks_check,
	.help = "private networks: guests on one see each other, get addresses and names, and a way out",
	.example = "  echo 'create lan cidr=10.0.0.0/24' > networks/ctl\n  ip netns exec $(cat networks/lan/netns) curl http://10.0.0.11/\n",
};

/* ---- at start */

struct ids {
	int64_t v[4096];
	size_t n;
};

static int keep_network(void *arg, const struct row *r)
{
	struct ids *ids = arg;

	if (word_in("ACTIVE DOWN", r->status) && ids->n < ARRAY_LEN(ids->v))
		ids->v[ids->n++] = r->id;
	return 0;
}

void *networks_start(void *arg)
{
	struct cloud *cl = arg;
	AUTO(free) struct ids *ids = calloc(1, sizeof *ids);
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };

	if (!ids || call_begin(&cl->fs, &c, &e) < 0 || row_list(c.db, 0, network_kind.no, 0, false, keep_network, ids, &e) < 0)
		return NULL;
	call_end(&c);
	c = (struct call){ 0 };
	for (size_t i = 0; i < ids->n && !cl->stopping; i++)
		if (network_up(cl, ids->v[i], &e) < 0)
			log_error("network %ld: %s", (long)ids->v[i], e.msg);
	if (!cl->stopping && network_host_table(cl, &e) < 0)
		log_error("%s", e.msg);
	return NULL;
}

void network_health(struct cloud *cl, FILE *out)
{
	if (!spawn_found("dnsmasq"))
		fprintf(out, "the program dnsmasq is not installed (package dnsmasq-base): networks have no DHCP and cannot be made\n");
}
