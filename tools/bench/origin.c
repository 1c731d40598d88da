/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The origin of the load tool: an endless source that starts at the first byte it gets, an echo of
 * small messages, and HTTP/1.1 over plain TCP or TLS whose path is the length of the answer's body
 * (GET /128, PUT /128). It is as cheap as it can be, so that what is measured is the proxy: it
 * trusts its clients, and must not meet others.
 */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BODY_BYTES_MAX (64u << 20)
#define SENDS_MAX 4 /* of a source, before others get their turn */

enum service { SERVICE_SOURCE, SERVICE_ECHO, SERVICE_HTTP, SERVICE_HTTPS, SERVICE_MAX };

static const char *const service_names[SERVICE_MAX] = {"source", "echo", "http", "https"};

/* A listener has its descriptor in `link` and `listening` set. */
struct peer {
	struct link link;
	enum service service;
	bool listening;
	bool ready; /* the handshake is over */
	bool writing; /* EPOLLOUT is asked for */
	const char *out;
	size_t out_len;
	size_t head_len;
	size_t body_left; /* of a request, from when its head is complete */
	size_t answer_bytes;
	char head[HEAD_BYTES];
};

/* Responses are made once and kept: head and body in one piece. */
struct response {
	struct response *next;
	size_t body_bytes;
	size_t len_bytes;
	char data[];
};

static char scratch[SCRATCH_BYTES];
static struct response *responses;
static SSL_CTX *server_tls;
static int epoll_fd;

static struct response *response_get(size_t body_bytes)
{
	struct response *response;
	int head;

	for (response = responses; response; response = response->next)
		if (response->body_bytes == body_bytes)
			return response;
	if (body_bytes > BODY_BYTES_MAX)
		return NULL;
	response = malloc(sizeof(*response) + body_bytes + 128);
	if (!response)
		return NULL;
	head =
	    snprintf(response->data, 128,
		     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
		     body_bytes);
	memset(response->data + head, 'x', body_bytes);
	response->body_bytes = body_bytes;
	response->len_bytes = (size_t)head + body_bytes;
	response->next = responses;
	responses = response;
	return response;
}

static int watch(struct peer *peer, int operation, bool writing)
{
	struct epoll_event event = {.events = EPOLLIN | (writing ? EPOLLOUT : 0u),
				    .data.ptr = peer};

	peer->writing = writing;
	return epoll_ctl(epoll_fd, operation, peer->link.fd, &event) < 0 ? -errno : 0;
}

static void peer_close(struct peer *peer)
{
	link_done(&peer->link);
	free(peer);
}

