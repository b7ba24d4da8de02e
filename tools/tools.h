/* The program's subcommands: one table, one file each. */
#pragma once

#include "../fs/cloud.h"

struct option_line {
	const char *name, *arg, *help;	/* "-o", "OPT,..." */
};

struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);	/* argv[0] is the subcommand's name; an exit status */
	const char *usage, *help;
	const struct option_line *options;	/* ends with a line without a name */
};

#define DEFAULT_STORE "/var/lib/cirrusfs"

int cmd_init(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_help(int argc, char **argv);
extern const struct option_line init_options[], mount_options[], help_options[];

/* Prints "cirrusfs: sentence" and returns 1. */
int die(const struct err *e);
/* The usage of that subcommand, and 2. */
int usage(const char *name);
void print_help(const char *name, FILE *out);
