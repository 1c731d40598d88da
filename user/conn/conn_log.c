/* SPDX-License-Identifier: Apache-2.0 */
/* The access log: one line per stream and per request, and one for each connection that
 * ended badly. */
#include "conn/conn_internal.h"

#include "base/log.h"
#include "stats/stats.h"

static bool conn_logs_access(const struct conn *conn)
{
	return conn->lease->snapshot->conf->access_log && log_is_wanted(LOG_LEVEL_INFO);
}

static struct str conn_text(const char *text)
{
	return text && *text ? str_from(text) : STR("-");
}

/* Who the client is by its certificate. */
static struct str conn_subject(const struct conn *conn)
{
	return conn_text(conn->certificate ? conn->certificate->peer->subject : NULL);
}

/* Of bytes that are passed on nobody here knows. */
static struct str conn_tls_text(const struct conn *conn, const struct io *io)
{
	return conn_text(conn->route->lane == CONF_LANE_TERMINATE ? io->ops->name : NULL);
}

/* What kept TLS of the client, or else of the origin, from the kernel. */
static struct str conn_why_user_tls(const struct conn *conn)
{
	const struct origin_conn *origin = conn_origin(conn);

	if (conn->route->lane != CONF_LANE_TERMINATE)
		return conn_text(NULL);
	if (conn->io.why_not_kernel || !origin)
		return conn_text(conn->io.why_not_kernel);
	return conn_text(origin->io.why_not_kernel);
}

static const char *conn_format_peer(const struct conn *conn, char text[ADDR_TEXT_MAX])
{
	struct addr room;

	return addr_format(conn_peer(conn, &room), text);
}

static void conn_log_stream(const struct conn *conn, const char *peer, const char *reason)
{
	static const struct relay no_relay;
	const struct relay *relay = conn->stream ? &conn->stream->relay : &no_relay;
	const struct origin_conn *origin = conn_origin(conn);

	log_info("connection", LOG_TEXT("listener", conn->listener->name), LOG_TEXT("client", peer),
		 LOG_STR("sni", conn_text(conn->sni)),
		 LOG_TEXT("lane", conf_lane_word(conn->route->lane)),
		 LOG_TEXT("origin", conn->route->origin->name),
		 LOG_STR("server", conn_text(origin ? origin->server_text : NULL)),
		 LOG_STR("client_tls", conn_tls_text(conn, &conn->io)),
		 LOG_STR("client_cert", conn_subject(conn)),
		 LOG_STR("origin_tls", origin ? conn_tls_text(conn, &origin->io) : STR("-")),
		 LOG_STR("user_tls_reason", conn_why_user_tls(conn)),
		 LOG_TEXT("relay_up", relay_engine_word(relay->up.engine)),
		 LOG_TEXT("relay_down", relay_engine_word(relay->down.engine)),
		 LOG_INT("bytes_up", relay->up.delivered_bytes),
		 LOG_INT("bytes_down", relay->down.delivered_bytes),
		 LOG_INT("duration_ms", loop_now_ms(conn_loop(conn)) - conn->accepted_ms),
		 LOG_TEXT("reason", reason), LOG_STR("detail", conn_text(conn->detail)));
}

void conn_log_open(const struct conn *conn)
{
	char peer[ADDR_TEXT_MAX];

	if (conn_logs_access(conn))
		conn_log_stream(conn, conn_format_peer(conn, peer), "open");
}

/* Ends that are everyday life of HTTP connections say nothing that the requests' own lines did not.
 */
static bool conn_end_is_ordinary(enum close_reason reason)
{
	return reason == CLOSE_DONE || reason == CLOSE_KEEPALIVE_TIMEOUT ||
	       reason == CLOSE_SHUTDOWN;
}

void conn_log_closed(const struct conn *conn)
{
	char peer[ADDR_TEXT_MAX];

	if (!conn_logs_access(conn))
		return;
	conn_format_peer(conn, peer);
	if (conn->route && conf_route_is_stream(conn->route)) {
		conn_log_stream(conn, peer, close_reason_word(conn->reason));
		return;
	}
	if (conn_end_is_ordinary(conn->reason))
		return;
	log_info("connection", LOG_TEXT("listener", conn->listener->name), LOG_TEXT("client", peer),
		 LOG_STR("sni", conn_text(conn->sni)),
		 LOG_INT("duration_ms", loop_now_ms(conn_loop(conn)) - conn->accepted_ms),
		 LOG_TEXT("reason", close_reason_word(conn->reason)),
		 LOG_STR("detail", conn_text(conn->detail)));
}

void conn_log_request(const struct conn *conn, const struct exchange_record *record)
{
	const char *origin = record->route ? record->route->origin->name : NULL;
	char peer[ADDR_TEXT_MAX];

	if (!conn_logs_access(conn))
		return;
	conn_format_peer(conn, peer);
	log_info(
	    "request", LOG_TEXT("listener", conn->listener->name), LOG_TEXT("client", peer),
	    LOG_STR("method", record->method), LOG_STR("host", record->host),
	    LOG_STR("path", record->path), LOG_INT("status", record->status),
	    LOG_STR("origin", conn_text(origin)), LOG_STR("server", conn_text(record->server)),
	    LOG_TEXT("client_tls", conn->io.ops->name), LOG_STR("client_cert", conn_subject(conn)),
	    LOG_STR("origin_tls", conn_text(record->origin_tls)),
	    LOG_STR("user_tls_reason",
		    conn_text(conn->io.why_not_kernel ? conn->io.why_not_kernel
						      : record->origin_why_not_kernel)),
	    LOG_STR("relay", conn_text(record->relay)), LOG_INT("bytes_in", record->request_bytes),
	    LOG_INT("bytes_out", record->response_bytes),
	    LOG_INT("first_byte_us", record->first_byte_us),
	    LOG_INT("duration_us", record->duration_us),
	    LOG_TEXT("reason", close_reason_word(record->reason)),
	    LOG_STR("detail", conn_text(record->detail)));
}
