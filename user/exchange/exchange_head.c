/* SPDX-License-Identifier: Apache-2.0 */
/* From the first byte of a request to the end of its head, its route, and a connection to the
 * origin. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "exchange/exchange_internal.h"
#include "route/route.h"
#include "tls/tls.h"

void exchange_begin_request(struct exchange *exchange)
{
	if (exchange->is_request)
		return;
	exchange->is_request = true;
	exchange->scanned_bytes = 0;
	exchange->status = 0;
	exchange->reason = CLOSE_DONE;
	exchange_set_detail(exchange, NULL);
	exchange->started_us = clock_now_us();
	exchange->first_byte_us = 0;
	exchange->request_bytes = 0;
	exchange->sent_mark = exchange->client.io->sent_bytes;
	exchange_set_deadline(exchange, exchange->client.listener->request_timeout_ms);
}

/* `route` may be NULL: the head is for the record then. NULL: no memory. */
static struct turn *turn_new(struct exchange *exchange, const struct h1_request *request,
			     const struct conf_route *route, const struct route_seen *seen)
{
	const struct exchange_client *client = &exchange->client;
	struct h1_origin_facts facts = {
	    .client = str_from(exchange->client_text),
	    .proto = seen->is_tls ? STR("https") : STR("http"),
	    .lines = STR(""),
	};
	struct turn *turn;

	if (seen->certificate && route && route->cert_headers &&
	    client->ops->get_certificate_lines(client->owner, route, &facts.lines))
		return NULL;
	turn = malloc(sizeof(*turn) + h1_request_bound(request, &facts));
	if (!turn)
		return NULL;
	memset(turn, 0, sizeof(*turn));
	turn->exchange = exchange;
	turn->route = route;
	turn->method = request->method;
	turn->client_minor = request->head.minor;
	turn->client_keeps = !request->head.wants_close;
	turn->awaits_continue = request->expects_continue;
	turn->request.kind = request->head.body;
	turn->request.left_bytes = request->head.content_length;
	h1_write_request(request, &facts, turn->head, &turn->head_facts);
	return turn;
}

/* 0 or -ENOMEM; the route is NULL where none matches or the path has a fault. */
static int exchange_find_route(const struct exchange *exchange, const struct route_seen *seen,
			       const struct h1_request *request,
			       const struct conf_route **ret_route, enum h1_fault *ret_fault)
{
	struct str path = request->path;
	char *buffer = NULL;

	*ret_route = NULL;
	*ret_fault = H1_FAULT_NONE;
	if (!h1_path_is_normal(path)) {
		buffer = malloc(path.len);
		if (!buffer)
			return -ENOMEM;
	}
	*ret_fault = h1_path_normalise(path, buffer, &path);
	if (!*ret_fault)
		*ret_route = route_request(exchange->client.listener, seen,
					   h1_host_name(request->host), path);
	free(buffer);
	return 0;
}

static enum exchange_state exchange_refuse(struct exchange *exchange, enum h1_fault fault)
{
	uint16_t status = h1_fault_status(fault);
	bool is_size = status == 431 || status == 414;

	return exchange_reply(exchange, status,
			      is_size ? CLOSE_REQUEST_TOO_LARGE : CLOSE_REQUEST_MALFORMED,
			      h1_fault_text(fault));
}

static void exchange_on_origin_event(struct origin_conn *conn)
{
	exchange_run(conn->owner);
}

static void exchange_on_ready(struct origin_request *wish, struct origin_conn *conn,
			      enum close_reason reason, const char *detail)
{
	struct turn *turn = container_of(wish, struct turn, wish);

	turn->is_answered = true;
	turn->acquire_reason = reason;
	turn->conn = conn;
	if (conn) {
		conn->owner = turn->exchange;
		conn->on_event = exchange_on_origin_event;
		turn->origin_received_mark = conn->io.received_bytes;
		turn->origin_sent_mark = conn->io.sent_bytes;
	} else {
		exchange_set_detail(turn->exchange, detail);
	}
	exchange_run(turn->exchange);
}

