/* SPDX-License-Identifier: Apache-2.0 */
/* The algorithms that need no table. */
#include "balance/balance.h"

#include <math.h>

#include "balance/balance_internal.h"

/* Draws from the caller's bits. */
struct balance_dice {
	uint64_t state;
};

static uint64_t dice_below(struct balance_dice *dice, uint64_t bound)
{
	dice->state += 0x9e3779b97f4a7c15ULL;
	return (uint64_t)(((unsigned __int128)balance_mix(dice->state) * bound) >> 64);
}

bool balance_needs_backups(const struct balance_candidate *candidates, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (balance_is_in_tier(&candidates[i], false))
			return false;
	return true;
}

/* As nginx does it: everybody earns its weight, the richest serves and pays for all. */
static size_t balance_round_robin(struct balance_candidate *candidates, size_t n, bool backups)
{
	size_t best = BALANCE_NONE;
	int64_t total = 0;

	for (size_t i = 0; i < n; i++) {
		struct balance_candidate *candidate = &candidates[i];

		if (!balance_is_in_tier(candidate, backups))
			continue;
		candidate->current += candidate->weight;
		total += candidate->weight;
		if (best == BALANCE_NONE || candidate->current > candidates[best].current)
			best = i;
	}
	if (best != BALANCE_NONE)
		candidates[best].current -= total;
	return best;
}

/* Load per weight, without a division: negative where `a` has less. */
static int balance_compare_load(const struct balance_candidate *a,
				const struct balance_candidate *b)
{
	uint64_t left = (uint64_t)a->load * b->weight, right = (uint64_t)b->load * a->weight;

	return (left > right) - (left < right);
}

/* Among equals each wins with its weight's share (reservoir sampling). */
static size_t balance_least_loaded(const struct balance_candidate *candidates, size_t n,
				   bool backups, struct balance_dice *dice)
{
	size_t best = BALANCE_NONE;
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++) {
		const struct balance_candidate *candidate = &candidates[i];
		int order;

		if (!balance_is_in_tier(candidate, backups))
			continue;
		order =
		    best == BALANCE_NONE ? -1 : balance_compare_load(candidate, &candidates[best]);
		if (order > 0)
			continue;
		total = order < 0 ? candidate->weight : total + candidate->weight;
		if (order < 0 || dice_below(dice, total) < candidate->weight)
			best = i;
	}
	return best;
}

/* By weight, never `except`. */
static size_t balance_draw(const struct balance_candidate *candidates, size_t n, bool backups,
			   size_t except, struct balance_dice *dice)
{
	size_t drawn = BALANCE_NONE;
	uint64_t total = 0;

	for (size_t i = 0; i < n; i++) {
		if (i == except || !balance_is_in_tier(&candidates[i], backups))
			continue;
		total += candidates[i].weight;
		if (dice_below(dice, total) < candidates[i].weight)
			drawn = i;
	}
	return drawn;
}

/* Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001. */
static size_t balance_two_choices(const struct balance_candidate *candidates, size_t n,
				  bool backups, struct balance_dice *dice)
{
	size_t first = balance_draw(candidates, n, backups, BALANCE_NONE, dice);
	size_t second = balance_draw(candidates, n, backups, first, dice);

	if (second == BALANCE_NONE)
		return first;
	return balance_compare_load(&candidates[second], &candidates[first]) < 0 ? second : first;
}

/*
 * Weighted rendezvous (Schindelhauer and Schomaker, SPAA 2005): for each server a number that looks
 * exponentially distributed with its weight as rate; the least wins. It depends on nobody else, so
 * whoever goes or comes changes no order among the others.
 */
static size_t balance_rendezvous(const struct balance_candidate *candidates, size_t n, bool backups,
				 uint64_t hash)
{
	size_t best = BALANCE_NONE;
	double best_score = 0;

	for (size_t i = 0; i < n; i++) {
		double unit, score;

		if (!balance_is_in_tier(&candidates[i], backups))
			continue;
		unit = ((double)(balance_mix(hash ^ candidates[i].identity) >> 11) + 1) * 0x1p-53;
		score = -log(unit) / candidates[i].weight;
		if (best == BALANCE_NONE || score < best_score) {
			best = i;
			best_score = score;
		}
	}
	return best;
}

size_t balance_choose(enum conf_balance algorithm, struct balance_candidate *candidates, size_t n,
		      uint64_t hash, uint64_t random)
{
	struct balance_dice dice = {random};
	bool backups = balance_needs_backups(candidates, n);

	switch (algorithm) {
	case CONF_BALANCE_LEAST_CONNECTIONS:
		return balance_least_loaded(candidates, n, backups, &dice);
	case CONF_BALANCE_POWER_OF_TWO:
		return balance_two_choices(candidates, n, backups, &dice);
	case CONF_BALANCE_SOURCE_HASH:
	case CONF_BALANCE_MAGLEV:
		return balance_rendezvous(candidates, n, backups, hash);
	case CONF_BALANCE_ROUND_ROBIN:
	case CONF_BALANCE_MAX:
		break;
	}
	return balance_round_robin(candidates, n, backups);
}
