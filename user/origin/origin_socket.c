/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets toward servers: options that the configuration asks for, the address that they come
 * from. Options that this kernel lacks are left out; a source that the host does not have is an
 * error. */
#include <errno.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "origin/origin_internal.h"

static void origin_set(int fd, int level, int option, uint32_t value)
{
	(void)setsockopt(fd, level, option, &value, sizeof(value));
}

static void origin_set_options(int fd, const struct conf_socket *conf, bool writes_first)
{
	origin_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (conf->keepalive_idle_s) {
		origin_set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		origin_set(fd, IPPROTO_TCP, TCP_KEEPIDLE, conf->keepalive_idle_s);
	}
	if (conf->keepalive_interval_s)
		origin_set(fd, IPPROTO_TCP, TCP_KEEPINTVL, conf->keepalive_interval_s);
	if (conf->keepalive_count)
		origin_set(fd, IPPROTO_TCP, TCP_KEEPCNT, conf->keepalive_count);
	if (conf->user_timeout_ms)
		origin_set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, conf->user_timeout_ms);
	/* The kernel takes twice what is asked for, up to twice net.core.rmem_max and wmem_max. */
	if (conf->receive_buffer_bytes)
		origin_set(fd, SOL_SOCKET, SO_RCVBUF, conf->receive_buffer_bytes / 2);
	if (conf->send_buffer_bytes)
		origin_set(fd, SOL_SOCKET, SO_SNDBUF, conf->send_buffer_bytes / 2);
	/* The SYN waits for the first write: without one nothing would ever be connected. */
	if (conf->fast_open && writes_first)
		origin_set(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1);
}

/* The port is chosen by connect(2), which may take one that is in use toward other servers. */
static int origin_bind(int fd, const struct addr *source)
{
	origin_set(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	return bind(fd, &source->sa, source->len) ? -errno : 0;
}

int origin_socket(const struct conf_origin *conf, const struct addr *addr, bool writes_first)
{
	int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	if (addr->sa.sa_family == AF_UNIX)
		return fd;
	origin_set_options(fd, &conf->socket, writes_first);
	if (conf->source.len == 0 || conf->source.sa.sa_family != addr->sa.sa_family)
		return fd;
	err = origin_bind(fd, &conf->source);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
