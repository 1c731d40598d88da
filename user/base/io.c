/* SPDX-License-Identifier: Apache-2.0 */
#include "base/io.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t io_plain_recv(struct io *io, void *data, size_t len_bytes)
{
	ssize_t n = recv(io->watch.fd, data, len_bytes, MSG_DONTWAIT);

	return n < 0 ? -errno : n;
}

/* One part goes by send(2): the kernel copies no message header for it. */
static ssize_t io_plain_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
	struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)n_parts};
	ssize_t n = n_parts == 1 ? send(io->watch.fd, parts->iov_base, parts->iov_len, flags)
				 : sendmsg(io->watch.fd, &message, flags);

	return n < 0 ? -errno : n;
}

static int io_plain_shutdown_send(struct io *io)
{
	return shutdown(io->watch.fd, SHUT_WR) ? -errno : 0;
}

static ssize_t io_plain_splice_in(struct io *io, int pipe_write_fd, size_t len_bytes)
{
	ssize_t n = splice(io->watch.fd, NULL, pipe_write_fd, NULL, len_bytes,
			   SPLICE_F_NONBLOCK | SPLICE_F_MOVE);

	return n < 0 ? -errno : n;
}

static ssize_t io_plain_splice_out(struct io *io, int pipe_read_fd, size_t len_bytes, bool more)
{
	ssize_t n = splice(pipe_read_fd, NULL, io->watch.fd, NULL, len_bytes,
			   SPLICE_F_NONBLOCK | SPLICE_F_MOVE | (more ? SPLICE_F_MORE : 0));

	return n < 0 ? -errno : n;
}

static void io_plain_close(struct io *io)
{
	close(io->watch.fd);
}

static const struct io_ops io_plain_ops = {
    .name = "plain",
    .recv = io_plain_recv,
    .send = io_plain_send,
    .shutdown_send = io_plain_shutdown_send,
    .splice_in = io_plain_splice_in,
    .splice_out = io_plain_splice_out,
    .close = io_plain_close,
};

void io_init_plain(struct io *io, int fd)
{
	*io = (struct io){.ops = &io_plain_ops, .watch = {.fd = fd}};
}

void io_note_events(struct io *io, uint32_t epoll_events)
{
	if (epoll_events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		io->readable = true;
	if (epoll_events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		io->writable = true;
	if (epoll_events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		io->peer_closed = true;
	if (epoll_events & EPOLLERR)
		io->failed = true;
}

ssize_t io_recv(struct io *io, void *data, size_t len_bytes)
{
	ssize_t n = io->ops->recv(io, data, len_bytes);

	if (n > 0)
		io->received_bytes += (uint64_t)n;
	if (n == -EAGAIN ||
	    (n > 0 && (size_t)n < len_bytes && !io->peer_closed && io->ops == &io_plain_ops))
		io->readable = false;
	return n;
}

ssize_t io_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	ssize_t n = io->ops->send(io, parts, n_parts, more);

	if (n > 0)
		io->sent_bytes += (uint64_t)n;
	if (n == -EAGAIN)
		io->writable = false;
	return n;
}

ssize_t io_splice_in(struct io *io, int pipe_write_fd, size_t len_bytes)
{
	ssize_t n = io->ops->splice_in(io, pipe_write_fd, len_bytes);

	if (n > 0)
		io->received_bytes += (uint64_t)n;
	return n;
}

ssize_t io_splice_out(struct io *io, int pipe_read_fd, size_t len_bytes, bool more)
{
	ssize_t n = io->ops->splice_out(io, pipe_read_fd, len_bytes, more);

	if (n > 0)
		io->sent_bytes += (uint64_t)n;
	if (n == -EAGAIN)
		io->writable = false;
	return n;
}

int io_shutdown_send(struct io *io)
{
	int err = io->ops->shutdown_send(io);

	if (err == -EAGAIN)
		io->writable = false;
	return err;
}

bool io_can_splice(const struct io *from, const struct io *to)
{
	return from->ops->splice_in && to->ops->splice_out;
}

bool io_may_splice(struct io *from, struct io *to, bool now)
{
	bool from_may =
	    from->ops->splice_in || (from->ops->may_splice && from->ops->may_splice(from, false));
	bool to_may =
	    to->ops->splice_out || (to->ops->may_splice && to->ops->may_splice(to, false));

	if (!from_may || !to_may || !now)
		return from_may && to_may;
	if (!from->ops->splice_in)
		from->ops->may_splice(from, true);
	if (!to->ops->splice_out)
		to->ops->may_splice(to, true);
	return io_can_splice(from, to) || io_may_splice(from, to, false);
}

bool io_is_plain(const struct io *io)
{
	return io->ops == &io_plain_ops;
}

void io_arrange_reset(struct io *io)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(io->watch.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

void io_close(struct io *io)
{
	if (io->watch.fd < 0 || !io->ops)
		return;
	io->ops->close(io);
	io->watch.fd = -1;
}
