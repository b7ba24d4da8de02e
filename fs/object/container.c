/* Containers: their settings are the state's, their objects the object store's, which knows each as a space of the same number.
 * The state is changed first, and the space is told once that is committed; at start all of them are told again. */
#include "object.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

#include "../../backends/base/log.h"
#include "../../backends/base/metric.h"
#include "../../backends/place/place.h"
#include "../tree/value.h"

/* ---- values */

static int space_of(struct call *c, const struct obj *o, struct space *ret, struct err *e)
{
	struct objects *os = objects_of(c->fs, e);

	return os ? space_get(os, o->row.id, ret, e) : -e->code;
}

static int show_bytes(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct space s;

	return space_of(c, o, &s, e) < 0 ? -e->code : fprintf(out, "%ld", (long)s.bytes) < 0;
}

static int show_count(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct space s;

	return space_of(c, o, &s, e) < 0 ? -e->code : fprintf(out, "%ld", (long)s.count) < 0;
}

static int store_acl(struct call *c, struct obj *o, const char *text, struct err *e)
{
	bool write = strcmp(c->file->name, "write-acl") == 0;
	AUTO(free) char *clean = NULL;

	if (strlen(text) > 8192)
		return err_set(e, EINVAL, "an access list has at most 8192 bytes");
	return acl_clean(text, write, &clean, e) < 0 ? -e->code : obj_set_text(c, o, write ? "write_acl" : "read_acl", clean, e);
}

struct sum {
	int64_t bytes, count;
};

static int add_space(void *arg, const struct space *s)
{
	struct sum *sum = arg;

	sum->bytes += s->bytes;
	sum->count += s->count;
	return 0;
}

int objects_show_usage(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	struct objects *os = objects_of(c->fs, e);
	struct sum sum = { 0 };

	if (!os || space_list(os, o->row.id, add_space, &sum, e) < 0)
		return -e->code;
	fprintf(out, "%ld", (long)(strcmp(c->file->name, "usage/objects") == 0 ? sum.count : sum.bytes));
	return 0;
}

static const struct file container_files[] = {
	{ "read-acl", .flags = F_PARAM | F_WRITE, .type = T_TEXT, .column = "read_acl", .max = 8192, .store = store_acl, .help = "who else may read, as in Swift: `.r:*,.rlistings` is everybody; kept, and enforced once there are users" },
	{ "write-acl", .flags = F_PARAM | F_WRITE, .type = T_TEXT, .column = "write_acl", .max = 8192, .store = store_acl, .help = "who else may write: `PROJECT:USER`, `*:*`, a role" },
	{ "versioning", .flags = F_PARAM | F_WRITE, .type = T_BOOL, .column = "versioning", .help = "true: what is overwritten or removed is kept" },
	{ "quota-bytes", .flags = F_PARAM | F_WRITE, .type = T_BYTES, .min = -1, .column = "quota_bytes", .help = "bytes its objects may have; -1 is unlimited" },
	{ "quota-count", .flags = F_PARAM | F_WRITE, .type = T_INT, .min = -1, .column = "quota_count", .help = "objects it may have; -1 is unlimited" },
	{ "compression", .flags = F_PARAM | F_WRITE, .type = T_BOOL, .column = "compression", .help = "what is written from now on is compressed where that pays" },
	{ "bytes", .flags = F_LIVE, .type = T_BYTES, .show = show_bytes, .help = "of its objects" },
	{ "count", .flags = F_LIVE, .type = T_INT, .show = show_count, .help = "of its objects" },
	{ "logical", .flags = F_LIVE, .type = T_BYTES, .show = objects_show_logical, .help = "bytes its objects have" },
	{ "stored", .flags = F_LIVE, .type = T_BYTES, .show = objects_show_stored, .help = "bytes on disk that only it accounts for" },
	{ "dedup-ratio", .flags = F_LIVE, .type = T_TEXT, .show = objects_show_ratio, .help = "logical / stored" },
	{ "listing", .flags = F_HIDDEN | F_LIST, .show = container_show_listing, .help = "its objects: a header, then name, bytes, MD5 (- while it is computed), content type and time, with tabs" },
	{ "listing.json", .flags = F_HIDDEN, .show = container_show_listing, .help = "the same in Swift's form" },
	{ "objects", .flags = F_DIR, .files = &object_files, .help = "its objects: ordinary files and directories" },
	{ "versions", .flags = F_DIR, .files = &version_files, .help = "what objects were while versioning is true, in NAME/TIME; cp or mv into objects/ brings one back, rm forgets it" },
	{ 0 }
};

