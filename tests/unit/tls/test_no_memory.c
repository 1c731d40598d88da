/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One allocation after the other fails, in the hand-over, in the answer to new keys and where
 * records are made or wait: either all goes on, or the stream ends and says why, and the peer has
 * seen nothing that is not right. Stands in for tls_handover.c, tls_memory.c and
 * tls_wire.c.
 */
#include <errno.h>
#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "../await.h"
#include "session.h"

/* Allocations that still succeed; < 0: all do. */
static int n_left = -1;
static bool has_failed;

static bool may_allocate(void)
{
	if (n_left < 0 || n_left-- > 0)
		return true;
	has_failed = true;
	return false;
}

/* The next but `n` fails, and only that. */
static void begin_failing(int n)
{
	n_left = n;
	has_failed = false;
}

static void end_failing(void)
{
	n_left = -1;
}

static void *failing_realloc(void *data, size_t len_bytes)
{
	return may_allocate() ? realloc(data, len_bytes) : NULL;
}

static void *failing_malloc(size_t len_bytes)
{
	return may_allocate() ? malloc(len_bytes) : NULL;
}

static int fails_in_handover = -1; /* at which allocation there */

#define malloc failing_malloc
#define realloc failing_realloc
#define tls_handover real_tls_handover
void real_tls_handover(struct tls_stream *stream, struct io *io);
#include "tls/tls_handover.c"
#include "tls/tls_memory.c"
#include "tls/tls_wire.c"
#undef tls_handover
#undef realloc
#undef malloc

void tls_handover(struct tls_stream *stream, struct io *io)
{
	begin_failing(fails_in_handover);
	real_tls_handover(stream, io);
	end_failing();
}

static int only_user_space(void **state)
{
	session_reset(state);
	session_ours.kernel = CONF_KERNEL_TLS_OFF;
	fails_in_handover = -1;
	return 0;
}

static void open_stream(struct session *session, const struct lab_peer_wish *wish)
{
	session_open(session, wish);
	session_assert_open(session);
}

/* Whatever was missing: the records are ours or OpenSSL's, and all of it works. */
static void a_hand_over_without_memory_leaves_it_to_openssl(void **state)
{
	(void)state;
	for (int kind = 0; kind < 4; kind++) {
		struct lab_peer_wish wish = {.is_server = kind & 1,
					     .version = kind & 2 ? TLS1_3_VERSION : TLS1_2_VERSION,
					     .cipher = "AES128"};
		int n_without = 0;

		for (fails_in_handover = 0;; fails_in_handover++) {
			struct session session;
			bool was_missing;

			open_stream(&session, &wish);
			was_missing = has_failed;
			if (!was_missing)
				session_assert_path(&session);
			else if (session.end.io.ops == &tls_openssl_ops)
				n_without++;
			if (session.end.io.ops == &tls_openssl_ops)
				assert_string_equal(session.end.io.why_not_kernel, "no memory");
			session_transfer(&session, 50000, 20000, 16384);
			session_end_ours(&session);
			session_close(&session);
			if (!was_missing)
				break;
		}
		assert_in_range(n_without, kind & 2 ? 2 : 1, 1000);
	}
}

/* It ended for want of memory, and says so for good. */
static void assert_out_of_memory(const struct session *session, ssize_t n)
{
	if (n == -EPROTO)
		assert_int_equal(tls_close_reason(&session->end.io), CLOSE_OUT_OF_MEMORY);
	else
		assert_int_equal(n, -ENOMEM);
	assert_true(*tls_error(&session->end.io));
}

/* The peer asks for new keys: nothing, or all that it takes. */
static void new_keys_without_memory_end_it(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION, .cipher = "AES256"};
	int n_ended = 0;
	bool was_missing = true;

	(void)state;
	for (int i = 0; was_missing; i++) {
		struct session session;
		char byte;
		ssize_t n;

		open_stream(&session, &wish);
		session_ping_pong(&session);
		assert_int_equal(SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(session.peer), 1);
		await_delivery(session.peer_fd, session.end.io.watch.fd);
		begin_failing(i);
		n = io_recv(&session.end.io, &byte, 1);
		end_failing();
		was_missing = has_failed;
		if (n == -EAGAIN) {
			session_ping_pong(&session);
			session_end_ours(&session);
		} else {
			n_ended++;
			assert_true(was_missing);
			assert_out_of_memory(&session, n);
			assert_int_equal(io_recv(&session.end.io, &byte, 1), n);
		}
		session_close(&session);
	}
	assert_in_range(n_ended, 2, 1000);
}

