/* The names of an object store, over a real index; contents, open bodies and the transaction are simple ones made here. */
#include "../../backends/object/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>

#include "check.h"

extern int64_t names_hash_mask;

#define MAX_ROOTS 400000
#define MAX_OPEN 1000

struct objects {
	struct db *db;
	struct names *names;
	pthread_mutex_t lock;
	int64_t next;
	bool begun, marked;
	int refs[MAX_ROOTS];		/* of contents, which are numbers */
	int64_t open[MAX_OPEN];
	bool renamed[MAX_OPEN];
	int fail_drop;			/* the nth from now fails */
	int gone;
	char gone_name[256];
	bool no_room;
};

/* ---- what the other files of the store do; theirs are taken when they are linked */
#define FAKE __attribute__((weak))

FAKE struct db *index_begin(struct objects *os, struct err *err)
{
	pthread_mutex_lock(&os->lock);
	if (db_idle(os->db))
		db_script(os->db, "BEGIN", err);
	os->begun = true;
	return os->db;
}

FAKE struct db *index_db(struct objects *os)
{
	CHECK(os->begun);
	return os->db;
}

FAKE void index_end(struct objects *os, bool changed)
{
	CHECK(!os->marked);
	os->begun = false;
	pthread_mutex_unlock(&os->lock);
}

FAKE void body_settled(struct objects *os, int64_t id)
{
}

bool chunk_is_whole(struct objects *os, int64_t id, uint64_t size);
FAKE bool chunk_is_whole(struct objects *os, int64_t id, uint64_t size)
{
	return false;
}

static int script(struct objects *os, const char *sql, struct err *err)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, sql);

	return stmt_run(&s, err);
}

FAKE int index_mark(struct objects *os, struct err *err)
{
	CHECK(!os->marked);
	os->marked = true;
	return script(os, "SAVEPOINT m", err);
}

FAKE int index_keep(struct objects *os, struct err *err)
{
	os->marked = false;
	return script(os, "RELEASE m", err);
}

FAKE void index_undo(struct objects *os)
{
	struct err err;

	script(os, "ROLLBACK TO m", &err);
	script(os, "RELEASE m", &err);
	os->marked = false;
}

FAKE int64_t index_id(struct objects *os)
{
	return os->next++;
}

FAKE int index_room(struct objects *os, struct err *err)
{
	return os->no_room ? err_set(err, ENOSPC, "the disk is full") : 0;
}

FAKE int index_sync(struct objects *os, struct err *err)
{
	return 0;
}

FAKE struct names *names_of(struct objects *os)
{
	return os->names;
}

FAKE void objects_gone(struct objects *os, int64_t space, int64_t dir, const char *name, int64_t id)
{
	CHECK(!os->begun);
	os->gone++;
	snprintf(os->gone_name, sizeof os->gone_name, "%s", name);
}

static int open_slot(struct objects *os, int64_t id)
{
	for (int i = 0; i < MAX_OPEN; i++)
		if (os->open[i] == id)
			return i;
	return -1;
}

FAKE void body_overlay(struct objects *os, struct entry *n)
{
}

FAKE bool body_removed(struct objects *os, int64_t id)
{
	return os->open[0] && open_slot(os, id) >= 0;
}

FAKE void body_renamed(struct objects *os, int64_t id)
{
	int i = open_slot(os, id);

	if (i >= 0)
		os->renamed[i] = true;
}

FAKE void body_times(struct objects *os, int64_t id, int64_t mtime)
{
}

FAKE bool body_is(struct objects *os, int64_t id)
{
	return open_slot(os, id) >= 0;
}

FAKE int content_drop(struct objects *os, int64_t root, struct err *err)
{
	if (os->fail_drop && --os->fail_drop == 0)
		return err_set(err, EIO, "the disk fails");
	if (os->refs[root] <= 0)
		CHECK_FAIL("content %" PRId64 " is dropped, and nothing refers to it", root);
	os->refs[root]--;
	return 0;
}

FAKE int content_share(struct objects *os, int64_t root, struct err *err)
{
	os->refs[root]++;
	return 0;
}

/* ---- a store */

static char dir[] = "/tmp/test_names.XXXXXX";
static struct err e;
#define SPACE 7
#define TENANT 3

static struct objects *store(void)
{
	struct objects *os = calloc(1, sizeof *os);
	static int n;
	char path[100];

	e = (struct err){ 0 };
	names_hash_mask = -1;
	snprintf(path, sizeof path, "%s/%d.db", dir, n++);
	os->next = 1;
	pthread_mutex_init(&os->lock, NULL);
	os->names = names_new();
	CHECK_INT(db_open_alone(path, index_migrations, n_index_migrations, &os->db, &e), 0);
	CHECK_INT(space_make(os, SPACE, TENANT, &e), 0);
	return os;
}

static void done(struct objects *os)
{
	if (!db_idle(os->db))
		db_script(os->db, "COMMIT", &e);
	db_close_alone(os->db);
	names_free(os->names);
	free(os);
}
AUTO_FN(struct objects *, done);

static int64_t ask(struct objects *os, const char *sql)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, sql);
	struct err err = { 0 };

	if (stmt_step(&s, &err) > 0)
		return stmt_col_int(&s, 0);
	if (err.code)
		CHECK_FAIL("%s: %s", sql, err.msg);
	return -1;
}

static void tell(struct objects *os, const char *sql)
{
	struct err err = { 0 };

	index_begin(os, &err);
	if (db_script(os->db, sql, &err) < 0)
		CHECK_FAIL("%s: %s", sql, err.msg);
	names_undone(os);
	index_end(os, true);
}

static int64_t top(struct objects *os)
{
	struct space s = { 0 };

	CHECK_INT(space_get(os, SPACE, &s, &e), 0);
	return s.root;
}

static int make(struct objects *os, int64_t in, const char *name, enum entry_type type, int64_t *id)
{
	struct entry n;

	e = (struct err){ 0 };
	int rc = name_make(os, in, name, type, 0644, 1, 2, type == ENTRY_LINK ? "some/where" : NULL, &n, &e);
	if (rc == 0 && id)
		*id = n.id;
	return rc;
}

static int64_t made(struct objects *os, int64_t in, const char *name, enum entry_type type)
{
	int64_t id = 0;

	if (make(os, in, name, type, &id) < 0)
		CHECK_FAIL("make %s: %s", name, e.msg);
	return id;
}

static int64_t new_root(struct objects *os)
{
	int64_t root = os->next++;

	os->refs[root] = 1;
	return root;
}

static void cut(struct objects *os, int64_t id, uint64_t size, int64_t root)
{
	index_begin(os, &e);
	if (name_cut(os, id, size, size, 1000000000, root, NULL, NULL, &e) < 0)
		CHECK_FAIL("cut %" PRId64 ": %s", id, e.msg);
	index_end(os, true);
}

static int64_t object(struct objects *os, int64_t in, const char *name, uint64_t size)
{
	int64_t id = made(os, in, name, ENTRY_FILE);

	cut(os, id, size, new_root(os));
	return id;
}

static int64_t lookup(struct objects *os, int64_t in, const char *name)
{
	struct entry n = { 0 };

	e = (struct err){ 0 };
	int rc = name_lookup(os, in, name, &n, &e);
	return rc < 0 ? rc : n.id;
}

static int count_one(void *arg, const struct entry *n, int64_t offset)
{
	++*(int64_t *)arg;
	return 0;
}

static int64_t listed(struct objects *os, int64_t in)
{
	int64_t n = 0;

	CHECK_INT(name_list(os, in, 0, count_one, &n, &e), 0);
	return n;
}

static void say_fault(void *arg, const char *thing, const char *wrong, const char *did)
{
	snprintf(arg, 1000, "%s: %s (%s)", thing, wrong, did ? did : "-");
}

