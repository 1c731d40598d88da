/* SPDX-License-Identifier: Apache-2.0 */
#include "base/timer.h"

#include <limits.h>

#include "base/compiler.h"

#define TIMER_SLOT_MASK (TIMER_LEVEL_SLOTS - 1)
#define TIMER_MAX_TICKS ((UINT64_C(1) << (TIMER_LEVELS * TIMER_LEVEL_BITS)) - 1)

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
	wheel->tick = now_ms / TIMER_TICK_MS;
	for (int level = 0; level < TIMER_LEVELS; level++) {
		wheel->occupied[level] = 0;
		for (int slot = 0; slot < TIMER_LEVEL_SLOTS; slot++)
			list_init(&wheel->slots[level][slot]);
	}
}

void timer_init(struct timer *timer, void (*on_expiry)(struct timer *timer))
{
	*timer = (struct timer){.on_expiry = on_expiry};
	list_init(&timer->node);
}

/* The level is that of the highest digit in which the expiry differs from now. */
static void timer_wheel_place(struct timer_wheel *wheel, struct timer *timer)
{
	uint64_t differing = timer->expiry_tick ^ wheel->tick;
	int level = 0;
	unsigned int slot;

	while (level < TIMER_LEVELS - 1 && differing >> ((level + 1) * TIMER_LEVEL_BITS))
		level++;
	slot = (timer->expiry_tick >> (level * TIMER_LEVEL_BITS)) & TIMER_SLOT_MASK;
	list_add_tail(&timer->node, &wheel->slots[level][slot]);
	wheel->occupied[level] |= UINT64_C(1) << slot;
}

void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t at_ms)
{
	uint64_t at_tick = at_ms / TIMER_TICK_MS + (at_ms % TIMER_TICK_MS != 0);

	timer_cancel(timer);
	timer->expiry_tick = MAX(at_tick, wheel->tick);
	if (timer->expiry_tick - wheel->tick > TIMER_MAX_TICKS / 2)
		timer->expiry_tick = wheel->tick + TIMER_MAX_TICKS / 2;
	timer_wheel_place(wheel, timer);
}

void timer_cancel(struct timer *timer)
{
	list_del(&timer->node);
}

/* Takes the whole slot first, so that a callback may arm into the slot that is being emptied. */
static void timer_wheel_take_slot(struct timer_wheel *wheel, int level, unsigned int slot,
				  struct list *taken)
{
	struct list *head = &wheel->slots[level][slot];

	list_init(taken);
	wheel->occupied[level] &= ~(UINT64_C(1) << slot);
	if (list_is_empty(head))
		return;
	list_add_head(taken, head);
	list_del(head);
}

/* At the turn of a digit the slot one level up holds what is due within the next round: spread it
 * over the lower. */
static void timer_wheel_cascade(struct timer_wheel *wheel)
{
	struct list taken, *node;

	for (int level = 1; level < TIMER_LEVELS; level++) {
		unsigned int slot = (wheel->tick >> (level * TIMER_LEVEL_BITS)) & TIMER_SLOT_MASK;

		timer_wheel_take_slot(wheel, level, slot, &taken);
		while ((node = list_first(&taken))) {
			list_del(node);
			timer_wheel_place(wheel, container_of(node, struct timer, node));
		}
		if (slot)
			break;
	}
}

/* The next tick at which something is to be done: a slot of level 0 fires, or one above is spread.
 */
static uint64_t timer_wheel_next_tick(const struct timer_wheel *wheel)
{
	for (int level = 0; level < TIMER_LEVELS; level++) {
		unsigned int shift = (unsigned int)(level * TIMER_LEVEL_BITS);
		unsigned int digit = (wheel->tick >> shift) & TIMER_SLOT_MASK;
		uint64_t ahead = wheel->occupied[level] & (~UINT64_C(0) << digit);
		uint64_t round = wheel->tick >> (shift + TIMER_LEVEL_BITS);

		if (level > 0)
			ahead &= ~(UINT64_C(1) << digit);
		if (ahead)
			return ((round << TIMER_LEVEL_BITS) + (unsigned int)__builtin_ctzll(ahead))
			       << shift;
		if (wheel->occupied[level])
			return (round + 1) << (shift + TIMER_LEVEL_BITS);
	}
	return UINT64_MAX;
}

static void timer_wheel_advance(struct timer_wheel *wheel, uint64_t tick)
{
	wheel->tick = tick;
	if ((tick & TIMER_SLOT_MASK) == 0)
		timer_wheel_cascade(wheel);
}

/* The tick is over before its timers fire: one that arms itself for now waits for the next. */
static void timer_wheel_fire(struct timer_wheel *wheel)
{
	struct list taken, *node;

	timer_wheel_take_slot(wheel, 0, wheel->tick & TIMER_SLOT_MASK, &taken);
	timer_wheel_advance(wheel, wheel->tick + 1);
	while ((node = list_first(&taken))) {
		struct timer *timer = container_of(node, struct timer, node);

		list_del(node);
		timer->on_expiry(timer);
	}
}

void timer_wheel_turn(struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t now_tick = now_ms / TIMER_TICK_MS;

	while (wheel->tick <= now_tick) {
		uint64_t next = MIN(timer_wheel_next_tick(wheel), now_tick + 1);

		if (next > wheel->tick)
			timer_wheel_advance(wheel, next);
		if (wheel->tick <= now_tick)
			timer_wheel_fire(wheel);
	}
}

int timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms)
{
	uint64_t next = timer_wheel_next_tick(wheel);
	uint64_t at_ms;

	if (next == UINT64_MAX)
		return -1;
	at_ms = next * TIMER_TICK_MS;
	if (at_ms <= now_ms)
		return 0;
	return (int)MIN(at_ms - now_ms, (uint64_t)INT_MAX);
}
