/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/addr.h"

static void test_round_trip(void **state)
{
	static const char *const texts[] = {"192.0.2.1:80", "[2001:db8::1]:65535",
					    "unix:/run/x.sock", "0.0.0.0:1"};
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(addr_parse(str_from(texts[i]), &addr), 0);
		assert_string_equal(addr_format(&addr, text), texts[i]);
	}
}

static void test_port_alone_is_every_address(void **state)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse(STR(":443"), &addr), 0);
	assert_int_equal(addr.sa.sa_family, AF_INET6);
	assert_int_equal(addr_port(&addr), 443);
	assert_string_equal(addr_format(&addr, text), "[::]:443");
}

static void test_refused(void **state)
{
	static const struct {
		const char *text;
		int err;
	} cases[] = {
	    {"", -EINVAL},
	    {"80", -EINVAL},
	    {":", -EINVAL},
	    {":0", -ERANGE},
	    {":65536", -ERANGE},
	    {":99999999999999999999", -ERANGE},
	    {":8a", -EINVAL},
	    {":-1", -EINVAL},
	    {"2001:db8::1:80", -EINVAL},
	    {"[]:80", -EINVAL},
	    {"[::1]80", -EINVAL},
	    {"example.com:80", -EINVAL},
	    {"192.0.2.256:80", -EINVAL},
	    {"unix:", -EINVAL},
	    {"192.0.2.1", -EINVAL},
	};
	struct addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(addr_parse(str_from(cases[i].text), &addr), cases[i].err);
	assert_int_equal(addr_parse((struct str){"unix:/a\0b", 9}, &addr), -EINVAL);
}

static void test_unix_path_too_long(void **state)
{
	char text[256];
	struct addr addr;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "unix:/", 6);
	assert_int_equal(addr_parse((struct str){text, 5 + 107}, &addr), 0);
	assert_int_equal(addr_parse((struct str){text, 5 + 108}, &addr), -EINVAL);
}

static void test_mapped_address_is_written_as_ipv4(void **state)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse(STR("[::ffff:192.0.2.7]:80"), &addr), 0);
	assert_string_equal(addr_format_host(&addr, text), "192.0.2.7");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trip),
	    cmocka_unit_test(test_port_alone_is_every_address),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_unix_path_too_long),
	    cmocka_unit_test(test_mapped_address_is_written_as_ipv4),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
