/* Network namespaces under /run/netns, interchangeable with `ip netns`: a file there with the namespace bound onto it.
 * Work inside one is done by short-lived threads; the sockets they open can then be used by everybody. */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static int ns_path(const char *name, char *path, size_t size, struct err *e)
{
	if (!*name || strchr(name, '/') || *name == '.')
		return err_set(e, EINVAL, "'%s' cannot be the name of a network namespace", name);
	if (snprintf(path, size, NETNS_DIR "/%s", name) >= (int)size)
		return err_set(e, ENAMETOOLONG, "network namespace '%s': %m", name);
	return 0;
}

int ns_open(const char *name, int *ret, struct err *e)
{
	char path[300];
	struct statfs fs;
	int rc = ns_path(name, path, sizeof path, e);

	if (rc < 0)
		return rc;
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if ((fd < 0 && errno == ENOENT) || (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type != NSFS_MAGIC))
		return err_set(e, ENOENT, "there is no network namespace %s", name);
	if (fd < 0)
		return err_set(e, errno, "open network namespace '%s': %m", name);
	*ret = steal_fd(&fd);
	return 0;
}

/* The directory is a shared mount of its own, so that namespaces made here are seen (and can be removed) everywhere. */
static int make_dir(struct err *e)
{
	if (mkdir(NETNS_DIR, 0755) < 0 && errno != EEXIST)
		return err_set(e, errno, "mkdir %s: %m", NETNS_DIR);
	if (mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) == 0)
		return 0;
	if (errno != EINVAL || mount(NETNS_DIR, NETNS_DIR, "none", MS_BIND | MS_REC, NULL) < 0 ||
	    mount("", NETNS_DIR, "none", MS_SHARED | MS_REC, NULL) < 0)
		return err_set(e, errno, "share the mount %s: %m", NETNS_DIR);
	return 0;
}

int ns_lock(int *ret, struct err *e)
{
	AUTO(close) int fd = open(NETNS_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (fd >= 0 && flock(fd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_set(e, errno, "lock %s: %m", NETNS_DIR);
	if (fd < 0)
		return err_set(e, errno, "open %s: %m", NETNS_DIR);
	*ret = steal_fd(&fd);
	return 0;
}

static int make_here(void *path, struct err *e)
{
	if (unshare(CLONE_NEWNET) < 0)
		return err_set(e, errno, "make a network namespace: %m");
	if (mount("/proc/thread-self/ns/net", path, "none", MS_BIND, NULL) < 0)
		return err_set(e, errno, "bind a network namespace to %s: %m", (char *)path);
	return 0;
}

static bool adopt(const char *path, pid_t pid)
{
	char of[64];
	struct stat theirs, ours;

	snprintf(of, sizeof of, "/proc/%d/ns/net", pid);
	return pid > 0 && stat(of, &theirs) == 0 && stat("/proc/self/ns/net", &ours) == 0 && theirs.st_ino != ours.st_ino &&
	       mount(of, path, "none", MS_BIND, NULL) == 0;
}

int ns_make(const char *name, pid_t pid, int *ret, struct err *e)
{
	AUTO(close) int lock = -1;
	struct err gone = { 0 };
	char path[300];
	int rc = ns_path(name, path, sizeof path, e);

	if (rc < 0 || (rc = make_dir(e)) < 0 || (rc = ns_lock(&lock, e)) < 0)
		return rc;
	if (ns_open(name, ret, &gone) == 0)
		return 0;
	AUTO(close) int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0);	/* what `ip netns` leaves: mode 0, empty */

	if (fd < 0)
		return err_set(e, errno, "create %s: %m", path);
	if (!adopt(path, pid) && (rc = ns_run(-1, make_here, path, e)) < 0) {
		unlink(path);
		return rc;
	}
	return ns_open(name, ret, e);
}

int ns_remove(const char *name, struct err *e)
{
	AUTO(close) int lock = -1;
	char path[300];
	int rc = ns_path(name, path, sizeof path, e);

	if (rc < 0)
		return rc;
	if (access(path, F_OK) < 0)
		return 0;
	if ((rc = ns_lock(&lock, e)) < 0)
		return rc;
	while (umount2(path, MNT_DETACH) == 0)
		;	/* bound more than once after somebody's accident */
	if (errno != EINVAL && errno != ENOENT)
		return err_set(e, errno, "unmount %s: %m", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_set(e, errno, "remove %s: %m", path);
	return 0;
}

uint64_t ns_inode(int ns_fd)
{
	struct stat st;

	return fstat(ns_fd, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

struct visit {
	int ns_fd;
	int (*fn)(void *arg, struct err *e);
	void *arg;
	struct err *e;
	int rc;
};

static void *visit(void *arg)
{
	struct visit *v = arg;

	if (v->ns_fd >= 0 && setns(v->ns_fd, CLONE_NEWNET) < 0)
		v->rc = err_set(v->e, errno, "enter a network namespace: %m");
	else
		v->rc = v->fn(v->arg, v->e);
	return NULL;
}

int ns_run(int ns_fd, int (*fn)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct visit v = { ns_fd, fn, arg, e, 0 };
	sigset_t all, before;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);	/* signals are for the process's own threads */
	int rc = pthread_create(&thread, NULL, visit, &v);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc)
		return err_set(e, rc, "start a thread: %m");
	pthread_join(thread, NULL);
	return v.rc;
}

struct side_open {
	bool nft;
	struct side side;
};

static int open_here(void *arg, struct err *e)
{
	struct side_open *o = arg;
	int rc = rt_open(&o->side.rt, e);

	return rc == 0 && o->nft ? nft_open(&o->side.nft, e) : rc;
}

int side_open(int ns_fd, bool nft, struct side *ret, struct err *e)
{
	struct side_open o = { .nft = nft };
	int rc = ns_fd < 0 ? open_here(&o, e) : ns_run(ns_fd, open_here, &o, e);

	if (rc < 0)
		side_close(&o.side);
	else
		*ret = o.side;
	return rc;
}

void side_close(struct side *s)
{
	nft_close(s->nft);
	rt_close(s->rt);
	*s = (struct side){ 0 };
}

struct sysctls {
	const struct sysctl *list;
	size_t n;
	bool set;
};

static int sysctl_one(const struct sysctl *s, bool set, struct err *e)
{
	char path[128], now[64] = "";

	snprintf(path, sizeof path, "/proc/sys/net/%s", s->path);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return s->optional ? 0 : err_set(e, errno, "open %s: %m", path);
	ssize_t got = read(fd, now, sizeof now - 1);

	now[got > 0 ? strcspn(now, "\n") : 0] = '\0';
	if (strcmp(now, s->value) == 0)
		return 0;
	if (!set)
		return err_set(e, ENOENT, "%s is %s, not %s", path, now, s->value);
	AUTO(close) int to = open(path, O_WRONLY | O_CLOEXEC);

	if ((to < 0 || write(to, s->value, strlen(s->value)) < 0) && !s->optional)
		return err_set(e, errno, "write %s to %s: %m", s->value, path);
	return 0;
}

static int sysctl_here(void *arg, struct err *e)
{
	const struct sysctls *s = arg;
	int rc = 0;

	for (size_t i = 0; i < s->n && rc == 0; i++)
		rc = sysctl_one(&s->list[i], s->set, e);
	return rc;
}

int sysctl_apply(int ns_fd, const struct sysctl *list, size_t n, bool set, struct err *e)
{
	struct sysctls s = { list, n, set };

	return ns_fd < 0 ? sysctl_here(&s, e) : ns_run(ns_fd, sysctl_here, &s, e);
}
