/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/*
 * How long a silent flow is kept: the one rule of the BPF programs, which replace expired flows,
 * and of the daemon, which sweeps them. Pure.
 */
#ifndef PENSTOCK_FLOW_H
#define PENSTOCK_FLOW_H

#include "penstock/abi.h"

/* A TCP flow that never got an answer, or that has ended (the ends may still repeat the last
 * segments). */
#define FLOW_UNSETTLED_KEEP_S 30

/*
 * `seen_by_origin` and `seen_by_client`: tcp_seen of the entry with FLOW_TO_ORIGIN and with
 * FLOW_TO_CLIENT, that is, what the client and the server have sent. A reset that was forged only
 * shortens the life of a silent flow.
 */
static inline __u32 flow_keep_s(__u8 protocol, __u8 seen_by_origin, __u8 seen_by_client,
				__u32 udp_idle_s, __u32 tcp_idle_s)
{
	_Bool is_settled;

	if (protocol != 6)
		return udp_idle_s;
	is_settled = (seen_by_client & FLOW_SEEN_SYN) &&
		     !((seen_by_origin | seen_by_client) & FLOW_SEEN_RST) &&
		     !(seen_by_origin & seen_by_client & FLOW_SEEN_FIN);
	if (!is_settled && tcp_idle_s > FLOW_UNSETTLED_KEEP_S)
		return FLOW_UNSETTLED_KEEP_S;
	return tcp_idle_s;
}

#endif
