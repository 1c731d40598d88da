/* SPDX-License-Identifier: Apache-2.0 */
/* See packet_changes.h. */
#include "packet_changes.h"

#include <string.h>

#include "packets.h"

size_t make_arp(uint8_t *frame, size_t len_bytes)
{
	frame[12] = 0x08;
	frame[13] = 0x06;
	return len_bytes;
}

size_t make_ipv6(uint8_t *frame, size_t len_bytes)
{
	frame[12] = 0x86;
	frame[13] = 0xdd;
	return len_bytes;
}

size_t set_more_fragments(uint8_t *frame, size_t len_bytes)
{
	frame[20] |= 0x20;
	packet_fix_ip(frame);
	return len_bytes;
}

size_t set_fragment_offset(uint8_t *frame, size_t len_bytes)
{
	frame[21] = 1;
	packet_fix_ip(frame);
	return len_bytes;
}

/* Four bytes of no-operation options; what follows is shorter by them, as nobody looks there. */
size_t add_options(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x46;
	memset(frame + 34, 1, 4);
	packet_fix_ip(frame);
	return len_bytes;
}

size_t cut_in_ip(uint8_t *frame, size_t len_bytes)
{
	(void)frame;
	(void)len_bytes;
	return ETH_BYTES + IP_BYTES - 1;
}

size_t cut_in_l4(uint8_t *frame, size_t len_bytes)
{
	(void)len_bytes;
	frame[17] = IP_BYTES + 7;
	packet_fix_ip(frame);
	return ETH_BYTES + IP_BYTES + 7;
}

size_t cut_in_tcp(uint8_t *frame, size_t len_bytes)
{
	(void)len_bytes;
	frame[17] = IP_BYTES + 19;
	packet_fix_ip(frame);
	return ETH_BYTES + IP_BYTES + 19;
}

size_t cut_last_byte(uint8_t *frame, size_t len_bytes)
{
	(void)frame;
	return len_bytes - 1;
}

/* The header says less than the L4 header needs, while the frame has more bytes. */
size_t shrink_ip_length(uint8_t *frame, size_t len_bytes)
{
	frame[16] = 0;
	frame[17] = IP_BYTES + 4;
	packet_fix_ip(frame);
	return len_bytes;
}

size_t zero_ip_length(uint8_t *frame, size_t len_bytes)
{
	frame[16] = 0;
	frame[17] = 0;
	packet_fix_ip(frame);
	return len_bytes;
}

size_t set_version_5(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x55;
	packet_fix_ip(frame);
	return len_bytes;
}

size_t set_ihl_4(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x44;
	packet_fix_ip(frame);
	return len_bytes;
}

size_t set_udp_length_7(uint8_t *frame, size_t len_bytes)
{
	frame[38] = 0;
	frame[39] = 7;
	return len_bytes;
}

size_t set_udp_length_too_long(uint8_t *frame, size_t len_bytes)
{
	frame[39]++;
	return len_bytes;
}

size_t set_tcp_offset_4(uint8_t *frame, size_t len_bytes)
{
	frame[46] = 4 << 4;
	return len_bytes;
}

size_t set_tcp_offset_15(uint8_t *frame, size_t len_bytes)
{
	frame[46] = 15 << 4;
	return len_bytes;
}
