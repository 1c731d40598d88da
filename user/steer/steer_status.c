/* SPDX-License-Identifier: Apache-2.0 */
/* Services, flows and counters as JSON, read from the maps: the same numbers that bpftool shows. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "penstock/reasons.h"
#include "steer/steer_internal.h"

/* Of flows in the table, by direction. */
struct traffic {
	uint64_t packets[2];
	uint64_t bytes[2];
	uint64_t flows;
};

struct service_report {
	const struct steer_service *service;
	struct traffic traffic;
	uint64_t *server_flows; /* one per entry of service->servers */
};

struct report {
	struct service_report *services; /* by service id */
	size_t n_services;
	uint64_t n_flows;
	json_t *rows;
};

static int compare_ids(const void *a, const void *b)
{
	uint32_t id_a = ((const struct service_report *)a)->service->value.service_id;
	uint32_t id_b = ((const struct service_report *)b)->service->value.service_id;

	return id_a < id_b ? -1 : id_a > id_b;
}

static struct service_report *report_find(const struct report *report, uint32_t service_id)
{
	struct steer_service service = {.value.service_id = service_id};
	struct service_report key = {.service = &service};

	return bsearch(&key, report->services, report->n_services, sizeof(key), compare_ids);
}

static void report_done(struct report *report)
{
	for (size_t i = 0; i < report->n_services; i++)
		free(report->services[i].server_flows);
	free(report->services);
	json_decref(report->rows);
}

static int report_init(struct report *report, const struct steer_plan *plan)
{
	report->rows = json_array();
	report->services = calloc(plan->n_services + 1, sizeof(*report->services));
	if (!report->services || !report->rows)
		return -ENOMEM;
	for (; report->n_services < plan->n_services; report->n_services++) {
		struct service_report *service = &report->services[report->n_services];

		service->service = &plan->services[report->n_services];
		service->server_flows =
		    calloc(service->service->value.n_servers + 1u, sizeof(uint64_t));
		if (!service->server_flows)
			return -ENOMEM;
	}
	qsort(report->services, report->n_services, sizeof(*report->services), compare_ids);
	return 0;
}

/* ---- flows ---- */

static const char *endpoint(char text[32], const uint8_t addr[4], uint16_t port)
{
	snprintf(text, 32, "%u.%u.%u.%u:%u", addr[0], addr[1], addr[2], addr[3], port);
	return text;
}

static const char *protocol_word(uint8_t protocol)
{
	return protocol == IPPROTO_UDP ? "udp" : "tcp";
}

static json_t *flow_row(const struct flow_key *key, const struct flow_value *value)
{
	bool to_origin = value->direction == FLOW_TO_ORIGIN;
	char arrived_from[32], arrived_at[32], leaves_from[32], leaves_to[32];

	endpoint(arrived_from, key->src_addr, key->src_port);
	endpoint(arrived_at, key->dst_addr, key->dst_port);
	endpoint(leaves_from, value->new_src_addr, value->new_src_port);
	endpoint(leaves_to, value->new_dst_addr, value->new_dst_port);
	return json_pack(
	    "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I}", "direction",
	    to_origin ? "to_origin" : "to_client", "protocol", protocol_word(key->protocol),
	    "client", to_origin ? arrived_from : leaves_to, "service",
	    to_origin ? arrived_at : leaves_from, "nat", to_origin ? leaves_from : arrived_at,
	    "server", to_origin ? leaves_to : arrived_from, "packets", (json_int_t)value->packets,
	    "bytes", (json_int_t)value->bytes);
}

static bool is_server(const struct server_value *server, const uint8_t addr[4], uint16_t port)
{
	return memcmp(server->addr, addr, 4) == 0 && server->port == port;
}

/* A flow may be of a server that the service has no more. */
static void count_at_server(struct service_report *report, const struct flow_value *value)
{
	const struct steer_service *service = report->service;

	for (size_t i = 0; i < service->value.n_servers; i++)
		if (is_server(&service->servers[i], value->new_dst_addr, value->new_dst_port)) {
			report->server_flows[i]++;
			return;
		}
}

static void count_flow(struct report *report, const struct flow_value *value)
{
	size_t direction = value->direction == FLOW_TO_ORIGIN ? FLOW_TO_ORIGIN : FLOW_TO_CLIENT;
	struct service_report *service = report_find(report, value->service_id);

	report->n_flows += direction == FLOW_TO_ORIGIN;
	if (!service)
		return;
	service->traffic.packets[direction] += value->packets;
	service->traffic.bytes[direction] += value->bytes;
	if (direction == FLOW_TO_ORIGIN) {
		service->traffic.flows++;
		count_at_server(service, value);
	}
}

