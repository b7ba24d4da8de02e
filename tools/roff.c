/* A little markdown as a page of the manual, or filled for a terminal, so that one text serves both and the documents.
 * Of markdown it knows what our own texts use; a table becomes a list of terms: the first cell is the term, the last what is
 * said of it, those between stand behind the term in brackets, each after its column's name. */
#include <ctype.h>
#include <string.h>

#include "tools.h"

#define CELLS 8

struct page {
	FILE *out;
	enum { AFTER_HEAD, IN_TEXT, AFTER_TEXT, IN_BLOCK } at;
	bool fenced;			/* the block ends with a fence */
	bool row;			/* a table is being read */
	char head[CELLS][64];		/* its columns' names */
};

/* One character of text; `first` begins a line, where . and ' are requests. */
static void put_char(FILE *out, char c, bool first, bool code)
{
	if (first && (c == '.' || c == '\''))
		fputs("\\&", out);
	if (c == '\\')
		fputs("\\e", out);
	else if (c == '-')	/* never a hyphen of typography: what is shown is to be copied */
		fputs("\\-", out);
	else if (c == '\'' && code)
		fputs("\\(aq", out);
	else if (c == '`' || c == '^' || c == '~')
		fprintf(out, "\\(%s", c == '`' ? "ga" : c == '^' ? "ha" : "ti");
	else
		putc(c, out);
}

/* `code` is bold, *WORD* and **word** are slanted, of [text](link) the text is left. */
static void put_inline(FILE *out, const char *s, size_t n, bool first)
{
	bool code = false, slanted = false;

	for (size_t i = 0; i < n; i++) {
		const char *close = s[i] == '[' && !code ? memmem(s + i, n - i, "](", 2) : NULL;

		if (close && memchr(close, ')', n - (size_t)(close - s))) {
			put_inline(out, s + i + 1, (size_t)(close - s) - i - 1, first);
			i = (size_t)((const char *)memchr(close, ')', n - (size_t)(close - s)) - s);
		} else if (s[i] == '`') {
			code = !code;
			fputs(code ? "\\fB" : "\\fR", out);
		} else if (s[i] == '\\' && !code && i + 1 < n && ispunct((unsigned char)s[i + 1])) {
			put_char(out, s[++i], first, false);
		} else if (s[i] == '*' && !code && (slanted || (i + 1 < n && !isspace((unsigned char)s[i + 1])))) {
			i += i + 1 < n && s[i + 1] == '*';
			slanted = !slanted;
			fputs(slanted ? "\\fI" : "\\fR", out);
		} else {
			put_char(out, s[i], first, code);
		}
		first = false;
	}
}

static void text(struct page *p, const char *line, size_t n)
{
	if (p->at == AFTER_TEXT)
		fputs(".PP\n", p->out);
	put_inline(p->out, line, n, true);
	putc('\n', p->out);
	p->at = IN_TEXT;
}

static void block(struct page *p, const char *line, size_t n)
{
	if (p->at != IN_BLOCK)
		fprintf(p->out, "%s.RS 4\n.nf\n", p->at == AFTER_HEAD ? "" : ".sp\n");
	p->at = IN_BLOCK;
	for (size_t i = 0; i < n; i++)
		put_char(p->out, line[i], i == 0, true);
	putc('\n', p->out);
}

static void end_block(struct page *p)
{
	if (p->at == IN_BLOCK) {
		fputs(".fi\n.RE\n", p->out);
		p->at = AFTER_TEXT;
	}
}

static void heading(struct page *p, const char *line, size_t n)
{
	size_t level = strspn(line, "#");

	line += level + 1;
	n -= level + 1;
	fputs(level > 2 ? ".SS " : ".SH ", p->out);
	for (size_t i = 0; i < n; i++)
		put_char(p->out, level > 2 ? line[i] : (char)toupper((unsigned char)line[i]), false, true);
	putc('\n', p->out);
	p->at = AFTER_HEAD;
}

/* The next cell of a row, between its bars and without blanks around it; an escaped bar is none. */
static const char *cell(const char **at, const char *end, size_t *n)
{
	const char *s = *at + 1, *stop = s;

	while (stop < end && (*stop != '|' || stop[-1] == '\\'))
		stop++;
	*at = stop;
	while (s < stop && *s == ' ')
		s++;
	while (stop > s && stop[-1] == ' ')
		stop--;
	*n = (size_t)(stop - s);
	return s;
}

