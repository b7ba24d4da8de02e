/* The connections to the hosts' hypervisors: a thread a host keeps one, notes what its guests do, and compares with the state. */
#pragma once

#include "../../backends/compute/hyper.h"
#include "../cloud.h"

int hosts_start(struct cloud *c, struct err *e);
/* False: one hangs in a call and goes on using all of this. */
bool hosts_stop(struct cloud *c);
/* A host was created or is gone. */
void hosts_changed(struct cloud *c);
/* Its connection, good until hosts_stop.  EHOSTDOWN and why; 1: it is being made (look again soon). */
int host_hyper(struct cloud *c, int64_t host, struct hyper **ret, bool *simulated, struct err *e);
/* Its name, for sentences. */
void host_label(struct cloud *c, int64_t host, char ret[256]);
/* "kvm" or "qemu"; NULL: being found out. */
const char *host_virt_type(struct cloud *c);
/* Compares a server with its domain and records the truth: power, and a status nobody is working on.  True: it should be looked at
 * again, when the task that works on it has ended. */
bool server_observe(struct cloud *c, int64_t server, struct hyper *h, const char *why);
/* Does a server of that status and power, on which nobody works, say something else than its domain? */
bool server_differs(const char *status, const char *power, enum guest_state s);
/* Compares all servers of a host.  alone: nobody else makes domains there, so those no server has are ended.  before: the faults of the last
 * time (they are told once); woken: guests that were found paused, kept from one time to the next; faults: what is left. */
struct words;
void servers_compare(struct cloud *cl, int64_t host, struct hyper *h, bool alone, const struct words *before, struct words *woken,
		     struct words *faults);
void hosts_health(struct cloud *c, FILE *out);
void guest_name(int64_t server, char ret[24]);
