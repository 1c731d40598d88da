/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockmap engine: the kernel hands bytes from socket to socket (bpf/splice.bpf.c), and user
 * space has the rest: putting the sockets in and taking them out, what the program left to it, the
 * end of each direction, the byte accounts. Which relays it is good for is decided in relay.c and
 * relay_sockmap_policy.c.
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
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/bug.h"
#include "stats/stats.h"

#define SOCKMAP_WINDOW_BYTES (1 << 20)
/* More than can come while a socket is taken out; it sizes the receive buffer, too. */
#define SOCKMAP_QUIET_BYTES (256 << 10)
/* The kernel's writer is woken for each segment: most often it is done at once. */
#define SOCKMAP_SPINS 8
#define SOCKMAP_RETRY_MAX_MS 64
/* By timer, for what a side said before it was reset. */
#define SOCKMAP_LAST_RETRIES 4
/* How often a count is read again when it moves meanwhile. */
#define SOCKMAP_READ_TRIES 16

/* ---- what a socket says of itself ---- */

static int socket_info(int fd, struct tcp_info *ret_info)
{
	socklen_t len = sizeof(*ret_info);

	memset(ret_info, 0, sizeof(*ret_info));
	return getsockopt(fd, IPPROTO_TCP, TCP_INFO, ret_info, &len) ? -errno : 0;
}

/*
 * Bytes that were ever written to it. An acknowledgement between the two calls makes the sum too
 * small, never too large; `is_exact` reads again until there was none.
 */
static int socket_written(int fd, bool is_exact, uint64_t *ret_bytes)
{
	struct tcp_info before, after;
	int queued_bytes;
	int err = socket_info(fd, &before);

	for (int i = 0; i < SOCKMAP_READ_TRIES && !err; i++) {
		if (ioctl(fd, SIOCOUTQ, &queued_bytes))
			return -errno;
		*ret_bytes = before.tcpi_bytes_acked + (uint64_t)queued_bytes;
		if (!is_exact)
			return 0;
		err = socket_info(fd, &after);
		if (!err && after.tcpi_bytes_acked == before.tcpi_bytes_acked)
			return 0;
		before = after;
	}
	return err ? err : -EAGAIN;
}

/* Bytes that were ever read from it, and those that wait. */
static int socket_taken(int fd, uint64_t *ret_taken_bytes, int *ret_unread_bytes)
{
	struct tcp_info before, after;
	int err = socket_info(fd, &before);

	for (int i = 0; i < SOCKMAP_READ_TRIES && !err; i++) {
		if (ioctl(fd, SIOCINQ, ret_unread_bytes))
			return -errno;
		err = socket_info(fd, &after);
		if (!err && after.tcpi_bytes_received == before.tcpi_bytes_received) {
			*ret_taken_bytes = after.tcpi_bytes_received - (uint64_t)*ret_unread_bytes;
			return 0;
		}
		before = after;
	}
	return err ? err : -EAGAIN;
}

/* All bytes before the FIN; -EAGAIN: the FIN has not come. */
static int socket_received_all(int fd, uint64_t *ret_bytes)
{
	struct tcp_info info;
	int err = socket_info(fd, &info);

	if (err)
		return err;
	switch (info.tcpi_state) {
	case BPF_TCP_CLOSE_WAIT:
	case BPF_TCP_LAST_ACK:
	case BPF_TCP_CLOSING:
	case BPF_TCP_TIME_WAIT:
	case BPF_TCP_CLOSE:
		*ret_bytes = info.tcpi_bytes_received - 1; /* it counts the FIN */
		return 0;
	default:
		return -EAGAIN;
	}
}

static int socket_error(const struct io *io)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(io->watch.fd, SOL_SOCKET, SO_ERROR, &error, &len))
		return -errno;
	return error ? -error : -ECONNRESET;
}

