#include "object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define ROW "o.id, o.kind, o.parent, o.tenant, o.name, o.uuid, o.status, o.deleted, o.protected, o.created, o.changed, o.failed, o.progress"
#define ROW_COLS 13

static void take_text(struct stmt *s, int col, char *to, size_t size)
{
	const char *text = stmt_col_text(s, col);
	size_t len = strnlen(text, size - 1);

	memcpy(to, text, len);
	to[len] = '\0';
}

/* Field by field: it is read by the ten thousand, and most of it is room for long names. */
static void row_read(struct stmt *s, struct row *r)
{
	r->id = stmt_col_int(s, 0);
	r->kind = (int)stmt_col_int(s, 1);
	r->parent = stmt_col_int(s, 2);
	r->tenant = stmt_col_int(s, 3);
	take_text(s, 4, r->name, sizeof r->name);
	take_text(s, 5, r->uuid, sizeof r->uuid);
	take_text(s, 6, r->status, sizeof r->status);
	r->deleted = stmt_col_int(s, 7);
	r->protected = stmt_col_int(s, 8);
	r->created = stmt_col_int(s, 9);
	r->changed = stmt_col_int(s, 10);
	take_text(s, 11, r->failed, sizeof r->failed);
	r->progress = (int)stmt_col_int(s, 12);
}

static int row_one(struct stmt *s, struct row *ret, struct err *e)
{
	int rc = stmt_step(s, e);

	if (rc > 0)
		row_read(s, ret);
	return rc;
}

static int row_each(struct stmt *s, row_fn *fn, void *arg, struct err *e)
{
	struct row r;
	int rc;

	while ((rc = stmt_step(s, e)) > 0) {
		row_read(s, &r);
		if (fn(arg, &r))
			return 0;
	}
	return rc;
}

void val_free(struct val *v)
{
	free(v->s);
	*v = (struct val){ 0 };
}

bool val_equal(const struct val *a, const struct val *b)
{
	return a->kind == b->kind && (a->kind == VAL_NULL || (a->kind == VAL_INT ? a->i == b->i : strcmp(a->s, b->s) == 0));
}

static void uuid4(char out[37])
{
	unsigned char b[16];

	while (getrandom(b, sizeof b, 0) != sizeof b)
		;
	b[6] = (b[6] & 0x0f) | 0x40;
	b[8] = (b[8] & 0x3f) | 0x80;
	char *p = out;
	for (int i = 0; i < 16; i++)
		p += snprintf(p, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", b[i]);
}

int row_insert(struct db *db, struct row *r, const char *table, struct err *e)
{
	struct row there;
	int rc = row_by_name(db, r->parent, r->kind, r->name, &there, e);

	if (rc)
		return rc < 0 ? rc : err_set(e, EEXIST, "there is already one named '%s'", r->name);
	uuid4(r->uuid);
	r->created = r->changed = now_us();
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO object (kind, parent, tenant, name, uuid, status, created, changed, progress) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
	stmt_int(&s, 1, r->kind);
	stmt_int(&s, 2, r->parent);
	if (r->tenant)
		stmt_int(&s, 3, r->tenant);
	stmt_text(&s, 4, r->name);
	stmt_text(&s, 5, r->uuid);
	stmt_text(&s, 6, r->status);
	stmt_int(&s, 7, r->created);
	stmt_int(&s, 8, r->changed);
	stmt_int(&s, 9, r->progress);
	rc = stmt_run(&s, e);
	if (rc < 0)
		return rc;
	r->id = db_last_id(db);
	if (!table)
		return 0;
	char sql[128];
	snprintf(sql, sizeof sql, "INSERT INTO %s (id) VALUES ($1)", table);
	AUTO(stmt_done) struct stmt k = stmt_prepare(db, sql);
	stmt_int(&k, 1, r->id);
	return stmt_run(&k, e);
}

int row_by_id(struct db *db, int64_t id, struct row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ROW " FROM object o WHERE o.id = $1");

	stmt_int(&s, 1, id);
	return row_one(&s, ret, e);
}

int row_by_name(struct db *db, int64_t parent, int kind, const char *name, struct row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT " ROW " FROM object o WHERE o.parent = $1 AND o.kind = $2 AND o.name = $3 AND o.deleted = 0");

	stmt_int(&s, 1, parent);
	stmt_int(&s, 2, kind);
	stmt_text(&s, 3, name);
	return row_one(&s, ret, e);
}

