/* What this machine's kernel can do for networks, found out by doing it: in a namespace that has no name and ends with the
 * thread that made it.  And what somebody else's firewall would do to guests, read from its rules. */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "../base/spawn.h"

AUTO_FN(json_t *, json_decref);

static int try_name(struct err *e)
{
	/* in a mount namespace of this thread's own, where nobody sees the name */
	if (unshare(CLONE_NEWNS) < 0)
		return err_set(e, errno, "make a mount namespace: %m");
	if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)	/* below a chroot others would see it: left untried */
		return errno == EINVAL ? 0 : err_set(e, errno, "make a mount namespace: %m");
	if (mount("none", "/run", "tmpfs", 0, NULL) < 0)
		return err_set(e, errno, "mount something on /run: %m");
	AUTO(close) int fd = open("/run/name", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || mount("/proc/thread-self/ns/net", "/run/name", "none", MS_BIND, NULL) < 0)
		return err_set(e, errno, "give a network namespace a name: %m");
	return 0;
}

static int try_bridge(struct err *e)
{
	AUTO(side_close) struct side s = { 0 };
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };

	if (side_open(-1, false, &s, e) < 0 || link_add_bridge(s.rt, NET_BRIDGE, mac, 1500, e) < 0)
		return -e->code;
	return link_set(s.rt, NET_BRIDGE, &(struct link_change){ .up = 1 }, e);
}

static int try_veth(struct err *e)
{
	AUTO(side_close) struct side s = { 0 };
	AUTO(close) int here = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

	if (here < 0)
		return err_set(e, errno, "open /proc/thread-self/ns/net: %m");
	if (side_open(-1, false, &s, e) < 0)
		return -e->code;
	return link_add_veth(s.rt, "try0", NS_LINK, here, 1500, e);
}

static int try_tap(struct err *e)
{
	return tap_create("try1", NULL, 1500, e);
}

static int try_rules(int (*make)(struct rules *ret, struct err *e), struct err *e)
{
	AUTO(rules_free) struct rules r = { 0 };
	AUTO(side_close) struct side s = { 0 };
	int rc = side_open(-1, true, &s, e);

	return rc < 0 || (rc = make(&r, e)) < 0 ? rc : nft_put(s.nft, &r, e);
}

static int rules_plain(struct rules *ret, struct err *e)
{
	return rules_host(ret, "try", "try", "", false, e);
}

static int rules_fib(struct rules *ret, struct err *e)
{
	return rules_host(ret, "try", "try", "", true, e);
}

static int rules_guard(struct rules *ret, struct err *e)
{
	return rules_bridge(ret, false, e);
}

static int try_nat(struct err *e)
{
	int rc = try_rules(rules_inside, e);

	return rc < 0 ? rc : try_rules(rules_plain, e);
}

static int try_fib(struct err *e)
{
	return try_rules(rules_fib, e);
}

static int try_bridge_filter(struct err *e)
{
	return try_rules(rules_guard, e);
}

static int try_forwarding(struct err *e)
{
	const struct sysctl on = { "ipv4/ip_forward", "1", false };
	struct err off = { 0 };
	int rc = sysctl_apply(-1, &on, 1, false, &off);

	if (rc == -ENOENT && access("/proc/sys/net/ipv4/ip_forward", W_OK) < 0)	/* a container's /proc/sys, as a rule */
		return err_set(e, errno, "ip_forward is off and cannot be set: %m");
	return rc == -ENOENT ? 0 : rc < 0 ? err_set(e, off.code, "%s", off.msg) : 0;
}

static const struct {
	int (*try)(struct err *e);
	bool outside;	/* in the host's namespace: it only reads */
} needs[] = {
	[NET_NEED_NAMESPACE] = { try_name }, [NET_NEED_BRIDGE] = { try_bridge }, [NET_NEED_VETH] = { try_veth }, [NET_NEED_TAP] = { try_tap },
	[NET_NEED_NAT] = { try_nat }, [NET_NEED_FIB] = { try_fib }, [NET_NEED_BRIDGE_FILTER] = { try_bridge_filter },
	[NET_NEED_FORWARDING] = { try_forwarding, true },
};

static int in_scratch(void *arg, struct err *e)
{
	if (unshare(CLONE_NEWNET) < 0)
		return err_set(e, errno, "make a network namespace: %m");
	return needs[*(enum net_need *)arg].try(e);
}

int net_probe(enum net_need need, struct err *e)
{
	return needs[need].outside ? needs[need].try(e) : ns_run(-1, in_scratch, &need, e);
}

/* ---- other firewalls.  A packet goes on only when every base chain of a hook lets it: what ours accepts, another may drop. */

