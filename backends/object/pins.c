/* What is pinned: a table with a count for each chunk or node, and for each who pins the list of what it pinned.  All of it under the index's lock. */
#include "core.h"

#include <errno.h>
#include <string.h>

struct pinned {
	size_t cap, used;	/* a power of two; slots with a key, also those that are pinned no more */
	struct slot {
		int64_t what;	/* 0: free */
		uint32_t n;
	} *v;
};

static struct slot *seek(const struct pinned *t, int64_t what)
{
	size_t i = ((uint64_t)what * UINT64_C(0x9e3779b97f4a7c15)) >> 20 & (t->cap - 1);

	while (t->v[i].what && t->v[i].what != what)
		i = (i + 1) & (t->cap - 1);
	return &t->v[i];
}

/* Twice as large as what is pinned needs. */
static int make_room(struct objects *os, struct err *e)
{
	struct pinned *old = os->pinned, fresh = { .cap = 256 };
	size_t n = 0;

	for (size_t i = 0; old && i < old->cap; i++)
		n += old->v[i].n > 0;
	while (fresh.cap < n * 4)
		fresh.cap *= 2;
	fresh.v = calloc(fresh.cap, sizeof *fresh.v);
	if (!fresh.v || (!old && !(old = os->pinned = calloc(1, sizeof *old)))) {
		free(fresh.v);
		return err_set(e, ENOMEM, "%m");
	}
	for (size_t i = 0; i < old->cap; i++)
		if (old->v[i].n) {
			*seek(&fresh, old->v[i].what) = old->v[i];
			fresh.used++;
		}
	free(old->v);
	*old = fresh;
	return 0;
}

int pin(struct objects *os, struct pins **p, int64_t what, struct err *e)
{
	if (!*p && !(*p = calloc(1, sizeof **p)))
		return err_set(e, ENOMEM, "%m");
	if ((!os->pinned || os->pinned->used * 2 >= os->pinned->cap) && make_room(os, e) < 0)
		return -e->code;
	if (refs_add(&(*p)->refs, what, e) < 0)
		return -e->code;
	struct slot *s = seek(os->pinned, what);
	if (!s->what) {
		s->what = what;
		os->pinned->used++;
	}
	s->n++;
	return 0;
}

void pins_drop(struct objects *os, struct pins **pp)
{
	struct pins *p = *pp;

	*pp = NULL;
	if (!p)
		return;
	for (size_t i = 0; i < p->refs.n; i++)
		seek(os->pinned, p->refs.v[i])->n--;
	free(p->refs.v);
	free(p);
}

bool is_pinned(const struct objects *os, int64_t what)
{
	return os->pinned && seek(os->pinned, what)->n > 0;
}

void pins_free(struct objects *os)
{
	if (os->pinned)
		free(os->pinned->v);
	free(os->pinned);
	os->pinned = NULL;
}
