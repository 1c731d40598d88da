/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a stream in the sockmap over time: which events its sockets are to report, when
 * it goes back to user space, and whether the kernel does what it should.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "relay/relay_internal.h"
#include "stats/stats.h"

/* A stream is looked at so often while it moves, and more seldom while it does not. */
#define SOCKMAP_LOOK_MS 500
#define SOCKMAP_LOOK_MAX_MS 8000
/* The receiver has nothing queued, and still does not get what waits for it in the kernel. */
#define SOCKMAP_STALL_MS 5000
/* So many lags between two looks, half of those before included: the receiver is too slow. */
#define SOCKMAP_LAGS_MAX 4
/* More than this between two looks, in segments that are not small: bulk. */
#define SOCKMAP_BULK_BYTES (1 << 20)
/* A stream that says nothing for so long goes back: it holds a third more than a connection that is
 * not in it, and more in the kernel, too. */
#define SOCKMAP_IDLE_MS 30000
/* After each return to user space the stream has to prove so many times more that it chats. */
#define SOCKMAP_BACKOFF 8

#define EVENTS_ENDS EPOLLRDHUP
#define EVENTS_ALL (EPOLLIN | EPOLLOUT | EPOLLRDHUP)

/* ---- events ---- */

void relay_sockmap_event(struct relay_sockmap *stream)
{
	stream->lags++;
	stats_inc(STAT_RELAY_SOCKMAP_LAGS);
	stream->relay->on_wake(stream->relay);
}

void relay_sockmap_expire(struct timer *timer)
{
	struct relay_sockmap *stream = container_of(timer, struct relay_sockmap, timer);

	stream->relay->on_wake(stream->relay);
}

/* Each redirected segment would wake the thread for nothing if the loop waited for EPOLLIN. Both
 * sockets change together: what one direction still does needs either. */
static void stream_want_events(struct relay_sockmap *stream, bool quiet)
{
	struct io *client = stream->relay->up.from, *origin = stream->relay->up.to;
	uint32_t events = quiet ? EVENTS_ENDS : EVENTS_ALL;

	if (quiet == stream->is_quiet)
		return;
	if (loop_rewatch(stream->loop, &client->watch, events) ||
	    loop_rewatch(stream->loop, &origin->watch, events))
		return;
	stream->is_quiet = quiet;
	client->writable = true;
	origin->writable = true;
}

/* ---- looking after it ---- */

static void stream_leave_soon(struct relay_sockmap *stream, const char *why)
{
	if (stream->is_leaving)
		return;
	stream->is_leaving = true;
	stream->why_leaving = why;
}

static void stream_judge(struct relay_sockmap *stream, uint64_t moved_bytes, uint32_t segments)
{
	struct relay *relay = stream->relay;
	uint32_t small_max_bytes = relay->up.small_max_bytes;

	if (relay->wanted != RELAY_ENGINE_AUTO)
		return;
	if (stream->lags >= SOCKMAP_LAGS_MAX)
		stream_leave_soon(stream, "a receiver lagged behind in the sockmap");
	else if (moved_bytes >= SOCKMAP_BULK_BYTES &&
		 moved_bytes / MAX(segments, 1U) > small_max_bytes)
		stream_leave_soon(stream, "too many bytes for the sockmap");
}

/* Stands still: there is something to write, and the receiver has nothing left to acknowledge. */
static bool carried_stands(const struct relay_dir *dir)
{
	const struct relay_carried *carried = dir->carried;
	uint64_t missing_bytes;
	int queued_bytes = 0;

	if (ioctl(dir->to->watch.fd, SIOCOUTQ, &queued_bytes) || queued_bytes)
		return false;
	if (carried->watched_redirected + carried->sent_bytes > carried->written_bytes)
		return true;
	if (!carried->is_source || carried_missing(dir, &missing_bytes) || missing_bytes == 0)
		return false;
	carried_kick(dir);
	return true;
}

/* Returns the bytes that were redirected since the last look. */
static uint64_t carried_look(struct relay_dir *dir, uint64_t now_ms)
{
	struct relay_carried *carried = dir->carried;
	uint64_t redirected = carried_redirected(carried);
	uint64_t moved_bytes = redirected - carried->watched_redirected;
	bool moved;

	if (dir->from_ended)
		return 0;
	carried_count(dir);
	moved = moved_bytes || carried->written_bytes != carried->watched_written;
	carried->watched_redirected = redirected;
	carried->watched_written = carried->written_bytes;
	if (moved || !carried_stands(dir))
		carried->moved_ms = now_ms;
	if (now_ms - carried->moved_ms < SOCKMAP_STALL_MS)
		return moved_bytes;
	stats_inc(STAT_RELAY_SOCKMAP_STALLS);
	sockmap_turn_off("a stream stood still in it");
	carried->stream->is_broken = true;
	return moved_bytes;
}

