/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../await.h"
#include "http/h1.h"

/* Rounds of 10 ms without the awaited thing: only a failing test waits that long. */
#define RIG_PATIENCE 1000

static struct rig *rig_now;

static void rig_pair(int fds[2])
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int on = 1;

	assert_return_code(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), errno);
	assert_return_code(listen(listener, 1), errno);
	assert_return_code(getsockname(listener, (struct sockaddr *)&addr, &len), errno);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(fds[0], (struct sockaddr *)&addr, sizeof(addr)), errno);
	fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	for (int i = 0; i < 2; i++) {
		assert_return_code(fcntl(fds[i], F_SETFL, O_NONBLOCK), errno);
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	close(listener);
}

static void rig_on_client(struct watch *watch, uint32_t events)
{
	struct io *io = container_of(watch, struct io, watch);
	struct rig *rig = container_of(io, struct rig, client_io);

	io_note_events(io, events);
	exchange_run(rig->exchange);
}

static void rig_copy(char *to, size_t size, struct str from)
{
	snprintf(to, size, "%.*s", STR_ARG(from));
}

static void rig_on_request(void *owner, const struct exchange_record *record)
{
	struct rig *rig = owner;
	struct rig_record *kept = &rig->records[rig->n_records++ % RIG_RECORDS];

	kept->record = *record;
	rig_copy(kept->method, sizeof(kept->method), record->method);
	rig_copy(kept->host, sizeof(kept->host), record->host);
	rig_copy(kept->path, sizeof(kept->path), record->path);
	rig_copy(kept->relay, sizeof(kept->relay), str_from(record->relay));
	rig_copy(kept->detail, sizeof(kept->detail), str_from(record->detail));
	rig_copy(kept->server, sizeof(kept->server), str_from(record->server));
}

static void rig_on_end(void *owner, enum close_reason reason)
{
	struct rig *rig = owner;

	rig->n_ends++;
	rig->end_reason = reason;
}

static const struct addr *rig_get_peer(void *owner UNUSED, struct addr *room)
{
	assert_int_equal(addr_parse_host(STR("127.0.0.1"), room), 0);
	return room;
}

static struct route_seen rig_get_seen(void *owner, struct addr *room)
{
	return (struct route_seen){.sni = STR(""), .source = rig_get_peer(owner, room)};
}

static void rig_configure(struct rig *rig)
{
	static const char *const paths[] = {"/private", "/x", NULL};

	rig->origin = (struct conf_origin){.name = "o", .response_timeout_ms = 60000};
	for (size_t i = 0; i < ARRAY_LEN(rig->routes); i++)
		rig->routes[i] = (struct conf_route){.lane = CONF_LANE_TERMINATE,
						     .host = "a.test",
						     .path = paths[i],
						     .origin = &rig->origin};
	rig->listener = (struct conf_listener){.routes = rig->routes,
					       .n_routes = ARRAY_LEN(rig->routes),
					       .request_timeout_ms = 60000,
					       .keepalive_ms = 60000,
					       .idle_timeout_ms = 60000};
}

struct rig *rig_new(void)
{
	static const struct exchange_client_ops ops = {.get_peer = rig_get_peer,
						       .get_seen = rig_get_seen,
						       .on_request = rig_on_request,
						       .on_end = rig_on_end};
	struct rig *rig = calloc(1, sizeof(*rig));
	struct exchange_client client;
	int fds[2];

	assert_non_null(rig);
	rig_now = rig;
	rig->loop = loop_new();
	assert_non_null(rig->loop);
	rig_configure(rig);
	rig_pair(fds);
	io_init_plain(&rig->client_io, fds[1]);
	rig->client = (struct rig_end){.fd = fds[0], .peer = &rig->client_io};
	rig->client_io.watch.on_event = rig_on_client;
	client = (struct exchange_client){.ops = &ops,
					  .owner = rig,
					  .io = &rig->client_io,
					  .loop = rig->loop,
					  .listener = &rig->listener};
	rig->exchange = exchange_new(&client);
	assert_non_null(rig->exchange);
	assert_int_equal(
	    loop_watch(rig->loop, &rig->client_io.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP), 0);
	rig_settle(rig);
	return rig;
}

static void rig_end_done(struct rig_end *end)
{
	if (end->fd >= 0)
		close(end->fd);
	end->fd = -1;
	free(end->data);
}

