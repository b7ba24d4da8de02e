/* cirrusfs doctor: what this machine lacks, a line each.  A probe does what the cloud will do, in a place of its own, rather than
 * look whether something seems to be there; nothing of the host is changed. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pwd.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/timex.h>
#include <time.h>

#include "../backends/base/spawn.h"
#include "../backends/compute/hyper.h"
#include "../backends/network/net.h"
#include "tools.h"

#define GUEST_MS 20000		/* how long a guest may take to say its word */
#define DISK_MIN_GIB 10		/* one flavor's disk or two images */
#define FILES_MIN 4096		/* a guest takes some five */

const struct option_line doctor_options[] = { { 0 } };
const char doctor_about[] =
	"A line each: `ok`, `missing` or `warning`, a tab, what was tried, a tab, and what was found, or what mends it. Missing is what servers\n"
	"or networks cannot do without; with a warning they work, but less well. The settings are those of *STORE*, when there is one.\n"
	"\n"
	"Everything is really tried (a namespace is made, a guest is started, a file system is mounted), and nothing is left of it.\n";
const char doctor_exits[] = "1|something that is needed is missing\n2|it could not look: it was called wrongly, or not by root\n";

enum verdict { WELL, WARNING, MISSING };

struct doctor {
	const char *store;
	struct config cfg;
	const struct probe *now;
	enum verdict lack;	/* what it is when the present probe fails */
	char fact[256];		/* what it has found */
};

struct probe {
	const char *what;
	enum verdict lack;
	int (*look)(struct doctor *d, struct err *e);
	const char *mend;	/* NULL: the sentence says it */
	int need;		/* look_network: enum net_need */
};

/* ---- the file system */

/* A mount that is attached nowhere. */
static int look_fuse(struct doctor *d, struct err *e)
{
	AUTO(close) int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC), fs = -1, mnt = -1;
	char fd[16];

	if (dev < 0)
		return err_set(e, errno, "open /dev/fuse: %m");
	snprintf(fd, sizeof fd, "%d", dev);
	fs = fsopen("fuse", FSOPEN_CLOEXEC);
	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "fd", fd, 0) < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "rootmode", "40000", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "user_id", "0", 0) < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "group_id", "0", 0) < 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0 || (mnt = fsmount(fs, FSMOUNT_CLOEXEC, 0)) < 0)
		return err_set(e, errno, "mount a FUSE file system: %m");
	return 0;
}

static int look_helper(struct doctor *d, struct err *e)
{
	return access("/sbin/mount.fuse", X_OK) == 0 || access("/sbin/mount.fuse3", X_OK) == 0 ? 0 :
	       err_set(e, ENOENT, "mount(8) has no helper for FUSE, so neither mount -t fuse.cirrusfs nor fstab works");
}

/* ---- guests */

static int look_user(struct doctor *d, struct err *e)
{
	if (getpwnam(d->cfg.guest_user))
		return 0;
	return err_set(e, ENOENT, "there is no user '%s' for guests to run as; useradd --system --user-group %s, or guest-user in %s/config",
		       d->cfg.guest_user, d->cfg.guest_user, d->store);
}

static const char *user_of(const struct doctor *d)
{
	return getpwnam(d->cfg.guest_user) ? d->cfg.guest_user : "nobody";	/* said already */
}

static int look_qemu(struct doctor *d, struct err *e)
{
	return hyper_probe_qemu(user_of(d), GUEST_MS, e);
}

static int look_kvm(struct doctor *d, struct err *e)
{
	if (strcmp(d->cfg.virt_type, "qemu") == 0) {
		snprintf(d->fact, sizeof d->fact, "not asked for (virt-type = qemu)");
		return 0;
	}
	if (strcmp(d->cfg.virt_type, "kvm") == 0)
		d->lack = MISSING;
	int rc = hyper_probe_kvm(user_of(d), GUEST_MS / 2, e);

	if (rc == -ENOENT && access("/dev/kvm", F_OK) < 0)
		return err_set(e, ENOENT, "there is no /dev/kvm, guests run under emulation, which is slow; switch on virtualization in the "
			       "firmware, or nested virtualization where this machine is a guest itself");
	if (rc < 0 && strstr(e->msg, strerror(EACCES)))
		return err_set(e, EACCES, "guests run under emulation, which is slow: %s may not open /dev/kvm; usermod -a -G kvm %s, and mount anew",
			       user_of(d), user_of(d));
	return rc < 0 ? err_prefix(e, "guests run under emulation, which is slow") : 0;
}

static int run(const char *const *argv, char **out, struct err *e)
{
	const struct spawn s = { .argv = argv };

	if (!spawn_found(argv[0]))
		return err_set(e, ENOENT, "the program %s is not installed", argv[0]);
	return spawn_run(&s, out, e);
}

