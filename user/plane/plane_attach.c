/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the attachments what the configuration wants, and takes all of it away again. What is
 * attached is read from the folder of pins, never from memory: an earlier process may have left it.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plane/plane_internal.h"
#include "steer.skel.h"

/* One attempt. What it created is undone where it fails. */
struct attempt {
	struct plane *plane;
	struct plane_device devices[PLANE_DEVICES_MAX];
	size_t n_devices;
	bool created_tc[PLANE_DEVICES_MAX];
	bool created_xdp[PLANE_DEVICES_MAX];
};

static void attempt_undo(const struct attempt *attempt)
{
	for (size_t i = 0; i < attempt->n_devices; i++) {
		if (attempt->created_tc[i])
			hook_tc_detach(attempt->plane->pin_dir, attempt->devices[i].name);
		if (attempt->created_xdp[i])
			hook_xdp_detach(attempt->plane->pin_dir, attempt->devices[i].name);
	}
}

/* tc is attached in any case: it takes what XDP passes on. */
static int attach_tc(struct attempt *attempt, size_t i, struct plane_error *error)
{
	struct plane_device *device = &attempt->devices[i];
	int program_fd = bpf_program__fd(attempt->plane->skel->progs.steer_tc);
	enum hook_change change = HOOK_UPDATED;
	int err =
	    hook_tc_attach(attempt->plane->pin_dir, device, program_fd, &change, &device->attach);

	attempt->created_tc[i] = change == HOOK_CREATED;
	if (err)
		return plane_fail(error, err, "cannot attach the tc program to %s: %s",
				  device->name, strerror(-err));
	return 0;
}

static const char *xdp_refusal(int err)
{
	switch (err) {
	case -EBUSY:
		return "another XDP program is there";
	case -EOPNOTSUPP:
		return "its driver has no XDP";
	case -ENOMEM:
	case -ENOSPC:
		return "its driver has too few queues for XDP (ethtool -L)";
	case -EINVAL:
		return "its driver refuses XDP with the present MTU or offloads (LRO off: ethtool "
		       "-K)";
	default:
		return strerror(-err);
	}
}

static int attach_xdp(struct attempt *attempt, size_t i)
{
	int program_fd = bpf_program__fd(attempt->plane->skel->progs.steer_xdp);
	enum hook_change change = HOOK_UPDATED;
	int err =
	    hook_xdp_attach(attempt->plane->pin_dir, &attempt->devices[i], program_fd, &change);

	attempt->created_xdp[i] = change == HOOK_CREATED;
	return err;
}

/* Devices share one fate where the choice is ours: see choose_hooks_auto(). */
static void fall_back_to_tc(struct attempt *attempt, size_t refuser, int err)
{
	for (size_t i = 0; i < attempt->n_devices; i++) {
		struct plane_device *device = &attempt->devices[i];

		hook_xdp_detach(attempt->plane->pin_dir, device->name);
		attempt->created_xdp[i] = false;
		device->wants_xdp = false;
		if (i == refuser)
			snprintf(device->reason, sizeof(device->reason), "%s", xdp_refusal(err));
		else
			snprintf(device->reason, sizeof(device->reason),
				 "XDP here could not send out by %s: %s",
				 attempt->devices[refuser].name, xdp_refusal(err));
	}
}

static int attach_all_xdp(struct attempt *attempt, struct plane_error *error)
{
	for (size_t i = 0; i < attempt->n_devices; i++) {
		struct plane_device *device = &attempt->devices[i];
		int err = device->wants_xdp ? attach_xdp(attempt, i) : 0;

		if (err && device->may_fall_back) {
			fall_back_to_tc(attempt, i, err);
			return 0;
		}
		if (err)
			return plane_fail(
			    error, err,
			    "cannot attach XDP to %s: %s; \"hook: auto\" would take tc there",
			    device->name, xdp_refusal(err));
	}
	return 0;
}

/* A device is added once it takes frames; before, packets for it go to tc. */
static int add_xdp_devices(const struct attempt *attempt)
{
	int fd = bpf_map__fd(attempt->plane->skel->maps.xdp_devices);

	for (size_t i = 0; i < attempt->n_devices; i++) {
		uint32_t ifindex = attempt->devices[i].ifindex;

		if (attempt->devices[i].wants_xdp &&
		    bpf_map_update_elem(fd, &ifindex, &ifindex, BPF_ANY))
			return -errno;
	}
	return 0;
}

