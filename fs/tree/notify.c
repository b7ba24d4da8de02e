#include "notify.h"
#include "files.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define COUNTERS 4096
#define SEEN_BITS (1 << 20)
#define LATE_NS 80000000L	/* looked at every TICK_NS: answered after 100 ms at the latest */
#define TICK_NS 20000000L
#define IDLE_TICKS 50		/* then it sleeps until it is woken, which costs each writer a system call */

struct item {
	struct item *next;
	enum { IT_CHANGE, IT_INODE, IT_ENTRY, IT_REPLY } kind;
	struct change change;
	uint64_t ino;
	void (*fn)(void *arg);
	void *arg;
	struct item *next_reply;
	struct timespec late;
	bool answered;		/* under the lock */
};

struct notify {
	pthread_mutex_t lock;
	pthread_cond_t more, replies_more;
	struct item *first, **last;
	struct item *replies, **replies_last;	/* those waiting for delivery, oldest first */
	const struct notify_ops *ops;
	void *arg;
	bool stop, busy, late_sleeps;
	pthread_t thread, late_thread;
};

static _Atomic uint64_t counters[COUNTERS], all;
static _Atomic uint8_t seen[SEEN_BITS / 8];
static _Atomic uint64_t files_clock, files_last[COUNTERS];

uint64_t change_no(int64_t row)
{
	return counters[(uint64_t)row % COUNTERS];
}

uint64_t change_all(void)
{
	return all;
}

void notify_seen(int64_t row)
{
	uint64_t bit = (uint64_t)row % SEEN_BITS;

	if (!(seen[bit / 8] & (1 << bit % 8)))
		seen[bit / 8] |= (uint8_t)(1 << bit % 8);
}

static bool was_seen(int64_t row)
{
	uint64_t bit = (uint64_t)row % SEEN_BITS;

	return seen[bit / 8] & (1 << bit % 8);
}

/* ---- delivering */

static void send_inode(struct fs *fs, struct node n)
{
	if (fs->notify->ops)
		fs->notify->ops->inode(fs->notify->arg, node_ino(n));
}

/* only: that one, and those that show every value. */
static void send_files(struct fs *fs, struct node n, const struct file *files, unsigned base, const struct file *only)
{
	for (unsigned i = 0; files && files[i].name; i++) {
		n.file = (uint8_t)(base + i);
		if (files[i].links && files[i].links->own)
			send_inode(fs, n);
		if (!file_is_live(&files[i]) && !(files[i].flags & F_DIR) && (!only || only == &files[i] || strcmp(files[i].name, "json") == 0))
			send_inode(fs, n);
	}
}

static void send_change(struct fs *fs, const struct change *ch)
{
	const struct kind *k = fs->by_no[ch->kind];
	struct node n = { .kind = ch->kind, .row = ch->row };
	struct node coll = { .kind = ch->kind, .file = NF_COLLECTION, .row = ch->parent };

	if (ch->what & CH_VALUES && was_seen(ch->row)) {
		send_inode(fs, n);
		if (!(k->flags & K_FILE)) {
			send_files(fs, n, k == &root_kind ? root_common : common_files, NF_COMMON, ch->only);
			send_files(fs, n, k->files, NF_KIND, ch->only);
		}
	}
	if (ch->what & (CH_ENTRY | CH_GONE) && was_seen(ch->parent))
		send_inode(fs, coll);
	if (ch->what & CH_GONE && !ch->kernel_knows && fs->notify->ops && was_seen(ch->row))
		fs->notify->ops->entry(fs->notify->arg, node_ino(coll), ch->name);
}

static void answer(struct notify *no, struct item *it)
{
	pthread_mutex_lock(&no->lock);
	bool mine = !it->answered;
	it->answered = true;
	pthread_mutex_unlock(&no->lock);
	if (mine)
		it->fn(it->arg);
}

