/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client connection from accept to close: classify, route, then splice or terminate. See
 * LIFECYCLE.md. Per thread; nothing here is shared. Does not listen: the worker accepts.
 */
#ifndef PENSTOCK_CONN_CONN_H
#define PENSTOCK_CONN_CONN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/loop.h"
#include "flows/flows.h"
#include "limit/limit.h"
#include "penstock/reasons.h"
#include "snapshot/snapshot.h"

/* All connections of one thread. */
struct conn_thread;

/* What the threads have in common; outlives them. */
struct conn_shared {
	struct flows *flows;
	struct limit_table *limits;
	unsigned int n_threads;
	size_t max_connections; /* of each thread */
};

/* `number` is the thread's, below n_threads. NULL: no memory. */
struct conn_thread *conn_thread_new(struct loop *loop, const struct conn_shared *shared,
				    unsigned int number) MUST_CHECK;

/* Closes all that are open. Takes NULL. */
void conn_thread_free(struct conn_thread *thread);

/*
 * A snapshot as this thread uses it. Built beside the one in use, so that a swap cannot fail
 * half-way. The lease holds one reference on the snapshot for all its connections.
 */
struct conn_lease;

struct conn_lease *conn_lease_new(struct conn_thread *thread, struct snapshot *snapshot) MUST_CHECK;

/* For a lease that was never taken. Takes NULL. */
void conn_lease_free(struct conn_lease *lease);

/* News of a host name; see origin_table_update(). */
int conn_thread_set_addresses(struct conn_thread *thread, const char *identity, size_t server,
			      const struct addr *addrs, size_t n_addrs) MUST_CHECK;

/* New connections use it; connections that are open keep theirs. */
void conn_thread_take(struct conn_thread *thread, struct conn_lease *lease);

/* Owns `fd` (nonblocking) from now on; over a limit or without memory it is closed at once, and
 * counted. */
void conn_accept(struct conn_thread *thread, size_t listener_index, int fd,
		 const struct addr *peer);

/* Calls `on_drained` once when no connection is left, maybe at once. Idle ones are closed, those
 * that have said nothing yet have a second, others may finish. */
void conn_thread_drain(struct conn_thread *thread, void (*on_drained)(void *argument),
		       void *argument);

#endif
