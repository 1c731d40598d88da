/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads: what is taken, what is refused and why, and that it does not matter how the bytes
 * arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/h1.h"

static enum h1_progress parse(const char *text, size_t len, struct h1_request *request,
			      enum h1_fault *fault)
{
	/* A copy of the exact size, so that a byte read past the end is found. */
	static char *copy;
	enum h1_progress progress;

	free(copy);
	copy = malloc(len ? len : 1);
	assert_non_null(copy);
	memcpy(copy, text, len);
	*fault = H1_FAULT_NONE;
	progress = h1_parse_request(copy, len, request, fault);
	if (progress == H1_REFUSED)
		assert_int_not_equal(*fault, H1_FAULT_NONE);
	return progress;
}

static void assert_str(struct str actual, const char *expected)
{
	assert_int_equal(actual.len, strlen(expected));
	assert_memory_equal(actual.ptr, expected, actual.len);
}

#define HOST "Host: example.com\r\n"

static const struct {
	const char *text;
	enum h1_fault fault;
} refused[] = {
    {"GET / HTTP/1.1\nHost: a\r\n\r\n", H1_FAULT_LINE_END},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", H1_FAULT_LINE_END},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", H1_FAULT_LINE_END},
    {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", H1_FAULT_LINE_END},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_LINE_END},
    {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_METHOD},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_METHOD},
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_METHOD},
    {"\x16\x03\x01\x02", H1_FAULT_METHOD},
    {"ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG", H1_FAULT_METHOD},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_METHOD},
    {"GET\r\n", H1_FAULT_METHOD},
    {"GET /\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / x HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / http/1.1\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / HTTP/1.\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / HTTP/11.1\r\n" HOST "\r\n", H1_FAULT_VERSION},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", H1_FAULT_VERSION_UNKNOWN},
    {"PRI * HTTP/2.0\r\n\r\n", H1_FAULT_VERSION_UNKNOWN},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", H1_FAULT_VERSION_UNKNOWN},
    {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", H1_FAULT_CONNECT},
    {"GET a HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /\t HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /a\\b HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET http:// HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_TARGET},
    {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_HOST},
    {"GET http://u@a/ HTTP/1.1\r\n" HOST "\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\n" HOST " folded\r\n\r\n", H1_FAULT_FIELD_FOLDED},
    {"GET / HTTP/1.1\r\n" HOST "\tfolded\r\n\r\n", H1_FAULT_FIELD_FOLDED},
    {"GET / HTTP/1.1\r\n x: y\r\n" HOST "\r\n", H1_FAULT_FIELD_FOLDED},
    {"GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"GET / HTTP/1.1\r\n" HOST "A\x01: b\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"GET / HTTP/1.1\r\n" HOST "\xc3\x84: b\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n", H1_FAULT_FIELD_VALUE},
    {"GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n", H1_FAULT_FIELD_VALUE},
    {"GET / HTTP/1.1\r\nA: b\r\n\r\n", H1_FAULT_HOST_MISSING},
    {"GET / HTTP/1.0\r\n\r\n", H1_FAULT_HOST_MISSING},
    {"GET http://a/ HTTP/1.1\r\n\r\n", H1_FAULT_HOST_MISSING},
    {"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", H1_FAULT_HOST_TWICE},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a:\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a:x\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: .a\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", H1_FAULT_HOST},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", H1_FAULT_HOST},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
     H1_FAULT_LENGTH_TWICE},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\ncontent-length: 2\r\n\r\n",
     H1_FAULT_LENGTH_TWICE},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 2\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9999999999999999999\r\n\r\n", H1_FAULT_LENGTH},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
     H1_FAULT_LENGTH_AND_CODING},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
     H1_FAULT_LENGTH_AND_CODING},
    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", H1_FAULT_CODING_OLD},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n",
     H1_FAULT_CODING_UNKNOWN},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n",
     H1_FAULT_CODING_UNKNOWN},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", H1_FAULT_CODING_UNKNOWN},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", H1_FAULT_CODING_UNKNOWN},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     H1_FAULT_FIELD_VALUE},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", H1_FAULT_FIELD_NAME},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     H1_FAULT_CODING_TWICE},
    {"GET / HTTP/1.1\r\n" HOST "Connection: close, Host\r\n\r\n", H1_FAULT_CONNECTION},
    {"GET / HTTP/1.1\r\n" HOST "Connection: Content-Length\r\n\r\n", H1_FAULT_CONNECTION},
    {"GET / HTTP/1.1\r\n" HOST "Connection: transfer-encoding\r\n\r\n", H1_FAULT_CONNECTION},
    {"GET / HTTP/1.1\r\n" HOST "Connection: a b\r\n\r\n", H1_FAULT_CONNECTION},
};

