/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the loader may set before the programs are loaded; constants afterwards, so the verifier
 * removes dead branches. */
#ifndef PENSTOCK_CONFIG_BPF_H
#define PENSTOCK_CONFIG_BPF_H

#include <linux/types.h>

/* Seeds the choice of a server. Equal on nodes that share clients, so that each sends a flow to the
 * same server. */
const volatile __u32 hash_seed = 0;

/* Ports that are tried for a new flow. Where 9 of 10 ports are taken, 64 tries fail once in 850. */
#define NAT_PORT_TRIES 64

/* How often a busy flow looks whether its other direction is still there: every so many packets, a
 * power of two. */
#define PAIR_CHECK_PACKETS 64

/* And a flow that was silent for this long looks at once. */
#define PAIR_CHECK_NS 1000000000ull

#endif
