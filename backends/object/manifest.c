#include "manifest.h"
#include "core.h"

#include <errno.h>
#include <string.h>

/* ---- how nodes are written: LEB128 numbers.  A leaf: for each extent chunk, off, len.  Others: for each child id, span, used. */

static size_t put(unsigned char *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (unsigned char)(v | 0x80);
	to[n++] = (unsigned char)v;
	return n;
}

static bool get(const unsigned char **p, const unsigned char *end, uint64_t *ret)
{
	unsigned shift = 0;

	*ret = 0;
	while (*p < end && shift < 64) {
		unsigned char b = *(*p)++;

		*ret |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return true;
		shift += 7;
	}
	return false;
}

static int grow(void *vec, size_t *cap, size_t want, size_t each, struct err *e)
{
	void *grown;

	if (want <= *cap)
		return 0;
	size_t to = *cap ? *cap * 2 : 4;
	while (to < want)
		to *= 2;
	if (!(grown = realloc(*(void **)vec, to * each)))
		return err_set(e, ENOMEM, "%m");
	*(void **)vec = grown;
	*cap = to;
	return 0;
}

int node_extents(const void *data, size_t len, struct extent **ret, size_t *n, struct err *e)
{
	const unsigned char *p = data, *end = p + len;
	AUTO(free) struct extent *v = NULL;
	size_t cap = 0, used = 0;
	uint64_t chunk, off, bytes, sum = 0;

	while (p < end) {
		if (!get(&p, end, &chunk) || !get(&p, end, &off) || !get(&p, end, &bytes) || chunk > INT64_MAX || off > UINT32_MAX || !bytes ||
		    bytes > INT64_MAX - sum)
			return err_set(e, EBADMSG, "a node of a manifest is damaged");
		if (grow(&v, &cap, used + 1, sizeof *v, e) < 0)
			return -e->code;
		v[used++] = (struct extent){ (int64_t)chunk, (uint32_t)off, bytes };
		sum += bytes;
	}
	*ret = steal_ptr(&v);
	*n = used;
	return 0;
}

int node_children(const void *data, size_t len, struct child **ret, size_t *n, struct err *e)
{
	const unsigned char *p = data, *end = p + len;
	AUTO(free) struct child *v = NULL;
	size_t cap = 0, n_used = 0;
	uint64_t id, span, used, sum = 0;

	while (p < end) {
		if (!get(&p, end, &id) || !get(&p, end, &span) || !get(&p, end, &used) || used > span || !id || id > INT64_MAX || !span || span > INT64_MAX - sum)
			return err_set(e, EBADMSG, "a node of a manifest is damaged");
		if (grow(&v, &cap, n_used + 1, sizeof *v, e) < 0)
			return -e->code;
		v[n_used++] = (struct child){ (int64_t)id, span, used };
		sum += span;
	}
	*ret = steal_ptr(&v);
	*n = n_used;
	return 0;
}

/* Its bytes are good until s is done. */
static int node_row(struct objects *os, struct stmt *s, int64_t id, int *level, uint64_t *span, const void **data, size_t *len, struct err *e)
{
	stmt_int(s, 1, id);
	int rc = stmt_step(s, e);

	if (rc <= 0)
		return rc ? rc : err_set(e, EBADMSG, "node %ld of a manifest is missing", (long)id);
	*level = (int)stmt_col_int(s, 0);
	*span = (uint64_t)stmt_col_int(s, 1);
	*data = stmt_col_blob(s, 2, len);
	return 0;
}
#define NODE_SQL "SELECT level, span, data FROM node WHERE id = $1"