static void row(struct page *p, const char *line, size_t n)
{
	const char *at = line, *end = line + n - (n && line[n - 1] == '|'), *c[CELLS];
	size_t len[CELLS], cells = 0, said = 0;

	while (at < end && cells < CELLS) {
		c[cells] = cell(&at, end, &len[cells]);
		cells++;
	}
	if (!p->row) {		/* its first line names the columns */
		for (size_t i = 0; i < cells; i++)
			snprintf(p->head[i], sizeof p->head[i], "%.*s", (int)len[i], c[i]);
		p->row = true;
		return;
	}
	if (cells < 2 || strncmp(c[0], "---", 3) == 0)
		return;
	fputs(".TP\n", p->out);
	put_inline(p->out, c[0], len[0], true);
	for (size_t i = 1; i + 1 < cells; i++) {
		if (!len[i])
			continue;
		fputs(said++ ? "; " : " (", p->out);
		fprintf(p->out, "%s%s", p->head[i], *p->head[i] ? " " : "");
		put_inline(p->out, c[i], len[i], false);
	}
	fputs(said ? ")\n" : "\n", p->out);
	put_inline(p->out, len[cells - 1] ? c[cells - 1] : "\\&", len[cells - 1] ? len[cells - 1] : 2, true);
	putc('\n', p->out);
	p->at = AFTER_TEXT;
}

static void line_of(struct page *p, const char *line, size_t n)
{
	bool fence = n >= 3 && strncmp(line, "```", 3) == 0, indented = n > 4 && strncmp(line, "    ", 4) == 0;

	p->row = p->row && n && line[0] == '|';
	if (p->fenced && !fence) {
		block(p, line, n);
		return;
	}
	if (!indented && n)
		end_block(p);
	if (fence)
		p->fenced = !p->fenced;
	else if (!n)
		p->at = p->at == IN_TEXT ? AFTER_TEXT : p->at;
	else if (line[0] == '#' && line[strspn(line, "#")] == ' ')
		heading(p, line, n);
	else if (line[0] == '|')
		row(p, line, n);
	else if (n > 2 && strncmp(line, "- ", 2) == 0) {
		fputs(".IP \\(bu 2\n", p->out);
		p->at = IN_TEXT;
		text(p, line + 2, n - 2);
	} else if (indented && p->at != IN_TEXT)
		block(p, line + 4, n - 4);
	else
		text(p, line + strspn(line, " "), n - strspn(line, " "));
}

void roff_page(FILE *out, const char *name, int section, const char *summary, const char *markdown)
{
	struct page p = { .out = out, .at = AFTER_HEAD };

	fprintf(out, ".\\\" Made from the program's tables by cirrusfs help man.\n.TH ");
	for (const char *s = name; *s; s++)
		put_char(out, (char)toupper((unsigned char)*s), false, true);
	fprintf(out, " %d \"" CIRRUSFS_DATE "\" \"cirrusfs " CIRRUSFS_VERSION "\" \"cirrusfs\"\n.SH NAME\n", section);
	for (const char *s = name; *s; s++)
		put_char(out, *s, false, true);
	fprintf(out, " \\- ");
	put_inline(out, summary, strlen(summary), false);
	putc('\n', out);
	for (const char *line = markdown; *line; ) {
		size_t n = strcspn(line, "\n");

		line_of(&p, line, n);
		line += n + (line[n] == '\n');
	}
	end_block(&p);
}

/* ---- for a terminal */

#define COLUMNS 80

/* One word with what stands around it, without the stars; ret: how wide it is. */
static size_t put_word_of(FILE *out, const char *s, size_t n)
{
	bool code = false;
	size_t wide = 0;

	for (size_t i = 0; i < n; i++) {
		code ^= s[i] == '`';
		if (s[i] != '*' || code) {
			putc(s[i], out);
			wide++;
		}
	}
	return wide;
}

void plain_text(FILE *out, const char *markdown)
{
	size_t column = 0;

	for (const char *line = markdown, *next; *line; line = next) {
		size_t n = strcspn(line, "\n");

		next = line + n + (line[n] == '\n');
		if (!n || strncmp(line, "    ", 4) == 0) {
			fprintf(out, "%s%.*s\n", column ? "\n" : "", (int)n, line);
			column = 0;
			continue;
		}
		for (const char *w = line + strspn(line, " "), *end = line + n; w < end; ) {
			size_t len = strcspn(w, " \n");

			if (column && column + 1 + len > COLUMNS) {
				putc('\n', out);
				column = 0;
			}
			column += column ? (size_t)(putc(' ', out) == ' ') : 0;
			column += put_word_of(out, w, len);
			w += len + strspn(w + len, " ");
		}
	}
	if (column)
		putc('\n', out);
}
