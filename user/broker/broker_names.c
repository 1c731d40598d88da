/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's own files about names, for servers that are host names: handed to the worker again
 * when they change, whatever the configuration says of its own files. Looks no name up.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "broker/broker_internal.h"

const char *const broker_names_files[BROKER_NAMES_FILES] = {BUNDLE_HOSTS_PATH, BUNDLE_RESOLV_PATH};

bool broker_has_names(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_origins; i++)
		for (size_t j = 0; j < conf->origins[i]->n_servers; j++)
			if (conf->origins[i]->servers[j].is_name)
				return true;
	return false;
}

void broker_watch_names(struct broker *broker)
{
	int err;

	file_watch_clear(broker->names_watch);
	if (!broker_has_names(broker->current.conf))
		return;
	err = file_watch_set_paths(broker->names_watch, broker->current.bundle, broker_names_files,
				   BROKER_NAMES_FILES);
	if (err)
		log_warn("changes of " BUNDLE_HOSTS_PATH " and " BUNDLE_RESOLV_PATH
			 " will not be noticed",
			 LOG_TEXT("reason", strerror(-err)));
}

/* Whoever takes a configuration has them with it, as they were when it was read. */
void broker_send_names(struct broker *broker)
{
	struct bundle *bundle = bundle_new(0);
	int err = bundle ? broker_load_names(bundle) : -ENOMEM;
	bool is_begun = !err;

	if (!err)
		err = bundle_send_names(broker->child.socket_fd, bundle);
	bundle_free(bundle);
	if (err)
		log_error("the worker is not told of changed names",
			  LOG_TEXT("reason", strerror(-err)));
	if (err && is_begun) /* the worker may wait for the rest of it, and for ever */
		child_kill(&broker->child);
}

void broker_on_names(void *argument, const char *path)
{
	struct broker *broker = argument;

	if (broker->state != BROKER_RUNNING && broker->state != BROKER_OFFERING)
		return; /* a new worker is told when it serves */
	log_info("names of servers are looked up by another file", LOG_TEXT("file", path));
	broker_send_names(broker);
}
