/* Rows: names and ids, columns, tasks, history, events, quota and the counting of what is used. */
#include "../../backends/state/object.h"
#include "../../backends/state/cloud.h"

#include <errno.h>
#include <string.h>

#include "check.h"

enum { TENANT = 1, FLAVOR = 2, KEY = 4, NETWORK = 6, SUBNET = 7, PORT = 8, SERVER = 9 };	/* numbers of fs/root.c */

static char dir[] = "/tmp/test_object.XXXXXX";
static struct err e;
static struct state *st;
static struct tx tx;
static struct db *db;

/* A store of its own for each fact, with a transaction open. */
static void begin(void)
{
	static int n;
	char path[100];

	snprintf(path, sizeof path, "%s/state%d.db", dir, n++);
	e = (struct err){ 0 };
	CHECK_INT(state_open(path, true, &st, &e), 0);
	CHECK_INT(tx_begin(st, &tx, &e), 0);
	db = tx.db;
}

static void end(void)
{
	CHECK_INT(tx_commit(&tx, &e), 0);
	state_close(st);
}

static int64_t make(int kind, int64_t parent, int64_t tenant, const char *name, const char *status, const char *table)
{
	struct row r = { .kind = kind, .parent = parent, .tenant = tenant };

	snprintf(r.name, sizeof r.name, "%s", name);
	snprintf(r.status, sizeof r.status, "%s", status);
	if (row_insert(db, &r, table, &e) < 0)
		CHECK_FAIL("insert %s: %s", name, e.msg);
	return r.id;
}

static int64_t make_tenant(const char *name)
{
	int64_t id = make(TENANT, 1, 0, name, "ACTIVE", "tenant");

	CHECK_INT(row_set_tenant(db, id, &e), 0);
	return id;
}

/* ---- objects */

static void a_row_comes_back_as_it_was_made(void)
{
	struct row r = { .kind = TENANT, .parent = 1, .name = "acme", .status = "ACTIVE", .progress = 40 }, by[3];

	begin();
	CHECK_INT(row_insert(db, &r, "tenant", &e), 0);
	CHECK(r.id > 1);
	CHECK_INT(strlen(r.uuid), 36);
	CHECK(r.uuid[14] == '4' && strchr("89ab", r.uuid[19]));
	CHECK(now_us() - r.created < 10000000);
	CHECK_INT(row_by_id(db, r.id, &by[0], &e), 1);
	CHECK_INT(row_by_name(db, 1, TENANT, "acme", &by[1], &e), 1);
	CHECK_INT(row_by_uuid(db, r.uuid, &by[2], &e), 1);
	for (int i = 0; i < 3; i++) {
		CHECK_INT(by[i].id, r.id);
		CHECK_INT(by[i].kind, TENANT);
		CHECK_INT(by[i].parent, 1);
		CHECK_INT(by[i].progress, 40);
		CHECK_INT(by[i].created, r.created);
		CHECK_STR(by[i].name, "acme");
		CHECK_STR(by[i].uuid, r.uuid);
		CHECK_STR(by[i].status, "ACTIVE");
		CHECK_STR(by[i].failed, "");
		CHECK(!by[i].deleted && !by[i].protected);
	}
	CHECK_INT(row_by_id(db, 4711, &by[0], &e), 0);
	CHECK_INT(row_by_name(db, 1, TENANT, "ACME", &by[0], &e), 0);
	CHECK_INT(row_by_uuid(db, "", &by[0], &e), 0);
	end();
}

static void a_name_is_unique_in_its_collection_only(void)
{
	struct row r = { .kind = KEY, .name = "same", .status = "ACTIVE" };

	begin();
	int64_t a = make_tenant("a"), b = make_tenant("b");
	make(KEY, a, a, "same", "ACTIVE", "key");
	make(KEY, b, b, "same", "ACTIVE", "key");
	make(NETWORK, a, a, "same", "ACTIVE", "network");
	r.parent = r.tenant = a;
	CHECK_INT(row_insert(db, &r, "key", &e), -EEXIST);
	CHECK_STR(e.msg, "there is already one named 'same'");
	end();
}

static void a_deleted_row_is_found_by_id_not_by_name(void)
{
	struct row r;

	begin();
	int64_t a = make_tenant("a");
	CHECK_INT(row_set_deleted(db, a, &e), 0);
	CHECK_INT(row_by_name(db, 1, TENANT, "a", &r, &e), 0);
	CHECK_INT(row_by_id(db, a, &r, &e), 1);
	CHECK(r.deleted);
	CHECK(make_tenant("a") != a);
	end();
}

