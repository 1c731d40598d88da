// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The steer lane: packets of a service go to one of its servers and back, with full NAT, before the
 * host's own IP stack sees them. Two entries over one core: XDP for drivers that have it, tc for
 * every Ethernet device. It does not decide what is a service (the daemon writes that), speak ICMP,
 * reassemble, or know IPv6.
 *
 * Where XDP is attached, tc is attached to the same device as well: what XDP passes on, tc sees
 * next. So XDP counts a pass only where tc will not count the same packet in the same way.
 */
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>

#include "nat.bpf.h"

#define L4_OFFSET (ETH_HLEN + sizeof(struct iphdr))
#define TCP_CHECK_OFFSET (L4_OFFSET + __builtin_offsetof(struct tcphdr, check))
#define UDP_CHECK_OFFSET (L4_OFFSET + __builtin_offsetof(struct udphdr, check))

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline _Bool reason_is_drop(int reason)
{
	switch (reason) {
	case STEER_DROP_MALFORMED:
	case STEER_DROP_NO_FLOW:
	case STEER_DROP_NO_SERVER:
	case STEER_DROP_NO_PORT:
	case STEER_DROP_TTL:
	case STEER_DROP_NO_ROUTE:
	case STEER_DROP_MAP_FULL:
	case STEER_DROP_NO_FORWARDING:
		return 1;
	default:
		return 0;
	}
}

static __always_inline int xdp_end(int reason)
{
	if (reason_is_drop(reason)) {
		stats_count(reason);
		return XDP_DROP;
	}
	if (reason == STEER_PASS_NO_NEIGHBOUR || reason == STEER_PASS_TO_TC)
		stats_count(reason);
	return XDP_PASS;
}

static __always_inline int tc_end(int reason)
{
	stats_count(reason);
	return reason_is_drop(reason) ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}

/* False: the headers are not where parse_frame() saw them, which cannot be, but the verifier must
 * be told. */
static __always_inline _Bool xdp_rewrite(struct xdp_md *ctx, const struct packet *packet,
					 const struct decision *decision)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + ETH_HLEN;
	__u64 difference = nat_difference(&packet->key, &decision->flow);
	struct tcphdr *tcp = data + L4_OFFSET;
	struct udphdr *udp = data + L4_OFFSET;

	if ((void *)(udp + 1) > data_end)
		return 0;
	if (packet->key.protocol == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > data_end)
			return 0;
		tcp->check = checksum_update(tcp->check, difference);
	} else if (udp->check) { /* zero: the sender made none, RFC 768 */
		udp->check = checksum_update(udp->check, difference);
		if (!udp->check)
			udp->check = 0xffff;
	}
	nat_rewrite(eth, ip, (__be16 *)udp, decision);
	return 1;
}

