#include "handle.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../../backends/base/log.h"
#include "attr.h"
#include "ctl.h"
#include "notify.h"
#include "proc.h"
#include "scratch.h"
#include "session.h"
#include "tasks.h"

#define DOC_MAX (1 << 20)
#define HIDDEN_SIZE 4096	/* of streaming names: busybox cat trusts st_size */

/* ---- the cache between a getattr and the open that follows */

#define RENDERED 64
#define RENDERED_MS 100

static struct rendered {
	pthread_mutex_t lock;
	uint64_t ino, change, all;
	int64_t at;
	char *buf;
	size_t len;
} rendered[RENDERED] = { [0 ... RENDERED - 1] = { .lock = PTHREAD_MUTEX_INITIALIZER } };

static int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool is_fresh(const struct rendered *r, struct node n, const struct file *f)
{
	if (!r->buf || r->ino != node_ino(n))
		return false;
	return file_is_live(f) ? r->all == change_all() && mono_ms() - r->at < RENDERED_MS : r->change == change_no(n.row);
}

/* The content, and the change number it is of at least; buf NULL: only the length is wanted. */
static int render(struct call *c, struct node n, char **buf, size_t *len, uint64_t *change, struct err *e)
{
	const struct file *f = node_file(c->fs, n);
	struct rendered *r = &rendered[(node_ino(n) * UINT64_C(0x9e3779b97f4a7c15)) >> 58];
	uint64_t no = change_no(n.row), all = change_all();
	AUTO(free) char *made = NULL;
	int rc = 0;

	pthread_mutex_lock(&r->lock);
	bool fresh = is_fresh(r, n, f);
	if (fresh) {
		*len = r->len;
		*change = r->change;
		if (buf && (*buf = malloc(r->len + 1)))
			memcpy(*buf, r->buf, r->len);
		if (buf && !*buf)
			rc = err_set(e, ENOMEM, "%m");
	}
	pthread_mutex_unlock(&r->lock);
	if (fresh)
		return rc;
	rc = attr_show(c, n, &made, len, e);
	if (rc < 0)
		return rc;
	*change = no;
	if (buf) {
		*buf = steal_ptr(&made);
		return 0;
	}
	pthread_mutex_lock(&r->lock);
	free(r->buf);
	r->ino = node_ino(n);
	r->change = no;
	r->all = all;
	r->at = mono_ms();
	r->len = *len;
	r->buf = steal_ptr(&made);
	pthread_mutex_unlock(&r->lock);
	return 0;
}

/* What last-error and last-result say depends on who reads. */
static int render_personal(struct fs *fs, const char *name, const struct who *w, char **buf, size_t *len, struct err *e)
{
	FILE *out = open_memstream(buf, len);

	if (!out)
		return err_set(e, ENOMEM, "%m");
	if (strcmp(name, "last-error") == 0)
		last_error_show(fs, w, out);
	else
		last_result_show(fs, w, out);
	fclose(out);
	return 0;
}

/* ---- attributes */

bool node_writable(struct fs *fs, struct node n)
{
	const struct file *f = node_file(fs, n);

	if (node_type(fs, n) == N_SCRATCH)
		return true;
	if (f && f->flags & F_WRITE && node_kind(fs, n)->flags & K_SYSTEM)
		return strcmp(f->name, "description") == 0;
	if (f && f->talk)
		return f->talk->write;
	return f && (f->flags & (F_PARAM | F_WRITE | F_BYTES) || strcmp(f->name, "ctl") == 0);
}

static int file_size(struct call *c, struct node n, const struct file *f, const struct who *w, struct node_attr *a, struct err *e)
{
	AUTO(free) char *text = NULL;
	uint64_t change;
	size_t len = 0;
	struct obj o;
	int64_t size = 0;
	int rc = 0;

	if (f->flags & F_HIDDEN && !(f->flags & F_BYTES)) {
		if (w)
			rc = render_personal(c->fs, f->name, w, &text, &len, e);
		a->size = w ? len : HIDDEN_SIZE;
		return rc;
	}
	const struct stream *stream = node_stream(c->fs, n);
	if (stream || f->flags & F_BYTES) {
		rc = obj_by_id(c, n.row, &o, e);
		if (rc == 0)
			rc = stream ? stream->size(c, &o, &size, e) : f->bytes->size(c, &o, &size, e);
		a->size = (uint64_t)size;
		return rc;
	}
	rc = render(c, n, NULL, &len, &change, e);
	a->size = len;
	return rc;
}

