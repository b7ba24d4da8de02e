/* Scripts of commands (the top's ctl, a tenant's spec, an object's spec) against a real state that nothing serves: any bytes do something or
 * are refused with a sentence, and the state's rules hold.  Nothing is committed.  As root: it makes a store.
 * make fuzz FUZZ=fuzz_script; options: -max_len=512 -dict=tests/fuzz/script.dict */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/base/dir.h"
#include "../../fs/cloud.h"
#include "../../fs/tree/attr.h"
#include "../../fs/tree/ctl.h"
#include "../../fs/tree/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct cloud *cloud;
static int64_t tenant, server;

static void must(int rc, const struct err *e)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s\n", e->msg);
	abort();
}

static void line(struct call *c, struct node n, const char *text, struct err *e)
{
	must(ctl_script(c, n, text, strlen(text), e), e);
}

static char dir[] = "/dev/shm/fuzz_script.XXXXXX";

static void clean(void)
{
	dir_remove(dir, &(struct err){ 0 });
}

static void prepare(void)
{
	struct call c = { 0 };
	struct err e = { 0 };
	struct row r;

	must(mkdtemp(dir) && atexit(clean) == 0 && cloud_open(dir, true, &cloud, &e) == 0 ? 0 : -1, &e);
	cloud->fs.mountpoint = strdup("/cloud");
	must(call_begin(&cloud->fs, &c, &e), &e);
	must(call_write(&c, &e), &e);
	line(&c, (struct node){ .row = ROOT_ROW }, "create tenants/acme\ncreate tenants/acme/networks/lan cidr=10.0.0.0/24\ncreate tenants/acme/images/tiny\n", &e);
	must(row_by_name(c.db, ROOT_ROW, tenant_kind.no, "acme", &r, &e), &e);
	tenant = r.id;
	struct obj parent, draft;
	must(obj_by_id(&c, tenant, &parent, &e), &e);
	must(obj_draft(&c, &server_kind, &parent, "draft", &draft, &e), &e);
	server = draft.row.id;
	must(tx_commit(&c.tx, &e), &e);
	call_end(&c);
}

static void check_state(struct call *c)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(c->db, "SELECT count(*) FROM pragma_foreign_key_check");
	struct err e = { 0 };

	if (stmt_step(&s, &e) != 1 || stmt_col_int(&s, 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct node nodes[] = { { .row = ROOT_ROW }, { .kind = tenant_kind.no }, { .kind = server_kind.no, .file = NF_COLLECTION },
		{ .kind = server_kind.no } };
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };

	if (!cloud)
		prepare();
	if (len < 2)
		return 0;
	nodes[1].row = nodes[2].row = tenant;
	nodes[3].row = server;
	struct node n = nodes[data[0] % 4];
	AUTO(free) char *text = malloc(len - 1);
	memcpy(text, data + 1, len - 1);
	must(call_begin(&cloud->fs, &c, &e), &e);
	must(call_write(&c, &e), &e);
	int rc = data[0] & 4 ? spec_store(&c, n, text, len - 1, &e) : ctl_script(&c, n, text, len - 1, &e);
	if (rc > 0 || (rc < 0 && (rc != -e.code || !*e.msg || strchr(e.msg, '\n') || e.code == EIO)))
		abort();
	if (rc == 0 && data[0] % 16 == 0)
		check_state(&c);
	return 0;
}
