#include "imds.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "../tree/value.h"

void imds_free(struct imds *m)
{
	for (size_t i = 0; i < m->n_meta; i++) {
		free(m->meta[i].key);
		free(m->meta[i].value);
	}
	free(m->meta);
	free(m->nics);
	free(m->key_name);
	free(m->key_data);
	free(m->user_data);
	free(m->password);
	*m = (struct imds){ 0 };
}

static bool has_key(const struct imds *m)
{
	return m->key_data && *m->key_data;
}

static bool has_user_data(const struct imds *m)
{
	return m->user_data;
}

static void put_hostname(const struct imds *m, unsigned version, FILE *out)
{
	fprintf(out, "%s." IMDS_DOMAIN, m->hostname);
}

/* ---- the OpenStack tree */

/* Numbers of versions are part of inode numbers: new ones go to the end, and 0 is the newest, whatever that is. */
static const char *const os_versions[] = { "latest", "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15", "2016-06-30", "2016-10-06",
	"2017-02-22", "2018-08-27", "2020-10-14", "2025-04-04" };
enum { FOLSOM = 1, GRIZZLY, HAVANA, LIBERTY, NEWTON_ONE, NEWTON_TWO, OCATA, ROCKY, VICTORIA, EPOXY };

static void put_json(json_t *j, FILE *out)
{
	json_dumpf(j, out, 0);
	json_decref(j);
}

static void add_text(json_t *j, const char *key, const char *text)
{
	json_object_set_new(j, key, json_string(text));
}

static void add_keys(json_t *j, const struct imds *m)
{
	json_t *keys = json_object(), *list = json_array(), *one = json_object();
	const char *name = m->key_name && *m->key_name ? m->key_name : "key";

	add_text(keys, name, m->key_data);
	json_object_set_new(j, "public_keys", keys);
	add_text(one, "name", name);
	add_text(one, "type", "ssh");
	add_text(one, "data", m->key_data);
	json_array_append_new(list, one);
	json_object_set_new(j, "keys", list);
}

static void add_seed(json_t *j, const struct imds *m)
{
	AUTO(free) char *text = base64_encode((const char *)m->seed, sizeof m->seed);

	add_text(j, "random_seed", text ? text : "");
}

static void put_meta_data(const struct imds *m, unsigned version, FILE *out)
{
	json_t *j = json_object();
	char hostname[96];

	add_text(j, "uuid", m->uuid);
	if (m->n_meta) {
		json_t *meta = json_object();

		for (size_t i = 0; i < m->n_meta; i++)
			add_text(meta, m->meta[i].key, m->meta[i].value);
		json_object_set_new(j, "meta", meta);
	}
	if (has_key(m))
		add_keys(j, m);
	snprintf(hostname, sizeof hostname, "%s." IMDS_DOMAIN, m->hostname);
	add_text(j, "hostname", hostname);
	add_text(j, "name", m->name);
	json_object_set_new(j, "launch_index", json_integer(0));
	add_text(j, "availability_zone", IMDS_ZONE);
	if (version >= GRIZZLY)
		add_seed(j, m);
	if (version >= LIBERTY)
		add_text(j, "project_id", m->project);
	if (version >= NEWTON_ONE)
		json_object_set_new(j, "devices", json_array());	/* those with tags; there are none yet */
	if (version >= VICTORIA)
		json_object_set_new(j, "dedicated_cpus", json_array());
	put_json(j, out);
}

static void put_user_data(const struct imds *m, unsigned version, FILE *out)
{
	fwrite(m->user_data, 1, m->user_data_len, out);
}

static void put_password(const struct imds *m, unsigned version, FILE *out)
{
	fputs(m->password ? m->password : "", out);
}

static void put_vendor_data(const struct imds *m, unsigned version, FILE *out)
{
	put_json(json_object(), out);
}

static void put_vendor_data2(const struct imds *m, unsigned version, FILE *out)
{
	put_json(json_pack("{s:{}}", "static"), out);
}

static void netmask(unsigned prefix, char ret[16])
{
	uint32_t mask = prefix ? UINT32_MAX << (32 - prefix) : 0;

	snprintf(ret, 16, "%u.%u.%u.%u", mask >> 24, mask >> 16 & 255, mask >> 8 & 255, mask & 255);
}

