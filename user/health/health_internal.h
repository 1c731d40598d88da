/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside health/. */
#ifndef PENSTOCK_HEALTH_INTERNAL_H
#define PENSTOCK_HEALTH_INTERNAL_H

#include "base/io.h"
#include "health/health.h"
#include "server/server.h"

struct health {
	struct loop *loop;
	void (*on_change)(void *argument, const struct health_change *change);
	void *argument; /* of on_change */
	struct snapshot *snapshot; /* in force; NULL before the first */
	struct list targets;
	uint64_t jitter_state;
};

/* One address that is checked. */
struct health_target {
	struct list node;
	struct health *health;
	struct server *server;
	const struct conf_origin *origin; /* of health->snapshot, as are all texts below */
	size_t server_index;
	char *identity; /* own copies: they find the target again after a reload */
	struct addr addr;
	bool is_wanted; /* from health_stage() to its end, and during health_resolved() */
	bool is_up;
	uint32_t streak; /* checks in a row that spoke against is_up */
	char error[160]; /* of the last check; "" where it was good */
	struct timer interval_timer;
	struct timer timeout_timer;
	bool is_checking;
	bool is_connected;
	size_t said_bytes;
	size_t heard_bytes; /* of what is expected, and right so far */
	struct io io;
};

/* Starts one check. Its end calls health_target_checked(). */
void health_check_start(struct health_target *target);

/* Ends one without a verdict. Right also where none runs. */
void health_check_stop(struct health_target *target);

/* `error` NULL: good. */
void health_target_checked(struct health_target *target, const char *error);

#endif
