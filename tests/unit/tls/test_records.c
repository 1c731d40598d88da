/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records in user space: what a stream holds between calls, what it tells a peer that sends what is
 * not right, when it changes its own keys, and which ciphers stay with OpenSSL.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../await.h"
#include "session.h"

static int only_user_space(void **state)
{
	session_reset(state);
	session_ours.kernel = CONF_KERNEL_TLS_OFF;
	return 0;
}

static struct tls_stream *stream_of(struct session *session)
{
	return tls_stream_of(&session->end.io);
}

static void open_13(struct session *session)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION, .cipher = "AES128"};

	session_open(session, &wish);
	session_assert_open(session);
	session_ping_pong(session); /* tickets are out */
}

/* A record as the peer would make it next. Its own SSL knows nothing of it. */
static size_t forge(struct session *session, uint8_t type, const void *text, size_t len_bytes,
		    unsigned char *record)
{
	struct tls_records *records = stream_of(session)->records;
	static struct tls_direction_keys keys;
	static uint64_t n_forged;
	struct iovec part = {(void *)text, len_bytes};
	struct tls_source source = {.parts = &part, .n_parts = 1};

	if (memcmp(keys.key, records->of[TLS_SIDE_CLIENT].key, sizeof(keys.key)) != 0)
		n_forged = records->of[TLS_SIDE_CLIENT].next_record;
	keys = records->of[TLS_SIDE_CLIENT];
	keys.next_record = n_forged++;
	assert_int_equal(tls_record_seal(records->form, &keys, type, &source, len_bytes, record),
			 0);
	return tls_record_size(records->form, len_bytes);
}

static void deliver(struct session *session, const void *data, size_t len_bytes)
{
	assert_int_equal(send(session->peer_fd, data, len_bytes, 0), (ssize_t)len_bytes);
	await_delivery(session->peer_fd, session->end.io.watch.fd);
}

static void assert_holds_nothing(struct session *session)
{
	const struct tls_stream *stream = stream_of(session);

	assert_null(stream->ssl);
	assert_null(stream->shake);
	assert_null(stream->in.data);
	assert_null(stream->out.data);
	assert_null(stream->records->held.data);
}

static void an_idle_stream_holds_keys_alone(void **state)
{
	(void)state;
	for (int as_server = 0; as_server < 2; as_server++)
		for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
			struct lab_peer_wish wish = {.is_server = as_server, .version = version};
			struct session session;

			session_open(&session, &wish);
			session_assert_open(&session);
			session_ping_pong(&session);
			assert_holds_nothing(&session);
			session_close(&session);
		}
}

/* Each byte of a record alone: what came is kept, and no more than that. */
static void parts_of_a_record_wait(void **state)
{
	unsigned char record[64];
	struct session session;
	size_t size_bytes;
	char data[8];

	(void)state;
	open_13(&session);
	size_bytes = forge(&session, TLS_TYPE_DATA, "abc", 3, record);
	for (size_t i = 0; i + 1 < size_bytes; i++) {
		deliver(&session, record + i, 1);
		do
			lab_take_events(&session.end, true);
		while (!session.end.io.readable);
		assert_int_equal(io_recv(&session.end.io, data, sizeof(data)), -EAGAIN);
		assert_false(session.end.io.readable);
		assert_int_equal(stream_of(&session)->in.len_bytes, i + 1);
	}
	deliver(&session, record + size_bytes - 1, 1);
	session_receive(&session, data, 3);
	assert_memory_equal(data, "abc", 3);
	assert_holds_nothing(&session);
	session_close(&session);
}

/* What a caller had no room for is opened once and kept; the next record is not touched. */
static void small_reads_take_records_in_slices(void **state)
{
	static const size_t steps[] = {1, 7, 4096, 16383, 16384, 16385, 40000};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		struct flow to_us = {.total = 49152}, we_got = {0};
		struct session session;

		open_13(&session);
		while (session_peer_write(&session, &to_us, 16384))
			;
		assert_int_equal(to_us.done, to_us.total);
		while (we_got.done < to_us.total)
			if (!session_our_read(&session, &we_got, steps[i]))
				lab_take_events(&session.end, true);
		assert_holds_nothing(&session);
		session_close(&session);
	}
}

