/* What is taken as a value and what is refused, the grammar of ctl lines, base64, names. */
#include "../../fs/tree/value.h"

#include <errno.h>
#include <string.h>

#include "check.h"

static struct err e;

/* ---- values: what is written, and what it reads as; NULL: refused */

#define GIB_MAX 1048576
static const struct file
	text = { "text", .type = T_TEXT, .max = 8 }, needed = { "needed", .type = T_TEXT, .flags = F_NEEDED },
	integer = { "integer", .type = T_INT, .min = 1, .max = 1024 }, open_end = { "open-end", .type = T_INT },
	limit = { "limit", .type = T_INT, .min = -1 }, boolean = { "bool", .type = T_BOOL },
	mib = { "mib", .type = T_MIB, .min = 1, .max = 16777216 }, gib = { "gib", .type = T_GIB, .max = GIB_MAX },
	bytes = { "bytes", .type = T_BYTES }, size_limit = { "size-limit", .type = T_GIB, .min = -1 },
	words = { "words", .type = T_WORD, .words = "private shared public" }, cidr = { "cidr", .type = T_CIDR },
	ip = { "ip", .type = T_IP4 }, when = { "time", .type = T_TIME };

static const struct value_line {
	const struct file *f;
	const char *in, *out;
} lines[] = {
	{ &text, "", "" }, { &text, "12345678", "12345678" }, { &text, "123456789", NULL }, { &text, "a b", "a b" }, { &text, "a\tb", NULL },
	{ &text, "a\nb", NULL }, { &text, "\x7f", NULL }, { &text, "\x1b[2J", NULL }, { &text, "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
	{ &text, "\xc3", NULL }, { &text, "\xc0\xaf", NULL }, { &text, "\xed\xa0\x80", NULL }, { &text, "\xf4\x90\x80\x80", NULL },
	{ &text, "\xf0\x9f\x8c\xa5", "\xf0\x9f\x8c\xa5" }, { &text, "\x80", NULL }, { &text, "\xff", NULL }, { &text, "\xe2\x82", NULL },
	{ &needed, "x", "x" },
	{ &integer, "1", "1" }, { &integer, "1024", "1024" }, { &integer, "0", NULL }, { &integer, "1025", NULL }, { &integer, "-1", NULL },
	{ &integer, "", "" }, { &integer, "007", "7" }, { &integer, "1.5", NULL }, { &integer, "0x10", NULL }, { &integer, "1 ", NULL },
	{ &integer, " 1", NULL }, { &integer, "\t1", NULL }, { &integer, "\n1", NULL }, { &integer, "+1", NULL }, { &integer, "one", NULL },
	{ &integer, "max", NULL }, { &integer, "unlimited", NULL }, { &integer, "99999999999999999999", NULL }, { &integer, "1e2", NULL },
	{ &integer, "-", NULL }, { &integer, "1K", NULL },
	{ &open_end, "9223372036854775807", "9223372036854775807" }, { &open_end, "9223372036854775808", NULL }, { &open_end, "-1", NULL },
	{ &limit, "-1", "-1" }, { &limit, "max", "-1" }, { &limit, "unlimited", "-1" }, { &limit, "-2", NULL }, { &limit, "0", "0" },
	{ &limit, "Max", NULL }, { &limit, "max unlimited", NULL },
	{ &boolean, "true", "true" }, { &boolean, "1", "true" }, { &boolean, "yes", "true" }, { &boolean, "on", "true" },
	{ &boolean, "false", "false" }, { &boolean, "0", "false" }, { &boolean, "no", "false" }, { &boolean, "off", "false" },
	{ &boolean, "", NULL }, { &boolean, "2", NULL }, { &boolean, "TRUE", NULL }, { &boolean, "true false", NULL },
	{ &mib, "512", "512" }, { &mib, "4G", "4096" }, { &mib, "4g", "4096" }, { &mib, "4GiB", "4096" }, { &mib, "4GB", "4096" },
	{ &mib, "2048K", "2" }, { &mib, "1K", NULL }, { &mib, "1536K", NULL }, { &mib, "0", NULL }, { &mib, "4X", NULL }, { &mib, "4GG", NULL },
	{ &mib, "G", NULL }, { &mib, "4 G", NULL }, { &mib, "4 ", NULL }, { &mib, "-4G", NULL }, { &mib, "16T", "16777216" },
	{ &mib, "17T", NULL }, { &mib, "1P", NULL }, { &mib, "1.5G", NULL }, { &mib, "+4G", NULL }, { &mib, "\t4G", NULL },
	{ &gib, "10", "10" }, { &gib, "1T", "1024" }, { &gib, "1024M", "1" }, { &gib, "512M", NULL }, { &gib, "0", "0" },
	{ &gib, "1048577", NULL }, { &gib, "99999999999G", NULL }, { &gib, "18446744073709551615", NULL }, { &gib, "max", NULL },
	{ &gib, "18446744073709551616", NULL },
	{ &bytes, "1", "1" }, { &bytes, "1K", "1024" }, { &bytes, "1P", "1125899906842624" }, { &bytes, "1 ", NULL }, { &bytes, "1 B", NULL },
	{ &bytes, "9223372036854775807", "9223372036854775807" }, { &bytes, "9223372036854775808", NULL }, { &bytes, "9000P", NULL },
	{ &bytes, "\t-18446744073709551615", NULL }, { &bytes, "1\xd4", NULL },
	{ &size_limit, "max", "-1" }, { &size_limit, "-1", "-1" }, { &size_limit, "-2", NULL },
	{ &words, "shared", "shared" }, { &words, "share", NULL }, { &words, "shared public", NULL }, { &words, "", NULL },
	{ &words, " shared", NULL }, { &words, "Shared", NULL },
	{ &cidr, "10.0.0.0/24", "10.0.0.0/24" }, { &cidr, "10.0.0.0/8", "10.0.0.0/8" }, { &cidr, "192.168.1.8/29", "192.168.1.8/29" },
	{ &cidr, "10.0.0.1/24", NULL }, { &cidr, "10.0.0.0/30", NULL }, { &cidr, "10.0.0.0/7", NULL }, { &cidr, "10.0.0.0", NULL },
	{ &cidr, "10.0.0.0/", NULL }, { &cidr, "10.0.0/24", NULL }, { &cidr, "10.0.0.0/24 ", NULL }, { &cidr, "10.0.0.0/ 24", NULL },
	{ &cidr, "10.0.0.0/+24", NULL }, { &cidr, "10.0.0.0/4294967320", NULL }, { &cidr, "10.0.0.0/99999999999999999999", NULL },
	{ &cidr, "127.0.0.0/8", NULL }, { &cidr, "0.0.0.0/8", NULL }, { &cidr, "224.0.0.0/24", NULL }, { &cidr, "169.254.0.0/24", NULL },
	{ &cidr, "fd00::/64", NULL }, { &cidr, "256.0.0.0/24", NULL }, { &cidr, "010.0.0.0/24", NULL }, { &cidr, "/24", NULL },
	{ &cidr, "10.0.0.0/24/24", NULL }, { &cidr, "10.0.0.000000000000000000000000/24", NULL }, { &cidr, "", "" },
	/* a network that holds 127/8 or the link-local block is none of guests either */
	{ &cidr, "169.0.0.0/8", NULL },
	{ &ip, "10.0.0.1", "10.0.0.1" }, { &ip, "10.0.0.256", NULL }, { &ip, "10.0.0", NULL }, { &ip, "10.0.0.1 ", NULL }, { &ip, "::1", NULL },
	{ &when, "2026-11-22T10:06:00Z", "2026-11-22T10:06:00Z" }, { &when, "2024-02-29T23:59:59Z", "2024-02-29T23:59:59Z" },
	{ &when, "2026-02-29T00:00:00Z", NULL }, { &when, "2026-02-31T00:00:00Z", NULL }, { &when, "2026-13-01T00:00:00Z", NULL },
	{ &when, "2026-11-22", NULL }, { &when, "2026-11-22T10:06:00", NULL }, { &when, "2026-11-22T10:06:00Zx", NULL },
	{ &when, "2026-11-22T24:00:00Z", NULL }, { &when, "yesterday", NULL }, { &when, " 2026-11-22T10:06:00Z", NULL }, { &when, "", "" },
};

static char *printed(const struct file *f, const struct val *v)
{
	char *s = NULL;
	size_t len;
	FILE *out = open_memstream(&s, &len);

	value_print(f, v, out);
	fclose(out);
	return s;
}

static void values_are_taken_or_refused(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		const struct value_line *l = &lines[i];
		AUTO(val_free) struct val v = { 0 };

		e = (struct err){ 0 };
		int rc = value_parse(l->f, l->in, &v, &e);
		if (!l->out) {
			if (rc == 0) {
				AUTO(free) char *s = printed(l->f, &v);

				CHECK_FAIL("%s: '%s' was taken as '%s'", l->f->name, l->in, s);
			} else if (rc != -e.code || !*e.msg) {
				CHECK_FAIL("%s: '%s' was refused without a word", l->f->name, l->in);
			}
			continue;
		}
		AUTO(free) char *s = printed(l->f, &v);
		if (rc < 0)
			CHECK_FAIL("%s: '%s' was refused: %s", l->f->name, l->in, e.msg);
		else if (strcmp(s, l->out) != 0)
			CHECK_FAIL("%s: '%s' reads as '%s', not '%s'", l->f->name, l->in, s, l->out);
	}
}

