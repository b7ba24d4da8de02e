/* The machine that turns tables into directories.  A kind of object is a `struct kind`: a table of files, a table of verbs, the
 * steps of its tasks; fs/root.c lists the kinds.  Everything a kind does not say is done here, once for all: names, drafts,
 * ctl, spec, list, json, wait, errors, deletion, links, invalidation. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "../../backends/base/auto.h"
#include "../../backends/base/err.h"
#include "../../backends/state/object.h"

struct call;
struct check;
struct files;
struct fs;
struct kind;
struct job;
struct task;

/* ---- an object, as read from the state: a value */
struct obj {
	struct row row;
	const struct kind *kind;
};

/* ---- files */
enum type {		/* how a value is written and read; fs/tree/value.c has the table */
	T_NONE,		/* show and store do it */
	T_TEXT,		/* one line */
	T_INT,		/* min..max; unlimited (-1) where min is -1 */
	T_BOOL,		/* true false */
	T_MIB, T_GIB, T_BYTES,	/* a size; suffixes are taken */
	T_REF,		/* the name of an object of kind `ref` */
	T_WORD,		/* one of `words` */
	T_CIDR, T_IP4,	/* 10.0.0.0/24, 10.0.0.1 */
	T_TIME,		/* shown as 2026-11-22T10:06:00Z */
	T_DOC,		/* a document: whole text, taken at flush */
};

enum file_flags {
	F_PARAM = 1,		/* d: writable in a draft, a parameter of create */
	F_WRITE = 2,		/* w: writable always; a parameter of create too */
	F_NEEDED = 4,		/* create refuses without it */
	F_LIST = 8,		/* one value a line; the parameter may be repeated */
	F_LIVE = 16,		/* changes without the object changing: never cached */
	F_HIDDEN = 32,		/* answered, not listed */
	F_ONLY_STATUS = 64,	/* only kinds that have statuses show it */
	F_DIR = 128,		/* a directory: of links (`links`), what `tree` names, or of ordinary files (`files`) */
	F_WEAK = 256,		/* a reference that keeps nobody from deleting its target */
	F_OBSERVED = 512,	/* in no spec although writable */
	F_CONTROL = 4096,	/* ctl and spec: no value */
	F_STREAM = 1024,	/* read by offset through `stream`: live, grows */
	F_BYTES = 2048,		/* raw bytes through `data`: an image's data */
};

typedef int show_fn(struct call *c, const struct obj *o, FILE *out, struct err *e);
/* text: without its last newline. */
typedef int store_fn(struct call *c, struct obj *o, const char *text, struct err *e);

struct links {		/* a directory of links of an object */
	uint8_t no;	/* in inode numbers: unique among all such tables, 1..255 */
	bool by_tenant;	/* entries stand in a directory per tenant */
	bool own;	/* they change with the object's own values only, so that the kernel may keep the listing */
	/* fn for each link: its name, its row (a number of its own for ever), the object it points at. */
	int (*each)(struct call *c, const struct obj *o, int (*fn)(void *arg, const char *name, int64_t row, int64_t target), void *arg,
		    struct err *e);
	int (*target)(struct call *c, int64_t row, int64_t *ret, struct err *e);
	int (*attach)(struct call *c, struct obj *o, const char *name, const struct obj *target, struct err *e);	/* NULL: refused */
	int (*detach)(struct call *c, struct obj *o, const char *name, struct err *e);
};

struct stream {		/* a growing file: its size, and its bytes from an offset */
	int (*size)(struct call *c, const struct obj *o, int64_t *ret, struct err *e);
	int64_t (*read)(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e);
};

/* A directory of an object whose contents functions name (F_DIR with `tree`), as deep as they like.  What is in it has numbers,
 * 1..SUBTREE_MAX; 0 is the directory itself.  A number means the same path for ever: it is in inode numbers.  Read-only and never cached,
 * since what it shows may depend on anything; sizes are exact all the same. */
