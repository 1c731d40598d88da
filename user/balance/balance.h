/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several servers. Pure: the candidates with what is known of them come in, an index comes
 * out. Round robin keeps its state in the caller's memory.
 */
#ifndef PENSTOCK_BALANCE_BALANCE_H
#define PENSTOCK_BALANCE_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "conf/conf.h"

struct balance_candidate {
	bool is_usable; /* up, with a free place, not tried yet */
	bool is_backup; /* used only where no other is usable */
	uint32_t weight; /* with slow start applied, scaled by 1000 */
	uint32_t load; /* connections now */
	uint64_t identity; /* stable hash of the address, for hashing */
	int64_t current; /* smooth weighted round robin: the caller keeps it */
};

#define BALANCE_NONE SIZE_MAX

/* `hash` is of the source address (balance_hash()), `random` any bits. BALANCE_NONE: none is
 * usable. */
size_t balance_choose(enum conf_balance algorithm, struct balance_candidate *candidates, size_t n,
		      uint64_t hash, uint64_t random);

/* Of bytes, with the process's seed where `seed` is 0; for Maglev the seed is fixed so that nodes
 * agree. */
uint64_t balance_hash(const void *data, size_t len_bytes, uint64_t seed);

/*
 * A Maglev table (Eisenbud et al., NSDI 2016): `table` gets `size` (a prime) indexes of candidates,
 * weights respected. Equal candidates in any order give tables that agree. 0 or -ENOMEM; -ENOENT
 * where none is usable.
 */
int balance_maglev(const struct balance_candidate *candidates, size_t n, uint16_t *table,
		   size_t size) MUST_CHECK;

#endif
