/* SPDX-License-Identifier: Apache-2.0 */
#include "hello_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum classify_verdict classify(const uint8_t *data, size_t len_bytes,
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

size_t needed(const uint8_t *data, size_t len_bytes)
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

void check_hello_cuts(const uint8_t *data, size_t len_bytes)
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

void put(struct maker *maker, const void *data, size_t len_bytes)
{
	assert_true(len_bytes <= sizeof(maker->bytes) - maker->len_bytes);
	memcpy(maker->bytes + maker->len_bytes, data, len_bytes);
	maker->len_bytes += len_bytes;
}

void put_u8(struct maker *maker, size_t value)
{
	put(maker, &(uint8_t){(uint8_t)value}, 1);
}

void put_u16(struct maker *maker, size_t value)
{
	put_u8(maker, value >> 8);
	put_u8(maker, value & 0xff);
}

void put_extension(struct maker *maker, uint16_t type, const void *data, size_t len_bytes)
{
	put_u16(maker, type);
	put_u16(maker, len_bytes);
	put(maker, data, len_bytes);
}

void make_message(struct maker *maker, const struct maker *extensions)
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

void make_records(struct maker *wire, const struct maker *message, size_t record_bytes)
{
	wire->len_bytes = 0;
	for (size_t at = 0; at < message->len_bytes; at += record_bytes) {
		size_t n = MIN(record_bytes, message->len_bytes - at);

		put(wire, "\x16\x03\x01", 3);
		put_u16(wire, n);
		put(wire, message->bytes + at, n);
	}
}

int make_new(void **state)
{
	*state = calloc(1, sizeof(struct made));
	return *state ? 0 : -1;
}

int make_free(void **state)
{
	free(*state);
	return 0;
}

enum classify_verdict classify_made(struct made *made)
{
	make_message(&made->message, &made->extensions);
	make_records(&made->wire, &made->message, 16384);
	return classify(made->wire.bytes, made->wire.len_bytes, &made->hello);
}

enum classify_verdict classify_extension(struct made *made, uint16_t type, const void *data,
					 size_t len_bytes)
{
	made->extensions.len_bytes = 0;
	put_extension(&made->extensions, type, data, len_bytes);
	return classify_made(made);
}

enum classify_verdict classify_sni(struct made *made, const char *name, size_t len)
{
	struct maker list = {.len_bytes = 0};

	put_u16(&list, len + 3);
	put_u8(&list, 0);
	put_u16(&list, len);
	put(&list, name, len);
	return classify_extension(made, 0, list.bytes, list.len_bytes);
}
