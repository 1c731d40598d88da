/* SPDX-License-Identifier: Apache-2.0 */
/* The self-test of splice(2), on this kernel and on kernels that do it wrong. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/compiler.h"
#include "relay/relay_internal.h"

enum fault { RIGHT, CHANGES_A_BYTE, LOSES_A_BYTE, REFUSES_SOCKETS, ENDS_EARLY };

static enum fault fault;
static unsigned int n_calls;

static bool is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

/* In the place of the C library's. */
ssize_t splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t len_bytes,
	       unsigned int flags)
{
	char byte;

	n_calls++;
	if (fault == REFUSES_SOCKETS && is_socket(from)) {
		errno = EINVAL;
		return -1;
	}
	if (fault == ENDS_EARLY && is_socket(from) && n_calls > 3)
		return 0;
	if (is_socket(to) && (fault == CHANGES_A_BYTE || fault == LOSES_A_BYTE)) {
		assert_int_equal(read(from, &byte, 1), 1);
		byte ^= 1;
		if (fault == CHANGES_A_BYTE)
			assert_int_equal(send(to, &byte, 1, MSG_NOSIGNAL), 1);
		fault = RIGHT;
		return 1;
	}
	return syscall(SYS_splice, from, from_at, to, to_at, len_bytes, flags);
}

static void prove(enum fault how)
{
	int before = dup(0), after;

	fault = how;
	n_calls = 0;
	relay_pipe_prove();
	assert_true(n_calls > 0);
	after = dup(0);
	assert_int_equal(after, before + 1); /* nothing is left open */
	close(after);
	close(before);
}

static void test_this_kernel(void **state UNUSED)
{
	struct relay_pipe *relay_pipe;

	prove(RIGHT);
	assert_null(relay_pipe_why_not());
	relay_pipe = relay_pipe_take();
	assert_non_null(relay_pipe);
	relay_pipe_give(relay_pipe, false);
}

static void test_faults(void **state UNUSED)
{
	static const struct {
		enum fault fault;
		const char *why;
	} cases[] = {
	    {CHANGES_A_BYTE, "other bytes came out than went in"},
	    {LOSES_A_BYTE, "other bytes came out than went in"},
	    {REFUSES_SOCKETS, "it could not be taken from a socket"},
	    {ENDS_EARLY, "its end came before the last byte"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		prove(cases[i].fault);
		assert_non_null(relay_pipe_why_not());
		assert_non_null(strstr(relay_pipe_why_not(), cases[i].why));
		assert_null(relay_pipe_take());
	}
	prove(RIGHT);
	assert_null(relay_pipe_why_not());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_this_kernel),
	    cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
