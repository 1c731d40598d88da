/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hierarchical timing wheel (Varghese and Lauck, SOSP 1987): arming and cancelling cost the same
 * however many timers there are. It is not a clock: the caller says what time it is. A timer never
 * fires early, and late by at most one tick plus the time until the owner turns the wheel.
 */
#ifndef PENSTOCK_BASE_TIMER_H
#define PENSTOCK_BASE_TIMER_H

#include <stdint.h>

#include "base/list.h"

#define TIMER_TICK_MS 4
#define TIMER_LEVELS 5
#define TIMER_LEVEL_BITS 6
#define TIMER_LEVEL_SLOTS (1 << TIMER_LEVEL_BITS)

struct timer {
	struct list node; /* on a slot while armed */
	uint64_t expiry_tick;
	void (*on_expiry)(struct timer *timer); /* may arm it again, and may free what holds it */
};

struct timer_wheel {
	uint64_t tick; /* every timer of an earlier tick has fired */
	uint64_t
	    occupied[TIMER_LEVELS]; /* bit per slot; a set bit may be stale, a clear one never is */
	struct list slots[TIMER_LEVELS][TIMER_LEVEL_SLOTS];
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

void timer_init(struct timer *timer, void (*on_expiry)(struct timer *timer));

static inline bool timer_is_armed(const struct timer *timer)
{
	return !list_is_empty(&timer->node);
}

/* Arms, or arms again, for `at_ms` (the same clock as the wheel's); a time gone by fires at the
 * next turn. */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t at_ms);

/* Also right for a timer that is not armed. */
void timer_cancel(struct timer *timer);

/* Fires what is due at `now_ms`. */
void timer_wheel_turn(struct timer_wheel *wheel, uint64_t now_ms);

/* Milliseconds from `now_ms` until the wheel wants to be turned; -1 where nothing is armed. It may
 * be earlier than the first expiry, never later. */
int timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms);

#endif
