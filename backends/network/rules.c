/* The text given to nftables.  Every rule carries a digest of itself as its comment: what is listed back can then be compared
 * without knowing how this or that release of nft prints an expression. */
#include "parts.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct writer {
	struct rules *r;
	FILE *out;
	size_t size;
};

static uint32_t digest(const char *text)
{
	uint32_t h = 2166136261u;	/* FNV-1a */

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h;
}

static int begin(struct writer *w, struct rules *r, const char *family, const char *table, struct err *e)
{
	*r = (struct rules){ .family = family };
	*w = (struct writer){ .r = r };
	if (!*table || snprintf(r->name, sizeof r->name, "%s", table) >= (int)sizeof r->name ||
	    strspn(table, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != strlen(table))
		return err_set(e, EINVAL, "'%s' cannot be the name of an nftables table", table);
	w->out = open_memstream(&r->text, &w->size);
	if (!w->out)
		return err_set(e, ENOMEM, "write the rules: %m");
	fprintf(w->out, "add table %s %s\n", family, table);
	return 0;
}

static int end(struct writer *w, struct err *e)
{
	return fclose(w->out) == 0 ? 0 : err_set(e, ENOMEM, "write the rules: %m");
}

static void set(struct writer *w, const char *name, const char *type)
{
	fprintf(w->out, "add set %s %s %s { type %s; }\n", w->r->family, w->r->name, name, type);
}

/* `hook` is empty for a chain that is only jumped to. */
static void chain(struct writer *w, const char *name, const char *hook)
{
	fprintf(w->out, "add chain %s %s %s%s\nflush chain %s %s %s\n", w->r->family, w->r->name, name, hook,
		w->r->family, w->r->name, name);
}

static void __attribute__((format(printf, 3, 4))) rule(struct writer *w, const char *in, const char *fmt, ...)
{
	struct rule *r = &w->r->rule[w->r->n];
	char text[256];
	va_list ap;

	if (w->r->n == ARRAY_LEN(w->r->rule))
		abort();
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	snprintf(r->chain, sizeof r->chain, "%s", in);
	snprintf(r->tag, sizeof r->tag, "r%08x", digest(text));
	fprintf(w->out, "add rule %s %s %s %s comment \"%s\"\n", w->r->family, w->r->name, in, text, r->tag);
	w->r->n++;
}

static bool link_word(const char *s)
{
	return *s && strlen(s) <= LINK_NAME_MAX && !strpbrk(s, "\"\\*/ \t\n");
}

int rules_host(struct rules *ret, const char *table, const char *prefix, const char *uplink, bool fib, struct err *e)
{
	struct writer w;
	bool named = uplink && *uplink;
	const char *p = prefix;

	if (!link_word(p) || (named && !link_word(uplink)))
		return err_set(e, EINVAL, "'%s' cannot be a link's name", link_word(p) ? uplink : p);
	int rc = begin(&w, ret, "inet", table, e);

	if (rc < 0)
		return rc;
	/* Before any DNAT: what others publish on the host's addresses (containers) is the host's, too. */
	chain(&w, "prerouting", " { type filter hook prerouting priority -150; policy accept; }");
	if (fib)
		rule(&w, "prerouting", "iifname \"%s*\" fib daddr type local ct state new drop", p);
	/* Answers to what the host itself began are let in, errors about them with them. */
	chain(&w, "input", " { type filter hook input priority -10; policy accept; }");
	rule(&w, "input", "iifname \"%s*\" ct state established,related accept", p);
	rule(&w, "input", "iifname \"%s*\" drop", p);
	chain(&w, "forward", " { type filter hook forward priority -10; policy accept; }");
	rule(&w, "forward", "iifname \"%s*\" oifname \"%s*\" drop", p, p);
	rule(&w, "forward", "iifname \"%s*\" ip saddr 100.64.0.0/10 %s%s%saccept", p,
	     named ? "oifname \"" : "", named ? uplink : "", named ? "\" " : "");
	rule(&w, "forward", "iifname \"%s*\" drop", p);
	rule(&w, "forward", "oifname \"%s*\" ct state established,related accept", p);
	rule(&w, "forward", "oifname \"%s*\" drop", p);
	chain(&w, "postrouting", " { type nat hook postrouting priority 100; policy accept; }");
	rule(&w, "postrouting", "iifname \"%s*\" oifname %s\"%s%s\" masquerade", p,
	     named ? "" : "!= ", named ? uplink : p, named ? "" : "*");
	return end(&w, e);
}

int rules_inside(struct rules *ret, struct err *e)
{
	struct writer w;
	int rc = begin(&w, ret, "inet", NS_TABLE, e);

	if (rc < 0)
		return rc;
	chain(&w, "postrouting", " { type nat hook postrouting priority 100; policy accept; }");
	rule(&w, "postrouting", "oifname \"" NS_LINK "\" masquerade");
	return end(&w, e);
}

/* A DHCP client is asked for the MAC it speaks of (RFC 2131: chaddr, byte 28 of the message, which begins 8 bytes into UDP): else a
 * guest could give another's lease back, or decline it.  What is too short to have one falls through. */
static void dhcp_rules(struct writer *w)
{
	chain(w, "dhcp", "");
	rule(w, "dhcp", "iifname . ether saddr . ip saddr @addrs accept");
	rule(w, "dhcp", "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 accept");
	rule(w, "dhcp", "drop");
	rule(w, "guest", "ether type ip udp dport 67 iifname . @th,288,48 @chaddrs goto dhcp");
	rule(w, "guest", "ether type ip udp dport 67 drop");
}

/* Out of a tap in @taps come only frames of its own MAC; of IPv4 its own address and the first words of a DHCP client; of
 * ARP what it may say of itself (and its probe whether anybody has its address).  No IPv6, so no router advertisements; no
 * DHCP server.  Before anything else the bridge does, so neither the namespace nor another guest sees the frame. */
int rules_bridge(struct rules *ret, bool chaddr, struct err *e)
{
	struct writer w;
	int rc = begin(&w, ret, "bridge", NS_TABLE, e);

	if (rc < 0)
		return rc;
	set(&w, "taps", "ifname");
	set(&w, "macs", "ifname . ether_addr");
	set(&w, "addrs", "ifname . ether_addr . ipv4_addr");
	if (chaddr)
		fprintf(w.out, "add set bridge " NS_TABLE " chaddrs { typeof iifname . @th,288,48; }\n");
	chain(&w, "guest", "");
	chain(&w, "prerouting", " { type filter hook prerouting priority -300; policy accept; }");
	rule(&w, "guest", "iifname . ether saddr != @macs drop");
	rule(&w, "guest", "iifname . arp saddr ether . arp saddr ip @addrs accept");
	rule(&w, "guest", "arp operation request arp saddr ip 0.0.0.0 iifname . arp saddr ether . arp daddr ip @addrs accept");
	rule(&w, "guest", "ether type ip udp sport 67 drop");
	if (chaddr)
		dhcp_rules(&w);
	rule(&w, "guest", "iifname . ether saddr . ip saddr @addrs accept");
	if (!chaddr)
		rule(&w, "guest", "ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept");
	rule(&w, "guest", "drop");
	rule(&w, "prerouting", "iifname @taps goto guest");
	return end(&w, e);
}

void rules_free(struct rules *r)
{
	free(r->text);
	r->text = NULL;
}
