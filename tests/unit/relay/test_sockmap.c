/* SPDX-License-Identifier: Apache-2.0 */
/* What the sockmap engine must get right where the kernel does not help; each of these failed once.
 * Needs root. */
#include "bench.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "penstock/abi.h"
#include "relay/relay_internal.h"
#include "stats/stats.h"

/* Races show in some of so many tries only. */
#define TRIES 20

static void start_in_sockmap(void)
{
	bench_start(RELAY_ENGINE_SOCKMAP);
	turn_until(bench.relay.sockmap != NULL);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_SOCKMAP);
	assert_int_equal(bench.relay.down.engine, RELAY_ENGINE_SOCKMAP);
	assert_null(bench.relay.up.engine_reason);
}

static void wait_unread(int fd, int wanted)
{
	int unread = 0;

	for (int waited_ms = 0; waited_ms < AWAIT_MS && unread != wanted; waited_ms++) {
		assert_int_equal(ioctl(fd, FIONREAD, &unread), 0);
		usleep(1000);
	}
	assert_int_equal(unread, wanted);
}

/* Without a kick they wait for the next segment; with one map the first side's meet no peer. */
static void test_bytes_that_wait_on_both_sides(void **state)
{
	(void)state;
	for (int i = 0; i < TRIES; i++) {
		bench_need_sockmap();
		bench_connect();
		assert_int_equal(send(bench.client, "from the client", 15, 0), 15);
		assert_int_equal(send(bench.origin, "from the origin", 15, 0), 15);
		wait_unread(bench.a.watch.fd, 15);
		wait_unread(bench.b.watch.fd, 15);
		bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
		bench.relay.on_wake(&bench.relay);
		/* The loop does not run: no timer of ours helps. */
		wait_unread(bench.origin, 15);
		wait_unread(bench.client, 15);
		expect_text(bench.origin, "from the client");
		expect_text(bench.client, "from the origin");
		assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_SOCKMAP);
		bench_stop();
	}
}

/* Whoever read the start of a segment must not have it sent on whole. */
static void test_bytes_read_in_part_before(void **state)
{
	char text[4];

	(void)state;
	bench_need_sockmap();
	bench_connect();
	assert_int_equal(send(bench.client, "headbody", 8, 0), 8);
	wait_unread(bench.a.watch.fd, 8);
	assert_int_equal(recv(bench.a.watch.fd, text, 4, 0), 4);
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	expect_text(bench.origin, "body");
	message(bench.client, bench.origin, "more");
	turn_until(bench.relay.sockmap != NULL);
	message(bench.client, bench.origin, "and more");
	bench_stop();
}

/* A socket whose peer has ended cannot be put into the map. */
static void test_end_before_the_insert(void **state)
{
	struct pollfd wait = {.events = POLLRDHUP};

	(void)state;
	bench_need_sockmap();
	bench_connect();
	assert_int_equal(send(bench.client, "all", 3, 0), 3);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	wait.fd = bench.a.watch.fd;
	assert_int_equal(poll(&wait, 1, AWAIT_MS), 1); /* the end, behind the bytes */
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	expect_text(bench.origin, "all");
	expect_end(bench.origin);
	message(bench.origin, bench.client, "answer");
	expect_copied("a side is ending, or bytes are under way");
	bench_stop();
}

static void test_bare_end_before_the_insert(void **state)
{
	struct pollfd wait = {.events = POLLRDHUP};

	(void)state;
	bench_need_sockmap();
	bench_connect();
	wait.fd = bench.a.watch.fd;
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	assert_int_equal(poll(&wait, 1, AWAIT_MS), 1);
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	bench.relay.on_wake(&bench.relay); /* before the loop tells of the end */
	expect_copied("one side has ended already");
	bench_expect_no_entries();
	expect_end(bench.origin);
	message(bench.origin, bench.client, "answer");
	bench_stop();
}

static void test_bare_end_leaves_the_other_direction(void **state)
{
	(void)state;
	for (int i = 0; i < TRIES; i++) {
		start_in_sockmap();
		message(bench.client, bench.origin, "request");
		assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
		expect_end(bench.origin);
		message(bench.origin, bench.client, "answer");
		assert_int_equal(bench.relay.down.engine, RELAY_ENGINE_SOCKMAP);
		assert_int_equal(shutdown(bench.origin, SHUT_WR), 0);
		turn_until(bench.verdict == RELAY_OVER);
		bench_stop();
	}
}