static int look_qemu_img(struct doctor *d, struct err *e)
{
	const char *const argv[] = { "qemu-img", "--version", NULL };
	AUTO(free) char *out = NULL;

	if (run(argv, &out, e) < 0)
		return -e->code;
	snprintf(d->fact, sizeof d->fact, "%.*s", (int)strcspn(out, "\n"), out);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	remove(path);
	return 0;
}

static int look_libvirt(struct doctor *d, struct err *e)
{
	char root[64], uri[128];
	struct hyper_info info = { 0 };
	struct hyper *h = NULL;

	snprintf(root, sizeof root, "/run/cirrusfs/doctor-%d", (int)getpid());
	snprintf(uri, sizeof uri, "qemu:///embed?root=%s", root);
	const struct hyper_config config = { .uri = uri, .user = user_of(d) };
	int rc = hyper_init(e);

	if (rc == 0 && (rc = hyper_open(&config, &h, e)) == 0) {
		rc = hyper_info(h, &info, e);
		hyper_close(h);
	}
	nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	rmdir("/run/cirrusfs");		/* when it is ours alone */
	snprintf(d->fact, sizeof d->fact, "%s", info.hypervisor);
	return rc;
}

/* ---- networks */

static int look_network(struct doctor *d, struct err *e)
{
	return net_probe((enum net_need)d->now->need, e);
}

static int look_br_netfilter(struct doctor *d, struct err *e)
{
	bool loaded = access("/proc/sys/net/bridge/bridge-nf-call-iptables", F_OK) == 0;

	snprintf(d->fact, sizeof d->fact, "%s; bridges are filtered by nftables itself", loaded ? "loaded, does no harm" : "not loaded, not needed");
	return 0;
}

static int look_firewall(struct doctor *d, struct err *e)
{
	return net_probe_firewall(e);
}

static int look_dnsmasq(struct doctor *d, struct err *e)
{
	const char *const argv[] = { "dnsmasq", "--version", NULL };
	AUTO(free) char *out = NULL;

	if (run(argv, &out, e) < 0)
		return -e->code;
	snprintf(d->fact, sizeof d->fact, "%.*s", (int)strcspn(out, "\n"), out);
	return strstr(out, "no-DHCP ") ? err_set(e, ENOENT, "this dnsmasq was built without DHCP") : 0;
}

static int look_ip(struct doctor *d, struct err *e)
{
	return spawn_found("ip") ? 0 : err_set(e, ENOENT, "the program ip is not installed: nobody can look into a network's namespace");
}

static int look_certificates(struct doctor *d, struct err *e)
{
	return access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0 ? 0 :
	       err_set(e, ENOENT, "there are no certificates of authorities, so no https server is trusted");
}

/* ---- room and limits */

static int look_disk(struct doctor *d, struct err *e)
{
	char path[4096];
	struct statvfs st;

	snprintf(path, sizeof path, "%s", d->store);
	while (statvfs(path, &st) < 0) {	/* a store that is still to be made */
		char *slash = strrchr(path, '/');

		if (!slash || slash == path)
			return statvfs(slash ? "/" : ".", &st) < 0 ? err_set(e, errno, "%s: %m", d->store) : 0;
		*slash = '\0';
	}
	uint64_t mib = (uint64_t)st.f_bavail * st.f_frsize >> 20;

	snprintf(d->fact, sizeof d->fact, "%lu GiB are left for %s", (unsigned long)(mib >> 10), d->store);
	return mib >= DISK_MIN_GIB << 10 ? 0 : err_set(e, ENOSPC, "%lu MiB are left for %s, where images and servers' disks lie; %d GiB is little",
						       (unsigned long)mib, d->store, DISK_MIN_GIB);
}

static int look_memory(struct doctor *d, struct err *e)
{
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		return err_set(e, errno, "%m");
	long mib = (long)(((uint64_t)si.totalram * si.mem_unit >> 20) - (uint64_t)d->cfg.reserved_ram) * d->cfg.ram_ratio_x10 / 10;

	snprintf(d->fact, sizeof d->fact, "%ld MiB for guests", mib);
	return mib >= 512 ? 0 : err_set(e, ENOMEM, "%ld MiB are left for guests (reserved-ram, ram-ratio in %s/config); m1.tiny takes 512", mib, d->store);
}

static int look_files(struct doctor *d, struct err *e)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0)
		return err_set(e, errno, "%m");
	snprintf(d->fact, sizeof d->fact, "%lu", (unsigned long)r.rlim_max);
	return r.rlim_max >= FILES_MIN ? 0 :
	       err_set(e, EMFILE, "a process may have %lu open files; raise it (ulimit -Hn, LimitNOFILE=) to %d", (unsigned long)r.rlim_max, FILES_MIN);
}

