/* SPDX-License-Identifier: Apache-2.0 */
/* Address blocks: every prefix length at its edges, and IPv4 that came by an IPv6 socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "conf/conf.h"

static struct addr host(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse_host(str_from(text), &addr), 0);
	return addr;
}

static bool contains(const char *block, unsigned int prefix_len, const char *text)
{
	struct conf_net net = {.addr = host(block), .prefix_len = (uint8_t)prefix_len};
	struct conf_nets nets = {&net, 1};
	struct addr addr = host(text);

	return conf_nets_contain(&nets, &addr);
}

static void test_rows(void **state)
{
	static const struct {
		const char *block;
		unsigned int prefix_len;
		const char *addr;
		bool contains;
	} rows[] = {
	    {"192.0.2.0", 24, "192.0.2.0", true},
	    {"192.0.2.0", 24, "192.0.2.255", true},
	    {"192.0.2.0", 24, "192.0.3.0", false},
	    {"192.0.2.128", 25, "192.0.2.127", false},
	    {"192.0.2.128", 25, "192.0.2.128", true},
	    {"192.0.2.7", 32, "192.0.2.7", true},
	    {"192.0.2.7", 32, "192.0.2.6", false},
	    {"0.0.0.0", 0, "203.0.113.9", true},
	    {"0.0.0.0", 0, "2001:db8::1", false},
	    {"2001:db8::", 32, "2001:db8:ffff::1", true},
	    {"2001:db8::", 32, "2001:db9::", false},
	    {"2001:db8::", 29, "2001:dbf::", true},
	    {"2001:db8::1", 128, "2001:db8::1", true},
	    {"2001:db8::1", 128, "2001:db8::", false},
	    {"::", 0, "2001:db8::1", true},
	    {"192.0.2.0", 24, "::ffff:192.0.2.9", true},
	    {"192.0.2.0", 24, "::ffff:192.0.3.9", false},
	    {"::ffff:192.0.2.0", 120, "192.0.2.9", true},
	    {"::ffff:192.0.2.0", 120, "::ffff:192.0.2.9", true},
	    {"::ffff:192.0.2.0", 120, "192.0.3.9", false},
	    {"::ffff:0.0.0.0", 96, "203.0.113.9", true},
	    /* IPv4 clients are no IPv6 clients, however the socket is bound. */
	    {"::", 0, "::ffff:192.0.2.9", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (contains(rows[i].block, rows[i].prefix_len, rows[i].addr) != rows[i].contains)
			fail_msg("%s/%u, %s", rows[i].block, rows[i].prefix_len, rows[i].addr);
}

/* An address that differs in bit n alone is in the blocks of at most n bits. */
static void check_bits(const char *text, unsigned int n_bits)
{
	struct conf_net net = {.addr = host(text)};
	struct conf_nets nets = {&net, 1};
	bool is_inet = n_bits == 32;

	for (unsigned int bit = 0; bit < n_bits; bit++) {
		struct addr addr = host(text);
		uint8_t *bytes =
		    is_inet ? (uint8_t *)&addr.in.sin_addr : addr.in6.sin6_addr.s6_addr;

		bytes[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
		for (unsigned int prefix = 0; prefix <= n_bits; prefix++) {
			net.prefix_len = (uint8_t)prefix;
			if (conf_nets_contain(&nets, &addr) != (prefix <= bit))
				fail_msg("%s/%u, bit %u", text, prefix, bit);
		}
	}
}

static void test_every_bit(void **state)
{
	(void)state;
	check_bits("192.0.2.85", 32);
	check_bits("2001:db8::5555", 128);
}

static void test_several(void **state)
{
	struct conf_net blocks[] = {{host("192.0.2.0"), 24}, {host("2001:db8::"), 32}};
	struct conf_nets nets = {blocks, 2}, none = {NULL, 0};
	struct addr inet = host("192.0.2.1"), inet6 = host("2001:db8::1"), other = host("10.0.0.1");
	struct addr path, nothing = {.len = 0};

	(void)state;
	assert_int_equal(addr_parse(STR("unix:/x"), &path), 0);
	assert_true(conf_nets_contain(&nets, &inet));
	assert_true(conf_nets_contain(&nets, &inet6));
	assert_false(conf_nets_contain(&nets, &other));
	assert_false(conf_nets_contain(&nets, &path));
	assert_false(conf_nets_contain(&nets, &nothing));
	assert_false(conf_nets_contain(&none, &inet));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rows),
	    cmocka_unit_test(test_every_bit),
	    cmocka_unit_test(test_several),
	};

	return cmocka_run_group_tests_name("nets", tests, NULL, NULL);
}
