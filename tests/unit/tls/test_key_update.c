/* SPDX-License-Identifier: Apache-2.0 */
/* New keys of a peer (RFC 8446, 4.6.3), with data and without, by whoever does the records. */
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

static void key_update(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	struct session session;

	(void)state;
	for (int mode = 0; mode < 4; mode++) {
		bool survives = !session_by_kernel || mode == 3 || tls_kernel_can_rekey();

		session_set_mode(mode);
		for (int as_server = 0; as_server < 2; as_server++) {
			wish.is_server = as_server;
			session_open(&session, &wish);
			session_assert_open(&session);
			session_ping_pong(&session);
			if (survives) {
				for (int i = 0; i < 5; i++) {
					SSL_key_update(session.peer,
						       i % 2 ? SSL_KEY_UPDATE_REQUESTED
							     : SSL_KEY_UPDATE_NOT_REQUESTED);
					session_ping_pong(&session);
				}
				session_end_ours(&session);
			} else {
				SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED);
				assert_int_equal(SSL_write(session.peer, "x", 1), 1);
				assert_int_equal(session_recv_end(&session), -EPROTO);
				assert_non_null(strstr(tls_error(&session.end.io), "keys"));
				assert_int_equal(tls_close_reason(&session.end.io),
						 CLOSE_TLS_KEY_UPDATE);
			}
			session_close(&session);
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
	if (session_by_kernel && !tls_kernel_can_rekey())
		return;
	session_open(&session, &wish);
	session_assert_open(&session);
	for (int i = 0; i < 3; i++) {
		uint64_t followed = stats_sum(STAT_TLS_KEY_UPDATES);

		SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED);
		assert_int_equal(SSL_do_handshake(session.peer), 1);
		do
			lab_take_events(&session.end, true);
		while (io_recv(&session.end.io, &byte, 1) == -EAGAIN && session_by_kernel &&
		       stats_sum(STAT_TLS_KEY_UPDATES) == followed);
	}
	session_ping_pong(&session);
	session_close(&session);
}

/* We have ended our direction: nothing can be answered, and what the peer sends goes on. */
static void key_update_behind_our_end(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	char data[4];

	(void)state;
	for (int mode = 0; mode < 4; mode++) {
		struct session session;

		session_set_mode(mode);
		if (session_by_kernel && !(mode & 1) && !tls_kernel_can_rekey())
			continue;
		session_open(&session, &wish);
		session_assert_open(&session);
		session_end_ours(&session);
		for (int i = 0; i < 2; i++) {
			assert_int_equal(SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED), 1);
			assert_int_equal(SSL_write(session.peer, "ping", 4), 4);
			session_receive(&session, data, sizeof(data));
			assert_memory_equal(data, "ping", 4);
		}
		SSL_shutdown(session.peer);
		assert_int_equal(session_recv_end(&session), 0);
		session_close(&session);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(key_update, session_reset),
	    cmocka_unit_test_setup(key_update_while_idle, session_reset),
	    cmocka_unit_test_setup(key_update_behind_our_end, session_reset),
	};

	return cmocka_run_group_tests(tests, session_make_world, session_end_world);
}
