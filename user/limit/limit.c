/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of sets: an address may stand in one set only, of LIMIT_WAYS entries under one lock. A
 * set that is full of sources with open connections has no room for further ones; those without are
 * replaced, the longest unseen first.
 */
#include "limit/limit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define LIMIT_WAYS 16

/* IPv4 as ::ffff:a.b.c.d, of IPv6 the first 64 bits. */
struct limit_key {
	uint64_t scope;
	uint64_t high;
	uint64_t low; /* 0 for IPv6 */
};

/* Low halves that are no IPv4 address's. */
enum { LIMIT_LOW_WHOLE = 1, LIMIT_LOW_UNIX = 2 };

struct limit_entry {
	struct limit_key key;
	uint64_t seen_ms; /* 0: free */
	struct limit_rate rate;
	uint32_t connections;
};

/* Zeroed memory is a mutex that is ready (glibc), so that sets that nobody uses cost no memory. */
struct limit_set {
	pthread_mutex_t lock;
	struct limit_entry entries[LIMIT_WAYS];
};

struct limit_table {
	uint64_t seed; /* so that nobody outside can choose the set of an address */
	size_t n_sets;
	struct limit_set sets[];
};

struct limit_table *limit_table_new(size_t max_sources)
{
	size_t n_sets = (max_sources + LIMIT_WAYS - 1) / LIMIT_WAYS;
	struct limit_table *table = calloc(1, sizeof(*table) + n_sets * sizeof(table->sets[0]));

	if (!table)
		return NULL;
	if (getrandom(&table->seed, sizeof(table->seed), 0) != sizeof(table->seed))
		table->seed = (uint64_t)(uintptr_t)table;
	table->n_sets = n_sets;
	return table;
}

void limit_table_free(struct limit_table *table)
{
	free(table);
}

static struct limit_key limit_key_of(uint64_t scope, const struct addr *source)
{
	struct limit_key key = {.scope = scope, .low = LIMIT_LOW_WHOLE};
	uint8_t bytes[16] = {[10] = 0xff, [11] = 0xff};

	if (!source)
		return key;
	switch (source->sa.sa_family) {
	case AF_INET:
		memcpy(bytes + 12, &source->in.sin_addr, 4);
		break;
	case AF_INET6:
		memcpy(bytes, &source->in6.sin6_addr, 16);
		break;
	default:
		key.low = LIMIT_LOW_UNIX;
		return key;
	}
	key.low = 0;
	memcpy(&key.high, bytes, 8);
	if (source->sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&source->in6.sin6_addr))
		memcpy(&key.low, bytes + 8, 8);
	return key;
}

/* The finalizer of MurmurHash3 over both halves: enough where the seed is secret and a set has many
 * ways. */
static uint64_t limit_mix(uint64_t x)
{
	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ (x >> 33);
}

uint64_t limit_scope(const char *name)
{
	uint64_t hash = 1;

	for (; *name; name++)
		hash = limit_mix(hash ^ (unsigned char)*name);
	return hash;
}

static struct limit_set *limit_set_of(struct limit_table *table, const struct limit_key *key)
{
	uint64_t hash = limit_mix(limit_mix(key->high ^ table->seed) ^ key->low);

	return &table->sets[limit_mix(hash ^ key->scope) % table->n_sets];
}

static struct limit_entry *limit_find(struct limit_set *set, const struct limit_key *key)
{
	for (size_t i = 0; i < LIMIT_WAYS; i++) {
		struct limit_entry *entry = &set->entries[i];

		if (entry->seen_ms && entry->key.high == key->high && entry->key.low == key->low &&
		    entry->key.scope == key->scope)
			return entry;
	}
	return NULL;
}

/* A fresh entry in place of a free or the longest unseen one; NULL where all have open connections.
 */
static struct limit_entry *limit_replace(struct limit_set *set, const struct limit_key *key)
{
	struct limit_entry *oldest = NULL;

	for (size_t i = 0; i < LIMIT_WAYS; i++) {
		struct limit_entry *entry = &set->entries[i];

		if (entry->connections == 0 && (!oldest || entry->seen_ms < oldest->seen_ms))
			oldest = entry;
	}
	if (oldest)
		*oldest = (struct limit_entry){.key = *key};
	return oldest;
}

static enum limit_verdict limit_take_place(struct limit_entry *entry,
					   const struct limit_bounds *bounds, uint64_t now_ms)
{
	entry->seen_ms = now_ms + 1;
	if (bounds->connections && entry->connections >= bounds->connections)
		return LIMIT_TOO_MANY;
	if (!limit_rate_take(&entry->rate, bounds->rate_per_s, now_ms * 1000))
		return LIMIT_TOO_FAST;
	entry->connections++;
	return LIMIT_OK;
}

enum limit_verdict limit_take(struct limit_table *table, uint64_t scope, const struct addr *source,
			      const struct limit_bounds *bounds, uint64_t now_ms,
			      bool *ret_is_counted)
{
	struct limit_key key = limit_key_of(scope, source);
	struct limit_set *set = limit_set_of(table, &key);
	enum limit_verdict verdict = LIMIT_OK;
	struct limit_entry *entry;

	pthread_mutex_lock(&set->lock);
	entry = limit_find(set, &key);
	if (!entry)
		entry = limit_replace(set, &key);
	if (entry)
		verdict = limit_take_place(entry, bounds, now_ms);
	pthread_mutex_unlock(&set->lock);
	*ret_is_counted = entry && verdict == LIMIT_OK;
	return verdict;
}

void limit_give(struct limit_table *table, uint64_t scope, const struct addr *source)
{
	struct limit_key key = limit_key_of(scope, source);
	struct limit_set *set = limit_set_of(table, &key);
	struct limit_entry *entry;

	pthread_mutex_lock(&set->lock);
	entry = limit_find(set, &key);
	if (entry && entry->connections)
		entry->connections--;
	pthread_mutex_unlock(&set->lock);
}

bool limit_rate_take(struct limit_rate *rate, uint32_t rate_per_s, uint64_t now_us)
{
	uint64_t next_us = atomic_load_explicit(&rate->next_us, memory_order_relaxed);
	uint64_t step_us, after_us;

	if (rate_per_s == 0)
		return true;
	step_us = 1000000 / rate_per_s;
	do {
		after_us = (next_us > now_us ? next_us : now_us) + step_us;
		if (after_us > now_us + 1000000)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
	    &rate->next_us, &next_us, after_us, memory_order_relaxed, memory_order_relaxed));
	return true;
}
