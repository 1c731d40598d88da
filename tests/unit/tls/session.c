/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"

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

static struct lab_identity authority;
struct lab_identity session_site, session_stranger, session_expired;
bool session_by_kernel;
struct session_ours session_ours;

static const char *http[] = {"http/1.1"};

const struct session_case session_matrix[SESSION_N_CASES] = {
    {TLS1_2_VERSION, "AES128", "TLSv1.2", {"AES128", "AES128"}},
    {TLS1_2_VERSION, "AES256", "TLSv1.2", {"AES256", "AES256"}},
    {TLS1_2_VERSION, "CHACHA", "TLSv1.2", {"CHACHA20", "CHACHA20"}},
    {TLS1_3_VERSION, "AES128", "TLSv1.3", {"AES_128", "AES_128"}},
    {TLS1_3_VERSION, "AES256", "TLSv1.3", {"AES_256", "AES_256"}},
    {TLS1_3_VERSION, "CHACHA", "TLSv1.3", {"CHACHA20", "CHACHA20"}},
};

void session_open_ours(struct session *session, bool as_server, int fd)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls server = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .kernel = session_ours.kernel,
	    .kernel_receive = session_ours.receive,
	    .kernel_send = session_ours.send,
	    .kernel_waits = session_ours.waits,
	    .alpn = http,
	    .n_alpn = 1,
	    .policy = session_ours.policy,
	};
	struct conf_client_tls client = {.ca = {.path = "ca.pem"},
					 .verify = !session_ours.no_verify,
					 .server_name = session_ours.server_name,
					 .kernel = session_ours.kernel,
					 .kernel_receive = session_ours.receive,
					 .kernel_send = session_ours.send,
					 .kernel_waits = session_ours.waits,
					 .policy = session_ours.policy};

	session->diag = conf_diag_new("test");
	assert_non_null(session->diag);
	lab_open_end(&session->end, fd);
	if (as_server) {
		session->server = tls_server_ctx_new(&server, &lab_files, session->diag);
		assert_non_null(session->server);
		assert_int_equal(tls_start_server(&session->end.io, session->server, NULL), 0);
		tls_server_ctx_free(session->server);
	} else {
		session->client = tls_client_ctx_new(&client, &lab_files, session->diag);
		assert_non_null(session->client);
		assert_int_equal(
		    tls_start_client(&session->end.io, session->client,
				     session_ours.host ? session_ours.host : SESSION_HOST, NULL),
		    0);
		tls_client_ctx_free(session->client);
	}
	assert_int_equal(conf_diag_errors(session->diag), 0);
}

void session_open(struct session *session, const struct lab_peer_wish *peer)
{
	struct lab_peer_wish wish = *peer;
	int fds[2];

	*session = (struct session){0};
	lab_connect(fds, session_ours.small_buffers);
	session_open_ours(session, !peer->is_server, fds[0]);
	if (peer->is_server && !wish.identity)
		wish.identity = &session_site;
	session->peer_fd = fds[1];
	lab_watch_peer(&session->end, fds[1]);
	session->peer_ctx = lab_make_peer_ctx(&wish);
	session->peer = lab_make_peer(session->peer_ctx, &wish, fds[1]);
	session->progress = lab_shake(&session->end, session->peer);
}

void session_close(struct session *session)
{
	lab_close_end(&session->end);
	SSL_free(session->peer);
	SSL_CTX_free(session->peer_ctx);
	if (session->peer_fd >= 0)
		close(session->peer_fd);
	conf_diag_free(session->diag);
}

int session_reset(void **state)
{
	(void)state;
	memset(&session_ours, 0, sizeof(session_ours));
	return 0;
}

bool session_peer_read(struct session *session, struct flow *flow, size_t step)
{
	static char data[65536], expected[65536];
	int n = SSL_read(session->peer, data, (int)step);

	if (n <= 0) {
		int why = SSL_get_error(session->peer, n);

		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			fail_msg("the peer's SSL_read: %d %s", why,
				 ERR_reason_error_string(ERR_peek_error()));
		return false;
	}
	lab_fill(expected, (size_t)n, flow->done);
	assert_memory_equal(data, expected, (size_t)n);
	flow->done += (uint64_t)n;
	return true;
}

bool session_peer_write(struct session *session, struct flow *flow, size_t step)
{
	static char data[65536];
	size_t len = MIN(step, flow->total - flow->done);
	int n;

	if (!len)
		return false;
	lab_fill(data, len, flow->done);
	n = SSL_write(session->peer, data, (int)len);
	if (n <= 0) {
		int why = SSL_get_error(session->peer, n);

		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			fail_msg("the peer's SSL_write: %d", why);
		return false;
	}
	flow->done += (uint64_t)n;
	return true;
}

bool session_our_read(struct session *session, struct flow *flow, size_t step)
{
	static char data[65536], expected[65536];
	ssize_t n;

	if (!session->end.io.readable)
		return false;
	n = io_recv(&session->end.io, data, step);
	if (n == -EAGAIN)
		return false;
	if (n <= 0)
		fail_msg("recv: %zd %s", n, tls_error(&session->end.io));
	lab_fill(expected, (size_t)n, flow->done);
	assert_memory_equal(data, expected, (size_t)n);
	flow->done += (uint64_t)n;
	return true;
}

bool session_our_write(struct session *session, struct flow *flow, size_t step)
{
	static char data[200000];
	size_t len = MIN(step, flow->total - flow->done), cut = len / 3;
	struct iovec parts[3] = {{data, cut}, {data + cut, 0}, {data + cut, len - cut}};
	ssize_t n;

	if (!len || !session->end.io.writable)
		return false;
	lab_fill(data, len, flow->done);
	n = io_send(&session->end.io, parts, 3, len < flow->total - flow->done);
	if (n == -EAGAIN)
		return false;
	if (n <= 0)
		fail_msg("send: %zd %s", n, tls_error(&session->end.io));
	flow->done += (uint64_t)n;
	return true;
}

