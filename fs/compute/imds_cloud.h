/* The metadata of servers, between the state and those who show it. */
#pragma once

#include "../cloud.h"
#include "imds.h"

/* Its facts as they are now, for imds_done.  Kept until anything changes anywhere, since who looks at one file of the tree looks at more. */
int imds_load(struct call *c, const struct obj *server, const struct imds **ret, struct err *e);
void imds_done(const struct imds *m);
static inline void auto_imds_done(const struct imds **m)
{
	imds_done(*m);
}
/* servers/S/imds/ */
extern const struct subtree imds_tree;
/* A line of imds/log: what its guest asked for and was answered. */
void imds_note(struct cloud *cl, int64_t server, const char *method, const char *path, int status, size_t bytes);

/* The HTTP service: one for all networks. */
int imds_start(struct cloud *cl, struct err *e);
void imds_stop(struct cloud *cl);
/* The network's namespace has a listener of ours; made when it has none, or one in an earlier namespace of that name. */
int imds_listen(struct cloud *cl, int64_t network, struct err *e);
/* Only looks: ENOENT says that it is missing, and imds_listen mends it. */
int imds_listening(struct cloud *cl, int64_t network, struct err *e);
/* The network goes. */
void imds_unlisten(struct cloud *cl, int64_t network);

/* 1: this server has a config drive, by its own wish or its image's (img_config_drive=mandatory). */
int imds_wants_drive(struct call *c, const struct obj *server, struct err *e);
/* Writes it anew at path: what its guest is to find at its next boot. */
int imds_write_drive(struct call *c, const struct obj *server, const char *path, struct err *e);
