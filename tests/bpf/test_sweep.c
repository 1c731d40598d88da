// SPDX-License-Identifier: Apache-2.0
/* What steer does with the flows in the maps: sweeps those that are over, and shows them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tables.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

enum { TO_ORIGIN = 1, TO_CLIENT = 2, BOTH = 3 };

/* The flow of client port `port` and of the service at port 80, in the directions asked for. */
static void put_flow(uint8_t protocol, uint16_t port, int directions, const unsigned int age_s[2],
		     const uint8_t seen[2])
{
	struct flow_key forward = {.src_addr = {198, 51, 100, 2},
				   .dst_addr = {198, 51, 100, 1},
				   .src_port = port,
				   .dst_port = 80,
				   .protocol = protocol};
	struct flow_key back = {.src_addr = {203, 0, 113, 2},
				.dst_addr = {203, 0, 113, 1},
				.src_port = 8080,
				.dst_port = port,
				.protocol = protocol};
	struct flow_value value = {.new_src_addr = {203, 0, 113, 1},
				   .new_dst_addr = {203, 0, 113, 2},
				   .new_src_port = port,
				   .new_dst_port = 8080,
				   .direction = FLOW_TO_ORIGIN,
				   .tcp_seen = seen[0],
				   .service_id = 1,
				   .packets = 3,
				   .bytes = 300,
				   .last_seen_ns = now_ns() - age_s[0] * 1000000000ull};
	struct flow_value back_value = {.new_src_addr = {198, 51, 100, 1},
					.new_dst_addr = {198, 51, 100, 2},
					.new_src_port = 80,
					.new_dst_port = port,
					.direction = FLOW_TO_CLIENT,
					.tcp_seen = seen[1],
					.service_id = 1,
					.packets = 5,
					.bytes = 5000,
					.last_seen_ns = now_ns() - age_s[1] * 1000000000ull};

	if (directions & TO_ORIGIN)
		assert_int_equal(bpf_map_update_elem(flows_fd(), &forward, &value, BPF_ANY), 0);
	if (directions & TO_CLIENT)
		assert_int_equal(bpf_map_update_elem(flows_fd(), &back, &back_value, BPF_ANY), 0);
}

/* UDP is kept for 60 s, TCP for 3600 s, TCP that is not settled for 30 s. */
static const struct sweep_case {
	const char *name;
	uint8_t protocol;
	int directions;
	unsigned int age_s[2]; /* toward the origin, toward the client */
	uint8_t seen[2];
	size_t entries_left;
} sweep_cases[] = {
    {"young udp", IPPROTO_UDP, BOTH, {55, 55}, {0, 0}, 2},
    {"old udp", IPPROTO_UDP, BOTH, {65, 65}, {0, 0}, 0},
    {"udp that only the client feeds", IPPROTO_UDP, BOTH, {5, 65}, {0, 0}, 2},
    {"udp that only the server feeds", IPPROTO_UDP, BOTH, {65, 5}, {0, 0}, 2},
    {"half of an old udp flow", IPPROTO_UDP, TO_CLIENT, {0, 65}, {0, 0}, 0},
    {"half of a young udp flow", IPPROTO_UDP, TO_ORIGIN, {5, 0}, {0, 0}, 1},
    {"settled tcp", IPPROTO_TCP, BOTH, {65, 65}, {FLOW_SEEN_SYN, FLOW_SEEN_SYN}, 2},
    {"unanswered syn", IPPROTO_TCP, BOTH, {35, 35}, {FLOW_SEEN_SYN, 0}, 0},
    {"young unanswered syn", IPPROTO_TCP, BOTH, {25, 25}, {FLOW_SEEN_SYN, 0}, 2},
    {"half-closed tcp",
     IPPROTO_TCP,
     BOTH,
     {65, 65},
     {FLOW_SEEN_SYN | FLOW_SEEN_FIN, FLOW_SEEN_SYN},
     2},
    {"closed tcp",
     IPPROTO_TCP,
     BOTH,
     {35, 35},
     {FLOW_SEEN_SYN | FLOW_SEEN_FIN, FLOW_SEEN_SYN | FLOW_SEEN_FIN},
     0},
    {"reset tcp", IPPROTO_TCP, BOTH, {35, 35}, {FLOW_SEEN_SYN, FLOW_SEEN_SYN | FLOW_SEEN_RST}, 0},
    {"reset tcp that goes on",
     IPPROTO_TCP,
     BOTH,
     {35, 5},
     {FLOW_SEEN_SYN, FLOW_SEEN_SYN | FLOW_SEEN_RST},
     2},
};

static void test_sweep_case(void **state)
{
	const struct sweep_case *c = *state;

	publish(services_of("\"203.0.113.2:8080\"", NULL));
	put_flow(c->protocol, 40000, c->directions, c->age_s, c->seen);
	while (steer_sweep(steer) > 0)
		;
	assert_int_equal(count_entries(flows_fd()), c->entries_left);
}

