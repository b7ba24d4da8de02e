/* What libvirt's embedded qemu driver needs around it: its root directory, its qemu.conf, and a broom for what it loses.
 * Layout (libvirt 9.0): ROOT/etc/qemu.conf, ROOT/run/qemu/NAME.pid, ROOT/log/qemu/NAME.log, ROOT/lib/qemu/domain-*. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "../base/log.h"
#include "ops.h"

#define EMBED "qemu:///embed?"
#define KILL_TIMEOUT_MS 10000

char *hyper_embed_root(const char *uri)
{
	if (strncmp(uri, EMBED, strlen(EMBED)) != 0)
		return NULL;
	const char *p = strstr(uri + strlen(EMBED) - 1, "root=");

	if (!p || (p[-1] != '?' && p[-1] != '&'))
		return NULL;
	char *root = strndup(p + 5, strcspn(p + 5, "&#")), *to = root;

	for (const char *from = root; from && *from; from++)
		if (*from == '%' && isxdigit((unsigned char)from[1]) && isxdigit((unsigned char)from[2])) {
			*to++ = (char)strtol((char[]){ from[1], from[2], '\0' }, NULL, 16);
			from += 2;
		} else {
			*to++ = *from;
		}
	if (root)
		*to = '\0';
	return root;
}

/* Parents may be used by everybody, so that the guests' user can reach its sockets. */
static int make_parents(const char *path, struct err *e)
{
	char part[PATH_MAX];

	for (const char *p = path; (p = strchr(p + 1, '/')); ) {
		snprintf(part, sizeof part, "%.*s", (int)(p - path), path);
		if (mkdir(part, 0755) == 0) {
			if (chmod(part, 0755) < 0)	/* whatever the umask is */
				return err_set(e, errno, "make %s: %m", part);
		} else if (errno != EEXIST) {
			return err_set(e, errno, "make %s: %m", part);
		}
	}
	return 0;
}

static int make_dir(const char *path, mode_t mode, struct err *e)
{
	struct stat st;

	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return err_set(e, errno, "make %s: %m", path);
	if (lstat(path, &st) < 0)
		return err_set(e, errno, "%s: %m", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid())
		return err_set(e, EPERM, "%s is not a directory of ours", path);
	if (chmod(path, mode) < 0)
		return err_set(e, errno, "%s: %m", path);
	return 0;
}

static const char conf_text[] =
	"# Written by cirrusfs at every start.\n"
	"# Guests run as %s, and libvirt gives them their disks and console logs for the time they run.\n"
	"user = \"+%u\"\n"
	"group = \"+%u\"\n"
	"dynamic_ownership = 1\n"
	"# Owners are not remembered in extended attributes: what a killed process leaves there would refuse the next start.\n"
	"remember_owner = 0\n"
	"# No SELinux or AppArmor: their profiles come with a libvirtd that is not there.\n"
	"security_driver = \"none\"\n"
	"seccomp_sandbox = 1\n"
	"# qemu's own output goes to log/qemu/NAME.log directly, not through virtlogd.\n"
	"stdio_handler = \"file\"\n"
	"# No systemd-machined, so no cgroup of its own for each guest.\n"
	"cgroup_controllers = [ ]\n"
	"# No private /dev: a mount namespace costs each start time, and guests get no host device.\n"
	"namespaces = [ ]\n";

static int write_conf(const char *path, const struct passwd *pw, struct err *e)
{
	char tmp[PATH_MAX];

	if (snprintf(tmp, sizeof tmp, "%s.new", path) >= (int)sizeof tmp)
		return err_set(e, ENAMETOOLONG, "%s: %m", path);
	FILE *f = fopen(tmp, "we");

	if (!f)
		return err_set(e, errno, "write %s: %m", path);
	fprintf(f, conf_text, pw->pw_name, (unsigned)pw->pw_uid, (unsigned)pw->pw_gid);
	int failed = ferror(f) ? EIO : 0;

	if (fclose(f) != 0 || failed || rename(tmp, path) < 0)
		return err_set(e, errno, "write %s: %m", path);
	return 0;
}

