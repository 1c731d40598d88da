/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the status document that is about TLS, as tables. What it may lack: cli_show.h.
 */
#include <string.h>

#include "cli/cli_show.h"

static void show_warning(const char *before, const char *what, const char *after, FILE *out,
			 bool colour)
{
	fputs(colour ? "\033[1;31m" : "", out);
	fprintf(out, "WARNING: %s", before);
	cli_print_safe(out, what);
	fprintf(out, colour ? "%s\033[0m\n" : "%s\n", after);
}

void show_tls_warnings(const json_t *status, FILE *out, bool colour)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(status, "listeners"), i, one)
	{
		const char *path = show_string(one, "key_log");

		if (path)
			show_warning("the keys of all TLS sessions are written to ", path, "", out,
				     colour);
	}
	json_array_foreach(json_object_get(status, "origins"), i, one)
	{
		const char *tls = show_string(one, "tls"), *name = show_string(one, "name");

		if (name && tls && strcmp(tls, "NOT VERIFIED") == 0)
			show_warning("origin ", name,
				     " is not verified: whoever is on the way can read and change "
				     "all",
				     out, colour);
	}
}

/* ---- certificates ---- */

static void show_certificate(struct cli_table *table, const char *owner, const json_t *certificate)
{
	char days[SHOW_TEXT_MAX] = "";
	const char *const cells[] = {
	    owner,
	    show_string(certificate, "names"),
	    show_string(certificate, "key"),
	    show_string(certificate, "expires"),
	    days,
	    show_string(certificate, "file"),
	};

	show_value(json_object_get(certificate, "days_left"), days);
	cli_table_add(table, cells);
}

static void show_certificates(const char *heading, const char *title, const json_t *owners,
			      FILE *out, bool colour)
{
	const char *const titles[] = {title, "NAMES", "KEY", "EXPIRES", "DAYS LEFT", "FILE"};
	struct cli_table *table = cli_table_new(titles, ARRAY_LEN(titles));
	const json_t *owner, *certificate;
	bool is_empty = true;
	size_t i, j;

	json_array_foreach(owners, i, owner)
	{
		json_array_foreach(json_object_get(owner, "certificates"), j, certificate)
		{
			is_empty = false;
			if (table)
				show_certificate(table, j ? "" : show_string(owner, "name"),
						 certificate);
		}
	}
	if (is_empty)
		cli_table_free(table);
	else
		show_table(heading, table, out, colour);
}

/* ---- rules ---- */

/* "required, lists until 2026-01-31T12:00:00Z" */
static void show_client_auth(const json_t *rules, char text[SHOW_TEXT_MAX])
{
	const char *verify = show_string(rules, "verify");
	const char *until = show_string(rules, "crl_until");

	text[0] = 0;
	if (verify)
		show_append(text, "", verify);
	if (until)
		show_append(text, ", lists until ", until);
	else if (show_string(rules, "crl"))
		show_append(text, ", ", "lists without end");
}

static void show_tickets(const json_t *tickets, char text[SHOW_TEXT_MAX])
{
	const char *keys = show_string(tickets, "keys"), *file = show_string(tickets, "file");
	const json_t *lifetime = json_object_get(tickets, "lifetime_s");
	char duration[32];

	text[0] = 0;
	if (!keys)
		return;
	show_append(text, "", strcmp(keys, "ring") == 0 ? "own keys" : file ? file : keys);
	if (json_is_integer(lifetime))
		show_append(text, ", ", cli_format_duration(json_number_value(lifetime), duration));
}

static void show_rules(struct cli_table *table, const json_t *listener)
{
	const json_t *rules = json_object_get(listener, "tls_rules");
	char versions[SHOW_TEXT_MAX] = "", alpn[SHOW_TEXT_MAX] = "";
	char clients[SHOW_TEXT_MAX], tickets[SHOW_TEXT_MAX];
	bool is_strict = json_is_true(json_object_get(rules, "strict_sni"));
	const char *const cells[] = {
	    show_string(listener, "name"),
	    show_string(rules, "policy"),
	    versions,
	    alpn,
	    is_strict ? "known alone" : "any",
	    clients,
	    tickets,
	};

	show_value(json_object_get(rules, "versions"), versions);
	show_value(json_object_get(rules, "alpn"), alpn);
	show_client_auth(json_object_get(rules, "client_certificates"), clients);
	show_tickets(json_object_get(rules, "tickets"), tickets);
	cli_table_add(table, cells);
}

static void show_origin_rules(struct cli_table *table, const json_t *origin)
{
	const json_t *rules = json_object_get(origin, "tls_rules");
	char versions[SHOW_TEXT_MAX] = "", alpn[SHOW_TEXT_MAX] = "";
	const char *const cells[] = {
	    show_string(origin, "name"),
	    show_string(origin, "tls"),
	    show_string(rules, "ca"),
	    show_string(rules, "server_name"),
	    show_string(rules, "policy"),
	    versions,
	    alpn,
	    json_is_true(json_object_get(rules, "sessions")) ? "on" : "off",
	};

	show_value(json_object_get(rules, "versions"), versions);
	show_value(json_object_get(rules, "alpn"), alpn);
	cli_table_add(table, cells);
}

/* One row for each that has rules; nothing where none has. */
static void show_all_rules(const char *heading, const json_t *owners,
			   void (*show)(struct cli_table *table, const json_t *owner),
			   struct cli_table *table, FILE *out, bool colour)
{
	const json_t *owner;
	bool is_empty = true;
	size_t i;

	json_array_foreach(owners, i, owner)
	{
		if (!table || !json_is_object(json_object_get(owner, "tls_rules")))
			continue;
		is_empty = false;
		show(table, owner);
	}
	if (is_empty)
		cli_table_free(table);
	else
		show_table(heading, table, out, colour);
}

void show_tls_of_listeners(const json_t *listeners, FILE *out, bool colour)
{
	static const char *const titles[] = {
	    "LISTENER", "POLICY", "VERSIONS", "ALPN", "NAMES", "CLIENT CERTIFICATES", "TICKETS"};

	show_all_rules("TLS with clients", listeners, show_rules,
		       cli_table_new(titles, ARRAY_LEN(titles)), out, colour);
	show_certificates("Certificates", "LISTENER", listeners, out, colour);
}

void show_tls_of_origins(const json_t *origins, FILE *out, bool colour)
{
	static const char *const titles[] = {"ORIGIN", "SERVERS",  "AUTHORITIES", "NAME",
					     "POLICY", "VERSIONS", "ALPN",	  "SESSIONS"};

	show_all_rules("TLS with origins", origins, show_origin_rules,
		       cli_table_new(titles, ARRAY_LEN(titles)), out, colour);
	show_certificates("Certificates shown to origins", "ORIGIN", origins, out, colour);
}
