/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that no honest peer sends, under its own keys: made by hand with the secret that its key
 * log tells. In user space, and on a kernel with TLS through that, by recv and by splice(2).
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../await.h"
#include "lab.h"
#include "tls/tls_internal.h"

static struct lab_identity authority, site;
static bool by_kernel;
static unsigned char secret[32];

struct forge {
	struct lab_end end;
	SSL_CTX *peer_ctx;
	SSL *peer;
	int peer_fd;
	struct tls_direction_keys keys;
};

static void note_secret(const SSL *ssl, const char *line)
{
	static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
	size_t len_bytes;

	(void)ssl;
	if (strncmp(line, label, sizeof(label) - 1) == 0)
		assert_int_equal(OPENSSL_hexstr2buf_ex(secret, sizeof(secret), &len_bytes,
						       strrchr(line, ' ') + 1, '\0'),
				 1);
}

static void open_forge(struct forge *forge, enum conf_kernel_tls kernel)
{
	struct conf_certificate certificate = {.chain = {.path = "site.pem"},
					       .key = {.path = "site.pem"}};
	struct conf_server_tls conf = {
	    .certificates = &certificate, .n_certificates = 1, .kernel = kernel};
	struct lab_peer_wish wish = {.version = TLS1_3_VERSION, .cipher = "AES128"};
	struct conf_diag *diag = conf_diag_new("test");
	struct tls_server_ctx *ctx = tls_server_ctx_new(&conf, &lab_files, diag);
	int fds[2];

	assert_non_null(ctx);
	*forge = (struct forge){0};
	lab_connect(fds, false);
	lab_open_end(&forge->end, fds[0]);
	forge->peer_fd = fds[1];
	assert_int_equal(tls_start_server(&forge->end.io, ctx, NULL), 0);
	tls_server_ctx_free(ctx);
	conf_diag_free(diag);
	forge->peer_ctx = lab_make_peer_ctx(&wish);
	SSL_CTX_set_keylog_callback(forge->peer_ctx, note_secret);
	forge->peer = lab_make_peer(forge->peer_ctx, &wish, fds[1]);
	lab_watch_peer(&forge->end, fds[1]);
	assert_int_equal(lab_shake(&forge->end, forge->peer), TLS_READY);
	assert_int_equal(tls_keys_expand_13(EVP_sha256(), secret, sizeof(secret), 16, &forge->keys),
			 0);
	assert_int_equal(forge->end.io.why_not_kernel == NULL,
			 by_kernel && kernel != CONF_KERNEL_TLS_OFF);
}

static void close_forge(struct forge *forge)
{
	lab_close_end(&forge->end);
	SSL_free(forge->peer);
	SSL_CTX_free(forge->peer_ctx);
	close(forge->peer_fd);
}

/* RFC 8446, 5.2 and 5.3. */
static void send_record(struct forge *forge, uint8_t type, const void *data, size_t len_bytes)
{
	unsigned char record[5 + 256 + 1 + 16] = {23, 3, 3}, text[257], nonce[12];
	size_t body_bytes = len_bytes + 1 + 16;
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n;

	assert_true(len_bytes <= 256);
	memcpy(text, data, len_bytes);
	text[len_bytes] = type;
	record[3] = (unsigned char)(body_bytes >> 8);
	record[4] = (unsigned char)body_bytes;
	memcpy(nonce, forge->keys.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (unsigned char)(forge->keys.next_record >> (56 - 8 * i));
	forge->keys.next_record++;
	assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, forge->keys.key, nonce),
			 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, record, 5), 1);
	assert_int_equal(EVP_EncryptUpdate(ctx, record + 5, &n, text, (int)len_bytes + 1), 1);
	assert_int_equal(EVP_EncryptFinal_ex(ctx, record + 5 + n, &n), 1);
	assert_int_equal(
	    EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, record + 5 + len_bytes + 1), 1);
	EVP_CIPHER_CTX_free(ctx);
	assert_int_equal(send(forge->peer_fd, record, 5 + body_bytes, 0), 5 + body_bytes);
}

static ssize_t take(struct forge *forge, int pipe_fd, char *data, size_t len_bytes)
{
	struct io *io = &forge->end.io;

	for (;;) {
		ssize_t n;

		lab_take_events(&forge->end, !io->readable);
		if (!io->readable)
			continue;
		n = pipe_fd < 0 ? io_recv(io, data, len_bytes)
				: io_splice_in(io, pipe_fd, len_bytes);
		if (n != -EAGAIN)
			return n;
		io->readable = false;
	}
}

