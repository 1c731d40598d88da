/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the keys of a listener may be together, with those of its routes and their origins.
 */
#include "conf/conf_internal.h"

static size_t conf_count_lane(const struct conf_listener *listener, enum conf_lane lane)
{
	size_t n = 0;

	for (size_t i = 0; i < listener->n_routes; i++)
		n += listener->routes[i].lane == lane;
	return n;
}

static void conf_check_steer_binds(struct conf_context *context, const struct conf_node *node)
{
	const struct conf_node *item;
	struct conf_bind_range range;

	for (size_t n = conf_items(conf_at(node, "bind"), &item); n; n--, item = item->next)
		if (conf_bind_parse(item->text, &range) || range.first.sa.sa_family != AF_INET ||
		    range.first.in.sin_addr.s_addr == INADDR_ANY)
			conf_diag_add(context->diag, item->mark,
				      "%s: packets are steered at one IPv4 address, such as "
				      "\"192.0.2.1:53\" (IPv6 is not built yet)",
				      CONF_QUOTE(item->text));
}

static void conf_check_steer_server(struct conf_context *context, const struct conf_server *server)
{
	if (server->is_name)
		conf_diag_add(context->diag, server->mark,
			      "\"%s\" names a host: looking names up is not built yet for origins "
			      "of \"steer\"; give an IPv4 address and port",
			      server->text);
	else if (server->addr.sa.sa_family != AF_INET)
		conf_diag_add(context->diag, server->mark,
			      "packets are steered to IPv4 servers; \"%s\" is none (IPv6 "
			      "is not built yet)",
			      server->text);
	if (server->max_connections)
		conf_diag_add(context->diag, server->mark,
			      "\"max_connections\" is not built yet for origins of \"steer\"");
}

/* What the steer lane would leave out without a word. */
static void conf_check_steer_origin(struct conf_context *context, const struct conf_route *route)
{
	const struct conf_origin *origin = route->origin;
	const char *not_yet;

	if (!origin)
		return;
	not_yet = origin->max_connections			      ? "\"limits\""
		  : origin->source.len				      ? "\"source\""
		  : origin->proxy_protocol != CONF_PROXY_PROTOCOL_OFF ? "\"proxy_protocol\""
								      : NULL;
	if (not_yet)
		conf_diag_add(context->diag, route->mark,
			      "origin \"%s\" has %s, which is not built yet beside \"steer\"",
			      origin->name, not_yet);
	if (origin->balance != CONF_BALANCE_ROUND_ROBIN)
		conf_diag_warn(context->diag, route->mark,
			       "\"balance\" of origin \"%s\" is not used by \"steer\", which "
			       "spreads flows by their addresses and ports",
			       origin->name);
	for (size_t i = 0; i < origin->n_servers; i++)
		conf_check_steer_server(context, &origin->servers[i]);
}

/* Whoever relies on these must not be left without them. */
static void conf_check_steer_keys(struct conf_context *context, const struct conf_node *node)
{
	static const char *const keys[] = {"proxy_protocol", "access", "limits", "socket"};
	const struct conf_node *value;

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		value = conf_at(node, keys[i]);
		if (value && value->mark.line)
			conf_diag_add(context->diag, value->key->mark,
				      "\"%s\" is not built yet beside \"steer\"", keys[i]);
	}
}

static void conf_check_steer(struct conf_context *context, const struct conf_node *node,
			     const struct conf_listener *listener)
{
	const struct conf_node *tls = conf_at(node, "tls");

	if (listener->n_routes > 1)
		conf_diag_add(context->diag, listener->routes[1].mark,
			      "a route with \"steer\" stands alone in its listener; give the "
			      "others one of their own");
	if (tls)
		conf_diag_add(context->diag, tls->key->mark,
			      "\"tls\" has no meaning beside \"steer\": packets are not opened");
	conf_check_steer_keys(context, node);
	conf_check_steer_binds(context, node);
	for (size_t i = 0; i < listener->n_routes; i++)
		conf_check_steer_origin(context, &listener->routes[i]);
}

static void conf_check_streams(struct conf_context *context, const struct conf_node *node,
			       const struct conf_listener *listener)
{
	size_t n_ended = conf_count_lane(listener, CONF_LANE_TERMINATE);
	size_t n_passed = conf_count_lane(listener, CONF_LANE_SPLICE);
	const struct conf_node *tls = conf_at(node, "tls");

	if (listener->transport == CONF_TRANSPORT_UDP && n_ended + n_passed)
		conf_diag_add(context->diag, conf_mark_at(node, "protocol"),
			      "UDP is taken by routes with \"steer\" only");
	if (tls && n_ended == 0 && n_passed)
		conf_diag_warn(context->diag, tls->key->mark,
			       "\"tls\" is not used: no route of this listener has \"to\"");
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (route->lane != CONF_LANE_TERMINATE || conf_was_given(node, "tls"))
			continue;
		if (route->sni)
			conf_diag_add(context->diag, route->mark,
				      "\"sni\" beside \"to\" needs \"tls\" in the listener; use "
				      "\"host\", or \"pass\"");
		if (route->alpn)
			conf_diag_add(context->diag, route->mark,
				      "\"alpn\" beside \"to\" needs \"tls\" in the listener; "
				      "take it out, or use \"pass\"");
	}
}

void conf_check_together(struct conf_context *context, const struct conf_node *node,
			 const struct conf_listener *listener)
{
	if (conf_count_lane(listener, CONF_LANE_STEER))
		conf_check_steer(context, node, listener);
	else
		conf_check_streams(context, node, listener);
}
