/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockmap engine: the kernel hands bytes from socket to socket (bpf/splice.bpf.c), and user
 * space has the rest: what the program left to it, the end of each direction, taking the sockets
 * out. How they go in is in relay_sockmap_enter.c, the byte accounts in relay_sockmap_counts.c.
 * Which relays it is good for is decided in relay.c and relay_sockmap_policy.c.
 *
 * What has to be right, each with a test:
 * - Both sockets are targets before either is a source, or the first bytes meet no peer.
 * - Bytes that wait already are not seen by the program until the next segment comes: after the
 *   insert, setting SO_RCVLOWAT has the kernel look (tcp_set_rcvlowat()).
 * - It takes whole segments off the queue: no part of the first may have been read before.
 * - What it left (passed) goes before what comes after: the program leaves everything while
 *   passed != consumed, and we write only when the receiver has written all that was redirected.
 * - Bytes redirected and not written yet are in no queue that shutdown(2) knows: the end is passed
 *   on only when the receiver's count has reached the sender's.
 * - A socket leaves the map only when nothing is on its way through it, and no program runs: a
 *   SO_RCVLOWAT that is not reached keeps the program from running, and setting it waits for one
 *   that does.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "stats/stats.h"

/* More than can come while a socket is taken out; it sizes the receive buffer, too. */
#define SOCKMAP_QUIET_BYTES (256 << 10)
/* The kernel's writer is woken for each segment: most often it is done at once. */
#define SOCKMAP_SPINS 8
#define SOCKMAP_RETRY_MAX_MS 64

/* ---- in it ---- */

static enum relay_progress dir_from_failed(struct relay_dir *dir, int err)
{
	dir->error = err;
	return RELAY_FROM_FAILED;
}

static enum relay_progress dir_to_failed(struct relay_dir *dir, int err)
{
	dir->error = err;
	return RELAY_TO_FAILED;
}

/* What the kernel will have done soon, and tells nobody: at once a few times, then by timer. */
static enum relay_progress carried_retry(struct relay_dir *dir)
{
	struct relay_sockmap *stream = dir->carried->stream;

	if (dir->carried->retries++ < SOCKMAP_SPINS)
		return RELAY_YIELD;
	stream->retry_ms =
	    stream->retry_ms ? MIN(2 * stream->retry_ms, SOCKMAP_RETRY_MAX_MS) : TIMER_TICK_MS;
	stream->wants_retry = true;
	return RELAY_AGAIN;
}

static enum relay_progress carried_flush_or_wait(struct relay_dir *dir)
{
	int err = carried_flush(dir);

	if (err == -EAGAIN)
		return carried_retry(dir);
	return err ? dir_to_failed(dir, err) : RELAY_LIMIT;
}

/* Sends what is kept, or what is read now; RELAY_LIMIT: all of it is sent. */
static enum relay_progress carried_take_once(struct relay_dir *dir, struct loop *loop,
					     size_t *share_bytes)
{
	struct relay_carried *carried = dir->carried;
	uint64_t delivered_before = dir->delivered_bytes;
	enum relay_progress progress;
	ssize_t n;

	if (dir->kept_len) {
		progress = relay_dir_flush_kept(dir);
		carried->sent_bytes += dir->delivered_bytes - delivered_before;
		return progress;
	}
	n = io_recv(dir->from, loop_scratch(loop), LOOP_SCRATCH_BYTES);
	/* A reset takes away what was passed and not read. */
	if ((n == -EAGAIN || n == 0) && dir->from->failed)
		return dir_from_failed(dir, -ECONNRESET);
	/* Counted as passed, and only about to be queued: it will tell. */
	if (n == -EAGAIN || n == 0)
		return carried_retry(dir);
	if (n < 0)
		return dir_from_failed(dir, (int)n);
	carried->stream->active_ms = loop_now_ms(loop);
	carried->read_bytes += (uint64_t)n;
	dir->received_bytes += (uint64_t)n;
	*share_bytes -= MIN(*share_bytes, (size_t)n);
	progress = relay_dir_deliver(dir, loop_scratch(loop), (size_t)n);
	carried->sent_bytes += dir->delivered_bytes - delivered_before;
	return progress;
}

/* Relays what the program left to us. RELAY_LIMIT: there is nothing more. */
static enum relay_progress carried_take(struct relay_dir *dir, struct loop *loop)
{
	size_t share_bytes = RELAY_SHARE_BYTES;
	enum relay_progress progress = RELAY_LIMIT;

	while (progress == RELAY_LIMIT && !carried_is_idle(dir)) {
		if (share_bytes == 0)
			return RELAY_YIELD;
		if (!dir->to->writable)
			return RELAY_AGAIN;
		progress = carried_flush_or_wait(dir);
		if (progress == RELAY_LIMIT)
			progress = carried_take_once(dir, loop, &share_bytes);
		if (progress == RELAY_LIMIT) {
			dir->carried->retries = 0;
			if (carried_passed(dir->carried) == dir->carried->read_bytes)
				carried_publish(dir->carried);
		}
	}
	return progress;
}

