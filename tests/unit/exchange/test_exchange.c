/* SPDX-License-Identifier: Apache-2.0 */
/* Requests that go well: keep-alive, pipelining, routes, draining, however the bytes arrive. */
#include "rig.h"

#include <stdio.h>
#include <string.h>

#include "exchange/exchange_internal.h"

static void assert_idle_holds_nothing(const struct rig *rig)
{
	assert_null(rig->exchange->turn);
	assert_null(rig->exchange->inbox.data);
	assert_null(rig->exchange->outbox.data);
}

static void test_get(void **state)
{
	struct rig *rig = rig_new();
	const struct rig_record *kept = &rig->records[0];

	(void)state;
	rig_write(&rig->client, "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0],
		   "GET /x?y HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED "\r\n");
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	assert_int_equal(rig->n_records, 1);
	assert_string_equal(kept->method, "GET");
	assert_string_equal(kept->host, "a.test");
	assert_string_equal(kept->path, "/x");
	assert_string_equal(kept->server, "192.0.2.9:80");
	assert_int_equal(kept->record.status, 200);
	assert_int_equal(kept->record.reason, CLOSE_DONE);
	assert_ptr_equal(kept->record.route, &rig->routes[1]);
	assert_int_equal(kept->record.request_bytes,
			 strlen("GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n"));
	assert_int_equal(kept->record.response_bytes, strlen(RIG_OK));
	assert_true(kept->record.first_byte_us > 0);
	assert_int_equal(rig->n_released, 1);
	assert_idle_holds_nothing(rig);
	rig_free(rig);
}

static void test_keep_alive_reuses_both(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (int i = 0; i < 3; i++) {
		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
		rig_write(&rig->origins[0], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
	}
	assert_int_equal(rig->n_origins, 1);
	assert_int_equal(rig->n_ends, 0);
	rig_close(&rig->client);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	assert_int_equal(rig->n_records, 3);
	rig_free(rig);
}

static void test_pipelined(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET RIG_GET "GET /z HTTP/1.1\r\nHost: a.te");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->client, "st\r\n\r\n");
	rig_expect_nothing(rig, &rig->origins[0]);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_expect(rig, &rig->origins[0],
		   "GET /z HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED "\r\n");
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	assert_idle_holds_nothing(rig);
	rig_free(rig);
}

/* More in one batch than one connection may have before others have their turn. */
static void test_many_pipelined_replies(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: none.test\r\n\r\n";
	struct rig *rig = rig_new();

	(void)state;
	for (int i = 0; i < 50; i++)
		rig_write(&rig->client, request);
	rig_await_records(rig, 50);
	assert_int_equal(rig->n_ends, 0);
	assert_idle_holds_nothing(rig);
	rig_free(rig);
}

static void test_close_is_honoured(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_read_end(rig, &rig->client);
	assert_int_equal(rig->client.error, 0);
	assert_int_equal(rig->n_released, 1);
	rig_free(rig);
}

static void test_http10(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "GET /x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok");
	rig_write(&rig->client,
		  "GET /x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(
	    &rig->origins[0],
	    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "3\r\nabc\r\n");
	rig_expect(rig, &rig->client, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc");
	rig_write(&rig->origins[0], "2\r\nde\r\n0\r\n\r\n");
	rig_expect(rig, &rig->client, "de");
	rig_await_end(rig);
	assert_int_equal(rig->n_released, 2);
	rig_free(rig);
}

static void test_origin_that_closes(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		rig_write(&rig->client, RIG_GET);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[i], RIG_GET_SEEN);
		rig_write(&rig->origins[i],
			  "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
		rig_expect(rig, &rig->client, RIG_OK);
	}
	assert_int_equal(rig->n_discarded, 2);
	assert_int_equal(rig->n_ends, 0);
	rig_free(rig);
}

/* Each byte is an event of its own, on both sides, with a body both ways. */
static void test_byte_by_byte(void **state)
{
	static const char request[] =
	    "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
	    "3\r\nabc\r\n0\r\n\r\n";
	static const char response[] =
	    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < sizeof(request) - 1; i++) {
		rig_write_bytes(&rig->client, request + i, 1);
		rig_settle(rig);
	}
	rig_expect(rig, &rig->origins[0],
		   "POST /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED
		   "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n");
	for (size_t i = 0; i < sizeof(response) - 1; i++) {
		rig_write_bytes(&rig->origins[0], response + i, 1);
		rig_settle(rig);
	}
	rig_expect(rig, &rig->client, response);
	assert_int_equal(rig->n_records, 1);
	assert_idle_holds_nothing(rig);
	rig_free(rig);
}

