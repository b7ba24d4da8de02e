/* backends/compute on libvirt's test driver (no root, no qemu), the XML for real guests, and the faults. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

#include "../../backends/compute/ops.h"
#include "check.h"

#define UUID "11111111-2222-3333-4444-555555555555"

/* ---- what came ---- */

static pthread_mutex_t seen_lock = PTHREAD_MUTEX_INITIALIZER;
static char seen[4096];

static void note(void *arg, const char *name, enum guest_state now, const char *why)
{
	pthread_mutex_lock(&seen_lock);
	size_t n = strlen(seen);

	snprintf(seen + n, sizeof seen - n, "%s %d %s\n", name ? name : "-", (int)now, why);
	pthread_mutex_unlock(&seen_lock);
}

static void forget(void)
{
	pthread_mutex_lock(&seen_lock);
	seen[0] = '\0';
	pthread_mutex_unlock(&seen_lock);
}

static bool saw(const char *line)
{
	pthread_mutex_lock(&seen_lock);
	bool found = strstr(seen, line) != NULL;

	pthread_mutex_unlock(&seen_lock);
	return found;
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ ms / 1000, (long)(ms % 1000) * 1000000 }, NULL);
}

static bool comes(const char *line)
{
	for (int i = 0; i < 200 && !saw(line); i++)
		pause_ms(10);
	return saw(line);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- hosts and guests ---- */

static struct hyper *host(void)
{
	struct hyper_config c = { .uri = "test:///default", .event = note };
	struct hyper *h = NULL;
	struct err e = { 0 };

	forget();
	CHECK_INT(hyper_open(&c, &h, &e), 0);
	return h;
}

static struct guest_spec guest(void)
{
	return (struct guest_spec){ .name = "c-12", .uuid = UUID, .hostname = "web1", .vcpus = 2, .ram_mib = 256, .virt_type = "qemu" };
}

static int start(struct hyper *h, struct err *e)
{
	struct guest_spec s = guest();

	return hyper_start(h, &s, e);
}

static enum guest_state state(struct hyper *h)
{
	enum guest_state s = 99;
	struct err e = { 0 };

	CHECK_INT(hyper_state(h, "c-12", &s, &e), 0);
	return s;
}

/* ---- libvirt.c ---- */

static void a_test_host_is_simulated(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct hyper_info i = { 0 };
	struct err e = { 0 };

	CHECK_INT(hyper_info(h, &i, &e), 0);
	CHECK(i.simulated);
	CHECK(i.vcpus > 0 && i.ram_mib > 0);
	CHECK_STR(i.hypervisor, "Test 2");
	CHECK_INT(hyper_alive(h, &e), 0);
}

static void a_guest_starts_paused_and_runs_when_resumed(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(state(h), GUEST_GONE);
	CHECK_INT(start(h, &e), 0);
	CHECK_INT(state(h), GUEST_PAUSED);
	CHECK_INT(hyper_resume(h, "c-12", &e), 0);
	CHECK_INT(state(h), GUEST_RUNNING);
	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
	CHECK_INT(state(h), GUEST_GONE);
}

/* A step of a task may be run twice. */
static void resuming_what_runs_is_no_error(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(start(h, &e), 0);
	CHECK_INT(hyper_resume(h, "c-12", &e), 0);
	CHECK_INT(hyper_resume(h, "c-12", &e), 0);
	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
}

static void a_name_or_uuid_exists_once(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct guest_spec other = guest();
	struct err e = { 0 };

	other.name = "c-13";
	CHECK_INT(start(h, &e), 0);
	CHECK_INT(start(h, &e), -EEXIST);
	CHECK_STR(e.msg, "start c-12: a domain of that name exists already");
	CHECK_INT(hyper_start(h, &other, &e), -EEXIST);
	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
}

static void what_is_not_there_can_be_destroyed_but_not_resumed(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
	CHECK_INT(hyper_resume(h, "c-12", &e), -ENOENT);
	CHECK(strstr(e.msg, "resume c-12: "));
	CHECK_INT(hyper_shutdown(h, "c-12", &e), -ENOENT);
}

static void a_guest_asked_to_shut_down_goes(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(start(h, &e), 0);
	CHECK_INT(hyper_resume(h, "c-12", &e), 0);
	CHECK_INT(hyper_shutdown(h, "c-12", &e), 0);
	CHECK(comes("c-12 0 shutdown\n"));
	CHECK_INT(state(h), GUEST_GONE);
}

/* `virsh edit` makes a domain of ours persistent. */
static void a_domain_made_persistent_is_destroyed_too(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct guest_spec s = guest();
	struct err e = { 0 };
	AUTO(free) char *xml = NULL;

	CHECK_INT(start(h, &e), 0);
	CHECK_INT(hyper_domain_xml(&s, true, &xml, &e), 0);
	virConnectPtr c = virConnectOpen("test:///default");
	virDomainPtr d = virDomainDefineXML(c, xml);

	CHECK(d != NULL);
	virDomainFree(d);
	virConnectClose(c);
	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
	CHECK_INT(state(h), GUEST_GONE);
}

static void events_tell_each_change(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(start(h, &e), 0);
	CHECK(comes("c-12 2 booted\nc-12 3 paused\n"));
	CHECK_INT(hyper_resume(h, "c-12", &e), 0);
	CHECK(comes("c-12 2 unpaused\n"));
	CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
	CHECK(comes("c-12 0 destroyed\n"));
}

static void no_event_comes_after_close(void)
{
	struct hyper *a = host(), *b = host();	/* both see the one default connection */
	struct hyper_config quiet = { .uri = "test:///default" };
	struct hyper *c = NULL;
	struct err e = { 0 };

	CHECK_INT(hyper_open(&quiet, &c, &e), 0);
	CHECK_INT(start(a, &e), 0);
	hyper_close(a);
	hyper_close(b);
	forget();
	CHECK_INT(hyper_destroy(c, "c-12", &e), 0);
	pause_ms(50);
	CHECK_STR(seen, "");
	hyper_close(c);
}

static void count(void *arg, const char *name, enum guest_state s)
{
	int *n = arg;

	if (strcmp(name, "c-12") == 0 && s == GUEST_PAUSED)
		n[0]++;
	if (strncmp(name, "many-", 5) == 0)
		n[1]++;
}

static void the_list_has_every_domain(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	int n[2] = { 0 };
	struct err e = { 0 };

	CHECK_INT(start(h, &e), 0);
	for (int i = 0; i < 500; i++) {
		char name[32], uuid[40];
		struct guest_spec s = guest();

		snprintf(name, sizeof name, "many-%d", i);
		snprintf(uuid, sizeof uuid, "11111111-2222-3333-4444-6666%08d", i);
		s.name = name;
		s.uuid = uuid;
		CHECK_INT(hyper_start(h, &s, &e), 0);
	}
	CHECK_INT(hyper_list(h, count, n, &e), 0);
	CHECK_INT(n[0], 1);
	CHECK_INT(n[1], 500);
}

static void an_unreachable_host_is_down(void)
{
	struct hyper_config c = { .uri = "qemu+unix:///system?socket=/nonexistent/socket" };
	struct hyper *h = NULL;
	struct err e = { 0 };

	CHECK_INT(hyper_open(&c, &h, &e), -EHOSTDOWN);
	CHECK(strstr(e.msg, "/nonexistent/socket"));
	CHECK(h == NULL);
}

static void *racer(void *h)
{
	struct err e = { 0 };

	return (void *)(intptr_t)start(h, &e);
}

static void of_two_starts_at_once_one_wins(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	for (int i = 0; i < 50; i++) {
		pthread_t t[2];
		void *rc[2];

		for (int k = 0; k < 2; k++)
			CHECK_INT(pthread_create(&t[k], NULL, racer, h), 0);
		for (int k = 0; k < 2; k++)
			pthread_join(t[k], &rc[k]);
		CHECK_INT((intptr_t)rc[0] + (intptr_t)rc[1], -EEXIST);
		CHECK_INT(hyper_destroy(h, "c-12", &e), 0);
	}
}

/* ---- xml.c ---- */

static char *xml_of(const struct guest_spec *s)
{
	char *xml = NULL;
	struct err e = { 0 };

	CHECK_INT(hyper_domain_xml(s, false, &xml, &e), 0);
	return xml ? xml : strdup("");
}

#define HAS(xml, text) do { if (!strstr(xml, text)) CHECK_FAIL("no %s in\n%s", text, xml); } while (0)
#define HAS_NOT(xml, text) do { if (strstr(xml, text)) CHECK_FAIL("%s in\n%s", text, xml); } while (0)

static void text_in_xml_is_escaped(void)
{
	struct guest_spec s = guest();
	struct guest_disk d = { .path = "/a&b/<'\">\n\x01", .format = "raw", .serial = "data vol/\xc3\xa4<1> and much more" };

	s.hostname = "a<b>&\nc";
	s.disks = &d;
	s.n_disks = 1;
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "<title>a&lt;b&gt;&amp; c</title>");
	HAS(xml, "<source file='/a&amp;b/&lt;&apos;&quot;&gt;&#10;?'/>");
	HAS(xml, "<serial>data_vol____1__and_m</serial>");
}

