/* Inside backends/compute only: the table every hypervisor fills, and what its files share. */
#pragma once

#include "hyper.h"

struct hyper_ops;

struct hyper {		/* first member of each backend's own struct */
	const struct hyper_ops *ops;
};

struct hyper_ops {	/* as the functions of hyper.h say; 0 or -errno, may block, called from any thread */
	void (*close)(struct hyper *h);
	int (*info)(struct hyper *h, struct hyper_info *ret, struct err *e);
	int (*alive)(struct hyper *h, struct err *e);
	int (*start)(struct hyper *h, const struct guest_spec *spec, struct err *e);
	int (*resume)(struct hyper *h, const char *name, struct err *e);
	int (*shutdown)(struct hyper *h, const char *name, struct err *e);
	int (*destroy)(struct hyper *h, const char *name, struct err *e);
	int (*state)(struct hyper *h, const char *name, enum guest_state *ret, struct err *e);
	int (*stats)(struct hyper *h, void (*fn)(void *arg, const char *name, const struct guest_stats *s), void *arg, struct err *e);
	int (*screenshot)(struct hyper *h, const char *name, FILE *out, struct err *e);
	int (*vnc_port)(struct hyper *h, const char *name, unsigned *ret, struct err *e);
	int (*list)(struct hyper *h, void (*fn)(void *arg, const char *name, enum guest_state s), void *arg, struct err *e);
};

/* libvirt.c */
int hyper_libvirt_init(struct err *e);
int hyper_libvirt_open(const struct hyper_config *c, struct hyper **ret, struct err *e);

/* embed.c: the root of qemu:///embed?root=DIR.
 * The DIR of such a uri, percent-decoded, the caller's to free; NULL for every other uri. */
char *hyper_embed_root(const char *uri);
/* Makes `root` and its qemu.conf.  user NULL: guests run as we do. */
int hyper_embed_prepare(const char *root, const char *user, struct err *e);
/* There is a /dev/kvm and guests' user may not open it. */
bool hyper_embed_kvm_hidden(const char *user);
/* Then, once libvirt has looked at qemu: takes KVM out of what it noted (why: embed.c). */
void hyper_embed_forget_kvm(const char *root);
/* After libvirt knows no domain `name`: ends a qemu of it that libvirt lost, and removes what libvirt leaves behind. */
int hyper_embed_sweep(const char *root, const char *name, struct err *e);

/* xml.c: the domain's XML, the caller's to free.  simulated: for the test driver, which knows no devices.  EINVAL. */
int hyper_domain_xml(const struct guest_spec *spec, bool simulated, char **ret, struct err *e);

/* screen.c: a portable pixmap (P6, netpbm's ppm(5)) as PNG.  EBADMSG: it is none. */
int hyper_ppm_to_png(const char *ppm, size_t len, FILE *out, struct err *e);

/* fault.c: puts a table before `*h` (which it owns from then on) that breaks the calls `rules` names (../base/fault.h).
 * OP = info alive start resume shutdown destroy state list screenshot vnc_port stats; WHOM = only for hosts whose URI begins so.
 * Counted per handle, from its open.  EINVAL: a rule that is none; *h stays as it was, as it does when no rule is
 * for `uri`. */
int hyper_fault_wrap(struct hyper **h, const char *rules, const char *uri, struct err *e);
