/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of ours against plain OpenSSL: handshakes, data, ends. On a kernel with TLS the same
 * cases run over its records instead of ours; PENSTOCK_WANT_KERNEL_TLS=1 makes it a failure
 * where they do not.
 */
#include <errno.h>
#include <fcntl.h>
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
#include "stats/stats.h"
#include "tls/tls_internal.h"

#define HOST "origin.example"

static struct lab_identity authority, site, stranger, expired;
static bool by_kernel;

struct session {
	struct lab_end end;
	struct conf_diag *diag;
	struct tls_server_ctx *server;
	struct tls_client_ctx *client;
	SSL_CTX *peer_ctx;
	SSL *peer;
	int peer_fd;
	enum tls_progress progress;
};

/* What ours is in the next session; changed by a test before open_session(). */
static struct {
	enum conf_kernel_tls kernel, receive, send;
	bool small_buffers;
	bool no_verify;
	const char *host;
	const char *server_name;
} ours;

static const char *http[] = {"http/1.1"};

static void open_ours(struct session *session, bool as_server, int fd)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls server = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .kernel = ours.kernel,
	    .kernel_receive = ours.receive,
	    .kernel_send = ours.send,
	    .alpn = http,
	    .n_alpn = 1,
	};
	struct conf_client_tls client = {.ca = {.path = "ca.pem"},
					 .verify = !ours.no_verify,
					 .server_name = ours.server_name,
					 .kernel = ours.kernel,
					 .kernel_receive = ours.receive,
					 .kernel_send = ours.send};

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
		assert_int_equal(tls_start_client(&session->end.io, session->client,
						  ours.host ? ours.host : HOST, NULL),
				 0);
		tls_client_ctx_free(session->client);
	}
	assert_int_equal(conf_diag_errors(session->diag), 0);
}

static void open_session(struct session *session, const struct lab_peer_wish *peer)
{
	struct lab_peer_wish wish = *peer;
	int fds[2];

	*session = (struct session){0};
	lab_connect(fds, ours.small_buffers);
	open_ours(session, !peer->is_server, fds[0]);
	if (peer->is_server && !wish.identity)
		wish.identity = &site;
	session->peer_fd = fds[1];
	lab_watch_peer(&session->end, fds[1]);
	session->peer_ctx = lab_make_peer_ctx(&wish);
	session->peer = lab_make_peer(session->peer_ctx, &wish, fds[1]);
	session->progress = lab_shake(&session->end, session->peer);
}

static void close_session(struct session *session)
{
	lab_close_end(&session->end);
	SSL_free(session->peer);
	SSL_CTX_free(session->peer_ctx);
	if (session->peer_fd >= 0)
		close(session->peer_fd);
	conf_diag_free(session->diag);
}

static int reset_ours(void **state)
{
	(void)state;
	memset(&ours, 0, sizeof(ours));
	return 0;
}

#define assert_open(session) \
	do { \
		if ((session)->progress != TLS_READY) \
			fail_msg("handshake: %s", tls_error(&(session)->end.io)); \
	} while (0)

/* One direction of a transfer, and what it says at the end. */
struct flow {
	uint64_t done, total;
};

static bool peer_read(struct session *session, struct flow *flow, size_t step)
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

static bool peer_write(struct session *session, struct flow *flow, size_t step)
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

static bool our_read(struct session *session, struct flow *flow, size_t step)
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

/* In two or three parts, so that records are made of several. */
static bool our_write(struct session *session, struct flow *flow, size_t step)
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

/* Both ways at once, in steps of the given sizes. */
static void transfer(struct session *session, uint64_t total, size_t our_step, size_t peer_step)
{
	struct flow to_peer = {.total = total}, to_us = {.total = total};
	struct flow peer_got = {0}, we_got = {0};

	while (peer_got.done < total || we_got.done < total) {
		bool moved = false;

		lab_take_events(&session->end, false);
		moved |= our_write(session, &to_peer, our_step);
		moved |= peer_read(session, &peer_got, peer_step);
		moved |= peer_write(session, &to_us, peer_step);
		if (we_got.done < total)
			moved |= our_read(session, &we_got, our_step < 65536 ? our_step : 65536);
		if (!moved)
			lab_take_events(&session->end, true);
	}
	assert_int_equal(session->end.io.sent_bytes, total);
	assert_int_equal(session->end.io.received_bytes, total);
}