int node_refs(struct objects *os, int64_t node, int (*fn)(void *arg, int64_t what), void *arg, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), NODE_SQL);
	AUTO(free) struct extent *ext = NULL;
	AUTO(free) struct child *child = NULL;
	const void *data;
	size_t len, n;
	uint64_t span;
	int level, rc = node_row(os, &s, node, &level, &span, &data, &len, e);

	if (rc == 0)
		rc = level == 0 ? node_extents(data, len, &ext, &n, e) : node_children(data, len, &child, &n, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		if (!ext || ext[i].chunk)
			rc = fn(arg, ext ? ext[i].chunk : -child[i].id);
	return rc;
}

/* ---- reading */

void manifest_free(struct manifest *m)
{
	for (size_t i = 0; i < m->n_leaves; i++)
		free(m->leaves[i].ext);
	free(m->leaves);
	free(m->groups);
	*m = (struct manifest){ 0 };
}

static int add_leaf(struct manifest *m, struct leaf leaf, struct err *e)
{
	if (grow(&m->leaves, &m->cap_leaves, m->n_leaves + 1, sizeof *m->leaves, e) < 0)
		return -e->code;
	m->leaves[m->n_leaves++] = leaf;
	return 0;
}

static int add_group(struct manifest *m, struct group group, struct err *e)
{
	if (grow(&m->groups, &m->cap_groups, m->n_groups + 1, sizeof *m->groups, e) < 0)
		return -e->code;
	m->groups[m->n_groups++] = group;
	m->span += group.span;
	m->used += group.used;
	return 0;
}

static int load_group(struct objects *os, struct manifest *m, int64_t id, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), NODE_SQL);
	AUTO(free) struct child *child = NULL;
	const void *data;
	size_t len, n = 0;
	uint64_t span;
	int level, rc = node_row(os, &s, id, &level, &span, &data, &len, e);

	if (rc == 0 && level != 1)
		rc = err_set(e, EBADMSG, "node %ld of a manifest stands at the wrong place", (long)id);
	if (rc == 0)
		rc = node_children(data, len, &child, &n, e);
	struct group g = { .id = id, .span = span, .n = (uint32_t)n };
	for (size_t i = 0; rc == 0 && i < n; i++) {
		g.used += child[i].used;
		rc = add_leaf(m, (struct leaf){ .id = child[i].id, .span = child[i].span, .used = child[i].used }, e);
	}
	return rc < 0 ? rc : add_group(m, g, e);
}

static uint64_t in_chunks(const struct extent *ext, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += ext[i].chunk ? ext[i].len : 0;
	return sum;
}

int manifest_load(struct objects *os, int64_t root, uint64_t size, struct manifest *ret, struct err *e)
{
	struct manifest m = { 0 };
	int rc = 0;

	if (root > 0) {
		struct extent *ext = malloc(sizeof *ext);

		if (!ext)
			return err_set(e, ENOMEM, "%m");
		*ext = (struct extent){ root, 0, size };
		rc = add_leaf(&m, (struct leaf){ .span = size, .used = size, .n = 1, .ext = ext }, e);
		if (rc == 0)
			rc = add_group(&m, (struct group){ .span = size, .used = size, .n = 1 }, e);
	} else if (root < 0) {
		AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), NODE_SQL);
		AUTO(free) struct child *child = NULL;
		const void *data;
		size_t len, n = 0;
		uint64_t span;
		int level;

		rc = node_row(os, &s, -root, &level, &span, &data, &len, e);
		if (rc == 0 && level == 2) {
			rc = node_children(data, len, &child, &n, e);
			for (size_t i = 0; rc == 0 && i < n; i++)
				rc = load_group(os, &m, child[i].id, e);
		} else if (rc == 0 && level == 1) {
			rc = load_group(os, &m, -root, e);
		} else if (rc == 0) {
			struct leaf one = { .id = -root, .span = span };

			rc = node_extents(data, len, &one.ext, &n, e);
			one.n = (uint32_t)n;
			one.used = in_chunks(one.ext, n);
			if (rc == 0)
				rc = add_leaf(&m, one, e);
			if (rc == 0)
				rc = add_group(&m, (struct group){ .span = span, .used = one.used, .n = 1 }, e);
		}
	}
	if (rc < 0) {
		manifest_free(&m);
		return rc;
	}
	*ret = m;
	return 0;
}

