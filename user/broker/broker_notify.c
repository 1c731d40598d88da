/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol of sd_notify(3), in the few lines that it takes: a root process should not load a
 * library for it, and must not wait for a service manager that does not read, as that call does.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/broker_internal.h"

static void notify_send(const struct sockaddr_un *un, socklen_t un_len, const char *text,
			size_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ssize_t sent;

	if (fd < 0)
		return;
	sent =
	    sendto(fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)un, un_len);
	(void)sent; /* who does not listen misses it */
	close(fd);
}

void notify(const char *format, ...)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	size_t len = path ? strlen(path) : 0;
	char text[256];
	va_list args;
	int n;

	if (len < 2 || len >= sizeof(un.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(un.sun_path, path, len);
	if (path[0] == '@')
		un.sun_path[0] = 0; /* the abstract namespace */
	va_start(args, format);
	n = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (n > 0 && (size_t)n < sizeof(text))
		notify_send(&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len), text,
			    (size_t)n);
}
