/* SPDX-License-Identifier: Apache-2.0 */
/* The live table's map, pinned. What stands in it is written by the worker. */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live.skel.h"
#include "plane/plane_internal.h"

#define LIVE_MAP "streams"

struct plane_live {
	char *pin_dir;
	struct live *skel;
	bool is_pinned;
};

static int live_set_up(struct plane_live *live, struct plane_error *error)
{
	int err;

	live->skel = live__open();
	if (!live->skel)
		return plane_fail(error, -errno, "cannot open the live table: %s %s",
				  strerror(errno), plane_last_warning());
	err = live__load(live->skel);
	if (err)
		return plane_fail(error, err, "the kernel refuses the live table: %s; %s",
				  strerror(-err), plane_last_warning());
	err = pin_dir_prepare(live->pin_dir, error);
	if (err)
		return err;
	err = pin_replace(live->pin_dir, LIVE_MAP, plane_live_map_fd(live));
	if (err)
		return plane_fail(error, err, "cannot pin the live table under %s: %s",
				  live->pin_dir, strerror(-err));
	live->is_pinned = true;
	return 0;
}

int plane_live_open(const char *pin_dir, struct plane_live **ret_live,
		    struct plane_error *ret_error)
{
	struct plane_live *live = calloc(1, sizeof(*live));
	int err;

	if (live)
		live->pin_dir = strdup(pin_dir);
	if (!live || !live->pin_dir) {
		plane_live_free(live);
		return plane_fail(ret_error, -ENOMEM, "no memory");
	}
	plane_keep_warnings();
	err = live_set_up(live, ret_error);
	if (err) {
		plane_live_free(live);
		return err;
	}
	*ret_live = live;
	return 0;
}

void plane_live_free(struct plane_live *live)
{
	char path[PATH_MAX];

	if (!live)
		return;
	if (live->is_pinned && !pin_path(path, live->pin_dir, "", LIVE_MAP)) {
		unlink(path);
		rmdir(live->pin_dir); /* others may have pins there: then it stays */
	}
	live__destroy(live->skel);
	free(live->pin_dir);
	free(live);
}

int plane_live_map_fd(const struct plane_live *live)
{
	return bpf_map__fd(live->skel->maps.streams);
}
