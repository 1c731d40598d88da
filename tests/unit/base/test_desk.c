/* SPDX-License-Identifier: Apache-2.0 */
/* A desk without descriptors to accept with. What it does with them is in test_admin.c. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/desk.h"

static unsigned int n_accepts;
static bool has_descriptors;

/* In place of the C library's. */
int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	n_accepts++;
	if (has_descriptors)
		return (int)syscall(SYS_accept4, fd, addr, len, flags);
	errno = EMFILE;
	return -1;
}

static void on_line(void *argument, struct desk_client *client, const char *line)
{
	(void)argument;
	desk_answer(client, strdup(line), strlen(line));
}

/* The kernel names it. */
static int listen_anywhere(struct sockaddr_un *ret_un, socklen_t *ret_len)
{
	const sa_family_t family = AF_UNIX;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	*ret_len = sizeof(*ret_un);
	assert_int_equal(bind(fd, (const struct sockaddr *)&family, sizeof(family)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)ret_un, ret_len), 0);
	return fd;
}

static void test_rests_where_nobody_can_be_accepted(void **state)
{
	const struct desk_rules rules = {.on_line = on_line};
	struct loop *loop = loop_new();
	struct sockaddr_un un;
	socklen_t len;
	int listen_fd = listen_anywhere(&un, &len), client = socket(AF_UNIX, SOCK_STREAM, 0);
	struct desk *desk = desk_new(loop, listen_fd, &rules);
	char answer[8];

	(void)state;
	assert_non_null(desk);
	assert_int_equal(connect(client, (struct sockaddr *)&un, len), 0);
	assert_int_equal(send(client, "hello\n", 6, 0), 6);
	assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(n_accepts, 1);
	assert_int_equal(loop_run_once(loop, 0), 0); /* a timer comes behind the events */
	assert_int_equal(n_accepts, 1);
	has_descriptors = true;
	while (recv(client, answer, sizeof(answer), MSG_DONTWAIT) < 0)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_int_equal(n_accepts, 2);
	assert_memory_equal(answer, "hello", 5);
	desk_free(desk);
	loop_free(loop);
	close(client);
	close(listen_fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rests_where_nobody_can_be_accepted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
