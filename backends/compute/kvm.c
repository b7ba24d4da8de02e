/* Does /dev/kvm run guests?  Opening it proves little: in some clouds it is there, opens, and no guest ever gets anywhere.
 * So a guest is run: a boot sector that says one word and resets the machine, which ends qemu.  The same tells whether qemu
 * runs guests at all. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/mman.h>

#include "../base/spawn.h"
#include "ops.h"

#define WORD "alive"

/* 16-bit code at 0000:7c00, where the BIOS puts it.  Port 0xe9 is qemu's debugcon; the keyboard controller (0x64) resets on
 * 0xfe; -no-reboot makes that the end. */
static const unsigned char boot_sector[512] = {
	0xfa,			/*	cli		*/
	0xfc,			/*	cld		*/
	0x31, 0xc0,		/*	xor ax, ax	*/
	0x8e, 0xd8,		/*	mov ds, ax	*/
	0xbe, 0x17, 0x7c,	/*	mov si, word	*/
	0xac,			/* next: lodsb		*/
	0x84, 0xc0,		/*	test al, al	*/
	0x74, 0x04,		/*	jz reset	*/
	0xe6, 0xe9,		/*	out 0xe9, al	*/
	0xeb, 0xf7,		/*	jmp next	*/
	0xb0, 0xfe,		/* reset: mov al, 0xfe	*/
	0xe6, 0x64,		/*	out 0x64, al	*/
	0xf4,			/*	hlt		*/
	'a', 'l', 'i', 'v', 'e', 0,	/* word:	*/
	[510] = 0x55, 0xaa,
};

/* A file without a name, which qemu opens as /dev/fd/0. */
static int make_disk(int *ret, struct err *e)
{
	AUTO(close) int fd = memfd_create("boot", MFD_CLOEXEC);

	if (fd < 0 || write(fd, boot_sector, sizeof boot_sector) != (ssize_t)sizeof boot_sector)
		return err_set(e, errno, "make a boot sector: %m");
	*ret = steal_fd(&fd);
	return 0;
}

/* setpriv gives qemu all groups of the user, as libvirt does (kvm is often one of them), and has it killed should we be. */
#define SETPRIV_ARGS 8

static int run_guest(const char *accel, const char *user, unsigned timeout_ms, int disk, char **out, struct err *e)
{
	char reuid[32] = "--reuid=0", regid[32] = "--regid=0", buf[4096];
	struct passwd pw, *found = NULL;

	if (user && (getpwnam_r(user, &pw, buf, sizeof buf, &found) || !found))
		return err_set(e, ENOENT, "there is no user '%s' for guests to run as", user);
	if (user) {
		snprintf(reuid, sizeof reuid, "--reuid=%u", (unsigned)pw.pw_uid);
		snprintf(regid, sizeof regid, "--regid=%u", (unsigned)pw.pw_gid);
	}
	const char *const argv[] = {
		"setpriv", "--pdeathsig", "KILL", reuid, regid, "--init-groups", "--no-new-privs", "--",
		"qemu-system-x86_64", "-accel", accel, "-machine", "pc", "-cpu", "max", "-m", "16", "-nodefaults", "-no-user-config",
		"-display", "none", "-no-reboot", "-debugcon", "stdio",
		"-drive", "file=/dev/fd/0,format=raw,if=ide,snapshot=off,readonly=off,file.locking=off", NULL
	};
	bool setpriv = user && geteuid() == 0 && spawn_found(argv[0]);
	struct spawn s = {
		.argv = setpriv ? argv : argv + SETPRIV_ARGS,
		.user = setpriv || geteuid() != 0 ? NULL : user,
		.timeout_ms = timeout_ms,
		.cpu_s = timeout_ms / 1000 + 2,
		.stdin_fd = disk,
		.out_max = 4096,
	};

	if (!spawn_found("qemu-system-x86_64"))
		return err_set(e, ENOENT, "the program qemu-system-x86_64 is not installed");
	return spawn_run(&s, out, e);
}

/* `where`: "on /dev/kvm", "under emulation". */
static int probe(const char *accel, const char *where, const char *user, unsigned timeout_ms, struct err *e)
{
	AUTO(free) char *out = NULL;
	AUTO(close) int disk = -1;

	if (make_disk(&disk, e) < 0)
		return -e->code;
	int rc = run_guest(accel, user, timeout_ms, disk, &out, e);

	if (rc == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "a guest %s said nothing for %u ms", where, timeout_ms);
	if (rc < 0)
		return err_prefix(e, "run a guest %s", where);
	if (!strstr(out, WORD))
		return err_set(e, EIO, "a guest %s ended before it said a word", where);
	return 0;
}

int hyper_probe_kvm(const char *user, unsigned timeout_ms, struct err *e)
{
	if (access("/dev/kvm", F_OK) < 0)
		return err_set(e, errno, "/dev/kvm: %m");
	return probe("kvm", "on /dev/kvm", user, timeout_ms, e);
}

int hyper_probe_qemu(const char *user, unsigned timeout_ms, struct err *e)
{
	return probe("tcg", "under emulation", user, timeout_ms, e);
}
