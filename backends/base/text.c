#include "text.h"

#include <stdio.h>
#include <string.h>

void hex_text(char *ret, const void *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *b = bytes;

	for (size_t i = 0; i < n; i++) {
		*ret++ = digits[b[i] >> 4];
		*ret++ = digits[b[i] & 15];
	}
	*ret = '\0';
}

void header_value(char *ret, size_t size, const char *value, size_t len)
{
	while (len && strchr(" \t", *value)) {
		value++;
		len--;
	}
	while (len && strchr(" \t\r\n", value[len - 1]))
		len--;
	*ret = '\0';
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)value[i] < 0x20 || value[i] == 0x7f)
			return;
	if (len < size)
		snprintf(ret, size, "%.*s", (int)len, value);
}
