#include "db.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../base/log.h"

#define STATEMENTS 512	/* slots of a connection's statement table, a power of two */
#define BATCH_MAX 256	/* transactions that share one commit at most */

struct db {
	sqlite3 *h;
	struct state *st;
	struct db *next;	/* in the pool */
	struct slot {
		char *sql;
		sqlite3_stmt *st;
		bool busy;
	} slots[STATEMENTS];
	unsigned n_slots;
};

struct member {			/* a finished transaction that waits for its batch's commit: on its thread's stack */
	struct member *next;
	bool done;
	struct err err;
};

struct state {
	char *path;
	pthread_mutex_t pool_lock;
	struct db *pool;
	struct db *writer;
	pthread_mutex_t write_lock;	/* held while a tx runs */
	pthread_cond_t committed;
	int waiting;			/* transactions that wait for write_lock; atomic */
	_Atomic uint64_t transactions, commits;
	struct member *first;		/* members of the batch now open */
	unsigned members;
};

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int sql_errno(int rc)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:	return ENOSPC;
	case SQLITE_READONLY:	return EROFS;
	case SQLITE_NOMEM:	return ENOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:	return EAGAIN;
	case SQLITE_CONSTRAINT:	return EINVAL;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:	return EBADMSG;
	case SQLITE_TOOBIG:	return EFBIG;
	default:		return EIO;
	}
}

/* The system's own number for a failed read or write: sqlite3_system_errno is whatever errno was in the end. */
static int file_errno(struct db *db)
{
	static const int ops[] = { SQLITE_FCNTL_JOURNAL_POINTER, SQLITE_FCNTL_FILE_POINTER };	/* the journal is the WAL */

	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		sqlite3_file *f = NULL;
		int n = 0;

		if (sqlite3_file_control(db->h, "main", ops[i], &f) == SQLITE_OK && f && f->pMethods &&
		    f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &n) == SQLITE_OK && n)
			return n;
	}
	return sqlite3_system_errno(db->h);
}

static int sql_err(struct db *db, int rc, struct err *e)
{
	int why = (rc & 0xff) == SQLITE_IOERR ? file_errno(db) : 0;

	if (why == ENOSPC || why == EDQUOT || (rc & 0xff) == SQLITE_FULL)
		return err_set(e, ENOSPC, "the disk that holds the store is full");
	if (why == EROFS || (rc & 0xff) == SQLITE_READONLY)
		return err_set(e, EROFS, "the disk that holds the store is read-only");
	if ((rc & 0xff) == SQLITE_IOERR)
		return err_set(e, EIO, "the disk that holds the store fails%s%s; the log of the kernel says why", why ? ": " : "",
			       why ? strerror(why) : "");
	return err_set(e, sql_errno(rc), "state: %s", sqlite3_errmsg(db->h));
}