static const char *word(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

static bool same_table(const json_t *a, const json_t *b)
{
	return strcmp(word(a, "family"), word(b, "family")) == 0 && strcmp(word(a, "table"), word(b, "table")) == 0;
}

/* A rule that asks nothing and lets nothing pass. */
static bool drops_all(const json_t *rule)
{
	json_t *expr = json_object_get(rule, "expr"), *x;
	bool drops = false;
	size_t i;

	json_array_foreach(expr, i, x) {
		if (json_object_get(x, "drop") || json_object_get(x, "reject"))
			drops = true;
		else if (!json_object_get(x, "counter"))
			return false;
	}
	return drops;
}

/* Somebody has thought of us there: a rule of that table names our links. */
static bool names_us(json_t *all, const json_t *chain)
{
	size_t i;
	json_t *item;

	json_array_foreach(all, i, item) {
		json_t *r = json_object_get(item, "rule");
		AUTO(free) char *text = r && same_table(r, chain) ? json_dumps(r, JSON_COMPACT) : NULL;

		if (text && strstr(text, "\"cfs"))
			return true;
	}
	return false;
}

static bool closed(json_t *all, const json_t *chain)
{
	const json_t *last = NULL;
	size_t i;
	json_t *item;

	if (strcmp(word(chain, "policy"), "drop") == 0)
		return true;
	json_array_foreach(all, i, item) {
		json_t *r = json_object_get(item, "rule");

		if (r && same_table(r, chain) && strcmp(word(r, "chain"), word(chain, "name")) == 0)
			last = r;
	}
	return last && drops_all(last);
}

/* Docker leaves a chain to the administrator, before its own. */
static bool has_chain(json_t *all, const json_t *beside, const char *name)
{
	size_t i;
	json_t *item;

	json_array_foreach(all, i, item) {
		json_t *c = json_object_get(item, "chain");

		if (c && same_table(c, beside) && strcmp(word(c, "name"), name) == 0)
			return true;
	}
	return false;
}

static int say_closed(json_t *all, const json_t *chain, struct err *e)
{
	const char *at = has_chain(all, chain, "DOCKER-USER") ? "DOCKER-USER" : word(chain, "name");
	char rule[200];

	snprintf(rule, sizeof rule, "nft insert rule %s %s %s", word(chain, "family"), word(chain, "table"), at);
	return err_set(e, EPERM, "chain %s of nftables' table %s %s drops what it does not know, guests' packets too; let them pass: "
		       "%s iifname 'cfs*' accept; %s oifname 'cfs*' ct state established,related accept", word(chain, "name"),
		       word(chain, "family"), word(chain, "table"), rule, rule);
}

static int look_nft(struct err *e)
{
	AUTO(side_close) struct side s = { 0 };
	AUTO(free) char *text = NULL;
	size_t i;
	json_t *item;

	if (side_open(-1, true, &s, e) < 0 || nft_ask(s.nft, "list ruleset\n", &text, e) < 0)
		return -e->code;
	AUTO(json_decref) json_t *root = json_loads(text, 0, NULL);
	json_t *all = json_object_get(root, "nftables");

	json_array_foreach(all, i, item) {
		json_t *c = json_object_get(item, "chain");

		if (c && strcmp(word(c, "hook"), "forward") == 0 && (strcmp(word(c, "family"), "ip") == 0 || strcmp(word(c, "family"), "inet") == 0) &&
		    strncmp(word(c, "table"), "cfs", 3) != 0 && closed(all, c) && !names_us(all, c))
			return say_closed(all, c, e);
	}
	return 0;
}

/* The older iptables keeps its tables where nftables does not see them. */
static int look_legacy(struct err *e)
{
	AUTO(free) char *names = slurp("/proc/net/ip_tables_names"), *rules = NULL;
	const char *const argv[] = { "iptables-legacy", "-S", "FORWARD", NULL };
	const struct spawn s = { .argv = argv };
	struct err ignored = { 0 };

	if (!names || !strstr(names, "filter") || !spawn_found(argv[0]) || spawn_run(&s, &rules, &ignored) < 0)
		return 0;
	if (!strstr(rules, "-P FORWARD DROP") || strstr(rules, " cfs"))
		return 0;
	return err_set(e, EPERM, "iptables drops what its chain FORWARD does not know, guests' packets too; let them pass: "
		       "iptables-legacy -I FORWARD -i cfs+ -j ACCEPT; iptables-legacy -I FORWARD -o cfs+ -m state --state ESTABLISHED,RELATED -j ACCEPT");
}

int net_probe_firewall(struct err *e)
{
	int rc = look_nft(e);

	return rc < 0 ? rc : look_legacy(e);
}
