/* What directories list, and at which offsets. */
#include "node.h"
#include "node_parts.h"

#include <errno.h>
#include <string.h>

/* ---- listing: offsets 1..999 are the directory's own names, 1000 + row the entries */

#define ENTRIES 1000

struct lister {
	struct call *c;
	struct node dir;
	int64_t after;
	node_fn *fn;
	void *arg;
	bool stop;
	const struct kind *view;
	struct err *e;
	int64_t tenants[4096];	/* those already shown, where links stand by tenant */
	size_t n_tenants;
	int64_t tenant;
};

static bool emit(struct lister *l, const char *name, struct node n, int64_t offset)
{
	if (!l->stop && offset > l->after)
		l->stop = l->fn(l->arg, name, n, offset);
	return l->stop;
}

static void list_files(struct lister *l, const struct kind *k, const struct file *files, unsigned base, int64_t offset)
{
	struct node n = l->dir;

	for (unsigned i = 0; files && files[i].name; i++) {
		n.file = (uint8_t)(base + i);
		if (!(files[i].flags & (F_HIDDEN | F_DIR)) && !strchr(files[i].name, '/') && only_status(k, &files[i]))
			emit(l, files[i].name, n, offset + i);
	}
}

/* Directories of an object, after all its files: groups, links, collections; at the root the views. */
static void list_dirs(struct lister *l, const struct kind *k)
{
	struct node n = l->dir;
	char group[64];
	int64_t at = 400;

	for (unsigned i = 0; k->files && k->files[i].name; i++) {
		n.file = (uint8_t)(NF_KIND + i);
		if (k->files[i].flags & F_DIR)
			emit(l, k->files[i].name, n, 300 + i);
	}
	for (int g = 0; group_name(k, g, group, sizeof group); g++) {
		n.file = (uint8_t)(NF_GROUP + g);
		emit(l, group, n, at++);
	}
	for (const struct kind *const *p = l->c->fs->kinds; *p; p++) {
		n.kind = (*p)->no;
		n.file = NF_COLLECTION;
		if ((*p)->parent == (k == &root_kind ? NULL : k))
			emit(l, (*p)->dir, n, 500 + (*p)->no);
		n.file = NF_VIEW;
		if (k == &root_kind && (*p)->open_view)
			emit(l, (*p)->dir, n, 500 + (*p)->no);
	}
}

static int emit_row(void *arg, const struct row *r)
{
	struct lister *l = arg;
	struct node n = { .by_id = l->dir.by_id, .kind = (uint8_t)r->kind, .row = r->id };

	return emit(l, r->name, n, ENTRIES + r->id);
}

static int emit_id(void *arg, const struct row *r)
{
	struct lister *l = arg;
	struct node n = { .by_id = true, .kind = (uint8_t)r->kind, .row = r->id };

	return emit(l, r->uuid, n, ENTRIES + r->id);
}

static int emit_view(void *arg, const struct row *r)
{
	struct lister *l = arg;
	char name[600];

	view_name(l->c, l->view, r, name, sizeof name);
	if (ENTRIES + r->id <= l->after || (strcmp(r->status, "DRAFT") == 0))
		return 0;
	struct node n = { .kind = l->view->no, .file = NF_VIEW_LINK, .row = r->id }, first;
	struct err e;
	/* of two open ones with a name the older has it */
	if (strcmp(l->view->open_view, "open") == 0 && (view_lookup(l->c, l->dir, name, &first, &e) < 0 || first.row != r->id))
		return 0;
	return emit(l, name, n, ENTRIES + r->id);
}

static int emit_link(void *arg, const char *name, int64_t row, int64_t target)
{
	struct lister *l = arg;
	struct row r;

	if (l->tenant && tenant_of(l->c, target, &r) != l->tenant)
		return 0;
	return emit(l, name, (struct node){ .by_id = l->dir.by_id, .kind = NK_LINK, .file = l->dir.kind == NK_LINK_DIR ? l->dir.file :
			node_file(l->c->fs, l->dir)->links->no, .row = row }, ENTRIES + row);
}

