/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one route did: counts per thread without locks, and words that say how it was last carried.
 * A tally is found by a key and lives as long as anybody refers to it, so a reload loses nothing of
 * a route that stays.
 */
#ifndef PENSTOCK_STATS_TALLY_H
#define PENSTOCK_STATS_TALLY_H

#include <stdint.h>

#include "base/compiler.h"

enum tally_count {
	TALLY_CONNECTIONS,
	TALLY_REQUESTS,
	TALLY_FAILURES, /* connections or requests that ended otherwise than well */
	TALLY_FROM_CLIENT_BYTES,
	TALLY_TO_CLIENT_BYTES,
	TALLY_COUNT_MAX
};

/* How the last connection or request of the route was carried; constant strings only. */
enum tally_word {
	TALLY_RELAY,
	TALLY_RELAY_REASON, /* why not a faster one */
	TALLY_CLIENT_TLS,
	TALLY_CLIENT_TLS_REASON,
	TALLY_ORIGIN_TLS,
	TALLY_ORIGIN_TLS_REASON,
	TALLY_WORD_MAX
};

struct tally;

/* The tally of that key, new where there is none, with a reference for the caller. Any thread.
 * NULL: no memory. */
struct tally *tally_get(const char *key) MUST_CHECK;

/* Takes NULL. */
void tally_unref(struct tally *tally);

void tally_add(struct tally *tally, enum tally_count count, uint64_t amount);

/* `word` is a constant string or NULL. */
void tally_note(struct tally *tally, enum tally_word which, const char *word);

uint64_t tally_sum(const struct tally *tally, enum tally_count count);

/* NULL: never noted. */
const char *tally_word(const struct tally *tally, enum tally_word which);

#endif
