/* SPDX-License-Identifier: Apache-2.0 */
/* Heads as they go out: nothing of the other hop, nothing forged, everything else byte for byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "http/h1.h"

static const struct h1_origin_facts facts = {.client = STR("192.0.2.7"), .proto = STR("https")};

static void assert_request(const char *in, const char *expected)
{
	char out[2048];
	struct h1_request request;
	struct h1_written written;
	enum h1_fault fault;

	assert_int_equal(h1_parse_request(in, strlen(in), &request, &fault), H1_DONE);
	assert_true(h1_request_bound(&request, &facts) <= sizeof(out));
	h1_write_request(&request, &facts, out, &written);
	assert_true(written.len_bytes <= h1_request_bound(&request, &facts));
	if (!str_is_equal((struct str){out, written.len_bytes}, str_from(expected)))
		fail_msg("got:\n%.*s\nexpected:\n%s", (int)written.len_bytes, out, expected);
}

#define OURS(host) \
	"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: " host "\r\n"

static void test_request_is_passed_on(void **state)
{
	(void)state;
	assert_request("GET /a?b HTTP/1.1\r\nAccept: */*\r\nHost: a.test:81\r\nCookie:c=d \r\n\r\n",
		       "GET /a?b HTTP/1.1\r\nHost: a.test:81\r\nAccept: */*\r\nCookie:c=d "
		       "\r\n" OURS("a.test:81") "\r\n");
	assert_request("GET / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\n" OURS("a") "\r\n");
	assert_request(
	    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: "
	    "3\r\n" OURS("a") "\r\n");
	assert_request(
	    "POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\nTrailer: x\r\n\r\n",
	    "POST / HTTP/1.1\r\nHost: a\r\n" OURS("a") "Transfer-Encoding: chunked\r\n\r\n");
}

static void test_absolute_target(void **state)
{
	(void)state;
	assert_request("GET http://b.test/x?y HTTP/1.1\r\nHost: evil\r\n\r\n",
		       "GET /x?y HTTP/1.1\r\nHost: b.test\r\n" OURS("b.test") "\r\n");
	assert_request("GET http://b.test HTTP/1.1\r\nHost: b.test\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: b.test\r\n" OURS("b.test") "\r\n");
	assert_request("GET http://b.test?q HTTP/1.1\r\nHost: b.test\r\n\r\n",
		       "GET /?q HTTP/1.1\r\nHost: b.test\r\n" OURS("b.test") "\r\n");
	assert_request("OPTIONS http://b.test HTTP/1.1\r\nHost: b.test\r\n\r\n",
		       "OPTIONS * HTTP/1.1\r\nHost: b.test\r\n" OURS("b.test") "\r\n");
}

static void test_hop_by_hop_is_removed(void **state)
{
	(void)state;
	assert_request("GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, X-One,, x-two\r\n"
		       "Keep-Alive: 5\r\nX-One: 1\r\nKept: yes\r\nx-two: 2\r\nTE: trailers\r\n"
		       "Upgrade: websocket\r\nProxy-Connection: close\r\nX-Three: 3\r\n\r\n",
		       "GET / HTTP/1.1\r\nHost: a\r\nKept: yes\r\nX-Three: 3\r\n" OURS("a") "\r\n");
}

static void test_forged_headers_are_removed(void **state)
{
	(void)state;
	assert_request(
	    "GET / HTTP/1.1\r\nHost: a\r\nx-forwarded-for: 1.1.1.1\r\nForwarded: for=1.1.1.1\r\n"
	    "X-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\nX-Forwarded-Port: 1\r\n"
	    "X-Real-IP: 1.1.1.1\r\nX_Forwarded_For: 1.1.1.1\r\nX-Real_IP: 1\r\n"
	    "X-Forwarded-Client-Cert: c\r\nConnection: X-Forwarded-For\r\nClient-Cert: :YQ==:\r\n"
	    "CLIENT_CERT: c\r\nClient-Cert-Chain: c\r\nclient_cert-chain: c\r\n\r\n",
	    "GET / HTTP/1.1\r\nHost: a\r\n" OURS("a") "\r\n");
}

static void test_further_lines(void **state)
{
	static const char in[] = "GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: evil\r\n\r\n";
	struct h1_origin_facts with_lines = facts;
	struct h1_request request;
	struct h1_written written;
	enum h1_fault fault;
	char out[512];

	(void)state;
	with_lines.lines = STR("Client-Cert: :YQ==:\r\n");
	assert_int_equal(h1_parse_request(in, sizeof(in) - 1, &request, &fault), H1_DONE);
	h1_write_request(&request, &with_lines, out, &written);
	assert_true(written.len_bytes <= h1_request_bound(&request, &with_lines));
	assert_true(str_is_equal(
	    (struct str){out, written.len_bytes},
	    STR("GET / HTTP/1.1\r\nHost: a\r\nClient-Cert: :YQ==:\r\n" OURS("a") "\r\n")));
}