int row_by_uuid(struct db *db, const char *uuid, struct row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " ROW " FROM object o WHERE o.uuid = $1");

	stmt_text(&s, 1, uuid);
	return row_one(&s, ret, e);
}

int row_list(struct db *db, int64_t parent, int kind, int64_t after, bool deleted, row_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, parent ?
		"SELECT " ROW " FROM object o WHERE o.parent = $4 AND o.kind = $1 AND o.id > $2 AND o.deleted <= $3 ORDER BY o.id" :
		"SELECT " ROW " FROM object o WHERE o.kind = $1 AND o.id > $2 AND o.deleted <= $3 ORDER BY o.id");

	stmt_int(&s, 1, kind);
	stmt_int(&s, 2, after);
	stmt_int(&s, 3, deleted);
	if (parent)
		stmt_int(&s, 4, parent);
	return row_each(&s, fn, arg, e);
}

int row_child(struct db *db, int64_t parent, bool with_deleted, struct row *one, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT " ROW " FROM object o WHERE o.parent = $1 AND o.deleted <= $2 LIMIT 1");

	stmt_int(&s, 1, parent);
	stmt_int(&s, 2, with_deleted);
	return row_one(&s, one, e);
}

int row_set_tenant(struct db *db, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET tenant = $1 WHERE id = $1");

	stmt_int(&s, 1, id);
	return stmt_run(&s, e);
}

int row_born(struct db *db, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET created = $2, changed = $2 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, now_us());
	return stmt_run(&s, e);
}

int row_rename(struct db *db, int64_t id, const char *name, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET name = $2, changed = $3 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, name);
	stmt_int(&s, 3, now_us());
	return stmt_run(&s, e);
}

int row_set_status(struct db *db, int64_t id, const char *status, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET status = $2, changed = $3 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, status);
	stmt_int(&s, 3, now_us());
	return stmt_run(&s, e);
}

int row_set_error(struct db *db, int64_t id, const char *error, const char *failed_verb, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"UPDATE object SET error = $2, failed = $3, changed = $4 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, error);
	stmt_text(&s, 3, failed_verb);
	stmt_int(&s, 4, now_us());
	return stmt_run(&s, e);
}

int row_error(struct db *db, int64_t id, char **ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT error FROM object WHERE id = $1");

	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc < 0)
		return rc;
	*ret = strdup(rc ? stmt_col_text(&s, 0) : "");
	return *ret ? 0 : err_set(e, ENOMEM, "%m");
}

int row_set_deleted(struct db *db, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET deleted = 1, changed = $2 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, now_us());
	return stmt_run(&s, e);
}

int row_set_progress(struct db *db, int64_t id, int percent, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE object SET progress = $2 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, percent < 0 ? 0 : percent > 100 ? 100 : percent);
	return stmt_run(&s, e);
}

int row_touch(struct db *db, int64_t id, const char *file, struct err *e)
{
	int64_t now = now_us();
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO touched (object, file, at) VALUES ($1, $2, $3) "
		"ON CONFLICT (object, file) DO UPDATE SET at = excluded.at");
	AUTO(stmt_done) struct stmt o = stmt_prepare(db, "UPDATE object SET changed = $2 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, file);
	stmt_int(&s, 3, now);
	stmt_int(&o, 1, id);
	stmt_int(&o, 2, now);
	int rc = stmt_run(&s, e);
	return rc < 0 ? rc : stmt_run(&o, e);
}

static int one_int(struct stmt *s, int64_t none, int64_t *ret, struct err *e)
{
	int rc = stmt_step(s, e);

	if (rc < 0)
		return rc;
	*ret = rc && !stmt_col_null(s, 0) ? stmt_col_int(s, 0) : none;
	return 0;
}

int row_touched(struct db *db, int64_t id, const char *file, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT at FROM touched WHERE object = $1 AND file = $2");

	stmt_int(&s, 1, id);
	stmt_text(&s, 2, file);
	return one_int(&s, 0, ret, e);
}

int row_collection_changed(struct db *db, int64_t parent, int kind, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT changed FROM collection WHERE parent = $1 AND kind = $2");

	stmt_int(&s, 1, parent);
	stmt_int(&s, 2, kind);
	return one_int(&s, 0, ret, e);
}

int row_delete(struct db *db, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "DELETE FROM object WHERE id = $1");

	stmt_int(&s, 1, id);
	return stmt_run(&s, e);
}

/* ---- columns */

