/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY protocol headers cut at every byte, with each field wrong in turn, and with lengths that
 * lie. One was caught from HAProxy 2.6.
 */
#include "proxy_headers.h"

#include <string.h>

#include "classify/classify_internal.h"

/* ---- Version 1 ---- */

static void test_v1_right(void **state)
{
	static const struct {
		const char *line, *source, *destination; /* source NULL: local */
	} rows[] = {
	    {"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n", "192.0.2.1:56324",
	     "198.51.100.2:443"},
	    {"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", "0.0.0.0:0",
	     "255.255.255.255:65535"},
	    {"PROXY TCP6 2001:db8::1 2001:DB8::2 1 2\r\n", "[2001:db8::1]:1", "[2001:db8::2]:2"},
	    {"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "192.0.2.1:1", "[::1]:2"},
	    {"PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
	     "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	    {"PROXY UNKNOWN\r\n", NULL, NULL},
	    {"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", /* 107 bytes */
	     NULL, NULL},
	    {"PROXY UNKNOWN anything at all\r\n", NULL, NULL},
	};
	struct proxy_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		check_cuts(rows[i].line, strlen(rows[i].line));
		assert_int_equal(parse(rows[i].line, strlen(rows[i].line), &header), PROXY_DONE);
		assert_int_equal(header.version, 1);
		assert_int_equal(header.is_local, !rows[i].source);
		if (!rows[i].source) {
			assert_int_equal(header.source.len, 0);
			assert_int_equal(header.destination.len, 0);
			continue;
		}
		assert_addr(&header.source, rows[i].source);
		assert_addr(&header.destination, rows[i].destination);
	}
}

static void test_v1_wrong(void **state)
{
	static const char *const lines[] = {
	    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 56324 \r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2  443\r\n",
	    "PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n",
	    "PROXY  TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 99999999999999 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 056 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
	    "PROXY TCP4 192.0.2.1 198.51.100.2 1 44x\r\n",
	    "PROXY TCP4 192.0.2.01 198.51.100.2 56324 443\r\n",
	    "PROXY TCP4 192.0.2 198.51.100.2 56324 443\r\n",
	    "PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n",
	    "PROXY TCP4 2001:db8::1 2001:db8::2 56324 443\r\n",
	    "PROXY TCP4 192.0.2.1 2001:db8::2 56324 443\r\n",
	    "PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n",
	    "PROXY TCP6 2001:db8::1%1 2001:db8::2 56324 443\r\n",
	    "PROXY TCP6 [2001:db8::1] 2001:db8::2 56324 443\r\n",
	    "PROXY TCP 192.0.2.1 198.51.100.2 56324 443\r\n",
	    "PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n",
	    "PROXY tcp4 192.0.2.1 198.51.100.2 56324 443\r\n",
	    "PROXY UNKNOWNX\r\n",
	    "PROXY \r\n",
	    "PROXY TCP4\r\n",
	    /* 108 bytes */
	    "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535 \r\n",
	};
	struct proxy_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		if (parse(lines[i], strlen(lines[i]), &header) != PROXY_MALFORMED)
			fail_msg("taken: %s", lines[i]);
	assert_int_equal(parse("PROXY TCP4 192.0.2.1\0 198.51.100.2 1 2\r\n", 41, &header),
			 PROXY_MALFORMED);
}

static void test_absent(void **state)
{
	static const char *const begins[] = {
	    "G",
	    "PR0XY TCP4",
	    "PROXY\r\n",
	    "proxy ",
	    "POST / HTTP/1.1\r\n",
	    "\r\n\r\n\r\n",
	    "\x16\x03\x01",
	    "PROXYTCP4 192.0.2.1 198.51.100.2 1 2\r\n",
	};
	struct proxy_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(begins); i++)
		if (parse(begins[i], strlen(begins[i]), &header) != PROXY_ABSENT)
			fail_msg("not absent: %s", begins[i]);
	assert_int_equal(parse("", 0, &header), PROXY_NEED_MORE);
}

/* ---- Version 2 ---- */

/* send-proxy-v2 of HAProxy 2.6 with proxy-v2-options crc32c,unique-id: 127.0.0.1:41132 to
 * 127.0.0.1:17100, id "pen-1". */
