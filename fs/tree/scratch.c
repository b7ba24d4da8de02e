#include "scratch.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define FILES 64
#define SIZE_MAX_BYTES (4 << 20)
#define UNUSED_S 60

struct scratch {
	pthread_mutex_t lock;
	int64_t next_row;
	struct one {
		int64_t row;	/* 0: free */
		struct node dir;
		char name[256];
		char *data;
		size_t len;
		time_t used;
	} f[FILES];
};

int scratch_init(struct fs *fs, struct err *e)
{
	fs->scratch = calloc(1, sizeof *fs->scratch);
	if (!fs->scratch)
		return err_set(e, ENOMEM, "%m");
	pthread_mutex_init(&fs->scratch->lock, NULL);
	/* rows of an earlier process are not used again: they begin at the time */
	fs->scratch->next_row = time(NULL) * 4096;
	return 0;
}

static void clear(struct one *o)
{
	free(o->data);
	*o = (struct one){ 0 };
}

void scratch_free(struct fs *fs)
{
	for (size_t i = 0; fs->scratch && i < FILES; i++)
		clear(&fs->scratch->f[i]);
	free(fs->scratch);
	fs->scratch = NULL;
}

static time_t mono(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* Under the lock; those unused for long go first. */
static struct one *find(struct scratch *s, int64_t row, struct node dir, const char *name)
{
	struct one *found = NULL;

	for (size_t i = 0; i < FILES; i++) {
		struct one *o = &s->f[i];

		if (o->row && mono() - o->used > UNUSED_S)
			clear(o);
		if (o->row && (name ? node_same(o->dir, dir) && strcmp(o->name, name) == 0 : o->row == row))
			found = o;
	}
	if (found)
		found->used = mono();
	return found;
}

static struct node node_for(const struct one *o)
{
	return (struct node){ .kind = NK_SCRATCH, .row = o->row };
}

int scratch_make(struct fs *fs, struct node dir, const char *name, struct node *ret, struct err *e)
{
	struct scratch *s = fs->scratch;
	int rc = 0;

	if (strlen(name) > 255)
		return err_set(e, ENAMETOOLONG, "a name of %zu bytes; at most 255", strlen(name));
	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, 0, dir, name);
	for (size_t i = 0; i < FILES && !o; i++)
		if (!s->f[i].row) {
			o = &s->f[i];
			*o = (struct one){ .row = ++s->next_row, .dir = dir, .used = mono() };
			snprintf(o->name, sizeof o->name, "%s", name);
		}
	if (o) {
		o->len = 0;
		*ret = node_for(o);
	} else {
		rc = err_set(e, ENOSPC, "%d scratch files are in use", FILES);
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int scratch_lookup(struct fs *fs, struct node dir, const char *name, struct node *ret)
{
	struct scratch *s = fs->scratch;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, 0, dir, name);
	if (o)
		*ret = node_for(o);
	pthread_mutex_unlock(&s->lock);
	return o != NULL;
}

static int resize(struct one *o, size_t len, struct err *e)
{
	if (len > SIZE_MAX_BYTES)
		return err_set(e, EFBIG, "a scratch file of more than %d bytes", SIZE_MAX_BYTES);
	char *p = realloc(o->data, len ? len : 1);
	if (!p)
		return err_set(e, ENOMEM, "%m");
	if (len > o->len)
		memset(p + o->len, 0, len - o->len);
	o->data = p;
	o->len = len;
	return 0;
}

int scratch_write(struct fs *fs, struct node n, const char *buf, size_t len, int64_t off, struct err *e)
{
	struct scratch *s = fs->scratch;

	if (off < 0 || off > SIZE_MAX_BYTES)
		return err_set(e, EFBIG, "beyond the end of what a scratch file may hold");
	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	int rc = !o ? err_set(e, ESTALE, "the scratch file is gone") : (size_t)off + len > o->len ? resize(o, (size_t)off + len, e) : 0;
	if (rc == 0)
		memcpy(o->data + off, buf, len);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int scratch_truncate(struct fs *fs, struct node n, size_t len, struct err *e)
{
	struct scratch *s = fs->scratch;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	int rc = o ? resize(o, len, e) : err_set(e, ESTALE, "the scratch file is gone");
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int scratch_read(struct fs *fs, struct node n, int64_t off, size_t size, char **ret, size_t *len, struct err *e)
{
	struct scratch *s = fs->scratch;
	int rc = 0;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	size_t have = o && off >= 0 && (size_t)off < o->len ? o->len - (size_t)off : 0;
	*len = have < size ? have : size;
	*ret = o ? malloc(*len + 1) : NULL;
	if (*ret)
		memcpy(*ret, o->data + (*len ? off : 0), *len);
	else
		rc = err_set(e, o ? ENOMEM : ESTALE, "the scratch file is gone");
	pthread_mutex_unlock(&s->lock);
	return rc;
}

int scratch_size(struct fs *fs, struct node n, size_t *ret, struct err *e)
{
	struct scratch *s = fs->scratch;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	*ret = o ? o->len : 0;
	pthread_mutex_unlock(&s->lock);
	return o ? 0 : err_set(e, ESTALE, "the scratch file is gone");
}

void scratch_drop(struct fs *fs, struct node n)
{
	struct scratch *s = fs->scratch;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	if (o)
		clear(o);
	pthread_mutex_unlock(&s->lock);
}

int scratch_rename(struct fs *fs, struct node n, const char *name, struct err *e)
{
	struct scratch *s = fs->scratch;

	pthread_mutex_lock(&s->lock);
	struct one *o = find(s, n.row, n, NULL);
	struct one *there = o ? find(s, 0, o->dir, name) : NULL;
	if (there && there != o)
		clear(there);
	if (o)
		snprintf(o->name, sizeof o->name, "%s", name);
	pthread_mutex_unlock(&s->lock);
	return o ? 0 : err_set(e, ESTALE, "the scratch file is gone");
}
