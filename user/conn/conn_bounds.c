/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a source may have, and how fast a stream may be. Bandwidth is left to the kernel, by the
 * pacing of each socket (SO_MAX_PACING_RATE), so it holds for bytes that user space never sees.
 */
#include "conn/conn_internal.h"

bool conn_take_place(struct conn *conn, enum close_reason *ret_reason)
{
	const struct conf_source_limits *limits = &conn->listener->limits;
	struct limit_bounds source = {limits->connections, limits->rate_per_s};
	struct limit_bounds total = {.rate_per_s = limits->total_rate_per_s};
	struct limit_table *table = conn->lease->thread->shared->limits;
	uint64_t scope = conn->lease->quotas[conn->listener->index]->scope;
	enum limit_verdict verdict;
	struct addr room;
	bool is_counted;

	*ret_reason = CLOSE_LIMIT_RATE;
	if (total.rate_per_s) {
		verdict = limit_take(table, scope, NULL, &total, conn->accepted_ms, &is_counted);
		if (is_counted)
			limit_give(table, scope, NULL);
		if (verdict != LIMIT_OK)
			return false;
	}
	if (!source.connections && !source.rate_per_s)
		return true;
	verdict = limit_take(table, scope, conn_peer(conn, &room), &source, conn->accepted_ms,
			     &conn->is_counted);
	if (verdict == LIMIT_TOO_MANY)
		*ret_reason = CLOSE_LIMIT_SOURCE;
	return verdict == LIMIT_OK;
}

void conn_give_place(struct conn *conn)
{
	uint64_t scope = conn->lease->quotas[conn->listener->index]->scope;
	struct addr room;

	if (conn->is_counted)
		limit_give(conn->lease->thread->shared->limits, scope, conn_peer(conn, &room));
	conn->is_counted = false;
}

static uint32_t *conn_n_relays(const struct conn *conn)
{
	return &conn->lease->n_relays[conn->listener->index][conn->route - conn->listener->routes];
}

/* A thread's streams share the thread's part of what the route may have. */
static uint64_t conn_pacing_share(const struct conn *conn)
{
	uint64_t own = conn->route->bandwidth_bytes_per_s;
	uint64_t total = conn->route->route_bandwidth_bytes_per_s;
	uint64_t share;

	if (total == 0)
		return own;
	share =
	    MAX(total / conn->lease->thread->shared->n_threads / *conn_n_relays(conn), (uint64_t)1);
	return own ? MIN(own, share) : share;
}

void conn_pace(struct conn *conn)
{
	const struct origin_conn *origin = conn_origin(conn);
	uint64_t share;

	if (!origin || (conn->state != CONN_RELAY && conn->state != CONN_CONNECT))
		return;
	share = conn_pacing_share(conn);
	if (share == conn->stream->pacing_bytes_per_s)
		return;
	conn->stream->pacing_bytes_per_s = share;
	setsockopt(conn->io.watch.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &share, sizeof(share));
	setsockopt(origin->io.watch.fd, SOL_SOCKET, SO_MAX_PACING_RATE, &share, sizeof(share));
}

void conn_pace_start(struct conn *conn)
{
	++*conn_n_relays(conn);
	conn_pace(conn);
}

void conn_pace_stop(struct conn *conn)
{
	--*conn_n_relays(conn);
}
