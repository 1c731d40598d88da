/* SPDX-License-Identifier: Apache-2.0 */
/*
 * After the handshake a direction is a key, an IV, a number and a cipher. The kernel gets them
 * where it takes them, else tls_records_io.c does; each direction for itself. In both cases the SSL
 * object goes, but for a client that waits for tickets (tls_late.c). Where the cipher is none that
 * they have, everything stays with OpenSSL.
 *
 * Where the kernel is to wait for bulk, user space begins. Records that the kernel does are worth
 * their price where a pipe carries them (docs/ktls.md); so whoever wants one asks for the hand-over
 * (io_may_splice()), and it is done where both directions stand between two records.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>

#include "stats/stats.h"
#include "tls/tls_internal.h"

#define BOTH (TLS_KERNEL_SEND | TLS_KERNEL_RECEIVE)

/* Plain bytes of the records that either side may make (RFC 6066, 4). */
static size_t handover_size_max(SSL *ssl)
{
	const SSL_SESSION *session = SSL_get_session(ssl);
	uint8_t code = session ? SSL_SESSION_get_max_fragment_length(session)
			       : TLSEXT_max_fragment_length_DISABLED;

	return code == TLSEXT_max_fragment_length_DISABLED ? TLS_RECORD_MAX : (size_t)256 << code;
}

/* All that user space may need, before a key goes anywhere. 0 or -ENOMEM. */
static int handover_prepare(struct tls_stream *stream, const struct tls_keys *keys)
{
	struct tls_rekey *rekey;

	stream->records = tls_records_new(keys, handover_size_max(stream->ssl));
	if (!stream->records)
		return -ENOMEM;
	if (keys->version != TLS_1_3_VERSION)
		return 0;
	rekey = stream->rekey = OPENSSL_zalloc(sizeof(*rekey));
	if (!rekey) {
		tls_records_free(stream->records);
		stream->records = NULL;
		return -ENOMEM;
	}
	rekey->md = keys->md;
	rekey->form = stream->records->form;
	rekey->len_bytes = stream->shake->secrets->of[0].len_bytes;
	for (int side = 0; side < TLS_SIDE_MAX; side++)
		memcpy(rekey->secret[side], stream->shake->secrets->of[side].secret,
		       rekey->len_bytes);
	return 0;
}

static const char *handover_give(struct tls_stream *stream, const struct tls_keys *keys)
{
	const char *why = tls_kernel_offer(stream, keys);

	if (!why && !(~stream->wanted & BOTH))
		return NULL;
	return why ? why : "one direction is turned off in the configuration";
}

/* NULL: the kernel has all of it. */
static const char *handover_try_kernel(struct tls_stream *stream, const struct tls_keys *keys)
{
	if (!stream->wanted)
		return "turned off in the configuration";
	if (tls_kernel_missing())
		return tls_kernel_missing();
	if (stream->records->size_max_bytes != TLS_RECORD_MAX)
		return "the peer asked for small records (max_fragment_length), which the kernel "
		       "does not make";
	if (!tls_kernel_can(keys->version, keys->cipher))
		return "this kernel does not have this version and cipher";
	if (stream->wanted & TLS_KERNEL_WAITS) {
		stream->waits_for_bulk = true;
		return "there was no bulk: for little the kernel does not pay";
	}
	if (stream->in.len_bytes || stream->out.len_bytes)
		return "data came with the handshake and is in user space already";
	return handover_give(stream, keys);
}

static void handover_forget_rest(struct tls_stream *stream)
{
	tls_records_free(stream->records);
	stream->records = NULL;
	if (tls_kernel_can_rekey())
		return;
	OPENSSL_clear_free(stream->rekey, sizeof(*stream->rekey));
	stream->rekey = NULL;
}

static const struct io_ops *handover_ops(const struct tls_stream *stream)
{
	static const struct io_ops *const ops[] = {
	    [0] = &tls_records_ops,
	    [TLS_KERNEL_SEND] = &tls_kernel_send_ops,
	    [TLS_KERNEL_RECEIVE] = &tls_kernel_receive_ops,
	    [BOTH] = &tls_kernel_ops,
	};

	return ops[stream->in_kernel];
}

