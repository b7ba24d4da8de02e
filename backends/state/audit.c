#include "audit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- the file */

AUTO_FN(sqlite3_stmt *, sqlite3_finalize);
AUTO_FN(sqlite3 *, sqlite3_close);

static const char *text(sqlite3_stmt *s, int col)
{
	const char *t = (const char *)sqlite3_column_text(s, col);

	return t ? t : "";
}

static int failed(sqlite3 *h, const char *path, struct err *e)
{
	int rc = sqlite3_errcode(h) & 0xff;

	return err_set(e, rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB ? EBADMSG : EIO, "%s: %s", path, sqlite3_errmsg(h));
}

static int prepare(sqlite3 *h, const char *path, const char *sql, sqlite3_stmt **ret, struct err *e)
{
	return sqlite3_prepare_v2(h, sql, -1, ret, NULL) == SQLITE_OK ? 0 : failed(h, path, e);
}

static int audit_file(sqlite3 *h, const char *path, audit_fn *fn, void *arg, struct err *e)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *s = NULL;
	int rc;

	if (prepare(h, path, "PRAGMA integrity_check", &s, e) < 0)
		return -e->code;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW)
		if (strcmp(text(s, 0), "ok") != 0)
			fn(arg, &(struct audit_line){ .thing = path, .wrong = text(s, 0) });
	return rc == SQLITE_DONE ? 0 : failed(h, path, e);
}

/* Which column of the table the nth foreign key is, and whether the row goes with what it names. */
static int key_column(sqlite3 *h, const char *path, const char *table, int nth, char column[64], bool *owned, struct err *e)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *s = NULL;
	char sql[128];

	*column = '\0';
	*owned = false;
	snprintf(sql, sizeof sql, "PRAGMA foreign_key_list(\"%.64s\")", table);
	if (prepare(h, path, sql, &s, e) < 0)
		return -e->code;
	while (sqlite3_step(s) == SQLITE_ROW)
		if (sqlite3_column_int(s, 0) == nth) {
			snprintf(column, 64, "%s", text(s, 3));
			*owned = strcmp(text(s, 6), "CASCADE") == 0;
		}
	return 0;
}

static int audit_references(sqlite3 *h, const char *path, audit_fn *fn, void *arg, struct err *e)
{
	AUTO(sqlite3_finalize) sqlite3_stmt *s = NULL;
	int rc;

	if (prepare(h, path, "PRAGMA foreign_key_check", &s, e) < 0)
		return -e->code;
	while ((rc = sqlite3_step(s)) == SQLITE_ROW) {
		char thing[128], wrong[160], column[64];
		struct audit_line l = { .thing = thing, .wrong = wrong, .table = text(s, 0), .column = column, .rowid = sqlite3_column_int64(s, 1) };

		if (key_column(h, path, l.table, sqlite3_column_int(s, 3), column, &l.owned, e) < 0)
			return -e->code;
		snprintf(thing, sizeof thing, "state.db %.64s %ld", l.table, (long)l.rowid);
		snprintf(wrong, sizeof wrong, "its %.60s is gone from %.60s", column, text(s, 2));
		fn(arg, &l);
	}
	return rc == SQLITE_DONE ? 0 : failed(h, path, e);
}

int state_audit(const char *path, audit_fn *fn, void *arg, struct err *e)
{
	AUTO(sqlite3_close) sqlite3 *h = NULL;

	if (sqlite3_open_v2(path, &h, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
		return h ? failed(h, path, e) : err_set(e, ENOMEM, "%m");
	sqlite3_busy_timeout(h, 10000);
	int rc = audit_file(h, path, fn, arg, e);
	return rc < 0 ? rc : audit_references(h, path, fn, arg, e);
}

int audit_mend(struct db *db, const struct audit_line *l, struct err *e)
{
	char sql[256];

	snprintf(sql, sizeof sql, l->owned ? "DELETE FROM \"%.64s\" WHERE rowid = $1" : "UPDATE \"%.64s\" SET \"%.64s\" = NULL WHERE rowid = $1",
		 l->table, l->column);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, l->rowid);
	return stmt_run(&s, e);
}

int audit_reindex(struct db *db, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "REINDEX");

	return stmt_run(&s, e);
}

/* ---- what is counted */

static int each_count(struct stmt *s, count_audit_fn *fn, void *arg, struct err *e)
{
	int rc;

	while ((rc = stmt_step(s, e)) > 0)
		if (fn(arg, stmt_col_int(s, 0), stmt_col_text(s, 1), stmt_col_int(s, 2), stmt_col_int(s, 3)))
			return 0;
	return rc;
}

