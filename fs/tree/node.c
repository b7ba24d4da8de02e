#include "node.h"

#include <errno.h>
#include <string.h>

#define ROW_BITS 46
#define ROW_MASK ((INT64_C(1) << ROW_BITS) - 1)
#define TENANT_BITS 23	/* in the row of NK_LINK_DIR */

uint64_t node_ino(struct node n)
{
	return (uint64_t)n.by_id << 62 | (uint64_t)n.kind << 54 | (uint64_t)n.file << ROW_BITS | (uint64_t)(n.row & ROW_MASK);
}

struct node node_of(uint64_t ino)
{
	return (struct node){ .by_id = ino >> 62 & 1, .kind = (uint8_t)(ino >> 54), .file = (uint8_t)(ino >> ROW_BITS),
		.row = (int64_t)(ino & ROW_MASK) };
}

static const struct file *file_at(const struct file *files, unsigned i)
{
	for (unsigned n = 0; files && files[n].name; n++)
		if (n == i)
			return &files[n];
	return NULL;
}

static const struct file *files_of(const struct kind *k)
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
	return n.file >= NF_VIEW_FILE ? N_VIEW_FILE : n.file >= NF_COLL_FILE ? N_COLL_FILE : f->flags & F_DIR ? N_LINKS : N_FILE;
}

bool node_is_dir(struct fs *fs, struct node n)
{
	switch (node_type(fs, n)) {
	case N_OBJECT:
		return !(node_kind(fs, n)->flags & K_FILE);
	case N_GROUP: case N_LINKS: case N_LINK_DIR: case N_COLLECTION: case N_BY_ID: case N_WAIT_FOR: case N_VIEW:
		return true;
	default:
		return false;
	}
}

bool file_is_live(const struct file *f)
{
	return f->flags & (F_LIVE | F_STREAM | F_HIDDEN | F_BYTES);
}

/* ---- groups: files named "dir/name" stand in a directory of their object */

static int group_of(const struct kind *k, const char *name, size_t len, char *dir, size_t size)
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

static bool group_name(const struct kind *k, int no, char *dir, size_t size)
{
	for (const struct file *f = k->files; f && f->name; f++) {
		const char *slash = strchr(f->name, '/');

		if (slash && group_of(k, f->name, (size_t)(slash - f->name), dir, size) == no)
			return true;
	}
	return false;
}

/* ---- names */

static bool only_status(const struct kind *k, const struct file *f)
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

static int64_t tenant_of(struct call *c, int64_t id, struct row *r)
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

static const struct links *links_by_no(struct fs *fs, uint8_t no)
{
	for (const struct kind *const *k = fs->kinds; *k; k++)
		for (const struct file *f = (*k)->files; f && f->name; f++)
			if (f->links && f->links->no == no)
				return f->links;
	return NULL;
}

static int view_name(struct call *c, const struct kind *k, const struct row *r, char *ret, size_t size)
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

static int view_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e)
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
	return err_set(e, ENOENT, "a %s is never %s; it can be %s", k->name, name, k->statuses);
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

/* ---- upwards */

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
	case N_GROUP: case N_LINKS: case N_WAIT_FOR:
		ret->file = NF_OBJECT;
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
	case N_STATUS: case N_OBJECT: case N_FILE: case N_GROUP: case N_LINKS: case N_WAIT_FOR:
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
		}
		return;
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