/* Replies leave their list from the front: they are delivered in the order they were queued. */
static void reply_done(struct notify *no, struct item *it)
{
	pthread_mutex_lock(&no->lock);
	for (struct item **p = &no->replies; *p; p = &(*p)->next_reply)
		if (*p == it) {
			*p = it->next_reply;
			if (!*p)
				no->replies_last = p;
			break;
		}
	pthread_mutex_unlock(&no->lock);
}

static void *deliver(void *arg)
{
	struct fs *fs = arg;
	struct notify *no = fs->notify;

	pthread_mutex_lock(&no->lock);
	for (;;) {
		while (!no->first && !no->stop)
			pthread_cond_wait(&no->more, &no->lock);
		struct item *it = no->first;
		if (!it)
			break;
		no->first = it->next;
		if (!no->first)
			no->last = &no->first;
		no->busy = true;
		pthread_mutex_unlock(&no->lock);
		if (it->kind == IT_CHANGE) {
			send_change(fs, &it->change);
			waits_check(fs, &it->change);
		} else if (it->kind == IT_INODE) {
			send_inode(fs, node_of(it->ino));
		} else if (it->kind == IT_ENTRY) {
			if (no->ops)
				no->ops->entry(no->arg, it->ino, it->change.name);
		} else {
			answer(no, it);
			reply_done(no, it);
		}
		free(it);
		pthread_mutex_lock(&no->lock);
		no->busy = false;
	}
	pthread_mutex_unlock(&no->lock);
	return NULL;
}

static bool is_late(const struct item *it)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > it->late.tv_sec || (now.tv_sec == it->late.tv_sec && now.tv_nsec >= it->late.tv_nsec);
}

static struct timespec in_ns(long ns)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += ns;
	t.tv_sec += t.tv_nsec / 1000000000L;
	t.tv_nsec %= 1000000000L;
	return t;
}

/* Those that are late now; their items stay in the queue.  The lock is given back meanwhile. */
static void answer_those_late(struct notify *no)
{
	for (;;) {
		struct item *it = no->replies;

		while (it && it->answered)
			it = it->next_reply;
		if (!it || !is_late(it))
			return;
		void (*fn)(void *) = it->fn;
		void *fn_arg = it->arg;

		it->answered = true;
		pthread_mutex_unlock(&no->lock);
		fn(fn_arg);
		pthread_mutex_lock(&no->lock);
	}
}

/* Answers those whose invalidations take too long. */
static void *answer_late(void *arg)
{
	struct notify *no = arg;
	int idle = 0;

	pthread_mutex_lock(&no->lock);
	while (!no->stop) {
		struct timespec until = in_ns(TICK_NS);

		answer_those_late(no);
		idle = no->replies ? 0 : idle + 1;
		if (idle > IDLE_TICKS) {
			no->late_sleeps = true;
			pthread_cond_wait(&no->replies_more, &no->lock);
			no->late_sleeps = false;
			idle = 0;
		} else {
			pthread_cond_timedwait(&no->replies_more, &no->lock, &until);
		}
	}
	pthread_mutex_unlock(&no->lock);
	return NULL;
}

int notify_start(struct fs *fs, struct err *e)
{
	struct notify *no = fs->notify = calloc(1, sizeof *no);
	pthread_condattr_t mono;

	if (!no)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&no->lock, NULL);
	pthread_condattr_init(&mono);
	pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
	pthread_cond_init(&no->more, NULL);
	pthread_cond_init(&no->replies_more, &mono);
	no->last = &no->first;
	no->replies_last = &no->replies;
	int rc = pthread_create(&no->thread, NULL, deliver, fs);
	if (rc == 0)
		rc = pthread_create(&no->late_thread, NULL, answer_late, no);
	return rc ? err_set(e, rc, "start a thread: %m") : 0;
}

void notify_attach(struct fs *fs, const struct notify_ops *ops, void *arg)
{
	fs->notify->arg = arg;
	fs->notify->ops = ops;
}

