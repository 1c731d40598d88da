/* SPDX-License-Identifier: Apache-2.0 */
/* Host names: addresses come, stay and go while connections are open. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "rig.h"

/* servers[0] is a name for 127.0.0.k at the port of the first listener, servers[1] an address. */
static void name_setup(struct fixture *fixture)
{
	struct addr any;
	int fd;

	rig_setup(fixture, 2);
	rig_refuse(fixture, 0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	any = (struct addr){.in = {.sin_family = AF_INET}, .len = sizeof(struct sockaddr_in)};
	assert_int_equal(bind(fd, &any.sa, any.len), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, &any.sa, &any.len), 0);
	fixture->listeners[0] = fd;
	fixture->servers[0].addr = any;
	fixture->servers[0].is_name = true;
	fixture->servers[0].host = "name.example";
}

static struct addr address(unsigned int k)
{
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000000u + k)},
	    .len = sizeof(struct sockaddr_in)};

	return addr;
}

static unsigned int peer_of(const struct origin_conn *conn)
{
	struct addr peer = {.len = sizeof(peer.un)};

	assert_int_equal(getpeername(conn->io.watch.fd, &peer.sa, &peer.len), 0);
	return ntohl(peer.in.sin_addr.s_addr) & 0xff;
}

static void update(struct fixture *fixture, const unsigned int *hosts, size_t n)
{
	struct addr addrs[8];

	for (size_t i = 0; i < n; i++)
		addrs[i] = address(hosts[i]);
	assert_int_equal(origin_table_update(fixture->table, "o1", 0, addrs, n), 0);
}

#define UPDATE(fixture, ...) \
	update(fixture, (const unsigned int[]){__VA_ARGS__}, \
	       ARRAY_LEN(((const unsigned int[]){__VA_ARGS__})))

/* Who serves the next `n` requests: a bit per last byte of the address. */
static unsigned int visit(struct fixture *fixture, struct origin_view *view, int n)
{
	unsigned int seen = 0;
	struct wish wish;

	for (int i = 0; i < n; i++) {
		rig_acquire(fixture, view, &wish);
		assert_non_null(wish.conn);
		seen |= 1u << peer_of(wish.conn);
		origin_discard(wish.conn);
	}
	return seen;
}

static void test_name_has_the_addresses_that_it_is_told(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct addr addr = address(2);
	struct wish wish;

	(void)state;
	name_setup(&fixture);
	fixture.origin.n_servers = 1;
	assert_int_equal(origin_table_update(fixture.table, "o1", 0, &addr, 1), -ENOENT);
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wish);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_DOWN);
	assert_string_equal(wish.detail, "no address of its servers is known");
	assert_int_equal(origin_table_update(fixture.table, "o1", 1, &addr, 1), -ENOENT);
	assert_int_equal(origin_table_update(fixture.table, "o2", 0, &addr, 1), -ENOENT);
	UPDATE(&fixture, 2, 3, 2);
	assert_int_equal(visit(&fixture, view, 4), 1u << 2 | 1u << 3);
	UPDATE(&fixture, 3, 4);
	assert_int_equal(visit(&fixture, view, 4), 1u << 3 | 1u << 4);
	update(&fixture, NULL, 0);
	rig_acquire(&fixture, view, &wish);
	assert_int_equal(wish.reason, CLOSE_ORIGIN_DOWN);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_other_servers_stay(void **state)
{
	struct fixture fixture;
	struct origin_view *view;

	(void)state;
	name_setup(&fixture);
	view = rig_view(&fixture);
	assert_int_equal(visit(&fixture, view, 2), 1u << 1);
	UPDATE(&fixture, 2);
	assert_int_equal(visit(&fixture, view, 2), 1u << 1 | 1u << 2);
	UPDATE(&fixture, 5, 6);
	assert_int_equal(visit(&fixture, view, 3), 1u << 1 | 1u << 5 | 1u << 6);
	/* An address that is another server's too is a server of its own. */
	UPDATE(&fixture, 1);
	assert_int_equal(visit(&fixture, view, 2), 1u << 1);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_pool_of_what_stays_is_kept(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish, held, again;
	char byte;
	int server, helds;

	(void)state;
	name_setup(&fixture);
	fixture.origin.n_servers = 1;
	view = rig_view(&fixture);
	UPDATE(&fixture, 2);
	rig_acquire(&fixture, view, &held);
	rig_acquire(&fixture, view, &wish);
	origin_release(wish.conn);
	UPDATE(&fixture, 2, 3);
	for (int i = 0; i < 2; i++) {
		rig_acquire(&fixture, view, &again);
		assert_int_equal(again.conn->reused, peer_of(again.conn) == 2);
		origin_release(again.conn);
	}
	/* 2 goes: what is idle is closed, what is in use is not, and does not come to the pool. */
	UPDATE(&fixture, 3);
	helds = await_accept(fixture.listeners[0]);
	assert_int_equal(send(held.conn->io.watch.fd, "x", 1, 0), 1);
	assert_int_equal(recv(helds, &byte, 1, 0), 1);
	server = await_accept(fixture.listeners[0]);
	assert_int_equal(recv(server, &byte, 1, 0), 0);
	close(server);
	assert_non_null(strstr(held.conn->server_text, "127.0.0.2"));
	origin_release(held.conn);
	await_readable(helds);
	assert_int_equal(recv(helds, &byte, 1, MSG_DONTWAIT), 0);
	close(helds);
	rig_acquire(&fixture, view, &again);
	assert_int_equal(peer_of(again.conn), 3);
	assert_true(again.conn->reused);
	origin_discard(again.conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* The address goes while the request is on its way to it, and while another waits. */
static void test_address_goes_under_way(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wish, waits;

	(void)state;
	name_setup(&fixture);
	fixture.origin.n_servers = 1;
	fixture.servers[0].max_connections = 1;
	fixture.origin.queue = 1;
	fixture.origin.queue_timeout_ms = 60000;
	view = rig_view(&fixture);
	UPDATE(&fixture, 2);
	rig_ask(&fixture, view, &wish, NULL);
	rig_ask(&fixture, view, &waits, NULL);
	UPDATE(&fixture, 3);
	rig_await(&fixture, &wish);
	assert_non_null(wish.conn);
	rig_await(&fixture, &waits);
	assert_int_equal(peer_of(waits.conn), 3);
	origin_discard(wish.conn);
	origin_discard(waits.conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_name_has_the_addresses_that_it_is_told),
	    cmocka_unit_test(test_other_servers_stay),
	    cmocka_unit_test(test_pool_of_what_stays_is_kept),
	    cmocka_unit_test(test_address_goes_under_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
