/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction: pump bytes from one io to another by the engine of the moment. A direction leaves
 * the copy engine only with nothing kept in user space, and a pipe is given back only when it is
 * empty.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "stats/stats.h"

/* Reading this much in full scratches makes a direction bulk: from here on a pipe is cheaper than
 * copying. */
#define RELAY_BULK_BYTES LOOP_SCRATCH_BYTES

/* After so many more where no pipe was to be had. */
#define RELAY_PIPE_AGAIN_BYTES (16 << 20)

/* So many reads in a row that only copying could do: there is nothing to splice. */
#define RELAY_DRY_READS 4

/* Calls in a row that could move nothing, because the receiver is full. */
#define RELAY_VAIN_PUMPS 4

const char *relay_engine_word(enum relay_engine engine)
{
	static const char *const words[RELAY_ENGINE_MAX] = {"copy", "pipe", "sockmap", "auto"};

	return words[engine];
}

void relay_dir_init(struct relay_dir *dir, struct io *from, struct io *to, uint64_t limit_bytes,
		    enum relay_engine wanted)
{
	bool can_splice = io_can_splice(from, to), may_splice = io_may_splice(from, to, false);

	*dir = (struct relay_dir){
	    .from = from, .to = to, .limit_bytes = limit_bytes, .bulk_bytes = RELAY_BULK_BYTES};
	dir->engine =
	    can_splice && wanted == RELAY_ENGINE_PIPE ? RELAY_ENGINE_PIPE : RELAY_ENGINE_COPY;
	dir->may_promote = (may_splice && wanted >= RELAY_ENGINE_SOCKMAP) ||
			   (may_splice && !can_splice && wanted == RELAY_ENGINE_PIPE);
	if (wanted == RELAY_ENGINE_PIPE)
		dir->bulk_bytes = 0;
	if (!may_splice)
		dir->engine_reason = "TLS in user space: the bytes must be seen";
	else if (dir->may_promote)
		dir->engine_reason = "too few bytes to pay for a pipe";
	else if (wanted == RELAY_ENGINE_COPY)
		dir->engine_reason = "copy was asked for";
}

void relay_dir_done(struct relay_dir *dir)
{
	relay_tide_done(dir);
	relay_pipe_give(dir->pipe, relay_dir_held(dir) == dir->kept_len);
	dir->pipe = NULL;
	free(dir->kept);
	dir->kept = NULL;
	dir->kept_len = 0;
}

static enum relay_progress relay_from_failed(struct relay_dir *dir, ssize_t err)
{
	dir->error = (int)err;
	return RELAY_FROM_FAILED;
}

static enum relay_progress relay_to_failed(struct relay_dir *dir, ssize_t err)
{
	dir->error = (int)err;
	return RELAY_TO_FAILED;
}

static void relay_note_received(struct relay_dir *dir, size_t n)
{
	dir->received_bytes += n;
	if (dir->limit_bytes != RELAY_NO_LIMIT)
		dir->limit_bytes -= n;
}

/* RELAY_LIMIT here means that nothing is kept any more. */
enum relay_progress relay_dir_flush_kept(struct relay_dir *dir)
{
	while (dir->kept_len) {
		struct iovec part = {dir->kept + dir->kept_offset, dir->kept_len};
		ssize_t n;

		if (!dir->to->writable)
			return RELAY_AGAIN;
		n = io_send(dir->to, &part, 1, dir->more_after && dir->limit_bytes == 0);
		if (n == -EAGAIN)
			return RELAY_AGAIN;
		if (n < 0)
			return relay_to_failed(dir, n);
		dir->delivered_bytes += (size_t)n;
		stats_add(STAT_RELAY_COPIED_BYTES, n);
		dir->kept_offset += (uint32_t)n;
		dir->kept_len -= (uint32_t)n;
	}
	free(dir->kept);
	dir->kept = NULL;
	dir->kept_offset = 0;
	return RELAY_LIMIT;
}

static int relay_keep(struct relay_dir *dir, const char *data, size_t len_bytes)
{
	DEBUG_BUG_ON(dir->kept_len);
	dir->kept = malloc(len_bytes);
	if (!dir->kept)
		return -ENOMEM;
	memcpy(dir->kept, data, len_bytes);
	dir->kept_offset = 0;
	dir->kept_len = (uint32_t)len_bytes;
	return 0;
}

/* Sends what was read; keeps what the receiver did not take. */
enum relay_progress relay_dir_deliver(struct relay_dir *dir, const char *data, size_t len_bytes)
{
	struct iovec part = {(char *)data, len_bytes};
	bool more = dir->more_after && dir->limit_bytes == 0;
	ssize_t n = io_send(dir->to, &part, 1, more);

