#include "check.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include "../backends/state/audit.h"
#include "object/object.h"
#include "tree/tasks.h"
#include "tree/value.h"

AUTO_FN(DIR *, closedir);

/* ---- telling */

void words_add(struct words *w, const char *line)
{
	char **v = reallocarray(w->v, w->n + 1, sizeof *v);

	if (!v)
		return;
	w->v = v;
	if ((v[w->n] = strdup(line)))
		w->n++;
}

bool words_has(const struct words *w, const char *line)
{
	for (size_t i = 0; i < w->n; i++)
		if (strcmp(w->v[i], line) == 0)
			return true;
	return false;
}

void words_free(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->v[i]);
	free(w->v);
	*w = (struct words){ 0 };
}

static void fault(struct check *k, int64_t object, const char *thing, const struct mend *m, int64_t id, const char *name, const char *wrong)
{
	struct finding f = { .object = object, .thing = thing, .wrong = wrong };
	AUTO(free) char *key = NULL;

	if (k->only && (asprintf(&key, "%s\n%s", thing, wrong) < 0 || !words_has(k->only, key)))
		return;
	if (k->mend && m && m->act(k, id, name, &f.failed) >= 0)
		f.did = m->did;
	k->n++;
	k->found(k->arg, &f);
}

void check_fault(struct check *k, int64_t object, const char *thing, const struct mend *m, int64_t id, const char *name, const char *fmt, ...)
{
	char wrong[700];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(wrong, sizeof wrong, fmt, ap);
	va_end(ap);
	fault(k, object, thing, m, id, name, wrong);
}

void check_path(struct check *k, int64_t object, char *ret, size_t size)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };
	struct obj o;

	if (call_begin(&k->cl->fs, &c, &e) < 0 || obj_by_id(&c, object, &o, &e) < 0 || obj_name_path(&c, &o, ret, size, &e) < 0)
		snprintf(ret, size, "object %ld", (long)object);
}

void check_object(struct check *k, int64_t object, const struct mend *m, const char *name, const char *fmt, ...)
{
	char wrong[700], path[1600];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(wrong, sizeof wrong, fmt, ap);
	va_end(ap);
	check_path(k, object, path, sizeof path);
	fault(k, object, path, m, object, name, wrong);
}

/* ---- what is in the store */

static int check_lose(struct check *k, const char *path, struct err *e)
{
	char from[PATH_MAX], dir[PATH_MAX], to[PATH_MAX + 300], flat[256];

	snprintf(from, sizeof from, "%s/%s", k->cl->fs.store, path);
	snprintf(dir, sizeof dir, "%s/lost+found", k->cl->fs.store);
	snprintf(flat, sizeof flat, "%s", path);
	for (char *slash = flat; (slash = strchr(slash, '/')); )
		*slash = '-';
	snprintf(to, sizeof to, "%s/%s", dir, flat);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return err_set(e, errno, "make %s: %m", dir);
	for (int i = 1; renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) < 0; i++) {
		if (errno != EEXIST || i > 100)
			return err_set(e, errno, "move %s to %s: %m", from, to);
		snprintf(to, sizeof to, "%s/%s.%d", dir, flat, i);
	}
	return 0;
}

int check_known(struct check *k, const struct kind *kind, int64_t row, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct row r;

	if (call_begin(&k->cl->fs, &c, e) < 0)
		return -e->code;
	int rc = row_by_id(c.db, row, &r, e);
	return rc <= 0 ? rc : r.kind == kind->no && strcmp(r.status, "DRAFT") != 0;
}

/* The running system does not touch what may be somebody's data. */
static int lose(struct check *k, int64_t row, const char *path, struct err *e)
{
	return k->running ? err_set(e, EBUSY, "it may be somebody's data; cirrusfs fsck --repair moves it to lost+found") : check_lose(k, path, e);
}

int check_strays(struct check *k, const char *dir, const struct kind *kind, const struct mend *m, struct err *e)
{
	static const struct mend lost = { "moved to lost+found", lose };
	char path[PATH_MAX], *rest;
	int rc = 0;

	snprintf(path, sizeof path, "%s/%s", k->cl->fs.store, dir);
	AUTO(closedir) DIR *d = opendir(path);
	if (!d)
		return errno == ENOENT ? 0 : err_set(e, errno, "open %s: %m", path);
	for (struct dirent *de; rc >= 0 && (de = readdir(d)); ) {
		long row = isdigit((unsigned char)de->d_name[0]) ? strtol(de->d_name, &rest, 10) : 0;

		if (!row || (*rest && *rest != '.') || (rc = check_known(k, kind, row, e)))
			continue;
		snprintf(path, sizeof path, "%s/%s", dir, de->d_name);
		check_fault(k, 0, path, m ? m : &lost, row, path, "there is no such %s", kind->name);
	}
	return rc < 0 ? rc : 0;
}

