/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of steer share. */
#ifndef PENSTOCK_STEER_STEER_INTERNAL_H
#define PENSTOCK_STEER_STEER_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "base/timer.h"
#include "penstock/abi.h"
#include "penstock/limits.h"
#include "steer/steer.h"

#define STEER_BATCH 1024 /* flows that are read in one go */

/* A service as it is, or shall be, published. */
struct steer_service {
	struct service_key key;
	struct service_value value;
	char *name; /* of the listener */
	char *origin; /* its name */
	struct server_value *servers; /* value.n_servers, each as often as its weight says */
	bool has_ejected; /* one is left out that will come back by itself */
};

struct steer_plan {
	struct steer_service *services;
	size_t n_services;
};

/* One stretch of the flow table. */
struct steer_batch {
	struct flow_key keys[STEER_BATCH];
	struct flow_value values[STEER_BATCH];
	uint32_t n;
	uint32_t position; /* opaque to us */
	bool has_begun;
};

struct steer {
	struct steer_maps maps;
	struct loop *loop;
	struct timer timer;
	struct conf *conf; /* what was published last, and so again; NULL: nothing yet */
	struct steer_plan published;
	uint64_t changes; /* server_changes() before it was made */
	uint32_t next_service_id;
	uint32_t next_server_set;
	bool has_leftovers; /* server sets that no service names any more */
	uint32_t udp_idle_s;
	uint32_t tcp_idle_s;
	struct steer_batch batch; /* of the sweep, which goes on where it stopped */
};

/* What `conf` wants, without ids and set numbers. 0 or -errno. */
int steer_plan_make(const struct conf *conf, struct steer_plan *ret_plan) MUST_CHECK;
void steer_plan_done(struct steer_plan *plan);

/* The next stretch of the table. 1: there is more; 0: that was the end; -errno. */
int steer_batch_read(int flows_fd, struct steer_batch *batch) MUST_CHECK;

/* Removes the flows of the next stretch that are silent for too long. As steer_batch_read(). */
int steer_sweep(struct steer *steer) MUST_CHECK;

#endif
