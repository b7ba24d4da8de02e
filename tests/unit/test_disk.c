/* Disk images: what is taken, what is refused and in which words, overlays, digests. */
#include "../../backends/block/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/base/auto.h"
#include "check.h"

static char dir[] = "/tmp/test_disk.XXXXXX";
static const char *user;

static void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void sh(const char *fmt, ...)
{
	AUTO(free) char *cmd = NULL, *line = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&cmd, fmt, ap);
	va_end(ap);
	if (n < 0 || asprintf(&line, "cd %s && { %s; } >/dev/null", dir, cmd) < 0 || system(line) != 0)
		CHECK_FAIL("command failed: %s", cmd);
}

static const char *in(const char *name)
{
	static char buf[4][200];
	static unsigned i;
	char *p = buf[i++ % 4];

	snprintf(p, sizeof buf[0], "%s/%s", dir, name);
	return p;
}

static void poke(const char *name, off_t off, const void *bytes, size_t n)
{
	AUTO(close) int fd = open(in(name), O_WRONLY | O_CREAT, 0600);

	CHECK(pwrite(fd, bytes, n, off) == (ssize_t)n);
}

static int inspect(const char *name, struct disk_info *ret, struct err *e)
{
	*e = (struct err) { 0 };
	return disk_inspect(in(name), user, ret, e);
}

static void taken(const char *name, const char *format, uint64_t bytes)
{
	struct disk_info info = { 0 };
	struct err e;

	if (inspect(name, &info, &e) < 0)
		CHECK_FAIL("%s refused: %s", name, e.msg);
	CHECK_STR(info.format, format);
	CHECK_INT((intmax_t)info.virtual_size, (intmax_t)bytes);
}

static void refused(const char *name, const char *why)
{
	struct disk_info info = { "untouched", 0 };
	struct err e;

	CHECK_INT(inspect(name, &info, &e), -EINVAL);
	CHECK_STR(info.format, "untouched");
	if (!strstr(e.msg, why))
		CHECK_FAIL("%s: '%s' does not say '%s'", name, e.msg, why);
}

/* An interrupted cp: every cut of the file is refused, unless all it lost is padding (qemu rounds a stream up). */
static void refused_when_cut(const char *name, const char *what)
{
	struct stat st = { 0 };
	struct disk_info info;
	struct err e;

	CHECK(stat(in(name), &st) == 0);
	const off_t size = st.st_size, step = size / 20 + 1, near[] = { 512, 4096, 32768, 65536, 65537, 200000 };
	off_t cuts[32];
	size_t n = 0;

	for (off_t c = 600; c < size; c += step)
		cuts[n++] = c;
	for (size_t i = 0; i < ARRAY_LEN(near); i++)
		cuts[n++] = size - near[i];
	for (size_t i = 0; i < n; i++) {
		if (cuts[i] < 600)
			continue;
		sh("cp %s cut && truncate -s %jd cut", name, (intmax_t)cuts[i]);
		if (inspect("cut", &info, &e) == 0)
			sh("qemu-img compare -q -f %s -F raw cut src || { echo '%s cut at %jd is taken' >&2; false; }",
			   info.format, what, (intmax_t)cuts[i]);
		else
			CHECK_INT(e.code, EINVAL);
	}
}

static void any_bytes_are_a_raw_disk(void)
{
	sh("head -c 1000003 /dev/urandom > noise; printf x > one");
	taken("noise", "raw", 1000448);
	taken("one", "raw", 512);
}

static void empty_file_has_no_data(void)
{
	sh(": > empty");
	refused("empty", "no data");
}

static void missing_file_is_enoent(void)
{
	struct disk_info info;
	struct err e;

	CHECK_INT(inspect("nothing", &info, &e), -ENOENT);
}

static void directory_or_fifo_is_refused(void)
{
	sh("mkdir -p d; mkfifo f");
	refused("d", "not a regular file");
	refused("f", "not a regular file");
}

static void iso_is_found_by_its_volume_descriptor(void)
{
	sh("truncate -s 1M cd");
	poke("cd", 32769, "CD001", 5);
	taken("cd", "iso", 1 << 20);
}

