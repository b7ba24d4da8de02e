/* Nodes as numbers, and directories as lists of names: what is listed is found, offsets are stable. */
#include "../../fs/tree/node.h"

#include <errno.h>
#include <string.h>

#include "../../fs/cloud.h"
#include "check.h"

static struct err e;
static struct cloud cloud;	/* servers show what is made with its secret */
static struct fs fs = { .kinds = cloud_kinds, .version = "test", .cloud = &cloud };
static struct call c;
static char dir[] = "/tmp/test_node.XXXXXX";
static int64_t tenant, server, host;

/* ---- numbers */

static void a_node_comes_back_from_its_number(void)
{
	srandom(5);
	for (int i = 0; i < 100000; i++) {
		struct node n = { .by_id = random() & 1, .kind = (uint8_t)random(), .file = (uint8_t)random(),
			.row = ((int64_t)random() << 20 ^ random()) & ((INT64_C(1) << 46) - 1) };

		if (n.kind < NK_FILES && n.file >= NF_KIND && n.file < NF_GROUP) {	/* where there may be a subtree */
			n.sub = (uint16_t)(random() & SUBTREE_MAX);
			n.row &= (INT64_C(1) << 34) - 1;
		}
		uint64_t ino = node_ino(n);
		struct node back = node_of(ino);

		if (back.by_id != n.by_id || back.kind != n.kind || back.file != n.file || back.sub != n.sub || back.row != n.row || ino >> 63) {
			CHECK_FAIL("%d/%d/%d/%ld", n.by_id, n.kind, n.file, (long)n.row);
			return;
		}
	}
}

static void the_root_is_1(void)
{
	CHECK_INT((int64_t)node_ino((struct node){ .row = ROOT_ROW }), 1);
	CHECK_INT(node_type(&fs, node_of(1)), N_OBJECT);
	CHECK(node_kind(&fs, node_of(1)) == &root_kind);
}

static void a_number_of_nothing_is_nothing(void)
{
	for (int kind = 0; kind < 256; kind++)
		for (int file = 0; file < 256; file++) {
			struct node n = { .kind = (uint8_t)kind, .file = (uint8_t)file, .row = 77 };
			enum node_type t = node_type(&fs, n);

			if (kind < NK_STATUS && !fs.by_no[kind] && t != N_NONE)
				CHECK_FAIL("kind %d does not exist and is of type %d", kind, t);
			node_is_dir(&fs, n);
			if (t == N_FILE && !node_file(&fs, n))
				CHECK_FAIL("file %d of kind %d has no line", file, kind);
		}
}

/* ---- directories */

struct entry {
	char name[300];
	struct node n;
	int64_t offset;
};
static struct listing {
	struct entry v[300];
	size_t n, stop_at;
} all, rest;

static int keep(void *arg, const char *name, struct node n, int64_t offset)
{
	struct listing *l = arg;

	if (l->n == ARRAY_LEN(l->v)) {
		CHECK_FAIL("too many entries");
		return 1;
	}
	snprintf(l->v[l->n].name, sizeof l->v->name, "%s", name);
	l->v[l->n].n = n;
	l->v[l->n++].offset = offset;
	return l->n == l->stop_at;
}

static void list(struct node d, int64_t after, struct listing *l, size_t stop_at)
{
	l->n = 0;
	l->stop_at = stop_at;
	e = (struct err){ 0 };
	if (node_list(&c, d, after, keep, l, &e) < 0)
		CHECK_FAIL("list: %s", e.msg);
}

