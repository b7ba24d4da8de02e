/* Networks, as servers and the running process use them. */
#pragma once

#include "../../backends/network/net.h"
#include "../../backends/state/cloud.h"
#include "../cloud.h"

/* In the transaction that creates a server: a port on that network with an address of its own.  address "": the next free one. */
int port_allocate(struct call *c, const struct obj *network, const struct obj *server, int nic, const char *address, struct err *e);
/* Its ports' names are free at once; their rows go with the server's. */
int ports_going(struct call *c, const struct obj *server, struct err *e);
int ports_left(struct call *c, const struct obj *server, struct err *e);
/* Namespace, bridge, DHCP with all present reservations: made or mended.  May block. */
int network_up(struct cloud *cl, int64_t network, struct err *e);
/* fn for each part of it that is not as network_up makes it. */
int network_faults(struct cloud *cl, int64_t network, net_fault_fn *fn, void *arg, struct err *e);
/* Takes down what is left of a network the state does not know. */
int network_sweep(struct cloud *cl, int64_t network, struct err *e);
/* Removes the host's own table when the store has no network. */
int network_host_table(struct cloud *cl, struct err *e);
int networks_check(struct check *k, struct err *e);
/* A thread (arg: struct cloud): every network, so that those of an earlier boot of the machine are there again. */
void *networks_start(void *arg);
void network_health(struct cloud *cl, FILE *out);
/* Nova's hostname of a server: letters, digits, dots and hyphens of its name, else server-UUID. */
void host_name(const char *name, const char *uuid, char ret[64]);
