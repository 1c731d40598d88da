/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket as OpenSSL sees it: in the handshake, and after it where the cipher is none of ours.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <string.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

/* A call that is under way. */
static _Thread_local struct {
	struct tls_stream *stream;
	size_t in_offset;
	size_t in_len; /* still to be taken, from in_offset */
	size_t out_len;
} call;

static BIO_METHOD *bio_method;

/* From what is buffered, else from the socket through the thread's buffer. */
static ssize_t bio_recv_buffered(struct tls_stream *stream, char *data, size_t len_bytes)
{
	ssize_t n;

	if (stream->in.len_bytes) {
		len_bytes = MIN(len_bytes, stream->in.len_bytes);
		memcpy(data, stream->in.data + stream->in.offset, len_bytes);
		tls_queue_take(&stream->in, len_bytes);
		return (ssize_t)len_bytes;
	}
	if (!call.in_len) {
		n = tls_wire_recv(stream, tls_thread_in(), TLS_IN_MAX);
		if (n <= 0)
			return n;
		call.in_offset = 0;
		call.in_len = (size_t)n;
	}
	len_bytes = MIN(len_bytes, call.in_len);
	memcpy(data, tls_thread_in() + call.in_offset, len_bytes);
	call.in_offset += len_bytes;
	call.in_len -= len_bytes;
	return (ssize_t)len_bytes;
}

static int bio_read(BIO *bio, char *data, int len)
{
	struct tls_stream *stream = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	BUG_ON(call.stream != stream);
	if (stream->control.n_in_row > TLS_CONTROL_ROW_MAX)
		return -1;
	n = stream->shake->exact_reads ? tls_wire_recv(stream, data, (size_t)len)
				       : bio_recv_buffered(stream, data, (size_t)len);
	if (n == -EAGAIN)
		BIO_set_retry_read(bio);
	return n < 0 ? -1 : (int)n;
}

static int bio_write(BIO *bio, const char *data, int len)
{
	struct tls_stream *stream = BIO_get_data(bio);
	size_t used, n;

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	BUG_ON(call.stream != stream);
	used = stream->out.len_bytes ? stream->out.len_bytes : call.out_len;
	n = MIN((size_t)len, used < TLS_OUT_MAX ? TLS_OUT_MAX - used : 0);
	if (!n) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (!stream->out.len_bytes) {
		memcpy(tls_thread_out() + call.out_len, data, n);
		call.out_len += n;
	} else if (tls_queue_append(&stream->out, data, n)) {
		stream->socket_error = ENOMEM;
		return -1;
	}
	return (int)n;
}

static long bio_ctrl(BIO *bio, int command, long argument UNUSED, void *pointer UNUSED)
{
	struct tls_stream *stream = BIO_get_data(bio);

	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1; /* tls_call_end() sends */
	case BIO_CTRL_EOF:
		return stream->socket_ended;
	default:
		return 0;
	}
}

int tls_bio_init(void)
{
	if (bio_method)
		return 0;
	bio_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "penstock");
	if (!bio_method)
		return -ENOMEM;
	BIO_meth_set_read(bio_method, bio_read);
	BIO_meth_set_write(bio_method, bio_write);
	BIO_meth_set_ctrl(bio_method, bio_ctrl);
	return 0;
}

int tls_bio_attach(struct tls_stream *stream)
{
	BIO *bio = BIO_new(bio_method);

	if (!bio)
		return -ENOMEM;
	BIO_set_data(bio, stream);
	BIO_set_init(bio, 1);
	SSL_set_bio(stream->ssl, bio, bio);
	return 0;
}

void tls_call_begin(struct tls_stream *stream, struct io *io)
{
	BUG_ON(call.stream);
	call.stream = stream;
	call.in_len = 0;
	call.out_len = 0;
	tls_wire_begin(stream, io);
	ERR_clear_error();
}

int tls_call_end(struct tls_stream *stream, struct io *io, bool more)
{
	int err;

	BUG_ON(call.stream != stream);
	call.stream = NULL;
	err = call.out_len ? tls_out_send(stream, io, tls_thread_out(), call.out_len, more)
			   : tls_out_flush(stream, io, more);
	if (call.in_len &&
	    tls_queue_append(&stream->in, tls_thread_in() + call.in_offset, call.in_len))
		return tls_stream_fail(stream, -ENOMEM, "no memory for what came");
	return err;
}
