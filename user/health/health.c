/* SPDX-License-Identifier: Apache-2.0 */
/* Which servers are checked, when, and what a row of good or bad checks means. */
#include "health/health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "health/health_internal.h"

struct health *health_new(struct loop *loop,
			  void (*on_change)(void *argument, const struct health_change *change),
			  void *argument)
{
	struct health *health = calloc(1, sizeof(*health));

	if (!health)
		return NULL;
	health->loop = loop;
	health->on_change = on_change;
	health->argument = argument;
	health->jitter_state = (uint64_t)(uintptr_t)health | 1;
	list_init(&health->targets);
	return health;
}

static void target_free(struct health_target *target)
{
	health_check_stop(target);
	timer_cancel(&target->interval_timer);
	list_del(&target->node);
	server_unref(target->server);
	free(target->identity);
	free(target);
}

void health_free(struct health *health)
{
	if (!health)
		return;
	while (!list_is_empty(&health->targets))
		target_free(container_of(health->targets.next, struct health_target, node));
	snapshot_unref(health->snapshot);
	free(health);
}

/* Nine to eleven tenths, so that many nodes and servers do not come to beat in time (xorshift64,
 * Marsaglia 2003). */
static uint64_t health_jitter(struct health *health, uint64_t interval_ms)
{
	health->jitter_state ^= health->jitter_state << 13;
	health->jitter_state ^= health->jitter_state >> 7;
	health->jitter_state ^= health->jitter_state << 17;
	return interval_ms * 9 / 10 + health->jitter_state % (interval_ms / 5 + 1);
}

static void target_check(struct timer *timer)
{
	health_check_start(container_of(timer, struct health_target, interval_timer));
}

static void target_tell(struct health_target *target)
{
	char text[ADDR_TEXT_MAX];
	const struct health_change change = {
	    .origin = target->origin->name,
	    .server = addr_format(&target->addr, text),
	    .is_up = target->is_up,
	    .why = target->error,
	};

	target->health->on_change(target->health->argument, &change);
}

void health_target_checked(struct health_target *target, const char *error)
{
	const struct conf_health *conf = &target->origin->health;
	struct health *health = target->health;
	uint32_t needed = target->is_up ? conf->fall : conf->rise;

	snprintf(target->error, sizeof(target->error), "%s", error ? error : "");
	server_count_check(target->server, !error);
	target->streak = target->is_up == !error ? 0 : target->streak + 1;
	loop_timer_arm(health->loop, &target->interval_timer,
		       health_jitter(health, conf->interval_ms));
	if (target->streak == 0 || target->streak < needed)
		return;
	target->streak = 0;
	target->is_up = !error;
	server_set_checked(target->server, target->is_up, loop_now_ms(health->loop));
	target_tell(target);
}

static struct health_target *target_find(const struct health *health, const char *identity,
					 const struct addr *addr)
{
	list_for_each (node, &health->targets) {
		struct health_target *target = container_of(node, struct health_target, node);

		if (strcmp(target->identity, identity) == 0 && addr_is_equal(&target->addr, addr))
			return target;
	}
	return NULL;
}

/* The first check comes soon, so that a server that is down at start is known. */
static struct health_target *target_new(struct health *health, const char *identity,
					const struct addr *addr)
{
	struct health_target *target = calloc(1, sizeof(*target));

	if (!target)
		return NULL;
	list_init(&target->node);
	timer_init(&target->interval_timer, target_check);
	target->health = health;
	target->addr = *addr;
	target->is_up = true;
	target->identity = strdup(identity);
	target->server = server_get(identity, addr);
	if (!target->identity || !target->server) {
		target_free(target);
		return NULL;
	}
	list_add_tail(&target->node, &health->targets);
	loop_timer_arm(health->loop, &target->interval_timer, health_jitter(health, 100));
	return target;
}

