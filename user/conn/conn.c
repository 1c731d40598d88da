/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine: the only place that writes a connection's state, and the only place that ends
 * one. What is done in a state stands in conn_proxy.c, conn_hello.c, conn_splice.c and
 * conn_terminate.c.
 */
#include "conn/conn_internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bug.h"
#include "stats/stats.h"

#define TO(state) (1u << (CONN_##state))

static const unsigned int conn_allowed[CONN_STATE_MAX] = {
    [CONN_NEW] = TO(PROXY) | TO(HELLO) | TO(CONNECT) | TO(HANDSHAKE) | TO(HTTP) | TO(CLOSED),
    [CONN_PROXY] = TO(HELLO) | TO(CONNECT) | TO(HANDSHAKE) | TO(HTTP) | TO(CLOSED),
    [CONN_HELLO] = TO(CONNECT) | TO(HANDSHAKE) | TO(HTTP) | TO(CLOSED),
    [CONN_CONNECT] = TO(RELAY) | TO(CLOSED),
    [CONN_RELAY] = TO(CLOSED),
    [CONN_HANDSHAKE] = TO(CONNECT) | TO(HTTP) | TO(CLOSED),
    [CONN_HTTP] = TO(CLOSED),
    [CONN_CLOSED] = 0,
};

static enum conn_state (*const conn_steps[CONN_STATE_MAX])(struct conn *conn) = {
    [CONN_NEW] = conn_step_new,	    [CONN_PROXY] = conn_step_proxy,
    [CONN_HELLO] = conn_step_hello, [CONN_CONNECT] = conn_step_connect,
    [CONN_RELAY] = conn_step_relay, [CONN_HANDSHAKE] = conn_step_handshake,
    [CONN_HTTP] = conn_step_http,
};

struct loop *conn_loop(const struct conn *conn)
{
	return conn->lease->thread->loop;
}

void conn_arm(struct conn *conn, uint64_t delay_ms)
{
	loop_timer_arm(conn_loop(conn), &conn->timer, delay_ms);
}

/* Handshakes that are under way, and those that came to nothing. */
static void conn_count_handshake(const struct conn *conn, enum conn_state next)
{
	int change = (next == CONN_HANDSHAKE) - (conn->state == CONN_HANDSHAKE);

	if (!change)
		return;
	conn->lease->quotas[conn->listener->index]->n_handshakes += (size_t)change;
	stats_add(STAT_TLS_HANDSHAKES_OPEN, change);
	if (next == CONN_CLOSED)
		stats_inc(STAT_TLS_HANDSHAKES_FAILED);
}

static void conn_goto(struct conn *conn, enum conn_state next)
{
	const struct conf_listener *listener = conn->listener;

	BUG_ON(!(conn_allowed[conn->state] & (1u << next)));
	conn_count_handshake(conn, next);
	conn->state = next;
	timer_cancel(&conn->timer);
	if (next == CONN_PROXY || next == CONN_HELLO)
		conn_arm(conn, listener->hello_timeout_ms);
	else if (next == CONN_HANDSHAKE)
		conn_arm(conn, listener->handshake_timeout_ms);
	else if (next == CONN_RELAY)
		conn_arm(conn, MIN(listener->idle_timeout_ms, listener->half_closed_timeout_ms));
}

enum conn_state conn_end(struct conn *conn, enum close_reason reason)
{
	conn->reason = reason;
	return CONN_CLOSED;
}

void conn_set_detail(struct conn *conn, const char *detail)
{
	free(conn->detail);
	conn->detail = detail && *detail ? strdup(detail) : NULL;
}

void conn_run(struct conn *conn)
{
	enum conn_state next;

	if (conn->is_running) {
		conn->run_again = true;
		return;
	}
	conn->is_running = true;
	do {
		conn->run_again = false;
		next = conn_steps[conn->state](conn);
		if (next == CONN_CLOSED) {
			conn_close(conn, conn->reason);
			return;
		}
		if (next != conn->state) {
			conn_goto(conn, next);
			conn->run_again = true;
		}
	} while (conn->run_again);
	conn->is_running = false;
}

static void conn_client_event(struct watch *watch, uint32_t events)
{
	struct io *io = container_of(watch, struct io, watch);

	io_note_events(io, events);
	conn_run(container_of(io, struct conn, io));
}

static void conn_task_run(struct task *task)
{
	conn_run(container_of(task, struct conn, task));
}

