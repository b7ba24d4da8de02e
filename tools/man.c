/* The manual's pages, made from the tables: the program, a page a subcommand, the settings, the tree.  Each is put together as
 * markdown and turned by roff.c. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "tools.h"

static const char program_about[] =
	"cirrusfs turns a Linux machine into a private cloud and shows it as a directory. Tenants, servers, networks and images are\n"
	"directories and small text files; `mkdir`, `echo`, `cat`, `cp`, `ln -s` and `rmdir` do what a cloud's API does. State is an SQLite\n"
	"database in the store, guests run under QEMU through libvirt, networks are the kernel's. They go on when the process stops.\n"
	"\n"
	"    cirrusfs doctor\n"
	"    cirrusfs init\n"
	"    cirrusfs mount /cloud\n"
	"    cat /cloud/README\n"
	"\n"
	"Every collection of the mounted tree has a `README`, reading a `ctl` says which commands it takes, `/cloud/last-error` why the\n"
	"last one was refused, `/cloud/health` what is wrong with the machine.\n"
	"\n"
	"`cirrusfs` *STORE* *MOUNTPOINT* `-o` *OPT,...* mounts too: so it is called by mount(8) for the type `fuse.cirrusfs`.\n";

/* The usage with what stands for something in *stars*: capitals. */
static void put_usage(FILE *out, const char *usage)
{
	fputs("`cirrusfs ", out);
	for (bool code = true; *usage; ) {
		size_t n = strcspn(usage, " []|,.");
		bool kind = n > 1 && isupper((unsigned char)usage[0]) && isupper((unsigned char)usage[1]);

		if (kind && code)
			putc('`', out);
		if (kind)
			fprintf(out, "*%.*s*", (int)n, usage);
		else
			fprintf(out, "%s%.*s", code ? "" : "`", n ? (int)n : 1, usage);
		code = !kind;
		usage += n ? n : 1;
		if (!*usage && code)
			putc('`', out);
	}
	fputs("\n", out);
}

static void put_exits(FILE *out, const char *exits)
{
	fputs("\n## Exit status\n\n| status | |\n| --- | --- |\n| 0 | all went well |\n", out);
	if (!exits)
		exits = "1|it failed; the sentence on standard error says why\n2|it was called wrongly\n";
	for (const char *s = exits; *s; s += strspn(s, "\n")) {
		size_t n = strcspn(s, "\n");

		fprintf(out, "| %.*s |\n", (int)n, s);
		s += n;
	}
}

static void put_see_also(FILE *out, const char *but)
{
	const char *between = "\n\n";

	fputs("\n## See also", out);
	if (strcmp(but, "cirrusfs") != 0) {
		fprintf(out, "%scirrusfs(1)", between);
		between = ", ";
	}
	for (const struct subcommand *c = subcommands; c->name; c++)
		if (strcmp(c->name, but) != 0) {
			fprintf(out, "%scirrusfs-%s(1)", between, c->name);
			between = ", ";
		}
	if (strcmp(but, "config") != 0)
		fputs(", cirrusfs-config(5)", out);
	if (strcmp(but, "tree") != 0)
		fputs(", cirrusfs-tree(7)", out);
	putc('\n', out);
}

static void program_page(const char *name, FILE *out)
{
	fputs("## Synopsis\n\n", out);
	for (const struct subcommand *c = subcommands; c->name; c++) {
		put_usage(out, c->usage);
		fputs("\n", out);
	}
	fprintf(out, "## Description\n\n%s\n## Commands\n\n| command | |\n| --- | --- |\n", program_about);
	for (const struct subcommand *c = subcommands; c->name; c++)
		fprintf(out, "| `%s` | %s |\n", c->name, c->help);
	fputs("\n## Options\n\n| option | |\n| --- | --- |\n| `--help`, `-h` | says what there is; after a command, explains it |\n"
	      "| `--version`, `-V` | says which version this is |\n", out);
	put_exits(out, NULL);
	fputs("\n## Files\n\n| file | |\n| --- | --- |\n| `" DEFAULT_STORE "` | the store, when none is named |\n"
	      "| *STORE*/config | its settings: cirrusfs-config(5) |\n| *STORE*/log | what the process that serves it has to say |\n"
	      "| `/run/cirrusfs` | sockets and logs of guests |\n", out);
	put_see_also(out, name);
}