static void assert_path(const struct session *session)
{
	struct tls_facts facts;
	bool kernel = by_kernel && ours.kernel != CONF_KERNEL_TLS_OFF;

	tls_get_facts(&session->end.io, &facts);
	assert_string_equal(session->end.io.ops->name, kernel ? "ktls" : "userspace");
	assert_int_equal(facts.kernel_send, kernel);
	assert_int_equal(facts.kernel_receive, kernel);
	if (kernel)
		assert_null(session->end.io.why_not_kernel);
	else
		assert_non_null(session->end.io.why_not_kernel);
}

/* The end of our stream reaches the peer as a clean one. */
static void end_ours(struct session *session)
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

static ssize_t recv_end(struct session *session)
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

static void receive(struct session *session, char *data, size_t len_bytes)
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

/* A word each way. */
static void ping_pong(struct session *session)
{
	struct iovec part = {(char *)"pong", 4};
	char data[4];
	int n;

	assert_int_equal(SSL_write(session->peer, "ping", 4), 4);
	receive(session, data, sizeof(data));
	assert_memory_equal(data, "ping", 4);
	assert_int_equal(io_send(&session->end.io, &part, 1, false), 4);
	while ((n = SSL_read(session->peer, data, sizeof(data))) <= 0) {
		assert_int_equal(SSL_get_error(session->peer, n), SSL_ERROR_WANT_READ);
		lab_take_events(&session->end, false);
	}
	assert_int_equal(n, 4);
	assert_memory_equal(data, "pong", 4);
}

/* 0: the kernel, 1: sending alone, 2: receiving alone, 3: user space. */
static void set_mode(int mode)
{
	ours.receive = mode & 1 ? CONF_KERNEL_TLS_OFF : CONF_KERNEL_TLS_AUTO;
	ours.send = mode & 2 ? CONF_KERNEL_TLS_OFF : CONF_KERNEL_TLS_AUTO;
}

static const struct {
	int version;
	const char *cipher;
	const char *version_word, *words[2];
} matrix[] = {
    {TLS1_2_VERSION, "AES128", "TLSv1.2", {"AES128", "AES128"}},
    {TLS1_2_VERSION, "AES256", "TLSv1.2", {"AES256", "AES256"}},
    {TLS1_2_VERSION, "CHACHA", "TLSv1.2", {"CHACHA20", "CHACHA20"}},
    {TLS1_3_VERSION, "AES128", "TLSv1.3", {"AES_128", "AES_128"}},
    {TLS1_3_VERSION, "AES256", "TLSv1.3", {"AES_256", "AES_256"}},
    {TLS1_3_VERSION, "CHACHA", "TLSv1.3", {"CHACHA20", "CHACHA20"}},
};

static void try_matrix(bool peer_is_server, enum conf_kernel_tls kernel)
{
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		struct lab_peer_wish wish = {.is_server = peer_is_server,
					     .version = matrix[i].version,
					     .cipher = matrix[i].cipher,
					     .sni = peer_is_server ? NULL : "Origin.Example."};
		struct session session;
		struct tls_facts facts;

		ours.kernel = kernel;
		open_session(&session, &wish);
		assert_open(&session);
		tls_get_facts(&session.end.io, &facts);
		assert_string_equal(facts.version, matrix[i].version_word);
		assert_non_null(strstr(facts.cipher, matrix[i].words[0]));
		assert_string_equal(facts.sni, peer_is_server ? "" : HOST);
		assert_path(&session);
		transfer(&session, 300000, 40000, 16384);
		end_ours(&session);
		SSL_shutdown(session.peer);
		assert_int_equal(recv_end(&session), 0);
		assert_int_equal(recv_end(&session), 0);
		close_session(&session);
	}
}

