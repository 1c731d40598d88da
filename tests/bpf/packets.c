// SPDX-License-Identifier: Apache-2.0
/* See packets.h. Shares nothing with the code under test. */
#include "packets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

static void put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static unsigned int get16(const uint8_t *at)
{
	return (unsigned int)at[0] << 8 | at[1];
}

/* RFC 1071, word by word. */
static uint32_t add_bytes(uint32_t sum, const uint8_t *data, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

void packet_fix_ip(uint8_t *frame)
{
	uint8_t *ip = frame + ETH_BYTES;

	put16(ip + 10, 0);
	put16(ip + 10, ~add_bytes(0, ip, (ip[0] & 15) * 4u));
}

static size_t check_offset(const uint8_t *ip)
{
	return ip[9] == IPPROTO_TCP ? 16 : 6;
}

uint16_t packet_l4_check(const uint8_t *frame)
{
	const uint8_t *ip = frame + ETH_BYTES;
	const uint8_t *l4 = ip + IP_BYTES;
	size_t len_bytes = get16(ip + 2) - IP_BYTES;
	uint8_t pseudo[12];
	uint32_t sum;
	uint16_t check;

	memcpy(pseudo, ip + 12, 8);
	pseudo[8] = 0;
	pseudo[9] = ip[9];
	put16(pseudo + 10, (unsigned int)len_bytes);
	sum = add_bytes(0, pseudo, sizeof(pseudo));
	sum = add_bytes(sum, l4, check_offset(ip));
	sum = add_bytes(sum, l4 + check_offset(ip) + 2, len_bytes - check_offset(ip) - 2);
	check = (uint16_t)~sum;
	return ip[9] == IPPROTO_UDP && check == 0 ? 0xffff : check;
}

static size_t build_l4(const struct packet_spec *spec, uint8_t *l4)
{
	if (spec->protocol == IPPROTO_TCP) {
		l4[3] = 0;
		put16(l4 + 4, 0x1234); /* sequence number */
		l4[12] = 5 << 4;
		l4[13] = spec->tcp_flags;
		put16(l4 + 14, 0xfaf0);
		return 20;
	}
	if (spec->protocol == IPPROTO_UDP)
		put16(l4 + 4, 8u + spec->payload_bytes);
	return 8;
}

size_t packet_build(const struct packet_spec *spec, uint8_t frame[PACKET_MAX_BYTES])
{
	uint8_t *ip = frame + ETH_BYTES;
	uint8_t *l4 = ip + IP_BYTES;
	size_t header_bytes, ip_bytes;

	memset(frame, 0, PACKET_MAX_BYTES);
	memcpy(frame, spec->dst_mac, 6);
	memcpy(frame + 6, spec->src_mac, 6);
	put16(frame + 12, 0x0800);
	header_bytes = build_l4(spec, l4);
	ip_bytes = IP_BYTES + header_bytes + spec->payload_bytes;
	if (spec->protocol == IPPROTO_TCP || spec->protocol == IPPROTO_UDP) {
		put16(l4, spec->src_port);
		put16(l4 + 2, spec->dst_port);
	}
	for (size_t i = 0; i < spec->payload_bytes; i++)
		l4[header_bytes + i] = (uint8_t)(i * 7 + 1);
	if (spec->payload_bytes >= 2 && spec->payload_word)
		put16(l4 + header_bytes, spec->payload_word);
	ip[0] = 0x45;
	put16(ip + 2, (unsigned int)ip_bytes);
	put16(ip + 4, 0xbeef);
	put16(ip + 6, 0x4000); /* do not fragment */
	ip[8] = spec->ttl ? spec->ttl : 64;
	ip[9] = spec->protocol;
	inet_pton(AF_INET, spec->src, ip + 12);
	inet_pton(AF_INET, spec->dst, ip + 16);
	packet_fix_ip(frame);
	if (spec->protocol == IPPROTO_TCP ||
	    (spec->protocol == IPPROTO_UDP && !spec->has_no_udp_check))
		put16(l4 + check_offset(ip), packet_l4_check(frame));
	memset(ip + ip_bytes, 0xa5, spec->trailer_bytes);
	return ETH_BYTES + ip_bytes + spec->trailer_bytes;
}

uint16_t packet_word_for_zero_check(const struct packet_spec *spec)
{
	struct packet_spec blank = *spec;
	uint8_t frame[PACKET_MAX_BYTES];

	blank.payload_word = 1;
	packet_build(&blank, frame);
	/* The sum without the word is ~check - 1; the word that fills it up to 0xffff makes the
	 * complement zero. */
	return (uint16_t)(add_bytes(0,
				    (uint8_t[]){(uint8_t)(packet_l4_check(frame) >> 8),
						(uint8_t)packet_l4_check(frame), 0, 1},
				    4));
}
