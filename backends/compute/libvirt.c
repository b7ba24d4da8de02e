/* Hypervisors through libvirt's C API: qemu inside this process (qemu:///embed?root=DIR), a daemon's, a remote machine's,
 * and the test driver, which only pretends.  What the embedded driver's directory needs is in embed.c. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"
#include "ops.h"

#define KEEPALIVE_S 5		/* a remote machine is lost after KEEPALIVE_N unanswered questions this far apart */
#define KEEPALIVE_N 4
#define DESTROY_TRIES 5
#define START_TRIES 10
#define PICTURE_MAX (256 << 20)	/* bytes of a screen */

/* Whom to tell.  Shared with libvirt's event registration, which may outlive the handle for the length of a call. */
struct watch {
	pthread_mutex_t lock;		/* held while fn runs: after hyper_close it runs no more */
	unsigned refs;
	hyper_event_fn *fn;		/* NULL: the handle is closed */
	void *arg;
};

struct libvirt {
	struct hyper h;
	virConnectPtr conn;
	struct watch *watch;
	int event_id;			/* -1: none */
	bool simulated;
	char *root;			/* of the embedded driver, else NULL */
};

AUTO_FN(virDomainPtr, virDomainFree);
AUTO_FN(virStreamPtr, virStreamFree);

/* ---- errors ---- */

static int errno_of(const virError *v)
{
	static const struct { int vir, code; } table[] = {
		{ VIR_ERR_NO_DOMAIN, ENOENT }, { VIR_ERR_DOM_EXIST, EEXIST },
		{ VIR_ERR_NO_CONNECT, EHOSTDOWN }, { VIR_ERR_INVALID_CONN, EHOSTDOWN }, { VIR_ERR_RPC, EHOSTDOWN },
		{ VIR_ERR_LIBSSH, EHOSTDOWN }, { VIR_ERR_SSH, EHOSTDOWN }, { VIR_ERR_AUTH_UNAVAILABLE, EHOSTDOWN },
		{ VIR_ERR_GNUTLS_ERROR, EHOSTDOWN }, { VIR_ERR_AUTH_FAILED, EACCES }, { VIR_ERR_AUTH_CANCELLED, EACCES },
		{ VIR_ERR_ACCESS_DENIED, EACCES }, { VIR_ERR_OPERATION_DENIED, EACCES },
		{ VIR_ERR_OPERATION_TIMEOUT, ETIMEDOUT }, { VIR_ERR_OPERATION_ABORTED, EINTR }, { VIR_ERR_NO_MEMORY, ENOMEM },
		{ VIR_ERR_RESOURCE_BUSY, EBUSY }, { VIR_ERR_OPERATION_INVALID, EBUSY },
		{ VIR_ERR_XML_ERROR, EINVAL }, { VIR_ERR_INVALID_ARG, EINVAL }, { VIR_ERR_XML_DETAIL, EINVAL },
		{ VIR_ERR_NO_SUPPORT, EOPNOTSUPP }, { VIR_ERR_OPERATION_UNSUPPORTED, EOPNOTSUPP },
		{ VIR_ERR_ARGUMENT_UNSUPPORTED, EOPNOTSUPP }, { VIR_ERR_CONFIG_UNSUPPORTED, EOPNOTSUPP },
	};

	if (v->domain == VIR_FROM_RPC)		/* the wire broke, whatever the number says */
		return EHOSTDOWN;
	if (v->code == VIR_ERR_SYSTEM_ERROR && (v->int1 == ENOSPC || v->int1 == EDQUOT || v->int1 == ENOMEM))
		return v->int1;
	for (size_t i = 0; i < ARRAY_LEN(table); i++)
		if (table[i].vir == v->code)
			return table[i].code;
	return EIO;
}

/* What libvirt said last in this thread. */
static int vir_err(struct err *e)
{
	const virError *v = virGetLastError();

	if (!v || v->code == VIR_ERR_OK)
		return err_set(e, EIO, "libvirt failed without a word");
	return err_set(e, errno_of(v), "%s", v->message ? v->message : "libvirt failed");
}

static void note_error(void *arg, virErrorPtr v)
{
	log_debug("libvirt: %s", v->message ? v->message : "error without a word");
}

/* ---- the process ---- */

static void *event_loop(void *arg)
{
	for (;;)
		if (virEventRunDefaultImpl() < 0)
			nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL);	/* it said why in the log */
	return NULL;
}