static void test_facts_of_written_head(void **state)
{
	static const char in[] = "DELETE /p/q?r=s HTTP/1.1\r\nHost: a.test:8\r\n\r\n";
	char out[512];
	struct h1_request request;
	struct h1_written written;
	enum h1_fault fault;

	(void)state;
	assert_int_equal(h1_parse_request(in, sizeof(in) - 1, &request, &fault), H1_DONE);
	h1_write_request(&request, &facts, out, &written);
	assert_true(str_is_equal(written.method, STR("DELETE")));
	assert_true(str_is_equal(written.path, STR("/p/q")));
	assert_true(str_is_equal(written.host, STR("a.test:8")));
}

static void assert_response(const char *in, bool to_head, struct h1_reply_facts reply,
			    const char *expected)
{
	char out[1024];
	struct h1_response response;
	enum h1_fault fault;
	size_t len;

	assert_int_equal(h1_parse_response(in, strlen(in), to_head, &response, &fault), H1_DONE);
	len = h1_write_response(&response, &reply, out);
	assert_true(len <= h1_response_bound(&response));
	if (!str_is_equal((struct str){out, len}, str_from(expected)))
		fail_msg("got:\n%.*s\nexpected:\n%s", (int)len, out, expected);
}

static void test_responses(void **state)
{
	struct h1_reply_facts none = {.close = false}, close = {.close = true};
	struct h1_reply_facts keep = {.keep_alive = true}, chunked = {.chunked = true};

	(void)state;
	assert_response("HTTP/1.1 200 OK\r\nDate: d\r\nServer: s\r\nConnection: close, X-A\r\nX-A: "
			"1\r\nContent-Length: 5\r\n\r\n",
			false, none,
			"HTTP/1.1 200 OK\r\nDate: d\r\nServer: s\r\nContent-Length: 5\r\n\r\n");
	assert_response("HTTP/1.0 200\r\n\r\n", false, close,
			"HTTP/1.1 200 \r\nConnection: close\r\n\r\n");
	assert_response("HTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n", false,
			chunked, "HTTP/1.1 200 Fine\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n");
	assert_response("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", false, keep,
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nConnection: "
			"keep-alive\r\n\r\n");
	assert_response("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nA: b\r\n\r\n", false, none,
			"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n");
	assert_response("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false, none,
			"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
}

static void test_plain_replies(void **state)
{
	struct h1_reply_facts close = {.close = true};
	char out[H1_PLAIN_REPLY_MAX];
	struct h1_response response;
	enum h1_fault fault;
	size_t len = h1_write_plain_reply(404, "no route matches", &close, false, out);

	(void)state;
	assert_int_equal(h1_parse_response(out, len, false, &response, &fault), H1_DONE);
	assert_int_equal(response.status, 404);
	assert_true(response.head.wants_close);
	assert_int_equal(response.head.content_length, len - response.head.len_bytes);
	assert_true(
	    str_is_equal((struct str){out + response.head.len_bytes, len - response.head.len_bytes},
			 STR("404 Not Found: no route matches\n")));
	len = h1_write_plain_reply(404, "no route matches", &close, true, out);
	assert_int_equal(len, response.head.len_bytes);
}

static void test_every_fault_has_a_phrase(void **state)
{
	(void)state;
	for (int fault = 1; fault < H1_FAULT_MAX; fault++) {
		assert_true(*h1_status_phrase(h1_fault_status((enum h1_fault)fault)));
		assert_true(*h1_fault_text((enum h1_fault)fault));
	}
}

static void test_chunk_lines(void **state)
{
	static const struct {
		uint64_t len;
		const char *line;
	} rows[] = {{1, "1\r\n"},
		    {15, "f\r\n"},
		    {16, "10\r\n"},
		    {65536, "10000\r\n"},
		    {UINT64_MAX, "ffffffffffffffff\r\n"}};
	char out[H1_CHUNK_LINE_MAX];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = h1_write_chunk_line(rows[i].len, out);

		assert_true(str_is_equal((struct str){out, len}, str_from(rows[i].line)));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_request_is_passed_on),
	    cmocka_unit_test(test_absolute_target),
	    cmocka_unit_test(test_hop_by_hop_is_removed),
	    cmocka_unit_test(test_forged_headers_are_removed),
	    cmocka_unit_test(test_further_lines),
	    cmocka_unit_test(test_facts_of_written_head),
	    cmocka_unit_test(test_responses),
	    cmocka_unit_test(test_plain_replies),
	    cmocka_unit_test(test_every_fault_has_a_phrase),
	    cmocka_unit_test(test_chunk_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
