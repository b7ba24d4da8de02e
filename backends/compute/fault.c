/* A hypervisor that breaks when told to: the same table in front of another, for tests.  Rules: ops.h. */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "../base/log.h"
#include "ops.h"

#define RULES_MAX 32

enum op { OP_INFO, OP_ALIVE, OP_START, OP_RESUME, OP_SHUTDOWN, OP_DESTROY, OP_STATE, OP_LIST, OP_SCREENSHOT, OP_VNC_PORT, OP_STATS, N_OPS };

static const char *const op_names[N_OPS] = {
	[OP_INFO] = "info", [OP_ALIVE] = "alive", [OP_START] = "start", [OP_RESUME] = "resume", [OP_SHUTDOWN] = "shutdown",
	[OP_DESTROY] = "destroy", [OP_STATE] = "state", [OP_LIST] = "list",
	[OP_SCREENSHOT] = "screenshot", [OP_VNC_PORT] = "vnc_port", [OP_STATS] = "stats",
};

struct rule {
	enum op op;
	unsigned nth;		/* 0: every call */
	int code;		/* 0: it does not fail */
	bool done;		/* fails after it was done */
	unsigned hang_ms;
	char while_file[128];	/* hangs while it is there */
};

struct fault {
	struct hyper h;
	struct hyper *inner;
	pthread_mutex_t lock;	/* calls */
	unsigned calls[N_OPS];
	struct rule rules[RULES_MAX];
	size_t n_rules;
};

static int errno_named(const char *name)
{
	for (int i = 1; i < 134; i++)
		if (strerrorname_np(i) && strcmp(strerrorname_np(i), name) == 0)
			return i;
	return 0;
}

static bool parse_number(const char *s, unsigned *ret)
{
	char *end;
	unsigned long n = strtoul(s, &end, 10);

	if (!isdigit((unsigned char)*s) || *end || n > 1000000)
		return false;
	*ret = (unsigned)n;
	return true;
}

static bool parse_what(const char *s, struct rule *r)
{
	if (strncmp(s, "hang/", 5) == 0)
		return snprintf(r->while_file, sizeof r->while_file, "%s", s + 4) < (int)sizeof r->while_file;
	if (strncmp(s, "hang", 4) == 0)
		return parse_number(s + 4, &r->hang_ms);
	r->done = strncmp(s, "done", 4) == 0;
	r->code = errno_named(r->done ? s + 4 : s);
	return r->code != 0;
}

/* Cuts the text it is given. */
static bool parse_rule(char *text, struct rule *r)
{
	char *save, *op = strtok_r(text, ":", &save), *nth = strtok_r(NULL, ":", &save), *what = strtok_r(NULL, "", &save);

	if (!op || !nth || !what)
		return false;
	for (r->op = 0; r->op < N_OPS && strcmp(op, op_names[r->op]) != 0; r->op++)
		;
	if (r->op == N_OPS || !parse_what(what, r))
		return false;
	return strcmp(nth, "*") == 0 || (parse_number(nth, &r->nth) && r->nth > 0);
}

static int parse_rules(struct fault *f, const char *text, const char *uri, struct err *e)
{
	AUTO(free) char *copy = strdup(text);
	char *save;

	if (!copy)
		return err_set(e, ENOMEM, "%m");
	for (char *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save)) {
		AUTO(free) char *shown = strdup(p);
		char *at = strchr(p, '@');

		if (at && strncmp(uri, p, (size_t)(at - p)) != 0)
			continue;
		p = at ? at + 1 : p;
		if (f->n_rules == RULES_MAX)
			return err_set(e, E2BIG, "more than %d faults", RULES_MAX);
		if (!parse_rule(p, &f->rules[f->n_rules++]))
			return err_set(e, EINVAL, "'%s' is no fault; OP:N:ERRNO, OP:N:doneERRNO, OP:N:hangMS or OP:N:hang/FILE", shown ? shown : "it");
	}
	return 0;
}

/* What is to happen to this call: the sum of the rules that mean it. */
static struct rule next_call(struct fault *f, enum op op)
{
	struct rule sum = { .op = op };

	pthread_mutex_lock(&f->lock);
	unsigned n = ++f->calls[op];

	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < f->n_rules; i++) {
		const struct rule *r = &f->rules[i];

		if (r->op != op || (r->nth && r->nth != n))
			continue;
		sum.hang_ms += r->hang_ms;
		if (*r->while_file)
			memcpy(sum.while_file, r->while_file, sizeof sum.while_file);
		if (r->code) {
			sum.code = r->code;
			sum.done = r->done;
		}
	}
	sum.nth = n;
	return sum;
}

static int injected(const struct rule *r, struct err *e)
{
	return err_set(e, r->code, "injected %s of call %u", strerrorname_np(r->code), r->nth);
}

static void hang(unsigned ms, const char *file)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (*file && access(file, F_OK) == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* Runs `call` on the inner table as the rules will have it. */
#define FAULTY(which, call) ({ \
	struct fault *f = (struct fault *)h; \
	struct hyper *in = f->inner; \
	struct rule r_ = next_call(f, which); \
	int rc_ = 0; \
	hang(r_.hang_ms, r_.while_file); \
	if (!r_.code || r_.done) \
		rc_ = in->ops->call; \
	rc_ == 0 && r_.code ? injected(&r_, e) : rc_; \
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
	struct fault *f = (struct fault *)h;

	hyper_close(f->inner);
	pthread_mutex_destroy(&f->lock);
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
	AUTO(free) struct fault *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "%m");
	if (parse_rules(f, rules, uri, e) < 0)
		return -e->code;
	if (!f->n_rules)
		return 0;
	f->h.ops = &fault_ops;
	f->inner = *h;
	pthread_mutex_init(&f->lock, NULL);
	log_warn("hypervisor with faults: %s", rules);
	*h = &steal_ptr(&f)->h;
	return 0;
}
