/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active checks, in the main thread of the worker: connects to every server of every origin that
 * wants it, and tells the shared struct server. Carries no traffic.
 */
#ifndef PENSTOCK_HEALTH_HEALTH_H
#define PENSTOCK_HEALTH_HEALTH_H

#include <jansson.h>

#include "base/compiler.h"
#include "base/loop.h"
#include "snapshot/snapshot.h"

struct health;

struct health *health_new(struct loop *loop) MUST_CHECK;
void health_free(struct health *health);

/* Checks what this snapshot says from now on; servers that stay keep their history. 0 or -ENOMEM
 * (nothing changed). */
int health_apply(struct health *health, struct snapshot *snapshot) MUST_CHECK;

/* One origin's servers for the status: [{"address", "state", "load", "connects", "failures",
 * "last_error"}]. */
json_t *health_status(struct health *health, const struct conf_origin *origin) MUST_CHECK;

#endif