/* A thread that takes no signal: those are for whoever waits for them. */
static int start_event_loop(struct err *e)
{
	sigset_t all, old;
	pthread_t thread;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int rc = pthread_create(&thread, NULL, event_loop, NULL);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc)
		return err_set(e, rc, "start libvirt's event loop: %m");
	pthread_setname_np(thread, "libvirt-events");
	pthread_detach(thread);
	return 0;
}

/* libvirt's own log would go to standard error; each of its errors reaches a caller of ours as a sentence anyway. */
static void quiet(void)
{
	if (!getenv("CIRRUSFS_DEBUG"))
		setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
	virSetErrorFunc(NULL, note_error);
}

int hyper_libvirt_init(struct err *e)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool done;
	int rc = 0;

	pthread_mutex_lock(&lock);
	if (!done) {
		quiet();
		if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
			rc = vir_err(e);
		else
			rc = start_event_loop(e);
		done = rc == 0;
	}
	pthread_mutex_unlock(&lock);
	return rc;
}

/* ---- events ---- */

static void watch_unref(void *arg)
{
	struct watch *w = arg;

	pthread_mutex_lock(&w->lock);
	unsigned left = --w->refs;

	pthread_mutex_unlock(&w->lock);
	if (left)
		return;
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static void watch_ref(struct watch *w)
{
	pthread_mutex_lock(&w->lock);
	w->refs++;
	pthread_mutex_unlock(&w->lock);
}

static void tell(struct watch *w, const char *name, enum guest_state now, const char *why)
{
	pthread_mutex_lock(&w->lock);
	if (w->fn)
		w->fn(w->arg, name, now, why);
	pthread_mutex_unlock(&w->lock);
}

struct event_word {
	enum guest_state now;
	const char *const *why;		/* by libvirt's detail, up to NULL */
};

static const char *const why_started[] = { "booted", "migrated", "restored", "snapshot", "wakeup", NULL };
static const char *const why_suspended[] = { "paused", "migrated", "ioerror", "watchdog", "restored", "snapshot", "api error",
					     "postcopy", "postcopy failed", NULL };
static const char *const why_resumed[] = { "unpaused", "migrated", "snapshot", "postcopy", "postcopy failed", NULL };
static const char *const why_stopped[] = { "shutdown", "destroyed", "crashed", "migrated", "saved", "failed", "snapshot", NULL };
static const char *const why_shutdown[] = { "shutdown", "shutdown", "shutdown", NULL };
static const char *const why_crashed[] = { "panicked", "crashloaded", NULL };
static const char *const why_none[] = { NULL };

/* A domain of ours is transient, so one that stopped is gone. */
static const struct event_word event_words[] = {
	[VIR_DOMAIN_EVENT_DEFINED] = { GUEST_OFF, NULL },	/* not a change of what runs */
	[VIR_DOMAIN_EVENT_UNDEFINED] = { GUEST_GONE, NULL },
	[VIR_DOMAIN_EVENT_STARTED] = { GUEST_RUNNING, why_started },
	[VIR_DOMAIN_EVENT_SUSPENDED] = { GUEST_PAUSED, why_suspended },
	[VIR_DOMAIN_EVENT_RESUMED] = { GUEST_RUNNING, why_resumed },
	[VIR_DOMAIN_EVENT_STOPPED] = { GUEST_GONE, why_stopped },
	[VIR_DOMAIN_EVENT_SHUTDOWN] = { GUEST_OFF, why_shutdown },
	[VIR_DOMAIN_EVENT_PMSUSPENDED] = { GUEST_PAUSED, why_none },
	[VIR_DOMAIN_EVENT_CRASHED] = { GUEST_CRASHED, why_crashed },
};

static int on_lifecycle(virConnectPtr conn, virDomainPtr dom, int event, int detail, void *arg)
{
	if (event < 0 || (size_t)event >= ARRAY_LEN(event_words) || !event_words[event].why)
		return 0;
	const struct event_word *w = &event_words[event];
	const char *why = "unknown";

	for (int i = 0; w->why[i]; i++)
		if (i == detail)
			why = w->why[i];
	tell(arg, virDomainGetName(dom), w->now, why);
	return 0;
}

static void on_close(virConnectPtr conn, int reason, void *arg)
{
	static const char *const words[] = { "error", "end of stream", "keepalive", "closed" };

	tell(arg, NULL, GUEST_GONE, reason >= 0 && (size_t)reason < ARRAY_LEN(words) ? words[reason] : "unknown");
}

static int watch_new(const struct hyper_config *c, struct watch **ret, struct err *e)
{
	struct watch *w = calloc(1, sizeof *w);

	if (!w)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&w->lock, NULL);
	w->refs = 1;
	w->fn = c->event;
	w->arg = c->arg;
	*ret = w;
	return 0;
}