void rig_free(struct rig *rig)
{
	exchange_free(rig->exchange);
	if (rig->pooled)
		origin_discard(rig->pooled);
	assert_true(rig->n_ends <= 1);
	assert_int_equal(rig->n_discarded, rig->n_origins);
	loop_unwatch(rig->loop, &rig->client_io.watch);
	io_close(&rig->client_io);
	rig_end_done(&rig->client);
	for (size_t i = 0; i < rig->n_origins; i++)
		rig_end_done(&rig->origins[i]);
	loop_free(rig->loop);
	relay_thread_done();
	free(rig);
}

static bool rig_end_is_busy(const struct rig_end *end)
{
	int peer = end->peer ? end->peer->watch.fd : -1;

	return await_is_under_way(end->fd, peer) || await_is_under_way(peer, end->fd);
}

static bool rig_is_busy(const struct rig *rig)
{
	bool busy = rig_end_is_busy(&rig->client);

	for (size_t i = 0; i < rig->n_origins; i++)
		busy = busy || rig_end_is_busy(&rig->origins[i]);
	return busy;
}

/* What arrives can be answered at once: quiet twice is quiet. */
void rig_settle(struct rig *rig)
{
	for (int i = 0, n_quiet = 0; i < RIG_PATIENCE && n_quiet < 2; i++) {
		n_quiet = rig_is_busy(rig) ? 0 : n_quiet + 1;
		if (!n_quiet)
			usleep(1000);
		for (int k = 0; k < 20; k++)
			assert_int_equal(loop_run_once(rig->loop, 0), 0);
	}
}

/* As the owner does: not from inside the callback. */
static void rig_close_ended(struct rig *rig)
{
	if (!rig->n_ends || rig->client_io.watch.fd < 0)
		return;
	loop_unwatch(rig->loop, &rig->client_io.watch);
	exchange_free(rig->exchange);
	rig->exchange = NULL;
	io_close(&rig->client_io);
}

static void rig_round(struct rig *rig)
{
	assert_int_equal(loop_run_once(rig->loop, 10), 0);
	rig_close_ended(rig);
}

void rig_await_end(struct rig *rig)
{
	for (int i = 0; i < RIG_PATIENCE && !rig->n_ends; i++)
		rig_round(rig);
	rig_close_ended(rig);
	assert_int_equal(rig->n_ends, 1);
}

void rig_await_records(struct rig *rig, size_t n)
{
	for (int i = 0; i < RIG_PATIENCE && rig->n_records < n; i++)
		rig_round(rig);
	assert_int_equal(rig->n_records, n);
}

