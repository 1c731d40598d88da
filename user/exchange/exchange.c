/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state machine: the only place that writes an exchange's state and that reports its end. What
 * is done in a state stands in exchange_head.c, exchange_request.c, exchange_response.c and
 * exchange_reply.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "exchange/exchange_internal.h"

/* Requests in a row that one connection may have served before others have their turn. */
#define EXCHANGE_SHARE_REQUESTS 16
#define EXCHANGE_LINGER_MS 5000
/* Who has just connected is about to ask; so long a drain waits for it. */
#define EXCHANGE_FRESH_MS 1000

#define TO(state) (1u << (EXCHANGE_##state))

static const unsigned int exchange_allowed[EXCHANGE_STATE_MAX] = {
    [EXCHANGE_HEAD] = TO(ACQUIRE) | TO(REPLY) | TO(SHUT) | TO(ENDED),
    [EXCHANGE_ACQUIRE] = TO(RELAY) | TO(REPLY) | TO(ENDED),
    [EXCHANGE_RELAY] = TO(ACQUIRE) | TO(HEAD) | TO(REPLY) | TO(SHUT) | TO(ENDED),
    [EXCHANGE_REPLY] = TO(HEAD) | TO(SHUT) | TO(ENDED),
    [EXCHANGE_SHUT] = TO(LINGER) | TO(ENDED),
    [EXCHANGE_LINGER] = TO(ENDED),
    [EXCHANGE_ENDED] = 0,
};

static enum exchange_state (*const exchange_steps[EXCHANGE_STATE_MAX])(struct exchange *) = {
    [EXCHANGE_HEAD] = exchange_step_head,   [EXCHANGE_ACQUIRE] = exchange_step_acquire,
    [EXCHANGE_RELAY] = exchange_step_relay, [EXCHANGE_REPLY] = exchange_step_reply,
    [EXCHANGE_SHUT] = exchange_step_shut,   [EXCHANGE_LINGER] = exchange_step_linger,
};

void exchange_set_deadline(struct exchange *exchange, uint64_t delay_ms)
{
	struct loop *loop = exchange->client.loop;

	exchange->deadline_ms = loop_now_ms(loop) + delay_ms;
	if (timer_is_armed(&exchange->timer) && exchange->timer_ms <= exchange->deadline_ms)
		return;
	exchange->timer_ms = exchange->deadline_ms;
	loop_timer_arm(loop, &exchange->timer, delay_ms);
}

static void exchange_goto(struct exchange *exchange, enum exchange_state next)
{
	const struct conf_listener *listener = exchange->client.listener;

	BUG_ON(!(exchange_allowed[exchange->state] & (1u << next)));
	exchange->state = next;
	exchange->deadline_ms = 0;
	exchange->moved_bytes = UINT64_MAX;
	if (next == EXCHANGE_HEAD)
		exchange_set_deadline(exchange, exchange->inbox.len_bytes
						    ? listener->request_timeout_ms
						    : listener->keepalive_ms);
	else if (next == EXCHANGE_LINGER)
		exchange_set_deadline(exchange, EXCHANGE_LINGER_MS);
}

enum exchange_state exchange_end(struct exchange *exchange, enum close_reason reason)
{
	exchange->end_reason = reason;
	return EXCHANGE_ENDED;
}

/* What keeps the exchange waiting now has had its time anew if anything moved. */
static void exchange_note_traffic(struct exchange *exchange)
{
	const struct exchange_client *client = &exchange->client;
	const struct turn *turn = exchange->turn;
	uint64_t moved = client->io->received_bytes + client->io->sent_bytes;
	uint32_t delay_ms = client->listener->idle_timeout_ms;

	if (exchange->state == EXCHANGE_RELAY) {
		moved += turn->conn->io.received_bytes + turn->conn->io.sent_bytes;
		if (!turn_waits_for_client(exchange, turn))
			delay_ms = turn->route->origin->response_timeout_ms;
	} else if (exchange->state != EXCHANGE_REPLY && exchange->state != EXCHANGE_SHUT) {
		return;
	}
	if (moved != exchange->moved_bytes)
		exchange_set_deadline(exchange, delay_ms);
	exchange->moved_bytes = moved;
}

static void exchange_report_end(struct exchange *exchange)
{
	if (exchange->is_reported)
		return;
	exchange->is_reported = true;
	timer_cancel(&exchange->timer);
	task_cancel(&exchange->task);
	exchange_finish_request(exchange, exchange->end_reason);
	exchange->client.ops->on_end(exchange->client.owner, exchange->end_reason);
}

void exchange_run(struct exchange *exchange)
{
	unsigned int n_before = exchange->n_requests;

	if (exchange->is_running) {
		exchange->run_again = true;
		return;
	}
	exchange->is_running = true;
	exchange->run_again = exchange->state != EXCHANGE_ENDED;
	while (exchange->run_again) {
		enum exchange_state next;

		exchange->run_again = false;
		next = exchange_steps[exchange->state](exchange);
		if (next == exchange->state)
			continue;
		exchange_goto(exchange, next);
		exchange->run_again = next != EXCHANGE_ENDED;
		if (next == EXCHANGE_HEAD &&
		    exchange->n_requests - n_before >= EXCHANGE_SHARE_REQUESTS) {
			loop_schedule(exchange->client.loop, &exchange->task);
			break;
		}
	}
	exchange->is_running = false;
	if (exchange->state == EXCHANGE_ENDED)
		exchange_report_end(exchange);
	else
		exchange_note_traffic(exchange);
}

