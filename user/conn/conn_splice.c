/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams, be they passed on as they are or with TLS ended here: connect to the origin, then relay
 * bytes until both sides have ended. Knows no HTTP.
 */
#include "conn/conn_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "stats/stats.h"

#define CONN_DETAIL_MAX 512

static void conn_origin_ready(struct origin_request *request, struct origin_conn *origin,
			      enum close_reason reason, const char *detail)
{
	struct conn_stream *stream = container_of(request, struct conn_stream, request);
	struct conn *conn = stream->conn;

	if (!origin) {
		stream->origin_failed = true;
		conn->reason = reason;
		conn_set_detail(conn, detail);
	}
	stream->origin = origin;
	conn_run(conn);
}

static void conn_origin_event(struct origin_conn *origin)
{
	conn_run(origin->owner);
}

static enum relay_engine conn_wanted_engine(const struct conn *conn)
{
	switch (conn->route->relay) {
	case CONF_RELAY_COPY:
		return RELAY_ENGINE_COPY;
	case CONF_RELAY_PIPE:
		return RELAY_ENGINE_PIPE;
	case CONF_RELAY_SOCKMAP:
		return RELAY_ENGINE_SOCKMAP;
	default:
		return RELAY_ENGINE_AUTO;
	}
}

static void conn_relay_wake(struct relay *relay)
{
	conn_run(container_of(relay, struct conn_stream, relay)->conn);
}

static struct tally *conn_tally(const struct conn *conn)
{
	return snapshot_tally(conn->lease->snapshot, conn->listener, conn->route);
}

/* 0 or -ENOMEM. */
static int conn_start_stream(struct conn *conn)
{
	struct conn_stream *stream = calloc(1, sizeof(*stream));
	struct origin_request *request;
	struct addr room;

	if (!stream)
		return -ENOMEM;
	conn->stream = stream;
	stream->conn = conn;
	request = &stream->request;
	request->on_ready = conn_origin_ready;
	request->fresh = true;
	request->is_passed = conn->route->lane == CONF_LANE_SPLICE;
	/* A ClientHello that ends here is nothing that the origin will hear. */
	request->writes_first = conn->peeked_bytes > 0 && (request->is_passed || !conn->is_tls);
	request->client = conn_peer(conn, &room);
	if (conn->route->origin->proxy_protocol)
		request->facts = conn_facts(conn);
	origin_acquire(origin_view_get(conn->lease->origins, conn->route->origin), request);
	return 0;
}

enum conn_state conn_step_connect(struct conn *conn)
{
	struct conn_stream *stream;

	if (conn->io.failed)
		return conn_end(conn, CLOSE_CLIENT_RESET);
	if (!conn->stream && conn_start_stream(conn))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	stream = conn->stream;
	if (stream->origin_failed)
		return conn_end(conn, conn->reason);
	if (!stream->origin)
		return CONN_CONNECT;
	stream->origin->owner = conn;
	stream->origin->on_event = conn_origin_event;
	relay_init(&stream->relay, &conn->io, &stream->origin->io, conn_wanted_engine(conn),
		   &conn->lease->snapshot->conf->relay);
	stream->relay.on_wake = conn_relay_wake;
	stream->active_ms = loop_now_ms(conn_loop(conn));
	stats_inc(STAT_SPLICE_CONNECTIONS);
	tally_add(conn_tally(conn), TALLY_CONNECTIONS, 1);
	conn_pace_start(conn);
	conn_live_tls(conn);
	conn_live_relayed(conn);
	return CONN_RELAY;
}

static void conn_note_tls(const struct conn *conn, struct tally *tally)
{
	if (conn->route->lane != CONF_LANE_TERMINATE)
		return;
	tally_note(tally, TALLY_CLIENT_TLS, conn->io.ops->name);
	tally_note(tally, TALLY_CLIENT_TLS_REASON, conn->io.why_not_kernel);
	tally_note(tally, TALLY_ORIGIN_TLS, conn->stream->origin->io.ops->name);
	tally_note(tally, TALLY_ORIGIN_TLS_REASON, conn->stream->origin->io.why_not_kernel);
}