static void what_is_printed_is_taken_as_the_same(void)
{
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		const struct value_line *l = &lines[i];
		AUTO(val_free) struct val a = { 0 };
		AUTO(val_free) struct val b = { 0 };

		if (!l->out || value_parse(l->f, l->in, &a, &e) < 0)
			continue;
		AUTO(free) char *s = printed(l->f, &a);
		if (value_parse(l->f, s, &b, &e) < 0 || !val_equal(&a, &b))
			CHECK_FAIL("%s: '%s' prints '%s', which is another", l->f->name, l->in, s);
	}
}

static void a_refusal_says_the_range(void)
{
	AUTO(val_free) struct val v = { 0 };

	CHECK_INT(value_parse(&integer, "2000", &v, &e), -EINVAL);
	CHECK_STR(e.msg, "2000 is not in 1..1024");
	CHECK_INT(value_parse(&words, "secret", &v, &e), -EINVAL);
	CHECK_STR(e.msg, "'secret' is none of: private shared public");
	CHECK_INT(value_parse(&cidr, "10.0.0.7/24", &v, &e), -EINVAL);
	CHECK_STR(e.msg, "'10.0.0.7/24' has host bits; write 10.0.0.0/24");
	CHECK_INT(value_parse(&mib, "1K", &v, &e), -EINVAL);
	CHECK_STR(e.msg, "'1K' is not a whole number of MiB");
}

