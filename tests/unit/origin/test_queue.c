/* SPDX-License-Identifier: Apache-2.0 */
/* Places and who waits for one: order, bounds, timeouts, and other threads. */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "rig.h"

#define THREADS 4
#define ROUNDS 100

static void bound(struct fixture *fixture, uint32_t per_server, uint32_t per_origin, uint32_t queue)
{
	for (size_t i = 0; i < RIG_SERVERS; i++)
		fixture->servers[i].max_connections = per_server;
	fixture->origin.max_connections = per_origin;
	fixture->origin.queue = queue;
	fixture->origin.queue_timeout_ms = 60000;
}

static void test_first_come_first_served(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[4], late;
	struct server *shared;

	(void)state;
	rig_setup(&fixture, 1);
	bound(&fixture, 1, 0, 3);
	view = rig_view(&fixture);
	shared = rig_shared(&fixture, 0);
	rig_acquire(&fixture, view, &wishes[0]);
	for (int i = 1; i < 4; i++)
		rig_ask(&fixture, view, &wishes[i], NULL);
	rig_turn(&fixture, 2);
	rig_acquire(&fixture, view, &late);
	assert_null(late.conn);
	assert_int_equal(late.reason, CLOSE_ORIGIN_QUEUE_FULL);
	assert_string_equal(late.detail, "all places are taken");
	fixture.origin.queue = 4;
	for (int i = 1; i < 4; i++) {
		assert_int_equal(wishes[i].answers, 0);
		/* Once released, once closed: both make room. */
		if (i % 2)
			origin_release(wishes[i - 1].conn);
		else
			origin_discard(wishes[i - 1].conn);
		/* Whoever comes now stands behind. */
		if (i == 1)
			rig_ask(&fixture, view, &late, NULL);
		rig_await(&fixture, &wishes[i]);
		assert_non_null(wishes[i].conn);
		assert_int_equal(wishes[i].conn->reused, i % 2);
		assert_int_equal(server_load(shared), 1);
	}
	assert_int_equal(late.answers, 0);
	origin_discard(wishes[3].conn);
	rig_await(&fixture, &late);
	origin_discard(late.conn);
	assert_int_equal(server_load(shared), 0);
	server_unref(shared);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_idle_connections_take_no_place(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[2];

	(void)state;
	rig_setup(&fixture, 2);
	bound(&fixture, 0, 1, 0);
	view = rig_view(&fixture);
	/* Round robin: the second goes to the other server, while the first's connection idles. */
	for (int i = 0; i < 2; i++) {
		rig_acquire(&fixture, view, &wishes[i]);
		assert_non_null(wishes[i].conn);
		assert_false(wishes[i].conn->reused);
		origin_release(wishes[i].conn);
	}
	rig_acquire(&fixture, view, &wishes[0]);
	assert_true(wishes[0].conn->reused);
	rig_acquire(&fixture, view, &wishes[1]);
	assert_int_equal(wishes[1].reason, CLOSE_ORIGIN_QUEUE_FULL);
	origin_discard(wishes[0].conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_full_server_leaves_it_to_others(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[3];

	(void)state;
	rig_setup(&fixture, 3);
	bound(&fixture, 1, 0, 0);
	fixture.servers[2].is_backup = true; /* not for those that are only full */
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wishes[0]);
	rig_acquire(&fixture, view, &wishes[1]);
	assert_int_equal(
	    rig_server_of(&fixture, wishes[0].conn) + rig_server_of(&fixture, wishes[1].conn), 1);
	rig_acquire(&fixture, view, &wishes[2]);
	assert_int_equal(wishes[2].reason, CLOSE_ORIGIN_QUEUE_FULL);
	origin_discard(wishes[0].conn);
	origin_discard(wishes[1].conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

static void test_waiting_ends_by_time_and_by_cancelling(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[3];

	(void)state;
	rig_setup(&fixture, 1);
	bound(&fixture, 0, 1, 2);
	fixture.origin.queue_timeout_ms = 30;
	view = rig_view(&fixture);
	rig_acquire(&fixture, view, &wishes[0]);
	rig_ask(&fixture, view, &wishes[1], NULL);
	rig_ask(&fixture, view, &wishes[2], NULL);
	origin_cancel(&wishes[2].request);
	rig_await(&fixture, &wishes[1]);
	assert_null(wishes[1].conn);
	assert_int_equal(wishes[1].reason, CLOSE_ORIGIN_QUEUE_TIMEOUT);
	assert_int_equal(wishes[2].answers, 0);
	/* Both places of the queue are free again. */
	fixture.origin.queue_timeout_ms = 60000;
	rig_ask(&fixture, view, &wishes[1], NULL);
	rig_ask(&fixture, view, &wishes[2], NULL);
	rig_turn(&fixture, 2);
	assert_int_equal(wishes[1].answers + wishes[2].answers, 0);
	origin_cancel(&wishes[1].request);
	origin_discard(wishes[0].conn);
	rig_await(&fixture, &wishes[2]);
	origin_discard(wishes[2].conn);
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* Nobody tells the queue of that: it looks by itself. */
static void test_server_that_goes_ends_the_wait(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[2];
	struct server *shared;

	(void)state;
	rig_setup(&fixture, 1);
	bound(&fixture, 1, 0, 2);
	view = rig_view(&fixture);
	shared = rig_shared(&fixture, 0);
	rig_acquire(&fixture, view, &wishes[0]);
	rig_ask(&fixture, view, &wishes[1], NULL);
	server_set_checked(shared, false, 0);
	rig_await(&fixture, &wishes[1]);
	assert_int_equal(wishes[1].reason, CLOSE_ORIGIN_DOWN);
	origin_discard(wishes[0].conn);
	server_unref(shared);
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* A place is freed while a try fails: the failed one goes on elsewhere, the place is another's. */
static void test_failed_try_gives_its_place_back(void **state)
{
	struct fixture fixture;
	struct origin_view *view;
	struct wish wishes[2];
	struct server *shared[2];

	(void)state;
	rig_setup(&fixture, 2);
	bound(&fixture, 1, 1, 2);
	rig_refuse(&fixture, 0);
	view = rig_view(&fixture);
	for (int i = 0; i < 6; i++) {
		int n_done = 0;

		rig_ask(&fixture, view, &wishes[0], NULL);
		rig_ask(&fixture, view, &wishes[1], NULL);
		/* Either may be first: who fails has to queue again. */
		for (int turn = 0; turn < 1000 && n_done < 2; turn++) {
			rig_turn(&fixture, 1);
			for (int k = 0; k < 2; k++) {
				if (!wishes[k].conn)
					continue;
				assert_int_equal(rig_server_of(&fixture, wishes[k].conn), 1);
				origin_discard(wishes[k].conn);
				wishes[k].conn = NULL;
				n_done++;
			}
		}
		assert_int_equal(n_done, 2);
	}
	for (size_t i = 0; i < 2; i++) {
		shared[i] = rig_shared(&fixture, i);
		assert_int_equal(server_load(shared[i]), 0);
		server_unref(shared[i]);
	}
	origin_view_free(view);
	rig_teardown(&fixture);
}

/* Two tables are two threads, but for the clock. */
static void test_another_thread_is_told(void **state)
{
	struct fixture ours, theirs;
	struct origin_view *our_view, *their_view;
	struct server_group *group = server_group_get("o1");
	struct wish held, waits;

	(void)state;
	rig_setup(&ours, 1);
	rig_setup(&theirs, 1);
	bound(&ours, 1, 0, 4);
	bound(&theirs, 1, 0, 4);
	theirs.servers[0].addr = ours.servers[0].addr;
	our_view = rig_view(&ours);
	their_view = rig_view(&theirs);
	rig_acquire(&ours, our_view, &held);
	rig_ask(&theirs, their_view, &waits, NULL);
	origin_discard(held.conn);
	/* The letter is there already; nobody has to wait for the slow timer. */
	assert_int_equal(server_group_waiting(group), 1);
	assert_int_equal(loop_run_once(theirs.loop, 0), 0);
	assert_int_equal(server_group_waiting(group), 0);
	rig_await(&theirs, &waits);
	assert_non_null(waits.conn);
	origin_discard(waits.conn);
	/* Told, and gone before it heard. */
	rig_acquire(&ours, our_view, &held);
	rig_ask(&theirs, their_view, &waits, NULL);
	origin_discard(held.conn);
	origin_cancel(&waits.request);
	rig_turn(&theirs, 1);
	origin_view_free(our_view);
	origin_view_free(their_view);
	rig_teardown(&ours);
	rig_teardown(&theirs);
	server_group_unref(group);
}

static struct addr shared_addr;
static _Atomic int n_in_use;
static _Atomic int most_in_use;

static void *run_thread(void *argument)
{
	struct fixture fixture;
	struct origin_view *view;
	uintptr_t n_served = 0;

	(void)argument;
	rig_setup(&fixture, 1);
	bound(&fixture, 0, 2, 100);
	fixture.servers[0].addr = shared_addr;
	view = rig_view(&fixture);
	for (int i = 0; i < ROUNDS; i++) {
		struct wish wishes[3];

		for (int k = 0; k < 3; k++)
			rig_ask(&fixture, view, &wishes[k], NULL);
		for (int k = 0; k < 3; k++) {
			int now;

			rig_await(&fixture, &wishes[k]);
			if (!wishes[k].conn)
				continue;
			now = atomic_fetch_add(&n_in_use, 1) + 1;
			if (now > atomic_load(&most_in_use))
				atomic_store(&most_in_use, now);
			atomic_fetch_sub(&n_in_use, 1);
			origin_release(wishes[k].conn);
			n_served++;
		}
	}
	origin_view_free(view);
	rig_teardown(&fixture);
	return (void *)n_served;
}

static void test_no_thread_starves(void **state)
{
	struct server_group *group = server_group_get("o1");
	pthread_t threads[THREADS];
	int listener;

	(void)state;
	listener = rig_listen(&shared_addr, 4096);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_thread, NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		void *n_served;

		pthread_join(threads[i], &n_served);
		assert_int_equal((uintptr_t)n_served, 3 * ROUNDS);
	}
	assert_in_range(most_in_use, 1, 2);
	assert_int_equal(server_group_load(group), 0);
	assert_int_equal(server_group_waiting(group), 0);
	server_group_unref(group);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_first_come_first_served),
	    cmocka_unit_test(test_idle_connections_take_no_place),
	    cmocka_unit_test(test_full_server_leaves_it_to_others),
	    cmocka_unit_test(test_waiting_ends_by_time_and_by_cancelling),
	    cmocka_unit_test(test_server_that_goes_ends_the_wait),
	    cmocka_unit_test(test_failed_try_gives_its_place_back),
	    cmocka_unit_test(test_another_thread_is_told),
	    cmocka_unit_test(test_no_thread_starves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
