/* SPDX-License-Identifier: Apache-2.0 */
/* What a right text becomes: every key of streams, their origins, and how a match is written. */
#include "snapshot.h"

#include <string.h>

static void test_streams(void **state)
{
	static const char text[] =
	    "listeners:\n"
	    "  - {bind: \":1\", routes: [{to: \"tcp://192.0.2.1:1\"}]}\n"
	    "  - {bind: \":2\", routes: [{to: \"tls://192.0.2.1:1\", relay: pipe}]}\n"
	    "  - {bind: \":3\", routes: [{to: o}]}\n"
	    "  - {bind: \":4\", routes: [{pass: \"tcp://192.0.2.1:1\"}]}\n"
	    "  - {bind: \":5\", routes: [{to: \"https://192.0.2.1:1\"}]}\n"
	    "origins: {o: {servers: [\"192.0.2.1:1\"], protocol: tcp, tls: on}}\n";
	struct conf *conf = parse(text);
	const struct conf_route *routes[5];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(routes); i++) {
		routes[i] = &conf->listeners[i].routes[0];
		assert_int_equal(routes[i]->lane, i == 3 ? CONF_LANE_SPLICE : CONF_LANE_TERMINATE);
		assert_int_equal(conf_route_is_stream(routes[i]), i != 4);
	}
	assert_null(routes[0]->origin->tls);
	assert_non_null(routes[1]->origin->tls);
	assert_true(routes[1]->origin->tls->verify);
	assert_string_equal(routes[1]->origin->name, "tls://192.0.2.1:1");
	assert_int_equal(routes[1]->relay, CONF_RELAY_PIPE);
	/* What is within is not HTTP, so its name is not offered. */
	assert_int_equal(routes[1]->origin->tls->n_alpn, 0);
	assert_int_equal(routes[2]->origin->tls->n_alpn, 0);
	assert_int_equal(routes[4]->origin->tls->n_alpn, 1);
	assert_string_equal(routes[4]->origin->tls->alpn[0], "http/1.1");
	assert_ptr_equal(routes[3]->origin, routes[0]->origin);
	conf_unref(conf);
}

static void test_streams_globals(void **state)
{
	struct conf *conf = parse(streams);

	(void)state;
	assert_int_equal(conf->relay.bulk_bytes, 1 << 20);
	assert_int_equal(conf->relay.chat_messages, 5);
	assert_int_equal(conf->relay.chat_max_bytes, 100);
	assert_int_equal(conf->relay.sockmap_window_bytes, 65536);
	assert_false(conf->relay.sockmap);
	assert_int_equal(conf->log_interval_s, 2);
	assert_string_equal(conf->dns_servers, "192.0.2.53,2001:db8::53,192.0.2.54:5353");
	conf_unref(conf);
}

/* A range is as if each of its ports stood there. */
static void test_streams_binds(void **state)
{
	static const char *const wanted[] = {"[2001:db8::1]:8000", "[2001:db8::1]:8001",
					     "[2001:db8::1]:8002", "unix:/run/db.sock"};
	struct conf *conf = parse(streams);
	const struct conf_listener *listener = conf->listeners;

	(void)state;
	assert_string_equal(listener->name, "[2001:db8::1]:8000-8002");
	assert_int_equal(listener->n_binds, ARRAY_LEN(wanted));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
		check_addr(&listener->binds[i], wanted[i]);
		assert_string_equal(listener->bind_texts[i], wanted[i]);
	}
	assert_int_equal(listener->n_bind_items, 2);
	assert_string_equal(listener->bind_items[0], listener->name);
	assert_string_equal(listener->bind_items[1], "unix:/run/db.sock");
	check_mark(listener->bind_marks[2], 5, 12);
	check_mark(listener->bind_marks[3], 5, 39);
	conf_unref(conf);
}

static void test_largest_range(void **state)
{
	struct conf *conf = parse("listeners: [{bind: \"127.0.0.1:64512-65535\", "
				  "routes: [{pass: \"tcp://127.0.0.1:1\"}]}]\n");

	(void)state;
	assert_int_equal(conf->listeners[0].n_binds, 1024);
	check_addr(&conf->listeners[0].binds[1023], "127.0.0.1:65535");
	conf_unref(conf);
}

