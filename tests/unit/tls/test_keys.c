/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that the kernel is given: the vectors of RFC 8448, and records that OpenSSL made, opened
 * with keys that we derived.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lab.h"
#include "tls/tls_internal.h"

static struct lab_identity site;

static size_t from_hex(const char *hex, unsigned char *ret_bytes)
{
	size_t len;

	assert_int_equal(OPENSSL_hexstr2buf_ex(ret_bytes, 64, &len, hex, ' '), 1);
	return len;
}

/* RFC 8448, 3: "Simple 1-RTT Handshake", application traffic keys of both sides. */
static void vectors_of_rfc_8448(void **state)
{
	static const struct {
		const char *secret, *key, *iv;
	} vectors[] = {
	    {"a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f "
	     "cb 63 16 43",
	     "9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56",
	     "cf 78 2b 88 dd 83 54 9a ad f1 e9 84"},
	    {"9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 "
	     "c1 75 04 a5",
	     "17 42 2d da 59 6e d5 d9 ac d8 90 e3 c6 3f 50 51",
	     "5b 78 92 3d ee 08 57 90 33 e5 23 d9"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
		unsigned char secret[64], key[64], iv[64];
		struct tls_direction_keys keys = {0};
		size_t secret_len = from_hex(vectors[i].secret, secret);
		size_t key_len = from_hex(vectors[i].key, key);

		assert_int_equal(
		    tls_keys_expand_13(EVP_sha256(), secret, secret_len, key_len, &keys), 0);
		assert_memory_equal(keys.key, key, key_len);
		assert_memory_equal(keys.iv, iv, from_hex(vectors[i].iv, iv));
	}
}

/* How the server's secrets come to us. */
enum way { BY_KEY_LOG, BY_WATCH, WAY_MAX };

/* Both ends of a handshake in memory; the server's secrets are gathered as a stream's are. */
struct couple {
	SSL_CTX *server_ctx, *client_ctx;
	SSL *server, *client;
	BIO *to_server, *to_client;
	struct tls_stream stream;
	struct tls_secrets secrets;
	struct tls_shake shake;
};

static void open_couple(struct couple *couple, int version, const char *cipher, enum way way)
{
	struct lab_peer_wish server = {
	    .is_server = true,
	    .version = version,
	    .cipher = cipher,
	    .identity = &site,
	    .properties = way == BY_WATCH ? tls_kdf_properties() : NULL,
	};
	struct lab_peer_wish client = {.version = version, .cipher = cipher};

	*couple = (struct couple){.stream = {.side = TLS_SIDE_SERVER}};
	couple->shake.secrets = &couple->secrets;
	couple->stream.shake = &couple->shake;
	couple->server_ctx = lab_make_peer_ctx(&server);
	couple->client_ctx = lab_make_peer_ctx(&client);
	if (way == BY_KEY_LOG)
		SSL_CTX_set_keylog_callback(couple->server_ctx, tls_keys_on_keylog);
	couple->server = SSL_new(couple->server_ctx);
	couple->client = SSL_new(couple->client_ctx);
	SSL_set_app_data(couple->server, &couple->stream);
	SSL_set_msg_callback(couple->server, tls_keys_on_message);
	SSL_set_msg_callback_arg(couple->server, &couple->stream);
	couple->to_server = BIO_new(BIO_s_mem());
	couple->to_client = BIO_new(BIO_s_mem());
	BIO_up_ref(couple->to_server);
	BIO_up_ref(couple->to_client);
	SSL_set_bio(couple->server, couple->to_server, couple->to_client);
	SSL_set_bio(couple->client, couple->to_client, couple->to_server);
	SSL_set_accept_state(couple->server);
	SSL_set_connect_state(couple->client);
	for (int i = 0; i < 10 && !(SSL_is_init_finished(couple->server) &&
				    SSL_is_init_finished(couple->client));
	     i++) {
		SSL_do_handshake(couple->client);
		tls_kdf_watch(way == BY_WATCH ? &couple->secrets : NULL);
		SSL_do_handshake(couple->server);
		tls_kdf_watch(NULL);
	}
	assert_true(SSL_is_init_finished(couple->server));
	SSL_read(couple->client, &(char){0}, 1); /* session tickets */
}

static void close_couple(struct couple *couple)
{
	SSL_free(couple->server);
	SSL_free(couple->client);
	SSL_CTX_free(couple->server_ctx);
	SSL_CTX_free(couple->client_ctx);
}

struct record {
	unsigned char header[5];
	unsigned char body[256];
	size_t len_bytes;
};

static void take_record(BIO *bio, struct record *ret_record)
{
	assert_int_equal(BIO_read(bio, ret_record->header, 5), 5);
	ret_record->len_bytes = (size_t)ret_record->header[3] << 8 | ret_record->header[4];
	assert_true(ret_record->len_bytes <= sizeof(ret_record->body));
	assert_int_equal(BIO_read(bio, ret_record->body, (int)ret_record->len_bytes),
			 (int)ret_record->len_bytes);
	assert_int_equal(BIO_ctrl_pending(bio), 0);
}

/*
 * Opens the record as the kernel would: nonce and additional data of RFC 8446, 5.2 and 5.3, of RFC
 * 5288, 3 (TLS 1.2, GCM) and RFC 7905, 2 (TLS 1.2, ChaCha20). The plain bytes that begin it must be
 * `expected`.
 */
static void open_record(const struct tls_keys *keys, enum tls_side side,
			const struct record *record, const char *expected)
{
	const struct tls_direction_keys *own = &keys->of[side];
	const EVP_CIPHER *cipher = keys->cipher == TLS_CIPHER_AES_GCM_128 ? EVP_aes_128_gcm()
				   : keys->cipher == TLS_CIPHER_AES_GCM_256
				       ? EVP_aes_256_gcm()
				       : EVP_chacha20_poly1305();
	bool is_13 = keys->version == TLS_1_3_VERSION,
	     is_explicit = !is_13 && keys->cipher != TLS_CIPHER_CHACHA20_POLY1305;
	size_t skip = is_explicit ? 8 : 0, text_len = record->len_bytes - skip - 16;
	unsigned char nonce[12], extra[13], text[256];
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int n, extra_len = 5;

	memcpy(nonce, own->iv, sizeof(nonce));
	for (int i = 0; i < 8; i++) {
		unsigned char byte = (unsigned char)(own->next_record >> (56 - 8 * i));

		nonce[4 + i] = is_explicit ? record->body[i] : (unsigned char)(nonce[4 + i] ^ byte);
		extra[i] = byte;
	}
	if (is_13) {
		memcpy(extra, record->header, 5);
	} else {
		memcpy(extra + 8, record->header, 3);
		extra[11] = (unsigned char)(text_len >> 8);
		extra[12] = (unsigned char)text_len;
		extra_len = 13;
	}
	assert_int_equal(EVP_DecryptInit_ex2(ctx, cipher, own->key, nonce, NULL), 1);
	assert_int_equal(EVP_DecryptUpdate(ctx, NULL, &n, extra, extra_len), 1);
	assert_int_equal(EVP_DecryptUpdate(ctx, text, &n, record->body + skip, (int)text_len), 1);
	EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16,
			    (void *)(record->body + skip + text_len));
	assert_int_equal(EVP_DecryptFinal_ex(ctx, text + n, &n), 1);
	EVP_CIPHER_CTX_free(ctx);
	assert_memory_equal(text, expected, strlen(expected));
}

