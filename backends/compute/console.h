/* Guests' serial consoles: one connection to each (qemu serves one), shared by any number of readers and writers.  One thread moves
 * the bytes of all.  Nothing here blocks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/err.h"

#define CONSOLE_RING (256 << 10)	/* what is kept for readers who come late; who is later loses the oldest, and is told */
#define CONSOLE_QUEUE (64 << 10)	/* what is kept of writers while the guest does not take it */

struct consoles;
struct console_user;

/* fn is called, from a thread of its own and with nothing locked, whenever a console has news for its readers: bytes, or its end.
 * key: console_key of them. */
int consoles_open(void (*fn)(void *arg, const void *key), void *arg, struct consoles **ret, struct err *e);
/* Users that were not closed may not be used any more. */
void consoles_close(struct consoles *cs);

/* The console behind that unix socket, from now on.  EBUSY: nobody listens there, the guest does not run. */
int console_open(struct consoles *cs, const char *socket, struct console_user **ret, struct err *e);
/* What it wrote still reaches the guest, if that takes it within 10 s. */
void console_close(struct console_user *u);
/* How many bytes were put into buf; 0: it has ended; -EAGAIN: none yet (e is not set). */
int64_t console_read(struct console_user *u, char *buf, size_t size, struct err *e);
/* How many were taken; EAGAIN when the guest takes none and the queue is full; EPIPE when it has ended. */
int64_t console_write(struct console_user *u, const char *buf, size_t size, struct err *e);
const void *console_key(const struct console_user *u);
