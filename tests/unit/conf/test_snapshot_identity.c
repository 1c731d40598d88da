/* SPDX-License-Identifier: Apache-2.0 */
/* What makes an origin another one, with pools of its own. */
#include "snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static const char *const base = "o: {servers: [\"192.0.2.1:1\"], tls: {ca: a, server_name: s}}";

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

/* Any difference that matters makes another identity; how it is written does not. */
static void test_identity(void **state)
{
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identity),
	};

	return cmocka_run_group_tests_name("conf snapshots of identity", tests, NULL, NULL);
}
