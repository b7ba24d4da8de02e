/* The least a low-level libfuse file system with contents can do: names, attributes, extended attributes and data in memory, long timeouts.
 * What a container's objects are measured against.  memdata MOUNTPOINT [direct] [plus] [noxattr]
 *   direct: files opened for writing only skip the kernel's cache; plus: READDIRPLUS; noxattr: the kernel is told that there are none.
 * Memory of removed files is kept and used again: the first pass over fresh memory measures the kernel, discard it. */
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define LONG_S 1e6
#define PIECE ((size_t)1 << 20)
#define FIRST 4096	/* a file's first piece is as small as this while it has no more */
#define BUCKETS ((size_t)1 << 20)

struct xattr {
	struct xattr *next;
	char *name, *value;
	size_t size;
};
struct node {
	struct stat st;
	pthread_mutex_t lock;	/* of the data */
	char **pieces, *small, *target;
	size_t n_pieces, first, last, count;	/* first, last: entries of a directory */
	struct xattr *xattrs;
	unsigned open;
};
struct ent {			/* never freed: a listing may stand at one that is gone */
	char *name;
	size_t dir, ino, prev, next, hash_next;
	bool dead;
};
static struct node **nodes;
static struct ent *ents;
static size_t n_nodes = 2, room_nodes, n_ents = 1, room_ents, *buckets;
static char *spare;		/* pieces of removed files, chained through their first bytes */
static pthread_mutex_t names = PTHREAD_MUTEX_INITIALIZER, spares = PTHREAD_MUTEX_INITIALIZER;
static bool direct, plus, noxattr;

static char *piece_get(void)
{
	pthread_mutex_lock(&spares);
	char *p = spare;
	if (p)
		memcpy(&spare, p, sizeof spare);
	pthread_mutex_unlock(&spares);
	if (!p)
		p = malloc(PIECE);
	if (!p)
		abort();
	return p;
}

static void piece_put(char *p)
{
	pthread_mutex_lock(&spares);
	memcpy(p, &spare, sizeof spare);
	spare = p;
	pthread_mutex_unlock(&spares);
}

static void data_cut(struct node *n, off_t size)
{
	size_t keep = ((size_t)size + PIECE - 1) / PIECE;

	for (size_t i = keep; i < n->n_pieces; i++)
		if (n->pieces[i])
			piece_put(n->pieces[i]);
	if (keep < n->n_pieces)
		n->n_pieces = keep;
	if (size < n->st.st_size && keep && keep <= n->n_pieces && n->pieces[keep - 1] && (size_t)size % PIECE)
		memset(n->pieces[keep - 1] + (size_t)size % PIECE, 0, PIECE - (size_t)size % PIECE);
	if (n->small && size < n->st.st_size && size < FIRST)
		memset(n->small + size, 0, FIRST - (size_t)size);
	if (size == 0) {
		free(n->small);
		n->small = NULL;
	}
	n->st.st_size = size;
}

static void data_write(struct node *n, const char *buf, size_t size, size_t off)
{
	if (off + size <= FIRST && n->n_pieces == 0) {
		if (!n->small)
			n->small = calloc(1, FIRST);
		memcpy(n->small + off, buf, size);
		return;
	}
	size_t last = (off + size - 1) / PIECE;
	if (last >= n->n_pieces) {
		n->pieces = realloc(n->pieces, (last + 1) * sizeof *n->pieces);
		memset(n->pieces + n->n_pieces, 0, (last + 1 - n->n_pieces) * sizeof *n->pieces);
		n->n_pieces = last + 1;
	}
	if (n->small) {
		n->pieces[0] = piece_get();
		memset(n->pieces[0], 0, PIECE);
		memcpy(n->pieces[0], n->small, FIRST);
		free(n->small);
		n->small = NULL;
	}
	for (size_t done = 0, k; done < size; done += k) {
		size_t at = (off + done) % PIECE, i = (off + done) / PIECE;

		k = PIECE - at < size - done ? PIECE - at : size - done;
		if (!n->pieces[i]) {
			n->pieces[i] = piece_get();
			memset(n->pieces[i], 0, at);
			memset(n->pieces[i] + at + k, 0, PIECE - at - k);
		}
		memcpy(n->pieces[i] + at, buf + done, k);
	}
}

