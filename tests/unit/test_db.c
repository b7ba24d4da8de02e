/* The store's database: migrations, constraints, transactions and what shares a commit. */
#include "../../backends/state/db.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static char dir[] = "/tmp/test_db.XXXXXX";
static struct err e;

static const char *fresh(void)
{
	static char path[100];
	static int n;

	snprintf(path, sizeof path, "%s/state%d.db", dir, n++);
	return path;
}

static struct state *open_new(void)
{
	struct state *st = NULL;

	e = (struct err){ 0 };
	CHECK_INT(state_open(fresh(), true, &st, &e), 0);
	return st;
}

/* Statements with a connection of our own, as another program would. */
static int outside(const char *path, const char *sql)
{
	sqlite3 *h;
	int rc = sqlite3_open(path, &h);

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(h, sql, NULL, NULL, NULL);
	sqlite3_close(h);
	return rc;
}

static int64_t ask(struct state *st, const char *sql)
{
	AUTO(db_done) struct db *db = NULL;
	struct err err = { 0 };

	if (db_reader(st, &db, &err) < 0)
		return -1;
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	return stmt_step(&s, &err) > 0 ? stmt_col_int(&s, 0) : -1;
}

/* One statement in a transaction: 0 or what refused it. */
static int try(struct state *st, const char *sql)
{
	AUTO(tx_rollback) struct tx tx = { 0 };
	int rc;

	e = (struct err){ 0 };
	if ((rc = tx_begin(st, &tx, &e)) < 0)
		return rc;
	AUTO(stmt_done) struct stmt s = stmt_prepare(tx.db, sql);
	if ((rc = stmt_run(&s, &e)) < 0)
		return rc;
	stmt_done(&s);
	return tx_commit(&tx, &e);
}

/* ---- opening */

static void a_store_that_is_not_there_is_refused(void)
{
	struct state *st = NULL;

	e = (struct err){ 0 };
	CHECK_INT(state_open(fresh(), false, &st, &e), -ENOENT);
	CHECK(st == NULL);
}

static void a_new_store_has_the_root_and_a_schema_version(void)
{
	AUTO(state_close) struct state *st = open_new();

	CHECK_INT(ask(st, "SELECT count(*) FROM object"), 1);
	CHECK_INT(ask(st, "SELECT id FROM object WHERE kind = 0"), 1);
	CHECK(ask(st, "SELECT value FROM meta WHERE name = 'schema'") >= 1);
}

static void only_its_owner_may_read_it(void)
{
	AUTO(state_close) struct state *st = NULL;
	const char *path = fresh();
	struct stat sb = { 0 };

	CHECK_INT(state_open(path, true, &st, &e), 0);
	CHECK_INT(stat(path, &sb), 0);
	CHECK_INT(sb.st_mode & 077, 0);
}

static void opening_again_keeps_what_is_there(void)
{
	const char *path = fresh();
	struct state *st = NULL;

	CHECK_INT(state_open(path, true, &st, &e), 0);
	CHECK_INT(try(st, "INSERT INTO meta VALUES ('colour', 'blue')"), 0);
	state_close(st);
	CHECK_INT(state_open(path, false, &st, &e), 0);
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE value = 'blue'"), 1);
	state_close(st);
}

static void a_newer_schema_is_refused_and_left_alone(void)
{
	const char *path = fresh();
	struct state *st = NULL;

	CHECK_INT(state_open(path, true, &st, &e), 0);
	state_close(st);
	st = NULL;
	CHECK_INT(outside(path, "UPDATE meta SET value = 4711 WHERE name = 'schema'"), SQLITE_OK);
	CHECK_INT(state_open(path, true, &st, &e), -EINVAL);
	CHECK(st == NULL);
	CHECK(strstr(e.msg, "4711") != NULL);
	CHECK(strstr(e.msg, "newer cirrusfs") != NULL);
	CHECK_INT(outside(path, "UPDATE meta SET value = 1/(value = 4711) WHERE name = 'schema'"), SQLITE_OK);
}