static void broken_utf8_is_EILSEQ_and_a_control_character_EINVAL(void)
{
	CHECK_INT(text_check("\xc3(", 2, false, &e), -EILSEQ);
	CHECK_INT(text_check("a\x01", 2, false, &e), -EINVAL);
	CHECK_INT(text_check("a\0b", 3, false, &e), -EINVAL);
	CHECK_INT(text_check("a\nb\tc\r\n", 7, true, &e), 0);
	CHECK_INT(text_check("a\nb", 3, false, &e), -EINVAL);
	/* cut off in the middle: nothing is read behind the end */
	CHECK_INT(text_check("\xf0\x9f\x8c\xa5", 3, false, &e), -EILSEQ);
}

/* ---- lines of ctl */

/* "a=1|b|c=" is how this test writes words: key=value, a bare word, an empty value. */
static char *words_of(const char *line, size_t len)
{
	AUTO(args_free) struct args a = { 0 };
	char *s = NULL;
	size_t n;

	e = (struct err){ 0 };
	if (line_parse(line, len, &a, &e) < 0)
		return strdup("refused");
	FILE *out = open_memstream(&s, &n);
	for (size_t i = 0; i < a.n; i++)
		fprintf(out, "%s%s%s%s", i ? "|" : "", a.v[i].key, a.v[i].value ? "=" : "", a.v[i].value ? a.v[i].value : "");
	fclose(out);
	return s;
}