void session_transfer(struct session *session, uint64_t total, size_t our_step, size_t peer_step)
{
	struct flow to_peer = {.total = total}, to_us = {.total = total};
	struct flow peer_got = {0}, we_got = {0};

	while (peer_got.done < total || we_got.done < total) {
		bool moved = false;

		lab_take_events(&session->end, false);
		moved |= session_our_write(session, &to_peer, our_step);
		moved |= session_peer_read(session, &peer_got, peer_step);
		moved |= session_peer_write(session, &to_us, peer_step);
		if (we_got.done < total)
			moved |=
			    session_our_read(session, &we_got, our_step < 65536 ? our_step : 65536);
		if (!moved)
			lab_take_events(&session->end, true);
	}
	assert_int_equal(session->end.io.sent_bytes, total);
	assert_int_equal(session->end.io.received_bytes, total);
}

void session_assert_name(struct session *session, const char *name)
{
	char *taken = tls_take_name(&session->end.io);

	if (name)
		assert_string_equal(taken, name);
	else
		assert_null(taken);
	free(taken);
	assert_null(tls_take_name(&session->end.io));
}

void session_assert_path(const struct session *session)
{
	struct tls_facts facts;
	bool kernel = session_by_kernel && session_ours.kernel != CONF_KERNEL_TLS_OFF;

	tls_get_facts(&session->end.io, &facts);
	assert_string_equal(session->end.io.ops->name, kernel ? "ktls" : "userspace");
	assert_int_equal(facts.kernel_send, kernel);
	assert_int_equal(facts.kernel_receive, kernel);
	assert_null(tls_stream_of(&session->end.io)->ssl);
	if (kernel)
		assert_null(session->end.io.why_not_kernel);
	else
		assert_non_null(session->end.io.why_not_kernel);
}

void session_end_ours(struct session *session)
{
	char byte;
	int err;

	while ((err = io_shutdown_send(&session->end.io)) == -EAGAIN)
		lab_take_events(&session->end, true);
	assert_int_equal(err, 0);
	for (int n; (n = SSL_read(session->peer, &byte, 1)) <= 0;) {
		int why = SSL_get_error(session->peer, n);

		if (why == SSL_ERROR_ZERO_RETURN)
			return;
		assert_int_equal(why, SSL_ERROR_WANT_READ);
	}
	fail_msg("the peer read data after the end");
}

ssize_t session_recv_end(struct session *session)
{
	char data[1024];
	ssize_t n;

	for (;;) {
		lab_take_events(&session->end, !session->end.io.readable);
		if (!session->end.io.readable)
			continue;
		n = io_recv(&session->end.io, data, sizeof(data));
		if (n != -EAGAIN)
			return n;
	}
}

void session_receive(struct session *session, char *data, size_t len_bytes)
{
	for (size_t done = 0; done < len_bytes;) {
		ssize_t n;

		lab_take_events(&session->end, !session->end.io.readable);
		n = io_recv(&session->end.io, data + done, len_bytes - done);
		if (n != -EAGAIN && n <= 0)
			fail_msg("receiving: %zd %s", n, tls_error(&session->end.io));
		done += n > 0 ? (size_t)n : 0;
	}
}

void session_ping_pong(struct session *session)
{
	struct iovec part = {(char *)"pong", 4};
	char data[4];
	int n;

	assert_int_equal(SSL_write(session->peer, "ping", 4), 4);
	session_receive(session, data, sizeof(data));
	assert_memory_equal(data, "ping", 4);
	assert_int_equal(io_send(&session->end.io, &part, 1, false), 4);
	while ((n = SSL_read(session->peer, data, sizeof(data))) <= 0) {
		assert_int_equal(SSL_get_error(session->peer, n), SSL_ERROR_WANT_READ);
		lab_take_events(&session->end, false);
	}
	assert_int_equal(n, 4);
	assert_memory_equal(data, "pong", 4);
}

void session_set_mode(int mode)
{
	session_ours.receive = mode & 1 ? CONF_KERNEL_TLS_OFF : CONF_KERNEL_TLS_AUTO;
	session_ours.send = mode & 2 ? CONF_KERNEL_TLS_OFF : CONF_KERNEL_TLS_AUTO;
}

int session_make_world(void **state)
{
	session_by_kernel = lab_init();
	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "Lab CA"}, &authority);
	lab_make_identity(&(struct lab_identity_wish){.common_name = SESSION_HOST,
						      .alt_names =
							  "DNS:" SESSION_HOST
							  ",DNS:*.wild.example,IP:127.0.0.1,IP:::1",
						      .issuer = &authority},
			  &session_site);
	lab_make_identity(&(struct lab_identity_wish){.common_name = SESSION_HOST,
						      .alt_names = "DNS:" SESSION_HOST},
			  &session_stranger);
	lab_make_identity(&(struct lab_identity_wish){.common_name = SESSION_HOST,
						      .alt_names = "DNS:" SESSION_HOST,
						      .issuer = &authority,
						      .days_from = -20,
						      .days_to = -10},
			  &session_expired);
	lab_add_both("site.pem", &session_site);
	lab_add_certificate("ca.pem", &authority);
	return 0;
}

int session_end_world(void **state)
{
	(void)state;
	lab_remove_files();
	lab_free_identity(&authority);
	lab_free_identity(&session_site);
	lab_free_identity(&session_stranger);
	lab_free_identity(&session_expired);
	return 0;
}
