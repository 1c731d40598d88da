/* SPDX-License-Identifier: Apache-2.0 */
/* The response on its way to the client: interim heads, the head, then the body as it was framed.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "exchange/exchange_internal.h"

#define RESPONSE_SHARE 16 /* scratches that one call may move before others have their turn */
#define RESPONSE_MAX_INTERIM 32
#define RESPONSE_SMALL_HEAD 4096

/*
 * RFC 9110 section 9.2.2 and RFC 9112 section 9.3.1: the kept connection was closed under our
 * request. Sent once more it means the same where nothing of it went out, or where its method is
 * idempotent; and where its body is still here.
 */
static bool exchange_may_retry(const struct exchange *exchange)
{
	const struct turn *turn = exchange->turn;

	if (!turn->conn->reused || turn->is_begun || turn->wish.fresh)
		return false;
	return turn->conn->io.sent_bytes == turn->origin_sent_mark ||
	       (h1_method_is_idempotent(turn->method) && turn_has_no_body_yet(exchange, turn));
}

static enum exchange_state exchange_retry(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;

	if (turn->request.is_relayed)
		relay_dir_done(&turn->request.relay);
	turn_drop_origin(turn);
	turn->wish.fresh = true;
	turn->head_sent_bytes = 0;
	turn->is_stopped = false;
	turn->request.is_done = false;
	turn->request.is_relayed = false;
	return exchange_acquire(exchange);
}

/* `n` is what receiving said: 0 or -errno. */
static enum exchange_state exchange_origin_failed(struct exchange *exchange, ssize_t n)
{
	struct turn *turn = exchange->turn;
	enum close_reason reason = CLOSE_ORIGIN_RESET;

	if (exchange_may_retry(exchange))
		return exchange_retry(exchange);
	if (n == 0)
		reason = CLOSE_ORIGIN_TRUNCATED;
	else if (n == -EPROTO)
		reason = exchange_tls_reason(&turn->conn->io);
	else if (n == -ENOMEM || n == -ENOBUFS)
		reason = CLOSE_OUT_OF_MEMORY;
	if (turn->is_head_sent || exchange->outbox.len_bytes)
		return exchange_cut(exchange, reason);
	return exchange_reply(exchange, 502, reason,
			      n == -EPROTO ? tls_error(&turn->conn->io) : NULL);
}

static enum exchange_state exchange_origin_malformed(struct exchange *exchange, const char *detail)
{
	exchange_set_detail(exchange, detail);
	if (exchange->turn->is_head_sent || exchange->outbox.len_bytes)
		return exchange_cut(exchange, CLOSE_ORIGIN_MALFORMED);
	return exchange_reply(exchange, 502, CLOSE_ORIGIN_MALFORMED, detail);
}

/* Writes the head, in `small` where it fits. `ret_allocated` is to be freed. false: no memory. */
static bool response_write_head(const struct h1_response *response,
				const struct h1_reply_facts *facts, char small[RESPONSE_SMALL_HEAD],
				struct str *ret_head, char **ret_allocated)
{
	char *out = small;

	*ret_allocated = NULL;
	if (h1_response_bound(response) > RESPONSE_SMALL_HEAD)
		out = *ret_allocated = malloc(h1_response_bound(response));
	if (!out)
		return false;
	*ret_head = (struct str){out, h1_write_response(response, facts, out)};
	return true;
}

/* 100 and 103, among others; RFC 9110 section 15.2: never for HTTP/1.0. */
static enum exchange_state response_send_interim(struct exchange *exchange,
						 const struct h1_response *response)
{
	struct turn *turn = exchange->turn;
	struct h1_reply_facts facts = {.close = false};
	char small[RESPONSE_SMALL_HEAD], *allocated;
	struct iovec part;
	struct str head;
	int err;

	if (response->status == 101)
		return exchange_origin_malformed(exchange, "101, and nobody asked to upgrade");
	if (++turn->n_interim > RESPONSE_MAX_INTERIM)
		return exchange_origin_malformed(exchange, "too many interim responses");
	turn->awaits_continue = false;
	/* A client that does not read them can do without. */
	if (turn->client_minor == 0 || exchange->outbox.len_bytes)
		return EXCHANGE_RELAY;
	if (!response_write_head(response, &facts, small, &head, &allocated))
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	part = (struct iovec){(char *)head.ptr, head.len};
	err = outbox_send(&exchange->outbox, exchange->client.io, &part, 1, false);
	free(allocated);
	return err ? exchange_client_failed(exchange, err) : EXCHANGE_RELAY;
}

/* Sends the head together with what is there of the body. 0, -errno of the client, or -EPROTO and
 * `ret_fault`. */
