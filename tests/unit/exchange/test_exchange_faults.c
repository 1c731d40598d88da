/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go wrong: what the client sees, what is reported, and what becomes of the
 * connections. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "exchange/exchange_internal.h"
#include "rig.h"

/* The client gets a reply with this status; returns what of it follows the status. */
static void expect_status(struct rig *rig, unsigned int status, bool closes)
{
	struct rig_end *client = &rig->client;
	struct h1_response response;
	enum h1_fault fault;
	size_t len;

	rig_read(rig, client, 1);
	rig_settle(rig);
	rig_read(rig, client, 1);
	assert_int_equal(
	    h1_parse_response(client->data, client->len_bytes, false, &response, &fault), H1_DONE);
	len = response.head.len_bytes + response.head.content_length;
	if (response.status != status)
		fail_msg("status %u, not %u", response.status, status);
	assert_int_equal(response.head.wants_close, closes);
	assert_int_equal(client->len_bytes, len);
	client->len_bytes = 0;
}

static const struct {
	const char *request;
	unsigned int status;
	enum close_reason reason;
} refused[] = {
    {"GET / HTTP/1.1\r\n\r\n", 400, CLOSE_REQUEST_MALFORMED},
    {"GET / HTTP/1.1\nHost: a.test\n\n", 400, CLOSE_REQUEST_MALFORMED},
    {"GET /../x HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, CLOSE_REQUEST_MALFORMED},
    {"GET /%00 HTTP/1.1\r\nHost: a.test\r\n\r\n", 400, CLOSE_REQUEST_MALFORMED},
    {"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
     400, CLOSE_REQUEST_MALFORMED},
    {"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400,
     CLOSE_REQUEST_MALFORMED},
    {"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\n\r\n", 501,
     CLOSE_REQUEST_MALFORMED},
    {"CONNECT a.test:1 HTTP/1.1\r\nHost: a.test:1\r\n\r\n", 501, CLOSE_REQUEST_MALFORMED},
    {"GET / HTTP/3.0\r\nHost: a.test\r\n\r\n", 505, CLOSE_REQUEST_MALFORMED},
    {"\x16\x03\x01\x02\x00\x01", 400, CLOSE_REQUEST_MALFORMED},
};

static void test_malformed_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, refused[i].request);
		/* "/../x" and the like may be kept open: the request itself was clear. */
		rig_await_records(rig, 1);
		rig_read(rig, &rig->client, 1);
		assert_int_equal(rig->records[0].record.status, refused[i].status);
		assert_int_equal(rig->records[0].record.reason, refused[i].reason);
		assert_true(*rig->records[0].detail);
		assert_int_equal(rig->n_released, 0);
		rig_close(&rig->client);
		rig_await_end(rig);
		rig_free(rig);
	}
}

static void test_too_large(void **state)
{
	static char text[PENSTOCK_MAX_REQUEST_HEAD_BYTES];
	struct rig *rig = rig_new();

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
	rig_write_bytes(&rig->client, text, sizeof(text));
	expect_status(rig, 431, true);
	assert_int_equal(rig->records[0].record.reason, CLOSE_REQUEST_TOO_LARGE);
	rig_free(rig);
}

/* The reply must not be lost because bytes of the client are still unread: it is not reset. */
static void test_refused_client_reads_its_reply(void **state)
{
	static char text[200000];
	struct rig *rig = rig_new();

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "BAD@", 4);
	rig_write_bytes(&rig->client, text, sizeof(text));
	rig_settle(rig);
	assert_int_equal(rig->n_ends, 0);
	rig_read_end(rig, &rig->client);
	assert_int_equal(rig->client.error, 0);
	assert_memory_equal(rig->client.data, "HTTP/1.1 400 ", 13);
	rig_close(&rig->client);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_REQUEST_MALFORMED);
	rig_free(rig);
}