/* Memory, tables and references agree. */
static void agrees(struct objects *os)
{
	char said[1000] = "";
	static int counted[MAX_ROOTS];
	struct space s = { 0 };
	int64_t bytes = 0, count = 0;

	if (names_check(os, false, say_fault, said, &e) != 0)
		CHECK_FAIL("%s", said);
	CHECK_INT(space_get(os, SPACE, &s, &e), 0);	/* read anew */
	CHECK_INT(s.bytes, ask(os, "SELECT COALESCE(sum(size),0) FROM entry WHERE type=1 AND parent>0 AND space=7"));
	CHECK_INT(s.count, ask(os, "SELECT count(*) FROM entry WHERE type=1 AND parent>0 AND space=7"));
	CHECK_INT(s.versions, ask(os, "SELECT count(*) FROM version WHERE space=7"));
	CHECK_INT(s.version_bytes, ask(os, "SELECT COALESCE(sum(size),0) FROM version WHERE space=7"));
	CHECK_INT(space_tenant_used(os, TENANT, &bytes, &count, &e), 0);
	CHECK_INT(bytes, ask(os, "SELECT COALESCE(sum(bytes),0) FROM space WHERE tenant=3"));
	CHECK_INT(count, ask(os, "SELECT COALESCE(sum(count),0) FROM space WHERE tenant=3"));
	memset(counted, 0, sizeof counted);
	AUTO(stmt_done) struct stmt q = stmt_prepare(os->db, "SELECT root FROM entry UNION ALL SELECT root FROM version");
	while (stmt_step(&q, &e) > 0)
		counted[stmt_col_int(&q, 0)]++;
	for (int i = 1; i < MAX_ROOTS; i++)
		if (counted[i] != os->refs[i])
			CHECK_FAIL("content %d has %d references, and %d are there", i, os->refs[i], counted[i]);
}

/* ---- names */

static void what_is_made_is_found(void)
{
	AUTO(done) struct objects *os = store();
	struct entry n = { 0 };
	char target[100], path[100];
	int64_t t = top(os), d = made(os, t, "photos", ENTRY_DIR), f = object(os, d, "a.jpg", 10), l = made(os, d, "link", ENTRY_LINK), space = 0;

	CHECK_INT(lookup(os, t, "photos"), d);
	CHECK_INT(name_lookup(os, d, "a.jpg", &n, &e), 0);
	CHECK_INT(n.id, f);
	CHECK_INT(n.size, 10);
	CHECK_INT(n.parent, d);
	CHECK_INT(n.space, SPACE);
	CHECK_INT(n.mode, 0644);
	CHECK_INT(n.uid, 1);
	CHECK_INT(n.gid, 2);
	CHECK_INT(n.mtime, 1000000000);
	CHECK_INT(n.uncut, false);
	CHECK_STR(n.name, "a.jpg");
	CHECK_INT(name_get(os, l, &n, &e), 0);
	CHECK_INT(n.size, 10);
	CHECK_INT(name_readlink(os, l, target, sizeof target, &e), 0);
	CHECK_STR(target, "some/where");
	CHECK_INT(name_readlink(os, f, target, sizeof target, &e), -EINVAL);
	CHECK_INT(name_path(os, f, &space, path, sizeof path, &e), 0);
	CHECK_STR(path, "photos/a.jpg");
	CHECK_INT(space, SPACE);
	CHECK_INT(name_path(os, t, &space, path, sizeof path, &e), 0);
	CHECK_STR(path, "");
	CHECK_INT(make(os, d, "a.jpg", ENTRY_DIR, NULL), -EEXIST);
	CHECK_INT(make(os, f, "x", ENTRY_FILE, NULL), -ENOTDIR);
	CHECK_INT(make(os, 4711, "x", ENTRY_FILE, NULL), -ENOENT);
	CHECK_INT(lookup(os, t, "a.jpg"), -ENOENT);
	CHECK_INT(listed(os, d), 2);
	agrees(os);
}

static void names_that_cannot_be_are_refused(void)
{
	AUTO(done) struct objects *os = store();
	char name[300];
	int64_t d = top(os);

	CHECK_INT(make(os, d, "", ENTRY_FILE, NULL), -EINVAL);
	CHECK_INT(make(os, d, ".", ENTRY_FILE, NULL), -EINVAL);
	CHECK_INT(make(os, d, "..", ENTRY_FILE, NULL), -EINVAL);
	CHECK_INT(make(os, d, "a/b", ENTRY_FILE, NULL), -EINVAL);
	CHECK_INT(make(os, d, "\xff", ENTRY_FILE, NULL), -EILSEQ);
	CHECK_INT(make(os, d, "a\xc3", ENTRY_FILE, NULL), -EILSEQ);
	CHECK_INT(make(os, d, "\xc3\xa4", ENTRY_DIR, NULL), 0);
	memset(name, 'x', sizeof name);
	name[256] = '\0';
	CHECK_INT(make(os, d, name, ENTRY_FILE, NULL), -ENAMETOOLONG);
	name[255] = '\0';
	for (int i = 0; i < 4; i++)
		d = made(os, d, name, ENTRY_DIR);	/* 4 * 256 - 1 = 1023 bytes */
	CHECK_INT(make(os, d, "y", ENTRY_FILE, NULL), -ENAMETOOLONG);
	CHECK(strstr(e.msg, "1025 bytes") != NULL);
	CHECK_INT(lookup(os, d, "y"), -ENOENT);
	agrees(os);
}

static void a_directory_moved_counts_its_deepest_path(void)
{
	AUTO(done) struct objects *os = store();
	char name[256];
	int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR), in = d;

	memset(name, 'x', 255);
	name[255] = '\0';
	for (int i = 0; i < 3; i++)
		in = made(os, in, name, ENTRY_DIR);	/* 1 + 768 */
	name[253] = '\0';
	made(os, in, name, ENTRY_DIR);			/* 1023 */
	CHECK_INT(name_rename(os, t, "d", t, "dd", 0, &e), 0);
	CHECK_INT(name_rename(os, t, "dd", t, "ddd", 0, &e), -ENAMETOOLONG);
	CHECK_INT(name_rename(os, t, "dd", t, "d", 0, &e), 0);
	CHECK_INT(lookup(os, t, "d"), d);
	agrees(os);
}

static void names_of_one_hash_live_together(void)
{
	AUTO(done) struct objects *os = store();
	int64_t d = top(os), ids[16];
	char name[20];

	names_hash_mask = 0;
	for (int i = 0; i < 16; i++) {
		snprintf(name, sizeof name, "n%d", i);
		ids[i] = made(os, d, name, ENTRY_FILE);
		cut(os, ids[i], 1, new_root(os));
	}
	CHECK_INT(make(os, d, "one more", ENTRY_FILE, NULL), -ENOSPC);
	CHECK_INT(listed(os, d), 16);
	CHECK_INT(name_remove(os, d, "n3", false, &e), 0);
	CHECK_INT(lookup(os, d, "n3"), -ENOENT);
	CHECK_INT(lookup(os, d, "n15"), ids[15]);
	CHECK_INT(name_rename(os, d, "n15", d, "three", 0, &e), 0);	/* in the gap */
	CHECK_INT(lookup(os, d, "three"), ids[15]);
	CHECK_INT(name_rename(os, d, "three", d, "n0", RENAME_EXCHANGE, &e), 0);
	CHECK_INT(lookup(os, d, "three"), ids[0]);
	CHECK_INT(lookup(os, d, "n0"), ids[15]);
	CHECK_INT(name_rename(os, d, "n0", d, "n5", 0, &e), 0);
	CHECK_INT(lookup(os, d, "n5"), ids[15]);
	CHECK_INT(listed(os, d), 14);
	agrees(os);
	names_hash_mask = -1;
}

