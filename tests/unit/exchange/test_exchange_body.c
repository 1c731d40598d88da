/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies both ways: by length, in chunks, until the end, large ones, and what comes before them. */
#include "rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/h1.h"

static void test_bodiless_responses(void **state)
{
	static const char *const rows[][2] = {
	    {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"},
	    {"GET", "HTTP/1.1 204 No Content\r\n\r\n"},
	    {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n"},
	    {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
	};
	struct rig *rig = rig_new();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char text[256];

		snprintf(text, sizeof(text), "%s /x HTTP/1.1\r\nHost: a.test\r\n\r\n", rows[i][0]);
		rig_write(&rig->client, text);
		rig_settle(rig);
		snprintf(text, sizeof(text),
			 "%s /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED "\r\n", rows[i][0]);
		rig_expect(rig, &rig->origins[0], text);
		rig_write(&rig->origins[0], rows[i][1]);
		rig_expect(rig, &rig->client, rows[i][1]);
	}
	assert_int_equal(rig->n_released, ARRAY_LEN(rows));
	rig_free(rig);
}

static void test_body_up_with_length(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nhello");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0],
		   "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n" RIG_FORWARDED
		   "\r\nhello");
	rig_write(&rig->client, "world" RIG_GET);
	rig_expect(rig, &rig->origins[0], "world");
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	assert_int_equal(rig->records[0].record.request_bytes,
			 strlen("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n") +
			     10);
	rig_free(rig);
}

static void test_body_up_chunked(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
		  "3;ext=1\r\nabc\r\n2\r\nde");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0],
		   "POST /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED
		   "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
	rig_write(&rig->client, "\r\n1");
	rig_expect_nothing(rig, &rig->origins[0]);
	rig_write(&rig->client, "0\r\n0123456789abcdef\r\n0\r\nTrailer: t\r\n\r\n" RIG_GET);
	rig_expect(rig, &rig->origins[0], "10\r\n0123456789abcdef\r\n0\r\n\r\n");
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_free(rig);
}

static void test_body_down_chunked(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0],
		  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	rig_expect(rig, &rig->client,
		   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n");
	rig_write(&rig->origins[0], "1\r\nb\r\n1\r\nc\r\n");
	rig_expect(rig, &rig->client, "2\r\nbc\r\n");
	rig_write(&rig->origins[0], "0\r\nTrailer: t\r\n\r\n");
	rig_expect(rig, &rig->client, "0\r\n\r\n");
	assert_int_equal(rig->n_released, 1);
	assert_string_equal(rig->records[0].relay, "copy");
	rig_free(rig);
}

static void test_body_down_until_close(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], "HTTP/1.0 200 OK\r\n\r\nhello");
	rig_expect(rig, &rig->client, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello");
	rig_write(&rig->origins[0], " world");
	rig_expect(rig, &rig->client, " world");
	rig_close(&rig->origins[0]);
	rig_await_end(rig);
	rig_read_end(rig, &rig->client);
	assert_int_equal(rig->client.error, 0);
	assert_int_equal(rig->end_reason, CLOSE_DONE);
	rig_free(rig);
}

static void test_continue(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, "PUT /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
				"Content-Length: 5\r\n\r\n");
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0],
		   "PUT /x HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\n"
		   "Content-Length: 5\r\n" RIG_FORWARDED "\r\n");
	rig_write(&rig->origins[0], "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early");
	rig_expect(rig, &rig->client, "HTTP/1.1 100 Continue\r\n\r\n");
	rig_write(&rig->origins[0], " Hints\r\nLink: </a>\r\n\r\n");
	rig_expect(rig, &rig->client, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
	rig_write(&rig->client, "hello");
	rig_expect(rig, &rig->origins[0], "hello");
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	assert_int_equal(rig->n_ends, 0);
	rig_free(rig);
}

static void test_interim_and_final_at_once(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], "HTTP/1.1 103 Early Hints\r\n\r\n" RIG_OK);
	rig_expect(rig, &rig->client, "HTTP/1.1 103 Early Hints\r\n\r\n" RIG_OK);
	rig_free(rig);
}

