/* One network on this machine: a namespace with a bridge, the guests' taps, DHCP and DNS by dnsmasq, and NAT to the outside.
 * Everything is named by the caller; nothing here knows tenants, rows or the tree.  Each call looks before it acts, so doing
 * it again is the same as once, and mends what somebody broke.  May block; any thread that serves no request may call. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../base/err.h"

struct net_host {		/* one reservation: what DHCP answers and DNS knows */
	char mac[18];
	char hostname[64];
	struct in_addr address;
	char tap[16];		/* "": none; one that is in the namespace is put back on a bridge made anew, and guarded */
};

struct net_subnet {
	struct in_addr address;	/* network address, host zero */
	unsigned prefix;
	struct in_addr gateway;	/* on the bridge; 0: none */
	bool dhcp;
	struct in_addr dns[5];	/* handed to guests; none: the gateway (dnsmasq) */
	size_t n_dns;
};

struct net_spec {
	const char *netns;	/* "cfs12ab34n7", the name under /run/netns */
	const char *link;	/* host side of the link to the outside, at most 15 bytes, begins with link_prefix */
	const char *link_prefix;/* of all links of this store: "cfs12ab34v" */
	const char *nft_table;	/* host's nftables table of this store: "cfs12ab34" */
	const char *dir;	/* existing directory for dnsmasq's files: configuration, pid, leases, log; what it reads after
				 * it has become another user is in /run/cirrusfs-dns/<netns> */
	const char *uplink;	/* the one interface guests leave by; NULL or "": whatever the host's routes say */
	const char *dns_domain;	/* "openstacklocal" */
	unsigned mtu;
	uint32_t seed;		/* where to begin looking for a free /30 for the link, within 100.64.0.0/10 */
	const struct net_subnet *subnets;
	size_t n_subnets;
	const struct net_host *hosts;
	size_t n_hosts;
};

#define NET_BRIDGE "br0"	/* the bridge's name inside each namespace */

/* Makes or mends all of it: namespace (with lo up), bridge with the gateway addresses, veth to the host with a /30, default
 * route, ip_forward, masquerading in both places, the host's own services unreachable from the namespace, networks unreachable
 * from one another, dnsmasq running detached (pidfile, adopted by pid, start time and namespace) with these hosts.
 * ENOENT "the program dnsmasq is not installed" when a subnet wants DHCP and there is none. */
int net_up(const struct net_spec *n, struct err *e);
/* Only the hosts changed: writes the files and tells dnsmasq. */
int net_hosts(const struct net_spec *n, struct err *e);
/* 0 when everything net_up makes is there; else the sentence says what is missing (ENOENT). */
int net_check(const struct net_spec *n, struct err *e);
/* The same, a call for each part that is not as it should be; of_host: of the machine, all its networks share it. */
typedef void net_fault_fn(void *arg, const char *wrong, bool of_host);
int net_faults(const struct net_spec *n, net_fault_fn *fn, void *arg, struct err *e);
/* Removes all of it; what is gone already is no error.  Only netns, link, link_prefix, nft_table and dir are read. */
int net_down(const struct net_spec *n, struct err *e);
/* Removes the host's table once no network of this store is left. */
int net_host_down(const char *nft_table, struct err *e);

/* A socket that listens on 169.254.169.254:80 inside the namespace; the caller's to close.  An open one keeps a namespace alive whose name
 * is gone.  *mark: what tells the namespace from a later one of that name. */
int net_listen(const char *netns, int *ret, uint64_t *mark, struct err *e);
/* The mark of the namespace that has the name now; 0: there is none. */
uint64_t net_mark(const char *netns);
/* What stands on this machine under a store's names, wanted or not. */
enum net_thing {
	NET_NAMESPACE,	/* name */
	NET_LINK,	/* name, in netns ("": the host's) */
	NET_DNS_DIR,	/* name: of a namespace */
	NET_DNSMASQ,	/* pid; name: of the directory its configuration is in */
	NET_TABLE,	/* name: the host's nftables table */
};
struct net_found {
	enum net_thing what;
	const char *netns, *name;
	pid_t pid;
};
struct net_names {	/* what those names begin with */
	const char *netns;	/* "cfs12ab34cdn" */
	const char *link;	/* "cfs12ab34" */
	const char *table;	/* the whole name */
	const char *dirs;	/* "STORE/networks": what net_spec.dir is below */
};
int net_list(const struct net_names *n, void (*fn)(void *arg, const struct net_found *f), void *arg, struct err *e);
int net_link_delete(const char *link, struct err *e);

/* A persistent tap in the host's namespace that `user` may open, down.  0 when it is there already. */
int tap_create(const char *tap, const char *user, unsigned mtu, struct err *e);
/* Moves it into the namespace (from the host's), enslaves it to the bridge and sets it up, with the filter that lets only
 * `mac` and `address` (and DHCP, ARP of its own) out of it; address NULL: no IPv4 but DHCP.  0 when that is so already. */
int tap_plug(const char *netns, const char *tap, const char *mac, const struct in_addr *address, struct err *e);
/* Makes a tap anew that was deleted while process `pid` (a qemu with n_nics of them) had it open as its nth, and gives it back to
 * that process: whoever uses it loses packets, nothing else.  It is in the host's namespace then; tap_plug does the rest.
 * ENOENT: the process has no such open tap. */
int tap_restore(const char *tap, const char *user, unsigned mtu, pid_t pid, unsigned nth, unsigned n_nics, struct err *e);
/* Deletes it and its filter, wherever it is; 0 when there is none. */
int tap_delete(const char *netns, const char *tap, struct err *e);
struct net_counters {	/* as the guest sees them: what it received, what it sent */
	uint64_t rx_bytes, rx_packets, rx_dropped, tx_bytes, tx_packets, tx_dropped;
};
/* fn for every link of the namespace. */
int net_counters(const char *netns, void (*fn)(void *arg, const char *link, const struct net_counters *c), void *arg, struct err *e);
/* 1: in the namespace, up, on the bridge and filtered; 0: not, tap_plug mends it. */
int tap_plugged(const char *netns, const char *tap);

/* What networks need of this machine: tried in a namespace without a name that is gone when the call returns.  The host's own
 * is only read. */
enum net_need {
	NET_NEED_NAMESPACE,	/* network namespaces, and binding one to a name */
	NET_NEED_BRIDGE,
	NET_NEED_VETH,
	NET_NEED_TAP,
	NET_NEED_NAT,		/* nftables: our tables with masquerading */
	NET_NEED_FIB,		/* nftables' fib expression; without it less is kept from guests */
	NET_NEED_BRIDGE_FILTER,	/* nftables' bridge family; without it guests may use false addresses */
	NET_NEED_FORWARDING,	/* ip_forward is on, or can be set */
};
int net_probe(enum net_need need, struct err *e);
/* 0: nobody else's firewall keeps what guests send from being forwarded; else (EPERM) whose does, and what would let it pass. */
int net_probe_firewall(struct err *e);