void notify_stop(struct fs *fs)
{
	struct notify *no = fs->notify;

	if (!no)
		return;
	pthread_mutex_lock(&no->lock);
	no->stop = true;
	pthread_cond_broadcast(&no->more);
	pthread_cond_broadcast(&no->replies_more);
	pthread_mutex_unlock(&no->lock);
	pthread_join(no->thread, NULL);
	pthread_join(no->late_thread, NULL);
	free(no);
	fs->notify = NULL;
}

static void put(struct notify *no, struct item *it)
{
	*no->last = it;
	no->last = &it->next;
	pthread_cond_signal(&no->more);
}

void changes_count(const struct change *ch, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		counters[(uint64_t)ch[i].row % COUNTERS]++;
		if (ch[i].what & (CH_ENTRY | CH_GONE))
			counters[(uint64_t)ch[i].parent % COUNTERS]++;
	}
	if (n)
		all++;
}

void notify_changes(struct fs *fs, const struct change *ch, size_t n)
{
	struct notify *no = fs->notify;

	for (size_t i = 0; i < n && no; i++) {	/* none: nobody is served, as in fsck */
		struct item *it = calloc(1, sizeof *it);

		if (!it)
			return;
		it->change = ch[i];
		pthread_mutex_lock(&no->lock);
		put(no, it);
		pthread_mutex_unlock(&no->lock);
	}
}

void notify_reply(struct fs *fs, void (*fn)(void *arg), void *arg)
{
	struct notify *no = fs->notify;
	struct item *it = calloc(1, sizeof *it);

	pthread_mutex_lock(&no->lock);
	if (!it || (!no->first && !no->busy)) {
		pthread_mutex_unlock(&no->lock);
		free(it);
		fn(arg);
		return;
	}
	it->kind = IT_REPLY;
	it->fn = fn;
	it->arg = arg;
	it->late = in_ns(LATE_NS);
	*no->replies_last = it;
	no->replies_last = &it->next_reply;
	if (no->late_sleeps)
		pthread_cond_signal(&no->replies_more);
	put(no, it);
	pthread_mutex_unlock(&no->lock);
}

static void put_one(struct fs *fs, int kind, struct node n, const char *name)
{
	struct item *it = fs->notify ? calloc(1, sizeof *it) : NULL;

	if (!it)
		return;
	it->kind = kind;
	it->ino = node_ino(n);
	snprintf(it->change.name, sizeof it->change.name, "%s", name);
	pthread_mutex_lock(&fs->notify->lock);
	put(fs->notify, it);
	pthread_mutex_unlock(&fs->notify->lock);
}

void notify_inode(struct fs *fs, struct node n)
{
	put_one(fs, IT_INODE, n, "");
}

void notify_entry(struct fs *fs, struct node dir, const char *name)
{
	put_one(fs, IT_ENTRY, dir, name);
}

/* ---- directories of ordinary files: what the kernel did not ask for itself */

uint64_t files_now(void)
{
	return files_clock;
}

bool files_moved(int64_t no, uint64_t since)
{
	return files_clock != since && files_last[(uint64_t)no % COUNTERS] > since;
}

/* By name alone: what is reached through by-id is never cached. */
void files_changed(struct fs *fs, const struct files *f, int64_t no)
{
	files_last[(uint64_t)no % COUNTERS] = ++files_clock;
	notify_inode(fs, (struct node){ .kind = NK_FILES, .file = f->no, .row = no });
}

void files_renamed(struct fs *fs, const struct files *f, int64_t dir, int64_t top, const char *name)
{
	struct node n = { .kind = NK_FILES, .file = f->no, .row = dir };

	files_last[(uint64_t)dir % COUNTERS] = ++files_clock;
	if (!top || node_files_top(fs, f, top, &n))
		notify_entry(fs, n, name);
}

void change_note(struct fs *fs, struct node n)
{
	counters[(uint64_t)n.row % COUNTERS]++;
	all++;
	if (n.file != NF_COLLECTION && fs->by_no[n.kind]) {
		struct change ch = { .row = n.row, .kind = n.kind, .what = CH_VALUES };

		changes_count(&ch, 1);
		notify_changes(fs, &ch, 1);
	}
}
