/* SPDX-License-Identifier: Apache-2.0 */
/* The status document: what is configured, how it is carried, and what keeps it from a faster path.
 */
#include "worker/worker_internal.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/relay.h"
#include "route/route.h"
#include "server/server.h"
#include "stats/alerts.h"
#include "stats/stats.h"

static json_t *status_text(const char *text)
{
	return text ? json_string(text) : json_null();
}

/* "client ktls, origin openssl"; NULL where no TLS is ended. */
static const char *status_offload(const struct tally *tally, char *text, size_t size_bytes)
{
	const char *client = tally_word(tally, TALLY_CLIENT_TLS);
	const char *origin = tally_word(tally, TALLY_ORIGIN_TLS);

	if (!client && !origin)
		return NULL;
	snprintf(text, size_bytes, "client %s, origin %s", client ? client : "-",
		 origin ? origin : "-");
	return text;
}

static const char *status_why(const struct tally *tally, char *text, size_t size_bytes)
{
	static const struct {
		enum tally_word word;
		const char *subject;
	} reasons[] = {
	    {TALLY_RELAY_REASON, "relay"},
	    {TALLY_CLIENT_TLS_REASON, "client TLS"},
	    {TALLY_ORIGIN_TLS_REASON, "origin TLS"},
	};
	size_t n = 0;

	text[0] = 0;
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		const char *reason = tally_word(tally, reasons[i].word);

		if (reason && n < size_bytes)
			n += (size_t)snprintf(text + n, size_bytes - n, "%s%s: %s", n ? "; " : "",
					      reasons[i].subject, reason);
	}
	return n ? text : NULL;
}

static json_t *status_route(const struct snapshot *snapshot, const struct conf_listener *listener,
			    const struct conf_route *route)
{
	const struct tally *tally = snapshot_tally(snapshot, listener, route);
	char match[CONF_MATCH_TEXT_MAX], offload[128], why[512];

	conf_route_format_match(route, match);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "lane",
			 conf_lane_word(route->lane), "match", match, "to", route->origin->name,
			 "relay", status_text(tally_word(tally, TALLY_RELAY)), "offload",
			 status_text(status_offload(tally, offload, sizeof(offload))),
			 "why_not_faster", status_text(status_why(tally, why, sizeof(why))),
			 "connections", (json_int_t)tally_sum(tally, TALLY_CONNECTIONS), "requests",
			 (json_int_t)tally_sum(tally, TALLY_REQUESTS), "failures",
			 (json_int_t)tally_sum(tally, TALLY_FAILURES), "bytes_from_client",
			 (json_int_t)tally_sum(tally, TALLY_FROM_CLIENT_BYTES), "bytes_to_client",
			 (json_int_t)tally_sum(tally, TALLY_TO_CLIENT_BYTES));
}

#define DAY_S 86400

/* Rounded down: 0 is less than a day, -1 has expired. */
static json_int_t status_days_left(int64_t not_after_s)
{
	int64_t left_s = not_after_s - (int64_t)time(NULL);

	return left_s >= 0 ? left_s / DAY_S : (left_s - DAY_S + 1) / DAY_S;
}

static json_t *status_certificate(const struct tls_server_ctx *context, size_t i)
{
	struct tls_certificate_facts facts;
	char expires[32] = "";
	struct tm tm;
	time_t when;

	tls_server_ctx_describe(context, i, &facts);
	when = (time_t)facts.not_after_s;
	if (gmtime_r(&when, &tm))
		strftime(expires, sizeof(expires), "%Y-%m-%dT%H:%M:%SZ", &tm);
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:b}", "file", facts.file, "names",
			 facts.names, "key", facts.key, "expires", expires, "not_after",
			 (json_int_t)facts.not_after_s, "days_left",
			 status_days_left(facts.not_after_s), "stapled", facts.is_stapled);
}

/* NULL, and so left out, where no TLS is ended. */
static json_t *status_certificates(const struct tls_server_ctx *context)
{
	json_t *certificates = context ? json_array() : NULL;

	for (size_t i = 0; context && i < tls_server_ctx_n_certificates(context); i++)
		json_array_append_new(certificates, status_certificate(context, i));
	return certificates;
}

/* NULL, and so left out, where there is none. */
static json_t *status_key_log(const struct tls_server_ctx *context)
{
	const char *path = context ? tls_server_ctx_key_log(context) : NULL;

	return path ? json_string(path) : NULL;
}

static json_t *status_listener(const struct snapshot *snapshot,
			       const struct conf_listener *listener)
{
	json_t *binds = json_array(), *routes = json_array();

	for (size_t i = 0; i < listener->n_bind_items; i++)
		json_array_append_new(binds, json_string(listener->bind_items[i]));
	for (size_t i = 0; i < listener->n_routes; i++)
		json_array_append_new(routes,
				      status_route(snapshot, listener, &listener->routes[i]));
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o*, s:o*}", "name", listener->name,
			 "protocol", listener->transport == CONF_TRANSPORT_UDP ? "udp" : "tcp",
			 "tls", listener->tls != NULL, "binds", binds, "routes", routes,
			 "certificates",
			 status_certificates(snapshot->server_contexts[listener->index]), "key_log",
			 status_key_log(snapshot->server_contexts[listener->index]));
}

