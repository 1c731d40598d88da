/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock drain`: takes a server out of service, or back in. */
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"

#define DRAIN_LINE_MAX 1024

static const char *drain_text(const json_t *answer, const char *key)
{
	const char *text = json_string_value(json_object_get(answer, key));

	return text ? text : "";
}

static long long drain_number(const json_t *answer, const char *key)
{
	return json_integer_value(json_object_get(answer, key));
}

static int drain_refused(const json_t *answer)
{
	const json_t *known = json_object_get(answer, "known"), *name;
	size_t i;

	fputs("penstock: ", stderr);
	cli_print_safe(stderr, drain_text(answer, "error"));
	json_array_foreach(known, i, name)
	{
		fputs(i ? ", " : "; there is: ", stderr);
		cli_print_safe(stderr, json_string_value(name) ? json_string_value(name) : "");
	}
	fputc('\n', stderr);
	return EXIT_FAILURE;
}

static void drain_show(const json_t *answer)
{
	bool is_drained = json_is_true(json_object_get(answer, "drained"));

	cli_print_safe(stdout, drain_text(answer, "server"));
	fputs(" of ", stdout);
	cli_print_safe(stdout, drain_text(answer, "origin"));
	if (is_drained)
		printf(" gets nothing new; open connections: %lld; other servers: %lld\n",
		       drain_number(answer, "open"), drain_number(answer, "others"));
	else
		puts(" is in service again");
	if (is_drained && drain_number(answer, "others") == 0)
		fputs("penstock: warning: no server of this origin is left for new connections\n",
		      stderr);
}

static int drain_print(const char *text, const struct cli_options *options)
{
	json_error_t error;
	json_t *answer = json_loads(text, JSON_REJECT_DUPLICATES, &error);
	int exit_status = EXIT_SUCCESS;

	if (!answer) {
		fprintf(stderr, "penstock: the daemon's answer is not JSON (%s)\n", error.text);
		return EXIT_FAILURE;
	}
	if (json_object_get(answer, "error"))
		exit_status = drain_refused(answer);
	else if (!options->json)
		drain_show(answer);
	if (options->json) {
		json_dumpf(answer, stdout, JSON_INDENT(2));
		putchar('\n');
	}
	json_decref(answer);
	return exit_status;
}

int cli_drain(const struct cli_options *options)
{
	char line[DRAIN_LINE_MAX];
	char *answer;
	int n, exit_status;

	if (options->n_words != 2 || strchr(options->words[0], ' ') ||
	    strpbrk(options->words[0], "\n") || strpbrk(options->words[1], "\n")) {
		fputs("penstock: the name of an origin and one of its servers are needed, as "
		      "`penstock status` shows them\n",
		      stderr);
		return CLI_EXIT_USAGE;
	}
	n = snprintf(line, sizeof(line), "%s %s %s\n", options->undo ? "undrain" : "drain",
		     options->words[0], options->words[1]);
	if (n < 0 || (size_t)n >= sizeof(line)) {
		fputs("penstock: the names are too long\n", stderr);
		return CLI_EXIT_USAGE;
	}
	answer = cli_ask(options, BROKER_ADMIN_SOCKET, line);
	exit_status = answer && *answer ? drain_print(answer, options) : EXIT_FAILURE;
	free(answer);
	return exit_status;
}