static void test_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct h1_request request;
		enum h1_fault fault;
		enum h1_progress progress =
		    parse(refused[i].text, strlen(refused[i].text), &request, &fault);

		if (progress != H1_REFUSED || fault != refused[i].fault)
			fail_msg("row %zu: progress %d, %s", i, progress, h1_fault_text(fault));
		assert_true(h1_fault_status(fault) >= 400);
	}
}

static void test_refuses_nul_anywhere(void **state)
{
	static const char text[] = "GET /abc HTTP/1.1\r\nHost: abc\r\nKey: value\r\n\r\n";

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		char copy[sizeof(text)];
		struct h1_request request;
		enum h1_fault fault;

		memcpy(copy, text, sizeof(text));
		copy[i] = '\0';
		assert_int_equal(parse(copy, sizeof(text) - 1, &request, &fault), H1_REFUSED);
	}
}

static void test_every_prefix_needs_more(void **state)
{
	static const char text[] = "\r\nPOST http://a.example:81/b/c?d=e HTTP/1.1\r\n" HOST
				   "Content-Length: 12\r\nConnection: close\r\nAccept: */*\r\n\r\n";
	size_t len = sizeof(text) - 1, scanned = 0;
	struct h1_request request;
	enum h1_fault fault;
	unsigned int worth = 0;

	(void)state;
	for (size_t i = 0; i < len; i++) {
		assert_int_equal(parse(text, i, &request, &fault), H1_NEED_MORE);
		if (i > 0)
			worth += h1_is_worth_parsing(text, i, &scanned);
	}
	assert_in_range(worth, 1, 17);
	assert_true(h1_is_worth_parsing(text, len, &scanned));
	assert_int_equal(parse(text, len, &request, &fault), H1_DONE);
	assert_int_equal(request.head.len_bytes, len);
	assert_int_equal(request.method, H1_METHOD_POST);
	assert_str(request.path, "/b/c");
	assert_str(request.query, "?d=e");
	assert_str(request.host, "a.example:81");
	assert_int_equal(request.head.body, H1_BODY_LENGTH);
	assert_int_equal(request.head.content_length, 12);
	assert_true(request.head.wants_close);
}

static void test_what_follows_is_left(void **state)
{
	static const char text[] = "GET / HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n";
	struct h1_request request;
	enum h1_fault fault;

	(void)state;
	assert_int_equal(parse(text, sizeof(text) - 1, &request, &fault), H1_DONE);
	assert_int_equal(request.head.len_bytes, strlen("GET / HTTP/1.1\r\n" HOST "\r\n"));
	assert_int_equal(request.head.body, H1_BODY_NONE);
	assert_false(request.head.wants_close);
}

static void test_targets(void **state)
{
	static const struct {
		const char *line, *path, *query, *host;
	} rows[] = {
	    {"GET / HTTP/1.1", "/", "", "example.com"},
	    {"GET /?a=/../b HTTP/1.1", "/", "?a=/../b", "example.com"},
	    {"GET //x HTTP/1.1", "//x", "", "example.com"},
	    {"GET http://b.test HTTP/1.1", "", "", "b.test"},
	    {"GET HTTPS://[2001:db8::1]:8443/x?y HTTP/1.1", "/x", "?y", "[2001:db8::1]:8443"},
	    {"GET http://b.test?q HTTP/1.1", "", "?q", "b.test"},
	    {"OPTIONS * HTTP/1.1", "*", "", "example.com"},
	    {"M-SEARCH /x HTTP/1.9", "/x", "", "example.com"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256];
		struct h1_request request;
		enum h1_fault fault;
		int len = snprintf(text, sizeof(text), "%s\r\n" HOST "\r\n", rows[i].line);

		assert_int_equal(parse(text, (size_t)len, &request, &fault), H1_DONE);
		assert_str(request.path, rows[i].path);
		assert_str(request.query, rows[i].query);
		assert_str(request.host, rows[i].host);
		assert_int_equal(request.head.minor, 1);
	}
}

