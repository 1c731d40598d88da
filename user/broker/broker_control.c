/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commands for the broker: a client writes one line, waits, and reads the answer until the end. The
 * only command is "reload". The socket is for root alone, still each client is bounded in bytes and
 * time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "broker/broker_internal.h"

#define CONTROL_CLIENTS_MAX 16
#define CONTROL_LINE_MAX 64
#define CONTROL_READ_MS 5000
/* What a fresh UNIX socket takes without blocking, with room to spare. */
#define CONTROL_ANSWER_MAX 65536

enum client_state {
	CLIENT_READING,
	CLIENT_WAITING, /* asked for a reload that has not begun */
	CLIENT_SERVED, /* the reload under way is its own */
};

struct client {
	struct list node;
	struct control *control;
	struct watch watch;
	struct timer timer;
	enum client_state state;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

struct control {
	struct loop *loop;
	struct watch watch;
	struct list clients;
	size_t n_clients;
	void (*on_reload)(void *argument);
	void *argument;
};

static void client_free(struct client *client)
{
	loop_unwatch(client->control->loop, &client->watch);
	timer_cancel(&client->timer);
	close(client->watch.fd);
	list_del(&client->node);
	client->control->n_clients--;
	free(client);
}

/* Best effort: who asked and does not read gets what the socket takes. */
static void client_answer(struct client *client, const char *text)
{
	size_t len = strnlen(text, CONTROL_ANSWER_MAX);
	ssize_t n = send(client->watch.fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);

	(void)n;
	client_free(client);
}

static void client_obey(struct client *client)
{
	struct control *control = client->control;

	if (strcmp(client->line, "reload") != 0) {
		client_answer(client, "unknown command; there is: reload\n");
		return;
	}
	timer_cancel(&client->timer);
	client->state = CLIENT_WAITING;
	control->on_reload(control->argument);
}

static void client_on_event(struct watch *watch, uint32_t events UNUSED)
{
	struct client *client = container_of(watch, struct client, watch);

	while (client->state == CLIENT_READING) {
		ssize_t n = recv(watch->fd, client->line + client->len,
				 sizeof(client->line) - client->len, MSG_DONTWAIT);
		char *end;

		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			client_free(client);
			return;
		}
		client->len += (size_t)n;
		end = memchr(client->line, '\n', client->len);
		if (end) {
			*end = 0;
			client_obey(client);
			return;
		}
		if (client->len == sizeof(client->line)) {
			client_answer(client, "line too long\n");
			return;
		}
	}
}

static void client_on_timeout(struct timer *timer)
{
	client_free(container_of(timer, struct client, timer));
}

static void control_add(struct control *control, int fd)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->control = control;
	client->watch = (struct watch){.fd = fd, .on_event = client_on_event};
	timer_init(&client->timer, client_on_timeout);
	list_add_tail(&client->node, &control->clients);
	control->n_clients++;
	if (loop_watch(control->loop, &client->watch, EPOLLIN | EPOLLRDHUP)) {
		client_free(client);
		return;
	}
	loop_timer_arm(control->loop, &client->timer, CONTROL_READ_MS);
}

static void control_on_accept(struct watch *watch, uint32_t events UNUSED)
{
	struct control *control = container_of(watch, struct control, watch);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (control->n_clients >= CONTROL_CLIENTS_MAX)
		close(fd);
	else
		control_add(control, fd);
}

struct control *control_new(struct loop *loop, int listen_fd, void (*on_reload)(void *argument),
			    void *argument)
{
	struct control *control = calloc(1, sizeof(*control));

	if (!control)
		return NULL;
	*control = (struct control){.loop = loop,
				    .watch = {.fd = listen_fd, .on_event = control_on_accept},
				    .on_reload = on_reload,
				    .argument = argument};
	list_init(&control->clients);
	if (loop_watch_level(loop, &control->watch, EPOLLIN)) {
		free(control);
		return NULL;
	}
	return control;
}

void control_free(struct control *control)
{
	if (!control)
		return;
	list_for_each_safe (node, &control->clients)
		client_free(container_of(node, struct client, node));
	loop_unwatch(control->loop, &control->watch);
	free(control);
}

void control_begin(struct control *control)
{
	list_for_each (node, &control->clients) {
		struct client *client = container_of(node, struct client, node);

		if (client->state == CLIENT_WAITING)
			client->state = CLIENT_SERVED;
	}
}

void control_answer(struct control *control, const char *text)
{
	list_for_each_safe (node, &control->clients) {
		struct client *client = container_of(node, struct client, node);

		if (client->state == CLIENT_SERVED)
			client_answer(client, text);
	}
}
