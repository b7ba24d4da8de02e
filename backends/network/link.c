/* Links, addresses and routes by netlink.  Messages are built by hand on libnl: its objects lose the kernel's errno and
 * sentence, and know no forward delay. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

AUTO_FN(struct nl_msg *, nlmsg_free);
AUTO_FN(struct nl_cb *, nl_cb_put);

int rt_open(struct nl_sock **ret, struct err *e)
{
	struct nl_sock *sk = nl_socket_alloc();
	int one = 1, rc = sk ? nl_connect(sk, NETLINK_ROUTE) : -NLE_NOMEM;

	if (rc < 0) {
		nl_socket_free(sk);
		return err_set(e, EIO, "open a netlink socket: %s", nl_geterror(rc));
	}
	/* The kernel's own sentence with an error, without our message repeated; older ones say only the number. */
	setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
	setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
	nl_socket_set_buffer_size(sk, 1 << 20, 0);
	*ret = sk;
	return 0;
}

void rt_close(struct nl_sock *rt)
{
	if (rt)
		nl_socket_free(rt);
}

struct answer {
	int rc;
	bool done;
	char why[160];	/* the kernel's sentence, or the error's name */
	void (*each)(struct nlmsghdr *h, void *arg);
	void *arg;
};

static int on_error(struct sockaddr_nl *who, struct nlmsgerr *m, void *arg)
{
	struct answer *a = arg;
	struct nlmsghdr *h = (struct nlmsghdr *)((char *)m - NLMSG_HDRLEN);

	a->rc = m->error;
	a->done = true;
	snprintf(a->why, sizeof a->why, "%s", strerror(-m->error));
	if (h->nlmsg_flags & NLM_F_ACK_TLVS) {
		struct nlattr *said = nlmsg_find_attr(h, sizeof *m, NLMSGERR_ATTR_MSG);

		if (said && nla_len(said) > 1)
			snprintf(a->why, sizeof a->why, "%.*s", nla_len(said), (char *)nla_data(said));
	}
	return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	((struct answer *)arg)->done = true;
	return NL_STOP;
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct answer *a = arg;

	if (a->each)
		a->each(nlmsg_hdr(msg), a->arg);
	return NL_OK;
}

/* Sends it and takes the answer to its end: 0 or -errno. */
static int ask(struct nl_sock *rt, struct nl_msg *msg, struct answer *a)
{
	AUTO(nl_cb_put) struct nl_cb *own = nl_socket_get_cb(rt);	/* a reference, not a loan */
	AUTO(nl_cb_put) struct nl_cb *cb = nl_cb_clone(own);

	if (!cb || nl_send_auto(rt, msg) < 0) {
		snprintf(a->why, sizeof a->why, "no answer from the kernel");
		return a->rc = -EIO;
	}
	nl_cb_err(cb, NL_CB_CUSTOM, on_error, a);
	nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, a);
	nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, a);
	nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, a);
	while (!a->done) {
		int rc = nl_recvmsgs(rt, cb);

		if (rc < 0 && !a->done) {
			snprintf(a->why, sizeof a->why, "%s", nl_geterror(rc));
			return a->rc = rc == -NLE_DUMP_INTR ? -EAGAIN : -EIO;
		}
	}
	return a->rc;
}

