/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places of an origin as a whole, and the threads that wait for one. That no wake-up is lost rests
 * on sequential consistency: who waits counts itself and then looks for a place, who gives a place
 * back frees it and then looks at the count.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bug.h"
#include "server/server.h"

struct server_group {
	struct list node;
	unsigned int refs; /* under group_lock */
	char *identity;
	pthread_mutex_t lock; /* of the waiters */
	struct list waiters; /* whoever was told last stands last */
	_Atomic uint32_t load;
	_Atomic uint32_t n_waiting;
};

static pthread_mutex_t group_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list group_all = {&group_all, &group_all};

static struct server_group *group_find(const char *identity)
{
	list_for_each (node, &group_all) {
		struct server_group *group = container_of(node, struct server_group, node);

		if (strcmp(group->identity, identity) == 0)
			return group;
	}
	return NULL;
}

static struct server_group *group_new(const char *identity)
{
	struct server_group *group = calloc(1, sizeof(*group));

	if (!group)
		return NULL;
	group->identity = strdup(identity);
	if (!group->identity) {
		free(group);
		return NULL;
	}
	pthread_mutex_init(&group->lock, NULL);
	list_init(&group->waiters);
	list_add_tail(&group->node, &group_all);
	return group;
}

struct server_group *server_group_get(const char *origin_identity)
{
	struct server_group *group;

	pthread_mutex_lock(&group_lock);
	group = group_find(origin_identity);
	if (!group)
		group = group_new(origin_identity);
	if (group)
		group->refs++;
	pthread_mutex_unlock(&group_lock);
	return group;
}

void server_group_unref(struct server_group *group)
{
	if (!group)
		return;
	pthread_mutex_lock(&group_lock);
	if (--group->refs == 0) {
		list_del(&group->node);
		pthread_mutex_destroy(&group->lock);
		free(group->identity);
		free(group);
	}
	pthread_mutex_unlock(&group_lock);
}

static bool group_count_up(_Atomic uint32_t *count, uint32_t max)
{
	uint32_t now = atomic_load(count);

	while (now < max)
		if (atomic_compare_exchange_weak(count, &now, now + 1))
			return true;
	return false;
}

static void group_count_down(_Atomic uint32_t *count)
{
	uint32_t before = atomic_fetch_sub(count, 1);

	BUG_ON(before == 0);
}

bool server_group_take_place(struct server_group *group, uint32_t max_connections)
{
	return group_count_up(&group->load, max_connections ? max_connections : UINT32_MAX);
}

void server_group_give_place(struct server_group *group)
{
	group_count_down(&group->load);
}

uint32_t server_group_load(const struct server_group *group)
{
	return atomic_load(&group->load);
}

bool server_group_enter(struct server_group *group, uint32_t max_waiting)
{
	return group_count_up(&group->n_waiting, max_waiting);
}

void server_group_leave(struct server_group *group)
{
	group_count_down(&group->n_waiting);
}

uint32_t server_group_waiting(const struct server_group *group)
{
	return atomic_load(&group->n_waiting);
}

void server_group_listen(struct server_group *group, struct server_waiter *waiter)
{
	pthread_mutex_lock(&group->lock);
	if (list_is_empty(&waiter->node)) {
		waiter->is_told = false;
		list_add_tail(&waiter->node, &group->waiters);
	}
	pthread_mutex_unlock(&group->lock);
}

void server_group_ignore(struct server_group *group, struct server_waiter *waiter)
{
	bool was_told;

	pthread_mutex_lock(&group->lock);
	was_told = waiter->is_told;
	waiter->is_told = false;
	list_del(&waiter->node);
	pthread_mutex_unlock(&group->lock);
	if (was_told)
		server_group_tell(group);
}

void server_group_heard(struct server_group *group, struct server_waiter *waiter)
{
	pthread_mutex_lock(&group->lock);
	waiter->is_told = false;
	pthread_mutex_unlock(&group->lock);
}

/* One that was told and has not looked yet will find this place too. */
void server_group_tell(struct server_group *group)
{
	if (LIKELY(atomic_load(&group->n_waiting) == 0))
		return;
	pthread_mutex_lock(&group->lock);
	list_for_each_safe (node, &group->waiters) {
		struct server_waiter *waiter = container_of(node, struct server_waiter, node);

		if (waiter->is_told)
			continue;
		waiter->is_told = waiter->tell(waiter);
		if (waiter->is_told) {
			list_del(node);
			list_add_tail(node, &group->waiters);
			break;
		}
	}
	pthread_mutex_unlock(&group->lock);
}
