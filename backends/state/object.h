/* Rows common to all kinds: objects, the columns of their kind's table, what refers to what, and what happened to them.
 * Knows kinds by number and table; which there are and what they mean is fs/'s. */
#pragma once

#include "db.h"

struct row {			/* one line of `object` */
	int64_t id, parent, tenant;	/* tenant 0: none; a tenant is its own */
	int kind;
	bool deleted, protected;
	int64_t created, changed;	/* microseconds since 1970 */
	int progress;
	char name[256], uuid[37], status[24], failed[24];
};

struct val {			/* what a column holds */
	enum val_kind { VAL_NULL, VAL_INT, VAL_TEXT } kind;
	int64_t i;
	char *s;		/* VAL_TEXT: owned */
};
void val_free(struct val *v);
static inline void auto_val_free(struct val *v)
{
	val_free(v);
}
bool val_equal(const struct val *a, const struct val *b);

/* Inserts; fills in id, uuid, created, changed.  EEXIST when the name is taken. */
int row_insert(struct db *db, struct row *r, const char *table, struct err *e);
/* 1 found, 0 not, -errno. */
int row_by_id(struct db *db, int64_t id, struct row *ret, struct err *e);
int row_by_name(struct db *db, int64_t parent, int kind, const char *name, struct row *ret, struct err *e);
int row_by_uuid(struct db *db, const char *uuid, struct row *ret, struct err *e);
/* Calls fn for each living object of the collection with id > after, in order of id, until it returns non-zero.  parent 0: of
 * all collections of that kind.  deleted: also those that are going. */
typedef int row_fn(void *arg, const struct row *r);
int row_list(struct db *db, int64_t parent, int kind, int64_t after, bool deleted, row_fn *fn, void *arg, struct err *e);
/* 1 when a living (with_deleted: any) object has that parent; *one is the first. */
int row_child(struct db *db, int64_t parent, bool with_deleted, struct row *one, struct err *e);

/* A tenant is its own tenant. */
int row_set_tenant(struct db *db, int64_t id, struct err *e);
/* Its created is now. */
int row_born(struct db *db, int64_t id, struct err *e);
int row_rename(struct db *db, int64_t id, const char *name, struct err *e);
int row_set_status(struct db *db, int64_t id, const char *status, struct err *e);
int row_set_error(struct db *db, int64_t id, const char *error, const char *failed_verb, struct err *e);
int row_error(struct db *db, int64_t id, char **ret, struct err *e);
int row_set_deleted(struct db *db, int64_t id, struct err *e);
int row_set_progress(struct db *db, int64_t id, int percent, struct err *e);
int row_touch(struct db *db, int64_t id, const char *file, struct err *e);
/* When that file was last changed: 0 never. */
int row_touched(struct db *db, int64_t id, const char *file, int64_t *ret, struct err *e);
/* When an entry last came or went in that collection: 0 never. */
int row_collection_changed(struct db *db, int64_t parent, int kind, int64_t *ret, struct err *e);
/* Removes the row and all that hangs on it. */
int row_delete(struct db *db, int64_t id, struct err *e);

/* Columns of the kind's table (set) or of its view, named by our own tables, never by users.  table "object" has
 * description and protected. */
int column_get(struct db *db, const char *view, const char *column, int64_t id, struct val *ret, struct err *e);
int column_set(struct db *db, const char *table, const char *column, int64_t id, const struct val *v, struct err *e);
/* Several of one row in one statement: what counts them is told once. */
int columns_set(struct db *db, const char *table, const char *const *columns, const struct val *v, size_t n, int64_t id, struct err *e);
/* Living objects whose `column` of `table` is `target`: fn for each. */
int column_users(struct db *db, const char *table, const char *column, int64_t target, bool deleted, row_fn *fn, void *arg,
		 struct err *e);
