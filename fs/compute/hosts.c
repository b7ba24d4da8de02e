#include "hosts.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "../../backends/base/log.h"
#include "../../backends/base/spawn.h"
#include "../../backends/state/cloud.h"
#include "../check.h"
#include "../tree/value.h"
#include "server.h"
#include "stats.h"

#define RETRY_S 5
#define EVENTS 256
#define AGAIN_MS 1000

struct note {
	int64_t server;		/* 0: the connection was lost */
	int64_t at;		/* not before, CLOCK_MONOTONIC milliseconds */
	char why[48];
};

struct conn {
	struct conn *next;
	struct cloud *cloud;
	int64_t host;
	char name[256], uri[512];
	enum conn_state { TRYING, UP, DOWN } state;
	char why[300];
	struct hyper *h;
	bool simulated, stop, ended;
	struct note notes[EVENTS];	/* oldest first; when there are too many everything is compared anew */
	unsigned n;
	bool all;
	int64_t compared;	/* when all were, CLOCK_MONOTONIC milliseconds */
	struct samples *samples;	/* what its guests use */
	int64_t sampled;	/* when, as above */
	struct words faults;	/* lines of health */
	struct words woken;	/* guests found paused the last time */
	pthread_t thread;
	pthread_cond_t more;
};

struct hosts {
	pthread_mutex_t lock;
	struct conn *first;
	char virt[8];		/* "" while it is being found out */
	char kvm_why[300];
	pthread_t probe;
	bool probing;
};

void guest_name(int64_t server, char ret[24])
{
	snprintf(ret, 24, "c-%ld", (long)server);
}

/* ---- what guests do */

static int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void add_note(struct conn *cn, int64_t server, const char *why, unsigned later_ms)
{
	struct note *known = NULL;

	pthread_mutex_lock(&cn->cloud->hosts->lock);
	for (unsigned i = 0; i < cn->n && !later_ms && !known; i++)	/* a domain that starts says so three times: it is looked at once */
		if (cn->notes[i].server == server && !cn->notes[i].at)
			known = &cn->notes[i];
	if (known) {
		snprintf(known->why, sizeof known->why, "%s", why ? why : "");
	} else if (cn->n < EVENTS) {
		struct note *note = &cn->notes[cn->n++];

		*note = (struct note){ .server = server, .at = later_ms ? mono_ms() + later_ms : 0 };
		snprintf(note->why, sizeof note->why, "%s", why ? why : "");
	} else {
		cn->all = true;
	}
	pthread_cond_signal(&cn->more);
	pthread_mutex_unlock(&cn->cloud->hosts->lock);
}

static void on_event(void *arg, const char *name, enum guest_state now, const char *why)
{
	long id = 0;

	if (!name || sscanf(name, "c-%ld", &id) == 1)
		add_note(arg, id, why, 0);
}

static bool is_off(enum guest_state s)
{
	return s == GUEST_GONE || s == GUEST_OFF || s == GUEST_CRASHED;
}

static const char *const power_words[] = {
	[GUEST_GONE] = "SHUTDOWN", [GUEST_OFF] = "SHUTDOWN", [GUEST_RUNNING] = "RUNNING", [GUEST_PAUSED] = "PAUSED", [GUEST_CRASHED] = "CRASHED",
};

/* One that crashed is off, too, until it is started. */
static bool power_fits(const char *power, enum guest_state s)
{
	return strcmp(power, power_words[s]) == 0 || (is_off(s) && strcmp(power, power_words[GUEST_CRASHED]) == 0);
}

/* libvirt's words for an end nobody asked for: its process went without a word, its kernel said that it dies. */
static bool is_crash(const char *why)
{
	return word_in("crashed failed panicked", why);
}

/* Which status the domain shows, for a server on which nobody works. */
static const char *status_for(const char *status, enum guest_state s)
{
	if (is_off(s) && word_in("ACTIVE PAUSED SUSPENDED RESCUE", status))
		return "SHUTOFF";
	if (s == GUEST_RUNNING && strcmp(status, "SHUTOFF") == 0)
		return "ACTIVE";
	return status;
}

