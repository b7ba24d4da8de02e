/* json of an object; list and json of a collection, by one SELECT. */
#include "list.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "attr.h"
#include "value.h"

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

int json_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
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
#define NAMES 64	/* ten thousand servers have a few flavors and hosts: their names are read once */

struct table {
	const struct kind *k;
	FILE *out;
	const struct file *files[COLUMNS_MAX];
	const char *columns[COLUMNS_MAX];	/* of the state; those of `shown` are computed */
	bool shown[COLUMNS_MAX], all;
	size_t n, n_columns;
	struct call *c;
	int64_t rows;
	struct row names[NAMES];
};

static void table_init(struct table *t, struct call *c, const struct kind *k, FILE *out)
{
	t->k = k;
	t->c = c;
	t->out = out;
	for (const char *p = k->columns; p && *p && t->n < COLUMNS_MAX; ) {
		size_t len = strcspn(p, " ");
		char name[64];

		snprintf(name, sizeof name, "%.*s", (int)len, p);
		const struct file *f = file_find(k, name);

		if (f && f->column)
			t->columns[t->n_columns++] = f->shown ? f->shown : f->column;
		if (f && (f->column || f->show)) {
			t->shown[t->n] = !f->column;
			t->files[t->n++] = f;
		}
		p += len + (p[len] == ' ');
	}
}

/* The name of the object with that id; "" when there is none. */
static const char *name_of(struct table *t, int64_t id)
{
	struct row *r = &t->names[(uint64_t)id % NAMES];
	struct err e;

	if (r->id != id && row_by_id(t->c->db, id, r, &e) <= 0)
		r->id = 0;
	return r->id ? r->name : "";
}

/* A cell stays in its cell. */
static void put_cell(FILE *out, const char *s)
{
	for (; *s; s++)
		putc_unlocked(*s == '\n' ? ',' : *s == '\t' ? ' ' : *s, out);
}

/* What no column holds: "" when it cannot be said. */
static char *computed(struct table *t, size_t i, const struct row *r)
{
	char *text = NULL;
	struct err ignored = { 0 };
	struct obj o;

	return obj_of(t->c, r, &o, &ignored) == 0 && file_text(t->c, &o, t->files[i], &text, &ignored) == 0 ? text : strdup("");
}

static void put_val(struct table *t, size_t i, const struct val *v)
{
	if (v->kind == VAL_INT && t->files[i]->type == T_REF)
		put_cell(t->out, name_of(t, v->i));
	else if (v->kind == VAL_TEXT)
		put_cell(t->out, v->s);
	else
		value_print(t->files[i], v, t->out);
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
	putc_unlocked('\t', t->out);
	fputs_unlocked(r->uuid, t->out);
	putc_unlocked('\t', t->out);
	fputs_unlocked(t->k->statuses || strcmp(r->status, "DRAFT") == 0 ? r->status : "-", t->out);
	for (size_t i = 0, v = 0; i < t->n; i++) {
		AUTO(free) char *text = t->shown[i] ? computed(t, i, r) : NULL;

		putc_unlocked('\t', t->out);
		if (text)
			put_cell(t->out, text);
		if (!t->shown[i])
			put_val(t, i, &vals[v++]);
	}
	putc_unlocked('\n', t->out);
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
	for (size_t i = 0, v = 0; i < t->n; i++) {
		AUTO(free) char *s = t->shown[i] ? computed(t, i, r) : NULL;
		size_t len;
		FILE *f = t->shown[i] ? NULL : open_memstream(&s, &len);

		if (!f && !s)
			break;
		if (f && t->files[i]->type == T_REF && vals[v].kind == VAL_INT)
			fputs(name_of(t, vals[v].i), f);
		else if (f)
			value_print(t->files[i], &vals[v], f);
		if (f) {
			fclose(f);
			v++;
		}
		json_object_set_new(j, t->files[i]->name, json_text(t->files[i], s));
	}
	fputs(t->rows++ ? ",\n  " : "\n  ", t->out);
	json_dumpf(j, t->out, JSON_COMPACT);
	json_decref(j);
	return 0;
}

int table_show(struct call *c, const struct kind *k, int64_t parent, bool json, FILE *out, struct err *e)
{
	AUTO(free) struct table *t = calloc(1, sizeof *t);

	if (!t)
		return err_set(e, ENOMEM, "%m");
	table_init(t, c, k, out);
	t->all = !parent && k->parent;
	if (json)
		putc('[', out);
	else
		fputs("name\tid\tstatus", out);
	for (size_t i = 0; i < t->n && !json; i++)
		fprintf(out, "\t%s", t->files[i]->name);
	if (!json)
		putc('\n', out);
	int rc = row_table(c->db, parent, k->no, t->n_columns ? (k->view ? k->view : k->table) : NULL, t->columns, t->n_columns,
			   json ? table_json : table_row, t, e);
	if (json)
		fputs(t->rows ? "\n]" : "]", out);
	return rc;
}

