/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen of a connection or request -> where it goes. Pure. Routes are tried in the order of
 * the configuration; the first that matches wins.
 */
#ifndef PENSTOCK_ROUTE_ROUTE_H
#define PENSTOCK_ROUTE_ROUTE_H

#include <stdbool.h>

#include "base/str.h"
#include "conf/conf.h"

/* What was seen of a connection so far. */
struct route_seen {
	bool is_tls; /* false also where no ClientHello came */
	struct str sni; /* "" where none */
	const uint8_t *alpn; /* what the client offers: length-prefixed names */
	size_t alpn_len;
	const struct addr *source; /* NULL: in no block, as UNIX addresses are */
	const struct addr *destination;
};

/* Does a route look at the address that clients connected to? */
bool route_needs_destination(const struct conf_listener *listener);

/* Must the ClientHello be read before a lane can be chosen? Looks at the addresses alone, so that a
 * client whose routes look at nothing else need not speak first. */
bool route_needs_client_hello(const struct conf_listener *listener, const struct route_seen *seen);

/*
 * At accept, or after the ClientHello: the first route that can match. A route of streams
 * (conf_route_is_stream()) is final, whether TLS is passed on or ended before. One of requests only
 * says that the connection is to be terminated: route_request() chooses among
 * those for each request. NULL: none.
 *
 * Before a request is read its host is not known, but a client asks for it in its SNI as well. So a
 * terminate route without "sni" counts here by its "host": {host: a, to} before {sni: b, pass}
 * leaves b to the latter. Where nothing matches so, any terminate route without "sni" does.
 *
 * A listener without tls never yields a terminate route for TLS bytes, one with tls never for plain
 * bytes. Where no ClientHello is needed (route_needs_client_hello()) only the addresses mean
 * something.
 */
const struct conf_route *route_connection(const struct conf_listener *listener,
					  const struct route_seen *seen);

/* Among the terminate routes of requests. `host` without port, any case; `path` without query,
 * beginning with
 * "/". NULL: none. */
const struct conf_route *route_request(const struct conf_listener *listener,
				       const struct route_seen *seen, struct str host,
				       struct str path);

/* "example.com" matches itself, "*.example.com" one label more; the pattern is lower case. */
bool route_name_matches(const char *pattern, struct str name);

/* Whole segments: "/api" matches "/api", "/api/x", not "/apix"; a pattern that ends in "/" matches
 * what begins so. */
bool route_path_matches(const char *prefix, struct str path);

#endif
