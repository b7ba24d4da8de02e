#include "value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <string.h>
#include <time.h>

#include "../../backends/base/utf8.h"

/* ---- text */

int text_check(const char *s, size_t len, bool newlines, struct err *e)
{
	const unsigned char *p = (const unsigned char *)s;

	while (len) {
		size_t n = utf8_len(p, len);

		if (!n)
			return err_set(e, EILSEQ, "not valid UTF-8");
		if ((*p < 0x20 && !(newlines && (*p == '\n' || *p == '\t' || *p == '\r'))) || *p == 0x7f)
			return err_set(e, EINVAL, "a control character (byte 0x%02x)", *p);
		p += n;
		len -= n;
	}
	return 0;
}

static int parse_text(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	size_t max = f->max ? (size_t)f->max : 65535, len = strlen(text);

	if (len > max)
		return err_set(e, EINVAL, "%zu bytes; at most %zu", len, max);
	if (text_check(text, len, false, e) < 0)
		return -e->code;
	*ret = (struct val){ .kind = VAL_TEXT, .s = strdup(text) };
	return ret->s ? 0 : err_set(e, ENOMEM, "%m");
}

static void print_text(const struct file *f, const struct val *v, FILE *out)
{
	if (v->kind == VAL_INT)
		fprintf(out, "%ld", (long)v->i);
	else
		fputs(v->s, out);
}

/* ---- numbers and sizes */

static int range(const struct file *f, int64_t n, struct err *e)
{
	int64_t max = f->max ? f->max : INT64_MAX;

	if (n < f->min || n > max)
		return f->max ? err_set(e, EINVAL, "%ld is not in %ld..%ld", (long)n, (long)f->min, (long)f->max) :
			err_set(e, EINVAL, "%ld is less than %ld", (long)n, (long)f->min);
	return 0;
}

static int parse_int(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	char *end;

	*ret = (struct val){ .kind = VAL_INT };
	if (f->min == -1 && word_in("max unlimited -1", text)) {
		ret->i = -1;
		return 0;
	}
	errno = 0;
	ret->i = strtoll(text, &end, 10);
	if (end == text || *end || errno || !strchr("-0123456789", *text))	/* strtoll takes blanks and a plus too */
		return err_set(e, EINVAL, "'%s' is not a whole number", text);
	return range(f, ret->i, e);
}

/* "4G" in units of `unit` bytes; without a suffix it is in that unit already. */
static int parse_size(const struct file *f, const char *text, uint64_t unit, struct val *ret, struct err *e)
{
	static const char suffixes[] = "KMGTP";
	uint64_t bytes, mult = unit;
	char *end;

	*ret = (struct val){ .kind = VAL_INT, .i = -1 };
	if (f->min == -1 && word_in("max unlimited -1", text))
		return 0;
	errno = 0;
	uint64_t n = strtoull(text, &end, 10);
	if (end == text || errno || !strchr("0123456789", *text))
		return err_set(e, EINVAL, "'%s' is not a size", text);
	if (*end) {
		const char *s = strchr(suffixes, toupper((unsigned char)*end));

		if (!s || !(word_in("iB ib B b", end + 1) || !end[1]))
			return err_set(e, EINVAL, "'%s' is not a size; suffixes are K M G T P", text);
		mult = UINT64_C(1) << (10 * (s - suffixes + 1));
	}
	if (__builtin_mul_overflow(n, mult, &bytes) || bytes > INT64_MAX)
		return err_set(e, EINVAL, "'%s' is too large", text);
	if (bytes % unit)
		return err_set(e, EINVAL, "'%s' is not a whole number of %s", text, unit == 1 << 20 ? "MiB" : "GiB");
	ret->i = (int64_t)(bytes / unit);
	return range(f, ret->i, e);
}

static int parse_mib(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	return parse_size(f, text, 1 << 20, ret, e);
}

static int parse_gib(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	return parse_size(f, text, 1 << 30, ret, e);
}

static int parse_bytes(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	return parse_size(f, text, 1, ret, e);
}

static void print_int(const struct file *f, const struct val *v, FILE *out)
{
	if (v->kind == VAL_INT)
		fprintf(out, "%ld", (long)v->i);
	else
		fputs(v->s, out);
}

