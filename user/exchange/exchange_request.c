/* SPDX-License-Identifier: Apache-2.0 */
/* The request on its way to the origin: head, then the body as it was framed. */
#include <errno.h>
#include <stdlib.h>

#include "exchange/exchange_internal.h"
#include "stats/stats.h"

/* Scratches that one call may move before others have their turn. */
#define REQUEST_SHARE 16

/* From here on a pipe pays (facts are in ARCHITECTURE.md); below, or where the length is unknown,
 * the relay finds out. */
#define BODY_PIPE_BYTES 65536

/* The engine that suits a body of `len_bytes` (RELAY_NO_LIMIT: unknown). */
static enum relay_engine body_engine(const struct turn *turn, uint64_t len_bytes)
{
	switch (turn->route->relay) {
	case CONF_RELAY_COPY:
		return RELAY_ENGINE_COPY;
	case CONF_RELAY_PIPE:
		return RELAY_ENGINE_PIPE;
	default:
		break;
	}
	if (len_bytes != RELAY_NO_LIMIT && len_bytes >= BODY_PIPE_BYTES)
		return RELAY_ENGINE_PIPE;
	return RELAY_ENGINE_AUTO;
}

enum relay_progress body_relay(struct exchange *exchange, struct body *body, struct io *from,
			       struct io *to, uint64_t limit_bytes)
{
	enum relay_progress progress;

	if (!body->is_relayed) {
		relay_dir_init(&body->relay, from, to, limit_bytes,
			       body_engine(exchange->turn, limit_bytes));
		body->is_relayed = true;
	}
	progress = relay_dir_pump(&body->relay, exchange->client.loop);
	if (progress == RELAY_YIELD)
		loop_schedule(exchange->client.loop, &exchange->task);
	if (progress == RELAY_LIMIT)
		body->is_done = true;
	return progress;
}

void turn_drop_origin(struct turn *turn)
{
	struct origin_conn *conn = turn->conn;

	turn->conn = NULL;
	if (!conn)
		return;
	stats_add(STAT_ORIGIN_RECEIVED_BYTES,
		  (int64_t)(conn->io.received_bytes - turn->origin_received_mark));
	stats_add(STAT_ORIGIN_SENT_BYTES, (int64_t)(conn->io.sent_bytes - turn->origin_sent_mark));
	if (turn->is_clean)
		origin_release(conn);
	else
		origin_discard(conn);
}

void turn_free(struct turn *turn)
{
	if (!turn)
		return;
	origin_cancel(&turn->wish);
	if (turn->request.is_relayed)
		relay_dir_done(&turn->request.relay);
	if (turn->response.is_relayed)
		relay_dir_done(&turn->response.relay);
	turn_drop_origin(turn);
	outbox_done(&turn->to_origin);
	inbox_done(&turn->from_origin);
	free(turn);
}

bool turn_has_no_body_yet(const struct exchange *exchange, const struct turn *turn)
{
	const struct body *body = &turn->request;

	return exchange->request_bytes == turn->received_head_bytes &&
	       (!body->is_relayed || body->relay.received_bytes == 0);
}

bool turn_waits_for_client(const struct exchange *exchange, const struct turn *turn)
{
	const struct body *request = &turn->request;
	const struct body *response = &turn->response;

	if (exchange->outbox.len_bytes ||
	    (response->is_relayed && relay_dir_held(&response->relay)))
		return true;
	if (request->is_done || turn->is_stopped ||
	    (turn->awaits_continue && turn_has_no_body_yet(exchange, turn)))
		return false;
	return turn->head_sent_bytes == turn->head_facts.len_bytes && !turn->to_origin.len_bytes &&
	       !exchange->inbox.len_bytes &&
	       !(request->is_relayed && relay_dir_held(&request->relay));
}

static struct iovec part_of(struct str text)
{
	return (struct iovec){(char *)text.ptr, text.len};
}

int body_send_chunked(struct body *body, struct outbox *outbox, struct io *to,
		      const struct str *head, bool bare, char *data, size_t len_bytes,
		      size_t *ret_taken_bytes, enum h1_fault *ret_fault)
{
	char line[H1_CHUNK_LINE_MAX];
	struct iovec parts[5];
	struct str payload;
	enum h1_progress progress;
	int n = 0;

	*ret_fault = H1_FAULT_NONE;
	progress = h1_chunked_decode(&body->chunked, data, len_bytes, &payload, ret_taken_bytes,
				     ret_fault);
	if (progress == H1_REFUSED)
		return -EPROTO;
	if (head)
		parts[n++] = part_of(*head);
	if (payload.len && !bare)
		parts[n++] = part_of((struct str){line, h1_write_chunk_line(payload.len, line)});
	if (payload.len)
		parts[n++] = part_of(payload);
	if (payload.len && !bare)
		parts[n++] = part_of(STR("\r\n"));
	body->is_done = progress == H1_DONE;
	if (body->is_done && !bare)
		parts[n++] = part_of(STR(H1_LAST_CHUNK));
	return outbox_send(outbox, to, parts, n, false);
}

/* `err` is what sending said. The origin takes no more, maybe because its response is there
 * already: that is read now. Without memory it would wait for what we cannot send. */
static enum exchange_state request_stop(struct exchange *exchange, int err)
{
	struct turn *turn = exchange->turn;

	if (err == -ENOMEM)
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	turn->is_stopped = true;
	turn->conn->io.readable = true;
	return EXCHANGE_RELAY;
}

