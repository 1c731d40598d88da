/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishes the steer routes of a snapshot to the pinned maps, through descriptors only (no capability needed), sweeps
 * flows that went silent, and reads flows and counters for people.
 */
#ifndef PENSTOCK_STEER_STEER_H
#define PENSTOCK_STEER_STEER_H

#include <jansson.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/loop.h"
#include "conf/conf.h"

struct steer;

/* Descriptors of the pinned maps; -1: there is none. Stay the caller's and must outlive the steer. */
struct steer_maps {
	int services;
	int servers;
	int flows;
	int counters;
};

struct steer *steer_new(const struct steer_maps *maps, struct loop *loop) MUST_CHECK;
void steer_free(struct steer *steer);

/* Does `conf` have any route that steers? */
bool steer_is_wanted(const struct conf *conf);

/*
 * Makes the maps say what `conf` says. New server sets are written before a service names them, and old ones removed
 * after, so a packet finds the old or the new, never a half. Flows of services that stay are untouched. 0 or -errno;
 * on failure the services are as before.
 */
int steer_publish(struct steer *steer, const struct conf *conf) MUST_CHECK;

/* {"services": [...], "flows": n, "counters": {word: n}}; NULL: no memory. */
json_t *steer_status(struct steer *steer) MUST_CHECK;

#endif
