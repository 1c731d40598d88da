/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to origins: which server, connect, TLS, and the pool of those kept alive. Per thread,
 * so without locks; what threads share (health, load, places) is in server/. An origin is keyed by
 * its identity and outlives reloads; a view ties the origins of one snapshot to a thread.
 *
 * A connection takes a place at its server and at its origin from before connecting until it is
 * released or discarded: idle ones in the pool take none, so the limits bound what a server has to
 * do at once, not how many sockets it holds. Who finds no place waits in a queue.
 */
#ifndef PENSTOCK_ORIGIN_ORIGIN_H
#define PENSTOCK_ORIGIN_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/list.h"
#include "base/loop.h"
#include "classify/proxy_protocol.h"
#include "conf/conf.h"
#include "penstock/reasons.h"
#include "tls/tls.h"

struct origin; /* as one snapshot sees it: lives as long as its view */
struct origin_state; /* what outlives a reload: the pool, the balancer */
struct origin_table; /* a thread's origins */

struct origin_table *origin_table_new(struct loop *loop) MUST_CHECK;

/* Closes pooled connections; those taken must be back. The loop runs no more after it. Takes NULL.
 */
void origin_table_free(struct origin_table *table);

/*
 * News of a host name: from now on servers[`index`] of that origin stands for these addresses
 * (their ports do not matter: it is the server's own), maybe for none. Addresses that stay keep
 * their pool, load and place in the balancer; connections to those that go live on, but not in the
 * pool. A name has no address until it is told here. 0; -ENOENT: no view has such an origin or
 * server; -ENOMEM: nothing changed.
 */
int origin_table_update(struct origin_table *table, const char *identity, size_t index,
			const struct addr *addrs, size_t n_addrs) MUST_CHECK;

/*
 * The thread's origins of one snapshot. `contexts[i]` belongs to conf->origins[i] (NULL: no TLS).
 * The view holds no reference on either: free it before them.
 */
struct origin_view;

struct origin_view *origin_view_new(struct origin_table *table, const struct conf *conf,
				    struct tls_client_ctx *const *contexts) MUST_CHECK;
void origin_view_free(struct origin_view *view);

struct origin *origin_view_get(struct origin_view *view, const struct conf_origin *conf);

/* A connection that was taken. The taker sets on_event at once and closes or releases it in the
 * end. */
struct origin_conn {
	struct io io; /* connected; TLS ready */
	struct list node; /* in the pool */
	struct list server_node; /* in its server's part of the pool */
	struct origin_state *state;
	struct origin_server *server;
	bool has_place; /* at its server */
	bool has_group_place; /* at its origin */
	uint64_t tls_scope; /* tls_client_ctx_scope() of its handshake; 0: none */
	const char *server_text; /* address, for logs; lives as long as the connection */
	bool reused; /* came from the pool: the server may have closed it meanwhile, so a request
			may be tried again */
	uint32_t keepalive_ms;
	uint32_t max_idle;
	uint64_t idle_until_ms; /* while in the pool */
	void (*on_event)(struct origin_conn *conn); /* io's flags were updated */
	void *owner;
};

/* A wish for a connection; embedded in what waits. */
struct origin_request {
	bool fresh; /* never from the pool */
	bool must_be_alive; /* what is sent cannot be sent twice: a kept connection is looked at
			       once more before it is given out */
	bool is_passed; /* bytes of the client's as they are: no TLS of our own around them */
	bool writes_first; /* bytes will be written at once: they may go with the SYN */
	const struct addr *client; /* for balancing by source, read by origin_acquire() only; NULL:
				      nobody's */
	const struct proxy_facts *facts; /* for the PROXY header of origins that ask for one, where
					    it must be; lives until on_ready */
	/* Exactly once, maybe before origin_acquire() returns. `conn` NULL: `reason` says why,
	 * `detail` for the log. */
	void (*on_ready)(struct origin_request *request, struct origin_conn *conn,
			 enum close_reason reason, const char *detail);
	struct origin_attempt *attempt; /* internal */
};

/*
 * Chooses a server, then takes an idle connection to it or opens one. A server that refuses or
 * hangs is followed by another of the origin that was not tried yet, `retries` times. Where all
 * places are taken the request waits in the order of coming, `queue_timeout_ms` at most (0:
 * `connect_timeout_ms`).
 */
void origin_acquire(struct origin *origin, struct origin_request *request);

/* on_ready will not be called any more. Right also when nothing is under way. */
void origin_cancel(struct origin_request *request);

/* The address that it was opened to; valid as long as the connection. */
const struct addr *origin_conn_addr(const struct origin_conn *conn);

/* Between two responses, nothing unread: kept for others, or closed where enough are kept. */
void origin_release(struct origin_conn *conn);

/* Closes and frees. */
void origin_discard(struct origin_conn *conn);

#endif