static void socket_set_low_water(int fd, int bytes)
{
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

static bool socket_is_tcp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) == 0 &&
	       protocol == IPPROTO_TCP;
}

/* ---- what the program and we say to each other ---- */

static uint64_t carried_passed(const struct relay_carried *carried)
{
	return atomic_load((const _Atomic uint64_t *)&carried->shared->passed_bytes);
}

uint64_t carried_redirected(const struct relay_carried *carried)
{
	return atomic_load((const _Atomic uint64_t *)&carried->shared->redirected_bytes);
}

/* A full barrier follows: see splice_pass(). */
static void carried_publish(struct relay_carried *carried)
{
	atomic_store((_Atomic uint64_t *)&carried->shared->consumed_bytes, carried->read_bytes);
	carried->is_flushed = false;
}

bool carried_is_idle(const struct relay_dir *dir)
{
	return dir->kept_len == 0 && carried_passed(dir->carried) == dir->carried->read_bytes;
}

/* Bytes that were written to the receiver's socket since the insert. */
static int carried_written(const struct relay_dir *dir, bool is_exact, uint64_t *ret_bytes)
{
	uint64_t base_bytes = dir->carried->to_base;
	int err = socket_written(dir->to->watch.fd, is_exact, ret_bytes);

	/* An inexact count may be smaller than the base. */
	*ret_bytes -= MIN(*ret_bytes, base_bytes);
	return err;
}

/* What is handed over and what we sent, all of it written by the receiver? -EAGAIN: not yet. */
static int carried_flush(struct relay_dir *dir)
{
	struct relay_carried *carried = dir->carried;
	uint64_t handed_bytes = carried_redirected(carried) + carried->sent_bytes;
	uint64_t written_bytes = 0;
	int err;

	if (carried->is_flushed)
		return 0;
	err = carried_written(dir, false, &written_bytes);
	if (err)
		return err;
	if (written_bytes < handed_bytes)
		return -EAGAIN;
	carried->is_flushed = !carried_is_idle(dir); /* idle, the program may hand over more */
	return 0;
}

/* An inexact count may be smaller than one that came before it. */
static void carried_note_written(struct relay_dir *dir, uint64_t written_bytes)
{
	struct relay_carried *carried = dir->carried;
	uint64_t by_kernel;

	if (written_bytes < carried->written_bytes)
		return;
	carried->written_bytes = written_bytes;
	dir->delivered_bytes = carried->delivered_base + written_bytes;
	by_kernel = written_bytes - MIN(written_bytes, carried->sent_bytes);
	if (by_kernel <= carried->counted_bytes)
		return;
	stats_add(STAT_RELAY_SOCKMAP_BYTES, (int64_t)(by_kernel - carried->counted_bytes));
	carried->counted_bytes = by_kernel;
}

void carried_count(struct relay_dir *dir)
{
	struct relay_carried *carried = dir->carried;
	uint64_t written_bytes = 0;

	if (dir->from_ended) /* its counts are final, and our FIN would count as a byte */
		return;
	dir->received_bytes =
	    carried->received_base + carried_redirected(carried) + carried->read_bytes;
	if (carried_written(dir, false, &written_bytes) == 0)
		carried_note_written(dir, written_bytes);
}

int carried_missing(const struct relay_dir *dir, uint64_t *ret_bytes)
{
	const struct relay_carried *carried = dir->carried;
	struct tcp_info info;
	uint64_t received_bytes, seen_bytes;
	int err = socket_info(dir->from->watch.fd, &info);

	if (err)
		return err;
	received_bytes = info.tcpi_bytes_received - carried->from_base;
	if (socket_received_all(dir->from->watch.fd, &received_bytes) == 0)
		received_bytes -= carried->from_base;
	seen_bytes = carried_redirected(carried) + carried_passed(carried);
	*ret_bytes = received_bytes > seen_bytes ? received_bytes - seen_bytes : 0;
	return 0;
}

