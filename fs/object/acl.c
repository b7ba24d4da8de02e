/* Who may read or write a container, in Swift's grammar (swift.common.middleware.acl): elements with commas between.
 *   .r:* .r:HOST .r:.DOMAIN .r:-HOST   by the referrer (reading only)      .rlistings   those may list too (reading only)
 *   PROJECT:USER PROJECT:* *:USER *:*  by project and user                 ROLE         by role */
#include "object.h"

#include <errno.h>
#include <string.h>

static char *trim(char *s)
{
	s += strspn(s, " \t");
	for (size_t n = strlen(s); n && strchr(" \t", s[n - 1]); )
		s[--n] = '\0';
	return s;
}

static int put_referrer(char *host, bool write, const char *whole, FILE *out, struct err *e)
{
	bool not = *host == '-';

	if (write)
		return err_set(e, EINVAL, "'%s': referrers are for reading", whole);
	host = trim(host + not);
	if (*host == '*' && host[1])	/* "*.example.com" is meant as ".example.com" */
		host = trim(host + 1);
	if (!*host || strcmp(host, ".") == 0)
		return err_set(e, EINVAL, "'%s': no host after the colon", whole);
	fprintf(out, ".r:%s%s", not ? "-" : "", host);
	return 0;
}

static int put_element(char *s, bool write, FILE *out, struct err *e)
{
	char whole[100], *colon = strchr(s, ':');

	snprintf(whole, sizeof whole, "%s", s);
	if (!colon) {
		if (*s == '.' && strcmp(s, ".rlistings") != 0)
			return err_set(e, EINVAL, "'%s' is none of .r:HOST, .rlistings, PROJECT:USER and ROLE", whole);
		if (*s == '.' && write)
			return err_set(e, EINVAL, "'%s': listings are for reading", whole);
		fputs(s, out);
		return 0;
	}
	*colon = '\0';
	char *first = trim(s), *second = trim(colon + 1);
	if (*first == '.' && strcmp(first, ".r") != 0 && strcmp(first, ".ref") != 0 && strcmp(first, ".referer") != 0 && strcmp(first, ".referrer") != 0)
		return err_set(e, EINVAL, "'%s': '%s' is no designator; there is .r", whole, first);
	if (*first == '.')
		return put_referrer(second, write, whole, out, e);
	if (!*first || !*second)
		return err_set(e, EINVAL, "'%s' wants PROJECT:USER; * stands for any", whole);
	fprintf(out, "%s:%s", first, second);
	return 0;
}

int acl_clean(const char *text, bool write, char **ret, struct err *e)
{
	AUTO(free) char *copy = strdup(text);
	AUTO(free) char *s = NULL;
	size_t len;
	FILE *out = open_memstream(&s, &len);
	bool any = false;
	int rc = 0;

	if (!copy || !out) {
		if (out)
			fclose(out);
		return err_set(e, ENOMEM, "%m");
	}
	for (char *save, *p = strtok_r(copy, ",", &save); p && rc == 0; p = strtok_r(NULL, ",", &save)) {
		p = trim(p);
		if (!*p)
			continue;
		if (any)
			putc(',', out);
		any = true;
		rc = put_element(p, write, out, e);
	}
	fclose(out);
	if (rc == 0)
		*ret = steal_ptr(&s);
	return rc;
}
