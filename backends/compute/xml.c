/* A guest's description as libvirt's domain XML.  Format: https://libvirt.org/formatdomain.html.  All text is escaped here. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "ops.h"

#define SERIAL_MAX 20		/* virtio-blk: VIRTIO_BLK_ID_BYTES */
#define TB_CACHE_MIB 128	/* code TCG keeps translated; qemu's own default lets every guest grow by 1 GiB */

/* A printf of XML in which every argument is text: %s is escaped.  XML 1.0 has no way to say most control characters. */
static void xml(FILE *out, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		if (fmt[0] != '%' || fmt[1] != 's') {
			putc(*fmt, out);
			continue;
		}
		fmt++;
		for (const char *p = va_arg(ap, const char *); *p; p++)
			switch (*p) {
			case '&': fputs("&amp;", out); break;
			case '<': fputs("&lt;", out); break;
			case '>': fputs("&gt;", out); break;
			case '\'': fputs("&apos;", out); break;
			case '"': fputs("&quot;", out); break;
			case '\t': case '\n': case '\r': fprintf(out, "&#%d;", *p); break;
			default: putc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
			}
	}
	va_end(ap);
}

/* A title is one line. */
static void put_title(FILE *out, const char *text)
{
	char line[256];

	snprintf(line, sizeof line, "%s", text);
	for (char *p = line; (p = strpbrk(p, "\r\n")); )
		*p = ' ';
	while (*line && (unsigned char)line[strlen(line) - 1] >= 0x80 && strlen(text) >= sizeof line)
		line[strlen(line) - 1] = '\0';	/* cut, perhaps within a character */
	xml(out, "  <title>%s</title>\n", line);
}

/* What cloud-init's DataSourceOpenStack looks for, as Nova writes it. */
static void put_sysinfo(FILE *out, const struct guest_spec *s)
{
	xml(out, "  <sysinfo type='smbios'>\n"
		 "    <system>\n"
		 "      <entry name='manufacturer'>OpenStack Foundation</entry>\n"
		 "      <entry name='product'>OpenStack Nova</entry>\n"
		 "      <entry name='serial'>%s</entry>\n"
		 "      <entry name='uuid'>%s</entry>\n"
		 "      <entry name='family'>Virtual Machine</entry>\n"
		 "    </system>\n"
		 "  </sysinfo>\n", s->uuid, s->uuid);
}

/* vda ... vdz, vdaa ... */
static void disk_name(char *buf, size_t size, const char *prefix, size_t n)
{
	if (n < 26)
		snprintf(buf, size, "%s%c", prefix, (char)('a' + n));
	else
		snprintf(buf, size, "%s%c%c", prefix, (char)('a' + n / 26 - 1), (char)('a' + n % 26));
}

/* The guest shows it as /dev/disk/by-id/virtio-SERIAL; qemu takes these characters only. */
static void put_serial(FILE *out, const char *serial)
{
	char buf[SERIAL_MAX + 1];

	snprintf(buf, sizeof buf, "%s", serial);
	for (char *p = buf; *p; p++)
		if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.+", *p))
			*p = '_';
	if (*buf)
		xml(out, "      <serial>%s</serial>\n", buf);
}

/* Page cache (writeback) rather than O_DIRECT: guests of one image share its pages, every file system can do it, and a
 * guest's flush reaches the disk in either.  What a guest discards becomes a hole. */
static void put_disk(FILE *out, const struct guest_disk *d, const char *dev, unsigned boot)
{
	xml(out, "    <disk type='file' device='%s'>\n", d->cdrom ? "cdrom" : "disk");
	xml(out, d->cdrom ? "      <driver name='qemu' type='%s'/>\n" :
			    "      <driver name='qemu' type='%s' cache='writeback' discard='unmap'/>\n", d->format);
	xml(out, "      <source file='%s'/>\n"
		 "      <target dev='%s' bus='%s'/>\n", d->path, dev, d->cdrom ? "ide" : "virtio");
	if (d->cdrom)
		xml(out, "      <readonly/>\n");
	if (d->serial)
		put_serial(out, d->serial);
	if (boot)
		fprintf(out, "      <boot order='%u'/>\n", boot);
	xml(out, "    </disk>\n");
}