void carried_kick(const struct relay_dir *dir)
{
	socket_set_low_water(dir->from->watch.fd, 1);
}

/* ---- going in ---- */

static const char *sockmap_describe(int err)
{
	switch (err) {
	case -EOPNOTSUPP:
		return "one side has ended already";
	case -EBUSY:
	case -EEXIST:
		return "a socket is in another program's sockmap";
	case -EINVAL:
		return "a socket has another protocol on top";
	case -E2BIG:
	case -ENOSPC:
		return "the sockmap is full";
	case -ENOMEM:
		return "no memory for the sockmap";
	default:
		return "the kernel refuses the sockmap";
	}
}

static bool dir_can_enter(const struct relay_dir *dir)
{
	return dir->limit_bytes == RELAY_NO_LIMIT && io_is_plain(dir->from);
}

static bool dir_is_ready(const struct relay_dir *dir)
{
	return dir->kept_len == 0 && !dir->pipe && !dir->from_ended && !dir->from->failed &&
	       !dir->from->peer_closed;
}

/* The counts from which those of the stream in the map are told. */
static int carried_start(struct relay_carried *carried, struct relay_dir *dir,
			 const struct sockmap_slot *slot, unsigned int direction,
			 uint32_t window_bytes)
{
	socklen_t len = sizeof(carried->cookie);
	int unread_bytes;
	int err = socket_taken(dir->from->watch.fd, &carried->from_base, &unread_bytes);

	if (err)
		return err;
	/* The first segment may have been read in part, and would be sent on whole. */
	if (unread_bytes && carried->from_base)
		return -EAGAIN;
	err = socket_written(dir->to->watch.fd, true, &carried->to_base);
	if (err)
		return err;
	if (getsockopt(dir->from->watch.fd, SOL_SOCKET, SO_COOKIE, &carried->cookie, &len))
		return -errno;
	carried->stream = slot->stream;
	carried->received_base = dir->received_bytes;
	carried->delivered_base = dir->delivered_bytes;
	carried->shared = sockmap_slot_dir(slot, direction);
	sockmap_slot_start(slot, direction, window_bytes);
	return 0;
}

static int sockmap_start(struct relay_sockmap *stream)
{
	struct relay *relay = stream->relay;
	uint32_t window_bytes = relay->window_bytes ? relay->window_bytes : SOCKMAP_WINDOW_BYTES;
	int err = carried_start(&stream->dirs[0], &relay->up, stream->slot, 0, window_bytes);

	return err ? err
		   : carried_start(&stream->dirs[1], &relay->down, stream->slot, 1, window_bytes);
}

static void sockmap_forget(struct relay_sockmap *stream)
{
	for (int i = 0; i < 2; i++) {
		sockmap_remove_target(stream->dirs[i].cookie);
		sockmap_remove_id(stream->dirs[i].cookie);
	}
}

/* Targets, then sources. From the first source on bytes may move. */
static int sockmap_insert(struct relay_sockmap *stream)
{
	struct relay_dir *dirs[2] = {&stream->relay->up, &stream->relay->down};
	int err = 0;

	for (unsigned int i = 0; i < 2 && !err; i++) {
		err = sockmap_put_id(stream->dirs[i].cookie, stream->slot, i);
		if (!err)
			err = sockmap_put_target(stream->dirs[i].cookie, dirs[i]->to->watch.fd);
	}
	for (unsigned int i = 0; i < 2 && !err; i++) {
		err = sockmap_put_source(stream->dirs[i].cookie, dirs[i]->from->watch.fd);
		stream->dirs[i].is_source = !err;
	}
	if (!err || stream->dirs[0].is_source)
		return 0; /* one direction is in: it leaves again as any other does */
	sockmap_forget(stream);
	return err;
}

