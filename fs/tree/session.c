#include "session.h"
#include "proc.h"
#include "value.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <string.h>
#include <time.h>

#define SESSIONS 64	/* remembered at once; the one longest silent makes room */
#define KEPT 100	/* refusals of a session */
#define REFUSED 256	/* objects and collections whose last refusal is kept */
#define OPENED 1024	/* opendirs remembered */
#define MARKED 64	/* processes that were refused an unlink */
#define BROKEN 64	/* documents that did not parse */
#define SEEN_S 60
#define MARKED_S 600	/* a refused process that goes on is known that long, and anew at each refusal */
#define LISTED 4096	/* threads by their lower bits */

struct session {
	pid_t sid;
	uid_t uid;
	uint64_t used;
	char *lines[KEPT];	/* a ring, `next` is the oldest */
	unsigned next;
	char *result;
};

struct sessions {
	pthread_mutex_t lock;
	uint64_t clock;
	struct session s[SESSIONS];
	struct refused {
		struct node n;
		int64_t at;
		char line[700];
	} refused[REFUSED];
	struct opened {
		pid_t tid;
		struct node dir;
		int64_t at;
	} opened[OPENED];
	unsigned next_opened;
	struct marked {
		pid_t pid;
		uint64_t started;
		struct node dir;
		int64_t at;
	} marked[MARKED];
	unsigned next_marked;
	_Atomic int64_t last_marked, listed[LISTED];	/* when: a look without the lock */
	struct {
		struct node owner;	/* row 0: none */
		struct err err;
	} broken[BROKEN];
	unsigned next_broken;
	struct {
		struct node n;
		int64_t until;
	} hidden[16];
	unsigned next_hidden;
	_Atomic int any_hidden;
};

int sessions_init(struct fs *fs, struct err *e)
{
	fs->sessions = calloc(1, sizeof *fs->sessions);
	if (!fs->sessions)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&fs->sessions->lock, NULL);
	return 0;
}

void sessions_free(struct fs *fs)
{
	for (size_t i = 0; fs->sessions && i < SESSIONS; i++) {
		for (size_t k = 0; k < KEPT; k++)
			free(fs->sessions->s[i].lines[k]);
		free(fs->sessions->s[i].result);
	}
	free(fs->sessions);
	fs->sessions = NULL;
}

static void user_name(uid_t uid, char *ret, size_t size)
{
	struct passwd mem, *pw = NULL;
	char buf[2048];

	if (uid == 0)
		snprintf(ret, size, "root");
	else if (getpwuid_r(uid, &mem, buf, sizeof buf, &pw) == 0 && pw)
		snprintf(ret, size, "%.32s", pw->pw_name);
	else
		snprintf(ret, size, "%u", uid);
}

void who_of(struct who *w, uid_t uid, pid_t tid)
{
	struct proc p;

	*w = (struct who){ .uid = uid };
	user_name(uid, w->name, sizeof w->name);
	if (tid > 0 && proc_read(tid, &p)) {
		w->pid = proc_tgid(tid);
		w->session = p.session;
	}
}

/* ---- last-error, last-result */

static struct session *session_of(struct sessions *ss, const struct who *w, bool make)
{
	struct session *oldest = &ss->s[0];

	for (size_t i = 0; i < SESSIONS; i++) {
		struct session *s = &ss->s[i];

		if (s->used && s->sid == w->session && s->uid == w->uid) {
			s->used = ++ss->clock;
			return s;
		}
		if (s->used < oldest->used)
			oldest = s;
	}
	if (!make)
		return NULL;
	for (size_t k = 0; k < KEPT; k++)
		free(oldest->lines[k]);
	free(oldest->result);
	*oldest = (struct session){ .sid = w->session, .uid = w->uid, .used = ++ss->clock };
	return oldest;
}

