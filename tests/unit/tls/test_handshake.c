/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes of ours with plain OpenSSL: who is let in, what is agreed on, what goes wrong. */
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

#include "session.h"
#include "stats/stats.h"

/* A client may send its first request with its last handshake message. */
static void data_right_behind_the_handshake(void **state)
{
	(void)state;
	for (size_t i = 0; i < SESSION_N_CASES; i++) {
		struct lab_peer_wish wish = {.version = session_matrix[i].version,
					     .cipher = session_matrix[i].cipher};
		struct session session = {0};
		SSL *ssl;
		char data[16];
		int fds[2];

		lab_connect(fds, false);
		session_open_ours(&session, true, fds[0]);
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
		session_assert_open(&session);
		session_assert_path(&session);
		assert_true(session.end.io.readable);
		while (io_recv(&session.end.io, data, sizeof(data)) == -EAGAIN)
			lab_take_events(&session.end, true);
		assert_memory_equal(data, "request", 7);
		session_close(&session);
	}
}

static void untrusted_peer_is_refused(void **state)
{
	static const struct {
		const struct lab_identity *identity;
		const char *host, *server_name, *error;
	} cases[] = {
	    {&session_stranger, SESSION_HOST, NULL, "self"},
	    {&session_expired, SESSION_HOST, NULL, "certificate has expired"},
	    {&session_site, "other.example", NULL, "expected \"other.example\""},
	    {&session_site, "127.0.0.2", NULL, "IP address mismatch"},
	    {&session_site, SESSION_HOST, "other.example", "mismatch"},
	};
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.is_server = true, .identity = cases[i].identity};
		struct session session;

		session_ours.host = cases[i].host;
		session_ours.server_name = cases[i].server_name;
		session_ours.no_verify = false;
		session_open(&session, &wish);
		assert_int_equal(session.progress, TLS_UNVERIFIED);
		if (!strstr(tls_error(&session.end.io), cases[i].error))
			fail_msg("\"%s\" is not about \"%s\"", tls_error(&session.end.io),
				 cases[i].error);
		assert_int_equal(tls_handshake(&session.end.io), TLS_UNVERIFIED);
		session_close(&session);

		session_ours.no_verify = true; /* the same peer, and nobody asks */
		session_open(&session, &wish);
		session_assert_open(&session);
		session_close(&session);
	}
}

static void trusted_peer_is_accepted(void **state)
{
	static const struct {
		const char *host, *server_name, *sni;
	} cases[] = {
	    {SESSION_HOST, NULL, SESSION_HOST},
	    {"127.0.0.1", NULL, ""},
	    {"::1", NULL, ""},
	    {"127.0.0.2", "a.wild.example", "a.wild.example"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct lab_peer_wish wish = {.is_server = true};
		struct session session;
		const char *sni;

		session_ours.host = cases[i].host;
		session_ours.server_name = cases[i].server_name;
		session_open(&session, &wish);
		session_assert_open(&session);
		sni = SSL_get_servername(session.peer, TLSEXT_NAMETYPE_host_name);
		assert_string_equal(sni ? sni : "", cases[i].sni);
		session_close(&session);
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
		session_open_ours(&session, true, fds[0]);
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

		session_open(&session, &wish);
		assert_int_equal(session.progress, cases[i].progress);
		SSL_get0_alpn_selected(session.peer, &chosen, &len);
		assert_int_equal(len, i ? 0 : 8);
		if (session.progress == TLS_FAILED)
			assert_non_null(strstr(tls_error(&session.end.io), "ALPN"));
		session_close(&session);
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
		session_open_ours(&session, true, fds[0]);
		session.peer_fd = fds[1];
		session.peer_ctx = lab_make_peer_ctx(&wish);
		SSL_CTX_set_security_level(session.peer_ctx, 0);
		if (cases[i].ciphers)
			assert_int_equal(
			    SSL_CTX_set_cipher_list(session.peer_ctx, cases[i].ciphers), 1);
		session.peer = lab_make_peer(session.peer_ctx, &wish, fds[1]);
		assert_int_equal(lab_shake(&session.end, session.peer), TLS_FAILED);
		assert_string_not_equal(tls_error(&session.end.io), "");
		session_close(&session);
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
		struct lab_peer_wish wish = {.version = versions[v], .sni = SESSION_HOST};
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
			session_assert_open(&session);
			session_assert_path(&session);
			tls_get_facts(&session.end.io, &facts);
			assert_int_equal(facts.resumed, i);
			session_assert_name(&session, SESSION_HOST);
			session_transfer(&session, 50000, 5000, 5000);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(data_right_behind_the_handshake, session_reset),
	    cmocka_unit_test_setup(untrusted_peer_is_refused, session_reset),
	    cmocka_unit_test_setup(trusted_peer_is_accepted, session_reset),
	    cmocka_unit_test_setup(broken_handshakes_say_why, session_reset),
	    cmocka_unit_test_setup(alpn_is_http_1_1_or_an_alert, session_reset),
	    cmocka_unit_test_setup(old_versions_and_ciphers_are_refused, session_reset),
	    cmocka_unit_test_setup(sessions_are_resumed, session_reset),
	};

	return cmocka_run_group_tests(tests, session_make_world, session_end_world);
}
