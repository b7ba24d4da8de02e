/* A manifest says of which chunks a content consists.  In the index it is a tree of nodes that are never changed: leaves list extents, groups
 * list leaves, one node above lists groups.  Contents that have parts in common share those nodes (references are counted), so that a copy
 * costs a reference and a change of one byte the nodes on the way to it.  In memory it is a flat row of leaves that are read when needed.
 *
 * The root of a content is one number: 0 nothing but zeros; above 0 the chunk that it is; below 0 minus the node at the top. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parts.h"

#define LEAF_MAX 512	/* extents of a leaf */
#define GROUP_MAX 512	/* leaves of a group */

struct extent {
	int64_t chunk;		/* 0: a hole */
	uint32_t off;		/* where in the chunk's bytes it begins */
	uint64_t len;
};

struct leaf {
	int64_t id;		/* 0: not in the index */
	uint64_t span, used;	/* used: of it, what is no hole */
	uint32_t n;
	struct extent *ext;	/* NULL: not read yet */
};
struct group {
	int64_t id;		/* 0: it changed */
	uint64_t span, used;
	uint32_t n;		/* of the manifest's leaves, in order */
};
struct manifest {
	struct leaf *leaves;
	struct group *groups;
	size_t n_leaves, n_groups, cap_leaves, cap_groups;
	uint64_t span;		/* bytes that extents say something of; what is beyond is zeros */
	uint64_t used;		/* ... that are in chunks */
};

/* What a cut has to put into the index, and what changes in references.  Owned by its maker. */
struct node_row {
	int64_t id;
	int level;		/* 0 leaf, 1 group, 2 list of groups */
	uint64_t span;
	unsigned char *data;
	size_t len;
};
struct ref_list {
	int64_t *v;		/* one reference more, each: a chunk, or minus a node */
	size_t n, cap;
};
struct saved {
	int64_t root;		/* the new one */
	struct node_row *nodes;
	size_t n_nodes, cap_nodes;
	struct ref_list refs;
};
void saved_free(struct saved *s);
int refs_add(struct ref_list *r, int64_t what, struct err *e);
void refs_sort(struct ref_list *r);
/* Of sorted ones: how often it is there. */
int64_t refs_count(const struct ref_list *r, int64_t what);
static inline bool refs_has(const struct ref_list *r, int64_t what)
{
	return refs_count(r, what) > 0;
}

/* The index is begun.  size: of the content whose root is a chunk. */
int manifest_load(struct objects *os, int64_t root, uint64_t size, struct manifest *ret, struct err *e);
void manifest_free(struct manifest *m);
/* Reads what is missing of the leaves between those offsets.  The index is begun. */
int manifest_want(struct objects *os, struct manifest *m, uint64_t off, uint64_t len, struct err *e);
/* Was all that read already? */
bool manifest_has(const struct manifest *m, uint64_t off, uint64_t len);
/* In place of len bytes from off come these (their lengths' sum may differ from len only at the end).  What is between the span and off becomes
 * a hole.  The leaves there are wanted. */
int manifest_splice(struct manifest *m, uint64_t off, uint64_t len, const struct extent *ext, size_t n, struct err *e);
/* Ends at that offset (only shorter).  The leaf there is wanted. */
int manifest_cut(struct manifest *m, uint64_t size, struct err *e);
/* The extent that holds that offset, trimmed to begin there; beyond the span a hole without end.  Wanted. */
struct extent manifest_at(const struct manifest *m, uint64_t off);
/* The extent that ends at that offset, whole; len 0: none does.  Wanted. */
struct extent manifest_ending(const struct manifest *m, uint64_t off);
/* Leaf by leaf, from off (where one begins): those of src that end by off + len are shared, at m's end.  How many bytes that were. */
int64_t manifest_share(struct manifest *m, const struct manifest *src, uint64_t off, uint64_t len, struct err *e);
/* The same for leaves alone, all but the last: a content that is being written for long is not kept in memory.  The index is begun. */
int manifest_spill(struct objects *os, struct manifest *m, struct saved *ret, struct err *e);
/* How many such leaves there are. */
size_t manifest_unsaved(const struct manifest *m);
/* Leaves that are in the index, but for the last ones, are read again when they are wanted. */
void manifest_forget(struct manifest *m);
/* Gives what changed numbers, and says what to write.  After it nothing of m is changed.  The index is begun. */
int manifest_save(struct objects *os, struct manifest *m, uint64_t size, struct saved *ret, struct err *e);

/* A node's bytes: for the index's readers. */
int node_extents(const void *data, size_t len, struct extent **ret, size_t *n, struct err *e);	/* level 0; EBADMSG */
struct child {
	int64_t id;
	uint64_t span, used;
};
int node_children(const void *data, size_t len, struct child **ret, size_t *n, struct err *e);	/* levels 1, 2 */
/* fn for everything a root refers to, one step down: chunks as they are, nodes as minus their number. */
int node_refs(struct objects *os, int64_t node, int (*fn)(void *arg, int64_t what), void *arg, struct err *e);
