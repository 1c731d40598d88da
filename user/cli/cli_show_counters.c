/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the status document that count: counters by word, and the steer lane. */
#include <string.h>

#include "cli/cli_show.h"
#include "stats/alerts.h"
#include "stats/stats.h"

const char *show_stat_help(const char *word)
{
	for (int i = 0; i < STAT_MAX; i++)
		if (strcmp(stats_word((enum stats_counter)i), word) == 0)
			return stats_help((enum stats_counter)i);
	return "";
}

const char *show_close_help(const char *word)
{
	for (int i = 0; i < CLOSE_REASON_MAX; i++)
		if (strcmp(close_reason_word((enum close_reason)i), word) == 0)
			return close_reason_help((enum close_reason)i);
	return "";
}

const char *show_alert_help(const char *word)
{
	for (int i = 0; i < ALERT_KIND_MAX; i++)
		if (strcmp(alert_kind_word((enum alert_kind)i), word) == 0)
			return alert_kind_help((enum alert_kind)i);
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

void show_counters(const char *heading, const json_t *counters,
		   const char *(*help)(const char *word), FILE *out, bool colour)
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

void show_plane(const json_t *plane, FILE *out, bool colour)
{
	static const char *const titles[] = {"DEVICE", "HOOK", "ATTACHED BY", "WHY THIS HOOK"};
	const json_t *devices = json_object_get(plane, "devices");
	struct cli_table *table;
	const json_t *device, *note;
	size_t i;

	if (!json_array_size(devices))
		return;
	table = cli_table_new(titles, ARRAY_LEN(titles));
	json_array_foreach(devices, i, device)
	{
		const char *const cells[] = {
		    show_string(device, "name"),
		    show_string(device, "hook"),
		    show_string(device, "attach"),
		    show_string(device, "reason"),
		};

		if (table)
			cli_table_add(table, cells);
	}
	show_table("Devices", table, out, colour);
	json_array_foreach(json_object_get(plane, "notes"), i, note)
	{
		char text[SHOW_TEXT_MAX] = "";

		show_value(note, text);
		fputs("  note: ", out);
		cli_print_safe(out, text);
		fputc('\n', out);
	}
}

static void show_number(const json_t *object, const char *key, char text[SHOW_TEXT_MAX])
{
	text[0] = 0;
	show_value(json_object_get(object, key), text);
}

/* The service in its first line, then a line for each further server. */
static void show_service(struct cli_table *table, const json_t *service)
{
	const json_t *servers = json_object_get(service, "servers");
	char flows[SHOW_TEXT_MAX], packets[SHOW_TEXT_MAX], bytes[SHOW_TEXT_MAX];

	show_number(json_object_get(service, "to_origin"), "packets", packets);
	show_number(json_object_get(service, "to_client"), "packets", bytes);
	for (size_t i = 0; i == 0 || i < json_array_size(servers); i++) {
		const json_t *server = json_array_get(servers, i);
		const char *const cells[] = {
		    i ? NULL : show_string(service, "name"),
		    i ? NULL : show_string(service, "origin"),
		    show_string(server, "address"),
		    show_string(server, "nat_address"),
		    flows,
		    i ? NULL : packets,
		    i ? NULL : bytes,
		};

		show_number(server, "flows", flows);
		cli_table_add(table, cells);
	}
}

void show_steer(const json_t *steer, FILE *out, bool colour)
{
	static const char *const titles[] = {"SERVICE", "ORIGIN",    "SERVER",	 "AS",
					     "FLOWS",	"TO ORIGIN", "TO CLIENT"};
	const json_t *services = json_object_get(steer, "services");
	struct cli_table *table;
	const json_t *service;
	size_t i;

	if (json_array_size(services)) {
		table = cli_table_new(titles, ARRAY_LEN(titles));
		if (table)
			json_array_foreach(services, i, service) show_service(table, service);
		show_table("Steered services (packets of the flows in the table)", table, out,
			   colour);
	}
	show_counters("Steered packets", json_object_get(steer, "counters"), show_steer_help, out,
		      colour);
}