static const char *status_origin_tls(const struct conf_origin *origin)
{
	if (!origin->tls)
		return "none";
	if (origin->tls->n_pins)
		return origin->tls->verify ? "verified, pinned" : "pinned, NOT VERIFIED";
	return origin->tls->verify ? "verified" : "NOT VERIFIED";
}

/* What is the same of a server in all threads; `text` is an address, also where it is one of a
 * name.
 */
static json_t *status_server(const struct conf_origin *origin, const struct conf_server *conf,
			     const struct server *server, const char *text)
{
	uint64_t now_ms = clock_now_ms();
	struct server_counts counts;

	server_read_counts(server, &counts);
	return json_pack("{s:s, s:i, s:b, s:s, s:I, s:i, s:I, s:I, s:I}", "address", text, "weight",
			 (int)conf->weight, "backup", conf->is_backup, "state",
			 server_state_word(server_state(server, now_ms)), "load",
			 (json_int_t)server_load(server), "share",
			 (int)server_share(server, origin->slow_start_ms, now_ms), "connects",
			 (json_int_t)counts.connects, "failures", (json_int_t)counts.failures,
			 "ejections", (json_int_t)counts.ejections);
}

/* The addresses of a name: those servers of the origin that no other line of it gives. */
struct status_name {
	const struct conf_origin *origin;
	const struct conf_server *conf;
	json_t *servers;
};

static void status_visit_name(void *argument, const struct server *server)
{
	struct status_name *name = argument;
	char text[ADDR_TEXT_MAX];

	if (addr_port(server_addr(server)) != addr_port(&name->conf->addr))
		return;
	for (size_t i = 0; i < name->origin->n_servers; i++)
		if (!name->origin->servers[i].is_name &&
		    addr_is_equal(&name->origin->servers[i].addr, server_addr(server)))
			return;
	addr_format(server_addr(server), text);
	json_array_append_new(name->servers, status_server(name->origin, name->conf, server, text));
}

static void status_add_servers(json_t *servers, const struct conf_origin *origin,
			       const struct conf_server *conf)
{
	struct status_name name = {origin, conf, servers};
	struct server *server;

	if (conf->is_name) {
		server_each(origin->identity, status_visit_name, &name);
		return;
	}
	server = server_get(origin->identity, &conf->addr);
	if (server)
		json_array_append_new(servers, status_server(origin, conf, server, conf->text));
	server_unref(server);
}

static json_t *status_origin(const struct conf_origin *origin)
{
	struct server_group *group = server_group_get(origin->identity);
	json_t *servers = json_array();
	json_int_t n_waiting = group ? server_group_waiting(group) : 0;

	server_group_unref(group);
	for (size_t i = 0; i < origin->n_servers; i++)
		status_add_servers(servers, origin, &origin->servers[i]);
	return json_pack("{s:s, s:s, s:I, s:o}", "name", origin->name, "tls",
			 status_origin_tls(origin), "waiting", n_waiting, "servers", servers);
}

static json_t *status_counters(void)
{
	json_t *counters = json_object();

	for (int i = 0; i < STAT_MAX; i++)
		json_object_set_new(counters, stats_word((enum stats_counter)i),
				    json_integer((json_int_t)stats_sum((enum stats_counter)i)));
	return counters;
}

static json_t *status_closes(void)
{
	json_t *closes = json_object();

	for (int i = 0; i < CLOSE_REASON_MAX; i++)
		json_object_set_new(
		    closes, close_reason_word((enum close_reason)i),
		    json_integer((json_int_t)stats_sum_close((enum close_reason)i)));
	return closes;
}

/* Those with clients. */
static json_t *status_alerts(bool sent)
{
	json_t *alerts = json_object();

	for (int i = 0; i < ALERT_KIND_MAX; i++)
		json_object_set_new(alerts, alert_kind_word((enum alert_kind)i),
				    json_integer((json_int_t)alerts_sum(sent, (enum alert_kind)i)));
	return alerts;
}

json_t *worker_status_json(const struct worker_facts *facts)
{
	const struct conf *conf = facts->snapshot->conf;
	json_t *listeners = json_array(), *origins = json_array();

	for (size_t i = 0; i < conf->n_listeners; i++)
		json_array_append_new(listeners,
				      status_listener(facts->snapshot, &conf->listeners[i]));
	for (size_t i = 0; i < conf->n_origins; i++)
		json_array_append_new(origins, status_origin(conf->origins[i]));
	return json_pack(
	    "{s:s, s:i, s:I, s:I, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
	    "s:o, s:o}",
	    "version", PENSTOCK_VERSION, "pid", (int)getpid(), "generation",
	    (json_int_t)facts->snapshot->generation, "uptime_s",
	    (json_int_t)(facts->uptime_ms / 1000), "threads", (int)facts->n_threads, "draining",
	    facts->is_draining, "sockmap",
	    status_text(relay_sockmap_why_not() ? relay_sockmap_why_not() : "available"),
	    "kernel_tls", status_text(tls_kernel_missing() ? tls_kernel_missing() : "available"),
	    "listeners", listeners, "origins", origins, "counters", status_counters(), "closes",
	    status_closes(), "alerts_sent", status_alerts(true), "alerts_received",
	    status_alerts(false), "steer", facts->steer ? steer_status(facts->steer) : json_null(),
	    "plane", facts->plane ? json_loads(facts->plane, 0, NULL) : json_null());
}