static void test_no_route(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, "GET /x HTTP/1.1\r\nHost: b.test\r\n\r\n");
	expect_status(rig, 404, false);
	assert_int_equal(rig->records[0].record.reason, CLOSE_NO_ROUTE);
	assert_null(rig->records[0].record.route);
	assert_string_equal(rig->records[0].host, "b.test");
	/* The connection goes on, ... */
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	/* ... but not where a body would have to be read for it. */
	rig_write(&rig->client, "POST /x HTTP/1.1\r\nHost: b.test\r\nContent-Length: 5\r\n\r\nhe");
	expect_status(rig, 404, true);
	rig_free(rig);
}

static void test_head_has_no_error_body(void **state)
{
	struct rig *rig = rig_new();
	struct h1_response response;
	enum h1_fault fault;

	(void)state;
	rig_write(&rig->client, "HEAD /x HTTP/1.1\r\nHost: b.test\r\n\r\n");
	rig_await_records(rig, 1);
	rig_read(rig, &rig->client, 1);
	assert_int_equal(
	    h1_parse_response(rig->client.data, rig->client.len_bytes, true, &response, &fault),
	    H1_DONE);
	assert_int_equal(response.head.len_bytes, rig->client.len_bytes);
	rig_free(rig);
}

static void test_request_timeout(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->listener.request_timeout_ms = 20;
	rig_write(&rig->client, "GET / HT");
	expect_status(rig, 408, true);
	assert_int_equal(rig->records[0].record.reason, CLOSE_REQUEST_TIMEOUT);
	rig_free(rig);
}

static void test_keepalive_timeout(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->listener.keepalive_ms = 20;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_KEEPALIVE_TIMEOUT);
	assert_int_equal(rig->n_records, 1);
	rig_free(rig);
}

static void test_body_timeout(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->listener.idle_timeout_ms = 20;
	rig_write(&rig->client, "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhe");
	expect_status(rig, 408, true);
	assert_int_equal(rig->records[0].record.reason, CLOSE_IDLE_TIMEOUT);
	assert_int_equal(rig->n_released, 0);
	rig_free(rig);
}

static void test_origin_timeout(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->origin.response_timeout_ms = 20;
	rig_write(&rig->client, RIG_GET);
	expect_status(rig, 504, false);
	assert_int_equal(rig->records[0].record.reason, CLOSE_ORIGIN_TIMEOUT);
	assert_int_equal(rig->n_discarded, 1);
	/* Half a response is cut. */
	rig->origin.response_timeout_ms = 60000;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig->origin.response_timeout_ms = 20;
	rig_write(&rig->origins[1], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_ORIGIN_TIMEOUT);
	assert_int_equal(rig->records[1].record.reason, CLOSE_ORIGIN_TIMEOUT);
	rig_free(rig);
}

/* What the client holds back until it is asked for is waited for by nobody but the origin. Streams
 * of TLS say that they may be readable when nothing has come. */
static void test_origin_that_does_not_say_continue(void **state)
{
	static const char *const framings[] = {"Content-Length: 5", "Transfer-Encoding: chunked"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(framings); i++) {
		struct rig *rig = rig_new();

		rig->origin.response_timeout_ms = 20;
		rig->holds_answer = true;
		rig_write(&rig->client,
			  "PUT /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n");
		rig_write(&rig->client, framings[i]);
		rig_write(&rig->client, "\r\n\r\n");
		rig_settle(rig);
		rig->client_io.readable = true;
		rig_answer(rig);
		expect_status(rig, 504, true);
		assert_int_equal(rig->records[0].record.reason, CLOSE_ORIGIN_TIMEOUT);
		rig_free(rig);
	}
}

