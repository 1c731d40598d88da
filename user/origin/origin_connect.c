/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One wish for a connection, from the pool or by connecting: server after server until one accepts,
 * or all that may be tried have failed. Nothing of a request has been sent meanwhile, so trying
 * again is always safe.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin/origin_internal.h"
#include "stats/stats.h"

static void origin_attempt_try(struct origin_attempt *attempt);

static void origin_attempt_free(struct origin_attempt *attempt)
{
	origin_queue_leave(attempt);
	timer_cancel(&attempt->timer);
	if (attempt->conn)
		origin_discard(attempt->conn);
	origin_state_unref(attempt->origin->state);
	free(attempt);
}

void origin_attempt_fail(struct origin_attempt *attempt, enum close_reason reason,
			 const char *detail)
{
	struct origin_request *request = attempt->request;
	char text[sizeof(attempt->detail)];

	snprintf(text, sizeof(text), "%s", detail ? detail : attempt->detail);
	request->attempt = NULL;
	origin_attempt_free(attempt);
	request->on_ready(request, NULL, reason, text);
}

void origin_attempt_give_up(struct origin_attempt *attempt)
{
	char text[sizeof(attempt->detail)];

	if (attempt->wish.n_tried) {
		origin_attempt_fail(attempt, attempt->reason, NULL);
		return;
	}
	origin_describe(attempt->origin, text, sizeof(text));
	origin_attempt_fail(attempt, CLOSE_ORIGIN_DOWN, text);
}

static void origin_attempt_succeed(struct origin_attempt *attempt)
{
	struct origin_request *request = attempt->request;
	struct origin_conn *conn = attempt->conn;

	attempt->conn = NULL;
	request->attempt = NULL;
	origin_attempt_free(attempt);
	conn->on_event = NULL;
	conn->owner = NULL;
	stats_inc(conn->reused ? STAT_ORIGIN_REUSES : STAT_ORIGIN_CONNECTS);
	request->on_ready(request, conn, CLOSE_DONE, NULL);
}

/* What we ran out of ourselves says nothing about the server. */
static bool origin_is_servers_fault(enum close_reason reason)
{
	return reason != CLOSE_OUT_OF_DESCRIPTORS && reason != CLOSE_OUT_OF_MEMORY;
}

/* Notes why this server would not do, and goes on to the next. Owns the server's place where there
 * is no connection that does. */
static void origin_attempt_next(struct origin_attempt *attempt, struct origin_server *server,
				enum close_reason reason, const char *why)
{
	attempt->reason = reason;
	snprintf(attempt->detail, sizeof(attempt->detail), "%s: %s", server->text, why);
	stats_inc(STAT_ORIGIN_CONNECT_FAILURES);
	timer_cancel(&attempt->timer);
	if (origin_is_servers_fault(reason))
		origin_note_failure(attempt->origin, server, why);
	if (attempt->conn)
		origin_discard(attempt->conn);
	else
		origin_give_place(attempt->origin->state, server, attempt->origin->is_bounded);
	attempt->conn = NULL;
	if (attempt->wish.n_tried == attempt->max_tries)
		origin_attempt_give_up(attempt);
	else
		origin_attempt_try(attempt);
}

static enum close_reason origin_reason_of_errno(int error)
{
	switch (error) {
	case ETIMEDOUT:
		return CLOSE_ORIGIN_CONNECT_TIMEOUT;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EACCES:
		return CLOSE_ORIGIN_UNREACHABLE;
	case EMFILE:
	case ENFILE:
	case EADDRNOTAVAIL:
	case ENOBUFS:
		return CLOSE_OUT_OF_DESCRIPTORS;
	case ENOMEM:
		return CLOSE_OUT_OF_MEMORY;
	default:
		return CLOSE_ORIGIN_REFUSED;
	}
}

static void origin_attempt_errno(struct origin_attempt *attempt, struct origin_server *server,
				 int error)
{
	origin_attempt_next(attempt, server, origin_reason_of_errno(error), strerror(error));
}

static void origin_attempt_ready(struct origin_attempt *attempt)
{
	server_note_success(attempt->conn->server->shared);
	origin_attempt_succeed(attempt);
}

static void origin_count_handshake(const struct io *io)
{
	struct tls_facts facts;

	tls_get_facts(io, &facts);
	stats_inc(STAT_ORIGIN_TLS_HANDSHAKES);
	if (facts.resumed)
		stats_inc(STAT_ORIGIN_TLS_RESUMED);
}