static void command_page(const char *name, FILE *out)
{
	const struct subcommand *c = find_subcommand(name);

	fputs("## Synopsis\n\n", out);
	put_usage(out, c->usage);
	fprintf(out, "\n## Description\n\n%c%s.\n", toupper((unsigned char)c->help[0]), c->help + 1);
	if (c->about)
		fprintf(out, "\n%s", c->about);
	fputs("\n## Options\n\n| option | |\n| --- | --- |\n", out);
	for (const struct option_line *o = c->options; o && o->name; o++)
		fprintf(out, "| `%s`%s%s%s | %s |\n", o->name, o->arg ? " *" : "", o->arg ? o->arg : "", o->arg ? "*" : "", o->help);
	fputs("| `--help` | explains the command |\n", out);
	put_exits(out, c->exits);
	put_see_also(out, name);
}

static void config_page(const char *name, FILE *out)
{
	fputs("## Synopsis\n\n*STORE*/config\n\n## Description\n\n"
	      "The settings of a store are read when it is mounted: a line `key = value` each; `#` begins a comment, the last of two equal keys holds,\n"
	      "an unknown key is an error. `cirrusfs init` writes a file with all of them as comments.\n\n## Settings\n\n", out);
	config_table(out);
	put_see_also(out, name);
}

static void tree_page(const char *name, FILE *out)
{
	AUTO(free) char *text = NULL;
	struct fs fs = { .kinds = cloud_kinds };
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	help_tree(&fs, f);
	if (fclose(f) == 0 && strstr(text, "\n## "))	/* without its title and how it came to be */
		fputs(strstr(text, "\n## ") + 1, out);
	put_see_also(out, name);
}

static const struct page {
	const char *name;
	int section;
	void (*put)(const char *name, FILE *out);
	const char *summary;
} pages[] = {
	{ "config", 5, config_page, "settings of a store of cirrusfs" },
	{ "tree", 7, tree_page, "every file and every command of a cloud that is mounted" },
};

void man_list(FILE *out)
{
	fputs("cirrusfs.1\n", out);
	for (const struct subcommand *c = subcommands; c->name; c++)
		fprintf(out, "cirrusfs-%s.1\n", c->name);
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		fprintf(out, "cirrusfs-%s.%d\n", pages[i].name, pages[i].section);
}

/* "cirrusfs-mount.1", and its number may be left out. */
static bool is_page(const char *name, const char *page, int section)
{
	size_t n = strlen(page);
	char rest[4];

	snprintf(rest, sizeof rest, ".%d", section);
	return strncmp(name, page, n) == 0 && (!name[n] || strcmp(name + n, rest) == 0);
}

static struct page find_page(const char *name)
{
	static const char program[] = "cirrusfs", dash[] = "cirrusfs-";
	size_t n = sizeof dash - 1;

	if (is_page(name, program, 1))
		return (struct page){ program, 1, program_page, "a private cloud as a directory" };
	for (const struct subcommand *c = subcommands; c->name; c++)
		if (strncmp(name, dash, n) == 0 && is_page(name + n, c->name, 1))
			return (struct page){ c->name, 1, command_page, c->help };
	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		if (strncmp(name, dash, n) == 0 && is_page(name + n, pages[i].name, pages[i].section))
			return pages[i];
	return (struct page){ 0 };
}

int man_page(const char *name, FILE *out, struct err *e)
{
	const struct page p = find_page(name);
	AUTO(free) char *text = NULL;
	char full[80];
	size_t size;

	if (!p.name)
		return err_set(e, ENOENT, "the manual has no page '%s'; cirrusfs help man lists them", name);
	FILE *f = open_memstream(&text, &size);
	if (!f)
		return err_set(e, ENOMEM, "%m");
	p.put(p.name, f);
	if (fclose(f) != 0)
		return err_set(e, ENOMEM, "%m");
	snprintf(full, sizeof full, "cirrusfs%s%s", p.put == program_page ? "" : "-", p.put == program_page ? "" : p.name);
	roff_page(out, full, p.section, p.summary, text);
	return 0;
}
