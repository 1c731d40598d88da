/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock status`: asks the worker, and prints its document as it is or as tables. */
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"

static int status_print(const char *text, const struct cli_options *options)
{
	json_error_t error;
	json_t *status = json_loads(text, JSON_REJECT_DUPLICATES, &error);

	if (!status) {
		fprintf(stderr, "penstock: the daemon's answer is not JSON (%s)\n", error.text);
		return EXIT_FAILURE;
	}
	if (options->json) {
		json_dumpf(status, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		cli_show_status(status, stdout, cli_has_colour());
	}
	json_decref(status);
	return EXIT_SUCCESS;
}

int cli_status(const struct cli_options *options)
{
	char *answer = cli_ask(options, BROKER_ADMIN_SOCKET, "status\n");
	int exit_status = answer && *answer ? status_print(answer, options) : EXIT_FAILURE;

	free(answer);
	return exit_status;
}
