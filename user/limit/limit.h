/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections a source may have open and open anew. One bounded table for all threads, by
 * source address (IPv6 by its /64), locked in stripes; it is touched only by listeners that have
 * such bounds. Pure but for its memory: the caller says what time it is.
 */
#ifndef PENSTOCK_LIMIT_LIMIT_H
#define PENSTOCK_LIMIT_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"

struct limit_table;

/* About `max_sources` (at least 64) are remembered at once. NULL: no memory. */
struct limit_table *limit_table_new(size_t max_sources) MUST_CHECK;

/* Takes NULL. */
void limit_table_free(struct limit_table *table);

/* 0: no bound. */
struct limit_bounds {
	uint32_t connections;
	uint32_t rate_per_s; /* a burst of one second's worth is let through */
};

enum limit_verdict {
	LIMIT_OK,
	LIMIT_TOO_MANY, /* connections at once */
	LIMIT_TOO_FAST, /* new connections */
};

/* Keeps apart what is bounded on its own, such as listeners: a hash of its name. */
uint64_t limit_scope(const char *name);

/*
 * `source` NULL: the scope as a whole.
 * LIMIT_OK takes a place, which limit_give() gives back. Where too many other sources have places
 * for this one to be remembered it is let in uncounted (`ret_is_counted` false: nothing to give
 * back).
 */
enum limit_verdict limit_take(struct limit_table *table, uint64_t scope, const struct addr *source,
			      const struct limit_bounds *bounds, uint64_t now_ms,
			      bool *ret_is_counted) MUST_CHECK;

void limit_give(struct limit_table *table, uint64_t scope, const struct addr *source);

/* A rate alone, without sources: the generic cell rate algorithm (ITU-T I.371). Any thread. */
struct limit_rate {
	_Atomic uint64_t next_us; /* the time at which the bucket is empty */
};

/* May one more come at `now_us`? `rate_per_s` 0: always. */
bool limit_rate_take(struct limit_rate *rate, uint32_t rate_per_s, uint64_t now_us) MUST_CHECK;

#endif