static void peer_accept(struct peer *listener)
{
	int fd = accept4(listener->link.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	SSL_CTX *tls = listener->service == SERVICE_HTTPS ? server_tls : NULL;
	struct peer *peer;

	if (fd < 0)
		return;
	peer = calloc(1, sizeof(*peer));
	if (!peer || link_init(&peer->link, fd, tls, NULL) < 0) {
		free(peer);
		close(fd);
		return;
	}
	peer->service = listener->service;
	if (watch(peer, EPOLL_CTL_ADD, false) < 0)
		peer_close(peer);
}

/* Sends what is pending; a source never ends. */
static int peer_write(struct peer *peer)
{
	for (int i = 0; i < SENDS_MAX && peer->out_len > 0; i++) {
		ssize_t n = link_write(&peer->link, peer->out, peer->out_len);

		if (n == -EAGAIN)
			break;
		if (n <= 0)
			return -EPIPE;
		if (peer->service == SERVICE_SOURCE)
			continue;
		peer->out += n;
		peer->out_len -= (size_t)n;
	}
	if (peer->writing != (peer->out_len > 0))
		return watch(peer, EPOLL_CTL_MOD, peer->out_len > 0);
	return 0;
}

static int answer(struct peer *peer)
{
	struct response *response = response_get(peer->answer_bytes);

	if (!response)
		return -ENOMEM;
	peer->out = response->data;
	peer->out_len = response->len_bytes;
	return peer_write(peer);
}

/* Returns how many of the bytes belong to the head; `peer->answer_bytes` is set when it is
 * complete. */
static ssize_t take_head(struct peer *peer, const char *data, size_t len)
{
	size_t before = peer->head_len, room = sizeof(peer->head) - 1 - before;
	size_t used = len < room ? len : room;
	const char *end, *length;

	memcpy(peer->head + before, data, used);
	peer->head_len += used;
	peer->head[peer->head_len] = '\0';
	end = strstr(peer->head, "\r\n\r\n");
	if (!end)
		return used == len ? (ssize_t)used : -EMSGSIZE;
	if (strncmp(peer->head, "GET /", 5) != 0 && strncmp(peer->head, "PUT /", 5) != 0)
		return -EBADMSG;
	length = strcasestr(peer->head, "\r\ncontent-length:");
	peer->body_left = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
	peer->answer_bytes = strtoul(peer->head + 5, NULL, 10);
	peer->head_len = 0;
	return end + 4 - (peer->head + before);
}

static int take_http(struct peer *peer, const char *data, size_t len)
{
	while (len > 0) {
		size_t body = len < peer->body_left ? len : peer->body_left;
		ssize_t used = (ssize_t)body;

		peer->body_left -= body;
		if (body == 0)
			used = take_head(peer, data, len);
		if (used < 0)
			return (int)used;
		data += used;
		len -= (size_t)used;
		if (peer->head_len == 0 && peer->body_left == 0)
			return len == 0 ? answer(peer) : -EBADMSG; /* nobody here pipelines */
	}
	return 0;
}

static int peer_take(struct peer *peer, const char *data, size_t len)
{
	switch (peer->service) {
	case SERVICE_SOURCE:
		peer->out = scratch;
		peer->out_len = sizeof(scratch);
		return peer_write(peer);
	case SERVICE_ECHO:
		return link_write(&peer->link, data, len) == (ssize_t)len ? 0 : -EPIPE;
	default:
		return take_http(peer, data, len);
	}
}

static int peer_read(struct peer *peer)
{
	ssize_t n;
	int ret;

	do {
		n = link_read(&peer->link, scratch, sizeof(scratch));
		if (n == -EAGAIN)
			return 0;
		if (n <= 0)
			return -ECONNRESET;
		ret = peer_take(peer, scratch, (size_t)n);
	} while (ret == 0 && peer->link.ssl && SSL_pending(peer->link.ssl) > 0);
	return ret;
}

static int peer_event(struct peer *peer, uint32_t events)
{
	int ret = 0;

	if (!peer->ready) {
		ret = link_handshake(&peer->link);
		if (ret < 0)
			return ret == -EAGAIN ? 0 : ret;
		peer->ready = true;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		ret = peer_read(peer);
	if (ret == 0 && (events & EPOLLOUT))
		ret = peer_write(peer);
	return ret;
}

static int listen_on(const char *text)
{
	const char *equals = strchr(text, '=');
	struct sockaddr_in address;
	struct peer *listener;
	unsigned int service;
	int one = 1;

	if (!equals || address_parse(equals + 1, &address) < 0)
		return -EINVAL;
	for (service = 0; service < SERVICE_MAX; service++)
		if (strlen(service_names[service]) == (size_t)(equals - text) &&
		    strncmp(service_names[service], text, (size_t)(equals - text)) == 0)
			break;
	if (service == SERVICE_MAX || (service == SERVICE_HTTPS && !server_tls))
		return -EINVAL;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ENOMEM;
	listener->service = (enum service)service;
	listener->listening = true;
	listener->link.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(listener->link.fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener->link.fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(listener->link.fd, 4096) < 0)
		return -errno;
	return watch(listener, EPOLL_CTL_ADD, false);
}

static int serve(void)
{
	struct epoll_event events[64];

	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n; i++) {
			struct peer *peer = events[i].data.ptr;

			if (peer->listening)
				peer_accept(peer);
			else if (peer_event(peer, events[i].events) < 0)
				peer_close(peer);
		}
	}
}

int origin_main(int argc, char **argv)
{
	int ret = 0;
	int option;

	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	memset(scratch, 's', sizeof(scratch));
	while ((option = getopt(argc, argv, "k:")) != -1)
		if (option != 'k' || !(server_tls = link_server_context(optarg)))
			return 2;
	for (int i = optind; i < argc && ret == 0; i++)
		ret = listen_on(argv[i]);
	if (ret == 0 && optind < argc)
		ret = serve();
	fprintf(stderr, "load: origin: %s\n", ret < 0 ? strerror(-ret) : "nothing to listen on");
	return 1;
}
