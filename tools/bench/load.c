/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The load tool of the benchmark: `load client` makes traffic and measures it, `load origin`
 * answers it. One thread and one epoll loop each. It knows nothing of proxies and namespaces;
 * bench.py puts it where it belongs.
 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int address_parse(const char *text, struct sockaddr_in *ret_address)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	const char *colon = strrchr(text, ':');
	char host[INET_ADDRSTRLEN];
	unsigned long port;
	char *end;

	if (!colon || (size_t)(colon - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(colon - text));
	host[colon - text] = '\0';
	port = strtoul(colon + 1, &end, 10);
	if (end == colon + 1 || *end || port == 0 || port > UINT16_MAX)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
		return -EINVAL;
	address.sin_port = htons((uint16_t)port);
	*ret_address = address;
	return 0;
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc >= 2 && strcmp(argv[1], "client") == 0)
		return client_main(argc - 1, argv + 1);
	if (argc >= 2 && strcmp(argv[1], "origin") == 0)
		return origin_main(argc - 1, argv + 1);
	fputs("usage: load client -m bulk|rr|short|http|put [-c CONNECTIONS] [-i IDLE] [-w "
	      "WARMUP_S] [-d DURATION_S] [-b BODY_BYTES]\n"
	      "                   [-t CA_FILE -s SERVER_NAME] [-p PID,PID...] ADDRESS:PORT\n"
	      "       load origin [-k PEM_FILE] source|echo|http|https=ADDRESS:PORT...\n",
	      stderr);
	return 2;
}
