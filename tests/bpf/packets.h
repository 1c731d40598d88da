/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets from descriptions, with checksums made from scratch: what a program must put out is built
 * the same way and compared byte by byte.
 */
#ifndef TESTS_BPF_PACKETS_H
#define TESTS_BPF_PACKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX_BYTES 2048

enum { ETH_BYTES = 14, IP_BYTES = 20 };

/* What a frame looks like. Addresses as text. Zero values are the ordinary case. */
struct packet_spec {
	uint8_t protocol; /* IPPROTO_UDP or IPPROTO_TCP; others get a body of 8 zero bytes */
	const char *src, *dst;
	uint16_t src_port, dst_port;
	uint8_t ttl; /* 0: 64 */
	uint8_t tcp_flags;
	bool has_no_udp_check;
	uint16_t payload_bytes;
	uint16_t payload_word; /* the first two bytes of the payload, network order; needs
				  payload_bytes >= 2 */
	uint16_t trailer_bytes; /* behind the IP packet, as padding of short frames */
	uint8_t dst_mac[6], src_mac[6];
};

/* The frame's length. */
size_t packet_build(const struct packet_spec *spec, uint8_t frame[PACKET_MAX_BYTES]);

/* Makes the IP header checksum right again after a change. */
void packet_fix_ip(uint8_t *frame);

/* The checksum that TCP or UDP of this frame should have, in host order; the field itself counts as
 * zero. */
uint16_t packet_l4_check(const uint8_t *frame);

/* The payload word that makes the UDP checksum of `spec` come out as zero, which goes over the wire
 * as 0xffff. */
uint16_t packet_word_for_zero_check(const struct packet_spec *spec);

#endif
