/* A network's parts, in the order they are made: each step looks, and acts where something is not as it should be.  The same
 * table checks a network and mends it; nothing that is well is touched. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/spawn.h"

struct net {
	const struct net_spec *n;
	int ns_fd;
	struct side ns, host;
	struct link bridge, out, outside;	/* br0; the link's inside and host's end */
	struct in_addr base;			/* the link's /30 */
};

static void auto_net_close(struct net *c)
{
	side_close(&c->ns);
	side_close(&c->host);
	auto_close(&c->ns_fd);
}

struct net_lock net_lock(const char *netns)
{
	static pthread_mutex_t locks[64];	/* all zero is PTHREAD_MUTEX_INITIALIZER here */
	uint32_t h = 2166136261u;

	for (; *netns; netns++)
		h = (h ^ (unsigned char)*netns) * 16777619u;
	struct net_lock l = { &locks[h % ARRAY_LEN(locks)] };

	pthread_mutex_lock(l.m);
	return l;
}

/* ---- namespace ---- */

static int namespace_open(struct net *c, struct err *e)
{
	int rc = side_open(c->ns_fd, true, &c->ns, e);

	return rc == 0 ? side_open(-1, true, &c->host, e) : rc;
}

static int namespace_look(struct net *c, struct err *e)
{
	int rc = ns_open(c->n->netns, &c->ns_fd, e);

	return rc == 0 ? namespace_open(c, e) : rc;
}

static int namespace_act(struct net *c, struct err *e)
{
	/* If our dnsmasq still lives in it, only the name was taken away: the bridge and the guests' taps are all there. */
	int rc = ns_make(c->n->netns, dnsmasq_pid(c->n), &c->ns_fd, e);

	return rc == 0 ? namespace_open(c, e) : rc;
}

static int loopback_look(struct net *c, struct err *e)
{
	struct link lo;
	int rc = link_get(c->ns.rt, "lo", &lo, e);

	return rc < 0 ? rc : rc && lo.up ? 0 : err_set(e, ENOENT, "lo is down");
}

static int loopback_act(struct net *c, struct err *e)
{
	return link_set(c->ns.rt, "lo", &(struct link_change){ .up = 1 }, e);
}

/* No IPv6 yet: no link-local addresses by which guests and hosts could meet beside the rules. */
static const struct sysctl inside[] = {
	{ "ipv6/conf/all/disable_ipv6", "1", true },
	{ "ipv6/conf/default/disable_ipv6", "1", true },
	{ "ipv4/ip_forward", "1", false },
};
static const struct sysctl outside[] = {
	{ "ipv4/ip_forward", "1", false },
};

static int inside_look(struct net *c, struct err *e)
{
	return sysctl_apply(c->ns_fd, inside, ARRAY_LEN(inside), false, e);
}

static int inside_act(struct net *c, struct err *e)
{
	return sysctl_apply(c->ns_fd, inside, ARRAY_LEN(inside), true, e);
}

/* Other networks' threads do the same to the host; writing it twice is the same as once. */
static int outside_look(struct net *c, struct err *e)
{
	return sysctl_apply(-1, outside, ARRAY_LEN(outside), false, e);
}

static int outside_act(struct net *c, struct err *e)
{
	return sysctl_apply(-1, outside, ARRAY_LEN(outside), true, e);
}

/* ---- bridge ---- */

static unsigned mtu_of(const struct net_spec *n)
{
	return n->mtu ? n->mtu : 1500;
}

static int bridge_look(struct net *c, struct err *e)
{
	int rc = link_get(c->ns.rt, NET_BRIDGE, &c->bridge, e);

	if (rc < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ENOENT, "the bridge " NET_BRIDGE " is missing");
	if (strcmp(c->bridge.kind, "bridge") != 0)
		return err_set(e, EEXIST, "link " NET_BRIDGE " is there and is no bridge");
	if (!c->bridge.up)
		return err_set(e, ENOENT, "the bridge " NET_BRIDGE " is down");
	if (c->bridge.mtu != mtu_of(c->n))
		return err_set(e, ENOENT, "the bridge " NET_BRIDGE " has MTU %u, not %u", c->bridge.mtu, mtu_of(c->n));
	return 0;
}

