/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The NAT core, the same for XDP and tc: decides what becomes of a packet and where it goes, and
 * rewrites headers. It decides everything, and looks the route up, before it touches a byte: a
 * packet that is left to the host is whole.
 */
#ifndef PENSTOCK_NAT_BPF_H
#define PENSTOCK_NAT_BPF_H

#include "flow.bpf.h"
#include "stats.bpf.h"

#define AF_INET 2

/* What the entry program does with the packet. */
struct decision {
	struct flow_value flow; /* the new tuple and the direction; counters are not kept here */
	struct bpf_fib_lookup fib;
	_Bool is_resolved; /* fib has the hardware addresses */
};

static __always_inline __u32 hash_mix(__u32 hash, __u32 word)
{
	hash = (hash ^ word) * 0x85ebca6b;
	return hash ^ (hash >> 15);
}

/* Depends on the tuple and the seed alone. */
static __always_inline __u32 hash_tuple(const struct flow_key *key)
{
	__u32 hash = hash_mix(hash_seed ^ key->protocol, *(const __u32 *)key->src_addr);

	hash = hash_mix(hash, *(const __u32 *)key->dst_addr);
	hash = hash_mix(hash, ((__u32)key->src_port << 16) | key->dst_port);
	return hash_mix(hash, hash >> 13);
}

static __always_inline struct service_value *service_find(const struct packet *packet)
{
	struct service_key key = {.port = packet->key.dst_port, .protocol = packet->key.protocol};

	__builtin_memcpy(key.addr, packet->key.dst_addr, 4);
	return bpf_map_lookup_elem(&services, &key);
}

/* Fills `flow` for a packet of no known flow, all but the port toward the server. */
static __always_inline int server_choose(const struct packet *packet,
					 const struct service_value *service, __u64 now_ns,
					 struct flow_value *flow)
{
	struct server_key key = {.server_set = service->server_set};
	struct server_value *server;

	if (packet->key.protocol == IPPROTO_TCP && !packet_is_syn(packet))
		return STEER_DROP_NO_FLOW;
	if (!service->n_servers)
		return STEER_DROP_NO_SERVER;
	key.index = hash_tuple(&packet->key) % service->n_servers;
	server = bpf_map_lookup_elem(&servers, &key);
	if (!server)
		return STEER_DROP_NO_SERVER;
	__builtin_memcpy(flow->new_src_addr, server->nat_addr, 4);
	__builtin_memcpy(flow->new_dst_addr, server->addr, 4);
	flow->new_dst_port = server->port;
	flow->direction = FLOW_TO_ORIGIN;
	flow->server_index = key.index;
	flow->service_id = service->service_id;
	flow->created_ns = now_ns;
	flow->last_seen_ns = now_ns;
	return GO_ON;
}

static __always_inline int route_verdict(long found)
{
	switch (found) {
	case BPF_FIB_LKUP_RET_SUCCESS:
		return GO_ON;
	case BPF_FIB_LKUP_RET_NO_NEIGH:
		return STEER_PASS_NO_NEIGHBOUR;
	case BPF_FIB_LKUP_RET_FRAG_NEEDED:
		return STEER_PASS_TOO_BIG;
	case BPF_FIB_LKUP_RET_FWD_DISABLED:
		return STEER_DROP_NO_FORWARDING;
	default:
		return STEER_DROP_NO_ROUTE;
	}
}

/*
 * `check_bytes`: length to hold against the MTU of the route; 0: the kernel holds the skb against
 * the device, which is right also for a packet that is segmented later.
 */
static __always_inline int route_find(void *ctx, __u32 ifindex, const struct packet *packet,
				      __u32 check_bytes, struct decision *decision)
{
	struct bpf_fib_lookup *fib = &decision->fib;

	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = AF_INET;
	fib->tos = packet->tos;
	fib->l4_protocol = packet->key.protocol;
	fib->sport = bpf_htons(decision->flow.new_src_port);
	fib->dport = bpf_htons(decision->flow.new_dst_port);
	fib->tot_len = check_bytes;
	__builtin_memcpy(&fib->ipv4_src, decision->flow.new_src_addr, 4);
	__builtin_memcpy(&fib->ipv4_dst, decision->flow.new_dst_addr, 4);
	fib->ifindex = ifindex;
	return route_verdict(bpf_fib_lookup(ctx, fib, sizeof(*fib), 0));
}

/*
 * The whole decision. GO_ON: rewrite and send as `ret_decision` says; the packet is counted in its
 * flow. With `resolves` the caller can send to a next hop whose hardware address is not known yet.
 */
