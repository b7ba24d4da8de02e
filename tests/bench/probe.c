/* What the benchmarks compare with, and what shells are too slow for.
 *   probe commit DIR N        one SQLite FULL commit of as many pages as a write of a value, N times: microseconds each
 *   probe write N FILE...     a process a file: open, write, close N times; microseconds each over all files together
 *   probe domains N           resident KiB of a libvirt client with N test domains
 *   probe embed ROOT XML BASE DISK N   N times: qemu-img makes DISK over BASE, libvirt's embedded driver creates the domain; microseconds a line */
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int commit(const char *dir, int n)
{
	char path[4096];
	sqlite3 *h;
	sqlite3_stmt *st;

	snprintf(path, sizeof path, "%s/probe.db", dir);
	/* What a write of a value changes: the object, when it was touched, a line of events with its two indexes. */
	if (sqlite3_open(path, &h) != SQLITE_OK ||
	    sqlite3_exec(h, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS object (id INTEGER PRIMARY KEY, "
			 "name TEXT, description TEXT, changed INTEGER); CREATE TABLE IF NOT EXISTS touched (object INTEGER, file TEXT, at INTEGER, "
			 "PRIMARY KEY (object, file)); CREATE TABLE IF NOT EXISTS event (id INTEGER PRIMARY KEY AUTOINCREMENT, line TEXT, a INTEGER, "
			 "b INTEGER); CREATE INDEX IF NOT EXISTS event_a ON event (a); CREATE INDEX IF NOT EXISTS event_b ON event (b);"
			 "INSERT OR IGNORE INTO object VALUES (1, 'a', '', 0); INSERT OR IGNORE INTO touched VALUES (1, 'description', 0);"
			 "CREATE TRIGGER IF NOT EXISTS all_of_it AFTER UPDATE ON object BEGIN UPDATE touched SET at = NEW.changed WHERE object = 1;"
			 "INSERT INTO event (line, a, b) VALUES (printf('%.150c', 'x'), NEW.changed, NEW.changed); END", NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(h, "UPDATE object SET description = ?1, changed = ?1 WHERE id = 1", -1, &st, NULL) != SQLITE_OK)
		return 1;
	double t = now_us();
	for (int i = 0; i < n; i++) {
		sqlite3_bind_int(st, 1, i);
		if (sqlite3_step(st) != SQLITE_DONE)
			return 1;
		sqlite3_reset(st);
	}
	printf("%.1f\n", (now_us() - t) / n);
	return 0;
}

static int write_files(int n, char **files)
{
	int count = 0, status, bad = 0;
	double t = now_us();

	for (; files[count]; count++) {
		if (fork())
			continue;
		for (int i = 0; i < n; i++) {
			char text[32];
			int fd = open(files[count], O_WRONLY | O_TRUNC), len = snprintf(text, sizeof text, "word %d\n", i);

			if (fd < 0 || write(fd, text, (size_t)len) != len)
				_exit(1);
			close(fd);
		}
		_exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	printf("%.1f\n", (now_us() - t) / n / count);
	return bad ? 1 : 0;
}

static int domains(int n)
{
	virConnectPtr c = virConnectOpen("test:///default");
	char line[256];

	for (int i = 0; i < n; i++) {
		char xml[512];

		snprintf(xml, sizeof xml, "<domain type='test'><name>c-%d</name><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os>"
			 "</domain>", i);
		virDomainPtr d = virDomainCreateXML(c, xml, 0);
		if (!d)
			return 1;
		virDomainFree(d);
	}
	FILE *f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof line, f))
		if (strncmp(line, "VmRSS:", 6) == 0)
			printf("%ld\n", atol(line + 6));
	return 0;
}

static void *run_events(void *arg)
{
	while (virEventRunDefaultImpl() == 0)
		;
	return NULL;
}

static int overlay(const char *base, const char *disk)
{
	int status;

	unlink(disk);
	if (fork() == 0) {
		freopen("/dev/null", "w", stdout);
		execlp("qemu-img", "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk, NULL);
		_exit(127);
	}
	return wait(&status) < 0 || status;
}

static int embed(const char *root, const char *file, const char *base, const char *disk, int n)
{
	char uri[512], *xml = calloc(1, 1 << 20);
	FILE *f = fopen(file, "r");
	pthread_t events;

	if (!f || !xml || !fread(xml, 1, (1 << 20) - 1, f) || virEventRegisterDefaultImpl() < 0 || pthread_create(&events, NULL, run_events, NULL))
		return 1;
	snprintf(uri, sizeof uri, "qemu:///embed?root=%s", root);
	virConnectPtr c = virConnectOpen(uri);
	for (int i = 0; c && i < n; i++) {
		double t = now_us();
		virDomainPtr d = overlay(base, disk) ? NULL : virDomainCreateXML(c, xml, 0);

		if (!d)
			return 1;
		printf("%.0f\n", now_us() - t);
		fflush(stdout);
		virDomainDestroy(d);
		virDomainFree(d);
	}
	return c ? 0 : 1;
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "commit") == 0)
		return commit(argv[2], atoi(argv[3]));
	if (argc > 3 && strcmp(argv[1], "write") == 0)
		return write_files(atoi(argv[2]), argv + 3);
	if (argc == 3 && strcmp(argv[1], "domains") == 0)
		return domains(atoi(argv[2]));
	if (argc == 7 && strcmp(argv[1], "embed") == 0)
		return embed(argv[2], argv[3], argv[4], argv[5], atoi(argv[6]));
	return 2;
}
