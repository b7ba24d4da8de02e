/* STORE/config: what is taken, what is refused and how the refusal names its line. */
#include "../../backends/base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static char dir[] = "/tmp/test_config.XXXXXX", path[64];
static struct config c;
static struct err e;

static int read_bytes(const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	fwrite(text, 1, len, f);
	fclose(f);
	e = (struct err){ 0 };
	return config_read(path, &c, &e);
}

static int read_text(const char *text)
{
	return read_bytes(text, strlen(text));
}

static void no_file_is_the_defaults(void)
{
	CHECK_INT(config_read("/nonexistent/config", &c, &e), 0);
	CHECK_STR(c.virt_type, "auto");
	CHECK_STR(c.guest_user, "libvirt-qemu");
	CHECK_STR(c.uplink, "");
	CHECK_INT(c.workers, 8);
	CHECK_INT(c.task_timeout, 600);
	CHECK_INT(c.stop_timeout, 60);
	CHECK_INT(c.cpu_ratio_x10, 160);
	CHECK_INT(c.ram_ratio_x10, 10);
	CHECK_INT(c.reserved_ram, 512);
}

static void a_directory_is_no_file(void)
{
	CHECK(config_read(dir, &c, &e) < 0);
	CHECK(strstr(e.msg, dir) != NULL);
}

static void lines_are_taken(void)
{
	CHECK_INT(read_text("# a comment\n\n  virt-type = qemu  \nworkers=3\n\tcpu-ratio\t=\t1.5 # why\r\nuplink = eth0\nworkers = 4"), 0);
	CHECK_STR(c.virt_type, "qemu");
	CHECK_INT(c.workers, 4);	/* the last of two equal keys */
	CHECK_INT(c.cpu_ratio_x10, 15);
	CHECK_STR(c.uplink, "eth0");
	CHECK_INT(c.task_timeout, 600);
}

static void booleans_have_several_words(void)
{
	static const struct { const char *line; bool want; } taken[] = { { "resume-guests = true", true }, { "resume-guests = no", false },
		{ "resume-guests = on", true }, { "resume-guests=0", false } };
	static const char *const bad[] = { "resume-guests = ", "resume-guests = maybe", "resume-guests = true false", "resume-guests = truetruetrue" };

	for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
		CHECK_INT(read_text(taken[i].line), 0);
		CHECK_INT(c.resume_guests, taken[i].want);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (read_text(bad[i]) != -EINVAL)
			CHECK_FAIL("taken: %s", bad[i]);
}

static void a_refusal_names_file_and_line(void)
{
	char want[200];

	CHECK_INT(read_text("workers = 1\n\ncolour = blue\n"), -EINVAL);
	snprintf(want, sizeof want, "%s line 3: there is no key 'colour'", path);
	CHECK_STR(e.msg, want);
	CHECK_INT(read_text("hello"), -EINVAL);
	snprintf(want, sizeof want, "%s line 1: 'hello' is not key = value", path);
	CHECK_STR(e.msg, want);
	CHECK_INT(read_text("virt-type = xen"), -EINVAL);
	snprintf(want, sizeof want, "%s line 1: virt-type is one of auto kvm qemu, not 'xen'", path);
	CHECK_STR(e.msg, want);
}

static void bad_values_are_refused(void)
{
	static const char *const bad[] = {
		"workers = 0", "workers = 257", "workers = -1", "workers =", "workers = many", "workers = 1.5", "workers = 1 2", "workers = nan",
		"workers = inf", "workers = -inf", "workers = 1e300", "workers = -1e300", "workers = 99999999999999999999", "task-timeout = 0",
		"cpu-ratio = 0", "cpu-ratio = -1", "cpu-ratio = 101", "cpu-ratio = nan", "virt-type =", "virt-type = qemu kvm", "virt-type = auto kvm",
		"virt-type = k", "virt-type = QEMU", "uplink = an-interface-with-a-long-name", "guest-user = 0123456789012345678901234567890123456789",
		"= 1", "Workers = 1", "workers", "virt_type = qemu",
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (read_text(bad[i]) != -EINVAL)
			CHECK_FAIL("taken: %s", bad[i]);
}

static void the_example_is_all_defaults(void)
{
	FILE *f = fopen(path, "w");
	struct config defaults;

	config_example(f);
	fclose(f);
	CHECK_INT(config_read("/nonexistent/config", &defaults, &e), 0);
	CHECK_INT(config_read(path, &c, &e), 0);
	CHECK(memcmp(&c, &defaults, sizeof c) == 0);
}

/* Its lines without the mark of a comment are good values. */
static void the_examples_values_are_good_ones(void)
{
	char *text = NULL, line[300];
	size_t len;
	FILE *f = open_memstream(&text, &len);

	config_example(f);
	fclose(f);
	f = fopen(path, "w");
	FILE *in = fmemopen(text, len, "r");
	while (fgets(line, sizeof line, in))
		fputs(line[0] == '#' && line[1] != ' ' ? line + 1 : line, f);
	fclose(in);
	fclose(f);
	if (config_read(path, &c, &e) < 0)
		CHECK_FAIL("%s", e.msg);
	free(text);
}

static void odd_bytes_do_no_harm(void)
{
	static const char nul[] = "workers = 3\0 4\nvirt-type = qemu\n";

	CHECK_INT(read_bytes(nul, sizeof nul - 1), 0);
	CHECK_INT(c.workers, 3);
	CHECK_STR(c.virt_type, "qemu");
	CHECK_INT(read_text("\xff\xfe = 1"), -EINVAL);
	CHECK_INT(read_text("   #\n#"), 0);
	CHECK_INT(read_text("\n\n\n"), 0);
}

int main(void)
{
	char cmd[100];

	if (!mkdtemp(dir))
		return 2;
	snprintf(path, sizeof path, "%s/config", dir);
	RUN(no_file_is_the_defaults);
	RUN(a_directory_is_no_file);
	RUN(lines_are_taken);
	RUN(booleans_have_several_words);
	RUN(a_refusal_names_file_and_line);
	RUN(bad_values_are_refused);
	RUN(the_example_is_all_defaults);
	RUN(the_examples_values_are_good_ones);
	RUN(odd_bytes_do_no_harm);
	snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
	return system(cmd) ? 2 : DONE();
}
