/* SPDX-License-Identifier: Apache-2.0 */
/* See snapshot.h. */
#include "snapshot.h"

#include <string.h>

const char *const short_form = "listeners:\n"
			       "  - bind: \":443\"\n"
			       "    tls: {certificates: [/etc/penstock/site.pem]}\n"
			       "    routes: [{to: \"https://127.0.0.1:8200\"}]\n";

const char *const three_lanes =
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

const char *const streams =
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

struct conf *parse(const char *text)
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

void check_addr(const struct addr *addr, const char *wanted)
{
	char text[ADDR_TEXT_MAX];

	assert_string_equal(addr_format(addr, text), wanted);
}

void check_mark(struct conf_mark mark, uint32_t line, uint32_t column)
{
	assert_int_equal(mark.line, line);
	assert_int_equal(mark.column, column);
}

void check_socket(const struct conf_socket *got, const struct conf_socket *wanted)
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

void check_net(const struct conf_nets *nets, size_t i, const char *addr, uint8_t prefix_len)
{
	char text[ADDR_TEXT_MAX];

	assert_in_range(i + 1, 1, nets->n_nets);
	assert_string_equal(addr_format_host(&nets->nets[i].addr, text), addr);
	assert_int_equal(nets->nets[i].prefix_len, prefix_len);
	assert_int_equal(addr_port(&nets->nets[i].addr), 0);
}
