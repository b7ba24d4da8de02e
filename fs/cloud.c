#include "cloud.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>

#include "../backends/base/log.h"
#include "../backends/base/spawn.h"
#include "../backends/state/cloud.h"
#include "check.h"
#include "compute/hosts.h"
#include "compute/imds_cloud.h"
#include "compute/server.h"
#include "image/image.h"
#include "network/network.h"
#include "metrics.h"
#include "object/object.h"
#include "tree/ctl.h"
#include "tree/handle.h"
#include "tree/notify.h"
#include "tree/scratch.h"
#include "tree/session.h"
#include "tree/tasks.h"
#include "tree/value.h"

/* ---- names on this machine */

/* Links have 15 bytes: "cfs", 6 digits of the store, a letter, a number to base 36. */
static void short_name(const struct cloud *c, char letter, int64_t row, char ret[16])
{
	char digits[16];
	int n = sizeof digits;

	digits[--n] = '\0';
	do {
		digits[--n] = "0123456789abcdefghijklmnopqrstuvwxyz"[row % 36];
		row /= 36;
	} while (row && n > 10);
	snprintf(ret, 16, "cfs%.6s%c%s", c->hash, letter, digits + n);
}

void cloud_netns(const struct cloud *c, int64_t network, char ret[32])
{
	snprintf(ret, 32, "cfs%sn%ld", c->hash, (long)network);
}

void cloud_link(const struct cloud *c, int64_t network, char ret[16])
{
	short_name(c, 'v', network, ret);
}

void cloud_tap(const struct cloud *c, int64_t port, char ret[16])
{
	short_name(c, 't', port, ret);
}

/* ---- who holds a store: STORE/lock is locked, and says "PID MOUNTPOINT" */

static int lock_path(const char *store, char *ret, size_t size, struct err *e)
{
	return snprintf(ret, size, "%s/lock", store) < (int)size ? 0 : err_set(e, ENAMETOOLONG, "the path of the store is too long");
}

