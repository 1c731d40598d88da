/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket addresses: IPv4, IPv6, UNIX. Pure: names are never resolved here.
 */
#ifndef PENSTOCK_BASE_ADDR_H
#define PENSTOCK_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/compiler.h"
#include "base/str.h"

struct addr {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	};
	socklen_t len; /* 0: no address */
};

/* "[" 45 digits "%" zone "]:65535", or "unix:" and a path. */
#define ADDR_TEXT_MAX 128

/*
 * "192.0.2.1:80", "[2001:db8::1]:80", ":80" (any address, IPv6 with IPv4 mapped), "unix:/path".
 * 0, or -EINVAL (no such form), -ERANGE (port not 1 to 65535).
 */
int addr_parse(struct str text, struct addr *ret_addr) MUST_CHECK;

/* "192.0.2.1", "2001:db8::1": an address without port (port 0). 0 or -EINVAL. */
int addr_parse_host(struct str text, struct addr *ret_addr) MUST_CHECK;

/* Writes the form that addr_parse() reads, terminated; returns `text`. */
const char *addr_format(const struct addr *addr, char text[ADDR_TEXT_MAX]);

/* As addr_format() without the port and brackets. An IPv4-mapped IPv6 address is written as IPv4.
 */
const char *addr_format_host(const struct addr *addr, char text[ADDR_TEXT_MAX]);

/* 0 for a UNIX address. */
uint16_t addr_port(const struct addr *addr);

bool addr_is_equal(const struct addr *a, const struct addr *b);

#endif