static void a_change_of_status_moves_the_time(void)
{
	struct row before, after;

	begin();
	int64_t a = make_tenant("a");
	CHECK_INT(row_by_id(db, a, &before, &e), 1);
	CHECK_INT(row_set_status(db, a, "ERROR", &e), 0);
	CHECK_INT(row_set_error(db, a, "why", "start", &e), 0);
	CHECK_INT(row_set_progress(db, a, 250, &e), 0);
	CHECK_INT(row_by_id(db, a, &after, &e), 1);
	CHECK_STR(after.status, "ERROR");
	CHECK_STR(after.failed, "start");
	CHECK_INT(after.progress, 100);
	CHECK(after.changed > before.changed);
	AUTO(free) char *why = NULL;
	CHECK_INT(row_error(db, a, &why, &e), 0);
	CHECK_STR(why, "why");
	end();
}

static int count_rows(void *arg, const struct row *r)
{
	return ++*(int *)arg == 3;
}

static void a_list_goes_on_after_an_id_and_stops_when_told(void)
{
	int n = 0;

	begin();
	int64_t first = make_tenant("t0");
	for (int i = 1; i < 10; i++) {
		char name[8];

		snprintf(name, sizeof name, "t%d", i);
		make_tenant(name);
	}
	CHECK_INT(row_set_deleted(db, first + 9, &e), 0);
	CHECK_INT(row_list(db, 1, TENANT, 0, false, count_rows, &n, &e), 0);
	CHECK_INT(n, 3);
	n = -100;
	CHECK_INT(row_list(db, 1, TENANT, first + 4, false, count_rows, &n, &e), 0);
	CHECK_INT(n, -96);
	n = -100;
	CHECK_INT(row_list(db, 0, TENANT, first + 4, true, count_rows, &n, &e), 0);
	CHECK_INT(n, -95);
	end();
}

static void a_collection_knows_when_it_changed(void)
{
	int64_t t0, t1, t2;

	begin();
	CHECK_INT(row_collection_changed(db, 1, TENANT, &t0, &e), 0);
	CHECK_INT(t0, 0);
	int64_t a = make_tenant("a");
	CHECK_INT(row_collection_changed(db, 1, TENANT, &t1, &e), 0);
	CHECK(t1 > 0);
	CHECK_INT(row_set_status(db, a, "ERROR", &e), 0);
	CHECK_INT(row_collection_changed(db, 1, TENANT, &t2, &e), 0);
	CHECK_INT(t2, t1);
	CHECK_INT(row_rename(db, a, "b", &e), 0);
	CHECK_INT(row_collection_changed(db, 1, TENANT, &t2, &e), 0);
	CHECK(t2 > t1);
	end();
}

static void a_file_knows_when_it_was_touched(void)
{
	int64_t at;

	begin();
	int64_t a = make_tenant("a");
	CHECK_INT(row_touched(db, a, "enabled", &at, &e), 0);
	CHECK_INT(at, 0);
	CHECK_INT(row_touch(db, a, "enabled", &e), 0);
	CHECK_INT(row_touch(db, a, "enabled", &e), 0);
	CHECK_INT(row_touched(db, a, "enabled", &at, &e), 0);
	CHECK(now_us() - at < 10000000);
	end();
}

static void what_hangs_on_a_row_goes_with_it(void)
{
	struct row r;
	struct task_row t = { .verb = "create" };

	begin();
	int64_t a = make_tenant("a"), s = make(SERVER, a, a, "s", "ACTIVE", "server"), n = make(NETWORK, a, a, "n", "ACTIVE", "network");
	CHECK_INT(nic_add(db, s, n, "", "n", &e), 0);
	CHECK_INT(nic_add(db, s, n, "", "n", &e), -EEXIST);
	t.object = s;
	CHECK_INT(task_insert(db, &t, &e), 0);
	CHECK_INT(history_add(db, s, "create", "ok", "req", "root", 5, "", &e), 0);
	CHECK_INT(row_touch(db, s, "flavor", &e), 0);
	CHECK_INT(row_delete(db, n, &e), -EINVAL);	/* a NIC names it */
	CHECK_INT(row_delete(db, a, &e), -EINVAL);	/* it is somebody's parent */
	CHECK_INT(row_delete(db, s, &e), 0);
	CHECK_INT(task_of(db, s, &t, &e), 0);
	CHECK_INT(row_delete(db, n, &e), 0);
	CHECK_INT(row_child(db, a, true, &r, &e), 0);
	CHECK_INT(row_delete(db, a, &e), 0);
	end();
}

/* ---- columns */