static size_t hash(size_t parent, const char *name)
{
	size_t h = 1469598103934665603u ^ parent;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 1099511628211u;
	return (h ^ h >> 29) & (BUCKETS - 1);
}

static size_t find(size_t dir, const char *name)
{
	size_t i = buckets[hash(dir, name)];

	while (i && (ents[i].dir != dir || strcmp(ents[i].name, name) != 0))
		i = ents[i].hash_next;
	return i;
}

static void touch(struct node *n)
{
	clock_gettime(CLOCK_REALTIME, &n->st.st_mtim);
	n->st.st_ctim = n->st.st_mtim;
}

static void link_name(size_t dir, const char *name, size_t ino)
{
	if (n_ents >= room_ents) {
		room_ents = room_ents ? room_ents * 2 : 1024;
		ents = realloc(ents, room_ents * sizeof *ents);
	}
	size_t i = n_ents++, h = hash(dir, name);
	ents[i] = (struct ent){ .name = strdup(name), .dir = dir, .ino = ino, .prev = nodes[dir]->last, .hash_next = buckets[h] };
	buckets[h] = i;
	if (nodes[dir]->last)
		ents[nodes[dir]->last].next = i;
	else
		nodes[dir]->first = i;
	nodes[dir]->last = i;
	nodes[dir]->count++;
	touch(nodes[dir]);
}

static void unlink_name(size_t i)
{
	struct ent *e = &ents[i];
	struct node *d = nodes[e->dir];
	size_t *at = &buckets[hash(e->dir, e->name)];

	while (*at != i)
		at = &ents[*at].hash_next;
	*at = e->hash_next;
	if (e->prev)
		ents[e->prev].next = e->next;
	else
		d->first = e->next;
	if (e->next)
		ents[e->next].prev = e->prev;
	else
		d->last = e->prev;
	e->dead = true;
	d->count--;
	touch(d);
}

static void node_drop(struct node *n)
{
	n->st.st_nlink = 0;
	if (n->open)
		return;
	pthread_mutex_lock(&n->lock);
	data_cut(n, 0);
	free(n->pieces);
	n->pieces = NULL;
	pthread_mutex_unlock(&n->lock);
}

static struct fuse_entry_param entry(size_t ino)
{
	return (struct fuse_entry_param){ .ino = ino, .attr = nodes[ino]->st, .attr_timeout = LONG_S, .entry_timeout = LONG_S };
}

static size_t node_new(fuse_req_t req, mode_t mode)
{
	const struct fuse_ctx *c = req ? fuse_req_ctx(req) : NULL;

	if (n_nodes >= room_nodes) {
		room_nodes = room_nodes ? room_nodes * 2 : 1024;
		nodes = realloc(nodes, room_nodes * sizeof *nodes);
	}
	struct node *n = calloc(1, sizeof *n);
	size_t i = req ? n_nodes++ : 1;
	n->st = (struct stat){ .st_ino = i, .st_mode = mode, .st_nlink = 1, .st_uid = c ? c->uid : 0, .st_gid = c ? c->gid : 0 };
	pthread_mutex_init(&n->lock, NULL);
	touch(n);
	nodes[i] = n;
	return i;
}

/* ---- names */
static void m_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	pthread_mutex_lock(&names);
	size_t i = find(parent, name);
	struct fuse_entry_param ep = { 0 };
	if (i)
		ep = entry(ents[i].ino);
	pthread_mutex_unlock(&names);
	if (i)
		fuse_reply_entry(req, &ep);
	else
		fuse_reply_err(req, ENOENT);
}

