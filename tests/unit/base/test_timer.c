/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/timer.h"

#define MANY 2000

struct entry {
	struct timer timer;
	uint64_t at_ms;
	uint64_t fired_ms; /* 0: not yet */
};

static uint64_t now_ms;

static void note(struct timer *timer)
{
	container_of(timer, struct entry, timer)->fired_ms = now_ms;
}

/* Turns the wheel when it asks for it, as a loop does. */
static void run_until(struct timer_wheel *wheel, uint64_t end_ms)
{
	while (now_ms < end_ms) {
		int wait_ms = timer_wheel_wait_ms(wheel, now_ms);

		if (wait_ms < 0 || now_ms + (uint64_t)wait_ms > end_ms)
			now_ms = end_ms;
		else
			now_ms += (uint64_t)wait_ms;
		timer_wheel_turn(wheel, now_ms);
	}
}

static void test_fires_at_its_time(void **state)
{
	static const uint64_t delays_ms[] = {0,	   1,	  4,	 5,	  255,	   256,	    257,
					     1000, 16384, 16385, 1048576, 5000000, 70000000};
	struct timer_wheel wheel;

	(void)state;
	for (size_t i = 0; i < sizeof(delays_ms) / sizeof(delays_ms[0]); i++) {
		struct entry entry = {0};

		now_ms = 123456789;
		timer_wheel_init(&wheel, now_ms);
		timer_init(&entry.timer, note);
		entry.at_ms = now_ms + delays_ms[i];
		timer_arm(&wheel, &entry.timer, entry.at_ms);
		run_until(&wheel, entry.at_ms + 10 * TIMER_TICK_MS);
		assert_in_range(entry.fired_ms, entry.at_ms, entry.at_ms + 2 * TIMER_TICK_MS);
		assert_false(timer_is_armed(&entry.timer));
		assert_int_equal(timer_wheel_wait_ms(&wheel, now_ms) < 0 ||
				     timer_wheel_wait_ms(&wheel, now_ms) > 0,
				 1);
	}
}

static void test_many_in_any_order(void **state)
{
	struct entry *entries = calloc(MANY, sizeof(*entries));
	struct timer_wheel wheel;
	uint64_t last_ms = 0;

	(void)state;
	assert_non_null(entries);
	srand(1);
	now_ms = 999;
	timer_wheel_init(&wheel, now_ms);
	for (int i = 0; i < MANY; i++) {
		timer_init(&entries[i].timer, note);
		entries[i].at_ms = now_ms + (uint64_t)(rand() % (1 << (rand() % 24)));
		timer_arm(&wheel, &entries[i].timer, entries[i].at_ms);
		if (entries[i].at_ms > last_ms)
			last_ms = entries[i].at_ms;
	}
	for (int i = 0; i < MANY; i += 7)
		timer_cancel(&entries[i].timer);
	run_until(&wheel, last_ms + 100);
	for (int i = 0; i < MANY; i++) {
		if (i % 7 == 0)
			assert_int_equal(entries[i].fired_ms, 0);
		else
			assert_in_range(entries[i].fired_ms, entries[i].at_ms,
					entries[i].at_ms + 2 * TIMER_TICK_MS);
	}
	free(entries);
}

static struct timer_wheel *rearm_wheel;

static void rearm(struct timer *timer)
{
	struct entry *entry = container_of(timer, struct entry, timer);

	if (++entry->fired_ms < 5)
		timer_arm(rearm_wheel, timer, now_ms);
}

static void test_arming_for_now_inside_a_callback_ends(void **state)
{
	struct timer_wheel wheel;
	struct entry entry = {0};

	(void)state;
	now_ms = 5000;
	rearm_wheel = &wheel;
	timer_wheel_init(&wheel, now_ms);
	timer_init(&entry.timer, rearm);
	timer_arm(&wheel, &entry.timer, now_ms);
	timer_wheel_turn(&wheel, now_ms);
	assert_int_equal(entry.fired_ms, 1);
	run_until(&wheel, now_ms + 100);
	assert_int_equal(entry.fired_ms, 5);
}

static void test_wheel_after_a_long_sleep(void **state)
{
	struct timer_wheel wheel;
	struct entry entry = {0};

	(void)state;
	now_ms = 0;
	timer_wheel_init(&wheel, now_ms);
	timer_init(&entry.timer, note);
	timer_arm(&wheel, &entry.timer, 300);
	now_ms = 86400000;
	timer_wheel_turn(&wheel, now_ms);
	assert_int_equal(entry.fired_ms, now_ms);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_fires_at_its_time),
	    cmocka_unit_test(test_many_in_any_order),
	    cmocka_unit_test(test_arming_for_now_inside_a_callback_ends),
	    cmocka_unit_test(test_wheel_after_a_long_sleep),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