/* The BIOS tries the first disk; where that is an installer's CD, the first hard disk after it.  It does not look at others:
 * that takes its time for each of them. */
static int put_disks(FILE *out, const struct guest_spec *s, struct err *e)
{
	size_t n_hd = 0, n_cd = 0;
	unsigned boot = 0;

	for (size_t i = 0; i < s->n_disks; i++) {
		const struct guest_disk *d = &s->disks[i];
		bool boots = i == 0 || (boot == 1 && s->disks[0].cdrom && !d->cdrom);
		char dev[8];

		if (strcmp(d->format, "qcow2") != 0 && strcmp(d->format, "raw") != 0)
			return err_set(e, EINVAL, "disk %s has the unknown format '%s'", d->path, d->format);
		if (d->cdrom && n_cd == 4)
			return err_set(e, EINVAL, "a guest has at most 4 CD drives");
		if (d->cdrom)
			disk_name(dev, sizeof dev, "hd", n_cd++);
		else
			disk_name(dev, sizeof dev, "vd", n_hd++);
		put_disk(out, d, dev, boots ? ++boot : 0);
	}
	return 0;
}

/* The tap is the caller's: libvirt neither makes, configures nor removes it.  No boot ROM: it would only cost time. */
static void put_nic(FILE *out, const struct guest_nic *n)
{
	xml(out, "    <interface type='ethernet'>\n"
		 "      <mac address='%s'/>\n"
		 "      <target dev='%s' managed='no'/>\n"
		 "      <model type='virtio'/>\n", n->mac, n->tap);
	if (n->mtu)
		fprintf(out, "      <mtu size='%u'/>\n", n->mtu);
	xml(out, "      <rom enabled='no'/>\n"
		 "    </interface>\n");
}

/* append: the log goes on when the guest is started again. */
static void put_console(FILE *out, const struct guest_spec *s)
{
	if (s->console_socket) {
		xml(out, "    <serial type='unix'>\n"
			 "      <source mode='bind' path='%s'/>\n", s->console_socket);
		if (s->console_log)
			xml(out, "      <log file='%s' append='on'/>\n", s->console_log);
	} else if (s->console_log) {
		xml(out, "    <serial type='file'>\n"
			 "      <source path='%s' append='on'/>\n", s->console_log);
	} else {
		return;
	}
	xml(out, "      <target type='isa-serial' port='0'/>\n"
		 "    </serial>\n");
}

/* Its screen, on an address and a port the driver finds free. */
static void put_screen(FILE *out, const struct guest_spec *s)
{
	if (!s->vnc_listen)
		return;
	xml(out, "    <graphics type='vnc' port='-1' autoport='yes' listen='%s' passwd='%s'/>\n"
		 "    <video>\n"
		 "      <model type='vga' vram='16384'/>\n"
		 "    </video>\n", s->vnc_listen, s->vnc_password ? s->vnc_password : "");
}

static int put_devices(FILE *out, const struct guest_spec *s, struct err *e)
{
	xml(out, "  <devices>\n");
	if (put_disks(out, s, e) < 0)
		return -e->code;
	for (size_t i = 0; i < s->n_nics; i++)
		put_nic(out, &s->nics[i]);
	put_console(out, s);
	put_screen(out, s);
	xml(out, "    <controller type='usb' model='none'/>\n"
		 "    <memballoon model='virtio' freePageReporting='on'/>\n"
		 "    <rng model='virtio'>\n"
		 "      <backend model='builtin'/>\n"
		 "    </rng>\n"
		 "    <panic model='isa'/>\n"	/* a kernel that dies says so, where it has pvpanic */
		 "  </devices>\n");
	return 0;
}

