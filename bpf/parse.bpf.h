/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a frame to what the NAT core must know of it. Reads only between data and data_end, and
 * believes no length before it was compared with what is there.
 */
#ifndef PENSTOCK_PARSE_BPF_H
#define PENSTOCK_PARSE_BPF_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <linux/types.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "penstock/abi.h"
#include "penstock/reasons.h"

/* What steps return when they have no reason to stop; any other value is an enum steer_counter and
 * the last word. */
#define GO_ON (-1)

/* Ethernet, IPv4 without options, and the longest of the fixed headers behind it. */
#define HEADERS_MAX_BYTES (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))

#define IP_FRAGMENT_BITS 0x3fff /* more fragments, and the offset: RFC 791 */

enum { TCP_BIT_FIN = 0x01, TCP_BIT_SYN = 0x02, TCP_BIT_RST = 0x04, TCP_BIT_ACK = 0x10 };

struct packet {
	struct flow_key key;
	__u32 len_bytes; /* of the IP packet */
	__u8 ttl;
	__u8 tos;
	__u8 tcp_flags; /* 0 for UDP */
	__u8 pad;
};

static __always_inline int parse_tcp(const struct tcphdr *tcp, const void *data_end,
				     struct packet *packet)
{
	__u32 room_bytes = packet->len_bytes - sizeof(struct iphdr);

	if ((const void *)(tcp + 1) > data_end || room_bytes < sizeof(*tcp))
		return STEER_DROP_MALFORMED;
	if (tcp->doff < 5 || tcp->doff * 4u > room_bytes)
		return STEER_DROP_MALFORMED;
	packet->key.src_port = bpf_ntohs(tcp->source);
	packet->key.dst_port = bpf_ntohs(tcp->dest);
	packet->tcp_flags = ((const __u8 *)tcp)[13];
	return GO_ON;
}

static __always_inline int parse_udp(const struct udphdr *udp, const void *data_end,
				     struct packet *packet)
{
	__u32 room_bytes = packet->len_bytes - sizeof(struct iphdr);

	if ((const void *)(udp + 1) > data_end || room_bytes < sizeof(*udp))
		return STEER_DROP_MALFORMED;
	if (bpf_ntohs(udp->len) < sizeof(*udp) || bpf_ntohs(udp->len) > room_bytes)
		return STEER_DROP_MALFORMED;
	packet->key.src_port = bpf_ntohs(udp->source);
	packet->key.dst_port = bpf_ntohs(udp->dest);
	return GO_ON;
}

/* `room_bytes`: what the frame has behind its Ethernet header, also where that is not between the
 * pointers. */
static __always_inline int parse_ipv4(const struct iphdr *ip, const void *data_end,
				      __u32 room_bytes, struct packet *packet)
{
	if ((const void *)(ip + 1) > data_end || ip->version != 4 || ip->ihl < 5)
		return STEER_DROP_MALFORMED;
	/* Zero: a packet of 64 KiB or more that the kernel has put together (BIG TCP, Linux 6.3).
	 */
	packet->len_bytes = ip->tot_len		  ? bpf_ntohs(ip->tot_len)
			    : room_bytes > 0xffff ? room_bytes
						  : 0;
	if (packet->len_bytes < ip->ihl * 4u || packet->len_bytes > room_bytes)
		return STEER_DROP_MALFORMED;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_BITS))
		return STEER_PASS_FRAGMENT;
	if (ip->ihl != 5)
		return STEER_PASS_IP_OPTIONS;
	__builtin_memcpy(packet->key.src_addr, &ip->saddr, 4);
	__builtin_memcpy(packet->key.dst_addr, &ip->daddr, 4);
	packet->key.protocol = ip->protocol;
	packet->ttl = ip->ttl;
	packet->tos = ip->tos;
	return GO_ON;
}

/* `frame_bytes`: the whole frame, from its Ethernet header. */
static __always_inline int parse_frame(const void *data, const void *data_end, __u32 frame_bytes,
				       struct packet *packet)
{
	const struct ethhdr *eth = data;
	const struct iphdr *ip = (const void *)(eth + 1);
	int reason;

	__builtin_memset(packet, 0, sizeof(*packet));
	if ((const void *)(eth + 1) > data_end)
		return STEER_DROP_MALFORMED;
	if (eth->h_proto != bpf_htons(ETH_P_IP))
		return STEER_PASS_NOT_IPV4;
	reason = parse_ipv4(ip, data_end, frame_bytes - ETH_HLEN, packet);
	if (reason != GO_ON)
		return reason;
	if (packet->key.protocol == IPPROTO_TCP)
		return parse_tcp((const void *)(ip + 1), data_end, packet);
	if (packet->key.protocol == IPPROTO_UDP)
		return parse_udp((const void *)(ip + 1), data_end, packet);
	return STEER_PASS_NOT_SERVICE;
}

/* A segment that opens a TCP connection. */
static __always_inline _Bool packet_is_syn(const struct packet *packet)
{
	return (packet->tcp_flags & (TCP_BIT_SYN | TCP_BIT_ACK)) == TCP_BIT_SYN;
}

#endif
