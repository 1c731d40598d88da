/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from one io to another, by copying through user space, by splice(2) through a pooled pipe,
 * or by sockmap inside the kernel. One direction is a struct relay_dir; a struct relay is two of
 * them with half-close, reset and byte accounts, and the policy that moves it between engines. Logs
 * nothing.
 *
 * Nothing is held while a direction is idle: the copy engine reads into the loop's scratch and
 * keeps only what the receiver did not take (at most LOOP_SCRATCH_BYTES); a pipe goes back to the
 * thread's pool when it is empty.
 */
#ifndef PENSTOCK_RELAY_RELAY_H
#define PENSTOCK_RELAY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/io.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "penstock/limits.h"
#include "penstock/reasons.h"

enum relay_engine {
	RELAY_ENGINE_COPY,
	RELAY_ENGINE_PIPE,
	RELAY_ENGINE_SOCKMAP, /* of a whole struct relay only, and both ios plain TCP */
	RELAY_ENGINE_AUTO, /* only a wish: copy at first, the pipe when a direction turns out to be
			      bulk, sockmap when both carry many small messages */
	RELAY_ENGINE_MAX
};

const char *relay_engine_word(enum relay_engine engine);

enum relay_progress {
	RELAY_AGAIN, /* waits for an event on either io */
	RELAY_YIELD, /* more could move at once, but others have a turn first: pump again from a
			task */
	RELAY_LIMIT, /* all of the limit was delivered to the receiver */
	RELAY_ENDED, /* the sender ended its stream, and all of it was delivered */
	RELAY_FROM_FAILED, /* relay_dir.error says how; what was received before may be undelivered
			    */
	RELAY_TO_FAILED,
};

#define RELAY_NO_LIMIT UINT64_MAX

struct relay_dir {
	struct io *from;
	struct io *to;
	enum relay_engine engine; /* any but auto */
	bool may_promote; /* from copy to the pipe, once the traffic is bulk */
	bool may_tide; /* bulk may come in big portions: a whole struct relay only, plain sender */
	bool lacks_pipe; /* it is bulk, but there was none */
	bool from_ended;
	bool is_last; /* the sender has failed: what it had said may take time to be delivered */
	bool more_after; /* the sender of `to` has more to say after the limit: do not push the last
			    segment out */
	bool is_muted; /* the loop does not say that `from` is readable */
	uint8_t dry_reads; /* in a row, of what was not there to be spliced */
	uint8_t vain_pumps; /* in a row, with a receiver that takes nothing */
	const char *engine_reason; /* why this engine and not a faster one; constant; NULL: it is
				      the fastest */
	uint64_t limit_bytes; /* still to be received from `from` */
	uint64_t received_bytes;
	uint64_t delivered_bytes;
	int from_error; /* with from_ended: it failed, with this -errno; told when the pipe is empty
			 */
	int error; /* -errno of *_FAILED */
	char *kept; /* bytes that `to` did not take yet */
	uint32_t kept_offset;
	uint32_t kept_len;
	struct relay_pipe *pipe; /* NULL: none is held */
	uint64_t bulk_bytes; /* so many received in a row, in reads that are not small: bulk */
	uint64_t bulk_run_bytes;
	uint32_t small_max_bytes;
	uint32_t small_messages; /* in a row, no larger than that */
	struct relay_carried *carried; /* sockmap engine; else NULL */
	struct relay_tide *tide; /* once it was bulk through a pipe; NULL: not, or no memory */
};

/* `wanted` is what the route asks for; where the ios cannot do it, copy is used and engine_reason
 * says why. */
void relay_dir_init(struct relay_dir *dir, struct io *from, struct io *to, uint64_t limit_bytes,
		    enum relay_engine wanted);

/* Frees what is held, delivered or not. */
void relay_dir_done(struct relay_dir *dir);

/* Moves what can be moved now, within a share that is fair to other streams of the loop. */
enum relay_progress relay_dir_pump(struct relay_dir *dir, struct loop *loop) MUST_CHECK;

/* Received and not yet delivered. */
static inline uint64_t relay_dir_held(const struct relay_dir *dir)
{
	return dir->received_bytes - dir->delivered_bytes;
}

/* Two directions between a client and an origin, until both have ended. */
struct relay {
	struct relay_dir up; /* client to origin */
	struct relay_dir down; /* origin to client */
	/* Set by the owner before the first relay_run(): something has happened, or time has gone
	 * by; it shall call relay_run(). NULL: no sockmap, and no last words. */
	void (*on_wake)(struct relay *relay);
	enum relay_engine wanted;
	bool up_shut; /* the end of the stream was passed on */
	bool down_shut;
	bool may_sockmap;
	uint32_t chat_messages; /* both directions: sockmap pays */
	uint32_t window_bytes; /* of sockmap */
	struct relay_sockmap *sockmap; /* NULL: not in it */
	struct relay_last *last; /* a side has failed; NULL: neither has */
};

enum relay_verdict {
	RELAY_RUNS, /* waits for an event on either io */
	RELAY_BUSY, /* call relay_run() again from a task */
	RELAY_OVER, /* both directions ended, all bytes delivered; the end that came last may be
			told by the close alone */
	RELAY_BROKE, /* one side failed; the other has what it had said, or would not take it, and
			its close will be a reset */
};

/* `tuning` NULL, or a zero in it: the built-in value. */
void relay_init(struct relay *relay, struct io *client, struct io *origin, enum relay_engine wanted,
		const struct conf_relay_tuning *tuning);

/* Before the ios are closed. */
void relay_done(struct relay *relay);

/* Moves both directions. `ret_reason` is set for RELAY_OVER and RELAY_BROKE. */
enum relay_verdict relay_run(struct relay *relay, struct loop *loop,
			     enum close_reason *ret_reason) MUST_CHECK;

/* One direction has ended, the other has not. */
bool relay_is_half_closed(const struct relay *relay);

/* Brings the byte counts of what the kernel carries up to date. */
void relay_refresh(struct relay *relay);

/* When bytes last moved, as far as relay_refresh() saw; on the loop's clock, and never later than
 * its now. */
uint64_t relay_active_ms(const struct relay *relay, const struct loop *loop);

/* Frees what the calling thread holds: pipes, its part of the sockmap. Before its loop goes. */
void relay_thread_done(void);

/* ---- pipes, for the whole process ---- */

/* Carries a MiB over loopback by splice(2); where it does not come as it was sent, no relay uses
 * pipes. Before there are threads. */
void relay_pipe_prove(void);

/* NULL: relays may use pipes. Else why not; the text stays. */
const char *relay_pipe_why_not(void);

/* ---- sockmap, for the whole process ---- */

/* Descriptors of the maps that plane_splice_open() made; no capability is needed to use them. */
struct relay_sockmap_maps {
	int src, tgt, ids, dirs;
	unsigned int n_rings; /* threads that can use it */
	int rings[PENSTOCK_MAX_THREADS];
};

/* New relays may use the maps from now on; owns the descriptors, on failure too. Once. 0 or -errno.
 */
int relay_sockmap_open(const struct relay_sockmap_maps *maps) MUST_CHECK;

/* Has no effect once it was opened. `why`, which is copied, is what relay_sockmap_why_not() says.
 */
void relay_sockmap_refuse(const char *why);

/* NULL: new relays may use sockmap. Else why not; the text stays. */
const char *relay_sockmap_why_not(void);

/* What the watchdog found, once: then sockmap was turned off for new relays. NULL: nothing. */
const char *relay_sockmap_take_alarm(void);

/* When no thread uses it any more; for tests. */
void relay_sockmap_close(void);

#endif