static void each_format_is_found_from_its_bytes(void)
{
	taken("full.qcow2", "qcow2", 10 << 20);
	taken("packed.qcow2", "qcow2", 10 << 20);
	taken("old.qcow2", "qcow2", 10 << 20);
	taken("small.qcow2", "qcow2", 10 << 20);
	taken("wide.qcow2", "qcow2", 10 << 20);
	taken("prealloc.qcow2", "qcow2", 10 << 20);
	taken("sparse.vmdk", "vmdk", 10 << 20);
	taken("stream.vmdk", "vmdk", 10 << 20);
	taken("dynamic.vdi", "vdi", 10 << 20);
	taken("fixed.vdi", "vdi", 10 << 20);
	taken("dynamic.vhdx", "vhdx", 10 << 20);
	taken("fixed.vhdx", "vhdx", 10 << 20);
}

/* qemu-img runs without privileges while nobody but root can walk to the file. */
static void file_below_a_private_directory_is_inspected(void)
{
	struct stat st;

	sh("mkdir -m 700 p; cp full.qcow2 p/x; chmod 600 p/x");
	taken("p/x", "qcow2", 10 << 20);
	CHECK(stat(in("p/x"), &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 0137) == 0);
}

static void fresh_images_without_data_are_taken(void)
{
	sh("for f in qcow2 vmdk vdi vhdx; do qemu-img create -q -f $f new.$f 20M; done; qemu-img create -q -f qcow2 new100G.qcow2 100G");
	taken("new.qcow2", "qcow2", 20 << 20);
	taken("new100G.qcow2", "qcow2", 100ULL << 30);
	taken("new.vmdk", "vmdk", 20 << 20);
	taken("new.vdi", "vdi", 20 << 20);
	taken("new.vhdx", "vhdx", 20 << 20);
}

/* A guest wrote, discarded, its qemu was killed: leaked clusters and stale counts are no harm. */
static void used_image_is_taken(void)
{
	sh("qemu-img create -q -f qcow2 -o lazy_refcounts=on used.qcow2 50M; qemu-io -c 'write 0 1M' -c 'write 30M 100k' -c 'write -z 5M 1M' "
	   "-c 'write 12345k 7k' -c 'discard 0 512k' -c flush -c 'sigraise 9' used.qcow2 2>&1 || :");
	taken("used.qcow2", "qcow2", 50 << 20);
}

/* The end of the disk lies within a cluster: what a writer leaves there must not look cut off. */
static void odd_sizes_are_not_taken_for_cut(void)
{
	sh("for f in qcow2 vmdk vdi vhdx; do qemu-img convert -f raw -O $f noise odd.$f; done; qemu-img convert -f raw -O vmdk -o subformat=streamOptimized noise odds.vmdk;"
	   "qemu-img convert -f raw -O qcow2 -c noise oddc.qcow2; qemu-img convert -f raw -O qcow2 -o extended_l2=on noise odde.qcow2;"
	   "qemu-img create -q -f qcow2 oddw.qcow2 1000448; qemu-io -c 'write 999936 512' oddw.qcow2;"
	   "qemu-img create -q -f qcow2 oddx.qcow2 1000448; qemu-io -c 'write 4096 512' oddx.qcow2;"
	   "qemu-img create -q -f qcow2 oddm.qcow2 1000448; qemu-io -n -c 'aio_write 0 64k' -c 'aio_write 100k 3k' -c 'aio_write 976k 512' -c aio_flush oddm.qcow2;"
	   "qemu-img create -q -f vmdk oddw.vmdk 1000448; qemu-io -c 'write 999936 512' oddw.vmdk; qemu-img create -q -f vdi oddw.vdi 1000448; qemu-io -c 'write 999936 512' oddw.vdi");
	taken("odd.qcow2", "qcow2", 1000448);
	taken("oddc.qcow2", "qcow2", 1000448);
	taken("odde.qcow2", "qcow2", 1000448);
	taken("oddw.qcow2", "qcow2", 1000448);
	taken("oddx.qcow2", "qcow2", 1000448);
	taken("oddm.qcow2", "qcow2", 1000448);
	taken("odd.vmdk", "vmdk", 1000448);
	taken("odds.vmdk", "vmdk", 1000448);
	taken("oddw.vmdk", "vmdk", 1000448);
	taken("odd.vdi", "vdi", 1000448);
	taken("oddw.vdi", "vdi", 1000448);
	taken("odd.vhdx", "vhdx", 1000448);
}