static const uint8_t v2_haproxy[] = {
    0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0x00,
    0x1b, 0x7f, 0x00, 0x00, 0x01, 0x7f, 0x00, 0x00, 0x01, 0xa0, 0xac, 0x42, 0xcc, 0x03, 0x00,
    0x04, 0xf7, 0xfb, 0x8a, 0x3e, 0x05, 0x00, 0x05, 0x70, 0x65, 0x6e, 0x2d, 0x31,
};

struct block {
	uint8_t data[PROXY_PROTOCOL_MAX_BYTES + 64];
	size_t len_bytes;
};

static void block_begin(struct block *block, uint8_t command, uint8_t family)
{
	memcpy(block->data, PROXY2_SIGNATURE, PROXY2_SIGNATURE_BYTES);
	block->data[12] = command;
	block->data[13] = family;
	block->len_bytes = PROXY2_HEADER_BYTES;
}

static void block_add(struct block *block, const void *bytes, size_t len_bytes)
{
	assert_true(len_bytes <= sizeof(block->data) - block->len_bytes);
	memcpy(block->data + block->len_bytes, bytes, len_bytes);
	block->len_bytes += len_bytes;
}

static void block_tlv(struct block *block, uint8_t type, const void *value, size_t len_bytes)
{
	const uint8_t header[] = {type, (uint8_t)(len_bytes >> 8), (uint8_t)len_bytes};

	block_add(block, header, sizeof(header));
	block_add(block, value, len_bytes);
}

static enum proxy_verdict block_parse(struct block *block, struct proxy_header *header)
{
	size_t told_bytes = block->len_bytes - PROXY2_HEADER_BYTES;

	block->data[14] = (uint8_t)(told_bytes >> 8);
	block->data[15] = (uint8_t)told_bytes;
	return parse(block->data, block->len_bytes, header);
}

static void test_v2_haproxy(void **state)
{
	struct proxy_header header;
	uint8_t copy[sizeof(v2_haproxy)];

	(void)state;
	check_cuts(v2_haproxy, sizeof(v2_haproxy));
	assert_int_equal(parse(v2_haproxy, sizeof(v2_haproxy), &header), PROXY_DONE);
	assert_int_equal(header.version, 2);
	assert_false(header.is_local);
	assert_addr(&header.source, "127.0.0.1:41132");
	assert_addr(&header.destination, "127.0.0.1:17100");
	assert_str(header.unique_id, "pen-1");
	/* Every bit counts, be it of the checksum or below it; lengths and types may fail earlier.
	 */
	for (size_t bit = 0; bit < 8 * sizeof(copy); bit++) {
		memcpy(copy, v2_haproxy, sizeof(copy));
		copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (bit / 8 == 12 && copy[12] == PROXY2_COMMAND_LOCAL)
			continue;
		if (bit / 8 == 13 && copy[13] >> 4 == PROXY2_FAMILY_UNSPEC)
			continue; /* of these nothing is looked at */
		if (bit / 8 == 28)
			continue; /* its type: no checksum any more */
		if (parse(copy, sizeof(copy), &header) == PROXY_DONE)
			fail_msg("bit %zu does not matter", bit);
	}
}

static void test_v2_inet6_and_tlvs(void **state)
{
	static const uint8_t inet6[36] = {0x20, 1,    0xd,	0xb8, [15] = 1, 0x20, 1,
					  0xd,	0xb8, [31] = 2, 0,    80,	1,    0xbb};
	static const uint8_t ssl[] = "\1\0\0\0\1\x21\0\7TLSv1.3\x23\0\3AES\x22\0\2cn";
	struct block block;
	struct proxy_header header;

	(void)state;
	block_begin(&block, PROXY2_COMMAND_PROXY, 0x21);
	block_add(&block, inet6, sizeof(inet6));
	block_tlv(&block, PROXY2_TLV_ALPN, "h2", 2);
	block_tlv(&block, PROXY2_TLV_AUTHORITY, "db.example.com", 14);
	block_tlv(&block, PROXY2_TLV_UNIQUE_ID, "\0\1", 2);
	block_tlv(&block, 4, "padding", 7);
	block_tlv(&block, 0xe3, "\xff", 1);
	block_tlv(&block, PROXY2_TLV_SSL, ssl, sizeof(ssl) - 1);
	assert_int_equal(block_parse(&block, &header), PROXY_DONE);
	assert_addr(&header.source, "[2001:db8::1]:80");
	assert_addr(&header.destination, "[2001:db8::2]:443");
	assert_str(header.alpn, "h2");
	assert_str(header.authority, "db.example.com");
	assert_int_equal(header.unique_id.len, 2);
	assert_memory_equal(header.unique_id.ptr, "\0\1", 2);
	assert_true(header.is_tls);
	assert_str(header.tls_version, "TLSv1.3");
	assert_str(header.tls_cipher, "AES");
	check_cuts(block.data, block.len_bytes);
}

