/* SPDX-License-Identifier: Apache-2.0 */
/* Reading configurations and the files that they name; the runtime folder; merging of diagnostics.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker/broker_internal.h"

static char dir[] = "/tmp/penstock-load-XXXXXX";
static char config_path[64];
static struct conf_diag *diag;
static struct conf *conf;
static struct bundle *bundle;

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int load(const char *config)
{
	write_file(config_path, config);
	return broker_load(config_path, 5, diag, &conf, &bundle);
}

static int set_up(void **state UNUSED)
{
	diag = conf_diag_new(config_path);
	conf = NULL;
	bundle = NULL;
	return 0;
}

static int tear_down(void **state UNUSED)
{
	conf_diag_free(diag);
	conf_unref(conf);
	bundle_free(bundle);
	return 0;
}

static void assert_told(const char *part)
{
	if (!strstr(conf_diag_text(diag), part))
		fail_msg("no \"%s\" in:\n%s", part, conf_diag_text(diag));
}

static void test_text_is_a_sealed_copy(void **state UNUSED)
{
	static const char *const text =
	    "listeners: [{bind: \":80\", routes: [{pass: \"tcp://192.0.2.1:80\"}]}]\n";
	char *copy;
	size_t len;

	assert_int_equal(load(text), 0);
	assert_int_equal(bundle->generation, 5);
	write_file(config_path, "something else");
	assert_int_equal(
	    bundle_read(bundle_find(bundle, BUNDLE_CONFIG, config_path, 0), 1000, &copy, &len), 0);
	assert_string_equal(copy, text);
	free(copy);
}

static void test_files_of_the_configuration(void **state UNUSED)
{
	char text[600], good[80];

	snprintf(good, sizeof(good), "%s/good.pem", dir);
	write_file(good, "x");
	snprintf(text, sizeof(text),
		 "listeners:\n"
		 "  - bind: \":443\"\n"
		 "    tls: {certificates: [%s, %s, /nonexistent/a.pem, %s]}\n"
		 "    routes: [{to: \"http://192.0.2.1:80\"}]\n",
		 good, good, dir);
	assert_int_not_equal(load(text), 0);
	assert_null(conf);
	assert_int_equal(conf_diag_errors(diag), 2);
	assert_told(":3:");
	assert_told("cannot read /nonexistent/a.pem: No such file or directory");
	assert_told(": Is a directory");
	unlink(good);
}

static void test_same_file_is_opened_once(void **state UNUSED)
{
	char text[600], good[80];

	snprintf(good, sizeof(good), "%s/good.pem", dir);
	write_file(good, "x");
	snprintf(text, sizeof(text),
		 "listeners:\n"
		 "  - bind: \":443\"\n"
		 "    tls: {certificates: [%s, %s]}\n"
		 "    routes: [{to: \"http://192.0.2.1:80\"}]\n",
		 good, good);
	assert_int_equal(load(text), 0);
	assert_int_equal(bundle->n_entries, 2);
	assert_true(bundle_find(bundle, BUNDLE_FILE, good, 0) >= 0);
	unlink(good);
}

static void test_syntax_error(void **state UNUSED)
{
	assert_int_not_equal(load("listeners: [\n"), 0);
	assert_told(config_path);
	assert_null(bundle);
}

static void test_no_such_configuration(void **state UNUSED)
{
	assert_int_equal(unlink(config_path) == 0 || errno == ENOENT, 1);
	assert_int_not_equal(broker_load(config_path, 1, diag, &conf, &bundle), 0);
	assert_told("cannot read the configuration: No such file or directory");
	assert_null(broker_parse("/dev/zero", diag));
	assert_told("cannot read the configuration: not a regular file");
}

static void test_too_large(void **state UNUSED)
{
	write_file(config_path, "");
	assert_int_equal(truncate(config_path, 5 * 1024 * 1024), 0);
	assert_null(broker_parse(config_path, diag));
	assert_told("larger than 4194304 bytes");
}

static void test_runtime_folder(void **state UNUSED)
{
	struct runtime one = {.lock_fd = -1}, two = {.lock_fd = -1};
	char run[80], path[120];
	struct stat st;

	snprintf(run, sizeof(run), "%s/run", dir);
	assert_int_equal(runtime_open(&one, run, diag), 0);
	assert_int_equal(conf_diag_errors(diag), 0);
	snprintf(path, sizeof(path), "%s/admin.sock", run);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0660);
	snprintf(path, sizeof(path), "%s/broker.sock", run);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);

	/* The second is refused, and takes nothing away from the first. */
	assert_int_equal(runtime_open(&two, run, diag), -EBUSY);
	assert_told("another penstock (pid ");
	runtime_close(&two);
	assert_int_equal(stat(path, &st), 0);

	runtime_close(&one);
	assert_int_equal(stat(path, &st), -1);
	assert_int_equal(runtime_open(&two, run, diag), 0);
	runtime_close(&two);
	snprintf(path, sizeof(path), "%s/lock", run);
	unlink(path);
	rmdir(run);
}

static void test_runtime_folder_cannot_be(void **state UNUSED)
{
	struct runtime runtime = {.lock_fd = -1};
	char path[256];

	assert_int_equal(runtime_open(&runtime, "/nonexistent/run", diag), -ENOENT);
	assert_told("cannot make the folder /nonexistent/run: No such file or directory; give a");
	assert_int_equal(runtime_open(&runtime, "/dev/null", diag), -ENOTDIR);
	snprintf(path, sizeof(path), "%s/%0*d", dir, 120, 0);
	assert_int_equal(runtime_open(&runtime, path, diag), -ENAMETOOLONG);
	runtime_close(&runtime);
	rmdir(path);
}

static void test_merge(void **state UNUSED)
{
	static const struct {
		const char *ours, *theirs, *merged;
	} cases[] = {
	    {"", "", ""},
	    {"a\n", "", "a\n"},
	    {"", "a", "a\n"},
	    {"a\nb\n", "b\nc\na\n", "a\nb\nc\n"},
	    {"ab\n", "a\nb\n", "ab\na\nb\n"},
	    {"a\n", "\n\na\n\nb", "a\nb\n"},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *merged = text_merge(cases[i].ours, cases[i].theirs);

		assert_string_equal(merged, cases[i].merged);
		free(merged);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_text_is_a_sealed_copy),
	    TEST(test_files_of_the_configuration),
	    TEST(test_same_file_is_opened_once),
	    TEST(test_syntax_error),
	    TEST(test_no_such_configuration),
	    TEST(test_too_large),
	    TEST(test_runtime_folder),
	    TEST(test_runtime_folder_cannot_be),
	    TEST(test_merge),
	};
	int failed;

	if (!mkdtemp(dir))
		return 1;
	snprintf(config_path, sizeof(config_path), "%s/p.yaml", dir);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(config_path);
	rmdir(dir);
	return failed;
}
