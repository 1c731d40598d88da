/* SPDX-License-Identifier: Apache-2.0 */
/* The terminate lane: TLS with the client, then HTTP until one side has had enough. Where TLS ends
 * but no HTTP is spoken, conn_splice.c goes on after the handshake. */
#include "conn/conn_internal.h"

#include <stdlib.h>

#include "stats/stats.h"

static void conn_note_name(struct conn *conn)
{
	char *name = tls_take_name(&conn->io);

	if (conn->sni)
		free(name);
	else
		conn->sni = name;
}

static void conn_note_handshake(struct conn *conn)
{
	struct tls_facts facts;

	tls_get_facts(&conn->io, &facts);
	conn_note_name(conn);
	stats_inc(STAT_TLS_HANDSHAKES);
	if (facts.resumed)
		stats_inc(STAT_TLS_RESUMED);
}

static void conn_note_failed_handshake(struct conn *conn)
{
	conn_note_name(conn);
	conn_set_detail(conn, tls_error(&conn->io));
}

/* The client's certificate may lead to another route than the first that could serve. */
static enum conn_state conn_go_on(struct conn *conn)
{
	if (conn_take_certificate(conn))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	if (!conf_route_is_stream(conn->route))
		return CONN_HTTP;
	if (!route_needs_certificate(conn->listener))
		return CONN_CONNECT;
	conn->route = conn_find_stream_route(conn);
	if (!conn->route)
		return conn_end(conn, CLOSE_NO_ROUTE);
	conn_live_route(conn);
	return CONN_CONNECT;
}

enum conn_state conn_step_handshake(struct conn *conn)
{
	switch (tls_handshake(&conn->io)) {
	case TLS_AGAIN:
		return CONN_HANDSHAKE;
	case TLS_READY:
		conn_note_handshake(conn);
		conn_live_tls(conn);
		return conn_go_on(conn);
	case TLS_UNVERIFIED:
		conn_note_failed_handshake(conn);
		return conn_end(conn, CLOSE_CLIENT_UNVERIFIED);
	case TLS_FAILED:
		break;
	}
	conn_note_failed_handshake(conn);
	return conn_end(conn, CLOSE_HANDSHAKE_FAILED);
}

static void conn_count_request(struct conn *conn, const struct exchange_record *record)
{
	struct tally *tally;

	stats_add(STAT_CLIENT_RECEIVED_BYTES, (int64_t)record->request_bytes);
	stats_add(STAT_CLIENT_SENT_BYTES, (int64_t)record->response_bytes);
	if (!record->route)
		return;
	tally = snapshot_tally(conn->lease->snapshot, conn->listener, record->route);
	tally_add(tally, TALLY_REQUESTS, 1);
	tally_add(tally, TALLY_FROM_CLIENT_BYTES, record->request_bytes);
	tally_add(tally, TALLY_TO_CLIENT_BYTES, record->response_bytes);
	if (record->reason != CLOSE_DONE)
		tally_add(tally, TALLY_FAILURES, 1);
	tally_note(tally, TALLY_RELAY, record->relay);
	tally_note(tally, TALLY_RELAY_REASON, record->relay_reason);
	tally_note(tally, TALLY_CLIENT_TLS, conn->io.ops->name);
	tally_note(tally, TALLY_CLIENT_TLS_REASON, conn->io.why_not_kernel);
	tally_note(tally, TALLY_ORIGIN_TLS, record->origin_tls);
	tally_note(tally, TALLY_ORIGIN_TLS_REASON, record->origin_why_not_kernel);
}

static void conn_request_done(void *owner, const struct exchange_record *record)
{
	struct conn *conn = owner;

	conn_count_request(conn, record);
	conn_live_request(conn, record);
	conn_log_request(conn, record);
}

/* The exchange may be deep in its own calls: the connection ends at the end of the batch. */
static void conn_exchange_ended(void *owner, enum close_reason reason)
{
	struct conn *conn = owner;

	conn->exchange_ended = true;
	conn->reason = reason;
	loop_schedule(conn_loop(conn), &conn->task);
}

static const struct proxy_facts *conn_get_facts(void *owner)
{
	return conn_facts(owner);
}

static const struct addr *conn_get_peer(void *owner, struct addr *room)
{
	return conn_peer(owner, room);
}

static struct route_seen conn_get_seen(void *owner, struct addr *room)
{
	return conn_seen(owner, room);
}

static int conn_start_exchange(struct conn *conn)
{
	static const struct exchange_client_ops ops = {
	    .get_peer = conn_get_peer,
	    .get_seen = conn_get_seen,
	    .get_certificate_lines = conn_certificate_lines,
	    .get_facts = conn_get_facts,
	    .on_request = conn_request_done,
	    .on_end = conn_exchange_ended,
	};
	struct exchange_client client = {
	    .ops = &ops,
	    .owner = conn,
	    .io = &conn->io,
	    .loop = conn_loop(conn),
	    .listener = conn->listener,
	    .origins = conn->lease->origins,
	};

	conn->exchange = exchange_new(&client);
	if (!conn->exchange)
		return -1;
	stats_inc(STAT_TERMINATE_CONNECTIONS);
	if (conn->lease->thread->is_draining)
		exchange_drain(conn->exchange);
	return 0;
}

enum conn_state conn_step_http(struct conn *conn)
{
	if (!conn->exchange && conn_start_exchange(conn))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	if (!conn->exchange_ended)
		exchange_run(conn->exchange);
	if (conn->exchange_ended)
		return conn_end(conn, conn->reason);
	return CONN_HTTP;
}

void conn_terminate_done(struct conn *conn)
{
	if (conn->exchange)
		exchange_abort(conn->exchange, conn->reason);
	exchange_free(conn->exchange);
	conn->exchange = NULL;
}