static int val_read(struct stmt *s, int col, struct val *ret, struct err *e)
{
	*ret = (struct val){ 0 };
	switch (sqlite3_column_type(s->st, col)) {
	case SQLITE_NULL:
		return 0;
	case SQLITE_INTEGER:
		*ret = (struct val){ .kind = VAL_INT, .i = stmt_col_int(s, col) };
		return 0;
	default:
		*ret = (struct val){ .kind = VAL_TEXT, .s = strdup(stmt_col_text(s, col)) };
		return ret->s ? 0 : err_set(e, ENOMEM, "%m");
	}
}

int column_get(struct db *db, const char *view, const char *column, int64_t id, struct val *ret, struct err *e)
{
	char sql[128];

	snprintf(sql, sizeof sql, "SELECT %s FROM %s WHERE id = $1", column, view);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, id);
	int rc = stmt_step(&s, e);
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "it is gone");
	return val_read(&s, 0, ret, e);
}

int columns_set(struct db *db, const char *table, const char *const *columns, const struct val *v, size_t n, int64_t id, struct err *e)
{
	char sql[512];
	size_t len = (size_t)snprintf(sql, sizeof sql, "UPDATE %s SET", table);

	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(sql + len, sizeof sql - len, "%s %s = $%zu", i ? "," : "", columns[i], i + 2);
	snprintf(sql + len, sizeof sql - len, " WHERE id = $1");
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, id);
	for (size_t i = 0; i < n; i++)
		if (v[i].kind == VAL_INT)
			stmt_int(&s, (int)i + 2, v[i].i);
		else
			stmt_text(&s, (int)i + 2, v[i].kind == VAL_TEXT ? v[i].s : NULL);
	return stmt_run(&s, e);
}

int column_set(struct db *db, const char *table, const char *column, int64_t id, const struct val *v, struct err *e)
{
	return columns_set(db, table, &column, v, 1, id, e);
}

int column_users(struct db *db, const char *table, const char *column, int64_t target, bool deleted, row_fn *fn, void *arg,
		 struct err *e)
{
	char sql[512];

	/* nic rows stand for their server, port rows that a server owns too */
	snprintf(sql, sizeof sql, "SELECT DISTINCT " ROW " FROM %s t JOIN object o ON o.id = t.%s WHERE t.%s = $1 AND o.deleted <= $2 "
		 "ORDER BY o.id", table, strcmp(table, "nic") == 0 ? "server" : "id", column);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, target);
	stmt_int(&s, 2, deleted);
	return row_each(&s, fn, arg, e);
}

int row_open(struct db *db, int kind, const char *view, const char *name, row_fn *fn, void *arg, struct err *e)
{
	char sql[512];

	snprintf(sql, sizeof sql, "SELECT " ROW " FROM %s v JOIN object o ON o.id = v.id WHERE v.open = 1 AND o.kind = $1 AND o.deleted = 0 "
		 "AND o.status <> 'DRAFT' %s ORDER BY o.id", view, name ? "AND o.name = $2" : "");
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, kind);
	if (name)
		stmt_text(&s, 2, name);
	return row_each(&s, fn, arg, e);
}

int row_idle(struct db *db, int kind, row_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT " ROW " FROM object o WHERE o.kind = $1 AND NOT EXISTS (SELECT 1 FROM task t WHERE t.object = o.id) ORDER BY o.id");

	stmt_int(&s, 1, kind);
	return row_each(&s, fn, arg, e);
}

int row_halves(struct db *db, int kind, const char *table, row_fn *fn, void *arg, struct err *e)
{
	char sql[384];

	snprintf(sql, sizeof sql, "SELECT " ROW " FROM object o WHERE o.kind = $1 AND NOT EXISTS (SELECT 1 FROM %s k WHERE k.id = o.id) "
		 "ORDER BY o.id", table);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, kind);
	return row_each(&s, fn, arg, e);
}

int row_table(struct db *db, int64_t parent, int kind, const char *view, const char *const *columns, size_t n,
	      list_fn *fn, void *arg, struct err *e)
{
	struct val vals[16] = { 0 };
	struct row r;
	AUTO(free) char *sql = NULL;
	size_t len;
	FILE *f = open_memstream(&sql, &len);

	if (!f || n > ARRAY_LEN(vals))
		return err_set(e, ENOMEM, "list: %m");
	fputs("SELECT " ROW, f);
	for (size_t i = 0; i < n; i++)
		fprintf(f, ", v.%s", columns[i]);
	fprintf(f, " FROM object o%s%s%s WHERE o.kind = $1 %s AND o.deleted = 0 ORDER BY o.id", view ? " JOIN " : "", view ? view : "",
		view ? " v ON v.id = o.id" : "", parent ? "AND o.parent = $2" : "");
	fclose(f);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, kind);
	if (parent)
		stmt_int(&s, 2, parent);
	int rc;
	while ((rc = stmt_step(&s, e)) > 0) {
		row_read(&s, &r);
		for (size_t i = 0; i < n && rc >= 0; i++)
			rc = val_read(&s, ROW_COLS + (int)i, &vals[i], e);
		int stop = rc < 0 || fn(arg, &r, vals);
		for (size_t i = 0; i < n; i++)
			val_free(&vals[i]);
		if (stop)
			return rc < 0 ? rc : 0;
	}
	return rc;
}

