/* The checked front of the hypervisor: what every backend may rely on, and what every caller may, is seen to here. */
#include "hyper.h"

#include <assert.h>
#include <string.h>

#include "ops.h"

/* A failure says why. */
static int done(int rc, const struct err *e)
{
	assert(rc == 0 || (rc < 0 && rc == -e->code && e->msg[0]));
	return rc;
}

static int done_as(int rc, const char *verb, const char *name, struct err *e)
{
	return done(rc, e) < 0 ? err_prefix(e, "%s %s", verb, name) : 0;
}

static void check_name(const char *name)
{
	assert(name && name[0] && !strchr(name, '/'));
}

int hyper_init(struct err *e)
{
	return done(hyper_libvirt_init(e), e);
}

int hyper_open(const struct hyper_config *c, struct hyper **ret, struct err *e)
{
	AUTO(hyper_close) struct hyper *h = NULL;
	const char *faults = getenv("CIRRUSFS_FAULT");

	assert(c->uri);
	if (done(hyper_libvirt_open(c, &h, e), e) < 0)
		return err_prefix(e, "hypervisor %s", c->uri);
	if (faults && *faults && hyper_fault_wrap(&h, faults, c->uri, e) < 0)
		return err_prefix(e, "CIRRUSFS_FAULT");
	*ret = steal_ptr(&h);
	return 0;
}

void hyper_close(struct hyper *h)
{
	if (h)
		h->ops->close(h);
}

int hyper_info(struct hyper *h, struct hyper_info *ret, struct err *e)
{
	return done(h->ops->info(h, ret, e), e);
}

int hyper_alive(struct hyper *h, struct err *e)
{
	return done(h->ops->alive(h, e), e);
}

int hyper_start(struct hyper *h, const struct guest_spec *spec, struct err *e)
{
	check_name(spec->name);
	assert(spec->uuid && spec->vcpus > 0 && spec->ram_mib > 0);
	for (size_t i = 0; i < spec->n_disks; i++)
		assert(spec->disks[i].path && spec->disks[i].format);
	for (size_t i = 0; i < spec->n_nics; i++)
		assert(spec->nics[i].tap && spec->nics[i].mac);
	return done_as(h->ops->start(h, spec, e), "start", spec->name, e);
}

int hyper_resume(struct hyper *h, const char *name, struct err *e)
{
	check_name(name);
	return done_as(h->ops->resume(h, name, e), "resume", name, e);
}

int hyper_shutdown(struct hyper *h, const char *name, struct err *e)
{
	check_name(name);
	return done_as(h->ops->shutdown(h, name, e), "shut down", name, e);
}

int hyper_destroy(struct hyper *h, const char *name, struct err *e)
{
	check_name(name);
	return done_as(h->ops->destroy(h, name, e), "destroy", name, e);
}

int hyper_state(struct hyper *h, const char *name, enum guest_state *ret, struct err *e)
{
	check_name(name);
	return done_as(h->ops->state(h, name, ret, e), "state of", name, e);
}

int hyper_screenshot(struct hyper *h, const char *name, FILE *out, struct err *e)
{
	check_name(name);
	return done_as(h->ops->screenshot(h, name, out, e), "picture of", name, e);
}

int hyper_vnc_port(struct hyper *h, const char *name, unsigned *ret, struct err *e)
{
	check_name(name);
	return done_as(h->ops->vnc_port(h, name, ret, e), "screen of", name, e);
}

int hyper_stats(struct hyper *h, void (*fn)(void *arg, const char *name, const struct guest_stats *s), void *arg, struct err *e)
{
	return done(h->ops->stats(h, fn, arg, e), e);
}

int hyper_list(struct hyper *h, void (*fn)(void *arg, const char *name, enum guest_state s), void *arg, struct err *e)
{
	return done(h->ops->list(h, fn, arg, e), e);
}
