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

/* The first word after the keyword; its length is 0 where there is none. */
static struct str conf_line_word(struct str line)
{
	size_t at = STR(CONF_KEYWORD).len, blank, end;

	if (!str_starts_with(line, STR(CONF_KEYWORD)))
		return (struct str){0};
	blank = at;
	while (at < line.len && (line.ptr[at] == ' ' || line.ptr[at] == '\t'))
		at++;
	if (at == blank)
		return (struct str){0};
	end = at;
	while (end < line.len && !strchr(" \t\r", line.ptr[end]))
		end++;
	return (struct str){line.ptr + at, end - at};
}

/* The address of a line that names a server, as c-ares takes it; false: there is none. */
static bool conf_line_server(struct str line, char text[CONF_SERVER_MAX])
{
	struct str found = conf_line_word(line);
	char word[INET6_ADDRSTRLEN], address[INET6_ADDRSTRLEN];
	struct in6_addr parsed;
	bool is_ipv4;

	if (found.len == 0 || found.len >= sizeof(word))
		return false;
	memcpy(word, found.ptr, found.len);
	word[found.len] = 0;
	is_ipv4 = inet_pton(AF_INET, word, &parsed) == 1;
	if (!is_ipv4 && inet_pton(AF_INET6, word, &parsed) != 1)
		return false;
	if (!inet_ntop(is_ipv4 ? AF_INET : AF_INET6, &parsed, address, sizeof(address)))
		return false;
	snprintf(text, CONF_SERVER_MAX, is_ipv4 ? "%s:53" : "[%s]:53", address);
	return true;
}

/* The next line; moves on behind it. */
static struct str conf_take_line(struct str *text)
{
	const char *newline = memchr(text->ptr, '\n', text->len);
	struct str line = {text->ptr, newline ? (size_t)(newline - text->ptr) : text->len};
	size_t passed = line.len + (newline ? 1 : 0);

	*text = (struct str){text->ptr + passed, text->len - passed};
	return line;
}

bool resolve_conf_find_scoped(const char *text, size_t len_bytes,
			      char ret_server[RESOLVE_SCOPED_MAX])
{
	struct str rest = {text, len_bytes};

	while (rest.len) {
		struct str found = conf_line_word(conf_take_line(&rest));

		if (!found.len || !memchr(found.ptr, '%', found.len))
			continue;
		snprintf(ret_server, RESOLVE_SCOPED_MAX, "%.*s",
			 (int)MIN(found.len, (size_t)RESOLVE_SCOPED_MAX), found.ptr);
		return true;
	}
	return false;
}

void resolve_conf_servers(const char *text, size_t len_bytes, char ret_servers[RESOLVE_SERVERS_MAX])
{
	struct str rest = {text, len_bytes};
	size_t used = 0;

	ret_servers[0] = 0;
	while (rest.len) {
		char server[CONF_SERVER_MAX];

		if (conf_line_server(conf_take_line(&rest), server) &&
		    used + strlen(server) + 2 < RESOLVE_SERVERS_MAX)
			used +=
			    (size_t)sprintf(ret_servers + used, "%s%s", used ? "," : "", server);
	}
}
