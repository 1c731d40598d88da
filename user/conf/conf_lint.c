/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the whole snapshot shows: addresses taken twice, routes that nothing reaches, origins
 * without a route, certificates that nobody verifies.
 */
#include <stdlib.h>

#include "conf/conf_internal.h"
#include "penstock/limits.h"

/* ---- Addresses ---- */

struct conf_bind {
	struct conf_mark mark;
	size_t order;
	const char *text;
	struct conf_bind_key {
		uint8_t addr[16]; /* IPv4 as mapped; all zero: any, of either kind, as ":443" takes
				     both */
		uint16_t port;
		uint16_t transport;
	} key;
};

static struct conf_bind_key conf_bind_key(const struct addr *addr, enum conf_transport transport)
{
	struct conf_bind_key key = {.port = addr_port(addr), .transport = (uint16_t)transport};

	if (addr->sa.sa_family == AF_INET6) {
		memcpy(key.addr, &addr->in6.sin6_addr, sizeof(key.addr));
	} else if (addr->in.sin_addr.s_addr != INADDR_ANY) {
		key.addr[10] = key.addr[11] = 0xff;
		memcpy(&key.addr[12], &addr->in.sin_addr, 4);
	}
	return key;
}

static int conf_bind_compare(const void *a_, const void *b_)
{
	const struct conf_bind *a = a_, *b = b_;
	int difference = memcmp(&a->key, &b->key, sizeof(a->key));

	return difference ? difference : a->order < b->order ? -1 : a->order > b->order;
}

static void conf_lint_sorted_binds(struct conf_context *context, const struct conf_bind *binds,
				   size_t n)
{
	const struct conf_bind *first = binds;

	for (size_t i = 1; i < n; i++) {
		if (memcmp(&first->key, &binds[i].key, sizeof(first->key)) != 0) {
			first = &binds[i];
			continue;
		}
		conf_diag_add(context->diag, binds[i].mark,
			      "\"%s\" is taken already, by \"%s\" on line %u", binds[i].text,
			      first->text, first->mark.line);
	}
}

static void conf_lint_binds(struct conf_context *context)
{
	const struct conf *conf = context->conf;
	struct conf_bind *binds;
	size_t n = 0;

	for (size_t i = 0; i < conf->n_listeners; i++)
		n += conf->listeners[i].n_binds;
	binds = arena_array(context->scratch, struct conf_bind, n + 1);
	if (!binds) {
		conf_out_of_memory(context);
		return;
	}
	n = 0;
	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		for (size_t j = 0; j < listener->n_binds; j++, n++)
			binds[n] = (struct conf_bind){
			    .mark = listener->bind_marks[j],
			    .order = n,
			    .text = listener->bind_texts[j],
			    .key = conf_bind_key(&listener->binds[j], listener->transport),
			};
	}
	qsort(binds, n, sizeof(*binds), conf_bind_compare);
	conf_lint_sorted_binds(context, binds, n);
}

/* Names made from an address hold a colon, names of the operator do not: two alike with one were
 * told of above. */
static void conf_lint_names(struct conf_context *context)
{
	const struct conf *conf = context->conf;

	for (size_t i = 1; i < conf->n_listeners; i++)
		for (size_t j = 0; j < i; j++) {
			const struct conf_listener *a = &conf->listeners[j],
						   *b = &conf->listeners[i];

			if (!a->name || !b->name || strcmp(a->name, b->name) != 0 ||
			    strchr(b->name, ':'))
				continue;
			conf_diag_add(context->diag, b->mark,
				      "two listeners have the name \"%s\"; the first is on line %u",
				      b->name, a->mark.line);
			break;
		}
}

/* ---- Routes ---- */

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

/*
 * Does the first leave nothing to the second? As route/route.h has it: a connection is given by its
 * SNI, where a route to end it at counts by "sni" or else by "host".
 */
static bool conf_route_covers(const struct conf_listener *listener, const struct conf_route *first,
			      const struct conf_route *second)
{
	if (first->lane == CONF_LANE_SPLICE)
		return conf_name_covers(first->sni, second->sni);
	if (second->lane == CONF_LANE_SPLICE)
		return listener->tls && second->sni &&
		       conf_name_covers(first->sni ? first->sni : first->host, second->sni);
	return conf_name_covers(first->sni, second->sni) &&
	       conf_name_covers(first->host, second->host) &&
	       conf_path_covers(first->path, second->path);
}

