/* A place that breaks when told to: the same table in front of another, for tests.  Rules: ../base/fault.h. */
#include <errno.h>

#include "../base/fault.h"
#include "../base/log.h"
#include "place_parts.h"

enum op { OP_CHECK, OP_PUT, OP_GET, OP_SIZE, OP_DELETE, OP_LIST, N_OPS };

static const char *const op_names[N_OPS] = {
	[OP_CHECK] = "check", [OP_PUT] = "put", [OP_GET] = "get", [OP_SIZE] = "size", [OP_DELETE] = "delete", [OP_LIST] = "list",
};

struct faulty {
	struct place p;
	struct place *inner;
	struct faults *faults;
};

#define FAULTY(which, call) ({ \
	struct faulty *f = (struct faulty *)p; \
	struct place *in = f->inner; \
	FAULT_CALL(f->faults, which, in->ops->call, e); \
})

static int fault_check(struct place *p, struct err *e)
{
	return FAULTY(OP_CHECK, check(in, e));
}

static int fault_put(struct place *p, const char *name, int fd, uint64_t size, struct err *e)
{
	return FAULTY(OP_PUT, put(in, name, fd, size, e));
}

static int fault_get(struct place *p, const char *name, uint64_t off, size_t len, void *buf, struct err *e)
{
	return FAULTY(OP_GET, get(in, name, off, len, buf, e));
}

static int fault_size(struct place *p, const char *name, uint64_t *ret, struct err *e)
{
	return FAULTY(OP_SIZE, size(in, name, ret, e));
}

static int fault_delete(struct place *p, const char *name, struct err *e)
{
	return FAULTY(OP_DELETE, delete(in, name, e));
}

static int fault_list(struct place *p, const char *begin, place_fn *fn, void *arg, struct err *e)
{
	return FAULTY(OP_LIST, list(in, begin, fn, arg, e));
}

static void fault_close(struct place *p)
{
	struct faulty *f = (struct faulty *)p;

	place_close(f->inner);
	faults_close(f->faults);
	free(f);
}

/* No .fd: whoever reads comes by OP_GET. */
static const struct place_ops fault_ops = {
	.name = "faulty",
	.close = fault_close,
	.check = fault_check,
	.put = fault_put,
	.get = fault_get,
	.size = fault_size,
	.delete = fault_delete,
	.list = fault_list,
};

int place_fault_wrap(struct place **p, const char *rules, struct err *e)
{
	AUTO(faults_close) struct faults *faults = NULL;
	AUTO(free) struct faulty *f = calloc(1, sizeof *f);

	if (!f)
		return err_set(e, ENOMEM, "%m");
	if (faults_open(rules, (*p)->ops->name, op_names, N_OPS, &faults, e) < 0)
		return -e->code;
	if (!faults)
		return 0;
	f->p.ops = &fault_ops;
	f->inner = *p;
	f->faults = steal_ptr(&faults);
	log_warn("objects' place with faults: %s", rules);
	*p = &steal_ptr(&f)->p;
	return 0;
}
