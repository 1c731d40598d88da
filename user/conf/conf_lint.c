/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only the whole snapshot shows: addresses taken twice, networks that undo each other. Routes
 * are looked at in conf_lint_route.c, origins in conf_lint_origin.c.
 */
#include <stdlib.h>

#include "conf/conf_internal.h"
#include "penstock/limits.h"

/* ---- Addresses ---- */

struct conf_bind {
	struct conf_mark mark;
	size_t order;
	const char *text;
	const char *path; /* of a UNIX socket, else "" */
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
	} else if (addr->sa.sa_family == AF_INET && addr->in.sin_addr.s_addr != INADDR_ANY) {
		key.addr[10] = key.addr[11] = 0xff;
		memcpy(&key.addr[12], &addr->in.sin_addr, 4);
	}
	return key;
}

static const char *conf_bind_path(const struct addr *addr)
{
	return addr->sa.sa_family == AF_UNIX ? addr->un.sun_path : "";
}

static int conf_bind_compare_place(const struct conf_bind *a, const struct conf_bind *b)
{
	int difference = memcmp(&a->key, &b->key, sizeof(a->key));

	return difference ? difference : strcmp(a->path, b->path);
}

static int conf_bind_compare(const void *a_, const void *b_)
{
	const struct conf_bind *a = a_, *b = b_;
	int difference = conf_bind_compare_place(a, b);

	return difference ? difference : a->order < b->order ? -1 : a->order > b->order;
}

static bool conf_mark_is_equal(struct conf_mark a, struct conf_mark b)
{
	return a.line == b.line && a.column == b.column;
}

static void conf_lint_sorted_binds(struct conf_context *context, const struct conf_bind *binds,
				   size_t n)
{
	const struct conf_bind *first = binds, *told = NULL;

	for (size_t i = 1; i < n; i++) {
		if (conf_bind_compare_place(first, &binds[i]) != 0) {
			first = &binds[i];
			continue;
		}
		/* Of a range once is enough. */
		if (told && conf_mark_is_equal(told->mark, binds[i].mark))
			continue;
		told = &binds[i];
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
			    .path = conf_bind_path(&listener->binds[j]),
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

/* ---- Clients ---- */

static bool conf_net_is_everybody(const struct conf_net *net)
{
	return net->prefix_len == 0;
}

static void conf_lint_proxy_from(struct conf_context *context, const struct conf_listener *listener)
{
	for (size_t i = 0; i < listener->proxy_from.n_nets; i++) {
		if (!conf_net_is_everybody(&listener->proxy_from.nets[i]))
			continue;
		conf_diag_warn(context->diag, listener->mark,
			       "\"proxy_protocol\" trusts everybody (%s): any client may say that "
			       "it is another; give the addresses of the proxies in front",
			       conf_net_format(&listener->proxy_from.nets[i]).text);
	}
}

static void conf_lint_access(struct conf_context *context, const struct conf_listener *listener)
{
	const struct conf_nets everybody = {.n_nets = 0};

	if (conf_nets_cover(&listener->deny, &listener->allow) && listener->deny.n_nets &&
	    listener->allow.n_nets)
		conf_diag_warn(context->diag, listener->mark,
			       "nobody is let in: \"deny\" has all of \"allow\", and is stronger");
	else if (conf_nets_cover(&listener->deny, &everybody) && listener->deny.n_nets)
		conf_diag_warn(context->diag, listener->mark,
			       "nobody is let in: \"deny\" has every address");
}

/* A protocol in which the server speaks first would wait for the time of defer_accept. */
static void conf_lint_defer_accept(struct conf_context *context,
				   const struct conf_listener *listener)
{
	const struct conf_route *first = listener->routes;

	if (listener->socket.defer_accept_s && conf_route_is_stream(first) && !first->sni &&
	    !first->alpn && (first->lane == CONF_LANE_SPLICE || !listener->tls))
		conf_diag_warn(context->diag, first->mark,
			       "with \"defer_accept\" a client that waits for the server to speak "
			       "first waits for %u s",
			       listener->socket.defer_accept_s);
}

static void conf_lint_listener(struct conf_context *context, const struct conf_listener *listener)
{
	conf_lint_proxy_from(context, listener);
	conf_lint_access(context, listener);
	conf_lint_defer_accept(context, listener);
	conf_lint_routes(context, listener);
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
			    conf->steer.nat_port_min) {
				conf_diag_warn(
				    context->diag, listener->mark,
				    "the port of \"%s\" is within \"nat_ports\" of the steer lane",
				    listener->bind_texts[j]);
				break;
			}
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
		conf_lint_listener(context, &context->conf->listeners[i]);
	conf_lint_origins(context);
}
