/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status document as tables. It may come from another version: what is missing is left out, and
 * what is known to nobody here is in the JSON.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli_internal.h"
#include "stats/stats.h"

#define SHOW_TEXT_MAX 512

static const char *show_string(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void show_heading(const char *text, FILE *out, bool colour)
{
	fprintf(out, colour ? "\n\033[1;36m%s\033[0m\n" : "\n%s\n", text);
}

static void show_append(char text[SHOW_TEXT_MAX], const char *separator, const char *more)
{
	size_t len = strlen(text);

	snprintf(text + len, SHOW_TEXT_MAX - len, "%s%s", len ? separator : "", more);
}

/* Any value in one line: texts and numbers as they are, objects as key=value, arrays with commas.
 */
static void show_value(const json_t *value, char text[SHOW_TEXT_MAX])
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
			if (*text)
				show_append(text, "", " ");
			show_append(text, "", key);
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

static const char *show_carried(const json_t *route, char text[SHOW_TEXT_MAX])
{
	const char *relay = show_string(route, "relay");
	const char *offload = show_string(route, "offload");

	text[0] = 0;
	if (relay)
		show_append(text, ", ", relay);
	if (offload)
		show_append(text, ", ", offload);
	return text;
}

static void show_route(struct cli_table *table, const char *name, const json_t *route)
{
	char carried[SHOW_TEXT_MAX];
	const char *const cells[] = {
	    name,
	    show_string(route, "lane"),
	    show_string(route, "match"),
	    show_string(route, "to"),
	    show_carried(route, carried),
	    show_string(route, "why_not_faster"),
	};

	cli_table_add(table, cells);
}

static void show_listener(struct cli_table *table, const json_t *listener)
{
	char name[SHOW_TEXT_MAX] = "", binds[SHOW_TEXT_MAX] = "";
	const char *own_name = show_string(listener, "name");
	const json_t *route;
	size_t i;

	show_value(json_object_get(listener, "binds"), binds);
	if (own_name && strcmp(own_name, binds) != 0)
		show_append(name, "", own_name);
	show_append(name, " ", binds);
	if (json_is_true(json_object_get(listener, "tls")))
		show_append(name, " ", "tls");
	json_array_foreach(json_object_get(listener, "routes"), i, route)
	    show_route(table, i ? "" : name, route);
}

static void show_table(const char *heading, struct cli_table *table, FILE *out, bool colour)
{
	if (table) {
		show_heading(heading, out, colour);
		cli_table_print(table, out, colour);
	}
	cli_table_free(table);
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

/* The address, and what else there is but for the weight that all have. */
static void show_server(const json_t *server, char text[SHOW_TEXT_MAX])
{
	json_t *rest = json_is_object(server) ? json_copy((json_t *)server) : NULL;
	const char *address = show_string(server, "address");

	text[0] = 0;
	if (!rest || !address) {
		show_value(server, text);
	} else {
		show_append(text, "", address);
		json_object_del(rest, "address");
		if (json_integer_value(json_object_get(rest, "weight")) == 1)
			json_object_del(rest, "weight");
		show_value(rest, text);
	}
	json_decref(rest);
}

static void show_origins(const json_t *origins, FILE *out, bool colour)
{
	static const char *const titles[] = {"ORIGIN", "SERVER", "TLS"};
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
			char text[SHOW_TEXT_MAX];
			const char *const cells[] = {
			    j ? "" : show_string(origin, "name"),
			    text,
			    j ? "" : show_string(origin, "tls"),
			};

			show_server(server, text);
			if (table)
				cli_table_add(table, cells);
		}
	}
	show_table("Origins", table, out, colour);
}

/* Each member of an array in a line of its own; whatever shape they have. */
static void show_array(const char *heading, const json_t *array, FILE *out, bool colour)
{
	const json_t *member;
	size_t i;

	if (!json_array_size(array))
		return;
	show_heading(heading, out, colour);
	json_array_foreach(array, i, member)
	{
		char text[SHOW_TEXT_MAX] = "";

		show_value(member, text);
		fputs("  ", out);
		cli_print_safe(out, text);
		fputc('\n', out);
	}
}

typedef const char *(*show_help_fn)(const char *word);

static const char *show_stat_help(const char *word)
{
	for (int i = 0; i < STAT_MAX; i++)
		if (strcmp(stats_word((enum stat)i), word) == 0)
			return stats_help((enum stat)i);
	return "";
}

static const char *show_close_help(const char *word)
{
	for (int i = 0; i < CLOSE_REASON_MAX; i++)
		if (strcmp(close_reason_word((enum close_reason)i), word) == 0)
			return close_reason_help((enum close_reason)i);
	return "";
}

static const char *show_steer_help(const char *word)
{
#define SHOW_STEER_HELP(name, word_, help) {#word_, help},
	static const struct {
		const char *word;
		const char *help;
	} helps[] = { PENSTOCK_STEER_COUNTERS(SHOW_STEER_HELP) };
#undef SHOW_STEER_HELP

	for (size_t i = 0; i < ARRAY_LEN(helps); i++)
		if (strcmp(helps[i].word, word) == 0)
			return helps[i].help;
	return "";
}

/* Those that are not zero, with their meaning. */
static void show_counters(const char *heading, const json_t *counters, show_help_fn help, FILE *out,
			  bool colour)
{
	static const char *const titles[] = {"COUNT", "NAME", "MEANING"};
	struct cli_table *table = cli_table_new(titles, ARRAY_LEN(titles));
	bool is_empty = true;
	const char *word;
	json_t *count;

	json_object_foreach((json_t *)counters, word, count)
	{
		char text[SHOW_TEXT_MAX] = "";
		const char *const cells[] = {text, word, help(word)};

		if (!json_is_number(count) || json_number_value(count) == 0)
			continue;
		is_empty = false;
		show_value(count, text);
		if (table)
			cli_table_add(table, cells);
	}
	if (is_empty)
		cli_table_free(table);
	else
		show_table(heading, table, out, colour);
}

static void show_steer(const json_t *steer, FILE *out, bool colour)
{
	if (!json_is_object(steer))
		return;
	show_array("Steered services", json_object_get(steer, "services"), out, colour);
	if (json_is_integer(json_object_get(steer, "flows")))
		fprintf(out, "  %" JSON_INTEGER_FORMAT " flows\n",
			json_integer_value(json_object_get(steer, "flows")));
	show_counters("Steered packets", json_object_get(steer, "counters"), show_steer_help, out,
		      colour);
}

void cli_show_status(const json_t *status, FILE *out, bool colour)
{
	show_summary(status, out, colour);
	show_listeners(json_object_get(status, "listeners"), out, colour);
	show_origins(json_object_get(status, "origins"), out, colour);
	show_array("Devices", json_object_get(json_object_get(status, "plane"), "devices"), out,
		   colour);
	show_steer(json_object_get(status, "steer"), out, colour);
	show_counters("Counters", json_object_get(status, "counters"), show_stat_help, out, colour);
	show_counters("Ended because", json_object_get(status, "closes"), show_close_help, out,
		      colour);
}
