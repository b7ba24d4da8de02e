/* Downloads against a server that misbehaves on request (tests/httpd.py). */
#include "../../backends/fetch/fetch.h"

#include <errno.h>
#include <stdarg.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../backends/base/auto.h"
#include "../../backends/base/spawn.h"
#include "../../backends/fetch/parts.h"
#include "check.h"

#define MIB (1 << 20)

static char work[64], served[80], logfile[80], kept[80], ca[80];
static unsigned port, tls_port;
static struct err e;
static struct fetcher *f;
static struct fetch_conf conf;
static atomic_int pokes;

static void on_poke(void *arg, int64_t who)
{
	pokes++;
}

static void fresh(void)
{
	if (f)
		fetcher_close(f);
	f = NULL;
	e = (struct err){ 0 };
	if (fetcher_open(&conf, &f, &e) < 0) {
		printf("# %s\n", e.msg);
		exit(99);
	}
}

/* Settings as tests want them: this machine is allowed, pauses are short. */
static void fresh_default(void)
{
	conf = (struct fetch_conf){ .dir = kept, .dirs = served, .hosts = "127.0.0.1 localhost", .ca = ca, .agent = "test/1", .max = 64 * MIB,
		.connect_s = 10, .stall_s = 10, .total_s = 300, .retries = 5, .retry_ms = 20, .poke = on_poke };
	fresh();
}

