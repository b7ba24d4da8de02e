/* What only one space, or one tenant's, accounts for: chunks whose every reference comes from its contents. */
#include "core.h"

#include <errno.h>

struct walk {
	struct ref_list refs;
	struct err *e;
	int64_t logical;
};

static int walk_root(void *arg, int64_t root, uint64_t size)
{
	struct walk *w = arg;

	w->logical += (int64_t)size;
	return root ? refs_add(&w->refs, root, w->e) : 0;
}

static int walk_child(void *arg, int64_t what)
{
	struct walk *w = arg;

	return refs_add(&w->refs, what, w->e);
}

/* Nodes of that level whose every reference is in the list give way to what they refer to: their children are ours alone as far as they go. */
static int open_level(struct objects *os, struct walk *w, int level, struct err *e)
{
	struct walk next = { .e = e };
	int rc = 0;

	refs_sort(&w->refs);
	for (size_t i = 0, n; rc == 0 && i < w->refs.n; i += n) {
		int64_t what = w->refs.v[i], refs = 0, at = -1;

		for (n = 1; i + n < w->refs.n && w->refs.v[i + n] == what; n++)
			;
		if (what < 0) {
			struct stmt s = stmt_prepare(os->db, "SELECT level, refs FROM node WHERE id = $1");

			stmt_int(&s, 1, -what);
			rc = stmt_step(&s, e);
			if (rc > 0) {
				at = stmt_col_int(&s, 0);
				refs = stmt_col_int(&s, 1);
			}
			stmt_done(&s);
			rc = rc < 0 ? rc : 0;
		}
		if (rc == 0 && at == level) {
			if (refs == (int64_t)n)
				rc = node_refs(os, -what, walk_child, &next, e);
			continue;
		}
		for (size_t k = 0; rc == 0 && k < n; k++)
			rc = refs_add(&next.refs, what, e);
	}
	free(w->refs.v);
	w->refs = next.refs;
	return rc;
}

int space_stored(struct objects *os, int64_t space, int64_t tenant, struct stored *ret, struct err *e)
{
	struct walk w = { .e = e };
	int64_t stored = 0;
	int rc;

	if (!index_enter(os, e))
		return -e->code;
	rc = names_roots(os, space, tenant, walk_root, &w, e);
	index_end(os, false);
	for (int level = 2; rc == 0 && level >= 0; level--) {
		if (!index_enter(os, e)) {
			rc = -e->code;
			break;
		}
		rc = open_level(os, &w, level, e);
		index_end(os, false);
	}
	refs_sort(&w.refs);
	if (rc == 0 && !index_enter(os, e))
		rc = -e->code;
	else if (rc == 0) {
		for (size_t i = 0, n; rc == 0 && i < w.refs.n; i += n) {
			struct stmt s = stmt_prepare(os->db, "SELECT stored FROM chunk WHERE id = $1 AND refs <= $2");

			for (n = 1; i + n < w.refs.n && w.refs.v[i + n] == w.refs.v[i]; n++)
				;
			stmt_int(&s, 1, w.refs.v[i]);
			stmt_int(&s, 2, (int64_t)n);
			rc = stmt_step(&s, e);
			stored += rc > 0 ? stmt_col_int(&s, 0) : 0;
			stmt_done(&s);
			rc = rc < 0 ? rc : 0;
		}
		index_end(os, false);
	}
	free(w.refs.v);
	if (rc == 0)
		*ret = (struct stored){ w.logical, stored };
	return rc;
}
