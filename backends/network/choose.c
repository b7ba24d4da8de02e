/* Which /30 a network's link to the host uses.  Pure: what is in use is told. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>

#define SLOTS (1u << (30 - LINK_PREFIX))

static uint32_t mask(unsigned prefix)
{
	return prefix ? ~0u << (32 - prefix) : 0;
}

bool link_net_has(struct in_addr a)
{
	return (ntohl(a.s_addr) & mask(LINK_PREFIX)) == LINK_NET;
}

static bool overlaps(uint32_t a, unsigned a_prefix, uint32_t b, unsigned b_prefix)
{
	uint32_t m = mask(a_prefix < b_prefix ? a_prefix : b_prefix);

	return (a & m) == (b & m);
}

/* How many /30 from this one on are covered by that range. */
static uint32_t covered(uint32_t net, unsigned prefix)
{
	uint32_t block = prefix < 30 ? 1u << (30 - prefix) : 1;

	return block - ((net >> 2) & (block - 1));
}

/* 0: free; else how many to skip. */
static uint32_t taken(uint32_t net, const struct address *used, size_t n, unsigned shortest)
{
	/* Where clouds keep resolvers and metadata (Alibaba's 100.100.x, Tailscale's 100.100.100.100). */
	if (overlaps(net, 30, 0x64640000, 16))
		return covered(net, 16);
	for (size_t i = 0; i < n; i++)
		if (used[i].prefix >= shortest && overlaps(net, 30, ntohl(used[i].address.s_addr), used[i].prefix))
			return covered(net, used[i].prefix);
	return 0;
}

int link_net_choose(uint32_t seed, const struct address *used, size_t n, struct in_addr *ret, struct err *e)
{
	/* A route for the whole range (a provider's, a VPN's) takes every /30: then only what is nearer than /24 counts. */
	static const unsigned shortest[] = { 1, 24 };

	for (size_t pass = 0; pass < ARRAY_LEN(shortest); pass++) {
		for (uint32_t i = 0, skip; i < SLOTS; i += skip) {
			uint32_t net = LINK_NET | ((seed + i) % SLOTS) << 2;

			skip = taken(net, used, n, shortest[pass]);
			if (skip)
				continue;
			ret->s_addr = htonl(net);
			return 0;
		}
	}
	return err_set(e, ENOSPC, "no /30 of 100.64.0.0/10 is free for the link to the outside");
}
