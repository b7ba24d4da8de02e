/* The parts of backends/network that need neither root nor a kernel: what is written for nftables and dnsmasq, the /30. */
#include "../../backends/network/parts.h"

#include <arpa/inet.h>
#include <errno.h>

#include "check.h"

static struct in_addr ip(const char *text)
{
	struct in_addr a = { 0 };

	inet_pton(AF_INET, text, &a);
	return a;
}

static const char *text_of(struct in_addr a)
{
	static char text[INET_ADDRSTRLEN];

	return inet_ntop(AF_INET, &a, text, sizeof text);
}

static void the_seed_says_where_to_begin(void)
{
	struct err e = { 0 };
	struct in_addr a = { 0 };

	CHECK_INT(link_net_choose(0, NULL, 0, &a, &e), 0);
	CHECK_STR(text_of(a), "100.64.0.0");
	CHECK_INT(link_net_choose(1, NULL, 0, &a, &e), 0);
	CHECK_STR(text_of(a), "100.64.0.4");
	CHECK_INT(link_net_choose(0xfffff, NULL, 0, &a, &e), 0);
	CHECK_STR(text_of(a), "100.127.255.252");
	CHECK_INT(link_net_choose(0x100001, NULL, 0, &a, &e), 0);	/* a seed is any number */
	CHECK_STR(text_of(a), "100.64.0.4");
}

static void what_is_in_use_is_skipped(void)
{
	const struct address used[] = {
		{ 1, ip("100.64.0.1"), 30 }, { 1, ip("100.64.0.6"), 32 }, { 0, ip("100.64.0.8"), 29 }, { 1, ip("10.0.0.1"), 8 },
	};
	struct err e = { 0 };
	struct in_addr a = { 0 };

	CHECK_INT(link_net_choose(0, used, ARRAY_LEN(used), &a, &e), 0);
	CHECK_STR(text_of(a), "100.64.0.16");
}

static void the_search_goes_round_the_end(void)
{
	const struct address used[] = { { 1, ip("100.127.255.253"), 30 } };
	struct err e = { 0 };
	struct in_addr a = { 0 };

	CHECK_INT(link_net_choose(0xfffff, used, ARRAY_LEN(used), &a, &e), 0);
	CHECK_STR(text_of(a), "100.64.0.0");
}

/* A provider's route to the whole of 100.64.0.0/10 must not leave networks without a link. */
static void a_route_for_the_whole_range_counts_only_while_there_is_a_choice(void)
{
	const struct address used[] = { { 0, ip("100.64.0.0"), 10 }, { 1, ip("100.64.0.2"), 32 } };
	struct err e = { 0 };
	struct in_addr a = { 0 };

	CHECK_INT(link_net_choose(0, used, ARRAY_LEN(used), &a, &e), 0);
	CHECK_STR(text_of(a), "100.64.0.4");
}

static void a_full_range_is_enospc(void)
{
	const struct address used[] = { { 0, ip("100.64.0.0"), 10 }, { 0, ip("0.0.0.0"), 24 } };
	struct address all[1 << 14];
	struct err e = { 0 };
	struct in_addr a = { 0 };

	for (uint32_t i = 0; i < ARRAY_LEN(all); i++)
		all[i] = (struct address){ 0, { htonl(LINK_NET | i << 8) }, 24 };
	CHECK_INT(link_net_choose(7, all, ARRAY_LEN(all), &a, &e), -ENOSPC);
	CHECK_STR(e.msg, "no /30 of 100.64.0.0/10 is free for the link to the outside");
	CHECK_INT(link_net_choose(7, used, ARRAY_LEN(used), &a, &e), 0);
}

static void clouds_own_services_are_not_shadowed(void)
{
	struct err e = { 0 };
	struct in_addr a = { 0 };

	CHECK_INT(link_net_choose((0x6464c8c8 - LINK_NET) >> 2, NULL, 0, &a, &e), 0);
	CHECK_STR(text_of(a), "100.101.0.0");
}