/* More than one stretch, and the loop does it by itself. */
static void test_sweep_of_many(void **state)
{
	enum { N_FLOWS = 3000 };
	time_t deadline = time(NULL) + 20;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	for (uint16_t i = 0; i < N_FLOWS; i++)
		put_flow(IPPROTO_UDP, (uint16_t)(40000 + i), BOTH,
			 (unsigned int[]){i % 3 ? 65 : 5, 65}, (uint8_t[]){0, 0});
	assert_int_equal(count_entries(flows_fd()), 2 * N_FLOWS);
	while (count_entries(flows_fd()) != 2 * N_FLOWS / 3 && time(NULL) < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(count_entries(flows_fd()), 2 * N_FLOWS / 3);
}

static long number_at(const json_t *root, const char *key)
{
	assert_true(json_is_integer(json_object_get(root, key)));
	return (long)json_integer_value(json_object_get(root, key));
}

static const char *text_at(const json_t *root, const char *key)
{
	assert_true(json_is_string(json_object_get(root, key)));
	return json_string_value(json_object_get(root, key));
}

static void test_status(void **state)
{
	uint64_t values[256] = {[0] = 5};
	uint32_t index = STEER_FLOW_NEW;
	json_t *status, *service, *servers, *row;

	(void)state;
	publish(services_of("{address: \"203.0.113.3:8080\", weight: 2}, "
			    "{address: \"203.0.113.2:8080\", weight: 1}",
			    NULL));
	put_flow(IPPROTO_TCP, 40000, BOTH, (unsigned int[]){0, 0}, (uint8_t[]){0, 0});
	put_flow(IPPROTO_TCP, 40001, BOTH, (unsigned int[]){0, 0}, (uint8_t[]){0, 0});
	assert_int_equal(
	    bpf_map_update_elem(node_map_fd(&tables_node, "counters"), &index, values, BPF_ANY), 0);
	status = steer_status(steer);
	assert_non_null(status);
	assert_int_equal(number_at(status, "flows"), 2);
	assert_int_equal(number_at(json_object_get(status, "counters"), "flow_new"), 5);
	assert_int_equal(number_at(json_object_get(status, "counters"), "drop_ttl"), 0);
	assert_int_equal(json_object_size(json_object_get(status, "counters")), STEER_COUNTER_MAX);
	service = json_array_get(json_object_get(status, "services"), 0);
	assert_string_equal(text_at(service, "name"), "s80");
	assert_string_equal(text_at(service, "address"), "198.51.100.1:80");
	assert_string_equal(text_at(service, "protocol"), "tcp");
	assert_string_equal(text_at(service, "origin"), "o80");
	assert_int_equal(number_at(service, "flows"), 2);
	assert_int_equal(number_at(json_object_get(service, "to_origin"), "packets"), 6);
	assert_int_equal(number_at(json_object_get(service, "to_client"), "bytes"), 10000);
	servers = json_object_get(service, "servers");
	assert_int_equal(json_array_size(servers), 2);
	assert_string_equal(text_at(json_array_get(servers, 0), "address"), "203.0.113.3:8080");
	assert_int_equal(number_at(json_array_get(servers, 0), "weight"), 2);
	assert_int_equal(number_at(json_array_get(servers, 0), "flows"), 0);
	assert_string_equal(text_at(json_array_get(servers, 1), "nat_address"), "203.0.113.1");
	assert_int_equal(number_at(json_array_get(servers, 1), "flows"), 2);
	assert_int_equal(json_array_size(json_object_get(status, "flow_table")), 4);
	row = json_array_get(json_object_get(status, "flow_table"), 0);
	assert_string_equal(text_at(row, "service"), "198.51.100.1:80");
	assert_string_equal(text_at(row, "server"), "203.0.113.2:8080");
	assert_memory_equal(text_at(row, "client"), "198.51.100.2:4000", 17);
	assert_memory_equal(text_at(row, "nat"), "203.0.113.1:4000", 16);
	json_decref(status);
}

static void test_status_is_bounded(void **state)
{
	json_t *status;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	for (uint16_t i = 0; i < STEER_STATUS_ROWS; i++)
		put_flow(IPPROTO_TCP, (uint16_t)(40000 + i), BOTH, (unsigned int[]){0, 0},
			 (uint8_t[]){0, 0});
	status = steer_status(steer);
	assert_int_equal(number_at(status, "flows"), STEER_STATUS_ROWS);
	assert_int_equal(json_array_size(json_object_get(status, "flow_table")), STEER_STATUS_ROWS);
	json_decref(status);
}

static int sweep_setup(void **state)
{
	uint64_t age_s = now_ns() / 1000000000;

	if (age_s <
	    70) /* a machine that was started just now is younger than some flows of these tests */
		sleep((unsigned int)(70 - age_s));
	return tables_group_setup(state);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, tables_setup, tables_teardown)

static const struct CMUnitTest plain_tests[] = {
    TEST(test_sweep_of_many),
    TEST(test_status),
    TEST(test_status_is_bounded),
};

#define N_PLAIN (sizeof(plain_tests) / sizeof(plain_tests[0]))
#define N_SWEEP (sizeof(sweep_cases) / sizeof(sweep_cases[0]))

int main(void)
{
	static char names[N_SWEEP][64];
	static struct CMUnitTest tests[N_PLAIN + N_SWEEP];

	memcpy(tests, plain_tests, sizeof(plain_tests));
	for (size_t i = 0; i < N_SWEEP; i++) {
		snprintf(names[i], sizeof(names[i]), "sweep: %s", sweep_cases[i].name);
		tests[N_PLAIN + i] =
		    (struct CMUnitTest){.name = names[i],
					.test_func = test_sweep_case,
					.setup_func = tables_setup,
					.teardown_func = tables_teardown,
					.initial_state = (void *)(uintptr_t)&sweep_cases[i]};
	}
	return _cmocka_run_group_tests("sweep", tests, N_PLAIN + N_SWEEP, sweep_setup,
				       tables_group_teardown);
}