static int make(fuse_req_t req, size_t parent, const char *name, mode_t mode, const char *target, bool open_it, struct fuse_entry_param *ep)
{
	int rc = 0;

	pthread_mutex_lock(&names);
	if (find(parent, name)) {
		rc = EEXIST;
	} else {
		size_t i = node_new(req, mode);

		link_name(parent, name, i);
		if (target) {
			nodes[i]->target = strdup(target);
			nodes[i]->st.st_size = (off_t)strlen(target);
		}
		nodes[i]->open += open_it;
		*ep = entry(i);
	}
	pthread_mutex_unlock(&names);
	return rc;
}

static void answer(fuse_req_t req, int rc, const struct fuse_entry_param *ep)
{
	if (rc)
		fuse_reply_err(req, rc);
	else
		fuse_reply_entry(req, ep);
}

static void m_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct fuse_entry_param ep;
	int rc = make(req, parent, name, S_IFDIR | (mode & 07777), NULL, false, &ep);

	answer(req, rc, &ep);
}

static void m_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param ep;
	int rc = make(req, parent, name, S_IFLNK | 0777, target, false, &ep);

	answer(req, rc, &ep);
}

static void m_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct fuse_entry_param ep;
	int rc = make(req, parent, name, mode, NULL, false, &ep);

	answer(req, rc, &ep);
}

static void open_flags(struct fuse_file_info *fi)
{
	bool reads = (fi->flags & O_ACCMODE) == O_RDONLY;

	fi->keep_cache = 1;
	fi->direct_io = direct && (fi->flags & O_ACCMODE) == O_WRONLY;
	fi->noflush = reads;
}

static void m_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct fuse_entry_param ep;
	int rc = make(req, parent, name, S_IFREG | (mode & 07777), NULL, true, &ep);

	open_flags(fi);
	if (rc)
		fuse_reply_err(req, rc);
	else
		fuse_reply_create(req, &ep, fi);
}

static void remove_name(fuse_req_t req, size_t parent, const char *name)
{
	int rc = 0;

	pthread_mutex_lock(&names);
	size_t i = find(parent, name);
	if (!i) {
		rc = ENOENT;
	} else if (nodes[ents[i].ino]->count) {
		rc = ENOTEMPTY;
	} else {
		unlink_name(i);
		node_drop(nodes[ents[i].ino]);
	}
	pthread_mutex_unlock(&names);
	fuse_reply_err(req, rc);
}

static void m_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent, const char *newname, unsigned flags)
{
	int rc = 0;

	pthread_mutex_lock(&names);
	size_t i = find(parent, name), k = find(newparent, newname);
	if (!i || flags & ~(unsigned)RENAME_NOREPLACE || (k && flags & RENAME_NOREPLACE)) {
		rc = !i ? ENOENT : k ? EEXIST : EINVAL;
	} else if (k && nodes[ents[k].ino]->count) {
		rc = ENOTEMPTY;
	} else {
		if (k) {
			unlink_name(k);
			node_drop(nodes[ents[k].ino]);
		}
		unlink_name(i);
		link_name(newparent, newname, ents[i].ino);
	}
	pthread_mutex_unlock(&names);
	fuse_reply_err(req, rc);
}

static void m_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, nodes[ino]->target ? nodes[ino]->target : "");
}

static void m_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->fh = 0;
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

/* Offsets are numbers of entries. */
static void list(fuse_req_t req, size_t ino, size_t size, off_t off, bool with)
{
	char *buf = malloc(size);
	size_t used = 0;

	pthread_mutex_lock(&names);
	for (size_t i = off ? ents[off].next : nodes[ino]->first; i; i = ents[i].next) {
		if (ents[i].dead)
			continue;
		struct fuse_entry_param ep = entry(ents[i].ino);
		size_t n = with ? fuse_add_direntry_plus(req, buf + used, size - used, ents[i].name, &ep, (off_t)i) :
				  fuse_add_direntry(req, buf + used, size - used, ents[i].name, &ep.attr, (off_t)i);

		if (n > size - used)
			break;
		used += n;
	}
	pthread_mutex_unlock(&names);
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void m_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, false);
}

