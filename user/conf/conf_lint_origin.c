/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origins as a whole: those without a route, certificates that nobody verifies, servers named
 * twice, checks and queues that do nothing.
 */
#include "conf/conf_internal.h"

static bool conf_server_is_equal(const struct conf_server *a, const struct conf_server *b)
{
	return a->is_name == b->is_name && addr_port(&a->addr) == addr_port(&b->addr) &&
	       strcmp(a->host, b->host) == 0 && addr_is_equal(&a->addr, &b->addr);
}

static void conf_lint_servers(struct conf_context *context, const struct conf_origin *origin)
{
	for (size_t i = 1; i < origin->n_servers; i++)
		for (size_t j = 0; j < i; j++)
			if (conf_server_is_equal(&origin->servers[i], &origin->servers[j])) {
				conf_diag_warn(context->diag, origin->servers[i].mark,
					       "\"%s\" is in this list already",
					       origin->servers[i].text);
				break;
			}
}

static void conf_lint_origin_tls(struct conf_context *context, const struct conf_origin *origin)
{
	const struct conf_client_tls *tls = origin->tls;

	if (!tls->verify && tls->n_pins) {
		conf_diag_warn(context->diag, tls->mark,
			       "the certificate of origin \"%s\" is not verified, only its key is "
			       "compared with \"pins\": neither its name nor its time counts",
			       origin->name);
		return;
	}
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

static size_t conf_count_backups(const struct conf_origin *origin)
{
	size_t n = 0;

	for (size_t i = 0; i < origin->n_servers; i++)
		n += origin->servers[i].is_backup;
	return n;
}

static void conf_lint_health(struct conf_context *context, const struct conf_origin *origin)
{
	const struct conf_health *health = &origin->health;
	size_t n_backups = conf_count_backups(origin);

	if (n_backups == origin->n_servers)
		conf_diag_warn(context->diag, origin->mark,
			       "every server of origin \"%s\" is a backup: there is none that they "
			       "stand in for",
			       origin->name);
	else if (n_backups && health->check == CONF_CHECK_OFF)
		conf_diag_warn(
		    context->diag, origin->mark,
		    "the backups of origin \"%s\" are used only after connections to the "
		    "others failed; give \"health\" a \"check\"",
		    origin->name);
	if (health->check == CONF_CHECK_OFF && (health->send || health->expect))
		conf_diag_warn(context->diag, origin->mark,
			       "\"%s\" of origin \"%s\" is not used: \"check\" is off",
			       health->send ? "send" : "expect", origin->name);
	if (health->check != CONF_CHECK_OFF && health->timeout_ms > health->interval_ms)
		conf_diag_warn(context->diag, origin->mark,
			       "a check of origin \"%s\" may take longer than \"interval\"; make "
			       "\"timeout\" shorter",
			       origin->name);
	if (health->eject_failures && health->eject_max_percent == 100 && origin->n_servers > 1)
		conf_diag_warn(context->diag, origin->mark,
			       "origin \"%s\" may leave out all of its servers at once: \"max\" in "
			       "\"eject\" is 100%%",
			       origin->name);
}

static bool conf_has_bounds(const struct conf_origin *origin)
{
	for (size_t i = 0; i < origin->n_servers; i++)
		if (origin->servers[i].max_connections)
			return true;
	return origin->max_connections > 0;
}

static void conf_lint_queue(struct conf_context *context, const struct conf_origin *origin)
{
	if (origin->queue && !conf_has_bounds(origin))
		conf_diag_warn(context->diag, origin->mark,
			       "\"queue\" of origin \"%s\" is not used: nothing bounds its "
			       "connections; give \"connections\" too, or \"max_connections\" of a "
			       "server",
			       origin->name);
}

/* A source of the other family reaches no server. */
static void conf_lint_source(struct conf_context *context, const struct conf_origin *origin)
{
	for (size_t i = 0; i < origin->n_servers && origin->source.len; i++) {
		const struct conf_server *server = &origin->servers[i];

		if (server->is_name || server->addr.sa.sa_family == AF_UNIX ||
		    server->addr.sa.sa_family == origin->source.sa.sa_family)
			continue;
		conf_diag_add(context->diag, server->mark,
			      "\"%s\" cannot be reached from \"source\" of origin \"%s\": one is "
			      "IPv4, the other IPv6",
			      server->text, origin->name);
	}
}

static void conf_lint_origin(struct conf_context *context, const struct conf_origin *origin)
{
	if (origin->tls)
		conf_lint_origin_tls(context, origin);
	conf_lint_servers(context, origin);
	conf_lint_health(context, origin);
	conf_lint_queue(context, origin);
	conf_lint_source(context, origin);
}

/* How the routes use an origin. */
struct conf_use {
	bool is_used;
	bool is_requested; /* gets requests, not streams */
};

static void conf_note_uses(const struct conf_listener *listener, struct conf_use *uses)
{
	for (size_t i = 0; i < listener->n_routes; i++) {
		const struct conf_route *route = &listener->routes[i];

		if (!route->origin)
			continue;
		uses[route->origin->index].is_used = true;
		uses[route->origin->index].is_requested |= !conf_route_is_stream(route);
	}
}

void conf_lint_origins(struct conf_context *context)
{
	const struct conf *conf = context->conf;
	struct conf_use *uses = arena_array(context->scratch, struct conf_use, conf->n_origins + 1);

	if (!uses) {
		conf_out_of_memory(context);
		return;
	}
	for (size_t i = 0; i < conf->n_listeners; i++)
		conf_note_uses(&conf->listeners[i], uses);
	for (size_t i = 0; i < conf->n_origins; i++) {
		const struct conf_origin *origin = conf->origins[i];

		if (!uses[i].is_used)
			conf_diag_warn(context->diag, origin->mark,
				       "no route leads to origin \"%s\"", origin->name);
		if (uses[i].is_requested && origin->proxy_protocol != CONF_PROXY_PROTOCOL_OFF)
			conf_diag_warn(context->diag, origin->mark,
				       "requests to origin \"%s\" get a connection each, as "
				       "\"proxy_protocol\" is of one client: none is kept for the "
				       "next",
				       origin->name);
		conf_lint_origin(context, origin);
	}
}
