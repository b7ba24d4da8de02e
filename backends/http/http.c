#include "http.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../base/log.h"

#define AT_ONCE 64	/* connections taken of one place before the next one's turn */
#define MEMORY (16 * 1024)	/* of one connection: its headers, and what it is answered */
#define SWEEP_MS 1000

struct listener {
	struct listener *next;
	int64_t place;
	uint64_t mark;
	int fd;
};

struct conn {	/* a slot; only the loop's thread looks at it */
	int fd;		/* -1: free */
	int64_t place, since_ms;
	uint64_t mark;
	struct in_addr from;
};

struct http {
	http_answer_fn *answer;
	void *arg;
	struct MHD_Daemon *mhd;
	int epoll, wake, mhd_fd;
	bool running;
	pthread_t thread;
	atomic_bool stop;
	pthread_mutex_t lock;	/* of the listeners */
	struct listener *listeners;
	atomic_uint n_conns;
	unsigned max_conns;
	struct conn conns[HTTP_CONNECTIONS];
};

/* What of epoll's data is no place. */
#define IS_MHD UINT64_MAX
#define IS_WAKE (UINT64_MAX - 1)

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- a request */

struct request {
	char body[HTTP_BODY_MAX];
	size_t len;
};

static enum MHD_Result send_reply(struct MHD_Connection *mc, struct http_reply *rp)
{
	struct MHD_Response *r = MHD_create_response_from_buffer(rp->body ? rp->len : 0, rp->body ? rp->body : "",
								 rp->body ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);

	if (!r) {
		free(rp->body);
		return MHD_NO;
	}
	if (rp->type)
		MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, rp->type);
	enum MHD_Result rc = MHD_queue_response(mc, (unsigned)rp->status, r);

	MHD_destroy_response(r);
	return rc;
}

static void keep_body(struct request *rq, const char *data, size_t size)
{
	if (rq->len < sizeof rq->body)
		memcpy(rq->body + rq->len, data, size < sizeof rq->body - rq->len ? size : sizeof rq->body - rq->len);
	rq->len += size;
}

/* MHD calls it for the headers, for each piece of a body, and at the end. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *mc, const char *path, const char *method, const char *version,
				  const char *data, size_t *size, void **state)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct conn *cn = info ? info->socket_context : NULL;
	struct request *rq = *state;
	struct http *h = arg;

	if (!rq)
		return (*state = calloc(1, sizeof *rq)) ? MHD_YES : MHD_NO;
	if (*size) {
		keep_body(rq, data, *size);
		*size = 0;
		return MHD_YES;
	}
	struct http_request q = { .path = path, .method = method, .body = rq->body, .body_len = rq->len };
	struct http_reply rp = { .status = 500 };

	if (cn) {
		q.place = cn->place;
		q.from = cn->from;
		h->answer(h->arg, &q, &rp);
	}
	return send_reply(mc, &rp);
}

static void on_completed(void *arg, struct MHD_Connection *mc, void **state, enum MHD_RequestTerminationCode why)
{
	free(*state);
	*state = NULL;
}

/* ---- connections */

static void on_connection(void *arg, struct MHD_Connection *mc, void **socket_context, enum MHD_ConnectionNotificationCode what)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mc, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http *h = arg;

	if (what == MHD_CONNECTION_NOTIFY_STARTED) {
		for (size_t i = 0; info && i < h->max_conns; i++)
			if (h->conns[i].fd == info->connect_fd)
				*socket_context = &h->conns[i];
	} else if (*socket_context) {	/* its descriptor is closed after this */
		((struct conn *)*socket_context)->fd = -1;
		h->n_conns--;
	}
}

static unsigned of_address(const struct http *h, int64_t place, struct in_addr from)
{
	unsigned n = 0;

	for (size_t i = 0; i < h->max_conns; i++)
		n += h->conns[i].fd >= 0 && h->conns[i].place == place && h->conns[i].from.s_addr == from.s_addr;
	return n;
}

static struct conn *free_slot(struct http *h)
{
	for (size_t i = 0; i < h->max_conns; i++)
		if (h->conns[i].fd < 0)
			return &h->conns[i];
	return NULL;
}

struct tally {	/* how many connections a place has (from 0), and an address of it */
	int64_t place;
	uint32_t from;
	unsigned n;
};
#define TALLY (4 * HTTP_CONNECTIONS)

static unsigned *tally(struct tally *t, int64_t place, uint32_t from)
{
	uint64_t i = ((uint64_t)place << 32 ^ from) * UINT64_C(0x9e3779b97f4a7c15) >> 40;

	while (t[i % TALLY].n && (t[i % TALLY].place != place || t[i % TALLY].from != from))
		i++;
	t[i % TALLY].place = place;
	t[i % TALLY].from = from;
	return &t[i % TALLY].n;
}