static json_t *dns_of(const struct imds_nic *nic)
{
	json_t *list = json_array();
	char copy[sizeof nic->dns];

	snprintf(copy, sizeof copy, "%s", nic->dns);
	for (char *save, *p = strtok_r(copy, " ", &save); p; p = strtok_r(NULL, " ", &save))
		json_array_append_new(list, json_pack("{s:s,s:s}", "type", "dns", "address", p));
	return list;
}

static json_t *network_of(const struct imds_nic *nic, size_t i, const char *link)
{
	char id[32], mask[16];

	snprintf(id, sizeof id, "network%zu", i);
	json_t *j = json_pack("{s:s,s:s,s:s,s:s}", "id", id, "type", nic->dhcp ? "ipv4_dhcp" : "ipv4", "link", link, "network_id", nic->network);
	if (nic->dhcp)
		return j;
	netmask(nic->prefix, mask);
	add_text(j, "ip_address", nic->address);
	add_text(j, "netmask", mask);
	json_t *routes = json_array();
	if (*nic->gateway)
		json_array_append_new(routes, json_pack("{s:s,s:s,s:s}", "network", "0.0.0.0", "netmask", "0.0.0.0", "gateway", nic->gateway));
	json_object_set_new(j, "routes", routes);
	json_object_set_new(j, "services", dns_of(nic));
	return j;
}

static void put_network_data(const struct imds *m, unsigned version, FILE *out)
{
	json_t *links = json_array(), *networks = json_array(), *services = json_array();

	for (size_t i = 0; i < m->n_nics; i++) {
		const struct imds_nic *nic = &m->nics[i];
		char id[16];
		json_t *dns = dns_of(nic);

		snprintf(id, sizeof id, "tap%.11s", nic->port);
		json_array_append_new(links, json_pack("{s:s,s:s,s:s,s:i,s:s}", "id", id, "vif_id", nic->port, "type", "bridge",
						       "mtu", (int)nic->mtu, "ethernet_mac_address", nic->mac));
		json_array_append_new(networks, network_of(nic, i, id));
		json_array_extend(services, dns);
		json_decref(dns);
	}
	put_json(json_pack("{s:o,s:o,s:o}", "links", links, "networks", networks, "services", services), out);
}

/* ---- the EC2 tree */

static const char *const ec2_versions[] = { "latest", "1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
	"2008-02-01", "2008-09-01", "2009-04-04" };

static void put_ami(const struct imds *m, unsigned version, FILE *out)
{
	fprintf(out, "ami-%08" PRIx64, m->image);
}

static void put_index(const struct imds *m, unsigned version, FILE *out)
{
	fputs("0", out);
}

static void put_manifest(const struct imds *m, unsigned version, FILE *out)
{
	fputs("FIXME", out);	/* the very value Nova answers for ami-manifest-path: part of the interface, nothing of ours is open */
}

static void put_disk(const struct imds *m, unsigned version, FILE *out)
{
	fputs("vda", out);
}

static void put_root(const struct imds *m, unsigned version, FILE *out)
{
	fputs("/dev/vda", out);
}

static void put_action(const struct imds *m, unsigned version, FILE *out)
{
	fputs("none", out);
}

static void put_instance(const struct imds *m, unsigned version, FILE *out)
{
	fprintf(out, "i-%08" PRIx64, m->server);
}

static void put_flavor(const struct imds *m, unsigned version, FILE *out)
{
	fputs(m->flavor, out);
}

static void put_address(const struct imds *m, unsigned version, FILE *out)
{
	fputs(m->n_nics ? m->nics[0].address : "", out);
}

static void put_zone(const struct imds *m, unsigned version, FILE *out)
{
	fputs(IMDS_ZONE, out);
}

static void put_nothing(const struct imds *m, unsigned version, FILE *out)
{
}

static void put_key(const struct imds *m, unsigned version, FILE *out)
{
	fputs(m->key_data, out);
}

static void put_reservation(const struct imds *m, unsigned version, FILE *out)
{
	fprintf(out, "r-%.8s", m->uuid);
}

static void put_groups(const struct imds *m, unsigned version, FILE *out)
{
	fputs("default", out);
}

/* ---- both, as one tree of numbered nodes */