static int load_leaf(struct objects *os, struct leaf *l, struct err *e)
{
	AUTO(stmt_done) struct stmt s = stmt_prepare(index_db(os), NODE_SQL);
	AUTO(free) struct extent *ext = NULL;
	const void *data;
	size_t len, n = 0;
	uint64_t span, sum = 0;
	int level, rc = node_row(os, &s, l->id, &level, &span, &data, &len, e);

	if (rc == 0)
		rc = level == 0 ? node_extents(data, len, &ext, &n, e) : err_set(e, EBADMSG, "node %ld is no leaf", (long)l->id);
	for (size_t i = 0; i < n; i++)
		sum += ext[i].len;
	if (rc == 0 && sum != l->span)
		rc = err_set(e, EBADMSG, "node %ld of a manifest is damaged", (long)l->id);
	if (rc < 0)
		return rc;
	l->ext = steal_ptr(&ext);
	l->n = (uint32_t)n;
	return 0;
}

/* Which leaf holds that offset (below the span), and where it begins. */
static size_t leaf_at(const struct manifest *m, uint64_t off, uint64_t *begin, size_t *group)
{
	uint64_t at = 0;
	size_t g = 0, i = 0;

	while (g + 1 < m->n_groups && at + m->groups[g].span <= off) {
		at += m->groups[g].span;
		i += m->groups[g++].n;
	}
	while (i + 1 < m->n_leaves && at + m->leaves[i].span <= off)
		at += m->leaves[i++].span;
	*begin = at;
	if (group)
		*group = g;
	return i;
}

int manifest_want(struct objects *os, struct manifest *m, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t begin, end = off + len < off ? UINT64_MAX : off + len;
	int rc = 0;

	if (!m->n_leaves)
		return 0;
	/* what is appended goes into the last leaf */
	size_t i = leaf_at(m, off < m->span ? off : m->span - 1, &begin, NULL);
	if (begin == off && i > 0 && !m->leaves[i - 1].ext)	/* neighbours may join */
		rc = load_leaf(os, &m->leaves[i - 1], e);
	for (; rc == 0 && i < m->n_leaves && begin <= end; begin += m->leaves[i++].span)
		if (!m->leaves[i].ext)
			rc = load_leaf(os, &m->leaves[i], e);
	return rc;
}

bool manifest_has(const struct manifest *m, uint64_t off, uint64_t len)
{
	uint64_t begin, end = off + len < off ? UINT64_MAX : off + len;

	if (!m->n_leaves)
		return true;
	size_t i = leaf_at(m, off < m->span ? off : m->span - 1, &begin, NULL);
	if (begin == off && i > 0 && !m->leaves[i - 1].ext)
		return false;
	for (; i < m->n_leaves && begin <= end; begin += m->leaves[i++].span)
		if (!m->leaves[i].ext)
			return false;
	return true;
}

struct extent manifest_at(const struct manifest *m, uint64_t off)
{
	uint64_t begin;

	if (off >= m->span)
		return (struct extent){ .len = UINT64_MAX - off };
	const struct leaf *l = &m->leaves[leaf_at(m, off, &begin, NULL)];
	for (uint32_t i = 0; i < l->n; begin += l->ext[i++].len)
		if (off < begin + l->ext[i].len) {
			struct extent x = l->ext[i];
			uint64_t skip = off - begin;

			x.len -= skip;
			x.off += x.chunk ? (uint32_t)skip : 0;
			return x;
		}
	return (struct extent){ .len = l->span };	/* cannot be: a leaf's extents fill it */
}

struct extent manifest_ending(const struct manifest *m, uint64_t off)
{
	uint64_t begin;

