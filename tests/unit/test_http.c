/* The HTTP server among callers nobody trusts: places do not see one another, and what one caller can hold is bounded. */
#include "../../backends/http/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static struct http *h;
static struct err e;
static in_port_t ports[4];	/* of place 1, 2, 3 */

static void answer(void *arg, const struct http_request *rq, struct http_reply *rp)
{
	char from[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &rq->from, from, sizeof from);
	*rp = (struct http_reply){ .status = strcmp(rq->path, "/none") == 0 ? 404 : 200, .type = "text/plain" };
	if (asprintf(&rp->body, "%ld %s %s %s %zu", (long)rq->place, from, rq->method, rq->path, rq->body_len) < 0)
		rp->body = NULL;
	rp->len = rp->body ? strlen(rp->body) : 0;
}

static int listening(int64_t place)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, SOMAXCONN) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) < 0)
		exit(99);
	ports[place] = at.sin_port;
	return fd;
}

/* A connection to that place from 127.0.0.`from`. */
static int dial(int64_t place, unsigned from)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000 | from) };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = ports[place], .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval limit = { .tv_sec = 60 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Sends and reads to the end; the body of the answer, or its first line; good until the next. */
static const char *ask(int fd, const char *fmt, ...)
{
	static char text[8192], request[4096];
	size_t got = 0;
	va_list ap;
	ssize_t n;

	va_start(ap, fmt);
	int len = vsnprintf(request, sizeof request, fmt, ap);
	va_end(ap);
	if (fd < 0 || send(fd, request, (size_t)len, MSG_NOSIGNAL) != len)
		snprintf(text, sizeof text, "not sent");
	else {
		while (got < sizeof text - 1 && (n = recv(fd, text + got, sizeof text - 1 - got, 0)) > 0)
			got += (size_t)n;
		text[got] = '\0';
	}
	if (fd >= 0)
		close(fd);
	const char *body = strstr(text, "\r\n\r\n");
	return body ? body + 4 : text;
}

#define GET "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* Closed by the server within some seconds? */
static bool ended(int fd)
{
	char c;

	return recv(fd, &c, 1, 0) <= 0;
}

static void settle(void)
{
	for (int i = 0; i < 600 && http_connections(h); i++)
		usleep(50000);
	CHECK_INT(http_connections(h), 0);
}

static void who_asks_is_known_by_place_and_address(void)
{
	CHECK_STR(ask(dial(1, 5), GET, "/a/b?c=d"), "1 127.0.0.5 GET /a/b 0");
	CHECK_STR(ask(dial(2, 5), GET, "/%41%20"), "2 127.0.0.5 GET /A  0");
	CHECK_STR(ask(dial(2, 6), GET, "/none"), "2 127.0.0.6 GET /none 0");
	CHECK_STR(ask(dial(1, 5), "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello"), "1 127.0.0.5 POST / 5");
	settle();
}

static void bodies_are_counted_and_cut(void)
{
	int fd = dial(1, 5);
	char block[4096] = "";

	memset(block, 'x', sizeof block);
	CHECK(dprintf(fd, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n", sizeof block * 16) > 0);
	for (int i = 0; i < 15; i++)
		CHECK_INT(send(fd, block, sizeof block, MSG_NOSIGNAL), sizeof block);
	memset(block, 'y', sizeof block);
	CHECK_INT(send(fd, block, sizeof block, MSG_NOSIGNAL), sizeof block);
	CHECK_STR(ask(fd, "%s", ""), "1 127.0.0.5 POST / 65536");
	settle();
}

static void garbage_is_refused(void)
{
	static const char *const lines[] = { "\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02", "GET / HTTP/9.9\r\n\r\n", "GET  /  x  HTTP/1.1\r\n: : :\r\n\r\n",
		"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "GET / HTTP/1.1\nHost: x\n\nGET" };

	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int fd = dial(1, 5);

		send(fd, lines[i], strlen(lines[i]), MSG_NOSIGNAL);
		shutdown(fd, SHUT_WR);
		while (!ended(fd))
			;
		close(fd);
	}
	CHECK_STR(ask(dial(1, 5), GET, "/still"), "1 127.0.0.5 GET /still 0");
	settle();
}

static void headers_without_end_are_cut_off(void)
{
	int fd = dial(1, 5);
	char line[1024];
	size_t sent = 0;
	ssize_t n;

	memset(line, 'h', sizeof line);
	memcpy(line, "X: ", 3);
	memcpy(line + sizeof line - 2, "\r\n", 2);
	dprintf(fd, "GET / HTTP/1.1\r\n");
	while (sent < 8 << 20 && (n = send(fd, line, sizeof line, MSG_NOSIGNAL)) > 0)
		sent += (size_t)n;
	CHECK(sent < 8 << 20);
	close(fd);
	settle();
}

static void one_address_holds_a_few_and_no_more(void)
{
	int fd[HTTP_PER_ADDRESS * 4];
	unsigned held = 0;

	for (size_t i = 0; i < ARRAY_LEN(fd); i++)
		fd[i] = dial(1, 7);
	CHECK_STR(ask(dial(1, 8), GET, "/other"), "1 127.0.0.8 GET /other 0");
	CHECK_STR(ask(dial(2, 7), GET, "/same-address"), "2 127.0.0.7 GET /same-address 0");
	for (size_t i = 0; i < ARRAY_LEN(fd); i++) {
		struct pollfd p = { fd[i], POLLIN, 0 };

		held += poll(&p, 1, 0) == 0;
		close(fd[i]);
	}
	CHECK_INT(held, HTTP_PER_ADDRESS);
	settle();
}

/* Ten thousand, as fast as they can be made, from forty addresses; somebody else is answered all the while. */
static void ten_thousand_connections_starve_nobody(void)
{
	enum { N = 1000 };
	static int fd[N];
	unsigned before = open_files(), answered = 0;

	for (int round = 0; round < 10; round++) {
		for (unsigned i = 0; i < N; i++) {
			fd[i] = dial(1, 10 + i % 40);
			if (fd[i] >= 0 && i % 3 == 0)
				send(fd[i], "GET / HT", 8, MSG_NOSIGNAL);
		}
		answered += strcmp(ask(dial(2, 5), GET, "/hello"), "2 127.0.0.5 GET /hello 0") == 0;
		answered += strcmp(ask(dial(1, 200), GET, "/hello"), "1 127.0.0.200 GET /hello 0") == 0;
		CHECK(http_connections(h) <= HTTP_CONNECTIONS);
		for (unsigned i = 0; i < N; i++)
			if (fd[i] >= 0)
				close(fd[i]);
	}
	CHECK_INT(answered, 20);
	settle();
	CHECK_INT(open_files(), before);
}

/* One that is full of a place's connections still has room for another place. */
static void a_crowded_place_makes_room(void)
{
	enum { N = HTTP_CONNECTIONS };
	static int fd[N];

	for (unsigned i = 0; i < N; i++)
		fd[i] = dial(1, 10 + i / 10);
	for (int i = 0; i < 200 && http_connections(h) < N; i++)
		usleep(20000);
	CHECK(http_connections(h) > N / 2);
	CHECK_STR(ask(dial(2, 5), GET, "/room"), "2 127.0.0.5 GET /room 0");
	for (unsigned i = 0; i < N; i++)
		if (fd[i] >= 0)
			close(fd[i]);
	settle();
}

static void the_slow_are_ended(void)
{
	int fd = dial(1, 5);
	time_t begin = time(NULL);

	CHECK_INT(send(fd, "GET / HTTP/1.1\r\nX:", 18, MSG_NOSIGNAL), 18);
	while (!ended(fd))	/* an answer (408) may come before */
		;
	CHECK(time(NULL) - begin >= HTTP_IDLE_S - 2);
	close(fd);
	settle();
}

static void a_place_that_goes_takes_its_connections_along(void)
{
	int fd = dial(3, 5);

	CHECK_INT(http_listening(h, 3), 33);
	for (int i = 0; i < 100 && !http_connections(h); i++)
		usleep(20000);
	http_unlisten(h, 3);
	CHECK(ended(fd));
	close(fd);
	CHECK_INT(http_listening(h, 3), 0);
	CHECK_INT(dial(3, 5), -1);
	http_unlisten(h, 3);
	settle();
}

static void another_socket_takes_the_place_of_the_first(void)
{
	in_port_t before = ports[2];

	CHECK_INT(http_listen(h, 2, 222, listening(2), &e), 0);
	CHECK_INT(http_listening(h, 2), 222);
	CHECK_STR(ask(dial(2, 5), GET, "/new"), "2 127.0.0.5 GET /new 0");
	ports[2] = before;
	CHECK_INT(dial(2, 5), -1);
}

int main(void)
{
	struct rlimit files = { 8192, 8192 };

	setrlimit(RLIMIT_NOFILE, &files);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 4096) {
		puts("1..0 # skip too few open files are allowed");
		return 0;
	}
	unsigned before = open_files();
	CHECK_INT(http_open(answer, NULL, &h, &e), 0);
	for (int64_t place = 1; place <= 3; place++)
		CHECK_INT(http_listen(h, place, (uint64_t)place * 11, listening(place), &e), 0);
	RUN(who_asks_is_known_by_place_and_address);
	RUN(bodies_are_counted_and_cut);
	RUN(garbage_is_refused);
	RUN(headers_without_end_are_cut_off);
	RUN(one_address_holds_a_few_and_no_more);
	RUN(ten_thousand_connections_starve_nobody);
	RUN(a_crowded_place_makes_room);
	RUN(the_slow_are_ended);
	RUN(a_place_that_goes_takes_its_connections_along);
	RUN(another_socket_takes_the_place_of_the_first);
	http_close(h);
	if (open_files() != before) {
		puts("not ok 11 - nothing_stays_open");
		check_failed++;
	}
	return DONE();
}
