/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unprivileged process: N threads with a loop each, fed by bundles from the broker.
 */
#ifndef PENSTOCK_WORKER_WORKER_H
#define PENSTOCK_WORKER_WORKER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/loop.h"

struct worker;

/* What main wires in, so that worker and admin need not know each other. Both in the main thread.
 */
struct worker_hooks {
	/* When the first bundle was taken: `admin_fd` is the listening admin socket, to be owned.
	 */
	void (*on_started)(void *argument, struct worker *worker, struct loop *loop, int admin_fd);
	/* Before the loop goes, also where nothing was started. */
	void (*on_stopping)(void *argument);
	void *argument;
};

/* Runs until drained or told to stop. `bundle_fd` is the broker's socket. The process's exit
 * status. */
int worker_main(int bundle_fd, const struct worker_hooks *hooks);

/* The document of `penstock flows --json`; main thread only; NULL: no memory. */
json_t *worker_flows(struct worker *worker) MUST_CHECK;

/*
 * Takes a server out of service, or back in: {"origin", "server", "drained", "open": connections
 * that it still has, "others": servers of the origin that are not drained}; or {"error", "known":
 * names that would be right}. Main thread only; NULL: no memory.
 */
json_t *worker_drain_server(struct worker *worker, const char *origin, const char *server,
			    bool is_on) MUST_CHECK;

/* The document of `penstock status --json`; main thread only; NULL: no memory. */
json_t *worker_status(struct worker *worker) MUST_CHECK;

#endif