static void cut_off_images_are_refused(void)
{
	refused_when_cut("full.qcow2", "qcow2");
	refused_when_cut("packed.qcow2", "compressed qcow2");
	refused_when_cut("old.qcow2", "qcow2 v2");
	refused_when_cut("small.qcow2", "qcow2 of 512-byte clusters");
	refused_when_cut("wide.qcow2", "qcow2 with extended L2");
	refused_when_cut("sparse.vmdk", "vmdk");
	refused_when_cut("stream.vmdk", "stream vmdk");
	refused_when_cut("dynamic.vdi", "vdi");
	refused_when_cut("fixed.vdi", "fixed vdi");
	refused_when_cut("dynamic.vhdx", "vhdx");
	refused_when_cut("fixed.vhdx", "fixed vhdx");
}

static void cut_says_so(void)
{
	sh("cp full.qcow2 cut; truncate -s 3M cut");
	refused("cut", "the image is cut off: it has 3145728 bytes");
	sh("cp dynamic.vdi cut; truncate -s 3M cut");
	refused("cut", "the image is cut off: it has 3145728 bytes");
	sh("cp full.qcow2 cut; truncate -s 60 cut");
	refused("cut", "ends within its header");
}

static void backing_file_is_refused_whatever_it_names(void)
{
	static const char *const names[] = { "/etc/passwd", "full.qcow2", "json:{\"driver\":\"file\",\"filename\":\"/etc/shadow\"}",
					     "nbd:127.0.0.1:10809", "nbd+unix:///x?socket=/y", "fat:/etc", "http://127.0.0.1/x", "" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		unsigned char at[8] = { 0, 0, 0, 0, 0, 0, 0, 200 }, len[4] = { 0, 0, 0, (unsigned char)strlen(names[i]) };

		sh("cp full.qcow2 backed");
		poke("backed", 200, names[i], strlen(names[i]));
		poke("backed", 8, at, 8);
		poke("backed", 16, len, 4);
		refused("backed", "needs a backing file");
	}
	sh("qemu-img create -q -f qcow2 -b full.qcow2 -F qcow2 backed");
	refused("backed", "needs a backing file 'full.qcow2'");
}

static void data_file_is_refused(void)
{
	sh("qemu-img create -q -f qcow2 -o data_file=$PWD/data.raw dataf.qcow2 1M");
	refused("dataf.qcow2", "keeps its data in another file");
}

static void encrypted_and_corrupt_qcow2_are_refused(void)
{
	/* qemu-img measures how fast it derives keys, and gives up when the clock of its processor time does not move: on a busy machine it is asked again */
	sh("for i in 1 2 3 4 5 6 7 8 9; do qemu-img create -q -f qcow2 --object secret,id=s,data=abc "
	   "-o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 enc.qcow2 1M && break; done 2> /dev/null; cp full.qcow2 corrupt");
	refused("enc.qcow2", "encrypted");
	poke("corrupt", 79, "\2", 1);
	refused("corrupt", "marked corrupt");
}

static void broken_qcow2_headers_are_refused(void)
{
	sh("for i in 1 2 3 4 5; do cp full.qcow2 broken$i; done");
	poke("broken1", 20, "\0\0\0\77", 4);
	refused("broken1", "header is broken");
	poke("broken2", 7, "\7", 1);
	refused("broken2", "version 7");
	poke("broken3", 24, "\377\377\377\377", 4);	/* a size without end */
	refused("broken3", "not a good qcow2 image");
	poke("broken4", 72, "\1", 1);			/* a feature nobody knows */
	refused("broken4", "not a good qcow2 image");
	poke("broken5", 36, "\77\377\377\377", 4);	/* an L1 table of 8 GiB */
	refused("broken5", "header is broken");
}