enum exchange_state exchange_acquire(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	const struct exchange_client *client = &exchange->client;
	struct origin *origin = origin_view_get(client->origins, turn->route->origin);
	struct addr room;

	turn->is_answered = false;
	turn->wish.on_ready = exchange_on_ready;
	turn->wish.client = client->ops->get_peer(client->owner, &room);
	turn->wish.writes_first = true;
	turn->wish.must_be_alive =
	    turn->request.kind != H1_BODY_NONE || !h1_method_is_idempotent(turn->method);
	if (turn->route->origin->proxy_protocol)
		turn->wish.facts = client->ops->get_facts(client->owner);
	origin_acquire(origin, &turn->wish);
	return EXCHANGE_ACQUIRE;
}

/* The head ends at data[request->head.len_bytes]; what follows must be in the inbox before others
 * use the scratch. */
static enum exchange_state exchange_start_turn(struct exchange *exchange,
					       const struct h1_request *request, const char *data,
					       size_t len_bytes)
{
	const struct exchange_client *client = &exchange->client;
	size_t head_bytes = request->head.len_bytes;
	const struct conf_route *route;
	struct addr room;
	struct route_seen seen = client->ops->get_seen(client->owner, &room);
	enum h1_fault fault;
	int err = exchange_find_route(exchange, &seen, request, &route, &fault);

	if (!err)
		exchange->turn = turn_new(exchange, request, route, &seen);
	if (!exchange->turn)
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	exchange->request_bytes = head_bytes;
	exchange->turn->received_head_bytes = head_bytes;
	if (exchange->inbox.len_bytes)
		inbox_take(&exchange->inbox, head_bytes);
	else
		err = inbox_put(&exchange->inbox, data + head_bytes, len_bytes - head_bytes);
	if (err)
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	if (fault)
		return exchange_refuse(exchange, fault);
	if (!exchange->turn->route)
		return exchange_reply(exchange, 404, CLOSE_NO_ROUTE, NULL);
	return exchange_acquire(exchange);
}

/*
 * RFC 9112, 2.2: empty lines before a request line are ignored. They begin no request either: some
 * clients send one after each body, and it would be answered with 408 when nothing follows.
 */
static size_t exchange_count_empty_lines(const char *data, size_t len_bytes)
{
	size_t at = 0;

	while (len_bytes - at >= 2 && data[at] == '\r' && data[at + 1] == '\n')
		at += 2;
	return at;
}

/* For when more has come. */
static enum exchange_state exchange_keep_head(struct exchange *exchange, const char *data,
					      size_t len_bytes)
{
	if (exchange->inbox.len_bytes == 0 && inbox_put(&exchange->inbox, data, len_bytes))
		return exchange_end(exchange, CLOSE_OUT_OF_MEMORY);
	return EXCHANGE_HEAD;
}

static enum exchange_state exchange_parse_head(struct exchange *exchange, const char *data,
					       size_t len_bytes)
{
	size_t skip_bytes = exchange->is_request ? 0 : exchange_count_empty_lines(data, len_bytes);
	enum h1_fault fault = H1_FAULT_NONE;
	struct h1_request request;

	if (skip_bytes) {
		data += skip_bytes;
		len_bytes -= skip_bytes;
		if (exchange->inbox.len_bytes)
			inbox_take(&exchange->inbox, skip_bytes);
	}
	if (len_bytes == 0)
		return EXCHANGE_HEAD;
	if (!exchange->is_request && len_bytes == 1 && *data == '\r') /* of an empty line? */
		return exchange_keep_head(exchange, data, len_bytes);
	exchange_begin_request(exchange);
	switch (h1_parse_request(data, len_bytes, &request, &fault)) {
	case H1_DONE:
		return exchange_start_turn(exchange, &request, data, len_bytes);
	case H1_REFUSED:
		exchange->is_unread = true;
		return exchange_refuse(exchange, fault);
	case H1_NEED_MORE:
		break;
	}
	return exchange_keep_head(exchange, data, len_bytes);
}

