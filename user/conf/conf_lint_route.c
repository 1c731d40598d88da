/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes of a listener against each other: those that nothing reaches.
 */
#include "conf/conf_internal.h"

/* Does all that the second matches match the first? NULL matches all. */
static bool conf_name_covers(const char *first, const char *second)
{
	const char *dot;

	if (!first)
		return true;
	if (!second)
		return false;
	if (strcmp(first, second) == 0)
		return true;
	dot = strchr(second, '.');
	return first[0] == '*' && second[0] != '*' && dot && strcmp(first + 1, dot) == 0;
}

static bool conf_path_covers(const char *first, const char *second)
{
	size_t len = first ? strlen(first) : 0;

	if (!first)
		return true;
	if (!second)
		return strcmp(first, "/") == 0;
	return strncmp(first, second, len) == 0 &&
	       (first[len - 1] == '/' || second[len] == '/' || second[len] == 0);
}

/* Past so many comparisons the answer is no: each route is held against each, and a warning less is
 * not wrong. */
#define CONF_NETS_LIMIT 256

static bool conf_nets_cover_net(const struct conf_nets *nets, const struct conf_net *net)
{
	for (size_t i = 0; i < nets->n_nets; i++)
		if (conf_net_covers(&nets->nets[i], net))
			return true;
	return false;
}

static bool conf_nets_are_everybody(const struct conf_nets *nets)
{
	bool has_ipv4 = nets->n_nets == 0, has_ipv6 = has_ipv4;

	for (size_t i = 0; i < nets->n_nets; i++) {
		has_ipv4 |=
		    nets->nets[i].prefix_len == 0 && nets->nets[i].addr.sa.sa_family == AF_INET;
		has_ipv6 |=
		    nets->nets[i].prefix_len == 0 && nets->nets[i].addr.sa.sa_family == AF_INET6;
	}
	return has_ipv4 && has_ipv6;
}

bool conf_nets_cover(const struct conf_nets *first, const struct conf_nets *second)
{
	if (first->n_nets == 0 || conf_nets_are_everybody(first))
		return true;
	if (second->n_nets == 0 || first->n_nets * second->n_nets > CONF_NETS_LIMIT)
		return false;
	for (size_t i = 0; i < second->n_nets; i++)
		if (!conf_nets_cover_net(first, &second->nets[i]))
			return false;
	return true;
}

static bool conf_alpn_has(const struct conf_route *route, const char *name)
{
	for (size_t i = 0; i < route->n_alpn; i++)
		if (strcmp(route->alpn[i], name) == 0)
			return true;
	return false;
}

static bool conf_alpn_covers(const struct conf_route *first, const struct conf_route *second)
{
	if (first->n_alpn == 0)
		return true;
	for (size_t i = 0; i < second->n_alpn; i++)
		if (!conf_alpn_has(first, second->alpn[i]))
			return false;
	return second->n_alpn > 0;
}

/*
 * Of a connection's names alone. As route/route.h has it: a connection is given by its SNI, where a
 * route to end it at counts by "sni" or else by "host".
 */
static bool conf_route_names_cover(const struct conf_listener *listener,
				   const struct conf_route *first, const struct conf_route *second)
{
	const char *first_name = first->sni ? first->sni : first->host;

	if (first->lane == CONF_LANE_SPLICE)
		return conf_name_covers(first->sni, second->sni);
	if (second->lane == CONF_LANE_SPLICE)
		return listener->tls && second->sni && conf_name_covers(first_name, second->sni);
	if (conf_route_is_stream(first))
		return conf_name_covers(first->sni, second->sni);
	if (conf_route_is_stream(second))
		return !listener->tls || conf_name_covers(first_name, second->sni);
	return conf_name_covers(first->sni, second->sni) &&
	       conf_name_covers(first->host, second->host) &&
	       conf_path_covers(first->path, second->path);
}

static bool conf_text_covers(const char *first, const char *second)
{
	return !first || (second && strcmp(first, second) == 0);
}

static bool conf_client_cert_covers(const struct conf_client_cert_match *first,
				    const struct conf_client_cert_match *second)
{
	if (!first->is_set)
		return true;
	return second->is_set && first->verified == second->verified &&
	       conf_text_covers(first->subject, second->subject) &&
	       conf_text_covers(first->san, second->san) &&
	       conf_text_covers(first->issuer, second->issuer) &&
	       conf_text_covers(first->fingerprint, second->fingerprint);
}

/* Does the first leave nothing to the second? */
static bool conf_route_covers(const struct conf_listener *listener, const struct conf_route *first,
			      const struct conf_route *second)
{
	return conf_route_names_cover(listener, first, second) && conf_alpn_covers(first, second) &&
	       conf_client_cert_covers(&first->client_cert, &second->client_cert) &&
	       conf_nets_cover(&first->sources, &second->sources) &&
	       conf_nets_cover(&first->destinations, &second->destinations);
}

static void conf_lint_limits(struct conf_context *context, const struct conf_route *route)
{
	if (route->route_bandwidth_bytes_per_s &&
	    route->bandwidth_bytes_per_s > route->route_bandwidth_bytes_per_s)
		conf_diag_warn(context->diag, route->mark,
			       "\"bandwidth\" of a connection is more than \"total_bandwidth\" of "
			       "all");
}

static void conf_lint_order(struct conf_context *context, const struct conf_listener *listener)
{
	for (size_t i = 1; i < listener->n_routes; i++)
		for (size_t j = 0; j < i; j++) {
			const struct conf_route *first = &listener->routes[j],
						*second = &listener->routes[i];

			if (first->lane == CONF_LANE_MAX || second->lane == CONF_LANE_MAX ||
			    first->lane == CONF_LANE_STEER ||
			    !conf_route_covers(listener, first, second))
				continue;
			conf_diag_warn(context->diag, second->mark,
				       "nothing reaches this route: the one on line %u takes all "
				       "of it; put this one first",
				       first->mark.line);
			break;
		}
}

void conf_lint_routes(struct conf_context *context, const struct conf_listener *listener)
{
	conf_lint_order(context, listener);
	for (size_t i = 0; i < listener->n_routes; i++)
		conf_lint_limits(context, &listener->routes[i]);
}
