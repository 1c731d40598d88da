/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "limit/limit.h"

static struct addr source(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse_host(str_from(text), &addr), 0);
	return addr;
}

static enum limit_verdict take(struct limit_table *table, const char *text,
			       struct limit_bounds bounds, uint64_t now_ms)
{
	struct addr addr = source(text);
	bool is_counted;

	return limit_take(table, 1, &addr, &bounds, now_ms, &is_counted);
}

static void give(struct limit_table *table, const char *text)
{
	struct addr addr = source(text);

	limit_give(table, 1, &addr);
}

static void test_connections_of_a_source(void **state)
{
	struct limit_bounds two = {.connections = 2};
	struct limit_table *table = limit_table_new(64);

	(void)state;
	assert_int_equal(take(table, "192.0.2.1", two, 1), LIMIT_OK);
	assert_int_equal(take(table, "192.0.2.1", two, 1), LIMIT_OK);
	assert_int_equal(take(table, "192.0.2.1", two, 1), LIMIT_TOO_MANY);
	assert_int_equal(take(table, "::ffff:192.0.2.1", two, 1), LIMIT_TOO_MANY);
	assert_int_equal(take(table, "192.0.2.2", two, 1), LIMIT_OK);
	give(table, "192.0.2.1");
	assert_int_equal(take(table, "192.0.2.1", two, 1), LIMIT_OK);
	limit_table_free(table);
}

static void test_scopes_are_apart_and_have_bounds_of_their_own(void **state)
{
	struct limit_bounds one = {.connections = 1}, two = {.rate_per_s = 2};
	struct limit_table *table = limit_table_new(64);
	struct addr addr = source("192.0.2.1");
	bool is_counted;

	(void)state;
	assert_int_not_equal(limit_scope("a"), limit_scope("b"));
	assert_int_equal(limit_take(table, 1, &addr, &one, 1, &is_counted), LIMIT_OK);
	assert_int_equal(limit_take(table, 2, &addr, &one, 1, &is_counted), LIMIT_OK);
	assert_int_equal(limit_take(table, 2, &addr, &one, 1, &is_counted), LIMIT_TOO_MANY);
	assert_int_equal(limit_take(table, 1, NULL, &two, 1, &is_counted), LIMIT_OK);
	assert_int_equal(limit_take(table, 1, NULL, &two, 1, &is_counted), LIMIT_OK);
	assert_int_equal(limit_take(table, 1, NULL, &two, 1, &is_counted), LIMIT_TOO_FAST);
	limit_table_free(table);
}

static void test_ipv6_counts_by_its_64(void **state)
{
	struct limit_bounds one = {.connections = 1};
	struct limit_table *table = limit_table_new(64);

	(void)state;
	assert_int_equal(take(table, "2001:db8:0:1::1", one, 1), LIMIT_OK);
	assert_int_equal(take(table, "2001:db8:0:1:ffff::2", one, 1), LIMIT_TOO_MANY);
	assert_int_equal(take(table, "2001:db8:0:2::1", one, 1), LIMIT_OK);
	limit_table_free(table);
}

/* ::1 is of the network whose 64 bits are zero, and a UNIX socket's client has no address. */
static void test_whole_and_unix_are_no_addresses(void **state)
{
	struct limit_bounds one = {.connections = 1};
	struct addr local = {.un = {.sun_family = AF_UNIX}, .len = sizeof(sa_family_t)};
	struct limit_table *table = limit_table_new(64);
	bool is_counted;

	(void)state;
	assert_int_equal(limit_take(table, 1, NULL, &one, 1, &is_counted), LIMIT_OK);
	assert_int_equal(take(table, "::1", one, 1), LIMIT_OK);
	assert_int_equal(limit_take(table, 1, &local, &one, 1, &is_counted), LIMIT_OK);
	assert_int_equal(limit_take(table, 1, &local, &one, 1, &is_counted), LIMIT_TOO_MANY);
	assert_int_equal(take(table, "0.0.0.0", one, 1), LIMIT_OK);
	limit_table_free(table);
}

static void test_rate_with_a_second_of_burst(void **state)
{
	struct limit_bounds ten = {.rate_per_s = 10};
	struct limit_table *table = limit_table_new(64);

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(take(table, "192.0.2.1", ten, 5000), LIMIT_OK);
	assert_int_equal(take(table, "192.0.2.1", ten, 5000), LIMIT_TOO_FAST);
	assert_int_equal(take(table, "192.0.2.1", ten, 5099), LIMIT_TOO_FAST);
	assert_int_equal(take(table, "192.0.2.1", ten, 5100), LIMIT_OK);
	assert_int_equal(take(table, "192.0.2.1", ten, 5100), LIMIT_TOO_FAST);
	for (int i = 0; i < 10; i++)
		assert_int_equal(take(table, "192.0.2.1", ten, 60000), LIMIT_OK);
	limit_table_free(table);
}

static void test_table_is_bounded_and_keeps_who_is_connected(void **state)
{
	struct limit_bounds one = {.connections = 1};
	struct limit_table *table = limit_table_new(64);
	char text[32];

	(void)state;
	assert_int_equal(take(table, "192.0.2.1", one, 1), LIMIT_OK);
	for (unsigned int i = 0; i < 100000; i++) {
		snprintf(text, sizeof(text), "198.%u.%u.%u", 18 + i / 65536, i / 256 % 256,
			 i % 256);
		if (take(table, text, one, 2 + i) == LIMIT_OK)
			give(table, text);
	}
	assert_int_equal(take(table, "192.0.2.1", one, 200000), LIMIT_TOO_MANY);
	limit_table_free(table);
}

static void test_full_sets_let_others_in_uncounted(void **state)
{
	struct limit_bounds one = {.connections = 1};
	struct limit_table *table = limit_table_new(64);
	unsigned int uncounted = 0;
	char text[32];

	(void)state;
	for (unsigned int i = 0; i < 1000; i++) {
		struct addr addr;
		bool is_counted;

		snprintf(text, sizeof(text), "198.18.%u.%u", i / 256, i % 256);
		addr = source(text);
		assert_int_equal(limit_take(table, 1, &addr, &one, 1, &is_counted), LIMIT_OK);
		uncounted += !is_counted;
	}
	assert_int_equal(uncounted, 1000 - 64);
	limit_table_free(table);
}

struct contest {
	struct limit_rate rate;
	_Atomic unsigned int passed;
};

static void *contend(void *argument)
{
	struct contest *contest = argument;

	for (int i = 0; i < 10000; i++)
		if (limit_rate_take(&contest->rate, 1000, 1000000))
			contest->passed++;
	return NULL;
}

static void test_rate_holds_over_threads(void **state)
{
	struct contest contest = {0};
	pthread_t threads[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, contend, &contest), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(contest.passed, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_connections_of_a_source),
	    cmocka_unit_test(test_scopes_are_apart_and_have_bounds_of_their_own),
	    cmocka_unit_test(test_ipv6_counts_by_its_64),
	    cmocka_unit_test(test_whole_and_unix_are_no_addresses),
	    cmocka_unit_test(test_rate_with_a_second_of_burst),
	    cmocka_unit_test(test_table_is_bounded_and_keeps_who_is_connected),
	    cmocka_unit_test(test_full_sets_let_others_in_uncounted),
	    cmocka_unit_test(test_rate_holds_over_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
