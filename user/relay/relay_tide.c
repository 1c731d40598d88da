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

#include <stdlib.h>
#include <sys/socket.h>

/* What has to come in a row, through the pipe, before it pays; the most after disappointments. */
#define RELAY_TIDE_BEGIN_BYTES (4 << 20)
#define RELAY_TIDE_BEGIN_MAX_BYTES (1 << 30)
/* A tick brings at least so many portions, or they are made smaller. */
#define RELAY_TIDE_TICK_PORTIONS 4

struct relay_tide {
	struct list node; /* in relay_tides.tides, while it is high */
	bool is_high; /* the low-water mark is set */
	uint32_t portion_bytes; /* to this */
	struct relay_dir *dir;
	uint64_t from_bytes; /* received before it began to prove that it is bulk */
	uint64_t begin_bytes; /* and what it has to bring */
	uint64_t seen_bytes; /* received at the last look */
};

/* Of the thread. */
static _Thread_local struct {
	struct loop *loop; /* NULL: not in use */
	struct timer timer;
	struct list tides;
} relay_tides;

void relay_set_low_water(int fd, int bytes)
{
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes));
}

bool relay_tide_is_high(const struct relay_dir *dir)
{
	return dir->tide && dir->tide->is_high;
}

/* More than this may have had as much behind it; so may what a small pipe has room for. And a pipe
 * has a slot for each 4 KiB, of which a segment takes one at least: small ones fill it with less.
 */
bool relay_tide_took_all(const struct relay_dir *dir, size_t n_bytes)
{
	return relay_tide_is_high(dir) && n_bytes < RELAY_TIDE_BYTES && !dir->from->peer_closed &&
	       dir->pipe->size_bytes >= RELAY_PIPE_BYTES && !relay_pipe_is_full(dir->pipe);
}

static void tide_set_portion(struct relay_tide *tide, uint32_t portion_bytes)
{
	if (tide->portion_bytes == portion_bytes)
		return;
	tide->portion_bytes = portion_bytes;
	relay_set_low_water(tide->dir->from->watch.fd, (int)portion_bytes);
}

uint32_t relay_tide_portion_bytes(uint64_t tick_bytes)
{
	uint32_t portion_bytes = RELAY_TIDE_BYTES;

	while (portion_bytes < RELAY_TIDE_MAX_BYTES &&
	       tick_bytes >= 2 * RELAY_TIDE_TICK_PORTIONS * (uint64_t)portion_bytes)
		portion_bytes *= 2;
	return portion_bytes;
}

static void tide_lower(struct relay_tide *tide)
{
	list_del(&tide->node);
	tide->is_high = false;
	tide_set_portion(tide, 1); /* reports what waits */
}

static void tide_look(struct relay_tide *tide)
{
	struct relay_dir *dir = tide->dir;

	if (dir->received_bytes != tide->seen_bytes) {
		tide_set_portion(tide,
				 relay_tide_portion_bytes(dir->received_bytes - tide->seen_bytes));
		tide->seen_bytes = dir->received_bytes;
		return;
	}
	if (dir->pipe || dir->from->readable) /* others are slow: the receiver, or we */
		return;
	tide_lower(tide);
	tide->from_bytes = dir->received_bytes;
	tide->begin_bytes = MIN(2 * tide->begin_bytes, (uint64_t)RELAY_TIDE_BEGIN_MAX_BYTES);
}

static void relay_tides_look(struct timer *timer)
{
	list_for_each_safe (node, &relay_tides.tides)
		tide_look(container_of(node, struct relay_tide, node));
	if (!list_is_empty(&relay_tides.tides))
		loop_timer_arm(relay_tides.loop, timer, TIMER_TICK_MS);
}

static void tide_raise(struct relay_tide *tide, struct loop *loop)
{
	if (!relay_tides.loop) {
		relay_tides.loop = loop;
		timer_init(&relay_tides.timer, relay_tides_look);
		list_init(&relay_tides.tides);
	}
	if (list_is_empty(&relay_tides.tides))
		loop_timer_arm(loop, &relay_tides.timer, TIMER_TICK_MS);
	list_add_tail(&tide->node, &relay_tides.tides);
	tide->is_high = true;
	tide->seen_bytes = tide->dir->received_bytes;
	tide_set_portion(tide, RELAY_TIDE_BYTES);
}

static struct relay_tide *tide_new(struct relay_dir *dir)
{
	struct relay_tide *tide = malloc(sizeof(*tide));

	if (tide)
		*tide = (struct relay_tide){.dir = dir,
					    .from_bytes = dir->received_bytes,
					    .begin_bytes = RELAY_TIDE_BEGIN_BYTES};
	return tide;
}

void relay_tide_begin(struct relay_dir *dir, struct loop *loop)
{
	if (!dir->may_tide || dir->from->peer_closed)
		return;
	if (!dir->tide)
		dir->tide = tide_new(dir);
	if (dir->tide && !dir->tide->is_high &&
	    dir->received_bytes - dir->tide->from_bytes >= dir->tide->begin_bytes)
		tide_raise(dir->tide, loop);
}

void relay_tide_done(struct relay_dir *dir)
{
	if (relay_tide_is_high(dir))
		tide_lower(dir->tide);
	free(dir->tide);
	dir->tide = NULL;
}

void relay_tide_thread_done(void)
{
	if (relay_tides.loop)
		timer_cancel(&relay_tides.timer);
	relay_tides.loop = NULL;
}