static void openssl_records_open_with_our_keys(void **state)
{
	static const struct {
		int version;
		const char *name;
		uint16_t kernel_version, kernel_cipher;
	} cases[] = {
	    {TLS1_2_VERSION, "AES128", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128},
	    {TLS1_2_VERSION, "AES256", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_256},
	    {TLS1_2_VERSION, "CHACHA", TLS_1_2_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
	    {TLS1_3_VERSION, "AES128", TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_128},
	    {TLS1_3_VERSION, "AES256", TLS_1_3_VERSION, TLS_CIPHER_AES_GCM_256},
	    {TLS1_3_VERSION, "CHACHA", TLS_1_3_VERSION, TLS_CIPHER_CHACHA20_POLY1305},
	};

	(void)state;
	for (size_t n = 0; n < ARRAY_LEN(cases) * WAY_MAX; n++) {
		enum way way = (enum way)(n / ARRAY_LEN(cases));
		size_t i = n % ARRAY_LEN(cases);
		struct couple couple;
		struct record record;
		struct tls_keys keys;

		open_couple(&couple, cases[i].version, cases[i].name, way);
		if (cases[i].version == TLS1_3_VERSION && way == BY_WATCH)
			assert_true(couple.secrets.of[TLS_SIDE_CLIENT].key_len &&
				    couple.secrets.of[TLS_SIDE_SERVER].key_len);
		assert_int_equal(tls_keys_derive(couple.server, &couple.secrets, &keys), 0);
		assert_int_equal(keys.version, cases[i].kernel_version);
		assert_int_equal(keys.cipher, cases[i].kernel_cipher);
		assert_int_equal(SSL_write(couple.server, "downward", 8), 8);
		take_record(couple.to_client, &record);
		open_record(&keys, TLS_SIDE_SERVER, &record, "downward");
		assert_int_equal(SSL_write(couple.client, "upward", 6), 6);
		take_record(couple.to_server, &record);
		open_record(&keys, TLS_SIDE_CLIENT, &record, "upward");
		close_couple(&couple);
	}
}

static void other_ciphers_are_not_for_the_kernel(void **state)
{
	struct couple couple;
	struct tls_keys keys;

	(void)state;
	open_couple(&couple, TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA256", BY_WATCH);
	assert_int_equal(tls_keys_derive(couple.server, &couple.secrets, &keys), -ENOTSUP);
	close_couple(&couple);
}

/* A secret that was not seen, or of the wrong length, gives no keys. */
static void no_keys_without_secrets(void **state)
{
	struct couple couple;
	struct tls_keys keys;

	(void)state;
	open_couple(&couple, TLS1_3_VERSION, "AES128", BY_WATCH);
	couple.secrets.of[TLS_SIDE_CLIENT].known = false;
	assert_true(tls_keys_derive(couple.server, &couple.secrets, &keys) < 0);
	couple.secrets.of[TLS_SIDE_CLIENT].known = true;
	couple.secrets.of[TLS_SIDE_CLIENT].len_bytes = 48;
	assert_true(tls_keys_derive(couple.server, &couple.secrets, &keys) < 0);
	close_couple(&couple);
}

static void key_log_lines_of_all_kinds(void **state)
{
	struct tls_secrets secrets = {0};
	struct tls_shake shake = {.secrets = &secrets};
	struct tls_stream stream = {.shake = &shake};
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	SSL *ssl = SSL_new(ctx);
	char line[512];

	(void)state;
	SSL_set_app_data(ssl, &stream);
	tls_keys_on_keylog(ssl, "");
	tls_keys_on_keylog(ssl, "CLIENT_RANDOM 00 00");
	tls_keys_on_keylog(ssl, "CLIENT_HANDSHAKE_TRAFFIC_SECRET 00 00");
	tls_keys_on_keylog(ssl, "CLIENT_TRAFFIC_SECRET_0 00 0");
	tls_keys_on_keylog(ssl, "CLIENT_TRAFFIC_SECRET_0 00 zz");
	memset(line, '0', sizeof(line) - 1); /* longer than any secret */
	line[sizeof(line) - 1] = '\0';
	memcpy(line, "CLIENT_TRAFFIC_SECRET_0 00 ", 27);
	tls_keys_on_keylog(ssl, line);
	assert_false(secrets.of[TLS_SIDE_CLIENT].known);
	secrets.of[TLS_SIDE_SERVER].records = 7;
	tls_keys_on_keylog(ssl, "SERVER_TRAFFIC_SECRET_0 00 0102");
	assert_true(secrets.of[TLS_SIDE_SERVER].known);
	assert_int_equal(secrets.of[TLS_SIDE_SERVER].len_bytes, 2);
	assert_int_equal(secrets.of[TLS_SIDE_SERVER].secret[1], 2);
	assert_int_equal(secrets.of[TLS_SIDE_SERVER].records, 0);
	SSL_free(ssl);
	SSL_CTX_free(ctx);
}

static int make_world(void **state)
{
	(void)state;
	lab_make_identity(&(struct lab_identity_wish){.common_name = "site"}, &site);
	return 0;
}

static int end_world(void **state)
{
	(void)state;
	lab_free_identity(&site);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(vectors_of_rfc_8448),
	    cmocka_unit_test(openssl_records_open_with_our_keys),
	    cmocka_unit_test(other_ciphers_are_not_for_the_kernel),
	    cmocka_unit_test(no_keys_without_secrets),
	    cmocka_unit_test(key_log_lines_of_all_kinds),
	};

	lab_init();
	return cmocka_run_group_tests(tests, make_world, end_world);
}
