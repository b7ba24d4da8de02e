/* A guest's tap: made in the host's namespace, where qemu opens it, then moved to the network's with qemu's descriptor still
 * on it, put on the bridge and guarded. */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>

#include "../base/log.h"

AUTO_FN(DIR *, closedir);

static int name_fits(const char *tap, struct err *e)
{
	if (!*tap || strlen(tap) > LINK_NAME_MAX || strpbrk(tap, "/ \t\n\"\\*{}"))
		return err_set(e, EINVAL, "'%s' cannot be the name of a tap", tap);
	return 0;
}

/* 1 there, 0 not; EEXIST when something else has the name. */
static int tap_get(struct nl_sock *rt, const char *tap, struct link *ret, struct err *e)
{
	int rc = link_get(rt, tap, ret, e);

	if (rc > 0 && strcmp(ret->kind, "tun") != 0)
		return err_set(e, EEXIST, "link %s is there and is no tap", tap);
	return rc;
}

static int tap_make(const char *tap, const char *user, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct passwd mem, *pw = NULL;
	char buf[4096];

	if (user && (getpwnam_r(user, &mem, buf, sizeof buf, &pw) || !pw))
		return err_set(e, ENOENT, "there is no user '%s' to own tap %s", user, tap);
	AUTO(close) int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, errno, "open /dev/net/tun: %m");
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", tap);
	/* The owner first: what persists has one, whenever we die. */
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || (pw && ioctl(fd, TUNSETOWNER, (unsigned long)pw->pw_uid) < 0) ||
	    ioctl(fd, TUNSETPERSIST, 1UL) < 0)
		return err_set(e, errno, "make tap %s: %m", tap);
	return 0;
}

int tap_create(const char *tap, const char *user, unsigned mtu, struct err *e)
{
	AUTO(side_close) struct side host = { 0 };
	struct link l = { 0 };
	int rc = name_fits(tap, e);

	if (rc < 0 || (rc = side_open(-1, false, &host, e)) < 0 || (rc = tap_get(host.rt, tap, &l, e)) < 0)
		return rc;
	if (rc == 0 && (rc = tap_make(tap, user, e)) < 0)
		return rc;
	return mtu && l.mtu != mtu ? link_set(host.rt, tap, &(struct link_change){ .mtu = mtu }, e) : 0;
}

/* A kernel without bridge tables must still run guests, unguarded. */
static int guard(struct nft_ctx *nft, const char *tap, const char *mac, const struct in_addr *address, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	struct err why = { 0 };
	int rc = nft_without_bridge ? 0 : nft_bridge_rules(&r, e);

	if (rc == 0 && !nft_without_bridge && nft_look(nft, &r, &why) == -ENOENT)
		rc = nft_put_bridge(nft, e);
	if (rc == 0 && !nft_without_bridge)
		rc = nft_tap(nft, tap, mac, address, e);
	return rc < 0 ? err_prefix(e, "guard tap %s", tap) : 0;
}

/* Into the namespace, from the host's.  When both have one of that name the host's is the new one. */
static int fetch(struct side *host, struct side *ns, int ns_fd, const char *netns, const char *tap, struct link *ret, struct err *e)
{
	struct link here;
	int rc = tap_get(host->rt, tap, &here, e), there;

	if (rc < 0 || (there = tap_get(ns->rt, tap, ret, e)) < 0)
		return rc < 0 ? rc : there;
	if (!rc && !there)
		return err_set(e, ENOENT, "there is no tap %s", tap);
	if (!rc)
		return 0;
	if (there && (rc = link_delete(ns->rt, tap, e)) < 0)
		return rc;
	rc = link_set(host->rt, tap, &(struct link_change){ .ns_fd = ns_fd }, e);
	if (rc < 0)
		return err_prefix(e, "to network %s", netns);
	rc = tap_get(ns->rt, tap, ret, e);
	return rc > 0 ? 0 : rc < 0 ? rc : err_set(e, ENOENT, "tap %s vanished on its way to network %s", tap, netns);
}