/* When it last changed: values a user sets have a time of their own, the rest changes with the object. */
static int file_times(struct call *c, struct node n, const struct file *f, struct node_attr *a, struct err *e)
{
	struct row r;
	int64_t at = 0;
	int rc = row_by_id(c->db, n.row, &r, e);

	if (rc <= 0)
		return rc ? rc : err_set(e, ENOENT, "it is gone");
	if (f && n.file < NF_COLL_FILE && file_settable(f)) {
		rc = row_touched(c->db, n.row, f->name, &at, e);
		at = at ? at : r.created;
	} else if (n.file >= NF_COLL_FILE) {
		rc = row_collection_changed(c->db, n.row, n.kind, &at, e);
		at = at ? at : r.created;
	} else {
		at = r.changed;
	}
	a->mtime = a->ctime = at;
	return rc < 0 ? rc : 0;
}

/* A relation has no time of its own: that of the cloud. */
static int64_t link_time(struct call *c)
{
	struct err e;
	struct row r;

	return row_by_id(c->db, ROOT_ROW, &r, &e) > 0 ? r.created : 0;
}

int node_attr(struct call *c, struct node n, const struct who *w, struct node_attr *ret, struct err *e)
{
	const struct file *f = node_file(c->fs, n);
	enum node_type type = node_type(c->fs, n);
	char target[2048] = "";
	struct row r;
	int rc = 0;

	*ret = (struct node_attr){ .ino = node_ino(n), .keep_entry = !n.by_id, .keep_attr = !n.by_id };
	if (type == N_NONE)
		return err_set(e, ESTALE, "no such node in this version of cirrusfs");
	if (type == N_SCRATCH) {
		size_t len;

		*ret = (struct node_attr){ .ino = node_ino(n), .mode = S_IFREG | 0600, .mtime = now_us(), .ctime = now_us() };
		rc = scratch_size(c->fs, n, &len, e);
		ret->size = len;
		return rc;
	}
	if (type == N_LINK || type == N_VIEW_LINK) {
		ret->mode = S_IFLNK | 0777;
		ret->keep_entry = ret->keep_attr = false;
		ret->mtime = ret->ctime = type == N_VIEW_LINK && row_by_id(c->db, n.row, &r, e) > 0 ? r.created : link_time(c);
		rc = node_readlink(c, n, target, sizeof target, e);
		ret->size = strlen(target);
		return rc;
	}
	if (node_is_dir(c->fs, n)) {
		ret->mode = S_IFDIR | 0755;
		if (type == N_TREE || type == N_LINK_DIR || type == N_BY_ID || type == N_WAIT_FOR)
			ret->keep_entry = ret->keep_attr = false;
		return type == N_LINK_DIR ? 0 : file_times(c, n, NULL, ret, e);
	}
	if (type == N_STATUS) {
		*ret = (struct node_attr){ .ino = node_ino(n), .mode = S_IFREG | 0444, .size = HIDDEN_SIZE };
		return 0;
	}
	ret->mode = S_IFREG | (node_writable(c->fs, n) ? 0644 : 0444);
	if (file_is_live(f))
		ret->keep_attr = ret->keep_entry = false;
	rc = file_size(c, n, f, w, ret, e);
	return rc < 0 ? rc : file_times(c, n, f, ret, e);
}

/* ---- objects that are files: drafts from open(O_CREAT) until a write was accepted */

#define FILE_WRITERS 256

static struct {
	pthread_mutex_t lock;
	int64_t rows[FILE_WRITERS];	/* of those open for writing, as often; 0: free */
} file_writers = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool is_file(struct fs *fs, const struct handle *h)
{
	const struct kind *k = node_kind(fs, h->n);

	return h->writable && h->n.file == NF_OBJECT && k && k->flags & K_FILE;
}

/* Puts `to` where `from` stands once. */
static void file_writer(int64_t from, int64_t to)
{
	for (size_t i = 0; i < FILE_WRITERS; i++)
		if (file_writers.rows[i] == from) {
			file_writers.rows[i] = to;
			return;
		}
}