static void server_side_versions_and_ciphers(void **state)
{
	(void)state;
	try_matrix(false, CONF_KERNEL_TLS_AUTO);
	try_matrix(false, CONF_KERNEL_TLS_OFF);
}

static void client_side_versions_and_ciphers(void **state)
{
	(void)state;
	try_matrix(true, CONF_KERNEL_TLS_AUTO);
	try_matrix(true, CONF_KERNEL_TLS_OFF);
}

/* Steps and buffers that cut everything in awkward places. */
static void data_survives_small_buffers(void **state)
{
	static const size_t steps[][2] = {
	    {1, 3}, {100000, 65536}, {16384, 16384}, {16385, 1000}, {65536, 100}};

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++)
		for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
			struct lab_peer_wish wish = {.version =
							 i % 2 ? TLS1_2_VERSION : TLS1_3_VERSION};
			struct session session;

			ours.kernel = (enum conf_kernel_tls)kernel;
			ours.small_buffers = true;
			open_session(&session, &wish);
			assert_open(&session);
			transfer(&session, i ? 400000 : 2000, steps[i][0], steps[i][1]);
			end_ours(&session);
			close_session(&session);
		}
}

/* All that was taken is delivered although we end at once and the peer begins to read only then. */
static void nothing_is_cut_off_by_the_end(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		struct lab_peer_wish wish = {0};
		struct session session;
		struct flow to_peer = {.total = UINT64_MAX}, peer_got = {0};
		int err = -EAGAIN, buffer = 4096 + i * 4000;

		ours.kernel = i % 8 ? CONF_KERNEL_TLS_AUTO : CONF_KERNEL_TLS_OFF;
		ours.small_buffers = i % 2;
		open_session(&session, &wish);
		assert_open(&session);
		setsockopt(session.end.io.watch.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
		do /* until no more is taken */
			lab_take_events(&session.end, false);
		while (our_write(&session, &to_peer, 16384));
		/* Records of the last part are made, so it has to come again; the kernel did
		 * not. */
		to_peer.total =
		    to_peer.done + (strcmp(session.end.io.ops->name, "ktls") ? 16384 : 0);
		while (peer_got.done < to_peer.total || err) {
			bool moved = our_write(&session, &to_peer, 16384);

			if (err && to_peer.done == to_peer.total)
				err = io_shutdown_send(&session.end.io);
			if (err && err != -EAGAIN)
				fail_msg("shutdown: %s", strerror(-err));
			moved |= peer_read(&session, &peer_got, 1000);
			lab_take_events(&session.end, !moved && err);
		}
		end_ours(&session);
		close_session(&session);
	}
}

static void half_close_keeps_the_other_half(void **state)
{
	struct lab_peer_wish wish = {0};
	struct session session;
	struct flow to_us = {.total = 200000}, we_got = {0};

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		ours.kernel = (enum conf_kernel_tls)kernel;
		to_us.done = we_got.done = 0;
		open_session(&session, &wish);
		assert_open(&session);
		end_ours(&session);
		while (we_got.done < to_us.total) {
			lab_take_events(&session.end, false);
			peer_write(&session, &to_us, 10000);
			our_read(&session, &we_got, 65536);
		}
		SSL_shutdown(session.peer);
		assert_int_equal(recv_end(&session), 0);
		close_session(&session);
	}
}

static void fin_without_close_notify_is_an_error(void **state)
{
	struct lab_peer_wish wish = {0};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		ours.kernel = (enum conf_kernel_tls)kernel;
		open_session(&session, &wish);
		assert_open(&session);
		assert_int_equal(SSL_write(session.peer, "half", 4), 4);
		assert_int_equal(shutdown(session.peer_fd, SHUT_WR), 0);
		assert_int_equal(recv_end(&session), 4);
		assert_int_equal(recv_end(&session), -EPROTO);
		assert_int_equal(recv_end(&session), -EPROTO);
		assert_non_null(strstr(tls_error(&session.end.io), "close_notify"));
		close_session(&session);
	}
}

