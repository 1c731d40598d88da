// SPDX-License-Identifier: Apache-2.0
/*
 * The steer programs, packet by packet, through BPF_PROG_TEST_RUN: {name, packet in, state of the
 * maps, verdict, packet out, counter}, each for the XDP and for the tc entry. What comes out is
 * compared with a packet that was built anew. That packets really leave by the device that was
 * chosen is for tests/net.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "node.h"
#include "packets.h"

#define SERVICE "192.0.2.10"
#define NAT_PORT 40000
#define NAT_PORT_2 40001
#define IDLE_S 60

enum { SYN = 0x02, FIN = 0x01, RST = 0x04, ACK = 0x10 };

enum verdict { PASS, DROP, SEND };

static struct node node;

static void set_addr(uint8_t addr[4], const char *text)
{
	assert_int_equal(inet_pton(AF_INET, text, addr), 1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- states of the maps ------------------------------------------------------------------------
 */

static void put_server(uint32_t set, uint32_t index, const char *addr, uint16_t port)
{
	struct server_key key = {.server_set = set, .index = index};
	struct server_value value = {.port = port};

	set_addr(value.addr, addr);
	set_addr(value.nat_addr, NODE_SERVER_NET_ADDR);
	assert_int_equal(bpf_map_update_elem(node_map_fd(&node, "servers"), &key, &value, BPF_ANY),
			 0);
}

static void put_service(uint8_t protocol, uint16_t port, uint32_t set, uint16_t n_servers,
			uint16_t nat_port_max)
{
	struct service_key key = {.port = port, .protocol = protocol};
	struct service_value value = {.service_id = 7,
				      .server_set = set,
				      .n_servers = n_servers,
				      .nat_port_min = NAT_PORT,
				      .nat_port_max = nat_port_max,
				      .udp_idle_s = IDLE_S,
				      .tcp_idle_s = IDLE_S};

	set_addr(key.addr, SERVICE);
	assert_int_equal(bpf_map_update_elem(node_map_fd(&node, "services"), &key, &value, BPF_ANY),
			 0);
}

/* UDP 53 and TCP 80, one server each, and a single NAT port, so that the outcome is known. */
static void one_server(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_server(2, 0, NODE_SERVER, 8080);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT);
	put_service(IPPROTO_TCP, 80, 2, 1, NAT_PORT);
}

static void two_nat_ports(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT_2);
}

static void server_at(const char *addr)
{
	put_server(1, 0, addr, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT);
}

static void no_server(void)
{
	put_service(IPPROTO_UDP, 53, 1, 0, NAT_PORT);
}

static void server_set_missing(void)
{
	put_service(IPPROTO_UDP, 53, 99, 1, NAT_PORT);
}

static void server_without_route(void)
{
	server_at(NODE_SERVER_AWAY);
}

static void server_without_neighbour(void)
{
	server_at(NODE_SERVER_SILENT);
}

/* One direction of a flow. */
struct direction {
	const char *src, *dst, *new_src, *new_dst;
	uint16_t src_port, dst_port, new_src_port, new_dst_port;
	uint8_t protocol, direction, tcp_seen;
	uint64_t packets;
	uint64_t age_s;
};

static struct flow_key key_of(const struct direction *d)
{
	struct flow_key key = {
	    .src_port = d->src_port, .dst_port = d->dst_port, .protocol = d->protocol};

	set_addr(key.src_addr, d->src);
	set_addr(key.dst_addr, d->dst);
	return key;
}

static void put_direction(const struct direction *d)
{
	struct flow_key key = key_of(d);
	struct flow_value value = {.new_src_port = d->new_src_port,
				   .new_dst_port = d->new_dst_port,
				   .direction = d->direction,
				   .tcp_seen = d->tcp_seen,
				   .service_id = 7,
				   .packets = d->packets,
				   .last_seen_ns = now_ns() - d->age_s * 1000000000};

	set_addr(value.new_src_addr, d->new_src);
	set_addr(value.new_dst_addr, d->new_dst);
	assert_int_equal(bpf_map_update_elem(node_map_fd(&node, "flows"), &key, &value, BPF_ANY),
			 0);
}

/* The flow of `client`:`client_port` through NAT_PORT, as the programs would have opened it. */
static struct direction forward(uint8_t protocol, const char *client, uint16_t client_port)
{
	_Bool is_tcp = protocol == IPPROTO_TCP;

	return (struct direction){.src = client,
				  .dst = SERVICE,
				  .new_src = NODE_SERVER_NET_ADDR,
				  .new_dst = NODE_SERVER,
				  .src_port = client_port,
				  .dst_port = is_tcp ? 80 : 53,
				  .new_src_port = NAT_PORT,
				  .new_dst_port = is_tcp ? 8080 : 5353,
				  .protocol = protocol,
				  .direction = FLOW_TO_ORIGIN,
				  .packets = 1};
}

static struct direction backward(const struct direction *d)
{
	struct direction back = *d;

	back.src = d->new_dst;
	back.src_port = d->new_dst_port;
	back.dst = d->new_src;
	back.dst_port = d->new_src_port;
	back.new_src = d->dst;
	back.new_src_port = d->dst_port;
	back.new_dst = d->src;
	back.new_dst_port = d->src_port;
	back.direction = FLOW_TO_CLIENT;
	return back;
}

