/* What servers of objects answer, of any bytes: lists of S3 (XML) and Swift (JSON), errors, uploads, Keystone's catalogue and ranges are understood or
 * refused with a sentence; nothing is read outside of what came, nothing leaks.
 * make fuzz FUZZ=fuzz_place; options: -max_len=4096 -dict=tests/fuzz/place.dict */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../backends/place/place_parts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void one_list(int (*parse)(const char *text, size_t len, struct listing *ret, struct err *e), const char *text, size_t len)
{
	AUTO(listing_done) struct listing l = { 0 };
	struct err e = { 0 };
	int rc = parse(text, len, &l, &e);

	check(rc == -e.code && (rc == 0 || *e.msg));
	check(rc == 0 || (!l.n && !l.items && !l.token));
	check(!l.more || (l.token && *l.token));
	for (size_t i = 0; i < l.n; i++) {
		check(l.items[i].name && l.items[i].size <= INT64_MAX);
		if (place_name_ok(l.items[i].name))
			check(!strchr(l.items[i].name, '/') && strcmp(l.items[i].name, "..") != 0);
	}
}

static void one_text(int (*parse)(const char *text, size_t len, char **ret, struct err *e), const char *text, size_t len)
{
	AUTO(free) char *ret = NULL;
	struct err e = { 0 };
	int rc = parse(text, len, &ret, &e);

	check(rc == -e.code && (rc == 0) == (ret != NULL));
}

static int keystone(const char *text, size_t len, char **ret, struct err *e)
{
	return keystone_parse(text, len, "one", ret, e);
}

static void one_error(char *text, size_t len)
{
	char code[16], message[32], words[40];
	struct answer a = { .text = text, .text_len = len };

	if (!s3_error_parse(text, len, code, sizeof code, message, sizeof message))
		check(!*code && !*message);
	answer_words(&a, words, sizeof words);
	check(memchr(words, '\0', sizeof words) != NULL);
}

static void one_range(const char *text)
{
	int64_t first = 0, last = 0, total = 0;

	if (range_parse(text, &first, &last, &total))
		check((first == -1 && last == -1 && total >= 0) || (first >= 0 && last >= first && (total == -1 || total > last)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *text = malloc(len + 1);

	if (!text)
		abort();
	memcpy(text, data, len);	/* as remote_ask has it: a NUL behind */
	text[len] = '\0';
	one_list(s3_list_parse, text, len);
	one_list(swift_list_parse, text, len);
	one_text(s3_upload_parse, text, len);
	one_text(keystone, text, len);
	one_error(text, len);
	one_range(text);
	free(text);
	return 0;
}
