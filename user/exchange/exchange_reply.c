/* SPDX-License-Identifier: Apache-2.0 */
/* How requests end: replies of our own, records, and the close that does not eat the last response.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "exchange/exchange_internal.h"
#include "stats/stats.h"

/* What a client may still send after the last response before it is cut off. */
#define EXCHANGE_LINGER_BYTES (16 << 20)
#define EXCHANGE_LINGER_SHARE 16

void exchange_set_detail(struct exchange *exchange, const char *detail)
{
	free(exchange->detail);
	exchange->detail = detail && *detail ? strdup(detail) : NULL;
}

static bool exchange_may_keep(const struct exchange *exchange)
{
	const struct turn *turn = exchange->turn;

	return turn && turn->client_keeps && !exchange->is_draining &&
	       (turn->request.is_done || turn->request.kind == H1_BODY_NONE);
}

enum exchange_state exchange_reply(struct exchange *exchange, uint16_t status,
				   enum close_reason reason, const char *detail)
{
	const struct turn *turn = exchange->turn;
	bool to_head = turn && turn->method == H1_METHOD_HEAD;
	/* What the operator may know of an origin is not for the client. */
	bool is_of_request = status < 500 || reason == CLOSE_REQUEST_MALFORMED;
	const char *text = detail && is_of_request ? detail : close_reason_help(reason);
	struct h1_reply_facts facts = {.close = true};
	char out[H1_PLAIN_REPLY_MAX];
	struct iovec part = {.iov_base = out};
	int err;

	exchange->keeps = exchange_may_keep(exchange);
	exchange->is_unread |= turn && turn->request.kind != H1_BODY_NONE && !turn->request.is_done;
	facts.close = !exchange->keeps;
	facts.keep_alive = turn && turn->client_minor == 0;
	exchange->status = status;
	exchange->reason = reason;
	exchange_set_detail(exchange, detail);
	part.iov_len = h1_write_plain_reply(status, text, &facts, to_head, out);
	err = outbox_send(&exchange->outbox, exchange->client.io, &part, 1, false);
	return err ? exchange_client_failed(exchange, err) : EXCHANGE_REPLY;
}

enum exchange_state exchange_step_reply(struct exchange *exchange)
{
	enum close_reason reason = exchange->reason;
	int err = outbox_flush(&exchange->outbox, exchange->client.io);

	if (err)
		return exchange_client_failed(exchange, err);
	if (exchange->outbox.len_bytes)
		return EXCHANGE_REPLY;
	exchange_finish_request(exchange, reason);
	if (exchange->keeps) {
		stats_count_close(reason);
		return EXCHANGE_HEAD;
	}
	exchange->end_reason = reason;
	return EXCHANGE_SHUT;
}

enum close_reason exchange_tls_reason(const struct io *io)
{
	enum close_reason reason = tls_close_reason(io);

	return reason == CLOSE_DONE ? CLOSE_TLS_BROKEN : reason;
}

enum exchange_state exchange_client_failed(struct exchange *exchange, int err)
{
	switch (err) {
	case -EPROTO:
		return exchange_end(exchange, exchange_tls_reason(exchange->client.io));
	case -ENOMEM:
	case -ENOBUFS:
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	default:
		return exchange_end(exchange,
				    exchange->turn ? CLOSE_CLIENT_ABORT : CLOSE_CLIENT_RESET);
	}
}

/* A body with a length or chunks is seen to be short; one that ends with the connection is not. */
enum exchange_state exchange_cut(struct exchange *exchange, enum close_reason reason)
{
	const struct turn *turn = exchange->turn;

	if (turn->response.kind == H1_BODY_UNTIL_CLOSE || turn->unchunks)
		io_arrange_reset(exchange->client.io);
	return exchange_end(exchange, reason);
}

enum exchange_state exchange_step_shut(struct exchange *exchange)
{
	struct io *io = exchange->client.io;
	int err = io_shutdown_send(io);

	if (err == -EAGAIN)
		return EXCHANGE_SHUT;
	if (err || exchange->client_ended)
		return EXCHANGE_ENDED;
	if (exchange->is_unread || exchange->inbox.len_bytes || io->readable)
		return EXCHANGE_LINGER;
	return EXCHANGE_ENDED;
}

enum exchange_state exchange_step_linger(struct exchange *exchange)
{
	struct io *io = exchange->client.io;

	inbox_done(&exchange->inbox);
	for (int i = 0; io->readable; i++) {
		ssize_t n;

		if (i == EXCHANGE_LINGER_SHARE) {
			loop_schedule(exchange->client.loop, &exchange->task);
			break;
		}
		n = io_recv(io, loop_scratch(exchange->client.loop), LOOP_SCRATCH_BYTES);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return EXCHANGE_ENDED;
		exchange->lingered_bytes += (uint64_t)n;
		if (exchange->lingered_bytes > EXCHANGE_LINGER_BYTES)
			return EXCHANGE_ENDED;
	}
	return EXCHANGE_LINGER;
}

static void exchange_count(const struct exchange *exchange)
{
	stats_inc(STAT_REQUESTS);
	if (exchange->status >= 500)
		stats_inc(STAT_RESPONSES_5XX);
	else if (exchange->status >= 400)
		stats_inc(STAT_RESPONSES_4XX);
	else if (exchange->status >= 300)
		stats_inc(STAT_RESPONSES_3XX);
	else if (exchange->status >= 200)
		stats_inc(STAT_RESPONSES_2XX);
}

static void turn_record_relay(const struct turn *turn, struct exchange_record *record)
{
	const struct body *body = &turn->response;

	record->relay = "copy";
	if (!turn->is_head_sent || body->kind == H1_BODY_NONE) {
		record->relay = "none";
	} else if (body->is_relayed) {
		record->relay = relay_engine_word(body->relay.engine);
		record->relay_reason = body->relay.engine_reason;
	} else if (body->kind == H1_BODY_CHUNKED) {
		record->relay_reason = "chunked: the framing must be seen";
	} else {
		record->relay_reason = "the body came together with its head";
	}
}

static void turn_record(const struct turn *turn, struct exchange_record *record)
{
	record->method = turn->head_facts.method;
	record->host = turn->head_facts.host;
	record->path = turn->head_facts.path;
	record->route = turn->route;
	turn_record_relay(turn, record);
	if (turn->request.is_relayed)
		record->request_bytes += turn->request.relay.received_bytes;
	if (!turn->conn)
		return;
	record->server = turn->conn->server_text;
	record->origin_tls = turn->conn->io.ops->name;
	record->origin_why_not_kernel = turn->conn->io.why_not_kernel;
}

void exchange_finish_request(struct exchange *exchange, enum close_reason reason)
{
	struct exchange_record record = {
	    .method = STR(""),
	    .host = STR(""),
	    .path = STR(""),
	    .relay = "none",
	    .status = exchange->status,
	    .reason = reason,
	    .detail = exchange->detail,
	    .request_bytes = exchange->request_bytes,
	    .response_bytes = exchange->client.io->sent_bytes - exchange->sent_mark,
	    .first_byte_us = exchange->first_byte_us,
	};

	if (!exchange->is_request)
		return;
	exchange->is_request = false;
	exchange->n_requests++;
	record.duration_us = clock_now_us() - exchange->started_us;
	if (exchange->turn)
		turn_record(exchange->turn, &record);
	/* Who finds it counted finds it in the log, too. */
	exchange->client.ops->on_request(exchange->client.owner, &record);
	exchange_count(exchange);
	turn_free(exchange->turn);
	exchange->turn = NULL;
}