/* ESTALE: it has just been settled away; the kernel looks its name up again then. */
static int file_opened(struct call *c, struct handle *h, struct err *e)
{
	struct obj o;

	pthread_mutex_lock(&file_writers.lock);
	int rc = obj_by_id(c, h->n.row, &o, e);
	if (rc == 0 && o.row.deleted)
		rc = -ENOENT;
	if (rc == 0)
		file_writer(0, h->n.row);
	pthread_mutex_unlock(&file_writers.lock);
	return rc == -ENOENT ? err_set(e, ESTALE, "it is gone") : rc;
}

/* ---- open */

static enum handle_type type_of(struct fs *fs, struct node n)
{
	const struct file *f = node_file(fs, n);

	if (n.kind == NK_SCRATCH)
		return H_SCRATCH;
	if (n.kind == NK_STATUS || (f->flags & F_HIDDEN && (strcmp(f->name, "wait") == 0 || strcmp(f->name, "events-follow") == 0)))
		return H_WAIT;
	if (f->talk)
		return H_TALK;
	if (node_stream(fs, n))
		return H_STREAM;
	if (f->flags & F_BYTES)
		return H_BYTES;
	if (strcmp(f->name, "ctl") == 0)
		return H_CTL;
	return f->type == T_DOC ? H_DOC : H_TEXT;
}

static void handle_free(struct handle *h)
{
	pthread_mutex_destroy(&h->lock);
	if (h->fd >= 0)
		close(h->fd);
	if (h->talking)
		h->talk->close(h->talking);
	free(h->buf);
	free(h->gathered);
	free(h);
}
AUTO_FN(struct handle *, handle_free);

static int open_bytes(struct call *c, struct handle *h, const struct file *f, struct err *e)
{
	struct obj o;
	int rc = 0;

	if (h->writable)
		rc = call_write(c, e);
	if (rc == 0)
		rc = obj_by_id(c, h->n.row, &o, e);
	if (rc == 0)
		rc = f->bytes->open(c, &o, h->writable, h->truncated, &h->fd, &h->bytes, e);
	if (rc == 0 && h->writable) {
		rc = call_commit(c, e);
		if (rc < 0)
			f->bytes->release(h->bytes);
	}
	return rc;
}

static int open_talk(struct call *c, struct handle *h, const struct file *f, int flags, struct err *e)
{
	struct obj o;

	h->talk = f->talk;
	if (obj_by_id(c, h->n.row, &o, e) < 0)
		return -e->code;
	return f->talk->open(c, &o, (flags & O_ACCMODE) != O_WRONLY, h->writable, &h->talking, e);
}

int handle_open(struct call *c, struct node n, int flags, const struct who *w, struct handle **ret, struct err *e)
{
	AUTO(handle_free) struct handle *h = calloc(1, sizeof *h);
	const struct file *f = node_file(c->fs, n);
	int rc = 0;

	if (!h)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&h->lock, NULL);
	h->n = n;
	h->fd = -1;
	h->writable = (flags & O_ACCMODE) != O_RDONLY;
	h->truncated = flags & O_TRUNC;
	h->append = flags & O_APPEND;
	h->change = change_no(n.row);
	if (h->writable && !node_writable(c->fs, n))
		return err_set(e, EPERM, "%s cannot be written", f ? f->name : "this");
	h->type = type_of(c->fs, n);
	if (h->type == H_SCRATCH && h->truncated)
		rc = scratch_truncate(c->fs, n, 0, e);
	else if (h->type == H_BYTES)
		rc = open_bytes(c, h, f, e);
	else if (h->type == H_TALK)
		rc = open_talk(c, h, f, flags, e);
	else if (h->type == H_WAIT && f && strcmp(f->name, "events-follow") == 0)
		rc = event_size(c->db, 0, 0, &h->base, e);
	else if (h->type == H_TEXT && f->flags & F_HIDDEN && n.kind == 0)
		rc = render_personal(c->fs, f->name, w, &h->buf, &h->len, e);
	else if ((h->type == H_TEXT || h->type == H_DOC || h->type == H_CTL) && (flags & O_ACCMODE) != O_WRONLY)
		rc = render(c, n, &h->buf, &h->len, &h->change, e);
	else if (h->type == H_DOC && !h->truncated)
		rc = attr_show(c, n, &h->buf, &h->len, e);
	if (rc < 0)
		return rc;
	if (h->writable && (h->type == H_CTL || (h->type == H_DOC && h->truncated))) {
		free(steal_ptr(&h->buf));	/* a tail, a document that starts empty */
		h->len = 0;
	}
	if (is_file(c->fs, h) && file_opened(c, h, e) < 0)
		return -e->code;
	*ret = steal_ptr(&h);
	return 0;
}