static void the_hosts_rules_drop_before_they_accept(void)
{
	AUTO(rules_free) struct rules r = { 0 };
	struct err e = { 0 };

	CHECK_INT(rules_host(&r, "cfs12", "cfs12v", NULL, true, &e), 0);
	const char *between = strstr(r.text, "forward iifname \"cfs12v*\" oifname \"cfs12v*\" drop");
	const char *out = strstr(r.text, "forward iifname \"cfs12v*\" ip saddr 100.64.0.0/10 accept");

	CHECK(between && out && between < out);
	CHECK(strstr(r.text, "postrouting iifname \"cfs12v*\" oifname != \"cfs12v*\" masquerade") != NULL);
	CHECK(strstr(r.text, "fib daddr type local") != NULL);
	CHECK(!strstr(r.text, "delete table"));	/* a renewal drops no packet */
}

static void a_named_uplink_is_the_only_way_out(void)
{
	AUTO(rules_free) struct rules r = { 0 };
	struct err e = { 0 };

	CHECK_INT(rules_host(&r, "cfs12", "cfs12v", "eth0", false, &e), 0);
	CHECK(strstr(r.text, "forward iifname \"cfs12v*\" ip saddr 100.64.0.0/10 oifname \"eth0\" accept") != NULL);
	CHECK(strstr(r.text, "postrouting iifname \"cfs12v*\" oifname \"eth0\" masquerade") != NULL);
	CHECK(!strstr(r.text, "fib"));
}

static void a_rules_comment_is_a_digest_of_it(void)
{
	AUTO(rules_free) struct rules a = { 0 };
	AUTO(rules_free) struct rules b = { 0 };
	struct err e = { 0 };

	CHECK_INT(rules_host(&a, "t", "av", NULL, false, &e), 0);
	CHECK_INT(rules_host(&b, "t", "bv", NULL, false, &e), 0);
	CHECK_INT(a.n, b.n);
	for (size_t i = 0; i < a.n; i++) {
		CHECK_STR(a.rule[i].chain, b.rule[i].chain);
		CHECK(strcmp(a.rule[i].tag, b.rule[i].tag) != 0);
		CHECK(strstr(a.text, a.rule[i].tag) != NULL);
	}
}

static void names_that_would_be_syntax_are_refused(void)
{
	AUTO(rules_free) struct rules r = { 0 };
	struct err e = { 0 };

	CHECK_INT(rules_host(&r, "t; flush ruleset", "v", NULL, true, &e), -EINVAL);
	CHECK_INT(rules_host(&r, "t", "v\" accept", NULL, true, &e), -EINVAL);
	CHECK_INT(rules_host(&r, "t", "v", "eth0\"", true, &e), -EINVAL);
}

static const struct net_subnet subnet = { .prefix = 24, .dhcp = true };

static struct net_spec spec(struct net_subnet *s, const struct net_host *hosts, size_t n)
{
	*s = subnet;
	s->address = ip("10.0.0.0");
	s->gateway = ip("10.0.0.1");
	return (struct net_spec){ .netns = "cfs1n7", .dir = "/store/net/7", .dns_domain = "openstacklocal", .mtu = 1450,
				  .subnets = s, .n_subnets = 1, .hosts = hosts, .n_hosts = n };
}

static const struct net_host *two_hosts(void)
{
	static struct net_host h[2] = { { "52:54:00:00:00:01", "web1", { 0 } }, { "52:54:00:00:00:02", "", { 0 } } };

	h[0].address = ip("10.0.0.11");
	h[1].address = ip("10.0.0.12");
	return h;
}

static void hosts_are_reserved_and_named(void)
{
	struct net_subnet s;
	struct net_spec n = spec(&s, two_hosts(), 2);
	AUTO(free) char *hosts = dnsmasq_reservations(&n);
	AUTO(free) char *names = dnsmasq_names(&n);

	CHECK_STR(hosts, "52:54:00:00:00:01,10.0.0.11,web1\n52:54:00:00:00:02,10.0.0.12\n");
	CHECK_STR(names, "10.0.0.11 web1.openstacklocal web1\n");
}

