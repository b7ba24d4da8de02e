/* Servers: the steps of their tasks (steps.c) as the table of verbs (server.c) names them. */
#pragma once

#include "../cloud.h"

extern const struct step server_create_steps[], server_start_steps[], server_stop_steps[], server_reboot_steps[], server_remove_steps[];
/* STORE/servers/ROW[/file], by a path the guests' user can walk. */
void server_path(struct cloud *cl, int64_t server, const char *file, char *ret, size_t size);
