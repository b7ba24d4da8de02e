/* The least a low-level libfuse file system can do: a tree copied into memory, every answer from an array, long timeouts, page cache.
 * What a mounted cirrusfs is measured against.  memfs SOURCE MOUNTPOINT copies SOURCE (listed names only) and serves it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LONG_S 1e6

struct node {
	char *name, *data;
	size_t size, parent, next, hash_next;	/* next: the following entry of the directory, 0 none */
	size_t first, last;			/* entries of a directory */
	mode_t mode;
};
static struct node *nodes;
static size_t n_nodes = 2, room, *buckets, n_buckets = 1;

static size_t hash(size_t parent, const char *name)
{
	size_t h = 1469598103934665603u ^ parent;

	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 1099511628211u;
	return (h ^ h >> 29) & (n_buckets - 1);
}

static size_t add(size_t parent, const char *name, mode_t mode)
{
	if (n_nodes >= room) {
		room = room ? room * 2 : 1024;
		nodes = realloc(nodes, room * sizeof *nodes);
		if (!nodes)
			exit(1);
	}
	size_t i = n_nodes++;
	nodes[i] = (struct node){ .name = strdup(name), .parent = parent, .mode = mode };
	if (nodes[parent].last)
		nodes[nodes[parent].last].next = i;
	else
		nodes[parent].first = i;
	nodes[parent].last = i;
	return i;
}

static void copy(int dirfd, const char *name, size_t i)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *ent;
	struct stat st;
	char buf[65536];

	while (d && (ent = readdir(d))) {
		if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0 || fstatat(fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		size_t k = add(i, ent->d_name, st.st_mode);
		if (S_ISDIR(st.st_mode)) {
			copy(fd, ent->d_name, k);
			continue;
		}
		ssize_t n = 0;
		if (S_ISLNK(st.st_mode)) {
			n = readlinkat(fd, ent->d_name, buf, sizeof buf - 1);
		} else {
			int f = openat(fd, ent->d_name, O_RDONLY | O_CLOEXEC);

			n = f < 0 ? 0 : read(f, buf, sizeof buf - 1);
			close(f);
		}
		nodes[k].size = n > 0 ? (size_t)n : 0;
		buf[nodes[k].size] = '\0';
		nodes[k].data = memcpy(malloc(nodes[k].size + 1), buf, nodes[k].size + 1);
	}
	if (d)
		closedir(d);
}

static void index_names(void)
{
	while (n_buckets < n_nodes)
		n_buckets *= 2;
	buckets = calloc(n_buckets, sizeof *buckets);
	for (size_t i = 2; i < n_nodes; i++) {
		size_t h = hash(nodes[i].parent, nodes[i].name);

		nodes[i].hash_next = buckets[h];
		buckets[h] = i;
	}
}

static void fill(size_t i, struct stat *st)
{
	*st = (struct stat){ .st_ino = i, .st_mode = nodes[i].mode, .st_nlink = 1, .st_size = (off_t)nodes[i].size };
}

static void m_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	for (size_t i = buckets[hash(parent, name)]; i; i = nodes[i].hash_next)
		if (nodes[i].parent == parent && strcmp(nodes[i].name, name) == 0) {
			struct fuse_entry_param ep = { .ino = i, .attr_timeout = LONG_S, .entry_timeout = LONG_S };

			fill(i, &ep.attr);
			fuse_reply_entry(req, &ep);
			return;
		}
	fuse_reply_err(req, ENOENT);
}

static void m_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	fill(ino, &st);
	fuse_reply_attr(req, &st, LONG_S);
}

static void m_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	m_getattr(req, ino, fi);
}

static void m_readlink(fuse_req_t req, fuse_ino_t ino)
{
	fuse_reply_readlink(req, nodes[ino].data);
}

static void m_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	bool writes = (fi->flags & O_ACCMODE) != O_RDONLY;

	fi->keep_cache = !writes;
	fi->direct_io = writes;
	fi->noflush = !writes;
	fuse_reply_open(req, fi);
}

static void m_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	size_t len = nodes[ino].size, at = (size_t)off < len ? (size_t)off : len;

	fuse_reply_buf(req, nodes[ino].data + at, len - at < size ? len - at : size);
}

static void m_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	fuse_reply_write(req, size);
}

static void m_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void m_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->fh = 0;
	fi->cache_readdir = fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

/* Offsets are inode numbers. */
static void m_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	char *buf = malloc(size);
	size_t used = 0;

	for (size_t i = off ? nodes[off].next : nodes[ino].first; i; i = nodes[i].next) {
		struct stat st = { .st_ino = i, .st_mode = nodes[i].mode };
		size_t n = fuse_add_direntry(req, buf + used, size - used, nodes[i].name, &st, (off_t)i);

		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
	free(buf);
}

static void m_init(void *arg, struct fuse_conn_info *conn)
{
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
				  FUSE_CAP_SPLICE_MOVE);
	conn->want |= conn->capable & (FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_AUTO_INVAL_DATA);
}

static const struct fuse_lowlevel_ops ops = {
	.init = m_init, .lookup = m_lookup, .getattr = m_getattr, .setattr = m_setattr, .readlink = m_readlink, .open = m_open,
	.read = m_read, .write = m_write, .flush = m_flush, .opendir = m_opendir, .readdir = m_readdir,
};

int main(int argc, char **argv)
{
	char *args[] = { argv[0], (char *)"-o", (char *)"fsname=memfs,allow_other", NULL };
	struct fuse_args fa = FUSE_ARGS_INIT(3, args);

	if (argc != 3)
		return 2;
	nodes = calloc(2, sizeof *nodes);
	room = 2;
	nodes[1] = (struct node){ .name = (char *)"", .mode = S_IFDIR | 0755 };
	copy(AT_FDCWD, argv[1], 1);
	index_names();
	struct fuse_session *se = fuse_session_new(&fa, &ops, sizeof ops, NULL);
	if (!se || fuse_session_mount(se, argv[2]) < 0)
		return 1;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	fuse_loop_cfg_set_max_threads(config, 10);
	fprintf(stderr, "memfs: %zu nodes\n", n_nodes);
	if (fork())	/* the parent's end says that it is mounted */
		_exit(0);
	fuse_session_loop_mt(se, config);
	fuse_session_unmount(se);
	return 0;
}
