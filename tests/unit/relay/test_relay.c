/* SPDX-License-Identifier: Apache-2.0 */
/* Every scenario in every engine, over real TCP connections on loopback. */
#include "bench.h"

#include <errno.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/relay_internal.h"

static enum relay_engine engine_of(void **state)
{
	return *(enum relay_engine *)*state;
}

static void test_both_ways_and_half_close(void **state)
{
	bench_start(engine_of(state));
	transfer(bench.client, bench.origin, 3 << 20, 65536);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	expect_end(bench.origin);
	assert_true(relay_is_half_closed(&bench.relay));
	transfer(bench.origin, bench.client, 3 << 20, 5000);
	assert_int_equal(bench.verdict, RELAY_RUNS);
	assert_int_equal(shutdown(bench.origin, SHUT_WR), 0);
	expect_end(bench.client);
	assert_int_equal(bench.verdict, RELAY_OVER);
	assert_int_equal(bench.reason, CLOSE_DONE);
	assert_int_equal(bench.relay.up.delivered_bytes, 3 << 20);
	assert_int_equal(bench.relay.down.delivered_bytes, 3 << 20);
	bench_stop();
}

static void test_bytes_and_end_in_one_segment(void **state)
{
	bench_start(engine_of(state));
	assert_int_equal(send(bench.client, "last", 4, 0), 4);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	expect_text(bench.origin, "last");
	expect_end(bench.origin);
	bench_stop();
}

static void test_reader_that_stalls_bounds_memory(void **state)
{
	static unsigned char data[1 << 20];
	size_t sent = 0;
	int idle_turns = 0;

	bench_start(engine_of(state));
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
	bench_stop();
}

static void test_reset_is_passed_on(void **state)
{
	char byte;

	bench_start(engine_of(state));
	transfer(bench.client, bench.origin, 100000, 65536);
	reset(&bench.client);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	loop_unwatch(bench.loop, &bench.b.watch);
	io_close(&bench.b);
	await_reset(bench.origin);
	assert_int_equal(recv(bench.origin, &byte, 1, MSG_DONTWAIT), -1);
	assert_int_equal(errno, ECONNRESET);
	bench_stop();
}

/* The sender pushes until nothing moves any more; how much that was. */
static size_t push_until_full(int from)
{
	static unsigned char data[1 << 20];
	size_t sent = 0;
	int idle_turns = 0;

	while (idle_turns < 20) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = pattern(sent + i);
		n = send(from, data, sizeof(data), MSG_DONTWAIT);
		idle_turns = n > 0 ? 0 : idle_turns + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(1);
	}
	return sent;
}

/* Reads the pattern until the stream ends; how it ended, as errno. */
static int pull_until_end(int fd, size_t *ret_got)
{
	static unsigned char data[65536];
	size_t got = 0;

	for (int idle_turns = 0; idle_turns < 2000; idle_turns++) {
		ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], pattern(got + (size_t)i));
		*ret_got = got += n > 0 ? (size_t)n : 0;
		if (n > 0)
			idle_turns = 0;
		else if (n == 0 || errno != EAGAIN)
			return n ? errno : 0;
		turn(1);
		if (bench.verdict == RELAY_BROKE && bench.a.watch.fd >= 0) {
			loop_unwatch(bench.loop, &bench.a.watch);
			loop_unwatch(bench.loop, &bench.b.watch);
			io_close(&bench.a);
			io_close(&bench.b);
		}
	}
	fail_msg("the stream does not end");
	return 0;
}

/* The client takes nothing more, so nobody reads from the origin: its reset is noticed all the
 * same, and passed on behind what it had said, which by then waits in every buffer on the way. */
static void test_reset_while_the_other_side_is_full(void **state)
{
	size_t sent, got = 0;
	int unsent = 0;

	bench_start(engine_of(state));
	sent = push_until_full(bench.origin);
	assert_int_equal(ioctl(bench.origin, SIOCOUTQ, &unsent), 0);
	reset(&bench.origin); /* takes with it what it has not sent */
	turn(20);
	assert_int_equal(bench.verdict, RELAY_RUNS);
	assert_int_equal(pull_until_end(bench.client, &got), ECONNRESET);
	assert_int_equal(bench.verdict, RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_ORIGIN_RESET);
	assert_in_range(got, sent - (size_t)unsent, sent);
	bench_stop();
}

