/* The tables of the kinds agree with themselves and with the schema: what a new kind could get wrong is said here. */
#include "../../fs/tree/tree.h"

#include <string.h>

#include "../../fs/cloud.h"
#include "../../fs/tree/attr.h"
#include "../../fs/tree/node.h"
#include "check.h"

static struct err e;
static struct fs fs = { .kinds = cloud_kinds };
static char dir[] = "/tmp/test_tree.XXXXXX";

#define EACH_KIND(k) for (const struct kind *const *k##_ = cloud_kinds, *k; (k = *k##_); k##_++)
#define EACH_FILE(f, table) for (const struct file *f = (table); f && f->name; f++)
#define EACH_VERB(v, k) for (const struct verb *v = (k)->verbs; v && v->name; v++)

static unsigned lines_of(const struct file *files)
{
	unsigned n = 0;

	EACH_FILE(f, files)
		n++;
	return n;
}

static bool all_words_in(const char *words, const char *list)
{
	char word[64];

	for (const char *p = list; *p; ) {
		size_t n = strcspn(p, " ");

		snprintf(word, sizeof word, "%.*s", (int)n, p);
		if (!word_in(words, word))
			return false;
		p += n + (p[n] == ' ');
	}
	return true;
}

static void a_kinds_number_is_its_own(void)
{
	bool used[256] = { true };	/* 0 is the root's */

	EACH_KIND(k) {
		if (k->no >= NK_FILES)
			CHECK_FAIL("%s: number %d; from 249 they are nodes of the machine", k->name, k->no);
		if (used[k->no])
			CHECK_FAIL("%s: number %d is used twice", k->name, k->no);
		used[k->no] = true;
	}
}

static void a_kind_says_what_it_is(void)
{
	EACH_KIND(k) {
		if (!k->name || !k->dir || !*k->dir || !k->table || !k->help || !*k->help)
			CHECK_FAIL("kind %d lacks a name, directory, table or help", k->no);
		if (k->open_view && !word_in("all open", k->open_view))
			CHECK_FAIL("%s: open_view is '%s'", k->name, k->open_view);
		EACH_KIND(other)
			if (other != k && other->parent == k->parent && strcmp(other->dir, k->dir) == 0)
				CHECK_FAIL("%s and %s are both %s/", k->name, other->name, k->dir);
		/* /DIR of the top: a collection or a view */
		EACH_KIND(top)
			if (k->open_view && !top->parent && strcmp(top->dir, k->dir) == 0)
				CHECK_FAIL("%s/ of the top is a collection and a view", k->dir);
	}
}

/* A kind stands behind its parent and behind those it names: a spec is written in this order. */
static void kinds_stand_in_order_of_dependency(void)
{
	const struct kind *seen[256];
	size_t n = 0;

	EACH_KIND(k) {
		bool parent = !k->parent;

		for (size_t i = 0; i < n; i++)
			parent |= seen[i] == k->parent;
		if (!parent)
			CHECK_FAIL("%s stands before its parent %s", k->name, k->parent->name);
		EACH_FILE(f, k->files) {
			bool found = !f->ref || f->ref == k || !file_settable(f);	/* what the system shows is in no spec */

			for (size_t i = 0; i < n; i++)
				found |= seen[i] == f->ref;
			if (!found)
				CHECK_FAIL("%s names a %s in '%s' and stands before it", k->name, f->ref->name, f->name);
		}
		seen[n++] = k;
	}
}

