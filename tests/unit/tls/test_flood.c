/* SPDX-License-Identifier: Apache-2.0 */
/* A peer that sends records without data for ever, to user space: the thread has others to serve.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"

#define ROW_MAX 64

static struct lab_identity site;
static struct tls_server_ctx *ctx;

struct session {
	SSL_CTX *peer_ctx;
	SSL *peer;
	struct lab_end end;
	int fd;
};

static void open_session(struct session *session)
{
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION};
	char byte;
	int fds[2];

	session->peer_ctx = lab_make_peer_ctx(&wish);
	lab_connect(fds, false);
	lab_open_end(&session->end, fds[0]);
	session->fd = fds[1];
	assert_int_equal(tls_start_server(&session->end.io, ctx, NULL), 0);
	session->peer = lab_make_peer(session->peer_ctx, &wish, fds[1]);
	assert_int_equal(lab_shake(&session->end, session->peer), TLS_READY);
	assert_int_equal(SSL_read(session->peer, &byte, 1), -1); /* tickets */
	assert_string_equal(session->end.io.ops->name, "userspace");
}

static void close_session(struct session *session)
{
	SSL_set_shutdown(session->peer, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(session->peer);
	SSL_CTX_free(session->peer_ctx);
	close(session->fd);
	lab_close_end(&session->end);
}

static void update_keys(struct session *session, int n)
{
	for (int i = 0; i < n; i++) {
		assert_int_equal(SSL_key_update(session->peer, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		assert_int_equal(SSL_do_handshake(session->peer), 1);
	}
}

/* What is there to read, as the caller gets it: until `wanted` bytes came, or an error. */
static ssize_t take(struct session *session, char *data, size_t wanted)
{
	size_t done = 0;

	while (done < wanted) {
		ssize_t n = io_recv(&session->end.io, data + done, wanted - done);

		if (n == -EAGAIN)
			lab_take_events(&session->end, true);
		else if (n <= 0)
			return n;
		else
			done += (size_t)n;
	}
	return (ssize_t)done;
}

static void a_row_has_an_end(void **state)
{
	struct session session;
	char byte;

	(void)state;
	for (int is_over = 0; is_over < 2; is_over++) {
		open_session(&session);
		update_keys(&session, is_over ? ROW_MAX + 1 : ROW_MAX - 1);
		assert_int_equal(SSL_write(session.peer, "x", 1), 1);
		assert_int_equal(take(&session, &byte, 1), is_over ? -EPROTO : 1);
		if (is_over)
			assert_non_null(strstr(tls_error(&session.end.io), "too many records"));
		close_session(&session);
	}
}

/* A little data between them: each call brings some of it, none all, and nothing is lost. */
static void rows_with_data_are_taken_in_turns(void **state)
{
	char data[10];
	struct session session;
	size_t done = 0;
	int n_calls = 0;

	(void)state;
	open_session(&session);
	for (size_t i = 0; i < sizeof(data); i++) {
		update_keys(&session, ROW_MAX - 1);
		assert_int_equal(SSL_write(session.peer, "x", 1), 1);
	}
	lab_take_events(&session.end, true);
	while (done < sizeof(data)) {
		ssize_t n = io_recv(&session.end.io, data + done, sizeof(data) - done);

		if (n == -EAGAIN) {
			assert_false(session.end.io.readable);
			lab_take_events(&session.end, true);
			continue;
		}
		assert_in_range(n, 1, 2);
		done += (size_t)n;
		n_calls++;
	}
	assert_true(n_calls >= 5);
	assert_memory_equal(data, "xxxxxxxxxx", sizeof(data));
	close_session(&session);
}

static int make_world(void **state)
{
	static struct conf_certificate certificate = {.chain = {.path = "site.pem"},
						      .key = {.path = "site.pem"}};
	const struct conf_server_tls conf = {
	    .certificates = &certificate,
	    .n_certificates = 1,
	    .kernel = CONF_KERNEL_TLS_OFF,
	    .kernel_receive = CONF_KERNEL_TLS_OFF,
	    .kernel_send = CONF_KERNEL_TLS_OFF,
	    .tickets = {.on = true, .lifetime_s = 3600},
	};
	struct conf_diag *diag = conf_diag_new("test");

	(void)state;
	lab_make_identity(
	    &(struct lab_identity_wish){.common_name = "site", .alt_names = "DNS:site.example"},
	    &site);
	lab_add_both("site.pem", &site);
	ctx = tls_server_ctx_new(&conf, &lab_files, diag);
	assert_non_null(ctx);
	conf_diag_free(diag);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	tls_server_ctx_free(ctx);
	lab_free_identity(&site);
	lab_remove_files();
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_row_has_an_end),
	    cmocka_unit_test(rows_with_data_are_taken_in_turns),
	};

	lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
