/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one server by all threads: is it up, how loaded is it. Found by the identity of
 * its origin and its address; lives as long as anybody refers to it, so a reload loses nothing.
 * What connections need is atomic and blocks nobody. Knows nothing of lanes: splice, terminate and
 * steer read the same.
 */
#ifndef PENSTOCK_SERVER_SERVER_H
#define PENSTOCK_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/compiler.h"
#include "base/list.h"

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

/* Calls `visit` for every server of that origin, in no order. It may not get or unref servers. */
void server_each(const char *origin_identity,
		 void (*visit)(void *argument, const struct server *server), void *argument);

/* At `now_ms` (CLOCK_MONOTONIC): an ejection that is over counts as up. Of several the strongest:
 * drained, down, ejected. */
enum server_state server_state(const struct server *server, uint64_t now_ms);

/* A checker's verdict, after rise and fall; UP after DOWN starts the slow start. */
void server_set_checked(struct server *server, bool is_up, uint64_t now_ms);

/* Only counts one check. */
void server_count_check(struct server *server, bool is_good);

void server_set_drained(struct server *server, bool is_drained);

/*
 * A connection failed, or worked (which ends a row of failures). Returns true when `max_failures`
 * in a row are reached (0: never), to one caller per row: it may eject, if its origin can spare the
 * server.
 */
bool server_note_failure(struct server *server, uint32_t max_failures) MUST_CHECK;
void server_note_success(struct server *server);

/* Why the last connection failed that did, for people. What does not fit is cut, and what is not
 * ASCII becomes '?'. */
#define SERVER_REASON_MAX 160
void server_note_reason(struct server *server, const char *why);

/* "" where none failed yet. */
void server_read_reason(const struct server *server, char ret_why[SERVER_REASON_MAX]);
void server_eject(struct server *server, uint64_t until_ms);

/*
 * Per mille of its weight that it should get now: 1000, less while it starts slowly: after DOWN and
 * after an ejection, from SERVER_MIN_SHARE up in a straight line.
 */
#define SERVER_MIN_SHARE 100
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

/* Servers of one origin by state: from them follows, in all lanes, whether servers that are not up
 * are used too. Zero before the first. */
struct server_census {
	size_t n_primaries; /* no backups, and not drained */
	size_t n_primaries_up;
	size_t n_backups_up;
};

void server_census_add(struct server_census *census, enum server_state state, bool is_backup);

/* So few are left that they would fall over: better to spread what comes over all that are not
 * drained, and find that some of those that are down work. */
bool server_census_is_panic(const struct server_census *census, uint32_t panic_percent);

/*
 * Counts up whenever any server comes, goes, or changes its state: readers that publish (steer)
 * look at it. The end of an ejection is an event of the clock and is not counted.
 */
uint64_t server_changes(void);

/*
 * All servers of one origin together, over all threads: places, and who waits for one. Whoever
 * could not get a place, here or at a server, waits in its own thread's order; threads are told in
 * turns. Locks are taken only while somebody waits.
 */
struct server_group;

/* As server_get(). */
struct server_group *server_group_get(const char *origin_identity) MUST_CHECK;
void server_group_unref(struct server_group *group);

bool server_group_take_place(struct server_group *group, uint32_t max_connections) MUST_CHECK;
void server_group_give_place(struct server_group *group);
uint32_t server_group_load(const struct server_group *group);

/* One more who waits; false at `max_waiting`. After entering try for a place once more: one may
 * have come free just before, and nobody was told. */
bool server_group_enter(struct server_group *group, uint32_t max_waiting) MUST_CHECK;
void server_group_leave(struct server_group *group);
uint32_t server_group_waiting(const struct server_group *group);

/* A thread in which somebody waits. */
struct server_waiter {
	struct list node; /* list_init() before first use */
	bool is_told; /* under the group's lock */
	/* From any thread, under the group's lock: only posts. False where that failed. */
	bool (*tell)(struct server_waiter *waiter);
};

void server_group_listen(struct server_group *group, struct server_waiter *waiter);
/* When this returns the waiter is told no more; what it was told and has not heard, the next is. */
void server_group_ignore(struct server_group *group, struct server_waiter *waiter);
/* The waiter has heard, and will look: it may be told again. */
void server_group_heard(struct server_group *group, struct server_waiter *waiter);

/* A place came free, here or at a server: tells the next thread, if any waits. */
void server_group_tell(struct server_group *group);

#endif