static void tables_fit_into_inode_numbers(void)
{
	CHECK(lines_of(common_files) <= NF_KIND - NF_COMMON);
	CHECK(lines_of(root_common) <= NF_KIND - NF_COMMON);
	CHECK(lines_of(collection_files) <= NF_WAIT_FOR - NF_COLL_FILE);
	CHECK(lines_of(view_files) <= NF_VIEW_LINK - NF_VIEW_FILE);
	EACH_KIND(k) {
		unsigned groups = 0;
		const char *last = "";

		if (lines_of(k->files) > 100)	/* also their offsets in a listing: 100 to 199 */
			CHECK_FAIL("%s has %u files", k->name, lines_of(k->files));
		EACH_FILE(f, k->files) {
			size_t n = strcspn(f->name, "/");

			if (!f->name[n])
				continue;
			if (strncmp(f->name, last, n + 1) != 0) {
				groups++;
				for (const struct file *g = k->files; g < f; g++)
					if (strncmp(g->name, f->name, n + 1) == 0)
						CHECK_FAIL("%s: the files of %.*s/ do not stand together", k->name, (int)n, f->name);
			}
			last = f->name;
		}
		if (groups > NF_COLL_FILE - NF_GROUP)
			CHECK_FAIL("%s has %u groups", k->name, groups);
	}
}

static void tables_of_links_have_numbers_of_their_own(void)
{
	const struct links *by_no[256] = { NULL };

	EACH_KIND(k)
		EACH_FILE(f, k->files) {
			if (!!f->links + !!f->tree + !!f->files != !!(f->flags & F_DIR))
				CHECK_FAIL("%s/%s: F_DIR wants links, a tree or files, and they F_DIR", k->name, f->name);
			if (f->tree && (!f->tree->each || !f->tree->is_dir || !f->tree->parent || !f->tree->show))
				CHECK_FAIL("%s/%s: a tree wants each, is_dir, parent and show", k->name, f->name);
			if (!f->links)
				continue;
			if (!f->links->no || (by_no[f->links->no] && by_no[f->links->no] != f->links))
				CHECK_FAIL("%s/%s: number %d is used twice or 0", k->name, f->name, f->links->no);
			by_no[f->links->no] = f->links;
			if (!f->links->each || !f->links->target || !f->links->attach != !f->links->detach)
				CHECK_FAIL("%s/%s: links want each, target, and attach with detach", k->name, f->name);
		}
}

/* Every name an object's directory answers, once: files, common files, groups, collections below it. */
static void names_in_a_directory_are_unique(void)
{
	EACH_KIND(k) {
		const char *names[400];
		size_t lens[400], n = 0;

		if (k->flags & K_FILE)
			continue;
		EACH_FILE(f, common_files)
			names[n++] = f->name;
		EACH_FILE(f, k->files)
			names[n++] = f->name;
		EACH_KIND(child)
			if (child->parent == k)
				names[n++] = child->dir;
		for (size_t i = 0; i < n; i++)
			lens[i] = strlen(names[i]);
		size_t files = n;
		for (size_t i = 0; i < files; i++) {
			size_t l = strcspn(names[i], "/");

			if (!names[i][l])
				continue;
			names[n] = names[i];	/* its group, as a name of its own */
			lens[n++] = l;
			if (strchr(names[i] + l + 1, '/'))
				CHECK_FAIL("%s/%s: a group has no groups", k->name, names[i]);
		}
		for (size_t i = 0; i < n; i++)
			for (size_t j = 0; j < i; j++)
				if (lens[i] == lens[j] && strncmp(names[i], names[j], lens[i]) == 0 && !(i >= files && j >= files))
					CHECK_FAIL("%s has two '%.*s'", k->name, (int)lens[i], names[i]);
	}
	EACH_FILE(f, root_common)
		EACH_KIND(k)
			if ((!k->parent || k->open_view) && strcmp(k->dir, f->name) == 0)
				CHECK_FAIL("the top has two '%s'", f->name);
}

