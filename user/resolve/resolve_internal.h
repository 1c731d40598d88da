/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside resolve/. */
#ifndef PENSTOCK_RESOLVE_INTERNAL_H
#define PENSTOCK_RESOLVE_INTERNAL_H

#include <ares.h>

#include "resolve/resolve.h"

#define RESOLVER_MAX_SOCKETS 32

struct resolver_socket {
	struct watch watch; /* fd -1: free */
	struct resolver *resolver;
};

struct resolver {
	struct loop *loop;
	ares_channel channel;
	struct timer timer; /* of c-ares' own timeouts */
	struct resolver_socket sockets[RESOLVER_MAX_SOCKETS];
};

/* After each call into c-ares: when it wants to be called again. */
void resolver_rearm(struct resolver *resolver);

#endif
