/* What a guest is told: each version's files and keys as Nova has them, listings, paths, the password, the drive. */
#include "../../fs/compute/imds.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../backends/block/iso.h"
#include "check.h"

static struct imds_pair meta[] = { { "hostname", "not this" }, { "role", "a \"web\"\\" } };
static struct imds_nic nics[] = {
	{ .mac = "fa:16:3e:00:00:01", .address = "10.0.0.11", .port = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", .network = "11111111-2222-4333-8444-555555555555",
	  .mtu = 1450, .prefix = 24, .gateway = "10.0.0.1", .dhcp = true, .dns = "10.0.0.1" },
	{ .mac = "fa:16:3e:00:00:02", .address = "192.168.7.2", .port = "baaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee", .network = "21111111-2222-4333-8444-555555555555",
	  .mtu = 1500, .prefix = 28, .dns = "9.9.9.9 1.1.1.1" },
};
static const struct imds full = {
	.server = 15, .image = 11, .uuid = "01234567-89ab-4cde-8f01-23456789abcd", .project = "98765432-89ab-4cde-8f01-23456789abcd", .name = "Web 1",
	.hostname = "web-1", .flavor = "m1.tiny", .key_name = "me", .key_data = "ssh-ed25519 AAAA me@desk", .user_data = "#!/bin/sh\n\0x",
	.user_data_len = 12, .password = "", .meta = meta, .n_meta = 2, .nics = nics, .n_nics = 2, .seed = { 1, 2, 3 },
};
static const struct imds bare = { .server = 1, .uuid = "01234567-89ab-4cde-8f01-23456789abcd", .hostname = "server", .name = "server" };

/* The answer's body, for one sentence of a test; good until the next but one. */
static const char *get(const struct imds *m, const char *path)
{
	static char *kept[4];
	static int n;
	struct imds_reply r;

	imds_answer(m, "GET", path, 0, &r);
	n = (n + 1) % 4;
	free(kept[n]);
	kept[n] = r.body;
	return r.status == 200 ? r.body : r.status == 404 ? "404" : "other";
}

static int status(const struct imds *m, const char *method, const char *path, size_t len, bool *set)
{
	struct imds_reply r;

	imds_answer(m, method, path, len, &r);
	free(r.body);
	if (set)
		*set = r.set_password;
	return r.status;
}

/* The keys of a JSON object, in their order. */
static const char *keys(const char *path)
{
	static char text[1024];
	json_t *j = json_loads(get(&full, path), 0, NULL), *v;
	const char *k;

	*text = '\0';
	json_object_foreach(j, k, v)
		snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", *text ? " " : "", k);
	json_decref(j);
	return text;
}

#define FOLSOM "uuid meta public_keys keys hostname name launch_index availability_zone"

static void meta_data_has_the_keys_of_its_version(void)
{
	static const struct { const char *version, *keys; } want[] = {
		{ "2012-08-10", FOLSOM }, { "2013-04-04", FOLSOM " random_seed" }, { "2013-10-17", FOLSOM " random_seed" },
		{ "2015-10-15", FOLSOM " random_seed project_id" }, { "2016-06-30", FOLSOM " random_seed project_id devices" },
		{ "2016-10-06", FOLSOM " random_seed project_id devices" }, { "2017-02-22", FOLSOM " random_seed project_id devices" },
		{ "2018-08-27", FOLSOM " random_seed project_id devices" },
		{ "2020-10-14", FOLSOM " random_seed project_id devices dedicated_cpus" },
		{ "2025-04-04", FOLSOM " random_seed project_id devices dedicated_cpus" },
		{ "latest", FOLSOM " random_seed project_id devices dedicated_cpus" },
	};

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		char path[80];

		snprintf(path, sizeof path, "/openstack/%s/meta_data.json", want[i].version);
		CHECK_STR(keys(path), want[i].keys);
	}
}

static void a_version_has_the_files_of_its_time(void)
{
	static const struct { const char *version, *files; } want[] = {
		{ "2012-08-10", "meta_data.json\nuser_data" }, { "2013-04-04", "meta_data.json\nuser_data\npassword" },
		{ "2013-10-17", "meta_data.json\nuser_data\npassword\nvendor_data.json" },
		{ "2015-10-15", "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json" },
		{ "2016-06-30", "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json" },
		{ "2016-10-06", "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json\nvendor_data2.json" },
		{ "latest", "meta_data.json\nuser_data\npassword\nvendor_data.json\nnetwork_data.json\nvendor_data2.json" },
	};
	char path[80];

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		snprintf(path, sizeof path, "/openstack/%s", want[i].version);
		CHECK_STR(get(&full, path), want[i].files);
	}
	CHECK_STR(get(&full, "/openstack/2012-08-10/password"), "404");
	CHECK_STR(get(&full, "/openstack/2015-10-15/vendor_data2.json"), "404");
	CHECK_STR(get(&bare, "/openstack/2012-08-10"), "meta_data.json");
	CHECK_STR(get(&bare, "/openstack/latest/user_data"), "404");
	CHECK_STR(get(&full, "/openstack"), "2012-08-10\n2013-04-04\n2013-10-17\n2015-10-15\n2016-06-30\n2016-10-06\n2017-02-22\n2018-08-27\n"
		  "2020-10-14\n2025-04-04\nlatest");
}