static struct nl_msg *link_msg(int type, int flags, const char *name)
{
	struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };

	if (msg && (nlmsg_append(msg, &i, sizeof i, NLMSG_ALIGNTO) < 0 || nla_put_string(msg, IFLA_IFNAME, name) < 0)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

/* The place of the message's ifinfomsg moves when the message grows: asked for when it is needed. */
static struct ifinfomsg *link_head(struct nl_msg *msg)
{
	return nlmsg_data(nlmsg_hdr(msg));
}

static int no_memory(struct err *e, const char *name)
{
	return err_set(e, ENOMEM, "link %s: %m", name);
}

static void read_link(struct nlmsghdr *h, struct link *l, char name[LINK_NAME_MAX + 1])
{
	struct ifinfomsg *i = nlmsg_data(h);
	struct nlattr *a, *kind;
	int left;

	l->index = i->ifi_index;
	l->up = i->ifi_flags & IFF_UP;
	nlmsg_for_each_attr(a, h, sizeof *i, left) {
		switch (nla_type(a)) {
		case IFLA_IFNAME:
			nla_strlcpy(name, a, LINK_NAME_MAX + 1);
			break;
		case IFLA_MASTER:
			l->master = (int)nla_get_u32(a);
			break;
		case IFLA_LINK:
			l->peer = (int)nla_get_u32(a);
			break;
		case IFLA_MTU:
			l->mtu = nla_get_u32(a);
			break;
		case IFLA_LINKINFO:
			if ((kind = nla_find(nla_data(a), nla_len(a), IFLA_INFO_KIND)))
				nla_strlcpy(l->kind, kind, sizeof l->kind);
			break;
		}
	}
}

static void take_link(struct nlmsghdr *h, void *arg)
{
	char name[LINK_NAME_MAX + 1];

	read_link(h, arg, name);
}

int link_get(struct nl_sock *rt, const char *name, struct link *ret, struct err *e)
{
	struct link l = { 0 };
	struct answer a = { .each = take_link, .arg = &l };
	AUTO(nlmsg_free) struct nl_msg *msg = link_msg(RTM_GETLINK, 0, name);

	if (!msg || nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0)
		return no_memory(e, name);
	int rc = ask(rt, msg, &a);

	if (rc == -ENODEV)
		return 0;
	if (rc < 0)
		return err_set(e, -rc, "look for link %s: %s", name, a.why);
	*ret = l;
	return 1;
}

int link_add_bridge(struct nl_sock *rt, const char *name, const uint8_t mac[6], unsigned mtu, struct err *e)
{
	struct answer a = { 0 };
	struct nlattr *info, *data;
	AUTO(nlmsg_free) struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name);

	/* A MAC that is set does not follow the ports; it is the gateway's, and guests remember it. */
	if (!msg || nla_put(msg, IFLA_ADDRESS, 6, mac) < 0 || (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0) ||
	    !(info = nla_nest_start(msg, IFLA_LINKINFO)) || nla_put_string(msg, IFLA_INFO_KIND, "bridge") < 0 ||
	    !(data = nla_nest_start(msg, IFLA_INFO_DATA)) || nla_put_u32(msg, IFLA_BR_STP_STATE, 0) < 0 ||
	    nla_put_u32(msg, IFLA_BR_FORWARD_DELAY, 0) < 0 || nla_put_u8(msg, IFLA_BR_MCAST_SNOOPING, 0) < 0)
		return no_memory(e, name);
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	int rc = ask(rt, msg, &a);

	return rc < 0 ? err_set(e, -rc, "add bridge %s: %s", name, a.why) : 0;
}

int link_add_veth(struct nl_sock *rt, const char *name, const char *peer, int peer_ns_fd, unsigned mtu, struct err *e)
{
	struct answer a = { 0 };
	struct nlattr *info, *data, *other;
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	AUTO(nlmsg_free) struct nl_msg *msg = link_msg(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, name);

	if (!msg || (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0) || !(info = nla_nest_start(msg, IFLA_LINKINFO)) ||
	    nla_put_string(msg, IFLA_INFO_KIND, "veth") < 0 || !(data = nla_nest_start(msg, IFLA_INFO_DATA)) ||
	    !(other = nla_nest_start(msg, VETH_INFO_PEER)) || nlmsg_append(msg, &i, sizeof i, NLMSG_ALIGNTO) < 0 ||
	    nla_put_string(msg, IFLA_IFNAME, peer) < 0 || nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)peer_ns_fd) < 0 ||
	    (mtu && nla_put_u32(msg, IFLA_MTU, mtu) < 0))
		return no_memory(e, name);
	nla_nest_end(msg, other);
	nla_nest_end(msg, data);
	nla_nest_end(msg, info);
	int rc = ask(rt, msg, &a);

	return rc < 0 ? err_set(e, -rc, "add link %s and its other end %s: %s", name, peer, a.why) : 0;
}

