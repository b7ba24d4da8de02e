/* What the state says against what there is, for `cirrusfs fsck` and for the running system.  A kind's own look is in its table (check);
 * what is common to all is in check.c; watch.c is the running system's, every check-interval seconds.
 *
 * A look changes nothing and asks no guest anything.  Each fault has a thing, a sentence, and perhaps somebody who mends it. */
#pragma once

#include "cloud.h"

struct finding {
	int64_t object;		/* the row it is about; 0: none */
	const char *thing;	/* its path in the tree, or what it is outside */
	const char *wrong;	/* a sentence */
	const char *did;	/* "started again": it is mended; NULL: it is not */
	struct err failed;	/* code 0: nobody tried */
};
typedef void found_fn(void *arg, const struct finding *f);

struct check {
	struct cloud *cl;
	bool mend;		/* what can be mended is */
	bool running;		/* tasks are under way, hosts are compared by their own threads, and nothing that holds data is moved */
	bool data;		/* contents of images and disks, too */
	bool counts;		/* running: also what triggers count */
	bool restarted;		/* the machine was, since the last mount: nothing that /run and the kernel hold is expected */
	found_fn *found;
	void *arg;
	/* Only these are told and mended ("thing\nwrong"); NULL: all. */
	const struct words *only;
	const struct audit_line *line;	/* of the state's file, being told now */
	unsigned n;		/* faults so far */
};

struct audit_line;

struct words {			/* a small set of lines */
	char **v;
	size_t n;
};
void words_add(struct words *w, const char *line);
bool words_has(const struct words *w, const char *line);
void words_free(struct words *w);

struct mend {
	const char *did;	/* said when act worked */
	int (*act)(struct check *k, int64_t id, const char *name, struct err *e);
};
/* A fault: told, and mended before that where k says so.  m NULL: nobody can but a person; id and name are act's. */
void check_fault(struct check *k, int64_t object, const char *thing, const struct mend *m, int64_t id, const char *name, const char *fmt,
		 ...) __attribute__((format(printf, 7, 8)));
/* The same of an object; its path is the thing, its row act's id. */
void check_object(struct check *k, int64_t object, const struct mend *m, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* Its path in the tree; "object ROW" where it has none. */
void check_path(struct check *k, int64_t object, char *ret, size_t size);
/* Every entry of STORE/dir that begins with the number of a row the state does not have; what holds data is not removed but goes to
 * STORE/lost+found (m NULL). */
int check_strays(struct check *k, const char *dir, const struct kind *kind, const struct mend *m, struct err *e);
/* 1: there is such a row of that kind, going or not, and no draft. */
int check_known(struct check *k, const struct kind *kind, int64_t row, struct err *e);
/* The look itself: 0 done (k->n says what was found), -errno it could not be done. */
int check_all(struct check *k, struct err *e);

/* ---- the running system */
int watch_start(struct cloud *c, struct err *e);
void watch_stop(struct cloud *c);
void watch_health(struct cloud *c, FILE *out);
/* Into events, and the object's history when it is about one. */
void watch_tell(struct cloud *c, const struct finding *f);
