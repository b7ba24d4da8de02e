/* Images from elsewhere: `url`, and the task that fetches it.  The bytes come by backends/fetch; here they get a name, are looked at while they
 * come, and are taken as an upload is. */
#include <errno.h>
#include <string.h>

#include "../../backends/block/disk.h"
#include "../../backends/fetch/fetch.h"
#include "../../backends/state/cloud.h"
#include "../tree/value.h"
#include "image.h"

#define HEAD (64 << 10)		/* bytes in which every header ends that names another file */

static void poke(void *arg, int64_t image)
{
	task_poke(arg, image);
}

/* A part is kept for an image that waits for it. */
static bool url_wanted(void *arg, const char *url)
{
	AUTO(call_end) struct call c = { 0 };
	bool wanted = true;
	struct err e;

	if (call_begin(arg, &c, &e) == 0)
		image_url_wanted(c.db, url, &wanted, &e);
	return wanted;
}

void image_sweep(struct fs *fs)
{
	struct fetcher *f = cloud_of(fs)->fetcher;

	if (f)
		fetch_sweep(f, url_wanted, fs);
}

int images_start(struct cloud *cl, struct err *e)
{
	AUTO(free) char *dir = NULL;
	struct fetch_conf conf = {
		.dirs = cl->cfg.import_dirs, .hosts = cl->cfg.import_hosts, .ca = cl->cfg.import_ca, .agent = "cirrusfs/" CIRRUSFS_VERSION,
		.avoid = cl->fs.mountpoint, .max = (uint64_t)cl->cfg.image_size_max << 20, .connect_s = 30, .stall_s = 60,
		.total_s = (unsigned)cl->cfg.import_timeout, .retries = 5, .retry_ms = 1000, .poke = poke, .arg = &cl->fs,
	};

	if (asprintf(&dir, "%s/fetch", cl->data) < 0)
		return err_set(e, ENOMEM, "%m");
	conf.dir = dir;
	if (fetcher_open(&conf, &cl->fetcher, e) < 0)
		return -e->code;
	image_sweep(&cl->fs);
	return bases_start(cl, e);
}

void images_stop(struct cloud *cl)
{
	bases_stop(cl);
	if (cl->fetcher)
		fetcher_close(cl->fetcher);
	cl->fetcher = NULL;
}

int64_t image_import_have(struct fs *fs, int64_t image)
{
	struct fetcher *f = cloud_of(fs)->fetcher;

	return f ? fetch_have(f, image) : -1;
}

void image_import_leave(struct fs *fs, int64_t image)
{
	struct fetcher *f = cloud_of(fs)->fetcher;

	if (f)
		fetch_leave(f, image, false);
	image_sweep(fs);
}

/* ---- url: shown without its password */

int image_show_url(struct call *c, const struct obj *o, FILE *out, struct err *e)
{
	AUTO(free) char *url = NULL, *shown = NULL;

	if (obj_text(c, o, "url", &url, e) < 0 || (*url && fetch_shown(url, &shown, e) < 0))
		return -e->code;
	fputs(shown ? shown : "", out);
	return 0;
}

int image_store_url(struct call *c, struct obj *o, const char *text, struct err *e)
{
	const struct fetcher *f = cloud_of(c->fs)->fetcher;

	if (!word_in("queued DRAFT", o->row.status))
		return err_set(e, EPERM, "it is fixed once the image is %s", o->row.status);
	if (!*text)
		return obj_set_null(c, o, "url", e);
	if (strstr(text, ":***@"))
		return err_set(e, EINVAL, "the password of a url is not shown; write it in place of ***");
	if (text_check(text, strlen(text), false, e) < 0 || (f && fetch_check(f, text, e) < 0))
		return -e->code;
	return obj_set_text(c, o, "url", text, e);
}

/* ---- the verb */

