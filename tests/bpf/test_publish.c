// SPDX-License-Identifier: Apache-2.0
/* What steer writes to the maps and reads from them: publishing and taking back, sweeping, status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "node.h"
#include "penstock/limits.h"
#include "server/server.h"
#include "steer/steer_internal.h"
#include "wanted.h"

static struct node node;
static struct loop *loop;
static struct steer *steer;

static int services_fd(void)
{
	return node_map_fd(&node, "services");
}

static int servers_fd(void)
{
	return node_map_fd(&node, "servers");
}

static int flows_fd(void)
{
	return node_map_fd(&node, "flows");
}

static struct steer *new_steer(void)
{
	struct steer_maps maps = {.services = services_fd(),
				  .servers = servers_fd(),
				  .flows = flows_fd(),
				  .counters = node_map_fd(&node, "counters")};
	struct steer *made = steer_new(&maps, loop);

	assert_non_null(made);
	return made;
}

/* A TCP service at 198.51.100.1:PORT, as many as there are texts of servers, NULL at the end. */
static struct conf *services_of(const char *servers, ...)
{
	char text[4096] = "listeners:\n", origins[2048] = "origins:\n";
	int port = 80;
	va_list args;

	va_start(args, servers);
	for (; servers; servers = va_arg(args, const char *), port++) {
		size_t used = strlen(text), origins_used = strlen(origins);

		snprintf(text + used, sizeof(text) - used,
			 "  - {name: \"s%d\", bind: \"198.51.100.1:%d\", routes: [{steer: o%d}]}\n",
			 port, port, port);
		snprintf(origins + origins_used, sizeof(origins) - origins_used,
			 "  o%d: {servers: [%s]}\n", port, servers);
	}
	va_end(args);
	return wanted("%s%ssteer: {nat_ports: 40000-40099, udp_idle: 60s, tcp_idle: 3600s}\n", text,
		      origins);
}

static void publish(struct conf *conf)
{
	assert_int_equal(steer_publish(steer, conf), 0);
	conf_unref(conf);
}

static struct service_value service_at(uint16_t port)
{
	struct service_key key = {.addr = {198, 51, 100, 1}, .port = port, .protocol = IPPROTO_TCP};
	struct service_value value = {.service_id = 0};

	assert_int_equal(bpf_map_lookup_elem(services_fd(), &key, &value), 0);
	return value;
}

static size_t count_entries(int fd)
{
	unsigned char key[16], previous[16];
	void *from = NULL;
	size_t n = 0;

	for (; bpf_map_get_next_key(fd, from, key) == 0; n++) {
		memcpy(previous, key, sizeof(key));
		from = previous;
	}
	return n;
}

static void expect_server(const struct service_value *service, uint32_t index, const char *addr,
			  uint16_t port)
{
	struct server_key key = {.server_set = service->server_set, .index = index};
	struct server_value value;
	char text[INET_ADDRSTRLEN];

	assert_int_equal(bpf_map_lookup_elem(servers_fd(), &key, &value), 0);
	assert_string_equal(inet_ntop(AF_INET, value.addr, text, sizeof(text)), addr);
	assert_int_equal(value.port, port);
	/* The address that routes toward it prefer. */
	assert_string_equal(inet_ntop(AF_INET, value.nat_addr, text, sizeof(text)),
			    NODE_SERVER_NET_ADDR);
}

static void run_until_servers_are(size_t n)
{
	time_t deadline = time(NULL) + 20;

	while (count_entries(servers_fd()) != n && time(NULL) < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(count_entries(servers_fd()), n);
}

/* ---- publishing ---- */

static void test_publish(void **state)
{
	struct service_value first, second;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\", \"203.0.113.3:8081\"", "\"203.0.113.2:9000\"",
			    NULL));
	first = service_at(80);
	second = service_at(81);
	assert_int_equal(first.n_servers, 2);
	assert_int_equal(second.n_servers, 1);
	assert_int_equal(first.nat_port_min, 40000);
	assert_int_equal(first.nat_port_max, 40099);
	assert_int_equal(first.udp_idle_s, 60);
	assert_int_equal(first.tcp_idle_s, 3600);
	assert_int_not_equal(first.service_id, second.service_id);
	assert_int_not_equal(first.server_set, second.server_set);
	expect_server(&first, 0, "203.0.113.2", 8080);
	expect_server(&first, 1, "203.0.113.3", 8081);
	expect_server(&second, 0, "203.0.113.2", 9000);
	assert_int_equal(count_entries(services_fd()), 2);
	assert_int_equal(count_entries(servers_fd()), 3);
}

static void test_publish_again_changes_nothing(void **state)
{
	struct service_value before, after;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	before = service_at(80);
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	after = service_at(80);
	assert_memory_equal(&before, &after, sizeof(before));
	/* Nor does another process that finds the maps so. */
	steer_free(steer);
	steer = new_steer();
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	after = service_at(80);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(count_entries(servers_fd()), 1);
}

