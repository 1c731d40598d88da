/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for what the other end of a connection did. It is not here yet when its send() or
 * close() has returned: over loopback, too, a softirq delivers it, which a busy machine defers.
 */
#ifndef TESTS_UNIT_AWAIT_H
#define TESTS_UNIT_AWAIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <linux/bpf.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

/* Only a failing test waits that long. */
#define AWAIT_MS 30000

/* One of these events of poll(2), an error or a hangup. */
static inline void await_events(int fd, short events)
{
	struct pollfd wait = {.fd = fd, .events = events};

	assert_int_equal(poll(&wait, 1, AWAIT_MS), 1);
	assert_int_equal(wait.revents & POLLNVAL, 0);
}

/* Bytes, the end of the stream, an error or, where it listens, a connection. */
static inline void await_readable(int fd)
{
	await_events(fd, POLLIN);
}

static inline void await_reset(int fd)
{
	await_events(fd, 0);
}

/* Whether the stream has ended here, or is broken. */
static inline bool await_has_ended(int fd)
{
	struct pollfd end = {.fd = fd, .events = POLLRDHUP};

	return poll(&end, 1, 0) == 1;
}

/* Whether what one end has sent, or its closing (-1: it is closed), is still to arrive at the
 * other. An acknowledgement would say so too, but may be held back for 40 ms. */
static inline bool await_is_under_way(int from, int to)
{
	struct tcp_info sent, got;
	socklen_t len = sizeof(sent);

	if (to < 0 || await_has_ended(to))
		return false;
	if (from < 0)
		return true;
	assert_int_equal(getsockopt(from, IPPROTO_TCP, TCP_INFO, &sent, &len), 0);
	assert_int_equal(getsockopt(to, IPPROTO_TCP, TCP_INFO, &got, &len), 0);
	return sent.tcpi_bytes_sent - sent.tcpi_bytes_retrans > got.tcpi_bytes_received ||
	       (sent.tcpi_state != BPF_TCP_ESTABLISHED && sent.tcpi_state != BPF_TCP_CLOSE_WAIT);
}

/* All that `from` has sent is at `to`, but for what has no room there. */
static inline void await_delivery(int from, int to)
{
	for (int waited_ms = 0; await_is_under_way(from, to); waited_ms++) {
		assert_true(waited_ms < AWAIT_MS);
		poll(NULL, 0, 1);
	}
}

static inline int await_accept(int listener)
{
	int fd;

	await_readable(listener);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

#endif