static void test_no_connection(void **state)
{
	static const struct {
		enum close_reason reason;
		unsigned int status;
	} rows[] = {{CLOSE_ORIGIN_REFUSED, 502},
		    {CLOSE_ORIGIN_UNREACHABLE, 502},
		    {CLOSE_ORIGIN_CONNECT_TIMEOUT, 504},
		    {CLOSE_ORIGIN_TLS_FAILED, 502},
		    {CLOSE_ORIGIN_UNVERIFIED, 502},
		    {CLOSE_OUT_OF_DESCRIPTORS, 503},
		    {CLOSE_ORIGIN_QUEUE_FULL, 503},
		    {CLOSE_ORIGIN_QUEUE_TIMEOUT, 503},
		    {CLOSE_ORIGIN_DOWN, 503}};
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rig->refuses = rows[i].reason;
		rig_write(&rig->client, RIG_GET);
		expect_status(rig, rows[i].status, false);
		assert_int_equal(rig->records[i].record.reason, rows[i].reason);
		assert_string_equal(rig->records[i].detail, "of the moment");
	}
	rig_free(rig);
}

static void test_origin_that_ends_early(void **state)
{
	static const struct {
		const char *response;
		enum close_reason reason;
	} rows[] = {
	    {"", CLOSE_ORIGIN_TRUNCATED},
	    {"HTTP/1.1 200 O", CLOSE_ORIGIN_TRUNCATED},
	    {"SSH-2.0-x\r\n", CLOSE_ORIGIN_MALFORMED},
	    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", CLOSE_ORIGIN_MALFORMED},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	     CLOSE_ORIGIN_MALFORMED},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx", CLOSE_ORIGIN_MALFORMED},
	};
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[i], RIG_GET_SEEN);
		rig_write(&rig->origins[i], rows[i].response);
		rig_close(&rig->origins[i]);
		expect_status(rig, 502, false);
		assert_int_equal(rig->records[i].record.reason, rows[i].reason);
	}
	rig_free(rig);
}

static void test_truncation_is_seen(void **state)
{
	static const struct {
		const char *response;
		bool resets; /* the origin */
		bool is_reset; /* the client sees */
		enum close_reason reason;
	} rows[] = {
	    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", false, false,
	     CLOSE_ORIGIN_TRUNCATED},
	    {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", true, false, CLOSE_ORIGIN_RESET},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", false, false,
	     CLOSE_ORIGIN_TRUNCATED},
	    {"HTTP/1.1 200 OK\r\n\r\nhalf", true, true, CLOSE_ORIGIN_RESET},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
		rig_write(&rig->origins[0], rows[i].response);
		rig_settle(rig);
		rig_read(rig, &rig->client, strlen(rows[i].response));
		if (rows[i].resets)
			rig_reset(&rig->origins[0]);
		else
			rig_close(&rig->origins[0]);
		rig_await_end(rig);
		assert_int_equal(rig->end_reason, rows[i].reason);
		assert_int_equal(rig->records[0].record.reason, rows[i].reason);
		rig_read_end(rig, &rig->client);
		assert_int_equal(rig->client.error, rows[i].is_reset ? ECONNRESET : 0);
		rig_free(rig);
	}
}

static void test_malformed_chunk_cuts(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0],
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	rig_write(&rig->origins[0], "nonsense");
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_ORIGIN_MALFORMED);
	rig_free(rig);
}

static void serve_one(struct rig *rig)
{
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	assert_int_equal(rig->n_released, 1);
}

