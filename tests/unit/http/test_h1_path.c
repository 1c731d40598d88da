/* SPDX-License-Identifier: Apache-2.0 */
/* What a path means to the routes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "http/h1.h"

static const struct {
	const char *path, *meaning; /* NULL: refused */
} rows[] = {
    {"", "/"},
    {"*", "/"},
    {"/", "/"},
    {"/a/b", "/a/b"},
    {"/a/b/", "/a/b/"},
    {"//", "/"},
    {"//a///b//", "/a/b/"},
    {"/.", "/"},
    {"/./", "/"},
    {"/a/.", "/a/"},
    {"/a/./b", "/a/b"},
    {"/a/../b", "/b"},
    {"/a/b/..", "/a/"},
    {"/a/b/../", "/a/"},
    {"/a/..", "/"},
    {"/a//../b", "/b"},
    {"/.well-known/x", "/.well-known/x"},
    {"/...", "/..."},
    {"/a..", "/a.."},
    {"/public/%2e%2e/admin", "/admin"},
    {"/public/.%2E/admin", "/admin"},
    {"/%61dmin", "/admin"},
    {"/a%2fb", "/a%2fb"},
    {"/a%2f..%2fb", "/a%2f..%2fb"},
    {"/a%5cb", "/a%5cb"},
    {"/a%20b", "/a%20b"},
    {"/a%25%32%65", "/a%252e"}, /* decoded once */
    {"/%c3%a4", "/%c3%a4"},
    {"/..", NULL},
    {"/../a", NULL},
    {"/a/../..", NULL},
    {"/%2e%2e/", NULL},
    {"/%", NULL},
    {"/%4", NULL},
    {"/%4g", NULL},
    {"/%00", NULL},
    {"/%0d%0a", NULL},
    {"/%7f", NULL},
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str path = str_from(rows[i].path), meaning = {NULL, 0};
		char *buffer = malloc(path.len + !path.len);
		enum h1_fault fault;

		assert_non_null(buffer);
		fault = h1_path_normalise(path, buffer, &meaning);
		if (!rows[i].meaning)
			assert_int_equal(fault, H1_FAULT_PATH);
		else if (fault || !str_is_equal(meaning, str_from(rows[i].meaning)))
			fail_msg("%s: %s, %.*s", rows[i].path, h1_fault_text(fault),
				 STR_ARG(meaning));
		free(buffer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