/* ---- what the object store is told */

static pthread_mutex_t tell_lock = PTHREAD_MUTEX_INITIALIZER;	/* who tells last has read last */

static int tell_container(struct call *c, struct objects *os, int64_t id, struct err *e)
{
	int64_t versioning, compression;
	struct space s;
	struct obj o;

	if (obj_by_id(c, id, &o, e) < 0 || space_make(os, id, o.row.tenant, e) < 0 || space_get(os, id, &s, e) < 0 ||
	    obj_int(c, &o, "quota_bytes", &s.quota_bytes, e) < 0 || obj_int(c, &o, "quota_count", &s.quota_count, e) < 0 ||
	    obj_int(c, &o, "versioning", &versioning, e) < 0 || obj_int(c, &o, "compression", &compression, e) < 0)
		return -e->code;
	s.versioning = versioning;
	s.compression = compression;
	return space_set(os, &s, e);
}

static int tell_tenant(struct call *c, struct objects *os, int64_t id, struct err *e)
{
	int64_t bytes, count;

	if (quota_get(c->db, id, "object-bytes", -1, &bytes, e) < 0 || quota_get(c->db, id, "objects", -1, &count, e) < 0)
		return -e->code;
	space_tenant_quota(os, id, bytes, count);
	return 0;
}

/* Those without a change of a value that matters cost a comparison. */
static bool matters(const struct change *ch)
{
	if (ch->kind == container_kind.no)
		return ch->what & (CH_VALUES | CH_ENTRY) && !(ch->what & CH_GONE);
	return ch->kind == tenant_kind.no && ch->what & CH_VALUES && (!ch->only || strncmp(ch->only->name, "quota/object", 12) == 0);
}

void containers_committed(struct fs *fs, const struct change *ch, size_t n)
{
	struct objects *os = cloud_of(fs)->objects;

	for (size_t i = 0; i < n && os; i++) {
		AUTO(call_end) struct call c = { 0 };
		struct err e = { 0 };

		if (!matters(&ch[i]))
			continue;
		pthread_mutex_lock(&tell_lock);
		int rc = call_begin(fs, &c, &e);
		if (rc == 0)
			rc = ch[i].kind == tenant_kind.no ? tell_tenant(&c, os, ch[i].row, &e) : tell_container(&c, os, ch[i].row, &e);
		pthread_mutex_unlock(&tell_lock);
		if (rc < 0 && rc != -ENOENT)
			log_error("%s %ld: the object store was not told: %s", fs->by_no[ch[i].kind]->name, (long)ch[i].row, e.msg);
	}
}

/* ---- going */

static int going(struct call *c, struct obj *o, struct err *e)
{
	struct objects *os = objects_of(c->fs, e);
	struct space s = { 0 };

	if (c->purge)
		return 0;
	int rc = os ? space_used(os, o->row.id, e) : -e->code;
	if (rc <= 0)
		return rc == -ENOENT ? 0 : rc;
	if (space_get(os, o->row.id, &s, e) < 0)
		return -e->code;
	if (rc == 2)
		return err_set(e, ENOTEMPTY, "container '%s' keeps %ld old versions", o->row.name, (long)s.versions);
	if (!s.count)
		return err_set(e, ENOTEMPTY, "container '%s' has directories in objects/", o->row.name);
	return err_set(e, ENOTEMPTY, "container '%s' has %ld object%s; rm -r what is in its objects/ first", o->row.name, (long)s.count,
		       s.count == 1 ? "" : "s");
}

