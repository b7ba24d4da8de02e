/* DHCP and DNS of a network: one dnsmasq in its namespace, detached, which outlives us and is found again.
 *
 * dnsmasq reads its configuration and opens the lease file as root and then becomes another user, who must be able to read
 * the hosts at every SIGHUP.  The store may lie where that user cannot go, so those files are below RUN_DIR, in a directory
 * named for the namespace: they are made from the state anyway.  Configuration, pidfile, log and leases stay in spec->dir. */
#include "parts.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/ether.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "../base/dir.h"
#include "../base/log.h"
#include "../base/spawn.h"

#define RUN_DIR DNS_RUN_DIR
#define LEASE_S 86400
#define LOG_MAX (1 << 20)	/* its log begins anew beyond this */

AUTO_FN(DIR *, closedir);

struct paths {
	char conf[512], pid[512], leases[512], log[512], told[512];	/* in spec->dir; told: dnsmasq knows the present hosts */
	char run[300], hosts[320], names[320], resolv[320];	/* in RUN_DIR */
};

static struct paths paths_of(const struct net_spec *n)
{
	struct paths p;

	snprintf(p.conf, sizeof p.conf, "%s/dnsmasq.conf", n->dir);
	snprintf(p.pid, sizeof p.pid, "%s/dnsmasq.pid", n->dir);
	snprintf(p.leases, sizeof p.leases, "%s/leases", n->dir);
	snprintf(p.log, sizeof p.log, "%s/dnsmasq.log", n->dir);
	snprintf(p.told, sizeof p.told, "%s/hosts-told", n->dir);
	snprintf(p.run, sizeof p.run, RUN_DIR "/%.255s", n->netns);
	snprintf(p.hosts, sizeof p.hosts, "%s/hosts", p.run);
	snprintf(p.names, sizeof p.names, "%s/names", p.run);
	snprintf(p.resolv, sizeof p.resolv, "%s/resolv", p.run);
	return p;
}

/* ---- what stands in the files ---- */

static const char *ip_text(struct in_addr a, char text[INET_ADDRSTRLEN])
{
	return inet_ntop(AF_INET, &a, text, INET_ADDRSTRLEN);
}

static void conf_subnet(FILE *f, const struct net_spec *n, const struct net_subnet *s, size_t i)
{
	char net[INET_ADDRSTRLEN], mask[INET_ADDRSTRLEN], gw[INET_ADDRSTRLEN], text[INET_ADDRSTRLEN];
	struct in_addr m = { htonl(s->prefix ? ~0u << (32 - s->prefix) : 0) };

	ip_text(s->address, net);
	fprintf(f, "dhcp-range=set:s%zu,%s,static,%s,%d\n", i, net, ip_text(m, mask), LEASE_S);
	if (s->gateway.s_addr) {
		ip_text(s->gateway, gw);
		fprintf(f, "dhcp-option=tag:s%zu,option:router,%s\n", i, gw);
		/* Who obeys option 121 ignores the router's: the default route stands here again (RFC 3442). */
		fprintf(f, "dhcp-option=tag:s%zu,121," DNS_META "/32,%s,0.0.0.0/0,%s\n", i, gw, gw);
	} else {
		/* The bridge has no address of that subnet: dnsmasq answers from the metadata's. */
		fprintf(f, "shared-network=" DNS_META ",%s\n", net);
		fprintf(f, "dhcp-option=tag:s%zu,option:router\n", i);
		fprintf(f, "dhcp-option=tag:s%zu,121," DNS_META "/32,0.0.0.0\n", i);
	}
	if (s->n_dns || s->gateway.s_addr)
		fprintf(f, "dhcp-option=tag:s%zu,option:dns-server", i);
	for (size_t j = 0; j < s->n_dns; j++)
		fprintf(f, ",%s", ip_text(s->dns[j], text));
	if (s->n_dns || s->gateway.s_addr)
		fprintf(f, "%s%s\n", s->n_dns ? "" : ",", s->n_dns ? "" : gw);
	if (n->mtu)
		fprintf(f, "dhcp-option=tag:s%zu,option:mtu,%u\n", i, n->mtu);
}

