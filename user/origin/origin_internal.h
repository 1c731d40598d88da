/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside origin/. */
#ifndef PENSTOCK_ORIGIN_INTERNAL_H
#define PENSTOCK_ORIGIN_INTERNAL_H

#include "origin/origin.h"

struct origin_server {
	char text[ADDR_TEXT_MAX];
	struct addr addr;
	int64_t weight;
	int64_t current_weight; /* of smooth weighted round robin */
};

struct origin_state {
	struct list node; /* in the table */
	struct origin_table *table;
	char *identity;
	unsigned int refs; /* views, open connections, attempts */
	struct origin_server *servers;
	size_t n_servers;
	struct list idle; /* connections of the pool, the one released last first */
	unsigned int n_idle;
	struct timer idle_timer; /* armed while the pool is not empty */
};

struct origin {
	struct origin_state *state;
	const struct conf_origin *conf;
	struct tls_client_ctx *tls;
};

struct origin_table {
	struct loop *loop;
	struct list states;
};

struct origin_view {
	size_t n_origins;
	struct origin origins[];
};

void origin_state_ref(struct origin_state *state);

/* The last reference closes the pool and frees. */
void origin_state_unref(struct origin_state *state);

/* The next server's index by smooth weighted round robin: no other than `except` while there is
 * another. */
size_t origin_balance(struct origin_state *state, size_t except);

/* An unconnected shell around a new nonblocking socket, watched by the loop. NULL and errno. */
struct origin_conn *origin_conn_new(struct origin *origin, size_t server) MUST_CHECK;

/* From the pool; NULL where it is empty. */
struct origin_conn *origin_pool_take(struct origin_state *state);

/* Closes every idle connection. */
void origin_pool_clear(struct origin_state *state);

void origin_pool_init(struct origin_state *state);

#endif