int link_set(struct nl_sock *rt, const char *name, const struct link_change *c, struct err *e)
{
	struct answer a = { 0 };
	AUTO(nlmsg_free) struct nl_msg *msg = link_msg(RTM_NEWLINK, 0, name);

	if (!msg || (c->master && nla_put_u32(msg, IFLA_MASTER, (uint32_t)c->master) < 0) ||
	    (c->mtu && nla_put_u32(msg, IFLA_MTU, c->mtu) < 0) ||
	    (c->ns_fd > 0 && nla_put_u32(msg, IFLA_NET_NS_FD, (uint32_t)c->ns_fd) < 0))
		return no_memory(e, name);
	if (c->up)
		link_head(msg)->ifi_flags = link_head(msg)->ifi_change = IFF_UP;
	int rc = ask(rt, msg, &a);

	return rc < 0 ? err_set(e, -rc, "%s link %s: %s", c->ns_fd > 0 ? "move" : c->master ? "enslave" : "set up", name, a.why) : 0;
}

int link_delete(struct nl_sock *rt, const char *name, struct err *e)
{
	struct answer a = { 0 };
	AUTO(nlmsg_free) struct nl_msg *msg = link_msg(RTM_DELLINK, 0, name);

	if (!msg)
		return no_memory(e, name);
	int rc = ask(rt, msg, &a);

	return rc < 0 && rc != -ENODEV ? err_set(e, -rc, "delete link %s: %s", name, a.why) : 0;
}

struct list {
	struct address *v;
	size_t n, room;
	int index;	/* addresses: only of this link; routes: not by this link */
	bool full;	/* no memory */
};

static void list_add(struct list *l, struct address a)
{
	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 32;
		struct address *v = reallocarray(l->v, room, sizeof *v);

		if (!v) {
			l->full = true;
			return;
		}
		l->v = v;
		l->room = room;
	}
	l->v[l->n++] = a;
}

/* A dump that something changed under its feet is asked for again. */
static int dump(struct nl_sock *rt, int type, const void *head, size_t size, void (*each)(struct nlmsghdr *h, void *arg),
		struct list *l, const char *what, struct err *e)
{
	int rc = -EAGAIN;
	struct answer a = { 0 };

	for (int tries = 0; tries < 10 && rc == -EAGAIN; tries++) {
		AUTO(nlmsg_free) struct nl_msg *msg = nlmsg_alloc_simple(type, NLM_F_DUMP);

		if (!msg || nlmsg_append(msg, (void *)head, size, NLMSG_ALIGNTO) < 0)
			return err_set(e, ENOMEM, "list %s: %m", what);
		a = (struct answer){ .each = each, .arg = l };
		l->n = 0;
		rc = ask(rt, msg, &a);
	}
	if (rc == 0 && l->full)
		rc = -ENOMEM;
	if (rc == 0)
		return 0;
	free(l->v);
	l->v = NULL;
	return err_set(e, -rc, "list %s: %s", what, rc == -ENOMEM ? strerror(ENOMEM) : a.why);
}

struct links {
	struct link_named *v;
	size_t n, room;
	bool full;	/* no memory */
};

static void take_named(struct nlmsghdr *h, void *arg)
{
	struct links *l = arg;

	if (l->n == l->room) {
		size_t room = l->room ? l->room * 2 : 32;
		struct link_named *v = reallocarray(l->v, room, sizeof *v);

		if (!v) {
			l->full = true;
			return;
		}
		l->v = v;
		l->room = room;
	}
	l->v[l->n] = (struct link_named){ 0 };
	read_link(h, &l->v[l->n].link, l->v[l->n].name);
	l->n++;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct link_named *)a)->name, ((const struct link_named *)b)->name);
}

int link_list(struct nl_sock *rt, struct link_named **ret, size_t *n, struct err *e)
{
	struct links l = { 0 };
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct answer a = { 0 };
	int rc = -EAGAIN;

	for (int tries = 0; tries < 10 && rc == -EAGAIN; tries++) {
		AUTO(nlmsg_free) struct nl_msg *msg = nlmsg_alloc_simple(RTM_GETLINK, NLM_F_DUMP);

		if (!msg || nlmsg_append(msg, &i, sizeof i, NLMSG_ALIGNTO) < 0 || nla_put_u32(msg, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS) < 0)
			return err_set(e, ENOMEM, "list links: %m");
		a = (struct answer){ .each = take_named, .arg = &l };
		l.n = 0;
		rc = ask(rt, msg, &a);
	}
	if (rc < 0 || l.full) {
		free(l.v);
		return l.full ? err_set(e, ENOMEM, "list links: %m") : err_set(e, -rc, "list links: %s", a.why);
	}
	if (l.n)
		qsort(l.v, l.n, sizeof *l.v, by_name);
	*ret = l.v;
	*n = l.n;
	return 0;
}

