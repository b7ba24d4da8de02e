#include "ctl.h"

#include <errno.h>
#include <string.h>

#include "attr.h"
#include "value.h"

/* ---- create, ensure, delete in a collection */

/* "server-1", "server-2" ...: for a create that names none. */
static int choose_name(struct call *c, const struct kind *k, const struct obj *parent, char *ret, size_t size, struct err *e)
{
	struct obj there;

	for (unsigned n = 1; n < 100000; n++) {
		snprintf(ret, size, "%s-%u", k->name, n);
		int rc = obj_by_name(c, k, parent->row.id, ret, &there, e);
		if (rc <= 0)
			return rc;
	}
	return err_set(e, EEXIST, "no free name was found");
}

/* What was asked of OTHER, with what is given here instead. */
static int merge_like(struct call *c, const struct kind *k, const struct obj *parent, const struct args *a, struct args *ret, struct err *e)
{
	AUTO(args_free) struct args like = { 0 };
	const char *other = args_get(a, "like");
	struct obj o;

	if (other) {
		int rc = obj_by_name(c, k, parent->row.id, other, &o, e);

		if (rc <= 0)
			return rc ? rc : err_set(e, ENOENT, "no %s '%s' to make it like", k->name, other);
		if (spec_args(c, &o, &like, e) < 0)
			return -e->code;
	}
	for (size_t i = 0; i < like.n; i++)
		if (!args_get(a, like.v[i].key) && args_add(ret, like.v[i].key, like.v[i].value, e) < 0)
			return -e->code;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].key, "like") != 0 && args_add(ret, a->v[i].key, a->v[i].value, e) < 0)
			return -e->code;
	return 0;
}

static int do_create(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct err *e)
{
	AUTO(args_free) struct args all = { 0 };
	char chosen[64];
	struct obj o;
	int rc = merge_like(c, k, parent, a, &all, e);

	if (rc == 0 && !name && (rc = choose_name(c, k, parent, chosen, sizeof chosen, e)) == 0)
		name = chosen;
	if (rc == 0 && args_get(a, "like") && k->flags & K_FILE && !all.n)
		rc = err_set(e, EINVAL, "there is nothing to copy");
	if (rc < 0)
		return rc;
	rc = obj_by_name(c, k, parent->row.id, name, &o, e);
	if (rc > 0)
		return err_set(e, EEXIST, "there is already %s '%s'%s", kind_a(k), name, strcmp(o.row.status, "DRAFT") == 0 ?
			       ": a draft; 'create' in its own ctl makes it" : "");
	return rc < 0 ? rc : obj_create(c, k, parent, name, &all, &o, e);
}

int ctl_apply(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	int rc = args_store(c, o, a, e);

	if (rc == -EPERM)
		e->code = EBUSY;
	return -e->code;
}

static int do_ensure(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct err *e)
{
	struct args none = { 0 };
	struct obj o;

	if (!name)
		return err_set(e, EINVAL, "ensure wants a NAME");
	int rc = obj_by_name(c, k, parent->row.id, name, &o, e);
	if (rc == 0)
		return do_create(c, k, parent, name, a, e);
	if (rc > 0 && k->flags & K_SYSTEM)
		return err_set(e, EOPNOTSUPP, "%s/ is filled by the system", k->dir);
	if (rc > 0)
		rc = ctl_apply(c, &o, a, e);
	if (rc == 0)
		c->made = o.row.id;
	if (rc == 0 && strcmp(o.row.status, "DRAFT") == 0)
		rc = obj_verb(c, &o, "create", &none, e);
	return rc;
}

static int do_delete(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct err *e)
{
	struct obj o;

	if (!name)
		return err_set(e, EINVAL, "delete wants a NAME");
	if (a->n)
		return err_set(e, EINVAL, "delete does not take '%s'", a->v[0].key);
	bool id = strncmp(name, "id:", 3) == 0;		/* what is going already, too */
	struct row r;
	int rc = id ? row_by_uuid(c->db, name + 3, &r, e) : obj_by_name(c, k, parent->row.id, name, &o, e);
	if (rc > 0 && id && (r.kind != k->no || r.parent != parent->row.id))
		rc = 0;
	if (rc > 0 && id)
		o = (struct obj){ .row = r, .kind = k };
	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "no %s '%s'", k->name, name);
	return obj_delete(c, &o, e);
}