/* More than there is room for, behind the part of a record. */
static void what_came_is_lost_with_a_word(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION, .cipher = "CHACHA"};
	int n_ended = 0, n_whole = 0;

	(void)state;
	/* The second time from the first allocation on the thread has its cipher's context. */
	for (int i = 0; n_whole < 2; i++) {
		struct flow to_us = {.total = 40000};
		bool was_missing;
		struct session session;
		char data[100];
		ssize_t n;

		open_stream(&session, &wish);
		while (session_peer_write(&session, &to_us, 10000))
			;
		assert_int_equal(to_us.done, to_us.total);
		await_delivery(session.peer_fd, session.end.io.watch.fd);
		begin_failing(i);
		n = io_recv(&session.end.io, data, sizeof(data));
		end_failing();
		was_missing = has_failed;
		if (n == sizeof(data) && was_missing) /* it is told by the next call */
			while ((n = io_recv(&session.end.io, data, sizeof(data))) > 0)
				;
		if (was_missing)
			assert_out_of_memory(&session, n);
		else
			assert_int_equal(n, sizeof(data));
		session_close(&session);
		n_ended += was_missing;
		if (!was_missing) {
			n_whole++;
			i = -1;
		}
	}
	assert_in_range(n_ended, 5, 1000); /* a cipher's context, and two queues */
}

/* All that comes before the end is what was sent, and the end is a cut. */
static uint64_t assert_cut(const struct session *session)
{
	static char data[65536], expected[65536];
	uint64_t done = 0;
	int n, why;

	for (;;) {
		ERR_clear_error();
		n = SSL_read(session->peer, data, sizeof(data));
		if (n > 0) {
			lab_fill(expected, (size_t)n, done);
			assert_memory_equal(data, expected, (size_t)n);
			done += (uint64_t)n;
			continue;
		}
		why = SSL_get_error(session->peer, n);
		if (why != SSL_ERROR_WANT_READ)
			break;
		await_readable(session->peer_fd);
	}
	assert_int_equal(why, SSL_ERROR_SSL);
	assert_int_equal(ERR_GET_REASON(ERR_peek_error()), SSL_R_UNEXPECTED_EOF_WHILE_READING);
	return done;
}

/* Until the socket takes no more. > 0: bytes; -errno. */
static ssize_t fill_socket(struct session *session)
{
	static char data[200000];
	ssize_t sent = 0, n;

	do {
		struct iovec part = {data, sizeof(data)};

		lab_fill(data, sizeof(data), (uint64_t)sent);
		n = io_send(&session->end.io, &part, 1, false);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	return n == -EAGAIN ? sent : n;
}

/* Records that cannot wait for the socket are lost: no other may follow them. */
static void what_cannot_be_sent_ends_it(void **state)
{
	int n_ended = 0, n_whole = 0;

	(void)state;
	session_ours.small_buffers = true;
	for (int i = 0; n_whole < 2; i++) {
		struct lab_peer_wish wish = {.version = i & 1 ? TLS1_3_VERSION : TLS1_2_VERSION,
					     .cipher = "CHACHA"};
		struct session session;
		struct iovec part = {(char *)"more", 4};
		bool was_missing;
		ssize_t n;

		open_stream(&session, &wish);
		begin_failing(i);
		n = fill_socket(&session);
		end_failing();
		was_missing = has_failed;
		if (was_missing) {
			n_ended++;
			assert_out_of_memory(&session, n);
			if (tls_stream_of(&session.end.io)->send_error) {
				assert_int_equal(io_send(&session.end.io, &part, 1, false),
						 -ENOMEM);
				assert_int_equal(io_shutdown_send(&session.end.io), -ENOMEM);
			}
			assert_int_equal(shutdown(session.end.io.watch.fd, SHUT_WR), 0);
			assert_cut(&session);
		}
		session_close(&session);
		if (!was_missing) {
			n_whole++;
			i = -1;
		}
	}
	assert_in_range(n_ended, 4, 1000);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(what_came_is_lost_with_a_word, only_user_space),
	    cmocka_unit_test_setup(what_cannot_be_sent_ends_it, only_user_space),
	    cmocka_unit_test_setup(a_hand_over_without_memory_leaves_it_to_openssl,
				   only_user_space),
	    cmocka_unit_test_setup(new_keys_without_memory_end_it, only_user_space),
	};

	return cmocka_run_group_tests_name("tls without memory", tests, session_make_world,
					   session_end_world);
}
