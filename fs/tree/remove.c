/* What uses an object, and how it goes: its name at once, its row when nothing hangs on it any more. */
#include <errno.h>
#include <string.h>

#include "tasks.h"

/* ---- use */

int obj_users(struct call *c, const struct obj *o, bool weak, bool deleted, row_fn *fn, void *arg, struct err *e)
{
	for (const struct kind *const *k = c->fs->kinds; *k; k++)
		for (const struct file *f = (*k)->files; f && f->name; f++) {
			if (f->ref != o->kind || !f->column || (!weak && (f->flags & F_WEAK)))
				continue;
			int rc = column_users(c->db, (*k)->table, f->column, o->row.id, deleted, fn, arg, e);

			if (rc == 0 && f->shown && strcmp(f->shown, f->column) != 0)
				rc = column_users(c->db, (*k)->table, f->shown, o->row.id, deleted, fn, arg, e);
			if (rc < 0)
				return rc;
		}
	for (int i = 0; o->kind->users && o->kind->users[i].table; i++) {
		int rc = column_users(c->db, o->kind->users[i].table, o->kind->users[i].column, o->row.id, deleted, fn, arg, e);

		if (rc < 0)
			return rc;
	}
	return 0;
}

struct users {
	struct call *c;
	const struct obj *of;
	char list[300];
	int n;
};

static int add_user(void *arg, const struct row *r)
{
	struct users *u = arg;
	struct obj o;
	struct err e;
	char path[1600];
	size_t len = strlen(u->list);

	if (r->parent == u->of->row.id || obj_of(u->c, r, &o, &e) < 0 || obj_path(u->c, &o, path, sizeof path, &e) < 0)
		return 0;	/* what is below it goes with it */
	if (u->n++ < 3)
		snprintf(u->list + len, sizeof u->list - len, " %s", path);
	return 0;
}

int obj_unused(struct call *c, const struct obj *o, struct err *e)
{
	struct users u = { .c = c, .of = o };
	int rc = obj_users(c, o, false, false, add_user, &u, e);

	if (rc < 0)
		return rc;
	if (u.n)
		return err_set(e, EBUSY, "%s '%s' is used by%s%s", o->kind->name, o->row.name, u.list, u.n > 3 ? " and others" : "");
	return 0;
}

/* ---- removing */

int obj_unprotected(struct call *c, const struct obj *o, struct err *e)
{
	for (struct obj by = *o; by.row.id != ROOT_ROW; ) {
		if (by.row.protected)
			return err_set(e, EPERM, "%s '%s' is protected; echo false > its file 'protected' first", by.kind->name, by.row.name);
		if (obj_by_id(c, by.row.parent, &by, e) < 0)
			return -e->code;
	}
	return 0;
}

struct children {
	struct call *c;
	struct err *e;
	int (*fn)(struct call *c, struct obj *child, void *arg, struct err *e);
	void *arg;
	int rc;
	struct row *rows;
	size_t n;
};

static int keep_row(void *arg, const struct row *r)
{
	struct children *ch = arg;
	struct row *rows = reallocarray(ch->rows, ch->n + 1, sizeof *rows);

	if (!rows) {
		ch->rc = err_set(ch->e, ENOMEM, "%m");
		return 1;
	}
	ch->rows = rows;
	rows[ch->n++] = *r;
	return 0;
}

/* fn for each child of any kind, the going ones too; collected first, since fn may delete. */
static int each_child(struct call *c, const struct obj *o, int (*fn)(struct call *c, struct obj *child, void *arg, struct err *e),
		      void *arg, struct err *e)
{
	struct children ch = { .c = c, .e = e };
	int rc = 0;

	for (const struct kind *const *k = c->fs->kinds; *k && rc == 0; k++)
		if ((*k)->parent == o->kind)
			rc = row_list(c->db, o->row.id, (*k)->no, 0, true, keep_row, &ch, e);
	rc = rc ? rc : ch.rc;
	for (size_t i = 0; i < ch.n && rc == 0; i++) {
		struct obj child;

		rc = obj_of(c, &ch.rows[i], &child, e);
		if (rc == 0)
			rc = fn(c, &child, arg, e);
	}
	free(ch.rows);
	return rc;
}

