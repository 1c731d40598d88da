/* SPDX-License-Identifier: Apache-2.0 */
/* Files that change: by whatever way, each change is told once, and nothing else is. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker_internal.h"

#define TURNS_MAX 300 /* of 100 ms: half a minute */

static char dir[] = "/tmp/penstock-watch-XXXXXX";
static char path[64], fresh[64], beside[64];
static struct loop *loop;
static struct file_watch *watch;
static struct bundle *bundle;
static unsigned int n_changes;

static void note_change(void *argument, const char *changed)
{
	assert_ptr_equal(argument, &n_changes);
	assert_string_equal(changed, path);
	n_changes++;
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void await_changes(unsigned int wanted)
{
	for (int turn = 0; n_changes < wanted && turn < TURNS_MAX; turn++)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(n_changes, wanted);
}

/* Longer than files are given to settle: no more was told. */
static void assert_quiet(unsigned int wanted)
{
	for (int turn = 0; turn < 7; turn++)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(n_changes, wanted);
}

static int set_up(void **state UNUSED)
{
	n_changes = 0;
	write_file(path, "one");
	loop = loop_new();
	bundle = bundle_new(1);
	assert_non_null(loop);
	assert_non_null(bundle);
	assert_int_equal(bundle_add(bundle, BUNDLE_FILE, path, 0, open(path, O_RDONLY | O_CLOEXEC)),
			 0);
	watch = file_watch_new(loop, note_change, &n_changes);
	assert_non_null(watch);
	return 0;
}

static int tear_down(void **state UNUSED)
{
	file_watch_free(watch);
	bundle_free(bundle);
	loop_free(loop);
	unlink(path);
	unlink(fresh);
	unlink(beside);
	return 0;
}

static void test_replaced_and_rewritten(void **state UNUSED)
{
	assert_int_equal(file_watch_set(watch, bundle), 0);
	assert_quiet(0);
	write_file(fresh, "another");
	assert_int_equal(rename(fresh, path), 0);
	await_changes(1);
	write_file(path, "in place");
	await_changes(2);
	unlink(path);
	await_changes(3);
	write_file(path, "back again");
	await_changes(4);
	assert_quiet(4);
}

static void test_others_do_not_count(void **state UNUSED)
{
	assert_int_equal(file_watch_set(watch, bundle), 0);
	write_file(beside, "x");
	unlink(beside);
	assert_quiet(0);
}

/* Between opening and watching. */
static void test_a_change_before_is_found(void **state UNUSED)
{
	write_file(fresh, "another");
	assert_int_equal(rename(fresh, path), 0);
	assert_int_equal(file_watch_set(watch, bundle), 0);
	await_changes(1);
}

/* Where no file is yet, too. */
static void test_paths_that_come_and_go(void **state UNUSED)
{
	static const char *const paths[] = {path};

	unlink(path);
	bundle_free(bundle);
	bundle = bundle_new(1);
	assert_int_equal(file_watch_set_paths(watch, bundle, paths, 1), 0);
	assert_quiet(0);
	write_file(path, "first");
	await_changes(1);
	write_file(fresh, "another");
	assert_int_equal(rename(fresh, path), 0);
	await_changes(2);
	unlink(path);
	await_changes(3);
	/* Made before it is watched, and not in the bundle. */
	file_watch_clear(watch);
	write_file(path, "back again");
	assert_int_equal(file_watch_set_paths(watch, bundle, paths, 1), 0);
	await_changes(4);
	assert_quiet(4);
}

static void test_cleared_is_silent(void **state UNUSED)
{
	assert_int_equal(file_watch_set(watch, bundle), 0);
	write_file(path, "more than before");
	file_watch_clear(watch);
	assert_quiet(0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_replaced_and_rewritten, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_others_do_not_count, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_a_change_before_is_found, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_cleared_is_silent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_paths_that_come_and_go, set_up, tear_down),
	};
	int failed;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/site.pem", dir);
	snprintf(fresh, sizeof(fresh), "%s/site.new", dir);
	snprintf(beside, sizeof(beside), "%s/beside", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return failed;
}
