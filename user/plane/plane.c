/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the plane: programs are loaded over the maps that an earlier run pinned, where their
 * layout is ours, so flows outlive the process and the programs. Nothing is attached here
 * (plane_attach.c).
 */
#include "plane/plane.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock/abi.h"
#include "penstock/reasons.h"
#include "plane/plane_internal.h"
#include "steer.skel.h"

int plane_fail(struct plane_error *error, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return err;
}

/* The last warning of libbpf, which knows more than an errno: why the verifier refused, for
 * example. */
static char libbpf_said[256];

static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

static int keep_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(libbpf_said, sizeof(libbpf_said), format, args);
	libbpf_said[strcspn(libbpf_said, "\n")] = '\0';
	return 0;
}

void plane_keep_warnings(void)
{
	libbpf_said[0] = '\0';
	libbpf_set_print(keep_warning);
}

const char *plane_last_warning(void)
{
	return libbpf_said;
}

static int plane_note(struct plane *plane, const char *format, ...) PRINTF_LIKE(2, 3);

static int plane_note(struct plane *plane, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return json_array_append_new(plane->notes, json_string(text)) ? -ENOMEM : 0;
}

/* ---- adoption ---- */

/* The kernel adds BPF_F_RDONLY_PROG to maps of devices of its own accord. */
static bool map_fits(const struct bpf_map *map, int fd)
{
	struct bpf_map_info info = {.type = 0};
	uint32_t len_bytes = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len_bytes) == 0 &&
	       info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	       info.value_size == bpf_map__value_size(map) &&
	       info.max_entries == bpf_map__max_entries(map) &&
	       (info.map_flags & ~(uint32_t)BPF_F_RDONLY_PROG) == bpf_map__map_flags(map);
}

/* The pinned map of this name. -ENOENT: there is none; -EMEDIUMTYPE: it is not like ours; -errno.
 */
static int map_open_pinned(const char *pin_dir, const struct bpf_map *map)
{
	char path[PATH_MAX];
	int err = pin_path(path, pin_dir, "", bpf_map__name(map));
	int fd;

	if (err)
		return err;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	if (map_fits(map, fd))
		return fd;
	close(fd);
	return -EMEDIUMTYPE;
}

/* Where the map is pinned and fits, the programs will use that one. 0, or as map_open_pinned(). */
static int map_adopt(const char *pin_dir, struct bpf_map *map)
{
	int fd = map_open_pinned(pin_dir, map);
	int err;

	if (fd < 0)
		return fd;
	err = bpf_map__reuse_fd(map, fd);
	close(fd);
	return err;
}

static bool layout_is_ours(const char *pin_dir, const struct bpf_map *map)
{
	struct steer_layout layout = {.abi_version = 0};
	int fd = map_open_pinned(pin_dir, map);
	uint32_t key = 0;
	bool is_ours;

	if (fd < 0)
		return false;
	is_ours = bpf_map_lookup_elem(fd, &key, &layout) == 0 &&
		  layout.abi_version == PENSTOCK_ABI_VERSION;
	close(fd);
	return is_ours;
}

/*
 * Services name server sets, and flows name both: these maps are adopted together or not at all.
 * Counters that do not fit, after a reason was added, start again from zero; nothing else hangs on
 * them.
 */
static int plane_adopt_maps(struct plane *plane)
{
	struct bpf_map *together[] = {plane->skel->maps.layout, plane->skel->maps.services,
				      plane->skel->maps.servers, plane->skel->maps.flows};
	struct bpf_map *alone[] = {plane->skel->maps.counters, plane->skel->maps.xdp_devices};
	size_t n_found = 0, n_fit = 0;
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(together); i++) {
		int fd = map_open_pinned(plane->pin_dir, together[i]);

		n_found += fd >= 0 || fd == -EMEDIUMTYPE;
		n_fit += fd >= 0;
		if (fd >= 0)
			close(fd);
	}
	if (n_found == 0)
		return 0;
	if (n_fit != ARRAY_LEN(together) ||
	    !layout_is_ours(plane->pin_dir, plane->skel->maps.layout))
		return plane_note(plane,
				  "the maps pinned under %s were of another layout and have been "
				  "replaced: flows that "
				  "were open are lost",
				  plane->pin_dir);
	for (size_t i = 0; i < ARRAY_LEN(together) && !err; i++)
		err = map_adopt(plane->pin_dir, together[i]);
	for (size_t i = 0; i < ARRAY_LEN(alone) && !err; i++) {
		err = map_adopt(plane->pin_dir, alone[i]);
		if (err == -ENOENT || err == -EMEDIUMTYPE)
			err = plane_note(plane,
					 "the map %s had another layout and starts again empty",
					 bpf_map__name(alone[i]));
	}
	return err;
}