/* ---- devices no longer wanted ---- */

static bool wants(const struct plane *plane, const char *name, bool as_xdp)
{
	for (size_t i = 0; i < plane->n_devices; i++)
		if (strcmp(plane->devices[i].name, name) == 0)
			return !as_xdp || plane->devices[i].wants_xdp;
	return false;
}

static int detach_unwanted(void *argument, const char *pin_name)
{
	const struct plane *plane = argument;
	char device[IF_NAMESIZE];

	if ((pin_device(pin_name, PIN_TC, device) || pin_device(pin_name, PIN_FILTER, device)) &&
	    !wants(plane, device, false))
		hook_tc_detach(plane->pin_dir, device);
	if (pin_device(pin_name, PIN_XDP, device) && !wants(plane, device, true))
		hook_xdp_detach(plane->pin_dir, device);
	return 0;
}

static bool sends_by_xdp(const struct plane *plane, unsigned int ifindex)
{
	for (size_t i = 0; i < plane->n_devices; i++)
		if (plane->devices[i].ifindex == ifindex)
			return plane->devices[i].wants_xdp;
	return false;
}

static void remove_xdp_devices(const struct plane *plane)
{
	int fd = bpf_map__fd(plane->skel->maps.xdp_devices);
	uint32_t stale[256], key, *previous = NULL;
	size_t n_stale = 0;

	while (n_stale < ARRAY_LEN(stale) && bpf_map_get_next_key(fd, previous, &key) == 0) {
		if (!sends_by_xdp(plane, key))
			stale[n_stale++] = key;
		previous = &key;
	}
	for (size_t i = 0; i < n_stale; i++)
		bpf_map_delete_elem(fd, &stale[i]);
}

/* ---- what people should know ---- */

static int note(json_t *notes, const char *format, ...) PRINTF_LIKE(2, 3);

static int note(json_t *notes, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_array_append_new(notes, json_string(text)) ? -ENOMEM : 0;
}

/* The ports that this host takes for its own connections. False: unknown. */
static bool read_own_ports(unsigned long *ret_low, unsigned long *ret_high)
{
	FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	char text[64] = "", *end = text;
	bool is_read = file && fgets(text, sizeof(text), file);

	if (file)
		fclose(file);
	if (!is_read)
		return false;
	*ret_low = strtoul(text, &end, 10);
	*ret_high = strtoul(end, &end, 10);
	return *ret_high >= *ret_low && *ret_high > 0;
}

static int note_port_overlap(json_t *notes, const struct conf_steer *steer)
{
	unsigned long low, high;

	if (!read_own_ports(&low, &high) || low > steer->nat_port_max || high < steer->nat_port_min)
		return 0;
	return note(notes,
		    "NAT ports %u-%u overlap net.ipv4.ip_local_port_range (%lu-%lu): a connection "
		    "that this host "
		    "opens to a server may meet a steered one; choose other ports for one of them",
		    steer->nat_port_min, steer->nat_port_max, low, high);
}

struct neighbours {
	json_t *notes;
	bool releases;
};

static int hold_neighbour(void *argument, const struct conf_origin *origin,
			  const struct conf_server *server)
{
	const struct neighbours *neighbours = argument;
	struct net_route route;
	char text[INET_ADDRSTRLEN];
	int err;

	if (net_route_find(server->addr.in.sin_addr, &route) || !route.is_unicast)
		return 0;
	if (neighbours->releases) {
		net_neighbour_release(route.ifindex, route.next_hop);
		return 0;
	}
	err = net_neighbour_hold(route.ifindex, route.next_hop);
	if (!err)
		return 0;
	inet_ntop(AF_INET, &route.next_hop, text, sizeof(text));
	return note(neighbours->notes, "cannot keep the next hop %s of origin %s resolved: %s",
		    text, origin->name, strerror(-err));
}

