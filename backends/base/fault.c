#include "fault.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define RULES_MAX 32
#define OPS_MAX 32

struct rule {
	size_t op;
	unsigned nth;		/* 0: every call */
	int code;		/* 0: it does not fail */
	bool done;
	unsigned hang_ms;
	char while_file[128];	/* hangs while it is there */
};

struct faults {
	const char *const *ops;
	size_t n_ops;
	pthread_mutex_t lock;	/* calls */
	unsigned calls[OPS_MAX];
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
static bool parse_rule(const struct faults *f, char *text, struct rule *r)
{
	char *save, *op = strtok_r(text, ":", &save), *nth = strtok_r(NULL, ":", &save), *what = strtok_r(NULL, "", &save);

	if (!op || !nth || !what)
		return false;
	for (r->op = 0; r->op < f->n_ops && strcmp(op, f->ops[r->op]) != 0; r->op++)
		;
	if (r->op == f->n_ops || !parse_what(what, r))
		return false;
	return strcmp(nth, "*") == 0 || (parse_number(nth, &r->nth) && r->nth > 0);
}

static int parse_rules(struct faults *f, const char *text, const char *whom, struct err *e)
{
	AUTO(free) char *copy = strdup(text);
	char *save;

	if (!copy)
		return err_set(e, ENOMEM, "%m");
	for (char *p = strtok_r(copy, ", ", &save); p; p = strtok_r(NULL, ", ", &save)) {
		AUTO(free) char *shown = strdup(p);
		char *at = strchr(p, '@');

		if (at && strncmp(whom, p, (size_t)(at - p)) != 0)
			continue;
		p = at ? at + 1 : p;
		if (f->n_rules == RULES_MAX)
			return err_set(e, E2BIG, "more than %d faults", RULES_MAX);
		if (!parse_rule(f, p, &f->rules[f->n_rules++]))
			return err_set(e, EINVAL, "'%s' is no fault; OP:N:ERRNO, OP:N:doneERRNO, OP:N:hangMS or OP:N:hang/FILE", shown ? shown : "it");
	}
	return 0;
}

void faults_close(struct faults *f)
{
	if (!f)
		return;
	pthread_mutex_destroy(&f->lock);
	free(f);
}

int faults_open(const char *rules, const char *whom, const char *const *ops, size_t n, struct faults **ret, struct err *e)
{
	AUTO(faults_close) struct faults *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "%m");
	f->ops = ops;
	f->n_ops = n < OPS_MAX ? n : OPS_MAX;
	pthread_mutex_init(&f->lock, NULL);
	if (parse_rules(f, rules, whom, e) < 0)
		return -e->code;
	*ret = f->n_rules ? steal_ptr(&f) : NULL;
	return 0;
}

static void hang(unsigned ms, const char *file)
{
	struct timespec left = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (*file && access(file, F_OK) == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

struct fault faults_next(struct faults *f, size_t op)
{
	struct fault ret = { 0 };
	const char *file = "";
	unsigned ms = 0;

	pthread_mutex_lock(&f->lock);
	ret.nth = ++f->calls[op];
	pthread_mutex_unlock(&f->lock);
	for (size_t i = 0; i < f->n_rules; i++) {	/* the sum of the rules that mean it */
		const struct rule *r = &f->rules[i];

		if (r->op != op || (r->nth && r->nth != ret.nth))
			continue;
		ms += r->hang_ms;
		file = *r->while_file ? r->while_file : file;
		if (r->code) {
			ret.code = r->code;
			ret.done = r->done;
		}
	}
	hang(ms, file);
	return ret;
}

int fault_inject(const struct fault *f, struct err *e)
{
	return err_set(e, f->code, "injected %s of call %u", strerrorname_np(f->code), f->nth);
}
