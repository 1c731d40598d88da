/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/snapshot.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct snapshot_counted {
	struct snapshot snapshot; /* first: callers see only this */
	_Atomic unsigned int refs;
};

static const struct conf_mark snapshot_nowhere;

static int snapshot_build_contexts(struct snapshot *snapshot, const struct tls_files *files,
				   struct conf_diag *diag)
{
	struct conf *conf = snapshot->conf;
	size_t errors = conf_diag_errors(diag);

	for (size_t i = 0; i < conf->n_listeners; i++)
		if (conf->listeners[i].tls)
			snapshot->server_contexts[i] =
			    tls_server_ctx_new(conf->listeners[i].tls, files, diag);
	for (size_t i = 0; i < conf->n_origins; i++)
		if (conf->origins[i]->tls)
			snapshot->client_contexts[i] =
			    tls_client_ctx_new(conf->origins[i]->tls, files, diag);
	return conf_diag_errors(diag) > errors ? -1 : 0;
}

/* The key says all that makes a route that route: where it is, what it matches, where it leads. */
static struct tally *snapshot_tally_get(const struct conf_listener *listener,
					const struct conf_route *route)
{
	char match[CONF_MATCH_TEXT_MAX], *key;
	struct tally *tally;

	if (asprintf(&key, "%s %d %s %s", listener->name, (int)route->lane,
		     conf_route_format_match(route, match), route->origin->identity) < 0)
		return NULL;
	tally = tally_get(key);
	free(key);
	return tally;
}

static int snapshot_build_tallies(struct snapshot *snapshot)
{
	struct conf *conf = snapshot->conf;

	for (size_t i = 0; i < conf->n_listeners; i++) {
		const struct conf_listener *listener = &conf->listeners[i];

		snapshot->tallies[i] = calloc(listener->n_routes, sizeof(*snapshot->tallies[i]));
		if (!snapshot->tallies[i])
			return -1;
		for (size_t j = 0; j < listener->n_routes; j++) {
			snapshot->tallies[i][j] =
			    snapshot_tally_get(listener, &listener->routes[j]);
			if (!snapshot->tallies[i][j])
				return -1;
		}
	}
	return 0;
}

static void snapshot_free(struct snapshot *snapshot)
{
	struct conf *conf = snapshot->conf;

	for (size_t i = 0; i < conf->n_listeners; i++) {
		if (snapshot->server_contexts)
			tls_server_ctx_free(snapshot->server_contexts[i]);
		if (!snapshot->tallies || !snapshot->tallies[i])
			continue;
		for (size_t j = 0; j < conf->listeners[i].n_routes; j++)
			tally_unref(snapshot->tallies[i][j]);
		free(snapshot->tallies[i]);
	}
	for (size_t i = 0; snapshot->client_contexts && i < conf->n_origins; i++)
		tls_client_ctx_free(snapshot->client_contexts[i]);
	free(snapshot->server_contexts);
	free(snapshot->client_contexts);
	free(snapshot->tallies);
	conf_unref(conf);
	free(snapshot);
}

struct snapshot *snapshot_new(struct conf *conf, uint64_t generation, const struct tls_files *files,
			      struct conf_diag *diag)
{
	struct snapshot_counted *counted = calloc(1, sizeof(*counted));
	struct snapshot *snapshot = counted ? &counted->snapshot : NULL;

	if (!snapshot) {
		conf_diag_add(diag, snapshot_nowhere, "out of memory");
		conf_unref(conf);
		return NULL;
	}
	atomic_init(&counted->refs, 1);
	snapshot->conf = conf;
	snapshot->generation = generation;
	snapshot->server_contexts = calloc(conf->n_listeners, sizeof(*snapshot->server_contexts));
	snapshot->client_contexts = calloc(conf->n_origins + 1, sizeof(*snapshot->client_contexts));
	snapshot->tallies = calloc(conf->n_listeners, sizeof(*snapshot->tallies));
	if (!snapshot->server_contexts || !snapshot->client_contexts || !snapshot->tallies ||
	    snapshot_build_tallies(snapshot)) {
		conf_diag_add(diag, snapshot_nowhere, "out of memory");
		snapshot_free(snapshot);
		return NULL;
	}
	if (snapshot_build_contexts(snapshot, files, diag)) {
		snapshot_free(snapshot);
		return NULL;
	}
	return snapshot;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	struct snapshot_counted *counted = (struct snapshot_counted *)(void *)snapshot;

	atomic_fetch_add(&counted->refs, 1);
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	struct snapshot_counted *counted = (struct snapshot_counted *)(void *)snapshot;

	if (snapshot && atomic_fetch_sub(&counted->refs, 1) == 1)
		snapshot_free(snapshot);
}

struct tally *snapshot_tally(const struct snapshot *snapshot, const struct conf_listener *listener,
			     const struct conf_route *route)
{
	return snapshot->tallies[listener->index][route - listener->routes];
}
