/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A crowd of connections that are open and silent, beside those that client.c measures. Each made
 * one exchange, so that whatever a proxy sets up with the first bytes is there.
 */
#include "load.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define CROWD_PATIENCE_S 10

static int exchange_message(int fd)
{
	char sent[MESSAGE_BYTES], got[MESSAGE_BYTES];

	memset(sent, 'c', sizeof(sent));
	if (send(fd, sent, sizeof(sent), 0) != sizeof(sent))
		return -EIO;
	if (recv(fd, got, sizeof(got), MSG_WAITALL) != sizeof(got))
		return -EIO;
	return memcmp(sent, got, sizeof(got)) == 0 ? 0 : -EBADMSG;
}

/* A whole response: its head, and a body of the length that was asked for. */
static bool response_is_whole(const char *data, size_t len_bytes, size_t body_bytes)
{
	const char *end = memmem(data, len_bytes, "\r\n\r\n", 4);

	return end && (size_t)(data + len_bytes - (end + 4)) >= body_bytes;
}

/* Over TLS; the socket blocks, so every call is done when it returns. */
static int exchange_request(const struct crowd *crowd, int fd)
{
	char got[HEAD_BYTES + 65536];
	struct link link;
	size_t len = 0;
	int ret = link_init(&link, fd, crowd->tls, crowd->server_name);

	if (ret == 0)
		ret = link_handshake(&link);
	if (ret < 0)
		return ret;
	if (link_write(&link, crowd->request, crowd->request_len) != (ssize_t)crowd->request_len)
		return -EIO;
	while (!response_is_whole(got, len, crowd->body_bytes)) {
		ssize_t n = link_read(&link, got + len, sizeof(got) - len);

		if (n <= 0)
			return -EIO;
		len += (size_t)n;
	}
	return memcmp(got, "HTTP/1.1 200", 12) == 0 ? 0 : -EBADMSG;
}

static int join_one(const struct crowd *crowd)
{
	struct timeval patience = {.tv_sec = CROWD_PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)crowd->address, sizeof(*crowd->address)) < 0)
		return -errno;
	return crowd->tls ? exchange_request(crowd, fd) : exchange_message(fd);
}

int crowd_open(const struct crowd *crowd)
{
	int ret = 0;

	for (unsigned int i = 0; i < crowd->n_conns && ret == 0; i++)
		ret = join_one(crowd);
	return ret;
}