static void test_stale_connection_is_tried_again(void **state)
{
	(void)state;
	for (int resets = 0; resets < 2; resets++) {
		struct rig *rig = rig_new();

		serve_one(rig);
		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
		if (resets)
			rig_reset(&rig->origins[0]);
		else
			rig_close(&rig->origins[0]);
		rig_settle(rig);
		assert_int_equal(rig->n_origins, 2);
		rig_expect(rig, &rig->origins[1], RIG_GET_SEEN);
		rig_write(&rig->origins[1], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		assert_int_equal(rig->records[1].record.reason, CLOSE_DONE);
		rig_free(rig);
	}
}

/* A second failure, of a connection that was new, is an answer. */
static void test_is_tried_again_once(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	serve_one(rig);
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_close(&rig->origins[0]);
	rig_settle(rig);
	rig_close(&rig->origins[1]);
	expect_status(rig, 502, false);
	assert_int_equal(rig->n_acquired, 3);
	rig_free(rig);
}

static void test_unsafe_request_is_not_tried_again(void **state)
{
	static const char *const requests[] = {
	    "POST /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
	    "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\na",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
		struct rig *rig = rig_new();

		serve_one(rig);
		rig_write(&rig->client, requests[i]);
		rig_settle(rig);
		rig_close(&rig->origins[0]);
		expect_status(rig, 502, false);
		assert_int_equal(rig->n_acquired, 2);
		rig_free(rig);
	}
}

/* RFC 9112, 2.2: they are ignored, before a request and where none follows. */
static void test_empty_lines_are_no_request(void **state)
{
	static const char *const lines[] = {"\r\n", "\r\n\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct rig *rig = rig_new();

		serve_one(rig);
		rig_write(&rig->client, lines[i]);
		rig_settle(rig);
		rig_write(&rig->client, "\r");
		rig_settle(rig);
		assert_false(rig->exchange->is_request);
		rig_write(&rig->client, "\n" RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
		rig_write(&rig->origins[0], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		rig_write(&rig->client, lines[i]);
		rig_settle(rig);
		assert_false(rig->exchange->is_request);
		assert_int_equal(rig->exchange->inbox.len_bytes, 0);
		rig_close(&rig->client);
		rig_await_end(rig);
		assert_int_equal(rig->end_reason, CLOSE_DONE);
		assert_int_equal(rig->n_records, 2);
		rig_free(rig);
	}
}

/* Closed before anything was written: whatever it is, nobody has seen it. */
static void test_unsent_request_is_tried_again(void **state)
{
	static const struct {
		const char *request, *seen;
	} cases[] = {
	    {"POST /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
	     "POST /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED "\r\n"},
	    {"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc",
	     "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n" RIG_FORWARDED "\r\nabc"},
	    {"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	     "3\r\nabc\r\n0\r\n\r\n",
	     "POST /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED
	     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct rig *rig = rig_new();

		serve_one(rig);
		rig_reset(&rig->origins[0]);
		rig_write(&rig->client, cases[i].request);
		rig_settle(rig);
		assert_true(rig->must_be_alive);
		assert_int_equal(rig->n_origins, 2);
		rig_expect(rig, &rig->origins[1], cases[i].seen);
		rig_write(&rig->origins[1], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		rig_free(rig);
	}
}

/* Idempotent, and its body has not come yet. */
static void test_request_whose_body_is_still_to_come_is_tried_again(void **state)
{
	static const char seen[] =
	    "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n" RIG_FORWARDED "\r\n";
	struct rig *rig = rig_new();

	(void)state;
	serve_one(rig);
	assert_false(rig->must_be_alive); /* a GET may be sent twice */
	rig_write(&rig->client, "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], seen);
	rig_close(&rig->origins[0]);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[1], seen);
	rig_write(&rig->client, "abc");
	rig_expect(rig, &rig->origins[1], "abc");
	rig_write(&rig->origins[1], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_free(rig);
}

static void test_begun_response_is_not_tried_again(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	serve_one(rig);
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], "H");
	rig_settle(rig);
	rig_close(&rig->origins[0]);
	expect_status(rig, 502, false);
	assert_int_equal(rig->n_acquired, 2);
	rig_free(rig);
}

/* What the origin sends past its response must not become the next one. */
static void test_surplus_is_never_a_response(void **state)
{
	static const char *const responses[] = {
	    RIG_OK "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
	    "HTTP/1.1 204 No Content\r\n\r\nevil",
	    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nevil",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_write(&rig->origins[0], responses[i]);
		rig_await_records(rig, 1);
		assert_int_equal(rig->n_released, 0);
		assert_int_equal(rig->n_discarded, 1);
		rig_read(rig, &rig->client, 1);
		assert_null(memmem(rig->client.data, rig->client.len_bytes, "evil", 4));
		rig_free(rig);
	}
}

/* A 204 that announces a body may be followed by one, when the connection is another's already. */
static void test_no_content_with_a_body_to_come(void **state)
{
	static const char *const responses[] = {
	    "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\n",
	    "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(responses); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_write(&rig->origins[0], responses[i]);
		rig_expect(rig, &rig->client, "HTTP/1.1 204 No Content\r\n\r\n");
		assert_int_equal(rig->n_released, 0);
		assert_int_equal(rig->n_discarded, 1);
		rig_free(rig);
	}
}

/* The same where the surplus comes after the head. */
static void test_surplus_after_a_later_body(void **state)
{
	static const char *const rows[][3] = {
	    {"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", "bodyevil", "body"},
	    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "0\r\n\r\nevil", "0\r\n\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_write(&rig->origins[0], rows[i][0]);
		rig_expect(rig, &rig->client, rows[i][0]);
		rig_write(&rig->origins[0], rows[i][1]);
		rig_expect(rig, &rig->client, rows[i][2]);
		assert_int_equal(rig->n_released, 0);
		assert_int_equal(rig->n_discarded, 1);
		rig_free(rig);
	}
}

/* The origin answers before it has the whole request: the answer arrives, then the connection ends.
 */
static void test_early_response(void **state)
{
	static const char response[] = "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n";
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\nx");
	rig_settle(rig);
	rig_write(&rig->origins[0], response);
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	assert_int_equal(rig->n_discarded, 1);
	/* What is still on its way is thrown away and does not reset the answer. */
	for (int i = 0; i < 100; i++) {
		rig_write(&rig->client, "more of the body");
		rig_settle(rig);
	}
	assert_int_equal(rig->n_ends, 0);
	rig_close(&rig->client);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);
}

/* The same where the origin also closes, so that our sending fails. */
static void test_early_response_and_reset(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000000\r\n\r\nx");
	rig_settle(rig);
	rig->holds_answer = true;
	rig_write(&rig->origins[0], "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n");
	rig_reset(&rig->origins[0]);
	rig_write(&rig->client, "more of the body");
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
	rig_free(rig);
}

static void test_full_duplex(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nab");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0],
		   "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n" RIG_FORWARDED
		   "\r\nab");
	rig_write(&rig->origins[0], "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nAB");
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nAB");
	rig_write(&rig->client, "cd");
	rig_expect(rig, &rig->origins[0], "cd");
	rig_write(&rig->origins[0], "CD");
	rig_expect(rig, &rig->client, "CD");
	rig_write(&rig->client, "ef");
	rig_expect(rig, &rig->origins[0], "ef");
	rig_write(&rig->origins[0], "EF");
	rig_expect(rig, &rig->client, "EF");
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);
}

static void test_client_abort(void **state)
{
	static const struct {
		const char *request;
		bool resets;
		enum close_reason reason;
		size_t n_records;
	} rows[] = {
	    {"GET /x HT", false, CLOSE_CLIENT_ABORT, 1},
	    {"GET /x HT", true, CLOSE_CLIENT_RESET, 1},
	    {"", true, CLOSE_CLIENT_RESET, 0},
	    {"POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhe", false,
	     CLOSE_CLIENT_ABORT, 1},
	    {"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", false,
	     CLOSE_CLIENT_ABORT, 1},
	    {RIG_GET, true, CLOSE_CLIENT_ABORT, 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig *rig = rig_new();

		rig_write(&rig->client, rows[i].request);
		rig_settle(rig);
		if (rows[i].resets)
			rig_reset(&rig->client);
		else
			rig_close(&rig->client);
		rig_await_end(rig);
		assert_int_equal(rig->end_reason, rows[i].reason);
		assert_int_equal(rig->n_records, rows[i].n_records);
		assert_int_equal(rig->n_released, 0);
		rig_free(rig);
	}
}

/* A client may end its direction after the request and still wants the response. */
static void test_half_closed_client(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	shutdown(rig->client.fd, SHUT_WR);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);
}

/* A client that does not read: the origin is not read either, and little is held. */
static void stall(const char *head, const char *piece, enum conf_relay relay)
{
	struct rig *rig = rig_new();
	char *data = malloc(1 << 16);
	size_t sent = 0, n;
	int quiet = 0;

	assert_non_null(data);
	for (size_t at = 0; at + strlen(piece) <= 1 << 16; at += strlen(piece))
		memcpy(data + at, piece, strlen(piece));
	rig->routes[1].relay = relay;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], head);
	while (quiet < 5 && sent < 1 << 30) {
		n = rig_try_write(&rig->origins[0], data,
				  (1 << 16) / strlen(piece) * strlen(piece));
		sent += n;
		quiet = n ? 0 : quiet + 1;
		rig_settle(rig);
	}
	/* Socket buffers and one pipe; without back-pressure it would go on. */
	assert_true(sent < 64 << 20);
	assert_true(rig->exchange->outbox.len_bytes <= 2 * LOOP_SCRATCH_BYTES);
	assert_int_equal(rig->n_ends, 0);
	free(data);
	rig_free(rig);
}