static int response_send_start(struct exchange *exchange, const struct str *head, char *data,
			       size_t len_bytes, enum h1_fault *ret_fault)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->response;
	size_t taken_bytes = len_bytes;
	struct iovec parts[2] = {{(char *)head->ptr, head->len}, {data, 0}};
	int err;

	*ret_fault = H1_FAULT_NONE;
	if (body->kind == H1_BODY_CHUNKED) {
		err = body_send_chunked(body, &exchange->outbox, exchange->client.io, head,
					turn->unchunks, data, len_bytes, &taken_bytes, ret_fault);
		turn->is_surplus = !*ret_fault && taken_bytes < len_bytes;
		return err;
	}
	if (body->kind != H1_BODY_UNTIL_CLOSE)
		taken_bytes = MIN(body->left_bytes, (uint64_t)len_bytes);
	parts[1].iov_len = taken_bytes;
	body->left_bytes -= body->kind == H1_BODY_LENGTH ? taken_bytes : 0;
	body->is_done = body->kind != H1_BODY_UNTIL_CLOSE && body->left_bytes == 0;
	turn->is_surplus = taken_bytes < len_bytes;
	return outbox_send(&exchange->outbox, exchange->client.io, parts, 2, false);
}

/* RFC 9110 section 6.4.1: 204 has no body. An origin that announces one all the same may send it,
 * and it would pass for the next response. */
static bool response_may_leave_bytes(const struct h1_response *response)
{
	return response->status == 204 &&
	       (response->head.is_chunked || response->head.content_length);
}

static void response_decide(struct exchange *exchange, const struct h1_response *response,
			    struct h1_reply_facts *ret_facts)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->response;

	body->kind = response->head.body;
	body->left_bytes = body->kind == H1_BODY_LENGTH ? response->head.content_length : 0;
	turn->unchunks = body->kind == H1_BODY_CHUNKED && turn->client_minor == 0;
	turn->origin_keeps = !response->head.wants_close && !response_may_leave_bytes(response);
	/* A response that comes before the request is whole mostly means that the rest is not
	 * wanted. */
	exchange->keeps = turn->client_keeps && turn->request.is_done && !turn->unchunks &&
			  !exchange->is_draining && body->kind != H1_BODY_UNTIL_CLOSE;
	ret_facts->chunked = body->kind == H1_BODY_CHUNKED && !turn->unchunks;
	ret_facts->close = !exchange->keeps;
	ret_facts->keep_alive = turn->client_minor == 0;
}

static enum exchange_state response_start(struct exchange *exchange,
					  const struct h1_response *response, char *data,
					  size_t len_bytes)
{
	char small[RESPONSE_SMALL_HEAD], *allocated;
	struct h1_reply_facts facts;
	enum h1_fault fault;
	struct str head;
	int err;

	response_decide(exchange, response, &facts);
	if (!response_write_head(response, &facts, small, &head, &allocated))
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	err = response_send_start(exchange, &head, data, len_bytes, &fault);
	free(allocated);
	if (fault)
		return exchange_origin_malformed(exchange, h1_fault_text(fault));
	exchange->turn->is_head_sent = true;
	exchange->status = response->status;
	return err ? exchange_client_failed(exchange, err) : EXCHANGE_RELAY;
}

/* `data` is the scratch or, if not `is_fresh`, the turn's inbox. */
static enum exchange_state response_parse(struct exchange *exchange, char *data, size_t len_bytes,
					  bool is_fresh)
{
	struct turn *turn = exchange->turn;
	bool to_head = turn->method == H1_METHOD_HEAD;
	enum exchange_state next = EXCHANGE_RELAY;
	size_t at = 0;

	while (next == EXCHANGE_RELAY && at < len_bytes) {
		enum h1_fault fault = H1_FAULT_NONE;
		struct h1_response response;
		enum h1_progress progress =
		    h1_parse_response(data + at, len_bytes - at, to_head, &response, &fault);

		if (progress == H1_REFUSED)
			return exchange_origin_malformed(exchange, h1_fault_text(fault));
		if (progress == H1_NEED_MORE)
			break;
		at += response.head.len_bytes;
		if (response.status < 200) {
			next = response_send_interim(exchange, &response);
			continue;
		}
		next = response_start(exchange, &response, data + at, len_bytes - at);
		if (!is_fresh)
			inbox_done(&turn->from_origin);
		return next;
	}
	if (at)
		turn->scanned_bytes = 0; /* what is left begins another head */
	if (!is_fresh)
		inbox_take(&turn->from_origin, at);
	else if (inbox_put(&turn->from_origin, data + at, len_bytes - at))
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	return next;
}

/* The inbox has grown. */
static enum exchange_state response_parse_inbox(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	char *data = inbox_bytes(&turn->from_origin);
	size_t len_bytes = turn->from_origin.len_bytes;

	if (!h1_is_worth_parsing(data, len_bytes, &turn->scanned_bytes))
		return EXCHANGE_RELAY;
	return response_parse(exchange, data, len_bytes, false);
}

