/* SPDX-License-Identifier: Apache-2.0 */
/* Which server is chosen: algorithms, health, backups, ejection; and how it is connected to. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

static struct addr client(unsigned int k)
{
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000200u + k)},
	    .len = sizeof(struct sockaddr_in)};

	return addr;
}

static void test_least_connections_evens_out(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[9], extra;
	size_t counts[3] = {0};

	(void)state;
	rig_setup(&fixture, 3);
	fixture.origin.balance = CONF_BALANCE_LEAST_CONNECTIONS;
	view = rig_view(&fixture);
	for (size_t i = 0; i < 9; i++) {
		rig_acquire(&fixture, view, &wishes[i]);
		counts[rig_server_of(&fixture, wishes[i].conn)]++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(counts[i], 3);
	/* Who has fewest gets the next, whatever came before. */
	for (size_t i = 0; i < 3; i++) {
		size_t server = rig_server_of(&fixture, wishes[i].conn);

		origin_discard(wishes[i].conn);
		rig_acquire(&fixture, view, &extra);
		assert_int_equal(rig_server_of(&fixture, extra.conn), server);
		wishes[i].conn = extra.conn;
	}
	for (size_t i = 0; i < 9; i++)
		origin_discard(wishes[i].conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void stays_by_source(enum conf_balance balance)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *gone;
	size_t first[64], seen = 0, n_moved = 0;

	rig_setup(&fixture, 4);
	fixture.origin.balance = balance;
	view = rig_view(&fixture);
	for (unsigned int k = 0; k < 64; k++) {
		struct addr addr = client(k);

		first[k] = rig_visit(&fixture, view, &addr);
		seen |= (size_t)1 << first[k];
		assert_int_equal(rig_visit(&fixture, view, &addr), first[k]);
	}
	assert_int_equal(seen, 15);
	gone = rig_shared(&fixture, 2);
	server_set_drained(gone, true);
	for (unsigned int k = 0; k < 64; k++) {
		struct addr addr = client(k);
		size_t server = rig_visit(&fixture, view, &addr);

		assert_int_not_equal(server, 2);
		n_moved += first[k] != 2 && server != first[k];
	}
	assert_in_range(n_moved, 0, balance == CONF_BALANCE_MAGLEV ? 4 : 0);
	server_set_drained(gone, false);
	for (unsigned int k = 0; k < 64; k++) {
		struct addr addr = client(k);

		assert_int_equal(rig_visit(&fixture, view, &addr), first[k]);
	}
	server_unref(gone);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_source_hash_and_maglev_stay(void **state)
{
	(void)state;
	stays_by_source(CONF_BALANCE_SOURCE_HASH);
	stays_by_source(CONF_BALANCE_MAGLEV);
}

static void test_nobodys_source_is_spread(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	size_t seen = 0;

	(void)state;
	rig_setup(&fixture, 2);
	fixture.origin.balance = CONF_BALANCE_SOURCE_HASH;
	view = rig_view(&fixture);
	for (int i = 0; i < 64; i++)
		seen |= (size_t)1 << rig_visit(&fixture, view, NULL);
	assert_int_equal(seen, 3);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_each_server_has_its_own_pool(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	struct server *shared;

	(void)state;
	rig_setup(&fixture, 2);
	view = rig_view(&fixture);
	for (int i = 0; i < 8; i++) {
		rig_acquire(&fixture, view, &wish);
		assert_int_equal(wish.conn->reused, i >= 2);
		origin_release(wish.conn);
	}
	/* A server that is down serves nobody from the pool either. */
	shared = rig_shared(&fixture, 0);
	server_set_checked(shared, false, 0);
	for (int i = 0; i < 4; i++) {
		rig_acquire(&fixture, view, &wish);
		assert_int_equal(rig_server_of(&fixture, wish.conn), 1);
		assert_true(wish.conn->reused);
		origin_release(wish.conn);
	}
	/* Nor is a connection to a drained one kept. */
	server_set_checked(shared, true, 0);
	while (true) {
		rig_acquire(&fixture, view, &wish);
		if (rig_server_of(&fixture, wish.conn) == 0)
			break;
		origin_release(wish.conn);
	}
	server_set_drained(shared, true);
	origin_release(wish.conn);
	server_set_drained(shared, false);
	while (true) {
		rig_acquire(&fixture, view, &wish);
		if (rig_server_of(&fixture, wish.conn) == 0)
			break;
		origin_release(wish.conn);
	}
	assert_false(wish.conn->reused);
	origin_discard(wish.conn);
	server_unref(shared);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_backup_stands_in(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *shared[3];

	(void)state;
	rig_setup(&fixture, 3);
	fixture.servers[1].is_backup = true;
	view = rig_view(&fixture);
	for (size_t i = 0; i < 3; i++)
		shared[i] = rig_shared(&fixture, i);
	for (int i = 0; i < 6; i++)
		assert_int_not_equal(rig_visit(&fixture, view, NULL), 1);
	server_set_checked(shared[0], false, 0);
	assert_int_equal(rig_visit(&fixture, view, NULL), 2);
	server_set_drained(shared[2], true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_visit(&fixture, view, NULL), 1);
	server_set_checked(shared[0], true, 0);
	assert_int_equal(rig_visit(&fixture, view, NULL), 0);
	/* Also for a request that no other server takes, before any check says so. */
	rig_refuse(&fixture, 0);
	assert_int_equal(rig_visit(&fixture, view, NULL), 1);
	for (size_t i = 0; i < 3; i++)
		server_unref(shared[i]);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_nobody_is_usable(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *shared[2];
	struct wish wish;

	(void)state;
	rig_setup(&fixture, 2);
	view = rig_view(&fixture);
	for (size_t i = 0; i < 2; i++)
		shared[i] = rig_shared(&fixture, i);
	server_set_checked(shared[0], false, 0);
	server_set_drained(shared[1], true);
	rig_acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_DOWN);
	assert_string_equal(wish.detail, "1 down, 1 drained");
	/* In panic those that are down are used, never those drained. */
	fixture.origin.health.panic_percent = 50;
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_visit(&fixture, view, NULL), 0);
	server_set_checked(shared[0], true, 0);
	server_set_checked(shared[1], false, 0);
	server_set_drained(shared[1], false);
	for (int i = 0; i < 3; i++) /* half of them is no panic */
		assert_int_equal(rig_visit(&fixture, view, NULL), 0);
	for (size_t i = 0; i < 2; i++)
		server_unref(shared[i]);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static uint64_t failures_of(const struct server *server)
{
	struct server_counts counts;

	server_read_counts(server, &counts);
	return counts.failures;
}

static void test_ejection_and_return(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *shared;
	struct server_counts counts;

	(void)state;
	rig_setup(&fixture, 2);
	fixture.origin.health.eject_failures = 2;
	fixture.origin.health.eject_ms = 100;
	fixture.origin.health.eject_max_percent = 50;
	rig_refuse(&fixture, 0);
	view = rig_view(&fixture);
	shared = rig_shared(&fixture, 0);
	for (int i = 0; i < 10 && failures_of(shared) < 2; i++)
		assert_int_equal(rig_visit(&fixture, view, NULL), 1);
	server_read_counts(shared, &counts);
	assert_int_equal(counts.ejections, 1);
	/* Nobody is bothered by it as long as it is out; then somebody tries again. */
	while (server_state(shared, loop_now_ms(fixture.loop)) == SERVER_EJECTED) {
		assert_int_equal(rig_visit(&fixture, view, NULL), 1);
		if (server_state(shared, loop_now_ms(fixture.loop)) == SERVER_EJECTED)
			assert_int_equal(failures_of(shared), 2);
		rig_turn(&fixture, 1);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(rig_visit(&fixture, view, NULL), 1);
	assert_in_range(failures_of(shared), 3, 4);
	server_unref(shared);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_last_servers_are_not_ejected(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *shared[2];
	struct server_counts counts[2];
	struct wish wish;

	(void)state;
	rig_setup(&fixture, 2);
	fixture.origin.health.eject_failures = 1;
	fixture.origin.health.eject_ms = 60000;
	fixture.origin.health.eject_max_percent = 99;
	rig_refuse(&fixture, 0);
	rig_refuse(&fixture, 1);
	view = rig_view(&fixture);
	for (size_t i = 0; i < 2; i++)
		shared[i] = rig_shared(&fixture, i);
	for (int i = 0; i < 5; i++) {
		rig_acquire(&fixture, view, &wish);
		assert_int_equal(wish.reason, CLOSE_ORIGIN_REFUSED);
	}
	for (size_t i = 0; i < 2; i++) {
		server_read_counts(shared[i], &counts[i]);
		server_unref(shared[i]);
	}
	assert_int_equal(counts[0].ejections + counts[1].ejections, 1);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_retries_are_bounded_and_go_elsewhere(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	uint64_t tried = 0;

	(void)state;
	rig_setup(&fixture, 4);
	for (size_t i = 0; i < 4; i++)
		rig_refuse(&fixture, i);
	fixture.origin.retries = 1;
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_REFUSED);
	for (size_t i = 0; i < 4; i++) {
		struct server *shared = rig_shared(&fixture, i);

		assert_in_range(failures_of(shared), 0, 1);
		tried += failures_of(shared);
		server_unref(shared);
	}
	assert_int_equal(tried, 2);
	fixture.origin.retries = 100;
	rig_acquire(&fixture, view, &wish);
	tried = 0;
	for (size_t i = 0; i < 4; i++) {
		struct server *shared = rig_shared(&fixture, i);

		tried += failures_of(shared);
		server_unref(shared);
	}
	assert_int_equal(tried, 6); /* each once more */
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_slow_start(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct server *shared;
	int n_returned = 0;

	(void)state;
	rig_setup(&fixture, 2);
	fixture.origin.slow_start_ms = 3600000;
	view = rig_view(&fixture);
	shared = rig_shared(&fixture, 0);
	server_set_checked(shared, false, loop_now_ms(fixture.loop));
	server_set_checked(shared, true, loop_now_ms(fixture.loop));
	for (int i = 0; i < 110; i++)
		n_returned += rig_visit(&fixture, view, NULL) == 0;
	assert_in_range(n_returned, 9, 11); /* a tenth of its weight against the whole */
	server_unref(shared);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_connections_come_from_the_source(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;
	struct addr peer = {.len = sizeof(peer.un)};
	struct server *shared;
	int fd;

	(void)state;
	rig_setup(&fixture, 1);
	assert_int_equal(addr_parse_host(STR("127.0.0.77"), &fixture.origin.source), 0);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	assert_non_null(wish.conn);
	await_readable(fixture.listeners[0]);
	fd = accept(fixture.listeners[0], &peer.sa, &peer.len);
	assert_int_equal(peer.in.sin_addr.s_addr, htonl(0x7f00004d));
	close(fd);
	origin_discard(wish.conn);
	/* TEST-NET-2 is nowhere; the server is not to blame. */
	assert_int_equal(addr_parse_host(STR("198.51.100.99"), &fixture.origin.source), 0);
	rig_acquire(&fixture, view, &wish);
	assert_null(wish.conn);
	assert_int_equal(wish.reason, CLOSE_OUT_OF_DESCRIPTORS);
	shared = rig_shared(&fixture, 0);
	assert_int_equal(failures_of(shared), 0);
	assert_int_equal(server_load(shared), 0);
	server_unref(shared);
	/* Of another family than the server: left to the host. */
	assert_int_equal(addr_parse_host(STR("2001:db8::1"), &fixture.origin.source), 0);
	assert_int_equal(rig_visit(&fixture, view, NULL), 0);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static unsigned int option_of(const struct origin_conn *conn, int level, int option)
{
	unsigned int value = 0;
	socklen_t len = sizeof(value);

	assert_int_equal(getsockopt(conn->io.watch.fd, level, option, &value, &len), 0);
	return value;
}

static void test_socket_options(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish;

	(void)state;
	rig_setup(&fixture, 1);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	assert_int_equal(option_of(wish.conn, SOL_SOCKET, SO_KEEPALIVE), 0);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_NODELAY), 1);
	origin_discard(wish.conn);
	fixture.origin.socket = (struct conf_socket){.keepalive_idle_s = 11,
						     .keepalive_interval_s = 12,
						     .keepalive_count = 3,
						     .user_timeout_ms = 14000,
						     .receive_buffer_bytes = 130000,
						     .send_buffer_bytes = 150000,
						     .fast_open = true};
	rig_acquire(&fixture, view, &wish);
	assert_int_equal(option_of(wish.conn, SOL_SOCKET, SO_KEEPALIVE), 1);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_KEEPIDLE), 11);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_KEEPINTVL), 12);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_KEEPCNT), 3);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_USER_TIMEOUT), 14000);
	assert_int_equal(option_of(wish.conn, SOL_SOCKET, SO_RCVBUF), 130000);
	assert_int_equal(option_of(wish.conn, SOL_SOCKET, SO_SNDBUF), 150000);
	/* Whoever may wait for the server to speak must not hold back the SYN. */
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 0);
	origin_discard(wish.conn);
	wish = (struct wish){.request = {.on_ready = rig_on_ready, .writes_first = true}};
	origin_acquire(origin_view_get(view, &fixture.origin), &wish.request);
	rig_await(&fixture, &wish);
	assert_int_equal(option_of(wish.conn, IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
	origin_discard(wish.conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_least_connections_evens_out),
	    cmocka_unit_test(test_source_hash_and_maglev_stay),
	    cmocka_unit_test(test_nobodys_source_is_spread),
	    cmocka_unit_test(test_each_server_has_its_own_pool),
	    cmocka_unit_test(test_backup_stands_in),
	    cmocka_unit_test(test_nobody_is_usable),
	    cmocka_unit_test(test_ejection_and_return),
	    cmocka_unit_test(test_last_servers_are_not_ejected),
	    cmocka_unit_test(test_retries_are_bounded_and_go_elsewhere),
	    cmocka_unit_test(test_slow_start),
	    cmocka_unit_test(test_connections_come_from_the_source),
	    cmocka_unit_test(test_socket_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