/* Why the peer's SSL_read() failed. */
static int peer_reason(struct session *session)
{
	char byte;
	int n;

	ERR_clear_error();
	while ((n = SSL_read(session->peer, &byte, 1)) <= 0 &&
	       SSL_get_error(session->peer, n) == SSL_ERROR_WANT_READ)
		lab_take_events(&session->end, false);
	return ERR_GET_REASON(ERR_peek_error());
}

static void what_is_wrong_is_told_by_an_alert(void **state)
{
	static const struct {
		const char *sent;
		size_t len_bytes;
		int reason;
		const char *error;
	} cases[] = {
	    {"\x17\x03\x03\0\x20garbagegarbagegarbagegarbage1234", 37,
	     SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "integrity"},
	    {"\x17\x03\x03\0\x01x", 6, SSL_R_SSLV3_ALERT_BAD_RECORD_MAC, "integrity"},
	    {"\x17\x03\x03\x41\x01", 5, SSL_R_TLSV1_ALERT_RECORD_OVERFLOW, "too long"},
	    {"\x14\x03\x03\0\x01\x01", 6, SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE, "type"},
	    {"\x15\x03\x03\0\x02\x01\0", 7, SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE, "type"},
	    {"\x17\x03\x01\0\x20", 5, SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, "version"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct session session;

		open_13(&session);
		deliver(&session, cases[i].sent, cases[i].len_bytes);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_int_equal(tls_close_reason(&session.end.io), CLOSE_TLS_BROKEN);
		assert_non_null(strstr(tls_error(&session.end.io), cases[i].error));
		assert_int_equal(peer_reason(&session), cases[i].reason);
		session_close(&session);
	}
}

/* Data before what is wrong is delivered, and the end is told by the next call. */
static void data_before_a_fault_is_delivered(void **state)
{
	unsigned char bytes[128];
	struct session session;
	size_t n;

	(void)state;
	open_13(&session);
	n = forge(&session, TLS_TYPE_DATA, "abc", 3, bytes);
	memcpy(bytes + n, "\x17\x03\x03\xff\xff", 5);
	deliver(&session, bytes, n + 5);
	assert_int_equal(session_recv_end(&session), 3);
	assert_int_equal(session_recv_end(&session), -EPROTO);
	session_close(&session);
}

static void empty_records_have_an_end(void **state)
{
	unsigned char record[64];
	char byte;

	(void)state;
	for (int is_over = 0; is_over < 2; is_over++) {
		struct session session;

		open_13(&session);
		for (int i = 0; i < TLS_CONTROL_ROW_MAX + is_over; i++)
			deliver(&session, record, forge(&session, TLS_TYPE_DATA, "", 0, record));
		deliver(&session, record, forge(&session, TLS_TYPE_DATA, "x", 1, record));
		if (is_over)
			assert_int_equal(session_recv_end(&session), -EPROTO);
		else
			session_receive(&session, &byte, 1);
		session_close(&session);
	}
}

/* One record as it lies on the peer's socket. */
static size_t take_raw(struct session *session, unsigned char *record)
{
	size_t body_bytes;

	assert_int_equal(recv(session->peer_fd, record, 5, MSG_WAITALL), 5);
	body_bytes = (size_t)record[3] << 8 | record[4];
	assert_int_equal(recv(session->peer_fd, record + 5, body_bytes, MSG_WAITALL), body_bytes);
	return body_bytes;
}

static void open_raw(struct session *session, struct tls_direction_keys *keys, uint8_t type,
		     const void *text, size_t len_bytes)
{
	struct tls_record_form form = stream_of(session)->records->form;
	unsigned char record[128];
	struct tls_record_text got;
	size_t body_bytes = take_raw(session, record);

	assert_int_equal(tls_record_open(form, keys, record, body_bytes, NULL, 0, &got), 0);
	assert_int_equal(got.type, type);
	assert_int_equal(got.len_bytes, len_bytes);
	assert_memory_equal(got.data, text, len_bytes);
}

/* RFC 8446, 5.5: a key of AES-GCM serves no more than 2^24.5 records. */
static void a_key_that_served_long_is_changed(void **state)
{
	static const uint8_t key_update[] = {24, 0, 0, 1, 0};

	(void)state;
	for (size_t i = 0; i < SESSION_N_CASES; i++) {
		struct lab_peer_wish wish = {.version = session_matrix[i].version,
					     .cipher = session_matrix[i].cipher};
		bool changes = wish.version == TLS1_3_VERSION && !strstr(wish.cipher, "CHACHA");
		struct iovec part = {(char *)"data", 4};
		struct tls_direction_keys keys;
		struct session session;
		struct tls_records *records;

		session_open(&session, &wish);
		session_assert_open(&session);
		session_ping_pong(&session);
		fcntl(session.peer_fd, F_SETFL, 0);
		records = stream_of(&session)->records;
		records->of[TLS_SIDE_SERVER].next_record = (1 << 24) - 1;
		keys = records->of[TLS_SIDE_SERVER];
		for (int n = 0; n < 3; n++) {
			assert_int_equal(io_send(&session.end.io, &part, 1, false), 4);
			if (n == 1 && changes) {
				open_raw(&session, &keys, TLS_TYPE_HANDSHAKE, key_update, 5);
				assert_memory_not_equal(keys.key, records->of[TLS_SIDE_SERVER].key,
							16);
				keys = records->of[TLS_SIDE_SERVER];
				assert_int_equal(keys.next_record, 1);
				keys.next_record = 0;
			}
			open_raw(&session, &keys, TLS_TYPE_DATA, "data", 4);
		}
		session_close(&session);
	}
}

/* The socket takes nothing when the peer asks for our keys: the answer stands behind what waits. */
static void keys_are_changed_behind_what_waits(void **state)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	struct flow to_peer = {.total = UINT64_MAX}, peer_got = {0};
	struct session session;
	char byte;

	(void)state;
	session_ours.small_buffers = true;
	session_open(&session, &wish);
	session_assert_open(&session);
	do
		lab_take_events(&session.end, false);
	while (session_our_write(&session, &to_peer, 65536));
	assert_int_equal(SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED), 1);
	assert_int_equal(SSL_do_handshake(session.peer), 1);
	do {
		lab_take_events(&session.end, !session.end.io.readable);
		assert_int_equal(io_recv(&session.end.io, &byte, 1), -EAGAIN);
	} while (!stream_of(&session)->owes_key_update);
	to_peer.total = to_peer.done + 200000;
	while (peer_got.done < to_peer.total) {
		bool moved = session_our_write(&session, &to_peer, 65536);

		moved |= session_peer_read(&session, &peer_got, 65536);
		lab_take_events(&session.end, !moved);
	}
	assert_false(stream_of(&session)->owes_key_update);
	session_end_ours(&session);
	session_close(&session);
}

