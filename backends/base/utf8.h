/* UTF-8, RFC 3629. */
#pragma once

#include <stddef.h>

/* Bytes of the sequence at s, of which len are there; 0 when it is none. */
size_t utf8_len(const unsigned char *s, size_t len);
