/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes the steer routes of a snapshot to the pinned maps, through descriptors only (no
 * capability needed), sweeps flows that went silent, and reads flows and counters for people.
 */
#ifndef PENSTOCK_STEER_STEER_H
#define PENSTOCK_STEER_STEER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/loop.h"
#include "conf/conf.h"

struct steer;

/* Descriptors of the pinned maps; -1: there is none. Stay the caller's and must outlive the steer.
 */
struct steer_maps {
	int services;
	int servers;
	int flows;
	int counters;
};

struct steer *steer_new(const struct steer_maps *maps, struct loop *loop) MUST_CHECK;

/* The maps stay as they are: the programs go on. Takes NULL. */
void steer_free(struct steer *steer);

/* Does `conf` have any route that steers? */
bool steer_is_wanted(const struct conf *conf);

/*
 * Makes the maps say what `conf` says. New server sets are written before a service names them, and
 * old ones removed a while after, so a packet finds the old or the new, never a half. Flows of
 * services that stay are untouched. Servers that are not up get no new flows; that is looked at
 * anew each second, and by publishing again at once. Takes a reference. 0 or -errno; on failure the
 * services are as before.
 */
int steer_publish(struct steer *steer, struct conf *conf) MUST_CHECK;

/*
 * {"services": [{"name", "address", "protocol", "origin", "flows", "to_origin": {"packets",
 * "bytes"}, "to_client": {…}, "servers": [{"address", "nat_address", "weight", "flows"}]}],
 *  "flows": n, "flow_table": [{"direction": "to_origin"|"to_client", "protocol", "client",
 * "service", "nat", "server", "packets", "bytes"}], "counters": {word: n}} Packets and bytes are
 * those of the flows in the table now. "flow_table" has one row per entry of the pinned map, at
 * most STEER_STATUS_ROWS. NULL: no memory, or the maps cannot be read.
 */
#define STEER_STATUS_ROWS 1024
json_t *steer_status(struct steer *steer) MUST_CHECK;

#endif
