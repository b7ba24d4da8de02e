/* Queries of the cloud's own tables that no single column answers. */
#pragma once

#include "db.h"

struct nic_row {	/* a NIC as it was asked for */
	int64_t id, server, network;
	char address[16], name[256];	/* address "": any */
};
typedef int nic_fn(void *arg, const struct nic_row *n);
int nic_list(struct db *db, int64_t server, nic_fn *fn, void *arg, struct err *e);
int nic_add(struct db *db, int64_t server, int64_t network, const char *address, const char *name, struct err *e);	/* EEXIST: the name */
int nic_clear(struct db *db, int64_t server, struct err *e);
int nic_delete(struct db *db, int64_t server, const char *name, struct err *e);	/* 1 there was one */
int nic_by_id(struct db *db, int64_t id, struct nic_row *ret, struct err *e);

struct port_row {
	int64_t id, network, subnet, server;
	int nic;
	char mac[18], address[16], server_name[256], server_uuid[37];
};
typedef int port_fn(void *arg, const struct port_row *p);
/* Of a server (by NIC order) or of a network; those of servers being deleted too. */
int port_list(struct db *db, int64_t server, int64_t network, port_fn *fn, void *arg, struct err *e);
int port_set(struct db *db, int64_t id, int64_t network, int64_t subnet, int64_t server, int nic, const char *mac, const char *address,
	     struct err *e);
/* 1 and *server: whose port has that address in that network, unless the server is being deleted. */
int port_owner(struct db *db, int64_t network, const char *address, int64_t *server, struct err *e);
/* 1: nobody has it in this network. */
int port_address_free(struct db *db, int64_t network, const char *address, struct err *e);
int port_mac_free(struct db *db, const char *mac, struct err *e);	/* anywhere */

struct host_row {
	int64_t id;
	char name[256], why[256];
	bool enabled, maintenance, up, simulated;
	int64_t vcpus, ram, disk, vcpus_used, ram_used, disk_used;	/* MiB, GiB */
};
typedef int host_fn(void *arg, const struct host_row *h);
int host_list(struct db *db, host_fn *fn, void *arg, struct err *e);	/* created ones, none that is going */
int host_set_up(struct db *db, int64_t id, bool up, const char *why, struct err *e);
int host_set_facts(struct db *db, int64_t id, int64_t vcpus, int64_t ram, int64_t disk, const char *hypervisor, bool simulated,
		   struct err *e);

/* Servers on that host, the going ones too. */
typedef int server_fn(void *arg, int64_t id, const char *status, bool deleted);
int server_on_host(struct db *db, int64_t host, server_fn *fn, void *arg, struct err *e);

/* Servers that begin, began or are to begin as that image on a host that makes disks (or on none yet), the going ones too. */
int server_of_image(struct db *db, int64_t image, server_fn *fn, void *arg, struct err *e);

/* *ret: an image that has no data yet is to come from that URL. */
int image_url_wanted(struct db *db, const char *url, bool *ret, struct err *e);

/* A setting of the store itself: the caller frees; "" when there is none. */
int meta_get(struct db *db, const char *name, char **ret, struct err *e);
int meta_set(struct db *db, const char *name, const char *value, struct err *e);
