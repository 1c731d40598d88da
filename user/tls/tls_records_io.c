/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Application data when the records are made and opened here: what the kernel would do, where it
 * does not. One read brings many records, which are opened straight into the caller's memory; all
 * that one call makes leave in one send. Between calls a stream holds its keys, and only what
 * cannot be avoided besides: a part of a record, what a caller had no room for, what the socket did
 * not take.
 *
 * A record that is made cannot be unmade. What the socket does not take of a batch therefore stays
 * in the stream, and the caller is told -EAGAIN as if nothing had been taken; it comes again with
 * the same bytes, which are then owed to it: they are counted as taken without being sent twice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bug.h"
#include "tls/tls_internal.h"

/* Records under one key of AES-GCM (RFC 8446, 5.5 has 2^24.5). */
#define RECORDS_PER_KEY_MAX (1ull << 24)

/* Control records are small; the largest here is a KeyUpdate. */
#define CONTROL_MAX 16

struct tls_records *tls_records_new(const struct tls_keys *keys, size_t size_max_bytes)
{
	struct tls_records *records = OPENSSL_zalloc(sizeof(*records));

	if (!records)
		return NULL;
	records->form = (struct tls_record_form){.version = keys->version, .cipher = keys->cipher};
	records->size_max_bytes = (uint16_t)size_max_bytes;
	memcpy(records->of, keys->of, sizeof(records->of));
	return records;
}

void tls_records_free(struct tls_records *records)
{
	if (!records)
		return;
	for (int side = 0; side < TLS_SIDE_MAX; side++)
		tls_record_forget(records->form, &records->of[side]);
	free(records->held.data);
	OPENSSL_free(records);
}

/* Sealed bytes at hand: what an earlier call left, or the thread's buffer. */
struct input {
	unsigned char *data;
	size_t len_bytes;
	bool is_queue; /* stream->in */
};

static struct input input_begin(const struct tls_stream *stream)
{
	if (stream->in.len_bytes)
		return (struct input){.data = (unsigned char *)stream->in.data + stream->in.offset,
				      .len_bytes = stream->in.len_bytes,
				      .is_queue = true};
	return (struct input){.data = (unsigned char *)tls_thread_in()};
}

static void input_pass(struct input *input, size_t len_bytes)
{
	input->data += len_bytes;
	input->len_bytes -= len_bytes;
}

/* Keeps what is left, no more than that. */
static int input_end(struct tls_stream *stream, const struct input *input)
{
	if (!input->is_queue)
		return input->len_bytes
			   ? tls_queue_append(&stream->in, input->data, input->len_bytes)
			   : 0;
	tls_queue_take(&stream->in, stream->in.len_bytes - input->len_bytes);
	return 0;
}

/*
 * So much that it may end with a record's end, where the peer's are full ones: then nothing is left
 * over. No more than there is room for, since what is left over is copied twice.
 */
static size_t input_wish(const struct tls_stream *stream, size_t room_bytes)
{
	size_t record_bytes = tls_record_size(stream->records->form, TLS_RECORD_MAX);
	size_t n = (room_bytes + TLS_RECORD_MAX - 1) / TLS_RECORD_MAX;

	return record_bytes * MIN(MAX(n, (size_t)1), (size_t)TLS_IN_MAX / record_bytes);
}

/* More from the socket behind the part of a record that is here. */
static ssize_t input_fill(struct tls_stream *stream, struct input *input, size_t room_bytes)
{
	unsigned char *start = (unsigned char *)tls_thread_in();
	size_t wish = input_wish(stream, room_bytes);
	ssize_t n;

	if (input->data != start && input->len_bytes)
		memmove(start, input->data, input->len_bytes);
	if (input->is_queue)
		tls_queue_free(&stream->in);
	*input = (struct input){.data = start, .len_bytes = input->len_bytes};
	if (wish <= input->len_bytes)
		wish = TLS_IN_MAX;
	n = tls_wire_recv(stream, start + input->len_bytes, wish - input->len_bytes);
	if (n > 0)
		input->len_bytes += (size_t)n;
	return n;
}

static const char *refusal_words(int alert)
{
	switch (alert) {
	case TLS_ALERT_BAD_RECORD_MAC:
		return "a record failed its integrity check";
	case TLS_ALERT_RECORD_OVERFLOW:
		return "the peer sent a record that is too long";
	case TLS_ALERT_PROTOCOL_VERSION:
		return "the peer sent a record of another version";
	default:
		return "the peer sent a record of a type that is not allowed here";
	}
}

/* `err` is -errno of a cipher. */
static int records_fail(struct tls_stream *stream, int err, const char *why)
{
	return err == -ENOMEM ? tls_stream_fail(stream, -ENOMEM, "no memory for a cipher")
			      : tls_stream_fail(stream, -EPROTO, why);
}

