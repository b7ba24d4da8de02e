/* Flavors: sizes of servers. */
#include "../cloud.h"

static const struct file flavor_files[] = {
	{ "vcpus", .flags = F_PARAM | F_NEEDED, .type = T_INT, .column = "vcpus", .min = 1, .max = 1024, .help = "virtual processors" },
	{ "ram", .flags = F_PARAM | F_NEEDED, .type = T_MIB, .column = "ram", .min = 1, .max = 16777216, .help = "memory, MiB" },
	{ "disk", .flags = F_PARAM, .type = T_GIB, .column = "disk", .max = 1048576, .help = "root disk, GiB; 0: as large as the image" },
	{ "ephemeral", .flags = F_PARAM, .type = T_GIB, .column = "ephemeral", .max = 1048576, .help = "second, empty disk, GiB" },
	{ "swap", .flags = F_PARAM, .type = T_MIB, .column = "swap", .max = 1048576, .help = "swap disk, MiB" },
	{ "public", .flags = F_WRITE, .type = T_BOOL, .column = "public", .help = "every tenant may use it" },
	{ 0 }
};

static const struct verb flavor_verbs[] = {
	{ "create", "DRAFT", .then = "ACTIVE", .help = "makes the draft a flavor" },
	{ 0 }
};

const struct kind flavor_kind = {
	.no = 2, .name = "flavor", .dir = "flavors", .table = "flavor", .statuses = "ACTIVE DRAFT", .files = flavor_files,
	.verbs = flavor_verbs, .columns = "vcpus ram disk ephemeral swap public", .help = "sizes of servers",
	.example = "  echo 'create c2.big vcpus=8 ram=16G disk=40' > flavors/ctl\n",
};

static const struct file property_files[] = {
	{ "value", .flags = F_PARAM | F_WRITE, .type = T_TEXT, .column = "value", .max = 255, .help = "the value of this key" },
	{ 0 }
};

static const struct verb property_verbs[] = {
	{ "create", "DRAFT", .then = "ACTIVE", .help = "writing the file did it" },
	{ 0 }
};

#define PAIRS(n, d, p, h) { .no = n, .name = "property", .dir = d, .parent = p, .table = "pair", .flags = K_FILE | K_PLAIN | K_EMPTY, \
	.files = property_files, .verbs = property_verbs, .help = h }

const struct kind metadata_kind = PAIRS(10, "metadata", &server_kind, "what the guest is told, a file a key (up to 255 bytes)");
const struct kind image_property_kind = PAIRS(11, "properties", &image_kind, "facts about the image, a file a key");
const struct kind flavor_property_kind = PAIRS(12, "properties", &flavor_kind, "facts about the flavor, a file a key");
