/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are not data, to and from a kernel that does the records: one by one, their types
 * beside them. What they mean is told by tls_control.c, and done by tls_answer.c.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "tls/tls_internal.h"

int tls_kernel_explain(struct tls_stream *stream, int err)
{
	switch (err) {
	case EAGAIN:
		return -EAGAIN;
	case EBADMSG:
		return tls_stream_fail(stream, -EPROTO, "TLS: a record failed its integrity check");
	case EKEYEXPIRED: /* it takes the first part of a KeyUpdate for the whole */
		tls_stream_set_fault(stream, CLOSE_TLS_KEY_UPDATE);
		return tls_stream_fail(stream, -EPROTO,
				       "TLS: the peer sent a KeyUpdate in parts, which this kernel "
				       "cannot follow");
	case EMSGSIZE:
	case EINVAL:
		return tls_stream_fail(stream, -EPROTO, "TLS: a record is malformed or too large");
	default:
		tls_stream_set_error(stream, "%s", strerror(err));
		return -err;
	}
}

int tls_kernel_send_control(struct tls_stream *stream, uint8_t type, const void *data,
			    size_t len_bytes)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(1)];
	} control = {.header = {.cmsg_level = SOL_TLS,
				.cmsg_type = TLS_SET_RECORD_TYPE,
				.cmsg_len = CMSG_LEN(1)}};
	struct iovec part = {(void *)data, len_bytes};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = &control,
				 .msg_controllen = sizeof(control)};

	*CMSG_DATA(&control.header) = type;
	return sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0
		   ? tls_kernel_explain(stream, errno)
		   : 0;
}

int tls_kernel_take_control(struct tls_stream *stream, struct io *io)
{
	unsigned char *data = (unsigned char *)tls_thread_in();
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
		return tls_kernel_explain(stream, errno == EIO ? EBADMSG : errno);
	if (!header || header->cmsg_level != SOL_TLS || header->cmsg_type != TLS_GET_RECORD_TYPE)
		return tls_stream_fail(stream, -EPROTO,
				       "TLS: the kernel gave a record without its type");
	return tls_stream_take_control(stream, io, *CMSG_DATA(header), data, (size_t)n);
}
