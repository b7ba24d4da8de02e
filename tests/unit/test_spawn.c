/* Running other programs: the bounds hold and nothing is inherited. */
#include "../../backends/base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../backends/base/auto.h"
#include "check.h"

static struct err e;

static int sh(const char *script, const struct spawn *how, char **out)
{
	const char *const argv[] = { "sh", "-c", script, NULL };
	struct spawn s = how ? *how : (struct spawn){ 0 };

	s.argv = argv;
	e = (struct err){ 0 };
	return spawn_run(&s, out, &e);
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void what_it_wrote_is_returned(void)
{
	AUTO(free) char *out = NULL;

	CHECK_INT(sh("echo hello; echo ignored >&2", NULL, &out), 0);
	CHECK_STR(out, "hello\n");
	CHECK_INT(sh("echo dropped", NULL, NULL), 0);
}

static void no_output_is_an_empty_text(void)
{
	AUTO(free) char *out = NULL;

	CHECK_INT(sh("true", NULL, &out), 0);
	CHECK(out != NULL);
	CHECK_STR(out ? out : "?", "");
}

static void words_are_not_a_shells(void)
{
	const char *const argv[] = { "printf", "%s|", "a b", "$HOME", "*", "", NULL };
	struct spawn s = { .argv = argv };
	AUTO(free) char *out = NULL;

	CHECK_INT(spawn_run(&s, &out, &e), 0);
	CHECK_STR(out, "a b|$HOME|*||");
}

static void a_missing_program_is_named(void)
{
	const char *const argv[] = { "no-such-program", NULL }, *const path[] = { "/no/such/program", NULL };
	struct spawn s = { .argv = argv };

	CHECK_INT(spawn_run(&s, NULL, &e), -ENOENT);
	CHECK_STR(e.msg, "the program no-such-program is not installed");
	s.argv = path;
	CHECK_INT(spawn_run(&s, NULL, &e), -ENOENT);
	CHECK(spawn_found("sh"));
	CHECK(!spawn_found("no-such-program"));
	CHECK(!spawn_found(""));
}

static void the_path_can_be_narrowed(void)
{
	setenv("CIRRUSFS_PATH", "/nonexistent", 1);
	CHECK(!spawn_found("sh"));
	CHECK(spawn_found("/bin/sh"));
	setenv("CIRRUSFS_PATH", "/nonexistent:/bin", 1);
	CHECK(spawn_found("sh"));
	unsetenv("CIRRUSFS_PATH");
}

static void a_failure_says_the_last_line_of_standard_error(void)
{
	CHECK_INT(sh("echo first >&2; echo 'sh: it is broken' >&2; exit 3", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh: it is broken");
	CHECK_INT(sh("exit 1", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh: failed without a word");
	CHECK_INT(sh("printf 'no newline' >&2; exit 1", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh: no newline");
	CHECK_INT(sh("kill -SEGV $$", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh was killed by signal 11");
}

static void a_program_that_does_not_end_is_killed(void)
{
	double t = seconds();

	CHECK_INT(sh("exec sleep 60", &(struct spawn){ .timeout_ms = 200 }, NULL), -ETIMEDOUT);
	CHECK(seconds() - t < 30);
	CHECK(strstr(e.msg, "sh") != NULL);
}

/* Output closed, still running. */
static void a_program_that_closed_its_output_is_bounded_too(void)
{
	double t = seconds();

	CHECK_INT(sh("exec sleep 60 >&- 2>&-", &(struct spawn){ .timeout_ms = 300 }, NULL), -ETIMEDOUT);
	CHECK(seconds() - t < 30);
}

static void a_grandchild_that_holds_the_output_does_not_hang_us(void)
{
	double t = seconds();

	sh("sleep 60 & exit 0", &(struct spawn){ .timeout_ms = 300 }, NULL);
	CHECK(seconds() - t < 30);
}

static void too_much_output_is_an_error(void)
{
	AUTO(free) char *out = NULL;

	CHECK_INT(sh("yes", &(struct spawn){ .out_max = 10000 }, &out), -EFBIG);
	CHECK(out == NULL);
	CHECK_INT(sh("head -c 10000 /dev/zero", &(struct spawn){ .out_max = 10000 }, &out), 0);
	free(out);
	out = NULL;
	CHECK_INT(sh("head -c 10001 /dev/zero", &(struct spawn){ .out_max = 10000 }, &out), -EFBIG);
	CHECK_INT(sh("head -c 2000000 /dev/zero", NULL, &out), -EFBIG);
}

static void much_on_standard_error_does_no_harm(void)
{
	AUTO(free) char *out = NULL;

	CHECK_INT(sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo done", NULL, &out), 0);
	CHECK_STR(out ? out : "?", "done\n");
}

static void nothing_is_inherited(void)
{
	AUTO(free) char *out = NULL;
	int fd = open("/dev/null", O_RDONLY), high = fcntl(fd, F_DUPFD, 200);

	/* asked by name: a pipe of the shell's own would be a descriptor for a moment */
	CHECK_INT(sh("for i in 3 4 5 6 7 8 9 200 201; do readlink /proc/$$/fd/$i; done; echo none", NULL, &out), 0);
	CHECK_STR(out ? out : "?", "none\n");
	free(out);
	CHECK_INT(sh("readlink /proc/self/fd/0", NULL, &out), 0);
	CHECK_STR(out ? out : "?", "/dev/null\n");
	close(fd);
	close(high);
}

static void signals_are_as_they_were_at_birth(void)
{
	sigset_t all, old;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	signal(SIGPIPE, SIG_IGN);
	CHECK_INT(sh("kill -PIPE $$; sleep 1", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh was killed by signal 13");
	CHECK_INT(sh("kill -TERM $$; sleep 1", NULL, NULL), -EIO);
	CHECK_STR(e.msg, "sh was killed by signal 15");
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &old, NULL);
}

static void limits_hold(void)
{
	AUTO(free) char *out = NULL;

	CHECK_INT(sh("ulimit -v; ulimit -t; ulimit -c", &(struct spawn){ .memory = 64 << 20, .cpu_s = 7 }, &out), 0);
	CHECK_STR(out ? out : "?", "65536\n7\n0\n");
}

static void standard_input_can_be_given(void)
{
	AUTO(free) char *out = NULL;
	int p[2];

	CHECK_INT(pipe(p), 0);
	CHECK_INT(write(p[1], "given", 5), 5);
	close(p[1]);
	CHECK_INT(sh("cat", &(struct spawn){ .stdin_fd = p[0] }, &out), 0);
	CHECK_STR(out ? out : "?", "given");
	close(p[0]);
}

static void no_child_is_left(void)
{
	int status;

	CHECK_INT(waitpid(-1, &status, WNOHANG), -1);
	CHECK_INT(errno, ECHILD);
}

static void an_unknown_user_is_refused(void)
{
	CHECK_INT(sh("true", &(struct spawn){ .user = "no-such-user" }, NULL), -ENOENT);
	CHECK_STR(e.msg, "there is no user 'no-such-user' to run sh as");
}

static void as_another_user_nothing_of_ours_is_kept(void)
{
	AUTO(free) char *out = NULL;

	if (geteuid() != 0)
		return;
	CHECK_INT(sh("id -u; id -G", &(struct spawn){ .user = "nobody" }, &out), 0);
	CHECK_STR(out ? out : "?", "65534\n65534\n");
}

int main(void)
{
	RUN(what_it_wrote_is_returned);
	RUN(no_output_is_an_empty_text);
	RUN(words_are_not_a_shells);
	RUN(a_missing_program_is_named);
	RUN(the_path_can_be_narrowed);
	RUN(a_failure_says_the_last_line_of_standard_error);
	RUN(a_program_that_does_not_end_is_killed);
	RUN(a_program_that_closed_its_output_is_bounded_too);
	RUN(a_grandchild_that_holds_the_output_does_not_hang_us);
	RUN(too_much_output_is_an_error);
	RUN(much_on_standard_error_does_no_harm);
	RUN(nothing_is_inherited);
	RUN(signals_are_as_they_were_at_birth);
	RUN(limits_hold);
	RUN(standard_input_can_be_given);
	RUN(no_child_is_left);
	RUN(an_unknown_user_is_refused);
	RUN(as_another_user_nothing_of_ours_is_kept);
	return DONE();
}
