/* Scoped release: a variable's declaration names what releases it (the compiler's cleanup attribute). */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define AUTO(fn) __attribute__((cleanup(auto_##fn)))
/* Makes AUTO(fn) usable for variables of `type` (a pointer type); fn is not called for NULL. */
#define AUTO_FN(type, fn) \
	static inline void auto_##fn(type *p) \
	{ \
		if (*p) \
			fn(*p); \
	} \
	struct auto_fn_semicolon

static inline void auto_free(void *p)
{
	free(*(void **)p);
}

static inline void auto_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

AUTO_FN(FILE *, fclose);

static inline int steal_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

#define steal_ptr(p) ({ __typeof__(*(p)) steal_r = *(p); *(p) = NULL; steal_r; })
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