static void what_is_no_database_is_refused_with_a_sentence(void)
{
	const char *path = fresh();
	struct state *st = NULL;
	FILE *f = fopen(path, "w");

	for (int i = 0; i < 5000; i++)
		fputs("rubbish ", f);
	fclose(f);
	CHECK_INT(state_open(path, false, &st, &e), -EBADMSG);
	CHECK(*e.msg != '\0');
}

/* ---- constraints */

#define OBJECT "INSERT INTO object (kind, parent, name, uuid, status, created, changed) VALUES "
#define UUID "'00000000-0000-0000-0000-0000000000"

static void rows_that_break_a_rule_are_refused(void)
{
	static const char *const bad[] = {
		OBJECT "(256, 1, 'a', " UUID "02', 'ACTIVE', 0, 0)",	/* no such kind can be */
		OBJECT "(1, 99, 'a', " UUID "02', 'ACTIVE', 0, 0)",	/* no such parent */
		OBJECT "(1, 1, '', " UUID "02', 'ACTIVE', 0, 0)",
		OBJECT "(1, 1, 'a/b', " UUID "02', 'ACTIVE', 0, 0)",
		OBJECT "(1, 1, '.a', " UUID "02', 'ACTIVE', 0, 0)",
		OBJECT "(1, 1, printf('%.256c', 'x'), " UUID "02', 'ACTIVE', 0, 0)",
		OBJECT "(1, 1, printf('%.86c', '\xe2\x82\xac'), " UUID "02', 'ACTIVE', 0, 0)",	/* 86 characters, 258 bytes */
		OBJECT "(1, 1, 'a', 'short', 'ACTIVE', 0, 0)",
		OBJECT "(1, 1, 'a', " UUID "01', 'ACTIVE', 0, 0)",	/* the root's uuid */
		OBJECT "(1, 1, 'a', " UUID "02', '', 0, 0)",
		OBJECT "(1, 1, 'there', " UUID "02', 'ACTIVE', 0, 0)",	/* name taken */
		"UPDATE object SET protected = 2 WHERE name = 'there'",
		"UPDATE object SET deleted = 1, protected = 1 WHERE name = 'there'",
		"UPDATE object SET progress = 101 WHERE name = 'there'",
		"INSERT INTO tenant (id) VALUES (12345)",
		"UPDATE tenant SET enabled = 2",
		"UPDATE flavor SET vcpus = 0", "UPDATE flavor SET ram = -5", "UPDATE flavor SET disk = 1048577", "UPDATE flavor SET public = 7",
		"UPDATE image SET visibility = 'nobody'", "UPDATE image SET size = -1",
		"UPDATE network SET mtu = 67", "UPDATE network SET shared = 3",
		"UPDATE server SET flavor = 12345", "UPDATE server SET host = 12345",
		"INSERT INTO task (object, verb, created, request, who, was) VALUES (12345, 'create', 0, '', '', '')",
		"INSERT INTO quota VALUES (2, 'cores', -2)",
		"INSERT INTO usage VALUES (2, 'cores', -1)",
	};
	AUTO(state_close) struct state *st = open_new();

	CHECK_INT(try(st, OBJECT "(1, 1, 'there', " UUID "10', 'ACTIVE', 0, 0)"), 0);
	CHECK_INT(ask(st, "SELECT id FROM object WHERE name = 'there'"), 2);
	CHECK_INT(try(st, "INSERT INTO tenant (id) VALUES (2)"), 0);
	/* the same row stands for one of each kind: the tables do not care */
	CHECK_INT(try(st, "INSERT INTO flavor (id) VALUES (2)"), 0);
	CHECK_INT(try(st, "INSERT INTO image (id) VALUES (2)"), 0);
	CHECK_INT(try(st, "INSERT INTO network (id) VALUES (2)"), 0);
	CHECK_INT(try(st, "INSERT INTO server (id) VALUES (2)"), 0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (try(st, bad[i]) != -EINVAL)
			CHECK_FAIL("taken, or refused otherwise (%d %s): %s", e.code, e.msg, bad[i]);
	}
	CHECK_INT(ask(st, "SELECT count(*) FROM object"), 2);
}

