/* SPDX-License-Identifier: Apache-2.0 */
/* What `penstock help` says of all commands and of each. */
#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli_internal.h"

#define WORDS_MAX 4
#define TEXT_MAX 8192

/* The command, and what goes to `stream` meanwhile. */
static int said_by(FILE *stream, char text[TEXT_MAX], const char *const words[WORDS_MAX])
{
	char copies[WORDS_MAX][32] = {"penstock"}, *argv[WORDS_MAX + 1] = {copies[0]};
	FILE *file = tmpfile();
	int argc = 1, saved = dup(fileno(stream)), status;
	size_t len;

	for (; argc < WORDS_MAX && words[argc - 1]; argc++) {
		snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc - 1]);
		argv[argc] = copies[argc];
	}
	assert_non_null(file);
	fflush(stream);
	assert_true(dup2(fileno(file), fileno(stream)) >= 0);
	optind = 0; /* from the start */
	status = cli_main(argc, argv);
	fflush(stream);
	assert_true(dup2(saved, fileno(stream)) >= 0);
	close(saved);
	rewind(file);
	len = fread(text, 1, TEXT_MAX - 1, file);
	text[len] = 0;
	fclose(file);
	return status;
}

#define SAY(stream, text, ...) said_by(stream, text, (const char *[WORDS_MAX]){__VA_ARGS__})

static void test_help_of_a_command(void **state)
{
	static const struct {
		const char *command, *usage;
	} rows[] = {
	    {"run", "penstock run [-c FILE]\n"},
	    {"check", "penstock check [-c FILE]\n"},
	    {"status", "penstock status [--json] [-c FILE | --runtime-dir DIR]\n"},
	    {"flows", "penstock flows [--json] [-c FILE | --runtime-dir DIR]\n"},
	    {"metrics", "penstock metrics [-c FILE | --runtime-dir DIR]\n"},
	    {"drain", "penstock drain [--undo] [--json] [-c FILE | --runtime-dir DIR] ORIGIN "
		      "SERVER\n"},
	    {"reload", "penstock reload [-c FILE | --runtime-dir DIR]\n"},
	    {"steer", "penstock steer remove [-c FILE]\n"},
	    {"schema", "penstock schema\n"},
	    {"version", "penstock version\n"},
	    {"help", "penstock help [COMMAND]\n"},
	};
	char all[TEXT_MAX], text[TEXT_MAX], by_option[TEXT_MAX], expected[128];

	(void)state;
	assert_int_equal(SAY(stdout, all, "help"), EXIT_SUCCESS);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const char *command = rows[i].command;

		assert_int_equal(SAY(stdout, text, "help", command), EXIT_SUCCESS);
		snprintf(expected, sizeof(expected), "Usage: %s", rows[i].usage);
		assert_ptr_equal(strstr(text, expected), text);
		assert_non_null(strstr(all, rows[i].usage));
		snprintf(expected, sizeof(expected), "\n%s: ", command);
		assert_non_null(strstr(text, expected));
		assert_non_null(strstr(text, "\nExample: penstock "));
		assert_non_null(strstr(text, "penstock(8)"));
		assert_int_equal(!strstr(text, "--json  "), !strstr(rows[i].usage, "--json"));
		assert_int_equal(!strstr(text, "--undo  "), !strstr(rows[i].usage, "--undo"));
		assert_int_equal(!strstr(text, "--config FILE"), !strstr(rows[i].usage, "-c"));
		assert_int_equal(SAY(stdout, by_option, command, "--help"), EXIT_SUCCESS);
		assert_string_equal(by_option, text);
		assert_int_equal(SAY(stdout, by_option, command, "-h"), EXIT_SUCCESS);
		assert_string_equal(by_option, text);
	}
}

static void test_help_behind_other_words(void **state)
{
	char text[TEXT_MAX], again[TEXT_MAX];

	(void)state;
	assert_int_equal(SAY(stdout, text, "help", "drain"), EXIT_SUCCESS);
	assert_int_equal(SAY(stdout, again, "drain", "shop", "--help"), EXIT_SUCCESS);
	assert_string_equal(again, text);
	assert_int_equal(SAY(stdout, text, "help"), EXIT_SUCCESS);
	assert_int_equal(SAY(stdout, again, "--help"), EXIT_SUCCESS);
	assert_string_equal(again, text);
	assert_int_equal(SAY(stdout, again, "-h"), EXIT_SUCCESS);
	assert_string_equal(again, text);
}

static void test_help_of_nothing(void **state)
{
	char text[TEXT_MAX];

	(void)state;
	assert_int_equal(SAY(stderr, text, "help", "drian"), CLI_EXIT_USAGE);
	assert_string_equal(text, "penstock: there is no command 'drian'; did you mean 'drain'?\n");
	assert_int_equal(SAY(stderr, text, "help", "run", "check"), CLI_EXIT_USAGE);
	assert_string_equal(text, "Usage: penstock help [COMMAND]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_help_of_a_command),
	    cmocka_unit_test(test_help_behind_other_words),
	    cmocka_unit_test(test_help_of_nothing),
	};

	return cmocka_run_group_tests_name("cli help", tests, NULL, NULL);
}
