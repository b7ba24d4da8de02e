/* The metadata service: who asks is known by the network whose listener took the connection, and by the address in it. */
#include "imds_cloud.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "../../backends/base/log.h"
#include "../../backends/http/http.h"
#include "../../backends/network/net.h"
#include "../../backends/state/cloud.h"

static void refuse(struct http_reply *rp, int status, const char *why)
{
	free(rp->body);
	*rp = (struct http_reply){ .status = status, .type = "text/plain; charset=UTF-8", .body = strdup(why) };
	rp->len = rp->body ? strlen(rp->body) : 0;
}

/* 1: whose address it is. */
static int find_server(struct call *c, const struct http_request *rq, struct obj *ret, struct err *e)
{
	char address[INET_ADDRSTRLEN];
	int64_t id;

	inet_ntop(AF_INET, &rq->from, address, sizeof address);
	int rc = port_owner(c->db, rq->place, address, &id, e);
	if (rc > 0)
		rc = obj_by_id(c, id, ret, e) < 0 ? -e->code : 1;
	return rc;
}

/* Once: what the guest says it is, as Nova keeps it; whoever has the server's key can read it. */
static int set_password(struct call *c, const struct obj *server, const struct http_request *rq, struct http_reply *rp, struct err *e)
{
	AUTO(free) char *now = NULL;
	char text[IMDS_PASSWORD_MAX + 1];
	struct obj o;

	snprintf(text, sizeof text, "%.*s", (int)rq->body_len, rq->body);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || (unsigned char)*p >= 0x7f) {
			refuse(rp, 400, "Bad Request: the password is base64 or other plain text");
			return 0;
		}
	if (call_write(c, e) < 0 || obj_by_id(c, server->row.id, &o, e) < 0 || obj_text(c, &o, "password", &now, e) < 0)
		return -e->code;
	if (*now) {
		refuse(rp, 409, "Conflict: the password is set");
		return 0;
	}
	if (obj_set_text(c, &o, "password", text, e) < 0)
		return -e->code;
	changed(c, &o, CH_VALUES);
	return call_commit(c, e);
}

static int answer_server(struct call *c, const struct obj *o, const struct http_request *rq, struct http_reply *rp, struct err *e)
{
	AUTO(imds_done) const struct imds *m = NULL;
	struct imds_reply r;

	if (imds_load(c, o, &m, e) < 0)
		return -e->code;
	imds_answer(m, rq->method, rq->path, rq->body_len, &r);
	*rp = (struct http_reply){ .status = r.status, .type = r.type, .body = r.body, .len = r.len };
	return r.set_password ? set_password(c, o, rq, rp, e) : 0;
}

static void answer(void *arg, const struct http_request *rq, struct http_reply *rp)
{
	struct cloud *cl = arg;
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };
	struct obj o;
	int rc = call_begin(&cl->fs, &c, &e);

	if (rc == 0)
		rc = find_server(&c, rq, &o, &e);
	if (rc == 0) {
		refuse(rp, 404, "Not Found");
		return;
	}
	if (rc > 0)
		rc = answer_server(&c, &o, rq, rp, &e);
	if (rc < 0) {
		log_error("metadata of network %ld: %s", (long)rq->place, e.msg);
		refuse(rp, e.code == ENOENT ? 404 : 500, e.code == ENOENT ? "Not Found" : "Internal Server Error");
	}
	if (e.code != ENOENT)
		imds_note(cl, o.row.id, rq->method, rq->path, rp->status, rp->len);
}

int imds_start(struct cloud *cl, struct err *e)
{
	return http_open(answer, cl, &cl->http, e);
}

void imds_stop(struct cloud *cl)
{
	http_close(steal_ptr(&cl->http));
}

int imds_listening(struct cloud *cl, int64_t network, struct err *e)
{
	char netns[32];

	cloud_netns(cl, network, netns);
	uint64_t mark = cl->http ? http_listening(cl->http, network) : 0;
	return mark && mark == net_mark(netns) ? 0 : err_set(e, ENOENT, "network %s: nobody listens for metadata requests", netns);
}

int imds_listen(struct cloud *cl, int64_t network, struct err *e)
{
	char netns[32];
	uint64_t mark;
	int fd;

	if (!cl->http || imds_listening(cl, network, &(struct err){ 0 }) == 0)
		return 0;
	cloud_netns(cl, network, netns);
	int rc = net_listen(netns, &fd, &mark, e);
	return rc < 0 ? rc : http_listen(cl->http, network, mark, fd, e);
}

void imds_unlisten(struct cloud *cl, int64_t network)
{
	if (cl->http)
		http_unlisten(cl->http, network);
}
