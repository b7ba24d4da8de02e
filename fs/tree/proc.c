#include "proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/base/auto.h"

#define PF_SIGNALED 0x400	/* include/linux/sched.h */

static bool read_text(pid_t tid, const char *name, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/%s", (int)tid, name);
	AUTO(close) int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	return true;
}

/* Fields after the last ')', since a program's name may hold one.  proc(5): 3 state, 6 session, 9 flags, 22 starttime. */
bool proc_read(pid_t tid, struct proc *ret)
{
	unsigned long long started;
	unsigned flags;
	char buf[1024];
	int session;

	if (!read_text(tid, "stat", buf, sizeof buf))
		return false;
	const char *s = strrchr(buf, ')');
	if (!s || sscanf(s + 1, " %*c %*d %*d %d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &session, &flags,
			 &started) != 3)
		return false;
	*ret = (struct proc){ .session = session, .started = started, .killed = flags & PF_SIGNALED };
	return true;
}

pid_t proc_tgid(pid_t tid)
{
	char buf[2048];
	const char *s = read_text(tid, "status", buf, sizeof buf) ? strstr(buf, "\nTgid:") : NULL;

	return s ? (pid_t)atoi(s + 6) : tid;
}