static void what_is_not_empty_or_of_the_other_kind_is_not_removed(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR);

	object(os, d, "f", 5);
	CHECK_INT(name_remove(os, t, "d", true, &e), -ENOTEMPTY);
	CHECK_INT(name_remove(os, t, "d", false, &e), -EISDIR);
	CHECK_INT(name_remove(os, d, "f", true, &e), -ENOTDIR);
	CHECK_INT(name_remove(os, d, "g", false, &e), -ENOENT);
	CHECK_INT(name_remove(os, d, "f", false, &e), 0);
	CHECK_INT(name_remove(os, t, "d", true, &e), 0);
	CHECK_INT(make(os, d, "x", ENTRY_FILE, NULL), -ENOENT);		/* nobody remembers it */
	CHECK_INT(ask(os, "SELECT count(*) FROM entry"), 1);
	agrees(os);
}

static void a_removed_object_stays_while_it_is_open(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), f = object(os, t, "f", 5);
	struct entry n = { 0 };

	os->open[0] = f;
	CHECK_INT(name_remove(os, t, "f", false, &e), 0);
	CHECK_INT(lookup(os, t, "f"), -ENOENT);
	CHECK_INT(name_get(os, f, &n, &e), 0);
	CHECK_INT(n.parent, 0);
	CHECK_INT(make(os, t, "f", ENTRY_FILE, NULL), 0);
	cut(os, f, 50, new_root(os));	/* who has it open syncs */
	CHECK_INT(name_get(os, f, &n, &e), 0);
	CHECK_INT(n.size, 50);
	CHECK_INT(ask(os, "SELECT bytes FROM space WHERE id=7"), 0);
	index_begin(os, &e);
	CHECK_INT(name_forget(os, f, &e), 0);
	index_end(os, true);
	CHECK_INT(name_get(os, f, &n, &e), -ENOENT);
	cut(os, f, 60, new_root(os));	/* comes too late: dropped */
	os->open[0] = lookup(os, t, "f");
	agrees(os);
}

static void what_a_crash_left_is_swept(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), f = object(os, t, "f", 5);

	object(os, t, "kept", 5);
	made(os, t, "never cut", ENTRY_FILE);
	os->open[0] = f;
	CHECK_INT(name_remove(os, t, "f", false, &e), 0);
	os->open[0] = 0;
	index_begin(os, &e);
	CHECK_INT(names_flush(os, &e), 0);	/* as a commit does */
	CHECK_INT(names_sweep(os, &e), 0);
	index_end(os, true);
	CHECK_INT(listed(os, t), 1);
	CHECK_INT(ask(os, "SELECT count(*) FROM entry WHERE type = 1"), 1);
	agrees(os);
}

/* ---- renaming */

static void renames_do_as_POSIX_says(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), a = object(os, t, "a", 1), b = object(os, t, "b", 2), d = made(os, t, "d", ENTRY_DIR), s = made(os, d, "s", ENTRY_DIR);
	int64_t other = 0;
	struct space sp = { 0 };

	CHECK_INT(name_rename(os, t, "no", t, "x", 0, &e), -ENOENT);
	CHECK_INT(name_rename(os, t, "a", t, "b", RENAME_NOREPLACE, &e), -EEXIST);
	CHECK_INT(name_rename(os, t, "a", t, "no", RENAME_EXCHANGE, &e), -ENOENT);
	CHECK_INT(name_rename(os, t, "a", t, "b", RENAME_WHITEOUT, &e), -EINVAL);
	CHECK_INT(name_rename(os, t, "a", t, "d", 0, &e), -EISDIR);
	CHECK_INT(name_rename(os, t, "d", t, "a", 0, &e), -ENOTDIR);
	CHECK_INT(name_rename(os, t, "d", d, "x", 0, &e), -EINVAL);
	CHECK_INT(name_rename(os, t, "d", s, "x", 0, &e), -EINVAL);
	CHECK_INT(name_rename(os, t, "d", s, "x", RENAME_EXCHANGE, &e), -ENOENT);
	CHECK_INT(name_rename(os, d, "s", t, "d", RENAME_EXCHANGE, &e), -EINVAL);
	CHECK_INT(name_rename(os, t, "a", t, "a", 0, &e), 0);
	CHECK_INT(name_rename(os, t, "a", t, "\xff", 0, &e), -EILSEQ);
	int64_t full = made(os, t, "full", ENTRY_DIR);
	made(os, full, "x", ENTRY_DIR);
	CHECK_INT(name_rename(os, t, "d", t, "full", 0, &e), -ENOTEMPTY);
	CHECK_INT(name_rename(os, d, "s", full, "x", 0, &e), 0);	/* over an empty one */
	CHECK_INT(lookup(os, full, "x"), s);
	CHECK_INT(listed(os, d), 0);
	CHECK_INT(name_rename(os, t, "a", full, "b", RENAME_NOREPLACE, &e), 0);
	CHECK_INT(lookup(os, full, "b"), a);
	CHECK_INT(name_rename(os, full, "b", t, "b", 0, &e), 0);
	CHECK_INT(lookup(os, t, "b"), a);
	CHECK_INT(name_get(os, b, &(struct entry){ 0 }, &e), -ENOENT);
	CHECK_INT(name_rename(os, t, "b", t, "d", RENAME_EXCHANGE, &e), 0);
	CHECK_INT(lookup(os, t, "b"), d);
	CHECK_INT(lookup(os, t, "d"), a);
	CHECK_INT(space_make(os, 8, TENANT, &e), 0);
	CHECK_INT(space_get(os, 8, &sp, &e), 0);
	other = sp.root;
	CHECK_INT(name_rename(os, t, "d", other, "d", 0, &e), -EXDEV);
	agrees(os);
}

static void what_takes_the_name_of_another_is_cut_first(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os);

	object(os, t, "f", 5);
	os->open[0] = made(os, t, "f.new", ENTRY_FILE);
	CHECK_INT(name_rename(os, t, "f.new", t, "f", 0, &e), 0);
	CHECK_INT(os->renamed[0], true);
	CHECK_INT(lookup(os, t, "f"), os->open[0]);
	agrees(os);
}

static void what_fails_in_the_middle_changes_nothing(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), a = object(os, t, "a", 1), b = object(os, t, "b", 2);

	os->fail_drop = 1;
	CHECK_INT(name_rename(os, t, "a", t, "b", 0, &e), -EIO);
	CHECK_INT(lookup(os, t, "a"), a);
	CHECK_INT(lookup(os, t, "b"), b);
	os->fail_drop = 1;
	CHECK_INT(name_remove(os, t, "b", false, &e), -EIO);
	CHECK_INT(lookup(os, t, "b"), b);
	agrees(os);
}

/* ---- times */

static void a_directorys_times_follow_its_entries(void)
{
	AUTO(done) struct objects *os = store();
	struct name_set old = { .mtime_set = true, .mtime = 5 }, mode = { .mode_set = true, .mode = 0100700 };
	int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR);
	struct entry n = { 0 };

	CHECK_INT(name_set(os, d, &old, &e), 0);
	CHECK_INT(name_get(os, d, &n, &e), 0);
	CHECK_INT(n.mtime, 5);
	CHECK(n.ctime > 5);
	object(os, d, "f", 1);
	CHECK_INT(name_lookup(os, t, "d", &n, &e), 0);
	int64_t m = n.mtime;
	CHECK(m > 5);
	CHECK_INT(name_set(os, d, &mode, &e), 0);	/* writes what was pending, too */
	CHECK_INT(ask(os, "SELECT mtime FROM entry WHERE name='d'"), m);
	CHECK_INT(ask(os, "SELECT mode FROM entry WHERE name='d'"), 0700);
	CHECK_INT(name_remove(os, d, "f", false, &e), 0);
	CHECK_INT(name_get(os, d, &n, &e), 0);
	CHECK(n.mtime > m);
	index_begin(os, &e);
	CHECK_INT(names_flush(os, &e), 0);
	index_end(os, true);
	CHECK_INT(ask(os, "SELECT mtime FROM entry WHERE name='d'"), n.mtime);
	CHECK_INT(name_set(os, 4711, &mode, &e), -ENOENT);
}

