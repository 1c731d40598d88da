/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that print the status document share. Every key may be missing or of another type.
 */
#ifndef PENSTOCK_CLI_CLI_SHOW_H
#define PENSTOCK_CLI_CLI_SHOW_H

#include <jansson.h>
#include <stdio.h>

#include "cli/cli_internal.h"

#define SHOW_TEXT_MAX 512

/* NULL where there is no such text. */
const char *show_string(const json_t *object, const char *key);

/* Appends `more`, after the separator where there was something; what does not fit is cut. */
void show_append(char text[SHOW_TEXT_MAX], const char *separator, const char *more);

/* Appends any value: texts and numbers as they are, objects as key=value, arrays with commas. */
void show_value(const json_t *value, char text[SHOW_TEXT_MAX]);

void show_heading(const char *text, FILE *out, bool colour);

/* Prints and frees the table; takes NULL. */
void show_table(const char *heading, struct cli_table *table, FILE *out, bool colour);

/* Those that are not zero, with the meaning that `help` gives their words. */
void show_counters(const char *heading, const json_t *counters,
		   const char *(*help)(const char *word), FILE *out, bool colour);

/* "" for a word that is not known. */
const char *show_stat_help(const char *word);
const char *show_close_help(const char *word);
const char *show_alert_help(const char *word);

/* What must not be forgotten: it is what the eye meets first. */
void show_tls_warnings(const json_t *status, FILE *out, bool colour);
void show_tls_of_listeners(const json_t *listeners, FILE *out, bool colour);
void show_tls_of_origins(const json_t *origins, FILE *out, bool colour);

void show_plane(const json_t *plane, FILE *out, bool colour);
void show_steer(const json_t *steer, FILE *out, bool colour);

#endif
