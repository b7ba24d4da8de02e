/* A test says one fact and fails in its own words.  A file of tests is a program: RUN(fact) for each, then DONE(). */
#pragma once

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int check_passed, check_failed, check_bad;

#define CHECK_FAIL(...) (check_bad = 1, printf("# %s:%d: ", __FILE__, __LINE__), printf(__VA_ARGS__), putchar('\n'))
#define CHECK(cond) do { if (!(cond)) CHECK_FAIL("%s", #cond); } while (0)
#define CHECK_INT(a, b) do { intmax_t a_ = (a), b_ = (b); \
	if (a_ != b_) CHECK_FAIL("%s is %" PRIdMAX ", not %" PRIdMAX, #a, a_, b_); } while (0)
#define CHECK_STR(a, b) do { const char *a_ = (a), *b_ = (b); \
	if (strcmp(a_, b_) != 0) CHECK_FAIL("%s is \"%s\", not \"%s\"", #a, a_, b_); } while (0)
#define RUN(fact) do { check_bad = 0; fact(); if (check_bad) check_failed++; else check_passed++; \
	printf("%s %d - %s\n", check_bad ? "not ok" : "ok", check_passed + check_failed, #fact); fflush(stdout); } while (0)
#define DONE() (printf("1..%d\n", check_passed + check_failed), check_failed != 0)
