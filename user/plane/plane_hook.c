/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One program on one device. A pinned link keeps a program attached without any process, and takes
 * another program without a gap; kernels before 6.6 have no link for tc, so there a filter does,
 * with a pin of the program as the mark that the filter is ours.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>

#include "plane/plane_internal.h"

/* Linux 6.6; in no header of Debian 12. */
#define HOOK_TCX_INGRESS 46

/* What tells our filter from others. */
#define HOOK_FILTER_HANDLE 0x7073
#define HOOK_FILTER_PRIORITY 0x7073

/* The interface that a link is attached to; 0: it is gone. */
static unsigned int link_ifindex(int link_fd)
{
	struct bpf_link_info info = {.type = 0};
	uint32_t len_bytes = sizeof(info);

	if (bpf_obj_get_info_by_fd(link_fd, &info, &len_bytes))
		return 0;
	return info.xdp.ifindex; /* of a tcx link it stands at the same place */
}

/* Gives a pinned link another program. -ENOENT: there is no such pin, or it is of a device that is
 * gone. */
static int link_update(const char *path, unsigned int ifindex, int program_fd)
{
	int fd = bpf_obj_get(path);
	int err = 0;

	if (fd < 0)
		return -errno;
	if (link_ifindex(fd) != ifindex) {
		unlink(path);
		err = -ENOENT;
	} else if (bpf_link_update(fd, program_fd, NULL)) {
		err = -errno;
	}
	close(fd);
	return err;
}

static int link_attach(const char *path, unsigned int ifindex, int program_fd,
		       enum bpf_attach_type type, unsigned int flags, enum hook_change *ret_change)
{
	struct bpf_link_create_opts opts = {.sz = sizeof(opts), .flags = flags};
	int err = link_update(path, ifindex, program_fd);
	int fd;

	*ret_change = HOOK_UPDATED;
	if (err != -ENOENT)
		return err;
	fd = bpf_link_create(program_fd, (int)ifindex, type, &opts);
	if (fd < 0)
		return -errno;
	*ret_change = HOOK_CREATED;
	err = bpf_obj_pin(fd, path) ? -errno : 0;
	close(fd);
	return err;
}

static struct bpf_tc_hook filter_hook(unsigned int ifindex)
{
	return (struct bpf_tc_hook){.sz = sizeof(struct bpf_tc_hook),
				    .ifindex = (int)ifindex,
				    .attach_point = BPF_TC_INGRESS};
}

int hook_filter_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		       enum hook_change *ret_change)
{
	struct bpf_tc_hook hook = filter_hook(device->ifindex);
	struct bpf_tc_opts opts = {.sz = sizeof(opts),
				   .handle = HOOK_FILTER_HANDLE,
				   .priority = HOOK_FILTER_PRIORITY,
				   .prog_fd = program_fd,
				   .flags = BPF_TC_F_REPLACE};
	struct bpf_tc_opts query = {
	    .sz = sizeof(query), .handle = HOOK_FILTER_HANDLE, .priority = HOOK_FILTER_PRIORITY};
	char path[PATH_MAX];
	int err = pin_path(path, pin_dir, PIN_FILTER, device->name);

	if (err)
		return err;
	err = bpf_tc_hook_create(&hook);
	if (err && err != -EEXIST)
		return err;
	*ret_change = bpf_tc_query(&hook, &query) == 0 ? HOOK_UPDATED : HOOK_CREATED;
	err = bpf_tc_attach(&hook, &opts);
	if (err)
		return err;
	return pin_replace(pin_dir, path + strlen(pin_dir) + 1, program_fd);
}

/* The qdisc stays: others may have put filters there meanwhile, and without one it does nothing. */
static void filter_detach(const char *device)
{
	struct bpf_tc_opts opts = {
	    .sz = sizeof(opts), .handle = HOOK_FILTER_HANDLE, .priority = HOOK_FILTER_PRIORITY};
	struct bpf_tc_hook hook = filter_hook(if_nametoindex(device));

	if (hook.ifindex)
		bpf_tc_detach(&hook, &opts);
}

int hook_tc_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		   enum hook_change *ret_change, const char **ret_attach)
{
	char path[PATH_MAX];
	int err = pin_path(path, pin_dir, PIN_TC, device->name);

	if (err)
		return err;
	*ret_attach = "link";
	err = link_attach(path, device->ifindex, program_fd, (enum bpf_attach_type)HOOK_TCX_INGRESS,
			  0, ret_change);
	if (err != -EINVAL)
		return err;
	*ret_attach = "filter";
	return hook_filter_attach(pin_dir, device, program_fd, ret_change);
}

int hook_xdp_attach(const char *pin_dir, const struct plane_device *device, int program_fd,
		    enum hook_change *ret_change)
{
	char path[PATH_MAX];
	int err = pin_path(path, pin_dir, PIN_XDP, device->name);

	if (err)
		return err;
	return link_attach(path, device->ifindex, program_fd, BPF_XDP, XDP_FLAGS_DRV_MODE,
			   ret_change);
}

/* Without its pin a link ends too, but later, in some worker of the kernel; here it has ended on
 * return. */
static void unpin_link(const char *pin_dir, const char *prefix, const char *device)
{
	char path[PATH_MAX];
	int fd;

	if (pin_path(path, pin_dir, prefix, device))
		return;
	fd = bpf_obj_get(path);
	if (fd >= 0) {
		bpf_link_detach(fd);
		close(fd);
	}
	unlink(path);
}

void hook_tc_detach(const char *pin_dir, const char *device)
{
	char path[PATH_MAX];

	unpin_link(pin_dir, PIN_TC, device);
	if (pin_path(path, pin_dir, PIN_FILTER, device) || access(path, F_OK))
		return;
	filter_detach(device);
	unlink(path);
}

void hook_xdp_detach(const char *pin_dir, const char *device)
{
	unpin_link(pin_dir, PIN_XDP, device);
}
