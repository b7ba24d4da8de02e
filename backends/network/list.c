/* What stands on this machine under a store's names: the look the other way round, from the world to who may not know it. */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

AUTO_FN(DIR *, closedir);

struct list {
	const struct net_names *n;
	void (*fn)(void *arg, const struct net_found *f);
	void *arg;
};

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

/* A namespace may go while it is being looked into: then it has nothing. */
static int list_links(struct list *l, const char *netns, struct err *e)
{
	AUTO(side_close) struct side s = { 0 };
	AUTO(free) struct link_named *v = NULL;
	AUTO(close) int fd = -1;
	size_t n = 0;
	int rc = *netns ? ns_open(netns, &fd, e) : 0;

	if (rc == -ENOENT)
		return 0;
	if (rc < 0 || (rc = side_open(fd, false, &s, e)) < 0 || (rc = link_list(s.rt, &v, &n, e)) < 0)
		return rc;
	for (size_t i = 0; i < n; i++)
		if (begins(v[i].name, l->n->link))
			l->fn(l->arg, &(struct net_found){ .what = NET_LINK, .netns = netns, .name = v[i].name });
	return 0;
}

static int list_dir(struct list *l, const char *dir, enum net_thing what, struct err *e)
{
	AUTO(closedir) DIR *d = opendir(dir);
	int rc = 0;

	if (!d)
		return errno == ENOENT ? 0 : err_set(e, errno, "open %s: %m", dir);
	for (struct dirent *de; rc == 0 && (de = readdir(d)); ) {
		if (!begins(de->d_name, l->n->netns))
			continue;
		l->fn(l->arg, &(struct net_found){ .what = what, .netns = de->d_name, .name = de->d_name });
		if (what == NET_NAMESPACE)
			rc = list_links(l, de->d_name, e);
	}
	return rc;
}

static void on_dnsmasq(void *arg, pid_t pid, const char *name)
{
	struct list *l = arg;

	l->fn(l->arg, &(struct net_found){ .what = NET_DNSMASQ, .netns = "", .name = name, .pid = pid });
}

static int list_table(struct list *l, struct err *e)
{
	AUTO(side_close) struct side host = { 0 };
	char command[128];
	int rc = side_open(-1, true, &host, e);

	snprintf(command, sizeof command, "list table inet %s\n", l->n->table);
	if (rc == 0 && nft_run(host.nft, command, &(struct err){ 0 }) == 0)
		l->fn(l->arg, &(struct net_found){ .what = NET_TABLE, .netns = "", .name = l->n->table });
	return rc;
}

int net_list(const struct net_names *n, void (*fn)(void *arg, const struct net_found *f), void *arg, struct err *e)
{
	struct list l = { n, fn, arg };
	int rc = list_dir(&l, NETNS_DIR, NET_NAMESPACE, e);

	if (rc == 0)
		rc = list_links(&l, "", e);
	if (rc == 0)
		rc = list_dir(&l, DNS_RUN_DIR, NET_DNS_DIR, e);
	if (rc == 0)
		rc = dnsmasq_list(n->dirs, on_dnsmasq, &l, e);
	return rc < 0 ? rc : list_table(&l, e);
}

int net_link_delete(const char *link, struct err *e)
{
	AUTO(side_close) struct side host = { 0 };
	int rc = side_open(-1, false, &host, e);

	return rc < 0 ? rc : link_delete(host.rt, link, e);
}