struct first {
	struct entry n;
	bool any;
};

static int take_first(void *arg, const struct entry *n, int64_t offset)
{
	*(struct first *)arg = (struct first){ *n, true };
	return 1;
}

/* Everything in it, the deepest first. */
static int clear_dir(struct objects *os, int64_t dir, struct err *e)
{
	for (;;) {
		struct first f = { .any = false };
		int rc = name_list(os, dir, 0, take_first, &f, e);

		if (rc < 0 || !f.any)
			return rc;
		if (f.n.type == ENTRY_DIR && (rc = clear_dir(os, f.n.id, e)) < 0)
			return rc;
		rc = name_remove(os, dir, f.n.name, f.n.type == ENTRY_DIR, e);
		if (rc == -ENOENT || rc == -ENOTEMPTY)	/* somebody is still at work there */
			*e = (struct err){ 0 };
		else if (rc < 0)
			return rc;
	}
}

struct versions {
	struct objects *os;
	int64_t *v;
	size_t n;
	char *name;
};

static int add_version(void *arg, const struct version *ver)
{
	struct versions *x = arg;
	int64_t *v = reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 1;
	x->v = v;
	x->v[x->n++] = ver->id;
	return 0;
}

static int take_name(void *arg, const struct version *ver)
{
	struct versions *x = arg;

	x->name = strdup(ver->name);
	return 1;
}

static int clear_versions(struct objects *os, int64_t space, struct err *e)
{
	for (;;) {
		struct versions x = { .os = os };
		int rc = version_list(os, space, NULL, take_name, &x, e);

		if (rc == 0 && x.name)
			rc = version_list(os, space, x.name, add_version, &x, e);
		for (size_t i = 0; i < x.n && rc == 0; i++)
			rc = version_remove(os, x.v[i], e);
		bool done = !x.name || !x.n;
		free(x.name);
		free(x.v);
		if (rc < 0 || done)
			return rc;
	}
}

/* What came in while the deletion was accepted, or what a purge takes along, goes first. */
static int step_drop(struct task *t, struct err *e)
{
	struct objects *os = objects_of(t->fs, e);
	int64_t id = t->obj.row.id;
	struct space s;

	if (!os)
		return -e->code;
	int rc = space_drop(os, id, e);
	if (rc != -ENOTEMPTY)
		return rc;
	*e = (struct err){ 0 };
	if (space_get(os, id, &s, e) < 0)
		return -e->code;
	s.versioning = false;
	if (space_set(os, &s, e) < 0 || clear_dir(os, s.root, e) < 0 || clear_versions(os, id, e) < 0)
		return -e->code;
	return space_drop(os, id, e);
}

static const struct step remove_steps[] = { { "objects", step_drop }, { 0 } };

static const struct verb container_verbs[] = {
	{ "create", "DRAFT", .then = "ACTIVE", .help = "mkdir did it" },
	{ 0 }
};

const struct kind container_kind = {
	.no = 13, .name = "container", .dir = "containers", .parent = &tenant_kind, .table = "container", .flags = K_LIVE, .files = container_files,
	.verbs = container_verbs, .going = going, .remove = remove_steps, .check = containers_check, .columns = "count bytes",
	.help = "objects: files with the semantics of Swift, whose equal pieces are stored once",
	.example = "  mkdir containers/site && cp -r photos containers/site/objects/\n"
		   "  setfattr -n user.meta.by -v me containers/site/objects/photos/a.jpg; getfattr -d containers/site/objects/photos/a.jpg\n"
		   "  echo 10G > containers/site/quota-bytes; cat containers/site/listing\n",
};

/* ---- start, stop, faults */

struct rows {
	int64_t *v;
	size_t n;
};

static int keep_row(void *arg, const struct row *r)
{
	struct rows *x = arg;
	int64_t *v = reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 1;
	x->v = v;
	x->v[x->n++] = r->id;
	return 0;
}

static int keep_space(void *arg, const struct space *s)
{
	struct row r = { .id = s->id };

	return keep_row(arg, &r);
}

