// SPDX-License-Identifier: Apache-2.0
/* See node.h. */
#include "node.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "steer.skel.h"

const uint8_t node_c0_mac[6] = {2, 0, 0, 0, 0, 1};
const uint8_t node_s0_mac[6] = {2, 0, 0, 0, 0, 2};
const uint8_t node_client_mac[6] = {2, 0, 0, 0, 1, 2};
const uint8_t node_server_mac[6] = {2, 0, 0, 0, 2, 2};
const uint8_t node_server_2_mac[6] = {2, 0, 0, 0, 2, 3};

static void give_up(const char *what)
{
	perror(what);
	exit(1);
}

void node_run(const char *command)
{
	int status = system(command);

	if (status) {
		fprintf(stderr, "%s: status %d\n", command, status);
		exit(1);
	}
}

void node_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		give_up(path);
	close(fd);
}

int node_map_fd(const struct node *node, const char *name)
{
	return bpf_object__find_map_fd_by_name(node->skel->obj, name);
}

int node_program_fd(const struct node *node, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(node->skel->obj, name));
}

static void add_device(struct node *node, unsigned int ifindex)
{
	if (bpf_map_update_elem(node_map_fd(node, "xdp_devices"), &ifindex, &ifindex, BPF_ANY))
		give_up("xdp_devices");
}

void node_enter(struct node *node)
{
	if (unshare(CLONE_NEWNET))
		give_up("a network namespace (root is needed)");
	node_run(
	    "ip link set lo up && "
	    "ip link add c0 address 02:00:00:00:00:01 type veth peer name c1 && "
	    "ip link add s0 address 02:00:00:00:00:02 type veth peer name s1 && "
	    "ip link set c0 up && ip link set c1 up && ip link set s0 up && ip link set s1 up && "
	    "ip addr add 198.51.100.1/24 dev c0 && ip addr add 203.0.113.1/24 dev s0 && "
	    "ip neigh add 198.51.100.2 lladdr 02:00:00:00:01:02 dev c0 nud permanent && "
	    "ip neigh add 203.0.113.2 lladdr 02:00:00:00:02:02 dev s0 nud permanent && "
	    "ip neigh add 203.0.113.3 lladdr 02:00:00:00:02:03 dev s0 nud permanent");
	node_write("/proc/sys/net/ipv4/ip_forward", "1");
	node->c0 = if_nametoindex("c0");
	node->s0 = if_nametoindex("s0");
}

void node_start(struct node *node)
{
	node_enter(node);
	node->skel = steer__open_and_load();
	if (!node->skel)
		give_up("loading build/bpf/steer.bpf.o");
	add_device(node, node->c0);
	add_device(node, node->s0);
}

void node_stop(struct node *node)
{
	steer__destroy(node->skel);
	node->skel = NULL;
}

static void clear_map(int fd)
{
	unsigned char key[64];

	while (bpf_map_get_next_key(fd, NULL, key) == 0)
		if (bpf_map_delete_elem(fd, key))
			give_up("emptying a map");
}

void node_clear(struct node *node)
{
	uint64_t zeros[256] = {0};

	clear_map(node_map_fd(node, "flows"));
	clear_map(node_map_fd(node, "services"));
	clear_map(node_map_fd(node, "servers"));
	for (uint32_t i = 0; i < STEER_COUNTER_MAX; i++)
		if (bpf_map_update_elem(node_map_fd(node, "counters"), &i, zeros, BPF_ANY))
			give_up("counters");
}

uint64_t node_counter(const struct node *node, enum steer_counter counter)
{
	uint64_t values[256] = {0}, sum = 0;
	uint32_t index = counter;

	if (bpf_map_lookup_elem(node_map_fd(node, "counters"), &index, values))
		give_up("counters");
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		sum += values[i];
	return sum;
}