static int find_user(const char *user, struct passwd *pw, char *buf, size_t size, struct err *e)
{
	struct passwd *found = NULL;
	int rc = user ? getpwnam_r(user, pw, buf, size, &found) : getpwuid_r(geteuid(), pw, buf, size, &found);

	if (rc)
		return err_set(e, rc, "look up the user %s: %m", user ? user : "we are");
	if (!found)
		return err_set(e, ENOENT, "there is no user '%s' for guests to run as", user ? user : "we are");
	return 0;
}

/* What libvirt finds out about qemu takes seconds and is checked by it before each use (times, versions, kernel), so all
 * stores of the machine share it, beside their roots.  Where that cannot be, each has its own. */
static void share_cache(const char *root)
{
	char dir[PATH_MAX], link[PATH_MAX];
	struct err ignored;

	snprintf(dir, sizeof dir, "%.*s/qemu-cache", (int)(strrchr(root, '/') - root), root);
	snprintf(link, sizeof link, "%s/cache", root);
	if (make_dir(dir, 0711, &ignored) == 0 && symlink("../qemu-cache", link) < 0 && errno != EEXIST)
		log_debug("share libvirt's cache of %s: %m", root);
}

int hyper_embed_prepare(const char *root, const char *user, struct err *e)
{
	char path[PATH_MAX], buf[4096];
	struct passwd pw;

	if (root[0] != '/' || strlen(root) > PATH_MAX - 64)
		return err_set(e, EINVAL, "the embedded driver's root '%s' is not an absolute path", root);
	if (find_user(user, &pw, buf, sizeof buf, e) < 0)
		return -e->code;
	if (make_parents(root, e) < 0 || make_dir(root, 0711, e) < 0)	/* qemu passes through, it does not look around */
		return -e->code;
	snprintf(path, sizeof path, "%s/etc", root);
	if (make_dir(path, 0700, e) < 0)
		return -e->code;
	share_cache(root);
	snprintf(path, sizeof path, "%s/etc/qemu.conf", root);
	return write_conf(path, &pw, e);
}

/* ---- KVM nobody may use ----
 * libvirt 9.0 asks qemu about KVM with CAP_DAC_OVERRIDE, which opens any /dev/kvm, and then checks its notes with the
 * guests' user's rights: where he may not open it the notes are never valid, and each look at them asks all over
 * (virQEMUCapsIsValid: 4 s a time here, 65 s for one start).  Without KVM's flag the notes are right and hold. */

bool hyper_embed_kvm_hidden(const char *user)
{
	char buf[4096];
	gid_t groups[256];
	int n = ARRAY_LEN(groups), status;
	struct passwd pw;
	struct err ignored;

	if (geteuid() != 0 || access("/dev/kvm", F_OK) < 0 || find_user(user, &pw, buf, sizeof buf, &ignored) < 0 ||
	    getgrouplist(pw.pw_name, pw.pw_gid, groups, &n) < 0)
		return false;
	pid_t pid = fork();

	if (pid == 0) {		/* in a threaded process: system calls only */
		if (setgroups((size_t)n, groups) < 0 || setregid(pw.pw_gid, pw.pw_gid) < 0 || setreuid(pw.pw_uid, pw.pw_uid) < 0)
			_exit(0);
		_exit(access("/dev/kvm", R_OK | W_OK) < 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/* In place: spaces between elements mean nothing. */
static void blank_flag(int dir, const char *name)
{
	static const char flag[] = "<flag name='kvm'/>";
	char head[8192], blanks[sizeof flag - 1];
	AUTO(close) int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n = fd < 0 ? -1 : pread(fd, head, sizeof head, 0);
	char *at = n > 0 ? memmem(head, (size_t)n, flag, sizeof flag - 1) : NULL;

	memset(blanks, ' ', sizeof blanks);
	if (at && pwrite(fd, blanks, sizeof blanks, at - head) != (ssize_t)sizeof blanks)
		log_warn("libvirt's notes on qemu, %s: %m", name);
}

void hyper_embed_forget_kvm(const char *root)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/cache/qemu/capabilities", root);
	DIR *d = opendir(path);

	for (struct dirent *entry; d && (entry = readdir(d)); )
		if (entry->d_name[0] != '.')
			blank_flag(dirfd(d), entry->d_name);
	if (d)
		closedir(d);
}

/* The pid that holds the lock on a pidfile, which qemu keeps as long as it lives; 0: nobody. */
static pid_t lock_holder(int fd)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

	return fcntl(fd, F_GETLK, &l) == 0 && l.l_type != F_UNLCK ? l.l_pid : 0;
}

/* Through a pidfd, looked at again once we hold it: the number cannot mean another process then. */
static int kill_holder(int fd, const char *name, struct err *e)
{
	pid_t pid = lock_holder(fd);

	if (pid <= 0)
		return 0;
	AUTO(close) int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

	if (pidfd < 0 || lock_holder(fd) != pid)
		return 0;
	log_warn("%s: libvirt lost its qemu, pid %d; killed", name, (int)pid);
	if (syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
		return err_set(e, errno, "kill the lost qemu %d: %m", (int)pid);
	if (poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, KILL_TIMEOUT_MS) != 1)
		return err_set(e, EBUSY, "the lost qemu %d does not end", (int)pid);
	return 0;
}

int hyper_embed_sweep(const char *root, const char *name, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/run/qemu/%s.pid", root, name);
	AUTO(close) int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);

	if (fd >= 0 && kill_holder(fd, name, e) < 0)
		return -e->code;
	if (fd >= 0)
		unlink(path);
	snprintf(path, sizeof path, "%s/log/qemu/%s.log", root, name);
	unlink(path);
	return 0;
}

