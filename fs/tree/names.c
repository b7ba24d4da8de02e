/* Names made, removed, changed and linked: what mkdir, rmdir, unlink, symlink, rename and open(O_CREAT) mean. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

#include "attr.h"
#include "handle.h"
#include "scratch.h"
#include "session.h"

/* What may be made in that directory. */
int names_make(struct call *c, struct node dir, const char *name, struct node *made, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	struct args none = { 0 };
	struct obj parent, o;
	int rc;

	if (node_type(c->fs, dir) != N_COLLECTION)
		return err_set(e, EPERM, "nothing can be made here%s%s", node_type(c->fs, dir) == N_VIEW ? "; make it in its tenant's " : "",
			       node_type(c->fs, dir) == N_VIEW ? k->dir : "");
	c->hold = true;
	if (call_write(c, e) < 0 || obj_by_id(c, dir.row, &parent, e) < 0)
		return -e->code;
	rc = k->flags & K_LIVE ? obj_create(c, k, &parent, name, &none, &o, e) :
		obj_draft(c, k, &parent, name, &o, e);
	if (rc == 0)
		rc = call_commit(c, e);
	if (rc == 0)
		*made = (struct node){ .by_id = dir.by_id, .kind = k->no, .row = o.row.id };
	return rc;
}

static int remove_once(struct call *c, struct node dir, struct node n, struct err *e)
{
	struct obj o;
	int rc;

	c->hold = true;
	c->kernel_knows = dir.by_id ? 0 : n.row;
	rc = call_write(c, e);
	if (rc == 0)
		rc = obj_by_id(c, n.row, &o, e);
	if (rc == 0)
		rc = obj_delete(c, &o, e);
	return rc < 0 ? rc : call_commit(c, e);
}

/* On a full disk deletions alone go on: what they need is little, what they free may be much. */
static int remove_object(struct call *c, struct node dir, struct node n, struct err *e)
{
	int rc = remove_once(c, dir, n, e);

	if (rc != -ENOSPC || !c->fs->make_room || !c->fs->make_room(c->fs))
		return rc;
	call_anew(c);
	*e = (struct err){ 0 };
	return remove_once(c, dir, n, e);
}

int names_rmdir(struct call *c, struct node dir, const char *name, struct err *e)
{
	struct node n;

	if (node_lookup(c, dir, name, &n, e) < 0)
		return -e->code;
	if (!node_is_dir(c->fs, n))
		return err_set(e, ENOTDIR, "not a directory");
	if (check_recursive(c, &c->who, c->tid, dir, n, e) < 0)
		return -e->code;
	if (node_type(c->fs, n) != N_OBJECT) {
		mark_recursive(c->fs, &c->who, dir);
		return err_set(e, EPERM, "%s/ is a part of what it stands in and cannot be removed", name);
	}
	return remove_object(c, dir, n, e);
}

static const struct links *links_at(struct fs *fs, struct node dir)
{
	return node_type(fs, dir) == N_LINKS ? node_file(fs, dir)->links : NULL;
}

static int detach(struct call *c, struct node dir, const char *name, struct err *e)
{
	const struct links *l = links_at(c->fs, dir);
	struct obj o;
	int rc;

	if (!l || !l->detach)
		return err_set(e, EPERM, "this link is made by the system");
	c->hold = true;
	rc = call_write(c, e);
	if (rc == 0)
		rc = obj_by_id(c, dir.row, &o, e);
	if (rc == 0)
		rc = obj_unprotected(c, &o, e);
	if (rc == 0)
		rc = l->detach(c, &o, name, e);
	return rc < 0 ? rc : call_commit(c, e);
}

