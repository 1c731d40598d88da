/* SPDX-License-Identifier: Apache-2.0 */
/* c-ares on our event loop: it says which sockets it waits for, and we say when they are ready or
 * time is over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "resolve/resolve_internal.h"

#define RESOLVER_TIMEOUT_MS 2000
#define RESOLVER_TRIES 3

static void resolver_ready(struct watch *watch, uint32_t events)
{
	struct resolver_socket *slot = container_of(watch, struct resolver_socket, watch);
	struct resolver *resolver = slot->resolver;
	ares_socket_t readable =
	    events & (EPOLLIN | EPOLLERR | EPOLLHUP) ? watch->fd : ARES_SOCKET_BAD;
	ares_socket_t writable = events & EPOLLOUT ? watch->fd : ARES_SOCKET_BAD;

	ares_process_fd(resolver->channel, readable, writable);
	resolver_rearm(resolver);
}

static struct resolver_socket *resolver_find(struct resolver *resolver, int fd)
{
	for (size_t i = 0; i < RESOLVER_MAX_SOCKETS; i++)
		if (resolver->sockets[i].watch.fd == fd)
			return &resolver->sockets[i];
	return NULL;
}

/* The interest of a socket changed; both false: c-ares closes it now. Where it cannot be watched
 * the question times out and is asked again. */
static void resolver_interest(void *argument, ares_socket_t fd, int readable, int writable)
{
	struct resolver *resolver = argument;
	struct resolver_socket *slot = resolver_find(resolver, fd);
	uint32_t events = (readable ? EPOLLIN : 0) | (writable ? EPOLLOUT : 0);

	if (slot)
		loop_unwatch(resolver->loop, &slot->watch);
	else
		slot = resolver_find(resolver, -1);
	if (!slot)
		return;
	slot->watch.fd = fd;
	if (events == 0 || loop_watch_level(resolver->loop, &slot->watch, events))
		slot->watch.fd = -1;
}

static void resolver_expire(struct timer *timer)
{
	struct resolver *resolver = container_of(timer, struct resolver, timer);

	ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	resolver_rearm(resolver);
}

void resolver_rearm(struct resolver *resolver)
{
	struct timeval wait;

	if (!ares_timeout(resolver->channel, NULL, &wait)) {
		timer_cancel(&resolver->timer);
		return;
	}
	loop_timer_arm(resolver->loop, &resolver->timer,
		       (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000 + 1);
}

static int resolver_errno(int status)
{
	return status == ARES_ENOMEM ? ENOMEM : EINVAL;
}

struct resolver *resolver_new(struct loop *loop, const char *servers)
{
	struct resolver *resolver = calloc(1, sizeof(*resolver));
	struct ares_options options = {.timeout = RESOLVER_TIMEOUT_MS,
				       .tries = RESOLVER_TRIES,
				       .lookups = (char *)"b",
				       .sock_state_cb = resolver_interest,
				       .sock_state_cb_data = resolver};
	int status;

	if (!resolver)
		return NULL;
	resolver->loop = loop;
	list_init(&resolver->names);
	timer_init(&resolver->timer, resolver_expire);
	for (size_t i = 0; i < RESOLVER_MAX_SOCKETS; i++)
		resolver->sockets[i] = (struct resolver_socket){
		    .watch = {.fd = -1, .on_event = resolver_ready}, .resolver = resolver};
	status = ares_library_init(ARES_LIB_INIT_ALL);
	if (status == ARES_SUCCESS)
		status = ares_init_options(&resolver->channel, &options,
					   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
					       ARES_OPT_SOCK_STATE_CB);
	if (status == ARES_SUCCESS && servers)
		status = ares_set_servers_ports_csv(resolver->channel, servers);
	if (status != ARES_SUCCESS || (servers && strlen(servers) >= sizeof(resolver->servers))) {
		resolver_free(resolver);
		errno = resolver_errno(status);
		return NULL;
	}
	if (servers)
		memcpy(resolver->servers, servers, strlen(servers) + 1);
	return resolver;
}

void resolver_free(struct resolver *resolver)
{
	if (!resolver)
		return;
	timer_cancel(&resolver->timer);
	if (resolver->channel)
		ares_destroy(resolver->channel);
	ares_library_cleanup();
	free(resolver->hosts);
	free(resolver);
}