static void remember(struct sessions *ss, struct node n, const char *line)
{
	struct refused *slot = &ss->refused[0];

	for (size_t i = 0; i < REFUSED; i++) {
		struct refused *r = &ss->refused[i];

		if (r->at && node_same(r->n, n)) {
			slot = r;
			break;
		}
		if (r->at < slot->at)
			slot = r;
	}
	slot->n = n;
	slot->at = now_us();
	snprintf(slot->line, sizeof slot->line, "%s", line);
}

/* What a user called something may hold a newline where it was refused for that. */
static void one_line(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
}

void refusal(struct fs *fs, const struct who *w, const struct call *c, struct node n, const char *path, const struct err *e)
{
	struct sessions *ss = fs->sessions;
	AUTO(free) char *line = NULL;
	char own[700];

	if (asprintf(&line, "%s %s: %s", err_name(e->code), *path ? path : ".", e->msg) < 0)
		return;
	error_text(own, sizeof own, e, c->request, NULL);
	one_line(line);
	one_line(own);
	pthread_mutex_lock(&ss->lock);
	struct session *s = session_of(ss, w, true);
	free(s->lines[s->next]);
	s->lines[s->next] = steal_ptr(&line);
	s->next = (s->next + 1) % KEPT;
	n.by_id = false;
	if (fs->by_no[n.kind])
		remember(ss, n, own);
	pthread_mutex_unlock(&ss->lock);
}

void last_error_show(struct fs *fs, const struct who *w, FILE *out)
{
	struct sessions *ss = fs->sessions;
	bool any = false;

	pthread_mutex_lock(&ss->lock);
	struct session *s = session_of(ss, w, false);
	for (unsigned i = 0; s && i < KEPT; i++) {
		const char *line = s->lines[(s->next + KEPT - 1 - i) % KEPT];

		if (!line)
			break;
		fprintf(out, "%s\n", line);
		any = true;
	}
	pthread_mutex_unlock(&ss->lock);
	if (!any)
		putc('\n', out);
}

void last_result_set(struct fs *fs, const struct who *w, const char *path)
{
	struct sessions *ss = fs->sessions;

	pthread_mutex_lock(&ss->lock);
	struct session *s = session_of(ss, w, true);
	free(s->result);
	s->result = strdup(path);
	pthread_mutex_unlock(&ss->lock);
}

void last_result_show(struct fs *fs, const struct who *w, FILE *out)
{
	struct sessions *ss = fs->sessions;

	pthread_mutex_lock(&ss->lock);
	struct session *s = session_of(ss, w, false);
	fprintf(out, "%s\n", s && s->result ? s->result : "");
	pthread_mutex_unlock(&ss->lock);
}

int refusal_of(struct fs *fs, struct node n, int64_t *at, char *line, size_t size)
{
	struct sessions *ss = fs->sessions;
	int found = 0;

	n.by_id = false;
	pthread_mutex_lock(&ss->lock);
	for (size_t i = 0; i < REFUSED && !found; i++)
		if (ss->refused[i].at && node_same(ss->refused[i].n, n)) {
			*at = ss->refused[i].at;
			snprintf(line, size, "%s", ss->refused[i].line);
			found = 1;
		}
	pthread_mutex_unlock(&ss->lock);
	return found;
}

bool refusal_clear(struct fs *fs, struct node n)
{
	struct sessions *ss = fs->sessions;
	bool had = false;

	n.by_id = false;
	pthread_mutex_lock(&ss->lock);
	for (size_t i = 0; i < REFUSED; i++)
		if (ss->refused[i].at && node_same(ss->refused[i].n, n)) {
			ss->refused[i].at = 0;
			had = true;
		}
	pthread_mutex_unlock(&ss->lock);
	return had;
}

static struct node doc_owner(struct node n)
{
	return (struct node){ .kind = n.kind, .file = n.file >= NF_COLL_FILE ? NF_COLLECTION : NF_OBJECT, .row = n.row };
}

