/* A guest's facts out of the state, the directory imds/ that shows what is made of them, and the log of what the guest asked for. */
#include "imds_cloud.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../backends/block/iso.h"
#include "../../backends/state/cloud.h"
#include "../network/network.h"
#include "../tree/notify.h"
#include "../tree/value.h"
#include "server.h"

#define LOG_MAX (64 * 1024)

/* ---- facts */

struct load {
	struct call *c;
	struct imds *m;
	struct err *e;
	int rc;
};

static int add_pair(void *arg, const struct row *r)
{
	struct load *l = arg;
	struct imds *m = l->m;
	struct obj o;
	struct imds_pair *v = reallocarray(m->meta, m->n_meta + 1, sizeof *v);

	if (!v)
		return (l->rc = err_set(l->e, ENOMEM, "%m")) != 0;
	m->meta = v;
	v[m->n_meta] = (struct imds_pair){ .key = strdup(r->name) };
	m->n_meta++;
	l->rc = obj_of(l->c, r, &o, l->e);
	if (l->rc == 0)
		l->rc = obj_text(l->c, &o, "value", &v[m->n_meta - 1].value, l->e);
	return l->rc != 0;
}

static int fill_subnet(struct call *c, int64_t id, struct imds_nic *nic, struct err *e)
{
	AUTO(free) char *cidr = NULL, *gateway = NULL, *dns = NULL;
	struct obj subnet;
	int64_t dhcp;
	uint32_t net;

	if (obj_by_id(c, id, &subnet, e) < 0 || obj_text(c, &subnet, "cidr", &cidr, e) < 0 ||
	    obj_text(c, &subnet, "gateway", &gateway, e) < 0 || obj_text(c, &subnet, "dns", &dns, e) < 0 ||
	    obj_int(c, &subnet, "dhcp", &dhcp, e) < 0 || cidr_parse(cidr, &net, &nic->prefix, e) < 0)
		return -e->code;
	nic->dhcp = dhcp;
	snprintf(nic->gateway, sizeof nic->gateway, "%s", gateway);
	snprintf(nic->dns, sizeof nic->dns, "%s", *dns ? dns : gateway);
	for (char *p = nic->dns; (p = strchr(p, '\n')); )
		*p = ' ';
	return 0;
}

static int add_nic(void *arg, const struct port_row *p)
{
	struct load *l = arg;
	struct imds *m = l->m;
	struct obj port, network;
	int64_t mtu;
	struct imds_nic *v = reallocarray(m->nics, m->n_nics + 1, sizeof *v);

	if (!v)
		return (l->rc = err_set(l->e, ENOMEM, "%m")) != 0;
	m->nics = v;
	struct imds_nic *nic = &v[m->n_nics++];
	*nic = (struct imds_nic){ 0 };
	snprintf(nic->mac, sizeof nic->mac, "%s", p->mac);
	snprintf(nic->address, sizeof nic->address, "%s", p->address);
	l->rc = obj_by_id(l->c, p->id, &port, l->e) < 0 || obj_by_id(l->c, p->network, &network, l->e) < 0 ||
		obj_int(l->c, &network, "mtu", &mtu, l->e) < 0 || fill_subnet(l->c, p->subnet, nic, l->e) < 0 ? -l->e->code : 0;
	if (l->rc)
		return 1;
	nic->mtu = (unsigned)mtu;
	memcpy(nic->port, port.row.uuid, sizeof nic->port);
	memcpy(nic->network, network.row.uuid, sizeof nic->network);
	return 0;
}

/* Nova draws it anew for each answer.  Ours is the server's own for as long as it lives, so that the service, the drive and the directory
 * agree; nobody without the store's secret can tell it. */
static int fill_seed(struct call *c, struct imds *m, struct err *e)
{
	const struct cloud *cl = cloud_of(c->fs);
	unsigned char text[64], mac[64];
	unsigned len;

	for (size_t at = 0; at < sizeof m->seed; at += sizeof mac) {
		int n = snprintf((char *)text, sizeof text, "seed %s %zu", m->uuid, at);

		if (!HMAC(EVP_sha512(), cl->secret, sizeof cl->secret, text, (size_t)n, mac, &len))
			return err_set(e, EIO, "make a random seed: libcrypto cannot");
		memcpy(m->seed + at, mac, sizeof mac);
	}
	return 0;
}

static int fill_user_data(struct call *c, const struct obj *o, struct imds *m, struct err *e)
{
	AUTO(free) char *text = NULL;

	if (obj_text(c, o, "user_data", &text, e) < 0)
		return -e->code;
	if (*text && !(m->user_data = base64_decode(text, &m->user_data_len, e)))
		return -e->code;
	return 0;
}

