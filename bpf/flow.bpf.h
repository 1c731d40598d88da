/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The flow table: finding, opening and closing flows. A flow has two entries, one per direction,
 * each keyed by what its packets look like on arrival; each names the tuple of the other, reversed.
 * The kernel may drop either when the table is full, so an entry that stands alone is mended or
 * closed, never trusted for long.
 */
#ifndef PENSTOCK_FLOW_BPF_H
#define PENSTOCK_FLOW_BPF_H

#include "config.bpf.h"
#include "maps.bpf.h"
#include "parse.bpf.h"
#include "penstock/flow.h"

#define NS_PER_S 1000000000ull

#ifndef EEXIST
#define EEXIST 17
#endif

/* The key of the other direction of the flow that `flow` is one direction of. */
static __always_inline void flow_pair_key(const struct flow_value *flow, __u8 protocol,
					  struct flow_key *ret_key)
{
	__builtin_memset(ret_key, 0, sizeof(*ret_key));
	__builtin_memcpy(ret_key->src_addr, flow->new_dst_addr, 4);
	__builtin_memcpy(ret_key->dst_addr, flow->new_src_addr, 4);
	ret_key->src_port = flow->new_dst_port;
	ret_key->dst_port = flow->new_src_port;
	ret_key->protocol = protocol;
}

/* `pair` sends back to where packets of `key` come from. */
static __always_inline _Bool flow_is_pair_of(const struct flow_value *pair,
					     const struct flow_key *key)
{
	return *(const __u32 *)pair->new_src_addr == *(const __u32 *)key->dst_addr &&
	       *(const __u32 *)pair->new_dst_addr == *(const __u32 *)key->src_addr &&
	       pair->new_src_port == key->dst_port && pair->new_dst_port == key->src_port;
}

/* A fresh entry for the other direction of the flow whose one direction is `key`, `flow`. */
static __always_inline void flow_make_pair(const struct flow_key *key,
					   const struct flow_value *flow, __u64 now_ns,
					   struct flow_value *ret_pair)
{
	__builtin_memset(ret_pair, 0, sizeof(*ret_pair));
	__builtin_memcpy(ret_pair->new_src_addr, key->dst_addr, 4);
	__builtin_memcpy(ret_pair->new_dst_addr, key->src_addr, 4);
	ret_pair->new_src_port = key->dst_port;
	ret_pair->new_dst_port = key->src_port;
	ret_pair->direction = flow->direction == FLOW_TO_ORIGIN ? FLOW_TO_CLIENT : FLOW_TO_ORIGIN;
	ret_pair->server_index = flow->server_index;
	ret_pair->service_id = flow->service_id;
	ret_pair->created_ns = now_ns;
	ret_pair->last_seen_ns = now_ns;
}

/* Both directions of a TCP flow have ended, or one was reset: a SYN on its tuple opens another
 * connection. */
static __always_inline _Bool flow_has_ended(const struct flow_value *flow,
					    const struct flow_value *pair)
{
	__u8 seen_pair = pair ? pair->tcp_seen : 0;

	return ((flow->tcp_seen | seen_pair) & FLOW_SEEN_RST) ||
	       (flow->tcp_seen & seen_pair & FLOW_SEEN_FIN);
}

/*
 * Sees to it that the other direction exists. False: its tuple belongs to another flow by now, or
 * the flow has ended and this packet opens another; what was left of this one is gone then.
 */
static __noinline _Bool flow_keep_pair(const struct packet *packet, struct flow_value *flow,
				       __u64 now_ns)
{
	struct flow_value fresh;
	struct flow_value *pair;
	struct flow_key key;

	if (!packet || !flow)
		return 0;
	flow_pair_key(flow, packet->key.protocol, &key);
	pair = bpf_map_lookup_elem(&flows, &key);
	if (!pair) {
		flow_make_pair(&packet->key, flow, now_ns, &fresh);
		bpf_map_update_elem(&flows, &key, &fresh, BPF_NOEXIST);
		pair = bpf_map_lookup_elem(&flows, &key);
	}
	if (pair && flow_is_pair_of(pair, &packet->key)) {
		if (!packet_is_syn(packet) || !flow_has_ended(flow, pair))
			return 1;
		bpf_map_delete_elem(&flows, &key);
	}
	bpf_map_delete_elem(&flows, &packet->key);
	return 0;
}

/* The entry that a packet belongs to, or NULL. */
static __always_inline struct flow_value *flow_find(const struct packet *packet, __u64 now_ns)
{
	struct flow_value *flow = bpf_map_lookup_elem(&flows, &packet->key);

	if (!flow)
		return NULL;
	if (!packet_is_syn(packet) && (flow->packets & (PAIR_CHECK_PACKETS - 1)) &&
	    now_ns - flow->last_seen_ns < PAIR_CHECK_NS)
		return flow;
	return flow_keep_pair(packet, flow, now_ns) ? flow : NULL;
}