void doc_broken(struct fs *fs, struct node n, const struct err *e)
{
	struct sessions *ss = fs->sessions;

	pthread_mutex_lock(&ss->lock);
	ss->broken[ss->next_broken].owner = doc_owner(n);
	ss->broken[ss->next_broken].err = *e;
	ss->next_broken = (ss->next_broken + 1) % BROKEN;
	pthread_mutex_unlock(&ss->lock);
}

int doc_pending(struct fs *fs, struct node n, struct err *e)
{
	struct sessions *ss = fs->sessions;
	struct node owner = doc_owner(n);
	int rc = 0;

	pthread_mutex_lock(&ss->lock);
	for (size_t i = 0; i < BROKEN; i++)
		if (ss->broken[i].owner.row && node_same(ss->broken[i].owner, owner)) {
			ss->broken[i].owner.row = 0;
			*e = ss->broken[i].err;
			rc = -e->code;
		}
	pthread_mutex_unlock(&ss->lock);
	return rc < 0 ? err_prefix(e, "a document written before was not taken") : 0;
}

/* ---- recursive deletes */

void saw_opendir(struct fs *fs, pid_t tid, struct node dir)
{
	struct sessions *ss = fs->sessions;

	if (tid <= 0)
		return;
	ss->listed[tid % LISTED] = now_us();
	pthread_mutex_lock(&ss->lock);
	ss->opened[ss->next_opened] = (struct opened){ tid, dir, now_us() };
	ss->next_opened = (ss->next_opened + 1) % OPENED;
	pthread_mutex_unlock(&ss->lock);
}

static bool has_opened(struct sessions *ss, pid_t tid, struct node dir)
{
	int64_t since = now_us() - (int64_t)SEEN_S * 1000000;

	for (size_t i = 0; i < OPENED; i++)
		if (ss->opened[i].tid == tid && node_same(ss->opened[i].dir, dir) && ss->opened[i].at > since)
			return true;
	return false;
}

void mark_recursive(struct fs *fs, const struct who *w, struct node dir)
{
	struct sessions *ss = fs->sessions;
	struct proc p;

	if (w->pid <= 0 || !proc_read(w->pid, &p))
		return;
	ss->last_marked = now_us();
	dir.sub = 0;	/* one mark for all that is below a subtree: their number is bounded */
	pthread_mutex_lock(&ss->lock);
	for (size_t i = 0; i < MARKED; i++)
		if (ss->marked[i].pid == w->pid && ss->marked[i].started == p.started && node_same(ss->marked[i].dir, dir)) {
			ss->marked[i].at = now_us();
			pthread_mutex_unlock(&ss->lock);
			return;
		}
	ss->marked[ss->next_marked] = (struct marked){ w->pid, p.started, dir, now_us() };
	ss->next_marked = (ss->next_marked + 1) % MARKED;
	pthread_mutex_unlock(&ss->lock);
}

/* Is `below` the same as `above` or somewhere under it? */
static bool is_below(struct call *c, struct node below, struct node above)
{
	struct err e;

	below.by_id = above.by_id = false;
	for (int depth = 0; depth < 16; depth++) {
		if (node_same(below, above))
			return true;
		if (node_parent(c, below, &below, &e) <= 0)
			return false;
		below.by_id = false;
	}
	return false;
}

/* Where that process was refused; false: it cannot be seen. */
static bool marks_of(struct sessions *ss, const struct who *w, struct node marks[MARKED], size_t *n)
{
	struct proc p;

	*n = 0;
	if (w->pid <= 0 || !proc_read(w->pid, &p))
		return false;
	pthread_mutex_lock(&ss->lock);
	for (size_t i = 0; i < MARKED; i++)
		if (ss->marked[i].pid == w->pid && ss->marked[i].started == p.started)
			marks[(*n)++] = ss->marked[i].dir;
	pthread_mutex_unlock(&ss->lock);
	return true;
}

static int recursive(struct err *e)
{
	return err_set(e, EPERM, "recursive delete; use rmdir, delete or purge");
}

