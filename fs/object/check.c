/* The object store against itself, and its spaces against the containers: for fsck.  The running system does not look at everything again and again. */
#include "../check.h"
#include "../image/image.h"
#include "object.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int done(struct check *k, int64_t id, const char *name, struct err *e)
{
	return 0;
}

static void on_fault(void *arg, const char *thing, const char *wrong, const char *did)
{
	const struct mend m = { did, done };
	char path[2700];
	long space, image;
	int n = 0;

	if (sscanf(thing, "space %ld: %n", &space, &n) == 1 && n) {
		if (space == IMAGES_SPACE && sscanf(thing + n, "objects/%ld", &image) == 1) {
			image_damaged(arg, image, wrong);
			return;
		}
		check_path(arg, space, path, sizeof path - 1100);
		snprintf(path + strlen(path), 1100, "/%s", thing + n);
		thing = path;
	}
	check_fault(arg, 0, thing, did ? &m : NULL, 0, thing, "%s", wrong);
}

struct spaces {
	struct check *k;
	struct space *v;
	size_t n;
};

static int keep(void *arg, const struct space *s)
{
	struct spaces *x = arg;
	struct space *v = reallocarray(x->v, x->n + 1, sizeof *v);

	if (!v)
		return 1;
	x->v = v;
	x->v[x->n++] = *s;
	return 0;
}

static int drop(struct check *k, int64_t id, const char *name, struct err *e)
{
	struct objects *os = objects_of(&k->cl->fs, e);

	return os ? space_drop(os, id, e) : -e->code;
}

static int check_spaces(struct check *k, struct objects *os, struct err *e)
{
	static const struct mend m = { "removed", drop };
	struct spaces x = { .k = k };
	int rc = space_list(os, 0, keep, &x, e);

	for (size_t i = 0; i < x.n && rc >= 0; i++) {
		char thing[64];

		rc = x.v[i].id == IMAGES_SPACE ? 1 : check_known(k, &container_kind, x.v[i].id, e);
		snprintf(thing, sizeof thing, "objects: space %ld", (long)x.v[i].id);
		if (rc == 0)
			check_fault(k, 0, thing, &m, x.v[i].id, thing, "%ld objects of %ld bytes belong to no container", (long)x.v[i].count,
				    (long)x.v[i].bytes);
	}
	free(x.v);
	return rc < 0 ? rc : 0;
}

/* Opening it makes a new one, and moves the packs away. */
static bool index_lost(const char *dir)
{
	AUTO(free) char *index = NULL, *packs = NULL;
	glob_t found = { 0 };
	struct stat st;

	if (asprintf(&index, "%s/index.db", dir) < 0 || asprintf(&packs, "%s/packs/*.pack", dir) < 0 || (stat(index, &st) == 0 && st.st_size > 0))
		return false;
	bool any = glob(packs, 0, NULL, &found) == 0 && found.gl_pathc;
	globfree(&found);
	return any;
}

void objects_check_begin(struct check *k)
{
	char dir[PATH_MAX];
	struct err why = { 0 };

	if (k->running || snprintf(dir, sizeof dir, "%s/objects", k->cl->fs.store) >= (int)sizeof dir || access(dir, F_OK) < 0)
		return;		/* nothing was ever stored */
	if (!k->mend && index_lost(dir)) {
		snprintf(why.msg, sizeof why.msg, "objects/index.db is missing, and packs are there");
		check_fault(k, 0, "objects/index.db", NULL, 0, NULL, "it is missing, and packs are there: put a copy of it back; --repair begins an empty one, "
			    "and keeps the packs in STORE/lost+found");
	} else if (containers_open(k->cl, true, &k->cl->objects, &why) < 0)
		check_fault(k, 0, "objects", NULL, 0, NULL, "it cannot be opened: %s", why.msg);
	snprintf(k->cl->objects_error, sizeof k->cl->objects_error, "%s", why.msg);
}

void objects_check_end(struct check *k)
{
	if (!k->running)
		objects_close(steal_ptr(&k->cl->objects));
}

int containers_check(struct check *k, struct err *e)
{
	if (k->running || !k->cl->objects)
		return 0;
	int64_t rc = objects_check(k->cl->objects, k->data, k->mend, on_fault, k, e);
	if (rc >= 0)
		rc = check_spaces(k, k->cl->objects, e);
	return rc < 0 ? (int)rc : 0;
}