	if (n == -EAGAIN)
		n = 0;
	if (n < 0)
		return relay_to_failed(dir, n);
	dir->delivered_bytes += (size_t)n;
	stats_add(STAT_RELAY_COPIED_BYTES, n);
	if ((size_t)n == len_bytes)
		return RELAY_LIMIT;
	if (relay_keep(dir, data + n, len_bytes - (size_t)n))
		return relay_to_failed(dir, -ENOMEM);
	return relay_dir_flush_kept(dir);
}

static enum relay_progress relay_copy_once(struct relay_dir *dir, struct loop *loop,
					   size_t *share_bytes)
{
	char *scratch = loop_scratch(loop);
	ssize_t n =
	    io_recv(dir->from, scratch, MIN(dir->limit_bytes, (uint64_t)LOOP_SCRATCH_BYTES));

	if (n == -EAGAIN)
		return RELAY_AGAIN;
	if (n < 0)
		return relay_from_failed(dir, n);
	if (n == 0) {
		dir->from_ended = true;
		return RELAY_ENDED;
	}
	relay_note_received(dir, (size_t)n);
	if ((size_t)n <= dir->small_max_bytes) {
		dir->small_messages++;
		if (!dir->lacks_pipe)
			dir->bulk_run_bytes = 0;
	} else {
		dir->small_messages = 0;
		dir->bulk_run_bytes += (size_t)n;
	}
	*share_bytes -= MIN(*share_bytes, (size_t)n);
	return relay_dir_deliver(dir, scratch, (size_t)n);
}

static enum relay_progress relay_drain_pipe(struct relay_dir *dir)
{
	uint64_t held;

	while ((held = relay_dir_held(dir))) {
		ssize_t n;

		if (!dir->to->writable)
			return RELAY_AGAIN;
		n = io_splice_out(dir->to, dir->pipe->read_fd, held,
				  dir->more_after && dir->limit_bytes == 0);
		if (n == -EAGAIN)
			return RELAY_AGAIN;
		if (n < 0)
			return relay_to_failed(dir, n);
		dir->delivered_bytes += (size_t)n;
		stats_add(STAT_RELAY_SPLICED_BYTES, n);
	}
	return RELAY_LIMIT;
}

/*
 * There was an event, and nothing to splice. Where another program has the socket in a sockmap,
 * what its verdict lets pass can be read, but not spliced (tcp_splice_read() looks at the receive
 * queue alone): from there on it is copied. Once is no proof: bytes may have come between the two
 * calls, and often do in bulk.
 */
static enum relay_progress relay_pipe_is_dry(struct relay_dir *dir, struct loop *loop,
					     size_t *share_bytes)
{
	uint64_t received_before = dir->received_bytes;
	enum relay_progress progress;

	if (*share_bytes < RELAY_SHARE_BYTES || !io_is_plain(dir->from)) {
		dir->from->readable = false;
		return RELAY_AGAIN;
	}
	relay_pipe_give(dir->pipe, true);
	dir->pipe = NULL;
	progress = relay_copy_once(dir, loop, share_bytes);
	if (dir->received_bytes == received_before || ++dir->dry_reads < RELAY_DRY_READS)
		return progress;
	dir->engine = RELAY_ENGINE_COPY;
	dir->engine_reason = "what comes cannot be spliced: another program's sockmap has it";
	return progress;
}

/* Fills the empty pipe as far as one go allows, then drains it. -EAGAIN on an empty pipe is the
 * descriptor's. */
static enum relay_progress relay_pipe_once(struct relay_dir *dir, struct loop *loop,
					   size_t *share_bytes)
{
	size_t filled_bytes = 0;

	while (filled_bytes < dir->pipe->size_bytes && dir->limit_bytes) {
		size_t room_bytes = dir->pipe->size_bytes - filled_bytes;
		ssize_t n = io_splice_in(dir->from, dir->pipe->write_fd,
					 MIN(dir->limit_bytes, (uint64_t)room_bytes));

		if (n == -EAGAIN && filled_bytes)
			break;
		if (n == -EAGAIN)
			return relay_pipe_is_dry(dir, loop, share_bytes);
		/* What came before the end goes out first; a socket tells its error only once. */
		if (n <= 0) {
			dir->from_ended = true;
			dir->from_error = (int)n;
			break;
		}
		relay_note_received(dir, (size_t)n);
		dir->dry_reads = 0;
		filled_bytes += (size_t)n;
		*share_bytes -= MIN(*share_bytes, (size_t)n);
		if (relay_tide_took_all(dir, (size_t)n))
			dir->from->readable = false;
		if (!dir->from->readable || filled_bytes >= LOOP_SCRATCH_BYTES)
			break;
	}
	return relay_drain_pipe(dir);
}

/* Where TLS waits in user space for bulk, this is it. What stands against it may pass; or the
 * kernel has refused, and it is never. */
