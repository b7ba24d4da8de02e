/* One hypervisor connection, whatever is behind it.  Knows domains by name, nothing of tenants, rows or paths in the tree.
 * Every call may block (each is run on a worker's thread, never on one that serves a request) and may come from any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "../base/auto.h"
#include "../base/err.h"

struct hyper;

enum guest_state {
	GUEST_GONE,	/* no such domain */
	GUEST_OFF,	/* a domain that exists and does not run */
	GUEST_RUNNING,
	GUEST_PAUSED,
	GUEST_CRASHED,
};

struct guest_disk {
	const char *path;	/* qcow2 or raw file */
	const char *format;	/* "qcow2" | "raw" */
	const char *serial;	/* may be NULL */
	bool cdrom;		/* read-only, IDE/SATA cdrom */
};

struct guest_nic {
	const char *tap;	/* an existing tap device of ours in the host's namespace: <interface type='ethernet'> managed='no' */
	const char *mac;
	unsigned mtu;
};

struct guest_spec {
	const char *name;	/* domain name, "c-12" */
	const char *uuid;
	const char *hostname;	/* <title>, for whoever looks with virsh */
	unsigned vcpus;
	uint64_t ram_mib;
	const char *virt_type;	/* "kvm" | "qemu"; ignored by test hosts */
	const struct guest_disk *disks;
	size_t n_disks;
	const struct guest_nic *nics;
	size_t n_nics;
	const char *console_log;	/* serial port's output is appended to this file; NULL: none */
	const char *console_socket;	/* the serial port listens here for one client (console.h); what nobody takes is still logged */
	const char *vnc_listen;		/* address of its screen; NULL: it has none */
	const char *vnc_password;	/* at most 8 bytes: the protocol takes no more */
};

struct hyper_info {
	uint64_t vcpus, ram_mib;	/* of the machine */
	char hypervisor[64];		/* "QEMU 7.2.22", "Test 2" */
	bool simulated;			/* test:/// : nothing outside libvirt may be made for its guests */
};

/* Called from the event loop's thread whenever a domain's state changed; must only take note.  `why` is libvirt's word
 * ("shutdown", "destroyed", "crashed", "failed" ...).  With name NULL: the connection itself was lost. */
typedef void hyper_event_fn(void *arg, const char *name, enum guest_state now, const char *why);

struct hyper_config {
	const char *uri;	/* qemu:///embed?root=DIR, test:///default, qemu:///system, qemu+ssh://... */
	const char *user;	/* embedded driver: guests run as this user and his group */
	hyper_event_fn *event;	/* may be NULL */
	void *arg;
};

/* Once per process, before the first hyper_open and before threads are many: error handler, event loop thread. */
int hyper_init(struct err *e);
/* Connects.  For qemu:///embed the root's qemu.conf is written first (security: DAC with `user`, stdio_handler "file", no
 * virtlogd, no cgroup or namespace need that a machine without systemd cannot meet), and DIR made with the modes it needs.
 * Domains that outlived an earlier process are there again.  EHOSTDOWN when it cannot be reached.  CIRRUSFS_FAULT in the
 * environment breaks calls on purpose (ops.h). */
int hyper_open(const struct hyper_config *c, struct hyper **ret, struct err *e);
/* Guests run on.  Waits for an event that is being told; none comes afterwards.  Not to be called by an event. */
void hyper_close(struct hyper *h);
AUTO_FN(struct hyper *, hyper_close);

int hyper_info(struct hyper *h, struct hyper_info *ret, struct err *e);
/* 0 while the connection is alive. */
int hyper_alive(struct hyper *h, struct err *e);
/* Starts a transient domain, paused.  One that exists already: EEXIST. */
int hyper_start(struct hyper *h, const struct guest_spec *spec, struct err *e);
/* 0 also when it runs already; ENOENT. */
int hyper_resume(struct hyper *h, const char *name, struct err *e);
/* Asks by ACPI and returns. */
int hyper_shutdown(struct hyper *h, const char *name, struct err *e);
/* Ends it now; 0 also when it is not there (afterwards it is certainly not). */
int hyper_destroy(struct hyper *h, const char *name, struct err *e);
/* *ret = GUEST_GONE and 0 for an unknown name. */
int hyper_state(struct hyper *h, const char *name, enum guest_state *ret, struct err *e);
/* What its screen shows, as PNG into `out`.  EBUSY: it does not run; EOPNOTSUPP: it has none. */
int hyper_screenshot(struct hyper *h, const char *name, FILE *out, struct err *e);
/* The TCP port of its VNC server; 0: it has none. */
int hyper_vnc_port(struct hyper *h, const char *name, unsigned *ret, struct err *e);
struct guest_stats {	/* since it was started */
	double cpu_s;
	uint64_t rss, ram;		/* bytes: what its process holds, what it believes to have */
	uint64_t read_bytes, read_ops, written_bytes, write_ops;	/* of all its disks */
};
/* Calls fn for every domain that runs. */
int hyper_stats(struct hyper *h, void (*fn)(void *arg, const char *name, const struct guest_stats *s), void *arg, struct err *e);
/* Calls fn for every domain. */
int hyper_list(struct hyper *h, void (*fn)(void *arg, const char *name, enum guest_state s), void *arg, struct err *e);

/* ---- guests' processes of an embedded driver, found without it and without them: nothing is connected, nobody is asked ---- */
/* fn for each that lives; root: DIR of qemu:///embed?root=DIR. */
int guest_process_list(const char *root, void (*fn)(void *arg, const char *name, pid_t pid), void *arg, struct err *e);
/* 0: it has none. */
pid_t guest_process(const char *root, const char *name);
/* The last line its qemu itself wrote since it was started; "": none. */
void guest_last_words(const char *root, const char *name, char *ret, size_t size);
/* Ends it, if it lives, and removes its traces.  Only while no driver of that root is open. */
int guest_process_end(const char *root, const char *name, struct err *e);

/* Does /dev/kvm really run a guest?  Starts a tiny boot sector under qemu -accel kvm as `user` that says it is alive, and
 * waits timeout_ms for it.  0 it does; else why not. */
int hyper_probe_kvm(const char *user, unsigned timeout_ms, struct err *e);
/* The same without KVM: does qemu run a guest at all? */
int hyper_probe_qemu(const char *user, unsigned timeout_ms, struct err *e);
