/* The machine's own files: those every object has, those every collection has, and the root's. */
#include <errno.h>
#include <string.h>

#include "attr.h"
#include "ctl.h"
#include "help.h"
#include "session.h"
#include "tasks.h"
#include "value.h"

static int show_id(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	fputs(o->row.uuid, out);
	return 0;
}

static int show_created(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	put_time(out, o->row.created);
	return 0;
}

static int show_status(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	fputs(o->row.status, out);
	return 0;
}

static int show_progress(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	fprintf(out, "%d", o->row.progress);
	return 0;
}

static int show_protected(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	fputs(o->row.protected ? "true" : "false", out);
	return 0;
}

static int store_protected(struct call *c, struct obj *o, const char *text, struct err *e)
{
	const struct file f = { .type = T_BOOL };
	struct val v;

	if (value_parse(&f, text, &v, e) < 0)
		return -e->code;
	o->row.protected = v.i;
	return column_set(c->db, "object", "protected", o->row.id, &v, e);
}

static int show_description(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	AUTO(val_free) struct val v = { 0 };
	int rc = column_get(c->db, "object", "description", o->row.id, &v, e);

	if (rc == 0 && v.kind == VAL_TEXT)
		fputs(v.s, out);
	return rc;
}

static int store_description(struct call *c, struct obj *o, const char *text, struct err *e)
{
	const struct file f = { .type = T_TEXT, .flags = F_NEEDED };
	AUTO(val_free) struct val v = { 0 };

	if (value_parse(&f, text, &v, e) < 0)
		return -e->code;
	return column_set(c->db, "object", "description", o->row.id, &v, e);
}

/* The last failure of a task, or a refusal that came after it. */
static int show_error(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	AUTO(free) char *last = NULL;
	char line[1024];
	int64_t at;
	int rc = row_error(c->db, o->row.id, &last, e);

	if (rc < 0)
		return rc;
	bool refused = refusal_of(c->fs, (struct node){ .kind = o->kind->no, .row = o->row.id }, &at, line, sizeof line);
	/* both begin with the time, which sorts as text */
	fputs(refused && strcmp(line, last) >= 0 ? line : last, out);
	return 0;
}

static int show_history_line(void *arg, int64_t at, const char *verb, const char *result, const char *request, const char *who,
			     int64_t duration_us, const char *detail, const char *steps)
{
	FILE *out = arg;

	fputs(steps, out);
	put_time(out, at);
	fprintf(out, " %s %s user=%s request=%s duration=%.3fs%s%s\n", verb, result, who, request, (double)duration_us / 1e6,
		*detail ? " " : "", detail);
	return 0;
}

static int show_history(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	int rc = history_list(c->db, o->row.id, show_history_line, out, e);

	if (rc == 0)
		task_show_steps(c->fs, o->row.id, out);
	return rc;
}

struct users {
	struct call *c;
	FILE *out;
	int64_t of;
};

static int show_user(void *arg, const struct row *r)
{
	struct users *u = arg;
	char path[1600];
	struct obj o;
	struct err e;

	if (r->parent != u->of && obj_by_id(u->c, r->id, &o, &e) == 0 && obj_path(u->c, &o, path, sizeof path, &e) == 0)
		fprintf(u->out, "%s\n", path);
	return 0;
}

static int show_used_by(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct users u = { .c = c, .out = out, .of = o->row.id };

	return obj_users(c, o, true, false, show_user, &u, e);
}

static int show_ctl(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	return ctl_show(c, (struct node){ .kind = o->kind->no, .row = o->row.id }, out, e);
}

const struct file common_files[] = {
	{ "ctl", .flags = F_WRITE | F_CONTROL | F_LIVE, .show = show_ctl, .help = "commands; reading lists the verbs valid now" },
	{ "spec", .flags = F_WRITE | F_CONTROL | F_LIVE, .type = T_DOC, .help = "document: what was asked, a key=value a line; writing it changes what may change" },
	{ "json", .help = "all of it as JSON" },
	{ "error", .show = show_error, .help = "newline, or `TIME ERRNO REQUEST-ID` and why the last task or command failed" },
	{ "status", .flags = F_ONLY_STATUS, .show = show_status, .help = "present status" },
	{ "task", .flags = F_ONLY_STATUS | F_LIVE, .show = task_show, .help = "verb, step, age, queued|running|waiting, seconds left, what it waits for; or `none`" },
	{ "progress", .flags = F_ONLY_STATUS | F_LIVE, .type = T_INT, .show = show_progress, .help = "0-100" },
	{ "history", .flags = F_LIST, .show = show_history, .help = "what was done to it, a line each, oldest first; before it, indented, its steps and how long each took" },
	{ "id", .show = show_id, .help = "UUID; `id:UUID` is taken wherever its name is" },
	{ "created", .show = show_created, .help = "when, UTC" },
	{ "description", .flags = F_WRITE, .show = show_description, .store = store_description, .help = "free text, one line" },
	{ "protected", .flags = F_WRITE, .type = T_BOOL, .show = show_protected, .store = store_protected,
	  .help = "true: it and what is below cannot be deleted" },
	{ "used-by", .flags = F_LIST | F_LIVE, .show = show_used_by, .help = "who names it, a path a line" },
	{ "wait", .flags = F_HIDDEN, .help = "reading blocks until no task runs, prints the status; EIO if the last task failed" },
	{ "wait-for", .flags = F_HIDDEN, .help = "wait-for/STATUS: reading blocks until it has that status" },
	{ 0 }
};

