/* SPDX-License-Identifier: Apache-2.0 */
/* Pools, retries and reloads over loopback, without TLS. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "origin/origin.h"

#define MAX_SERVERS 4

struct fixture {
	struct loop *loop;
	struct origin_table *table;
	struct conf conf;
	struct conf_origin origin;
	struct conf_origin *origins[1];
	struct conf_server servers[MAX_SERVERS];
	struct tls_client_ctx *contexts[1];
	int listeners[MAX_SERVERS];
};

struct wish {
	struct origin_request request;
	struct origin_conn *conn;
	enum close_reason reason;
	int answers;
	char detail[256];
};

static int listen_anywhere(struct addr *ret_addr, int backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(struct sockaddr_in)};

	assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, &addr.sa, &addr.len), 0);
	*ret_addr = addr;
	return fd;
}

static void setup(struct fixture *fixture, size_t n_servers)
{
	*fixture = (struct fixture){.loop = loop_new()};
	assert_non_null(fixture->loop);
	fixture->table = origin_table_new(fixture->loop);
	assert_non_null(fixture->table);
	for (size_t i = 0; i < n_servers; i++)
		fixture->listeners[i] = listen_anywhere(&fixture->servers[i].addr, 16);
	fixture->origin = (struct conf_origin){.name = "o",
					       .identity = "o1",
					       .servers = fixture->servers,
					       .n_servers = n_servers,
					       .connect_timeout_ms = 50,
					       .keepalive_ms = 1000,
					       .max_idle = 2};
	fixture->origins[0] = &fixture->origin;
	fixture->conf.origins = fixture->origins;
	fixture->conf.n_origins = 1;
}

static void teardown(struct fixture *fixture)
{
	origin_table_free(fixture->table);
	loop_free(fixture->loop);
	for (size_t i = 0; i < MAX_SERVERS; i++)
		if (fixture->listeners[i])
			close(fixture->listeners[i]);
}

static struct origin_view *view_new(struct fixture *fixture)
{
	struct origin_view *view =
	    origin_view_new(fixture->table, &fixture->conf, fixture->contexts);

	assert_non_null(view);
	return view;
}

static void on_ready(struct origin_request *request, struct origin_conn *conn,
		     enum close_reason reason, const char *detail)
{
	struct wish *wish = container_of(request, struct wish, request);

	wish->conn = conn;
	wish->reason = reason;
	wish->answers++;
	snprintf(wish->detail, sizeof(wish->detail), "%s", detail ? detail : "");
}

static void acquire(struct fixture *fixture, struct origin_view *view, struct wish *wish)
{
	*wish = (struct wish){.request.on_ready = on_ready};
	origin_acquire(origin_view_get(view, &fixture->origin), &wish->request);
	for (int i = 0; i < 200 && !wish->answers; i++)
		assert_int_equal(loop_run_once(fixture->loop, 10), 0);
	assert_int_equal(wish->answers, 1);
}

static void test_released_connection_is_used_again(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish first, second;

	(void)state;
	setup(&fixture, 1);
	view = view_new(&fixture);
	acquire(&fixture, view, &first);
	assert_non_null(first.conn);
	assert_false(first.conn->reused);
	origin_release(first.conn);
	acquire(&fixture, view, &second);
	assert_ptr_equal(second.conn, first.conn);
	assert_true(second.conn->reused);
	origin_discard(second.conn);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_pool_survives_a_reload_but_not_the_origin(void **state)
{
	struct fixture fixture;
	struct origin_view *view, *next;
	struct wish wish;
	struct origin_conn *kept;

	(void)state;
	setup(&fixture, 1);
	view = view_new(&fixture);
	acquire(&fixture, view, &wish);
	kept = wish.conn;
	origin_release(kept);
	next = view_new(&fixture);
	origin_view_free(view);
	acquire(&fixture, next, &wish);
	assert_ptr_equal(wish.conn, kept);
	origin_release(kept);
	fixture.origin.identity = "o2";
	view = view_new(&fixture);
	origin_view_free(next);
	acquire(&fixture, view, &wish);
	assert_false(wish.conn->reused);
	/* Taken before its origin goes, given back after. */
	origin_view_free(view);
	origin_release(wish.conn);
	teardown(&fixture);
}