static void origin_attempt_shake(struct origin_attempt *attempt)
{
	struct io *io = &attempt->conn->io;

	switch (tls_handshake(io)) {
	case TLS_AGAIN:
		return;
	case TLS_READY:
		origin_count_handshake(io);
		origin_attempt_ready(attempt);
		return;
	case TLS_UNVERIFIED:
		origin_attempt_next(attempt, attempt->conn->server, CLOSE_ORIGIN_UNVERIFIED,
				    tls_error(io));
		return;
	case TLS_FAILED:
		origin_attempt_next(attempt, attempt->conn->server, CLOSE_ORIGIN_TLS_FAILED,
				    tls_error(io));
		return;
	}
}

static bool origin_attempt_has_tls(const struct origin_attempt *attempt)
{
	return attempt->origin->tls && !attempt->request->is_passed;
}

static const char *origin_attempt_host(const struct origin_attempt *attempt)
{
	return attempt->origin->conf->servers[attempt->conn->server->index].host;
}

/* 0, -ENOMEM, or -EINVAL: there is no name to verify. Without memory for sessions every handshake
 * is a full one. */
static int origin_attempt_start_tls(struct origin_attempt *attempt)
{
	struct origin *origin = attempt->origin;
	struct origin_server *server = attempt->conn->server;
	struct io *io = &attempt->conn->io;
	int err = tls_start_client(io, origin->tls, origin_attempt_host(attempt),
				   origin->state->table->loop);

	if (err)
		return err;
	if (!server->sessions)
		server->sessions = tls_sessions_new();
	if (server->sessions)
		tls_resume(io, origin->tls, server->sessions);
	return 0;
}

static void origin_attempt_connected(struct origin_attempt *attempt)
{
	struct origin *origin = attempt->origin;
	int err;

	attempt->is_connected = true;
	attempt->conn->io.writable = true;
	err = origin_send_proxy_header(origin->conf, attempt->request->facts,
				       attempt->conn->io.watch.fd);
	if (err) {
		origin_attempt_errno(attempt, attempt->conn->server, -err);
		return;
	}
	if (!origin_attempt_has_tls(attempt)) {
		origin_attempt_ready(attempt);
		return;
	}
	err = origin_attempt_start_tls(attempt);
	if (err == -ENOMEM)
		origin_attempt_errno(attempt, attempt->conn->server, ENOMEM);
	else if (err)
		origin_attempt_next(attempt, attempt->conn->server, CLOSE_ORIGIN_UNVERIFIED,
				    "no name that its certificate could be verified against");
	else
		origin_attempt_shake(attempt);
}

