/* Telling nftables, and reading back what it has.  libnftables keeps some tables for the process, so one caller at a time. */
#include "parts.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/ether.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"

atomic_bool nft_without_bridge;

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

AUTO_FN(json_t *, json_decref);

int nft_open(struct nft_ctx **ret, struct err *e)
{
	pthread_mutex_lock(&one_at_a_time);
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	bool ok = nft && nft_ctx_buffer_output(nft) == 0 && nft_ctx_buffer_error(nft) == 0;

	if (ok)
		nft_ctx_output_set_flags(nft, NFT_CTX_OUTPUT_JSON);
	else if (nft)
		nft_ctx_free(nft);
	pthread_mutex_unlock(&one_at_a_time);
	if (!ok)
		return err_set(e, EIO, "libnftables does not start");
	*ret = nft;
	return 0;
}

void nft_close(struct nft_ctx *nft)
{
	if (!nft)
		return;
	pthread_mutex_lock(&one_at_a_time);
	nft_ctx_free(nft);
	pthread_mutex_unlock(&one_at_a_time);
}

/* The first line of nft's complaint without its "Error: Could not process rule: ". */
static int refused(const char *said, struct err *e)
{
	static const int codes[] = { ENOENT, EPERM, EOPNOTSUPP, EAFNOSUPPORT, EEXIST, EBUSY, ENOMEM };
	const char *start = strstr(said, "Error: ");

	start = start ? start + 7 : said;
	if (strncmp(start, "Could not process rule: ", 24) == 0)
		start += 24;
	int len = (int)strcspn(start, "\n"), code = EIO;

	for (size_t i = 0; i < ARRAY_LEN(codes); i++)
		if (strncmp(start, strerror(codes[i]), strlen(strerror(codes[i]))) == 0)
			code = codes[i];
	return err_set(e, code, "nftables: %.*s", len, len ? start : "failed without a word");
}

static int run(struct nft_ctx *nft, const char *commands, char **out, struct err *e)
{
	int rc = 0;

	pthread_mutex_lock(&one_at_a_time);
	bool ok = nft_run_cmd_from_buffer(nft, commands) == 0;
	const char *got = nft_ctx_get_output_buffer(nft), *said = nft_ctx_get_error_buffer(nft);

	if (!ok)
		rc = refused(said ? said : "", e);
	else if (out && !(*out = strdup(got ? got : "")))
		rc = err_set(e, ENOMEM, "nftables: %m");
	pthread_mutex_unlock(&one_at_a_time);
	return rc;
}

int nft_run(struct nft_ctx *nft, const char *commands, struct err *e)
{
	return run(nft, commands, NULL, e);
}

int nft_ask(struct nft_ctx *nft, const char *commands, char **ret, struct err *e)
{
	return run(nft, commands, ret, e);
}

/* The array of objects of one table. */
static int list(struct nft_ctx *nft, const char *family, const char *table, json_t **ret, struct err *e)
{
	AUTO(free) char *text = NULL;
	char command[128];

	snprintf(command, sizeof command, "list table %s %s\n", family, table);
	int rc = run(nft, command, &text, e);

	if (rc == -ENOENT)
		return err_set(e, ENOENT, "there is no nftables table %s %s", family, table);
	if (rc < 0)
		return rc;
	AUTO(json_decref) json_t *root = json_loads(text, 0, NULL);
	json_t *all = json_object_get(root, "nftables");

	if (!json_is_array(all))
		return err_set(e, EIO, "nftables lists table %s %s in a way we cannot read", family, table);
	*ret = json_incref(all);
	return 0;
}