static void lines_are_cut_as_a_shell_would(void)
{
	static const struct { const char *line, *words; } table[] = {
		{ "", "" }, { "   \t ", "" }, { "# comment", "" }, { "  # comment", "" }, { "start", "start" }, { "  start  ", "start" },
		{ "start\r", "start" }, { "create web1 flavor=m1.tiny", "create|web1|flavor=m1.tiny" }, { "a=1 # why", "a=1" },
		{ "a=b#c", "a=b#c" }, { "a#b", "a#b" }, { "'#a'", "#a" }, { "\\#a", "#a" }, { "a='b c'", "a=b c" }, { "a=\"b c\"", "a=b c" },
		{ "'a b'=c", "a b=c" }, { "a=b=c", "a=b=c" }, { "a=", "a=" }, { "=a", "=a" }, { "a=''", "a=" }, { "''", "" }, { "a '' b", "a||b" },
		{ "'it'\\''s'", "it's" }, { "\"it's\"", "it's" }, { "'a\\b'", "a\\b" }, { "\"a\\b\"", "a\\b" }, { "\"a\\\"b\"", "a\"b" },
		{ "\"a\\\\b\"", "a\\b" }, { "\"a\\$b\"", "a$b" }, { "a\\ b", "a b" }, { "a\\", "a\\" }, { "a\\\\", "a\\" }, { "a'b'\"c\"d", "abcd" },
		{ "'a", "refused" }, { "\"a", "refused" }, { "a\"b c", "refused" }, { "\"a\\\"", "refused" }, { "a b=' c", "refused" },
		{ "$HOME", "$HOME" }, { "a;b", "a;b" }, { "gr\xc3\xbc\xc3\x9f=1", "gr\xc3\xbc\xc3\x9f=1" },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		AUTO(free) char *s = words_of(table[i].line, strlen(table[i].line));

		if (strcmp(s, table[i].words) != 0)
			CHECK_FAIL("<%s> is cut as <%s>, not <%s>", table[i].line, s, table[i].words);
	}
}

static void an_equals_sign_in_quotes_is_no_key(void)
{
	AUTO(args_free) struct args a = { 0 };

	CHECK_INT(args_parse("'a=b' c", &a, &e), 0);
	CHECK_INT((int)a.n, 2);
	CHECK_STR(a.v[0].key, "a=b");
	CHECK(a.v[0].value == NULL);
}

static void a_NUL_is_refused(void)
{
	AUTO(free) char *s = words_of("a\0b", 3);

	CHECK_STR(s, "refused");
	CHECK_STR(e.msg, "a NUL byte in the line");
}

static void a_line_ends_where_it_is_said_to(void)
{
	AUTO(free) char *s = words_of("start now", 5);

	CHECK_STR(s, "start");
}

static void args_get_tells_none_from_empty(void)
{
	AUTO(args_free) struct args a = { 0 };

	CHECK_INT(args_parse("plan a= b=1", &a, &e), 0);
	CHECK_STR(args_get(&a, "plan"), "");
	CHECK_STR(args_get(&a, "a"), "");
	CHECK_STR(args_get(&a, "b"), "1");
	CHECK(args_get(&a, "c") == NULL);
	CHECK(args_get(NULL, "c") == NULL);
}

/* Any bytes but NUL, and often those that mean something. */
static void random_word(char *w, size_t max, bool key)
{
	static const char special[] = " \t\r\n'\"\\#=$`*?[](){}<>|&;!~%abc/.,:-";
	size_t n = (size_t)random() % max;

	if (key && !n)
		n = 1;
	for (size_t i = 0; i < n; i++)
		w[i] = random() % 4 ? special[random() % (int)(sizeof special - 1)] : (char)(1 + random() % 255);
	w[n] = '\0';
}

static bool same_args(const struct args *a, const struct args *b)
{
	bool same = a->n == b->n;

	for (size_t i = 0; i < a->n && same; i++)
		same = strcmp(a->v[i].key, b->v[i].key) == 0 && !a->v[i].value == !b->v[i].value &&
			(!a->v[i].value || strcmp(a->v[i].value, b->v[i].value) == 0);
	return same;
}

static void any_args_come_back_from_their_line(void)
{
	srandom(1);
	for (int round = 0; round < 20000; round++) {
		AUTO(args_free) struct args a = { 0 };
		AUTO(args_free) struct args b = { 0 };
		char key[12], value[24];

		for (long n = random() % 5; n > 0; n--) {
			bool bare = random() % 3 == 0;

			random_word(key, sizeof key, !bare);
			random_word(value, sizeof value, false);
			CHECK_INT(args_add(&a, key, bare ? NULL : value, &e), 0);
		}
		AUTO(free) char *line = args_format(&a);
		if (args_parse(line, &b, &e) < 0 || !same_args(&a, &b)) {
			CHECK_FAIL("round %d: <%s> is another: %s", round, line, e.msg);
			return;
		}
	}
}