static int db_exec(struct db *db, const char *sql, struct err *e)
{
	int rc = sqlite3_exec(db->h, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : sql_err(db, rc, e);
}

/* ---- connections */

static void db_close(struct db *db)
{
	for (unsigned i = 0; i < STATEMENTS; i++) {
		sqlite3_finalize(db->slots[i].st);
		free(db->slots[i].sql);
	}
	sqlite3_close(db->h);
	free(db);
}
AUTO_FN(struct db *, db_close);

static int db_connect(const char *path, bool create, const char *pragmas, struct db **ret, struct err *e)
{
	AUTO(db_close) struct db *db = calloc(1, sizeof *db);
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (create ? SQLITE_OPEN_CREATE : 0);

	if (!db)
		return err_set(e, ENOMEM, "open state: %m");
	int rc = sqlite3_open_v2(path, &db->h, flags, NULL);
	if (rc != SQLITE_OK)
		return err_set(e, rc == SQLITE_CANTOPEN ? ENOENT : sql_errno(rc), "open '%s': %s", path,
			       db->h ? sqlite3_errmsg(db->h) : "out of memory");
	sqlite3_busy_timeout(db->h, 10000);
	sqlite3_extended_result_codes(db->h, 1);
	rc = db_exec(db, pragmas, e);
	if (rc < 0)
		return rc;
	*ret = steal_ptr(&db);
	return 0;
}

static int db_open(struct state *st, bool create, struct db **ret, struct err *e)
{
	int rc = db_connect(st->path, create, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
			    "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-4096; PRAGMA journal_size_limit=16777216;"
			    "PRAGMA recursive_triggers=ON", ret, e);

	if (rc == 0)
		(*ret)->st = st;
	return rc;
}

int db_open_alone(const char *path, const char *const *migrations, size_t n, struct db **ret, struct err *e)
{
	AUTO(db_close) struct db *db = NULL;
	mode_t old = umask(0077);
	int rc = db_connect(path, true, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA temp_store=MEMORY;"
			    "PRAGMA cache_size=-16384; PRAGMA journal_size_limit=67108864", &db, e);

	umask(old);
	if (rc == 0)
		rc = schema_migrate(db, migrations, n, e);
	if (rc < 0)
		return err_prefix(e, "%s", path);
	*ret = steal_ptr(&db);
	return 0;
}

void db_close_alone(struct db *db)
{
	db_close(db);
}

int db_script(struct db *db, const char *sql, struct err *e)
{
	return db_exec(db, sql, e);
}

bool db_idle(struct db *db)
{
	return sqlite3_get_autocommit(db->h);
}

int db_reader(struct state *st, struct db **ret, struct err *e)
{
	pthread_mutex_lock(&st->pool_lock);
	struct db *db = st->pool;
	if (db)
		st->pool = db->next;
	pthread_mutex_unlock(&st->pool_lock);
	if (!db) {
		int rc = db_open(st, false, &db, e);

		if (rc < 0)
			return rc;
	}
	db->next = NULL;
	*ret = db;
	return 0;
}

void db_done(struct db *db)
{
	struct state *st = db->st;

	if (!sqlite3_get_autocommit(db->h))
		db_snapshot_end(db);
	pthread_mutex_lock(&st->pool_lock);
	db->next = st->pool;
	st->pool = db;
	pthread_mutex_unlock(&st->pool_lock);
}

int db_snapshot(struct db *db, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "BEGIN");

	return stmt_run(&s, e);
}

void db_snapshot_end(struct db *db)
{
	struct err e;
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "COMMIT");

	stmt_run(&s, &e);
}

int state_open(const char *path, bool create, struct state **ret, struct err *e)
{
	AUTO(state_close) struct state *st = calloc(1, sizeof *st);

	if (!st || !(st->path = strdup(path)))
		return err_set(e, ENOMEM, "open state: %m");
	pthread_mutex_init(&st->pool_lock, NULL);
	pthread_mutex_init(&st->write_lock, NULL);
	pthread_cond_init(&st->committed, NULL);
	struct stat there;
	if (!create && stat(path, &there) < 0)
		return err_set(e, errno, "open state '%s': %m", path);
	if (!create && there.st_size < 512)	/* less than a page: SQLite would take it for a new one */
		return err_set(e, EBADMSG, "the state '%s' is cut off: it has %ld bytes", path, (long)there.st_size);
	mode_t old = umask(0077);
	int rc = db_open(st, create, &st->writer, e);

	umask(old);
	if (rc < 0)
		return rc;
	rc = schema_migrate(st->writer, state_migrations, n_state_migrations, e);
	if (rc < 0)
		return err_prefix(e, "%s", path);
	*ret = steal_ptr(&st);
	return 0;
}

void state_stats(struct state *st, struct state_stats *ret)
{
	char wal[4200];
	struct stat s;

	snprintf(wal, sizeof wal, "%s-wal", st->path);
	*ret = (struct state_stats){ .transactions = st->transactions, .commits = st->commits };
	if (stat(wal, &s) == 0)
		ret->wal_bytes = s.st_size;
}

void state_close(struct state *st)
{
	while (st->pool) {
		struct db *db = st->pool;

		st->pool = db->next;
		db_close(db);
	}
	if (st->writer)
		db_close(st->writer);
	free(st->path);
	free(st);
}

/* ---- statements */

static unsigned hash(const char *s)
{
	unsigned h = 2166136261u;

	for (; *s; s++)
		h = (h ^ (unsigned char)*s) * 16777619u;
	return h;
}

/* The slot for this text, or a free one; NULL when the table is full.  A statement inside itself has a slot of its own. */
static struct slot *find_slot(struct db *db, const char *sql)
{
	unsigned i = hash(sql) & (STATEMENTS - 1);

	for (;; i = (i + 1) & (STATEMENTS - 1)) {
		struct slot *s = &db->slots[i];

		if (!s->sql)
			return db->n_slots < STATEMENTS * 3 / 4 ? s : NULL;
		if (!s->busy && strcmp(s->sql, sql) == 0)
			return s;
	}
}

