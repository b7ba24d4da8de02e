/* Small pieces of text that several backends write or take. */
#pragma once

#include <stddef.h>

/* Lower-case hexadecimal; ret has 2 * n + 1 bytes. */
void hex_text(char *ret, const void *bytes, size_t n);
/* The value of an HTTP header, as it came (len bytes): without blanks around it; one with what is no text in it, or too long for size, is none. */
void header_value(char *ret, size_t size, const char *value, size_t len);
