/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a relay ends: the end of a stream is passed on, and so is a failure, but behind what the side
 * that failed had said before. Linux sends a reset at once and forgets what is queued in the
 * socket, so the receiver's queue has to run empty first; that is bounded by a time without
 * movement.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "stats/stats.h"

/* A receiver that takes nothing of the last words for so long gets no more of them. */
#define RELAY_LAST_STILL_MS 5000
#define RELAY_LAST_LOOK_MAX_MS 64

/* Passes the end of the sender's stream on, once. */
enum relay_progress relay_pass_end(struct relay_dir *dir, bool *shut)
{
	int err;

	if (*shut)
		return RELAY_ENDED;
	err = io_shutdown_send(dir->to);
	if (err == -EAGAIN)
		return RELAY_AGAIN;
	*shut = true;
	/* ENOTCONN: the receiver has gone; its own direction tells how. */
	if (err && err != -ENOTCONN) {
		dir->error = err;
		return RELAY_TO_FAILED;
	}
	if (dir->received_bytes == dir->delivered_bytes)
		return RELAY_ENDED;
	stats_inc(STAT_RELAY_MISMATCHES);
	if (dir->carried)
		sockmap_turn_off("the byte counts of a stream differed at its end");
	return RELAY_ENDED;
}

void relay_note_failure(struct relay *relay, struct relay_dir *dir, enum relay_progress progress)
{
	struct io *failed = progress == RELAY_FROM_FAILED ? dir->from : dir->to;
	bool client_failed = failed == relay->up.from;

	relay->last = client_failed ? &relay->up : &relay->down;
	relay->last->is_last = true;
	relay->has_last_words = false;
	if (dir->error == -EIO) {
		io_arrange_reset(failed);
		relay->last_reason = CLOSE_INTERNAL;
	} else if (dir->error == -ENOMEM) {
		relay->last_reason = CLOSE_OUT_OF_MEMORY;
	} else if (dir->error == -EPROTO) {
		relay->last_reason = CLOSE_TLS_BROKEN;
	} else {
		relay->last_reason = client_failed ? CLOSE_CLIENT_RESET : CLOSE_ORIGIN_RESET;
		relay->has_last_words = relay->on_wake && !relay->last->to->failed;
		failed->readable = true; /* until it tells its error, or its end */
	}
}

static void relay_expire(struct timer *timer)
{
	struct relay *relay = container_of(timer, struct relay, last_timer);

	relay->on_wake(relay);
}

/* True: the timer is armed. False: the receiver has taken nothing for too long. */
static bool relay_wait_for_last(struct relay *relay, struct loop *loop, uint64_t taken_bytes)
{
	uint64_t now_ms = loop_now_ms(loop);

	if (!relay->last_timer.on_expiry) {
		timer_init(&relay->last_timer, relay_expire);
		relay->last_began_ms = now_ms;
		relay->last_moved_ms = now_ms;
	}
	if (taken_bytes != relay->last_taken_bytes) {
		relay->last_taken_bytes = taken_bytes;
		relay->last_moved_ms = now_ms;
	}
	if (now_ms - relay->last_moved_ms >= RELAY_LAST_STILL_MS)
		return false;
	/* As long again as it has waited already. */
	loop_timer_arm(loop, &relay->last_timer,
		       MIN(now_ms - relay->last_began_ms, (uint64_t)RELAY_LAST_LOOK_MAX_MS));
	return true;
}

/* Is something of what the receiver shall have still on its way to it? */
static bool relay_last_is_pending(struct relay *relay, struct loop *loop,
				  enum relay_progress progress)
{
	struct relay_dir *last = relay->last;
	int queued_bytes = 0;

	if (!relay->has_last_words || progress == RELAY_TO_FAILED || last->to->failed)
		return false;
	if (ioctl(last->to->watch.fd, SIOCOUTQ, &queued_bytes))
		return false;
	if (last->carried)
		carried_count(last);
	return (progress == RELAY_AGAIN || queued_bytes) &&
	       relay_wait_for_last(relay, loop, last->delivered_bytes - (uint64_t)queued_bytes);
}

enum relay_verdict relay_say_last_words(struct relay *relay, struct loop *loop,
					enum close_reason *ret_reason)
{
	enum relay_progress progress = RELAY_FROM_FAILED;

	if (relay->has_last_words)
		progress = relay_dir_pump(relay->last, loop);
	if (progress == RELAY_YIELD)
		return RELAY_BUSY;
	if (relay_last_is_pending(relay, loop, progress))
		return RELAY_RUNS;
	io_arrange_reset(relay->last->to); /* it cannot be told the truth otherwise */
	*ret_reason = relay->last_reason;
	return RELAY_BROKE;
}