static __always_inline int nat_decide(void *ctx, __u32 ifindex, const struct packet *packet,
				      __u32 check_bytes, _Bool resolves,
				      struct decision *ret_decision)
{
	__u64 now_ns = bpf_ktime_get_ns();
	struct flow_value *flow = flow_find(packet, now_ns);
	struct service_value service = {};
	struct service_value *found;
	int reason;

	__builtin_memset(&ret_decision->flow, 0, sizeof(ret_decision->flow));
	if (flow) {
		__builtin_memcpy(&ret_decision->flow, flow, 16);
	} else {
		found = service_find(packet);
		if (!found)
			return STEER_PASS_NOT_SERVICE;
		service = *found; /* the daemon may replace it under our hands */
		reason = server_choose(packet, &service, now_ns, &ret_decision->flow);
		if (reason != GO_ON)
			return reason;
	}
	if (packet->ttl <= 1)
		return STEER_DROP_TTL;
	reason = route_find(ctx, ifindex, packet, check_bytes, ret_decision);
	ret_decision->is_resolved = reason == GO_ON;
	if (reason != GO_ON && !(resolves && reason == STEER_PASS_NO_NEIGHBOUR))
		return reason;
	if (!resolves && ret_decision->fib.ifindex != ifindex &&
	    !bpf_map_lookup_elem(&xdp_devices, &ret_decision->fib.ifindex))
		return STEER_PASS_TO_TC;
	if (!flow) {
		reason = flow_open(packet, &service, &ret_decision->flow);
		if (reason != GO_ON)
			return reason;
		flow = bpf_map_lookup_elem(&flows, &packet->key);
		if (!flow)
			return STEER_DROP_MAP_FULL;
		__builtin_memcpy(&ret_decision->flow, flow, 16);
		stats_count(STEER_FLOW_NEW);
	}
	flow_account(flow, packet, now_ns);
	return GO_ON;
}

/* One's complement arithmetic of RFC 1071 in 64 bits, where no carry is lost: takes `old` out and
 * puts `new` in. */
static __always_inline __u64 sum_replace(__u64 sum, __u32 old_word, __u32 new_word)
{
	return sum + (__u32)~old_word + new_word;
}

static __always_inline __u16 sum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* RFC 1624, equation 3. */
static __always_inline __u16 checksum_update(__u16 check, __u64 difference)
{
	return ~sum_fold((__u16)~check + difference);
}

static __always_inline __be32 addr_load(const __u8 addr[4])
{
	__be32 word;

	__builtin_memcpy(&word, addr, 4);
	return word;
}

/* Of addresses and ports, for the checksum of TCP or UDP. */
static __always_inline __u64 nat_difference(const struct flow_key *old,
					    const struct flow_value *new)
{
	__u64 sum = sum_replace(0, addr_load(old->src_addr), addr_load(new->new_src_addr));

	sum = sum_replace(sum, addr_load(old->dst_addr), addr_load(new->new_dst_addr));
	sum = sum_replace(sum, bpf_htons(old->src_port), bpf_htons(new->new_src_port));
	return sum_replace(sum, bpf_htons(old->dst_port), bpf_htons(new->new_dst_port));
}

/* Everything but the checksum behind the ports; hardware addresses where they are known. */
static __always_inline void nat_rewrite(struct ethhdr *eth, struct iphdr *ip, __be16 ports[2],
					const struct decision *decision)
{
	const struct flow_value *new = &decision->flow;
	__u64 sum = sum_replace(0, ip->saddr, addr_load(new->new_src_addr));

	sum = sum_replace(sum, ip->daddr, addr_load(new->new_dst_addr));
	sum = sum_replace(sum, bpf_htons(ip->ttl << 8), bpf_htons((ip->ttl - 1) << 8));
	ip->check = checksum_update(ip->check, sum);
	ip->ttl--;
	ip->saddr = addr_load(new->new_src_addr);
	ip->daddr = addr_load(new->new_dst_addr);
	ports[0] = bpf_htons(new->new_src_port);
	ports[1] = bpf_htons(new->new_dst_port);
	if (decision->is_resolved) {
		__builtin_memcpy(eth->h_dest, decision->fib.dmac, ETH_ALEN);
		__builtin_memcpy(eth->h_source, decision->fib.smac, ETH_ALEN);
	}
}

static __always_inline void nat_count_steered(const struct decision *decision)
{
	stats_count(decision->flow.direction == FLOW_TO_ORIGIN ? STEER_STEERED_TO_ORIGIN
							       : STEER_STEERED_TO_CLIENT);
}

#endif