static void conn_expire(struct timer *timer)
{
	struct conn *conn = container_of(timer, struct conn, timer);

	switch (conn->state) {
	case CONN_PROXY:
		conn_close(conn,
			   conn->lease->thread->is_draining ? CLOSE_SHUTDOWN : CLOSE_PROXY_TIMEOUT);
		return;
	case CONN_HELLO:
		conn_expire_hello(conn);
		return;
	case CONN_HANDSHAKE:
		conn_close(conn, CLOSE_HANDSHAKE_TIMEOUT);
		return;
	case CONN_RELAY:
		conn_expire_relay(conn);
		return;
	default:
		BUG_ON(true);
	}
}

static void conn_leave_thread(struct conn *conn)
{
	struct conn_thread *thread = conn->lease->thread;

	list_del(&conn->node);
	thread->n_open--;
	conn->lease->quotas[conn->listener->index]->n_open--;
	stats_add(STAT_CONNECTIONS_OPEN, -1);
	conn_lease_unref(conn->lease);
	if (thread->is_draining && thread->n_open == 0 && thread->on_drained)
		thread->on_drained(thread->drained_argument);
}

void conn_close(struct conn *conn, enum close_reason reason)
{
	conn->reason = reason;
	conn_goto(conn, CONN_CLOSED);
	/* Who finds it counted finds it in the log, too. */
	conn_log_closed(conn);
	stats_count_close(reason);
	task_cancel(&conn->task);
	conn_splice_done(conn);
	conn_terminate_done(conn);
	loop_forget(conn_loop(conn), &conn->io.watch);
	io_close(&conn->io);
	free(conn->destination);
	free(conn->sni);
	free(conn->alpn);
	free(conn->facts);
	conn_free_certificate(conn);
	free(conn->detail);
	conn_live_stop(conn);
	conn_give_place(conn);
	conn_peer_done(conn);
	conn_leave_thread(conn);
	free(conn);
}

/* Limits are shared out evenly, rounded up. */
static size_t conn_share(const struct conn_thread *thread, size_t limit)
{
	return (limit + thread->shared->n_threads - 1) / thread->shared->n_threads;
}

bool conn_has_room_for_handshake(const struct conn *conn)
{
	const struct conf_server_tls *tls = conn->listener->tls;

	return !tls->max_handshakes || conn->lease->quotas[conn->listener->index]->n_handshakes <
					   conn_share(conn->lease->thread, tls->max_handshakes);
}

/* May this listener of this thread have one more? */
static bool conn_has_room(const struct conn_thread *thread, const struct conf_listener *listener)
{
	size_t share = conn_share(thread, listener->max_connections);

	return thread->n_open < thread->shared->max_connections &&
	       thread->lease->quotas[listener->index]->n_open < share;
}

static struct conn *conn_new(struct conn_thread *thread, const struct conf_listener *listener,
			     int fd, const struct addr *peer)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	io_init_plain(&conn->io, fd);
	conn->io.watch.on_event = conn_client_event;
	conn->io.writable = true;
	conn->lease = thread->lease;
	conn->listener = listener;
	conn->accepted_ms = loop_now_ms(thread->loop);
	timer_init(&conn->timer, conn_expire);
	task_init(&conn->task, conn_task_run);
	if (conn_set_peer(conn, peer) ||
	    loop_watch(thread->loop, &conn->io.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP)) {
		conn_peer_done(conn);
		free(conn);
		return NULL;
	}
	return conn;
}

static void conn_join_thread(struct conn *conn)
{
	struct conn_thread *thread = conn->lease->thread;

	conn->lease->refs++;
	list_add_tail(&conn->node, &thread->conns);
	thread->n_open++;
	conn->lease->quotas[conn->listener->index]->n_open++;
	stats_inc(STAT_CONNECTIONS_ACCEPTED);
	stats_inc(STAT_CONNECTIONS_OPEN);
	if (!timer_is_armed(&thread->tick))
		conn_tick_start(thread);
}

void conn_accept(struct conn_thread *thread, size_t listener_index, int fd, const struct addr *peer)
{
	const struct conf_listener *listener =
	    &thread->lease->snapshot->conf->listeners[listener_index];
	bool has_room = conn_has_room(thread, listener);
	struct conn *conn = has_room ? conn_new(thread, listener, fd, peer) : NULL;

	if (!conn) {
		stats_count_close(has_room ? CLOSE_OUT_OF_MEMORY : CLOSE_LIMIT_CONNECTIONS);
		close(fd);
		return;
	}
	conn_join_thread(conn);
	conn_live_start(conn);
	conn_run(conn);
}
