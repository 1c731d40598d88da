/* SPDX-License-Identifier: Apache-2.0 */
/* What a right text becomes: fallbacks, globals, files, references. */
#include "snapshot.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

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
	    cmocka_unit_test(test_fallbacks_of_streams),
	    cmocka_unit_test(test_health_fallbacks),
	    cmocka_unit_test(test_files_in_the_order_of_the_text),
	    cmocka_unit_test(test_truth_words),
	    cmocka_unit_test(test_references),
	};

	return cmocka_run_group_tests_name("conf snapshots", tests, NULL, NULL);
}