static void request_take(struct exchange *exchange, size_t len_bytes)
{
	exchange->turn->request.left_bytes -= len_bytes;
	exchange->request_bytes += len_bytes;
	inbox_take(&exchange->inbox, len_bytes);
}

/* Sends the head, and what is there of a body with a length, in one go. 0, -EAGAIN, -errno. */
static int request_send_inbox(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->request;
	struct io *to = &turn->conn->io;

	for (;;) {
		size_t head_bytes = turn->head_facts.len_bytes - turn->head_sent_bytes;
		size_t body_bytes = MIN(body->left_bytes, (uint64_t)exchange->inbox.len_bytes);
		struct iovec parts[2];
		int n_parts = 0;
		ssize_t n;

		if (head_bytes)
			parts[n_parts++] =
			    (struct iovec){turn->head + turn->head_sent_bytes, head_bytes};
		if (body_bytes)
			parts[n_parts++] =
			    (struct iovec){inbox_bytes(&exchange->inbox), body_bytes};
		if (n_parts == 0)
			return 0;
		if (!to->writable)
			return -EAGAIN;
		n = io_send(to, parts, n_parts, false);
		if (n < 0)
			return (int)n;
		head_bytes = MIN(head_bytes, (size_t)n);
		turn->head_sent_bytes += head_bytes;
		if ((size_t)n > head_bytes)
			request_take(exchange, (size_t)n - head_bytes);
	}
}

static enum exchange_state request_relay(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->request;

	switch (
	    body_relay(exchange, body, exchange->client.io, &turn->conn->io, body->left_bytes)) {
	case RELAY_ENDED:
		exchange->client_ended = true;
		return exchange_end(exchange, CLOSE_CLIENT_ABORT);
	case RELAY_FROM_FAILED:
		return exchange_client_failed(exchange, body->relay.error);
	case RELAY_TO_FAILED:
		return request_stop(exchange, body->relay.error);
	default:
		return EXCHANGE_RELAY;
	}
}

static enum exchange_state request_refuse_chunk(struct exchange *exchange, enum h1_fault fault)
{
	exchange->is_unread = true;
	if (exchange->turn->is_head_sent || exchange->outbox.len_bytes)
		return exchange_cut(exchange, CLOSE_REQUEST_MALFORMED);
	return exchange_reply(exchange, h1_fault_status(fault), CLOSE_REQUEST_MALFORMED,
			      h1_fault_text(fault));
}

/* `data` is the inbox's, or fresh from the client: then what follows the body goes to the inbox. */
static enum exchange_state request_send_chunks(struct exchange *exchange, char *data,
					       size_t len_bytes, bool is_fresh)
{
	struct turn *turn = exchange->turn;
	enum h1_fault fault;
	size_t taken_bytes;
	int err = body_send_chunked(&turn->request, &turn->to_origin, &turn->conn->io, NULL, false,
				    data, len_bytes, &taken_bytes, &fault);

	if (fault)
		return request_refuse_chunk(exchange, fault);
	exchange->request_bytes += taken_bytes;
	if (!is_fresh)
		inbox_take(&exchange->inbox, taken_bytes);
	else if (inbox_put(&exchange->inbox, data + taken_bytes, len_bytes - taken_bytes))
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	return err ? request_stop(exchange, err) : EXCHANGE_RELAY;
}

static enum exchange_state request_pump_chunks(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct io *from = exchange->client.io;
	enum exchange_state next = EXCHANGE_RELAY;

	for (int i = 0; next == EXCHANGE_RELAY && !turn->request.is_done && !turn->is_stopped;
	     i++) {
		char *scratch = loop_scratch(exchange->client.loop);
		ssize_t n;

		if (turn->to_origin.len_bytes)
			return EXCHANGE_RELAY;
		if (exchange->inbox.len_bytes) {
			next = request_send_chunks(exchange, inbox_bytes(&exchange->inbox),
						   exchange->inbox.len_bytes, false);
			continue;
		}
		if (!from->readable)
			return EXCHANGE_RELAY;
		if (i >= REQUEST_SHARE) {
			loop_schedule(exchange->client.loop, &exchange->task);
			return EXCHANGE_RELAY;
		}
		n = io_recv(from, scratch, LOOP_SCRATCH_BYTES);
		if (n == -EAGAIN)
			return EXCHANGE_RELAY;
		if (n == 0) {
			exchange->client_ended = true;
			return exchange_end(exchange, CLOSE_CLIENT_ABORT);
		}
		if (n < 0)
			return exchange_client_failed(exchange, (int)n);
		next = request_send_chunks(exchange, scratch, (size_t)n, true);
	}
	return next;
}

static enum exchange_state request_pump_body(struct exchange *exchange)
{
	struct body *body = &exchange->turn->request;

	switch (body->kind) {
	case H1_BODY_CHUNKED:
		return request_pump_chunks(exchange);
	case H1_BODY_LENGTH:
		if (body->left_bytes)
			return request_relay(exchange);
		break;
	default:
		break;
	}
	body->is_done = true;
	return EXCHANGE_RELAY;
}

enum exchange_state exchange_pump_request(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	int err;

	if (turn->is_stopped)
		return EXCHANGE_RELAY;
	if (turn->to_origin.len_bytes) {
		err = outbox_flush(&turn->to_origin, &turn->conn->io);
		if (err)
			return request_stop(exchange, err);
	}
	if (turn->request.is_done)
		return EXCHANGE_RELAY;
	err = request_send_inbox(exchange);
	if (err == -EAGAIN)
		return EXCHANGE_RELAY;
	if (err)
		return request_stop(exchange, err);
	return request_pump_body(exchange);
}