/* Two requests cut in two at every byte. */
static void test_split_everywhere(void **state)
{
	static const char requests[] =
	    "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\nabc" RIG_GET;
	static const char seen[] = "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: "
				   "3\r\n" RIG_FORWARDED "\r\nabc";
	size_t len = sizeof(requests) - 1;

	(void)state;
	for (size_t at = 1; at < len; at++) {
		struct rig *rig = rig_new();

		rig_write_bytes(&rig->client, requests, at);
		rig_settle(rig);
		rig_write_bytes(&rig->client, requests + at, len - at);
		rig_settle(rig);
		rig_expect(rig, &rig->origins[0], seen);
		rig_write(&rig->origins[0], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
		rig_write(&rig->origins[0], RIG_OK);
		rig_expect(rig, &rig->client, RIG_OK);
		rig_free(rig);
	}
}

static void fill(char *data, size_t len)
{
	uint32_t seed = 1;

	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = (char)(seed >> 24);
	}
}

#define LARGE_BYTES (5 << 20)

/* Moves LARGE_BYTES from `from` to `to`, whose first `skip` bytes are a head. */
static void carry(struct rig *rig, struct rig_end *from, struct rig_end *to, size_t skip)
{
	char *data = malloc(LARGE_BYTES);
	size_t sent = 0;

	assert_non_null(data);
	fill(data, LARGE_BYTES);
	for (int i = 0; i < 100000 && to->len_bytes < LARGE_BYTES + skip; i++) {
		sent += rig_try_write(from, data + sent, LARGE_BYTES - sent);
		rig_read(rig, to, to->len_bytes + 1);
	}
	assert_int_equal(to->len_bytes, LARGE_BYTES + skip);
	assert_memory_equal(to->data + skip, data, LARGE_BYTES);
	to->len_bytes = 0;
	free(data);
}

static void carry_both_ways(enum conf_relay relay, const char *expected)
{
	struct rig *rig = rig_new();
	char head[256];

	rig->routes[1].relay = relay;
	snprintf(head, sizeof(head),
		 "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", LARGE_BYTES);
	rig_write(&rig->client, head);
	rig_settle(rig);
	carry(rig, &rig->client, &rig->origins[0], strlen(head) + strlen(RIG_FORWARDED));
	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", LARGE_BYTES);
	rig_write(&rig->origins[0], head);
	carry(rig, &rig->origins[0], &rig->client, strlen(head));
	rig_await_records(rig, 1);
	assert_string_equal(rig->records[0].relay, expected);
	assert_true(rig->records[0].record.request_bytes > LARGE_BYTES);
	assert_true(rig->records[0].record.response_bytes > LARGE_BYTES);
	assert_int_equal(rig->n_released, 1);
	rig_free(rig);
}

static void test_large_bodies(void **state)
{
	(void)state;
	carry_both_ways(CONF_RELAY_AUTO, "pipe");
	carry_both_ways(CONF_RELAY_PIPE, "pipe");
	carry_both_ways(CONF_RELAY_COPY, "copy");
}

static bool ends_with(const struct rig_end *end, const char *text)
{
	size_t len = strlen(text);

	return end->len_bytes >= len && memcmp(end->data + end->len_bytes - len, text, len) == 0;
}

static void test_large_chunked_down(void **state)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	struct rig *rig = rig_new();
	struct h1_chunked chunked = {0};
	char *body = malloc(LARGE_BYTES), *framed = malloc(LARGE_BYTES * 2);
	size_t framed_len = 0, sent = 0, seen, taken;
	enum h1_fault fault;
	struct str payload;

	(void)state;
	assert_non_null(body);
	assert_non_null(framed);
	fill(body, LARGE_BYTES);
	for (size_t at = 0, n; at < LARGE_BYTES; at += n) {
		n = MIN((size_t)1 + at % 9000, LARGE_BYTES - at);
		framed_len += (size_t)sprintf(framed + framed_len, "%zx\r\n", n);
		memcpy(framed + framed_len, body + at, n);
		framed_len += n + (size_t)sprintf(framed + framed_len + n, "\r\n");
	}
	framed_len += (size_t)sprintf(framed + framed_len, "0\r\n\r\n");
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_write(&rig->origins[0], head);
	for (int i = 0; i < 100000 && rig->n_records == 0; i++) {
		sent += rig_try_write(&rig->origins[0], framed + sent, framed_len - sent);
		rig_read(rig, &rig->client, rig->client.len_bytes + 1);
	}
	assert_int_equal(rig->n_records, 1);
	while (!ends_with(&rig->client, H1_LAST_CHUNK)) { /* what the kernel holds yet */
		seen = rig->client.len_bytes;
		rig_read(rig, &rig->client, seen + 1);
		assert_true(rig->client.len_bytes > seen);
	}
	assert_memory_equal(rig->client.data, head, sizeof(head) - 1);
	assert_int_equal(h1_chunked_decode(&chunked, rig->client.data + sizeof(head) - 1,
					   rig->client.len_bytes - (sizeof(head) - 1), &payload,
					   &taken, &fault),
			 H1_DONE);
	assert_int_equal(payload.len, LARGE_BYTES);
	assert_memory_equal(payload.ptr, body, LARGE_BYTES);
	free(body);
	free(framed);
	rig_free(rig);
}

