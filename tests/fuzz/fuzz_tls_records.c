/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ends of a connection whose records are made and opened in user space, over a pair of sockets
 * with little room. First byte: version, cipher, the largest record; then what the ends do, one
 * after another: send in parts, receive with more or less room, change keys, pad, say nothing in a
 * record, end. Every byte arrives, once and in its order; an end that was announced is told, after
 * all before it. Last comes whatever the input has left, as if the wire said it: no byte of that is
 * taken for data.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls/tls_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes);

#define CHUNK_MAX 40000
/* Fewer than end the connection. */
#define QUIET_MAX (TLS_CONTROL_ROW_MAX / 4)

struct end {
	struct io io;
	struct tls_stream *stream;
	uint8_t sent; /* what the next byte is */
	uint8_t received;
	size_t pending_bytes; /* that the last send did not take: they are given again */
	uint64_t n_sent, n_received;
	unsigned int n_quiet; /* records without data since the last with some */
	bool has_ended; /* it says no more */
	bool owes_end; /* of which the socket did not take all */
	bool saw_end;
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void end_open(struct end *end, int fd, enum tls_side side, const struct tls_keys *keys,
		     size_t size_max_bytes)
{
	struct tls_stream *stream = calloc(1, sizeof(*stream));
	int little = 4096;

	check(stream);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little));
	check(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	stream->fd = fd;
	stream->side = side;
	stream->state = TLS_STATE_READY;
	stream->control.is_13 = keys->version == TLS_1_3_VERSION;
	stream->control.is_client = side == TLS_SIDE_CLIENT;
	stream->records = tls_records_new(keys, size_max_bytes);
	check(stream->records);
	if (stream->control.is_13) {
		stream->rekey = OPENSSL_zalloc(sizeof(*stream->rekey));
		check(stream->rekey);
		stream->rekey->md = keys->md;
		stream->rekey->form = stream->records->form;
		stream->rekey->len_bytes = 32;
	}
	io_init_plain(&end->io, fd);
	end->io.ops = &tls_records_ops;
	end->io.impl = stream;
	end->stream = stream;
}

static void end_take_events(struct end *end)
{
	end->io.readable = true;
	end->io.writable = true;
}

/* Bytes that count up; those that were not taken come again, with more behind them. */
static void end_send(struct end *end, size_t len_bytes, size_t n_parts)
{
	static uint8_t data[CHUNK_MAX + TLS_BATCH_MAX];
	struct iovec parts[3];
	size_t at = 0;
	ssize_t n;

	if (end->has_ended)
		return;
	len_bytes = MAX(MIN(len_bytes, (size_t)CHUNK_MAX), end->pending_bytes);
	if (!len_bytes)
		return;
	for (size_t i = 0; i < len_bytes; i++)
		data[i] = (uint8_t)(end->sent + i);
	for (size_t i = 0; i < n_parts; i++) {
		size_t part = i + 1 == n_parts ? len_bytes - at : len_bytes / (n_parts + i);

		parts[i] = (struct iovec){data + at, part};
		at += part;
	}
	n = io_send(&end->io, parts, (int)n_parts, false);
	end->pending_bytes = n == -EAGAIN ? len_bytes : 0;
	check(n == -EAGAIN || n > 0);
	if (n <= 0)
		return;
	check((size_t)n <= len_bytes);
	end->pending_bytes = (size_t)n < len_bytes ? len_bytes - (size_t)n : 0;
	end->sent = (uint8_t)(end->sent + n);
	end->n_sent += (uint64_t)n;
	end->n_quiet = 0;
}

/* In TLS 1.3 the type may have zeros behind it: one byte of data, then. */
static void end_send_padded(struct end *end)
{
	const uint8_t inner[] = {end->sent, TLS_TYPE_DATA, 0, 0, 0};

	if (end->has_ended || end->pending_bytes || !end->stream->control.is_13 ||
	    tls_records_send_control(end->stream, &end->io, 0, inner, sizeof(inner)))
		return;
	end->sent++;
	end->n_sent++;
	end->n_quiet = 0;
}

static void end_send_quiet(struct end *end, uint8_t type, const void *data, size_t len_bytes)
{
	if (end->has_ended || end->pending_bytes || end->n_quiet >= QUIET_MAX)
		return;
	end->n_quiet += !tls_records_send_control(end->stream, &end->io, type, data, len_bytes);
}

static void end_update_keys(struct end *end, bool asks)
{
	const uint8_t update[] = {SSL3_MT_KEY_UPDATE, 0, 0, 1, asks};

	if (end->has_ended || end->pending_bytes || end->n_quiet >= QUIET_MAX ||
	    !end->stream->control.is_13)
		return;
	if (tls_records_send_control(end->stream, &end->io, TLS_TYPE_HANDSHAKE, update,
				     sizeof(update)))
		return;
	end->n_quiet++;
	check(tls_stream_rekey(end->stream, end->stream->side) == 0);
}

static void end_shut(struct end *end)
{
	int err;

	if (end->pending_bytes || (end->has_ended && !end->owes_end))
		return;
	err = io_shutdown_send(&end->io);
	check(err == 0 || err == -EAGAIN);
	end->has_ended = true;
	end->owes_end = err != 0;
}