char *dnsmasq_conf(const struct net_spec *n, const char *user, const char *group, int bridge)
{
	struct paths p = paths_of(n);
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	/* The bridge's index: dnsmasq's DHCP socket is bound to the device, so a new bridge means a new dnsmasq. */
	fprintf(f, "# cirrusfs: network %s, bridge %d\n", n->netns, bridge);
	fprintf(f, "interface=" NET_BRIDGE "\nexcept-interface=lo\nbind-dynamic\n");
	fprintf(f, "user=%s\ngroup=%s\npid-file=%s\nlog-facility=%s\n", user, group, p.pid, p.log);
	fprintf(f, "quiet-dhcp\nno-hosts\naddn-hosts=%s\nresolv-file=%s\n", p.names, p.resolv);
	fprintf(f, "domain-needed\nbogus-priv\ncache-size=1000\n");
	if (n->dns_domain && *n->dns_domain)
		fprintf(f, "domain=%s\nlocal=/%s/\n", n->dns_domain, n->dns_domain);
	fprintf(f, "dhcp-authoritative\nno-ping\ndhcp-ignore=tag:!known\ndhcp-lease-max=65536\n");
	fprintf(f, "dhcp-hostsfile=%s\ndhcp-leasefile=%s\n", p.hosts, p.leases);
	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].dhcp)
			conf_subnet(f, n, &n->subnets[i], i);
	return fclose(f) == 0 ? text : NULL;
}

char *dnsmasq_reservations(const struct net_spec *n)
{
	char *text = NULL, ip[INET_ADDRSTRLEN];
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n->n_hosts; i++) {
		const struct net_host *h = &n->hosts[i];

		fprintf(f, "%s,%s%s%s\n", h->mac, ip_text(h->address, ip), *h->hostname ? "," : "", h->hostname);
	}
	return fclose(f) == 0 ? text : NULL;
}

char *dnsmasq_names(const struct net_spec *n)
{
	char *text = NULL, ip[INET_ADDRSTRLEN];
	bool domain = n->dns_domain && *n->dns_domain;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (size_t i = 0; i < n->n_hosts; i++) {
		const struct net_host *h = &n->hosts[i];

		if (!*h->hostname)
			continue;
		ip_text(h->address, ip);
		if (domain)
			fprintf(f, "%s %s.%s %s\n", ip, h->hostname, n->dns_domain, h->hostname);
		else
			fprintf(f, "%s %s\n", ip, h->hostname);
	}
	return fclose(f) == 0 ? text : NULL;
}

char *dnsmasq_resolvers(const char *resolv_conf)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return NULL;
	for (const char *line = resolv_conf; *line; ) {
		char ip[64];
		struct in_addr a;

		if (sscanf(line, "nameserver %63s", ip) == 1 && inet_pton(AF_INET, ip, &a) == 1 &&
		    ntohl(a.s_addr) >> 24 != 127 && a.s_addr)
			fprintf(f, "nameserver %s\n", ip);
		line += strcspn(line, "\n");
		line += *line == '\n';
	}
	return fclose(f) == 0 ? text : NULL;
}

static bool host_word(const char *s, bool dots)
{
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_' && !(dots && *s == '.'))
			return false;
	return true;
}

int dnsmasq_valid(const struct net_spec *n, struct err *e)
{
	struct ether_addr m;

	if (n->dns_domain && !host_word(n->dns_domain, true))
		return err_set(e, EINVAL, "'%s' is no domain", n->dns_domain);
	if (strlen(n->dir) > 480 || strpbrk(n->dir, "\n\"#"))	/* what dnsmasq's configuration would read as something else */
		return err_set(e, EINVAL, "dnsmasq cannot keep its files in '%s'", n->dir);
	for (size_t i = 0; i < n->n_hosts; i++) {
		if (!ether_aton_r(n->hosts[i].mac, &m))
			return err_set(e, EINVAL, "'%s' is no MAC address", n->hosts[i].mac);
		if (!host_word(n->hosts[i].hostname, false))
			return err_set(e, EINVAL, "'%s' is no hostname", n->hosts[i].hostname);
	}
	return 0;
}

/* ---- files ---- */