static const char *handover_keys(struct tls_stream *stream, struct io *io,
				 const struct tls_keys *keys)
{
	const char *why;

	if (handover_prepare(stream, keys))
		return "no memory";
	why = handover_try_kernel(stream, keys);
	if (stream->in_kernel == BOTH)
		handover_forget_rest(stream);
	stream->control.is_13 = keys->version == TLS_1_3_VERSION;
	stream->control.is_client = stream->side == TLS_SIDE_CLIENT;
	tls_late_keep(stream, keys);
	if (!stream->shake->late)
		tls_stream_drop_ssl(stream);
	io->ops = handover_ops(stream);
	return why;
}

static const char *handover_why_openssl(int err)
{
	switch (err) {
	case -EBUSY:
		return "data came with the handshake and is in OpenSSL already";
	case -ENOMEM:
		return "no memory";
	default:
		return "this version and cipher are OpenSSL's alone";
	}
}

static void handover_count(const struct io *io)
{
	stats_inc(io->ops == &tls_kernel_ops ? STAT_KTLS_HANDOVERS : STAT_KTLS_REFUSED);
}

void tls_handover(struct tls_stream *stream, struct io *io)
{
	struct tls_keys keys;
	int err = SSL_has_pending(stream->ssl)
		      ? -EBUSY
		      : tls_keys_derive(stream->ssl, stream->shake->secrets, &keys);

	stream->shake->exact_reads = false;
	if (err) {
		io->why_not_kernel = handover_why_openssl(err);
	} else {
		io->why_not_kernel = handover_keys(stream, io, &keys);
		OPENSSL_cleanse(&keys, sizeof(keys));
	}
	if (!stream->waits_for_bulk)
		handover_count(io);
	tls_stream_drop_secrets(stream);
}

static uint8_t handover_direction(const struct tls_stream *stream, enum tls_side side)
{
	return side == stream->side ? TLS_KERNEL_SEND : TLS_KERNEL_RECEIVE;
}

bool tls_stream_can_rekey(const struct tls_stream *stream, enum tls_side side)
{
	return stream->rekey &&
	       (!(stream->in_kernel & handover_direction(stream, side)) || tls_kernel_can_rekey());
}

/* Neither a part of a record nor plain bytes are here, in either direction, and nothing is due. */
static bool handover_is_clean(const struct tls_stream *stream)
{
	return !stream->in.len_bytes && !stream->out.len_bytes && !stream->owed_bytes &&
	       !stream->records->held.len_bytes && !stream->owes_key_update &&
	       !stream->recv_ended && !stream->send_error && !stream->close_notified;
}

bool tls_handover_late(struct io *io, bool now)
{
	struct tls_stream *stream = io->impl;
	struct tls_keys keys;

	if (!stream->waits_for_bulk || !now || !handover_is_clean(stream))
		return stream->waits_for_bulk;
	stream->waits_for_bulk = false;
	keys = (struct tls_keys){.version = stream->records->form.version,
				 .cipher = stream->records->form.cipher};
	memcpy(keys.of, stream->records->of, sizeof(keys.of));
	io->why_not_kernel = handover_give(stream, &keys);
	OPENSSL_cleanse(&keys, sizeof(keys));
	if (stream->in_kernel == BOTH)
		handover_forget_rest(stream);
	io->ops = handover_ops(stream);
	io->readable = true; /* what the kernel finds in its queue makes no event */
	handover_count(io);
	return false;
}

int tls_stream_rekey(struct tls_stream *stream, enum tls_side side)
{
	uint8_t direction = handover_direction(stream, side);
	struct tls_rekey *rekey = stream->rekey;
	struct tls_keys keys = {.version = TLS_1_3_VERSION};
	int err;

	if (!tls_stream_can_rekey(stream, side))
		return -EBUSY;
	keys.cipher = rekey->form.cipher;
	err = tls_keys_next_secret(rekey->md, rekey->secret[side], rekey->len_bytes,
				   rekey->secret[side]);
	if (!err)
		err = tls_keys_expand_13(rekey->md, rekey->secret[side], rekey->len_bytes,
					 tls_keys_len(keys.cipher), &keys.of[side]);
	if (!err && (stream->in_kernel & direction)) {
		err = tls_kernel_install(stream->fd, side == stream->side ? TLS_TX : TLS_RX, &keys,
					 &keys.of[side]);
	} else if (!err) {
		tls_record_forget(rekey->form, &stream->records->of[side]);
		stream->records->of[side] = keys.of[side];
	}
	OPENSSL_cleanse(&keys, sizeof(keys));
	return err;
}