	if (!off || off > m->span)
		return (struct extent){ 0 };
	const struct leaf *l = &m->leaves[leaf_at(m, off - 1, &begin, NULL)];
	for (uint32_t i = 0; l->ext && i < l->n && begin < off; begin += l->ext[i++].len)
		if (begin + l->ext[i].len == off)
			return l->ext[i];
	return (struct extent){ 0 };
}

/* ---- changing */

struct ext_list {
	struct extent *v;
	size_t n, cap;
};

static int ext_add(struct ext_list *l, struct extent x, struct err *e)
{
	struct extent *last = l->n ? &l->v[l->n - 1] : NULL;

	if (!x.len)
		return 0;
	if (last && !last->chunk && !x.chunk) {
		last->len += x.len;
		return 0;
	}
	if (last && x.chunk && last->chunk == x.chunk && last->off + last->len == x.off) {
		last->len += x.len;
		return 0;
	}
	if (grow(&l->v, &l->cap, l->n + 1, sizeof *l->v, e) < 0)
		return -e->code;
	l->v[l->n++] = x;
	return 0;
}

/* Leaves first..last (group g holds the first, all are of neighbouring groups) give way to those extents. */
static int replace_leaves(struct manifest *m, size_t first, size_t count, const struct ext_list *l, struct err *e)
{
	/* full ones where things are appended, with room where things come in between */
	size_t each = l->n <= LEAF_MAX || first + count == m->n_leaves ? LEAF_MAX : LEAF_MAX * 3 / 4;
	size_t n = (l->n + each - 1) / each, g = 0, at = 0;
	struct leaf *fresh = calloc(n ? n : 1, sizeof *fresh);
	int rc = fresh ? grow(&m->leaves, &m->cap_leaves, m->n_leaves + n, sizeof *m->leaves, e) : err_set(e, ENOMEM, "%m");

	for (size_t i = 0; rc == 0 && i < n; i++) {
		size_t k = l->n - i * each < each ? l->n - i * each : each;

		fresh[i].n = (uint32_t)k;
		fresh[i].ext = malloc(k * sizeof *fresh[i].ext);
		if (!fresh[i].ext) {
			rc = err_set(e, ENOMEM, "%m");
			break;
		}
		memcpy(fresh[i].ext, l->v + i * each, k * sizeof *fresh[i].ext);
		for (size_t x = 0; x < k; x++)
			fresh[i].span += fresh[i].ext[x].len;
		fresh[i].used = in_chunks(fresh[i].ext, k);
	}
	if (rc == 0 && !m->n_groups)
		rc = add_group(m, (struct group){ 0 }, e);
	if (rc < 0) {
		for (size_t i = 0; fresh && i < n; i++)
			free(fresh[i].ext);
		free(fresh);
		return rc;
	}
	while (g + 1 < m->n_groups && at + m->groups[g].n <= first)
		at += m->groups[g++].n;
	/* the old ones leave their groups ... */
	size_t h = g, here = at + m->groups[g].n - first;
	for (size_t i = first; i < first + count; i++, here--) {
		while (!here)
			here = m->groups[++h].n;
		m->groups[h].span -= m->leaves[i].span;
		m->groups[h].used -= m->leaves[i].used;
		m->used -= m->leaves[i].used;
		m->groups[h].n--;
		m->groups[h].id = 0;
		m->span -= m->leaves[i].span;
		free(m->leaves[i].ext);
	}
	memmove(m->leaves + first + n, m->leaves + first + count, (m->n_leaves - first - count) * sizeof *m->leaves);
	if (n)
		memcpy(m->leaves + first, fresh, n * sizeof *fresh);
	m->n_leaves = m->n_leaves - count + n;
	/* ... and the new ones come into the first's */
	for (size_t i = 0; i < n; i++) {
		m->groups[g].span += fresh[i].span;
		m->groups[g].used += fresh[i].used;
		m->used += fresh[i].used;
		m->groups[g].n++;
		m->span += fresh[i].span;
	}
	m->groups[g].id = 0;
	free(fresh);
	return 0;
}

