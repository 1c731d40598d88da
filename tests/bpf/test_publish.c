// SPDX-License-Identifier: Apache-2.0
/* What steer writes to the maps: publishing and taking back, and which servers get new flows. */
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
#include "penstock/limits.h"
#include "server/server.h"
#include "tables.h"

static struct service_value service_at(uint16_t port)
{
	struct service_key key = {.addr = {198, 51, 100, 1}, .port = port, .protocol = IPPROTO_TCP};
	struct service_value value = {.service_id = 0};

	assert_int_equal(bpf_map_lookup_elem(services_fd(), &key, &value), 0);
	return value;
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

#define TEST(function) cmocka_unit_test_setup_teardown(function, tables_setup, tables_teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
	};

	return cmocka_run_group_tests_name("publish", tests, tables_group_setup,
					   tables_group_teardown);
}