static void a_file_says_how_it_is_read_and_written(void)
{
	EACH_KIND(k)
		EACH_FILE(f, k->files) {
			if (!f->help || !*f->help)
				CHECK_FAIL("%s/%s has no help", k->name, f->name);
			if (!f->column && !f->show && !f->links && !f->tree && !f->files && !f->stream && !f->bytes && !f->talk)
				CHECK_FAIL("%s/%s cannot be read", k->name, f->name);
			if (f->flags & (F_PARAM | F_WRITE) && !f->column && !f->store)
				CHECK_FAIL("%s/%s cannot be written", k->name, f->name);
			if (f->flags & F_NEEDED && !file_settable(f))
				CHECK_FAIL("%s/%s is needed and cannot be set", k->name, f->name);
			if (f->flags & F_NEEDED && !f->column)
				CHECK_FAIL("%s/%s is needed and has no column to look at", k->name, f->name);
			if ((f->type == T_REF) != !!f->ref)
				CHECK_FAIL("%s/%s: T_REF and ref belong together", k->name, f->name);
			if ((f->type == T_WORD) != !!f->words)
				CHECK_FAIL("%s/%s: T_WORD and words belong together", k->name, f->name);
			if (f->max && f->min > f->max)
				CHECK_FAIL("%s/%s: its range is empty", k->name, f->name);
			if (f->flags & F_PARAM && f->flags & F_LIVE)
				CHECK_FAIL("%s/%s is a parameter and changes by itself", k->name, f->name);
		}
}

static void statuses_are_those_the_verbs_lead_to(void)
{
	EACH_KIND(k) {
		if (!k->statuses)
			continue;
		const char *broken = k->broken ? k->broken : "ERROR";

		if (k->statuses && strlen(k->statuses) == 0)
			CHECK_FAIL("%s: statuses are empty", k->name);
		EACH_VERB(v, k) {
			const char *end = v->broken ? v->broken : broken;

			if (strcmp(v->from, "*") != 0 && !all_words_in(k->statuses, v->from))
				CHECK_FAIL("%s %s: from '%s' is not among its statuses", k->name, v->name, v->from);
			if (v->during && !word_in(k->statuses, v->during))
				CHECK_FAIL("%s %s: during '%s' is not among its statuses", k->name, v->name, v->during);
			if (v->then && !word_in(k->statuses, v->then))
				CHECK_FAIL("%s %s: then '%s' is not among its statuses", k->name, v->name, v->then);
			if (v->steps && strcmp(end, "-") != 0 && !word_in(k->statuses, end))
				CHECK_FAIL("%s %s: when it fails '%s' is not among its statuses", k->name, v->name, end);
			for (const char *p = k->statuses; *p; p += strspn(p, " "))
				if (strcspn(p, " ") >= sizeof ((struct row *)0)->status)
					CHECK_FAIL("%s: a status of '%s' is too long", k->name, k->statuses);
				else
					p += strcspn(p, " ");
		}
	}
}

static void every_kind_can_be_created_and_verbs_explain_themselves(void)
{
	EACH_KIND(k) {
		const struct verb *create = verb_find(k, "create");

		if (!(k->flags & K_SYSTEM) && (!create || strcmp(create->from, "DRAFT") != 0 || !create->then))
			CHECK_FAIL("%s has no create from DRAFT to a status", k->name);
		EACH_VERB(v, k) {
			if (!v->help || !*v->help)
				CHECK_FAIL("%s %s has no help", k->name, v->name);
			if (strcmp(v->name, "delete") == 0)
				CHECK_FAIL("%s: delete is the machine's own", k->name);
			if (v->during && !v->steps)
				CHECK_FAIL("%s %s: a status during no steps", k->name, v->name);
			if (strlen(v->name) >= sizeof ((struct task_row *)0)->verb)
				CHECK_FAIL("%s %s: the name is too long", k->name, v->name);
			for (const struct verb *w = k->verbs; w < v; w++)
				if (strcmp(w->name, v->name) == 0)
					CHECK_FAIL("%s has two %s", k->name, v->name);
			for (const struct step *s = v->steps; s && (s->name || s->run); s++)
				if (!s->name || !s->run)
					CHECK_FAIL("%s %s has a step without name or function", k->name, v->name);
		}
	}
}

