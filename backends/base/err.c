#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

/* Marks a text that did not fit; no UTF-8 sequence is left in half. */
static void cut(char *text, size_t size)
{
	size_t n = size - 4;

	while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
		n--;
	memcpy(text + n, "...", 4);
}

/* One line of UTF-8: whatever a library, a guest or a user put into a message, it stays on its line of a control file, and json takes it. */
static void finish(struct err *e, int len)
{
	if (len < 0)
		snprintf(e->msg, sizeof e->msg, "%s", strerror(e->code));
	else if ((size_t)len >= sizeof e->msg)
		cut(e->msg, sizeof e->msg);
	size_t left = strlen(e->msg), step;
	for (char *p = e->msg; left; p += step, left -= step) {
		step = utf8_len((unsigned char *)p, left);
		if (!step)
			*p = '?';
		else if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = ' ';
		step += !step;
	}
	for (size_t n = strlen(e->msg); n && e->msg[n - 1] == ' '; n--)
		e->msg[n - 1] = '\0';
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	char buf[sizeof e->msg];
	va_list ap;

	if (code < 0)
		code = -code;
	if (!code)
		code = EIO;
	errno = code;
	va_start(ap, fmt);
	int len = vsnprintf(buf, sizeof buf, fmt, ap);	/* a buffer of its own: arguments may be e->msg */
	va_end(ap);
	memcpy(e->msg, buf, sizeof buf);
	e->code = code;
	finish(e, len);
	return -code;
}

int err_prefix(struct err *e, const char *fmt, ...)
{
	char head[256], old[sizeof e->msg];
	va_list ap;

	va_start(ap, fmt);
	if (vsnprintf(head, sizeof head, fmt, ap) >= (int)sizeof head)
		cut(head, sizeof head);
	va_end(ap);
	memcpy(old, e->msg, sizeof old);
	finish(e, snprintf(e->msg, sizeof e->msg, "%s: %s", head, old));
	return -e->code;
}

const char *err_name(int code)
{
	static __thread char unknown[16];
	const char *name = strerrorname_np(code);

	if (name)
		return name;
	snprintf(unknown, sizeof unknown, "E%d", code);
	return unknown;
}