/* More directories than are kept: none is forgotten. */
static void times_of_many_directories_are_kept(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), before = 0;
	char name[20];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "d%d", i);
		made(os, t, name, ENTRY_DIR);
	}
	tell(os, "UPDATE entry SET mtime=1");
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "d%d", i);
		made(os, lookup(os, t, name), "x", ENTRY_LINK);
	}
	index_begin(os, &e);
	CHECK_INT(names_flush(os, &e), 0);
	index_end(os, true);
	before = ask(os, "SELECT count(*) FROM entry WHERE mtime=1");
	CHECK_INT(before, 0);
}

/* ---- expiry */

static int set_attr(struct objects *os, int64_t id, const char *name, const char *value, int flags)
{
	e = (struct err){ 0 };
	return attr_set(os, id, name, value, strlen(value), flags, &e);
}

static void what_expired_is_gone_at_once_and_removed_later(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR), f = object(os, d, "f", 5), later = object(os, d, "later", 5);
	char at[30];
	int64_t now = time(NULL);

	snprintf(at, sizeof at, "%" PRId64, now + 1000);
	CHECK_INT(set_attr(os, f, "user.delete_at", at, 0), 0);
	CHECK_INT(set_attr(os, later, "user.delete_after", "2000", 0), 0);
	CHECK_INT(set_attr(os, d, "user.delete_at", at, 0), -EINVAL);
	CHECK_INT(set_attr(os, f, "user.delete_at", "yesterday", 0), -EINVAL);
	CHECK_INT(set_attr(os, f, "user.delete_at", "5", 0), -EINVAL);
	CHECK(strstr(e.msg, "past") != NULL);
	CHECK_INT(lookup(os, d, "f"), f);
	CHECK_INT(names_expire(os, &e), now + 1000);
	tell(os, "UPDATE entry SET delete_at=100 WHERE name='f'");
	CHECK_INT(lookup(os, d, "f"), -ENOENT);
	CHECK_INT(listed(os, d), 1);
	int64_t next = names_expire(os, &e);
	CHECK(next >= now + 2000 && next <= now + 2010);
	CHECK_INT(os->gone, 1);
	CHECK_STR(os->gone_name, "f");
	CHECK_INT(ask(os, "SELECT count(*) FROM entry WHERE name='f'"), 0);
	agrees(os);
	/* its name is free, its directory empty, at once */
	tell(os, "UPDATE entry SET delete_at=100 WHERE name='later'");
	CHECK_INT(make(os, d, "later", ENTRY_DIR, NULL), 0);
	CHECK_INT(name_remove(os, d, "later", true, &e), 0);
	object(os, d, "last", 5);
	tell(os, "UPDATE entry SET delete_at=100 WHERE name='last'");
	CHECK_INT(name_remove(os, d, "last", false, &e), -ENOENT);
	object(os, d, "last", 5);
	tell(os, "UPDATE entry SET delete_at=100 WHERE name='last'");
	CHECK_INT(name_remove(os, t, "d", true, &e), 0);
	CHECK_INT(names_expire(os, &e), 0);
	agrees(os);
}

/* ---- attributes */

static void attributes_are_kept_and_listed(void)
{
	AUTO(done) struct objects *os = store();
	int64_t f = object(os, top(os), "f", 5);
	char buf[300];

	CHECK_INT(set_attr(os, f, "user.meta.colour", "blue", XATTR_REPLACE), -ENODATA);
	CHECK_INT(set_attr(os, f, "user.meta.colour", "blue", XATTR_CREATE), 0);
	CHECK_INT(set_attr(os, f, "user.meta.colour", "red", XATTR_CREATE), -EEXIST);
	CHECK_INT(set_attr(os, f, "user.meta.colour", "green", 0), 0);
	CHECK_INT(set_attr(os, f, "user.mime_type", "image/jpeg", 0), 0);
	CHECK_INT(set_attr(os, f, "user.mime_type", "image\njpeg", 0), -EINVAL);
	CHECK_INT(set_attr(os, f, "user.empty", "", 0), 0);
	CHECK_INT(attr_get(os, f, "user.meta.colour", NULL, 0, &e), 5);
	CHECK_INT(attr_get(os, f, "user.meta.colour", buf, 4, &e), -ERANGE);
	CHECK_INT(attr_get(os, f, "user.meta.colour", buf, 5, &e), 5);
	CHECK(memcmp(buf, "green", 5) == 0);
	CHECK_INT(attr_get(os, f, "user.empty", buf, 5, &e), 0);
	CHECK_INT(attr_get(os, f, "user.none", buf, 5, &e), -ENODATA);
	CHECK_INT(attr_get(os, f, "user.etag", buf, 5, &e), -ENODATA);
	CHECK_INT(attr_get(os, f, "security.capability", buf, 5, &e), -EOPNOTSUPP);
	CHECK_INT(set_attr(os, f, "trusted.x", "1", 0), -EOPNOTSUPP);
	CHECK_INT(set_attr(os, f, "user.etag", "1", 0), -EPERM);
	CHECK_INT(attr_remove(os, f, "user.etag", &e), -EPERM);
	CHECK_INT(set_attr(os, f, "user.", "1", 0), -EINVAL);
	CHECK_INT(set_attr(os, f, "user.meta.", "1", 0), -EINVAL);
	CHECK_INT(set_attr(os, f, "user.\xff", "1", 0), -EILSEQ);
	CHECK_INT(attr_list(os, f, NULL, 0, &e), 43);
	CHECK_INT(attr_list(os, f, buf, 42, &e), -ERANGE);
	CHECK_INT(attr_list(os, f, buf, sizeof buf, &e), 43);
	CHECK_INT(attr_remove(os, f, "user.none", &e), -ENODATA);
	CHECK_INT(attr_remove(os, f, "user.empty", &e), 0);
	CHECK_INT(attr_remove(os, f, "user.mime_type", &e), 0);
	CHECK_INT(attr_remove(os, f, "user.delete_at", &e), -ENODATA);
	CHECK_INT(ask(os, "SELECT attrs FROM entry WHERE name='f'"), 1);
	CHECK_INT(attr_remove(os, f, "user.meta.colour", &e), 0);
	CHECK_INT(ask(os, "SELECT attrs FROM entry WHERE name='f'"), 0);
	CHECK_INT(set_attr(os, f, "user.delete_after", "100", 0), 0);
	CHECK_INT(attr_get(os, f, "user.delete_at", buf, sizeof buf, &e), 10);
	CHECK_INT(attr_list(os, f, NULL, 0, &e), 15);
	CHECK_INT(attr_remove(os, f, "user.delete_at", &e), 0);
	CHECK_INT(set_attr(os, f, "user.x", "1", 0), 0);
	CHECK_INT(set_attr(os, top(os), "user.x", "1", 0), 0);
	CHECK_INT(set_attr(os, made(os, top(os), "l", ENTRY_LINK), "user.x", "1", 0), -EPERM);
	CHECK_INT(name_remove(os, top(os), "f", false, &e), 0);
	CHECK_INT(ask(os, "SELECT count(*) FROM attr"), 1);
	agrees(os);
}

