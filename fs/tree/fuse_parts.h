/* Shared by fuse.c and fuse_files.c only. */
#pragma once

#include <fuse_lowlevel.h>

#include "node.h"

#define LONG_S 86400.0

struct server {
	struct fs *fs;
	struct fuse_session *se;
};

/* A request: its call, who asks, and the one place where a refusal is kept. */
struct req {
	fuse_req_t req;
	struct fs *fs;
	struct call c;
	struct who who;
	struct err e;
	pid_t tid;
	bool known;	/* who is filled in */
	bool reads;	/* no command: its refusal is the session's alone, not the object's */
};

static inline struct fs *fs_of(fuse_req_t req)
{
	return ((struct server *)fuse_req_userdata(req))->fs;
}

/* Without a connection to the state. */
static inline struct req req_bare(fuse_req_t req)
{
	return (struct req){ .req = req, .fs = fs_of(req), .tid = fuse_req_ctx(req)->pid };
}

/* With one; -errno: it is answered. */
int req_begin(struct req *r, fuse_req_t req);
void req_end(struct req *r);
#define AUTO_REQ __attribute__((cleanup(req_end))) struct req
const struct who *req_who(struct req *r);
/* Answers what r->e says, and keeps the sentence; about n, or `name` in it. */
void req_fail(struct req *r, struct node n, const char *name);
/* Answers that something is not there come by the thousand and are nobody's mistake. */
void req_fail_quietly(struct req *r);