static void put_flow(struct direction d, uint64_t age_s, uint64_t back_age_s, uint8_t seen,
		     uint8_t back_seen)
{
	struct direction back = backward(&d);

	d.age_s = age_s;
	d.tcp_seen = seen;
	back.age_s = back_age_s;
	back.tcp_seen = back_seen;
	put_direction(&d);
	put_direction(&back);
}

static void udp_flow(void)
{
	one_server();
	put_flow(forward(IPPROTO_UDP, NODE_CLIENT, 4000), 0, 0, 0, 0);
}

static void tcp_flow(void)
{
	one_server();
	put_flow(forward(IPPROTO_TCP, NODE_CLIENT, 4000), 0, 0, FLOW_SEEN_SYN, FLOW_SEEN_SYN);
}

static void tcp_flow_reset_by_server(void)
{
	one_server();
	put_flow(forward(IPPROTO_TCP, NODE_CLIENT, 4000), 0, 0, FLOW_SEEN_SYN, FLOW_SEEN_RST);
}

static void tcp_flow_half_closed(void)
{
	one_server();
	put_flow(forward(IPPROTO_TCP, NODE_CLIENT, 4000), 0, 0, FLOW_SEEN_SYN | FLOW_SEEN_FIN,
		 FLOW_SEEN_SYN);
}

/* Another client holds the only NAT port, and its flow is silent for so long in each direction. */
static void port_held(uint8_t protocol, uint64_t age_s, uint64_t back_age_s, uint8_t seen,
		      uint8_t back_seen)
{
	one_server();
	put_flow(forward(protocol, "198.51.100.77", 7777), age_s, back_age_s, seen, back_seen);
}

static void port_held_by_live(void)
{
	port_held(IPPROTO_UDP, IDLE_S - 5, IDLE_S - 5, 0, 0);
}

static void port_held_by_expired(void)
{
	port_held(IPPROTO_UDP, IDLE_S + 5, IDLE_S + 5, 0, 0);
}

static void port_held_by_one_way(void)
{
	port_held(IPPROTO_UDP, 0, IDLE_S + 5, 0, 0);
}

static void port_held_by_settled_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN, FLOW_SEEN_SYN);
}

static void port_held_by_closed_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN | FLOW_SEEN_FIN,
		  FLOW_SEEN_SYN | FLOW_SEEN_FIN);
}

static void port_held_by_half_open_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN, 0);
}

static void port_held_by_fresh_half_open_tcp(void)
{
	port_held(IPPROTO_TCP, 25, 25, FLOW_SEEN_SYN, 0);
}

static void port_held_by_orphan(void)
{
	struct direction other = forward(IPPROTO_UDP, "198.51.100.77", 7777);
	struct direction back = backward(&other);

	one_server();
	back.age_s = IDLE_S + 5;
	put_direction(&back);
}

static void one_of_two_ports_held(void)
{
	two_nat_ports();
	put_flow(forward(IPPROTO_UDP, "198.51.100.77", 7777), 0, 0, 0, 0);
}

static void no_nat_port(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT - 1);
}

/* Only the direction toward the server is left, and it is time to look. */
static void pair_lost(void)
{
	struct direction d = forward(IPPROTO_TCP, NODE_CLIENT, 4000);

	one_server();
	d.age_s = 2;
	put_direction(&d);
}

static void pair_lost_to_another(void)
{
	struct direction other = forward(IPPROTO_TCP, "198.51.100.77", 7777);
	struct direction back = backward(&other);

	pair_lost();
	put_direction(&back);
}

static void forwarding_off(void)
{
	one_server();
	node_write("/proc/sys/net/ipv4/conf/lo/forwarding", "0");
}

static void device_without_xdp(void)
{
	one_server();
	assert_int_equal(bpf_map_delete_elem(node_map_fd(&node, "xdp_devices"), &node.s0), 0);
}

static void restore_node(void)
{
	node_write("/proc/sys/net/ipv4/conf/lo/forwarding", "1");
	assert_int_equal(
	    bpf_map_update_elem(node_map_fd(&node, "xdp_devices"), &node.s0, &node.s0, BPF_ANY), 0);
}

/* ---- changes of packets ------------------------------------------------------------------------
 */

/* Returns the new length of the frame. */
typedef size_t change_fn(uint8_t *frame, size_t len_bytes);

static size_t make_arp(uint8_t *frame, size_t len_bytes)
{
	frame[12] = 0x08;
	frame[13] = 0x06;
	return len_bytes;
}

static size_t make_ipv6(uint8_t *frame, size_t len_bytes)
{
	frame[12] = 0x86;
	frame[13] = 0xdd;
	return len_bytes;
}

