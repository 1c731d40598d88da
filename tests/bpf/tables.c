// SPDX-License-Identifier: Apache-2.0
#include "tables.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <stdio.h>
#include <string.h>

struct node tables_node;
struct loop *loop;
struct steer *steer;

int services_fd(void)
{
	return node_map_fd(&tables_node, "services");
}

int servers_fd(void)
{
	return node_map_fd(&tables_node, "servers");
}

int flows_fd(void)
{
	return node_map_fd(&tables_node, "flows");
}

struct steer *new_steer(void)
{
	struct steer_maps maps = {.services = services_fd(),
				  .servers = servers_fd(),
				  .flows = flows_fd(),
				  .counters = node_map_fd(&tables_node, "counters")};
	struct steer *made = steer_new(&maps, loop);

	assert_non_null(made);
	return made;
}

struct conf *services_of(const char *servers, ...)
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

void publish(struct conf *conf)
{
	assert_int_equal(steer_publish(steer, conf), 0);
	conf_unref(conf);
}

size_t count_entries(int fd)
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

int tables_setup(void **state)
{
	(void)state;
	node_clear(&tables_node);
	steer = new_steer();
	return 0;
}

int tables_teardown(void **state)
{
	(void)state;
	steer_free(steer);
	return 0;
}

int tables_group_setup(void **state)
{
	(void)state;
	node_start(&tables_node);
	loop = loop_new();
	return loop ? 0 : -1;
}

int tables_group_teardown(void **state)
{
	(void)state;
	loop_free(loop);
	node_stop(&tables_node);
	return 0;
}