/* A draft may be without any of them. */
static int fill_refs(struct call *c, const struct obj *o, struct imds *m, struct err *e)
{
	struct obj flavor, tenant;
	int64_t id;

	if (obj_by_id(c, o->row.tenant, &tenant, e) < 0 || obj_int(c, o, "image", &m->image, e) < 0 || obj_int(c, o, "flavor", &id, e) < 0)
		return -e->code;
	memcpy(m->project, tenant.row.uuid, sizeof m->project);
	if (id && obj_by_id(c, id, &flavor, e) < 0)
		return -e->code;
	if (id)
		snprintf(m->flavor, sizeof m->flavor, "%s", flavor.row.name);
	return 0;
}

static int load(struct call *c, const struct obj *o, struct imds *m, struct err *e)
{
	struct load l = { c, m, e, 0 };

	m->server = o->row.id;
	memcpy(m->uuid, o->row.uuid, sizeof m->uuid);
	snprintf(m->name, sizeof m->name, "%s", o->row.name);
	host_name(o->row.name, o->row.uuid, m->hostname);
	if (fill_refs(c, o, m, e) < 0 || fill_user_data(c, o, m, e) < 0 || fill_seed(c, m, e) < 0 ||
	    obj_text(c, o, "key_name", &m->key_name, e) < 0 || obj_text(c, o, "key_data", &m->key_data, e) < 0 ||
	    obj_text(c, o, "password", &m->password, e) < 0 ||
	    row_list(c->db, o->row.id, metadata_kind.no, 0, false, add_pair, &l, e) < 0)
		return -e->code;
	if (l.rc == 0 && port_list(c->db, o->row.id, 0, add_nic, &l, e) < 0)
		return -e->code;
	return l.rc;
}

/* ---- those looked at lately */

struct facts {
	struct imds m;
	atomic_int refs;
};

static struct kept {
	struct facts *f;
	const struct fs *fs;
	int64_t server;
	uint64_t change;	/* change_all before they were read */
} kept[32];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;

void imds_done(const struct imds *m)
{
	struct facts *f = (struct facts *)(uintptr_t)m;

	if (!f || --f->refs)
		return;
	imds_free(&f->m);
	free(f);
}

static struct facts *kept_get(const struct fs *fs, int64_t server, uint64_t change)
{
	struct kept *k = &kept[(uint64_t)server % ARRAY_LEN(kept)];
	struct facts *f = NULL;

	pthread_mutex_lock(&kept_lock);
	if (k->f && k->fs == fs && k->server == server && k->change == change) {
		f = k->f;
		f->refs++;
	}
	pthread_mutex_unlock(&kept_lock);
	return f;
}

static void kept_put(const struct fs *fs, int64_t server, uint64_t change, struct facts *f)
{
	struct kept *k = &kept[(uint64_t)server % ARRAY_LEN(kept)];

	f->refs++;
	pthread_mutex_lock(&kept_lock);
	struct facts *old = k->f;
	*k = (struct kept){ f, fs, server, change };
	pthread_mutex_unlock(&kept_lock);
	if (old)
		imds_done(&old->m);
}

int imds_load(struct call *c, const struct obj *o, const struct imds **ret, struct err *e)
{
	uint64_t change = change_all();
	struct facts *f = kept_get(c->fs, o->row.id, change);

	if (!f) {
		f = calloc(1, sizeof *f);
		if (!f)
			return err_set(e, ENOMEM, "%m");
		f->refs = 1;
		int rc = load(c, o, &f->m, e);
		if (rc < 0) {
			imds_done(&f->m);
			return rc;
		}
		kept_put(c->fs, o->row.id, change, f);
	}
	*ret = &f->m;
	return 0;
}

/* ---- imds/ */

static int tree_each(struct call *c, const struct obj *o, unsigned dir, subtree_fn *fn, void *arg, struct err *e)
{
	AUTO(imds_done) const struct imds *m = NULL;
	int rc;

	if (dir == IMDS_TOP && (fn(arg, "log", IMDS_LOG, false) || fn(arg, "log.1", IMDS_LOG_OLD, true)))
		return 0;
	/* only these differ from guest to guest */
	rc = imds_load(c, o, &m, e);
	if (rc == 0)
		imds_each(m, dir, fn, arg);
	return rc;
}

static int tree_show(struct call *c, const struct obj *o, unsigned no, FILE *out, struct err *e)
{
	AUTO(imds_done) const struct imds *m = NULL;
	int rc = imds_load(c, o, &m, e);

	if (rc == 0)
		imds_put(m, no, out);
	return rc;
}

