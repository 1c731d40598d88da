/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a right text becomes: fallbacks, every key, origins in place, identity, files, references.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"

static struct conf *parse(const char *text)
{
	struct conf_diag *diag = conf_diag_new("f");
	struct conf *conf;

	assert_non_null(diag);
	conf = conf_parse(text, strlen(text), "f", diag);
	if (!conf)
		fail_msg("%s", conf_diag_text(diag));
	conf_diag_free(diag);
	return conf;
}

static void check_addr(const struct addr *addr, const char *wanted)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(addr, text), wanted);
}

static void check_mark(struct conf_mark mark, uint32_t line, uint32_t column)
{
	assert_int_equal(mark.line, line);
	assert_int_equal(mark.column, column);
}

static void check_socket(const struct conf_socket *got, const struct conf_socket *wanted)
{
	assert_int_equal(got->keepalive_idle_s, wanted->keepalive_idle_s);
	assert_int_equal(got->keepalive_interval_s, wanted->keepalive_interval_s);
	assert_int_equal(got->keepalive_count, wanted->keepalive_count);
	assert_int_equal(got->user_timeout_ms, wanted->user_timeout_ms);
	assert_int_equal(got->receive_buffer_bytes, wanted->receive_buffer_bytes);
	assert_int_equal(got->send_buffer_bytes, wanted->send_buffer_bytes);
	assert_int_equal(got->fast_open, wanted->fast_open);
	assert_int_equal(got->defer_accept_s, wanted->defer_accept_s);
	assert_int_equal(got->backlog, wanted->backlog);
}

static void check_net(const struct conf_nets *nets, size_t i, const char *addr, uint8_t prefix_len)
{
	char text[ADDR_TEXT_MAX];

	assert_in_range(i + 1, 1, nets->n_nets);
	assert_string_equal(addr_format_host(&nets->nets[i].addr, text), addr);
	assert_int_equal(nets->nets[i].prefix_len, prefix_len);
	assert_int_equal(addr_port(&nets->nets[i].addr), 0);
}

static const char *const short_form = "listeners:\n"
				      "  - bind: \":443\"\n"
				      "    tls: {certificates: [/etc/penstock/site.pem]}\n"
				      "    routes: [{to: \"https://127.0.0.1:8200\"}]\n";

static void test_short_form(void **state)
{
	struct conf *conf = parse(short_form);
	const struct conf_listener *listener = conf->listeners;
	const struct conf_certificate *certificate = listener->tls->certificates;
	const struct conf_route *route = listener->routes;

	(void)state;
	assert_string_equal(conf->file_name, "f");
	assert_int_equal(conf->n_listeners, 1);
	check_mark(listener->mark, 2, 5);
	assert_string_equal(listener->name, ":443");
	assert_int_equal(listener->n_binds, 1);
	assert_string_equal(listener->bind_texts[0], ":443");
	check_mark(listener->bind_marks[0], 2, 11);
	check_addr(&listener->binds[0], "[::]:443");
	assert_int_equal(listener->transport, CONF_TRANSPORT_TCP);
	assert_int_equal(listener->tls->n_certificates, 1);
	assert_int_equal(listener->tls->kernel, CONF_KERNEL_TLS_AUTO);
	assert_string_equal(certificate->chain.path, "/etc/penstock/site.pem");
	check_mark(certificate->chain.mark, 3, 26);
	assert_ptr_equal(certificate->key.path, certificate->chain.path);
	assert_int_equal(listener->n_routes, 1);
	check_mark(route->mark, 4, 14);
	assert_int_equal(route->lane, CONF_LANE_TERMINATE);
	assert_null(route->sni);
	assert_null(route->host);
	assert_null(route->path);
	assert_ptr_equal(route->origin, conf->origins[0]);
	conf_unref(conf);
}

