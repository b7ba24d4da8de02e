/* What the files behind net.h share: namespaces, netlink, nftables, dnsmasq.  Nobody outside this directory includes it. */
#pragma once

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../base/auto.h"
#include "net.h"

struct nl_sock;
struct nft_ctx;

/* The same network's calls wait for one another; different networks' do not (but for the rare shared slot). */
struct net_lock {
	pthread_mutex_t *m;
};
struct net_lock net_lock(const char *netns);
static inline void auto_net_unlock(struct net_lock *l)
{
	pthread_mutex_unlock(l->m);
}

/* ---- ns.c: namespaces by name, as `ip netns` keeps them ---- */
#define NETNS_DIR "/run/netns"

/* Opens it; ENOENT when there is none (or only the file a crash left). */
int ns_open(const char *name, int *ret, struct err *e);
/* Opens it, making it first when there is none.  With `pid` > 0 the namespace that process lives in gets the name back
 * instead of a new one being made (unless that is our own). */
int ns_make(const char *name, pid_t pid, int *ret, struct err *e);
int ns_remove(const char *name, struct err *e);
/* Held (until closed) by whoever makes a namespace or chooses an address on this machine, in any process. */
int ns_lock(int *ret, struct err *e);
/* Runs fn on a thread of its own inside the namespace; it must neither fork nor call libvirt. */
int ns_run(int ns_fd, int (*fn)(void *arg, struct err *e), void *arg, struct err *e);
uint64_t ns_inode(int ns_fd);

/* The sockets by which a namespace is changed.  They belong to where they were opened, so any thread may use them. */
struct side {
	struct nl_sock *rt;
	struct nft_ctx *nft;
};
/* ns_fd -1: the host's.  `nft` false: without that socket. */
int side_open(int ns_fd, bool nft, struct side *ret, struct err *e);
void side_close(struct side *s);
static inline void auto_side_close(struct side *s)
{
	side_close(s);
}

struct sysctl {
	const char *path;	/* below /proc/sys/net/ */
	const char *value;
	bool optional;		/* a kernel may be without it */
};
/* All as they should be: 0.  `set` false: ENOENT names the first that is not; true: it is written. */
int sysctl_apply(int ns_fd, const struct sysctl *list, size_t n, bool set, struct err *e);

/* ---- link.c: netlink ---- */
struct link {
	int index, master, peer;	/* 0: none; peer: index of the other end, in its own namespace */
	unsigned mtu;
	bool up;
	char kind[16];			/* "bridge", "veth", "tun", ""; */
};
struct address {
	int index;			/* of the link; 0 for routes */
	struct in_addr address;
	unsigned prefix;
};
struct link_change {
	int up;				/* 1 up, 0 as it is */
	int master;			/* 0: as it is */
	unsigned mtu;			/* 0: as it is */
	int ns_fd;			/* move there first; 0: stays */
};
#define LINK_NAME_MAX 15

int rt_open(struct nl_sock **ret, struct err *e);
void rt_close(struct nl_sock *rt);
/* 1 and *ret: there; 0: no such link. */
int link_get(struct nl_sock *rt, const char *name, struct link *ret, struct err *e);
/* All of them, in order of their names; *ret is the caller's to free. */
struct link_named {
	char name[LINK_NAME_MAX + 1];
	struct link link;
};
int link_list(struct nl_sock *rt, struct link_named **ret, size_t *n, struct err *e);
/* NULL: none of that name. */
const struct link *link_in(const struct link_named *v, size_t n, const char *name);
int link_add_bridge(struct nl_sock *rt, const char *name, const uint8_t mac[6], unsigned mtu, struct err *e);
int link_add_veth(struct nl_sock *rt, const char *name, const char *peer, int peer_ns_fd, unsigned mtu, struct err *e);
int link_set(struct nl_sock *rt, const char *name, const struct link_change *c, struct err *e);
/* 0 too when it is gone already. */
int link_delete(struct nl_sock *rt, const char *name, struct err *e);
/* IPv4 addresses of one link (index 0: of all); *ret is the caller's to free. */
int address_list(struct nl_sock *rt, int index, struct address **ret, size_t *n, struct err *e);
int address_add(struct nl_sock *rt, int index, struct in_addr a, unsigned prefix, struct err *e);
int address_delete(struct nl_sock *rt, int index, struct in_addr a, unsigned prefix, struct err *e);
/* IPv4 destinations the routing tables know, without default routes; `but` is a link left out. */
int route_list(struct nl_sock *rt, int but, struct address **ret, size_t *n, struct err *e);
/* Makes that range lie on the link itself, `from` speaking to it. */
int route_link_set(struct nl_sock *rt, int index, struct in_addr to, unsigned prefix, struct in_addr from, struct err *e);
/* 1: the default route goes by that gateway and link. */
int route_default_is(struct nl_sock *rt, int index, struct in_addr via, struct err *e);
int route_default_set(struct nl_sock *rt, int index, struct in_addr via, struct err *e);

/* ---- choose.c: pure ---- */
#define LINK_NET 0x64400000u	/* 100.64.0.0/10, carrier-grade NAT (RFC 6598): nobody's public, rarely anybody's private */
#define LINK_PREFIX 10u

bool link_net_has(struct in_addr a);
/* The first free /30 at or after the seed's; *ret is its network address.  ENOSPC when every one is taken. */
int link_net_choose(uint32_t seed, const struct address *used, size_t n, struct in_addr *ret, struct err *e);

