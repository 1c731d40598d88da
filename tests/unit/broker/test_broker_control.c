/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's command socket: who asked is answered, once, by the reload that began after the
 * question. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker_internal.h"

static struct loop *loop;
static struct control *control;
static struct sockaddr_un address;
static int listen_fd;
static int n_asked;

static void on_reload(void *argument)
{
	assert_ptr_equal(argument, &n_asked);
	n_asked++;
}

static int set_up(void **state UNUSED)
{
	n_asked = 0;
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "penstock-control-%d",
		 getpid());
	listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(listen_fd, 64), 0);
	loop = loop_new();
	control = control_new(loop, listen_fd, on_reload, &n_asked);
	assert_non_null(control);
	return 0;
}

static int tear_down(void **state UNUSED)
{
	control_free(control);
	loop_free(loop);
	close(listen_fd);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_run_once(loop, 0), 0);
}

static int ask(const char *line)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(send(fd, line, strlen(line), 0), (ssize_t)strlen(line));
	serve();
	return fd;
}

static void assert_waits(int fd)
{
	char byte;

	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
}

static void assert_answered(int fd, const char *expected)
{
	char text[200] = "";
	ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_WAITALL);

	assert_int_equal(n, (ssize_t)strlen(expected));
	assert_string_equal(text, expected);
	assert_int_equal(recv(fd, text, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void test_two_generations(void **state UNUSED)
{
	int first = ask("reload\n"), second, third;

	assert_int_equal(n_asked, 1);
	control_begin(control);
	second = ask("reload\n");
	third = ask("reload\n");
	assert_int_equal(n_asked, 3);
	control_answer(control, "taken 2\n");
	assert_answered(first, "taken 2\n");
	assert_waits(second);
	control_begin(control);
	control_answer(control, "refused\nwhy\n");
	assert_answered(second, "refused\nwhy\n");
	assert_answered(third, "refused\nwhy\n");
}

static void test_wrong_command(void **state UNUSED)
{
	assert_answered(ask("stop\n"), "unknown command; there is: reload\n");
	assert_int_equal(n_asked, 0);
}

static void test_long_line(void **state UNUSED)
{
	char line[1025];

	memset(line, 'x', 1024);
	line[1024] = 0;
	assert_answered(ask(line), "");
}

static void test_client_is_gone(void **state UNUSED)
{
	close(ask("reload\n"));
	serve();
	control_begin(control);
	control_answer(control, "taken 2\n");
	close(ask("rel"));
	serve();
	assert_int_equal(n_asked, 1);
}

static void test_too_many(void **state UNUSED)
{
	int fds[32];

	for (size_t i = 0; i < 32; i++)
		fds[i] = ask("reload\n");
	assert_answered(ask(""), "");
	control_begin(control);
	control_answer(control, "taken 2\n");
	for (size_t i = 0; i < 32; i++)
		assert_answered(fds[i], "taken 2\n");
	close(ask("reload\n"));
	assert_int_equal(n_asked, 33);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_two_generations), TEST(test_wrong_command), TEST(test_long_line),
	    TEST(test_client_is_gone),	TEST(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
