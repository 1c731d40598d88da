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
	(void)n; /* the connection ends in any case */
	conn_discard_input(conn);
}

/* Before anything of the ClientHello is kept. */
static struct route_seen conn_seen_at_first(const struct conn *conn,
					    const struct client_hello *hello, struct addr *room)
{
	return (struct route_seen){
	    .is_tls = conn->is_tls,
	    .sni = str_from(hello->sni),
	    .alpn = hello->alpn,
	    .alpn_len = hello->alpn_len_bytes,
	    .source = conn_peer(conn, room),
	    .destination = conn->destination,
	};
}

/* What of the ClientHello somebody will ask for later. 0 or -ENOMEM. */
static int conn_keep_hello(struct conn *conn, const struct client_hello *hello)
{
	if (hello->sni[0]) {
		conn->sni = strdup(hello->sni);
		if (!conn->sni)
			return -ENOMEM;
	}
	if (hello->alpn_len_bytes == 0 || !conn->route)
		return 0;
	if (conf_route_is_stream(conn->route) && !conn->route->origin->proxy_protocol &&
	    !route_needs_certificate(conn->listener))
		return 0;
	conn->alpn = malloc(hello->alpn_len_bytes);
	if (!conn->alpn)
		return -ENOMEM;
	memcpy(conn->alpn, hello->alpn, hello->alpn_len_bytes);
	conn->alpn_len = (uint16_t)hello->alpn_len_bytes;
	return 0;
}

/* A stream's ALPN is its route's. Without one it is the listener's, unless that is HTTP's. */
static bool conn_route_answers_alpn(const struct conn *conn)
{
	if (!conf_route_is_stream(conn->route))
		return false;
	for (size_t i = 0; i < conn->listener->n_routes; i++)
		if (!conf_route_is_stream(&conn->listener->routes[i]))
			return true;
	return conn->route->n_alpn > 0;
}

static enum conn_state conn_start_tls(struct conn *conn)
{
	const struct conf_route *route = conn->route;

	if (!conn_has_room_for_handshake(conn))
		return conn_end(conn, CLOSE_LIMIT_HANDSHAKES);
	if (tls_start_server(&conn->io,
			     conn->lease->snapshot->server_contexts[conn->listener->index],
			     conn_loop(conn)))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	if (conn_route_answers_alpn(conn))
		tls_answer_alpn(&conn->io, route->alpn, route->n_alpn);
	return CONN_HANDSHAKE;
}

/* Why no route took bytes that are not TLS, where TLS is what was awaited. */
static void conn_explain_clear(struct conn *conn)
{
	const uint8_t *data = (const uint8_t *)loop_scratch(conn_loop(conn));

	if (!conn->listener->tls || conn->is_tls || conn->peeked_bytes == 0)
		return;
	conn_set_detail(conn, classify_is_ssl_request(data, conn->peeked_bytes)
				  ? "the client asks in the clear whether TLS is spoken, as "
				    "PostgreSQL's do; it must begin with TLS"
				  : "what the client sent is not TLS");
}

/* Where a connection whose first bytes are known goes. */
static enum conn_state conn_choose_lane(struct conn *conn, const struct client_hello *hello)
{
	struct addr peer;
	struct route_seen seen = conn_seen_at_first(conn, hello, &peer);

	conn->route = route_connection(conn->listener, &seen);
	if (conn_keep_hello(conn, hello))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	if (!conn->route) {
		conn_explain_clear(conn);
		if (conn->is_tls && conn->peeked_bytes)
			conn_refuse_name(conn);
		return conn_end(conn, CLOSE_NO_ROUTE);
	}
	conn_live_route(conn);
	if (conn->route->lane == CONF_LANE_TERMINATE && conn->is_tls)
		return conn_start_tls(conn);
	return conf_route_is_stream(conn->route) ? CONN_CONNECT : CONN_HTTP;
}

const struct conf_route *conn_find_stream_route(const struct conn *conn)
{
	struct addr peer;
	struct route_seen seen = conn_seen(conn, &peer);

	return route_stream(conn->listener, &seen);
}