/* ---- guests' processes, by what the driver leaves beside them ---- */

#define TAIL 16384

/* Between libvirt's own lines and the command line, qemu's begin with its name, after a time; glib's assertions with ERROR. */
static const char *qemu_words(const char *line)
{
	const char *own = strstr(line, "qemu-system-");

	if (strncmp(line, "ERROR:", 6) == 0)
		return line;
	return own && (own == line || (own > line + 2 && own[-1] == ' ' && own[-2] == 'Z')) && strstr(own, ": ") ? own : NULL;
}

void guest_last_words(const char *root, const char *name, char *ret, size_t size)
{
	char path[PATH_MAX], tail[TAIL + 1];

	*ret = '\0';
	snprintf(path, sizeof path, "%s/log/qemu/%s.log", root, name);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	off_t len = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);
	ssize_t n = len < 0 ? -1 : pread(fd, tail, TAIL, len > TAIL ? len - TAIL : 0);

	if (n <= 0)
		return;
	tail[n] = '\0';
	for (char *save, *l = strtok_r(tail, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		const char *words = qemu_words(l);

		if (strstr(l, ": starting up libvirt "))
			*ret = '\0';	/* what an earlier one said */
		if (words)
			snprintf(ret, size, "%s", words);
	}
	for (char *p = ret; *p; p++)
		if ((unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f)
			*p = '?';
}

pid_t guest_process(const char *root, const char *name)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/run/qemu/%s.pid", root, name);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? 0 : lock_holder(fd);
}

int guest_process_list(const char *root, void (*fn)(void *arg, const char *name, pid_t pid), void *arg, struct err *e)
{
	char path[PATH_MAX], name[256];

	snprintf(path, sizeof path, "%s/run/qemu", root);
	DIR *d = opendir(path);

	if (!d)
		return errno == ENOENT ? 0 : err_set(e, errno, "open %s: %m", path);
	for (struct dirent *entry; (entry = readdir(d)); ) {
		size_t n = strlen(entry->d_name);

		if (n < 5 || strcmp(entry->d_name + n - 4, ".pid") != 0)
			continue;
		snprintf(name, sizeof name, "%.*s", (int)n - 4, entry->d_name);
		pid_t pid = guest_process(root, name);
		if (pid > 0)
			fn(arg, name, pid);
	}
	closedir(d);
	return 0;
}

int guest_process_end(const char *root, const char *name, struct err *e)
{
	return hyper_embed_sweep(root, name, e);
}
