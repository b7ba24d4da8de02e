/* Running another program: bounded, with nothing inherited by accident.  No shell, no SIGCHLD handler, no waitpid(-1). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "err.h"

struct spawn {
	const char *const *argv;	/* argv[0] is sought in PATH and /usr/sbin:/sbin; ends with NULL */
	int netns_fd;			/* run in this network namespace; 0 or -1: ours */
	const char *user;		/* run as this user, his group and no others; NULL: as we are */
	unsigned timeout_ms;		/* SIGKILL after this long; 0: 30 s */
	unsigned cpu_s;			/* RLIMIT_CPU; 0: none */
	size_t memory;			/* RLIMIT_AS in bytes; 0: none */
	int stdin_fd;			/* 0 or -1: /dev/null */
	size_t out_max;			/* more output than this is an error (EFBIG); 0: 1 MiB */
};

/* Runs it to its end.  *out (may be NULL: output dropped) is what it wrote to standard output, NUL-terminated, the caller's to free.
 * Exit status other than 0: EIO, the sentence is the last line it wrote to standard error (without "prog: ").
 * ENOENT: no such program (the sentence names it); ETIMEDOUT: killed by the bound. */
int spawn_run(const struct spawn *s, char **out, struct err *e);
/* 1: the program is found where spawn_run looks; 0: it is not. */
bool spawn_found(const char *prog);