/* Everything a directory lists is found under its name, as the same node; its parent is the directory; listing goes on where it stopped. */
static void check_dir(struct node d)
{
	char path[1600];

	node_path(&c, d, path, sizeof path);
	list(d, 0, &all, 0);
	for (size_t i = 0; i < all.n; i++) {
		struct entry *x = &all.v[i];
		struct node found, up;

		if (node_lookup(&c, d, x->name, &found, &e) < 0)
			CHECK_FAIL("%s/%s is listed and not found: %s", path, x->name, e.msg);
		else if (!node_same(found, x->n))
			CHECK_FAIL("%s/%s is listed as %lx and found as %lx", path, x->name, (long)node_ino(x->n), (long)node_ino(found));
		else if (node_type(&fs, x->n) != N_LINK && node_type(&fs, x->n) != N_LINK_DIR &&	/* those know only their target */
			 (node_parent(&c, x->n, &up, &e) < 0 || !node_same(up, d)))
			CHECK_FAIL("%s/%s has another parent", path, x->name);
		if (i && x->offset <= all.v[i - 1].offset)
			CHECK_FAIL("%s/%s: offset %ld after %ld", path, x->name, (long)x->offset, (long)all.v[i - 1].offset);
		for (size_t k = 0; k < i; k++)
			if (strcmp(all.v[k].name, x->name) == 0 || node_same(all.v[k].n, x->n))
				CHECK_FAIL("%s/%s is listed twice, or as %s", path, x->name, all.v[k].name);
	}
	struct listing copy = all;
	for (size_t i = 0; i < copy.n; i++) {
		list(d, copy.v[i].offset, &rest, 1);
		if (rest.n != (i + 1 < copy.n) || (rest.n && !node_same(rest.v[0].n, copy.v[i + 1].n)))
			CHECK_FAIL("%s: after %s comes another", path, copy.v[i].name);
	}
}

static void walk(struct node d, int depth)
{
	check_dir(d);
	list(d, 0, &all, 0);
	struct listing copy = all;
	for (size_t i = 0; i < copy.n && depth < 6; i++)
		if (node_is_dir(&fs, copy.v[i].n))
			walk(copy.v[i].n, depth + 1);
}

static void what_is_listed_is_found_and_listing_goes_on_where_it_stopped(void)
{
	walk((struct node){ .row = ROOT_ROW }, 0);
}

static void files_come_before_directories(void)
{
	bool dirs = false;

	list((struct node){ .kind = (uint8_t)server_kind.no, .row = server }, 0, &all, 0);
	CHECK(all.n > 10);
	CHECK_STR(all.v[0].name, "ctl");
	for (size_t i = 0; i < all.n; i++) {
		bool d = node_is_dir(&fs, all.v[i].n);

		if (dirs && !d)
			CHECK_FAIL("%s stands behind a directory", all.v[i].name);
		dirs |= d;
	}
}

static void hidden_names_are_found_and_not_listed(void)
{
	static const char *const hidden[] = { "wait", "wait-for", NULL };
	struct node d = { .kind = (uint8_t)server_kind.no, .row = server }, n;

	list(d, 0, &all, 0);
	for (int i = 0; hidden[i]; i++) {
		CHECK_INT(node_lookup(&c, d, hidden[i], &n, &e), 0);
		for (size_t k = 0; k < all.n; k++)
			CHECK(strcmp(all.v[k].name, hidden[i]) != 0);
	}
	d = (struct node){ .row = ROOT_ROW };
	for (const char *const *p = (const char *const[]){ "by-id", "last-error", "last-result", "events-follow", NULL }; *p; p++)
		CHECK_INT(node_lookup(&c, d, *p, &n, &e), 0);
}

static void what_is_reached_by_id_is_another_inode(void)
{
	struct node coll = { .kind = (uint8_t)server_kind.no, .file = NF_COLLECTION, .row = tenant }, by_id, a, b, file;
	struct row r;

	CHECK_INT(row_by_id(c.db, server, &r, &e), 1);
	CHECK_INT(node_lookup(&c, coll, "by-id", &by_id, &e), 0);
	CHECK_INT(node_lookup(&c, by_id, r.uuid, &a, &e), 0);
	CHECK_INT(node_lookup(&c, coll, "web1", &b, &e), 0);
	CHECK(a.by_id && !b.by_id && a.row == b.row);
	CHECK(node_ino(a) != node_ino(b));
	CHECK_INT(node_lookup(&c, a, "status", &file, &e), 0);
	CHECK(file.by_id);	/* and what is below it too */
	CHECK_INT(node_lookup(&c, by_id, "00000000-0000-0000-0000-000000000001", &a, &e), -ENOENT);
	CHECK_INT(node_lookup(&c, by_id, "nonsense", &a, &e), -ENOENT);
}