int check_recursive(struct call *c, const struct who *w, pid_t tid, struct node dir, struct node target, struct err *e)
{
	struct sessions *ss = c->fs->sessions;
	struct node up, above, marks[MARKED];
	bool refused = false;
	struct err ignored;
	size_t n;

	if (!marks_of(ss, w, marks, &n))
		return 0;
	for (size_t i = 0; i < n && !refused; i++)
		refused = is_below(c, dir, marks[i]) || (!node_same(dir, target) && is_below(c, marks[i], target));
	/* rsync --delete empties the deepest directories first, before it meets a control file: but it has listed the way down */
	if (!refused && node_parent(c, dir, &up, &ignored) > 0) {
		bool two = node_parent(c, up, &above, &ignored) > 0;

		pthread_mutex_lock(&ss->lock);
		refused = has_opened(ss, tid, dir) && has_opened(ss, tid, up) && (!two || has_opened(ss, tid, above) || up.file == NF_OBJECT);
		pthread_mutex_unlock(&ss->lock);
	}
	return refused ? recursive(e) : 0;
}

bool may_be_recursive(struct fs *fs, pid_t tid)
{
	struct sessions *ss = fs->sessions;
	int64_t now = now_us();

	return (ss->last_marked && now - ss->last_marked < (int64_t)MARKED_S * 1000000) ||
		(tid > 0 && ss->listed[tid % LISTED] && now - ss->listed[tid % LISTED] < (int64_t)SEEN_S * 1000000);
}

int check_files_recursive(struct call *c, const struct who *w, pid_t tid, struct node top, struct err *e)
{
	struct sessions *ss = c->fs->sessions;
	struct node marks[MARKED], object, coll, owner;
	bool refused = false;
	struct err ignored;
	size_t n;

	if (!marks_of(ss, w, marks, &n))
		return 0;
	for (size_t i = 0; i < n && !refused; i++)
		refused = is_below(c, top, marks[i]);
	/* what empties the deepest directories first (rsync --delete) meets no control file before */
	if (!refused && node_parent(c, top, &object, &ignored) > 0 && node_parent(c, object, &coll, &ignored) > 0 &&
	    node_parent(c, coll, &owner, &ignored) > 0) {
		pthread_mutex_lock(&ss->lock);
		refused = has_opened(ss, tid, object) && has_opened(ss, tid, coll) && has_opened(ss, tid, owner);
		pthread_mutex_unlock(&ss->lock);
	}
	if (refused)
		ss->last_marked = now_us();
	return refused ? recursive(e) : 0;
}

bool has_listed(struct fs *fs, pid_t tid, struct node dir)
{
	pthread_mutex_lock(&fs->sessions->lock);
	bool yes = has_opened(fs->sessions, tid, dir);
	pthread_mutex_unlock(&fs->sessions->lock);
	return yes;
}

#define HIDDEN_US 2000000

void doc_hide(struct fs *fs, struct node n)
{
	struct sessions *ss = fs->sessions;

	pthread_mutex_lock(&ss->lock);
	ss->hidden[ss->next_hidden].n = n;
	ss->hidden[ss->next_hidden].until = now_us() + HIDDEN_US;
	ss->next_hidden = (ss->next_hidden + 1) % ARRAY_LEN(ss->hidden);
	ss->any_hidden = 1;
	pthread_mutex_unlock(&ss->lock);
}

bool doc_hidden(struct fs *fs, struct node n, bool take)
{
	struct sessions *ss = fs->sessions;
	bool found = false;

	if (!ss->any_hidden)
		return false;
	pthread_mutex_lock(&ss->lock);
	ss->any_hidden = 0;
	for (size_t i = 0; i < ARRAY_LEN(ss->hidden); i++) {
		if (ss->hidden[i].until < now_us())
			continue;
		bool it = node_same(ss->hidden[i].n, n);
		found |= it;
		if (it && take)
			ss->hidden[i].until = 0;
		else
			ss->any_hidden = 1;
	}
	pthread_mutex_unlock(&ss->lock);
	return found;
}