/* The sender has ended: are all its bytes with the receiver? */
static enum relay_progress carried_end(struct relay_dir *dir)
{
	struct relay_carried *carried = dir->carried;
	uint64_t received_bytes = 0, written_bytes = 0;
	int err = sockmap_socket_received_all(dir->from->watch.fd, &received_bytes);

	if (err == -EAGAIN)
		return carried_retry(dir);
	if (err)
		return dir_from_failed(dir, err);
	received_bytes -= carried->from_base;
	err = carried_written(dir, true, &written_bytes);
	if (err == -EAGAIN)
		return carried_retry(dir);
	if (err)
		return dir_to_failed(dir, err);
	if (carried_redirected(carried) + carried->read_bytes < received_bytes ||
	    written_bytes < received_bytes)
		return carried_retry(dir);
	carried_note_written(dir, written_bytes); /* the exact count: this one is judged */
	dir->received_bytes = carried->received_base + received_bytes;
	dir->from_ended = true;
	return RELAY_ENDED;
}

/* What it said before it failed may still be on its way; whoever waits for that has a bound. */
static enum relay_progress carried_fail(struct relay_dir *dir)
{
	if (carried_flush(dir) == -EAGAIN)
		return carried_retry(dir);
	return dir_from_failed(dir, sockmap_socket_error(dir->from));
}

enum relay_progress relay_sockmap_pump(struct relay_dir *dir, struct loop *loop)
{
	enum relay_progress progress;

	if (dir->from_ended)
		return RELAY_ENDED;
	if (dir->carried->stream->is_broken)
		return dir_to_failed(dir, -EIO);
	if (dir->to->failed)
		return dir_to_failed(dir, sockmap_socket_error(dir->to));
	progress = carried_take(dir, loop);
	if (progress == RELAY_LIMIT && dir->from->failed)
		progress = carried_fail(dir);
	else if (progress == RELAY_LIMIT && dir->from->peer_closed)
		progress = carried_end(dir);
	if (progress == RELAY_LIMIT) {
		dir->carried->retries = 0;
		progress = RELAY_AGAIN;
	}
	return progress;
}

/* ---- going out ---- */

static bool dir_is_at_rest(struct relay_dir *dir)
{
	return dir->from_ended || (carried_is_idle(dir) && carried_flush(dir) == 0);
}

static void stream_set_low_water(struct relay_sockmap *stream, int bytes)
{
	relay_set_low_water(stream->relay->up.from->watch.fd, bytes);
	relay_set_low_water(stream->relay->down.from->watch.fd, bytes);
}

static bool stream_is_at_rest(struct relay_sockmap *stream)
{
	return dir_is_at_rest(&stream->relay->up) && dir_is_at_rest(&stream->relay->down);
}

static void dir_leave(struct relay_dir *dir, const char *why)
{
	carried_count(dir);
	dir->carried = NULL;
	dir->engine = RELAY_ENGINE_COPY;
	dir->engine_reason = why;
	dir->small_messages = 0;
	dir->from->readable = true;
	dir->from->writable = true;
}

static void sockmap_free(struct relay_sockmap *stream)
{
	timer_cancel(&stream->timer);
	stream->relay->sockmap = NULL;
	stats_add(STAT_RELAY_SOCKMAP_OPEN, -1);
	sockmap_slot_give(stream->slot, loop_now_ms(stream->loop));
	free(stream);
}

int relay_sockmap_leave(struct relay_sockmap *stream)
{
	struct relay *relay = stream->relay;

	stream->dirs[0].shared->passes_all = 1;
	stream->dirs[1].shared->passes_all = 1;
	if (!stream_is_at_rest(stream))
		return -EAGAIN;
	/* No program runs from here on. What one did meanwhile shows in the counts. */
	stream_set_low_water(stream, SOCKMAP_QUIET_BYTES);
	if (!stream_is_at_rest(stream)) {
		stream_set_low_water(stream, 1);
		return -EAGAIN;
	}
	for (int i = 0; i < 2; i++)
		if (stream->dirs[i].is_source)
			sockmap_remove_source(stream->dirs[i].cookie);
	stream->dirs[0].is_source = false;
	stream->dirs[1].is_source = false;
	/* A FIN may have brought last bytes all the same; the socket still has them. */
	if (!stream_is_at_rest(stream)) {
		stream_set_low_water(stream, 1);
		return -EAGAIN;
	}
	relay_sockmap_forget(stream);
	stream_set_low_water(stream, 1);
	dir_leave(&relay->up, stream->why_leaving);
	dir_leave(&relay->down, stream->why_leaving);
	stats_inc(STAT_RELAY_SOCKMAP_LEFT);
	sockmap_free(stream);
	return 0;
}

void relay_sockmap_done(struct relay *relay)
{
	struct relay_sockmap *stream = relay->sockmap;

	if (!stream)
		return;
	relay_sockmap_refresh(relay);
	for (int i = 0; i < 2; i++)
		sockmap_remove_id(stream->dirs[i].cookie);
	relay->up.carried = NULL;
	relay->down.carried = NULL;
	sockmap_free(stream);
}