/* What an operator finds in `error`: it is no failed task's, so that `wait` does not fail. */
static int note_crash(struct cloud *cl, struct call *c, struct obj *o, const char *why, struct err *e)
{
	char name[24], words[400], qemu[300], line[1200];
	struct err crash = { 0 };

	guest_name(o->row.id, name);
	guest_last_words(cl->run, name, qemu, sizeof qemu);
	console_last_words(cl, o->row.id, words, sizeof words);
	err_set(&crash, EIO, "the guest %s", strcmp(why, "panicked") == 0 ? "panicked" : "crashed: its process ended without being asked");
	error_text(line, sizeof line, &crash, c->request, NULL);
	size_t n = strlen(line);

	snprintf(line + n, sizeof line - n, "%s%s%s%s", *qemu ? "; qemu said: " : "", qemu,
		 *words ? "; its last words: " : "; it left no words on its console", words);
	return row_set_error(c->db, o->row.id, line, "", e);
}

/* 1: it changed while the hypervisor was asked, so that the answer may be of before.  *again: it does not run, and a task is at work
 * on it that may leave it so: one that died while it was paused for its start tells no more. */
static int observe(struct cloud *cl, int64_t server, struct hyper *h, const char *why, bool *again, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	AUTO(free) char *power = NULL;
	enum guest_state s;
	char name[24];
	struct obj o;

	guest_name(server, name);
	if (call_begin(&cl->fs, &c, e) < 0 || obj_by_id(&c, server, &o, e) < 0)
		return -e->code;
	int64_t before = o.row.changed;
	call_end(&c);
	c = (struct call){ 0 };
	if (hyper_state(h, name, &s, e) < 0 || call_begin(&cl->fs, &c, e) < 0 || obj_by_id(&c, server, &o, e) < 0 || o.row.deleted ||
	    o.kind != &server_kind || strcmp(o.row.status, "DRAFT") == 0 || obj_text(&c, &o, "power", &power, e) < 0)
		return -e->code;
	*again = s != GUEST_RUNNING && task_busy(&cl->fs, server);
	if (o.row.changed == before && power_fits(power, s) && strcmp(status_for(o.row.status, s), o.row.status) == 0)
		return 0;
	if (call_write(&c, e) < 0 || obj_by_id(&c, server, &o, e) < 0)
		return -e->code;
	if (o.row.changed != before)
		return 1;
	struct task_row t = { 0 };
	bool busy = task_of(c.db, server, &t, e) != 0;
	task_row_free(&t);
	*again = busy && s != GUEST_RUNNING;
	const char *status = busy ? o.row.status : status_for(o.row.status, s);
	bool crash = is_off(s) && is_crash(why) && !busy && strcmp(status, o.row.status) != 0;
	int rc = power_fits(power, s) && !crash ? 0 : obj_set_text(&c, &o, "power", power_words[crash ? GUEST_CRASHED : s], e);
	changed(&c, &o, CH_VALUES);
	if (rc == 0 && crash)
		rc = note_crash(cl, &c, &o, why, e);
	if (rc == 0 && strcmp(status, o.row.status) != 0) {
		const char *verb = crash ? "crash" : strcmp(status, "SHUTOFF") == 0 ? "power-off" : "power-on";

		rc = history_add(c.db, server, verb, "ok", c.request, "guest", 0, why, e);
		if (rc == 0)
			rc = obj_set_status(&c, &o, status, e);
		if (rc == 0)
			rc = event_put(&c, &o, verb, "ok", -1, e);
	}
	return rc < 0 ? rc : call_commit(&c, e);
}

bool server_observe(struct cloud *cl, int64_t server, struct hyper *h, const char *why)
{
	struct err e = { 0 };
	bool again = false;
	int rc, tries = 0;

	task_poke(&cl->fs, server);
	while ((rc = observe(cl, server, h, why, &again, &e)) == 1 && tries++ < 5)
		;
	if (rc < 0 && e.code != ENOENT)
		log_error("server %ld: %s", (long)server, e.msg);
	return again || rc == 1;
}

struct ids {
	int64_t *v;
	size_t n;
};

static int add_id(void *arg, int64_t id, const char *status, bool deleted)
{
	struct ids *ids = arg;
	int64_t *v = deleted || strcmp(status, "DRAFT") == 0 ? NULL : reallocarray(ids->v, ids->n + 1, sizeof *v);

	if (!v)
		return 0;
	ids->v = v;
	v[ids->n++] = id;
	return 0;
}

static void ids_on(struct conn *cn, struct ids *ids)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e;

	if (call_begin(&cn->cloud->fs, &c, &e) == 0)
		server_on_host(c.db, cn->host, add_id, ids, &e);
}

