/* The life of an object: draft, create, verbs, rename, deletion.  One transaction each: check, record, enqueue. */
#include <errno.h>
#include <string.h>

#include "attr.h"
#include "ctl.h"
#include "session.h"
#include "tasks.h"
#include "value.h"

const struct kind *kind_by_no(struct fs *fs, unsigned no)
{
	return no < 256 ? fs->by_no[no] : NULL;
}

const struct kind *kind_by_dir(struct fs *fs, const struct kind *parent, const char *dir, size_t len)
{
	if (parent == &root_kind)
		parent = NULL;
	for (const struct kind *const *k = fs->kinds; *k; k++)
		if ((*k)->parent == parent && strlen((*k)->dir) == len && strncmp((*k)->dir, dir, len) == 0)
			return *k;
	return NULL;
}

const char *kind_a(const struct kind *k)
{
	static __thread char text[4][48];
	static __thread unsigned next;
	char *ret = text[next++ % ARRAY_LEN(text)];

	snprintf(ret, sizeof text[0], "%s %s", strchr("aeio", k->name[0]) ? "an" : "a", k->name);
	return ret;
}

/* ---- finding */

int obj_of(struct call *c, const struct row *r, struct obj *ret, struct err *e)
{
	const struct kind *k = kind_by_no(c->fs, (unsigned)r->kind);

	if (!k)
		return err_set(e, EINVAL, "object %ld is of an unknown kind %d", (long)r->id, r->kind);
	*ret = (struct obj){ .row = *r, .kind = k };
	return 0;
}

int obj_by_id(struct call *c, int64_t id, struct obj *ret, struct err *e)
{
	struct row r;
	int rc = row_by_id(c->db, id, &r, e);

	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "it is gone");
	return obj_of(c, &r, ret, e);
}

int obj_by_name(struct call *c, const struct kind *k, int64_t parent, const char *name, struct obj *ret, struct err *e)
{
	bool id = strncmp(name, "id:", 3) == 0;
	struct row r;
	int rc = id ? row_by_uuid(c->db, name + 3, &r, e) : row_by_name(c->db, parent, k->no, name, &r, e);

	if (rc <= 0 || (id && (r.kind != k->no || r.parent != parent || r.deleted)))
		return rc < 0 ? rc : 0;
	rc = obj_of(c, &r, ret, e);
	return rc < 0 ? rc : 1;
}

static int first_row(void *arg, const struct row *r)
{
	*(struct row *)arg = *r;
	return 1;
}

struct names {
	FILE *out;
	int n;
};

static int add_name(void *arg, const struct row *r)
{
	struct names *n = arg;

	if (n->n++ < 12)
		fprintf(n->out, " %s", r->name);
	return n->n > 12;
}

/* "no flavor 'm9.huge'; there are m1.tiny m1.small" */
static int no_such(struct call *c, const struct kind *k, int64_t parent, const char *name, struct err *e)
{
	AUTO(free) char *s = NULL;
	size_t len;
	struct err ignored;
	struct names n = { .out = open_memstream(&s, &len) };

	if (!n.out)
		return err_set(e, ENOENT, "no %s '%s'", k->name, name);
	row_list(c->db, parent, k->no, 0, false, add_name, &n, &ignored);
	if (k->open_view && strcmp(k->open_view, "open") == 0)
		row_open(c->db, k->no, k->view, NULL, add_name, &n, &ignored);
	fclose(n.out);
	return err_set(e, ENOENT, "no %s '%s'; %s%s%s", k->name, name, n.n ? "there are" : "there are none", s, n.n > 12 ? " ..." : "");
}

