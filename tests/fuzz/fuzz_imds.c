/* What a guest asks of the metadata service: any method and path has an answer, the same when it is asked again, and what a directory lists is
 * there.  The first byte chooses the guest, the second the method.
 * make fuzz FUZZ=fuzz_imds; options: -max_len=128 -dict=tests/fuzz/imds.dict */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../fs/compute/imds.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct imds_pair meta[] = { { "role", "web" } };
static struct imds_nic nics[] = { { .mac = "fa:16:3e:00:00:01", .address = "10.0.0.11", .port = "p", .network = "n", .mtu = 1500, .prefix = 24, .dns = "10.0.0.1" } };
static const struct imds guests[] = {
	{ .server = 1, .uuid = "01234567-89ab-4cde-8f01-23456789abcd", .hostname = "bare", .name = "bare" },
	{ .server = 2, .uuid = "01234567-89ab-4cde-8f01-23456789abce", .hostname = "full", .name = "full", .flavor = "m1.tiny", .key_name = "me",
	  .key_data = "ssh-ed25519 AAAA", .user_data = "#!\0", .user_data_len = 3, .password = "set", .meta = meta, .n_meta = 1, .nics = nics, .n_nics = 1 },
};
static const char *const methods[] = { "GET", "HEAD", "POST", "PUT", "", "get" };

struct below {
	const struct imds *m;
	const char *path;
};

/* By the path it was asked for, and its name. */
static int is_there(void *arg, const char *name, unsigned no, bool old)
{
	struct below *b = arg;
	char path[1024];

	if (snprintf(path, sizeof path, "%s/%s", b->path, name) < (int)sizeof path && imds_find(b->m, path) != (int)no)
		abort();
	if (imds_parent(no) != (unsigned)imds_find(b->m, b->path))
		abort();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct imds_reply a, b;

	if (len < 2)
		return 0;
	const struct imds *m = &guests[data[0] % 2];
	const char *method = methods[data[1] % 6];
	AUTO(free) char *path = strndup((const char *)data + 2, len - 2);
	struct below below = { m, path };
	int no = imds_find(m, path);

	imds_answer(m, method, path, data[0] * 8u, &a);
	imds_answer(m, method, path, data[0] * 8u, &b);
	if (a.status != b.status || a.len != b.len || (a.len && memcmp(a.body, b.body, a.len) != 0) || a.set_password != b.set_password)
		abort();
	if ((a.status == 404) != (no < 0) || (a.status != 200 && a.status != 404 && a.status != 405 && a.status != 400 && a.status != 409))
		abort();
	if (a.set_password && (strcmp(method, "POST") != 0 || m == &guests[1] || data[0] * 8u > IMDS_PASSWORD_MAX))
		abort();
	if (no >= 0 && imds_is_dir((unsigned)no))
		imds_each(m, (unsigned)no, is_there, &below);
	free(a.body);
	free(b.body);
	return 0;
}
