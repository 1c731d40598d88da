/* SPDX-License-Identifier: Apache-2.0 */
/* arena, str, log and loop. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/str.h"

static void test_arena_limit_and_alignment(void **state)
{
	struct arena arena;

	(void)state;
	arena_init(&arena, 10000);
	for (size_t len_bytes = 0; len_bytes < 40; len_bytes++) {
		void *memory = arena_alloc(&arena, len_bytes);

		assert_non_null(memory);
		assert_int_equal((uintptr_t)memory % _Alignof(max_align_t), 0);
	}
	assert_non_null(arena_alloc(&arena, 5000));
	assert_null(arena_alloc(&arena, 5000));
	assert_null(arena_alloc(&arena, SIZE_MAX - 8));
	assert_string_equal(arena_strdup(&arena, STR("word")), "word");
	arena_reset(&arena);
	assert_int_equal(arena.used_bytes, 0);
}

static void test_str_distance(void **state)
{
	char longer[80];

	(void)state;
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(str_distance(STR("listeners"), STR("listener")), 1);
	assert_int_equal(str_distance(STR("pass"), STR("path")), 2);
	assert_int_equal(str_distance(STR(""), STR("abc")), 3);
	assert_int_equal(str_distance((struct str){longer, sizeof(longer)}, STR("a")), SIZE_MAX);
}

/* What log_write() puts on standard error, without the end of the line. */
static void capture_log(char *text, size_t size_bytes, struct str value)
{
	int saved = dup(STDERR_FILENO), ends[2];
	ssize_t n;

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	log_info("message", LOG_STR("text", value), LOG_INT("number", -5));
	dup2(saved, STDERR_FILENO);
	n = read(ends[0], text, size_bytes - 1);
	assert_in_range(n, 1, size_bytes - 1);
	assert_int_equal(text[n - 1], '\n');
	text[n - 1] = 0;
	close(saved);
	close(ends[0]);
	close(ends[1]);
}

static void test_log_text_quotes_what_could_deceive(void **state)
{
	char text[8192];

	(void)state;
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
	capture_log(text, sizeof(text), STR("plain"));
	assert_string_equal(text, "info  message text=plain number=-5");
	capture_log(text, sizeof(text), STR("a b\nc\"=\x1b"));
	assert_string_equal(text, "info  message text=\"a b\\u000ac\\\"=\\u001b\" number=-5");
	capture_log(text, sizeof(text), STR("\xe2\x80\xae\xc2\x9b\xed\xa0\x80\xe2\x80"));
	assert_string_equal(text, "info  message text=\"\\u202e\\u009b\\u00ed\\u00a0\\u0080"
				  "\\u00e2\\u0080\" number=-5");
}

static void test_log_json_is_json_whatever_the_field(void **state)
{
	char text[8192], huge[6000];
	json_t *line;

	(void)state;
	memset(huge, '"', sizeof(huge));
	log_configure(LOG_FORMAT_JSON, LOG_LEVEL_INFO);
	capture_log(text, sizeof(text), STR("a\x01\"\\\xff"));
	line = json_loads(text, 0, NULL);
	assert_non_null(line);
	assert_int_equal(json_integer_value(json_object_get(line, "number")), -5);
	json_decref(line);
	capture_log(text, sizeof(text), STR("a \xe2\x80\xa6 \xf0\x9f\x98\x80 \xc3\xbc"));
	line = json_loads(text, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(line, "text")),
			    "a \xe2\x80\xa6 \xf0\x9f\x98\x80 \xc3\xbc");
	json_decref(line);
	capture_log(text, sizeof(text), (struct str){huge, sizeof(huge)});
	line = json_loads(text, 0, NULL);
	assert_non_null(line);
	json_decref(line);
	log_configure(LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
}

struct pair {
	struct watch a, b;
	struct loop *loop;
	int served;
};

static struct pair pair;

