/* SPDX-License-Identifier: Apache-2.0 */
/* What a table of packets does not say well: checksums, the entries of flows, servers and ports
 * that many share. */
#include "steering.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <string.h>

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_zero_check),
	    cmocka_unit_test(test_damage_is_kept),
	    cmocka_unit_test(test_tc_unresolved),
	    cmocka_unit_test(test_flow_entries),
	    cmocka_unit_test(test_replaced_flow_is_gone),
	    cmocka_unit_test(test_servers_share),
	    cmocka_unit_test(test_ports_run_out),
	    cmocka_unit_test(test_same_device),
	};

	return cmocka_run_group_tests_name("steer flows", tests, steering_setup, steering_teardown);
}