static void m_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	list(req, ino, size, off, true);
}

/* ---- attributes */
static void m_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st = nodes[ino]->st;

	fuse_reply_attr(req, &st, LONG_S);
}

static void m_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int set, struct fuse_file_info *fi)
{
	struct node *n = nodes[ino];

	pthread_mutex_lock(&n->lock);
	if (set & FUSE_SET_ATTR_MODE)
		n->st.st_mode = (n->st.st_mode & S_IFMT) | (attr->st_mode & 07777);
	if (set & FUSE_SET_ATTR_UID)
		n->st.st_uid = attr->st_uid;
	if (set & FUSE_SET_ATTR_GID)
		n->st.st_gid = attr->st_gid;
	if (set & FUSE_SET_ATTR_SIZE) {
		data_cut(n, attr->st_size);
		touch(n);
	}
	if (set & FUSE_SET_ATTR_MTIME_NOW)
		touch(n);
	else if (set & FUSE_SET_ATTR_MTIME)
		n->st.st_mtim = attr->st_mtim;
	pthread_mutex_unlock(&n->lock);
	m_getattr(req, ino, fi);
}

static void m_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct node *n = nodes[ino];
	struct xattr *x;
	int rc = 0;

	pthread_mutex_lock(&n->lock);
	for (x = n->xattrs; x && strcmp(x->name, name) != 0; x = x->next)
		;
	if ((x && flags & XATTR_CREATE) || (!x && flags & XATTR_REPLACE)) {
		rc = x ? EEXIST : ENODATA;
	} else {
		if (!x) {
			x = calloc(1, sizeof *x);
			x->name = strdup(name);
			x->next = n->xattrs;
			n->xattrs = x;
		}
		free(x->value);
		x->value = memcpy(malloc(size + 1), value, size);
		x->size = size;
	}
	pthread_mutex_unlock(&n->lock);
	fuse_reply_err(req, rc);
}

static void give(fuse_req_t req, const char *data, size_t have, size_t size)
{
	if (!size)
		fuse_reply_xattr(req, have);
	else if (have > size)
		fuse_reply_err(req, ERANGE);
	else
		fuse_reply_buf(req, data, have);
}

static void m_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	struct node *n = nodes[ino];
	struct xattr *x;

	pthread_mutex_lock(&n->lock);
	for (x = n->xattrs; x && strcmp(x->name, name) != 0; x = x->next)
		;
	if (!x)
		fuse_reply_err(req, noxattr ? ENOSYS : ENODATA);
	else
		give(req, x->value, x->size, size);
	pthread_mutex_unlock(&n->lock);
}

static void m_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	struct node *n = nodes[ino];
	char buf[65536];
	size_t used = 0;

	pthread_mutex_lock(&n->lock);
	for (struct xattr *x = n->xattrs; x && used + strlen(x->name) + 1 <= sizeof buf; x = x->next) {
		memcpy(buf + used, x->name, strlen(x->name) + 1);
		used += strlen(x->name) + 1;
	}
	pthread_mutex_unlock(&n->lock);
	give(req, buf, used, size);
}

static void m_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct node *n = nodes[ino];
	struct xattr **at, *x;

	pthread_mutex_lock(&n->lock);
	for (at = &n->xattrs; *at && strcmp((*at)->name, name) != 0; at = &(*at)->next)
		;
	if ((x = *at)) {
		*at = x->next;
		free(x->name);
		free(x->value);
		free(x);
	}
	pthread_mutex_unlock(&n->lock);
	fuse_reply_err(req, x ? 0 : ENODATA);
}

/* ---- contents */
static void m_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&names);
	nodes[ino]->open++;
	pthread_mutex_unlock(&names);
	if (fi->flags & O_TRUNC) {
		pthread_mutex_lock(&nodes[ino]->lock);
		data_cut(nodes[ino], 0);
		touch(nodes[ino]);
		pthread_mutex_unlock(&nodes[ino]->lock);
	}
	open_flags(fi);
	fuse_reply_open(req, fi);
}

