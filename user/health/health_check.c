/* SPDX-License-Identifier: Apache-2.0 */
/* One check: connect, TLS where it is asked for, say, listen, close. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "classify/proxy_protocol.h"
#include "health/health_internal.h"

void health_check_stop(struct health_target *target)
{
	if (!target->is_checking)
		return;
	target->is_checking = false;
	timer_cancel(&target->timeout_timer);
	loop_forget(target->health->loop, &target->io.watch);
	io_close(&target->io);
}

static void check_end(struct health_target *target, const char *error)
{
	char text[sizeof(target->error)];

	/* What tells may be the io's own, which is closed now. */
	snprintf(text, sizeof(text), "%s", error ? error : "");
	health_check_stop(target);
	health_target_checked(target, error ? text : NULL);
}

static void check_expire(struct timer *timer)
{
	struct health_target *target = container_of(timer, struct health_target, timeout_timer);

	check_end(target, target->is_connected ? "no answer in time" : "connect timed out");
}

/* Whoever speaks PROXY protocol to a server does so in its checks too. */
static int check_say_proxy(struct health_target *target)
{
	const struct proxy_facts facts = {
	    .is_local = true, .sni = STR(""), .alpn = STR(""), .unique_id = STR("")};
	uint8_t header[PROXY_PROTOCOL_MAX_BYTES];
	uint8_t version = target->origin->proxy_protocol == CONF_PROXY_PROTOCOL_V1 ? 1 : 2;
	int len = proxy_protocol_write(version, &facts, header, sizeof(header));
	struct iovec part = {header, (size_t)len};

	if (len < 0)
		return len;
	return io_send(&target->io, &part, 1, false) == len ? 0 : -EIO;
}

/* TLS goes on with the origin's own rules: a certificate that would be refused makes the server
 * useless. */
static int check_connected(struct health_target *target)
{
	struct snapshot *snapshot = target->health->snapshot;
	struct tls_client_ctx *context = snapshot->client_contexts[target->origin->index];
	int err = 0;

	target->is_connected = true;
	target->io.writable = true;
	if (target->origin->proxy_protocol != CONF_PROXY_PROTOCOL_OFF)
		err = check_say_proxy(target);
	if (!err && target->origin->health.check == CONF_CHECK_TLS && context)
		err = tls_start_client(&target->io, context,
				       target->origin->servers[target->server_index].host,
				       target->health->loop);
	return err;
}

static int check_say(struct health_target *target)
{
	const struct conf_health *conf = &target->origin->health;

	while (target->said_bytes < conf->send_len) {
		struct iovec part = {(char *)conf->send + target->said_bytes,
				     conf->send_len - target->said_bytes};
		ssize_t n = io_send(&target->io, &part, 1, false);

		if (n < 0)
			return (int)n;
		target->said_bytes += (size_t)n;
	}
	return 0;
}

/* 0: all that is expected was heard; -EAGAIN; -EBADMSG: something else was; -errno. */
static int check_hear(struct health_target *target)
{
	const struct conf_health *conf = &target->origin->health;
	char heard[512];

	while (target->heard_bytes < conf->expect_len) {
		size_t want = MIN(conf->expect_len - target->heard_bytes, sizeof(heard));
		ssize_t n = io_recv(&target->io, heard, want);

		if (n < 0)
			return (int)n;
		if (n == 0 || memcmp(heard, conf->expect + target->heard_bytes, (size_t)n) != 0)
			return -EBADMSG;
		target->heard_bytes += (size_t)n;
	}
	return 0;
}

static void check_talk(struct health_target *target)
{
	enum tls_progress progress = target->io.impl ? tls_handshake(&target->io) : TLS_READY;
	int err;

	if (progress == TLS_AGAIN)
		return;
	if (progress != TLS_READY) {
		check_end(target, tls_error(&target->io));
		return;
	}
	err = check_say(target);
	if (!err)
		err = check_hear(target);
	if (err == -EAGAIN)
		return;
	if (err == -EBADMSG)
		check_end(target, "the answer is not what is expected");
	else
		check_end(target, err ? strerror(-err) : NULL);
}

static void check_event(struct watch *watch, uint32_t events)
{
	struct io *io = container_of(watch, struct io, watch);
	struct health_target *target = container_of(io, struct health_target, io);
	socklen_t len = sizeof(int);
	int error = 0;

	io_note_events(io, events);
	if (!target->is_connected) {
		if (!io->writable)
			return;
		if (getsockopt(watch->fd, SOL_SOCKET, SO_ERROR, &error, &len))
			error = errno;
		if (!error)
			error = -check_connected(target);
		if (error) {
			check_end(target, strerror(error));
			return;
		}
	}
	check_talk(target);
}

static int check_open(struct health_target *target)
{
	int fd = socket(target->addr.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	io_init_plain(&target->io, fd);
	target->io.watch.on_event = check_event;
	err = connect(fd, &target->addr.sa, target->addr.len) && errno != EINPROGRESS ? -errno : 0;
	if (!err)
		err = loop_watch(target->health->loop, &target->io.watch,
				 EPOLLIN | EPOLLOUT | EPOLLRDHUP);
	if (err)
		io_close(&target->io);
	return err;
}

void health_check_start(struct health_target *target)
{
	int err;

	target->is_connected = false;
	target->said_bytes = 0;
	target->heard_bytes = 0;
	err = check_open(target);
	if (err) {
		health_target_checked(target, strerror(-err));
		return;
	}
	target->is_checking = true;
	timer_init(&target->timeout_timer, check_expire);
	loop_timer_arm(target->health->loop, &target->timeout_timer,
		       target->origin->health.timeout_ms);
}
