/* cirrusfs fsck: the state of a store that is not mounted against what there is. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../fs/check.h"
#include "tools.h"

enum { CLEAN = 0, FAULTS = 1, FAILED = 2 };

const struct option_line fsck_options[] = {
	{ "--repair", NULL, "mend what can be mended, and say how; what may be data goes to STORE/lost+found" },
	{ "--data", NULL, "also read images and compare their checksums, and look into images and disks with qemu-img" },
	{ 0 }
};
const char fsck_about[] =
	"A line each fault, `THING: what is wrong`, and with **--repair** what was done about it. What is compared: the state with itself (SQLite's own\n"
	"integrity, references, what is counted, tasks), images and disks with the store's files, networks with namespaces, bridges, taps, links,\n"
	"nftables and dnsmasq, servers with their guests' processes; both ways, so what stands under this store's names and belongs to\n"
	"nothing is found, too.\n"
	"\n"
	"A check changes nothing, and neither libvirt nor a guest is asked anything: it may be done while guests run and nobody serves the store. Hosts\n"
	"that are other machines are left to the running system, which compares all of this by itself (`health`, `events`).\n"
	"\n"
	"What may be somebody's data is never removed: it goes to *STORE*/lost+found. With **--data** the disks of guests that run are left out.\n";
const char fsck_exits[] = "1|something is wrong, or was before it was repaired\n2|it could not be checked: the store is mounted, is none, or cannot be read\n";

static void found(void *arg, const struct finding *f)
{
	printf("%s: %s", f->thing, f->wrong);
	if (f->did)
		printf(": %s", f->did);
	else if (f->failed.code)
		printf(": not mended: %s", f->failed.msg);
	putchar('\n');
	fflush(stdout);
}

static int fail(const struct err *e)
{
	die(e);
	return FAILED;
}

int cmd_fsck(int argc, char **argv)
{
	struct check k = { .found = found };
	const char *store = NULL;
	struct err e = { 0 };

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--repair") == 0)
			k.mend = true;
		else if (strcmp(argv[i], "--data") == 0)
			k.data = true;
		else if (argv[i][0] == '-' || store)
			return usage("fsck");
		else
			store = argv[i];
	}
	if (geteuid() != 0) {
		err_set(&e, EPERM, "only root may check a store");
		return fail(&e);
	}
	if (cloud_open(store ? store : DEFAULT_STORE, false, &k.cl, &e) < 0) {
		if (e.code == EBUSY)
			err_prefix(&e, "a mounted cloud checks itself, see its file health");
		return fail(&e);
	}
	k.restarted = cloud_restarted(k.cl);
	int rc = check_all(&k, &e);
	if (rc < 0)
		fail(&e);
	else if (!k.n)
		printf("%s: clean%s\n", k.cl->fs.store, k.restarted ? " (networks and guests come with the next mount)" : "");
	cloud_close(k.cl);
	if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
		rc = err_set(&e, EIO, "what was found could not be written");
		fail(&e);
	}
	return rc < 0 ? FAILED : k.n ? FAULTS : CLEAN;
}
