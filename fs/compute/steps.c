/* The steps of servers' tasks.  Each looks before it acts; a test host's servers have nothing outside libvirt. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>

#include "../../backends/base/dir.h"
#include "../../backends/block/disk.h"
#include "../../backends/network/net.h"
#include "../../backends/state/cloud.h"
#include "../image/image.h"
#include "../network/network.h"
#include "hosts.h"
#include "imds_cloud.h"
#include "server.h"

#define DRIVE "config-drive.iso"

struct ports {
	struct port_row v[64];
	size_t n;
};

struct job {	/* a server as its steps need it */
	struct cloud *cl;
	struct hyper *h;
	bool simulated;
	char name[24];
	int64_t host, image, vcpus, ram, disk;
	struct ports ports;
	enum guest_state state;
};

static int keep_port(void *arg, const struct port_row *p)
{
	struct ports *ps = arg;

	if (ps->n < ARRAY_LEN(ps->v))
		ps->v[ps->n++] = *p;
	return 0;
}

/* 1: its host is still being connected. */
static int job_load(struct task *t, struct job *j, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	const struct obj *o = &t->obj;
	char host[256];

	*j = (struct job){ .cl = cloud_of(t->fs) };
	guest_name(o->row.id, j->name);
	if (call_begin(t->fs, &c, e) < 0 || obj_int(&c, o, "host", &j->host, e) < 0 || obj_int(&c, o, "image", &j->image, e) < 0 ||
	    obj_int(&c, o, "vcpus", &j->vcpus, e) < 0 || obj_int(&c, o, "ram", &j->ram, e) < 0 || obj_int(&c, o, "disk", &j->disk, e) < 0 ||
	    port_list(c.db, o->row.id, 0, keep_port, &j->ports, e) < 0)
		return -e->code;
	call_end(&c);
	c = (struct call){ 0 };
	if (!j->host)
		return err_set(e, EHOSTDOWN, "it has no host");
	host_label(j->cl, j->host, host);
	task_waits(t, "host %s", host);
	int rc = host_hyper(j->cl, j->host, &j->h, &j->simulated, e);
	t->again_ms = 5000;	/* a host that answers pokes those that wait for it */
	rc = rc ? rc : hyper_state(j->h, j->name, &j->state, e);
	if (rc == 0)
		task_waits(t, "%s", "");
	return rc;
}

void server_path(struct cloud *cl, int64_t server, const char *file, char *ret, size_t size)
{
	snprintf(ret, size, "%s/servers/%ld%s%s", cl->data, (long)server, *file ? "/" : "", file);
}

static bool is_off(const struct job *j)
{
	return j->state == GUEST_GONE || j->state == GUEST_OFF || j->state == GUEST_CRASHED;
}

/* ---- starting */

static int step_host(struct task *t, struct err *e)
{
	struct job j;

	return job_load(t, &j, e);
}

static int step_network(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc == 0 && j.ports.n)
		task_waits(t, "its networks");
	for (size_t i = 0; i < j.ports.n && rc == 0 && !j.simulated; i++)
		rc = network_up(j.cl, j.ports.v[i].network, e);
	return rc;
}

static int step_disk(struct task *t, struct err *e)
{
	char dir[256], disk[300], base[300], format[16];
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc || j.simulated || !is_off(&j))
		return rc;
	server_path(j.cl, t->obj.row.id, "", dir, sizeof dir);
	server_path(j.cl, t->obj.row.id, "disk.qcow2", disk, sizeof disk);
	if (mkdir(dir, 0711) < 0 && errno != EEXIST)
		return err_set(e, errno, "make %s: %m", dir);
	if (access(disk, F_OK) == 0)
		return image_base_again(t, j.image, e);
	rc = image_base(t, j.image, base, sizeof base, format, e);
	if (rc)
		return rc;
	task_waits(t, "its disk to be made from image %ld", (long)j.image);
	return disk_overlay(disk, base, format, (uint64_t)j.disk << 30, e);
}

/* Made anew at every start, with what its metadata are by then. */
static int step_drive(struct task *t, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	char path[300];
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc || j.simulated || !is_off(&j))
		return rc;
	server_path(j.cl, t->obj.row.id, DRIVE, path, sizeof path);
	rc = call_begin(t->fs, &c, e);
	if (rc == 0)
		rc = imds_wants_drive(&c, &t->obj, e);
	if (rc > 0)
		return imds_write_drive(&c, &t->obj, path, e);
	return rc == 0 && unlink(path) < 0 && errno != ENOENT ? err_set(e, errno, "remove %s: %m", path) : rc;
}

