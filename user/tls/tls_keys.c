/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule's last step, done a second time outside OpenSSL: from the secrets of a finished
 * handshake to the record keys that the kernel or tls_record.c takes. Does not talk to the kernel.
 * Nothing here outlives the call unless wiped.
 */
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/kdf.h>
#include <string.h>

#include "tls/tls_internal.h"

#define KEY_MAX 32
#define IV_MAX 12
#define RANDOM_LEN 32
#define LABEL_MAX 16

static EVP_KDF *hkdf;
static EVP_KDF *prf;

int tls_keys_init(void)
{
	if (!hkdf)
		hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	if (!prf)
		prf = EVP_KDF_fetch(NULL, "TLS1-PRF", NULL);
	return hkdf && prf ? 0 : -ENOTSUP;
}

/* The hash has served the handshake: nothing but memory can be missing. */
static int keys_derive(EVP_KDF *kdf, const OSSL_PARAM params[], unsigned char *ret_out,
		       size_t len_bytes)
{
	EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);
	bool ok = ctx && EVP_KDF_derive(ctx, ret_out, len_bytes, params) == 1;

	EVP_KDF_CTX_free(ctx);
	ERR_clear_error();
	return ok ? 0 : -ENOMEM;
}

/* HKDF-Expand-Label with an empty context (RFC 8446, 7.1). */
static int keys_expand_label(const EVP_MD *md, const unsigned char *secret, size_t secret_len,
			     const char *label, unsigned char *ret_out, size_t len_bytes)
{
	static const char prefix[] = "tls13 ";
	unsigned char info[2 + 1 + sizeof(prefix) + LABEL_MAX + 1];
	size_t prefix_len = sizeof(prefix) - 1, label_len = strlen(label), n = 0;
	int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY;
	OSSL_PARAM params[5], *p = params;

	info[n++] = (unsigned char)(len_bytes >> 8);
	info[n++] = (unsigned char)len_bytes;
	info[n++] = (unsigned char)(prefix_len + label_len);
	memcpy(info + n, prefix, prefix_len);
	n += prefix_len;
	memcpy(info + n, label, label_len);
	n += label_len;
	info[n++] = 0;
	*p++ = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md),
						0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, secret_len);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, n);
	*p = OSSL_PARAM_construct_end();
	return keys_derive(hkdf, params, ret_out, len_bytes);
}

int tls_keys_expand_13(const EVP_MD *md, const unsigned char *secret, size_t secret_len,
		       size_t key_len, struct tls_direction_keys *ret_keys)
{
	int err = keys_expand_label(md, secret, secret_len, "key", ret_keys->key, key_len);

	return err ? err : keys_expand_label(md, secret, secret_len, "iv", ret_keys->iv, IV_MAX);
}

int tls_keys_next_secret(const EVP_MD *md, const unsigned char *secret, size_t len_bytes,
			 unsigned char *ret_next)
{
	unsigned char next[TLS_SECRET_MAX];
	int err = keys_expand_label(md, secret, len_bytes, "traffic upd", next, len_bytes);

	if (!err)
		memcpy(ret_next, next, len_bytes);
	OPENSSL_cleanse(next, sizeof(next));
	return err;
}

static int keys_derive_13(const EVP_MD *md, const struct tls_secrets *secrets, size_t key_len,
			  struct tls_keys *ret_keys)
{
	for (int side = 0; side < TLS_SIDE_MAX; side++) {
		int err;

		if (!secrets->of[side].known ||
		    secrets->of[side].len_bytes != (size_t)EVP_MD_get_size(md))
			return -ENOKEY;
		ret_keys->of[side] = secrets->of[side].keys;
		err = secrets->of[side].key_len == key_len && secrets->of[side].has_iv
			  ? 0
			  : tls_keys_expand_13(md, secrets->of[side].secret,
					       secrets->of[side].len_bytes, key_len,
					       &ret_keys->of[side]);
		if (err)
			return err;
		ret_keys->of[side].next_record = secrets->of[side].records;
	}
	return 0;
}

/* The key block of RFC 5246, 6.3; AEAD ciphers have no MAC keys in it. */
static int keys_block_12(SSL *ssl, const EVP_MD *md, unsigned char *ret_block, size_t len_bytes)
{
	static const char label[] = "key expansion";
	unsigned char master[SSL_MAX_MASTER_KEY_LENGTH], seed[sizeof(label) - 1 + 2 * RANDOM_LEN];
	size_t label_len = sizeof(label) - 1;
	size_t master_len =
	    SSL_SESSION_get_master_key(SSL_get_session(ssl), master, sizeof(master));
	OSSL_PARAM params[4], *p = params;
	int err;

	memcpy(seed, label, label_len);
	SSL_get_server_random(ssl, seed + label_len, RANDOM_LEN);
	SSL_get_client_random(ssl, seed + label_len + RANDOM_LEN, RANDOM_LEN);
	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)EVP_MD_get0_name(md),
						0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SECRET, master, master_len);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SEED, seed, sizeof(seed));
	*p = OSSL_PARAM_construct_end();
	err = keys_derive(prf, params, ret_block, len_bytes);
	OPENSSL_cleanse(master, sizeof(master));
	return err;
}