/* Marks what is wanted; new targets stay unmarked in `origin` until the change is settled. */
static int health_want(struct health *health, const struct conf_origin *origin, size_t server,
		       const struct addr *addr)
{
	struct health_target *target = target_find(health, origin->identity, addr);

	if (!target)
		target = target_new(health, origin->identity, addr);
	if (!target)
		return -ENOMEM;
	target->is_wanted = true;
	if (!target->origin)
		target->origin = origin;
	target->server_index = server;
	return 0;
}

/* Names keep the addresses that they had. */
static int health_want_names(struct health *health, const struct conf_origin *origin, size_t server)
{
	list_for_each (node, &health->targets) {
		struct health_target *target = container_of(node, struct health_target, node);

		if (strcmp(target->identity, origin->identity) == 0 &&
		    target->server_index == server)
			target->is_wanted = true;
	}
	return 0;
}

static int health_want_origin(struct health *health, const struct conf_origin *origin)
{
	int err = 0;

	if (origin->health.check == CONF_CHECK_OFF)
		return 0;
	for (size_t i = 0; i < origin->n_servers && !err; i++) {
		if (origin->servers[i].is_name)
			err = health_want_names(health, origin, i);
		else
			err = health_want(health, origin, i, &origin->servers[i].addr);
	}
	return err;
}

static const struct conf_origin *health_find_origin(const struct conf *conf, const char *identity)
{
	for (size_t i = 0; i < conf->n_origins; i++)
		if (strcmp(conf->origins[i]->identity, identity) == 0)
			return conf->origins[i];
	return NULL;
}

/* What nobody wants any more goes; a check under way belongs to the old snapshot's rules and is
 * begun anew. */
static void health_settle(struct health *health)
{
	list_for_each_safe (node, &health->targets) {
		struct health_target *target = container_of(node, struct health_target, node);

		if (!target->is_wanted) {
			target_free(target);
			continue;
		}
		target->is_wanted = false;
		target->origin = health_find_origin(health->snapshot->conf, target->identity);
		if (target->is_checking) {
			health_check_stop(target);
			loop_timer_arm(health->loop, &target->interval_timer, 0);
		}
	}
}

/* What was added for the staged change goes again. */
void health_abort(struct health *health)
{
	const struct conf *conf = health->snapshot ? health->snapshot->conf : NULL;

	list_for_each_safe (node, &health->targets) {
		struct health_target *target = container_of(node, struct health_target, node);
		bool is_old = conf && health_find_origin(conf, target->identity) == target->origin;

		target->is_wanted = false;
		if (!is_old)
			target_free(target);
	}
}

int health_stage(struct health *health, const struct snapshot *snapshot)
{
	const struct conf *conf = snapshot->conf;
	int err = 0;

	for (size_t i = 0; i < conf->n_origins && !err; i++)
		err = health_want_origin(health, conf->origins[i]);
	if (err)
		health_abort(health);
	return err;
}

void health_commit(struct health *health, struct snapshot *snapshot)
{
	snapshot_unref(health->snapshot);
	health->snapshot = snapshot_ref(snapshot);
	health_settle(health);
}

int health_resolved(struct health *health, const struct conf_origin *origin, size_t server,
		    const struct addr *addrs, size_t n_addrs)
{
	int err = 0;

	if (origin->health.check == CONF_CHECK_OFF)
		return 0;
	for (size_t i = 0; i < n_addrs && !err; i++)
		err = health_want(health, origin, server, &addrs[i]);
	list_for_each_safe (node, &health->targets) {
		struct health_target *target = container_of(node, struct health_target, node);
		bool is_of_name = target->origin == origin && target->server_index == server;

		if (!err && is_of_name && !target->is_wanted)
			target_free(target);
		else
			target->is_wanted = false;
	}
	return err;
}

const char *health_error(const struct health *health, const char *origin_identity,
			 const struct addr *addr)
{
	const struct health_target *target = target_find(health, origin_identity, addr);

	return target && target->error[0] ? target->error : NULL;
}