bool server_differs(const char *status, const char *power, enum guest_state s)
{
	return !power_fits(power, s) || strcmp(status_for(status, s), status) != 0;
}

/* What the comparison left goes into health. */
static void compare(struct conn *cn)
{
	struct words faults = { 0 };

	servers_compare(cn->cloud, cn->host, cn->h, strncmp(cn->uri, "qemu:///embed", 13) == 0, &cn->faults, &cn->woken, &faults);
	pthread_mutex_lock(&cn->cloud->hosts->lock);
	struct words old = cn->faults;
	cn->faults = faults;
	pthread_mutex_unlock(&cn->cloud->hosts->lock);
	words_free(&old);
}

/* Domains of a test driver live in this process: those of running servers are made again. */
static void simulate_again(struct conn *cn)
{
	struct ids ids = { 0 };

	ids_on(cn, &ids);
	for (size_t i = 0; i < ids.n && !cn->stop; i++) {
		AUTO(call_end) struct call c = { 0 };
		AUTO(free) char *power = NULL;
		struct err e = { 0 };
		char name[24];
		struct obj o;

		if (call_begin(&cn->cloud->fs, &c, &e) < 0 || obj_by_id(&c, ids.v[i], &o, &e) < 0 || obj_text(&c, &o, "power", &power, &e) < 0 ||
		    !word_in("RUNNING PAUSED", power))	/* paused: seen so in the moment before it was resumed */
			continue;
		guest_name(o.row.id, name);
		struct guest_spec spec = { .name = name, .uuid = o.row.uuid, .hostname = o.row.name, .vcpus = 1, .ram_mib = 64, .virt_type = "test" };
		call_end(&c);
		c = (struct call){ 0 };
		if (hyper_start(cn->h, &spec, &e) == 0)
			hyper_resume(cn->h, name, &e);
	}
	free(ids.v);
}

/* ---- a connection */

static void tell(struct conn *cn, enum conn_state state, const char *why)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };
	struct obj o;

	pthread_mutex_lock(&cn->cloud->hosts->lock);
	bool same = cn->state == state && strcmp(cn->why, why) == 0;
	cn->state = state;
	snprintf(cn->why, sizeof cn->why, "%s", why);
	pthread_mutex_unlock(&cn->cloud->hosts->lock);
	if (same || call_begin(&cn->cloud->fs, &c, &e) < 0 || call_write(&c, &e) < 0 || obj_by_id(&c, cn->host, &o, &e) < 0)
		return;
	if (state == DOWN)
		log_warn("host %s: %s", cn->name, why);
	int64_t was;
	int rc = obj_int(&c, &o, "up", &was, &e);
	if (rc == 0)
		rc = host_set_up(c.db, cn->host, state == UP, why, &e);
	changed(&c, &o, CH_VALUES);
	if (rc == 0 && strcmp(o.row.status, "ACTIVE") == 0 && was != (state == UP))
		rc = event_put(&c, &o, state == UP ? "up" : "down", "ok", -1, &e);
	if (rc == 0)
		rc = call_commit(&c, &e);
	task_poke(&cn->cloud->fs, cn->host);
	task_poke_lane(&cn->cloud->fs, cn->host);
}

/* What an embedded host needs beyond the library. */
static int check_machine(struct conn *cn, struct err *e)
{
	if (strncmp(cn->uri, "qemu:///embed", 13) != 0)
		return 0;
	if (!spawn_found("qemu-system-x86_64"))
		return err_set(e, ENOENT, "the program qemu-system-x86_64 is not installed (package qemu-system-x86)");
	if (!spawn_found("qemu-img"))
		return err_set(e, ENOENT, "the program qemu-img is not installed (package qemu-utils)");
	return 0;
}

static int record_facts(struct conn *cn, const struct hyper_info *info, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct config *cfg = &cn->cloud->cfg;
	struct statvfs st;
	int64_t vcpus = -1, ram = -1, disk = -1;

	if (!info->simulated) {
		int64_t free_ram = (int64_t)info->ram_mib - cfg->reserved_ram;

		vcpus = (int64_t)info->vcpus * cfg->cpu_ratio_x10 / 10;
		ram = (free_ram > 0 ? free_ram : 0) * cfg->ram_ratio_x10 / 10;
		if (statvfs(cn->cloud->fs.store, &st) == 0)
			disk = (int64_t)((st.f_blocks * st.f_frsize) >> 30) * cfg->disk_ratio_x10 / 10;
	}
	struct obj o;
	if (call_begin(&cn->cloud->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, cn->host, &o, e) < 0 ||
	    host_set_facts(c.db, cn->host, vcpus, ram, disk, info->hypervisor, info->simulated, e) < 0)
		return -e->code;
	changed(&c, &o, CH_VALUES);
	return call_commit(&c, e);
}

