/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What hosts(5) says: a line is an address and the names that it has. A name may stand in several
 * lines. It goes before DNS, as "hosts: files dns" of nsswitch.conf(5) has it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "resolve/resolve_internal.h"

#define HOSTS_BLANKS " \t\r"

/* The next word of the line before `end`, or NULL. */
static const char *hosts_word(const char **at, const char *end, size_t *ret_len)
{
	const char *word;

	while (*at < end && strchr(HOSTS_BLANKS, **at))
		++*at;
	word = *at;
	while (*at < end && !strchr(HOSTS_BLANKS, **at) && **at != '#')
		++*at;
	*ret_len = (size_t)(*at - word);
	return *ret_len ? word : NULL;
}

static int hosts_parse_addr(const char *word, size_t len, struct addr *ret_addr)
{
	char text[INET6_ADDRSTRLEN];

	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, word, len);
	text[len] = 0;
	*ret_addr = (struct addr){.in = {.sin_family = AF_INET}, .len = sizeof(ret_addr->in)};
	if (inet_pton(AF_INET, text, &ret_addr->in.sin_addr) == 1)
		return 0;
	*ret_addr = (struct addr){.in6 = {.sin6_family = AF_INET6}, .len = sizeof(ret_addr->in6)};
	return inet_pton(AF_INET6, text, &ret_addr->in6.sin6_addr) == 1 ? 0 : -EINVAL;
}

static bool hosts_line_names(const char *at, const char *end, const char *host)
{
	const char *word;
	size_t len;

	while ((word = hosts_word(&at, end, &len)))
		if (len == strlen(host) && strncasecmp(word, host, len) == 0)
			return true;
	return false;
}

static void hosts_look(const char *text, size_t text_len, const char *host,
		       struct resolve_answer *answer)
{
	const char *line = text, *end = text + text_len;

	while (line < end) {
		const char *line_end = memchr(line, '\n', (size_t)(end - line));
		const char *at = line, *word;
		struct addr addr;
		size_t len;

		line_end = line_end ? line_end : end;
		word = hosts_word(&at, line_end, &len);
		if (word && hosts_line_names(at, line_end, host) &&
		    !hosts_parse_addr(word, len, &addr))
			resolve_answer_add(answer, &addr);
		line = line_end + 1;
	}
}

/* RFC 6761, 6.3: these names are always this host, and DNS is not asked. */
static bool host_is_local(const char *host)
{
	static const char local[] = "localhost";
	size_t len = strlen(host), local_len = sizeof(local) - 1;

	if (len < local_len || strcasecmp(host + len - local_len, local) != 0)
		return false;
	return len == local_len || host[len - local_len - 1] == '.';
}

static void hosts_add_loopback(struct resolve_answer *answer)
{
	const struct addr in = {
	    .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
	    .len = sizeof(in.in)};
	const struct addr in6 = {
	    .in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT},
	    .len = sizeof(in6.in6)};

	resolve_answer_add(answer, &in);
	resolve_answer_add(answer, &in6);
}

void resolver_find_host(const struct resolver *resolver, const char *host,
			struct resolve_answer *ret_answer)
{
	ret_answer->n_addrs = 0;
	if (resolver->hosts)
		hosts_look(resolver->hosts, resolver->hosts_len, host, ret_answer);
	if (ret_answer->n_addrs == 0 && host_is_local(host))
		hosts_add_loopback(ret_answer);
}
