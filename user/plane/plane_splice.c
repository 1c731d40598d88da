/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sockmap relay's program and maps: loaded anew with each start, since what they hold are
 * sockets of a process, and proved before they are used. Which streams go there is for the relay.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "penstock/limits.h"
#include "plane/plane_internal.h"
#include "splice.skel.h"

struct plane_splice {
	char *pin_dir; /* NULL: nothing is pinned */
	struct splice *skel;
	unsigned int n_rings;
	int rings[PENSTOCK_MAX_THREADS];
};

static int splice_load(struct plane_splice *splice, struct plane_error *error)
{
	int err;

	splice->skel = splice__open();
	if (!splice->skel)
		return plane_fail(error, -errno, "cannot open the splice program: %s %s",
				  strerror(errno), plane_last_warning());
	err = splice__load(splice->skel);
	if (err == -EPERM)
		return plane_fail(
		    error, err,
		    "the kernel lets only root (CAP_BPF, CAP_NET_ADMIN) load BPF programs");
	if (err)
		return plane_fail(error, err, "the kernel refuses the splice program: %s; %s",
				  strerror(-err), plane_last_warning());
	if (bpf_prog_attach(bpf_program__fd(splice->skel->progs.splice_verdict),
			    bpf_map__fd(splice->skel->maps.splice_src), BPF_SK_SKB_STREAM_VERDICT,
			    0))
		return plane_fail(error, -errno, "cannot attach the splice program: %s",
				  strerror(errno));
	return 0;
}

static int splice_make_rings(struct plane_splice *splice, unsigned int n_rings,
			     struct plane_error *error)
{
	for (uint32_t i = 0; i < n_rings; i++) {
		int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "splice_ring", 0, 0,
					PENSTOCK_SPLICE_RING_BYTES, NULL);

		if (fd < 0)
			return plane_fail(error, -errno, "cannot make a ring: %s", strerror(errno));
		splice->rings[splice->n_rings++] = fd;
		if (bpf_map_update_elem(bpf_map__fd(splice->skel->maps.splice_rings), &i, &fd,
					BPF_ANY))
			return plane_fail(error, -errno, "cannot place a ring: %s",
					  strerror(errno));
	}
	return 0;
}

static int splice_pin(const struct plane_splice *splice, struct plane_error *error)
{
	const char *name = "splice_verdict";
	struct bpf_map *map;
	int err;

	err = pin_dir_prepare(splice->pin_dir, error);
	if (err)
		return err;
	err =
	    pin_replace(splice->pin_dir, name, bpf_program__fd(splice->skel->progs.splice_verdict));
	bpf_object__for_each_map(map, splice->skel->obj)
	{
		if (err)
			break;
		name = bpf_map__name(map);
		err = pin_replace(splice->pin_dir, name, bpf_map__fd(map));
	}
	return err ? plane_fail(error, err, "cannot pin %s under %s: %s", name, splice->pin_dir,
				strerror(-err))
		   : 0;
}

static void splice_unpin(const struct plane_splice *splice, const char *name)
{
	char path[PATH_MAX];

	if (!pin_path(path, splice->pin_dir, "", name))
		unlink(path);
}

static void splice_unpin_all(const struct plane_splice *splice)
{
	struct bpf_map *map;

	splice_unpin(splice, "splice_verdict");
	bpf_object__for_each_map(map, splice->skel->obj)
	{
		splice_unpin(splice, bpf_map__name(map));
	}
	rmdir(splice->pin_dir); /* others may have pins there: then it stays */
}

static int splice_set_up(struct plane_splice *splice, unsigned int n_rings,
			 struct plane_error *error)
{
	struct splice_maps maps;
	int err = splice_load(splice, error);

	if (!err)
		err = splice_make_rings(splice, n_rings, error);
	if (err)
		return err;
	maps = (struct splice_maps){
	    .src = bpf_map__fd(splice->skel->maps.splice_src),
	    .tgt = bpf_map__fd(splice->skel->maps.splice_tgt),
	    .ids = bpf_map__fd(splice->skel->maps.splice_ids),
	    .dirs = bpf_map__fd(splice->skel->maps.splice_dirs),
	};
	err = plane_splice_prove(&maps, error);
	return err || !splice->pin_dir ? err : splice_pin(splice, error);
}

int plane_splice_open(const char *pin_dir, unsigned int n_rings, struct plane_splice **ret_splice,
		      struct plane_error *ret_error)
{
	struct plane_splice *splice = calloc(1, sizeof(*splice));
	int err;

	if (splice && pin_dir)
		splice->pin_dir = strdup(pin_dir);
	if (!splice || (pin_dir && !splice->pin_dir)) {
		plane_splice_free(splice);
		return plane_fail(ret_error, -ENOMEM, "no memory");
	}
	plane_keep_warnings();
	err = splice_set_up(splice, n_rings < PENSTOCK_MAX_THREADS ? n_rings : PENSTOCK_MAX_THREADS,
			    ret_error);
	if (err) {
		plane_splice_free(splice);
		return err;
	}
	*ret_splice = splice;
	return 0;
}

void plane_splice_free(struct plane_splice *splice)
{
	if (!splice)
		return;
	if (splice->pin_dir && splice->skel)
		splice_unpin_all(splice);
	for (unsigned int i = 0; i < splice->n_rings; i++)
		close(splice->rings[i]);
	splice__destroy(splice->skel);
	free(splice->pin_dir);
	free(splice);
}

int plane_splice_map_fd(const struct plane_splice *splice, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(splice->skel->obj, name);

	return map ? bpf_map__fd(map) : -ENOENT;
}

int plane_splice_ring_fd(const struct plane_splice *splice, unsigned int index)
{
	return index < splice->n_rings ? splice->rings[index] : -ENOENT;
}
