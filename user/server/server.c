/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers in a table under one lock, which is taken to find and to release one. What is known of a
 * server are atomics of their own: readers may see a mix of before and after, which costs a
 * connection at worst.
 */
#include "server/server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"

#define SERVER_BUCKETS 1024

struct server {
	struct list node;
	unsigned int refs; /* under server_lock */
	char *identity;
	struct addr addr;

	/* One line of the cache: whoever chooses reads all of it, also what every connection
	 * writes. */
	_Atomic uint64_t up_since_ms; /* 0: never was down */
	_Atomic uint64_t ejected_until_ms; /* 0: never was */
	_Atomic uint32_t load;
	_Atomic uint32_t failures_in_row;
	_Atomic bool is_down;
	_Atomic bool is_drained;

	_Atomic uint64_t connects;
	_Atomic uint64_t failures;
	_Atomic uint64_t checks_good;
	_Atomic uint64_t checks_bad;
	_Atomic uint64_t ejections;
	char reason[SERVER_REASON_MAX]; /* under server_reason_lock */
};

static pthread_mutex_t server_reason_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t server_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list server_buckets[SERVER_BUCKETS]; /* zeroed until first use */
static _Atomic uint64_t server_change_count;

const char *server_state_word(enum server_state state)
{
	static const char *const words[SERVER_STATE_MAX] = {
	    [SERVER_UP] = "up",
	    [SERVER_DOWN] = "down",
	    [SERVER_EJECTED] = "ejected",
	    [SERVER_DRAINED] = "drained",
	};

	return words[state];
}

static void server_changed(void)
{
	atomic_fetch_add(&server_change_count, 1);
}

uint64_t server_changes(void)
{
	return atomic_load(&server_change_count);
}

/* All servers of an origin share a bucket (FNV-1a): server_each() looks at one. */
static struct list *server_bucket(const char *identity)
{
	uint32_t hash = 2166136261u;
	struct list *bucket;

	for (; *identity; identity++)
		hash = (hash ^ (unsigned char)*identity) * 16777619u;
	bucket = &server_buckets[hash % SERVER_BUCKETS];
	if (!bucket->next)
		list_init(bucket);
	return bucket;
}

static struct server *server_find(struct list *bucket, const char *identity,
				  const struct addr *addr)
{
	list_for_each (node, bucket) {
		struct server *server = container_of(node, struct server, node);

		if (addr_is_equal(&server->addr, addr) && strcmp(server->identity, identity) == 0)
			return server;
	}
	return NULL;
}

static struct server *server_new(struct list *bucket, const char *identity, const struct addr *addr)
{
	struct server *server = calloc(1, sizeof(*server));

	if (!server)
		return NULL;
	server->identity = strdup(identity);
	if (!server->identity) {
		free(server);
		return NULL;
	}
	server->addr = *addr;
	list_add_tail(&server->node, bucket);
	server_changed();
	return server;
}

struct server *server_get(const char *origin_identity, const struct addr *addr)
{
	struct server *server;
	struct list *bucket;

	pthread_mutex_lock(&server_lock);
	bucket = server_bucket(origin_identity);
	server = server_find(bucket, origin_identity, addr);
	if (!server)
		server = server_new(bucket, origin_identity, addr);
	if (server)
		server->refs++;
	pthread_mutex_unlock(&server_lock);
	return server;
}

void server_unref(struct server *server)
{
	if (!server)
		return;
	pthread_mutex_lock(&server_lock);
	if (--server->refs == 0) {
		list_del(&server->node);
		free(server->identity);
		free(server);
		server_changed();
	}
	pthread_mutex_unlock(&server_lock);
}

void server_each(const char *origin_identity,
		 void (*visit)(void *argument, const struct server *server), void *argument)
{
	pthread_mutex_lock(&server_lock);
	list_for_each (node, server_bucket(origin_identity)) {
		struct server *server = container_of(node, struct server, node);

		if (strcmp(server->identity, origin_identity) == 0)
			visit(argument, server);
	}
	pthread_mutex_unlock(&server_lock);
}

const struct addr *server_addr(const struct server *server)
{
	return &server->addr;
}

enum server_state server_state(const struct server *server, uint64_t now_ms)
{
	if (atomic_load_explicit(&server->is_drained, memory_order_relaxed))
		return SERVER_DRAINED;
	if (atomic_load_explicit(&server->is_down, memory_order_relaxed))
		return SERVER_DOWN;
	if (atomic_load_explicit(&server->ejected_until_ms, memory_order_relaxed) > now_ms)
		return SERVER_EJECTED;
	return SERVER_UP;
}

