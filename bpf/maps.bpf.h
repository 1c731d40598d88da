/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps of the steer programs. Keys and values are in penstock/abi.h; their BTF gives bpftool
 * the field names. */
#ifndef PENSTOCK_MAPS_BPF_H
#define PENSTOCK_MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "penstock/abi.h"
#include "penstock/limits.h"
#include "penstock/reasons.h"

/* Written by the daemon, read here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PENSTOCK_MAX_STEER_SERVICES);
	__type(key, struct service_key);
	__type(value, struct service_value);
} services SEC(".maps");

/* Written by the daemon, read here. A set is whole before a service names it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PENSTOCK_MAX_STEER_SERVERS);
	__type(key, struct server_key);
	__type(value, struct server_value);
} servers SEC(".maps");

/*
 * Written here; the daemon only deletes what is silent. When it is full the kernel drops the
 * entries that were not looked up for longest, so a flood of new flows cannot lock out the ones
 * that talk.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, PENSTOCK_MAX_STEER_FLOWS);
	__type(key, struct flow_key);
	__type(value, struct flow_value);
} flows SEC(".maps");

/* Index: enum steer_counter. A map with BTF takes no enum as the key of an array. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNTER_MAX);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

/*
 * The devices that take frames from XDP, by interface index; written at attach. A frame redirected
 * to any other device would be lost without a trace, so those are left to tc.
 */
struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} xdp_devices SEC(".maps");

/* Which layout the pinned maps have: PENSTOCK_ABI_VERSION. Written and read by the loader alone. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct steer_layout);
} layout SEC(".maps");

#endif