int cloud_holder(const char *path, pid_t *pid, char *mountpoint, size_t size, struct err *e)
{
	char lock[PATH_MAX], text[PATH_MAX + 32] = "";
	int at = 0;

	if (lock_path(path, lock, sizeof lock, e) < 0)
		return -e->code;
	AUTO(close) int fd = open(lock, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_set(e, errno, "open %s: %m", lock);
	if (flock(fd, LOCK_SH | LOCK_NB) == 0)
		return 0;
	*pid = 0;
	*mountpoint = '\0';
	if (pread(fd, text, sizeof text - 1, 0) > 0 && sscanf(text, "%d %n", pid, &at) == 1) {
		text[strcspn(text, "\n")] = '\0';
		snprintf(mountpoint, size, "%s", text + at);
	}
	return 1;
}

static int take_lock(struct cloud *c, struct err *e)
{
	char lock[PATH_MAX], mountpoint[PATH_MAX];
	pid_t pid = 0;

	if (lock_path(c->fs.store, lock, sizeof lock, e) < 0)
		return -e->code;
	c->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (c->lock < 0)
		return err_set(e, errno, "open %s: %m", lock);
	if (flock(c->lock, LOCK_EX | LOCK_NB) < 0) {
		if (cloud_holder(c->fs.store, &pid, mountpoint, sizeof mountpoint, e) > 0)
			return err_set(e, EBUSY, "the store %s is held by process %d%s%s", c->fs.store, (int)pid, *mountpoint ? ", mounted at " : "",
				       mountpoint);
		return err_set(e, EBUSY, "the store %s is held by another process", c->fs.store);
	}
	cloud_note_mount(c, "");
	return 0;
}

void cloud_note_mount(struct cloud *c, const char *mountpoint)
{
	if (ftruncate(c->lock, 0) < 0 || pwrite(c->lock, "", 0, 0) < 0)
		return;
	dprintf(c->lock, "%d %s\n", (int)getpid(), mountpoint);
	lseek(c->lock, 0, SEEK_SET);
}

/* ---- the run directory: /run/cirrusfs/HASH, with `store` in it as guests' user reaches the store */

static bool walkable(const char *path)
{
	char dir[PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof dir, "%s", path);
	for (char *slash = dir + strlen(dir); slash; slash = strrchr(dir, '/')) {
		*slash = '\0';
		if (stat(*dir ? dir : "/", &st) < 0 || !(st.st_mode & S_IXOTH))
			return false;
	}
	return true;
}

static bool same_place(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int make_run(struct cloud *c, struct err *e)
{
	if ((mkdir("/run/cirrusfs", 0711) < 0 && errno != EEXIST) || (mkdir(c->run, 0711) < 0 && errno != EEXIST))
		return err_set(e, errno, "make %s: %m", c->run);
	if (same_place(c->data, c->fs.store))
		return 0;
	umount2(c->data, MNT_DETACH);
	if (unlink(c->data) < 0 && errno == EISDIR)
		rmdir(c->data);
	if (walkable(c->fs.store))
		return symlink(c->fs.store, c->data) == 0 ? 0 : err_set(e, errno, "link %s: %m", c->data);
	/* the store is below a directory others may not enter: guests reach it by another way */
	if ((mkdir(c->data, 0711) < 0 && errno != EEXIST) || mount(c->fs.store, c->data, NULL, MS_BIND, NULL) < 0)
		return err_set(e, errno, "bind %s to %s: %m", c->fs.store, c->data);
	return 0;
}

/* run/boot-id says in which life of the machine the store was mounted last; it is gone with /run, or another's. */
static bool boot_id(char ret[64])
{
	AUTO(fclose) FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");

	return f && fscanf(f, "%63s", ret) == 1;
}

bool cloud_restarted(const struct cloud *c)
{
	char path[96], now[64], then[64] = "";

	snprintf(path, sizeof path, "%s/boot-id", c->run);
	AUTO(fclose) FILE *f = fopen(path, "re");
	return !f || fscanf(f, "%63s", then) != 1 || !boot_id(now) || strcmp(now, then) != 0;
}

static int note_boot(const struct cloud *c, struct err *e)
{
	char path[96], now[64];

	snprintf(path, sizeof path, "%s/boot-id", c->run);
	FILE *f = boot_id(now) ? fopen(path, "we") : NULL;
	if (!f || fprintf(f, "%s\n", now) < 0 || fclose(f) != 0)
		return err_set(e, errno, "write %s: %m", path);
	return 0;
}

/* What is left of it when no guest lives. */
static void drop_run(struct cloud *c)
{
	struct stat st;

	if (lstat(c->data, &st) == 0 && S_ISDIR(st.st_mode) && umount2(c->data, 0) == 0)
		rmdir(c->data);
}

/* ---- a new store */

static int first_object(struct call *c, const struct kind *k, const char *name, const char *args, struct obj *ret, struct err *e)
{
	const struct node root = { .row = ROOT_ROW };
	char line[256];

	snprintf(line, sizeof line, "create %s/%s %s", k->dir, name, args);
	int rc = ctl_line(c, root, line, strlen(line), e);
	if (rc == 0)
		rc = obj_by_name(c, k, ROOT_ROW, name, ret, e);
	return rc < 0 ? rc : 0;
}

static int fill(struct cloud *cl, struct err *e)
{
	static const struct { const char *name, *args; } flavors[] = {	/* the historic defaults of Nova */
		{ "m1.tiny", "vcpus=1 ram=512 disk=1" }, { "m1.small", "vcpus=1 ram=2048 disk=20" }, { "m1.medium", "vcpus=2 ram=4096 disk=40" },
		{ "m1.large", "vcpus=4 ram=8192 disk=80" }, { "m1.xlarge", "vcpus=8 ram=16384 disk=160" },
	};
	AUTO(call_end) struct call c = { 0 };
	struct sysinfo si;
	struct obj o;

	if (call_begin(&cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || row_born(c.db, ROOT_ROW, e) < 0 ||
	    first_object(&c, &tenant_kind, "admin", "", &o, e) < 0)
		return -e->code;
	for (size_t i = 0; i < ARRAY_LEN(flavors); i++)
		if (first_object(&c, &flavor_kind, flavors[i].name, flavors[i].args, &o, e) < 0)
			return -e->code;
	/* the host is there already: what it has is counted again as soon as it is connected */
	if (first_object(&c, &host_kind, "local", "uri=qemu:///embed", &o, e) < 0 || sysinfo(&si) < 0)
		return -e->code;
	struct task_row t = { 0 };
	if (task_of(c.db, o.row.id, &t, e) > 0 && task_delete(c.db, t.id, e) < 0)
		return -e->code;
	task_row_free(&t);
	if (row_set_status(c.db, o.row.id, "ACTIVE", e) < 0 || row_set_progress(c.db, o.row.id, 100, e) < 0 ||
	    host_set_up(c.db, o.row.id, true, "", e) < 0 ||
	    host_set_facts(c.db, o.row.id, get_nprocs() * cl->cfg.cpu_ratio_x10 / 10,
			   (int64_t)(si.totalram / 1048576 * si.mem_unit) - cl->cfg.reserved_ram, 1000, "", false, e) < 0)
		return -e->code;
	tasks_forget(&c, 0, 0);
	return tx_commit(&c.tx, e);
}

static int make_dirs(const char *store, struct err *e)
{
	static const char *const dirs[] = { "", "/images", "/servers", "/networks" };
	char path[PATH_MAX];

	for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
		snprintf(path, sizeof path, "%s%s", store, dirs[i]);
		if (mkdir(path, 0711) < 0 && errno != EEXIST)
			return err_set(e, errno, "make %s: %m", path);
	}
	return 0;
}

static int write_config(const char *path, struct err *e)
{
	FILE *f = access(path, F_OK) == 0 ? NULL : fopen(path, "we");

	if (!f)
		return access(path, F_OK) == 0 ? 0 : err_set(e, errno, "write %s: %m", path);
	config_example(f);
	return fclose(f) == 0 ? 0 : err_set(e, errno, "write %s: %m", path);
}

/* The first 8 digits of an id of the store's own, so that moving it changes nothing. */
static int store_hash(struct cloud *c, struct err *e)
{
	AUTO(call_end) struct call call = { 0 };
	AUTO(free) char *id = NULL;
	struct obj o;

	if (call_begin(&c->fs, &call, e) < 0 || meta_get(call.db, "store-id", &id, e) < 0)
		return -e->code;
	if (!*id) {
		const struct kind *tk = &tenant_kind;
		int rc = obj_by_name(&call, tk, ROOT_ROW, "admin", &o, e);

		if (rc <= 0)
			return rc ? rc : err_set(e, EINVAL, "%s is no complete store", c->fs.store);
		if (call_write(&call, e) < 0 || meta_set(call.db, "store-id", o.row.uuid, e) < 0 || tx_commit(&call.tx, e) < 0)
			return -e->code;
		call.db = NULL;
		free(steal_ptr(&id));
		id = strdup(o.row.uuid);
	}
	snprintf(c->hash, sizeof c->hash, "%.8s", id);
	snprintf(c->run, sizeof c->run, "/run/cirrusfs/%s", c->hash);
	snprintf(c->data, sizeof c->data, "%s/store", c->run);
	return 0;
}

/* 32 bytes nobody else knows, made once. */
static int store_secret(struct cloud *c, struct err *e)
{
	AUTO(call_end) struct call call = { 0 };
	AUTO(free) char *text = NULL;
	AUTO(free) char *bytes = NULL;
	size_t len = 0;

	if (call_begin(&c->fs, &call, e) < 0 || meta_get(call.db, "secret", &text, e) < 0)
		return -e->code;
	if (*text && !(bytes = base64_decode(text, &len, e)))
		return -e->code;
	if (len == sizeof c->secret) {
		memcpy(c->secret, bytes, len);
		return 0;
	}
	free(steal_ptr(&text));
	if (getrandom(c->secret, sizeof c->secret, 0) != sizeof c->secret || !(text = base64_encode(c->secret, sizeof c->secret)))
		return err_set(e, errno, "make the store's secret: %m");
	if (call_write(&call, e) < 0 || meta_set(call.db, "secret", text, e) < 0)
		return -e->code;
	int rc = tx_commit(&call.tx, e);
	call.db = NULL;
	return rc;
}

static void fs_init(struct cloud *c)
{
	struct fs *fs = &c->fs;

	fs->kinds = cloud_kinds;
	fs->by_no[0] = &root_kind;
	for (const struct kind *const *k = cloud_kinds; *k; k++)
		fs->by_no[(*k)->no] = *k;
	fs->cloud = c;
	fs->workers = (unsigned)c->cfg.workers;
	fs->task_timeout_s = (unsigned)c->cfg.task_timeout;
	fs->version = CIRRUSFS_VERSION;
}

void cloud_close(struct cloud *c)
{
	sessions_free(&c->fs);
	scratch_free(&c->fs);
	waits_free(&c->fs);
	if (c->fs.state)
		state_close(c->fs.state);
	if (c->lock >= 0)
		close(c->lock);
	free(c->fs.store);
	free(c->fs.mountpoint);
	free(c);
}
AUTO_FN(struct cloud *, cloud_close);

static int health(struct fs *fs, FILE *out, struct err *e)
{
	struct cloud *c = cloud_of(fs);
	struct statvfs st;

	if (statvfs(fs->store, &st) == 0 && st.f_bavail * st.f_frsize < 32 << 20)
		fprintf(out, "the disk that holds the store is almost full: %lu MiB are left for %s\n",
			(unsigned long)(st.f_bavail * st.f_frsize >> 20), fs->store);
	hosts_health(c, out);
	watch_health(c, out);
	network_health(c, out);
	containers_health(c, out);
	if (!getpwnam(c->cfg.guest_user))
		fprintf(out, "there is no user '%s' for guests to run as (guest-user in %s/config)\n", c->cfg.guest_user, c->fs.store);
	return 0;
}

/* ---- room for deletions: a file of nothing, given up when the disk is full */

#define RESERVE (4 << 20)

static bool make_room(struct fs *fs)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/reserve", fs->store) >= (int)sizeof path || unlink(path) < 0)
		return false;
	log_warn("the disk that holds the store is full; its reserve is given up for deletions");
	return true;
}

void cloud_keep_reserve(struct cloud *c)
{
	char path[PATH_MAX];
	struct statvfs fs;
	struct stat st;

	if (snprintf(path, sizeof path, "%s/reserve", c->fs.store) >= (int)sizeof path || (stat(path, &st) == 0 && st.st_size == RESERVE) ||
	    statvfs(c->fs.store, &fs) < 0 || fs.f_bavail * fs.f_frsize < 8 * RESERVE)
		return;
	AUTO(close) int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && posix_fallocate(fd, 0, RESERVE) != 0)
		unlink(path);
}