/* ---- read */

static int read_stream(struct call *c, struct handle *h, int64_t off, size_t size, size_t *len, char **owned, struct err *e)
{
	const struct stream *stream = node_stream(c->fs, h->n);
	AUTO(free) char *buf = malloc(size ? size : 1);
	struct obj o;

	if (!buf)
		return err_set(e, ENOMEM, "%m");
	if (obj_by_id(c, h->n.row, &o, e) < 0)
		return -e->code;
	int64_t n = stream->read(c, &o, off, buf, size, e);
	if (n < 0)
		return (int)n;
	*len = (size_t)n;
	*owned = steal_ptr(&buf);
	return 0;
}

static int read_bytes(struct fs *fs, struct handle *h, int64_t off, size_t size, size_t *len, char **owned, struct err *e)
{
	AUTO(free) char *buf = malloc(size ? size : 1);

	if (!buf)
		return err_set(e, ENOMEM, "%m");
	int64_t n = node_file(fs, h->n)->bytes->read(h->bytes, buf, size, off, e);
	if (n < 0)
		return (int)n;
	*len = (size_t)n;
	*owned = steal_ptr(&buf);
	return 0;
}

int64_t handle_seek(struct fs *fs, struct handle *h, int64_t off, int whence, struct err *e)
{
	return node_file(fs, h->n)->bytes->seek(h->bytes, off, whence, e);
}

int handle_read(struct call *c, struct handle *h, int64_t off, size_t size, const char **buf, size_t *len, char **owned, struct err *e)
{
	int rc = 0;

	*owned = NULL;
	*len = 0;
	*buf = "";
	if (h->type == H_BYTES) {
		rc = read_bytes(c->fs, h, off, size, len, owned, e);
	} else if (h->type == H_STREAM) {
		rc = read_stream(c, h, off, size, len, owned, e);
	} else if (h->type == H_SCRATCH) {
		rc = scratch_read(c->fs, h->n, off, size, owned, len, e);
	} else {
		const struct file *f = node_file(c->fs, h->n);

		pthread_mutex_lock(&h->lock);
		/* nobody is told an old value: a snapshot that is not begun yet is made again */
		if (h->type != H_DOC && !(f->flags & F_HIDDEN) && off == 0 && !h->writable && h->change != change_no(h->n.row)) {
			char *again;
			size_t n;

			if (render(c, h->n, &again, &n, &h->change, &(struct err){ 0 }) == 0) {
				free(h->buf);
				h->buf = again;
				h->len = n;
			}
		}
		if (off >= 0 && (size_t)off < h->len) {
			*len = h->len - (size_t)off < size ? h->len - (size_t)off : size;
			*owned = malloc(*len);
			if (*owned)
				memcpy(*owned, h->buf + off, *len);
			else
				rc = err_set(e, ENOMEM, "%m");
		}
		pthread_mutex_unlock(&h->lock);
	}
	if (*owned)
		*buf = *owned;
	return rc;
}

/* ---- write */

static void set_result(struct call *c, const struct who *w)
{
	AUTO(call_end) struct call r = { 0 };
	char path[1600];
	struct obj o;
	struct err e;

	if (c->made && call_begin(c->fs, &r, &e) == 0 && obj_by_id(&r, c->made, &o, &e) == 0 && obj_path(&r, &o, path, sizeof path, &e) == 0)
		last_result_set(c->fs, w, path);
}

/* Where commands of this ctl go: the object, or the collection. */
static struct node ctl_scope(struct node n)
{
	n.file = n.file >= NF_COLL_FILE ? NF_COLLECTION : NF_OBJECT;
	return n;
}

#define SHARE_MS 50	/* other writers do not wait longer for lines that come in bulk */

/* One line, whole or nothing of it. */
static int run_line(struct call *c, struct node n, const char *line, size_t len, struct err *e)
{
	size_t changes = c->n_changes, cancel = c->n_cancel, jobs = c->n_jobs;
	int64_t made = c->made;
	int rc = tx_mark(&c->tx, e);

	if (rc == 0)
		rc = ctl_line(c, n, line, len, e);
	if (rc == 0)
		rc = tx_keep(&c->tx, e);
	if (rc == 0)
		return tx_settle(&c->tx, e);
	tx_undo(&c->tx);
	c->n_changes = changes;
	c->n_cancel = cancel;
	tasks_forget(c, jobs, 0);
	c->made = made;
	return rc;
}

