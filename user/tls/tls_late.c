/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tickets of TLS 1.3 servers, which come after the handshake, when the SSL has done its work.
 * OpenSSL alone can make a session of one (the secret for it is not to be had outside), and wants
 * to see a record. So the SSL stays until the first byte of data, before which servers send their
 * tickets; what was opened is sealed again with the same key and the number that the SSL awaits.
 *
 * It costs an SSL object (some 14 KiB) from the handshake to the first byte of the response, and
 * the sealing of a few hundred bytes.
 */
#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

struct tls_late {
	struct tls_record_form form;
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
	if (!stream->shake->sessions || keys->version != TLS_1_3_VERSION)
		return;
	stream->shake->late = OPENSSL_zalloc(sizeof(*stream->shake->late));
	if (!stream->shake->late)
		return;
	stream->shake->late->form =
	    (struct tls_record_form){.version = keys->version, .cipher = keys->cipher};
	stream->shake->late->keys = keys->of[TLS_SIDE_SERVER];
	if (!late_unplug(stream->ssl))
		tls_late_free(stream);
}

void tls_late_free(struct tls_stream *stream)
{
	if (!stream->shake->late)
		return;
	tls_record_forget(stream->shake->late->form, &stream->shake->late->keys);
	OPENSSL_free(stream->shake->late);
	stream->shake->late = NULL;
}

void tls_late_done(struct tls_stream *stream)
{
	tls_late_free(stream);
	tls_stream_drop_ssl(stream);
}

/* 0, or -errno: the SSL is of no use any more. */
static int late_feed(struct tls_stream *stream, const unsigned char *data, size_t len_bytes)
{
	struct tls_late *late = stream->shake->late;
	struct iovec part = {(void *)data, len_bytes};
	struct tls_source source = {.parts = &part, .n_parts = 1};
	size_t record_bytes = tls_record_size(late->form, len_bytes);
	unsigned char *record = malloc(record_bytes), byte;
	bool ok;

	ok = record &&
	     !tls_record_seal(late->form, &late->keys, TLS_TYPE_HANDSHAKE, &source, len_bytes,
			      record) &&
	     BIO_write(SSL_get_rbio(stream->ssl), record, (int)record_bytes) > 0 &&
	     SSL_get_error(stream->ssl, SSL_read(stream->ssl, &byte, 1)) == SSL_ERROR_WANT_READ;
	free(record);
	ERR_clear_error();
	return ok ? 0 : -EPROTO;
}

void tls_late_take(struct tls_stream *stream, const unsigned char *data, size_t len_bytes)
{
	BUG_ON(!stream->shake->late || !stream->ssl);
	if (len_bytes > TLS_RECORD_MAX || late_feed(stream, data, len_bytes))
		tls_late_done(stream);
}