static void columns_hold_null_numbers_and_text(void)
{
	struct val v = { .kind = VAL_INT, .i = 4 }, got = { 0 };

	begin();
	int64_t f = make(FLAVOR, 1, 0, "f", "DRAFT", "flavor");
	CHECK_INT(column_get(db, "flavor", "vcpus", f, &got, &e), 0);
	CHECK_INT(got.kind, VAL_NULL);
	CHECK_INT(column_set(db, "flavor", "vcpus", f, &v, &e), 0);
	CHECK_INT(column_get(db, "flavor", "vcpus", f, &got, &e), 0);
	CHECK(val_equal(&v, &got));
	v.i = 0;
	CHECK_INT(column_set(db, "flavor", "vcpus", f, &v, &e), -EINVAL);
	v = (struct val){ .kind = VAL_TEXT, .s = (char *)"hello" };
	CHECK_INT(column_set(db, "object", "description", f, &v, &e), 0);
	CHECK_INT(column_get(db, "object", "description", f, &got, &e), 0);
	CHECK(val_equal(&v, &got));
	val_free(&got);
	CHECK_INT(column_get(db, "flavor", "vcpus", 4711, &got, &e), -ENOENT);
	end();
}

/* ---- tasks */

static void an_object_has_one_task(void)
{
	struct task_row t = { .verb = "create", .request = "req-1", .who = "root", .was = "DRAFT", .args = (char *)"a=1" }, got = { 0 };
	int64_t running;

	begin();
	int64_t a = make_tenant("a"), b = make(KEY, a, a, "b", "ACTIVE", "key");
	t.object = a;
	CHECK_INT(task_insert(db, &t, &e), 0);
	int64_t first = t.id;
	snprintf(t.verb, sizeof t.verb, "purge");
	CHECK_INT(task_insert(db, &t, &e), 0);	/* takes the place */
	CHECK(t.id > first);
	t.object = b;
	CHECK_INT(task_insert(db, &t, &e), 0);
	CHECK_INT(task_next(db, 0, &got, &e), 1);
	CHECK_INT(got.object, a);
	CHECK_STR(got.verb, "purge");
	CHECK_STR(got.args, "a=1");
	CHECK_STR(got.was, "DRAFT");
	task_row_free(&got);
	CHECK_INT(task_count(db, 1, TENANT, 0, 0, &running, &e), 0);
	CHECK_INT(running, 1);
	CHECK_INT(task_count(db, 0, 0, a, 0, &running, &e), 0);
	CHECK_INT(running, 2);
	CHECK_INT(task_count(db, 1, 0, 0, 0, &running, &e), 0);
	CHECK_INT(running, 2);
	CHECK_INT(task_any(db, 1, TENANT, 0, 0, &running, &e), 0);
	CHECK_INT(running, 1);
	CHECK_INT(task_any(db, 0, 0, a, 0, &running, &e), 0);
	CHECK_INT(running, 1);
	CHECK_INT(task_any(db, a, KEY, 0, 0, &running, &e), 0);
	CHECK_INT(running, 1);
	CHECK_INT(task_any(db, a, SERVER, 0, 0, &running, &e), 0);
	CHECK_INT(running, 0);
	CHECK_INT(task_delete(db, t.id, &e), 0);
	CHECK_INT(task_count(db, 0, 0, 0, b, &running, &e), 0);
	CHECK_INT(running, 0);
	end();
}

static int count_history(void *arg, int64_t at, const char *verb, const char *result, const char *request, const char *who,
			 int64_t duration_us, const char *detail, const char *steps)
{
	int *n = arg;

	n[0]++;
	n[1] += *steps != 0;
	return 0;
}

static void history_is_bounded(void)
{
	int n[2] = { 0 }, other[2] = { 0 };

	begin();
	int64_t a = make_tenant("a"), b = make_tenant("b");
	CHECK_INT(history_add_task(db, b, "start", "ok", "req", "root", 0, "", "x\n", &e), 0);
	for (int i = 0; i < 1500; i++)
		CHECK_INT(history_add_task(db, a, "start", "ok", "req", "root", 0, "", i % 2 ? "boot\n" : "", &e), 0);
	CHECK_INT(history_list(db, a, count_history, n, &e), 0);
	CHECK_INT(n[0], 1000);
	CHECK_INT(n[1], 50);
	CHECK_INT(history_list(db, b, count_history, other, &e), 0);
	CHECK_INT(other[1], 1);
	end();
}

/* ---- what is used */

static int64_t usage(int64_t tenant, const char *name)
{
	int64_t n = -1;

	CHECK_INT(usage_get(db, tenant, name, &n, &e), 0);
	return n;
}