/* Living objects of the kind whose view says open = 1, by name (NULL: all): the oldest of a name first. */
int row_open(struct db *db, int kind, const char *view, const char *name, row_fn *fn, void *arg, struct err *e);

/* Rows of that kind that no task works on, the deleted ones too. */
int row_idle(struct db *db, int kind, row_fn *fn, void *arg, struct err *e);
/* Objects of that kind without a row in its table. */
int row_halves(struct db *db, int kind, const char *table, row_fn *fn, void *arg, struct err *e);

/* One SELECT for a whole `list`: the named columns of the view beside the object's row. */
typedef int list_fn(void *arg, const struct row *r, const struct val *vals);
int row_table(struct db *db, int64_t parent, int kind, const char *view, const char *const *columns, size_t n,
	      list_fn *fn, void *arg, struct err *e);

struct task_row {
	int64_t id, object, created;
	int step;
	char verb[24], request[41], who[40], was[24];
	char *args;		/* owned */
};
void task_row_free(struct task_row *t);
int task_insert(struct db *db, struct task_row *t, struct err *e);	/* takes the place of the one there */
int task_next(struct db *db, int64_t after, struct task_row *ret, struct err *e);	/* 1 the first with id > after */
int task_of(struct db *db, int64_t object, struct task_row *ret, struct err *e);	/* 1 there is one */
/* fn for each of a tenant (0: of all), the oldest first, until it returns non-zero. */
typedef int task_fn(void *arg, const struct task_row *t);
int task_list(struct db *db, int64_t tenant, task_fn *fn, void *arg, struct err *e);
/* 0 and nothing changed when the task is there no more. */
int task_set_step(struct db *db, int64_t id, int step, struct err *e);
int task_delete(struct db *db, int64_t id, struct err *e);
/* Tasks below a collection (kind > 0), a tenant (as an object and all in it) or an object: how many run, how many of the
 * objects ended in an error. */
int task_count(struct db *db, int64_t parent, int kind, int64_t tenant, int64_t object, int64_t *running, struct err *e);
/* The same, as 0 or 1 only, however many they are. */
int task_any(struct db *db, int64_t parent, int kind, int64_t tenant, int64_t object, int64_t *ret, struct err *e);
int failed_list(struct db *db, int64_t parent, int kind, int64_t tenant, row_fn *fn, void *arg, struct err *e);

int history_add(struct db *db, int64_t object, const char *verb, const char *result, const char *request, const char *who,
		int64_t duration_us, const char *detail, struct err *e);
/* steps: lines of text; the latest tasks of an object keep theirs. */
int history_add_task(struct db *db, int64_t object, const char *verb, const char *result, const char *request, const char *who,
		     int64_t duration_us, const char *detail, const char *steps, struct err *e);
typedef int history_fn(void *arg, int64_t at, const char *verb, const char *result, const char *request, const char *who,
		       int64_t duration_us, const char *detail, const char *steps);
int history_list(struct db *db, int64_t object, history_fn *fn, void *arg, struct err *e);

/* The events, as two kinds of append-only files: of everything (tenant 0) and of a tenant. */
int event_add(struct db *db, int64_t tenant, const char *line, struct err *e);
/* gen: 0 the present file, 1 the one before. */
int event_size(struct db *db, int64_t tenant, int gen, int64_t *ret, struct err *e);
/* Up to size bytes from offset; returns how many. */
int64_t event_read(struct db *db, int64_t tenant, int gen, int64_t offset, char *buf, size_t size, struct err *e);

int quota_get(struct db *db, int64_t tenant, const char *name, int64_t dflt, int64_t *ret, struct err *e);
int quota_set(struct db *db, int64_t tenant, const char *name, int64_t value, struct err *e);
int usage_get(struct db *db, int64_t tenant, const char *name, int64_t *ret, struct err *e);

/* Living objects by kind and status. */
typedef int count_fn(void *arg, int kind, const char *status, int64_t n);
int row_counts(struct db *db, count_fn *fn, void *arg, struct err *e);