SEC("xdp.frags")
int steer_xdp(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *data_end = (void *)(long)ctx->data_end;
	__u32 frame_bytes = bpf_xdp_get_buff_len(ctx);
	struct decision decision;
	struct packet packet;
	int reason;

	/* A driver that keeps headers in fragments: tc pulls them together. */
	if (data + HEADERS_MAX_BYTES > data_end && data + frame_bytes > data_end)
		return XDP_PASS;
	reason = parse_frame(data, data_end, frame_bytes, &packet);
	if (reason != GO_ON)
		return xdp_end(reason);
	reason = nat_decide(ctx, ctx->ingress_ifindex, &packet, packet.len_bytes, 0, &decision);
	if (reason != GO_ON)
		return xdp_end(reason);
	if (!xdp_rewrite(ctx, &packet, &decision))
		return xdp_end(STEER_DROP_MALFORMED);
	nat_count_steered(&decision);
	if (decision.fib.ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return bpf_redirect_map(&xdp_devices, decision.fib.ifindex, 0);
}

/* The headers of a packet, on the stack with the alignment that its verifier asks for. */
struct headers {
	__u16 pad;
	struct ethhdr eth;
	struct iphdr ip;
	__be16 ports[2];
};

#define HEADERS_BYTES (ETH_HLEN + sizeof(struct iphdr) + 4)

/*
 * The helpers know what a half-made checksum is (CHECKSUM_PARTIAL, where the device or the
 * segmentation completes it): there the sum holds the addresses but not the ports, hence two steps.
 */
static __always_inline long tc_rewrite_checksum(struct __sk_buff *skb, const struct packet *packet,
						const struct flow_value *new)
{
	_Bool is_tcp = packet->key.protocol == IPPROTO_TCP;
	__u32 offset = is_tcp ? TCP_CHECK_OFFSET : UDP_CHECK_OFFSET;
	__u64 flags = is_tcp ? 0 : BPF_F_MARK_MANGLED_0;
	__be32 old_addrs[2] = {addr_load(packet->key.src_addr), addr_load(packet->key.dst_addr)};
	__be32 new_addrs[2] = {addr_load(new->new_src_addr), addr_load(new->new_dst_addr)};
	__be16 old_ports[2] = {bpf_htons(packet->key.src_port), bpf_htons(packet->key.dst_port)};
	__be16 new_ports[2] = {bpf_htons(new->new_src_port), bpf_htons(new->new_dst_port)};
	__s64 addrs = bpf_csum_diff(old_addrs, sizeof(old_addrs), new_addrs, sizeof(new_addrs), 0);
	__s64 ports = bpf_csum_diff((__be32 *)old_ports, sizeof(old_ports), (__be32 *)new_ports,
				    sizeof(new_ports), 0);
	long err = bpf_l4_csum_replace(skb, offset, 0, addrs, flags | BPF_F_PSEUDO_HDR);

	return err ? err : bpf_l4_csum_replace(skb, offset, 0, ports, flags);
}

static __always_inline long tc_rewrite(struct __sk_buff *skb, const struct packet *packet,
				       const struct decision *decision)
{
	struct headers headers = {};
	long err = tc_rewrite_checksum(skb, packet, &decision->flow);

	if (!err)
		err = bpf_skb_load_bytes(skb, 0, &headers.eth, HEADERS_BYTES);
	if (err)
		return err;
	nat_rewrite(&headers.eth, &headers.ip, headers.ports, decision);
	return bpf_skb_store_bytes(skb, 0, &headers.eth, HEADERS_BYTES, 0);
}

/* To a next hop that the kernel has yet to ask for: it queues the packet meanwhile. */
static __always_inline int tc_redirect_unresolved(const struct bpf_fib_lookup *fib)
{
	struct bpf_redir_neigh next_hop = {.nh_family = fib->family};

	__builtin_memcpy(next_hop.ipv6_nh, fib->ipv6_dst,
			 sizeof(next_hop.ipv6_nh)); /* a union with ipv4_dst */
	return bpf_redirect_neigh(fib->ifindex, &next_hop, sizeof(next_hop), 0);
}

SEC("tc")
int steer_tc(struct __sk_buff *skb)
{
	struct decision decision;
	struct packet packet;
	int reason;

	/* A frame with a VLAN tag comes again, by the VLAN's own device. */
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TC_ACT_UNSPEC;
	if ((void *)(long)skb->data + HEADERS_MAX_BYTES > (void *)(long)skb->data_end)
		bpf_skb_pull_data(skb, skb->len < HEADERS_MAX_BYTES ? skb->len : HEADERS_MAX_BYTES);
	reason =
	    parse_frame((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, &packet);
	if (reason != GO_ON)
		return tc_end(reason);
	reason = nat_decide(skb, skb->ifindex, &packet, 0, 1, &decision);
	if (reason != GO_ON)
		return tc_end(reason);
	if (tc_rewrite(skb, &packet, &decision))
		return tc_end(STEER_DROP_MALFORMED);
	nat_count_steered(&decision);
	if (!decision.is_resolved)
		return tc_redirect_unresolved(&decision.fib);
	return bpf_redirect(decision.fib.ifindex, 0);
}
