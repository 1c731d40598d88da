/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several servers. Pure: the candidates with what is known of them come in, an index comes
 * out. Round robin keeps its state in the caller's memory, Maglev its table.
 */
#ifndef PENSTOCK_BALANCE_BALANCE_H
#define PENSTOCK_BALANCE_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "conf/conf.h"

struct balance_candidate {
	bool is_usable; /* up, with a free place, not tried yet */
	bool is_backup; /* used only where no other is usable */
	uint32_t weight; /* with slow start applied, scaled by 1000; 0: as if not usable */
	uint32_t load; /* connections now */
	uint64_t identity; /* balance_hash_server(), for hashing */
	int64_t current; /* smooth weighted round robin: the caller keeps it, 0 at first */
};

#define BALANCE_NONE SIZE_MAX

/*
 * `hash` is balance_hash_source() of the client, `random` any bits. BALANCE_NONE: none is usable.
 *
 * round_robin: smooth, exact over each period of the weights. least_connections: the lowest load
 * per weight; equal ones share by weight. power_of_two: the less loaded of two drawn by weight.
 * source_hash, and maglev without its table: weighted rendezvous, so a server that goes moves only
 * what it had, and one that comes takes only its share.
 */
size_t balance_choose(enum conf_balance algorithm, struct balance_candidate *candidates, size_t n,
		      uint64_t hash, uint64_t random);

/*
 * SipHash-2-4 of bytes, with the process's random key where `seed` is 0: for tables whose keys
 * others choose. What must be the same after a restart or on another node takes
 * BALANCE_FIXED_SEED.
 */
uint64_t balance_hash(const void *data, size_t len_bytes, uint64_t seed);

#define BALANCE_FIXED_SEED 0x70656e73746f636bULL

/*
 * What one source is: an IPv4 address, also mapped into IPv6; a /64 of IPv6, since one customer has
 * at least that; all of UNIX. The same in every process and on every node, so clients stay where
 * they are over a restart. (A client that knows it can choose its server only with many
 * addresses.)
 */
uint64_t balance_hash_source(const struct addr *addr);

/* Of address and port; as stable. */
uint64_t balance_hash_server(const struct addr *addr);

/*
 * A Maglev table (Eisenbud et al., NSDI 2016): `table` gets `size` (a prime) indexes of candidates,
 * weights respected. Equal candidates in any order give tables that agree. 0 or -ENOMEM; -ENOENT
 * where none is usable; -EINVAL: more candidates than an index can name, or no such size.
 */
int balance_maglev(const struct balance_candidate *candidates, size_t n, uint16_t *table,
		   size_t size) MUST_CHECK;

/* Large enough for `n` servers to differ by a hundredth or so; steps are few because another size
 * moves every client. */
size_t balance_maglev_size(size_t n);

/* The table's server for this hash; where it is not usable now (full, tried) as source_hash. */
size_t balance_choose_maglev(const uint16_t *table, size_t size,
			     struct balance_candidate *candidates, size_t n, uint64_t hash);

#endif
