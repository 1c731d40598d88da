/* SPDX-License-Identifier: Apache-2.0 */
/* Who comes when the house is full is closed at once, so that nobody waits for an answer that may
 * never come. */
#include "base/desk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* For the question, and then for each stretch of the answer without progress. */
#define DESK_TIMEOUT_MS 5000
/* Where nobody can be accepted for want of descriptors or memory. */
#define DESK_REST_MS 100

enum desk_state { DESK_READING, DESK_WAITING, DESK_ANSWERING };

struct desk_client {
	struct list node;
	struct desk *desk;
	struct watch watch;
	struct timer timer; /* not armed while it waits */
	enum desk_state state;
	size_t line_len;
	char line[DESK_LINE_MAX];
	char *answer;
	size_t answer_len;
	size_t answer_sent;
};

struct desk {
	struct loop *loop;
	struct watch watch;
	struct timer rest_timer; /* armed while `watch` is not watched */
	struct desk_rules rules;
	struct list clients;
	size_t n_clients;
};

static void client_free(struct desk_client *client)
{
	loop_unwatch(client->desk->loop, &client->watch);
	timer_cancel(&client->timer);
	close(client->watch.fd);
	list_del(&client->node);
	client->desk->n_clients--;
	free(client->answer);
	free(client);
}

static void client_on_timeout(struct timer *timer)
{
	client_free(container_of(timer, struct desk_client, timer));
}

static void client_send(struct desk_client *client)
{
	while (client->answer_sent < client->answer_len) {
		ssize_t n =
		    send(client->watch.fd, client->answer + client->answer_sent,
			 client->answer_len - client->answer_sent, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		client->answer_sent += (size_t)n;
		loop_timer_arm(client->desk->loop, &client->timer, DESK_TIMEOUT_MS);
	}
	client_free(client);
}

void desk_answer(struct desk_client *client, char *text, size_t len_bytes)
{
	if (!text) {
		client_free(client);
		return;
	}
	client->state = DESK_ANSWERING;
	client->answer = text;
	client->answer_len = len_bytes;
	loop_timer_arm(client->desk->loop, &client->timer, DESK_TIMEOUT_MS);
	client_send(client);
}

static void client_receive(struct desk_client *client)
{
	struct desk_rules *rules = &client->desk->rules;

	while (client->line_len < sizeof(client->line)) {
		ssize_t n = recv(client->watch.fd, client->line + client->line_len,
				 sizeof(client->line) - client->line_len, MSG_DONTWAIT);
		char *end;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0)
			break;
		client->line_len += (size_t)n;
		end = memchr(client->line, '\n', client->line_len);
		if (end) {
			*end = 0;
			timer_cancel(&client->timer);
			client->state = DESK_WAITING;
			rules->on_line(rules->argument, client, client->line);
			return;
		}
	}
	client_free(client);
}

static void client_on_event(struct watch *watch, uint32_t events UNUSED)
{
	struct desk_client *client = container_of(watch, struct desk_client, watch);

	if (client->state == DESK_ANSWERING)
		client_send(client);
	else if (client->state == DESK_READING)
		client_receive(client);
}

static void desk_add(struct desk *desk, int fd)
{
	struct desk_client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->desk = desk;
	client->watch = (struct watch){.fd = fd, .on_event = client_on_event};
	timer_init(&client->timer, client_on_timeout);
	list_add_tail(&client->node, &desk->clients);
	desk->n_clients++;
	if (loop_watch(desk->loop, &client->watch, EPOLLIN | EPOLLOUT)) {
		client_free(client);
		return;
	}
	loop_timer_arm(desk->loop, &client->timer, DESK_TIMEOUT_MS);
}

static void desk_on_rested(struct timer *timer)
{
	struct desk *desk = container_of(timer, struct desk, rest_timer);

	if (loop_watch_level(desk->loop, &desk->watch, EPOLLIN))
		loop_timer_arm(desk->loop, timer, DESK_REST_MS);
}

/* Who waits stays in the queue, and the loop would tell of it for ever. */
static void desk_rest(struct desk *desk)
{
	loop_unwatch(desk->loop, &desk->watch);
	loop_timer_arm(desk->loop, &desk->rest_timer, DESK_REST_MS);
}

static void desk_on_accept(struct watch *watch, uint32_t events UNUSED)
{
	struct desk *desk = container_of(watch, struct desk, watch);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0 && errno != EAGAIN && errno != ECONNABORTED)
		desk_rest(desk);
	if (fd < 0)
		return;
	if (desk->n_clients >= DESK_CLIENTS_MAX)
		close(fd);
	else
		desk_add(desk, fd);
}

struct desk *desk_new(struct loop *loop, int listen_fd, const struct desk_rules *rules)
{
	struct desk *desk = calloc(1, sizeof(*desk));
	int err;

	if (!desk)
		return NULL;
	*desk = (struct desk){
	    .loop = loop, .watch = {.fd = listen_fd, .on_event = desk_on_accept}, .rules = *rules};
	list_init(&desk->clients);
	timer_init(&desk->rest_timer, desk_on_rested);
	err = loop_watch_level(loop, &desk->watch, EPOLLIN);
	if (err) {
		free(desk);
		errno = -err;
		return NULL;
	}
	return desk;
}

void desk_free(struct desk *desk)
{
	if (!desk)
		return;
	list_for_each_safe (node, &desk->clients)
		client_free(container_of(node, struct desk_client, node));
	timer_cancel(&desk->rest_timer);
	loop_unwatch(desk->loop, &desk->watch);
	free(desk);
}
