/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock flows`: what is open now, as a table or as the worker's document. */
#include <stdio.h>
#include <stdlib.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"

static const char *flows_text(const json_t *flow, const char *key)
{
	const char *text = json_string_value(json_object_get(flow, key));

	return text ? text : "";
}

static const char *flows_number(const json_t *flow, const char *key, char text[32])
{
	snprintf(text, 32, "%lld", (long long)json_integer_value(json_object_get(flow, key)));
	return text;
}

/* Milliseconds with one digit behind the point; nothing where it was not measured. */
static const char *flows_rtt(const json_t *flow, const char *key, char text[32])
{
	json_int_t us = json_integer_value(json_object_get(flow, key));

	text[0] = 0;
	if (us > 0)
		snprintf(text, 32, "%.1f ms", (double)us / 1000);
	return text;
}

static void flows_add_stream(struct cli_table *table, const json_t *flow)
{
	char up[32], down[32], age[32], client_rtt[32], origin_rtt[32], engines[64];
	const char *const cells[] = {
	    flows_text(flow, "lane"),
	    flows_text(flow, "listener"),
	    flows_text(flow, "client"),
	    flows_text(flow, "origin"),
	    engines,
	    flows_number(flow, "bytes_up", up),
	    flows_number(flow, "bytes_down", down),
	    cli_format_duration(json_number_value(json_object_get(flow, "age_s")), age),
	    flows_rtt(flow, "client_rtt_us", client_rtt),
	    flows_rtt(flow, "origin_rtt_us", origin_rtt),
	    flows_text(flow, "why_not_faster"),
	};

	snprintf(engines, sizeof(engines), "%s/%s", flows_text(flow, "engine_up"),
		 flows_text(flow, "engine_down"));
	cli_table_add(table, cells);
}

static void flows_show_streams(const json_t *streams, bool colour)
{
	static const char *const titles[] = {"LANE",	   "LISTENER",	 "CLIENT",	  "ORIGIN",
					     "UP/DOWN BY", "BYTES UP",	 "BYTES DOWN",	  "AGE",
					     "CLIENT RTT", "ORIGIN RTT", "WHY NOT FASTER"};
	struct cli_table *table = cli_table_new(titles, sizeof(titles) / sizeof(titles[0]));
	const json_t *flow;
	size_t i;

	if (!table)
		return;
	json_array_foreach(streams, i, flow) flows_add_stream(table, flow);
	cli_table_print(table, stdout, colour);
	cli_table_free(table);
}

static void flows_show_steered(const json_t *steered, bool colour)
{
	static const char *const titles[] = {"STEERED", "DIRECTION", "CLIENT",	"SERVICE",
					     "FROM",	"SERVER",    "PACKETS", "BYTES"};
	struct cli_table *table = cli_table_new(titles, sizeof(titles) / sizeof(titles[0]));
	const json_t *flow;
	size_t i;

	if (!table)
		return;
	json_array_foreach(steered, i, flow)
	{
		char packets[32], bytes[32];
		const char *const cells[] = {flows_text(flow, "protocol"),
					     flows_text(flow, "direction"),
					     flows_text(flow, "client"),
					     flows_text(flow, "service"),
					     flows_text(flow, "nat"),
					     flows_text(flow, "server"),
					     flows_number(flow, "packets", packets),
					     flows_number(flow, "bytes", bytes)};

		cli_table_add(table, cells);
	}
	cli_table_print(table, stdout, colour);
	cli_table_free(table);
}

static int flows_print(const char *text, const struct cli_options *options)
{
	json_error_t error;
	json_t *flows = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	const json_t *streams = json_object_get(flows, "streams"),
		     *steered = json_object_get(flows, "steered");

	if (!flows) {
		fprintf(stderr, "penstock: the daemon's answer is not JSON (%s)\n", error.text);
		return EXIT_FAILURE;
	}
	if (options->json) {
		json_dumpf(flows, stdout, JSON_INDENT(2));
		putchar('\n');
	} else if (json_array_size(streams) + json_array_size(steered) == 0) {
		puts("Nothing is open.");
	} else {
		flows_show_streams(streams, cli_has_colour());
		flows_show_steered(steered, cli_has_colour());
	}
	json_decref(flows);
	return EXIT_SUCCESS;
}

int cli_flows(const struct cli_options *options)
{
	char *answer = cli_ask(options, BROKER_ADMIN_SOCKET, "flows\n");
	int exit_status = answer && *answer ? flows_print(answer, options) : EXIT_FAILURE;

	free(answer);
	return exit_status;
}
