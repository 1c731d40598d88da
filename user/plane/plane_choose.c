/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which devices the programs go to, by which hook, and why: from the configuration and what the
 * kernel knows of addresses and routes. Decides only; whether a driver takes XDP shows when it is
 * asked (plane_attach.c).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "plane/plane_internal.h"

/* The choice while it is made. */
struct choice {
	const struct conf *conf;
	const struct net_table *table;
	struct plane_device *devices;
	size_t n_devices;
	struct plane_error *error;
};

static bool listener_steers(const struct conf_listener *listener)
{
	return listener->n_routes > 0 && listener->routes[0].lane == CONF_LANE_STEER;
}

int plane_each_server(const struct conf *conf,
		      int (*visit)(void *argument, const struct conf_origin *origin,
				   const struct conf_server *server),
		      void *argument)
{
	int result = 0;

	for (size_t i = 0; i < conf->n_listeners && !result; i++) {
		const struct conf_listener *listener = &conf->listeners[i];
		const struct conf_origin *origin = listener->routes[0].origin;

		if (!listener_steers(listener))
			continue;
		for (size_t k = 0; k < origin->n_servers && !result; k++)
			if (origin->servers[k].addr.sa.sa_family == AF_INET)
				result = visit(argument, origin, &origin->servers[k]);
	}
	return result;
}

static bool device_forwards(const char *name)
{
	char path[128], value = '1';
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/forwarding", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true; /* the counter drop_no_forwarding will tell */
	if (read(fd, &value, 1) != 1)
		value = '1';
	close(fd);
	return value != '0';
}

static int choice_add(struct choice *choice, const struct net_device *device)
{
	for (size_t i = 0; i < choice->n_devices; i++)
		if (choice->devices[i].ifindex == device->ifindex)
			return 0;
	if (!device->is_ethernet)
		return plane_fail(
		    choice->error, -EOPNOTSUPP,
		    "%s carries no Ethernet frames, which is what the steer lane works on",
		    device->name);
	if (!device_forwards(device->name))
		return plane_fail(
		    choice->error, -EOPNOTSUPP,
		    "%s does not forward IPv4, and steering is forwarding: "
		    "sysctl -w net.ipv4.conf.%s.forwarding=1 (or net.ipv4.ip_forward=1)",
		    device->name, device->name);
	if (choice->n_devices == PLANE_DEVICES_MAX)
		return plane_fail(choice->error, -E2BIG, "more than %d devices", PLANE_DEVICES_MAX);
	choice->devices[choice->n_devices] = (struct plane_device){.ifindex = device->ifindex};
	snprintf(choice->devices[choice->n_devices++].name, IF_NAMESIZE, "%s", device->name);
	return 0;
}

static int choice_add_named(struct choice *choice)
{
	const struct conf_steer *steer = &choice->conf->steer;
	int err = 0;

	for (size_t i = 0; i < steer->n_devices && !err; i++) {
		const struct net_device *device =
		    net_table_find_name(choice->table, steer->devices[i]);

		err = device ? choice_add(choice, device)
			     : plane_fail(choice->error, -ENODEV, "there is no device \"%s\"",
					  steer->devices[i]);
	}
	return err;
}

/* Addresses on the loopback or on no device come in by other devices; the default routes are the
 * best guess. */
static int choice_add_defaults(struct choice *choice, const char *address)
{
	int err = 0;

	if (choice->table->n_defaults == 0)
		return plane_fail(choice->error, -ENODEV,
				  "no Ethernet device has the address %s, and there is no default "
				  "route: name the "
				  "devices that clients come in by in steer.devices",
				  address);
	for (size_t i = 0; i < choice->table->n_defaults && !err; i++) {
		const struct net_device *device =
		    net_table_find(choice->table, choice->table->default_ifindexes[i]);

		if (device)
			err = choice_add(choice, device);
	}
	return err;
}

static int choice_add_holder(struct choice *choice, const struct addr *bind)
{
	const struct net_table *table = choice->table;
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < table->n_addresses; i++) {
		const struct net_device *device =
		    net_table_find(table, table->addresses[i].ifindex);

		if (table->addresses[i].addr.s_addr != bind->in.sin_addr.s_addr || !device)
			continue;
		if (device->is_loopback || strcmp(device->kind, "dummy") == 0)
			break;
		return choice_add(choice, device);
	}
	return choice_add_defaults(choice, addr_format_host(bind, text));
}