/* Bytes that the kernel has not written yet are lost where the end overtakes them. */
static void test_end_right_behind_many_bytes(void **state)
{
	static unsigned char data[4 << 20], got[4 << 20];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = pattern(i);
	for (int i = 0; i < 5; i++) {
		size_t sent = 0, received = 0;
		ssize_t n = -1;

		start_in_sockmap();
		while (n != 0) {
			if (sent < sizeof(data)) {
				n = send(bench.client, data + sent, sizeof(data) - sent,
					 MSG_DONTWAIT);
				sent += n > 0 ? (size_t)n : 0;
				if (sent == sizeof(data))
					assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
			}
			assert_int_equal(loop_run_once(bench.loop, 0), 0);
			n = recv(bench.origin, got + received, sizeof(got) - received + (sent == 0),
				 MSG_DONTWAIT);
			received += n > 0 ? (size_t)n : 0;
			if (received == sizeof(got)) {
				expect_end(bench.origin);
				n = 0;
			}
		}
		assert_int_equal(received, sizeof(data));
		assert_memory_equal(data, got, sizeof(data));
		assert_int_equal(bench.relay.up.received_bytes, sizeof(data));
		assert_int_equal(bench.relay.up.delivered_bytes, sizeof(data));
		bench_stop();
	}
}

static void set_small_buffers(void)
{
	const int fds[] = {bench.client, bench.a.watch.fd, bench.b.watch.fd, bench.origin};
	const int small = 65536;

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
		setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	}
}

/* The client pushes until nothing moves any more. */
static size_t push_until_full(void)
{
	static unsigned char data[65536];
	size_t sent = 0;
	int idle_turns = 0;

	while (idle_turns < 20) {
		ssize_t n;

		for (size_t i = 0; i < sizeof(data); i++)
			data[i] = pattern(sent + i);
		n = send(bench.client, data, sizeof(data), MSG_DONTWAIT);
		idle_turns = n > 0 ? 0 : idle_turns + 1;
		sent += n > 0 ? (size_t)n : 0;
		turn(1);
		assert_in_range(sent, 1, 4 << 20);
	}
	return sent;
}

static void pull(size_t wanted)
{
	static unsigned char data[65536];
	uint64_t began_ms = clock_now_ms();
	size_t got = 0;

	while (got < wanted) {
		ssize_t n = recv(bench.origin, data, sizeof(data), MSG_DONTWAIT);

		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(data[i], pattern(got + (size_t)i));
		got += n > 0 ? (size_t)n : 0;
		turn(1);
		assert_true(clock_now_ms() - began_ms < AWAIT_MS);
	}
}

/* What was passed may not overtake what was redirected and is not written yet: here the map is made
 * to say that there is such. */
static void test_passed_bytes_wait_for_redirected_ones(void **state)
{
	volatile struct splice_dir *dirs;
	char byte;

	(void)state;
	start_in_sockmap();
	message(bench.client, bench.origin, "hello");
	dirs = bench_map_dirs();
	assert_int_equal(dirs[0].redirected_bytes, 5);
	dirs[0].window_bytes = 0;
	dirs[0].redirected_bytes += 3;
	assert_int_equal(send(bench.client, "passed", 6, 0), 6);
	turn_until(dirs[0].passed_bytes == 6);
	turn(20);
	assert_int_equal(recv(bench.origin, &byte, 1, MSG_DONTWAIT), -1);
	dirs[0].redirected_bytes -= 3;
	expect_text(bench.origin, "passed");
	turn_until(dirs[0].consumed_bytes == 6);
	bench_unmap_dirs(dirs);
	bench_stop();
}

/* While bytes are in the kernel's hands the sockets stay in the map. */
static void test_leaving_waits_until_nothing_is_under_way(void **state)
{
	size_t sent;

	(void)state;
	start_in_sockmap();
	set_small_buffers();
	sent = push_until_full();
	bench.relay.sockmap->is_leaving = true;
	bench.relay.sockmap->why_leaving = "the test wants it";
	bench.relay.up.may_promote = false; /* once out, to the pipe, for a reason of its own */
	bench.relay.on_wake(&bench.relay);
	turn(5);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_SOCKMAP);
	pull(sent);
	turn_until(bench.relay.sockmap == NULL);
	assert_string_equal(bench.relay.up.engine_reason, "the test wants it");
	bench_expect_no_entries();
	message(bench.client, bench.origin, "on it goes");
	message(bench.origin, bench.client, "back, too");
	assert_int_equal(bench.relay.up.received_bytes, sent + 10);
	assert_int_equal(bench.relay.up.delivered_bytes, sent + 10);
	bench_stop();
}