/* Whoever takes nothing of the last words is not waited for without end. */
static void test_last_words_that_nobody_takes(void **state)
{
	bench_start(engine_of(state));
	push_until_full(bench.client);
	reset(&bench.client);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	bench_stop();
}

/* A send tells the error first; what the socket shows after that is not the end of the stream. */
static void test_reset_that_a_send_is_told(void **state)
{
	char text[8];

	bench_start(engine_of(state));
	turn(2);
	assert_int_equal(send(bench.client, "ask", 3, 0), 3);
	reset(&bench.origin);
	await_reset(bench.b.watch.fd);
	assert_int_equal(send(bench.b.watch.fd, "x", 1, MSG_NOSIGNAL), -1);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_ORIGIN_RESET);
	assert_int_equal(recv(bench.client, text, sizeof(text), MSG_DONTWAIT), -1);
	assert_int_equal(errno, EAGAIN);
	bench_stop();
}

/* After its half-close nobody reads from the client any more, and the origin has nothing to say. */
static void test_reset_after_half_close(void **state)
{
	bench_start(engine_of(state));
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	turn_until(relay_is_half_closed(&bench.relay));
	reset(&bench.client);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	bench_stop();
}

/* A server that answers and closes with bytes unread resets; what it had said still arrives. */
static void test_answer_before_a_reset_arrives(void **state)
{
	bench_start(engine_of(state));
	assert_int_equal(send(bench.client, "ask", 3, 0), 3);
	turn(3);
	assert_int_equal(send(bench.origin, "answer", 6, 0), 6);
	assert_int_equal(send(bench.client, "more", 4, 0), 4);
	reset(&bench.origin);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_ORIGIN_RESET);
	expect_text(bench.client, "answer");
	bench_stop();
}

/* Nothing more can be written to the origin, until it reads; how many zeros wait for it. */
static size_t fill_origin(void)
{
	static const unsigned char zeros[65536];
	size_t filled = 0;

	for (int idle_tries = 0; idle_tries < 20; idle_tries++) {
		ssize_t n = send(bench.b.watch.fd, zeros, sizeof(zeros), MSG_DONTWAIT);

		if (n > 0) {
			filled += (size_t)n;
			idle_tries = 0;
		} else {
			poll(NULL, 0, 5);
		}
	}
	return filled;
}

static void read_zeros(size_t left)
{
	static unsigned char data[65536];

	while (left) {
		ssize_t n = recv(bench.origin, data, MIN(left, sizeof(data)), MSG_DONTWAIT);

		assert_int_not_equal(n, 0);
		left -= n > 0 ? (size_t)n : 0;
		turn(1);
	}
}

/* What comes while the receiver takes nothing is not told segment by segment; all of it arrives
 * once there is room, and then every byte is told again. */
static void test_full_receiver_wakes_nobody(void **state)
{
	unsigned int events;
	size_t filled;

	bench_connect();
	filled = fill_origin();
	bench_relay(engine_of(state), NULL);
	for (char byte = 'a'; byte < 'k'; byte++) {
		send_and_arrive(byte);
		turn(1);
	}
	assert_true(bench.relay.up.is_muted);
	events = bench_events;
	for (char byte = 'k'; byte < 'u'; byte++) {
		send_and_arrive(byte);
		turn(1);
	}
	assert_int_equal(bench_events, events);
	read_zeros(filled);
	expect_text(bench.origin, "abcdefghijklmnopqrst");
	assert_false(bench.relay.up.is_muted);
	message(bench.client, bench.origin, "told again");
	bench_stop();
}

