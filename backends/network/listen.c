/* The metadata address of a network: a listening socket in its namespace, made by a thread that is there for a moment. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define META_PORT 80

static int listen_here(void *arg, struct err *e)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(META_PORT) };
	AUTO(close) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	const int one = 1;

	inet_pton(AF_INET, DNS_META, &at.sin_addr);
	/* FREEBIND: it stays where it is while the bridge and its addresses are made anew */
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
	    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one) < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		return err_set(e, errno, "listen on " DNS_META ":%d: %m", META_PORT);
	*(int *)arg = steal_fd(&fd);
	return 0;
}

int net_listen(const char *netns, int *ret, uint64_t *mark, struct err *e)
{
	AUTO(close) int ns = -1;
	int rc = ns_open(netns, &ns, e);

	if (rc == 0)
		rc = ns_run(ns, listen_here, ret, e);
	if (rc < 0)
		return err_prefix(e, "network %s", netns);
	*mark = ns_inode(ns);
	return 0;
}

uint64_t net_mark(const char *netns)
{
	AUTO(close) int ns = -1;

	return ns_open(netns, &ns, &(struct err){ 0 }) == 0 ? ns_inode(ns) : 0;
}
