/* SPDX-License-Identifier: Apache-2.0 */
/* Bulk to or from what can be spliced only when it is asked to: TLS whose records wait in user
 * space. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bench.h"

/* A receiver that must see the bytes, until it is asked and nothing stands against it. */
static struct io_ops waiting_ops;
static const struct io_ops *plain_ops;
static unsigned int n_asked, n_refusals;
static bool refuses_for_good;

static bool wait_for_bulk(struct io *io, bool now)
{
	if (!now)
		return !(refuses_for_good && n_asked > 0);
	if (n_asked++ < n_refusals)
		return true;
	if (!refuses_for_good)
		io->ops = plain_ops;
	return false;
}

static void start_waiting(enum relay_engine engine, unsigned int refusals, bool for_good)
{
	bench_connect();
	plain_ops = bench.b.ops;
	waiting_ops = *plain_ops;
	waiting_ops.splice_in = NULL;
	waiting_ops.splice_out = NULL;
	waiting_ops.may_splice = wait_for_bulk;
	bench.b.ops = &waiting_ops;
	n_asked = 0;
	n_refusals = refusals;
	refuses_for_good = for_good;
	bench_relay(engine, NULL);
}

static void test_bulk_asks_for_what_a_pipe_needs(void **state)
{
	(void)state;
	start_waiting(RELAY_ENGINE_AUTO, 2, false);
	transfer(bench.client, bench.origin, 4096, 65536);
	assert_int_equal(n_asked, 0);
	assert_ptr_equal(bench.b.ops, &waiting_ops);
	transfer(bench.client, bench.origin, 4 << 20, 65536);
	assert_int_equal(n_asked, 3);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	assert_null(bench.relay.up.engine_reason);
	bench_stop();
}

static void test_a_pipe_that_was_asked_for_does_not_wait(void **state)
{
	(void)state;
	start_waiting(RELAY_ENGINE_PIPE, 0, false);
	transfer(bench.client, bench.origin, 4096, 65536);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_PIPE);
	bench_stop();
}

static void test_a_refusal_is_final(void **state)
{
	(void)state;
	start_waiting(RELAY_ENGINE_AUTO, 0, true);
	transfer(bench.client, bench.origin, 4 << 20, 65536);
	assert_int_equal(n_asked, 1);
	assert_int_equal(bench.relay.up.engine, RELAY_ENGINE_COPY);
	assert_string_equal(bench.relay.up.engine_reason,
			    "TLS in user space: the bytes must be seen");
	bench_stop();
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bulk_asks_for_what_a_pipe_needs),
	    cmocka_unit_test(test_a_pipe_that_was_asked_for_does_not_wait),
	    cmocka_unit_test(test_a_refusal_is_final),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
