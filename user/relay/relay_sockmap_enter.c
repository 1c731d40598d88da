/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stream goes into the sockmap: whether it can, the counts that it starts from, the order of
 * the inserts. Whether it should is decided in relay.c.
 */
#include "relay/relay_internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "stats/stats.h"

#define SOCKMAP_WINDOW_BYTES (1 << 20)

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
	int err = sockmap_socket_taken(dir->from->watch.fd, &carried->from_base, &unread_bytes);

	if (err)
		return err;
	/* The first segment may have been read in part, and would be sent on whole. */
	if (unread_bytes && carried->from_base)
		return -EAGAIN;
	err = sockmap_socket_written(dir->to->watch.fd, true, &carried->to_base);
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

void relay_sockmap_forget(struct relay_sockmap *stream)
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
	relay_sockmap_forget(stream);
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
	stream->active_ms = loop_now_ms(loop);
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
	*ret_why = sockmap_socket_why_not(relay->up.from);
	if (!*ret_why)
		*ret_why = sockmap_socket_why_not(relay->up.to);
	if (*ret_why)
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
