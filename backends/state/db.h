/* The store's database: connections, statements, transactions.  SQLite in WAL mode, synchronous=FULL: what a committed
 * transaction wrote is on disk.  Readers have connections of their own and never wait for the writer.  SQL stays below
 * backends/state/ and within what SQLite and PostgreSQL share. */
#pragma once

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/auto.h"
#include "../base/err.h"

struct state;
struct db;	/* one connection and its prepared statements; one thread at a time */

/* Opens STORE/state.db and brings its schema up to date (create: makes it when it is not there, else ENOENT).
 * A schema newer than this program: EINVAL, nothing touched. */
int state_open(const char *path, bool create, struct state **ret, struct err *e);
struct state_stats {
	uint64_t transactions, commits;	/* a commit is shared by those that came at the same time */
	int64_t wal_bytes;
};
void state_stats(struct state *st, struct state_stats *ret);
void state_close(struct state *st);
AUTO_FN(struct state *, state_close);

/* A connection for reading, from a pool.  Hand it back with db_done. */
int db_reader(struct state *st, struct db **ret, struct err *e);
void db_done(struct db *db);
AUTO_FN(struct db *, db_done);
/* Everything read between these two is one snapshot. */
int db_snapshot(struct db *db, struct err *e);
void db_snapshot_end(struct db *db);

struct stmt {
	sqlite3_stmt *st;
	struct db *db;
	struct slot *slot;	/* of the connection's table; NULL: prepared for this once */
	int rc;		/* the first failure of prepare or bind; stmt_step reports it */
};
/* Prepared once a connection; parameters are $1, $2 ... */
struct stmt stmt_prepare(struct db *db, const char *sql);
void stmt_int(struct stmt *s, int n, int64_t v);
void stmt_text(struct stmt *s, int n, const char *v);	/* NULL: null; copied */
void stmt_blob(struct stmt *s, int n, const void *v, size_t len);	/* copied */
void stmt_blob_borrow(struct stmt *s, int n, const void *v, size_t len);	/* not copied: good until stmt_done */
void stmt_null(struct stmt *s, int n);
int stmt_step(struct stmt *s, struct err *e);		/* 1 a row, 0 no more, -errno */
/* For statements without a row to read: steps to the end. */
int stmt_run(struct stmt *s, struct err *e);
/* All of it at once: a statement whose parameters are n integers. */
int db_run(struct db *db, struct err *e, const char *sql, int n, const int64_t *v);
int64_t stmt_col_int(struct stmt *s, int col);
const char *stmt_col_text(struct stmt *s, int col);	/* never NULL; valid until the next step */
const void *stmt_col_blob(struct stmt *s, int col, size_t *len);	/* valid until the next step */
bool stmt_col_null(struct stmt *s, int col);
void stmt_done(struct stmt *s);
static inline void auto_stmt_done(struct stmt *s)
{
	stmt_done(s);
}
int64_t db_last_id(struct db *db);
int db_changes(struct db *db);	/* rows the last statement changed */

/* One writer at a time; transactions that wait for each other share one commit (group commit): each runs under a savepoint
 * of its own and tx_commit returns when the batch is on disk.  A tx is used by the thread that began it. */
struct tx {
	struct state *st;
	struct db *db;
	bool open;
};
int tx_begin(struct state *st, struct tx *tx, struct err *e);
int tx_commit(struct tx *tx, struct err *e);
void tx_rollback(struct tx *tx);
static inline void auto_tx_rollback(struct tx *tx)
{
	tx_rollback(tx);
}
/* A part of a transaction that can be undone alone: mark, then keep or undo. */
int tx_mark(struct tx *tx, struct err *e);
int tx_keep(struct tx *tx, struct err *e);
void tx_undo(struct tx *tx);
/* Between parts: what was done so far is committed whatever becomes of the rest (but for a failure of the commit itself).  Keeps long
 * transactions cheap: SQLite looks through what could be undone at the end of every statement. */
int tx_settle(struct tx *tx, struct err *e);

/* ---- a database of its own, beside the state: one connection, for one thread at a time; transactions are its user's business (db_script).
 * WAL with synchronous=NORMAL: a commit is whole or not there after a crash, in order, and durable once WAL was synced (PATH-wal).
 * Migrations as in schema.c. */
int db_open_alone(const char *path, const char *const *migrations, size_t n, struct db **ret, struct err *e);
void db_close_alone(struct db *db);
AUTO_FN(struct db *, db_close_alone);
/* Several statements without parameters. */
int db_script(struct db *db, const char *sql, struct err *e);
/* No transaction is open: SQLite ends one by itself when the disk is full or fails. */
bool db_idle(struct db *db);

/* Microseconds since 1970, UTC: the unit of every time in the state. */
int64_t now_us(void);
/* Schema versions: docs/state.md.  Applied by state_open. */
extern const char *const state_migrations[];
extern const size_t n_state_migrations;
int schema_migrate(struct db *db, const char *const *migrations, size_t n, struct err *e);
/* For schema.c only: scripts of several statements. */
sqlite3 *db_handle(struct db *db);
