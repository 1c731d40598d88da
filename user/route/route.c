/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First match over a listener's routes. A listener has few, so they are walked; names were made
 * lower case by conf.
 */
#include "route/route.h"

bool route_name_matches(const char *pattern, struct str name)
{
	const char *dot;

	if (pattern[0] != '*')
		return str_is_equal_nocase(str_from(pattern), name);
	dot = name.len ? memchr(name.ptr, '.', name.len) : NULL;
	if (!dot || dot == name.ptr)
		return false;
	name.len -= (size_t)(dot - name.ptr);
	name.ptr = dot;
	return str_is_equal_nocase(str_from(pattern + 1), name);
}

bool route_path_matches(const char *prefix, struct str path)
{
	struct str begin = str_from(prefix);

	if (!str_starts_with(path, begin))
		return false;
	return path.len == begin.len || path.ptr[begin.len] == '/' ||
	       (begin.len && begin.ptr[begin.len - 1] == '/');
}

static bool route_matches_or_any(const char *pattern, struct str name)
{
	return !pattern || route_name_matches(pattern, name);
}

static bool route_has_addr(const struct conf_nets *nets, const struct addr *addr)
{
	return nets->n_nets == 0 || (addr && conf_nets_contain(nets, addr));
}

static bool route_takes_addrs(const struct conf_route *route, const struct route_seen *seen)
{
	return route_has_addr(&route->sources, seen->source) &&
	       route_has_addr(&route->destinations, seen->destination);
}

static bool route_takes_alpn(const struct conf_route *route, const struct route_seen *seen)
{
	struct str name;

	if (route->n_alpn == 0)
		return true;
	for (size_t at = 0; at < seen->alpn_len; at += name.len + 1) {
		name = (struct str){(const char *)seen->alpn + at + 1, seen->alpn[at]};
		for (size_t i = 0; i < route->n_alpn; i++)
			if (str_is_equal(str_from(route->alpn[i]), name))
				return true;
	}
	return false;
}

bool route_needs_certificate(const struct conf_listener *listener)
{
	for (size_t i = 0; i < listener->n_routes; i++)
		if (listener->routes[i].client_cert.is_set)
			return true;
	return false;
}

bool route_needs_destination(const struct conf_listener *listener)
{
	for (size_t i = 0; i < listener->n_routes; i++)
		if (listener->routes[i].destinations.n_nets)
			return true;
	return false;
}

/* Takes all that come from an address that it takes: nothing more is to be learned. */
static bool route_is_final(const struct conf_route *route)
{
	return (route->lane != CONF_LANE_TERMINATE || conf_route_is_stream(route)) && !route->sni &&
	       route->n_alpn == 0;
}

bool route_needs_client_hello(const struct conf_listener *listener, const struct route_seen *seen)
{
	bool is_first = true, needs_hello = false;

	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (!route_takes_addrs(route, seen))
			continue;
		if (is_first && route_is_final(route))
			return false;
		is_first = false;
		needs_hello |= conf_route_is_stream(route) || route->n_alpn;
	}
	return needs_hello;
}

/* Can this listener end what came? */
static bool route_can_terminate(const struct conf_listener *listener, bool is_tls)
{
	return is_tls == (listener->tls != NULL);
}

static bool route_takes_connection(const struct conf_listener *listener,
				   const struct conf_route *route, const struct route_seen *seen)
{
	if (!route_takes_addrs(route, seen) || !route_takes_alpn(route, seen))
		return false;
	if (route->lane != CONF_LANE_TERMINATE)
		return route_matches_or_any(route->sni, seen->sni);
	if (!route_can_terminate(listener, seen->is_tls))
		return false;
	return !seen->is_tls ||
	       route_matches_or_any(route->sni ? route->sni : route->host, seen->sni);
}

/* Whatever its host: the request will tell. */
static bool route_could_take_request(const struct conf_listener *listener,
				     const struct conf_route *route, const struct route_seen *seen)
{
	return route->lane == CONF_LANE_TERMINATE && !conf_route_is_stream(route) && !route->sni &&
	       route_can_terminate(listener, seen->is_tls) && route_takes_addrs(route, seen) &&
	       route_takes_alpn(route, seen);
}

const struct conf_route *route_connection(const struct conf_listener *listener,
					  const struct route_seen *seen)
{
	bool by_addrs = !route_needs_client_hello(listener, seen);
	const struct conf_route *route;

	for (size_t i = 0; i < listener->n_routes; i++) {
		route = &listener->routes[i];
		if (by_addrs ? route_takes_addrs(route, seen)
			     : route_takes_connection(listener, route, seen))
			return route;
	}
	for (size_t i = 0; i < listener->n_routes && !by_addrs; i++)
		if (route_could_take_request(listener, &listener->routes[i], seen))
			return &listener->routes[i];
	return NULL;
}

const struct conf_route *route_request(const struct conf_listener *listener,
				       const struct route_seen *seen, struct str host,
				       struct str path)
{
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (route->lane == CONF_LANE_TERMINATE && !conf_route_is_stream(route) &&
		    route_matches_or_any(route->sni, seen->sni) &&
		    route_matches_or_any(route->host, host) &&
		    (!route->path || route_path_matches(route->path, path)) &&
		    route_takes_addrs(route, seen) && route_takes_alpn(route, seen) &&
		    route_takes_certificate(&route->client_cert, seen->certificate))
			return route;
	}
	return NULL;
}

const struct conf_route *route_stream(const struct conf_listener *listener,
				      const struct route_seen *seen)
{
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (route->lane == CONF_LANE_TERMINATE && conf_route_is_stream(route) &&
		    route_takes_connection(listener, route, seen) &&
		    route_takes_certificate(&route->client_cert, seen->certificate))
			return route;
	}
	return NULL;
}
