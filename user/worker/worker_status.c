/* SPDX-License-Identifier: Apache-2.0 */
/* The status document: what is configured, how it is carried, and what keeps it from a faster path.
 */
#include "worker/worker_internal.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "relay/relay.h"
#include "route/route.h"
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

/* Of all devices, each value once: "tc client0, xdp eth1", or why these hooks. */
static const char *status_hooks(const json_t *plane, const char *key, bool with_name, char *text,
				size_t size_bytes)
{
	const json_t *device;
	size_t i, n = 0;

	text[0] = 0;
	json_array_foreach(json_object_get(plane, "devices"), i, device)
	{
		const char *name = json_string_value(json_object_get(device, "name"));
		const char *value = json_string_value(json_object_get(device, key));

		if (name && value && n < size_bytes && (with_name || !strstr(text, value)))
			n += (size_t)snprintf(text + n, size_bytes - n, "%s%s%s%s", n ? ", " : "",
					      value, with_name ? " " : "", with_name ? name : "");
	}
	return n ? text : NULL;
}

static json_t *status_route(const struct snapshot *snapshot, const struct conf_listener *listener,
			    const struct conf_route *route, const json_t *plane)
{
	const struct tally *tally = snapshot_tally(snapshot, listener, route);
	bool is_steered = route->lane == CONF_LANE_STEER;
	char match[CONF_MATCH_TEXT_MAX], relay[512], offload[128], why[512];
	const char *relay_text = is_steered
				     ? status_hooks(plane, "hook", true, relay, sizeof(relay))
				     : tally_word(tally, TALLY_RELAY);
	const char *why_text = is_steered ? status_hooks(plane, "reason", false, why, sizeof(why))
					  : status_why(tally, why, sizeof(why));

	conf_route_format_match(route, match);
	return json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "lane",
			 conf_lane_word(route->lane), "match", match, "to", route->origin->name,
			 "relay", status_text(relay_text), "offload",
			 status_text(status_offload(tally, offload, sizeof(offload))),
			 "why_not_faster", status_text(why_text), "connections",
			 (json_int_t)tally_sum(tally, TALLY_CONNECTIONS), "requests",
			 (json_int_t)tally_sum(tally, TALLY_REQUESTS), "failures",
			 (json_int_t)tally_sum(tally, TALLY_FAILURES), "bytes_from_client",
			 (json_int_t)tally_sum(tally, TALLY_FROM_CLIENT_BYTES), "bytes_to_client",
			 (json_int_t)tally_sum(tally, TALLY_TO_CLIENT_BYTES));
}

static json_t *status_listener(const struct snapshot *snapshot,
			       const struct conf_listener *listener, const json_t *plane)
{
	const struct tls_server_ctx *context = snapshot->server_contexts[listener->index];
	json_t *binds = json_array(), *routes = json_array();

	for (size_t i = 0; i < listener->n_bind_items; i++)
		json_array_append_new(binds, json_string(listener->bind_items[i]));
	for (size_t i = 0; i < listener->n_routes; i++)
		json_array_append_new(
		    routes, status_route(snapshot, listener, &listener->routes[i], plane));
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o*, s:o*, s:s*}", "name", listener->name,
			 "protocol", listener->transport == CONF_TRANSPORT_UDP ? "udp" : "tcp",
			 "tls", listener->tls != NULL, "binds", binds, "routes", routes,
			 "certificates", worker_status_certificates(context), "tls_rules",
			 worker_status_tls_rules(listener->tls, context), "key_log",
			 context ? tls_server_ctx_key_log(context) : NULL);
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

static const char *status_kernel_tls(const struct conf *conf)
{
	if (tls_kernel_missing())
		return tls_kernel_missing();
	return conf->kernel_tls ? "available" : "turned off in the configuration";
}

json_t *worker_status_json(const struct worker_facts *facts)
{
	const struct conf *conf = facts->snapshot->conf;
	json_t *plane = facts->plane ? json_loads(facts->plane, 0, NULL) : json_null();
	json_t *listeners = json_array(), *origins = json_array();

	for (size_t i = 0; i < conf->n_listeners; i++)
		json_array_append_new(listeners,
				      status_listener(facts->snapshot, &conf->listeners[i], plane));
	for (size_t i = 0; i < conf->n_origins; i++)
		json_array_append_new(origins, worker_status_origin(facts, conf->origins[i]));
	return json_pack(
	    "{s:s, s:i, s:I, s:I, s:i, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
	    "s:o, s:o, s:o}",
	    "version", PENSTOCK_VERSION, "pid", (int)getpid(), "generation",
	    (json_int_t)facts->snapshot->generation, "uptime_s",
	    (json_int_t)(facts->uptime_ms / 1000), "threads", (int)facts->n_threads, "draining",
	    facts->is_draining, "pipe",
	    status_text(relay_pipe_why_not() ? relay_pipe_why_not() : "available"), "sockmap",
	    status_text(relay_sockmap_why_not() ? relay_sockmap_why_not() : "available"),
	    "kernel_tls", status_text(status_kernel_tls(conf)), "listeners", listeners, "origins",
	    origins, "counters", status_counters(), "closes", status_closes(), "alerts_sent",
	    status_alerts(true), "alerts_received", status_alerts(false), "steer",
	    facts->steer ? steer_status(facts->steer) : json_null(), "plane", plane);
}
