/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application data when the kernel does the records. Data records look like a plain socket; every
 * other record makes recv() fail with EIO and splice() with EINVAL until recvmsg() takes it
 * (tls_kernel_control.c). Where only one direction is the kernel's, the other is
 * that of tls_records_io.c. Knows no keys.
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

/* Room in the send buffer for what the kernel may still hold: the record at hand, the next, and the
 * alert. */
#define CLOSE_ROOM_BYTES 49152

#define EMPTY_ROW_MAX 32

/*
 * 0 is an end, or records without bytes: splice(2) says it to each, recv(2) to some right before a
 * record that is not data. An end says it again, and records run out; more of them in a row than
 * OpenSSL takes are not taken here.
 */
static int kernel_note_nothing(struct tls_stream *stream, unsigned int *n_nothing)
{
	return ++*n_nothing > EMPTY_ROW_MAX ? tls_stream_truncated(stream) : 0;
}

/* 0, or -EPROTO: it must not be. */
static int kernel_note_data(struct tls_stream *stream, struct io *io)
{
	if (tls_control_is_amid(&stream->control))
		return tls_stream_take_control(stream, io, TLS_TYPE_DATA, NULL, 0);
	tls_control_note_data(&stream->control);
	if (tls_stream_awaits_tickets(stream))
		tls_late_done(stream);
	return 0;
}

/*
 * A short read does not mean that nothing is left: a record that is not data, right behind the
 * data, waits within the TLS layer, and no event tells of it. So io->readable stays, and the next
 * call finds it or finds nothing.
 */
static ssize_t tls_kernel_recv(struct io *io, void *data, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	unsigned int n_nothing = 0;
	int err = 0;

	while (!err && !stream->recv_ended) {
		ssize_t n = recv(stream->fd, data, len_bytes, MSG_DONTWAIT);

		if (n > 0) {
			err = kernel_note_data(stream, io);
			return err ? err : n;
		}
		if (n == 0 && !len_bytes)
			return 0;
		if (n == 0)
			err = kernel_note_nothing(stream, &n_nothing);
		else
			err = errno == EIO ? tls_kernel_take_control(stream, io)
					   : tls_kernel_explain(stream, errno);
	}
	return err ? err : stream->recv_end;
}

static ssize_t tls_kernel_splice_in(struct io *io, int pipe_write_fd, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	unsigned int n_nothing = 0;
	int err = 0;

	while (!err && !stream->recv_ended) {
		ssize_t n = splice(stream->fd, NULL, pipe_write_fd, NULL, len_bytes,
				   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

		if (n > 0) {
			err = kernel_note_data(stream, io);
			return err ? err : n;
		}
		if (n == 0)
			err = kernel_note_nothing(stream, &n_nothing);
		else
			err = errno == EINVAL ? tls_kernel_take_control(stream, io)
					      : tls_kernel_explain(stream, errno);
	}
	return err ? err : stream->recv_end;
}

static ssize_t tls_kernel_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	struct tls_stream *stream = io->impl;
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)n_parts};
	int err = tls_stream_settle_debt(stream, io);
	ssize_t n;

	if (err)
		return err;
	n = sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	return n < 0 ? tls_kernel_explain(stream, errno) : n;
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
	int err = tls_stream_settle_debt(stream, io);
	ssize_t n;

	if (err)
		return err;
	n = splice(pipe_read_fd, NULL, stream->fd, NULL, len_bytes,
		   SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));
	err = n < 0 ? errno : 0;
	if (err == EAGAIN)
		kernel_push(stream->fd);
	return err ? tls_kernel_explain(stream, err) : n;
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
		int err = tls_stream_settle_debt(stream, io);

		if (err)
			return err;
		if (!kernel_has_room_to_close(stream->fd))
			return -EAGAIN;
		err = tls_stream_send_alert(stream, io, TLS_ALERT_WARNING, TLS_ALERT_CLOSE_NOTIFY);
		if (err)
			return err;
		stream->close_notified = true;
	}
	return shutdown(stream->fd, SHUT_WR) ? -errno : 0;
}

const struct io_ops tls_kernel_ops = {
    .name = "ktls",
    .recv = tls_kernel_recv,
    .send = tls_kernel_send,
    .shutdown_send = tls_kernel_shutdown_send,
    .splice_in = tls_kernel_splice_in,
    .splice_out = tls_kernel_splice_out,
    .close = tls_stream_close,
};

const struct io_ops tls_kernel_send_ops = {
    .name = "ktls-send",
    .recv = tls_records_recv,
    .send = tls_kernel_send,
    .shutdown_send = tls_kernel_shutdown_send,
    .splice_out = tls_kernel_splice_out,
    .close = tls_stream_close,
};

const struct io_ops tls_kernel_receive_ops = {
    .name = "ktls-receive",
    .recv = tls_kernel_recv,
    .send = tls_records_send,
    .shutdown_send = tls_records_shutdown_send,
    .splice_in = tls_kernel_splice_in,
    .close = tls_stream_close,
};
