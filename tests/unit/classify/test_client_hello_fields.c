/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos with a fault each, in their fields and extensions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hello_maker.h"

static void test_names(void **state)
{
	static const struct {
		const char *name, *sni; /* sni NULL: malformed */
	} rows[] = {
	    {"a", "a"},
	    {"A-b_1.Example", "a-b_1.example"},
	    {"a.example.", "a.example"}, /* RFC 6066: without trailing dot; tolerated */
	    {"192.0.2.1", "192.0.2.1"},
	    {"", NULL},
	    {".", NULL},
	    {"..", NULL},
	    {"a..", NULL},
	    {".a", NULL},
	    {"a..b", NULL},
	    {"a b", NULL},
	    {"a/b", NULL},
	    {"*.a", NULL},
	    {"[2001:db8::1]", NULL},
	    {"b\xc3\xbc"
	     "cher",
	     NULL},
	    {"a\n", NULL},
	};
	struct made *made = *state;
	char name[300];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		enum classify_verdict verdict =
		    classify_sni(made, rows[i].name, strlen(rows[i].name));

		if (verdict != (rows[i].sni ? CLASSIFY_CLIENT_HELLO : CLASSIFY_MALFORMED))
			fail_msg("\"%s\": verdict %d", rows[i].name, verdict);
		if (rows[i].sni)
			assert_string_equal(made->hello.sni, rows[i].sni);
	}
	assert_int_equal(classify_sni(made, "a\0b", 3), CLASSIFY_MALFORMED);
	for (size_t i = 0; i < sizeof(name); i++)
		name[i] = i % 50 == 49 ? '.' : 'x';
	assert_int_equal(classify_sni(made, name, 253), CLASSIFY_CLIENT_HELLO);
	assert_int_equal(strlen(made->hello.sni), 253);
	assert_int_equal(classify_sni(made, name, 254), CLASSIFY_MALFORMED);
	assert_int_equal(classify_sni(made, name, 300), CLASSIFY_MALFORMED);
}

struct extension_row {
	const char *name;
	uint16_t type;
	const char *data;
	size_t len_bytes;
	enum classify_verdict verdict;
};

static const struct extension_row extension_rows[] = {
    {"SNI: nothing", 0, DATA(""), CLASSIFY_MALFORMED},
    {"SNI: empty list", 0, DATA("\0\0"), CLASSIFY_MALFORMED},
    {"SNI: list longer than extension", 0, DATA("\0\x05\0\0\1a"), CLASSIFY_MALFORMED},
    {"SNI: list shorter than extension", 0, DATA("\0\4\0\0\1ab"), CLASSIFY_MALFORMED},
    {"SNI: name longer than list", 0, DATA("\0\4\0\0\2a"), CLASSIFY_MALFORMED},
    {"SNI: two names", 0, DATA("\0\x08\0\0\1a\0\0\1b"), CLASSIFY_MALFORMED},
    {"SNI: another type first", 0, DATA("\0\x08\7\0\1?\0\0\1b"), CLASSIFY_CLIENT_HELLO},
    {"SNI: another type alone", 0, DATA("\0\4\7\0\1?"), CLASSIFY_CLIENT_HELLO},
    {"ALPN: nothing", 16, DATA(""), CLASSIFY_MALFORMED},
    {"ALPN: empty list", 16, DATA("\0\0"), CLASSIFY_MALFORMED},
    {"ALPN: empty name", 16, DATA("\0\1\0"), CLASSIFY_MALFORMED},
    {"ALPN: empty name after one", 16, DATA("\0\4\2h2\0"), CLASSIFY_MALFORMED},
    {"ALPN: name longer than list", 16, DATA("\0\3\3h2"), CLASSIFY_MALFORMED},
    {"ALPN: bytes behind the list", 16, DATA("\0\3\2h2?"), CLASSIFY_MALFORMED},
    {"ALPN: one", 16, DATA("\0\3\2h2"), CLASSIFY_CLIENT_HELLO},
    {"versions: nothing", 43, DATA(""), CLASSIFY_MALFORMED},
    {"versions: empty list", 43, DATA("\0"), CLASSIFY_MALFORMED},
    {"versions: half of one", 43, DATA("\3\3\4\3"), CLASSIFY_MALFORMED},
    {"versions: bytes behind the list", 43, DATA("\2\3\4?"), CLASSIFY_MALFORMED},
    {"versions: one", 43, DATA("\2\3\4"), CLASSIFY_CLIENT_HELLO},
    {"unknown: anything", 0x0a0a, DATA("\xff"), CLASSIFY_CLIENT_HELLO},
};