struct item {		/* in the directory of a version; sorted by name within its own directory */
	uint8_t no, up;	/* 1..stride - 1; 0 is the version's directory */
	const char *name;
	uint8_t since;	/* version */
	void (*put)(const struct imds *m, unsigned version, FILE *out);	/* NULL: a directory */
	bool (*there)(const struct imds *m);	/* NULL: always */
	bool json;
};

static const struct item os_items[] = {
	{ 1, 0, "meta_data.json", FOLSOM, put_meta_data, NULL, true },
	{ 2, 0, "user_data", FOLSOM, put_user_data, has_user_data },
	{ 3, 0, "password", GRIZZLY, put_password },
	{ 4, 0, "vendor_data.json", HAVANA, put_vendor_data, NULL, true },
	{ 5, 0, "network_data.json", LIBERTY, put_network_data, NULL, true },
	{ 6, 0, "vendor_data2.json", NEWTON_TWO, put_vendor_data2, NULL, true },
	{ 0 }
};
#define OS_PASSWORD 3

static const struct item ec2_items[] = {
	{ 1, 0, "meta-data", 1, NULL },
	{ 2, 0, "user-data", 1, put_user_data, has_user_data },
	{ 3, 1, "ami-id", 1, put_ami },
	{ 4, 1, "ami-launch-index", 1, put_index },
	{ 5, 1, "ami-manifest-path", 1, put_manifest },
	{ 6, 1, "block-device-mapping", 6, NULL },
	{ 7, 6, "ami", 6, put_disk },
	{ 8, 6, "root", 6, put_root },
	{ 9, 1, "hostname", 1, put_hostname },
	{ 10, 1, "instance-action", 8, put_action },
	{ 11, 1, "instance-id", 1, put_instance },
	{ 12, 1, "instance-type", 4, put_flavor },
	{ 13, 1, "local-hostname", 2, put_hostname },
	{ 14, 1, "local-ipv4", 1, put_address },
	{ 15, 1, "placement", 7, NULL },
	{ 16, 15, "availability-zone", 7, put_zone },
	{ 17, 1, "public-hostname", 2, put_hostname },
	{ 18, 1, "public-ipv4", 2, put_nothing },
	{ 19, 1, "public-keys", 1, NULL, has_key },
	{ 20, 19, "0", 1, NULL, has_key },
	{ 21, 20, "openssh-key", 1, put_key, has_key },
	{ 22, 1, "reservation-id", 1, put_reservation },
	{ 23, 1, "security-groups", 1, put_groups },
	{ 0 }
};
#define EC2_META 1
#define EC2_USER_DATA 2
#define EC2_KEYS 19
#define EC2_DRIVE_SINCE 9	/* Nova leaves the versions before out of the drive */

static const struct family {
	unsigned dir, base, stride, n_versions;
	const char *const *versions;
	const struct item *items;
} families[] = {
	{ IMDS_OPENSTACK, 256, 16, ARRAY_LEN(os_versions), os_versions, os_items },
	{ IMDS_TOP, 1024, 64, ARRAY_LEN(ec2_versions), ec2_versions, ec2_items },
};
#define OS (&families[0])
#define EC2 (&families[1])

struct place {	/* a node below a version */
	const struct family *f;
	unsigned index, version;	/* index 0 means the newest version */
	unsigned local;
	const struct item *item;	/* NULL: the version's directory */
};

static bool place_of(unsigned no, struct place *ret)
{
	for (size_t i = 0; i < ARRAY_LEN(families); i++) {
		const struct family *f = &families[i];

		if (no < f->base || no >= f->base + f->stride * f->n_versions)
			continue;
		*ret = (struct place){ .f = f, .index = (no - f->base) / f->stride, .local = (no - f->base) % f->stride };
		ret->version = ret->index ? ret->index : f->n_versions - 1;
		for (const struct item *it = f->items; it->name && !ret->item; it++)
			if (it->no == ret->local)
				ret->item = it;
		return !ret->local || ret->item;
	}
	return false;
}

static unsigned number(const struct family *f, unsigned index, unsigned local)
{
	return f->base + index * f->stride + local;
}

bool imds_is_dir(unsigned no)
{
	struct place p;

	return no == IMDS_TOP || no == IMDS_OPENSTACK || (place_of(no, &p) && (!p.item || !p.item->put));
}

