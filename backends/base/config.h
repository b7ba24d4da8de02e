/* STORE/config: `key = value` lines, `#` comments.  The last of two equal keys holds, an unknown key is an error. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"

struct config {
	char virt_type[8];	/* auto kvm qemu */
	char guest_user[33];	/* guests run as this user */
	char uplink[16];	/* NAT goes out by it; "": by the host's routes */
	char external_cidr[20];
	int workers, task_timeout, stop_timeout;	/* seconds */
	int cpu_ratio_x10, ram_ratio_x10, disk_ratio_x10;	/* how far a host is overcommitted, tenths */
	char import_dirs[1024], import_hosts[1024], import_ca[256];	/* images from elsewhere; backends/fetch/fetch.h */
	int image_size_max;	/* MiB */
	int image_cache_keep;	/* minutes; -1: for good */
	int import_timeout;	/* seconds */
	int console_log_max;	/* KiB */
	char vnc_listen[46];	/* "": no screens */
	int check_interval;	/* seconds between two looks for drift */
	bool resume_guests;	/* what ran before the machine was restarted runs again */
	int reserved_ram;	/* MiB a host keeps for itself */
	/* where full packs of objects live; backends/place/place.h */
	char objects_place[8], objects_url[512], objects_bucket[256], objects_prefix[512], objects_region[128], objects_key[256], objects_domain[128];
	char objects_secret_file[512], objects_ca[512];
	bool objects_virtual_host;
	int64_t objects_cache;	/* bytes */
};

/* Defaults, then what the file says; a file that is not there is an empty one.  EINVAL names the line. */
int config_read(const char *path, struct config *ret, struct err *e);
/* All keys with their defaults and meanings, as a file of comments: what init writes. */
void config_example(FILE *out);
/* The same as a table in markdown: for the documents and the manual. */
void config_table(FILE *out);
