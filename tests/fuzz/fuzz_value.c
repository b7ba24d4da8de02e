/* Values of each type: refused with a sentence, or taken; what is taken prints as something that is taken as the same.  The first byte
 * chooses the line of the table.  Also base64, cidr and names.
 * make fuzz FUZZ=fuzz_value; options: -max_len=128 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../fs/tree/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct file files[] = {
	{ "text", .type = T_TEXT }, { "short", .type = T_TEXT, .max = 8, .flags = F_NEEDED }, { "int", .type = T_INT },
	{ "range", .type = T_INT, .min = 1, .max = 1024 }, { "limit", .type = T_INT, .min = -1 }, { "bool", .type = T_BOOL },
	{ "mib", .type = T_MIB, .min = 1, .max = 16777216 }, { "gib", .type = T_GIB, .max = 1048576 }, { "size", .type = T_GIB, .min = -1 },
	{ "bytes", .type = T_BYTES }, { "word", .type = T_WORD, .words = "private shared community public" }, { "cidr", .type = T_CIDR },
	{ "ip", .type = T_IP4 }, { "time", .type = T_TIME },
};

static char *print(const struct file *f, const struct val *v)
{
	char *s = NULL;
	size_t len;
	FILE *out = open_memstream(&s, &len);

	value_print(f, v, out);
	fclose(out);
	return s;
}

static void check_val(const struct file *f, const char *text)
{
	AUTO(val_free) struct val a = { 0 };
	AUTO(val_free) struct val b = { 0 };
	struct err e = { 0 };
	int rc = value_parse(f, text, &a, &e);

	if (rc != -e.code || (rc < 0 && !*e.msg) || memchr(e.msg, '\n', strlen(e.msg)))
		abort();
	if (rc < 0)
		return;
	if (f->max && a.kind == VAL_INT && (a.i < f->min || a.i > f->max))
		abort();
	AUTO(free) char *s = print(f, &a);
	if (strchr(s, '\n'))
		abort();
	if (f->type == T_TIME && !a.i)	/* 1970 prints as never */
		return;
	if (value_parse(f, s, &b, &e) < 0 || !val_equal(&a, &b))
		abort();
}

static void check_base64(const char *text)
{
	size_t len = 0;
	struct err e = { 0 };
	AUTO(free) char *out = base64_decode(text, &len, &e);

	if (!out)
		return;
	AUTO(free) char *again = base64_encode(out, len);
	if (len > strlen(text) / 4 * 3 || strlen(again) != strlen(text))
		abort();
}

static void check_cidr(const char *text)
{
	uint32_t net = 0;
	unsigned prefix = 0;
	struct err e = { 0 };

	if (cidr_parse(text, &net, &prefix, &e) == 0 && (prefix > 32 || (prefix < 32 && net << prefix)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(free) char *text = NULL;
	struct err e = { 0 };

	if (!len || !(text = strndup((const char *)data + 1, len - 1)))
		return 0;
	check_val(&files[data[0] % ARRAY_LEN(files)], text);
	if (text_check((const char *)data, len, data[0] & 1, &e) != -e.code)
		abort();
	check_base64(text);
	check_cidr(text);
	return 0;
}
