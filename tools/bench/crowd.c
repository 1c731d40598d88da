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

static int exchange_one(int fd)
{
	char sent[MESSAGE_BYTES], got[MESSAGE_BYTES];

	memset(sent, 'c', sizeof(sent));
	if (send(fd, sent, sizeof(sent), 0) != sizeof(sent))
		return -EIO;
	if (recv(fd, got, sizeof(got), MSG_WAITALL) != sizeof(got))
		return -EIO;
	return memcmp(sent, got, sizeof(got)) == 0 ? 0 : -EBADMSG;
}

static int join_one(const struct sockaddr_in *address)
{
	struct timeval patience = {.tv_sec = CROWD_PATIENCE_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		return -errno;
	return exchange_one(fd);
}

int crowd_open(const struct sockaddr_in *address, unsigned int n_conns)
{
	int ret = 0;

	for (unsigned int i = 0; i < n_conns && ret == 0; i++)
		ret = join_one(address);
	return ret;
}
