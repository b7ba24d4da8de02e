/* What a guest is told about itself: the tree of Nova's metadata service, OpenStack's part and EC2's.  One place makes it, for the
 * service at 169.254.169.254 (imds_serve.c), for the config drive (drive.c) and for the directory imds/ (imds_load.c).
 *
 * imds.c is pure: a guest's facts in, bytes out.  Versions, files and keys are those of nova/api/metadata/base.py. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../../backends/base/auto.h"
#include "../../backends/base/err.h"

#define IMDS_SEED 512
#define IMDS_PASSWORD_MAX 1020	/* as Nova: four values of 255 bytes */
#define IMDS_ZONE "nova"
#define IMDS_DOMAIN "novalocal"

struct imds_nic {
	char mac[18], address[16], port[37], network[37];	/* port, network: their ids */
	unsigned mtu, prefix;
	char gateway[16];	/* "": none */
	bool dhcp;
	char dns[256];		/* blank-separated */
};

struct imds_pair {
	char *key, *value;
};

struct imds {	/* a guest's facts; strings are owned, "" or NULL where there is none */
	int64_t server, image;	/* rows: EC2's ids are made of them */
	char uuid[37], project[37], name[256], hostname[64], flavor[256];
	char *key_name, *key_data;
	char *user_data;	/* NULL: none */
	size_t user_data_len;
	char *password;
	struct imds_pair *meta;
	size_t n_meta;
	struct imds_nic *nics;
	size_t n_nics;
	unsigned char seed[IMDS_SEED];
};
void imds_free(struct imds *m);
static inline void auto_imds_free(struct imds *m)
{
	imds_free(m);
}

/* The tree's nodes have numbers that mean the same path for ever (they are in inode numbers): 0 is the top, 3 openstack/; 1 and 2 are
 * imds/log and imds/log.1, which no guest sees. */
enum { IMDS_TOP, IMDS_LOG, IMDS_LOG_OLD, IMDS_OPENSTACK };
bool imds_is_dir(unsigned no);
unsigned imds_parent(unsigned no);
/* fn for each entry of that directory as this guest has it, in the order the service lists them, until it returns non-zero.  old: a
 * version that `latest` repeats. */
typedef int imds_fn(void *arg, const char *name, unsigned no, bool old);
int imds_each(const struct imds *m, unsigned dir, imds_fn *fn, void *arg);
/* The node a request's path means, -1 none.  "/", "//latest/./meta-data/", "/ec2/latest" too. */
int imds_find(const struct imds *m, const char *path);
/* A file's bytes, nothing added. */
void imds_put(const struct imds *m, unsigned no, FILE *out);

struct imds_reply {
	int status;		/* of HTTP */
	const char *type;	/* Content-Type */
	char *body;		/* owned */
	size_t len;
	bool set_password;	/* the request's body is to be kept as the password */
};
/* What the service answers.  Never fails; without memory it is a 500. */
void imds_answer(const struct imds *m, const char *method, const char *path, size_t body_len, struct imds_reply *ret);

/* The files of the config drive, by path; body is only good during the call. */
typedef int imds_drive_fn(void *arg, const char *path, const char *body, size_t len);
int imds_drive(const struct imds *m, imds_drive_fn *fn, void *arg);
