/* What went through the taps of a network. */
#include "parts.h"

#include <errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>

AUTO_FN(struct nl_cache *, nl_cache_free);

struct each {
	void (*fn)(void *arg, const char *link, const struct net_counters *c);
	void *arg;
};

/* A tap counts from the host's side: what it received the guest sent. */
static void one_link(struct nl_object *o, void *arg)
{
	struct rtnl_link *l = (struct rtnl_link *)o;
	struct each *each = arg;
	const struct net_counters c = {
		.rx_bytes = rtnl_link_get_stat(l, RTNL_LINK_TX_BYTES), .rx_packets = rtnl_link_get_stat(l, RTNL_LINK_TX_PACKETS),
		.rx_dropped = rtnl_link_get_stat(l, RTNL_LINK_TX_DROPPED), .tx_bytes = rtnl_link_get_stat(l, RTNL_LINK_RX_BYTES),
		.tx_packets = rtnl_link_get_stat(l, RTNL_LINK_RX_PACKETS), .tx_dropped = rtnl_link_get_stat(l, RTNL_LINK_RX_DROPPED),
	};

	each->fn(each->arg, rtnl_link_get_name(l), &c);
}

int net_counters(const char *netns, void (*fn)(void *arg, const char *link, const struct net_counters *c), void *arg, struct err *e)
{
	AUTO(close) int ns = -1;
	AUTO(side_close) struct side side = { 0 };
	AUTO(nl_cache_free) struct nl_cache *links = NULL;
	struct each each = { fn, arg };
	int rc = ns_open(netns, &ns, e);

	if (rc < 0 || (rc = side_open(ns, false, &side, e)) < 0)
		return rc;
	if ((rc = rtnl_link_alloc_cache(side.rt, AF_UNSPEC, &links)) < 0)
		return err_set(e, EIO, "links of %s: %s", netns, nl_geterror(rc));
	nl_cache_foreach(links, one_link, &each);
	return 0;
}