/* Each of them in user space, by the kernel, and by the kernel into a pipe. */
static void each_way(void (*try)(struct forge *forge, int pipe_fd))
{
	for (int way = 0; way < 3; way++) {
		struct forge forge;
		int fds[2] = {-1, -1};

		if (way == 2 && !by_kernel)
			continue;
		open_forge(&forge, way == 0 ? CONF_KERNEL_TLS_OFF : CONF_KERNEL_TLS_AUTO);
		if (way == 2)
			assert_int_equal(pipe2(fds, O_NONBLOCK), 0);
		try(&forge, fds[1]);
		close_forge(&forge);
		for (int i = 0; i < 2 && way == 2; i++)
			close(fds[i]);
	}
}

static void try_empty(struct forge *forge, int pipe_fd)
{
	char data[16];

	for (int i = 0; i < 3; i++)
		send_record(forge, TLS_TYPE_DATA, "", 0);
	send_record(forge, TLS_TYPE_DATA, "abc", 3);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), 3);
	send_record(forge, TLS_TYPE_DATA, "", 0);
	send_record(forge, TLS_TYPE_ALERT, "\1\0", 2);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), 0);
}

/* A record without bytes is neither an end nor a truncation. */
static void empty_records_are_nothing(void **state)
{
	(void)state;
	each_way(try_empty);
}

static void try_parked(struct forge *forge, int pipe_fd)
{
	char data[16];

	/* All of it is in the socket before anybody looks. */
	send_record(forge, TLS_TYPE_DATA, "abc", 3);
	send_record(forge, TLS_TYPE_ALERT, "\1\0", 2);
	await_delivery(forge->peer_fd, forge->end.io.watch.fd);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), 3);
	assert_true(forge->end.io.readable);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), 0);
}

/* No event tells of it. */
static void an_end_right_behind_data_is_found(void **state)
{
	(void)state;
	each_way(try_parked);
}

static void try_types(struct forge *forge, int pipe_fd)
{
	char data[16];

	send_record(forge, 20, "\1", 1);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
	assert_int_equal(tls_close_reason(&forge->end.io), CLOSE_TLS_BROKEN);
}

static void unknown_types_are_refused(void **state)
{
	(void)state;
	each_way(try_types);
}

static void try_flood(struct forge *forge, int pipe_fd)
{
	char data[16];

	for (int i = 0; i < 2 * TLS_CONTROL_ROW_MAX; i++)
		send_record(forge, TLS_TYPE_ALERT, "\1\x5a", 2); /* user_canceled */
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
}

static void a_flood_of_alerts_is_refused(void **state)
{
	(void)state;
	each_way(try_flood);
}

static void try_finished(struct forge *forge, int pipe_fd)
{
	char data[16];

	send_record(forge, TLS_TYPE_HANDSHAKE,
		    "\x14\0\0\x04"
		    "1234",
		    8);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
}

static void another_finished_is_refused(void **state)
{
	(void)state;
	each_way(try_finished);
}

/* A KeyUpdate whose end does not come (RFC 8446, 5.1). */
static void try_amid(struct forge *forge, int pipe_fd)
{
	char data[16];

	send_record(forge, TLS_TYPE_HANDSHAKE, "\x18\0\0", 3);
	send_record(forge, TLS_TYPE_DATA, "abc", 3);
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
	/* From Linux 6.14 on it is the kernel that sees it first. */
	assert_true(strstr(tls_error(&forge->end.io), "amid") ||
		    strstr(tls_error(&forge->end.io), "in parts"));
	assert_int_equal(take(forge, pipe_fd, data, sizeof(data)), -EPROTO);
}

static void nothing_comes_amid_a_message(void **state)
{
	(void)state;
	each_way(try_amid);
}

static int make_world(void **state)
{
	(void)state;
	by_kernel = lab_init();
	lab_make_identity(&(struct lab_identity_wish){.common_name = "CA"}, &authority);
	lab_make_identity(&(struct lab_identity_wish){.common_name = "site",
						      .alt_names = "DNS:site.example",
						      .issuer = &authority},
			  &site);
	lab_add_both("site.pem", &site);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	lab_remove_files();
	lab_free_identity(&site);
	lab_free_identity(&authority);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(empty_records_are_nothing),
	    cmocka_unit_test(an_end_right_behind_data_is_found),
	    cmocka_unit_test(unknown_types_are_refused),
	    cmocka_unit_test(a_flood_of_alerts_is_refused),
	    cmocka_unit_test(another_finished_is_refused),
	    cmocka_unit_test(nothing_comes_amid_a_message),
	};

	return cmocka_run_group_tests_name("tls forged", tests, make_world, end_world);
}