static void test_origin_in_place(void **state)
{
	struct conf *conf = parse(short_form);
	const struct conf_origin *origin = conf->origins[0];

	(void)state;
	assert_int_equal(conf->n_origins, 1);
	assert_string_equal(origin->name, "https://127.0.0.1:8200");
	assert_int_equal(origin->index, 0);
	check_mark(origin->mark, 4, 19);
	assert_int_equal(origin->n_servers, 1);
	assert_string_equal(origin->servers[0].host, "127.0.0.1");
	assert_string_equal(origin->servers[0].text, "127.0.0.1:8200");
	check_addr(&origin->servers[0].addr, "127.0.0.1:8200");
	assert_int_equal(origin->servers[0].weight, 1);
	assert_true(origin->tls->verify);
	assert_null(origin->tls->ca.path);
	assert_null(origin->tls->server_name);
	assert_int_equal(origin->tls->kernel, CONF_KERNEL_TLS_AUTO);
	assert_int_equal(origin->balance, CONF_BALANCE_ROUND_ROBIN);
	assert_int_equal(origin->connect_timeout_ms, 5000);
	assert_int_equal(origin->response_timeout_ms, 60000);
	assert_int_equal(origin->keepalive_ms, 60000);
	assert_int_equal(origin->max_idle, 32);
	assert_false(origin->servers[0].is_name);
	assert_false(origin->servers[0].is_backup);
	assert_int_equal(origin->servers[0].max_connections, 0);
	assert_int_equal(origin->max_connections, 0);
	assert_int_equal(origin->queue, 0);
	assert_int_equal(origin->queue_timeout_ms, 5000);
	assert_int_equal(origin->retries, 2);
	assert_int_equal(origin->source.len, 0);
	assert_int_equal(origin->slow_start_ms, 0);
	assert_int_equal(origin->proxy_protocol, CONF_PROXY_PROTOCOL_OFF);
	check_socket(&origin->socket, &(struct conf_socket){0});
	conf_unref(conf);
}

static void test_health_fallbacks(void **state)
{
	struct conf *conf = parse(short_form);
	const struct conf_health *health = &conf->origins[0]->health;

	(void)state;
	assert_int_equal(health->check, CONF_CHECK_OFF);
	assert_null(health->send);
	assert_null(health->expect);
	assert_int_equal(health->interval_ms, 5000);
	assert_int_equal(health->timeout_ms, 2000);
	assert_int_equal(health->rise, 2);
	assert_int_equal(health->fall, 3);
	assert_int_equal(health->eject_failures, 5);
	assert_int_equal(health->eject_ms, 10000);
	assert_int_equal(health->eject_max_percent, 50);
	assert_int_equal(health->panic_percent, 1);
	conf_unref(conf);
}

static void test_fallbacks(void **state)
{
	struct conf *conf = parse(short_form);
	const struct conf_listener *listener = conf->listeners;

	(void)state;
	assert_null(conf->user);
	assert_int_equal(conf->threads, 0);
	assert_string_equal(conf->runtime_dir, "/run/penstock");
	assert_string_equal(conf->pin_dir, "/sys/fs/bpf/penstock");
	assert_int_equal(conf->max_connections, 0);
	assert_int_equal(conf->drain_timeout_ms, 30000);
	assert_false(conf->watch_files);
	assert_true(conf->log_format_is_auto);
	assert_int_equal(conf->log_level, LOG_LEVEL_INFO);
	assert_true(conf->access_log);
	assert_int_equal(conf->steer.hook, CONF_HOOK_AUTO);
	assert_null(conf->steer.devices);
	assert_int_equal(conf->steer.n_devices, 0);
	assert_int_equal(conf->steer.nat_port_min, 61000);
	assert_int_equal(conf->steer.nat_port_max, 65535);
	assert_int_equal(conf->steer.udp_idle_s, 60);
	assert_int_equal(conf->steer.tcp_idle_s, 7200);
	assert_int_equal(listener->max_connections, 10000);
	assert_int_equal(listener->hello_timeout_ms, 5000);
	assert_int_equal(listener->handshake_timeout_ms, 10000);
	assert_int_equal(listener->request_timeout_ms, 10000);
	assert_int_equal(listener->keepalive_ms, 60000);
	assert_int_equal(listener->idle_timeout_ms, 300000);
	assert_int_equal(listener->half_closed_timeout_ms, 30000);
	assert_int_equal(listener->routes[0].relay, CONF_RELAY_AUTO);
	conf_unref(conf);
}

