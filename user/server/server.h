/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one server by all threads: is it up, how loaded is it. Found by the identity of
 * its origin and its address; lives as long as anybody refers to it, so a reload loses nothing.
 * Everything is atomic, nothing blocks. Knows nothing of lanes: splice, terminate and steer read
 * the same.
 */
#ifndef PENSTOCK_SERVER_SERVER_H
#define PENSTOCK_SERVER_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"

enum server_state {
	SERVER_UP,
	SERVER_DOWN, /* active checks failed */
	SERVER_EJECTED, /* connections failed; comes back by itself */
	SERVER_DRAINED, /* by the operator: keeps what it has, gets nothing new */
	SERVER_STATE_MAX
};

const char *server_state_word(enum server_state state);

struct server;

/* With a reference for the caller; new ones are up. Any thread. NULL: no memory. */
struct server *server_get(const char *origin_identity, const struct addr *addr) MUST_CHECK;

/* Takes NULL. */
void server_unref(struct server *server);

const struct addr *server_addr(const struct server *server);

/* At `now_ms` (CLOCK_MONOTONIC): an ejection that is over counts as up. */
enum server_state server_state(const struct server *server, uint64_t now_ms);

/* A checker's verdict; UP after DOWN starts the slow start. */
void server_set_checked(struct server *server, bool is_up, uint64_t now_ms);

void server_set_drained(struct server *server, bool is_drained);

/*
 * A connection failed, or worked (which ends a row of failures). Returns true when `max_failures`
 * in a row are reached: the caller may eject, if its origin can spare the server.
 */
bool server_note_failure(struct server *server, uint32_t max_failures) MUST_CHECK;
void server_note_success(struct server *server);
void server_eject(struct server *server, uint64_t until_ms);

/* Per mille of its weight that it should get now: 1000, less while it starts slowly. */
uint32_t server_share(const struct server *server, uint32_t slow_start_ms, uint64_t now_ms);

/* Connections over all threads. Taking fails (false) at `max_connections` (0: no bound). */
bool server_take_place(struct server *server, uint32_t max_connections) MUST_CHECK;
void server_give_place(struct server *server);
uint32_t server_load(const struct server *server);

struct server_counts {
	uint64_t connects;
	uint64_t failures;
	uint64_t checks_good;
	uint64_t checks_bad;
	uint64_t ejections;
};

void server_read_counts(const struct server *server, struct server_counts *ret_counts);

/* Counts up whenever any server's state or address changes: readers that publish (steer) look at
 * it. */
uint64_t server_changes(void);

#endif
