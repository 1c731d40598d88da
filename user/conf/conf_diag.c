/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Collects what is wrong with a configuration and prints it in the order of the text. Decides
 * nothing.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

/* A hostile file has an error in each line; nobody reads past this many. */
#define CONF_DIAG_MAX_ENTRIES 1000

struct conf_diag_entry {
	struct conf_mark mark;
	size_t order;
	bool is_warning;
	char *message;
};

struct conf_diag {
	char *file_name;
	struct conf_diag_entry *entries;
	size_t n_entries;
	size_t room;
	size_t n_errors;
	size_t n_warnings;
	size_t n_lost; /* counted, but not kept */
	char *text; /* of the last conf_diag_text() */
};

struct conf_diag *conf_diag_new(const char *file_name)
{
	struct conf_diag *diag = calloc(1, sizeof(*diag));

	if (!diag)
		return NULL;
	diag->file_name = strdup(file_name);
	if (!diag->file_name) {
		free(diag);
		return NULL;
	}
	return diag;
}

void conf_diag_free(struct conf_diag *diag)
{
	if (!diag)
		return;
	for (size_t i = 0; i < diag->n_entries; i++)
		free(diag->entries[i].message);
	free(diag->entries);
	free(diag->file_name);
	free(diag->text);
	free(diag);
}

static bool conf_diag_make_room(struct conf_diag *diag)
{
	size_t room = diag->room ? diag->room * 2 : 16;
	struct conf_diag_entry *entries;

	if (diag->n_entries >= CONF_DIAG_MAX_ENTRIES)
		return false;
	if (diag->n_entries < diag->room)
		return true;
	entries = realloc(diag->entries, room * sizeof(*entries));
	if (!entries)
		return false;
	diag->entries = entries;
	diag->room = room;
	return true;
}

/* One line stays one line, whatever a certificate or a file name put into it. */
static void conf_diag_clean(char *message)
{
	for (char *c = message; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
}

static PRINTF_LIKE(4, 0) void conf_diag_vadd(struct conf_diag *diag, struct conf_mark mark,
					     bool is_warning, const char *format, va_list args)
{
	char *message;

	if (is_warning)
		diag->n_warnings++;
	else
		diag->n_errors++;
	if (!conf_diag_make_room(diag) || vasprintf(&message, format, args) < 0) {
		diag->n_lost++;
		return;
	}
	conf_diag_clean(message);
	diag->entries[diag->n_entries] = (struct conf_diag_entry){
	    .mark = mark,
	    .order = diag->n_entries,
	    .is_warning = is_warning,
	    .message = message,
	};
	diag->n_entries++;
}

void conf_diag_add(struct conf_diag *diag, struct conf_mark mark, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conf_diag_vadd(diag, mark, false, format, args);
	va_end(args);
}

void conf_diag_warn(struct conf_diag *diag, struct conf_mark mark, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	conf_diag_vadd(diag, mark, true, format, args);
	va_end(args);
}

size_t conf_diag_errors(const struct conf_diag *diag)
{
	return diag->n_errors;
}

size_t conf_diag_warnings(const struct conf_diag *diag)
{
	return diag->n_warnings;
}

static int conf_diag_compare(const void *a_, const void *b_)
{
	const struct conf_diag_entry *a = a_, *b = b_;

	if (a->mark.line != b->mark.line)
		return a->mark.line < b->mark.line ? -1 : 1;
	if (a->mark.column != b->mark.column)
		return a->mark.column < b->mark.column ? -1 : 1;
	return a->order < b->order ? -1 : a->order > b->order;
}

static void conf_diag_print(const struct conf_diag *diag, FILE *out)
{
	for (size_t i = 0; i < diag->n_entries; i++) {
		const struct conf_diag_entry *entry = &diag->entries[i];

		fputs(diag->file_name, out);
		if (entry->mark.line)
			fprintf(out, ":%u:%u", entry->mark.line, entry->mark.column);
		fprintf(out, ": %s: %s\n", entry->is_warning ? "warning" : "error", entry->message);
	}
	if (diag->n_lost)
		fprintf(out, "%s: error: %zu more are not shown\n", diag->file_name, diag->n_lost);
}

const char *conf_diag_text(struct conf_diag *diag)
{
	size_t len_bytes;
	FILE *out;

	free(diag->text);
	diag->text = NULL;
	if (diag->n_entries)
		qsort(diag->entries, diag->n_entries, sizeof(*diag->entries), conf_diag_compare);
	out = open_memstream(&diag->text, &len_bytes);
	if (!out)
		return "out of memory\n";
	conf_diag_print(diag, out);
	if (fclose(out)) {
		free(diag->text);
		diag->text = NULL;
		return "out of memory\n";
	}
	return diag->text;
}
