/* SPDX-License-Identifier: Apache-2.0 */
/* Pools, retries and reloads over loopback, without TLS. */
#include <string.h>
#include <unistd.h>

#include "rig.h"

static void test_released_connection_is_used_again(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish first, second;

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &first);
	assert_non_null(first.conn);
	assert_false(first.conn->reused);
	origin_release(first.conn);
	rig_acquire(&fixture, view, &second);
	assert_ptr_equal(second.conn, first.conn);
	assert_true(second.conn->reused);
	origin_discard(second.conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* The server has closed, or said something, and the loop has not told yet. */
static void test_closed_connection_is_not_given_to_whoever_must_not_fail(void **state)
{
	(void)state;
	for (int says = 0; says < 2; says++) {
		struct fixture fixture;
		struct origin_view *view;
		struct wish wish;
		int server, fd;

		rig_setup(&fixture, 1);
		view = rig_view(&fixture);
		rig_acquire(&fixture, view, &wish);
		server = await_accept(fixture.listeners[0]);
		origin_release(wish.conn);
		/* One that is alive is used again. */
		wish = (struct wish){.request = {.on_ready = rig_on_ready, .must_be_alive = true}};
		origin_acquire(origin_view_get(view, &fixture.origin), &wish.request);
		assert_int_equal(wish.answers, 1);
		assert_true(wish.conn->reused);
		fd = wish.conn->io.watch.fd;
		origin_release(wish.conn);
		if (says)
			assert_int_equal(send(server, "x", 1, MSG_NOSIGNAL), 1);
		else
			close(server);
		await_readable(fd);
		wish = (struct wish){.request = {.on_ready = rig_on_ready, .must_be_alive = true}};
		origin_acquire(origin_view_get(view, &fixture.origin), &wish.request);
		rig_await(&fixture, &wish);
		assert_non_null(wish.conn);
		assert_false(wish.conn->reused);
		origin_discard(wish.conn);
		if (says)
			close(server);
		origin_view_free(view);
		rig_teardown(&fixture);
	}
}

static void test_pool_survives_a_reload_but_not_the_origin(void **state)
{
	struct fixture fixture;
	struct origin_view *view, *next;
	struct wish wish;
	struct origin_conn *kept;

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	kept = wish.conn;
	origin_release(kept);
	next = rig_view(&fixture);
	origin_view_free(view);
	rig_acquire(&fixture, next, &wish);
	assert_ptr_equal(wish.conn, kept);
	origin_release(kept);
	fixture.origin.identity = "o2";
	view = rig_view(&fixture);
	origin_view_free(next);
	rig_acquire(&fixture, view, &wish);
	assert_false(wish.conn->reused);
	/* Taken before its origin goes, given back after. */
	origin_view_free(view);
	origin_release(wish.conn);
	rig_teardown(&fixture);
}

static void test_connection_closed_by_the_server_leaves_the_pool(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	int fd;

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	fd = wish.conn->io.watch.fd;
	origin_release(wish.conn);
	close(await_accept(fixture.listeners[0]));
	await_readable(fd);
	rig_turn(&fixture, 3);
	rig_acquire(&fixture, view, &wish);
	assert_false(wish.conn->reused);
	origin_discard(wish.conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_pool_keeps_no_more_than_max_idle(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[3], again[3];

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	for (int i = 0; i < 3; i++)
		rig_acquire(&fixture, view, &wishes[i]);
	for (int i = 0; i < 3; i++)
		origin_release(wishes[i].conn);
	for (int i = 0; i < 3; i++) {
		rig_acquire(&fixture, view, &again[i]);
		assert_int_equal(again[i].conn->reused, i < 2);
	}
	for (int i = 0; i < 3; i++)
		origin_discard(again[i].conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_idle_connection_expires(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	ssize_t n = -1;
	char byte;
	int server;

	(void)state;
	rig_setup(&fixture, 1);
	fixture.origin.keepalive_ms = 20;
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	server = await_accept(fixture.listeners[0]);
	origin_release(wish.conn);
	for (int tries_left = 1000; tries_left > 0 && n < 0; tries_left--) {
		rig_turn(&fixture, 1);
		n = recv(server, &byte, 1, MSG_DONTWAIT);
	}
	assert_int_equal(n, 0);
	close(server);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_refusing_server_is_followed_by_the_next(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;

	(void)state;
	rig_setup(&fixture, 3);
	close(fixture.listeners[0]);
	close(fixture.listeners[1]);
	fixture.listeners[0] = fixture.listeners[1] = 0;
	view = rig_view(&fixture);
	for (int i = 0; i < 6; i++) {
		rig_acquire(&fixture, view, &wish);
		assert_non_null(wish.conn);
		origin_discard(wish.conn);
	}
	close(fixture.listeners[2]);
	fixture.listeners[2] = 0;
	rig_acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_REFUSED);
	assert_non_null(strstr(wish.detail, "Connection refused"));
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* A listener whose queue is full answers no SYN. */
static void test_hanging_server_times_out(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	int fillers[4];

	(void)state;
	rig_setup(&fixture, 1);
	fixture.origin.connect_timeout_ms = 50;
	close(fixture.listeners[0]);
	fixture.listeners[0] = rig_listen(&fixture.servers[0].addr, 0);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], &fixture.servers[0].addr.sa, fixture.servers[0].addr.len);
	}
	await_readable(fixture.listeners[0]);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_CONNECT_TIMEOUT);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_cancelled_wish_gets_no_answer(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish = {.request.on_ready = rig_on_ready};

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	origin_acquire(origin_view_get(view, &fixture.origin), &wish.request);
	if (!wish.answers) {
		origin_cancel(&wish.request);
		assert_int_equal(loop_run_once(fixture.loop, 20), 0);
		assert_int_equal(wish.answers, 0);
	}
	origin_cancel(&wish.request);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_weights_are_shared_out_smoothly(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	int taken[2] = {0};

	(void)state;
	rig_setup(&fixture, 2);
	fixture.servers[0].weight = 3;
	fixture.servers[1].weight = 1;
	view = rig_view(&fixture);
	for (int i = 0; i < 8; i++) {
		char text[ADDR_TEXT_MAX];

		rig_acquire(&fixture, view, &wish);
		addr_format(&fixture.servers[0].addr, text);
		taken[strcmp(text, wish.conn->server_text) != 0]++;
		origin_discard(wish.conn);
	}
	assert_int_equal(taken[0], 6);
	assert_int_equal(taken[1], 2);
	origin_view_free(view);
	rig_teardown(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_released_connection_is_used_again),
	    cmocka_unit_test(test_closed_connection_is_not_given_to_whoever_must_not_fail),
	    cmocka_unit_test(test_pool_survives_a_reload_but_not_the_origin),
	    cmocka_unit_test(test_connection_closed_by_the_server_leaves_the_pool),
	    cmocka_unit_test(test_pool_keeps_no_more_than_max_idle),
	    cmocka_unit_test(test_idle_connection_expires),
	    cmocka_unit_test(test_refusing_server_is_followed_by_the_next),
	    cmocka_unit_test(test_hanging_server_times_out),
	    cmocka_unit_test(test_cancelled_wish_gets_no_answer),
	    cmocka_unit_test(test_weights_are_shared_out_smoothly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
