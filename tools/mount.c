/* cirrusfs mount: serves a store at a directory. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../backends/base/log.h"
#include "../fs/tree/fuse.h"
#include "tools.h"

#define FILES 65536
#define LEAVING_S 30	/* how long a process that is leaving the store is waited for */

const struct option_line mount_options[] = {
	{ "-f", NULL, "stay in the foreground; the log goes to standard error" },
	{ "-o", "OPT,...", "`ro`, and what else may stand in fstab (`nofail`, `_netdev`, `x-...`)" },
	{ 0 }
};
const char mount_about[] =
	"One process holds a store; a second one is refused, and says which does. One that is leaving is waited for, 30 s; a mount whose\n"
	"process died is detached first. `umount` or SIGTERM ends the process; **guests go on**, and the next mount finds them again.\n"
	"\n"
	"In /etc/fstab:\n"
	"\n"
	"    /var/lib/cirrusfs  /cloud  fuse.cirrusfs  nofail  0  0\n";

struct request {
	const char *store, *mountpoint;
	bool foreground, remount, ro;
	char opts[1024];
};

/* fstab's own words mean nothing to the kernel here. */
#define FSTAB_WORDS "rw defaults auto noauto user nouser users owner group nofail _netdev exec noexec suid nosuid dev nodev relatime noatime async"
const char mount_option_words[] = "ro " FSTAB_WORDS;

static void add_options(struct request *r, const char *list)
{
	char *copy = strdup(list);

	for (char *save, *o = copy ? strtok_r(copy, ",", &save) : NULL; o; o = strtok_r(NULL, ",", &save)) {
		size_t n = strlen(r->opts);

		if (word_in("ro rw", o))
			r->ro = o[1] == 'o';
		if (strcmp(o, "remount") == 0)
			r->remount = true;
		else if (word_in(FSTAB_WORDS, o) || strncmp(o, "x-", 2) == 0 || strncmp(o, "comment=", 8) == 0)
			continue;
		else
			snprintf(r->opts + n, sizeof r->opts - n, "%s%s", n ? "," : "", o);
	}
	free(copy);
}

static bool parse(int argc, char **argv, struct request *r)
{
	const char *places[2] = { NULL, NULL };
	int n = 0;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-f") == 0)
			r->foreground = true;
		else if (strcmp(argv[i], "-o") == 0 && i + 1 < argc)
			add_options(r, argv[++i]);
		else if (strncmp(argv[i], "-o", 2) == 0 && argv[i][2])
			add_options(r, argv[i] + 2);
		else if (strcmp(argv[i], "--") == 0)
			continue;
		else if (argv[i][0] == '-' || n == 2)
			return false;
		else
			places[n++] = argv[i];
	}
	r->store = n == 2 ? places[0] : DEFAULT_STORE;
	r->mountpoint = n ? places[n - 1] : NULL;
	return n > 0;
}

/* A mount of ours at that place (NULL: anywhere), of that device, "0:49" (NULL: any); ret: its device. */
static bool find_mount(const char *mountpoint, const char *dev, char ret[32])
{
	AUTO(fclose) FILE *f = fopen("/proc/self/mountinfo", "re");
	AUTO(free) char *line = NULL;
	char at[PATH_MAX], rest[256];
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		const char *dash = strstr(line, " - ");

		if (dash && sscanf(line, "%*s %*s %31s %*s %4095s", ret, at) == 2 && sscanf(dash, " - %255s", rest) == 1 &&
		    (!mountpoint || strcmp(at, mountpoint) == 0) && (!dev || strcmp(ret, dev) == 0) && strcmp(rest, "fuse.cirrusfs") == 0)
			return true;
	}
	return false;
}

static bool is_mounted(const char *mountpoint)
{
	char dev[32];

	return find_mount(mountpoint, NULL, dev);
}

/* The kernel ends a session when the last copy of its mount goes, and every container, `unshare -m` or `ip netns exec` that was
 * begun meanwhile has one.  For us it is over when the mount has left our own namespace. */
static void *watch_mount(void *arg)
{
	const char *mountpoint = arg;
	AUTO(close) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	struct pollfd p = { fd, POLLPRI, 0 };
	char dev[32], found[32];

	if (fd < 0 || !find_mount(mountpoint, NULL, dev))
		return NULL;
	while (find_mount(NULL, dev, found))
		poll(&p, 1, 60000);
	kill(getpid(), SIGTERM);
	return NULL;
}

/* The directory's absolute path; a mount of ours there whose process died is detached first. */
static int prepare_mountpoint(struct request *r, char *ret, struct err *e)
{
	struct statfs fs;
	struct stat st;

	/* statfs asks the process; what stat says may be remembered from before it died */
	if (statfs(r->mountpoint, &fs) < 0 && errno == ENOTCONN) {
		char dir[PATH_MAX], path[PATH_MAX + 256];
		const char *slash;

		snprintf(path, sizeof path, "%s", r->mountpoint);
		while (strlen(path) > 1 && path[strlen(path) - 1] == '/')
			path[strlen(path) - 1] = '\0';
		slash = strrchr(path, '/');
		snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
		if (!realpath(*dir ? dir : "/", ret))
			return err_set(e, errno, "mount point %s: %m", r->mountpoint);
		snprintf(path, sizeof path, "%s/%s", ret, slash ? slash + 1 : r->mountpoint);
		if (is_mounted(path) && umount2(path, MNT_DETACH) < 0)
			return err_set(e, errno, "detach the dead mount at %s: %m", path);
	}
	if (!realpath(r->mountpoint, ret) || stat(ret, &st) < 0)
		return err_set(e, errno, "mount point %s: %m", r->mountpoint);
	if (!S_ISDIR(st.st_mode))
		return err_set(e, ENOTDIR, "mount point %s is not a directory", r->mountpoint);
	if (is_mounted(ret))
		return err_set(e, EBUSY, "a cloud is mounted at %s already", ret);
	return 0;
}

