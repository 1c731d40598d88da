/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One end of a byte stream. The code above reads and writes it without knowing whether the bytes
 * are plain, encrypted in user space, or encrypted by the kernel. Nonblocking; edge-triggered:
 * `readable` and `writable` say what the last calls and events told, and the owner asks again only
 * while they are set.
 *
 * What a short read means: the descriptor is drained, so io_recv() clears `readable`, unless the
 * peer has closed
 * (`peer_closed`), because then the end of the stream is still to be read.
 */
#ifndef PENSTOCK_BASE_IO_H
#define PENSTOCK_BASE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/compiler.h"
#include "base/loop.h"

struct io;

struct io_ops {
	const char *name; /* "plain", "userspace", "ktls": for people */

	/* > 0: bytes; 0: the peer ended its stream cleanly; -EAGAIN; -ECONNRESET, -EPROTO (TLS
	 * broken or truncated), or another -errno: the stream is unusable. */
	ssize_t (*recv)(struct io *io, void *data, size_t len_bytes);

	/* > 0: bytes taken (may be fewer than given); -EAGAIN; -errno. `more`: further bytes follow
	 * at once, so that a segment or record need not end here. */
	ssize_t (*send)(struct io *io, const struct iovec *parts, int n_parts, bool more);

	/* Ends our direction (FIN, after close_notify where there is TLS). 0, -EAGAIN (call again
	 * when writable), -errno. */
	int (*shutdown_send)(struct io *io);

	/* Between the descriptor and a pipe, at most len_bytes, without copying to user space; as
	 * recv and send. NULL where user space must see the bytes. */
	ssize_t (*splice_in)(struct io *io, int pipe_write_fd, size_t len_bytes);
	ssize_t (*splice_out)(struct io *io, int pipe_read_fd, size_t len_bytes, bool more);

	/* Not NULL: splice_in and splice_out may come yet. True as long as that is so; with `now`
	 * they come at once, where nothing stands against it. */
	bool (*may_splice)(struct io *io, bool now);

	/* Frees what the implementation holds; closes the descriptor. */
	void (*close)(struct io *io);
};

struct io {
	const struct io_ops *ops;
	struct watch watch; /* watch.fd is the descriptor */
	bool readable;
	bool writable;
	bool peer_closed; /* EPOLLRDHUP, EPOLLHUP or EPOLLERR was seen */
	bool failed; /* EPOLLERR was seen: reset, most likely */
	void *impl; /* of ops */
	uint64_t received_bytes; /* payload, as the code above saw it */
	uint64_t sent_bytes;
	const char *why_not_kernel; /* what keeps TLS from the kernel; NULL where it is there or
				       there is no TLS */
};

/* A plain stream on a connected, nonblocking `fd`, which it owns from now on. */
void io_init_plain(struct io *io, int fd);

/* Notes epoll bits in readable, writable and peer_closed. */
void io_note_events(struct io *io, uint32_t epoll_events);

/* As the ops; they also keep the counters and flags. */
ssize_t io_recv(struct io *io, void *data, size_t len_bytes) MUST_CHECK;
ssize_t io_send(struct io *io, const struct iovec *parts, int n_parts, bool more) MUST_CHECK;
ssize_t io_splice_in(struct io *io, int pipe_write_fd, size_t len_bytes) MUST_CHECK;
ssize_t io_splice_out(struct io *io, int pipe_read_fd, size_t len_bytes, bool more) MUST_CHECK;
int io_shutdown_send(struct io *io) MUST_CHECK;

/* Both directions of splice_in/splice_out exist for this pair, so that a pipe can carry `from` to
 * `to`. */
bool io_can_splice(const struct io *from, const struct io *to);

/* The pair can be spliced, or can yet. With `now` each does what it can for that: then look at
 * io_can_splice(). */
bool io_may_splice(struct io *from, struct io *to, bool now);

/* Nothing stands between the caller and the descriptor. */
bool io_is_plain(const struct io *io);

/* The reset that the peer shall see: the next io_close() sends RST instead of FIN. */
void io_arrange_reset(struct io *io);

/* Unwatch first. Right for a struct io that was closed already or is zeroed with watch.fd -1. */
void io_close(struct io *io);

#endif