static void the_longest_name_is_taken(void)
{
	AUTO(state_close) struct state *st = open_new();

	CHECK_INT(try(st, OBJECT "(1, 1, printf('%.255c', 'x'), " UUID "02', 'ACTIVE', 0, 0)"), 0);
	CHECK_INT(try(st, OBJECT "(1, 1, printf('%.85c', '\xe2\x82\xac'), " UUID "03', 'ACTIVE', 0, 0)"), 0);
}

static void a_deleted_objects_name_is_free(void)
{
	AUTO(state_close) struct state *st = open_new();

	CHECK_INT(try(st, OBJECT "(1, 1, 'a', " UUID "02', 'ACTIVE', 0, 0)"), 0);
	CHECK_INT(try(st, "UPDATE object SET deleted = 1 WHERE name = 'a'"), 0);
	CHECK_INT(try(st, OBJECT "(1, 1, 'a', " UUID "03', 'ACTIVE', 0, 0)"), 0);
}

static void ids_are_never_used_again(void)
{
	AUTO(state_close) struct state *st = open_new();

	CHECK_INT(try(st, OBJECT "(1, 1, 'a', " UUID "02', 'ACTIVE', 0, 0)"), 0);
	int64_t first = ask(st, "SELECT max(id) FROM object");
	CHECK_INT(try(st, "DELETE FROM object WHERE name = 'a'"), 0);
	CHECK_INT(try(st, OBJECT "(1, 1, 'a', " UUID "02', 'ACTIVE', 0, 0)"), 0);
	CHECK(ask(st, "SELECT max(id) FROM object") > first);
}

/* ---- statements */

static void a_statement_inside_itself_is_another(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(db_done) struct db *db = NULL;
	int n = 0;

	CHECK_INT(db_reader(st, &db, &e), 0);
	static const char sql[] = "SELECT value FROM (SELECT 1 AS value UNION SELECT 2 UNION SELECT 3)";
	AUTO(stmt_done) struct stmt a = stmt_prepare(db, sql);
	while (stmt_step(&a, &e) > 0) {
		AUTO(stmt_done) struct stmt b = stmt_prepare(db, sql);

		while (stmt_step(&b, &e) > 0)
			n++;
	}
	CHECK_INT(n, 9);
}

static void a_bad_statement_says_so_when_stepped(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(db_done) struct db *db = NULL;

	CHECK_INT(db_reader(st, &db, &e), 0);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT nonsense FROM nowhere");
	stmt_int(&s, 1, 5);
	CHECK(stmt_step(&s, &e) < 0);
	CHECK(strstr(e.msg, "nowhere") != NULL);
	AUTO(stmt_done) struct stmt t = stmt_prepare(db, "SELECT $1");
	stmt_int(&t, 2, 5);
	CHECK(stmt_step(&t, &e) < 0);
}

static void parameters_go_by_number_not_by_order(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(db_done) struct db *db = NULL;

	CHECK_INT(db_reader(st, &db, &e), 0);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT $2, $1, $11");
	stmt_text(&s, 1, "one");
	stmt_text(&s, 2, NULL);
	stmt_int(&s, 11, INT64_MIN);
	CHECK_INT(stmt_step(&s, &e), 1);
	CHECK(stmt_col_null(&s, 0));
	CHECK_STR(stmt_col_text(&s, 0), "");
	CHECK_STR(stmt_col_text(&s, 1), "one");
	CHECK_INT(stmt_col_int(&s, 2), INT64_MIN);
}

