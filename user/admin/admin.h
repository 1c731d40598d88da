/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's runtime socket: a client writes one line, reads one JSON document, or metrics, and
 * is closed. What is done and answered comes from handlers that main wires in.
 */
#ifndef PENSTOCK_ADMIN_ADMIN_H
#define PENSTOCK_ADMIN_ADMIN_H

#include <jansson.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/loop.h"

struct admin;

struct admin_handlers {
	/* In the loop's thread. The documents are the caller's from then on; NULL: no memory. */
	json_t *(*status)(void *argument);
	json_t *(*flows)(void *argument);
	/* The server gets nothing new from now on, or does again. */
	json_t *(*drain)(void *argument, const char *origin, const char *server, bool is_on);
	void *argument;
};

/* Serves clients of the listening `listen_fd`, which it owns from now on, also on failure. NULL and
 * errno. */
struct admin *admin_new(struct loop *loop, int listen_fd,
			const struct admin_handlers *handlers) MUST_CHECK;

/* Takes NULL. */
void admin_free(struct admin *admin);

#endif
