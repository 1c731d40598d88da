/* SPDX-License-Identifier: Apache-2.0 */
/* Chunked bodies: payload, end, refusals, however the bytes are cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "http/h1.h"

struct outcome {
	enum h1_progress progress;
	enum h1_fault fault;
	char payload[16384];
	size_t payload_len;
	size_t taken;
};

/* Feeds `text` in pieces, the first of `first` bytes, the others of `rest` bytes. */
static void decode(const char *text, size_t len, size_t first, size_t rest, struct outcome *outcome)
{
	struct h1_chunked chunked = {0};
	size_t at = 0, piece = first;

	*outcome = (struct outcome){.progress = H1_NEED_MORE};
	while (at < len && outcome->progress == H1_NEED_MORE) {
		size_t n = MIN(piece, len - at), taken = 0;
		char *copy = malloc(n);
		struct str payload;

		assert_non_null(copy);
		memcpy(copy, text + at, n);
		outcome->progress =
		    h1_chunked_decode(&chunked, copy, n, &payload, &taken, &outcome->fault);
		if (outcome->progress != H1_REFUSED) {
			assert_true(outcome->payload_len + payload.len <= sizeof(outcome->payload));
			memcpy(outcome->payload + outcome->payload_len, payload.ptr, payload.len);
			outcome->payload_len += payload.len;
			outcome->taken += taken;
			if (outcome->progress == H1_NEED_MORE)
				assert_int_equal(taken, n);
			/* What was not taken is untouched. */
			assert_memory_equal(copy + taken, text + at + taken, n - taken);
		}
		at += n;
		piece = rest;
		free(copy);
	}
}

static const struct {
	const char *text, *payload;
	size_t left; /* bytes of the next message */
} taken[] = {
    {"0\r\n\r\n", "", 0},
    {"000\r\n\r\nGET /", "", 5},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", 0},
    {"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\nX", "hello world", 1},
    {"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n", "abc", 0},
    {"B\r\nhello world\r\n0\r\n\r\n", "hello world", 0},
    {"0b;x=y;z=\"q\"\r\nhello world\r\n0;e\r\n\r\n", "hello world", 0},
    {"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", 0},
    {"1\r\na\r\n0\r\nTrailer: v\r\nEmpty:\r\n\r\nnext", "a", 4},
};

static void test_takes(void **state)
{
	static struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		size_t len = strlen(taken[i].text);

		for (size_t first = 1; first <= len; first++) {
			for (size_t rest = 1; rest <= len; rest += len - 1) {
				decode(taken[i].text, len, first, rest, &outcome);
				assert_int_equal(outcome.progress, H1_DONE);
				assert_int_equal(outcome.taken, len - taken[i].left);
				assert_int_equal(outcome.payload_len, strlen(taken[i].payload));
				assert_memory_equal(outcome.payload, taken[i].payload,
						    outcome.payload_len);
			}
		}
	}
}

static const struct {
	const char *text;
	enum h1_fault fault;
} refused[] = {
    {"\r\n", H1_FAULT_CHUNK_SIZE},
    {"g\r\n", H1_FAULT_CHUNK_SIZE},
    {"-1\r\n", H1_FAULT_CHUNK_SIZE},
    {"+1\r\n", H1_FAULT_CHUNK_SIZE},
    {"0x1\r\n", H1_FAULT_CHUNK_SIZE},
    {" 1\r\n", H1_FAULT_CHUNK_SIZE},
    {"1 \r\n", H1_FAULT_CHUNK_SIZE},
    {"1\n", H1_FAULT_CHUNK_SIZE},
    {"1\rx", H1_FAULT_CHUNK_SIZE},
    {";x\r\n", H1_FAULT_CHUNK_SIZE},
    {"0000000000000001\r\n", H1_FAULT_CHUNK_SIZE},
    {"ffffffffffffffff\r\n", H1_FAULT_CHUNK_SIZE},
    {"1;a\n", H1_FAULT_CHUNK_EXTENSION},
    {"1;\x01\r\n", H1_FAULT_CHUNK_EXTENSION},
    {"1\r\nab", H1_FAULT_CHUNK_END},
    {"1\r\na\n", H1_FAULT_CHUNK_END},
    {"1\r\na\rX", H1_FAULT_CHUNK_END},
    {"0\r\n\n", H1_FAULT_TRAILER},
    {"0\r\n\rX", H1_FAULT_TRAILER},
    {"0\r\n a: b\r\n", H1_FAULT_TRAILER},
    {"0\r\na : b\r\n", H1_FAULT_TRAILER},
    {"0\r\na\r\n", H1_FAULT_TRAILER},
    {"0\r\na: \n", H1_FAULT_TRAILER},
    {"0\r\na: b\rX", H1_FAULT_TRAILER},
    {"0\r\na: \x7f", H1_FAULT_TRAILER},
};

static void test_refuses(void **state)
{
	static struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		size_t len = strlen(refused[i].text);

		for (size_t first = 1; first <= len; first++) {
			decode(refused[i].text, len, first, 1, &outcome);
			if (outcome.progress != H1_REFUSED || outcome.fault != refused[i].fault)
				fail_msg("row %zu: %s", i, h1_fault_text(outcome.fault));
		}
	}
}

static void test_bounds(void **state)
{
	static char text[65536];
	static struct outcome outcome;
	size_t len = 0;

	(void)state;
	while (len < sizeof(text) - 64)
		len += (size_t)(stpcpy(text + len, "1;0123456789abcdef\r\nx\r\n") - (text + len));
	decode(text, len, len, len, &outcome);
	assert_int_equal(outcome.progress, H1_REFUSED);
	assert_int_equal(outcome.fault, H1_FAULT_CHUNK_EXTENSION);

	len = (size_t)(stpcpy(text, "0\r\n") - text);
	while (len < sizeof(text) - 64)
		len += (size_t)(stpcpy(text + len, "A: b\r\n") - (text + len));
	decode(text, len, len, len, &outcome);
	assert_int_equal(outcome.progress, H1_REFUSED);
	assert_int_equal(outcome.fault, H1_FAULT_TRAILER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_takes),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