int obj_resolve(struct call *c, const struct kind *k, int64_t tenant, const char *name, struct obj *ret, struct err *e)
{
	int64_t parent = k->parent ? tenant : ROOT_ROW;
	bool open = k->open_view && strcmp(k->open_view, "open") == 0;
	struct row r = { 0 };
	int rc;

	if (strncmp(name, "id:", 3) == 0) {
		rc = row_by_uuid(c->db, name + 3, &r, e);
		bool mine = rc > 0 && r.kind == k->no && !r.deleted;

		if (mine && k->parent && r.tenant != tenant) {	/* another tenant's: only what is open to all */
			struct val v = { 0 };

			mine = open && column_get(c->db, k->view, "open", r.id, &v, e) == 0 && v.i;
			val_free(&v);
		}
		rc = rc < 0 ? rc : mine;
	} else {
		rc = row_by_name(c->db, parent, k->no, name, &r, e);
		if (rc == 0 && open) {
			rc = row_open(c->db, k->no, k->view, name, first_row, &r, e);
			rc = rc < 0 ? rc : r.id != 0;
		}
	}
	if (rc <= 0)
		return rc ? rc : no_such(c, k, parent, name, e);
	return obj_of(c, &r, ret, e);
}

int obj_call_name(struct call *c, int64_t tenant, const struct obj *o, char ret[300], struct err *e)
{
	struct obj found;
	struct err ignored;

	/* its own tenant's and the top's need no search: names are unique there */
	if (!o->row.deleted && (!o->kind->parent || o->row.tenant == tenant ||
				(obj_resolve(c, o->kind, tenant, o->row.name, &found, &ignored) == 0 && found.row.id == o->row.id)))
		snprintf(ret, 300, "%s", o->row.name);
	else
		snprintf(ret, 300, "id:%s", o->row.uuid);
	return 0;
}

static int path_of(struct call *c, const struct obj *o, bool by_id, char *ret, size_t size, struct err *e)
{
	char tail[1600] = "", piece[1600];
	struct obj at = *o;

	while (at.row.id != ROOT_ROW) {
		if (snprintf(piece, sizeof piece, "%s/%s%s%s", at.kind->dir, by_id && at.row.deleted ? "by-id/" : "",
			     by_id && at.row.deleted ? at.row.uuid : at.row.name, *tail ? "/" : "") >= (int)sizeof piece ||
		    strlen(piece) + strlen(tail) >= sizeof tail)
			return err_set(e, ENAMETOOLONG, "the path is too long");
		memmove(tail + strlen(piece), tail, strlen(tail) + 1);
		memcpy(tail, piece, strlen(piece));
		if (obj_by_id(c, at.row.parent, &at, e) < 0)
			return -e->code;
	}
	return snprintf(ret, size, "%s", tail) < (int)size ? 0 : err_set(e, ENAMETOOLONG, "the path is too long");
}

int obj_path(struct call *c, const struct obj *o, char *ret, size_t size, struct err *e)
{
	return path_of(c, o, true, ret, size, e);
}

int obj_name_path(struct call *c, const struct obj *o, char *ret, size_t size, struct err *e)
{
	return path_of(c, o, false, ret, size, e);
}

/* ---- columns */

static const char *view_of(const struct kind *k)
{
	return k->view ? k->view : k->table;
}

int obj_int(struct call *c, const struct obj *o, const char *column, int64_t *ret, struct err *e)
{
	struct val v = { 0 };
	int rc = column_get(c->db, view_of(o->kind), column, o->row.id, &v, e);

	if (rc == 0)
		*ret = v.kind == VAL_INT ? v.i : 0;
	val_free(&v);
	return rc;
}

int obj_text(struct call *c, const struct obj *o, const char *column, char **ret, struct err *e)
{
	AUTO(val_free) struct val v = { 0 };
	int rc = column_get(c->db, view_of(o->kind), column, o->row.id, &v, e);

	if (rc < 0)
		return rc;
	*ret = v.kind == VAL_TEXT ? steal_ptr(&v.s) : strdup("");
	return *ret ? 0 : err_set(e, ENOMEM, "%m");
}

int obj_set_int(struct call *c, const struct obj *o, const char *column, int64_t n, struct err *e)
{
	struct val v = { .kind = VAL_INT, .i = n };

	return column_set(c->db, o->kind->table, column, o->row.id, &v, e);
}

int obj_set_text(struct call *c, const struct obj *o, const char *column, const char *text, struct err *e)
{
	struct val v = { .kind = text ? VAL_TEXT : VAL_NULL, .s = (char *)text };

	return column_set(c->db, o->kind->table, column, o->row.id, &v, e);
}

int obj_set_null(struct call *c, const struct obj *o, const char *column, struct err *e)
{
	return obj_set_text(c, o, column, NULL, e);
}

