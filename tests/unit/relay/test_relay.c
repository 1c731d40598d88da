/* SPDX-License-Identifier: Apache-2.0 */
/* Every scenario in every engine, over real TCP connections on loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/addr.h"
#include "relay/relay.h"

/* client <-> [a relay b] <-> origin */
struct bench {
	struct loop *loop;
	int client, origin; /* the peers' ends, nonblocking */
	struct io a, b;
	struct relay relay;
	struct task task;
	enum relay_verdict verdict;
	enum close_reason reason;
};

static struct bench bench;

static void connect_pair(int *ret_one, int *ret_other)
{
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(struct sockaddr_in)};
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, &addr.sa, addr.len), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, &addr.sa, &addr.len), 0);
	*ret_one = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(*ret_one, &addr.sa, addr.len), 0);
	*ret_other = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	assert_true(*ret_other >= 0);
	close(listener);
}

static void drive(void)
{
	if (bench.verdict == RELAY_OVER || bench.verdict == RELAY_BROKE)
		return;
	bench.verdict = relay_run(&bench.relay, bench.loop, &bench.reason);
	if (bench.verdict == RELAY_BUSY)
		loop_schedule(bench.loop, &bench.task);
}

static void on_io(struct watch *watch, uint32_t events)
{
	io_note_events(container_of(watch, struct io, watch), events);
	drive();
}

static void on_task(struct task *task)
{
	(void)task;
	drive();
}

static void start(enum relay_engine engine)
{
	int a, b;

	memset(&bench, 0, sizeof(bench));
	bench.loop = loop_new();
	assert_non_null(bench.loop);
	connect_pair(&bench.client, &a);
	connect_pair(&bench.origin, &b);
	io_init_plain(&bench.a, a);
	io_init_plain(&bench.b, b);
	bench.a.watch.on_event = on_io;
	bench.b.watch.on_event = on_io;
	task_init(&bench.task, on_task);
	relay_init(&bench.relay, &bench.a, &bench.b, engine);
	assert_int_equal(loop_watch(bench.loop, &bench.a.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
			 0);
	assert_int_equal(loop_watch(bench.loop, &bench.b.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
			 0);
}

static void stop(void)
{
	relay_done(&bench.relay);
	loop_unwatch(bench.loop, &bench.a.watch);
	loop_unwatch(bench.loop, &bench.b.watch);
	io_close(&bench.a);
	io_close(&bench.b);
	if (bench.client >= 0)
		close(bench.client);
	if (bench.origin >= 0)
		close(bench.origin);
	loop_free(bench.loop);
	relay_thread_done();
}

static void turn(int times)
{
	for (int i = 0; i < times; i++)
		assert_int_equal(loop_run_once(bench.loop, 10), 0);
}

static unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 31 + at / 251);
}

/* Sends `total` bytes of the pattern one way while the receiver reads `read_chunk` at a time, and
 * checks each. */
static void transfer(int from, int to, size_t total, size_t read_chunk)
{
	size_t sent = 0, got = 0;
	unsigned char buffer[65536];

	while (got < total) {
		size_t n = total - sent < sizeof(buffer) ? total - sent : sizeof(buffer);
		ssize_t r;

		for (size_t i = 0; i < n; i++)
			buffer[i] = pattern(sent + i);
		r = n ? send(from, buffer, n, MSG_DONTWAIT) : 0;
		if (r > 0)
			sent += (size_t)r;
		assert_int_equal(loop_run_once(bench.loop, 0), 0);
		r = recv(to, buffer, read_chunk, MSG_DONTWAIT);
		for (ssize_t i = 0; i < r; i++)
			assert_int_equal(buffer[i], pattern(got + (size_t)i));
		assert_int_not_equal(r, 0);
		if (r > 0)
			got += (size_t)r;
	}
}

static enum relay_engine engine_of(void **state)
{
	return *(enum relay_engine *)*state;
}

static void test_both_ways_and_half_close(void **state)
{
	char byte;

	start(engine_of(state));
	transfer(bench.client, bench.origin, 3 << 20, 65536);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	turn(3);
	assert_int_equal(recv(bench.origin, &byte, 1, MSG_DONTWAIT), 0);
	assert_true(relay_is_half_closed(&bench.relay));
	transfer(bench.origin, bench.client, 3 << 20, 5000);
	assert_int_equal(bench.verdict, RELAY_RUNS);
	assert_int_equal(shutdown(bench.origin, SHUT_WR), 0);
	turn(3);
	assert_int_equal(recv(bench.client, &byte, 1, MSG_DONTWAIT), 0);
	assert_int_equal(bench.verdict, RELAY_OVER);
	assert_int_equal(bench.reason, CLOSE_DONE);
	assert_int_equal(bench.relay.up.delivered_bytes, 3 << 20);
	assert_int_equal(bench.relay.down.delivered_bytes, 3 << 20);
	stop();
}

static void test_bytes_and_end_in_one_segment(void **state)
{
	char text[8];

	start(engine_of(state));
	assert_int_equal(send(bench.client, "last", 4, 0), 4);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	turn(4);
	assert_int_equal(recv(bench.origin, text, sizeof(text), MSG_DONTWAIT), 4);
	assert_int_equal(recv(bench.origin, text, sizeof(text), MSG_DONTWAIT), 0);
	stop();
}