static bool goes_along(const struct kind *k)
{
	return k->flags & (K_SYSTEM | K_PLAIN);
}

static int refuse_child(struct call *c, struct obj *child, void *arg, struct err *e)
{
	struct obj *o = arg;

	if (child->row.deleted || goes_along(child->kind))
		return 0;
	return err_set(e, ENOTEMPTY, "%s '%s' is not empty: it has %s/%s%s", o->kind->name, o->row.name, child->kind->dir, child->row.name,
		       o->row.tenant == o->row.id ? "; 'purge plan' in its ctl lists all" : "");
}

static int mark_child(struct call *c, struct obj *child, void *arg, struct err *e)
{
	if (child->row.deleted)
		return 0;
	int rc = row_set_deleted(c->db, child->row.id, e);
	changed_gone(c, child, child->row.name);
	return rc < 0 ? rc : each_child(c, child, mark_child, NULL, e);
}

static int drop_child(struct call *c, struct obj *child, void *arg, struct err *e)
{
	int rc = each_child(c, child, drop_child, NULL, e);

	if (rc == 0 && child->kind->left)
		rc = child->kind->left(c, child, e);
	return rc < 0 ? rc : row_delete(c->db, child->row.id, e);
}

int obj_gone(struct call *c, struct obj *o, struct err *e)
{
	int rc = each_child(c, o, drop_child, NULL, e);

	if (rc == 0 && o->kind->left)
		rc = o->kind->left(c, o, e);
	if (rc == 0)
		rc = row_delete(c->db, o->row.id, e);
	changed(c, o, CH_VALUES | CH_TASK);
	return rc;
}

static int wait_child(struct call *c, struct obj *child, void *arg, struct err *e)
{
	*(bool *)arg |= !goes_along(child->kind);
	return 0;
}

static int is_held(void *arg, const struct row *r)
{
	struct users *u = arg;

	if (r->parent != u->of->row.id)
		u->n++;
	return u->n > 0;
}

int obj_held(struct call *c, const struct obj *o, bool *ret, struct err *e)
{
	struct users u = { .c = c, .of = o };

	*ret = false;
	int rc = each_child(c, o, wait_child, ret, e);
	if (rc == 0 && !*ret)
		rc = obj_users(c, o, false, true, is_held, &u, e);
	*ret |= u.n > 0;
	return rc;
}

int obj_delete(struct call *c, struct obj *o, struct err *e)
{
	bool draft = strcmp(o->row.status, "DRAFT") == 0, held = true;
	int rc;

	if (o->row.id == ROOT_ROW)
		return err_set(e, EPERM, "the cloud itself cannot be deleted");
	if (o->row.deleted)
		return 0;	/* asked twice: it goes on */
	if (o->kind->flags & K_SYSTEM)
		return err_set(e, EPERM, "%s '%s' belongs to the system", o->kind->name, o->row.name);
	if ((rc = obj_unprotected(c, o, e)) < 0 || (rc = each_child(c, o, refuse_child, o, e)) < 0 || (rc = obj_unused(c, o, e)) < 0)
		return rc;
	if (!draft && o->kind->going && (rc = o->kind->going(c, o, e)) < 0)
		return rc;
	rc = each_child(c, o, mark_child, NULL, e);
	if (rc == 0)
		rc = row_set_deleted(c->db, o->row.id, e);
	changed_gone(c, o, o->row.name);
	if (rc == 0)
		rc = event_put(c, o, "delete", "accepted", -1, e);
	o->row.deleted = true;
	if (rc == 0 && (draft || !o->kind->remove))
		rc = obj_held(c, o, &held, e);
	if (rc < 0)
		return rc;
	if (!held && (rc = event_put(c, o, "delete", "ok", 0, e)) == 0)
		return obj_gone(c, o, e);
	task_cancel_on_commit(c, o->row.id);
	return rc < 0 ? rc : obj_enqueue(c, o, "delete", draft ? "draft" : "", e);
}

