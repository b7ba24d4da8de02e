/* A node of the tree is a value packed into the 64-bit inode number: top bit 0, by-id bit, kind 8, file 8, row 46.  Nothing is
 * allocated for it and nothing has to be forgotten; the root is 1 (kind 0, file 0, row 1).  Of an object's file the upper 12 bits of row
 * are `sub`, which is not 0 below a subtree only; 34 bits are objects enough. */
#pragma once

#include "tree.h"

struct node {
	bool by_id;		/* reached through by-id: another inode than by name, so that neither moves the other */
	uint8_t kind, file;
	uint16_t sub;		/* what is below a subtree (tree.h): its number there */
	int64_t row;		/* of the object; of a collection: its parent's */
};

enum node_file {		/* what `file` says; 1..175 are lines of tables */
	NF_OBJECT = 0,
	NF_COMMON = 1,		/* + line of common_files (root: root_common) */
	NF_KIND = 48,		/* + line of the kind's files */
	NF_GROUP = 176,		/* + n: the directory of the n-th "dir/name" group */
	NF_COLL_FILE = 200,	/* + line of collection_files */
	NF_WAIT_FOR = 240, NF_BY_ID, NF_VIEW, NF_VIEW_FILE, /* + line of view_files */
	NF_VIEW_LINK = 250,
	NF_COLLECTION = 255,
};
enum node_kind {		/* kinds of nodes that belong to no kind of object */
	NK_FILES = 249,		/* below a directory of ordinary files: file is files->no, row the file's number */
	NK_STATUS = 250,	/* wait-for/STATUS: file is the word's number, row the object's */
	NK_LINK_DIR,		/* hosts/H/servers/TENANT: file is links->no, row (object << 23 | tenant) */
	NK_LINK,		/* file is links->no, row the link's */
	NK_SCRATCH,		/* row counts up */
};
enum node_type { N_NONE, N_OBJECT, N_FILE, N_GROUP, N_LINKS, N_LINK_DIR, N_LINK, N_TREE, N_TREE_FILE, N_FILES_TOP, N_FILES, N_COLLECTION, N_COLL_FILE, N_BY_ID, N_WAIT_FOR,
	N_STATUS, N_VIEW, N_VIEW_FILE, N_VIEW_LINK, N_SCRATCH };

uint64_t node_ino(struct node n);
struct node node_of(uint64_t ino);
static inline bool node_same(struct node a, struct node b)
{
	return node_ino(a) == node_ino(b);
}
enum node_type node_type(struct fs *fs, struct node n);
bool node_is_dir(struct fs *fs, struct node n);
/* A directory whose every change is told (fs/tree/notify.c), so that the kernel may keep its listing. */
bool node_told(struct fs *fs, struct node n);
/* The kind its number names: of the object for files and objects, of the entries for a collection; NULL: none. */
const struct kind *node_kind(struct fs *fs, struct node n);
/* The table line of a control file (of an object, a collection or a view); NULL for anything else. */
const struct file *node_file(struct fs *fs, struct node n);
/* What a growing file is read through; NULL: it is none. */
const struct stream *node_stream(struct fs *fs, struct node n);
/* The directory of ordinary files it is the top of or stands in; NULL: none. */
const struct files *node_files(struct fs *fs, struct node n);
/* Where that is the top in an object; false: no kind has such a line. */
bool node_files_top(struct fs *fs, const struct files *f, int64_t object, struct node *ret);
/* Fills fs->files from the kinds' tables. */
void node_files_init(struct fs *fs);
/* Files whose content depends on time, on other objects or on who reads. */
bool file_is_live(const struct file *f);

/* ENOENT. */
int node_lookup(struct call *c, struct node dir, const char *name, struct node *ret, struct err *e);
/* fn for each listed entry with an offset above `after`, control files first, until it returns non-zero.  Offsets are stable. */
typedef int node_fn(void *arg, const char *name, struct node n, int64_t offset);
int node_list(struct call *c, struct node dir, int64_t after, node_fn *fn, void *arg, struct err *e);
/* The directory it stands in; 0 at the root. */
int node_parent(struct call *c, struct node n, struct node *ret, struct err *e);
/* "tenants/acme/servers/ctl": for sentences. */
void node_path(struct call *c, struct node n, char *ret, size_t size);
/* What a link says: the relative path of what it points at. */
int node_readlink(struct call *c, struct node n, char *ret, size_t size, struct err *e);
/* Does the directory itself answer this name (so that no object may have it)? */
bool name_reserved(struct fs *fs, const struct kind *coll, const char *name);

/* Tables of the machine's own files (fs/tree/common.c). */
extern const struct file common_files[], root_common[], collection_files[], view_files[];