/* When all are taken: the place that has the most gives, there the address that has the most, of its connections the oldest; to who has
 * fewer. */
static struct conn *make_room(struct http *h, int64_t place, struct in_addr from)
{
	struct tally t[TALLY] = { 0 };
	struct conn *worst = NULL;
	unsigned places = 0, addresses = 0;

	for (size_t i = 0; i < h->max_conns; i++)
		if (h->conns[i].fd >= 0) {
			++*tally(t, h->conns[i].place, 0);
			++*tally(t, h->conns[i].place, h->conns[i].from.s_addr);
		}
	for (size_t i = 0; i < h->max_conns; i++) {
		struct conn *cn = &h->conns[i];

		if (cn->fd < 0)
			continue;
		unsigned p = *tally(t, cn->place, 0), a = *tally(t, cn->place, cn->from.s_addr);
		if (!worst || p > places || (p == places && (a > addresses || (a == addresses && cn->since_ms < worst->since_ms)))) {
			worst = cn;
			places = p;
			addresses = a;
		}
	}
	if (!worst || (worst->place == place ? addresses <= of_address(h, place, from) : places <= *tally(t, place, 0)))
		return NULL;
	shutdown(worst->fd, SHUT_RDWR);
	MHD_run(h->mhd);
	return free_slot(h);
}

static void take(struct http *h, const struct listener *l, int fd, const struct sockaddr_in *from)
{
	struct conn *cn = of_address(h, l->place, from->sin_addr) < HTTP_PER_ADDRESS ? free_slot(h) : NULL;

	if (!cn && of_address(h, l->place, from->sin_addr) < HTTP_PER_ADDRESS)
		cn = make_room(h, l->place, from->sin_addr);
	if (!cn) {
		close(fd);
		return;
	}
	*cn = (struct conn){ .fd = fd, .place = l->place, .mark = l->mark, .from = from->sin_addr, .since_ms = now_ms() };
	h->n_conns++;
	if (MHD_add_connection(h->mhd, fd, (const struct sockaddr *)from, sizeof *from) != MHD_YES && cn->fd == fd) {
		cn->fd = -1;	/* it is closed */
		h->n_conns--;
	}
}

static void take_all(struct http *h, int64_t place)
{
	pthread_mutex_lock(&h->lock);
	struct listener *l = h->listeners;

	while (l && l->place != place)
		l = l->next;
	for (int i = 0; l && i < AT_ONCE; i++) {
		struct sockaddr_in from = { 0 };
		socklen_t len = sizeof from;
		int fd = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			break;
		take(h, l, fd, &from);
	}
	pthread_mutex_unlock(&h->lock);
}

static bool listens(const struct http *h, const struct conn *cn)
{
	for (const struct listener *l = h->listeners; l; l = l->next)
		if (l->place == cn->place && l->mark == cn->mark)
			return true;
	return false;
}

/* Ends those that are too old, and those of places that are no more. */
static void sweep(struct http *h)
{
	int64_t now = now_ms();

	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < h->max_conns; i++) {
		struct conn *cn = &h->conns[i];

		if (cn->fd >= 0 && (now - cn->since_ms > HTTP_LIFE_S * 1000 || !listens(h, cn)))
			shutdown(cn->fd, SHUT_RDWR);
	}
	pthread_mutex_unlock(&h->lock);
}

static int wait_ms(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG ms;

	return MHD_get_timeout(h->mhd, &ms) == MHD_YES && ms < SWEEP_MS ? (int)ms : SWEEP_MS;
}

static void *serve(void *arg)
{
	struct http *h = arg;
	struct epoll_event ev[32];
	int64_t swept = now_ms();

	while (!h->stop) {
		int n = epoll_wait(h->epoll, ev, ARRAY_LEN(ev), wait_ms(h));
		bool woken = false;

		for (int i = 0; i < n; i++) {
			uint64_t count;

			if (ev[i].data.u64 == IS_WAKE)
				woken = read(h->wake, &count, sizeof count) > 0;
			else if (ev[i].data.u64 != IS_MHD)
				take_all(h, (int64_t)ev[i].data.u64);
		}
		if (woken || now_ms() - swept >= SWEEP_MS) {
			sweep(h);
			swept = now_ms();
		}
		MHD_run(h->mhd);
	}
	return NULL;
}

/* ---- the server */

static void say(void *arg, const char *fmt, va_list ap)
{
	char text[300];

	vsnprintf(text, sizeof text, fmt, ap);
	text[strcspn(text, "\n")] = '\0';
	log_debug("http: %s", text);	/* what guests do wrong is no fault of ours */
}