static void snapshots_are_taken_without_and_refused_with_machine_memory(void)
{
	unsigned char at[8] = { 0 };

	sh("cp full.qcow2 snap; qemu-img snapshot -c one snap");
	taken("snap", "qcow2", 10 << 20);
	AUTO(close) int fd = open(in("snap"), O_RDWR);
	CHECK(pread(fd, at, 8, 64) == 8);		/* the snapshot table; the size of the machine's state is at 32 of the entry, then at 40 */
	off_t table = (off_t)at[4] << 24 | at[5] << 16 | at[6] << 8 | at[7];
	CHECK(pwrite(fd, "\0\1\0\0", 4, table + 32) == 4 && pwrite(fd, "\0\0\0\0\0\1\0\0", 8, table + 40) == 8);
	refused("snap", "saved memory of a machine, in snapshot 'one'");
}

static void vmdk_that_names_other_files_is_refused(void)
{
	sh("qemu-img create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M; qemu-img create -q -f vmdk -o subformat=twoGbMaxExtentSparse two.vmdk 1M");
	refused("flat.vmdk", "its data is in other files");
	refused("two.vmdk", "its data is in other files");
}

static void vmdk_descriptor_tricks_are_refused(void)
{
	sh("sed 's/monolithicSparse/monolithicFlat__/' sparse.vmdk > t1; sed 's/parentCID=ffffffff/parentCID=12345678/' sparse.vmdk > t2;"
	   "sed 's/ SPARSE \"/ FLAT \"\\/e/' sparse.vmdk > t4; cp sparse.vmdk t5; cp sparse.vmdk t6");
	refused("t1", "type 'monolithicFlat__'");
	refused("t2", "needs a parent");
	refused("t4", "other files");
	poke("t5", 12, "\0\0\0\0\0\0\0\0", 8);		/* capacity 0: QEMU would take the extents from the text */
	refused("t5", "does not describe itself");
	poke("t6", 0, "COWD", 4);
	refused("t6", "ESX");
}

static void vmdk_parent_hint_is_refused(void)
{
	sh("qemu-img create -q -f vmdk -b sparse.vmdk -F vmdk child.vmdk");
	refused("child.vmdk", "needs a parent");
}

static void vdi_and_vhdx_with_parents_are_refused(void)
{
	static const unsigned char parameters[16] = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
	static unsigned char file[4 << 20];

	sh("cp dynamic.vdi v1; cp dynamic.vdi v2; cp dynamic.vdi v3; cp dynamic.vhdx x1");
	poke("v1", 76, "\4", 1);
	refused("v1", "type 4");
	poke("v2", 440, "\1", 1);
	refused("v2", "needs a parent");
	poke("v3", 424, "\1", 1);
	refused("v3", "needs a parent");
	AUTO(close) int fd = open(in("x1"), O_RDWR);
	ssize_t n = pread(fd, file, sizeof file, 0);
	unsigned char *p = n > 0 ? memmem(file, (size_t)n, parameters, 16) : NULL;
	CHECK(p != NULL);
	if (!p)
		return;
	off_t base = (p - file) & ~65535;
	CHECK(pwrite(fd, "\2", 1, base + p[16] + (p[17] << 8) + (p[18] << 16) + 4) == 1);
	refused("x1", "needs a parent");
	CHECK_INT(pread(fd, file, sizeof file, 0) > 0, 1);
	struct err e = { 0 };
	CHECK_INT(disk_header_check(file, sizeof file, &e), -EINVAL);
}

static void formats_we_do_not_take_are_named(void)
{
	sh("qemu-img create -q -f qed q.qed 1M; qemu-img create -q -f vpc v.vhd 1M; qemu-img create -q -f parallels p.hds 1M; qemu-img create -q -f qcow q.qcow 1M");
	refused("q.qed", "qed images are not taken");
	refused("v.vhd", "vhd images are not taken");
	refused("p.hds", "parallels images are not taken");
	refused("q.qcow", "version 1");
	poke("v.vhd", 60, "\0\0\0\4", 4);
	refused("v.vhd", "needs a parent");
}