static bool conn_is_allowed(const struct conn *conn)
{
	const struct conf_listener *listener = conn->listener;
	struct addr room;
	const struct addr *peer = conn_peer(conn, &room);

	if (conf_nets_contain(&listener->deny, peer))
		return false;
	return listener->allow.n_nets == 0 || conf_nets_contain(&listener->allow, peer);
}

enum conn_state conn_admit(struct conn *conn)
{
	static const struct client_hello no_hello;
	struct route_seen seen;
	struct addr peer;
	enum close_reason reason;

	if (!conn_is_allowed(conn)) {
		conn_discard_input(conn);
		return conn_end(conn, CLOSE_ACCESS_DENIED);
	}
	if (!conn_take_place(conn, &reason))
		return conn_end(conn, reason);
	if (route_needs_destination(conn->listener) && conn_learn_destination(conn))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	seen = conn_seen_at_first(conn, &no_hello, &peer);
	if (route_needs_client_hello(conn->listener, &seen))
		return CONN_HELLO;
	conn->is_tls = conn->listener->tls != NULL;
	return conn_choose_lane(conn, &no_hello);
}

/*
 * A client that says nothing may wait for the server's first word, as with SSH and MySQL. It is
 * passed on where bytes that are not TLS are. (HTTP has no such servers: there it is late.)
 */
static enum conn_state conn_choose_for_silent(struct conn *conn)
{
	static const struct client_hello no_hello;
	struct addr peer;
	struct route_seen seen = conn_seen_at_first(conn, &no_hello, &peer);
	const struct conf_route *route = route_connection(conn->listener, &seen);

	if (conn->lease->thread->is_draining)
		return conn_end(conn, CLOSE_SHUTDOWN);
	if (!route || !conf_route_is_stream(route))
		return conn_end(conn, CLOSE_HELLO_TIMEOUT);
	return conn_choose_lane(conn, &no_hello);
}

void conn_expire_hello(struct conn *conn)
{
	conn->hello_expired = true;
	conn->io.readable = true; /* a last look */
	conn_run(conn);
}

/*
 * The kernel wakes us no sooner than a further look can say more, so that a hello in tiny segments
 * costs no more than a whole one (SO_RCVLOWAT; the end of the stream wakes in any case).
 */
static void conn_wake_at(struct conn *conn, size_t n_bytes)
{
	int low_water = (int)MIN(n_bytes, (size_t)LOOP_SCRATCH_BYTES);

	setsockopt(conn->io.watch.fd, SOL_SOCKET, SO_RCVLOWAT, &low_water, sizeof(low_water));
	conn->has_low_water = n_bytes > 1;
}

static enum conn_state conn_await_hello(struct conn *conn)
{
	if (conn->io.peer_closed) /* a reset leaves what came before it to be read */
		return conn_end(conn, conn->io.failed ? CLOSE_CLIENT_RESET : CLOSE_CLIENT_ABORT);
	return conn->hello_expired ? conn_end(conn, CLOSE_HELLO_TIMEOUT) : CONN_HELLO;
}

enum conn_state conn_step_hello(struct conn *conn)
{
	char *scratch = loop_scratch(conn_loop(conn));
	struct client_hello hello = {0};
	ssize_t n;

	if (!conn->io.readable)
		return CONN_HELLO;
	n = recv(conn->io.watch.fd, scratch, LOOP_SCRATCH_BYTES, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN && conn->hello_expired) {
		conn->io.readable = false;
		return conn_choose_for_silent(conn);
	}
	if (n <= 0)
		return conn_peek_failed(conn, n, CONN_HELLO);
	/* All that is there was seen: only a further segment, or the end, makes another event. */
	conn->io.readable = false;
	conn->peeked_bytes = (uint32_t)n;
	switch (classify_client_hello((const uint8_t *)scratch, (size_t)n, &hello)) {
	case CLASSIFY_NEED_MORE:
		conn_wake_at(conn, classify_needed_bytes((const uint8_t *)scratch, (size_t)n));
		return conn_await_hello(conn);
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
	if (conn->has_low_water)
		conn_wake_at(conn, 1);
	return conn_choose_lane(conn, &hello);
}
