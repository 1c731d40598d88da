/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening sockets: for every address one SO_REUSEPORT socket a thread, so that the kernel spreads
 * connections and no two threads wait on one queue. A UNIX address has one socket that all threads
 * share. A listener that stays in the configuration keeps its sockets over a reload, with what
 * waits in them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker_internal.h"

#define LISTEN_RETRY_MS 50

struct listener {
	struct list node;
	char *bind; /* as written */
	struct addr addr;
	bool is_wanted;
	bool is_new;
	struct conf_socket next_options; /* in force from listeners_commit() on */
	size_t n_fds;
	int fds[];
};

void listeners_init(struct listeners *listeners, size_t n_threads)
{
	list_init(&listeners->all);
	listeners->n_threads = n_threads;
}

static bool listener_is_unix(const struct listener *listener)
{
	return listener->addr.sa.sa_family == AF_UNIX;
}

static void listener_free(struct listener *listener)
{
	if (listener->n_fds && listener_is_unix(listener))
		unlink(listener->addr.un.sun_path);
	for (size_t i = 0; i < listener->n_fds; i++)
		close(listener->fds[i]);
	list_del(&listener->node);
	free(listener->bind);
	free(listener);
}

void listeners_done(struct listeners *listeners)
{
	list_for_each_safe (node, &listeners->all)
		listener_free(container_of(node, struct listener, node));
}

static int listen_set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) ? -errno : 0;
}