/* ---- words */

static int parse_bool(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	*ret = (struct val){ .kind = VAL_INT, .i = word_in("true 1 yes on", text) };
	return ret->i || word_in("false 0 no off", text) ? 0 : err_set(e, EINVAL, "'%s' is neither true nor false", text);
}

static void print_bool(const struct file *f, const struct val *v, FILE *out)
{
	fputs(v->i ? "true" : "false", out);
}

static int parse_word(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	if (!word_in(f->words, text))
		return err_set(e, EINVAL, "'%s' is none of: %s", text, f->words);
	*ret = (struct val){ .kind = VAL_TEXT, .s = strdup(text) };
	return ret->s ? 0 : err_set(e, ENOMEM, "%m");
}

/* ---- addresses */

int ip4_parse(const char *s, uint32_t *ret, struct err *e)
{
	struct in_addr a;

	if (inet_pton(AF_INET, s, &a) != 1)
		return err_set(e, EINVAL, "'%s' is not an IPv4 address", s);
	*ret = ntohl(a.s_addr);
	return 0;
}

void ip4_format(uint32_t ip, char ret[16])
{
	struct in_addr a = { htonl(ip) };

	inet_ntop(AF_INET, &a, ret, 16);
}

int cidr_parse(const char *s, uint32_t *net, unsigned *prefix, struct err *e)
{
	char ip[20], *end, good[16];
	const char *slash = strchr(s, '/');

	if (!slash || slash - s >= (ptrdiff_t)sizeof ip)
		return err_set(e, EINVAL, "'%s' is not a cidr like 10.0.0.0/24", s);
	snprintf(ip, sizeof ip, "%.*s", (int)(slash - s), s);
	if (ip4_parse(ip, net, e) < 0)
		return -e->code;
	unsigned long bits = strtoul(slash + 1, &end, 10);
	if (!isdigit((unsigned char)slash[1]) || *end || bits > 32)
		return err_set(e, EINVAL, "'%s' is not a cidr like 10.0.0.0/24", s);
	*prefix = (unsigned)bits;
	uint32_t mask = *prefix ? ~UINT32_C(0) << (32 - *prefix) : 0;
	if (*net & ~mask) {
		ip4_format(*net & mask, good);
		return err_set(e, EINVAL, "'%s' has host bits; write %s/%u", s, good, *prefix);
	}
	return 0;
}

static int parse_cidr(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	uint32_t net, top;
	unsigned prefix;
	char ip[16];

	if (cidr_parse(text, &net, &prefix, e) < 0)
		return -e->code;
	top = net >> 24;
	if (prefix < 8 || prefix > 29)
		return err_set(e, EINVAL, "a network of /%u has no use here; /8 to /29", prefix);
	if (top == 0 || top == 127 || top >= 224 || (prefix <= 16 ? (0xa9fe0000 & ~0u << (32 - prefix)) == net : (net >> 16) == 0xa9fe))
		return err_set(e, EINVAL, "%s is not for networks of guests", text);
	ip4_format(net, ip);
	*ret = (struct val){ .kind = VAL_TEXT };
	return asprintf(&ret->s, "%s/%u", ip, prefix) > 0 ? 0 : err_set(e, ENOMEM, "%m");
}

static int parse_ip4(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	uint32_t ip;

	if (ip4_parse(text, &ip, e) < 0)
		return -e->code;
	*ret = (struct val){ .kind = VAL_TEXT, .s = strdup(text) };
	return ret->s ? 0 : err_set(e, ENOMEM, "%m");
}

/* ---- times */