static void stream_rest_if_idle(struct relay_sockmap *stream, uint64_t now_ms)
{
	uint64_t active_ms = relay_sockmap_active_ms(stream->relay);

	if (stream->relay->wanted != RELAY_ENGINE_AUTO || stream->is_leaving ||
	    now_ms < active_ms + SOCKMAP_IDLE_MS)
		return;
	stream_leave_soon(stream, "too little is said for the sockmap");
	stream->is_resting = true;
}

static void stream_look(struct relay_sockmap *stream, uint64_t now_ms)
{
	uint32_t segments = stream->dirs[0].shared->segments + stream->dirs[1].shared->segments;
	uint64_t moved_bytes =
	    carried_look(&stream->relay->up, now_ms) + carried_look(&stream->relay->down, now_ms);
	bool is_pending = stream->dirs[0].moved_ms != now_ms || stream->dirs[1].moved_ms != now_ms;

	stream_judge(stream, moved_bytes, segments - stream->watched_segments);
	stream_rest_if_idle(stream, now_ms);
	stream->watched_segments = segments;
	stream->lags /= 2;
	stream->looked_ms = now_ms;
	if (moved_bytes || is_pending)
		stream->look_pause_ms = SOCKMAP_LOOK_MS;
	else
		stream->look_pause_ms = MIN(2 * stream->look_pause_ms, SOCKMAP_LOOK_MAX_MS);
}

static void stream_look_if_due(struct relay_sockmap *stream, uint64_t now_ms)
{
	if (!stream->look_pause_ms) { /* new */
		stream->look_pause_ms = SOCKMAP_LOOK_MS;
		stream->looked_ms = now_ms;
		stream->dirs[0].moved_ms = now_ms;
		stream->dirs[1].moved_ms = now_ms;
	} else if (now_ms - stream->looked_ms >= stream->look_pause_ms) {
		stream_look(stream, now_ms);
	} else {
		stream_judge(stream, 0, 0);
	}
}

static void relay_left_sockmap(struct relay *relay, bool is_resting)
{
	if (is_resting)
		return; /* it may come back as it came */
	if (relay->wanted == RELAY_ENGINE_SOCKMAP)
		relay->may_sockmap = false;
	else if (relay->chat_messages <= UINT32_MAX / SOCKMAP_BACKOFF)
		relay->chat_messages *= SOCKMAP_BACKOFF;
}

static void stream_arm(struct relay_sockmap *stream, uint64_t now_ms)
{
	uint64_t due_ms = stream->looked_ms + stream->look_pause_ms;
	uint64_t delay_ms = due_ms > now_ms ? due_ms - now_ms : 0;

	if (stream->wants_retry)
		delay_ms = MIN(delay_ms, stream->retry_ms);
	else
		stream->retry_ms = 0;
	stream->wants_retry = false;
	loop_timer_arm(stream->loop, &stream->timer, delay_ms);
}

static bool stream_is_idle(const struct relay_sockmap *stream)
{
	const struct relay *relay = stream->relay;

	return (relay->up.from_ended || carried_is_idle(&relay->up)) &&
	       (relay->down.from_ended || carried_is_idle(&relay->down));
}

bool relay_sockmap_settle(struct relay *relay, struct loop *loop)
{
	struct relay_sockmap *stream = relay->sockmap;
	uint64_t now_ms = loop_now_ms(loop);

	stream_look_if_due(stream, now_ms);
	if (stream->is_leaving) {
		bool is_resting = stream->is_resting;

		stream_want_events(stream, false);
		if (!stream->is_quiet && relay_sockmap_leave(stream) == 0) {
			relay_left_sockmap(relay, is_resting);
			return true;
		}
		stream->retry_ms = stream->retry_ms ? stream->retry_ms : TIMER_TICK_MS;
		stream->wants_retry = true;
	} else {
		stream_want_events(stream, stream_is_idle(stream));
	}
	stream_arm(stream, now_ms);
	return stream->is_broken;
}

void relay_sockmap_refresh(struct relay *relay)
{
	carried_count(&relay->up);
	carried_count(&relay->down);
}

uint64_t relay_sockmap_active_ms(const struct relay *relay)
{
	const struct relay_sockmap *stream = relay->sockmap;
	uint64_t by_kernel_ns =
	    MAX(stream->dirs[0].shared->active_ns, stream->dirs[1].shared->active_ns);

	return MAX(stream->active_ms, by_kernel_ns / 1000000);
}