static void Swifts_limits_hold(void)
{
	AUTO(done) struct objects *os = store();
	int64_t f = object(os, top(os), "f", 5), g = object(os, top(os), "g", 5);
	char name[300] = "user.meta.", value[9000];

	memset(name + 10, 'n', 129);
	name[139] = '\0';
	CHECK_INT(set_attr(os, f, name, "1", 0), -ERANGE);
	CHECK(strstr(e.msg, "128") != NULL);
	name[138] = '\0';
	CHECK_INT(set_attr(os, f, name, "1", 0), 0);
	memset(value, 'v', sizeof value);
	CHECK_INT(attr_set(os, f, "user.meta.a", value, 257, 0, &e), -E2BIG);
	CHECK_INT(attr_set(os, f, "user.meta.a", value, 256, 0, &e), 0);
	CHECK_INT(attr_set(os, f, "user.mime_type", value, 8193, 0, &e), -E2BIG);
	CHECK_INT(attr_set(os, f, "user.mime_type", value, 8192, 0, &e), 0);
	CHECK_INT(attr_remove(os, f, "user.meta.a", &e), 0);
	for (int i = 0; i < 89; i++) {		/* one is there; user.x counts as user.meta.x does */
		snprintf(name, sizeof name, i % 2 ? "user.%02d" : "user.meta.%02d", i);
		CHECK_INT(set_attr(os, f, name, "", 0), 0);
	}
	CHECK_INT(set_attr(os, f, "user.meta.y", "", 0), -ENOSPC);
	CHECK(strstr(e.msg, "90") != NULL);
	CHECK_INT(set_attr(os, f, "user.meta.00", "2", 0), 0);
	CHECK_INT(set_attr(os, f, "user.content_encoding", "gzip", 0), 0);
	for (int i = 0; i < 15; i++) {		/* 15 * (2 + 256) = 3870 */
		snprintf(name, sizeof name, "user.meta.%02d", i);
		CHECK_INT(attr_set(os, g, name, value, 256, 0, &e), 0);
	}
	CHECK_INT(attr_set(os, g, "user.meta.xx", value, 225, 0, &e), -ENOSPC);
	CHECK(strstr(e.msg, "4096") != NULL);
	CHECK_INT(attr_set(os, g, "user.meta.xx", value, 224, 0, &e), 0);
	agrees(os);
}

static void an_etag_is_of_the_content_it_was_computed_of(void)
{
	AUTO(done) struct objects *os = store();
	int64_t f = made(os, top(os), "f", ENTRY_FILE), one = new_root(os), two = new_root(os);
	char etag[33] = "", buf[100];

	cut(os, f, 1, one);
	index_begin(os, &e);
	CHECK_INT(name_etag(os, f, etag, &e), 0);
	CHECK_INT(name_set_etag(os, f, one, "d41d8cd98f00b204e9800998ecf8427e", &e), 0);
	CHECK_INT(name_etag(os, f, etag, &e), 1);
	CHECK_STR(etag, "d41d8cd98f00b204e9800998ecf8427e");
	index_end(os, true);
	CHECK_INT(attr_get(os, f, "user.etag", buf, sizeof buf, &e), 32);
	CHECK_INT(attr_list(os, f, buf, sizeof buf, &e), 0);	/* what is computed is not copied */
	index_begin(os, &e);
	os->refs[two]++;
	CHECK_INT(name_cut(os, f, 3, 3, 5, two, "0cc175b9c0f1b6a831c399e269772661", NULL, &e), 0);
	CHECK_INT(name_etag(os, f, etag, &e), 1);
	CHECK_STR(etag, "0cc175b9c0f1b6a831c399e269772661");
	index_end(os, true);
	cut(os, f, 2, two);
	index_begin(os, &e);
	CHECK_INT(name_etag(os, f, etag, &e), 0);
	CHECK_INT(name_set_etag(os, f, one, "d41d8cd98f00b204e9800998ecf8427e", &e), 0);
	CHECK_INT(name_etag(os, f, etag, &e), 0);
	index_end(os, true);
	CHECK_INT(attr_get(os, f, "user.etag", buf, sizeof buf, &e), -ENODATA);
}

static void names_say_a_type(void)
{
	CHECK_STR(attr_mime("a.JPG"), "image/jpeg");
	CHECK_STR(attr_mime("a.tar.gz"), "application/gzip");
	CHECK_STR(attr_mime("jpg"), "application/octet-stream");
	CHECK_STR(attr_mime("a.unknown"), "application/octet-stream");
}

/* ---- spaces and quotas */

static void quotas_hold_and_say_what_is_used(void)
{
	AUTO(done) struct objects *os = store();
	struct space s = { 0 };
	int64_t t = top(os);

	object(os, t, "a", 90);
	CHECK_INT(space_get(os, SPACE, &s, &e), 0);
	s.quota_bytes = 100;
	s.quota_count = 2;
	CHECK_INT(space_set(os, &s, &e), 0);
	index_begin(os, &e);
	CHECK_INT(space_room(os, SPACE, 10, 0, &e), 0);
	CHECK_INT(space_room(os, SPACE, 11, 0, &e), -EDQUOT);
	CHECK(strstr(e.msg, "90 of 100 bytes") != NULL);
	space_pending(os, SPACE, 5);
	CHECK_INT(space_room(os, SPACE, 6, 0, &e), -EDQUOT);
	CHECK_INT(space_room(os, SPACE, 5, 0, &e), 0);
	space_pending(os, SPACE, -5);
	CHECK_INT(space_room(os, SPACE, -10, 0, &e), 0);
	index_end(os, false);
	made(os, t, "b", ENTRY_FILE);
	CHECK_INT(make(os, t, "c", ENTRY_FILE, NULL), -EDQUOT);
	CHECK(strstr(e.msg, "2 of 2 objects") != NULL);
	made(os, t, "dir", ENTRY_DIR);
	CHECK_INT(name_remove(os, t, "b", false, &e), 0);
	made(os, t, "c", ENTRY_FILE);
	space_tenant_quota(os, TENANT, 95, 3);
	CHECK_INT(space_make(os, 8, TENANT, &e), 0);
	index_begin(os, &e);
	CHECK_INT(space_room(os, 8, 5, 1, &e), 0);
	CHECK_INT(space_room(os, 8, 6, 0, &e), -EDQUOT);
	CHECK(strstr(e.msg, "tenant") != NULL);
	CHECK_INT(space_room(os, 8, 0, 2, &e), -EDQUOT);
	CHECK_INT(space_room(os, 9, 0, 2, &e), -ENOENT);
	index_end(os, false);
	os->no_room = true;
	CHECK_INT(make(os, t, "d", ENTRY_DIR, NULL), -ENOSPC);
	CHECK_INT(name_remove(os, t, "c", false, &e), 0);
	os->open[0] = lookup(os, t, "c");
	agrees(os);
}

static int count_space(void *arg, const struct space *s)
{
	++*(int64_t *)arg;
	return 0;
}

