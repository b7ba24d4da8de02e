/* Servers: the steps of their tasks (steps.c) as the table of verbs (server.c) names them. */
#pragma once

#include "../cloud.h"

extern const struct step server_create_steps[], server_start_steps[], server_stop_steps[], server_reboot_steps[], server_remove_steps[];
/* console.c: what one sees of a guest */
extern const struct talk console_talk, screen_talk;
extern const struct stream console_stream, console_old_stream;
#define CONSOLE_SOCKET "console.sock"
/* The look after logs that grow, and the thread behind open consoles. */
int consoles_start(struct cloud *cl, struct err *e);
/* False: a picture hangs in the hypervisor, whose connection is not to be closed. */
bool consoles_stop(struct cloud *cl);
/* ADDRESS:PORT of a guest that runs. */
show_fn show_vnc, show_vnc_password;
/* The last lines a guest wrote to its console, for a sentence: at most size - 1 bytes on one line. */
void console_last_words(struct cloud *cl, int64_t server, char *ret, size_t size);

/* False: a hypervisor has not come back from being asked to shut a guest down. */
bool servers_idle(void);
/* STORE/servers/ROW[/file], by a path the guests' user can walk. */
void server_path(struct cloud *cl, int64_t server, const char *file, char *ret, size_t size);
/* Taps of its guest that were deleted while it runs: made again, given back to it, plugged. */
int server_restore_taps(struct cloud *cl, int64_t server, struct err *e);
int servers_check(struct check *k, struct err *e);
/* The machine was restarted: servers that ran are SHUTOFF, and started again unless resume-guests says no. */
int servers_resume(struct cloud *cl, struct err *e);