/* More texts than the table has slots: it goes on without keeping them. */
static void more_statements_than_slots_work(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(db_done) struct db *db = NULL;

	CHECK_INT(db_reader(st, &db, &e), 0);
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 1000; i++) {
			char sql[32];

			snprintf(sql, sizeof sql, "SELECT %d", i);
			AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
			if (stmt_step(&s, &e) != 1 || stmt_col_int(&s, 0) != i)
				CHECK_FAIL("%s", sql);
		}
}

/* ---- transactions */

static int put(struct tx *tx, const char *name, int value)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(tx->db, "INSERT INTO meta VALUES ($1, $2)");

	stmt_text(&s, 1, name);
	stmt_int(&s, 2, value);
	return stmt_run(&s, &e);
}

static void what_is_not_committed_is_undone(void)
{
	AUTO(state_close) struct state *st = open_new();

	{
		AUTO(tx_rollback) struct tx tx = { 0 };

		CHECK_INT(tx_begin(st, &tx, &e), 0);
		CHECK_INT(put(&tx, "a", 1), 0);
	}
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'a'"), 0);
	AUTO(tx_rollback) struct tx tx = { 0 };
	CHECK_INT(tx_begin(st, &tx, &e), 0);
	CHECK_INT(put(&tx, "b", 1), 0);
	CHECK_INT(tx_commit(&tx, &e), 0);
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'b'"), 1);
}

static void a_part_can_be_undone_alone(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(tx_rollback) struct tx tx = { 0 };

	CHECK_INT(tx_begin(st, &tx, &e), 0);
	CHECK_INT(tx_mark(&tx, &e), 0);
	CHECK_INT(put(&tx, "kept", 1), 0);
	CHECK_INT(tx_keep(&tx, &e), 0);
	CHECK_INT(tx_mark(&tx, &e), 0);
	CHECK_INT(put(&tx, "undone", 1), 0);
	tx_undo(&tx);
	CHECK_INT(tx_mark(&tx, &e), 0);
	CHECK_INT(put(&tx, "undone", 2), 0);	/* its name is free again */
	CHECK_INT(tx_keep(&tx, &e), 0);
	CHECK_INT(tx_commit(&tx, &e), 0);
	CHECK_INT(ask(st, "SELECT value FROM meta WHERE name = 'kept'"), 1);
	CHECK_INT(ask(st, "SELECT value FROM meta WHERE name = 'undone'"), 2);
}

static void readers_see_what_is_committed_and_never_wait(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(tx_rollback) struct tx tx = { 0 };

	CHECK_INT(tx_begin(st, &tx, &e), 0);
	CHECK_INT(put(&tx, "a", 1), 0);
	int64_t t = now_us();
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'a'"), 0);
	CHECK(now_us() - t < 2000000);
	CHECK_INT(tx_commit(&tx, &e), 0);
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'a'"), 1);
}

static void a_snapshot_stays_as_it_was(void)
{
	AUTO(state_close) struct state *st = open_new();
	AUTO(db_done) struct db *db = NULL;

	CHECK_INT(db_reader(st, &db, &e), 0);
	CHECK_INT(db_snapshot(db, &e), 0);
	for (int round = 0; round < 2; round++) {
		AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT count(*) FROM meta");

		CHECK_INT(stmt_step(&s, &e), 1);
		CHECK_INT(stmt_col_int(&s, 0), 1);
		if (!round)
			CHECK_INT(try(st, "INSERT INTO meta VALUES ('a', 1)"), 0);
	}
	db_snapshot_end(db);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, "SELECT count(*) FROM meta");
	CHECK_INT(stmt_step(&s, &e), 1);
	CHECK_INT(stmt_col_int(&s, 0), 2);
}

/* ---- group commit: threads whose transactions share commits; what tx_commit said of each is what is in the store */

#define THREADS 32
#define EACH 60

