/* What /proc says of the thread behind a request: to be asked while the request is unanswered. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc {
	pid_t session;
	uint64_t started;	/* clock ticks since boot: with the pid, who it is */
	bool killed;		/* it is ending, by a signal */
};

/* false: not visible (of another pid namespace, or gone). */
bool proc_read(pid_t tid, struct proc *ret);
/* The process a thread belongs to; the thread itself when that is not visible. */
pid_t proc_tgid(pid_t tid);
