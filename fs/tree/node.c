#include "node.h"
#include "files.h"
#include "node_parts.h"

#include <errno.h>
#include <string.h>

#define ROW_BITS 46
#define ROW_MASK ((INT64_C(1) << ROW_BITS) - 1)
#define OBJECT_BITS 34
#define OBJECT_MASK ((INT64_C(1) << OBJECT_BITS) - 1)

uint64_t node_ino(struct node n)
{
	return (uint64_t)n.by_id << 62 | (uint64_t)n.kind << 54 | (uint64_t)n.file << ROW_BITS |
		(uint64_t)n.sub << OBJECT_BITS | (uint64_t)(n.row & ROW_MASK);
}

struct node node_of(uint64_t ino)
{
	struct node n = { .by_id = ino >> 62 & 1, .kind = (uint8_t)(ino >> 54), .file = (uint8_t)(ino >> ROW_BITS),
		.row = (int64_t)(ino & ROW_MASK) };

	if (n.kind < NK_FILES && n.file >= NF_KIND && n.file < NF_GROUP) {
		n.sub = (uint16_t)(n.row >> OBJECT_BITS);
		n.row &= OBJECT_MASK;
	}
	return n;
}

static const struct file *file_at(const struct file *files, unsigned i)
{
	for (unsigned n = 0; files && files[n].name; n++)
		if (n == i)
			return &files[n];
	return NULL;
}

const struct file *files_of(const struct kind *k)
{
	return k == &root_kind ? root_common : common_files;
}

const struct kind *node_kind(struct fs *fs, struct node n)
{
	return fs->by_no[n.kind];
}

const struct file *node_file(struct fs *fs, struct node n)
{
	const struct kind *k = node_kind(fs, n);

	if (!k)
		return NULL;
	if (n.file == NF_OBJECT)
		return k->flags & K_FILE ? k->files : NULL;
	if (n.file < NF_KIND)
		return file_at(files_of(k), n.file - NF_COMMON);
	if (n.file < NF_GROUP)
		return file_at(k->files, n.file - NF_KIND);
	if (n.file >= NF_COLL_FILE && n.file < NF_WAIT_FOR)
		return file_at(collection_files, n.file - NF_COLL_FILE);
	if (n.file >= NF_VIEW_FILE && n.file < NF_VIEW_LINK)
		return file_at(view_files, n.file - NF_VIEW_FILE);
	return NULL;
}

enum node_type node_type(struct fs *fs, struct node n)
{
	switch (n.kind) {
	case NK_FILES:		return fs->files[n.file] ? N_FILES : N_NONE;
	case NK_STATUS:		return N_STATUS;
	case NK_LINK_DIR:	return N_LINK_DIR;
	case NK_LINK:		return N_LINK;
	case NK_SCRATCH:	return N_SCRATCH;
	}
	if (!node_kind(fs, n))
		return N_NONE;
	switch (n.file) {
	case NF_OBJECT:		return N_OBJECT;
	case NF_WAIT_FOR:	return N_WAIT_FOR;
	case NF_BY_ID:		return N_BY_ID;
	case NF_VIEW:		return N_VIEW;
	case NF_VIEW_LINK:	return N_VIEW_LINK;
	case NF_COLLECTION:	return N_COLLECTION;
	}
	if (n.file >= NF_GROUP && n.file < NF_COLL_FILE)
		return N_GROUP;
	const struct file *f = node_file(fs, n);
	if (!f)
		return N_NONE;
	return n.file >= NF_VIEW_FILE ? N_VIEW_FILE : n.file >= NF_COLL_FILE ? N_COLL_FILE : !(f->flags & F_DIR) ? N_FILE :
		f->files ? N_FILES_TOP : !f->tree ? N_LINKS : f->tree->is_dir(n.sub) ? N_TREE : N_TREE_FILE;
}

const struct stream *node_stream(struct fs *fs, struct node n)
{
	const struct file *f = node_file(fs, n);

	if (f && f->tree)
		return n.sub && f->tree->stream ? f->tree->stream(n.sub) : NULL;
	return f ? f->stream : NULL;
}

bool node_is_dir(struct fs *fs, struct node n)
{
	switch (node_type(fs, n)) {
	case N_OBJECT:
		return !(node_kind(fs, n)->flags & K_FILE);
	case N_GROUP: case N_LINKS: case N_LINK_DIR: case N_TREE: case N_FILES_TOP: case N_COLLECTION: case N_BY_ID: case N_WAIT_FOR: case N_VIEW:
		return true;
	default:
		return false;
	}
}

