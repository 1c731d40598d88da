/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: safe characters, durations, tables. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli_internal.h"

#define TABLE_COLUMNS_MAX 16
#define TABLE_GAP "  "

struct cli_table {
	size_t n_columns;
	size_t n_rows; /* the first holds the titles */
	char **cells;
};

bool cli_has_colour(void)
{
	const char *no_colour = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
}

/* C0, DEL, and C1 in UTF-8: the characters that terminals obey (ECMA-48). */
static bool is_control(const unsigned char *text)
{
	return (text[0] < 0x20 && text[0] != '\n') || text[0] == 0x7f ||
	       (text[0] == 0xc2 && text[1] >= 0x80 && text[1] < 0xa0);
}

void cli_print_safe(FILE *out, const char *text)
{
	for (; *text; text++) {
		bool is_bad = is_control((const unsigned char *)text);

		fputc(is_bad ? '?' : *text, out);
		if (is_bad && (unsigned char)*text == 0xc2)
			text++;
	}
}

const char *cli_format_duration(double seconds, char text[32])
{
	unsigned long long s = seconds > 0 && seconds < 1e12 ? (unsigned long long)seconds : 0;

	if (s >= 86400)
		snprintf(text, 32, "%llud %lluh", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(text, 32, "%lluh %llum", s / 3600, s % 3600 / 60);
	else if (s >= 60)
		snprintf(text, 32, "%llum %llus", s / 60, s % 60);
	else
		snprintf(text, 32, "%llus", s);
	return text;
}

struct cli_table *cli_table_new(const char *const *titles, size_t n_columns)
{
	struct cli_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->n_columns = n_columns < TABLE_COLUMNS_MAX ? n_columns : TABLE_COLUMNS_MAX;
	cli_table_add(table, titles);
	return table;
}

void cli_table_free(struct cli_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < table->n_rows * table->n_columns; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
}

void cli_table_add(struct cli_table *table, const char *const *cells)
{
	size_t first = table->n_rows * table->n_columns;
	char **grown = reallocarray(table->cells, first + table->n_columns, sizeof(*grown));

	if (!grown)
		return;
	table->cells = grown;
	for (size_t i = 0; i < table->n_columns; i++)
		grown[first + i] = strdup(cells[i] ? cells[i] : "");
	table->n_rows++;
}

static const char *table_cell(const struct cli_table *table, size_t row, size_t column)
{
	const char *cell = table->cells[row * table->n_columns + column];

	return cell ? cell : "";
}

/* Columns of a terminal, near enough: the bytes that begin a character. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* 0 where no row but the titles has anything. */
static size_t table_width(const struct cli_table *table, size_t column)
{
	size_t width = 0;

	for (size_t row = 1; row < table->n_rows; row++) {
		size_t cell = text_width(table_cell(table, row, column));

		width = cell > width ? cell : width;
	}
	if (width && text_width(table_cell(table, 0, column)) > width)
		width = text_width(table_cell(table, 0, column));
	return width;
}

/* Nothing follows the last cell that has text, so that lines end where they end. */
static void table_print_row(const struct cli_table *table, size_t row, const size_t *widths,
			    FILE *out)
{
	size_t owed = 0;

	for (size_t column = 0; column < table->n_columns; column++) {
		const char *cell = table_cell(table, row, column);

		if (!widths[column])
			continue;
		if (*cell) {
			fprintf(out, "%*s", (int)owed, "");
			cli_print_safe(out, cell);
			owed = 0;
		}
		owed += widths[column] - text_width(cell) + strlen(TABLE_GAP);
	}
}

void cli_table_print(const struct cli_table *table, FILE *out, bool colour)
{
	size_t widths[TABLE_COLUMNS_MAX];

	if (table->n_rows < 2)
		return;
	for (size_t column = 0; column < table->n_columns; column++)
		widths[column] = table_width(table, column);
	for (size_t row = 0; row < table->n_rows; row++) {
		fputs(row == 0 && colour ? "  \033[1m" : "  ", out);
		table_print_row(table, row, widths, out);
		fputs(row == 0 && colour ? "\033[0m\n" : "\n", out);
	}
}
