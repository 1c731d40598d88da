/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checked tree -> the snapshot: globals, listeners, routes; and what a listener's keys may be
 * together.
 */
#include <stdio.h>

#include "conf/conf_internal.h"

/* ---- Globals ---- */

static void conf_build_process(struct conf_context *context, const struct conf_node *node)
{
	struct conf *conf = context->conf;

	conf->user = conf_text_at(context, node, "user");
	conf->threads = (uint32_t)conf_number_at(node, "threads");
	conf->runtime_dir = conf_text_at(context, node, "runtime_dir");
	conf->pin_dir = conf_text_at(context, node, "pin_dir");
	conf->max_connections = (uint32_t)conf_number_at(node, "max_connections");
	conf->drain_timeout_ms = (uint32_t)conf_number_at(node, "drain_timeout");
}

static void conf_build_log(struct conf_context *context, const struct conf_node *node)
{
	int64_t format = conf_number_at(node, "format");

	context->conf->log_format_is_auto = format == LOG_FORMAT_MAX;
	context->conf->log_format =
	    format == LOG_FORMAT_MAX ? LOG_FORMAT_TEXT : (enum log_format)format;
	context->conf->log_level = (enum log_level)conf_number_at(node, "level");
	context->conf->access_log = conf_number_at(node, "access") != 0;
}

static void conf_build_devices(struct conf_context *context, struct conf_steer *steer,
			       const struct conf_node *devices)
{
	const struct conf_node *item;
	size_t n = conf_items(devices, &item);

	if (!devices ||
	    (devices->kind == CONF_NODE_SCALAR && str_is_equal(devices->text, STR("auto"))))
		return;
	steer->devices = conf_keep(context, n, sizeof(*steer->devices));
	for (; steer->devices && n; n--, item = item->next)
		steer->devices[steer->n_devices++] = conf_keep_text(context, item->text);
}

static void conf_build_steer(struct conf_context *context, const struct conf_node *node)
{
	struct conf_steer *steer = &context->conf->steer;
	const struct conf_node *ports = conf_at(node, "nat_ports");

	steer->hook = (enum conf_hook)conf_number_at(node, "hook");
	conf_build_devices(context, steer, conf_at(node, "devices"));
	if (ports && conf_ports_parse(ports->text, &steer->nat_port_min, &steer->nat_port_max))
		return; /* not after the check */
	steer->udp_idle_s = (uint32_t)((conf_number_at(node, "udp_idle") + 999) / 1000);
	steer->tcp_idle_s = (uint32_t)((conf_number_at(node, "tcp_idle") + 999) / 1000);
}

void conf_build_globals(struct conf_context *context)
{
	conf_build_process(context, conf_at(context->file, "process"));
	conf_build_log(context, conf_at(context->file, "log"));
	conf_build_steer(context, conf_at(context->file, "steer"));
}

/* ---- Routes ---- */

static const struct conf_lane_key {
	const char *name;
	enum conf_lane lane;
} conf_lane_keys[] = {
    {"to", CONF_LANE_TERMINATE},
    {"pass", CONF_LANE_SPLICE},
    {"steer", CONF_LANE_STEER},
};

static bool conf_was_given(const struct conf_node *node, const char *key)
{
	for (const struct conf_node *child = node->first; child; child = child->next)
		if (str_is_equal(child->key->text, str_from(key)))
			return true;
	return false;
}

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

