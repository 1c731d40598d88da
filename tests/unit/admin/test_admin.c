/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime socket over a real UNIX socket: answers, bounds, and clients that do not behave. */
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

#include "admin/admin.h"

#define BIG_BYTES (4 * 1024 * 1024)

static struct loop *loop;
static struct admin *admin;
static struct sockaddr_un address;
static bool answers_big;
static bool is_out_of_memory;

static json_t *fake_status(void *argument)
{
	char *text;
	json_t *document;

	assert_ptr_equal(argument, &answers_big);
	if (is_out_of_memory)
		return NULL;
	if (!answers_big)
		return json_pack("{s:i}", "generation", 7);
	text = malloc(BIG_BYTES);
	assert_non_null(text);
	memset(text, 'x', BIG_BYTES);
	document = json_pack("[s#]", text, BIG_BYTES);
	free(text);
	return document;
}

static json_t *fake_drain(void *argument, const char *origin, const char *server, bool is_on)
{
	assert_ptr_equal(argument, &answers_big);
	return json_pack("[s, s, b]", origin, server, is_on);
}

static int set_up(void **state UNUSED)
{
	const struct admin_handlers handlers = {
	    .status = fake_status, .drain = fake_drain, .argument = &answers_big};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	answers_big = is_out_of_memory = false;
	address = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* Abstract: nothing is left behind. */
	snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "penstock-test-%d", getpid());
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 64), 0);
	loop = loop_new();
	assert_non_null(loop);
	admin = admin_new(loop, fd, &handlers);
	assert_non_null(admin);
	return 0;
}

static int tear_down(void **state UNUSED)
{
	admin_free(admin);
	loop_free(loop);
	return 0;
}

static void serve(void)
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(loop_run_once(loop, 0), 0);
}

static int join(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	serve();
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	serve();
}

/* Until the end of the stream; terminated. */
static char *hear(int fd)
{
	size_t len = 0, room = BIG_BYTES + 65536;
	char *text = malloc(room);

	assert_non_null(text);
	for (;;) {
		ssize_t n = recv(fd, text + len, room - len - 1, 0);

		if (n == 0)
			break;
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			serve();
			continue;
		}
		len += (size_t)n;
	}
	text[len] = 0;
	close(fd);
	return text;
}

static void test_status(void **state UNUSED)
{
	int fd = join();
	char *answer;

	say(fd, "status\n");
	answer = hear(fd);
	assert_string_equal(answer, "{\"generation\":7}\n");
	free(answer);
}

static void test_metrics(void **state UNUSED)
{
	int fd = join();
	char *answer;

	say(fd, "metrics\n");
	answer = hear(fd);
	assert_int_equal(strncmp(answer, "# HELP penstock_", 16), 0);
	assert_non_null(strstr(answer, "\npenstock_generation 7\n"));
	free(answer);
}

static void test_line_in_pieces(void **state UNUSED)
{
	int fd = join();
	char *answer;

	say(fd, "sta");
	say(fd, "tus");
	say(fd, "\n");
	answer = hear(fd);
	assert_string_equal(answer, "{\"generation\":7}\n");
	free(answer);
}

static void test_unknown_command(void **state UNUSED)
{
	int fd = join();
	char *answer;

	say(fd, "stop\n");
	answer = hear(fd);
	assert_string_equal(
	    answer, "{\"error\":\"unknown command\",\"commands\":[\"status\",\"metrics\",\"flows\","
		    "\"drain\",\"undrain\"]}\n");
	free(answer);
}

static void expect_answer(const char *line, const char *expected)
{
	int fd = join();
	char *answer;

	say(fd, line);
	answer = hear(fd);
	assert_string_equal(answer, expected);
	free(answer);
}

static void test_words(void **state UNUSED)
{
	static const char needed[] =
	    "{\"error\":\"an origin and one of its servers are needed\"}\n";

	expect_answer("drain web 192.0.2.1:80\n", "[\"web\",\"192.0.2.1:80\",true]\n");
	expect_answer("undrain web unix:/run/a b\n", "[\"web\",\"unix:/run/a b\",false]\n");
	expect_answer("drain\n", needed);
	expect_answer("drain web\n", needed);
	expect_answer("drain web \n", needed);
	expect_answer("drain  web\n", needed);
	expect_answer(
	    "status now\n",
	    "{\"error\":\"unknown command\",\"commands\":[\"status\",\"metrics\",\"flows\","
	    "\"drain\",\"undrain\"]}\n");
}

/* The client reads slowly: what does not fit waits for it, and all of it comes. */
static void test_big_answer(void **state UNUSED)
{
	int fd = join();
	char *answer;

	answers_big = true;
	say(fd, "status\n");
	answer = hear(fd);
	assert_int_equal(strlen(answer), BIG_BYTES + 5);
	assert_string_equal(answer + BIG_BYTES + 1, "x\"]\n");
	free(answer);
}

static void expect_silent_end(int fd)
{
	char *answer = hear(fd);

	assert_string_equal(answer, "");
	free(answer);
}

static void test_no_memory(void **state UNUSED)
{
	int fd = join();

	is_out_of_memory = true;
	say(fd, "status\n");
	expect_silent_end(fd);
}

static void test_endless_line(void **state UNUSED)
{
	char line[1024];
	int fd = join();

	memset(line, 'a', sizeof(line));
	line[1023] = 0;
	say(fd, line);
	assert_int_equal(recv(fd, line, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
	say(fd, "b");
	expect_silent_end(fd);
}

static void test_client_leaves(void **state UNUSED)
{
	int fd = join();

	answers_big = true;
	say(fd, "status\n");
	close(fd);
	serve();
	answers_big = false;
	test_status(NULL);
}

static void test_client_leaves_without_a_word(void **state UNUSED)
{
	close(join());
	serve();
	test_line_in_pieces(NULL);
}

static void test_too_many(void **state UNUSED)
{
	int fds[32];

	for (size_t i = 0; i < 32; i++)
		fds[i] = join();
	expect_silent_end(join());
	close(fds[0]);
	serve();
	test_status(NULL);
	for (size_t i = 1; i < 32; i++)
		close(fds[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_status),	       TEST(test_metrics),
	    TEST(test_line_in_pieces), TEST(test_unknown_command),
	    TEST(test_words),	       TEST(test_big_answer),
	    TEST(test_no_memory),      TEST(test_endless_line),
	    TEST(test_client_leaves),  TEST(test_client_leaves_without_a_word),
	    TEST(test_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
