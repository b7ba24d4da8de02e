/* Servers against the machine: their files, and the processes of their guests. */
#include "../check.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "../../backends/base/log.h"
#include "../../backends/block/disk.h"
#include "../../backends/state/audit.h"
#include "hosts.h"
#include "server.h"

/* ---- files */

struct servers {
	struct check *k;
	struct server_audit *v;
	size_t n;
};

static int keep(void *arg, const struct server_audit *s)
{
	struct servers *x = arg;
	struct server_audit *v = s->busy || s->deleted ? NULL : reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 0;
	x->v = v;
	v[x->n++] = *s;
	return 0;
}

static bool is_local(const struct server_audit *s)
{
	return strncmp(s->uri, "qemu:///embed", 13) == 0;
}

static int record(struct check *k, int64_t server, const char *status, const char *power, const char *verb, const char *why, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, server, &o, e) < 0 ||
	    obj_set_text(&c, &o, "power", power, e) < 0 || obj_set_status(&c, &o, status, e) < 0 ||
	    history_add(c.db, server, verb, "ok", c.request, "system", 0, why, e) < 0 || event_put(&c, &o, verb, "ok", -1, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static void disk_path(struct check *k, int64_t server, char *ret, size_t size)
{
	snprintf(ret, size, "%s/servers/%ld/disk.qcow2", k->cl->fs.store, (long)server);
}

/* in_use: its qemu has the disk open and writes to it. */
static void check_disk(struct check *k, const struct server_audit *s, bool in_use)
{
	char path[PATH_MAX];
	struct err e = { 0 };
	struct stat st;

	disk_path(k, s->id, path, sizeof path);
	if (!s->launched || strcmp(s->status, "ERROR") == 0)
		return;
	if (stat(path, &st) < 0)
		check_object(k, s->id, NULL, NULL, "its disk %s: %s; a start would make an empty one from its image", path, strerror(errno));
	else if (k->data && !in_use && disk_check(path, "qcow2", &e) < 0)
		check_object(k, s->id, NULL, NULL, "its disk is damaged: %s", e.msg);
}

/* ---- guests' processes; the running system compares with the hypervisor itself (hosts.c) */

struct guests {
	struct check *k;
	struct words names;
};

static void keep_name(void *arg, const char *name, pid_t pid)
{
	words_add(&((struct guests *)arg)->names, name);
}

static int end_guest(struct check *k, int64_t id, const char *name, struct err *e)
{
	return guest_process_end(k->cl->run, name, e);
}

static int note_off(struct check *k, int64_t id, const char *name, struct err *e)
{
	return record(k, id, "SHUTOFF", "SHUTDOWN", "power-off", "fsck", e);
}

static int note_on(struct check *k, int64_t id, const char *name, struct err *e)
{
	return record(k, id, "ACTIVE", "RUNNING", "power-on", "fsck", e);
}

static int check_orphans(struct check *k, const struct words *names, struct err *e)
{
	static const struct mend ended = { "ended", end_guest };

	for (size_t i = 0; i < names->n; i++) {
		long row = 0;
		char thing[300];
		int rc = sscanf(names->v[i], "c-%ld", &row) == 1 ? check_known(k, &server_kind, row, e) : 0;

		if (rc < 0)
			return rc;
		snprintf(thing, sizeof thing, "guest %s", names->v[i]);
		if (rc == 0)
			check_fault(k, 0, thing, &ended, row, names->v[i], "its qemu runs (process %d) and there is no such server",
				    (int)guest_process(k->cl->run, names->v[i]));
	}
	return 0;
}

static void check_guest(struct check *k, const struct server_audit *s, const struct words *names)
{
	static const struct mend off = { "it is SHUTOFF now", note_off }, on = { "it is ACTIVE now", note_on };
	char name[24];

	guest_name(s->id, name);
	bool lives = words_has(names, name);
	if (!lives && strcmp(s->status, "ACTIVE") == 0)
		check_object(k, s->id, &off, NULL, "it is ACTIVE and its guest does not run");
	if (lives && strcmp(s->status, "SHUTOFF") == 0)
		check_object(k, s->id, &on, NULL, "it is SHUTOFF and its guest runs");
}

int servers_check(struct check *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct servers x = { .k = k };
	struct guests g = { .k = k };
	bool guests = !k->running && !k->restarted;
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = server_audit(c.db, 0, keep, &x, e);
	call_end(&c);
	c = (struct call){ 0 };
	if (rc == 0 && guests)
		rc = guest_process_list(k->cl->run, keep_name, &g, e);
	if (rc == 0 && guests)
		rc = check_orphans(k, &g.names, e);
	for (size_t i = 0; i < x.n && rc == 0; i++) {
		const struct server_audit *s = &x.v[i];
		char name[24];

		if (!is_local(s))
			continue;
		guest_name(s->id, name);
		if (guests)
			check_guest(k, s, &g.names);
		check_disk(k, s, guests && words_has(&g.names, name));
	}
	if (rc == 0)
		rc = check_strays(k, "servers", &server_kind, NULL, e);
	words_free(&g.names);
	free(x.v);
	return rc;
}