size_t rig_try_write(struct rig_end *end, const char *data, size_t len_bytes)
{
	ssize_t n = send(end->fd, data, len_bytes, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n > 0 ? (size_t)n : 0;
}

void rig_write_bytes(struct rig_end *end, const char *data, size_t len_bytes)
{
	assert_int_equal(rig_try_write(end, data, len_bytes), len_bytes);
}

void rig_write(struct rig_end *end, const char *text)
{
	rig_write_bytes(end, text, strlen(text));
}

void rig_close(struct rig_end *end)
{
	close(end->fd);
	end->fd = -1;
}

void rig_reset(struct rig_end *end)
{
	struct linger linger = {.l_onoff = 1};

	setsockopt(end->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	rig_close(end);
}

static void rig_poll(struct rig_end *end)
{
	ssize_t n;

	if (end->fd < 0 || end->is_ended)
		return;
	do {
		if (end->size_bytes - end->len_bytes < 65536) {
			end->size_bytes = end->size_bytes * 2 + 65536;
			end->data = realloc(end->data, end->size_bytes);
			assert_non_null(end->data);
		}
		n = recv(end->fd, end->data + end->len_bytes, end->size_bytes - end->len_bytes,
			 MSG_DONTWAIT);
		if (n > 0)
			end->len_bytes += (size_t)n;
	} while (n > 0);
	end->is_ended = n == 0 || (n < 0 && errno != EAGAIN);
	if (n < 0 && errno != EAGAIN)
		end->error = errno;
}

void rig_read(struct rig *rig, struct rig_end *end, size_t len_bytes)
{
	rig_poll(end);
	for (int i = 0; i < RIG_PATIENCE && end->len_bytes < len_bytes && !end->is_ended; i++) {
		rig_round(rig);
		rig_poll(end);
	}
}

void rig_read_end(struct rig *rig, struct rig_end *end)
{
	rig_read(rig, end, SIZE_MAX);
	assert_true(end->is_ended);
}

void rig_expect_at(struct rig *rig, struct rig_end *end, const char *text, int line)
{
	size_t len = strlen(text);

	rig_read(rig, end, len);
	rig_settle(rig);
	rig_close_ended(rig);
	rig_poll(end);
	if (end->len_bytes != len || memcmp(end->data, text, len) != 0)
		fail_msg("line %d: got %zu bytes:\n%.*s\nexpected %zu:\n%s", line, end->len_bytes,
			 (int)end->len_bytes, end->data ? end->data : "", len, text);
	end->len_bytes = 0;
}

void rig_expect_status(struct rig *rig, unsigned int status, bool closes)
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

void rig_serve_one(struct rig *rig)
{
	rig_write(&rig->client, RIG_GET);
	rig_settle(rig);
	rig_expect(rig, &rig->origins[0], RIG_GET_SEEN);
	rig_write(&rig->origins[0], RIG_OK);
	rig_expect(rig, &rig->client, RIG_OK);
	assert_int_equal(rig->n_released, 1);
}

void rig_expect_nothing(struct rig *rig, struct rig_end *end)
{
	rig_settle(rig);
	rig_poll(end);
	assert_int_equal(end->len_bytes, 0);
}

static void rig_on_origin(struct watch *watch, uint32_t events)
{
	struct io *io = container_of(watch, struct io, watch);
	struct origin_conn *conn = container_of(io, struct origin_conn, io);

	io_note_events(io, events);
	if (conn->on_event)
		conn->on_event(conn);
}

static struct origin_conn *rig_connect(struct rig *rig)
{
	struct origin_conn *conn = calloc(1, sizeof(*conn));
	int fds[2];

	assert_non_null(conn);
	assert_true(rig->n_origins < RIG_CONNS);
	rig_pair(fds);
	io_init_plain(&conn->io, fds[1]);
	rig->origins[rig->n_origins++] = (struct rig_end){.fd = fds[0], .peer = &conn->io};
	conn->io.watch.on_event = rig_on_origin;
	conn->io.writable = true;
	conn->server_text = "192.0.2.9:80";
	assert_int_equal(loop_watch(rig->loop, &conn->io.watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP),
			 0);
	return conn;
}

void rig_answer(struct rig *rig)
{
	struct origin_request *wish = rig->waiting;
	struct origin_conn *conn = wish->fresh ? NULL : rig->pooled;

	rig->waiting = NULL;
	if (rig->refuses) {
		char detail[] = "of the moment";

		wish->on_ready(wish, NULL, rig->refuses, detail);
		return;
	}
	if (conn) {
		rig->pooled = NULL;
		conn->reused = true;
	} else {
		conn = rig_connect(rig);
	}
	wish->on_ready(wish, conn, CLOSE_DONE, NULL);
}

struct origin *origin_view_get(struct origin_view *view UNUSED, const struct conf_origin *conf)
{
	return (struct origin *)conf;
}

void origin_acquire(struct origin *origin, struct origin_request *request)
{
	assert_ptr_equal(origin, &rig_now->origin);
	rig_now->n_acquired++;
	rig_now->waiting = request;
	rig_now->must_be_alive = request->must_be_alive;
	/* Another module may use the scratch. */
	memset(loop_scratch(rig_now->loop), 'Z', LOOP_SCRATCH_BYTES);
	if (!rig_now->holds_answer)
		rig_answer(rig_now);
}

void origin_cancel(struct origin_request *request)
{
	if (rig_now->waiting == request)
		rig_now->waiting = NULL;
}

void origin_release(struct origin_conn *conn)
{
	rig_now->n_released++;
	if (rig_now->pooled)
		origin_discard(rig_now->pooled);
	conn->on_event = NULL;
	conn->owner = NULL;
	rig_now->pooled = conn;
}

void origin_discard(struct origin_conn *conn)
{
	for (size_t i = 0; i < rig_now->n_origins; i++)
		if (rig_now->origins[i].peer == &conn->io)
			rig_now->origins[i].peer = NULL;
	rig_now->n_discarded++;
	loop_unwatch(rig_now->loop, &conn->io.watch);
	io_close(&conn->io);
	free(conn);
}
