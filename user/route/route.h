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

/* One of the names that a certificate is for. */
struct route_name {
	bool is_domain; /* compared as one; others must be the same to the letter */
	struct str text;
};

/* A client's certificate, as far as routes look at it. Its word is good: it was verified. */
struct route_certificate {
	struct str subject; /* common name; "" where none */
	struct str issuer;
	struct str fingerprint; /* lower-case hexadecimal digits */
	const struct route_name *names; /* alternative ones */
	size_t n_names;
};

/* What was seen of a connection so far. */
struct route_seen {
	bool is_tls; /* false also where no ClientHello came */
	struct str sni; /* "" where none */
	const uint8_t *alpn; /* what the client offers: length-prefixed names */
	size_t alpn_len;
	const struct addr *source; /* NULL: in no block, as UNIX addresses are */
	const struct addr *destination;
	const struct route_certificate *certificate; /* NULL: the client has shown none */
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
 * bytes. Certificates are not known yet. Where no ClientHello is needed
 * (route_needs_client_hello()) only the addresses mean something.
 */
const struct conf_route *route_connection(const struct conf_listener *listener,
					  const struct route_seen *seen);

/*
 * Once TLS with the client is up, where route_connection() said a route of streams: the first of
 * those that end TLS and take the client's certificate. NULL: none.
 */
const struct conf_route *route_stream(const struct conf_listener *listener,
				      const struct route_seen *seen);

/* Does a route look at certificates of clients? */
bool route_needs_certificate(const struct conf_listener *listener);

/* Does it take this certificate? NULL: none was shown. */
bool route_takes_certificate(const struct conf_client_cert_match *match,
			     const struct route_certificate *certificate);

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
