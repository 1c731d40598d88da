/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices that a new configuration no longer needs, but open flows do: detaching them would cut
 * those off. They stay until the first change that finds no such flow.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "penstock/abi.h"
#include "plane/plane_internal.h"
#include "steer.skel.h"

#define KEEP_BATCH 1024
#define KEEP_ADDRESSES_MAX 1024

/* Distinct addresses. */
struct address_set {
	struct in_addr addrs[KEEP_ADDRESSES_MAX];
	size_t n;
	bool is_full; /* there were more */
};

struct keep {
	int flows_fd;
	const struct conf *conf;
	struct net_table table;
	struct address_set servers; /* of open flows */
	struct address_set services; /* likewise */
	struct flow_key keys[KEEP_BATCH];
	struct flow_value values[KEEP_BATCH];
};

static void address_set_add(struct address_set *set, const uint8_t bytes[4])
{
	struct in_addr addr;

	memcpy(&addr, bytes, 4);
	for (size_t i = 0; i < set->n; i++)
		if (set->addrs[i].s_addr == addr.s_addr)
			return;
	if (set->n == KEEP_ADDRESSES_MAX)
		set->is_full = true;
	else
		set->addrs[set->n++] = addr;
}

/* What the server has sent in a TCP flow: tcp_seen of the other direction. */
static uint8_t seen_by_client(const struct keep *keep, const struct flow_key *key,
			      const struct flow_value *value)
{
	struct flow_key back = {.src_port = value->new_dst_port,
				.dst_port = value->new_src_port,
				.protocol = key->protocol};
	struct flow_value pair;

	memcpy(back.src_addr, value->new_dst_addr, 4);
	memcpy(back.dst_addr, value->new_src_addr, 4);
	return bpf_map_lookup_elem(keep->flows_fd, &back, &pair) ? 0 : pair.tcp_seen;
}

/* Neither silent for longer than its kind is kept, nor ended from both sides. */
static bool flow_is_open(const struct keep *keep, const struct flow_key *key,
			 const struct flow_value *value)
{
	const struct conf_steer *steer = &keep->conf->steer;
	uint64_t idle_s = key->protocol == IPPROTO_UDP ? steer->udp_idle_s : steer->tcp_idle_s;
	uint64_t now_ns = clock_now_us() * 1000;
	uint8_t seen_back = key->protocol == IPPROTO_TCP ? seen_by_client(keep, key, value) : 0;

	if (((value->tcp_seen | seen_back) & FLOW_SEEN_RST) ||
	    (value->tcp_seen & seen_back & FLOW_SEEN_FIN))
		return false;
	return now_ns < value->last_seen_ns || now_ns - value->last_seen_ns < idle_s * 1000000000;
}

static void keep_note_flows(struct keep *keep, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (keep->values[i].direction != FLOW_TO_ORIGIN ||
		    !flow_is_open(keep, &keep->keys[i], &keep->values[i]))
			continue;
		address_set_add(&keep->servers, keep->values[i].new_dst_addr);
		address_set_add(&keep->services, keep->keys[i].dst_addr);
	}
}

static int keep_read_flows(struct keep *keep)
{
	uint32_t position = 0, n;
	bool has_begun = false;
	int err = 0;

	while (!err) {
		n = KEEP_BATCH;
		err = bpf_map_lookup_batch(keep->flows_fd, has_begun ? &position : NULL, &position,
					   keep->keys, keep->values, &n, NULL);
		if (!err || err == -ENOENT)
			keep_note_flows(keep, n);
		has_begun = true;
	}
	return err == -ENOENT ? 0 : err;
}

static bool server_is_behind(const struct keep *keep, unsigned int ifindex)
{
	struct net_route route;

	for (size_t i = 0; i < keep->servers.n; i++)
		if (net_route_find(keep->servers.addrs[i], &route) == 0 && route.ifindex == ifindex)
			return true;
	return keep->servers.is_full;
}

static bool service_is_at(const struct keep *keep, unsigned int ifindex)
{
	const struct net_table *table = &keep->table;

	for (size_t i = 0; keep->services.n && i < table->n_defaults; i++)
		if (table->default_ifindexes[i] == ifindex)
			return true;
	for (size_t i = 0; i < table->n_addresses; i++)
		for (size_t k = 0; k < keep->services.n; k++)
			if (table->addresses[i].ifindex == ifindex &&
			    table->addresses[i].addr.s_addr == keep->services.addrs[k].s_addr)
				return true;
	return keep->services.is_full;
}

/* The list that grows while pins are visited. */
struct keep_list {
	struct keep *keep;
	const char *pin_dir;
	struct plane_device *devices;
	size_t n_devices;
};

static bool list_has(const struct keep_list *list, unsigned int ifindex)
{
	for (size_t i = 0; i < list->n_devices; i++)
		if (list->devices[i].ifindex == ifindex)
			return true;
	return false;
}

static int keep_visit(void *argument, const char *pin_name)
{
	struct keep_list *list = argument;
	const struct net_device *found;
	struct plane_device *device;
	char name[IF_NAMESIZE], path[PATH_MAX];

	if (!pin_device(pin_name, PIN_TC, name) && !pin_device(pin_name, PIN_FILTER, name))
		return 0;
	found = net_table_find_name(&list->keep->table, name);
	if (!found || list_has(list, found->ifindex) || list->n_devices == PLANE_DEVICES_MAX)
		return 0;
	if (!server_is_behind(list->keep, found->ifindex) &&
	    !service_is_at(list->keep, found->ifindex))
		return 0;
	device = &list->devices[list->n_devices++];
	*device = (struct plane_device){.ifindex = found->ifindex, .may_fall_back = true};
	snprintf(device->name, sizeof(device->name), "%s", name);
	snprintf(device->reason, sizeof(device->reason),
		 "kept for flows that are open; nothing else needs it");
	device->wants_xdp = list->keep->conf->steer.hook != CONF_HOOK_TC &&
			    pin_path(path, list->pin_dir, PIN_XDP, name) == 0 &&
			    access(path, F_OK) == 0;
	return 0;
}

int plane_keep_devices(const struct plane *plane, const struct conf *conf,
		       struct plane_device *devices, size_t *n_devices, struct plane_error *error)
{
	struct keep *keep = calloc(1, sizeof(*keep));
	struct keep_list list = {
	    .keep = keep, .pin_dir = plane->pin_dir, .devices = devices, .n_devices = *n_devices};
	int err;

	if (!keep)
		return plane_fail(error, -ENOMEM, "no memory");
	keep->flows_fd = bpf_map__fd(plane->skel->maps.flows);
	keep->conf = conf;
	err = net_table_read(&keep->table);
	if (!err)
		err = keep_read_flows(keep);
	if (!err)
		err = pin_each(plane->pin_dir, keep_visit, &list);
	net_table_done(&keep->table);
	free(keep);
	if (err)
		return plane_fail(error, err, "cannot read which flows are open: %s",
				  strerror(-err));
	*n_devices = list.n_devices;
	return 0;
}