/* A driver without a wire knows neither close callbacks nor keepalive; that is no failure. */
static int watch_start(struct libvirt *l, struct err *e)
{
	watch_ref(l->watch);
	l->event_id = virConnectDomainEventRegisterAny(l->conn, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
						       VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), l->watch, watch_unref);
	if (l->event_id < 0) {
		watch_unref(l->watch);
		return vir_err(e);
	}
	/* No release: a driver that knows no such callback says 0 and never calls it.  Unregistering waits for a call. */
	virConnectRegisterCloseCallback(l->conn, on_close, l->watch, NULL);
	virConnectSetKeepAlive(l->conn, KEEPALIVE_S, KEEPALIVE_N);
	return 0;
}

static void watch_stop(struct libvirt *l)
{
	if (!l->watch)
		return;
	pthread_mutex_lock(&l->watch->lock);
	l->watch->fn = NULL;
	pthread_mutex_unlock(&l->watch->lock);
	if (l->event_id >= 0) {
		virConnectDomainEventDeregisterAny(l->conn, l->event_id);
		virConnectUnregisterCloseCallback(l->conn, on_close);
	}
	watch_unref(l->watch);
}

/* ---- the connection ---- */

static void libvirt_close(struct hyper *h)
{
	struct libvirt *l = (struct libvirt *)h;

	watch_stop(l);
	if (l->conn)
		virConnectClose(l->conn);
	free(l->root);
	free(l);
}

static const struct hyper_ops libvirt_ops;

/* One after the other: the embedded driver's first open makes it, and a second one meanwhile uses what is half made. */
static virConnectPtr open_uri(const char *uri)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	bool embedded = strstr(uri, ":///embed");

	if (embedded)
		pthread_mutex_lock(&one);
	virConnectPtr ret = virConnectOpen(uri);
	if (embedded)
		pthread_mutex_unlock(&one);
	return ret;
}

static int dial(struct libvirt *l, const struct hyper_config *c, struct err *e)
{
	l->conn = open_uri(c->uri);
	if (!l->conn) {
		int rc = vir_err(e);

		/* A uri that names nothing is the caller's mistake; a machine that does not answer is the world's. */
		return rc == -EINVAL || rc == -ENOMEM || rc == -EACCES ? rc : err_set(e, EHOSTDOWN, "%s", e->msg);
	}
	const char *type = virConnectGetType(l->conn);

	if (!type)
		return vir_err(e);
	l->simulated = strcasecmp(type, "test") == 0;
	return 0;
}

/* Makes libvirt look at qemu now, which it would do at the first start. */
static void settle_kvm(struct libvirt *l, const char *user)
{
	unsigned long version;

	if (!hyper_embed_kvm_hidden(user))
		return;
	log_debug("/dev/kvm may not be opened by %s", user ? user : "us");
	hyper_embed_forget_kvm(l->root);
	if (virConnectGetVersion(l->conn, &version) == 0)
		hyper_embed_forget_kvm(l->root);
}

int hyper_libvirt_open(const struct hyper_config *c, struct hyper **ret, struct err *e)
{
	AUTO(hyper_close) struct hyper *h = NULL;
	struct libvirt *l = calloc(1, sizeof *l);

	if (!l)
		return err_set(e, ENOMEM, "%m");
	h = &l->h;
	h->ops = &libvirt_ops;
	l->event_id = -1;
	l->root = hyper_embed_root(c->uri);
	if (l->root && hyper_embed_prepare(l->root, c->user, e) < 0)
		return -e->code;
	if (dial(l, c, e) < 0 || watch_new(c, &l->watch, e) < 0 || watch_start(l, e) < 0)
		return -e->code;
	if (l->root)
		settle_kvm(l, c->user);
	*ret = steal_ptr(&h);
	return 0;
}