static int emit_link_tenant(void *arg, const char *name, int64_t row, int64_t target)
{
	struct lister *l = arg;
	struct row r, t;
	int64_t tenant = tenant_of(l->c, target, &r);

	for (size_t i = 0; i < l->n_tenants; i++)
		if (l->tenants[i] == tenant)
			return 0;
	if (!tenant || l->n_tenants == ARRAY_LEN(l->tenants) || !tenant_of(l->c, tenant, &t))
		return 0;
	l->tenants[l->n_tenants++] = tenant;
	return emit(l, t.name, (struct node){ .by_id = l->dir.by_id, .kind = NK_LINK_DIR, .file = node_file(l->c->fs, l->dir)->links->no,
			.row = l->dir.row << TENANT_BITS | tenant }, ENTRIES + tenant);
}

static int list_links(struct lister *l, const struct links *links, int64_t object, struct err *e)
{
	struct obj o;
	int rc = obj_by_id(l->c, object, &o, e);

	if (rc < 0)
		return rc;
	return links->each(l->c, &o, links->by_tenant && !l->tenant ? emit_link_tenant : emit_link, l, e);
}

struct list_tree {
	struct lister *l;
	int64_t at;
};

static int emit_sub(void *arg, const char *name, unsigned no, bool hidden)
{
	struct list_tree *t = arg;
	struct node n = t->l->dir;

	n.sub = (uint16_t)no;
	return hidden ? 0 : emit(t->l, name, n, ENTRIES + no);
}

static int list_tree(struct lister *l, const struct subtree *tree, struct err *e)
{
	struct list_tree t = { .l = l };
	struct obj o;
	int rc = obj_by_id(l->c, l->dir.row, &o, e);

	return rc < 0 ? rc : tree->each(l->c, &o, l->dir.sub, emit_sub, &t, e);
}

int node_list(struct call *c, struct node dir, int64_t after, node_fn *fn, void *arg, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	AUTO(free) struct lister *l = calloc(1, sizeof *l);
	int64_t rows_after = after > ENTRIES ? after - ENTRIES : 0;

	if (!l)
		return err_set(e, ENOMEM, "%m");
	*l = (struct lister){ .c = c, .dir = dir, .after = after, .fn = fn, .arg = arg, .e = e, .view = k };
	switch (node_type(c->fs, dir)) {
	case N_OBJECT:
		list_files(l, k, files_of(k), NF_COMMON, 10);
		list_files(l, k, k->files, NF_KIND, 100);
		list_dirs(l, k);
		return 0;
	case N_COLLECTION:
		if (!(k->flags & K_PLAIN))
			list_files(l, k, collection_files, NF_COLL_FILE, 10);
		return l->stop ? 0 : row_list(c->db, dir.row, k->no, rows_after, false, emit_row, l, e);
	case N_GROUP: {
		char group[64];
		size_t len;

		if (!group_name(k, dir.file - NF_GROUP, group, sizeof group))
			return 0;
		len = strlen(group);
		for (unsigned i = 0; k->files[i].name; i++)
			if (strncmp(k->files[i].name, group, len) == 0 && k->files[i].name[len] == '/') {
				struct node n = dir;

				n.file = (uint8_t)(NF_KIND + i);
				emit(l, k->files[i].name + len + 1, n, 10 + i);
			}
		return 0;
	}
	case N_LINKS:
		return list_links(l, node_file(c->fs, dir)->links, dir.row, e);
	case N_TREE:
		return list_tree(l, node_file(c->fs, dir)->tree, e);
	case N_LINK_DIR:
		l->tenant = dir.row & ((1 << TENANT_BITS) - 1);
		return list_links(l, links_by_no(c->fs, dir.file), dir.row >> TENANT_BITS, e);
	case N_VIEW:
		list_files(l, k, view_files, NF_VIEW_FILE, 10);
		if (l->stop)
			return 0;
		return strcmp(k->open_view, "open") == 0 ? row_open(c->db, k->no, k->view, NULL, emit_view, l, e) :
			row_list(c->db, 0, k->no, rows_after, false, emit_view, l, e);
	case N_BY_ID:
		return dir.kind ? row_list(c->db, dir.row, k->no, rows_after, true, emit_id, l, e) : 0;
	case N_WAIT_FOR: {
		int64_t i = 0;

		for (const char *p = k->statuses; p && *p; i++) {
			char word[32];
			size_t n = strcspn(p, " ");

			snprintf(word, sizeof word, "%.*s", (int)n, p);
			emit(l, word, (struct node){ .by_id = dir.by_id, .kind = NK_STATUS, .file = (uint8_t)i, .row = dir.row }, 10 + i);
			p += n + (p[n] == ' ');
		}
		return 0;
	}
	default:
		return err_set(e, ENOTDIR, "not a directory");
	}
}

