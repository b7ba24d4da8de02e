/* Many small files, which shells are too slow for; microseconds each on stdout.
 *   small write DIR FILES WRITERS [sync]   WRITERS processes, each FILES files of 4 KiB in a directory of its own: create, write, [fsync,] close
 *   small read DIR FILES WRITERS           open, read, close of those
 *   small commit DIR N                     single SQLite FULL commits of a row of 4 KiB, one after the other
 *   small edit FILE insert|place OUT       a copy of FILE with 100 KB of noise in every 10 MB, inserted or in place; prints how many bytes that is
 *   small attr FILE NAME                   the extended attribute, and a newline */
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096
#define CHANGE ((size_t)100000)
#define EVERY ((size_t)10000000)

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static uint64_t rnd(uint64_t *s)
{
	uint64_t z = *s += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void noise(char *p, size_t len, uint64_t *s)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t z = rnd(s);

		memcpy(p + i, &z, 8);
	}
}

static int one(const char *path, bool reads, bool sync, uint64_t *seed)
{
	char buf[SIZE];
	int fd = open(path, reads ? O_RDONLY : O_WRONLY | O_CREAT | O_EXCL, 0644);

	if (!reads)
		noise(buf, sizeof buf, seed);
	if (fd < 0 || (reads ? read(fd, buf, sizeof buf) : write(fd, buf, sizeof buf)) != SIZE || (sync && fsync(fd) < 0) || close(fd) < 0)
		return perror(path), 1;
	return 0;
}

static int files(const char *dir, int n, int writers, bool reads, bool sync)
{
	int status, bad = 0, gate[2];
	char path[4096];

	if (pipe(gate) < 0)
		return 1;
	for (int w = 0; w < writers; w++) {
		uint64_t seed = (uint64_t)w << 32 | (uint64_t)time(NULL);

		snprintf(path, sizeof path, "%s/w%d", dir, w);
		mkdir(path, 0755);
		if (fork())
			continue;
		close(gate[1]);
		bad = (int)read(gate[0], path, 1);	/* all begin together: at the end of the pipe */
		for (int i = 0; i < n && !bad; i++) {
			snprintf(path, sizeof path, "%s/w%d/f%d", dir, w, i);
			bad |= one(path, reads, sync, &seed);
		}
		_exit(bad);
	}
	double t = now_us();
	close(gate[1]);
	while (wait(&status) > 0)
		bad |= status;
	printf("%.2f\n", (now_us() - t) / n / writers);
	return bad != 0;
}

static int commit(const char *dir, int n)
{
	char path[4096], buf[SIZE];
	uint64_t seed = (uint64_t)time(NULL);
	sqlite3 *h;
	sqlite3_stmt *st;

	snprintf(path, sizeof path, "%s/small.db", dir);
	if (sqlite3_open(path, &h) != SQLITE_OK ||
	    sqlite3_exec(h, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, data BLOB)",
			 NULL, NULL, NULL) != SQLITE_OK ||
	    sqlite3_prepare_v2(h, "INSERT INTO t (data) VALUES (?1)", -1, &st, NULL) != SQLITE_OK)
		return 1;
	double t = now_us();
	for (int i = 0; i < n; i++) {
		noise(buf, sizeof buf, &seed);
		sqlite3_bind_blob(st, 1, buf, sizeof buf, SQLITE_STATIC);
		if (sqlite3_step(st) != SQLITE_DONE)
			return 1;
		sqlite3_reset(st);
	}
	printf("%.2f\n", (now_us() - t) / n);
	return 0;
}

static int edit(const char *from, bool insert, const char *to)
{
	static char buf[EVERY], text[CHANGE];
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	uint64_t seed = insert ? 1147 : 4711;	/* the noise of one is not in the other */
	size_t n, sum = 0;

	while (in && out && (n = fread(buf, 1, EVERY, in)) > 0) {
		size_t at = n > CHANGE ? rnd(&seed) % (n - CHANGE) : n;
		bool change = n > CHANGE;

		noise(text, CHANGE, &seed);
		fwrite(buf, 1, at, out);
		if (change) {
			fwrite(text, 1, CHANGE, out);
			sum += CHANGE;
			at += insert ? 0 : CHANGE;
		}
		fwrite(buf + at, 1, n - at, out);
	}
	if (!in || !out || ferror(in) || fclose(out) != 0)
		return perror(to), 1;
	printf("%zu\n", sum);
	return 0;
}

static int attr(const char *file, const char *name)
{
	char buf[4096];
	ssize_t n = getxattr(file, name, buf, sizeof buf);

	if (n < 0)
		return perror(file), 1;
	printf("%.*s\n", (int)n, buf);
	return 0;
}

int main(int argc, char **argv)
{
	bool sync = argc == 6 && strcmp(argv[5], "sync") == 0;

	if (argc >= 5 && (strcmp(argv[1], "write") == 0 || strcmp(argv[1], "read") == 0))
		return files(argv[2], atoi(argv[3]), atoi(argv[4]), argv[1][0] == 'r', sync);
	if (argc == 4 && strcmp(argv[1], "commit") == 0)
		return commit(argv[2], atoi(argv[3]));
	if (argc == 5 && strcmp(argv[1], "edit") == 0)
		return edit(argv[2], strcmp(argv[3], "insert") == 0, argv[4]);
	if (argc == 4 && strcmp(argv[1], "attr") == 0)
		return attr(argv[2], argv[3]);
	return 2;
}