static void test_fallbacks_of_streams(void **state)
{
	struct conf *conf = parse(short_form);
	const struct conf_listener *listener = conf->listeners;
	const struct conf_route *route = listener->routes;

	(void)state;
	assert_null(conf->dns_servers);
	assert_int_equal(conf->log_interval_s, 0);
	assert_int_equal(conf->relay.bulk_bytes, 64 << 10);
	assert_int_equal(conf->relay.chat_messages, 8);
	assert_int_equal(conf->relay.chat_max_bytes, 16 << 10);
	assert_int_equal(conf->relay.sockmap_window_bytes, 1 << 20);
	assert_true(conf->relay.sockmap);
	assert_int_equal(
	    listener->proxy_from.n_nets + listener->allow.n_nets + listener->deny.n_nets, 0);
	assert_int_equal(listener->limits.connections, 0);
	assert_int_equal(listener->limits.rate_per_s, 0);
	assert_int_equal(listener->limits.total_rate_per_s, 0);
	check_socket(&listener->socket, &(struct conf_socket){.backlog = 4096});
	assert_int_equal(route->sources.n_nets + route->destinations.n_nets, 0);
	assert_int_equal(route->n_alpn, 0);
	assert_int_equal(route->bandwidth_bytes_per_s, 0);
	assert_int_equal(route->route_bandwidth_bytes_per_s, 0);
	conf_unref(conf);
}

static void test_every_global(void **state)
{
	struct conf *conf =
	    parse("process: {user: gate, threads: 3, runtime_dir: /run/a, pin_dir: /sys/fs/bpf/a,\n"
		  "  max_connections: 500, drain_timeout: 1500ms, watch_files: on}\n"
		  "log: {format: json, level: debug, access: off}\n"
		  "steer: {hook: tc, devices: [eth0, eth1], nat_ports: 50000-50999,\n"
		  "  udp_idle: 1500ms, tcp_idle: 1m}\n"
		  "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\"}]}]\n");

	(void)state;
	assert_string_equal(conf->user, "gate");
	assert_int_equal(conf->threads, 3);
	assert_string_equal(conf->runtime_dir, "/run/a");
	assert_string_equal(conf->pin_dir, "/sys/fs/bpf/a");
	assert_int_equal(conf->max_connections, 500);
	assert_int_equal(conf->drain_timeout_ms, 1500);
	assert_true(conf->watch_files);
	assert_false(conf->log_format_is_auto);
	assert_int_equal(conf->log_format, LOG_FORMAT_JSON);
	assert_int_equal(conf->log_level, LOG_LEVEL_DEBUG);
	assert_false(conf->access_log);
	assert_int_equal(conf->steer.hook, CONF_HOOK_TC);
	assert_int_equal(conf->steer.n_devices, 2);
	assert_string_equal(conf->steer.devices[1], "eth1");
	assert_int_equal(conf->steer.nat_port_min, 50000);
	assert_int_equal(conf->steer.nat_port_max, 50999);
	assert_int_equal(conf->steer.udp_idle_s, 2); /* never shorter than asked for */
	assert_int_equal(conf->steer.tcp_idle_s, 60);
	conf_unref(conf);
}

static void test_one_device(void **state)
{
	struct conf *conf =
	    parse("steer: {devices: eth0, udp_idle: 1s}\n"
		  "listeners: [{bind: \":80\", routes: [{to: \"http://127.0.0.1:1\"}]}]\n");

	(void)state;
	assert_int_equal(conf->steer.n_devices, 1);
	assert_string_equal(conf->steer.devices[0], "eth0");
	conf_unref(conf);
}