const struct link *link_in(const struct link_named *v, size_t n, const char *name)
{
	struct link_named key = { 0 };

	if (!n || strlen(name) > LINK_NAME_MAX)
		return NULL;
	memcpy(key.name, name, strlen(name));
	struct link_named *found = bsearch(&key, v, n, sizeof *v, by_name);
	return found ? &found->link : NULL;
}

static void take_address(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;
	struct ifaddrmsg *i = nlmsg_data(h);
	struct nlattr *a = nlmsg_find_attr(h, sizeof *i, IFA_LOCAL);

	if (!a)
		a = nlmsg_find_attr(h, sizeof *i, IFA_ADDRESS);
	if (i->ifa_family != AF_INET || !a || (l->index && (int)i->ifa_index != l->index))
		return;
	list_add(l, (struct address){ (int)i->ifa_index, { nla_get_u32(a) }, i->ifa_prefixlen });
}

int address_list(struct nl_sock *rt, int index, struct address **ret, size_t *n, struct err *e)
{
	struct list l = { .index = index };
	struct ifaddrmsg head = { .ifa_family = AF_INET };
	int rc = dump(rt, RTM_GETADDR, &head, sizeof head, take_address, &l, "addresses", e);

	if (rc < 0)
		return rc;
	*ret = l.v;
	*n = l.n;
	return 0;
}

static int address_change(struct nl_sock *rt, int type, int flags, int index, struct in_addr in, unsigned prefix,
			  struct answer *a)
{
	AUTO(nlmsg_free) struct nl_msg *msg = nlmsg_alloc_simple(type, flags);
	struct ifaddrmsg head = { .ifa_family = AF_INET, .ifa_prefixlen = (uint8_t)prefix, .ifa_index = (uint32_t)index,
				  .ifa_scope = RT_SCOPE_UNIVERSE };
	uint32_t broadcast = prefix < 31 ? in.s_addr | htonl(~0u >> prefix) : 0;

	snprintf(a->why, sizeof a->why, "%s", strerror(ENOMEM));
	if (!msg || nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO) < 0 || nla_put_u32(msg, IFA_LOCAL, in.s_addr) < 0 ||
	    nla_put_u32(msg, IFA_ADDRESS, in.s_addr) < 0 || (broadcast && nla_put_u32(msg, IFA_BROADCAST, broadcast) < 0))
		return -ENOMEM;
	return ask(rt, msg, a);
}

int address_add(struct nl_sock *rt, int index, struct in_addr in, unsigned prefix, struct err *e)
{
	struct answer a = { 0 };
	char text[INET_ADDRSTRLEN];
	int rc = address_change(rt, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, in, prefix, &a);

	return rc < 0 && rc != -EEXIST ?
	       err_set(e, -rc, "add address %s/%u: %s", inet_ntop(AF_INET, &in, text, sizeof text), prefix, a.why) : 0;
}

int address_delete(struct nl_sock *rt, int index, struct in_addr in, unsigned prefix, struct err *e)
{
	struct answer a = { 0 };
	char text[INET_ADDRSTRLEN];
	int rc = address_change(rt, RTM_DELADDR, 0, index, in, prefix, &a);

	return rc < 0 && rc != -EADDRNOTAVAIL ?
	       err_set(e, -rc, "remove address %s/%u: %s", inet_ntop(AF_INET, &in, text, sizeof text), prefix, a.why) : 0;
}

static int route_link(struct nlmsghdr *h)
{
	struct nlattr *a = nlmsg_find_attr(h, sizeof(struct rtmsg), RTA_OIF);

	return a ? (int)nla_get_u32(a) : 0;
}