static int keys_derive_12(SSL *ssl, const EVP_MD *md, size_t key_len, struct tls_keys *ret_keys)
{
	unsigned char block[TLS_SIDE_MAX * (KEY_MAX + IV_MAX)];
	size_t iv_len = ret_keys->cipher == TLS_CIPHER_CHACHA20_POLY1305 ? IV_MAX : 4;
	int err = keys_block_12(ssl, md, block, TLS_SIDE_MAX * (key_len + iv_len));

	for (size_t side = 0; !err && side < TLS_SIDE_MAX; side++) {
		memcpy(ret_keys->of[side].key, block + side * key_len, key_len);
		memcpy(ret_keys->of[side].iv, block + TLS_SIDE_MAX * key_len + side * iv_len,
		       iv_len);
		ret_keys->of[side].next_record = 1; /* Finished was record 0 */
	}
	OPENSSL_cleanse(block, sizeof(block));
	return err;
}

size_t tls_keys_len(uint16_t cipher)
{
	return cipher == TLS_CIPHER_AES_GCM_128 ? 16 : 32;
}

static int keys_cipher(const SSL_CIPHER *cipher, uint16_t *ret_cipher)
{
	switch (SSL_CIPHER_get_cipher_nid(cipher)) {
	case NID_aes_128_gcm:
		*ret_cipher = TLS_CIPHER_AES_GCM_128;
		return 0;
	case NID_aes_256_gcm:
		*ret_cipher = TLS_CIPHER_AES_GCM_256;
		return 0;
	case NID_chacha20_poly1305:
		*ret_cipher = TLS_CIPHER_CHACHA20_POLY1305;
		return 0;
	default:
		return -ENOTSUP;
	}
}

int tls_keys_derive(SSL *ssl, const struct tls_secrets *secrets, struct tls_keys *ret_keys)
{
	const SSL_CIPHER *cipher = SSL_get_current_cipher(ssl);
	const EVP_MD *md = cipher ? SSL_CIPHER_get_handshake_digest(cipher) : NULL;
	struct tls_keys keys = {0};
	int err;

	if (!md || keys_cipher(cipher, &keys.cipher))
		return -ENOTSUP;
	keys.md = md;
	if (SSL_version(ssl) == TLS1_3_VERSION) {
		keys.version = TLS_1_3_VERSION;
		err = keys_derive_13(md, secrets, tls_keys_len(keys.cipher), &keys);
	} else if (SSL_version(ssl) == TLS1_2_VERSION) {
		keys.version = TLS_1_2_VERSION;
		err = keys_derive_12(ssl, md, tls_keys_len(keys.cipher), &keys);
	} else {
		err = -ENOTSUP;
	}
	if (!err)
		*ret_keys = keys;
	OPENSSL_cleanse(&keys, sizeof(keys));
	return err;
}

void tls_keys_note_secret(struct tls_secrets *secrets, enum tls_side side,
			  const unsigned char *secret, size_t len_bytes)
{
	if (len_bytes > TLS_SECRET_MAX)
		return;
	memcpy(secrets->of[side].secret, secret, len_bytes);
	secrets->of[side].len_bytes = len_bytes;
	secrets->of[side].records = 0;
	secrets->of[side].known = true;
}

/* Lines look like "LABEL <client random> <secret>", in hexadecimal (the NSS key log format). */
void tls_keys_on_keylog(const SSL *ssl, const char *line)
{
	static const char *const labels[] = {
	    [TLS_SIDE_CLIENT] = "CLIENT_TRAFFIC_SECRET_0 ",
	    [TLS_SIDE_SERVER] = "SERVER_TRAFFIC_SECRET_0 ",
	};
	struct tls_stream *stream = SSL_get_app_data(ssl);
	const char *hex = strrchr(line, ' ');

	if (!stream || !stream->shake->secrets || !hex)
		return;
	for (int side = 0; side < TLS_SIDE_MAX; side++) {
		unsigned char secret[TLS_SECRET_MAX];
		size_t len_bytes = 0;

		if (strncmp(line, labels[side], strlen(labels[side])) != 0)
			continue;
		if (OPENSSL_hexstr2buf_ex(secret, sizeof(secret), &len_bytes, hex + 1, '\0') == 1)
			tls_keys_note_secret(stream->shake->secrets, (enum tls_side)side, secret,
					     len_bytes);
		OPENSSL_cleanse(secret, sizeof(secret));
	}
}

/* Counts records, anew from where that direction's key comes into use. */
void tls_keys_on_message(int is_write, int version UNUSED, int content_type,
			 const void *data UNUSED, size_t len_bytes UNUSED, SSL *ssl UNUSED,
			 void *argument)
{
	struct tls_stream *stream = argument;

	if (content_type == SSL3_RT_HEADER && stream->shake->secrets)
		stream->shake->secrets->of[is_write ? stream->side : tls_stream_peer(stream)]
		    .records++;
	if (content_type == SSL3_RT_HEADER && !is_write && stream->state == TLS_STATE_READY)
		stream->control.n_in_row++;
}
