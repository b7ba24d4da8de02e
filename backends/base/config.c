#include "config.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "auto.h"

static const struct key {
	const char *name;
	enum { K_WORD, K_TEXT, K_INT, K_TENTHS, K_BOOL, K_BYTES } type;
	size_t offset, size;
	const char *def, *words;
	int min, max;		/* K_BYTES: MiB */
	const char *help;
} keys[] = {
#define AT(f) offsetof(struct config, f), sizeof(((struct config *)0)->f)
	{ "virt-type", K_WORD, AT(virt_type), "auto", "auto kvm qemu", 0, 0, "`kvm`, `qemu` (emulation, much slower), or `auto`: a real guest is tried under KVM once after a boot of the machine" },
	{ "guest-user", K_TEXT, AT(guest_user), "libvirt-qemu", NULL, 0, 0, "the user guests run as; to use KVM it must be able to open /dev/kvm (group `kvm`)" },
	{ "uplink", K_TEXT, AT(uplink), "", NULL, 0, 0, "interface by which guests reach the outside; empty: the host's routes decide" },
	{ "external-cidr", K_TEXT, AT(external_cidr), "", NULL, 0, 0, "addresses of an external network" },
	{ "workers", K_INT, AT(workers), "8", NULL, 1, 256, "tasks carried out at once on one host, and of each kind that needs no host" },
	{ "task-timeout", K_INT, AT(task_timeout), "600", NULL, 1, 86400, "seconds until a task that does not end has failed" },
	{ "stop-timeout", K_INT, AT(stop_timeout), "60", NULL, 1, 3600, "seconds a guest has to power off by ACPI before it is ended" },
	{ "check-interval", K_INT, AT(check_interval), "30", NULL, 1, 86400, "seconds between two looks for drift: what the state says against what there is" },
	{ "resume-guests", K_BOOL, AT(resume_guests), "true", NULL, 0, 0, "servers that ran when the machine went down are started again; false: they are SHUTOFF" },
	{ "cpu-ratio", K_TENTHS, AT(cpu_ratio_x10), "16.0", NULL, 1, 1000, "virtual processors a host may run per real one" },
	{ "ram-ratio", K_TENTHS, AT(ram_ratio_x10), "1.0", NULL, 1, 1000, "memory of guests per real memory" },
	{ "disk-ratio", K_TENTHS, AT(disk_ratio_x10), "16.0", NULL, 1, 1000, "disk of guests per real disk (disks are sparse)" },
	{ "console-log-max", K_INT, AT(console_log_max), "1024", NULL, 64, 1 << 20, "KiB of a guest's console.log before it becomes console.log.1" },
	{ "vnc-listen", K_TEXT, AT(vnc_listen), "127.0.0.1", NULL, 0, 0, "address of this machine where guests' screens are served; empty: guests have no screen" },
	{ "reserved-ram", K_INT, AT(reserved_ram), "512", NULL, 0, 1 << 24, "MiB of memory a host keeps for itself" },
	{ "image-size-max", K_INT, AT(image_size_max), "1048576", NULL, 1, 1048576, "MiB of data an image may have" },
	{ "image-cache-keep", K_INT, AT(image_cache_keep), "60", NULL, -1, 1 << 24, "minutes the file servers' disks stand on (`STORE/images/ROW.img`) is kept while no server stands on it; -1: for good" },
	{ "import-dirs", K_TEXT, AT(import_dirs), "", NULL, 0, 0, "directories file:// images come from, separated by ':'; empty: none" },
	{ "import-hosts", K_TEXT, AT(import_hosts), "", NULL, 0, 0, "hosts images come from: names, .domains, addresses, networks; empty: all but this machine and its link" },
	{ "import-ca", K_TEXT, AT(import_ca), "", NULL, 0, 0, "file of certificates trusted for https besides the system's" },
	{ "import-timeout", K_INT, AT(import_timeout), "86400", NULL, 1, 1 << 24, "seconds until a download that does not end has failed" },
	{ "objects-place", K_WORD, AT(objects_place), "local", "local s3 swift", 0, 0, "where full packs of objects live: `local`, `s3` or `swift`; docs/objects-remote.md" },
	{ "objects-url", K_TEXT, AT(objects_url), "", NULL, 0, 0, "local: a directory, empty: the store's own; s3: the service, `https://s3.eu-central-1.amazonaws.com`; swift: where it authenticates, `https://cloud.example.org:5000/v3` (Keystone), `http://swift.example.org:8080/auth/v1.0` (TempAuth)" },
	{ "objects-bucket", K_TEXT, AT(objects_bucket), "", NULL, 0, 0, "the bucket or container; it must be there already" },
	{ "objects-prefix", K_TEXT, AT(objects_prefix), "", NULL, 0, 0, "what all names in it begin with, `cloud1/`: each cloud needs its own" },
	{ "objects-region", K_TEXT, AT(objects_region), "", NULL, 0, 0, "s3: `us-east-1` when empty; swift with Keystone: of its catalogue, the first when empty" },
	{ "objects-key", K_TEXT, AT(objects_key), "", NULL, 0, 0, "s3: the id of the access key; swift: `ACCOUNT:USER` (TempAuth), `PROJECT:USER` (Keystone)" },
	{ "objects-domain", K_TEXT, AT(objects_domain), "Default", NULL, 0, 0, "Keystone: the domain of project and user" },
	{ "objects-secret-file", K_TEXT, AT(objects_secret_file), "", NULL, 0, 0, "a file with the secret in its first line; one that everybody may read is refused" },
	{ "objects-virtual-host", K_BOOL, AT(objects_virtual_host), "false", NULL, 0, 0, "s3: the bucket is a part of the host's name (AWS prefers that), else of the path" },
	{ "objects-ca", K_TEXT, AT(objects_ca), "", NULL, 0, 0, "file of certificates trusted instead of the system's" },
	{ "objects-cache", K_BYTES, AT(objects_cache), "10G", NULL, 16, 1 << 30, "how much of a remote place is kept in `STORE/objects/cache`, at least 16M" },
};

