#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "auto.h"

#define SEARCH_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static bool is_program(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

static bool find_program(const char *prog, char *path, size_t size)
{
	if (strchr(prog, '/'))
		return snprintf(path, size, "%s", prog) < (int)size && is_program(path);
	const char *env = getenv("CIRRUSFS_PATH");	/* tests take programs away with it */

	for (const char *p = env ? env : SEARCH_PATH; *p; ) {
		size_t n = strcspn(p, ":");

		if (snprintf(path, size, "%.*s/%s", (int)n, p, prog) < (int)size && is_program(path))
			return true;
		p += n + (p[n] == ':');
	}
	return false;
}

bool spawn_found(const char *prog)
{
	char path[512];

	return find_program(prog, path, sizeof path);
}

static void limit(int what, rlim_t value)
{
	struct rlimit r = { value, value };

	if (value)
		setrlimit(what, &r);
}

/* Between fork and exec in a threaded process: system calls only. */
static void __attribute__((noreturn)) child(const struct spawn *s, const char *path, const struct passwd *pw,
					    int in, int out, int err)
{
	sigset_t none;

	if (s->netns_fd > 0 && setns(s->netns_fd, CLONE_NEWNET) < 0)
		_exit(126);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	close_range(3, ~0U, 0);
	limit(RLIMIT_CPU, s->cpu_s);
	limit(RLIMIT_AS, s->memory);
	limit(RLIMIT_CORE, 0);
	if (pw && (setgroups(0, NULL) < 0 || setgid(pw->pw_gid) < 0 || setuid(pw->pw_uid) < 0))
		_exit(126);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	execv(path, (char *const *)s->argv);
	_exit(127);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Takes what is there; 0 at the end of the stream. */
static int drain(int fd, FILE *to, size_t *room)
{
	char buf[16384];
	ssize_t n = read(fd, buf, sizeof buf);

	if (n <= 0)
		return n < 0 && (errno == EINTR || errno == EAGAIN);
	size_t take = (size_t)n < *room ? (size_t)n : *room;

	if (fwrite(buf, 1, take, to) != take)
		take = 0;
	*room -= take;
	return take == (size_t)n ? 1 : -1;
}

/* Reads both streams until they end: 0, ETIMEDOUT, or EFBIG when standard output exceeds its bound. */
static int collect(int out, int err, FILE *outf, FILE *errf, size_t out_room, uint64_t until)
{
	struct pollfd p[2] = { { out, POLLIN, 0 }, { err, POLLIN, 0 } };
	size_t err_room = 65536, *room[2] = { &out_room, &err_room };
	FILE *to[2] = { outf, errf };

	while (p[0].fd >= 0 || p[1].fd >= 0) {
		uint64_t now = now_ms();

		if (now >= until)
			return ETIMEDOUT;
		if (poll(p, 2, (int)(until - now)) < 0 && errno != EINTR)
			return errno;
		for (int i = 0; i < 2; i++) {
			if (p[i].fd < 0 || !p[i].revents)
				continue;
			int rc = drain(p[i].fd, to[i], room[i]);

			if (rc < 0 && i == 0)
				return EFBIG;
			if (rc == 0)
				p[i].fd = -1;
		}
	}
	return 0;
}

/* A program may close its output and go on: 0 it has ended, ETIMEDOUT. */
static int await_end(pid_t pid, uint64_t until)
{
	AUTO(close) int fd = pidfd_open(pid, 0);
	struct pollfd p = { fd, POLLIN, 0 };

	while (fd >= 0) {
		uint64_t now = now_ms();

		if (now >= until)
			return ETIMEDOUT;
		if (poll(&p, 1, (int)(until - now)) > 0)
			break;
	}
	return 0;
}

static void last_line(char *text, const char *prog, const char **ret)
{
	size_t n = strlen(text), skip = strlen(prog);

	while (n && (text[n - 1] == '\n' || text[n - 1] == ' '))
		text[--n] = '\0';
	char *nl = strrchr(text, '\n');
	const char *p = nl ? nl + 1 : text;

	if (strncmp(p, prog, skip) == 0 && p[skip] == ':')
		p += skip + 1 + (p[skip + 1] == ' ');
	*ret = p;
}

int spawn_run(const struct spawn *s, char **ret, struct err *e)
{
	char path[512], errtext[65537] = "", pwbuf[2048];
	struct passwd pwmem, *pw = NULL;
	AUTO(free) char *out = NULL;
	size_t out_len;
	int outp[2], errp[2], status;
	const char *why;

	if (!find_program(s->argv[0], path, sizeof path))
		return err_set(e, ENOENT, "the program %s is not installed", s->argv[0]);
	if (s->user && (getpwnam_r(s->user, &pwmem, pwbuf, sizeof pwbuf, &pw) || !pw))
		return err_set(e, ENOENT, "there is no user '%s' to run %s as", s->user, s->argv[0]);
	if (pipe2(outp, O_CLOEXEC) < 0)
		return err_set(e, errno, "run %s: %m", s->argv[0]);
	AUTO(close) int out_r = outp[0];
	AUTO(close) int out_w = outp[1];
	if (pipe2(errp, O_CLOEXEC) < 0)
		return err_set(e, errno, "run %s: %m", s->argv[0]);
	AUTO(close) int err_r = errp[0];
	AUTO(close) int err_w = errp[1];
	AUTO(close) int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	FILE *outf = open_memstream(&out, &out_len);
	FILE *errf = fmemopen(errtext, sizeof errtext - 1, "w");

	pid_t pid = outf && errf && null >= 0 ? fork() : -1;
	if (pid == 0)
		child(s, path, pw, s->stdin_fd > 0 ? s->stdin_fd : null, out_w, err_w);
	close(steal_fd(&out_w));
	close(steal_fd(&err_w));
	uint64_t until = now_ms() + (s->timeout_ms ? s->timeout_ms : 30000);
	int failed = pid < 0 ? errno : collect(out_r, err_r, outf, errf, s->out_max ? s->out_max : 1 << 20, until);
	if (!failed)
		failed = await_end(pid, until);
	if (outf)
		fclose(outf);
	if (errf)
		fclose(errf);
	if (pid < 0)
		return err_set(e, failed, "run %s: %m", s->argv[0]);
	if (failed)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	last_line(errtext, s->argv[0], &why);
	if (failed)
		return err_set(e, failed, "%s: %s", s->argv[0], failed == ETIMEDOUT ? "no end in the time it was given" :
			       failed == EFBIG ? "wrote more than it may" : strerror(failed));
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "%s was killed by signal %d", s->argv[0], WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, EIO, "%s: %s", s->argv[0], *why ? why : "failed without a word");
	if (ret)
		*ret = steal_ptr(&out);
	return 0;
}