static void test_client_that_stops_reading(void **state)
{
	(void)state;
	stall("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", "x", CONF_RELAY_AUTO);
	stall("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", "x", CONF_RELAY_COPY);
	stall("HTTP/1.1 200 OK\r\n\r\n", "x", CONF_RELAY_AUTO);
	stall("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "8\r\n12345678\r\n",
	      CONF_RELAY_AUTO);
}

static void test_endless_interim_responses(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	for (int i = 0; i < 33; i++)
		rig_write(&rig->origins[0], "HTTP/1.1 103 Early Hints\r\n\r\n");
	rig_await_records(rig, 1);
	assert_int_equal(rig->records[0].record.reason, CLOSE_ORIGIN_MALFORMED);
	rig_free(rig);
}

static void test_free_at_any_time(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, "GET / HT");
	rig_settle(rig);
	rig_free(rig);

	rig = rig_new();
	rig->holds_answer = true;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	assert_non_null(rig->waiting);
	rig_free(rig);

	rig = rig_new();
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf");
	rig_settle(rig);
	assert_int_equal(rig->n_ends, 0);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_malformed_requests),
	    cmocka_unit_test(test_too_large),
	    cmocka_unit_test(test_refused_client_reads_its_reply),
	    cmocka_unit_test(test_no_route),
	    cmocka_unit_test(test_head_has_no_error_body),
	    cmocka_unit_test(test_request_timeout),
	    cmocka_unit_test(test_keepalive_timeout),
	    cmocka_unit_test(test_body_timeout),
	    cmocka_unit_test(test_origin_timeout),
	    cmocka_unit_test(test_origin_that_does_not_say_continue),
	    cmocka_unit_test(test_no_connection),
	    cmocka_unit_test(test_origin_that_ends_early),
	    cmocka_unit_test(test_truncation_is_seen),
	    cmocka_unit_test(test_malformed_chunk_cuts),
	    cmocka_unit_test(test_stale_connection_is_tried_again),
	    cmocka_unit_test(test_is_tried_again_once),
	    cmocka_unit_test(test_unsafe_request_is_not_tried_again),
	    cmocka_unit_test(test_empty_lines_are_no_request),
	    cmocka_unit_test(test_unsent_request_is_tried_again),
	    cmocka_unit_test(test_request_whose_body_is_still_to_come_is_tried_again),
	    cmocka_unit_test(test_begun_response_is_not_tried_again),
	    cmocka_unit_test(test_surplus_is_never_a_response),
	    cmocka_unit_test(test_no_content_with_a_body_to_come),
	    cmocka_unit_test(test_surplus_after_a_later_body),
	    cmocka_unit_test(test_early_response),
	    cmocka_unit_test(test_early_response_and_reset),
	    cmocka_unit_test(test_full_duplex),
	    cmocka_unit_test(test_client_abort),
	    cmocka_unit_test(test_half_closed_client),
	    cmocka_unit_test(test_client_that_stops_reading),
	    cmocka_unit_test(test_endless_interim_responses),
	    cmocka_unit_test(test_free_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