/* Plain sockmap took 629 MB in a second. */
static void test_reader_that_stalls_is_bounded_and_gets_all(void **state)
{
	uint64_t lags = stats_sum(STAT_RELAY_SOCKMAP_LAGS);
	volatile struct splice_dir *dirs;
	uint64_t redirected;
	size_t sent;

	(void)state;
	start_in_sockmap();
	set_small_buffers();
	sent = push_until_full();
	assert_true(stats_sum(STAT_RELAY_SOCKMAP_LAGS) > lags);
	pull(sent);
	/* And then the kernel has it again. */
	dirs = bench_map_dirs();
	turn_until(dirs[0].consumed_bytes == dirs[0].passed_bytes);
	redirected = dirs[0].redirected_bytes;
	message(bench.client, bench.origin, "on it goes");
	assert_int_equal(dirs[0].redirected_bytes, redirected + 10);
	bench_unmap_dirs(dirs);
	bench_stop();
}

/* The loop sleeps while the kernel carries messages. */
static void test_messages_wake_nobody(void **state)
{
	uint64_t copied;

	(void)state;
	start_in_sockmap();
	message(bench.client, bench.origin, "first");
	message(bench.origin, bench.client, "second");
	turn(2);
	copied = bench_events;
	for (int i = 0; i < 100; i++) {
		char byte;

		assert_int_equal(send(bench.client, "x", 1, 0), 1);
		assert_int_equal(recv(bench.origin, &byte, 1, 0), 1);
		assert_int_equal(send(bench.origin, "y", 1, 0), 1);
		assert_int_equal(recv(bench.client, &byte, 1, 0), 1);
	}
	turn(2);
	assert_int_equal(bench_events, copied);
	relay_refresh(&bench.relay);
	assert_int_equal(bench.relay.up.delivered_bytes, 105);
	assert_int_equal(bench.relay.down.delivered_bytes, 106);
	bench_stop();
}

/* Who counts the silence of a stream takes the one time from the other. */
static void test_nothing_moves_later_than_the_loops_now(void **state)
{
	char byte;

	(void)state;
	start_in_sockmap();
	message(bench.client, bench.origin, "first");
	usleep(50000); /* the kernel's clock goes on, the loop's does not */
	assert_int_equal(send(bench.client, "x", 1, 0), 1);
	assert_int_equal(recv(bench.origin, &byte, 1, 0), 1);
	relay_refresh(&bench.relay);
	assert_true(relay_active_ms(&bench.relay, bench.loop) <= loop_now_ms(bench.loop));
	bench_stop();
}

static size_t some(size_t below)
{
	return (size_t)random() % below;
}

/* One side: what it has sent and received of its stream. */
struct side {
	int fd;
	size_t to_send, sent, received;
	bool ended;
	size_t read_max;
};

