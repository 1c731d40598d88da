/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who the client is: the peer of the socket, or whom a trusted proxy tells in a PROXY protocol
 * header, and whether that one may be here. From networks that are not trusted a header is not
 * looked for: there its bytes are the client's own.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "classify/proxy_protocol.h"
#include "conn/conn_internal.h"

#define CONN_DISCARD_ROUNDS 16

void conn_discard_input(struct conn *conn)
{
	ssize_t n;

	/* With MSG_TRUNC the kernel drops them without a copy (tcp(7)). A client that goes on
	 * sending cannot hold us here. */
	for (int i = 0; i < CONN_DISCARD_ROUNDS; i++) {
		n = recv(conn->io.watch.fd, NULL, LOOP_SCRATCH_BYTES, MSG_TRUNC | MSG_DONTWAIT);
		if (n <= 0)
			return;
	}
}

int conn_learn_destination(struct conn *conn)
{
	struct addr addr = {.len = sizeof(addr.un)};

	if (conn->destination)
		return 0;
	if (getsockname(conn->io.watch.fd, &addr.sa, &addr.len))
		return -errno;
	conn->destination = malloc(sizeof(addr));
	if (!conn->destination)
		return -ENOMEM;
	*conn->destination = addr;
	return 0;
}

enum conn_state conn_peek_failed(struct conn *conn, ssize_t n, enum conn_state state)
{
	if (n == 0)
		return conn_end(conn, CLOSE_CLIENT_ABORT);
	if (errno != EAGAIN)
		return conn_end(conn, CLOSE_CLIENT_RESET);
	conn->io.readable = false;
	return state;
}

enum conn_state conn_step_new(struct conn *conn)
{
	struct addr room;

	if (conf_nets_contain(&conn->listener->proxy_from, conn_peer(conn, &room)))
		return CONN_PROXY;
	return conn_admit(conn);
}

/* The client is another one from here on, unless the proxy speaks for itself. 0 or -errno. */
static int conn_take_told(struct conn *conn, const struct proxy_header *header)
{
	if (header->is_local)
		return 0;
	conn->destination = malloc(sizeof(*conn->destination));
	if (!conn->destination)
		return -ENOMEM;
	*conn->destination = header->destination;
	return conn_set_peer(conn, &header->source);
}

/* Takes exactly the header from the socket: what follows is the client's. */
static bool conn_consume(struct conn *conn, void *scratch, size_t len_bytes)
{
	ssize_t n = recv(conn->io.watch.fd, scratch, len_bytes, MSG_DONTWAIT);

	return n >= 0 && (size_t)n == len_bytes;
}

enum conn_state conn_step_proxy(struct conn *conn)
{
	char *scratch = loop_scratch(conn_loop(conn));
	struct proxy_header header = {.version = 0};
	ssize_t n;

	if (!conn->io.readable)
		return CONN_PROXY;
	n = recv(conn->io.watch.fd, scratch, PROXY_PROTOCOL_MAX_BYTES, MSG_PEEK | MSG_DONTWAIT);
	if (n <= 0)
		return conn_peek_failed(conn, n, CONN_PROXY);
	/* All that matters was seen: only a further segment, or the end, makes another event. */
	conn->io.readable = false;
	conn->peeked_bytes = (uint32_t)n;
	switch (proxy_protocol_parse((const uint8_t *)scratch, (size_t)n, &header)) {
	case PROXY_NEED_MORE:
		return conn->io.peer_closed ? conn_end(conn, CLOSE_CLIENT_ABORT) : CONN_PROXY;
	case PROXY_ABSENT:
		conn_set_detail(conn, "no PROXY protocol header");
		return conn_end(conn, CLOSE_PROXY_MALFORMED);
	case PROXY_MALFORMED:
		conn_set_detail(conn, "a damaged PROXY protocol header");
		return conn_end(conn, CLOSE_PROXY_MALFORMED);
	case PROXY_DONE:
		break;
	}
	if (conn_take_told(conn, &header))
		return conn_end(conn, CLOSE_OUT_OF_MEMORY);
	if (!conn_consume(conn, scratch, header.header_bytes))
		return conn_end(conn, CLOSE_CLIENT_RESET);
	conn->io.readable = true; /* more may be behind it */
	conn->peeked_bytes = 0;
	return conn_admit(conn);
}
