/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

int rig_listen(struct addr *ret_addr, int backlog)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct addr addr = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(struct sockaddr_in)};

	assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
	assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, &addr.sa, &addr.len), 0);
	*ret_addr = addr;
	return fd;
}

void rig_setup(struct fixture *fixture, size_t n_servers)
{
	*fixture = (struct fixture){.loop = loop_new()};
	assert_non_null(fixture->loop);
	fixture->table = origin_table_new(fixture->loop);
	assert_non_null(fixture->table);
	for (size_t i = 0; i < n_servers; i++)
		fixture->listeners[i] = rig_listen(&fixture->servers[i].addr, 4096);
	fixture->origin = (struct conf_origin){.name = "o",
					       .identity = "o1",
					       .servers = fixture->servers,
					       .n_servers = n_servers,
					       .connect_timeout_ms = 10000,
					       .retries = 2,
					       .keepalive_ms = 1000,
					       .max_idle = 2};
	fixture->origins[0] = &fixture->origin;
	fixture->conf.origins = fixture->origins;
	fixture->conf.n_origins = 1;
}

void rig_teardown(struct fixture *fixture)
{
	origin_table_free(fixture->table);
	loop_free(fixture->loop);
	for (size_t i = 0; i < RIG_SERVERS; i++)
		rig_refuse(fixture, i);
}

void rig_refuse(struct fixture *fixture, size_t server)
{
	if (fixture->listeners[server])
		close(fixture->listeners[server]);
	fixture->listeners[server] = 0;
}

struct origin_view *rig_view(struct fixture *fixture)
{
	struct origin_view *view =
	    origin_view_new(fixture->table, &fixture->conf, fixture->contexts);

	assert_non_null(view);
	return view;
}

void rig_on_ready(struct origin_request *request, struct origin_conn *conn,
		  enum close_reason reason, const char *detail)
{
	struct wish *wish = container_of(request, struct wish, request);

	wish->conn = conn;
	wish->reason = reason;
	wish->answers++;
	snprintf(wish->detail, sizeof(wish->detail), "%s", detail ? detail : "");
}

void rig_ask(struct fixture *fixture, struct origin_view *view, struct wish *wish,
	     const struct addr *client)
{
	*wish = (struct wish){.request = {.on_ready = rig_on_ready, .client = client}};
	origin_acquire(origin_view_get(view, &fixture->origin), &wish->request);
}

void rig_turn(struct fixture *fixture, int n)
{
	for (int i = 0; i < n; i++)
		assert_int_equal(loop_run_once(fixture->loop, 5), 0);
}

void rig_await(struct fixture *fixture, struct wish *wish)
{
	uint64_t until_ms = clock_now_ms() + 10000;

	while (!wish->answers && clock_now_ms() < until_ms)
		assert_int_equal(loop_run_once(fixture->loop, 10), 0);
	assert_int_equal(wish->answers, 1);
}

void rig_acquire(struct fixture *fixture, struct origin_view *view, struct wish *wish)
{
	rig_ask(fixture, view, wish, NULL);
	rig_await(fixture, wish);
}

size_t rig_server_of(const struct fixture *fixture, const struct origin_conn *conn)
{
	for (size_t i = 0; i < RIG_SERVERS; i++) {
		char text[ADDR_TEXT_MAX];

		addr_format(&fixture->servers[i].addr, text);
		if (strcmp(text, conn->server_text) == 0)
			return i;
	}
	fail_msg("%s is no server", conn->server_text);
	return SIZE_MAX;
}

size_t rig_visit(struct fixture *fixture, struct origin_view *view, const struct addr *client)
{
	struct wish wish;
	size_t server;

	rig_ask(fixture, view, &wish, client);
	rig_await(fixture, &wish);
	assert_non_null(wish.conn);
	server = rig_server_of(fixture, wish.conn);
	origin_discard(wish.conn);
	return server;
}

struct server *rig_shared(const struct fixture *fixture, size_t server)
{
	struct server *shared =
	    server_get(fixture->origin.identity, &fixture->servers[server].addr);

	assert_non_null(shared);
	return shared;
}
