/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk comes in big portions: the kernel is told to wake the thread only when so many bytes wait
 * (SO_RCVLOWAT), which saves half of the system calls and most of the wake-ups. FIN, reset and a
 * window that closes wake it all the same, but the last bytes of a stream that then falls silent
 * would not. So a timer of the thread looks at all such streams together, and one that brought
 * nothing since the last look goes back to being woken by every byte, and has to prove more before
 * the next time.
 */
#include "relay/relay_internal.h"

#include <sys/socket.h>

/* What has to come in a row, through the pipe, before it pays; the most after disappointments. */
#define RELAY_TIDE_BEGIN_BYTES (4 << 20)
#define RELAY_TIDE_BEGIN_MAX_BYTES (1 << 30)

struct relay_tides {
	struct loop *loop;
	struct timer timer;
	struct list dirs;
};

static _Thread_local struct relay_tides relay_tides;

void relay_set_low_water(int fd, int bytes)
{
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

static void relay_tide_end(struct relay_dir *dir)
{
	list_del(&dir->tide_node);
	dir->in_tide = false;
	relay_set_low_water(dir->from->watch.fd, 1); /* reports what waits */
}

static void relay_tide_look(struct timer *timer)
{
	struct relay_tides *tides = container_of(timer, struct relay_tides, timer);

	list_for_each_safe (node, &tides->dirs) {
		struct relay_dir *dir = container_of(node, struct relay_dir, tide_node);

		if (dir->received_bytes != dir->tide_seen_bytes) {
			dir->tide_seen_bytes = dir->received_bytes;
			continue;
		}
		if (dir->pipe || dir->from->readable) /* others are slow: the receiver, or we */
			continue;
		relay_tide_end(dir);
		dir->tide_from_bytes = dir->received_bytes;
		dir->tide_begin_bytes = MIN(2 * dir->tide_begin_bytes, RELAY_TIDE_BEGIN_MAX_BYTES);
	}
	if (!list_is_empty(&tides->dirs))
		loop_timer_arm(tides->loop, timer, TIMER_TICK_MS);
}

static bool relay_tide_pays(struct relay_dir *dir)
{
	if (!dir->tide_begin_bytes) {
		dir->tide_begin_bytes = RELAY_TIDE_BEGIN_BYTES;
		dir->tide_from_bytes = dir->received_bytes;
	}
	return dir->received_bytes - dir->tide_from_bytes >= dir->tide_begin_bytes;
}

void relay_tide_begin(struct relay_dir *dir, struct loop *loop)
{
	struct relay_tides *tides = &relay_tides;

	if (!dir->may_tide || dir->in_tide || dir->from->peer_closed || !relay_tide_pays(dir))
		return;
	if (!tides->loop) {
		tides->loop = loop;
		timer_init(&tides->timer, relay_tide_look);
		list_init(&tides->dirs);
	}
	if (list_is_empty(&tides->dirs))
		loop_timer_arm(loop, &tides->timer, TIMER_TICK_MS);
	list_add_tail(&dir->tide_node, &tides->dirs);
	dir->in_tide = true;
	dir->tide_seen_bytes = dir->received_bytes;
	relay_set_low_water(dir->from->watch.fd, RELAY_TIDE_BYTES);
}

void relay_tide_done(struct relay_dir *dir)
{
	if (dir->in_tide)
		relay_tide_end(dir);
}

void relay_tide_thread_done(void)
{
	if (relay_tides.loop)
		timer_cancel(&relay_tides.timer);
	relay_tides.loop = NULL;
}