/* The taps are made in the host's namespace, where libvirt opens them; plugging moves them. */
static int make_taps(struct job *j, char taps[][16], struct err *e)
{
	for (size_t i = 0; i < j->ports.n; i++) {
		char ns[32];

		cloud_tap(j->cl, j->ports.v[i].id, taps[i]);
		cloud_netns(j->cl, j->ports.v[i].network, ns);
		if (tap_delete(ns, taps[i], e) < 0 || tap_create(taps[i], j->cl->cfg.guest_user, 1500, e) < 0)
			return -e->code;
	}
	return 0;
}

/* Another one at each start; known before the guest is. */
static int new_password(struct task *t, char ret[9], struct err *e)
{
	static const char letters[] = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789";
	AUTO(call_end) struct call c = { 0 };
	unsigned char random[64];
	size_t n = 0;
	struct obj o;

	while (n < 8) {
		if (getrandom(random, sizeof random, 0) != sizeof random)
			continue;
		for (size_t i = 0; i < sizeof random && n < 8; i++)
			if (random[i] < 256 / (sizeof letters - 1) * (sizeof letters - 1))	/* each letter as likely as the others */
				ret[n++] = letters[random[i] % (sizeof letters - 1)];
	}
	ret[n] = '\0';
	if (task_write(t, &c, e) < 0 || obj_by_id(&c, t->obj.row.id, &o, e) < 0 || obj_set_text(&c, &o, "vnc_password", ret, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static int step_define(struct task *t, struct err *e)
{
	char disk[300], drive[300], log[300], socket[300], password[9], taps[64][16];
	struct guest_nic nics[64];
	const char *virt;
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc || !is_off(&j))
		return rc;
	virt = host_virt_type(j.cl);
	task_waits(t, virt || j.simulated ? "its host to start it" : "the look whether KVM works");
	if (!virt && !j.simulated)
		return 1;
	server_path(j.cl, t->obj.row.id, "disk.qcow2", disk, sizeof disk);
	server_path(j.cl, t->obj.row.id, "console.log", log, sizeof log);
	server_path(j.cl, t->obj.row.id, CONSOLE_SOCKET, socket, sizeof socket);
	server_path(j.cl, t->obj.row.id, DRIVE, drive, sizeof drive);
	const struct guest_disk disks[] = { { .path = disk, .format = "qcow2" }, { .path = drive, .format = "raw", .cdrom = true } };
	struct guest_spec spec = { .name = j.name, .uuid = t->obj.row.uuid, .hostname = t->obj.row.name, .vcpus = (unsigned)j.vcpus,
		.ram_mib = (uint64_t)j.ram, .virt_type = virt ? virt : "qemu", .disks = disks, .n_disks = access(drive, F_OK) == 0 ? 2 : 1, .nics = nics, .console_log = log,
		.console_socket = socket };
	if (j.simulated) {
		spec.n_disks = 0;
		spec.console_log = NULL;
		rc = hyper_start(j.h, &spec, e);
		return rc == -EEXIST ? 0 : rc;
	}
	if (j.state != GUEST_GONE && (rc = hyper_destroy(j.h, j.name, e)) < 0)
		return rc;
	if (make_taps(&j, taps, e) < 0)
		return -e->code;
	for (; spec.n_nics < j.ports.n; spec.n_nics++)
		nics[spec.n_nics] = (struct guest_nic){ .tap = taps[spec.n_nics], .mac = j.ports.v[spec.n_nics].mac, .mtu = 1500 };
	if (*j.cl->cfg.vnc_listen) {
		if (new_password(t, password, e) < 0)
			return -e->code;
		spec.vnc_listen = j.cl->cfg.vnc_listen;
		spec.vnc_password = password;
	}
	rc = hyper_start(j.h, &spec, e);
	return rc == -EEXIST ? 0 : rc;
}

static int step_plug(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);

	for (size_t i = 0; i < j.ports.n && rc == 0 && !j.simulated; i++) {
		char tap[16], ns[32];
		struct in_addr address;

		cloud_tap(j.cl, j.ports.v[i].id, tap);
		cloud_netns(j.cl, j.ports.v[i].network, ns);
		inet_pton(AF_INET, j.ports.v[i].address, &address);
		rc = tap_plug(ns, tap, j.ports.v[i].mac, &address, e);
	}
	return rc;
}

/* Each step looks, so one that was cut off goes on where it was: a tap that is there is only plugged. */
static int restore_tap(struct cloud *cl, const struct ports *ports, unsigned nth, pid_t pid, struct err *e)
{
	const struct port_row *p = &ports->v[nth];
	char tap[16], ns[32];
	struct in_addr address;

	cloud_tap(cl, p->id, tap);
	cloud_netns(cl, p->network, ns);
	if (tap_plugged(ns, tap))
		return 0;
	inet_pton(AF_INET, p->address, &address);
	if (tap_plug(ns, tap, p->mac, &address, e) == 0)
		return 0;
	if (e->code != ENOENT)
		return -e->code;
	*e = (struct err){ 0 };
	int rc = tap_restore(tap, cl->cfg.guest_user, 1500, pid, nth, (unsigned)ports->n, e);
	return rc < 0 ? rc : tap_plug(ns, tap, p->mac, &address, e);
}

int server_restore_taps(struct cloud *cl, int64_t server, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct ports ports = { 0 };
	char name[24];
	int rc = call_begin(&cl->fs, &c, e);

	if (rc == 0)
		rc = port_list(c.db, server, 0, keep_port, &ports, e);
	call_end(&c);
	c = (struct call){ 0 };
	guest_name(server, name);
	pid_t pid = rc == 0 ? guest_process(cl->run, name) : 0;
	if (rc == 0 && !pid)
		return err_set(e, ENOENT, "its guest does not run on this machine");
	for (unsigned i = 0; i < ports.n && rc == 0; i++)
		rc = restore_tap(cl, &ports, i, pid, e);
	return rc;
}

/* vnc: where its screen is now that it was launched; NULL: it was not. */
static int note_power(struct task *t, const char *power, const char *vnc, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;
	int64_t before;

	if (task_write(t, &c, e) < 0 || obj_by_id(&c, t->obj.row.id, &o, e) < 0 ||
	    obj_set_text(&c, &o, "power", power, e) < 0 || obj_int(&c, &o, "launched", &before, e) < 0 ||
	    row_touch(c.db, o.row.id, "power", e) < 0 ||	/* an observer that looked before this sees that it was too early */
	    (vnc && obj_set_text(&c, &o, "vnc", vnc, e) < 0) || (vnc && !before && obj_set_int(&c, &o, "launched", now_us(), e) < 0))
		return -e->code;
	changed(&c, &o, CH_VALUES);
	return call_commit(&c, e);
}

static int step_boot(struct task *t, struct err *e)
{
	char vnc[64] = "";
	struct job j;
	unsigned port = 0;
	int rc = job_load(t, &j, e);

	if (rc)
		return rc;
	/* a domain whose start a crash cut off is found for a moment, and then ended by libvirt */
	if (is_off(&j)) {
		err_set(e, EIO, "the guest ended before it was booted");
		return STEP_ANEW;
	}
	if (j.state != GUEST_RUNNING && (rc = hyper_resume(j.h, j.name, e)) < 0)
		return rc == -ENOENT ? STEP_ANEW : rc;
	if (!j.simulated && (rc = hyper_vnc_port(j.h, j.name, &port, e)) < 0)
		return rc == -ENOENT ? STEP_ANEW : rc;
	if (port)
		snprintf(vnc, sizeof vnc, strchr(j.cl->cfg.vnc_listen, ':') ? "[%s]:%u" : "%s:%u", j.cl->cfg.vnc_listen, port);
	return note_power(t, "RUNNING", vnc, e);
}

/* ---- stopping */

static int step_destroy(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc == 0 && (j.state != GUEST_GONE || !j.simulated))
		rc = hyper_destroy(j.h, j.name, e);
	return rc ? rc : note_power(t, "SHUTDOWN", NULL, e);
}