/* Heads near the limit, in pieces that are no divisor of anything. */
static void test_large_heads_in_pieces(void **state)
{
	static char text[32000], expected[33000];
	struct rig *rig = rig_new();
	size_t len = (size_t)sprintf(text, "GET /x HTTP/1.1\r\nHost: a.test\r\nA: ");

	(void)state;
	memset(text + len, 'v', sizeof(text) - len);
	memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
	len = sizeof(text) - 1;
	for (size_t at = 0; at < len; at += 997) {
		rig_write_bytes(&rig->client, text + at, MIN((size_t)997, len - at));
		rig_settle(rig);
	}
	sprintf(expected, "%.*s" RIG_FORWARDED "\r\n", (int)len - 2, text);
	rig_expect(rig, &rig->origins[0], expected);
	memcpy(text, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nA: vvvvvvvvvvvvvv", 53);
	for (size_t at = 0; at < len; at += 997) {
		rig_write_bytes(&rig->origins[0], text + at, MIN((size_t)997, len - at));
		rig_settle(rig);
	}
	rig_write(&rig->origins[0], "ok");
	sprintf(expected, "%sok", text);
	rig_expect(rig, &rig->client, expected);
	assert_idle_holds_nothing(rig);
	rig_free(rig);
}

/* The client waits for the origin, and its next request for its turn. */
static void test_waits_for_a_connection(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig->holds_answer = true;
	rig_write(&rig->client, "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc");
	rig_settle(rig);
	assert_int_equal(rig->n_origins, 0);
	rig_answer(rig);
	rig_expect(rig, &rig->origins[0],
		   "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n" RIG_FORWARDED
		   "\r\nabc");
	rig_free(rig);
}

static void test_path_is_matched_by_meaning(void **state)
{
	static const struct {
		const char *path;
		size_t route;
	} rows[] = {{"/x/../private/a", 0},
		    {"/x/%2e%2E/private", 0},
		    {"/./x", 1},
		    {"//x", 1},
		    {"/x%2f..%2fprivate", 2},
		    {"/y", 2}};
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256];

		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: A.test:80\r\n\r\n",
			 rows[i].path);
		rig_write(&rig->client, text);
		rig_settle(rig);
		/* It goes on as it was sent. */
		snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\n", rows[i].path);
		rig_read(rig, &rig->origins[0], strlen(text));
		assert_memory_equal(rig->origins[0].data, text, strlen(text));
		rig->origins[0].len_bytes = 0;
		rig_write(&rig->origins[0], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		assert_ptr_equal(rig->records[i].record.route, &rig->routes[rows[i].route]);
	}
	rig_free(rig);
}

static void test_drain(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	exchange_drain(rig->exchange);
	assert_int_equal(rig->n_ends, 0);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	rig_await_end(rig);
	rig_free(rig);

	rig = rig_new();
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], RIG_OK);
	rig_await_records(rig, 1);
	exchange_drain(rig->exchange);
	assert_int_equal(rig->n_ends, 1);
	assert_int_equal(rig->end_reason, CLOSE_SHUTDOWN);
	rig_free(rig);
}

/* Before its first request a connection has some time left, and then it ends. */
static void test_drain_waits_for_the_first_request(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	exchange_drain(rig->exchange);
	rig_settle(rig);
	assert_int_equal(rig->n_ends, 0);
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], RIG_OK);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);

	rig = rig_new();
	exchange_drain(rig->exchange);
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_SHUTDOWN);
	assert_int_equal(rig->n_records, 0);
	rig_free(rig);
}

/* The event of a request that came already is still to be fetched when the word to drain comes. */
static void test_drain_answers_what_came_before(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	exchange_drain(rig->exchange);
	assert_int_equal(rig->n_ends, 0);
	rig_settle(rig);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
	rig_await_end(rig);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_get),
	    cmocka_unit_test(test_keep_alive_reuses_both),
	    cmocka_unit_test(test_pipelined),
	    cmocka_unit_test(test_many_pipelined_replies),
	    cmocka_unit_test(test_close_is_honoured),
	    cmocka_unit_test(test_http10),
	    cmocka_unit_test(test_origin_that_closes),
	    cmocka_unit_test(test_byte_by_byte),
	    cmocka_unit_test(test_large_heads_in_pieces),
	    cmocka_unit_test(test_waits_for_a_connection),
	    cmocka_unit_test(test_path_is_matched_by_meaning),
	    cmocka_unit_test(test_drain),
	    cmocka_unit_test(test_drain_answers_what_came_before),
	    cmocka_unit_test(test_drain_waits_for_the_first_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