/* "512M", "10G"; a number alone is bytes. */
static int set_bytes(int64_t *field, const struct key *k, const char *v, struct err *e)
{
	static const char suffixes[] = "KMGT";
	char *end;

	errno = 0;
	unsigned long long n = strtoull(v, &end, 10);
	const char *s = *end ? strchr(suffixes, *end) : NULL;
	unsigned shift = s ? 10 * (unsigned)(s - suffixes + 1) : 0;
	if (errno || end == v || !strchr("0123456789", *v) || (*end && (!s || end[1])) || n > UINT64_MAX >> shift)
		return err_set(e, EINVAL, "%s: '%s' is not a size; suffixes are K M G T", k->name, v);
	n <<= shift;
	if (n >> 20 < (unsigned)k->min || n >> 20 > (unsigned)k->max)
		return err_set(e, EINVAL, "%s: %s is out of range", k->name, v);
	*field = (int64_t)n;
	return 0;
}

static int set(struct config *c, const struct key *k, const char *v, struct err *e)
{
	char *field = (char *)c + k->offset, *end;

	if (k->type == K_WORD || k->type == K_TEXT) {
		size_t n = strlen(v);
		const char *at = k->words ? strstr(k->words, v) : NULL;

		if (k->type == K_WORD && (!n || !at || (at > k->words && at[-1] != ' ') || (at[n] && at[n] != ' ')))
			return err_set(e, EINVAL, "%s is one of %s, not '%s'", k->name, k->words, v);
		if (n >= k->size)
			return err_set(e, EINVAL, "%s: '%s' is too long", k->name, v);
		memcpy(field, v, n + 1);
		return 0;
	}
	if (k->type == K_BOOL) {
		static const char *const words[2] = { " false no off 0 ", " true yes on 1 " };
		char word[16];

		snprintf(word, sizeof word, " %.8s ", v);
		if (strchr(v, ' ') || !*v || strlen(v) > 8 || (!strstr(words[0], word) && !strstr(words[1], word)))
			return err_set(e, EINVAL, "%s is true or false, not '%s'", k->name, v);
		*(bool *)field = strstr(words[1], word) != NULL;
		return 0;
	}
	if (k->type == K_BYTES)
		return set_bytes((int64_t *)(void *)field, k, v, e);
	double d = strtod(v, &end);
	if (end == v || *end || !(d >= -1e8 && d <= 1e8) || (k->type == K_INT && d != (double)(int)d))
		return err_set(e, EINVAL, "%s: '%s' is not a number", k->name, v);
	int n = (int)(k->type == K_TENTHS ? d * 10 + 0.5 : d);
	if (n < k->min || n > k->max)
		return err_set(e, EINVAL, "%s: %s is out of range", k->name, v);
	memcpy(field, &n, sizeof n);
	return 0;
}

static char *trim(char *s)
{
	s += strspn(s, " \t");
	for (size_t n = strlen(s); n && strchr(" \t\r\n", s[n - 1]); n--)
		s[n - 1] = '\0';
	return s;
}

static int read_line(struct config *c, char *line, struct err *e)
{
	char *hash = strchr(line, '#'), *eq;

	if (hash)
		*hash = '\0';
	line = trim(line);
	if (!*line)
		return 0;
	eq = strchr(line, '=');
	if (!eq)
		return err_set(e, EINVAL, "'%s' is not key = value", line);
	*eq = '\0';
	line = trim(line);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keys[i].name, line) == 0)
			return set(c, &keys[i], trim(eq + 1), e);
	return err_set(e, EINVAL, "there is no key '%s'", line);
}

int config_read(const char *path, struct config *ret, struct err *e)
{
	AUTO(fclose) FILE *f = fopen(path, "re");
	AUTO(free) char *line = NULL;
	size_t size = 0;
	unsigned no = 0;
	int why = errno;

	*ret = (struct config){ 0 };
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (set(ret, &keys[i], keys[i].def, e) < 0)
			return -e->code;
	if (!f)
		return why == ENOENT ? 0 : err_set(e, why, "open %s: %m", path);
	while (getline(&line, &size, f) >= 0) {
		no++;
		if (read_line(ret, line, e) < 0)
			return err_prefix(e, "%s line %u", path, no);
	}
	return ferror(f) ? err_set(e, EIO, "read %s: %m", path) : 0;
}

void config_example(FILE *out)
{
	fputs("# Settings of this store: key = value.  What is commented out stands at its default.\n", out);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		fprintf(out, "\n# %s\n#%s = %s\n", keys[i].help, keys[i].name, keys[i].def);
}

void config_table(FILE *out)
{
	fputs("| key | default | |\n| --- | --- | --- |\n", out);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const struct key *k = &keys[i];
		const char *quote = *k->def && (k->type == K_WORD || k->type == K_TEXT) ? "`" : "";

		fprintf(out, "| `%s` | %s%s%s%s| %s |\n", k->name, quote, k->def, quote, *k->def ? " " : "", k->help);
	}
}
