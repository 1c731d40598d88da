/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are not data, where the kernel receives: taken from the socket one by one, judged by
 * tls_control.c, and done as the verdict says. New keys need Linux 6.14; before, the connection
 * ends with an alert. Moves no data.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "stats/stats.h"
#include "tls/tls_internal.h"

int tls_kernel_fail(struct tls_stream *stream, int err, const char *why)
{
	tls_stream_set_fault(stream, CLOSE_TLS_BROKEN);
	tls_stream_set_error(stream, "%s", why);
	stream->recv_ended = true;
	stream->recv_end = err;
	return err;
}

int tls_kernel_explain(struct tls_stream *stream, int err)
{
	switch (err) {
	case EAGAIN:
		return -EAGAIN;
	case EBADMSG:
		return tls_kernel_fail(stream, -EPROTO, "TLS: a record failed its integrity check");
	case EMSGSIZE:
	case EINVAL:
		return tls_kernel_fail(stream, -EPROTO, "TLS: a record is malformed or too large");
	default:
		tls_stream_set_error(stream, "%s", strerror(err));
		return -err;
	}
}

/* One record; the kernel takes all of it or nothing. */
static int control_send(struct tls_stream *stream, uint8_t type, const void *data, size_t len_bytes)
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
	return sendmsg(stream->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Where OpenSSL sends, it does not make alerts of ours: the peer will see the connection end. */
int tls_kernel_send_alert(struct tls_stream *stream, uint8_t level, uint8_t description)
{
	const uint8_t alert[2] = {level, description};

	if (!(stream->in_kernel & TLS_KERNEL_SEND))
		return 0;
	tls_count_alert(stream, true, description);
	return control_send(stream, TLS_TYPE_ALERT, alert, sizeof(alert));
}

/* Tells the peer why, as far as that is possible without waiting. */
static int control_refuse(struct tls_stream *stream, uint8_t description, const char *why)
{
	int err = tls_kernel_send_alert(stream, TLS_ALERT_FATAL, description);

	stream->close_notified = err == 0;
	tls_kernel_fail(stream, -EPROTO, why);
	tls_stream_set_error(stream, "TLS: %s", why);
	return -EPROTO;
}

static int control_refuse_keys(struct tls_stream *stream)
{
	tls_stream_set_fault(stream, CLOSE_TLS_KEY_UPDATE);
	return control_refuse(stream, TLS_ALERT_INTERNAL,
			      "the peer changed its keys, which this kernel cannot follow");
}

/* Data that is under way is under the old key; the KeyUpdate is the last record with it. */
int tls_kernel_settle_debt(struct tls_stream *stream)
{
	static const uint8_t key_update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1,
					     SSL_KEY_UPDATE_NOT_REQUESTED};
	int err;

	if (!stream->owes_key_update)
		return 0;
	if (!stream->rekey)
		return control_refuse_keys(stream);
	err = control_send(stream, TLS_TYPE_HANDSHAKE, key_update, sizeof(key_update));
	if (err)
		return tls_kernel_explain(stream, -err);
	stream->owes_key_update = false;
	if (tls_kernel_rekey(stream, stream->side))
		return control_refuse_keys(stream);
	return 0;
}

/* Asked for our next keys: the answer goes out at once, or before the next data (RFC 8446, 4.6.3).
 */
static int control_answer_keys(struct tls_stream *stream)
{
	int err;

	if (!(stream->in_kernel & TLS_KERNEL_SEND)) {
		SSL_key_update(stream->ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		return 0;
	}
	stream->owes_key_update = true;
	err = tls_kernel_settle_debt(stream);
	return err == -EAGAIN ? 0 : err;
}

static int control_rekey(struct tls_stream *stream, bool is_asked)
{
	if (tls_kernel_rekey(stream, tls_stream_peer(stream))) {
		stats_inc(STAT_TLS_KEY_UPDATES_REFUSED);
		return control_refuse_keys(stream);
	}
	stats_inc(STAT_TLS_KEY_UPDATES);
	return is_asked ? control_answer_keys(stream) : 0;
}

static int control_close(struct tls_stream *stream)
{
	stream->recv_ended = true;
	stream->recv_end = 0;
	return 0;
}

static int control_failed(struct tls_stream *stream, uint8_t description)
{
	tls_kernel_fail(stream, -EPROTO, "");
	tls_stream_set_alert(stream, description);
	return -EPROTO;
}

/* A warning for which there is no room is not missed. */
static void control_decline(struct tls_stream *stream)
{
	int err = tls_kernel_send_alert(stream, TLS_ALERT_WARNING, TLS_ALERT_NO_RENEGOTIATION);

	(void)err;
}

static int control_do(struct tls_stream *stream, const struct tls_control_verdict *verdict)
{
	switch (verdict->word) {
	case TLS_CONTROL_CLOSED:
		return control_close(stream);
	case TLS_CONTROL_FAILED:
		return control_failed(stream, verdict->alert);
	case TLS_CONTROL_REKEY:
	case TLS_CONTROL_REKEY_BOTH:
		return control_rekey(stream, verdict->word == TLS_CONTROL_REKEY_BOTH);
	case TLS_CONTROL_DECLINE:
		control_decline(stream);
		return 0;
	case TLS_CONTROL_REFUSE:
		return control_refuse(stream, verdict->alert, verdict->why);
	default:
		return 0;
	}
}

int tls_kernel_take_control(struct tls_stream *stream)
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
	struct tls_control_verdict verdict;

	if (n < 0)
		return tls_kernel_explain(stream, errno == EIO ? EBADMSG : errno);
	if (!header || header->cmsg_level != SOL_TLS || header->cmsg_type != TLS_GET_RECORD_TYPE)
		return tls_kernel_fail(stream, -EPROTO,
				       "TLS: the kernel gave a record without its type");
	if (*CMSG_DATA(header) == TLS_TYPE_ALERT && n == 2)
		tls_count_alert(stream, false, data[1]);
	verdict = tls_control_take(&stream->control, *CMSG_DATA(header), data, (size_t)n);
	if (verdict.word == TLS_CONTROL_PASS && stream->late &&
	    *CMSG_DATA(header) == TLS_TYPE_HANDSHAKE)
		tls_late_take(stream, data, (size_t)n);
	return control_do(stream, &verdict);
}