static void each_status_can_be_waited_for(void)
{
	struct node d = { .kind = (uint8_t)server_kind.no, .row = server }, wait_for, n;

	CHECK_INT(node_lookup(&c, d, "wait-for", &wait_for, &e), 0);
	CHECK_INT(node_type(&fs, wait_for), N_WAIT_FOR);
	CHECK_INT(node_lookup(&c, wait_for, "ACTIVE", &n, &e), 0);
	CHECK_INT(node_type(&fs, n), N_STATUS);
	CHECK_INT(node_lookup(&c, wait_for, "ACTIV", &n, &e), -ENOENT);
	check_dir(wait_for);
}

static void a_path_is_that_of_the_names(void)
{
	static const struct { uint8_t kind, file; const char *path; } table[] = {
		{ 9, NF_OBJECT, "tenants/acme/servers/web1" }, { 9, NF_COMMON, "tenants/acme/servers/web1/ctl" },
	};
	char path[1600];

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		node_path(&c, (struct node){ .kind = table[i].kind, .file = table[i].file, .row = server }, path, sizeof path);
		CHECK_STR(path, table[i].path);
	}
	node_path(&c, (struct node){ .kind = 9, .file = NF_COLLECTION, .row = tenant }, path, sizeof path);
	CHECK_STR(path, "tenants/acme/servers");
}

static void a_collections_own_names_are_reserved(void)
{
	for (const char *const *p = (const char *const[]){ "ctl", "list", "json", "README", "spec", "wait", "by-id", "error", NULL }; *p; p++)
		if (!name_reserved(&fs, &server_kind, *p))
			CHECK_FAIL("a server may be called '%s'", *p);
	CHECK(!name_reserved(&fs, &server_kind, "status"));
	CHECK(!name_reserved(&fs, &metadata_kind, "ctl"));	/* a collection without files of its own */
}

static int64_t make(const struct kind *k, int64_t parent, int64_t of, const char *name)
{
	struct row r = { .kind = k->no, .parent = parent, .tenant = of, .status = "ACTIVE" };

	snprintf(r.name, sizeof r.name, "%s", name);
	return row_insert(c.db, &r, k->table, &e) < 0 ? 0 : r.id;
}

static bool prepare(void)
{
	char path[100];

	fs.by_no[0] = &root_kind;
	for (const struct kind *const *k = cloud_kinds; *k; k++)
		fs.by_no[(*k)->no] = *k;
	if (!mkdtemp(dir) || snprintf(path, sizeof path, "%s/state.db", dir) < 0 || state_open(path, true, &fs.state, &e) < 0)
		return false;
	/* all in a transaction that is never committed */
	if (tx_begin(fs.state, &c.tx, &e) < 0)
		return false;
	c.fs = &fs;
	c.db = c.tx.db;
	tenant = make(&tenant_kind, 1, 0, "acme");
	host = make(&host_kind, 1, 0, "local");
	if (!tenant || !host || row_set_tenant(c.db, tenant, &e) < 0)
		return false;
	server = make(&server_kind, tenant, tenant, "web1");
	make(&server_kind, tenant, tenant, "web2");
	make(&metadata_kind, server, tenant, "role");
	make(&network_kind, tenant, tenant, "lan");
	make(&image_kind, tenant, tenant, "tiny");
	make(&key_kind, tenant, tenant, "me");
	make(&flavor_kind, 1, 0, "m1.tiny");
	struct val v = { .kind = VAL_INT, .i = host }, public = { .kind = VAL_TEXT, .s = (char *)"public" };
	struct row image;
	return server && column_set(c.db, "server", "host", server, &v, &e) == 0 &&
		row_by_name(c.db, tenant, image_kind.no, "tiny", &image, &e) > 0 &&
		column_set(c.db, "image", "visibility", image.id, &public, &e) == 0;
}

int main(void)
{
	char cmd[100];

	if (!prepare()) {
		printf("Bail out! %s\n", e.msg);
		return 2;
	}
	RUN(a_node_comes_back_from_its_number);
	RUN(the_root_is_1);
	RUN(a_number_of_nothing_is_nothing);
	RUN(what_is_listed_is_found_and_listing_goes_on_where_it_stopped);
	RUN(files_come_before_directories);
	RUN(hidden_names_are_found_and_not_listed);
	RUN(what_is_reached_by_id_is_another_inode);
	RUN(each_status_can_be_waited_for);
	RUN(a_path_is_that_of_the_names);
	RUN(a_collections_own_names_are_reserved);
	tx_rollback(&c.tx);
	state_close(fs.state);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
