/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes of a checked tree -> the snapshot.
 */
#include "conf/conf_internal.h"

static const struct conf_lane_key {
	const char *name;
	enum conf_lane lane;
} conf_lane_keys[] = {
    {"to", CONF_LANE_TERMINATE},
    {"pass", CONF_LANE_SPLICE},
    {"steer", CONF_LANE_STEER},
};

/* The one key that says where a route leads. NULL: none or several, reported. */
static const struct conf_lane_key *conf_route_lane(struct conf_context *context,
						   const struct conf_node *node)
{
	const struct conf_lane_key *found = NULL;

	for (size_t i = 0; i < ARRAY_LEN(conf_lane_keys); i++) {
		if (!conf_was_given(node, conf_lane_keys[i].name))
			continue;
		if (found) {
			conf_diag_add(context->diag, node->mark,
				      "a route takes one of \"to\", \"pass\" and \"steer\", not "
				      "\"%s\" and \"%s\"",
				      found->name, conf_lane_keys[i].name);
			return NULL;
		}
		found = &conf_lane_keys[i];
	}
	if (!found)
		conf_diag_add(context->diag, node->mark,
			      "a route needs \"to\", \"pass\" or \"steer\"; for example to: "
			      "\"http://127.0.0.1:8080\"");
	return found;
}

static const char *conf_lower_at(struct conf_context *context, const struct conf_node *node,
				 const char *key)
{
	const struct conf_node *value = conf_at(node, key);
	char *text = value ? arena_strdup(context->keep, value->text) : NULL;

	if (value && !text)
		conf_out_of_memory(context);
	for (char *c = text; c && *c; c++)
		*c = ascii_lower(*c);
	return text;
}

/* Keys that say nothing in a route of this kind. */
static void conf_route_check_keys(struct conf_context *context, const struct conf_node *node,
				  const struct conf_lane_key *lane, const struct conf_route *route)
{
	enum { REQUESTS = 1, ENDED_STREAMS = 2, PASSED = 4, STEERED = 8 };
	/* Of an origin that is not there either may be meant. */
	const unsigned int kind = lane->lane == CONF_LANE_STEER	   ? STEERED
				  : lane->lane == CONF_LANE_SPLICE ? PASSED
				  : !route->origin		   ? REQUESTS | ENDED_STREAMS
				  : route->origin->is_stream	   ? ENDED_STREAMS
								   : REQUESTS;
	const unsigned int streams = PASSED | ENDED_STREAMS;
	const struct {
		const char *key;
		unsigned int kinds;
		const char *why; /* NULL: it would have a meaning, but is not built */
	} rules[] = {
	    {"host", REQUESTS, "only requests have a host; use \"sni\", or \"to\" with http"},
	    {"path", REQUESTS, "only requests have a path; use \"to\" with http"},
	    {"sni", REQUESTS | streams, "packets are steered before anything is read"},
	    {"alpn", REQUESTS | streams, "packets are steered before anything is read"},
	    {"source", REQUESTS | streams, NULL},
	    {"destination", REQUESTS | streams,
	     "what is steered is told by the addresses of \"bind\""},
	    {"client_cert", REQUESTS | ENDED_STREAMS,
	     "certificates of clients are seen only where TLS ends"},
	    {"client_cert_headers", REQUESTS, "only requests have headers; use \"to\" with http"},
	    {"relay", streams, "it is how streams of bytes are carried"},
	    {"limits", streams, NULL},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct conf_node *value = conf_at(node, rules[i].key);

		if (!value || !value->mark.line || rules[i].kinds & kind)
			continue;
		if (rules[i].why)
			conf_diag_add(context->diag, value->key->mark,
				      "\"%s\" has no meaning beside \"%s\"%s: %s", rules[i].key,
				      lane->name, kind == ENDED_STREAMS ? " a stream" : "",
				      rules[i].why);
		else
			conf_diag_add(context->diag, value->key->mark,
				      "\"%s\" is not built yet beside \"%s\"", rules[i].key,
				      lane->name);
	}
}

static void conf_route_fill(struct conf_context *context, struct conf_route *route,
			    const struct conf_node *node)
{
	const struct conf_node *limits = conf_at(node, "limits");

	route->sni = conf_lower_at(context, node, "sni");
	route->host = conf_lower_at(context, node, "host");
	route->path = conf_text_at(context, node, "path");
	conf_nets_fill(context, &route->sources, conf_at(node, "source"));
	conf_nets_fill(context, &route->destinations, conf_at(node, "destination"));
	conf_client_cert_fill(context, &route->client_cert, conf_at(node, "client_cert"));
	route->alpn = conf_texts_at(context, node, "alpn", &route->n_alpn);
	route->relay = (enum conf_relay)conf_number_at(node, "relay");
	route->bandwidth_bytes_per_s = (uint64_t)conf_number_at(limits, "bandwidth");
	route->route_bandwidth_bytes_per_s = (uint64_t)conf_number_at(limits, "total_bandwidth");
}

static void conf_build_route(struct conf_context *context, const struct conf_node *node,
			     struct conf_route *route, enum conf_transport *transport)
{
	const struct conf_lane_key *lane = conf_route_lane(context, node);
	const struct conf_node *target;

	route->mark = node->mark;
	route->lane = CONF_LANE_MAX;
	if (!lane)
		return;
	route->lane = lane->lane;
	conf_route_fill(context, route, node);
	target = conf_at(node, lane->name);
	if (target)
		route->origin = conf_target_resolve(context, target, lane->lane, transport);
	conf_route_check_keys(context, node, lane, route);
}

/* The transport is the protocol's, or where that is not given the one of a URL to steer to. */
void conf_build_routes(struct conf_context *context, struct conf_listener *listener,
		       const struct conf_node *node)
{
	const struct conf_node *protocol = conf_at(node, "protocol"), *item;
	enum conf_transport of_url = listener->transport;
	size_t n = conf_items(conf_at(node, "routes"), &item);

	listener->routes = conf_keep(context, n, sizeof(*listener->routes));
	if (!listener->routes)
		return;
	for (; listener->n_routes < n; item = item->next)
		conf_build_route(context, item, &listener->routes[listener->n_routes++], &of_url);
	if (!protocol || listener->n_routes == 0 || listener->routes[0].lane != CONF_LANE_STEER)
		return;
	if (protocol->mark.line == 0)
		listener->transport = of_url;
	else if (of_url != listener->transport)
		conf_diag_add(
		    context->diag, protocol->mark,
		    "\"protocol\" and the URL of \"steer\" differ; leave \"protocol\" out");
}
