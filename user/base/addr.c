/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static int addr_parse_unix(struct str path, struct addr *ret_addr)
{
	struct addr addr = {.un.sun_family = AF_UNIX};

	if (path.len == 0 || path.len >= sizeof(addr.un.sun_path) || memchr(path.ptr, 0, path.len))
		return -EINVAL;
	memcpy(addr.un.sun_path, path.ptr, path.len);
	addr.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len + 1);
	*ret_addr = addr;
	return 0;
}

static int addr_parse_port(struct str text, uint16_t *ret_port)
{
	uint32_t port = 0;

	if (text.len == 0)
		return -EINVAL;
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < '0' || text.ptr[i] > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(text.ptr[i] - '0');
		if (port > 65535)
			return -ERANGE;
	}
	if (port == 0)
		return -ERANGE;
	*ret_port = (uint16_t)port;
	return 0;
}

int addr_parse_host(struct str text, struct addr *ret_addr)
{
	struct addr addr = {0};
	char host[INET6_ADDRSTRLEN];

	if (text.len == 0 || text.len >= sizeof(host) || memchr(text.ptr, 0, text.len))
		return -EINVAL;
	memcpy(host, text.ptr, text.len);
	host[text.len] = 0;
	if (inet_pton(AF_INET, host, &addr.in.sin_addr) == 1) {
		addr.in.sin_family = AF_INET;
		addr.len = sizeof(addr.in);
	} else if (inet_pton(AF_INET6, host, &addr.in6.sin6_addr) == 1) {
		addr.in6.sin6_family = AF_INET6;
		addr.len = sizeof(addr.in6);
	} else {
		return -EINVAL;
	}
	*ret_addr = addr;
	return 0;
}

/* Cuts "host:port" and "[host]:port"; a bare IPv6 address has more than one colon and is refused.
 */
static int addr_split(struct str text, struct str *ret_host, struct str *ret_port)
{
	const char *end = text.ptr + text.len;
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	struct str host;

	if (!colon)
		return -EINVAL;
	host = (struct str){text.ptr, (size_t)(colon - text.ptr)};
	if (host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = (struct str){host.ptr + 1, host.len - 2};
	else if (host.len && (host.ptr[0] == '[' || memchr(host.ptr, ':', host.len)))
		return -EINVAL;
	*ret_host = host;
	*ret_port = (struct str){colon + 1, (size_t)(end - colon - 1)};
	return 0;
}

int addr_parse(struct str text, struct addr *ret_addr)
{
	struct str host, port_text;
	struct addr addr = {.in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}};
	uint16_t port;
	int err;

	if (str_starts_with(text, STR("unix:")))
		return addr_parse_unix((struct str){text.ptr + 5, text.len - 5}, ret_addr);
	err = addr_split(text, &host, &port_text);
	if (err)
		return err;
	err = addr_parse_port(port_text, &port);
	if (err)
		return err;
	addr.len = sizeof(addr.in6);
	if (host.len) {
		err = addr_parse_host(host, &addr);
		if (err)
			return err;
	}
	if (addr.sa.sa_family == AF_INET)
		addr.in.sin_port = htons(port);
	else
		addr.in6.sin6_port = htons(port);
	*ret_addr = addr;
	return 0;
}

uint16_t addr_port(const struct addr *addr)
{
	switch (addr->sa.sa_family) {
	case AF_INET:
		return ntohs(addr->in.sin_port);
	case AF_INET6:
		return ntohs(addr->in6.sin6_port);
	default:
		return 0;
	}
}

const char *addr_format_host(const struct addr *addr, char text[ADDR_TEXT_MAX])
{
	const struct in6_addr *in6 = &addr->in6.sin6_addr;

	text[0] = 0;
	if (addr->len == 0)
		return text;
	switch (addr->sa.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &addr->in.sin_addr, text, ADDR_TEXT_MAX);
		break;
	case AF_INET6:
		if (IN6_IS_ADDR_V4MAPPED(in6))
			inet_ntop(AF_INET, &in6->s6_addr[12], text, ADDR_TEXT_MAX);
		else
			inet_ntop(AF_INET6, in6, text, ADDR_TEXT_MAX);
		break;
	case AF_UNIX:
		snprintf(text, ADDR_TEXT_MAX, "unix:%s", addr->un.sun_path);
		break;
	default:
		break;
	}
	return text;
}

const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX])
{
	char host[ADDR_TEXT_MAX];

	addr_format_host(addr, host);
	if (addr->len == 0 || addr->sa.sa_family == AF_UNIX)
		memcpy(text, host, ADDR_TEXT_MAX);
	else if (strchr(host, ':'))
		snprintf(text, ADDR_TEXT_MAX, "[%.*s]:%u", INET6_ADDRSTRLEN, host, addr_port(addr));
	else
		snprintf(text, ADDR_TEXT_MAX, "%.*s:%u", INET6_ADDRSTRLEN, host, addr_port(addr));
	return text;
}

bool addr_is_equal(const struct addr *a, const struct addr *b)
{
	if (a->len != b->len)
		return false;
	return a->len == 0 || memcmp(&a->sa, &b->sa, a->len) == 0;
}
