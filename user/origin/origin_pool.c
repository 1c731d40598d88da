/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to origins: made, kept while idle, closed. Any event on an idle one means that it is
 * no use any more. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "origin/origin_internal.h"
#include "stats/stats.h"

static void origin_conn_event(struct watch *watch, uint32_t events)
{
	struct io *io = container_of(watch, struct io, watch);
	struct origin_conn *conn = container_of(io, struct origin_conn, io);

	io_note_events(io, events);
	if (conn->on_event)
		conn->on_event(conn);
}

static uint64_t origin_tls_scope(const struct origin *origin)
{
	return origin->tls ? tls_client_ctx_scope(origin->tls) : 0;
}

struct origin_conn *origin_conn_new(struct origin *origin, struct origin_server *server,
				    bool writes_first)
{
	struct origin_conn *conn = calloc(1, sizeof(*conn));
	int fd;

	if (!conn) {
		errno = ENOMEM;
		return NULL;
	}
	fd = origin_socket(origin->conf, &server->addr, writes_first);
	if (fd < 0) {
		free(conn);
		errno = -fd;
		return NULL;
	}
	io_init_plain(&conn->io, fd);
	conn->io.watch.on_event = origin_conn_event;
	list_init(&conn->node);
	list_init(&conn->server_node);
	conn->state = origin->state;
	conn->server = server;
	conn->has_place = true;
	conn->has_group_place = origin->is_bounded;
	conn->tls_scope = origin_tls_scope(origin);
	conn->server_text = server->text;
	conn->keepalive_ms = origin->conf->keepalive_ms;
	/* A connection that told of one client is not for another's requests. */
	conn->max_idle = origin->conf->proxy_protocol ? 0 : origin->conf->max_idle;
	origin_server_ref(server);
	origin_state_ref(origin->state);
	return conn;
}

const struct addr *origin_conn_addr(const struct origin_conn *conn)
{
	return &conn->server->addr;
}

static void origin_conn_give_place(struct origin_conn *conn)
{
	if (conn->has_place)
		origin_give_place(conn->state, conn->server, conn->has_group_place);
	conn->has_place = false;
	conn->has_group_place = false;
}

void origin_discard(struct origin_conn *conn)
{
	struct origin_state *state = conn->state;

	loop_forget(state->table->loop, &conn->io.watch);
	io_close(&conn->io);
	origin_conn_give_place(conn);
	origin_server_unref(conn->server);
	free(conn);
	origin_state_unref(state);
}

static void origin_pool_remove(struct origin_conn *conn)
{
	list_del(&conn->node);
	list_del(&conn->server_node);
	conn->state->n_idle--;
	stats_add(STAT_ORIGIN_IDLE, -1);
}

/* Nothing may come on an idle connection but TLS tickets, which are read and kept: the end, or
 * bytes that nobody asked for, make it useless. */
static bool origin_is_alive(struct origin_conn *conn)
{
	char byte;

	return !conn->io.peer_closed && io_recv(&conn->io, &byte, sizeof(byte)) == -EAGAIN;
}

static void origin_idle_event(struct origin_conn *conn)
{
	if (!conn->io.readable || origin_is_alive(conn))
		return;
	origin_pool_remove(conn);
	origin_discard(conn);
}

static struct origin_conn *origin_pool_pop(struct origin_server *server)
{
	struct list *node = list_first(&server->idle);
	struct origin_conn *conn;

	if (!node)
		return NULL;
	conn = container_of(node, struct origin_conn, server_node);
	origin_pool_remove(conn);
	return conn;
}

/* RFC 9112, 9.3.1: a server may close at any time, and the loop tells only with its next events.
 * And what it was verified against may have been changed since. */
struct origin_conn *origin_pool_take(struct origin *origin, struct origin_server *server,
				     bool must_be_alive)
{
	struct origin_conn *conn = origin_pool_pop(server);

	while (conn && (conn->tls_scope != origin_tls_scope(origin) ||
			(must_be_alive && !origin_is_alive(conn)))) {
		origin_discard(conn);
		conn = origin_pool_pop(server);
	}
	if (!conn)
		return NULL;
	conn->has_place = true;
	conn->has_group_place = origin->is_bounded;
	conn->on_event = NULL;
	conn->reused = true;
	return conn;
}

/* One reference is this connection's: without others nobody will ever ask for it. */
static bool origin_is_worth_keeping(const struct origin_conn *conn)
{
	const struct origin_state *state = conn->state;

	return !conn->io.peer_closed && state->n_idle < conn->max_idle &&
	       state->refs > 1 + state->n_idle && conn->server->is_listed &&
	       server_state(conn->server->shared, loop_now_ms(state->table->loop)) == SERVER_UP;
}

void origin_release(struct origin_conn *conn)
{
	struct origin_state *state = conn->state;

	if (!origin_is_worth_keeping(conn)) {
		origin_discard(conn);
		return;
	}
	origin_conn_give_place(conn);
	conn->owner = NULL;
	conn->on_event = origin_idle_event;
	conn->idle_until_ms = loop_now_ms(state->table->loop) + conn->keepalive_ms;
	list_add_head(&conn->node, &state->idle);
	list_add_head(&conn->server_node, &conn->server->idle);
	state->n_idle++;
	stats_inc(STAT_ORIGIN_IDLE);
	if (!timer_is_armed(&state->idle_timer))
		loop_timer_arm(state->table->loop, &state->idle_timer, conn->keepalive_ms);
}

/* The list is in the order of release, so the oldest is last; one timer serves the whole pool. */
static void origin_pool_expire(struct timer *timer)
{
	struct origin_state *state = container_of(timer, struct origin_state, idle_timer);
	struct loop *loop = state->table->loop;
	uint64_t now_ms = loop_now_ms(loop);

	origin_state_ref(state);
	while (!list_is_empty(&state->idle)) {
		struct origin_conn *conn = container_of(state->idle.prev, struct origin_conn, node);

		if (conn->idle_until_ms > now_ms) {
			loop_timer_arm(loop, &state->idle_timer, conn->idle_until_ms - now_ms);
			break;
		}
		origin_pool_remove(conn);
		origin_discard(conn);
	}
	origin_state_unref(state);
}

void origin_pool_clear_server(struct origin_server *server)
{
	struct list *node;

	while ((node = list_first(&server->idle))) {
		struct origin_conn *conn = container_of(node, struct origin_conn, server_node);

		origin_pool_remove(conn);
		origin_discard(conn);
	}
}

void origin_pool_clear(struct origin_state *state)
{
	struct list *node;

	origin_state_ref(state);
	timer_cancel(&state->idle_timer);
	while ((node = list_first(&state->idle))) {
		struct origin_conn *conn = container_of(node, struct origin_conn, node);

		origin_pool_remove(conn);
		origin_discard(conn);
	}
	origin_state_unref(state);
}

void origin_pool_init(struct origin_state *state)
{
	list_init(&state->idle);
	timer_init(&state->idle_timer, origin_pool_expire);
}