static int bridge_act(struct net *c, struct err *e)
{
	uint64_t h = 14695981039346656037u;
	int rc;

	if (!c->bridge.index) {
		for (const char *p = c->n->netns; *p; p++)
			h = (h ^ (unsigned char)*p) * 1099511628211u;
		uint8_t mac[6] = { 0x02, (uint8_t)(h >> 32), (uint8_t)(h >> 24), (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h };

		if ((rc = link_add_bridge(c->ns.rt, NET_BRIDGE, mac, mtu_of(c->n), e)) < 0)
			return rc;
	}
	if ((rc = link_set(c->ns.rt, NET_BRIDGE, &(struct link_change){ .up = 1, .mtu = mtu_of(c->n) }, e)) < 0)
		return rc;
	rc = link_get(c->ns.rt, NET_BRIDGE, &c->bridge, e);
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, ENOENT, "the bridge " NET_BRIDGE " vanished");
}

/* The i-th address the bridge should have: the metadata's, then the gateways'.  0: there is no i-th. */
static int bridge_address(const struct net_spec *n, size_t i, struct address *ret)
{
	if (i > n->n_subnets)
		return 0;
	*ret = (struct address){ .prefix = 32 };
	inet_pton(AF_INET, DNS_META, &ret->address);
	if (i) {
		ret->address = n->subnets[i - 1].gateway;
		ret->prefix = n->subnets[i - 1].prefix;
	}
	return 1;
}

static bool in_list(const struct address *list, size_t n, const struct address *a)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].address.s_addr == a->address.s_addr && list[i].prefix == a->prefix)
			return true;
	return false;
}

static bool bridge_wants(const struct net_spec *n, const struct address *a)
{
	struct address want;

	for (size_t i = 0; bridge_address(n, i, &want); i++)
		if (in_list(&want, 1, a))
			return true;
	return false;
}

/* Looks or acts: the addresses of the bridge are these and no others. */
static int addresses(struct net *c, bool act, struct err *e)
{
	if (!c->bridge.index)	/* said already */
		return 0;
	AUTO(free) struct address *have = NULL;
	struct address want;
	char text[INET_ADDRSTRLEN];
	size_t n;
	int rc = address_list(c->ns.rt, c->bridge.index, &have, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (bridge_wants(c->n, &have[i]))
			continue;
		rc = act ? address_delete(c->ns.rt, c->bridge.index, have[i].address, have[i].prefix, e) :
		     err_set(e, ENOENT, "the bridge has address %s/%u, which no subnet has",
			     inet_ntop(AF_INET, &have[i].address, text, sizeof text), have[i].prefix);
	}
	for (size_t i = 0; rc == 0 && bridge_address(c->n, i, &want); i++) {
		if (!want.address.s_addr || in_list(have, n, &want))
			continue;
		rc = act ? address_add(c->ns.rt, c->bridge.index, want.address, want.prefix, e) :
		     err_set(e, ENOENT, "the bridge has no address %s/%u",
			     inet_ntop(AF_INET, &want.address, text, sizeof text), want.prefix);
	}
	return rc;
}

static int addresses_look(struct net *c, struct err *e)
{
	return addresses(c, false, e);
}

static int addresses_act(struct net *c, struct err *e)
{
	return addresses(c, true, e);
}