/* Groups that grew too large are divided, empty ones go. */
static int divide_groups(struct manifest *m, struct err *e)
{
	for (size_t g = 0, leaf = 0; g < m->n_groups; leaf += m->groups[g++].n) {
		if (!m->groups[g].n) {
			memmove(m->groups + g, m->groups + g + 1, (m->n_groups - g - 1) * sizeof *m->groups);
			m->n_groups--;
			g--;
			if (!m->n_groups)
				return 0;
			continue;
		}
		if (m->groups[g].n <= GROUP_MAX)
			continue;
		if (grow(&m->groups, &m->cap_groups, m->n_groups + 1, sizeof *m->groups, e) < 0)
			return -e->code;
		/* the last one goes on growing: it is left full */
		uint32_t keep = g + 1 == m->n_groups ? GROUP_MAX : m->groups[g].n / 2;
		struct group rest = { .n = m->groups[g].n - keep };

		for (uint32_t i = 0; i < rest.n; i++)
			rest.span += m->leaves[leaf + keep + i].span, rest.used += m->leaves[leaf + keep + i].used;
		memmove(m->groups + g + 2, m->groups + g + 1, (m->n_groups - g - 1) * sizeof *m->groups);
		m->groups[g].n = keep;
		m->groups[g].span -= rest.span;
		m->groups[g].used -= rest.used;
		m->groups[g].id = 0;
		m->groups[g + 1] = rest;
		m->n_groups++;
	}
	return 0;
}

int manifest_splice(struct manifest *m, uint64_t off, uint64_t len, const struct extent *ext, size_t n, struct err *e)
{
	struct ext_list l = { 0 };
	uint64_t begin = 0, at, end = off + len;
	size_t first = m->n_leaves, count = 0;
	int rc = 0;

	if (m->n_leaves) {
		first = leaf_at(m, off < m->span ? off : m->span - 1, &begin, NULL);
		if (off >= m->span && m->leaves[first].n >= LEAF_MAX) {	/* a full last one is left as it is */
			begin += m->leaves[first].span;
			first++;
		} else if (begin == off && first > 0 && m->leaves[first - 1].ext && m->leaves[first - 1].n < LEAF_MAX / 2) {
			begin -= m->leaves[--first].span;
		}
	}
	at = begin;
	for (size_t i = first; rc == 0 && i < m->n_leaves && (at < end || i == first); i++, count++) {
		const struct leaf *lf = &m->leaves[i];

		for (uint32_t x = 0; rc == 0 && x < lf->n && at < off; x++) {	/* what stays before */
			struct extent keep = lf->ext[x];

			if (keep.len > off - at)
				keep.len = off - at;
			rc = ext_add(&l, keep, e);
			at += lf->ext[x].len;
		}
		at = begin + lf->span;
		begin = at;
	}
	/* begin: where the replaced leaves end */
	uint64_t had = 0;
	for (size_t i = first; i < first + count; i++)
		had += m->leaves[i].span;
	uint64_t from = begin - had;
	if (rc == 0 && off > (from + had > off ? off : from + had))
		rc = ext_add(&l, (struct extent){ .len = off - (from + had) }, e);
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = ext_add(&l, ext[i], e);
	at = from;
	for (size_t i = first; rc == 0 && i < first + count; i++)
		for (uint32_t x = 0; rc == 0 && x < m->leaves[i].n; x++) {	/* what stays behind */
			struct extent keep = m->leaves[i].ext[x];
			uint64_t next = at + keep.len;

			if (next > end) {
				uint64_t skip = at < end ? end - at : 0;

				keep.off += keep.chunk ? (uint32_t)skip : 0;
				keep.len -= skip;
				rc = ext_add(&l, keep, e);
			}
			at = next;
		}
	if (rc == 0)
		rc = replace_leaves(m, first, count, &l, e);
	if (rc == 0)
		rc = divide_groups(m, e);
	free(l.v);
	return rc;
}