static int each_row(struct fs *fs, const struct kind *k, struct rows *ret, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };

	return call_begin(fs, &c, e) < 0 ? -e->code : row_list(c.db, k == &tenant_kind ? ROOT_ROW : 0, k->no, 0, true, keep_row, ret, e);
}

static int tell_all(struct fs *fs, struct objects *os, const struct kind *k, struct err *e)
{
	AUTO(call_end) struct call c = { 0 };
	struct rows rows = { 0 };
	int rc = each_row(fs, k, &rows, e);

	if (rc == 0)
		rc = call_begin(fs, &c, e);
	for (size_t i = 0; i < rows.n && rc == 0; i++)
		rc = k == &tenant_kind ? tell_tenant(&c, os, rows.v[i], e) : tell_container(&c, os, rows.v[i], e);
	free(rows.v);
	return rc;
}

static bool has_container(struct fs *fs, int64_t id)
{
	AUTO(call_end) struct call c = { 0 };
	struct err e = { 0 };
	struct row r;

	/* in doubt it has */
	return call_begin(fs, &c, &e) < 0 || (row_by_id(c.db, id, &r, &e) > 0 ? r.kind == container_kind.no : e.code != 0);
}

/* A space without a container is nobody's; but objects in it are not thrown away because the state is an older copy. */
static void drop_strays(struct fs *fs, struct objects *os)
{
	struct rows rows = { 0 };
	struct err e = { 0 };

	space_list(os, 0, keep_space, &rows, &e);
	for (size_t i = 0; i < rows.n; i++) {
		struct err why = { 0 };

		if (rows.v[i] != IMAGES_SPACE && !has_container(fs, rows.v[i]) && space_drop(os, rows.v[i], &why) < 0)
			log_warn("the object store has objects of no container (space %ld): %s", (long)rows.v[i], why.msg);
	}
	free(rows.v);
}

static void objects_went(void *arg, int64_t space, int64_t dir, const char *name, int64_t id)
{
	struct err ignored = { 0 };
	int64_t root;

	files_renamed(arg, &object_files, dir, object_files.top(arg, space, &root, &ignored) == 0 && root == dir ? space : 0, name);
	files_changed(arg, &object_files, id);
}

static struct place_conf place_of(const struct config *c)
{
	return (struct place_conf){ .kind = c->objects_place, .url = c->objects_url, .bucket = c->objects_bucket, .prefix = c->objects_prefix,
		.region = c->objects_region, .key = c->objects_key, .domain = c->objects_domain, .secret_file = c->objects_secret_file,
		.ca = c->objects_ca, .virtual_host = c->objects_virtual_host, .cache_bytes = (uint64_t)c->objects_cache };
}

int containers_settings(const struct config *c, struct err *e)
{
	const struct place_conf place = place_of(c);

	if (strcmp(place.kind, "local") != 0)
		return place_valid(&place, e);
	return *place.url && *place.url != '/' ? err_set(e, EINVAL, "objects-url: '%.100s' is no absolute path", place.url) : 0;
}

int containers_open(struct cloud *cl, bool check, struct objects **ret, struct err *e)
{
	const struct place_conf place = place_of(&cl->cfg);
	const struct objects_conf conf = { .place = &place, .check = check };
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof dir, "%s/objects", cl->fs.store) >= (int)sizeof dir)
		return err_set(e, ENAMETOOLONG, "the path of the store is too long");
	return objects_open(dir, &conf, ret, e);
}

void containers_start(struct cloud *cl)
{
	struct objects *os;
	struct err e = { 0 };

	if (containers_open(cl, false, &os, &e) < 0) {
		snprintf(cl->objects_error, sizeof cl->objects_error, "%s", e.msg);
		log_error("the object store is not opened: %s", e.msg);
		return;
	}
	objects_on_gone(os, objects_went, &cl->fs);
	pthread_mutex_lock(&tell_lock);
	if (tell_all(&cl->fs, os, &tenant_kind, &e) < 0 || tell_all(&cl->fs, os, &container_kind, &e) < 0)
		log_error("the object store was not told of all containers: %s", e.msg);
	cl->objects = os;
	pthread_mutex_unlock(&tell_lock);
	drop_strays(&cl->fs, os);
}