/* Complete lines of text, as many in a transaction as go in a moment; how many bytes went through before the first that did not. */
static int64_t run_lines(struct call *c, struct handle *h, const char *text, size_t len, struct err *e)
{
	size_t done = 0, durable = 0;
	struct err why = { 0 };
	int rc = doc_pending(c->fs, h->n, e);

	while (rc == 0 && done < len && (rc = call_write(c, e)) == 0) {
		int64_t begin = mono_ms();

		while (rc == 0 && done < len && mono_ms() - begin < SHARE_MS) {
			const char *nl = memchr(text + done, '\n', len - done);
			size_t l = nl ? (size_t)(nl - text) - done : len - done;

			rc = run_line(c, ctl_scope(h->n), text + done, l, e);
			if (rc == 0)
				done += l + (nl != NULL);
		}
		if (done == durable)
			break;
		if (call_commit(c, &why) < 0) {
			*e = why;
			return durable ? (int64_t)durable : -e->code;
		}
		durable = done;
	}
	return durable ? (int64_t)durable : -e->code;
}

/* A program's buffer that ran full: what it wrote goes on with its next write.  Of what is longer than its buffer, stdio writes all whole
 * blocks at once. */
static bool is_buffer(size_t len)
{
	return len >= 512 && (!(len & (len - 1)) || len % 4096 == 0);
}

/* Taken: whole lines, at most CTL_MAX bytes; without any newline it is one command, unless a tail waits or the writer's buffer was full
 * (or this is the end of one that was). */
static int64_t write_ctl(struct call *c, struct handle *h, const char *buf, size_t len, struct err *e)
{
	AUTO(free) char *joined = NULL;
	size_t tail = h->len;
	char *last = memrchr(buf, '\n', len < CTL_MAX ? len : CTL_MAX);
	bool full = is_buffer(len) || len == h->owed;

	h->owed = 0;
	if (!last && (len > CTL_MAX || tail + len > CTL_MAX))
		return err_set(e, E2BIG, "a line of more than %d bytes", CTL_MAX);
	joined = malloc(tail + len + 1);
	if (!joined)
		return err_set(e, ENOMEM, "%m");
	if (tail)
		memcpy(joined, h->buf, tail);
	memcpy(joined + tail, buf, len);
	joined[tail + len] = '\0';
	size_t take = last ? (size_t)(last - buf) + 1 : tail || full ? 0 : len;
	if (take) {
		int64_t n = run_lines(c, h, joined, tail + take, e);

		if (n < 0 || (size_t)n < tail + take) {
			h->len = 0;	/* what is repeated begins with the line that failed */
			free(steal_ptr(&h->buf));
			return n < 0 ? n : n > (int64_t)tail ? n - (int64_t)tail : -e->code;
		}
	}
	if (take == len || len > CTL_MAX) {	/* the rest comes again with the next write */
		h->len = 0;
		free(steal_ptr(&h->buf));
		h->owed = full ? len - take : 0;
		return (int64_t)take;
	}
	/* a line cut off waits for its rest */
	size_t rest = (take ? 0 : tail) + len - take;
	char *keep = malloc(rest + 1);
	if (!keep)
		return err_set(e, ENOMEM, "%m");
	memcpy(keep, joined + (take ? tail + take : 0), rest);
	free(h->buf);
	h->buf = keep;
	h->len = rest;
	return (int64_t)len;
}

/* What the writes through this handle say together: a list grows line by line, a value goes on where a write was cut off by a full buffer;
 * otherwise each write is the value, wherever its offset is. */
static int gather(struct call *c, struct handle *h, const char *buf, size_t len, char **ret, size_t *ret_len, struct err *e)
{
	const struct file *f = node_file(c->fs, h->n);
	AUTO(free) char *now = NULL;
	size_t have = 0;

	if (h->gathered_len && (f->flags & F_LIST || h->goes_on))
		have = h->gathered_len;
	else if (!h->written && h->append && f->flags & F_LIST && attr_show(c, h->n, &now, &have, e) < 0)
		return -e->code;
	if (have == 1 && now && *now == '\n')
		have = 0;
	if (have + len > CTL_MAX)
		return err_set(e, EFBIG, "a value of more than %d bytes", CTL_MAX);
	char *all = malloc(have + len + 1);
	if (!all)
		return err_set(e, ENOMEM, "%m");
	memcpy(all, now ? now : h->gathered ? h->gathered : "", have);
	memcpy(all + have, buf, len);
	*ret_len = have + len;
	*ret = all;
	return 0;
}

