/* An error is a number for the kernel and a sentence for the person. */
#pragma once

struct err {
	int code;	/* positive errno, 0 while nothing failed */
	char msg[512];	/* "start vm-3: host is full"; one line, no newline */
};

/* Both return -code, so a failing function ends `return err_set(...)`.  %m is the text of `code`.
 * A message too long for the buffer ends in "...". */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Puts "<fmt>: " before the message; returns -e->code. */
int err_prefix(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "ENOENT" for ENOENT; "E<number>" for one without a name.  Static storage for known codes, else per thread. */
const char *err_name(int code);
