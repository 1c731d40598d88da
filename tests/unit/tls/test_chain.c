/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the terminate lane does with a large body: TLS on both sides of a relay, ours in the middle,
 * OpenSSL at the ends. Where the kernel does the records, the bytes go through a pipe and never
 * come to user space; elsewhere they are copied. PENSTOCK_CHAIN_MIB makes it more than 2 MiB each
 * way.
 */
#include <errno.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "relay/relay.h"

#define HOST "origin.example"

static struct lab_identity authority, site;
static struct loop *loop;
static bool by_kernel;
static int send_buffer; /* of our ends; 0: the system's */

/* One of our ends and its peer. */
struct hop {
	struct lab_end end;
	SSL_CTX *peer_ctx;
	SSL *peer;
	int peer_fd;
	uint64_t peer_total, peer_sent, peer_got;
	bool peer_shut, peer_saw_end;
};

static void open_hop(struct hop *hop, bool ours_is_server, int version, const char *cipher)
{
	struct lab_peer_wish wish = {.is_server = !ours_is_server,
				     .version = version,
				     .cipher = cipher,
				     .identity = ours_is_server ? NULL : &site};
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls server = {.certificates = &certificate, .n_certificates = 1};
	struct conf_client_tls client = {.ca = {.path = "ca.pem"}, .verify = true};
	struct conf_diag *diag = conf_diag_new("test");
	int fds[2];

	*hop = (struct hop){0};
	lab_connect(fds, false);
	if (send_buffer)
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof(send_buffer));
	lab_open_end(&hop->end, fds[0]);
	if (ours_is_server) {
		struct tls_server_ctx *ctx = tls_server_ctx_new(&server, &lab_files, diag);

		assert_non_null(ctx);
		assert_int_equal(tls_start_server(&hop->end.io, ctx, loop), 0);
		tls_server_ctx_free(ctx);
	} else {
		struct tls_client_ctx *ctx = tls_client_ctx_new(&client, &lab_files, diag);

		assert_non_null(ctx);
		assert_int_equal(tls_start_client(&hop->end.io, ctx, HOST, loop), 0);
		tls_client_ctx_free(ctx);
	}
	conf_diag_free(diag);
	hop->peer_fd = fds[1];
	lab_watch_peer(&hop->end, fds[1]);
	hop->peer_ctx = lab_make_peer_ctx(&wish);
	hop->peer = lab_make_peer(hop->peer_ctx, &wish, fds[1]);
	assert_int_equal(lab_shake(&hop->end, hop->peer), TLS_READY);
	assert_string_equal(hop->end.io.ops->name, by_kernel ? "ktls" : "userspace");
}

static void close_hop(struct hop *hop)
{
	lab_close_end(&hop->end);
	SSL_free(hop->peer);
	SSL_CTX_free(hop->peer_ctx);
	close(hop->peer_fd);
}

/* The peer sends its stream and ends it, and reads ours and checks it. True where anything moved.
 */
static bool work_peer(struct hop *hop)
{
	static char data[65536], expected[65536];
	bool moved = false;
	int n;

	if (hop->peer_sent < hop->peer_total) {
		size_t len = MIN(sizeof(data), hop->peer_total - hop->peer_sent);

		lab_fill(data, len, hop->peer_sent);
		n = SSL_write(hop->peer, data, (int)len);
		if (n > 0)
			hop->peer_sent += (uint64_t)n;
		moved |= n > 0;
	} else if (!hop->peer_shut) {
		hop->peer_shut = SSL_shutdown(hop->peer) >= 0;
		moved |= hop->peer_shut;
	}
	if (hop->peer_saw_end)
		return moved;
	n = SSL_read(hop->peer, data, sizeof(data));
	if (n > 0) {
		lab_fill(expected, (size_t)n, hop->peer_got);
		assert_memory_equal(data, expected, (size_t)n);
		hop->peer_got += (uint64_t)n;
	} else if (SSL_get_error(hop->peer, n) == SSL_ERROR_ZERO_RETURN) {
		hop->peer_saw_end = true;
	} else {
		assert_int_equal(SSL_get_error(hop->peer, n), SSL_ERROR_WANT_READ);
	}
	return moved || n > 0 || hop->peer_saw_end;
}