static void test_publish_other_servers(void **state)
{
	struct service_value before, after;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	before = service_at(80);
	publish(services_of("\"203.0.113.3:8080\", \"203.0.113.2:8080\"", NULL));
	after = service_at(80);
	assert_int_equal(after.service_id, before.service_id);
	assert_int_not_equal(after.server_set, before.server_set);
	expect_server(&after, 0, "203.0.113.3", 8080);
	/* A packet may still ask for the old set; it goes a while later. */
	expect_server(&before, 0, "203.0.113.2", 8080);
	run_until_servers_are(2);
	expect_server(&after, 1, "203.0.113.2", 8080);
}

static void test_publish_fewer_services(void **state)
{
	struct service_value kept, after;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", "\"203.0.113.2:9000\"", NULL));
	kept = service_at(80);
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	after = service_at(80);
	assert_memory_equal(&kept, &after, sizeof(kept));
	assert_int_equal(count_entries(services_fd()), 1);
	run_until_servers_are(1);
	/* The id of a service that is gone is not given to another at once: flows still name it. */
	publish(services_of("\"203.0.113.2:8080\"", "\"203.0.113.2:9000\"", NULL));
	assert_true(service_at(81).service_id > kept.service_id + 1);
}

static void test_weights(void **state)
{
	struct service_value service;

	(void)state;
	publish(services_of("{address: \"203.0.113.2:8080\", weight: 30}, "
			    "{address: \"203.0.113.3:8080\", weight: 10}",
			    NULL));
	service = service_at(80);
	assert_int_equal(service.n_servers, 4);
	for (uint32_t i = 0; i < 3; i++)
		expect_server(&service, i, "203.0.113.2", 8080);
	expect_server(&service, 3, "203.0.113.3", 8080);
}

/* A server of services_of() as all threads know it. */
static struct server *known_server(const struct conf *conf, size_t index)
{
	struct server *server =
	    server_get(conf->origins[0]->identity, &conf->origins[0]->servers[index].addr);

	assert_non_null(server);
	return server;
}

/* Never a drained one, not even where no other is up; with all drained new flows have no server. */
static void test_drained_servers(void **state)
{
	struct conf *conf = services_of("\"203.0.113.2:8080\", \"203.0.113.3:8080\"", NULL);
	struct server *first = known_server(conf, 0), *second = known_server(conf, 1);
	struct service_value service;

	(void)state;
	server_set_drained(first, true);
	assert_int_equal(steer_publish(steer, conf), 0);
	service = service_at(80);
	assert_int_equal(service.n_servers, 1);
	expect_server(&service, 0, "203.0.113.3", 8080);
	server_set_checked(second, false, 1);
	assert_int_equal(steer_publish(steer, conf), 0);
	service = service_at(80);
	assert_int_equal(service.n_servers, 1);
	expect_server(&service, 0, "203.0.113.3", 8080);
	server_set_drained(second, true);
	assert_int_equal(steer_publish(steer, conf), 0);
	assert_int_equal(service_at(80).n_servers, 0);
	server_set_drained(first, false);
	assert_int_equal(steer_publish(steer, conf), 0);
	service = service_at(80);
	assert_int_equal(service.n_servers, 1);
	expect_server(&service, 0, "203.0.113.2", 8080);
	server_unref(first);
	server_unref(second);
	conf_unref(conf);
}

static void expect_only(const char *addr)
{
	struct service_value service = service_at(80);

	assert_int_equal(service.n_servers, 1);
	expect_server(&service, 0, addr, 8080);
}

/* As connections are balanced: a backup that is up stands in for all others, and the share that
 * means panic is one of those that are no backups. */
static void test_panic_and_backups(void **state)
{
	struct conf *conf = wanted("listeners: [{bind: \"198.51.100.1:80\", protocol: tcp, "
				   "routes: [{steer: o}]}]\n"
				   "origins: {o: {health: {panic: 50%%}, servers: "
				   "[\"203.0.113.2:8080\", {address: \"203.0.113.3:8080\", "
				   "backup: on}]}}\n");
	struct server *primary = known_server(conf, 0), *backup = known_server(conf, 1);

	(void)state;
	server_set_checked(primary, false, 1);
	assert_int_equal(steer_publish(steer, conf), 0);
	expect_only("203.0.113.3");
	server_set_checked(backup, false, 1);
	assert_int_equal(steer_publish(steer, conf), 0);
	expect_only("203.0.113.2");
	server_unref(primary);
	server_unref(backup);
	conf_unref(conf);
}

static void test_no_panic(void **state)
{
	struct conf *conf = wanted("listeners: [{bind: \"198.51.100.1:80\", protocol: tcp, "
				   "routes: [{steer: o}]}]\n"
				   "origins: {o: {health: {panic: 0%%}, "
				   "servers: [\"203.0.113.2:8080\"]}}\n");
	struct server *server = known_server(conf, 0);

	(void)state;
	server_set_checked(server, false, 1);
	assert_int_equal(steer_publish(steer, conf), 0);
	assert_int_equal(service_at(80).n_servers, 0);
	server_unref(server);
	conf_unref(conf);
}

/* Connections of another lane, in another thread, have found that a server refuses: nobody
 * publishes for that, nor when its time is over. */
