/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What people see of a connection while it is open: its slot in the live table, and what a slow
 * timer keeps fresh there. Counting is a store into mapped memory.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "conn/conn_internal.h"

#define CONN_TICK_MS 2000

/* All zero for UNIX sockets. */
static void live_set_addr(const struct addr *addr, __u8 bytes[16], __u16 *ret_port)
{
	memset(bytes, 0, 16);
	if (addr->len && addr->sa.sa_family == AF_INET) {
		memset(bytes + 10, 0xff, 2);
		memcpy(bytes + 12, &addr->in.sin_addr, 4);
	} else if (addr->len && addr->sa.sa_family == AF_INET6) {
		memcpy(bytes, &addr->in6.sin6_addr, 16);
	}
	*ret_port = addr_port(addr);
}

void conn_live_start(struct conn *conn)
{
	struct conn_thread *thread = conn->lease->thread;
	struct stream_value *live = flows_take(thread->shared->flows, thread->number);
	struct addr room;

	conn->live = live;
	if (!live)
		return;
	live_set_addr(conn_peer(conn, &room), live->client_addr, &live->client_port);
	live->listener = (__u32)conn->listener->index;
	live->created_ns = clock_now_us() * 1000;
	live->active_ns = live->created_ns;
}

void conn_live_route(struct conn *conn)
{
	struct stream_value *live = conn->live;
	struct addr room;

	if (!live)
		return;
	live_set_addr(conn_peer(conn, &room), live->client_addr, &live->client_port);
	live->route = (__u32)(conn->route - conn->listener->routes);
	live->lane =
	    conn->route->lane == CONF_LANE_SPLICE ? STREAM_LANE_SPLICE : STREAM_LANE_TERMINATE;
}

static __u8 live_tls(const struct io *io)
{
	struct tls_facts facts;

	if (io_is_plain(io))
		return STREAM_TLS_NONE;
	tls_get_facts(io, &facts);
	if (facts.kernel_send && facts.kernel_receive)
		return STREAM_TLS_KERNEL;
	return facts.kernel_send      ? STREAM_TLS_KERNEL_SEND
	       : facts.kernel_receive ? STREAM_TLS_KERNEL_RECEIVE
				      : STREAM_TLS_USER;
}

void conn_live_tls(struct conn *conn)
{
	const struct origin_conn *origin = conn_origin(conn);

	if (conn->live)
		conn->live->tls =
		    (__u8)(live_tls(&conn->io) | (origin ? live_tls(&origin->io) << 4 : 0));
}

static __u8 live_engine(const struct relay_dir *dir)
{
	switch (dir->engine) {
	case RELAY_ENGINE_COPY:
		return STREAM_ENGINE_COPY;
	case RELAY_ENGINE_PIPE:
		return STREAM_ENGINE_PIPE;
	case RELAY_ENGINE_SOCKMAP:
		return STREAM_ENGINE_SOCKMAP;
	default:
		return STREAM_ENGINE_NONE;
	}
}

static void live_set_why(struct stream_value *live, const char *why)
{
	if (!why)
		live->why[0] = 0;
	else if (strncmp(live->why, why, sizeof(live->why) - 1) != 0)
		snprintf(live->why, sizeof(live->why), "%s", why);
}

void conn_live_relayed(struct conn *conn)
{
	const struct conn_stream *stream = conn->stream;
	const struct relay_dir *up = &stream->relay.up, *down = &stream->relay.down;
	const struct relay_dir *busier = up->delivered_bytes > down->delivered_bytes ? up : down;
	struct stream_value *live = conn->live;

	if (!live)
		return;
	if (live->engine_up == STREAM_ENGINE_NONE)
		live_set_addr(origin_conn_addr(stream->origin), live->origin_addr,
			      &live->origin_port);
	live->engine_up = live_engine(up);
	live->engine_down = live_engine(down);
	live->bytes_up = up->delivered_bytes;
	live->bytes_down = down->delivered_bytes;
	live->active_ns = stream->active_ms * 1000000;
	live_set_why(live, busier->engine_reason ? busier->engine_reason
			   : busier == up	 ? down->engine_reason
						 : up->engine_reason);
}

void conn_live_request(struct conn *conn, const struct exchange_record *record)
{
	struct stream_value *live = conn->live;

	if (!live)
		return;
	live->bytes_up += record->request_bytes;
	live->bytes_down += record->response_bytes;
	live->active_ns = loop_now_ms(conn_loop(conn)) * 1000000;
	if (record->route)
		live->route = (__u32)(record->route - conn->listener->routes);
}

void conn_live_stop(struct conn *conn)
{
	struct conn_thread *thread = conn->lease->thread;

	flows_give(thread->shared->flows, thread->number, conn->live);
	conn->live = NULL;
}

static __u32 live_rtt_us(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);

	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) ? 0 : info.tcpi_rtt;
}

static void live_refresh(struct conn *conn, uint64_t now_ms)
{
	/* Since the last tick, which may have been a little late. */
	uint64_t lately_ns = (CONN_TICK_MS + CONN_TICK_MS / 8) * 1000000ULL;
	const struct origin_conn *origin = conn_origin(conn);
	bool is_active = conn->live && conn->live->active_ns + lately_ns > now_ms * 1000000;

	if (!is_active)
		return;
	conn->live->client_rtt_us = live_rtt_us(conn->io.watch.fd);
	if (origin)
		conn->live->origin_rtt_us = live_rtt_us(origin->io.watch.fd);
}

static void live_log_long(struct conn *conn, uint64_t now_ms)
{
	uint64_t interval_ms = conn->lease->snapshot->conf->log_interval_s * 1000ULL;
	struct conn_stream *stream = conn->stream;

	if (interval_ms == 0 || conn->state != CONN_RELAY)
		return;
	if (now_ms - MAX(stream->logged_ms, conn->accepted_ms) < interval_ms)
		return;
	stream->logged_ms = now_ms;
	conn_log_open(conn);
}

static void conn_tick(struct timer *timer)
{
	struct conn_thread *thread = container_of(timer, struct conn_thread, tick);
	uint64_t now_ms = loop_now_ms(thread->loop);

	list_for_each (node, &thread->conns) {
		struct conn *conn = container_of(node, struct conn, node);

		if (conn->state == CONN_RELAY)
			conn_refresh_relay(conn);
		live_refresh(conn, now_ms);
		live_log_long(conn, now_ms);
		conn_pace(conn);
	}
	if (!list_is_empty(&thread->conns))
		conn_tick_start(thread);
}

void conn_tick_init(struct conn_thread *thread)
{
	timer_init(&thread->tick, conn_tick);
}

void conn_tick_start(struct conn_thread *thread)
{
	loop_timer_arm(thread->loop, &thread->tick, CONN_TICK_MS);
}
