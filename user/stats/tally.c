/* SPDX-License-Identifier: Apache-2.0 */
#include "stats/tally.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "penstock/limits.h"
#include "stats/stats.h"

struct tally_slot {
	_Alignas(64) _Atomic uint64_t counts[TALLY_COUNT_MAX];
};

struct tally {
	struct list node;
	unsigned int refs; /* under tally_lock */
	char *key;
	_Atomic(const char *) words[TALLY_WORD_MAX];
	struct tally_slot
	    slots[PENSTOCK_MAX_THREADS + 1]; /* the last is shared by threads without a number */
};

static pthread_mutex_t tally_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list tally_all = {&tally_all, &tally_all};

static struct tally *tally_find(const char *key)
{
	list_for_each (node, &tally_all) {
		struct tally *tally = container_of(node, struct tally, node);

		if (strcmp(tally->key, key) == 0)
			return tally;
	}
	return NULL;
}

static struct tally *tally_new(const char *key)
{
	struct tally *tally = aligned_alloc(64, sizeof(*tally));

	if (!tally)
		return NULL;
	memset(tally, 0, sizeof(*tally));
	tally->key = strdup(key);
	if (!tally->key) {
		free(tally);
		return NULL;
	}
	list_add_tail(&tally->node, &tally_all);
	return tally;
}

struct tally *tally_get(const char *key)
{
	struct tally *tally;

	pthread_mutex_lock(&tally_lock);
	tally = tally_find(key);
	if (!tally)
		tally = tally_new(key);
	if (tally)
		tally->refs++;
	pthread_mutex_unlock(&tally_lock);
	return tally;
}

void tally_unref(struct tally *tally)
{
	if (!tally)
		return;
	pthread_mutex_lock(&tally_lock);
	if (--tally->refs == 0) {
		list_del(&tally->node);
		free(tally->key);
		free(tally);
	}
	pthread_mutex_unlock(&tally_lock);
}

void tally_add(struct tally *tally, enum tally_count count, uint64_t amount)
{
	unsigned int thread = stats_thread_number();
	_Atomic uint64_t *value;

	if (UNLIKELY(thread >= PENSTOCK_MAX_THREADS)) {
		atomic_fetch_add_explicit(&tally->slots[PENSTOCK_MAX_THREADS].counts[count], amount,
					  memory_order_relaxed);
		return;
	}
	value = &tally->slots[thread].counts[count];
	atomic_store_explicit(value, atomic_load_explicit(value, memory_order_relaxed) + amount,
			      memory_order_relaxed);
}

/* Stored only when it changes, so that the line stays shared between the threads' caches. */
void tally_note(struct tally *tally, enum tally_word which, const char *word)
{
	if (atomic_load_explicit(&tally->words[which], memory_order_relaxed) != word)
		atomic_store_explicit(&tally->words[which], word, memory_order_relaxed);
}

uint64_t tally_sum(const struct tally *tally, enum tally_count count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i <= PENSTOCK_MAX_THREADS; i++)
		sum += atomic_load_explicit(&tally->slots[i].counts[count], memory_order_relaxed);
	return sum;
}

const char *tally_word(const struct tally *tally, enum tally_word which)
{
	return atomic_load_explicit(&tally->words[which], memory_order_relaxed);
}