/* Chunks of 10 bytes; whoever shall read them does so only when nothing fits any more. */
static void stall_and_resume(struct rig *rig, struct rig_end *from, struct rig_end *to)
{
	static const char chunk[] = "a\r\n0123456789\r\n";
	struct h1_chunked chunked = {0};
	size_t n_chunks = 0, at = 0, taken;
	struct str payload;
	enum h1_fault fault;
	char *body;

	for (int quiet = 0; quiet < 5;) {
		size_t n = rig_try_write(from, chunk + at, sizeof(chunk) - 1 - at);

		at += n;
		n_chunks += at == sizeof(chunk) - 1;
		at %= sizeof(chunk) - 1;
		quiet = n ? 0 : quiet + 1;
		if (!n || n_chunks % 4096 == 0)
			rig_settle(rig);
	}
	assert_true(n_chunks > 10000);
	while (at) { /* the chunk that was cut */
		size_t n = rig_try_write(from, chunk + at, sizeof(chunk) - 1 - at);

		at = (at + n) % (sizeof(chunk) - 1);
		n_chunks += !at;
		rig_read(rig, to, to->len_bytes + 1);
	}
	while (rig_try_write(from, H1_LAST_CHUNK, 5) == 0)
		rig_read(rig, to, to->len_bytes + 1);
	while (!memmem(to->data + to->len_bytes - 5, 5, H1_LAST_CHUNK, 5))
		rig_read(rig, to, to->len_bytes + 1);
	body = memmem(to->data, to->len_bytes, "\r\n\r\n", 4);
	assert_non_null(body);
	body += 4;
	assert_int_equal(h1_chunked_decode(&chunked, body,
					   (size_t)(to->data + to->len_bytes - body), &payload,
					   &taken, &fault),
			 H1_DONE);
	assert_int_equal(payload.len, n_chunks * 10);
	for (size_t i = 0; i < payload.len; i++)
		assert_int_equal(payload.ptr[i], '0' + (int)(i % 10));
	to->len_bytes = 0;
}

static void test_chunks_stall_and_resume(void **state)
{
	struct rig *rig = rig_new();

	(void)state;
	rig_write(&rig->client,
		  "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
	rig_settle(rig);
	stall_and_resume(rig, &rig->client, &rig->origins[0]);
	rig_write(&rig->origins[0], "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	rig_settle(rig);
	stall_and_resume(rig, &rig->origins[0], &rig->client);
	rig_await_records(rig, 1);
	assert_int_equal(rig->records[0].record.reason, CLOSE_DONE);
	assert_int_equal(rig->n_released, 1);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bodiless_responses),
	    cmocka_unit_test(test_body_up_with_length),
	    cmocka_unit_test(test_body_up_chunked),
	    cmocka_unit_test(test_body_down_chunked),
	    cmocka_unit_test(test_body_down_until_close),
	    cmocka_unit_test(test_continue),
	    cmocka_unit_test(test_interim_and_final_at_once),
	    cmocka_unit_test(test_split_everywhere),
	    cmocka_unit_test(test_large_bodies),
	    cmocka_unit_test(test_large_chunked_down),
	    cmocka_unit_test(test_chunks_stall_and_resume),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