/* Where the bridge has no address of a subnet's, its guests are on the link all the same: the metadata service answers them. */
static int bare_subnets(struct net *c, bool act, struct err *e)
{
	AUTO(free) struct address *have = NULL;
	struct in_addr meta;
	char text[INET_ADDRSTRLEN];
	size_t n;

	if (!c->bridge.index)	/* said already */
		return 0;
	int rc = route_list(c->ns.rt, 0, &have, &n, e);

	inet_pton(AF_INET, DNS_META, &meta);
	for (size_t i = 0; rc == 0 && i < c->n->n_subnets; i++) {
		const struct net_subnet *s = &c->n->subnets[i];
		const struct address want = { .address = s->address, .prefix = s->prefix };

		if (s->gateway.s_addr || in_list(have, n, &want))
			continue;
		rc = act ? route_link_set(c->ns.rt, c->bridge.index, s->address, s->prefix, meta, e) :
		     err_set(e, ENOENT, "there is no route to the guests of %s/%u", inet_ntop(AF_INET, &s->address, text, sizeof text), s->prefix);
	}
	return rc;
}

static int bare_subnets_look(struct net *c, struct err *e)
{
	return bare_subnets(c, false, e);
}

static int bare_subnets_act(struct net *c, struct err *e)
{
	return bare_subnets(c, true, e);
}

/* Guests that run on through the loss of a bridge or of its filter. */
static int guests_look(struct net *c, struct err *e)
{
	return c->bridge.index ? taps_look(c->n, &c->ns, c->bridge.index, e) : 0;	/* said already */
}

static int guests_act(struct net *c, struct err *e)
{
	return taps_act(c->n, &c->ns, c->bridge.index, e);
}

/* ---- the link to the outside ---- */

static bool link_well(const struct net *c)
{
	/* Each end says the index of the other: a host's end whose namespace is being taken down is somebody else's. */
	return c->out.index && c->outside.index && c->outside.peer == c->out.index && c->out.peer == c->outside.index;
}

static int ends_get(struct net *c, struct err *e)
{
	c->out = c->outside = (struct link){ 0 };
	int rc = link_get(c->host.rt, c->n->link, &c->outside, e);

	if (rc > 0 && strcmp(c->outside.kind, "veth") != 0)
		return err_set(e, EEXIST, "link %s is there and is no veth", c->n->link);
	return rc < 0 ? rc : link_get(c->ns.rt, NS_LINK, &c->out, e);
}

static int link_look(struct net *c, struct err *e)
{
	int rc = ends_get(c, e);

	if (rc < 0)
		return rc;
	if (!c->outside.index || !c->out.index)
		return err_set(e, ENOENT, "the link %s to the outside is missing", c->n->link);
	if (!link_well(c))
		return err_set(e, ENOENT, "the link %s leads elsewhere", c->n->link);
	if (!c->outside.up || !c->out.up || c->outside.mtu != mtu_of(c->n) || c->out.mtu != mtu_of(c->n))
		return err_set(e, ENOENT, "the link %s to the outside is down or has another MTU", c->n->link);
	return 0;
}

static int link_act(struct net *c, struct err *e)
{
	const struct link_change up = { .up = 1, .mtu = mtu_of(c->n) };
	char v6[64];
	int rc = 0;

	if (!link_well(c)) {
		if ((c->outside.index && (rc = link_delete(c->host.rt, c->n->link, e)) < 0) ||
		    (c->out.index && (rc = link_delete(c->ns.rt, NS_LINK, e)) < 0) ||
		    (rc = link_add_veth(c->host.rt, c->n->link, NS_LINK, c->ns_fd, mtu_of(c->n), e)) < 0)
			return rc;
	}
	snprintf(v6, sizeof v6, "ipv6/conf/%s/disable_ipv6", c->n->link);
	sysctl_apply(-1, &(struct sysctl){ v6, "1", true }, 1, true, e);
	if ((rc = link_set(c->host.rt, c->n->link, &up, e)) < 0 || (rc = link_set(c->ns.rt, NS_LINK, &up, e)) < 0)
		return rc;
	return ends_get(c, e) < 0 ? -e->code : 0;
}

static struct in_addr plus(struct in_addr a, uint32_t n)
{
	return (struct in_addr){ htonl(ntohl(a.s_addr) + n) };
}