int usage_audit(struct db *db, count_audit_fn *fn, void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"WITH n (tenant, name, n) AS ("
		"SELECT o.tenant, c.name, count(*) FROM object o JOIN counted c ON c.kind = o.kind "
		"WHERE o.status <> 'DRAFT' AND o.tenant IS NOT NULL GROUP BY o.tenant, c.name "
		"UNION ALL SELECT o.tenant, 'cores', sum(s.vcpus) FROM server s JOIN object o ON o.id = s.id GROUP BY o.tenant "
		"UNION ALL SELECT o.tenant, 'ram', sum(s.ram) FROM server s JOIN object o ON o.id = s.id GROUP BY o.tenant), "
		"k (tenant, name) AS (SELECT tenant, name FROM n UNION SELECT tenant, name FROM usage) "
		"SELECT k.tenant, k.name, coalesce(u.used, 0), coalesce(n.n, 0) FROM k "
		"LEFT JOIN usage u ON u.tenant = k.tenant AND u.name = k.name LEFT JOIN n ON n.tenant = k.tenant AND n.name = k.name "
		"WHERE coalesce(u.used, 0) <> coalesce(n.n, 0) AND k.tenant IN (SELECT id FROM object) ORDER BY k.tenant, k.name");

	return each_count(&s, fn, arg, e);
}

int usage_set(struct db *db, int64_t tenant, const char *name, int64_t used, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db,
		"INSERT INTO usage VALUES ($1, $2, $3) ON CONFLICT (tenant, name) DO UPDATE SET used = excluded.used");

	stmt_int(&s, 1, tenant);
	stmt_text(&s, 2, name);
	stmt_int(&s, 3, used);
	return stmt_run(&s, e);
}

int host_audit(struct db *db, count_audit_fn *fn, void *arg, struct err *e)
{
	static const char *const sql[] = {
		"SELECT h.id, 'vcpus_used', h.vcpus_used, coalesce(sum(s.vcpus), 0) FROM host h LEFT JOIN server s ON s.host = h.id "
		"GROUP BY h.id, h.vcpus_used HAVING h.vcpus_used <> coalesce(sum(s.vcpus), 0)",
		"SELECT h.id, 'ram_used', h.ram_used, coalesce(sum(s.ram), 0) FROM host h LEFT JOIN server s ON s.host = h.id "
		"GROUP BY h.id, h.ram_used HAVING h.ram_used <> coalesce(sum(s.ram), 0)",
		"SELECT h.id, 'disk_used', h.disk_used, coalesce(sum(s.disk), 0) FROM host h LEFT JOIN server s ON s.host = h.id "
		"GROUP BY h.id, h.disk_used HAVING h.disk_used <> coalesce(sum(s.disk), 0)",
	};
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(sql) && rc == 0; i++) {
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql[i]);

		rc = each_count(&s, fn, arg, e);
	}
	return rc;
}

int host_use_set(struct db *db, int64_t host, const char *column, int64_t used, struct err *e)
{
	struct val v = { .kind = VAL_INT, .i = used };

	return column_set(db, "host", column, host, &v, e);
}

/* ---- what a row promises */

int server_audit(struct db *db, int64_t host, int (*fn)(void *arg, const struct server_audit *s), void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, host ?
		"SELECT o.id, s.host, s.image, o.status, s.power, h.uri, o.deleted, EXISTS (SELECT 1 FROM task WHERE object = o.id), "
		"s.launched IS NOT NULL, h.simulated FROM server s JOIN object o ON o.id = s.id JOIN host h ON h.id = s.host "
		"WHERE o.status <> 'DRAFT' AND s.host = $1 ORDER BY o.id" :
		"SELECT o.id, s.host, s.image, o.status, s.power, h.uri, o.deleted, EXISTS (SELECT 1 FROM task WHERE object = o.id), "
		"s.launched IS NOT NULL, h.simulated FROM host h JOIN server s ON s.host = h.id JOIN object o ON o.id = s.id "
		"WHERE o.status <> 'DRAFT' AND h.simulated = 0 ORDER BY o.id");
	int rc;

	if (host)
		stmt_int(&s, 1, host);
	while ((rc = stmt_step(&s, e)) > 0) {
		struct server_audit a = { .id = stmt_col_int(&s, 0), .host = stmt_col_int(&s, 1), .image = stmt_col_int(&s, 2),
			.deleted = stmt_col_int(&s, 6), .busy = stmt_col_int(&s, 7), .launched = stmt_col_int(&s, 8), .simulated = stmt_col_int(&s, 9) };

		snprintf(a.status, sizeof a.status, "%s", stmt_col_text(&s, 3));
		snprintf(a.power, sizeof a.power, "%s", stmt_col_text(&s, 4));
		snprintf(a.uri, sizeof a.uri, "%s", stmt_col_text(&s, 5));
		if (fn(arg, &a))
			return 0;
	}
	return rc;
}
