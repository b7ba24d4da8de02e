#include "console.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <linux/sockios.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "../base/auto.h"

#define TURN 65536	/* bytes read of one console before the others have their turn */
#define LINGER_MS 10000	/* qemu forgets what it has not read when the connection ends: it stays until then, but no longer */
#define LOOK_MS 50

struct console {
	struct console *next;
	struct sockaddr_un at;
	int fd;
	unsigned users;
	int64_t leave;		/* when it is left at the latest, though the guest has not taken all; 0: it has users */
	bool ended, deaf;	/* deaf: it takes no more, but what it said last is still to be read */
	bool asked_out;		/* epoll tells when it takes bytes again */
	uint64_t end;		/* bytes that came so far; the last CONSOLE_RING of them are in ring */
	size_t queued;
	char ring[CONSOLE_RING], queue[CONSOLE_QUEUE];
};

struct console_user {
	struct consoles *cs;
	struct console *c;
	uint64_t at;		/* bytes it has read, or lost */
};

struct consoles {
	pthread_mutex_t lock;
	pthread_t thread;
	struct console *first;
	int epoll, wake;
	bool stop;
	void (*fn)(void *arg, const void *key);
	void *arg;
};

/* ---- the thread */

static void watch(struct consoles *cs, struct console *c, bool out)
{
	struct epoll_event ev = { .events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c };

	if (c->asked_out != out)
		epoll_ctl(cs->epoll, EPOLL_CTL_MOD, c->fd, &ev);
	c->asked_out = out;
}

static void end(struct consoles *cs, struct console *c)
{
	if (c->ended)
		return;
	c->ended = true;
	epoll_ctl(cs->epoll, EPOLL_CTL_DEL, c->fd, NULL);
}

