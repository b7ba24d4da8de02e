/* KEY.note: what a part is a part of, as `word value` lines; and the header that says which bytes come. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "parts.h"

void note_free(struct note *n)
{
	free(n->url);
	*n = (struct note){ 0 };
}

/* Digits alone, no sign, no blanks; *p behind them. */
static bool number(const char **p, int64_t *ret)
{
	char *end;

	if (!isdigit((unsigned char)**p))
		return false;
	errno = 0;
	*ret = strtoll(*p, &end, 10);
	*p = end;
	return !errno;
}

static bool keep(char *to, size_t size, const char *value)
{
	return snprintf(to, size, "%s", value) < (int)size;
}

static bool note_line(struct note *n, const char *word, const char *value)
{
	if (strcmp(word, "url") == 0)
		return !n->url && (n->url = strdup(value));
	if (strcmp(word, "validator") == 0)
		return keep(n->validator, sizeof n->validator, value);
	if (strcmp(word, "boot") == 0)
		return keep(n->boot, sizeof n->boot, value);
	if (strcmp(word, "total") == 0)
		return strcmp(value, "-1") == 0 || (number(&value, &n->total) && !*value);
	return false;
}

int note_parse(const char *text, size_t len, struct note *ret, struct err *e)
{
	struct note n = { .total = -1 };
	AUTO(free) char *copy = strndup(text, len);
	bool good = copy && strlen(copy) == len;

	for (char *save, *line = good ? strtok_r(copy, "\n", &save) : NULL; line && good; line = strtok_r(NULL, "\n", &save)) {
		char *blank = strchr(line, ' ');

		if (blank)
			*blank = '\0';
		good = note_line(&n, line, blank ? blank + 1 : "");
	}
	if (!good || !n.url || !*n.url) {
		note_free(&n);
		return err_set(e, EINVAL, "not the note of a download");
	}
	*ret = n;
	return 0;
}

int note_read(int dir, const char *name, struct note *ret, struct err *e)
{
	AUTO(close) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[FETCH_URL_MAX + VALIDATOR_MAX + 200];
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof buf);

	if (n < 0)
		return err_set(e, errno, "read the note %s: %m", name);
	return note_parse(buf, (size_t)n, ret, e);
}

/* Under another name first, so that there never is half of one. */
int note_write(int dir, const char *name, const struct note *n, struct err *e)
{
	char tmp[64];

	snprintf(tmp, sizeof tmp, "%.50s.new", name);
	AUTO(close) int fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || dprintf(fd, "url %s\nvalidator %s\ntotal %ld\nboot %s\n", n->url, n->validator, (long)n->total, n->boot) < 0 ||
	    renameat(dir, tmp, dir, name) < 0)
		return err_set(e, errno, "write the note of a download: %m");
	return 0;
}

int content_range_parse(const char *text, int64_t *first, int64_t *last, int64_t *total, struct err *e)
{
	const char *p = text;
	int64_t a = 0, b = 0, t = -1;
	bool good = strncasecmp(p, "bytes", 5) == 0 && (p[5] == ' ' || p[5] == '\t');

	p += good ? 5 + strspn(p + 5, " \t") : 0;
	good = good && number(&p, &a) && *p++ == '-' && number(&p, &b) && *p++ == '/';
	if (good && *p == '*')
		p++;
	else
		good = good && number(&p, &t);
	if (!good || p[strspn(p, " \t\r\n")] || a > b || (t >= 0 && b >= t))
		return err_set(e, EPROTO, "the server answers with a Content-Range of no sense");
	*first = a;
	*last = b;
	*total = t;
	return 0;
}
