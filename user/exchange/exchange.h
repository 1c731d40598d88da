/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 on one client connection: request head -> route -> origin -> response, again and again
 * while the connection is kept alive. Owns neither the client's io nor the connection; logs
 * nothing, but reports each request.
 */
#ifndef PENSTOCK_EXCHANGE_EXCHANGE_H
#define PENSTOCK_EXCHANGE_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/io.h"
#include "base/loop.h"
#include "base/str.h"
#include "conf/conf.h"
#include "origin/origin.h"
#include "penstock/reasons.h"
#include "route/route.h"

struct exchange;

/* One finished request. Slices live until the callback returns. The target is without its query. */
struct exchange_record {
	struct str method;
	struct str host;
	struct str path;
	uint16_t status; /* 0: none was sent */
	enum close_reason reason; /* DONE, or what went wrong */
	const char *detail; /* for the log; NULL: nothing to add */
	const struct conf_route *route; /* NULL: none matched */
	const char *server; /* address of the origin's server; NULL: none was reached */
	const char *relay; /* how the response body was carried: "none", "copy", "pipe" */
	const char *relay_reason; /* why not faster; NULL: nothing is faster */
	const char *origin_tls; /* io->ops->name toward the origin */
	const char *origin_why_not_kernel;
	uint64_t request_bytes; /* head and body, from the client */
	uint64_t response_bytes; /* head and body, to the client */
	uint64_t duration_us;
	uint64_t first_byte_us; /* until the response head came; 0: it did not */
};

/* What an exchange asks of its owner, who has it in any case. */
struct exchange_client_ops {
	/* The client's address, in `room` or elsewhere. */
	const struct addr *(*get_peer)(void *owner, struct addr *room);
	/* What routes look at; `room` for the client's address. What is pointed to else lives as
	 * long as the exchange. */
	struct route_seen (*get_seen)(void *owner, struct addr *room);
	/* What the route's origin is told of the certificate: header lines, each with its CRLF, for
	 * the time until the next call. Asked only where one was shown. 0 or -ENOMEM. */
	int (*get_certificate_lines)(void *owner, const struct conf_route *route,
				     struct str *ret_lines);
	/* Asked where an origin wants a PROXY header; lives as long as the exchange. NULL: no
	 * memory. */
	const struct proxy_facts *(*get_facts)(void *owner);
	void (*on_request)(void *owner, const struct exchange_record *record);
	/* Last call: the connection is to be closed. The owner frees the exchange, now or later. */
	void (*on_end)(void *owner, enum close_reason reason);
};

struct exchange_client {
	const struct exchange_client_ops *ops;
	void *owner;
	struct io *io;
	struct loop *loop;
	const struct conf_listener *listener;
	struct origin_view *origins;
};

/* Waits for the first request; call exchange_run() at once. NULL: no memory. */
struct exchange *exchange_new(const struct exchange_client *client) MUST_CHECK;

/* After each event on the client's io (its flags are updated). May call on_end. */
void exchange_run(struct exchange *exchange);

/* Ends after the request under way, or one that waits in the socket (with Connection: close). Where
 * none is it ends at once; before the first request, after a second. May call on_end. */
void exchange_drain(struct exchange *exchange);

/* The connection is closed whatever the exchange does: reports the request under way, if there is
 * one. on_end is not called; only exchange_free() may follow. */
void exchange_abort(struct exchange *exchange, enum close_reason reason);

/* Cancels what is under way. Takes NULL. */
void exchange_free(struct exchange *exchange);

#endif
