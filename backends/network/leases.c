/* Leases dnsmasq keeps of hosts that are no more.  Their addresses it gives to nobody until they end, a day later. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ether.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define QUIET_MS 30	/* dnsmasq writes its file in place: one changed since may be half there */
#define LOOK_MS 10
#define LOOKS 40

struct lease {
	struct ether_addr mac;
	struct in_addr address;
};

static bool has_host(const struct net_spec *n, const struct lease *l)
{
	struct ether_addr m;

	for (size_t i = 0; i < n->n_hosts; i++)
		if (n->hosts[i].address.s_addr == l->address.s_addr && ether_aton_r(n->hosts[i].mac, &m) &&
		    memcmp(&m, &l->mac, sizeof m) == 0)
			return true;
	return false;
}

/* A line of the file: when it ends, MAC, address, name, client's identifier. */
static bool lease_read(const char *line, struct lease *ret)
{
	char mac[32], ip[32];

	return sscanf(line, "%*s %31s %31s", mac, ip) == 2 && ether_aton_r(mac, &ret->mac) &&
	       inet_pton(AF_INET, ip, &ret->address) == 1;
}

/* The address dnsmasq answers that client from: what it takes for itself in a release. */
static struct in_addr server_for(const struct net_spec *n, struct in_addr a)
{
	struct in_addr ret;

	inet_pton(AF_INET, DNS_META, &ret);
	for (size_t i = 0; i < n->n_subnets; i++) {
		const struct net_subnet *s = &n->subnets[i];
		uint32_t mask = htonl(s->prefix ? ~0u << (32 - s->prefix) : 0);

		if (s->gateway.s_addr && (a.s_addr & mask) == (s->address.s_addr & mask))
			ret = s->gateway;
	}
	return ret;
}

/* A client's DHCPRELEASE (RFC 2131), said for one that cannot say it any more; as dnsmasq's own dhcp_release does. */
static int release(int sock, const struct lease *l, struct in_addr server, struct err *e)
{
	uint8_t m[300] = { 1, 1, 6 };	/* request, Ethernet, address of six bytes */
	static const uint8_t head[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 7, 54, 4 };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(67), .sin_addr = server };

	memcpy(m + 12, &l->address, 4);
	memcpy(m + 28, &l->mac, 6);
	memcpy(m + 236, head, sizeof head);
	memcpy(m + 236 + sizeof head, &server, 4);
	m[236 + sizeof head + 4] = 255;
	if (sendto(sock, m, sizeof m, 0, (struct sockaddr *)&to, sizeof to) < 0)
		return err_set(e, errno, "release a lease: %m");
	return 0;
}

struct walk {
	const struct net_spec *n;
	char *text;		/* the file; cut into lines */
	FILE *rest;		/* the lines that may stay */
	int stale;
};

static int release_here(void *arg, struct err *e)
{
	struct walk *w = arg;
	AUTO(close) int sock = -1;

	for (char *save, *line = strtok_r(w->text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		struct lease l;

		if (!lease_read(line, &l) || has_host(w->n, &l)) {
			fprintf(w->rest, "%s\n", line);
			continue;
		}
		w->stale++;
		if (sock < 0 && ((sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0 ||
				 setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, NET_BRIDGE, sizeof NET_BRIDGE) < 0))
			return err_set(e, errno, "release leases: %m");
		if (release(sock, &l, server_for(w->n, l.address), e) < 0)
			return -e->code;
	}
	return 0;
}

static bool quiet(const char *file)
{
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	if (stat(file, &st) < 0)
		return true;
	long ms = (now.tv_sec - st.st_mtim.tv_sec) * 1000 + (now.tv_nsec - st.st_mtim.tv_nsec) / 1000000;

	return ms < 0 || ms >= QUIET_MS;
}

static bool any_stale(const struct net_spec *n, const char *text)
{
	for (const char *line = text; line && *line; line += strcspn(line, "\n"), line += *line == '\n') {
		struct lease l;

		if (lease_read(line, &l) && !has_host(n, &l))
			return true;
	}
	return false;
}

int leases_release(const struct net_spec *n, int ns_fd, const char *file, char **rest, struct err *e)
{
	struct walk w = { .n = n };
	const struct timespec pause = { 0, LOOK_MS * 1000000L };

	*rest = NULL;
	for (int look = 0; look < LOOKS; look++) {
		AUTO(free) char *text = quiet(file) ? slurp(file) : NULL;
		size_t size;
		int rc = 0;

		if (text && !any_stale(n, text))
			return 0;
		if (!text && access(file, F_OK) < 0)
			return 0;
		if (text) {
			free(*rest);
			w = (struct walk){ .n = n, .text = text, .rest = open_memstream(rest, &size) };
			if (!w.rest)
				return err_set(e, ENOMEM, "release leases: %m");
			rc = ns_run(ns_fd, release_here, &w, e);
			if (fclose(w.rest) < 0)
				return err_set(e, ENOMEM, "release leases: %m");
		}
		if (rc < 0)
			return rc;
		nanosleep(&pause, NULL);
	}
	return w.stale;
}
