/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options of listening sockets. TCP_NODELAY, keep-alive and TCP_USER_TIMEOUT are set here because
 * accepted sockets inherit them, so they cost nothing per connection. An option that this kernel
 * does not know leaves the socket as it was.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "broker/broker_internal.h"

static void socket_set(int fd, int level, int name, uint32_t value)
{
	int number = (int)value;

	(void)setsockopt(fd, level, name, &number, sizeof(number));
}

static void socket_set_keepalive(int fd, const struct conf_socket *options)
{
	socket_set(fd, SOL_SOCKET, SO_KEEPALIVE, options->keepalive_idle_s != 0);
	if (options->keepalive_idle_s == 0)
		return;
	socket_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, options->keepalive_idle_s);
	if (options->keepalive_interval_s)
		socket_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, options->keepalive_interval_s);
	if (options->keepalive_count)
		socket_set(fd, IPPROTO_TCP, TCP_KEEPCNT, options->keepalive_count);
}

/* The kernel takes twice what is asked for. Without the option it chooses again by itself, from
 * where the buffers are now (SO_BUF_LOCK, Linux 5.14). */
static void socket_set_buffers(int fd, const struct conf_socket *options)
{
	socket_set(fd, SOL_SOCKET, SO_BUF_LOCK, 0);
	if (options->receive_buffer_bytes)
		socket_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, options->receive_buffer_bytes / 2);
	if (options->send_buffer_bytes)
		socket_set(fd, SOL_SOCKET, SO_SNDBUFFORCE, options->send_buffer_bytes / 2);
}

void broker_socket_set_options(int fd, const struct conf_socket *options, bool is_unix)
{
	uint32_t backlog = options->backlog ? options->backlog : BROKER_BACKLOG;

	(void)listen(fd,
		     (int)MIN(backlog, 65535u)); /* on a listening socket only its bound changes */
	if (is_unix)
		return;
	socket_set_keepalive(fd, options);
	socket_set_buffers(fd, options);
	socket_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	socket_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, options->user_timeout_ms);
	socket_set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, options->defer_accept_s);
	socket_set(fd, IPPROTO_TCP, TCP_FASTOPEN, options->fast_open ? backlog : 0);
}
