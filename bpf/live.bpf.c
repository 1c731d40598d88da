// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/* The live table: every open connection, for people who look. No program looks at it: the daemon
 * writes it through mapped memory. The value is in penstock/abi.h. */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "penstock/abi.h"
#include "penstock/limits.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PENSTOCK_MAX_STREAMS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct stream_value);
} streams SEC(".maps");