static const char *url(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *url(const char *fmt, ...)
{
	static char ret[2][1024];
	static int at;
	char *s = ret[at = !at];
	va_list ap;

	int n = snprintf(s, 1024, "http://127.0.0.1:%u/", port);
	va_start(ap, fmt);
	vsnprintf(s + n, 1024 - (size_t)n, fmt, ap);
	va_end(ap);
	return s;
}

static int state_of(const char *u, int64_t who, struct fetch_state *st)
{
	e = (struct err){ 0 };
	return fetch_join(f, u, who, st, &e);
}

/* To its end: 0 whole (st tells), -errno. */
static int await(const char *u, int64_t who, struct fetch_state *st)
{
	for (int i = 0; i < 12000; i++) {
		int rc = state_of(u, who, st);

		if (rc < 0 || st->whole)
			return rc;
		usleep(10000);
	}
	return -ETIME;
}

static bool same_files(const char *a, const char *b)
{
	const char *const argv[] = { "cmp", a, b, NULL };

	return spawn_run(&(struct spawn){ .argv = argv }, NULL, &(struct err){ 0 }) == 0;
}

/* Fetched, taken, and equal to what is served as NAME; everything gone afterwards. */
static bool equals(const char *u, const char *name)
{
	char got[128], want[128];
	struct fetch_state st;

	snprintf(got, sizeof got, "%s/got", work);
	snprintf(want, sizeof want, "%s/%s", served, name);
	int rc = await(u, 1, &st);
	if (rc < 0 || fetch_take(f, 1, got, &e) < 0) {
		printf("# %s: %s\n", u, rc == -ETIME ? "it does not end" : e.msg);
		fetch_leave(f, 1, false);
		return false;
	}
	fetch_leave(f, 1, false);
	return same_files(got, want);
}

static unsigned files_kept(void)
{
	AUTO(free) char *out = NULL;
	const char *const argv[] = { "ls", kept, NULL };
	unsigned n = 0;

	for (int i = 0; i < 200; i++) {		/* the engine removes what is cancelled */
		free(steal_ptr(&out));
		spawn_run(&(struct spawn){ .argv = argv }, &out, &(struct err){ 0 });
		n = 0;
		for (const char *p = out; p && *p; p++)
			n += *p == '\n';
		if (!n)
			break;
		usleep(10000);
	}
	return n;
}

/* Lines of the server's log that hold `what`. */
static unsigned logged(const char *what)
{
	AUTO(free) char *line = NULL;
	size_t size = 0;
	unsigned n = 0;
	FILE *in = fopen(logfile, "re");

	while (in && getline(&line, &size, in) >= 0)
		n += strstr(line, what) != NULL;
	if (in)
		fclose(in);
	return n;
}

static void put_file(const char *name, size_t size, unsigned seed)
{
	char path[200];
	AUTO(free) unsigned char *buf = malloc(size + 1);

	snprintf(path, sizeof path, "%s/%s", served, name);
	for (size_t i = 0; i < size; i++)
		buf[i] = (unsigned char)((seed = seed * 1103515245 + 12345) >> 16);
	FILE *out = fopen(path, "we");
	fwrite(buf, 1, size, out);
	fclose(out);
}

static void serve(bool tls, unsigned *ret)
{
	int p[2];
	char text[16] = "", cert[100], key[100];

	snprintf(cert, sizeof cert, "%s/cert.pem", work);
	snprintf(key, sizeof key, "%s/key.pem", work);
	if (pipe(p) < 0)
		exit(99);
	if (fork() == 0) {
		dup2(p[1], 1);
		execlp("setpriv", "setpriv", "--pdeathsig", "KILL", "python3", "tests/httpd.py", served, logfile, tls ? cert : NULL, key, NULL);
		_exit(99);
	}
	close(p[1]);
	if (read(p[0], text, sizeof text - 1) <= 0)
		exit(99);
	*ret = (unsigned)atoi(text);
}

static void set_up(void)
{
	char cmd[800];

	snprintf(work, sizeof work, "/tmp/test_fetch.XXXXXX");
	if (!mkdtemp(work))
		exit(99);
	snprintf(served, sizeof served, "%s/served", work);
	snprintf(logfile, sizeof logfile, "%s/log", work);
	snprintf(kept, sizeof kept, "%s/kept", work);
	snprintf(ca, sizeof ca, "%s/cert.pem", work);
	mkdir(served, 0755);
	put_file("small", 1000, 1);
	put_file("big", 5 * MIB + 123, 2);
	put_file("empty", 0, 0);
	snprintf(cmd, sizeof cmd, "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -addext subjectAltName=IP:127.0.0.1,DNS:localhost "
		 "-keyout %s/key.pem -out %s/cert.pem 2> /dev/null", work, work);
	if (system(cmd) != 0)
		exit(99);
	serve(false, &port);
	serve(true, &tls_port);
}

/* ---- what works */

static void a_file_is_fetched(void)
{
	struct fetch_state st;

	fresh_default();
	CHECK(equals(url("big"), "big"));
	CHECK(equals(url("small?x=1&y=%%20"), "small"));
	CHECK(equals(url("empty"), "empty"));
	CHECK_INT(files_kept(), 0);
	pokes = 0;
	CHECK_INT(await(url("big?p"), 5, &st), 0);
	CHECK_INT(st.have, 5 * MIB + 123);
	CHECK_INT(st.total, 5 * MIB + 123);
	for (int i = 0; i < 500 && !pokes; i++)
		usleep(10000);
	CHECK_INT(pokes, 1);
	fetch_leave(f, 5, false);
}

static void without_a_length_as_well(void)
{
	fresh_default();
	CHECK(equals(url("big?chunked"), "big"));
	CHECK(equals(url("big?chunked&drop=3000000&times=2"), "big"));
}

static void a_redirect_is_followed(void)
{
	fresh_default();
	CHECK(equals(url("small?to=/big"), "big"));
	CHECK(equals(url("small?to=http://127.0.0.1:%u/big", port), "big"));
}

static void what_is_lost_in_the_middle_goes_on(void)
{
	fresh_default();
	CHECK(equals(url("big?drop=1500000&times=3"), "big"));
	CHECK_INT(logged("/big?drop=1500000&times=3 - 200"), 1);
	CHECK_INT(logged("/big?drop=1500000&times=3 bytes=1500000- 206"), 1);
	CHECK_INT(logged("/big?drop=1500000&times=3 bytes=4500000- 206"), 1);
	CHECK(equals(url("big?date&drop=1500000&times=1"), "big"));
	CHECK_INT(logged("/big?date&drop=1500000&times=1 bytes=1500000- 206"), 1);
}

static void without_ranges_it_begins_anew(void)
{
	fresh_default();
	CHECK(equals(url("big?norange&drop=1500000&times=2"), "big"));
	CHECK_INT(logged("/big?norange&drop=1500000&times=2 bytes=1500000- 200"), 2);
}

static void without_an_identity_it_begins_anew(void)
{
	fresh_default();
	CHECK(equals(url("big?noid&drop=1500000&times=2"), "big"));
	CHECK_INT(logged("/big?noid&drop=1500000&times=2 - 200"), 3);
}

/* The file becomes another between the first connection and the second. */
static void change_while(const char *how)
{
	struct fetch_state st;
	char name[32];

	snprintf(name, sizeof name, "changing%s", how);
	put_file(name, 3 * MIB, 7);
	const char *u = url("%s?drop=1000000&times=1%s", name, how);
	conf.retry_ms = 1000;
	fresh();
	for (int i = 0; i < 1000 && state_of(u, 1, &st) == 0 && st.have < 1000000; i++)
		usleep(10000);
	put_file(name, 3 * MIB + 77, 8);
	CHECK(equals(u, name));
}

static void a_file_that_changed_is_not_glued_together(void)
{
	fresh_default();
	change_while("");
	change_while("&ignore");	/* says 206 all the same */
}

static void a_server_that_is_busy_is_asked_again(void)
{
	fresh_default();
	CHECK(equals(url("big?status=503&times=3"), "big"));
	CHECK_INT(logged("/big?status=503&times=3 - 503"), 3);
}

static void a_name_and_a_password_are_sent_there_alone(void)
{
	char u[200];
	struct fetch_state st;

	fresh_default();
	snprintf(u, sizeof u, "http://me:secret@127.0.0.1:%u/small?user=me:secret", port);
	CHECK(equals(u, "small"));
	snprintf(u, sizeof u, "http://me:wrong@127.0.0.1:%u/small?user=me:secret", port);
	CHECK_INT(await(u, 1, &st), -EACCES);
	CHECK(!strstr(e.msg, "wrong") && !strstr(e.msg, "secret"));
	/* to another host: not sent */
	snprintf(u, sizeof u, "http://me:secret@127.0.0.1:%u/small?to=http://localhost:%u/small?user=me:secret", port, port);
	CHECK_INT(await(u, 1, &st), -EACCES);
}

/* ---- what a later process finds */

static void a_part_is_continued_by_the_next_process(void)
{
	const char *u = url("big?rate=2000000");
	struct fetch_state st;

	fresh_default();
	for (int i = 0; i < 1000 && state_of(u, 1, &st) == 0 && st.have < MIB; i++)
		usleep(10000);
	CHECK(st.have >= MIB && !st.whole);
	int64_t t = fetch_now_ms();
	fresh();
	CHECK(fetch_now_ms() - t < 20000);
	CHECK(equals(u, "big"));
	CHECK_INT(logged("/big?rate=2000000 - 200"), 1);
	CHECK_INT(logged("/big?rate=2000000 bytes="), 1);
	CHECK_INT(files_kept(), 0);
}

static void what_was_whole_is_not_fetched_again(void)
{
	const char *u = url("big?whole");
	struct fetch_state st;

	fresh_default();
	CHECK_INT(await(u, 1, &st), 0);
	fresh();
	CHECK(equals(u, "big"));
	CHECK_INT(logged("/big?whole"), 1);
}

static bool no(void *arg, const char *u)
{
	return arg && strstr(u, arg);
}

static void what_nobody_wants_is_swept(void)
{
	struct fetch_state st;

	fresh_default();
	CHECK_INT(await(url("big?sweep1"), 1, &st), 0);
	CHECK_INT(await(url("big?sweep2"), 2, &st), 0);
	fresh();
	fetch_sweep(f, no, "sweep2");
	CHECK_INT(files_kept(), 2);
	fetch_sweep(f, no, NULL);
	CHECK_INT(files_kept(), 0);
}

static void a_part_of_another_boot_is_not_trusted(void)
{
	const char *u = url("big?rate=2000000&boot");
	struct fetch_state st;
	char cmd[200];

	fresh_default();
	for (int i = 0; i < 1000 && state_of(u, 1, &st) == 0 && st.have < MIB; i++)
		usleep(10000);
	fetcher_close(f);
	f = NULL;
	snprintf(cmd, sizeof cmd, "sed -i 's/^boot .*/boot x/' %s/*.note", kept);
	CHECK_INT(system(cmd), 0);
	fresh();
	CHECK(equals(u, "big"));
	CHECK_INT(logged("/big?rate=2000000&boot - 200"), 2);
}

/* ---- sharing and leaving */

static void two_who_want_the_same_share_it(void)
{
	const char *u = url("big?rate=5000000&share");
	struct fetch_state a, b;
	char one[100], two[100], want[100];
	struct stat x = { 0 }, y = { 0 };

	fresh_default();
	CHECK_INT(state_of(u, 1, &a), 0);
	CHECK_INT(state_of(u, 2, &b), 0);
	fetch_leave(f, 1, false);	/* the first goes, the second goes on */
	CHECK_INT(state_of(u, 3, &a), 0);
	CHECK_INT(await(u, 2, &b), 0);
	CHECK_INT(await(u, 3, &b), 0);
	snprintf(one, sizeof one, "%s/one", work);
	snprintf(two, sizeof two, "%s/two", work);
	snprintf(want, sizeof want, "%s/big", served);
	CHECK_INT(fetch_take(f, 2, one, &e), 0);
	fetch_leave(f, 2, false);
	CHECK_INT(fetch_take(f, 3, two, &e), 0);
	fetch_leave(f, 3, false);
	CHECK(same_files(one, want) && same_files(two, want));
	stat(one, &x);
	stat(two, &y);
	CHECK_INT(x.st_ino, y.st_ino);
	CHECK_INT(logged("&share"), 1);
	CHECK_INT(files_kept(), 0);
}

static void who_leaves_ends_it_at_once(void)
{
	const char *u = url("big?hang");
	struct fetch_state st;

	fresh_default();
	CHECK_INT(state_of(u, 1, &st), 0);
	for (int i = 0; i < 1000 && !logged("/big?hang"); i++)
		usleep(10000);
	int64_t t = fetch_now_ms();
	fetch_leave(f, 1, false);
	CHECK_INT(files_kept(), 0);
	CHECK_INT(state_of(u, 1, &st), 0);	/* and may come back */
	CHECK_INT(fetch_have(f, 1), 0);
	fetcher_close(f);
	f = NULL;
	CHECK(fetch_now_ms() - t < 30000);
	fresh();
	CHECK_INT(fetch_have(f, 1), -1);
}

static void many_run_at_once(void)
{
	struct fetch_state st;
	int64_t t = fetch_now_ms();

	fresh_default();
	for (int i = 0; i < 50; i++)
		CHECK_INT(state_of(url("small?many=%d", i), 100 + i, &st), 0);
	for (int i = 0; i < 50; i++) {
		CHECK_INT(await(url("small?many=%d", i), 100 + i, &st), 0);
		fetch_leave(f, 100 + i, false);
	}
	printf("# 50 small files in %ld ms\n", (long)(fetch_now_ms() - t));
}

/* ---- what is refused */

static void bad(const char *u, int code, const char *says)
{
	struct fetch_state st;
	int rc = await(u, 1, &st);

	CHECK_INT(rc, -code);
	if (rc == 0 || rc == -ETIME)
		fetch_leave(f, 1, false);
	if (!strstr(e.msg, says))
		CHECK_FAIL("%s: \"%s\" does not say \"%s\"", u, e.msg, says);
}

static void answers_of_servers_are_errors_that_fit(void)
{
	char u[100];

	fresh_default();
	bad(url("nothing"), ENOENT, "no such file (404)");
	bad(url("small?status=403"), EACCES, "(403)");
	bad(url("small?status=418"), EIO, "418");
	bad(url("small?status=304"), EIO, "304");
	bad(url("small?status=500"), EIO, "cannot give it at present (500)");
	CHECK_INT(logged("/small?status=500"), 6);
	bad(url("small?loop"), ELOOP, "more than 10");
	bad(url("big?length=9000000"), EIO, "big");	/* ends early, again and again */
	bad(url("small?to=file:///etc/passwd"), EACCES, "redirect is not followed");
	bad(url("small?to=ftp://127.0.0.1/x"), EINVAL, "redirect is not followed");
	snprintf(u, sizeof u, "http://127.0.0.1:%u/x", 1);
	bad(u, ECONNREFUSED, "127.0.0.1");
	bad("http://no.such.host.invalid/x", EHOSTUNREACH, "no.such.host.invalid");
	conf.hosts = "localhost";
	fresh();
	bad("http://no.such.host.invalid/x", EACCES, "import-hosts");
	conf.hosts = ".invalid";
	fresh();
	bad("http://no.such.host.invalid/x", EHOSTUNREACH, "no.such.host.invalid");
	fetch_sweep(f, no, NULL);	/* what may be continued is kept */
	CHECK_INT(files_kept(), 0);
}

static void what_is_too_large_is_refused(void)
{
	fresh_default();
	conf.max = 2 * MIB;
	fresh();
	bad(url("big"), EFBIG, "image-size-max");
	bad(url("big?chunked"), EFBIG, "image-size-max");
	char u[200];
	snprintf(u, sizeof u, "file://%s/big", served);
	bad(u, EFBIG, "image-size-max");
	CHECK_INT(files_kept(), 0);
}

static void a_full_disk_is_said_and_left_alone(void)
{
	AUTO(free) char *small = NULL;

	if (asprintf(&small, "%s/disk", work) < 0 || mkdir(small, 0700) < 0 || mount("tmpfs", small, "tmpfs", 0, "size=4m") < 0) {
		printf("# no tmpfs: %m\n");
		return;
	}
	fresh_default();
	conf.dir = small;
	fresh();
	bad(url("big"), ENOSPC, "no room");
	bad(url("big?chunked"), ENOSPC, "");
	snprintf(kept, sizeof kept, "%s", small);
	CHECK_INT(files_kept(), 0);
	snprintf(kept, sizeof kept, "%s/kept", work);
	fetcher_close(f);
	f = NULL;
	umount(small);
}

static void what_stalls_is_given_up(void)
{
	fresh_default();
	conf.stall_s = 1;
	conf.retries = 1;
	fresh();
	bad(url("big?hang&x"), ETIMEDOUT, "big");
	bad(url("big?rate=200"), ETIMEDOUT, "big");
	conf.total_s = 2;
	conf.stall_s = 60;
	fresh();
	bad(url("big?rate=100000"), ETIMEDOUT, "import-timeout");
	fetch_sweep(f, no, NULL);
}

static void certificates_are_checked(void)
{
	char u[100], name[100];

	fresh_default();
	snprintf(u, sizeof u, "https://127.0.0.1:%u/big", tls_port);
	snprintf(name, sizeof name, "https://localhost:%u/big?drop=2000000&times=1", tls_port);
	CHECK(equals(u, "big"));
	CHECK(equals(name, "big"));
	conf.ca = "";
	fresh();
	bad(u, EPROTO, "certificate");
	conf.ca = "/nonexistent";
	fresh();
	bad(u, EPROTO, "https://127.0.0.1");
	fresh_default();
	snprintf(u, sizeof u, "https://127.0.0.1:%u/small?to=http://127.0.0.1:%u/small", tls_port, port);
	bad(u, EPROTO, "redirect is not followed");
	snprintf(u, sizeof u, "http://127.0.0.1:%u/small?to=https://127.0.0.1:%u/small", port, tls_port);
	CHECK(equals(u, "small"));
	conf.hosts = "127.0.0.2 127.0.0.1";	/* 127.0.0.2 answers nowhere: refused, not retried for ever */
	fresh();
	bad("http://127.0.0.2:1/x", ECONNREFUSED, "127.0.0.2");
}

static int check(const char *u)
{
	e = (struct err){ 0 };
	return fetch_check(f, u, &e);
}

static void places_are_looked_at(void)
{
	fresh_default();
	conf.hosts = "";
	fresh();
	static const char *const own[] = {
		"http://127.0.0.1/x", "http://127.1/x", "http://2130706433/x", "http://0x7f.1/x", "http://0/x", "http://169.254.169.254/latest",
		"http://[::1]/x", "http://[::ffff:127.0.0.1]/x", "http://[fe80::1]/", "http://[64:ff9b::7f00:1]/", "http://0.0.0.0/x", "http://224.0.0.1/",
	};
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		if (check(own[i]) != -EACCES)
			CHECK_FAIL("%s: %d %s", own[i], -e.code, e.msg);
	static const char *const good[] = { "http://10.1.2.3/x", "https://example.org/a?b=c&d", "HTTP://example.org", "http://[2001:db8::1]:8080/x", "http://1.1.1.1/" };
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (check(good[i]) != 0)
			CHECK_FAIL("%s: %s", good[i], e.msg);
	static const char *const none[] = { "", "x", "/etc/passwd", "ftp://x/y", "gopher://x/", "scp://x/", "http://", "http://a b/", "file://etc/passwd",
		"http://x:99999/", "http://x\ny/", "dict://127.0.0.1/" };
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		if (check(none[i]) != -EINVAL && check(none[i]) != -EACCES)
			CHECK_FAIL("%s is taken", none[i]);
	/* a name that leads here is found out when it is connected to */
	bad(url("small") + 0, EACCES, "import-hosts");
	char u[100];
	snprintf(u, sizeof u, "http://localhost:%u/small", port);
	CHECK_INT(check(u), 0);
	bad(u, EACCES, "address of this machine");
	conf.hosts = "mirror.example.org .cdn.example.org 10.0.0.0/8 fd00::/8";
	fresh();
	CHECK_INT(check("http://MIRROR.example.org/x"), 0);
	CHECK_INT(check("http://a.cdn.example.org/x"), 0);
	CHECK_INT(check("http://10.9.8.7/x"), 0);
	CHECK_INT(check("http://[fd00::7]/x"), 0);
	CHECK_INT(check("http://11.9.8.7/x"), -EACCES);
	CHECK_INT(check("http://127.0.0.1/x"), -EACCES);
	CHECK_INT(check("http://cdn.example.org.evil.org/x"), 0);	/* a name: its address is looked at, */
	conf.hosts = "mirror.example.org .cdn.example.org";
	fresh();
	CHECK_INT(check("http://cdn.example.org.evil.org/x"), -EACCES);	/* ... and without addresses there is no way */
	CHECK_INT(check("http://xmirror.example.org/x"), -EACCES);
	conf.hosts = "10.0.0.0/33";
	CHECK_INT(fetcher_open(&conf, &(struct fetcher *){ 0 }, &e), -EINVAL);
	conf.hosts = "";
	conf.dirs = "relative";
	CHECK_INT(fetcher_open(&conf, &(struct fetcher *){ 0 }, &e), -EINVAL);
}

static void words_for_sentences_hold_no_secrets(void)
{
	AUTO(free) char *shown = NULL;
	char name[60];

	fetch_name("https://me:secret@example.org/a.img?token=abc#x", name, sizeof name);
	CHECK_STR(name, "https://example.org/a.img");
	fetch_name("https://example.org/0123456789012345678901234567890123456789012345678901234567890123456789", name, sizeof name);
	CHECK_INT(strlen(name), 59);
	CHECK(strstr(name, "...") != NULL);
	CHECK_INT(fetch_shown("https://me:secret@example.org/a.img?token=abc", &shown, &e), 1);
	CHECK_STR(shown, "https://me:***@example.org/a.img?token=abc");
	free(steal_ptr(&shown));
	CHECK_INT(fetch_shown("https://me@example.org/A%20b", &shown, &e), 0);
	CHECK_STR(shown, "https://me@example.org/A%20b");
}

/* ---- files of this machine */

static void files_come_from_allowed_directories_alone(void)
{
	char u[300], path[200], sparse[200];
	struct stat st;

	fresh_default();
	snprintf(u, sizeof u, "file://%s/big", served);
	CHECK(equals(u, "big"));
	snprintf(u, sizeof u, "file://%s/../log", served);
	bad(u, EACCES, "import-dirs");
	snprintf(u, sizeof u, "file://%s/%%2e%%2e/log", served);
	bad(u, EACCES, "");
	snprintf(u, sizeof u, "file://%s/x/..%%2f..%%2flog", served);
	bad(u, ENOENT, "");
	snprintf(path, sizeof path, "%s/way-out", served);
	CHECK_INT(symlink("../log", path), 0);
	snprintf(u, sizeof u, "file://%s/way-out", served);
	bad(u, EACCES, "leads out of");
	unlink(path);
	CHECK_INT(symlink("/etc/passwd", path), 0);
	bad(u, EACCES, "leads out of");
	unlink(path);
	CHECK_INT(symlink("big", path), 0);
	CHECK(equals(u, "big"));
	bad("file:///etc/passwd", EACCES, "import-dirs");
	snprintf(u, sizeof u, "file://%s-not/x", served);
	bad(u, EACCES, "import-dirs");
	snprintf(u, sizeof u, "file://%s/none", served);
	bad(u, ENOENT, "none");
	snprintf(u, sizeof u, "file://%s/", served);
	bad(u, EACCES, "");
	snprintf(path, sizeof path, "%s/fifo", served);
	mkfifo(path, 0600);
	snprintf(u, sizeof u, "file://%s/fifo", served);
	bad(u, EINVAL, "not a regular file");
	snprintf(sparse, sizeof sparse, "%s/sparse", served);
	int fd = open(sparse, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	CHECK(ftruncate(fd, 40 * MIB) == 0 && pwrite(fd, "x", 1, 20 * MIB) == 1);
	close(fd);
	snprintf(u, sizeof u, "file://%s/sparse", served);
	CHECK(equals(u, "sparse"));
	snprintf(path, sizeof path, "%s/got", work);
	CHECK(stat(path, &st) == 0 && st.st_blocks < 4096);
	conf.dirs = "";
	fresh();
	bad(u, EACCES, "allows no directory");
	CHECK_INT(files_kept(), 0);
}

/* ---- what is parsed */

static void content_ranges_are_read_exactly(void)
{
	int64_t a, b, t;

	CHECK_INT(content_range_parse("bytes 100-199/200", &a, &b, &t, &e), 0);
	CHECK(a == 100 && b == 199 && t == 200);
	CHECK_INT(content_range_parse("Bytes 0-0/*", &a, &b, &t, &e), 0);
	CHECK_INT(t, -1);
	static const char *const none[] = { "", "bytes", "bytes ", "bytes */200", "bytes 5-4/10", "bytes 0-10/10", "bytes -5-6/10", "bytes 0-1/2x",
		"bytes 99999999999999999999-1/2", "items 0-1/2", "bytes +0-1/2", "bytes 0-1", "bytes 0 - 1/2" };
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		if (content_range_parse(none[i], &a, &b, &t, &e) != -EPROTO)
			CHECK_FAIL("'%s' is taken", none[i]);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	set_up();
	RUN(a_file_is_fetched);
	RUN(without_a_length_as_well);
	RUN(a_redirect_is_followed);
	RUN(what_is_lost_in_the_middle_goes_on);
	RUN(without_ranges_it_begins_anew);
	RUN(without_an_identity_it_begins_anew);
	RUN(a_file_that_changed_is_not_glued_together);
	RUN(a_server_that_is_busy_is_asked_again);
	RUN(a_name_and_a_password_are_sent_there_alone);
	RUN(a_part_is_continued_by_the_next_process);
	RUN(what_was_whole_is_not_fetched_again);
	RUN(what_nobody_wants_is_swept);
	RUN(a_part_of_another_boot_is_not_trusted);
	RUN(two_who_want_the_same_share_it);
	RUN(who_leaves_ends_it_at_once);
	RUN(many_run_at_once);
	RUN(answers_of_servers_are_errors_that_fit);
	RUN(what_is_too_large_is_refused);
	RUN(a_full_disk_is_said_and_left_alone);
	RUN(what_stalls_is_given_up);
	RUN(certificates_are_checked);
	RUN(places_are_looked_at);
	RUN(words_for_sentences_hold_no_secrets);
	RUN(files_come_from_allowed_directories_alone);
	RUN(content_ranges_are_read_exactly);
	if (f)
		fetcher_close(f);
	const char *const argv[] = { "rm", "-rf", work, NULL };
	spawn_run(&(struct spawn){ .argv = argv }, NULL, &e);
	return DONE();
}
