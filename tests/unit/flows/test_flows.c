/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "flows/flows.h"
#include "penstock/limits.h"

static void test_slots_are_taken_read_and_given(void **state)
{
	struct flows *flows = flows_new(-1, 2);
	struct stream_value *one, *other, value;
	uint64_t first_id;

	(void)state;
	assert_non_null(flows);
	one = flows_take(flows, 0);
	other = flows_take(flows, 1);
	assert_int_not_equal(one->id, other->id);
	one->bytes_up = 7;
	assert_true(flows_read(flows, flows_index(flows, one), &value));
	assert_int_equal(value.bytes_up, 7);
	first_id = one->id;
	flows_give(flows, 0, one);
	assert_false(flows_read(flows, flows_index(flows, one), &value));
	assert_ptr_equal(flows_take(flows, 0), one);
	assert_int_equal(one->bytes_up, 0);
	assert_int_not_equal(one->id, first_id);
	assert_false(flows_read(flows, PENSTOCK_MAX_STREAMS, &value));
	flows_give(flows, 0, NULL);
	flows_free(flows);
}

static void test_each_thread_has_its_range_and_no_more(void **state)
{
	struct flows *flows = flows_new(-1, 3);
	size_t taken = 0;

	(void)state;
	assert_non_null(flows);
	while (flows_take(flows, 1))
		taken++;
	assert_int_equal(taken, PENSTOCK_MAX_STREAMS / 3);
	assert_non_null(flows_take(flows, 0));
	assert_non_null(flows_take(flows, 2));
	flows_free(flows);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_slots_are_taken_read_and_given),
	    cmocka_unit_test(test_each_thread_has_its_range_and_no_more),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
