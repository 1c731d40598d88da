/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishing: the maps are the truth, and are read before they are changed, since an earlier
 * process may have written them. What the plan wants is brought about in an order that packets do
 * not notice, and can be taken back.
 */
#include "steer/steer.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "server/server.h"
#include "steer/steer_internal.h"

#define STEER_SWEEP_PAUSE_MS 1000 /* between two passes over the table, and for retired sets */
#define STEER_SWEEP_STEP_MS 50 /* between two stretches of one pass */

/* ---- what the maps say now ---- */

struct published_service {
	struct service_key key;
	struct service_value value;
};

struct published {
	struct published_service *services;
	size_t n_services;
};

/* Only one process writes services, so a walk by keys sees each once. */
static int published_read(int services_fd, struct published *ret_published)
{
	struct published published = {.services = NULL};
	struct service_key key, *previous = NULL;

	published.services = calloc(PENSTOCK_MAX_STEER_SERVICES, sizeof(*published.services));
	if (!published.services)
		return -ENOMEM;
	while (published.n_services < PENSTOCK_MAX_STEER_SERVICES &&
	       bpf_map_get_next_key(services_fd, previous, &key) == 0) {
		struct published_service *service = &published.services[published.n_services];

		service->key = key;
		if (bpf_map_lookup_elem(services_fd, &key, &service->value) == 0)
			published.n_services++;
		previous = &service->key;
	}
	*ret_published = published;
	return 0;
}

static const struct published_service *published_find(const struct published *published,
						      const struct service_key *key)
{
	for (size_t i = 0; i < published->n_services; i++)
		if (memcmp(&published->services[i].key, key, sizeof(*key)) == 0)
			return &published->services[i];
	return NULL;
}

static bool published_names_set(const struct published *published, uint32_t server_set)
{
	for (size_t i = 0; i < published->n_services; i++)
		if (published->services[i].value.server_set == server_set)
			return true;
	return false;
}

/* ---- server sets ---- */

static void steer_remove_set(struct steer *steer, uint32_t server_set, uint32_t n_servers)
{
	struct server_key key = {.server_set = server_set};

	for (; key.index < n_servers; key.index++)
		bpf_map_delete_elem(steer->maps.servers, &key);
}

static int steer_write_set(struct steer *steer, const struct steer_service *service)
{
	struct server_key key = {.server_set = service->value.server_set};

	for (; key.index < service->value.n_servers; key.index++)
		if (bpf_map_update_elem(steer->maps.servers, &key, &service->servers[key.index],
					BPF_ANY))
			return -errno;
	return 0;
}

static bool steer_set_is(struct steer *steer, uint32_t server_set,
			 const struct steer_service *service)
{
	struct server_key key = {.server_set = server_set};
	struct server_value value;

	for (; key.index < service->value.n_servers; key.index++)
		if (bpf_map_lookup_elem(steer->maps.servers, &key, &value) ||
		    memcmp(&value, &service->servers[key.index], sizeof(value)) != 0)
			return false;
	return true;
}

/* Numbers above all that are in use; and sets that nobody names are what a process left that was
 * killed. */
static void steer_learn(struct steer *steer, const struct published *published)
{
	struct server_key key, current, *previous = NULL;

	for (size_t i = 0; i < published->n_services; i++) {
		const struct service_value *value = &published->services[i].value;

		steer->next_service_id = MAX(steer->next_service_id, value->service_id + 1);
		steer->next_server_set = MAX(steer->next_server_set, value->server_set + 1);
	}
	while (bpf_map_get_next_key(steer->maps.servers, previous, &key) == 0) {
		current = key;
		previous = &current;
		steer->next_server_set = MAX(steer->next_server_set, key.server_set + 1);
	}
}

/* Entries of sets that no service names, in passes, since a walk that deletes starts over. */
static void steer_remove_leftovers(struct steer *steer, const struct published *published)
{
	struct server_key doomed[256], key, current, *previous;
	size_t n;

	do {
		n = 0;
		previous = NULL;
		while (n < ARRAY_LEN(doomed) &&
		       bpf_map_get_next_key(steer->maps.servers, previous, &key) == 0) {
			current = key;
			previous = &current;
			if (!published_names_set(published, key.server_set))
				doomed[n++] = key;
		}
		for (size_t i = 0; i < n; i++)
			if (bpf_map_delete_elem(steer->maps.servers, &doomed[i]))
				return;
	} while (n == ARRAY_LEN(doomed));
}

/* ---- the change ---- */

static bool service_sets_match(struct steer *steer, const struct published_service *old,
			       const struct steer_service *service)
{
	return old->value.n_servers == service->value.n_servers &&
	       steer_set_is(steer, old->value.server_set, service);
}

/* Gives each planned service its id and its set, and writes the sets that are new. */
static int steer_stage(struct steer *steer, const struct published *before, struct steer_plan *plan)
{
	int err = 0;

	for (size_t i = 0; i < plan->n_services && !err; i++) {
		struct steer_service *service = &plan->services[i];
		const struct published_service *old = published_find(before, &service->key);

		service->value.service_id = old ? old->value.service_id : steer->next_service_id++;
		if (old && service_sets_match(steer, old, service)) {
			service->value.server_set = old->value.server_set;
		} else {
			service->value.server_set = steer->next_server_set++;
			err = steer_write_set(steer, service);
		}
	}
	return err;
}