static void test_keep_alive(void **state)
{
	static const struct {
		const char *text;
		bool wants_close;
	} rows[] = {
	    {"GET / HTTP/1.1\r\n" HOST "\r\n", false},
	    {"GET / HTTP/1.0\r\n" HOST "\r\n", true},
	    {"GET / HTTP/1.0\r\n" HOST "Connection: Keep-Alive\r\n\r\n", false},
	    {"GET / HTTP/1.0\r\n" HOST "Connection: keep-alive, close\r\n\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: , x ,CLOSE\r\n\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: x\r\nConnection: close\r\n\r\n", true},
	    {"GET / HTTP/1.1\r\n" HOST "Connection: closed\r\n\r\n", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct h1_request request;
		enum h1_fault fault;

		assert_int_equal(parse(rows[i].text, strlen(rows[i].text), &request, &fault),
				 H1_DONE);
		assert_int_equal(request.head.wants_close, rows[i].wants_close);
	}
}

static void test_bounds(void **state)
{
	static char text[PENSTOCK_MAX_REQUEST_HEAD_BYTES + 64];
	struct h1_request request;
	enum h1_fault fault;
	size_t len = 0;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET /", 5);
	assert_int_equal(parse(text, sizeof(text), &request, &fault), H1_REFUSED);
	assert_int_equal(fault, H1_FAULT_TARGET_TOO_LONG);
	assert_int_equal(parse(text, PENSTOCK_MAX_REQUEST_HEAD_BYTES - 1, &request, &fault),
			 H1_NEED_MORE);

	memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
	assert_int_equal(parse(text, sizeof(text), &request, &fault), H1_REFUSED);
	assert_int_equal(fault, H1_FAULT_TOO_LARGE);

	len = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST);
	for (int i = 0; i < PENSTOCK_MAX_HEADERS - 1; i++)
		len += (size_t)sprintf(text + len, "A: b\r\n");
	memcpy(text + len, "\r\n", 2);
	assert_int_equal(parse(text, len + 2, &request, &fault), H1_DONE);
	memcpy(text + len, "A: b\r\n\r\n", 8);
	assert_int_equal(parse(text, len + 8, &request, &fault), H1_REFUSED);
	assert_int_equal(fault, H1_FAULT_TOO_MANY_FIELDS);
}

/* The largest head that is allowed, to the byte. */
static void test_largest_head(void **state)
{
	static char text[PENSTOCK_MAX_REQUEST_HEAD_BYTES + 1];
	size_t start = (size_t)sprintf(text, "GET / HTTP/1.1\r\n" HOST "A: ");
	struct h1_request request;
	enum h1_fault fault;

	(void)state;
	memset(text + start, 'v', sizeof(text) - start);
	memcpy(text + PENSTOCK_MAX_REQUEST_HEAD_BYTES - 4, "\r\n\r\n", 4);
	assert_int_equal(parse(text, sizeof(text), &request, &fault), H1_DONE);
	assert_int_equal(request.head.len_bytes, PENSTOCK_MAX_REQUEST_HEAD_BYTES);
	text[PENSTOCK_MAX_REQUEST_HEAD_BYTES - 4] = 'v';
	memcpy(text + PENSTOCK_MAX_REQUEST_HEAD_BYTES - 3, "\r\n\r\n", 4);
	assert_int_equal(parse(text, sizeof(text), &request, &fault), H1_REFUSED);
	assert_int_equal(fault, H1_FAULT_TOO_LARGE);
}

static void test_host_name(void **state)
{
	static const char *const rows[][2] = {
	    {"a.test", "a.test"},
	    {"a.test:80", "a.test"},
	    {"a.test.", "a.test"},
	    {"a.test.:80", "a.test"},
	    {"[::1]:80", "[::1]"},
	    {"[::1]", "[::1]"},
	    {"192.0.2.1:8080", "192.0.2.1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_str(h1_host_name(str_from(rows[i][0])), rows[i][1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_refuses),
	    cmocka_unit_test(test_refuses_nul_anywhere),
	    cmocka_unit_test(test_every_prefix_needs_more),
	    cmocka_unit_test(test_what_follows_is_left),
	    cmocka_unit_test(test_targets),
	    cmocka_unit_test(test_keep_alive),
	    cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_largest_head),
	    cmocka_unit_test(test_host_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