/* From outside of exchange_run(). */
static void exchange_leave(struct exchange *exchange, enum exchange_state next)
{
	exchange_goto(exchange, next);
	exchange_run(exchange);
}

static enum exchange_state exchange_expire_relay(struct exchange *exchange)
{
	struct turn *turn = exchange->turn;
	bool is_client = turn_waits_for_client(exchange, turn);
	enum close_reason reason = is_client ? CLOSE_IDLE_TIMEOUT : CLOSE_ORIGIN_TIMEOUT;

	if (turn->is_head_sent || exchange->outbox.len_bytes)
		return exchange_cut(exchange, reason);
	return exchange_reply(exchange, is_client ? 408 : 504, reason, NULL);
}

/* Between requests: TLS has an end of its own (RFC 8446 section 6.1). */
static enum exchange_state exchange_end_idle(struct exchange *exchange, enum close_reason reason)
{
	exchange->end_reason = reason;
	return EXCHANGE_SHUT;
}

static enum exchange_state exchange_expire(struct exchange *exchange)
{
	switch (exchange->state) {
	case EXCHANGE_HEAD:
		if (exchange->is_request)
			return exchange_reply(exchange, 408, CLOSE_REQUEST_TIMEOUT, NULL);
		if (exchange->is_draining)
			return exchange_end_idle(exchange, CLOSE_SHUTDOWN);
		return exchange_end_idle(exchange, exchange->n_requests ? CLOSE_KEEPALIVE_TIMEOUT
									: CLOSE_REQUEST_TIMEOUT);
	case EXCHANGE_RELAY:
		return exchange_expire_relay(exchange);
	case EXCHANGE_LINGER:
		return exchange_end(exchange, exchange->end_reason);
	default:
		return exchange_end(exchange, CLOSE_IDLE_TIMEOUT);
	}
}

static void exchange_on_timer(struct timer *timer)
{
	struct exchange *exchange = container_of(timer, struct exchange, timer);
	uint64_t now_ms = loop_now_ms(exchange->client.loop);

	if (exchange->deadline_ms == 0)
		return;
	if (now_ms < exchange->deadline_ms)
		exchange_set_deadline(exchange, exchange->deadline_ms - now_ms);
	else
		exchange_leave(exchange, exchange_expire(exchange));
}

static void exchange_on_task(struct task *task)
{
	exchange_run(container_of(task, struct exchange, task));
}

/* RFC 7239 section 6.3 has a word for a client without an address. */
static const char *exchange_format_client(const struct exchange_client *client,
					  char text[ADDR_TEXT_MAX])
{
	struct addr room;
	const struct addr *peer = client->ops->get_peer(client->owner, &room);

	if (peer->len == 0 || peer->sa.sa_family == AF_UNIX)
		return "unknown";
	return addr_format_host(peer, text);
}

struct exchange *exchange_new(const struct exchange_client *client)
{
	char room[ADDR_TEXT_MAX];
	const char *text = exchange_format_client(client, room);
	size_t text_bytes = strlen(text) + 1;
	struct exchange *exchange = calloc(1, sizeof(*exchange) + text_bytes);

	if (!exchange)
		return NULL;
	exchange->client = *client;
	memcpy(exchange->client_text, text, text_bytes);
	timer_init(&exchange->timer, exchange_on_timer);
	task_init(&exchange->task, exchange_on_task);
	exchange_set_deadline(exchange, client->listener->request_timeout_ms);
	return exchange;
}

void exchange_drain(struct exchange *exchange)
{
	exchange->is_draining = true;
	if (exchange->state != EXCHANGE_HEAD || exchange->is_running)
		return;
	/* A request may be here already, and the loop has yet to tell. */
	exchange->client.io->readable = true;
	exchange_run(exchange);
	if (exchange->state != EXCHANGE_HEAD || exchange->is_request || exchange->inbox.len_bytes)
		return;
	if (exchange->n_requests)
		exchange_leave(exchange, exchange_end_idle(exchange, CLOSE_SHUTDOWN));
	else
		exchange_set_deadline(exchange, EXCHANGE_FRESH_MS);
}

void exchange_abort(struct exchange *exchange, enum close_reason reason)
{
	exchange->is_reported = true;
	exchange_finish_request(exchange, reason);
}

void exchange_free(struct exchange *exchange)
{
	if (!exchange)
		return;
	timer_cancel(&exchange->timer);
	task_cancel(&exchange->task);
	turn_free(exchange->turn);
	inbox_done(&exchange->inbox);
	outbox_done(&exchange->outbox);
	free(exchange->detail);
	free(exchange);
}
