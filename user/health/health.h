/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Active checks, in the main thread of the worker: connects to every server of every origin that
 * wants it, says what is to be said and listens for the answer, and tells the shared struct server.
 * Carries no traffic, logs nothing: the owner hears of changes.
 */
#ifndef PENSTOCK_HEALTH_HEALTH_H
#define PENSTOCK_HEALTH_HEALTH_H

#include "base/addr.h"
#include "base/compiler.h"
#include "base/loop.h"
#include "snapshot/snapshot.h"

struct health;

/* A server went down or came back. `why` of the last failed check; valid during the call. */
struct health_change {
	const char *origin;
	const char *server;
	bool is_up;
	const char *why;
};

struct health *health_new(struct loop *loop,
			  void (*on_change)(void *argument, const struct health_change *change),
			  void *argument) MUST_CHECK;

/* Takes NULL. */
void health_free(struct health *health);

/*
 * In two steps, with no turn of the loop between them. Staged: all that the snapshot's checks need
 * is there; 0 or -ENOMEM (nothing changed). Committed: they are done from now on, and servers that
 * stay go on where they were. Host names are checked at the addresses that health_resolved() told.
 */
int health_stage(struct health *health, const struct snapshot *snapshot) MUST_CHECK;
void health_commit(struct health *health, struct snapshot *snapshot);
/* Instead of health_commit(): all is as before. */
void health_abort(struct health *health);

/* A host name of an origin has these addresses now (with ports). 0 or -ENOMEM (nothing changed). */
int health_resolved(struct health *health, const struct conf_origin *origin, size_t server,
		    const struct addr *addrs, size_t n_addrs) MUST_CHECK;

/* Why the last check of that server failed; NULL where it did not, or there is none. */
const char *health_error(const struct health *health, const char *origin_identity,
			 const struct addr *addr);

#endif