static void conf_lint_routes(struct conf_context *context, const struct conf_listener *listener)
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

/* ---- Origins ---- */

static void conf_lint_servers(struct conf_context *context, const struct conf_origin *origin)
{
	for (size_t i = 1; i < origin->n_servers; i++)
		for (size_t j = 0; j < i; j++)
			if (addr_is_equal(&origin->servers[i].addr, &origin->servers[j].addr)) {
				conf_diag_warn(context->diag, origin->servers[i].mark,
					       "\"%s\" is in this list already",
					       origin->servers[i].text);
				break;
			}
}

static void conf_lint_origin_tls(struct conf_context *context, const struct conf_origin *origin)
{
	const struct conf_client_tls *tls = origin->tls;

	if (!tls->verify) {
		conf_diag_warn(context->diag, tls->mark,
			       "the certificate of origin \"%s\" is not verified: whoever is on "
			       "the way can read and change all; "
			       "give \"ca\" instead of \"verify: off\"",
			       origin->name);
		return;
	}
	for (size_t i = 0; i < origin->n_servers && !tls->server_name; i++)
		if (origin->servers[i].addr.sa.sa_family == AF_UNIX)
			conf_diag_add(context->diag, tls->mark,
				      "origin \"%s\" needs \"server_name\" in \"tls\": a UNIX "
				      "socket has no name to verify",
				      origin->name);
}

static void conf_lint_origins(struct conf_context *context)
{
	const struct conf *conf = context->conf;
	bool *is_used = arena_array(context->scratch, bool, conf->n_origins + 1);

	if (!is_used) {
		conf_out_of_memory(context);
		return;
	}
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t j = 0; j < conf->listeners[i].n_routes; j++)
			if (conf->listeners[i].routes[j].origin)
				is_used[conf->listeners[i].routes[j].origin->index] = true;
	for (size_t i = 0; i < conf->n_origins; i++) {
		if (!is_used[i])
			conf_diag_warn(context->diag, conf->origins[i]->mark,
				       "no route leads to origin \"%s\"", conf->origins[i]->name);
		if (conf->origins[i]->tls)
			conf_lint_origin_tls(context, conf->origins[i]);
		conf_lint_servers(context, conf->origins[i]);
	}
}

/* ---- The steer lane ---- */

static void conf_lint_steer(struct conf_context *context)
{
	const struct conf *conf = context->conf;
	size_t n_services = 0, n_servers = 0;

	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		for (size_t j = 0; j < listener->n_binds; j++)
			if (addr_port(&listener->binds[j]) >= conf->steer.nat_port_min &&
			    addr_port(&listener->binds[j]) <= conf->steer.nat_port_max &&
			    conf->steer.nat_port_min)
				conf_diag_warn(
				    context->diag, listener->mark,
				    "the port of \"%s\" is within \"nat_ports\" of the steer lane",
				    listener->bind_texts[j]);
		if (listener->n_routes == 0 || listener->routes[0].lane != CONF_LANE_STEER ||
		    !listener->routes[0].origin)
			continue;
		n_services += listener->n_binds;
		n_servers += listener->n_binds * listener->routes[0].origin->n_servers;
	}
	if (n_services > PENSTOCK_MAX_STEER_SERVICES)
		conf_diag_add(context->diag, (struct conf_mark){0},
			      "%zu addresses are steered; at most %d can be", n_services,
			      PENSTOCK_MAX_STEER_SERVICES);
	/* A reload writes the new servers before it removes the old ones. */
	if (n_servers > PENSTOCK_MAX_STEER_SERVERS / 2)
		conf_diag_add(context->diag, (struct conf_mark){0},
			      "%zu servers over all steered addresses; at most %d can be",
			      n_servers, PENSTOCK_MAX_STEER_SERVERS / 2);
}

void conf_lint(struct conf_context *context)
{
	conf_lint_binds(context);
	conf_lint_names(context);
	conf_lint_steer(context);
	/* What was left out because it is wrong would look like a route for everything. */
	if (conf_diag_errors(context->diag))
		return;
	for (size_t i = 0; i < context->conf->n_listeners; i++)
		conf_lint_routes(context, &context->conf->listeners[i]);
	conf_lint_origins(context);
}