static void test_connection_closed_by_the_server_leaves_the_pool(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;

	(void)state;
	setup(&fixture, 1);
	view = view_new(&fixture);
	acquire(&fixture, view, &wish);
	origin_release(wish.conn);
	close(accept(fixture.listeners[0], NULL, NULL));
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	acquire(&fixture, view, &wish);
	assert_false(wish.conn->reused);
	origin_discard(wish.conn);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_pool_keeps_no_more_than_max_idle(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[3], again[3];

	(void)state;
	setup(&fixture, 1);
	view = view_new(&fixture);
	for (int i = 0; i < 3; i++)
		acquire(&fixture, view, &wishes[i]);
	for (int i = 0; i < 3; i++)
		origin_release(wishes[i].conn);
	for (int i = 0; i < 3; i++) {
		acquire(&fixture, view, &again[i]);
		assert_int_equal(again[i].conn->reused, i < 2);
	}
	for (int i = 0; i < 3; i++)
		origin_discard(again[i].conn);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_idle_connection_expires(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	char byte;
	int server;

	(void)state;
	setup(&fixture, 1);
	fixture.origin.keepalive_ms = 20;
	view = view_new(&fixture);
	acquire(&fixture, view, &wish);
	server = accept(fixture.listeners[0], NULL, NULL);
	origin_release(wish.conn);
	for (int i = 0; i < 10; i++)
		assert_int_equal(loop_run_once(fixture.loop, 10), 0);
	assert_int_equal(recv(server, &byte, 1, MSG_DONTWAIT), 0);
	close(server);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_refusing_server_is_followed_by_the_next(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;

	(void)state;
	setup(&fixture, 3);
	close(fixture.listeners[0]);
	close(fixture.listeners[1]);
	fixture.listeners[0] = fixture.listeners[1] = 0;
	view = view_new(&fixture);
	for (int i = 0; i < 6; i++) {
		acquire(&fixture, view, &wish);
		assert_non_null(wish.conn);
		origin_discard(wish.conn);
	}
	close(fixture.listeners[2]);
	fixture.listeners[2] = 0;
	acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_REFUSED);
	assert_non_null(strstr(wish.detail, "Connection refused"));
	origin_view_free(view);
	teardown(&fixture);
}

/* A listener whose queue is full answers no SYN. */
static void test_hanging_server_times_out(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	int fillers[4];

	(void)state;
	setup(&fixture, 1);
	close(fixture.listeners[0]);
	fixture.listeners[0] = listen_anywhere(&fixture.servers[0].addr, 0);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], &fixture.servers[0].addr.sa, fixture.servers[0].addr.len);
	}
	view = view_new(&fixture);
	acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_CONNECT_TIMEOUT);
	for (size_t i = 0; i < ARRAY_LEN(fillers); i++)
		close(fillers[i]);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_cancelled_wish_gets_no_answer(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish = {.request.on_ready = on_ready};

	(void)state;
	setup(&fixture, 1);
	view = view_new(&fixture);
	origin_acquire(origin_view_get(view, &fixture.origin), &wish.request);
	if (!wish.answers) {
		origin_cancel(&wish.request);
		assert_int_equal(loop_run_once(fixture.loop, 20), 0);
		assert_int_equal(wish.answers, 0);
	}
	origin_cancel(&wish.request);
	origin_view_free(view);
	teardown(&fixture);
}

static void test_weights_are_shared_out_smoothly(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	int taken[2] = {0};

	(void)state;
	setup(&fixture, 2);
	fixture.servers[0].weight = 3;
	fixture.servers[1].weight = 1;
	view = view_new(&fixture);
	for (int i = 0; i < 8; i++) {
		char text[ADDR_TEXT_MAX];

		acquire(&fixture, view, &wish);
		addr_format(&fixture.servers[0].addr, text);
		taken[strcmp(text, wish.conn->server_text) != 0]++;
		origin_discard(wish.conn);
	}
	assert_int_equal(taken[0], 6);
	assert_int_equal(taken[1], 2);
	origin_view_free(view);
	teardown(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_released_connection_is_used_again),
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