bool node_told(struct fs *fs, struct node n)
{
	switch (n.by_id ? N_NONE : node_type(fs, n)) {
	case N_OBJECT: case N_COLLECTION: case N_GROUP:
		return true;
	case N_LINKS:
		return node_file(fs, n)->links->own;
	default:
		return false;
	}
}

bool file_is_live(const struct file *f)
{
	return f->flags & (F_LIVE | F_STREAM | F_HIDDEN | F_BYTES) || f->tree;
}

/* ---- directories of ordinary files */

const struct files *node_files(struct fs *fs, struct node n)
{
	if (n.kind == NK_FILES)
		return fs->files[n.file];
	const struct kind *k = n.kind && n.file >= NF_KIND && n.file < NF_GROUP ? node_kind(fs, n) : NULL;
	const struct file *f = k ? file_at(k->files, n.file - NF_KIND) : NULL;
	return f ? f->files : NULL;
}

bool node_files_top(struct fs *fs, const struct files *f, int64_t object, struct node *ret)
{
	for (const struct kind *const *k = fs->kinds; *k; k++)
		for (unsigned i = 0; (*k)->files && (*k)->files[i].name; i++)
			if ((*k)->files[i].files == f) {
				*ret = (struct node){ .kind = (*k)->no, .file = (uint8_t)(NF_KIND + i), .row = object };
				return true;
			}
	return false;
}

void node_files_init(struct fs *fs)
{
	for (const struct kind *const *k = fs->kinds; *k; k++)
		for (const struct file *f = (*k)->files; f && f->name; f++)
			if (f->files)
				fs->files[f->files->no] = f->files;
}

/* ---- groups: files named "dir/name" stand in a directory of their object */

int group_of(const struct kind *k, const char *name, size_t len, char *dir, size_t size)
{
	const char *last = "";
	size_t last_len = 0;
	int n = -1;

	for (const struct file *f = k->files; f && f->name; f++) {
		const char *slash = strchr(f->name, '/');
		size_t l = slash ? (size_t)(slash - f->name) : 0;

		if (!slash || (l == last_len && strncmp(f->name, last, l) == 0))
			continue;
		n++;
		last = f->name;
		last_len = l;
		if (l == len && strncmp(f->name, name, len) == 0) {
			if (dir)
				snprintf(dir, size, "%.*s", (int)l, f->name);
			return n;
		}
	}
	return -1;
}

bool group_name(const struct kind *k, int no, char *dir, size_t size)
{
	for (const struct file *f = k->files; f && f->name; f++) {
		const char *slash = strchr(f->name, '/');

		if (slash && group_of(k, f->name, (size_t)(slash - f->name), dir, size) == no)
			return true;
	}
	return false;
}

/* ---- names */

bool only_status(const struct kind *k, const struct file *f)
{
	return !(f->flags & F_ONLY_STATUS) || k->statuses;
}

static bool in_files(const struct file *files, const char *name, unsigned base, struct node *n)
{
	for (unsigned i = 0; files && files[i].name; i++)
		if (strcmp(files[i].name, name) == 0) {
			n->file = (uint8_t)(base + i);
			return true;
		}
	return false;
}

static const struct kind *view_by_name(struct fs *fs, const char *name)
{
	for (const struct kind *const *k = fs->kinds; *k; k++)
		if ((*k)->open_view && strcmp((*k)->dir, name) == 0)
			return *k;
	return NULL;
}

static bool object_lookup(struct fs *fs, struct node dir, const char *name, struct node *ret)
{
	const struct kind *k = node_kind(fs, dir), *child;
	struct node n = dir;

	if (k->flags & K_FILE)
		return false;
	if (in_files(files_of(k), name, NF_COMMON, &n)) {
		if (!only_status(k, node_file(fs, n)))
			return false;
		if (node_file(fs, n)->type == T_NONE && strcmp(name, "wait-for") == 0)
			n.file = NF_WAIT_FOR;
		if (strcmp(name, "by-id") == 0)
			n.file = NF_BY_ID;
	} else if (in_files(k->files, name, NF_KIND, &n)) {
		;
	} else if ((child = kind_by_dir(fs, k, name, strlen(name)))) {
		n.kind = child->no;
		n.file = NF_COLLECTION;
	} else if (k == &root_kind && (child = view_by_name(fs, name))) {
		n.kind = child->no;
		n.file = NF_VIEW;
	} else {
		int g = group_of(k, name, strlen(name), NULL, 0);

		if (g < 0)
			return false;
		n.file = (uint8_t)(NF_GROUP + g);
	}
	*ret = n;
	return true;
}

