/* Lines of ctl: any bytes are cut into words or refused with a sentence; the words come back from the line they are written as.
 * make fuzz FUZZ=fuzz_ctl; options: -max_len=512 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../fs/tree/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void same(const struct args *a, const struct args *b)
{
	if (a->n != b->n)
		abort();
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->v[i].key, b->v[i].key) != 0 || !a->v[i].value != !b->v[i].value ||
		    (a->v[i].value && strcmp(a->v[i].value, b->v[i].value) != 0))
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	AUTO(args_free) struct args a = { 0 };
	AUTO(args_free) struct args b = { 0 };
	AUTO(free) char *line = malloc(len ? len : 1);	/* so that a byte too far is seen */
	struct err e = { 0 };

	memcpy(line, data, len);
	int rc = line_parse(line, len, &a, &e);
	if (rc != -e.code || memchr(e.msg, '\n', strlen(e.msg)))
		abort();
	if (rc < 0)
		return 0;
	AUTO(free) char *text = args_format(&a);
	if (!text || args_parse(text, &b, &e) < 0)
		abort();
	same(&a, &b);
	for (size_t i = 0; i < a.n; i++)
		if (!args_get(&a, a.v[i].key))
			abort();
	return 0;
}
