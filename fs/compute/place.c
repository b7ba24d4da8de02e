#include "place.h"

#include <errno.h>
#include <string.h>

#include "../../backends/state/cloud.h"

struct choice {
	const struct need *n;
	int64_t best, best_free;
	FILE *lines;
	char short_why[360];
	unsigned hosts;
};

static bool lacks(char *why, size_t size, const char *what, const char *unit, int64_t have, int64_t used, int64_t need)
{
	if (have < 0 || used + need <= have)
		return false;
	snprintf(why, size, "%s: %ld%s of %ld%s free, %ld%s needed", what, (long)(have - used > 0 ? have - used : 0), unit, (long)have, unit,
		 (long)need, unit);
	return true;
}

/* The filters, in order; the first that refuses says why. */
static bool fits(const struct choice *ch, const struct host_row *h, char *why, size_t size)
{
	const struct need *n = ch->n;

	if (n->host && h->id != n->host) {
		snprintf(why, size, "another host was asked for");
		return false;
	}
	if (!h->up)
		snprintf(why, size, "down%s%s", *h->why ? ": " : "", h->why);
	else if (h->maintenance)
		snprintf(why, size, "in maintenance");
	else if (!h->enabled && !n->host)
		snprintf(why, size, "disabled");
	else if (n->host || (!lacks(why, size, "vcpus", "", h->vcpus, h->vcpus_used, n->vcpus) &&
			     !lacks(why, size, "ram", " MiB", h->ram, h->ram_used, n->ram) &&
			     !lacks(why, size, "disk", " GiB", h->disk, h->disk_used, n->disk)))
		return true;
	return false;
}

static int consider(void *arg, const struct host_row *h)
{
	struct choice *ch = arg;
	char why[400] = "";
	size_t len = strlen(ch->short_why);
	int64_t free_ram = h->ram < 0 ? -1 : h->ram - h->ram_used;	/* real machines before simulated ones */

	ch->hosts++;
	if (!fits(ch, h, why, sizeof why)) {
		put_word(ch->lines, h->name);
		fprintf(ch->lines, " no %s\n", why);
		snprintf(ch->short_why + len, sizeof ch->short_why - len, "%s%s: %s", len ? "; " : "", h->name, why);
		return 0;
	}
	put_word(ch->lines, h->name);
	fprintf(ch->lines, " yes %ld MiB free\n", (long)free_ram);
	if (!ch->best || free_ram > ch->best_free) {
		ch->best = h->id;
		ch->best_free = free_ram;
	}
	return 0;
}

int place(struct call *c, const struct need *n, int64_t *host, char **schedule, struct err *e)
{
	struct choice ch = { .n = n };
	struct obj o;
	size_t len;

	*schedule = NULL;
	ch.lines = open_memstream(schedule, &len);
	if (!ch.lines)
		return err_set(e, ENOMEM, "%m");
	int rc = host_list(c->db, consider, &ch, e);
	if (rc == 0 && ch.best && (rc = obj_by_id(c, ch.best, &o, e)) == 0) {
		put_word(ch.lines, o.row.name);
		fputs(" chosen\n", ch.lines);
	}
	fclose(ch.lines);
	if (rc < 0)
		return rc;
	if (!ch.best)
		return err_set(e, ENOSPC, "no host can take it: %s", ch.hosts ? ch.short_why : "there are no hosts");
	*host = ch.best;
	return 0;
}
