/* The table of the top: which kinds of objects there are.  A new kind is one line here. */
#include "cloud.h"

/* In order of dependency: a kind stands after those it names.  spec is written in this order, purge goes backwards. */
const struct kind *const cloud_kinds[] = {
	&tenant_kind,
	&flavor_kind,
	&flavor_property_kind,
	&host_kind,
	&key_kind,
	&image_kind,
	&image_property_kind,
	&network_kind,
	&subnet_kind,
	&port_kind,
	&server_kind,
	&metadata_kind,
	&container_kind,
	NULL,
};
