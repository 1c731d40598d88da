/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests are sent once more, by another connection, and which are not. */
#include "rig.h"

static void test_stale_connection_is_tried_again(void **state)
{
	(void)state;
	for (int resets = 0; resets < 2; resets++) {
		struct rig *rig = rig_new();

		rig_serve_one(rig);
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
	rig_serve_one(rig);
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_close(&rig->origins[0]);
	rig_settle(rig);
	rig_close(&rig->origins[1]);
	rig_expect_status(rig, 502, false);
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

		rig_serve_one(rig);
		rig_write(&rig->client, requests[i]);
		rig_settle(rig);
		rig_close(&rig->origins[0]);
		rig_expect_status(rig, 502, false);
		assert_int_equal(rig->n_acquired, 2);
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

		rig_serve_one(rig);
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
	rig_serve_one(rig);
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
	rig_serve_one(rig);
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], "H");
	rig_settle(rig);
	rig_close(&rig->origins[0]);
	rig_expect_status(rig, 502, false);
	assert_int_equal(rig->n_acquired, 2);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_stale_connection_is_tried_again),
	    cmocka_unit_test(test_is_tried_again_once),
	    cmocka_unit_test(test_unsafe_request_is_not_tried_again),
	    cmocka_unit_test(test_unsent_request_is_tried_again),
	    cmocka_unit_test(test_request_whose_body_is_still_to_come_is_tried_again),
	    cmocka_unit_test(test_begun_response_is_not_tried_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
