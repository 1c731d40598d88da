/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application data when the kernel does the records. Data records look like a plain socket; every
 * other record makes recv() fail with EIO and splice() with EINVAL until recvmsg() takes it, which
 * happens here. Knows no keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

#ifndef SOL_TLS
#define SOL_TLS 282
#endif

#define ALERT_USER_CANCELED 90

/* Of a session ticket (RFC 8446, 4.6.1: two vectors of 2^16 bytes and a little). */
#define TICKET_MAX (2 * 65536 + 512)

/* Records that mean nothing to us, in the life of one connection. */
#define IGNORED_MAX 1000

/* Room in the send buffer for what the kernel may still hold: the record at hand, the next, and the
 * alert. */
#define CLOSE_ROOM_BYTES 49152

static int kernel_fail(struct tls_stream *stream, int err, const char *why)
{
	tls_stream_set_fault(stream, CLOSE_TLS_BROKEN);
	tls_stream_set_error(stream, "%s", why);
	stream->recv_ended = true;
	stream->recv_end = err;
	return err;
}

/* What the system call gave, as the words and numbers of struct io_ops. */
static int kernel_explain(struct tls_stream *stream, int err)
{
	switch (err) {
	case EAGAIN:
		return -EAGAIN;
	case EBADMSG:
		return kernel_fail(stream, -EPROTO, "TLS: a record failed its integrity check");
	case EMSGSIZE:
	case EINVAL:
		return kernel_fail(stream, -EPROTO, "TLS: a record is malformed or too large");
	default:
		tls_stream_set_error(stream, "%s", strerror(err));
		return -err;
	}
}

static int kernel_send_alert(struct tls_stream *stream, unsigned char level,
			     unsigned char description)
{
	unsigned char alert[2] = {level, description};
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(1)];
	} control = {.header = {.cmsg_level = SOL_TLS,
				.cmsg_type = TLS_SET_RECORD_TYPE,
				.cmsg_len = CMSG_LEN(1)}};
	struct iovec part = {alert, sizeof(alert)};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	tls_count_alert(stream, true, description);
	*CMSG_DATA(&control.header) = TLS_TYPE_ALERT;
	return sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Tells the peer why, as far as that is possible without waiting. */
static int kernel_refuse(struct tls_stream *stream, unsigned char description, const char *why)
{
	int err = kernel_send_alert(stream, TLS_ALERT_FATAL, description);

	stream->close_notified = err == 0;
	return kernel_fail(stream, -EPROTO, why);
}

static int kernel_take_alert(struct tls_stream *stream, const unsigned char *data, size_t len_bytes)
{
	if (len_bytes < 2)
		return kernel_refuse(stream, TLS_ALERT_UNEXPECTED_MESSAGE,
				     "TLS: the peer sent half an alert");
	tls_count_alert(stream, false, data[1]);
	if (data[1] == ALERT_USER_CANCELED)
		return 0;
	stream->recv_ended = true;
	stream->recv_end = 0;
	if (data[1] == TLS_ALERT_CLOSE_NOTIFY)
		return 0;
	stream->recv_end = -EPROTO;
	tls_stream_set_fault(stream, CLOSE_TLS_BROKEN);
	tls_stream_set_alert(stream, data[1]);
	return -EPROTO;
}

/* Handshake messages after the handshake: tickets are passed over, which may reach over records. */
static int kernel_take_handshake(struct tls_stream *stream, const unsigned char *data,
				 size_t len_bytes)
{
	while (len_bytes) {
		size_t n = MIN(len_bytes, stream->skip_bytes);

		data += n;
		len_bytes -= n;
		stream->skip_bytes -= (uint32_t)n;
		if (!len_bytes)
			return 0;
		if (data[0] == TLS_HANDSHAKE_KEY_UPDATE)
			return kernel_refuse(
			    stream, TLS_ALERT_INTERNAL,
			    "TLS: the peer changed its keys, which this kernel cannot follow");
		if (data[0] != TLS_HANDSHAKE_NEW_SESSION_TICKET ||
		    stream->side != TLS_SIDE_CLIENT || len_bytes < 4)
			return kernel_refuse(
			    stream, TLS_ALERT_UNEXPECTED_MESSAGE,
			    "TLS: the peer sent a handshake message that is not allowed here");
		stream->skip_bytes =
		    4 + ((uint32_t)data[1] << 16 | (uint32_t)data[2] << 8 | data[3]);
		if (stream->skip_bytes > TICKET_MAX)
			return kernel_refuse(
			    stream, TLS_ALERT_UNEXPECTED_MESSAGE,
			    "TLS: the peer sent a session ticket that is too long");
	}
	return 0;
}

/* Tickets of a server may be wanted; others are passed over. */
static int kernel_take_tickets(struct tls_stream *stream, const unsigned char *data,
			       size_t len_bytes)
{
	int err = kernel_take_handshake(stream, data, len_bytes);

	if (!err && stream->late)
		tls_late_take(stream, data, len_bytes);
	return err;
}