static void a_space_goes_when_it_is_empty(void)
{
	AUTO(done) struct objects *os = store();
	int64_t n = 0, t = top(os);
	struct space s = { 0 };

	CHECK_INT(space_make(os, SPACE, TENANT, &e), 0);
	CHECK_INT(top(os), t);
	CHECK_INT(space_used(os, SPACE, &e), 0);
	made(os, t, "d", ENTRY_DIR);
	CHECK_INT(space_used(os, SPACE, &e), 1);
	CHECK_INT(space_drop(os, SPACE, &e), -ENOTEMPTY);
	CHECK_INT(name_remove(os, t, "d", true, &e), 0);
	object(os, t, "expired", 10);
	tell(os, "UPDATE entry SET delete_at=1 WHERE type=1");
	CHECK_INT(space_used(os, SPACE, &e), 0);
	CHECK_INT(space_make(os, 8, 4, &e), 0);
	CHECK_INT(space_list(os, 0, count_space, &n, &e), 0);
	CHECK_INT(n, 2);
	CHECK_INT(space_list(os, 4, count_space, &n, &e), 0);
	CHECK_INT(n, 3);
	CHECK_INT(space_drop(os, SPACE, &e), 0);
	CHECK_INT(space_drop(os, SPACE, &e), 0);
	CHECK_INT(space_get(os, SPACE, &s, &e), -ENOENT);
	CHECK_INT(make(os, t, "x", ENTRY_DIR, NULL), -ENOENT);
	CHECK_INT(ask(os, "SELECT count(*) FROM entry"), 1);
	CHECK_INT(space_make(os, SPACE, TENANT, &e), 0);
	agrees(os);
}

/* ---- versions */

static char versions_said[2000];

static int say_version(void *arg, const struct version *v)
{
	size_t at = strlen(versions_said);

	if (arg)
		*(int64_t *)arg = v->id;
	snprintf(versions_said + at, sizeof versions_said - at, v->time ? "%s %" PRIu64 "%s\n" : "%s\n", v->name, v->size, v->marker ? " marker" : "");
	return 0;
}

static const char *versions(struct objects *os, const char *name, int64_t *last)
{
	*versions_said = '\0';
	CHECK_INT(version_list(os, SPACE, name, say_version, last, &e), 0);
	return versions_said;
}

static void versioning(struct objects *os, bool on)
{
	struct space s = { 0 };

	CHECK_INT(space_get(os, SPACE, &s, &e), 0);
	s.versioning = on;
	CHECK_INT(space_set(os, &s, &e), 0);
}

static void old_contents_become_versions(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR), f, g, v = 0, root = 0, mtime = 0;
	struct entry n = { 0 };
	uint64_t size = 0;
	char buf[100];

	versioning(os, true);
	f = object(os, d, "f", 1);
	CHECK_STR(versions(os, NULL, NULL), "");
	CHECK_INT(set_attr(os, f, "user.meta.colour", "blue", 0), 0);
	CHECK_INT(attr_set(os, f, "user.meta.bytes", "\xff\0\x01", 3, 0, &e), 0);
	cut(os, f, 2, new_root(os));
	CHECK_STR(versions(os, "d/f", &v), "d/f 1\n");
	cut(os, f, 3, new_root(os));
	CHECK_INT(name_remove(os, d, "f", false, &e), 0);
	CHECK_STR(versions(os, "d/f", NULL), "d/f 1\nd/f 2\nd/f 3\nd/f 0 marker\n");
	object(os, t, "g", 10);
	object(os, t, "h", 20);
	CHECK_INT(name_rename(os, t, "h", t, "g", 0, &e), 0);
	CHECK_STR(versions(os, "g", NULL), "g 10\n");
	CHECK_STR(versions(os, NULL, NULL), "d/f\ng\n");
	agrees(os);
	index_begin(os, &e);
	CHECK_INT(version_content(os, v, &size, &mtime, &root, &e), 0);
	index_end(os, false);
	CHECK_INT(size, 1);
	/* restored, with what it was made of, even when its directory is gone */
	CHECK_INT(name_remove(os, t, "d", true, &e), 0);
	CHECK_INT(version_restore(os, v, &e), 0);
	d = lookup(os, t, "d");
	CHECK_INT(name_lookup(os, d, "f", &n, &e), 0);
	CHECK_INT(n.size, 1);
	CHECK_INT(n.root, root);
	CHECK_INT(n.mode, 0644);
	CHECK_INT(n.uid, 1);
	agrees(os);
	versions(os, "d/f", &v);	/* the marker */
	CHECK_INT(version_restore(os, v, &e), -EINVAL);
	CHECK_INT(version_remove(os, v, &e), 0);
	CHECK_INT(version_remove(os, v, &e), -ENOENT);
	versions(os, "d/f", &v);
	CHECK_INT(version_restore(os, v, &e), 0);	/* over the present one, which becomes a version */
	CHECK_STR(versions(os, "d/f", NULL), "d/f 1\nd/f 2\nd/f 3\nd/f 1\n");
	g = lookup(os, d, "f");
	CHECK_INT(attr_get(os, g, "user.meta.colour", buf, sizeof buf, &e), 4);
	CHECK_INT(attr_get(os, g, "user.meta.bytes", buf, sizeof buf, &e), 3);
	CHECK(memcmp(buf, "\xff\0\x01", 3) == 0);
	agrees(os);
	CHECK_INT(name_remove(os, d, "f", false, &e), 0);
	CHECK_INT(name_remove(os, t, "d", true, &e), 0);
	CHECK_INT(name_remove(os, t, "g", false, &e), 0);
	CHECK_INT(space_used(os, SPACE, &e), 2);
	CHECK_INT(space_drop(os, SPACE, &e), -ENOTEMPTY);
	agrees(os);
}

static void a_version_of_one_that_is_open_shares_its_content(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), f, v = 0;

	versioning(os, true);
	os->open[0] = f = object(os, t, "f", 5);
	CHECK_INT(name_remove(os, t, "f", false, &e), 0);
	agrees(os);
	versioning(os, false);
	*versions_said = '\0';
	AUTO(stmt_done) struct stmt s = stmt_prepare(os->db, "SELECT id FROM version WHERE marker=0");
	CHECK_INT(stmt_step(&s, &e), 1);
	v = stmt_col_int(&s, 0);
	stmt_done(&s);
	CHECK_INT(version_remove(os, v, &e), 0);
	agrees(os);
	index_begin(os, &e);
	CHECK_INT(name_forget(os, f, &e), 0);
	index_end(os, true);
	agrees(os);
}

static void versions_come_in_order_whatever_the_clock_does(void)
{
	AUTO(done) struct objects *os = store();
	int64_t f;

	versioning(os, true);
	f = object(os, top(os), "f", 1);
	cut(os, f, 2, new_root(os));
	tell(os, "UPDATE version SET time=4000000000000000000");
	for (uint64_t i = 3; i < 700; i++)
		cut(os, f, i, new_root(os));
	versions(os, "f", NULL);
	CHECK(strncmp(versions_said, "f 1\nf 2\nf 3\n", 12) == 0);
	CHECK_INT(ask(os, "SELECT count(*) FROM version"), 698);
	int64_t n = 0;
	for (const char *p = versions_said; *p; p++)
		n += *p == '\n';
	CHECK(n > 250);
	agrees(os);
}

/* ---- walking */

static int say_path(void *arg, const char *path, const struct entry *n, const char *etag)
{
	size_t at = strlen(arg);

	snprintf((char *)arg + at, 1000 - at, "%s ", path);
	return 0;
}

static void a_walk_is_in_the_order_of_paths(void)
{
	AUTO(done) struct objects *os = store();
	char said[1000] = "";
	int64_t t = top(os), a = made(os, t, "a", ENTRY_DIR);

	made(os, made(os, a, "deep", ENTRY_DIR), "x", ENTRY_FILE);
	made(os, a, "b", ENTRY_FILE);
	made(os, t, "a-b", ENTRY_FILE);		/* - is before / */
	made(os, t, "a0", ENTRY_FILE);
	made(os, t, "a.txt", ENTRY_FILE);
	made(os, t, "B", ENTRY_FILE);
	made(os, t, "link", ENTRY_LINK);
	made(os, t, "\xc3\xa4", ENTRY_FILE);
	CHECK_INT(name_walk(os, SPACE, say_path, said, &e), 0);
	CHECK_STR(said, "B a-b a.txt a/b a/deep/x a0 \xc3\xa4 ");
}