static void reset_is_an_error(void **state)
{
	struct lab_peer_wish wish = {0};
	struct linger linger = {.l_onoff = 1};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		ours.kernel = (enum conf_kernel_tls)kernel;
		open_session(&session, &wish);
		assert_open(&session);
		setsockopt(session.peer_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close(session.peer_fd);
		session.peer_fd = -1;
		assert_int_equal(recv_end(&session), -ECONNRESET);
		close_session(&session);
	}
}

static void damaged_record_is_an_error(void **state)
{
	static const char garbage[] = "\x17\x03\x03\x00\x20garbagegarbagegarbagegarbage1234";
	struct lab_peer_wish wish = {0};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		ours.kernel = (enum conf_kernel_tls)kernel;
		open_session(&session, &wish);
		assert_open(&session);
		assert_int_equal(send(session.peer_fd, garbage, sizeof(garbage) - 1, 0),
				 sizeof(garbage) - 1);
		assert_int_equal(recv_end(&session), -EPROTO);
		assert_int_equal(recv_end(&session), -EPROTO);
		assert_non_null(strstr(tls_error(&session.end.io), "integrity check"));
		close_session(&session);
	}
}

static void key_update(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	struct session session;

	(void)state;
	for (int mode = 0; mode < 4; mode++) {
		bool survives = !by_kernel || mode == 3 || tls_kernel_can_rekey();

		set_mode(mode);
		for (int as_server = 0; as_server < 2; as_server++) {
			wish.is_server = as_server;
			open_session(&session, &wish);
			assert_open(&session);
			ping_pong(&session);
			if (survives) {
				for (int i = 0; i < 5; i++) {
					SSL_key_update(session.peer,
						       i % 2 ? SSL_KEY_UPDATE_REQUESTED
							     : SSL_KEY_UPDATE_NOT_REQUESTED);
					ping_pong(&session);
				}
				end_ours(&session);
			} else {
				SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED);
				assert_int_equal(SSL_write(session.peer, "x", 1), 1);
				assert_int_equal(recv_end(&session), -EPROTO);
				assert_non_null(strstr(tls_error(&session.end.io), "keys"));
				assert_int_equal(tls_close_reason(&session.end.io),
						 CLOSE_TLS_KEY_UPDATE);
			}
			close_session(&session);
		}
	}
}

/* Without a word of data around them: nothing wakes us but the KeyUpdate itself. */
static void key_update_while_idle(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	struct session session;
	char byte;

	(void)state;
	if (by_kernel && !tls_kernel_can_rekey())
		return;
	open_session(&session, &wish);
	assert_open(&session);
	for (int i = 0; i < 3; i++) {
		uint64_t followed = stats_sum(STAT_TLS_KEY_UPDATES);

		SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED);
		assert_int_equal(SSL_do_handshake(session.peer), 1);
		do
			lab_take_events(&session.end, true);
		while (io_recv(&session.end.io, &byte, 1) == -EAGAIN && by_kernel &&
		       stats_sum(STAT_TLS_KEY_UPDATES) == followed);
	}
	ping_pong(&session);
	close_session(&session);
}

/* Each direction goes its own way. */
static void one_direction_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++)
		for (int mode = 1; mode < 3; mode++) {
			struct lab_peer_wish wish = {.version = matrix[i].version,
						     .cipher = matrix[i].cipher,
						     .is_server = i % 2};
			struct tls_facts facts;
			struct session session;

			set_mode(mode);
			open_session(&session, &wish);
			assert_open(&session);
			tls_get_facts(&session.end.io, &facts);
			assert_int_equal(facts.kernel_send, by_kernel && mode == 1);
			assert_int_equal(facts.kernel_receive, by_kernel && mode == 2);
			assert_int_equal(session.end.io.ops->splice_out != NULL, facts.kernel_send);
			assert_int_equal(session.end.io.ops->splice_in != NULL,
					 facts.kernel_receive);
			assert_non_null(session.end.io.why_not_kernel);
			transfer(&session, 1 << 20, 30000, 20000);
			SSL_shutdown(session.peer);
			assert_int_equal(recv_end(&session), 0);
			end_ours(&session);
			close_session(&session);
		}
}

