/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One wish for a connection, from the pool or by connecting: server after server until one accepts,
 * or all that may be tried have failed. Nothing of a request has been sent meanwhile, so trying
 * again is always safe.
 */
#include "origin/origin_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stats/stats.h"

#define ORIGIN_MAX_TRIES 3

struct origin_attempt {
	struct origin_request *request;
	struct origin *origin;
	struct origin_conn *conn; /* NULL between tries */
	struct timer timer;
	size_t server;
	size_t tries_left;
	bool is_connected;
	enum close_reason reason; /* of the last failure */
	char detail[256];
};

static void origin_attempt_try(struct origin_attempt *attempt);

static void origin_attempt_free(struct origin_attempt *attempt)
{
	timer_cancel(&attempt->timer);
	if (attempt->conn)
		origin_discard(attempt->conn);
	origin_state_unref(attempt->origin->state);
	free(attempt);
}

static void origin_attempt_fail(struct origin_attempt *attempt)
{
	struct origin_request *request = attempt->request;
	enum close_reason reason = attempt->reason;
	char detail[sizeof(attempt->detail)];

	memcpy(detail, attempt->detail, sizeof(detail));
	request->attempt = NULL;
	origin_attempt_free(attempt);
	request->on_ready(request, NULL, reason, detail);
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
	stats_inc(STAT_ORIGIN_CONNECTS);
	request->on_ready(request, conn, CLOSE_DONE, NULL);
}

/* Notes why this server would not do, and goes on to the next. */
static void origin_attempt_next(struct origin_attempt *attempt, enum close_reason reason,
				const char *why)
{
	attempt->reason = reason;
	snprintf(attempt->detail, sizeof(attempt->detail), "%s: %s",
		 attempt->origin->state->servers[attempt->server].text, why);
	stats_inc(STAT_ORIGIN_CONNECT_FAILURES);
	timer_cancel(&attempt->timer);
	if (attempt->conn) {
		origin_discard(attempt->conn);
		attempt->conn = NULL;
	}
	if (attempt->tries_left == 0)
		origin_attempt_fail(attempt);
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

static void origin_attempt_errno(struct origin_attempt *attempt, int error)
{
	origin_attempt_next(attempt, origin_reason_of_errno(error), strerror(error));
}

static void origin_attempt_shake(struct origin_attempt *attempt)
{
	struct io *io = &attempt->conn->io;

	switch (tls_handshake(io)) {
	case TLS_AGAIN:
		return;
	case TLS_READY:
		stats_inc(io->why_not_kernel ? STAT_KTLS_REFUSED : STAT_KTLS_HANDOVERS);
		origin_attempt_succeed(attempt);
		return;
	case TLS_UNVERIFIED:
		origin_attempt_next(attempt, CLOSE_ORIGIN_UNVERIFIED, tls_error(io));
		return;
	case TLS_FAILED:
		origin_attempt_next(attempt, CLOSE_ORIGIN_TLS_FAILED, tls_error(io));
		return;
	}
}

static void origin_attempt_connected(struct origin_attempt *attempt)
{
	struct origin *origin = attempt->origin;

	attempt->is_connected = true;
	attempt->conn->io.writable = true;
	if (!origin->tls) {
		origin_attempt_succeed(attempt);
		return;
	}
	if (tls_start_client(&attempt->conn->io, origin->tls,
			     origin->conf->servers[attempt->server].host,
			     origin->state->table->loop))
		origin_attempt_errno(attempt, ENOMEM);
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
	if (getsockopt(conn->io.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error)
		origin_attempt_errno(attempt, error);
	else
		origin_attempt_connected(attempt);
}

static void origin_attempt_expire(struct timer *timer)
{
	struct origin_attempt *attempt = container_of(timer, struct origin_attempt, timer);

	origin_attempt_next(attempt, CLOSE_ORIGIN_CONNECT_TIMEOUT,
			    attempt->is_connected ? "TLS handshake timed out"
						  : "connect timed out");
}

/* 0: connected; -EINPROGRESS; another -errno: this try is over. */
static int origin_attempt_open(struct origin_attempt *attempt)
{
	struct origin_state *state = attempt->origin->state;
	const struct addr *addr = &state->servers[attempt->server].addr;
	struct io *io;
	int err;

	attempt->conn = origin_conn_new(attempt->origin, attempt->server);
	if (!attempt->conn)
		return -errno;
	attempt->conn->owner = attempt;
	attempt->conn->on_event = origin_attempt_event;
	io = &attempt->conn->io;
	/* Registered only once connecting: epoll tells of a fresh socket that it is hung up. */
	err = connect(io->watch.fd, &addr->sa, addr->len) ? -errno : 0;
	if (err && err != -EINPROGRESS)
		return err;
	return loop_watch(state->table->loop, &io->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP) ?: err;
}

static void origin_attempt_try(struct origin_attempt *attempt)
{
	int err;

	attempt->tries_left--;
	attempt->is_connected = false;
	attempt->server = origin_balance(attempt->origin->state, attempt->server);
	err = origin_attempt_open(attempt);
	if (err && err != -EINPROGRESS) {
		origin_attempt_errno(attempt, -err);
		return;
	}
	loop_timer_arm(attempt->origin->state->table->loop, &attempt->timer,
		       attempt->origin->conf->connect_timeout_ms);
	if (!err)
		origin_attempt_connected(attempt);
}

void origin_acquire(struct origin *origin, struct origin_request *request)
{
	struct origin_conn *conn = request->fresh ? NULL : origin_pool_take(origin->state);
	struct origin_attempt *attempt;

	request->attempt = NULL;
	if (conn) {
		stats_inc(STAT_ORIGIN_REUSES);
		request->on_ready(request, conn, CLOSE_DONE, NULL);
		return;
	}
	attempt = calloc(1, sizeof(*attempt));
	if (!attempt) {
		request->on_ready(request, NULL, CLOSE_OUT_OF_MEMORY, "out of memory");
		return;
	}
	attempt->request = request;
	attempt->origin = origin;
	attempt->server = SIZE_MAX;
	attempt->tries_left = MIN(origin->state->n_servers, (size_t)ORIGIN_MAX_TRIES);
	timer_init(&attempt->timer, origin_attempt_expire);
	origin_state_ref(origin->state);
	request->attempt = attempt;
	origin_attempt_try(attempt);
}

void origin_cancel(struct origin_request *request)
{
	struct origin_attempt *attempt = request->attempt;

	if (!attempt)
		return;
	request->attempt = NULL;
	origin_attempt_free(attempt);
}
