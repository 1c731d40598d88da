/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From accept to a lane. The ClientHello is peeked at and stays in the socket, so that whoever
 * serves the connection finds every byte.
 */
#include "conn/conn_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "classify/classify.h"
#include "route/route.h"

/* RFC 8446 section 6: a fatal alert, unrecognized_name (RFC 6066 section 3), before any key exists.
 */
static const unsigned char conn_alert_unrecognized_name[] = {21, 3, 1, 0, 2, 2, 112};

/* The client is told why; what it sent is read, since closing with unread bytes would reset the
 * alert away. */
static void conn_refuse_name(struct conn *conn)
{
	struct iovec part = {(void *)conn_alert_unrecognized_name,
			     sizeof(conn_alert_unrecognized_name)};
	ssize_t n;

	n = io_send(&conn->io, &part, 1, false);
	if (n > 0)
		n = io_recv(&conn->io, loop_scratch(conn_loop(conn)), LOOP_SCRATCH_BYTES);
	(void)n; /* the connection ends in any case */
}

/* Where a connection whose first bytes are known goes. */
static enum conn_state conn_choose_lane(struct conn *conn, const char *sni)
{
	struct tls_server_ctx *context =
	    conn->lease->snapshot->server_contexts[conn->listener->index];

	if (*sni) {
		conn->sni = strdup(sni);
		if (!conn->sni)
			return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	}
	conn->route = route_connection(conn->listener, conn->is_tls, str_from(sni));
	if (!conn->route) {
		if (conn->is_tls)
			conn_refuse_name(conn);
		return conn_end(conn, CLOSE_NO_ROUTE);
	}
	conn_live_route(conn);
	if (conn->route->lane == CONF_LANE_SPLICE)
		return CONN_CONNECT;
	if (!conn->is_tls)
		return CONN_HTTP;
	if (tls_start_server(&conn->io, context, conn_loop(conn)))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	return CONN_HANDSHAKE;
}

enum conn_state conn_step_new(struct conn *conn)
{
	if (route_needs_client_hello(conn->listener))
		return CONN_HELLO;
	conn->is_tls = conn->listener->tls != NULL;
	return conn_choose_lane(conn, "");
}

static enum conn_state conn_peek_failed(struct conn *conn, ssize_t n)
{
	if (n == 0)
		return conn_end(conn, CLOSE_CLIENT_ABORT);
	if (errno != EAGAIN)
		return conn_end(conn, CLOSE_CLIENT_RESET);
	conn->io.readable = false;
	return CONN_HELLO;
}

enum conn_state conn_step_hello(struct conn *conn)
{
	char *scratch = loop_scratch(conn_loop(conn));
	struct client_hello hello = {0};
	ssize_t n;

	if (!conn->io.readable)
		return CONN_HELLO;
	n = recv(conn->io.watch.fd, scratch, LOOP_SCRATCH_BYTES, MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0)
		return conn_peek_failed(conn, n);
	/* All that is there was seen: only a further segment, or the end, makes another event. */
	conn->io.readable = false;
	conn->peeked_bytes = (size_t)n;
	switch (classify_client_hello((const uint8_t *)scratch, (size_t)n, &hello)) {
	case CLASSIFY_NEED_MORE:
		return conn->io.peer_closed ? conn_end(conn, CLOSE_CLIENT_ABORT) : CONN_HELLO;
	case CLASSIFY_CLIENT_HELLO:
		conn->is_tls = true;
		break;
	case CLASSIFY_NOT_TLS:
		break;
	case CLASSIFY_MALFORMED:
		return conn_end(conn, CLOSE_HELLO_MALFORMED);
	case CLASSIFY_TOO_LARGE:
		return conn_end(conn, CLOSE_HELLO_TOO_LARGE);
	}
	conn->io.readable = true; /* peeked at is not read */
	return conn_choose_lane(conn, hello.sni);
}