static int connect_host(struct conn *cn, struct err *e)
{
	struct hyper_config config = { .uri = cn->uri, .user = cn->cloud->cfg.guest_user, .event = on_event, .arg = cn };
	struct hyper_info info = { 0 };
	struct hyper *h = NULL;
	int rc = check_machine(cn, e);

	if (rc == 0)
		rc = hyper_open(&config, &h, e);
	if (rc == 0)
		rc = hyper_info(h, &info, e);
	if (rc == 0)
		rc = record_facts(cn, &info, e);
	if (rc < 0) {
		if (h)
			hyper_close(h);
		return rc;
	}
	/* an earlier one that was lost is not closed: a step may still be using it */
	cn->h = h;
	cn->simulated = info.simulated;
	if (info.simulated)
		simulate_again(cn);
	return 0;
}

/* The first note that is due, -1 while none is: then *until is no later than when one will be. */
static int due_note(const struct conn *cn, int64_t now, int64_t *until)
{
	for (unsigned i = 0; i < cn->n; i++) {
		if (cn->notes[i].at <= now)
			return (int)i;
		if (cn->notes[i].at < *until)
			*until = cn->notes[i].at;
	}
	return -1;
}

/* Sleeps until a note is due, or that long; true: a note is in *ret, or everything is to be compared (server 0). */
static bool next_note(struct conn *cn, int seconds, struct note *ret)
{
	struct hosts *hs = cn->cloud->hosts;
	int64_t end = mono_ms() + seconds * 1000, now, until;
	bool got = false;
	int i = -1;

	pthread_mutex_lock(&hs->lock);
	while (!cn->stop && !cn->all && (now = mono_ms()) < end && (until = end, i = due_note(cn, now, &until)) < 0) {
		struct timespec ts = { .tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000 };

		pthread_cond_timedwait(&cn->more, &hs->lock, &ts);
	}
	if (cn->all) {
		*ret = (struct note){ 0 };
		cn->all = false;
		cn->n = 0;
		got = true;
	} else if (i >= 0) {
		*ret = cn->notes[i];
		memmove(&cn->notes[i], &cn->notes[i + 1], (--cn->n - (unsigned)i) * sizeof *cn->notes);
		got = true;
	}
	pthread_mutex_unlock(&hs->lock);
	return got;
}

static bool is_gone(struct conn *cn)
{
	AUTO(call_end) struct call c = { 0 };
	struct row r = { 0 };
	struct err e;

	return call_begin(&cn->cloud->fs, &c, &e) == 0 && (row_by_id(c.db, cn->host, &r, &e) == 0 || r.deleted);
}

/* A simulated guest uses nothing. */
static void sample(struct conn *cn)
{
	struct samples *made, *old;

	cn->sampled = mono_ms();
	if (cn->simulated)
		return;
	guests_sample(cn->cloud, cn->h, strncmp(cn->uri, "qemu:///embed", 13) == 0, &made);
	pthread_mutex_lock(&cn->cloud->hosts->lock);
	old = cn->samples;
	cn->samples = made;
	pthread_mutex_unlock(&cn->cloud->hosts->lock);
	samples_free(old);
}

/* Those of hosts that do not answer are of no use any more. */
void hosts_samples(struct cloud *cl, void (*fn)(void *arg, const struct samples *s), void *arg)
{
	pthread_mutex_lock(&cl->hosts->lock);
	for (struct conn *cn = cl->hosts->first; cn; cn = cn->next)
		if (cn->samples && cn->state == UP && cn->sampled > mono_ms() - 6 * SAMPLE_S * 1000)
			fn(arg, cn->samples);
	pthread_mutex_unlock(&cl->hosts->lock);
}

