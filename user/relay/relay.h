/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes from one io to another, by copying through user space or by splice(2) through a pooled
 * pipe. One direction is a struct relay_dir; a struct relay is two of them with half-close, reset
 * and byte accounts. Logs nothing.
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
#include "penstock/reasons.h"

enum relay_engine {
	RELAY_ENGINE_COPY,
	RELAY_ENGINE_PIPE,
	RELAY_ENGINE_AUTO, /* only a wish: copy at first, the pipe when a direction turns out to be
			      bulk */
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
	enum relay_engine engine; /* copy or pipe */
	bool may_promote; /* from copy to the pipe, once the traffic is bulk */
	const char *engine_reason; /* why this engine and not a faster one; constant; NULL: it is
				      the fastest */
	uint64_t limit_bytes; /* still to be received from `from` */
	uint64_t received_bytes;
	uint64_t delivered_bytes;
	bool from_ended;
	int from_error; /* with from_ended: it failed, with this -errno; told when the pipe is empty
			 */
	bool more_after; /* the sender of `to` has more to say after the limit: do not push the last
			    segment out */
	int error; /* -errno of *_FAILED */
	char *kept; /* bytes that `to` did not take yet */
	size_t kept_offset;
	size_t kept_len;
	struct relay_pipe *pipe; /* NULL: none is held */
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
	bool up_shut; /* the end of the stream was passed on */
	bool down_shut;
};

enum relay_verdict {
	RELAY_RUNS, /* waits for an event on either io */
	RELAY_BUSY, /* call relay_run() again from a task */
	RELAY_OVER, /* both directions ended, all bytes delivered */
	RELAY_BROKE, /* one side failed; where it was a reset, the other side's close will be one */
};

void relay_init(struct relay *relay, struct io *client, struct io *origin,
		enum relay_engine wanted);
void relay_done(struct relay *relay);

/* Moves both directions. `ret_reason` is set for RELAY_OVER and RELAY_BROKE. */
enum relay_verdict relay_run(struct relay *relay, struct loop *loop,
			     enum close_reason *ret_reason) MUST_CHECK;

/* One direction has ended, the other has not. */
bool relay_is_half_closed(const struct relay *relay);

/* Frees the calling thread's pool of pipes. */
void relay_thread_done(void);

#endif
