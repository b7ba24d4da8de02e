#include "attr.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "ctl.h"
#include "help.h"
#include "session.h"
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

/* ---- spec */

static int add_list(struct args *a, const char *key, char *text, struct err *e)
{
	for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (args_add(a, key, line, e) < 0)
			return -e->code;
	return 0;
}

static int add_doc(struct call *c, const struct obj *o, const struct file *f, struct args *a, struct err *e)
{
	AUTO(val_free) struct val v = { 0 };
	AUTO(free) char *s = NULL;
	int rc = column_get(c->db, o->kind->table, f->column, o->row.id, &v, e);

	if (rc < 0 || v.kind != VAL_TEXT || !*v.s)
		return rc;
	if (asprintf(&s, "base64:%s", v.s) < 0)
		return err_set(e, ENOMEM, "%m");
	return args_add(a, f->name, s, e);
}

static int add_file(struct call *c, const struct obj *o, const struct file *f, struct args *a, struct err *e)
{
	AUTO(free) char *text = NULL;
	struct file asked = *f;

	if (!file_settable(f) || f->flags & F_OBSERVED)
		return 0;
	if (f->type == T_DOC)
		return add_doc(c, o, f, a, e);
	asked.shown = NULL;
	int rc = file_text(c, o, &asked, &text, e);
	if (rc < 0 || !*text || (f->show && f->type == T_BOOL && strcmp(text, "false") == 0))
		return rc;
	return f->flags & F_LIST ? add_list(a, f->name, text, e) : args_add(a, f->name, text, e);
}

struct pairs {
	struct call *c;
	const struct kind *k;
	struct args *a;
	struct err *e;
	int rc;
};

static int add_pair(void *arg, const struct row *r)
{
	struct pairs *p = arg;
	struct obj o = { .row = *r, .kind = p->k };
	AUTO(free) char *text = NULL, *key = NULL;

	p->rc = file_text(p->c, &o, p->k->files, &text, p->e);
	if (p->rc == 0 && asprintf(&key, "%s/%s", p->k->dir, r->name) < 0)
		p->rc = err_set(p->e, ENOMEM, "%m");
	if (p->rc == 0)
		p->rc = args_add(p->a, key, text, p->e);
	return p->rc;
}

int spec_args(struct call *c, const struct obj *o, struct args *ret, struct err *e)
{
	AUTO(args_free) struct args a = { 0 };
	int rc = 0;

	for (const struct file *f = o->kind->files; f && f->name && rc == 0; f++)
		rc = add_file(c, o, f, &a, e);
	for (const struct file *f = common_files; f->name && rc == 0; f++)
		rc = add_file(c, o, f, &a, e);
	for (const struct kind *const *k = c->fs->kinds; *k && rc == 0; k++)
		if ((*k)->parent == o->kind && (*k)->flags & K_PLAIN) {
			struct pairs p = { c, *k, &a, e, 0 };

			rc = row_list(c->db, o->row.id, (*k)->no, 0, false, add_pair, &p, e);
			rc = rc ? rc : p.rc;
		}
	if (rc < 0)
		return rc;
	*ret = a;
	a = (struct args){ 0 };
	return 0;
}

static void put_arg(FILE *out, const struct arg *a)
{
	fprintf(out, "%s=", a->key);
	if (*a->value)
		put_word(out, a->value);
}

static int spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	AUTO(args_free) struct args a = { 0 };
	int rc = spec_args(c, o, &a, e);

	for (size_t i = 0; i < a.n; i++) {
		put_arg(out, &a.v[i]);
		putc('\n', out);
	}
	return rc;
}

struct script {
	struct call *c;
	const struct kind *k;
	FILE *out;
	struct err *e;
	int rc;
};

static int script_line(void *arg, const struct row *r)
{
	struct script *s = arg;
	struct obj o = { .row = *r, .kind = s->k };
	AUTO(args_free) struct args a = { 0 };
	AUTO(free) char *path = NULL;

	if (strcmp(r->status, "DRAFT") == 0)
		return 0;
	s->rc = spec_args(s->c, &o, &a, s->e);
	if (s->rc == 0 && asprintf(&path, "%s/%s", s->k->dir, r->name) < 0)
		s->rc = err_set(s->e, ENOMEM, "%m");
	if (s->rc < 0)
		return 1;
	fputs("ensure ", s->out);
	put_word(s->out, path);
	for (size_t i = 0; i < a.n; i++) {
		putc(' ', s->out);
		put_arg(s->out, &a.v[i]);
	}
	putc('\n', s->out);
	return 0;
}

static int coll_spec_show(struct call *c, const struct kind *k, int64_t parent, FILE *out, struct err *e)
{
	struct script s = { .c = c, .k = k, .out = out, .e = e };

	if (k->flags & (K_SYSTEM | K_PLAIN))
		return 0;
	int rc = row_list(c->db, parent, k->no, 0, false, script_line, &s, e);
	return rc ? rc : s.rc;
}

