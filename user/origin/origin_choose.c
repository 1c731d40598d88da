/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which server of an origin: who is healthy, who has a free place, then the algorithm. Backups
 * stand in for servers that are not healthy or failed this very request, not for full ones: those
 * are waited for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin/origin_internal.h"

static const struct conf_server *origin_conf_server(const struct origin *origin, size_t i)
{
	return &origin->conf->servers[origin->state->servers[i]->index];
}

static enum server_state origin_server_state(const struct origin *origin, size_t i)
{
	return server_state(origin->state->servers[i]->shared,
			    loop_now_ms(origin->state->table->loop));
}

static bool origin_is_panic(const struct origin *origin)
{
	struct server_census census = {0};

	for (size_t i = 0; i < origin->state->n_servers; i++)
		server_census_add(&census, origin_server_state(origin, i),
				  origin_conf_server(origin, i)->is_backup);
	return server_census_is_panic(&census, origin->conf->health.panic_percent);
}

/* Maglev's table follows health only: a weight that grows by the second would remake it as
 * often. */
static uint32_t origin_weight(const struct origin *origin, size_t i)
{
	uint32_t weight = MIN(MAX(origin_conf_server(origin, i)->weight, 1u), 1000000u);
	uint32_t share = 1000;

	if (origin->conf->balance != CONF_BALANCE_MAGLEV)
		share = server_share(origin->state->servers[i]->shared, origin->conf->slow_start_ms,
				     loop_now_ms(origin->state->table->loop));
	return weight * share;
}

static void origin_mark_healthy(struct origin *origin)
{
	bool is_panic = origin_is_panic(origin);

	for (size_t i = 0; i < origin->state->n_servers; i++) {
		struct balance_candidate *candidate = &origin->state->candidates[i];
		enum server_state state = origin_server_state(origin, i);

		candidate->is_usable = state == SERVER_UP || (is_panic && state != SERVER_DRAINED);
		candidate->is_backup = origin_conf_server(origin, i)->is_backup;
		candidate->weight = origin_weight(origin, i);
		candidate->load = server_load(origin->state->servers[i]->shared);
	}
}

/* Never 0. */
static uint64_t origin_maglev_signature(const struct origin_state *state)
{
	uint64_t signature = 1;

	for (size_t i = 0; i < state->n_servers; i++) {
		const struct balance_candidate *candidate = &state->candidates[i];
		uint64_t facts[3] = {signature, candidate->identity,
				     candidate->is_usable ? candidate->weight : 0};

		signature = balance_hash(facts, sizeof(facts), BALANCE_FIXED_SEED);
	}
	return signature | 1;
}

/* Where there is no memory or nobody healthy there is no table. */
static void origin_refresh_maglev(struct origin_state *state)
{
	uint64_t signature = origin_maglev_signature(state);
	size_t size = balance_maglev_size(state->n_servers);

	if (signature == state->maglev_signature)
		return;
	if (size != state->maglev_size) {
		free(state->maglev);
		state->maglev = malloc(size * sizeof(*state->maglev));
		state->maglev_size = size;
	}
	state->maglev_signature = 0;
	if (state->maglev &&
	    balance_maglev(state->candidates, state->n_servers, state->maglev, size) == 0)
		state->maglev_signature = signature;
	if (!state->maglev)
		state->maglev_size = 0;
}

static bool origin_was_tried(const struct origin_wish *wish, const struct origin_server *server)
{
	for (size_t i = 0; i < wish->n_tried; i++)
		if (wish->tried[i] == server)
			return true;
	return false;
}

static bool origin_is_full(const struct origin *origin, size_t i)
{
	uint32_t max_connections = origin_conf_server(origin, i)->max_connections;

	return max_connections && origin->state->candidates[i].load >= max_connections;
}

/* Leaves those that could be connected to now. Returns how many more there are, but full. */
static size_t origin_narrow(struct origin *origin, const struct origin_wish *wish)
{
	struct balance_candidate *candidates = origin->state->candidates;
	size_t n_full = 0;
	bool backups = true;

	for (size_t i = 0; i < origin->state->n_servers; i++) {
		if (origin_was_tried(wish, origin->state->servers[i]))
			candidates[i].is_usable = false;
		if (candidates[i].is_usable && !candidates[i].is_backup)
			backups = false;
	}
	for (size_t i = 0; i < origin->state->n_servers; i++) {
		if (!candidates[i].is_usable || candidates[i].is_backup != backups) {
			candidates[i].is_usable = false;
		} else if (origin_is_full(origin, i)) {
			candidates[i].is_usable = false;
			n_full++;
		}
	}
	return n_full;
}