/* Keys that say nothing in a lane. */
static void conf_route_check_keys(struct conf_context *context, const struct conf_node *node,
				  const struct conf_lane_key *lane)
{
	static const struct {
		const char *key;
		unsigned int lanes;
		const char *why;
	} rules[] = {
	    {"host", 1 << CONF_LANE_TERMINATE, "only requests have a host; use \"sni\", or \"to\""},
	    {"path", 1 << CONF_LANE_TERMINATE, "only requests have a path; use \"to\""},
	    {"sni", 1 << CONF_LANE_TERMINATE | 1 << CONF_LANE_SPLICE,
	     "packets are steered before anything is read"},
	    {"relay", 1 << CONF_LANE_SPLICE, "it is how \"pass\" carries bytes"},
	};

	for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
		const struct conf_node *value = conf_at(node, rules[i].key);

		if (value && value->mark.line && !(rules[i].lanes & 1u << lane->lane))
			conf_diag_add(context->diag, value->key->mark,
				      "\"%s\" has no meaning beside \"%s\": %s", rules[i].key,
				      lane->name, rules[i].why);
	}
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
	conf_route_check_keys(context, node, lane);
	route->sni = conf_lower_at(context, node, "sni");
	route->host = conf_lower_at(context, node, "host");
	route->path = conf_text_at(context, node, "path");
	route->relay = (enum conf_relay)conf_number_at(node, "relay");
	target = conf_at(node, lane->name);
	if (target)
		route->origin = conf_target_resolve(context, target, lane->lane, transport);
}

/* ---- What a listener's keys may be together ---- */

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
	struct addr addr;

	for (size_t n = conf_items(conf_at(node, "bind"), &item); n; n--, item = item->next)
		if (addr_parse(item->text, &addr) || addr.sa.sa_family != AF_INET ||
		    addr.in.sin_addr.s_addr == INADDR_ANY)
			conf_diag_add(context->diag, item->mark,
				      "%s: packets are steered at one IPv4 address, such as "
				      "\"192.0.2.1:53\" (IPv6 is not built yet)",
				      CONF_QUOTE(item->text));
}

static void conf_check_steer_servers(struct conf_context *context, const struct conf_route *route)
{
	for (size_t i = 0; route->origin && i < route->origin->n_servers; i++) {
		const struct conf_server *server = &route->origin->servers[i];

		if (server->addr.len && server->addr.sa.sa_family != AF_INET)
			conf_diag_add(context->diag, server->mark,
				      "packets are steered to IPv4 servers; \"%s\" is none (IPv6 "
				      "is not built yet)",
				      server->text);
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
	conf_check_steer_binds(context, node);
	for (size_t i = 0; i < listener->n_routes; i++)
		conf_check_steer_servers(context, &listener->routes[i]);
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

		if (route->lane == CONF_LANE_TERMINATE && route->sni &&
		    !conf_was_given(node, "tls"))
			conf_diag_add(context->diag, route->mark,
				      "\"sni\" beside \"to\" needs \"tls\" in the listener; use "
				      "\"host\", or \"pass\"");
	}
}

/* ---- Listeners ---- */

static void conf_build_binds(struct conf_context *context, struct conf_listener *listener,
			     const struct conf_node *bind)
{
	const struct conf_node *item;
	size_t n = conf_items(bind, &item);

	listener->binds = conf_keep(context, n, sizeof(*listener->binds));
	listener->bind_texts = conf_keep(context, n, sizeof(*listener->bind_texts));
	listener->bind_marks = conf_keep(context, n, sizeof(*listener->bind_marks));
	if (!listener->binds || !listener->bind_texts || !listener->bind_marks)
		return;
	for (; listener->n_binds < n; item = item->next) {
		if (addr_parse(item->text, &listener->binds[listener->n_binds]))
			return; /* not after the check */
		listener->bind_marks[listener->n_binds] = item->mark;
		listener->bind_texts[listener->n_binds++] = conf_keep_text(context, item->text);
	}
}

static struct conf_file conf_build_file(struct conf_context *context, const struct conf_node *node)
{
	return (struct conf_file){.path = conf_keep_text(context, node->text), .mark = node->mark};
}