static void a_guest_is_what_cloud_init_expects(void)
{
	struct guest_spec s = guest();
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "<domain type='qemu'>\n  <name>c-12</name>\n  <uuid>" UUID "</uuid>\n  <title>web1</title>\n");
	HAS(xml, "<memory unit='MiB'>256</memory>\n  <vcpu>2</vcpu>\n");
	HAS(xml, "<entry name='manufacturer'>OpenStack Foundation</entry>");
	HAS(xml, "<entry name='product'>OpenStack Nova</entry>");
	HAS(xml, "<entry name='serial'>" UUID "</entry>");
	HAS(xml, "<entry name='uuid'>" UUID "</entry>");
	HAS(xml, "<smbios mode='sysinfo'/>");
	HAS(xml, "<acpi/>");
	HAS(xml, "<on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>");
	HAS(xml, "<cpu mode='maximum'>");
	HAS_NOT(xml, "<disk");
	HAS_NOT(xml, "<interface");
	HAS_NOT(xml, "<serial");
	HAS_NOT(xml, "<graphics");
	s.virt_type = "kvm";
	AUTO(free) char *kvm = xml_of(&s);

	HAS(kvm, "<domain type='kvm'>");
	HAS(kvm, "<cpu mode='host-model'/>");
	HAS_NOT(kvm, "<tcg>");
}

