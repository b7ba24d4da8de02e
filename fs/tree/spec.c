/* spec: what was asked, as key=value lines of an object, as commands of a collection or tenant; and writing it. */
#include "spec.h"

#include <errno.h>
#include <string.h>

#include "ctl.h"
#include "value.h"

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
	put_word(out, a->key);
	putc('=', out);
	if (*a->value)
		put_word(out, a->value);
}

int spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
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

int coll_spec_show(struct call *c, const struct kind *k, int64_t parent, FILE *out, struct err *e)
{
	struct script s = { .c = c, .k = k, .out = out, .e = e };

	if (k->flags & (K_SYSTEM | K_PLAIN))
		return 0;
	int rc = row_list(c->db, parent, k->no, 0, false, script_line, &s, e);
	return rc ? rc : s.rc;
}

/* All that is in a tenant, in order of dependency. */
int tree_spec_show(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	int rc = 0;

	for (const struct kind *const *k = c->fs->kinds; *k && rc == 0; k++)
		if ((*k)->parent == o->kind)
			rc = coll_spec_show(c, *k, o->row.id, out, e);
	return rc;
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