static void meta_data_says_who_it_is(void)
{
	json_t *j = json_loads(get(&full, "/openstack/latest/meta_data.json"), 0, NULL);
	const char *hostname, *name, *key, *role, *seed, *project;

	CHECK(json_unpack(j, "{s:s,s:s,s:{s:s},s:{s:s},s:s,s:s}", "hostname", &hostname, "name", &name, "public_keys", "me", &key, "meta",
			  "role", &role, "random_seed", &seed, "project_id", &project) == 0);
	CHECK_STR(hostname, "web-1.novalocal");
	CHECK_STR(name, "Web 1");
	CHECK_STR(key, full.key_data);
	CHECK_STR(role, "a \"web\"\\");
	CHECK_STR(project, full.project);
	CHECK_INT(strlen(seed), 684);
	json_decref(j);
	j = json_loads(get(&bare, "/openstack/latest/meta_data.json"), 0, NULL);
	CHECK(j && !json_object_get(j, "public_keys") && !json_object_get(j, "keys") && !json_object_get(j, "meta"));
	json_decref(j);
}

static void network_data_tells_each_nic(void)
{
	CHECK_STR(get(&full, "/openstack/latest/network_data.json"),
		  "{\"links\": [{\"id\": \"tapaaaaaaaa-bb\", \"vif_id\": \"aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\", \"type\": \"bridge\", \"mtu\": 1450, "
		  "\"ethernet_mac_address\": \"fa:16:3e:00:00:01\"}, {\"id\": \"tapbaaaaaaa-bb\", \"vif_id\": \"baaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee\", "
		  "\"type\": \"bridge\", \"mtu\": 1500, \"ethernet_mac_address\": \"fa:16:3e:00:00:02\"}], \"networks\": [{\"id\": \"network0\", "
		  "\"type\": \"ipv4_dhcp\", \"link\": \"tapaaaaaaaa-bb\", \"network_id\": \"11111111-2222-4333-8444-555555555555\"}, {\"id\": \"network1\", "
		  "\"type\": \"ipv4\", \"link\": \"tapbaaaaaaa-bb\", \"network_id\": \"21111111-2222-4333-8444-555555555555\", \"ip_address\": \"192.168.7.2\", "
		  "\"netmask\": \"255.255.255.240\", \"routes\": [], \"services\": [{\"type\": \"dns\", \"address\": \"9.9.9.9\"}, {\"type\": \"dns\", "
		  "\"address\": \"1.1.1.1\"}]}], \"services\": [{\"type\": \"dns\", \"address\": \"10.0.0.1\"}, {\"type\": \"dns\", \"address\": \"9.9.9.9\"}, "
		  "{\"type\": \"dns\", \"address\": \"1.1.1.1\"}]}");
	CHECK_STR(get(&full, "/openstack/latest/vendor_data.json"), "{}");
	CHECK_STR(get(&full, "/openstack/latest/vendor_data2.json"), "{\"static\": {}}");
}