static void sockmap_adopt(struct relay_sockmap *stream)
{
	struct relay *relay = stream->relay;
	struct relay_dir *dirs[2] = {&relay->up, &relay->down};

	relay->sockmap = stream;
	stream->is_leaving = !stream->dirs[1].is_source;
	for (int i = 0; i < 2; i++) {
		dirs[i]->carried = &stream->dirs[i];
		dirs[i]->engine = RELAY_ENGINE_SOCKMAP;
		dirs[i]->engine_reason = NULL;
	}
	carried_kick(&relay->up);
	carried_kick(&relay->down);
	stats_inc(STAT_RELAY_SOCKMAP_ENTERED);
	stats_inc(STAT_RELAY_SOCKMAP_OPEN);
}

static int sockmap_enter(struct relay *relay, struct loop *loop)
{
	struct relay_sockmap *stream = calloc(1, sizeof(*stream));
	int err;

	if (!stream)
		return -ENOMEM;
	stream->relay = relay;
	stream->loop = loop;
	timer_init(&stream->timer, relay_sockmap_expire);
	stream->slot = sockmap_slot_take(loop, stream);
	err = stream->slot ? sockmap_start(stream) : -ENOSPC;
	if (!err)
		err = sockmap_insert(stream);
	if (!err) {
		sockmap_adopt(stream);
		return 0;
	}
	if (stream->slot)
		sockmap_slot_give(stream->slot, loop_now_ms(loop));
	free(stream);
	return err;
}

int relay_sockmap_enter(struct relay *relay, struct loop *loop, const char **ret_why)
{
	int err;

	*ret_why = relay_sockmap_why_not();
	if (*ret_why)
		return -EOPNOTSUPP;
	*ret_why = "only plain TCP can be in a sockmap";
	if (!dir_can_enter(&relay->up) || !dir_can_enter(&relay->down) ||
	    !socket_is_tcp(relay->up.from->watch.fd) || !socket_is_tcp(relay->up.to->watch.fd))
		return -EOPNOTSUPP;
	*ret_why = "a side is ending, or bytes are under way";
	if (relay->up_shut || relay->down_shut || !dir_is_ready(&relay->up) ||
	    !dir_is_ready(&relay->down))
		return -EAGAIN;
	err = sockmap_enter(relay, loop);
	if (err && err != -EAGAIN)
		*ret_why = sockmap_describe(err);
	return err;
}

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
	int err = socket_received_all(dir->from->watch.fd, &received_bytes);

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

/* What a side said before it failed may still be on its way to the other one. */
static bool stream_has_said_all(struct relay_sockmap *stream)
{
	struct relay_dir *dirs[2] = {&stream->relay->up, &stream->relay->down};

	for (int i = 0; i < 2; i++)
		if (!dirs[i]->from_ended && !dirs[i]->to->failed &&
		    carried_flush(dirs[i]) == -EAGAIN)
			return false;
	return true;
}

static enum relay_progress carried_fail(struct relay_dir *dir)
{
	if (!stream_has_said_all(dir->carried->stream) &&
	    dir->carried->retries <= SOCKMAP_SPINS + SOCKMAP_LAST_RETRIES)
		return carried_retry(dir);
	return dir->from->failed ? dir_from_failed(dir, socket_error(dir->from))
				 : dir_to_failed(dir, socket_error(dir->to));
}

enum relay_progress relay_sockmap_pump(struct relay_dir *dir, struct loop *loop)
{
	enum relay_progress progress;

	if (dir->from_ended)
		return RELAY_ENDED;
	if (dir->carried->stream->is_broken)
		return dir_to_failed(dir, -EIO);
	if (dir->from->failed || dir->to->failed)
		return carried_fail(dir);
	progress = carried_take(dir, loop);
	if (progress == RELAY_LIMIT && dir->from->peer_closed)
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
	socket_set_low_water(stream->relay->up.from->watch.fd, bytes);
	socket_set_low_water(stream->relay->down.from->watch.fd, bytes);
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
	sockmap_forget(stream);
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