static void test_extensions(void **state)
{
	struct made *made = *state;

	for (size_t i = 0; i < ARRAY_LEN(extension_rows); i++) {
		const struct extension_row *row = &extension_rows[i];
		enum classify_verdict verdict =
		    classify_extension(made, row->type, row->data, row->len_bytes);

		if (verdict != row->verdict)
			fail_msg("%s: verdict %d", row->name, verdict);
	}
}

/* RFC 8701: values that mean nothing, anywhere. */
static void test_grease(void **state)
{
	struct made *made = *state;

	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, 0x4a4a, "", 0);
	put_extension(&made->extensions, 43, DATA("\x06\xfa\xfa\3\4\3\3"));
	put_extension(&made->extensions, 0, DATA("\0\4\0\0\1a"));
	put_extension(&made->extensions, 0xcaca, "\0", 1);
	assert_int_equal(classify_made(made), CLASSIFY_CLIENT_HELLO);
	assert_int_equal(made->hello.max_version, 0x0304);
	assert_string_equal(made->hello.sni, "a");
	check_hello_cuts(made->wire.bytes, made->wire.len_bytes);
}

/*
 * An encrypted ClientHello (draft-ietf-tls-esni, extension 0xfe0d), real or GREASE, is routed by
 * what its outer part says: nobody but the server can tell the two apart.
 */
static void test_encrypted(void **state)
{
	struct made *made = *state;
	uint8_t ech[10 + 32 + 144] = {0, 0, 1, 0, 1, 7, 0, 32}; /* outer, KDF, AEAD, config id */

	memset(ech + 8, 0x16, 32);
	ech[41] = 144;
	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, 0xfe0d, ech, sizeof(ech));
	put_extension(&made->extensions, 0, DATA("\0\x0e\0\0\x0bpublic.test"));
	put_extension(&made->extensions, 16, DATA("\0\3\2h2"));
	assert_int_equal(classify_made(made), CLASSIFY_CLIENT_HELLO);
	assert_string_equal(made->hello.sni, "public.test");
	assert_int_equal(made->hello.alpn_len_bytes, 3);
	check_hello_cuts(made->wire.bytes, made->wire.len_bytes);
}

static void test_extension_twice(void **state)
{
	struct made *made = *state;

	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, 16, DATA("\0\3\2h2"));
	put_extension(&made->extensions, 16, DATA("\0\3\2h2"));
	assert_int_equal(classify_made(made), CLASSIFY_MALFORMED);
}

