/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams of ours against plain OpenSSL: data and ends, with every version and cipher. Handshakes
 * are those of test_handshake.c.
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

#include "session.h"
#include "stats/stats.h"

static void try_matrix(bool peer_is_server, enum conf_kernel_tls kernel)
{
	for (size_t i = 0; i < SESSION_N_CASES; i++) {
		struct lab_peer_wish wish = {.is_server = peer_is_server,
					     .version = session_matrix[i].version,
					     .cipher = session_matrix[i].cipher,
					     .sni = peer_is_server ? NULL : "Origin.Example."};
		struct session session;
		struct tls_facts facts;

		session_ours.kernel = kernel;
		session_open(&session, &wish);
		session_assert_open(&session);
		tls_get_facts(&session.end.io, &facts);
		assert_string_equal(facts.version, session_matrix[i].version_word);
		assert_non_null(strstr(facts.cipher, session_matrix[i].words[0]));
		session_assert_name(&session, peer_is_server ? NULL : SESSION_HOST);
		session_assert_path(&session);
		session_transfer(&session, 300000, 40000, 16384);
		session_end_ours(&session);
		SSL_shutdown(session.peer);
		assert_int_equal(session_recv_end(&session), 0);
		assert_int_equal(session_recv_end(&session), 0);
		session_close(&session);
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

/* The kernel goes on where user space has come to, between two records and not before. */
static void bulk_goes_to_the_kernel(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2 * SESSION_N_CASES; i++) {
		const struct session_case *of = &session_matrix[i % SESSION_N_CASES];
		struct lab_peer_wish wish = {
		    .is_server = i < SESSION_N_CASES, .version = of->version, .cipher = of->cipher};
		struct session session;
		struct io *io = &session.end.io;
		char data[6];

		session_ours.waits = true;
		session_open(&session, &wish);
		session_assert_open(&session);
		assert_string_equal(io->ops->name, "userspace");
		for (int turn = 0; turn < 3; turn++)
			session_ping_pong(&session);
		assert_int_equal(io->ops->may_splice(io, false), session_by_kernel);
		assert_int_equal(SSL_write(session.peer, "halved", 6), 6);
		session_receive(&session, data, 3);
		assert_int_equal(io->ops->may_splice(io, true), session_by_kernel);
		assert_string_equal(io->ops->name, "userspace");
		session_receive(&session, data + 3, 3);
		assert_memory_equal(data, "halved", 6);
		assert_false(io->ops->may_splice(io, true));
		session_assert_path(&session);
		for (int turn = 0; turn < 3; turn++)
			session_ping_pong(&session);
		session_end_ours(&session);
		session_close(&session);
	}
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

			session_ours.kernel = (enum conf_kernel_tls)kernel;
			session_ours.small_buffers = true;
			session_open(&session, &wish);
			session_assert_open(&session);
			session_transfer(&session, i ? 400000 : 2000, steps[i][0], steps[i][1]);
			session_end_ours(&session);
			session_close(&session);
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

		session_ours.kernel = i % 8 ? CONF_KERNEL_TLS_AUTO : CONF_KERNEL_TLS_OFF;
		session_ours.small_buffers = i % 2;
		session_open(&session, &wish);
		session_assert_open(&session);
		setsockopt(session.end.io.watch.fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
		do /* until no more is taken */
			lab_take_events(&session.end, false);
		while (session_our_write(&session, &to_peer, 16384));
		/* Records of the last part are made, so it has to come again; the kernel did
		 * not. */
		to_peer.total =
		    to_peer.done + (strcmp(session.end.io.ops->name, "ktls") ? 16384 : 0);
		while (peer_got.done < to_peer.total || err) {
			bool moved = session_our_write(&session, &to_peer, 16384);

			if (err && to_peer.done == to_peer.total)
				err = io_shutdown_send(&session.end.io);
			if (err && err != -EAGAIN)
				fail_msg("shutdown: %s", strerror(-err));
			moved |= session_peer_read(&session, &peer_got, 1000);
			lab_take_events(&session.end, !moved && err);
		}
		session_end_ours(&session);
		session_close(&session);
	}
}

static void half_close_keeps_the_other_half(void **state)
{
	struct lab_peer_wish wish = {0};
	struct session session;
	struct flow to_us = {.total = 200000}, we_got = {0};

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		session_ours.kernel = (enum conf_kernel_tls)kernel;
		to_us.done = we_got.done = 0;
		session_open(&session, &wish);
		session_assert_open(&session);
		session_end_ours(&session);
		while (we_got.done < to_us.total) {
			lab_take_events(&session.end, false);
			session_peer_write(&session, &to_us, 10000);
			session_our_read(&session, &we_got, 65536);
		}
		SSL_shutdown(session.peer);
		assert_int_equal(session_recv_end(&session), 0);
		session_close(&session);
	}
}

