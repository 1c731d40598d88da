/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded, as some agents and distributions do it: each TCP socket becomes one of MPTCP. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>

int socket(int family, int type, int protocol)
{
	int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");

	if ((family == AF_INET || family == AF_INET6) &&
	    (protocol == 0 || protocol == IPPROTO_TCP) &&
	    (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM)
		protocol = IPPROTO_MPTCP;
	return next(family, type, protocol);
}