static const char *const three_lanes =
    "origins:\n"
    "  vault:\n"
    "    servers: [\"198.51.100.7:8200\", {address: \"[2001:db8::8]:8200\", weight: 2},\n"
    "      \"unix:/run/vault\"]\n"
    "    tls: {ca: /etc/ca.pem, server_name: Vault.example.com, verify: on, kernel: off}\n"
    "    timeouts: {connect: 1s, response: 2m, keepalive: 1h}\n"
    "    max_idle: 0\n"
    "  db: {servers: [\"192.0.2.9:5432\"]}\n"
    "listeners:\n"
    "  - name: web\n"
    "    bind: [\"192.0.2.1:443\", \"[2001:db8::1]:443\"]\n"
    "    max_connections: 7\n"
    "    timeouts: {hello: 1s, handshake: 2s, request: 3s, keepalive: 4s, idle: 5s,\n"
    "      half_closed: 6s}\n"
    "    tls:\n"
    "      certificates: [{chain: b.pem, key: c.pem}, a.pem]\n"
    "      kernel: off\n"
    "    routes:\n"
    "      - {sni: \"*.DB.example.com\", pass: db, relay: pipe}\n"
    "      - {sni: b.example, pass: \"TCP://192.0.2.9:5432\", relay: copy}\n"
    "      - {host: WWW.example.com, path: /Api, to: vault}\n"
    "      - {to: \"http://192.0.2.8/\"}\n"
    "      - {to: \"https://[2001:db8::1]\", host: x}\n"
    "  - {bind: \"192.0.2.1:53\", routes: [{steer: \"udp://192.0.2.9:53\"}]}\n"
    "  - {bind: \"192.0.2.1:53\", protocol: tcp, routes: [{steer: db}]}\n";

static void test_listener(void **state)
{
	struct conf *conf = parse(three_lanes);
	const struct conf_listener *web = &conf->listeners[0];

	(void)state;
	assert_string_equal(web->name, "web");
	assert_int_equal(web->n_binds, 2);
	check_addr(&web->binds[1], "[2001:db8::1]:443");
	assert_int_equal(web->max_connections, 7);
	assert_int_equal(web->hello_timeout_ms, 1000);
	assert_int_equal(web->handshake_timeout_ms, 2000);
	assert_int_equal(web->request_timeout_ms, 3000);
	assert_int_equal(web->keepalive_ms, 4000);
	assert_int_equal(web->idle_timeout_ms, 5000);
	assert_int_equal(web->half_closed_timeout_ms, 6000);
	assert_int_equal(web->tls->kernel, CONF_KERNEL_TLS_OFF);
	assert_int_equal(web->tls->n_certificates, 2);
	assert_string_equal(web->tls->certificates[0].key.path, "c.pem");
	assert_string_equal(web->tls->certificates[1].key.path, "a.pem");
	assert_int_equal(conf->listeners[1].index, 1);
	assert_string_equal(conf->listeners[1].name, "192.0.2.1:53/udp");
	assert_int_equal(conf->listeners[1].transport, CONF_TRANSPORT_UDP);
	assert_string_equal(conf->listeners[2].name, "192.0.2.1:53");
	assert_int_equal(conf->listeners[2].transport, CONF_TRANSPORT_TCP);
	assert_int_equal(conf->listeners[2].routes[0].lane, CONF_LANE_STEER);
	conf_unref(conf);
}

static void test_routes(void **state)
{
	struct conf *conf = parse(three_lanes);
	const struct conf_route *routes = conf->listeners[0].routes;

	(void)state;
	assert_int_equal(conf->listeners[0].n_routes, 5);
	assert_int_equal(routes[0].lane, CONF_LANE_SPLICE);
	assert_string_equal(routes[0].sni, "*.db.example.com");
	assert_int_equal(routes[0].relay, CONF_RELAY_PIPE);
	assert_string_equal(routes[0].origin->name, "db");
	assert_int_equal(routes[1].relay, CONF_RELAY_COPY);
	assert_string_equal(routes[1].origin->name, "tcp://192.0.2.9:5432");
	assert_string_equal(routes[2].host, "www.example.com");
	assert_string_equal(routes[2].path, "/Api"); /* paths have case */
	assert_string_equal(routes[2].origin->name, "vault");
	assert_string_equal(routes[3].origin->name, "http://192.0.2.8:80");
	assert_null(routes[3].origin->tls);
	assert_string_equal(routes[4].origin->name, "https://[2001:db8::1]:443");
	assert_string_equal(routes[4].origin->servers[0].host, "2001:db8::1");
	assert_string_equal(conf_lane_word(routes[0].lane), "splice");
	assert_string_equal(conf_relay_word(routes[0].relay), "pipe");
	conf_unref(conf);
}