static int libvirt_alive(struct hyper *h, struct err *e)
{
	switch (virConnectIsAlive(((struct libvirt *)h)->conn)) {
	case 1:
		return 0;
	case 0:
		return err_set(e, EHOSTDOWN, "the connection is lost");
	}
	return vir_err(e);
}

/* libvirt's 1,000,000 * major + 1,000 * minor + release. */
static void put_version(char *buf, size_t size, const char *type, unsigned long v)
{
	if (v < 1000)
		snprintf(buf, size, "%s %lu", type, v);
	else
		snprintf(buf, size, "%s %lu.%lu.%lu", type, v / 1000000, v / 1000 % 1000, v % 1000);
}

static int libvirt_info(struct hyper *h, struct hyper_info *ret, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	struct hyper_info info = { .simulated = l->simulated };
	unsigned long version;
	virNodeInfo node;

	if (virNodeGetInfo(l->conn, &node) < 0 || virConnectGetVersion(l->conn, &version) < 0)
		return vir_err(e);
	info.vcpus = node.cpus;
	info.ram_mib = node.memory / 1024;
	if (l->root)	/* libvirt adds up the NUMA nodes, where memory plugged in later may be missing */
		info.ram_mib = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20;
	put_version(info.hypervisor, sizeof info.hypervisor, l->simulated ? "Test" : virConnectGetType(l->conn), version);
	*ret = info;
	return 0;
}

/* ---- domains ---- */

/* 1: *ret is it, 0: there is none. */
static int find(struct libvirt *l, const char *name, virDomainPtr *ret, struct err *e)
{
	virDomainPtr d = virDomainLookupByName(l->conn, name);

	if (!d)
		return vir_err(e) == -ENOENT ? 0 : -e->code;
	*ret = d;
	return 1;
}

static int find_must(struct libvirt *l, const char *name, virDomainPtr *ret, struct err *e)
{
	int rc = find(l, name, ret, e);

	return rc ? rc : err_set(e, ENOENT, "there is no such domain");
}

static enum guest_state state_of(int vir)
{
	switch (vir) {
	case VIR_DOMAIN_RUNNING:
	case VIR_DOMAIN_BLOCKED:
		return GUEST_RUNNING;
	case VIR_DOMAIN_PAUSED:
	case VIR_DOMAIN_PMSUSPENDED:
		return GUEST_PAUSED;
	case VIR_DOMAIN_CRASHED:
		return GUEST_CRASHED;
	}
	return GUEST_OFF;	/* also SHUTDOWN: its processors stand still, only the process is still to end */
}

/* 0 with GUEST_GONE when it went meanwhile. */
static int domain_state(virDomainPtr d, enum guest_state *ret, struct err *e)
{
	int state, reason;

	if (virDomainGetState(d, &state, &reason, 0) == 0)
		*ret = state_of(state);
	else if (vir_err(e) == -ENOENT)
		*ret = GUEST_GONE;
	else
		return -e->code;
	return 0;
}

static int libvirt_state(struct hyper *h, const char *name, enum guest_state *ret, struct err *e)
{
	AUTO(virDomainFree) virDomainPtr d = NULL;
	int rc = find((struct libvirt *)h, name, &d, e);

	if (rc > 0)
		return domain_state(d, ret, e);
	if (rc == 0)
		*ret = GUEST_GONE;
	return rc;
}

static int libvirt_list(struct hyper *h, void (*fn)(void *arg, const char *name, enum guest_state s), void *arg, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	AUTO(free) virDomainPtr *all = NULL;
	int n = virConnectListAllDomains(l->conn, &all, 0), rc = 0;

	if (n < 0)
		return vir_err(e);
	for (int i = 0; i < n; i++) {
		enum guest_state s;

		if (rc == 0)
			rc = domain_state(all[i], &s, e);
		if (rc == 0 && s != GUEST_GONE)
			fn(arg, virDomainGetName(all[i]), s);
		virDomainFree(all[i]);
	}
	return rc;
}

/* libvirt has several words for "there is one already", none of them its own error number. */
static int why_not_started(struct libvirt *l, const struct guest_spec *s, struct err *e)
{
	AUTO(virDomainFree) virDomainPtr by_name = NULL, by_uuid = NULL;
	int rc = vir_err(e);

	if (rc == -EHOSTDOWN)
		return rc;
	by_name = virDomainLookupByName(l->conn, s->name);
	by_uuid = virDomainLookupByUUIDString(l->conn, s->uuid);
	return by_name || by_uuid ? err_set(e, EEXIST, "%s", e->msg) : rc;
}