static void ec2_lists_what_its_version_has(void)
{
	CHECK_STR(get(&full, "/"), "1.0\n2007-01-19\n2007-03-01\n2007-08-29\n2007-10-10\n2007-12-15\n2008-02-01\n2008-09-01\n2009-04-04\nlatest");
	CHECK_STR(get(&full, "/latest"), "meta-data/\nuser-data");
	CHECK_STR(get(&bare, "/latest/"), "meta-data/");
	CHECK_STR(get(&full, "/1.0/meta-data/"), "ami-id\nami-launch-index\nami-manifest-path\nhostname\ninstance-id\nlocal-ipv4\npublic-keys/\n"
		  "reservation-id\nsecurity-groups");
	CHECK_STR(get(&full, "/2007-12-15/meta-data"), "ami-id\nami-launch-index\nami-manifest-path\nblock-device-mapping/\nhostname\ninstance-id\n"
		  "instance-type\nlocal-hostname\nlocal-ipv4\npublic-hostname\npublic-ipv4\npublic-keys/\nreservation-id\nsecurity-groups");
	CHECK_STR(get(&bare, "/latest/meta-data"), "ami-id\nami-launch-index\nami-manifest-path\nblock-device-mapping/\nhostname\ninstance-action\n"
		  "instance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nplacement/\npublic-hostname\npublic-ipv4\nreservation-id\nsecurity-groups");
	CHECK_STR(get(&full, "/latest/meta-data/public-keys/"), "0=me");
	CHECK_STR(get(&full, "/latest/meta-data/public-keys/0"), "openssh-key");
	CHECK_STR(get(&full, "/latest/meta-data/public-keys/0/openssh-key"), full.key_data);
	CHECK_STR(get(&full, "/latest/meta-data/placement/availability-zone"), "nova");
	CHECK_STR(get(&full, "/latest/meta-data/block-device-mapping/root"), "/dev/vda");
	CHECK_STR(get(&full, "/latest/meta-data/instance-id"), "i-0000000f");
	CHECK_STR(get(&full, "/latest/meta-data/ami-id"), "ami-0000000b");
	CHECK_STR(get(&full, "/latest/meta-data/local-ipv4"), "10.0.0.11");
	CHECK_STR(get(&full, "/latest/meta-data/public-ipv4"), "");
	CHECK_STR(get(&full, "/latest/meta-data/instance-type"), "m1.tiny");
	CHECK_STR(get(&bare, "/latest/meta-data/public-keys/0/openssh-key"), "404");
}

static void paths_are_read_as_nova_does(void)
{
	static const char *const same[] = { "/latest/meta-data/hostname", "latest/meta-data/hostname", "//latest//meta-data/hostname/",
		"/ec2/latest/meta-data/hostname", "/./latest/../latest/meta-data/./hostname", "/../../latest/meta-data/hostname",
		"/openstack/../latest/meta-data/hostname" };
	static const char *const none[] = { "/latest/meta-data/hostname/x", "/ec2/ec2/latest", "/lates", "/latestx", "/latest/meta-data/0", "/...",
		"/openstack/1.0", "/log", "/log.1", "/openstack/latest/meta_data.json/..x", "/latest/meta-data\n" };

	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		CHECK_STR(get(&full, same[i]), "web-1.novalocal");
	for (size_t i = 0; i < ARRAY_LEN(none); i++)
		CHECK_STR(get(&full, none[i]), "404");
	CHECK_STR(get(&full, "/ec2"), get(&full, ""));
}

/* They are in inode numbers, which may not change from one version of the program to the next. */
static void numbers_stay(void)
{
	CHECK_INT(imds_find(&full, "/openstack"), 3);
	CHECK_INT(imds_find(&full, "/openstack/latest/meta_data.json"), 257);
	CHECK_INT(imds_find(&full, "/openstack/2025-04-04/vendor_data2.json"), 256 + 10 * 16 + 6);
	CHECK_INT(imds_find(&full, "/latest/meta-data/security-groups"), 1024 + 23);
	CHECK_INT(imds_find(&full, "/2009-04-04/meta-data/public-keys/0/openssh-key"), 1024 + 9 * 64 + 21);
}

struct walk {
	unsigned files, dirs, up;
};

static int visit(void *arg, const char *name, unsigned no, bool old)
{
	struct walk *w = arg, below = { .up = no };

	CHECK_INT(imds_parent(no), w->up);
	CHECK(no > 0 && no <= 4095);
	if (imds_is_dir(no)) {
		w->dirs++;
		imds_each(&full, no, visit, &below);
		w->dirs += below.dirs;
		w->files += below.files;
	} else {
		w->files++;
	}
	return 0;
}

static void every_node_knows_its_directory(void)
{
	struct walk w = { .up = 0 };

	imds_each(&full, IMDS_TOP, visit, &w);
	CHECK_INT(w.dirs, 1 + 11 + 10 * 4 + 4 + 5);	/* placement since 2008-02-01, block devices since 2007-12-15 */
	CHECK(w.files > 200);
}

