/* The state against itself: what SQLite can say of its file, what triggers count, and what a row promises.  Looking changes nothing. */
#pragma once

#include "object.h"

/* One line a fault of the file or of a reference: `thing` "task 12", `wrong` a sentence.  table and rowid: the row with the dangling
 * reference (column `column`), NULL and 0: the file itself. */
struct audit_line {
	const char *thing, *wrong, *table, *column;
	int64_t rowid;
	bool owned;	/* the row goes with what it names: it is to be deleted, else the column is to be null */
};
typedef void audit_fn(void *arg, const struct audit_line *l);
/* integrity_check and foreign_key_check of the database at path, with a connection of its own.  EBADMSG: it is none. */
int state_audit(const char *path, audit_fn *fn, void *arg, struct err *e);
/* Ends a dangling reference as `owned` says. */
int audit_mend(struct db *db, const struct audit_line *l, struct err *e);
/* Builds all indexes anew: what integrity_check finds wrong with them is gone. */
int audit_reindex(struct db *db, struct err *e);

/* What is counted twice: `used` stands in the table, `real` is counted now.  of: a tenant or a host. */
typedef int count_audit_fn(void *arg, int64_t of, const char *name, int64_t used, int64_t real);
int usage_audit(struct db *db, count_audit_fn *fn, void *arg, struct err *e);
int usage_set(struct db *db, int64_t tenant, const char *name, int64_t used, struct err *e);
int host_audit(struct db *db, count_audit_fn *fn, void *arg, struct err *e);
int host_use_set(struct db *db, int64_t host, const char *column, int64_t used, struct err *e);

struct server_audit {
	int64_t id, host, image;
	char status[24], power[16], uri[512];
	bool deleted, busy, launched, simulated;
};
/* Servers that are no drafts (host 0: of all hosts but simulated ones). */
int server_audit(struct db *db, int64_t host, int (*fn)(void *arg, const struct server_audit *s), void *arg, struct err *e);
