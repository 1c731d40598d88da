/* SPDX-License-Identifier: Apache-2.0 */
/* Counting from many threads, and tallies that outlive those who ask for them. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "stats/stats.h"
#include "stats/tally.h"

#define N_THREADS 8
#define N_COUNTS 20000

static void *count(void *argument)
{
	struct tally *tally = argument;

	/* Every other thread has no block of its own and shares one. */
	if ((uintptr_t)pthread_self() / 4096 % 2 && stats_thread_init())
		return NULL;
	for (int i = 0; i < N_COUNTS; i++) {
		tally_add(tally, TALLY_REQUESTS, 1);
		stats_inc(STAT_REQUESTS);
		stats_count_close(CLOSE_NO_ROUTE);
	}
	return argument;
}

static void test_no_count_is_lost(void **state)
{
	uint64_t requests = stats_sum(STAT_REQUESTS), closes = stats_sum_close(CLOSE_NO_ROUTE);
	struct tally *tally = tally_get("threads");
	pthread_t threads[N_THREADS];

	(void)state;
	assert_non_null(tally);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, tally), 0);
	for (int i = 0; i < N_THREADS; i++) {
		void *result;

		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_non_null(result);
	}
	assert_int_equal(tally_sum(tally, TALLY_REQUESTS), N_THREADS * N_COUNTS);
	assert_int_equal(stats_sum(STAT_REQUESTS) - requests, N_THREADS * N_COUNTS);
	assert_int_equal(stats_sum_close(CLOSE_NO_ROUTE) - closes, N_THREADS * N_COUNTS);
	tally_unref(tally);
}

static void test_tally_lives_while_anybody_refers_to_it(void **state)
{
	struct tally *first = tally_get("route"), *again = tally_get("route");

	(void)state;
	assert_ptr_equal(first, again);
	tally_add(first, TALLY_CONNECTIONS, 3);
	tally_note(first, TALLY_RELAY, "pipe");
	tally_unref(first);
	assert_int_equal(tally_sum(again, TALLY_CONNECTIONS), 3);
	assert_string_equal(tally_word(again, TALLY_RELAY), "pipe");
	tally_unref(again);
	first = tally_get("route");
	assert_int_equal(tally_sum(first, TALLY_CONNECTIONS), 0);
	assert_null(tally_word(first, TALLY_RELAY));
	tally_unref(first);
}

static void test_every_counter_and_reason_has_its_words(void **state)
{
	(void)state;
	for (int i = 0; i < STAT_MAX; i++) {
		assert_non_null(stats_word((enum stats_counter)i));
		assert_non_null(stats_help((enum stats_counter)i));
	}
	for (int i = 0; i < CLOSE_REASON_MAX; i++) {
		assert_non_null(close_reason_word((enum close_reason)i));
		assert_non_null(close_reason_help((enum close_reason)i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_no_count_is_lost),
	    cmocka_unit_test(test_tally_lives_while_anybody_refers_to_it),
	    cmocka_unit_test(test_every_counter_and_reason_has_its_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