#define SUBTREE_MAX 4095
typedef int subtree_fn(void *arg, const char *name, unsigned no, bool hidden);
struct subtree {
	/* fn for each entry of directory `dir`, those that are listed in the order of their numbers, until it returns non-zero; hidden: answered, not listed. */
	int (*each)(struct call *c, const struct obj *o, unsigned dir, subtree_fn *fn, void *arg, struct err *e);
	bool (*is_dir)(unsigned no);
	unsigned (*parent)(unsigned no);
	/* A file's bytes; nothing is added to them. */
	int (*show)(struct call *c, const struct obj *o, unsigned no, FILE *out, struct err *e);
	const struct stream *(*stream)(unsigned no);	/* files that grow: NULL, none; may be NULL */
};

struct bytes {		/* raw bytes of an object, answered and not listed */
	int (*size)(struct call *c, const struct obj *o, int64_t *ret, struct err *e);
	/* *fd: a descriptor for reading or writing, *ret: what belongs to the handle, for close.  *fd may stay -1 for reading: `read` does it. */
	int (*open)(struct call *c, struct obj *o, bool write, bool truncate, int *fd, void **ret, struct err *e);
	/* Without a descriptor; from any thread, several at once.  How many bytes, less than size at the end only; where data or a hole begins (ENXIO). */
	int64_t (*read)(void *h, char *buf, size_t size, int64_t off, struct err *e);
	int64_t (*seek)(void *h, int64_t off, int whence, struct err *e);
	/* Before bytes go in: e.g. a look at the header. */
	int (*check)(void *h, const char *buf, size_t size, int64_t offset, struct err *e);
	/* The last descriptor of a writer was closed; whole: not by a signal that killed it. */
	int (*close)(struct call *c, struct obj *o, void *h, bool whole, struct err *e);
	void (*release)(void *h);
};

/* Bytes from something that lives, and perhaps to it (a console): answered, not listed.  No reader holds a thread: one that finds
 * nothing is parked and looks again at waits_wake of its key. */
struct talk {
	int (*open)(struct call *c, struct obj *o, bool read, bool write, void **ret, struct err *e);
	/* From any thread, not to block.  How many bytes; 0: it has ended; -EAGAIN: none yet. */
	int64_t (*read)(void *h, int64_t offset, char *buf, size_t size, struct err *e);
	int64_t (*write)(void *h, const char *buf, size_t size, struct err *e);	/* how many were taken; NULL: it is only read */
	const void *(*key)(void *h);
	void (*close)(void *h);
};

struct file {
	const char *name;	/* "quota/ram": stands in a directory of its object */
	unsigned flags;
	enum type type;
	const char *column;	/* of the kind's view when read, of its table when written */
	const char *shown;	/* the column that is read once it is created: what the system chose, where `column` is what was asked */
	const struct kind *ref;
	const char *words;	/* blank-separated */
	int64_t min, max;
	show_fn *show;		/* instead of the column */
	store_fn *store;	/* instead of the column */
	store_fn *check;	/* after the type's own check, before the column is set */
	const struct links *links;
	const struct subtree *tree;
	const struct files *files;	/* fs/tree/files.h */
	const struct stream *stream;
	const struct bytes *bytes;
	const struct talk *talk;
	const char *help;
};

/* ---- verbs and tasks */
struct arg {
	char *key, *value;	/* value NULL: a bare word */
};
struct args {
	struct arg *v;
	size_t n;
};
/* The value of a parameter, NULL when it was not given; "" for a bare word. */
const char *args_get(const struct args *a, const char *key);

struct step {
	const char *name;
	/* Looks before it acts, so that doing it again is the same as once.  1: call again in t->again_ms, or when poked.
	 * STEP_ANEW: what earlier steps made is gone; the task begins with its first step, a few times at most (e says why). */
	int (*run)(struct task *t, struct err *e);
};
#define STEP_ANEW 3

struct verb {
	const char *name;
	const char *from;	/* statuses it starts from, blank-separated; "*": any but DRAFT; "DRAFT" for create */
	const char *during;	/* status while its task runs; NULL: unchanged */
	const char *then;	/* status when it is done; NULL: unchanged */
	const char *broken;	/* status when its task failed; NULL: the kind's */
	const char *params;	/* as help shows them: "[hard]", "flavor=F"; a word in [] may be left out, a bare word is a switch */
	int (*begin)(struct call *c, struct obj *o, const struct args *a, struct err *e);	/* in the transaction; may be NULL */
	const struct step *steps;	/* NULL: done when begin returns */
	const char *help;
	unsigned deadline_s;	/* its task has failed when it has not ended by then; 0: task-timeout of the settings */
};