/* True: there is news for readers. */
static bool take(struct consoles *cs, struct console *c)
{
	size_t turn = 0;

	while (turn < TURN) {
		size_t at = c->end % CONSOLE_RING;
		ssize_t n = recv(c->fd, c->ring + at, CONSOLE_RING - at, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return turn > 0;
		if (n <= 0) {
			end(cs, c);
			return true;
		}
		c->end += (uint64_t)n;
		turn += (size_t)n;
	}
	return true;
}

static void give(struct consoles *cs, struct console *c)
{
	while (c->queued && !c->ended && !c->deaf) {
		ssize_t n = send(c->fd, c->queue, c->queued, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->deaf = errno != EAGAIN;
			break;
		}
		memmove(c->queue, c->queue + n, c->queued - (size_t)n);
		c->queued -= (size_t)n;
	}
	if (c->deaf)
		c->queued = 0;
	if (!c->ended)
		watch(cs, c, c->queued > 0);
}

static bool is_there(const struct consoles *cs, const struct console *c)
{
	for (const struct console *p = cs->first; p; p = p->next)
		if (p == c)
			return true;
	return false;
}

static int64_t mono_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void leave(struct consoles *cs, struct console **p)
{
	struct console *c = *p;

	*p = c->next;
	end(cs, c);
	close(c->fd);
	free(c);
}

/* Those without users go once the guest took all they wrote.  True: some stay. */
static bool leave_some(struct consoles *cs)
{
	bool stay = false;

	pthread_mutex_lock(&cs->lock);
	for (struct console **p = &cs->first; *p; ) {
		struct console *c = *p;
		int unread = 0;

		if (c->users) {
			p = &c->next;
			continue;
		}
		if (c->ended || c->leave <= mono_ms() || (!c->queued && ioctl(c->fd, SIOCOUTQ, &unread) == 0 && !unread)) {
			leave(cs, p);
			continue;
		}
		stay = true;
		p = &c->next;
	}
	pthread_mutex_unlock(&cs->lock);
	return stay;
}

static void *run(void *arg)
{
	struct consoles *cs = arg;
	struct epoll_event ev[16];
	uint64_t woken;

	while (!__atomic_load_n(&cs->stop, __ATOMIC_ACQUIRE)) {
		int n = epoll_wait(cs->epoll, ev, ARRAY_LEN(ev), leave_some(cs) ? LOOK_MS : -1);

		if (read(cs->wake, &woken, sizeof woken) < 0 && errno != EAGAIN)
			break;

		for (int i = 0; i < n; i++) {
			struct console *c = ev[i].data.ptr;
			bool news = false;

			pthread_mutex_lock(&cs->lock);
			if (c && is_there(cs, c) && !c->ended) {	/* else it was closed meanwhile */
				if (ev[i].events & EPOLLOUT)
					give(cs, c);
				if (ev[i].events & ~(unsigned)EPOLLOUT)
					news = take(cs, c);
			}
			pthread_mutex_unlock(&cs->lock);
			if (news)
				cs->fn(cs->arg, c);
		}
	}
	return NULL;
}

int consoles_open(void (*fn)(void *arg, const void *key), void *arg, struct consoles **ret, struct err *e)
{
	struct consoles *cs = calloc(1, sizeof *cs);
	struct epoll_event ev = { .events = EPOLLIN };

	if (!cs)
		return err_set(e, ENOMEM, "%m");
	cs->fn = fn;
	cs->arg = arg;
	pthread_mutex_init(&cs->lock, NULL);
	cs->epoll = epoll_create1(EPOLL_CLOEXEC);
	cs->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = cs->epoll < 0 || cs->wake < 0 || epoll_ctl(cs->epoll, EPOLL_CTL_ADD, cs->wake, &ev) < 0 ? errno :
		pthread_create(&cs->thread, NULL, run, cs);
	if (rc == 0) {
		*ret = cs;
		return 0;
	}
	close(cs->epoll);
	close(cs->wake);
	free(cs);
	return err_set(e, rc, "watch consoles: %s", strerror(rc));
}

void consoles_close(struct consoles *cs)
{
	uint64_t one = 1;

	__atomic_store_n(&cs->stop, true, __ATOMIC_RELEASE);
	if (write(cs->wake, &one, sizeof one) < 0)
		return;		/* cannot be: the counter is far from full */
	pthread_join(cs->thread, NULL);
	while (cs->first)
		leave(cs, &cs->first);
	close(cs->wake);
	close(cs->epoll);
	pthread_mutex_destroy(&cs->lock);
	free(cs);
}

/* ---- users */

static void drop(struct consoles *cs, struct console *c)
{
	uint64_t one = 1;

	if (--c->users)
		return;
	c->leave = mono_ms() + LINGER_MS;
	if (write(cs->wake, &one, sizeof one) < 0)
		c->leave = 0;	/* cannot be: the counter is far from full */
}

static int dial(struct consoles *cs, const struct sockaddr_un *at, struct console **ret, struct err *e)
{
	struct console *c = malloc(sizeof *c);	/* of the ring only what was written is ever read */
	AUTO(close) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	if (!c || fd < 0 || connect(fd, (const struct sockaddr *)at, sizeof *at) < 0 || epoll_ctl(cs->epoll, EPOLL_CTL_ADD, fd, &ev) < 0) {
		int why = errno;

		free(c);
		return why == ENOENT || why == ECONNREFUSED ? err_set(e, EBUSY, "the guest does not run") :
			err_set(e, why, "connect to the console: %s", strerror(why));
	}
	c->at = *at;
	c->users = 0;
	c->ended = c->deaf = c->asked_out = false;
	c->leave = 0;
	c->end = c->queued = 0;
	c->fd = steal_fd(&fd);
	c->next = cs->first;
	cs->first = c;
	*ret = c;
	return 0;
}

int console_open(struct consoles *cs, const char *socket_path, struct console_user **ret, struct err *e)
{
	struct console_user *u = calloc(1, sizeof *u);
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	struct console *c;
	int rc = 0;

	if (!u)
		return err_set(e, ENOMEM, "%m");
	if (snprintf(at.sun_path, sizeof at.sun_path, "%s", socket_path) >= (int)sizeof at.sun_path)
		rc = err_set(e, ENAMETOOLONG, "the path of the console's socket is too long");
	pthread_mutex_lock(&cs->lock);
	for (c = cs->first; c && (c->ended || strcmp(c->at.sun_path, at.sun_path) != 0); c = c->next)
		;
	if (rc == 0 && !c)
		rc = dial(cs, &at, &c, e);
	if (rc == 0) {
		c->users++;
		c->leave = 0;
		*u = (struct console_user){ cs, c, c->end };
	}
	pthread_mutex_unlock(&cs->lock);
	if (rc < 0)
		free(u);
	else
		*ret = u;
	return rc;
}

void console_close(struct console_user *u)
{
	pthread_mutex_lock(&u->cs->lock);
	drop(u->cs, u->c);
	pthread_mutex_unlock(&u->cs->lock);
	free(u);
}

static size_t copy(const struct console *c, uint64_t from, char *buf, size_t size)
{
	size_t n = c->end - from < size ? (size_t)(c->end - from) : size, at = from % CONSOLE_RING;
	size_t first = n < CONSOLE_RING - at ? n : CONSOLE_RING - at;

	memcpy(buf, c->ring + at, first);
	memcpy(buf + first, c->ring, n - first);
	return n;
}

int64_t console_read(struct console_user *u, char *buf, size_t size, struct err *e)
{
	const struct console *c = u->c;
	char lost[80] = "";
	size_t n = 0;

	pthread_mutex_lock(&u->cs->lock);
	uint64_t oldest = c->end > CONSOLE_RING ? c->end - CONSOLE_RING : 0;
	if (u->at < oldest) {
		n = (size_t)snprintf(lost, sizeof lost, "\r\n[%lu bytes lost: they came faster than they were read]\r\n",
				     (unsigned long)(oldest - u->at));
		n = n < size ? n : size;
		memcpy(buf, lost, n);
		u->at = oldest;
	}
	size_t got = copy(c, u->at, buf + n, size - n);
	u->at += got;
	bool ended = c->ended;
	pthread_mutex_unlock(&u->cs->lock);
	n += got;
	return n || ended || !size ? (int64_t)n : -EAGAIN;
}

int64_t console_write(struct console_user *u, const char *buf, size_t size, struct err *e)
{
	struct console *c = u->c;

	pthread_mutex_lock(&u->cs->lock);
	size_t n = size < CONSOLE_QUEUE - c->queued ? size : CONSOLE_QUEUE - c->queued;
	if (!c->ended && !c->deaf) {
		memcpy(c->queue + c->queued, buf, n);
		c->queued += n;
		give(u->cs, c);
	}
	bool ended = c->ended || c->deaf;
	pthread_mutex_unlock(&u->cs->lock);
	if (ended)
		return err_set(e, EPIPE, "the guest has ended");
	return n || !size ? (int64_t)n : err_set(e, EAGAIN, "the guest does not read its console, and %d KiB wait for it", CONSOLE_QUEUE >> 10);
}

const void *console_key(const struct console_user *u)
{
	return u->c;
}