int image_import_begin(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	const struct fetcher *f = cloud_of(c->fs)->fetcher;
	const char *url = args_get(a, "url");
	AUTO(free) char *have = NULL;

	if (url && image_store_url(c, o, url, e) < 0)
		return -e->code;
	if (obj_text(c, o, "url", &have, e) < 0)
		return -e->code;
	if (!*have)
		return err_set(e, EINVAL, "import wants url=U: image '%s' has none", o->row.name);
	image_begin_anew(cloud_of(c->fs), o->row.id);
	return f ? fetch_check(f, have, e) : 0;
}

/* Given a url, creating is importing. */
int image_create(struct call *c, struct obj *o, const struct args *a, struct err *e)
{
	struct args none = { 0 };
	AUTO(free) char *url = NULL;
	int rc = obj_text(c, o, "url", &url, e);

	if (rc < 0 || !*url)
		return rc;
	rc = image_import_begin(c, o, &none, e);
	if (rc == 0)
		rc = obj_set_status(c, o, "importing", e);
	if (rc == 0)
		rc = obj_enqueue(c, o, "import", "", e);
	return rc < 0 ? rc : row_set_progress(c->db, o->row.id, 0, e);
}

/* ---- its task */

/* What need not wait for the last byte to be refused. */
static int look(struct fetcher *f, int64_t image, const struct fetch_state *st, int64_t size, const char *known, struct err *e)
{
	AUTO(free) char *head = malloc(HEAD);
	int64_t comes = st->total >= 0 ? st->total : st->have;

	if (!head)
		return err_set(e, ENOMEM, "%m");
	if (!*known && size && (st->total >= 0 ? comes != size : comes > size))
		return err_set(e, EBADMSG, "%s%ld bytes come; size says %ld", st->total < 0 ? "more than " : "", (long)comes, (long)size);
	size_t n = fetch_head(f, image, head, HEAD);
	return n == HEAD ? disk_header_check(head, n, e) : 0;
}

static int take(struct task *t, struct fetcher *f, const char *path, const struct fetch_state *st, struct err *e)
{
	int rc = fetch_take(f, t->obj.row.id, path, e);

	fetch_leave(f, t->obj.row.id, false);
	snprintf(t->detail, sizeof t->detail, "%ld bytes, %u connections", (long)st->have, st->tries);
	return rc;
}

int image_step_fetch(struct task *t, struct err *e)
{
	struct fetcher *f = cloud_of(t->fs)->fetcher;
	AUTO(free) char *url = NULL, *checksum = NULL;
	AUTO(call_end) struct call c = { 0 };
	char whole[300], taken[300];
	int64_t id = t->obj.row.id, size;
	struct fetch_state st;

	image_path(cloud_of(t->fs), id, ".whole", whole, sizeof whole);
	image_path(cloud_of(t->fs), id, ".img", taken, sizeof taken);
	if (access(whole, F_OK) == 0 || access(taken, F_OK) == 0)
		return 0;
	if (call_begin(t->fs, &c, e) < 0 || obj_text(&c, &t->obj, "url", &url, e) < 0 || obj_int(&c, &t->obj, "size", &size, e) < 0 ||
	    obj_text(&c, &t->obj, "checksum", &checksum, e) < 0)
		return -e->code;
	call_end(&c);
	c = (struct call){ 0 };
	if (fetch_join(f, url, id, &st, e) < 0)
		return -e->code;
	if (look(f, id, &st, size, checksum, e) < 0) {
		fetch_leave(f, id, false);
		return -e->code;
	}
	if (st.whole)
		return take(t, f, whole, &st, e);
	int percent = st.total > 0 ? (int)(st.have * 99 / st.total) : 0;
	if (percent != t->obj.row.progress)
		task_progress(t, percent);
	if (*st.trouble)
		task_waits(t, "%s", st.trouble);
	else if (st.total >= 0)
		task_waits(t, "%ld of %ld bytes", (long)st.have, (long)st.total);
	else
		task_waits(t, "%ld bytes", (long)st.have);
	t->patient = true;	/* backends/fetch ends what stalls, and all after import-timeout */
	t->ends = st.deadline_ms * 1000;
	t->again_ms = 1000;
	return 1;
}
