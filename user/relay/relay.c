/* SPDX-License-Identifier: Apache-2.0 */
/* Two directions as one stream: ends are passed on one by one (half-close), a failure ends both;
 * how either is told is in relay_end.c. */
#include "relay/relay_internal.h"

#include <errno.h>

/* Built-in tuning; what was measured is in docs/relay.md. */
#define RELAY_CHAT_MESSAGES 8
#define RELAY_CHAT_MAX_BYTES 16384

static const struct conf_relay_tuning relay_default_tuning = {.sockmap = true};

void relay_init(struct relay *relay, struct io *client, struct io *origin, enum relay_engine wanted,
		const struct conf_relay_tuning *tuning)
{
	struct relay_dir *dirs[2] = {&relay->up, &relay->down};

	if (!tuning)
		tuning = &relay_default_tuning;
	*relay = (struct relay){.wanted = wanted,
				.may_sockmap = wanted >= RELAY_ENGINE_SOCKMAP && tuning->sockmap,
				.window_bytes = tuning->sockmap_window_bytes};
	relay->chat_messages = tuning->chat_messages ? tuning->chat_messages : RELAY_CHAT_MESSAGES;
	relay_dir_init(&relay->up, client, origin, RELAY_NO_LIMIT, wanted);
	relay_dir_init(&relay->down, origin, client, RELAY_NO_LIMIT, wanted);
	for (int i = 0; i < 2; i++) {
		if (tuning->bulk_bytes)
			dirs[i]->bulk_bytes = tuning->bulk_bytes;
		dirs[i]->small_max_bytes =
		    tuning->chat_max_bytes ? tuning->chat_max_bytes : RELAY_CHAT_MAX_BYTES;
		dirs[i]->may_tide = io_is_plain(dirs[i]->from);
		if (wanted == RELAY_ENGINE_SOCKMAP && !tuning->sockmap)
			dirs[i]->engine_reason = "sockmap is turned off";
	}
}

void relay_done(struct relay *relay)
{
	relay_last_done(relay);
	relay_sockmap_done(relay);
	relay_dir_done(&relay->up);
	relay_dir_done(&relay->down);
}

void relay_refresh(struct relay *relay)
{
	if (relay->sockmap)
		relay_sockmap_refresh(relay);
}

uint64_t relay_active_ms(const struct relay *relay, const struct loop *loop)
{
	uint64_t now_ms = loop_now_ms(loop);

	/* The kernel may have moved bytes since the loop looked at the clock. */
	return relay->sockmap ? MIN(relay_sockmap_active_ms(relay), now_ms) : now_ms;
}

bool relay_is_half_closed(const struct relay *relay)
{
	return relay->up_shut != relay->down_shut;
}

static bool relay_has_failed(enum relay_progress progress)
{
	return progress == RELAY_FROM_FAILED || progress == RELAY_TO_FAILED;
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

static bool relay_wants_sockmap(const struct relay *relay)
{
	if (relay->sockmap || !relay->may_sockmap || !relay->on_wake)
		return false;
	/* An end that is still to be passed on, or was: the other direction alone is left. */
	if (relay->up.from_ended || relay->down.from_ended)
		return false;
	return relay->wanted == RELAY_ENGINE_SOCKMAP ||
	       (relay->up.engine == RELAY_ENGINE_COPY && relay->down.engine == RELAY_ENGINE_COPY &&
		relay->up.small_messages >= relay->chat_messages &&
		relay->down.small_messages >= relay->chat_messages);
}

/* True: it is there now. */
static bool relay_enter_sockmap(struct relay *relay, struct loop *loop)
{
	const char *why;
	int err = relay_sockmap_enter(relay, loop, &why);

	if (!err)
		return true;
	relay->may_sockmap = err == -EAGAIN;
	relay->up.engine_reason = why;
	relay->down.engine_reason = why;
	return false;
}

/* True: one has. The first to fail gives the reason. */
static bool relay_note_failures(struct relay *relay, enum relay_progress up,
				enum relay_progress down)
{
	if (relay_has_failed(up))
		relay_note_failure(relay, &relay->up, up);
	else if (relay_has_failed(down))
		relay_note_failure(relay, &relay->down, down);
	return relay->last != NULL;
}

/* Both directions move before either is judged, and an end is passed on after that: the end that a
 * socket shows once its error was told is none. */
enum relay_verdict relay_run(struct relay *relay, struct loop *loop, enum close_reason *ret_reason)
{
	enum relay_progress up, down;
	bool is_busy = false;

	if (relay->last)
		return relay_say_last_words(relay, loop, ret_reason);
	if (relay->wanted == RELAY_ENGINE_SOCKMAP && relay_wants_sockmap(relay))
		(void)relay_enter_sockmap(relay, loop);
	up = relay->up_shut ? RELAY_ENDED : relay_dir_pump(&relay->up, loop);
	down = relay->down_shut ? RELAY_ENDED : relay_dir_pump(&relay->down, loop);
	if (up != RELAY_ENDED || down != RELAY_ENDED) {
		up = relay_note_late_reset(&relay->up, up);
		down = relay_note_late_reset(&relay->down, down);
	}
	if (relay_note_failures(relay, up, down))
		return relay_say_last_words(relay, loop, ret_reason);
	if (up == RELAY_ENDED)
		up = relay_pass_end(&relay->up, &relay->up_shut, relay->down_shut);
	if (down == RELAY_ENDED)
		down = relay_pass_end(&relay->down, &relay->down_shut, relay->up_shut);
	if (up == RELAY_ENDED && down == RELAY_ENDED) {
		*ret_reason = CLOSE_DONE;
		return RELAY_OVER;
	}
	if (relay_note_failures(relay, up, down))
		return relay_say_last_words(relay, loop, ret_reason);
	if (relay->sockmap)
		is_busy = relay_sockmap_settle(relay, loop);
	else if (relay_wants_sockmap(relay)) /* what waited has been read */
		is_busy = relay_enter_sockmap(relay, loop);
	return is_busy || up == RELAY_YIELD || down == RELAY_YIELD ? RELAY_BUSY : RELAY_RUNS;
}