static int stop_at(void *arg, const struct entry *n, int64_t offset)
{
	int64_t *left = arg;

	left[1] = offset;
	return --left[0] == 0;
}

static void a_listing_goes_on_where_it_was(void)
{
	AUTO(done) struct objects *os = store();
	int64_t t = top(os), at[2] = { 7, 0 }, n = 0;
	char name[20];

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof name, "%d", i);
		made(os, t, name, ENTRY_LINK);
	}
	for (at[1] = 0;; n += 7 - at[0]) {
		at[0] = 7;
		CHECK_INT(name_list(os, t, at[1], stop_at, at, &e), 0);
		if (at[0] == 7)
			break;
	}
	CHECK_INT(n, 3000);
	CHECK_INT(listed(os, t), 3000);
}

/* ---- repair */

static void what_is_broken_is_found_and_mended(void)
{
	static const struct { const char *sql, *said; } bad[] = {
		{ "UPDATE space SET bytes=1", "counted anew" },
		{ "UPDATE space SET count=0", "counted anew" },
		{ "UPDATE space SET versions=9", "counted anew" },
		{ "UPDATE entry SET parent=4711 WHERE name='f'", "lost+found" },
		{ "UPDATE entry SET parent=(SELECT id FROM entry WHERE name='f') WHERE name='g'", "lost+found" },
		{ "UPDATE entry SET space=8 WHERE name='d'", "" },
		{ "UPDATE entry SET parent=(SELECT id FROM entry WHERE name='s') WHERE name='d'", "inside itself" },
		{ "UPDATE entry SET parent=id WHERE name='d'", "inside itself" },
		{ "UPDATE entry SET name='a/b' WHERE name='f'", "renamed" },
		{ "UPDATE entry SET name=CAST(x'ff' AS TEXT) WHERE name='f'", "renamed" },
		{ "UPDATE entry SET key=5 WHERE name='f'", "where it is found" },
		{ "UPDATE entry SET uncut=1 WHERE name='f'", "removed" },
		{ "INSERT INTO attr VALUES(4711,'user.x','')", "attributes" },
		{ "UPDATE entry SET attrs=1 WHERE name='f'", "noted" },
		{ "UPDATE entry SET delete_at=5 WHERE name='d'", "expire" },
		{ "UPDATE space SET root=4711 WHERE id=7", "" },
		{ "DELETE FROM space WHERE id=7", "" },
		{ "INSERT INTO version(id,space,name,time,size,mtime,root)VALUES(1,99,'x',1,1,1,0)", "container is gone" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		AUTO(done) struct objects *os = store();
		int64_t t = top(os), d = made(os, t, "d", ENTRY_DIR), s = made(os, d, "s", ENTRY_DIR);
		char said[1000] = "";

		CHECK_INT(space_make(os, 8, TENANT, &e), 0);
		object(os, t, "f", 50);
		object(os, s, "g", 60);
		CHECK_INT(names_check(os, false, say_fault, said, &e), 0);
		tell(os, bad[i].sql);
		int64_t found = names_check(os, false, say_fault, said, &e);
		if (found <= 0)
			CHECK_FAIL("not found (%s): %s", e.msg, bad[i].sql);
		if (names_check(os, true, say_fault, said, &e) < found || !strstr(said, bad[i].said))
			CHECK_FAIL("%s: %s %s", bad[i].sql, said, e.msg);
		if (names_check(os, false, say_fault, said, &e) != 0)
			CHECK_FAIL("still there: %s: %s", bad[i].sql, said);
		if (names_check(os, true, say_fault, said, &e) != 0)
			CHECK_FAIL("still there: %s: %s", bad[i].sql, said);
		CHECK_INT(ask(os, "SELECT count(*) FROM entry WHERE root>0") + (strstr(bad[i].sql, "uncut") != NULL), 2);
		if (ask(os, "SELECT tenant FROM space WHERE id=7") == TENANT)
			agrees(os);
	}
}

/* ---- anything, against a model */

#define NODES 400

struct node {
	bool there;
	int64_t id, size;
	int parent, type;	/* parent: index in the model; 0 is the top */
	char name[8];
};

static unsigned long long seed = 88172645463325252ull;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

static int model_find(struct node *m, int parent, const char *name)
{
	for (int i = 1; i < NODES; i++)
		if (m[i].there && m[i].parent == parent && strcmp(m[i].name, name) == 0)
			return i;
	return 0;
}

static bool model_empty(struct node *m, int dir_)
{
	for (int i = 1; i < NODES; i++)
		if (m[i].there && m[i].parent == dir_)
			return false;
	return true;
}

static bool model_above(struct node *m, int a, int b)
{
	for (; b; b = m[b].parent)
		if (a == b)
			return true;
	return false;
}

static int model_dir(struct node *m)
{
	for (int i = 0; i < 20; i++) {
		int d = (int)rnd(NODES);

		if (d == 0 || (m[d].there && m[d].type == ENTRY_DIR))
			return d;
	}
	return 0;
}

static int model_rename(struct node *m, int from, int to_dir, const char *name, unsigned flags)
{
	int to = model_find(m, to_dir, name);

	if (!from || (!to && (flags & RENAME_EXCHANGE)))
		return -ENOENT;
	if (to && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (from == to)
		return 0;
	if (flags & RENAME_EXCHANGE) {
		if ((m[from].type == ENTRY_DIR && model_above(m, from, to_dir)) || (m[to].type == ENTRY_DIR && model_above(m, to, m[from].parent)))
			return -EINVAL;
		struct node was = m[from];
		m[from].parent = m[to].parent;
		m[to].parent = was.parent;
		memcpy(m[from].name, m[to].name, 8);
		memcpy(m[to].name, was.name, 8);
		return 0;
	}
	if (to && m[from].type == ENTRY_DIR && m[to].type != ENTRY_DIR)
		return -ENOTDIR;
	if (to && m[from].type != ENTRY_DIR && m[to].type == ENTRY_DIR)
		return -EISDIR;
	if (m[from].type == ENTRY_DIR && model_above(m, from, to_dir))
		return -EINVAL;
	if (to && m[to].type == ENTRY_DIR && !model_empty(m, to))
		return -ENOTEMPTY;
	if (to)
		m[to].there = false;
	m[from].parent = to_dir;
	snprintf(m[from].name, sizeof m[from].name, "%s", name);
	return 0;
}

static int model_remove(struct node *m, int i, bool is_dir)
{
	if (!i)
		return -ENOENT;
	if (is_dir != (m[i].type == ENTRY_DIR))
		return is_dir ? -ENOTDIR : -EISDIR;
	if (is_dir && !model_empty(m, i))
		return -ENOTEMPTY;
	m[i].there = false;
	return 0;
}

static void model_same(struct objects *os, struct node *m)
{
	for (int i = 0; i < NODES; i++) {
		struct entry n;
		int64_t want = 0;

		if (!m[i].there)
			continue;
		if (i && (name_lookup(os, m[m[i].parent].id, m[i].name, &n, &e) < 0 || n.id != m[i].id || (int)n.type != m[i].type ||
			  (n.type == ENTRY_FILE && (int64_t)n.size != m[i].size)))
			CHECK_FAIL("'%s' is not as it should be: %s", m[i].name, e.msg);
		if (m[i].type != ENTRY_DIR)
			continue;
		for (int k = 1; k < NODES; k++)
			want += m[k].there && m[k].parent == i;
		CHECK_INT(listed(os, m[i].id), want);
	}
}

/* How it ends is the model's: 0 or the same error. */
static void random_step(struct objects *os, struct node *m)
{
	int d = model_dir(m), to = model_dir(m), free_ = 0, rc = 0, want = 0, op = (int)rnd(12);
	char name[8], name2[8];
	int64_t at;

	snprintf(name, sizeof name, "n%u", rnd(12));
	snprintf(name2, sizeof name2, "n%u", rnd(12));
	int i = model_find(m, d, name);
	for (int k = 1; k < NODES && !free_; k++)
		free_ = m[k].there ? 0 : k;
	if (op < 4 && free_) {
		static const enum entry_type types[] = { ENTRY_FILE, ENTRY_FILE, ENTRY_DIR, ENTRY_LINK };

		want = i ? -EEXIST : 0;
		rc = make(os, m[d].id, name, types[op], &at);
		if (rc == 0) {
			m[free_] = (struct node){ true, at, 0, d, types[op], "" };
			memcpy(m[free_].name, name, sizeof name);
			if (types[op] == ENTRY_FILE)
				cut(os, at, 0, 0);
		}
	} else if (op < 6) {
		bool is_dir = rnd(3) == 0, open = rnd(4) == 0;

		if (i && open)
			os->open[0] = m[i].id;
		rc = name_remove(os, m[d].id, name, is_dir, &e);
		want = model_remove(m, i, is_dir);
		if (rc == 0 && open && m[i].type == ENTRY_FILE) {
			index_begin(os, &e);
			CHECK_INT(name_forget(os, m[i].id, &e), 0);
			index_end(os, true);
		}
		os->open[0] = 0;
	} else if (op < 9) {
		static const unsigned flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
		unsigned f = flags[rnd(4)];

		rc = name_rename(os, m[d].id, name, m[to].id, name2, f, &e);
		want = model_rename(m, i, to, name2, f);
	} else if (op < 11) {
		if (i && m[i].type == ENTRY_FILE) {
			m[i].size = rnd(1000);
			cut(os, m[i].id, (uint64_t)m[i].size, new_root(os));
		}
	} else {
		if (i && m[i].type != ENTRY_LINK)
			rc = set_attr(os, m[i].id, rnd(2) ? "user.meta.a" : "user.b", name2, 0);
	}
	if (rc != want)
		CHECK_FAIL("op %d of %s to %s: %d, not %d: %s", op, name, name2, rc, want, e.msg);
}

static void anything_ends_as_in_a_model(void)
{
	for (int round = 0; round < 6; round++) {
		AUTO(done) struct objects *os = store();
		static struct node m[NODES];

		memset(m, 0, sizeof m);
		m[0] = (struct node){ true, top(os), 0, 0, ENTRY_DIR, "" };
		names_hash_mask = round % 2 ? 7 : -1;
		versioning(os, round % 3 == 2);
		for (int i = 0; i < 6000 && !check_bad; i++) {
			random_step(os, m);
			if (i % 1000 == 999)
				os->fail_drop = 1;
			if (os->fail_drop && i % 1000 == 0)
				os->fail_drop = 0;
			if (os->fail_drop) {	/* one that fails half-way changes nothing */
				int64_t f = lookup(os, m[0].id, "failing") < 0 ? object(os, m[0].id, "failing", 9) : 0;

				versioning(os, false);
				CHECK_INT(name_remove(os, m[0].id, "failing", false, &e), -EIO);
				CHECK_INT(lookup(os, m[0].id, "failing"), f);
				CHECK_INT(name_remove(os, m[0].id, "failing", false, &e), 0);
				versioning(os, round % 3 == 2);
			}
		}
		model_same(os, m);
		names_hash_mask = round % 2 ? 7 : -1;
		agrees(os);
	}
	names_hash_mask = -1;
}

/* ---- speed: said, not judged */

static double since(int64_t t, int n)
{
	return (double)(now_us() - t) / n;
}

#define MANY 100000

static void a_hundred_thousand_in_one_directory(void)
{
	AUTO(done) struct objects *os = store();
	int64_t d = made(os, top(os), "many", ENTRY_DIR), *ids = calloc(MANY, sizeof *ids), t;
	char name[40];
	double us[8];
	struct entry n;

	t = now_us();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "object-%06d.dat", i);
		if (name_make(os, d, name, ENTRY_FILE, 0644, 0, 0, NULL, &n, &e) < 0)
			CHECK_FAIL("%s: %s", name, e.msg);
		ids[i] = n.id;
	}
	us[0] = since(t, MANY);
	t = now_us();
	for (int i = 0; i < MANY; i++) {
		index_begin(os, &e);
		name_cut(os, ids[i], 4096, 4096, 5, i + 1, NULL, NULL, &e);
		os->refs[i + 1] = 1;
		index_end(os, true);
	}
	us[1] = since(t, MANY);
	db_script(os->db, "COMMIT", &e);
	t = now_us();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "object-%06d.dat", i);
		if (lookup(os, d, name) != ids[i])
			CHECK_FAIL("%s: %s", name, e.msg);
	}
	us[2] = since(t, MANY);
	t = now_us();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "nothing-%06d.dat", i);
		lookup(os, d, name);
	}
	us[3] = since(t, MANY);
	t = now_us();
	for (int i = 0; i < MANY; i++)
		name_get(os, ids[i], &n, &e);
	us[4] = since(t, MANY);
	t = now_us();
	CHECK_INT(listed(os, d), MANY);
	us[5] = since(t, MANY);
	t = now_us();
	for (int i = 0; i < MANY; i += 10) {
		char to[40];

		snprintf(name, sizeof name, "object-%06d.dat", i);
		snprintf(to, sizeof to, "renamed-%06d.dat", i);
		name_rename(os, d, name, d, to, 0, &e);
		name_rename(os, d, to, d, name, 0, &e);
	}
	us[6] = since(t, MANY / 5);
	t = now_us();
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof name, "object-%06d.dat", i);
		if (name_remove(os, d, name, false, &e) < 0)
			CHECK_FAIL("%s: %s", name, e.msg);
	}
	us[7] = since(t, MANY);
	printf("# us each: make %.1f, cut %.1f, lookup %.1f, not there %.1f, get %.1f, listed %.2f, rename %.1f, remove %.1f\n", us[0], us[1],
	       us[2], us[3], us[4], us[5], us[6], us[7]);
	CHECK_INT(listed(os, d), 0);
	agrees(os);
	free(ids);
}