int64_t manifest_share(struct manifest *m, const struct manifest *src, uint64_t off, uint64_t len, struct err *e)
{
	uint64_t begin, done = 0;

	if (off >= src->span)
		return 0;
	size_t i = leaf_at(src, off, &begin, NULL);
	if (begin != off)
		return 0;
	for (; i < src->n_leaves && src->leaves[i].id && done + src->leaves[i].span <= len; done += src->leaves[i++].span) {
		if (add_leaf(m, (struct leaf){ .id = src->leaves[i].id, .span = src->leaves[i].span, .used = src->leaves[i].used }, e) < 0)
			return -e->code;
		if (!m->n_groups && add_group(m, (struct group){ 0 }, e) < 0)
			return -e->code;
		struct group *g = &m->groups[m->n_groups - 1];
		g->n++;
		g->id = 0;
		g->span += src->leaves[i].span;
		g->used += src->leaves[i].used;
		m->span += src->leaves[i].span;
		m->used += src->leaves[i].used;
	}
	return divide_groups(m, e) < 0 ? -e->code : (int64_t)done;
}

int manifest_cut(struct manifest *m, uint64_t size, struct err *e)
{
	struct ext_list l = { 0 };
	uint64_t begin;
	int rc = 0;

	if (size >= m->span)
		return 0;
	size_t first = leaf_at(m, size, &begin, NULL);
	const struct leaf *lf = &m->leaves[first];
	for (uint32_t x = 0; rc == 0 && x < lf->n && begin < size; begin += lf->ext[x++].len) {
		struct extent keep = lf->ext[x];

		if (keep.len > size - begin)
			keep.len = size - begin;
		rc = ext_add(&l, keep, e);
	}
	if (rc == 0)
		rc = replace_leaves(m, first, m->n_leaves - first, &l, e);
	if (rc == 0)
		rc = divide_groups(m, e);
	free(l.v);
	return rc;
}

/* ---- saving */

void saved_free(struct saved *s)
{
	for (size_t i = 0; i < s->n_nodes; i++)
		free(s->nodes[i].data);
	free(s->nodes);
	free(s->refs.v);
	*s = (struct saved){ 0 };
}