static unsigned most_connections(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur / 4 >= HTTP_CONNECTIONS)
		return HTTP_CONNECTIONS;
	return files.rlim_cur < 64 ? 16 : (unsigned)files.rlim_cur / 4;
}

static int watch(struct http *h, int fd, uint64_t what, struct err *e)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = what };

	return epoll_ctl(h->epoll, EPOLL_CTL_ADD, fd, &ev) < 0 ? err_set(e, errno, "watch a socket: %m") : 0;
}

static int start(struct http *h, struct err *e)
{
	const union MHD_DaemonInfo *info;
	sigset_t all, before;

	h->epoll = epoll_create1(EPOLL_CLOEXEC);
	h->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (h->epoll < 0 || h->wake < 0)
		return err_set(e, errno, "start the HTTP server: %m");
	h->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG, 0, NULL, NULL, on_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, say, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_CONNECTION_LIMIT, h->max_conns,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_IDLE_S, MHD_OPTION_END);
	info = h->mhd ? MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
	if (!info)
		return err_set(e, EIO, "start the HTTP server: libmicrohttpd cannot");
	if (watch(h, info->epoll_fd, IS_MHD, e) < 0 || watch(h, h->wake, IS_WAKE, e) < 0)
		return -e->code;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);	/* signals are for the process's own threads */
	int rc = pthread_create(&h->thread, NULL, serve, h);

	pthread_sigmask(SIG_SETMASK, &before, NULL);
	h->running = rc == 0;
	return rc ? err_set(e, rc, "start a thread: %m") : 0;
}

int http_open(http_answer_fn *answer, void *arg, struct http **ret, struct err *e)
{
	AUTO(http_close) struct http *h = calloc(1, sizeof *h);

	if (!h)
		return err_set(e, ENOMEM, "%m");
	h->answer = answer;
	h->arg = arg;
	h->epoll = h->wake = -1;
	h->max_conns = most_connections();
	pthread_mutex_init(&h->lock, NULL);
	for (size_t i = 0; i < ARRAY_LEN(h->conns); i++)
		h->conns[i].fd = -1;
	if (start(h, e) < 0)
		return -e->code;
	*ret = steal_ptr(&h);
	return 0;
}

static void wake(struct http *h)
{
	if (write(h->wake, &(uint64_t){ 1 }, sizeof(uint64_t)) < 0)
		log_debug("http: wake: %m");
}

void http_close(struct http *h)
{
	if (!h)
		return;
	h->stop = true;
	if (h->running) {
		wake(h);
		pthread_join(h->thread, NULL);
	}
	while (h->listeners)
		http_unlisten(h, h->listeners->place);
	if (h->mhd)
		MHD_stop_daemon(h->mhd);
	if (h->epoll >= 0)
		close(h->epoll);
	if (h->wake >= 0)
		close(h->wake);
	pthread_mutex_destroy(&h->lock);
	free(h);
}

static struct listener **find(struct http *h, int64_t place)
{
	struct listener **p = &h->listeners;

	while (*p && (*p)->place != place)
		p = &(*p)->next;
	return p;
}

static void drop(struct http *h, struct listener **p)
{
	struct listener *l = *p;

	*p = l->next;
	epoll_ctl(h->epoll, EPOLL_CTL_DEL, l->fd, NULL);
	close(l->fd);
	free(l);
}

int http_listen(struct http *h, int64_t place, uint64_t mark, int fd, struct err *e)
{
	AUTO(close) int mine = fd;
	AUTO(free) struct listener *l = calloc(1, sizeof *l);

	if (!l)
		return err_set(e, ENOMEM, "%m");
	*l = (struct listener){ .place = place, .mark = mark, .fd = fd };
	pthread_mutex_lock(&h->lock);
	struct listener **p = find(h, place);
	int rc = watch(h, fd, (uint64_t)place, e);

	if (rc == 0) {
		if (*p)
			drop(h, p);
		l->next = h->listeners;
		h->listeners = steal_ptr(&l);
		steal_fd(&mine);
	}
	pthread_mutex_unlock(&h->lock);
	wake(h);
	return rc;
}

uint64_t http_listening(struct http *h, int64_t place)
{
	pthread_mutex_lock(&h->lock);
	struct listener *l = *find(h, place);
	uint64_t mark = l ? l->mark : 0;

	pthread_mutex_unlock(&h->lock);
	return mark;
}

void http_unlisten(struct http *h, int64_t place)
{
	pthread_mutex_lock(&h->lock);
	struct listener **p = find(h, place);

	if (*p)
		drop(h, p);
	pthread_mutex_unlock(&h->lock);
	wake(h);
}

unsigned http_connections(struct http *h)
{
	return h->n_conns;
}
