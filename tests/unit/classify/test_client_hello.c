/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ClientHellos of real clients cut at every byte, made ones with a fault each, and what is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "classify/classify.h"
#include "client_hellos.h"
#include "penstock/limits.h"

/* From a copy of the exact size, so that ASan sees every byte too many. */
static enum classify_verdict classify(const uint8_t *data, size_t len_bytes,
				      struct client_hello *ret_hello)
{
	uint8_t *copy = malloc(len_bytes + !len_bytes);
	enum classify_verdict verdict;

	assert_non_null(copy);
	memcpy(copy, data, len_bytes);
	memset(ret_hello, 0xa5, sizeof(*ret_hello));
	verdict = classify_client_hello(copy, len_bytes, ret_hello);
	free(copy);
	return verdict;
}

static size_t needed(const uint8_t *data, size_t len_bytes)
{
	uint8_t *copy = malloc(len_bytes ? len_bytes : 1);
	size_t n;

	assert_non_null(copy);
	if (len_bytes)
		memcpy(copy, data, len_bytes);
	n = classify_needed_bytes(copy, len_bytes);
	free(copy);
	return n;
}

/* NEED_MORE for every part, CLIENT_HELLO for the whole and for what follows it. */
static void check_cuts(const uint8_t *data, size_t len_bytes)
{
	struct client_hello hello;
	uint8_t *longer = malloc(len_bytes + 6);

	assert_non_null(longer);
	for (size_t cut = 0; cut < len_bytes; cut++) {
		if (classify(data, cut, &hello) != CLASSIFY_NEED_MORE)
			fail_msg("verdict at %zu of %zu bytes", cut, len_bytes);
		assert_in_range(needed(data, cut), cut + 1, len_bytes);
	}
	assert_int_equal(classify(data, len_bytes, &hello), CLASSIFY_CLIENT_HELLO);
	memcpy(longer, data, len_bytes);
	memcpy(longer + len_bytes, "\x14\x03\x03\x00\x01\x01", 6);
	assert_int_equal(classify(longer, len_bytes + 6, &hello), CLASSIFY_CLIENT_HELLO);
	free(longer);
}