unsigned imds_parent(unsigned no)
{
	struct place p;

	if (!place_of(no, &p))
		return IMDS_TOP;
	return p.local ? number(p.f, p.index, p.item->up) : p.f->dir;
}

static int each_version(const struct family *f, imds_fn *fn, void *arg)
{
	for (unsigned i = 1; i <= f->n_versions; i++) {		/* latest is the last */
		unsigned index = i % f->n_versions;
		int rc = fn(arg, f->versions[index], number(f, index, 0), index);

		if (rc)
			return rc;
	}
	return 0;
}

static bool in_version(const struct imds *m, const struct item *it, unsigned version)
{
	return version >= it->since && (!it->there || it->there(m));
}

int imds_each(const struct imds *m, unsigned dir, imds_fn *fn, void *arg)
{
	struct place p;
	int rc = 0;

	if (dir == IMDS_TOP && (rc = fn(arg, "openstack", IMDS_OPENSTACK, false)))
		return rc;
	if (dir == IMDS_TOP || dir == IMDS_OPENSTACK)
		return each_version(dir == IMDS_TOP ? EC2 : OS, fn, arg);
	if (!place_of(dir, &p))
		return 0;
	for (const struct item *it = p.f->items; it->name && rc == 0; it++)
		if (it->up == p.local && in_version(m, it, p.version))
			rc = fn(arg, it->name, number(p.f, p.index, it->no), false);
	return rc;
}

struct seek {
	const char *name;
	size_t len;
	int no;
};

static int match(void *arg, const char *name, unsigned no, bool old)
{
	struct seek *s = arg;

	if (strlen(name) != s->len || memcmp(name, s->name, s->len) != 0)
		return 0;
	s->no = (int)no;
	return 1;
}

int imds_find(const struct imds *m, const char *path)
{
	unsigned at = IMDS_TOP;
	bool first = true;

	for (;;) {
		path += strspn(path, "/");
		struct seek s = { path, strcspn(path, "/"), -1 };

		path += s.len;
		if (!s.len)
			return (int)at;
		if (s.len == 1 && *s.name == '.')
			continue;
		if (s.len == 2 && memcmp(s.name, "..", 2) == 0) {
			at = imds_parent(at);
			first |= at == IMDS_TOP;
			continue;
		}
		if (first && s.len == 3 && memcmp(s.name, "ec2", 3) == 0) {	/* another name of the top */
			first = false;
			continue;
		}
		first = false;
		if (!imds_is_dir(at) || !imds_each(m, at, match, &s))
			return -1;
		at = (unsigned)s.no;
	}
}

void imds_put(const struct imds *m, unsigned no, FILE *out)
{
	struct place p;

	if (place_of(no, &p) && p.item && p.item->put && in_version(m, p.item, p.version))
		p.item->put(m, p.version, out);
}

/* ---- what the service answers */

struct listing {
	const struct imds *m;
	unsigned dir;
	FILE *out;
	bool any;
};

/* As Nova prints a dictionary; the names of keys stand beside their numbers. */
static int list_one(void *arg, const char *name, unsigned no, bool old)
{
	struct listing *l = arg;
	struct place p;
	bool below = place_of(l->dir, &p);

	if (no == IMDS_OPENSTACK)	/* it is not EC2's */
		return 0;
	fputs(l->any ? "\n" : "", l->out);
	l->any = true;
	if (below && p.f == EC2 && p.local == EC2_KEYS)
		fprintf(l->out, "%s=%s", name, l->m->key_name && *l->m->key_name ? l->m->key_name : "key");
	else
		fprintf(l->out, "%s%s", name, below && imds_is_dir(no) ? "/" : "");
	return 0;
}

static void refuse(struct imds_reply *r, int status, const char *why)
{
	free(r->body);
	*r = (struct imds_reply){ .status = status, .type = "text/plain; charset=UTF-8", .body = strdup(why) };
	r->len = r->body ? strlen(r->body) : 0;
}

