/* What values look like in files and on ctl lines: parsing, printing, quoting. */
#pragma once

#include "tree.h"

/* Text as a user wrote it (no newline at its end) to what the column holds.  EINVAL with the range or the words.  T_REF, T_DOC and T_NONE
 * are not its matter.  An empty text: null, where the file may be without a value. */
int value_parse(const struct file *f, const char *text, struct val *ret, struct err *e);
/* Without a newline; null prints nothing. */
void value_print(const struct file *f, const struct val *v, FILE *out);
/* "integer 1-1024", "one of private shared", "name of a flavor": for help texts. */
void value_help(const struct file *f, FILE *out);

/* One line of ctl cut into words, shell-like quoting.  No words: blank or comment.  A word is key=value when an '=' stands outside quotes. */
int line_parse(const char *line, size_t len, struct args *ret, struct err *e);
void args_free(struct args *a);
static inline void auto_args_free(struct args *a)
{
	args_free(a);
}
/* Adds copies; value NULL for a bare word. */
int args_add(struct args *a, const char *key, const char *value, struct err *e);
/* "a=1 'b c=2'" as one line, the caller's to free; and back. */
char *args_format(const struct args *a);
int args_parse(const char *text, struct args *ret, struct err *e);

/* Valid UTF-8 without control characters? */
int text_check(const char *s, size_t len, bool newlines, struct err *e);
/* "10.0.0.0/24" with host bits zero, "10.0.0.1"; numbers in host order. */
int cidr_parse(const char *s, uint32_t *net, unsigned *prefix, struct err *e);
int ip4_parse(const char *s, uint32_t *ret, struct err *e);
void ip4_format(uint32_t ip, char ret[16]);
/* What `error` says: TIME ERRNO REQUEST-ID and the sentence, "VERB: " before it when verb is not NULL. */
void error_text(char *ret, size_t size, const struct err *e, const char *request, const char *verb);
/* Base64 of bytes, and back (*len: how many came out); the caller frees. */
char *base64_encode(const void *data, size_t len);
char *base64_decode(const char *text, size_t *len, struct err *e);