/* One record that is not data. 0: go on, looking at recv_ended first; -EAGAIN, -errno. */
static int kernel_take_control(struct tls_stream *stream)
{
	unsigned char *data = (unsigned char *)tls_thread_buffer();
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(1)];
	} control;
	struct iovec part = {data, TLS_IN_MAX};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(stream->fd, &message, MSG_DONTWAIT);
	const struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	if (n < 0)
		return kernel_explain(stream, errno == EIO ? EBADMSG : errno);
	if (!header || header->cmsg_level != SOL_TLS || header->cmsg_type != TLS_GET_RECORD_TYPE)
		return kernel_fail(stream, -EPROTO,
				   "TLS: the kernel gave a record without its type");
	if (++stream->n_ignored > IGNORED_MAX)
		return kernel_refuse(stream, TLS_ALERT_UNEXPECTED_MESSAGE,
				     "TLS: too many records without data");
	switch (*CMSG_DATA(header)) {
	case TLS_TYPE_ALERT:
		return kernel_take_alert(stream, data, (size_t)n);
	case TLS_TYPE_HANDSHAKE:
		return kernel_take_tickets(stream, data, (size_t)n);
	default:
		return kernel_refuse(
		    stream, TLS_ALERT_UNEXPECTED_MESSAGE,
		    "TLS: the peer sent a record of a type that is not allowed here");
	}
}

/* FIN: an end only after close_notify (RFC 8446, 6.1). */
static int kernel_truncated(struct tls_stream *stream)
{
	tls_stream_set_fault(stream, CLOSE_TLS_TRUNCATED);
	return kernel_fail(stream, -EPROTO,
			   "the peer closed without close_notify: data may be missing");
}

static ssize_t tls_kernel_recv(struct io *io, void *data, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	int err = 0;

	while (!err && !stream->recv_ended) {
		ssize_t n = recv(stream->fd, data, len_bytes, MSG_DONTWAIT);

		if (n > 0) {
			if (stream->late)
				tls_late_done(stream);
			return n;
		}
		if (n == 0)
			return len_bytes ? kernel_truncated(stream) : 0;
		err = errno == EIO ? kernel_take_control(stream) : kernel_explain(stream, errno);
	}
	return err ? err : stream->recv_end;
}

static ssize_t tls_kernel_splice_in(struct io *io, int pipe_write_fd, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	int err = 0;

	while (!err && !stream->recv_ended) {
		ssize_t n = splice(stream->fd, NULL, pipe_write_fd, NULL, len_bytes,
				   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

		if (n > 0) {
			if (stream->late)
				tls_late_done(stream);
			return n;
		}
		if (n == 0)
			return kernel_truncated(stream);
		err = errno == EINVAL ? kernel_take_control(stream) : kernel_explain(stream, errno);
	}
	return err ? err : stream->recv_end;
}

static ssize_t tls_kernel_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	struct tls_stream *stream = io->impl;
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)n_parts};
	ssize_t n =
	    sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));

	return n < 0 ? kernel_explain(stream, errno) : n;
}

/*
 * Up to Linux 6.4 a splice passes all pages but the last on as "more follows", and the TLS layer,
 * when it finds the send buffer full, waits without having them sent: where nothing else is under
 * way, for ever.
 */
static void kernel_push(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static ssize_t tls_kernel_splice_out(struct io *io, int pipe_read_fd, size_t len_bytes, bool more)
{
	struct tls_stream *stream = io->impl;
	ssize_t n = splice(pipe_read_fd, NULL, stream->fd, NULL, len_bytes,
			   SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));
	int err = n < 0 ? errno : 0;

	if (err == EAGAIN)
		kernel_push(stream->fd);
	return err ? kernel_explain(stream, err) : n;
}

static size_t kernel_send_room(int fd, size_t *ret_buffer)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len))
		return 0;
	*ret_buffer = info[SK_MEMINFO_SNDBUF];
	return info[SK_MEMINFO_SNDBUF] - MIN(info[SK_MEMINFO_WMEM_QUEUED], info[SK_MEMINFO_SNDBUF]);
}

/*
 * A record that found the send buffer full waits inside the TLS layer, where neither shutdown() nor
 * close() looks: a FIN now would cut it off. So there must be room for all that may wait there. A
 * third of the buffer is what EPOLLOUT promises; where that is not enough room, the buffer is made
 * larger.
 */
static bool kernel_has_room_to_close(int fd)
{
	int larger = 4 * CLOSE_ROOM_BYTES;
	struct pollfd writable = {.fd = fd, .events = POLLOUT};
	size_t buffer = 0;

	if (kernel_send_room(fd, &buffer) >= CLOSE_ROOM_BYTES)
		return true;
	if (buffer < 3 * CLOSE_ROOM_BYTES)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &larger, sizeof(larger));
	/* The poll arms the event that brings us here again. */
	return poll(&writable, 1, 0) == 1 && (writable.revents & POLLOUT);
}

static int tls_kernel_shutdown_send(struct io *io)
{
	struct tls_stream *stream = io->impl;

	if (!stream->close_notified) {
		int err;

		if (!kernel_has_room_to_close(stream->fd))
			return -EAGAIN;
		err = kernel_send_alert(stream, TLS_ALERT_WARNING, TLS_ALERT_CLOSE_NOTIFY);
		if (err)
			return err;
		stream->close_notified = true;
	}
	return shutdown(stream->fd, SHUT_WR) ? -errno : 0;
}

static void tls_kernel_close(struct io *io)
{
	tls_stream_free(io->impl);
	io->impl = NULL;
	close(io->watch.fd);
}

const struct io_ops tls_kernel_ops = {
    .name = "ktls",
    .recv = tls_kernel_recv,
    .send = tls_kernel_send,
    .shutdown_send = tls_kernel_shutdown_send,
    .splice_in = tls_kernel_splice_in,
    .splice_out = tls_kernel_splice_out,
    .close = tls_kernel_close,
};