static void *keep_host(void *arg)
{
	struct conn *cn = arg;
	struct note note;
	struct err e = { 0 };

	while (!cn->stop && !is_gone(cn)) {
		if (cn->state != UP) {
			if (connect_host(cn, &e) < 0) {
				tell(cn, DOWN, e.msg);
				next_note(cn, RETRY_S, &note);
				continue;
			}
			tell(cn, UP, "");
			task_poke(&cn->cloud->fs, 0);	/* those that waited for it */
			cn->compared = INT64_MIN / 2;
		}
		if (cn->compared + cn->cloud->cfg.check_interval * 1000 <= mono_ms()) {
			compare(cn);
			cn->compared = mono_ms();
		}
		if (cn->sampled + SAMPLE_S * 1000 <= mono_ms())
			sample(cn);
		if (next_note(cn, cn->cloud->cfg.check_interval < 10 ? cn->cloud->cfg.check_interval : 10, &note)) {
			/* what a task is at work on is looked at again: the guest may have gone just before it ended; simulated ones do not */
			if (note.server && server_observe(cn->cloud, note.server, cn->h, note.why) && !cn->simulated)
				add_note(cn, note.server, note.why, AGAIN_MS);
			else if (note.server && cn->sampled + AGAIN_MS <= mono_ms())
				cn->sampled = INT64_MIN / 2;	/* one that has just begun is seen at once */
			else if (!note.server && hyper_alive(cn->h, &e) == 0)
				cn->compared = INT64_MIN / 2;
		}
		if (!cn->stop && hyper_alive(cn->h, &e) < 0)
			tell(cn, DOWN, e.msg);
	}
	words_free(&cn->woken);
	pthread_mutex_lock(&cn->cloud->hosts->lock);
	words_free(&cn->faults);
	samples_free(cn->samples);
	cn->samples = NULL;
	cn->ended = cn->stop = true;
	pthread_mutex_unlock(&cn->cloud->hosts->lock);
	return NULL;
}

/* ---- which there are */

struct wanted {
	struct cloud *cloud;
	struct call *c;
};

static struct conn *find(struct hosts *hs, int64_t host)
{
	for (struct conn *cn = hs->first; cn; cn = cn->next)
		if (cn->host == host && !cn->stop)
			return cn;
	return NULL;
}

static int want_host(void *arg, const struct row *r)
{
	struct wanted *w = arg;
	struct hosts *hs = w->cloud->hosts;
	struct obj o = { .row = *r, .kind = &host_kind };
	AUTO(free) char *uri = NULL;
	pthread_condattr_t mono;
	struct err e;

	if (strcmp(r->status, "DRAFT") == 0 || find(hs, r->id) || obj_text(w->c, &o, "uri", &uri, &e) < 0)
		return 0;
	struct conn *cn = calloc(1, sizeof *cn);
	if (!cn)
		return 0;
	*cn = (struct conn){ .next = hs->first, .cloud = w->cloud, .host = r->id };
	snprintf(cn->name, sizeof cn->name, "%s", r->name);
	if (strcmp(uri, "qemu:///embed") == 0)
		snprintf(cn->uri, sizeof cn->uri, "qemu:///embed?root=%s", w->cloud->run);
	else
		snprintf(cn->uri, sizeof cn->uri, "%s", uri);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&cn->more, &mono);
	if (pthread_create(&cn->thread, NULL, keep_host, cn) == 0)
		hs->first = cn;
	else
		free(cn);
	return 0;
}

void hosts_changed(struct cloud *cl)
{
	struct wanted w = { cl, NULL };
	AUTO(call_end) struct call c = { 0 };
	struct err e;
	struct row r;

	if (call_begin(&cl->fs, &c, &e) < 0)
		return;
	w.c = &c;
	pthread_mutex_lock(&cl->hosts->lock);
	for (struct conn *cn = cl->hosts->first; cn; cn = cn->next)
		if (row_by_id(c.db, cn->host, &r, &e) == 0) {
			cn->stop = true;
			pthread_cond_signal(&cn->more);
		}
	row_list(c.db, ROOT_ROW, host_kind.no, 0, true, want_host, &w, &e);
	pthread_mutex_unlock(&cl->hosts->lock);
}

void host_label(struct cloud *cl, int64_t host, char ret[256])
{
	pthread_mutex_lock(&cl->hosts->lock);
	struct conn *cn = find(cl->hosts, host);
	snprintf(ret, 256, "%.255s", cn ? cn->name : "that is not connected");
	pthread_mutex_unlock(&cl->hosts->lock);
}

