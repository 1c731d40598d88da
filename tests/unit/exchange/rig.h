/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange between a client and an origin that the test plays itself, over loopback. rig.c has
 * the exchange's side and a stand-in for origin/.
 */
#ifndef TESTS_UNIT_EXCHANGE_RIG_H
#define TESTS_UNIT_EXCHANGE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "exchange/exchange.h"
#include "relay/relay.h"

#define RIG_RECORDS 64
#define RIG_CONNS 8

/* The test's end of a stream, and what was read from it so far. */
struct rig_end {
	int fd;
	char *data;
	size_t len_bytes;
	size_t size_bytes;
	bool is_ended;
	int error; /* errno of a failed read */
	const struct io *peer; /* the exchange's end; NULL: it is gone */
};

struct rig_record {
	char method[32], host[64], path[64], relay[16], detail[128], server[32];
	struct exchange_record record; /* its slices are dangling */
};

struct rig {
	struct loop *loop;
	struct conf_origin origin;
	struct conf_route routes[3]; /* /private of any host to nobody's origin but the same;
					a.test; others none */
	struct conf_listener listener;
	struct io client_io;
	struct rig_end client;
	struct exchange *exchange;
	struct rig_record records[RIG_RECORDS];
	size_t n_records;
	unsigned int n_ends;
	enum close_reason end_reason;

	/* The stand-in for origin/. */
	struct rig_end origins[RIG_CONNS]; /* in the order of connecting */
	size_t n_origins;
	unsigned int n_acquired, n_released, n_discarded;
	struct origin_conn *pooled;
	bool holds_answer; /* origin_acquire() waits for rig_answer() */
	struct origin_request *waiting;
	bool must_be_alive; /* the last wish says so */
	enum close_reason refuses; /* CLOSE_DONE: it does not */
};

/* A client is connected, the exchange waits. All timeouts are a minute. */
struct rig *rig_new(void);
void rig_free(struct rig *rig);

/* Lets the loop run until nothing is left to do at once, and nothing is under way. */
void rig_settle(struct rig *rig);

/* Waits for the end of the exchange; fails the test where it does not come. */
void rig_await_end(struct rig *rig);

void rig_await_records(struct rig *rig, size_t n);

/* Gives the held wish its connection. */
void rig_answer(struct rig *rig);

void rig_write(struct rig_end *end, const char *text);
void rig_write_bytes(struct rig_end *end, const char *data, size_t len_bytes);

/* Writes what fits without blocking; returns the bytes. */
size_t rig_try_write(struct rig_end *end, const char *data, size_t len_bytes);
void rig_close(struct rig_end *end);
void rig_reset(struct rig_end *end);

/* Reads until `len_bytes` are there, and the loop runs meanwhile. */
void rig_read(struct rig *rig, struct rig_end *end, size_t len_bytes);
void rig_read_end(struct rig *rig, struct rig_end *end);

/* Exactly `text` was sent there, since the last time. Waits for it. */
#define rig_expect(rig, end, text) rig_expect_at(rig, end, text, __LINE__)
void rig_expect_at(struct rig *rig, struct rig_end *end, const char *text, int line);

/* The client gets a reply with this status, and nothing behind it. */
void rig_expect_status(struct rig *rig, unsigned int status, bool closes);

/* A request and its reply, by the first origin. */
void rig_serve_one(struct rig *rig);

/* Nothing more was sent there. */
void rig_expect_nothing(struct rig *rig, struct rig_end *end);

/* What the origin gets of a request with these lines between Host and ours. */
#define RIG_FORWARDED \
	"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a.test\r\n"
#define RIG_GET "GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define RIG_GET_SEEN "GET /x HTTP/1.1\r\nHost: a.test\r\n" RIG_FORWARDED "\r\n"
#define RIG_OK "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

#endif