static int64_t write_value(struct call *c, struct handle *h, const char *buf, size_t len, struct err *e)
{
	AUTO(free) char *all = NULL;
	size_t n = 0;

	if (gather(c, h, buf, len, &all, &n, e) < 0 || call_write(c, e) < 0 || attr_store(c, h->n, all, n, e) < 0 || call_commit(c, e) < 0)
		return -e->code;
	free(h->gathered);
	h->gathered = steal_ptr(&all);
	h->gathered_len = n;
	h->goes_on = len && buf[len - 1] != '\n' && is_buffer(len);
	return (int64_t)len;
}

static int resize_doc(struct handle *h, size_t len, struct err *e)
{
	if (len > DOC_MAX)
		return err_set(e, EFBIG, "a document of more than %d bytes", DOC_MAX);
	char *p = realloc(h->buf, len + 1);
	if (!p)
		return err_set(e, ENOMEM, "%m");
	if (len > h->len)
		memset(p + h->len, 0, len - h->len);
	h->buf = p;
	h->len = len;
	return 0;
}

static int64_t write_doc(struct handle *h, const char *buf, size_t len, int64_t off, struct err *e)
{
	if (off < 0 || off > DOC_MAX || len > DOC_MAX)
		return err_set(e, EFBIG, "a document of more than %d bytes", DOC_MAX);
	if ((size_t)off + len > h->len && resize_doc(h, (size_t)off + len, e) < 0)
		return -e->code;
	memcpy(h->buf + off, buf, len);
	h->dirty = true;
	return (int64_t)len;
}

int64_t handle_write(struct call *c, struct handle *h, const char *buf, size_t len, int64_t off, struct err *e)
{
	int64_t n;

	if (h->type == H_SCRATCH)
		return scratch_write(c->fs, h->n, buf, len, off, e) < 0 ? -e->code : (int64_t)len;
	if (h->type == H_TALK)
		return h->talk->write(h->talking, buf, len, e);
	if (h->type == H_BYTES) {
		const struct file *f = node_file(c->fs, h->n);

		if (f->bytes->check && f->bytes->check(h->bytes, buf, len, off, e) < 0)
			return -e->code;
		ssize_t w = pwrite(h->fd, buf, len, off);
		return w < 0 ? err_set(e, errno, "write: %m") : w;
	}
	pthread_mutex_lock(&h->lock);
	n = h->type == H_CTL ? write_ctl(c, h, buf, len, e) : h->type == H_DOC ? write_doc(h, buf, len, off, e) : write_value(c, h, buf, len, e);
	h->written = true;
	pthread_mutex_unlock(&h->lock);
	if (n > 0 && c->made)
		set_result(c, &c->who);
	return n;
}

