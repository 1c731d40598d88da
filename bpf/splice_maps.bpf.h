/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps of the splice program. Keys and values are in penstock/abi.h. */
#ifndef PENSTOCK_SPLICE_MAPS_BPF_H
#define PENSTOCK_SPLICE_MAPS_BPF_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "penstock/abi.h"
#include "penstock/limits.h"

#define SPLICE_MAX_DIRS (2 * PENSTOCK_MAX_SPLICE_STREAMS)

/*
 * By the cookie of a stream's socket: the socket at the other end of the relay. No program is
 * attached to this map, so both sockets can be in it before either of them is read by the program.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, SPLICE_MAX_DIRS);
	__type(key, __u64);
	__type(value, __u64);
} splice_tgt SEC(".maps");

/* The sockets that splice_verdict reads, each by its own cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, SPLICE_MAX_DIRS);
	__type(key, __u64);
	__type(value, __u64);
} splice_src SEC(".maps");

/* By the same cookie: the index of the direction in splice_dirs. Written by the daemon. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, SPLICE_MAX_DIRS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} splice_ids SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SPLICE_MAX_DIRS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct splice_dir);
} splice_dirs SEC(".maps");

/* One ring for each thread of the daemon; struct splice_event. */
struct splice_ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, PENSTOCK_SPLICE_RING_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PENSTOCK_MAX_THREADS);
	__type(key, __u32);
	__array(values, struct splice_ring);
} splice_rings SEC(".maps");

#endif
