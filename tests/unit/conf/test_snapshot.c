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

static void test_every_global(void **state)
{
	struct conf *conf =
	    parse("process: {user: gate, threads: 3, runtime_dir: /run/a, pin_dir: /sys/fs/bpf/a,\n"
		  "  max_connections: 500, drain_timeout: 1500ms}\n"
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

/* A URL written twice is one origin, with one pool. */
static void test_one_origin_per_url(void **state)
{
	struct conf *conf = parse("listeners:\n"
				  "  - bind: \":80\"\n"
				  "    routes:\n"
				  "      - {host: a, to: \"http://127.0.0.1\"}\n"
				  "      - {host: b, to: \"HTTP://127.0.0.1:80/\"}\n"
				  "      - {sni: c, pass: \"tcp://127.0.0.1:80\"}\n");
	const struct conf_route *routes = conf->listeners[0].routes;

	(void)state;
	assert_int_equal(conf->n_origins, 2);
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
	    "o: {servers: [\"192.0.2.1:1\"]}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: on}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: b, server_name: s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: t}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, verify: off}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s, kernel: off}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, max_idle: 1}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {connect: "
	    "1s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {response: "
	    "1s}}",
	    "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}, timeouts: {keepalive: "
	    "1s}}",
	};
	char *wanted = identity_of(base), *got = identity_of(same);

	(void)state;
	assert_string_equal(wanted, got);
	free(got);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		got = identity_of(others[i]);
		assert_string_not_equal(wanted, got);
		free(got);
	}
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
	    cmocka_unit_test(test_origin),
	    cmocka_unit_test(test_one_origin_per_url),
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_files_in_the_order_of_the_text),
	    cmocka_unit_test(test_truth_words),
	    cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests_name("conf snapshots", tests, NULL, NULL);
}
