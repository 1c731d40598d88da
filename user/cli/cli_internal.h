/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, and what they share. */
#ifndef PENSTOCK_CLI_CLI_INTERNAL_H
#define PENSTOCK_CLI_CLI_INTERNAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "cli/cli.h"
#include "conf/conf.h"

#define CLI_DEFAULT_CONFIG "/etc/penstock/penstock.yaml"
#define CLI_DEFAULT_RUNTIME_DIR "/run/penstock"

#define CLI_EXIT_USAGE 2

struct cli_options {
	const char *config; /* NULL: none was given */
	const char *runtime_dir; /* NULL: none was given */
	bool json;
	bool undo;
	bool help;
	int n_words; /* what is no option */
	char **words;
};

int cli_run(const struct cli_options *options);
int cli_check(const struct cli_options *options);
int cli_status(const struct cli_options *options);
int cli_metrics(const struct cli_options *options);
int cli_flows(const struct cli_options *options);
int cli_drain(const struct cli_options *options);
int cli_reload(const struct cli_options *options);
int cli_schema(const struct cli_options *options);
int cli_steer(const struct cli_options *options);
int cli_version(const struct cli_options *options);
int cli_help(const struct cli_options *options);

/* The configuration that the options name, or the default one. */
const char *cli_config_path(const struct cli_options *options);

/* Reads and parses the configuration; its errors go to standard error. NULL where there are any. */
struct conf *cli_load_conf(const char *path) MUST_CHECK;

/*
 * Sends a line to a socket of the running daemon and reads the answer until its end. Says on
 * standard error what is wrong and what helps. malloc()ed and terminated; NULL on failure.
 */
char *cli_ask(const struct cli_options *options, const char *socket_name,
	      const char *line) MUST_CHECK;

/* ---- cli_print.c: text for people ---- */

/* Does standard output show colours? (NO_COLOR, a terminal) */
bool cli_has_colour(void);

/* Prints `text` with control characters as '?': what comes from the worker may not steer a
 * terminal. */
void cli_print_safe(FILE *out, const char *text);

/* "2d 3h", "5m 7s" in `text`. */
const char *cli_format_duration(double seconds, char text[32]);

/* Rows of cells, printed with the columns as wide as they need to be. */
struct cli_table;

struct cli_table *cli_table_new(const char *const *titles, size_t n_columns) MUST_CHECK;
void cli_table_free(struct cli_table *table);

/* Appends a row of n_columns texts, which are copied; NULL: empty. Without memory the row is left
 * out. */
void cli_table_add(struct cli_table *table, const char *const *cells);

/* Columns without any text are left out; without rows nothing is printed. */
void cli_table_print(const struct cli_table *table, FILE *out, bool colour);

/* ---- cli_show.c ---- */

/* The status document as tables. Keys may be missing. */
void cli_show_status(const json_t *status, FILE *out, bool colour);

#endif