/* Asking by ACPI is done by a thread of its own: a hypervisor that hangs in it (its qemu is stopped, say) must not keep the guest from
 * being ended when its time is over, which ends that call, too. */
struct asked {
	struct asked *next;
	unsigned users;		/* who asks, and the thread */
	struct hyper *h;
	char name[24];
	bool done;
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t done;
	struct asked *first;	/* those that have not come back */
} asked = { .lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER };

#define ASK_S 5		/* then it is not waited for any more */

bool servers_idle(void)
{
	pthread_mutex_lock(&asked.lock);
	bool idle = !asked.first;
	pthread_mutex_unlock(&asked.lock);
	return idle;
}

static void asked_drop(struct asked *a)
{
	if (--a->users == 0)
		free(a);
}

static void *ask(void *arg)
{
	struct asked *a = arg;
	struct err ignored;	/* one that does not hear is ended later, whatever the reason */

	hyper_shutdown(a->h, a->name, &ignored);
	pthread_mutex_lock(&asked.lock);
	for (struct asked **p = &asked.first; *p; p = &(*p)->next)
		if (*p == a) {
			*p = a->next;
			break;
		}
	a->done = true;
	pthread_cond_broadcast(&asked.done);
	asked_drop(a);
	pthread_mutex_unlock(&asked.lock);
	return NULL;
}