static size_t set_more_fragments(uint8_t *frame, size_t len_bytes)
{
	frame[20] |= 0x20;
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t set_fragment_offset(uint8_t *frame, size_t len_bytes)
{
	frame[21] = 1;
	packet_fix_ip(frame);
	return len_bytes;
}

/* Four bytes of no-operation options; what follows is shorter by them, as nobody looks there. */
static size_t add_options(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x46;
	memset(frame + 34, 1, 4);
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t cut_in_ip(uint8_t *frame, size_t len_bytes)
{
	(void)frame;
	(void)len_bytes;
	return ETH_BYTES + IP_BYTES - 1;
}

static size_t cut_in_l4(uint8_t *frame, size_t len_bytes)
{
	(void)len_bytes;
	frame[17] = IP_BYTES + 7;
	packet_fix_ip(frame);
	return ETH_BYTES + IP_BYTES + 7;
}

static size_t cut_in_tcp(uint8_t *frame, size_t len_bytes)
{
	(void)len_bytes;
	frame[17] = IP_BYTES + 19;
	packet_fix_ip(frame);
	return ETH_BYTES + IP_BYTES + 19;
}

static size_t cut_last_byte(uint8_t *frame, size_t len_bytes)
{
	(void)frame;
	return len_bytes - 1;
}

/* The header says less than the L4 header needs, while the frame has more bytes. */
static size_t shrink_ip_length(uint8_t *frame, size_t len_bytes)
{
	frame[16] = 0;
	frame[17] = IP_BYTES + 4;
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t zero_ip_length(uint8_t *frame, size_t len_bytes)
{
	frame[16] = 0;
	frame[17] = 0;
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t set_version_5(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x55;
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t set_ihl_4(uint8_t *frame, size_t len_bytes)
{
	frame[14] = 0x44;
	packet_fix_ip(frame);
	return len_bytes;
}

static size_t set_udp_length_7(uint8_t *frame, size_t len_bytes)
{
	frame[38] = 0;
	frame[39] = 7;
	return len_bytes;
}

static size_t set_udp_length_too_long(uint8_t *frame, size_t len_bytes)
{
	frame[39]++;
	return len_bytes;
}

static size_t set_tcp_offset_4(uint8_t *frame, size_t len_bytes)
{
	frame[46] = 4 << 4;
	return len_bytes;
}

static size_t set_tcp_offset_15(uint8_t *frame, size_t len_bytes)
{
	frame[46] = 15 << 4;
	return len_bytes;
}

/* ---- the table ---------------------------------------------------------------------------------
 */

#define UDP_IN \
	.protocol = IPPROTO_UDP, .src = NODE_CLIENT, .src_port = 4000, .dst = SERVICE, \
	.dst_port = 53
#define TCP_IN \
	.protocol = IPPROTO_TCP, .src = NODE_CLIENT, .src_port = 4000, .dst = SERVICE, \
	.dst_port = 80
#define UDP_OUT_FROM(port) \
	.protocol = IPPROTO_UDP, .src = NODE_SERVER_NET_ADDR, .src_port = (port), \
	.dst = NODE_SERVER, .dst_port = 5353
#define UDP_OUT UDP_OUT_FROM(NAT_PORT)
#define TCP_OUT \
	.protocol = IPPROTO_TCP, .src = NODE_SERVER_NET_ADDR, .src_port = NAT_PORT, \
	.dst = NODE_SERVER, .dst_port = 8080
#define UDP_BACK_IN \
	.protocol = IPPROTO_UDP, .src = NODE_SERVER, .src_port = 5353, \
	.dst = NODE_SERVER_NET_ADDR, .dst_port = NAT_PORT
#define UDP_BACK_OUT \
	.protocol = IPPROTO_UDP, .src = SERVICE, .src_port = 53, .dst = NODE_CLIENT, \
	.dst_port = 4000
#define TCP_BACK_IN \
	.protocol = IPPROTO_TCP, .src = NODE_SERVER, .src_port = 8080, \
	.dst = NODE_SERVER_NET_ADDR, .dst_port = NAT_PORT
#define TCP_BACK_OUT \
	.protocol = IPPROTO_TCP, .src = SERVICE, .src_port = 80, .dst = NODE_CLIENT, \
	.dst_port = 4000

struct test_case {
	const char *name;
	void (*prepare)(void); /* the maps, and the node; NULL: one_server() */
	struct packet_spec in;
	change_fn *change; /* after it was built */
	enum verdict verdict;
	struct packet_spec out; /* for SEND; see complete_frame() */
	enum steer_counter counter;
	_Bool opens; /* flow_new goes up by one */
	int flows_after; /* entries; 0: as many as before, -1: none */
	enum { BOTH, XDP_ALONE, TC_ALONE } programs;
};

static const struct test_case cases[] = {
    /* left to the host */
    {.name = "arp",
     .in = {UDP_IN},
     .change = make_arp,
     .verdict = PASS,
     .counter = STEER_PASS_NOT_IPV4},
    {.name = "ipv6",
     .in = {UDP_IN, .payload_bytes = 40},
     .change = make_ipv6,
     .verdict = PASS,
     .counter = STEER_PASS_NOT_IPV4},
    {.name = "icmp to the service's address",
     .in = {.protocol = IPPROTO_ICMP, .src = NODE_CLIENT, .dst = SERVICE},
     .verdict = PASS,
     .counter = STEER_PASS_NOT_SERVICE},
    {.name = "udp to another port",
     .in = {.protocol = IPPROTO_UDP,
	    .src = NODE_CLIENT,
	    .src_port = 4000,
	    .dst = SERVICE,
	    .dst_port = 54},
     .verdict = PASS,
     .counter = STEER_PASS_NOT_SERVICE},
    {.name = "udp to the port of a tcp service",
     .in = {.protocol = IPPROTO_UDP,
	    .src = NODE_CLIENT,
	    .src_port = 4000,
	    .dst = SERVICE,
	    .dst_port = 80},
     .verdict = PASS,
     .counter = STEER_PASS_NOT_SERVICE},
    {.name = "udp to another address",
     .in = {.protocol = IPPROTO_UDP,
	    .src = NODE_CLIENT,
	    .src_port = 4000,
	    .dst = "192.0.2.11",
	    .dst_port = 53},
     .verdict = PASS,
     .counter = STEER_PASS_NOT_SERVICE},
    {.name = "first fragment",
     .in = {UDP_IN, .payload_bytes = 8},
     .change = set_more_fragments,
     .verdict = PASS,
     .counter = STEER_PASS_FRAGMENT},
    {.name = "later fragment",
     .in = {UDP_IN, .payload_bytes = 8},
     .change = set_fragment_offset,
     .verdict = PASS,
     .counter = STEER_PASS_FRAGMENT},
    {.name = "ip options",
     .in = {UDP_IN, .payload_bytes = 8},
     .change = add_options,
     .verdict = PASS,
     .counter = STEER_PASS_IP_OPTIONS},
    {.name = "larger than the way out takes",
     .in = {UDP_IN, .payload_bytes = 1600},
     .verdict = PASS,
     .counter = STEER_PASS_TOO_BIG},

    /* malformed; the kernel gives tc no frame with less than an IP header in test runs */
    {.name = "ip header cut",
     .in = {UDP_IN},
     .change = cut_in_ip,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED,
     .programs = XDP_ALONE},
    {.name = "ip version 5",
     .in = {UDP_IN},
     .change = set_version_5,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "ip header length 16",
     .in = {UDP_IN},
     .change = set_ihl_4,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "frame shorter than the ip length",
     .in = {UDP_IN, .payload_bytes = 9},
     .change = cut_last_byte,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "ip length without room for udp",
     .in = {UDP_IN},
     .change = shrink_ip_length,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "ip length zero",
     .in = {UDP_IN},
     .change = zero_ip_length,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "udp header cut",
     .in = {UDP_IN},
     .change = cut_in_l4,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "udp length 7",
     .in = {UDP_IN},
     .change = set_udp_length_7,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "udp length past the packet",
     .in = {UDP_IN},
     .change = set_udp_length_too_long,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "tcp header cut",
     .in = {TCP_IN, .tcp_flags = SYN},
     .change = cut_in_tcp,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "tcp header length 16",
     .in = {TCP_IN, .tcp_flags = SYN},
     .change = set_tcp_offset_4,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},
    {.name = "tcp header longer than the packet",
     .in = {TCP_IN, .tcp_flags = SYN},
     .change = set_tcp_offset_15,
     .verdict = DROP,
     .counter = STEER_DROP_MALFORMED},

    /* new flows */
    {.name = "udp opens a flow",
     .in = {UDP_IN, .payload_bytes = 33},
     .verdict = SEND,
     .out = {UDP_OUT, .payload_bytes = 33},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "syn opens a flow",
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "ttl 2",
     .in = {UDP_IN, .ttl = 2},
     .verdict = SEND,
     .out = {UDP_OUT, .ttl = 1},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "ttl 255",
     .in = {UDP_IN, .ttl = 255},
     .verdict = SEND,
     .out = {UDP_OUT, .ttl = 254},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "udp without checksum stays so",
     .in = {UDP_IN, .payload_bytes = 5, .has_no_udp_check = 1},
     .verdict = SEND,
     .out = {UDP_OUT, .payload_bytes = 5, .has_no_udp_check = 1},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "a frame with a trailer",
     .in = {UDP_IN, .payload_bytes = 1, .trailer_bytes = 17},
     .verdict = SEND,
     .out = {UDP_OUT, .payload_bytes = 1, .trailer_bytes = 17},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "the largest packet that fits",
     .in = {UDP_IN, .payload_bytes = 1472},
     .verdict = SEND,
     .out = {UDP_OUT, .payload_bytes = 1472},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "ack of no flow",
     .in = {TCP_IN, .tcp_flags = ACK},
     .verdict = DROP,
     .counter = STEER_DROP_NO_FLOW},
    {.name = "syn with ack of no flow",
     .in = {TCP_IN, .tcp_flags = SYN | ACK},
     .verdict = DROP,
     .counter = STEER_DROP_NO_FLOW},
    {.name = "rst of no flow",
     .in = {TCP_IN, .tcp_flags = RST},
     .verdict = DROP,
     .counter = STEER_DROP_NO_FLOW},
    {.name = "no server",
     .prepare = no_server,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_SERVER},
    {.name = "server set missing",
     .prepare = server_set_missing,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_SERVER},
    {.name = "no route",
     .prepare = server_without_route,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_ROUTE},
    {.name = "device does not forward",
     .prepare = forwarding_off,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_FORWARDING},
    {.name = "ttl 1", .in = {UDP_IN, .ttl = 1}, .verdict = DROP, .counter = STEER_DROP_TTL},
    {.name = "xdp leaves an unknown next hop to tc",
     .prepare = server_without_neighbour,
     .in = {UDP_IN},
     .verdict = PASS,
     .counter = STEER_PASS_NO_NEIGHBOUR,
     .programs = XDP_ALONE},
    {.name = "xdp leaves a device that it cannot send by to tc",
     .prepare = device_without_xdp,
     .in = {UDP_IN},
     .verdict = PASS,
     .counter = STEER_PASS_TO_TC,
     .programs = XDP_ALONE},
    {.name = "tc needs no xdp on the way out",
     .prepare = device_without_xdp,
     .in = {UDP_IN},
     .verdict = SEND,
     .out = {UDP_OUT},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2,
     .programs = TC_ALONE},

    /* NAT ports */
    {.name = "no nat port at all",
     .prepare = no_nat_port,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_PORT},
    {.name = "port held by a live flow",
     .prepare = port_held_by_live,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_PORT},
    {.name = "port held by an expired flow",
     .prepare = port_held_by_expired,
     .in = {UDP_IN},
     .verdict = SEND,
     .out = {UDP_OUT},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "port held by a flow that only the client feeds",
     .prepare = port_held_by_one_way,
     .in = {UDP_IN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_PORT},
    {.name = "port held by half a flow, expired",
     .prepare = port_held_by_orphan,
     .in = {UDP_IN},
     .verdict = SEND,
     .out = {UDP_OUT},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "port held by a tcp connection",
     .prepare = port_held_by_settled_tcp,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_PORT},
    {.name = "port held by a closed tcp connection",
     .prepare = port_held_by_closed_tcp,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "port held by a syn that nobody answered",
     .prepare = port_held_by_half_open_tcp,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 2},
    {.name = "port held by a syn that may still be answered",
     .prepare = port_held_by_fresh_half_open_tcp,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = DROP,
     .counter = STEER_DROP_NO_PORT},
    {.name = "the other port is taken",
     .prepare = one_of_two_ports_held,
     .in = {UDP_IN},
     .verdict = SEND,
     .out = {UDP_OUT_FROM(NAT_PORT_2)},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1,
     .flows_after = 4},

    /* known flows */
    {.name = "udp of a flow",
     .prepare = udp_flow,
     .in = {UDP_IN, .payload_bytes = 100},
     .verdict = SEND,
     .out = {UDP_OUT, .payload_bytes = 100},
     .counter = STEER_STEERED_TO_ORIGIN},
    {.name = "udp back to the client",
     .prepare = udp_flow,
     .in = {UDP_BACK_IN, .payload_bytes = 101},
     .verdict = SEND,
     .out = {UDP_BACK_OUT, .payload_bytes = 101},
     .counter = STEER_STEERED_TO_CLIENT},
    {.name = "udp without checksum back to the client",
     .prepare = udp_flow,
     .in = {UDP_BACK_IN, .payload_bytes = 3, .has_no_udp_check = 1},
     .verdict = SEND,
     .out = {UDP_BACK_OUT, .payload_bytes = 3, .has_no_udp_check = 1},
     .counter = STEER_STEERED_TO_CLIENT},
    {.name = "tcp of a flow",
     .prepare = tcp_flow,
     .in = {TCP_IN, .tcp_flags = ACK, .payload_bytes = 1000},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = ACK, .payload_bytes = 1000},
     .counter = STEER_STEERED_TO_ORIGIN},
    {.name = "tcp back to the client",
     .prepare = tcp_flow,
     .in = {TCP_BACK_IN, .tcp_flags = ACK, .payload_bytes = 999},
     .verdict = SEND,
     .out = {TCP_BACK_OUT, .tcp_flags = ACK, .payload_bytes = 999},
     .counter = STEER_STEERED_TO_CLIENT},
    {.name = "ttl 1 of a flow",
     .prepare = tcp_flow,
     .in = {TCP_IN, .tcp_flags = ACK, .ttl = 1},
     .verdict = DROP,
     .counter = STEER_DROP_TTL},
    {.name = "another port of the server",
     .prepare = udp_flow,
     .in = {.protocol = IPPROTO_UDP,
	    .src = NODE_SERVER,
	    .src_port = 5354,
	    .dst = NODE_SERVER_NET_ADDR,
	    .dst_port = NAT_PORT},
     .verdict = PASS,
     .counter = STEER_PASS_NOT_SERVICE},
    {.name = "a syn again",
     .prepare = tcp_flow,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN},
    {.name = "a syn on a flow that was reset opens another",
     .prepare = tcp_flow_reset_by_server,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN,
     .opens = 1},
    {.name = "a syn on a half-closed flow does not",
     .prepare = tcp_flow_half_closed,
     .in = {TCP_IN, .tcp_flags = SYN},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = SYN},
     .counter = STEER_STEERED_TO_ORIGIN},
    {.name = "a lost direction is mended",
     .prepare = pair_lost,
     .in = {TCP_IN, .tcp_flags = ACK},
     .verdict = SEND,
     .out = {TCP_OUT, .tcp_flags = ACK},
     .counter = STEER_STEERED_TO_ORIGIN,
     .flows_after = 2},
    {.name = "a direction lost to another flow ends this one",
     .prepare = pair_lost_to_another,
     .in = {TCP_IN, .tcp_flags = ACK},
     .verdict = DROP,
     .counter = STEER_DROP_NO_FLOW,
     .flows_after = 1},
};

/* ---- the run -----------------------------------------------------------------------------------
 */

struct outcome {
	enum verdict verdict;
	uint8_t frame[PACKET_MAX_BYTES];
	size_t len_bytes;
};

static enum verdict verdict_of(uint32_t value, _Bool is_xdp)
{
	if (is_xdp) {
		assert_true(value == XDP_PASS || value == XDP_DROP || value == XDP_REDIRECT);
		return value == XDP_PASS ? PASS : value == XDP_DROP ? DROP : SEND;
	}
	assert_true(value == (uint32_t)TC_ACT_UNSPEC || value == TC_ACT_SHOT ||
		    value == TC_ACT_REDIRECT);
	return value == (uint32_t)TC_ACT_UNSPEC ? PASS : value == TC_ACT_SHOT ? DROP : SEND;
}

static void run(_Bool is_xdp, uint8_t *frame, size_t len_bytes, struct outcome *ret_outcome)
{
	int program_fd = node_program_fd(&node, is_xdp ? "steer_xdp" : "steer_tc");
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len_bytes,
		    .data_out = ret_outcome->frame, .data_size_out = sizeof(ret_outcome->frame),
		    .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(program_fd, &opts), 0);
	ret_outcome->verdict = verdict_of(opts.retval, is_xdp);
	ret_outcome->len_bytes = opts.data_size_out;
}

static int count_flows(void)
{
	struct flow_key key;
	void *previous = NULL;
	int n = 0;

	while (bpf_map_get_next_key(node_map_fd(&node, "flows"), previous, &key) == 0) {
		previous = &key;
		n++;
	}
	return n;
}

static void expect_frame(const struct outcome *outcome, const uint8_t *frame, size_t len_bytes)
{
	assert_int_equal(outcome->len_bytes, len_bytes);
	assert_memory_equal(outcome->frame, frame, len_bytes);
}

/* What follows from the rest: the hardware addresses of the way, and one hop less to live. */
static void complete_frame(struct packet_spec *spec)
{
	_Bool is_to_client = strcmp(spec->dst, NODE_CLIENT) == 0;

	memcpy(spec->dst_mac, is_to_client ? node_client_mac : node_server_mac, 6);
	memcpy(spec->src_mac, is_to_client ? node_c0_mac : node_s0_mac, 6);
	if (!spec->ttl)
		spec->ttl = 63;
}

static _Bool is_counted(const struct test_case *c, _Bool is_xdp)
{
	return !is_xdp || c->verdict != PASS || c->counter == STEER_PASS_NO_NEIGHBOUR ||
	       c->counter == STEER_PASS_TO_TC;
}

/* The one counter that is named went up by one, and no other. */
static void expect_counters(const struct test_case *c, _Bool is_xdp)
{
	for (enum steer_counter i = 0; i < STEER_COUNTER_MAX; i++) {
		uint64_t expected =
		    (i == c->counter && is_counted(c, is_xdp)) || (i == STEER_FLOW_NEW && c->opens);

		if (node_counter(&node, i) != expected)
			fail_msg("counter %d is %llu, not %llu", (int)i,
				 (unsigned long long)node_counter(&node, i),
				 (unsigned long long)expected);
	}
}

static void run_case(const struct test_case *c, _Bool is_xdp)
{
	uint8_t in[PACKET_MAX_BYTES], expected[PACKET_MAX_BYTES];
	struct packet_spec out = c->out;
	struct outcome outcome;
	size_t len_bytes;
	int flows_before;

	node_clear(&node);
	if (c->prepare)
		c->prepare();
	else
		one_server();
	flows_before = count_flows();
	len_bytes = packet_build(&c->in, in);
	if (c->change)
		len_bytes = c->change(in, len_bytes);
	run(is_xdp, in, len_bytes, &outcome);
	restore_node();
	assert_int_equal(outcome.verdict, c->verdict);
	if (c->verdict == SEND) {
		complete_frame(&out);
		expect_frame(&outcome, expected, packet_build(&out, expected));
	} else {
		expect_frame(&outcome, in, len_bytes);
	}
	expect_counters(c, is_xdp);
	assert_int_equal(count_flows(), c->flows_after ? c->flows_after : flows_before);
}

static void test_xdp_case(void **state)
{
	run_case(*state, 1);
}

static void test_tc_case(void **state)
{
	run_case(*state, 0);
}

/* ---- what a table does not say well ------------------------------------------------------------
 */

/* A computed zero goes out as 0xffff, since zero means that there is no checksum (RFC 768). */
static void zero_check(_Bool is_xdp)
{
	struct packet_spec out = {UDP_OUT, .payload_bytes = 4};
	struct packet_spec in = {UDP_IN, .payload_bytes = 4};
	uint8_t frame[PACKET_MAX_BYTES], expected[PACKET_MAX_BYTES];
	struct outcome outcome;
	size_t len_bytes;

	node_clear(&node);
	one_server();
	out.payload_word = packet_word_for_zero_check(&out);
	in.payload_word = out.payload_word;
	complete_frame(&out);
	len_bytes = packet_build(&out, expected);
	assert_int_equal(expected[40] << 8 | expected[41], 0xffff);
	run(is_xdp, frame, packet_build(&in, frame), &outcome);
	assert_int_equal(outcome.verdict, SEND);
	expect_frame(&outcome, expected, len_bytes);
}

static void test_zero_check(void **state)
{
	(void)state;
	zero_check(0);
	zero_check(1);
}

/* A checksum that was wrong stays wrong: damage on the way in must not be hidden. */
static void test_damage_is_kept(void **state)
{
	struct packet_spec in = {TCP_IN, .tcp_flags = SYN, .payload_bytes = 20};
	uint8_t frame[PACKET_MAX_BYTES];
	struct outcome outcome;

	(void)state;
	for (int is_xdp = 0; is_xdp < 2; is_xdp++) {
		size_t len_bytes = packet_build(&in, frame);

		node_clear(&node);
		one_server();
		frame[60] ^= 0x10;
		run(is_xdp, frame, len_bytes, &outcome);
		assert_int_equal(outcome.verdict, SEND);
		assert_int_not_equal(outcome.frame[50] << 8 | outcome.frame[51],
				     packet_l4_check(outcome.frame));
	}
}

/* tc hands a packet for an unknown next hop over rewritten, without hardware addresses of its own.
 */
static void test_tc_unresolved(void **state)
{
	struct packet_spec in = {UDP_IN, .payload_bytes = 10};
	struct packet_spec out = {UDP_OUT, .payload_bytes = 10, .ttl = 63};
	uint8_t frame[PACKET_MAX_BYTES], expected[PACKET_MAX_BYTES];
	struct outcome outcome;

	(void)state;
	node_clear(&node);
	server_without_neighbour();
	out.dst = NODE_SERVER_SILENT;
	run(0, frame, packet_build(&in, frame), &outcome);
	assert_int_equal(outcome.verdict, SEND);
	expect_frame(&outcome, expected, packet_build(&out, expected));
	assert_int_equal(node_counter(&node, STEER_STEERED_TO_ORIGIN), 1);
	assert_int_equal(node_counter(&node, STEER_PASS_NO_NEIGHBOUR), 0);
}

static struct flow_value flow_at(const struct direction *d)
{
	struct flow_key key = key_of(d);
	struct flow_value value;

	assert_int_equal(bpf_map_lookup_elem(node_map_fd(&node, "flows"), &key, &value), 0);
	return value;
}

/* Both entries of a flow, field by field, after a whole TCP exchange. */
static void test_flow_entries(void **state)
{
	static const struct packet_spec exchange[] = {
	    {TCP_IN, .tcp_flags = SYN},
	    {TCP_BACK_IN, .tcp_flags = SYN | ACK},
	    {TCP_IN, .tcp_flags = ACK, .payload_bytes = 100, .trailer_bytes = 4},
	    {TCP_BACK_IN, .tcp_flags = ACK | FIN, .payload_bytes = 60},
	    {TCP_IN, .tcp_flags = ACK | RST},
	};
	struct direction d = forward(IPPROTO_TCP, NODE_CLIENT, 4000);
	struct direction back = backward(&d);
	uint64_t started_ns = now_ns();
	uint8_t frame[PACKET_MAX_BYTES];
	struct outcome outcome;
	struct flow_value value;

	(void)state;
	node_clear(&node);
	one_server();
	for (size_t i = 0; i < sizeof(exchange) / sizeof(exchange[0]); i++) {
		run(i & 1, frame, packet_build(&exchange[i], frame), &outcome);
		assert_int_equal(outcome.verdict, SEND);
	}
	assert_int_equal(count_flows(), 2);
	value = flow_at(&d);
	assert_int_equal(value.packets, 3);
	assert_int_equal(value.bytes, 40 + 140 + 40);
	assert_int_equal(value.tcp_seen, FLOW_SEEN_SYN | FLOW_SEEN_RST);
	assert_int_equal(value.direction, FLOW_TO_ORIGIN);
	assert_int_equal(value.service_id, 7);
	assert_int_equal(value.server_index, 0);
	assert_int_equal(value.new_src_port, NAT_PORT);
	assert_int_equal(value.new_dst_port, 8080);
	assert_true(value.created_ns >= started_ns && value.last_seen_ns >= value.created_ns);
	assert_true(value.last_seen_ns <= now_ns());
	value = flow_at(&back);
	assert_int_equal(value.packets, 2);
	assert_int_equal(value.bytes, 40 + 100);
	assert_int_equal(value.tcp_seen, FLOW_SEEN_SYN | FLOW_SEEN_FIN);
	assert_int_equal(value.direction, FLOW_TO_CLIENT);
	assert_int_equal(value.service_id, 7);
	assert_int_equal(value.new_src_port, 80);
	assert_int_equal(value.new_dst_port, 4000);
}

/* A replaced flow is gone in both directions: else two clients would share one tuple toward the
 * server. */
static void test_replaced_flow_is_gone(void **state)
{
	struct direction other = forward(IPPROTO_UDP, "198.51.100.77", 7777);
	struct packet_spec in = {UDP_IN};
	struct flow_key key = key_of(&other);
	uint8_t frame[PACKET_MAX_BYTES];
	struct outcome outcome;
	struct flow_value value;

	(void)state;
	node_clear(&node);
	port_held_by_expired();
	assert_int_equal(bpf_map_lookup_elem(node_map_fd(&node, "flows"), &key, &value), 0);
	run(1, frame, packet_build(&in, frame), &outcome);
	assert_int_equal(outcome.verdict, SEND);
	assert_int_not_equal(bpf_map_lookup_elem(node_map_fd(&node, "flows"), &key, &value), 0);
}

/* The same tuple always meets the same server, and many tuples meet all of them in about equal
 * parts. */
static void test_servers_share(void **state)
{
	enum { N_FLOWS = 400 };
	int hits[2] = {0, 0};

	(void)state;
	node_clear(&node);
	put_server(1, 0, NODE_SERVER, 5353);
	put_server(1, 1, NODE_SERVER_2, 5353);
	put_service(IPPROTO_UDP, 53, 1, 2, 60000);
	for (int i = 0; i < 2 * N_FLOWS; i++) {
		struct packet_spec in = {UDP_IN};
		uint8_t frame[PACKET_MAX_BYTES];
		struct outcome outcome;

		in.src_port = (uint16_t)(10000 + i % N_FLOWS);
		run(i & 1, frame, packet_build(&in, frame), &outcome);
		assert_int_equal(outcome.verdict, SEND);
		hits[outcome.frame[33] - 2]++;
	}
	assert_int_equal(node_counter(&node, STEER_FLOW_NEW), N_FLOWS);
	assert_int_equal(count_flows(), 2 * N_FLOWS);
	assert_int_equal(hits[0] % 2, 0);
	/* 400 throws of a fair coin are outside of this once in 10^12. */
	assert_in_range(hits[0], 2 * 130, 2 * 270);
}

/* As many clients as there are NAT ports get one each; the next is refused. */
static void test_ports_run_out(void **state)
{
	enum { N_PORTS = 40 };
	uint8_t seen[N_PORTS] = {0};

	(void)state;
	node_clear(&node);
	put_server(1, 0, NODE_SERVER, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT + N_PORTS - 1);
	for (int i = 0; i <= N_PORTS; i++) {
		struct packet_spec in = {UDP_IN};
		uint8_t frame[PACKET_MAX_BYTES];
		struct outcome outcome;

		in.src_port = (uint16_t)(10000 + i);
		run(0, frame, packet_build(&in, frame), &outcome);
		assert_int_equal(outcome.verdict, i < N_PORTS ? SEND : DROP);
		if (i < N_PORTS)
			seen[(outcome.frame[34] << 8 | outcome.frame[35]) - NAT_PORT]++;
	}
	for (int i = 0; i < N_PORTS; i++)
		assert_int_equal(seen[i], 1);
	assert_int_equal(node_counter(&node, STEER_DROP_NO_PORT), 1);
}

/* Sent back by the device that it came in by. */
static void test_same_device(void **state)
{
	struct packet_spec in = {UDP_BACK_IN};
	uint8_t frame[PACKET_MAX_BYTES], out[PACKET_MAX_BYTES];
	size_t len_bytes = packet_build(&in, frame);
	struct xdp_md context = {.data_end = (uint32_t)len_bytes, .ingress_ifindex = node.c0};
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len_bytes,
		    .data_out = out, .data_size_out = sizeof(out), .repeat = 1, .ctx_in = &context,
		    .ctx_size_in = sizeof(context));

	(void)state;
	node_clear(&node);
	udp_flow();
	assert_int_equal(bpf_prog_test_run_opts(node_program_fd(&node, "steer_xdp"), &opts), 0);
	assert_int_equal(opts.retval, XDP_TX);
}

#define OLDEST_FLOW_S (IDLE_S + 10)

/* A machine that was started just now is younger than some flows of these tests. */
static void wait_for_age(void)
{
	uint64_t age_s = now_ns() / 1000000000;

	if (age_s < OLDEST_FLOW_S)
		sleep((unsigned int)(OLDEST_FLOW_S - age_s));
}

static int group_setup(void **state)
{
	(void)state;
	wait_for_age();
	node_start(&node);
	/* A veth has a receive queue that XDP knows only while it polls: for test_same_device(). */
	node_run("ethtool -K c0 gro on");
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	node_stop(&node);
	return 0;
}

static struct CMUnitTest table[2 * sizeof(cases) / sizeof(cases[0]) + 16];
static char names[sizeof(table) / sizeof(table[0])][96];
static size_t n_tests;

static void add_test(const char *prefix, const char *name, CMUnitTestFunction function,
		     const void *state)
{
	snprintf(names[n_tests], sizeof(names[0]), "%s%s", prefix, name);
	table[n_tests] = (struct CMUnitTest){.name = names[n_tests],
					     .test_func = function,
					     .initial_state = (void *)(uintptr_t)state};
	n_tests++;
}

int main(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (cases[i].programs != TC_ALONE)
			add_test("xdp: ", cases[i].name, test_xdp_case, &cases[i]);
		if (cases[i].programs != XDP_ALONE)
			add_test("tc: ", cases[i].name, test_tc_case, &cases[i]);
	}
	add_test("", "zero_check", test_zero_check, NULL);
	add_test("", "damage_is_kept", test_damage_is_kept, NULL);
	add_test("", "tc_unresolved", test_tc_unresolved, NULL);
	add_test("", "flow_entries", test_flow_entries, NULL);
	add_test("", "replaced_flow_is_gone", test_replaced_flow_is_gone, NULL);
	add_test("", "servers_share", test_servers_share, NULL);
	add_test("", "ports_run_out", test_ports_run_out, NULL);
	add_test("", "same_device", test_same_device, NULL);
	return _cmocka_run_group_tests("steer", table, n_tests, group_setup, group_teardown);
}
