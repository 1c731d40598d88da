/* SPDX-License-Identifier: Apache-2.0 */
/* Long bulk: a pipe once there is one, and wake-ups for big portions only. */
#include "bench.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/relay_internal.h"

static int low_water(int fd)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, &len), 0);
	return bytes;
}

/* A portion of zeros, sent and received whole. True: the direction was in a tide meanwhile. */
static bool portion_brings_tide(void)
{
	static unsigned char data[1 << 20];
	ssize_t left = send(bench.client, data, sizeof(data), MSG_DONTWAIT);
	bool in_tide = false;

	assert_true(left > 0);
	for (int tries_left = 5000; left > 0; tries_left--) {
		ssize_t n = recv(bench.origin, data, sizeof(data), MSG_DONTWAIT);

		assert_true(tries_left > 0);
		left -= n > 0 ? n : 0;
		assert_int_equal(loop_run_once(bench.loop, 1), 0);
		if (relay_tide_is_high(&bench.relay.up) && !in_tide) {
			assert_int_equal(low_water(bench.a.watch.fd), RELAY_TIDE_BYTES);
			assert_int_equal(low_water(bench.b.watch.fd), 1);
			in_tide = true;
		}
	}
	return in_tide;
}

/* Where there is no descriptor for a pipe, bulk is copied, and takes one when there is. */
static void test_pipe_is_asked_for_again(void **state)
{
	struct rlimit before, none;

	(void)state;
	bench_start(RELAY_ENGINE_PIPE);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = (struct rlimit){.rlim_cur = 3, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	transfer(bench.client, bench.origin, 1 << 20, 65536);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_non_null(bench.relay.up.engine_reason);
	for (int tries_left = 64; bench.relay.up.engine == RELAY_ENGINE_COPY; tries_left--) {
		assert_true(tries_left > 0);
		portion_brings_tide();
	}
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	assert_null(bench.relay.up.engine_reason);
	bench_stop();
}

/* Bulk long enough that the thread is woken for big portions only. */
static void start_tide(void)
{
	bench_start(RELAY_ENGINE_AUTO);
	assert_int_equal(low_water(bench.a.watch.fd), 1);
	for (int tries_left = 100; !portion_brings_tide(); tries_left--)
		assert_true(tries_left > 0);
}

/* A stream that falls silent is not left with its last bytes: start_tide() has seen them arrive. It
 * has to prove more after that. */
static void test_tide_ends_in_silence(void **state)
{
	(void)state;
	start_tide();
	turn_until(!relay_tide_is_high(&bench.relay.up));
	assert_int_equal(low_water(bench.a.watch.fd), 1);
	for (int i = 0; i < 4; i++)
		assert_false(portion_brings_tide());
	message(bench.client, bench.origin, "woken by every byte");
	bench_stop();
}

/* The timer does not help: it is not armed any more. */
static void test_tide_and_the_end(void **state)
{
	(void)state;
	start_tide();
	relay_tide_thread_done();
	relay_set_low_water(bench.a.watch.fd, RELAY_TIDE_MAX_BYTES);
	assert_int_equal(send(bench.client, "last", 4, 0), 4);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	expect_text(bench.origin, "last");
	expect_end(bench.origin);
	message(bench.origin, bench.client, "answer");
	bench_stop();
}

static void test_tide_and_a_reset(void **state)
{
	(void)state;
	start_tide();
	relay_tide_thread_done();
	relay_set_low_water(bench.a.watch.fd, RELAY_TIDE_MAX_BYTES);
	reset(&bench.client);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_CLIENT_RESET);
	bench_stop();
}

static void test_portions_of_a_tide(void **state)
{
	(void)state;
	assert_int_equal(relay_tide_portion_bytes(0), 256 << 10);
	assert_int_equal(relay_tide_portion_bytes((2 << 20) - 1), 256 << 10);
	assert_int_equal(relay_tide_portion_bytes(2 << 20), 512 << 10);
	assert_int_equal(relay_tide_portion_bytes((4 << 20) - 1), 512 << 10);
	assert_int_equal(relay_tide_portion_bytes(4 << 20), 1 << 20);
	assert_int_equal(relay_tide_portion_bytes(UINT64_MAX), 1 << 20);
}

/* A portion that did not come whole is waited for without asking again. */
static void test_tide_does_not_ask_for_less(void **state)
{
	unsigned int events;

	(void)state;
	start_tide();
	relay_tide_thread_done(); /* which would ask */
	relay_set_low_water(bench.a.watch.fd, RELAY_TIDE_BYTES);
	bench.a.readable = true;
	for (char byte = 'a'; byte < 'd'; byte++)
		send_and_arrive(byte);
	bench.relay.on_wake(&bench.relay);
	assert_false(bench.a.readable);
	expect_text(bench.origin, "abc");
	events = bench_events;
	send_and_arrive('d');
	turn(2);
	assert_int_equal(bench_events, events);
	relay_set_low_water(bench.a.watch.fd, 1);
	expect_text(bench.origin, "d");
	bench_stop();
}

static int unread(int fd)
{
	int n_bytes;

	assert_int_equal(ioctl(fd, FIONREAD, &n_bytes), 0);
	return n_bytes;
}

/* From the client, until the relay's socket has them. They do not lie beside each other in memory:
 * between them lies what the sender sends elsewhere. */
static void send_small_segments(int n_segments, size_t segment_bytes)
{
	int other, elsewhere, wanted = n_segments * (int)segment_bytes;
	static unsigned char data[1024];

	connect_pair(&other, &elsewhere);
	for (int i = 0; i < n_segments; i++) {
		assert_int_equal(send(bench.client, data, segment_bytes, 0), segment_bytes);
		assert_int_equal(send(other, data, 8, 0), 8);
	}
	for (int waited_ms = 0; unread(bench.a.watch.fd) < wanted; waited_ms++) {
		assert_true(waited_ms < AWAIT_MS);
		poll(NULL, 0, 1);
	}
	close(other);
	close(elsewhere);
}

/* Segments take all slots of a pipe long before its bytes: what is left is not waited for. */
static void test_tide_in_small_segments(void **state)
{
	int one = 1;

	(void)state;
	start_tide();
	relay_tide_thread_done(); /* which would ask */
	assert_int_equal(setsockopt(bench.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)), 0);
	relay_set_low_water(bench.a.watch.fd, RELAY_TIDE_BYTES);
	send_small_segments(400, 100);
	bench.a.readable = true;
	for (int tries_left = 100; bench.a.readable && tries_left > 0; tries_left--)
		bench.relay.on_wake(&bench.relay);
	assert_false(bench.a.readable);
	assert_int_equal(unread(bench.a.watch.fd), 0);
	bench_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pipe_is_asked_for_again),
	    cmocka_unit_test(test_tide_ends_in_silence),
	    cmocka_unit_test(test_portions_of_a_tide),
	    cmocka_unit_test(test_tide_does_not_ask_for_less),
	    cmocka_unit_test(test_tide_in_small_segments),
	    cmocka_unit_test(test_tide_and_the_end),
	    cmocka_unit_test(test_tide_and_a_reset),
	};

	return cmocka_run_group_tests(tests, NULL, bench_group_done);
}
