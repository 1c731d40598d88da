/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Counting what became of packets. */
#ifndef PENSTOCK_STATS_BPF_H
#define PENSTOCK_STATS_BPF_H

#include "maps.bpf.h"

static __always_inline void stats_count(enum steer_counter counter)
{
	__u32 index = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &index);

	if (value)
		(*value)++;
}

#endif