static bool relay_can_pipe(struct relay_dir *dir)
{
	if (io_can_splice(dir->from, dir->to))
		return true;
	if (!io_may_splice(dir->from, dir->to, true)) {
		dir->may_promote = false;
		dir->engine_reason = "TLS in user space: the bytes must be seen";
	}
	return io_can_splice(dir->from, dir->to);
}

static void relay_maybe_promote(struct relay_dir *dir)
{
	if (!dir->may_promote || dir->kept_len || dir->bulk_run_bytes < dir->bulk_bytes ||
	    !relay_can_pipe(dir))
		return;
	dir->may_promote = false;
	dir->lacks_pipe = false;
	dir->engine = RELAY_ENGINE_PIPE;
	dir->engine_reason = NULL;
}

/* A pipe to work with, or the copy engine where there is none; in bulk it is asked for again, since
 * slow receivers may hold all that the user may have. */
static enum relay_engine relay_ready_engine(struct relay_dir *dir)
{
	relay_maybe_promote(dir);
	if (dir->engine == RELAY_ENGINE_PIPE && !dir->pipe) {
		dir->pipe = relay_pipe_take();
		if (!dir->pipe) {
			dir->engine = RELAY_ENGINE_COPY;
			dir->may_promote = true;
			dir->lacks_pipe = true;
			dir->bulk_run_bytes = 0;
			dir->bulk_bytes = RELAY_PIPE_AGAIN_BYTES;
			dir->engine_reason =
			    relay_pipe_why_not()
				? relay_pipe_why_not()
				: "no pipe to be had (descriptors, or fs.pipe-user-pages-soft)";
		}
	}
	return dir->engine;
}

/*
 * While the receiver takes nothing, what comes wakes the thread in vain, segment by segment: after
 * a few of these the loop is asked to be silent about it, until the sender is to be waited for
 * again. Ends and errors are told all the same.
 */
static void relay_listen(struct relay_dir *dir, struct loop *loop)
{
	bool is_stuck = dir->from->readable && !dir->to->writable && !dir->from_ended;

	if (!dir->may_tide)
		return;
	if (!is_stuck)
		dir->vain_pumps = 0;
	else if (dir->vain_pumps <= RELAY_VAIN_PUMPS)
		dir->vain_pumps++;
	if (dir->is_muted ? dir->from->readable : dir->vain_pumps != RELAY_VAIN_PUMPS)
		return;
	if (!loop_rewatch(loop, &dir->from->watch,
			  EPOLLOUT | EPOLLRDHUP | (dir->is_muted ? EPOLLIN : 0)))
		dir->is_muted = !dir->is_muted;
}

static void relay_rest(struct relay_dir *dir, struct loop *loop)
{
	if (dir->engine != RELAY_ENGINE_PIPE || relay_dir_held(dir))
		return;
	relay_pipe_give(dir->pipe, true);
	dir->pipe = NULL;
	if (!dir->from->readable)
		relay_tide_begin(dir, loop);
}

static enum relay_progress relay_move(struct relay_dir *dir, struct loop *loop)
{
	size_t share_bytes = RELAY_SHARE_BYTES;
	enum relay_progress progress;

	progress = dir->kept_len ? relay_dir_flush_kept(dir)
		   : dir->pipe	 ? relay_drain_pipe(dir)
				 : RELAY_LIMIT;
	while (progress == RELAY_LIMIT) {
		if (dir->limit_bytes == 0)
			return RELAY_LIMIT;
		if (dir->from_ended && dir->from_error)
			return relay_from_failed(dir, dir->from_error);
		if (dir->from_ended)
			return RELAY_ENDED;
		if (!dir->from->readable || !dir->to->writable)
			break;
		if (share_bytes == 0)
			return RELAY_YIELD;
		if (relay_ready_engine(dir) == RELAY_ENGINE_PIPE)
			progress = relay_pipe_once(dir, loop, &share_bytes);
		else
			progress = relay_copy_once(dir, loop, &share_bytes);
	}
	/* Nobody reads the error out of a sender whose receiver is slow. */
	if (dir->from->failed && !dir->is_last &&
	    (progress == RELAY_LIMIT || progress == RELAY_AGAIN) && !dir->to->writable)
		return relay_from_failed(dir, -ECONNRESET);
	return progress == RELAY_LIMIT ? RELAY_AGAIN : progress;
}

enum relay_progress relay_dir_pump(struct relay_dir *dir, struct loop *loop)
{
	enum relay_progress progress;

	if (dir->engine == RELAY_ENGINE_SOCKMAP)
		return relay_sockmap_pump(dir, loop);
	progress = relay_move(dir, loop);
	relay_rest(dir, loop);
	relay_listen(dir, loop);
	return progress;
}