static void a_nic_is_a_tap_libvirt_leaves_alone(void)
{
	struct guest_spec s = guest();
	struct guest_nic n = { .tap = "cfst1", .mac = "fa:16:3e:00:00:01", .mtu = 1450 };

	s.nics = &n;
	s.n_nics = 1;
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "    <interface type='ethernet'>\n"
		 "      <mac address='fa:16:3e:00:00:01'/>\n"
		 "      <target dev='cfst1' managed='no'/>\n"
		 "      <model type='virtio'/>\n"
		 "      <mtu size='1450'/>\n");
}

static void the_first_disk_boots(void)
{
	struct guest_spec s = guest();
	struct guest_disk d[] = { { .path = "/root.qcow2", .format = "qcow2" }, { .path = "/vol", .format = "raw" },
				  { .path = "/config.iso", .format = "raw", .cdrom = true } };

	s.disks = d;
	s.n_disks = 3;
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "      <source file='/root.qcow2'/>\n      <target dev='vda' bus='virtio'/>\n      <boot order='1'/>\n");
	HAS(xml, "      <source file='/vol'/>\n      <target dev='vdb' bus='virtio'/>\n    </disk>\n");
	HAS(xml, "      <source file='/config.iso'/>\n      <target dev='hda' bus='ide'/>\n      <readonly/>\n    </disk>\n");
}

static void an_installer_boots_and_then_the_disk(void)
{
	struct guest_spec s = guest();
	struct guest_disk d[] = { { .path = "/debian.iso", .format = "raw", .cdrom = true }, { .path = "/root", .format = "qcow2" },
				  { .path = "/vol", .format = "raw" } };

	s.disks = d;
	s.n_disks = 3;
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "<readonly/>\n      <boot order='1'/>");
	HAS(xml, "<target dev='vda' bus='virtio'/>\n      <boot order='2'/>");
	HAS_NOT(xml, "order='3'");
}

