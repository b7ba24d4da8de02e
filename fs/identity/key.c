/* Keys: ssh public keys as ordinary small files. */
#include <errno.h>
#include <string.h>

#include "../cloud.h"
#include "../tree/value.h"

static const char key_types[] = "ssh-rsa ssh-ed25519 ecdsa-sha2-nistp256 ecdsa-sha2-nistp384 ecdsa-sha2-nistp521 "
	"sk-ssh-ed25519@openssh.com sk-ecdsa-sha2-nistp256@openssh.com";

/* TYPE BASE64 [COMMENT]; the blob begins with its own length and type again (RFC 4253, 6.6). */
static int check_key(struct call *c, struct obj *o, const char *text, struct err *e)
{
	char type[64], b64[16384];
	size_t len;

	if (text_check(text, strlen(text), false, e) < 0)
		return -e->code;
	if (sscanf(text, "%63s %16383s", type, b64) != 2 || !word_in(key_types, type))
		return err_set(e, EINVAL, "not an ssh public key: it would begin with one of %s", key_types);
	AUTO(free) char *blob = base64_decode(b64, &len, e);
	size_t n = strlen(type);
	if (!blob || len < n + 8 || blob[0] || blob[1] || blob[2] || (unsigned char)blob[3] != n || memcmp(blob + 4, type, n) != 0)
		return err_set(e, EINVAL, "not an ssh public key: what follows %s is damaged", type);
	return 0;
}

static int create_key(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	return quota_check(c, o->row.tenant, "key-pairs", 1, e);
}

static const struct file key_files[] = {
	{ "data", .flags = F_PARAM | F_WRITE | F_NEEDED, .type = T_TEXT, .column = "data", .max = 20000, .check = check_key,
	  .help = "the public key, as ~/.ssh/id_ed25519.pub holds it" },
	{ 0 }
};

static const struct verb key_verbs[] = {
	{ "create", "DRAFT", .then = "ACTIVE", .begin = create_key, .help = "writing the file did it" },
	{ 0 }
};

const struct kind key_kind = {
	.no = 4, .name = "key", .dir = "keys", .parent = &tenant_kind, .table = "key", .flags = K_FILE, .files = key_files, .verbs = key_verbs,
	.help = "ssh public keys that servers are given", .example = "  cp ~/.ssh/id_ed25519.pub keys/me\n",
};
