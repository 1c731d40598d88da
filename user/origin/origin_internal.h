/* SPDX-License-Identifier: Apache-2.0 */
/* Shared inside origin/. */
#ifndef PENSTOCK_ORIGIN_INTERNAL_H
#define PENSTOCK_ORIGIN_INTERNAL_H

#include "balance/balance.h"
#include "origin/origin.h"
#include "server/server.h"

/* Tries of one request, whatever `retries` says (the configuration's bound is one less). */
#define ORIGIN_MAX_TRIES 17

/* One address. */
struct origin_server {
	struct server *shared;
	unsigned int refs; /* the state's list, open connections */
	bool is_listed; /* a name may have lost this address */
	size_t index; /* in conf's servers */
	struct addr addr;
	char text[ADDR_TEXT_MAX];
	struct list idle; /* its connections in the pool, the one released last first */
	struct tls_sessions *sessions; /* NULL until TLS is spoken with it */
};

struct origin_state {
	struct list node; /* in the table */
	struct origin_table *table;
	char *identity;
	unsigned int refs; /* views, open connections, attempts */
	struct server_group *group;
	uint16_t *ports; /* of conf's servers */
	size_t n_ports;
	struct origin_server **servers; /* by place in the configuration */
	struct balance_candidate *candidates; /* of `servers`; rebuilt for each choice but for
						 round robin's memory */
	size_t n_servers;
	uint16_t *maglev; /* of the servers that were healthy; NULL until needed */
	size_t maglev_size;
	uint64_t maglev_signature; /* of what it was made from */
	struct list idle; /* connections of the pool, the one released last first */
	unsigned int n_idle;
	struct timer idle_timer; /* armed while the pool is not empty */
	struct list queue; /* attempts that wait for a place, in the order of coming */
	struct list queue_node; /* in the table's `waiting` while the queue is not empty */
	struct server_waiter waiter; /* registered at the group as long */
	struct timer queue_timer; /* armed as long */
};

struct origin {
	struct origin_state *state;
	const struct conf_origin *conf;
	struct tls_client_ctx *tls;
	bool is_bounded; /* it or one of its servers has a limit: places of the group count */
};

struct origin_table {
	struct loop *loop;
	struct list states;
	struct list waiting; /* states that have a queue */
	uint64_t random;
};

struct origin_view {
	size_t n_origins;
	struct origin origins[];
};

/* What a choice depends on. */
struct origin_wish {
	uint64_t hash; /* of the client */
	struct origin_server *tried[ORIGIN_MAX_TRIES]; /* only compared: they may be gone */
	size_t n_tried;
};

struct origin_attempt {
	struct origin_request *request;
	struct origin *origin;
	struct origin_conn *conn; /* NULL between tries */
	struct timer timer;
	struct list node; /* in the queue while it waits */
	struct origin_wish wish;
	size_t max_tries;
	uint64_t waits_until_ms; /* 0: did not wait yet */
	bool is_connected;
	enum close_reason reason; /* of the last failure */
	char detail[256];
};

void origin_state_ref(struct origin_state *state);

/* The last reference closes the pool and frees. */
void origin_state_unref(struct origin_state *state);

/* With a reference for the caller; NULL: no memory. */
struct origin_state *origin_state_get(struct origin_table *table,
				      const struct conf_origin *conf) MUST_CHECK;

void origin_server_ref(struct origin_server *server);
void origin_server_unref(struct origin_server *server);

uint64_t origin_random(struct origin_table *table);

enum origin_choice {
	ORIGIN_CHOSEN, /* and the places are taken */
	ORIGIN_FULL, /* there are usable servers, without a free place */
	ORIGIN_NONE
};

enum origin_choice origin_choose(struct origin *origin, const struct origin_wish *wish,
				 struct origin_server **ret_server) MUST_CHECK;

/* Tells the next who waits. */
void origin_give_place(struct origin_state *state, struct origin_server *server, bool of_group);

/* Passive health: after a row of failures the server is left alone for a while, if it can be
 * spared. */
void origin_note_failure(struct origin *origin, struct origin_server *server, const char *why);

/* What is the matter with the servers, for logs. */
void origin_describe(struct origin *origin, char *text, size_t size_bytes);

/* Somebody waits already, in whatever thread: who comes now has to stand behind. */
bool origin_queue_is_used(const struct origin *origin);

/* False where the queue is full. May go on with the attempt at once. */
bool origin_queue_enter(struct origin_attempt *attempt) MUST_CHECK;

/* Also right for an attempt that does not wait. */
void origin_queue_leave(struct origin_attempt *attempt);

void origin_queue_init(struct origin_state *state);

/* The attempt was given a place at this server. */
void origin_attempt_go(struct origin_attempt *attempt, struct origin_server *server);

/* Answers and frees. `detail` NULL: what the last failure said. */
void origin_attempt_fail(struct origin_attempt *attempt, enum close_reason reason,
			 const char *detail);

/* No server can be tried any more. */
void origin_attempt_give_up(struct origin_attempt *attempt);

/* A new nonblocking socket with the origin's options, bound where it has a source. -errno. */
int origin_socket(const struct conf_origin *conf, const struct addr *addr,
		  bool writes_first) MUST_CHECK;

/* An unconnected shell around a new socket. Takes the places over on success. NULL and errno. */
struct origin_conn *origin_conn_new(struct origin *origin, struct origin_server *server,
				    bool writes_first) MUST_CHECK;

/* Tells a server that just accepted who the client is, where the origin's configuration asks for
 * it. `facts` NULL: there was no memory for them. 0 or -errno: the connection is no use. */
int origin_send_proxy_header(const struct conf_origin *conf, const struct proxy_facts *facts,
			     int fd) MUST_CHECK;

/* From the pool, with the places that its taker was given; NULL where there is none. */
struct origin_conn *origin_pool_take(struct origin *origin, struct origin_server *server,
				     bool must_be_alive);

/* Closes idle connections: to one server, or all. */
void origin_pool_clear_server(struct origin_server *server);
void origin_pool_clear(struct origin_state *state);

void origin_pool_init(struct origin_state *state);

#endif