static size_t origin_pick(struct origin *origin, const struct origin_wish *wish)
{
	struct origin_state *state = origin->state;

	if (origin->conf->balance == CONF_BALANCE_MAGLEV && state->maglev_signature)
		return balance_choose_maglev(state->maglev, state->maglev_size, state->candidates,
					     state->n_servers, wish->hash);
	return balance_choose(origin->conf->balance, state->candidates, state->n_servers,
			      wish->hash, origin_random(state->table));
}

static bool origin_take_group_place(struct origin *origin)
{
	return !origin->is_bounded ||
	       server_group_take_place(origin->state->group, origin->conf->max_connections);
}

static bool origin_group_is_full(const struct origin *origin)
{
	uint32_t max_connections = origin->conf->max_connections;

	return max_connections && server_group_load(origin->state->group) >= max_connections;
}

/* Another thread may take the last place between the look and the grab: then as if it had been full
 * before. */
enum origin_choice origin_choose(struct origin *origin, const struct origin_wish *wish,
				 struct origin_server **ret_server)
{
	struct origin_state *state = origin->state;
	size_t n_full, i;

	origin_mark_healthy(origin);
	if (origin->conf->balance == CONF_BALANCE_MAGLEV)
		origin_refresh_maglev(state);
	n_full = origin_narrow(origin, wish);
	while ((i = origin_group_is_full(origin) ? BALANCE_NONE : origin_pick(origin, wish)) !=
	       BALANCE_NONE) {
		struct origin_server *server = state->servers[i];

		if (server_take_place(server->shared,
				      origin_conf_server(origin, i)->max_connections)) {
			if (origin_take_group_place(origin)) {
				*ret_server = server;
				return ORIGIN_CHOSEN;
			}
			server_give_place(server->shared);
			return ORIGIN_FULL;
		}
		state->candidates[i].is_usable = false;
		n_full++;
	}
	for (i = 0; i < state->n_servers; i++)
		n_full += state->candidates[i].is_usable;
	return n_full ? ORIGIN_FULL : ORIGIN_NONE;
}

void origin_give_place(struct origin_state *state, struct origin_server *server, bool of_group)
{
	server_give_place(server->shared);
	if (!of_group)
		return;
	server_group_give_place(state->group);
	server_group_tell(state->group);
}

static bool origin_can_spare_one(const struct origin *origin)
{
	size_t n_ejected = 1;

	for (size_t i = 0; i < origin->state->n_servers; i++)
		n_ejected += origin_server_state(origin, i) == SERVER_EJECTED;
	return n_ejected * 100 <= origin->conf->health.eject_max_percent * origin->state->n_servers;
}

void origin_note_failure(struct origin *origin, struct origin_server *server, const char *why)
{
	const struct conf_health *health = &origin->conf->health;
	uint64_t now_ms = loop_now_ms(origin->state->table->loop);

	server_note_reason(server->shared, why);
	if (server_note_failure(server->shared, health->eject_failures) && server->is_listed &&
	    server_state(server->shared, now_ms) == SERVER_UP && origin_can_spare_one(origin))
		server_eject(server->shared, now_ms + health->eject_ms);
}

void origin_describe(struct origin *origin, char *text, size_t size_bytes)
{
	size_t counts[SERVER_STATE_MAX] = {0}, n = 0;

	for (size_t i = 0; i < origin->state->n_servers; i++)
		counts[origin_server_state(origin, i)]++;
	if (origin->state->n_servers == 0)
		snprintf(text, size_bytes, "no address of its servers is known");
	for (int i = 0; i < SERVER_STATE_MAX; i++)
		if (counts[i] && n < size_bytes)
			n += (size_t)snprintf(text + n, size_bytes - n, "%s%zu %s", n ? ", " : "",
					      counts[i], server_state_word((enum server_state)i));
}
