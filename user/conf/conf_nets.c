/* SPDX-License-Identifier: Apache-2.0 */
/* Is an address in one of the blocks? */
#include "conf/conf.h"

/* The bytes that blocks are compared by. An IPv4-mapped IPv6 address is the IPv4 address that it
 * maps: which of the two a socket tells depends on how it was bound, not on who the peer is. */
struct net_bytes {
	const uint8_t *bytes; /* NULL: neither IPv4 nor IPv6 */
	unsigned int n_bits;
};

static struct net_bytes net_bytes_of(const struct addr *addr)
{
	if (addr->len && addr->sa.sa_family == AF_INET)
		return (struct net_bytes){(const uint8_t *)&addr->in.sin_addr, 32};
	if (addr->len == 0 || addr->sa.sa_family != AF_INET6)
		return (struct net_bytes){NULL, 0};
	if (IN6_IS_ADDR_V4MAPPED(&addr->in6.sin6_addr))
		return (struct net_bytes){&addr->in6.sin6_addr.s6_addr[12], 32};
	return (struct net_bytes){addr->in6.sin6_addr.s6_addr, 128};
}

static bool net_contains(const struct conf_net *net, struct net_bytes address)
{
	struct net_bytes block = net_bytes_of(&net->addr);
	unsigned int n_bits = net->prefix_len, n_whole;
	uint8_t mask;

	if (block.n_bits != address.n_bits || !block.bytes)
		return false;
	if (net->addr.sa.sa_family == AF_INET6 && block.n_bits == 32) /* written as mapped */
		n_bits = n_bits > 96 ? n_bits - 96 : 0;
	n_bits = MIN(n_bits, block.n_bits);
	n_whole = n_bits / 8;
	mask = (uint8_t)(0xff00 >> n_bits % 8);
	return memcmp(block.bytes, address.bytes, n_whole) == 0 &&
	       (n_bits % 8 == 0 || ((block.bytes[n_whole] ^ address.bytes[n_whole]) & mask) == 0);
}

bool conf_nets_contain(const struct conf_nets *nets, const struct addr *addr)
{
	struct net_bytes address = net_bytes_of(addr);

	for (size_t i = 0; i < nets->n_nets && address.bytes; i++)
		if (net_contains(&nets->nets[i], address))
			return true;
	return false;
}
