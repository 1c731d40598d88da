/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the broker does for the splice lane: the sockmap relay's program and maps, at the first
 * configuration that may use them; and for all that people see: the live table. Without them all
 * lanes work all the same, so a failure is only told.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "broker/broker_internal.h"

static const struct conf_mark nowhere = {0, 0};

static const char *const splice_maps[] = {"splice_src", "splice_tgt", "splice_ids", "splice_dirs"};

static bool splice_may_use_sockmap(const struct conf *conf)
{
	if (!conf->relay.sockmap)
		return false;
	for (size_t i = 0; i < conf->n_listeners; i++)
		for (size_t j = 0; j < conf->listeners[i].n_routes; j++) {
			const struct conf_route *route = &conf->listeners[i].routes[j];

			if (conf_route_is_stream(route) &&
			    (route->lane == CONF_LANE_SPLICE ||
			     (!conf->listeners[i].tls && !route->origin->tls)) &&
			    (route->relay == CONF_RELAY_AUTO || route->relay == CONF_RELAY_SOCKMAP))
				return true;
		}
	return false;
}

static int splice_add_copy(struct bundle *bundle, const char *name, uint32_t index, int fd)
{
	if (fd < 0)
		return fd;
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : bundle_add(bundle, BUNDLE_MAP, name, index, fd);
}

static int splice_add_maps(const struct plane_splice *splice, struct bundle *bundle)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(splice_maps) && !err; i++)
		err = splice_add_copy(bundle, splice_maps[i], 0,
				      plane_splice_map_fd(splice, splice_maps[i]));
	for (uint32_t i = 0; !err; i++) {
		int fd = plane_splice_ring_fd(splice, i);

		if (fd == -ENOENT)
			return 0;
		err = splice_add_copy(bundle, "splice_ring", i, fd);
	}
	return err;
}

int broker_splice_prepare(struct plane_splice **splice, const struct conf *conf,
			  unsigned int n_threads, struct bundle *bundle, struct conf_diag *diag)
{
	struct plane_error error = {.text = ""};
	int err = 0;

	if (!*splice && !splice_may_use_sockmap(conf))
		return 0;
	if (!*splice && plane_splice_open(conf->pin_dir, n_threads, splice, &error))
		err =
		    bundle_add_data(bundle, BUNDLE_PLANE, "splice", error.text, strlen(error.text));
	else
		err = splice_add_maps(*splice, bundle);
	if (err)
		conf_diag_add(diag, nowhere, "sockmap: cannot hand the maps on: %s",
			      strerror(-err));
	return err;
}

int broker_live_prepare(struct plane_live **live, const struct conf *conf, bool is_first,
			struct bundle *bundle, struct conf_diag *diag)
{
	struct plane_error error = {.text = ""};
	int err;

	if (is_first && plane_live_open(conf->pin_dir, live, &error))
		log_info("bpftool cannot see the open connections", LOG_TEXT("reason", error.text));
	if (!*live)
		return 0;
	err = splice_add_copy(bundle, "streams", 0, plane_live_map_fd(*live));
	if (err)
		conf_diag_add(diag, nowhere, "cannot hand the live table on: %s", strerror(-err));
	return err;
}
