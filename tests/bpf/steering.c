/* SPDX-License-Identifier: Apache-2.0 */
/* See steering.h. */
#include "steering.h"

#include <bpf/bpf.h>
#include <linux/pkt_cls.h>
#include <string.h>
#include <unistd.h>

struct node node;

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

void run(_Bool is_xdp, uint8_t *frame, size_t len_bytes, struct outcome *ret_outcome)
{
	int program_fd = node_program_fd(&node, is_xdp ? "steer_xdp" : "steer_tc");
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)len_bytes,
		    .data_out = ret_outcome->frame, .data_size_out = sizeof(ret_outcome->frame),
		    .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(program_fd, &opts), 0);
	ret_outcome->verdict = verdict_of(opts.retval, is_xdp);
	ret_outcome->len_bytes = opts.data_size_out;
}

int count_flows(void)
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

void expect_frame(const struct outcome *outcome, const uint8_t *frame, size_t len_bytes)
{
	assert_int_equal(outcome->len_bytes, len_bytes);
	assert_memory_equal(outcome->frame, frame, len_bytes);
}

/* What follows from the rest: the hardware addresses of the way, and one hop less to live. */
void complete_frame(struct packet_spec *spec)
{
	_Bool is_to_client = strcmp(spec->dst, NODE_CLIENT) == 0;

	memcpy(spec->dst_mac, is_to_client ? node_client_mac : node_server_mac, 6);
	memcpy(spec->src_mac, is_to_client ? node_c0_mac : node_s0_mac, 6);
	if (!spec->ttl)
		spec->ttl = 63;
}

#define OLDEST_FLOW_S (IDLE_S + 10)

/* A machine that was started just now is younger than some flows of these tests. */
static void wait_for_age(void)
{
	uint64_t age_s = now_ns() / 1000000000;

	if (age_s < OLDEST_FLOW_S)
		sleep((unsigned int)(OLDEST_FLOW_S - age_s));
}

int steering_setup(void **state)
{
	(void)state;
	wait_for_age();
	node_start(&node);
	/* A veth has a receive queue that XDP knows only while it polls: for test_same_device(). */
	node_run("ethtool -K c0 gro on");
	return 0;
}

int steering_teardown(void **state)
{
	(void)state;
	node_stop(&node);
	return 0;
}
