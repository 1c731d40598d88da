/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts with addresses: ports, where to listen, servers, networks. Pure: names are not looked up.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "conf/conf_internal.h"

#define CONF_PORT_MAX 65535
#define CONF_NO_UNIX_PATH \
	"is not a UNIX socket; write a path of 1 to 107 bytes, as in \"unix:/run/web.sock\""

/* ---- Ports ---- */

int conf_ports_parse(struct str text, uint16_t *ret_min, uint16_t *ret_max)
{
	const char *dash = text.len ? memchr(text.ptr, '-', text.len) : NULL;
	int64_t min, max;
	size_t n_min;

	if (!dash)
		return -EINVAL;
	n_min = (size_t)(dash - text.ptr);
	if (conf_number_parse((struct str){text.ptr, n_min}, &min) ||
	    conf_number_parse((struct str){dash + 1, text.len - n_min - 1}, &max))
		return -EINVAL;
	if (min < 1024 || max > 65535)
		return -ERANGE;
	if (min > max)
		return -EDOM;
	*ret_min = (uint16_t)min;
	*ret_max = (uint16_t)max;
	return 0;
}

const char *conf_check_ports(struct str text)
{
	uint16_t min, max;

	switch (conf_ports_parse(text, &min, &max)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "is not within 1024-65535";
	case -EDOM:
		return "ends before it begins";
	default:
		return "is not a range of ports; write for example \"61000-65535\"";
	}
}

/* ---- Where to listen ---- */

/* Letters: a name to look up, as far as one can tell. */
static bool conf_is_host_name(struct str text)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	size_t len = colon ? (size_t)(colon - text.ptr) : text.len;
	bool has_letter = false;

	for (size_t i = 0; i < len; i++) {
		if (!conf_is_word_char(text.ptr[i]) && text.ptr[i] != '.')
			return false;
		has_letter |= isalpha((unsigned char)text.ptr[i]) != 0;
	}
	return has_letter;
}

/* The dash between two ports; NULL: there is one port, or none. */
static const char *conf_bind_dash(struct str text)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	size_t left = colon ? (size_t)(text.ptr + text.len - colon) : 0;

	if (!colon || str_starts_with(text, STR("unix:")))
		return NULL;
	return memchr(colon, '-', left);
}

int conf_bind_parse(struct str text, struct conf_bind_range *ret_range)
{
	const char *dash = conf_bind_dash(text);
	struct conf_bind_range range = {.n_ports = 1};
	int64_t last;
	int err;

	if (!dash) {
		err = addr_parse(text, &range.first);
		if (!err)
			*ret_range = range;
		return err;
	}
	err = addr_parse((struct str){text.ptr, (size_t)(dash - text.ptr)}, &range.first);
	if (err)
		return err;
	err = conf_number_parse((struct str){dash + 1, (size_t)(text.ptr + text.len - dash - 1)},
				&last);
	if (err || last > CONF_PORT_MAX)
		return err ? err : -ERANGE;
	if (last < addr_port(&range.first))
		return -EDOM;
	range.n_ports = (uint32_t)last - addr_port(&range.first) + 1;
	*ret_range = range;
	return 0;
}

const char *conf_check_bind(struct str text)
{
	struct conf_bind_range range;
	int err = conf_bind_parse(text, &range);

	if (err == -ERANGE)
		return "has no port from 1 to 65535";
	if (err == -EDOM)
		return "has a range of ports that ends before it begins";
	if (!err && range.first.sa.sa_family == AF_UNIX && range.first.un.sun_path[0] != '/')
		return "is not an absolute path; write for example \"unix:/run/web.sock\"";
	if (!err && range.n_ports > CONF_MAX_PORTS)
		return "has more than 1024 ports, which are as many sockets in each thread";
	if (!err)
		return NULL;
	if (str_starts_with(text, STR("unix:")))
		return CONF_NO_UNIX_PATH;
	if (conf_is_host_name(text) && memchr(text.ptr, ':', text.len))
		return "names a host; give an address of this host, such as "
		       "\"192.0.2.1:443\", or \":443\" for all";
	return "is not an address with a port; write for example \":443\", "
	       "\"192.0.2.1:443\" or \"[2001:db8::1]:443\"";
}

/* ---- Servers ---- */

static void conf_endpoint_set_host(struct conf_endpoint *endpoint, struct str host)
{
	if (host.len > 2 && host.ptr[0] == '[')
		host = (struct str){host.ptr + 1, host.len - 2};
	for (size_t i = 0; i < host.len; i++)
		endpoint->host[i] = ascii_lower(host.ptr[i]);
	endpoint->host[host.len] = 0;
}

static int conf_endpoint_parse_name(struct str text, struct conf_endpoint *ret_endpoint)
{
	const char *colon = memrchr(text.ptr, ':', text.len);
	struct conf_endpoint endpoint = {.is_name = true};
	struct str host = {text.ptr, (size_t)(colon - text.ptr)};
	int64_t port;
	int err = conf_number_parse((struct str){colon + 1, text.len - host.len - 1}, &port);

	if (err || port < 1 || port > CONF_PORT_MAX)
		return err == -EINVAL ? err : -ERANGE;
	if (host.len >= sizeof(endpoint.host) || !conf_is_host_name(text) ||
	    conf_check_domain(host))
		return -EINVAL;
	conf_endpoint_set_host(&endpoint, host);
	endpoint.addr.in.sin_family = AF_INET;
	endpoint.addr.in.sin_port = htons((uint16_t)port);
	*ret_endpoint = endpoint;
	return 0;
}

