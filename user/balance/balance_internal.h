/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside balance/. */
#ifndef PENSTOCK_BALANCE_INTERNAL_H
#define PENSTOCK_BALANCE_INTERNAL_H

#include "balance/balance.h"

/* The finalizer of SplitMix64 (Steele, Lea, Flood: OOPSLA 2014): a bijection that spreads every
 * bit. */
static inline uint64_t balance_mix(uint64_t x)
{
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

/* Of those in the tier that is in use: backups only where nothing else is usable. */
static inline bool balance_is_in_tier(const struct balance_candidate *candidate, bool backups)
{
	return candidate->is_usable && candidate->weight > 0 && candidate->is_backup == backups;
}

/* Is it backups that are to be used? */
bool balance_needs_backups(const struct balance_candidate *candidates, size_t n);

#endif