/* ---- rules.c: what we tell nftables, as text; pure ---- */
#define NS_TABLE "cirrusfs"	/* inet and bridge, inside every namespace of ours */
#define NS_LINK "out0"		/* inside end of the link to the outside */

struct rules {			/* commands that make or renew a table; set elements stay what they are */
	const char *family;
	char name[64];
	char *text;
	struct rule {
		char chain[16];
		char tag[12];	/* the rule's comment: a digest of its text */
	} rule[16];
	size_t n;
};
/* `fib`: with the rule that needs the kernel's fib expression. */
int rules_host(struct rules *ret, const char *table, const char *prefix, const char *uplink, bool fib, struct err *e);
int rules_inside(struct rules *ret, struct err *e);
/* `chaddr`: with the rules that need raw payload in a set. */
int rules_bridge(struct rules *ret, bool chaddr, struct err *e);
void rules_free(struct rules *r);
static inline void auto_rules_free(struct rules *r)
{
	rules_free(r);
}

/* ---- nft.c: libnftables ---- */
int nft_open(struct nft_ctx **ret, struct err *e);
void nft_close(struct nft_ctx *nft);
/* This kernel cannot filter on bridges: found out once, said in the log, and done without. */
extern atomic_bool nft_without_bridge;
/* The rules for it as this kernel and its nftables can have them: found out once, too. */
int nft_bridge_rules(struct rules *ret, struct err *e);

/* One transaction.  EOPNOTSUPP, ENOENT, EPERM where the kernel's answer says so, else EIO. */
int nft_run(struct nft_ctx *nft, const char *commands, struct err *e);
/* The same with what it answers, JSON; the caller frees. */
int nft_ask(struct nft_ctx *nft, const char *commands, char **ret, struct err *e);
/* 0: every rule is there in its order; ENOENT says what is not. */
int nft_look(struct nft_ctx *nft, const struct rules *r, struct err *e);
int nft_put(struct nft_ctx *nft, const struct rules *r, struct err *e);
/* The filter's table; a kernel that cannot have it is no error. */
int nft_put_bridge(struct nft_ctx *nft, struct err *e);
int nft_drop(struct nft_ctx *nft, const char *family, const char *table, struct err *e);
/* Makes the filter of one tap exactly this: mac NULL none, address NULL no IPv4 but DHCP.  ENOENT: no such table. */
int nft_tap(struct nft_ctx *nft, const char *tap, const char *mac, const struct in_addr *address, struct err *e);
/* 1: the tap is guarded; 0: it is not. */
int nft_tap_there(struct nft_ctx *nft, const char *tap);
/* All that are guarded whole, " tap0 tap1 ": with a MAC and an address; the caller frees. */
int nft_taps(struct nft_ctx *nft, char **ret, struct err *e);

/* ---- tap.c, for whoever holds the network's lock ---- */
/* The hosts' taps that are in the namespace: all on the bridge, up and guarded; ENOENT names one that is not. */
int taps_look(const struct net_spec *n, const struct side *ns, int bridge, struct err *e);
int taps_act(const struct net_spec *n, const struct side *ns, int bridge, struct err *e);

/* ---- dnsmasq.c ---- */
#define DNS_META "169.254.169.254"

/* What stands in the files; pure.  The caller frees; NULL: no memory. */
char *dnsmasq_conf(const struct net_spec *n, const char *user, const char *group, int bridge);
char *dnsmasq_reservations(const struct net_spec *n);
char *dnsmasq_names(const struct net_spec *n);
/* The nameserver lines of a resolv.conf a namespace can use: IPv4, not loopback. */
char *dnsmasq_resolvers(const char *resolv_conf);
/* EINVAL names the reservation that cannot stand in a file. */
int dnsmasq_valid(const struct net_spec *n, struct err *e);

bool dnsmasq_wanted(const struct net_spec *n);
/* Running, ours, in that namespace, with this configuration: 0; else ENOENT says what is not.  bridge 0: there is none, and
 * the configuration is not compared. */
int dnsmasq_look(const struct net_spec *n, int ns_fd, int bridge, struct err *e);
/* Makes it so: files, start, restart when the configuration differs, SIGHUP when only hosts do. */
int dnsmasq_up(const struct net_spec *n, int ns_fd, int bridge, struct err *e);
/* The process of an earlier life of this network, in whatever namespace; 0: none. */
pid_t dnsmasq_pid(const struct net_spec *n);
/* Ends it, wherever it runs, and removes its files.  ns_fd -1: the namespace is gone. */
int dnsmasq_down(const struct net_spec *n, int ns_fd, struct err *e);
/* Every dnsmasq whose configuration is below `dir`: its number and the part of the path between that and the file's own name. */
int dnsmasq_list(const char *dir, void (*fn)(void *arg, pid_t pid, const char *name), void *arg, struct err *e);
/* Where what dnsmasq reads as another user is, a directory a namespace. */
#define DNS_RUN_DIR "/run/cirrusfs-dns"
/* The whole of a small file, the caller's to free; NULL when it cannot be read. */
char *slurp(const char *path);

/* ---- leases.c ---- */
/* Makes dnsmasq forget the leases in its file whose host is none of n's (or has another address), by a DHCPRELEASE for each,
 * and waits a moment for it.  The number of those it still holds; then *rest is what the file should say, the caller's to
 * free. */
int leases_release(const struct net_spec *n, int ns_fd, const char *file, char **rest, struct err *e);