static const char *word(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

/* The nth rule's comment of a chain, NULL when it has fewer. */
static const char *tag_of(json_t *all, const char *chain, size_t nth)
{
	size_t i;
	json_t *item;

	json_array_foreach(all, i, item) {
		json_t *r = json_object_get(item, "rule");

		if (r && strcmp(word(r, "chain"), chain) == 0 && nth-- == 0)
			return word(r, "comment");
	}
	return NULL;
}

static size_t rules_before(const struct rules *r, size_t i)
{
	size_t n = 0;

	for (size_t j = 0; j < i; j++)
		n += strcmp(r->rule[j].chain, r->rule[i].chain) == 0;
	return n;
}

int nft_look(struct nft_ctx *nft, const struct rules *r, struct err *e)
{
	AUTO(json_decref) json_t *all = NULL;
	int rc = list(nft, r->family, r->name, &all, e);

	for (size_t i = 0; rc == 0 && i < r->n; i++) {
		const char *tag = tag_of(all, r->rule[i].chain, rules_before(r, i));
		bool last = true;

		for (size_t j = i + 1; j < r->n; j++)
			last = last && strcmp(r->rule[j].chain, r->rule[i].chain) != 0;
		if (!tag || strcmp(tag, r->rule[i].tag) != 0)
			rc = err_set(e, ENOENT, "nftables table %s %s: a rule of chain %s is missing", r->family, r->name,
				     r->rule[i].chain);
		else if (last && tag_of(all, r->rule[i].chain, rules_before(r, i) + 1))
			rc = err_set(e, ENOENT, "nftables table %s %s: chain %s has rules that are not ours", r->family,
				     r->name, r->rule[i].chain);
	}
	return rc;
}

int nft_put(struct nft_ctx *nft, const struct rules *r, struct err *e)
{
	AUTO(free) char *anew = NULL;
	struct err first = { 0 };

	if (nft_run(nft, r->text, &first) == 0)
		return 0;
	/* A chain or set of that name which is another kind of thing: the table begins anew. */
	if (asprintf(&anew, "add table %s %s\ndelete table %s %s\n%s", r->family, r->name, r->family, r->name, r->text) < 0) {
		anew = NULL;
		return err_set(e, ENOMEM, "nftables: %m");
	}
	int rc = nft_run(nft, anew, e);

	return rc < 0 ? err_prefix(e, "table %s %s", r->family, r->name) : 0;
}

static atomic_bool without_chaddr;

int nft_bridge_rules(struct rules *ret, struct err *e)
{
	return rules_bridge(ret, !without_chaddr, e);
}

/* 0: done, or cannot be done here; 1: once more, without. */
static int put_bridge(struct nft_ctx *nft, bool chaddr, struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	int rc = rules_bridge(&r, chaddr, e);

	if (rc < 0 || (rc = nft_put(nft, &r, e)) == 0 || rc == -EPERM || rc == -ENOMEM)
		return rc;
	return 1;
}

int nft_put_bridge(struct nft_ctx *nft, struct err *e)
{
	bool chaddr = !without_chaddr;
	int rc = put_bridge(nft, chaddr, e);

	if (rc == 1 && chaddr) {
		struct err why = *e;

		*e = (struct err){ 0 };
		if ((rc = put_bridge(nft, false, e)) == 0) {
			log_warn("nftables here cannot look into DHCP; guests can speak for others in it: %s", why.msg);
			without_chaddr = true;
		}
	}
	if (rc <= 0)
		return rc;
	log_warn("nftables here cannot filter on bridges; guests can use false addresses: %s", e->msg);
	nft_without_bridge = true;
	*e = (struct err){ 0 };
	return 0;
}

int nft_drop(struct nft_ctx *nft, const char *family, const char *table, struct err *e)
{
	char commands[256];

	snprintf(commands, sizeof commands, "add table %s %s\ndelete table %s %s\n", family, table, family, table);
	int rc = nft_run(nft, commands, e);

	return rc < 0 ? err_prefix(e, "delete table %s %s", family, table) : 0;
}

/* "tap0 . 52:54:00:00:00:01" of an element in JSON. */
static void element_text(json_t *elem, char *text, size_t size)
{
	json_t *parts = json_object_get(elem, "concat");
	size_t used = 0;

	snprintf(text, size, "%s", json_is_string(elem) ? json_string_value(elem) : "");
	for (size_t i = 0; i < json_array_size(parts) && used < size; i++) {
		json_t *part = json_array_get(parts, i);

		if (json_is_integer(part))	/* raw payload */
			used += (size_t)snprintf(text + used, size - used, " . 0x%012llx", (unsigned long long)json_integer_value(part));
		else
			used += (size_t)snprintf(text + used, size - used, "%s%s", i ? " . " : "", json_is_string(part) ? json_string_value(part) : "");
	}
}

static bool of_tap(const char *element, const char *tap)
{
	size_t n = strlen(tap);

	return strncmp(element, tap, n) == 0 && (element[n] == '\0' || element[n] == ' ');
}

static void put_element(FILE *out, const char *verb, const char *set, const char *element)
{
	int name = (int)strcspn(element, " ");

	fprintf(out, "%s element bridge " NS_TABLE " %s { \"%.*s\"%s }\n", verb, set, name, element, element + name);
}

static json_t *elements(json_t *all, const char *set)
{
	size_t i;
	json_t *item;

	json_array_foreach(all, i, item) {
		json_t *s = json_object_get(item, "set");

		if (s && strcmp(word(s, "name"), set) == 0)
			return json_object_get(s, "elem");
	}
	return NULL;
}

/* In one set: removes what stands there of the tap and is not `want`, adds `want` ("" for none) when it is missing. */
static void settle(json_t *all, const char *set, const char *tap, const char *want, FILE *out)
{
	char text[96];
	bool there = false;
	size_t i;
	json_t *elem;

	json_array_foreach(elements(all, set), i, elem) {
		element_text(elem, text, sizeof text);
		if (strcmp(text, want) == 0)
			there = true;
		else if (of_tap(text, tap))
			put_element(out, "delete", set, text);
	}
	if (*want && !there)
		put_element(out, "add", set, want);
}

int nft_tap(struct nft_ctx *nft, const char *tap, const char *mac, const struct in_addr *address, struct err *e)
{
	AUTO(json_decref) json_t *all = NULL;
	AUTO(free) char *commands = NULL;
	char ether[64] = "", raw[64] = "", both[96] = "", ip[INET_ADDRSTRLEN];
	struct ether_addr m;
	size_t size;

	if (mac && !ether_aton_r(mac, &m))
		return err_set(e, EINVAL, "'%s' is no MAC address", mac);
	if (mac) {
		const uint8_t *o = m.ether_addr_octet;

		snprintf(ether, sizeof ether, "%s . %02x:%02x:%02x:%02x:%02x:%02x", tap, o[0], o[1], o[2], o[3], o[4], o[5]);
		snprintf(raw, sizeof raw, "%s . 0x%02x%02x%02x%02x%02x%02x", tap, o[0], o[1], o[2], o[3], o[4], o[5]);
	}
	if (mac && address)
		snprintf(both, sizeof both, "%s . %s", ether, inet_ntop(AF_INET, address, ip, sizeof ip));
	int rc = list(nft, "bridge", NS_TABLE, &all, e);

	if (rc < 0)
		return rc;
	FILE *out = open_memstream(&commands, &size);

	if (!out)
		return err_set(e, ENOMEM, "nftables: %m");
	settle(all, "macs", tap, ether, out);
	settle(all, "addrs", tap, both, out);
	if (!without_chaddr)
		settle(all, "chaddrs", tap, raw, out);
	settle(all, "taps", tap, mac ? tap : "", out);
	if (fclose(out) != 0)
		return err_set(e, ENOMEM, "nftables: %m");
	return *commands ? nft_run(nft, commands, e) : 0;
}

static bool has_tap(json_t *all, const char *set, const char *tap)
{
	char text[96];
	json_t *elem;
	size_t i;

	json_array_foreach(elements(all, set), i, elem) {
		element_text(elem, text, sizeof text);
		if (of_tap(text, tap))
			return true;
	}
	return false;
}

static bool is_guarded(json_t *all, const char *tap)
{
	return has_tap(all, "taps", tap) && has_tap(all, "macs", tap) && (without_chaddr || has_tap(all, "chaddrs", tap));
}

int nft_tap_there(struct nft_ctx *nft, const char *tap)
{
	AUTO(json_decref) json_t *all = NULL;
	struct err none = { 0 };

	return list(nft, "bridge", NS_TABLE, &all, &none) == 0 && is_guarded(all, tap);
}

int nft_taps(struct nft_ctx *nft, char **ret, struct err *e)
{
	AUTO(json_decref) json_t *all = NULL;
	char *text = NULL;
	json_t *elem;
	size_t i, size;
	int rc = list(nft, "bridge", NS_TABLE, &all, e);

	if (rc < 0)
		return rc;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return err_set(e, ENOMEM, "nftables: %m");
	fputc(' ', out);
	json_array_foreach(elements(all, "taps"), i, elem)
		if (json_is_string(elem) && is_guarded(all, json_string_value(elem)) && has_tap(all, "addrs", json_string_value(elem)))
			fprintf(out, "%s ", json_string_value(elem));
	if (fclose(out) != 0) {
		free(text);
		return err_set(e, ENOMEM, "nftables: %m");
	}
	*ret = text;
	return 0;
}