/* ---- tasks */

#define TASK "id, object, created, step, verb, request, who, was, args"

void task_row_free(struct task_row *t)
{
	free(t->args);
	t->args = NULL;
}

static int task_read(struct stmt *s, struct task_row *t, struct err *e)
{
	int rc = stmt_step(s, e);

	if (rc <= 0)
		return rc;
	*t = (struct task_row){ .id = stmt_col_int(s, 0), .object = stmt_col_int(s, 1), .created = stmt_col_int(s, 2),
		.step = (int)stmt_col_int(s, 3), .args = strdup(stmt_col_text(s, 8)) };
	snprintf(t->verb, sizeof t->verb, "%s", stmt_col_text(s, 4));
	snprintf(t->request, sizeof t->request, "%s", stmt_col_text(s, 5));
	snprintf(t->who, sizeof t->who, "%s", stmt_col_text(s, 6));
	snprintf(t->was, sizeof t->was, "%s", stmt_col_text(s, 7));
	return t->args ? 1 : err_set(e, ENOMEM, "%m");
}

int task_insert(struct db *db, struct task_row *t, struct err *e)
{
	AUTO(stmt_done) struct stmt d = stmt_prepare(db, "DELETE FROM task WHERE object = $1");
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO task (object, verb, args, created, request, who, was, parent, kind, tenant) "
		"SELECT id, $2, $3, $4, $5, $6, $7, parent, kind, tenant FROM object WHERE id = $1");

	stmt_int(&d, 1, t->object);
	int rc = stmt_run(&d, e);
	if (rc < 0)
		return rc;
	stmt_int(&s, 1, t->object);
	stmt_text(&s, 2, t->verb);
	stmt_text(&s, 3, t->args ? t->args : "");
	stmt_int(&s, 4, t->created);
	stmt_text(&s, 5, t->request);
	stmt_text(&s, 6, t->who);
	stmt_text(&s, 7, t->was);
	rc = stmt_run(&s, e);
	t->id = db_last_id(db);
	return rc;
}

int task_next(struct db *db, int64_t after, struct task_row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " TASK " FROM task WHERE id > $1 ORDER BY id LIMIT 1");

	stmt_int(&s, 1, after);
	return task_read(&s, ret, e);
}

int task_of(struct db *db, int64_t object, struct task_row *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT " TASK " FROM task WHERE object = $1");

	stmt_int(&s, 1, object);
	return task_read(&s, ret, e);
}

int task_list(struct db *db, int64_t tenant, task_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, tenant ? "SELECT " TASK " FROM task WHERE tenant = $1 ORDER BY id" :
						     "SELECT " TASK " FROM task ORDER BY id");
	struct task_row t = { 0 };
	int rc;

	if (tenant)
		stmt_int(&s, 1, tenant);
	while ((rc = task_read(&s, &t, e)) > 0) {
		bool stop = fn(arg, &t);

		task_row_free(&t);
		if (stop)
			return 0;
	}
	return rc;
}

int task_set_step(struct db *db, int64_t id, int step, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "UPDATE task SET step = $2 WHERE id = $1");

	stmt_int(&s, 1, id);
	stmt_int(&s, 2, step);
	return stmt_run(&s, e);
}

int task_delete(struct db *db, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "DELETE FROM task WHERE id = $1");

	stmt_int(&s, 1, id);
	return stmt_run(&s, e);
}

static int task_ask(struct db *db, const char *sql, int64_t a, int64_t b, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);

	if (a)
		stmt_int(&s, 1, a);
	if (b)
		stmt_int(&s, 2, b);
	return one_int(&s, 0, ret, e);
}