static void the_password_is_set_once(void)
{
	struct imds taken = full;
	bool set;

	CHECK_INT(status(&full, "GET", "/openstack/latest/password", 0, &set), 200);
	CHECK_STR(get(&full, "/openstack/latest/password"), "");
	CHECK_INT(status(&full, "POST", "/openstack/latest/password", 1020, &set), 200);
	CHECK(set);
	CHECK_INT(status(&full, "POST", "/openstack/latest/password", 1021, &set), 400);
	CHECK(!set);
	CHECK_INT(status(&full, "PUT", "/openstack/latest/password", 3, &set), 405);
	CHECK_INT(status(&full, "POST", "/openstack/2012-08-10/password", 3, &set), 404);
	CHECK_INT(status(&full, "POST", "/openstack/latest/user_data", 3, &set), 405);
	CHECK_INT(status(&full, "DELETE", "/", 0, &set), 405);
	taken.password = (char *)"secret";
	CHECK_INT(status(&taken, "POST", "/openstack/latest/password", 3, &set), 409);
	CHECK(!set);
	CHECK_STR(get(&taken, "/openstack/2013-04-04/password"), "secret");
}

static char drive[4096];

static int note(void *arg, const char *path, const char *body, size_t len)
{
	snprintf(drive + strlen(drive), sizeof drive - strlen(drive), "%s %zu\n", path, len);
	if (strcmp(path, "openstack/latest/meta_data.json") == 0)
		CHECK_STR(body, get(arg, "/openstack/latest/meta_data.json"));
	return 0;
}

static void the_drive_holds_the_same_without_the_password(void)
{
	*drive = '\0';
	CHECK_INT(imds_drive(&full, note, (void *)&full), 0);
	CHECK(!strstr(drive, "password"));
	CHECK(strstr(drive, "openstack/2012-08-10/meta_data.json ") && strstr(drive, "openstack/latest/user_data 12\n"));
	CHECK(strstr(drive, "ec2/2009-04-04/meta-data.json ") && strstr(drive, "ec2/latest/user-data 12\n") && !strstr(drive, "ec2/1.0"));
	CHECK(!strstr(drive, "openstack/2012-08-10/vendor_data.json") && strstr(drive, "openstack/latest/vendor_data2.json 14\n"));
	*drive = '\0';
	CHECK_INT(imds_drive(&bare, note, (void *)&bare), 0);
	CHECK(!strstr(drive, "user"));
}

static int stop(void *arg, const char *path, const char *body, size_t len)
{
	return -EIO;
}

static int burn(void *arg, const char *path, const char *body, size_t len)
{
	struct err e = { 0 };

	return iso_add(arg, path, body, len, &e);
}

static void an_image_holds_all_under_its_label(void)
{
	char path[64] = "/tmp/test_imds.XXXXXX", label[33] = "", text[64] = "";
	int fd = mkstemp(path), found = 0;
	struct archive_entry *entry;
	struct iso *iso = NULL;
	struct err e = { 0 };

	CHECK_INT(imds_drive(&full, stop, NULL), -EIO);
	CHECK_INT(iso_begin(path, "a label far too long", 0, &iso, &e), -ENAMETOOLONG);
	CHECK_INT(iso_begin(path, "config-2", 1700000000, &iso, &e), 0);
	CHECK_INT(imds_drive(&full, burn, iso), 0);
	CHECK_INT(iso_end(iso, &e), 0);
	iso_free(iso);
	close(fd);
	fd = open(path, O_RDONLY);
	CHECK_INT(pread(fd, label, 32, 16 * 2048 + 40), 32);
	CHECK_STR(label, "config-2                        ");
	close(fd);
	struct archive *a = archive_read_new();
	archive_read_support_format_all(a);
	CHECK_INT(archive_read_open_filename(a, path, 10240), ARCHIVE_OK);
	while (archive_read_next_header(a, &entry) == ARCHIVE_OK) {
		if (strcmp(archive_entry_pathname(entry), "openstack/2020-10-14/user_data") != 0)
			continue;
		CHECK_INT(archive_read_data(a, text, sizeof text), 12);
		CHECK(memcmp(text, full.user_data, 12) == 0);
		found++;
	}
	archive_read_free(a);
	CHECK_INT(found, 1);
	CHECK_INT(iso_begin(path, "config-2", 0, &iso, &e), 0);	/* given up */
	iso_free(iso);
	CHECK_INT(access(path, F_OK), 0);
	unlink(path);
	strcat(path, ".new");
	CHECK_INT(access(path, F_OK), -1);
}

int main(void)
{
	RUN(meta_data_has_the_keys_of_its_version);
	RUN(a_version_has_the_files_of_its_time);
	RUN(meta_data_says_who_it_is);
	RUN(network_data_tells_each_nic);
	RUN(ec2_lists_what_its_version_has);
	RUN(paths_are_read_as_nova_does);
	RUN(numbers_stay);
	RUN(every_node_knows_its_directory);
	RUN(the_password_is_set_once);
	RUN(the_drive_holds_the_same_without_the_password);
	RUN(an_image_holds_all_under_its_label);
	return DONE();
}
