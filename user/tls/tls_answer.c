/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are not data are judged by tls_control.c, and what the verdict asks for is done
 * here, whoever does the records: the kernel, which cannot take new keys before Linux 6.14, or user
 * space, which always can. Moves no data.
 */
#include <errno.h>
#include <string.h>

#include "stats/stats.h"
#include "tls/tls_internal.h"

int tls_stream_fail(struct tls_stream *stream, int err, const char *why)
{
	tls_stream_set_fault(stream, err == -ENOMEM ? CLOSE_OUT_OF_MEMORY : CLOSE_TLS_BROKEN);
	tls_stream_set_error(stream, "%s", why);
	stream->recv_ended = true;
	stream->recv_end = err;
	return err;
}

int tls_stream_truncated(struct tls_stream *stream)
{
	tls_stream_set_fault(stream, CLOSE_TLS_TRUNCATED);
	return tls_stream_fail(stream, -EPROTO,
			       "the peer closed without close_notify: data may be missing");
}

static int answer_send(struct tls_stream *stream, struct io *io, uint8_t type, const void *data,
		       size_t len_bytes)
{
	return stream->in_kernel & TLS_KERNEL_SEND
		   ? tls_kernel_send_control(stream, type, data, len_bytes)
		   : tls_records_send_control(stream, io, type, data, len_bytes);
}

int tls_stream_send_alert(struct tls_stream *stream, struct io *io, uint8_t level,
			  uint8_t description)
{
	const uint8_t alert[2] = {level, description};
	int err = answer_send(stream, io, TLS_TYPE_ALERT, alert, sizeof(alert));

	if (!err)
		tls_count_alert(stream, true, description);
	return err;
}

int tls_stream_refuse(struct tls_stream *stream, struct io *io, uint8_t description,
		      const char *why)
{
	int err = tls_stream_send_alert(stream, io, TLS_ALERT_FATAL, description);

	stream->close_notified = err == 0;
	tls_stream_fail(stream, -EPROTO, why);
	tls_stream_set_error(stream, "TLS: %s", why);
	return -EPROTO;
}

/* `err` of tls_stream_rekey(). */
static int answer_refuse_keys(struct tls_stream *stream, struct io *io, int err)
{
	bool is_memory = err == -ENOMEM;

	tls_stream_set_fault(stream, is_memory ? CLOSE_OUT_OF_MEMORY : CLOSE_TLS_KEY_UPDATE);
	return tls_stream_refuse(
	    stream, io, TLS_ALERT_INTERNAL,
	    is_memory ? "no memory for new keys"
		      : "the peer changed its keys, which this kernel cannot follow");
}

/* Data that is under way is under the old key; the KeyUpdate is the last record with it. */
int tls_stream_settle_debt(struct tls_stream *stream, struct io *io)
{
	static const uint8_t key_update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1,
					     SSL_KEY_UPDATE_NOT_REQUESTED};
	int err;

	if (!stream->owes_key_update)
		return 0;
	/* After a KeyUpdate that is not followed by new keys the peer could not read our alert. */
	if (!tls_stream_can_rekey(stream, stream->side))
		return answer_refuse_keys(stream, io, -EBUSY);
	err = answer_send(stream, io, TLS_TYPE_HANDSHAKE, key_update, sizeof(key_update));
	if (err)
		return err;
	stream->owes_key_update = false;
	stream->send_error = tls_stream_rekey(stream, stream->side);
	return stream->send_error ? answer_refuse_keys(stream, io, stream->send_error) : 0;
}

/* Asked for our next keys: the answer goes out at once, or before the next data (RFC 8446, 4.6.3).
 */
static int answer_rekey(struct tls_stream *stream, struct io *io, bool is_asked)
{
	int err = tls_stream_rekey(stream, tls_stream_peer(stream));

	if (err) {
		stats_inc(STAT_TLS_KEY_UPDATES_REFUSED);
		return answer_refuse_keys(stream, io, err);
	}
	stats_inc(STAT_TLS_KEY_UPDATES);
	if (!is_asked || stream->close_notified) /* behind the end nothing is sent */
		return 0;
	stream->owes_key_update = true;
	err = tls_stream_settle_debt(stream, io);
	return err == -EAGAIN ? 0 : err;
}

static int answer_close(struct tls_stream *stream)
{
	stream->recv_ended = true;
	stream->recv_end = 0;
	return 0;
}

static int answer_alert(struct tls_stream *stream, uint8_t description)
{
	tls_stream_fail(stream, -EPROTO, "");
	tls_stream_set_alert(stream, description);
	return -EPROTO;
}

/* A warning for which there is no room is not missed. */
static void answer_decline(struct tls_stream *stream, struct io *io)
{
	int err = tls_stream_send_alert(stream, io, TLS_ALERT_WARNING, TLS_ALERT_NO_RENEGOTIATION);

	(void)err;
}

int tls_stream_take_control(struct tls_stream *stream, struct io *io, uint8_t type,
			    const uint8_t *data, size_t len_bytes)
{
	struct tls_control_verdict verdict;

	if (type == TLS_TYPE_ALERT && len_bytes == 2)
		tls_count_alert(stream, false, data[1]);
	verdict = tls_control_take(&stream->control, type, data, len_bytes);
	if (verdict.word == TLS_CONTROL_PASS && tls_stream_awaits_tickets(stream) &&
	    type == TLS_TYPE_HANDSHAKE)
		tls_late_take(stream, data, len_bytes);
	switch (verdict.word) {
	case TLS_CONTROL_CLOSED:
		return answer_close(stream);
	case TLS_CONTROL_FAILED:
		return answer_alert(stream, verdict.alert);
	case TLS_CONTROL_REKEY:
	case TLS_CONTROL_REKEY_BOTH:
		return answer_rekey(stream, io, verdict.word == TLS_CONTROL_REKEY_BOTH);
	case TLS_CONTROL_DECLINE:
		answer_decline(stream, io);
		return 0;
	case TLS_CONTROL_REFUSE:
		return tls_stream_refuse(stream, io, verdict.alert, verdict.why);
	default:
		return 0;
	}
}