static void test_streams_listener(void **state)
{
	struct conf *conf = parse(streams);
	const struct conf_listener *listener = conf->listeners;

	(void)state;
	assert_int_equal(listener->proxy_from.n_nets, 1);
	check_net(&listener->proxy_from, 0, "192.0.2.200", 32);
	assert_int_equal(listener->allow.n_nets, 2);
	check_net(&listener->allow, 0, "192.0.2.0", 24);
	check_net(&listener->allow, 1, "2001:db8::", 33);
	assert_int_equal(listener->deny.n_nets, 1);
	check_net(&listener->deny, 0, "192.0.2.66", 31);
	assert_int_equal(listener->limits.total_rate_per_s, 1000);
	assert_int_equal(listener->limits.connections, 7);
	assert_int_equal(listener->limits.rate_per_s, 5);
	check_socket(&listener->socket, &(struct conf_socket){.keepalive_idle_s = 60,
							      .keepalive_interval_s = 10,
							      .keepalive_count = 3,
							      .user_timeout_ms = 3000,
							      .receive_buffer_bytes = 65536,
							      .send_buffer_bytes = 1 << 20,
							      .fast_open = true,
							      .defer_accept_s = 2,
							      .backlog = 9});
	conf_unref(conf);
}

static void test_streams_routes(void **state)
{
	struct conf *conf = parse(streams);
	const struct conf_route *routes = conf->listeners[0].routes;

	(void)state;
	assert_int_equal(routes[0].n_alpn, 2);
	assert_string_equal(routes[0].alpn[0], "h2");
	assert_string_equal(routes[0].alpn[1], "http/1.1");
	check_net(&routes[0].sources, 0, "192.0.2.64", 26);
	check_net(&routes[0].destinations, 0, "::", 0);
	assert_int_equal(routes[0].relay, CONF_RELAY_SOCKMAP);
	assert_int_equal(routes[0].bandwidth_bytes_per_s, 1 << 20);
	assert_int_equal(routes[0].route_bandwidth_bytes_per_s, 10 << 20);
	assert_string_equal(routes[1].origin->name, "tcp://db.example.com:5432");
	assert_true(routes[1].origin->servers[0].is_name);
	conf_unref(conf);
}

static void check_match(const struct conf_route *route, const char *wanted)
{
	char text[CONF_MATCH_TEXT_MAX];

	assert_string_equal(conf_route_format_match(route, text), wanted);
}

static void test_match_in_words(void **state)
{
	struct conf *conf = parse(streams), *lanes = parse(three_lanes);

	(void)state;
	check_match(&conf->listeners[0].routes[0],
		    "sni a alpn h2,http/1.1 source 192.0.2.64/26 destination ::/0");
	check_match(&conf->listeners[0].routes[1], "any");
	check_match(&lanes->listeners[0].routes[2], "host www.example.com path /Api");
	conf_unref(conf);
	conf_unref(lanes);
}

/* Of any length, to the byte where it begins to be cut. */
static void test_long_match_is_cut(void **state)
{
	const size_t fits = CONF_MATCH_TEXT_MAX - sizeof("…") - strlen("path ");
	char path[2 * CONF_MATCH_TEXT_MAX], text[CONF_MATCH_TEXT_MAX];
	struct conf_route route = {.path = path};

	(void)state;
	memset(path, 'a', sizeof(path));
	path[fits] = 0;
	assert_int_equal(strlen(conf_route_format_match(&route, text)), strlen("path ") + fits);
	assert_null(strstr(text, "…"));
	path[fits] = 'a';
	path[fits + 1] = 0;
	assert_int_equal(strlen(conf_route_format_match(&route, text)), sizeof(text) - 1);
	assert_string_equal(text + sizeof(text) - sizeof("a…"), "a…");
	path[fits + 1] = 'a';
	path[sizeof(path) - 1] = 0;
	assert_int_equal(strlen(conf_route_format_match(&route, text)), sizeof(text) - 1);
}