static int log_path(struct fs *fs, int64_t server, bool old, char ret[300])
{
	server_path(cloud_of(fs), server, old ? "imds.log.1" : "imds.log", ret, 300);
	return open(ret, O_RDONLY | O_CLOEXEC);
}

static int log_size(struct call *c, const struct obj *o, int64_t *ret, bool old)
{
	char path[300];
	AUTO(close) int fd = log_path(c->fs, o->row.id, old, path);
	struct stat st;

	*ret = fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
	return 0;
}

static int64_t log_read(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, bool old, struct err *e)
{
	char path[300];
	AUTO(close) int fd = log_path(c->fs, o->row.id, old, path);
	ssize_t n = fd < 0 ? 0 : pread(fd, buf, size, offset);

	return n < 0 ? err_set(e, errno, "read the log: %m") : n;
}

static int size_now(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return log_size(c, o, ret, false);
}

static int64_t read_now(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return log_read(c, o, offset, buf, size, false, e);
}

static int size_old(struct call *c, const struct obj *o, int64_t *ret, struct err *e)
{
	return log_size(c, o, ret, true);
}

static int64_t read_old(struct call *c, const struct obj *o, int64_t offset, char *buf, size_t size, struct err *e)
{
	return log_read(c, o, offset, buf, size, true, e);
}

static const struct stream log_stream = { size_now, read_now }, old_stream = { size_old, read_old };

static const struct stream *tree_stream(unsigned no)
{
	return no == IMDS_LOG ? &log_stream : no == IMDS_LOG_OLD ? &old_stream : NULL;
}

const struct subtree imds_tree = { tree_each, imds_is_dir, imds_parent, tree_show, tree_stream };

/* What a guest sends stands here on one line and cut. */
static void put_path(FILE *out, const char *path)
{
	size_t n = 0;

	for (; *path && n < 200; path++, n++)
		if ((unsigned char)*path <= ' ' || (unsigned char)*path >= 0x7f || *path == '%')
			fprintf(out, "%%%02X", (unsigned char)*path);
		else
			putc(*path, out);
	fputs(*path ? "..." : "", out);
}

void imds_note(struct cloud *cl, int64_t server, const char *method, const char *path, int status, size_t bytes)
{
	char at[300], old[300], line[1024] = "", when[24];
	FILE *out = fmemopen(line, sizeof line, "w");
	struct stat st;

	if (!out)
		return;
	time_text(now_us(), when);
	fprintf(out, "%s ", when);
	put_path(out, method);
	putc(' ', out);
	put_path(out, path);
	fprintf(out, " %d %zu\n", status, bytes);
	fclose(out);
	server_path(cl, server, "imds.log", at, sizeof at);
	server_path(cl, server, "imds.log.1", old, sizeof old);
	AUTO(close) int fd = open(at, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd >= 0 && write(fd, line, strlen(line)) > 0 && fstat(fd, &st) == 0 && st.st_size >= LOG_MAX)
		rename(at, old);
}

/* ---- the config drive */

static int any_property(struct call *c, int64_t image, const char *key, char **ret, struct err *e)
{
	struct obj o, pair;
	int rc = obj_by_id(c, image, &o, e);

	if (rc == 0)
		rc = obj_by_name(c, &image_property_kind, image, key, &pair, e);
	return rc > 0 ? obj_text(c, &pair, "value", ret, e) : rc;
}

int imds_wants_drive(struct call *c, const struct obj *o, struct err *e)
{
	AUTO(free) char *wish = NULL;
	int64_t asked, image;

	if (obj_int(c, o, "config_drive", &asked, e) < 0 || obj_int(c, o, "image", &image, e) < 0)
		return -e->code;
	if (asked || !image)
		return asked != 0;
	int rc = any_property(c, image, "img_config_drive", &wish, e);
	return rc < 0 ? rc : wish && strcmp(wish, "mandatory") == 0;
}

struct burn {
	struct iso *iso;
	struct err *e;
};

static int burn(void *arg, const char *path, const char *body, size_t len)
{
	struct burn *b = arg;

	return iso_add(b->iso, path, body, len, b->e);
}

int imds_write_drive(struct call *c, const struct obj *o, const char *path, struct err *e)
{
	AUTO(imds_done) const struct imds *m = NULL;
	AUTO(iso_free) struct iso *iso = NULL;
	int rc = imds_load(c, o, &m, e);

	if (rc == 0)
		rc = iso_begin(path, "config-2", (long)(o->row.changed / 1000000), &iso, e);
	struct burn b = { iso, e };
	if (rc == 0 && (rc = imds_drive(m, burn, &b)) == -ENOMEM)
		rc = err_set(e, ENOMEM, "make the config drive: %m");
	return rc < 0 ? rc : iso_end(iso, e);
}
