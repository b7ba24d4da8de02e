/* Consoles against a unix socket of our own that plays the guest. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../backends/compute/console.h"
#include "check.h"

#define CHECK_OK(call) do { struct err *e__ = &e_; if ((call) < 0) CHECK_FAIL("%s: %s", #call, e__->msg); } while (0)

static char dir[] = "/tmp/test_console.XXXXXX", path[64];
static struct consoles *cs;
static struct err e_;
static int listener;
static _Atomic int news;

static void tell(void *arg, const void *key)
{
	news++;
}

static int guest(void)
{
	return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

/* Reads until `want` bytes came, or the end. */
static size_t read_all(struct console_user *u, char *buf, size_t want)
{
	size_t n = 0;

	for (int i = 0; i < 30000 && n < want; ) {
		int64_t got = console_read(u, buf + n, want - n, &e_);

		if (got == 0)
			break;
		if (got == -EAGAIN)
			i += usleep(1000) == 0;
		else
			n += (size_t)got;
	}
	return n;
}

/* Until all that the guest said has come and its end was seen: only a reader is told.  A writer is refused as soon as nobody takes what he
 * writes, when there may be much still to read. */
static bool wait_end(struct console_user *u)
{
	char buf[4096];
	int64_t got = -EAGAIN;

	for (int i = 0; i < 30000 && got; ) {
		got = console_read(u, buf, sizeof buf, &e_);
		if (got == -EAGAIN)
			i += usleep(1000) == 0;
	}
	return got == 0;
}

static void nobody_listens(void)
{
	struct console_user *u;

	CHECK_INT(console_open(cs, "/tmp/test_console.none", &u, &e_), -EBUSY);
	CHECK_STR(e_.msg, "the guest does not run");
	CHECK_INT(console_open(cs, "/tmp/of/a/very/long/name/that/no/unix/socket/can/ever/have/because/its/room/is/for/hundred/and/eight/bytes/only", &u, &e_),
		  -ENAMETOOLONG);
}

static void bytes_go_both_ways_to_every_reader(void)
{
	struct console_user *a, *b;
	char buf[64] = "";

	CHECK_OK(console_open(cs, path, &a, &e_));
	int g = guest();
	CHECK_OK(console_open(cs, path, &b, &e_));
	CHECK(console_key(a) == console_key(b));
	CHECK_INT(console_read(a, buf, sizeof buf, &e_), -EAGAIN);
	CHECK_INT(write(g, "login: ", 7), 7);
	CHECK_INT(read_all(a, buf, 7), 7);
	CHECK_STR(buf, "login: ");
	memset(buf, 0, sizeof buf);
	CHECK_INT(read_all(b, buf, 3), 3);
	CHECK_INT(read_all(b, buf + 3, 4), 4);
	CHECK_STR(buf, "login: ");
	CHECK(news > 0);
	CHECK_INT(console_write(a, "root\n", 5, &e_), 5);
	memset(buf, 0, sizeof buf);
	CHECK_INT(read(g, buf, sizeof buf), 5);
	CHECK_STR(buf, "root\n");
	close(g);
	CHECK_INT(read_all(a, buf, 1), 0);
	CHECK_INT(console_read(b, buf, sizeof buf, &e_), 0);
	CHECK_INT(console_write(b, "x", 1, &e_), -EPIPE);
	/* a guest that was started again is another console, though an old reader is still there */
	console_close(a);
	CHECK_OK(console_open(cs, path, &a, &e_));
	CHECK(console_key(a) != console_key(b));
	g = guest();
	CHECK_INT(write(g, "new", 3), 3);
	CHECK_INT(read_all(a, buf, 3), 3);
	console_close(a);
	CHECK_INT(read(g, buf, 1), 0);	/* the last one hung up */
	close(g);
	console_close(b);
}

static void a_slow_reader_loses_the_oldest_and_is_told(void)
{
	enum { ALL = CONSOLE_RING * 3 };
	struct console_user *slow, *quick;
	char *out = malloc(ALL), *in = calloc(1, ALL), *nl;

	for (int i = 0; i < ALL; i++)
		out[i] = (char)('a' + i % 23);
	CHECK_OK(console_open(cs, path, &slow, &e_));
	int g = guest();
	CHECK_OK(console_open(cs, path, &quick, &e_));
	for (size_t done = 0; done < ALL; ) {
		ssize_t n = write(g, out + done, ALL - done);

		CHECK(n > 0);
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	close(g);
	CHECK(wait_end(quick));
	console_close(quick);
	size_t n = read_all(slow, in, ALL);
	CHECK(strncmp(in, "\r\n[", 3) == 0 && strstr(in, " bytes lost"));
	CHECK_INT(strtoul(in + 3, NULL, 10), ALL - CONSOLE_RING);
	nl = memchr(in + 2, '\n', 100);
	CHECK(nl && memcmp(nl + 1, out + ALL - CONSOLE_RING, CONSOLE_RING) == 0);
	CHECK_INT(n - (size_t)(nl + 1 - in), CONSOLE_RING);
	console_close(slow);
	free(out);
	free(in);
}

static void what_was_written_last_arrives(void)
{
	static char text[30000], got[sizeof text];
	struct console_user *u;
	size_t n = 0;

	memset(text, 'z', sizeof text);
	CHECK_OK(console_open(cs, path, &u, &e_));
	int g = guest();
	CHECK_INT(console_write(u, text, sizeof text, &e_), sizeof text);
	console_close(u);
	usleep(300000);
	while (n < sizeof text) {	/* it is still connected until the last byte was read */
		char probe;
		ssize_t r = recv(g, &probe, 1, MSG_PEEK | MSG_DONTWAIT);

		CHECK(r == 1);
		r = read(g, got + n, 1000);
		if (r <= 0)
			break;
		n += (size_t)r;
	}
	CHECK(memcmp(text, got, sizeof text) == 0);
	CHECK_INT(read(g, got, 1), 0);	/* and then no more */
	close(g);
}

static void a_deaf_guest_fills_a_queue_and_no_more(void)
{
	struct console_user *u;
	char block[4096];
	size_t sent = 0, got = 0;
	int64_t n;

	for (size_t i = 0; i < sizeof block; i++)
		block[i] = (char)i;
	CHECK_OK(console_open(cs, path, &u, &e_));
	int g = guest();
	while ((n = console_write(u, block + sent % sizeof block, sizeof block - sent % sizeof block, &e_)) > 0)
		sent += (size_t)n;
	CHECK_INT(n, -EAGAIN);
	CHECK(sent >= CONSOLE_QUEUE && sent < 4 << 20);
	while (got < sent) {
		char buf[5000];

		n = read(g, buf, sizeof buf);
		CHECK(n > 0);
		for (int64_t i = 0; i < n; i++)
			if (buf[i] != (char)((got + (size_t)i) % sizeof block))
				CHECK_FAIL("byte %zu", got + (size_t)i);
		got += (size_t)n;
	}
	CHECK_INT(got, sent);
	console_close(u);
	close(g);
}

int main(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (!mkdtemp(dir))
		return 1;
	snprintf(path, sizeof path, "%s/s", dir);
	snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 8) < 0)
		return 1;
	CHECK_OK(consoles_open(tell, NULL, &cs, &e_));
	RUN(nobody_listens);
	RUN(bytes_go_both_ways_to_every_reader);
	RUN(a_slow_reader_loses_the_oldest_and_is_told);
	RUN(what_was_written_last_arrives);
	RUN(a_deaf_guest_fills_a_queue_and_no_more);
	consoles_close(cs);
	close(listener);
	unlink(path);
	rmdir(dir);
	return DONE();
}