static void test_no_extensions(void **state)
{
	struct made *made = *state;

	make_message(&made->message, NULL);
	make_records(&made->wire, &made->message, 16384);
	check_hello_cuts(made->wire.bytes, made->wire.len_bytes);
	assert_int_equal(classify(made->wire.bytes, made->wire.len_bytes, &made->hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(made->hello.sni, "");
	assert_int_equal(made->hello.max_version, 0x0303);
	made->extensions.len_bytes = 0;
	assert_int_equal(classify_made(made), CLASSIFY_CLIENT_HELLO);
}

/* One byte of the body changed. Offsets are of the message: 4 version, 38 session ID, 39 ciphers,
 * 43 compressions. */
static void test_body(void **state)
{
	static const struct {
		const char *name;
		size_t offset;
		uint8_t value;
	} rows[] = {
	    {"version 2", 4, 2},
	    {"session ID of 33 bytes", 38, 33},
	    {"session ID to the end", 38, 255},
	    {"no ciphers", 40, 0},
	    {"half a cipher", 40, 1},
	    {"ciphers to the end", 39, 255},
	    {"no compressions", 43, 0},
	    {"compressions to the end", 43, 255},
	    {"compression without none", 44, 1},
	    {"extensions cut short", 46, 3},
	    {"extensions with bytes behind", 46, 5},
	    {"extension longer than the list", 50, 10},
	};
	struct made *made = *state;

	assert_int_equal(classify_extension(made, 0, DATA("\0\4\0\0\1a")), CLASSIFY_CLIENT_HELLO);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t *byte = &made->wire.bytes[5 + rows[i].offset], kept = *byte;

		*byte = rows[i].value;
		if (classify(made->wire.bytes, made->wire.len_bytes, &made->hello) !=
		    CLASSIFY_MALFORMED)
			fail_msg("%s", rows[i].name);
		*byte = kept;
	}
	/* A length that is less than the whole. */
	made->wire.bytes[5 + 3]--;
	assert_int_equal(classify(made->wire.bytes, made->wire.len_bytes, &made->hello),
			 CLASSIFY_MALFORMED);
}

/* All lengths right but that of the list of extensions, which ends with a whole one. */
static void test_bytes_behind_extensions(void **state)
{
	struct made *made = *state;

	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, 0x0a0a, "", 0);
	put_extension(&made->extensions, 0x1a1a, "", 0);
	assert_int_equal(classify_made(made), CLASSIFY_CLIENT_HELLO);
	assert_int_equal(made->wire.bytes[5 + 46], 8);
	made->wire.bytes[5 + 46] = 4;
	assert_int_equal(classify(made->wire.bytes, made->wire.len_bytes, &made->hello),
			 CLASSIFY_MALFORMED);
}

#define BYTES_32 "0123456789abcdef0123456789abcdef"

/* What follows the random number, every length inside it right. */
static void test_lists(void **state)
{
	static const struct {
		const char *name, *data;
		size_t len_bytes;
		enum classify_verdict verdict;
	} rows[] = {
	    {"plain", DATA("\0\0\2\x13\1\1\0"), CLASSIFY_CLIENT_HELLO},
	    {"session ID of 32 bytes", DATA("\x20" BYTES_32 "\0\2\x13\1\1\0"),
	     CLASSIFY_CLIENT_HELLO},
	    {"session ID of 33 bytes", DATA("\x21" BYTES_32 "!\0\2\x13\1\1\0"), CLASSIFY_MALFORMED},
	    {"no ciphers", DATA("\0\0\0\1\0"), CLASSIFY_MALFORMED},
	    {"a cipher and a half", DATA("\0\0\3\x13\1\x13\1\0"), CLASSIFY_MALFORMED},
	    {"no compressions", DATA("\0\0\2\x13\1\0"), CLASSIFY_MALFORMED},
	    {"two compressions", DATA("\0\0\2\x13\1\2\1\0"), CLASSIFY_CLIENT_HELLO},
	    {"compressions without none", DATA("\0\0\2\x13\1\1\1"), CLASSIFY_MALFORMED},
	    {"a byte behind", DATA("\0\0\2\x13\1\1\0\0"), CLASSIFY_MALFORMED},
	};
	struct made *made = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct maker *message = &made->message;
		enum classify_verdict verdict;

		make_message(message, NULL);
		message->len_bytes = 4 + 2 + 32;
		put(message, rows[i].data, rows[i].len_bytes);
		message->bytes[3] = (uint8_t)(message->len_bytes - 4);
		make_records(&made->wire, message, 16384);
		verdict = classify(made->wire.bytes, made->wire.len_bytes, &made->hello);
		if (verdict != rows[i].verdict)
			fail_msg("%s: verdict %d", rows[i].name, verdict);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_names, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_grease, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_encrypted, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_extension_twice, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_no_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_body, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_bytes_behind_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_lists, make_new, make_free),
	};

	return cmocka_run_group_tests_name("ClientHello, its fields", tests, NULL, NULL);
}
