/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY protocol headers that we write, read back. */
#include "proxy_headers.h"

#include <errno.h>
#include <string.h>

#include "classify/classify_internal.h"

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(str_from(text), &addr), 0);
	return addr;
}

static void test_written_v1(void **state)
{
	static const struct {
		const char *source, *destination, *line;
	} rows[] = {
	    {"192.0.2.1:1", "198.51.100.1:65535", "PROXY TCP4 192.0.2.1 198.51.100.1 1 65535\r\n"},
	    {"[2001:db8::1]:1", "[2001:db8::2]:2", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n"},
	    {"[::ffff:192.0.2.1]:1", "[::ffff:192.0.2.2]:2",
	     "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
	    {"[::ffff:192.0.2.1]:1", "192.0.2.2:2", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"},
	    {"192.0.2.1:1", "[2001:db8::2]:2", "PROXY UNKNOWN\r\n"},
	    {"unix:/a", "unix:/b", "PROXY UNKNOWN\r\n"},
	};
	uint8_t data[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct addr source = addr_of(rows[i].source),
			    destination = addr_of(rows[i].destination);
		struct proxy_facts facts = {.source = &source, .destination = &destination};
		size_t len = strlen(rows[i].line);

		assert_int_equal(proxy_protocol_write(1, &facts, data, len), len);
		assert_memory_equal(data, rows[i].line, len);
		assert_int_equal(proxy_protocol_write(1, &facts, data, len - 1), -ENOSPC);
		check_cuts(rows[i].line, len);
		facts.is_local = true;
		assert_int_equal(proxy_protocol_write(1, &facts, data, sizeof(data)), 15);
		assert_memory_equal(data, "PROXY UNKNOWN\r\n", 15);
	}
}

static void check_written_v2(const struct proxy_facts *facts, const char *source,
			     const char *destination)
{
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES], small[PROXY_PROTOCOL_MAX_BYTES];
	int len = proxy_protocol_write(2, facts, data, sizeof(data));
	struct proxy_header header;

	assert_true(len > 0);
	check_cuts(data, (size_t)len);
	for (int size = 0; size < len; size++)
		assert_int_equal(proxy_protocol_write(2, facts, small, (size_t)size), -ENOSPC);
	assert_int_equal(parse(data, (size_t)len, &header), PROXY_DONE);
	assert_int_equal(header.is_local, !source);
	if (!source)
		return;
	assert_addr(&header.source, source);
	assert_addr(&header.destination, destination);
	assert_true(str_is_equal(header.authority, facts->sni));
	assert_true(str_is_equal(header.alpn, facts->alpn));
	assert_true(str_is_equal(header.unique_id, facts->unique_id));
	assert_int_equal(header.is_tls, facts->tls_version != NULL);
	assert_true(str_is_equal(header.tls_version, str_from(facts->tls_version)));
	assert_true(str_is_equal(header.tls_cipher, str_from(facts->tls_cipher)));
	/* The checksum is there, and last. */
	data[20] ^= 1;
	assert_int_equal(parse(data, (size_t)len, &header), PROXY_MALFORMED);
	assert_int_equal(data[len - 7], PROXY2_TLV_CRC32C);
}

static void test_written_v2(void **state)
{
	struct addr source = addr_of("192.0.2.1:1"), destination = addr_of("198.51.100.1:443");
	struct proxy_facts facts = {.source = &source, .destination = &destination};

	(void)state;
	check_written_v2(&facts, "192.0.2.1:1", "198.51.100.1:443");
	facts.sni = STR("db.example.com");
	facts.alpn = STR("postgresql");
	facts.unique_id = STR("\0\1\2\3");
	check_written_v2(&facts, "192.0.2.1:1", "198.51.100.1:443");
	facts.tls_version = "TLSv1.3";
	check_written_v2(&facts, "192.0.2.1:1", "198.51.100.1:443");
	facts.tls_cipher = "TLS_AES_256_GCM_SHA384";
	check_written_v2(&facts, "192.0.2.1:1", "198.51.100.1:443");
	source = addr_of("[2001:db8::1]:1");
	check_written_v2(&facts, NULL, NULL); /* of two families */
	destination = addr_of("[2001:db8::2]:2");
	check_written_v2(&facts, "[2001:db8::1]:1", "[2001:db8::2]:2");
	source = addr_of("unix:/run/a");
	destination = addr_of("unix:/run/b");
	check_written_v2(&facts, "unix:/run/a", "unix:/run/b");
	source.len = offsetof(struct sockaddr_un, sun_path); /* as of a client that bound no name */
	check_written_v2(&facts, "unix:", "unix:/run/b");
	source.len = 0;
	check_written_v2(&facts, NULL, NULL);
	source = addr_of("192.0.2.1:1");
	destination = source;
	facts.is_local = true;
	check_written_v2(&facts, NULL, NULL);
	facts.is_local = false;
	facts.source = NULL;
	check_written_v2(&facts, NULL, NULL);
}

/* What the parser passes over: the client's byte, the verification, the name. */
static void test_written_certificate(void **state)
{
	static const uint8_t name[] = {PROXY2_TLV_SSL_CN, 0, 5, 'a', 'l', 'i', 'c', 'e'};
	struct addr addr = addr_of("192.0.2.1:1");
	struct proxy_facts facts = {
	    .source = &addr, .destination = &addr, .tls_version = "TLSv1.3"};
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES];
	const size_t at = PROXY2_HEADER_BYTES + sizeof(inet);
	int len = proxy_protocol_write(2, &facts, data, sizeof(data));

	(void)state;
	assert_int_equal(data[at], PROXY2_TLV_SSL);
	assert_int_equal(data[at + 3], 1);
	assert_memory_equal(data + at + 4, "\0\0\0\1", 4);
	facts.has_certificate = true;
	facts.certificate_name = STR("alice");
	check_written_v2(&facts, "192.0.2.1:1", "192.0.2.1:1");
	len = proxy_protocol_write(2, &facts, data, sizeof(data));
	assert_int_equal(data[at + 3], 7);
	assert_memory_equal(data + at + 4, "\0\0\0\0", 4);
	assert_memory_equal(data + len - 7 - sizeof(name), name, sizeof(name));
	facts.is_certificate_of_session = true;
	facts.certificate_name = STR("");
	check_written_v2(&facts, "192.0.2.1:1", "192.0.2.1:1");
	len = proxy_protocol_write(2, &facts, data, sizeof(data));
	assert_true(len > 0);
	assert_int_equal(data[at + 3], 5);
}

static void test_written_too_long(void **state)
{
	struct addr addr = addr_of("192.0.2.1:1");
	char text[PROXY_PROTOCOL_MAX_BYTES];
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES];
	struct proxy_header header;
	struct proxy_facts facts = {.source = &addr, .destination = &addr};
	int len;

	(void)state;
	memset(text, 'a', sizeof(text));
	facts.sni = (struct str){text, 256};
	facts.alpn = (struct str){text, 256};
	facts.unique_id = (struct str){text, PROXY2_UNIQUE_ID_MAX_BYTES + 1};
	len = proxy_protocol_write(2, &facts, data, sizeof(data));
	assert_int_equal(len, PROXY2_HEADER_BYTES + sizeof(inet) + 7);
	assert_int_equal(parse(data, (size_t)len, &header), PROXY_DONE);
}

static void test_local_is_short(void **state)
{
	struct proxy_facts facts = {.is_local = true};
	uint8_t data[32];

	(void)state;
	assert_int_equal(proxy_protocol_write(2, &facts, data, sizeof(data)), 16);
	assert_memory_equal(data, PROXY2_SIGNATURE "\x20\0\0\0", 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_written_v1),		cmocka_unit_test(test_written_v2),
	    cmocka_unit_test(test_written_certificate), cmocka_unit_test(test_written_too_long),
	    cmocka_unit_test(test_local_is_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
