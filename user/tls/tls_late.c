/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of TLS 1.3 servers, which come after the handshake, when the kernel has the keys. OpenSSL
 * alone can make a session of one (the secret for it is not to be had outside), and wants to see a
 * record. So the SSL stays until the first byte of data, before which servers send their tickets;
 * what the kernel opened is sealed again with the same key and the number that the SSL awaits.
 *
 * It costs an SSL object (some 14 KiB) from the handshake to the first byte of the response, and
 * the sealing of a few hundred bytes.
 */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

#define RECORD_HEADER_BYTES 5
#define RECORD_TAG_BYTES 16

struct tls_late {
	uint16_t cipher; /* TLS_CIPHER_* of linux/tls.h */
	struct tls_direction_keys keys; /* what the server writes with */
};

/* It reads what it is fed, and what it writes goes nowhere. */
static bool late_unplug(SSL *ssl)
{
	BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_null());

	if (!in || !out) {
		BIO_free(in);
		BIO_free(out);
		return false;
	}
	BIO_set_mem_eof_return(in, -1);
	SSL_set_bio(ssl, in, out);
	SSL_set_msg_callback(ssl, NULL);
	return true;
}

void tls_late_keep(struct tls_stream *stream, const struct tls_keys *keys)
{
	if (!stream->sessions || keys->version != TLS_1_3_VERSION)
		return;
	stream->late = OPENSSL_zalloc(sizeof(*stream->late));
	if (!stream->late)
		return;
	stream->late->cipher = keys->cipher;
	stream->late->keys = keys->of[TLS_SIDE_SERVER];
	if (!late_unplug(stream->ssl))
		tls_late_free(stream);
}

void tls_late_free(struct tls_stream *stream)
{
	OPENSSL_clear_free(stream->late, sizeof(*stream->late));
	stream->late = NULL;
}

void tls_late_done(struct tls_stream *stream)
{
	tls_late_free(stream);
	tls_stream_drop_ssl(stream);
}

static const EVP_CIPHER *late_cipher(uint16_t cipher)
{
	switch (cipher) {
	case TLS_CIPHER_AES_GCM_128:
		return EVP_aes_128_gcm();
	case TLS_CIPHER_AES_GCM_256:
		return EVP_aes_256_gcm();
	default:
		return EVP_chacha20_poly1305();
	}
}

/* RFC 8446, 5.2 and 5.3: `text` ends with the record's type. */
static bool late_encrypt(struct tls_late *late, unsigned char *record, const unsigned char *text,
			 size_t text_bytes)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	unsigned char nonce[12], *body = record + RECORD_HEADER_BYTES;
	int n = 0, last = 0;
	bool ok;

	memcpy(nonce, late->keys.iv, sizeof(nonce));
	for (size_t i = 0; i < 8; i++)
		nonce[4 + i] ^= (unsigned char)(late->keys.next_record >> (56 - 8 * i));
	ok = ctx &&
	     EVP_EncryptInit_ex(ctx, late_cipher(late->cipher), NULL, late->keys.key, nonce) == 1 &&
	     EVP_EncryptUpdate(ctx, NULL, &n, record, RECORD_HEADER_BYTES) == 1 &&
	     EVP_EncryptUpdate(ctx, body, &n, text, (int)text_bytes) == 1 &&
	     EVP_EncryptFinal_ex(ctx, body + n, &last) == 1 &&
	     EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, RECORD_TAG_BYTES, body + text_bytes) ==
		 1;
	EVP_CIPHER_CTX_free(ctx);
	late->keys.next_record++;
	return ok;
}

/* 0, or -errno: the SSL is of no use any more. */
static int late_feed(struct tls_stream *stream, const unsigned char *data, size_t len_bytes)
{
	size_t text_bytes = len_bytes + 1, body_bytes = text_bytes + RECORD_TAG_BYTES;
	unsigned char *record = malloc(RECORD_HEADER_BYTES + body_bytes);
	unsigned char *text = malloc(text_bytes), byte;
	bool ok = record && text;

	if (ok) {
		memcpy(text, data, len_bytes);
		text[len_bytes] = TLS_TYPE_HANDSHAKE;
		memcpy(record, (unsigned char[]){TLS_TYPE_DATA, 3, 3}, 3);
		record[3] = (unsigned char)(body_bytes >> 8);
		record[4] = (unsigned char)body_bytes;
		ok = late_encrypt(stream->late, record, text, text_bytes) &&
		     BIO_write(SSL_get_rbio(stream->ssl), record,
			       (int)(RECORD_HEADER_BYTES + body_bytes)) > 0 &&
		     SSL_get_error(stream->ssl, SSL_read(stream->ssl, &byte, 1)) ==
			 SSL_ERROR_WANT_READ;
	}
	free(record);
	free(text);
	ERR_clear_error();
	return ok ? 0 : -EPROTO;
}

void tls_late_take(struct tls_stream *stream, const unsigned char *data, size_t len_bytes)
{
	BUG_ON(!stream->late || !stream->ssl);
	if (len_bytes > TLS_RECORD_MAX || late_feed(stream, data, len_bytes))
		tls_late_done(stream);
}
