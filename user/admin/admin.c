/* SPDX-License-Identifier: Apache-2.0 */
/* Clients of the runtime socket: at most some at a time, each bounded in bytes and in time. */
#include "admin/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADMIN_CLIENTS_MAX 32
#define ADMIN_LINE_MAX 256
/* For the whole exchange: the question, and then each stretch without progress of the answer. */
#define ADMIN_TIMEOUT_MS 5000

struct admin_client {
	struct list node;
	struct admin *admin;
	struct watch watch;
	struct timer timer;
	size_t line_len;
	char line[ADMIN_LINE_MAX];
	char *answer; /* NULL: the line is not complete */
	size_t answer_len;
	size_t answer_sent;
};

struct admin {
	struct loop *loop;
	struct watch watch;
	struct admin_handlers handlers;
	struct list clients;
	size_t n_clients;
};

struct admin_command {
	const char *name;
	json_t *(*run)(struct admin *admin);
};

static json_t *admin_run_status(struct admin *admin)
{
	return admin->handlers.status(admin->handlers.argument);
}

static json_t *admin_run_flows(struct admin *admin)
{
	return admin->handlers.flows(admin->handlers.argument);
}

static const struct admin_command admin_commands[] = {
    {"status", admin_run_status},
    {"flows", admin_run_flows},
};

static json_t *admin_run_unknown(void)
{
	json_t *names = json_array();

	for (size_t i = 0; i < ARRAY_LEN(admin_commands); i++)
		json_array_append_new(names, json_string(admin_commands[i].name));
	return json_pack("{s:s, s:o}", "error", "unknown command", "commands", names);
}

static json_t *admin_run(struct admin *admin, const char *line)
{
	for (size_t i = 0; i < ARRAY_LEN(admin_commands); i++)
		if (strcmp(admin_commands[i].name, line) == 0)
			return admin_commands[i].run(admin);
	return admin_run_unknown();
}

static void admin_client_free(struct admin_client *client)
{
	loop_unwatch(client->admin->loop, &client->watch);
	timer_cancel(&client->timer);
	close(client->watch.fd);
	list_del(&client->node);
	client->admin->n_clients--;
	free(client->answer);
	free(client);
}

static void admin_client_on_timeout(struct timer *timer)
{
	admin_client_free(container_of(timer, struct admin_client, timer));
}

static void admin_client_send(struct admin_client *client)
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
		loop_timer_arm(client->admin->loop, &client->timer, ADMIN_TIMEOUT_MS);
	}
	admin_client_free(client);
}

/* A document as text with the end of a line; NULL: no memory. Takes `document` over, also NULL. */
static char *admin_format(json_t *document, size_t *ret_len)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

	json_decref(document);
	if (!text)
		return NULL;
	*ret_len = strlen(text);
	text[(*ret_len)++] = '\n'; /* in the place of the end mark */
	return text;
}

static void admin_client_answer(struct admin_client *client)
{
	client->answer = admin_format(admin_run(client->admin, client->line), &client->answer_len);
	if (client->answer)
		admin_client_send(client);
	else
		admin_client_free(client);
}

static void admin_client_receive(struct admin_client *client)
{
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
			admin_client_answer(client);
			return;
		}
	}
	admin_client_free(client);
}

static void admin_client_on_event(struct watch *watch, uint32_t events UNUSED)
{
	struct admin_client *client = container_of(watch, struct admin_client, watch);

	if (client->answer)
		admin_client_send(client);
	else
		admin_client_receive(client);
}

static void admin_add(struct admin *admin, int fd)
{
	struct admin_client *client = calloc(1, sizeof(*client));

	if (!client) {
		close(fd);
		return;
	}
	client->admin = admin;
	client->watch = (struct watch){.fd = fd, .on_event = admin_client_on_event};
	timer_init(&client->timer, admin_client_on_timeout);
	list_add_tail(&client->node, &admin->clients);
	admin->n_clients++;
	if (loop_watch(admin->loop, &client->watch, EPOLLIN | EPOLLOUT)) {
		admin_client_free(client);
		return;
	}
	loop_timer_arm(admin->loop, &client->timer, ADMIN_TIMEOUT_MS);
}

/* Who comes when the house is full is closed at once, so that nobody waits for an answer that may
 * never come. */
static void admin_on_accept(struct watch *watch, uint32_t events UNUSED)
{
	struct admin *admin = container_of(watch, struct admin, watch);
	int fd = accept4(watch->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (admin->n_clients >= ADMIN_CLIENTS_MAX)
		close(fd);
	else
		admin_add(admin, fd);
}

struct admin *admin_new(struct loop *loop, int listen_fd, const struct admin_handlers *handlers)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	int err = admin ? 0 : -ENOMEM;

	if (!err) {
		*admin = (struct admin){.loop = loop,
					.watch = {.fd = listen_fd, .on_event = admin_on_accept},
					.handlers = *handlers};
		list_init(&admin->clients);
		err = loop_watch_level(loop, &admin->watch, EPOLLIN);
	}
	if (err) {
		close(listen_fd);
		free(admin);
		errno = -err;
		return NULL;
	}
	return admin;
}

void admin_free(struct admin *admin)
{
	if (!admin)
		return;
	list_for_each_safe (node, &admin->clients)
		admin_client_free(container_of(node, struct admin_client, node));
	loop_unwatch(admin->loop, &admin->watch);
	close(admin->watch.fd);
	free(admin);
}