static int show_version(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	fprintf(out, "cirrusfs %s", c->fs->version);
	return 0;
}

static int show_health(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	long before = ftell(out);

	tasks_health(c, out);
	int rc = c->fs->health ? c->fs->health(c->fs, out, e) : 0;
	if (ftell(out) == before)
		fputs("ok", out);
	return rc;
}

static int show_metrics(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	return c->fs->metrics(c, out, e);
}

static int events_size(struct call *c, const struct obj *o, int gen, int64_t *ret, struct err *e)
{
	return event_size(c->db, o->row.id == ROOT_ROW ? 0 : o->row.id, gen, ret, e);
}

static int events_size_now(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return events_size(c, o, 0, ret, e);
}

static int64_t events_read_now(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return event_read(c->db, o->row.id == ROOT_ROW ? 0 : o->row.id, 0, offset, buf, size, e);
}

static int events_size_old(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return events_size(c, o, 1, ret, e);
}

static int64_t events_read_old(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return event_read(c->db, o->row.id == ROOT_ROW ? 0 : o->row.id, 1, offset, buf, size, e);
}

const struct stream events_stream = { events_size_now, events_read_now };
const struct stream events_old_stream = { events_size_old, events_read_old };

static int show_readme(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	help_root(c->fs, out);
	return 0;
}

const struct file root_common[] = {
	{ "ctl", .flags = F_WRITE | F_CONTROL | F_LIVE, .show = show_ctl, .help = "commands: create, ensure, delete COLLECTION/NAME" },
	{ "README", .show = show_readme, .help = "how to begin" },
	{ "version", .show = show_version, .help = "of the program that serves this" },
	{ "health", .flags = F_LIVE | F_LIST, .show = show_health, .help = "`ok`, or a line per fault" },
	{ "events", .flags = F_STREAM, .stream = &events_stream, .help = "what happened, a line each; `tail -f` works" },
	{ "events.1", .flags = F_STREAM, .stream = &events_old_stream, .help = "the events before the last rotation" },
	{ "metrics", .flags = F_LIVE | F_LIST, .show = show_metrics, .help = "OpenMetrics text" },
	{ "error", .show = show_error, .help = "newline, or why the last command on this ctl was refused" },
	{ "events-follow", .flags = F_HIDDEN, .help = "reading blocks until there are new events" },
	{ "last-error", .flags = F_HIDDEN, .help = "what this session was refused, newest first" },
	{ "last-result", .flags = F_HIDDEN, .help = "path of what this session's last accepted command made" },
	{ "wait", .flags = F_HIDDEN, .help = "reading blocks until nothing runs anywhere" },
	{ "by-id", .flags = F_HIDDEN, .help = "by-id/UUID: any object" },
	{ "tasks", .flags = F_LIVE | F_LIST, .show = tasks_show, .help = "what is queued or runs: a header, then a tab-separated row each" },
	{ 0 }
};

const struct file collection_files[] = {
	{ "ctl", .flags = F_WRITE | F_CONTROL | F_LIVE, .help = "create NAME k=v..., ensure NAME k=v..., delete NAME; reading explains" },
	{ "README", .help = "what this is, its files, verbs and an example" },
	{ "list", .flags = F_LIVE | F_LIST, .help = "a header, then a tab-separated row each" },
	{ "json", .flags = F_LIVE | F_LIST, .help = "the same as JSON" },
	{ "spec", .flags = F_LIVE | F_WRITE | F_CONTROL, .type = T_DOC, .help = "document: the commands that make all this again" },
	{ "error", .flags = F_LIVE, .help = "newline, or why the last command on this ctl was refused, and objects whose last task failed" },
	{ "wait", .flags = F_HIDDEN, .help = "reading blocks until nothing below runs; EIO if a last task failed" },
	{ "by-id", .flags = F_HIDDEN, .help = "by-id/UUID: also what is being deleted" },
	{ 0 }
};

const struct file view_files[] = {
	{ "README", .help = "what these links are" },
	{ "list", .flags = F_LIVE | F_LIST, .help = "a header, then a tab-separated row each" },
	{ 0 }
};

const struct kind root_kind = { .no = 0, .name = "cloud", .dir = "", .help = "A private cloud as a directory.", .files = NULL };