static struct state *shared;
static pthread_barrier_t barrier;
static int commits, refuse_every;	/* by the writer's thread only */
static int results[THREADS][EACH];
static int rolls_back;		/* every third transaction of a thread */

static int on_commit(void *arg)
{
	return ++commits && refuse_every && commits % refuse_every == 0;
}

static void hook(struct state *st)
{
	struct tx tx;

	commits = 0;
	CHECK_INT(tx_begin(st, &tx, &e), 0);
	sqlite3_commit_hook(db_handle(tx.db), on_commit, NULL);
	tx_rollback(&tx);
}

static void *writer(void *arg)
{
	long me = (long)arg;

	pthread_barrier_wait(&barrier);
	for (int i = 0; i < EACH; i++) {
		AUTO(tx_rollback) struct tx tx = { 0 };
		struct err err = { 0 };
		char name[32];

		snprintf(name, sizeof name, "t%ld.%d", me, i);
		int rc = tx_begin(shared, &tx, &err);
		if (rc == 0) {
			AUTO(stmt_done) struct stmt s = stmt_prepare(tx.db, "INSERT INTO meta VALUES ($1, 1)");

			stmt_text(&s, 1, name);
			rc = stmt_run(&s, &err);
		}
		if (rc == 0 && rolls_back && i % 3 == 0)
			rc = 1;
		if (rc == 0)
			rc = tx_commit(&tx, &err);
		results[me][i] = rc;
	}
	return NULL;
}

static void run_writers(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, writer, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&barrier);
}

/* Said and stored agree; returns how many are stored. */
static int agree(struct state *st, int *failed)
{
	int stored = 0;

	*failed = 0;
	for (int t = 0; t < THREADS; t++)
		for (int i = 0; i < EACH; i++) {
			char sql[100];

			snprintf(sql, sizeof sql, "SELECT count(*) FROM meta WHERE name = 't%d.%d'", t, i);
			int64_t there = ask(st, sql);
			if (there != (results[t][i] == 0))
				CHECK_FAIL("t%d.%d is %sstored, and its tx_commit said %d", t, i, there ? "" : "not ", results[t][i]);
			stored += there > 0;
			*failed += results[t][i] < 0;
		}
	return stored;
}

static void transactions_share_commits_and_all_are_kept(void)
{
	AUTO(state_close) struct state *st = shared = open_new();
	int failed;

	refuse_every = rolls_back = 0;
	hook(st);
	run_writers();
	CHECK_INT(agree(st, &failed), THREADS * EACH);
	CHECK_INT(failed, 0);
	if (commits >= THREADS * EACH / 2)
		CHECK_FAIL("%d commits for %d transactions: they do not share", commits, THREADS * EACH);
}

static void a_rollback_keeps_the_others_of_its_batch(void)
{
	AUTO(state_close) struct state *st = shared = open_new();
	int failed;

	refuse_every = 0;
	rolls_back = 1;
	hook(st);
	run_writers();
	CHECK_INT(agree(st, &failed), THREADS * (EACH - EACH / 3));
	CHECK_INT(failed, 0);
}

static void a_failed_commit_is_told_to_all_its_members(void)
{
	AUTO(state_close) struct state *st = shared = open_new();
	int failed;

	refuse_every = 3;
	rolls_back = 1;
	hook(st);
	run_writers();
	int stored = agree(st, &failed);
	CHECK(failed > 0);
	CHECK(stored > 0);
	CHECK_INT(stored + failed, THREADS * (EACH - EACH / 3));
	refuse_every = 0;
	CHECK_INT(try(st, "INSERT INTO meta VALUES ('after', 1)"), 0);
}

/* ---- no room */

static int set_pages(struct state *st, int more)
{
	struct tx tx;
	char sql[80];

	if (tx_begin(st, &tx, &e) < 0)
		return -1;
	snprintf(sql, sizeof sql, "PRAGMA max_page_count = %d", more < 0 ? 1 << 30 : (int)ask(st, "PRAGMA page_count") + more);
	sqlite3_exec(db_handle(tx.db), sql, NULL, NULL, NULL);
	tx_rollback(&tx);
	return 0;
}