static int plane_write_layout(const struct plane *plane)
{
	struct steer_layout layout = {.abi_version = PENSTOCK_ABI_VERSION};
	uint32_t key = 0;

	return bpf_map_update_elem(bpf_map__fd(plane->skel->maps.layout), &key, &layout, BPF_ANY)
		   ? -errno
		   : 0;
}

/* Everything of the skeleton, by its name; a map that was adopted gets the pin that it has. */
static int plane_pin_all(const struct plane *plane, struct plane_error *error)
{
	struct bpf_map *map;
	struct bpf_program *program;
	int err = 0;

	bpf_object__for_each_map(map, plane->skel->obj)
	{
		if (bpf_map__is_internal(map)) /* constants: nobody asks for them by name */
			continue;
		err = pin_replace(plane->pin_dir, bpf_map__name(map), bpf_map__fd(map));
		if (err)
			return plane_fail(error, err, "cannot pin the map %s under %s: %s",
					  bpf_map__name(map), plane->pin_dir, strerror(-err));
	}
	bpf_object__for_each_program(program, plane->skel->obj)
	{
		err = pin_replace(plane->pin_dir, bpf_program__name(program),
				  bpf_program__fd(program));
		if (err)
			return plane_fail(error, err, "cannot pin the program %s under %s: %s",
					  bpf_program__name(program), plane->pin_dir,
					  strerror(-err));
	}
	return 0;
}

static int plane_load(struct plane *plane, struct plane_error *error)
{
	int err;

	libbpf_said[0] = '\0';
	plane->skel = steer__open();
	if (!plane->skel)
		return plane_fail(error, -errno, "cannot open the steer programs: %s %s",
				  strerror(errno), libbpf_said);
	err = plane_adopt_maps(plane);
	if (err)
		return plane_fail(error, err, "cannot take over the maps under %s: %s",
				  plane->pin_dir, strerror(-err));
	err = steer__load(plane->skel);
	if (err == -EPERM)
		return plane_fail(
		    error, err,
		    "the kernel lets only root (CAP_BPF, CAP_NET_ADMIN) load BPF programs");
	if (err)
		return plane_fail(error, err, "the kernel refuses the steer programs: %s; %s",
				  strerror(-err), libbpf_said);
	err = plane_write_layout(plane);
	if (err)
		return plane_fail(error, err, "cannot write the map layout: %s", strerror(-err));
	return plane_pin_all(plane, error);
}

int plane_open(const struct conf *conf, struct plane **ret_plane, struct plane_error *ret_error)
{
	struct plane *plane = calloc(1, sizeof(*plane));
	int err;

	if (plane) {
		plane->pin_dir = strdup(conf->pin_dir);
		plane->notes = json_array();
		plane->attach_notes = json_array();
	}
	if (!plane || !plane->pin_dir || !plane->notes || !plane->attach_notes) {
		plane_free(plane);
		return plane_fail(ret_error, -ENOMEM, "no memory");
	}
	plane_keep_warnings();
	err = pin_dir_prepare(plane->pin_dir, ret_error);
	if (!err)
		err = plane_load(plane, ret_error);
	if (err) {
		plane_free(plane);
		return err;
	}
	*ret_plane = plane;
	return 0;
}

void plane_free(struct plane *plane)
{
	if (!plane)
		return;
	steer__destroy(plane->skel);
	json_decref(plane->notes);
	json_decref(plane->attach_notes);
	free(plane->pin_dir);
	free(plane);
}

int plane_map_fd(const struct plane *plane, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(plane->skel->obj, name);

	return map ? bpf_map__fd(map) : -ENOENT;
}

/* ---- for people ---- */

static json_t *describe_device(const struct plane_device *device)
{
	return json_pack("{s:s, s:s, s:s, s:s}", "name", device->name, "hook",
			 device->wants_xdp ? "xdp" : "tc", "reason", device->reason, "attach",
			 device->attach);
}

char *plane_describe(const struct plane *plane)
{
	json_t *devices = json_array();
	json_t *notes = json_array();
	char *text = NULL;
	json_t *root;

	for (size_t i = 0; i < plane->n_devices; i++)
		if (json_array_append_new(devices, describe_device(&plane->devices[i])))
			goto out;
	if (json_array_extend(notes, plane->notes) || json_array_extend(notes, plane->attach_notes))
		goto out;
	root = json_pack("{s:O, s:s, s:O}", "devices", devices, "pin_dir", plane->pin_dir, "notes",
			 notes);
	if (root)
		text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
out:
	json_decref(devices);
	json_decref(notes);
	return text;
}