static void take_route(struct nlmsghdr *h, void *arg)
{
	struct list *l = arg;
	struct rtmsg *r = nlmsg_data(h);
	struct nlattr *a = nlmsg_find_attr(h, sizeof *r, RTA_DST);

	if (r->rtm_family != AF_INET || !a || !r->rtm_dst_len || (l->index && route_link(h) == l->index))
		return;
	list_add(l, (struct address){ 0, { nla_get_u32(a) }, r->rtm_dst_len });
}

int route_list(struct nl_sock *rt, int but, struct address **ret, size_t *n, struct err *e)
{
	struct list l = { .index = but };
	struct rtmsg head = { .rtm_family = AF_INET };
	int rc = dump(rt, RTM_GETROUTE, &head, sizeof head, take_route, &l, "routes", e);

	if (rc < 0)
		return rc;
	*ret = l.v;
	*n = l.n;
	return 0;
}

static void take_default(struct nlmsghdr *h, void *arg)
{
	struct rtmsg *r = nlmsg_data(h);
	struct nlattr *via = nlmsg_find_attr(h, sizeof *r, RTA_GATEWAY);

	if (r->rtm_family == AF_INET && r->rtm_dst_len == 0 && r->rtm_table == RT_TABLE_MAIN && via)
		list_add(arg, (struct address){ route_link(h), { nla_get_u32(via) }, 0 });
}

int route_default_is(struct nl_sock *rt, int index, struct in_addr via, struct err *e)
{
	struct list l = { 0 };
	struct rtmsg head = { .rtm_family = AF_INET };
	int rc = dump(rt, RTM_GETROUTE, &head, sizeof head, take_default, &l, "routes", e);

	for (size_t i = 0; rc == 0 && i < l.n; i++)
		if (l.v[i].index == index && l.v[i].address.s_addr == via.s_addr)
			rc = 1;
	if (rc >= 0)
		free(l.v);
	return rc;
}

int route_default_set(struct nl_sock *rt, int index, struct in_addr via, struct err *e)
{
	struct answer a = { 0 };
	char text[INET_ADDRSTRLEN];
	AUTO(nlmsg_free) struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg head = { .rtm_family = AF_INET, .rtm_table = RT_TABLE_MAIN, .rtm_protocol = RTPROT_STATIC,
			      .rtm_scope = RT_SCOPE_UNIVERSE, .rtm_type = RTN_UNICAST };

	if (!msg || nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO) < 0 || nla_put_u32(msg, RTA_GATEWAY, via.s_addr) < 0 ||
	    nla_put_u32(msg, RTA_OIF, (uint32_t)index) < 0)
		return err_set(e, ENOMEM, "set the default route: %m");
	int rc = ask(rt, msg, &a);

	return rc < 0 ? err_set(e, -rc, "set the default route via %s: %s", inet_ntop(AF_INET, &via, text, sizeof text), a.why) : 0;
}

int route_link_set(struct nl_sock *rt, int index, struct in_addr to, unsigned prefix, struct in_addr from, struct err *e)
{
	struct answer a = { 0 };
	char text[INET_ADDRSTRLEN];
	AUTO(nlmsg_free) struct nl_msg *msg = nlmsg_alloc_simple(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE);
	struct rtmsg head = { .rtm_family = AF_INET, .rtm_dst_len = (unsigned char)prefix, .rtm_table = RT_TABLE_MAIN,
			      .rtm_protocol = RTPROT_STATIC, .rtm_scope = RT_SCOPE_LINK, .rtm_type = RTN_UNICAST };

	if (!msg || nlmsg_append(msg, &head, sizeof head, NLMSG_ALIGNTO) < 0 || nla_put_u32(msg, RTA_DST, to.s_addr) < 0 ||
	    nla_put_u32(msg, RTA_OIF, (uint32_t)index) < 0 || nla_put_u32(msg, RTA_PREFSRC, from.s_addr) < 0)
		return err_set(e, ENOMEM, "set a route: %m");
	int rc = ask(rt, msg, &a);

	return rc < 0 ? err_set(e, -rc, "set the route to %s/%u: %s", inet_ntop(AF_INET, &to, text, sizeof text), prefix, a.why) : 0;
}