enum kind_flags {
	K_LIVE = 1,		/* mkdir makes it, no draft */
	K_FILE = 2,		/* the object is a file: files[0] is its content */
	K_PLAIN = 4,		/* its collection has no control files */
	K_SYSTEM = 8,		/* made and removed by the system only */
	K_EMPTY = 16,		/* K_FILE: may be without content */
};

struct user {
	const char *table, *column;
};

struct kind {
	uint8_t no;		/* in inode numbers and in the state; never used for another */
	const char *name;	/* "server" */
	const char *dir;	/* "servers": its collection in the parent */
	const struct kind *parent;	/* NULL: the top */
	const char *table, *view;	/* of the state; view NULL: the table */
	unsigned flags;
	const char *statuses;	/* all it can have, the first is what create leads to; NULL: it has none to show */
	const char *broken;	/* status of one whose task failed */
	const char *gone;	/* what `wait` says once it is deleted; NULL: DELETED */
	const char *columns;	/* what `list` shows after name, id and status: names of files with a column */
	const char *open_view;	/* what /DIR of the top shows: NULL nothing, "all" TENANT:NAME, "open" those whose view says open = 1 */
	const struct file *files;	/* ends with a line without a name */
	const struct verb *verbs;
	const struct step *remove;	/* steps of its deletion before the row goes; NULL: it goes at once */
	const char *help;	/* a sentence: what it is */
	const char *example;	/* for README */
	int (*made)(struct call *c, struct obj *o, struct err *e);	/* its row was just inserted */
	int (*going)(struct call *c, struct obj *o, struct err *e);	/* it is being deleted: last word in the transaction */
	int (*left)(struct call *c, struct obj *o, struct err *e);	/* the row is about to go */
	/* The row of what its tasks may hang on, such as a server's host: when that does not answer, only tasks of the same row wait.
	 * 0, NULL: they wait for others of their kind at most. */
	int64_t (*lane)(struct call *c, const struct obj *o);
	int (*check)(struct check *k, struct err *e);	/* what the state says of all of this kind against what there is (fs/check.h) */
	/* What uses it beside what file tables say: a table and its column that names objects of this kind. */
	const struct user *users;
};

/* ---- one request, or one piece of a task's work */
#define REQUEST_LEN 41	/* "req-UUID" */

struct who {
	uid_t uid;
	gid_t gid;
	pid_t pid, session;	/* tgid and session id; 0: not visible */
	char name[33];		/* of the user, for events */
};

struct change;

struct call {
	struct fs *fs;
	struct db *db;		/* a reader, or the writer while tx is open */
	struct tx tx;
	struct who who;
	pid_t tid;		/* the thread that asks */
	char request[REQUEST_LEN];
	struct change *changes;	/* what to tell once it is committed */
	size_t n_changes;
	int64_t last_changed;	/* no object with a higher row is among them */
	struct job **jobs;	/* for the workers, once it is committed */
	size_t n_jobs;
	int64_t *cancel;	/* objects whose running task is superseded */
	size_t n_cancel;
	bool purge;		/* what is deleted goes with all that is in it */
	bool hold;		/* call_commit does not tell: the caller does, with call_announce, once it has answered */
	int64_t kernel_knows;	/* the object whose name the kernel itself is changing */
	int64_t made;		/* the object the last accepted line made */
	const struct file *file;	/* the line whose show or store runs */
};

/* Reading: a connection.  Writing: call_write joins a transaction, call_commit makes it durable and tells everybody who must know
 * (open files' caches, waiters, workers); what was not committed is undone by call_end. */
/* An id for a request, "req-UUID". */
void request_new(char ret[REQUEST_LEN]);
int call_begin(struct fs *fs, struct call *c, struct err *e);
int call_write(struct call *c, struct err *e);
int call_commit(struct call *c, struct err *e);
void call_announce(struct call *c);
/* What was begun is undone, and call_write may begin again. */
void call_anew(struct call *c);
void call_end(struct call *c);
static inline void auto_call_end(struct call *c)
{
	call_end(c);
}

