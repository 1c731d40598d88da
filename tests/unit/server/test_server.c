/* SPDX-License-Identifier: Apache-2.0 */
/* States, rows of failures, places; the last two also from several threads at once. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/server.h"

#define THREADS 4
#define ROUNDS 20000

static struct addr address(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(str_from(text), &addr), 0);
	return addr;
}

static struct server *get(const char *identity, const char *text)
{
	struct addr addr = address(text);
	struct server *server = server_get(identity, &addr);

	assert_non_null(server);
	return server;
}

static void count_server(void *argument, const struct server *server)
{
	size_t *count = argument;

	*count += addr_port(server_addr(server));
}

static void test_found_by_identity_and_address(void **state)
{
	struct server *a = get("one", "192.0.2.1:1"), *again = get("one", "192.0.2.1:1"),
		      *b = get("one", "192.0.2.1:2"), *c = get("two", "192.0.2.1:1");
	uint64_t changes = server_changes();
	size_t ports = 0;

	(void)state;
	assert_ptr_equal(a, again);
	assert_ptr_not_equal(a, b);
	assert_ptr_not_equal(a, c);
	server_each("one", count_server, &ports);
	assert_int_equal(ports, 3);
	server_set_drained(a, true);
	assert_int_equal(server_changes(), changes + 1);
	server_unref(a);
	assert_int_equal(server_state(again, 0), SERVER_DRAINED);
	server_unref(again);
	assert_int_equal(server_changes(), changes + 2);
	/* Nobody knew it any more: a new one. */
	a = get("one", "192.0.2.1:1");
	assert_int_equal(server_state(a, 0), SERVER_UP);
	server_unref(a);
	server_unref(b);
	server_unref(c);
	server_unref(NULL);
	ports = 0;
	server_each("one", count_server, &ports);
	assert_int_equal(ports, 0);
}

static void test_states_and_what_is_stronger(void **state)
{
	struct server *server = get("o", "192.0.2.1:1");
	uint64_t changes = server_changes();

	(void)state;
	server_eject(server, 500);
	assert_int_equal(server_state(server, 499), SERVER_EJECTED);
	assert_int_equal(server_state(server, 500), SERVER_UP);
	server_set_checked(server, false, 100);
	assert_int_equal(server_state(server, 499), SERVER_DOWN);
	server_set_checked(server, false, 110);
	server_set_drained(server, true);
	server_set_drained(server, true);
	assert_int_equal(server_state(server, 499), SERVER_DRAINED);
	server_set_checked(server, true, 120);
	server_set_drained(server, false);
	assert_int_equal(server_state(server, 600), SERVER_UP);
	assert_int_equal(server_changes(), changes + 5);
	assert_string_equal(server_state_word(SERVER_EJECTED), "ejected");
	server_unref(server);
}

static void test_row_of_failures(void **state)
{
	struct server *server = get("o", "192.0.2.1:1");
	struct server_counts counts;

	(void)state;
	assert_false(server_note_failure(server, 3));
	assert_false(server_note_failure(server, 3));
	server_note_success(server);
	assert_false(server_note_failure(server, 3));
	assert_false(server_note_failure(server, 3));
	assert_true(server_note_failure(server, 3));
	/* Nobody ejected it: asked again after as many more. */
	assert_false(server_note_failure(server, 3));
	assert_false(server_note_failure(server, 0));
	assert_true(server_note_failure(server, 3));
	assert_false(server_note_failure(server, 3));
	server_eject(server, 10);
	assert_false(server_note_failure(server, 2));
	assert_true(server_note_failure(server, 2));
	server_count_check(server, true);
	server_count_check(server, false);
	server_count_check(server, false);
	server_read_counts(server, &counts);
	assert_int_equal(counts.connects, 1);
	assert_int_equal(counts.failures, 11);
	assert_int_equal(counts.ejections, 1);
	assert_int_equal(counts.checks_good, 1);
	assert_int_equal(counts.checks_bad, 2);
	server_unref(server);
}

static void test_slow_start(void **state)
{
	struct server *server = get("o", "192.0.2.1:1");

	(void)state;
	assert_int_equal(server_share(server, 1000, 5), 1000); /* new: nothing to spare it from */
	server_set_checked(server, true, 10);
	assert_int_equal(server_share(server, 1000, 11), 1000);
	server_set_checked(server, false, 20);
	server_set_checked(server, true, 1000);
	assert_int_equal(server_share(server, 1000, 999), SERVER_MIN_SHARE);
	assert_int_equal(server_share(server, 1000, 1000), SERVER_MIN_SHARE);
	assert_int_equal(server_share(server, 1000, 1500), 500);
	assert_int_equal(server_share(server, 1000, 2000), 1000);
	assert_int_equal(server_share(server, 0, 1500), 1000);
	server_eject(server, 5000);
	assert_int_equal(server_share(server, 1000, 5250), 250);
	assert_int_equal(server_share(server, 1000, 6000), 1000);
	server_unref(server);
}