/* TCP, nonblocking. `shares`: other sockets may have the same address. */
static int listen_tcp(const struct addr *addr, bool shares)
{
	int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = listen_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (!err && shares)
		err = listen_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (!err && addr->sa.sa_family == AF_INET6)
		err = listen_set(fd, IPPROTO_IPV6, IPV6_V6ONLY,
				 !IN6_IS_ADDR_UNSPECIFIED(&addr->in6.sin6_addr));
	if (!err && bind(fd, &addr->sa, addr->len))
		err = -errno;
	if (!err && listen(fd, BROKER_BACKLOG))
		err = -errno;
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

/* Whoever left the socket is gone when nobody accepts connections there. */
static bool listen_is_stale(const struct sockaddr_un *un)
{
	struct stat st;
	bool is_stale;
	int fd;

	if (lstat(un->sun_path, &st) || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	is_stale = connect(fd, (const struct sockaddr *)un, sizeof(*un)) && errno == ECONNREFUSED;
	close(fd);
	return is_stale;
}

/* The file is made with the socket's own mode (net/unix/af_unix.c), so it is never open wider. */
static int bind_unix(int fd, const struct sockaddr_un *un, mode_t mode)
{
	mode_t mask = umask(0);
	int err = 0;

	if (fchmod(fd, mode) || bind(fd, (const struct sockaddr *)un, sizeof(*un)))
		err = -errno;
	umask(mask);
	return err;
}

int listen_unix(const char *path, mode_t mode)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd, err;

	if (strlen(path) >= sizeof(un.sun_path))
		return -ENAMETOOLONG;
	memcpy(un.sun_path, path, strlen(path));
	if (listen_is_stale(&un))
		unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	err = bind_unix(fd, &un, mode);
	if (!err && listen(fd, BROKER_BACKLOG)) {
		err = -errno;
		unlink(path);
	}
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

static int listener_open_unix(struct listener *listener, size_t n_threads)
{
	int fd = listen_unix(listener->addr.un.sun_path, 0666);

	while (fd >= 0) {
		listener->fds[listener->n_fds++] = fd;
		if (listener->n_fds == n_threads)
			return 0;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
	}
	return fd;
}

static int listener_open_tcp(struct listener *listener, size_t n_threads)
{
	while (listener->n_fds < n_threads) {
		int fd = listen_tcp(&listener->addr, true);

		if (fd < 0)
			return fd;
		listener->fds[listener->n_fds++] = fd;
	}
	return 0;
}

/*
 * SO_REUSEPORT would let us share the port with a stranger of the same user without a word, and
 * each would get some of the connections. So one socket that does not share tries first. Our own
 * sockets at that port would be in its way; then the port is known to be ours.
 */
static int listen_probe(const struct listeners *listeners, const struct addr *addr)
{
	int fd;

	list_for_each (node, &listeners->all) {
		struct listener *other = container_of(node, struct listener, node);

		if (!listener_is_unix(other) && addr_port(&other->addr) == addr_port(addr))
			return 0;
	}
	fd = listen_tcp(addr, false);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int listen_probe_patiently(const struct listeners *listeners, const struct addr *addr,
				  unsigned int patience_ms)
{
	const struct timespec pause = {.tv_nsec = LISTEN_RETRY_MS * 1000000};
	int err;

	for (;;) {
		err = listen_probe(listeners, addr);
		if (err != -EADDRINUSE || patience_ms < LISTEN_RETRY_MS)
			return err;
		patience_ms -= LISTEN_RETRY_MS;
		nanosleep(&pause, NULL);
	}
}

static struct listener *listener_new(const char *bind, const struct addr *addr, size_t n_threads)
{
	struct listener *listener = calloc(1, sizeof(*listener) + n_threads * sizeof(int));

	if (!listener)
		return NULL;
	list_init(&listener->node);
	listener->addr = *addr;
	listener->is_new = true;
	listener->is_wanted = true;
	listener->bind = strdup(bind);
	if (!listener->bind) {
		free(listener);
		return NULL;
	}
	return listener;
}

static int listeners_open(struct listeners *listeners, const char *bind, const struct addr *addr,
			  unsigned int patience_ms)
{
	struct listener *listener = listener_new(bind, addr, listeners->n_threads);
	int err;

	if (!listener)
		return -ENOMEM;
	if (listener_is_unix(listener)) {
		err = listener_open_unix(listener, listeners->n_threads);
	} else {
		err = listen_probe_patiently(listeners, addr, patience_ms);
		if (!err)
			err = listener_open_tcp(listener, listeners->n_threads);
	}
	if (err) {
		listener_free(listener);
		return err;
	}
	list_add_tail(&listener->node, &listeners->all);
	return 0;
}

static const char *listen_mend(int err)
{
	switch (err) {
	case -EADDRINUSE:
		return "; another program listens there: `ss -ltnp` names it";
	case -EADDRNOTAVAIL:
		return "; no device of this host has that address: `ip address` lists them";
	case -EACCES:
		return "; ports below 1024 and other users' folders are for root";
	case -EMFILE:
		return "; raise the limit of open files (LimitNOFILE= of the unit, or ulimit -n)";
	default:
		return "";
	}
}

static struct listener *listeners_find(const struct listeners *listeners, const char *bind)
{
	list_for_each (node, &listeners->all) {
		struct listener *listener = container_of(node, struct listener, node);

		if (strcmp(listener->bind, bind) == 0)
			return listener;
	}
	return NULL;
}

/* A listener whose routes all steer is served by the kernel and has no socket. */
static bool listen_needs_sockets(const struct conf_listener *conf)
{
	if (conf->transport != CONF_TRANSPORT_TCP)
		return false;
	for (size_t i = 0; i < conf->n_routes; i++)
		if (conf->routes[i].lane != CONF_LANE_STEER)
			return true;
	return false;
}

static void listeners_prepare_one(struct listeners *listeners, const struct conf_listener *conf,
				  unsigned int patience_ms, struct conf_diag *diag)
{
	for (size_t i = 0; i < conf->n_binds; i++) {
		const char *bind = conf->bind_texts[i];
		struct listener *kept = listeners_find(listeners, bind);
		int err = 0;

		if (kept)
			kept->is_wanted = true;
		else
			err = listeners_open(listeners, bind, &conf->binds[i], patience_ms);
		if (!err)
			listeners_find(listeners, bind)->next_options = conf->socket;
		if (err)
			conf_diag_add(diag, conf->mark, "cannot bind %s: %s%s", bind,
				      strerror(-err), listen_mend(err));
	}
}

int listeners_prepare(struct listeners *listeners, const struct conf *conf,
		      unsigned int patience_ms, struct conf_diag *diag)
{
	size_t errors = conf_diag_errors(diag);

	list_for_each (node, &listeners->all)
		container_of(node, struct listener, node)->is_wanted = false;
	for (size_t i = 0; i < conf->n_listeners; i++)
		if (listen_needs_sockets(&conf->listeners[i]))
			listeners_prepare_one(listeners, &conf->listeners[i], patience_ms, diag);
	if (conf_diag_errors(diag) == errors)
		return 0;
	listeners_undo(listeners);
	return -EADDRNOTAVAIL;
}

static void listener_set_options(const struct listener *listener)
{
	for (size_t i = 0; i < listener->n_fds; i++)
		broker_socket_set_options(listener->fds[i], &listener->next_options,
					  listener_is_unix(listener));
}

void listeners_commit(struct listeners *listeners)
{
	list_for_each_safe (node, &listeners->all) {
		struct listener *listener = container_of(node, struct listener, node);

		listener->is_new = false;
		if (!listener->is_wanted)
			listener_free(listener);
		else
			listener_set_options(listener);
	}
}

void listeners_undo(struct listeners *listeners)
{
	list_for_each_safe (node, &listeners->all) {
		struct listener *listener = container_of(node, struct listener, node);

		if (listener->is_new)
			listener_free(listener);
	}
}

int listeners_add_to(const struct listeners *listeners, struct bundle *bundle)
{
	list_for_each (node, &listeners->all) {
		const struct listener *listener = container_of(node, struct listener, node);

		for (size_t i = 0; listener->is_wanted && i < listener->n_fds; i++) {
			int fd = fcntl(listener->fds[i], F_DUPFD_CLOEXEC, 0);
			int err = fd < 0 ? -errno
					 : bundle_add(bundle, BUNDLE_LISTENER, listener->bind,
						      (uint32_t)i, fd);

			if (err)
				return err;
		}
	}
	return 0;
}