static void test_streams_servers(void **state)
{
	struct conf *conf = parse(streams);
	const struct conf_server *servers = conf->origins[0]->servers;

	(void)state;
	assert_true(servers[0].is_name);
	assert_string_equal(servers[0].text, "DB1.example.com:5432");
	assert_string_equal(servers[0].host, "db1.example.com");
	assert_int_equal(servers[0].addr.len, 0); /* nothing to connect to */
	assert_int_equal(addr_port(&servers[0].addr), 5432);
	assert_true(servers[0].is_backup);
	assert_int_equal(servers[0].max_connections, 8);
	assert_false(servers[1].is_name);
	assert_false(servers[1].is_backup);
	conf_unref(conf);
}

static void test_streams_origin(void **state)
{
	struct conf *conf = parse(streams);
	const struct conf_origin *db = conf->origins[0];

	(void)state;
	assert_int_equal(db->balance, CONF_BALANCE_MAGLEV);
	assert_int_equal(db->max_connections, 10);
	assert_int_equal(db->queue, 11);
	assert_int_equal(db->queue_timeout_ms, 12000);
	assert_int_equal(db->retries, 0);
	check_addr(&db->source, "192.0.2.1:0");
	assert_int_equal(db->slow_start_ms, 13000);
	assert_int_equal(db->proxy_protocol, CONF_PROXY_PROTOCOL_V2);
	check_socket(&db->socket, &(struct conf_socket){.keepalive_idle_s = 14,
							.keepalive_interval_s = 15,
							.keepalive_count = 16,
							.fast_open = true});
	conf_unref(conf);
}

static void test_streams_health(void **state)
{
	struct conf *conf = parse(streams);
	const struct conf_health *health = &conf->origins[0]->health;

	(void)state;
	assert_int_equal(health->check, CONF_CHECK_TLS);
	assert_int_equal(health->send_len, 6);
	assert_memory_equal(health->send, "PING\r\n", 7);
	assert_int_equal(health->expect_len, 8);
	assert_memory_equal(health->expect, "+PONG\0\\\377", 9);
	assert_int_equal(health->interval_ms, 1000);
	assert_int_equal(health->timeout_ms, 500);
	assert_int_equal(health->rise, 4);
	assert_int_equal(health->fall, 5);
	assert_int_equal(health->eject_failures, 6);
	assert_int_equal(health->eject_ms, 7000);
	assert_int_equal(health->eject_max_percent, 8);
	assert_int_equal(health->panic_percent, 9);
	conf_unref(conf);
}

/* A mapping gives what it leaves out, off nothing. */
static void test_switched_mappings(void **state)
{
	struct conf *conf =
	    parse("origins: {o: {servers: [\"192.0.2.1:1\"], health: {eject: off},\n"
		  "  socket: {keepalive: {count: 5}}}, p: {servers: [\"192.0.2.1:1\"],\n"
		  "  health: {eject: {max: 9%}}, socket: {keepalive: off}}}\n"
		  "listeners: [{bind: \":1\", routes: [{sni: a, pass: o}, {pass: p}]}]\n");

	(void)state;
	assert_int_equal(conf->origins[0]->health.eject_failures, 0);
	assert_int_equal(conf->origins[0]->health.eject_ms, 0);
	check_socket(&conf->origins[0]->socket, &(struct conf_socket){.keepalive_idle_s = 60,
								      .keepalive_interval_s = 10,
								      .keepalive_count = 5});
	assert_int_equal(conf->origins[1]->health.eject_failures, 5);
	assert_int_equal(conf->origins[1]->health.eject_max_percent, 9);
	check_socket(&conf->origins[1]->socket, &(struct conf_socket){0});
	conf_unref(conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_streams),	     cmocka_unit_test(test_streams_globals),
	    cmocka_unit_test(test_streams_binds),    cmocka_unit_test(test_largest_range),
	    cmocka_unit_test(test_streams_listener), cmocka_unit_test(test_streams_routes),
	    cmocka_unit_test(test_match_in_words),   cmocka_unit_test(test_long_match_is_cut),
	    cmocka_unit_test(test_streams_servers),  cmocka_unit_test(test_streams_origin),
	    cmocka_unit_test(test_streams_health),   cmocka_unit_test(test_switched_mappings),
	};

	return cmocka_run_group_tests_name("conf snapshots of streams", tests, NULL, NULL);
}
