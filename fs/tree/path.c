/* From a node upwards: its directory, its path, what a link says. */
#include "node.h"
#include "files.h"
#include "node_parts.h"

#include <errno.h>
#include <string.h>

int node_parent(struct call *c, struct node n, struct node *ret, struct err *e)
{
	struct obj o;
	int rc;

	*ret = n;
	switch (node_type(c->fs, n)) {
	case N_OBJECT:
		if (n.kind == 0)
			return 0;
		rc = obj_by_id(c, n.row, &o, e);
		if (rc < 0)
			return rc;
		*ret = (struct node){ .kind = n.kind, .file = NF_COLLECTION, .row = o.row.parent };
		return 1;
	case N_COLLECTION: {
		const struct kind *p = node_kind(c->fs, n)->parent;

		ret->kind = p ? p->no : 0;
		ret->file = NF_OBJECT;
		return 1;
	}
	case N_FILE: {
		const char *slash = strchr(node_file(c->fs, n)->name, '/');

		ret->file = NF_OBJECT;
		if (slash) {
			const char *name = node_file(c->fs, n)->name;

			ret->file = (uint8_t)(NF_GROUP + group_of(node_kind(c->fs, n), name, (size_t)(slash - name), NULL, 0));
		}
		return 1;
	}
	case N_GROUP: case N_LINKS: case N_FILES_TOP: case N_WAIT_FOR:
		ret->file = NF_OBJECT;
		return 1;
	case N_TREE: case N_TREE_FILE:
		if (!n.sub)
			ret->file = NF_OBJECT;
		else
			ret->sub = (uint16_t)node_file(c->fs, n)->tree->parent(n.sub);
		return 1;
	case N_COLL_FILE: case N_BY_ID:
		ret->file = n.kind ? NF_COLLECTION : NF_OBJECT;
		return 1;
	case N_VIEW_FILE: case N_VIEW_LINK:
		*ret = (struct node){ .kind = n.kind, .file = NF_VIEW, .row = ROOT_ROW };
		return 1;
	case N_VIEW:
		*ret = (struct node){ .row = ROOT_ROW };
		return 1;
	case N_STATUS:
		rc = obj_by_id(c, n.row, &o, e);
		if (rc < 0)
			return rc;
		*ret = (struct node){ .by_id = n.by_id, .kind = o.kind->no, .file = NF_WAIT_FOR, .row = n.row };
		return 1;
	default:
		return err_set(e, ENOENT, "its directory is not known");
	}
}

struct name_of {
	unsigned no;
	char *to;
	size_t size;
};

static int copy_name(void *arg, const char *name, unsigned no, bool hidden)
{
	struct name_of *f = arg;

	return no == f->no && snprintf(f->to, f->size, "/%s", name) >= 0;
}

/* Where it stands below its subtree, "/latest/meta-data"; added to what is there. */
static void sub_path(struct call *c, const struct obj *o, const struct subtree *tree, unsigned no, char *ret, size_t size)
{
	struct err e;

	if (!no)
		return;
	sub_path(c, o, tree, tree->parent(no), ret, size);
	size_t len = strlen(ret);
	struct name_of f = { no, ret + len, size - len };
	tree->each(c, o, tree->parent(no), copy_name, &f, &e);
}

void node_path(struct call *c, struct node n, char *ret, size_t size)
{
	const struct file *f = node_file(c->fs, n);
	const struct kind *k = node_kind(c->fs, n);
	struct err e;
	struct obj o;

	*ret = '\0';
	switch (node_type(c->fs, n)) {
	case N_COLLECTION: case N_COLL_FILE: case N_BY_ID:
		if (n.kind && obj_by_id(c, n.row, &o, &e) == 0) {
			size_t len;

			obj_path(c, &o, ret, size, &e);
			len = strlen(ret);
			snprintf(ret + len, size - len, "%s%s%s%s", len ? "/" : "", k->dir, f ? "/" : "",
				 f ? f->name : n.file == NF_BY_ID ? "/by-id" : "");
		}
		return;
	case N_VIEW: case N_VIEW_FILE:
		snprintf(ret, size, "%s%s%s", k->dir, f ? "/" : "", f ? f->name : "");
		return;
	case N_STATUS: case N_OBJECT: case N_FILE: case N_GROUP: case N_LINKS: case N_FILES_TOP: case N_TREE: case N_TREE_FILE:
	case N_WAIT_FOR:
		if (obj_by_id(c, n.row, &o, &e) == 0) {
			size_t len;
			char group[64] = "";

			obj_path(c, &o, ret, size, &e);
			len = strlen(ret);
			if (node_type(c->fs, n) == N_GROUP)
				group_name(k, n.file - NF_GROUP, group, sizeof group);
			const char *tail = n.file == NF_WAIT_FOR || n.kind == NK_STATUS ? "wait-for" : n.file == NF_OBJECT ? "" :
				f ? f->name : group;
			snprintf(ret + len, size - len, "%s%s", len && *tail ? "/" : "", tail);
			if (f && f->tree)
				sub_path(c, &o, f->tree, n.sub, ret, size);
		}
		return;
	case N_FILES: {
		const struct files *files = node_files(c->fs, n);
		char below[1100];
		struct node top;
		int64_t object;
		size_t len;

		if (files->path(c->fs, n.row, &object, below, sizeof below, &e) < 0 || !node_files_top(c->fs, files, object, &top))
			return;
		node_path(c, top, ret, size);
		len = strlen(ret);
		snprintf(ret + len, size - len, "%s%s", *below ? "/" : "", below);
		return;
	}
	default:
		return;
	}
}

int node_readlink(struct call *c, struct node n, char *ret, size_t size, struct err *e)
{
	char path[1600];
	int64_t target = n.row;
	unsigned up;
	struct obj o;
	int rc = 0;

	if (n.kind == NK_LINK) {
		const struct links *l = links_by_no(c->fs, n.file);

		if (!l)
			return err_set(e, ESTALE, "this link is of another version of cirrusfs");
		rc = l->target(c, n.row, &target, e);
		/* tenants/T/servers/S/networks/N: five up; hosts/H/servers/T/N: four */
		up = l->by_tenant ? 4 : 5;
	} else {
		up = 1;
	}
	if (rc == 0)
		rc = obj_by_id(c, target, &o, e);
	if (rc == 0)
		rc = obj_path(c, &o, path, sizeof path, e);
	if (rc < 0)
		return rc;
	for (size_t len = 0; up--; len += 3)
		if (snprintf(ret + len, size - len, "../") >= (int)(size - len))
			return err_set(e, ENAMETOOLONG, "the path is too long");
	size_t len = strlen(ret);
	return snprintf(ret + len, size - len, "%s", path) < (int)(size - len) ? 0 : err_set(e, ENAMETOOLONG, "the path is too long");
}
