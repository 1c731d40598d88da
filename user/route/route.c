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

bool route_needs_client_hello(const struct conf_listener *listener)
{
	bool splices = false;

	/* The first route takes all: nothing is to be learned. */
	if (listener->routes[0].lane != CONF_LANE_TERMINATE && !listener->routes[0].sni)
		return false;
	for (size_t i = 0; i < listener->n_routes; i++)
		splices |= listener->routes[i].lane == CONF_LANE_SPLICE;
	return splices;
}

/* Can this listener end what came? */
static bool route_can_terminate(const struct conf_listener *listener, bool is_tls)
{
	return is_tls == (listener->tls != NULL);
}

static bool route_takes_connection(const struct conf_listener *listener,
				   const struct conf_route *route, bool is_tls, struct str sni)
{
	if (route->lane != CONF_LANE_TERMINATE)
		return route_matches_or_any(route->sni, sni);
	if (!route_can_terminate(listener, is_tls))
		return false;
	return !is_tls || route_matches_or_any(route->sni ? route->sni : route->host, sni);
}

const struct conf_route *route_connection(const struct conf_listener *listener, bool is_tls,
					  struct str sni)
{
	if (!route_needs_client_hello(listener))
		return &listener->routes[0];
	for (size_t i = 0; i < listener->n_routes; i++)
		if (route_takes_connection(listener, &listener->routes[i], is_tls, sni))
			return &listener->routes[i];
	for (size_t i = 0; i < listener->n_routes; i++)
		if (listener->routes[i].lane == CONF_LANE_TERMINATE && !listener->routes[i].sni &&
		    route_can_terminate(listener, is_tls))
			return &listener->routes[i];
	return NULL;
}

const struct conf_route *route_request(const struct conf_listener *listener, struct str sni,
				       struct str host, struct str path)
{
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (route->lane == CONF_LANE_TERMINATE && route_matches_or_any(route->sni, sni) &&
		    route_matches_or_any(route->host, host) &&
		    (!route->path || route_path_matches(route->path, path)))
			return route;
	}
	return NULL;
}
