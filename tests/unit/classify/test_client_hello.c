/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos of real clients cut at every byte, made ones in records of any size, and what is
 * none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "client_hellos.h"
#include "hello_maker.h"

static void test_real(void **state)
{
	struct client_hello hello;

	(void)state;
	check_hello_cuts(hello_openssl13, sizeof(hello_openssl13));
	assert_int_equal(classify(hello_openssl13, sizeof(hello_openssl13), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "www.example.com"); /* sent as Www.Example.com */
	assert_int_equal(hello.max_version, 0x0304);
	assert_int_equal(hello.alpn_len_bytes, 12);
	assert_memory_equal(hello.alpn, "\x02h2\x08http/1.1", 12);

	check_hello_cuts(hello_openssl12, sizeof(hello_openssl12));
	assert_int_equal(classify(hello_openssl12, sizeof(hello_openssl12), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "db.example.com");
	assert_int_equal(hello.max_version, 0x0303);
	assert_int_equal(hello.alpn_len_bytes, 0);

	check_hello_cuts(hello_noname, sizeof(hello_noname));
	assert_int_equal(classify(hello_noname, sizeof(hello_noname), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "");

	check_hello_cuts(hello_curl, sizeof(hello_curl));
	assert_int_equal(classify(hello_curl, sizeof(hello_curl), &hello), CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "curl.example");
}

/* Three records; of the ALPN names only whole ones are kept. */
static void test_real_in_records(void **state)
{
	struct client_hello hello;

	(void)state;
	check_hello_cuts(hello_split, sizeof(hello_split));
	assert_int_equal(classify(hello_split, sizeof(hello_split), &hello), CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "split.example");
	assert_int_equal(hello.alpn_len_bytes, 202);
	assert_int_equal(hello.alpn[0], 201);
}

static void test_records_of_any_size(void **state)
{
	struct made *made = *state;

	assert_int_equal(classify_extension(made, 0, DATA("\0\4\0\0\1a")), CLASSIFY_CLIENT_HELLO);
	for (size_t n = 1; n <= made->message.len_bytes; n++) {
		make_records(&made->wire, &made->message, n);
		check_hello_cuts(made->wire.bytes, made->wire.len_bytes);
		assert_int_equal(classify(made->wire.bytes, made->wire.len_bytes, &made->hello),
				 CLASSIFY_CLIENT_HELLO);
		assert_string_equal(made->hello.sni, "a");
	}
}

struct bytes_row {
	const char *name;
	const char *data;
	size_t len_bytes;
	enum classify_verdict verdict;
};

static const struct bytes_row bytes_rows[] = {
    {"nothing", DATA(""), CLASSIFY_NEED_MORE},
    {"type alone", DATA("\x16"), CLASSIFY_NEED_MORE},
    {"HTTP", DATA("G"), CLASSIFY_NOT_TLS},
    {"HTTP, whole", DATA("GET / HTTP/1.1\r\n\r\n"), CLASSIFY_NOT_TLS},
    {"SSH", DATA("SSH-2.0-x\r\n"), CLASSIFY_NOT_TLS},
    {"SSL 2", DATA("\x80\x2e\x01\x03\x01"), CLASSIFY_NOT_TLS},
    {"alert", DATA("\x15\x03\x01\0\2\2\x28"), CLASSIFY_NOT_TLS},
    {"record of version 2", DATA("\x16\2"), CLASSIFY_NOT_TLS},
    {"record of version 3.9", DATA("\x16\3\x09\0\4\1"), CLASSIFY_NEED_MORE},
    {"empty record", DATA("\x16\3\1\0\0"), CLASSIFY_MALFORMED},
    {"record of 16384 bytes", DATA("\x16\3\1\x40\0\1"), CLASSIFY_NEED_MORE},
    {"record of 16385 bytes", DATA("\x16\3\1\x40\1"), CLASSIFY_MALFORMED},
    {"ServerHello", DATA("\x16\3\1\0\4\2"), CLASSIFY_MALFORMED},
    {"another record within", DATA("\x16\3\1\0\1\1\x15"), CLASSIFY_MALFORMED},
    {"another version within", DATA("\x16\3\1\0\1\1\x16\2"), CLASSIFY_MALFORMED},
    {"empty message", DATA("\x16\3\1\0\4\1\0\0\0"), CLASSIFY_MALFORMED},
    {"message that fills the limit", DATA("\x16\3\1\0\4\1\0\xff\xf7"), CLASSIFY_NEED_MORE},
    {"message of a byte more", DATA("\x16\3\1\0\4\1\0\xff\xf8"), CLASSIFY_TOO_LARGE},
    {"message of 16 MB", DATA("\x16\3\1\0\4\1\xff\xff\xff"), CLASSIFY_TOO_LARGE},
};

static void test_bytes(void **state)
{
	struct client_hello hello;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bytes_rows); i++) {
		enum classify_verdict verdict =
		    classify((const uint8_t *)bytes_rows[i].data, bytes_rows[i].len_bytes, &hello);

		if (verdict != bytes_rows[i].verdict)
			fail_msg("%s: verdict %d", bytes_rows[i].name, verdict);
	}
}

/* The largest that fits on the wire is read, one byte more is not. */
static void test_size(void **state)
{
	struct made *made = *state;
	const size_t records_bytes = 4 * 5, other_bytes = 4 + 43 + 4;
	size_t fits = PENSTOCK_MAX_CLIENT_HELLO_BYTES - records_bytes - other_bytes;
	static const uint8_t padding[PENSTOCK_MAX_CLIENT_HELLO_BYTES];

	assert_int_equal(classify_extension(made, 21, padding, fits), CLASSIFY_CLIENT_HELLO);
	assert_int_equal(made->wire.len_bytes, PENSTOCK_MAX_CLIENT_HELLO_BYTES);
	assert_int_equal(classify_extension(made, 21, padding, fits + 1), CLASSIFY_TOO_LARGE);
	/* As many bytes as are ever shown, and still not whole. */
	assert_int_equal(classify(made->wire.bytes, PENSTOCK_MAX_CLIENT_HELLO_BYTES, &made->hello),
			 CLASSIFY_TOO_LARGE);
	/* Records of a byte each take six. */
	make_records(&made->wire,
		     &(struct maker){.bytes = "\1\0\x40", .len_bytes = sizeof(padding) / 6 + 1}, 1);
	assert_int_equal(classify(made->wire.bytes, made->wire.len_bytes, &made->hello),
			 CLASSIFY_TOO_LARGE);
}

static void test_ssl_request(void **state)
{
	static const uint8_t request[] = {0, 0, 0, 8, 4, 210, 22, 47, 0};
	uint8_t other[8];

	(void)state;
	assert_true(classify_is_ssl_request(request, 8));
	for (size_t i = 0; i < sizeof(request) + 1; i++)
		if (i != 8)
			assert_false(classify_is_ssl_request(request, i));
	for (size_t i = 0; i < 8; i++) {
		memcpy(other, request, 8);
		other[i] ^= 1;
		assert_false(classify_is_ssl_request(other, 8));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_real),
	    cmocka_unit_test(test_real_in_records),
	    cmocka_unit_test_setup_teardown(test_records_of_any_size, make_new, make_free),
	    cmocka_unit_test(test_bytes),
	    cmocka_unit_test(test_ssl_request),
	    cmocka_unit_test_setup_teardown(test_size, make_new, make_free),
	};

	return cmocka_run_group_tests_name("ClientHello", tests, NULL, NULL);
}