static __always_inline _Bool is_older(__u64 since_ns, __u64 now_ns, __u64 age_s)
{
	return now_ns > since_ns && now_ns - since_ns > age_s * NS_PER_S;
}

/*
 * Makes room at `held` where the flow that holds it is silent in both directions for longer than it
 * is kept. Two concessions to the verifier, both with clang 14: the function is not static, so that
 * (6.18) it walks through it once and not once for each of NAT_PORT_TRIES, 0.2 million instructions
 * and a second of loading less; and the key is copied, since (6.1) an argument of such a function
 * cannot be the key of a map: "R2 type=mem expected=fp".
 */
__noinline int flow_evict_expired(const struct flow_key *held, const struct service_value *service,
				  __u64 now_ns)
{
	struct flow_value *flow, *pair;
	struct flow_key key, pair_key;
	__u8 seen_pair = 0;
	__u64 keep_s;

	if (!held || !service)
		return 0;
	key = *held;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return 1;
	flow_pair_key(flow, key.protocol, &pair_key);
	pair = bpf_map_lookup_elem(&flows, &pair_key);
	if (pair && !flow_is_pair_of(pair, &key))
		pair = NULL;
	if (pair)
		seen_pair = pair->tcp_seen;
	keep_s = flow_keep_s(key.protocol, seen_pair, flow->tcp_seen, service->udp_idle_s,
			     service->tcp_idle_s);
	if (!is_older(flow->last_seen_ns, now_ns, keep_s) ||
	    (pair && !is_older(pair->last_seen_ns, now_ns, keep_s)))
		return 0;
	if (pair)
		bpf_map_delete_elem(&flows, &pair_key);
	bpf_map_delete_elem(&flows, &key);
	return 1;
}

/*
 * Inserts the direction toward the client under a NAT port that no other flow uses with this
 * server, and writes that port to `flow`. The insert itself is the claim: of two processors that
 * want one port, one is told EEXIST.
 */
static __noinline int flow_claim_port(const struct packet *packet,
				      const struct service_value *service, struct flow_value *flow)
{
	struct flow_value pair;
	struct flow_key key;
	__u32 n_ports, start, i;
	__u64 now_ns;
	int err; /* before 6.4 the upper half of what map helpers return is not set: never long */

	if (!packet || !service || !flow || service->nat_port_max < service->nat_port_min)
		return STEER_DROP_NO_PORT;
	n_ports = (__u32)service->nat_port_max - service->nat_port_min + 1;
	start = bpf_get_prandom_u32() % n_ports; /* not to be guessed: RFC 6056 */
	now_ns = flow->created_ns;
	flow_make_pair(&packet->key, flow, now_ns, &pair);
	flow_pair_key(flow, packet->key.protocol, &key);
	for (i = 0; i < NAT_PORT_TRIES && i < n_ports; i++) {
		key.dst_port = service->nat_port_min + (start + i) % n_ports;
		err = bpf_map_update_elem(&flows, &key, &pair, BPF_NOEXIST);
		if (err == -EEXIST && flow_evict_expired(&key, service, now_ns))
			err = bpf_map_update_elem(&flows, &key, &pair, BPF_NOEXIST);
		if (!err) {
			flow->new_src_port = key.dst_port;
			return GO_ON;
		}
		if (err != -EEXIST)
			return STEER_DROP_MAP_FULL;
	}
	return STEER_DROP_NO_PORT;
}

/*
 * Inserts both directions of a new flow; `flow` is complete but for the NAT port. Where another
 * processor was faster with a packet of the same flow, its entry counts and ours goes.
 */
static __always_inline int flow_open(const struct packet *packet,
				     const struct service_value *service, struct flow_value *flow)
{
	struct flow_key pair_key;
	int reason = flow_claim_port(packet, service, flow);
	int err;

	if (reason != GO_ON)
		return reason;
	err = bpf_map_update_elem(&flows, &packet->key, flow, BPF_NOEXIST);
	if (err) {
		flow_pair_key(flow, packet->key.protocol, &pair_key);
		bpf_map_delete_elem(&flows, &pair_key);
		if (err != -EEXIST)
			return STEER_DROP_MAP_FULL;
	}
	return GO_ON;
}

static __always_inline __u8 flow_seen_bits(__u8 tcp_flags)
{
	return (tcp_flags & TCP_BIT_SYN ? FLOW_SEEN_SYN : 0) |
	       (tcp_flags & TCP_BIT_FIN ? FLOW_SEEN_FIN : 0) |
	       (tcp_flags & TCP_BIT_RST ? FLOW_SEEN_RST : 0);
}

static __always_inline void flow_account(struct flow_value *flow, const struct packet *packet,
					 __u64 now_ns)
{
	__u8 seen = flow_seen_bits(packet->tcp_flags);

	__sync_fetch_and_add(&flow->packets, 1);
	__sync_fetch_and_add(&flow->bytes, packet->len_bytes);
	flow->last_seen_ns = now_ns;
	if (seen & ~flow->tcp_seen)
		flow->tcp_seen |= seen;
}

#endif