static int attempt_note(const struct plane *plane, const struct conf *conf, json_t **ret_notes)
{
	struct neighbours neighbours = {.notes = json_array()};
	int err = neighbours.notes ? note_port_overlap(neighbours.notes, &conf->steer) : -ENOMEM;

	(void)plane;
	if (!err)
		err = plane_each_server(conf, hold_neighbour, &neighbours);
	if (err)
		json_decref(neighbours.notes);
	else
		*ret_notes = neighbours.notes;
	return err;
}

/* ---- the whole ---- */

static int attempt_run(struct attempt *attempt, const struct conf *conf, struct plane_error *error)
{
	json_t *notes = NULL;
	int err = attach_all_xdp(attempt, error);

	for (size_t i = 0; i < attempt->n_devices && !err; i++)
		err = attach_tc(attempt, i, error);
	if (err)
		return err;
	err = attempt_note(attempt->plane, conf, &notes);
	if (!err)
		err = add_xdp_devices(attempt);
	if (err) {
		json_decref(notes);
		return plane_fail(error, err, "cannot prepare the devices: %s", strerror(-err));
	}
	json_decref(attempt->plane->attach_notes);
	attempt->plane->attach_notes = notes;
	return 0;
}

int plane_attach_devices(struct plane *plane, const struct conf *conf,
			 const struct plane_device *devices, size_t n_devices,
			 struct plane_error *error)
{
	struct attempt *attempt = calloc(1, sizeof(*attempt));
	int err;

	if (!attempt)
		return plane_fail(error, -ENOMEM, "no memory");
	attempt->plane = plane;
	attempt->n_devices = n_devices;
	memcpy(attempt->devices, devices, n_devices * sizeof(*devices));
	err = attempt_run(attempt, conf, error);
	if (err) {
		attempt_undo(attempt);
	} else {
		memcpy(plane->devices, attempt->devices, sizeof(plane->devices));
		plane->n_devices = n_devices;
	}
	free(attempt);
	return err;
}

int plane_attach(struct plane *plane, const struct conf *conf, struct plane_error *ret_error)
{
	struct plane_device *devices = calloc(PLANE_DEVICES_MAX, sizeof(*devices));
	size_t n_devices = 0;
	int err;

	if (!devices)
		return plane_fail(ret_error, -ENOMEM, "no memory");
	err = plane_choose_devices(conf, devices, &n_devices, ret_error);
	/* Where nothing steers any more, nothing is kept either. */
	if (!err && n_devices)
		err = plane_keep_devices(plane, conf, devices, &n_devices, ret_error);
	if (!err)
		err = plane_attach_devices(plane, conf, devices, n_devices, ret_error);
	free(devices);
	return err;
}

int plane_settle(struct plane *plane, const struct conf *conf, struct plane_error *ret_error)
{
	int err = plane_attach(plane, conf, ret_error);

	if (err)
		return err;
	remove_xdp_devices(plane);
	err = pin_each(plane->pin_dir, detach_unwanted, plane);
	if (err)
		return plane_fail(ret_error, err, "cannot read %s: %s", plane->pin_dir,
				  strerror(-err));
	return 0;
}

static int remove_pin(void *argument, const char *pin_name)
{
	const char *pin_dir = *(const char **)argument;
	char device[IF_NAMESIZE], path[PATH_MAX];

	if (pin_device(pin_name, PIN_TC, device) || pin_device(pin_name, PIN_FILTER, device))
		hook_tc_detach(pin_dir, device);
	if (pin_device(pin_name, PIN_XDP, device))
		hook_xdp_detach(pin_dir, device);
	if (!pin_path(path, pin_dir, "", pin_name))
		unlink(path);
	return 0;
}

int plane_remove(const struct conf *conf, struct plane_error *ret_error)
{
	struct neighbours neighbours = {.releases = true};
	const char *pin_dir = conf->pin_dir;
	int err;

	libbpf_set_print(NULL);
	if (access(conf->pin_dir, F_OK))
		return 0;
	err = plane_each_server(conf, hold_neighbour, &neighbours);
	if (!err)
		err = pin_each(pin_dir, remove_pin, &pin_dir);
	if (!err && rmdir(conf->pin_dir) && errno != ENOENT)
		err = -errno;
	if (err)
		return plane_fail(ret_error, err, "cannot remove %s: %s", conf->pin_dir,
				  strerror(-err));
	return 0;
}
