/* A small HTTP server for many places at once: listening sockets that others made (each in a namespace of its own), one thread, one epoll
 * loop, libmicrohttpd for the protocol.  Knows places by number, nothing of networks or clouds.  Made for callers nobody trusts: what one
 * of them can hold is bounded, in connections, memory and time. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/auto.h"
#include "../base/err.h"

#define HTTP_BODY_MAX 4096
#define HTTP_PER_ADDRESS 16	/* connections of one address at one place */
#define HTTP_CONNECTIONS 512	/* of all; fewer where the process may open few files */
#define HTTP_IDLE_S 10		/* without a byte */
#define HTTP_LIFE_S 60		/* in all, however busy: a slow sender of headers is busy, too */

struct http;

struct http_request {
	int64_t place;
	struct in_addr from;
	const char *method, *path;	/* path: unescaped, without the query */
	const char *body;
	size_t body_len;	/* may be more than HTTP_BODY_MAX: then body is only its beginning */
};
struct http_reply {
	int status;
	const char *type;	/* Content-Type; NULL: none */
	char *body;		/* owned; becomes the server's */
	size_t len;
};
/* On the server's thread: quick, and blocking for nobody. */
typedef void http_answer_fn(void *arg, const struct http_request *rq, struct http_reply *ret);

int http_open(http_answer_fn *answer, void *arg, struct http **ret, struct err *e);
/* Closes everything; no answer is being made any more. */
void http_close(struct http *h);
AUTO_FN(struct http *, http_close);

/* Serves that place by the listening socket fd, which becomes the server's also on failure, instead of by the one before.  mark: what
 * tells this socket from another of the same place (the inode of its namespace). */
int http_listen(struct http *h, int64_t place, uint64_t mark, int fd, struct err *e);
/* The mark of the place's socket; 0: it has none. */
uint64_t http_listening(struct http *h, int64_t place);
/* Closes the place's socket and its connections. */
void http_unlisten(struct http *h, int64_t place);
/* Open connections, for tests. */
unsigned http_connections(struct http *h);
