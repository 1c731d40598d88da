/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name servers of a resolv.conf(5). Search domains and options are c-ares' own affair, which
 * reads them when it starts.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "resolve/resolve_internal.h"

#define CONF_KEYWORD "nameserver"

/* "[2001:db8::53]:53" */
#define CONF_SERVER_MAX (INET6_ADDRSTRLEN + 6)

/* The address of a line that names a server, as c-ares takes it; false: there is none. */
static bool conf_line_server(const char *line, size_t len, char text[CONF_SERVER_MAX])
{
	char copy[sizeof(CONF_KEYWORD) + 2 * INET6_ADDRSTRLEN], word[2 * INET6_ADDRSTRLEN];
	char address[INET6_ADDRSTRLEN];
	struct in6_addr parsed;
	bool is_ipv4;

	if (len >= sizeof(copy))
		return false;
	memcpy(copy, line, len);
	copy[len] = 0;
	if (sscanf(copy, CONF_KEYWORD "%*[ \t]%91[^ \t\r]", word) != 1)
		return false;
	is_ipv4 = inet_pton(AF_INET, word, &parsed) == 1;
	if (!is_ipv4 && inet_pton(AF_INET6, word, &parsed) != 1)
		return false;
	if (!inet_ntop(is_ipv4 ? AF_INET : AF_INET6, &parsed, address, sizeof(address)))
		return false;
	snprintf(text, CONF_SERVER_MAX, is_ipv4 ? "%s:53" : "[%s]:53", address);
	return true;
}

void resolve_conf_servers(const char *text, size_t len_bytes, char ret_servers[RESOLVE_SERVERS_MAX])
{
	const char *end = text + len_bytes;
	size_t used = 0;

	ret_servers[0] = 0;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		char server[CONF_SERVER_MAX];

		if (conf_line_server(text, (size_t)(line_end - text), server) &&
		    used + strlen(server) + 2 < RESOLVE_SERVERS_MAX)
			used +=
			    (size_t)sprintf(ret_servers + used, "%s%s", used ? "," : "", server);
		text = newline ? newline + 1 : end;
	}
}