static void fin_without_close_notify_is_an_error(void **state)
{
	struct lab_peer_wish wish = {0};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		session_ours.kernel = (enum conf_kernel_tls)kernel;
		session_open(&session, &wish);
		session_assert_open(&session);
		assert_int_equal(SSL_write(session.peer, "half", 4), 4);
		assert_int_equal(shutdown(session.peer_fd, SHUT_WR), 0);
		assert_int_equal(session_recv_end(&session), 4);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_non_null(strstr(tls_error(&session.end.io), "close_notify"));
		session_close(&session);
	}
}

static void reset_is_an_error(void **state)
{
	struct lab_peer_wish wish = {0};
	struct linger linger = {.l_onoff = 1};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		session_ours.kernel = (enum conf_kernel_tls)kernel;
		session_open(&session, &wish);
		session_assert_open(&session);
		setsockopt(session.peer_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close(session.peer_fd);
		session.peer_fd = -1;
		assert_int_equal(session_recv_end(&session), -ECONNRESET);
		session_close(&session);
	}
}

static void damaged_record_is_an_error(void **state)
{
	static const char garbage[] = "\x17\x03\x03\x00\x20garbagegarbagegarbagegarbage1234";
	struct lab_peer_wish wish = {0};
	struct session session;

	(void)state;
	for (int kernel = 0; kernel < CONF_KERNEL_TLS_MAX; kernel++) {
		session_ours.kernel = (enum conf_kernel_tls)kernel;
		session_open(&session, &wish);
		session_assert_open(&session);
		assert_int_equal(send(session.peer_fd, garbage, sizeof(garbage) - 1, 0),
				 sizeof(garbage) - 1);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_non_null(strstr(tls_error(&session.end.io), "integrity check"));
		session_close(&session);
	}
}

/* Each direction goes its own way. */
static void one_direction_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < SESSION_N_CASES; i++)
		for (int mode = 1; mode < 3; mode++) {
			struct lab_peer_wish wish = {.version = session_matrix[i].version,
						     .cipher = session_matrix[i].cipher,
						     .is_server = i % 2};
			struct tls_facts facts;
			struct session session;

			session_set_mode(mode);
			session_open(&session, &wish);
			session_assert_open(&session);
			tls_get_facts(&session.end.io, &facts);
			assert_int_equal(facts.kernel_send, session_by_kernel && mode == 1);
			assert_int_equal(facts.kernel_receive, session_by_kernel && mode == 2);
			assert_int_equal(session.end.io.ops->splice_out != NULL, facts.kernel_send);
			assert_int_equal(session.end.io.ops->splice_in != NULL,
					 facts.kernel_receive);
			assert_non_null(session.end.io.why_not_kernel);
			session_transfer(&session, 1 << 20, 30000, 20000);
			SSL_shutdown(session.peer);
			assert_int_equal(session_recv_end(&session), 0);
			session_end_ours(&session);
			session_close(&session);
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
	session_ours.small_buffers = true;
	session_open(&session, &wish); /* with records that did not go out */
	session_assert_open(&session);
	do
		lab_take_events(&session.end, false);
	while (session_our_write(&session, &to_peer, 65536));
	session_close(&session);

	session = (struct session){0}; /* before the first byte */
	lab_connect(fds, false);
	session_open_ours(&session, false, fds[0]);
	assert_int_equal(tls_handshake(&session.end.io), TLS_AGAIN);
	lab_close_end(&session.end);
	conf_diag_free(session.diag);
	close(fds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(server_side_versions_and_ciphers, session_reset),
	    cmocka_unit_test_setup(client_side_versions_and_ciphers, session_reset),
	    cmocka_unit_test_setup(bulk_goes_to_the_kernel, session_reset),
	    cmocka_unit_test_setup(data_survives_small_buffers, session_reset),
	    cmocka_unit_test_setup(nothing_is_cut_off_by_the_end, session_reset),
	    cmocka_unit_test_setup(half_close_keeps_the_other_half, session_reset),
	    cmocka_unit_test_setup(fin_without_close_notify_is_an_error, session_reset),
	    cmocka_unit_test_setup(reset_is_an_error, session_reset),
	    cmocka_unit_test_setup(damaged_record_is_an_error, session_reset),
	    cmocka_unit_test_setup(one_direction_alone, session_reset),
	    cmocka_unit_test_setup(closing_in_the_middle_of_everything, session_reset),
	};

	return cmocka_run_group_tests(tests, session_make_world, session_end_world);
}