static int steer_switch(struct steer *steer, const struct published *before,
			const struct steer_plan *plan)
{
	for (size_t i = 0; i < plan->n_services; i++) {
		const struct steer_service *service = &plan->services[i];
		const struct published_service *old = published_find(before, &service->key);

		if (old && memcmp(&old->value, &service->value, sizeof(old->value)) == 0)
			continue;
		if (bpf_map_update_elem(steer->maps.services, &service->key, &service->value,
					BPF_ANY))
			return -errno;
	}
	return 0;
}

static const struct steer_service *plan_find(const struct steer_plan *plan,
					     const struct service_key *key)
{
	for (size_t i = 0; i < plan->n_services; i++)
		if (memcmp(&plan->services[i].key, key, sizeof(*key)) == 0)
			return &plan->services[i];
	return NULL;
}

static void steer_roll_back(struct steer *steer, const struct published *before,
			    const struct steer_plan *plan)
{
	for (size_t i = 0; i < plan->n_services; i++) {
		const struct steer_service *service = &plan->services[i];
		const struct published_service *old = published_find(before, &service->key);

		if (old)
			bpf_map_update_elem(steer->maps.services, &old->key, &old->value, BPF_ANY);
		else
			bpf_map_delete_elem(steer->maps.services, &service->key);
		if (service->value.server_set &&
		    !published_names_set(before, service->value.server_set))
			steer_remove_set(steer, service->value.server_set,
					 service->value.n_servers);
	}
}

/* Services that are gone lose their entry now; their flows go on until they are silent. */
static void steer_drop_services(struct steer *steer, const struct published *before,
				const struct steer_plan *plan)
{
	for (size_t i = 0; i < before->n_services; i++)
		if (!plan_find(plan, &before->services[i].key))
			bpf_map_delete_elem(steer->maps.services, &before->services[i].key);
}

static void steer_take(struct steer *steer, struct conf *conf, const struct steer_plan *plan,
		       uint64_t changes)
{
	steer_plan_done(&steer->published);
	steer->published = *plan;
	steer->changes = changes;
	steer->udp_idle_s = conf->steer.udp_idle_s;
	steer->tcp_idle_s = conf->steer.tcp_idle_s;
	conf_ref(conf);
	conf_unref(steer->conf);
	steer->conf = conf;
}

int steer_publish(struct steer *steer, struct conf *conf)
{
	uint64_t changes = server_changes();
	struct steer_plan plan;
	struct published before;
	int err = steer_plan_make(conf, &plan);

	if (err)
		return err;
	err = published_read(steer->maps.services, &before);
	if (err) {
		steer_plan_done(&plan);
		return err;
	}
	steer_learn(steer, &before);
	err = steer_stage(steer, &before, &plan);
	if (!err)
		err = steer_switch(steer, &before, &plan);
	if (err) {
		steer_roll_back(steer, &before, &plan);
		steer_plan_done(&plan);
	} else {
		steer_drop_services(steer, &before, &plan);
		steer_take(steer, conf, &plan, changes);
		/* A packet that read a service just now may still ask for its old set: those go
		 * with the timer. */
		steer->has_leftovers = true;
		loop_timer_arm(steer->loop, &steer->timer, STEER_SWEEP_PAUSE_MS);
	}
	free(before.services);
	return err;
}

/* ---- the timer ---- */

static void steer_clean(struct steer *steer)
{
	struct published now;

	if (!steer->has_leftovers || published_read(steer->maps.services, &now))
		return;
	steer_remove_leftovers(steer, &now);
	steer->has_leftovers = false;
	free(now.services);
}

/* The state of a server is another one than when the plan was made, or may be by now. */
static bool steer_is_stale(const struct steer *steer)
{
	bool is_stale = steer->conf && server_changes() != steer->changes;

	for (size_t i = 0; i < steer->published.n_services; i++)
		is_stale |= steer->published.services[i].has_ejected;
	return is_stale;
}

static void steer_on_timer(struct timer *timer)
{
	struct steer *steer = container_of(timer, struct steer, timer);
	int err = 0;

	steer_clean(steer);
	if (steer_is_stale(steer))
		err = steer_publish(steer, steer->conf);
	(void)err; /* it stays stale, and so is tried again */
	loop_timer_arm(steer->loop, timer,
		       steer_sweep(steer) > 0 ? STEER_SWEEP_STEP_MS : STEER_SWEEP_PAUSE_MS);
}

struct steer *steer_new(const struct steer_maps *maps, struct loop *loop)
{
	struct steer *steer = calloc(1, sizeof(*steer));

	if (!steer)
		return NULL;
	steer->maps = *maps;
	steer->loop = loop;
	steer->next_service_id = 1;
	steer->next_server_set = 1;
	timer_init(&steer->timer, steer_on_timer);
	return steer;
}

void steer_free(struct steer *steer)
{
	if (!steer)
		return;
	timer_cancel(&steer->timer);
	steer_plan_done(&steer->published);
	conf_unref(steer->conf);
	free(steer);
}