/* A peer that asks for records of at most 512 bytes. */
static void open_small(struct session *session, int version)
{
	struct lab_peer_wish wish = {.version = version};
	int fds[2];

	*session = (struct session){0};
	lab_connect(fds, false);
	session_open_ours(session, true, fds[0]);
	session->peer_fd = fds[1];
	session->peer_ctx = lab_make_peer_ctx(&wish);
	assert_int_equal(SSL_CTX_set_tlsext_max_fragment_length(session->peer_ctx,
								TLSEXT_max_fragment_length_512),
			 1);
	session->peer = lab_make_peer(session->peer_ctx, &wish, fds[1]);
	lab_watch_peer(&session->end, fds[1]);
	session->progress = lab_shake(&session->end, session->peer);
	session_assert_open(session);
	session_assert_path(session);
	assert_int_equal(stream_of(session)->records->size_max_bytes, 512);
}

/* RFC 6066, 4: the peer's SSL refuses records that are longer than it asked for. */
static void small_records_are_made_where_they_are_asked_for(void **state)
{
	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct session session;

		open_small(&session, version);
		session_transfer(&session, 300000, 65536, 512);
		session_end_ours(&session);
		session_close(&session);
	}
}

/* What the peer asked for binds it, too. */
static void records_longer_than_agreed_are_refused(void **state)
{
	static const unsigned char text[513];
	unsigned char record[600];

	(void)state;
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct session session;
		char data[512];

		open_small(&session, version);
		session_ping_pong(&session); /* tickets are out */
		deliver(&session, record, forge(&session, TLS_TYPE_DATA, text, 512, record));
		session_receive(&session, data, 512);
		deliver(&session, record, forge(&session, TLS_TYPE_DATA, text, 513, record));
		assert_int_equal(session_recv_end(&session), -EPROTO);
		assert_non_null(strstr(tls_error(&session.end.io), "too long"));
		assert_int_equal(peer_reason(&session), SSL_R_TLSV1_ALERT_RECORD_OVERFLOW);
		session_close(&session);
	}
}