int handle_truncate(struct call *c, struct handle *h, int64_t size, struct err *e)
{
	int rc = 0;

	if (h->type == H_SCRATCH)
		return scratch_truncate(c->fs, h->n, (size_t)size, e);
	if (h->type == H_BYTES)
		return ftruncate(h->fd, size) < 0 ? err_set(e, errno, "truncate: %m") : 0;
	if (h->type != H_DOC)
		return size ? err_set(e, EINVAL, "a control file has no size to set") : 0;
	pthread_mutex_lock(&h->lock);
	rc = resize_doc(h, (size_t)size, e);
	h->truncated = true;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* ---- close */

static int take_doc(struct call *c, struct handle *h, struct err *e)
{
	if (call_write(c, e) < 0 || attr_store(c, h->n, h->buf ? h->buf : "", h->len, e) < 0 || call_commit(c, e) < 0) {
		doc_broken(c->fs, h->n, e);
		return -e->code;
	}
	doc_pending(c->fs, h->n, &(struct err){ 0 });
	return 0;
}

/* What was never filled, or only with what was refused, is none; metadata may be empty. */
static int settle_file(struct call *c, struct handle *h, struct err *e)
{
	struct obj o;
	int rc = obj_by_id(c, h->n.row, &o, e);

	if (rc == 0 && strcmp(o.row.status, "DRAFT") == 0)
		rc = call_write(c, e) < 0 ? -e->code : obj_by_id(c, h->n.row, &o, e);
	if (rc < 0 || strcmp(o.row.status, "DRAFT") != 0)
		return rc == -ENOENT ? 0 : rc;
	if (o.kind->flags & K_EMPTY && !h->written)
		rc = attr_store(c, h->n, "", 0, e) < 0 || obj_set_status(c, &o, "ACTIVE", e) < 0 ? -e->code : 0;
	else
		rc = obj_delete(c, &o, e);
	return rc < 0 ? rc : call_commit(c, e);
}

/* The last to close it settles it; nobody opens it meanwhile. */
static int file_closed(struct call *c, struct handle *h, struct err *e)
{
	bool open = false;

	pthread_mutex_lock(&file_writers.lock);
	file_writer(h->n.row, 0);
	for (size_t i = 0; i < FILE_WRITERS; i++)
		open |= file_writers.rows[i] == h->n.row;
	int rc = open ? 0 : settle_file(c, h, e);
	pthread_mutex_unlock(&file_writers.lock);
	return rc;
}

struct drafts {
	int64_t ids[256];
	size_t n;
};

static int add_draft(void *arg, const struct row *r)
{
	struct drafts *d = arg;

	if (strcmp(r->status, "DRAFT") == 0)
		d->ids[d->n++] = r->id;
	return d->n == ARRAY_LEN(d->ids);
}

void files_settle(struct fs *fs)
{
	AUTO(call_end) struct call c = { 0 };
	struct drafts d = { 0 };
	struct err e = { 0 };
	struct obj o;
	int rc = call_begin(fs, &c, &e);

	for (const struct kind *const *k = fs->kinds; *k && rc == 0; k++)
		if ((*k)->flags & K_FILE)
			rc = row_list(c.db, 0, (*k)->no, 0, false, add_draft, &d, &e);
	call_end(&c);
	c = (struct call){ 0 };
	if (rc == 0 && d.n && (rc = call_begin(fs, &c, &e)) == 0)
		rc = call_write(&c, &e);
	for (size_t i = 0; i < d.n && rc == 0; i++)
		if ((rc = obj_by_id(&c, d.ids[i], &o, &e)) == 0 && obj_delete(&c, &o, &e) < 0)	/* protected */
			log_warn("a file that was being made stays: %s", e.msg);
	if (rc < 0 || (d.n && call_commit(&c, &e) < 0))
		log_warn("files that were being made: %s", e.msg);
}

int handle_flush(struct call *c, struct handle *h, pid_t tid, struct err *e)
{
	struct proc p;
	int rc = 0;

	if (!h->writable || h->type == H_TALK)
		return 0;
	if (h->type == H_BYTES) {
		if (h->who.pid == c->who.pid && proc_read(tid, &p) && p.killed)
			h->killed = true;
		return 0;
	}
	pthread_mutex_lock(&h->lock);
	if (h->type == H_DOC && h->dirty) {
		h->dirty = false;
		h->truncated = false;
		rc = take_doc(c, h, e);
	} else if (h->type == H_CTL && h->len) {	/* the last line had no newline */
		int64_t n = run_lines(c, h, h->buf, h->len, e);

		h->len = 0;
		rc = n < 0 ? (int)n : 0;
	} else if (is_file(c->fs, h) && h->written) {
		rc = settle_file(c, h, e);	/* before close(2) returns: the next command may make it again */
	}
	pthread_mutex_unlock(&h->lock);
	return rc;
}

int handle_release(struct call *c, struct handle *h, struct err *e)
{
	const struct file *f = node_file(c->fs, h->n);
	int rc = 0;
	struct obj o;

	if (h->type == H_BYTES) {
		if (h->writable && (rc = call_write(c, e)) == 0 && (rc = obj_by_id(c, h->n.row, &o, e)) == 0)
			rc = f->bytes->close(c, &o, h->bytes, !h->killed, e);
		if (rc == 0 && h->writable)
			rc = call_commit(c, e);
		if (rc == -ENOENT)	/* deleted while it was written */
			rc = 0;
		f->bytes->release(h->bytes);	/* the descriptor goes with the handle */
	} else if (h->type == H_DOC && h->writable && (h->dirty || (h->truncated && !h->written))) {
		rc = take_doc(c, h, e);		/* `: > user-data`, or a close whose flush never came */
	} else if (is_file(c->fs, h)) {
		rc = file_closed(c, h, e);
	}
	handle_free(h);
	return rc;
}
