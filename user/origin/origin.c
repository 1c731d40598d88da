/* SPDX-License-Identifier: Apache-2.0 */
/* Which origins a thread knows, and what of them outlives a reload. */
#include "origin/origin_internal.h"

#include <stdlib.h>
#include <string.h>

struct origin_table *origin_table_new(struct loop *loop)
{
	struct origin_table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->loop = loop;
	list_init(&table->states);
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

static void origin_state_free(struct origin_state *state)
{
	list_del(&state->node);
	free(state->servers);
	free(state->identity);
	free(state);
}

void origin_state_ref(struct origin_state *state)
{
	state->refs++;
}

void origin_state_unref(struct origin_state *state)
{
	if (--state->refs == 0)
		origin_state_free(state);
}

static struct origin_state *origin_state_new(struct origin_table *table,
					     const struct conf_origin *conf)
{
	struct origin_state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	list_init(&state->node);
	state->table = table;
	state->identity = strdup(conf->identity);
	state->servers = calloc(conf->n_servers, sizeof(*state->servers));
	state->n_servers = conf->n_servers;
	origin_pool_init(state);
	if (!state->identity || !state->servers) {
		origin_state_free(state);
		return NULL;
	}
	for (size_t i = 0; i < conf->n_servers; i++) {
		struct origin_server *server = &state->servers[i];

		server->addr = conf->servers[i].addr;
		server->weight = conf->servers[i].weight ? conf->servers[i].weight : 1;
		addr_format(&server->addr, server->text);
	}
	list_add_tail(&state->node, &table->states);
	return state;
}

/* Takes a reference for the caller. */
static struct origin_state *origin_state_get(struct origin_table *table,
					     const struct conf_origin *conf)
{
	struct origin_state *state;

	list_for_each (node, &table->states) {
		state = container_of(node, struct origin_state, node);
		if (strcmp(state->identity, conf->identity) == 0) {
			origin_state_ref(state);
			return state;
		}
	}
	state = origin_state_new(table, conf);
	if (state)
		origin_state_ref(state);
	return state;
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

size_t origin_balance(struct origin_state *state, size_t except)
{
	int64_t total = 0;
	size_t best = SIZE_MAX;

	for (size_t i = 0; i < state->n_servers; i++) {
		struct origin_server *server = &state->servers[i];

		if (i == except && state->n_servers > 1)
			continue;
		server->current_weight += server->weight;
		total += server->weight;
		if (best == SIZE_MAX ||
		    server->current_weight > state->servers[best].current_weight)
			best = i;
	}
	state->servers[best].current_weight -= total;
	return best;
}