int tap_plug(const char *netns, const char *tap, const char *mac, const struct in_addr *address, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(netns);
	AUTO(side_close) struct side host = { 0 }, ns = { 0 };
	AUTO(close) int fd = -1;
	struct link bridge, l;
	int rc = name_fits(tap, e);

	if (rc < 0 || (rc = ns_open(netns, &fd, e)) < 0 || (rc = side_open(-1, false, &host, e)) < 0 ||
	    (rc = side_open(fd, true, &ns, e)) < 0 || (rc = link_get(ns.rt, NET_BRIDGE, &bridge, e)) < 0)
		return rc;
	if (rc == 0)
		return err_set(e, ENOENT, "network %s has no bridge", netns);
	/* The guard stands before the first frame can pass. */
	if ((rc = guard(ns.nft, tap, mac, address, e)) < 0 || (rc = fetch(&host, &ns, fd, netns, tap, &l, e)) < 0)
		return rc;
	if (l.master == bridge.index && l.up)
		return 0;
	return link_set(ns.rt, tap, &(struct link_change){ .up = 1, .master = bridge.index }, e);
}

/* ---- all of a network's, when it is mended ---- */

static bool listed(const char *taps, const char *tap)
{
	char word[LINK_NAME_MAX + 3];

	snprintf(word, sizeof word, " %.15s ", tap);
	return strstr(taps, word);
}

/* It is there, and not as it should be.  `guarded` NULL: this kernel guards none. */
static bool is_loose(const struct link *l, const char *tap, int bridge, const char *guarded)
{
	return l && (l->master != bridge || !l->up || (guarded && !listed(guarded, tap)));
}

static int taps(const struct net_spec *n, const struct side *ns, int bridge, bool act, struct err *e)
{
	AUTO(free) struct link_named *links = NULL;
	AUTO(free) char *guarded = NULL;
	size_t n_links = 0;
	int rc = link_list(ns->rt, &links, &n_links, e);

	if (rc == 0 && !nft_without_bridge)
		rc = nft_taps(ns->nft, &guarded, e);
	if (rc == -ENOENT && !act)	/* said already: there is no such table */
		return 0;
	for (size_t i = 0; rc == 0 && i < n->n_hosts; i++) {
		const struct net_host *h = &n->hosts[i];

		if (!*h->tap || !is_loose(link_in(links, n_links, h->tap), h->tap, bridge, guarded))
			continue;
		if (!act)
			return err_set(e, ENOENT, "tap %s is not on the bridge or not guarded", h->tap);
		rc = guard(ns->nft, h->tap, h->mac, &h->address, e);
		if (rc == 0)
			rc = link_set(ns->rt, h->tap, &(struct link_change){ .up = 1, .master = bridge }, e);
	}
	return rc;
}

int taps_look(const struct net_spec *n, const struct side *ns, int bridge, struct err *e)
{
	return taps(n, ns, bridge, false, e);
}

int taps_act(const struct net_spec *n, const struct side *ns, int bridge, struct err *e)
{
	return taps(n, ns, bridge, true, e);
}

static int delete_from(struct side *s, const char *tap, struct err *e)
{
	struct link l;
	int rc = tap_get(s->rt, tap, &l, e);

	return rc > 0 ? link_delete(s->rt, tap, e) : rc;
}

int tap_delete(const char *netns, const char *tap, struct err *e)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(netns);
	AUTO(side_close) struct side host = { 0 }, ns = { 0 };
	AUTO(close) int fd = -1;
	struct err none = { 0 };
	int rc = name_fits(tap, e), rc2;

	if (rc < 0 || (rc = side_open(-1, false, &host, e)) < 0 || (rc = delete_from(&host, tap, e)) < 0)
		return rc;
	rc = ns_open(netns, &fd, &none);
	if (rc == -ENOENT)
		return 0;
	if (rc < 0 || (rc2 = side_open(fd, true, &ns, &none)) < 0) {
		*e = none;
		return -e->code;
	}
	if ((rc = delete_from(&ns, tap, e)) < 0)
		return rc;
	rc = nft_tap(ns.nft, tap, NULL, NULL, &none);	/* after: it is guarded to its end */
	if (rc < 0 && rc != -ENOENT)
		log_warn("network %s: remove the filter of tap %s: %s", netns, tap, none.msg);
	return 0;
}