int names_unlink(struct call *c, struct node dir, const char *name, struct err *e)
{
	struct node n;

	if (scratch_lookup(c->fs, dir, name, &n)) {
		scratch_drop(c->fs, n);
		return 0;
	}
	if (node_lookup(c, dir, name, &n, e) < 0)
		return -e->code;
	enum node_type t = node_type(c->fs, n);
	if (t == N_OBJECT || t == N_LINK) {
		if (check_recursive(c, &c->who, c->tid, dir, dir, e) < 0)
			return -e->code;
		return t == N_LINK ? detach(c, dir, name, e) : remove_object(c, dir, n, e);
	}
	const struct file *f = node_file(c->fs, n);
	if (f && f->type == T_DOC && !has_listed(c->fs, c->tid, dir) && check_recursive(c, &c->who, c->tid, dir, dir, e) == 0) {
		doc_hide(c->fs, n);	/* install(1) unlinks what it is about to make anew */
		return 0;
	}
	mark_recursive(c->fs, &c->who, dir);
	return err_set(e, EPERM, "%s is a control file and cannot be removed; a recursive delete is refused: use rmdir, delete or purge",
		       name);
}

/* "../../../volumes/data" from the link's directory, or an absolute path below the mount point, to an object. */
static int resolve_target(struct call *c, struct node dir, const char *target, struct obj *ret, struct err *e)
{
	AUTO(free) char *copy = NULL;
	struct node n = dir, next;
	size_t mp = strlen(c->fs->mountpoint);

	if (*target == '/') {
		if (strncmp(target, c->fs->mountpoint, mp) != 0 || target[mp] != '/')
			return err_set(e, EINVAL, "the target is not below %s; a relative one is made by 'ln -sr'", c->fs->mountpoint);
		target += mp;
		n = (struct node){ .row = ROOT_ROW };
	}
	copy = strdup(target);
	if (!copy)
		return err_set(e, ENOMEM, "%m");
	for (char *save, *p = strtok_r(copy, "/", &save); p; p = strtok_r(NULL, "/", &save)) {
		int rc = 0;

		if (strcmp(p, ".") == 0)
			continue;
		rc = strcmp(p, "..") == 0 ? node_parent(c, n, &next, e) : node_lookup(c, n, p, &next, e);
		if (rc < 0)
			return err_set(e, EINVAL, "the target '%s' leads nowhere (%s); 'ln -sr' makes it relative", target, p);
		n = next;
	}
	if (node_type(c->fs, n) == N_VIEW_LINK)
		n.file = NF_OBJECT;
	if (node_type(c->fs, n) != N_OBJECT || n.row == ROOT_ROW)
		return err_set(e, EINVAL, "the target '%s' is not an object", target);
	return obj_by_id(c, n.row, ret, e);
}

int names_symlink(struct call *c, struct node dir, const char *name, const char *target, struct err *e)
{
	const struct links *l = links_at(c->fs, dir);
	struct obj o, to;
	int rc;

	if (!l || !l->attach)
		return err_set(e, EPERM, "links cannot be made here");
	if (check_name(name, e) < 0 || resolve_target(c, dir, target, &to, e) < 0)
		return -e->code;
	c->hold = true;
	rc = call_write(c, e);
	if (rc == 0)
		rc = obj_by_id(c, dir.row, &o, e);
	if (rc == 0)
		rc = l->attach(c, &o, name, &to, e);
	return rc < 0 ? rc : call_commit(c, e);
}

static int scratch_over(struct call *c, struct node scratch, struct node dir, const char *name, struct err *e)
{
	AUTO(free) char *text = NULL;
	const struct file *f;
	struct node n;
	size_t len;
	int rc;

	if (node_lookup(c, dir, name, &n, e) < 0)
		return scratch_rename(c->fs, scratch, name, e);
	f = node_file(c->fs, n);
	if (!f || (f->type != T_DOC && !node_writable(c->fs, n)))
		return err_set(e, EPERM, "%s cannot be replaced", name);
	rc = scratch_read(c->fs, scratch, 0, 1 << 22, &text, &len, e);
	if (rc == 0)
		rc = call_write(c, e);
	if (rc == 0)
		rc = attr_store(c, n, text, len, e);
	if (rc == 0)
		rc = call_commit(c, e);
	if (rc == 0)
		scratch_drop(c->fs, scratch);
	return rc;
}

