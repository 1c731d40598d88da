/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which format suits what standard error is: a pipe, a terminal, the journal.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

/* With `fd` as standard error, which this closes. */
static enum log_format choose_with(int fd)
{
	int kept = dup(STDERR_FILENO);
	enum log_format format;

	assert_true(kept >= 0 && fd >= 0);
	assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
	format = log_format_choose();
	dup2(kept, STDERR_FILENO);
	close(kept);
	close(fd);
	return format;
}

static int open_pipe(void)
{
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	close(fds[0]);
	return fds[1];
}

static void set_journal(int fd, uint64_t difference)
{
	char text[64];
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(text, sizeof(text), "%" PRIu64 ":%" PRIu64, (uint64_t)st.st_dev,
		 (uint64_t)st.st_ino + difference);
	assert_int_equal(setenv("JOURNAL_STREAM", text, 1), 0);
}

static int clear_journal(void **state)
{
	(void)state;
	return unsetenv("JOURNAL_STREAM");
}

static void test_programs_get_json(void **state)
{
	(void)state;
	assert_int_equal(choose_with(open_pipe()), LOG_FORMAT_JSON);
	assert_int_equal(choose_with(open("/dev/null", O_WRONLY)), LOG_FORMAT_JSON);
}

static void test_a_terminal_gets_text(void **state)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);

	(void)state;
	if (terminal < 0) {
		print_message("no pseudo-terminal can be had here\n");
		skip();
	}
	assert_int_equal(choose_with(terminal), LOG_FORMAT_TEXT);
}

static void test_the_journal_gets_text(void **state)
{
	int fd = open_pipe();

	(void)state;
	set_journal(fd, 0);
	assert_int_equal(choose_with(fd), LOG_FORMAT_TEXT);
}

/* The variable is inherited by programs whose standard error leads elsewhere. */
static void test_another_stream_is_not_the_journal(void **state)
{
	int fd = open_pipe();

	(void)state;
	set_journal(fd, 1);
	assert_int_equal(choose_with(fd), LOG_FORMAT_JSON);
	assert_int_equal(setenv("JOURNAL_STREAM", "nonsense", 1), 0);
	assert_int_equal(choose_with(open_pipe()), LOG_FORMAT_JSON);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_programs_get_json, clear_journal),
	    cmocka_unit_test_setup(test_a_terminal_gets_text, clear_journal),
	    cmocka_unit_test_setup(test_the_journal_gets_text, clear_journal),
	    cmocka_unit_test_setup(test_another_stream_is_not_the_journal, clear_journal),
	};

	return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
