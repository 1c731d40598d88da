/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket as OpenSSL sees it: one read from the socket feeds many records, and all records that
 * a call makes leave in one send. Buffers are the thread's and serve one call at a time; what
 * remains after a call is copied to the stream, so that an idle stream holds nothing.
 */
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

struct tls_thread {
	struct tls_stream *stream; /* whose call is under way */
	size_t in_offset;
	size_t in_len; /* still to be taken, from in_offset */
	size_t out_len;
	char in[TLS_IN_MAX];
	char out[TLS_OUT_MAX];
	char gather[TLS_RECORD_MAX];
};

static _Thread_local struct tls_thread thread;
static BIO_METHOD *bio_method;

char *tls_thread_buffer(void)
{
	BUG_ON(thread.stream);
	return thread.in;
}

char *tls_thread_gather(void)
{
	return thread.gather;
}

static void queue_free(struct tls_queue *queue)
{
	free(queue->data);
	*queue = (struct tls_queue){0};
}

static void queue_take(struct tls_queue *queue, size_t len_bytes)
{
	queue->offset += len_bytes;
	queue->len_bytes -= len_bytes;
	if (!queue->len_bytes)
		queue_free(queue);
}

/* The queue is empty. */
static int queue_fill(struct tls_queue *queue, const char *data, size_t len_bytes)
{
	queue->data = malloc(len_bytes);
	if (!queue->data)
		return -ENOMEM;
	memcpy(queue->data, data, len_bytes);
	queue->offset = 0;
	queue->len_bytes = len_bytes;
	return 0;
}

static int queue_append(struct tls_queue *queue, const char *data, size_t len_bytes)
{
	char *grown = realloc(queue->data, queue->offset + queue->len_bytes + len_bytes);

	if (!grown)
		return -ENOMEM;
	queue->data = grown;
	memcpy(grown + queue->offset + queue->len_bytes, data, len_bytes);
	queue->len_bytes += len_bytes;
	return 0;
}

static ssize_t bio_recv(struct tls_stream *stream, char *data, size_t len_bytes)
{
	ssize_t n;

	if (stream->socket_ended)
		return 0;
	if (stream->drained)
		return -EAGAIN;
	n = recv(stream->fd, data, len_bytes, MSG_DONTWAIT);
	if (n < 0 && errno == EINTR)
		n = recv(stream->fd, data, len_bytes, MSG_DONTWAIT);
	if (n < 0)
		n = -errno;
	if (n == -EAGAIN || (n > 0 && (size_t)n < len_bytes && !stream->peer_closed))
		stream->drained = true;
	if (n == 0)
		stream->socket_ended = true;
	else if (n < 0 && n != -EAGAIN)
		stream->socket_error = (int)-n;
	return n;
}

/* From what is buffered, else from the socket through the thread's buffer. */
static ssize_t bio_recv_buffered(struct tls_stream *stream, char *data, size_t len_bytes)
{
	ssize_t n;

	if (stream->in.len_bytes) {
		len_bytes = MIN(len_bytes, stream->in.len_bytes);
		memcpy(data, stream->in.data + stream->in.offset, len_bytes);
		queue_take(&stream->in, len_bytes);
		return (ssize_t)len_bytes;
	}
	if (!thread.in_len) {
		n = bio_recv(stream, thread.in, sizeof(thread.in));
		if (n <= 0)
			return n;
		thread.in_offset = 0;
		thread.in_len = (size_t)n;
	}
	len_bytes = MIN(len_bytes, thread.in_len);
	memcpy(data, thread.in + thread.in_offset, len_bytes);
	thread.in_offset += len_bytes;
	thread.in_len -= len_bytes;
	return (ssize_t)len_bytes;
}

static int bio_read(BIO *bio, char *data, int len)
{
	struct tls_stream *stream = BIO_get_data(bio);
	ssize_t n;

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return 0;
	BUG_ON(thread.stream != stream);
	if (stream->control.n_in_row > TLS_CONTROL_ROW_MAX)
		return -1;
	n = stream->exact_reads ? bio_recv(stream, data, (size_t)len)
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
	BUG_ON(thread.stream != stream);
	used = stream->out.len_bytes ? stream->out.len_bytes : thread.out_len;
	n = MIN((size_t)len, used < TLS_OUT_MAX ? TLS_OUT_MAX - used : 0);
	if (!n) {
		BIO_set_retry_write(bio);
		return -1;
	}
	if (!stream->out.len_bytes) {
		memcpy(thread.out + thread.out_len, data, n);
		thread.out_len += n;
	} else if (queue_append(&stream->out, data, n)) {
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
	BUG_ON(thread.stream);
	thread.stream = stream;
	thread.in_len = 0;
	thread.out_len = 0;
	stream->drained = false;
	stream->peer_closed = io->peer_closed;
	ERR_clear_error();
}

/* > 0, 0 (nothing to send), -EAGAIN, -errno. */
static ssize_t out_send(struct tls_stream *stream, struct io *io, const char *data,
			size_t len_bytes, bool more)
{
	ssize_t n = len_bytes ? send(stream->fd, data, len_bytes,
				     MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0))
			      : 0;

	if (n < 0)
		n = -errno;
	if (n == -EAGAIN || (n >= 0 && (size_t)n < len_bytes))
		io->writable = false;
	return n;
}

int tls_out_flush(struct tls_stream *stream, struct io *io, bool more)
{
	ssize_t n;

	if (!stream->out.len_bytes)
		return 0;
	n = out_send(stream, io, stream->out.data + stream->out.offset, stream->out.len_bytes,
		     more);
	if (n < 0)
		return (int)n;
	queue_take(&stream->out, (size_t)n);
	return stream->out.len_bytes ? -EAGAIN : 0;
}

/* An empty or failed send leaves what the thread's buffer holds to the stream. */
static int out_flush_thread(struct tls_stream *stream, struct io *io, bool more)
{
	ssize_t n = out_send(stream, io, thread.out, thread.out_len, more);

	if (n < 0 && n != -EAGAIN)
		return (int)n;
	n = MAX(n, 0);
	if ((size_t)n == thread.out_len)
		return 0;
	if (queue_fill(&stream->out, thread.out + n, thread.out_len - (size_t)n))
		return -ENOMEM;
	return -EAGAIN;
}

int tls_call_end(struct tls_stream *stream, struct io *io, bool more)
{
	int err = 0;

	BUG_ON(thread.stream != stream);
	thread.stream = NULL;
	if (thread.in_len)
		err = queue_fill(&stream->in, thread.in + thread.in_offset, thread.in_len);
	if (err)
		return err;
	/* Made under keys that the kernel has taken over: an answer to a KeyUpdate, or an alert. */
	if (stream->in_kernel & TLS_KERNEL_SEND)
		thread.out_len = 0;
	return thread.out_len ? out_flush_thread(stream, io, more)
			      : tls_out_flush(stream, io, more);
}