static bool is_asked(const char *name)
{
	for (const struct asked *a = asked.first; a; a = a->next)
		if (strcmp(a->name, name) == 0)
			return true;
	return false;
}

/* Once at a time.  Returns when the hypervisor has heard it, or after ASK_S. */
static void ask_to_shut_down(struct hyper *h, const char *name)
{
	struct asked *a = calloc(1, sizeof *a);
	struct timespec until;
	pthread_t thread;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ASK_S;
	pthread_mutex_lock(&asked.lock);
	if (!a || is_asked(name)) {
		pthread_mutex_unlock(&asked.lock);
		free(a);
		return;
	}
	*a = (struct asked){ .next = asked.first, .users = 2, .h = h };
	snprintf(a->name, sizeof a->name, "%s", name);
	asked.first = a;
	if (pthread_create(&thread, NULL, ask, a) == 0) {
		pthread_detach(thread);
		while (!a->done && pthread_cond_clockwait(&asked.done, &asked.lock, CLOCK_MONOTONIC, &until) == 0)
			;
	} else {
		asked.first = a->next;
		a->users--;
	}
	asked_drop(a);
	pthread_mutex_unlock(&asked.lock);
}

static int step_shutdown(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);

	if (rc == 0 && args_get(&t->args, "hard"))
		return step_destroy(t, e);
	if (rc || is_off(&j) || j.simulated)
		return rc;
	if (j.state == GUEST_PAUSED)	/* it hears nothing: perhaps a boot that a crash cut off */
		return step_destroy(t, e);
	ask_to_shut_down(j.h, j.name);
	return 0;
}

static int64_t mono_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Asked again every few seconds: a guest that boots does not hear the button. */
static int step_off(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);
	int64_t waited = mono_us() - t->step_began;

	if (rc)
		return rc;
	if (!is_off(&j) && (j.simulated || waited >= (int64_t)j.cl->cfg.stop_timeout * 1000000)) {
		rc = hyper_destroy(j.h, j.name, e);
		snprintf(t->detail, sizeof t->detail, "ended by force");
	} else if (!is_off(&j)) {
		if (waited / 5000000 != (waited - 800000) / 5000000)	/* a look may come late */
			ask_to_shut_down(j.h, j.name);
		task_waits(t, "the guest to power off");
		t->patient = true;
		t->ends = t->step_began + (int64_t)j.cl->cfg.stop_timeout * 1000000;
		t->again_ms = 500;
		return 1;
	}
	return rc < 0 ? rc : note_power(t, "SHUTDOWN", NULL, e);
}

static int step_unplug(struct task *t, struct err *e)
{
	struct job j;
	int rc = job_load(t, &j, e);

	for (size_t i = 0; i < j.ports.n && rc == 0 && !j.simulated; i++) {
		char tap[16], ns[32];

		cloud_tap(j.cl, j.ports.v[i].id, tap);
		cloud_netns(j.cl, j.ports.v[i].network, ns);
		rc = tap_delete(ns, tap, e);
	}
	return rc;
}

/* ---- removing */

/* A server whose creation never found a host has nothing anywhere. */
static int step_remove_guest(struct task *t, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	int64_t host;
	int rc = call_begin(t->fs, &c, e);

	if (rc == 0)
		rc = obj_int(&c, &t->obj, "host", &host, e);
	call_end(&c);
	c = (struct call){ 0 };
	if (rc < 0 || !host)
		return rc;
	rc = step_destroy(t, e);
	return rc ? rc : step_unplug(t, e);
}

static int step_remove_files(struct task *t, struct err *e)
{
	char path[300];

	server_path(cloud_of(t->fs), t->obj.row.id, "", path, sizeof path);
	return dir_remove(path, e);
}

/* ---- the lists */

#define START { "host", step_host }, { "network", step_network }, { "disk", step_disk }, { "drive", step_drive }, { "define", step_define }, { "plug", step_plug }, \
	{ "boot", step_boot }

const struct step server_create_steps[] = { START, { 0 } };
const struct step server_start_steps[] = { START, { 0 } };
const struct step server_stop_steps[] = { { "shutdown", step_shutdown }, { "off", step_off }, { "unplug", step_unplug }, { 0 } };
const struct step server_reboot_steps[] = { { "shutdown", step_shutdown }, { "off", step_off }, START, { 0 } };
const struct step server_remove_steps[] = { { "guest", step_remove_guest }, { "files", step_remove_files }, { 0 } };
