/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steer programs, packet by packet, through BPF_PROG_TEST_RUN: {name, packet in, state of the
 * maps, verdict, packet out, counter}, each for the XDP and for the tc entry. What comes out is
 * compared with a packet that was built anew. That packets really leave by the device that was
 * chosen is for tests/net.
 */
#include "steering.h"

#include <stdio.h>
#include <string.h>

#include "packet_changes.h"

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

static struct CMUnitTest table[2 * sizeof(cases) / sizeof(cases[0])];
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
	return _cmocka_run_group_tests("steer", table, n_tests, steering_setup, steering_teardown);
}