/* The test driver cannot start one paused, so it is paused at once. */
static int libvirt_start(struct hyper *h, const struct guest_spec *s, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	AUTO(virDomainFree) virDomainPtr there = NULL, d = NULL;
	AUTO(free) char *xml = NULL;
	int rc = find(l, s->name, &there, e);

	if (rc)
		return rc < 0 ? rc : err_set(e, EEXIST, "a domain of that name exists already");
	if (hyper_domain_xml(s, l->simulated, &xml, e) < 0)
		return -e->code;
	for (int i = 1; !(d = virDomainCreateXML(l->conn, xml, l->simulated ? 0 : VIR_DOMAIN_START_PAUSED)); i++) {
		rc = why_not_started(l, s, e);
		if (i == START_TRIES || !strstr(e->msg, "Failed to find an available port"))
			return rc;
		/* libvirt saw that its VNC port was free; before qemu took it, another process's guest did */
		nanosleep(&(struct timespec){ .tv_nsec = (20 + random() % 180) * 1000000L }, NULL);
	}
	if (l->simulated && virDomainSuspend(d) < 0)
		return vir_err(e);
	return 0;
}

/* Resuming what runs is what was asked for. */
static int libvirt_resume(struct hyper *h, const char *name, struct err *e)
{
	AUTO(virDomainFree) virDomainPtr d = NULL;
	int rc = find_must((struct libvirt *)h, name, &d, e);
	enum guest_state s;
	struct err ignored;

	if (rc < 0)
		return rc;
	if (virDomainResume(d) == 0)
		return 0;
	rc = vir_err(e);
	return domain_state(d, &s, &ignored) == 0 && s == GUEST_RUNNING ? 0 : rc;
}