#define BIG(name) "INSERT INTO meta VALUES ('" name "', printf('%.200000c', 'x'))"

static void a_full_store_says_ENOSPC_and_works_again(void)
{
	AUTO(state_close) struct state *st = open_new();

	set_pages(st, 5);
	CHECK_INT(try(st, BIG("big")), -ENOSPC);
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'big'"), 0);
	CHECK_INT(try(st, "INSERT INTO meta VALUES ('small', 1)"), 0);
	set_pages(st, -1);
	CHECK_INT(try(st, BIG("big")), 0);
}

/* SQLite may end the whole transaction when it is full; nothing after it may be kept then. */
static void after_a_full_store_nothing_of_the_transaction_is_kept(void)
{
	AUTO(state_close) struct state *st = open_new();

	set_pages(st, 5);
	{
		AUTO(tx_rollback) struct tx tx = { 0 };

		CHECK_INT(tx_begin(st, &tx, &e), 0);
		CHECK_INT(put(&tx, "before", 1), 0);
		CHECK_INT(tx_mark(&tx, &e), 0);
		AUTO(stmt_done) struct stmt s = stmt_prepare(tx.db, BIG("big"));
		CHECK_INT(stmt_run(&s, &e), -ENOSPC);
		stmt_done(&s);
		tx_undo(&tx);
		int rc = tx_commit(&tx, &e);
		CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'before'"), rc == 0);
	}
	CHECK_INT(ask(st, "SELECT count(*) FROM meta WHERE name = 'big'"), 0);
	set_pages(st, -1);
	CHECK_INT(try(st, BIG("big")), 0);
}

static void a_full_disk_is_told_to_all_and_works_again(void)
{
	AUTO(state_close) struct state *st = shared = open_new();
	struct rlimit old, low = { 400000, 0 };
	int failed;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	low.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &low);
	refuse_every = rolls_back = 0;
	hook(st);
	run_writers();
	setrlimit(RLIMIT_FSIZE, &old);
	int stored = agree(st, &failed);
	CHECK(failed > 0);
	CHECK_INT(stored + failed, THREADS * EACH);
	CHECK_INT(try(st, "INSERT INTO meta VALUES ('after', 1)"), 0);
	CHECK_INT(ask(st, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

int main(void)
{
	char cmd[100];

	if (!mkdtemp(dir))
		return 2;
	RUN(a_store_that_is_not_there_is_refused);
	RUN(a_new_store_has_the_root_and_a_schema_version);
	RUN(only_its_owner_may_read_it);
	RUN(opening_again_keeps_what_is_there);
	RUN(a_newer_schema_is_refused_and_left_alone);
	RUN(what_is_no_database_is_refused_with_a_sentence);
	RUN(rows_that_break_a_rule_are_refused);
	RUN(the_longest_name_is_taken);
	RUN(a_deleted_objects_name_is_free);
	RUN(ids_are_never_used_again);
	RUN(a_statement_inside_itself_is_another);
	RUN(a_bad_statement_says_so_when_stepped);
	RUN(parameters_go_by_number_not_by_order);
	RUN(more_statements_than_slots_work);
	RUN(what_is_not_committed_is_undone);
	RUN(a_part_can_be_undone_alone);
	RUN(readers_see_what_is_committed_and_never_wait);
	RUN(a_snapshot_stays_as_it_was);
	RUN(transactions_share_commits_and_all_are_kept);
	RUN(a_rollback_keeps_the_others_of_its_batch);
	RUN(a_failed_commit_is_told_to_all_its_members);
	RUN(a_full_store_says_ENOSPC_and_works_again);
	RUN(after_a_full_store_nothing_of_the_transaction_is_kept);
	RUN(a_full_disk_is_told_to_all_and_works_again);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