void server_census_add(struct server_census *census, enum server_state state, bool is_backup)
{
	if (is_backup) {
		census->n_backups_up += state == SERVER_UP;
	} else {
		census->n_primaries += state != SERVER_DRAINED;
		census->n_primaries_up += state == SERVER_UP;
	}
}

bool server_census_is_panic(const struct server_census *census, uint32_t panic_percent)
{
	return census->n_backups_up == 0 &&
	       census->n_primaries_up * 100 < panic_percent * census->n_primaries;
}

void server_set_checked(struct server *server, bool is_up, uint64_t now_ms)
{
	/* Written before the state: nobody may see it up with its full share. */
	if (is_up && atomic_load(&server->is_down)) {
		atomic_store(&server->up_since_ms, now_ms);
		atomic_store(&server->failures_in_row, 0);
	}
	if (atomic_exchange(&server->is_down, !is_up) == is_up)
		server_changed();
}

void server_count_check(struct server *server, bool is_good)
{
	atomic_fetch_add_explicit(is_good ? &server->checks_good : &server->checks_bad, 1,
				  memory_order_relaxed);
}

void server_set_drained(struct server *server, bool is_drained)
{
	if (atomic_exchange(&server->is_drained, is_drained) != is_drained)
		server_changed();
}

bool server_note_failure(struct server *server, uint32_t max_failures)
{
	uint32_t row = atomic_fetch_add(&server->failures_in_row, 1) + 1;

	atomic_fetch_add_explicit(&server->failures, 1, memory_order_relaxed);
	return max_failures && row % max_failures == 0;
}

/* The row is written only where there is one, so that the line stays shared. */
void server_note_success(struct server *server)
{
	atomic_fetch_add_explicit(&server->connects, 1, memory_order_relaxed);
	if (atomic_load_explicit(&server->failures_in_row, memory_order_relaxed))
		atomic_store(&server->failures_in_row, 0);
}

void server_note_reason(struct server *server, const char *why)
{
	size_t n = 0;

	pthread_mutex_lock(&server_reason_lock);
	for (; why[n] && n + 1 < SERVER_REASON_MAX; n++)
		server->reason[n] = why[n];
	for (size_t i = 0; i < n; i++)
		if (server->reason[i] < ' ' || server->reason[i] > '~')
			server->reason[i] = '?';
	server->reason[n] = 0;
	pthread_mutex_unlock(&server_reason_lock);
}

void server_read_reason(const struct server *server, char ret_why[SERVER_REASON_MAX])
{
	pthread_mutex_lock(&server_reason_lock);
	memcpy(ret_why, server->reason, SERVER_REASON_MAX);
	pthread_mutex_unlock(&server_reason_lock);
}

void server_eject(struct server *server, uint64_t until_ms)
{
	atomic_store(&server->failures_in_row, 0);
	atomic_store(&server->ejected_until_ms, until_ms);
	atomic_fetch_add_explicit(&server->ejections, 1, memory_order_relaxed);
	server_changed();
}

uint32_t server_share(const struct server *server, uint32_t slow_start_ms, uint64_t now_ms)
{
	uint64_t since_ms = atomic_load_explicit(&server->up_since_ms, memory_order_relaxed);
	uint64_t returned_ms =
	    atomic_load_explicit(&server->ejected_until_ms, memory_order_relaxed);
	uint64_t up_ms;

	since_ms = MAX(since_ms, returned_ms);
	if (slow_start_ms == 0 || since_ms == 0)
		return 1000;
	up_ms = now_ms > since_ms ? now_ms - since_ms : 0;
	if (up_ms >= slow_start_ms)
		return 1000;
	return (uint32_t)MAX(up_ms * 1000 / slow_start_ms, (uint64_t)SERVER_MIN_SHARE);
}

bool server_take_place(struct server *server, uint32_t max_connections)
{
	uint32_t load = atomic_load_explicit(&server->load, memory_order_relaxed);

	if (max_connections == 0) {
		atomic_fetch_add(&server->load, 1);
		return true;
	}
	while (load < max_connections)
		if (atomic_compare_exchange_weak(&server->load, &load, load + 1))
			return true;
	return false;
}

void server_give_place(struct server *server)
{
	uint32_t before = atomic_fetch_sub(&server->load, 1);

	BUG_ON(before == 0);
}

uint32_t server_load(const struct server *server)
{
	return atomic_load(&server->load);
}

void server_read_counts(const struct server *server, struct server_counts *ret_counts)
{
	*ret_counts = (struct server_counts){
	    .connects = atomic_load(&server->connects),
	    .failures = atomic_load(&server->failures),
	    .checks_good = atomic_load(&server->checks_good),
	    .checks_bad = atomic_load(&server->checks_bad),
	    .ejections = atomic_load(&server->ejections),
	};
}