static void test_reader_that_stalls_bounds_memory(void **state)
{
	static unsigned char data[1 << 20];
	size_t sent = 0;
	int idle_turns = 0;

	start(engine_of(state));
	while (idle_turns < 20) {
		ssize_t n = send(bench.client, data, sizeof(data), MSG_DONTWAIT);

		idle_turns = n > 0 ? 0 : idle_turns + 1;
		if (n > 0)
			sent += (size_t)n;
		turn(1);
		assert_in_range(relay_dir_held(&bench.relay.up), 0, 1 << 20);
	}
	assert_in_range(sent, 1, 64 << 20);
	assert_int_equal(bench.verdict, RELAY_RUNS);
	stop();
}

static void reset(int *fd)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(*fd);
	*fd = -1;
}

static void test_reset_is_passed_on(void **state)
{
	char byte;

	start(engine_of(state));
	transfer(bench.client, bench.origin, 100000, 65536);
	reset(&bench.client);
	turn(4);
	assert_int_equal(bench.verdict, RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	loop_unwatch(bench.loop, &bench.b.watch);
	io_close(&bench.b);
	assert_int_equal(recv(bench.origin, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
	stop();
}

/* The receiver takes nothing more, so nobody reads from the client: its reset must be noticed all
 * the same. */
static void test_reset_while_the_other_side_is_full(void **state)
{
	static unsigned char data[1 << 20];
	int idle_turns = 0;

	start(engine_of(state));
	while (idle_turns < 20) {
		idle_turns =
		    send(bench.client, data, sizeof(data), MSG_DONTWAIT) > 0 ? 0 : idle_turns + 1;
		turn(1);
	}
	reset(&bench.client);
	turn(4);
	assert_int_equal(bench.verdict, RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	stop();
}

/* After its half-close nobody reads from the client any more, and the origin has nothing to say. */
static void test_reset_after_half_close(void **state)
{
	start(engine_of(state));
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	turn(3);
	assert_true(relay_is_half_closed(&bench.relay));
	reset(&bench.client);
	turn(4);
	assert_int_equal(bench.verdict, RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	stop();
}

/* A server that answers and closes with bytes unread resets; what it had said still arrives. */
static void test_answer_before_a_reset_arrives(void **state)
{
	char text[8];

	start(engine_of(state));
	assert_int_equal(send(bench.client, "ask", 3, 0), 3);
	turn(3);
	assert_int_equal(send(bench.origin, "answer", 6, 0), 6);
	assert_int_equal(send(bench.client, "more", 4, 0), 4);
	reset(&bench.origin);
	turn(4);
	assert_int_equal(bench.verdict, RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_ORIGIN_RESET);
	assert_int_equal(recv(bench.client, text, sizeof(text), MSG_DONTWAIT), 6);
	assert_memory_equal(text, "answer", 6);
	stop();
}

static void test_idle_holds_nothing(void **state)
{
	start(engine_of(state));
	transfer(bench.client, bench.origin, 2 << 20, 65536);
	turn(2);
	assert_null(bench.relay.up.kept);
	assert_null(bench.relay.up.pipe);
	stop();
}

static void test_limit_leaves_the_rest_in_the_socket(void **state)
{
	struct relay_dir dir;
	char text[16];

	start(RELAY_ENGINE_COPY);
	relay_done(&bench.relay);
	bench.verdict = RELAY_OVER;
	assert_int_equal(send(bench.client, "0123456789", 10, 0), 10);
	turn(2);
	relay_dir_init(&dir, &bench.a, &bench.b, 7, engine_of(state));
	assert_int_equal(relay_dir_pump(&dir, bench.loop), RELAY_LIMIT);
	assert_int_equal(recv(bench.origin, text, sizeof(text), 0), 7);
	assert_int_equal(recv(bench.a.watch.fd, text, sizeof(text), MSG_DONTWAIT), 3);
	relay_dir_done(&dir);
	stop();
}

static void test_auto_takes_the_pipe_for_bulk(void **state)
{
	(void)state;
	start(RELAY_ENGINE_AUTO);
	transfer(bench.client, bench.origin, 4096, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_non_null(bench.relay.up.engine_reason);
	transfer(bench.client, bench.origin, 4 << 20, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	assert_null(bench.relay.up.engine_reason);
	assert_int_equal(bench.relay.down.engine, RELAY_ENGINE_COPY);
	stop();
}

#define IN_ENGINE(test, name) \
	{ \
#test " " #name, test, NULL, NULL, &engines[RELAY_ENGINE_##name] \
	}
#define IN_EACH_ENGINE(test) IN_ENGINE(test, COPY), IN_ENGINE(test, PIPE), IN_ENGINE(test, AUTO)

int main(void)
{
	static enum relay_engine engines[] = {RELAY_ENGINE_COPY, RELAY_ENGINE_PIPE,
					      RELAY_ENGINE_AUTO};
	const struct CMUnitTest tests[] = {
	    IN_EACH_ENGINE(test_both_ways_and_half_close),
	    IN_EACH_ENGINE(test_bytes_and_end_in_one_segment),
	    IN_EACH_ENGINE(test_reader_that_stalls_bounds_memory),
	    IN_EACH_ENGINE(test_reset_is_passed_on),
	    IN_EACH_ENGINE(test_reset_while_the_other_side_is_full),
	    IN_EACH_ENGINE(test_reset_after_half_close),
	    IN_EACH_ENGINE(test_answer_before_a_reset_arrives),
	    IN_EACH_ENGINE(test_idle_holds_nothing),
	    IN_EACH_ENGINE(test_limit_leaves_the_rest_in_the_socket),
	    cmocka_unit_test(test_auto_takes_the_pipe_for_bulk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