static int rename_object(struct call *c, struct node n, const char *name, bool replace, struct err *e)
{
	struct obj o, there;
	int rc = call_write(c, e);

	if (rc == 0)
		rc = obj_by_id(c, n.row, &o, e);
	if (rc == 0 && replace && o.kind->flags & K_FILE) {	/* a file replaces a file, as editors do */
		rc = obj_by_name(c, o.kind, o.row.parent, name, &there, e);
		if (rc > 0) {
			c->kernel_knows = there.row.id;
			rc = obj_delete(c, &there, e);
		}
	}
	c->kernel_knows = n.row;
	if (rc == 0)
		rc = obj_rename(c, &o, name, e);
	return rc < 0 ? rc : call_commit(c, e);
}

int names_rename(struct call *c, struct node from, const char *name, struct node to, const char *newname, unsigned flags, struct err *e)
{
	struct node n;

	if (flags & RENAME_EXCHANGE)
		return err_set(e, EINVAL, "names cannot be exchanged");
	c->hold = true;
	if (scratch_lookup(c->fs, from, name, &n))
		return node_same(from, to) ? scratch_over(c, n, to, newname, e) : err_set(e, EPERM, "a scratch file stays in its directory");
	if (node_lookup(c, from, name, &n, e) < 0)
		return -e->code;
	if (node_type(c->fs, n) != N_OBJECT)
		return err_set(e, EPERM, "%s is a part of what it stands in and keeps its name", name);
	if (!node_same(from, to))
		return err_set(e, EPERM, "%s stays in its collection", kind_a(node_kind(c->fs, n)));
	if (check_recursive(c, &c->who, c->tid, from, from, e) < 0)
		return -e->code;
	return rename_object(c, n, newname, !(flags & RENAME_NOREPLACE), e);
}

/* One letter too many, too few or another. */
static bool is_near(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), i = 0;

	while (a[i] && a[i] == b[i])
		i++;
	return n == m ? strcmp(a + i + !!a[i], b + i + !!b[i]) == 0 : n == m + 1 ? strcmp(a + i + 1, b + i) == 0 :
		m == n + 1 && strcmp(a + i, b + i + 1) == 0;
}

static const struct file *near_file(const struct file *f, const char *name)
{
	for (; f && f->name; f++)
		if (file_settable(f) && is_near(name, f->name))
			return f;
	return NULL;
}

/* A scratch file may have any name but one that is most likely a misspelt file: what is written there would be lost. */
static int check_scratch(const struct kind *k, const char *name, int flags, struct err *e)
{
	const struct file *f = flags & O_EXCL ? NULL : near_file(k->files, name);

	if (!f && !(flags & O_EXCL))
		f = near_file(common_files, name);
	return !f || f->type == T_DOC ? 0 : err_set(e, EPERM, "%s has no file '%s'; there is '%s'", kind_a(k), name, f->name);
}

int names_create(struct call *c, struct node dir, const char *name, int flags, struct node *made, struct err *e)
{
	const struct kind *k = node_kind(c->fs, dir);
	enum node_type t = node_type(c->fs, dir);

	if (t == N_COLLECTION && k->flags & K_FILE)
		return check_name(name, e) < 0 ? -e->code : names_make(c, dir, name, made, e);
	if (t == N_OBJECT && dir.kind != 0) {
		if (node_lookup(c, dir, name, made, e) == 0 && doc_hidden(c->fs, *made, true))
			return 0;
		*e = (struct err){ 0 };
		return check_scratch(k, name, flags, e) < 0 ? -e->code : scratch_make(c->fs, dir, name, made, e);
	}
	return err_set(e, EPERM, t == N_COLLECTION ? "%s is made with mkdir or create" : "files cannot be made here", k ? kind_a(k) : "");
}
