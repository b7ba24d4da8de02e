/* cirrusfs init: a store with its first tenant, flavors and host. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools.h"

const struct option_line init_options[] = { { 0 } };
const char init_about[] =
	"The store is a directory: the state, the settings (`config`), the data of images, the disks of servers. It begins with the tenant\n"
	"`admin`, the flavors `m1.*` and the host `local`, this machine. Where a store is already, nothing is changed.\n";

int cmd_init(int argc, char **argv)
{
	const char *store = argc > 1 ? argv[1] : DEFAULT_STORE;
	char state[4096];
	struct cloud *c;
	struct err e = { 0 };

	if (argc > 2 || (argc > 1 && argv[1][0] == '-'))
		return usage("init");
	if (geteuid() != 0) {
		err_set(&e, EPERM, "only root may make a store");
		return die(&e);
	}
	if (snprintf(state, sizeof state, "%s/state.db", store) >= (int)sizeof state)
		err_set(&e, ENAMETOOLONG, "the path of the store is too long");
	else if (access(state, F_OK) == 0)
		err_set(&e, EEXIST, "there is already a store at %s; nothing was changed", store);
	if (e.code || cloud_open(store, true, &c, &e) < 0)
		return die(&e);
	printf("made a store at %s; now: cirrusfs mount %s MOUNTPOINT\n", c->fs.store, c->fs.store);
	cloud_close(c);
	return 0;
}