int task_count(struct db *db, int64_t parent, int kind, int64_t tenant, int64_t object, int64_t *running, struct err *e)
{
	return object ? task_ask(db, "SELECT count(*) FROM task WHERE object = $1", object, 0, running, e) :
		tenant ? task_ask(db, "SELECT count(*) FROM task WHERE tenant = $1", tenant, 0, running, e) :
		parent == 1 && !kind ? task_ask(db, "SELECT count(*) FROM task", 0, 0, running, e) :
		task_ask(db, "SELECT count(*) FROM task WHERE parent = $1 AND kind = $2", parent, kind, running, e);
}

int task_any(struct db *db, int64_t parent, int kind, int64_t tenant, int64_t object, int64_t *ret, struct err *e)
{
	return object ? task_ask(db, "SELECT count(*) FROM task WHERE object = $1", object, 0, ret, e) :
		tenant ? task_ask(db, "SELECT EXISTS (SELECT 1 FROM task WHERE tenant = $1)", tenant, 0, ret, e) :
		parent == 1 && !kind ? task_ask(db, "SELECT EXISTS (SELECT 1 FROM task)", 0, 0, ret, e) :
		task_ask(db, "SELECT EXISTS (SELECT 1 FROM task WHERE parent = $1 AND kind = $2)", parent, kind, ret, e);
}

int failed_list(struct db *db, int64_t parent, int kind, int64_t tenant, row_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, tenant ?
		"SELECT " ROW " FROM object o WHERE o.tenant = $1 AND o.failed <> ''" :
		"SELECT " ROW " FROM object o WHERE o.parent = $1 AND o.kind = $2 AND o.failed <> ''");

	stmt_int(&s, 1, tenant ? tenant : parent);
	if (!tenant)
		stmt_int(&s, 2, kind);
	return row_each(&s, fn, arg, e);
}

/* ---- history and events */

#define HISTORY_MAX 1000	/* lines kept of an object */
#define STEPS_MAX 100		/* ... of which the latest keep their steps */

/* The line that has just left the latest `keep` of its object. */
#define BEFORE "(SELECT id FROM history WHERE object = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)"

static int history_trim(struct db *db, const char *sql, int64_t object, int keep, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);

	stmt_int(&s, 1, object);
	stmt_int(&s, 2, keep);
	return stmt_run(&s, e);
}

int history_add_task(struct db *db, int64_t object, const char *verb, const char *result, const char *request, const char *who,
		     int64_t duration_us, const char *detail, const char *steps, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO history (object, at, verb, result, request, who, duration, detail, steps) "
		"VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");

	stmt_int(&s, 1, object);
	stmt_int(&s, 2, now_us());
	stmt_text(&s, 3, verb);
	stmt_text(&s, 4, result);
	stmt_text(&s, 5, request);
	stmt_text(&s, 6, who);
	stmt_int(&s, 7, duration_us);
	stmt_text(&s, 8, detail);
	stmt_text(&s, 9, steps);
	int rc = stmt_run(&s, e);
	if (rc == 0)
		rc = history_trim(db, "UPDATE history SET steps = '' WHERE steps <> '' AND id = " BEFORE, object, STEPS_MAX, e);
	return rc < 0 ? rc : history_trim(db, "DELETE FROM history WHERE id = " BEFORE, object, HISTORY_MAX, e);
}

int history_add(struct db *db, int64_t object, const char *verb, const char *result, const char *request, const char *who,
		int64_t duration_us, const char *detail, struct err *e)
{
	return history_add_task(db, object, verb, result, request, who, duration_us, detail, "", e);
}

int history_list(struct db *db, int64_t object, history_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT at, verb, result, request, who, duration, detail, steps FROM history WHERE object = $1 ORDER BY id");
	int rc;

	stmt_int(&s, 1, object);
	while ((rc = stmt_step(&s, e)) > 0)
		if (fn(arg, stmt_col_int(&s, 0), stmt_col_text(&s, 1), stmt_col_text(&s, 2), stmt_col_text(&s, 3),
		       stmt_col_text(&s, 4), stmt_col_int(&s, 5), stmt_col_text(&s, 6), stmt_col_text(&s, 7)))
			return 0;
	return rc;
}

#define EVENTS_MAX (16 << 20)	/* bytes of `events` before it becomes events.1 */

struct ends {
	int64_t gen, all_end, tenant_end;
};