static void fill(const struct imds *m, unsigned no, struct imds_reply *r)
{
	FILE *out = open_memstream(&r->body, &r->len);
	struct listing l = { .m = m, .dir = no, .out = out };

	if (!out) {
		refuse(r, 500, "Internal Server Error");
		return;
	}
	if (imds_is_dir(no))
		imds_each(m, no, list_one, &l);
	else
		imds_put(m, no, out);
	if (fclose(out) != 0)
		refuse(r, 500, "Internal Server Error");
}

static void answer_post(const struct imds *m, size_t body_len, struct imds_reply *r)
{
	if (m->password && *m->password)
		refuse(r, 409, "Conflict: the password is set");
	else if (body_len > IMDS_PASSWORD_MAX)
		refuse(r, 400, "Bad Request: Request is too large.");
	else
		r->set_password = body_len > 0;
}

void imds_answer(const struct imds *m, const char *method, const char *path, size_t body_len, struct imds_reply *ret)
{
	bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
	int no = imds_find(m, path);
	struct place p = { 0 };

	*ret = (struct imds_reply){ .status = 200, .type = "text/plain; charset=UTF-8" };
	bool below = no >= 0 && place_of((unsigned)no, &p);

	if (no < 0) {
		refuse(ret, 404, "Not Found");
	} else if (below && p.f == OS && p.local == OS_PASSWORD && !get) {
		if (strcmp(method, "POST") == 0)
			answer_post(m, body_len, ret);
		else
			refuse(ret, 405, "GET and POST only are supported.");
	} else if (!get) {
		refuse(ret, 405, "GET only is supported.");
	} else {
		if (below && p.item && p.item->json)
			ret->type = "application/json";
		fill(m, (unsigned)no, ret);
	}
}

/* ---- the config drive */

static int drive_file(const struct imds *m, const char *path, unsigned no, imds_drive_fn *fn, void *arg)
{
	struct imds_reply r = { 0 };

	fill(m, no, &r);
	int rc = r.status ? -ENOMEM : fn(arg, path, r.body, r.len);
	free(r.body);
	return rc;
}

/* EC2's dictionary as one document. */
static json_t *ec2_json(const struct imds *m, unsigned index, unsigned dir)
{
	unsigned version = index ? index : EC2->n_versions - 1;
	json_t *j = json_object();

	for (const struct item *it = ec2_items; it->name; it++) {
		AUTO(free) char *text = NULL;
		size_t len;
		FILE *out = NULL;

		if (it->up != dir || !in_version(m, it, version))
			continue;
		if (!it->put) {
			json_object_set_new(j, it->name, ec2_json(m, index, it->no));
			continue;
		}
		if (!(out = open_memstream(&text, &len)))
			continue;
		it->put(m, version, out);
		fclose(out);
		if (strcmp(it->name, "security-groups") == 0)
			json_object_set_new(j, it->name, json_pack("[s]", text));
		else if (strcmp(it->name, "ami-launch-index") == 0)
			json_object_set_new(j, it->name, json_integer(atoi(text)));
		else
			add_text(j, it->name, text);
	}
	return j;
}

int imds_drive(const struct imds *m, imds_drive_fn *fn, void *arg)
{
	char path[96];
	int rc = 0;

	for (unsigned v = 0; v < EC2->n_versions && rc == 0; v++) {
		if (v && v < EC2_DRIVE_SINCE)
			continue;
		json_t *j = ec2_json(m, v, EC2_META);
		AUTO(free) char *text = json_dumps(j, 0);

		json_decref(j);
		snprintf(path, sizeof path, "ec2/%s/meta-data.json", ec2_versions[v]);
		rc = text ? fn(arg, path, text, strlen(text)) : -ENOMEM;
		snprintf(path, sizeof path, "ec2/%s/user-data", ec2_versions[v]);
		if (rc == 0 && m->user_data)
			rc = drive_file(m, path, number(EC2, v, EC2_USER_DATA), fn, arg);
	}
	for (unsigned v = 0; v < OS->n_versions && rc == 0; v++)
		for (const struct item *it = os_items; it->name && rc == 0; it++) {
			if (it->no == OS_PASSWORD || !in_version(m, it, v ? v : OS->n_versions - 1))
				continue;
			snprintf(path, sizeof path, "openstack/%s/%s", os_versions[v], it->name);
			rc = drive_file(m, path, number(OS, v, it->no), fn, arg);
		}
	return rc;
}