struct stmt stmt_prepare(struct db *db, const char *sql)
{
	struct stmt s = { .db = db };
	struct slot *slot = find_slot(db, sql);

	if (slot && slot->st) {
		slot->busy = true;
		s.st = slot->st;
		s.slot = slot;
		return s;
	}
	s.rc = sqlite3_prepare_v3(db->h, sql, -1, slot ? SQLITE_PREPARE_PERSISTENT : 0, &s.st, NULL);
	if (s.rc == SQLITE_OK && slot && (slot->sql = strdup(sql))) {
		slot->st = s.st;
		slot->busy = true;
		s.slot = slot;
		db->n_slots++;
	}
	return s;
}

/* $n is a name to SQLite: its index is the order of first appearance. */
static int param(struct stmt *s, int n)
{
	char name[16] = { '$', (char)('0' + n), 0 };

	if (n > 9)
		snprintf(name, sizeof name, "$%d", n);
	int i = s->st ? sqlite3_bind_parameter_index(s->st, name) : 0;
	if (!i && !s->rc)
		s->rc = SQLITE_RANGE;
	return i;
}

static void bound(struct stmt *s, int rc)
{
	if (!s->rc && rc != SQLITE_OK)
		s->rc = rc;
}

void stmt_int(struct stmt *s, int n, int64_t v)
{
	int i = param(s, n);

	if (!s->rc)
		bound(s, sqlite3_bind_int64(s->st, i, v));
}

void stmt_text(struct stmt *s, int n, const char *v)
{
	int i = param(s, n);

	if (!s->rc)
		bound(s, sqlite3_bind_text(s->st, i, v, -1, SQLITE_TRANSIENT));
}

void stmt_blob(struct stmt *s, int n, const void *v, size_t len)
{
	int i = param(s, n);

	if (!s->rc)
		bound(s, sqlite3_bind_blob64(s->st, i, v, len, SQLITE_TRANSIENT));
}

void stmt_blob_borrow(struct stmt *s, int n, const void *v, size_t len)
{
	int i = param(s, n);

	if (!s->rc)
		bound(s, sqlite3_bind_blob64(s->st, i, v, len, SQLITE_STATIC));
}

void stmt_null(struct stmt *s, int n)
{
	int i = param(s, n);

	if (!s->rc)
		bound(s, sqlite3_bind_null(s->st, i));
}

int stmt_step(struct stmt *s, struct err *e)
{
	int rc = s->rc ? s->rc : sqlite3_step(s->st);

	if (rc == SQLITE_ROW)
		return 1;
	if (rc == SQLITE_DONE)
		return 0;
	return sql_err(s->db, rc, e);
}

int stmt_run(struct stmt *s, struct err *e)
{
	int rc;

	while ((rc = stmt_step(s, e)) > 0)
		;
	return rc;
}

int db_run(struct db *db, struct err *e, const char *sql, int n, const int64_t *v)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);

	for (int i = 0; i < n; i++)
		stmt_int(&s, i + 1, v[i]);
	return stmt_run(&s, e);
}

int64_t stmt_col_int(struct stmt *s, int col)
{
	return sqlite3_column_int64(s->st, col);
}

const char *stmt_col_text(struct stmt *s, int col)
{
	const char *t = (const char *)sqlite3_column_text(s->st, col);

	return t ? t : "";
}

const void *stmt_col_blob(struct stmt *s, int col, size_t *len)
{
	const void *v = sqlite3_column_blob(s->st, col);

	*len = (size_t)sqlite3_column_bytes(s->st, col);
	return v;
}

bool stmt_col_null(struct stmt *s, int col)
{
	return sqlite3_column_type(s->st, col) == SQLITE_NULL;
}

void stmt_done(struct stmt *s)
{
	if (!s->st)
		return;
	sqlite3_reset(s->st);
	sqlite3_clear_bindings(s->st);
	if (s->slot) {
		s->slot->busy = false;
		s->st = NULL;
		return;
	}
	sqlite3_finalize(s->st);
	s->st = NULL;
}

int64_t db_last_id(struct db *db)
{
	return sqlite3_last_insert_rowid(db->h);
}

int db_changes(struct db *db)
{
	return sqlite3_changes(db->h);
}

/* ---- transactions */