static void close_the_other(struct watch *watch, uint32_t events)
{
	(void)events;
	pair.served++;
	loop_unwatch(pair.loop, watch == &pair.a ? &pair.b : &pair.a);
}

static void test_unwatch_drops_events_already_fetched(void **state)
{
	int a[2], b[2];

	(void)state;
	pair.loop = loop_new();
	assert_non_null(pair.loop);
	assert_int_equal(pipe(a) | pipe(b), 0);
	pair.a = (struct watch){.fd = a[0], .on_event = close_the_other};
	pair.b = (struct watch){.fd = b[0], .on_event = close_the_other};
	assert_int_equal(loop_watch(pair.loop, &pair.a, EPOLLIN), 0);
	assert_int_equal(loop_watch(pair.loop, &pair.b, EPOLLIN), 0);
	assert_int_equal(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
	assert_int_equal(loop_run_once(pair.loop, 0), 0);
	assert_int_equal(pair.served, 1);
	loop_free(pair.loop);
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

struct counting_task {
	struct task task;
	struct loop *loop;
	int runs;
};

static void run_task(struct task *task)
{
	struct counting_task *counting = container_of(task, struct counting_task, task);

	if (++counting->runs < 3)
		loop_schedule(counting->loop, task);
}

static void count_letter(void *argument)
{
	(*(int *)argument)++;
}

static void test_tasks_run_once_a_batch_and_letters_in_order(void **state)
{
	struct counting_task counting = {.loop = loop_new()};
	int letters = 0;

	(void)state;
	assert_non_null(counting.loop);
	task_init(&counting.task, run_task);
	loop_schedule(counting.loop, &counting.task);
	loop_schedule(counting.loop, &counting.task);
	assert_int_equal(loop_post(counting.loop, count_letter, &letters), 0);
	assert_int_equal(loop_post(counting.loop, count_letter, &letters), 0);
	assert_int_equal(loop_run_once(counting.loop, -1), 0);
	assert_int_equal(counting.runs, 1);
	assert_int_equal(letters, 2);
	assert_int_equal(loop_run_once(counting.loop, -1), 0);
	assert_int_equal(loop_run_once(counting.loop, -1), 0);
	assert_int_equal(counting.runs, 3);
	/* A letter that nobody read is freed with the loop. */
	assert_int_equal(loop_post(counting.loop, count_letter, &letters), 0);
	loop_free(counting.loop);
	assert_int_equal(letters, 2);
}

struct noting_timer {
	struct timer timer;
	uint64_t fired_us; /* 0: not yet */
};

static void note_expiry(struct timer *timer)
{
	container_of(timer, struct noting_timer, timer)->fired_us = clock_now_us();
}

/* A batch may begin late in a millisecond, and the clock of timers is cut to whole ones. */
static void test_timer_is_never_early(void **state)
{
	struct loop *loop = loop_new();
	struct noting_timer noting;

	(void)state;
	assert_non_null(loop);
	timer_init(&noting.timer, note_expiry);
	for (int i = 0; i < 200; i++) {
		uint64_t begun_us;

		assert_int_equal(loop_run_once(loop, 0), 0);
		begun_us = clock_now_us();
		/* The batch that begins now cannot be older than `begun_us`. */
		assert_int_equal(loop_run_once(loop, 0), 0);
		noting.fired_us = 0;
		loop_timer_arm(loop, &noting.timer, 4);
		while (!noting.fired_us)
			assert_int_equal(loop_run_once(loop, -1), 0);
		assert_true(noting.fired_us - begun_us >= 4000);
	}
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_arena_limit_and_alignment),
	    cmocka_unit_test(test_str_distance),
	    cmocka_unit_test(test_log_text_quotes_what_could_deceive),
	    cmocka_unit_test(test_log_json_is_json_whatever_the_field),
	    cmocka_unit_test(test_unwatch_drops_events_already_fetched),
	    cmocka_unit_test(test_tasks_run_once_a_batch_and_letters_in_order),
	    cmocka_unit_test(test_timer_is_never_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
