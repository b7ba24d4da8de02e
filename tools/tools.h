/* The program's subcommands: one table, one file each. */
#pragma once

#include "../fs/cloud.h"

struct option_line {
	const char *name, *arg, *help;	/* "-o", "OPT,..." */
};

struct subcommand {
	const char *name;
	int (*run)(int argc, char **argv);	/* argv[0] is the subcommand's name; an exit status */
	/* "mount [-o OPT,...] [STORE] MOUNTPOINT": the shell completes by it, too: capitals are a kind of word (STORE, PATH,
	 * COMMAND ...), small letters stand for themselves. */
	const char *usage;
	const char *help;
	const struct option_line *options;	/* ends with a line without a name; may be NULL */
	const char *about;	/* what else --help and the manual say, in markdown as tools/roff.c reads it; may be NULL */
	const char *exits;	/* exit statuses beside 0, "STATUS|MEANING\n" each; NULL: the usual (1 and 2) */
};

#define DEFAULT_STORE "/var/lib/cirrusfs"

int cmd_init(int argc, char **argv);
int cmd_mount(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_fsck(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_help(int argc, char **argv);
extern const struct option_line init_options[], mount_options[], console_options[], fsck_options[], doctor_options[], help_options[];
extern const char init_about[], mount_about[], console_about[], fsck_about[], doctor_about[], help_about[];
extern const char fsck_exits[], doctor_exits[];

/* The table; it ends with a line without a name. */
extern const struct subcommand subcommands[];
const struct subcommand *find_subcommand(const char *name);
/* Prints "cirrusfs: sentence" and returns 1. */
int die(const struct err *e);
/* The usage of that subcommand, and 2. */
int usage(const char *name);
void print_help(const char *name, FILE *out);

/* "READY=1", as sd_notify(3) has it; nothing where systemd did not start us. */
void tell_systemd(const char *state);

/* ---- what `cirrusfs help` prints beside that: made from the same tables, nothing of it is written by hand */

/* The names of the manual's pages, one a line. */
void man_list(FILE *out);
/* One of them, for man(1); ENOENT. */
int man_page(const char *name, FILE *out, struct err *e);
/* What the last of these words (those after `cirrusfs`) may become, one a line; `:dirs` and `:files` stand for those. */
void complete_words(int n, char **words, FILE *out);
/* Options of mount(8) that are accepted, for the shell to complete. */
extern const char mount_option_words[];

/* roff.c: a page for man(1) of a little markdown: headings, paragraphs, tables, lists, blocks, `code`, *words* and [links]. */
void roff_page(FILE *out, const char *name, int section, const char *summary, const char *markdown);
/* The same text filled to the width of a terminal. */
void plain_text(FILE *out, const char *markdown);