/* The /30 whose nth address the link has; false: none. */
static int link_base(struct nl_sock *rt, int index, uint32_t nth, struct in_addr *ret, struct err *e)
{
	AUTO(free) struct address *have = NULL;
	size_t n;
	int rc = address_list(rt, index, &have, &n, e);

	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (have[i].prefix != 30 || !link_net_has(have[i].address) || (ntohl(have[i].address.s_addr) & 3) != nth)
			continue;
		*ret = plus(have[i].address, -nth);
		return 1;
	}
	return rc;
}

static int link_address_look(struct net *c, struct err *e)
{
	struct in_addr in = { 0 };

	if (!link_well(c))	/* said already */
		return 0;
	int rc = link_base(c->host.rt, c->outside.index, 1, &c->base, e);

	if (rc > 0)
		rc = link_base(c->ns.rt, c->out.index, 2, &in, e);
	if (rc < 0)
		return rc;
	return rc && in.s_addr == c->base.s_addr ? 0 : err_set(e, ENOENT, "the link %s has no address", c->n->link);
}

/* What is in use on this machine, this link's own left out: both lists in one. */
static int used_list(struct net *c, struct address **ret, size_t *n, struct err *e)
{
	AUTO(free) struct address *a = NULL, *r = NULL;
	size_t na, nr, kept = 0;
	int rc = address_list(c->host.rt, 0, &a, &na, e);

	if (rc < 0 || (rc = route_list(c->host.rt, c->outside.index, &r, &nr, e)) < 0)
		return rc;
	struct address *all = calloc(na + nr + 1, sizeof *all);

	if (!all)
		return err_set(e, ENOMEM, "choose an address: %m");
	for (size_t i = 0; i < na; i++)
		if (a[i].index != c->outside.index)
			all[kept++] = a[i];
	for (size_t i = 0; i < nr; i++)
		all[kept++] = r[i];
	*ret = all;
	*n = kept;
	return 0;
}

/* Keeps the host end's /30; else the inside's when it is still free; else takes a new one. */
static int link_choose(struct net *c, struct in_addr *ret, struct err *e)
{
	AUTO(free) struct address *used = NULL;
	uint32_t seed = c->n->seed;
	struct in_addr in;
	size_t n = 0;
	int rc = link_base(c->host.rt, c->outside.index, 1, ret, e);

	if (rc)
		return rc < 0 ? rc : 0;
	if ((rc = used_list(c, &used, &n, e)) < 0 || (rc = link_base(c->ns.rt, c->out.index, 2, &in, e)) < 0)
		return rc;
	if (rc > 0)
		seed = (ntohl(in.s_addr) - LINK_NET) >> 2;
	return link_net_choose(seed, used, n, ret, e);
}

static int link_address_act(struct net *c, struct err *e)
{
	AUTO(close) int lock = -1;
	AUTO(free) struct address *have = NULL;
	size_t n;
	int rc = ns_lock(&lock, e);

	if (rc < 0 || (rc = link_choose(c, &c->base, e)) < 0 ||
	    (rc = address_add(c->host.rt, c->outside.index, plus(c->base, 1), 30, e)) < 0 ||
	    (rc = address_list(c->ns.rt, c->out.index, &have, &n, e)) < 0)
		return rc;
	for (size_t i = 0; i < n && rc == 0; i++)
		if (link_net_has(have[i].address) && have[i].address.s_addr != plus(c->base, 2).s_addr)
			rc = address_delete(c->ns.rt, c->out.index, have[i].address, have[i].prefix, e);
	return rc < 0 ? rc : address_add(c->ns.rt, c->out.index, plus(c->base, 2), 30, e);
}

static int route_look(struct net *c, struct err *e)
{
	if (!c->base.s_addr)	/* said already */
		return 0;
	int rc = route_default_is(c->ns.rt, c->out.index, plus(c->base, 1), e);

	return rc < 0 ? rc : rc ? 0 : err_set(e, ENOENT, "the default route is missing");
}