int conf_endpoint_parse(struct str text, struct conf_endpoint *ret_endpoint)
{
	const char *colon = text.len ? memrchr(text.ptr, ':', text.len) : NULL;
	struct conf_endpoint endpoint = {.is_name = false};
	int err = addr_parse(text, &endpoint.addr);

	if (err == -EINVAL && colon && !str_starts_with(text, STR("unix:")))
		return conf_endpoint_parse_name(text, ret_endpoint);
	if (err)
		return err;
	if (text.ptr[0] == ':')
		return -EINVAL; /* any address is none to connect to */
	if (endpoint.addr.sa.sa_family != AF_UNIX)
		conf_endpoint_set_host(&endpoint,
				       (struct str){text.ptr, (size_t)(colon - text.ptr)});
	*ret_endpoint = endpoint;
	return 0;
}

const char *conf_check_server(struct str text)
{
	struct conf_endpoint endpoint;
	int err = conf_endpoint_parse(text, &endpoint);

	if (!err)
		return NULL;
	if (err == -ERANGE)
		return "has no port from 1 to 65535";
	if (str_starts_with(text, STR("unix:")))
		return CONF_NO_UNIX_PATH;
	if (text.len && !memchr(text.ptr, ':', text.len) && conf_is_host_name(text))
		return "has no port; write for example \"db.example.com:5432\"";
	return "is not an address with a port; write for example \"192.0.2.1:8200\", "
	       "\"[2001:db8::1]:8200\" or \"db.example.com:8200\"";
}

const char *conf_check_host(struct str text)
{
	struct addr addr;

	if (addr_parse_host(text, &addr) == 0)
		return NULL;
	if (addr_parse(text, &addr) == 0)
		return "has a port; give the address alone";
	return "is not an address; write for example \"192.0.2.1\" or \"2001:db8::1\"";
}

const char *conf_check_dns_server(struct str text)
{
	struct addr addr;

	if (addr_parse_host(text, &addr) == 0)
		return NULL;
	if (addr_parse(text, &addr) == 0 && addr.sa.sa_family != AF_UNIX && text.ptr[0] != ':')
		return NULL;
	return "is not the address of a name server; write for example \"192.0.2.53\" or "
	       "\"[2001:db8::53]:5353\"";
}

/* ---- Networks ---- */

static const uint8_t *conf_net_bytes(const struct conf_net *net)
{
	return net->addr.sa.sa_family == AF_INET ? (const uint8_t *)&net->addr.in.sin_addr
						 : net->addr.in6.sin6_addr.s6_addr;
}

static unsigned int conf_net_bits(const struct conf_net *net)
{
	return net->addr.sa.sa_family == AF_INET ? 32 : 128;
}

int conf_net_parse(struct str text, struct conf_net *ret_net)
{
	const char *slash = text.len ? memchr(text.ptr, '/', text.len) : NULL;
	struct str host = {text.ptr, slash ? (size_t)(slash - text.ptr) : text.len};
	struct conf_net net;
	int64_t prefix_len;
	int err = addr_parse_host(host, &net.addr);

	if (err)
		return err;
	if (net.addr.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&net.addr.in6.sin6_addr))
		return -EAFNOSUPPORT;
	prefix_len = conf_net_bits(&net);
	if (slash)
		err = conf_number_parse((struct str){slash + 1, text.len - host.len - 1},
					&prefix_len);
	if (err || prefix_len > conf_net_bits(&net))
		return err ? err : -ERANGE;
	net.prefix_len = (uint8_t)prefix_len;
	*ret_net = net;
	return 0;
}

bool conf_net_mask(struct conf_net *net)
{
	uint8_t *bytes = (uint8_t *)conf_net_bytes(net);
	bool had_some = false;

	for (unsigned int i = net->prefix_len; i < conf_net_bits(net); i++) {
		uint8_t bit = (uint8_t)(0x80 >> i % 8);

		had_some |= (bytes[i / 8] & bit) != 0;
		bytes[i / 8] &= (uint8_t)~bit;
	}
	return had_some;
}

struct conf_net_text conf_net_format(const struct conf_net *net)
{
	struct conf_net_text net_text;
	char host[ADDR_TEXT_MAX];

	snprintf(net_text.text, sizeof(net_text.text), "%.*s/%u", INET6_ADDRSTRLEN,
		 addr_format_host(&net->addr, host), net->prefix_len);
	return net_text;
}

bool conf_net_covers(const struct conf_net *first, const struct conf_net *second)
{
	const uint8_t *a = conf_net_bytes(first), *b = conf_net_bytes(second);
	size_t n_whole = first->prefix_len / 8;

	if (first->addr.sa.sa_family != second->addr.sa.sa_family ||
	    first->prefix_len > second->prefix_len || memcmp(a, b, n_whole) != 0)
		return false;
	return first->prefix_len % 8 == 0 ||
	       (a[n_whole] ^ b[n_whole]) >> (8 - first->prefix_len % 8) == 0;
}

/* Host bits are told of in conf_nets.c, with the network that was meant. */
const char *conf_check_net(struct str text)
{
	struct conf_net net;

	switch (conf_net_parse(text, &net)) {
	case 0:
		return NULL;
	case -ERANGE:
		return "has a prefix that is longer than its address";
	case -EAFNOSUPPORT:
		return "is IPv4 in an IPv6 form; write it as IPv4";
	default:
		return "is not a network; write for example \"192.0.2.0/24\", "
		       "\"2001:db8::/32\" or one address";
	}
}
