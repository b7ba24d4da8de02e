#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static enum log_level max_level = LOG_INFO;

void log_init(void)
{
	if (getenv("CIRRUSFS_DEBUG"))
		max_level = LOG_DEBUG;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	static const char *const words[] = { "error", "warning", "info", "debug" };
	int saved = errno;
	char line[1200], text[1024], at[32];
	struct timespec now;
	struct tm tm;
	va_list ap;

	if (level > max_level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	strftime(at, sizeof at, "%Y-%m-%dT%H:%M:%S", &tm);
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	int len = snprintf(line, sizeof line, "%s.%03ldZ %s %s\n", at, now.tv_nsec / 1000000, words[level], text);
	if (len > (int)sizeof line - 1)
		len = sizeof line - 1;
	if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
		max_level = LOG_ERROR;	/* nowhere left to say it */
	errno = saved;
}