char *slurp(const char *path)
{
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text = NULL, buf[8192];
	size_t size;
	ssize_t got;

	if (fd < 0)
		return NULL;
	FILE *f = open_memstream(&text, &size);

	while (f && (got = read(fd, buf, sizeof buf)) > 0)
		fwrite(buf, 1, (size_t)got, f);
	if (f && fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

static bool same(const char *path, const char *text)
{
	AUTO(free) char *now = slurp(path);

	return now && strcmp(now, text) == 0;
}

/* 1: replaced, whole or not at all; 0: that is what it held. */
static int file_put(const char *path, const char *text, mode_t mode, gid_t gid, struct err *e)
{
	char tmp[560];

	if (!text)
		return err_set(e, ENOMEM, "write %s: %m", path);
	if (same(path, text))
		return 0;
	snprintf(tmp, sizeof tmp, "%s.new", path);
	AUTO(close) int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_set(e, errno, "write %s: %m", tmp);
	for (size_t done = 0, len = strlen(text); done < len; ) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return err_set(e, errno, "write %s: %m", tmp);
		done += n > 0 ? (size_t)n : 0;
	}
	if (fchown(fd, 0, gid) < 0 || fchmod(fd, mode) < 0 || rename(tmp, path) < 0)
		return err_set(e, errno, "write %s: %m", path);
	return 1;
}

struct account {
	char user[64], group[64];
	gid_t gid;
};

/* Whom dnsmasq becomes: the user its package makes, else nobody. */
static int account_get(struct account *ret, struct err *e)
{
	static const char *const users[] = { "dnsmasq", "nobody" };
	char buf[4096];
	struct passwd mem, *pw = NULL;
	struct group gmem, *gr = NULL;

	for (size_t i = 0; i < ARRAY_LEN(users) && !pw; i++)
		if (getpwnam_r(users[i], &mem, buf, sizeof buf, &pw))
			pw = NULL;
	if (!pw)
		return err_set(e, ENOENT, "there is no user dnsmasq or nobody for dnsmasq to run as");
	snprintf(ret->user, sizeof ret->user, "%s", pw->pw_name);
	ret->gid = pw->pw_gid;
	if (getgrgid_r(ret->gid, &gmem, buf, sizeof buf, &gr) || !gr)
		return err_set(e, ENOENT, "the group %u of user %s has no name", ret->gid, ret->user);
	snprintf(ret->group, sizeof ret->group, "%s", gr->gr_name);
	return 0;
}

static int run_dirs(const struct paths *p, struct err *e)
{
	if ((mkdir(RUN_DIR, 0711) < 0 && errno != EEXIST) || (mkdir(p->run, 0711) < 0 && errno != EEXIST) ||
	    chmod(RUN_DIR, 0711) < 0 || chmod(p->run, 0711) < 0)
		return err_set(e, errno, "make %s: %m", p->run);
	return 0;
}

static char *host_resolvers(void)
{
	/* With systemd-resolved the first names only its own loopback address, the second the real ones. */
	static const char *const files[] = { "/etc/resolv.conf", "/run/systemd/resolve/resolv.conf" };
	char *text = NULL;

	for (size_t i = 0; i < ARRAY_LEN(files) && !(text && *text); i++) {
		AUTO(free) char *conf = slurp(files[i]);

		free(text);
		text = dnsmasq_resolvers(conf ? conf : "");
	}
	return text;
}

/* 1: the hosts are others than before, or dnsmasq was never told of them. */
static int files_put(const struct net_spec *n, const struct paths *p, gid_t gid, struct err *e)
{
	AUTO(free) char *hosts = dnsmasq_reservations(n);
	AUTO(free) char *names = dnsmasq_names(n);
	AUTO(free) char *resolv = host_resolvers();
	int rc = run_dirs(p, e), news = access(p->told, F_OK) != 0;

	if (rc < 0)
		return rc;
	if (!(hosts && same(p->hosts, hosts) && names && same(p->names, names))) {
		unlink(p->told);	/* before: if we die in between, dnsmasq is told the next time */
		news = 1;
	}
	if ((rc = file_put(p->hosts, hosts, 0640, gid, e)) < 0 || (rc = file_put(p->names, names, 0640, gid, e)) < 0 ||
	    (rc = file_put(p->resolv, resolv, 0640, gid, e)) < 0)	/* dnsmasq itself watches this one */
		return rc;
	return news;
}

static void told(const struct paths *p)
{
	AUTO(close) int fd = open(p->told, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

/* ---- the process ---- */

static uint64_t pid_ns(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof path, "/proc/%d/ns/net", pid);
	return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static bool is_dnsmasq(pid_t pid)
{
	char path[64], stat_line[512] = "";

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, stat_line, sizeof stat_line - 1) : -1;
	const char *paren = got > 0 ? strrchr(stat_line, ')') : NULL;

	return paren && strncmp(strchr(stat_line, ' '), " (dnsmasq)", 10) == 0 && paren[1] == ' ' && paren[2] != 'Z';
}

/* Its command line names our configuration file, a path nobody else has. */
static bool has_conf(pid_t pid, const char *conf)
{
	char path[64], args[4096], want[560];

	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, args, sizeof args) : -1;
	size_t len = (size_t)snprintf(want, sizeof want, "--conf-file=%s", conf) + 1;

	return got > 0 && memmem(args, (size_t)got, want, len);
}

static pid_t pid_in(const char *file)
{
	AUTO(free) char *text = slurp(file);
	long pid = text ? strtol(text, NULL, 10) : 0;

	return pid > 1 && pid < INT32_MAX ? (pid_t)pid : 0;
}

/* A descriptor of the process, taken before it is looked at: from then on the number cannot become another's.  That, the
 * command line and the namespace say more than a start time would.  ns 0: in any namespace.  -1: it is not ours. */
static int pid_hold(pid_t pid, const char *conf, uint64_t ns)
{
	AUTO(close) int fd = pid > 1 ? pidfd_open(pid, 0) : -1;

	if (fd < 0 || !is_dnsmasq(pid) || !has_conf(pid, conf) || (ns && pid_ns(pid) != ns))
		return -1;
	return steal_fd(&fd);
}

static int say(int pidfd, int sig)
{
	return pidfd_send_signal(pidfd, sig, NULL, 0);
}

static bool gone_within(int pidfd, int ms)
{
	struct pollfd p = { pidfd, POLLIN, 0 };

	return poll(&p, 1, ms) > 0;
}

static int stop(int pidfd, struct err *e)
{
	say(pidfd, SIGTERM);
	if (gone_within(pidfd, 2000))
		return 0;
	say(pidfd, SIGKILL);
	return gone_within(pidfd, 5000) ? 0 : err_set(e, EBUSY, "dnsmasq does not end");
}

/* Every dnsmasq with our configuration, and every one in the namespace (ns 0: none): whatever the pidfile says.  In there
 * any other would hold the addresses ours is to listen on. */
static int stop_all(const char *conf, uint64_t ns, struct err *e)
{
	AUTO(closedir) DIR *d = opendir("/proc");
	int rc = 0;

	if (!d)
		return err_set(e, errno, "open /proc: %m");
	for (struct dirent *de; (de = readdir(d)) && rc == 0; ) {
		pid_t pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid <= 1 || !is_dnsmasq(pid))
			continue;
		AUTO(close) int fd = pidfd_open(pid, 0);

		if (fd >= 0 && is_dnsmasq(pid) && (has_conf(pid, conf) || (ns && pid_ns(pid) == ns)))
			rc = stop(fd, e);
	}
	return rc;
}