int obj_set_status(struct call *c, struct obj *o, const char *status, struct err *e)
{
	if (strcmp(o->row.status, status) == 0)
		return 0;
	snprintf(o->row.status, sizeof o->row.status, "%s", status);
	changed(c, o, CH_VALUES);
	return row_set_status(c->db, o->row.id, status, e);
}

/* ---- names */

int check_name(const char *name, struct err *e)
{
	size_t len = strlen(name);

	if (len == 0)
		return err_set(e, EINVAL, "a name may not be empty");
	if (len > 255)
		return err_set(e, ENAMETOOLONG, "a name of %zu bytes; at most 255", len);
	if (name[0] == '.')
		return err_set(e, EINVAL, "a name may not begin with a dot");
	if (strchr(name, '/'))
		return err_set(e, EINVAL, "a name may not hold a slash");
	if (strncmp(name, "id:", 3) == 0)
		return err_set(e, EINVAL, "a name may not begin with id:, which says that a UUID follows");
	return text_check(name, len, false, e) < 0 ? err_prefix(e, "name") : 0;
}

static int check_free_name(struct call *c, const struct kind *k, const char *name, struct err *e)
{
	if (check_name(name, e) < 0)
		return -e->code;
	if (name_reserved(c->fs, k, name))
		return err_set(e, EINVAL, "'%s' is a name that %s/ itself answers", name, k->dir);
	return 0;
}

/* ---- making */

static const struct kind *tenant_kind(struct call *c)
{
	return kind_by_dir(c->fs, &root_kind, "tenants", 7);
}

static int insert(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const char *status, struct obj *ret,
		  struct err *e)
{
	struct obj o = { .kind = k, .row = { .kind = k->no, .parent = parent->row.id, .tenant = parent->row.tenant, .progress = 100 } };

	if (check_free_name(c, k, name, e) < 0)
		return -e->code;
	if (parent->row.deleted)
		return err_set(e, ENOENT, "%s '%s' is being deleted", parent->kind->name, parent->row.name);
	snprintf(o.row.name, sizeof o.row.name, "%s", name);
	snprintf(o.row.status, sizeof o.row.status, "%s", status);
	int rc = row_insert(c->db, &o.row, k->table, e);
	if (rc < 0)
		return rc;
	if (k == tenant_kind(c)) {
		o.row.tenant = o.row.id;
		rc = row_set_tenant(c->db, o.row.id, e);
	}
	if (rc == 0 && k->made)
		rc = k->made(c, &o, e);
	if (rc < 0)
		return rc;
	changed(c, &o, CH_ENTRY);
	c->made = o.row.id;
	*ret = o;
	return 0;
}

int obj_make(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const char *status, struct obj *ret,
	     struct err *e)
{
	return insert(c, k, parent, name, status, ret, e);
}

static int user_may_make(const struct kind *k, struct err *e)
{
	return k->flags & K_SYSTEM ? err_set(e, EOPNOTSUPP, "%s/ is filled by the system; nothing can be made here by hand", k->dir) : 0;
}

int obj_draft(struct call *c, const struct kind *k, const struct obj *parent, const char *name, struct obj *ret, struct err *e)
{
	int rc = user_may_make(k, e);

	return rc < 0 ? rc : insert(c, k, parent, name, "DRAFT", ret, e);
}

int args_store(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	for (size_t i = 0; a && i < a->n; i++) {
		const char *key = a->v[i].key;
		AUTO(free) char *list = NULL;
		const struct file *f = file_find(o->kind, key);

		if (!a->v[i].value)
			return err_set(e, EINVAL, "'%s' wants a value: %s=...", key, key);
		if (f && !(f->flags & F_LIST)) {
			for (size_t k = 0; k < i; k++)
				if (strcmp(a->v[k].key, key) == 0)
					return err_set(e, EINVAL, "%s is given twice", key);
		} else if (f) {		/* all the values of a list are one content, at its first place */
			size_t len;
			FILE *out = open_memstream(&list, &len);
			bool first = true;

			if (!out)
				return err_set(e, ENOMEM, "%m");
			for (size_t k = 0; k < a->n; k++)
				if (strcmp(a->v[k].key, key) == 0) {
					first = first && k >= i;
					fprintf(out, "%s%s", ftell(out) ? "\n" : "", a->v[k].value ? a->v[k].value : "");
				}
			fclose(out);
			if (!first)
				continue;
		}
		if (param_store(c, o, key, list ? list : a->v[i].value, e) < 0)
			return -e->code;
	}
	return 0;
}

