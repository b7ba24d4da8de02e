/* backends/network for real, in a machine of its own: the program enters new network, mount and pid namespaces first, so its
 * "host" is nobody else's and whatever a failing test leaves is gone with it.  Guests are what qemu would be: a program that
 * holds the tap open from before it is plugged; behind it a namespace with its own kernel stack. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../../backends/http/http.h"
#include "../../backends/network/parts.h"
#include "check.h"

#define WAN "198.51.100.1"	/* the host's address outside */
#define FAR "198.51.100.2"	/* a machine out there; also the resolver */

/* ---- small tools ---- */

static char said[65536];

/* Runs it, keeps what it says in `said`; its exit status. */
static int __attribute__((format(printf, 1, 2))) sh(const char *fmt, ...)
{
	char command[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	strncat(command, " 2>&1", sizeof command - strlen(command) - 1);
	FILE *f = popen(command, "re");
	size_t n = f ? fread(said, 1, sizeof said - 1, f) : 0;

	said[n] = '\0';
	int status = f ? pclose(f) : -1;

	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct in_addr ip(const char *text)
{
	struct in_addr a = { 0 };

	inet_pton(AF_INET, text, &a);
	return a;
}

static struct err e_;

#define CHECK_OK(call) do { e_ = (struct err){ 0 }; int rc_ = (call); \
	if (rc_ < 0) CHECK_FAIL("%s: %s", #call, e_.msg); } while (0)

struct sock {
	int domain, type, protocol, fd;
};

static int sock_here(void *arg, struct err *e)
{
	struct sock *s = arg;

	s->fd = socket(s->domain, s->type | SOCK_CLOEXEC, s->protocol);
	return s->fd < 0 ? err_set(e, errno, "socket: %m") : 0;
}

/* A socket of that namespace; "" is the host's. */
static int sock_in(const char *ns, int domain, int type, int protocol)
{
	struct sock s = { domain, type, protocol, -1 };
	struct err e = { 0 };
	AUTO(close) int fd = -1;

	if (*ns && ns_open(ns, &fd, &e) < 0)
		return -1;
	ns_run(fd, sock_here, &s, &e);
	return s.fd;
}

/* Answers every connection with the address it came from. */
static void *serve(void *arg)
{
	int listener = (int)(intptr_t)arg;

	for (;;) {
		struct sockaddr_in peer;
		socklen_t len = sizeof peer;
		char text[INET_ADDRSTRLEN];
		AUTO(close) int c = accept4(listener, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);

		if (c < 0)
			return NULL;
		inet_ntop(AF_INET, &peer.sin_addr, text, sizeof text);
		if (write(c, text, strlen(text)) < 0)
			continue;
	}
}

static void server(const char *ns, int port)
{
	int one = 1, fd = sock_in(ns, AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	pthread_t t;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0 || listen(fd, 16) < 0 ||
	    pthread_create(&t, NULL, serve, (void *)(intptr_t)fd))
		CHECK_FAIL("no server in '%s': %s", ns, strerror(errno));
	else
		pthread_detach(t);
}

/* What the server at that address says ("" when nobody answers within `ms`). */
static const char *fetch_within(const char *ns, const char *address, int port, int ms)
{
	static char text[64];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = ip(address) };
	AUTO(close) int fd = sock_in(ns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = { fd, POLLOUT, 0 };

	text[0] = '\0';
	if (fd < 0 || (connect(fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) || poll(&p, 1, ms) <= 0)
		return text;
	p.events = POLLIN;
	ssize_t n = poll(&p, 1, ms) > 0 ? read(fd, text, sizeof text - 1) : 0;

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static const char *fetch(const char *ns, const char *address, int port)
{
	return fetch_within(ns, address, port, 10000);
}

/* ---- guests ---- */

struct guest {
	char name[16], mac[18], tap[16], nic[16];	/* name is also its namespace */
	int fd[2];		/* what qemu holds of the tap; the guest's own card */
	bool running;
};

static int tap_fd(void *arg, struct err *e)
{
	struct guest *g = arg;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int i = g->nic[0] ? 1 : 0;

	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", i ? g->nic : g->tap);
	g->fd[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	return g->fd[i] >= 0 && ioctl(g->fd[i], TUNSETIFF, &ifr) == 0 ? 0 : err_set(e, errno, "tap: %m");
}

/* The virtual machine: frames from one card to the other. */
static void *machine(void *arg)
{
	struct guest *g = arg;
	char frame[65600];

	for (;;) {
		struct pollfd p[2] = { { g->fd[0], POLLIN, 0 }, { g->fd[1], POLLIN, 0 } };

		if (poll(p, 2, -1) < 0 || ((p[0].revents | p[1].revents) & (POLLERR | POLLNVAL)))
			return NULL;	/* a card is gone */
		for (int i = 0; i < 2; i++) {
			ssize_t n;

			while ((n = read(g->fd[i], frame, sizeof frame)) > 0)
				if (write(g->fd[!i], frame, (size_t)n) < 0)
					break;
		}
	}
	return NULL;
}

static void guest_boot(struct guest *g, const char *name, const char *mac)
{
	AUTO(close) int ns = -1;
	pthread_t t;

	*g = (struct guest){ .fd = { -1, -1 } };
	snprintf(g->name, sizeof g->name, "%s", name);
	snprintf(g->mac, sizeof g->mac, "%s", mac);
	snprintf(g->tap, sizeof g->tap, "t-%.10s", name);

	CHECK_OK(tap_create(g->tap, "nobody", 1450, &e_));
	CHECK_OK(tap_create(g->tap, "nobody", 1450, &e_));
	CHECK_OK(tap_fd(g, &e_));
	CHECK_OK(ns_make(name, 0, &ns, &e_));
	snprintf(g->nic, sizeof g->nic, "eth0");
	CHECK_OK(ns_run(ns, tap_fd, g, &e_));
	CHECK_INT(sh("ip -n %s link set eth0 address %s && ip -n %s link set eth0 up && ip -n %s link set lo up", name, mac, name, name), 0);
	g->running = pthread_create(&t, NULL, machine, g) == 0;
	if (g->running)
		pthread_detach(t);
}

static void plug(struct guest *g, const char *netns, const char *address)
{
	struct in_addr a = ip(address);

	CHECK_OK(tap_plug(netns, g->tap, g->mac, &a, &e_));
	CHECK_INT(tap_plugged(netns, g->tap), 1);
}

/* The address DHCP gives ("" for none); it is set on the guest's card. */
static const char *dhcp(const struct guest *g, int tries)
{
	sh("ip -n %s addr flush dev eth0", g->name);
	sh("ip netns exec %s busybox udhcpc -i eth0 -n -q -f -t %d -T 1 -O mtu -O staticroutes -s /run/dhcp.sh", g->name, tries);
	char *at = strstr(said, "GOT ");

	if (!at)
		return "";
	at[4 + strcspn(at + 4, " \n")] = '\0';
	return at + 4;
}

/* ---- two networks ---- */

static struct net_host lan_hosts[] = {
	{ "52:54:00:00:01:0b", "web1", { 0 } }, { "52:54:00:00:01:0c", "web2", { 0 } },
	{ "52:54:00:00:01:0d", "web3", { 0 } },
};
static struct net_host other_hosts[] = {
	{ "52:54:00:00:02:0c", "web2", { 0 } }, { "52:54:00:00:02:0e", "far", { 0 } }, { "52:54:00:00:02:0f", "dark", { 0 } },
};
static struct net_subnet lan_subnet, other_subnets[3];
static struct net_spec lan, other;
static struct guest web1, web2, twin, far_, dark;

static void specs(const char *dir)
{
	static char lan_dir[64], other_dir[64];

	lan_subnet = (struct net_subnet){ ip("10.0.0.0"), 24, ip("10.0.0.1"), true, { { 0 } }, 0 };
	other_subnets[0] = lan_subnet;
	other_subnets[1] = (struct net_subnet){ ip("10.9.0.0"), 24, ip("10.9.0.1"), true, { { 0 } }, 0 };
	other_subnets[2] = (struct net_subnet){ ip("10.8.0.0"), 24, { 0 }, true, { { 0 } }, 0 };
	lan_hosts[0].address = ip("10.0.0.11");
	lan_hosts[1].address = ip("10.0.0.12");
	lan_hosts[2].address = ip("10.0.0.13");
	other_hosts[0].address = ip("10.0.0.12");
	other_hosts[1].address = ip("10.9.0.14");
	other_hosts[2].address = ip("10.8.0.15");
	snprintf(lan_dir, sizeof lan_dir, "%s/lan", dir);
	snprintf(other_dir, sizeof other_dir, "%s/other", dir);
	mkdir(lan_dir, 0700);
	mkdir(other_dir, 0700);
	lan = (struct net_spec){ .netns = "cfstestn1", .link = "cfstestv1", .link_prefix = "cfstestv", .nft_table = "cfstest",
				 .dir = lan_dir, .dns_domain = "openstacklocal", .mtu = 1450, .seed = 5,
				 .subnets = &lan_subnet, .n_subnets = 1, .hosts = lan_hosts, .n_hosts = 2 };
	other = lan;
	other.netns = "cfstestn2";
	other.link = "cfstestv2";
	other.dir = other_dir;
	other.subnets = other_subnets;
	other.n_subnets = 3;
	other.hosts = other_hosts;
	other.n_hosts = 3;
}

static void snapshot(char *to)
{
	sh("ip -o link | sed 's/^[0-9]*: //'; ip -o addr | sed 's/^[0-9]*: //'; ip netns | sort; nft list tables; ls /run; ls -R %.*s; "
	   "ps -eo args | grep '[d]nsmasq'", (int)(strrchr(lan.dir, '/') - lan.dir), lan.dir);
	memcpy(to, said, sizeof said);
}

static char before[sizeof said];

static void both_come_up(void)
{
	double t0 = now();

	CHECK_INT(net_check(&lan, &e_), -ENOENT);
	CHECK_STR(e_.msg, "network cfstestn1: there is no network namespace cfstestn1");
	t0 = now();
	CHECK_OK(net_up(&lan, &e_));
	printf("# net_up cold: %.1f ms\n", now() - t0);
	t0 = now();
	CHECK_OK(net_up(&other, &e_));
	printf("# net_up cold, the second: %.1f ms\n", now() - t0);
	CHECK_OK(net_check(&lan, &e_));
	CHECK_OK(net_check(&other, &e_));
}

static void doing_it_again_changes_nothing(void)
{
	double best = 1e9, check = 1e9;
	pid_t pid = dnsmasq_pid(&lan);
	AUTO(free) char *state = NULL;

	sh("ip -n cfstestn1 -o addr; ip -o addr; nft -a list ruleset; ip netns exec cfstestn1 nft -a list ruleset");
	state = strdup(said);
	for (int i = 0; i < 5; i++) {
		double t0 = now();

		CHECK_OK(net_up(&lan, &e_));
		best = now() - t0 < best ? now() - t0 : best;
		t0 = now();
		CHECK_OK(net_check(&lan, &e_));
		check = now() - t0 < check ? now() - t0 : check;
	}
	printf("# net_up again: %.1f ms; net_check: %.1f ms\n", best, check);
	sh("ip -n cfstestn1 -o addr; ip -o addr; nft -a list ruleset; ip netns exec cfstestn1 nft -a list ruleset");
	CHECK_STR(said, state);
	CHECK_INT(dnsmasq_pid(&lan), pid);
}

static void ip_netns_knows_them(void)
{
	CHECK_INT(sh("ip netns exec cfstestn1 ip -o -4 addr show br0"), 0);
	CHECK(strstr(said, "10.0.0.1/24") && strstr(said, "169.254.169.254/32"));
}

static void guests_get_their_addresses(void)
{

	guest_boot(&web1, "g-web1", lan_hosts[0].mac);
	guest_boot(&web2, "g-web2", lan_hosts[1].mac);
	guest_boot(&twin, "g-twin", other_hosts[0].mac);
	double t0 = now();

	plug(&web1, lan.netns, "10.0.0.11");
	printf("# tap_plug and tap_plugged: %.1f ms\n", now() - t0);
	struct in_addr a = ip("10.0.0.12");

	t0 = now();
	CHECK_OK(tap_plug(lan.netns, web2.tap, web2.mac, &a, &e_));
	printf("# tap_plug: %.1f ms", now() - t0);
	t0 = now();
	CHECK_OK(tap_plug(lan.netns, web2.tap, web2.mac, &a, &e_));
	printf(", again: %.1f ms\n", now() - t0);
	plug(&twin, other.netns, "10.0.0.12");
	CHECK_STR(dhcp(&web1, 5), "10.0.0.11");
	CHECK_INT(sh("grep -q 'mtu=1450' /run/dhcp.log && grep -q 'staticroutes=169.254.169.254/32 10.0.0.1 0.0.0.0/0 10.0.0.1' "
		     "/run/dhcp.log && grep -q 'router=10.0.0.1' /run/dhcp.log && grep -q 'hostname=web1' /run/dhcp.log && "
		     "grep -q 'lease=86400' /run/dhcp.log && grep -q 'domain=openstacklocal' /run/dhcp.log"), 0);
	CHECK_STR(dhcp(&web2, 5), "10.0.0.12");
	CHECK_STR(dhcp(&twin, 5), "10.0.0.12");
}

static void a_second_subnet_and_one_without_gateway_are_served(void)
{
	guest_boot(&far_, "g-far", other_hosts[1].mac);
	guest_boot(&dark, "g-dark", other_hosts[2].mac);
	plug(&far_, other.netns, "10.9.0.14");
	plug(&dark, other.netns, "10.8.0.15");
	CHECK_STR(dhcp(&far_, 5), "10.9.0.14");
	CHECK_STR(dhcp(&dark, 5), "10.8.0.15");
	CHECK_INT(sh("ip -n g-dark route | grep default"), 1);
}

static void strangers_get_no_answer(void)
{
	static struct guest g;

	guest_boot(&g, "g-who", "52:54:00:00:0f:0f");
	plug(&g, lan.netns, "10.0.0.99");
	CHECK_STR(dhcp(&g, 1), "");
	CHECK_OK(tap_delete(lan.netns, g.tap, &e_));
}

static void names_resolve(void)
{
	CHECK_INT(sh("ip netns exec g-web2 busybox nslookup web1.openstacklocal 10.0.0.1 | grep -q 'Address.*10.0.0.11'"), 0);
	CHECK_INT(sh("ip netns exec g-web2 busybox nslookup web1 10.0.0.1 | grep -q 10.0.0.11"), 0);
	CHECK_INT(sh("ip netns exec g-web2 busybox nslookup nobody.openstacklocal 10.0.0.1 | grep -q NXDOMAIN"), 0);
	CHECK_INT(sh("ip netns exec g-web2 busybox nslookup www.example.test 10.0.0.1 | grep -q 203.0.113.9"), 0);
	/* The same name in the other network is the other network's. */
	CHECK_INT(sh("ip netns exec g-twin busybox nslookup web1 10.0.0.1 | grep -q 10.0.0.11"), 1);
}

static void tell_who_asks(void *arg, const struct http_request *rq, struct http_reply *ret)
{
	char from[INET_ADDRSTRLEN];

	*ret = (struct http_reply){ .status = 200 };
	if (asprintf(&ret->body, "%ld %s", (long)rq->place, inet_ntop(AF_INET, &rq->from, from, sizeof from)) < 0)
		ret->body = NULL;
	ret->len = ret->body ? strlen(ret->body) : 0;
}

#define ASK(guest) "ip netns exec " guest " timeout 5 busybox wget -q -O - http://169.254.169.254/"

/* One process, a socket in each namespace: whose connection it is shows by the socket and the address, equal as that may be. */
static void metadata_requests_are_known_by_network_and_address(void)
{
	AUTO(http_close) struct http *h = NULL;
	uint64_t mark[2] = { 0 };
	int fd[2] = { -1, -1 }, again = -1;

	CHECK_OK(http_open(tell_who_asks, NULL, &h, &e_));
	CHECK_OK(net_listen(lan.netns, &fd[0], &mark[0], &e_));
	CHECK_OK(net_listen(other.netns, &fd[1], &mark[1], &e_));
	CHECK_INT(net_listen(lan.netns, &again, &mark[0], &e_), -EADDRINUSE);
	CHECK(mark[0] && mark[0] == net_mark(lan.netns) && mark[1] == net_mark(other.netns) && mark[0] != mark[1]);
	CHECK_INT(net_mark("cfstestx"), 0);
	CHECK_INT(net_listen("cfstestx", &again, &mark[0], &e_), -ENOENT);
	CHECK_OK(http_listen(h, 1, mark[0], fd[0], &e_));
	CHECK_OK(http_listen(h, 2, mark[1], fd[1], &e_));
	sh(ASK("g-web1"));
	CHECK_STR(said, "1 10.0.0.11");
	sh(ASK("g-web2"));
	CHECK_STR(said, "1 10.0.0.12");
	sh(ASK("g-twin"));
	CHECK_STR(said, "2 10.0.0.12");
	sh(ASK("g-far"));
	CHECK_STR(said, "2 10.9.0.14");
	sh("ip -n g-dark route add 169.254.169.254 dev %s 2>&1; " ASK("g-dark"), dark.nic);	/* what DHCP's option 121 says */
	CHECK(strstr(said, "2 10.8.0.15"));
	sh("ip -n %s route del 10.8.0.0/24 dev br0", other.netns);
	CHECK_INT(net_check(&other, &e_), -ENOENT);
	CHECK_STR(e_.msg, "network cfstestn2: there is no route to the guests of 10.8.0.0/24");
	CHECK_OK(net_up(&other, &e_));
	CHECK_OK(net_check(&other, &e_));
	http_unlisten(h, 1);
	sh(ASK("g-web1") " 2>&1");
	CHECK(!strstr(said, "10.0.0.11"));
}

static void guests_meet_only_in_their_network(void)
{
	server("g-web1", 80);
	CHECK_STR(fetch("g-web2", "10.0.0.11", 80), "10.0.0.12");
	CHECK_STR(fetch_within("g-twin", "10.0.0.11", 80, 300), "");
	/* Nor by the links: a server in the other namespace, asked by its outside address. */
	server(lan.netns, 81);
	sh("ip -n %s -o -4 addr show out0", lan.netns);
	char link[32] = "";

	CHECK_INT(sscanf(said, "%*s %*s inet %31[0-9.]", link), 1);
	CHECK_STR(fetch("", link, 81), link[0] ? (fetch("", link, 81)[0] ? fetch("", link, 81) : "the host") : "");
	CHECK_STR(fetch_within("g-twin", link, 81, 300), "");
}

static void guests_reach_the_outside_by_nat(void)
{
	CHECK_STR(fetch("g-web2", FAR, 80), WAN);
	CHECK_STR(fetch("g-twin", FAR, 80), WAN);
	CHECK_STR(fetch("g-far", FAR, 80), WAN);
}

static void the_outside_does_not_reach_guests(void)
{
	sh("ip -n outside route add 10.0.0.0/24 via " WAN "; ip -n outside route add 100.64.0.0/10 via " WAN);
	CHECK_STR(fetch_within("outside", "10.0.0.11", 80, 300), "");
	CHECK_STR(fetch_within("outside", "100.64.0.22", 81, 300), "");
}

static void the_hosts_addresses_are_out_of_reach(void)
{
	server("", 8080);
	CHECK_STR(fetch("outside", WAN, 8080), FAR);	/* it is there ... */
	CHECK_STR(fetch_within("g-web2", WAN, 8080, 300), "");	/* ... but not for guests */
	sh("ip -o -4 addr show %s", lan.link);
	char link[32] = "";

	CHECK_INT(sscanf(said, "%*s %*s inet %31[0-9.]", link), 1);
	CHECK_STR(fetch_within("g-web2", link, 8080, 300), "");
	/* Nor what somebody publishes there with DNAT. */
	sh("nft 'table ip published { chain p { type nat hook prerouting priority dstnat; tcp dport 8081 dnat to " FAR ":80; }; }'");
	CHECK_STR(fetch_within("g-web2", WAN, 8081, 300), "");
	sh("nft delete table ip published");
}

/* ---- spoofing ---- */

struct frame {
	uint8_t vnet[10];
	uint8_t b[128];
};

static const uint8_t marker[8] = "MARKER!!";

static void mac_bytes(const char *text, uint8_t *to)
{
	sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", to, to + 1, to + 2, to + 3, to + 4, to + 5);
}

static struct frame frame(const char *from, uint16_t type)
{
	struct frame f = { 0 };

	memset(f.b, 0xff, 6);	/* to everybody */
	mac_bytes(from, f.b + 6);
	f.b[12] = (uint8_t)(type >> 8);
	f.b[13] = (uint8_t)type;
	memcpy(f.b + 110, marker, 8);
	return f;
}

static struct frame ip_frame(const char *mac, const char *from, const char *to, int sport, int dport)
{
	struct frame f = frame(mac, 0x0800);
	struct in_addr s = ip(from), d = ip(to);
	const uint8_t head[] = { 0x45, 0, 0, 110, 0, 0, 0, 0, 64, 17 };
	uint32_t sum = 0;

	memcpy(f.b + 14, head, sizeof head);
	memcpy(f.b + 26, &s, 4);
	memcpy(f.b + 30, &d, 4);
	for (int i = 14; i < 34; i += 2)
		sum += (uint32_t)(f.b[i] << 8 | f.b[i + 1]);
	sum = (sum & 0xffff) + (sum >> 16);
	f.b[24] = (uint8_t)(~(sum + (sum >> 16)) >> 8);
	f.b[25] = (uint8_t)~(sum + (sum >> 16));
	f.b[34] = (uint8_t)(sport >> 8);
	f.b[35] = (uint8_t)sport;
	f.b[36] = (uint8_t)(dport >> 8);
	f.b[37] = (uint8_t)dport;
	f.b[39] = 90;
	return f;
}

/* What a client says to DHCP servers: chaddr is whom it speaks of. */
static struct frame dhcp_frame(const char *mac, const char *chaddr, const char *from, const char *to)
{
	struct frame f = ip_frame(mac, from, to, 68, 67);
	struct ether_addr a;

	ether_aton_r(chaddr, &a);
	memcpy(f.b + 42 + 28, &a, sizeof a);
	return f;
}

static struct frame arp_frame(const char *mac, const char *says_mac, const char *says_ip, const char *asks)
{
	struct frame f = frame(mac, 0x0806);
	const uint8_t head[] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	struct in_addr s = ip(says_ip), t = ip(asks);

	memcpy(f.b + 14, head, sizeof head);
	mac_bytes(says_mac, f.b + 22);
	memcpy(f.b + 28, &s, 4);
	memcpy(f.b + 38, &t, 4);
	return f;
}

/* true: the frame web1 sends arrives at web2. */
static bool arrives(struct frame f)
{
	AUTO(close) int fd = sock_in("g-web2", AF_PACKET, SOCK_RAW, 0);
	struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(3) };
	uint8_t got[2048];

	if (fd < 0 || bind(fd, (struct sockaddr *)&all, sizeof all) < 0 || write(web1.fd[0], &f, sizeof f) != sizeof f)
		CHECK_FAIL("send a frame: %s", strerror(errno));
	for (double until = now() + 60; now() < until; ) {
		struct pollfd p = { fd, POLLIN, 0 };

		if (poll(&p, 1, (int)(until - now()) + 1) <= 0)
			break;
		ssize_t n = recv(fd, got, sizeof got, 0);

		if (n > 0 && memmem(got, (size_t)n, marker, 8))
			return true;
	}
	return false;
}

static void nobody_speaks_for_another(void)
{
	const char *me = web1.mac, *him = "52:54:00:00:01:77";

	CHECK(arrives(ip_frame(me, "10.0.0.11", "10.0.0.12", 5, 5)));		/* the frames are good frames */
	CHECK(arrives(arp_frame(me, me, "10.0.0.11", "10.0.0.12")));
	CHECK(arrives(arp_frame(me, me, "0.0.0.0", "10.0.0.11")));		/* has anybody my address? */
	CHECK(arrives(dhcp_frame(me, me, "0.0.0.0", "255.255.255.255")));
	CHECK(arrives(dhcp_frame(me, me, "10.0.0.11", "10.0.0.12")));
	CHECK(!arrives(dhcp_frame(me, him, "0.0.0.0", "255.255.255.255")));	/* declines, gives back what is another's */
	CHECK(!arrives(dhcp_frame(me, him, "10.0.0.11", "10.0.0.12")));
	CHECK(!arrives(dhcp_frame(me, me, "10.0.0.1", "10.0.0.12")));
	CHECK(!arrives(ip_frame(him, "10.0.0.11", "10.0.0.12", 5, 5)));
	CHECK(!arrives(ip_frame(me, "10.0.0.1", "10.0.0.12", 5, 5)));
	CHECK(!arrives(ip_frame(me, "0.0.0.0", "10.0.0.12", 5, 5)));
	CHECK(!arrives(arp_frame(me, me, "10.0.0.1", "10.0.0.12")));
	CHECK(!arrives(arp_frame(me, him, "10.0.0.11", "10.0.0.12")));
	CHECK(!arrives(arp_frame(me, me, "0.0.0.0", "10.0.0.12")));
	CHECK(!arrives(ip_frame(me, "10.0.0.11", "255.255.255.255", 67, 68)));	/* a DHCP server */
	CHECK(!arrives(frame(me, 0x86dd)));					/* IPv6: no router advertisements */
	CHECK(!arrives(frame(me, 0x88cc)));
	CHECK(!arrives(frame(him, 0x0806)));
}

static void another_address_replaces_the_first(void)
{
	struct in_addr a = ip("10.0.0.21"), back = ip("10.0.0.11");

	CHECK_OK(tap_plug(lan.netns, web1.tap, web1.mac, &a, &e_));
	CHECK(arrives(ip_frame(web1.mac, "10.0.0.21", "10.0.0.12", 5, 5)));
	CHECK(!arrives(ip_frame(web1.mac, "10.0.0.11", "10.0.0.12", 5, 5)));
	CHECK_OK(tap_plug(lan.netns, web1.tap, web1.mac, &back, &e_));
	CHECK(arrives(ip_frame(web1.mac, "10.0.0.11", "10.0.0.12", 5, 5)));
}

static void a_flushed_filter_is_repaired(void)
{
	sh("ip netns exec cfstestn1 nft delete table bridge cirrusfs");
	CHECK_INT(tap_plugged(lan.netns, web1.tap), 0);
	CHECK(arrives(ip_frame(web1.mac, "10.0.0.1", "10.0.0.12", 5, 5)));
	plug(&web1, lan.netns, "10.0.0.11");
	plug(&web2, lan.netns, "10.0.0.12");
	CHECK(!arrives(ip_frame(web1.mac, "10.0.0.1", "10.0.0.12", 5, 5)));
	sh("ip netns exec cfstestn1 nft flush chain bridge cirrusfs guest");
	plug(&web1, lan.netns, "10.0.0.11");
	CHECK(!arrives(ip_frame(web1.mac, "10.0.0.1", "10.0.0.12", 5, 5)));
}

/* ---- changes and accidents ---- */

static void new_hosts_are_known_without_a_restart(void)
{
	pid_t pid = dnsmasq_pid(&lan);
	double t0 = now();

	lan.n_hosts = 3;
	CHECK_OK(net_hosts(&lan, &e_));
	printf("# net_hosts: %.1f ms\n", now() - t0);
	for (int i = 0; i < 20; i++)
		if (sh("ip netns exec g-web2 busybox nslookup web3.openstacklocal 10.0.0.1 | grep -q 10.0.0.13") == 0)
			break;
	CHECK_INT(sh("ip netns exec g-web2 busybox nslookup web3.openstacklocal 10.0.0.1 | grep -q 10.0.0.13"), 0);
	CHECK_INT(dnsmasq_pid(&lan), pid);
}

/* dnsmasq keeps an address for whom it leased it to: it must be told that that one is gone. */
static void an_address_can_be_given_to_another(void)
{
	static struct guest heir;
	pid_t pid = dnsmasq_pid(&lan);

	CHECK_OK(tap_delete(lan.netns, web2.tap, &e_));
	snprintf(lan_hosts[1].mac, sizeof lan_hosts[1].mac, "52:54:00:00:01:aa");
	CHECK_OK(net_hosts(&lan, &e_));
	guest_boot(&heir, "g-heir", lan_hosts[1].mac);
	plug(&heir, lan.netns, "10.0.0.12");
	CHECK_STR(dhcp(&heir, 3), "10.0.0.12");
	CHECK_INT(dnsmasq_pid(&lan), pid);
	CHECK_STR(fetch("g-heir", "10.0.0.11", 80), "10.0.0.12");
}

/* A lease of nobody's in dnsmasq's memory, whatever was told it and when: the next look at the network ends it. */
static void a_lease_of_nobody_is_ended(void)
{
	char file[600], conf[600], line[800];
	pid_t pid = dnsmasq_pid(&lan);

	snprintf(file, sizeof file, "%s/leases", lan.dir);
	snprintf(conf, sizeof conf, "%s/dnsmasq.conf", lan.dir);
	CHECK(pid > 0);
	kill(pid, SIGKILL);
	while (dnsmasq_pid(&lan))
		usleep(10000);
	snprintf(line, sizeof line, "echo $(($(date +%%s) + 3600)) 52:54:00:00:66:66 10.0.0.77 ghost '*' >> %s", file);
	CHECK_INT(system(line), 0);
	/* the killed one is gone before the kernel has given up its sockets */
	snprintf(line, sizeof line, "for i in $(seq 500); do ip netns exec %s dnsmasq --conf-file=%s 2> /dev/null && exit 0; sleep 0.01; done; exit 1",
		 lan.netns, conf);
	CHECK_INT(system(line), 0);
	CHECK_OK(net_up(&lan, &e_));
	snprintf(line, sizeof line, "grep -q 10.0.0.77 %s", file);
	CHECK(system(line) != 0);
	snprintf(line, sizeof line, "grep -q 10.0.0.11 %s", file);
	CHECK_INT(system(line), 0);
}

/* What is broken, what net_check says of it, whether dnsmasq lives on. */
static const struct accident {
	const char *command, *says;
	bool dnsmasq_stays;
} accidents[] = {
	{ "kill -9 $(cat lan/dnsmasq.pid)", "dnsmasq does not run", false },
	{ "ip netns exec cfstestn1 nft flush ruleset", "there is no nftables table inet cirrusfs", true },
	{ "nft flush ruleset", "there is no nftables table inet cfstest", true },
	{ "nft flush chain inet cfstest forward", "a rule of chain forward is missing", true },
	{ "nft insert rule inet cfstest input accept", "nftables table inet cfstest", true },
	{ "nft add rule inet cfstest prerouting accept", "chain prerouting has rules that are not ours", true },
	{ "nft delete chain inet cfstest postrouting", "a rule of chain postrouting is missing", true },
	{ "ip link del cfstestv1", "the link cfstestv1 to the outside is missing", true },
	{ "ip link set cfstestv1 down", "the link cfstestv1 to the outside is down", true },
	{ "ip addr flush dev cfstestv1", "the link cfstestv1 has no address", true },
	{ "ip -n cfstestn1 addr flush dev out0", "the link cfstestv1 has no address", true },
	{ "ip -n cfstestn1 route del default", "the default route is missing", true },
	{ "ip -n cfstestn1 link set lo down", "lo is down", true },
	{ "ip -n cfstestn1 addr del 10.0.0.1/24 dev br0", "the bridge has no address 10.0.0.1/24", true },
	{ "ip -n cfstestn1 addr add 10.7.0.1/24 dev br0", "the bridge has address 10.7.0.1/24, which no subnet has", true },
	{ "ip -n cfstestn1 link set br0 down", "the bridge br0 is down", true },
	{ "ip netns exec cfstestn1 sysctl -qw net.ipv4.ip_forward=0", "ip_forward is 0, not 1", true },
	{ "sysctl -qw net.ipv4.ip_forward=0", "ip_forward is 0, not 1", true },
	{ "rm /run/cirrusfs-dns/cfstestn1/hosts", "dnsmasq's files in /run/cirrusfs-dns/cfstestn1 are missing", true },
	{ "echo >lan/dnsmasq.conf", "dnsmasq runs with another configuration", false },
	{ "rm lan/dnsmasq.pid", "dnsmasq does not run", false },
	{ "ip netns del cfstestn1", "there is no network namespace cfstestn1", true },	/* only the name: it gets it back */
	{ "ip -n cfstestn1 link del br0", "the bridge br0 is missing", false },
};

static void what_breaks_is_named_and_mended(void)
{
	for (size_t i = 0; i < ARRAY_LEN(accidents); i++) {
		const struct accident *a = &accidents[i];
		pid_t pid = dnsmasq_pid(&lan), others = dnsmasq_pid(&other);

		CHECK_INT(sh("cd %.*s && %s", (int)(strrchr(lan.dir, '/') - lan.dir), lan.dir, a->command), 0);
		CHECK_INT(net_check(&lan, &e_), -ENOENT);
		if (!strstr(e_.msg, a->says))
			CHECK_FAIL("after '%s' net_check says: %s", a->command, e_.msg);
		CHECK_OK(net_up(&lan, &e_));
		if (net_check(&lan, &e_) < 0)
			CHECK_FAIL("after '%s' and net_up: %s", a->command, e_.msg);
		if ((pid == dnsmasq_pid(&lan)) != a->dnsmasq_stays)
			CHECK_FAIL("after '%s' dnsmasq %s", a->command, a->dnsmasq_stays ? "was restarted" : "is the same");
		plug(&web1, lan.netns, "10.0.0.11");
		if (strcmp(fetch("g-web1", FAR, 80), WAN) != 0)
			CHECK_FAIL("after '%s' the guest does not reach the outside", a->command);
		CHECK_INT(dnsmasq_pid(&other), others);
	}
	CHECK_STR(dhcp(&web1, 5), "10.0.0.11");
	CHECK(!arrives(ip_frame(web1.mac, "10.0.0.1", "10.0.0.12", 5, 5)));
}

static void a_namespace_that_is_gone_is_made_anew(void)
{

	sh("kill -9 $(cat %s/dnsmasq.pid); ip netns del cfstestn1", lan.dir);
	CHECK_INT(net_check(&lan, &e_), -ENOENT);
	CHECK_OK(net_up(&lan, &e_));
	CHECK_OK(net_check(&lan, &e_));
}

static void a_file_instead_of_a_namespace_is_a_namespace_missing(void)
{
	AUTO(close) int fd = open(NETNS_DIR "/cfstestx", O_CREAT | O_RDONLY | O_CLOEXEC, 0);
	AUTO(close) int ns = -1;

	CHECK_INT(ns_open("cfstestx", &ns, &e_), -ENOENT);
	CHECK_OK(ns_make("cfstestx", 0, &ns, &e_));
	CHECK_INT(sh("ip -n cfstestx link show lo"), 0);
	CHECK_OK(ns_remove("cfstestx", &e_));
}

static void no_dnsmasq_is_said_before_anything_is_made(void)
{
	struct net_spec n = lan;

	n.netns = "cfstestn9";
	n.link = "cfstestv9";
	setenv("CIRRUSFS_PATH", "/nowhere", 1);
	CHECK_INT(net_up(&n, &e_), -ENOENT);
	CHECK_STR(e_.msg, "the program dnsmasq is not installed");
	unsetenv("CIRRUSFS_PATH");
	CHECK(access(NETNS_DIR "/cfstestn9", F_OK) < 0);
}

/* ---- many at once ---- */

#define MANY 8

struct one {
	struct net_spec n;
	struct net_subnet s;
	char netns[32], link[32], dir[64];
	struct err e;
	int rc;
};

static void *up_one(void *arg)
{
	struct one *o = arg;

	o->rc = net_up(&o->n, &o->e);
	return NULL;
}

static void *down_one(void *arg)
{
	struct one *o = arg;

	o->rc = net_down(&o->n, &o->e);
	rmdir(o->dir);
	return NULL;
}

static void at_once(struct one *o, void *(*fn)(void *arg))
{
	pthread_t t[MANY];

	for (int i = 0; i < MANY; i++)
		pthread_create(&t[i], NULL, fn, &o[i]);
	for (int i = 0; i < MANY; i++) {
		pthread_join(t[i], NULL);
		if (o[i].rc < 0)
			CHECK_FAIL("%s", o[i].e.msg);
	}
}

static void many_come_up_at_once(void)
{
	static struct one o[MANY];
	double t0;

	for (int i = 0; i < MANY; i++) {
		snprintf(o[i].netns, sizeof o[i].netns, "cfstestm%d", i);
		snprintf(o[i].link, sizeof o[i].link, "cfsmanyv%d", i);
		snprintf(o[i].dir, sizeof o[i].dir, "%.40s.%d", lan.dir, i);
		mkdir(o[i].dir, 0700);
		o[i].s = lan_subnet;
		o[i].n = lan;
		o[i].n.netns = o[i].netns;
		o[i].n.link = o[i].link;
		o[i].n.link_prefix = "cfsmanyv";
		o[i].n.nft_table = "cfsmany";
		o[i].n.dir = o[i].dir;
	}
	t0 = now();
	at_once(o, up_one);
	printf("# net_up of %d at once: %.1f ms\n", MANY, now() - t0);
	for (int i = 0; i < MANY; i++)
		CHECK_OK(net_check(&o[i].n, &e_));
	sh("ip -o -4 addr show | grep 'inet 100[.]' | awk '{print $4}' | sort | uniq -d");
	CHECK_STR(said, "");	/* no address twice */
	sh("ip -o -4 addr show | grep -c 'inet 100[.]'");
	CHECK_INT(atoi(said), MANY + 2);
	t0 = now();
	at_once(o, down_one);
	printf("# net_down of %d at once: %.1f ms\n", MANY, now() - t0);
	CHECK_OK(net_host_down("cfsmany", &e_));
}

static void taps_are_deleted_wherever_they_are(void)
{

	CHECK_OK(tap_create("t-lost", "nobody", 1450, &e_));
	CHECK_OK(tap_delete(lan.netns, "t-lost", &e_));
	CHECK_INT(sh("ip link show t-lost"), 1);
	CHECK_OK(tap_delete(lan.netns, web1.tap, &e_));
	CHECK_OK(tap_delete(lan.netns, web1.tap, &e_));
	CHECK_OK(tap_delete("cfstestgone", "t-lost", &e_));
	CHECK_INT(tap_delete(lan.netns, "wan0", &e_), -EEXIST);	/* not ours to delete */
	CHECK_INT(sh("ip netns exec cfstestn1 nft list table bridge cirrusfs | grep t-g-web1"), 1);
	CHECK_INT(tap_plugged(lan.netns, web1.tap), 0);
	e_ = (struct err){ 0 };
	CHECK_INT(tap_plug(lan.netns, "t-lost", web1.mac, NULL, &e_), -ENOENT);
	CHECK_STR(e_.msg, "there is no tap t-lost");
}

/* Like a qemu with two NICs: the second one's tap goes, and comes back through the same descriptor. */
static void a_process_is_given_its_deleted_tap_back(void)
{
	static const char *const taps[] = { "t-back0", "t-back1" };
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	char frame[2048];
	int fds[2];

	for (int i = 0; i < 2; i++) {
		CHECK_OK(tap_create(taps[i], "nobody", 1450, &e_));
		fds[i] = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", taps[i]);
		CHECK_INT(ioctl(fds[i], TUNSETIFF, &ifr), 0);
	}
	pid_t pid = fork();	/* one that has these two and no others */
	if (pid == 0) {
		for (int fd = 3; fd < 1024; fd++)
			if (fd != fds[0] && fd != fds[1])
				close(fd);
		pause();
		_exit(0);
	}
	while (sh("ls /proc/%d/fd | wc -l | grep -qx 5", pid) != 0)
		usleep(10000);
	e_ = (struct err){ 0 };
	CHECK_INT(tap_restore(taps[1], "nobody", 1450, pid, 1, 2, &e_), -ENOENT);	/* it has it */
	CHECK_INT(sh("ip link del %s", taps[1]), 0);
	CHECK(read(fds[1], frame, sizeof frame) < 0 && errno == EBADFD);
	e_ = (struct err){ 0 };
	CHECK_INT(tap_restore(taps[1], "nobody", 1450, pid, 1, 3, &e_), -ENOENT);	/* another machine than thought */
	CHECK_OK(tap_restore(taps[1], "nobody", 1450, pid, 1, 2, &e_));
	CHECK(read(fds[1], frame, sizeof frame) < 0 && errno == EAGAIN);
	CHECK_OK(tap_plug(lan.netns, taps[1], "fa:16:3e:00:00:99", NULL, &e_));
	CHECK_INT(tap_plugged(lan.netns, taps[1]), 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	for (int i = 0; i < 2; i++) {
		close(fds[i]);
		CHECK_OK(tap_delete(lan.netns, taps[i], &e_));
	}
}

struct tally {
	int namespaces, links, dns, tables;
};

static void tally(void *arg, const struct net_found *f)
{
	struct tally *t = arg;

	t->namespaces += f->what == NET_NAMESPACE;
	t->links += f->what == NET_LINK && strcmp(f->name, "cfstestvzz") == 0 && !*f->netns;
	t->dns += f->what == NET_DNS_DIR;
	t->tables += f->what == NET_TABLE;
}

static void what_stands_under_a_name_is_listed(void)
{
	const struct net_names names = { "cfstestn", "cfstestv", "cfstest", "/nonexistent" };
	struct tally t = { 0 };

	CHECK_INT(sh("ip link add cfstestvzz type veth peer name stray && mkdir -p /run/cirrusfs-dns/cfstestn77 && ip netns add cfstestn77"), 0);
	CHECK_OK(net_list(&names, tally, &t, &e_));
	CHECK_INT(t.links, 1);
	CHECK_INT(t.tables, 1);
	CHECK_INT(t.namespaces, 3);
	CHECK_INT(t.dns, 3);
	CHECK_OK(net_link_delete("cfstestvzz", &e_));
	CHECK_OK(net_link_delete("cfstestvzz", &e_));
	CHECK_INT(sh("ip netns del cfstestn77; rmdir /run/cirrusfs-dns/cfstestn77; ip link show cfstestvzz"), 1);
}

static void nothing_is_left(void)
{
	static char after[sizeof said];
	struct guest *const guests[] = { &web1, &web2, &twin, &far_, &dark };
	double t0;

	for (size_t i = 0; i < ARRAY_LEN(guests); i++)
		tap_delete(guests[i] == &web1 || guests[i] == &web2 ? lan.netns : other.netns, guests[i]->tap, &e_);
	sh("for g in $(ip netns | grep ^g-); do ip netns del $g; done; sleep 0.1");
	sh("ip netns del %s", other.netns);	/* its dnsmasq goes on in a namespace without a name */
	t0 = now();
	CHECK_OK(net_down(&lan, &e_));
	printf("# net_down: %.1f ms\n", now() - t0);
	CHECK_OK(net_down(&lan, &e_));
	CHECK_OK(net_down(&other, &e_));
	CHECK_OK(net_host_down("cfstest", &e_));
	CHECK_OK(net_host_down("cfstest", &e_));
	snapshot(after);
	CHECK_STR(after, before);
}

/* ---- the machine ---- */

static int tests(void)
{
	char dir[] = "/run/store-XXXXXX";
	static const char script[] = "#!/bin/sh\n"
		"[ \"$1\" = bound ] || exit 0\nset > /run/dhcp.log.q\ntr -d \"'\" < /run/dhcp.log.q > /run/dhcp.log\n"
		"ip addr add $ip/$mask dev $interface\n[ -n \"$router\" ] && ip route replace default via $router\n"
		"echo GOT $ip\n";

	if (!mkdtemp(dir))
		return 1;
	FILE *f = fopen("/run/dhcp.sh", "we");

	fputs(script, f);
	fclose(f);
	chmod("/run/dhcp.sh", 0755);
	sh("touch /run/dhcp.log /run/dhcp.log.q; ip link set lo up; ip netns add outside; ip link add wan0 type veth peer name eth0 netns outside; "
	   "ip addr add " WAN "/24 dev wan0; ip link set wan0 up; ip route add default via " FAR "; "
	   "sysctl -qw net.ipv6.conf.all.disable_ipv6=1; "
	   "ip -n outside addr add " FAR "/24 dev eth0; ip -n outside link set eth0 up; ip -n outside link set lo up; "
	   "ip netns exec outside dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --address=/example.test/203.0.113.9 "
	   "--pid-file=/run/far.pid --log-facility=/run/far.log; echo nameserver " FAR " > /run/resolv.conf; "
	   "mount --bind /run/resolv.conf /etc/resolv.conf");
	server("outside", 80);
	specs(dir);
	snapshot(before);
	RUN(no_dnsmasq_is_said_before_anything_is_made);
	RUN(both_come_up);
	RUN(doing_it_again_changes_nothing);
	RUN(ip_netns_knows_them);
	RUN(guests_get_their_addresses);
	RUN(a_second_subnet_and_one_without_gateway_are_served);
	RUN(strangers_get_no_answer);
	RUN(names_resolve);
	RUN(metadata_requests_are_known_by_network_and_address);
	RUN(guests_meet_only_in_their_network);
	RUN(guests_reach_the_outside_by_nat);
	RUN(the_outside_does_not_reach_guests);
	RUN(the_hosts_addresses_are_out_of_reach);
	RUN(nobody_speaks_for_another);
	RUN(another_address_replaces_the_first);
	RUN(a_flushed_filter_is_repaired);
	RUN(new_hosts_are_known_without_a_restart);
	RUN(an_address_can_be_given_to_another);
	RUN(a_lease_of_nobody_is_ended);
	RUN(what_breaks_is_named_and_mended);
	RUN(a_namespace_that_is_gone_is_made_anew);
	RUN(a_file_instead_of_a_namespace_is_a_namespace_missing);
	RUN(many_come_up_at_once);
	RUN(taps_are_deleted_wherever_they_are);
	RUN(a_process_is_given_its_deleted_tap_back);
	RUN(what_stands_under_a_name_is_listed);
	RUN(nothing_is_left);
	return DONE();
}

static int skip(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

/* pid 1 of the machine: waits for the tests and for everything that loses its parent. */
static int init(void)
{
	int status, rc = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (mount("", "/", "none", MS_REC | MS_PRIVATE, NULL) < 0 || mount("proc", "/proc", "proc", 0, NULL) < 0 ||
	    mount("tmpfs", "/run", "tmpfs", 0, "mode=755") < 0)
		return skip("no mounts of our own here"), fflush(stdout), 0;
	pid_t tester = fork();

	if (tester == 0)
		exit(tests());
	for (pid_t pid; (pid = waitpid(-1, &status, 0)) > 0 || errno == EINTR; )
		if (pid == tester) {
			rc = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
			break;
		}
	return rc;	/* and with us everything that still runs here */
}

int main(void)
{
	static const char *const programs[] = { "/usr/sbin/dnsmasq", "/bin/busybox", "/dev/net/tun" };
	int status;

	if (geteuid() != 0)
		return skip("needs root");
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		if (access(programs[i], F_OK) < 0)
			return printf("1..0 # SKIP needs %s\n", programs[i]), 0;
	if (sh("command -v ip && command -v nft") != 0)
		return skip("needs ip and nft");
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID) < 0)
		return skip("no namespaces of our own here");
	fflush(stdout);
	pid_t pid = fork();

	if (pid == 0)
		_exit(init());
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);	/* no leak check: it needs a thread, and our pid 1 is gone */
}