int dnsmasq_list(const char *dir, void (*fn)(void *arg, pid_t pid, const char *name), void *arg, struct err *e)
{
	AUTO(closedir) DIR *d = opendir("/proc");
	char path[64], args[4096], before[560], name[64];
	size_t len = (size_t)snprintf(before, sizeof before, "--conf-file=%s/", dir);

	if (!d)
		return err_set(e, errno, "open /proc: %m");
	for (struct dirent *de; (de = readdir(d)); ) {
		pid_t pid = isdigit((unsigned char)de->d_name[0]) ? atoi(de->d_name) : 0;

		if (pid <= 1 || !is_dnsmasq(pid))
			continue;
		snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
		AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
		ssize_t got = fd >= 0 ? read(fd, args, sizeof args - 1) : -1;
		char *at = got > 0 ? memmem(args, (size_t)got, before, len) : NULL;

		args[got > 0 ? got : 0] = '\0';
		if (at && sscanf(at + len, "%63[^/]", name) == 1)
			fn(arg, pid, name);
	}
	return 0;
}

bool dnsmasq_wanted(const struct net_spec *n)
{
	for (size_t i = 0; i < n->n_subnets; i++)
		if (n->subnets[i].dhcp)
			return true;
	return false;
}

pid_t dnsmasq_pid(const struct net_spec *n)
{
	struct paths p = paths_of(n);
	pid_t pid = pid_in(p.pid);
	AUTO(close) int fd = pid_hold(pid, p.conf, 0);

	return fd >= 0 ? pid : 0;
}

