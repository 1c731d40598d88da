/* SPDX-License-Identifier: Apache-2.0 */
/* Origins that do wrong: late, cut, malformed, too early or too much; what the client sees of it.
 */
#include "rig.h"

#include <errno.h>
#include <string.h>

static void test_origin_timeout(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->origin.response_timeout_ms = 20;
	rig_write(&rig->client, RIG_GET);
	rig_expect_status(rig, 504, false);
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
		rig_expect_status(rig, 504, true);
		assert_int_equal(rig->records[0].record.reason, CLOSE_ORIGIN_TIMEOUT);
		rig_free(rig);
	}
}

static ssize_t send_without_memory(struct io *io UNUSED, const struct iovec *parts UNUSED,
				   int n_parts UNUSED, bool more UNUSED)
{
	return -ENOMEM;
}

/* The origin waits for a body that cannot be sent to it: that is not waited for. */
static void test_no_memory_for_the_request(void **state)
{
	static const struct {
		const char *framing, *body;
	} rows[] = {{"Content-Length: 5", "hello"},
		    {"Transfer-Encoding: chunked", "5\r\nhello\r\n"}};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct rig *rig = rig_new();
		struct io_ops ops;
		struct io *io;

		rig_write(&rig->client, "PUT /x HTTP/1.1\r\nHost: a.test\r\n");
		rig_write(&rig->client, rows[i].framing);
		rig_write(&rig->client, "\r\n\r\n");
		rig_settle(rig);
		io = (struct io *)rig->origins[0].peer;
		ops = *io->ops;
		ops.send = send_without_memory;
		io->ops = &ops;
		rig_write(&rig->client, rows[i].body);
		rig_await_end(rig);
		assert_int_equal(rig->end_reason, CLOSE_OUT_OF_MEMORY);
		assert_int_equal(rig->n_discarded, 1);
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
		rig_expect_status(rig, rows[i].status, false);
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
		rig_expect_status(rig, 502, false);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_origin_timeout),
	    cmocka_unit_test(test_origin_that_does_not_say_continue),
	    cmocka_unit_test(test_no_memory_for_the_request),
	    cmocka_unit_test(test_no_connection),
	    cmocka_unit_test(test_origin_that_ends_early),
	    cmocka_unit_test(test_truncation_is_seen),
	    cmocka_unit_test(test_malformed_chunk_cuts),
	    cmocka_unit_test(test_surplus_is_never_a_response),
	    cmocka_unit_test(test_no_content_with_a_body_to_come),
	    cmocka_unit_test(test_surplus_after_a_later_body),
	    cmocka_unit_test(test_early_response),
	    cmocka_unit_test(test_early_response_and_reset),
	    cmocka_unit_test(test_full_duplex),
	    cmocka_unit_test(test_endless_interim_responses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