/* The first bytes decide as soon as they came, and never before. */
static void upload_is_refused_at_its_first_bytes(void)
{
	unsigned char head[2048];
	struct err e = { 0 };

	sh("qemu-img create -q -f qcow2 -b full.qcow2 -F qcow2 backed");
	AUTO(close) int fd = open(in("backed"), O_RDONLY);
	CHECK(read(fd, head, sizeof head) == sizeof head);
	for (size_t n = 0; n < 72; n++)
		CHECK_INT(disk_header_check(head, n, &e), 0);
	CHECK_INT(disk_header_check(head, 72, &e), -EINVAL);
	CHECK_STR(e.msg, "the qcow2 image needs a backing file ''; 'qemu-img convert' makes one that stands alone");
	CHECK_INT(disk_header_check(head, sizeof head, &e), -EINVAL);
	CHECK_STR(e.msg, "the qcow2 image needs a backing file 'full.qcow2'; 'qemu-img convert' makes one that stands alone");
}

static void good_uploads_go_on_at_any_length(void)
{
	static const char *const names[] = { "full.qcow2", "packed.qcow2", "sparse.vmdk", "stream.vmdk", "dynamic.vdi", "dynamic.vhdx", "noise" };
	static unsigned char head[3 << 20];
	struct err e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		AUTO(close) int fd = open(in(names[i]), O_RDONLY);
		ssize_t got = read(fd, head, sizeof head);

		for (ssize_t n = 0; n <= got; n += n < 70000 ? 1 : 9999)
			if (disk_header_check(head, (size_t)n, &e) != 0) {
				CHECK_FAIL("%s after %zd bytes: %s", names[i], n, e.msg);
				break;
			}
	}
}