static const struct {
	const char *name;
	int (*run)(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct err *e);
	const char *line, *help;
} coll_verbs[] = {
	{ "create", do_create, "create [NAME] key=value...", "makes one; like=OTHER begins with what OTHER was asked with" },
	{ "ensure", do_ensure, "ensure NAME key=value...", "creates it, or changes what may change; nothing where all is equal" },
	{ "delete", do_delete, "delete NAME", "deletes it, whatever state it is in" },
};

/* ---- lines */

/* words: verb, then NAME when it is a bare word, then key=value.  Arguments are moved out of `line`. */
static int coll_line(struct call *c, const struct kind *k, const struct obj *parent, const char *verb, const char *name,
		     const struct args *a, struct err *e)
{
	for (size_t i = 0; i < ARRAY_LEN(coll_verbs); i++)
		if (strcmp(coll_verbs[i].name, verb) == 0)
			return coll_verbs[i].run(c, k, parent, name, a, e);
	return err_set(e, EINVAL, "unknown verb '%s'; %s/ knows create ensure delete", verb, k->dir);
}

static bool is_coll_verb(const char *verb)
{
	for (size_t i = 0; i < ARRAY_LEN(coll_verbs); i++)
		if (strcmp(coll_verbs[i].name, verb) == 0)
			return true;
	return false;
}

/* COLLECTION/NAME[/COLLECTION/NAME...] from `o` to the collection and the name at its end. */
static int walk(struct call *c, struct obj *o, char *path, const struct kind **k, const char **name, struct err *e)
{
	for (;;) {
		char *slash = strchr(path, '/'), *next;

		if (!slash)
			return err_set(e, EINVAL, "'%s' is not COLLECTION/NAME", path);
		*slash = '\0';
		*k = kind_by_dir(c->fs, o->kind, path, strlen(path));
		if (!*k)
			return err_set(e, ENOENT, "%s has no %s/", kind_a(o->kind), path);
		*name = slash + 1;
		next = strchr(slash + 1, '/');
		if (!next)
			return 0;
		*next = '\0';
		int rc = obj_by_name(c, *k, o->row.id, *name, o, e);
		if (rc <= 0)
			return rc ? rc : err_set(e, ENOENT, "no %s '%s'", (*k)->name, *name);
		path = next + 1;
	}
}

static int object_line(struct call *c, struct obj *o, const char *verb, const struct args *a, struct err *e)
{
	if (is_coll_verb(verb) && a->n && !a->v[0].value && (o->kind == &root_kind || strchr(a->v[0].key, '/'))) {
		AUTO(free) char *path = strdup(a->v[0].key);
		struct args rest = { a->v + 1, a->n - 1 };
		const struct kind *k = NULL;
		const char *name = NULL;
		struct obj at = *o;

		if (!path)
			return err_set(e, ENOMEM, "%m");
		int rc = walk(c, &at, path, &k, &name, e);
		return rc < 0 ? rc : coll_line(c, k, &at, verb, name, &rest, e);
	}
	if (o->kind == &root_kind)
		return is_coll_verb(verb) ? err_set(e, EINVAL, "%s wants COLLECTION/NAME, as tenants/acme", verb) :
			err_set(e, EINVAL, "unknown verb '%s'; here are create ensure delete, each with COLLECTION/NAME", verb);
	return obj_verb(c, o, verb, a, e);
}

