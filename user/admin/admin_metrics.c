/* SPDX-License-Identifier: Apache-2.0 */
/* The status document as metrics: families one after another, each with its samples. */
#include "admin/admin_metrics.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "admin/admin_metrics_internal.h"
#include "server/server.h"
#include "stats/stats.h"

/* ---- the daemon ---- */

static const struct metrics_family metrics_of_daemon[] = {
    {"generation", "generation", "gauge", "the configuration in force: 1 at the start"},
    {"uptime_s", "uptime_seconds", "gauge", "since the worker started"},
    {"threads", "threads", "gauge", "threads of the worker"},
    {"draining", "draining", "gauge", "1 while open connections are brought to their end"},
};

static void metrics_daemon(struct metrics *metrics, const json_t *status)
{
	static const struct metrics_family info = {NULL, "info", "gauge", "what runs; always 1"};
	struct metrics_labels none = {0}, version = {0};

	metrics_label_text(&version, "version", status, "version");
	metrics_begin(metrics, &info);
	metrics_sample(metrics, &version, 1);
	for (size_t i = 0; i < ARRAY_LEN(metrics_of_daemon); i++) {
		const struct metrics_family *family = &metrics_of_daemon[i];

		metrics_begin(metrics, family);
		metrics_one(metrics, family, &none, status);
	}
}

/* ---- counters ---- */

#define METRICS_NAME_counter(word) #word "_total"
#define METRICS_NAME_gauge(word) #word
#define METRICS_OF_STAT(name, word, kind, help) {#word, METRICS_NAME_##kind(word), #kind, help},
static const struct metrics_family metrics_of_stats[] = {STATS(METRICS_OF_STAT)};

static void metrics_counters(struct metrics *metrics, const json_t *counters)
{
	struct metrics_labels none = {0};

	for (size_t i = 0; i < ARRAY_LEN(metrics_of_stats); i++) {
		const struct metrics_family *family = &metrics_of_stats[i];

		metrics_begin(metrics, family);
		metrics_one(metrics, family, &none, counters);
	}
}

/* Each key of `object` is the value of a label. */
static void metrics_each_key(struct metrics *metrics, const json_t *object, const char *label,
			     const char *direction)
{
	const char *key;
	json_t *value;

	/* jansson's iterators take no const. */
	json_object_foreach((json_t *)(uintptr_t)object, key, value)
	{
		struct metrics_labels labels = {0};

		metrics_label(&labels, "direction", direction);
		metrics_label(&labels, label, key);
		metrics_sample(metrics, &labels, json_integer_value(value));
	}
}

static void metrics_words(struct metrics *metrics, const json_t *status)
{
	static const struct metrics_family closes = {
	    NULL, "closes_total", "counter", "connections and requests by the reason of their end"};
	static const struct metrics_family alerts = {NULL, "tls_alerts_total", "counter",
						     "TLS alerts to and from clients"};

	metrics_begin(metrics, &closes);
	metrics_each_key(metrics, json_object_get(status, "closes"), "reason", NULL);
	metrics_begin(metrics, &alerts);
	metrics_each_key(metrics, json_object_get(status, "alerts_sent"), "alert", "sent");
	metrics_each_key(metrics, json_object_get(status, "alerts_received"), "alert", "received");
}

static void metrics_steer(struct metrics *metrics, const json_t *steer)
{
	static const struct metrics_family packets = {
	    NULL, "steer_packets_total", "counter",
	    "packets that the programs of the steer lane saw, and new flows, by outcome"};
	static const struct metrics_family flows = {"flows", "steer_flows", "gauge",
						    "steered flows that are known now"};
	struct metrics_labels none = {0};

	metrics_begin(metrics, &packets);
	metrics_each_key(metrics, json_object_get(steer, "counters"), "outcome", NULL);
	metrics_begin(metrics, &flows);
	metrics_one(metrics, &flows, &none, steer);
}

/* ---- routes ---- */

static const struct metrics_family metrics_of_routes[] = {
    {"connections", "route_connections_total", "counter", "connections that took the route"},
    {"requests", "route_requests_total", "counter", "requests that took the route"},
    {"failures", "route_failures_total", "counter", "of these, what did not end well"},
    {"bytes_from_client", "route_client_received_bytes_total", "counter",
     "payload bytes from clients"},
    {"bytes_to_client", "route_client_sent_bytes_total", "counter", "payload bytes to clients"},
};

/* Two routes may look alike, so they have their number. Steered ones are counted by the kernel. */
static void metrics_routes_of(struct metrics *metrics, const struct metrics_family *family,
			      const json_t *listener)
{
	const json_t *route;
	size_t i;

	json_array_foreach(json_object_get(listener, "routes"), i, route)
	{
		struct metrics_labels labels = {0};
		char number[24];

		snprintf(number, sizeof(number), "%zu", i + 1);
		metrics_label_text(&labels, "listener", listener, "name");
		metrics_label(&labels, "route", number);
		metrics_label_text(&labels, "lane", route, "lane");
		metrics_label_text(&labels, "match", route, "match");
		metrics_label_text(&labels, "origin", route, "to");
		if (!metrics_is(route, "lane", "steer"))
			metrics_one(metrics, family, &labels, route);
	}
}

static void metrics_routes(struct metrics *metrics, const json_t *listeners)
{
	const json_t *listener;
	size_t j;

	for (size_t i = 0; i < ARRAY_LEN(metrics_of_routes); i++) {
		const struct metrics_family *family = &metrics_of_routes[i];

		metrics_begin(metrics, family);
		json_array_foreach(listeners, j, listener)
		    metrics_routes_of(metrics, family, listener);
	}
}

/* ---- origins and their servers ---- */

