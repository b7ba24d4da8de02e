/* Which host a server goes to, and why the others were not chosen. */
#pragma once

#include "../cloud.h"

struct need {
	int64_t vcpus, ram, disk;	/* MiB, GiB */
	int64_t host;			/* asked for by name: 0 any */
};
/* In the transaction that will take the room.  *schedule: a line per host, the caller frees; set also on failure.  ENOSPC names each host
 * and what it lacked. */
int place(struct call *c, const struct need *n, int64_t *host, char **schedule, struct err *e);