static void test_v2_unix(void **state)
{
	char paths[2 * PROXY2_UNIX_PATH_BYTES] = "/run/a";
	struct block block;
	struct proxy_header header;

	(void)state;
	strcpy(paths + PROXY2_UNIX_PATH_BYTES, "/run/b");
	block_begin(&block, PROXY2_COMMAND_PROXY, 0x31);
	block_add(&block, paths, sizeof(paths));
	assert_int_equal(block_parse(&block, &header), PROXY_DONE);
	assert_addr(&header.source, "unix:/run/a");
	assert_addr(&header.destination, "unix:/run/b");
	/* Not terminated; abstract. */
	memset(block.data + PROXY2_HEADER_BYTES, 'x', PROXY2_UNIX_PATH_BYTES);
	block.data[PROXY2_HEADER_BYTES + PROXY2_UNIX_PATH_BYTES] = 0;
	assert_int_equal(block_parse(&block, &header), PROXY_DONE);
	assert_addr(&header.source, "unix:");
	assert_addr(&header.destination, "unix:");
}

/* The connection speaks for itself. */
static void test_v2_local(void **state)
{
	static const struct {
		uint8_t command, family;
		const char *block;
		size_t block_bytes;
		enum proxy_verdict verdict;
	} rows[] = {
	    {PROXY2_COMMAND_LOCAL, 0, "", 0, PROXY_DONE},
	    {PROXY2_COMMAND_LOCAL, 0x11, "", 0, PROXY_DONE},
	    {PROXY2_COMMAND_LOCAL, 0x11, (const char *)inet, sizeof(inet), PROXY_DONE},
	    {PROXY2_COMMAND_LOCAL, 0xff, "\1\2\3", 3, PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0, "", 0, PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0, "\1\2\3", 3, PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0x01, "", 0, PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0x03, "", 0, PROXY_MALFORMED},
	    {PROXY2_COMMAND_PROXY, 0x10, (const char *)inet, sizeof(inet), PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0x12, (const char *)inet, sizeof(inet), PROXY_DONE},
	    {PROXY2_COMMAND_PROXY, 0x13, (const char *)inet, sizeof(inet), PROXY_MALFORMED},
	    {PROXY2_COMMAND_PROXY, 0x41, (const char *)inet, sizeof(inet), PROXY_MALFORMED},
	};
	struct block block;
	struct proxy_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		block_begin(&block, rows[i].command, rows[i].family);
		block_add(&block, rows[i].block, rows[i].block_bytes);
		if (block_parse(&block, &header) != rows[i].verdict)
			fail_msg("row %zu", i);
		if (rows[i].verdict != PROXY_DONE)
			continue;
		assert_true(header.is_local);
		assert_int_equal(header.source.len, 0);
		assert_int_equal(header.destination.len, 0);
		assert_int_equal(header.header_bytes, block.len_bytes);
	}
}

static void test_v2_wrong(void **state)
{
	struct block block, right;
	struct proxy_header header;

	(void)state;
	block_begin(&right, PROXY2_COMMAND_PROXY, 0x11);
	block_add(&right, inet, sizeof(inet));
	assert_int_equal(block_parse(&right, &header), PROXY_DONE);
	for (unsigned int command = 0; command < 256; command++) {
		block = right;
		block.data[12] = (uint8_t)command;
		if (command != PROXY2_COMMAND_LOCAL && command != PROXY2_COMMAND_PROXY) {
			assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
			assert_int_equal(parse(block.data, 13, &header), PROXY_MALFORMED);
		}
	}
	/* Addresses that are cut. */
	for (size_t len = 0; len < sizeof(inet); len++) {
		block = right;
		block.len_bytes = PROXY2_HEADER_BYTES + len;
		assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
		block.data[13] = 0x21;
		assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
		block.data[13] = 0x31;
		assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	}
	/* Less than a TLV's head, and TLVs that are longer than what is there. */
	for (size_t len = 1; len < 3; len++) {
		block = right;
		block_add(&block, "\4\0\0", len);
		assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	}
	block = right;
	block_add(&block, "\4\0\1", 3);
	assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	block = right;
	block_add(&block, "\4\xff\xff", 3);
	assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	block = right;
	block_tlv(&block, PROXY2_TLV_UNIQUE_ID, right.data, PROXY2_UNIQUE_ID_MAX_BYTES + 1);
	assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
}

