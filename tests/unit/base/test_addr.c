/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses are read strictly, and written as they are read. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/addr.h"

static const char *const same_again[] = {
    "192.0.2.1:80", "0.0.0.0:65535",	  "255.255.255.255:1", "[2001:db8::1]:443",
    "[::1]:8080",   "unix:/run/x.socket", "[::]:443",
};

static const struct {
	const char *text;
	int error;
} wrong[] = {
    {"", -EINVAL},
    {"192.0.2.1", -EINVAL},
    {"192.0.2:80", -EINVAL},
    {"192.0.2.256:80", -EINVAL},
    {"192.0.2.1:", -EINVAL},
    {"192.0.2.1:80x", -EINVAL},
    {"192.0.2.1: 80", -EINVAL},
    {"192.0.2.1:-80", -EINVAL},
    {"192.0.2.1:+80", -EINVAL},
    {"192.0.2.1:0", -ERANGE},
    {"192.0.2.1:65536", -ERANGE},
    {"192.0.2.1:99999999999999999999", -ERANGE},
    {"2001:db8::1:443", -EINVAL},
    {"[2001:db8::1]", -EINVAL},
    {"[2001:db8::1]443", -EINVAL},
    {"[2001:db8::1:443", -EINVAL},
    {"localhost:80", -EINVAL},
    {"unix:", -EINVAL},
};

static void test_written_as_read(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(same_again) / sizeof(same_again[0]); i++) {
		char text[ADDR_TEXT_MAX];
		struct addr addr;

		assert_int_equal(addr_parse(str_from(same_again[i]), &addr), 0);
		assert_string_equal(addr_format(&addr, text), same_again[i]);
	}
}

static void test_wrong_is_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct addr addr;
		int r = addr_parse(str_from(wrong[i].text), &addr);

		if (r != wrong[i].error)
			fail_msg("\"%s\": %d instead of %d", wrong[i].text, r, wrong[i].error);
	}
}

static void test_port_alone_is_any_address(void **state)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse(str_from(":8443"), &addr), 0);
	assert_int_equal(addr.sa.sa_family, AF_INET6);
	assert_int_equal(addr_port(&addr), 8443);
	assert_string_equal(addr_format_host(&addr, text), "::");
}

static void test_mapped_address_reads_as_ipv4(void **state)
{
	char text[ADDR_TEXT_MAX];
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse(str_from("[::ffff:192.0.2.7]:53"), &addr), 0);
	assert_string_equal(addr_format_host(&addr, text), "192.0.2.7");
}

static void test_a_host_has_no_port(void **state)
{
	struct addr addr;

	(void)state;
	assert_int_equal(addr_parse_host(str_from("2001:db8::1"), &addr), 0);
	assert_int_equal(addr_port(&addr), 0);
	assert_int_equal(addr_parse_host(str_from("192.0.2.1:80"), &addr), -EINVAL);
	assert_int_equal(addr_parse_host(str_from("example.com"), &addr), -EINVAL);
}

static void test_equality(void **state)
{
	struct addr a, b, c;

	(void)state;
	assert_int_equal(addr_parse(str_from("192.0.2.1:80"), &a), 0);
	assert_int_equal(addr_parse(str_from("192.0.2.1:80"), &b), 0);
	assert_int_equal(addr_parse(str_from("192.0.2.1:81"), &c), 0);
	assert_true(addr_is_equal(&a, &b));
	assert_false(addr_is_equal(&a, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_written_as_read),
	    cmocka_unit_test(test_wrong_is_refused),
	    cmocka_unit_test(test_port_alone_is_any_address),
	    cmocka_unit_test(test_mapped_address_reads_as_ipv4),
	    cmocka_unit_test(test_a_host_has_no_port),
	    cmocka_unit_test(test_equality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
