/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0 OR BSD-2-Clause */
/*
 * Keys and values of the pinned maps: what the BPF programs, the daemon and stock bpftool share.
 * Addresses are bytes as on the wire and ports are in host byte order, so that a dump reads as
 * people write them. A change of a layout changes PENSTOCK_ABI_VERSION: pinned maps of another
 * version are never adopted.
 */
#ifndef PENSTOCK_ABI_H
#define PENSTOCK_ABI_H

#include <linux/types.h>

#define PENSTOCK_ABI_VERSION 2

/* An IPv4 five-tuple as a packet shows it on arrival. */
struct flow_key {
	__u8 src_addr[4];
	__u8 dst_addr[4];
	__u16 src_port;
	__u16 dst_port;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 pad[3]; /* zero */
};

enum flow_direction { FLOW_TO_ORIGIN, FLOW_TO_CLIENT };

/* Bits of flow_value.tcp_seen: what this direction has sent. */
enum { FLOW_SEEN_SYN = 1, FLOW_SEEN_FIN = 2, FLOW_SEEN_RST = 4 };

/*
 * What the packet becomes. Each flow has two entries, one per direction; the other's key is this
 * entry's new tuple, reversed.
 */
struct flow_value {
	__u8 new_src_addr[4];
	__u8 new_dst_addr[4];
	__u16 new_src_port;
	__u16 new_dst_port;
	__u8 direction; /* enum flow_direction */
	__u8 tcp_seen;
	__u16 server_index; /* in the service's server set */
	__u32 service_id;
	__u32 pad; /* zero */
	__u64 packets;
	__u64 bytes; /* of IP packets as they arrived */
	__u64 created_ns; /* CLOCK_MONOTONIC */
	__u64 last_seen_ns;
};

struct service_key {
	__u8
	    addr[4]; /* 0.0.0.0: any address of this host is not meant; services have one address */
	__u16 port;
	__u8 protocol;
	__u8 pad; /* zero */
};

struct service_value {
	__u32 service_id; /* stable for a service while it is configured */
	__u32
	    server_set; /* first half of server_key; a new set is filled before it is named here */
	__u16 n_servers;
	__u16 nat_port_min; /* ports that the node speaks to servers from */
	__u16 nat_port_max;
	__u16 pad; /* zero */
	__u32 udp_idle_s; /* a flow silent for longer may be replaced */
	__u32 tcp_idle_s;
};

struct server_key {
	__u32 server_set;
	__u32 index; /* below service_value.n_servers */
};

struct server_value {
	__u8 addr[4];
	__u8 nat_addr[4]; /* the node's address toward this server */
	__u16 port;
	__u16 pad; /* zero */
};

/* The single value of the pinned map `layout`. */
struct steer_layout {
	__u32 abi_version;
};

enum stream_lane { STREAM_LANE_SPLICE = 1, STREAM_LANE_TERMINATE };

enum stream_engine {
	STREAM_ENGINE_NONE, /* HTTP: each body has its own */
	STREAM_ENGINE_COPY,
	STREAM_ENGINE_PIPE,
	STREAM_ENGINE_SOCKMAP
};

/* Who does the records of TLS that ends here, or begins. */
enum stream_tls {
	STREAM_TLS_NONE, /* no TLS, or passed on unopened */
	STREAM_TLS_USER,
	STREAM_TLS_KERNEL_SEND, /* receiving is in user space */
	STREAM_TLS_KERNEL_RECEIVE,
	STREAM_TLS_KERNEL
};

/* An open connection, in the map `streams` (an array that the daemon maps into memory); id 0: the
 * slot is free. */
struct stream_value {
	__u64 id; /* unique while the daemon runs; in the access log too */
	__u8 client_addr[16]; /* IPv4 as ::ffff:a.b.c.d; zero for a UNIX socket */
	__u8 origin_addr[16]; /* zero while there is none */
	__u16 client_port;
	__u16 origin_port;
	__u8 lane; /* enum stream_lane */
	__u8 engine_up; /* enum stream_engine, client to origin */
	__u8 engine_down; /* origin to client */
	__u8 tls; /* enum stream_tls of the client, and of the origin times 16 */
	__u32 listener; /* index in the configuration */
	__u32 route; /* index in the listener */
	__u64 bytes_up; /* delivered to the origin, or received from the client where it is HTTP */
	__u64 bytes_down;
	__u64 created_ns; /* CLOCK_MONOTONIC */
	__u64 active_ns;
	__u32 client_rtt_us; /* smoothed, refreshed every few seconds while bytes move */
	__u32 origin_rtt_us;
	char why[104]; /* what keeps the busier direction from a faster engine, or else the other
			  one; terminated, cut */
};

/*
 * One direction of a stream that the kernel carries, in the map `splice_dirs`, which the daemon
 * maps into memory. `splice_ids` finds its index by the cookie of the socket that the bytes come
 * from. Of the byte counts the program writes the first two; the daemon writes the third.
 */
struct splice_dir {
	__u64 redirected_bytes; /* handed to the other socket in the kernel */
	__u64 passed_bytes; /* left in the socket, for the daemon to read */
	__u64 consumed_bytes; /* of those left: delivered by the daemon */
	__u64 active_ns; /* CLOCK_MONOTONIC, of the last redirect; in steps of a tick */
	__u64 id; /* the daemon's own name for the direction; in the event */
	__u32 segments; /* that were redirected; wraps */
	__u32 write_base; /* write_seq of the other socket at the first segment */
	__u32 window_bytes; /* handed over and not yet written by the other socket: no more than
			       this */
	__u32 ring; /* index in `splice_rings` */
	__u16 is_started; /* write_base is set */
	__u16 passes_all; /* the daemon wants every byte */
	__u32 pad; /* zero */
};

/* In a ring of `splice_rings`: the program left bytes to the daemon, which had none of this
 * direction to read before. */
struct splice_event {
	__u64 id;
};

#ifndef __cplusplus
_Static_assert(sizeof(struct splice_dir) == 64, "splice_dir is ABI");
_Static_assert(sizeof(struct stream_value) == 200, "stream_value is ABI");
_Static_assert(sizeof(struct flow_key) == 16, "flow_key is ABI");
_Static_assert(sizeof(struct flow_value) == 56, "flow_value is ABI");
_Static_assert(sizeof(struct service_key) == 8, "service_key is ABI");
_Static_assert(sizeof(struct service_value) == 24, "service_value is ABI");
_Static_assert(sizeof(struct server_key) == 8, "server_key is ABI");
_Static_assert(sizeof(struct server_value) == 12, "server_value is ABI");
_Static_assert(sizeof(struct steer_layout) == 4, "steer_layout is ABI");
#endif

#endif