int tap_plugged(const char *netns, const char *tap)
{
	AUTO(net_unlock) struct net_lock lock = net_lock(netns);
	AUTO(side_close) struct side ns = { 0 };
	AUTO(close) int fd = -1;
	struct err none = { 0 };
	struct link bridge, l;

	return name_fits(tap, &none) == 0 && ns_open(netns, &fd, &none) == 0 && side_open(fd, true, &ns, &none) == 0 &&
	       link_get(ns.rt, NET_BRIDGE, &bridge, &none) == 1 && link_get(ns.rt, tap, &l, &none) == 1 &&
	       l.master == bridge.index && l.up && (nft_without_bridge || nft_tap_there(ns.nft, tap));
}

/* ---- one that was deleted under a process that has it open
 *
 * The kernel lets go of the file and keeps it; it may be attached to a new tap, by the process itself or by whoever has its
 * descriptor (pidfd_getfd).  Which of its files is which NIC: qemu has them in the order it was given them. */

struct tun_file {
	int fd;
	bool lost;
};

static int by_fd(const void *a, const void *b)
{
	return ((const struct tun_file *)a)->fd - ((const struct tun_file *)b)->fd;
}

/* fdinfo's line "iff:" names the device; of a file without one it is empty. */
static bool is_lost(pid_t pid, const char *fd)
{
	char path[64], line[128];

	snprintf(path, sizeof path, "/proc/%d/fdinfo/%.16s", pid, fd);
	AUTO(fclose) FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "iff:", 4) == 0)
			return !line[4 + strspn(line + 4, " \t\n")];
	return false;
}

static size_t tun_files(pid_t pid, struct tun_file *v, size_t room)
{
	char path[64], to[64];
	size_t n = 0;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	AUTO(closedir) DIR *d = opendir(path);

	for (struct dirent *de; d && n < room && (de = readdir(d)); ) {
		ssize_t len = readlinkat(dirfd(d), de->d_name, to, sizeof to - 1);

		if (len <= 0)
			continue;
		to[len] = '\0';
		if (strcmp(to, "/dev/net/tun") == 0)
			v[n++] = (struct tun_file){ atoi(de->d_name), is_lost(pid, de->d_name) };
	}
	qsort(v, n, sizeof *v, by_fd);
	return n;
}

int tap_restore(const char *tap, const char *user, unsigned mtu, pid_t pid, unsigned nth, unsigned n_nics, struct err *e)
{
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int header = sizeof(struct virtio_net_hdr_mrg_rxbuf);	/* what virtio 1.0 and mergeable buffers both have; it went with the tap */
	struct tun_file files[64];
	AUTO(close) int pidfd = pidfd_open(pid, 0);
	int rc = name_fits(tap, e);

	if (rc < 0)
		return rc;
	if (pidfd < 0 || tun_files(pid, files, ARRAY_LEN(files)) != n_nics || nth >= n_nics || !files[nth].lost)
		return err_set(e, ENOENT, "process %d has no open tap that was deleted", pid);
	AUTO(close) int fd = pidfd_getfd(pidfd, files[nth].fd, 0);
	if (fd < 0)
		return err_set(e, errno, "take descriptor %d of process %d: %m", files[nth].fd, pid);
	if ((rc = tap_create(tap, user, mtu, e)) < 0)
		return rc;
	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", tap);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0)
		return err_set(e, errno, "give tap %s back to process %d: %m", tap, pid);
	return 0;
}