static void list_shows_files_with_a_value(void)
{
	EACH_KIND(k) {
		char name[64];
		int n = 0;

		for (const char *p = k->columns; p && *p; n++) {
			size_t len = strcspn(p, " ");

			snprintf(name, sizeof name, "%.*s", (int)len, p);
			const struct file *f = file_find(k, name);
			if (!f || (!f->column && !f->show))
				CHECK_FAIL("%s: list shows '%s', which has neither column nor show", k->name, name);
			p += len + (p[len] == ' ');
		}
		if (n > 16)
			CHECK_FAIL("%s: list shows %d columns; row_table takes 16", k->name, n);
	}
}

/* ---- against the schema */

static bool prepares(struct db *db, const char *sql)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(db, sql);

	return s.rc == SQLITE_OK;
}

static void columns_are_there(void)
{
	AUTO(state_close) struct state *st = NULL;
	char path[100], sql[300];
	struct tx tx = { 0 };

	snprintf(path, sizeof path, "%s/state.db", dir);
	CHECK_INT(state_open(path, true, &st, &e), 0);
	CHECK_INT(tx_begin(st, &tx, &e), 0);
	EACH_KIND(k) {
		const char *view = k->view ? k->view : k->table;

		snprintf(sql, sizeof sql, "INSERT INTO %s (id) VALUES ($1)", k->table);
		if (!prepares(tx.db, sql))
			CHECK_FAIL("%s: there is no table %s with an id", k->name, k->table);
		snprintf(sql, sizeof sql, "SELECT open FROM %s", view);
		if (k->open_view && strcmp(k->open_view, "open") == 0 && !prepares(tx.db, sql))
			CHECK_FAIL("%s: the view %s does not say what is open", k->name, view);
		EACH_FILE(f, k->files) {
			snprintf(sql, sizeof sql, "SELECT %s, %s FROM %s WHERE id = $1", f->column ? f->column : "id", f->shown ? f->shown : "id", view);
			if (!prepares(tx.db, sql))
				CHECK_FAIL("%s/%s: %s", k->name, f->name, sql);
			snprintf(sql, sizeof sql, "UPDATE %s SET %s = $2 WHERE id = $1", k->table, f->column ? f->column : "id");
			if (file_settable(f) && f->column && !f->store && !prepares(tx.db, sql))
				CHECK_FAIL("%s/%s: %s", k->name, f->name, sql);
		}
		for (const struct user *u = k->users; u && u->table; u++) {
			snprintf(sql, sizeof sql, "SELECT %s FROM %s", u->column, u->table);
			if (!prepares(tx.db, sql))
				CHECK_FAIL("%s is used by: %s", k->name, sql);
		}
	}
	tx_rollback(&tx);
}

/* What a quota/ file limits, a trigger counts, and the other way round. */
static void what_is_counted_can_be_limited(void)
{
	EACH_FILE(f, tenant_kind.files) {
		char other[64];

		if (strncmp(f->name, "quota/", 6) == 0 || strncmp(f->name, "usage/", 6) == 0) {
			snprintf(other, sizeof other, "%s/%s", *f->name == 'q' ? "usage" : "quota", f->name + 6);
			if (!file_find(&tenant_kind, other))
				CHECK_FAIL("there is %s and no %s", f->name, other);
		}
	}
}

int main(void)
{
	char cmd[100];

	if (!mkdtemp(dir))
		return 2;
	fs.by_no[0] = &root_kind;
	EACH_KIND(k)
		fs.by_no[k->no] = k;
	RUN(a_kinds_number_is_its_own);
	RUN(a_kind_says_what_it_is);
	RUN(kinds_stand_in_order_of_dependency);
	RUN(tables_fit_into_inode_numbers);
	RUN(tables_of_links_have_numbers_of_their_own);
	RUN(names_in_a_directory_are_unique);
	RUN(a_file_says_how_it_is_read_and_written);
	RUN(statuses_are_those_the_verbs_lead_to);
	RUN(every_kind_can_be_created_and_verbs_explain_themselves);
	RUN(list_shows_files_with_a_value);
	RUN(columns_are_there);
	RUN(what_is_counted_can_be_limited);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
