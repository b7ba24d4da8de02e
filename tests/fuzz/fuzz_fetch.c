/* What a server, a user or a disk says about downloads, of any bytes: a URL is taken or refused with a sentence, what is shown of it holds no
 * password; Content-Range and notes are understood exactly or not at all; the administrator's list of hosts too.
 * make fuzz FUZZ=fuzz_fetch; options: -max_len=300 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/fetch/parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void one_url(const char *text)
{
	const struct fetch_conf closed = { .dirs = "", .hosts = "" };
	const struct fetch_conf open = { .dirs = "/srv/images:/a/", .hosts = "10.0.0.0/8 .example.org 2001:db8::/32 host", .avoid = "/srv/images/cloud" };
	struct err e = { 0 };
	struct origin p = { 0 };
	char name[64], *shown = NULL;

	int rc = origin_of(&closed, text, &p, &e);
	check(rc == -e.code && (rc < 0 || !p.local));	/* no directory is allowed */
	origin_free(&p);
	e = (struct err){ 0 };
	rc = origin_of(&open, text, &p, &e);
	check(rc == -e.code && (rc < 0 || p.local == (p.path != NULL)));
	if (p.local)
		check(strncmp(p.path, "/srv/images/", 12) == 0 || strncmp(p.path, "/a/", 3) == 0);
	if (rc == 0) {		/* what was taken can be named and shown */
		fetch_name(text, name, sizeof name);
		check(*name && !strchr(name, '?'));
		e = (struct err){ 0 };
		rc = fetch_shown(text, &shown, &e);
		check(rc == 0 ? strcmp(shown, text) == 0 : rc == 1 && (!*shown || strstr(shown, ":***@")));
		free(shown);
	}
	origin_free(&p);
}

static void one_range(const char *text)
{
	int64_t first = -1, last = -1, total = -2;
	struct err e = { 0 };
	int rc = content_range_parse(text, &first, &last, &total, &e);

	check(rc == -e.code);
	check(rc < 0 || (first >= 0 && last >= first && (total == -1 || total > last)));
}

static void one_note(const char *text, size_t len)
{
	struct note n = { 0 };
	struct err e = { 0 };
	int rc = note_parse(text, len, &n, &e);

	check(rc == -e.code && (rc < 0 || (n.url && *n.url && n.total >= -1)));
	if (rc == 0)
		check(memchr(n.validator, 0, sizeof n.validator) && memchr(n.boot, 0, sizeof n.boot) && !strchr(n.url, '\n'));
	note_free(&n);
}

static void one_list(const char *text)
{
	const struct fetch_conf conf = { .dirs = "", .hosts = text };
	struct err e = { 0 };
	struct origin p = { 0 };
	int rc = origin_hosts_check(text, &e);

	check(rc == -e.code);
	if (rc == 0)
		origin_of(&conf, "http://10.0.0.1/x", &p, &e);
	origin_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = strndup((const char *)data, len);

	if (!text)
		abort();
	one_url(text);
	one_range(text);
	one_note((const char *)data, len);
	one_list(text);
	free(text);
	return 0;
}
