/* SPDX-License-Identifier: Apache-2.0 */
#include "stats/stats.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Written by one thread, read by any: relaxed atomics cost that thread what plain variables do. */
struct stats_block {
	struct stats_block *next;
	_Atomic uint64_t stats[STAT_MAX];
	_Atomic uint64_t closes[CLOSE_REASON_MAX];
};

static struct stats_block stats_shared_block;
static _Atomic(struct stats_block *) stats_blocks = &stats_shared_block;
static _Atomic unsigned int stats_next_number;
static _Thread_local struct stats_block *stats_own_block;
static _Thread_local unsigned int stats_own_number = UINT_MAX;

int stats_thread_init(void)
{
	struct stats_block *block;

	if (stats_own_block)
		return 0;
	block = aligned_alloc(64, (sizeof(*block) + 63) & ~(size_t)63);
	if (!block)
		return -ENOMEM;
	for (int i = 0; i < STAT_MAX; i++)
		atomic_init(&block->stats[i], 0);
	for (int i = 0; i < CLOSE_REASON_MAX; i++)
		atomic_init(&block->closes[i], 0);
	block->next = atomic_load(&stats_blocks);
	while (!atomic_compare_exchange_weak(&stats_blocks, &block->next, block))
		;
	stats_own_block = block;
	stats_own_number = atomic_fetch_add(&stats_next_number, 1);
	return 0;
}

unsigned int stats_thread_number(void)
{
	return stats_own_number;
}

static void stats_bump(_Atomic uint64_t *own, _Atomic uint64_t *shared, int64_t amount)
{
	if (LIKELY(own != NULL))
		atomic_store_explicit(
		    own, atomic_load_explicit(own, memory_order_relaxed) + (uint64_t)amount,
		    memory_order_relaxed);
	else
		atomic_fetch_add_explicit(shared, (uint64_t)amount, memory_order_relaxed);
}

void stats_add(enum stats_counter stat, int64_t amount)
{
	struct stats_block *own = stats_own_block;

	stats_bump(own ? &own->stats[stat] : NULL, &stats_shared_block.stats[stat], amount);
}

void stats_count_close(enum close_reason reason)
{
	struct stats_block *own = stats_own_block;

	stats_bump(own ? &own->closes[reason] : NULL, &stats_shared_block.closes[reason], 1);
}

uint64_t stats_sum(enum stats_counter stat)
{
	uint64_t sum = 0;

	for (struct stats_block *block = atomic_load(&stats_blocks); block; block = block->next)
		sum += atomic_load_explicit(&block->stats[stat], memory_order_relaxed);
	return sum;
}

uint64_t stats_sum_close(enum close_reason reason)
{
	uint64_t sum = 0;

	for (struct stats_block *block = atomic_load(&stats_blocks); block; block = block->next)
		sum += atomic_load_explicit(&block->closes[reason], memory_order_relaxed);
	return sum;
}

const char *stats_word(enum stats_counter stat)
{
	static const char *const words[STAT_MAX] = {
#define STATS_WORD(name, word, kind, help) [STAT_##name] = #word,
	    STATS(STATS_WORD)
#undef STATS_WORD
	};

	return words[stat];
}

const char *stats_help(enum stats_counter stat)
{
	static const char *const helps[STAT_MAX] = {
#define STATS_HELP(name, word, kind, help) [STAT_##name] = (help),
	    STATS(STATS_HELP)
#undef STATS_HELP
	};

	return helps[stat];
}

const char *close_reason_word(enum close_reason reason)
{
	static const char *const words[CLOSE_REASON_MAX] = {
#define CLOSE_WORD(name, word, help) [CLOSE_##name] = #word,
		PENSTOCK_CLOSE_REASONS(CLOSE_WORD)
#undef CLOSE_WORD
	};

	return words[reason];
}

const char *close_reason_help(enum close_reason reason)
{
	static const char *const helps[CLOSE_REASON_MAX] = {
#define CLOSE_HELP(name, word, help) [CLOSE_##name] = (help),
		PENSTOCK_CLOSE_REASONS(CLOSE_HELP)
#undef CLOSE_HELP
	};

	return helps[reason];
}
