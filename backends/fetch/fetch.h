/* Files from elsewhere: http, https, and file below directories that are allowed.  Knows URLs, files, progress, cancelling; nothing of what
 * the files are.  One thread runs all transfers over the network, another copies local files, so no caller ever waits.
 *
 * Who wants a URL joins its download; those who want the same URL meanwhile share it.  Each takes the whole file (a hard link) and leaves; with
 * the last the file goes.  A connection that is lost is continued where it ended, if the server says that the file is still the
 * same, also by a later process: what came is in DIR/KEY.part, what identifies it in DIR/KEY.note. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/err.h"

struct fetcher;

struct fetch_conf {	/* texts are borrowed and outlive the fetcher, all but dir */
	const char *dir;	/* for parts, ours alone */
	const char *dirs;	/* file:// is allowed below these absolute directories, separated by ':' */
	const char *hosts;	/* blank-separated names, .domains, addresses, networks; "": any that is not this machine's own (see fetch_check) */
	const char *ca;		/* a file of certificates trusted besides the system's; "": none */
	const char *agent;	/* "cirrusfs/0.1" */
	const char *avoid;	/* a directory no local file is opened below; NULL: none */
	uint64_t max;		/* bytes of a file */
	unsigned connect_s, stall_s;	/* a connection not made by then; less than 1 KiB/s for so long */
	unsigned total_s;	/* a whole download */
	unsigned retries, retry_ms;	/* in a row without a MiB between them; the pause before the first, doubled each time up to 30 s */
	void (*poke)(void *arg, int64_t who);	/* a download `who` joined is whole or has failed; no lock is held */
	void *arg;
};

struct fetch_state {
	bool whole;
	int64_t have, total;	/* bytes; total -1: not known */
	unsigned tries;		/* connections so far */
	int64_t deadline_ms;	/* when it is given up, CLOCK_MONOTONIC */
	char trouble[128];	/* why the last one ended, while the next is waited for; "" */
};

/* Nothing is fetched before it is asked for.  EINVAL: dirs or hosts cannot be understood. */
int fetcher_open(const struct fetch_conf *conf, struct fetcher **ret, struct err *e);
/* Ends what runs within moments; parts stay for the next process. */
void fetcher_close(struct fetcher *f);

/* Looks at the text alone: EINVAL no URL of ours, EACCES it is not allowed.  Without `hosts`, addresses of this machine itself and of its link
 * (loopback, 169.254.0.0/16, fe80::/10, 0.0.0.0, multicast) are refused, whatever name leads there; each address is looked at again when it
 * is connected to, on every redirect. */
int fetch_check(const struct fetcher *f, const char *url, struct err *e);
/* The download of url, begun if nobody has it; the same call again tells how it is.  A failure is told to each who joined: -errno and
 * why, and he has left then.  ENOENT 404; EACCES 401, 403, not allowed; EFBIG, ENOSPC, ELOOP, ETIMEDOUT, ECONNREFUSED,
 * EHOSTUNREACH (no such host), EPROTO (certificate, redirect to http), EIO anything else. */
int fetch_join(struct fetcher *f, const char *url, int64_t who, struct fetch_state *ret, struct err *e);
/* The first bytes, as many as came; 0 when none did. */
size_t fetch_head(struct fetcher *f, int64_t who, void *buf, size_t size);
/* The whole file, on disk, also at `path` (same file system, replaced). */
int fetch_take(struct fetcher *f, int64_t who, const char *path, struct err *e);
/* Not interested (any more); with the last who wants it the download ends.  keep: the part stays for a later join. */
void fetch_leave(struct fetcher *f, int64_t who, bool keep);
/* Bytes that came, -1 when `who` has joined nothing. */
int64_t fetch_have(struct fetcher *f, int64_t who);
/* What is left of earlier downloads that nobody runs and wanted() does not want goes. */
void fetch_sweep(struct fetcher *f, bool (*wanted)(void *arg, const char *url), void *arg);

/* For sentences: without name, password and query, which may be secrets; cut to fit. */
void fetch_name(const char *url, char *ret, size_t size);
/* The URL with its password as ***: what is shown.  1 there was a password, 0 none.  The caller frees. */
int fetch_shown(const char *url, char **ret, struct err *e);
