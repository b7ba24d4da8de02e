#include "attr.h"

#include <errno.h>
#include <stdio_ext.h>
#include <string.h>

#include "ctl.h"
#include "help.h"
#include "list.h"
#include "session.h"
#include "spec.h"
#include "value.h"

const struct file *file_find(const struct kind *k, const char *name)
{
	for (const struct file *f = k->files; f && f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	for (const struct file *f = common_files; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

bool file_settable(const struct file *f)
{
	return f->flags & (F_PARAM | F_WRITE) && !(f->flags & F_CONTROL);
}

/* ---- one value */

static int ref_name(struct call *c, const struct obj *o, const struct val *v, FILE *out, struct err *e)
{
	struct obj target;
	char name[300];

	if (v->kind != VAL_INT)
		return 0;
	if (obj_by_id(c, v->i, &target, e) < 0 || obj_call_name(c, o->row.tenant, &target, name, e) < 0)
		return -e->code;
	fputs(name, out);
	return 0;
}

static int doc_text(const struct val *v, FILE *out, struct err *e)
{
	AUTO(free) char *bytes = NULL;
	size_t len;

	if (v->kind != VAL_TEXT || !*v->s)
		return 0;
	bytes = base64_decode(v->s, &len, e);
	if (!bytes)
		return -e->code;
	return fwrite(bytes, 1, len, out) == len ? 0 : err_set(e, ENOMEM, "%m");
}

/* Its content without the newline that ends a value. */
static int show_value(struct call *c, const struct obj *o, const struct file *f, FILE *out, struct err *e)
{
	AUTO(val_free) struct val v = { 0 };
	int rc;

	if (f->show) {
		const struct file *outer = c->file;

		c->file = f;
		rc = f->show(c, o, out, e);
		c->file = outer;
		return rc;
	}
	if (!f->column)
		return 0;
	const char *column = f->shown && strcmp(o->row.status, "DRAFT") != 0 ? f->shown : f->column;
	rc = column_get(c->db, o->kind->view ? o->kind->view : o->kind->table, column, o->row.id, &v, e);
	if (rc < 0)
		return rc;
	if (f->type == T_REF)
		return ref_name(c, o, &v, out, e);
	if (f->type == T_DOC)
		return doc_text(&v, out, e);
	value_print(f, &v, out);
	return 0;
}

int file_text(struct call *c, const struct obj *o, const struct file *f, char **ret, struct err *e)
{
	AUTO(free) char *s = NULL;
	size_t len;
	FILE *out = open_memstream(&s, &len);

	if (!out)
		return err_set(e, ENOMEM, "%m");
	int rc = show_value(c, o, f, out, e);
	fclose(out);
	if (rc < 0)
		return rc;
	while (f->type != T_DOC && len && s[len - 1] == '\n')
		s[--len] = '\0';
	*ret = steal_ptr(&s);
	return 0;
}

/* ---- collections */

static int show_failed(void *arg, const struct row *r)
{
	FILE *out = arg;

	fprintf(out, "%s %s: %s failed\n", r->status, r->name, r->failed);
	return 0;
}

static int coll_error_show(struct call *c, const struct kind *k, struct node n, FILE *out, struct err *e)
{
	char line[1024];
	int64_t at;

	if (refusal_of(c->fs, n, &at, line, sizeof line))
		fprintf(out, "%s\n", line);
	return failed_list(c->db, n.row, k->no, 0, show_failed, out, e);
}

static int coll_show(struct call *c, struct node n, const char *name, FILE *out, struct err *e)
{
	const struct kind *k = node_kind(c->fs, n);
	struct node coll = { .by_id = n.by_id, .kind = n.kind, .file = NF_COLLECTION, .row = n.row };

	if (strcmp(name, "ctl") == 0)
		return ctl_show(c, coll, out, e);
	if (strcmp(name, "list") == 0 || strcmp(name, "json") == 0)
		return table_show(c, k, n.row, *name == 'j', out, e);
	if (strcmp(name, "spec") == 0)
		return coll_spec_show(c, k, n.row, out, e);
	if (strcmp(name, "error") == 0)
		return coll_error_show(c, k, (struct node){ .kind = n.kind, .file = NF_COLLECTION, .row = n.row }, out, e);
	help_collection(c->fs, k, out);
	return 0;
}

bool has_collections(struct fs *fs, const struct kind *k)
{
	for (const struct kind *const *p = fs->kinds; *p; p++)
		if ((*p)->parent == k && !((*p)->flags & (K_PLAIN | K_SYSTEM)))
			return true;
	return false;
}

/* ---- any small file */

static int show_any(struct call *c, struct node n, const struct file *f, FILE *out, struct err *e)
{
	const struct kind *k = node_kind(c->fs, n);
	struct obj o;

	if (n.file >= NF_VIEW_FILE && n.file < NF_VIEW_LINK) {
		if (strcmp(f->name, "list") == 0)
			return table_show(c, k, 0, false, out, e);
		help_view(k, out);
		return 0;
	}
	if (n.file >= NF_COLL_FILE && n.file < NF_WAIT_FOR)
		return coll_show(c, n, f->name, out, e);
	if (obj_by_id(c, n.row, &o, e) < 0)
		return -e->code;
	if (f->type == T_DOC && strcmp(f->name, "spec") == 0)
		return has_collections(c->fs, k) ? tree_spec_show(c, &o, out, e) : spec_show(c, &o, out, e);
	if (f->tree)
		return f->tree->show(c, &o, n.sub, out, e);
	if (!f->show && !f->column && strcmp(f->name, "json") == 0)
		return json_show(c, &o, out, e);
	return show_value(c, &o, f, out, e);
}

int attr_show(struct call *c, struct node n, char **ret, size_t *len, struct err *e)
{
	const struct file *f = node_file(c->fs, n);
	AUTO(free) char *s = NULL;
	size_t size;
	FILE *out = open_memstream(&s, &size);

	if (!out)
		return err_set(e, ENOMEM, "%m");
	__fsetlocking(out, FSETLOCKING_BYCALLER);	/* nobody else has it */
	int rc = f ? show_any(c, n, f, out, e) : err_set(e, ENOENT, "no such file");
	fflush(out);
	/* a document is as it was written, and so is what a tree shows; everything else ends with a newline, and is only that when there is no value */
	if (rc == 0 && f->type != T_DOC && !f->tree && (!size || s[size - 1] != '\n'))
		putc('\n', out);
	fclose(out);
	if (rc < 0)
		return rc;
	*len = size;
	*ret = steal_ptr(&s);
	return 0;
}

/* ---- writing */

static int store_ref(struct call *c, struct obj *o, const struct file *f, const char *text, struct val *ret, struct err *e)
{
	struct obj target;

	*ret = (struct val){ 0 };
	if (!*text)
		return 0;
	if (obj_resolve(c, f->ref, o->row.tenant, text, &target, e) < 0)
		return -e->code;
	if (strcmp(target.row.status, "DRAFT") == 0)
		return err_set(e, EBUSY, "%s '%s' is a draft; create it first", f->ref->name, text);
	*ret = (struct val){ .kind = VAL_INT, .i = target.row.id };
	return 0;
}

static int parse_doc(const char *text, size_t len, size_t max, struct val *ret, struct err *e)
{
	if (!len) {
		*ret = (struct val){ 0 };
		return 0;
	}
	*ret = (struct val){ .kind = VAL_TEXT, .s = base64_encode(text, len) };
	if (!ret->s)
		return err_set(e, ENOMEM, "%m");
	return strlen(ret->s) > max ? err_set(e, EFBIG, "%zu bytes; at most %zu", len, max / 4 * 3) : 0;
}

static int parse_any(struct call *c, struct obj *o, const struct file *f, const char *text, size_t len, struct val *ret, struct err *e)
{
	if (f->type == T_DOC)
		return parse_doc(text, len, f->max ? (size_t)f->max : 65535, ret, e);
	if (f->type == T_REF)
		return store_ref(c, o, f, text, ret, e);
	if (!*text && f->flags & F_NEEDED)
		return err_set(e, EINVAL, "it may not be empty");
	return value_parse(f, text, ret, e);
}

static int may_set(const struct obj *o, const struct file *f, struct err *e)
{
	if (f->flags & F_WRITE || (f->flags & F_PARAM && strcmp(o->row.status, "DRAFT") == 0))
		return 0;
	if (f->flags & F_PARAM)
		return err_set(e, EPERM, "%s of %s is fixed once it is created", f->name, kind_a(o->kind));
	return err_set(e, EPERM, "%s cannot be written", f->name);
}

static int store_file(struct call *c, struct obj *o, const struct file *f, const char *text, size_t len, struct err *e)
{
	AUTO(val_free) struct val v = { 0 }, old = { 0 };
	AUTO(free) char *now = NULL;
	int rc = 0;

	if (f->shown && strcmp(o->row.status, "DRAFT") != 0) {	/* what the system chose, written back */
		rc = file_text(c, o, f, &now, e);
		if (rc < 0 || strcmp(now, text) == 0)
			return rc;
		free(steal_ptr(&now));
	}
	if (f->type == T_NONE && f->show && f->store) {	/* its own words for both: compared as text */
		rc = file_text(c, o, f, &now, e);
		if (rc < 0 || strcmp(now, text) == 0)
			return rc;
	} else if (f->column) {
		rc = parse_any(c, o, f, text, len, &v, e);
		if (rc == 0)
			rc = column_get(c->db, o->kind->table, f->column, o->row.id, &old, e);
		if (rc < 0 || val_equal(&v, &old))
			return rc;
	} else {
		rc = file_text(c, o, f, &now, e);
		if (rc < 0 || strcmp(now, text) == 0)
			return rc;
	}
	if ((rc = may_set(o, f, e)) < 0)
		return rc;
	c->file = f;
	if (f->check)
		rc = f->check(c, o, text, e);
	if (rc == 0)
		rc = f->store ? f->store(c, o, text, e) : column_set(c->db, o->kind->table, f->column, o->row.id, &v, e);
	if (rc < 0)
		return rc;
	changed_file(c, o, f);
	rc = row_touch(c->db, o->row.id, f->name, e);
	if (rc == 0 && strcmp(o->row.status, "DRAFT") != 0) {
		char verb[80];

		snprintf(verb, sizeof verb, "set:%s", f->name);
		rc = event_put(c, o, verb, "ok", -1, e);
	}
	return rc;
}

/* metadata/KEY: an object of its own below `o`. */
static int store_pair(struct call *c, struct obj *o, const char *key, const char *value, struct err *e)
{
	const char *slash = strchr(key, '/');
	const struct kind *k = slash ? kind_by_dir(c->fs, o->kind, key, (size_t)(slash - key)) : NULL;
	struct obj pair;

	if (!k || !(k->flags & K_PLAIN))
		return err_set(e, EINVAL, "%s has no parameter '%s'; 'cat README' of %s/ names them", kind_a(o->kind), key, o->kind->dir);
	int rc = obj_by_name(c, k, o->row.id, slash + 1, &pair, e);
	if (rc == 0)
		rc = obj_make(c, k, o, slash + 1, "ACTIVE", &pair, e);
	return rc < 0 ? rc : store_file(c, &pair, k->files, value, strlen(value), e);
}

int param_store(struct call *c, struct obj *o, const char *key, const char *value, struct err *e)
{
	const struct file *f = file_find(o->kind, key);
	AUTO(free) char *bytes = NULL;
	size_t len = strlen(value);
	int rc;

	if (!f || !file_settable(f))
		rc = f ? err_set(e, EINVAL, "%s is not a parameter of %s", key, kind_a(o->kind)) : store_pair(c, o, key, value, e);
	else if (f->type == T_DOC && strncmp(value, "base64:", 7) == 0)
		rc = (bytes = base64_decode(value + 7, &len, e)) ? store_file(c, o, f, bytes, len, e) : -e->code;
	else
		rc = store_file(c, o, f, value, len, e);
	if (rc < 0 && (f || strchr(key, '/')) && e->code != ENOENT)
		err_prefix(e, "%s", key);
	return rc;
}

int param_show(struct call *c, const struct obj *o, const char *key, char **ret, struct err *e)
{
	const struct file *f = file_find(o->kind, key);
	const char *slash = strchr(key, '/');
	AUTO(val_free) struct val v = { 0 };
	struct obj pair;
	int rc;

	if (f && f->type == T_DOC && f->column) {
		rc = column_get(c->db, o->kind->table, f->column, o->row.id, &v, e);
		if (rc == 0 && asprintf(ret, "%s%s", v.kind == VAL_TEXT ? "base64:" : "", v.kind == VAL_TEXT ? v.s : "") < 0)
			rc = err_set(e, ENOMEM, "%m");
		return rc;
	}
	if (f && file_settable(f))
		return file_text(c, o, f, ret, e);
	const struct kind *k = slash ? kind_by_dir(c->fs, o->kind, key, (size_t)(slash - key)) : NULL;
	if (!k)
		return err_set(e, EINVAL, "%s has no parameter '%s'", kind_a(o->kind), key);
	rc = obj_by_name(c, k, o->row.id, slash + 1, &pair, e);
	if (rc <= 0)
		return rc ? rc : (*ret = strdup("")) ? 0 : err_set(e, ENOMEM, "%m");
	return file_text(c, &pair, k->files, ret, e);
}

int params_complete(struct call *c, const struct obj *o, struct err *e)
{
	for (const struct file *f = o->kind->files; f && f->name; f++) {
		AUTO(free) char *text = NULL;

		if (!(f->flags & F_NEEDED) || !file_settable(f))
			continue;
		if (file_text(c, o, f, &text, e) < 0)
			return -e->code;
		if (!*text)
			return err_set(e, EINVAL, "%s needs %s %s", kind_a(o->kind), strchr("aeio", *f->name) ? "an" : "a", f->name);
	}
	return 0;
}

int attr_store(struct call *c, struct node n, const char *text, size_t len, struct err *e)
{
	const struct file *f = node_file(c->fs, n);
	AUTO(free) char *s = NULL;
	struct obj o;

	if (f && f->type == T_DOC && strcmp(f->name, "spec") == 0)
		return spec_store(c, n, text, len, e);
	if (!f || n.file >= NF_COLL_FILE)
		return err_set(e, EPERM, "%s cannot be written", f ? f->name : "it");
	if (memchr(text, '\0', len) && f->type != T_DOC)
		return err_set(e, EINVAL, "%s: a NUL byte in the value", f->name);
	s = strndup(text, len);
	if (!s)
		return err_set(e, ENOMEM, "%m");
	if (f->type != T_DOC) {
		if (len && s[len - 1] == '\n')
			s[--len] = '\0';
		if (len && s[len - 1] == '\r')
			s[--len] = '\0';
	}
	if (obj_by_id(c, n.row, &o, e) < 0)
		return -e->code;
	if (o.row.deleted)
		return err_set(e, ENOENT, "it is being deleted");
	int rc = store_file(c, &o, f, f->type == T_DOC ? text : s, len, e);
	if (rc == 0 && o.kind->flags & K_FILE && strcmp(o.row.status, "DRAFT") == 0) {
		struct args none = { 0 };

		rc = verb_find(o.kind, "create") ? obj_verb(c, &o, "create", &none, e) : obj_set_status(c, &o, "ACTIVE", e);
	}
	return rc < 0 ? err_prefix(e, "%s", n.file == NF_OBJECT ? o.row.name : f->name) : 0;
}