/* ---- objects (fs/tree/object.c) */
extern const struct kind root_kind;
#define ROOT_ROW 1
const struct kind *kind_by_no(struct fs *fs, unsigned no);
/* The kind whose collection in objects of `parent` has that name. */
const struct kind *kind_by_dir(struct fs *fs, const struct kind *parent, const char *dir, size_t len);
bool word_in(const char *words, const char *word);
/* "a server", "an image": for sentences; per thread, good for the next four. */
const char *kind_a(const struct kind *k);

int obj_of(struct call *c, const struct row *r, struct obj *ret, struct err *e);
int obj_by_id(struct call *c, int64_t id, struct obj *ret, struct err *e);	/* ENOENT */
/* 1 found, 0 not; id:UUID is a name too. */
int obj_by_name(struct call *c, const struct kind *k, int64_t parent, const char *name, struct obj *ret, struct err *e);
/* A name as a user writes it in `tenant`: there, then among what is open to all; `id:UUID`.  ENOENT names what there is. */
int obj_resolve(struct call *c, const struct kind *k, int64_t tenant, const char *name, struct obj *ret, struct err *e);
/* How `tenant` calls it: its name where that finds it, else id:UUID. */
int obj_call_name(struct call *c, int64_t tenant, const struct obj *o, char ret[300], struct err *e);
/* The path from the mount point, "tenants/acme/servers/web1". */
int obj_path(struct call *c, const struct obj *o, char *ret, size_t size, struct err *e);
/* The same by names, also of what is being deleted: for the record. */
int obj_name_path(struct call *c, const struct obj *o, char *ret, size_t size, struct err *e);

int obj_draft(struct call *c, const struct kind *k, const struct obj *parent, const char *name, struct obj *ret, struct err *e);
/* Draft, values and create in one: what `create NAME k=v` and mkdir of a live kind do. */
int obj_create(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const struct args *a, struct obj *ret,
	       struct err *e);
/* For kinds that only the system makes: a row with that status. */
int obj_make(struct call *c, const struct kind *k, const struct obj *parent, const char *name, const char *status, struct obj *ret,
	     struct err *e);
int obj_delete(struct call *c, struct obj *o, struct err *e);
int obj_rename(struct call *c, struct obj *o, const char *name, struct err *e);
int obj_verb(struct call *c, struct obj *o, const char *verb, const struct args *a, struct err *e);
int obj_set_status(struct call *c, struct obj *o, const char *status, struct err *e);
/* EPERM when it or what it is in is protected. */
int obj_unprotected(struct call *c, const struct obj *o, struct err *e);
/* EBUSY naming them when living objects use it. */
int obj_unused(struct call *c, const struct obj *o, struct err *e);
/* fn for every object that refers to it; 1 from fn stops. */
int obj_users(struct call *c, const struct obj *o, bool weak, bool deleted, row_fn *fn, void *arg, struct err *e);
/* Enqueue a task for a verb of its own, not asked for by anybody (e.g. what an event led to). */
int obj_enqueue(struct call *c, struct obj *o, const char *verb, const char *args, struct err *e);
int check_name(const char *name, struct err *e);
const struct verb *verb_find(const struct kind *k, const char *name);

/* Columns of the object's own table, with the kind's view behind reads. */
int obj_int(struct call *c, const struct obj *o, const char *column, int64_t *ret, struct err *e);	/* null: 0 */
int obj_text(struct call *c, const struct obj *o, const char *column, char **ret, struct err *e);	/* null: "" */
int obj_set_int(struct call *c, const struct obj *o, const char *column, int64_t v, struct err *e);
int obj_set_text(struct call *c, const struct obj *o, const char *column, const char *v, struct err *e);	/* NULL: null */
int obj_set_null(struct call *c, const struct obj *o, const char *column, struct err *e);

