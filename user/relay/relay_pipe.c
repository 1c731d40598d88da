/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread's pool of empty pipes. A pipe costs two descriptors and a system call each, so they
 * are kept; its pages exist only while bytes are in it.
 */
#include "relay/relay_internal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define RELAY_POOL_MAX 64
/* Past fs.pipe-user-pages-soft an unprivileged user gets pipes of two pages: copying is better than
 * those. */
#define RELAY_PIPE_WORTH_BYTES 65536

static _Thread_local struct relay_pipe *relay_pool;
static _Thread_local unsigned int relay_pool_len;

static void relay_pipe_free(struct relay_pipe *relay_pipe)
{
	close(relay_pipe->read_fd);
	close(relay_pipe->write_fd);
	free(relay_pipe);
}

static struct relay_pipe *relay_pipe_new(void)
{
	struct relay_pipe *relay_pipe = calloc(1, sizeof(*relay_pipe));
	int fds[2], size_bytes;

	if (!relay_pipe)
		return NULL;
	if (pipe2(fds, O_NONBLOCK | O_CLOEXEC)) {
		free(relay_pipe);
		return NULL;
	}
	relay_pipe->read_fd = fds[0];
	relay_pipe->write_fd = fds[1];
	size_bytes = fcntl(fds[1], F_SETPIPE_SZ, RELAY_PIPE_BYTES);
	if (size_bytes < 0)
		size_bytes = fcntl(fds[1], F_GETPIPE_SZ);
	if (size_bytes < RELAY_PIPE_WORTH_BYTES) {
		relay_pipe_free(relay_pipe);
		return NULL;
	}
	relay_pipe->size_bytes = (size_t)size_bytes;
	return relay_pipe;
}

bool relay_pipe_is_full(const struct relay_pipe *relay_pipe)
{
	struct pollfd slots = {.fd = relay_pipe->write_fd, .events = POLLOUT};

	return poll(&slots, 1, 0) == 0;
}

struct relay_pipe *relay_pipe_take(void)
{
	struct relay_pipe *relay_pipe = relay_pool;

	if (!relay_pipe)
		return relay_pipe_why_not() ? NULL : relay_pipe_new();
	relay_pool = relay_pipe->next;
	relay_pool_len--;
	return relay_pipe;
}

void relay_pipe_give(struct relay_pipe *relay_pipe, bool is_empty)
{
	if (!relay_pipe)
		return;
	if (!is_empty || relay_pool_len >= RELAY_POOL_MAX) {
		relay_pipe_free(relay_pipe);
		return;
	}
	relay_pipe->next = relay_pool;
	relay_pool = relay_pipe;
	relay_pool_len++;
}

void relay_thread_done(void)
{
	struct relay_pipe *next;

	sockmap_thread_done();
	relay_tide_thread_done();
	for (; relay_pool; relay_pool = next) {
		next = relay_pool->next;
		relay_pipe_free(relay_pool);
	}
	relay_pool_len = 0;
}