static int look_clock(struct doctor *d, struct err *e)
{
	struct timex t = { 0 };
	struct tm released = { 0 };

	if (strptime(CIRRUSFS_DATE, "%Y-%m-%d", &released) && time(NULL) < timegm(&released) - 86400)
		return err_set(e, EINVAL, "the clock says a time before this program was made; set it (date -s), or keep it by systemd-timesyncd or chrony");
	if (adjtimex(&t) == TIME_ERROR || t.status & STA_UNSYNC)
		return err_set(e, EINVAL, "nobody keeps the clock right; install the package systemd-timesyncd or chrony, unless this is a guest or "
			       "container whose host does");
	return 0;
}

/* ---- all of it */

static const struct probe probes[] = {
	{ "fuse", MISSING, look_fuse, "load the module fuse (modprobe fuse); a container must be given /dev/fuse and CAP_SYS_ADMIN" },
	{ "mount.fuse", WARNING, look_helper, "install the package fuse3" },
	{ "guest-user", MISSING, look_user, NULL },
	{ "qemu", MISSING, look_qemu, "install the package qemu-system-x86" },
	{ "kvm", WARNING, look_kvm, NULL },
	{ "qemu-img", MISSING, look_qemu_img, "install the package qemu-utils" },
	{ "libvirt", MISSING, look_libvirt, "install the packages libvirt-daemon and libvirt-daemon-driver-qemu" },
	{ "namespaces", MISSING, look_network, "a kernel with CONFIG_NET_NS; in a container CAP_SYS_ADMIN", NET_NEED_NAMESPACE },
	{ "bridge", MISSING, look_network, "modprobe bridge", NET_NEED_BRIDGE },
	{ "veth", MISSING, look_network, "modprobe veth", NET_NEED_VETH },
	{ "tap", MISSING, look_network, "modprobe tun; a container must be given /dev/net/tun", NET_NEED_TAP },
	{ "nat", MISSING, look_network, "a kernel with nf_tables, nft_masq and nft_chain_nat (CONFIG_NF_TABLES_INET, CONFIG_NFT_MASQ)", NET_NEED_NAT },
	{ "fib", WARNING, look_network, "modprobe nft_fib_inet; without it guests reach what others publish on the host's addresses", NET_NEED_FIB },
	{ "bridge-filter", WARNING, look_network, "a kernel with CONFIG_NF_TABLES_BRIDGE; without it guests can use false addresses",
	  NET_NEED_BRIDGE_FILTER },
	{ "br_netfilter", WARNING, look_br_netfilter, NULL },
	{ "forwarding", MISSING, look_network, "sysctl -w net.ipv4.ip_forward=1, outside of the container", NET_NEED_FORWARDING },
	{ "firewall", WARNING, look_firewall, NULL },
	{ "dnsmasq", MISSING, look_dnsmasq, "install the package dnsmasq-base" },
	{ "ip", WARNING, look_ip, "install the package iproute2" },
	{ "certificates", WARNING, look_certificates, "install the package ca-certificates" },
	{ "disk", WARNING, look_disk, NULL },
	{ "memory", WARNING, look_memory, NULL },
	{ "open-files", WARNING, look_files, NULL },
	{ "clock", WARNING, look_clock, NULL },
};

static enum verdict examine(struct doctor *d, const struct probe *p)
{
	static const char *const words[] = { "ok", "warning", "missing" };
	struct err e = { 0 };

	d->now = p;
	d->lack = p->lack;
	*d->fact = '\0';
	enum verdict v = p->look(d, &e) < 0 ? d->lack : WELL;

	if (v == WELL)
		printf("ok\t%s\t%s\n", p->what, d->fact);
	else
		printf("%s\t%s\t%s%s%s\n", words[v], p->what, e.msg, p->mend ? "; " : "", p->mend ? p->mend : "");
	fflush(stdout);
	return v;
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor d = { .store = argc > 1 ? argv[1] : DEFAULT_STORE };
	char config[4096];
	struct err e = { 0 };
	int missing = 0;

	if (argc > 2 || d.store[0] == '-')
		return usage("doctor");
	if (geteuid() != 0)
		err_set(&e, EPERM, "only root can try out what this machine can do");
	else if (snprintf(config, sizeof config, "%s/config", d.store) >= (int)sizeof config)
		err_set(&e, ENAMETOOLONG, "the path of the store is too long");
	else if (argc > 1 && access(d.store, F_OK) < 0)
		err_set(&e, errno, "%s: %m", d.store);
	if (e.code || config_read(config, &d.cfg, &e) < 0) {
		die(&e);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_LEN(probes); i++)
		missing += examine(&d, &probes[i]) == MISSING;
	return missing ? 1 : 0;
}