int main(void)
{
	char cmd[100];

	if (!mkdtemp(dir))
		return 2;
	RUN(what_is_made_is_found);
	RUN(names_that_cannot_be_are_refused);
	RUN(a_directory_moved_counts_its_deepest_path);
	RUN(names_of_one_hash_live_together);
	RUN(what_is_not_empty_or_of_the_other_kind_is_not_removed);
	RUN(a_removed_object_stays_while_it_is_open);
	RUN(what_a_crash_left_is_swept);
	RUN(renames_do_as_POSIX_says);
	RUN(what_takes_the_name_of_another_is_cut_first);
	RUN(what_fails_in_the_middle_changes_nothing);
	RUN(a_directorys_times_follow_its_entries);
	RUN(times_of_many_directories_are_kept);
	RUN(what_expired_is_gone_at_once_and_removed_later);
	RUN(attributes_are_kept_and_listed);
	RUN(Swifts_limits_hold);
	RUN(an_etag_is_of_the_content_it_was_computed_of);
	RUN(names_say_a_type);
	RUN(quotas_hold_and_say_what_is_used);
	RUN(a_space_goes_when_it_is_empty);
	RUN(old_contents_become_versions);
	RUN(a_version_of_one_that_is_open_shares_its_content);
	RUN(versions_come_in_order_whatever_the_clock_does);
	RUN(a_walk_is_in_the_order_of_paths);
	RUN(a_listing_goes_on_where_it_was);
	RUN(what_is_broken_is_found_and_mended);
	RUN(anything_ends_as_in_a_model);
	RUN(a_hundred_thousand_in_one_directory);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
