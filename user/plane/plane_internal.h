/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the plane share. */
#ifndef PENSTOCK_PLANE_PLANE_INTERNAL_H
#define PENSTOCK_PLANE_PLANE_INTERNAL_H

#include <jansson.h>
#include <limits.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plane/plane.h"

#define PLANE_DEVICES_MAX 64 /* that the programs are attached to */
#define PLANE_REASON_MAX 192

/* Fills in the text and returns `err`, which is negative. */
int plane_fail(struct plane_error *error, int err, const char *format, ...) PRINTF_LIKE(3, 4);

/* From now on libbpf's warnings are kept instead of printed. */
void plane_keep_warnings(void);

/* The last one: it knows more than an errno, why the verifier refused, for example. "": none. */
const char *plane_last_warning(void);

/* ---- plane_net.c: what the kernel knows of devices, addresses, routes and neighbours ---- */

struct net_device {
	unsigned int ifindex;
	char name[IF_NAMESIZE];
	char kind[32]; /* "veth", "bridge", ...; "": none, as of hardware and of the loopback */
	bool is_ethernet;
	bool is_loopback;
	bool is_hardware; /* it has a parent on some bus */
};

struct net_address {
	unsigned int ifindex;
	struct in_addr addr;
};

/* As it was when it was read. */
struct net_table {
	struct net_device *devices;
	size_t n_devices;
	struct net_address *addresses;
	size_t n_addresses;
	unsigned int default_ifindexes[8]; /* of IPv4 default routes in the main table */
	size_t n_defaults;
};

struct net_route {
	unsigned int ifindex;
	struct in_addr next_hop; /* the destination itself where it is on the link */
	bool is_local; /* the address is this host's */
	bool is_unicast;
};

/* 0 or -errno. */
int net_table_read(struct net_table *ret_table) MUST_CHECK;
void net_table_done(struct net_table *table);

const struct net_device *net_table_find(const struct net_table *table, unsigned int ifindex);
const struct net_device *net_table_find_name(const struct net_table *table, const char *name);

/* 0; -ENETUNREACH and the like as the kernel says; -errno. */
int net_route_find(struct in_addr to, struct net_route *ret_route) MUST_CHECK;

/* Has the kernel resolve the neighbour and, where it can (Linux 5.16), keep it so. 0 or -errno. */
int net_neighbour_hold(unsigned int ifindex, struct in_addr addr) MUST_CHECK;

/* Lets the kernel forget a neighbour that it was made to hold. */
void net_neighbour_release(unsigned int ifindex, struct in_addr addr);

/* ---- plane_choose.c: which devices, and which hook ---- */

struct plane_device {
	unsigned int ifindex;
	char name[IF_NAMESIZE];
	bool wants_xdp;
	bool may_fall_back; /* from XDP to tc */
	char reason[PLANE_REASON_MAX]; /* of the hook, for people */
	const char *attach; /* "link" or "filter"; of tc */
};

/* 0, or -errno and the error's text. At least one device on success. */
int plane_choose_devices(const struct conf *conf, struct plane_device devices[PLANE_DEVICES_MAX],
			 size_t *ret_n_devices, struct plane_error *error) MUST_CHECK;

/* Each IPv4 server of a route that steers, once. Stops at the first non-zero value, and returns it.
 */
int plane_each_server(const struct conf *conf,
		      int (*visit)(void *argument, const struct conf_origin *origin,
				   const struct conf_server *server),
		      void *argument);

/* ---- plane_pin.c: the folder of pins ---- */

/* "DIR/PREFIX" and the device's name; a dot, which the BPF file system refuses in names, becomes a
 * colon, which the kernel refuses in names of devices. 0 or -ENAMETOOLONG. */
int pin_path(char path[PATH_MAX], const char *pin_dir, const char *prefix,
	     const char *name) MUST_CHECK;

/* The device's name in a pin's name that starts with `prefix`; false: it does not. */
bool pin_device(const char *pin_name, const char *prefix, char ret_device[IF_NAMESIZE]);

/* Makes sure that `pin_dir` is a folder on a BPF file system; mounts one at /sys/fs/bpf where it is
 * missing. */
int pin_dir_prepare(const char *pin_dir, struct plane_error *error) MUST_CHECK;

/* Puts `fd` at DIR/NAME in one step, whatever stood there. 0 or -errno. */
int pin_replace(const char *pin_dir, const char *name, int fd) MUST_CHECK;

/* Calls `visit` for each name in the folder; a folder that is not there is empty. */
int pin_each(const char *pin_dir, int (*visit)(void *argument, const char *name),
	     void *argument) MUST_CHECK;

/* ---- plane_hook.c: attaching one program to one device ---- */

#define PIN_TC "link_tc_" /* a link */
#define PIN_FILTER \
	"filter_tc_" /* the program, where there is no link: a mark that the filter is ours */
#define PIN_XDP "link_xdp_" /* a link */

enum hook_change { HOOK_UPDATED, HOOK_CREATED };

/* Attaches, or updates the program where it is attached. `ret_attach`: "link" or "filter". 0 or
 * -errno. */
int hook_tc_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		   enum hook_change *ret_change, const char **ret_attach) MUST_CHECK;
int hook_xdp_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		    enum hook_change *ret_change) MUST_CHECK;

/* The kernels before 6.6 have only this; it needs no process, but somebody to remove it. */
int hook_filter_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		       enum hook_change *ret_change) MUST_CHECK;

/* Also right where nothing is attached. */
void hook_tc_detach(const char *pin_dir, const char *device);
void hook_xdp_detach(const char *pin_dir, const char *device);

/* ---- the plane itself ---- */

/* ---- plane_splice_test.c ---- */

struct splice_maps {
	int src, tgt, ids, dirs;
};

/* Does the kernel relay as it should? Leaves the maps empty. 0 or -errno with the error's text. */
int plane_splice_prove(const struct splice_maps *maps, struct plane_error *error) MUST_CHECK;

/* ---- the plane itself ---- */

struct plane {
	char *pin_dir;
	struct steer *skel;
	struct plane_device devices[PLANE_DEVICES_MAX];
	size_t n_devices;
	json_t *notes; /* sentences about what was found at opening */
	json_t *attach_notes; /* and at the last attachment */
};

/* ---- plane_attach.c ---- */

/* All of `devices`, or none. 0, or -errno and the error's text. */
int plane_attach_devices(struct plane *plane, const struct conf *conf,
			 const struct plane_device *devices, size_t n_devices,
			 struct plane_error *error) MUST_CHECK;

/* ---- plane_keep.c ---- */

/* Adds devices that are attached now and that open flows need. 0, or -errno and the error's text.
 */
int plane_keep_devices(const struct plane *plane, const struct conf *conf,
		       struct plane_device *devices, size_t *n_devices,
		       struct plane_error *error) MUST_CHECK;

#endif
