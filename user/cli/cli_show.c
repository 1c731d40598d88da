/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status document as tables. It may come from another version: what is missing is left out, and
 * what is known to nobody here is in the JSON.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_show.h"
#include "stats/stats.h"

const char *show_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void show_heading(const char *text, FILE *out, bool colour)
{
	fprintf(out, colour ? "\n\033[1;36m%s\033[0m\n" : "\n%s\n", text);
}

void show_table(const char *heading, struct cli_table *table, FILE *out, bool colour)
{
	if (table) {
		show_heading(heading, out, colour);
		cli_table_print(table, out, colour);
	}
	cli_table_free(table);
}

void show_append(char text[SHOW_TEXT_MAX], const char *separator, const char *more)
{
	size_t len = strlen(text);

	snprintf(text + len, SHOW_TEXT_MAX - len, "%s%s", len ? separator : "", more);
}

/* Any value in one line: texts and numbers as they are, objects as key=value, arrays with commas.
 */
void show_value(const json_t *value, char text[SHOW_TEXT_MAX])
{
	char number[32];
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_string(value)) {
		show_append(text, "", json_string_value(value));
	} else if (json_is_integer(value)) {
		snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT,
			 json_integer_value(value));
		show_append(text, "", number);
	} else if (json_is_real(value)) {
		snprintf(number, sizeof(number), "%g", json_real_value(value));
		show_append(text, "", number);
	} else if (json_is_boolean(value)) {
		show_append(text, "", json_is_true(value) ? "yes" : "no");
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, member)
		{
			if (i)
				show_append(text, "", ", ");
			show_value(member, text);
		}
	} else if (json_is_object(value)) {
		json_object_foreach((json_t *)value, key, member)
		{
			show_append(text, " ", key);
			show_append(text, "", "=");
			show_value(member, text);
		}
	}
}

static void show_summary(const json_t *status, FILE *out, bool colour)
{
	const char *version = show_string(status, "version");
	const char *kernel_tls = show_string(status, "kernel_tls");
	char uptime[32];

	fputs(colour ? "\033[1mpenstock\033[0m" : "penstock", out);
	if (version) {
		fputc(' ', out);
		cli_print_safe(out, version);
	}
	fprintf(out, ", generation %" JSON_INTEGER_FORMAT,
		json_integer_value(json_object_get(status, "generation")));
	fprintf(
	    out, ", up %s",
	    cli_format_duration(json_number_value(json_object_get(status, "uptime_s")), uptime));
	if (json_is_true(json_object_get(status, "draining")))
		fputs(", draining", out);
	if (kernel_tls) {
		fputs(", kernel TLS: ", out);
		cli_print_safe(out, kernel_tls);
	}
	fputc('\n', out);
}

static void show_carried(const json_t *route, char text[SHOW_TEXT_MAX])
{
	const char *relay = show_string(route, "relay");
	const char *offload = show_string(route, "offload");

	text[0] = 0;
	if (relay)
		show_append(text, ", ", relay);
	if (offload)
		show_append(text, ", ", offload);
}

static void show_route(struct cli_table *table, const char *name, const json_t *route)
{
	char carried[SHOW_TEXT_MAX];
	const char *const cells[] = {
	    name,
	    show_string(route, "lane"),
	    show_string(route, "match"),
	    show_string(route, "to"),
	    carried,
	    show_string(route, "why_not_faster"),
	};

	show_carried(route, carried);
	cli_table_add(table, cells);
}

static void show_listener(struct cli_table *table, const json_t *listener)
{
	char name[SHOW_TEXT_MAX] = "", binds[SHOW_TEXT_MAX] = "";
	const char *own_name = show_string(listener, "name");
	const json_t *route;
	size_t i;

	show_value(json_object_get(listener, "binds"), binds);
	if (own_name)
		show_append(name, "", own_name);
	/* A name that was made from the address says it already. */
	if (!own_name || !strstr(own_name, binds))
		show_append(name, " ", binds);
	if (json_is_true(json_object_get(listener, "tls")))
		show_append(name, " ", "tls");
	json_array_foreach(json_object_get(listener, "routes"), i, route)
	    show_route(table, i ? "" : name, route);
}

