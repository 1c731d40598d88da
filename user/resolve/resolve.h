/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses by c-ares on an event loop: asks again when the TTL is over, keeps the
 * last good answer when nobody answers. Never blocks.
 */
#ifndef PENSTOCK_RESOLVE_RESOLVE_H
#define PENSTOCK_RESOLVE_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/loop.h"

struct resolver;
struct resolve_name;

/* `servers`: "192.0.2.53:53,…" or NULL for what resolv.conf said when the process could still read
 * it. NULL and errno. */
struct resolver *resolver_new(struct loop *loop, const char *servers) MUST_CHECK;
void resolver_free(struct resolver *resolver);

/* `on_change` is called when the set of addresses differs (port 0, sorted); first from the loop,
 * never at once. */
struct resolve_name *resolve_start(struct resolver *resolver, const char *host,
				   void (*on_change)(void *argument, const struct addr *addrs,
						     size_t n_addrs),
				   void *argument) MUST_CHECK;
void resolve_stop(struct resolve_name *name);

/* For status: the last failure in words, NULL where the last answer was good. */
const char *resolve_error(const struct resolve_name *name);

#endif