int host_hyper(struct cloud *cl, int64_t host, struct hyper **ret, bool *simulated, struct err *e)
{
	struct hosts *hs = cl->hosts;

	pthread_mutex_lock(&hs->lock);
	struct conn *cn = find(hs, host);
	int rc = !cn ? err_set(e, EHOSTDOWN, "there is no connection to its host") :
		cn->state == UP ? 0 : cn->state == TRYING ? 1 : err_set(e, EHOSTDOWN, "host %s is down: %s", cn->name, cn->why);
	if (rc == 0) {
		*ret = cn->h;
		*simulated = cn->simulated;
	}
	pthread_mutex_unlock(&hs->lock);
	return rc;
}

/* ---- kvm or emulation */

const char *host_virt_type(struct cloud *cl)
{
	struct hosts *hs = cl->hosts;

	pthread_mutex_lock(&hs->lock);
	const char *v = !*hs->virt ? NULL : strcmp(hs->virt, "kvm") == 0 ? "kvm" : "qemu";
	pthread_mutex_unlock(&hs->lock);
	return v;
}

/* The answer is kept below /run, where it lasts as long as the machine is up. */
static void *probe_kvm(void *arg)
{
	struct cloud *cl = arg;
	struct err e = { 0 };
	char path[96], known[8] = "";
	FILE *f;

	snprintf(path, sizeof path, "%s/virt-type", cl->run);
	if ((f = fopen(path, "re"))) {
		if (fscanf(f, "%7s", known) != 1)
			*known = '\0';
		fclose(f);
	}
	if (!word_in("kvm qemu", known)) {
		int rc = hyper_probe_kvm(cl->cfg.guest_user, 5000, &e);

		snprintf(known, sizeof known, "%s", rc == 0 ? "kvm" : "qemu");
		log_info("guests run under %s%s%s", known, rc < 0 ? ": " : "", rc < 0 ? e.msg : "");
		if ((f = fopen(path, "we"))) {
			fprintf(f, "%s\n", known);
			fclose(f);
		}
	}
	pthread_mutex_lock(&cl->hosts->lock);
	snprintf(cl->hosts->virt, sizeof cl->hosts->virt, "%s", known);
	snprintf(cl->hosts->kvm_why, sizeof cl->hosts->kvm_why, "%.290s", e.msg);
	pthread_mutex_unlock(&cl->hosts->lock);
	task_poke(&cl->fs, 0);
	return NULL;
}

int hosts_start(struct cloud *cl, struct err *e)
{
	struct hosts *hs = cl->hosts = calloc(1, sizeof *hs);

	if (!hs)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&hs->lock, NULL);
	if (hyper_init(e) < 0)
		return -e->code;
	if (strcmp(cl->cfg.virt_type, "auto") != 0)
		snprintf(hs->virt, sizeof hs->virt, "%s", cl->cfg.virt_type);
	else if (pthread_create(&hs->probe, NULL, probe_kvm, cl) == 0)
		hs->probing = true;
	hosts_changed(cl);
	return 0;
}

bool hosts_stop(struct cloud *cl)
{
	struct hosts *hs = cl->hosts;
	struct timespec until;
	bool all = true;

	if (!hs)
		return true;
	pthread_mutex_lock(&hs->lock);
	for (struct conn *cn = hs->first; cn; cn = cn->next) {
		cn->stop = true;
		pthread_cond_signal(&cn->more);
	}
	pthread_mutex_unlock(&hs->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += 3;
	for (struct conn *cn = hs->first; cn; cn = cn->next)
		if (pthread_clockjoin_np(cn->thread, NULL, CLOCK_MONOTONIC, &until) != 0)
			all = false;	/* it hangs in a hypervisor's call, and ends with the process */
		else if (cn->h)
			hyper_close(cn->h);
	return all;
}

void hosts_health(struct cloud *cl, FILE *out)
{
	struct hosts *hs = cl->hosts;

	if (!hs)
		return;
	pthread_mutex_lock(&hs->lock);
	for (struct conn *cn = hs->first; cn; cn = cn->next)
		if (!cn->stop && cn->state == DOWN && !is_gone(cn))
			fprintf(out, "host %s is down: %s\n", cn->name, cn->why);
	for (struct conn *cn = hs->first; cn; cn = cn->next)
		for (size_t i = 0; i < cn->faults.n; i++)
			fprintf(out, "%s\n", cn->faults.v[i]);
	pthread_mutex_unlock(&hs->lock);
}