static void overlay_is_private_whole_and_as_large_as_asked(void)
{
	struct err e = { 0 };
	struct stat st = { 0 };

	CHECK_INT(disk_overlay(in("o1"), in("full.qcow2"), "qcow2", 1 << 30, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(stat(in("o1"), &st) == 0);
	CHECK_INT(st.st_mode & 07777, 0600);
	CHECK_INT(st.st_uid, geteuid());
	sh("qemu-img info o1 | grep -q 'backing file: %s/full.qcow2'; qemu-img info --output=json o1 | grep -q '\"virtual-size\": 1073741824'", dir);
	sh("qemu-img compare -q full.qcow2 o1; qemu-img check -q o1");
	sh("! ls | grep -q new-");
}

static void overlay_is_never_smaller_than_its_base(void)
{
	struct err e = { 0 };

	CHECK_INT(disk_overlay(in("o2"), in("noise"), "raw", 4096, &e), 0);
	sh("qemu-img info --output=json o2 | grep -q '\"virtual-size\": 1000448'");
	CHECK_INT(disk_overlay(in("o3"), in("cd"), "iso", 0, &e), 0);
	sh("qemu-img info --output=json o3 | grep -q '\"virtual-size\": 1048576'");
}

static void empty_disk_has_no_base(void)
{
	struct err e = { 0 };

	CHECK_INT(disk_overlay(in("o4"), NULL, NULL, 3 << 20, &e), 0);
	taken("o4", "qcow2", 3 << 20);
	CHECK_INT(disk_overlay(in("o5"), NULL, NULL, 0, &e), -EINVAL);
}

static void overlay_that_is_there_stays(void)
{
	struct err e = { 0 };

	sh("echo mine > o6");
	CHECK_INT(disk_overlay(in("o6"), in("full.qcow2"), "qcow2", 1 << 30, &e), 0);
	sh("[ $(cat o6) = mine ]");
}

static void failed_overlay_leaves_nothing(void)
{
	struct err e = { 0 };

	CHECK_INT(disk_overlay(in("o7"), in("gone"), "qcow2", 1 << 30, &e), -ENOENT);
	CHECK(strstr(e.msg, "make disk '") == e.msg);
	CHECK_INT(disk_overlay(in("o7"), in("noise"), "qcow2", 1 << 30, &e), -EIO);
	CHECK_INT(disk_overlay(in("o7"), "noise", "raw", 1 << 30, &e), -EINVAL);
	sh("! ls | grep -q o7");
}

static void digests_are_those_of_the_tools(void)
{
	char hex[129] = "", want[129] = "";
	uint64_t size = 0;
	struct err e = { 0 };

	sh("md5sum < noise | cut -d' ' -f1 | tr -d '\\n' > sum");
	AUTO(close) int fd = open(in("sum"), O_RDONLY);
	CHECK(read(fd, want, 32) == 32);
	CHECK_INT(disk_md5(in("noise"), hex, &size, &e), 0);
	CHECK_STR(hex, want);
	CHECK_INT((intmax_t)size, 1000003);
	CHECK_INT(disk_digest(in("empty"), "sha256", hex, &e), 0);
	CHECK_STR(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	CHECK_INT(disk_digest(in("empty"), "sha512", hex, &e), 0);
	CHECK_INT((intmax_t)strlen(hex), 128);
	CHECK_INT(disk_digest(in("empty"), "crc77", hex, &e), -EINVAL);
	CHECK_INT(disk_digest(in("nothing"), "md5", hex, &e), -ENOENT);
}

static void make_images(void)
{
	sh("head -c 6M /dev/urandom > src; truncate -s 10M src; yes abcdefgh | head -c 700000 | dd of=src bs=1M seek=7 conv=notrunc 2>/dev/null");
	sh("c() { f=$1; shift; qemu-img convert -f raw -O $f \"$@\"; }; c qcow2 src full.qcow2; c qcow2 -c src packed.qcow2;"
	   "c qcow2 -o compat=0.10 src old.qcow2; c qcow2 -o cluster_size=512 src small.qcow2; c qcow2 -o extended_l2=on src wide.qcow2;"
	   "qemu-img create -q -f qcow2 -o preallocation=metadata prealloc.qcow2 10M;"
	   "c vmdk src sparse.vmdk; c vmdk -o subformat=streamOptimized src stream.vmdk; c vdi src dynamic.vdi; c vdi -o static=on src fixed.vdi;"
	   "c vhdx src dynamic.vhdx; c vhdx -o subformat=fixed src fixed.vhdx");
}

int main(void)
{
	if (system("command -v qemu-img qemu-io >/dev/null") != 0) {
		puts("1..0 # skip no qemu-img");
		return 0;
	}
	if (!mkdtemp(dir))
		return 1;
	user = geteuid() == 0 && getpwnam("libvirt-qemu") ? "libvirt-qemu" : NULL;
	RUN(make_images);
	RUN(any_bytes_are_a_raw_disk);
	RUN(empty_file_has_no_data);
	RUN(missing_file_is_enoent);
	RUN(directory_or_fifo_is_refused);
	RUN(iso_is_found_by_its_volume_descriptor);
	RUN(each_format_is_found_from_its_bytes);
	RUN(file_below_a_private_directory_is_inspected);
	RUN(fresh_images_without_data_are_taken);
	RUN(used_image_is_taken);
	RUN(odd_sizes_are_not_taken_for_cut);
	RUN(cut_off_images_are_refused);
	RUN(cut_says_so);
	RUN(backing_file_is_refused_whatever_it_names);
	RUN(data_file_is_refused);
	RUN(encrypted_and_corrupt_qcow2_are_refused);
	RUN(broken_qcow2_headers_are_refused);
	RUN(snapshots_are_taken_without_and_refused_with_machine_memory);
	RUN(vmdk_that_names_other_files_is_refused);
	RUN(vmdk_descriptor_tricks_are_refused);
	RUN(vmdk_parent_hint_is_refused);
	RUN(vdi_and_vhdx_with_parents_are_refused);
	RUN(formats_we_do_not_take_are_named);
	RUN(upload_is_refused_at_its_first_bytes);
	RUN(good_uploads_go_on_at_any_length);
	RUN(overlay_is_private_whole_and_as_large_as_asked);
	RUN(overlay_is_never_smaller_than_its_base);
	RUN(empty_disk_has_no_base);
	RUN(overlay_that_is_there_stays);
	RUN(failed_overlay_leaves_nothing);
	RUN(digests_are_those_of_the_tools);
	if (!getenv("KEEP"))
		sh("rm -rf %s", dir);
	return DONE();
}