static int route_act(struct net *c, struct err *e)
{
	return route_default_set(c->ns.rt, c->out.index, plus(c->base, 1), e);
}

/* ---- rules ---- */

static atomic_bool without_fib;	/* this kernel lacks it: found out once */

static int host_table_look(struct net *c, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	int rc = rules_host(&r, c->n->nft_table, c->n->link_prefix, c->n->uplink, !without_fib, e);

	return rc < 0 ? rc : nft_look(c->host.nft, &r, e);
}

/* Threads of several networks may find it missing at once: each puts the same whole in one transaction. */
static int host_table_act(struct net *c, struct err *e)
{
	for (;;) {
		AUTO(rules_free) struct rules r = { 0 };
		bool fib = !without_fib;
		int rc = rules_host(&r, c->n->nft_table, c->n->link_prefix, c->n->uplink, fib, e);

		if (rc < 0 || (rc = nft_put(c->host.nft, &r, e)) == 0 || rc == -EPERM || !fib)
			return rc;
		log_warn("nftables here has no fib; what others publish on the host's addresses is not kept from guests: %s", e->msg);
		without_fib = true;
	}
}

static int inside_table_look(struct net *c, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	int rc = rules_inside(&r, e);

	return rc < 0 ? rc : nft_look(c->ns.nft, &r, e);
}

static int inside_table_act(struct net *c, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	int rc = rules_inside(&r, e);

	return rc < 0 ? rc : nft_put(c->ns.nft, &r, e);
}

static int bridge_table_look(struct net *c, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	int rc = nft_without_bridge ? 0 : nft_bridge_rules(&r, e);

	return rc < 0 || nft_without_bridge ? rc : nft_look(c->ns.nft, &r, e);
}

static int bridge_table_act(struct net *c, struct err *e)
{
	return nft_put_bridge(c->ns.nft, e);
}

/* ---- DHCP and DNS ---- */

static int dns_look(struct net *c, struct err *e)
{
	return dnsmasq_look(c->n, c->ns_fd, c->bridge.index, e);
}

static int dns_act(struct net *c, struct err *e)
{
	return dnsmasq_up(c->n, c->ns_fd, c->bridge.index, e);
}

/* ---- together ---- */

struct step {
	const char *what;
	int (*look)(struct net *c, struct err *e);	/* -ENOENT: act would mend it */
	int (*act)(struct net *c, struct err *e);
	bool always;					/* acts without looking: what it compares cannot be seen by look */
	bool of_host;					/* of the machine, not of this network */
};

static const struct step steps[] = {
	{ "the namespace", namespace_look, namespace_act, false },
	{ "loopback", loopback_look, loopback_act, false },
	{ "the namespace's settings", inside_look, inside_act, false },
	{ "the bridge's filter", bridge_table_look, bridge_table_act, false },
	{ "masquerading", inside_table_look, inside_table_act, false },
	{ "the bridge", bridge_look, bridge_act, false },
	{ "the gateways", addresses_look, addresses_act, false },
	{ "the ways to its guests", bare_subnets_look, bare_subnets_act, false },
	{ "the guests' taps", guests_look, guests_act, false },
	{ "the host's table", host_table_look, host_table_act, false, true },	/* before there is a link to guard */
	{ "the host's settings", outside_look, outside_act, false, true },
	{ "the link", link_look, link_act, false },
	{ "the link's address", link_address_look, link_address_act, false },
	{ "the default route", route_look, route_act, false },
	{ "DHCP and DNS", dns_look, dns_act, true },
};

static int spec_fits(const struct net_spec *n, struct err *e)
{
	if (!*n->link || strlen(n->link) > LINK_NAME_MAX || strncmp(n->link, n->link_prefix, strlen(n->link_prefix)) != 0)
		return err_set(e, EINVAL, "'%s' cannot be the name of a link of '%s'", n->link, n->link_prefix);
	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].prefix > 32 || n->subnets[i].n_dns > ARRAY_LEN(n->subnets[i].dns))
			return err_set(e, EINVAL, "subnet %zu of network %s has a prefix or resolvers that cannot be", i, n->netns);
	return dnsmasq_valid(n, e);
}

