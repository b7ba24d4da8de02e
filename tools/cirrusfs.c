/* cirrusfs: a private cloud as a directory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../backends/base/log.h"
#include "tools.h"

static const struct subcommand commands[] = {
	{ "init", cmd_init, "init [STORE]", "make a store (default " DEFAULT_STORE ")", init_options },
	{ "mount", cmd_mount, "mount [-f] [-o OPT,...] [STORE] MOUNTPOINT", "serve a store at a directory; returns once it answers", mount_options },
	{ "help", cmd_help, "help [COMMAND|tree]", "explain a command, or print the reference of the tree", help_options },
};

static const struct subcommand *find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

int die(const struct err *e)
{
	fprintf(stderr, "cirrusfs: %s\n", e->msg);
	return 1;
}

void print_help(const char *name, FILE *out)
{
	const struct subcommand *c = name ? find(name) : NULL;

	if (!c) {
		fputs("cirrusfs turns Linux machines into a private cloud and shows it as a directory.\n\n", out);
		for (size_t i = 0; i < ARRAY_LEN(commands); i++)
			fprintf(out, "  cirrusfs %-42s %s\n", commands[i].usage, commands[i].help);
		fputs("\n'cirrusfs STORE MOUNTPOINT -o OPT,...' mounts too, as mount -t fuse.cirrusfs calls it.\n"
		      "'cirrusfs COMMAND --help' explains a command.\n", out);
		return;
	}
	fprintf(out, "usage: cirrusfs %s\n\n%s\n", c->usage, c->help);
	if (c->options && c->options->name)
		fputs("\n", out);
	for (const struct option_line *o = c->options; o && o->name; o++)
		fprintf(out, "  %-4s%-12s %s\n", o->name, o->arg ? o->arg : "", o->help);
}

int usage(const char *name)
{
	print_help(name, stderr);
	return 2;
}

const struct option_line help_options[] = { { 0 } };

int cmd_help(int argc, char **argv)
{
	struct fs fs = { .kinds = cloud_kinds };

	if (argc > 1 && strcmp(argv[1], "tree") == 0)
		help_tree(&fs, stdout);
	else if (argc > 1 && !find(argv[1]))
		return usage(NULL);
	else
		print_help(argc > 1 ? argv[1] : NULL, stdout);
	return 0;
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const struct subcommand *c = argc > 1 ? find(argv[1]) : NULL;

	log_init();
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
