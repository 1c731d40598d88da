/* SPDX-License-Identifier: Apache-2.0 */
/* What a right text becomes: listeners of each lane, their routes, TLS, and origins in place. */
#include "snapshot.h"

#include <stdio.h>

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
	    {"always", "auto", true, true},
	    {"always", "{receive: off}", false, true},
	    {"always", "off", false, false},
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
		assert_int_equal(server->kernel_waits, strcmp(rows[i].process, "auto") == 0);
		assert_int_equal(client->kernel_waits, strcmp(rows[i].process, "auto") == 0);
		conf_unref(conf);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_listener),	       cmocka_unit_test(test_routes),
	    cmocka_unit_test(test_kernel_tls),	       cmocka_unit_test(test_origin),
	    cmocka_unit_test(test_one_origin_per_url), cmocka_unit_test(test_client_tls),
	};

	return cmocka_run_group_tests_name("conf snapshots of lanes", tests, NULL, NULL);
}