/* -EAGAIN, or 0 at the end. */
static ssize_t end_receive(struct end *end, const struct end *other, size_t room_bytes)
{
	uint8_t *data = malloc(room_bytes ? room_bytes : 1);
	ssize_t n;

	check(data);
	end->io.readable = true;
	n = io_recv(&end->io, data, room_bytes);
	check(n >= 0 || n == -EAGAIN);
	check(n <= (ssize_t)room_bytes);
	for (ssize_t i = 0; i < n; i++)
		check(data[i] == end->received++);
	if (n > 0)
		end->n_received += (uint64_t)n;
	if (n == 0 && room_bytes) {
		check(other->has_ended && other->n_sent == end->n_received);
		end->saw_end = true;
	}
	free(data);
	return n;
}

static void act(struct end *end, struct end *other, uint8_t what, uint8_t how)
{
	static const uint8_t ticket[] = {4, 0, 0, 3, 1, 2, 3};

	end_take_events(end);
	switch (what % 9) {
	case 0:
		end_send(end, how, 1);
		break;
	case 1:
		end_send(end, (size_t)how * 157, 1 + how % 3u);
		break;
	case 2:
		end_receive(end, other, how);
		break;
	case 3:
		end_receive(end, other, (size_t)how * 300);
		break;
	case 4:
		end_update_keys(end, how & 1);
		break;
	case 5:
		end_send_padded(end);
		break;
	case 6:
		end_send_quiet(end, TLS_TYPE_DATA, "", 0);
		break;
	case 7:
		if (end->stream->control.is_13 && !end->stream->control.is_client)
			end_send_quiet(end, TLS_TYPE_HANDSHAKE, ticket, sizeof(ticket));
		break;
	default:
		if (how > 200)
			end_shut(end);
		break;
	}
}

/* All that is under way arrives. */
static void settle(struct end *end, struct end *other)
{
	for (int i = 0; end->pending_bytes || end->owes_end || end->stream->out.len_bytes ||
			end->n_sent != other->n_received;
	     i++) {
		check(i < 10000);
		end_take_events(end);
		end_take_events(other);
		if (end->pending_bytes)
			end_send(end, 0, 1);
		else if (end->owes_end)
			end_shut(end);
		else if (tls_out_flush(end->stream, &end->io, false) == -EAGAIN)
			end->io.writable = false;
		end_receive(other, end, 5000);
	}
}

/* From the wire, and not by who has the keys. */
static void babble(struct end *end, const struct end *other, const uint8_t *data, size_t len_bytes)
{
	ssize_t n = len_bytes ? send(other->io.watch.fd, data, len_bytes, MSG_NOSIGNAL) : 0;
	uint8_t room[512];

	if (n <= 0 || end->saw_end)
		return;
	do {
		end->io.readable = true;
		n = io_recv(&end->io, room, sizeof(room));
	} while (n == 0 && !end->stream->recv_ended);
	check(n == -EAGAIN || n == -EPROTO);
	check((n == -EPROTO) == (end->stream->recv_end == -EPROTO));
}

static size_t choose(uint8_t first, struct tls_keys *ret_keys)
{
	static const uint16_t ciphers[] = {TLS_CIPHER_AES_GCM_128, TLS_CIPHER_AES_GCM_256,
					   TLS_CIPHER_CHACHA20_POLY1305};

	*ret_keys = (struct tls_keys){
	    .md = EVP_sha256(),
	    .version = first & 1 ? TLS_1_3_VERSION : TLS_1_2_VERSION,
	    .cipher = ciphers[(first >> 1) % 3],
	};
	for (int side = 0; side < TLS_SIDE_MAX; side++) {
		memset(ret_keys->of[side].key, 'k' + side, sizeof(ret_keys->of[side].key));
		memset(ret_keys->of[side].iv, 'i' + side, sizeof(ret_keys->of[side].iv));
		ret_keys->of[side].next_record = first & 0x80 ? UINT32_MAX - 2 : 1;
	}
	return first & 0x40 ? 512 : TLS_RECORD_MAX;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len_bytes)
{
	struct end ends[2] = {0};
	struct tls_keys keys;
	size_t size_max_bytes, at;
	int fds[2];

	if (len_bytes < 2)
		return 0;
	check(tls_record_init() == 0 && tls_keys_init() == 0);
	check(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
	size_max_bytes = choose(data[0], &keys);
	end_open(&ends[0], fds[0], TLS_SIDE_CLIENT, &keys, size_max_bytes);
	end_open(&ends[1], fds[1], TLS_SIDE_SERVER, &keys, size_max_bytes);
	for (at = 1; at + 1 < len_bytes && data[at] != 0xff; at += 2)
		act(&ends[data[at] >> 7], &ends[!(data[at] >> 7)], data[at] & 0x7f, data[at + 1]);
	settle(&ends[0], &ends[1]);
	settle(&ends[1], &ends[0]);
	at = MIN(at + 1, len_bytes);
	if (!ends[1].has_ended)
		babble(&ends[0], &ends[1], data + at, len_bytes - at);
	for (int i = 0; i < 2; i++)
		io_close(&ends[i].io);
	return 0;
}