/* A client may send its first request with its last handshake message. */
static void data_right_behind_the_handshake(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(matrix); i++) {
		struct lab_peer_wish wish = {.version = matrix[i].version,
					     .cipher = matrix[i].cipher};
		struct session session = {0};
		SSL *ssl;
		char data[16];
		int fds[2];

		lab_connect(fds, false);
		open_ours(&session, true, fds[0]);
		session.peer_fd = fds[1];
		session.peer_ctx = lab_make_peer_ctx(&wish);
		ssl = session.peer = lab_make_peer(session.peer_ctx, &wish, fds[1]);
		while (SSL_do_handshake(ssl) !=
		       1) { /* theirs is done before ours has seen its end */
			lab_take_events(&session.end, false);
			if (!SSL_is_init_finished(ssl))
				session.progress = tls_handshake(&session.end.io);
		}
		assert_int_equal(SSL_write(ssl, "request", 7), 7);
		while (session.progress == TLS_AGAIN) {
			lab_take_events(&session.end, false);
			session.progress = tls_handshake(&session.end.io);
		}
		assert_open(&session);
		assert_path(&session);
		assert_true(session.end.io.readable);
		while (io_recv(&session.end.io, data, sizeof(data)) == -EAGAIN)
			lab_take_events(&session.end, true);
		assert_memory_equal(data, "request", 7);
		close_session(&session);
	}
}

static void untrusted_peer_is_refused(void **state)
{
	static const struct {
		const struct lab_identity *identity;
		const char *host, *server_name, *error;
	} cases[] = {
	    {&stranger, HOST, NULL, "self"},
	    {&expired, HOST, NULL, "certificate has expired"},
	    {&site, "other.example", NULL, "expected \"other.example\""},
	    {&site, "127.0.0.2", NULL, "IP address mismatch"},
	    {&site, HOST, "other.example", "mismatch"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.is_server = true, .identity = cases[i].identity};
		struct session session;

		ours.host = cases[i].host;
		ours.server_name = cases[i].server_name;
		ours.no_verify = false;
		open_session(&session, &wish);
		assert_int_equal(session.progress, TLS_UNVERIFIED);
		if (!strstr(tls_error(&session.end.io), cases[i].error))
			fail_msg("\"%s\" is not about \"%s\"", tls_error(&session.end.io),
				 cases[i].error);
		assert_int_equal(tls_handshake(&session.end.io), TLS_UNVERIFIED);
		close_session(&session);

		ours.no_verify = true; /* the same peer, and nobody asks */
		open_session(&session, &wish);
		assert_open(&session);
		close_session(&session);
	}
}

static void trusted_peer_is_accepted(void **state)
{
	static const struct {
		const char *host, *server_name, *sni;
	} cases[] = {
	    {HOST, NULL, HOST},
	    {"127.0.0.1", NULL, ""},
	    {"::1", NULL, ""},
	    {"127.0.0.2", "a.wild.example", "a.wild.example"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.is_server = true};
		struct session session;
		const char *sni;

		ours.host = cases[i].host;
		ours.server_name = cases[i].server_name;
		open_session(&session, &wish);
		assert_open(&session);
		sni = SSL_get_servername(session.peer, TLSEXT_NAMETYPE_host_name);
		assert_string_equal(sni ? sni : "", cases[i].sni);
		close_session(&session);
	}
}