/* Each row: the process's switch, that of a "tls", and what comes of them. */
static void test_kernel_tls(void **state)
{
	static const struct {
		const char *process, *tls;
		bool receives, sends;
	} rows[] = {
	    {"auto", "auto", true, true},
	    {"auto", "off", false, false},
	    {"auto", "{}", true, true},
	    {"auto", "{receive: off}", false, true},
	    {"auto", "{send: off, receive: auto}", true, false},
	    {"auto", "{send: off, receive: off}", false, false},
	    {"off", "auto", false, false},
	    {"off", "{receive: auto, send: auto}", false, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct conf_server_tls *server;
		const struct conf_client_tls *client;
		struct conf *conf;
		char text[512];

		snprintf(text, sizeof(text),
			 "process: {kernel_tls: %s}\n"
			 "listeners: [{bind: \":1\", tls: {certificates: [a], kernel: %s}, routes: "
			 "[{to: o}]}]\n"
			 "origins: {o: {servers: [\"192.0.2.1:1\"], tls: {kernel: %s}}}\n",
			 rows[i].process, rows[i].tls, rows[i].tls);
		conf = parse(text);
		server = conf->listeners[0].tls;
		client = conf->origins[0]->tls;
		assert_int_equal(server->kernel_receive == CONF_KERNEL_TLS_AUTO, rows[i].receives);
		assert_int_equal(server->kernel_send == CONF_KERNEL_TLS_AUTO, rows[i].sends);
		assert_int_equal(client->kernel_receive == CONF_KERNEL_TLS_AUTO, rows[i].receives);
		assert_int_equal(client->kernel_send == CONF_KERNEL_TLS_AUTO, rows[i].sends);
		assert_int_equal(conf->kernel_tls, rows[i].process[0] == 'a');
		conf_unref(conf);
	}
}

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

static void test_origin(void **state)
{
	struct conf *conf = parse(three_lanes);
	const struct conf_origin *vault = conf->origins[0];

	(void)state;
	assert_int_equal(vault->n_servers, 3);
	check_mark(vault->servers[1].mark, 3, 46);
	assert_int_equal(vault->servers[0].weight, 1);
	assert_int_equal(vault->servers[1].weight, 2);
	assert_string_equal(vault->servers[1].host, "2001:db8::8");
	check_addr(&vault->servers[2].addr, "unix:/run/vault");
	assert_string_equal(vault->servers[2].host, "");
	assert_string_equal(vault->tls->ca.path, "/etc/ca.pem");
	check_mark(vault->tls->ca.mark, 5, 15);
	assert_string_equal(vault->tls->server_name, "Vault.example.com");
	assert_int_equal(vault->tls->kernel, CONF_KERNEL_TLS_OFF);
	assert_int_equal(vault->connect_timeout_ms, 1000);
	assert_int_equal(vault->response_timeout_ms, 120000);
	assert_int_equal(vault->keepalive_ms, 3600000);
	assert_int_equal(vault->max_idle, 0);
	assert_null(conf->origins[1]->tls);
	for (size_t i = 0; i < conf->n_origins; i++)
		assert_int_equal(conf->origins[i]->index, i);
	conf_unref(conf);
}

static const char *const streams =
    "relay: {bulk: 1MiB, chat_messages: 5, chat_bytes: 100, window: 64KiB, sockmap: off}\n"
    "log: {interval: 1500ms}\n"
    "resolver: {servers: [192.0.2.53, \"2001:db8::53\", \"192.0.2.54:5353\"]}\n"
    "listeners:\n"
    "  - bind: [\"[2001:db8::1]:8000-8002\", \"unix:/run/db.sock\"]\n"
    "    proxy_protocol: {from: 192.0.2.200}\n"
    "    access: {allow: [192.0.2.0/24, \"2001:db8::/33\"], deny: 192.0.2.66/31}\n"
    "    limits: {rate: 1000, per_source: {connections: 7, rate: 5/s}}\n"
    "    socket: {backlog: 9, fast_open: on, defer_accept: 1500ms, keepalive: on,\n"
    "      user_timeout: 3s, receive_buffer: 64KiB, send_buffer: 1MiB}\n"
    "    routes:\n"
    "      - {sni: a, alpn: [h2, http/1.1], source: [192.0.2.64/26], destination: \"::/0\",\n"
    "         pass: db, relay: sockmap, limits: {bandwidth: 1MiB, total_bandwidth: 10MiB/s}}\n"
    "      - {pass: \"tcp://DB.example.com:5432\"}\n"
    "origins:\n"
    "  db:\n"
    "    servers:\n"
    "      - {address: \"DB1.example.com:5432\", backup: on, max_connections: 8}\n"
    "      - \"192.0.2.9:5432\"\n"
    "    balance: maglev\n"
    "    health: {check: tls, send: \"PING\\r\\n\", expect: '+PONG\\x00\\\\\\xff', interval: 1s,\n"
    "      timeout: 500ms, rise: 4, fall: 5, eject: {failures: 6, time: 7s, max: 8%}, panic: 9%}\n"
    "    limits: {connections: 10, queue: 11, queue_timeout: 12s}\n"
    "    retries: 0\n"
    "    source: 192.0.2.1\n"
    "    slow_start: 13s\n"
    "    proxy_protocol: v2\n"
    "    socket: {fast_open: on, keepalive: {idle: 14s, interval: 15s, count: 16}}\n";

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

/* A URL written twice is one origin, with one pool. */
static void test_one_origin_per_url(void **state)
{
	struct conf *conf = parse("listeners:\n"
				  "  - bind: \":80\"\n"
				  "    routes:\n"
				  "      - {host: a, to: \"http://127.0.0.1\"}\n"
				  "      - {host: b, to: \"HTTP://127.0.0.1:80/\"}\n"
				  "      - {sni: c, pass: \"tcp://127.0.0.1:80\"}\n"
				  "      - {host: d, to: \"https://www.example.com\"}\n"
				  "      - {host: e, to: \"https://WWW.example.com:443/\"}\n");
	const struct conf_route *routes = conf->listeners[0].routes;

	(void)state;
	assert_int_equal(conf->n_origins, 3);
	assert_ptr_equal(routes[3].origin, routes[4].origin);
	assert_string_equal(routes[3].origin->name, "https://www.example.com:443");
	assert_ptr_equal(routes[0].origin, routes[1].origin);
	assert_ptr_not_equal(routes[0].origin, routes[2].origin);
	conf_unref(conf);
}

static char *identity_of(const char *origin)
{
	struct conf *conf;
	char text[512], *identity;

	snprintf(text, sizeof(text),
		 "origins: {%s}\nlisteners: [{bind: \":1\", routes: [{to: o}]}]\n", origin);
	conf = parse(text);
	identity = strdup(conf->origins[0]->identity);
	assert_non_null(identity);
	conf_unref(conf);
	return identity;
}

static void test_client_tls(void **state)
{
	static const uint8_t pin[CONF_PIN_BYTES] = {0x00, 0x10, 0x83, 0x10, 0x51, 0x87, 0x20, 0x92,
						    0x8b, 0x30, 0xd3, 0x8f, 0x41, 0x14, 0x93, 0x51,
						    0x55, 0x97, 0x61, 0x96, 0x9b, 0x71, 0xd7, 0x9f,
						    0x82, 0x18, 0xa3, 0x92, 0x59, 0xa7, 0xfe, 0xff};
	struct conf *conf =
	    parse("origins:\n"
		  "  o:\n"
		  "    servers: [\"192.0.2.1:1\"]\n"
		  "    tls:\n"
		  "      certificate: {chain: c.pem, key: c.key}\n"
		  "      pins: [\"sha256/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn/v8=\",\n"
		  "        \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"]\n"
		  "      alpn: [h2, http/1.1]\n"
		  "      sessions: off\n"
		  "  d: {servers: [\"192.0.2.1:1\"], tls: {certificate: d.pem}}\n"
		  "listeners: [{bind: \":1\", routes: [{to: o, host: a}, {to: d}]}]\n");
	const struct conf_client_tls *tls = conf->origins[0]->tls;

	(void)state;
	assert_string_equal(tls->certificate->chain.path, "c.pem");
	assert_string_equal(tls->certificate->key.path, "c.key");
	check_mark(tls->certificate->key.mark, 5, 40);
	assert_int_equal(tls->n_pins, 2);
	assert_memory_equal(tls->pins[0], pin, sizeof(pin));
	assert_int_equal(tls->n_alpn, 2);
	assert_string_equal(tls->alpn[0], "h2");
	assert_string_equal(tls->alpn[1], "http/1.1");
	assert_false(tls->sessions);
	tls = conf->origins[1]->tls;
	assert_ptr_equal(tls->certificate->key.path, tls->certificate->chain.path);
	assert_int_equal(tls->n_pins, 0);
	assert_int_equal(tls->n_alpn, 1);
	assert_string_equal(tls->alpn[0], "http/1.1");
	assert_true(tls->sessions);
	conf_unref(conf);
}