int dnsmasq_look(const struct net_spec *n, int ns_fd, int bridge, struct err *e)
{
	struct paths p = paths_of(n);
	struct account who;
	AUTO(close) int fd = pid_hold(pid_in(p.pid), p.conf, ns_inode(ns_fd));

	if (!dnsmasq_wanted(n))
		return fd < 0 ? 0 : err_set(e, ENOENT, "dnsmasq runs and no subnet wants it");
	if (fd < 0)
		return err_set(e, ENOENT, "dnsmasq does not run");
	int rc = account_get(&who, e);
	AUTO(free) char *conf = rc == 0 ? dnsmasq_conf(n, who.user, who.group, bridge) : NULL;

	if (rc < 0)
		return rc;
	if (!conf || (bridge && !same(p.conf, conf)))
		return err_set(e, ENOENT, "dnsmasq runs with another configuration");
	if (access(p.hosts, R_OK) < 0 || access(p.names, R_OK) < 0 || access(p.resolv, R_OK) < 0)
		return err_set(e, ENOENT, "dnsmasq's files in %s are missing", p.run);
	return 0;
}

static int start(const struct paths *p, int ns_fd, struct err *e)
{
	char conf[560];
	const char *const argv[] = { "dnsmasq", conf, NULL };
	struct spawn s = { .argv = argv, .netns_fd = ns_fd, .timeout_ms = 10000 };

	snprintf(conf, sizeof conf, "--conf-file=%s", p->conf);
	unlink(p->pid);
	/* It goes to the background when it serves, so the end of this is the beginning of that.  One that was just killed may hold
	 * its sockets a moment longer. */
	for (int tries = 0; ; tries++) {
		int rc = spawn_run(&s, NULL, e);

		if (rc == 0 || tries == 40 || !strstr(e->msg, "in use"))
			return rc;
		*e = (struct err){ 0 };
		usleep(50000);
	}
}

/* An address whose lease is another's is given to nobody until that lease ends: so there are none of hosts that are no more. */
static int forget(const struct net_spec *n, int ns_fd, const struct paths *p, struct err *e)
{
	AUTO(free) char *rest = NULL;
	int rc = leases_release(n, ns_fd, p->leases, &rest, e);

	if (rc <= 0)
		return rc;
	log_warn("network %s: dnsmasq holds %d leases of hosts that are no more; it is started again without them", n->netns, rc);
	if ((rc = stop_all(p->conf, ns_inode(ns_fd), e)) < 0 || (rc = file_put(p->leases, rest, 0644, 0, e)) < 0)
		return rc;
	return start(p, ns_fd, e);
}

/* ---- together ---- */

int dnsmasq_up(const struct net_spec *n, int ns_fd, int bridge, struct err *e)
{
	struct paths p = paths_of(n);
	struct account who;
	struct stat log;
	int rc;

	if (!dnsmasq_wanted(n))
		return dnsmasq_down(n, ns_fd, e);
	if (!spawn_found("dnsmasq"))
		return err_set(e, ENOENT, "the program dnsmasq is not installed");
	if ((rc = account_get(&who, e)) < 0)
		return rc;
	AUTO(free) char *conf = dnsmasq_conf(n, who.user, who.group, bridge);
	int news = files_put(n, &p, who.gid, e);

	if (news < 0)
		return news;
	AUTO(close) int fd = pid_hold(pid_in(p.pid), p.conf, ns_inode(ns_fd));

	if (!conf || !same(p.conf, conf) || fd < 0) {
		if ((rc = stop_all(p.conf, ns_inode(ns_fd), e)) < 0 || (rc = file_put(p.conf, conf, 0600, 0, e)) < 0 ||
		    (rc = start(&p, ns_fd, e)) < 0)
			return rc;
		news = 2;
	}
	if (news == 1 && say(fd, SIGHUP) < 0)
		return err_set(e, errno, "tell dnsmasq of its hosts: %m");
	if (stat(p.log, &log) == 0 && log.st_size > LOG_MAX && truncate(p.log, 0) < 0)	/* it appends */
		log_warn("network %s: shorten %s: %m", n->netns, p.log);
	if (news)
		told(&p);
	return forget(n, ns_fd, &p, e);
}

int dnsmasq_down(const struct net_spec *n, int ns_fd, struct err *e)
{
	struct paths p = paths_of(n);
	int rc = stop_all(p.conf, ns_fd >= 0 ? ns_inode(ns_fd) : 0, e);
	const char *const files[] = { p.conf, p.pid, p.leases, p.log, p.told };

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < ARRAY_LEN(files); i++)
		unlink(files[i]);
	if (dir_remove(p.run, e) < 0)	/* with what a crash left half written */
		return -e->code;
	rmdir(RUN_DIR);	/* the last one's; not empty otherwise */
	return 0;
}