static int event_ends(struct db *db, int64_t tenant, struct ends *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt a = stmt_prepare(db, "SELECT gen, all_end FROM event ORDER BY id DESC LIMIT 1");
	AUTO(stmt_done) struct stmt t = stmt_prepare(db, "SELECT max(tenant_end) FROM event WHERE tenant = $1 AND gen = $2");

	*ret = (struct ends){ 0 };
	int rc = stmt_step(&a, e);
	if (rc <= 0)
		return rc;
	ret->gen = stmt_col_int(&a, 0);
	ret->all_end = stmt_col_int(&a, 1);
	stmt_int(&t, 1, tenant);
	stmt_int(&t, 2, ret->gen);
	return one_int(&t, 0, &ret->tenant_end, e);
}

int event_add(struct db *db, int64_t tenant, const char *line, struct err *e)
{
	int64_t len = (int64_t)strlen(line);
	struct ends end;
	int rc = event_ends(db, tenant, &end, e);

	if (rc < 0)
		return rc;
	if (end.all_end + len > EVENTS_MAX) {
		AUTO(stmt_done) struct stmt d = stmt_prepare(db, "DELETE FROM event WHERE gen < $1");

		stmt_int(&d, 1, end.gen);
		rc = stmt_run(&d, e);
		if (rc < 0)
			return rc;
		end = (struct ends){ .gen = end.gen + 1 };
	}
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO event (gen, tenant, line, all_end, tenant_end) VALUES ($1, $2, $3, $4, $5)");
	stmt_int(&s, 1, end.gen);
	stmt_int(&s, 2, tenant);
	stmt_text(&s, 3, line);
	stmt_int(&s, 4, end.all_end + len);
	stmt_int(&s, 5, end.tenant_end + len);
	return stmt_run(&s, e);
}

int event_size(struct db *db, int64_t tenant, int gen, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, tenant ?
		"SELECT max(tenant_end) FROM event WHERE gen = (SELECT max(gen) FROM event) - $1 AND tenant = $2" :
		"SELECT max(all_end) FROM event WHERE gen = (SELECT max(gen) FROM event) - $1");

	stmt_int(&s, 1, gen);
	if (tenant)
		stmt_int(&s, 2, tenant);
	return one_int(&s, 0, ret, e);
}

int64_t event_read(struct db *db, int64_t tenant, int gen, int64_t offset, char *buf, size_t size, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, tenant ?
		"SELECT line, tenant_end FROM event WHERE gen = (SELECT max(gen) FROM event) - $1 AND tenant = $3 AND tenant_end > $2 "
		"ORDER BY tenant_end" :
		"SELECT line, all_end FROM event WHERE gen = (SELECT max(gen) FROM event) - $1 AND all_end > $2 ORDER BY all_end");
	size_t got = 0;
	int rc = 0;

	stmt_int(&s, 1, gen);
	stmt_int(&s, 2, offset);
	if (tenant)
		stmt_int(&s, 3, tenant);
	while (got < size && (rc = stmt_step(&s, e)) > 0) {
		const char *line = stmt_col_text(&s, 0);
		int64_t len = (int64_t)strlen(line), skip = offset + (int64_t)got - (stmt_col_int(&s, 1) - len);
		size_t n = (size_t)(len - skip);

		if (n > size - got)
			n = size - got;
		memcpy(buf + got, line + skip, n);
		got += n;
	}
	return rc < 0 ? rc : (int64_t)got;
}

/* ---- quota */

int quota_get(struct db *db, int64_t tenant, const char *name, int64_t dflt, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT value FROM quota WHERE tenant = $1 AND name = $2");

	stmt_int(&s, 1, tenant);
	stmt_text(&s, 2, name);
	return one_int(&s, dflt, ret, e);
}

int quota_set(struct db *db, int64_t tenant, const char *name, int64_t value, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "INSERT INTO quota VALUES ($1, $2, $3) "
		"ON CONFLICT (tenant, name) DO UPDATE SET value = excluded.value");

	stmt_int(&s, 1, tenant);
	stmt_text(&s, 2, name);
	stmt_int(&s, 3, value);
	return stmt_run(&s, e);
}

int usage_get(struct db *db, int64_t tenant, const char *name, int64_t *ret, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT used FROM usage WHERE tenant = $1 AND name = $2");

	stmt_int(&s, 1, tenant);
	stmt_text(&s, 2, name);
	return one_int(&s, 0, ret, e);
}

int row_counts(struct db *db, count_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"SELECT kind, status, count(*) FROM object WHERE deleted = 0 AND parent IS NOT NULL GROUP BY kind, status ORDER BY kind, status");
	int rc;

	while ((rc = stmt_step(&s, e)) > 0)
		if (fn(arg, (int)stmt_col_int(&s, 0), stmt_col_text(&s, 1), stmt_col_int(&s, 2)))
			return 0;
	return rc;
}
