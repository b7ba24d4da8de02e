/* cirrusfs console: a terminal on a server's serial port.  Only opens, reads and writes: the tree does the rest. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "tools.h"

#define LEAVE 0x1d	/* Ctrl-] */
#define QUIET_MS 2000

const struct option_line console_options[] = { { 0 } };
const char console_about[] =
	"*PATH* is a server's directory, or its file `console`. What is typed goes to the guest's serial port, what it says comes back; what it said\n"
	"before is in `console.log`. Several may be connected at once. Ctrl-] leaves, and so does the guest's end.\n"
	"\n"
	"When standard input is no terminal, it is sent, and the command ends when the guest has been silent for two seconds after that:\n"
	"\n"
	"    echo uptime | cirrusfs console /cloud/tenants/acme/servers/web1\n";

static struct termios before;
static volatile sig_atomic_t is_raw;

static void restore(void)
{
	if (is_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &before);
	is_raw = 0;
}

static void on_signal(int sig)
{
	restore();
	signal(sig, SIG_DFL);
	raise(sig);
}

static void make_raw(void)
{
	static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		signal(ends[i], on_signal);
	raw = before;
	cfmakeraw(&raw);
	is_raw = 1;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fprintf(stderr, "connected; Ctrl-] leaves\r\n");
}

static int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool put_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EAGAIN)	/* the guest is slower than who types */
			nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
		else if (n < 0 && errno != EINTR)
			return false;
		buf += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
	return true;
}

static _Atomic int64_t heard;	/* when the guest last said something */

/* Until the guest ends, and the program with it. */
static void *show(void *arg)
{
	int fd = *(int *)arg;
	char buf[65536];
	ssize_t n;

	while ((n = read(fd, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR)) {
		heard = mono_ms();
		if (n > 0 && !put_all(STDOUT_FILENO, buf, (size_t)n))
			break;
	}
	int why = n < 0 ? errno : 0;

	restore();
	if (why)
		fprintf(stderr, "\ncirrusfs: the console: %s\n", strerror(why));
	else if (n == 0)
		fprintf(stderr, "\ncirrusfs: the guest has ended\n");
	exit(why != 0);
}

static int talk(int to)
{
	char buf[4096], *leave;
	ssize_t n;

	while ((n = read(STDIN_FILENO, buf, sizeof buf)) > 0 || (n < 0 && errno == EINTR)) {
		leave = is_raw && n > 0 ? memchr(buf, LEAVE, (size_t)n) : NULL;
		if (n > 0 && !put_all(to, buf, leave ? (size_t)(leave - buf) : (size_t)n)) {
			int why = errno;

			restore();
			fprintf(stderr, "\ncirrusfs: the console: %s\n", strerror(why));
			return 1;
		}
		if (leave)
			break;
	}
	if (!is_raw)
		for (heard = mono_ms(); mono_ms() - heard < QUIET_MS; )
			nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	restore();
	if (isatty(STDIN_FILENO))
		fputs("\n", stderr);
	return 0;
}

/* The sentence the cloud keeps for the refusal that just came: the newest line of last-error at the top of that mount. */
static bool refusal(const char *path, char *line, size_t size)
{
	char at[PATH_MAX];
	struct stat here, up;

	if (stat(path, &here) < 0 || !realpath(path, at))
		return false;
	for (char *slash; (slash = strrchr(at, '/')) && slash > at; ) {
		*slash = '\0';
		if (stat(at, &up) < 0 || up.st_dev != here.st_dev) {
			*slash = '/';
			break;
		}
	}
	if (strlen(at) + 12 > sizeof at)
		return false;
	strcat(at, "/last-error");
	FILE *f = fopen(at, "re");
	bool there = f && fgets(line, (int)size, f);

	if (f)
		fclose(f);
	return there;
}

static int open_console(const char *path, int flags, int *ret)
{
	char line[1024];

	*ret = open(path, flags | O_CLOEXEC);
	if (*ret >= 0)
		return 0;
	int why = errno;

	/* what the cloud itself refused, and not the kernel before it */
	if ((why == EBUSY || why == EOPNOTSUPP || why == EHOSTDOWN) && refusal(path, line, sizeof line))
		fprintf(stderr, "cirrusfs: %s", line);
	else
		fprintf(stderr, "cirrusfs: %s: %s\n", path, strerror(why));
	return -1;
}

int cmd_console(int argc, char **argv)
{
	char path[PATH_MAX];
	pthread_t reader;
	struct stat st;
	int from, to;

	if (argc == 3 && strcmp(argv[1], "--") == 0)
		argv++, argc--;
	if (argc != 2)
		return usage("console");
	bool dir = stat(argv[1], &st) == 0 && S_ISDIR(st.st_mode);

	if (snprintf(path, sizeof path, "%s%s", argv[1], dir ? "/console" : "") >= (int)sizeof path)
		return usage("console");
	if (open_console(path, O_RDONLY, &from) < 0 || open_console(path, O_WRONLY, &to) < 0)
		return 1;
	heard = mono_ms();
	signal(SIGPIPE, SIG_IGN);	/* else the terminal would stay raw when who reads us goes */
	make_raw();
	if (pthread_create(&reader, NULL, show, &from) != 0) {
		restore();
		fprintf(stderr, "cirrusfs: start a thread: %m\n");
		return 1;
	}
	exit(talk(to));
}
