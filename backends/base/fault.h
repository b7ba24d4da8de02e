/* Failures on request, for tests: a backend's table in front of another asks here before each call.
 *
 *   rules = rule[,rule...]      rule = [WHOM@]OP:N:WHAT
 *   N     = which call of OP, from 1; * is every one
 *   WHAT  = EIO (any errno's name): fails with it, nothing done;  doneEIO: done, and fails all the same;
 *           hang500: waits 500 ms first; hang/FILE: waits first, while there is that file
 *   WHOM  = only where `whom` begins so */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "auto.h"
#include "err.h"

struct faults;
/* ops: the n names OP may have, kept.  *ret NULL: no rule is for `whom`.  EINVAL: a rule that is none. */
int faults_open(const char *rules, const char *whom, const char *const *ops, size_t n, struct faults **ret, struct err *e);
void faults_close(struct faults *f);
AUTO_FN(struct faults *, faults_close);

struct fault {
	int code;		/* 0: this call does not fail */
	bool done;		/* it fails after it was done */
	unsigned nth;
};
/* One more call of ops[op]; counted per faults_open, from any thread.  Waits as it is told. */
struct fault faults_next(struct faults *f, size_t op);
/* -code, and a sentence that says it was on request. */
int fault_inject(const struct fault *f, struct err *e);

/* Runs `call` as the rules will have it. */
#define FAULT_CALL(faults, op, call, e) ({ \
	struct fault f_ = faults_next(faults, op); \
	int rc_ = f_.code && !f_.done ? 0 : (call); \
	rc_ == 0 && f_.code ? fault_inject(&f_, e) : rc_; \
})