static int libvirt_shutdown(struct hyper *h, const char *name, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	AUTO(virDomainFree) virDomainPtr d = NULL;
	int rc = find_must(l, name, &d, e);

	if (rc < 0)
		return rc;
	if (virDomainShutdownFlags(d, l->simulated ? 0 : VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
		return vir_err(e);
	return 0;
}

/* One attempt; what it says does not count, only what is there afterwards.  Somebody's `virsh edit` makes a domain
 * persistent, so it is also undefined. */
static void end_domain(virDomainPtr d, struct err *e)
{
	if (virDomainDestroy(d) < 0)
		vir_err(e);
	if (virDomainIsPersistent(d) == 1 &&
	    virDomainUndefineFlags(d, VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
				      VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_NVRAM) < 0 &&
	    virDomainUndefine(d) < 0)
		vir_err(e);
}

/* Just after a reconnection libvirt can end a domain and answer that there is none, or know it while it is being removed. */
static int libvirt_destroy(struct hyper *h, const char *name, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	struct err why = { 0 };

	for (int i = 0; i < DESTROY_TRIES; i++) {
		AUTO(virDomainFree) virDomainPtr d = NULL;
		int rc = find(l, name, &d, e);

		if (rc < 0)
			return rc;
		if (rc == 0)
			return l->root ? hyper_embed_sweep(l->root, name, e) : 0;
		if (i)
			nanosleep(&(struct timespec){ .tv_nsec = 50000000L << i }, NULL);
		end_domain(d, &why);
	}
	AUTO(virDomainFree) virDomainPtr d = NULL;
	int rc = find(l, name, &d, e);

	if (rc <= 0)
		return rc < 0 ? rc : l->root ? hyper_embed_sweep(l->root, name, e) : 0;
	return err_set(e, why.code ? why.code : EBUSY, "%s", why.code ? why.msg : "it is there again and again");
}

/* ---- its screen */

struct picture {
	char *bytes;
	size_t len;
};

static int more_picture(virStreamPtr st, const char *data, size_t n, void *arg)
{
	struct picture *p = arg;
	char *bytes = p->len + n <= PICTURE_MAX ? realloc(p->bytes, p->len + n) : NULL;

	if (!bytes)
		return -1;
	p->bytes = bytes;
	memcpy(p->bytes + p->len, data, n);
	p->len += n;
	return (int)n;
}

static int put_picture(const struct picture *p, const char *mime, FILE *out, struct err *e)
{
	if (strcmp(mime, "image/png") != 0)
		return hyper_ppm_to_png(p->bytes, p->len, out, e);
	return fwrite(p->bytes, 1, p->len, out) == p->len ? 0 : err_set(e, ENOMEM, "%m");
}

static int libvirt_screenshot(struct hyper *h, const char *name, FILE *out, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	AUTO(virDomainFree) virDomainPtr d = NULL;
	AUTO(virStreamFree) virStreamPtr st = NULL;
	AUTO(free) char *mime = NULL;
	struct picture p = { 0 };
	int rc = find(l, name, &d, e);

	if (rc <= 0)
		return rc ? rc : err_set(e, EBUSY, "the guest does not run");
	st = virStreamNew(l->conn, 0);
	if (!st || !(mime = virDomainScreenshot(d, st, 0, 0)))
		return vir_err(e);
	rc = virStreamRecvAll(st, more_picture, &p) < 0 || virStreamFinish(st) < 0 ? vir_err(e) : put_picture(&p, mime, out, e);
	free(p.bytes);
	return rc;
}

/* libvirt writes the attributes itself, always in this way. */
static int libvirt_vnc_port(struct hyper *h, const char *name, unsigned *ret, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	AUTO(virDomainFree) virDomainPtr d = NULL;
	AUTO(free) char *xml = NULL;
	int rc = find_must(l, name, &d, e);

	*ret = 0;
	if (rc < 0)
		return rc;
	if (!(xml = virDomainGetXMLDesc(d, 0)))
		return vir_err(e);
	const char *at = strstr(xml, "<graphics type='vnc' port='");

	if (at)
		sscanf(at, "<graphics type='vnc' port='%u'", ret);
	return 0;
}

/* ---- what they use */

static uint64_t stat_of(virTypedParameterPtr p, int n, const char *name)
{
	unsigned long long v = 0;

	if (virTypedParamsGetULLong(p, n, name, &v) < 0)
		virResetLastError();
	return v;
}

static void one_guest(const virDomainStatsRecord *r, struct guest_stats *s)
{
	unsigned disks = 0;
	char name[48];

	*s = (struct guest_stats){ .cpu_s = (double)stat_of(r->params, r->nparams, "cpu.time") / 1e9,
		.rss = stat_of(r->params, r->nparams, "balloon.rss") << 10, .ram = stat_of(r->params, r->nparams, "balloon.current") << 10 };
	if (virTypedParamsGetUInt(r->params, r->nparams, "block.count", &disks) < 0)
		virResetLastError();
	const struct { const char *what; uint64_t *to; } sums[] = { { "rd.bytes", &s->read_bytes }, { "rd.reqs", &s->read_ops },
		{ "wr.bytes", &s->written_bytes }, { "wr.reqs", &s->write_ops } };

	for (unsigned d = 0; d < disks; d++)
		for (size_t i = 0; i < ARRAY_LEN(sums); i++) {
			snprintf(name, sizeof name, "block.%u.%s", d, sums[i].what);
			*sums[i].to += stat_of(r->params, r->nparams, name);
		}
}

/* Network figures are not asked for: libvirt would look for the taps in its own namespace. */
static int libvirt_stats(struct hyper *h, void (*fn)(void *arg, const char *name, const struct guest_stats *s), void *arg, struct err *e)
{
	struct libvirt *l = (struct libvirt *)h;
	virDomainStatsRecordPtr *all;
	int n = virConnectGetAllDomainStats(l->conn, VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON | VIR_DOMAIN_STATS_BLOCK, &all,
					    VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);

	if (n < 0)
		return vir_err(e);
	for (int i = 0; i < n; i++) {
		struct guest_stats s;

		one_guest(all[i], &s);
		fn(arg, virDomainGetName(all[i]->dom), &s);
	}
	virDomainStatsRecordListFree(all);
	return 0;
}

static const struct hyper_ops libvirt_ops = {
	.close = libvirt_close,
	.info = libvirt_info,
	.alive = libvirt_alive,
	.start = libvirt_start,
	.resume = libvirt_resume,
	.shutdown = libvirt_shutdown,
	.destroy = libvirt_destroy,
	.state = libvirt_state,
	.list = libvirt_list,
	.screenshot = libvirt_screenshot,
	.vnc_port = libvirt_vnc_port,
	.stats = libvirt_stats,
};