static void test_v2_ssl_wrong(void **state)
{
	static const struct {
		const char *value;
		size_t len_bytes;
	} rows[] = {
	    {"", 0},
	    {"\1\0\0\0", 4},
	    {"\1\0\0\0\0\x21", 6},
	    {"\1\0\0\0\0\x21\0", 7},
	    {"\1\0\0\0\0\x21\0\2T", 9},
	    {"\1\0\0\0\0\x21\xff\xffT", 9},
	};
	struct block block;
	struct proxy_header header;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		block_begin(&block, PROXY2_COMMAND_PROXY, 0x11);
		block_add(&block, inet, sizeof(inet));
		block_tlv(&block, PROXY2_TLV_SSL, rows[i].value, rows[i].len_bytes);
		block_tlv(&block, 4, "behind", 6);
		if (block_parse(&block, &header) != PROXY_MALFORMED)
			fail_msg("row %zu", i);
	}
}

static void test_v2_crc_wrong(void **state)
{
	struct block block;
	struct proxy_header header;

	(void)state;
	for (size_t len = 0; len <= 5; len++) { /* also of the right size, but wrong */
		block_begin(&block, PROXY2_COMMAND_PROXY, 0x11);
		block_add(&block, inet, sizeof(inet));
		block_tlv(&block, PROXY2_TLV_CRC32C, "\0\0\0\0\0", len);
		assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	}
	/* Two of them: with either in place of zeros the other is data. */
	memcpy(block.data, v2_haproxy, sizeof(v2_haproxy));
	block.len_bytes = sizeof(v2_haproxy);
	block_tlv(&block, PROXY2_TLV_CRC32C, "\0\0\0\0", 4);
	assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
}

static void test_v2_too_long(void **state)
{
	struct block block;
	struct proxy_header header;
	static const uint8_t filler[PROXY_PROTOCOL_MAX_BYTES];
	size_t room = PROXY_PROTOCOL_MAX_BYTES - PROXY2_HEADER_BYTES - sizeof(inet) - 3;

	(void)state;
	block_begin(&block, PROXY2_COMMAND_PROXY, 0x11);
	block_add(&block, inet, sizeof(inet));
	block_tlv(&block, 4, filler, room);
	assert_int_equal(block_parse(&block, &header), PROXY_DONE);
	assert_int_equal(header.header_bytes, PROXY_PROTOCOL_MAX_BYTES);
	block_begin(&block, PROXY2_COMMAND_PROXY, 0x11);
	block_add(&block, inet, sizeof(inet));
	block_tlv(&block, 4, filler, room + 1);
	assert_int_equal(block_parse(&block, &header), PROXY_MALFORMED);
	/* Said at once, not when all of it came. */
	assert_int_equal(parse(block.data, PROXY2_HEADER_BYTES, &header), PROXY_MALFORMED);
	memset(block.data + 14, 0xff, 2);
	assert_int_equal(parse(block.data, PROXY2_HEADER_BYTES, &header), PROXY_MALFORMED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_v1_right),
	    cmocka_unit_test(test_v1_wrong),
	    cmocka_unit_test(test_absent),
	    cmocka_unit_test(test_v2_haproxy),
	    cmocka_unit_test(test_v2_inet6_and_tlvs),
	    cmocka_unit_test(test_v2_unix),
	    cmocka_unit_test(test_v2_local),
	    cmocka_unit_test(test_v2_wrong),
	    cmocka_unit_test(test_v2_ssl_wrong),
	    cmocka_unit_test(test_v2_crc_wrong),
	    cmocka_unit_test(test_v2_too_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