static void show_listeners(const json_t *listeners, FILE *out, bool colour)
{
	static const char *const titles[] = {"LISTENER", "LANE",       "MATCH",
					     "TO",	 "CARRIED BY", "WHY NOT FASTER"};
	struct cli_table *table = cli_table_new(titles, ARRAY_LEN(titles));
	const json_t *listener;
	size_t i;

	if (table)
		json_array_foreach(listeners, i, listener) show_listener(table, listener);
	show_table("Listeners", table, out, colour);
}

/* The address, and what the configuration says of it. */
static void show_server(const json_t *server, char text[SHOW_TEXT_MAX])
{
	const char *address = show_string(server, "address");
	const char *name = show_string(server, "name");
	const json_t *weight = json_object_get(server, "weight");

	text[0] = 0;
	if (!address) {
		show_value(server, text);
		return;
	}
	show_append(text, "", address);
	if (name && strcmp(name, address) != 0) {
		show_append(text, " (", name);
		show_append(text, "", ")");
	}
	if (weight && json_integer_value(weight) != 1) {
		show_append(text, " ", "weight=");
		show_value(weight, text);
	}
	if (json_is_true(json_object_get(server, "backup")))
		show_append(text, " ", "backup");
}

/* "up", "ejected", "up at 25%" while it starts slowly. */
static void show_server_state(const json_t *server, char text[SHOW_TEXT_MAX])
{
	const json_t *share = json_object_get(server, "share");
	const char *state = show_string(server, "state");
	char percent[32];

	text[0] = 0;
	if (!state)
		return;
	show_append(text, "", state);
	if (!json_is_integer(share) || json_integer_value(share) == 1000)
		return;
	snprintf(percent, sizeof(percent), " at %lld%%", (long long)json_integer_value(share) / 10);
	show_append(text, "", percent);
}

static void show_origin_server(struct cli_table *table, const json_t *origin, const json_t *server,
			       bool is_first)
{
	static const char *const keys[] = {"load", "connects", "failures"};
	char text[SHOW_TEXT_MAX], state[SHOW_TEXT_MAX], counts[ARRAY_LEN(keys)][SHOW_TEXT_MAX];
	const char *const cells[] = {
	    is_first ? show_string(origin, "name") : "",
	    text,
	    state,
	    show_string(server, "why"),
	    counts[0],
	    counts[1],
	    counts[2],
	    is_first ? show_string(origin, "tls") : "",
	};

	show_server(server, text);
	show_server_state(server, state);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		counts[i][0] = 0;
		show_value(json_object_get(server, keys[i]), counts[i]);
	}
	cli_table_add(table, cells);
}

static void show_origins(const json_t *origins, FILE *out, bool colour)
{
	static const char *const titles[] = {"ORIGIN", "SERVER",   "STATE",  "WHY",
					     "OPEN",   "CONNECTS", "FAILED", "TLS"};
	struct cli_table *table;
	const json_t *origin, *server;
	size_t i, j;

	if (!json_array_size(origins))
		return;
	table = cli_table_new(titles, ARRAY_LEN(titles));
	json_array_foreach(origins, i, origin)
	{
		json_array_foreach(json_object_get(origin, "servers"), j, server)
		{
			if (table)
				show_origin_server(table, origin, server, j == 0);
		}
	}
	show_table("Origins", table, out, colour);
}

void cli_show_status(const json_t *status, FILE *out, bool colour)
{
	show_summary(status, out, colour);
	show_tls_warnings(status, out, colour);
	show_listeners(json_object_get(status, "listeners"), out, colour);
	show_tls_of_listeners(json_object_get(status, "listeners"), out, colour);
	show_origins(json_object_get(status, "origins"), out, colour);
	show_tls_of_origins(json_object_get(status, "origins"), out, colour);
	show_plane(json_object_get(status, "plane"), out, colour);
	show_steer(json_object_get(status, "steer"), out, colour);
	show_counters("Counters", json_object_get(status, "counters"), show_stat_help, out, colour);
	show_counters("Ended because", json_object_get(status, "closes"), show_close_help, out,
		      colour);
	show_counters("TLS alerts to clients", json_object_get(status, "alerts_sent"),
		      show_alert_help, out, colour);
	show_counters("TLS alerts from clients", json_object_get(status, "alerts_received"),
		      show_alert_help, out, colour);
}
