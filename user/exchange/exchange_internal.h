/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside exchange/. LIFECYCLE.md draws the states. */
#ifndef PENSTOCK_EXCHANGE_INTERNAL_H
#define PENSTOCK_EXCHANGE_INTERNAL_H

#include "exchange/exchange.h"
#include "exchange/exchange_box.h"
#include "http/h1.h"
#include "relay/relay.h"
#include "tls/tls.h"

enum exchange_state {
	EXCHANGE_HEAD, /* between requests, or a request head is coming */
	EXCHANGE_ACQUIRE, /* waits for a connection to the origin */
	EXCHANGE_RELAY, /* request and response move, each at its own pace */
	EXCHANGE_REPLY, /* a reply of our own goes to the client */
	EXCHANGE_SHUT, /* the last response is out: our direction is ended */
	EXCHANGE_LINGER, /* what the client still sends is thrown away, so that a reset does not eat
			    the response */
	EXCHANGE_ENDED,
	EXCHANGE_STATE_MAX
};

/* One body on its way, in either direction. */
struct body {
	enum h1_body kind;
	bool is_done; /* all of it was handed to the receiver's stream or outbox */
	bool is_relayed; /* `relay` is in use */
	uint64_t left_bytes; /* of H1_BODY_LENGTH, until it is relayed */
	struct h1_chunked chunked;
	struct relay_dir relay;
};

/* One request and its response. Lives from the end of the request head to the end of both. */
struct turn {
	struct exchange *exchange;
	const struct conf_route *route; /* NULL: none matched */
	struct origin_request wish;
	struct origin_conn *conn;
	bool is_answered; /* the wish was: conn, or acquire_reason */
	enum close_reason acquire_reason;
	uint64_t origin_received_mark; /* of conn->io's counters, when it was taken */
	uint64_t origin_sent_mark;

	enum h1_method method;
	uint8_t client_minor;
	bool client_keeps; /* it did not ask to close */
	bool awaits_continue; /* the client may hold its body back until the origin says 100 */
	size_t received_head_bytes; /* of exchange->request_bytes; the rest is body */
	struct body request;
	bool is_stopped; /* the origin takes no more of the request */
	struct outbox to_origin;
	size_t head_sent_bytes;
	struct h1_written head_facts;

	bool is_begun; /* a byte of the response came */
	bool is_head_sent; /* the response head is in the client's stream or outbox: too late for a
			      reply of our own */
	bool is_surplus; /* the origin sent more than its response */
	bool origin_keeps; /* its response does not end its connection */
	bool is_clean; /* the origin's connection may serve another request */
	bool unchunks; /* the client is HTTP/1.0: payload without framing, ended by close */
	unsigned int n_interim;
	struct body response;
	struct inbox from_origin; /* part of a response head */
	size_t scanned_bytes; /* of that, see h1_is_worth_parsing() */

	char head[]; /* the request head for the origin; kept for another try, and for the record */
};

struct exchange {
	struct exchange_client client;
	enum exchange_state state;
	enum close_reason end_reason; /* why EXCHANGE_ENDED was entered */
	bool is_running;
	bool run_again;
	bool is_reported; /* on_end was called */
	bool is_draining;
	bool client_ended; /* its end of stream was read */
	bool keeps; /* the connection goes on after this response */
	bool is_unread; /* of the last request not all was read */
	bool is_request; /* one is under way */
	unsigned int n_requests;

	struct timer timer;
	uint64_t timer_ms; /* when it fires, while it is armed */
	uint64_t deadline_ms; /* when it matters; 0: never. Traffic moves this one only */
	uint64_t moved_bytes; /* the sum of all byte counters when the deadline was set */
	struct task task;

	struct inbox inbox;
	size_t scanned_bytes; /* of the head in the inbox, see h1_is_worth_parsing() */
	struct outbox outbox; /* to the client */
	uint64_t lingered_bytes;

	/* The request under way, for its record. */
	enum close_reason reason;
	uint16_t status;
	char *detail;
	uint64_t started_us;
	uint64_t first_byte_us;
	uint64_t request_bytes;
	uint64_t sent_mark; /* client.io->sent_bytes when it began */
	struct turn *turn; /* NULL: no complete head yet */

	char client_text[]; /* the address, for X-Forwarded-For */
};

/* One step per state: does what can be done now; returns the next state, or the same where it has
 * to wait. */
enum exchange_state exchange_step_head(struct exchange *exchange);
enum exchange_state exchange_step_acquire(struct exchange *exchange);
enum exchange_state exchange_step_relay(struct exchange *exchange);
enum exchange_state exchange_step_reply(struct exchange *exchange);
enum exchange_state exchange_step_shut(struct exchange *exchange);
enum exchange_state exchange_step_linger(struct exchange *exchange);

/* Notes why, and is the next state. */
enum exchange_state exchange_end(struct exchange *exchange, enum close_reason reason);

/* Why this io said -EPROTO. */
enum close_reason exchange_tls_reason(const struct io *io);

/* The client's stream failed with `err` (-errno). */
enum exchange_state exchange_client_failed(struct exchange *exchange, int err);

/* A reply of our own, where nothing of another went out. `detail` is copied; NULL: none. */
enum exchange_state exchange_reply(struct exchange *exchange, uint16_t status,
				   enum close_reason reason, const char *detail);

/* The response cannot be completed: the client shall see that it is cut short. */
enum exchange_state exchange_cut(struct exchange *exchange, enum close_reason reason);

/* From now; moves the timer only where it would fire too late. */
void exchange_set_deadline(struct exchange *exchange, uint64_t delay_ms);

/* The first byte of a request is here. */
void exchange_begin_request(struct exchange *exchange);

/* Reports the request under way, where there is one, and frees its turn. */
void exchange_finish_request(struct exchange *exchange, enum close_reason reason);

void exchange_set_detail(struct exchange *exchange, const char *detail);

/* Goes for a connection to the route's origin. */
enum exchange_state exchange_acquire(struct exchange *exchange);

/* Gives the origin's connection back to the pool where it is clean, else closes it. */
void turn_drop_origin(struct turn *turn);

/* Takes NULL. */
void turn_free(struct turn *turn);

/* Sends the request on as far as it goes. EXCHANGE_RELAY: go on with the response. */
enum exchange_state exchange_pump_request(struct exchange *exchange);

/* Nothing of the request's body has gone on: what is here of it is still in the inbox. */
bool turn_has_no_body_yet(const struct exchange *exchange, const struct turn *turn);

/* Has something of the request and nobody who takes it, or waits for the client to send it? */
bool turn_waits_for_client(const struct exchange *exchange, const struct turn *turn);

enum exchange_state exchange_pump_response(struct exchange *exchange);

/*
 * Decodes `data` of a chunked body and sends the payload on, as one chunk or bare. 0; or -EPROTO:
 * `ret_fault`; or an error of the receiver. `ret_taken_bytes` as of h1_chunked_decode(). Sets
 * body->is_done.
 */
int body_send_chunked(struct body *body, struct outbox *outbox, struct io *to,
		      const struct str *head, bool bare, char *data, size_t len_bytes,
		      size_t *ret_taken_bytes, enum h1_fault *ret_fault);

/* Moves what can be moved of a body, or of a stream that ends with its connection, by its relay. As
 * relay_dir_pump(), and sees to RELAY_YIELD and, with is_done, to RELAY_LIMIT. */
enum relay_progress body_relay(struct exchange *exchange, struct body *body, struct io *from,
			       struct io *to, uint64_t limit_bytes) MUST_CHECK;

#endif