static void origin_attempt_event(struct origin_conn *conn)
{
	struct origin_attempt *attempt = conn->owner;
	socklen_t len = sizeof(int);
	int error = 0;

	if (attempt->is_connected) {
		origin_attempt_shake(attempt);
		return;
	}
	if (!conn->io.writable)
		return;
	/* A connect that failed is told by EPOLLERR too. */
	if (conn->io.failed && getsockopt(conn->io.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error)
		origin_attempt_errno(attempt, conn->server, error);
	else
		origin_attempt_connected(attempt);
}

static void origin_attempt_expire(struct timer *timer)
{
	struct origin_attempt *attempt = container_of(timer, struct origin_attempt, timer);

	if (!attempt->conn) {
		origin_attempt_fail(attempt, CLOSE_ORIGIN_QUEUE_TIMEOUT,
				    attempt->wish.n_tried ? NULL : "all places stayed taken");
		return;
	}
	if (attempt->is_connected)
		stats_inc(STAT_ORIGIN_TLS_TIMEOUT);
	origin_attempt_next(attempt, attempt->conn->server, CLOSE_ORIGIN_CONNECT_TIMEOUT,
			    attempt->is_connected ? "TLS handshake timed out"
						  : "connect timed out");
}

/* 0: connected; -EINPROGRESS; another -errno: this try is over. */
static int origin_attempt_open(struct origin_attempt *attempt, struct origin_server *server)
{
	/* A PROXY header must go whole, and a SYN may take only part of it. */
	bool writes_first = (attempt->request->writes_first || origin_attempt_has_tls(attempt)) &&
			    attempt->origin->conf->proxy_protocol == CONF_PROXY_PROTOCOL_OFF;
	struct io *io;
	int err;

	attempt->conn = origin_conn_new(attempt->origin, server, writes_first);
	if (!attempt->conn)
		return -errno;
	attempt->conn->owner = attempt;
	attempt->conn->on_event = origin_attempt_event;
	io = &attempt->conn->io;
	/* Registered only once connecting: epoll tells of a fresh socket that it is hung up. */
	err = connect(io->watch.fd, &server->addr.sa, server->addr.len) ? -errno : 0;
	if (err && err != -EINPROGRESS)
		return err;
	return loop_watch(attempt->origin->state->table->loop, &io->watch,
			  EPOLLIN | EPOLLOUT | EPOLLRDHUP)
		   ?: err;
}

void origin_attempt_go(struct origin_attempt *attempt, struct origin_server *server)
{
	int err;

	attempt->wish.tried[attempt->wish.n_tried++] = server;
	attempt->is_connected = false;
	attempt->conn = attempt->request->fresh ? NULL
						: origin_pool_take(attempt->origin, server,
								   attempt->request->must_be_alive);
	if (attempt->conn) {
		origin_attempt_succeed(attempt);
		return;
	}
	err = origin_attempt_open(attempt, server);
	if (err && err != -EINPROGRESS) {
		origin_attempt_errno(attempt, server, -err);
		return;
	}
	loop_timer_arm(attempt->origin->state->table->loop, &attempt->timer,
		       attempt->origin->conf->connect_timeout_ms);
	if (!err)
		origin_attempt_connected(attempt);
}

static void origin_attempt_wait(struct origin_attempt *attempt)
{
	if (!origin_queue_enter(attempt))
		origin_attempt_fail(attempt, CLOSE_ORIGIN_QUEUE_FULL,
				    attempt->wish.n_tried ? NULL : "all places are taken");
}

static void origin_attempt_try(struct origin_attempt *attempt)
{
	struct origin_server *server;
	enum origin_choice choice = ORIGIN_FULL;

	if (!origin_queue_is_used(attempt->origin))
		choice = origin_choose(attempt->origin, &attempt->wish, &server);
	switch (choice) {
	case ORIGIN_CHOSEN:
		origin_attempt_go(attempt, server);
		return;
	case ORIGIN_FULL:
		origin_attempt_wait(attempt);
		return;
	case ORIGIN_NONE:
		origin_attempt_give_up(attempt);
		return;
	}
}

static struct origin_attempt *origin_attempt_new(struct origin *origin,
						 struct origin_request *request,
						 const struct origin_wish *wish)
{
	struct origin_attempt *attempt = calloc(1, sizeof(*attempt));

	if (!attempt)
		return NULL;
	attempt->request = request;
	attempt->origin = origin;
	attempt->wish = *wish;
	attempt->max_tries = MIN((size_t)origin->conf->retries, (size_t)ORIGIN_MAX_TRIES - 1) + 1;
	list_init(&attempt->node);
	timer_init(&attempt->timer, origin_attempt_expire);
	origin_state_ref(origin->state);
	request->attempt = attempt;
	return attempt;
}

/* The usual road: there is a place and a connection is kept, so nothing has to be remembered. */
static bool origin_acquire_idle(struct origin *origin, struct origin_request *request,
				const struct origin_wish *wish, struct origin_server **ret_server)
{
	struct origin_server *server = NULL;
	struct origin_conn *conn;

	*ret_server = NULL;
	if (origin_queue_is_used(origin) || origin_choose(origin, wish, &server) != ORIGIN_CHOSEN)
		return false;
	*ret_server = server;
	conn = request->fresh ? NULL : origin_pool_take(origin, server, request->must_be_alive);
	if (!conn)
		return false;
	stats_inc(STAT_ORIGIN_REUSES);
	request->on_ready(request, conn, CLOSE_DONE, NULL);
	return true;
}

void origin_acquire(struct origin *origin, struct origin_request *request)
{
	struct origin_wish wish = {0};
	struct origin_attempt *attempt;
	struct origin_server *server;

	request->attempt = NULL;
	wish.hash = request->client ? balance_hash_source(request->client)
				    : origin_random(origin->state->table);
	if (origin_acquire_idle(origin, request, &wish, &server))
		return;
	attempt = origin_attempt_new(origin, request, &wish);
	if (!attempt) {
		if (server)
			origin_give_place(origin->state, server, origin->is_bounded);
		request->on_ready(request, NULL, CLOSE_OUT_OF_MEMORY, "out of memory");
	} else if (server) {
		origin_attempt_go(attempt, server);
	} else {
		origin_attempt_try(attempt);
	}
}

void origin_cancel(struct origin_request *request)
{
	struct origin_attempt *attempt = request->attempt;

	if (!attempt)
		return;
	request->attempt = NULL;
	origin_attempt_free(attempt);
}
