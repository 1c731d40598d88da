/* SPDX-License-Identifier: Apache-2.0 */
/* Which origins a thread knows, and how it sees those of one snapshot. */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "origin/origin_internal.h"

struct origin_table *origin_table_new(struct loop *loop)
{
	struct origin_table *table = calloc(1, sizeof(*table));
	uint64_t now_us = clock_now_us();

	if (!table)
		return NULL;
	table->loop = loop;
	table->random = balance_hash(&now_us, sizeof(now_us), 0);
	list_init(&table->states);
	list_init(&table->waiting);
	return table;
}

void origin_table_free(struct origin_table *table)
{
	if (!table)
		return;
	list_for_each_safe (node, &table->states)
		origin_pool_clear(container_of(node, struct origin_state, node));
	free(table);
}

uint64_t origin_random(struct origin_table *table)
{
	return table->random += 0x9e3779b97f4a7c15ULL; /* the balancer mixes it */
}

static bool origin_is_bounded(const struct conf_origin *conf)
{
	for (size_t i = 0; i < conf->n_servers; i++)
		if (conf->servers[i].max_connections)
			return true;
	return conf->max_connections != 0;
}

struct origin_view *origin_view_new(struct origin_table *table, const struct conf *conf,
				    struct tls_client_ctx *const *contexts)
{
	struct origin_view *view =
	    calloc(1, sizeof(*view) + conf->n_origins * sizeof(view->origins[0]));

	if (!view)
		return NULL;
	for (size_t i = 0; i < conf->n_origins; i++) {
		struct origin *origin = &view->origins[i];

		origin->state = origin_state_get(table, conf->origins[i]);
		if (!origin->state) {
			origin_view_free(view);
			return NULL;
		}
		origin->conf = conf->origins[i];
		origin->tls = contexts[i];
		origin->is_bounded = origin_is_bounded(origin->conf);
		view->n_origins++;
	}
	return view;
}

void origin_view_free(struct origin_view *view)
{
	if (!view)
		return;
	for (size_t i = 0; i < view->n_origins; i++) {
		struct origin_state *state = view->origins[i].state;

		/* Nobody but the pool itself: the origin is gone from the configuration. */
		if (state->refs == 1 + state->n_idle)
			origin_pool_clear(state);
		origin_state_unref(state);
	}
	free(view);
}

struct origin *origin_view_get(struct origin_view *view, const struct conf_origin *conf)
{
	return &view->origins[conf->index];
}
