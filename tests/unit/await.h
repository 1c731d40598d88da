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
#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
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

/* All that was sent here is at the other end, or the connection is broken. */
static inline void await_delivery(int fd)
{
	struct pollfd broken = {.fd = fd};
	int unacked = 1;

	for (int waited_ms = 0; unacked && poll(&broken, 1, 0) == 0; waited_ms++) {
		assert_true(waited_ms < AWAIT_MS);
		assert_int_equal(ioctl(fd, SIOCOUTQ, &unacked), 0);
		if (unacked)
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
