/* SPDX-License-Identifier: Apache-2.0 */
/* Packets through the steer programs by test_run: the states that the maps may be in, and what
 * comes out. */
#ifndef TESTS_BPF_STEERING_H
#define TESTS_BPF_STEERING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <netinet/in.h>

#include "node.h"
#include "packets.h"

#define SERVICE "192.0.2.10"
#define NAT_PORT 40000
#define NAT_PORT_2 40001
#define IDLE_S 60

enum { SYN = 0x02, FIN = 0x01, RST = 0x04, ACK = 0x10 };

enum verdict { PASS, DROP, SEND };

/* Of all tests of a program. */
extern struct node node;
int steering_setup(void **state);
int steering_teardown(void **state);

/* ---- packets ---- */

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

/* ---- states of the maps (steer_states.c) ---- */

/* One direction of a flow. */
struct direction {
	const char *src, *dst, *new_src, *new_dst;
	uint16_t src_port, dst_port, new_src_port, new_dst_port;
	uint8_t protocol, direction, tcp_seen;
	uint64_t packets;
	uint64_t age_s;
};

uint64_t now_ns(void);

void put_server(uint32_t set, uint32_t index, const char *addr, uint16_t port);
void put_service(uint8_t protocol, uint16_t port, uint32_t set, uint16_t n_servers,
		 uint16_t nat_port_max);
void server_at(const char *addr);
struct flow_key key_of(const struct direction *d);
struct direction forward(uint8_t protocol, const char *client, uint16_t client_port);
struct direction backward(const struct direction *d);

void one_server(void);
void two_nat_ports(void);
void no_server(void);
void server_set_missing(void);
void server_without_route(void);
void server_without_neighbour(void);
void udp_flow(void);
void tcp_flow(void);
void tcp_flow_reset_by_server(void);
void tcp_flow_half_closed(void);
void port_held_by_live(void);
void port_held_by_expired(void);
void port_held_by_one_way(void);
void port_held_by_settled_tcp(void);
void port_held_by_closed_tcp(void);
void port_held_by_half_open_tcp(void);
void port_held_by_fresh_half_open_tcp(void);
void port_held_by_orphan(void);
void one_of_two_ports_held(void);
void no_nat_port(void);
void pair_lost(void);
void pair_lost_to_another(void);
void forwarding_off(void);
void device_without_xdp(void);
void restore_node(void);

/* ---- the run ---- */

struct outcome {
	enum verdict verdict;
	uint8_t frame[PACKET_MAX_BYTES];
	size_t len_bytes;
};

void run(_Bool is_xdp, uint8_t *frame, size_t len_bytes, struct outcome *ret_outcome);
int count_flows(void);
void expect_frame(const struct outcome *outcome, const uint8_t *frame, size_t len_bytes);
void complete_frame(struct packet_spec *spec);

#endif