/* All that is in a tenant, in order of dependency. */
static int tree_spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	int rc = 0;

	for (const struct kind *const *k = c->fs->kinds; *k && rc == 0; k++)
		if ((*k)->parent == o->kind)
			rc = coll_spec_show(c, *k, o->row.id, out, e);
	return rc;
}

/* ---- json and list */

static json_t *json_text(const struct file *f, const char *text)
{
	if (f->flags & F_LIST) {
		json_t *list = json_array();
		AUTO(free) char *copy = strdup(text);

		for (char *save, *l = copy ? strtok_r(copy, "\n", &save) : NULL; l; l = strtok_r(NULL, "\n", &save))
			json_array_append_new(list, json_string(l));
		return list;
	}
	switch (f->type) {
	case T_INT: case T_MIB: case T_GIB: case T_BYTES:
		return *text ? json_integer(strtoll(text, NULL, 10)) : json_null();
	case T_BOOL:
		return *text ? json_boolean(strcmp(text, "true") == 0) : json_null();
	default: {
		json_t *s = json_string(text);	/* NULL when it is no UTF-8: a binary document */

		return s ? s : json_null();
	}
	}
}

static int json_add(struct call *c, const struct obj *o, const struct file *f, json_t *to, struct err *e)
{
	AUTO(free) char *text = NULL;

	if (f->flags & (F_HIDDEN | F_DIR | F_STREAM | F_BYTES) || (f->flags & F_ONLY_STATUS && !o->kind->statuses) ||
	    word_in("ctl spec json", f->name))
		return 0;
	int rc = file_text(c, o, f, &text, e);
	if (rc == 0)
		json_object_set_new(to, f->name, json_text(f, text));
	return rc;
}

static int json_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	json_t *j = json_object();
	int rc = 0;

	json_object_set_new(j, "name", json_string(o->row.name));
	for (const struct file *f = common_files; f->name && rc == 0; f++)
		rc = json_add(c, o, f, j, e);
	for (const struct file *f = o->kind->files; f && f->name && rc == 0; f++)
		rc = json_add(c, o, f, j, e);
	if (rc == 0)
		json_dumpf(j, out, JSON_INDENT(2));
	json_decref(j);
	return rc;
}

#define COLUMNS_MAX 16

struct table {
	const struct kind *k;
	FILE *out;
	const struct file *files[COLUMNS_MAX];
	const char *columns[COLUMNS_MAX];
	bool refs[COLUMNS_MAX], json, all;
	size_t n;
	struct call *c;
	int64_t rows;
};

static void table_init(struct table *t, struct call *c, const struct kind *k, FILE *out)
{
	*t = (struct table){ .k = k, .c = c, .out = out };
	for (const char *p = k->columns; p && *p && t->n < COLUMNS_MAX; ) {
		size_t len = strcspn(p, " ");
		char name[64];

		snprintf(name, sizeof name, "%.*s", (int)len, p);
		const struct file *f = file_find(k, name);

		if (f && f->column) {
			t->files[t->n] = f;
			t->refs[t->n] = f->type == T_REF;
			t->columns[t->n++] = f->shown ? f->shown : f->column;
		}
		p += len + (p[len] == ' ');
	}
}

/* A cell stays in its cell. */
static void put_cell(FILE *out, const char *s)
{
	for (; *s; s++)
		putc(*s == '\n' ? ',' : *s == '\t' ? ' ' : *s, out);
}

static void put_val(const struct table *t, size_t i, const struct val *v, FILE *out)
{
	AUTO(free) char *s = NULL;
	size_t len;
	FILE *f;

	if (v->kind == VAL_NULL)
		return;
	if (v->kind == VAL_TEXT) {
		put_cell(out, v->s);
	} else if ((f = open_memstream(&s, &len))) {
		value_print(t->files[i], v, f);
		fclose(f);
		put_cell(out, s);
	}
}

static int table_row(void *arg, const struct row *r, const struct val *vals)
{
	struct table *t = arg;

	if (t->all) {
		struct row tenant;
		struct err e;

		if (strcmp(r->status, "DRAFT") == 0)
			return 0;
		if (row_by_id(t->c->db, r->tenant, &tenant, &e) > 0)
			fprintf(t->out, "%s:", tenant.name);
	}
	put_cell(t->out, r->name);
	fprintf(t->out, "\t%s\t%s", r->uuid, t->k->statuses ? r->status : strcmp(r->status, "DRAFT") == 0 ? r->status : "-");
	for (size_t i = 0; i < t->n; i++) {
		putc('\t', t->out);
		put_val(t, i, &vals[i], t->out);
	}
	putc('\n', t->out);
	return 0;
}