static void thirty_disks_have_names(void)
{
	struct guest_spec s = guest();
	struct guest_disk d[30];

	for (size_t i = 0; i < ARRAY_LEN(d); i++)
		d[i] = (struct guest_disk){ .path = "/d", .format = "raw" };
	s.disks = d;
	s.n_disks = ARRAY_LEN(d);
	AUTO(free) char *xml = xml_of(&s);

	HAS(xml, "dev='vdz'");
	HAS(xml, "dev='vdaa'");
	HAS(xml, "dev='vdad'");
}

static void the_console_goes_on_in_its_log(void)
{
	struct guest_spec s = guest();

	s.console_log = "/c.log";
	AUTO(free) char *file = xml_of(&s);

	HAS(file, "    <serial type='file'>\n      <source path='/c.log' append='on'/>\n      <target type='isa-serial' port='0'/>\n");
	s.console_socket = "/c.sock";
	AUTO(free) char *both = xml_of(&s);

	HAS(both, "<serial type='unix'>\n      <source mode='bind' path='/c.sock'/>\n      <log file='/c.log' append='on'/>\n");
}

static void a_wrong_spec_is_refused(void)
{
	struct guest_spec s = guest();
	struct guest_disk d = { .path = "/d", .format = "vmdk" };
	char *xml = NULL;
	struct err e = { 0 };

	s.disks = &d;
	s.n_disks = 1;
	CHECK_INT(hyper_domain_xml(&s, false, &xml, &e), -EINVAL);
	CHECK_STR(e.msg, "disk /d has the unknown format 'vmdk'");
	s.virt_type = "xen";
	CHECK_INT(hyper_domain_xml(&s, false, &xml, &e), -EINVAL);
	CHECK(xml == NULL);
}

static void a_simulated_guest_has_no_devices(void)
{
	struct guest_spec s = guest();
	struct guest_disk d = { .path = "/d", .format = "raw" };
	AUTO(free) char *xml = NULL;
	struct err e = { 0 };

	s.disks = &d;
	s.n_disks = 1;
	s.console_log = "/c.log";
	CHECK_INT(hyper_domain_xml(&s, true, &xml, &e), 0);
	HAS(xml, "<domain type='test'>");
	HAS_NOT(xml, "<devices>");
}

/* ---- embed.c ---- */

static void an_embedded_root_is_read_from_the_uri(void)
{
	AUTO(free) char *plain = hyper_embed_root("qemu:///embed?root=/run/cirrusfs/1a2b");
	AUTO(free) char *coded = hyper_embed_root("qemu:///embed?x=1&root=/a%20b&y=2");

	CHECK_STR(plain ? plain : "", "/run/cirrusfs/1a2b");
	CHECK_STR(coded ? coded : "", "/a b");
	CHECK(hyper_embed_root("qemu:///system") == NULL);
	CHECK(hyper_embed_root("qemu:///embed?notroot=/x") == NULL);
}

static void an_embedded_root_is_made_with_its_configuration(void)
{
	char top[] = "/tmp/test_hyper.XXXXXX", root[64], path[128], text[4096] = "", cmd[64];
	struct stat st = { 0 };
	struct err e = { 0 };

	CHECK(mkdtemp(top) != NULL);
	snprintf(root, sizeof root, "%s/a/b", top);
	CHECK_INT(hyper_embed_prepare(root, NULL, &e), 0);
	CHECK_INT(hyper_embed_prepare(root, NULL, &e), 0);	/* again is the same */
	CHECK_INT(stat(root, &st), 0);
	CHECK_INT(st.st_mode & 07777, 0711);
	snprintf(path, sizeof path, "%s/etc/qemu.conf", root);
	FILE *f = fopen(path, "r");

	CHECK(f && fread(text, 1, sizeof text - 1, f) > 0);
	if (f)
		fclose(f);
	snprintf(path, sizeof path, "user = \"+%u\"\n", (unsigned)geteuid());
	HAS(text, path);
	HAS(text, "stdio_handler = \"file\"\n");
	HAS(text, "cgroup_controllers = [ ]\n");
	CHECK_INT(hyper_embed_prepare(root, "no such user", &e), -ENOENT);
	CHECK_STR(e.msg, "there is no user 'no such user' for guests to run as");
	CHECK_INT(hyper_embed_prepare("relative", NULL, &e), -EINVAL);
	snprintf(cmd, sizeof cmd, "rm -rf %s", top);
	CHECK_INT(system(cmd), 0);
}

