/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to origins: which server, connect, TLS, and the pool of those kept alive. Per thread,
 * so without locks. An origin is keyed by its identity and outlives reloads; a view ties the
 * origins of one snapshot to a thread.
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
#include "conf/conf.h"
#include "penstock/reasons.h"
#include "tls/tls.h"

struct origin; /* as one snapshot sees it: lives as long as its view */
struct origin_state; /* what outlives a reload: the pool, the balancer */
struct origin_table; /* a thread's origins */

struct origin_table *origin_table_new(struct loop *loop) MUST_CHECK;

/* Closes pooled connections; those taken must be back. Takes NULL. */
void origin_table_free(struct origin_table *table);

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
	struct list node;
	struct origin_state *state;
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
	/* Exactly once, maybe before origin_acquire() returns. `conn` NULL: `reason` says why,
	 * `detail` for the log. */
	void (*on_ready)(struct origin_request *request, struct origin_conn *conn,
			 enum close_reason reason, const char *detail);
	struct origin_attempt *attempt; /* internal */
};

/* Takes an idle connection or opens one; a server that refuses or hangs is followed by the next of
 * the origin. */
void origin_acquire(struct origin *origin, struct origin_request *request);

/* on_ready will not be called any more. Right also when nothing is under way. */
void origin_cancel(struct origin_request *request);

/* Between two responses, nothing unread: kept for others, or closed where enough are kept. */
void origin_release(struct origin_conn *conn);

/* Closes and frees. */
void origin_discard(struct origin_conn *conn);

#endif