static int table_json(void *arg, const struct row *r, const struct val *vals)
{
	struct table *t = arg;
	json_t *j = json_object();

	json_object_set_new(j, "name", json_string(r->name));
	json_object_set_new(j, "id", json_string(r->uuid));
	if (t->k->statuses)
		json_object_set_new(j, "status", json_string(r->status));
	for (size_t i = 0; i < t->n; i++) {
		AUTO(free) char *s = NULL;
		size_t len;
		FILE *f = open_memstream(&s, &len);

		if (!f)
			break;
		value_print(t->refs[i] ? &(const struct file){ .type = T_TEXT } : t->files[i], &vals[i], f);
		fclose(f);
		json_object_set_new(j, t->files[i]->name, json_text(t->files[i], s));
	}
	fputs(t->rows++ ? ",\n  " : "\n  ", t->out);
	json_dumpf(j, t->out, JSON_COMPACT);
	json_decref(j);
	return 0;
}

static int table_show(struct call *c, const struct kind *k, int64_t parent, bool json, FILE *out, struct err *e)
{
	struct table t;

	table_init(&t, c, k, out);
	t.all = !parent && k->parent;
	if (json)
		putc('[', out);
	else
		fputs("name\tid\tstatus", out);
	for (size_t i = 0; i < t.n && !json; i++)
		fprintf(out, "\t%s", t.files[i]->name);
	if (!json)
		putc('\n', out);
	int rc = row_table(c->db, parent, k->no, t.n ? (k->view ? k->view : k->table) : NULL, t.columns, t.refs, t.n,
			   json ? table_json : table_row, &t, e);
	if (json)
		fputs(t.rows ? "\n]" : "]", out);
	return rc;
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

static bool has_collections(struct fs *fs, const struct kind *k)
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
	int rc = f ? show_any(c, n, f, out, e) : err_set(e, ENOENT, "no such file");
	fflush(out);
	/* a document is as it was written; everything else ends with a newline, and is only that when there is no value */
	if (rc == 0 && f->type != T_DOC && (!size || s[size - 1] != '\n'))
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
		return err_set(e, EPERM, "%s of a %s is fixed once it is created", f->name, o->kind->name);
	return err_set(e, EPERM, "%s cannot be written", f->name);
}

static int store_file(struct call *c, struct obj *o, const struct file *f, const char *text, size_t len, struct err *e)
{
	AUTO(val_free) struct val v = { 0 }, old = { 0 };
	AUTO(free) char *now = NULL;
	int rc = 0;

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
	changed(c, o, CH_VALUES);
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
		return err_set(e, EINVAL, "a %s has no parameter '%s'; 'cat README' of %s/ names them", o->kind->name, key, o->kind->dir);
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
		rc = f ? err_set(e, EINVAL, "%s is not a parameter of a %s", key, o->kind->name) : store_pair(c, o, key, value, e);
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
		return err_set(e, EINVAL, "a %s has no parameter '%s'", o->kind->name, key);
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
			return err_set(e, EINVAL, "a %s needs a %s", o->kind->name, f->name);
	}
	return 0;
}

int attr_store(struct call *c, struct node n, const char *text, size_t len, struct err *e)
{
	const struct file *f = node_file(c->fs, n);
	AUTO(free) char *s = NULL;
	struct obj o;

	if (!f || n.file >= NF_COLL_FILE)
		return err_set(e, EPERM, "%s cannot be written", f ? f->name : "it");
	if (f->type == T_DOC && strcmp(f->name, "spec") == 0)
		return spec_store(c, n, text, len, e);
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

/* ---- writing a spec */

static int object_spec_store(struct call *c, struct obj *o, const char *text, struct err *e)
{
	AUTO(args_free) struct args all = { 0 };

	for (const char *p = text; *p; ) {
		size_t n = strcspn(p, "\n");
		AUTO(args_free) struct args line = { 0 };

		if (line_parse(p, n, &line, e) < 0)
			return -e->code;
		for (size_t i = 0; i < line.n; i++) {
			if (!line.v[i].value)
				return err_set(e, EINVAL, "'%s' is not key=value", line.v[i].key);
			if (args_add(&all, line.v[i].key, line.v[i].value, e) < 0)
				return -e->code;
		}
		p += n + (p[n] == '\n');
	}
	return ctl_apply(c, o, &all, e);
}

int spec_store(struct call *c, struct node n, const char *text, size_t len, struct err *e)
{
	AUTO(free) char *s = strndup(text, len);
	const struct kind *k = node_kind(c->fs, n);
	struct obj o;

	if (!s)
		return err_set(e, ENOMEM, "%m");
	if (memchr(text, '\0', len))
		return err_set(e, EINVAL, "spec: a NUL byte");
	if (obj_by_id(c, n.row, &o, e) < 0)
		return -e->code;
	bool coll = n.file >= NF_COLL_FILE;
	struct node scope = { .by_id = n.by_id, .kind = coll ? o.kind->no : n.kind, .row = n.row };
	int rc = coll || has_collections(c->fs, k) ? ctl_script(c, scope, s, strlen(s), e) : object_spec_store(c, &o, s, e);
	return rc < 0 ? err_prefix(e, "spec") : 0;
}
