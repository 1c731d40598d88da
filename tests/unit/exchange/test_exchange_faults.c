/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do wrong, or go: what they see, what is reported, and what becomes of the
 * connections. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "exchange/exchange_internal.h"

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
		assert_non_null(memmem(rig->client.data, rig->client.len_bytes,
				       rig->records[0].detail, strlen(rig->records[0].detail)));
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
	rig_expect_status(rig, 431, true);
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
	rig_expect_status(rig, 404, false);
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
	rig_expect_status(rig, 404, true);
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
	rig_expect_status(rig, 408, true);
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
	rig_expect_status(rig, 408, true);
	assert_int_equal(rig->records[0].record.reason, CLOSE_IDLE_TIMEOUT);
	assert_int_equal(rig->n_released, 0);
	rig_free(rig);
}

/* RFC 9112, 2.2: they are ignored, before a request and where none follows. */
static void test_empty_lines_are_no_request(void **state)
{
	static const char *const lines[] = {"\r\n", "\r\n\r\n\r\n"};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct rig *rig = rig_new();

		rig_serve_one(rig);
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
	    cmocka_unit_test(test_empty_lines_are_no_request),
	    cmocka_unit_test(test_client_abort),
	    cmocka_unit_test(test_half_closed_client),
	    cmocka_unit_test(test_client_that_stops_reading),
	    cmocka_unit_test(test_free_at_any_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