void containers_stop(struct cloud *cl)
{
	objects_close(steal_ptr(&cl->objects));
}

void containers_health(struct cloud *cl, FILE *out)
{
	if (!cl->objects && *cl->objects_error)
		fprintf(out, "no objects can be read or written: %s\n", cl->objects_error);
	struct objects_place st;
	struct err ignored = { 0 };
	int64_t missing = 0, nobodys = 0;

	if (cl->objects)
		objects_lost(cl->objects, &missing, &nobodys);
	if (missing)
		fprintf(out, "objects: %ld packs are missing, and what is in them cannot be read; cirrusfs fsck says which objects that are\n", (long)missing);
	if (nobodys)
		fprintf(out, "objects: objects/index.db was lost: %ld packs in objects/packs/lost+found belong to objects that nothing names any more; unmount, and put a copy of index.db back\n", (long)nobodys);
	if (cl->objects && objects_failed(cl->objects))
		fprintf(out, "objects: the disk failed to keep what was written (%s); nothing more is taken: look at the disk, unmount, mount again\n",
			strerror(objects_failed(cl->objects)));

	if (cl->objects && objects_place(cl->objects, &st, &ignored) == 0 && *st.trouble)
		fprintf(out, "packs of objects cannot be moved to their place, %ld (%ld MiB) wait: %s\n", (long)st.waiting, (long)(st.waiting_bytes >> 20), st.trouble);
}

struct line {
	const char *name, *help;
	int64_t value;
	bool counter;
};

static void put_lines(FILE *out, const struct line *l, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		metric_family(out, l[i].name, l[i].counter ? METRIC_COUNTER : METRIC_GAUGE, l[i].help);
		metric_put(out, l[i].name, (double)l[i].value, NULL);
	}
}

static void place_metrics(struct objects *os, FILE *out)
{
	struct objects_place st;
	struct err ignored = { 0 };

	if (objects_place(os, &st, &ignored) < 0 || !st.used)
		return;
	const struct line lines[] = {
		{ "cirrusfs_object_place_packs", "Packs that are in objects-place.", st.packs, false },
		{ "cirrusfs_object_place_bytes", "Bytes of those.", st.pack_bytes, false },
		{ "cirrusfs_object_place_waiting_packs", "Full packs that are not there yet.", st.waiting, false },
		{ "cirrusfs_object_place_waiting_bytes", "Bytes of those.", st.waiting_bytes, false },
		{ "cirrusfs_object_cache_bytes", "Bytes of the cache of objects-place.", st.cache_bytes, false },
		{ "cirrusfs_object_cache_hits_total", "Blocks that were in it.", st.cache_hits, true },
		{ "cirrusfs_object_cache_misses_total", "Blocks that had to be got.", st.cache_misses, true },
	};
	put_lines(out, lines, ARRAY_LEN(lines));
}

void containers_metrics(struct fs *fs, FILE *out)
{
	struct objects_stats st;
	struct err ignored = { 0 };
	struct objects *os = cloud_of(fs)->objects;

	if (!os || objects_stats(os, &st, &ignored) < 0)
		return;
	const struct line lines[] = {
		{ "cirrusfs_object_entries", "Objects in all containers, and data of images.", st.entries, false },
		{ "cirrusfs_object_chunks", "Different pieces they are made of.", st.chunks, false },
		{ "cirrusfs_object_chunk_bytes", "Bytes of those.", st.chunk_bytes, false },
		{ "cirrusfs_object_packs", "Files that hold them.", st.packs, false },
		{ "cirrusfs_object_pack_bytes", "Bytes of those files.", st.pack_bytes, false },
		{ "cirrusfs_object_dead_bytes", "Bytes in them that nothing refers to any more.", st.dead_bytes, false },
	};
	put_lines(out, lines, ARRAY_LEN(lines));
	place_metrics(os, out);
}
