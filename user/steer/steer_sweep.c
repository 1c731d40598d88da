/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flows that are silent for longer than they are kept leave the table, a bounded number per turn of
 * the loop. The table works without: full, it drops what was not used for longest, and an expired
 * flow gives its NAT port away.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "penstock/flow.h"
#include "steer/steer_internal.h"

int steer_batch_read(int flows_fd, struct steer_batch *batch)
{
	uint32_t *from = batch->has_begun ? &batch->position : NULL;
	uint32_t next = batch->position;
	int err;

	batch->n = STEER_BATCH;
	err = bpf_map_lookup_batch(flows_fd, from, &next, batch->keys, batch->values, &batch->n,
				   NULL);
	if (err && err != -ENOENT) {
		batch->n = 0;
		batch->has_begun = false;
		return err;
	}
	batch->position = next;
	batch->has_begun = !err;
	return err ? 0 : 1;
}

static struct flow_key pair_key(const struct flow_key *key, const struct flow_value *value)
{
	struct flow_key pair = {.src_port = value->new_dst_port,
				.dst_port = value->new_src_port,
				.protocol = key->protocol};

	memcpy(pair.src_addr, value->new_dst_addr, 4);
	memcpy(pair.dst_addr, value->new_src_addr, 4);
	return pair;
}

static bool is_pair_of(const struct flow_value *pair, const struct flow_key *key)
{
	return memcmp(pair->new_src_addr, key->dst_addr, 4) == 0 &&
	       memcmp(pair->new_dst_addr, key->src_addr, 4) == 0 &&
	       pair->new_src_port == key->dst_port && pair->new_dst_port == key->src_port;
}

static bool is_older(const struct flow_value *value, uint64_t now_ns, uint64_t age_s)
{
	return now_ns > value->last_seen_ns && now_ns - value->last_seen_ns > age_s * 1000000000;
}

/* The shortest time that any flow is kept: younger ones need no second look. */
static uint32_t shortest_keep_s(const struct steer *steer)
{
	return MIN(MIN(steer->udp_idle_s, steer->tcp_idle_s), (uint32_t)FLOW_UNSETTLED_KEEP_S);
}

static void sweep_entry(struct steer *steer, const struct flow_key *key,
			const struct flow_value *value, uint64_t now_ns)
{
	struct flow_key other_key = pair_key(key, value);
	struct flow_value other = {.tcp_seen = 0};
	bool has_pair = bpf_map_lookup_elem(steer->maps.flows, &other_key, &other) == 0 &&
			is_pair_of(&other, key);
	uint8_t seen_pair = has_pair ? other.tcp_seen : 0;
	bool is_to_origin = value->direction == FLOW_TO_ORIGIN;
	uint32_t keep_s = flow_keep_s(key->protocol, is_to_origin ? value->tcp_seen : seen_pair,
				      is_to_origin ? seen_pair : value->tcp_seen, steer->udp_idle_s,
				      steer->tcp_idle_s);

	if (!is_older(value, now_ns, keep_s) || (has_pair && !is_older(&other, now_ns, keep_s)))
		return;
	if (has_pair)
		bpf_map_delete_elem(steer->maps.flows, &other_key);
	bpf_map_delete_elem(steer->maps.flows, key);
}

int steer_sweep(struct steer *steer)
{
	uint64_t now_ns = clock_now_us() * 1000;
	int more = steer_batch_read(steer->maps.flows, &steer->batch);

	for (uint32_t i = 0; i < steer->batch.n; i++)
		if (is_older(&steer->batch.values[i], now_ns, shortest_keep_s(steer)))
			sweep_entry(steer, &steer->batch.keys[i], &steer->batch.values[i], now_ns);
	return more;
}
