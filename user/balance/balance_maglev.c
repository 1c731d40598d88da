/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maglev's lookup table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
 * Balancer", NSDI 2016, section 3.4): each server has its own order of preference over all slots;
 * in turns, each takes the next of its slots that is free. A server of half the weight sits out
 * every other turn.
 */
#include "balance/balance.h"

#include <errno.h>
#include <stdlib.h>

#include "balance/balance_internal.h"

#define MAGLEV_FREE UINT16_MAX

struct maglev_server {
	uint64_t identity;
	size_t index; /* of the candidate */
	uint64_t slot; /* the next that it would like */
	uint64_t skip;
	uint64_t weight;
	uint64_t credit; /* below the largest weight between turns */
};

/* Turns go by identity, so that the order of candidates does not matter. */
static int maglev_compare(const void *left, const void *right)
{
	const struct maglev_server *a = left, *b = right;

	if (a->identity != b->identity)
		return a->identity < b->identity ? -1 : 1;
	return (a->index > b->index) - (a->index < b->index);
}

static size_t maglev_collect(const struct balance_candidate *candidates, size_t n, size_t size,
			     struct maglev_server *servers)
{
	bool backups = balance_needs_backups(candidates, n);
	size_t n_servers = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t identity = candidates[i].identity;

		if (!balance_is_in_tier(&candidates[i], backups))
			continue;
		servers[n_servers++] = (struct maglev_server){
		    .identity = identity,
		    .index = i,
		    .slot = balance_mix(identity) % size,
		    .skip = balance_mix(~identity) % (size - 1) + 1,
		    .weight = candidates[i].weight,
		};
	}
	qsort(servers, n_servers, sizeof(*servers), maglev_compare);
	return n_servers;
}

/* A free slot exists; `size` being prime, the skips lead over all of them. */
static void maglev_take_slot(struct maglev_server *server, uint16_t *table, size_t size)
{
	while (table[server->slot] != MAGLEV_FREE)
		server->slot = (server->slot + server->skip) % size;
	table[server->slot] = (uint16_t)server->index;
}

static void maglev_fill(struct maglev_server *servers, size_t n_servers, uint16_t *table,
			size_t size)
{
	uint64_t max_weight = 0;
	size_t n_filled = 0;

	for (size_t i = 0; i < size; i++)
		table[i] = MAGLEV_FREE;
	for (size_t i = 0; i < n_servers; i++)
		max_weight = MAX(max_weight, servers[i].weight);
	for (size_t i = 0; n_filled < size; i = (i + 1) % n_servers) {
		servers[i].credit += servers[i].weight;
		if (servers[i].credit < max_weight)
			continue;
		servers[i].credit -= max_weight;
		maglev_take_slot(&servers[i], table, size);
		n_filled++;
	}
}

int balance_maglev(const struct balance_candidate *candidates, size_t n, uint16_t *table,
		   size_t size)
{
	struct maglev_server *servers;
	size_t n_servers;

	if (n == 0)
		return -ENOENT;
	if (n > MAGLEV_FREE || size < 2)
		return -EINVAL;
	servers = calloc(n, sizeof(*servers));
	if (!servers)
		return -ENOMEM;
	n_servers = maglev_collect(candidates, n, size, servers);
	if (n_servers)
		maglev_fill(servers, n_servers, table, size);
	free(servers);
	return n_servers ? 0 : -ENOENT;
}

size_t balance_maglev_size(size_t n)
{
	return n <= 160 ? 16381 : 65537;
}

size_t balance_choose_maglev(const uint16_t *table, size_t size,
			     struct balance_candidate *candidates, size_t n, uint64_t hash)
{
	size_t index = table[hash % size];

	if (index < n && candidates[index].is_usable)
		return index;
	return balance_choose(CONF_BALANCE_SOURCE_HASH, candidates, n, hash, 0);
}
