#include "help.h"

#include <string.h>

#include "node.h"
#include "value.h"

static const char *word(const struct file *f)
{
	return f->flags & F_PARAM ? "parameter" : f->flags & F_WRITE ? "writable" : "";
}

static void put_file(FILE *out, const struct file *f)
{
	fprintf(out, "  %-20s %-10s %s", f->name, word(f), f->help ? f->help : "");
	if (f->flags & (F_PARAM | F_WRITE) && f->type != T_NONE && f->type != T_TEXT && f->type != T_DOC && !(f->flags & F_CONTROL)) {
		fputs(" (", out);
		value_help(f, out);
		putc(')', out);
	}
	putc('\n', out);
}

static void put_files(FILE *out, const struct file *files, const struct kind *k, bool hidden)
{
	for (const struct file *f = files; f && f->name; f++)
		if (!!(f->flags & F_HIDDEN) == hidden && (!(f->flags & F_ONLY_STATUS) || k->statuses))
			put_file(out, f);
}

static void put_verbs(FILE *out, const struct kind *k)
{
	for (const struct verb *v = k->verbs; v && v->name; v++)
		fprintf(out, "  %-28s %s%s%s%s\n", v->name, v->help ? v->help : "", v->params ? "; takes " : "", v->params ? v->params : "",
			strcmp(v->from, "DRAFT") == 0 ? " (a draft)" : "");
	if (!(k->flags & K_SYSTEM))
		fprintf(out, "  %-28s %s\n", "delete", "deletes it, in whatever state it is; `rmdir` does the same");
}

static void put_kind(struct fs *fs, const struct kind *k, FILE *out)
{
	if (k->flags & K_FILE) {
		fprintf(out, "\nEach %s is a file: %s\n", k->name, k->files[0].help ? k->files[0].help : "its content");
	} else {
		fprintf(out, "\nFiles of %s:\n", kind_a(k));
		put_files(out, common_files, k, false);
		put_files(out, k->files, k, false);
		fputs("\nAnswered, not listed:\n", out);
		put_files(out, common_files, k, true);
		put_files(out, k->files, k, true);
		for (const struct kind *const *p = fs->kinds; *p; p++)
			if ((*p)->parent == k)
				fprintf(out, "%s  %-20s %s\n", "", (*p)->dir, (*p)->help);
	}
	if (k->statuses)
		fprintf(out, "\nStatuses: %s\n", k->statuses);
	fprintf(out, "\nVerbs%s:\n", k->flags & K_FILE ? "" : ", written to its ctl");
	put_verbs(out, k);
}

void help_collection(struct fs *fs, const struct kind *k, FILE *out)
{
	fprintf(out, "%s/: %s\n", k->dir, k->help ? k->help : "");
	put_kind(fs, k, out);
	if (!(k->flags & K_PLAIN)) {
		fputs("\nIn this directory:\n", out);
		for (const struct file *f = collection_files; f->name; f++)
			fprintf(out, "  %-20s %s\n", f->name, f->help);
	}
	if (k->example)
		fprintf(out, "\nExample:\n%s", k->example);
}

void help_view(const struct kind *k, FILE *out)
{
	fprintf(out, "%s/: links to the %ss of all tenants%s; they are made and changed in tenants/TENANT/%s\n", k->dir, k->name,
		strcmp(k->open_view, "all") == 0 ? ", each TENANT:NAME" : " that are open to every tenant", k->dir);
}

void help_root(struct fs *fs, FILE *out)
{
	fputs("This directory is a cloud. Every collection has a README, a `ctl` (write commands, read which there are) and a `list`.\n\n"
	      "  mkdir tenants/acme && cd tenants/acme\n"
	      "  mkdir images/tiny && cp tiny.qcow2 images/tiny/data && cat images/tiny/wait\n"
	      "  echo 'create lan cidr=10.0.0.0/24' > networks/ctl\n"
	      "  echo 'create web1 flavor=m1.tiny image=tiny network=lan' > servers/ctl\n"
	      "  cat servers/web1/wait servers/web1/addresses\n\n"
	      "What was refused, and why: cat last-error. What is wrong with the machine: cat health.\n\nHere:\n", out);
	for (const struct file *f = root_common; f->name; f++)
		fprintf(out, "  %-20s %s%s\n", f->name, f->flags & F_HIDDEN ? "(not listed) " : "", f->help);
	for (const struct kind *const *k = fs->kinds; *k; k++) {
		char dir[64];

		snprintf(dir, sizeof dir, "%s/", (*k)->dir);
		if (!(*k)->parent)
			fprintf(out, "  %-20s %s\n", dir, (*k)->help);
		else if ((*k)->open_view)
			fprintf(out, "  %-20s links: the %ss %s\n", dir, (*k)->name,
				strcmp((*k)->open_view, "all") == 0 ? "of all tenants" : "open to every tenant");
	}
}