static void m_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	pthread_mutex_lock(&names);
	if (--nodes[ino]->open == 0 && nodes[ino]->st.st_nlink == 0)
		node_drop(nodes[ino]);
	pthread_mutex_unlock(&names);
	fuse_reply_err(req, 0);
}

/* Within one piece nothing is copied here; the kernel asks for pieces at their own boundaries. */
static void m_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	static char zeros[PIECE];
	struct node *n = nodes[ino];
	struct iovec v[4];
	size_t off = (size_t)offset, done = 0, k;
	int used = 0;

	pthread_mutex_lock(&n->lock);
	size_t len = (size_t)n->st.st_size;
	size = off >= len ? 0 : len - off < size ? len - off : size;
	for (; done < size && used < 4; done += k) {
		size_t at = (off + done) % PIECE, i = (off + done) / PIECE;

		k = PIECE - at < size - done ? PIECE - at : size - done;
		if (n->small && i == 0 && at < FIRST) {
			k = k < FIRST - at ? k : FIRST - at;
			v[used].iov_base = n->small + at;
		} else {
			v[used].iov_base = (i < n->n_pieces && n->pieces[i] ? n->pieces[i] : zeros) + at;
		}
		v[used++].iov_len = k;
	}
	fuse_reply_iov(req, v, used);
	pthread_mutex_unlock(&n->lock);
}

static void m_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct node *n = nodes[ino];

	pthread_mutex_lock(&n->lock);
	data_write(n, buf, size, (size_t)off);
	if (off + (off_t)size > n->st.st_size)
		n->st.st_size = off + (off_t)size;
	n->st.st_blocks = n->st.st_size / 512 + 1;
	touch(n);
	pthread_mutex_unlock(&n->lock);
	fuse_reply_write(req, size);
}

static void m_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void m_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void m_init(void *arg, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_AUTO_INVAL_DATA);
	if (plus)
		conn->want |= conn->capable & (FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
	conn->max_write = 1 << 20;
}

static const struct fuse_lowlevel_ops ops = {
	.init = m_init, .lookup = m_lookup, .getattr = m_getattr, .setattr = m_setattr, .readlink = m_readlink, .mkdir = m_mkdir,
	.symlink = m_symlink, .mknod = m_mknod, .create = m_create, .unlink = remove_name, .rmdir = remove_name, .rename = m_rename,
	.opendir = m_opendir, .readdir = m_readdir, .readdirplus = m_readdirplus, .open = m_open, .release = m_release, .read = m_read,
	.write = m_write, .flush = m_flush, .fsync = m_fsync, .setxattr = m_setxattr, .getxattr = m_getxattr, .listxattr = m_listxattr,
	.removexattr = m_removexattr,
};

int main(int argc, char **argv)
{
	char *args[] = { argv[0], (char *)"-o", (char *)"fsname=memdata,allow_other", NULL };
	struct fuse_args fa = FUSE_ARGS_INIT(3, args);

	if (argc < 2)
		return 2;
	for (int i = 2; i < argc; i++) {
		direct |= strcmp(argv[i], "direct") == 0;
		plus |= strcmp(argv[i], "plus") == 0;
		noxattr |= strcmp(argv[i], "noxattr") == 0;
	}
	buckets = calloc(BUCKETS, sizeof *buckets);
	node_new(NULL, S_IFDIR | 0755);
	struct fuse_session *se = fuse_session_new(&fa, &ops, sizeof ops, NULL);
	if (!se || fuse_session_mount(se, argv[1]) < 0)
		return 1;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, 10);
	if (fork())	/* the parent's end says that it is mounted */
		_exit(0);
	fuse_session_loop_mt(se, config);
	fuse_session_unmount(se);
	return 0;
}