/* What differs between hardware and emulation. */
static void put_cpu(FILE *out, bool kvm)
{
	char tb_cache[16];

	snprintf(tb_cache, sizeof tb_cache, "%d", TB_CACHE_MIB);
	if (kvm)
		xml(out, "  <features>\n"
			 "    <acpi/>\n"
			 "    <apic/>\n"
			 "  </features>\n"
			 "  <cpu mode='host-model'/>\n"
			 "  <clock offset='utc'>\n"
			 "    <timer name='pit' tickpolicy='delay'/>\n"
			 "    <timer name='rtc' tickpolicy='catchup'/>\n"
			 "    <timer name='hpet' present='no'/>\n"
			 "  </clock>\n");
	else
		xml(out, "  <features>\n"
			 "    <acpi/>\n"
			 "    <apic/>\n"
			 "    <tcg>\n"
			 "      <tb-cache unit='MiB'>%s</tb-cache>\n"
			 "    </tcg>\n"
			 "  </features>\n"
			 "  <cpu mode='maximum'>\n"
			 "    <feature policy='disable' name='la57'/>\n"	/* a fifth level of page tables, walked in software */
			 "  </cpu>\n"
			 "  <clock offset='utc'>\n"
			 "    <timer name='hpet' present='no'/>\n"
			 "  </clock>\n", tb_cache);
}

static void put_machine(FILE *out, const struct guest_spec *s)
{
	put_sysinfo(out, s);
	xml(out, "  <os>\n"
		 "    <type arch='x86_64' machine='pc'>hvm</type>\n"
		 "    <smbios mode='sysinfo'/>\n"
		 "  </os>\n");
	put_cpu(out, strcmp(s->virt_type, "kvm") == 0);
	/* A guest that put itself to sleep would look paused by somebody. */
	xml(out, "  <pm>\n"
		 "    <suspend-to-mem enabled='no'/>\n"
		 "    <suspend-to-disk enabled='no'/>\n"
		 "  </pm>\n"
		 "  <on_poweroff>destroy</on_poweroff>\n"
		 "  <on_reboot>restart</on_reboot>\n"
		 "  <on_crash>destroy</on_crash>\n");
}

static int put_domain(FILE *out, const struct guest_spec *s, bool simulated, struct err *e)
{
	xml(out, "<domain type='%s'>\n"
		 "  <name>%s</name>\n"
		 "  <uuid>%s</uuid>\n", simulated ? "test" : s->virt_type, s->name, s->uuid);
	if (s->hostname && *s->hostname)
		put_title(out, s->hostname);
	fprintf(out, "  <memory unit='MiB'>%" PRIu64 "</memory>\n"
		     "  <vcpu>%u</vcpu>\n", s->ram_mib, s->vcpus);
	if (simulated)
		xml(out, "  <os>\n"
			 "    <type>hvm</type>\n"
			 "  </os>\n");
	else
		put_machine(out, s);
	if (!simulated && put_devices(out, s, e) < 0)
		return -e->code;
	xml(out, "</domain>\n");
	return 0;
}

int hyper_domain_xml(const struct guest_spec *s, bool simulated, char **ret, struct err *e)
{
	AUTO(free) char *text = NULL;
	size_t len;
	FILE *out;

	if (!simulated && (!s->virt_type || (strcmp(s->virt_type, "kvm") != 0 && strcmp(s->virt_type, "qemu") != 0)))
		return err_set(e, EINVAL, "the virtualization type '%s' is neither kvm nor qemu", s->virt_type ? s->virt_type : "");
	out = open_memstream(&text, &len);
	if (!out)
		return err_set(e, errno, "describe %s: %m", s->name);
	int rc = put_domain(out, s, simulated, e);

	if (fclose(out) != 0 && rc == 0)
		rc = err_set(e, ENOMEM, "describe %s: %m", s->name);
	if (rc == 0)
		*ret = steal_ptr(&text);
	return rc;
}
