/* A hypervisor that breaks when told to: the same table in front of another, for tests.  Rules: ../base/fault.h. */
#include <errno.h>

#include "../base/fault.h"
#include "../base/log.h"
#include "ops.h"

enum op { OP_INFO, OP_ALIVE, OP_START, OP_RESUME, OP_SHUTDOWN, OP_DESTROY, OP_STATE, OP_LIST, OP_SCREENSHOT, OP_VNC_PORT, OP_STATS, N_OPS };

static const char *const op_names[N_OPS] = {
	[OP_INFO] = "info", [OP_ALIVE] = "alive", [OP_START] = "start", [OP_RESUME] = "resume", [OP_SHUTDOWN] = "shutdown",
	[OP_DESTROY] = "destroy", [OP_STATE] = "state", [OP_LIST] = "list",
	[OP_SCREENSHOT] = "screenshot", [OP_VNC_PORT] = "vnc_port", [OP_STATS] = "stats",
};

struct faulty {
	struct hyper h;
	struct hyper *inner;
	struct faults *faults;
};

#define FAULTY(which, call) ({ \
	struct faulty *f = (struct faulty *)h; \
	struct hyper *in = f->inner; \
	FAULT_CALL(f->faults, which, in->ops->call, e); \
})

static int fault_info(struct hyper *h, struct hyper_info *ret, struct err *e)
{
	return FAULTY(OP_INFO, info(in, ret, e));
}

static int fault_alive(struct hyper *h, struct err *e)
{
	return FAULTY(OP_ALIVE, alive(in, e));
}

static int fault_start(struct hyper *h, const struct guest_spec *s, struct err *e)
{
	return FAULTY(OP_START, start(in, s, e));
}

static int fault_resume(struct hyper *h, const char *name, struct err *e)
{
	return FAULTY(OP_RESUME, resume(in, name, e));
}

static int fault_shutdown(struct hyper *h, const char *name, struct err *e)
{
	return FAULTY(OP_SHUTDOWN, shutdown(in, name, e));
}

static int fault_destroy(struct hyper *h, const char *name, struct err *e)
{
	return FAULTY(OP_DESTROY, destroy(in, name, e));
}

static int fault_state(struct hyper *h, const char *name, enum guest_state *ret, struct err *e)
{
	return FAULTY(OP_STATE, state(in, name, ret, e));
}

static int fault_list(struct hyper *h, void (*fn)(void *arg, const char *name, enum guest_state s), void *arg, struct err *e)
{
	return FAULTY(OP_LIST, list(in, fn, arg, e));
}

static int fault_screenshot(struct hyper *h, const char *name, FILE *out, struct err *e)
{
	return FAULTY(OP_SCREENSHOT, screenshot(in, name, out, e));
}

static int fault_vnc_port(struct hyper *h, const char *name, unsigned *ret, struct err *e)
{
	return FAULTY(OP_VNC_PORT, vnc_port(in, name, ret, e));
}

static int fault_stats(struct hyper *h, void (*fn)(void *arg, const char *name, const struct guest_stats *s), void *arg, struct err *e)
{
	return FAULTY(OP_STATS, stats(in, fn, arg, e));
}

static void fault_close(struct hyper *h)
{
	struct faulty *f = (struct faulty *)h;

	hyper_close(f->inner);
	faults_close(f->faults);
	free(f);
}

static const struct hyper_ops fault_ops = {
	.close = fault_close,
	.info = fault_info,
	.alive = fault_alive,
	.start = fault_start,
	.resume = fault_resume,
	.shutdown = fault_shutdown,
	.destroy = fault_destroy,
	.state = fault_state,
	.list = fault_list,
	.screenshot = fault_screenshot,
	.vnc_port = fault_vnc_port,
	.stats = fault_stats,
};

int hyper_fault_wrap(struct hyper **h, const char *rules, const char *uri, struct err *e)
{
	AUTO(faults_close) struct faults *faults = NULL;
	AUTO(free) struct faulty *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "%m");
	if (faults_open(rules, uri, op_names, N_OPS, &faults, e) < 0)
		return -e->code;
	if (!faults)
		return 0;
	f->h.ops = &fault_ops;
	f->inner = *h;
	f->faults = steal_ptr(&faults);
	log_warn("hypervisor with faults: %s", rules);
	*h = &steal_ptr(&f)->h;
	return 0;
}