void time_text(int64_t us, char ret[24])
{
	time_t t = us / 1000000;
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(ret, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void error_text(char *ret, size_t size, const struct err *e, const char *request, const char *verb)
{
	char at[24];

	time_text(now_us(), at);
	snprintf(ret, size, "%s %s %s %s%s%s", at, err_name(e->code), request, verb ? verb : "", verb ? ": " : "", e->msg);
}

void put_time_ms(FILE *out, int64_t us)
{
	char s[24];

	time_text(us, s);
	fprintf(out, "%.19s.%03dZ", s, (int)(us / 1000 % 1000));
}

void put_time(FILE *out, int64_t us)
{
	char s[24];

	time_text(us, s);
	fputs(s, out);
}

static int parse_time(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	struct tm tm = { 0 };
	const char *end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	int day = tm.tm_mday;

	*ret = (struct val){ .kind = VAL_INT, .i = (int64_t)timegm(&tm) * 1000000 };
	if (!end || *end || !isdigit((unsigned char)*text) || tm.tm_mday != day)	/* timegm makes a 1 March of a 30 February */
		return err_set(e, EINVAL, "'%s' is not a time like 2026-11-22T10:06:00Z", text);
	return 0;
}

static void print_time(const struct file *f, const struct val *v, FILE *out)
{
	if (v->i)
		put_time(out, v->i);
}

/* ---- the table */

static const struct {
	int (*parse)(const struct file *f, const char *text, struct val *ret, struct err *e);
	void (*print)(const struct file *f, const struct val *v, FILE *out);
	const char *help;
} types[] = {
	[T_NONE] =  { parse_text,  print_text, "text" },
	[T_TEXT] =  { parse_text,  print_text, "text" },
	[T_INT] =   { parse_int,   print_int,  "number" },
	[T_BOOL] =  { parse_bool,  print_bool, "true or false" },
	[T_MIB] =   { parse_mib,   print_int,  "MiB" },
	[T_GIB] =   { parse_gib,   print_int,  "GiB" },
	[T_BYTES] = { parse_bytes, print_int,  "bytes" },
	[T_REF] =   { parse_text,  print_text, "name" },
	[T_WORD] =  { parse_word,  print_text, "word" },
	[T_CIDR] =  { parse_cidr,  print_text, "cidr" },
	[T_IP4] =   { parse_ip4,   print_text, "address" },
	[T_TIME] =  { parse_time,  print_time, "time" },
	[T_DOC] =   { parse_text,  print_text, "document" },
};

int value_parse(const struct file *f, const char *text, struct val *ret, struct err *e)
{
	*ret = (struct val){ 0 };
	if (!*text && !(f->flags & F_NEEDED) && (f->type != T_BOOL && f->type != T_WORD))
		return 0;
	return types[f->type].parse(f, text, ret, e);
}

void value_print(const struct file *f, const struct val *v, FILE *out)
{
	if (v->kind != VAL_NULL)
		types[f->type].print(f, v, out);
}

void value_help(const struct file *f, FILE *out)
{
	if (f->type == T_REF)
		fprintf(out, "name of %s", kind_a(f->ref));
	else if (f->type == T_WORD)
		fprintf(out, "one of %s", f->words);
	else
		fputs(types[f->type].help, out);
	if (f->max && (f->type == T_INT || f->type == T_MIB || f->type == T_GIB))
		fprintf(out, " %ld..%ld", (long)f->min, (long)f->max);
}

/* ---- lines of ctl */

void put_word(FILE *out, const char *w)
{
	if (*w && !w[strcspn(w, " \t\r\"'\\#=\n$`*?[](){}<>|&;!~")]) {
		fputs(w, out);
		return;
	}
	putc('\'', out);
	for (; *w; w++)
		if (*w == '\'')
			fputs("'\\''", out);
		else
			putc(*w, out);
	putc('\'', out);
}

/* One word from *p into *to; *eq: its first '=' outside quotes, as written. */
static int word(const char **p, const char *end, char **to, char **eq, struct err *e)
{
	char quote = 0, *start = *to;

	*eq = NULL;
	for (; *p < end && (quote || !strchr(" \t\r\n", **p)); ++*p) {
		char c = **p;

		if (quote == '\'' ? c == '\'' : quote == '"' ? c == '"' : c == '\'' || c == '"') {
			quote = quote ? 0 : c;
			continue;
		}
		if (c == '\\' && quote != '\'' && *p + 1 < end) {
			++*p;
			if (quote == '"' && !strchr("\"\\$`", **p))
				*(*to)++ = '\\';
			*(*to)++ = **p;
			continue;
		}
		if (c == '=' && !quote && !*eq && *to > start)
			*eq = *to;
		*(*to)++ = c;
	}
	if (quote)
		return err_set(e, EINVAL, "a quote (%c) is not closed", quote);
	*(*to)++ = '\0';
	return 0;
}

int args_add(struct args *a, const char *key, const char *value, struct err *e)
{
	struct arg *v = reallocarray(a->v, a->n + 1, sizeof *v);

	if (!v)
		return err_set(e, ENOMEM, "%m");
	a->v = v;
	v[a->n] = (struct arg){ strdup(key), value ? strdup(value) : NULL };
	if (!v[a->n].key || (value && !v[a->n].value)) {
		free(v[a->n].key);
		free(v[a->n].value);
		return err_set(e, ENOMEM, "%m");
	}
	a->n++;
	return 0;
}

void args_free(struct args *a)
{
	for (size_t i = 0; i < a->n; i++) {
		free(a->v[i].key);
		free(a->v[i].value);
	}
	free(a->v);
	*a = (struct args){ 0 };
}

int line_parse(const char *line, size_t len, struct args *ret, struct err *e)
{
	AUTO(args_free) struct args a = { 0 };
	AUTO(free) char *mem = malloc(len + 2);
	const char *end = line + len;

	if (!mem)
		return err_set(e, ENOMEM, "%m");
	if (memchr(line, '\0', len))
		return err_set(e, EINVAL, "a NUL byte in the line");
	while (line < end) {
		char *to = mem, *eq;

		while (line < end && strchr(" \t\r\n", *line))
			line++;
		if (line >= end || *line == '#')
			break;
		if (word(&line, end, &to, &eq, e) < 0)
			return -e->code;
		if (eq)
			*eq = '\0';
		if (args_add(&a, mem, eq ? eq + 1 : NULL, e) < 0)
			return -e->code;
	}
	*ret = a;
	a = (struct args){ 0 };
	return 0;
}

int args_parse(const char *text, struct args *ret, struct err *e)
{
	return line_parse(text, strlen(text), ret, e);
}

char *args_format(const struct args *a)
{
	char *s = NULL;
	size_t len;
	FILE *f = open_memstream(&s, &len);

	if (!f)
		return NULL;
	for (size_t i = 0; i < a->n; i++) {
		if (i)
			putc(' ', f);
		put_word(f, a->v[i].key);
		if (a->v[i].value) {
			putc('=', f);
			put_word(f, a->v[i].value);
		}
	}
	fclose(f);
	return s;
}

const char *args_get(const struct args *a, const char *key)
{
	for (size_t i = 0; a && i < a->n; i++)
		if (strcmp(a->v[i].key, key) == 0)
			return a->v[i].value ? a->v[i].value : "";
	return NULL;
}

bool word_in(const char *words, const char *w)
{
	size_t len = strlen(w);

	for (const char *p = words; p && *p && len; ) {
		size_t n = strcspn(p, " ");

		if (n == len && strncmp(p, w, n) == 0)
			return true;
		p += n + (p[n] == ' ');
	}
	return false;
}

/* ---- base64 */

char *base64_encode(const void *data, size_t len)
{
	unsigned char *out = malloc((len + 2) / 3 * 4 + 1);

	if (out)
		EVP_EncodeBlock(out, data, (int)len);
	return (char *)out;
}

char *base64_decode(const char *text, size_t *len, struct err *e)
{
	/* libcrypto takes blanks, and '=' anywhere: what is base64 is said here */
	size_t n = strlen(text), digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
	size_t pad = strspn(text + digits, "=");
	unsigned char *out = malloc(n / 4 * 3 + 4);

	if (!out) {
		err_set(e, ENOMEM, "%m");
		return NULL;
	}
	int got = n % 4 || n > 1 << 24 || pad > 2 || digits + pad != n ? -1 : EVP_DecodeBlock(out, (const unsigned char *)text, (int)n);
	if (got < 0) {
		free(out);
		err_set(e, EINVAL, "not valid base64");
		return NULL;
	}
	*len = (size_t)got - pad;
	out[*len] = '\0';
	return (char *)out;
}