static int choice_add_holders(struct choice *choice)
{
	int err = 0;

	for (size_t i = 0; i < choice->conf->n_listeners && !err; i++) {
		const struct conf_listener *listener = &choice->conf->listeners[i];

		if (!listener_steers(listener))
			continue;
		for (size_t k = 0; k < listener->n_binds && !err; k++)
			if (listener->binds[k].sa.sa_family == AF_INET)
				err = choice_add_holder(choice, &listener->binds[k]);
	}
	return err;
}

static int choice_add_server(void *argument, const struct conf_origin *origin,
			     const struct conf_server *server)
{
	struct choice *choice = argument;
	const struct net_device *device;
	struct net_route route;
	int err = net_route_find(server->addr.in.sin_addr, &route);

	if (err)
		return plane_fail(choice->error, err,
				  "there is no route to server %s of origin %s: %s", server->text,
				  origin->name, strerror(-err));
	if (route.is_local)
		return plane_fail(choice->error, -EOPNOTSUPP,
				  "server %s of origin %s is this host itself; packets are steered "
				  "to other hosts, so "
				  "use \"pass\" here",
				  server->text, origin->name);
	device = net_table_find(choice->table, route.ifindex);
	if (!route.is_unicast || !device)
		return plane_fail(choice->error, -ENETUNREACH,
				  "server %s of origin %s cannot be reached by a route",
				  server->text, origin->name);
	if (choice->conf->steer.devices)
		return 0;
	return choice_add(choice, device);
}

/* Why XDP would not do on this device; NULL: it may. */
static const char *device_against_xdp(const struct net_device *device)
{
	if (strcmp(device->kind, "veth") == 0)
		return "veth: tc keeps the segmentation and checksum offloads that XDP would lose";
	if (device->kind[0])
		return "a virtual device: frames have left the driver, where XDP would pay";
	if (!device->is_hardware)
		return "not a network card";
	return NULL;
}

static void choose_tc(struct plane_device *device, const char *why)
{
	device->wants_xdp = false;
	snprintf(device->reason, sizeof(device->reason), "%s", why);
}

/* XDP everywhere or nowhere: a frame can leave by XDP only on a device that has it. */
static void choose_hooks_auto(struct choice *choice)
{
	const char *name = NULL;

	for (size_t i = 0; i < choice->n_devices; i++) {
		const struct net_device *device =
		    net_table_find(choice->table, choice->devices[i].ifindex);
		const char *why = device_against_xdp(device);

		if (why) {
			name = device->name;
			choose_tc(&choice->devices[i], why);
		}
	}
	for (size_t i = 0; i < choice->n_devices; i++) {
		struct plane_device *device = &choice->devices[i];

		if (device->reason[0])
			continue;
		device->wants_xdp = !name;
		device->may_fall_back = true;
		snprintf(device->reason, sizeof(device->reason), "%s%s%s",
			 name ? "XDP here could not send out by " : "the driver runs XDP",
			 name ? name : "", name ? ", which has none" : "");
	}
}

static void choose_hooks(struct choice *choice)
{
	if (choice->conf->steer.hook == CONF_HOOK_AUTO) {
		choose_hooks_auto(choice);
		return;
	}
	for (size_t i = 0; i < choice->n_devices; i++) {
		choose_tc(&choice->devices[i], "the configuration says so");
		choice->devices[i].wants_xdp = choice->conf->steer.hook == CONF_HOOK_XDP;
	}
}

int plane_choose_devices(const struct conf *conf, struct plane_device devices[PLANE_DEVICES_MAX],
			 size_t *ret_n_devices, struct plane_error *error)
{
	struct net_table table;
	struct choice choice = {.conf = conf, .table = &table, .devices = devices, .error = error};
	int err = net_table_read(&table);

	if (err)
		return plane_fail(error, err, "cannot read devices and addresses: %s",
				  strerror(-err));
	err = conf->steer.devices ? choice_add_named(&choice) : choice_add_holders(&choice);
	if (!err)
		err = plane_each_server(conf, choice_add_server, &choice);
	if (!err)
		choose_hooks(&choice);
	net_table_done(&table);
	if (!err)
		*ret_n_devices = choice.n_devices;
	return err;
}