static void a_plain_word_is_not_quoted(void)
{
	static const struct { const char *word, *line; } table[] = {
		{ "m1.tiny", "m1.tiny" }, { "10.0.0.0/24", "10.0.0.0/24" }, { "", "''" }, { "a b", "'a b'" }, { "it's", "'it'\\''s'" },
		{ "a=b", "'a=b'" }, { "a\rb", "'a\rb'" }, { "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f" },
	};

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		AUTO(free) char *s = NULL;
		size_t n;
		FILE *out = open_memstream(&s, &n);

		put_word(out, table[i].word);
		fclose(out);
		CHECK_STR(s, table[i].line);
	}
}

/* ---- base64 */

static void any_bytes_come_back_from_base64(void)
{
	char data[300];

	srandom(2);
	for (size_t len = 0; len < sizeof data; len++) {
		for (size_t i = 0; i < len; i++)
			data[i] = (char)random();
		size_t back_len = 99999;
		AUTO(free) char *text64 = base64_encode(data, len);
		AUTO(free) char *back = base64_decode(text64, &back_len, &e);
		if (!back || back_len != len || memcmp(back, data, len) != 0)
			CHECK_FAIL("%zu bytes are %zu others", len, back_len);
	}
}

static void what_is_no_base64_is_refused(void)
{
	static const char *const bad[] = {
		"a", "ab", "abc", "abcde", "====", "a===", "=abc", "ab=c", "abcd====", "ab==abcd", "ab=\n", "    ", "ab cd===", "abc!", "abcd----",
		" YWI", "YWJj\nYWJj", "YWJj\n\n\n\n", "\xc3\xbc\xc3\xbc",
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		size_t len;
		AUTO(free) char *s = base64_decode(bad[i], &len, &e);

		if (s)
			CHECK_FAIL("<%s> was taken as %zu bytes", bad[i], len);
	}
}

/* ---- names and words */

static void names(void)
{
	static const struct { const char *name; int rc; } table[] = {
		{ "web1", 0 }, { "a b", 0 }, { "gr\xc3\xbc\xc3\x9f", 0 }, { "-x", 0 }, { "id:1", -EINVAL }, { "a.b", 0 }, { "~", 0 }, { "#", 0 },
		{ "", -EINVAL }, { ".", -EINVAL }, { "..", -EINVAL }, { ".x", -EINVAL }, { "a/b", -EINVAL }, { "a\nb", -EINVAL }, { "a\x7f", -EINVAL },
		{ "a\xff", -EILSEQ }, { "\xed\xa0\x80", -EILSEQ },
	};
	char longest[258];

	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		int rc = check_name(table[i].name, &e);

		if (rc != table[i].rc)
			CHECK_FAIL("the name <%s>: %d, not %d", table[i].name, rc, table[i].rc);
	}
	memset(longest, 'x', sizeof longest);
	longest[255] = '\0';
	CHECK_INT(check_name(longest, &e), 0);
	longest[255] = 'x';
	longest[256] = '\0';
	CHECK_INT(check_name(longest, &e), -ENAMETOOLONG);
}

static void words_in_lists(void)
{
	CHECK(word_in("ACTIVE SHUTOFF", "ACTIVE"));
	CHECK(word_in("ACTIVE SHUTOFF", "SHUTOFF"));
	CHECK(!word_in("ACTIVE SHUTOFF", "SHUT"));
	CHECK(!word_in("ACTIVE SHUTOFF", "OFF"));
	CHECK(!word_in("ACTIVE SHUTOFF", "ACTIVE SHUTOFF"));
	CHECK(!word_in("ACTIVE SHUTOFF", ""));
	CHECK(!word_in("", "ACTIVE"));
	CHECK(!word_in(NULL, "ACTIVE"));
}

int main(void)
{
	RUN(values_are_taken_or_refused);
	RUN(what_is_printed_is_taken_as_the_same);
	RUN(a_refusal_says_the_range);
	RUN(broken_utf8_is_EILSEQ_and_a_control_character_EINVAL);
	RUN(lines_are_cut_as_a_shell_would);
	RUN(an_equals_sign_in_quotes_is_no_key);
	RUN(a_NUL_is_refused);
	RUN(a_line_ends_where_it_is_said_to);
	RUN(args_get_tells_none_from_empty);
	RUN(any_args_come_back_from_their_line);
	RUN(a_plain_word_is_not_quoted);
	RUN(any_bytes_come_back_from_base64);
	RUN(what_is_no_base64_is_refused);
	RUN(names);
	RUN(words_in_lists);
	return DONE();
}