/* Any difference that matters makes another identity; how it is written does not. */
static void test_identity(void **state)
{
	static const char *const base =
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}}";
	static const char *const same =
	    "o: {tls: {server_name: \"s\", ca: 'a', verify: true}, balance: round_robin,\n"
	    "  servers: [{address: \"192.0.2.1:1\", weight: 1}], timeouts: {connect: 5000ms}}";
	static const char *const others[] = {
	    "o: {servers: [\"192.0.2.1:2\"], tls: {ca: a, server_name: s}}",
	    "o: {servers: [\"192.0.2.1:1\", \"192.0.2.2:1\"], tls: {ca: a, server_name: s}}",
	    "o: {servers: [{address: \"192.0.2.1:1\", weight: 2}], tls: {ca: a, server_name: s}}",
	    "o: {servers: [{address: \"192.0.2.1:1\", backup: on}], tls: {ca: a, server_name: s}}",
	    "o: {servers: [{address: \"192.0.2.1:1\", max_connections: 1}], tls: {ca: a, "
	    "server_name: s}}",
	    "o: {servers: [\"a.example:1\"], tls: {ca: a, server_name: s}}",
	    "o: {servers: [\"192.0.2.1:1\"]}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: on}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: b, server_name: s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: t}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, verify: off}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, kernel: off}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, sessions: off}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, certificate: a}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, certificate: {chain: a, "
	    "key: b}}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, alpn: h2}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, pins: "
	    "\"sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, pins: "
	    "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE=\"}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, max_idle: 1}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {connect: "
	    "1s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {response: "
	    "1s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {keepalive: "
	    "1s}}",
	};
	static const char *const keys[] = {
	    "balance: maglev",
	    "health: {check: tcp}",
	    "health: {send: a, check: tcp}",
	    "health: {send: b, check: tcp}",
	    "health: {expect: a, check: tcp}",
	    "health: {interval: 6s}",
	    "health: {timeout: 1s}",
	    "health: {rise: 1}",
	    "health: {fall: 1}",
	    "health: {eject: off}",
	    "health: {eject: {failures: 1}}",
	    "health: {eject: {time: 1s}}",
	    "health: {eject: {max: 1%}}",
	    "health: {panic: 2%}",
	    "limits: {connections: 1}",
	    "limits: {queue: 1}",
	    "limits: {queue_timeout: 1s}",
	    "retries: 1",
	    "source: 192.0.2.7",
	    "slow_start: 1s",
	    "proxy_protocol: v1",
	    "proxy_protocol: v2",
	    "socket: {fast_open: on}",
	    "socket: {keepalive: on}",
	    "socket: {keepalive: {idle: 1s}}",
	    "socket: {keepalive: {interval: 1s}}",
	    "socket: {keepalive: {count: 1}}",
	    "socket: {user_timeout: 1s}",
	    "socket: {receive_buffer: 64KiB}",
	    "socket: {send_buffer: 64KiB}",
	};
	char *identities[ARRAY_LEN(keys)], text[256];
	char *wanted = identity_of(base), *got = identity_of(same);

	(void)state;
	assert_string_equal(wanted, got);
	free(got);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		got = identity_of(others[i]);
		assert_string_not_equal(wanted, got);
		free(got);
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		snprintf(text, sizeof(text),
			 "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, %s}",
			 keys[i]);
		identities[i] = identity_of(text);
		assert_string_not_equal(wanted, identities[i]);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(identities[j], identities[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		free(identities[i]);
	free(wanted);
}

struct visit {
	char text[256];
	size_t left;
};

static int visit_file(void *argument, const struct conf_file *file)
{
	struct visit *visit = argument;
	size_t used = strlen(visit->text);

	snprintf(visit->text + used, sizeof(visit->text) - used, "%u:%u %s\n", file->mark.line,
		 file->mark.column, file->path);
	return --visit->left ? 0 : 42;
}

static void test_files_in_the_order_of_the_text(void **state)
{
	struct conf *conf = parse(three_lanes);
	struct visit all = {.left = 99}, two = {.left = 2};

	(void)state;
	assert_int_equal(conf_each_file(conf, visit_file, &all), 0);
	assert_string_equal(all.text, "5:15 /etc/ca.pem\n16:30 b.pem\n16:42 c.pem\n16:50 a.pem\n");
	assert_int_equal(conf_each_file(conf, visit_file, &two), 42);
	assert_string_equal(two.text, "5:15 /etc/ca.pem\n16:30 b.pem\n");
	conf_unref(conf);
}

/* Words that YAML readers may take for truth values. */
static void test_truth_words(void **state)
{
	struct conf *conf =
	    parse("log: {access: false}\n"
		  "origins: {o: {servers: [\"192.0.2.1:1\"], tls: true}, "
		  "p: {servers: [\"192.0.2.2:1\"], tls: off}}\n"
		  "listeners: [{bind: \":1\", routes: [{host: a, to: o}, {to: p}]}]\n");

	(void)state;
	assert_false(conf->access_log);
	assert_non_null(conf->origins[0]->tls);
	assert_null(conf->origins[1]->tls);
	conf_unref(conf);
}

static void *take_and_drop(void *conf)
{
	for (int i = 0; i < 10000; i++)
		conf_unref(conf_ref(conf));
	conf_unref(conf);
	return NULL;
}

/* Each thread drops a reference of its own; a count that is not atomic frees twice or never. */
static void test_references(void **state)
{
	struct conf *conf = parse(short_form);
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_drop, conf_ref(conf)),
				 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_string_equal(conf->listeners[0].name, ":443");
	conf_unref(conf);
	conf_unref(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_short_form),
	    cmocka_unit_test(test_origin_in_place),
	    cmocka_unit_test(test_fallbacks),
	    cmocka_unit_test(test_every_global),
	    cmocka_unit_test(test_one_device),
	    cmocka_unit_test(test_listener),
	    cmocka_unit_test(test_routes),
	    cmocka_unit_test(test_streams),
	    cmocka_unit_test(test_kernel_tls),
	    cmocka_unit_test(test_origin),
	    cmocka_unit_test(test_fallbacks_of_streams),
	    cmocka_unit_test(test_health_fallbacks),
	    cmocka_unit_test(test_streams_globals),
	    cmocka_unit_test(test_streams_binds),
	    cmocka_unit_test(test_largest_range),
	    cmocka_unit_test(test_streams_listener),
	    cmocka_unit_test(test_streams_routes),
	    cmocka_unit_test(test_match_in_words),
	    cmocka_unit_test(test_long_match_is_cut),
	    cmocka_unit_test(test_streams_servers),
	    cmocka_unit_test(test_streams_origin),
	    cmocka_unit_test(test_streams_health),
	    cmocka_unit_test(test_switched_mappings),
	    cmocka_unit_test(test_one_origin_per_url),
	    cmocka_unit_test(test_client_tls),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_files_in_the_order_of_the_text),
	    cmocka_unit_test(test_truth_words),
	    cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests_name("conf snapshots", tests, NULL, NULL);
}