/* ---- docs/tree.md */

static void put_cell(FILE *out, const char *s)
{
	for (; s && *s; s++) {
		if (*s == '|')
			putc('\\', out);
		putc(*s, out);
	}
}

static void md_files(FILE *out, const struct file *files, const struct kind *k)
{
	if (!files || !files->name)
		return;
	fputs("\n| file | | what it says |\n| --- | --- | --- |\n", out);
	for (const struct file *f = files; f->name; f++) {
		AUTO(free) char *type = NULL;
		size_t len;
		FILE *t = open_memstream(&type, &len);

		if (t) {
			value_help(f, t);
			fclose(t);
		}
		fprintf(out, "| `%s` | %s%s%s%s | ", f->name, word(f), f->flags & F_NEEDED ? ", needed" : "",
			f->flags & F_LIST && f->flags & F_PARAM ? ", repeatable" : "", f->flags & F_HIDDEN ? "not listed" : "");
		put_cell(out, f->help);
		if (f->flags & (F_PARAM | F_WRITE) && f->type != T_NONE && !(f->flags & F_CONTROL)) {
			fputs(" (", out);
			put_cell(out, type);
			fputs(")", out);
		}
		fputs(" |\n", out);
	}
}

static void md_path(FILE *out, const struct kind *k)
{
	if (k->parent) {
		md_path(out, k->parent);
		putc('/', out);
	}
	fprintf(out, "%s/%c", k->dir, k->name[0] & ~0x20);
}

static void md_kind(FILE *out, const struct kind *k)
{
	fprintf(out, "\n## %s\n\n`", k->dir);
	md_path(out, k);
	fprintf(out, "%s`: %s.%s\n", k->flags & K_FILE ? "" : "/", k->help ? k->help : "",
		k->flags & K_SYSTEM ? " Made and removed by the system." : k->flags & K_FILE ? " Each is a file." :
		k->flags & K_LIVE ? " `mkdir` makes it." : " `mkdir` makes a draft; `create` in its `ctl` makes it.");
	if (k->open_view)
		fprintf(out, "\nAlso at the top, as links: `/%s`.\n", k->dir);
	md_files(out, k->files, k);
	if (k->statuses)
		fprintf(out, "\nStatuses: %s.\n", k->statuses);
	if (k->verbs && k->verbs->name) {
		fputs("\n| verb | from | takes | what it does |\n| --- | --- | --- | --- |\n", out);
		for (const struct verb *v = k->verbs; v->name; v++) {
			fprintf(out, "| `%s` | %s | ", v->name, strcmp(v->from, "*") == 0 ? "any but DRAFT" : v->from);
			put_cell(out, v->params);
			fputs(" | ", out);
			put_cell(out, v->help);
			fputs(" |\n", out);
		}
	}
	if (k->columns)
		fprintf(out, "\n`list` shows name, id, status, %s.\n", k->columns);
	if (k->example)
		fprintf(out, "\n```sh\n%s```\n", k->example);
}

void help_tree(struct fs *fs, FILE *out)
{
	fputs("# The tree\n\nGenerated from the program's tables (`make docs`); the rules common to all files are in [design.md](design.md).\n"
	      "\n## The top\n", out);
	md_files(out, root_common, &root_kind);
	fputs("\n## Files of every object\n", out);
	md_files(out, common_files, &root_kind);
	fputs("\n## Files of every collection\n", out);
	md_files(out, collection_files, &root_kind);
	for (const struct kind *const *k = fs->kinds; *k; k++)
		md_kind(out, *k);
}