/* ---- the state against itself */

static int mend_reference(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || audit_mend(c.db, k->line, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static void still_wrong(void *arg, const struct audit_line *l)
{
	*(bool *)arg |= !l->table;
}

static int mend_file(struct check *k, int64_t id, const char *path, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	bool wrong = false;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || audit_reindex(c.db, e) < 0 || call_commit(&c, e) < 0 ||
	    state_audit(path, still_wrong, &wrong, e) < 0)
		return -e->code;
	return wrong ? err_set(e, EBADMSG, "new indexes do not mend it; take a backup of state.db, or copy it with sqlite3's .recover") : 0;
}

static void on_line(void *arg, const struct audit_line *l)
{
	static const struct mend unset = { "it names none now", mend_reference }, gone = { "removed", mend_reference },
		anew = { "its indexes are made anew", mend_file };
	struct check *k = arg;
	struct audit_line copy = *l;

	/* an object without a parent is nowhere */
	copy.owned |= l->table && strcmp(l->table, "object") == 0;
	/* a port is its server's; the rest of its row goes with its object's */
	if (l->table && strcmp(l->table, "port") == 0 && strcmp(l->column, "server") == 0) {
		copy.table = "object";
		copy.owned = true;
	}
	k->line = &copy;
	check_fault(k, 0, l->thing, !l->table ? &anew : copy.owned ? &gone : &unset, 0, l->thing, "%s", l->wrong);
	k->line = NULL;
}

static int check_file(struct check *k, struct err *e)
{
	char path[PATH_MAX];

	snprintf(path, sizeof path, "%s/state.db", k->cl->fs.store);
	return state_audit(path, on_line, k, e);
}

/* What triggers keep is counted again inside the transaction that corrects it. */
struct correct {
	struct db *db;
	int64_t of;
	const char *name;
	struct err *e;
	int (*set)(struct db *db, int64_t of, const char *name, int64_t n, struct err *e);
};

static int correct_one(void *arg, int64_t of, const char *name, int64_t used, int64_t real)
{
	struct correct *x = arg;

	if (of != x->of || strcmp(name, x->name) != 0)
		return 0;
	x->set(x->db, of, name, real, x->e);
	return 1;
}

static int correct(struct check *k, int64_t of, const char *name, bool host, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct correct x = { .of = of, .name = name, .e = e, .set = host ? host_use_set : usage_set };
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, of, &o, e) < 0)
		return -e->code;
	x.db = c.db;
	int rc = (host ? host_audit : usage_audit)(c.db, correct_one, &x, e);
	if (rc < 0 || e->code)
		return -e->code;
	changed(&c, &o, CH_VALUES);
	return call_commit(&c, e);
}

static int correct_usage(struct check *k, int64_t tenant, const char *name, struct err *e)
{
	return correct(k, tenant, name, false, e);
}

static int correct_host(struct check *k, int64_t host, const char *name, struct err *e)
{
	return correct(k, host, name, true, e);
}

static int on_usage(void *arg, int64_t tenant, const char *name, int64_t used, int64_t real)
{
	static const struct mend m = { "corrected", correct_usage };

	check_object(arg, tenant, &m, name, "usage/%s says %ld and is %ld", name, (long)used, (long)real);
	return 0;
}

static int on_host(void *arg, int64_t host, const char *name, int64_t used, int64_t real)
{
	static const struct mend m = { "corrected", correct_host };

	check_object(arg, host, &m, name, "%s says %ld and its servers take %ld", name, (long)used, (long)real);
	return 0;
}

static int check_counts(struct check *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = usage_audit(c.db, on_usage, k, e);
	return rc < 0 ? rc : host_audit(c.db, on_host, k, e);
}

/* ---- rows that promise what nobody does */

static const struct verb *verb_meanwhile(const struct kind *kind, const char *status)
{
	if (strcmp(status, "HARD_REBOOT") == 0)		/* reboot chooses it itself */
		status = "REBOOT";
	for (const struct verb *v = kind->verbs; v && v->name; v++)
		if (v->during && strcmp(v->during, status) == 0)
			return v;
	return NULL;
}