int cloud_open(const char *path, bool create, struct cloud **ret, struct err *e)
{
	AUTO(cloud_close) struct cloud *c = calloc(1, sizeof *c);
	char state[PATH_MAX], config[PATH_MAX];
	struct stat st;

	if (!c)
		return err_set(e, ENOMEM, "%m");
	c->lock = -1;
	if (create && make_dirs(path, e) < 0)
		return -e->code;
	c->fs.store = realpath(path, NULL);
	if (!c->fs.store || snprintf(state, sizeof state, "%s/state.db", c->fs.store) >= (int)sizeof state ||
	    snprintf(config, sizeof config, "%s/config", c->fs.store) >= (int)sizeof config)
		return err_set(e, errno, "open the store '%s': %m", path);
	if (!create && stat(state, &st) < 0)
		return err_set(e, ENOENT, "'%s' is no store; cirrusfs init makes one", path);
	if (take_lock(c, e) < 0 || (create && write_config(config, e) < 0) || config_read(config, &c->cfg, e) < 0)
		return -e->code;
	if (containers_settings(&c->cfg, e) < 0)
		return err_prefix(e, "%s", config);
	fs_init(c);
	c->fs.health = health;
	c->fs.metrics = metrics_show;
	c->fs.make_room = make_room;
	c->fs.committed = containers_committed;
	if (sessions_init(&c->fs, e) < 0 || scratch_init(&c->fs, e) < 0 || waits_init(&c->fs, e) < 0 ||
	    state_open(state, create, &c->fs.state, e) < 0 || (create && fill(c, e) < 0) || store_hash(c, e) < 0 ||
	    store_secret(c, e) < 0)
		return -e->code;
	*ret = steal_ptr(&c);
	return 0;
}