bool name_reserved(struct fs *fs, const struct kind *coll, const char *name)
{
	struct node n = { 0 };

	return !(coll->flags & K_PLAIN) && in_files(collection_files, name, 0, &n);
}

/* ---- lookup, by the type of the directory */

struct find_link {
	const char *name;
	int64_t row, target, tenant;
	struct call *c;
	struct err *e;
	bool by_tenant, found;
};

int64_t tenant_of(struct call *c, int64_t id, struct row *r)
{
	struct err e;

	return row_by_id(c->db, id, r, &e) > 0 ? r->tenant : 0;
}

static int match_link(void *arg, const char *name, int64_t row, int64_t target)
{
	struct find_link *f = arg;
	struct row r;

	if (strcmp(name, f->name) != 0 || (f->tenant && tenant_of(f->c, target, &r) != f->tenant))
		return 0;
	f->row = row;
	f->found = true;
	return 1;
}

static int links_lookup(struct call *c, struct node dir, const struct links *l, int64_t object, int64_t tenant, const char *name,
			struct node *ret, struct err *e)
{
	struct find_link f = { .name = name, .c = c, .e = e, .tenant = tenant };
	struct obj o, t;
	int rc = obj_by_id(c, object, &o, e);

	if (rc < 0)
		return rc;
	if (l->by_tenant && !tenant) {
		const struct kind *tk = kind_by_dir(c->fs, &root_kind, "tenants", 7);

		rc = obj_by_name(c, tk, ROOT_ROW, name, &t, e);
		if (rc < 0)
			return rc;
		*ret = (struct node){ .by_id = dir.by_id, .kind = NK_LINK_DIR, .file = l->no, .row = object << TENANT_BITS | t.row.id };
		return rc ? 0 : err_set(e, ENOENT, "no tenant '%s'", name);
	}
	rc = l->each(c, &o, match_link, &f, e);
	if (rc < 0)
		return rc;
	if (!f.found)
		return err_set(e, ENOENT, "no link '%s'", name);
	*ret = (struct node){ .by_id = dir.by_id, .kind = NK_LINK, .file = l->no, .row = f.row };
	return 0;
}

struct find_sub {
	const char *name;
	unsigned no;
};

static int match_sub(void *arg, const char *name, unsigned no, bool hidden)
{
	struct find_sub *f = arg;

	if (strcmp(name, f->name) != 0)
		return 0;
	f->no = no;
	return 1;
}

static int tree_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e)
{
	struct find_sub f = { .name = name };
	struct obj o;
	int rc = obj_by_id(c, dir.row, &o, e);

	if (rc == 0)
		rc = node_file(c->fs, dir)->tree->each(c, &o, dir.sub, match_sub, &f, e);
	if (rc < 0)
		return rc;
	*ret = dir;
	ret->sub = (uint16_t)f.no;
	return f.no ? 0 : err_set(e, ENOENT, "no '%s' here", name);
}

const struct links *links_by_no(struct fs *fs, uint8_t no)
{
	for (const struct kind *const *k = fs->kinds; *k; k++)
		for (const struct file *f = (*k)->files; f && f->name; f++)
			if (f->links && f->links->no == no)
				return f->links;
	return NULL;
}

int view_name(struct call *c, const struct kind *k, const struct row *r, char *ret, size_t size)
{
	struct row t;

	if (strcmp(k->open_view, "open") == 0)
		return snprintf(ret, size, "%s", r->name);
	tenant_of(c, r->tenant, &t);
	return snprintf(ret, size, "%s:%s", t.name, r->name);
}

static int first_row(void *arg, const struct row *r)
{
	*(struct row *)arg = *r;
	return 1;
}