/* Of a log as libvirt 9.0 and qemu 7.2 write it. */
static void qemus_last_words_are_its_own(void)
{
	char root[] = "/tmp/test_hyper.XXXXXX", path[128], cmd[64], words[64] = "x";

	CHECK(mkdtemp(root) != NULL);
	guest_last_words(root, "c-12", words, sizeof words);
	CHECK_STR(words, "");
	snprintf(path, sizeof path, "mkdir -p %s/log/qemu", root);
	CHECK_INT(system(path), 0);
	snprintf(path, sizeof path, "%s/log/qemu/c-12.log", root);
	FILE *f = fopen(path, "w");

	CHECK(f && fputs("2026-11-23 05:00:00.000+0000: starting up libvirt version: 9.0.0, qemu version: 7.2.22\n"
			 "LC_ALL=C \\\nQEMU_AUDIO_DRV=none \\\n/usr/bin/qemu-system-x86_64 \\\n-name guest=c-12,debug-threads=on \\\n"
			 "-msg timestamp=on\n"
			 "2026-11-23T05:00:01.000000Z qemu-system-x86_64: of an earlier life\n"
			 "2026-11-23 05:00:02.000+0000: shutting down, reason=crashed\n", f) >= 0 && fflush(f) == 0);
	guest_last_words(root, "c-12", words, sizeof words);
	CHECK_STR(words, "qemu-system-x86_64: of an earlier life");
	CHECK(fputs("2026-11-23 05:01:00.000+0000: starting up libvirt version: 9.0.0, qemu version: 7.2.22\n"
		    "/usr/bin/qemu-system-x86_64 \\\n-msg timestamp=on\n", f) >= 0 && fflush(f) == 0);
	guest_last_words(root, "c-12", words, sizeof words);
	CHECK_STR(words, "");
	CHECK(fputs("**\nERROR:../a.c:1:b: assertion failed: (\x1b[1m)\n", f) >= 0 && fflush(f) == 0);
	guest_last_words(root, "c-12", words, sizeof words);
	CHECK_STR(words, "ERROR:../a.c:1:b: assertion failed: (?[1m)");
	fclose(f);
	snprintf(cmd, sizeof cmd, "rm -rf %s", root);
	CHECK_INT(system(cmd), 0);
}

/* ---- fault.c ---- */

static void a_fault_breaks_the_call_it_names(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(hyper_fault_wrap(&h, "start:2:ENOSPC,resume:1:doneEIO,destroy:*:EBUSY", "test:///default", &e), 0);
	CHECK_INT(start(h, &e), 0);
	CHECK_INT(start(h, &e), -ENOSPC);
	CHECK_STR(e.msg, "start c-12: injected ENOSPC of call 2");
	CHECK_INT(start(h, &e), -EEXIST);
	CHECK_INT(hyper_resume(h, "c-12", &e), -EIO);
	CHECK_INT(state(h), GUEST_RUNNING);	/* done, though it said no */
	CHECK_INT(hyper_destroy(h, "c-12", &e), -EBUSY);
	CHECK_INT(hyper_destroy(h, "c-12", &e), -EBUSY);
	CHECK_INT(state(h), GUEST_RUNNING);
}

static void a_fault_delays_the_call_it_names(void)
{
	AUTO(hyper_close) struct hyper *h = host();
	struct err e = { 0 };

	CHECK_INT(hyper_fault_wrap(&h, "qemu:@alive:1:EIO,test:@alive:2:hang1000", "test:///default", &e), 0);
	uint64_t t = now_ms();
	CHECK_INT(hyper_alive(h, &e), 0);
	CHECK(now_ms() - t < 1000);
	t = now_ms();
	CHECK_INT(hyper_alive(h, &e), 0);
	CHECK(now_ms() - t >= 1000);
}

static void faults_come_from_the_environment(void)
{
	setenv("CIRRUSFS_FAULT", "alive:1:EHOSTDOWN", 1);
	AUTO(hyper_close) struct hyper *h = host();
	struct hyper_config c = { .uri = "test:///default" };
	struct hyper *none = NULL;
	struct err e = { 0 };

	CHECK_INT(hyper_alive(h, &e), -EHOSTDOWN);
	CHECK_INT(hyper_alive(h, &e), 0);
	for (const char *const *bad = (const char *const[]){ "start", "start:1", "start:0:EIO", "stat:1:EIO", "start:1:EWHAT",
							     "start:1:hang", NULL }; *bad; bad++) {
		setenv("CIRRUSFS_FAULT", *bad, 1);
		CHECK_INT(hyper_open(&c, &none, &e), -EINVAL);
	}
	unsetenv("CIRRUSFS_FAULT");
	CHECK(none == NULL);
}