int refs_add(struct ref_list *r, int64_t what, struct err *e)
{
	if (grow(&r->v, &r->cap, r->n + 1, sizeof *r->v, e) < 0)
		return -e->code;
	r->v[r->n++] = what;
	return 0;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

void refs_sort(struct ref_list *r)
{
	if (r->n)
		qsort(r->v, r->n, sizeof *r->v, compare);
}

int64_t refs_count(const struct ref_list *r, int64_t what)
{
	size_t lo = 0, hi = r->n;
	int64_t n = 0;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (r->v[mid] < what)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (; lo < r->n && r->v[lo] == what; lo++)
		n++;
	return n;
}

static int save_node(struct saved *s, int64_t id, int level, uint64_t span, unsigned char *data, size_t len, struct err *e)
{
	if (grow(&s->nodes, &s->cap_nodes, s->n_nodes + 1, sizeof *s->nodes, e) < 0) {
		free(data);
		return -e->code;
	}
	s->nodes[s->n_nodes++] = (struct node_row){ id, level, span, data, len };
	return 0;
}

static int save_leaf(struct objects *os, struct leaf *l, struct saved *s, struct err *e)
{
	unsigned char *data = malloc((size_t)l->n * 30 + 1);
	size_t len = 0;
	int rc = 0;

	if (!data)
		return err_set(e, ENOMEM, "%m");
	for (uint32_t i = 0; rc == 0 && i < l->n; i++) {
		len += put(data + len, (uint64_t)l->ext[i].chunk);
		len += put(data + len, l->ext[i].off);
		len += put(data + len, l->ext[i].len);
		if (l->ext[i].chunk)
			rc = refs_add(&s->refs, l->ext[i].chunk, e);
	}
	if (rc < 0) {
		free(data);
		return rc;
	}
	l->id = index_id(os);
	return save_node(s, l->id, 0, l->span, data, len, e);
}

static int save_children(struct objects *os, int level, uint64_t span, size_t n, const struct leaf *leaves, const struct group *groups,
			 int64_t *id, struct saved *s, struct err *e)
{
	unsigned char *data = malloc(n * 30 + 1);
	size_t len = 0;
	int rc = 0;

	if (!data)
		return err_set(e, ENOMEM, "%m");
	for (size_t i = 0; rc == 0 && i < n; i++) {
		len += put(data + len, (uint64_t)(leaves ? leaves[i].id : groups[i].id));
		len += put(data + len, leaves ? leaves[i].span : groups[i].span);
		len += put(data + len, leaves ? leaves[i].used : groups[i].used);
		rc = refs_add(&s->refs, -(leaves ? leaves[i].id : groups[i].id), e);
	}
	if (rc < 0) {
		free(data);
		return rc;
	}
	*id = index_id(os);
	return save_node(s, *id, level, span, data, len, e);
}

size_t manifest_unsaved(const struct manifest *m)
{
	size_t n = 0;

	for (size_t i = 0; i + 1 < m->n_leaves; i++)
		n += !m->leaves[i].id;
	return n;
}

int manifest_spill(struct objects *os, struct manifest *m, struct saved *ret, struct err *e)
{
	struct saved s = { 0 };
	int rc = 0;

	for (size_t i = 0; rc == 0 && i + 1 < m->n_leaves; i++)
		if (!m->leaves[i].id)
			rc = save_leaf(os, &m->leaves[i], &s, e);
	/* those that have numbers now are written all the same: what was given cannot be taken back */
	*ret = s;
	return rc;
}

void manifest_forget(struct manifest *m)
{
	for (size_t i = 0; i + 2 < m->n_leaves; i++)
		if (m->leaves[i].id) {
			free(m->leaves[i].ext);
			m->leaves[i].ext = NULL;
		}
}

int manifest_save(struct objects *os, struct manifest *m, uint64_t size, struct saved *ret, struct err *e)
{
	struct saved s = { 0 };
	int64_t top = 0;
	int rc = 0;

	if (!m->n_leaves || (m->n_leaves == 1 && m->leaves[0].ext && m->leaves[0].n == 1 && !m->leaves[0].ext[0].chunk)) {
		*ret = s;	/* zeros */
		return 0;
	}
	const struct leaf *one = &m->leaves[0];
	if (m->n_leaves == 1 && one->ext && one->n == 1 && !one->ext->off && one->ext->len == size && chunk_is_whole(os, one->ext->chunk, size)) {
		s.root = one->ext->chunk;
		rc = refs_add(&s.refs, s.root, e);
		*ret = s;
		return rc;
	}
	for (size_t i = 0; rc == 0 && i < m->n_leaves; i++)
		if (!m->leaves[i].id)
			rc = save_leaf(os, &m->leaves[i], &s, e);
	for (size_t g = 0, leaf = 0; rc == 0 && m->n_leaves > 1 && g < m->n_groups; leaf += m->groups[g++].n)
		if (!m->groups[g].id)
			rc = save_children(os, 1, m->groups[g].span, m->groups[g].n, m->leaves + leaf, NULL, &m->groups[g].id, &s, e);
	if (rc == 0 && m->n_leaves == 1)
		top = m->leaves[0].id;
	else if (rc == 0 && m->n_groups == 1)
		top = m->groups[0].id;
	else if (rc == 0)
		rc = save_children(os, 2, m->span, m->n_groups, NULL, m->groups, &top, &s, e);
	if (rc == 0)
		rc = refs_add(&s.refs, -top, e);
	if (rc < 0) {
		saved_free(&s);
		return rc;
	}
	s.root = -top;
	*ret = s;
	return 0;
}