/* Ends the open batch with this result and lets its members go.  write_lock is held. */
static void batch_end(struct state *st, const struct err *result)
{
	for (struct member *m = st->first; m; m = m->next) {
		m->err = *result;
		m->done = true;
	}
	st->first = NULL;
	st->members = 0;
	pthread_cond_broadcast(&st->committed);
}

static void batch_commit(struct state *st)
{
	struct err e = { 0 };

	if (db_run(st->writer, &e, "COMMIT", 0, NULL) < 0) {
		log_error("commit: %s", e.msg);
		sqlite3_exec(st->writer->h, "ROLLBACK", NULL, NULL, NULL);
	}
	st->commits++;
	batch_end(st, &e);
}

/* SQLite may end the whole transaction itself (disk full): then nobody's work in this batch is kept. */
static bool batch_lost(struct state *st, const struct err *why)
{
	if (!sqlite3_get_autocommit(st->writer->h))
		return false;
	batch_end(st, why);
	return true;
}

/* Whoever leaves last commits; while others wait for the lock they join and one of them does. */
static void batch_leave(struct state *st)
{
	bool others = __atomic_load_n(&st->waiting, __ATOMIC_SEQ_CST) > 0;

	if (st->members == 0 && !others) {
		sqlite3_exec(st->writer->h, "ROLLBACK", NULL, NULL, NULL);	/* nothing to keep */
		return;
	}
	if (!others || st->members >= BATCH_MAX)
		batch_commit(st);
}

int tx_begin(struct state *st, struct tx *tx, struct err *e)
{
	__atomic_add_fetch(&st->waiting, 1, __ATOMIC_SEQ_CST);
	pthread_mutex_lock(&st->write_lock);
	__atomic_sub_fetch(&st->waiting, 1, __ATOMIC_SEQ_CST);
	*tx = (struct tx){ .st = st, .db = st->writer };
	int rc = 0;
	if (sqlite3_get_autocommit(st->writer->h))
		rc = db_run(st->writer, e, "BEGIN IMMEDIATE", 0, NULL);
	if (rc == 0)
		rc = db_run(st->writer, e, "SAVEPOINT tx", 0, NULL);
	if (rc < 0) {
		if (!sqlite3_get_autocommit(st->writer->h))
			batch_leave(st);
		pthread_mutex_unlock(&st->write_lock);
		return rc;
	}
	tx->open = true;
	return 0;
}

int tx_commit(struct tx *tx, struct err *e)
{
	struct state *st = tx->st;

	int rc = db_run(st->writer, e, "RELEASE tx", 0, NULL);
	if (rc < 0) {
		tx_rollback(tx);
		return rc;
	}
	tx->open = false;
	struct member me = { .next = st->first };
	st->first = &me;
	st->members++;
	st->transactions++;
	batch_leave(st);
	while (!me.done)
		pthread_cond_wait(&st->committed, &st->write_lock);
	pthread_mutex_unlock(&st->write_lock);
	if (me.err.code)
		*e = me.err;
	return -me.err.code;
}

void tx_rollback(struct tx *tx)
{
	struct err e = { 0 }, lost = { .code = EIO, .msg = "the transaction was ended by the database" };

	if (!tx->open)
		return;
	tx->open = false;
	if (!batch_lost(tx->st, &lost)) {
		db_run(tx->db, &e, "ROLLBACK TO tx", 0, NULL);
		db_run(tx->db, &e, "RELEASE tx", 0, NULL);
		batch_leave(tx->st);
	}
	pthread_mutex_unlock(&tx->st->write_lock);
}

int tx_mark(struct tx *tx, struct err *e)
{
	return db_run(tx->db, e, "SAVEPOINT part", 0, NULL);
}

int tx_keep(struct tx *tx, struct err *e)
{
	return db_run(tx->db, e, "RELEASE part", 0, NULL);
}

void tx_undo(struct tx *tx)
{
	struct err e = { 0 };

	db_run(tx->db, &e, "ROLLBACK TO part", 0, NULL);
	db_run(tx->db, &e, "RELEASE part", 0, NULL);
}

int tx_settle(struct tx *tx, struct err *e)
{
	int rc = db_run(tx->db, e, "RELEASE tx", 0, NULL);

	return rc < 0 ? rc : db_run(tx->db, e, "SAVEPOINT tx", 0, NULL);
}

sqlite3 *db_handle(struct db *db)
{
	return db->h;
}