static void test_ejected_server(void **state)
{
	struct conf *conf = services_of("\"203.0.113.2:8080\", \"203.0.113.3:8080\"", NULL);
	struct server *first = known_server(conf, 0), *second = known_server(conf, 1);
	time_t deadline = time(NULL) + 20;

	(void)state;
	publish(conf);
	while (service_at(80).n_servers == 2 && time(NULL) < deadline) {
		server_eject(first, clock_now_ms() + 1000);
		assert_int_equal(loop_run_once(loop, 100), 0);
	}
	expect_only("203.0.113.3");
	while (service_at(80).n_servers == 1 && time(NULL) < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(service_at(80).n_servers, 2);
	server_unref(first);
	server_unref(second);
}

static void test_unreachable_server(void **state)
{
	struct conf *bad = services_of("\"203.0.113.3:8080\"", "\"192.88.99.1:80\"", NULL);
	struct service_value before, after;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", NULL));
	before = service_at(80);
	assert_int_equal(steer_publish(steer, bad), -ENETUNREACH);
	conf_unref(bad);
	after = service_at(80);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(count_entries(services_fd()), 1);
	assert_int_equal(count_entries(servers_fd()), 1);
}

/* The map of servers takes the first new set but not the second: neither stays, and no service has
 * changed. */
static void test_no_room_is_taken_back(void **state)
{
	struct conf *bad = services_of("\"203.0.113.3:8080\"", "\"203.0.113.3:8081\"", NULL);
	struct server_key key = {.server_set = 1000000};
	struct server_value value = {.port = 1};
	struct service_value before, after;

	(void)state;
	publish(services_of("\"203.0.113.2:8080\"", "\"203.0.113.2:8081\"", NULL));
	before = service_at(80);
	for (; key.index < PENSTOCK_MAX_STEER_SERVERS - 3; key.index++)
		assert_int_equal(bpf_map_update_elem(servers_fd(), &key, &value, BPF_ANY), 0);
	assert_int_equal(steer_publish(steer, bad), -E2BIG);
	conf_unref(bad);
	after = service_at(80);
	assert_memory_equal(&before, &after, sizeof(before));
	expect_server(&after, 0, "203.0.113.2", 8080);
	assert_int_equal(count_entries(servers_fd()), PENSTOCK_MAX_STEER_SERVERS - 1);
	/* What no service names is cleared away after the next success. */
	publish(services_of("\"203.0.113.2:8080\"", "\"203.0.113.2:8081\"", NULL));
	run_until_servers_are(2);
}

/* The maps were handed over; nothing else of root's is needed. */
static void test_publish_without_privilege(void **state)
{
	struct conf *conf = services_of("\"203.0.113.2:8080\"", NULL);
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0) {
		json_t *told;

		if (setgid(65534) || setuid(65534) || steer_publish(steer, conf))
			_exit(1);
		told = steer_status(steer);
		_exit(told && json_array_size(json_object_get(told, "services")) == 1 ? 0 : 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(service_at(80).n_servers, 1);
	conf_unref(conf);
}

static void test_is_wanted(void **state)
{
	struct conf *steers = services_of("\"203.0.113.2:8080\"", NULL);
	struct conf *passes =
	    wanted("listeners: [{bind: \":81\", routes: [{pass: \"tcp://203.0.113.2:80\"}]}]\n");

	(void)state;
	assert_true(steer_is_wanted(steers));
	assert_false(steer_is_wanted(passes));
	conf_unref(steers);
	conf_unref(passes);
}

/* ---- flows ---- */

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
	    bpf_map_update_elem(node_map_fd(&node, "counters"), &index, values, BPF_ANY), 0);
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

/* ---- the run ---- */

static int setup(void **state)
{
	(void)state;
	node_clear(&node);
	steer = new_steer();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	steer_free(steer);
	return 0;
}

static int group_setup(void **state)
{
	uint64_t age_s = now_ns() / 1000000000;

	(void)state;
	if (age_s <
	    70) /* a machine that was started just now is younger than some flows of these tests */
		sleep((unsigned int)(70 - age_s));
	node_start(&node);
	loop = loop_new();
	return loop ? 0 : -1;
}

static int group_teardown(void **state)
{
	(void)state;
	loop_free(loop);
	node_stop(&node);
	return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static const struct CMUnitTest plain_tests[] = {
    TEST(test_publish),
    TEST(test_publish_again_changes_nothing),
    TEST(test_publish_other_servers),
    TEST(test_publish_fewer_services),
    TEST(test_weights),
    TEST(test_drained_servers),
    TEST(test_panic_and_backups),
    TEST(test_no_panic),
    TEST(test_ejected_server),
    TEST(test_unreachable_server),
    TEST(test_no_room_is_taken_back),
    TEST(test_publish_without_privilege),
    TEST(test_is_wanted),
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
					.setup_func = setup,
					.teardown_func = teardown,
					.initial_state = (void *)(uintptr_t)&sweep_cases[i]};
	}
	return _cmocka_run_group_tests("publish", tests, N_PLAIN + N_SWEEP, group_setup,
				       group_teardown);
}