/* ---- kvm.c, with a qemu of our own ---- */

static void fake_qemu(const char *dir, const char *script)
{
	char path[128];

	snprintf(path, sizeof path, "%s/qemu-system-x86_64", dir);
	FILE *f = fopen(path, "w");

	CHECK(f && fprintf(f, "#!/bin/sh\n%s\n", script) > 0);
	if (f)
		fclose(f);
	chmod(path, 0755);
}

static void kvm_is_believed_only_when_a_guest_speaks(void)
{
	char dir[] = "/tmp/test_hyper.XXXXXX", path[128];
	struct err e = { 0 };

	if (access("/dev/kvm", F_OK) < 0) {
		printf("# skip: no /dev/kvm\n");
		return;
	}
	CHECK(mkdtemp(dir) != NULL);
	setenv("CIRRUSFS_PATH", dir, 1);
	CHECK_INT(hyper_probe_kvm(NULL, 2000, &e), -ENOENT);
	CHECK_STR(e.msg, "run a guest on /dev/kvm: the program qemu-system-x86_64 is not installed");
	fake_qemu(dir, "printf alive");
	CHECK_INT(hyper_probe_kvm(NULL, 2000, &e), 0);
	fake_qemu(dir, "exit 0");
	CHECK_INT(hyper_probe_kvm(NULL, 2000, &e), -EIO);
	fake_qemu(dir, "echo 'qemu-system-x86_64: no such accelerator' >&2; exit 1");
	CHECK_INT(hyper_probe_kvm(NULL, 2000, &e), -EIO);
	CHECK_STR(e.msg, "run a guest on /dev/kvm: qemu-system-x86_64: no such accelerator");
	fake_qemu(dir, "exec sleep 60");
	uint64_t t = now_ms();

	CHECK_INT(hyper_probe_kvm(NULL, 200, &e), -ETIMEDOUT);
	CHECK(now_ms() - t < 20000);
	CHECK_STR(e.msg, "a guest on /dev/kvm said nothing for 200 ms");
	unsetenv("CIRRUSFS_PATH");
	snprintf(path, sizeof path, "%s/qemu-system-x86_64", dir);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	struct err e = { 0 };

	if (hyper_init(&e) < 0)
		return printf("Bail out! %s\n", e.msg), 1;
	RUN(a_test_host_is_simulated);
	RUN(a_guest_starts_paused_and_runs_when_resumed);
	RUN(resuming_what_runs_is_no_error);
	RUN(a_name_or_uuid_exists_once);
	RUN(what_is_not_there_can_be_destroyed_but_not_resumed);
	RUN(a_guest_asked_to_shut_down_goes);
	RUN(a_domain_made_persistent_is_destroyed_too);
	RUN(events_tell_each_change);
	RUN(no_event_comes_after_close);
	RUN(the_list_has_every_domain);
	RUN(an_unreachable_host_is_down);
	RUN(of_two_starts_at_once_one_wins);
	RUN(text_in_xml_is_escaped);
	RUN(a_guest_is_what_cloud_init_expects);
	RUN(a_nic_is_a_tap_libvirt_leaves_alone);
	RUN(the_first_disk_boots);
	RUN(an_installer_boots_and_then_the_disk);
	RUN(thirty_disks_have_names);
	RUN(the_console_goes_on_in_its_log);
	RUN(a_wrong_spec_is_refused);
	RUN(a_simulated_guest_has_no_devices);
	RUN(an_embedded_root_is_read_from_the_uri);
	RUN(an_embedded_root_is_made_with_its_configuration);
	RUN(qemus_last_words_are_its_own);
	RUN(a_fault_breaks_the_call_it_names);
	RUN(a_fault_delays_the_call_it_names);
	RUN(faults_come_from_the_environment);
	RUN(kvm_is_believed_only_when_a_guest_speaks);
	return DONE();
}
