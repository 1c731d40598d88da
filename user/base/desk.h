/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A desk at a listening UNIX socket: a client writes one line, waits, and reads the answer until
 * the end. At most some at a time, each bounded in bytes and in time. Knows nothing of what is
 * asked.
 */
#ifndef PENSTOCK_BASE_DESK_H
#define PENSTOCK_BASE_DESK_H

#include <stddef.h>

#include "base/compiler.h"
#include "base/loop.h"

#define DESK_CLIENTS_MAX 32
#define DESK_LINE_MAX 1024 /* with its end */

struct desk;
struct desk_client;

struct desk_rules {
	/* Once per client, with its line, without the end. It stays until desk_answer(), which may
	 * be called at once or later; it does not leave by itself meanwhile. */
	void (*on_line)(void *argument, struct desk_client *client, const char *line);
	void *argument;
};

/* `listen_fd`, nonblocking, stays the caller's and must outlive the desk. NULL and errno. */
struct desk *desk_new(struct loop *loop, int listen_fd, const struct desk_rules *rules) MUST_CHECK;

/* With all clients, also those that wait. Takes NULL. */
void desk_free(struct desk *desk);

/* Takes `text`, which was malloc()ed, over, and sends it as the client reads. NULL: no memory; it
 * is closed without a word. The client is gone for the caller. */
void desk_answer(struct desk_client *client, char *text, size_t len_bytes);

#endif
