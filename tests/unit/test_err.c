/* An error is a number and one line. */
#include "../../backends/base/err.h"

#include <errno.h>
#include <string.h>

#include "check.h"

static void both_return_the_number_below_zero(void)
{
	struct err e = { 0 };

	CHECK_INT(err_set(&e, ENOENT, "open '%s': %m", "x"), -ENOENT);
	CHECK_INT(e.code, ENOENT);
	CHECK_STR(e.msg, "open 'x': No such file or directory");
	CHECK_INT(err_prefix(&e, "vm-%d", 3), -ENOENT);
	CHECK_STR(e.msg, "vm-3: open 'x': No such file or directory");
	CHECK_INT(e.code, ENOENT);
}

static void no_failure_is_called_success(void)
{
	struct err e = { 0 };

	CHECK_INT(err_set(&e, 0, "it failed"), -EIO);
	CHECK_INT(err_set(&e, -EBUSY, "%m"), -EBUSY);
	CHECK_STR(e.msg, "Device or resource busy");
}

static void a_message_stays_on_its_line(void)
{
	struct err e = { 0 };

	err_set(&e, EIO, "one\ntwo\tthree\x1b[2J\x7f.\n\n  ");
	CHECK_STR(e.msg, "one two three [2J .");
	err_prefix(&e, "a\nb");
	CHECK_STR(e.msg, "a b: one two three [2J .");
	err_set(&e, EIO, "%s", "");
	CHECK_STR(e.msg, "");
}

static void a_message_may_be_made_of_itself(void)
{
	struct err e = { 0 };

	err_set(&e, EIO, "inner");
	err_set(&e, EBUSY, "outer: %s", e.msg);
	CHECK_STR(e.msg, "outer: inner");
	err_prefix(&e, "%s again", e.msg);
	CHECK_STR(e.msg, "outer: inner again: outer: inner");
}

static void a_long_message_ends_in_dots(void)
{
	struct err e = { 0 };
	char text[2000];

	memset(text, 'x', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	err_set(&e, EIO, "%s", text);
	CHECK_INT(strlen(e.msg), sizeof e.msg - 1);
	CHECK_STR(e.msg + sizeof e.msg - 4, "...");
	err_prefix(&e, "more");
	CHECK_INT(strlen(e.msg), sizeof e.msg - 1);
	CHECK(strncmp(e.msg, "more: xxx", 9) == 0);
	CHECK_STR(e.msg + sizeof e.msg - 4, "...");
}

/* json and editors refuse half a character. */
static void no_character_is_cut_in_half(void)
{
	char text[700];

	for (size_t shift = 0; shift < 4; shift++) {
		struct err e = { 0 };
		size_t n = 0;

		memset(text, 'x', shift);
		for (n = shift; n + 4 < sizeof text; n += 4)
			memcpy(text + n, "\xf0\x9f\x8c\xa5", 4);
		text[n] = '\0';
		err_set(&e, EIO, "%s", text);
		size_t len = strlen(e.msg);
		CHECK(len > 500 && strcmp(e.msg + len - 3, "...") == 0);
		CHECK_INT((len - 3 - shift) % 4, 0);
	}
}

/* What a user wrote is quoted; garbage of his may not make `error` unreadable. */
static void a_message_is_utf8(void)
{
	struct err e = { 0 };

	err_set(&e, EINVAL, "no flavor '%s'", "a\xff\xed\xa0\x80\xc3\xbc\x1b[2J\xe2\x80");
	CHECK_STR(e.msg, "no flavor 'a\?\?\?\?\xc3\xbc [2J\?\?'");
	err_prefix(&e, "%s", "\x83");
	CHECK_STR(e.msg, "\?: no flavor 'a\?\?\?\?\xc3\xbc [2J\?\?'");
}

static void err_is_errno_too(void)
{
	struct err e = { 0 };

	errno = 0;
	err_set(&e, EEXIST, "x");
	CHECK_INT(errno, EEXIST);
}

static void names_of_numbers(void)
{
	CHECK_STR(err_name(ENOENT), "ENOENT");
	CHECK_STR(err_name(EDQUOT), "EDQUOT");
	CHECK_STR(err_name(4711), "E4711");
}

int main(void)
{
	RUN(both_return_the_number_below_zero);
	RUN(no_failure_is_called_success);
	RUN(a_message_stays_on_its_line);
	RUN(a_message_may_be_made_of_itself);
	RUN(a_long_message_ends_in_dots);
	RUN(no_character_is_cut_in_half);
	RUN(a_message_is_utf8);
	RUN(err_is_errno_too);
	RUN(names_of_numbers);
	return DONE();
}
