/* What the kinds share: the settings, where things are kept, the connections to the hosts.  fs/root.c lists the kinds. */
#pragma once

#include <pthread.h>

#include "../backends/base/config.h"
#include "tree/help.h"
#include "tree/tree.h"

struct fetcher;
struct keeper;
struct hosts;
struct objects;
struct http;
struct watch;


struct cloud {
	struct fs fs;
	struct config cfg;
	char hash[9];		/* 8 hex digits that name this store on this machine: /run/cirrusfs/HASH, cfsHASHn1 */
	char run[64];		/* /run/cirrusfs/HASH */
	char data[96];		/* run/store: the store, by a path that guests' user can walk */
	int lock;		/* fd of STORE/lock; its lock says who holds the store */
	struct hosts *hosts;
	struct http *http;	/* the metadata service of all networks */
	unsigned char secret[32];	/* of the store: guests' random seeds are made of it */
	struct consoles *consoles;	/* guests' serial ports that are being read */
	struct fetcher *fetcher;	/* of images */
	struct keeper *bases;	/* looks after their base files */
	pthread_t networks;	/* brings them up at start */
	bool stopping;		/* ... and stops doing so */
	struct objects *objects;	/* of all containers; NULL: it could not be opened */
	char objects_error[512];	/* ... and why */
	struct watch *watch;	/* looks for drift (fs/check.h) */
};

static inline struct cloud *cloud_of(struct fs *fs)
{
	return fs->cloud;
}

extern const struct kind tenant_kind, key_kind, flavor_kind, host_kind, image_kind, network_kind, subnet_kind, port_kind, server_kind,
	metadata_kind, image_property_kind, flavor_property_kind, container_kind;
extern const struct kind *const cloud_kinds[];

/* Opens the store at path (state, settings, run directory; the process holds it from here).  create: init.
 * EBUSY: another process holds it (names the pid).  Nothing is started. */
int cloud_open(const char *path, bool create, struct cloud **ret, struct err *e);
/* Hosts are connected, unfinished tasks go on. */
int cloud_start(struct cloud *c, struct err *e);
/* No step is begun any more, what runs is waited for, guests are left alone.  Nothing serves any more.  False: a step hangs, its thread
 * uses all of this until the process ends; its task is the next start's. */
bool cloud_stop(struct cloud *c);
void cloud_close(struct cloud *c);
/* From here the log goes to STORE/log. */
void cloud_log(struct cloud *c);

/* Makes it, where there is room for it. */
void cloud_keep_reserve(struct cloud *c);
/* Nobody mounted the store since the machine was started: what the kernel and /run held for it is gone. */
bool cloud_restarted(const struct cloud *c);

#define CIRRUSFS_VERSION "0.1"
#define CIRRUSFS_DATE "2026-11-23"	/* of that version: what the manual says */
/* 1 while a process holds the store: *pid, and where it is mounted. */
int cloud_holder(const char *path, pid_t *pid, char *mountpoint, size_t size, struct err *e);
/* Tells a later process where this one is mounted. */
void cloud_note_mount(struct cloud *c, const char *mountpoint);

/* "cfs1a2b3c4dn12": the namespace of a network; the host's end of its link; the store's nftables table; a guest's tap. */
void cloud_netns(const struct cloud *c, int64_t network, char ret[32]);
void cloud_link(const struct cloud *c, int64_t network, char ret[16]);
void cloud_tap(const struct cloud *c, int64_t port, char ret[16]);

/* EDQUOT with used and limit when `add` more would be too many. */
int quota_check(struct call *c, int64_t tenant, const char *name, int64_t add, struct err *e);
