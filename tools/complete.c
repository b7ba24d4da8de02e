/* What the shell may complete a command line of ours to.  tools/cirrusfs.bash asks; what is answered comes from the table of
 * subcommands, so that a new one needs nothing here. */
#include <ctype.h>
#include <mntent.h>
#include <string.h>

#include "tools.h"

struct answer {
	FILE *out;
	const char *word;	/* what is there of it already */
};

static void offer(const struct answer *a, const char *text)
{
	if (strncmp(text, a->word, strlen(a->word)) == 0)
		fprintf(a->out, "%s\n", text);
}

/* Sources or places of our mounts that this table knows. */
static void offer_mounts(const struct answer *a, const char *table, bool places)
{
	FILE *f = setmntent(table, "re");
	struct mntent *m;

	while (f && (m = getmntent(f)))
		if (strcmp(m->mnt_type, "fuse.cirrusfs") == 0)
			offer(a, places ? m->mnt_dir : m->mnt_fsname);
	if (f)
		endmntent(f);
}

static void offer_commands(const struct answer *a)
{
	for (const struct subcommand *c = subcommands; c->name; c++)
		offer(a, c->name);
}

static void offer_stores(const struct answer *a)
{
	if (access(DEFAULT_STORE "/state.db", F_OK) == 0)
		offer(a, DEFAULT_STORE);
	offer_mounts(a, "/etc/fstab", false);
	offer_mounts(a, "/proc/self/mounts", false);
	fputs(":dirs\n", a->out);
}

static void offer_pages(const struct answer *a)
{
	AUTO(free) char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	man_list(f);
	fclose(f);
	for (char *save, *p = strtok_r(text, "\n", &save); p; p = strtok_r(NULL, "\n", &save))
		offer(a, p);
}

/* The last of a list of options; those before it stay. */
static void offer_options(const struct answer *a)
{
	const char *comma = strrchr(a->word, ',');
	size_t before = comma ? (size_t)(comma + 1 - a->word) : 0;

	for (const char *s = mount_option_words; *s; ) {
		size_t n = strcspn(s, " ");
		char text[1024];

		if (snprintf(text, sizeof text, "%.*s%.*s", (int)before, a->word, (int)n, s) < (int)sizeof text)
			offer(a, text);
		s += n + (s[n] == ' ');
	}
}

/* A word of a usage that stands for something: "STORE", or itself when it is in small letters. */
static void offer_kind(const struct answer *a, const char *kind)
{
	if (strcmp(kind, "COMMAND") == 0)
		offer_commands(a);
	else if (strcmp(kind, "STORE") == 0)
		offer_stores(a);
	else if (strcmp(kind, "PAGE") == 0)
		offer_pages(a);
	else if (strcmp(kind, "OPT") == 0)
		offer_options(a);
	else if (strcmp(kind, "MOUNTPOINT") == 0) {
		offer_mounts(a, "/etc/fstab", true);
		fputs(":dirs\n", a->out);
	} else if (strcmp(kind, "PATH") == 0 || strcmp(kind, "FILE") == 0)
		fputs(":files\n", a->out);
	else if (islower((unsigned char)kind[0]))
		offer(a, kind);
}

static void offer_kinds(const struct answer *a, const char *kinds)
{
	char copy[128], *save;

	snprintf(copy, sizeof copy, "%s", kinds);
	for (char *k = strtok_r(copy, "|,.", &save); k; k = strtok_r(NULL, "|,.", &save))
		offer_kind(a, k);
}

struct place {
	char kinds[128];	/* "COMMAND|tree" */
	bool optional;
};

/* The words of a usage that are no options: "mount [-o OPT,...] [STORE] MOUNTPOINT" has two. */
static size_t places_of(const char *usage, struct place *ret, size_t max)
{
	size_t n = 0;
	bool option = false;

	usage += strcspn(usage, " ");
	while (*usage && n < max) {
		usage += strspn(usage, " ");
		size_t len = strcspn(usage, " "), open = strspn(usage, "[");

		option = usage[open] == '-' || option;
		if (!option && len) {
			ret[n].optional = open > 0;
			snprintf(ret[n].kinds, sizeof ret[n].kinds, "%.*s", (int)(open + strcspn(usage + open, " ]") - open), usage + open);
			n++;
		}
		if (memchr(usage, ']', len) || open == 0)
			option = false;
		usage += len;
	}
	return n;
}

static const struct option_line *find_option(const struct subcommand *c, const char *name)
{
	for (const struct option_line *o = c->options; o && o->name; o++)
		if (strcmp(o->name, name) == 0)
			return o;
	return NULL;
}

static void complete_argument(const struct answer *a, const struct subcommand *c, int n, char **words)
{
	struct place places[8];
	size_t count = places_of(c->usage, places, ARRAY_LEN(places)), at = 0;

	for (int i = 0; i < n; i++) {
		const struct option_line *o = find_option(c, words[i]);

		if (o && o->arg && i + 1 == n) {
			offer_kinds(a, o->arg);
			return;
		}
		if (o && o->arg)
			i++;
		else if (words[i][0] != '-')
			at++;
	}
	for (size_t i = at; i < count; i++) {
		offer_kinds(a, places[i].kinds);
		if (!places[i].optional || (i + 1 < count && places[i + 1].optional))
			break;	/* one that may be left out leaves its place to the next */
	}
}

void complete_words(int n, char **words, FILE *out)
{
	const struct answer a = { out, n > 0 ? words[n - 1] : "" };
	const struct subcommand *c = n > 1 ? find_subcommand(words[0]) : NULL;

	if (n <= 1 && a.word[0] == '/')
		offer_stores(&a);
	else if (n <= 1 && a.word[0] == '-') {
		offer(&a, "--help");
		offer(&a, "--version");
	} else if (n <= 1)
		offer_commands(&a);
	else if (c && a.word[0] == '-') {
		for (const struct option_line *o = c->options; o && o->name; o++)
			offer(&a, o->name);
		offer(&a, "--help");
	} else if (c)
		complete_argument(&a, c, n - 2, words + 1);
	else	/* cirrusfs STORE MOUNTPOINT */
		fputs(":dirs\n", out);
}