static void conf_build_certificates(struct conf_context *context, struct conf_server_tls *tls,
				    const struct conf_node *certificates)
{
	const struct conf_node *item;
	size_t n = conf_items(certificates, &item);

	tls->certificates = conf_keep(context, n, sizeof(*tls->certificates));
	for (; tls->certificates && n; n--, item = item->next) {
		const struct conf_node *chain =
		    item->kind == CONF_NODE_MAPPING ? conf_at(item, "chain") : item;
		const struct conf_node *key =
		    item->kind == CONF_NODE_MAPPING ? conf_at(item, "key") : NULL;
		struct conf_certificate *certificate = &tls->certificates[tls->n_certificates];

		if (!chain)
			continue;
		certificate->chain = conf_build_file(context, chain);
		certificate->key = key ? conf_build_file(context, key) : certificate->chain;
		tls->n_certificates++;
	}
}

static struct conf_server_tls *conf_build_server_tls(struct conf_context *context,
						     const struct conf_node *node)
{
	struct conf_server_tls *tls = node ? conf_keep(context, 1, sizeof(*tls)) : NULL;

	if (!tls)
		return NULL;
	tls->mark = node->mark;
	tls->kernel = (enum conf_kernel_tls)conf_number_at(node, "kernel");
	conf_build_certificates(context, tls, conf_at(node, "certificates"));
	return tls;
}

static void conf_build_listener_limits(struct conf_listener *listener, const struct conf_node *node)
{
	const struct conf_node *timeouts = conf_at(node, "timeouts");

	listener->max_connections = (uint32_t)conf_number_at(node, "max_connections");
	listener->hello_timeout_ms = (uint32_t)conf_number_at(timeouts, "hello");
	listener->handshake_timeout_ms = (uint32_t)conf_number_at(timeouts, "handshake");
	listener->request_timeout_ms = (uint32_t)conf_number_at(timeouts, "request");
	listener->keepalive_ms = (uint32_t)conf_number_at(timeouts, "keepalive");
	listener->idle_timeout_ms = (uint32_t)conf_number_at(timeouts, "idle");
	listener->half_closed_timeout_ms = (uint32_t)conf_number_at(timeouts, "half_closed");
}

/* The transport is the protocol's, or where that is not given the one of a URL to steer to. */
static void conf_build_routes(struct conf_context *context, struct conf_listener *listener,
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

/* A TCP and a UDP service often share an address, so the latter is marked. */
static const char *conf_listener_default_name(struct conf_context *context,
					      const struct conf_listener *listener)
{
	char name[ADDR_TEXT_MAX + sizeof("/udp")];

	if (listener->n_binds == 0)
		return NULL;
	snprintf(name, sizeof(name), "%s%s", listener->bind_texts[0] ? listener->bind_texts[0] : "",
		 listener->transport == CONF_TRANSPORT_UDP ? "/udp" : "");
	return conf_keep_text(context, str_from(name));
}

static void conf_build_listener(struct conf_context *context, struct conf_listener *listener,
				const struct conf_node *node)
{
	listener->mark = node->mark;
	listener->transport = (enum conf_transport)conf_number_at(node, "protocol");
	conf_build_binds(context, listener, conf_at(node, "bind"));
	listener->tls = conf_build_server_tls(context, conf_at(node, "tls"));
	conf_build_listener_limits(listener, node);
	conf_build_routes(context, listener, node);
	listener->name = conf_text_at(context, node, "name");
	if (!listener->name)
		listener->name = conf_listener_default_name(context, listener);
	if (conf_count_lane(listener, CONF_LANE_STEER))
		conf_check_steer(context, node, listener);
	else
		conf_check_streams(context, node, listener);
}

void conf_build_listeners(struct conf_context *context)
{
	struct conf *conf = context->conf;
	const struct conf_node *item;
	size_t n = conf_items(conf_at(context->file, "listeners"), &item);

	conf->listeners = conf_keep(context, n, sizeof(*conf->listeners));
	if (!conf->listeners)
		return;
	for (; conf->n_listeners < n; item = item->next) {
		conf->listeners[conf->n_listeners].index = conf->n_listeners;
		conf_build_listener(context, &conf->listeners[conf->n_listeners++], item);
	}
}