static void response_note_first_byte(struct exchange *exchange)
{
	if (exchange->turn->is_begun)
		return;
	exchange->turn->is_begun = true;
	exchange->first_byte_us = MAX(clock_now_us() - exchange->started_us, UINT64_C(1));
}

static enum exchange_state response_read_head(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct io *from = &turn->conn->io;
	enum exchange_state next = EXCHANGE_RELAY;

	while (next == EXCHANGE_RELAY && !turn->is_head_sent && from->readable) {
		char *scratch = loop_scratch(exchange->client.loop);
		bool is_fresh = turn->from_origin.len_bytes == 0;
		ssize_t n = is_fresh ? io_recv(from, scratch, LOOP_SCRATCH_BYTES)
				     : inbox_recv(&turn->from_origin, from);

		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return exchange_origin_failed(exchange, n);
		response_note_first_byte(exchange);
		next = is_fresh ? response_parse(exchange, scratch, (size_t)n, true)
				: response_parse_inbox(exchange);
	}
	return next;
}

static enum exchange_state response_relay(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->response;
	bool is_open = body->kind == H1_BODY_UNTIL_CLOSE;
	uint64_t limit_bytes = is_open ? RELAY_NO_LIMIT : body->left_bytes;

	switch (body_relay(exchange, body, &turn->conn->io, exchange->client.io, limit_bytes)) {
	case RELAY_ENDED:
		if (!is_open)
			return exchange_origin_failed(exchange, 0);
		body->is_done = true;
		return EXCHANGE_RELAY;
	case RELAY_FROM_FAILED:
		return exchange_origin_failed(exchange, body->relay.error);
	case RELAY_TO_FAILED:
		return exchange_client_failed(exchange, body->relay.error);
	default:
		return EXCHANGE_RELAY;
	}
}

static enum exchange_state response_pump_chunks(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	struct body *body = &turn->response;
	struct io *from = &turn->conn->io;

	for (int i = 0; !body->is_done && !exchange->outbox.len_bytes && from->readable; i++) {
		char *scratch = loop_scratch(exchange->client.loop);
		enum h1_fault fault;
		size_t taken_bytes;
		ssize_t n;
		int err;

		if (i == RESPONSE_SHARE) {
			loop_schedule(exchange->client.loop, &exchange->task);
			break;
		}
		n = io_recv(from, scratch, LOOP_SCRATCH_BYTES);
		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return exchange_origin_failed(exchange, n);
		err = body_send_chunked(body, &exchange->outbox, exchange->client.io, NULL,
					turn->unchunks, scratch, (size_t)n, &taken_bytes, &fault);
		if (fault)
			return exchange_origin_malformed(exchange, h1_fault_text(fault));
		if (err)
			return exchange_client_failed(exchange, err);
		turn->is_surplus |= taken_bytes < (size_t)n;
	}
	return EXCHANGE_RELAY;
}

/* Bytes that nobody asked for would be taken for the next response. */
static bool response_left_nothing(struct origin_conn *conn)
{
	char byte;

	return !conn->io.readable || io_recv(&conn->io, &byte, sizeof(byte)) == -EAGAIN;
}

static enum exchange_state response_finish(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	bool is_whole = turn->request.is_done && !turn->to_origin.len_bytes;

	turn->is_clean = is_whole && turn->origin_keeps && !turn->is_surplus &&
			 turn->response.kind != H1_BODY_UNTIL_CLOSE &&
			 response_left_nothing(turn->conn);
	exchange->is_unread = !turn->request.is_done;
	exchange_finish_request(exchange, CLOSE_DONE);
	if (exchange->keeps && !exchange->is_draining)
		return EXCHANGE_HEAD;
	exchange->end_reason = CLOSE_DONE;
	return EXCHANGE_SHUT;
}

enum exchange_state exchange_pump_response(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	enum exchange_state next = EXCHANGE_RELAY;
	int err = outbox_flush(&exchange->outbox, exchange->client.io);

	if (err)
		return exchange_client_failed(exchange, err);
	if (exchange->outbox.len_bytes)
		return EXCHANGE_RELAY;
	if (!turn->is_head_sent)
		next = response_read_head(exchange);
	if (next != EXCHANGE_RELAY || !turn->is_head_sent || exchange->outbox.len_bytes)
		return next;
	if (!turn->response.is_done)
		next = turn->response.kind == H1_BODY_CHUNKED ? response_pump_chunks(exchange)
							      : response_relay(exchange);
	if (next != EXCHANGE_RELAY || !turn->response.is_done || exchange->outbox.len_bytes)
		return next;
	return response_finish(exchange);
}

enum exchange_state exchange_step_relay(struct exchange *exchange)
{
	enum exchange_state next;

	if (exchange->client.io->failed)
		return exchange_end(exchange, CLOSE_CLIENT_ABORT);
	next = exchange_pump_request(exchange);
	return next == EXCHANGE_RELAY ? exchange_pump_response(exchange) : next;
}