/* Keeps the live numbers: the direction that carried more names the relay. */
static void conn_count_relayed(struct conn *conn)
{
	struct conn_stream *stream = conn->stream;
	const struct relay_dir *up = &stream->relay.up, *down = &stream->relay.down;
	const struct relay_dir *busier = up->delivered_bytes > down->delivered_bytes ? up : down;
	uint64_t up_bytes = up->delivered_bytes - stream->counted_up_bytes;
	uint64_t down_bytes = down->delivered_bytes - stream->counted_down_bytes;
	struct tally *tally = conn_tally(conn);

	if (up_bytes == 0 && down_bytes == 0) {
		conn_live_relayed(conn); /* the engine may be another one */
		return;
	}
	stream->active_ms =
	    MAX(stream->active_ms, relay_active_ms(&stream->relay, conn_loop(conn)));
	stream->counted_up_bytes += up_bytes;
	stream->counted_down_bytes += down_bytes;
	stats_add(STAT_CLIENT_RECEIVED_BYTES, (int64_t)up_bytes);
	stats_add(STAT_ORIGIN_SENT_BYTES, (int64_t)up_bytes);
	stats_add(STAT_ORIGIN_RECEIVED_BYTES, (int64_t)down_bytes);
	stats_add(STAT_CLIENT_SENT_BYTES, (int64_t)down_bytes);
	tally_add(tally, TALLY_FROM_CLIENT_BYTES, up_bytes);
	tally_add(tally, TALLY_TO_CLIENT_BYTES, down_bytes);
	tally_note(tally, TALLY_RELAY, relay_engine_word(busier->engine));
	tally_note(tally, TALLY_RELAY_REASON, busier->engine_reason);
	conn_note_tls(conn, tally);
	conn_live_relayed(conn);
}

/* Which side broke TLS, and how. */
static enum close_reason conn_explain_tls(struct conn *conn)
{
	bool is_client = tls_close_reason(&conn->io) != CLOSE_DONE;
	const struct io *io = is_client ? &conn->io : &conn->stream->origin->io;
	char text[CONN_DETAIL_MAX];

	snprintf(text, sizeof(text), "%s: %s", is_client ? "client" : "origin", tls_error(io));
	conn_set_detail(conn, text);
	return tls_close_reason(io);
}

enum conn_state conn_step_relay(struct conn *conn)
{
	struct conn_stream *stream = conn->stream;
	enum close_reason reason = CLOSE_INTERNAL;
	enum relay_verdict verdict = relay_run(&stream->relay, conn_loop(conn), &reason);
	const char *alarm = relay_sockmap_take_alarm();

	if (alarm)
		log_error("sockmap is turned off for new streams", LOG_TEXT("reason", alarm),
			  LOG_TEXT("listener", conn->listener->name));
	conn_count_relayed(conn);
	if (relay_is_half_closed(&stream->relay) && !stream->is_half_closed) {
		stream->is_half_closed = true;
		stream->active_ms = loop_now_ms(conn_loop(conn));
	}
	switch (verdict) {
	case RELAY_RUNS:
		return CONN_RELAY;
	case RELAY_BUSY:
		loop_schedule(conn_loop(conn), &conn->task);
		return CONN_RELAY;
	case RELAY_OVER:
		break;
	case RELAY_BROKE:
		if (reason == CLOSE_TLS_BROKEN)
			reason = conn_explain_tls(conn);
		break;
	}
	return conn_end(conn, reason);
}

void conn_refresh_relay(struct conn *conn)
{
	relay_refresh(&conn->stream->relay);
	conn_count_relayed(conn);
}

/* The timer is lazy: bytes do not move it, so when it fires the time that is left is armed again.
 */
void conn_expire_relay(struct conn *conn)
{
	const struct conf_listener *listener = conn->listener;
	bool is_half_closed = relay_is_half_closed(&conn->stream->relay);
	uint64_t allowed_ms =
	    is_half_closed ? listener->half_closed_timeout_ms : listener->idle_timeout_ms;
	uint64_t silent_ms;

	conn_refresh_relay(conn);
	silent_ms = loop_now_ms(conn_loop(conn)) - conn->stream->active_ms;

	if (silent_ms <= allowed_ms)
		conn_arm(conn,
			 MIN(allowed_ms - silent_ms, (uint64_t)listener->half_closed_timeout_ms));
	else
		conn_close(conn, is_half_closed ? CLOSE_HALF_CLOSED_TIMEOUT : CLOSE_IDLE_TIMEOUT);
}

void conn_splice_done(struct conn *conn)
{
	struct conn_stream *stream = conn->stream;

	if (!conn->route || !conf_route_is_stream(conn->route))
		return;
	if (conn->reason != CLOSE_DONE)
		tally_add(conn_tally(conn), TALLY_FAILURES, 1);
	if (!stream)
		return;
	if (stream->relay.up.from) {
		conn_pace_stop(conn);
		relay_done(&stream->relay);
	}
	origin_cancel(&stream->request);
	if (stream->origin)
		origin_discard(stream->origin);
	conn->stream = NULL;
	free(stream);
}