/* Another process may be about to let go of the store: it is not mounted any more. */
static int open_store(const char *store, struct cloud **ret, struct err *e)
{
	char mountpoint[PATH_MAX];
	pid_t pid;

	for (int i = 0; ; i++) {
		struct err ignored = { 0 };
		int rc = cloud_open(store, false, ret, e);

		if (rc != -EBUSY || i >= LEAVING_S * 10)
			return rc;
		if (cloud_holder(store, &pid, mountpoint, sizeof mountpoint, &ignored) > 0 && (!*mountpoint || is_mounted(mountpoint)) && i >= 3)
			return rc;
		usleep(100000);
	}
}

/* The child's word to the one who waits: "" it answers, else the sentence. */
static void report(int fd, const char *text)
{
	if (fd < 0)
		return;
	if (write(fd, text, strlen(text) + 1) < 0)
		log_error("%s", text);
	close(fd);
}

/* A guest takes some five descriptors, and the usual soft limit is 1024.  More than enough is of no use. */
static void allow_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur >= FILES)
		return;
	r.rlim_cur = r.rlim_max < FILES ? r.rlim_max : FILES;
	setrlimit(RLIMIT_NOFILE, &r);
}

static int serve(struct request *r, const char *mountpoint, int tell, struct err *e)
{
	struct server *server = NULL;
	struct cloud *c;
	bool watched = false;
	pthread_t watcher;
	sigset_t ours;

	/* those signals are the main thread's: all others are started with them blocked */
	sigemptyset(&ours);
	sigaddset(&ours, SIGTERM);
	sigaddset(&ours, SIGINT);
	sigaddset(&ours, SIGHUP);
	pthread_sigmask(SIG_BLOCK, &ours, NULL);
	signal(SIGPIPE, SIG_IGN);
	allow_files();
	if (open_store(r->store, &c, e) < 0)
		return -e->code;
	c->fs.mountpoint = strdup(mountpoint);
	if (!r->foreground) {
		cloud_log(c);
		if (chdir("/") < 0)
			log_warn("enter /: %m");
	}
	int rc = cloud_start(c, e);
	if (rc == 0)
		rc = server_mount(&c->fs, r->opts, &server, e);
	if (rc == 0) {
		cloud_note_mount(c, mountpoint);
		log_info("store %s at %s", c->fs.store, mountpoint);
		report(tell, "");
		tell_systemd("READY=1");
		if (pthread_create(&watcher, NULL, watch_mount, c->fs.mountpoint) == 0)
			watched = true;
		pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
		rc = server_run(server, e);
		pthread_sigmask(SIG_BLOCK, &ours, NULL);	/* the watcher's may still come */
		tell_systemd("STOPPING=1");
		if (watched) {
			pthread_cancel(watcher);
			pthread_join(watcher, NULL);
		}
		log_info("unmounted");
	}
	if (!cloud_stop(c))
		_exit(rc < 0);	/* as after kill -9: the state is whole at any moment */
	if (server)
		server_free(server);
	cloud_close(c);
	return rc;
}

/* mount -o remount,ro: the process that serves goes on; only what the kernel lets through changes. */
static int remount(struct request *r, struct err *e)
{
	char at[PATH_MAX];

	if (!realpath(r->mountpoint, at))
		return err_set(e, errno, "mount point %s: %m", r->mountpoint);
	if (!is_mounted(at))
		return err_set(e, EINVAL, "no cloud is mounted at %s", at);
	if (mount(NULL, at, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | (r->ro ? MS_RDONLY : 0), NULL) < 0)
		return err_set(e, errno, "remount %s: %m", at);
	return 0;
}

static int detach(struct request *r, const char *mountpoint, struct err *e)
{
	int p[2], null;
	char text[sizeof e->msg] = "the process ended without a word";
	struct stat st;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_set(e, errno, "start: %m");
	pid_t pid = fork();
	if (pid < 0)
		return err_set(e, errno, "start: %m");
	if (pid == 0) {
		/* a lock or a pipe of who called is not ours to keep */
		if (p[1] > 3)
			close_range(3, (unsigned)p[1] - 1, 0);
		close_range((unsigned)p[1] + 1, ~0U, 0);
		setsid();
		null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, 0);
		dup2(null, 1);
		if (serve(r, mountpoint, p[1], e) < 0)
			report(p[1], e->msg);
		_exit(e->code ? 1 : 0);
	}
	close(p[1]);
	ssize_t n = read(p[0], text, sizeof text - 1);
	if (n > 0)
		text[n] = '\0';
	close(p[0]);
	if (n <= 0 || *text)
		return err_set(e, EIO, "%s", text);
	return stat(mountpoint, &st) < 0 ? err_set(e, errno, "%s: %m", mountpoint) : 0;
}

int cmd_mount(int argc, char **argv)
{
	struct request r = { 0 };
	char mountpoint[PATH_MAX];
	struct err e = { 0 };

	if (!parse(argc, argv, &r))
		return usage("mount");
	if (geteuid() != 0) {
		err_set(&e, EPERM, "only root may mount a store");
		return die(&e);
	}
	if (r.remount)
		return remount(&r, &e) < 0 ? die(&e) : 0;
	if (prepare_mountpoint(&r, mountpoint, &e) < 0)
		return die(&e);
	/* an arena of malloc for each thread that ever waited for another's is never given back: twice of what is used */
	mallopt(M_ARENA_MAX, 2);
	int rc = r.foreground ? serve(&r, mountpoint, -1, &e) : detach(&r, mountpoint, &e);
	return rc < 0 ? die(&e) : 0;
}
