/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to a frame after it was built, to make it one that must not pass. */
#ifndef TESTS_BPF_PACKET_CHANGES_H
#define TESTS_BPF_PACKET_CHANGES_H

#include <stddef.h>
#include <stdint.h>

/* Returns the new length of the frame. */
typedef size_t change_fn(uint8_t *frame, size_t len_bytes);

change_fn make_arp, make_ipv6, set_more_fragments, set_fragment_offset, add_options, cut_in_ip,
    cut_in_l4, cut_in_tcp, cut_last_byte, shrink_ip_length, zero_ip_length, set_version_5,
    set_ihl_4, set_udp_length_7, set_udp_length_too_long, set_tcp_offset_4, set_tcp_offset_15;

#endif
