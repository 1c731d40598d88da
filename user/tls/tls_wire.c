/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket below the records: one read from it feeds many records, and all records that a call
 * makes leave in one send. Buffers are the thread's and serve one call at a time; what remains
 * after a call is copied to the stream, so that an idle stream holds nothing. Knows no records.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tls/tls_internal.h"

static _Thread_local struct {
	_Alignas(64) char in[TLS_IN_MAX];
	_Alignas(64) char out[TLS_OUT_MAX];
	_Alignas(64) char gather[TLS_RECORD_MAX];
} thread;

char *tls_thread_in(void)
{
	return thread.in;
}

char *tls_thread_out(void)
{
	return thread.out;
}

char *tls_thread_gather(void)
{
	return thread.gather;
}

void tls_queue_free(struct tls_queue *queue)
{
	free(queue->data);
	*queue = (struct tls_queue){0};
}

void tls_queue_take(struct tls_queue *queue, size_t len_bytes)
{
	queue->offset += (uint32_t)len_bytes;
	queue->len_bytes -= (uint32_t)len_bytes;
	if (!queue->len_bytes)
		tls_queue_free(queue);
}

int tls_queue_append(struct tls_queue *queue, const void *data, size_t len_bytes)
{
	char *grown = realloc(queue->data, queue->offset + queue->len_bytes + len_bytes);

	if (!grown)
		return -ENOMEM;
	queue->data = grown;
	memcpy(grown + queue->offset + queue->len_bytes, data, len_bytes);
	queue->len_bytes += (uint32_t)len_bytes;
	return 0;
}

void tls_wire_begin(struct tls_stream *stream, const struct io *io)
{
	stream->drained = false;
	stream->peer_closed = io->peer_closed;
}

ssize_t tls_wire_recv(struct tls_stream *stream, void *data, size_t len_bytes)
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

/* > 0, 0 (nothing to send), -EAGAIN, -errno. */
static ssize_t wire_send(const struct tls_stream *stream, struct io *io, const char *data,
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
		return stream->send_error;
	n = wire_send(stream, io, stream->out.data + stream->out.offset, stream->out.len_bytes,
		      more);
	if (n < 0)
		return (int)n;
	tls_queue_take(&stream->out, (size_t)n);
	return stream->out.len_bytes ? -EAGAIN : stream->send_error;
}

size_t tls_out_settle(struct tls_stream *stream, struct tls_source *source)
{
	size_t n =
	    tls_source_take(source, NULL, MIN((size_t)stream->owed_bytes, tls_source_len(source)));

	stream->owed_bytes -= (uint32_t)n;
	return n;
}

/* A peer that does not get a record cannot read the next. */
static int out_lose(struct tls_stream *stream, int err)
{
	tls_queue_free(&stream->out);
	if (err == -ENOMEM)
		tls_stream_set_error(stream, "no memory for what the socket did not take");
	stream->send_error = err;
	return err;
}

int tls_out_send(struct tls_stream *stream, struct io *io, const char *data, size_t len_bytes,
		 bool more)
{
	ssize_t n;

	if (stream->send_error)
		return stream->send_error;
	n = wire_send(stream, io, data, len_bytes, more);
	if (n < 0 && n != -EAGAIN)
		return out_lose(stream, (int)n);
	n = MAX(n, 0);
	if ((size_t)n == len_bytes)
		return 0;
	if (tls_queue_append(&stream->out, data + n, len_bytes - (size_t)n))
		return out_lose(stream, -ENOMEM);
	return -EAGAIN;
}