int net_up(const struct net_spec *n, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(n->netns);
	AUTO(net_close) struct net c = { .n = n, .ns_fd = -1 };
	int rc = spec_fits(n, e);

	/* Nothing is begun that cannot be finished. */
	if (rc == 0 && dnsmasq_wanted(n) && !spawn_found("dnsmasq"))
		return err_set(e, ENOENT, "the program dnsmasq is not installed");
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(steps); i++) {
		struct err why = { 0 };

		rc = steps[i].always ? -ENOENT : steps[i].look(&c, &why);
		if (rc == -ENOENT)
			rc = steps[i].act(&c, &why);
		if (rc < 0) {
			*e = why;
			return err_prefix(e, "network %s: %s", n->netns, steps[i].what);
		}
	}
	return rc;
}

int net_hosts(const struct net_spec *n, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(n->netns);
	AUTO(net_close) struct net c = { .n = n, .ns_fd = -1 };
	int rc = spec_fits(n, e);

	if (rc < 0 || (rc = ns_open(n->netns, &c.ns_fd, e)) < 0 || (rc = side_open(c.ns_fd, false, &c.ns, e)) < 0 ||
	    (rc = bridge_look(&c, e)) < 0 || (rc = dnsmasq_up(n, c.ns_fd, c.bridge.index, e)) < 0)
		return err_prefix(e, "network %s: DHCP and DNS", n->netns);
	return 0;
}

int net_faults(const struct net_spec *n, net_fault_fn *fn, void *arg, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(n->netns);
	AUTO(net_close) struct net c = { .n = n, .ns_fd = -1 };

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct err why = { 0 };
		int rc = steps[i].look(&c, &why);

		if (rc < 0 && rc != -ENOENT) {
			*e = why;
			return err_prefix(e, "network %s: %s", n->netns, steps[i].what);
		}
		if (rc == 0)
			continue;
		fn(arg, why.msg, steps[i].of_host);
		if (i == 0)
			break;	/* without the namespace there is nothing to look into */
	}
	return 0;
}

struct all {
	char text[400];
	size_t used;
};

static void add_fault(void *arg, const char *wrong, bool of_host)
{
	struct all *a = arg;

	if (a->used < sizeof a->text)
		a->used += (size_t)snprintf(a->text + a->used, sizeof a->text - a->used, "%s%s", a->used ? "; " : "", wrong);
}

int net_check(const struct net_spec *n, struct err *e)
{
	struct all a = { 0 };
	int rc = net_faults(n, add_fault, &a, e);

	return rc < 0 ? rc : *a.text ? err_set(e, ENOENT, "network %s: %s", n->netns, a.text) : 0;
}

int net_down(const struct net_spec *n, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(n->netns);
	AUTO(net_close) struct net c = { .n = n, .ns_fd = -1 };
	struct err none = { 0 };
	int rc = ns_open(n->netns, &c.ns_fd, &none);

	if (rc < 0 && rc != -ENOENT) {
		*e = none;
		return -e->code;
	}
	if ((rc = dnsmasq_down(n, c.ns_fd, e)) < 0 || (rc = side_open(-1, false, &c.host, e)) < 0 ||
	    (rc = link_get(c.host.rt, n->link, &c.outside, e)) < 0 ||
	    (c.outside.index && strcmp(c.outside.kind, "veth") == 0 && (rc = link_delete(c.host.rt, n->link, e)) < 0) ||
	    (rc = ns_remove(n->netns, e)) < 0)
		return err_prefix(e, "remove network %s", n->netns);
	return 0;
}

int net_host_down(const char *nft_table, struct err *e)
{
	AUTO(side_close) struct side host = { 0 };
	int rc = side_open(-1, true, &host, e);

	return rc < 0 ? rc : nft_drop(host.nft, "inet", nft_table, e);
}