static const struct metrics_family metrics_of_servers[] = {
    {"load", "server_load", "gauge", "what the server has now: connections, or requests"},
    {"connects", "server_connects_total", "counter", "connections that were made"},
    {"failures", "server_failures_total", "counter", "connections that could not be made"},
    {"ejections", "server_ejections_total", "counter", "times that it was left out for a while"},
};

typedef void metrics_visit_server(struct metrics *metrics, const struct metrics_family *family,
				  const struct metrics_labels *labels, const json_t *server);

static void metrics_each_server(struct metrics *metrics, const json_t *origins,
				const struct metrics_family *family, metrics_visit_server *visit)
{
	const json_t *origin, *server;
	size_t i, j;

	metrics_begin(metrics, family);
	json_array_foreach(origins, i, origin)
	    json_array_foreach(json_object_get(origin, "servers"), j, server)
	{
		struct metrics_labels labels = {0};

		metrics_label_text(&labels, "origin", origin, "name");
		metrics_label_text(&labels, "server", server, "address");
		metrics_label_text(&labels, "host", server, "name");
		visit(metrics, family, &labels, server);
	}
}

static void metrics_server_state(struct metrics *metrics,
				 const struct metrics_family *family UNUSED,
				 const struct metrics_labels *labels, const json_t *server)
{
	for (int i = 0; i <= SERVER_STATE_MAX; i++) {
		const char *word =
		    i < SERVER_STATE_MAX ? server_state_word((enum server_state)i) : "unresolved";
		struct metrics_labels with_state = *labels;

		metrics_label(&with_state, "state", word);
		metrics_sample(metrics, &with_state, metrics_is(server, "state", word));
	}
}

static void metrics_origins(struct metrics *metrics, const json_t *origins)
{
	static const struct metrics_family state = {
	    .name = "server_state", .type = "gauge", .help = "1 with the state that it is in"};
	static const struct metrics_family waiting = {"waiting", "origin_clients_waiting", "gauge",
						      "clients that wait for a place"};
	const json_t *origin;
	size_t i;

	metrics_each_server(metrics, origins, &state, metrics_server_state);
	for (i = 0; i < ARRAY_LEN(metrics_of_servers); i++)
		metrics_each_server(metrics, origins, &metrics_of_servers[i], metrics_one);
	metrics_begin(metrics, &waiting);
	json_array_foreach(origins, i, origin)
	{
		struct metrics_labels labels = {0};

		metrics_label_text(&labels, "origin", origin, "name");
		metrics_one(metrics, &waiting, &labels, origin);
	}
}

/* ---- certificates ---- */

/* `owner` is a listener or an origin. */
static void metrics_certificates_of(struct metrics *metrics, const struct metrics_family *expiry,
				    const json_t *owners, const char *label)
{
	const json_t *owner, *certificate;
	size_t i, j;

	json_array_foreach(owners, i, owner)
	    json_array_foreach(json_object_get(owner, "certificates"), j, certificate)
	{
		struct metrics_labels labels = {0};

		metrics_label_text(&labels, label, owner, "name");
		metrics_label_text(&labels, "names", certificate, "names");
		metrics_label_text(&labels, "key", certificate, "key");
		metrics_label_text(&labels, "file", certificate, "file");
		metrics_one(metrics, expiry, &labels, certificate);
	}
}

static void metrics_lists(struct metrics *metrics, const json_t *listeners)
{
	static const struct metrics_family until = {
	    "crl_not_after", "revocation_list_expiry_timestamp_seconds", "gauge",
	    "when the first revocation list of a listener runs out, in seconds since 1970"};
	const json_t *listener;
	size_t i;

	metrics_begin(metrics, &until);
	json_array_foreach(listeners, i, listener)
	{
		const json_t *rules = json_object_get(listener, "tls_rules");
		const json_t *clients = json_object_get(rules, "client_certificates");
		struct metrics_labels labels = {0};

		metrics_label_text(&labels, "listener", listener, "name");
		metrics_label_text(&labels, "file", clients, "crl");
		metrics_one(metrics, &until, &labels, clients);
	}
}

static void metrics_expiries(struct metrics *metrics, const json_t *status)
{
	static const struct metrics_family expiry = {
	    "not_after", "certificate_expiry_timestamp_seconds", "gauge",
	    "when a certificate expires, in seconds since 1970"};

	metrics_begin(metrics, &expiry);
	metrics_certificates_of(metrics, &expiry, json_object_get(status, "listeners"), "listener");
	metrics_certificates_of(metrics, &expiry, json_object_get(status, "origins"), "origin");
	metrics_lists(metrics, json_object_get(status, "listeners"));
}

/* ---- all ---- */

static void metrics_write(struct metrics *metrics, const json_t *status)
{
	metrics_daemon(metrics, status);
	metrics_counters(metrics, json_object_get(status, "counters"));
	metrics_words(metrics, status);
	metrics_steer(metrics, json_object_get(status, "steer"));
	metrics_routes(metrics, json_object_get(status, "listeners"));
	metrics_origins(metrics, json_object_get(status, "origins"));
	metrics_expiries(metrics, status);
}

char *admin_metrics_format(const json_t *status, size_t *ret_len)
{
	struct metrics metrics = {.seen = json_object()};
	char *text = NULL;
	size_t len_bytes = 0;
	bool is_whole = false;

	metrics.out = metrics.seen ? open_memstream(&text, &len_bytes) : NULL;
	if (metrics.out) {
		metrics_write(&metrics, status);
		is_whole = !metrics.failed && !ferror(metrics.out);
		is_whole = fclose(metrics.out) == 0 && is_whole;
	}
	json_decref(metrics.seen);
	if (!is_whole) {
		free(text);
		return NULL;
	}
	*ret_len = len_bytes;
	return text;
}