int obj_create(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct obj *ret,
	       struct err *e)
{
	struct obj o;
	struct args none = { 0 };
	int rc = obj_draft(c, k, parent, name, &o, e);

	if (rc == 0)
		rc = args_store(c, &o, a, e);
	if (rc == 0)
		rc = obj_verb(c, &o, "create", &none, e);
	if (rc == 0)
		*ret = o;
	return rc;
}

/* ---- verbs */

const struct verb *verb_find(const struct kind *k, const char *name)
{
	for (const struct verb *v = k->verbs; v && v->name; v++)
		if (strcmp(v->name, name) == 0)
			return v;
	return NULL;
}

static int unknown_verb(const struct obj *o, const char *name, struct err *e)
{
	char list[256] = "";

	for (const struct verb *v = o->kind->verbs; v && v->name; v++) {
		size_t n = strlen(list);

		snprintf(list + n, sizeof list - n, " %s", v->name);
	}
	return err_set(e, EINVAL, "unknown verb '%s'; %s knows%s delete", name, kind_a(o->kind), list);
}

static int check_state(struct call *c, const struct obj *o, const struct verb *v, struct err *e)
{
	bool from = strcmp(v->from, "*") == 0 ? strcmp(o->row.status, "DRAFT") != 0 : word_in(v->from, o->row.status);
	bool again = *o->row.failed && strcmp(o->row.failed, v->name) == 0;
	struct task_row t = { 0 };
	int rc = task_of(c->db, o->row.id, &t, e);

	task_row_free(&t);
	if (rc < 0)
		return rc;
	if (rc)
		return err_set(e, EBUSY, "%s '%s' has a task: %s is not finished", o->kind->name, o->row.name, t.verb);
	if (from || again)
		return 0;
	if (strcmp(o->row.status, "DRAFT") == 0)
		return err_set(e, EBUSY, "%s '%s' is a draft; create it first", o->kind->name, o->row.name);
	if (strcmp(v->from, "DRAFT") == 0)
		return err_set(e, EEXIST, "%s '%s' is created already; it is %s", o->kind->name, o->row.name, o->row.status);
	return err_set(e, EBUSY, "%s '%s' is %s; %s wants %s", o->kind->name, o->row.name, o->row.status, v->name,
		       strcmp(v->from, "*") == 0 ? "it created" : v->from);
}

/* Every word given is one the verb's params name; those not in brackets are there. */
static int check_params(const struct verb *v, const struct args *a, struct err *e)
{
	const char *p = v->params ? v->params : "";

	for (size_t i = 0; a && i < a->n; i++) {
		size_t n = strlen(a->v[i].key);
		bool known = false;

		for (const char *q = p; n && (q = strstr(q, a->v[i].key)); q += n)	/* an empty word is everywhere */
			if ((q == p || strchr(" [", q[-1])) && strchr(a->v[i].value ? "=" : " ]", q[n]) && (q[n] || !a->v[i].value))
				known = true;
		if (!known)
			return err_set(e, EINVAL, "%s does not take '%s'%s%s", v->name, a->v[i].key, *p ? "; it takes " : "", p);
	}
	for (const char *q = p; *q; ) {
		size_t n = strcspn(q, " ");
		char key[32];

		snprintf(key, sizeof key, "%.*s", (int)strcspn(q, "= "), q);
		if (*q != '[' && !args_get(a, key))
			return err_set(e, EINVAL, "%s wants %.*s", v->name, (int)n, q);
		q += n + (q[n] == ' ');
	}
	return 0;
}

static int enqueue(struct call *c, struct obj *o, const char *verb, const char *args, const char *was, struct err *e)
{
	struct task_row t = { .object = o->row.id, .args = (char *)args, .created = now_us() };

	snprintf(t.verb, sizeof t.verb, "%s", verb);
	snprintf(t.request, sizeof t.request, "%s", c->request);
	snprintf(t.who, sizeof t.who, "%s", c->who.name);
	snprintf(t.was, sizeof t.was, "%s", was);
	changed(c, o, CH_VALUES | CH_TASK);
	int rc = task_insert(c->db, &t, e);
	return rc < 0 ? rc : tasks_note(c, o, &t, e);
}