static int report_flows(struct report *report, int flows_fd)
{
	struct steer_batch *batch = calloc(1, sizeof(*batch));
	int more = batch ? 1 : -ENOMEM;

	while (more > 0) {
		more = steer_batch_read(flows_fd, batch);
		for (uint32_t i = 0; i < batch->n; i++) {
			count_flow(report, &batch->values[i]);
			if (json_array_size(report->rows) < STEER_STATUS_ROWS &&
			    json_array_append_new(report->rows,
						  flow_row(&batch->keys[i], &batch->values[i])))
				more = -ENOMEM;
		}
	}
	free(batch);
	return more;
}

/* ---- services ---- */

static json_t *servers_json(const struct service_report *report)
{
	const struct steer_service *service = report->service;
	json_t *servers = json_array();
	char text[32], nat_text[INET_ADDRSTRLEN];

	/* The same server stands in a row as often as its weight says. */
	for (size_t i = 0, next; servers && i < service->value.n_servers; i = next) {
		const struct server_value *server = &service->servers[i];

		for (next = i + 1; next < service->value.n_servers; next++)
			if (!is_server(&service->servers[next], server->addr, server->port))
				break;
		inet_ntop(AF_INET, server->nat_addr, nat_text, sizeof(nat_text));
		if (json_array_append_new(servers,
					  json_pack("{s:s, s:s, s:I, s:I}", "address",
						    endpoint(text, server->addr, server->port),
						    "nat_address", nat_text, "weight",
						    (json_int_t)(next - i), "flows",
						    (json_int_t)report->server_flows[i]))) {
			json_decref(servers);
			return NULL;
		}
	}
	return servers;
}

static json_t *traffic_json(const struct traffic *traffic, enum flow_direction direction)
{
	return json_pack("{s:I, s:I}", "packets", (json_int_t)traffic->packets[direction], "bytes",
			 (json_int_t)traffic->bytes[direction]);
}

static json_t *service_json(const struct service_report *report)
{
	const struct steer_service *service = report->service;
	char text[32];

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o}", "name", service->name,
			 "address", endpoint(text, service->key.addr, service->key.port),
			 "protocol", protocol_word(service->key.protocol), "origin",
			 service->origin, "flows", (json_int_t)report->traffic.flows, "to_origin",
			 traffic_json(&report->traffic, FLOW_TO_ORIGIN), "to_client",
			 traffic_json(&report->traffic, FLOW_TO_CLIENT), "servers",
			 servers_json(report));
}

static json_t *services_json(const struct report *report)
{
	json_t *services = json_array();

	for (size_t i = 0; services && i < report->n_services; i++)
		if (json_array_append_new(services, service_json(&report->services[i]))) {
			json_decref(services);
			return NULL;
		}
	return services;
}

/* ---- counters ---- */

#define COUNTER_WORD(name, word, help) #word,
static const char *const counter_words[] = {PENSTOCK_STEER_COUNTERS(COUNTER_WORD)};

/*
 * The kernel copies one value per possible processor. How many there are stands in /sys, which the
 * worker cannot open; so there is room for as many as any kernel is built for (NR_CPUS), and what
 * is not written stays zero.
 */
#define COUNTER_CPUS_MAX 8192

static json_t *counters_json(int counters_fd)
{
	uint64_t *values = calloc(COUNTER_CPUS_MAX, sizeof(*values));
	json_t *counters = values ? json_object() : NULL;

	for (uint32_t i = 0; counters && i < ARRAY_LEN(counter_words); i++) {
		uint64_t sum = 0;

		if (bpf_map_lookup_elem(counters_fd, &i, values) == 0)
			for (size_t cpu = 0; cpu < COUNTER_CPUS_MAX; cpu++)
				sum += values[cpu];
		if (json_object_set_new(counters, counter_words[i],
					json_integer((json_int_t)sum))) {
			json_decref(counters);
			counters = NULL;
		}
	}
	free(values);
	return counters;
}

json_t *steer_status(struct steer *steer)
{
	struct report report = {.services = NULL};
	json_t *status = NULL;
	int err = report_init(&report, &steer->published);

	if (!err)
		err = report_flows(&report, steer->maps.flows);
	if (!err)
		status = json_pack("{s:o, s:I, s:O, s:o}", "services", services_json(&report),
				   "flows", (json_int_t)report.n_flows, "flow_table", report.rows,
				   "counters", counters_json(steer->maps.counters));
	report_done(&report);
	return status;
}
