/* SPDX-License-Identifier: Apache-2.0 */
/* Two directions as one stream: ends are passed on one by one (half-close), a reset ends both. */
#include "relay/relay.h"

#include <errno.h>

#include "stats/stats.h"

void relay_init(struct relay *relay, struct io *client, struct io *origin, enum relay_engine wanted)
{
	*relay = (struct relay){0};
	relay_dir_init(&relay->up, client, origin, RELAY_NO_LIMIT, wanted);
	relay_dir_init(&relay->down, origin, client, RELAY_NO_LIMIT, wanted);
}

void relay_done(struct relay *relay)
{
	relay_dir_done(&relay->up);
	relay_dir_done(&relay->down);
}

bool relay_is_half_closed(const struct relay *relay)
{
	return relay->up_shut != relay->down_shut;
}

/* Passes the end of the sender's stream on, once. */
static enum relay_progress relay_pass_end(struct relay_dir *dir, bool *shut)
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
	if (dir->received_bytes != dir->delivered_bytes)
		stats_inc(STAT_RELAY_MISMATCHES);
	return RELAY_ENDED;
}

static enum relay_progress relay_pump_and_pass_end(struct relay_dir *dir, bool *shut,
						   struct loop *loop)
{
	enum relay_progress progress = *shut ? RELAY_ENDED : relay_dir_pump(dir, loop);

	return progress == RELAY_ENDED ? relay_pass_end(dir, shut) : progress;
}

static bool relay_has_failed(enum relay_progress progress)
{
	return progress == RELAY_FROM_FAILED || progress == RELAY_TO_FAILED;
}

/* The io that failed told why; the other end shall see a reset too, since it cannot be told the
 * truth otherwise. */
static enum relay_verdict relay_break(struct relay *relay, struct relay_dir *dir,
				      enum relay_progress progress, enum close_reason *ret_reason)
{
	struct io *failed = progress == RELAY_FROM_FAILED ? dir->from : dir->to;
	bool client_failed = failed == relay->up.from;

	io_arrange_reset(client_failed ? relay->up.to : relay->up.from);
	if (dir->error == -ENOMEM)
		*ret_reason = CLOSE_OUT_OF_MEMORY;
	else if (dir->error == -EPROTO)
		*ret_reason = CLOSE_TLS_BROKEN;
	else
		*ret_reason = client_failed ? CLOSE_CLIENT_RESET : CLOSE_ORIGIN_RESET;
	return RELAY_BROKE;
}

/* Whoever has ended its stream is read no more, so that a reset after it shows by the event alone.
 */
static enum relay_progress relay_note_late_reset(struct relay_dir *dir,
						 enum relay_progress progress)
{
	if (progress != RELAY_ENDED || !dir->from->failed)
		return progress;
	dir->error = -ECONNRESET;
	return RELAY_FROM_FAILED;
}

/* Both directions move before either is judged: of what a side said before it failed, what has come
 * is passed on. */
enum relay_verdict relay_run(struct relay *relay, struct loop *loop, enum close_reason *ret_reason)
{
	enum relay_progress up, down;

	up = relay_pump_and_pass_end(&relay->up, &relay->up_shut, loop);
	down = relay_pump_and_pass_end(&relay->down, &relay->down_shut, loop);
	if (up == RELAY_ENDED && down == RELAY_ENDED) {
		*ret_reason = CLOSE_DONE;
		return RELAY_OVER;
	}
	up = relay_note_late_reset(&relay->up, up);
	if (relay_has_failed(up))
		return relay_break(relay, &relay->up, up, ret_reason);
	down = relay_note_late_reset(&relay->down, down);
	if (relay_has_failed(down))
		return relay_break(relay, &relay->down, down, ret_reason);
	return up == RELAY_YIELD || down == RELAY_YIELD ? RELAY_BUSY : RELAY_RUNS;
}