static int64_t sum(int64_t tenant, const char *what)
{
	char sql[200];

	snprintf(sql, sizeof sql, "SELECT coalesce(sum(%s), 0) FROM object o JOIN server s ON s.id = o.id WHERE o.tenant = $1", what);
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);
	stmt_int(&s, 1, tenant);
	return stmt_step(&s, &e) > 0 ? stmt_col_int(&s, 0) : -1;
}

static void set_size(int64_t server, int64_t vcpus, int64_t ram)
{
	struct val c = { .kind = VAL_INT, .i = vcpus }, r = { .kind = VAL_INT, .i = ram };

	CHECK_INT(column_set(db, "server", "vcpus", server, &c, &e), 0);
	CHECK_INT(column_set(db, "server", "ram", server, &r, &e), 0);
}

static void a_draft_uses_nothing_and_a_thing_counts_until_its_row_is_gone(void)
{
	begin();
	int64_t a = make_tenant("a"), s = make(SERVER, a, a, "s", "DRAFT", "server");
	CHECK_INT(usage(a, "instances"), 0);
	set_size(s, 2, 512);
	CHECK_INT(row_set_status(db, s, "BUILD", &e), 0);
	CHECK_INT(usage(a, "instances"), 1);
	CHECK_INT(usage(a, "cores"), 2);
	CHECK_INT(usage(a, "ram"), 512);
	CHECK_INT(row_set_status(db, s, "ACTIVE", &e), 0);
	CHECK_INT(usage(a, "instances"), 1);
	CHECK_INT(row_set_deleted(db, s, &e), 0);
	CHECK_INT(usage(a, "instances"), 1);
	CHECK_INT(row_delete(db, s, &e), 0);
	CHECK_INT(usage(a, "instances"), 0);
	CHECK_INT(usage(a, "cores"), 0);
	CHECK_INT(usage(a, "ram"), 0);
	end();
}

static void usage_is_exact_whatever_happens(void)
{
	enum { N = 40 };
	int64_t ids[N] = { 0 }, tenants[2];
	bool draft[N] = { 0 };

	begin();
	tenants[0] = make_tenant("a");
	tenants[1] = make_tenant("b");
	srandom(3);
	for (int round = 0; round < 3000 && !check_bad; round++) {
		int i = (int)(random() % N);
		int64_t t = tenants[i % 2];
		char name[16];

		if (round % 7 == 0)
			CHECK_INT(tx_mark(&tx, &e), 0);
		snprintf(name, sizeof name, "s%d", i);
		bool was_draft = draft[i];
		int64_t was = ids[i];
		if (!ids[i]) {
			draft[i] = random() % 2;
			ids[i] = make(SERVER, t, t, name, draft[i] ? "DRAFT" : "BUILD", "server");
			if (!draft[i])
				set_size(ids[i], 1 + random() % 4, 64 * (1 + random() % 9));
		} else if (draft[i] && random() % 3) {
			set_size(ids[i], 1 + random() % 4, 64 * (1 + random() % 9));
			CHECK_INT(row_set_status(db, ids[i], "BUILD", &e), 0);
			draft[i] = false;
		} else if (!draft[i] && random() % 2) {
			set_size(ids[i], 1 + random() % 4, 64 * (1 + random() % 9));	/* resize */
		} else {
			CHECK_INT(row_delete(db, ids[i], &e), 0);
			ids[i] = 0;
		}
		if (round % 7 == 0 && random() % 2) {
			tx_undo(&tx);
			ids[i] = was;
			draft[i] = was_draft;
		} else if (round % 7 == 0) {
			CHECK_INT(tx_keep(&tx, &e), 0);
		}
		for (int k = 0; k < 2; k++) {
			CHECK_INT(usage(tenants[k], "instances"), sum(tenants[k], "o.status <> 'DRAFT'"));
			CHECK_INT(usage(tenants[k], "cores"), sum(tenants[k], "s.vcpus"));
			CHECK_INT(usage(tenants[k], "ram"), sum(tenants[k], "s.ram"));
		}
	}
	end();
}

static void a_limit_has_a_default_and_can_be_set(void)
{
	int64_t v;

	begin();
	int64_t a = make_tenant("a");
	CHECK_INT(quota_get(db, a, "cores", 20, &v, &e), 0);
	CHECK_INT(v, 20);
	CHECK_INT(quota_set(db, a, "cores", -1, &e), 0);
	CHECK_INT(quota_set(db, a, "cores", 7, &e), 0);
	CHECK_INT(quota_get(db, a, "cores", 20, &v, &e), 0);
	CHECK_INT(v, 7);
	CHECK_INT(quota_set(db, a, "cores", -2, &e), -EINVAL);
	end();
}

