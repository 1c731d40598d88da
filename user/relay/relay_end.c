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
#include <stdlib.h>
#include <sys/ioctl.h>

#include "stats/stats.h"

/* A receiver that takes nothing of the last words for so long gets no more of them. */
#define RELAY_LAST_STILL_MS 5000
#define RELAY_LAST_LOOK_MAX_MS 64

/* Closing a plain socket whose stream was read to its end says the same. */
static bool relay_close_will_tell(const struct relay_dir *dir)
{
	return io_is_plain(dir->to) && !dir->carried;
}

enum relay_progress relay_pass_end(struct relay_dir *dir, bool *shut, bool other_shut)
{
	int err = 0;

	if (*shut)
		return RELAY_ENDED;
	if (!other_shut || !relay_close_will_tell(dir))
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

struct relay_last {
	struct relay *relay;
	struct relay_dir *dir; /* its sender has failed */
	bool has_words; /* that are still to be delivered */
	enum close_reason reason;
	struct timer timer;
	uint64_t taken_bytes; /* by the receiver, as it acknowledged */
	uint64_t moved_ms; /* when it did so; 0: nobody has looked */
	uint64_t began_ms;
};

/* Where there is no memory for it, nothing is waited for, and so one of the thread's does: it is
 * read before the next is written. */
static _Thread_local struct relay_last relay_last_in_need;

static void relay_expire(struct timer *timer)
{
	struct relay *relay = container_of(timer, struct relay_last, timer)->relay;

	relay->on_wake(relay);
}

static struct relay_last *relay_last_new(struct relay *relay, struct relay_dir *dir)
{
	struct relay_last *last = malloc(sizeof(*last));
	bool has_words = last && relay->on_wake && !dir->to->failed;

	if (!last)
		last = &relay_last_in_need;
	*last = (struct relay_last){.relay = relay, .dir = dir, .has_words = has_words};
	timer_init(&last->timer, relay_expire);
	return last;
}

void relay_last_done(struct relay *relay)
{
	if (!relay->last)
		return;
	timer_cancel(&relay->last->timer);
	if (relay->last != &relay_last_in_need)
		free(relay->last);
	relay->last = NULL;
}

void relay_note_failure(struct relay *relay, struct relay_dir *dir, enum relay_progress progress)
{
	struct io *failed = progress == RELAY_FROM_FAILED ? dir->from : dir->to;
	bool client_failed = failed == relay->up.from;
	struct relay_last *last = relay_last_new(relay, client_failed ? &relay->up : &relay->down);

	relay->last = last;
	last->dir->is_last = true;
	if (dir->error == -EIO || dir->error == -ENOMEM || dir->error == -EPROTO)
		last->has_words = false;
	if (dir->error == -EIO) {
		io_arrange_reset(failed);
		last->reason = CLOSE_INTERNAL;
	} else if (dir->error == -ENOMEM) {
		last->reason = CLOSE_OUT_OF_MEMORY;
	} else if (dir->error == -EPROTO) {
		last->reason = CLOSE_TLS_BROKEN;
	} else {
		last->reason = client_failed ? CLOSE_CLIENT_RESET : CLOSE_ORIGIN_RESET;
		failed->readable = true; /* until it tells its error, or its end */
	}
}

/* True: the timer is armed. False: the receiver has taken nothing for too long. */
static bool relay_wait_for_last(struct relay_last *last, struct loop *loop, uint64_t taken_bytes)
{
	uint64_t now_ms = loop_now_ms(loop);

	if (!last->moved_ms)
		last->began_ms = last->moved_ms = now_ms;
	if (taken_bytes != last->taken_bytes) {
		last->taken_bytes = taken_bytes;
		last->moved_ms = now_ms;
	}
	if (now_ms - last->moved_ms >= RELAY_LAST_STILL_MS)
		return false;
	/* As long again as it has waited already. */
	loop_timer_arm(loop, &last->timer,
		       MIN(now_ms - last->began_ms, (uint64_t)RELAY_LAST_LOOK_MAX_MS));
	return true;
}

/* Is something of what the receiver shall have still on its way to it? */
static bool relay_last_is_pending(struct relay_last *last, struct loop *loop,
				  enum relay_progress progress)
{
	struct relay_dir *dir = last->dir;
	int queued_bytes = 0;

	if (progress == RELAY_TO_FAILED || dir->to->failed)
		return false;
	if (ioctl(dir->to->watch.fd, SIOCOUTQ, &queued_bytes))
		return false;
	if (dir->carried)
		carried_count(dir);
	return (progress == RELAY_AGAIN || queued_bytes) &&
	       relay_wait_for_last(last, loop, dir->delivered_bytes - (uint64_t)queued_bytes);
}

enum relay_verdict relay_say_last_words(struct relay *relay, struct loop *loop,
					enum close_reason *ret_reason)
{
	struct relay_last *last = relay->last;

	if (last->has_words) {
		enum relay_progress progress = relay_dir_pump(last->dir, loop);

		if (progress == RELAY_YIELD)
			return RELAY_BUSY;
		if (relay_last_is_pending(last, loop, progress))
			return RELAY_RUNS;
	}
	io_arrange_reset(last->dir->to); /* it cannot be told the truth otherwise */
	*ret_reason = last->reason;
	return RELAY_BROKE;
}
