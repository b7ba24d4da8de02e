/* cirrusfs: a private cloud as a directory. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../backends/base/log.h"
#include "tools.h"

const struct subcommand subcommands[] = {
	{ "init", cmd_init, "init [STORE]", "make a store (default " DEFAULT_STORE ")", init_options, init_about },
	{ "mount", cmd_mount, "mount [-f] [-o OPT,...] [STORE] MOUNTPOINT", "serve a store at a directory; returns once it answers", mount_options,
	  mount_about },
	{ "fsck", cmd_fsck, "fsck [--repair] [--data] [STORE]", "compare a store that is not mounted with disks, guests and networks", fsck_options,
	  fsck_about, fsck_exits },
	{ "console", cmd_console, "console PATH", "be a terminal on a server's serial port; Ctrl-] leaves", console_options, console_about },
	{ "doctor", cmd_doctor, "doctor [STORE]", "say what this machine lacks, and what mends it", doctor_options, doctor_about,
	  doctor_exits },
	{ "help", cmd_help, "help [COMMAND|tree|settings|man [PAGE]]", "explain a command; print the reference of the tree or the manual",
	  help_options, help_about },
	{ 0 }
};

const struct subcommand *find_subcommand(const char *name)
{
	for (const struct subcommand *c = subcommands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int die(const struct err *e)
{
	fprintf(stderr, "cirrusfs: %s\n", e->msg);
	return 1;
}

static void print_all(FILE *out)
{
	fputs("cirrusfs turns Linux machines into a private cloud and shows it as a directory.\n\n", out);
	for (const struct subcommand *c = subcommands; c->name; c++)
		fprintf(out, "  cirrusfs %-42s %s\n", c->usage, c->help);
	fputs("\n'cirrusfs STORE MOUNTPOINT -o OPT,...' mounts too, as mount -t fuse.cirrusfs calls it.\n"
	      "'cirrusfs COMMAND --help' explains a command; 'cirrusfs --version' says which version this is.\n", out);
}

void print_help(const char *name, FILE *out)
{
	const struct subcommand *c = name ? find_subcommand(name) : NULL;

	if (!c) {
		print_all(out);
		return;
	}
	fprintf(out, "usage: cirrusfs %s\n\n%c%s.\n", c->usage, toupper((unsigned char)c->help[0]), c->help + 1);
	if (c->options && c->options->name)
		fputs("\n", out);
	for (const struct option_line *o = c->options; o && o->name; o++) {
		char left[64];

		snprintf(left, sizeof left, "%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
		fprintf(out, "  %-16s %s\n", left, o->help);
	}
	if (c->about) {
		putc('\n', out);
		plain_text(out, c->about);
	}
}

int usage(const char *name)
{
	const struct subcommand *c = name ? find_subcommand(name) : NULL;

	if (c)
		fprintf(stderr, "usage: cirrusfs %s\n'cirrusfs %s --help' says more.\n", c->usage, c->name);
	else
		print_help(NULL, stderr);
	return 2;
}

const struct option_line help_options[] = { { 0 } };
const char help_about[] =
	"`tree` is the reference of every file and command of a mounted cloud, `settings` those of *STORE*/config, both as markdown;\n"
	"`man` lists the pages of the manual, `man` *PAGE* prints one for man(1):\n"
	"\n"
	"    cirrusfs help man cirrusfs-tree | man -l -\n";

static int help_man(const char *page)
{
	struct err e = { 0 };

	if (!page)
		man_list(stdout);
	return page && man_page(page, stdout, &e) < 0 ? die(&e) : 0;
}

int cmd_help(int argc, char **argv)
{
	struct fs fs = { .kinds = cloud_kinds };
	const char *what = argc > 1 ? argv[1] : "";

	if (strcmp(what, "complete") == 0)	/* the shell asks, not a person */
		complete_words(argc - 2, argv + 2, stdout);
	else if (strcmp(what, "man") == 0 && argc <= 3)
		return help_man(argv[2]);
	else if (argc > 2)
		return usage("help");
	else if (strcmp(what, "tree") == 0)
		help_tree(&fs, stdout);
	else if (strcmp(what, "settings") == 0)
		config_table(stdout);
	else if (*what && !find_subcommand(what)) {
		fprintf(stderr, "cirrusfs: there is no command '%s'\n", what);
		return usage(NULL);
	} else
		print_help(*what ? what : NULL, stdout);
	return 0;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

static int run(int argc, char **argv)
{
	const struct subcommand *c = argc > 1 ? find_subcommand(argv[1]) : NULL;

	if (argc > 1 && word_in("--version -V", argv[1])) {
		puts("cirrusfs " CIRRUSFS_VERSION);
		return 0;
	}
	if (argc > 1 && word_in("--help -h", argv[1])) {
		print_help(NULL, stdout);
		return 0;
	}
	if (c && wants_help(argc - 1, argv + 1)) {
		print_help(c->name, stdout);
		return 0;
	}
	if (c)
		return c->run(argc - 1, argv + 1);
	if (argc >= 3 && argv[1][0] != '-')	/* cirrusfs STORE MOUNTPOINT -o ..., from mount(8) */
		return cmd_mount(argc, argv);
	if (argc > 1)
		fprintf(stderr, "cirrusfs: there is no command '%s'\n", argv[1]);
	return usage(NULL);
}

int main(int argc, char **argv)
{
	struct err e = { 0 };

	log_init();
	int status = run(argc, argv);

	if (fflush(stdout) != 0 && status == 0) {
		err_set(&e, errno, "write: %m");
		return die(&e);
	}
	return status;
}