/* ---- events: two kinds of growing files, of everything and of a tenant */

static void check_events(int64_t tenant, int gen, const char *want, size_t len)
{
	int64_t size;

	CHECK_INT(event_size(db, tenant, gen, &size, &e), 0);
	CHECK_INT(size, (int64_t)len);
	for (int i = 0; i < 300; i++) {
		size_t off = len ? (size_t)random() % (len + 3) : 0, n = 1 + (size_t)random() % 400;
		char buf[400];
		int64_t got = event_read(db, tenant, gen, (int64_t)off, buf, n, &e);
		size_t there = off >= len ? 0 : len - off < n ? len - off : n;

		if (got != (int64_t)there || memcmp(buf, want + (off < len ? off : 0), there) != 0) {
			CHECK_FAIL("events of %ld: %zu bytes at %zu are %ld others", (long)tenant, n, off, (long)got);
			return;
		}
	}
}

static void events_read_as_one_file_at_any_offset(void)
{
	char all[40000] = "", mine[40000] = "";
	size_t n_all = 0, n_mine = 0;

	begin();
	check_events(0, 0, "", 0);
	int64_t a = make_tenant("a"), b = make_tenant("b");
	srandom(4);
	for (int i = 0; i < 300; i++) {
		char line[128];
		int64_t t = random() % 2 ? a : random() % 2 ? b : 0;
		int len = snprintf(line, sizeof line, "%d %.*s\n", i, (int)(random() % 90), "gr\xc3\xbc\xc3\x9f ...........................................................................................");

		CHECK_INT(event_add(db, t, line, &e), 0);
		memcpy(all + n_all, line, (size_t)len);
		n_all += (size_t)len;
		if (t == a) {
			memcpy(mine + n_mine, line, (size_t)len);
			n_mine += (size_t)len;
		}
	}
	check_events(0, 0, all, n_all);
	check_events(a, 0, mine, n_mine);
	check_events(a, 1, "", 0);
	check_events(4711, 0, "", 0);
	end();
}

static void events_rotate_and_the_file_before_is_kept(void)
{
	enum { LEN = 60000, FIT = (16 << 20) / LEN };
	static char line[LEN + 1];
	int64_t size;
	char c;

	begin();
	int64_t a = make_tenant("a");
	memset(line, 'x', LEN);
	line[LEN - 1] = '\n';
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < FIT; i++) {
			line[0] = (char)('a' + round);
			CHECK_INT(event_add(db, i % 2 ? a : 0, line, &e), 0);
		}
		CHECK_INT(event_size(db, 0, 0, &size, &e), 0);
		CHECK_INT(size, (int64_t)FIT * LEN);
		CHECK_INT(event_size(db, a, 0, &size, &e), 0);
		CHECK_INT(size, (int64_t)(FIT / 2) * LEN);
		CHECK_INT(event_size(db, 0, 1, &size, &e), 0);
		CHECK_INT(size, round ? (int64_t)FIT * LEN : 0);
		CHECK_INT(event_read(db, 0, 0, 0, &c, 1, &e), 1);
		CHECK_INT(c, 'a' + round);
		if (round) {
			CHECK_INT(event_read(db, 0, 1, 0, &c, 1, &e), 1);
			CHECK_INT(c, 'a' + round - 1);
		}
		CHECK_INT(event_read(db, 0, 2, 0, &c, 1, &e), 0);
	}
	end();
}

int main(void)
{
	char cmd[100];

	if (!mkdtemp(dir))
		return 2;
	RUN(a_row_comes_back_as_it_was_made);
	RUN(a_name_is_unique_in_its_collection_only);
	RUN(a_deleted_row_is_found_by_id_not_by_name);
	RUN(a_change_of_status_moves_the_time);
	RUN(a_list_goes_on_after_an_id_and_stops_when_told);
	RUN(a_collection_knows_when_it_changed);
	RUN(a_file_knows_when_it_was_touched);
	RUN(what_hangs_on_a_row_goes_with_it);
	RUN(columns_hold_null_numbers_and_text);
	RUN(an_object_has_one_task);
	RUN(history_is_bounded);
	RUN(a_draft_uses_nothing_and_a_thing_counts_until_its_row_is_gone);
	RUN(usage_is_exact_whatever_happens);
	RUN(a_limit_has_a_default_and_can_be_set);
	RUN(events_read_as_one_file_at_any_offset);
	RUN(events_rotate_and_the_file_before_is_kept);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