static void side_act(struct side *side)
{
	static unsigned char data[65536];
	size_t n = side->to_send - side->sent;
	ssize_t done;

	n = n < sizeof(data) ? n : sizeof(data);
	n = n ? 1 + some(n) : 0;
	for (size_t i = 0; i < n; i++)
		data[i] = pattern(side->sent + i);
	done = n ? send(side->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
	side->sent += done > 0 ? (size_t)done : 0;
	if (n && side->sent == side->to_send)
		assert_int_equal(shutdown(side->fd, SHUT_WR), 0);
	if (side->ended || some(3) == 0)
		return;
	done = recv(side->fd, data, 1 + some(side->read_max), MSG_DONTWAIT);
	for (ssize_t i = 0; i < done; i++)
		assert_int_equal(data[i], pattern(side->received + (size_t)i));
	side->received += done > 0 ? (size_t)done : 0;
	side->ended = done == 0;
}

/* Sizes, speeds and ends by chance, both ways at once. */
static void random_transfers(enum relay_engine engine)
{
	for (int i = 0; i < 100; i++) {
		const struct conf_relay_tuning tuning = {.sockmap = true, .chat_messages = 2};
		struct side sides[2];

		if (engine == RELAY_ENGINE_AUTO)
			bench_need_sockmap();
		bench_need_sockmap();
		bench_connect();
		bench_relay(engine, &tuning);
		for (int k = 0; k < 2; k++)
			sides[k] = (struct side){.fd = k ? bench.origin : bench.client,
						 .to_send = 1 + some(1 << some(22)),
						 .read_max = (size_t)1 << some(17)};
		for (int turns = 0; !sides[0].ended || !sides[1].ended; turns++) {
			assert_in_range(turns, 0, 10000000);
			side_act(&sides[some(2)]);
			assert_int_equal(loop_run_once(bench.loop, 0), 0);
		}
		assert_int_equal(sides[0].received, sides[1].to_send);
		assert_int_equal(sides[1].received, sides[0].to_send);
		turn_until(bench.verdict == RELAY_OVER);
		assert_int_equal(bench.relay.up.delivered_bytes, sides[0].to_send);
		assert_int_equal(bench.relay.down.delivered_bytes, sides[1].to_send);
		bench_stop();
	}
	assert_int_equal(stats_sum(STAT_RELAY_MISMATCHES), 0);
	assert_null(relay_sockmap_why_not());
}

static void test_random_transfers(void **state)
{
	(void)state;
	random_transfers(RELAY_ENGINE_SOCKMAP);
}

static void test_random_transfers_auto(void **state)
{
	(void)state;
	random_transfers(RELAY_ENGINE_AUTO);
}

/* ---- the watchdog: last, since each turns sockmap off ---- */

static void test_difference_at_the_end_turns_it_off(void **state)
{
	uint64_t mismatches = stats_sum(STAT_RELAY_MISMATCHES);

	(void)state;
	start_in_sockmap();
	message(bench.client, bench.origin, "right");
	assert_int_equal(send(bench.b.watch.fd, "wrong", 5, 0), 5);
	expect_text(bench.origin, "wrong");
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	expect_end(bench.origin);
	assert_int_equal(stats_sum(STAT_RELAY_MISMATCHES), mismatches + 1);
	assert_non_null(relay_sockmap_why_not());
	assert_non_null(relay_sockmap_take_alarm());
	assert_null(relay_sockmap_take_alarm());
	bench_stop();
	bench_connect();
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	chat(2);
	expect_copied("the byte counts of a stream differed at its end");
	bench_stop();
	bench_finish();
}

/* The map is made to say that more was handed over than ever comes out. */
static void test_stall_breaks_the_stream_and_turns_it_off(void **state)
{
	volatile struct splice_dir *dirs;

	(void)state;
	start_in_sockmap();
	message(bench.client, bench.origin, "hello");
	dirs = bench_map_dirs();
	assert_int_equal(dirs[0].redirected_bytes, 5);
	dirs[0].redirected_bytes += 3;
	bench_unmap_dirs(dirs);
	turn_until(bench.verdict == RELAY_BROKE);
	assert_int_equal(bench.reason, CLOSE_INTERNAL);
	assert_int_equal(stats_sum(STAT_RELAY_SOCKMAP_STALLS), 1);
	assert_string_equal(relay_sockmap_why_not(), "a stream stood still in it");
	bench_stop();
	bench_finish();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bytes_that_wait_on_both_sides),
	    cmocka_unit_test(test_bytes_read_in_part_before),
	    cmocka_unit_test(test_end_before_the_insert),
	    cmocka_unit_test(test_bare_end_before_the_insert),
	    cmocka_unit_test(test_bare_end_leaves_the_other_direction),
	    cmocka_unit_test(test_end_right_behind_many_bytes),
	    cmocka_unit_test(test_reader_that_stalls_is_bounded_and_gets_all),
	    cmocka_unit_test(test_passed_bytes_wait_for_redirected_ones),
	    cmocka_unit_test(test_leaving_waits_until_nothing_is_under_way),
	    cmocka_unit_test(test_messages_wake_nobody),
	    cmocka_unit_test(test_nothing_moves_later_than_the_loops_now),
	    cmocka_unit_test(test_random_transfers),
	    cmocka_unit_test(test_random_transfers_auto),
	    cmocka_unit_test(test_difference_at_the_end_turns_it_off),
	    cmocka_unit_test(test_stall_breaks_the_stream_and_turns_it_off),
	};

	return cmocka_run_group_tests(tests, NULL, bench_group_done);
}