/* The end of a sender is told even then. */
static void test_end_while_the_receiver_is_full(void **state)
{
	size_t filled;

	bench_connect();
	filled = fill_origin();
	bench_relay(engine_of(state), NULL);
	for (char byte = 'a'; byte < 'k'; byte++) {
		send_and_arrive(byte);
		turn(1);
	}
	assert_true(bench.relay.up.is_muted);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	turn_until(bench.a.peer_closed);
	read_zeros(filled);
	expect_text(bench.origin, "abcdefghij");
	expect_end(bench.origin);
	bench_stop();
}

static void test_idle_holds_nothing(void **state)
{
	bench_start(engine_of(state));
	transfer(bench.client, bench.origin, 2 << 20, 65536);
	turn_until(!bench.relay.up.kept && !bench.relay.up.pipe);
	bench_stop();
}

static void test_limit_leaves_the_rest_in_the_socket(void **state)
{
	struct relay_dir dir;
	char text[16];

	bench_start(RELAY_ENGINE_COPY);
	relay_done(&bench.relay);
	bench.verdict = RELAY_OVER;
	assert_int_equal(send(bench.client, "0123456789", 10, 0), 10);
	await_readable(bench.a.watch.fd);
	turn(2);
	relay_dir_init(&dir, &bench.a, &bench.b, 7, engine_of(state));
	assert_int_equal(relay_dir_pump(&dir, bench.loop), RELAY_LIMIT);
	assert_int_equal(recv(bench.origin, text, sizeof(text), 0), 7);
	assert_int_equal(recv(bench.a.watch.fd, text, sizeof(text), MSG_DONTWAIT), 3);
	relay_dir_done(&dir);
	bench_stop();
}

static void test_auto_takes_the_pipe_for_bulk(void **state)
{
	(void)state;
	bench_start(RELAY_ENGINE_AUTO);
	transfer(bench.client, bench.origin, 4096, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_non_null(bench.relay.up.engine_reason);
	transfer(bench.client, bench.origin, 4 << 20, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	assert_null(bench.relay.up.engine_reason);
	assert_int_equal(bench.relay.down.engine, RELAY_ENGINE_COPY);
	bench_stop();
}

#define IN_ENGINE(test, name) \
	{ \
#test " " #name, test, NULL, NULL, &engines[RELAY_ENGINE_##name] \
	}
#define IN_EACH_USER_ENGINE(test) \
	IN_ENGINE(test, COPY), IN_ENGINE(test, PIPE), IN_ENGINE(test, AUTO)
#define IN_EACH_ENGINE(test) IN_EACH_USER_ENGINE(test), IN_ENGINE(test, SOCKMAP)

int main(void)
{
	static enum relay_engine engines[] = {RELAY_ENGINE_COPY, RELAY_ENGINE_PIPE,
					      RELAY_ENGINE_SOCKMAP, RELAY_ENGINE_AUTO};
	const struct CMUnitTest tests[] = {
	    IN_EACH_ENGINE(test_both_ways_and_half_close),
	    IN_EACH_ENGINE(test_bytes_and_end_in_one_segment),
	    IN_EACH_ENGINE(test_reader_that_stalls_bounds_memory),
	    IN_EACH_ENGINE(test_reset_is_passed_on),
	    IN_EACH_ENGINE(test_reset_while_the_other_side_is_full),
	    IN_ENGINE(test_last_words_that_nobody_takes, AUTO),
	    IN_EACH_USER_ENGINE(test_reset_that_a_send_is_told),
	    IN_EACH_ENGINE(test_reset_after_half_close),
	    IN_EACH_ENGINE(test_answer_before_a_reset_arrives),
	    IN_EACH_USER_ENGINE(test_full_receiver_wakes_nobody),
	    IN_EACH_USER_ENGINE(test_end_while_the_receiver_is_full),
	    IN_EACH_ENGINE(test_idle_holds_nothing),
	    IN_EACH_USER_ENGINE(test_limit_leaves_the_rest_in_the_socket),
	    cmocka_unit_test(test_auto_takes_the_pipe_for_bulk),
	};

	return cmocka_run_group_tests(tests, NULL, bench_group_done);
}