int view_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	struct row r = { 0 };
	int rc = 0;

	*ret = dir;
	if (in_files(view_files, name, NF_VIEW_FILE, ret))
		return 0;
	if (strcmp(k->open_view, "open") == 0) {
		rc = row_open(c->db, k->no, k->view, name, first_row, &r, e);
	} else {
		/* TENANT:NAME; both may hold colons, so every split is tried */
		for (const char *colon = strchr(name, ':'); colon && rc == 0 && !r.id; colon = strchr(colon + 1, ':')) {
			const struct kind *tk = kind_by_dir(c->fs, &root_kind, "tenants", 7);
			char tenant[256];
			struct row t;

			if (snprintf(tenant, sizeof tenant, "%.*s", (int)(colon - name), name) >= (int)sizeof tenant)
				break;
			rc = row_by_name(c->db, ROOT_ROW, tk->no, tenant, &t, e);
			if (rc > 0)
				rc = row_by_name(c->db, t.id, k->no, colon + 1, &r, e);
			if (rc == 0)
				r.id = 0;
			rc = rc < 0 ? rc : 0;
		}
	}
	if (rc < 0)
		return rc;
	*ret = (struct node){ .kind = k->no, .file = NF_VIEW_LINK, .row = r.id };
	return r.id ? 0 : err_set(e, ENOENT, "no '%s' here", name);
}

static int entry_lookup(struct call *c, const struct kind *k, int64_t parent, const char *name, struct node *n, struct err *e)
{
	struct row r;
	int rc = row_by_name(c->db, parent, k->no, name, &r, e);

	if (rc < 0)
		return rc;
	n->kind = k->no;
	n->file = NF_OBJECT;
	n->row = r.id;
	return rc ? 0 : err_set(e, ENOENT, "no %s '%s'", k->name, name);
}

static int by_id_lookup(struct call *c, struct node dir, const char *uuid, struct node *ret, struct err *e)
{
	struct row r = { 0 };
	int rc = row_by_uuid(c->db, uuid, &r, e);

	if (rc < 0)
		return rc;
	bool here = rc && r.id != ROOT_ROW && (dir.kind == 0 || (r.kind == dir.kind && r.parent == dir.row));
	*ret = (struct node){ .by_id = true, .kind = (uint8_t)r.kind, .row = r.id };
	return here ? 0 : err_set(e, ENOENT, "no object here has the id %s", uuid);
}

static int status_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	unsigned i = 0;

	for (const char *p = k->statuses; p && *p; i++) {
		size_t n = strcspn(p, " ");

		if (strlen(name) == n && strncmp(p, name, n) == 0) {
			*ret = (struct node){ .by_id = dir.by_id, .kind = NK_STATUS, .file = (uint8_t)i, .row = dir.row };
			return 0;
		}
		p += n + (p[n] == ' ');
	}
	return err_set(e, ENOENT, "%s is never %s; it can be %s", kind_a(k), name, k->statuses);
}

int node_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	struct node n = dir;

	switch (node_type(c->fs, dir)) {
	case N_OBJECT:
		if (object_lookup(c->fs, dir, name, ret))
			return 0;
		break;
	case N_COLLECTION:
		if (!(k->flags & K_PLAIN) && in_files(collection_files, name, NF_COLL_FILE, &n)) {
			if (strcmp(name, "by-id") == 0)
				n.file = NF_BY_ID;
			*ret = n;
			return 0;
		}
		int rc = entry_lookup(c, k, dir.row, name, &n, e);
		if (rc == 0)
			*ret = n;
		return rc;
	case N_GROUP: {
		char full[160], group[64];

		if (group_name(k, dir.file - NF_GROUP, group, sizeof group) &&
		    snprintf(full, sizeof full, "%s/%s", group, name) < (int)sizeof full && in_files(k->files, full, NF_KIND, &n)) {
			*ret = n;
			return 0;
		}
		break;
	}
	case N_LINKS:
		return links_lookup(c, dir, node_file(c->fs, dir)->links, dir.row, 0, name, ret, e);
	case N_TREE:
		return tree_lookup(c, dir, name, ret, e);
	case N_LINK_DIR:
		return links_lookup(c, dir, links_by_no(c->fs, dir.file), dir.row >> TENANT_BITS, dir.row & ((1 << TENANT_BITS) - 1), name,
				    ret, e);
	case N_VIEW:
		return view_lookup(c, dir, name, ret, e);
	case N_BY_ID:
		return by_id_lookup(c, dir, name, ret, e);
	case N_WAIT_FOR:
		return status_lookup(c, dir, name, ret, e);
	default:
		return err_set(e, ENOTDIR, "not a directory");
	}
	return err_set(e, ENOENT, "no '%s' here", name);
}
