/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that wait for a place, first come first served in each thread; between threads the
 * server group tells in turns. Nobody who comes later overtakes: while anybody waits, all queue. A
 * slow timer looks again, for what no connection's end announces: a server that came up, a wake-up
 * that found no memory.
 */
#include "origin/origin_internal.h"

#include "stats/stats.h"

#define ORIGIN_QUEUE_LOOK_MS 100

static void origin_queue_serve(struct origin_state *state);

/* In the thread that was told. Serving may end queues, also of others in the list: so each in turn
 * is moved to its end, as many as there were. */
static void origin_queue_hear(void *argument)
{
	struct origin_table *table = argument;
	size_t n_states = 0;
	struct list *node;

	list_for_each (waiting, &table->waiting)
		n_states++;
	for (; n_states && (node = list_first(&table->waiting)); n_states--) {
		list_del(node);
		list_add_tail(node, &table->waiting);
		origin_queue_serve(container_of(node, struct origin_state, queue_node));
	}
}

static bool origin_queue_tell(struct server_waiter *waiter)
{
	struct origin_state *state = container_of(waiter, struct origin_state, waiter);

	return loop_post(state->table->loop, origin_queue_hear, state->table) == 0;
}

static void origin_queue_look(struct timer *timer)
{
	origin_queue_serve(container_of(timer, struct origin_state, queue_timer));
}

void origin_queue_init(struct origin_state *state)
{
	list_init(&state->queue);
	list_init(&state->queue_node);
	list_init(&state->waiter.node);
	state->waiter.tell = origin_queue_tell;
	timer_init(&state->queue_timer, origin_queue_look);
}

bool origin_queue_is_used(const struct origin *origin)
{
	return origin->is_bounded && server_group_waiting(origin->state->group) > 0;
}

void origin_queue_leave(struct origin_attempt *attempt)
{
	struct origin_state *state = attempt->origin->state;

	if (list_is_empty(&attempt->node))
		return;
	list_del(&attempt->node);
	timer_cancel(&attempt->timer);
	server_group_leave(state->group);
	stats_add(STAT_ORIGIN_WAITING, -1);
	if (!list_is_empty(&state->queue))
		return;
	server_group_ignore(state->group, &state->waiter);
	list_del(&state->queue_node);
	timer_cancel(&state->queue_timer);
}

/* False where the first in the queue has to go on waiting. */
static bool origin_queue_serve_first(struct origin_state *state)
{
	struct origin_attempt *attempt =
	    container_of(state->queue.next, struct origin_attempt, node);
	struct origin_server *server;

	switch (origin_choose(attempt->origin, &attempt->wish, &server)) {
	case ORIGIN_CHOSEN:
		origin_queue_leave(attempt);
		origin_attempt_go(attempt, server);
		return true;
	case ORIGIN_NONE:
		origin_queue_leave(attempt);
		origin_attempt_give_up(attempt);
		return true;
	case ORIGIN_FULL:
		break;
	}
	return false;
}

static void origin_queue_serve(struct origin_state *state)
{
	origin_state_ref(state);
	server_group_heard(state->group, &state->waiter);
	while (!list_is_empty(&state->queue) && origin_queue_serve_first(state))
		;
	if (!list_is_empty(&state->queue))
		loop_timer_arm(state->table->loop, &state->queue_timer, ORIGIN_QUEUE_LOOK_MS);
	origin_state_unref(state);
}

static void origin_queue_arm(struct origin_attempt *attempt)
{
	const struct conf_origin *conf = attempt->origin->conf;
	struct loop *loop = attempt->origin->state->table->loop;
	uint64_t now_ms = loop_now_ms(loop);

	if (!attempt->waits_until_ms)
		attempt->waits_until_ms =
		    now_ms +
		    (conf->queue_timeout_ms ? conf->queue_timeout_ms : conf->connect_timeout_ms);
	loop_timer_arm(loop, &attempt->timer,
		       attempt->waits_until_ms > now_ms ? attempt->waits_until_ms - now_ms : 0);
}

bool origin_queue_enter(struct origin_attempt *attempt)
{
	struct origin_state *state = attempt->origin->state;

	if (!server_group_enter(state->group, attempt->origin->conf->queue))
		return false;
	stats_inc(STAT_ORIGIN_QUEUED);
	stats_inc(STAT_ORIGIN_WAITING);
	list_add_tail(&attempt->node, &state->queue);
	origin_queue_arm(attempt);
	if (state->queue.next != &attempt->node)
		return true;
	server_group_listen(state->group, &state->waiter);
	list_add_tail(&state->queue_node, &state->table->waiting);
	loop_timer_arm(state->table->loop, &state->queue_timer, ORIGIN_QUEUE_LOOK_MS);
	/* A place may have come free before we could be told. */
	(void)origin_queue_serve_first(state);
	return true;
}