int ctl_line(struct call *c, struct node n, const char *line, size_t len, struct err *e)
{
	AUTO(args_free) struct args words = { 0 };
	const struct kind *k = node_kind(c->fs, n);
	struct obj o;
	int rc;

	if (len > CTL_MAX)
		return err_set(e, E2BIG, "a line of more than %d bytes", CTL_MAX);
	if ((rc = line_parse(line, len, &words, e)) < 0 || !words.n)
		return rc;
	const char *verb = words.v[0].key, *name = NULL;
	if (words.v[0].value)
		return err_set(e, EINVAL, "'%s=%s' is not a verb", verb, words.v[0].value);
	struct args rest = { words.v + 1, words.n - 1 };
	if (obj_by_id(c, n.row, &o, e) < 0)
		return -e->code;
	if (n.file != NF_COLLECTION) {
		rc = object_line(c, &o, verb, &rest, e);
		name = is_coll_verb(verb) && rest.n && !rest.v[0].value ? rest.v[0].key : NULL;
	} else {
		size_t dir = strlen(k->dir);

		if (rest.n && !rest.v[0].value) {
			name = rest.v[0].key;
			rest.v++;
			rest.n--;
			if (strncmp(name, k->dir, dir) == 0 && name[dir] == '/')	/* as its own spec writes it */
				name += dir + 1;
		}
		rc = coll_line(c, k, &o, verb, name, &rest, e);
	}
	return rc < 0 ? err_prefix(e, "%.24s%s%.200s", verb, name ? " " : "", name ? name : "") : 0;
}

int ctl_script(struct call *c, struct node n, const char *text, size_t len, struct err *e)
{
	unsigned no = 1;

	for (const char *p = text; p < text + len; no++) {
		const char *nl = memchr(p, '\n', (size_t)(text + len - p));
		size_t l = nl ? (size_t)(nl - p) : (size_t)(text + len - p);
		int rc = ctl_line(c, n, p, l, e);

		if (rc < 0)
			return err_prefix(e, "line %u", no);
		p += l + 1;
	}
	return 0;
}

/* ---- reading ctl */

static void show_verb(FILE *out, const char *verb, const char *params, const char *help)
{
	AUTO(free) char *left = NULL;

	if (asprintf(&left, "%s%s%s", verb, params && *params ? " " : "", params ? params : "") > 0)
		fprintf(out, "# %-34s %s\n", left, help ? help : "");
}

static void show_params(const struct kind *k, FILE *out)
{
	for (const struct file *f = k->files; f && f->name; f++) {
		AUTO(free) char *what = NULL;
		size_t len;
		FILE *w;

		if (!file_settable(f) || !(w = open_memstream(&what, &len)))
			continue;
		value_help(f, w);
		fclose(w);
		fprintf(out, "#   %-18s %s%s: %s\n", f->name, what, f->flags & F_NEEDED ? ", needed" : f->flags & F_LIST ? ", repeatable" : "",
			f->help ? f->help : "");
	}
}

int ctl_show(struct call *c, struct node n, FILE *out, struct err *e)
{
	const struct kind *k = node_kind(c->fs, n);
	struct obj o;

	if (n.file == NF_COLLECTION) {
		fprintf(out, "# %s: %s\n", k->dir, k->help ? k->help : "");
		if (k->flags & K_SYSTEM) {
			fputs("# filled by the system\n", out);
			return 0;
		}
		for (size_t i = 0; i < ARRAY_LEN(coll_verbs); i++)
			show_verb(out, coll_verbs[i].line, NULL, coll_verbs[i].help);
		fputs("# parameters:\n", out);
		show_params(k, out);
		return 0;
	}
	if (obj_by_id(c, n.row, &o, e) < 0)
		return -e->code;
	fprintf(out, "# %s%s%s%s%s\n", k->name, k == &root_kind ? "" : " ", k == &root_kind ? "" : o.row.name, k->statuses ? " is " : "", k->statuses ? o.row.status : "");
	for (const struct verb *v = k->verbs; v && v->name; v++)
		if (word_in(v->from, o.row.status) || (strcmp(v->from, "*") == 0 && strcmp(o.row.status, "DRAFT") != 0) ||
		    strcmp(o.row.failed, v->name) == 0)
			show_verb(out, v->name, v->params, v->help);
	if (k != &root_kind && !(k->flags & K_SYSTEM))
		show_verb(out, "delete", NULL, "deletes it, whatever state it is in; as rmdir");
	for (const struct kind *const *p = c->fs->kinds; *p; p++)
		if ((*p)->parent == (k == &root_kind ? NULL : k) && !((*p)->flags & (K_SYSTEM | K_PLAIN))) {
			char line[64];

			snprintf(line, sizeof line, "create|ensure|delete %s/NAME", (*p)->dir);
			show_verb(out, line, NULL, (*p)->help);
		}
	return 0;
}
