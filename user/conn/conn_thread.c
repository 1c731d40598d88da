/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread holds for its connections: the lease on the snapshot in force, quotas, the end by
 * draining. */
#include "conn/conn_internal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Who has just connected is about to say hello; so long a drain waits for it. */
#define CONN_FRESH_MS 1000

struct conn_thread *conn_thread_new(struct loop *loop, const struct conn_shared *shared,
				    unsigned int number)
{
	struct conn_thread *thread = calloc(1, sizeof(*thread));

	if (!thread)
		return NULL;
	thread->loop = loop;
	thread->shared = shared;
	thread->number = number;
	list_init(&thread->conns);
	list_init(&thread->quotas);
	/* Without random numbers ids are unique in this process alone, which is what they must. */
	if (getrandom(&thread->id_prefix, sizeof(thread->id_prefix), GRND_NONBLOCK) < 0)
		thread->id_prefix = number;
	thread->origins = origin_table_new(loop);
	if (!thread->origins) {
		free(thread);
		return NULL;
	}
	conn_tick_init(thread);
	return thread;
}

void conn_thread_free(struct conn_thread *thread)
{
	struct list *node;

	if (!thread)
		return;
	thread->on_drained = NULL;
	timer_cancel(&thread->tick);
	while ((node = list_first(&thread->conns)))
		conn_close(container_of(node, struct conn, node), CLOSE_SHUTDOWN);
	if (thread->lease)
		conn_lease_unref(thread->lease);
	origin_table_free(thread->origins);
	free(thread);
}

static void conn_quota_unref(struct conn_quota *quota)
{
	if (!quota || --quota->refs)
		return;
	list_del(&quota->node);
	free(quota->listener_name);
	free(quota);
}

/* With a reference for the caller. */
static struct conn_quota *conn_quota_get(struct conn_thread *thread, const char *listener_name)
{
	struct conn_quota *quota;

	list_for_each (node, &thread->quotas) {
		quota = container_of(node, struct conn_quota, node);
		if (strcmp(quota->listener_name, listener_name) == 0) {
			quota->refs++;
			return quota;
		}
	}
	quota = calloc(1, sizeof(*quota));
	if (!quota)
		return NULL;
	quota->listener_name = strdup(listener_name);
	if (!quota->listener_name) {
		free(quota);
		return NULL;
	}
	quota->refs = 1;
	quota->scope = limit_scope(listener_name);
	list_add_tail(&quota->node, &thread->quotas);
	return quota;
}

static int conn_lease_fill(struct conn_lease *lease)
{
	const struct conf *conf = lease->snapshot->conf;

	lease->origins =
	    origin_view_new(lease->thread->origins, conf, lease->snapshot->client_contexts);
	lease->quotas = calloc(conf->n_listeners, sizeof(struct conn_quota *));
	lease->n_relays = calloc(conf->n_listeners, sizeof(uint32_t *));
	if (!lease->origins || !lease->quotas || !lease->n_relays)
		return -1;
	for (size_t i = 0; i < conf->n_listeners; i++) {
		lease->quotas[i] = conn_quota_get(lease->thread, conf->listeners[i].name);
		lease->n_relays[i] = calloc(conf->listeners[i].n_routes, sizeof(uint32_t));
		if (!lease->quotas[i] || !lease->n_relays[i])
			return -1;
	}
	return 0;
}

struct conn_lease *conn_lease_new(struct conn_thread *thread, struct snapshot *snapshot)
{
	struct conn_lease *lease = calloc(1, sizeof(*lease));

	if (!lease)
		return NULL;
	lease->thread = thread;
	lease->snapshot = snapshot_ref(snapshot);
	if (conn_lease_fill(lease)) {
		conn_lease_free(lease);
		return NULL;
	}
	return lease;
}

void conn_lease_free(struct conn_lease *lease)
{
	if (!lease)
		return;
	for (size_t i = 0; lease->quotas && i < lease->snapshot->conf->n_listeners; i++)
		conn_quota_unref(lease->quotas[i]);
	for (size_t i = 0; lease->n_relays && i < lease->snapshot->conf->n_listeners; i++)
		free(lease->n_relays[i]);
	free(lease->n_relays);
	free(lease->quotas);
	origin_view_free(lease->origins);
	snapshot_unref(lease->snapshot);
	free(lease);
}

void conn_lease_unref(struct conn_lease *lease)
{
	if (--lease->refs == 0)
		conn_lease_free(lease);
}

int conn_thread_set_addresses(struct conn_thread *thread, const char *identity, size_t server,
			      const struct addr *addrs, size_t n_addrs)
{
	return origin_table_update(thread->origins, identity, server, addrs, n_addrs);
}

void conn_thread_take(struct conn_thread *thread, struct conn_lease *lease)
{
	struct conn_lease *old = thread->lease;

	lease->refs++;
	thread->lease = lease;
	if (old)
		conn_lease_unref(old);
}

void conn_thread_drain(struct conn_thread *thread, void (*on_drained)(void *argument),
		       void *argument)
{
	thread->is_draining = true;
	list_for_each_safe (node, &thread->conns) {
		struct conn *conn = container_of(node, struct conn, node);

		if (conn->exchange)
			exchange_drain(conn->exchange);
		else if ((conn->state == CONN_PROXY || conn->state == CONN_HELLO) &&
			 conn->peeked_bytes == 0)
			conn_arm(conn, CONN_FRESH_MS);
	}
	thread->on_drained = on_drained;
	thread->drained_argument = argument;
	if (thread->n_open == 0)
		on_drained(argument);
}