static void other_ciphers_stay_with_openssl(void **state)
{
	static const struct {
		int version;
		const char *cipher;
	} cases[] = {{TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256"},
		     {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-CCM"},
		     {TLS1_3_VERSION, "TLS_AES_128_CCM_SHA256"}};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		int version = cases[i / 2].version;
		const char *cipher = cases[i / 2].cipher;
		struct lab_peer_wish wish = {
		    .version = version, .cipher = cipher, .is_server = i % 2};
		struct session session;
		struct tls_facts facts;

		session_ours.kernel = CONF_KERNEL_TLS_AUTO;
		session_ours.policy.ciphers_12 = version == TLS1_2_VERSION ? cipher : NULL;
		session_ours.policy.ciphers_13 = version == TLS1_3_VERSION ? cipher : NULL;
		session_open(&session, &wish);
		session_assert_open(&session);
		tls_get_facts(&session.end.io, &facts);
		assert_string_equal(facts.cipher, cipher);
		assert_string_equal(session.end.io.ops->name, "openssl");
		assert_non_null(strstr(session.end.io.why_not_kernel, "OpenSSL"));
		assert_non_null(stream_of(&session)->ssl);
		session_transfer(&session, 300000, 40000, 16384);
		if (version == TLS1_3_VERSION)
			SSL_key_update(session.peer, SSL_KEY_UPDATE_REQUESTED);
		session_ping_pong(&session);
		session_end_ours(&session);
		SSL_shutdown(session.peer);
		assert_int_equal(session_recv_end(&session), 0);
		session_close(&session);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(an_idle_stream_holds_keys_alone, only_user_space),
	    cmocka_unit_test_setup(parts_of_a_record_wait, only_user_space),
	    cmocka_unit_test_setup(small_reads_take_records_in_slices, only_user_space),
	    cmocka_unit_test_setup(what_is_wrong_is_told_by_an_alert, only_user_space),
	    cmocka_unit_test_setup(data_before_a_fault_is_delivered, only_user_space),
	    cmocka_unit_test_setup(empty_records_have_an_end, only_user_space),
	    cmocka_unit_test_setup(a_key_that_served_long_is_changed, only_user_space),
	    cmocka_unit_test_setup(keys_are_changed_behind_what_waits, only_user_space),
	    cmocka_unit_test_setup(small_records_are_made_where_they_are_asked_for,
				   only_user_space),
	    cmocka_unit_test_setup(records_longer_than_agreed_are_refused, only_user_space),
	    cmocka_unit_test_setup(other_ciphers_stay_with_openssl, only_user_space),
	};

	return cmocka_run_group_tests_name("tls records", tests, session_make_world,
					   session_end_world);
}
