/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application data through OpenSSL, where the cipher is none that the kernel or tls_record.c has.
 * Many records a call in both directions.
 *
 * A record that is made cannot be unmade. What the socket does not take of a batch therefore stays
 * in the stream, and the caller is told -EAGAIN as if nothing had been taken; it comes again with
 * the same bytes, which are then owed to it: they are counted as taken without being sent twice.
 */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

/* Why SSL_read() had nothing: 0, -EAGAIN, -errno. */
static ssize_t recv_explain(struct tls_stream *stream)
{
	unsigned long code = ERR_peek_error();
	bool is_silent = !code || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;

	if (stream->control.n_in_row > TLS_CONTROL_ROW_MAX) {
		tls_stream_set_fault(stream, CLOSE_TLS_BROKEN);
		tls_stream_set_error(stream, "TLS: the peer sent too many records without data");
		return -EPROTO;
	}
	switch (SSL_get_error(stream->ssl, 0)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		if (!stream->socket_ended)
			return 0;
		break; /* FIN came before any close_notify */
	}
	if (is_silent && stream->socket_error) {
		tls_stream_set_error(stream, "%s", strerror(stream->socket_error));
		return -stream->socket_error;
	}
	tls_stream_set_fault(stream, is_silent ? CLOSE_TLS_TRUNCATED : CLOSE_TLS_BROKEN);
	if (is_silent)
		tls_stream_set_error(stream,
				     "the peer closed without close_notify: data may be missing");
	else if (tls_alert_of_error(code) >= 0)
		tls_stream_set_alert(stream, tls_alert_of_error(code));
	else
		tls_stream_set_error(stream, "TLS: %s", tls_openssl_reason());
	return -EPROTO;
}

/*
 * OpenSSL looks for data until the socket has no more, and new keys, for which a peer sends 27
 * bytes, take it longer than they take the peer: so there is a bound to records without data, in a
 * row (see bio_read()) and in one call. `ret_cut`: more may be here.
 */
static ssize_t recv_records(struct tls_stream *stream, char *data, size_t len_bytes, bool *ret_cut)
{
	unsigned int n_other = 0;
	size_t done = 0;

	while (done < len_bytes && n_other <= TLS_CONTROL_ROW_MAX) {
		size_t n;
		ssize_t end;

		if (SSL_read_ex(stream->ssl, data + done, len_bytes - done, &n) == 1) {
			done += n;
			n_other += stream->control.n_in_row > 1 ? stream->control.n_in_row - 1u : 0;
			tls_control_note_data(&stream->control);
			continue;
		}
		end = recv_explain(stream);
		if (end != -EAGAIN) {
			stream->recv_ended = true;
			stream->recv_end = (int)end;
		}
		*ret_cut = false;
		return done ? (ssize_t)done : end;
	}
	*ret_cut = true;
	return (ssize_t)done;
}

static ssize_t openssl_recv(struct io *io, void *data, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	bool is_cut;
	ssize_t n;
	int err;

	if (stream->state != TLS_STATE_READY)
		return -ENOTCONN;
	if (stream->recv_ended)
		return stream->recv_end;
	tls_call_begin(stream, io);
	n = recv_records(stream, data, len_bytes, &is_cut);
	err = tls_call_end(stream, io, false);
	if (err == -ENOMEM) /* what was read is lost */
		return -ENOMEM;
	if (stream->drained && !is_cut && !stream->recv_ended)
		io->readable = false;
	return n;
}

/* The next record's bytes: where they lie, or gathered. */
static const char *source_next(struct tls_source *source, size_t *ret_len)
{
	const char *in_place;

	for (; source->n_parts && !source->parts[0].iov_len; source->n_parts--)
		source->parts++;
	if (!source->n_parts) {
		*ret_len = 0;
		return NULL;
	}
	in_place = (const char *)source->parts[0].iov_base + source->offset;
	if (source->n_parts > 1 && source->parts[0].iov_len - source->offset < TLS_RECORD_MAX) {
		*ret_len = tls_source_take(source, tls_thread_gather(), TLS_RECORD_MAX);
		return tls_thread_gather();
	}
	*ret_len = tls_source_take(source, NULL, TLS_RECORD_MAX);
	return in_place;
}

/* Makes records of at most a batch; the bytes that went in, or -EPROTO. */
static ssize_t send_records(struct tls_stream *stream, struct tls_source *source)
{
	size_t done = 0;

	while (done + TLS_RECORD_MAX <= TLS_BATCH_MAX) {
		size_t len_bytes, n;
		const char *data = source_next(source, &len_bytes);

		if (!len_bytes)
			break;
		if (SSL_write_ex(stream->ssl, data, len_bytes, &n) != 1 || n != len_bytes) {
			tls_stream_set_fault(stream, CLOSE_TLS_BROKEN);
			tls_stream_set_error(stream, "TLS: %s", tls_openssl_reason());
			return -EPROTO;
		}
		done += n;
	}
	return (ssize_t)done;
}

static ssize_t openssl_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	struct tls_stream *stream = io->impl;
	struct tls_source source = {.parts = parts, .n_parts = n_parts};
	size_t settled;
	ssize_t made;
	int err;

	if (stream->state != TLS_STATE_READY)
		return -ENOTCONN;
	err = tls_out_flush(stream, io, more);
	if (err)
		return err;
	settled = tls_out_settle(stream, &source);
	if (stream->owed_bytes)
		return (ssize_t)settled;
	tls_call_begin(stream, io);
	made = send_records(stream, &source);
	err = tls_call_end(stream, io, more);
	if (made < 0)
		return made;
	if (err && err != -EAGAIN)
		return err;
	if (!err)
		return (ssize_t)settled + made;
	stream->owed_bytes = (uint32_t)made;
	return settled ? (ssize_t)settled : -EAGAIN;
}

static int openssl_shutdown_send(struct io *io)
{
	struct tls_stream *stream = io->impl;
	int err = tls_out_flush(stream, io, false);

	if (!err && !stream->close_notified && stream->state == TLS_STATE_READY) {
		tls_call_begin(stream, io);
		SSL_shutdown(
		    stream->ssl); /* only makes the alert; the peer's is read by SSL_read() */
		stream->close_notified = true;
		err = tls_call_end(stream, io, false);
	}
	if (err)
		return err;
	return shutdown(stream->fd, SHUT_WR) ? -errno : 0;
}

const struct io_ops tls_openssl_ops = {
    .name = "openssl",
    .recv = openssl_recv,
    .send = openssl_send,
    .shutdown_send = openssl_shutdown_send,
    .close = tls_stream_close,
};
