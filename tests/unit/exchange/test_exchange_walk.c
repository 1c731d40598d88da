/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random walks: clients and origins that say right and wrong things in pieces, close, reset and
 * stall in any order. Whatever happens, memory and descriptors are given back, the end is reported
 * once, each request at most once, and an origin never sees a byte that is not of a well-formed
 * request.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "http/h1.h"
#include "rig.h"

#define WALKS 400
#define STEPS 60

static const char *const requests[] = {
    RIG_GET,
    RIG_GET RIG_GET RIG_GET,
    "HEAD /x HTTP/1.1\r\nHost: a.test\r\n\r\n",
    "GET /x HTTP/1.0\r\nHost: a.test\r\n\r\n",
    "GET /x HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: none.test\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20\r\n\r\n01234567890123456789",
    "PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20\r\nExpect: 100-continue\r\n\r\n"
    "01234567890123456789",
    "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    "a\r\n0123456789\r\n1;x\r\na\r\n0\r\nT: v\r\n\r\n",
    "POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789X",
    "GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
    "GET /x HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n",
};

static const char *const responses[] = {
    RIG_OK,
    RIG_OK,
    RIG_OK,
    "HTTP/1.1 100 Continue\r\n\r\n" RIG_OK,
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX",
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.0 200 OK\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nsurplus",
    "nonsense",
};

static uint32_t seed;

static size_t draw(size_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* What is being said, and how far. */
struct speech {
	const char *text;
	size_t at;
};

static void speak(struct rig_end *end, struct speech *speech, const char *const *texts, size_t n)
{
	size_t left, piece;

	if (!speech->text || speech->at == strlen(speech->text))
		*speech = (struct speech){.text = texts[draw(n)]};
	left = strlen(speech->text + speech->at);
	piece = draw(3) ? left : 1 + draw(left);
	rig_try_write(end, speech->text + speech->at, piece);
	speech->at += piece;
}

/* What an origin was sent: whole requests, and at most one that is not whole. */
static void assert_well_formed(const struct rig_end *end)
{
	char *data = end->data;
	size_t left = end->len_bytes;

	while (left) {
		struct h1_chunked chunked = {0};
		struct h1_request request;
		enum h1_fault fault;
		struct str payload;
		size_t taken;

		switch (h1_parse_request(data, left, &request, &fault)) {
		case H1_REFUSED:
			fail_msg("%s: %.*s", h1_fault_text(fault), (int)left, data);
			return;
		case H1_NEED_MORE:
			return;
		case H1_DONE:
			break;
		}
		data += request.head.len_bytes;
		left -= request.head.len_bytes;
		taken = (size_t)request.head.content_length;
		if (request.head.is_chunked) {
			enum h1_progress progress =
			    h1_chunked_decode(&chunked, data, left, &payload, &taken, &fault);

			assert_int_not_equal(progress, H1_REFUSED);
			if (progress == H1_NEED_MORE)
				return;
		}
		if (taken > left)
			return;
		data += taken;
		left -= taken;
	}
}

static void end_some(struct rig_end *end)
{
	if (end->fd < 0)
		return;
	if (draw(2))
		rig_close(end);
	else
		rig_reset(end);
}

static void step(struct rig *rig, struct speech *client, struct speech *origin)
{
	struct rig_end *server = rig->n_origins ? &rig->origins[draw(rig->n_origins)] : NULL;

	switch (draw(16)) {
	case 0:
		if (server)
			end_some(server);
		break;
	case 1:
		if (draw(4) == 0)
			end_some(&rig->client);
		break;
	case 2:
		if (rig->client.fd >= 0 && draw(4) == 0)
			shutdown(rig->client.fd, SHUT_WR);
		break;
	case 3:
		rig->holds_answer = !rig->holds_answer;
		if (rig->waiting)
			rig_answer(rig);
		break;
	case 4:
		rig->refuses = draw(2) ? CLOSE_ORIGIN_REFUSED : CLOSE_DONE;
		break;
	case 5:
		if (!rig->n_ends && draw(8) == 0)
			exchange_drain(rig->exchange);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		speak(&rig->client, client, requests, ARRAY_LEN(requests));
		break;
	default:
		if (server)
			speak(server, origin, responses, ARRAY_LEN(responses));
		break;
	}
}

static void walk(uint32_t number)
{
	struct speech client = {.text = NULL}, origin = {.text = NULL};
	struct rig *rig = rig_new();

	seed = number * 2654435761u;
	for (int i = 0; i < STEPS && !rig->n_ends && rig->n_origins < RIG_CONNS - 4; i++) {
		step(rig, &client, &origin);
		if (draw(2))
			rig_settle(rig);
		rig_read(rig, &rig->client, 0);
	}
	rig_settle(rig);
	for (size_t i = 0; i < rig->n_origins; i++) {
		rig_read(rig, &rig->origins[i], 0);
		assert_well_formed(&rig->origins[i]);
	}
	rig_free(rig);
}

static void test_walks(void **state)
{
	(void)state;
	for (uint32_t number = 1; number <= WALKS; number++)
		walk(number);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