/* ---- tasks (fs/tree/task.c) */
struct task {
	struct fs *fs;
	struct obj obj;		/* as it was when this step began */
	struct args args;
	char request[REQUEST_LEN];
	int64_t created;	/* microseconds since 1970 */
	unsigned again_ms;	/* a step that returns 1 may set it; else 200 */
	bool patient;		/* a step that returns 1 is not ended by its verb's deadline: it waits for a person, or ends itself */
	int64_t ends;		/* when that is, as below; 0: nobody knows */
	int64_t step_began;	/* when this step was first called, CLOCK_MONOTONIC microseconds */
	char detail[256];	/* goes into history at the end */
	struct job *job;
};
/* In a step, before something that may take long, or when it returns 1: what it waits for ("host sim"), for `task`, `tasks`, `history`
 * and the sentence of a deadline that passed. */
void task_waits(struct task *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* In a step: begins a transaction for what it has to record.  ECANCELED: the task was superseded or given up while the step was away. */
int task_write(struct task *t, struct call *c, struct err *e);
/* In a step that takes long: nobody waits for it any more (it was superseded, it is too late, the process ends).  It leaves off, returns 1, and
 * is begun again if it is still wanted. */
bool task_over(const struct task *t);
/* Makes the tasks of that object look again now: what they wait for may have happened. */
void task_poke(struct fs *fs, int64_t object);
/* The same for all that may hang on that row. */
void task_poke_lane(struct fs *fs, int64_t lane);
/* Is a task of it queued or running? */
bool task_busy(struct fs *fs, int64_t object);
/* Readers of a talk with that key look again. */
void waits_wake(struct fs *fs, const void *key);
/* In a step: durable progress, told to readers. */
void task_progress(struct task *t, int percent);

/* ---- changes (fs/tree/notify.c) */
enum change_what {
	CH_VALUES = 1,		/* what files of the object say */
	CH_ENTRY = 2,		/* the object came into its collection */
	CH_GONE = 4,		/* ... or left it; name is the one that is free now */
	CH_TASK = 8,		/* its task began, went on or ended */
};
struct change {
	int64_t row, parent, tenant;
	uint8_t kind;
	unsigned what;
	char name[256];		/* CH_GONE */
	const struct file *only;	/* CH_VALUES of this file alone (and what shows all) */
	bool kernel_knows;	/* CH_GONE asked for by the kernel itself: rmdir, rename */
};
void changed(struct call *c, const struct obj *o, unsigned what);
/* One value of it; cheaper to tell. */
void changed_file(struct call *c, const struct obj *o, const struct file *f);
void changed_gone(struct call *c, const struct obj *o, const char *old_name);

/* ---- the running file system */
struct fs {
	const struct kind *const *kinds;	/* in order of dependency; ends with NULL */
	const struct kind *by_no[256];
	const struct files *files[256];	/* by their number (node.c) */
	struct state *state;
	char *store;			/* absolute */
	char *mountpoint;		/* absolute */
	void *cloud;			/* what the kinds share: fs/cloud.h */
	int (*health)(struct fs *fs, FILE *out, struct err *e);	/* a line per fault the kinds know of */
	int (*metrics)(struct call *c, FILE *out, struct err *e);
	/* These objects were changed, and it is committed: for what is kept elsewhere too.  Before the writer is answered. */
	void (*committed)(struct fs *fs, const struct change *ch, size_t n);
	bool (*make_room)(struct fs *fs);	/* the disk is full and something is to be deleted: true, there is a little room now */
	const struct file *root_files;	/* version, metrics ... beyond the machine's own */
	unsigned workers;
	unsigned task_timeout_s;
	struct notify *notify;
	struct waits *waits;
	struct tasks *tasks;
	struct sessions *sessions;
	struct scratch *scratch;
	const char *version;
};

/* An event line, in the transaction of what happened. */
int event_put(struct call *c, const struct obj *o, const char *verb, const char *result, int64_t duration_us, struct err *e);
/* One about a thing that may be no object; tenant 0: of no tenant's; what: a sentence, the line's last field. */
int event_tell(struct call *c, int64_t tenant, const char *thing, const char *verb, const char *result, const char *what, struct err *e);
/* 2026-11-22T10:06:00Z */
void time_text(int64_t us, char ret[24]);
void put_time(FILE *out, int64_t us);
/* 2026-11-22T10:06:00.123Z */
void put_time_ms(FILE *out, int64_t us);
/* A word as ctl reads it: quoted where it has blanks or quotes. */
void put_word(FILE *out, const char *word);
