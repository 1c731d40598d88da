/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads: how the body ends, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "http/h1.h"

static enum h1_progress parse(const char *text, size_t len, bool to_head,
			      struct h1_response *response, enum h1_fault *fault)
{
	static char *copy;

	free(copy);
	copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	*fault = H1_FAULT_NONE;
	return h1_parse_response(copy, len, to_head, response, fault);
}

static const struct {
	const char *text;
	bool to_head;
	uint16_t status;
	enum h1_body body;
	uint64_t length;
	bool wants_close;
} taken[] = {
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, 200, H1_BODY_LENGTH, 5, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", true, 200, H1_BODY_NONE, 5, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, H1_BODY_NONE, 0, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", false, 200, H1_BODY_CHUNKED, 0,
     false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, 200, H1_BODY_NONE, 0, false},
    {"HTTP/1.1 200 OK\r\n\r\n", false, 200, H1_BODY_UNTIL_CLOSE, 0, false},
    {"HTTP/1.0 200 OK\r\n\r\n", false, 200, H1_BODY_UNTIL_CLOSE, 0, true},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n", false, 200,
     H1_BODY_LENGTH, 1, false},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false, 304, H1_BODY_NONE, 7, false},
    {"HTTP/1.1 204 No Content\r\n\r\n", false, 204, H1_BODY_NONE, 0, false},
    {"HTTP/1.1 100 Continue\r\n\r\n", false, 100, H1_BODY_NONE, 0, false},
    {"HTTP/1.1 404\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", false, 404, H1_BODY_NONE, 0,
     true},
    {"HTTP/1.1 404 \r\nContent-Length: 0\r\n\r\n", false, 404, H1_BODY_NONE, 0, false},
    {"HTTP/1.1 200 \xc3\xa4\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n", false, 200,
     H1_BODY_NONE, 0, false},
};

static void test_takes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(taken); i++) {
		size_t len = strlen(taken[i].text);
		struct h1_response response;
		enum h1_fault fault;

		for (size_t prefix = 0; prefix < len; prefix++)
			assert_int_equal(
			    parse(taken[i].text, prefix, taken[i].to_head, &response, &fault),
			    H1_NEED_MORE);
		assert_int_equal(parse(taken[i].text, len, taken[i].to_head, &response, &fault),
				 H1_DONE);
		assert_int_equal(response.head.len_bytes, len);
		assert_int_equal(response.status, taken[i].status);
		assert_int_equal(response.head.body, taken[i].body);
		assert_int_equal(response.head.content_length, taken[i].length);
		assert_int_equal(response.head.wants_close, taken[i].wants_close);
	}
}

static const struct {
	const char *text;
	enum h1_fault fault;
} refused[] = {
    {"HTTP/1.1 20 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1 2000 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1 099 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1 600 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1  200 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1\t200 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/2.0 200 OK\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"SSH-2.0-x", H1_FAULT_STATUS_LINE},
    {"HTTP/1.x 200 OK\r\n\r\n", H1_FAULT_VERSION},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", H1_FAULT_STATUS_LINE},
    {"HTTP/1.1 200 OK\n\n", H1_FAULT_LINE_END},
    {"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", H1_FAULT_FIELD_FOLDED},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", H1_FAULT_LENGTH_TWICE},
    {"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", H1_FAULT_LENGTH},
    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     H1_FAULT_LENGTH_AND_CODING},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", H1_FAULT_CODING_OLD},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", H1_FAULT_CODING_UNKNOWN},
};

static void test_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct h1_response response;
		enum h1_fault fault;
		enum h1_progress progress =
		    parse(refused[i].text, strlen(refused[i].text), false, &response, &fault);

		if (progress != H1_REFUSED || fault != refused[i].fault)
			fail_msg("row %zu: progress %d, %s", i, progress, h1_fault_text(fault));
	}
}

static void test_too_large(void **state)
{
	static char text[PENSTOCK_MAX_REQUEST_HEAD_BYTES];
	struct h1_response response;
	enum h1_fault fault;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "HTTP/1.1 200 OK\r\nA: ", 20);
	assert_int_equal(parse(text, sizeof(text), false, &response, &fault), H1_REFUSED);
	assert_int_equal(fault, H1_FAULT_TOO_LARGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_takes),
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
