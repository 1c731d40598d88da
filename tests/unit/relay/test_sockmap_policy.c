/* SPDX-License-Identifier: Apache-2.0 */
/* Which streams go into the sockmap, when they come back, and which sockets cannot be in it. Needs
 * root. */
#include "bench.h"

#include <bpf/bpf.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "penstock/abi.h"
#include "relay/relay_internal.h"
#include "stats/stats.h"

static void start_auto(void)
{
	const struct conf_relay_tuning tuning = {
	    .sockmap = true, .chat_messages = 5, .bulk_bytes = 65536};

	bench_need_sockmap();
	bench_connect();
	bench_relay(RELAY_ENGINE_AUTO, &tuning);
}

static void test_chat_goes_in_and_bulk_comes_back(void **state)
{
	uint64_t left = stats_sum(STAT_RELAY_SOCKMAP_LEFT);

	(void)state;
	start_auto();
	chat(3);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	chat(3);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_SOCKMAP);
	chat(20);
	/* Nobody reads, so the receiver lags. */
	for (int i = 0; i < 50 && bench.relay.sockmap; i++) {
		transfer(bench.client, bench.origin, 4 << 20, 30000);
		transfer(bench.origin, bench.client, 4 << 20, 30000);
	}
	assert_null(bench.relay.sockmap);
	assert_int_equal(stats_sum(STAT_RELAY_SOCKMAP_LEFT), left + 1);
	bench_expect_no_entries();
	transfer(bench.client, bench.origin, 4 << 20, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	/* It has to prove more than before. */
	chat(6);
	assert_null(bench.relay.sockmap);
	assert_int_equal(shutdown(bench.client, SHUT_WR), 0);
	expect_end(bench.origin);
	assert_int_equal(shutdown(bench.origin, SHUT_WR), 0);
	expect_end(bench.client);
	turn_until(bench.verdict == RELAY_OVER);
	assert_int_equal(bench.relay.up.received_bytes, bench.relay.up.delivered_bytes);
	bench_stop();
}

/* A stream that says nothing holds no place in the map, and comes back as easily as it came. */
static void test_idle_stream_leaves(void **state)
{
	volatile struct splice_dir *dirs = NULL;

	(void)state;
	start_auto();
	chat(6);
	assert_non_null(bench.relay.sockmap);
	bench.relay.sockmap->looked_ms = 0; /* a look is due, and finds that something was said */
	bench.relay.on_wake(&bench.relay);
	turn(5);
	assert_non_null(bench.relay.sockmap);
	dirs = bench_map_dirs();
	bench.relay.sockmap->looked_ms = 0;
	bench.relay.sockmap->active_ms = 0;
	dirs[0].active_ns = 0;
	dirs[1].active_ns = 0;
	bench.relay.on_wake(&bench.relay);
	turn_until(bench.relay.sockmap == NULL);
	bench_unmap_dirs(dirs);
	bench_expect_no_entries();
	assert_string_equal(bench.relay.up.engine_reason, "too little is said for the sockmap");
	chat(6);
	assert_non_null(bench.relay.sockmap);
	bench_stop();
}

static void test_tuned_off(void **state)
{
	const struct conf_relay_tuning tuning = {.sockmap = false};

	(void)state;
	bench_need_sockmap();
	bench_connect();
	bench_relay(RELAY_ENGINE_SOCKMAP, &tuning);
	chat(2);
	expect_copied("sockmap is turned off");
	bench_stop();
}

/* ---- sockets that cannot be in it ---- */

static void replace_origin(int here, int there)
{
	close(bench.origin);
	io_close(&bench.b);
	bench.origin = there;
	bench_replace_b(here);
}

static void test_unix_socket_is_copied(void **state)
{
	int pair[2];

	(void)state;
	bench_need_sockmap();
	bench_connect();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	replace_origin(pair[1], pair[0]);
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	chat(2);
	expect_copied("only plain TCP can be in a sockmap");
	bench_stop();
}

static void test_mptcp_is_copied(void **state)
{
	int here, there;

	(void)state;
	bench_need_sockmap();
	bench_connect();
	if (connect_pair_by(IPPROTO_MPTCP, &there, &here)) {
		bench_relay(RELAY_ENGINE_COPY, NULL);
		bench_stop();
		printf("this kernel has no MPTCP, or net.mptcp.enabled is 0\n");
		skip();
	}
	replace_origin(here, there);
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	chat(2);
	expect_copied("MPTCP cannot be in a sockmap");
	bench_stop();
}

static void test_socket_with_another_protocol_on_top_is_copied(void **state)
{
	(void)state;
	bench_need_sockmap();
	bench_connect();
	if (setsockopt(bench.b.watch.fd, IPPROTO_TCP, TCP_ULP, "tls", 3)) {
		bench_relay(RELAY_ENGINE_COPY, NULL);
		bench_stop();
		printf("this kernel has no tls module, or it is not loaded\n");
		skip();
	}
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	chat(2);
	expect_copied("a socket has another protocol on top");
	bench_stop();
}

static void put_in_foreign_sockmap(int fd)
{
	uint64_t key = 1, value = (uint64_t)fd;

	bench_start_foreign();
	assert_int_equal(bpf_map_update_elem(bench_foreign_src(), &key, &value, BPF_ANY), 0);
}

/* Whose verdict lets all pass: it can be read, but not spliced. */
static void test_pipe_over_a_foreign_sockmap(void **state)
{
	(void)state;
	bench_need_sockmap();
	bench_connect();
	put_in_foreign_sockmap(bench.a.watch.fd);
	bench_relay(RELAY_ENGINE_PIPE, NULL);
	message(bench.client, bench.origin, "from a socket that is in the map");
	message(bench.origin, bench.client, "and from one that is not");
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE); /* once is no proof */
	for (int i = 0; i < 3; i++)
		message(bench.client, bench.origin, "again, from the one that is");
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_string_equal(bench.relay.up.engine_reason,
			    "what comes cannot be spliced: another program's sockmap has it");
	assert_int_equal(bench.relay.down.engine, RELAY_ENGINE_PIPE);
	transfer(bench.client, bench.origin, 3 << 20, 65536);
	shutdown(bench.client, SHUT_WR);
	expect_end(bench.origin);
	shutdown(bench.origin, SHUT_WR);
	expect_end(bench.client);
	assert_int_equal(bench.verdict, RELAY_OVER);
	bench_stop();
	bench_stop_foreign();
}

static void test_socket_in_a_foreign_sockmap_is_copied(void **state)
{
	(void)state;
	bench_need_sockmap();
	bench_connect();
	put_in_foreign_sockmap(bench.a.watch.fd);
	bench_relay(RELAY_ENGINE_SOCKMAP, NULL);
	chat(2);
	expect_copied("a socket is in another program's sockmap");
	bench_stop();
	bench_stop_foreign();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_chat_goes_in_and_bulk_comes_back),
	    cmocka_unit_test(test_idle_stream_leaves),
	    cmocka_unit_test(test_tuned_off),
	    cmocka_unit_test(test_unix_socket_is_copied),
	    cmocka_unit_test(test_mptcp_is_copied),
	    cmocka_unit_test(test_socket_with_another_protocol_on_top_is_copied),
	    cmocka_unit_test(test_socket_in_a_foreign_sockmap_is_copied),
	    cmocka_unit_test(test_pipe_over_a_foreign_sockmap),
	};

	return cmocka_run_group_tests(tests, NULL, bench_group_done);
}