int obj_enqueue(struct call *c, struct obj *o, const char *verb, const char *args, struct err *e)
{
	return enqueue(c, o, verb, args ? args : "", o->row.status, e);
}

/* It goes on at once, or a worker takes it from here. */
static int begin(struct call *c, struct obj *o, const struct verb *v, const struct args *a, struct err *e)
{
	char was[sizeof o->row.status];
	AUTO(free) char *text = args_format(a);
	const char *next = v->steps ? v->during : v->then;
	int rc = 0;

	memcpy(was, o->row.status, sizeof was);
	if (v->begin)
		rc = v->begin(c, o, a, e);
	if (rc == 0 && (*o->row.failed || !v->steps)) {	/* else its end clears what `error` says */
		*o->row.failed = '\0';
		rc = row_set_error(c->db, o->row.id, "", "", e);
	}
	if (rc == 0 && next && strcmp(o->row.status, was) == 0)	/* begin may have chosen another */
		rc = obj_set_status(c, o, next, e);
	if (rc == 0 && v->steps)
		rc = enqueue(c, o, v->name, text ? text : "", was, e);
	if (rc == 0 && v->steps)
		rc = row_set_progress(c->db, o->row.id, 0, e);
	if (rc == 0 && !v->steps)
		rc = history_add(c->db, o->row.id, v->name, "ok", c->request, c->who.name, 0, text && *text ? text : "", e);
	if (rc == 0)
		rc = event_put(c, o, v->name, v->steps ? "accepted" : "ok", -1, e);
	changed(c, o, CH_VALUES);
	return rc;
}

int obj_verb(struct call *c, struct obj *o, const char *name, const struct args *a, struct err *e)
{
	const struct verb *v = verb_find(o->kind, name);
	int rc;

	if (strcmp(name, "delete") == 0)
		return a && a->n ? err_set(e, EINVAL, "delete takes no parameters here") : obj_delete(c, o, e);
	if (!v)
		return unknown_verb(o, name, e);
	if (o->row.deleted)
		return err_set(e, ENOENT, "%s '%s' is being deleted", o->kind->name, o->row.name);
	if (strcmp(name, "create") == 0) {
		if (strcmp(o->row.status, "DRAFT") == 0 && (rc = args_store(c, o, a, e)) < 0)
			return rc;
		a = NULL;
	}
	if ((rc = doc_pending(c->fs, (struct node){ .kind = o->kind->no, .row = o->row.id }, e)) < 0 ||
	    (rc = check_state(c, o, v, e)) < 0 || (rc = check_params(v, a, e)) < 0)
		return rc;
	if (strcmp(name, "create") == 0 && (rc = params_complete(c, o, e)) < 0)
		return rc;
	struct args none = { 0 };
	rc = begin(c, o, v, a ? a : &none, e);
	return rc;
}

/* ---- renaming */

int obj_rename(struct call *c, struct obj *o, const char *name, struct err *e)
{
	char old[256];
	struct obj there;
	int rc;

	if (strcmp(o->row.name, name) == 0)
		return 0;
	if (o->kind->flags & K_SYSTEM)
		return err_set(e, EPERM, "%s '%s' belongs to the system", o->kind->name, o->row.name);
	if ((rc = check_free_name(c, o->kind, name, e)) < 0)
		return rc;
	rc = obj_by_name(c, o->kind, o->row.parent, name, &there, e);
	if (rc)
		return rc < 0 ? rc : err_set(e, EEXIST, "there is already %s '%s'", kind_a(o->kind), name);
	memcpy(old, o->row.name, sizeof old);
	rc = row_rename(c->db, o->row.id, name, e);
	if (rc < 0)
		return rc;
	changed_gone(c, o, old);
	snprintf(o->row.name, sizeof o->row.name, "%s", name);
	changed(c, o, CH_VALUES | CH_ENTRY);
	changed_users(c, o);
	return event_put(c, o, "rename", "ok", -1, e);
}