/* `alert` as tls_record_open() has it. */
static int records_refuse(struct tls_stream *stream, struct io *io, int alert)
{
	if (alert < 0)
		return records_fail(stream, alert, "TLS: a record cannot be opened");
	return tls_stream_refuse(stream, io, (uint8_t)alert, refusal_words(alert));
}

/* What the socket said is the end. */
static int records_end(struct tls_stream *stream, int err)
{
	tls_stream_set_error(stream, "%s", strerror(-err));
	stream->recv_ended = true;
	stream->recv_end = err;
	return err;
}

/* The alert that the header deserves, or 0. A record that is longer than was agreed (RFC 6066, 4)
 * is refused unopened; its padding counts (RFC 8446, 5.4). */
static int records_look(const struct tls_records *records, const unsigned char *header,
			size_t *ret_body_bytes)
{
	size_t max_bytes = tls_record_size(records->form, records->size_max_bytes);
	int alert = tls_record_look(records->form, header, ret_body_bytes);

	if (!alert && TLS_RECORD_HEADER_BYTES + *ret_body_bytes > max_bytes)
		return TLS_ALERT_RECORD_OVERFLOW;
	return alert;
}

/* 0: a whole record stands at the input's start. -EAGAIN, -errno. */
static int records_await(struct tls_stream *stream, struct io *io, struct input *input,
			 size_t room_bytes, size_t *ret_body_bytes)
{
	ssize_t n;

	for (;;) {
		if (input->len_bytes >= TLS_RECORD_HEADER_BYTES) {
			int alert = records_look(stream->records, input->data, ret_body_bytes);

			if (alert)
				return records_refuse(stream, io, alert);
			if (input->len_bytes >= TLS_RECORD_HEADER_BYTES + *ret_body_bytes)
				return 0;
		}
		n = input_fill(stream, input, room_bytes);
		if (n == 0)
			return tls_stream_truncated(stream);
		if (n == -EAGAIN)
			return -EAGAIN;
		if (n < 0)
			return records_end(stream, (int)n);
	}
}

/* Text that was opened in place; what has no room waits in the stream. */
static ssize_t records_deliver(struct tls_stream *stream, const struct tls_record_text *text,
			       unsigned char *data, size_t room_bytes)
{
	size_t n = MIN(text->len_bytes, room_bytes);

	tls_control_note_data(&stream->control);
	if (tls_stream_awaits_tickets(stream))
		tls_late_done(stream);
	if (text->data == data)
		return (ssize_t)n;
	memcpy(data, text->data, n);
	if (n < text->len_bytes &&
	    tls_queue_append(&stream->records->held, text->data + n, text->len_bytes - n))
		return tls_stream_fail(stream, -ENOMEM, "no memory for what came");
	return (ssize_t)n;
}

/* One record. > 0: bytes of data; 0: it had none; -EAGAIN, -errno. */
static ssize_t records_take(struct tls_stream *stream, struct io *io, struct input *input,
			    unsigned char *data, size_t room_bytes)
{
	struct tls_records *records = stream->records;
	struct tls_record_text text;
	size_t body_bytes = 0;
	int err = records_await(stream, io, input, room_bytes, &body_bytes);

	if (err)
		return err;
	err = tls_record_open(records->form, &records->of[tls_stream_peer(stream)], input->data,
			      body_bytes, data, room_bytes, &text);
	input_pass(input, TLS_RECORD_HEADER_BYTES + body_bytes);
	if (err)
		return records_refuse(stream, io, err);
	if (text.type != TLS_TYPE_DATA || !text.len_bytes || tls_control_is_amid(&stream->control))
		return tls_stream_take_control(stream, io, text.type, text.data, text.len_bytes);
	return records_deliver(stream, &text, data, room_bytes);
}

/* What an earlier call had no room for. */
static size_t records_take_held(struct tls_stream *stream, unsigned char *data, size_t len_bytes)
{
	struct tls_queue *held = &stream->records->held;
	size_t n = MIN((size_t)held->len_bytes, len_bytes);

	if (!n)
		return 0;
	memcpy(data, held->data + held->offset, n);
	tls_queue_take(held, n);
	return n;
}

/*
 * New keys, for which a peer sends 27 bytes, cost more here than there: so there is a bound to
 * records without data, in a row (tls_control.c) and in one call.
 */
ssize_t tls_records_recv(struct io *io, void *data, size_t len_bytes)
{
	struct tls_stream *stream = io->impl;
	unsigned int n_empty = 0;
	struct input input;
	size_t done;
	ssize_t n = 0;

	done = records_take_held(stream, data, len_bytes);
	tls_wire_begin(stream, io);
	input = input_begin(stream);
	while (done < len_bytes && !stream->recv_ended && n >= 0 &&
	       n_empty <= TLS_CONTROL_ROW_MAX) {
		n = records_take(stream, io, &input, (unsigned char *)data + done,
				 len_bytes - done);
		n_empty += n == 0;
		done += n > 0 ? (size_t)n : 0;
	}
	if (input_end(stream, &input) && !stream->recv_ended)
		tls_stream_fail(stream, -ENOMEM, "no memory for what came");
	if (n == -EAGAIN)
		io->readable = false;
	else if (n < 0 && !stream->recv_ended)
		records_end(stream, (int)n); /* an answer could not be sent */
	if (stream->recv_ended)
		io->readable = true;
	if (done || !len_bytes)
		return (ssize_t)done;
	return stream->recv_ended ? stream->recv_end : -EAGAIN;
}

