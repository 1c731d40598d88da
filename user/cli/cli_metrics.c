/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock metrics`: asks the worker, and prints its text. */
#include <stdlib.h>
#include <string.h>

#include "broker/broker.h"
#include "cli/cli_internal.h"

/* Lines are kept; all else that could steer a terminal is not. */
static int metrics_print(char *text)
{
	char *line;

	if (*text != '#') {
		fputs("penstock: the daemon has no metrics; is it of another version?\n", stderr);
		return EXIT_FAILURE;
	}
	while ((line = strsep(&text, "\n"))) {
		cli_print_safe(stdout, line);
		if (text)
			putchar('\n');
	}
	return EXIT_SUCCESS;
}

int cli_metrics(const struct cli_options *options)
{
	char *answer = cli_ask(options, BROKER_ADMIN_SOCKET, "metrics\n");
	int exit_status = answer && *answer ? metrics_print(answer) : EXIT_FAILURE;

	free(answer);
	return exit_status;
}
