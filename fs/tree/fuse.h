/* The FUSE transport: low-level, multithreaded.  The only place that knows libfuse. */
#pragma once

#include "tree.h"

struct server;
/* Mounts fs at fs->mountpoint; opts: what stands after -o beyond our own ("allow_other,ro" ...), may be NULL. */
int server_mount(struct fs *fs, const char *opts, struct server **ret, struct err *e);
/* Serves until it is unmounted, or SIGTERM, SIGINT, SIGHUP came; then the mount is detached and blocked reads have ended. */
int server_run(struct server *s, struct err *e);
void server_free(struct server *s);