static void test_real(void **state)
{
	struct client_hello hello;

	(void)state;
	check_cuts(hello_openssl13, sizeof(hello_openssl13));
	assert_int_equal(classify(hello_openssl13, sizeof(hello_openssl13), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "www.example.com"); /* sent as Www.Example.com */
	assert_int_equal(hello.max_version, 0x0304);
	assert_int_equal(hello.alpn_len_bytes, 12);
	assert_memory_equal(hello.alpn, "\x02h2\x08http/1.1", 12);

	check_cuts(hello_openssl12, sizeof(hello_openssl12));
	assert_int_equal(classify(hello_openssl12, sizeof(hello_openssl12), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "db.example.com");
	assert_int_equal(hello.max_version, 0x0303);
	assert_int_equal(hello.alpn_len_bytes, 0);

	check_cuts(hello_noname, sizeof(hello_noname));
	assert_int_equal(classify(hello_noname, sizeof(hello_noname), &hello),
			 CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "");

	check_cuts(hello_curl, sizeof(hello_curl));
	assert_int_equal(classify(hello_curl, sizeof(hello_curl), &hello), CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "curl.example");
}

/* Three records; of the ALPN names only whole ones are kept. */
static void test_real_in_records(void **state)
{
	struct client_hello hello;

	(void)state;
	check_cuts(hello_split, sizeof(hello_split));
	assert_int_equal(classify(hello_split, sizeof(hello_split), &hello), CLASSIFY_CLIENT_HELLO);
	assert_string_equal(hello.sni, "split.example");
	assert_int_equal(hello.alpn_len_bytes, 202);
	assert_int_equal(hello.alpn[0], 201);
}

/* ---- Made ones ---- */

struct maker {
	uint8_t bytes[PENSTOCK_MAX_CLIENT_HELLO_BYTES + 4096];
	size_t len_bytes;
};

static void put(struct maker *maker, const void *data, size_t len_bytes)
{
	assert_true(len_bytes <= sizeof(maker->bytes) - maker->len_bytes);
	memcpy(maker->bytes + maker->len_bytes, data, len_bytes);
	maker->len_bytes += len_bytes;
}

static void put_u8(struct maker *maker, size_t value)
{
	put(maker, &(uint8_t){(uint8_t)value}, 1);
}

static void put_u16(struct maker *maker, size_t value)
{
	put_u8(maker, value >> 8);
	put_u8(maker, value & 0xff);
}

static void put_extension(struct maker *maker, uint16_t type, const void *data, size_t len_bytes)
{
	put_u16(maker, type);
	put_u16(maker, len_bytes);
	put(maker, data, len_bytes);
}

/* The message without records around it. `extensions` NULL: the field is not there. */
static void make_message(struct maker *maker, const struct maker *extensions)
{
	size_t len_bytes = 2 + 32 + 1 + 2 + 2 + 2 + (extensions ? 2 + extensions->len_bytes : 0);

	maker->len_bytes = 0;
	put_u8(maker, 1);
	put_u8(maker, len_bytes >> 16);
	put_u16(maker, len_bytes & 0xffff);
	put(maker, "\x03\x03", 2);
	put(maker, "0123456789abcdef0123456789abcdef", 32);
	put(maker, "\0", 1); /* session ID */
	put(maker, "\0\2\x13\x01", 4); /* ciphers */
	put(maker, "\1\0", 2); /* compressions */
	if (!extensions)
		return;
	put_u16(maker, extensions->len_bytes);
	put(maker, extensions->bytes, extensions->len_bytes);
}

static void make_records(struct maker *wire, const struct maker *message, size_t record_bytes)
{
	wire->len_bytes = 0;
	for (size_t at = 0; at < message->len_bytes; at += record_bytes) {
		size_t n = MIN(record_bytes, message->len_bytes - at);

		put(wire, "\x16\x03\x01", 3);
		put_u16(wire, n);
		put(wire, message->bytes + at, n);
	}
}

struct made {
	struct maker extensions;
	struct maker message;
	struct maker wire;
	struct client_hello hello;
};

static int make_new(void **state)
{
	*state = calloc(1, sizeof(struct made));
	return *state ? 0 : -1;
}

static int make_free(void **state)
{
	free(*state);
	return 0;
}

static enum classify_verdict classify_made(struct made *made)
{
	make_message(&made->message, &made->extensions);
	make_records(&made->wire, &made->message, 16384);
	return classify(made->wire.bytes, made->wire.len_bytes, &made->hello);
}

static enum classify_verdict classify_extension(struct made *made, uint16_t type, const void *data,
						size_t len_bytes)
{
	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, type, data, len_bytes);
	return classify_made(made);
}

static enum classify_verdict classify_sni(struct made *made, const char *name, size_t len)
{
	struct maker list = {.len_bytes = 0};

	put_u16(&list, len + 3);
	put_u8(&list, 0);
	put_u16(&list, len);
	put(&list, name, len);
	return classify_extension(made, 0, list.bytes, list.len_bytes);
}

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

#define DATA(literal) literal, sizeof(literal) - 1

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
	check_cuts(made->wire.bytes, made->wire.len_bytes);
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
	check_cuts(made->wire.bytes, made->wire.len_bytes);
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
	check_cuts(made->wire.bytes, made->wire.len_bytes);
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

/* ---- Records ---- */

static void test_records_of_any_size(void **state)
{
	struct made *made = *state;

	assert_int_equal(classify_extension(made, 0, DATA("\0\4\0\0\1a")), CLASSIFY_CLIENT_HELLO);
	for (size_t n = 1; n <= made->message.len_bytes; n++) {
		make_records(&made->wire, &made->message, n);
		check_cuts(made->wire.bytes, made->wire.len_bytes);
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
	    cmocka_unit_test_setup_teardown(test_names, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_grease, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_encrypted, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_extension_twice, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_no_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_body, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_bytes_behind_extensions, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_lists, make_new, make_free),
	    cmocka_unit_test_setup_teardown(test_records_of_any_size, make_new, make_free),
	    cmocka_unit_test(test_bytes),
	    cmocka_unit_test(test_ssl_request),
	    cmocka_unit_test_setup_teardown(test_size, make_new, make_free),
	};

	return cmocka_run_group_tests_name("ClientHello", tests, NULL, NULL);
}