static void broken_handshakes_say_why(void **state)
{
	static const struct {
		const char *sent, *error;
	} cases[] = {
	    {"GET / HTTP/1.1\r\n\r\n", "http request"},
	    {"", "closed the connection"},
	    {"\x16\x03\x01", "closed the connection"},
	    {"\x15\x03\x03\x00\x02\x02\x30", "unexpected message"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct session session = {.progress = TLS_AGAIN};
		size_t len = i == 3 ? 7 : strlen(cases[i].sent);
		int fds[2];

		lab_connect(fds, false);
		open_ours(&session, true, fds[0]);
		assert_int_equal(send(fds[1], cases[i].sent, len, 0), (ssize_t)len);
		assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
		while (session.progress == TLS_AGAIN) {
			lab_take_events(&session.end, false);
			session.progress = tls_handshake(&session.end.io);
		}
		assert_int_equal(session.progress, TLS_FAILED);
		if (!strstr(tls_error(&session.end.io), cases[i].error))
			fail_msg("\"%s\" is not about \"%s\"", tls_error(&session.end.io),
				 cases[i].error);
		lab_close_end(&session.end);
		close(fds[1]);
		conf_diag_free(session.diag);
	}
}

static void alpn_is_http_1_1_or_an_alert(void **state)
{
	static const struct {
		const char *offered;
		enum tls_progress progress;
	} cases[] = {{"\x02h2\x08http/1.1", TLS_READY}, {"\x02h2", TLS_FAILED}, {NULL, TLS_READY}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.alpn = cases[i].offered};
		struct session session;
		const unsigned char *chosen;
		unsigned int len;

		open_session(&session, &wish);
		assert_int_equal(session.progress, cases[i].progress);
		SSL_get0_alpn_selected(session.peer, &chosen, &len);
		assert_int_equal(len, i ? 0 : 8);
		if (session.progress == TLS_FAILED)
			assert_non_null(strstr(tls_error(&session.end.io), "ALPN"));
		close_session(&session);
	}
}

static void old_versions_and_ciphers_are_refused(void **state)
{
	static const struct {
		int version;
		const char *ciphers;
	} cases[] = {{TLS1_1_VERSION, NULL},
		     {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.version = cases[i].version};
		struct session session = {0};
		int fds[2];

		lab_connect(fds, false);
		open_ours(&session, true, fds[0]);
		session.peer_fd = fds[1];
		session.peer_ctx = lab_make_peer_ctx(&wish);
		SSL_CTX_set_security_level(session.peer_ctx, 0);
		if (cases[i].ciphers)
			assert_int_equal(
			    SSL_CTX_set_cipher_list(session.peer_ctx, cases[i].ciphers), 1);
		session.peer = lab_make_peer(session.peer_ctx, &wish, fds[1]);
		assert_int_equal(lab_shake(&session.end, session.peer), TLS_FAILED);
		assert_string_not_equal(tls_error(&session.end.io), "");
		close_session(&session);
	}
}

/* Tickets of the server are good for a second connection, also when its SSL object went after the
 * first hand-over. */
static void sessions_are_resumed(void **state)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls conf = {.certificates = &certificate,
				       .n_certificates = 1,
				       .tickets = {.on = true, .lifetime_s = 3600}};
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

	(void)state;
	for (size_t v = 0; v < ARRAY_LEN(versions); v++) {
		struct lab_peer_wish wish = {.version = versions[v], .sni = HOST};
		struct conf_diag *diag = conf_diag_new("test");
		struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);
		SSL_CTX *peer_ctx = lab_make_peer_ctx(&wish);
		SSL_SESSION *ticket = NULL;

		assert_non_null(ctx);
		for (int i = 0; i < 2; i++) {
			struct session session = {.peer_ctx = peer_ctx, .diag = diag};
			struct tls_facts facts;
			int fds[2];

			lab_connect(fds, false);
			lab_open_end(&session.end, fds[0]);
			assert_int_equal(tls_start_server(&session.end.io, ctx, NULL), 0);
			session.peer_fd = fds[1];
			lab_watch_peer(&session.end, fds[1]);
			session.peer = lab_make_peer(peer_ctx, &wish, fds[1]);
			if (ticket)
				SSL_set_session(session.peer, ticket);
			session.progress = lab_shake(&session.end, session.peer);
			assert_open(&session);
			assert_path(&session);
			tls_get_facts(&session.end.io, &facts);
			assert_int_equal(facts.resumed, i);
			assert_string_equal(facts.sni, HOST);
			transfer(&session, 50000, 5000, 5000);
			SSL_SESSION_free(ticket);
			ticket = SSL_get1_session(session.peer);
			SSL_shutdown(session.peer);
			lab_close_end(&session.end);
			SSL_free(session.peer);
			close(fds[1]);
		}
		SSL_SESSION_free(ticket);
		SSL_CTX_free(peer_ctx);
		tls_server_ctx_free(ctx);
		conf_diag_free(diag);
	}
}

