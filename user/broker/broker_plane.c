/* SPDX-License-Identifier: Apache-2.0 */
/* What the broker does for the steer lane: programs and attachments before a bundle goes out, and
 * their descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker_internal.h"
#include "steer/steer.h"

static const struct conf_mark nowhere = {0, 0};

static const char *const plane_maps[] = {"services", "servers", "flows", "counters"};

static int plane_add_maps(const struct plane *plane, struct bundle *bundle)
{
	for (size_t i = 0; i < ARRAY_LEN(plane_maps); i++) {
		int fd = plane_map_fd(plane, plane_maps[i]);
		int err;

		if (fd < 0)
			return fd;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		err = bundle_add(bundle, BUNDLE_MAP, plane_maps[i], 0, fd);
		if (err)
			return err;
	}
	return 0;
}

/* Where nothing steers any more, what is attached now will not be when the worker has agreed. */
static int plane_add_description(const struct plane *plane, const struct conf *conf,
				 struct bundle *bundle)
{
	char *text = steer_is_wanted(conf) ? plane_describe(plane) : strdup("{\"devices\": []}");
	int err;

	if (!text)
		return -ENOMEM;
	err = bundle_add_data(bundle, BUNDLE_PLANE, "plane", text, strlen(text));
	free(text);
	return err;
}

/* Programs that an earlier run left attached go on steering, whatever this configuration says. */
static void plane_warn_of_leftovers(const struct conf *conf, struct conf_diag *diag)
{
	char path[PATH_MAX];

	if (!conf->pin_dir ||
	    snprintf(path, sizeof(path), "%s/services", conf->pin_dir) >= (int)sizeof(path))
		return;
	if (access(path, F_OK) == 0)
		conf_diag_warn(diag, nowhere,
			       "no route steers, but %s still holds what an earlier run attached; "
			       "`penstock steer remove` ends it",
			       conf->pin_dir);
}

int broker_plane_prepare(struct plane **plane, const struct conf *conf, struct bundle *bundle,
			 struct conf_diag *diag)
{
	struct plane_error error = {.text = ""};
	int err = 0;

	if (!*plane && !steer_is_wanted(conf)) {
		plane_warn_of_leftovers(conf, diag);
		return 0;
	}
	if (!*plane)
		err = plane_open(conf, plane, &error);
	/* Devices that are no longer wanted are let go only when the worker has agreed. */
	if (!err && steer_is_wanted(conf))
		err = plane_attach(*plane, conf, &error);
	if (err) {
		conf_diag_add(diag, nowhere, "steer: %s", error.text);
		return err;
	}
	err = plane_add_maps(*plane, bundle);
	if (!err)
		err = plane_add_description(*plane, conf, bundle);
	if (err)
		conf_diag_add(diag, nowhere, "steer: cannot hand the maps on: %s", strerror(-err));
	return err;
}

void broker_plane_settle(struct plane *plane, const struct conf *conf)
{
	struct plane_error error = {.text = ""};

	if (plane && plane_settle(plane, conf, &error))
		log_error("cannot attach the steer programs as configured",
			  LOG_TEXT("reason", error.text));
}
