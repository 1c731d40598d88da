/* SPDX-License-Identifier: Apache-2.0 */
/* What of an origin outlives a reload: its servers, which may change while it runs where they are
 * host names. */
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "origin/origin_internal.h"

void origin_server_ref(struct origin_server *server)
{
	server->refs++;
}

void origin_server_unref(struct origin_server *server)
{
	if (--server->refs)
		return;
	tls_sessions_free(server->sessions);
	server_unref(server->shared);
	free(server);
}

static struct origin_server *origin_server_new(const char *identity, size_t index,
					       const struct addr *addr)
{
	struct origin_server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->shared = server_get(identity, addr);
	if (!server->shared) {
		free(server);
		return NULL;
	}
	server->refs = 1;
	server->is_listed = true;
	server->index = index;
	server->addr = *addr;
	addr_format(addr, server->text);
	list_init(&server->idle);
	return server;
}

static void origin_server_unlist(struct origin_server *server)
{
	server->is_listed = false;
	origin_pool_clear_server(server);
	origin_server_unref(server);
}

static void origin_state_free(struct origin_state *state)
{
	list_del(&state->node);
	for (size_t i = 0; i < state->n_servers; i++)
		origin_server_unlist(state->servers[i]);
	server_group_unref(state->group);
	free(state->servers);
	free(state->candidates);
	free(state->ports);
	free(state->maglev);
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

/* A list of servers that is being made; what it shares with the state's is the state's. */
struct origin_list {
	struct origin_server **servers;
	struct balance_candidate *candidates;
	size_t n_servers;
};

static int origin_list_init(struct origin_list *list, size_t max_servers)
{
	*list = (struct origin_list){
	    .servers = calloc(max_servers + 1, sizeof(*list->servers)),
	    .candidates = calloc(max_servers + 1, sizeof(*list->candidates)),
	};
	return list->servers && list->candidates ? 0 : -ENOMEM;
}

static void origin_list_add(struct origin_list *list, struct origin_server *server, int64_t current)
{
	list->candidates[list->n_servers] = (struct balance_candidate){
	    .identity = balance_hash_server(&server->addr),
	    .current = current,
	};
	list->servers[list->n_servers++] = server;
}

static size_t origin_find(const struct origin_state *state, size_t index, const struct addr *addr)
{
	for (size_t i = 0; i < state->n_servers; i++)
		if (state->servers[i]->index == index &&
		    addr_is_equal(&state->servers[i]->addr, addr))
			return i;
	return SIZE_MAX;
}

static bool origin_list_has(const struct origin_list *list, const struct origin_server *server)
{
	for (size_t i = 0; i < list->n_servers; i++)
		if (list->servers[i] == server)
			return true;
	return false;
}

static struct addr origin_addr_at(const struct addr *addr, uint16_t port)
{
	struct addr at = *addr;

	if (at.sa.sa_family == AF_INET)
		at.in.sin_port = htons(port);
	else if (at.sa.sa_family == AF_INET6)
		at.in6.sin6_port = htons(port);
	return at;
}

static bool origin_is_repeated(const struct addr *addrs, size_t n, uint16_t port)
{
	struct addr last = origin_addr_at(&addrs[n], port);

	for (size_t i = 0; i < n; i++) {
		struct addr addr = origin_addr_at(&addrs[i], port);

		if (addr_is_equal(&addr, &last))
			return true;
	}
	return false;
}

static int origin_list_add_addrs(struct origin_list *list, const struct origin_state *state,
				 size_t index, const struct addr *addrs, size_t n_addrs)
{
	for (size_t i = 0; i < n_addrs; i++) {
		struct addr addr = origin_addr_at(&addrs[i], state->ports[index]);
		size_t known = origin_find(state, index, &addr);
		struct origin_server *server;

		if (origin_is_repeated(addrs, i, state->ports[index]))
			continue;
		if (known != SIZE_MAX) {
			origin_list_add(list, state->servers[known],
					state->candidates[known].current);
			continue;
		}
		server = origin_server_new(state->identity, index, &addr);
		if (!server)
			return -ENOMEM;
		origin_list_add(list, server, 0);
	}
	return 0;
}

/* The servers of other places of the configuration stay as they are. */
static void origin_list_keep(struct origin_list *list, const struct origin_state *state,
			     size_t first, size_t end)
{
	for (size_t i = 0; i < state->n_servers; i++)
		if (state->servers[i]->index >= first && state->servers[i]->index < end)
			origin_list_add(list, state->servers[i], state->candidates[i].current);
}

static void origin_list_drop(struct origin_list *list, const struct origin_state *state)
{
	for (size_t i = 0; i < list->n_servers; i++)
		if (origin_find(state, list->servers[i]->index, &list->servers[i]->addr) ==
		    SIZE_MAX)
			origin_server_unref(list->servers[i]);
	free(list->servers);
	free(list->candidates);
}

static void origin_state_take_list(struct origin_state *state, struct origin_list *list)
{
	struct origin_list old = {state->servers, state->candidates, state->n_servers};

	state->servers = list->servers;
	state->candidates = list->candidates;
	state->n_servers = list->n_servers;
	state->maglev_signature = 0;
	for (size_t i = 0; i < old.n_servers; i++)
		if (!origin_list_has(list, old.servers[i]))
			origin_server_unlist(old.servers[i]);
	free(old.servers);
	free(old.candidates);
}

static int origin_state_update(struct origin_state *state, size_t index, const struct addr *addrs,
			       size_t n_addrs)
{
	struct origin_list list;
	int err = origin_list_init(&list, state->n_servers + n_addrs);

	if (!err) {
		origin_list_keep(&list, state, 0, index);
		err = origin_list_add_addrs(&list, state, index, addrs, n_addrs);
	}
	if (err) {
		origin_list_drop(&list, state);
		return err;
	}
	origin_list_keep(&list, state, index + 1, SIZE_MAX);
	origin_state_take_list(state, &list);
	return 0;
}

static struct origin_state *origin_state_find(struct origin_table *table, const char *identity)
{
	list_for_each (node, &table->states) {
		struct origin_state *state = container_of(node, struct origin_state, node);

		if (strcmp(state->identity, identity) == 0)
			return state;
	}
	return NULL;
}

int origin_table_update(struct origin_table *table, const char *identity, size_t index,
			const struct addr *addrs, size_t n_addrs)
{
	struct origin_state *state = origin_state_find(table, identity);
	int err;

	if (!state || index >= state->n_ports)
		return -ENOENT;
	origin_state_ref(state);
	err = origin_state_update(state, index, addrs, n_addrs);
	origin_state_unref(state);
	return err;
}

static int origin_state_fill(struct origin_state *state, const struct conf_origin *conf)
{
	state->identity = strdup(conf->identity);
	state->group = server_group_get(conf->identity);
	state->ports = calloc(conf->n_servers, sizeof(*state->ports));
	state->n_ports = conf->n_servers;
	if (!state->identity || !state->group || !state->ports)
		return -ENOMEM;
	for (size_t i = 0; i < conf->n_servers; i++) {
		const struct conf_server *server = &conf->servers[i];
		int err;

		state->ports[i] = addr_port(&server->addr);
		err = origin_state_update(state, i, &server->addr, server->is_name ? 0 : 1);
		if (err)
			return err;
	}
	return 0;
}

/* Threads begin at different servers, or the first would get the first connection of each. */
static void origin_state_spread(struct origin_state *state, const struct conf_origin *conf)
{
	struct origin_server *server;
	uint64_t n_steps = state->n_servers;

	if (n_steps)
		n_steps = balance_hash(&state->table->random, sizeof(uint64_t), 1) % n_steps;
	origin_random(state->table);
	for (uint64_t i = 0; i < n_steps; i++) {
		struct origin origin = {.state = state, .conf = conf};
		struct origin_wish wish = {0};

		if (origin_choose(&origin, &wish, &server) == ORIGIN_CHOSEN)
			server_give_place(server->shared);
	}
}

static struct origin_state *origin_state_new(struct origin_table *table,
					     const struct conf_origin *conf)
{
	struct origin_state *state = calloc(1, sizeof(*state));

	if (!state)
		return NULL;
	state->table = table;
	list_init(&state->node);
	origin_pool_init(state);
	origin_queue_init(state);
	if (origin_state_fill(state, conf)) {
		origin_state_free(state);
		return NULL;
	}
	list_add_tail(&state->node, &table->states);
	if (conf->balance == CONF_BALANCE_ROUND_ROBIN)
		origin_state_spread(state, conf);
	return state;
}

struct origin_state *origin_state_get(struct origin_table *table, const struct conf_origin *conf)
{
	struct origin_state *state = origin_state_find(table, conf->identity);

	if (!state)
		state = origin_state_new(table, conf);
	if (state)
		origin_state_ref(state);
	return state;
}