/* The address sanitizer sees to leaks of the others. */
static void closing_in_the_middle_of_everything(void **state)
{
	struct lab_peer_wish wish = {0};
	struct session session;
	struct flow to_peer = {.total = 50000000};
	int fds[2];

	(void)state;
	ours.small_buffers = true;
	open_session(&session, &wish); /* with records that did not go out */
	assert_open(&session);
	do
		lab_take_events(&session.end, false);
	while (our_write(&session, &to_peer, 65536));
	close_session(&session);

	session = (struct session){0}; /* before the first byte */
	lab_connect(fds, false);
	open_ours(&session, false, fds[0]);
	assert_int_equal(tls_handshake(&session.end.io), TLS_AGAIN);
	lab_close_end(&session.end);
	conf_diag_free(session.diag);
	close(fds[1]);
}

static int make_world(void **state)
{
	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "Lab CA"}, &authority);
	lab_make_identity(&(struct lab_identity_wish){.common_name = HOST,
						      .alt_names =
							  "DNS:" HOST
							  ",DNS:*.wild.example,IP:127.0.0.1,IP:::1",
						      .issuer = &authority},
			  &site);
	lab_make_identity(
	    &(struct lab_identity_wish){.common_name = HOST, .alt_names = "DNS:" HOST}, &stranger);
	lab_make_identity(&(struct lab_identity_wish){.common_name = HOST,
						      .alt_names = "DNS:" HOST,
						      .issuer = &authority,
						      .days_from = -20,
						      .days_to = -10},
			  &expired);
	lab_add_both("site.pem", &site);
	lab_add_certificate("ca.pem", &authority);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	lab_remove_files();
	lab_free_identity(&authority);
	lab_free_identity(&site);
	lab_free_identity(&stranger);
	lab_free_identity(&expired);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(server_side_versions_and_ciphers, reset_ours),
	    cmocka_unit_test_setup(client_side_versions_and_ciphers, reset_ours),
	    cmocka_unit_test_setup(data_survives_small_buffers, reset_ours),
	    cmocka_unit_test_setup(nothing_is_cut_off_by_the_end, reset_ours),
	    cmocka_unit_test_setup(half_close_keeps_the_other_half, reset_ours),
	    cmocka_unit_test_setup(fin_without_close_notify_is_an_error, reset_ours),
	    cmocka_unit_test_setup(reset_is_an_error, reset_ours),
	    cmocka_unit_test_setup(damaged_record_is_an_error, reset_ours),
	    cmocka_unit_test_setup(key_update, reset_ours),
	    cmocka_unit_test_setup(key_update_while_idle, reset_ours),
	    cmocka_unit_test_setup(one_direction_alone, reset_ours),
	    cmocka_unit_test_setup(data_right_behind_the_handshake, reset_ours),
	    cmocka_unit_test_setup(untrusted_peer_is_refused, reset_ours),
	    cmocka_unit_test_setup(trusted_peer_is_accepted, reset_ours),
	    cmocka_unit_test_setup(broken_handshakes_say_why, reset_ours),
	    cmocka_unit_test_setup(alpn_is_http_1_1_or_an_alert, reset_ours),
	    cmocka_unit_test_setup(old_versions_and_ciphers_are_refused, reset_ours),
	    cmocka_unit_test_setup(sessions_are_resumed, reset_ours),
	    cmocka_unit_test_setup(closing_in_the_middle_of_everything, reset_ours),
	};

	by_kernel = lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
