/* SPDX-License-Identifier: Apache-2.0 */
/* What the maps hold before a packet comes. */
#include "steering.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <time.h>

static void set_addr(uint8_t addr[4], const char *text)
{
	assert_int_equal(inet_pton(AF_INET, text, addr), 1);
}

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void put_server(uint32_t set, uint32_t index, const char *addr, uint16_t port)
{
	struct server_key key = {.server_set = set, .index = index};
	struct server_value value = {.port = port};

	set_addr(value.addr, addr);
	set_addr(value.nat_addr, NODE_SERVER_NET_ADDR);
	assert_int_equal(bpf_map_update_elem(node_map_fd(&node, "servers"), &key, &value, BPF_ANY),
			 0);
}

void put_service(uint8_t protocol, uint16_t port, uint32_t set, uint16_t n_servers,
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
void one_server(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_server(2, 0, NODE_SERVER, 8080);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT);
	put_service(IPPROTO_TCP, 80, 2, 1, NAT_PORT);
}

void two_nat_ports(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT_2);
}

void server_at(const char *addr)
{
	put_server(1, 0, addr, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT);
}

void no_server(void)
{
	put_service(IPPROTO_UDP, 53, 1, 0, NAT_PORT);
}

void server_set_missing(void)
{
	put_service(IPPROTO_UDP, 53, 99, 1, NAT_PORT);
}

void server_without_route(void)
{
	server_at(NODE_SERVER_AWAY);
}

void server_without_neighbour(void)
{
	server_at(NODE_SERVER_SILENT);
}

struct flow_key key_of(const struct direction *d)
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
struct direction forward(uint8_t protocol, const char *client, uint16_t client_port)
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

struct direction backward(const struct direction *d)
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

void udp_flow(void)
{
	one_server();
	put_flow(forward(IPPROTO_UDP, NODE_CLIENT, 4000), 0, 0, 0, 0);
}

void tcp_flow(void)
{
	one_server();
	put_flow(forward(IPPROTO_TCP, NODE_CLIENT, 4000), 0, 0, FLOW_SEEN_SYN, FLOW_SEEN_SYN);
}

void tcp_flow_reset_by_server(void)
{
	one_server();
	put_flow(forward(IPPROTO_TCP, NODE_CLIENT, 4000), 0, 0, FLOW_SEEN_SYN, FLOW_SEEN_RST);
}

void tcp_flow_half_closed(void)
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

void port_held_by_live(void)
{
	port_held(IPPROTO_UDP, IDLE_S - 5, IDLE_S - 5, 0, 0);
}

void port_held_by_expired(void)
{
	port_held(IPPROTO_UDP, IDLE_S + 5, IDLE_S + 5, 0, 0);
}

void port_held_by_one_way(void)
{
	port_held(IPPROTO_UDP, 0, IDLE_S + 5, 0, 0);
}

void port_held_by_settled_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN, FLOW_SEEN_SYN);
}

void port_held_by_closed_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN | FLOW_SEEN_FIN,
		  FLOW_SEEN_SYN | FLOW_SEEN_FIN);
}

void port_held_by_half_open_tcp(void)
{
	port_held(IPPROTO_TCP, 35, 35, FLOW_SEEN_SYN, 0);
}

void port_held_by_fresh_half_open_tcp(void)
{
	port_held(IPPROTO_TCP, 25, 25, FLOW_SEEN_SYN, 0);
}

void port_held_by_orphan(void)
{
	struct direction other = forward(IPPROTO_UDP, "198.51.100.77", 7777);
	struct direction back = backward(&other);

	one_server();
	back.age_s = IDLE_S + 5;
	put_direction(&back);
}

void one_of_two_ports_held(void)
{
	two_nat_ports();
	put_flow(forward(IPPROTO_UDP, "198.51.100.77", 7777), 0, 0, 0, 0);
}

void no_nat_port(void)
{
	put_server(1, 0, NODE_SERVER, 5353);
	put_service(IPPROTO_UDP, 53, 1, 1, NAT_PORT - 1);
}

/* Only the direction toward the server is left, and it is time to look. */
void pair_lost(void)
{
	struct direction d = forward(IPPROTO_TCP, NODE_CLIENT, 4000);

	one_server();
	d.age_s = 2;
	put_direction(&d);
}

void pair_lost_to_another(void)
{
	struct direction other = forward(IPPROTO_TCP, "198.51.100.77", 7777);
	struct direction back = backward(&other);

	pair_lost();
	put_direction(&back);
}

void forwarding_off(void)
{
	one_server();
	node_write("/proc/sys/net/ipv4/conf/lo/forwarding", "0");
}

void device_without_xdp(void)
{
	one_server();
	assert_int_equal(bpf_map_delete_elem(node_map_fd(&node, "xdp_devices"), &node.s0), 0);
}

void restore_node(void)
{
	node_write("/proc/sys/net/ipv4/conf/lo/forwarding", "1");
	assert_int_equal(
	    bpf_map_update_elem(node_map_fd(&node, "xdp_devices"), &node.s0, &node.s0, BPF_ANY), 0);
}