int cloud_start(struct cloud *c, struct err *e)
{
	bool restarted = cloud_restarted(c);

	cloud_keep_reserve(c);
	if (make_run(c, e) < 0 || notify_start(&c->fs, e) < 0)
		return -e->code;
	/* noted only once what follows from it is in the state */
	if (restarted && (servers_resume(c, e) < 0 || note_boot(c, e) < 0))
		return -e->code;
	containers_start(c);
	if (imds_start(c, e) < 0 || consoles_start(c, e) < 0)
		return -e->code;
	files_settle(&c->fs);
	uploads_sweep(c);
	if (pthread_create(&c->networks, NULL, networks_start, c) != 0)
		return err_set(e, EAGAIN, "start a thread: %m");
	if (images_start(c, e) < 0 || hosts_start(c, e) < 0)
		return -e->code;
	return tasks_start(&c->fs, e) < 0 ? -e->code : watch_start(c, e);
}

bool cloud_stop(struct cloud *c)
{
	watch_stop(c);
	if (!tasks_stop(&c->fs, 20000))
		return false;
	images_stop(c);
	if (!consoles_stop(c) || !servers_idle())
		return false;
	c->stopping = true;
	pthread_join(c->networks, NULL);
	if (!hosts_stop(c))
		return false;
	imds_stop(c);
	containers_stop(c);
	notify_stop(&c->fs);
	drop_run(c);
	return true;
}

void cloud_log(struct cloud *c)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof path, "%s/log", c->fs.store) >= (int)sizeof path)
		return;
	AUTO(close) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0)
		dup2(fd, 2);
}