/* As a task that failed leaves it: the same verb again, or delete, works from there. */
static int mend_stuck(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	char line[700];
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, id, &o, e) < 0)
		return -e->code;
	const struct verb *v = verb_meanwhile(o.kind, o.row.status);
	const char *broken = v && v->broken ? v->broken : o.kind->broken ? o.kind->broken : "ERROR";
	struct err why = { .code = EIO };

	if (!v)
		return err_set(e, EBUSY, "it is %s now", o.row.status);
	snprintf(why.msg, sizeof why.msg, "%s was lost; fsck found it %s with nobody at work", v->name, o.row.status);
	error_text(line, sizeof line, &why, c.request, v->name);
	if (row_set_error(c.db, id, line, v->name, e) < 0 || obj_set_status(&c, &o, strcmp(broken, "-") == 0 ? "ERROR" : broken, e) < 0 ||
	    history_add(c.db, id, "fsck", "ok", c.request, "system", 0, why.msg, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static int mend_going(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct obj o;

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || obj_by_id(&c, id, &o, e) < 0 || obj_enqueue(&c, &o, "delete", "", e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

static int forget(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || row_delete(c.db, id, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

struct rows {
	struct check *k;
	struct call *c;
	const struct kind *kind;
};

static int on_idle(void *arg, const struct row *r)
{
	static const struct mend stuck = { "it counts as failed; the same verb again works", mend_stuck }, going = { "its deletion goes on", mend_going };
	struct rows *x = arg;
	struct row parent = { 0 };

	if (r->deleted) {	/* what goes along with its parent has no task of its own */
		if (row_by_id(x->c->db, r->parent, &parent, &(struct err){ 0 }) > 0 && !parent.deleted)
			check_object(x->k, r->id, &going, NULL, "it is being deleted and no task does it");
	} else if (verb_meanwhile(x->kind, r->status)) {
		check_object(x->k, r->id, &stuck, NULL, "it is %s and no task is at work", r->status);
	}
	return 0;
}

static int on_half(void *arg, const struct row *r)
{
	static const struct mend m = { "removed", forget };
	struct rows *x = arg;

	check_object(x->k, r->id, &m, NULL, "state.db has no row of it in %s", x->kind->table);
	return 0;
}

static int drop_task(struct check *k, int64_t id, const char *name, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };

	if (call_begin(&k->cl->fs, &c, e) < 0 || call_write(&c, e) < 0 || task_delete(c.db, id, e) < 0)
		return -e->code;
	return call_commit(&c, e);
}

/* Those of objects that are gone are dangling references. */
static int check_tasks(struct check *k, struct call *c, struct err *e)
{
	static const struct mend m = { "removed", drop_task };
	struct task_row t = { 0 };
	int64_t after = 0;
	int rc;

	while ((rc = task_next(c->db, after, &t, e)) > 0) {
		char thing[64];
		struct obj o;

		after = t.id;
		snprintf(thing, sizeof thing, "task %ld", (long)t.id);
		if (obj_by_id(c, t.object, &o, &(struct err){ 0 }) == 0 && strcmp(t.verb, "delete") != 0) {
			const struct verb *v = verb_find(o.kind, t.verb);

			if (!v || !v->steps)
				check_fault(k, t.object, thing, &m, t.id, NULL, "%s has no task '%s'", kind_a(o.kind), t.verb);
		}
		task_row_free(&t);
	}
	return rc;
}

static int check_rows(struct check *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct rows x = { k, &c, NULL };
	int rc = call_begin(&k->cl->fs, &c, e);

	if (rc == 0)
		rc = check_tasks(k, &c, e);
	for (const struct kind *const *kind = cloud_kinds; rc == 0 && *kind; kind++) {
		x.kind = *kind;
		if (x.kind->table)
			rc = row_halves(c.db, x.kind->no, x.kind->table, on_half, &x, e);
		if (rc == 0 && !(x.kind->flags & K_SYSTEM))
			rc = row_idle(c.db, x.kind->no, on_idle, &x, e);
	}
	return rc;
}

/* ---- all */

int check_all(struct check *k, struct err *e)
{
	int rc = 0;

	if (!k->running)
		rc = check_file(k, e);
	if (rc == 0 && !k->running)
		rc = check_rows(k, e);
	if (rc == 0 && (!k->running || k->counts))
		rc = check_counts(k, e);
	objects_check_begin(k);
	for (const struct kind *const *kind = cloud_kinds; rc == 0 && *kind; kind++)
		if ((*kind)->check && (rc = (*kind)->check(k, e)) < 0)
			err_prefix(e, "%s", (*kind)->dir);
	objects_check_end(k);
	return rc;
}