static void relay_between(struct hop *client, struct hop *origin)
{
	enum relay_verdict verdict = RELAY_RUNS;
	enum close_reason reason = CLOSE_INTERNAL;
	struct relay relay;

	relay_init(&relay, &client->end.io, &origin->end.io, RELAY_ENGINE_PIPE, NULL);
	assert_int_equal(relay.up.engine, by_kernel ? RELAY_ENGINE_PIPE : RELAY_ENGINE_COPY);
	assert_int_equal(relay.down.engine, by_kernel ? RELAY_ENGINE_PIPE : RELAY_ENGINE_COPY);
	while (verdict == RELAY_RUNS || verdict == RELAY_BUSY || !client->peer_saw_end ||
	       !origin->peer_saw_end) {
		bool moved = false;

		lab_take_events(&client->end, false);
		lab_take_events(&origin->end, false);
		if (verdict == RELAY_RUNS || verdict == RELAY_BUSY)
			verdict = relay_run(&relay, loop, &reason);
		moved |= work_peer(client);
		moved |= work_peer(origin);
		if (!moved && verdict == RELAY_RUNS)
			lab_take_both(&client->end, &origin->end);
	}
	if (verdict != RELAY_OVER)
		fail_msg("relay: %s / %s", tls_error(&client->end.io), tls_error(&origin->end.io));
	assert_int_equal(reason, CLOSE_DONE);
	assert_int_equal(relay.up.received_bytes, client->peer_total);
	assert_int_equal(relay.up.delivered_bytes, client->peer_total);
	assert_int_equal(relay.down.delivered_bytes, origin->peer_total);
	assert_int_equal(client->peer_got, origin->peer_total);
	assert_int_equal(origin->peer_got, client->peer_total);
	relay_done(&relay);
}

static void run_chain(int version, const char *cipher, uint64_t up, uint64_t down)
{
	struct hop client, origin;

	open_hop(&client, true, version, cipher);
	open_hop(&origin, false, version, cipher);
	client.peer_total = up;
	origin.peer_total = down;
	relay_between(&client, &origin);
	close_hop(&client);
	close_hop(&origin);
}

#define MIB ((uint64_t)1 << 20)

static void every_version_and_cipher(void **state)
{
	static const char *const ciphers[] = {"AES128", "AES256", "CHACHA"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ciphers); i++) {
		run_chain(TLS1_2_VERSION, ciphers[i], 2 * MIB + 12345, MIB + 1);
		run_chain(TLS1_3_VERSION, ciphers[i], 2 * MIB + 12345, MIB + 1);
	}
}

static void nothing_and_next_to_nothing(void **state)
{
	(void)state;
	for (uint64_t total = 0; total < 3; total++)
		run_chain(TLS1_3_VERSION, "AES128", total, 2 - total);
}

/* The send buffer is full before anything is under way: whoever waits then must have pushed first.
 */
static void small_send_buffers(void **state)
{
	(void)state;
	for (send_buffer = 5000; send_buffer < 100000; send_buffer += 9000) {
		run_chain(TLS1_3_VERSION, "AES128", MIB / 2, 0);
		run_chain(TLS1_3_VERSION, "AES128", 0, MIB / 2);
	}
	send_buffer = 0;
}

static void much(void **state)
{
	const char *mib = getenv("PENSTOCK_CHAIN_MIB");
	uint64_t total = (mib ? strtoull(mib, NULL, 10) : 2) * MIB;

	(void)state;
	run_chain(TLS1_3_VERSION, "AES128", total, total);
}

static int make_world(void **state)
{
	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "Lab CA"}, &authority);
	lab_make_identity(&(struct lab_identity_wish){.common_name = HOST,
						      .alt_names = "DNS:" HOST,
						      .issuer = &authority},
			  &site);
	lab_add_both("site.pem", &site);
	lab_add_certificate("ca.pem", &authority);
	loop = loop_new();
	return loop ? 0 : -1;
}

static int end_world(void **state)
{
	(void)state;
	relay_thread_done();
	loop_free(loop);
	lab_remove_files();
	lab_free_identity(&authority);
	lab_free_identity(&site);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_version_and_cipher),
	    cmocka_unit_test(nothing_and_next_to_nothing),
	    cmocka_unit_test(small_send_buffers),
	    cmocka_unit_test(much),
	};

	by_kernel = lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