static void guests_learn_gateway_metadata_and_mtu(void)
{
	struct net_subnet s;
	struct net_spec n = spec(&s, NULL, 0);
	AUTO(free) char *conf = dnsmasq_conf(&n, "dnsmasq", "nogroup", 2);

	CHECK(strstr(conf, "dhcp-range=set:s0,10.0.0.0,static,255.255.255.0,86400\n") != NULL);
	CHECK(strstr(conf, "dhcp-option=tag:s0,option:router,10.0.0.1\n") != NULL);
	CHECK(strstr(conf, "dhcp-option=tag:s0,121,169.254.169.254/32,10.0.0.1,0.0.0.0/0,10.0.0.1\n") != NULL);
	CHECK(strstr(conf, "dhcp-option=tag:s0,option:dns-server,10.0.0.1\n") != NULL);
	CHECK(strstr(conf, "dhcp-option=tag:s0,option:mtu,1450\n") != NULL);
	CHECK(strstr(conf, "pid-file=/store/net/7/dnsmasq.pid\n") != NULL);
}

static void given_resolvers_replace_the_gateway(void)
{
	struct net_subnet s;
	struct net_spec n = spec(&s, NULL, 0);

	s.dns[0] = ip("9.9.9.9");
	s.dns[1] = ip("1.1.1.1");
	s.n_dns = 2;
	AUTO(free) char *conf = dnsmasq_conf(&n, "dnsmasq", "nogroup", 2);

	CHECK(strstr(conf, "option:dns-server,9.9.9.9,1.1.1.1\n") != NULL);
}

static void without_a_gateway_there_is_no_router(void)
{
	struct net_subnet s;
	struct net_spec n = spec(&s, NULL, 0);

	s.gateway.s_addr = 0;
	AUTO(free) char *conf = dnsmasq_conf(&n, "dnsmasq", "nogroup", 2);

	CHECK(strstr(conf, "shared-network=169.254.169.254,10.0.0.0\n") != NULL);
	CHECK(strstr(conf, "option:router\n") != NULL);
	CHECK(!strstr(conf, "dns-server"));
}

static void another_bridge_is_another_configuration(void)
{
	struct net_subnet s;
	struct net_spec n = spec(&s, NULL, 0);
	AUTO(free) char *a = dnsmasq_conf(&n, "dnsmasq", "nogroup", 2);
	AUTO(free) char *b = dnsmasq_conf(&n, "dnsmasq", "nogroup", 9);

	CHECK(strcmp(a, b) != 0);
}

static void loopback_resolvers_are_left_out(void)
{
	AUTO(free) char *r = dnsmasq_resolvers("# a comment\nsearch example.org\nnameserver 127.0.0.53\nnameserver ::1\n"
					       "nameserver 9.9.9.9\n nameserver 8.8.8.8\nnameserver 192.0.2.1 # x");
	AUTO(free) char *none = dnsmasq_resolvers("");

	CHECK_STR(r, "nameserver 9.9.9.9\nnameserver 192.0.2.1\n");
	CHECK_STR(none, "");
}

static void what_cannot_stand_in_a_file_is_refused(void)
{
	struct net_host h = { "52:54:00:00:00:01", "a\nb", { 0 } };
	struct net_subnet s;
	struct net_spec n = spec(&s, &h, 1);
	struct err e = { 0 };

	CHECK_INT(dnsmasq_valid(&n, &e), -EINVAL);
	CHECK_STR(e.msg, "'a b' is no hostname");
	h = (struct net_host){ "52:54:00:00:00", "a", { 0 } };
	CHECK_INT(dnsmasq_valid(&n, &e), -EINVAL);
	CHECK_STR(e.msg, "'52:54:00:00:00' is no MAC address");
}

int main(void)
{
	RUN(the_seed_says_where_to_begin);
	RUN(what_is_in_use_is_skipped);
	RUN(the_search_goes_round_the_end);
	RUN(a_route_for_the_whole_range_counts_only_while_there_is_a_choice);
	RUN(a_full_range_is_enospc);
	RUN(clouds_own_services_are_not_shadowed);
	RUN(the_hosts_rules_drop_before_they_accept);
	RUN(a_named_uplink_is_the_only_way_out);
	RUN(a_rules_comment_is_a_digest_of_it);
	RUN(names_that_would_be_syntax_are_refused);
	RUN(hosts_are_reserved_and_named);
	RUN(guests_learn_gateway_metadata_and_mtu);
	RUN(given_resolvers_replace_the_gateway);
	RUN(without_a_gateway_there_is_no_router);
	RUN(another_bridge_is_another_configuration);
	RUN(loopback_resolvers_are_left_out);
	RUN(what_cannot_stand_in_a_file_is_refused);
	return DONE();
}