static void test_places(void **state)
{
	struct server *server = get("o", "192.0.2.1:1");

	(void)state;
	assert_true(server_take_place(server, 2));
	assert_true(server_take_place(server, 2));
	assert_false(server_take_place(server, 2));
	assert_true(server_take_place(server, 0));
	assert_int_equal(server_load(server), 3);
	server_give_place(server);
	server_give_place(server);
	assert_true(server_take_place(server, 2));
	server_give_place(server);
	server_give_place(server);
	assert_int_equal(server_load(server), 0);
	server_unref(server);
}

static _Atomic uint32_t most;
static _Atomic uint32_t ejections;

static void *run_places(void *argument)
{
	for (int i = 0; i < ROUNDS; i++) {
		struct server *server = get("threads", "192.0.2.1:1");

		(void)argument;
		if (server_note_failure(server, 10))
			atomic_fetch_add(&ejections, 1);
		if (server_take_place(server, 2)) {
			if (server_load(server) > atomic_load(&most))
				atomic_store(&most, server_load(server));
			server_give_place(server);
		}
		server_unref(server);
	}
	return NULL;
}

static void test_places_and_rows_from_many_threads(void **state)
{
	struct server *server = get("threads", "192.0.2.1:1");
	pthread_t threads[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_places, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(server_load(server), 0);
	assert_in_range(most, 1, 2);
	/* Each row is told once, to one of them. */
	assert_int_equal(ejections, THREADS * ROUNDS / 10);
	server_unref(server);
}

struct waiting_thread {
	struct server_waiter waiter;
	int n_told;
	bool refuses;
};

static bool tell(struct server_waiter *waiter)
{
	struct waiting_thread *thread = container_of(waiter, struct waiting_thread, waiter);

	thread->n_told++;
	return !thread->refuses;
}

static void test_waiting_threads_are_told_in_turns(void **state)
{
	struct server_group *group = server_group_get("o"), *other = server_group_get("p");
	struct waiting_thread threads[3] = {
	    {.waiter.tell = tell}, {.waiter.tell = tell}, {.waiter.tell = tell}};

	(void)state;
	assert_ptr_not_equal(group, other);
	server_group_unref(other);
	assert_true(server_group_take_place(group, 1));
	assert_false(server_group_take_place(group, 1));
	for (int i = 0; i < 3; i++) {
		list_init(&threads[i].waiter.node);
		server_group_listen(group, &threads[i].waiter);
		server_group_listen(group, &threads[i].waiter);
	}
	server_group_give_place(group);
	server_group_tell(group); /* nobody waits: no thread is bothered */
	assert_int_equal(threads[0].n_told + threads[1].n_told + threads[2].n_told, 0);
	assert_true(server_group_enter(group, 2));
	assert_true(server_group_enter(group, 2));
	assert_false(server_group_enter(group, 2));
	for (int i = 0; i < 9; i++) {
		server_group_tell(group);
		server_group_heard(group, &threads[i % 3].waiter);
		assert_int_equal(threads[i % 3].n_told, i / 3 + 1);
	}
	/* One that cannot be told, and one that has not looked yet, are passed over. */
	threads[0].refuses = true;
	server_group_tell(group);
	assert_int_equal(threads[1].n_told, 4);
	server_group_tell(group);
	assert_int_equal(threads[2].n_told, 4);
	server_group_tell(group);
	assert_int_equal(threads[1].n_told + threads[2].n_told, 8);
	for (int i = 0; i < 3; i++)
		server_group_ignore(group, &threads[i].waiter);
	server_group_tell(group);
	assert_int_equal(threads[1].n_told + threads[2].n_told, 8);
	server_group_leave(group);
	server_group_leave(group);
	assert_int_equal(server_group_waiting(group), 0);
	assert_int_equal(server_group_load(group), 0);
	server_group_unref(group);
	server_group_unref(NULL);
}

static void test_reasons_are_kept_and_bounded(void **state)
{
	struct server *server = get("one", "192.0.2.1:1");
	char why[SERVER_REASON_MAX], longer[2 * SERVER_REASON_MAX];

	(void)state;
	server_read_reason(server, why);
	assert_string_equal(why, "");
	server_note_reason(server, "refused");
	server_note_reason(server, "a \x1b[2J\n\xffname");
	server_read_reason(server, why);
	assert_string_equal(why, "a ?[2J??name");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	server_note_reason(server, longer);
	server_read_reason(server, why);
	assert_int_equal(strlen(why), SERVER_REASON_MAX - 1);
	server_unref(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_found_by_identity_and_address),
	    cmocka_unit_test(test_reasons_are_kept_and_bounded),
	    cmocka_unit_test(test_states_and_what_is_stronger),
	    cmocka_unit_test(test_row_of_failures),
	    cmocka_unit_test(test_slow_start),
	    cmocka_unit_test(test_places),
	    cmocka_unit_test(test_places_and_rows_from_many_threads),
	    cmocka_unit_test(test_waiting_threads_are_told_in_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