static enum exchange_state exchange_parse_inbox(struct exchange *exchange)
{
	const char *data = inbox_bytes(&exchange->inbox);
	size_t len_bytes = exchange->inbox.len_bytes;

	if (exchange->is_request && !h1_is_worth_parsing(data, len_bytes, &exchange->scanned_bytes))
		return EXCHANGE_HEAD;
	return exchange_parse_head(exchange, data, len_bytes);
}

/* Our direction of TLS ends with an alert, whatever the client's did (RFC 8446, 6.1). */
static enum exchange_state exchange_head_ended(struct exchange *exchange)
{
	exchange->client_ended = true;
	exchange->end_reason = exchange->is_request ? CLOSE_CLIENT_ABORT : CLOSE_DONE;
	return io_is_plain(exchange->client.io) ? EXCHANGE_ENDED : EXCHANGE_SHUT;
}

/*
 * Between requests nothing can be missing, and browsers, wget and Node leave without close_notify
 * there: that is no fault (RFC 9112, 9.8).
 */
static bool exchange_left_quietly(const struct exchange *exchange)
{
	return !exchange->is_request && exchange->inbox.len_bytes == 0 &&
	       tls_close_reason(exchange->client.io) == CLOSE_TLS_TRUNCATED;
}

enum exchange_state exchange_step_head(struct exchange *exchange)
{
	struct io *io = exchange->client.io;
	enum exchange_state next = EXCHANGE_HEAD;

	/* Bytes that came along with the request before. */
	if (exchange->inbox.len_bytes && !exchange->is_request)
		next = exchange_parse_inbox(exchange);
	while (next == EXCHANGE_HEAD && (io->readable || exchange->client_ended)) {
		bool is_fresh = exchange->inbox.len_bytes == 0;
		char *scratch = loop_scratch(exchange->client.loop);
		ssize_t n;

		if (exchange->client_ended)
			return exchange_head_ended(exchange);
		n = is_fresh ? io_recv(io, scratch, LOOP_SCRATCH_BYTES)
			     : inbox_recv(&exchange->inbox, io);
		if (n == -EAGAIN)
			break;
		if (n == 0 || (n == -EPROTO && exchange_left_quietly(exchange)))
			return exchange_head_ended(exchange);
		if (n < 0)
			return exchange_client_failed(exchange, (int)n);
		next = is_fresh ? exchange_parse_head(exchange, scratch, (size_t)n)
				: exchange_parse_inbox(exchange);
	}
	return next;
}

static uint16_t exchange_acquire_status(enum close_reason reason)
{
	switch (reason) {
	case CLOSE_ORIGIN_CONNECT_TIMEOUT:
		return 504;
	case CLOSE_OUT_OF_DESCRIPTORS:
	case CLOSE_OUT_OF_MEMORY:
	case CLOSE_ORIGIN_QUEUE_FULL:
	case CLOSE_ORIGIN_QUEUE_TIMEOUT:
	case CLOSE_ORIGIN_DOWN:
		return 503;
	default:
		return 502;
	}
}

enum exchange_state exchange_step_acquire(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	char *detail;
	enum exchange_state next;

	if (exchange->client.io->failed)
		return exchange_end(exchange, CLOSE_CLIENT_ABORT);
	if (!turn->is_answered)
		return EXCHANGE_ACQUIRE;
	if (turn->conn)
		return EXCHANGE_RELAY;
	detail = exchange->detail;
	exchange->detail = NULL;
	next = exchange_reply(exchange, exchange_acquire_status(turn->acquire_reason),
			      turn->acquire_reason, detail);
	free(detail);
	return next;
}