/* Between a control record and what it changes nothing else may be sealed. */
int tls_records_send_control(struct tls_stream *stream, struct io *io, uint8_t type,
			     const void *data, size_t len_bytes)
{
	struct tls_records *records = stream->records;
	unsigned char sealed[CONTROL_MAX + TLS_RECORD_EXTRA_MAX];
	struct iovec part = {(void *)data, len_bytes};
	struct tls_source source = {.parts = &part, .n_parts = 1};
	int err = tls_out_flush(stream, io, false);

	BUG_ON(len_bytes > CONTROL_MAX);
	if (err)
		return err;
	err = tls_record_seal(records->form, &records->of[stream->side], type, &source, len_bytes,
			      sealed);
	if (err)
		return records_fail(stream, err, "TLS: a record cannot be made");
	err = tls_out_send(stream, io, (const char *)sealed,
			   tls_record_size(records->form, len_bytes), false);
	return err == -EAGAIN ? 0 : err;
}

/* Makes records of at most a batch; the plain bytes that went in, or -EPROTO, -ENOMEM: then there
 * is none. */
static ssize_t records_seal(struct tls_stream *stream, struct tls_source *source,
			    size_t *ret_sealed_bytes)
{
	struct tls_records *records = stream->records;
	size_t left_bytes = MIN(tls_source_len(source), (size_t)TLS_BATCH_MAX), done = 0;
	unsigned char *to = (unsigned char *)tls_thread_out();

	while (done < left_bytes) {
		size_t n = MIN(left_bytes - done, (size_t)records->size_max_bytes);
		int err = tls_record_seal(records->form, &records->of[stream->side], TLS_TYPE_DATA,
					  source, n, to);

		if (err && done)
			break; /* those that are made are sent; it is told next time */
		if (err)
			return records_fail(stream, err, "TLS: a record cannot be made");
		to += tls_record_size(records->form, n);
		done += n;
	}
	*ret_sealed_bytes = (size_t)(to - (unsigned char *)tls_thread_out());
	return (ssize_t)done;
}

/* The peer's or the cipher's wish for our next keys, before any data. */
static int records_renew(struct tls_stream *stream, struct io *io)
{
	const struct tls_records *records = stream->records;

	if (stream->rekey && records->form.cipher != TLS_CIPHER_CHACHA20_POLY1305 &&
	    records->of[stream->side].next_record >= RECORDS_PER_KEY_MAX)
		stream->owes_key_update = true;
	return stream->owes_key_update ? tls_stream_settle_debt(stream, io) : 0;
}

ssize_t tls_records_send(struct io *io, const struct iovec *parts, int n_parts, bool more)
{
	struct tls_stream *stream = io->impl;
	struct tls_source source = {.parts = parts, .n_parts = n_parts};
	size_t settled, sealed_bytes = 0;
	ssize_t made;
	int err = tls_out_flush(stream, io, more);

	if (err)
		return err;
	settled = tls_out_settle(stream, &source);
	if (stream->owed_bytes || !tls_source_len(&source))
		return (ssize_t)settled;
	err = records_renew(stream, io);
	if (!err)
		err = tls_out_flush(stream, io, more);
	if (err)
		return settled ? (ssize_t)settled : err;
	made = records_seal(stream, &source, &sealed_bytes);
	if (made < 0)
		return made;
	err = tls_out_send(stream, io, tls_thread_out(), sealed_bytes, more);
	if (err && err != -EAGAIN)
		return err;
	if (!err)
		return (ssize_t)settled + made;
	stream->owed_bytes = (uint32_t)made;
	return settled ? (ssize_t)settled : -EAGAIN;
}

int tls_records_shutdown_send(struct io *io)
{
	struct tls_stream *stream = io->impl;
	int err = tls_out_flush(stream, io, false);

	if (!err && !stream->close_notified) {
		err = tls_stream_send_alert(stream, io, TLS_ALERT_WARNING, TLS_ALERT_CLOSE_NOTIFY);
		stream->close_notified = !err;
	}
	if (!err && stream->out.len_bytes)
		err = -EAGAIN;
	if (err)
		return err;
	return shutdown(stream->fd, SHUT_WR) ? -errno : 0;
}

const struct io_ops tls_records_ops = {
    .name = "userspace",
    .recv = tls_records_recv,
    .send = tls_records_send,
    .shutdown_send = tls_records_shutdown_send,
    .may_splice = tls_handover_late,
    .close = tls_stream_close,
};
